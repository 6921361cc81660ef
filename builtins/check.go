package builtins

import (
	"bytes"
	"path/filepath"
	"strings"

	"go.starlark.net/syntax"

	interp "sst/starlark"
	"sst/starlark/diag"
)

// parsedFiles are the files of the user as they were parsed last, by path: most do not change between two synths.
type parsedFiles map[string]*interp.File

func (files parsedFiles) parse(path string, src []byte) *interp.File {
	if f := files[path]; f != nil && bytes.Equal(f.Src, src) {
		return f
	}
	f := interp.Parse(path, src)
	files[path] = f
	return f
}

// check finds what is wrong in a project without running it: nothing of Node is needed for it. Files that are not part of
// the project any more are forgotten.
func (files parsedFiles) check(in Input) diag.List {
	env := Env()
	root := filepath.Dir(in.File)
	var problems diag.List
	queue, seen := []string{in.File}, map[string]bool{in.File: true}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		src, err := in.read(path)
		if err != nil {
			continue // said by the evaluation, at the load statement
		}
		file := files.parse(path, src)
		problems = append(problems, file.Errors...)
		problems = append(problems, interp.Check(file, env)...)
		for _, stmt := range file.Stmts() {
			load, ok := stmt.(*syntax.LoadStmt)
			if !ok {
				continue
			}
			if next := loadPath(root, path, load.ModuleName()); next != "" && !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	for path := range files {
		if !seen[path] {
			delete(files, path)
		}
	}
	return problems.Sorted()
}

// dependencies are the files that were checked, when no evaluation followed.
func (files parsedFiles) dependencies() []Dependency {
	var inputs []Dependency
	for _, path := range sortedKeys(files) {
		inputs = append(inputs, Dependency{"file", path, hashOf(files[path].Src)})
	}
	return inputs
}

// loadPath is the file that a load statement names, "" when it is none of the project.
func loadPath(root, from, module string) string {
	var path string
	switch {
	case strings.HasPrefix(module, "@"):
		return ""
	case strings.HasPrefix(module, "//"):
		path = filepath.Join(root, filepath.FromSlash(module[2:]))
	default:
		path = filepath.Join(filepath.Dir(from), filepath.FromSlash(module))
	}
	if !within(root, path) {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil { // a link that leads out is for the evaluation to refuse
		if realRoot, err := filepath.EvalSymlinks(root); err == nil && !within(realRoot, real) {
			return ""
		}
	}
	return path
}
