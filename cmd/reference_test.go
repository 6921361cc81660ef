package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sst/builtins"
)

// before is what the examples of the reference take for granted.
const before = `app = sst.App("reference", region = "us-east-1")
base = sst.Stack(app, "base")
notes = sst.Table(base, "Notes", fields = {"id": "string"}, primary_index = "id")
uploads = sst.Bucket(base, "Uploads")
stock_queue = sst.Queue(base, "Stock")
api = sst.Api(base, "Api", routes = {"GET /": "src/notes.list"})

`

var handlerOf = regexp.MustCompile(`"(src/[\w/-]+)\.(\w+)"`)

// Every example of the reference builds: each is a function of one app, with a stack of its own.
func TestReferenceExamples(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	dir := t.TempDir()
	var stacks strings.Builder
	stacks.WriteString(before)
	for _, name := range builtins.Constructs() {
		page, err := builtins.Document("sst." + name)
		must(t, err)
		if page.Example == "" {
			t.Errorf("sst.%s has no example", name)
			continue
		}
		if name == "App" { // there is one; what the example says of it is checked alone
			checkAppExample(t, page.Example)
			continue
		}
		fmt.Fprintf(&stacks, "def example_%s(stack):\n    web, storage = stack, stack\n", name)
		for line := range strings.SplitSeq(page.Example, "\n") {
			fmt.Fprintf(&stacks, "    %s\n", strings.ReplaceAll(line, `sst.Stack(app, "web"`, `sst.Stack(app, "another"`))
		}
		fmt.Fprintf(&stacks, "\nexample_%s(sst.Stack(app, \"%s\"))\n\n", name, strings.ToLower(name))
	}
	putHandlers(t, dir, stacks.String())
	put(t, filepath.Join(dir, "site", "index.html"), "<p>hello")
	put(t, filepath.Join(dir, "site", "package.json"), `{"scripts":{"build":"mkdir -p dist && cp index.html dist"}}`)
	put(t, filepath.Join(dir, "schema.graphql"), "type Query { notes: [String] }\n")
	put(t, filepath.Join(dir, "migrations", "0001_notes.sql"), "create table notes (id text primary key);\n")
	put(t, filepath.Join(dir, "stacks.star"), stacks.String())
	buildExamples(t, dir, stacks.String())
}

func checkAppExample(t *testing.T, example string) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "stacks.star"), example+"\nsst.Queue(sst.Stack(app, \"web\"), \"Jobs\")\n")
	buildExamples(t, dir, example)
}

func buildExamples(t *testing.T, dir, stacks string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	var out bytes.Buffer
	world := &World{Args: []string{"build", "--no-lint", "--stage", "dev"}, Dir: dir, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &out,
		LookupEnv: os.LookupEnv, Environ: os.Environ(), CacheDir: filepath.Join(cache, "sst")}
	if code := Run(context.Background(), world); code != ExitDone {
		t.Errorf("exit code %d\n%s\n%s", code, &out, stacks)
	}
}

// putHandlers makes the handlers that a stacks.star names.
func putHandlers(t *testing.T, dir, stacks string) {
	t.Helper()
	handlers := map[string][]string{}
	for _, match := range handlerOf.FindAllStringSubmatch(stacks, -1) {
		if !slices.Contains(handlers[match[1]], match[2]) {
			handlers[match[1]] = append(handlers[match[1]], match[2])
		}
	}
	for file, exports := range handlers {
		var code strings.Builder
		for _, export := range exports {
			fmt.Fprintf(&code, "export const %s = async () => {};\n", export)
		}
		put(t, filepath.Join(dir, file+".ts"), code.String())
	}
}

func put(t *testing.T, file, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(text), 0o644))
}
