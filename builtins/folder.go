package builtins

import (
	"fmt"
	"os"
	"path/filepath"

	"go.starlark.net/starlark"

	interp "sst/starlark"
)

// folderOf is the intrinsic _folder.
func folderOf(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name, keyword, extension string
	if err := starlark.UnpackArgs("_folder", args, kwargs, "path", &name, "keyword", &keyword, "extension", &extension); err != nil {
		return nil, err
	}
	full, problem := s.folder(name, extension)
	if problem == "" {
		return starlark.String(full), nil
	}
	f := interp.Errorf("missing-folder", "Folder not found", "%s: %s.", keyword, problem)
	f.Keyword, f.Value = keyword, name
	return nil, f
}

// fileOf is the intrinsic _file.
func fileOf(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name, keyword string
	if err := starlark.UnpackArgs("_file", args, kwargs, "path", &name, "keyword", &keyword); err != nil {
		return nil, err
	}
	full, _, err := s.projectFile(name)
	if err != nil {
		f := interp.Errorf("missing-file", "File not found", "%s: %v.", keyword, err)
		f.Keyword, f.Value = keyword, name
		return nil, f
	}
	return starlark.String(full), nil
}

// projectFile reads a file of the project, which becomes an input.
func (s *session) projectFile(name string) (full string, data []byte, err error) {
	full, inside := s.resolvePath(s.in.File, "//"+name)
	if !inside || name == "" || filepath.IsAbs(name) {
		return "", nil, fmt.Errorf("%q is not a file of the project", name)
	}
	if data, err = s.readFile(full); err != nil {
		return "", nil, fmt.Errorf("there is no file %q in the project", name)
	}
	s.onRead(full, data)
	return full, data, nil
}

// folder finds a folder of the project, which becomes an input.
func (s *session) folder(name, extension string) (full, problem string) {
	full, inside := s.resolvePath(s.in.File, "//"+name)
	if !inside || filepath.IsAbs(name) {
		return "", fmt.Sprintf("%q is outside the project", name)
	}
	s.depend(Dependency{Kind: "dir", Name: full})
	entries, err := os.ReadDir(full)
	if err != nil {
		return "", fmt.Sprintf("there is no folder %q in the project", name)
	}
	for _, entry := range entries {
		if extension == "" || !entry.IsDir() && filepath.Ext(entry.Name()) == extension {
			return full, ""
		}
	}
	return "", fmt.Sprintf("the folder %q has no %s files", name, extension)
}
