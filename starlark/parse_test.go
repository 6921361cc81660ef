package interp

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

func TestSyntaxDiagnostics(t *testing.T) {
	testChunks(t, "testdata/syntax/*.star", func(t *testing.T, path, src string) diag.List {
		return Parse(path, []byte(src)).Errors
	})
}

func TestSplit(t *testing.T) {
	for _, test := range []struct {
		name, src string
		want      []string
	}{
		{"empty", "", nil},
		{"no newline at the end", "a = 1\nb = 2", []string{"a = 1\n", "b = 2"}},
		{"comments go with what follows", "# a\n\n# b\na = 1\n\n# c\nb = 2\n# end\n", []string{"# a\n\n# b\na = 1\n\n", "# c\nb = 2\n# end\n"}},
		{"blocks", "def f():\n    a\n# inside\n    b\n\nif x:\n  a\nelif y:\n  b\nelse:\n  c\nd\n", []string{"def f():\n    a\n# inside\n    b\n\n", "if x:\n  a\nelif y:\n  b\nelse:\n  c\n", "d\n"}},
		{"column 0 inside brackets", "f(\na = 1,\n)\nb\n", []string{"f(\na = 1,\n)\n", "b\n"}},
		{"column 0 inside a string", "s = \"\"\"\na = 1\ndef f():\n\"\"\"\nb\n", []string{"s = \"\"\"\na = 1\ndef f():\n\"\"\"\n", "b\n"}},
		{"brackets in strings and comments", "a = \"(\" # (\nb = '['\n", []string{"a = \"(\" # (\n", "b = '['\n"}},
		{"quotes in strings", "a = \"'\\\"(\"\nb = 1\n", []string{"a = \"'\\\"(\"\n", "b = 1\n"}},
		{"continued line", "a = 1 + \\\n2\nb\n", []string{"a = 1 + \\\n2\n", "b\n"}},
		{"CRLF", "a = (\r\n1)\r\nb\r\n", []string{"a = (\r\n1)\r\n", "b\r\n"}},
		{"open bracket", "a = f(\nb = 1\nc = 2\n", []string{"a = f(\n", "b = 1\n", "c = 2\n"}},
		{"open bracket before def", "a = f(1,\n  2,\ndef g():\n  pass\n", []string{"a = f(1,\n  2,\n", "def g():\n  pass\n"}},
		{"two open brackets", "a = f(\nb = g(\nc = 2\n", []string{"a = f(\n", "b = g(\n", "c = 2\n"}},
		{"open bracket, then a call over lines", "a = f(\nb = g(\n  1,\n)\nc = 2\n", []string{"a = f(\n", "b = g(\n  1,\n)\n", "c = 2\n"}},
		{"open string", "a = \"x\nb = 1\n", []string{"a = \"x\n", "b = 1\n"}},
		{"open triple quote", "a = \"\"\"x\ny\nb = 1\ns = \"\"\"doc\"\"\"\nc = 1\n", []string{"a = \"\"\"x\ny\n", "b = 1\n", "s = \"\"\"doc\"\"\"\n", "c = 1\n"}},
		{"bracket closed by another kind", "a = f({\n  1: [2,\n})\nb = 1\n", []string{"a = f({\n  1: [2,\n})\n", "b = 1\n"}},
		{"bracket too many", "a = f())\nb = 1\n", []string{"a = f())\n", "b = 1\n"}},
		{"else without if", "a = 1\nelse:\n  b\n", []string{"a = 1\n", "else:\n  b\n"}},
	} {
		var got []string
		line := 1
		for _, c := range Split([]byte(test.src)) {
			got = append(got, string(c.Text))
			if c.Line != line {
				t.Errorf("%s: chunk %q is at line %d, want %d", test.name, c.Text, c.Line, line)
			}
			line += strings.Count(string(c.Text), "\n")
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: Split(%q)\n got %q\nwant %q", test.name, test.src, got, test.want)
		}
	}
}

// corpus are the Starlark files in testdata, and sources made for the purpose.
func corpus(t testing.TB) map[string][]byte {
	files := map[string][]byte{"generated": bigFile(2), "empty": nil}
	err := filepath.WalkDir("testdata", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".star") {
			return err
		}
		src, err := os.ReadFile(path)
		files[path] = src
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestParseLikeUpstream compares statement-wise parsing with go.starlark.net's
// own on every file and chunk that it accepts.
func TestParseLikeUpstream(t *testing.T) {
	compared := 0
	for name, whole := range corpus(t) {
		for _, src := range strings.Split(string(whole), "\n---\n") {
			want, err := dialect.Parse("/f.star", src, 0)
			got := Parse("/f.star", []byte(src))
			if err != nil {
				if len(got.Errors) == 0 {
					t.Errorf("%s: no error for a text with %v:\n%s", name, err, src)
				}
				continue
			}
			compared++
			for _, d := range got.Errors {
				if d.Code != "python-while" {
					t.Errorf("%s: %v", name, d)
				}
			}
			chunked := &File{Path: "/f.star"}
			for i, c := range Split([]byte(src)) {
				s := ParseChunk("/f.star", c)
				if a, b := positions(got.Statements[i].Stmts()), positions(s.Stmts()); !reflect.DeepEqual(a, b) {
					t.Errorf("%s: chunk %d parses differently alone:\n%s", name, i, c.Text)
				}
				chunked.Statements = append(chunked.Statements, s)
			}
			a := positions(want.Stmts)
			if !reflect.DeepEqual(a, positions(got.Stmts())) || !reflect.DeepEqual(a, positions(chunked.Stmts())) {
				t.Errorf("%s: positions differ from those of the whole file:\n%s", name, src)
			}
		}
	}
	if compared < 5 {
		t.Errorf("only %d texts compared", compared)
	}
}

func positions(stmts []syntax.Stmt) []string {
	var list []string
	for _, s := range stmts {
		syntax.Walk(s, func(n syntax.Node) bool {
			if n != nil {
				start, end := n.Span()
				list = append(list, reflect.TypeOf(n).String()+" "+start.String()+" "+end.String())
			}
			return true
		})
	}
	return list
}

// TestPrefixes parses every prefix of the corpus, as if it was being typed.
func TestPrefixes(t *testing.T) {
	for name, src := range corpus(t) {
		step := 1
		if testing.Short() || len(src) > 1500 {
			step = 23
		}
		for n := 0; n <= len(src); n += step {
			wholeFile(t, name, src[:n])
		}
	}
}

// TestMutations parses damaged texts of the corpus, the same on every run. A
// longer hunt is go test -fuzz FuzzParse -fuzzminimizetime 0x.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var texts [][]byte
	files := corpus(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if len(files[name]) > 0 {
			texts = append(texts, files[name])
		}
	}
	const odd = "()[]{}\"'\\\n\r #:=,ab1\x00\xff"
	for range 1500 {
		src := bytes.Clone(texts[rng.IntN(len(texts))])
		for range 1 + rng.IntN(8) {
			i := rng.IntN(len(src))
			j := i + rng.IntN(min(40, len(src)-i))
			switch rng.IntN(3) {
			case 0:
				src[i] = odd[rng.IntN(len(odd))]
			case 1:
				src = slices.Concat(src[:i], src[j:], []byte("\n")) // cut out
			case 2:
				src = slices.Concat(src[:j], src[i:]) // repeated
			}
		}
		wholeFile(t, "mutation", src)
	}
}

func FuzzParse(f *testing.F) {
	for _, src := range corpus(f) {
		f.Add(src)
	}
	f.Add([]byte("a = \"\"\"\n'''\n\\\n("))
	f.Add([]byte("\ufeffa = 1\r\rb = [\r\n"))
	f.Fuzz(func(t *testing.T, src []byte) { wholeFile(t, "fuzz", src) })
}

// wholeFile checks what must hold for any text.
func wholeFile(t *testing.T, name string, src []byte) {
	t.Helper()
	var joined []byte
	f := Parse("/f.star", src)
	offset := 0
	for i, s := range f.Statements {
		joined = append(joined, s.Text...)
		if s.Offset != offset {
			t.Fatalf("%s: statement %d is at offset %d, want %d", name, i, s.Offset, offset)
		}
		offset += len(s.Text)
		if len(s.Text) == 0 {
			t.Fatalf("%s: statement %d is empty", name, i)
		}
	}
	if !bytes.Equal(joined, src) {
		t.Fatalf("%s: the chunks are not the text:\n%q\n%q", name, joined, src)
	}
	for _, d := range f.Errors {
		if d.Span.Start.Line < 1 || d.Detail == "" || d.Summary == "" {
			t.Fatalf("%s: incomplete diagnostic %+v for %q", name, d, src)
		}
	}
	f.Outline()
	Check(f, Env{})
}

// TestBigFileParses keeps the benchmarks honest: an error would be quicker or slower.
func TestBigFileParses(t *testing.T) {
	src := tenThousandLines()
	if n := bytes.Count(src, []byte("\n")); n < 10000 || n > 10200 {
		t.Errorf("%d lines", n)
	}
	if f := Parse("/f.star", src); len(f.Errors) > 0 || len(f.Statements) < 1200 {
		t.Errorf("%d statements, errors %v", len(f.Statements), f.Errors)
	}
}

func TestBrokenStatementLeavesTheRest(t *testing.T) {
	src := "a = 1\nb = foo(\nc = 2\n\ndef d():\n    return a b\n\ne = 3\n"
	f := Parse("/f.star", []byte(src))
	var names []string
	for _, d := range f.Outline().Definitions {
		names = append(names, d.Name)
	}
	if got := strings.Join(names, " "); got != "a c e" {
		t.Errorf("definitions = %s, want a c e", got)
	}
	if len(f.Errors) != 2 {
		t.Errorf("errors = %v, want two", f.Errors)
	}
	if found := Check(f, Env{}); len(found) != 0 {
		t.Errorf("Check reports %v beside broken statements", found)
	}
}
