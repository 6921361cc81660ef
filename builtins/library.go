package builtins

import (
	"cmp"
	"errors"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// library is the builtin library(name, version): the module of a construct package that `sst add` has pinned in the lock file.
func (s *session) library(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name, version string
	if err := starlark.UnpackArgs("library", args, kwargs, "name", &name, "version", &version); err != nil {
		return nil, err
	}
	s.at(thread)
	if err := s.readLock(); err != nil {
		return nil, err
	}
	fail := func(code, summary, value, hint, format string, args ...any) error {
		f := interp.Errorf(code, summary, format, args...)
		f.Value, f.Hint = value, hint
		return f
	}
	pin, ok := s.lock.Libraries[name]
	if !ok {
		hint := nearest(name, sortedKeys(s.lock.Libraries))
		if hint != "" {
			hint += " "
		}
		return nil, fail("unknown-library", "Unknown library", name, hint+"Run `sst add "+name+"@"+version+"` to add it.", "%s has no library %q.", LockFile, name)
	}
	if pin.Version != version {
		return nil, fail("other-version", "Another version", version, "Write \""+pin.Version+"\", or run `sst add "+name+"@"+version+"`.",
			"%s has version %s of %s, not %s.", LockFile, pin.Version, name, version)
	}
	if s.libraries == nil {
		if err := s.loadLibraries(name); err != nil {
			return nil, err
		}
	}
	m, ok := s.module(name)
	if !ok {
		return nil, fail("unknown-library", "Unknown library", name, "", "%s has no constructs.", name)
	}
	return m, nil
}

// loadLibraries makes all libraries of the lock file known: they are one set, and can need each other.
func (s *session) loadLibraries(name string) error {
	dir, list, err := jsii.Libraries(s.context(), s.in.CacheDir, s.root, s.lock.Libraries)
	if err == nil {
		s.libraries = list
		s.catalog = jsii.Index().With(list)
		return s.host.Use(dir, list)
	}
	f := interp.Errorf("library-missing", "Unusable library", "%v.", err)
	f.Value = name
	var damaged *jsii.Damaged
	switch {
	case errors.As(err, new(*jsii.NoArchive)):
		f.Summary, f.Hint = "Library not here", "Run `sst add` to fetch what "+LockFile+" names."
	case errors.As(err, &damaged):
		pin := s.lock.Libraries[damaged.Name]
		f.Summary, f.Hint = "Another library", "It was changed after it was added. To accept what it is now: `sst add "+cmp.Or(pin.File, damaged.Name+"@"+pin.Version)+"`."
	}
	return f
}
