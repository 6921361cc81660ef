package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"sst/builtins"
	"sst/cfn/lookup"
	"sst/starlark/diag"
)

func lookupCommand(t *tool) *cobra.Command {
	var renew bool
	c := &cobra.Command{
		Use:   "lookup [FILE]",
		Short: "Record what the app looks up in AWS in sst.lock.json",
		Long: `Ask AWS what the app looks up (Vpc.from_lookup, HostedZone.from_lookup, StringParameter.value_from_lookup, availability
zones, images, ...) and record the answers in sst.lock.json beside stacks.star.

Builds read that file only, so that they need no account and give the same result everywhere: commit it. What is recorded
stays until --renew. sst deploy records what is missing by itself.`,
		Example: "  sst lookup\n  AWS_PROFILE=production sst lookup --stage prod --renew",
		Args:    atMostFile,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := t.open(c.Context(), args)
			if err != nil {
				return err
			}
			recorded, err := t.lookup(c.Context(), p, renew)
			if err == nil && recorded == 0 {
				t.view.Notice(builtins.LockFile + " has all that the app looks up.")
			}
			return err
		},
	}
	c.Flags().BoolVar(&renew, "renew", false, "ask again for everything that this stage looks up")
	return c
}

// lockFile is sst.lock.json. What it holds that is not known here stays.
type lockFile struct {
	path   string
	fields map[string]json.RawMessage
}

func readLock(p *project) (*lockFile, error) {
	l := &lockFile{path: filepath.Join(p.root, builtins.LockFile), fields: map[string]json.RawMessage{}}
	data, err := os.ReadFile(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, problemf("", "%s cannot be read: %v", builtins.LockFile, errors.Unwrap(err))
	}
	if err := json.Unmarshal(data, &l.fields); err != nil {
		return nil, problemf("Take it from version control again, or delete it.", "%s is not what sst writes: %v", builtins.LockFile, err)
	}
	return l, nil
}

// field reads a part of the file into v.
func (l *lockFile) field(name string, v any) error {
	if l.fields[name] == nil {
		return nil
	}
	if err := json.Unmarshal(l.fields[name], v); err != nil {
		return problemf("Take it from version control again, or delete it.", "%s: %s is not what sst writes: %v", builtins.LockFile, name, err)
	}
	return nil
}

// set writes the file with another value of a part, in one step. Keys are sorted, so that a change is a small diff.
func (l *lockFile) set(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	l.fields[name] = data
	if data, err = json.MarshalIndent(l.fields, "", "  "); err != nil {
		return err
	}
	draft := l.path + ".new"
	if err := os.WriteFile(draft, append(data, '\n'), 0o644); err != nil {
		return problemf("", "%s cannot be written: %v", builtins.LockFile, errors.Unwrap(err))
	}
	return os.Rename(draft, l.path)
}

// lookupRounds are how often a synth may come up with further questions: an answer can lead to the next.
const lookupRounds = 10

// lookup records what a synth of the project misses, and says how much that was. renew asks
// again for what was recorded.
func (t *tool) lookup(ctx context.Context, p *project, renew bool) (recorded int, err error) {
	file, err := readLock(p)
	if err != nil {
		return 0, err
	}
	answers := map[string]json.RawMessage{}
	if err := file.field("lookups", &answers); err != nil {
		return 0, err
	}
	engine, done, err := t.engine(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	asked := &asker{tool: t, project: p}
	known := answers // to the synth
	if renew {
		known = map[string]json.RawMessage{}
	}
	for range lookupRounds {
		missing, err := t.missing(ctx, engine, p, known)
		missing = slices.DeleteFunc(missing, func(l builtins.Lookup) bool { return known[l.Key] != nil })
		if len(missing) == 0 {
			return recorded, err
		}
		for _, l := range missing {
			answer, err := asked.ask(ctx, l)
			if err != nil {
				return recorded, lookupProblem(l, err)
			}
			known[l.Key], answers[l.Key] = answer, answer
			if err := file.set("lookups", answers); err != nil {
				return recorded, err
			}
			recorded++
			t.view.Notice(fmt.Sprintf("Recorded %s in %s.", l.Key, builtins.LockFile))
		}
	}
	return recorded, fmt.Errorf("%d lookups lead to more and more", recorded)
}

// missing synthesizes with the answers at hand and gives the questions that are left. An error beside them may be their
// consequence.
func (t *tool) missing(ctx context.Context, engine *builtins.Engine, p *project, known map[string]json.RawMessage) ([]builtins.Lookup, error) {
	work, err := p.workFolder()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	in, err := t.input(p, filepath.Join(work, "out"))
	if err != nil {
		return nil, err
	}
	in.Print = nil // the build says it
	in.Read = func(path string) ([]byte, error) {
		if path == filepath.Join(p.root, builtins.LockFile) {
			file, err := readLock(p)
			if err != nil {
				return nil, err
			}
			if file.fields["lookups"], err = json.Marshal(known); err != nil {
				return nil, err
			}
			return json.Marshal(file.fields)
		}
		return os.ReadFile(path)
	}
	s, err := engine.Synth(ctx, in)
	if s == nil {
		return nil, err
	}
	return s.Missing, err
}

// asker asks AWS with the credentials of this run, which it looks for when there is something to ask.
type asker struct {
	tool    *tool
	project *project
	config  aws.Config
	account string // "" until the first question
}

func (a *asker) ask(ctx context.Context, l builtins.Lookup) (json.RawMessage, error) {
	q := lookup.Question{Provider: l.Provider, Props: l.Props}
	if a.account == "" {
		var props struct{ Region string }
		if err := json.Unmarshal(l.Props, &props); err != nil {
			return nil, err
		}
		config, err := a.tool.awsConfig(ctx, a.project, props.Region)
		if err != nil {
			return nil, err
		}
		identity, err := sts.NewFromConfig(config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return nil, a.tool.awsProblem(err)
		}
		a.config, a.account = config, aws.ToString(identity.Account)
	}
	if l.Provider == "" {
		return json.Marshal(a.account)
	}
	if account := q.Account(); account != "" && account != a.account {
		return nil, problemf("Choose other credentials with --profile or AWS_PROFILE, or correct `stages` of sst.App.",
			"the app looks things up in account %s, the credentials are of account %s", account, a.account)
	}
	answer, err := lookup.Ask(ctx, a.config, q)
	if errors.As(err, new(*lookup.NotFound)) || errors.As(err, new(*lookup.Unknown)) {
		return nil, err
	}
	if err != nil {
		return nil, a.tool.awsProblem(err)
	}
	return json.Marshal(answer)
}

// lookupProblem places what AWS does not have at the line that wants it.
func lookupProblem(l builtins.Lookup, err error) error {
	d := &diag.Diagnostic{Code: "lookup-failed", Summary: "Lookup failed", Detail: err.Error() + ".", Span: l.Span}
	var unknown *lookup.Unknown
	switch {
	case errors.As(err, &unknown):
		d.Hint = "Give the id or ARN in stacks.star instead, or write the answer into " + builtins.LockFile + " by hand, under " + l.Key + "."
	case errors.As(err, new(*lookup.NotFound)):
	default:
		return err
	}
	return diag.List{d}
}

// buildRecorded is build, with what it misses looked up first.
func (t *tool) buildRecorded(ctx context.Context, p *project, started time.Time) (buildSummary, error) {
	summary, err := t.build(ctx, p, started)
	var list diag.List
	if !errors.As(err, &list) || !slices.ContainsFunc(list, builtins.WantsLookup) {
		return summary, err
	}
	recorded, err := t.lookup(ctx, p, false)
	if err != nil || recorded == 0 {
		return summary, err
	}
	return t.build(ctx, p, started)
}
