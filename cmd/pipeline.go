package cmd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sst/builtins"
	"sst/builtins/jsii"
	"sst/cfn"
	"sst/runtime/bundle"
	"sst/starlark/diag"
)

// This file is the way from stacks.star to an assembly: evaluate and synthesize, bundle meanwhile, put the code in.

// openEngine gives the evaluator. Looking for Node and unpacking the CDK go on in the background, and what is wrong with
// them is told only when the files themselves are right.
func (t *tool) openEngine(context.Context) (*builtins.Engine, error) {
	return builtins.Open(builtins.Options{Node: t.findNode, CDKDir: t.unpackCDK, Logger: t.log})
}

func (t *tool) unpackCDK(ctx context.Context) (string, error) {
	dir, err := jsii.Unpack(ctx, t.CacheDir, t.view.Notice)
	if err != nil {
		return "", problemf("The folder must be writable and have 100 MB free.", "the CDK cannot be unpacked into %s: %v", t.CacheDir, err)
	}
	return dir, nil
}

// findNode looks for Node.js on the PATH, once.
func (t *tool) findNode() (jsii.Node, error) {
	t.node.once.Do(func() {
		t.node.found, t.node.err = jsii.RecallNode(t.Getenv, "", t.CacheDir)
		if t.node.err != nil {
			t.node.err = &Problem{Summary: t.node.err.Error()}
		}
	})
	return t.node.found, t.node.err
}

// engine gives the world's shared engine, or one of this run's own; done must be called when it is no longer needed.
func (t *tool) engine(ctx context.Context) (engine *builtins.Engine, done func(), err error) {
	if t.World.Engine != nil {
		engine, err = t.World.Engine(ctx)
		return engine, func() {}, err
	}
	engine, err = t.openEngine(ctx)
	if err != nil {
		return nil, nil, err
	}
	return engine, func() { engine.Close() }, nil
}

// lazyEngine is the engine of a build, which may not need one.
type lazyEngine struct {
	tool   *tool
	engine *builtins.Engine
	done   func()
	ending sync.WaitGroup
}

func (l *lazyEngine) get(ctx context.Context) (*builtins.Engine, error) {
	if l.engine != nil {
		return l.engine, nil
	}
	var err error
	l.engine, l.done, err = l.tool.engine(ctx)
	return l.engine, err
}

// release ends the engine, if there is one, in the background: the build goes on meanwhile.
func (l *lazyEngine) release() {
	if l.done != nil {
		l.ending.Go(l.done)
		l.engine, l.done = nil, nil
	}
}

// wait releases the engine and waits for its end.
func (l *lazyEngine) wait() {
	l.release()
	l.ending.Wait()
}

// purpose is what an assembly is made for.
type purpose int

const (
	forDeploy purpose = iota
	forLocal          // `sst start` on this machine
	forLive           // `sst start` on AWS
)

// synthesize evaluates the project into dir. What is to be bundled is handed to found as it is declared.
func (t *tool) synthesize(ctx context.Context, engine *builtins.Engine, p *project, dir string, use purpose, hashes map[string]string, found func(bundle.Spec)) (*builtins.Synthesis, error) {
	input, err := t.input(p, dir)
	if err != nil {
		return nil, err
	}
	input.Local, input.Live, input.Hashes = use != forDeploy, use == forLive, hashes
	if input.Live {
		input.ConnectionsURL, input.Shipped = t.Getenv("SST_CONNECTIONS_URL"), map[string]string{"relay": relayCode().Hash}
	}
	if found != nil {
		input.OnFunction = func(f cfn.Function) { found(f.Bundle) }
		input.OnPacked = func(p cfn.Packed) { found(p.Bundle) }
	}
	return engine.Synth(ctx, input)
}

// hostProblem says what to do about a CDK process that failed; a second one was tried already.
func (t *tool) hostProblem(err *jsii.HostError) *Problem {
	hint := "Another Node.js may do better: version " + strconv.Itoa(jsii.BestNode) + " is best."
	if node, failed := t.findNode(); failed == nil {
		hint = fmt.Sprintf("It runs in %s, which is version %s; version %d is best. Is memory left? Does NODE_OPTIONS or a wrapper of node interfere?", node.Path, node.Version, jsii.BestNode)
	}
	return &Problem{Summary: err.Error(), Hint: hint + " To unpack the CDK anew, delete " + filepath.Join(t.CacheDir, "cdk") + "."}
}

// input is what every synth of the project depends on.
func (t *tool) input(p *project, dir string) (builtins.Input, error) {
	limits, err := t.limits()
	if err != nil {
		return builtins.Input{}, err
	}
	return builtins.Input{
		File:          p.file,
		Stage:         p.stage,
		Region:        p.region,
		DefaultRegion: p.defaultRegion,
		Personal:      p.savedStage,
		OutDir:        dir,
		Env:           t.lookupInput,
		CacheDir:      t.CacheDir,
		MaxSteps:      limits.steps,
		Timeout:       limits.time,
		Print:         t.view.Printed,
	}, nil
}

// limits of an evaluation, zero where the default holds.
type limits struct {
	steps uint64
	time  time.Duration
}

// limits reads SST_EVALUATION_STEPS (a number) and SST_EVALUATION_TIMEOUT (a duration such as 90s), for the rare app that
// needs more than the defaults.
func (t *tool) limits() (l limits, err error) {
	if text := t.Getenv("SST_EVALUATION_STEPS"); text != "" {
		if l.steps, err = strconv.ParseUint(text, 10, 64); err != nil || l.steps == 0 {
			return l, problemf("", "SST_EVALUATION_STEPS is a number of steps above 0, got %q", text)
		}
	}
	if text := t.Getenv("SST_EVALUATION_TIMEOUT"); text != "" {
		if l.time, err = time.ParseDuration(text); err != nil || l.time <= 0 {
			return l, problemf("", "SST_EVALUATION_TIMEOUT is a duration such as 90s or 2m, got %q", text)
		}
	}
	return l, nil
}

// bundling collects the bundles of functions while they are declared, in batches that esbuild likes.
type bundling struct {
	builder *bundle.Builder
	specs   chan bundle.Spec
	done    chan struct{}
	results map[string]*bundle.Result // by Spec.Key
}

// batchSize of calls to esbuild: larger ones take more memory, smaller ones parse shared modules more often.
const batchSize = 24

func startBundling(ctx context.Context, builder *bundle.Builder) *bundling {
	b := &bundling{builder: builder, specs: make(chan bundle.Spec, 1024), done: make(chan struct{}), results: map[string]*bundle.Result{}}
	go b.run(ctx)
	return b
}

func (b *bundling) run(ctx context.Context) {
	defer close(b.done)
	var batch []bundle.Spec
	flush := func() {
		for _, result := range b.builder.Build(ctx, batch) {
			b.results[result.Spec.Key()] = result
		}
		batch = batch[:0]
	}
	for spec := range b.specs {
		if _, known := b.results[spec.Key()]; known {
			continue
		}
		b.results[spec.Key()] = nil
		if batch = append(batch, spec); len(batch) == batchSize {
			flush()
		}
	}
	if len(batch) > 0 {
		flush()
	}
}

// bundleAll builds what is known from the beginning.
func bundleAll(ctx context.Context, builder *bundle.Builder, wanted []cfn.Bundled) map[string]*bundle.Result {
	results := map[string]*bundle.Result{}
	var specs []bundle.Spec
	for _, needed := range wanted {
		if key := needed.Spec.Key(); results[key] == nil {
			results[key] = &bundle.Result{}
			specs = append(specs, needed.Spec)
		}
	}
	for _, result := range builder.Build(ctx, specs) {
		results[result.Spec.Key()] = result
	}
	return results
}

func (b *bundling) add(spec bundle.Spec) { b.specs <- spec }

// wait says that no function will be added and gives all results by Spec.Key.
func (b *bundling) wait() map[string]*bundle.Result {
	close(b.specs)
	<-b.done
	return b.results
}

// synthesized is an assembly with placeholders where the code goes, and what is known of it.
type synthesized struct {
	step     buildStep
	Dir      string                `json:"-"`
	Manifest *cfn.Manifest         `json:"manifest"`
	Stacks   []stackSummary        `json:"stacks"`             // Template is relative to Dir
	RealHash bool                  `json:"realHash,omitempty"` // a logical id contains the hash of code: cfn.NeedsRealHash
	Warnings []*storedDiagnostic   `json:"warnings,omitempty"`
	Inputs   []builtins.Dependency `json:"inputs"`
}

// built is what a build made and what it was made of.
type built struct {
	synth    *synthesized
	warnings diag.List
	inputs   []string          // files, absolute
	env      map[string]string // declared environment inputs, name → envState
	steps    []buildStep
}

// buildAssembly makes the finished assembly of the project in p.out, replacing what was there in one step. keep lists
// files of p.out that are right if their names are.
func (t *tool) buildAssembly(ctx context.Context, p *project, engine *lazyEngine, keep []string) (*built, error) {
	work, err := p.workFolder()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	builder := bundle.Open(bundle.Config{Root: p.root, Mode: bundle.Deploy, Cache: filepath.Join(p.state, "cache", "bundles"),
		LookupEnv: t.LookupEnv, Notice: t.view.Notice})
	defer builder.Close()

	s, results, err := t.synthesizeAndBundle(ctx, p, engine, builder, work)
	if err != nil {
		return nil, err
	}
	codes := map[string]cfn.Code{}
	hashes := map[string]string{}
	for key, result := range results {
		codes[key] = cfn.Code{Zip: result.Zip, Hash: result.Hash}
		hashes[key] = result.Hash
	}
	if s.RealHash { // the CDK has to see the hashes
		if s, err = t.synthesizeFresh(ctx, p, engine, filepath.Join(work, "hashed"), hashes, nil); err != nil {
			return nil, err
		}
		s.step.Reasons = []string{"a logical id depends on the code of a function"}
	}
	engine.release()
	draft := filepath.Join(work, "out")
	if err := reuse(keep, p.out, draft); err != nil {
		return nil, err
	}
	if _, err := cfn.FinishTo(s.Dir, draft, s.Manifest, codes); errors.Is(err, bundle.ErrDamaged) {
		return t.buildAssembly(ctx, p, engine, keep) // it is bundled this time
	} else if err != nil {
		return nil, err
	}
	if err := replaceFolder(draft, p.out); err != nil {
		return nil, problemf("--out chooses another folder.", "the assembly cannot be written: %v", err)
	}
	b := t.account(s, results, bundleProblems(p, s.Manifest, results))
	b.steps = []buildStep{s.step, bundleStep(results)}
	return b, nil
}

// synthesizeAndBundle gives the assembly with placeholders and the code of its functions. What an earlier run has
// synthesized is used when nothing that it read has changed: a changed handler needs no CDK.
func (t *tool) synthesizeAndBundle(ctx context.Context, p *project, engine *lazyEngine, builder *bundle.Builder, work string) (*synthesized, map[string]*bundle.Result, error) {
	s, why := t.cachedSynth(p)
	if s != nil {
		if !s.RealHash {
			engine.release()
		}
		results := bundleAll(ctx, builder, s.Manifest.Bundles())
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if !bundleProblems(p, s.Manifest, results).HasErrors() {
			return s, results, nil
		}
		// What is wrong may be what the evaluation looks at, a missing export say, and it has the better place for it.
		why = "the code cannot be bundled any more"
	}
	started := time.Now()
	bundles := startBundling(ctx, builder)
	s, err := t.synthesizeFresh(ctx, p, engine, filepath.Join(work, "synth"), nil, bundles.add)
	if err != nil || !s.RealHash {
		engine.release()
	}
	results := bundles.wait()
	if err != nil {
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if problems := bundleProblems(p, s.Manifest, results); problems.HasErrors() {
		return nil, nil, append(problems, restoreDiagnostics(s.Warnings)...)
	}
	s.step.Reasons = []string{why}
	if err := t.keepSynth(p, s, started); err != nil {
		t.log.Warn("the synthesized assembly is not kept", "error", err)
	}
	return s, results, nil
}

// synthesizeFresh evaluates the project into dir.
func (t *tool) synthesizeFresh(ctx context.Context, p *project, lazy *lazyEngine, dir string, hashes map[string]string, found func(bundle.Spec)) (*synthesized, error) {
	engine, err := lazy.get(ctx)
	if err != nil {
		return nil, err
	}
	synthesis, err := t.synthesize(ctx, engine, p, dir, forDeploy, hashes, found)
	if err != nil {
		return nil, err
	}
	s := &synthesized{step: buildStep{Step: "synth", Made: 1}, Dir: dir, Manifest: synthesis.Manifest, Warnings: storeDiagnostics(synthesis.Warnings), Inputs: synthesis.Inputs}
	for _, stack := range synthesis.Assembly.Stacks {
		template, err := stack.Template()
		if err != nil {
			return nil, err
		}
		file, err := filepath.Rel(dir, filepath.Join(stack.Dir, stack.TemplateFile))
		if err != nil {
			return nil, err
		}
		s.Stacks = append(s.Stacks, stackSummary{Name: stack.Name, Template: file, Resources: len(template.Resources)})
	}
	s.RealHash, err = cfn.NeedsRealHash(synthesis.Assembly)
	return s, err
}

// dependencies splits what a synth read into files and environment, leaving out some kinds.
func (t *tool) dependencies(inputs []builtins.Dependency, without ...string) (files []string, env map[string]string) {
	env = map[string]string{}
	for _, input := range inputs {
		switch {
		case slices.Contains(without, input.Kind):
		case input.Kind == "env":
			env[input.Name] = t.envState(input.Name)
		default: // what was looked for and not found matters too
			files = append(files, input.Name)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), env
}

// reuse links files of the last output into the draft of the next. Archives bear the hash of their content as a name, so
// what is not wanted any more is removed when the assembly is finished.
func reuse(files []string, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		name := filepath.Base(file)
		if filepath.Dir(file) != from || !strings.HasPrefix(name, "asset.") || !strings.HasSuffix(name, ".zip") {
			continue
		}
		os.Link(file, filepath.Join(to, name)) // where links are not to be had it is written again
	}
	return nil
}

// account lists what the build was made of.
func (t *tool) account(s *synthesized, results map[string]*bundle.Result, warnings diag.List) *built {
	b := &built{synth: s, warnings: append(restoreDiagnostics(s.Warnings), warnings...)}
	var bundled []string
	for _, result := range results {
		bundled = append(bundled, result.Inputs...)
	}
	b.inputs, b.env = t.dependencies(s.Inputs)
	b.inputs = append(b.inputs, withSurroundings(bundled)...)
	slices.Sort(b.inputs)
	b.inputs = slices.Compact(b.inputs)
	return b
}

// envState tells an empty variable from an unset one.
func (t *tool) envState(name string) string {
	if value, ok := t.lookupInput(name); ok {
		return "=" + value
	}
	return ""
}

// bundleProblems puts what esbuild and the Go compiler said at the place where the user can do something about it: the
// line of the source, and, for a handler that does not exist, the line of stacks.star that names it.
func bundleProblems(p *project, manifest *cfn.Manifest, results map[string]*bundle.Result) diag.List {
	var list diag.List
	said := map[string]bool{}
	same := map[string]*diag.Diagnostic{} // by text: functions that share a file fail together
	more := map[*diag.Diagnostic]int{}
	for _, needed := range manifest.Bundles() {
		key := needed.Spec.Key()
		result := results[key]
		if result == nil || said[key] {
			continue
		}
		said[key] = true
		for _, message := range result.Messages {
			d := messageDiagnostic(message)
			if d.Span.Start.IsValid() {
				text := d.Error()
				if first := same[text]; first != nil {
					more[first]++
					continue
				}
				same[text] = d
			}
			if needed.Spec.Kind == bundle.Site {
				d.Summary = "Cannot build the site"
			} else {
				d.Detail += fmt.Sprintf("\nFound while bundling %s for %s.", needed.Source, needed.ID)
			}
			if !d.Span.Start.IsValid() {
				at := needed.Position
				d.Span = diag.Point(diag.Position{File: filepath.Join(p.root, filepath.FromSlash(at.File)), Line: at.Line, Col: at.Column})
			}
			list = append(list, d)
		}
	}
	for d, n := range more {
		d.Detail = fmt.Sprintf("%s, and %d more.", strings.TrimSuffix(d.Detail, "."), n)
	}
	return list
}

// messageDiagnostic shows what esbuild or another compiler said like our own diagnostics.
func messageDiagnostic(m bundle.Message) *diag.Diagnostic {
	d := &diag.Diagnostic{Severity: diag.Error, Code: "bundle", Summary: "Cannot bundle", Detail: m.Text}
	if m.Severity == bundle.Warning {
		d.Severity, d.Summary = diag.Warning, "Bundled with a warning"
	}
	if m.File != "" {
		d.Span.Start = diag.Position{File: m.File, Line: m.Line, Col: m.Col}
		d.Span.End = diag.Position{File: m.File, Line: m.Line, Col: m.Col + m.Length}
	}
	for _, note := range m.Notes {
		d.Detail += "\n" + noteText(note, m.File)
	}
	return d
}

// noteText is a note with its place, which is said as seen from the file that the message is about.
func noteText(note bundle.Message, from string) string {
	if note.Line == 0 {
		return note.Text
	}
	place := fmt.Sprintf("on line %d", note.Line)
	if note.File != from {
		if rel, err := filepath.Rel(filepath.Dir(from), note.File); err == nil {
			place += " of " + filepath.ToSlash(rel)
		}
	}
	text := strings.TrimSuffix(note.Text, ":")
	if before, ok := strings.CutSuffix(text, " here"); ok {
		return before + " " + place + "."
	}
	return strings.TrimSuffix(text, ".") + " (" + place + ")."
}

// workFolder makes a folder for drafts on the same file system as the output.
func (p *project) workFolder() (string, error) {
	dir := filepath.Join(p.state, "tmp")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, "build-")
}

// replaceFolder puts draft in the place of target. A crash in between leaves the old one aside, never a mixture.
func replaceFolder(draft, target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	aside := draft + ".old"
	if err := os.Rename(target, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		// Another file system, or something that is not ours to move.
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
	return os.Rename(draft, target)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// outputs lists the files of an assembly.
func outputs(dir string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			all = append(all, path)
		}
		return err
	})
	return all, err
}
