package bundle

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"
)

var pythonProject = []string{"pyproject.toml", "requirements.txt", "Pipfile", "setup.py"}

// sourceOf is the folder that becomes a Python function's zip.
func sourceOf(root string, spec Spec, file string) string {
	if spec.Options.Source != "" {
		return filepath.Join(root, filepath.FromSlash(spec.Options.Source))
	}
	for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
		for _, name := range pythonProject {
			if isFile(filepath.Join(dir, name)) {
				return dir
			}
		}
		if dir == root || filepath.Dir(dir) == dir {
			break
		}
	}
	dir := filepath.Dir(file)
	for dir != root && isFile(filepath.Join(dir, "__init__.py")) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// PythonSource is the folder of the project whose files are those of a Python function.
func PythonSource(root string, spec Spec) string {
	dir, base := path.Split(spec.Handler)
	name, _, _ := strings.Cut(base, ".")
	return sourceOf(root, spec, filepath.Join(root, filepath.FromSlash(dir), name+".py"))
}

func pythonEntry(source, file string) string {
	rel, err := filepath.Rel(source, file)
	if err != nil {
		rel = filepath.Base(file)
	}
	return strings.TrimSuffix(filepath.ToSlash(rel), ".py")
}

// python takes the source folder as it is.
func (b *Builder) python(ctx context.Context, u *unit) {
	file := b.shown(u.file)
	source := sourceOf(b.config.Root, u.spec, file)
	if rel, err := filepath.Rel(source, file); err != nil || strings.HasPrefix(filepath.ToSlash(rel), "../") {
		u.fail(errorAt(file, "the handler is not below its source folder %q", u.spec.Options.Source))
		return
	}
	files, inputs, err := tree(source, "", func(dir string) bool {
		return filepath.Base(dir) == "node_modules" || isFile(filepath.Join(dir, "pyvenv.cfg"))
	})
	if err != nil {
		u.fail(errorAt(file, "%s", err))
		return
	}
	u.result.Files, u.result.Inputs = files, inputs
	if src, err := os.ReadFile(file); err == nil {
		if names, known := pythonExports(src); known {
			u.result.Exports = names
		}
	}
	b.requirements(ctx, u, source)
	b.extras(u)
}

func (b *Builder) requirements(ctx context.Context, u *unit, source string) {
	declared := ""
	for _, name := range pythonProject {
		if isFile(filepath.Join(source, name)) {
			declared = filepath.Join(source, name)
			break
		}
	}
	switch {
	case declared == "":
	case b.config.Requirements != nil:
		files, err := b.config.Requirements(ctx, u.spec, source)
		if err != nil {
			u.fail(errorAt(declared, "%s", err))
			return
		}
		var own []File
		for _, f := range files { // a file of the project wins over one of a package
			if !isFile(filepath.Join(source, filepath.FromSlash(path.Clean(f.Name)))) {
				own = append(own, f)
			}
		}
		b.add(u, own, nil)
	case b.config.Mode == Deploy && filepath.Base(declared) == "requirements.txt":
		u.result.Messages = append(u.result.Messages, Message{Severity: Warning, File: declared,
			Text: "The packages named here are not part of the bundle",
			Notes: []Message{{Severity: Note,
				Text: "Install them into the source folder, or bring them in a layer: python3 -m pip install -r requirements.txt --target " + filepath.Base(source)}}})
	}
}
