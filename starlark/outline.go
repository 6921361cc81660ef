package interp

import (
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Outline is what a file says of itself without being run.
type Outline struct {
	Path        string
	Doc         Doc // of the file
	Loads       []Load
	Definitions []Definition // of globals, in order
	Calls       []Call       // outermost calls first, in order of position
}

// Load is one load statement.
type Load struct {
	Module string    // as written
	Pos    diag.Span // of the module string
	Names  []LoadName
}

// LoadName is one name bound by a load.
type LoadName struct {
	Name, As       string
	NamePos, AsPos diag.Span
}

// DefinitionKind is the kind of a Definition.
type DefinitionKind int

const (
	Variable DefinitionKind = iota
	Function
	Loaded
)

// Definition is a global name.
type Definition struct {
	Name   string
	Kind   DefinitionKind
	Span   diag.Span // of the name
	Range  diag.Span // of the whole statement
	Doc    Doc
	Params []Parameter // of a function
	Value  syntax.Expr // of a variable assigned as a whole, else nil
	Def    *syntax.DefStmt
}

// Parameter is one parameter of a def.
type Parameter struct {
	Name     string
	Span     diag.Span
	Default  syntax.Expr // nil when there is none
	Required bool
	Kind     ParameterKind
	Doc      string
}

// ParameterKind says how a parameter takes its arguments.
type ParameterKind int

const (
	Ordinary ParameterKind = iota
	KeywordOnly
	Args   // *args
	Kwargs // **kwargs
)

// Doc is a docstring taken apart.
type Doc struct {
	Summary string // first sentence or paragraph
	Body    string // the rest without Args
	Args    []ArgDoc
}

// ArgDoc is one line under "Args:".
type ArgDoc struct{ Name, Text string }

// Call is a call with a name, such as sst.Queue(web, "Jobs").
type Call struct {
	Callee string    // dotted, "sst.Queue"
	Span   diag.Span // of the callee
	Expr   *syntax.CallExpr
	Target string // the global it is assigned to, ""
}

// MakeOutline reads the outline off a parsed file.
func MakeOutline(f *File) *Outline { return &Outline{Path: f.Path} }
