package bundle

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// nodeExtensions in the order in which a handler without extension is looked for.
var nodeExtensions = []string{".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"}

// IsScript says whether a file's name is that of JavaScript or TypeScript.
func IsScript(name string) bool { return slices.Contains(nodeExtensions, filepath.Ext(name)) }

// FindError says that a handler names no file. Known are the handlers or folders there are, the nearest first.
type FindError struct {
	Handler string
	Text    string
	Known   []string
}

func (e *FindError) Error() string { return fmt.Sprintf("%s: %s", e.Handler, e.Text) }

// Find gives the file (absolute) and the export that a handler of this kind names. For Go and custom kinds the file is
// the folder and there is no export. The error is a *FindError.
func Find(root, handler, kind string) (file, export string, err error) {
	if handler == "" {
		return "", "", &FindError{handler, "the handler is empty", nil}
	}
	if path.IsAbs(handler) || filepath.IsAbs(handler) {
		return "", "", &FindError{handler, "a handler is relative to the project's root", nil}
	}
	if clean := path.Clean(handler); clean == ".." || strings.HasPrefix(clean, "../") {
		return "", "", &FindError{handler, "it is outside the project", nil}
	}
	switch kind {
	case Node:
		return findFile(root, handler, nodeExtensions)
	case Python:
		return findFile(root, handler, []string{".py"})
	case Go:
		return findFolder(root, handler, func(e os.DirEntry) bool {
			return !e.IsDir() && strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go")
		}, "Go source files")
	case Custom:
		return findFolder(root, handler, func(e os.DirEntry) bool { return !e.IsDir() && e.Name() == "bootstrap" }, "file called bootstrap")
	case Site:
		return findFolder(root, handler, func(os.DirEntry) bool { return true }, "files")
	}
	return "", "", &FindError{handler, fmt.Sprintf("there is no kind of bundle called %q", kind), nil}
}

// findFile tries the dots of the base name from the last to the first, so that both "api.test.main" (file api.test)
// and "api.routes.main" (export routes.main) find their file.
func findFile(root, handler string, extensions []string) (file, export string, err error) {
	dir, base := path.Split(path.Clean(handler))
	if !strings.Contains(strings.Trim(base, "."), ".") {
		return "", "", &FindError{handler, "a handler has the form path/file.export", nil}
	}
	for dot := strings.LastIndexByte(base, '.'); dot > 0; dot = strings.LastIndexByte(base[:dot], '.') {
		for _, extension := range extensions {
			name := filepath.Join(root, filepath.FromSlash(dir), base[:dot]+extension)
			if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
				return name, base[dot+1:], nil
			}
		}
	}
	dot := strings.LastIndexByte(base, '.')
	if slices.Contains(extensions, base[dot:]) {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(dir), base)); err == nil {
			return "", "", &FindError{handler, fmt.Sprintf("a handler names an export of the file, as in %q", dir+base[:dot]+".handler"), nil}
		}
	}
	text := fmt.Sprintf("there is no %s%s with one of the extensions %s", dir, base[:dot], strings.Join(extensions, " "))
	if len(extensions) == 1 {
		text = fmt.Sprintf("there is no file %s%s%s", dir, base[:dot], extensions[0])
	}
	return "", "", &FindError{handler, text, neighbours(root, dir, base[:dot], base[dot:], extensions)}
}

// neighbours gives handlers that name files there are: those in the folder, or in folders of the same name or case.
func neighbours(root, dir, base, export string, extensions []string) []string {
	var known []string
	add := func(folder string) {
		entries, _ := os.ReadDir(filepath.Join(root, filepath.FromSlash(folder)))
		for _, e := range entries {
			extension := path.Ext(e.Name())
			if slices.Contains(extensions, extension) && !strings.HasSuffix(e.Name(), ".d.ts") {
				known = append(known, path.Join(folder, strings.TrimSuffix(e.Name(), extension))+export)
			}
		}
	}
	add(dir)
	parent := path.Dir(path.Clean("./" + dir))
	for _, sibling := range folders(filepath.Join(root, filepath.FromSlash(parent))) {
		if other := path.Join(parent, sibling); len(known) == 0 && other != path.Clean(dir) && distance(other, path.Clean(dir)) <= 2 {
			add(other)
		}
	}
	byDistance(known, dir+base+export)
	return slices.Compact(known)
}

func findFolder(root, handler string, wanted func(os.DirEntry) bool, what string) (file, export string, err error) {
	clean := path.Clean(handler)
	full := filepath.Join(root, filepath.FromSlash(clean))
	entries, err := os.ReadDir(full)
	if err != nil {
		parent := path.Dir(clean)
		var known []string
		for _, name := range folders(filepath.Join(root, filepath.FromSlash(parent))) {
			known = append(known, path.Join(parent, name))
		}
		byDistance(known, clean)
		return "", "", &FindError{handler, "there is no such folder", known}
	}
	for _, e := range entries {
		if wanted(e) {
			return full, "", nil
		}
	}
	return "", "", &FindError{handler, "the folder has no " + what, nil}
}

func folders(dir string) []string {
	var names []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "node_modules" {
			names = append(names, e.Name())
		}
	}
	return names
}

func byDistance(names []string, to string) {
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(a, to), distance(b, to)), cmp.Compare(a, b))
	})
}

// distance is the number of runes to insert, delete or replace, ignoring case.
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j, s := range y {
			cost := diagonal
			if r != s {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(y)]
}
