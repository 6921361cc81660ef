package interp

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"go.starlark.net/starlark"
)

// bigFile is a stacks.star with n groups of 30 lines.
func bigFile(n int) []byte {
	var b bytes.Buffer
	b.WriteString("\"\"\"An app.\"\"\"\n\napp = sst.App(\"notes\")\nweb = sst.Stack(app, \"web\")\n\n")
	for i := range n {
		fmt.Fprintf(&b, `# Part %[1]d of the app.
jobs_%[1]d = sst.Queue(web, "Jobs%[1]d",
    consumer = {
        "function": "src/jobs%[1]d.main",
        "batch_size": 10,
    },
)

notes_%[1]d = sst.Table(web, "Notes%[1]d",
    fields = {"user": "string", "note": "string"},
    primary_index = ("user", "note"),
)

def link_%[1]d(scope, names, *, timeout = "10 seconds"):
    """Links part %[1]d.

    Args:
      scope: where to
      names: what
    """
    for name in names:
        if name.startswith("x"):
            scope.bind(notes_%[1]d, name = "%%s-%%d" %% (name, %[1]d))
    return [n.upper() for n in names if n]

api_%[1]d = sst.Api(web, "Api%[1]d", link = [notes_%[1]d, jobs_%[1]d], routes = {
    "GET /notes": "src/notes%[1]d.list",
    "POST /notes": "src/notes%[1]d.create",
})

`, i)
	}
	return b.Bytes()
}

// thousand is a file with 1,000 resources.
func thousand() []byte {
	var b bytes.Buffer
	b.WriteString("app = sst.App(\"notes\")\nweb = sst.Stack(app, \"web\")\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "queue_%[1]d = sst.Queue(web, \"Queue%[1]d\", consumer = \"src/jobs%[1]d.main\")\n", i)
	}
	return b.Bytes()
}

// fakeModule is a module whose functions do nothing.
type fakeModule struct{ starlark.Value }

func (fakeModule) Attr(name string) (starlark.Value, error) { return fakeConstruct, nil }
func (fakeModule) AttrNames() []string                      { return nil }
func (fakeModule) Type() string                             { return "module" }

var fakeConstruct = starlark.NewBuiltin("construct", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return fakeModule{starlark.None}, nil
})

func BenchmarkExecThousandResources(b *testing.B) {
	src := thousand()
	opts := Options{Read: func(string) ([]byte, error) { return src, nil }, Predeclared: starlark.StringDict{"sst": fakeModule{starlark.None}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(opts).Exec(context.Background(), "/stacks.star"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpstreamThousandResources is the floor: the same without limits,
// statements and diagnostics.
func BenchmarkUpstreamThousandResources(b *testing.B) {
	src := thousand()
	predeclared := starlark.StringDict{"sst": fakeModule{starlark.None}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := starlark.ExecFileOptions(dialect, &starlark.Thread{}, "/stacks.star", src, predeclared); err != nil {
			b.Fatal(err)
		}
	}
}

// tenThousandLines is a file of a little more than 10,000 lines.
func tenThousandLines() []byte { return bigFile(334) }

func BenchmarkSplit10k(b *testing.B) {
	src := tenThousandLines()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		Split(src)
	}
}

func BenchmarkParse10k(b *testing.B) {
	src := tenThousandLines()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		Parse("/stacks.star", src)
	}
}

// BenchmarkParse10kBroken parses chunk by chunk, because a statement in the
// middle is broken.
func BenchmarkParse10kBroken(b *testing.B) {
	src := tenThousandLines()
	half := len(src) / 2
	half += bytes.Index(src[half:], []byte("\n# Part"))
	src = slices.Concat(src[:half], []byte("\nx = sst.Queue(web, \n"), src[half:])
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		Parse("/stacks.star", src)
	}
}

// BenchmarkKeystroke10k is what an editor does for a changed chunk: split,
// parse that chunk, assemble.
func BenchmarkKeystroke10k(b *testing.B) {
	src := tenThousandLines()
	f := Parse("/stacks.star", src)
	changed := len(f.Statements) / 2
	for b.Loop() {
		Split(src)
		f.Statements[changed] = ParseChunk("/stacks.star", f.Statements[changed].Chunk)
		Assemble("/stacks.star", src, f.Statements)
	}
}

func BenchmarkCheck10k(b *testing.B) {
	f := Parse("/stacks.star", tenThousandLines())
	env := testEnv()
	b.ReportAllocs()
	for b.Loop() {
		Check(f, env)
	}
}

func BenchmarkOutline10k(b *testing.B) {
	f := Parse("/stacks.star", tenThousandLines())
	for b.Loop() {
		f.Outline()
	}
}
