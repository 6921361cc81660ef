package builtins

import (
	"io/fs"
	"path"
	"strings"
	"sync"

	"go.starlark.net/starlark"

	"sst/builtins/prelude"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// preludePrefix marks the files of the prelude in positions.
const preludePrefix = "@sst/"

// library is the prelude, compiled: once a process.
type library struct {
	paths    []string // sorted
	programs map[string]*interp.Program
	sources  map[string][]byte
	err      error
}

var compiledPrelude = sync.OnceValue(func() *library { return compile(prelude.FS) })

func compile(files fs.FS) *library {
	l := &library{programs: map[string]*interp.Program{}, sources: map[string][]byte{}}
	predeclared := preludeNames()
	names, err := fs.Glob(files, "*.star")
	if err != nil {
		l.err = err
		return l
	}
	var problems diag.List
	for _, name := range names {
		src, err := fs.ReadFile(files, name)
		if err != nil {
			l.err = err
			return l
		}
		file := preludePrefix + path.Base(name)
		program, err := interp.Compile(file, src, func(name string) bool { return predeclared[name] })
		if list, ok := err.(diag.List); ok {
			problems = append(problems, list...)
			continue
		} else if err != nil {
			l.err = err
			return l
		}
		l.paths = append(l.paths, file)
		l.programs[file] = program
		l.sources[file] = src
	}
	if l.err == nil && problems.HasErrors() {
		l.err = problems
	}
	return l
}

// sstModule is the module sst: what the prelude files define with a capital letter.
type sstModule struct {
	members starlark.StringDict
}

var _ starlark.HasAttrs = (*sstModule)(nil)

func (m *sstModule) String() string        { return "<module sst>" }
func (m *sstModule) Type() string          { return "module" }
func (m *sstModule) Freeze()               {}
func (m *sstModule) Truth() starlark.Bool  { return true }
func (m *sstModule) Hash() (uint32, error) { return starlark.String("sst").Hash() }

// AttrNames are the constructs, sorted.
func (m *sstModule) AttrNames() []string { return m.members.Keys() }

// Attr gives a construct's function.
func (m *sstModule) Attr(name string) (starlark.Value, error) {
	if v, ok := m.members[name]; ok {
		return v, nil
	}
	f := interp.Errorf("unknown-member", "Unknown member", "sst has no member %q.", name)
	f.Hint = nearest(name, m.AttrNames())
	return nil, f
}

// runPrelude evaluates all prelude files for this session.
func (s *session) runPrelude(l *library) (*sstModule, error) {
	m := &sstModule{members: starlark.StringDict{"UNSET": unset}}
	for _, file := range l.paths {
		globals, err := s.interp.Exec(s.ctx, file)
		if err != nil {
			return nil, err
		}
		for name, v := range globals {
			if isMember(name) {
				m.members[name] = v
			}
		}
	}
	return m, nil
}

func isMember(name string) bool {
	return name != "" && name[0] >= 'A' && name[0] <= 'Z' && !strings.HasPrefix(name, "_")
}
