package interp

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Check reports what is surely wrong in f without running it: unknown names,
// attributes, parameters and symbols of loaded files, missing and repeated
// parameters, literals of the wrong type. What it does not know it does not report. Errors of
// syntax are in f.Errors.
func Check(f *File, env Env) diag.List {
	return Infer(f, env).Check()
}

// Check is the function of that name with the work of Infer done already.
func (inf *Inference) Check() diag.List {
	found, _ := inf.CheckUntil(func() bool { return false })
	return found
}

// CheckUntil is Check that gives up when it is told to. What it has found out by then is not lost: the next one goes on there.
func (inf *Inference) CheckUntil(stop func() bool) (found diag.List, done bool) {
	for i, f := range inf.facts {
		if f.sound {
			continue
		}
		if stop() {
			return nil, false
		}
		c := &checker{inf: inf}
		c.stmts(inf.globals, inf.file.Statements[i].Stmts())
		f.sound = len(c.found) == 0 // else what it says depends on where it stands and on names that it has not
		found = append(found, c.found...)
	}
	return found.Sorted(), true
}

type checker struct {
	inf   *Inference
	found diag.List
}

func (c *checker) report(f *Failure, span diag.Span) {
	c.found = append(c.found, f.diagnostic(span))
}

func (c *checker) span(n syntax.Node) diag.Span { return nodeSpan(c.inf.file.Path, n) }

func (c *checker) stmts(s *scope, stmts []syntax.Stmt) {
	for _, stmt := range stmts {
		c.stmt(s, stmt)
	}
}

func (c *checker) stmt(s *scope, stmt syntax.Stmt) {
	switch n := stmt.(type) {
	case *syntax.AssignStmt:
		c.target(s, n.LHS, n.Op != syntax.EQ)
		c.expr(s, n.RHS)
	case *syntax.ExprStmt:
		c.expr(s, n.X)
	case *syntax.DefStmt:
		c.function(s, n.Params, n.Body)
	case *syntax.ForStmt:
		c.target(s, n.Vars, false)
		c.expr(s, n.X)
		c.stmts(s, n.Body)
	case *syntax.WhileStmt:
		c.expr(s, n.Cond)
		c.stmts(s, n.Body)
	case *syntax.IfStmt:
		c.expr(s, n.Cond)
		c.stmts(s, n.True)
		c.stmts(s, n.False)
	case *syntax.ReturnStmt:
		if n.Result != nil {
			c.expr(s, n.Result)
		}
	case *syntax.LoadStmt:
		c.load(n)
	}
}

func (c *checker) function(s *scope, params []syntax.Expr, body []syntax.Stmt) *scope {
	for _, p := range params {
		if b, ok := p.(*syntax.BinaryExpr); ok {
			c.expr(s, b.Y)
		}
	}
	inner := c.inf.functionScope(s, params, body)
	c.stmts(inner, body)
	return inner
}

// target checks what is evaluated on the left of an assignment; reads says
// that the names in it are read too.
func (c *checker) target(s *scope, e syntax.Expr, reads bool) {
	switch e := e.(type) {
	case *syntax.Ident:
		if reads {
			c.expr(s, e)
		}
	case *syntax.ParenExpr:
		c.target(s, e.X, reads)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			c.target(s, x, reads)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			c.target(s, x, reads)
		}
	case *syntax.DotExpr:
		c.expr(s, e.X) // whether the attribute can be set is not known here
	case *syntax.IndexExpr:
		c.expr(s, e.X)
		c.expr(s, e.Y)
	}
}

func (c *checker) exprs(s *scope, list []syntax.Expr) {
	for _, e := range list {
		c.expr(s, e)
	}
}

func (c *checker) expr(s *scope, e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Ident:
		if _, ok := c.inf.name(s, e.Name); !ok {
			c.report(unknownName(e.Name, c.visible(s)), c.span(e))
		}
	case *syntax.DotExpr:
		c.expr(s, e.X)
		c.attribute(s, e)
	case *syntax.CallExpr:
		c.expr(s, e.Fn)
		for _, arg := range e.Args {
			_, x := argument(arg)
			if u, ok := x.(*syntax.UnaryExpr); ok && (u.Op == syntax.STAR || u.Op == syntax.STARSTAR) {
				x = u.X
			}
			c.expr(s, x)
		}
		if fn := c.inf.infer(s, e.Fn); fn != nil {
			if sig := fn.Signature(); sig != nil {
				c.call(s, e, sig)
			}
		}
	case *syntax.ParenExpr:
		c.expr(s, e.X)
	case *syntax.UnaryExpr:
		if e.X != nil {
			c.expr(s, e.X)
		}
	case *syntax.BinaryExpr:
		c.expr(s, e.X)
		c.expr(s, e.Y)
	case *syntax.CondExpr:
		c.expr(s, e.Cond)
		c.expr(s, e.True)
		c.expr(s, e.False)
	case *syntax.IndexExpr:
		c.expr(s, e.X)
		c.expr(s, e.Y)
	case *syntax.SliceExpr:
		c.expr(s, e.X)
		for _, x := range []syntax.Expr{e.Lo, e.Hi, e.Step} {
			if x != nil {
				c.expr(s, x)
			}
		}
	case *syntax.ListExpr:
		c.exprs(s, e.List)
	case *syntax.TupleExpr:
		c.exprs(s, e.List)
	case *syntax.DictExpr:
		c.exprs(s, e.List)
	case *syntax.DictEntry:
		c.expr(s, e.Key)
		c.expr(s, e.Value)
	case *syntax.LambdaExpr:
		c.expr(c.function(s, e.Params, nil), e.Body)
	case *syntax.Comprehension:
		c.comprehension(s, e)
	}
}

func (c *checker) comprehension(s *scope, e *syntax.Comprehension) {
	inner := comprehensionScope(s, e)
	for i, clause := range e.Clauses {
		switch n := clause.(type) {
		case *syntax.ForClause:
			if i == 0 {
				c.expr(s, n.X) // the first one does not see the names it binds
			} else {
				c.expr(inner, n.X)
			}
		case *syntax.IfClause:
			c.expr(inner, n.Cond)
		}
	}
	c.expr(inner, e.Body)
}

// visible are the names that can be used in s, sorted.
func (c *checker) visible(s *scope) []string {
	var names []string
	for ; s != nil; s = s.parent {
		for name := range s.names {
			names = append(names, name)
		}
	}
	for name := range c.inf.env.Globals {
		names = append(names, name)
	}
	names = append(names, starlark.Universe.Keys()...)
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *checker) attribute(s *scope, e *syntax.DotExpr) {
	x := c.inf.infer(s, e.X)
	if x == nil {
		return
	}
	members := x.Members()
	if members == nil {
		return
	}
	if _, ok := x.Member(e.Name.Name); !ok {
		c.report(unknownAttribute(x.Kind(), e.Name.Name, members), c.span(e.Name))
	}
}

func (c *checker) load(n *syntax.LoadStmt) {
	l := c.inf.load(n.ModuleName())
	for _, from := range n.From {
		span := c.span(from)
		if strings.HasPrefix(from.Name, "_") {
			c.report(Errorf("private-symbol", "Private symbol", "%q begins with an underscore and is not for other files.", from.Name), span)
			continue
		}
		if l.outline == nil || l.outline.Partial {
			continue
		}
		if _, ok := l.shapes[from.Name]; ok {
			continue
		}
		var known []string
		for _, d := range l.outline.Definitions {
			if d.Kind != Loaded && !strings.HasPrefix(d.Name, "_") {
				known = append(known, d.Name)
			}
		}
		if !slices.Contains(known, from.Name) {
			c.report(unknownSymbol(from.Name, n.ModuleName(), known), span)
		}
	}
}

// call checks the arguments of a call against a signature.
func (c *checker) call(s *scope, e *syntax.CallExpr, sig *Signature) {
	name := sig.Name
	if name == "" {
		name = DottedName(e.Fn)
	}
	byPosition := 0
	for byPosition < len(sig.Params) && !sig.Params[byPosition].KeywordOnly {
		byPosition++
	}
	given := make(map[string]bool, len(e.Args))
	positional, spread, spreadNames, tooMany := 0, false, false, false
	for _, arg := range e.Args {
		if u, ok := arg.(*syntax.UnaryExpr); ok && u.Op == syntax.STAR {
			spread = true
			continue
		} else if ok && u.Op == syntax.STARSTAR {
			spreadNames = true
			continue
		}
		key, value := argument(arg)
		if key != nil {
			c.keyword(s, name, sig, key, value, given)
			continue
		}
		if spread {
			continue // where it lands is not known
		}
		if positional < byPosition {
			p := &sig.Params[positional]
			given[p.Name] = true
			c.literal(s, p.Type, value, p.Name+" of "+name)
		} else if !sig.Variadic && !tooMany {
			tooMany = true
			c.report(tooManyPositionals(name, byPosition, countPositional(e), byPosition < len(sig.Params)), c.span(value))
		}
		positional++
	}
	if spread || spreadNames {
		return
	}
	var absent []string
	for _, p := range sig.Params {
		if p.Required && !given[p.Name] {
			absent = append(absent, p.Name)
		}
	}
	if absent != nil {
		c.report(missingParameters(name, absent), c.span(calleeOf(e)))
	}
}

func countPositional(e *syntax.CallExpr) int {
	n := 0
	for _, arg := range e.Args {
		if key, _ := argument(arg); key == nil {
			n++
		}
	}
	return n
}

// keyword checks one keyword argument.
func (c *checker) keyword(s *scope, function string, sig *Signature, key *syntax.Ident, value syntax.Expr, given map[string]bool) {
	if given[key.Name] {
		c.report(duplicateParameter(function, key.Name), c.span(key))
		return
	}
	i := slices.IndexFunc(sig.Params, func(p Param) bool { return p.Name == key.Name })
	switch {
	case i < 0 && !sig.Open:
		known := make([]string, 0, len(sig.Params))
		for _, p := range sig.Params[min(sig.PositionalOnly, len(sig.Params)):] {
			known = append(known, p.Name)
		}
		c.report(unknownParameter(function, key.Name, known), c.span(key))
	case i >= 0 && i < sig.PositionalOnly && !sig.Open:
		f := Errorf("positional-only", "Parameter has no name", "%s takes %q by position, as argument %d.", function, key.Name, i+1)
		c.report(f, c.span(key))
	case i >= 0:
		c.literal(s, sig.Params[i].Type, value, key.Name+" of "+function)
	}
	given[key.Name] = true
}

// literal checks an argument that is written out; what names it for people,
// "consumer of Queue".
func (c *checker) literal(s *scope, t Type, e syntax.Expr, what string) {
	e = unparen(e)
	if t == nil || !c.isLiteral(s, e) {
		return
	}
	before := len(c.found)
	if d, ok := e.(*syntax.DictExpr); ok {
		if st, ok := t.(StructType); ok {
			c.fields(s, st, d, what)
			return
		}
	}
	if el, ok := t.(ElemType); ok {
		c.elements(s, el.Elem(), e, what)
	}
	if len(c.found) > before {
		return
	}
	if ok, wanted := t.Accepts(e); !ok {
		if wanted == "" {
			wanted = t.String()
		}
		c.report(Errorf("wrong-type", "Wrong type", "%s takes %s, not %s.", what, wanted, describe(e)), c.span(e))
	}
}

func (c *checker) elements(s *scope, t Type, e syntax.Expr, what string) {
	var list []syntax.Expr
	switch e := e.(type) {
	case *syntax.ListExpr:
		list = e.List
	case *syntax.TupleExpr:
		list = e.List
	case *syntax.DictExpr:
		for _, entry := range e.List {
			list = append(list, entry.(*syntax.DictEntry).Value)
		}
	}
	for _, x := range list {
		c.literal(s, t, x, "an element of "+what)
	}
}

// fields checks a dict literal against the keys of a struct.
func (c *checker) fields(s *scope, t StructType, d *syntax.DictExpr, what string) {
	fields, open := t.Fields()
	given, complete := map[string]bool{}, true
	for _, entry := range d.List {
		entry := entry.(*syntax.DictEntry)
		l, ok := unparen(entry.Key).(*syntax.Literal)
		if !ok || l.Token != syntax.STRING {
			complete = false // a computed key may be any
			continue
		}
		key := l.Value.(string)
		given[key] = true
		i := slices.IndexFunc(fields, func(p Param) bool { return p.Name == key })
		if i >= 0 {
			c.literal(s, fields[i].Type, entry.Value, fmt.Sprintf("%q in %s", key, what))
		} else if !open {
			names := make([]string, len(fields))
			for i, p := range fields {
				names[i] = p.Name
			}
			f := Errorf("unknown-key", "Unknown key", "%s has no key %q.", what, key)
			f.Hint = didYouMean(diag.Nearest(key, names))
			c.report(f, c.span(l))
		}
	}
	var absent []string
	for _, p := range fields {
		if complete && p.Required && !given[p.Name] {
			absent = append(absent, fmt.Sprintf("%q", p.Name))
		}
	}
	if absent != nil {
		c.report(Errorf("missing-field", "Missing key", "%s needs %s.", what, enumerate(absent)), diag.Point(c.span(d).Start))
	}
}

// isLiteral reports whether the type of e can be read off its text.
func (c *checker) isLiteral(s *scope, e syntax.Expr) bool {
	switch e := e.(type) {
	case *syntax.Literal, *syntax.ListExpr, *syntax.DictExpr:
		return true
	case *syntax.TupleExpr:
		return true
	case *syntax.UnaryExpr:
		_, ok := e.X.(*syntax.Literal)
		return ok && (e.Op == syntax.MINUS || e.Op == syntax.PLUS)
	case *syntax.Ident:
		return (e.Name == "True" || e.Name == "False") && s.lookup(e.Name) == nil
	}
	return false
}

// describe is a literal in words.
func describe(e syntax.Expr) string {
	switch e := e.(type) {
	case *syntax.Literal:
		if len(e.Raw) <= 40 && !strings.Contains(e.Raw, "\n") {
			return e.Raw
		}
		return "a string"
	case *syntax.UnaryExpr:
		return e.Op.String() + describe(e.X)
	case *syntax.Ident:
		return e.Name
	case *syntax.ListExpr:
		return "a list"
	case *syntax.TupleExpr:
		return "a tuple"
	case *syntax.DictExpr:
		return "a dict"
	}
	return "this"
}
