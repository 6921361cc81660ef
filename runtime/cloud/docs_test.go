package cloud

import (
	"os"
	"strings"
	"testing"
)

// TestDocumented wants each operation that is answered here in docs/local-cloud.md.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/local-cloud.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		var row string
		for line := range strings.Lines(string(page)) {
			for _, name := range []string{s.name, "Systems Manager"} {
				if strings.HasPrefix(line, "| "+name+" |") && (name == s.name || s.name == "SSM") {
					row = line
				}
			}
		}
		for op := range s.operations {
			if !strings.Contains(row, op) {
				t.Errorf("docs/local-cloud.md does not name %s %s", s.name, op)
			}
		}
	}
}
