package interp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.starlark.net/starlark"

	"sst/starlark/diag"
)

// Options says what files an Interp may read and what they may use. The zero
// value evaluates any file with nothing predeclared.
type Options struct {
	Root        string                              // project root, absolute; nothing outside it is readable
	Read        func(path string) ([]byte, error)   // nil = os.ReadFile; overlays for unsaved text go here
	Predeclared starlark.StringDict                 // for user files; may be completed until the first of them runs
	OnRead      func(path string, data []byte)      // sees every file of the user once
	Parse       func(path string, src []byte) *File // nil = Parse; for a caller that has the file parsed already
	Check       func(f *File) diag.List             // runs before a user file is evaluated; its errors end the evaluation
	Warn        func(d *diag.Diagnostic)            // takes what Check finds that is no error; nil = dropped
	MaxSteps    uint64                              // of one Exec; 0 = DefaultMaxSteps
	Timeout     time.Duration                       // of one Exec; 0 = DefaultTimeout
	MaxMemory   uint64                              // bytes the process may grow by during one Exec; 0 = DefaultMaxMemory
	Print       func(pos diag.Position, msg string) // nil = print says nothing
	Local       map[string]any                      // thread locals
	Builtin     Library                             // prelude programs
}

const (
	DefaultMaxSteps  = 50_000_000
	DefaultTimeout   = 30 * time.Second
	DefaultMaxMemory = 2 << 30
)

// Library holds the prelude: programs whose path starts with "@sst/", and what
// is predeclared for them. Exec finds them by path; prelude files load one
// another as "@sst/queue.star" or "./queue.star"; user files cannot.
type Library struct {
	Programs    map[string]*Program // by path
	Predeclared starlark.StringDict
}

// Program is a compiled file of the prelude. It holds no values and can be run
// by any number of Interps at once.
type Program struct {
	file *File
	prog *starlark.Program
}

// preludePrefix marks files that are not the user's.
const preludePrefix = "@sst/"

// Compile parses and resolves a file of the prelude. The error is a diag.List.
func Compile(path string, src []byte, isPredeclared func(name string) bool) (*Program, error) {
	f := Parse(path, src)
	if err := f.Errors.Err(); err != nil {
		return nil, err
	}
	prog, err := starlark.FileProgram(f.tree(), isPredeclared)
	if err != nil {
		return nil, ToDiagnostics(err, func(string) ([]byte, error) { return src, nil })
	}
	return &Program{file: f, prog: prog}, nil
}

// Path is the path that the program was compiled with.
func (p *Program) Path() string { return p.file.Path }

// File is the parsed source of the program. It must not be changed.
func (p *Program) File() *File { return p.file }

// Interp evaluates files, each once. One goroutine at a time may use it. After
// an evaluation that was stopped it only repeats that error.
type Interp struct {
	opts    Options
	visible starlark.StringDict // to user files, from the first of them on
	modules map[string]*module  // by path

	mu    sync.Mutex       // an abandoned goroutine may still be parsing
	files map[string]*File // user files parsed so far

	stopped diag.List
}

// module is a file that is being evaluated or has been.
type module struct {
	globals starlark.StringDict
	err     error
	done    bool
	parent  string // the file that loads it first
}

// New makes an Interp.
func New(opts Options) *Interp {
	if opts.Read == nil {
		opts.Read = os.ReadFile
	}
	if opts.Parse == nil {
		opts.Parse = Parse
	}
	if opts.MaxSteps == 0 {
		opts.MaxSteps = DefaultMaxSteps
	}
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.MaxMemory == 0 {
		opts.MaxMemory = DefaultMaxMemory
	}
	return &Interp{opts: opts, modules: map[string]*module{}, files: map[string]*File{}}
}

// Exec evaluates a file (absolute, or of the Library) and what it loads, and
// returns its globals, frozen. A file that was evaluated before is not
// evaluated again. The error is a diag.List.
func (in *Interp) Exec(ctx context.Context, file string) (starlark.StringDict, error) {
	if !isPrelude(file) {
		file = filepath.Clean(file)
	}
	var globals starlark.StringDict
	err := in.run(ctx, file, func(thread *starlark.Thread) (err error) {
		globals, err = in.module(thread, file, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return globals, nil
}

// Call calls a function of an evaluated file under the same limits as Exec.
// The error is a diag.List.
func (in *Interp) Call(ctx context.Context, fn starlark.Value, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var result starlark.Value
	err := in.run(ctx, "callback", func(thread *starlark.Thread) (err error) {
		result, err = starlark.Call(thread, fn, args, kwargs)
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// Parsed is the file as Exec parsed it, nil when it did not.
func (in *Interp) Parsed(path string) *File {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.files[path]
}

// Diagnose turns an error of an evaluation into diagnostics at the user's lines.
func (in *Interp) Diagnose(err error) diag.List { return diagnose(err, in.source) }

// source is the parsed file at path, nil when it is unknown.
func (in *Interp) source(path string) *File {
	if p := in.opts.Builtin.Programs[path]; p != nil {
		return p.file
	}
	return in.Parsed(path)
}

// run does one evaluation on a goroutine of its own, which is abandoned when
// it does not stop after its time.
func (in *Interp) run(ctx context.Context, name string, body func(*starlark.Thread) error) error {
	if in.stopped != nil {
		return in.stopped
	}
	ctx, end := context.WithTimeoutCause(ctx, in.opts.Timeout, errTimeLimit)
	defer end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watchMemory(ctx, in.opts.MaxMemory, cancel)
	r := newRun(in, ctx, name)
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if v := recover(); v != nil {
				err = r.crashed(v, debug.Stack())
			}
			done <- err
		}()
		err = body(r.thread)
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		r.thread.Cancel(context.Cause(ctx).Error())
		grace := time.NewTimer(abandonAfter)
		defer grace.Stop()
		select {
		case err = <-done:
		case <-grace.C:
			in.stopped = diag.List{r.stop(context.Cause(ctx), r.seen())}
			return in.stopped
		}
	}
	if err == nil {
		return nil
	}
	if cause := r.cause(); cause != nil {
		in.stopped = diag.List{r.stop(cause, r.place(err))}
		return in.stopped
	}
	return diagnose(err, in.source)
}

// module evaluates a file once; parent is the file that asks for it.
func (in *Interp) module(thread *starlark.Thread, path, parent string) (starlark.StringDict, error) {
	if m := in.modules[path]; m != nil {
		if !m.done {
			return nil, in.cycle(path, parent)
		}
		return m.globals, m.err
	}
	m := &module{parent: parent}
	in.modules[path] = m
	m.globals, m.err = in.evaluate(thread, path)
	m.done = true
	return m.globals, m.err
}

func (in *Interp) evaluate(thread *starlark.Thread, path string) (starlark.StringDict, error) {
	var prog *starlark.Program
	predeclared := in.opts.Predeclared
	if isPrelude(path) {
		p := in.opts.Builtin.Programs[path]
		if p == nil {
			return nil, fmt.Errorf("%s: no such file in the prelude", path)
		}
		prog, predeclared = p.prog, in.opts.Builtin.Predeclared
	} else {
		f, err := in.parse(path)
		if err != nil {
			return nil, err
		}
		if in.visible == nil {
			in.visible = bounded(predeclared)
		}
		predeclared = in.visible
		if prog, err = starlark.FileProgram(f.tree(), predeclared.Has); err != nil {
			return nil, diagnose(err, in.source).Sorted()
		}
	}
	globals, err := prog.Init(thread, predeclared)
	globals.Freeze()
	if err != nil {
		return nil, err
	}
	return globals, nil
}

// parse reads and checks a file of the user.
func (in *Interp) parse(path string) (*File, error) {
	src, err := in.opts.Read(path)
	if err != nil {
		return nil, diag.List{unreadable(path, err)}
	}
	if in.opts.OnRead != nil {
		in.opts.OnRead(path, src)
	}
	f := in.opts.Parse(path, src)
	in.mu.Lock()
	in.files[path] = f
	in.mu.Unlock()
	found := f.Errors
	if in.opts.Check != nil {
		found = append(found[:len(found):len(found)], in.opts.Check(f)...).Sorted()
	}
	if found.HasErrors() {
		return nil, found
	}
	if in.opts.Warn != nil {
		for _, d := range found {
			in.opts.Warn(d)
		}
	}
	return f, nil
}

func unreadable(path string, err error) *diag.Diagnostic {
	d := &diag.Diagnostic{Code: "unreadable-file", Summary: "File cannot be read", Span: diag.Point(diag.Position{File: path})}
	d.Detail = sentence(err.Error())
	if errors.Is(err, os.ErrNotExist) {
		d.Code, d.Summary, d.Detail = "missing-file", "No such file", fmt.Sprintf("There is no file %q.", filepath.Base(path))
	}
	return d
}

func isPrelude(path string) bool { return strings.HasPrefix(path, preludePrefix) }

// newThread makes the one thread that an evaluation and all its loads run on.
func (r *run) newThread(name string) *starlark.Thread {
	thread := &starlark.Thread{Name: name, Load: r.load, Print: r.print, OnMaxSteps: r.pulse}
	thread.SetLocal(runKey, r)
	for key, value := range r.in.opts.Local {
		thread.SetLocal(key, value)
	}
	thread.SetMaxExecutionSteps(1)
	return thread
}

func (r *run) print(thread *starlark.Thread, msg string) {
	if r.in.opts.Print != nil {
		r.in.opts.Print(Caller(thread), msg)
	}
}
