package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"sst/builtins"
	"sst/cfn"
	"sst/runtime"
	"sst/starlark/diag"
)

// defaultPort is that of the first Api.
const defaultPort = 3000

func startCommand(t *tool) *cobra.Command {
	var local, restore bool
	var on live
	var port int
	var keys []string
	var noLint, reset, noIAM bool
	var inspect inspectFlag
	command := &cobra.Command{
		Use:   "start [FILE]",
		Short: "Run the app's functions on this machine and reload what you save",
		Long: `Run the app's functions on this machine: every route, schedule and function runs your working copy.

With AWS credentials, the app is deployed with a stub in the place of each function. Whatever invokes a function in AWS, the
stub hands it to this machine and answers with what your code says; the code has the function's environment and the
credentials of its role. Save a handler, and the next invocation runs it: nothing is deployed. Save stacks.star, and what
that changes in AWS is shown; ENTER deploys it, or --auto does. When start ends, the stubs stay: sst deploy, or sst start
--restore, puts the code back.

Without AWS credentials, or with --local, everything happens on this machine: nothing is deployed, nothing leaves it. Each
Api has a port here, and a saved stacks.star is synthesized again in the running process.

With --inspect, a debugger can follow the functions: each has a port that stays the same while code is reloaded, a function
has one process, and its time stands still while a debugger is attached. .vscode/launch.json is written when there is none.

The project's own ESLint and type check run beside it and never hold a reload up (--no-lint leaves them out).`,
		Example: "  sst start\n  sst start --auto\n  sst start --local --port 8080\n  sst start --local --inspect web/Export",
		Args: func(c *cobra.Command, args []string) error {
			_, files := inspect.files(t, args)
			return atMostFile(c, files)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if port < 0 || port > 65535 {
				return usagef("--port takes a number from 0 (any free port) to 65535, got %d", port)
			}
			functions, files := inspect.files(t, args)
			p, err := t.open(c.Context(), files)
			if err != nil {
				return err
			}
			inspection := inspection{on: c.Flags().Changed("inspect"), names: functions}
			why := "as --local says"
			if !local {
				source, err := t.credentialSource(c.Context())
				if err != nil {
					return err
				}
				switch {
				case source != "" && restore:
					return t.restore(c.Context(), p)
				case source != "":
					on.starter = &starter{tool: t, project: p, live: &on, noLint: noLint, noted: map[string]bool{}, inspection: inspection}
					return on.starter.run(c.Context())
				}
				why = "no AWS credentials are configured"
			}
			if restore {
				return problemf("Set AWS_PROFILE or --profile.", "--restore deploys to AWS, and there are no credentials for it")
			}
			s := &starter{tool: t, project: p, port: port, why: why, keys: keys, noLint: noLint, reset: reset, noIAM: noIAM, only: on.only, inspection: inspection}
			return s.run(c.Context())
		},
	}
	command.Flags().BoolVar(&local, "local", false, "run everything on this machine, without AWS")
	command.Flags().BoolVar(&reset, "reset", false, "empty what the local cloud keeps: messages, objects, tables, parameters")
	command.Flags().BoolVar(&noIAM, "no-iam", false, "let every function do everything in the local cloud, whatever its role allows")
	command.Flags().BoolVar(&noLint, "no-lint", false, noLintHelp)
	command.Flags().StringArrayVar(&keys, "jwks", nil, "public keys of an issuer of tokens, from `[ISSUER=]FILE_OR_URL`; may be given again")
	command.Flags().BoolVar(&on.auto, "auto", false, "deploy what a saved stacks.star changes without waiting for ENTER, unless data would be lost")
	command.Flags().StringArrayVar(&on.only, "only", nil, "run this `FUNCTION` (\"web/Export\") and leave the others to other developers; may be given again")
	command.Flags().Var(&inspect, "inspect", "let a debugger follow this `[FUNCTION]` (\"web/Export\" or its handler), or every Node function; may be given again")
	command.Flags().Lookup("inspect").NoOptDefVal = "true"
	for _, name := range []string{"inspect", "only"} {
		command.RegisterFlagCompletionFunc(name, func(c *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
			return t.completeFunctions(c, nil, start)
		})
	}
	command.Flags().BoolVar(&on.takeOver, "take-over", false, "take the functions from another developer who runs them")
	command.Flags().BoolVarP(&on.yes, "yes", "y", false, "do not ask on a stage that is not your own")
	command.Flags().BoolVar(&restore, "restore", false, "put the functions' code back in the place of their stubs, and end")
	command.Flags().IntVar(&port, "port", defaultPort, "port of the first Api, the next free ones for the rest; 0: any free ports")
	return command
}

// restore puts the code back in the place of the stubs, which is a deployment.
func (t *tool) restore(ctx context.Context, p *project) error {
	began := time.Now()
	if _, err := t.buildRecorded(ctx, p, began); err != nil {
		return err
	}
	asm, err := cfn.Open(p.out)
	if err != nil {
		return err
	}
	return t.deploy(ctx, p, asm, nil, deployOptions{unchecked: true}, began) // they were deployed before
}

// starter is one run of `sst start`. Its loop owns all fields.
type starter struct {
	*tool
	project *project
	port    int
	why     string // it is local, in words
	keys    []string
	noLint  bool
	reset   bool // the local cloud begins empty
	noIAM   bool
	live    *live // nil: it is local
	mode    purpose
	noted   map[string]bool // what was said about functions
	only    []string        // of --only, where it means nothing

	inspection  inspection
	toldInspect map[string]string // addresses that were told, by function; nil until Started

	// reloaded is called when a saved stacks.star is served; nil: nobody waits for that.
	reloaded func(ctx context.Context, asm *cfn.Assembly) error

	engine  *builtins.Engine
	server  *runtime.Server
	asm     *cfn.Assembly
	folder  string // where assemblies are synthesized to, one folder each
	synths  int
	changed chan []string
	code    atomic.Pointer[codeWatch]    // nil until the app is served, and with --no-lint
	served  atomic.Pointer[cfn.Assembly] // asm, for who is not the loop
	secrets *fileStore
	also    []string        // further files whose saving is a reload
	watched func()          // watches the same again
	madeUp  string          // kinds of lookups that were said to have made-up answers
	lacking map[string]bool // parameters of secrets that were said to have no value
}

func (s *starter) run(ctx context.Context) error {
	began := time.Now()
	engine, done, err := s.tool.engine(ctx)
	if err != nil {
		return err
	}
	defer done()
	s.engine = engine
	s.changed = make(chan []string, 64)
	s.secrets, s.lacking = s.localSecrets(s.project), map[string]bool{}

	// The server takes the folder first: a second start must not touch what the first one serves.
	node, err := s.findNode()
	if err != nil {
		return err
	}
	s.server, err = runtime.Open(ctx, runtime.Options{
		Root:    s.project.root,
		Dir:     s.project.state,
		Stage:   s.project.stage,
		Region:  s.localRegion(),
		Port:    s.port,
		Keys:    s.keys,
		Node:    runtime.Node{Path: node.Path, Major: node.Major},
		Environ: s.Environ,
		Logger:  s.log,
		Events:  s.event,
		Version: Version,
		Secrets: func(ctx context.Context, env map[string]string) (map[string]string, error) {
			env = s.env.Load().complete(env)
			if s.live != nil {
				return completeSecrets(ctx, s.live.secrets, "sst secrets set", env)
			}
			return completeSecrets(ctx, s.secrets, "sst secrets set --local", env)
		},
		Parameter: func(ctx context.Context, name string) (string, bool, error) {
			values, err := s.secrets.Get(ctx, []string{name}, true)
			value, ok := values[name]
			return value, ok, err
		},
		Reset: s.reset,
		NoIAM: s.noIAM,
		Live:  s.live != nil,
	})
	if err != nil {
		return &Problem{Summary: err.Error()}
	}
	defer s.server.Close()
	if s.live != nil {
		return s.live.run(ctx, began)
	}
	s.mode = forLocal

	s.folder = filepath.Join(s.project.state, "local", "assembly")
	if err := os.RemoveAll(s.folder); err != nil {
		return err
	}
	synthesis, asm, err := s.synthesize(ctx)
	if err != nil {
		return err
	}
	if _, err := s.namedFunctions("--only", s.only, asm.Manifest); err != nil {
		return err
	}
	if len(s.only) > 0 {
		s.view.Notice("--only is for a stage in AWS that several developers share; here every function runs on this machine.")
	}
	if err := s.inspect(asm.Manifest); err != nil {
		return err
	}
	if err := s.serve(ctx, synthesis, asm); err != nil {
		return err
	}
	s.started(s.describe(time.Since(began)))
	if !s.noLint {
		s.code.Store(s.watchCode(ctx, s.project, s.rules))
		defer s.code.Load().wait()
	}
	for {
		select {
		case <-ctx.Done():
			s.view.Notice("Stopping.")
			return s.server.Close()
		case files := <-s.changed:
			for len(files) > 0 {
				files = s.reload(ctx, s.drain(files))
			}
		}
	}
}

// localRegion is what functions are told before the app has decided it.
func (s *starter) localRegion() string {
	for _, region := range []string{s.project.region, s.project.defaultRegion} {
		if region != "" {
			return region
		}
	}
	return "us-east-1"
}

// event gets what the server reports, on the server's goroutine.
func (s *starter) event(e runtime.Event) {
	switch e := e.(type) {
	case runtime.Changed:
		select {
		case s.changed <- e.Files:
		default: // a reload is due anyway and reads everything
		}
	case runtime.Rebuilt:
		s.code.Load().saved()
	}
	s.view.Event(e)
}

// drain joins changes that are already waiting: one reload serves them all.
func (s *starter) drain(files []string) []string {
	for {
		select {
		case more := <-s.changed:
			files = append(files, more...)
		default:
			slices.Sort(files)
			return slices.Compact(files)
		}
	}
}

// synthesize evaluates the project into a folder of its own, so that the one being served stays whole.
func (s *starter) synthesize(ctx context.Context) (*builtins.Synthesis, *cfn.Assembly, error) {
	env, err := s.openEnv(s.project) // a .env file may be what was saved
	if err != nil {
		return nil, nil, err
	}
	s.env.Store(env)
	s.synths++
	dir := filepath.Join(s.folder, fmt.Sprint(s.synths))
	synthesis, err := s.tool.synthesize(ctx, s.engine, s.project, dir, s.mode, nil, nil)
	if err != nil {
		os.RemoveAll(dir)
		return synthesis, nil, err
	}
	asm, err := cfn.Open(dir)
	if err != nil {
		return synthesis, nil, err
	}
	asm.SetManifest(synthesis.Manifest)
	return synthesis, asm, nil
}

// serve puts an assembly to work and lets go of the one before.
func (s *starter) serve(ctx context.Context, synthesis *builtins.Synthesis, asm *cfn.Assembly) error {
	if len(synthesis.Warnings) > 0 {
		s.view.Diagnostics(synthesis.Warnings)
	}
	s.tellMadeUp(synthesis.Missing)
	if err := s.server.Update(ctx, asm); err != nil {
		return err
	}
	if s.asm != nil {
		os.RemoveAll(s.asm.Dir)
	}
	s.asm = asm
	s.served.Store(asm)
	s.code.Load().saved()
	s.tellInspected()
	if s.live == nil {
		if err := s.tellMissingSecrets(ctx, asm.Manifest); err != nil {
			return err
		}
	}
	// A changed handler needs no synth: the server rebuilds it.
	s.watch(synthesis.Inputs, "env", "handler")
	return nil
}

// rules has the CDK's rules look at the templates of the app that is served.
func (s *starter) rules(ctx context.Context) (diag.List, error) {
	asm := s.served.Load()
	return s.validate(ctx, s.project, asm.Manifest, asm.Stacks)
}

// tellMadeUp says which lookups have made-up answers on this machine, whenever that changes.
func (s *starter) tellMadeUp(missing []builtins.Lookup) {
	kinds := make([]string, 0, len(missing))
	for _, l := range missing {
		kinds = append(kinds, l.Provider)
	}
	slices.Sort(kinds)
	said := strings.Join(slices.Compact(kinds), ", ")
	if said != "" && said != s.madeUp {
		s.view.Notice(fmt.Sprintf("%s does not answer what the app looks up in AWS (%s): on this machine made-up values do. `sst lookup` records the real ones.", builtins.LockFile, said))
	}
	s.madeUp = said
}

// tellMissingSecrets says once which secrets have no value on this machine.
func (s *starter) tellMissingSecrets(ctx context.Context, m *cfn.Manifest) error {
	missing, err := missingSecrets(ctx, s.secrets, m.Secrets)
	for _, secret := range missing {
		if !s.lacking[secret.Parameter] {
			s.lacking[secret.Parameter] = true
			s.view.Notice(fmt.Sprintf("The secret %s has no value on this machine. Set it: sst secrets set --local %s", secret.Name, secret.Name))
		}
	}
	return err
}

// watch looks at what a synth read, without the kinds that do not matter. What was saved since it was read has changed
// already.
func (s *starter) watch(inputs []builtins.Dependency, without ...string) {
	s.watched = func() { s.watch(inputs, without...) }
	files := slices.Concat([]string{s.project.file}, s.env.Load().files, s.also)
	for _, input := range inputs {
		if !slices.Contains(without, input.Kind) {
			files = append(files, input.Name)
		}
	}
	slices.Sort(files)
	s.server.Watch(slices.Compact(files))
	var stale []string
	for _, input := range inputs {
		if !slices.Contains(without, input.Kind) && input.Stale() {
			stale = append(stale, input.Name)
		}
	}
	if len(stale) > 0 {
		s.event(runtime.Changed{Files: stale})
	}
}

// patience is how long a synth may go on once a newer save is waiting: it may be what repairs a loop without end.
const patience = time.Second

// reload synthesizes again after stacks.star or something it reads was saved. A mistake leaves the app as it is. It gives
// the files of a newer save for which this one was given up.
func (s *starter) reload(ctx context.Context, files []string) (newer []string) {
	began := time.Now()
	before := s.asm
	attempt, giveUp := context.WithCancel(ctx)
	defer giveUp()
	type outcome struct {
		synthesis *builtins.Synthesis
		asm       *cfn.Assembly
		err       error
	}
	ended := make(chan outcome, 1)
	go func() {
		synthesis, asm, err := s.synthesize(attempt)
		ended <- outcome{synthesis, asm, err}
	}()
	slow := time.After(patience)
	var saves <-chan []string // nil: not looked at yet
	var got outcome
	for done := false; !done; {
		select {
		case <-slow:
			saves = s.changed
		case newer = <-saves:
			saves = nil
			giveUp()
		case got = <-ended:
			done = true
		}
	}
	err := got.err
	if err == nil {
		err = s.serve(ctx, got.synthesis, got.asm)
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil && len(newer) > 0:
		return append(newer, files...)
	case err != nil:
		s.tool.exit(ctx, err)
		s.view.Notice("The app is served as it was before.")
		if got.synthesis != nil { // a file or an export that was missing may be what repairs it
			s.watch(got.synthesis.Inputs, "env")
		}
	default:
		s.view.Reloaded(compare(before.Manifest, got.asm.Manifest, files, time.Since(began)))
		if s.reloaded != nil {
			if err := s.reloaded(ctx, got.asm); err != nil && ctx.Err() == nil {
				s.tool.exit(ctx, err)
			}
		}
	}
	return newer
}

// started is what a server that is ready tells.
type started struct {
	App       string           `json:"app"`
	Stage     string           `json:"stage"`
	Mode      string           `json:"mode"`
	Why       string           `json:"why"` // it is in that mode
	APIs      []startedAPI     `json:"apis"`
	Lambda    string           `json:"lambda"`
	Region    string           `json:"region"`
	Functions []startedFn      `json:"functions"` // those without a route
	Schedules []startedTrigger `json:"schedules"`
	Sites     []startedSite    `json:"sites"`
	Inspect   []startedInspect `json:"inspect,omitempty"`
	Seconds   float64          `json:"seconds"`
}

type startedSite struct {
	ID     string `json:"id"`
	Folder string `json:"folder"`
}

func startedSites(m *cfn.Manifest) []startedSite {
	sites := make([]startedSite, 0, len(m.Sites))
	for _, site := range m.Sites {
		sites = append(sites, startedSite{site.ID, site.Bundle.Handler})
	}
	return sites
}

type startedAPI struct {
	ID     string         `json:"id"`
	URL    string         `json:"url"`
	Routes []startedRoute `json:"routes"`
}

type startedRoute struct {
	Key        string `json:"key"`
	Handler    string `json:"handler"`
	Authorizer string `json:"authorizer,omitempty"`
}

type startedFn struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Handler string `json:"handler"`
}

type startedTrigger struct {
	Schedule string `json:"schedule"`
	Function string `json:"function"`
	Handler  string `json:"handler"`
}

func (s *starter) describe(took time.Duration) started {
	m := s.asm.Manifest
	about := started{
		App: m.App, Stage: m.Stage, Mode: "local", Why: s.why, Lambda: s.server.Lambda(), Region: m.Region, Seconds: took.Seconds(),
		APIs: []startedAPI{}, Functions: []startedFn{}, Schedules: []startedTrigger{}, Sites: startedSites(m),
	}
	if about.Region == "" {
		about.Region = s.localRegion()
	}
	handlers := map[string]string{}
	for _, f := range m.Functions {
		handlers[f.ID] = f.Handler
	}
	reached := map[string]bool{}
	for _, api := range m.Apis {
		a := startedAPI{ID: api.ID, Routes: []startedRoute{}}
		for _, address := range s.server.Apis() {
			if address.ID == api.ID {
				a.URL = address.URL
			}
		}
		for _, route := range api.Routes {
			reached[route.Function] = true
			if route.Mock != nil { // the API's own answers, to preflight requests most of all
				continue
			}
			gate := route.Authorizer
			if known, ok := api.AuthorizerOf(gate); ok {
				gate = known.Name
				reached[known.Function] = true
			}
			a.Routes = append(a.Routes, startedRoute{route.Key, handlers[route.Function], gate})
		}
		about.APIs = append(about.APIs, a)
	}
	for _, trigger := range m.Triggers {
		if trigger.Type == "cron" {
			reached[trigger.Function] = true
			about.Schedules = append(about.Schedules, startedTrigger{trigger.Schedule, trigger.Function, handlers[trigger.Function]})
		}
	}
	for _, f := range m.Functions {
		if !reached[f.ID] {
			about.Functions = append(about.Functions, startedFn{f.ID, f.Name, f.Handler})
		}
	}
	return about
}

// reloaded is what a saved stacks.star changed.
type reloaded struct {
	Files   []string `json:"files"`
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Changed []string `json:"changed"`
	Seconds float64  `json:"seconds"`
}

// compare lists routes, functions and schedules that came, went or lead elsewhere.
func compare(before, after *cfn.Manifest, files []string, took time.Duration) reloaded {
	r := reloaded{Files: files, Added: []string{}, Removed: []string{}, Changed: []string{}, Seconds: took.Seconds()}
	old, now := parts(before), parts(after)
	for name, what := range now {
		if was, ok := old[name]; !ok {
			r.Added = append(r.Added, name)
		} else if was != what {
			r.Changed = append(r.Changed, name)
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			r.Removed = append(r.Removed, name)
		}
	}
	slices.Sort(r.Added)
	slices.Sort(r.Removed)
	slices.Sort(r.Changed)
	return r
}

// parts names what a manifest serves, with all that would make it another.
func parts(m *cfn.Manifest) map[string]string {
	all := map[string]string{}
	reached := map[string]bool{}
	for _, api := range m.Apis {
		for _, route := range api.Routes {
			all[api.ID+" "+route.Key] = route.Function + functionState(m, route.Function)
			reached[route.Function] = true
		}
	}
	for _, f := range m.Functions {
		if !reached[f.ID] {
			all[f.ID] = functionState(m, f.ID)
		}
	}
	for _, trigger := range m.Triggers {
		all[trigger.Type+" of "+trigger.Function] = fmt.Sprintf("%+v", trigger)
	}
	return all
}

func functionState(m *cfn.Manifest, id string) string {
	for _, f := range m.Functions {
		if f.ID == id {
			f.Position = cfn.Position{}
			return fmt.Sprintf("%+v", f)
		}
	}
	return ""
}
