package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// vendorCases are handlers whose main gives a value or throws; each is built in full and with a layer. Those under
// src/full must come out without a layer.
const vendorCases = `
-- package.json --
{}
-- node_modules/esm/package.json --
{"name": "esm", "type": "module", "exports": {".": "./index.js", "./sub": "./sub.js"}}
-- node_modules/esm/index.js --
export let count = 0;
export function inc() { count++; }
export default class Thing { name = "thing"; }
export { sub } from "./sub.js";
export const fail = () => { throw new Error("from a package"); };
-- node_modules/esm/sub.js --
export const sub = "sub";
export const self = import.meta.url.split("/").at(-1);
-- node_modules/onlydefault/package.json --
{"type": "module", "exports": "./index.js"}
-- node_modules/onlydefault/index.js --
export default () => "called";
-- node_modules/cjs/package.json --
{"main": "index.js"}
-- node_modules/cjs/index.js --
exports.named = 1;
exports.sloppy = function () { return this === undefined; };
exports.place = [typeof __dirname, require("path").basename(__filename)];
-- node_modules/func/package.json --
{"main": "index.js"}
-- node_modules/func/index.js --
module.exports = function func() { return "func"; };
module.exports.extra = 2;
-- node_modules/transpiled/package.json --
{"main": "index.js"}
-- node_modules/transpiled/index.js --
Object.defineProperty(exports, "__esModule", { value: true });
exports.default = "the default";
exports.other = "the other";
-- node_modules/dual/package.json --
{"exports": {"import": "./i.mjs", "require": "./r.cjs"}}
-- node_modules/dual/i.mjs --
export const which = "import";
export default "default of import";
-- node_modules/dual/r.cjs --
exports.which = "require";
-- node_modules/legacy/package.json --
{"main": "main.js", "module": "module.js"}
-- node_modules/legacy/main.js --
exports.which = "main";
-- node_modules/legacy/module.js --
export const which = "module";
-- node_modules/uses/package.json --
{"main": "index.js"}
-- node_modules/uses/index.js --
exports.dual = require("dual").which;
exports.legacy = require("legacy").which;
exports.func = require("func")();
-- node_modules/conditions/package.json --
{"exports": {"browser": "./b.js", "node": "./n.js", "default": "./d.js"}}
-- node_modules/conditions/n.js --
exports.which = "node";
-- node_modules/conditions/b.js --
exports.which = "browser";
-- node_modules/conditions/d.js --
exports.which = "default";
-- node_modules/base/package.json --
{"type": "module", "exports": "./index.js"}
-- node_modules/base/index.js --
export class Base {}
-- node_modules/derived/package.json --
{"type": "module", "exports": "./index.js"}
-- node_modules/derived/index.js --
import { Base } from "base";
export class Derived extends Base {}
-- node_modules/reads/package.json --
{"type": "module", "exports": "./index.js"}
-- node_modules/reads/index.js --
export const seen = process.env.SET_BY_HANDLER;
-- node_modules/lazy/package.json --
{"type": "module", "exports": {".": "./index.js", "./cjs": "./lazy.cjs"}}
-- node_modules/lazy/index.js --
globalThis.lazyRan = (globalThis.lazyRan ?? 0) + 1;
export const value = 5;
export default 6;
-- node_modules/lazy/lazy.cjs --
globalThis.lazyCommonRan = true;
module.exports = { value: 7 };
-- node_modules/pure/package.json --
{"type": "module", "exports": "./index.js", "sideEffects": false}
-- node_modules/pure/index.js --
globalThis.pureRan = true;
export const pure = 1;
-- node_modules/effect/package.json --
{"main": "index.js"}
-- node_modules/effect/index.js --
globalThis.effectRan = true;
-- node_modules/data/package.json --
{"main": "data.json"}
-- node_modules/data/data.json --
{"a": 1, "b": [2]}
-- node_modules/builtins/package.json --
{"type": "module", "exports": "./index.js"}
-- node_modules/builtins/index.js --
import fs, { existsSync } from "fs";
import * as path from "node:path";
export const same = [fs.existsSync === existsSync, typeof path.join, typeof path.default.join];
export const load = async () => typeof (await import("node:os")).cpus;
-- node_modules/cycle/package.json --
{"type": "module", "exports": "./a.js"}
-- node_modules/cycle/a.js --
import { b } from "./b.js";
export function a() { return "a"; }
export const both = a() + b();
-- node_modules/cycle/b.js --
import { a } from "./a.js";
export function b() { return "b" + a(); }
-- node_modules/awaits/package.json --
{"type": "module", "exports": "./index.js"}
-- node_modules/awaits/index.js --
export const value = await Promise.resolve(8);
-- src/esm.ts --
import Thing, { count, inc, sub } from "esm";
import * as all from "esm";
import onlyDefault from "onlydefault";
import { self } from "esm/sub";
export const main = async () => { inc(); inc(); return [count, new Thing().name, sub, Object.keys(all).sort(), onlyDefault(), self]; };
-- src/interop.mts --
import transpiled from "transpiled";
import * as star from "transpiled";
import { other } from "transpiled";
import Thing, { sub } from "esm";
import onlyDefault from "onlydefault";
import func from "func";
export const main = async () => [transpiled, Object.keys(star).sort(), other, new Thing().name, sub, onlyDefault(), func()];
-- src/interop.ts --
import transpiled from "transpiled";
import * as star from "transpiled";
import func, { extra } from "func";
import { named, sloppy, place } from "cjs";
import cjs from "cjs";
const plain = sloppy;
export const main = async () => [transpiled, Object.keys(star).sort(), func(), extra, named, plain(), place, Object.keys(cjs).sort()];
-- src/dual.ts --
import value, { which } from "dual";
import { dual, legacy, func } from "uses";
import { which as condition } from "conditions";
const common = require("dual");
const modern = require("esm");
export const main = async () => [value, which, common.which, dual, legacy, func, condition, Object.keys(modern).sort(), modern.__esModule];
-- src/instances.ts --
import { Base } from "base";
import { Derived } from "derived";
export const main = async () => new Derived() instanceof Base;
-- src/env.ts --
process.env.SET_BY_HANDLER = "early enough";
-- src/order.ts --
import "./env";
import { seen } from "reads";
export const main = async () => seen;
-- src/dynamic.ts --
import { sub } from "esm";
export const main = async () => {
  const before = [globalThis.lazyRan, globalThis.lazyCommonRan];
  const lazy = await import("lazy");
  const again = await import("lazy");
  const common = await import("lazy/cjs");
  return [sub, before, lazy.value, lazy.default, again.value, common.value, common.default.value, Object.keys(lazy).sort(), globalThis.lazyRan];
};
-- src/effects.ts --
import "effect";
import { pure } from "pure";
import "pure";
import { sub } from "esm";
export const main = async () => [globalThis.effectRan, globalThis.pureRan, sub];
-- src/effects.js --
import "effect";
import { pure } from "pure";
import { sub } from "esm";
export const main = async () => [globalThis.effectRan, globalThis.pureRan, sub];
-- src/data.ts --
import data, { a } from "data";
import { sub } from "esm";
export const main = async () => [data, a, sub];
-- src/builtins.ts --
import { same, load } from "builtins";
import { readFile } from "node:fs/promises";
export const main = async () => [same, await load(), typeof readFile];
-- src/cycle.ts --
import { both } from "cycle";
export const main = async () => both;
-- src/folder/again.ts --
export { sub as main2, default as Thing } from "esm";
export * from "cjs";
import { named } from "cjs";
export const main = async () => named;
-- src/throws.ts --
import { fail } from "esm";
import { sub } from "esm/sub";

export const main = async () => {
  sub.length;
  fail();
};
-- src/full/awaits.ts --
import { value } from "awaits";
export const main = async () => value;
`

func TestVendorSameAsFull(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("skipped: node is not installed")
	}
	root := project(t, vendorCases)
	modules, err := filepath.Abs("../../testdata/npm/node_modules")
	must(t, err)
	if _, err := os.Stat(filepath.Join(modules, "zod")); err == nil {
		for _, name := range []string{"zod", "ulid"} {
			must(t, os.Symlink(filepath.Join(modules, name), filepath.Join(root, "node_modules", name)))
		}
		must(t, os.WriteFile(filepath.Join(root, "src/notes.ts"), []byte(`import { ulid } from "ulid";
import { z } from "zod";
import * as mini from "zod/mini";
const schema = z.object({ id: z.string().length(26), n: z.number() });
export const main = async () => {
  const got = schema.safeParse({ id: ulid(), n: "x" });
  return [got.success, got.error?.issues, got.error instanceof z.ZodError, Object.keys(mini).length];
};
`), 0o644))
	} else {
		t.Log("zod and ulid are not installed: left out")
	}
	var specs []Spec
	must(t, filepath.WalkDir(filepath.Join(root, "src"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "env.ts" && d.Name() != "effects.js" && d.Name() != "interop.mts" {
			rel, _ := filepath.Rel(root, path)
			rel = filepath.ToSlash(rel)
			specs = append(specs, Spec{Kind: Node, Handler: strings.TrimSuffix(rel, filepath.Ext(rel)) + ".main", Runtime: "nodejs20.x"})
		}
		return err
	}))
	// Two files of one base name are two handlers: the other one is put in a folder of its own.
	for _, name := range []string{"effects.js", "interop.mts"} {
		must(t, os.MkdirAll(filepath.Join(root, "src/other"), 0o755))
		must(t, os.Rename(filepath.Join(root, "src", name), filepath.Join(root, "src/other", name)))
		specs = append(specs, Spec{Kind: Node, Handler: "src/other/" + strings.TrimSuffix(name, filepath.Ext(name)) + ".main", Runtime: "nodejs20.x"})
	}

	full := Open(Config{Root: root, Mode: Live, NodeMajor: 20})
	defer full.Close()
	want := full.Build(context.Background(), specs)
	layered := Open(Config{Root: root, Mode: Live, NodeMajor: 20, Vendor: filepath.Join(root, "layer")})
	defer layered.Close()
	layered.Build(context.Background(), specs)
	layered.vendors.all()
	for _, spec := range specs {
		file, _, err := Find(root, spec.Handler, Node)
		must(t, err)
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		f.WriteString("// saved\n")
		must(t, f.Close())
	}
	got := layered.Build(context.Background(), specs)
	for i, r := range got {
		if want[i].Failed() || r.Failed() {
			t.Fatalf("%s: %v\n%v", specs[i].Handler, want[i].Messages, r.Messages)
		}
		if split := r.Preload != ""; split == strings.HasPrefix(specs[i].Handler, "src/full/") {
			t.Errorf("%s: with a layer: %v", specs[i].Handler, split)
			for _, set := range layered.vendors.sets {
				t.Log(set.entries, set.ready, set.failed)
			}
		}
		if !slices.Equal(r.Exports, want[i].Exports) {
			t.Errorf("%s: exports %v, want %v", specs[i].Handler, r.Exports, want[i].Exports)
		}
	}
	wanted, values := runAll(t, node, root, "out-full", want), runAll(t, node, root, "out-layer", got)
	for i, spec := range specs {
		if wanted[i] != values[i] {
			t.Errorf("%s with a layer:\n%s\nin full:\n%s", spec.Handler, values[i], wanted[i])
		}
		if i == slices.IndexFunc(specs, func(s Spec) bool { return s.Handler == "src/throws.main" }) &&
			(!strings.Contains(values[i], "src/throws.ts:6:3") || !strings.Contains(values[i], "node_modules/esm/index.js:5:")) {
			t.Errorf("the trace does not lead to the sources: %s", values[i])
		}
	}
}

// all makes the layers in the queue at once, whoever asked for them.
func (v *vendors) all() {
	v.mu.Lock()
	v.timer.Stop()
	for _, set := range v.sets {
		if !set.ready && set.failed == nil && !slices.Contains(v.queue, set) {
			v.queue = append(v.queue, set)
		}
	}
	v.mu.Unlock()
	v.next()
	for {
		v.mu.Lock()
		left := len(v.queue)
		v.mu.Unlock()
		if left == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// runAll runs the main of each bundle in a process of its own folder and gives what came of them, as text.
func runAll(t *testing.T, node, root, folder string, results []*Result) []string {
	t.Helper()
	dir := filepath.Join(root, folder)
	var entries []string
	for i, r := range results {
		own := filepath.Join(dir, string(rune('a'+i)))
		for _, f := range r.Files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(own, f.Name)), 0o755))
			must(t, os.WriteFile(filepath.Join(own, f.Name), f.Data, 0o644))
		}
		file, _ := strings.CutSuffix(r.Entry, ".main")
		entries = append(entries, filepath.Join(own, file+".mjs"))
	}
	list, _ := json.Marshal(entries)
	must(t, os.WriteFile(filepath.Join(dir, "run.mjs"), []byte(`import { pathToFileURL } from "node:url";
for (const file of `+string(list)+`) {
  for (const name of ["lazyRan", "lazyCommonRan", "pureRan", "effectRan"]) delete globalThis[name];
  delete process.env.SET_BY_HANDLER;
  let said;
  try {
    said = JSON.stringify((await (await import(pathToFileURL(file))).main()) ?? null);
  } catch (err) {
    said = JSON.stringify(err.name + "|" + err.message + "|" + err.stack.split("\n").slice(1, 3).join("|"));
  }
  console.log(said);
}
`), 0o644))
	cmd := exec.Command(node, "--enable-source-maps", filepath.Join(dir, "run.mjs"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", folder, err, &stderr)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(results) {
		t.Fatalf("%s: %d lines for %d bundles:\n%s%s", folder, len(lines), len(results), out, &stderr)
	}
	return lines
}

// What cannot be built says the same with a layer as without; a package that is installed anew, or one more, is seen.
func TestVendorChanges(t *testing.T) {
	root := project(t, vendorCases)
	b := Open(Config{Root: root, Mode: Live, NodeMajor: 20, Vendor: filepath.Join(root, "layer")})
	defer b.Close()
	plain := Open(Config{Root: root, Mode: Live, NodeMajor: 20})
	defer plain.Close()
	save := func(name, text string) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	save("src/a.ts", `import { sub } from "esm"; export const main = () => sub;`)
	build(t, b, "src/a.main")
	b.vendors.all()
	save("src/a.ts", `import { sub } from "esm"; export const main = () => sub + 1;`)
	first := build(t, b, "src/a.main")[0]
	if first.Preload == "" {
		t.Fatal("no layer")
	}
	if len(first.Files[0].Data) > 8<<10 {
		t.Errorf("the bundle has %d bytes", len(first.Files[0].Data))
	}
	for _, text := range []string{
		`import { nope } from "esm"; export const main = () => nope;`,
		`import { sub } from "missing"; export const main = () => sub;`,
		`import { sub } from "esm"; export const main = () => ;`,
	} {
		save("src/a.ts", text)
		spec := []Spec{first.Spec}
		got, want := b.Build(context.Background(), spec)[0], plain.Build(context.Background(), spec)[0]
		if !want.Failed() || len(got.Messages) != len(want.Messages) || got.Messages[0].String() != want.Messages[0].String() {
			t.Errorf("%s\ngot  %v\nwant %v", text, got.Messages, want.Messages)
		}
	}
	save("src/a.ts", `import { sub } from "esm"; export const main = () => sub + 2;`)
	save("node_modules/esm/sub.js", `export const sub = "installed anew";`)
	past := time.Now().Add(-time.Minute)
	must(t, os.Chtimes(filepath.Join(root, "node_modules/esm/sub.js"), past, past))
	if r := build(t, b, "src/a.main")[0]; r.Preload != "" || !bytes.Contains(r.Files[0].Data, []byte("installed anew")) {
		t.Errorf("the layer of the old package is used: %q", r.Preload)
	}
	b.vendors.all()
	save("src/a.ts", `import { sub } from "esm"; export const main = () => sub + 3;`)
	second := build(t, b, "src/a.main")[0]
	if second.Preload == "" || second.Preload == first.Preload {
		t.Errorf("layer of the new package: %q", second.Preload)
	}
	save("src/a.ts", `import { sub } from "esm"; import { named } from "cjs"; export const main = () => sub + named;`)
	if r := build(t, b, "src/a.main")[0]; r.Preload != "" {
		t.Errorf("a layer without cjs is used: %q", r.Preload)
	}
	spec := first.Spec
	spec.Options.External = []string{"cjs"}
	for range 2 {
		if r := b.Build(context.Background(), []Spec{spec})[0]; r.Failed() || r.Preload != "" {
			t.Errorf("with an external package: %v %q", r.Messages, r.Preload)
		}
		save("src/a.ts", `import { sub } from "esm"; import { named } from "cjs"; export const main = () => sub + named + 1;`)
	}
}
