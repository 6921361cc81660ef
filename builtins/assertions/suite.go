package assertions

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	starjson "go.starlark.net/lib/json"
	"go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	interp "sst/starlark"
	"sst/starlark/diag"
)

// Suite is the test files of a project.
type Suite struct {
	Root   string         // of the project, absolute
	Run    *regexp.Regexp // names of the tests to run; nil: all
	Policy SnapshotPolicy
	// Synthesize makes the app as SynthInput says. The error is a diag.List when the user can do something about it.
	Synthesize func(ctx context.Context, in SynthInput) (*App, error)
	Print      func(at diag.Position, text string)
	// Done is told of each test as it ends.
	Done func(Result)
	// Timeout is that of one test, the synths it asks for included; 0 = 5 minutes.
	Timeout time.Duration
}

// SynthInput is what synth() was called with.
type SynthInput struct {
	Stage  string            // "" = the stage of the command
	Region string            // "" = that of the command
	Env    map[string]string // declared inputs, before those of the environment
}

func (in SynthInput) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q", in.Stage, in.Region)
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		fmt.Fprintf(&b, " %q=%q", name, in.Env[name])
	}
	return b.String()
}

// App is a synthesized app.
type App struct {
	Name, Stage, Region string
	Stacks              []Stack // in the order of deployment
	Functions           []string
	Warnings            []string
}

// Result is how one test went. Name is "" for a file that could not be evaluated.
type Result struct {
	File     string // absolute
	Name     string
	Problems diag.List // none: it passed
	Took     time.Duration
}

// Summary is how the whole went.
type Summary struct {
	Passed, Failed int
	Written        []string // snapshots, absolute
	Stale          []string // snapshots that no test takes
}

// RunFiles runs the test_* functions of files, in their order. Files share what they synthesize.
func (s *Suite) RunFiles(ctx context.Context, files []string) (Summary, error) {
	var sum Summary
	apps := map[string]*synthesized{}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		r := &run{suite: s, apps: apps, snapshots: snapshotsOf(file, s.Policy)}
		r.file(ctx, file, &sum)
		sum.Written = append(sum.Written, r.snapshots.written...)
		if s.Run != nil {
			continue // tests that did not run have taken no snapshots
		}
		stale, err := r.snapshots.stale()
		if err != nil {
			return sum, err
		}
		sum.Stale = append(sum.Stale, stale...)
	}
	return sum, ctx.Err()
}

// run is one test file under way.
type run struct {
	suite     *Suite
	apps      map[string]*synthesized // by SynthInput.key
	snapshots *snapshots
	test      string // name of the test under way
}

// synthesized is the outcome of a synth, for all that ask for the same.
type synthesized struct {
	app *appValue
	err error
}

// Predeclared are the names that test files have beside those of the language.
var Predeclared = []string{"Capture", "Match", "assert", "json", "math", "struct", "synth"}

func (r *run) predeclared() starlark.StringDict {
	return starlark.StringDict{
		"Capture": starlark.NewBuiltin("Capture", newCapture),
		"Match":   matchModule(),
		"assert":  r.assertModule(),
		"json":    starjson.Module,
		"math":    math.Module,
		"struct":  starlark.NewBuiltin("struct", starlarkstruct.Make),
		"synth":   starlark.NewBuiltin("synth", r.synth),
	}
}

func (r *run) file(ctx context.Context, file string, sum *Summary) {
	timeout := r.suite.Timeout
	if timeout == 0 {
		timeout = 5 * time.Minute
	}
	in := interp.New(interp.Options{Root: r.suite.Root, Predeclared: r.predeclared(), Print: r.suite.Print, Timeout: timeout})
	report := func(name string, began time.Time, err error) {
		result := Result{File: file, Name: name, Took: time.Since(began)}
		if err != nil {
			result.Problems = withCallers(in.Diagnose(err), file)
			sum.Failed++
		} else {
			sum.Passed++
		}
		if r.suite.Done != nil {
			r.suite.Done(result)
		}
	}
	began := time.Now()
	r.test = "file"
	globals, err := in.Exec(ctx, file)
	if err != nil {
		report("", began, err)
		return
	}
	for _, test := range tests(globals) {
		if ctx.Err() != nil {
			return
		}
		if r.suite.Run != nil && !r.suite.Run.MatchString(test.Name()) {
			continue
		}
		began, r.test = time.Now(), test.Name()
		_, err := in.Call(ctx, test, nil, nil)
		report(test.Name(), began, err)
	}
}

// withCallers adds where a test called the helper that failed: without it, the line is that of every other test, too.
func withCallers(list diag.List, file string) diag.List {
	told := make(diag.List, len(list))
	for i, d := range list {
		told[i] = d
		var calls []string
		for _, frame := range slices.Backward(d.Callers) {
			if frame.Pos.File == file {
				calls = append(calls, fmt.Sprint("line ", frame.Pos.Line))
			}
		}
		if len(calls) > 0 {
			with := *d
			with.Detail += "\nCalled from " + strings.Join(calls, ", ") + "."
			told[i] = &with
		}
	}
	return told
}

// tests are the functions test_* that a file defines, in the order of their lines.
func tests(globals starlark.StringDict) []*starlark.Function {
	var all []*starlark.Function
	for name, value := range globals {
		if fn, ok := value.(*starlark.Function); ok && strings.HasPrefix(name, "test_") {
			all = append(all, fn)
		}
	}
	slices.SortFunc(all, func(a, b *starlark.Function) int { return int(a.Position().Line) - int(b.Position().Line) })
	return all
}

// synth is the builtin: the app of stacks.star for a stage.
func (r *run) synth(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var in SynthInput
	var env *starlark.Dict
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "stage?", &in.Stage, "region?", &in.Region, "env?", &env); err != nil {
		return nil, err
	}
	if env != nil {
		in.Env = map[string]string{}
		for _, item := range env.Items() {
			name, isName := starlark.AsString(item[0])
			value, isValue := starlark.AsString(item[1])
			if !isName || !isValue {
				f := interp.Errorf("wrong-type", "Wrong type", "synth: env is a dict from names to strings, got %s: %s.", item[0], item[1])
				f.Keyword = "env"
				return nil, f
			}
			in.Env[name] = value
		}
	}
	done := r.apps[in.key()]
	if done == nil {
		app, err := r.suite.Synthesize(interp.Context(thread), in)
		done = &synthesized{err: err}
		if err == nil {
			done.app, done.err = newApp(app)
		}
		if interp.Context(thread).Err() == nil { // else it is not the app's fault
			r.apps[in.key()] = done
		}
	}
	if done.err != nil {
		return nil, done.err
	}
	return done.app, nil
}

// appValue is an App in Starlark.
type appValue struct {
	app       *App
	templates map[string]*Template // by short name
	members   starlark.StringDict
}

var _ starlark.HasAttrs = (*appValue)(nil)

func newApp(app *App) (*appValue, error) {
	v := &appValue{app: app, templates: map[string]*Template{}}
	var names []string
	for _, stack := range app.Stacks {
		t, err := newTemplate(stack)
		if err != nil {
			return nil, err
		}
		v.templates[stack.Short] = t
		names = append(names, stack.Short)
	}
	v.members = starlark.StringDict{
		"name": starlark.String(app.Name), "stage": starlark.String(app.Stage), "region": starlark.String(app.Region),
		"stacks": stringList(names), "functions": stringList(app.Functions), "warnings": stringList(app.Warnings),
		"template": starlark.NewBuiltin("template", v.template),
	}
	v.members.Freeze()
	return v, nil
}

func stringList(texts []string) *starlark.List {
	values := make([]starlark.Value, len(texts))
	for i, text := range texts {
		values[i] = starlark.String(text)
	}
	return starlark.NewList(values)
}

func (v *appValue) String() string        { return fmt.Sprintf("<App %s stage %s>", v.app.Name, v.app.Stage) }
func (v *appValue) Type() string          { return "App" }
func (v *appValue) Freeze()               {}
func (v *appValue) Truth() starlark.Bool  { return true }
func (v *appValue) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable type: App") }
func (v *appValue) AttrNames() []string   { return v.members.Keys() }
func (v *appValue) Attr(name string) (starlark.Value, error) {
	return attr("App", name, v.members)
}

// template is that of a stack, by its id in stacks.star or by its name.
func (v *appValue) template(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	name := ""
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "stack", &name); err != nil {
		return nil, err
	}
	if t := v.templates[name]; t != nil {
		return t, nil
	}
	var names []string
	for _, stack := range v.app.Stacks {
		if stack.Name == name {
			return v.templates[stack.Short], nil
		}
		names = append(names, stack.Short)
	}
	f := interp.Errorf("unknown-stack", "No such stack", "The app has no stack %q; it has %s.", name, strings.Join(names, ", "))
	f.Value = name
	if near := diag.Nearest(name, names); near != "" {
		f.Hint = fmt.Sprintf("Did you mean %q?", near)
	}
	return nil, f
}
