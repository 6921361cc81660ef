package lsp

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sst/builtins"
	"sst/builtins/assertions"
	interp "sst/starlark"
)

// snapshot is what the editor and the disk say at one moment. What is worked
// out from it is kept with it; the texts never change.
type snapshot struct {
	opts    Options
	folders []string
	open    map[string]*document // by path
	disk    *disk                // shared by all snapshots

	// Only the worker touches these.
	roots    map[string]string
	analyses map[string]*analysis
	latest   map[string]*analysis // shared by all snapshots: what was worked out last, for the next version to go on from
}

// analysis is what is known of one file. Its inference goes from version to version of the file: an analysis is for the
// request that asked for it, and what outlives that request asks by name.
type analysis struct {
	doc     *document
	root    string
	file    *interp.File
	inf     *interp.Inference
	outline *interp.Outline         // nil until asked for
	shapes  map[string]interp.Shape // of the globals, nil until asked for
	names   *names                  // nil until asked for
	loading bool                    // it is being worked out: files load each other
}

func newSnapshot(opts Options) *snapshot {
	return (&snapshot{opts: opts, open: map[string]*document{}, disk: &disk{files: map[string]*document{}, stamps: map[string]stamp{}}, latest: map[string]*analysis{}}).next()
}

// next is a copy in which nothing is worked out.
func (s *snapshot) next() *snapshot {
	return &snapshot{
		opts: s.opts, folders: s.folders, open: s.open, disk: s.disk,
		roots: map[string]string{}, analyses: map[string]*analysis{}, latest: s.latest,
	}
}

func (s *snapshot) withFolders(folders []string) *snapshot {
	n := s.next()
	n.folders = folders
	return n
}

// with is the snapshot after d was opened or changed.
func (s *snapshot) with(d *document) *snapshot {
	n := s.next()
	n.open = maps.Clone(s.open)
	n.open[d.path] = d
	return n
}

// without is the snapshot after a file was closed.
func (s *snapshot) without(path string) *snapshot {
	n := s.next()
	n.open = maps.Clone(s.open)
	delete(n.open, path)
	return n
}

// document is the text of a file: the editor's, else the disk's. nil when it cannot be read.
func (s *snapshot) document(path string) *document {
	if d := s.open[path]; d != nil {
		return d
	}
	return s.disk.document(path)
}

// read is document for the packages below.
func (s *snapshot) read(path string) ([]byte, error) {
	if d := s.document(path); d != nil {
		return d.src, nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// analyse works out what is known of a file; nil when it cannot be read.
func (s *snapshot) analyse(path string) *analysis {
	if a := s.analyses[path]; a != nil {
		return a
	}
	doc := s.document(path)
	if doc == nil {
		return nil
	}
	a := &analysis{doc: doc, root: s.root(path), loading: true}
	s.analyses[path] = a
	before := s.latest[path]
	switch {
	case before == nil || before.root != a.root || before.loading:
		a.file = interp.Parse(path, doc.src)
		a.inf = interp.Infer(a.file, s.env(a))
	case before.doc == doc:
		a.file, a.inf = before.file, before.inf
		if !a.inf.Update(a.file, s.env(a)) { // neither it nor what it loads has changed
			a.outline, a.shapes, a.names = before.outline, before.shapes, before.names
		}
	default:
		a.file, a.inf = before.file.Update(doc.src), before.inf
		a.inf.Update(a.file, s.env(a))
	}
	a.loading = false
	s.latest[path] = a
	return a
}

// fresh is analyse at the beginning of a request: what the one before tried out is taken back.
func (s *snapshot) fresh(path string) *analysis {
	a := s.analyse(path)
	if a != nil && !a.inf.Of(a.file) {
		a.inf.Update(a.file, s.env(a))
	}
	return a
}

// env is what a file is checked against.
func (s *snapshot) env(a *analysis) interp.Env {
	env := builtins.Env()
	if s.isPrelude(a.doc.path) {
		env = builtins.PreludeEnv()
	} else if interp.IsTestFile(a.doc.path) {
		env = assertions.Env(env.Globals)
	}
	env.Load = func(module string) (*interp.Outline, map[string]interp.Shape) {
		path, err := s.loaded(a, module)
		if err != nil {
			return nil, nil
		}
		other := s.analyse(path)
		if other == nil || other.loading {
			return nil, nil
		}
		return other.outlined(), other.globals()
	}
	return env
}

func (a *analysis) outlined() *interp.Outline {
	if a.outline == nil {
		a.outline = a.file.OutlineAgain()
	}
	return a.outline
}

func (a *analysis) globals() map[string]interp.Shape {
	if a.shapes == nil {
		a.shapes = a.inf.Globals()
	}
	return a.shapes
}

// loaded is the file that a load statement of a means.
func (s *snapshot) loaded(a *analysis, module string) (string, error) {
	if strings.HasPrefix(module, "@sst/") && s.isPrelude(a.doc.path) {
		module = "./" + strings.TrimPrefix(module, "@sst/")
	}
	return interp.Resolve(a.root, a.doc.path, module, s.read)
}

// isPrelude reports whether a file is one of the prelude: a copy made for the editor, or its source.
func (s *snapshot) isPrelude(path string) bool {
	dir, name := filepath.Split(path)
	_, known := builtins.PreludeSource("@sst/" + name)
	dir = filepath.Clean(dir)
	return known && (s.opts.PreludeDir != "" && dir == s.opts.PreludeDir || strings.HasSuffix(filepath.ToSlash(dir), "builtins/prelude"))
}

// root is the project folder of a file: the nearest with a stacks.star, else a folder of the editor, else its own.
func (s *snapshot) root(path string) string {
	dir := filepath.Dir(path)
	if root, ok := s.roots[dir]; ok {
		return root
	}
	root := ""
	for d := dir; ; d = filepath.Dir(d) {
		stacks := filepath.Join(d, "stacks.star")
		if s.open[stacks] != nil || isFile(stacks) {
			root = d
			break
		}
		if d == filepath.Dir(d) {
			break
		}
	}
	if root == "" {
		root = dir
		for _, folder := range s.folders {
			if rel, err := filepath.Rel(folder, path); err == nil && !strings.HasPrefix(rel, "..") {
				root = folder
				break
			}
		}
	}
	s.roots[dir] = root
	return root
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// maxFiles bounds walks through projects.
const maxFiles = 5000

// starFiles are the Starlark files of a project, open ones that are not saved too, sorted.
func (s *snapshot) starFiles(root string) []string {
	var files []string
	walkProject(root, func(path string) bool {
		if strings.HasSuffix(path, ".star") {
			files = append(files, path)
		}
		return len(files) < maxFiles
	})
	for path := range s.open {
		if rel, err := filepath.Rel(root, path); err == nil && !strings.HasPrefix(rel, "..") && strings.HasSuffix(path, ".star") {
			files = append(files, path)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// walkProject visits the files of a project that are not those of tools, at most maxFiles of them.
func walkProject(root string, visit func(path string) bool) {
	seen := 0
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case d.IsDir():
			name := d.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "__pycache__" || name == "cdk.out" || name == "dist") {
				return fs.SkipDir
			}
		case seen > maxFiles || !visit(path):
			return fs.SkipAll
		default:
			seen++
		}
		return nil
	})
}

// disk remembers files as they were read last.
type disk struct {
	mu     sync.Mutex
	files  map[string]*document
	stamps map[string]stamp
}

type stamp struct {
	size int64
	time time.Time
}

// maxDiskBytes bounds files that are read.
const maxDiskBytes = 16 << 20

func (d *disk) document(path string) *document {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxDiskBytes {
		return nil
	}
	now := stamp{info.Size(), info.ModTime()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if doc := d.files[path]; doc != nil && d.stamps[path] == now {
		return doc
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	doc := newDocument(path, uriOf(path), 0, src)
	d.files[path], d.stamps[path] = doc, now
	return doc
}

// shown is a file as people see it: relative to the project.
func (s *snapshot) shown(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && !strings.HasPrefix(rel, "..") {
		return filepath.ToSlash(rel)
	}
	return path
}
