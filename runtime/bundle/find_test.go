package bundle

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

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
