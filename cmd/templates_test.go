package cmd

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"sst/builtins/jsii"
)

// goldenTemplates writes the templates of the constructs' scripts to a folder and gives their files.
func goldenTemplates(t *testing.T) []string {
	t.Helper()
	scripts, err := filepath.Glob("../testdata/construct_*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files []string
	for _, script := range scripts {
		archive, err := txtar.ParseFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range archive.Files {
			var template struct{ Resources map[string]any }
			if json.Unmarshal(file.Data, &template) != nil || template.Resources == nil {
				continue
			}
			name := strings.TrimSuffix(filepath.Base(script), ".txtar") + " " + strings.ReplaceAll(strings.TrimSuffix(file.Name, ".json"), "/", " ") + ".template.json"
			files = append(files, filepath.Join(dir, name))
			if err := os.WriteFile(filepath.Join(dir, name), file.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(files) < 60 {
		t.Fatalf("only %d templates were found", len(files))
	}
	return files
}

// The CDK's rules object to no template of a construct.
func TestTemplatesByCDK(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := jsii.Unpack(t.Context(), filepath.Join(cache, "sst"), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	node, err := jsii.FindNode(os.Getenv, "")
	if err != nil {
		t.Fatal(err)
	}
	findings, err := jsii.Validate(t.Context(), node, dir, goldenTemplates(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Severity == "error" {
			t.Errorf("%s: %s: %s %s: %s", filepath.Base(f.Template), f.LogicalID, f.Rule, f.Path, f.Message)
		}
	}
}

// Neither does cfn-lint, where it is installed.
func TestTemplatesByCfnLint(t *testing.T) {
	if err := exec.Command("cfn-lint", "--version").Run(); err != nil {
		t.Skip("cfn-lint is not installed")
	}
	arguments := append([]string{"--ignore-checks", "W", "--format", "parseable", "--non-zero-exit-code", "error"}, goldenTemplates(t)...)
	if out, err := exec.Command("cfn-lint", arguments...).CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}
