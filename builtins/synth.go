package builtins

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	"sst/cfn"
	"sst/runtime/bundle"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// synth is Synth under the lock.
func (e *Engine) synth(ctx context.Context, in Input) (*Synthesis, error) {
	found := e.files.check(in)
	if found.HasErrors() {
		return &Synthesis{Inputs: e.files.dependencies()}, found
	}
	synthesis, err := e.attempt(ctx, in)
	if lost(err) && ctx.Err() == nil { // says nothing about the app: another process tries again, once
		synthesis, err = e.attempt(ctx, in)
	}
	if in.madeUp() && in.Account == "" && wantsAccount(synthesis, err, in.Stage) {
		in.Account = madeUpAccount
		synthesis, err = e.attempt(ctx, in)
	}
	if err != nil {
		return synthesis, err
	}
	synthesis.Warnings = append(synthesis.Warnings, found...).Sorted()
	return synthesis, nil
}

// attempt is one synth on the host that is next.
func (e *Engine) attempt(ctx context.Context, in Input) (*Synthesis, error) {
	h, err := e.pool.take(ctx)
	if err != nil {
		return nil, err
	}
	synthesis, err := e.run(ctx, in, h, e.files.parse)
	if down := h.Down(); err != nil && down != nil && down.Lost() {
		err = &lostError{down} // where the evaluation was at that moment says nothing
	}
	e.pool.rest(err != nil && !isDiagnostic(err), e.warmUp(in))
	return synthesis, err
}

// lostError marks the failure of a synth whose process ended by itself or fell silent.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

func lost(err error) bool {
	var l *lostError
	return errors.As(err, &l)
}

// warmUp gives what makes a new host as fast as one that has synthesized the app before: doing it there once, beside whatever
// goes on, for nobody. An app that starts programs is not run for nothing.
func (e *Engine) warmUp(in Input) func(context.Context, *jsii.Host) {
	if in.AllowExec {
		return nil
	}
	return func(ctx context.Context, h *jsii.Host) {
		dir, err := os.MkdirTemp("", "sst-warm-")
		if err != nil {
			return
		}
		defer os.RemoveAll(dir)
		in.OutDir, in.OnFunction, in.OnPacked, in.Print = dir, nil, nil, nil
		for range warmSynths {
			if _, err := e.run(ctx, in, h, nil); err != nil { // it has been told, or will be by the next synth
				return
			}
		}
	}
}

// warmSynths is how often an app is synthesized before V8 has optimized most of what it runs.
const warmSynths = 2

// run evaluates and synthesizes on a host.
func (e *Engine) run(ctx context.Context, in Input, h *jsii.Host, parse func(path string, src []byte) *interp.File) (*Synthesis, error) {
	if err := os.RemoveAll(in.OutDir); err != nil {
		return nil, err
	}
	s := newSession(ctx, in, &patient{h, e.deadline()})
	s.parse = parse
	h.Begin(jsii.Session{Root: s.root, OutDir: in.OutDir, AllowExec: in.AllowExec, Callback: s.answer})
	defer func() { s.ended = true }()
	err := s.evaluate(compiledPrelude())
	s.thread = nil
	var synthesis *Synthesis
	if err != nil {
		h.Flush(ctx) // what is still queued fails now, not in the next session
	} else {
		synthesis, err = s.synthesize()
	}
	missing, err := s.missing(err)
	if err != nil {
		return &Synthesis{Inputs: s.dependencies(), Missing: missing}, err
	}
	synthesis.Missing = missing
	return synthesis, nil
}

func (e *Engine) deadline() time.Duration {
	if e.opts.Deadline > 0 {
		return e.opts.Deadline
	}
	return 20 * time.Second // below the limit of an evaluation, which would be blamed otherwise
}

// patient is a host whose answers are waited for only so long.
type patient struct {
	*jsii.Host
	deadline time.Duration // of a question; a synth may take three times as long
}

func (p *patient) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, p.deadline, jsii.ErrSilent)
}

// Call is that of the host, under the deadline.
func (p *patient) Call(ctx context.Context, op jsii.Op) (jsii.Value, error) {
	ctx, cancel := p.limit(ctx)
	defer cancel()
	return p.Host.Call(ctx, op)
}

// Flush is that of the host, under the deadline.
func (p *patient) Flush(ctx context.Context) error {
	ctx, cancel := p.limit(ctx)
	defer cancel()
	return p.Host.Flush(ctx)
}

// Synth is that of the host, under the deadline.
func (p *patient) Synth(ctx context.Context, app int64, tag int) (*jsii.SynthReply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*p.deadline, jsii.ErrSilent)
	defer cancel()
	return p.Host.Synth(ctx, app, tag)
}

// evaluate runs the prelude, the user's files and what waits for their end.
func (s *session) evaluate(l *library) error {
	if l.err != nil {
		return fmt.Errorf("the prelude is broken: %w", l.err)
	}
	user := s.forUser()
	s.interp = interp.New(interp.Options{
		Root: s.root, Read: s.readFile, OnRead: s.onRead, Print: s.in.Print, Predeclared: user,
		Parse: s.parse, MaxSteps: s.in.MaxSteps, Timeout: s.in.Timeout,
		Builtin: interp.Library{Programs: l.programs, Predeclared: s.forPrelude()},
	})
	module, err := s.runPrelude(l)
	if err != nil {
		return fmt.Errorf("the prelude is broken: %w", err)
	}
	user["sst"] = module
	s.thread = nil
	if _, err := s.interp.Exec(s.ctx, s.in.File); err != nil {
		s.thread = nil
		return s.first(err)
	}
	for i := 0; i < len(s.onSynth); i++ { // hooks may add hooks
		hook := s.onSynth[i]
		s.thread, s.base = nil, hook.call
		if _, err := s.interp.Call(s.ctx, hook.fn, nil, nil); err != nil {
			return s.first(s.rehome(err, hook.call))
		}
	}
	s.thread, s.base = nil, call{}
	if err := s.host.Flush(s.ctx); err != nil {
		return s.diagnose(err)
	}
	return nil
}

// first prefers the error of an operation queued before the evaluation stopped: what follows it may be its consequence.
func (s *session) first(err error) error {
	var js *jsii.Error
	if flushed := s.host.Flush(s.ctx); errors.As(flushed, &js) {
		return s.diagnose(flushed)
	}
	return err
}

// rehome gives diagnostics of a hook, which runs under no line of the user, the place where it was registered.
func (s *session) rehome(err error, at call) error {
	var list diag.List
	if !errors.As(err, &list) {
		return s.placed(err, at)
	}
	moved := make(diag.List, len(list))
	for i, d := range list {
		moved[i] = d
		if d.Span.Start.IsValid() && !strings.HasPrefix(d.Span.Start.File, preludePrefix) {
			continue
		}
		f := &interp.Failure{Severity: d.Severity, Code: d.Code, Summary: d.Summary, Detail: d.Detail, Hint: d.Hint, Frames: d.Frames}
		moved[i] = s.diagnostic(f, at)
	}
	return moved
}

// synthesize makes the assembly of what was evaluated.
func (s *session) synthesize() (*Synthesis, error) {
	if err := s.complete(); err != nil {
		return nil, err
	}
	s.closeStates()
	root := asObject(s.app.resource)
	tag := len(s.calls)
	s.calls = append(s.calls, call{})
	reply, err := s.host.Synth(s.ctx, root.id, tag)
	if err != nil {
		return nil, s.diagnose(err)
	}
	for id, path := range reply.Paths {
		if o := s.created[id]; o != nil {
			o.path = path
		}
	}
	for _, file := range reply.Files {
		s.depend(Dependency{Kind: file.Kind, Name: file.Name})
	}
	if err := s.messages(reply); err != nil {
		return nil, err
	}
	asm, err := cfn.Open(s.in.OutDir)
	if err != nil {
		return nil, err
	}
	asm.Preload()
	manifest, err := s.manifest(asm)
	if err != nil {
		return nil, err
	}
	return &Synthesis{Dir: s.in.OutDir, Manifest: manifest, Assembly: asm, Inputs: s.dependencies(), Warnings: s.warnings}, nil
}

// complete checks that there is an app with a stack.
func (s *session) complete() error {
	at := diag.Point(diag.Position{File: s.in.File})
	if s.app == nil {
		return diag.List{{Code: "no-app", Summary: "No app", Span: at,
			Detail: `the file makes no sst.App: begin with app = sst.App("name").`}}
	}
	if asObject(s.app.resource) == nil {
		return diag.List{{Code: "no-app", Summary: "No app", Span: at, Detail: "the sst.App has no CDK app."}}
	}
	if s.stack == nil {
		f := interp.Errorf("no-stack", "No stack", `the app has no stack: add one with sst.Stack(app, "name").`)
		return diag.List{s.diagnostic(f, s.appCall)}
	}
	return nil
}

// messages are annotations on constructs: warnings go on, errors stop.
func (s *session) messages(reply *jsii.SynthReply) error {
	var problems diag.List
	for _, m := range reply.Messages {
		if strings.HasPrefix(m.Message, "Number of resources: ") {
			continue // said by crowded, later and with advice
		}
		if d := s.said(m); d.Severity == diag.Error {
			problems = append(problems, d)
		} else {
			s.warnings = append(s.warnings, d)
		}
	}
	if problems.HasErrors() {
		return problems.Sorted()
	}
	return nil
}

// said is what the CDK has to say of a construct, at the line that made it or the nearest one around it.
func (s *session) said(m jsii.Message) *diag.Diagnostic {
	f := interp.Errorf("cdk-"+m.Level, "The CDK says", "%s", sentence(s.readable(m.Message)))
	switch m.Level {
	case "error":
		f.Summary = "The CDK objects"
	case "warning":
		f.Severity = diag.Warning
	default:
		f.Severity = diag.Note
	}
	tag := s.tagAbove(m.Path)
	if o := s.created[m.ID]; tag == 0 && o != nil {
		tag = s.tagAbove(o.path)
	}
	if path := s.short(strings.Trim(m.Path, "/")); path != "" {
		f.Detail = path + ": " + f.Detail
	}
	return s.diagnostic(f, s.call(tag))
}

// manifest is sst.json.
func (s *session) manifest(asm *cfn.Assembly) (*cfn.Manifest, error) {
	name, _ := starlark.AsString(s.app.members["name"])
	region, _ := starlark.AsString(s.app.members["region"])
	if strings.Contains(region, "${Token[") {
		region = "" // that of the deployment
	}
	personal, _ := s.app.members["personal"].(starlark.Bool)
	removal, _ := starlark.AsString(s.app.members["removal"])
	named, _ := starlark.AsString(s.app.members["_named_region"]) // "" for None
	m := &cfn.Manifest{Version: cfn.ManifestVersion, App: name, Stage: s.in.Stage, Region: region, AppRegion: named, Personal: bool(personal), Destroy: removal == "destroy", Functions: []cfn.Function{}, Secrets: s.secrets,
		Positions: make(map[string]cfn.Position, len(s.places))}
	misused, err := s.misuse(asm)
	if err != nil {
		return nil, err
	}
	if misused.HasErrors() {
		return nil, misused
	}
	if err := s.crowded(asm); err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, f := range s.functions {
		if err := s.locate(&f, asm); err != nil {
			return nil, err
		}
		if taken[f.Name] {
			f.Name = limited(f.Name+"-", f.Path)
		}
		taken[f.Name] = true
		m.Functions = append(m.Functions, f.Function)
	}
	for _, one := range s.packed {
		one.Path = one.owner.constructPath()
		one.ID = s.short(one.Path)
		if stack := stackOf(asm, one.Path); stack != nil {
			one.Stack = stack.ID
		}
		if one.Bundle.Kind == bundle.Site {
			m.Sites = append(m.Sites, one.Packed)
		} else {
			m.Jobs = append(m.Jobs, one.Packed)
		}
	}
	for path, tag := range s.places {
		if pos := s.position(tag); pos.Line > 0 {
			m.Positions[path] = pos
		}
	}
	return m, cfn.Derive(asm, m)
}

// locate finds a function in the templates: by the construct path in its metadata, else by asking the CDK.
func (s *session) locate(f *function, asm *cfn.Assembly) error {
	f.Path = f.owner.constructPath()
	f.ID = s.short(f.Path)
	f.Position = s.position(f.tag)
	stack := stackOf(asm, f.Path)
	if stack == nil {
		return nil
	}
	f.Stack = stack.ID
	template, err := stack.Template()
	if err != nil {
		return err
	}
	path := f.object.constructPath() + "/Resource"
	for id, r := range template.Resources {
		if r.Type == "AWS::Lambda::Function" && r.Metadata["aws:cdk:path"] == path {
			f.LogicalID = id
		}
	}
	if f.LogicalID == "" {
		v, err := s.call1(jsii.Op{Kind: jsii.LogicalID, Target: f.object.id, Returns: jsii.TypeRef{Kind: jsii.String}, Tag: f.tag})
		if err != nil {
			return err
		}
		f.LogicalID, _ = v.(string)
	}
	f.Name = functionName(template, stack.Name, f.Function)
	return nil
}

// stackOf is the stack that a construct path lies in.
func stackOf(asm *cfn.Assembly, path string) *cfn.Stack {
	var best *cfn.Stack
	for _, stack := range asm.Stacks {
		id := stack.DisplayName
		if id == "" {
			id = stack.ID
		}
		if (path == id || strings.HasPrefix(path, id+"/")) && (best == nil || len(id) > len(best.DisplayName)) {
			best = stack
		}
	}
	return best
}

// functionName is what Invoke takes: the physical name when the template has one, else one that reads well.
func functionName(template *cfn.Template, stack string, f cfn.Function) string {
	if r := template.Resources[f.LogicalID]; r != nil {
		if name, ok := r.Properties["FunctionName"].(string); ok {
			return name
		}
	}
	_, below, _ := strings.Cut(f.Path, "/")
	name := stack + "-" + below
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r == '/', r == ' ', r == '.', r == '{', r == '}', r == '$', r == '+':
			return '-'
		}
		return -1
	}, name)
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	name = strings.Trim(name, "-")
	if len(name) > maxFunctionName {
		name = limited(name, f.Path)
	}
	return name
}

const maxFunctionName = 64 // of Lambda

// limited ends a name in a hash of the path, so that it is short and unique.
func limited(name, path string) string {
	return name[:min(len(name), maxFunctionName-9)] + "-" + hashOf([]byte(path))[:8]
}
