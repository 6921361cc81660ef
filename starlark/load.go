package interp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"sst/starlark/diag"
)

// load is what a load statement calls. It runs on the thread of its file, so
// that steps, limits and the stack go on.
func (r *run) load(thread *starlark.Thread, name string) (starlark.StringDict, error) {
	from := thread.CallFrame(0).Pos.Filename()
	file, err := r.in.resolve(from, name)
	if err != nil {
		return nil, err
	}
	return r.in.module(thread, file, from)
}

// resolve is the file that a load statement in from means.
func (in *Interp) resolve(from, name string) (string, error) {
	if isPrelude(from) {
		if !isPrelude(name) {
			name = preludePrefix + path.Join(path.Dir(strings.TrimPrefix(from, preludePrefix)), name)
		}
		return name, nil
	}
	return Resolve(in.opts.Root, from, name, in.opts.Read)
}

// Resolve is the absolute path of the file that load(name) means in the file
// from: relative to it, or to root after "//". The file exists and lies inside
// root, symlinks included; otherwise the error is a *Failure with the name as Value. nil read
// means os.ReadFile.
func Resolve(root, from, name string, read func(string) ([]byte, error)) (string, error) {
	fail := func(code, summary, format string, args ...any) (string, error) {
		f := Errorf(code, summary, format, args...)
		f.Value = name
		return "", f
	}
	if isPrelude(name) {
		return fail("outside-root", "File outside the project", "%q is a part of sst and cannot be loaded; its functions are in the sst module.", name)
	}
	if name == "" || strings.Contains(name, "\\") || filepath.IsAbs(name) && !strings.HasPrefix(name, "//") {
		return fail("bad-load-path", "Bad path in load", `%q is not of the form "./file.star" or "//folder/file.star".`, name)
	}
	var file string
	if rest, ok := strings.CutPrefix(name, "//"); ok {
		if root == "" {
			return fail("bad-load-path", "Bad path in load", "%q begins at the project root, but there is no project.", name)
		}
		file = filepath.Join(root, filepath.FromSlash(rest))
	} else {
		file = filepath.Join(filepath.Dir(from), filepath.FromSlash(name))
	}
	if root != "" && !inside(root, file) {
		return fail("outside-root", "File outside the project", "%q lies outside the project folder %s; nothing there can be loaded.", name, root)
	}
	if read == nil {
		read = os.ReadFile
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		if _, err := read(file); err == nil {
			return file, nil // text that is not saved yet
		}
		if errors.Is(err, fs.ErrNotExist) {
			_, f := fail("missing-file", "No such file", "There is no file %q.", name)
			f.(*Failure).Hint = nearestFile(file, name)
			return "", f
		}
		return fail("unreadable-file", "File cannot be read", "%s", sentence(err.Error()))
	}
	if info, err := os.Stat(real); err == nil && info.IsDir() {
		return fail("missing-file", "No such file", "%q is a folder.", name)
	}
	if root == "" {
		return file, nil
	}
	realRoot, err := filepath.EvalSymlinks(root)
	if err != nil {
		realRoot = root
	}
	rel, err := filepath.Rel(realRoot, real)
	if err != nil || !inside(realRoot, real) {
		return fail("outside-root", "File outside the project", "%q is a link to %s, outside the project folder; nothing there can be loaded.", name, real)
	}
	return filepath.Join(root, rel), nil // one path for a file, whatever links lead to it
}

func inside(root, file string) bool {
	rel, err := filepath.Rel(root, file)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// nearestFile is a hint with the name of the Starlark file beside file that
// was probably meant.
func nearestFile(file, name string) string {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); !e.IsDir() && (strings.HasSuffix(n, ".star") || filepath.Ext(n) == filepath.Ext(file)) {
			names = append(names, n)
		}
	}
	near := diag.Nearest(filepath.Base(file), names)
	if near == "" || near == filepath.Base(file) {
		return ""
	}
	return didYouMean(strings.TrimSuffix(name, filepath.Base(file)) + near)
}

func didYouMean(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("Did you mean %q?", name)
}

// cycle is the error for a file that is loaded while it is being evaluated.
func (in *Interp) cycle(path, parent string) error {
	chain := []string{in.shown(path)}
	for p := parent; p != path && p != ""; p = in.modules[p].parent {
		chain = append(chain, in.shown(p))
	}
	chain = append(chain, in.shown(path))
	slices.Reverse(chain)
	return Errorf("load-cycle", "Files load each other", "%s: no file can be evaluated before the one it loads.", strings.Join(chain, " loads "))
}

// shown is path relative to the project.
func (in *Interp) shown(path string) string {
	if in.opts.Root != "" && inside(in.opts.Root, path) {
		if rel, err := filepath.Rel(in.opts.Root, path); err == nil {
			return filepath.ToSlash(rel)
		}
	}
	return filepath.Base(path)
}
