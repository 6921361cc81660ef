package interp

import (
	"context"
	"time"

	"go.starlark.net/starlark"

	"sst/starlark/diag"
)

// Options says what files an Interp may read and what they may use. The zero
// value evaluates absolute paths with nothing predeclared.
type Options struct {
	Root        string                              // project root, absolute; nothing outside it is readable
	Read        func(path string) ([]byte, error)   // nil = os.ReadFile; overlays for unsaved text go here
	Predeclared starlark.StringDict                 // for user files; may be completed until the first of them runs
	OnRead      func(path string, data []byte)      // sees every file loaded
	MaxSteps    uint64                              // 0 = 50 million
	Timeout     time.Duration                       // of one Exec; 0 = 30 s
	Print       func(pos diag.Position, msg string) // nil = print says nothing
	Local       map[string]any                      // thread locals
	Builtin     Library                             // prelude programs
}

// Library holds the prelude: programs whose path starts with "@sst/" and what
// is predeclared for them. Exec("@sst/queue.star") and, in prelude files,
// load("@sst/queue.star", ...) or load("./queue.star", ...) find them; user files cannot load them.
type Library struct {
	Programs    map[string]*Program // by path, "@sst/queue.star"
	Predeclared starlark.StringDict
}

// Program is a compiled file. It holds no values and can be run by any number
// of Interps at once.
type Program struct {
	path string
	prog *starlark.Program
}

// Compile parses and resolves a file. The error is a diag.List.
func Compile(path string, src []byte, isPredeclared func(name string) bool) (*Program, error) {
	return nil, nil
}

// Path is the path that the program was compiled with.
func (p *Program) Path() string { return p.path }

// Interp evaluates files, each once. It may be used by one goroutine at a time.
type Interp struct {
	opts Options
}

// New makes an Interp.
func New(opts Options) *Interp { return &Interp{opts: opts} }

// Exec evaluates a file (absolute, or of the Library) and what it loads, and returns its frozen
// globals. The error is a diag.List.
func (in *Interp) Exec(ctx context.Context, file string) (starlark.StringDict, error) {
	return nil, nil
}

// Call calls fn (a callback of an evaluated file) under the same limits as Exec. The error is a diag.List.
func (in *Interp) Call(ctx context.Context, fn starlark.Value, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return nil, nil
}

// Context is the context that the evaluation on thread runs under.
func Context(thread *starlark.Thread) context.Context { return context.Background() }

// Caller is the innermost frame in a file of the user, the place of every error.
func Caller(thread *starlark.Thread) diag.Position { return diag.Position{} }

// Stack is Caller with the frames below it, innermost last.
func Stack(thread *starlark.Thread) (user diag.Position, frames []diag.Frame) {
	return diag.Position{}, nil
}
