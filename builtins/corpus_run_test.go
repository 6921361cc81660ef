package builtins

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"sst/builtins/jsii"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// meant is what Node makes of an example.
type meant struct {
	ID        string
	Kind      string // of the class that it is the constructor of: "stack", "construct", "stage", ""
	Error     string // why it cannot be evaluated
	Templates map[string]any
	RSS       int64 `json:"rss,omitempty"`
}

//go:embed testdata/corpus/node.js
var nodeJS string

// nodeRunner runs examples in a Node process, which is replaced when it has grown or hangs.
type nodeRunner struct {
	node jsii.Node
	dir  string // of the CDK
	root string // working folder
	out  string // for assemblies

	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan []byte
}

func (r *nodeRunner) start() error {
	config, err := json.Marshal(map[string]string{"dir": r.dir, "root": r.root, "out": r.out})
	if err != nil {
		return err
	}
	r.cmd = exec.Command(r.node.Path, "-e", nodeJS, string(config))
	r.cmd.Env = []string{"HOME=" + r.root, "PATH=" + os.Getenv("PATH"), "CDK_VALIDATION=false", "JSII_DEPRECATED=quiet"}
	r.cmd.Dir = r.root
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	lines := make(chan []byte)
	r.lines = lines
	go func() {
		defer close(lines)
		in := bufio.NewReaderSize(stdout, 1<<20)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			lines <- line
		}
	}()
	return r.cmd.Start()
}

func (r *nodeRunner) close() {
	if r.cmd == nil {
		return
	}
	r.stdin.Close()
	r.cmd.Process.Kill()
	for range r.lines {
	}
	r.cmd.Wait()
	r.cmd = nil
}

func (r *nodeRunner) run(e *example) (*meant, error) {
	code, err := e.javascript()
	if err != nil {
		return &meant{ID: e.ID, Error: "does not compile: " + err.Error()}, nil
	}
	if r.cmd == nil {
		if err := r.start(); err != nil {
			return nil, err
		}
	}
	request, err := json.Marshal(map[string]string{"id": e.ID, "code": code})
	if err != nil {
		return nil, err
	}
	r.stdin.Write(append(request, '\n'))
	select {
	case line, ok := <-r.lines:
		m := &meant{}
		if !ok {
			r.close()
			return &meant{ID: e.ID, Error: "ends the process"}, nil
		}
		if err := json.Unmarshal(line, m); err != nil {
			return nil, fmt.Errorf("node says %.200q: %w", line, err)
		}
		if m.RSS > 700<<20 {
			r.close()
		}
		m.RSS = 0
		return m, nil
	case <-time.After(time.Minute):
		r.close()
		return &meant{ID: e.ID, Error: "takes more than a minute"}, nil
	}
}

// verdict is what became of an example, in the order in which it can fail.
type verdict string

const (
	notMeant     verdict = "node"     // Node cannot evaluate it: not in the denominator
	untranslated verdict = "parse"    // the translation is no Starlark, or uses names that it does not define
	rejected     verdict = "check"    // the check before the evaluation objects
	failed       verdict = "evaluate" // the evaluation or synth fails
	different    verdict = "template" // it evaluates to something else
	same         verdict = "same"     // it evaluates, to the same templates
)

// outcome of an example.
type outcome struct {
	ID      string
	Verdict verdict
	Empty   bool              // Node makes no template of it
	Detail  string            // the error, or the first difference
	Keys    map[string]string `json:",omitempty"` // of templates that are the same but for the spelling of keys: ours, Node's
	Spaces  bool              `json:",omitempty"` // the templates are the same but for white space
	Mends   []string          `json:",omitempty"` // faults of the translator; without them it is the same
	Millis  int64
}

// ourRunner runs translations through the engine's session, on hosts of its own.
type ourRunner struct {
	pool   pool
	root   string
	out    string
	broken int // failures in a row
}

func newOurRunner(root, out string) *ourRunner {
	r := &ourRunner{root: root, out: out}
	r.pool.open(Options{Node: func() (jsii.Node, error) { return jsii.FindNode(os.Getenv, "") }, CDKDir: testCDK})
	return r
}

func (r *ourRunner) close() { r.pool.close() }

// run judges an example that Node can evaluate. One that fails is tried again without what is known to go wrong in translations.
func (r *ourRunner) run(ctx context.Context, e *example, want *meant) (outcome, error) {
	source := e.starlark()
	first, err := r.attempt(ctx, e, source, want)
	var applied []string
	for o := first; err == nil && (o.Verdict == rejected || o.Verdict == failed || o.Verdict == different); {
		i := slices.IndexFunc(mends, func(m mend) bool { return m.apply(source, o) != source })
		if i < 0 || len(applied) == 8 {
			break
		}
		if source = mends[i].apply(source, o); !slices.Contains(applied, mends[i].fault) {
			applied = append(applied, mends[i].fault)
		}
		if o, err = r.attempt(ctx, e, source, want); o.Verdict == same {
			first.Mends = applied
		}
	}
	return first, err
}

// attempt judges a program.
func (r *ourRunner) attempt(ctx context.Context, e *example, source string, want *meant) (o outcome, err error) {
	o = outcome{ID: e.ID, Empty: len(want.Templates) == 0}
	began := time.Now()
	defer func() { o.Millis = time.Since(began).Milliseconds() }()
	if e.Python == "" {
		o.Verdict, o.Detail = untranslated, "not translated"
		return o, nil
	}
	in := Input{
		File: filepath.Join(r.root, "main.star"), OutDir: r.out,
		Read: func(path string) ([]byte, error) {
			if filepath.Base(path) == "main.star" {
				return []byte(source), nil
			}
			return nil, fs.ErrNotExist
		},
	}
	host, err := r.pool.take(ctx)
	if err != nil {
		return outcome{}, err
	}
	os.RemoveAll(r.out)
	p := &translation{session: newSession(ctx, in, &patient{host, time.Minute}), out: r.out}
	if err := p.resolves(source, want.Kind); err != nil {
		o.Verdict, o.Detail = untranslated, err.Error()
		return o, nil
	}
	if found := checkTranslation(in.File, source); found.HasErrors() {
		o.Verdict, o.Detail = rejected, firstOf(found)
		return o, nil
	}
	host.Begin(jsii.Session{Root: r.root, OutDir: r.out, Callback: p.session.answer})
	templates, err := p.run(want.Kind, o.Empty)
	p.session.ended = true
	if err != nil {
		host.Flush(ctx)
	}
	r.pool.rest(err != nil && !isDiagnostic(err), nil)
	if err == nil {
		r.broken = 0
	} else if r.broken++; r.broken > 100 {
		return outcome{}, fmt.Errorf("100 examples failed one after the other: %w", err)
	}
	switch {
	case err != nil:
		o.Verdict, o.Detail = failed, firstOf(err)
	case !reflect.DeepEqual(templates, want.Templates) && (len(templates) > 0 || len(want.Templates) > 0):
		o.Verdict, o.Detail = different, difference("", any(want.Templates), any(templates))
		if reflect.DeepEqual(folded(any(templates)), folded(any(want.Templates))) {
			o.Keys = map[string]string{}
			otherKeys(o.Keys, any(want.Templates), any(templates))
		}
		o.Spaces = squeezed(templates) == squeezed(want.Templates)
	default:
		o.Verdict = same
	}
	return o, nil
}

// firstOf is the first problem of an error, on one line.
func firstOf(err error) string {
	var list diag.List
	text := err.Error()
	if errors.As(err, &list) && len(list) > 0 {
		i := max(0, slices.IndexFunc(list, func(d *diag.Diagnostic) bool { return d.Severity == diag.Error }))
		text = list[i].Code + ": " + list[i].Detail
		if list[i].Hint != "" {
			text += " " + list[i].Hint
		}
	}
	return oneLine(text)
}

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 300 {
		text = text[:300]
	}
	return text
}

// checkTranslation is the check that a project gets before its evaluation.
func checkTranslation(file, source string) diag.List {
	env := Env()
	env.Globals = maps.Clone(env.Globals) // of all checks
	for _, name := range []string{"self", "_App", "object"} {
		env.Globals[name] = nil
	}
	return interp.Check(interp.Parse(file, []byte(source)), env).Sorted()
}

// translation is the evaluation of one translated example: as the engine does it, but for the prelude.
type translation struct {
	session *session
	out     string
	apps    []*Object
}

var dialect = &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}

func (p *translation) predeclared() starlark.StringDict {
	values := p.session.forUser()
	values["_App"] = starlark.NewBuiltin("App", p.makeApp)
	return values
}

// resolves says whether the program is Starlark and defines what it names.
func (p *translation) resolves(source, kind string) error {
	f, err := dialect.Parse("main.star", source, 0)
	if err != nil {
		return err
	}
	known := p.predeclared()
	_, err = starlark.FileProgram(f, func(name string) bool { return name == "self" && kind != "" || known.Has(name) })
	return err
}

func (p *translation) run(kind string, empty bool) (map[string]any, error) {
	s := p.session
	values := p.predeclared()
	if kind != "" {
		self, err := p.self(kind)
		if err != nil {
			return nil, err
		}
		values["self"] = self
	}
	s.interp = interp.New(interp.Options{Root: s.root, Read: s.readFile, OnRead: s.onRead, Predeclared: values})
	_, err := s.interp.Exec(s.ctx, s.in.File)
	s.thread = nil
	if err != nil {
		return nil, s.first(err)
	}
	if err := s.host.Flush(s.ctx); err != nil {
		return nil, s.diagnose(err)
	}
	if len(s.created) <= baseConstructs[kind] && empty {
		return nil, nil // nothing was made
	}
	templates := map[string]any{}
	for i, app := range p.apps {
		if _, err := s.host.Synth(s.ctx, app.id, 0); err != nil {
			return nil, s.diagnose(err)
		}
		if err := templatesUnder(p.out, filepath.Join(p.out, fmt.Sprint(i)), templates); err != nil {
			return nil, err
		}
	}
	return templates, nil
}

// baseConstructs are the constructs that self needs.
var baseConstructs = map[string]int{"stack": 1, "construct": 2, "stage": 1}

// self is what stands for the object that the example constructs.
func (p *translation) self(kind string) (starlark.Value, error) {
	app, err := p.newApp(nil)
	if err != nil {
		return nil, err
	}
	make := func(fqn string, args ...starlark.Value) (starlark.Value, error) {
		t, _ := p.session.catalog.Type(fqn)
		return p.session.create(t, t.Init(), args, nil)
	}
	switch kind {
	case "stage":
		return make("aws-cdk-lib.Stage", app, starlark.String("Stage"))
	case "stack":
		return make(stackFQN, app, starlark.String("Stack"))
	}
	stack, err := make(stackFQN, app, starlark.String("Stack"))
	if err != nil {
		return nil, err
	}
	return make("constructs.Construct", stack, starlark.String("Construct"))
}

// makeApp stands for cdk.App, which a project leaves to sst.App.
func (p *translation) makeApp(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	p.session.at(thread)
	t, _ := p.session.catalog.Type(appFQN)
	b := binding{s: p.session, what: "cdk.App", params: t.Init().Params}
	wire, err := b.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	return p.newApp(wire)
}

func (p *translation) newApp(wire []jsii.Value) (*Object, error) {
	props := jsii.Pairs{}
	context := jsii.Pairs{{Name: "aws:cdk:disable-creation-stack-traces", Value: true}}
	if len(wire) > 0 {
		given, _ := wire[0].(jsii.Pairs)
		for _, field := range given {
			if more, ok := field.Value.(jsii.Pairs); ok && field.Name == "context" {
				context = append(context, more...)
			} else {
				props = append(props, field)
			}
		}
	}
	props = slices.DeleteFunc(props, func(p jsii.Pair) bool {
		return slices.Contains([]string{"outdir", "treeMetadata", "analyticsReporting", "autoSynth"}, p.Name)
	})
	props = append(props, jsii.Pair{Name: "outdir", Value: filepath.Join(p.out, fmt.Sprint(len(p.apps)))},
		jsii.Pair{Name: "treeMetadata", Value: false}, jsii.Pair{Name: "analyticsReporting", Value: false},
		jsii.Pair{Name: "autoSynth", Value: false}, jsii.Pair{Name: "context", Value: context})
	s := p.session
	t, _ := s.catalog.Type(appFQN)
	o := &Object{s: s, id: s.id(), t: t}
	o.canonical = o.id
	s.objects[o.id] = o
	p.apps = append(p.apps, o)
	return o, s.send(jsii.Op{Kind: jsii.Create, ID: o.id, FQN: appFQN, Args: []jsii.Value{props}})
}

// templatesUnder is that of node.js.
func templatesUnder(base, folder string, found map[string]any) error {
	list, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range list {
		file := filepath.Join(folder, entry.Name())
		if entry.IsDir() && strings.HasPrefix(entry.Name(), "assembly-") {
			if err := templatesUnder(base, file, found); err != nil {
				return err
			}
		}
		if entry.IsDir() || !strings.HasSuffix(entry.Name(), ".template.json") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var template map[string]any
		if err := json.Unmarshal(data, &template); err != nil {
			return err
		}
		for section, name := range map[string]string{"Parameters": "BootstrapVersion", "Rules": "CheckBootstrapVersion"} {
			if inner, ok := template[section].(map[string]any); ok {
				if delete(inner, name); len(inner) == 0 {
					delete(template, section)
				}
			}
		}
		if len(template) > 0 {
			rel, _ := filepath.Rel(base, file)
			found[filepath.ToSlash(rel)] = template
		}
	}
	return nil
}

// difference is the first place where two values differ, in words.
func difference(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		for _, key := range sortedKeys(w) {
			if _, ok := g[key]; !ok {
				return oneLine(fmt.Sprintf("%s.%s: missing, want %s", at, key, short(w[key])))
			}
		}
		for _, key := range sortedKeys(g) {
			if _, ok := w[key]; !ok {
				return oneLine(fmt.Sprintf("%s.%s: got %s, want none", at, key, short(g[key])))
			}
		}
		for _, key := range sortedKeys(w) {
			if !reflect.DeepEqual(w[key], g[key]) {
				return difference(at+"."+key, w[key], g[key])
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			if !reflect.DeepEqual(w[i], g[i]) {
				return difference(fmt.Sprintf("%s[%d]", at, i), w[i], g[i])
			}
		}
	}
	return oneLine(fmt.Sprintf("%s: got %s, want %s", at, short(got), short(want)))
}

// folded is a value with all its keys in one spelling.
func folded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			m[fold(key)] = folded(item)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = folded(item)
		}
		return list
	case string:
		if strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[") { // JSON in a string, or in a piece of one
			return fold(v)
		}
	}
	return v
}

func fold(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

var quotedKey = regexp.MustCompile(`"(\w+)"\s*:`)

// otherKeys collects the keys of got that are not in want, with want's spelling.
func otherKeys(keys map[string]string, want, got any) {
	switch g := got.(type) {
	case map[string]any:
		w, _ := want.(map[string]any)
		spelt := map[string]string{}
		for key := range w {
			spelt[fold(key)] = key
		}
		for key := range g {
			if _, ok := w[key]; !ok {
				keys[key] = spelt[fold(key)]
			}
			otherKeys(keys, w[spelt[fold(key)]], g[key])
		}
	case []any:
		w, _ := want.([]any)
		for i := range g {
			if i < len(w) {
				otherKeys(keys, w[i], g[i])
			}
		}
	case string:
		if w, _ := want.(string); w != g { // JSON, or a piece of it
			spelt := map[string]string{}
			for _, m := range quotedKey.FindAllStringSubmatch(w, -1) {
				spelt[fold(m[1])] = m[1]
			}
			for _, m := range quotedKey.FindAllStringSubmatch(g, -1) {
				if !strings.Contains(w, m[0]) {
					keys[m[1]] = spelt[fold(m[1])]
				}
			}
		}
	}
}

func short(v any) string {
	data, _ := json.Marshal(v)
	if len(data) > 120 {
		data = data[:120]
	}
	return string(data)
}
