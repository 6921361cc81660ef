package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sst/cfn"
)

// maxSecretBytes is what an advanced parameter of SSM holds.
const maxSecretBytes = 8192

// secretOptions are the flags that the verbs of `sst secrets` share.
type secretOptions struct {
	local    bool
	fallback bool
	key      string
}

func secretsCommand(t *tool) *cobra.Command {
	o := &secretOptions{}
	all := group(&cobra.Command{
		Use:   "secrets",
		Short: "Set, read and list the secrets of a stage",
		Long: `Set, read and list the values of the app's secrets, declared as sst.Secret(stack, "StripeKey") in stacks.star.

A value belongs to a stage and lies in SSM's Parameter Store, encrypted; no template, cache or log has it. With --fallback
it is that of all stages that have none of their own. With --local, and without AWS credentials, it is one of this machine
for sst start in local mode.`,
	})
	all.PersistentFlags().BoolVar(&o.local, "local", false, "the values of this machine, for sst start in local mode")
	set := &cobra.Command{
		Use:   "set NAME",
		Short: "Set a secret, from a prompt or from stdin",
		Long: `Set a secret. On a terminal the value is asked for and not shown; otherwise it is what stdin has, without the line break at
its end. It is not taken from the command line, which the shell's history and other users of the machine can read.

Functions that run already keep the value they have until they start anew.`,
		Example: "  sst secrets set StripeKey\n  sst secrets set StripeKey --stage prod < key.txt\n  pass show stripe | sst secrets set StripeKey --fallback",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("sst secrets set takes a NAME and no value: it is asked for, or comes from stdin, as in `sst secrets set %s < file`", args[0])
			}
			return t.withSecrets(c, args, o, t.setSecret)
		},
	}
	set.Flags().BoolVar(&o.fallback, "fallback", false, "for all stages that have no value of their own")
	set.Flags().StringVar(&o.key, "key", "", "KMS key (id, ARN or alias) to encrypt it with, when the secret has a key of its own")
	get := &cobra.Command{
		Use:     "get NAME",
		Short:   "Print the value of a secret",
		Long:    "Print the value that functions of the stage get: the stage's own, else that of all stages.",
		Example: "  sst secrets get StripeKey --stage prod",
		RunE:    func(c *cobra.Command, args []string) error { return t.withSecrets(c, args, o, t.getSecret) },
	}
	get.Flags().BoolVar(&o.fallback, "fallback", false, "the value for all stages")
	remove := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Delete the value of a secret",
		Long:    "Delete the value of a secret, so that the stage has that of all stages, if there is one.",
		Example: "  sst secrets remove StripeKey --stage prod",
		RunE:    func(c *cobra.Command, args []string) error { return t.withSecrets(c, args, o, t.removeSecret) },
	}
	remove.Flags().BoolVar(&o.fallback, "fallback", false, "the value for all stages")
	var format string
	list := &cobra.Command{
		Use:   "list",
		Short: "List the secrets, and which have a value",
		Long: `List the secrets of the app and where each has its value from.

--format env prints them with their values as lines of a .env file.`,
		Example: "  sst secrets list --stage prod\n  sst secrets list --format env > .env.local",
		Args:    noArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if format != "table" && format != "env" {
				return usagef("--format is table or env, got %q", format)
			}
			return t.withSecrets(c, []string{""}, o, func(ctx context.Context, s *secrets, _ string) error { return t.listSecrets(ctx, s, format) })
		},
	}
	list.Flags().StringVar(&format, "format", "table", "table, or env: NAME=\"value\" lines")
	all.AddCommand(set, get, list, remove)
	return all
}

// secrets is what the verbs work on.
type secrets struct {
	*secretOptions
	project *project
	app     *cfn.Manifest
	store   secretStore
}

// withSecrets builds the app, which says what its secrets are, and opens the store.
func (t *tool) withSecrets(c *cobra.Command, args []string, o *secretOptions, do func(context.Context, *secrets, string) error) error {
	if len(args) != 1 {
		return usagef("%s takes one NAME, got %d arguments", c.CommandPath(), len(args))
	}
	ctx := c.Context()
	p, err := t.open(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := t.build(ctx, p, time.Now()); err != nil {
		return err
	}
	asm, err := cfn.Open(p.out)
	if err != nil {
		return err
	}
	s := &secrets{secretOptions: o, project: p, app: asm.Manifest, store: t.localSecrets(p)}
	if !o.local {
		source, err := t.credentialSource(ctx)
		if err != nil {
			return err
		}
		if source == "" {
			t.view.Notice("No AWS credentials are configured, so these are the values of this machine, for sst start.")
			o.local = true
		}
	}
	if !o.local {
		config, err := t.awsConfig(ctx, p, asm.Manifest.Region)
		if err != nil {
			return err
		}
		s.store = &ssmStore{client: ssm.NewFromConfig(config), region: config.Region, key: o.key}
	}
	return t.awsProblem(do(ctx, s, args[0]))
}

// find gives a secret that stacks.star declares.
func (s *secrets) find(name string) (*cfn.Secret, error) {
	var found []*cfn.Secret
	var known []string
	for i := range s.app.Secrets {
		one := &s.app.Secrets[i]
		if known = append(known, one.Name); one.Name == name || one.ID == name {
			found = append(found, one)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, problemf(fmt.Sprintf("Declare it first: sst.Secret(stack, %q)", name), "stacks.star has no secret %q%s", name, didYouMean(name, known))
	}
	var ids []string
	for _, one := range found {
		ids = append(ids, one.ID)
	}
	return nil, problemf("", "there are %d secrets %q, say which: %s", len(found), name, strings.Join(ids, ", "))
}

// parameter is what holds the value of a secret, as --fallback says. A secret that stacks.star does not declare any more
// is found under its usual name.
func (s *secrets) parameter(name string, declared bool) (string, error) {
	one, err := s.find(name)
	if err != nil && !declared && !strings.Contains(name, "/") {
		one = &cfn.Secret{Name: name, Parameter: fmt.Sprintf("/sst/%s/%s/Secret/%s/value", s.app.App, s.app.Stage, name)}
		one.Fallback = fallbackOf(one.Parameter)
	} else if err != nil {
		return "", err
	}
	if !s.fallback {
		return one.Parameter, nil
	}
	if one.Fallback == "" {
		return "", problemf("", "%s has no value for all stages: its parameter has a name of its own, %s", name, one.Parameter)
	}
	return one.Fallback, nil
}

// of says whose value it is.
func (s *secrets) of() string {
	if s.fallback {
		return "all stages without one of their own"
	}
	return "stage " + s.app.Stage
}

func (t *tool) setSecret(ctx context.Context, s *secrets, name string) error {
	parameter, err := s.parameter(name, true)
	if err != nil {
		return err
	}
	value, err := t.readSecret(ctx, fmt.Sprintf("Value of %s for %s (not shown): ", name, s.of()))
	if err != nil {
		return err
	}
	if err := s.store.Set(ctx, parameter, value); err != nil {
		return err
	}
	t.view.SecretChanged(secretChange{Name: name, Parameter: parameter, Stage: s.app.Stage, Fallback: s.fallback, Action: "set", Place: s.store.Place()})
	return nil
}

// readSecret asks for a value, or takes all of stdin.
func (t *tool) readSecret(ctx context.Context, prompt string) (string, error) {
	var data []byte
	var err error
	if file, ok := t.Stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		data, err = readHidden(ctx, file, t.Stderr, prompt)
	} else {
		data, err = io.ReadAll(io.LimitReader(t.Stdin, 1<<20))
	}
	if err != nil {
		return "", err
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case value == "":
		return "", problemf("Nothing was changed.", "the value is empty")
	case !utf8.ValidString(value):
		return "", problemf("Encode it, as base64 for one, and decode it in the function.", "the value is not UTF-8 text, which is all that SSM takes")
	case len(value) > maxSecretBytes:
		return "", problemf("Keep it in a bucket or in Secrets Manager.", "the value has %d bytes, SSM takes %d", len(value), maxSecretBytes)
	}
	return value, nil
}

// readHidden reads a line without showing it. Ctrl-C gives the terminal back as it was.
func readHidden(ctx context.Context, file *os.File, out io.Writer, prompt string) ([]byte, error) {
	fd := int(file.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(out, prompt)
	defer fmt.Fprintln(out)
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		read <- line{text, err}
	}()
	select {
	case l := <-read:
		if errors.Is(l.err, io.EOF) {
			return nil, nil
		}
		return l.text, l.err
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}

func (t *tool) getSecret(ctx context.Context, s *secrets, name string) error {
	parameter, err := s.parameter(name, false)
	if err != nil {
		return err
	}
	wanted := []string{parameter}
	if other := fallbackOf(parameter); other != "" && other != parameter {
		wanted = append(wanted, other)
	}
	values, err := s.store.Get(ctx, wanted, true)
	if err != nil {
		return err
	}
	for _, parameter := range wanted {
		if value, ok := values[parameter]; ok {
			t.view.SecretValue(secretValue{Name: name, Parameter: parameter, Value: value})
			return nil
		}
	}
	return s.unset(name)
}

// unset says that there is no value, and what was meant where that is plain.
func (s *secrets) unset(name string) error {
	if _, err := s.find(name); err != nil {
		return err
	}
	words := []string{"set", name}
	if s.fallback {
		words = append(words, "--fallback")
	}
	if s.local {
		words = append(words, "--local")
	}
	return problemf("Set it: "+s.project.secretsCommand(words...), "%s has no value for %s %s", name, s.of(), s.store.Place())
}

func (t *tool) removeSecret(ctx context.Context, s *secrets, name string) error {
	parameter, err := s.parameter(name, false)
	if err != nil {
		return err
	}
	there, err := s.store.Remove(ctx, parameter)
	if err != nil {
		return err
	}
	if !there {
		if _, err := s.find(name); err != nil {
			return err
		}
		return problemf("", "%s has no value for %s %s", name, s.of(), s.store.Place())
	}
	t.view.SecretChanged(secretChange{Name: name, Parameter: parameter, Stage: s.app.Stage, Fallback: s.fallback, Action: "removed", Place: s.store.Place()})
	return nil
}

// listSecrets lists what stacks.star declares, then what is left of earlier secrets.
func (t *tool) listSecrets(ctx context.Context, s *secrets, format string) error {
	list := secretList{App: s.app.App, Stage: s.app.Stage, Place: s.store.Place(), Secrets: []listedSecret{}}
	var names []string
	known := map[string]bool{}
	for _, one := range s.app.Secrets {
		names = append(names, one.Parameter)
		if one.Fallback != "" {
			names = append(names, one.Fallback)
		}
	}
	for _, name := range names {
		known[name] = true
	}
	values, err := s.store.Get(ctx, names, format == "env")
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, one := range s.app.Secrets {
		listed := listedSecret{Name: one.Name, Parameter: one.Parameter, Declared: true}
		value, ok := values[one.Parameter]
		if listed.Source = "stage"; !ok {
			if value, ok = values[one.Fallback]; ok {
				listed.Source, listed.Parameter = "fallback", one.Fallback
			} else {
				listed.Source = ""
			}
		}
		if ok {
			fmt.Fprintf(&lines, "%s=%s\n", one.Name, quoteEnv(value))
		}
		list.Secrets = append(list.Secrets, listed)
	}
	if format == "env" {
		_, err := io.WriteString(t.Stdout, lines.String())
		return err
	}
	for _, of := range []struct{ source, path string }{
		{"stage", fmt.Sprintf("/sst/%s/%s/Secret", s.app.App, s.app.Stage)}, {"fallback", fmt.Sprintf("/sst/%s/.fallback/Secret", s.app.App)}} {
		there, err := s.store.Names(ctx, of.path)
		if err != nil {
			return err
		}
		for _, name := range there {
			if !known[name] {
				id := strings.TrimSuffix(strings.TrimPrefix(name, of.path+"/"), "/value")
				list.Secrets = append(list.Secrets, listedSecret{Name: id, Parameter: name, Source: of.source})
			}
		}
	}
	slices.SortStableFunc(list.Secrets, func(a, b listedSecret) int { return cmp.Compare(a.Name, b.Name) })
	t.view.SecretsListed(list)
	return nil
}

// quoteEnv writes a value as .env files have it.
func quoteEnv(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "\n", `\n`, "\r", `\r`).Replace(value) + `"`
}

// secretView is what `sst secrets` shows.
type secretView interface {
	// SecretChanged prints that a value was set or removed, never the value.
	SecretChanged(secretChange)
	// SecretValue prints the value that was asked for.
	SecretValue(secretValue)
	// SecretsListed prints the secrets and where their values are.
	SecretsListed(secretList)
}

type secretChange struct {
	Name      string `json:"name"`
	Parameter string `json:"parameter"`
	Stage     string `json:"stage"`
	Fallback  bool   `json:"fallback"`
	Action    string `json:"action"` // set, removed
	Place     string `json:"place"`
}

type secretValue struct {
	Name      string `json:"name"`
	Parameter string `json:"parameter"`
	Value     string `json:"value"`
}

type secretList struct {
	App     string         `json:"app"`
	Stage   string         `json:"stage"`
	Place   string         `json:"place"`
	Secrets []listedSecret `json:"secrets"`
}

type listedSecret struct {
	Name      string `json:"name"`
	Parameter string `json:"parameter"`
	Source    string `json:"source,omitempty"` // stage, fallback; "" when there is no value
	Declared  bool   `json:"declared"`         // in stacks.star
}

func (v *humanView) SecretChanged(c secretChange) {
	what, of := "Set", "for stage "+v.bold.Sprint(c.Stage)
	if c.Action == "removed" {
		what = "Removed"
	}
	if c.Fallback {
		of = "for all stages without a value of their own"
	}
	v.printf("%s %s %s %s\n", v.green.Sprint(what), v.bold.Sprint(c.Name), of, v.dim.Sprint(c.Place))
}

func (v *humanView) SecretValue(s secretValue) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintln(v.out, s.Value)
}

func (v *humanView) SecretsListed(l secretList) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(l.Secrets) == 0 {
		fmt.Fprintf(v.err, "%s declares no secrets. One is declared with sst.Secret(stack, \"StripeKey\").\n", l.App)
		return
	}
	width := 0
	for _, s := range l.Secrets {
		width = max(width, len(s.Name))
	}
	for _, s := range l.Secrets {
		source := map[string]string{"": v.red.Sprint("not set"), "stage": "stage " + l.Stage, "fallback": "all stages"}[s.Source]
		if !s.Declared {
			source += v.dim.Sprint("  (not in stacks.star)")
		}
		fmt.Fprintf(v.out, "%-*s  %s\n", width, s.Name, source)
	}
}

func (v *jsonView) SecretChanged(c secretChange) { v.emit("secret-changed", c) }
func (v *jsonView) SecretValue(s secretValue)    { v.emit("secret-value", s) }
func (v *jsonView) SecretsListed(l secretList)   { v.emit("secrets", l) }
