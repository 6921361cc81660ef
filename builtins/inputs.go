package builtins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"

	interp "sst/starlark"
)

// This file has the declared inputs: what a synth depends on beside its files is said by env() and read().

func (s *session) depend(d Dependency) {
	if !s.seen[d] {
		s.seen[d] = true
		s.inputs = append(s.inputs, d)
	}
}

// Stale says whether a file on disk has other content than what was read of it.
func (d Dependency) Stale() bool {
	if d.Kind != "file" || d.Hash == "" {
		return false
	}
	data, err := os.ReadFile(d.Name)
	return err == nil && hashOf(data) != d.Hash
}

func (s *session) onRead(path string, data []byte) {
	s.depend(Dependency{"file", path, hashOf(data)})
}

// readFile reads a file of the project; one that is not there is an input too.
func (s *session) readFile(path string) ([]byte, error) {
	data, err := s.in.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.depend(Dependency{Kind: "missing", Name: path})
	}
	return data, err
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// dependencies are all inputs, sorted.
func (s *session) dependencies() []Dependency {
	slices.SortFunc(s.inputs, func(a, b Dependency) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return s.inputs
}

// env is the builtin env(name, default = ...).
func (s *session) env(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	var missing starlark.Value
	if err := starlark.UnpackArgs("env", args, kwargs, "name", &name, "default?", &missing); err != nil {
		return nil, err
	}
	var value string
	set := false
	if s.in.Env != nil {
		value, set = s.in.Env(name)
	}
	if set {
		s.depend(Dependency{"env", name, hashOf([]byte(value))})
		return starlark.String(value), nil
	}
	s.depend(Dependency{Kind: "env", Name: name})
	if missing != nil {
		return missing, nil
	}
	f := interp.Errorf("unset-variable", "Variable not set", "the environment variable %s is not set, and env() has no default for it.", name)
	f.Value = name
	return nil, f
}

// read is the builtin read(path).
func (s *session) read(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := starlark.UnpackArgs("read", args, kwargs, "path", &name); err != nil {
		return nil, err
	}
	fail := func(code, summary, format string, args ...any) error {
		f := interp.Errorf(code, summary, format, args...)
		f.Value = name
		return f
	}
	path, inside := s.resolvePath(interp.Caller(thread).File, name)
	if !inside {
		return nil, fail("outside-root", "Outside the project", "%s is not in the project (the folder of stacks.star), so it cannot be read.", name)
	}
	data, err := s.readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fail("missing-file", "No such file", "there is no file %s.", name)
	case err != nil:
		return nil, fail("unreadable-file", "Unreadable file", "%s: %v.", name, underlying(err))
	case !utf8.Valid(data):
		return nil, fail("unreadable-file", "Unreadable file", "%s is not UTF-8 text.", name)
	}
	s.onRead(path, data)
	return starlark.String(data), nil
}

func underlying(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// resolvePath gives the file that name means in a file: relative to it, or with "//" to the root. inside is false when it
// is not in the root, symlinks followed.
func (s *session) resolvePath(from, name string) (path string, inside bool) {
	switch {
	case strings.HasPrefix(name, "//"):
		path = filepath.Join(s.root, filepath.FromSlash(name[2:]))
	case filepath.IsAbs(filepath.FromSlash(name)):
		path = filepath.Clean(filepath.FromSlash(name))
	default:
		path = filepath.Join(filepath.Dir(from), filepath.FromSlash(name))
	}
	root, err := filepath.EvalSymlinks(s.root)
	if err != nil {
		root = s.root
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path // does not exist: the name decides
		if within(s.root, real) {
			return path, true
		}
	}
	return path, within(root, real)
}

func within(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(os.PathSeparator))
}
