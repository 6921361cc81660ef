package interp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"golang.org/x/tools/txtar"

	"sst/starlark/diag"
)

const preludeSource = `
def Queue(id, *, consumer = None, timeout = None):
    """A queue."""
    if consumer == "bad":
        return _deep(value = consumer)
    return _inner(id)

def _inner(id):
    if id == "crash":
        return _panic()
    if id == "none":
        return [][1]
    return struct_like(id)

def struct_like(id):
    return {"id": id}
`

// deep fails at the part of the call that its arguments name.
func deep(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	f := Errorf("missing-handler", "No such handler", "There is no %q.", "src/jobs.main")
	f.Value, f.Hint = "src/jobs.main", `Did you mean "src/jobs.mine"?`
	for _, kv := range kwargs {
		switch v := kv[1]; string(kv[0].(starlark.String)) {
		case "keyword":
			f.Keyword, _ = starlark.AsString(v)
		case "positional":
			f.Positional, _ = starlark.AsInt32(v)
		case "value":
			f.Value, _ = starlark.AsString(v)
		}
	}
	return nil, f
}

func testOptions(t testing.TB) Options {
	t.Helper()
	intrinsics := starlark.StringDict{
		"_deep": starlark.NewBuiltin("_deep", deep),
		"_panic": starlark.NewBuiltin("_panic", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
			panic("a bug")
		}),
	}
	prog, err := Compile("@sst/queue.star", []byte(preludeSource), intrinsics.Has)
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{
		Predeclared: starlark.StringDict{
			"deep":   starlark.NewBuiltin("deep", deep),
			"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
		},
		Builtin: Library{Programs: map[string]*Program{prog.Path(): prog}, Predeclared: intrinsics},
	}
	globals, err := New(opts).Exec(context.Background(), "@sst/queue.star")
	if err != nil {
		t.Fatal(err)
	}
	opts.Predeclared["Queue"] = globals["Queue"]
	return opts
}

func TestEvaluationErrors(t *testing.T) {
	testChunks(t, "testdata/eval/*.star", func(t *testing.T, path, src string) diag.List {
		opts := testOptions(t)
		opts.Read = func(string) ([]byte, error) { return []byte(src), nil }
		_, err := New(opts).Exec(context.Background(), path)
		return list(t, err)
	})
}

// list is err, which must be a diag.List.
func list(t *testing.T, err error) diag.List {
	t.Helper()
	var l diag.List
	if err != nil && !errors.As(err, &l) {
		t.Fatalf("error is a %T, not a diag.List: %v", err, err)
	}
	return l
}

func TestFrames(t *testing.T) {
	src := "def make(x):\n    return Queue(\"q\",\n        consumer = x)\n\nmake(\"bad\")\n"
	opts := testOptions(t)
	opts.Read = func(string) ([]byte, error) { return []byte(src), nil }
	_, err := New(opts).Exec(context.Background(), "/proj/stacks.star")
	var out bytes.Buffer
	p := &diag.Printer{Out: &out, Verbose: true, Base: "/proj", Read: opts.Read}
	p.Print(list(t, err)...)
	want := `stacks.star:2:12: error: No such handler
    return Queue("q",
           ^^^^^
  There is no "src/jobs.main". Did you mean "src/jobs.mine"?
  in Queue (@sst/queue.star:5:21)
  in _deep
  called by <toplevel> (stacks.star:5:5)
`
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}

func TestPanicIsADiagnostic(t *testing.T) {
	opts := testOptions(t)
	opts.Read = func(string) ([]byte, error) { return []byte("a = 1\nQueue(\"crash\")\n"), nil }
	_, err := New(opts).Exec(context.Background(), "/proj/stacks.star")
	l := list(t, err)
	if len(l) != 1 || l[0].Code != "internal" || l[0].Span.Start.Line != 2 || !strings.Contains(l[0].Detail, "A bug") || len(l[0].Frames) == 0 {
		t.Errorf("a panic became %+v", l)
	}
}

// project writes the files of an archive below a new folder.
func project(t *testing.T, archive string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		file := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := project(t, `
-- app/stacks.star --
load("./lib/a.star", "shared", alias = "other")
load("//lib/b.star", "count")
load("lib/a.star", "grow")
print("n", count, alias)
result = grow(shared)
-- app/lib/a.star --
load("b.star", "count")
print("a")
shared = [count]
other = "x"
def grow(l):
    return l + [2]
-- app/lib/b.star --
print("b")
count = 1
`)
	root := filepath.Join(dir, "app")
	var said, read []string
	in := New(Options{
		Root:   root,
		OnRead: func(path string, data []byte) { read = append(read, filepath.Base(path)) },
		Print: func(pos diag.Position, msg string) {
			said = append(said, fmt.Sprintf("%s:%d:%s", filepath.Base(pos.File), pos.Line, msg))
		},
	})
	globals, err := in.Exec(context.Background(), filepath.Join(root, "stacks.star"))
	if err != nil {
		t.Fatal(err)
	}
	if got := globals["result"].String(); got != "[1, 2]" {
		t.Errorf("result = %s", got)
	}
	if got, want := strings.Join(said, " "), `b.star:1:b a.star:2:a stacks.star:4:n 1 x`; got != want {
		t.Errorf("printed %s, want %s", got, want)
	}
	if got, want := strings.Join(read, " "), "stacks.star a.star b.star"; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	again, err := in.Exec(context.Background(), filepath.Join(root, "lib", "..", "stacks.star"))
	if err != nil || again["result"] != globals["result"] || len(read) != 3 {
		t.Errorf("a second Exec evaluated the file again (%v)", err)
	}
	if err := globals["result"].(*starlark.List).Append(starlark.None); err == nil {
		t.Error("globals are not frozen")
	}
}

func TestLoadErrors(t *testing.T) {
	dir := project(t, `
-- outside.star --
secret = 1
-- app/lib/alarms.star --
error_alarm = 1
_private = 2
-- app/lib/broken.star --
x = 1
y = = 2
-- app/lib/fails.star --
def f():
    return 1 + "a"
x = f()
-- app/lib/freeze.star --
items = []
def add(x):
    items.append(x)
-- app/cycle/a.star --
load("b.star", "b")
-- app/cycle/b.star --
load("//cycle/c.star", "c")
-- app/cycle/c.star --
load("./a.star", "a")
`)
	root := filepath.Join(dir, "app")
	if err := os.Symlink(filepath.Join(dir, "outside.star"), filepath.Join(root, "link.star")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := os.Symlink(dir, filepath.Join(root, "up")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ src, want string }{
		{`load("./lib/alarm.star", "x")`, `stacks.star:1:6: missing-file: There is no file "./lib/alarm.star". Did you mean "./lib/alarms.star"?`},
		{`load("//lib/zzz.star", "x")`, `stacks.star:1:6: missing-file: There is no file "//lib/zzz.star".`},
		{`load("./lib", "x")`, `stacks.star:1:6: missing-file: "./lib" is a folder.`},
		{`load("../outside.star", "secret")`, `stacks.star:1:6: outside-root: "../outside.star" lies outside the project folder ROOT; nothing there can be loaded.`},
		{`load("//../outside.star", "secret")`, `stacks.star:1:6: outside-root: "//../outside.star" lies outside the project folder ROOT; nothing there can be loaded.`},
		{`load("link.star", "secret")`, `stacks.star:1:6: outside-root: "link.star" is a link to UP/outside.star, outside the project folder; nothing there can be loaded.`},
		{`load("up/outside.star", "secret")`, `stacks.star:1:6: outside-root: "up/outside.star" is a link to UP/outside.star, outside the project folder; nothing there can be loaded.`},
		{`load("/etc/passwd", "x")`, `stacks.star:1:6: bad-load-path: "/etc/passwd" is not of the form "./file.star" or "//folder/file.star".`},
		{`load("@sst/queue.star", "Queue")`, `stacks.star:1:6: outside-root: "@sst/queue.star" is a part of sst and cannot be loaded; its functions are in the sst module.`},
		{`load("lib/alarms.star", a = "error_alrm")`, `stacks.star:1:30: unknown-symbol: lib/alarms.star defines no "error_alrm". Did you mean "error_alarm"?`},
		{"# x\nload(\"lib/broken.star\", \"x\")", `lib/broken.star:2:5: syntax-error: Expected a value, found "=".`},
		{`load("lib/fails.star", "x")`, `lib/fails.star:2:14: wrong-operands: "+" cannot be applied to int and string. Write str(value) to join it to a string.`},
		{"load(\"lib/freeze.star\", \"add\", \"items\")\nitems.append(1)", `stacks.star:2:1: frozen-value: Cannot append to a list of a file that has been loaded. Make a copy: list(x) or dict(x).`},
		{"load(\"lib/freeze.star\", \"add\")\nadd(1)", `lib/freeze.star:3:5: frozen-value: Cannot append to a list of a file that has been loaded. Make a copy: list(x) or dict(x).`},
		{`load("cycle/a.star", "a")`, `cycle/c.star:1:6: load-cycle: cycle/a.star loads cycle/b.star loads cycle/c.star loads cycle/a.star: no file can be evaluated before the one it loads.`},
	} {
		file := filepath.Join(root, "stacks.star")
		if err := os.WriteFile(file, []byte(test.src+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{Root: root, Builtin: testOptions(t).Builtin}).Exec(context.Background(), file)
		var got []string
		for _, d := range list(t, err) {
			rel, _ := filepath.Rel(root, d.Span.Start.File)
			got = append(got, fmt.Sprintf("%s:%d:%d: %s: %s", rel, d.Span.Start.Line, d.Span.Start.Col, d.Code, strings.TrimSpace(d.Detail+" "+d.Hint)))
		}
		want := strings.NewReplacer("ROOT", root, "UP", dir).Replace(test.want)
		if s := strings.Join(got, "\n"); s != want {
			t.Errorf("%s\n got %s\nwant %s", test.src, s, want)
		}
	}
}

// TestLoadThroughALink: a file has one evaluation, whatever links lead to it.
func TestLoadThroughALink(t *testing.T) {
	dir := project(t, `
-- app/stacks.star --
load("lib/a.star", "x")
load("link.star", y = "x")
load("alias/a.star", z = "x")
same = x == y and y == z
x.append(1)
-- app/lib/a.star --
print("a")
x = []
`)
	root := filepath.Join(dir, "app")
	if err := os.Symlink(filepath.Join("lib", "a.star"), filepath.Join(root, "link.star")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := os.Symlink("lib", filepath.Join(root, "alias")); err != nil {
		t.Fatal(err)
	}
	outer := filepath.Join(dir, "outer") // the project itself is reached through a link
	if err := os.Symlink(root, outer); err != nil {
		t.Fatal(err)
	}
	var said []string
	in := New(Options{Root: outer, Print: func(pos diag.Position, msg string) { said = append(said, pos.File) }})
	_, err := in.Exec(context.Background(), filepath.Join(outer, "stacks.star"))
	if l := list(t, err); len(l) != 1 || l[0].Code != "frozen-value" || l[0].Span.Start.File != filepath.Join(outer, "stacks.star") {
		t.Errorf("got %v", l)
	}
	if want := filepath.Join(outer, "lib", "a.star"); len(said) != 1 || said[0] != want {
		t.Errorf("evaluated %v, want %s once", said, want)
	}
}

func TestMissingEntryFile(t *testing.T) {
	dir := t.TempDir()
	_, err := New(Options{Root: dir}).Exec(context.Background(), filepath.Join(dir, "stacks.star"))
	l := list(t, err)
	if len(l) != 1 || l[0].Code != "missing-file" || l[0].Span.Start.File != filepath.Join(dir, "stacks.star") {
		t.Errorf("a missing file is reported as %v", l)
	}
}

func TestUnsavedFile(t *testing.T) {
	dir := t.TempDir()
	texts := map[string]string{
		filepath.Join(dir, "stacks.star"): "load(\"new.star\", \"x\")\ny = x\n",
		filepath.Join(dir, "new.star"):    "x = 7\n",
	}
	read := func(path string) ([]byte, error) {
		if text, ok := texts[path]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}
	globals, err := New(Options{Root: dir, Read: read}).Exec(context.Background(), filepath.Join(dir, "stacks.star"))
	if err != nil || globals["y"].String() != "7" {
		t.Errorf("y = %v, %v", globals["y"], err)
	}
}

func TestLimits(t *testing.T) {
	const limit = 300 * time.Millisecond
	for _, test := range []struct {
		name, src string
		steps     uint64
		code      string
		line      int
	}{
		{"steps", "def f():\n    for i in range(1000000): i + 1\nf()\n", 100_000, "step-limit", 2},
		{"a long loop", "def f():\n    for i in range(1000000):\n        for j in range(1000000): j + 1\nf()\n", 1 << 50, "time-limit", 3},
		{"squaring", "x = 3\nfor i in range(100):\n    x = x * x\n", 0, "time-limit", 3},
		{"squaring late", "x = 3\nfor i in range(6000):\n    y = i\nfor i in range(100):\n    z = 1\n    x = x * x\n", 0, "time-limit", 6},
		{"shifting and squaring", "x = 1 << 511\nfor i in range(40):\n    x = (x << 511) * x\n", 0, "time-limit", 3},
		{"one builtin", "a = 1\nb = stall()\n", 0, "time-limit", 2},
		{"in the prelude", "a = 1\nSpin()\nb = 1\n", 0, "time-limit", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			prog, err := Compile("@sst/spin.star", []byte("def Spin():\n    x = 3\n    for i in range(100):\n        x = x * x\n"), func(string) bool { return false })
			if err != nil {
				t.Fatal(err)
			}
			opts := Options{
				MaxSteps: test.steps, Timeout: limit, Predeclared: starlark.StringDict{},
				Read:    func(string) ([]byte, error) { return []byte(test.src), nil },
				Builtin: Library{Programs: map[string]*Program{prog.Path(): prog}},
			}
			in := New(opts)
			globals, err := in.Exec(context.Background(), "@sst/spin.star")
			if err != nil {
				t.Fatal(err)
			}
			opts.Predeclared["Spin"] = globals["Spin"]
			opts.Predeclared["stall"] = starlark.NewBuiltin("stall", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
				time.Sleep(2 * time.Second) // a builtin that looks at nothing
				return starlark.None, nil
			})
			start := time.Now()
			_, err = in.Exec(context.Background(), "/stacks.star")
			took := time.Since(start)
			l := list(t, err)
			if len(l) != 1 || l[0].Code != test.code || l[0].Span.Start.Line != test.line || l[0].Span.Start.File != "/stacks.star" {
				t.Errorf("got %v, want %s at line %d", l, test.code, test.line)
			}
			if took > limit+3*time.Second {
				t.Errorf("took %v with a limit of %v", took, limit)
			}
		})
	}
}

func TestMemoryLimits(t *testing.T) {
	for _, test := range []struct {
		src, code string
		line      int
	}{
		{"x = [0]\nfor i in range(40):\n    x = x + x\n", "memory-limit", 3},
		{"a = 1\nx = list(range(1 << 40))\n", "long-range", 2},
		{"for i in range(10000001):\n    pass\n", "long-range", 1},
	} {
		in := New(Options{
			MaxMemory: 256 << 20,
			Read:      func(string) ([]byte, error) { return []byte(test.src), nil },
		})
		_, err := in.Exec(context.Background(), "/stacks.star")
		l := list(t, err)
		if len(l) != 1 || l[0].Code != test.code || l[0].Span.Start.Line != test.line {
			t.Errorf("%s: got %v, want %s at line %d", test.src, l, test.code, test.line)
		}
	}
}

func TestNotText(t *testing.T) {
	for _, test := range []struct {
		src  string
		line int
	}{
		{"a = 1\nb = \"f\xfcr\"\n", 2},
		{"\xff\xfea\x00 \x00=\x00", 1},
		{"a = 1\n\n\x00", 3},
	} {
		in := New(Options{Read: func(string) ([]byte, error) { return []byte(test.src), nil }})
		_, err := in.Exec(context.Background(), "/stacks.star")
		l := list(t, err)
		if len(l) != 1 || l[0].Code != "not-text" || l[0].Span.Start.Line != test.line {
			t.Errorf("%q: got %v, want not-text at line %d", test.src, l, test.line)
		}
	}
}

func TestCancel(t *testing.T) {
	cause := errors.New("the file changed")
	ctx, cancel := context.WithCancelCause(context.Background())
	opts := Options{
		Read: func(string) ([]byte, error) { return []byte("a = 1\nwait()\n"), nil },
		Predeclared: starlark.StringDict{"wait": starlark.NewBuiltin("wait", func(thread *starlark.Thread, _ *starlark.Builtin, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			if got := Caller(thread); got != (diag.Position{File: "/stacks.star", Line: 2, Col: 5}) {
				t.Errorf("Caller = %v", got)
			}
			if thread.Local("key") != "value" {
				t.Error("the thread local is missing")
			}
			cancel(cause)
			<-Context(thread).Done()
			return nil, context.Cause(Context(thread))
		})},
		Local: map[string]any{"key": "value"},
	}
	in := New(opts)
	_, err := in.Exec(ctx, "/stacks.star")
	l := list(t, err)
	if len(l) != 1 || l[0].Code != "cancelled" || l[0].Detail != "The file changed." || l[0].Span.Start.Line != 2 {
		t.Errorf("got %v", l)
	}
	if _, again := in.Exec(context.Background(), "/other.star"); fmt.Sprint(again) != fmt.Sprint(err) {
		t.Errorf("after it was cancelled an Interp said %v", again)
	}
}

func TestCall(t *testing.T) {
	opts := testOptions(t)
	opts.Read = func(string) ([]byte, error) {
		return []byte("def visit(node):\n    return node.upper()\ndef bad(node):\n    return node.nothing\n"), nil
	}
	in := New(opts)
	globals, err := in.Exec(context.Background(), "/stacks.star")
	if err != nil {
		t.Fatal(err)
	}
	got, err := in.Call(context.Background(), globals["visit"], starlark.Tuple{starlark.String("a")}, nil)
	if err != nil || got != starlark.String("A") {
		t.Errorf("Call = %v, %v", got, err)
	}
	_, err = in.Call(context.Background(), globals["bad"], starlark.Tuple{starlark.String("a")}, nil)
	if l := list(t, err); len(l) != 1 || l[0].Code != "unknown-attribute" || l[0].Span.Start.Line != 4 {
		t.Errorf("got %v", l)
	}
}

func TestCheckBeforeEvaluation(t *testing.T) {
	ran := false
	var warned diag.List
	warning := &diag.Diagnostic{Severity: diag.Warning, Code: "old", Summary: "Old"}
	problem := &diag.Diagnostic{Code: "bad", Summary: "Bad"}
	found := diag.List{warning, problem}
	opts := Options{
		Read:  func(string) ([]byte, error) { return []byte("print(1)\n"), nil },
		Print: func(diag.Position, string) { ran = true },
		Check: func(f *File) diag.List { return found },
		Warn:  func(d *diag.Diagnostic) { warned = append(warned, d) },
	}
	_, err := New(opts).Exec(context.Background(), "/stacks.star")
	if l := list(t, err); len(l) != 2 || ran {
		t.Errorf("got %v, ran = %v", l, ran)
	}
	found = diag.List{warning}
	if _, err := New(opts).Exec(context.Background(), "/stacks.star"); err != nil || !ran || len(warned) != 1 {
		t.Errorf("got %v, ran = %v, warned %v", err, ran, warned)
	}
}

// TestDiagnosticsOfBuiltins: an error that is a diagnostic already keeps its own place.
func TestDiagnosticsOfBuiltins(t *testing.T) {
	own := &diag.Diagnostic{Code: "queued", Summary: "Queued", Span: diag.Point(diag.Position{File: "/proj/b.star", Line: 7, Col: 3})}
	opts := Options{
		Read: func(string) ([]byte, error) { return []byte("a = 1\nflush()\n"), nil },
		Predeclared: starlark.StringDict{"flush": starlark.NewBuiltin("flush", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
			return nil, fmt.Errorf("flush: %w", own)
		})},
	}
	_, err := New(opts).Exec(context.Background(), "/proj/stacks.star")
	if l := list(t, err); len(l) != 1 || l[0] != own {
		t.Errorf("got %v", l)
	}
}

// TestParsedBefore evaluates one parsed file several times, as a running server does.
func TestParsedBefore(t *testing.T) {
	src := []byte("load(\"b.star\", \"one\")\ndef f(a):\n    return [a + x + one for x in range(2)]\ny = f(n)\nif y:\n    y = f(2)\n")
	file := Parse("/proj/a.star", src)
	parsed := map[string]*File{"/proj/a.star": file, "/proj/b.star": Parse("/proj/b.star", []byte("one = 1\n"))}
	for n := range 3 {
		Check(file, Env{Globals: map[string]Shape{"n": nil}})
		in := New(Options{
			Read:        func(path string) ([]byte, error) { return parsed[path].Src, nil },
			Parse:       func(path string, _ []byte) *File { return parsed[path] },
			Predeclared: starlark.StringDict{"n": starlark.MakeInt(n)},
		})
		globals, err := in.Exec(context.Background(), "/proj/a.star")
		if err != nil || globals["y"].String() != "[3, 4]" {
			t.Errorf("run %d: y = %v, %v", n, globals["y"], err)
		}
	}
}

func TestToDiagnostics(t *testing.T) {
	read := func(string) ([]byte, error) { return []byte("x = f\"a\"\n"), nil }
	_, err := dialect.Parse("/a.star", "x = f\"a\"\n", 0)
	if l := ToDiagnostics(err, read); len(l) != 1 || l[0].Code != "python-f-string" {
		t.Errorf("a syntax error became %v", l)
	}
	if l := ToDiagnostics(errors.New("no idea"), read); len(l) != 1 || l[0].Detail != "No idea." {
		t.Errorf("a plain error became %v", l)
	}
	if l := ToDiagnostics(fmt.Errorf("wrapped: %w", Errorf("c", "S", "d")), read); len(l) != 1 || l[0].Code != "c" {
		t.Errorf("a failure became %v", l)
	}
	if l := ToDiagnostics(nil, read); l != nil {
		t.Errorf("no error became %v", l)
	}
	_, err = starlark.ExecFileOptions(dialect, &starlark.Thread{}, "/b.star", "x = [\n  abs(\n    y = 1)]\n", nil)
	read = func(string) ([]byte, error) { return []byte("x = [\n  abs(\n    y = 1)]\n"), nil }
	if l := ToDiagnostics(err, read); len(l) != 1 || l[0].Code != "unknown-parameter" || l[0].Span.Start.Line != 2 || l[0].Span.Start.Col != 3 {
		t.Errorf("an evaluation error became %v", l)
	}
}
