package interp

import (
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Outline is what a file says of itself without being run.
type Outline struct {
	Path        string
	Partial     bool // a statement did not parse: there may be more definitions
	Doc         Doc  // of the file
	Loads       []Load
	Definitions []Definition // of globals, in order; a name may come twice
	Calls       []Call       // of dotted names anywhere, in order of the callee
}

// Load is one load statement.
type Load struct {
	Module string    // as written
	Span   diag.Span // of the string, quotes included
	Names  []LoadName
}

// LoadName is one name bound by a load.
type LoadName struct {
	Name, As     string
	Span, AsSpan diag.Span // without quotes; the same when the name is kept
}

// DefinitionKind says how a global is defined.
type DefinitionKind int

const (
	Variable DefinitionKind = iota // assigned, or bound by a top-level for
	Function                       // def
	Loaded                         // load
)

// Definition is one definition of a global name.
type Definition struct {
	Name   string
	Kind   DefinitionKind
	Span   diag.Span // of the name
	Range  diag.Span // of the whole statement
	Doc    Doc
	Params []Parameter     // of a function
	Value  syntax.Expr     // of a variable assigned alone; nil otherwise
	Def    *syntax.DefStmt // of a function
	Module string          // of a loaded name, as written
}

// Parameter is one parameter of a def.
type Parameter struct {
	Name    string // without stars
	Span    diag.Span
	Default syntax.Expr // nil when there is none
	Kind    ParameterKind
	Doc     string
}

// Required reports whether a call must give the parameter.
func (p *Parameter) Required() bool {
	return p.Default == nil && (p.Kind == Ordinary || p.Kind == KeywordOnly)
}

// ParameterKind says how a parameter takes its arguments.
type ParameterKind int

const (
	Ordinary    ParameterKind = iota
	KeywordOnly               // after a star
	Args                      // *args
	Kwargs                    // **kwargs
)

// Call is a call of a dotted name, such as sst.Queue(web, "Jobs").
type Call struct {
	Callee string    // "sst.Queue"
	Span   diag.Span // of the callee
	Range  diag.Span // of the call
	Expr   *syntax.CallExpr
	Target string // the global that it is assigned to, "" for none
}

// Lookup is the last definition of a global, nil when there is none.
func (o *Outline) Lookup(name string) *Definition {
	for i := len(o.Definitions) - 1; i >= 0; i-- {
		if o.Definitions[i].Name == name {
			return &o.Definitions[i]
		}
	}
	return nil
}

// Outline reads the outline off the statements that parsed.
func (f *File) Outline() *Outline {
	return f.outline(func(s *Statement) *Outline {
		o := &linedOutline{}
		o.read(f.Path, s)
		return &o.Outline
	})
}

// OutlineAgain is Outline for a file that only the caller looks at. It remembers what it read off each statement for the
// versions of the file to come.
func (f *File) OutlineAgain() *Outline {
	return f.outline(func(s *Statement) *Outline {
		kept := Get(s.Notes(), outlineKey{}, func() *linedOutline { return &linedOutline{line: -1} })
		switch {
		case kept.line < 0:
			kept.read(f.Path, s)
		case kept.line != s.Line:
			s.Stmts()
			kept.moveTo(s.Line)
		}
		return &kept.Outline
	})
}

func (f *File) outline(of func(*Statement) *Outline) *Outline {
	o := &Outline{Path: f.Path}
	parts := make([]*Outline, len(f.Statements))
	loads, definitions, calls := 0, 0, 0
	for i := range f.Statements {
		s := &f.Statements[i]
		o.Partial = o.Partial || s.Error != nil
		parts[i] = of(s)
		loads, definitions, calls = loads+len(parts[i].Loads), definitions+len(parts[i].Definitions), calls+len(parts[i].Calls)
	}
	if len(f.Statements) > 0 {
		o.Doc = docOf(f.Statements[0].Stmts())
	}
	o.Loads, o.Definitions, o.Calls = make([]Load, 0, loads), make([]Definition, 0, definitions), make([]Call, 0, calls)
	for _, part := range parts {
		o.Loads = append(o.Loads, part.Loads...)
		o.Definitions = append(o.Definitions, part.Definitions...)
		o.Calls = append(o.Calls, part.Calls...)
	}
	return o
}

type outlineKey struct{}

// linedOutline is the outline of a statement for one line that it may stand in.
type linedOutline struct {
	Outline
	line int
}

// moveTo puts the places right for a line that the statement begins in.
func (o *linedOutline) moveTo(line int) {
	by := line - o.line
	o.line = line
	move := func(spans ...*diag.Span) {
		for _, s := range spans {
			s.Start.Line += by
			s.End.Line += by
		}
	}
	for i := range o.Loads {
		l := &o.Loads[i]
		move(&l.Span)
		for j := range l.Names {
			move(&l.Names[j].Span, &l.Names[j].AsSpan)
		}
	}
	for i := range o.Definitions {
		d := &o.Definitions[i]
		move(&d.Span, &d.Range)
		for j := range d.Params {
			move(&d.Params[j].Span)
		}
	}
	for i := range o.Calls {
		move(&o.Calls[i].Span, &o.Calls[i].Range)
	}
}

func (o *linedOutline) read(path string, s *Statement) {
	*o = linedOutline{Outline{Path: path}, s.Line}
	for _, stmt := range s.Stmts() {
		o.define(stmt)
		o.calls(stmt)
	}
}

func (o *Outline) define(stmt syntax.Stmt) {
	switch s := stmt.(type) {
	case *syntax.LoadStmt:
		o.load(s)
	case *syntax.DefStmt:
		doc := docOf(s.Body)
		o.Definitions = append(o.Definitions, Definition{
			Name: s.Name.Name, Kind: Function, Span: nodeSpan(o.Path, s.Name), Range: nodeSpan(o.Path, s),
			Doc: doc, Params: parameters(o.Path, s.Params, doc), Def: s,
		})
	case *syntax.AssignStmt:
		if s.Op != syntax.EQ {
			return
		}
		if id, ok := unparen(s.LHS).(*syntax.Ident); ok {
			o.variable(id, s, s.RHS)
			return
		}
		for _, id := range bound(s.LHS, nil) {
			o.variable(id, s, nil)
		}
	case *syntax.ForStmt:
		for _, id := range bound(s.Vars, nil) {
			o.variable(id, s, nil)
		}
		o.defineAll(s.Body)
	case *syntax.IfStmt:
		o.defineAll(s.True)
		o.defineAll(s.False)
	case *syntax.WhileStmt:
		o.defineAll(s.Body)
	}
}

func (o *Outline) defineAll(stmts []syntax.Stmt) {
	for _, s := range stmts {
		o.define(s)
	}
}

func (o *Outline) variable(id *syntax.Ident, stmt syntax.Stmt, value syntax.Expr) {
	o.Definitions = append(o.Definitions, Definition{
		Name: id.Name, Kind: Variable, Span: nodeSpan(o.Path, id), Range: nodeSpan(o.Path, stmt), Value: value,
	})
}

func (o *Outline) load(s *syntax.LoadStmt) {
	l := Load{Module: s.ModuleName(), Span: nodeSpan(o.Path, s.Module)}
	for i, from := range s.From {
		n := LoadName{Name: from.Name, As: s.To[i].Name, Span: nodeSpan(o.Path, from), AsSpan: nodeSpan(o.Path, s.To[i])}
		l.Names = append(l.Names, n)
		o.Definitions = append(o.Definitions, Definition{Name: n.As, Kind: Loaded, Span: n.AsSpan, Range: nodeSpan(o.Path, s), Module: l.Module})
	}
	o.Loads = append(o.Loads, l)
}

func (o *Outline) calls(stmt syntax.Stmt) {
	target := ""
	var value syntax.Expr
	if a, ok := stmt.(*syntax.AssignStmt); ok {
		if id, ok := a.LHS.(*syntax.Ident); ok {
			target, value = id.Name, a.RHS
		}
	}
	syntax.Walk(stmt, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok {
			return true
		}
		if name := DottedName(call.Fn); name != "" {
			c := Call{Callee: name, Span: nodeSpan(o.Path, call.Fn), Range: nodeSpan(o.Path, call), Expr: call}
			if value == syntax.Expr(call) {
				c.Target = target
			}
			o.Calls = append(o.Calls, c)
		}
		return true
	})
}

// DottedName is "a.b.c" for a name or attributes of a name, else "".
func DottedName(e syntax.Expr) string {
	switch e := e.(type) {
	case *syntax.Ident:
		return e.Name
	case *syntax.DotExpr:
		if x := DottedName(e.X); x != "" {
			return x + "." + e.Name.Name
		}
	}
	return ""
}

// parameters are the parameters of a def or lambda.
func parameters(path string, params []syntax.Expr, doc Doc) []Parameter {
	var list []Parameter
	kind := Ordinary
	add := func(id *syntax.Ident, kind ParameterKind, value syntax.Expr) {
		list = append(list, Parameter{Name: id.Name, Span: nodeSpan(path, id), Default: value, Kind: kind, Doc: doc.Arg(id.Name)})
	}
	for _, p := range params {
		switch p := p.(type) {
		case *syntax.Ident:
			add(p, kind, nil)
		case *syntax.BinaryExpr:
			add(p.X.(*syntax.Ident), kind, p.Y)
		case *syntax.UnaryExpr:
			if p.Op == syntax.STAR {
				kind = KeywordOnly
			}
			if id, ok := p.X.(*syntax.Ident); ok {
				star := Args
				if p.Op == syntax.STARSTAR {
					star = Kwargs
				}
				add(id, star, nil)
			}
		}
	}
	return list
}

// bound are the names that an assignment to e binds.
func bound(e syntax.Expr, ids []*syntax.Ident) []*syntax.Ident {
	switch e := e.(type) {
	case *syntax.Ident:
		ids = append(ids, e)
	case *syntax.ParenExpr:
		ids = bound(e.X, ids)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			ids = bound(x, ids)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			ids = bound(x, ids)
		}
	}
	return ids
}

func unparen(e syntax.Expr) syntax.Expr {
	for {
		p, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}
