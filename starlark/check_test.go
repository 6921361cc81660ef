package interp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// fakeShape is a module, a class or an object.
type fakeShape struct {
	kind    string
	members map[string]Shape
	open    bool // other members may exist
	sig     *Signature
}

func (f *fakeShape) Kind() string { return f.kind }
func (f *fakeShape) Member(name string) (Shape, bool) {
	s, ok := f.members[name]
	return s, ok
}
func (f *fakeShape) Members() []string {
	if f.open {
		return nil
	}
	names := []string{}
	for name := range f.members {
		names = append(names, name)
	}
	return names
}
func (f *fakeShape) Signature() *Signature { return f.sig }

// fakeType accepts literals of some tokens; "list" and "dict" beside them.
type fakeType struct {
	name   string
	tokens []syntax.Token
}

func (f fakeType) String() string { return f.name }
func (f fakeType) Accepts(e syntax.Expr) (bool, string) {
	l, ok := e.(*syntax.Literal)
	if !ok {
		return false, ""
	}
	for _, t := range f.tokens {
		if l.Token == t {
			return true, ""
		}
	}
	return false, f.name
}

type fakeStruct struct {
	fakeType
	fields []Param
	open   bool
}

func (f fakeStruct) Fields() ([]Param, bool) { return f.fields, f.open }

type fakeList struct {
	fakeType
	elem Type
}

func (f fakeList) Elem() Type { return f.elem }
func (f fakeList) Accepts(e syntax.Expr) (bool, string) {
	_, ok := e.(*syntax.ListExpr)
	return ok, "list of " + f.elem.String()
}

func testEnv() Env {
	str := fakeType{"string", []syntax.Token{syntax.STRING}}
	number := fakeType{"number", []syntax.Token{syntax.INT, syntax.FLOAT}}
	consumer := fakeStruct{fakeType: str, fields: []Param{{Name: "function", Required: true, Type: str}, {Name: "batch_size", Type: number}}}
	queue := &fakeShape{kind: "sst.Queue", members: map[string]Shape{"queue_url": StringShape, "grant": nil}}
	class := func(name string, result Shape, params ...Param) *fakeShape {
		params = append([]Param{{Name: "scope", Required: true}, {Name: "id", Required: true, Type: str}}, params...)
		for i := range params[2:] {
			params[i+2].KeywordOnly = true
		}
		return &fakeShape{kind: "sst." + name, sig: &Signature{Name: name, Params: params, PositionalOnly: 2, Result: result}}
	}
	sst := &fakeShape{kind: "sst", members: map[string]Shape{
		"App": &fakeShape{kind: "sst.App", sig: &Signature{Name: "App", Params: []Param{{Name: "name", Required: true, Type: str}, {Name: "region", Type: str}}, PositionalOnly: 1, Open: true}},
		"Queue": class("Queue", queue,
			Param{Name: "consumer", Type: consumer}, Param{Name: "size", Type: number}, Param{Name: "flag"},
			Param{Name: "tags", Type: fakeList{fakeType{"list", nil}, str}}),
		"Stack": class("Stack", nil),
		"Table": class("Table", nil, Param{Name: "fields"}, Param{Name: "primary_index"}),
		"Api":   class("Api", nil, Param{Name: "link"}, Param{Name: "routes"}),
		"max":   &fakeShape{kind: "function", sig: &Signature{Name: "max", Variadic: true}},
	}}
	return Env{Globals: map[string]Shape{"sst": sst, "cdk": nil, "env": nil, "struct": nil}, Load: loadFake}
}

const fakeModuleSource = `
load("x.star", "loaded_there")
def alarm(api, *, level = "high"):
    return sst.Queue(api, "a")
shared = sst.Queue(None, "q")
_hidden = 1
several = 1
several = "x"
`

func loadFake(path string) (*Outline, map[string]Shape) {
	if path != "./alarms.star" {
		return nil, nil
	}
	env := testEnv()
	env.Load = nil
	f := Parse("/proj/alarms.star", []byte(fakeModuleSource))
	return f.Outline(), Infer(f, env).Globals()
}

func TestCheck(t *testing.T) {
	testChunks(t, "testdata/check/*.star", func(t *testing.T, path, src string) diag.List {
		f := Parse(path, []byte(src))
		if len(f.Errors) > 0 && !strings.Contains(src, "broken") {
			t.Errorf("chunk does not parse: %v", f.Errors)
		}
		return Check(f, testEnv())
	})
}

// TestCheckAgreesWithEvaluation: what the check says of names is word for word
// what evaluation says, so that both together do not report twice.
func TestCheckAgreesWithEvaluation(t *testing.T) {
	src := "quueue = 1\nx = quueu\ny = null\n\ndef f(aa):\n    return bb\n"
	opts := Options{Read: func(string) ([]byte, error) { return []byte(src), nil }}
	_, err := New(opts).Exec(t.Context(), "/proj/a.star")
	evaluated := list(t, err).Sorted()
	checked := Check(Parse("/proj/a.star", []byte(src)), Env{})
	if got, want := fmt.Sprint(checked), fmt.Sprint(evaluated); got != want || len(checked) != 3 {
		t.Errorf("check says\n%v\nevaluation says\n%v", got, want)
	}
}

// TestNoFalseAlarms checks every text of the evaluation tests that is expected
// to run, and this package's generated file.
func TestNoFalseAlarms(t *testing.T) {
	env := testEnv()
	if found := Check(Parse("/f.star", bigFile(3)), env); len(found) > 0 {
		t.Errorf("generated file: %v", found)
	}
	if found := Check(Parse("/f.star", thousand()), env); len(found) > 0 {
		t.Errorf("thousand resources: %v", found)
	}
	files, _ := filepath.Glob("testdata/good/*.star")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f := Parse(file, src)
		for _, d := range append(f.Errors, Check(f, env)...) {
			t.Error(d)
		}
		// The same while any one line is missing or half typed: the rest stays silent about names.
		lines := strings.SplitAfter(string(src), "\n")
		for i, line := range lines {
			half := strings.Join(lines[:i], "") + line[:len(line)/2] + "\n" + strings.Join(lines[i+1:], "")
			f := Parse(file, []byte(half))
			for _, d := range Check(f, env) {
				if len(f.Errors) > 0 && d.Code == "unknown-name" && d.Span.Start.Line != i+1 && strings.HasPrefix(line, " ") {
					t.Errorf("with line %d half typed: %v", i+1, d)
				}
			}
		}
	}
}

func TestOutline(t *testing.T) {
	src := `"""The file.

More."""
load("./a.star", "x", y = "z")
def f(scope, id, *args, key = 1, must, **rest):
    """Makes it.

    Second paragraph
      indented.

    Args:
      scope: where to
      id: a name
        of two lines
      **rest: others

    Example:
      f(1)
    """
    return g(id)
q = sst.Queue(web, "Q")
a, (b, c) = 1, (2, 3)
for i in range(3):
    d = i
`
	o := Parse("/f.star", []byte(src)).Outline()
	var defs []string
	for _, d := range o.Definitions {
		defs = append(defs, fmt.Sprintf("%s:%d@%d:%d", d.Name, d.Kind, d.Span.Start.Line, d.Span.Start.Col))
	}
	want := "x:2@4:19 y:2@4:23 f:1@5:5 q:0@21:1 a:0@22:1 b:0@22:5 c:0@22:8 i:0@23:5 d:0@24:5"
	if got := strings.Join(defs, " "); got != want {
		t.Errorf("definitions = %s\nwant          %s", got, want)
	}
	if o.Doc.Summary != "The file." || o.Doc.Body != "More." {
		t.Errorf("doc of the file = %+v", o.Doc)
	}
	f := o.Lookup("f")
	if f.Doc.Summary != "Makes it." || f.Doc.Body != "Second paragraph\n  indented.\n\nExample:\n  f(1)" {
		t.Errorf("doc = %+v", f.Doc)
	}
	var params []string
	for _, p := range f.Params {
		params = append(params, fmt.Sprintf("%s/%d/%v/%s", p.Name, p.Kind, p.Required(), p.Doc))
	}
	if got, want := strings.Join(params, " "), "scope/0/true/where to id/0/true/a name of two lines args/2/false/ key/1/false/ must/1/true/ rest/3/false/others"; got != want {
		t.Errorf("parameters = %s\nwant         %s", got, want)
	}
	var calls []string
	for _, c := range o.Calls {
		calls = append(calls, c.Target+"="+c.Callee)
	}
	if got, want := strings.Join(calls, " "), "=g q=sst.Queue =range"; got != want {
		t.Errorf("calls = %s, want %s", got, want)
	}
	if l := o.Loads[0]; l.Module != "./a.star" || l.Names[1].Name != "z" || l.Names[1].As != "y" || l.Names[1].Span.Start.Col != 28 {
		t.Errorf("load = %+v", l)
	}
	sig := SignatureOf(f)
	if len(sig.Params) != 4 || !sig.Variadic || !sig.Open || !sig.Params[2].KeywordOnly || sig.Params[1].KeywordOnly {
		t.Errorf("signature = %+v", sig)
	}
}

func TestInferenceAtAPosition(t *testing.T) {
	src := "q = sst.Queue(None, \"q\")\ndef f(a):\n    own = sst.Queue(a, \"x\")\n    return own\nr = f(1)\n"
	f := Parse("/f.star", []byte(src))
	inf := Infer(f, testEnv())
	def := f.Statements[1].Stmts()[0].(*syntax.DefStmt)
	ret := def.Body[1].(*syntax.ReturnStmt)
	if got := inf.Shape(ret.Result, diag.Position{File: "/f.star", Line: 4, Col: 12}); got == nil || got.Kind() != "sst.Queue" {
		t.Errorf("shape of own = %v", got)
	}
	names := inf.Names(diag.Position{File: "/f.star", Line: 4, Col: 12})
	for _, name := range []string{"own", "a", "q", "f", "sst", "len", "r"} {
		if _, ok := names[name]; !ok {
			t.Errorf("%s is not visible in f", name)
		}
	}
	if names := inf.Names(diag.Position{File: "/f.star", Line: 5, Col: 1}); names["own"] != nil {
		t.Error("own is visible outside f")
	}
	if r := inf.Globals()["r"]; r == nil || r.Kind() != "sst.Queue" {
		t.Errorf("shape of r = %v", r)
	}
}
