package lsp

// Completion inside strings, and the strings of the project: handlers.

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.lsp.dev/protocol"

	"sst/builtins"
	"sst/runtime/bundle"
	"sst/starlark/scan"
)

// strings completes inside the quotes of a string.
func (r *completions) strings() {
	t := r.c.token(r.c.next)
	raw := r.c.text[t.Start:t.End]
	quote := t.Start
	for quote < t.End && r.c.text[quote] != '"' && r.c.text[quote] != '\'' {
		quote++
	}
	r.start, r.end = r.c.start+quote+1, r.c.offset
	if !t.Open {
		r.end = r.c.start + t.End - 1
	}
	if r.c.a.doc.lineAt(r.start) != r.c.a.doc.lineAt(r.end) {
		return // a text of several lines is no name
	}
	r.typed = stringValue(string(raw[:max(0, r.c.offset-r.c.start-t.Start)]))
	if r.start > r.c.offset {
		return
	}
	f := r.c.innermost()
	if f != nil && f.callee != "" {
		switch {
		case f.callee == "load" && f.position == 0 && f.keyword == "":
			r.loadPaths()
			return
		case f.callee == "load":
			r.loadNames()
			return
		case f.callee == "env" && f.position == 0:
			r.environment()
			return
		case f.callee == "read" && f.position == 0:
			r.files(func(name string) bool { return !strings.HasSuffix(name, ".star") })
			return
		}
	}
	if r.awsNames() {
		return
	}
	w := r.c.wanted()
	switch {
	case w.route():
		r.routes("")
	case w.key && f != nil && r.c.next == f.argument:
		r.keys(w, f.given, "")
	case w.handler():
		r.handlers("")
		fallthrough
	default:
		for _, v := range w.literals() {
			r.add(candidate{label: v, kind: protocol.CompletionItemKindValue, rank: 1})
		}
	}
}

// environment completes names of variables: those that .env files of the project define, and those that are read elsewhere.
func (r *completions) environment() {
	seen := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(globbed(r.c.a.root), ".env*"))
	for _, file := range files {
		for _, name := range envNames(file) {
			if !seen[name] {
				seen[name] = true
				r.add(candidate{label: name, kind: protocol.CompletionItemKindConstant, rank: 1, detail: filepath.Base(file)})
			}
		}
	}
	for _, file := range r.call.snapshot.starFiles(r.c.a.root) {
		a := r.call.snapshot.analyse(file)
		if a == nil {
			continue
		}
		for _, call := range a.outlined().Calls {
			if call.Callee != "env" || len(call.Expr.Args) == 0 {
				continue
			}
			name, ok := literalText(call.Expr.Args[0])
			if ok && name != r.typed && !seen[name] {
				seen[name] = true
				r.add(candidate{label: name, kind: protocol.CompletionItemKindConstant, rank: 1})
			}
		}
	}
}

var globSpecial = strings.NewReplacer("\\", "\\\\", "*", "\\*", "?", "\\?", "[", "\\[")

// globbed is a folder in a pattern. On Windows, where nothing can be escaped, names have neither * nor ?.
func globbed(dir string) string {
	if filepath.Separator == '\\' {
		return dir
	}
	return globSpecial.Replace(dir)
}

var envDefinition = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*=`)

// envNames are the names that a .env file defines; values are not looked at.
func envNames(file string) (names []string) {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxDiskBytes {
		return nil
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for _, m := range envDefinition.FindAllSubmatch(src, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// files completes paths relative to the file.
func (r *completions) files(wanted func(name string) bool) {
	from, prefix := filepath.Dir(r.c.a.doc.path), "./"
	if strings.HasPrefix(r.typed, "//") {
		from, prefix = r.c.a.root, "//"
	}
	walkProject(r.c.a.root, func(file string) bool {
		rel, err := filepath.Rel(from, file)
		if err != nil || file == r.c.a.doc.path || !wanted(filepath.Base(file)) {
			return true
		}
		rel = filepath.ToSlash(rel)
		label := prefix + rel
		if strings.HasPrefix(rel, "../") {
			label = rel
		}
		r.add(candidate{label: label, kind: protocol.CompletionItemKindFile, rank: 1 + strings.Count(rel, "/")})
		return len(r.list) < maxItems
	})
}

func (r *completions) loadPaths() {
	r.files(func(name string) bool { return strings.HasSuffix(name, ".star") && name != "stacks.star" })
}

// loadNames completes what a loaded file defines.
func (r *completions) loadNames() {
	f := r.c.innermost()
	var module *scan.Token
	if t := r.c.token(f.open + 1); t != nil && t.Kind == scan.String {
		module = t
	}
	if module == nil || r.c.next == f.open+1 {
		return
	}
	path, err := r.call.snapshot.loaded(r.c.a, stringValue(module.Text(r.c.text)))
	if err != nil {
		return
	}
	other := r.call.snapshot.analyse(path)
	if other == nil {
		return
	}
	var given []string
	for i := f.open + 2; i < len(r.c.tokens) && !r.c.closes(i); i++ {
		if t := r.c.token(i); t.Kind == scan.String && i != r.c.next {
			given = append(given, stringValue(t.Text(r.c.text)))
		}
	}
	quote := `"`
	if r.c.inString {
		quote = ""
	}
	o := other.outlined()
	for i := range o.Definitions {
		d := &o.Definitions[i]
		if strings.HasPrefix(d.Name, "_") || d.Module != "" || slices.Contains(given, d.Name) {
			continue
		}
		c := candidate{label: quote + d.Name + quote, kind: protocol.CompletionItemKindVariable, rank: 1}
		if d.Def != nil {
			c.kind = protocol.CompletionItemKindFunction
		}
		c.doc = func() (builtins.About, bool) { return aboutDefinition(d), d.Doc.Summary != "" }
		r.add(c)
	}
}

// routes completes route keys: methods, then the paths that there are.
func (r *completions) routes(quote string) {
	f := r.c.innermost()
	var given, paths []string
	if f != nil {
		given = f.given
	}
	for _, file := range r.call.snapshot.starFiles(r.c.a.root) {
		if a := r.call.snapshot.analyse(file); a != nil {
			paths = append(paths, routePaths(a)...)
		}
	}
	slices.Sort(paths)
	paths = append([]string{"/"}, slices.Compact(paths)...)
	method, _, chosen := strings.Cut(strings.Trim(r.typed, `"`), " ")
	for rank, m := range routeMethod {
		if chosen && !strings.EqualFold(m, method) {
			continue
		}
		for _, p := range paths {
			key := m + " " + p
			if !chosen && p != "/" || slices.Contains(given, key) {
				continue
			}
			r.add(candidate{label: quote + key + quote, kind: protocol.CompletionItemKindValue, rank: min(rank, 5)})
		}
	}
	if !slices.Contains(given, "$default") && !chosen {
		r.add(candidate{label: quote + "$default" + quote, kind: protocol.CompletionItemKindValue, rank: 8})
	}
}

// routePaths are the paths of the texts of a file that look like route keys.
func routePaths(a *analysis) []string {
	var paths []string
	for _, t := range scan.Tokens(a.doc.src) {
		if t.Kind != scan.String {
			continue
		}
		method, p, ok := strings.Cut(stringValue(t.Text(a.doc.src)), " ")
		if ok && strings.HasPrefix(p, "/") && slices.Contains(routeMethod, method) {
			paths = append(paths, p)
		}
	}
	return paths
}

// handlerFile is a source file that may hold handlers.
type handlerFile struct {
	file string // absolute
	path string // relative to the project, without extension
}

// handlerCache remembers which source files there are for a moment, and what they export while they do not change.
var handlerCache struct {
	mu      sync.Mutex
	root    string
	time    time.Time
	files   []handlerFile
	exports map[string]exported
}

type exported struct {
	stamp stamp
	names []string
	known bool
}

// handlerFiles are the source files of a project.
func handlerFiles(root string) []handlerFile {
	h := &handlerCache
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.root == root && time.Since(h.time) < 2*time.Second {
		return h.files
	}
	h.files = nil
	walkProject(root, func(file string) bool {
		extension := filepath.Ext(file)
		switch extension {
		case ".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs", ".py":
		default:
			return true
		}
		name := strings.TrimSuffix(filepath.Base(file), extension)
		if strings.HasSuffix(name, ".d") || strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".spec") || strings.HasSuffix(name, ".config") {
			return true
		}
		rel, err := filepath.Rel(root, file)
		if err == nil {
			h.files = append(h.files, handlerFile{file, strings.TrimSuffix(filepath.ToSlash(rel), extension)})
		}
		return len(h.files) < maxFiles
	})
	h.root, h.time = root, time.Now()
	return h.files
}

// exportsOf are the names that a source file exports.
func exportsOf(file string) (names []string, known bool) {
	info, err := os.Stat(file)
	if err != nil || info.Size() > maxDiskBytes {
		return nil, false
	}
	now := stamp{info.Size(), info.ModTime()}
	h := &handlerCache
	h.mu.Lock()
	e, ok := h.exports[file]
	h.mu.Unlock()
	if ok && e.stamp == now {
		return e.names, e.known
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, false
	}
	e = exported{stamp: now}
	e.names, e.known = bundle.Exports(file, src)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.exports == nil {
		h.exports = map[string]exported{}
	}
	h.exports[file] = e
	return e.names, e.known
}

// maxParsed bounds how many source files are read for one completion.
const maxParsed = 40

// handlers completes handler strings: file and export.
func (r *completions) handlers(quote string) {
	typed := strings.Trim(r.typed, `"`)
	files := handlerFiles(r.c.a.root)
	var near []handlerFile
	for _, f := range files {
		if typed == "" || strings.HasPrefix(typed, f.path+".") || quality(typed, f.path) < 9 || quality(typed, path.Base(f.path)) < 3 {
			near = append(near, f)
		}
	}
	for i, f := range near {
		names, known := []string(nil), false
		if i < maxParsed {
			names, known = exportsOf(f.file)
		}
		if !known {
			r.add(candidate{label: quote + f.path + "." + quote, insert: quote + f.path + "." + quote, kind: protocol.CompletionItemKindFile, rank: 3})
			continue
		}
		for _, name := range names {
			c := candidate{label: quote + f.path + "." + name + quote, kind: protocol.CompletionItemKindFunction, rank: 1, detail: filepath.Base(f.file)}
			if name == "default" {
				c.rank = 2
			}
			r.add(c)
		}
	}
}
