package lsp

// Which name means what: bindings with all places where they are written and read.

import (
	"go.starlark.net/syntax"
)

// names are the bindings of one file.
type names struct {
	doc      *document
	globals  *nameScope
	bindings []*binding
	keywords []keywordUse
}

// binding is one name of one scope.
type binding struct {
	name     string
	global   bool
	scope    *nameScope
	places   []place
	module   string // of a loaded name
	original string // its name there
	from     place  // where the load statement says so
	def      *syntax.DefStmt
	params   map[string]*binding // of a def
	function *binding            // that it is a parameter of
}

// place is one occurrence, as offsets.
type place struct {
	start, end int
	write      bool
}

// keywordUse is a keyword in a call of a bound name.
type keywordUse struct {
	function *binding
	name     string
	place    place
}

type nameScope struct {
	parent *nameScope
	names  map[string]*binding
}

func (s *nameScope) lookup(name string) *binding {
	for ; s != nil; s = s.parent {
		if b := s.names[name]; b != nil {
			return b
		}
	}
	return nil
}

// namesOf reads the names of a file; those of statements that do not parse are missing.
func namesOf(a *analysis) *names {
	n := &names{doc: a.doc, globals: &nameScope{names: map[string]*binding{}}}
	stmts := a.file.Stmts()
	n.collect(n.globals, stmts)
	n.stmts(n.globals, stmts)
	for _, k := range n.keywords {
		if p := k.function.params[k.name]; p != nil {
			p.places = append(p.places, k.place)
		}
	}
	return n
}

func (n *names) declare(s *nameScope, name string) *binding {
	b := s.names[name]
	if b == nil {
		b = &binding{name: name, global: s == n.globals, scope: s}
		s.names[name] = b
		n.bindings = append(n.bindings, b)
	}
	return b
}

// collect declares what statements bind in a scope.
func (n *names) collect(s *nameScope, stmts []syntax.Stmt) {
	for _, stmt := range stmts {
		switch t := stmt.(type) {
		case *syntax.AssignStmt:
			n.collectTarget(s, t.LHS)
		case *syntax.DefStmt:
			n.declare(s, t.Name.Name).def = t
		case *syntax.LoadStmt:
			for i, to := range t.To {
				b := n.declare(s, to.Name)
				b.module, b.original, b.from = t.ModuleName(), t.From[i].Name, n.place(t.From[i], false)
			}
		case *syntax.ForStmt:
			n.collectTarget(s, t.Vars)
			n.collect(s, t.Body)
		case *syntax.WhileStmt:
			n.collect(s, t.Body)
		case *syntax.IfStmt:
			n.collect(s, t.True)
			n.collect(s, t.False)
		}
	}
}

func (n *names) collectTarget(s *nameScope, e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Ident:
		n.declare(s, e.Name)
	case *syntax.ParenExpr:
		n.collectTarget(s, e.X)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			n.collectTarget(s, x)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			n.collectTarget(s, x)
		}
	}
}

func (n *names) place(id *syntax.Ident, write bool) place {
	start := n.doc.offsetOf(int(id.NamePos.Line), int(id.NamePos.Col))
	return place{start, start + len(id.Name), write}
}

func (n *names) note(s *nameScope, id *syntax.Ident, write bool) {
	if b := s.lookup(id.Name); b != nil {
		b.places = append(b.places, n.place(id, write))
	}
}

func (n *names) stmts(s *nameScope, stmts []syntax.Stmt) {
	for _, stmt := range stmts {
		switch t := stmt.(type) {
		case *syntax.AssignStmt:
			n.target(s, t.LHS)
			n.expr(s, t.RHS)
		case *syntax.ExprStmt:
			n.expr(s, t.X)
		case *syntax.DefStmt:
			n.note(s, t.Name, true)
			b := s.names[t.Name.Name]
			inner := n.function(s, t.Params, t.Body, b)
			n.stmts(inner, t.Body)
		case *syntax.LoadStmt:
			for _, to := range t.To {
				n.note(s, to, true)
			}
		case *syntax.ForStmt:
			n.target(s, t.Vars)
			n.expr(s, t.X)
			n.stmts(s, t.Body)
		case *syntax.WhileStmt:
			n.expr(s, t.Cond)
			n.stmts(s, t.Body)
		case *syntax.IfStmt:
			n.expr(s, t.Cond)
			n.stmts(s, t.True)
			n.stmts(s, t.False)
		case *syntax.ReturnStmt:
			if t.Result != nil {
				n.expr(s, t.Result)
			}
		}
	}
}

// function makes the scope of a def (b is its name) or lambda (b is nil).
func (n *names) function(s *nameScope, params []syntax.Expr, body []syntax.Stmt, b *binding) *nameScope {
	inner := &nameScope{parent: s, names: map[string]*binding{}}
	for _, p := range params {
		var id *syntax.Ident
		switch p := p.(type) {
		case *syntax.Ident:
			id = p
		case *syntax.BinaryExpr:
			id, _ = p.X.(*syntax.Ident)
			n.expr(s, p.Y)
		case *syntax.UnaryExpr:
			id, _ = p.X.(*syntax.Ident)
		}
		if id == nil {
			continue
		}
		param := n.declare(inner, id.Name)
		param.places = append(param.places, n.place(id, true))
		if b != nil {
			param.function = b
			if b.params == nil {
				b.params = map[string]*binding{}
			}
			b.params[id.Name] = param
		}
	}
	n.collect(inner, body)
	return inner
}

func (n *names) target(s *nameScope, e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Ident:
		n.note(s, e, true)
	case *syntax.ParenExpr:
		n.target(s, e.X)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			n.target(s, x)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			n.target(s, x)
		}
	default:
		n.expr(s, e)
	}
}

func (n *names) expr(s *nameScope, e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Ident:
		n.note(s, e, false)
	case *syntax.DotExpr:
		n.expr(s, e.X)
	case *syntax.CallExpr:
		n.expr(s, e.Fn)
		var function *binding
		if id, ok := e.Fn.(*syntax.Ident); ok {
			function = s.lookup(id.Name)
		}
		for _, arg := range e.Args {
			if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
				if id, ok := b.X.(*syntax.Ident); ok {
					if function != nil {
						n.keywords = append(n.keywords, keywordUse{function, id.Name, n.place(id, false)})
					}
					n.expr(s, b.Y)
					continue
				}
			}
			n.expr(s, arg)
		}
	case *syntax.LambdaExpr:
		n.expr(n.function(s, e.Params, nil, nil), e.Body)
	case *syntax.Comprehension:
		inner := &nameScope{parent: s, names: map[string]*binding{}}
		for i, clause := range e.Clauses {
			switch clause := clause.(type) {
			case *syntax.ForClause:
				if i == 0 {
					n.expr(s, clause.X)
				} else {
					n.expr(inner, clause.X)
				}
				n.collectTarget(inner, clause.Vars)
				n.target(inner, clause.Vars)
			case *syntax.IfClause:
				n.expr(inner, clause.Cond)
			}
		}
		n.expr(inner, e.Body)
	case nil:
	default:
		for _, x := range children(e) {
			n.expr(s, x)
		}
	}
}

// children are the expressions directly inside one that binds nothing.
func children(e syntax.Expr) []syntax.Expr {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		return []syntax.Expr{e.X}
	case *syntax.UnaryExpr:
		return []syntax.Expr{e.X}
	case *syntax.BinaryExpr:
		return []syntax.Expr{e.X, e.Y}
	case *syntax.CondExpr:
		return []syntax.Expr{e.Cond, e.True, e.False}
	case *syntax.IndexExpr:
		return []syntax.Expr{e.X, e.Y}
	case *syntax.SliceExpr:
		return []syntax.Expr{e.X, e.Lo, e.Hi, e.Step}
	case *syntax.ListExpr:
		return e.List
	case *syntax.TupleExpr:
		return e.List
	case *syntax.DictExpr:
		return e.List
	case *syntax.DictEntry:
		return []syntax.Expr{e.Key, e.Value}
	}
	return nil
}

// at is the binding with an occurrence at an offset, nil for none.
func (n *names) at(offset int) (*binding, place) {
	for _, b := range n.bindings {
		for _, p := range b.places {
			if p.start <= offset && offset <= p.end {
				return b, p
			}
		}
		if b.module != "" && b.from.start <= offset && offset <= b.from.end {
			return b, b.from
		}
	}
	return nil, place{}
}
