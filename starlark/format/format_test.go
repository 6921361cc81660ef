package format

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	interp "sst/starlark"
)

var cases = []struct{ name, in, want string }{
	{"spaces", "x=f( a,b = 1 )\n", "x = f(a, b = 1)\n"},
	{"operators", "x=-a+ b*-c if not(a==b)else d\n", "x = -a + b * -c if not (a == b) else d\n"},
	{"slices", "y=x [1 : 2]+x[ : ]+x[-1]\n", "y = x[1:2] + x[:] + x[-1]\n"},
	{"quotes", "x='a'+'say \"a\"'+r'a'+'it\\'s'\n", "x = \"a\" + 'say \"a\"' + r\"a\" + 'it\\'s'\n"},
	{"dict", "d={'a' :1,\"b\": [ 1,2 ],}\n", "d = {\"a\": 1, \"b\": [1, 2]}\n"},
	{"tuple", "t=(1,)\n", "t = (1,)\n"},
	{"stars", "f(* a, ** b)\n", "f(*a, **b)\n"},
	{"lambda", "f = lambda x,y=1 : x+y\ng=lambda:1\n", "f = lambda x, y = 1: x + y\ng = lambda: 1\n"},
	{"hanging call", "x = f(\n  a,\n    b)\n", "x = f(\n    a,\n    b,\n)\n"},
	{"hanging comprehension", "x = [\n  a\n  for a in b]\n", "x = [\n    a\n    for a in b\n]\n"},
	{"hanging parenthesis", "x = (\n  a +\n  b)\n", "x = (\n    a +\n    b\n)\n"},
	{"last is a star", "f(\n  a,\n  **b\n)\n", "f(\n    a,\n    **b\n)\n"},
	{"broken elsewhere", "app = sst.App('notes',region='x',\n        defaults={\n  'a': 1},\n)\n", "app = sst.App(\"notes\", region = \"x\",\n    defaults = {\n        \"a\": 1,\n    },\n)\n"},
	{"dict last", "api = f(w, 'A', routes={\n 'GET /':'a.b'\n})\n", "api = f(w, \"A\", routes = {\n    \"GET /\": \"a.b\",\n})\n"},
	{"def", "def f(a,*,b=1):\n  'doc'\n  if a :\n     return b\n  return a\nx=1\n", "def f(a, *, b = 1):\n    \"doc\"\n    if a:\n        return b\n    return a\n\nx = 1\n"},
	{"def hanging", "def f(\n  a,\n  b,\n):\n  pass\n", "def f(\n        a,\n        b):\n    pass\n"},
	{"blank lines", "\n\na = 1\n\n\n\nb = 2\n\n\n", "a = 1\n\nb = 2\n"},
	{"blank lines inside", "def f():\n\n\n    a = 1\n\n\n\n    return a\n", "def f():\n    a = 1\n\n    return a\n"},
	{"comments", "#  kept  \na = [ # here\n  1, # one\n  # last\n]   # end\n", "#  kept\na = [  # here\n    1,  # one\n    # last\n]  # end\n"},
	{"comment before else", "if a:\n  b()\n  # still b\nelse:\n  # c\n  c()\n", "if a:\n    b()\n    # still b\nelse:\n    # c\n    c()\n"},
	{"comma before comment", "f(\n  a # last\n)\n", "f(\n    a,  # last\n)\n"},
	{"tabs", "def f():\n\tif a:\n\t\treturn 1\n\treturn 2\n", "def f():\n    if a:\n        return 1\n    return 2\n"},
	{"backslash", "a = b + \\\n c\n", "a = b + \\\n    c\n"},
	{"crlf", "a=1\r\nb=2\r\n", "a = 1\r\nb = 2\r\n"},
	{"broken statement", "a=1\nb = f(x,\nc=2\n", "a = 1\nb = f(x,\nc = 2\n"},
	{"broken def", "def f(x:\n  y=1\nc=2\n", "def f(x:\n  y=1\nc = 2\n"},
	{"docstring", "def f():\n  \"\"\"A.\n\n  B.\n  \"\"\"\n", "def f():\n    \"\"\"A.\n\n  B.\n  \"\"\"\n"},
	{"load", "load ( './a.star','b',c='d' )\n", "load(\"./a.star\", \"b\", c = \"d\")\n"},
	{"keywords", "x = a not in(b)\ny = a and(b or(c))\nreturn_ = [x for(x)in y if(x)]\n", "x = a not in (b)\ny = a and (b or (c))\nreturn_ = [x for (x) in y if (x)]\n"},
	{"index of a call", "f(x) [0] (y)\n", "f(x)[0](y)\n"},
	{"empty", "", ""},
	{"only blank", "\n\n", ""},
	{"comment only", "# a\n\n\n\n# b", "# a\n\n# b\n"},
	{"def follows a comment", "a = 1\n# about f\ndef f():\n    pass\n", "a = 1\n\n# about f\ndef f():\n    pass\n"},
	{"number", "a = 1e-5+.5 - 0xe+1\n", "a = 1e-5 + .5 - 0xe + 1\n"},
}

func TestSource(t *testing.T) {
	for _, c := range cases {
		got := string(Source([]byte(c.in)))
		if got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
		if again := string(Source([]byte(got))); again != got {
			t.Errorf("%s: not idempotent:\n%q\n%q", c.name, got, again)
		}
	}
}

// corpus is every Starlark text of the repository, those inside scripts too.
func corpus(t testing.TB) map[string][]byte {
	files := map[string][]byte{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == ".sst") {
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return err
		}
		switch filepath.Ext(path) {
		case ".star":
			data, err := os.ReadFile(path)
			files[path] = data
			return err
		case ".txtar":
			archive, err := txtar.ParseFile(path)
			if err != nil {
				return err
			}
			for _, f := range archive.Files {
				if strings.HasSuffix(f.Name, ".star") {
					files[path+":"+f.Name] = f.Data
				}
			}
		}
		return nil
	})
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	return files
}

func TestCorpus(t *testing.T) {
	for name, src := range corpus(t) {
		out := Source(src)
		before, after := interp.Parse(name, src), interp.Parse(name, out)
		if again := Source(out); !bytes.Equal(again, out) {
			t.Errorf("%s: not idempotent", name)
		}
		if len(before.Errors) > 0 {
			continue
		}
		a, errA := dialect.Parse(name, src, 0)
		b, errB := dialect.Parse(name, out, 0)
		if errA != nil || errB != nil || !sameTree(a, b) {
			t.Errorf("%s: another tree: %v %v", name, errA, errB)
		}
		if !sameComments(src, out) {
			t.Errorf("%s: other comments", name)
		}
		if len(after.Errors) > 0 {
			t.Errorf("%s: %v", name, after.Errors)
		}
	}
}

// TestPrelude holds the prelude to the house style.
func TestPrelude(t *testing.T) {
	files, _ := filepath.Glob("../../builtins/prelude/*.star")
	for _, path := range files {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if out := Source(src); !bytes.Equal(out, src) {
			t.Errorf("%s would change:\n%s", path, firstDifference(src, out))
		}
	}
}

func firstDifference(a, b []byte) string {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "- " + x[i] + "\n+ " + y[i]
		}
	}
	return "at the end"
}

// TestBrokenCorpus cuts the corpus at many places: formatting what is left is
// idempotent and leaves the broken statement alone.
func TestBrokenCorpus(t *testing.T) {
	for name, src := range corpus(t) {
		for at := 1; at < len(src); at += 1 + len(src)/40 {
			out := Source(src[:at])
			if again := Source(out); !bytes.Equal(again, out) {
				t.Errorf("%s cut at %d: not idempotent:\n%s", name, at, firstDifference(out, again))
				break
			}
			if !bytes.Equal(squeeze(out), squeeze(src[:at])) {
				t.Errorf("%s cut at %d: text lost", name, at)
				break
			}
		}
	}
}

// squeeze leaves out what formatting may change.
func squeeze(b []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n,'\"", r) {
			return -1
		}
		return r
	}, b)
}

func BenchmarkSource(b *testing.B) {
	var src bytes.Buffer
	line := "topic_%[1]d = sst.Queue(web,\"Queue%[1]d\", consumer = {\n  'function': 'src/jobs.main',\n \"batch_size\": 5})\n\n# A comment.\nfor x in [1,2,3]:\n    print( x )\n"
	for i := 0; bytes.Count(src.Bytes(), []byte("\n")) < 10_000; i++ {
		src.WriteString(strings.ReplaceAll(line, "%[1]d", strings.Repeat("1", 1+i%3)))
	}
	b.SetBytes(int64(src.Len()))
	for b.Loop() {
		Source(src.Bytes())
	}
}
