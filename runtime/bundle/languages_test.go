package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPython(t *testing.T) {
	root := project(t, `
-- service/requirements.txt --
requests
-- service/app/__init__.py --
-- service/app/main.py --
def handler(event, context): pass
-- service/app/__pycache__/main.pyc --
-- service/.venv/pyvenv.cfg --
-- service/.venv/lib/x.py --
-- service/.env --
SECRET=1
-- plain/pkg/__init__.py --
-- plain/pkg/fn.py --
from .other import thing
def handler(event, context): pass
-- plain/pkg/other.py --
thing = 1
-- plain/data.json --
{}
`)
	b := Open(Config{Root: root})
	defer b.Close()
	for _, test := range []struct{ handler, entry, files, messages string }{
		{"service/app/main.handler", "app/main.handler", "app/__init__.py app/main.py requirements.txt", "The packages named here are not part of the bundle"},
		{"plain/pkg/fn.handler", "pkg/fn.handler", "data.json pkg/__init__.py pkg/fn.py pkg/other.py", ""},
		{"plain/pkg/fn.gone", "", "", `plain/pkg/fn does not export "gone"`},
	} {
		r := b.Build(context.Background(), []Spec{{Kind: Python, Handler: test.handler, Runtime: "python3.13"}})[0]
		var files, messages []string
		for _, f := range r.Files {
			files = append(files, f.Name)
		}
		for _, m := range r.Messages {
			messages = append(messages, m.Text)
		}
		if got := strings.Join(files, " "); got != test.files {
			t.Errorf("%s: files %q, want %q", test.handler, got, test.files)
		}
		if got := strings.Join(messages, " "); got != test.messages {
			t.Errorf("%s: messages %q, want %q", test.handler, got, test.messages)
		}
		if !r.Failed() && r.Entry != test.entry {
			t.Errorf("%s: Entry = %q, want %q", test.handler, r.Entry, test.entry)
		}
	}
	spec := []Spec{{Kind: Python, Handler: "plain/pkg/fn.handler", Runtime: "python3.13"}}
	before := b.Build(context.Background(), spec)[0].Hash
	must(t, os.WriteFile(filepath.Join(root, "plain/pkg/new.py"), nil, 0o644))
	if after := b.Build(context.Background(), spec)[0].Hash; after == before {
		t.Errorf("a new module is not noticed")
	}
}

func TestGo(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("go is not installed")
	}
	archive := `
-- go.mod --
module example.com/app

go 1.21
-- hello/main.go --
package main

import "example.com/app/lib"

func main() { println(lib.Text) }
-- lib/lib.go --
package lib

const Text = "hello"
`
	spec := []Spec{{Kind: Go, Handler: "hello", Runtime: "provided.al2023", Arch: "arm64"}}
	root := project(t, archive)
	b := Open(Config{Root: root, Mode: Live})
	defer b.Close()
	r := b.Build(context.Background(), spec)[0]
	if r.Failed() {
		t.Fatal(r.Messages)
	}
	if r.Entry != "bootstrap" || len(r.Files) != 1 || r.Files[0].Name != "bootstrap" || r.Files[0].Mode != 0o755 {
		t.Fatalf("entry %q, files %d", r.Entry, len(r.Files))
	}
	program := filepath.Join(t.TempDir(), "bootstrap")
	must(t, os.WriteFile(program, r.Files[0].Data, 0o755))
	if out, err := exec.Command(program).CombinedOutput(); err != nil || string(out) != "hello\n" {
		t.Errorf("bootstrap: %s %v", out, err)
	}
	if again := b.Build(context.Background(), spec)[0]; &again.Files[0].Data[0] != &r.Files[0].Data[0] {
		t.Errorf("nothing changed, but it was built again")
	}
	must(t, os.WriteFile(filepath.Join(root, "lib/lib.go"), []byte("package lib\n\nconst Text = \"changed\"\n"), 0o644))
	if again := b.Build(context.Background(), spec)[0]; again.Hash == r.Hash {
		t.Errorf("a change of an imported package is not noticed")
	}
	one := Open(Config{Root: project(t, archive)})
	defer one.Close()
	two := Open(Config{Root: project(t, archive)})
	defer two.Close()
	if x, y := one.Build(context.Background(), spec)[0], two.Build(context.Background(), spec)[0]; x.Failed() || x.Hash != y.Hash {
		t.Errorf("%s in one folder, %s in another: %v", x.Hash, y.Hash, x.Messages)
	}
}

func TestCustomAndZip(t *testing.T) {
	root := project(t, `
-- fn/bootstrap --
#!/bin/sh
-- fn/lib/data.txt --
data
-- shared/config.json --
{}
`)
	b := Open(Config{Root: root})
	defer b.Close()
	r := b.Build(context.Background(), []Spec{{Kind: Custom, Handler: "fn", Options: Options{Copy: []Copy{{From: "shared"}, {From: "shared/config.json", To: "lib/data.txt"}}}}})[0]
	if r.Failed() {
		t.Fatal(r.Messages)
	}
	data := zipOf(t, r)
	if !bytes.Equal(data, zipOf(t, r)) {
		t.Errorf("two archives differ")
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	var got []string
	for _, f := range archive.File {
		body, err := f.Open()
		must(t, err)
		text, err := io.ReadAll(body)
		must(t, err)
		got = append(got, fmt.Sprintf("%s %s %s %q", f.Name, f.Mode(), f.Modified.UTC().Format("2006-01-02"), text))
	}
	want := []string{
		`bootstrap -rwxr-xr-x 1980-01-01 "#!/bin/sh\n"`,
		`lib/data.txt -rw-r--r-- 1980-01-01 "{}\n"`,
		`shared/config.json -rw-r--r-- 1980-01-01 "{}\n"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("archive:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
