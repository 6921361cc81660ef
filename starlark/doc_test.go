package interp

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCodesAreListed: every code that the package can report is in its doc comment.
func TestCodesAreListed(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, word := range strings.Fields(string(doc)) {
		listed[word] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:Errorf\(|(?:return|:=) fail\(|Code: |Code, d\.Summary(?:, d\.Detail)? = )"([a-z]+(?:-[a-z]+)*)"`)
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(src), -1) {
			found++
			if !listed[m[1]] {
				t.Errorf("%s reports %q, which doc.go does not list", file, m[1])
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d codes found in the sources", found)
	}
}
