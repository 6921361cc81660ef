package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

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

// A file that was saved just now is built once, and a save during the build is not lost.
func TestJustSaved(t *testing.T) {
	root := project(t, "-- a.ts --\nexport const main = 1;\n")
	b := Open(Config{Root: root, Mode: Live})
	defer b.Close()
	build(t, b, "a.main")
	file := filepath.Join(root, "a.ts")
	for i := range 5 { // growing, since two writes within one tick of the clock differ in size only
		want := "main = 1" + strings.Repeat("1", i+1) + ";"
		must(t, os.WriteFile(file, []byte("export const "+want+"\n"), 0o644))
		first := build(t, b, "a.main")[0]
		if !strings.Contains(string(first.Files[0].Data), want) {
			t.Fatalf("the bundle has not %q:\n%s", want, first.Files[0].Data)
		}
		if second := build(t, b, "a.main")[0]; &first.Files[0].Data[0] != &second.Files[0].Data[0] {
			t.Errorf("nothing changed since, but it was built again")
		}
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
	if after[0].Made != "" || !strings.HasSuffix(after[1].Made, "where.mjs changed") || before[0].Made != notBuilt {
		t.Errorf("why they were built: %q, %q, before: %q", after[0].Made, after[1].Made, before[0].Made)
	}
	if after[0].Files != nil || after[0].Hash != before[0].Hash || !bytes.Equal(zipOf(t, after[0]), new(packer).pack(before[0].Files)) {
		t.Errorf("the unchanged bundle is not taken from the cache")
	}
	if got := strings.Join(after[0].Exports, " "); got != "Store list" || after[0].Entry != "src/notes.list" {
		t.Errorf("from the cache: Exports %q, Entry %q", got, after[0].Entry)
	}
	if after[1].Files == nil || after[1].Hash == before[1].Hash {
		t.Errorf("the changed bundle is taken from the cache")
	}
}

// Whatever of the cache is cut short or no sense is made again, for this process and the next.
func TestDamagedCache(t *testing.T) {
	root, cache := project(t, mixed), t.TempDir()
	specs := []Spec{{Kind: Node, Handler: "src/notes.list"}}
	build := func() *Result {
		b := Open(Config{Root: root, Cache: cache})
		defer b.Close()
		return b.Build(context.Background(), specs)[0]
	}
	want := zipOf(t, build())
	for _, pattern := range []string{"*.zip", "*.json"} {
		found, err := filepath.Glob(filepath.Join(cache, pattern))
		must(t, err)
		if len(found) != 1 {
			t.Fatalf("%s in the cache: %v", pattern, found)
		}
		for name, text := range map[string]string{"empty": "", "cut short": string(want[:len(want)/2]), "another of the same size": strings.Repeat("x", len(want))} {
			must(t, os.WriteFile(found[0], []byte(text), 0o644))
			for _, process := range []string{"the next", "the one after it"} {
				if !bytes.Equal(zipOf(t, build()), want) {
					t.Errorf("%s is %s: another archive in %s process", pattern, name, process)
				}
			}
		}
	}
}

// An archive that is damaged after Build has looked at it, and shows it by nothing but its content, is never given away.
func TestDamagedMeanwhile(t *testing.T) {
	root, cache := project(t, mixed), t.TempDir()
	specs := []Spec{{Kind: Node, Handler: "src/notes.list"}}
	first := Open(Config{Root: root, Cache: cache})
	want := zipOf(t, first.Build(context.Background(), specs)[0])
	must(t, first.Close())
	b := Open(Config{Root: root, Cache: cache})
	defer b.Close()
	r := b.Build(context.Background(), specs)[0]
	info, err := os.Stat(r.archive.path)
	must(t, err)
	must(t, os.WriteFile(r.archive.path, bytes.Repeat([]byte("x"), len(want)), 0o644))
	must(t, os.Chtimes(r.archive.path, info.ModTime(), info.ModTime()))
	if _, err := r.Zip(); !errors.Is(err, ErrDamaged) {
		t.Fatalf("error of the damaged archive: %v", err)
	}
	r = b.Build(context.Background(), specs)[0]
	if r.Made != damaged || !bytes.Equal(zipOf(t, r), want) {
		t.Errorf("built again because %q", r.Made)
	}
}

// The cache stays below its limit: what was not used for longest goes, what was used just now stays, and so does its archive.
func TestCacheIsBounded(t *testing.T) {
	root, cache := project(t, "-- package.json --\n{}\n"), t.TempDir()
	noise := rand.New(rand.NewPCG(1, 2)) // compresses badly: each archive is some 20 KB
	for _, name := range []string{"a", "b", "c"} {
		text := "export const main = () => \""
		for range 4000 {
			text += fmt.Sprintf("%x", noise.Uint32())
		}
		must(t, os.WriteFile(filepath.Join(root, name+".mjs"), []byte(text+"\""), 0o644))
	}
	build := func(limit int64, name string) (path string, made string) {
		b := Open(Config{Root: root, Cache: cache, CacheBytes: limit})
		defer b.Close()
		r := b.Build(context.Background(), []Spec{{Kind: Node, Handler: name + ".main"}})[0]
		return r.archive.path, r.Made
	}
	age := func() { // all that is there was used long ago
		entries, err := os.ReadDir(cache)
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			if strings.HasSuffix(e.Name(), ".json") {
				before := info.ModTime().Add(-2 * inUse)
				must(t, os.Chtimes(filepath.Join(cache, e.Name()), before, before))
			}
		}
	}
	build(0, "a")
	age()
	path, _ := build(0, "b")
	info, err := os.Stat(path)
	must(t, err)
	age()
	if _, made := build(0, "a"); made != "" { // which writes down that it was used
		t.Fatalf("a was built again: %s", made)
	}
	// Archives are looked at by their age only when no record names them.
	archives, err := filepath.Glob(filepath.Join(cache, "*.zip"))
	must(t, err)
	for _, archive := range archives {
		before := time.Now().Add(-2 * inUse)
		must(t, os.Chtimes(archive, before, before))
	}
	build(info.Size()*5/2, "c")
	var made []string
	for _, name := range []string{"a", "c", "b"} {
		_, why := build(0, name)
		made = append(made, why)
	}
	if made[0] != "" || made[1] != "" || made[2] != notBuilt {
		t.Errorf("a was used last, b before, and c did not fit: built again a %q, c %q, b %q", made[0], made[1], made[2])
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
