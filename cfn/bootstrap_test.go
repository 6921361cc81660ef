package cfn

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sst/builtins/jsii"
)

// The bootstrap is a template that the CDK's own rules have nothing against.
func TestBootstrapTemplate(t *testing.T) {
	node, err := jsii.FindNode(os.Getenv, "")
	if err != nil {
		t.Skip(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := jsii.Unpack(context.Background(), filepath.Join(cache, "sst"), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(bootstrapTemplate())
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > maxInlineBytes {
		t.Errorf("the template has %d bytes: there is no bucket yet to put it in", len(data))
	}
	file := filepath.Join(t.TempDir(), "bootstrap.template.json")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	findings, err := jsii.Validate(context.Background(), node, dir, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		if f.Severity == "error" {
			t.Errorf("%s %s %s: %s", f.Rule, f.LogicalID, f.Path, f.Message)
		}
	}
}
