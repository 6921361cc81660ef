package bundle

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
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
				zip := r.Zip()
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

func TestRebuild(t *testing.T) {
	root := project(t, `
-- src/a.ts --
import { shared } from "./shared";
export const main = () => shared;
-- src/b.ts --
export { other as main } from "pkg";
-- src/c.ts --
export const main = () => 1;
export const second = () => 2;
-- src/shared.ts --
export const shared = 1;
-- node_modules/pkg/package.json --
{"main": "index.js"}
-- node_modules/pkg/index.js --
exports.other = () => 1;
-- node_modules/pkg/else.js --
exports.other = () => 2;
`)
	b := Open(Config{Root: root, Mode: Live, NodeMajor: 20})
	defer b.Close()
	write := func(name, text string) func() {
		return func() {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
			past := time.Now().Add(-time.Minute)
			must(t, os.Chtimes(filepath.Join(root, name), past, past))
		}
	}
	before := build(t, b, "src/a.main", "src/b.main", "src/c.main", "src/c.second")
	if before[2].Hash != before[3].Hash {
		t.Errorf("two exports of one file have two bundles")
	}
	for _, step := range []struct {
		name   string
		change func()
		built  string // the units that are built again
		hashes string // those whose hash changes
	}{
		{"nothing", func() {}, "", ""},
		{"shared file", write("src/shared.ts", "export const shared = 2;\n"), "src/a.ts", "src/a.main"},
		{"own file", write("src/c.ts", "export const main = () => 3;\nexport const second = () => 2;\n"), "src/c.ts", "src/c.main src/c.second"},
		{"package.json of a package", write("node_modules/pkg/package.json", `{"main": "else.js"}`), "src/b.ts", "src/b.main"},
		{"a file nobody imports", write("src/new.ts", "export {}"), "", ""},
		{"a file that is found first", write("src/shared.tsx", "export const shared = 33;\n"), "src/a.ts", "src/a.main"},
		{"a tsconfig.json", write("src/tsconfig.json", "{}"), "src/a.ts src/b.ts src/c.ts", ""},
		{"a syntax error", write("src/c.ts", "export const main = ("), "src/c.ts", ""},
		{"put right", write("src/c.ts", "export const main = () => 3;\nexport const second = () => 2;\n"), "src/c.ts", ""},
	} {
		b.mu.Lock()
		old := map[*unit]bool{}
		for _, u := range b.units {
			old[u] = true
		}
		b.mu.Unlock()
		step.change()
		var specs []Spec
		for _, r := range before {
			specs = append(specs, r.Spec)
		}
		after := b.Build(context.Background(), specs)
		var built, hashes []string
		for _, u := range b.units {
			if !old[u] {
				built = append(built, b.relative(u.file))
			}
		}
		for i, r := range after {
			if r.Failed() {
				if step.name != "a syntax error" || i < 2 {
					t.Fatal(step.name, r.Messages)
				}
				if f := b.relative(b.unitOf(r.Spec, filepath.Join(root, "src/c.ts")).file); !slices.Contains(built, f) {
					built = append(built, f)
				}
				continue
			}
			if r.Hash != before[i].Hash {
				hashes = append(hashes, r.Spec.Handler)
			}
			before[i] = r
		}
		slices.Sort(built)
		if got := strings.Join(built, " "); got != step.built {
			t.Errorf("%s: built %q again, want %q", step.name, got, step.built)
		}
		if got := strings.Join(hashes, " "); got != step.hashes {
			t.Errorf("%s: the hash of %q changed, want %q", step.name, got, step.hashes)
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

// Each archive in testdata/errors ends in the messages its handlers give.
func TestErrorsGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.txtar")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no archives")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			must(t, err)
			archive := txtar.Parse(data)
			root := project(t, string(data))
			var specs []Spec
			for line := range strings.Lines(string(archive.Comment)) {
				var s Spec
				if !strings.HasPrefix(line, "{") {
					continue
				}
				must(t, json.Unmarshal([]byte(line), &s))
				if s.Kind == Go {
					if _, err := exec.LookPath("go"); err != nil {
						t.Skip("go is not installed")
					}
				}
				specs = append(specs, s)
			}
			b := Open(Config{Root: root})
			defer b.Close()
			var got strings.Builder
			for _, r := range b.Build(context.Background(), specs) {
				fmt.Fprintf(&got, "%s: failed %v\n", r.Spec.Handler, r.Failed())
				for _, m := range r.Messages {
					describe(&got, m, "  ")
				}
			}
			text := strings.ReplaceAll(got.String(), root, "$ROOT")
			last := &archive.Files[len(archive.Files)-1]
			if last.Name != "want" {
				t.Fatal("the last file is to be called want")
			}
			if text == string(last.Data) {
				return
			}
			if *update {
				last.Data = []byte(text)
				must(t, os.WriteFile(file, txtar.Format(archive), 0o644))
				return
			}
			t.Errorf("got:\n%s\nwant:\n%s", text, last.Data)
		})
	}
}

func describe(w io.Writer, m Message, indent string) {
	fmt.Fprintf(w, "%s%s\n", indent, m)
	if m.LineText != "" {
		fmt.Fprintf(w, "%s| %s\n%s| %s%s\n", indent, m.LineText, indent, strings.Repeat(" ", m.Col-1), strings.Repeat("^", max(m.Length, 1)))
	}
	for _, note := range m.Notes {
		describe(w, note, indent+"  ")
	}
}

func TestExports(t *testing.T) {
	root := project(t, `
-- other.ts --
export const other = 1;
export default 2;
export type Kind = string;
export * from "./third.js";
-- third.ts --
export function third() {}
export * from "./other";
`)
	for _, test := range []struct{ name, src, want string }{
		{"a.ts", "export const a = 1, { b, c: [d], ...rest } = x; export function e() {}; export class F {}", "F a b d e rest"},
		{"a.ts", "const x = 1; export { x as y, x as default }; export type T = 1; export interface I {}", "default y"},
		{"a.ts", "export default () => 1", "default"},
		{"a.ts", "export import fs = require('fs'); export enum E {}; export declare const gone: 1; export namespace N { export const x = 1 }", "E N fs"},
		{"a.ts", "import type { T } from 'x'; export type { T }; export { type U, v } from 'w'", "v"},
		{"a.ts", "export * from './other'; export const own = 1", "other own third"},
		{"a.ts", "export * as all from 'package'", "all"},
		{"a.ts", "export * from 'package'", "?"},
		{"a.ts", "export * from './missing'", "?"},
		{"a.ts", "export const = 1", "?"},
		{"a.tsx", "export const a = <T,>(x: T) => <b>{x}</b>", "a"},
		{"a.js", "export const a = <b/>", "a"},
		{"a.js", "exports.a = 1", "?"},
		{"a.js", "module.exports = { a: 1 }", "?"},
		{"a.js", "", "?"},
		{"a.cjs", "exports.a = 1", "?"},
		{"a.py", "def main(event, context):\n    def inner(): pass\n\nasync def other(): pass\nhandler = 1\ntyped: int = 2\nclass C: pass\nfrom x import y as z, w\nimport a.b\n", "C a handler main other typed w z"},
		{"a.py", "\"\"\"\ndef not_me():\n\"\"\"\ndef me(): pass\n", "me"},
		{"a.py", "# \"\"\"\ndef me(): pass\nif __name__ == '__main__':\n    me()\n", "me"},
		{"a.py", "from x import *\n", "?"},
		{"a.py", "try:\n    def main(): pass\nexcept: pass\n", "?"},
		{"a.py", "a == b\n", ""},
		{"a.py", "from x import (\n  y,\n)\n", "?"},
	} {
		names, known := Exports(filepath.Join(root, test.name), []byte(test.src))
		got := strings.Join(names, " ")
		if !known {
			got = "?"
		}
		if got != test.want {
			t.Errorf("Exports(%s, %q) = %q, want %q", test.name, test.src, got, test.want)
		}
	}
}

func TestFind(t *testing.T) {
	root := project(t, `
-- src/notes.ts --
-- src/notes.js --
-- src/api.test.mts --
-- src/View.tsx --
-- py/app.py --
-- cmd/hello/main.go --
-- rust/bootstrap --
-- empty/readme.txt --
`)
	for _, test := range []struct{ kind, handler, want string }{
		{Node, "src/notes.list", "src/notes.ts list"},
		{Node, "./src/notes.list", "src/notes.ts list"},
		{Node, "src/notes.routes.list", "src/notes.ts routes.list"},
		{Node, "src/api.test.main", "src/api.test.mts main"},
		{Node, "src/View.render", "src/View.tsx render"},
		{Node, "src/note.list", "there is no src/note with one of the extensions .ts .tsx .mts .cts .js .jsx .mjs .cjs [src/notes.list src/View.list src/api.test.list]"},
		{Node, "scr/notes.list", "there is no scr/notes with one of the extensions .ts .tsx .mts .cts .js .jsx .mjs .cjs [src/notes.list src/View.list src/api.test.list]"},
		{Node, "src/notes", "a handler has the form path/file.export []"},
		{Node, "src/notes.ts", "src/notes.ts ts"},
		{Node, "src/gone.ts", "there is no src/gone with one of the extensions .ts .tsx .mts .cts .js .jsx .mjs .cjs [src/notes.ts src/View.ts src/api.test.ts]"},
		{Node, "../x.main", "it is outside the project []"},
		{Node, "/src/notes.list", "a handler is relative to the project's root []"},
		{Node, "", "the handler is empty []"},
		{Python, "py/app.main", "py/app.py main"},
		{Python, "py/ap.main", "there is no file py/ap.py [py/app.main]"},
		{Go, "cmd/hello", "cmd/hello "},
		{Go, "cmd/helo", "there is no such folder [cmd/hello]"},
		{Go, "empty", "the folder has no Go source files []"},
		{Custom, "rust", "rust "},
		{Custom, "empty", "the folder has no file called bootstrap []"},
		{"ruby", "src/notes.list", `there is no kind of bundle called "ruby" []`},
	} {
		file, export, err := Find(root, test.handler, test.kind)
		got := ""
		if err != nil {
			e := err.(*FindError)
			got = fmt.Sprintf("%s %v", e.Text, e.Known)
		} else {
			rel, _ := filepath.Rel(root, file)
			got = filepath.ToSlash(rel) + " " + export
		}
		if got != test.want {
			t.Errorf("Find(%q, %s) = %s, want %s", test.handler, test.kind, got, test.want)
		}
	}
}

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
	data := r.Zip()
	if !bytes.Equal(data, r.Zip()) {
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

// A second process takes what the first one left, and builds only what changed since.
func TestCache(t *testing.T) {
	root, cache := project(t, mixed), t.TempDir()
	specs := []Spec{{Kind: Node, Handler: "src/notes.list"}, {Kind: Node, Handler: "src/where.main"}}
	first := Open(Config{Root: root, Cache: cache})
	before := first.Build(context.Background(), specs)
	must(t, first.Close())
	must(t, os.WriteFile(filepath.Join(root, "src/where.mjs"), []byte("export const main = () => 0"), 0o644))
	second := Open(Config{Root: root, Cache: cache})
	defer second.Close()
	after := second.Build(context.Background(), specs)
	if after[0].Files != nil || after[0].Hash != before[0].Hash || !bytes.Equal(after[0].Zip(), pack(before[0].Files)) {
		t.Errorf("the unchanged bundle is not taken from the cache")
	}
	if got := strings.Join(after[0].Exports, " "); got != "Store list" || after[0].Entry != "src/notes.list" {
		t.Errorf("from the cache: Exports %q, Entry %q", got, after[0].Entry)
	}
	if after[1].Files == nil || after[1].Hash == before[1].Hash {
		t.Errorf("the changed bundle is taken from the cache")
	}
}

func TestCancel(t *testing.T) {
	b := Open(Config{Root: project(t, mixed)})
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(fmt.Errorf("told to stop"))
	r := b.Build(ctx, []Spec{{Kind: Node, Handler: "src/notes.list"}})[0]
	if !r.Failed() || r.Messages[0].Text != "told to stop" {
		t.Errorf("messages of a cancelled build: %v", r.Messages)
	}
	must(t, b.Close())
	if r := b.Build(context.Background(), []Spec{{Kind: Node, Handler: "src/notes.list"}})[0]; !r.Failed() {
		t.Errorf("a closed builder builds")
	}
}

func TestConcurrent(t *testing.T) {
	b := Open(Config{Root: project(t, mixed), Mode: Live})
	defer b.Close()
	done := make(chan string)
	for i := range 8 {
		go func() {
			r := b.Build(context.Background(), []Spec{{Kind: Node, Handler: []string{"src/notes.list", "src/plain.main"}[i%2]}})[0]
			done <- fmt.Sprint(i%2, r.Hash, r.Failed())
		}()
	}
	seen := map[string]bool{}
	for range 8 {
		seen[<-done] = true
	}
	if len(seen) != 2 {
		t.Errorf("results differ: %v", seen)
	}
}

func TestKey(t *testing.T) {
	a := Spec{Kind: Node, Handler: "src/a.b", Options: Options{Loader: map[string]string{".x": "text", ".a": "text"}}}
	if got := a.Key(); got != a.Key() || len(got) != 64 {
		t.Errorf("Key() = %q", got)
	}
	b := a
	b.Handler = "src/a.c"
	if a.Key() == b.Key() {
		t.Errorf("two handlers have one key")
	}
}
