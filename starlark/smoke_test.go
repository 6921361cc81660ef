package interp

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"
	"sst/starlark/diag"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	for i, src := range []string{
		"x = 2\nfor i in range(100):\n    x = x * x\n",
		"def f():\n    for i in range(1000000000):\n        pass\nf()\n",
		"a = 1\nb = sorted(range(30000000))\nc = 2\n",
		"y = 0\nfor i in range(200000):\n    y += 1\nx = 2\nz = 1\nfor i in range(100):\n    z = 1\n    x = x * x\n    z = 2\n",
		"s = f\"a {x} b\"\n",
		"x = [1, 2\ny = 3\n",
		"def q(*, consumer = None):\n    pass\nq(\n  consumr = 1)\n",
		"x = 'a'.uper()\n",
	} {
		file := filepath.Join(dir, fmt.Sprintf("%d.star", i))
		os.WriteFile(file, []byte(src), 0o666)
		in := New(Options{Root: dir, Timeout: time.Second})
		start := time.Now()
		_, err := in.Exec(context.Background(), file)
		fmt.Println(time.Since(start))
		p := diag.Printer{Out: os.Stdout, Base: dir, Verbose: true}
		if err != nil {
			p.Print(err.(diag.List)...)
		}
	}
}

func BenchmarkSmoke(b *testing.B) {
	var src strings.Builder
	src.WriteString("app = App(\"x\")\n")
	for i := 0; i < 1000; i++ {
		fmt.Fprintf(&src, "q%d = Queue(app, \"Q%d\", consumer = \"src/a.b\", cdk = {\"visibility\": 30, \"name\": \"a-%%s\" %% app})\n", i, i)
	}
	fake := starlark.NewBuiltin("Queue", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		return starlark.None, nil
	})
	for b.Loop() {
		in := New(Options{Root: "/", Read: func(string) ([]byte, error) { return []byte(src.String()), nil }, Predeclared: starlark.StringDict{"Queue": fake, "App": fake}})
		_, err := in.Exec(context.Background(), "/x.star")
		if err != nil {
			b.Fatal(err)
		}
	}
}
