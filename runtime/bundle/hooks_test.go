package bundle

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const hooked = `
-- schema.txt --
one
-- src/a.ts --
import { schema } from "./generated";
export const main = () => schema;
-- src/b.ts --
import { schema } from "./generated";
export const main = () => schema + "!";
-- other.txt --
`

// fileOf gives the text of a file of a bundle, "" when there is none.
func fileOf(r *Result, name string) string {
	for _, f := range r.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
}

// Commands run before and after, once where they are the same, and again only when what they read has changed.
func TestHooks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are those of a Unix shell")
	}
	for _, mode := range []Mode{Deploy, Live} {
		root, cache := project(t, hooked), t.TempDir()
		options := Options{Hooks: &Hooks{
			Before: []string{`echo before >> ` + filepath.Join(cache, "log"), `echo "export const schema = '$(cat schema.txt)';" > src/generated.ts`},
			After:  []string{`cp "$SST_PROJECT/schema.txt" "$(dirname "$SST_HANDLER")/copied.txt"`, `printf x > tool && chmod +x tool`},
			Inputs: []string{"schema.txt"},
		}}
		make := func() []*Result {
			b := Open(Config{Root: root, Mode: mode, NodeMajor: 20, Cache: filepath.Join(cache, "bundles"), LookupEnv: os.LookupEnv})
			defer b.Close()
			results := b.Build(t.Context(), []Spec{{Kind: Node, Handler: "src/a.main", Options: options}, {Kind: Node, Handler: "src/b.main", Options: options}})
			for _, r := range results {
				if r.Failed() {
					t.Fatalf("mode %d: %v", mode, r.Messages)
				}
			}
			return results
		}
		runs := func() int {
			data, _ := os.ReadFile(filepath.Join(cache, "log"))
			return strings.Count(string(data), "before")
		}
		results := make()
		if runs() != 1 {
			t.Errorf("mode %d: the same commands ran %d times, want once for both functions", mode, runs())
		}
		if got := fileOf(results[0], "src/copied.txt"); got != "one\n" {
			t.Errorf("mode %d: copied.txt = %q, want what the command copied", mode, got)
		}
		if i := slices.IndexFunc(results[0].Files, func(f File) bool { return f.Name == "tool" }); i < 0 || results[0].Files[i].Mode != 0o755 {
			t.Errorf("mode %d: no executable tool in %d files", mode, len(results[0].Files))
		}
		if got := run(t, results[1]); got != `"one!"` {
			t.Errorf("mode %d: answered %s, want what was generated", mode, got)
		}
		if mode == Live {
			continue // keeps nothing between processes
		}
		write(t, root, "other.txt", "not an input")
		time.Sleep(2 * clockGrain) // what is written later has another time
		if make(); runs() != 1 {
			t.Errorf("the commands ran again although nothing that they read had changed")
		}
		write(t, root, "schema.txt", "two")
		if results = make(); runs() != 2 || run(t, results[1]) != `"two!"` {
			t.Errorf("ran %d times, answered %s, want the new schema", runs(), run(t, results[1]))
		}
		options.Hooks.Inputs = nil
		make()
		write(t, root, "new.txt", "")
		if before := runs(); before != 3 {
			t.Errorf("other hooks ran %d times, want once more", before-2)
		}
		if make(); runs() != 4 {
			t.Errorf("without inputs a new file of the project was not noticed")
		}
	}
}

func TestHooksFail(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are those of a Unix shell")
	}
	for want, hooks := range map[string]Hooks{
		`hooks: before: "echo no schema; exit 3" failed (exit status 3):` + "\nno schema": {Before: []string{"echo no schema; exit 3", "touch never"}},
		`hooks: after: "exit 1" failed (exit status 1):` + "\n":                           {After: []string{"exit 1"}},
		`hooks: inputs "../x": it is outside the project`:                                 {Inputs: []string{"../x"}},
		`hooks: inputs "gone": there is no such file or folder`:                           {Inputs: []string{"gone"}},
	} {
		root := project(t, "-- src/a.ts --\nexport const main = () => 1;\n")
		b := Open(Config{Root: root, LookupEnv: os.LookupEnv})
		r := b.Build(t.Context(), []Spec{{Kind: Node, Handler: "src/a.main", Options: Options{Hooks: &hooks}}})[0]
		b.Close()
		if len(r.Messages) != 1 || r.Messages[0].Text != want || r.Files != nil {
			t.Errorf("Build = %v, want %s", r.Messages, want)
		}
		if isFile(filepath.Join(root, "never")) {
			t.Errorf("a command ran after one that failed")
		}
	}
}

// Each of the other options is seen in what Lambda gets.
func TestOptionsInZip(t *testing.T) {
	root := project(t, `
-- src/a.ts --
import { kept } from "kept-out";
import { native } from "native";
import query from "./query.sql";
export const main = () => [kept, native, query, VERSION];
-- src/query.sql --
select 1
-- assets/deep/logo.svg --
<svg/>
-- node_modules/kept-out/package.json --
{"name": "kept-out", "main": "index.js"}
-- node_modules/kept-out/index.js --
exports.kept = "text of kept-out";
-- node_modules/native/package.json --
{"name": "native", "main": "index.js", "dependencies": {"helper": "1"}}
-- node_modules/native/index.js --
exports.native = require("helper");
-- node_modules/helper/package.json --
{"name": "helper", "main": "index.js"}
-- node_modules/helper/index.js --
module.exports = "text of helper";
`)
	b := Open(Config{Root: root, LookupEnv: os.LookupEnv})
	defer b.Close()
	r := b.Build(t.Context(), []Spec{{Kind: Node, Handler: "src/a.main", Runtime: "nodejs20.x", Options: Options{
		External: []string{"kept-out"}, Install: []string{"native"}, Loader: map[string]string{".sql": "text"},
		Copy: []Copy{{From: "assets", To: "public"}}, Esbuild: []byte(`{"define": {"VERSION": "\"v7\""}}`),
	}}})[0]
	if r.Failed() {
		t.Fatal(r.Messages)
	}
	var names []string
	for _, f := range r.Files {
		names = append(names, f.Name)
	}
	want := "node_modules/helper/index.js node_modules/helper/package.json node_modules/native/index.js node_modules/native/package.json public/deep/logo.svg src/a.mjs"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("files = %s\nwant    %s", got, want)
	}
	code := fileOf(r, "src/a.mjs")
	for text, wanted := range map[string]bool{"text of kept-out": false, `"kept-out"`: true, "text of helper": false, "select 1": true, `"v7"`: true} {
		if strings.Contains(code, text) != wanted {
			t.Errorf("the bundle has %q: %v, want %v", text, !wanted, wanted)
		}
	}
}
