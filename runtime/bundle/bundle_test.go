package bundle

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// project writes the files of a txtar archive into a new folder. Times lie in the past, as those of files that were
// not just saved do; "name -> target" lines of a file called LINKS become links.
func project(t testing.TB, archive string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	for _, f := range txtar.Parse([]byte(archive)).Files {
		if f.Name == "LINKS" {
			for line := range strings.Lines(string(f.Data)) {
				link, target, _ := strings.Cut(strings.TrimSpace(line), " -> ")
				link = filepath.Join(root, link)
				must(t, os.MkdirAll(filepath.Dir(link), 0o755))
				must(t, os.Symlink(target, link))
			}
			continue
		}
		name := filepath.Join(root, f.Name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, f.Data, 0o644))
		must(t, os.Chtimes(name, past, past))
	}
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chtimes(path, past, past)
		}
		return err
	}))
	return root
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func zipOf(t testing.TB, r *Result) []byte {
	t.Helper()
	data, err := r.Zip()
	must(t, err)
	return data
}

// build builds one node handler and fails the test when that fails.
func build(t testing.TB, b *Builder, handlers ...string) []*Result {
	t.Helper()
	var specs []Spec
	for _, h := range handlers {
		specs = append(specs, Spec{Kind: Node, Handler: h, Runtime: "nodejs20.x"})
	}
	results := b.Build(context.Background(), specs)
	for _, r := range results {
		for _, m := range r.Messages {
			if m.Severity == Error {
				t.Errorf("%s: %s", r.Spec.Handler, m)
			}
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return results
}

// run unpacks the bundle and calls the handler with the local Node.
func run(t testing.TB, r *Result) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: bundles are not run")
	}
	dir := t.TempDir()
	for _, f := range r.Files {
		name := filepath.Join(dir, f.Name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, f.Data, f.Mode))
	}
	file, export, _ := strings.Cut(r.Entry, ".")
	for _, extension := range []string{".mjs", ".cjs"} {
		if isFile(filepath.Join(dir, file+extension)) {
			file += extension
		}
	}
	cmd := exec.Command(node, "--enable-source-maps", "--input-type=module", "-e", fmt.Sprintf(
		`import(%q).then(m => m.%s()).then(v => console.log(JSON.stringify(v)), e => console.log(e.stack))`, "./"+file, export))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

const mixed = `
-- package.json --
{"name": "mixed", "dependencies": {"old": "1", "modern": "1"}}
-- tsconfig.json --
{"compilerOptions": {"paths": {"@lib/*": ["./lib/*"]}, "baseUrl": "."}}
-- src/notes.ts --
import old from "old";
import { modern } from "modern";
import { shared, type Shape } from "@lib/shared";
import text from "./text.txt";
const __filename = "mine";
export const list = async (): Promise<unknown> => ({ old: old.base(), modern, shared, text, __filename });
export class Store { shape?: Shape }
-- src/dotted.name.ts --
export const main = () => "dotted";
-- src/plain.js --
exports.main = () => require("./helper").help();
-- src/helper.js --
exports.help = () => "helped";
-- src/where.mjs --
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
export const main = () => typeof require("fs").readFileSync + typeof __dirname;
-- src/fail.ts --
type Long = {
  name: string;
};
export function main(long: Long): never {
  throw new Error("on line five");
}
-- src/text.txt --
some text
-- lib/shared.ts --
export interface Shape { side: number }
export const shared: string = "shared";
-- node_modules/old/package.json --
{"name": "old", "main": "index.js"}
-- node_modules/old/index.js --
const path = require("path");
module.exports = { base: () => path.basename("/a/b.txt") };
-- node_modules/modern/package.json --
{"name": "modern", "main": "index.cjs", "module": "index.mjs"}
-- node_modules/modern/index.cjs --
exports.modern = "cjs";
-- node_modules/modern/index.mjs --
export const modern = "esm";
export const unused = "shaken off";
`

func TestNode(t *testing.T) {
	for _, mode := range []Mode{Deploy, Live} {
		b := Open(Config{Root: project(t, mixed), Mode: mode, NodeMajor: 20})
		defer b.Close()
		results := build(t, b, "src/notes.list", "src/dotted.name.main", "src/plain.main", "src/where.main")
		for i, want := range []struct{ entry, file, exports, answer string }{
			{"src/notes.list", "src/notes.mjs", "Store list", `{"old":"b.txt","modern":"esm","shared":"shared","text":"some text\n","__filename":"mine"}`},
			{"src/dotted-name.main", "src/dotted-name.mjs", "main", `"dotted"`},
			{"src/plain.main", "src/plain.cjs", "", `"helped"`},
			{"src/where.main", "src/where.mjs", "main", `"functionstring"`},
		} {
			r := results[i]
			if before := Entry(b.config.Root, r.Spec); r.Entry != want.entry || before != want.entry {
				t.Errorf("%s: Entry = %q, before the build %q, want %q", r.Spec.Handler, r.Entry, before, want.entry)
			}
			if !slices.ContainsFunc(r.Files, func(f File) bool { return f.Name == want.file }) {
				t.Errorf("%s: no file %s", r.Spec.Handler, want.file)
			}
			if got := strings.Join(r.Exports, " "); got != want.exports {
				t.Errorf("%s: Exports = %q, want %q", r.Spec.Handler, got, want.exports)
			}
			if got := run(t, r); got != want.answer {
				t.Errorf("%s: answered %s, want %s", r.Spec.Handler, got, want.answer)
			}
		}
		if code := results[0].Files[0].Data; bytes.Contains(code, []byte("shaken off")) {
			t.Errorf("an export that nothing imports is in the bundle")
		}
		var inputs []string
		for _, input := range results[0].Inputs {
			inputs = append(inputs, b.relative(input))
		}
		want := "lib/shared.ts node_modules/modern/index.mjs node_modules/modern/package.json node_modules/old/index.js " +
			"node_modules/old/package.json package.json src/notes.ts src/text.txt tsconfig.json"
		if got := strings.Join(inputs, " "); got != want {
			t.Errorf("Inputs = %s\nwant     %s", got, want)
		}
	}
}

// A frame of a live bundle is that of the user's file, wherever the bundle is put.
func TestSourceMap(t *testing.T) {
	root := project(t, mixed)
	b := Open(Config{Root: root, Mode: Live, NodeMajor: 20})
	defer b.Close()
	out := run(t, build(t, b, "src/fail.main")[0])
	if want := filepath.Join(root, "src/fail.ts") + ":5:9"; !strings.Contains(out, want) {
		t.Errorf("stack:\n%s\ndoes not name %s", out, want)
	}
}

// A root that is a link itself: esbuild sees the real files, people see theirs.
func TestLinkedRoot(t *testing.T) {
	real := project(t, mixed)
	root := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(real, root))
	direct, linked := Open(Config{Root: real}), Open(Config{Root: root})
	defer direct.Close()
	defer linked.Close()
	want, got := build(t, direct, "src/notes.list")[0], build(t, linked, "src/notes.list")[0]
	if got.Hash != want.Hash {
		t.Errorf("the hash through a link is %s, want %s", got.Hash, want.Hash)
	}
	for _, input := range got.Inputs {
		if !strings.HasPrefix(input, root+string(filepath.Separator)) {
			t.Errorf("input %s is not below %s", input, root)
		}
	}
	must(t, os.WriteFile(filepath.Join(root, "src/fail.ts"), []byte("export const = 1"), 0o644))
	failed := linked.Build(context.Background(), []Spec{{Kind: Node, Handler: "src/fail.main"}})[0]
	if len(failed.Messages) != 1 || failed.Messages[0].File != filepath.Join(root, "src/fail.ts") {
		t.Errorf("messages: %v", failed.Messages)
	}
}

func TestTarget(t *testing.T) {
	root := project(t, "-- a.ts --\nexport const f = (s: Set<string>) => { using x = s as any; return x }\n")
	for _, test := range []struct {
		mode    Mode
		runtime string
		local   int
		want    int
	}{
		{Deploy, "nodejs20.x", 24, 20}, {Deploy, "nodejs24.x", 20, 24}, {Live, "nodejs24.x", 20, 20}, {Live, "nodejs20.x", 24, 20},
		{Live, "nodejs22.x", 0, 22}, {Deploy, "", 20, 24},
	} {
		b := Open(Config{Root: root, Mode: test.mode, NodeMajor: test.local})
		if got := b.nodeMajor(test.runtime); got != test.want {
			t.Errorf("nodeMajor(%q) with local %d = %d, want %d", test.runtime, test.local, got, test.want)
		}
		must(t, b.Close())
	}
}

// The same sources give the same bytes in another folder, in another company, and again.
func TestDeterminism(t *testing.T) {
	yes := true
	specs := []Spec{
		{Kind: Node, Handler: "src/notes.list", Runtime: "nodejs22.x", Options: Options{SourceMap: &yes}},
		{Kind: Node, Handler: "src/plain.main", Runtime: "nodejs22.x", Options: Options{SourceMap: &yes}},
		{Kind: Node, Handler: "src/where.main", Runtime: "nodejs22.x"},
		{Kind: Node, Handler: "src/fail.main", Runtime: "nodejs22.x"},
		{Kind: Node, Handler: "src/both.main", Runtime: "nodejs22.x"},
		{Kind: Node, Handler: "src/requires.main", Runtime: "nodejs22.x"},
	}
	// both.ts imports what requires.ts requires, and is imported by it.
	archive := mixed + `
-- src/both.ts --
import { shared } from "../lib/shared";
export const main = () => shared;
-- src/requires.ts --
const { shared } = require("../lib/shared");
import * as both from "./both";
export const main = async () => [shared, both.main(), (await import("./both")).main()];
`
	digest := func(root string, groups ...[]Spec) map[string]string {
		hashes := map[string]string{}
		b := Open(Config{Root: root})
		defer b.Close()
		for _, group := range groups {
			for _, r := range b.Build(context.Background(), group) {
				if r.Failed() {
					t.Fatal(r.Messages)
				}
				zip := zipOf(t, r)
				if bytes.Contains(zip, []byte(root)) {
					t.Errorf("%s: the archive names its folder", r.Spec.Handler)
				}
				for _, f := range r.Files {
					if bytes.Contains(f.Data, []byte(filepath.Base(root))) {
						t.Errorf("%s: %s names its folder", r.Spec.Handler, f.Name)
					}
				}
				hashes[r.Spec.Handler] = r.Hash + fmt.Sprintf(" %x", len(zip))
			}
		}
		return hashes
	}
	first := digest(project(t, archive), specs)
	var alone [][]Spec
	for _, s := range slices.Backward(specs) {
		alone = append(alone, []Spec{s})
	}
	second := digest(project(t, archive), alone...)
	for handler, want := range first {
		if got := second[handler]; got != want {
			t.Errorf("%s: %s in one folder, %s in another and alone", handler, want, got)
		}
	}
}

// A pnpm layout: packages are links into a store, whose neighbours are what they may import.
func TestLinkedPackages(t *testing.T) {
	root := project(t, `
-- packages/api/src/main.ts --
import { a } from "a";
import { lib } from "@work/lib";
export const main = () => a + lib;
-- packages/api/package.json --
{"name": "@work/api"}
-- packages/lib/package.json --
{"name": "@work/lib", "main": "index.ts"}
-- packages/lib/index.ts --
export const lib: string = "lib";
-- node_modules/.pnpm/a@1/node_modules/a/package.json --
{"name": "a", "main": "index.js", "dependencies": {"b": "1"}}
-- node_modules/.pnpm/a@1/node_modules/a/index.js --
exports.a = "a" + require("b").b;
-- node_modules/.pnpm/b@1/node_modules/b/package.json --
{"name": "b", "main": "index.js"}
-- node_modules/.pnpm/b@1/node_modules/b/index.js --
exports.b = "b";
-- LINKS --
packages/api/node_modules/a -> ../../../node_modules/.pnpm/a@1/node_modules/a
packages/api/node_modules/@work/lib -> ../../../lib
node_modules/.pnpm/a@1/node_modules/b -> ../../b@1/node_modules/b
`)
	b := Open(Config{Root: root})
	defer b.Close()
	r := build(t, b, "packages/api/src/main.main")[0]
	if got := run(t, r); got != `"ablib"` {
		t.Errorf("answered %s", got)
	}
	installed := b.Build(context.Background(), []Spec{{Kind: Node, Handler: "packages/api/src/main.main", Runtime: "nodejs20.x",
		Options: Options{Install: []string{"a"}}}})[0]
	if installed.Failed() {
		t.Fatal(installed.Messages)
	}
	var names []string
	for _, f := range installed.Files {
		names = append(names, f.Name)
	}
	want := "node_modules/a/index.js node_modules/a/package.json node_modules/b/index.js node_modules/b/package.json packages/api/src/main.mjs"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("installed: files %s\nwant %s", got, want)
	}
	if got := run(t, installed); got != `"ablib"` {
		t.Errorf("installed: answered %s", got)
	}
}
