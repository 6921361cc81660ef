package bundle

// Set SST_BENCH_MODULES to a folder with node_modules/{zod,ulid} to measure with these; otherwise packages of about
// their size are made up.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// notes writes n handlers that share a module and two packages.
func notes(b *testing.B, n int) (root string, specs []Spec) {
	b.Helper()
	root, err := filepath.EvalSymlinks(b.TempDir())
	must(b, err)
	write := func(name, text string) {
		name = filepath.Join(root, name)
		must(b, os.MkdirAll(filepath.Dir(name), 0o755))
		must(b, os.WriteFile(name, []byte(text), 0o644))
		past := time.Now().Add(-time.Hour)
		must(b, os.Chtimes(name, past, past))
	}
	write("package.json", `{"dependencies": {"zod": "*", "ulid": "*"}}`)
	if modules := os.Getenv("SST_BENCH_MODULES"); modules != "" {
		must(b, os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(root, "node_modules")))
	} else {
		madeUp(write)
	}
	write("src/shared.ts", `import { z } from "zod";
export const schema = z.object({ id: z.string() });`)
	for i := range n {
		write(fmt.Sprintf("src/h%d.ts", i), fmt.Sprintf(`import { ulid } from "ulid";
import { schema } from "./shared";
export const main = async (event: unknown) => schema.parse({ id: ulid() + %d, event });`, i))
		specs = append(specs, Spec{Kind: Node, Handler: fmt.Sprintf("src/h%d.main", i), Runtime: "nodejs20.x"})
	}
	return root, specs
}

// madeUp writes a package like zod (80 modules, 700 KB, hardly anything to shake off) and one like ulid.
func madeUp(write func(name, text string)) {
	write("node_modules/zod/package.json", `{"name": "zod", "main": "index.js", "module": "index.js"}`)
	var index strings.Builder
	for i := range 80 {
		var text strings.Builder
		fmt.Fprintf(&text, "import { base%d } from \"./m%d.js\";\n", (i+1)%80, (i+1)%80)
		for j := range 30 {
			fmt.Fprintf(&text, `export class Type%dof%d {
  constructor(definition, options) { this.definition = { ...definition, kind: "type%d" }; this.options = options ?? {}; }
  parse(value) { if (typeof value !== "object" || value === null) { throw new TypeError("not an object: " + String(value)); } return this.refine(value, %d); }
  refine(value, depth) { return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, depth > 0 ? base%d(v) : v])); }
}
`, j, i, j, j, (i+1)%80)
		}
		fmt.Fprintf(&text, "export function base%d(x) { return x; }\nexport const all%d = [", i, i)
		for j := range 30 {
			fmt.Fprintf(&text, "Type%dof%d, ", j, i)
		}
		text.WriteString("];\n")
		write(fmt.Sprintf("node_modules/zod/m%d.js", i), text.String())
		fmt.Fprintf(&index, "import { all%d } from \"./m%d.js\";\n", i, i)
	}
	index.WriteString("export const z = { types: [")
	for i := range 80 {
		fmt.Fprintf(&index, "all%d, ", i)
	}
	index.WriteString("], string: () => 1, object: (shape) => ({ parse: (v) => v, shape }) };\n")
	write("node_modules/zod/index.js", index.String())
	write("node_modules/ulid/package.json", `{"name": "ulid", "main": "index.js"}`)
	write("node_modules/ulid/index.js", "import crypto from \"node:crypto\";\nexport const ulid = () => crypto.randomUUID();\n")
}

func measure(b *testing.B, builder *Builder, specs []Spec) {
	b.Helper()
	for _, r := range builder.Build(context.Background(), specs) {
		if r.Failed() {
			b.Fatal(r.Messages)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{10, 100} {
		root, specs := notes(b, n)
		for _, mode := range []Mode{Deploy, Live} {
			name := fmt.Sprintf("%s-%d", []string{"deploy", "live"}[mode], n)
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					builder := Open(Config{Root: root, Mode: mode, NodeMajor: 20})
					measure(b, builder, specs)
					must(b, builder.Close())
				}
			})
			b.Run(name+"/unchanged", func(b *testing.B) {
				builder := Open(Config{Root: root, Mode: mode, NodeMajor: 20})
				defer builder.Close()
				measure(b, builder, specs)
				for b.Loop() {
					measure(b, builder, specs)
				}
			})
			b.Run(name+"/one", func(b *testing.B) {
				builder := Open(Config{Root: root, Mode: mode, NodeMajor: 20})
				defer builder.Close()
				measure(b, builder, specs)
				file := filepath.Join(root, "src/h0.ts")
				text, err := os.ReadFile(file)
				must(b, err)
				for i := 0; b.Loop(); i++ {
					must(b, os.WriteFile(file, fmt.Appendf(text, "\nexport const n%d = %d;", i, i), 0o644))
					measure(b, builder, specs)
				}
				must(b, os.WriteFile(file, text, 0o644))
				past := time.Now().Add(-time.Hour)
				must(b, os.Chtimes(file, past, past))
			})
		}
		b.Run(fmt.Sprintf("cached-%d", n), func(b *testing.B) {
			cache := b.TempDir()
			first := Open(Config{Root: root, Cache: cache})
			measure(b, first, specs)
			must(b, first.Close())
			for b.Loop() {
				builder := Open(Config{Root: root, Cache: cache})
				measure(b, builder, specs)
				must(b, builder.Close())
			}
		})
	}
}

func BenchmarkZip(b *testing.B) {
	root, specs := notes(b, 1)
	builder := Open(Config{Root: root})
	defer builder.Close()
	r := builder.Build(context.Background(), specs)[0]
	b.SetBytes(int64(len(r.Files[0].Data)))
	b.ReportMetric(float64(len(zipOf(b, r))), "zip-bytes")
	for b.Loop() {
		zipOf(b, r)
	}
}

func BenchmarkExports(b *testing.B) {
	src := []byte(`import { z } from "zod";
export const list = async () => z.string();
export const get = async (event: { id: string }) => event.id;
`)
	for b.Loop() {
		if _, known := Exports("/app/src/notes.ts", src); !known {
			b.Fatal("unknown")
		}
	}
}
