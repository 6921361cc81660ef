package interp

import (
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Shape is what is statically known of a value; a nil Shape is unknown, and
// of the unknown nothing is said. Two equal Shapes are the same kind of value.
type Shape interface {
	Kind() string                     // as shown to people: "cdk.aws_sqs.Queue", "string"
	Member(name string) (Shape, bool) // a member may be known with a nil Shape
	Members() []string                // nil = unknown, then no member is ever reported
	Signature() *Signature            // nil = unknown, or cannot be called
}

// Signature is what a call takes. Its parameters can be given by position
// until the first that is KeywordOnly.
type Signature struct {
	Name           string // "Queue"
	Params         []Param
	PositionalOnly int   // the first so many cannot be given by keyword
	Variadic       bool  // further positionals accepted
	Open           bool  // other keywords accepted
	Result         Shape // nil = unknown
}

// Param is one parameter of a Signature, or one key of a StructType.
type Param struct {
	Name        string
	Required    bool
	KeywordOnly bool
	Type        Type // nil = anything
	Doc         string
}

// Type judges literals.
type Type interface {
	String() string // "number", "list of string"
	// Accepts says whether the literal e may be given, and if not what is
	// wanted. It must accept every expression that it cannot judge. None never gets here.
	Accepts(e syntax.Expr) (ok bool, wanted string)
}

// StructType is a Type whose value may be a dict literal with known keys.
type StructType interface {
	Type
	// Fields are the keys; open when others are accepted too.
	Fields() (fields []Param, open bool)
}

// ElemType is a Type of lists or of dicts with free keys, whose elements or
// values are judged one by one.
type ElemType interface {
	Type
	Elem() Type // nil = anything
}

// Env is what a file is checked against.
type Env struct {
	Globals map[string]Shape // beside Starlark's own; a nil Shape is a known name of unknown value
	// Load is what is known of the file that a load statement names: what it
	// defines, and the shapes of that. nil, nil when nothing is known.
	Load func(path string) (*Outline, map[string]Shape)
}

// ValueShape is the shape of one of Starlark's own types.
type ValueShape struct {
	kind    string
	members []string
}

var (
	StringShape = &ValueShape{"string", starlark.String("").AttrNames()}
	ListShape   = &ValueShape{"list", (*starlark.List)(nil).AttrNames()}
	DictShape   = &ValueShape{"dict", (*starlark.Dict)(nil).AttrNames()}
)

func (v *ValueShape) Kind() string          { return v.kind }
func (v *ValueShape) Members() []string     { return v.members }
func (v *ValueShape) Signature() *Signature { return nil }
func (v *ValueShape) Member(name string) (Shape, bool) {
	return nil, slices.Contains(v.members, name)
}

// functionShape is a def of the file.
type functionShape struct {
	inf   *Inference
	scope *scope // that the def stands in
	def   *syntax.DefStmt
	sig   *Signature
}

func (f *functionShape) Kind() string                { return f.def.Name.Name }
func (f *functionShape) Members() []string           { return nil }
func (f *functionShape) Member(string) (Shape, bool) { return nil, false }
func (f *functionShape) Signature() *Signature {
	if f.sig == nil {
		f.sig = signatureOf(f.def.Name.Name, parameters(f.inf.file.Path, f.def.Params, docOf(f.def.Body)))
		f.sig.Result = f.inf.result(f.scope, f.def)
	}
	return f.sig
}

// SignatureOf is the signature of a function in an Outline, its result unknown.
func SignatureOf(d *Definition) *Signature { return signatureOf(d.Name, d.Params) }

func signatureOf(name string, params []Parameter) *Signature {
	sig := &Signature{Name: name}
	for _, p := range params {
		switch p.Kind {
		case Args:
			sig.Variadic = true
		case Kwargs:
			sig.Open = true
		default:
			sig.Params = append(sig.Params, Param{Name: p.Name, Required: p.Required(), KeywordOnly: p.Kind == KeywordOnly, Doc: p.Doc})
		}
	}
	return sig
}

// structShape is the result of a call of struct with known keywords.
type structShape struct {
	names  []string
	fields map[string]Shape
}

func (s *structShape) Kind() string          { return "struct" }
func (s *structShape) Members() []string     { return s.names }
func (s *structShape) Signature() *Signature { return nil }
func (s *structShape) Member(name string) (Shape, bool) {
	shape, ok := s.fields[name]
	return shape, ok
}

var (
	_ Shape = (*ValueShape)(nil)
	_ Shape = (*functionShape)(nil)
	_ Shape = (*structShape)(nil)
)
