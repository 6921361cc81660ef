package bundle

// Folders taken over file by file: Python sources, custom runtimes, copied files and installed packages.

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ignored are names that never belong into a zip: caches, other tools' folders, local settings, editors' leftovers.
func ignored(name string) bool {
	switch name {
	case ".git", ".hg", ".svn", ".sst", ".DS_Store", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache",
		".tox", ".nox", ".idea", ".vscode", "cdk.out", "4913":
		return true
	}
	return strings.HasSuffix(name, ".pyc") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".swp") ||
		strings.HasSuffix(name, ".tmp") || strings.HasPrefix(name, ".#") ||
		name == ".env" || strings.HasPrefix(name, ".env.")
}

// tree reads all files below dir, following links. Names begin with prefix. skip says which folders to leave out.
func tree(dir, prefix string, skip func(dir string) bool) (files []File, inputs []string, err error) {
	return walk(dir, prefix, skip, nil)
}

func walk(dir, prefix string, skip func(dir string) bool, parents []string) (files []File, inputs []string, err error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, nil, err
	}
	if slices.Contains(parents, real) {
		return nil, nil, fmt.Errorf("%s: a link leads back to a folder above it", dir)
	}
	parents = append(parents, real)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if ignored(e.Name()) {
			continue
		}
		full, name := filepath.Join(dir, e.Name()), path.Join(prefix, e.Name())
		info, err := os.Stat(full)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case info.IsDir():
			if skip != nil && skip(full) {
				continue
			}
			below, read, err := walk(full, name, skip, parents)
			if err != nil {
				return nil, nil, err
			}
			files, inputs = append(files, below...), append(inputs, read...)
		case info.Mode().IsRegular():
			f, err := readFile(full, name, info)
			if err != nil {
				return nil, nil, err
			}
			files, inputs = append(files, f), append(inputs, full)
		}
	}
	return files, inputs, nil
}

func readFile(full, name string, info fs.FileInfo) (File, error) {
	data, err := os.ReadFile(full)
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return File{Name: name, Data: data, Mode: mode}, err
}

// custom takes a folder as it is; its bootstrap must be executable, which is not asked of the file system.
func (b *Builder) custom(u *unit) {
	files, inputs, err := tree(b.shown(u.file), "", nil)
	if err != nil {
		u.fail(errorAt(b.shown(u.file), "%s", err))
		return
	}
	for i := range files {
		if files[i].Name == "bootstrap" {
			files[i].Mode = 0o755
		}
	}
	u.result.Files, u.result.Inputs = files, inputs
	b.extras(u)
}

// extras adds the files that the options name.
func (b *Builder) extras(u *unit) {
	for _, c := range u.spec.Options.Copy {
		to := path.Clean(strings.TrimPrefix(c.To, "/"))
		if c.To == "" {
			to = path.Clean(c.From)
		}
		if strings.HasPrefix(path.Clean(c.From), "../") || strings.HasPrefix(to, "../") || path.IsAbs(c.From) {
			u.fail(errorAt("", "copy %q: it is outside the project", c.From))
			continue
		}
		full := filepath.Join(b.config.Root, filepath.FromSlash(c.From))
		info, err := os.Stat(full)
		if err != nil {
			u.fail(errorAt("", "copy %q: there is no such file or folder", c.From))
			continue
		}
		if !info.IsDir() {
			f, err := readFile(full, to, info)
			if err != nil {
				u.fail(errorAt(full, "%s", err))
				continue
			}
			b.add(u, []File{f}, []string{full})
			continue
		}
		files, inputs, err := tree(full, to, func(dir string) bool { return filepath.Base(dir) == "node_modules" })
		if err != nil {
			u.fail(errorAt(full, "%s", err))
			continue
		}
		b.add(u, files, inputs)
	}
}

// add appends files; one of the same name as an earlier one replaces it.
func (b *Builder) add(u *unit, files []File, inputs []string) {
	for _, f := range files {
		if i := slices.IndexFunc(u.result.Files, func(old File) bool { return old.Name == f.Name }); i >= 0 {
			u.result.Files[i] = f
		} else {
			u.result.Files = append(u.result.Files, f)
		}
	}
	u.result.Inputs = compact(append(u.result.Inputs, inputs...))
}

// nodeExtras adds copied files and installed packages with all that they depend on.
func (b *Builder) nodeExtras(u *unit) {
	b.extras(u)
	placed := map[string]string{} // place in the zip → real folder
	for _, name := range u.spec.Options.Install {
		from, ok := packageFolder(filepath.Dir(u.file), name)
		if !ok {
			command, _ := b.packageManager(u.file, name)
			m := errorAt(b.shown(u.file), "The package %q is not installed", name)
			m.Notes = []Message{{Severity: Note, Text: fmt.Sprintf("Add it to the project: %s %s", command, name)}}
			u.fail(m)
			continue
		}
		if err := b.install(u, placed, from, "node_modules/"+name); err != nil {
			u.fail(errorAt(b.shown(u.file), "install %q: %s", name, err))
		}
	}
}

// install copies a package, then what it depends on: to the top where that place is free or holds the same package,
// else below the package itself.
func (b *Builder) install(u *unit, placed map[string]string, from, to string) error {
	if placed[to] == from {
		return nil
	}
	placed[to] = from
	files, inputs, err := tree(from, to, func(dir string) bool { return filepath.Base(dir) == "node_modules" })
	if err != nil {
		return err
	}
	b.add(u, files, inputs)
	data, err := os.ReadFile(filepath.Join(from, "package.json"))
	if err != nil {
		return err
	}
	var manifest struct {
		Dependencies, OptionalDependencies map[string]string
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(from, "package.json"), err)
	}
	var needed []string
	for name := range manifest.Dependencies {
		needed = append(needed, name)
	}
	for name := range manifest.OptionalDependencies {
		needed = append(needed, name)
	}
	for _, name := range compact(needed) {
		target, ok := packageFolder(from, name)
		if !ok {
			if _, optional := manifest.OptionalDependencies[name]; optional {
				continue
			}
			return fmt.Errorf("its dependency %q is not installed", name)
		}
		place := "node_modules/" + name
		if other, taken := placed[place]; taken && other != target {
			place = to + "/node_modules/" + name
		}
		if err := b.install(u, placed, target, place); err != nil {
			return err
		}
	}
	return nil
}

// packageFolder finds an installed package as Node does, from dir upwards, and resolves links (pnpm).
func packageFolder(dir, name string) (string, bool) {
	for {
		candidate := filepath.Join(dir, "node_modules", filepath.FromSlash(name))
		if isFile(filepath.Join(candidate, "package.json")) {
			if real, err := filepath.EvalSymlinks(candidate); err == nil {
				return real, true
			}
		}
		if filepath.Dir(dir) == dir {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
}
