package interp

import (
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Shape is what is statically known of a value; a nil Shape is unknown, and
// of the unknown nothing is said.
type Shape interface {
	Kind() string // as shown to people: "cdk.aws_sqs.Queue", "string"
	Member(name string) (Shape, bool)
	Members() []string     // nil = unknown, then no member is reported
	Signature() *Signature // nil = unknown or not callable
}

// Signature is what a call takes.
type Signature struct {
	Name           string
	Params         []Param
	PositionalOnly int  // the first so many cannot be given by keyword
	Positional     int  // so many can be given by position; -1 = all
	Variadic       bool // further positionals accepted
	Open           bool // other keywords accepted
	Result         Shape
}

// Param is one parameter of a Signature.
type Param struct {
	Name     string
	Required bool
	Type     Type
	Doc      string
}

// Type judges literals; a nil Type takes anything.
type Type interface {
	String() string
	// Accepts says whether the literal e may be given, and what is wanted otherwise. It must accept
	// any expression that it cannot judge.
	Accepts(e syntax.Expr) (ok bool, wanted string)
}

// StructType is implemented by a Type whose value may be a dict literal with
// known keys.
type StructType interface {
	Type
	// Fields are the keys known; open when others are accepted too.
	Fields() (fields []Param, open bool)
}

// Env is what a file is checked against.
type Env struct {
	Globals map[string]Shape                               // nil Shape: known name, unknown value
	Load    func(path string) (*Outline, map[string]Shape) // nil, nil when unknown
}

// Check reports what is wrong in f without running it.
func Check(f *File, env Env) diag.List { return nil }
