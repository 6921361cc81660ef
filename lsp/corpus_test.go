package lsp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestNoFalseAlarmInProjects opens the examples, the templates of sst init with their tests, and the prelude.
func TestNoFalseAlarmInProjects(t *testing.T) {
	files := 0
	for _, top := range []string{"../examples", "../cmd/templates", "../builtins/prelude"} {
		root, err := filepath.Abs(top)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, root)
		err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".star") {
				return err
			}
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			c.open(path, string(src))
			for _, d := range c.diagnosed(path, 1) {
				if d.Code == "missing-handler" && strings.HasSuffix(top, "templates") {
					continue // it is in the folder of the language
				}
				t.Errorf("%s:%d: %s: %s", path, d.Range.Start.Line+1, d.Code, d.Message)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 30 {
		t.Errorf("only %d files", files)
	}
}

// TestNoFalseAlarmInScripts opens the projects of the scripts that build: what they say is right.
func TestNoFalseAlarmInScripts(t *testing.T) {
	archives, _ := filepath.Glob("../testdata/*.txtar")
	projects := 0
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(name)
		if strings.HasPrefix(base, "lsp_") || strings.HasPrefix(base, "editor_") || strings.HasPrefix(base, "fmt_") || strings.Contains(string(archive.Comment), "! sst") || strings.Contains(string(archive.Comment), "! exec") {
			continue // made to be wrong
		}
		root := t.TempDir()
		var files []string
		for _, f := range archive.Files {
			path := filepath.Join(root, filepath.FromSlash(f.Name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			if filepath.Base(f.Name) == "stacks.star" {
				files = append(files, path)
			}
		}
		if len(files) == 0 {
			continue
		}
		projects++
		c := newClient(t, root)
		for _, path := range files {
			src, _ := os.ReadFile(path)
			c.open(path, string(src))
			for _, d := range c.diagnosed(path, 1) {
				if d.Severity < 4 { // hints are no alarms
					t.Errorf("%s: %s:%d: %s: %s", base, filepath.Base(path), d.Range.Start.Line+1, d.Code, d.Message)
				}
			}
		}
	}
	if projects < 5 {
		t.Errorf("only %d projects", projects)
	}
}
