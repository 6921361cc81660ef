package interp

import (
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Locate finds the part of the call at pos in src that keyword and value
// (either may be "") name. It parses src; [File.Locate] does not.
func Locate(src []byte, call diag.Position, keyword, value string) diag.Span {
	return Parse(call.File, src).Locate(call, keyword, 0, value)
}

// Locate refines a position of the evaluation, such as [Caller], to the part of the
// file that is meant. In a call that is the name of a keyword, the positional
// argument with a 1-based index, or the string literal equal to value inside the
// argument so named or else anywhere in the call; without any of them, or when it
// is not there, the callee. In a load statement it is the literal equal to value, else the path.
// Elsewhere it is the operator, attribute or name at pos.
func (f *File) Locate(pos diag.Position, keyword string, positional int, value string) diag.Span {
	switch n := f.nodeAt(pos).(type) {
	case *syntax.CallExpr:
		return f.inCall(n, keyword, positional, value)
	case *syntax.LoadStmt:
		for _, id := range n.From {
			if value != "" && id.Name == value {
				return f.stringSpan(id, pos)
			}
		}
		return nodeSpan(f.Path, n.Module)
	case *syntax.DotExpr:
		return nodeSpan(f.Path, n.Name)
	case *syntax.BinaryExpr:
		return spanOf(f.Path, n.OpPos, n.Op.String())
	case *syntax.AssignStmt:
		return nodeSpan(f.Path, n.LHS)
	case *syntax.IndexExpr:
		return nodeSpan(f.Path, n.Y)
	case *syntax.ForStmt:
		return nodeSpan(f.Path, n.X)
	case *syntax.ForClause:
		return nodeSpan(f.Path, n.X)
	case *syntax.Ident:
		return nodeSpan(f.Path, n)
	}
	return diag.Point(pos)
}

// stringSpan is the span of a name written as a string, quotes left out.
func (f *File) stringSpan(id *syntax.Ident, _ diag.Position) diag.Span {
	return spanOf(f.Path, id.NamePos, id.Name)
}

func (f *File) inCall(call *syntax.CallExpr, keyword string, positional int, value string) diag.Span {
	var in syntax.Node = call
	found := nodeSpan(f.Path, calleeOf(call))
	index := 0
	for _, arg := range call.Args {
		name, x := argument(arg)
		if name == nil {
			index++
		}
		switch {
		case name != nil && keyword != "" && name.Name == keyword:
			in, found = x, nodeSpan(f.Path, name)
		case name == nil && positional > 0 && index == positional:
			in, found = x, nodeSpan(f.Path, x)
		}
	}
	if value == "" {
		return found
	}
	if l := findString(in, value); l != nil {
		return nodeSpan(f.Path, l)
	}
	return found
}

// calleeOf is the part of a call that names what is called; for a.b(...) in a
// chain of calls over several lines that is the last name.
func calleeOf(call *syntax.CallExpr) syntax.Node {
	if dot, ok := call.Fn.(*syntax.DotExpr); ok {
		start, end := dot.Span()
		if start.Line != end.Line {
			return dot.Name
		}
	}
	return call.Fn
}

// argument takes a keyword argument apart; name is nil for any other.
func argument(arg syntax.Expr) (name *syntax.Ident, value syntax.Expr) {
	if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
		if id, ok := b.X.(*syntax.Ident); ok {
			return id, b.Y
		}
	}
	return nil, arg
}

// findString is the first string literal equal to value in n.
func findString(n syntax.Node, value string) *syntax.Literal {
	var found *syntax.Literal
	syntax.Walk(n, func(n syntax.Node) bool {
		if found != nil {
			return false
		}
		if l, ok := n.(*syntax.Literal); ok && l.Token == syntax.STRING && l.Value == value {
			found = l
		}
		return true
	})
	return found
}

// nodeAt is the node that the interpreter means by a position: calls are known
// by their parenthesis, operators by themselves, attributes by the dot.
func (f *File) nodeAt(pos diag.Position) syntax.Node {
	i := f.StatementAt(pos.Line)
	if i < 0 {
		return nil
	}
	at := func(p syntax.Position) bool { return int(p.Line) == pos.Line && int(p.Col) == pos.Col }
	var found, within syntax.Node
	for _, stmt := range f.Statements[i].Stmts() {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			if n == nil || found != nil {
				return false
			}
			switch n := n.(type) {
			case *syntax.CallExpr:
				if at(n.Lparen) {
					found = n
				} else if s := syntax.Start(n); at(s) && within == nil {
					within = n // a position someone else gave: the start of the call
				}
			case *syntax.DotExpr:
				if at(n.Dot) || at(n.Name.NamePos) {
					found = n
				}
			case *syntax.BinaryExpr:
				if at(n.OpPos) {
					found = n
				}
			case *syntax.IndexExpr:
				if at(n.Lbrack) {
					found = n
				}
			case *syntax.AssignStmt:
				if at(n.OpPos) {
					found = n
				}
			case *syntax.ForStmt:
				if at(n.For) {
					found = n
				}
			case *syntax.ForClause:
				if at(n.For) {
					found = n
				}
			case *syntax.LoadStmt:
				if at(n.Load) || inSpan(n, pos) {
					found = n
				}
			case *syntax.Ident:
				if at(n.NamePos) && within == nil {
					within = n
				}
			}
			return true
		})
	}
	if found != nil {
		return found
	}
	return within
}

// inSpan reports whether pos lies in n.
func inSpan(n syntax.Node, pos diag.Position) bool {
	start, end := n.Span()
	after := pos.Line > int(start.Line) || pos.Line == int(start.Line) && pos.Col >= int(start.Col)
	before := pos.Line < int(end.Line) || pos.Line == int(end.Line) && pos.Col < int(end.Col)
	return after && before
}
