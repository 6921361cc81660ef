package interp

import (
	"fmt"
	"maps"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/syntax"
)

// pieces are what the versions of TestUpdate are made of: statements that depend on each other, broken ones, comments.
var pieces = []string{
	"load(\"./alarms.star\", \"alarm\", other = \"shared\")\n",
	"load(\"./alarms.star\", \"nothing\")\n",
	"app = sst.App(\"a\")\n", "app = 1\n", "app = \"text\"\n",
	"# About the queue.\nqueue = sst.Queue(app, \"Q\")\n", "queue = alarm(app)\n", "queue = other\n", "\n\n",
	"def make(x, *, y = 1):\n    \"\"\"Doc.\n\napp = 3 in a string\n    \"\"\"\n    return sst.Queue(x, \"id\")\n",
	"def make(x):\n    local = queue\n    return local\n", "def make():\n    return [app for app in queue.x]\n",
	"third = make(app)\n", "third = make(app, y = 2)\nthird.nothing\n", "third.queue_url\n", "queue.queue_url\n", "queue.nothing\n",
	"if app:\n    queue = make(1)\nelse:\n    queue = other\n", "for q in [1]:\n    nobody(q)\n", "lost = struct(a = queue, b = unknown)\n", "lost.a.nothing\n", "lost.c\n",
	"sst.Queue(\n", ")\n", "x = [1,\n  2,\n", "\"\"\"\n", "x.\n", "queue = \n", "def f(\n", "load(\n", "while True:\n    pass\n", "(a, b) = (1, 2)\n", "print(a, b, f, x)\n", "\ufeff", "é = \"ü\"\n", "\r\n", "    pass\n",
}

// TestUpdate: a file and what is known of it, taken from version to version, are those of the last text alone.
func TestUpdate(t *testing.T) {
	env := testEnv()
	one, oneShapes := loadFake("./alarms.star")
	two, twoShapes := Parse("/proj/alarms.star", []byte("def alarm(api):\n    return 1\n")).Outline(), map[string]Shape{"alarm": nil}
	first := true
	env.Load = func(module string) (*Outline, map[string]Shape) {
		switch {
		case module != "./alarms.star":
			return nil, nil
		case first:
			return one, oneShapes
		}
		return two, twoShapes
	}
	for seed := range 30 {
		random := rand.New(rand.NewSource(int64(seed)))
		src := []byte{}
		for range 12 {
			src = append(src, pieces[random.Intn(len(pieces))]...)
		}
		f := Parse("/f.star", src)
		inf := Infer(f, env)
		for step := range 150 {
			at := random.Intn(len(src) + 1)
			next := slices.Clone(src[:at])
			switch random.Intn(3) {
			case 0:
				next = append(next, pieces[random.Intn(len(pieces))]...)
			case 1:
				next = append(next, "\n \"'([{}])#=.,:axq\\"[random.Intn(18)])
			}
			next = append(next, src[min(len(src), at+random.Intn(20)*random.Intn(2)):]...)
			if random.Intn(10) == 0 {
				first = !first
			}
			if len(next) > 3000 {
				next = next[:100]
			}
			src = next
			f = f.Update(src)
			inf.Update(f, env)
			want := Parse("/f.star", src)
			fail := func(what string, got, want any) {
				t.Helper()
				t.Fatalf("seed %d, step %d: %s is\n%v\nwant\n%v\nof\n%s", seed, step, what, got, want, src)
			}
			if len(f.Statements) != len(want.Statements) {
				fail("the number of statements", len(f.Statements), len(want.Statements))
			}
			for i := range f.Statements {
				a, b := &f.Statements[i], &want.Statements[i]
				if a.Line != b.Line || a.Offset != b.Offset || string(a.Text) != string(b.Text) || (a.Error == nil) != (b.Error == nil) {
					fail("statement", a.Chunk, b.Chunk)
				}
				if random.Intn(3) == 0 { // else they are looked at in some later version
					if got, want := everyPosition(a.Stmts()), everyPosition(b.Stmts()); !reflect.DeepEqual(got, want) {
						fail("the tree", got, want)
					}
				}
			}
			if got, want := fmt.Sprint(f.Errors), fmt.Sprint(want.Errors); got != want {
				fail("what does not parse", got, want)
			}
			if random.Intn(3) == 0 {
				if got, want := places(f.OutlineAgain()), places(want.Outline()); got != want {
					fail("the outline", got, want)
				}
			}
			if random.Intn(3) == 0 {
				continue
			}
			fresh := Infer(want, env)
			if got, want := fmt.Sprint(inf.Check()), fmt.Sprint(fresh.Check()); got != want {
				fail("what is wrong", got, want)
			}
			for name, shape := range fresh.Globals() {
				if got := inf.Globals()[name]; fmt.Sprint(kindOf(got)) != fmt.Sprint(kindOf(shape)) {
					fail(name, kindOf(got), kindOf(shape))
				}
			}
			if got, want := slices.Sorted(maps.Keys(inf.Globals())), slices.Sorted(maps.Keys(fresh.Globals())); !slices.Equal(got, want) {
				fail("what is defined", got, want)
			}
		}
	}
}

func kindOf(s Shape) string {
	if s == nil {
		return "unknown"
	}
	if sig := s.Signature(); sig != nil {
		return fmt.Sprint(s.Kind(), len(sig.Params), kindOf(sig.Result))
	}
	return s.Kind()
}

// everyPosition is all that trees say of places.
func everyPosition(stmts []syntax.Stmt) []string {
	var list []string
	for _, stmt := range stmts {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			if n == nil {
				return true
			}
			v := reflect.ValueOf(n).Elem()
			for i := range v.NumField() {
				if !v.Type().Field(i).IsExported() {
					continue
				}
				if p, ok := v.Field(i).Interface().(syntax.Position); ok {
					list = append(list, fmt.Sprintf("%T.%s %v", n, v.Type().Field(i).Name, p))
				}
			}
			return true
		})
	}
	return list
}

// places is what an outline says, without its trees.
func places(o *Outline) string {
	var b strings.Builder
	for _, l := range o.Loads {
		fmt.Fprintln(&b, l)
	}
	for _, d := range o.Definitions {
		fmt.Fprintln(&b, d.Name, d.Kind, d.Span, d.Range, d.Doc.Summary, d.Module)
		for _, p := range d.Params {
			fmt.Fprintln(&b, p.Name, p.Span, p.Kind)
		}
	}
	for _, c := range o.Calls {
		fmt.Fprintln(&b, c.Callee, c.Span, c.Range, c.Target)
	}
	return b.String()
}
