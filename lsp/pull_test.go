package lsp

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// An editor that pulls diagnostics gets what another is pushed, for every file of the marker projects and at every step of
// typing one line, and is pushed nothing.
func TestPulledAsPushed(t *testing.T) {
	archives, _ := filepath.Glob("../testdata/lsp_*.txtar")
	files, found := 0, 0
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		for i := range archive.Files {
			f := &archive.Files[i]
			clean, _ := parseMarks(f.Name, string(f.Data))
			f.Data = []byte(clean)
			path := filepath.Join(root, filepath.FromSlash(f.Name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		pusher, puller := newClient(t, root, "utf-8"), newPuller(t, root)
		for _, f := range archive.Files {
			if filepath.Ext(f.Name) != ".star" {
				continue
			}
			path := filepath.Join(root, filepath.FromSlash(f.Name))
			pusher.open(path, string(f.Data))
			puller.open(path, string(f.Data))
			pushed, pulled := pusher.diagnosed(path, 1), puller.pull(path)
			if !slices.EqualFunc(pushed, pulled, func(a, b testDiagnostic) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("%s: %s: pushed %+v, pulled %+v", name, f.Name, pushed, pulled)
			}
			files++
			found += len(pulled)
		}
		if n := len(puller.diagnostics); n != 0 {
			t.Errorf("%s: diagnostics of %d files were pushed to who pulls", name, n)
		}
	}
	if files < 15 || found < 30 {
		t.Errorf("%d files with %d diagnostics", files, found)
	}

	root := t.TempDir()
	path := filepath.Join(root, "stacks.star")
	pusher, puller := newClient(t, root, "utf-8"), newPuller(t, root)
	line := `sst.Queue(web, "Jobs", consumr = lambda m: m[1 + x)`
	text := "app = sst.App(\"a\")\nweb = sst.Stack(app, \"web\")\n"
	pusher.open(path, text)
	puller.open(path, text)
	pusher.diagnosed(path, 1)
	seen := map[int]bool{}
	for i := range line {
		typed := map[string]any{"range": testRange{testPosition{2, i}, testPosition{2, i}}, "text": line[i : i+1]}
		pusher.change(path, i+2, typed)
		puller.change(path, i+2, typed)
		pushed, pulled := pusher.diagnosed(path, i+2), puller.pull(path)
		if !reflect.DeepEqual(pushed, pulled) && len(pushed)+len(pulled) > 0 {
			t.Errorf("behind %q: pushed %+v, pulled %+v", line[:i+1], pushed, pulled)
		}
		seen[len(pulled)] = true
	}
	if !seen[1] {
		t.Errorf("typing %q gave no diagnostics: %v", line, seen)
	}

	// What is pulled of a file that is closed, or of none, is no diagnostics rather than an error.
	puller.notify("textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": uriOf(path)}})
	if got := puller.pull(path); len(got) != 0 {
		t.Errorf("closed: %+v", got)
	}
}

// newPuller is a client that pulls diagnostics.
func newPuller(t *testing.T, root string) *testClient {
	c := connect(t, Options{Debounce: time.Millisecond, PreludeDir: filepath.Join(t.TempDir(), "prelude")})
	c.root = root
	c.utf8 = true
	var result struct {
		Capabilities struct {
			PositionEncoding   string `json:"positionEncoding"`
			DiagnosticProvider *struct {
				InterFileDependencies bool `json:"interFileDependencies"`
			} `json:"diagnosticProvider"`
		} `json:"capabilities"`
	}
	err := c.request("initialize", map[string]any{"processId": nil, "rootUri": uriOf(root), "capabilities": map[string]any{
		"general":      map[string]any{"positionEncodings": []string{"utf-8"}},
		"textDocument": map[string]any{"diagnostic": map[string]any{}},
		"workspace":    map[string]any{"diagnostics": map[string]any{"refreshSupport": true}, "workspaceEdit": map[string]any{"documentChanges": true, "resourceOperations": []string{"create"}}},
	}}, &result)
	if p := result.Capabilities.DiagnosticProvider; err != nil || result.Capabilities.PositionEncoding != "utf-8" || p == nil || !p.InterFileDependencies {
		t.Fatalf("initialize: %+v, %v", result, err)
	}
	c.notify("initialized", map[string]any{})
	t.Cleanup(c.close)
	return c
}

func (c *testClient) pull(path string) []testDiagnostic {
	c.t.Helper()
	var report struct {
		Kind  string           `json:"kind"`
		Items []testDiagnostic `json:"items"`
	}
	if err := c.request("textDocument/diagnostic", map[string]any{"textDocument": map[string]any{"uri": uriOf(path)}}, &report); err != nil {
		c.t.Fatal(err)
	}
	if report.Kind != "full" {
		c.t.Fatalf("a report of kind %q", report.Kind)
	}
	return report.Items
}
