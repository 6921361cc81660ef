package interp

// What is known of names and expressions without running them.

import (
	"reflect"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Inference answers what the expressions of one file are. It works lazily and
// is for one goroutine. [Inference.Update] takes it to the next version of the file.
type Inference struct {
	file     *File
	env      Env
	globals  *scope
	facts    []*facts        // one for each statement
	broken   map[string]bool // names in statements that did not parse
	assigned map[string]bool // names that those may assign
	anyName  bool            // a load did not parse: it may define any name
	loads    map[string]loaded
}

type loaded struct {
	outline *Outline
	shapes  map[string]Shape
}

// scope is a block of names: the file, a function, a lambda or a comprehension.
type scope struct {
	parent *scope
	names  map[string]*binding
	owner  *facts // of the statement that is being bound, in the scope of the file; else nil
}

func (s *scope) lookup(name string) *binding {
	for ; s != nil; s = s.parent {
		if b := s.names[name]; b != nil {
			return b
		}
	}
	return nil
}

// binding is a name with everything that is assigned to it in its scope.
type binding struct {
	origins []origin
	state   uint8 // 0 = not asked yet, 1 = being worked out, 2 = known
	shape   Shape
	global  string // its name when it is one of the file's
}

// origin is one assignment: an expression in a scope, or a shape.
type origin struct {
	value syntax.Expr
	scope *scope
	shape Shape
	owner *facts // of globals
}

// Infer prepares what is known of the names of f.
func Infer(f *File, env Env) *Inference {
	inf := &Inference{file: f, env: env, loads: map[string]loaded{}}
	inf.globals = &scope{names: map[string]*binding{}}
	inf.facts = make([]*facts, len(f.Statements))
	for i := range f.Statements {
		inf.facts[i] = inf.bindStatement(&f.Statements[i])
	}
	inf.findBroken()
	return inf
}

// targets are the names that a statement which does not parse may assign: what stands on a line before an equals sign,
// or inside brackets right before one, and what def and for name.
func targets(toks []token) []string {
	var names, line []string
	for i := range toks {
		t := &toks[i]
		switch {
		case t.kind == newlineToken && t.depth == 0:
			line = nil
		case t.kind == nameToken && i > 0 && (toks[i-1].is("def") || toks[i-1].is("load")):
			names = append(names, t.text)
		case t.kind == nameToken:
			line = append(line, t.text)
			if t.text == "in" {
				names = append(names, line...) // of a for
			}
		case t.kind != opToken || len(line) == 0:
		case strings.HasSuffix(t.text, "=") && t.text != "==" && t.text != "!=" && t.text != "<=" && t.text != ">=":
			if t.depth > 0 {
				names = append(names, line[len(line)-1])
			} else {
				names = append(names, line...)
			}
		}
	}
	return names
}

// Of reports whether inf is for this version of its file.
func (inf *Inference) Of(f *File) bool { return inf.file == f }

// Defines reports whether the file binds a global name.
func (inf *Inference) Defines(name string) bool { return inf.globals.names[name] != nil }

// Globals are the names that the file defines for others, with their shapes
// (nil when unknown).
func (inf *Inference) Globals() map[string]Shape {
	shapes := map[string]Shape{}
	for name, b := range inf.globals.names {
		shapes[name] = inf.shapeOf(b)
	}
	for _, f := range inf.facts {
		if len(f.modules) == 0 {
			continue
		}
		for _, name := range f.defs {
			delete(shapes, name)
		}
	}
	return shapes
}

// Shape is what is known of an expression that stands at pos, which says whose
// local names it may use.
func (inf *Inference) Shape(e syntax.Expr, pos diag.Position) Shape {
	return inf.infer(inf.scopeAt(pos), e)
}

// Names are the names visible at pos with their shapes: those of the enclosing functions, of the file, and
// of the environment.
func (inf *Inference) Names(pos diag.Position) map[string]Shape {
	names := map[string]Shape{}
	for name := range starlark.Universe {
		names[name] = nil
	}
	for name, shape := range inf.env.Globals {
		names[name] = shape
	}
	var scopes []*scope
	for s := inf.scopeAt(pos); s != nil; s = s.parent {
		scopes = append(scopes, s)
	}
	for i := len(scopes) - 1; i >= 0; i-- {
		for name, b := range scopes[i].names {
			names[name] = inf.shapeOf(b)
		}
	}
	return names
}

// Visible are the names of Names, sorted, without working out what they are.
func (inf *Inference) Visible(pos diag.Position) []string {
	names := starlark.Universe.Keys()
	for name := range inf.env.Globals {
		names = append(names, name)
	}
	for s := inf.scopeAt(pos); s != nil; s = s.parent {
		for name := range s.names {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// scopeAt is the innermost function scope at pos.
func (inf *Inference) scopeAt(pos diag.Position) *scope {
	s := inf.globals
	i := inf.file.StatementAt(pos.Line)
	if i < 0 {
		return s
	}
	for _, stmt := range inf.file.Statements[i].Stmts() {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			if n == nil || !covers(n, pos) {
				return false
			}
			switch n := n.(type) {
			case *syntax.DefStmt:
				s = inf.functionScope(s, n.Params, n.Body)
			case *syntax.LambdaExpr:
				s = inf.functionScope(s, n.Params, nil)
			case *syntax.Comprehension:
				s = comprehensionScope(s, n)
			}
			return true
		})
	}
	return s
}

// covers is inSpan with the end included, where a cursor may stand.
func covers(n syntax.Node, pos diag.Position) bool {
	_, end := n.Span()
	return inSpan(n, pos) || pos.Line == int(end.Line) && pos.Col == int(end.Col)
}

// bind notes the names that a statement binds in s.
func (inf *Inference) bind(s *scope, stmt syntax.Stmt) {
	switch n := stmt.(type) {
	case *syntax.AssignStmt:
		lhs := unparen(n.LHS)
		if id, ok := lhs.(*syntax.Ident); ok && n.Op == syntax.EQ {
			s.add(id.Name, origin{value: n.RHS, scope: s})
			return
		}
		for _, id := range bound(lhs, nil) {
			s.add(id.Name, origin{})
		}
	case *syntax.DefStmt:
		s.add(n.Name.Name, origin{shape: &functionShape{inf: inf, scope: s, def: n}})
	case *syntax.LoadStmt:
		if s.owner != nil {
			s.owner.modules = append(s.owner.modules, n.ModuleName())
		}
		for i, from := range n.From {
			s.add(n.To[i].Name, origin{shape: inf.load(n.ModuleName()).shapes[from.Name]})
		}
	case *syntax.ForStmt:
		for _, id := range bound(n.Vars, nil) {
			s.add(id.Name, origin{})
		}
		inf.bindAll(s, n.Body)
	case *syntax.WhileStmt:
		inf.bindAll(s, n.Body)
	case *syntax.IfStmt:
		inf.bindAll(s, n.True)
		inf.bindAll(s, n.False)
	}
}

func (inf *Inference) bindAll(s *scope, stmts []syntax.Stmt) {
	for _, stmt := range stmts {
		inf.bind(s, stmt)
	}
}

func (s *scope) add(name string, o origin) {
	b := s.names[name]
	if b == nil {
		b = &binding{}
		if s.owner != nil {
			b.global = name
		}
		s.names[name] = b
	}
	if s.owner != nil {
		o.owner = s.owner
		s.owner.defs = append(s.owner.defs, name)
	}
	b.origins = append(b.origins, o)
}

func (inf *Inference) load(module string) loaded {
	l, ok := inf.loads[module]
	if !ok && inf.env.Load != nil {
		l.outline, l.shapes = inf.env.Load(module)
		inf.loads[module] = l
	}
	return l
}

// functionScope is the scope inside a def or lambda in s.
func (inf *Inference) functionScope(s *scope, params []syntax.Expr, body []syntax.Stmt) *scope {
	inner := &scope{parent: s, names: map[string]*binding{}}
	for _, p := range params {
		switch p := p.(type) {
		case *syntax.Ident:
			inner.add(p.Name, origin{})
		case *syntax.BinaryExpr:
			inner.add(p.X.(*syntax.Ident).Name, origin{})
		case *syntax.UnaryExpr:
			if id, ok := p.X.(*syntax.Ident); ok {
				inner.add(id.Name, origin{})
			}
		}
	}
	inf.bindAll(inner, body)
	return inner
}

func comprehensionScope(s *scope, c *syntax.Comprehension) *scope {
	inner := &scope{parent: s, names: map[string]*binding{}}
	for _, clause := range c.Clauses {
		if f, ok := clause.(*syntax.ForClause); ok {
			for _, id := range bound(f.Vars, nil) {
				inner.add(id.Name, origin{})
			}
		}
	}
	return inner
}

// shapeOf is the shape that all assignments to a name agree on.
func (inf *Inference) shapeOf(b *binding) Shape {
	if b.state == 2 {
		return b.shape
	}
	if b.state == 1 {
		return nil // defined by itself
	}
	b.state = 1
	var shape Shape
	if b.global != "" && inf.assigned[b.global] {
		b.state, b.shape = 2, nil
		return nil // a statement that does not parse may assign something else
	}
	for i, o := range b.origins {
		s := o.shape
		if o.value != nil {
			s = inf.infer(o.scope, o.value)
		}
		if s == nil || i > 0 && !same(shape, s) {
			shape = nil
			break
		}
		shape = s
	}
	b.state, b.shape = 2, shape
	return shape
}

// same reports whether two shapes are surely of the same kind.
func same(a, b Shape) bool {
	if a == nil || b == nil {
		return false
	}
	t := reflect.TypeOf(a)
	return t == reflect.TypeOf(b) && t.Comparable() && a == b
}

// name is the shape of a name used in s; ok is false when there is no such name.
func (inf *Inference) name(s *scope, name string) (shape Shape, ok bool) {
	if b := s.lookup(name); b != nil {
		return inf.shapeOf(b), true
	}
	if shape, ok := inf.env.Globals[name]; ok {
		return shape, true
	}
	return nil, inf.anyName || inf.broken[name] || starlark.Universe.Has(name)
}

// infer is the shape of an expression in s, nil when unknown.
func (inf *Inference) infer(s *scope, e syntax.Expr) Shape {
	switch e := e.(type) {
	case *syntax.Ident:
		shape, _ := inf.name(s, e.Name)
		return shape
	case *syntax.ParenExpr:
		return inf.infer(s, e.X)
	case *syntax.DotExpr:
		if x := inf.infer(s, e.X); x != nil {
			if m, ok := x.Member(e.Name.Name); ok {
				return m
			}
		}
	case *syntax.CallExpr:
		return inf.call(s, e)
	case *syntax.Literal:
		if e.Token == syntax.STRING {
			return StringShape
		}
	case *syntax.ListExpr:
		return ListShape
	case *syntax.DictExpr:
		return DictShape
	case *syntax.Comprehension:
		if e.Curly {
			return DictShape
		}
		return ListShape
	case *syntax.CondExpr:
		a, b := inf.infer(s, e.True), inf.infer(s, e.False)
		if same(a, b) {
			return a
		}
	case *syntax.BinaryExpr:
		x := inf.infer(s, e.X)
		if e.Op == syntax.PERCENT && x == Shape(StringShape) {
			return StringShape
		}
		if e.Op == syntax.PLUS && (x == Shape(StringShape) || x == Shape(ListShape)) && inf.infer(s, e.Y) == x {
			return x
		}
	}
	return nil
}

func (inf *Inference) call(s *scope, e *syntax.CallExpr) Shape {
	if id, ok := e.Fn.(*syntax.Ident); ok && id.Name == "struct" && s.lookup("struct") == nil {
		if _, ok := inf.env.Globals["struct"]; ok {
			return inf.structOf(s, e)
		}
	}
	if fn := inf.infer(s, e.Fn); fn != nil {
		if sig := fn.Signature(); sig != nil {
			return sig.Result
		}
	}
	return nil
}

func (inf *Inference) structOf(s *scope, e *syntax.CallExpr) Shape {
	shape := &structShape{names: []string{}, fields: map[string]Shape{}}
	for _, arg := range e.Args {
		name, value := argument(arg)
		if name == nil {
			return nil
		}
		shape.names = append(shape.names, name.Name)
		shape.fields[name.Name] = inf.infer(s, value)
	}
	return shape
}

// result is what a function returns, when all its returns agree.
func (inf *Inference) result(s *scope, def *syntax.DefStmt) Shape {
	var returns []*syntax.ReturnStmt
	for _, stmt := range def.Body {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.DefStmt, *syntax.LambdaExpr:
				return false
			case *syntax.ReturnStmt:
				returns = append(returns, n)
			}
			return true
		})
	}
	if len(returns) == 0 {
		return nil
	}
	inner := inf.functionScope(s, def.Params, def.Body)
	var shape Shape
	for i, r := range returns {
		if r.Result == nil {
			return nil
		}
		got := inf.infer(inner, r.Result)
		if got == nil || i > 0 && !same(shape, got) {
			return nil
		}
		shape = got
	}
	return shape
}
