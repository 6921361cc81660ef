package builtins

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	"sst/cfn"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// host is what a synth needs of the CDK process.
type host interface {
	Send(op jsii.Op)
	Call(ctx context.Context, op jsii.Op) (jsii.Value, error)
	Flush(ctx context.Context) error
	Synth(ctx context.Context, app int64, tag int) (*jsii.SynthReply, error)
	Missing(ctx context.Context) ([]jsii.Missing, error)
	Use(dir string, libraries []jsii.Library) error
}

var _ host = (*jsii.Host)(nil)

// session is one synth: everything that its values share. It belongs to the goroutine that evaluates; callbacks of
// the CDK run while that one waits.
type session struct {
	ctx     context.Context // of the operation under way; callbacks put theirs here while they run
	in      Input
	root    string
	catalog *jsii.Catalog
	host    host
	interp  *interp.Interp
	parse   func(path string, src []byte) *interp.File // nil = interp.Parse

	lastID int64
	calls  []call           // by Tag; calls[0] is unknown
	thread *starlark.Thread // the one that was seen last
	base   call             // where a hook or callback that runs now was registered

	inputs []Dependency
	seen   map[Dependency]bool

	modules   map[string]*module
	classes   map[string]*class
	constants map[string]starlark.Value // statics that never change, by FQN and member
	enums     map[string]*enumValue
	objects   map[int64]*Object // by canonical id
	durations map[string]*Object
	callbacks []*callback

	app       *Construct
	appCall   call
	stack     *Object           // the first, for what any stack can do
	created   map[int64]*Object // constructs made by a Create
	places    map[string]int    // construct path to Tag
	orphans   []int             // of stacks and stages without a scope
	lock      lock              // sst.lock.json
	libraries []jsii.Library    // those of the lock file, once one is named
	states    []*state
	closed    bool // synth has started: cells are read-only
	ended     bool // nothing may be asked any more
	onSynth   []hook
	functions []function
	secrets   []cfn.Secret
	packed    []packed
	exports   memo[exportList] // of handler files, by path and hash
	bundles   map[string]starlark.Value
	warnings  diag.List
	warned    map[string]bool // deprecated names that were warned of
}

// hook is a function that waits for the end of evaluation.
type hook struct {
	fn   starlark.Callable
	call call
}

func newSession(ctx context.Context, in Input, h host) *session {
	return &session{
		ctx:       ctx,
		in:        in,
		root:      filepath.Dir(in.File),
		catalog:   jsii.Index(),
		host:      h,
		calls:     make([]call, 1, 64),
		seen:      map[Dependency]bool{},
		modules:   map[string]*module{},
		classes:   map[string]*class{},
		constants: map[string]starlark.Value{},
		enums:     map[string]*enumValue{},
		objects:   map[int64]*Object{},
		durations: map[string]*Object{},
		created:   map[int64]*Object{},
		places:    map[string]int{},
		bundles:   map[string]starlark.Value{},
	}
}

// call is a place in the user's files where the CDK was asked for something.
type call struct {
	pos    diag.Position
	frames []diag.Frame // below pos, innermost last
}

// inPrelude says whether the call was made by the prelude on behalf of the user.
func (c call) inPrelude() bool {
	return slices.ContainsFunc(c.frames, func(f diag.Frame) bool { return strings.HasPrefix(f.Pos.File, preludePrefix) })
}

// at gives the tag of the call that thread is in. Attributes are read and set without a thread: nil stands for the one
// that made the last call, whose present line is right unless another file was loaded since.
func (s *session) at(thread *starlark.Thread) int {
	if thread != nil {
		s.thread = thread
	}
	if s.thread == nil || s.thread.CallStackDepth() == 0 {
		return len(s.calls) - 1
	}
	pos, frames := interp.Stack(s.thread)
	if !pos.IsValid() {
		pos = s.base.pos
	}
	if last := s.calls[len(s.calls)-1]; last.pos == pos && len(last.frames) == len(frames) {
		return len(s.calls) - 1
	}
	s.calls = append(s.calls, call{pos, frames})
	return len(s.calls) - 1
}

func (s *session) call(tag int) call {
	if tag <= 0 || tag >= len(s.calls) {
		return call{}
	}
	return s.calls[tag]
}

// context is that of the evaluation under way, whose time is limited.
func (s *session) context() context.Context {
	if s.thread != nil && s.thread.CallStackDepth() > 0 {
		return interp.Context(s.thread)
	}
	return s.ctx
}

func (s *session) id() int64 {
	s.lastID++
	return s.lastID
}

// lastCall is the call under way; the zero call outside of any.
func (s *session) lastCall() call {
	if s == nil {
		return call{}
	}
	return s.calls[len(s.calls)-1]
}

// prefix is what ids shown to people leave out: "<stage>-<app>-".
func (s *session) prefix() string {
	if s.app == nil {
		return ""
	}
	name, _ := starlark.AsString(s.app.members["name"])
	return s.in.Stage + "-" + name + "-"
}

// short is a construct path without the prefix.
func (s *session) short(path string) string { return strings.TrimPrefix(path, s.prefix()) }

// position is a place as the manifest has it.
func (s *session) position(tag int) cfn.Position {
	pos := s.call(tag).pos
	rel, err := filepath.Rel(s.root, pos.File)
	if err != nil || pos.File == "" {
		return cfn.Position{}
	}
	return cfn.Position{File: filepath.ToSlash(rel), Line: pos.Line, Column: pos.Col}
}

// parsed is a file of the user, for carets; nil when it was not evaluated.
func (s *session) parsed(path string) *interp.File {
	if s.interp == nil || path == "" {
		return nil
	}
	return s.interp.Parsed(path)
}
