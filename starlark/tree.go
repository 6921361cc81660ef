package interp

// What a statement parsed to, kept while the text around it changes.

import "go.starlark.net/syntax"

// tree is what the text of a chunk parses to. An editor moves a statement up and down far more often than it changes it, so
// that a tree is parsed once and carried along: its positions are put right when somebody looks at it.
type tree struct {
	stmts []syntax.Stmt
	line  int // of the chunk, that the positions are for
	notes Notes
}

// moveTo puts the positions right for a chunk that begins in a line.
func (t *tree) moveTo(line int) {
	by := lines(line - t.line)
	if by == 0 {
		return
	}
	t.line = line
	for _, stmt := range t.stmts {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			move(n, by)
			return true
		})
	}
}

// move moves one node by lines. What its children are asked for is left to their own turn.
func move(n syntax.Node, by lines) {
	switch n := n.(type) {
	case *syntax.AssignStmt:
		by.move(&n.OpPos)
	case *syntax.BranchStmt:
		by.move(&n.TokenPos)
	case *syntax.DefStmt:
		by.move(&n.Def)
		by.move(&n.Lparen)
		by.move(&n.Rparen)
	case *syntax.IfStmt:
		by.move(&n.If)
		by.move(&n.ElsePos)
	case *syntax.LoadStmt:
		by.move(&n.Load)
		by.move(&n.Rparen)
		for i, from := range n.From {
			if from == n.To[i] {
				lines(-by).move(&from.NamePos) // it will be moved twice
			}
		}
	case *syntax.ForStmt:
		by.move(&n.For)
	case *syntax.WhileStmt:
		by.move(&n.While)
	case *syntax.ReturnStmt:
		by.move(&n.Return)
	case *syntax.Ident:
		by.move(&n.NamePos)
	case *syntax.Literal:
		by.move(&n.TokenPos)
	case *syntax.ParenExpr:
		by.move(&n.Lparen)
		by.move(&n.Rparen)
	case *syntax.CallExpr:
		by.move(&n.Lparen)
		by.move(&n.Rparen)
	case *syntax.DotExpr:
		by.move(&n.Dot)
		by.move(&n.NamePos)
	case *syntax.Comprehension:
		by.move(&n.Lbrack)
		by.move(&n.Rbrack)
	case *syntax.ForClause:
		by.move(&n.For)
		by.move(&n.In)
	case *syntax.IfClause:
		by.move(&n.If)
	case *syntax.DictExpr:
		by.move(&n.Lbrace)
		by.move(&n.Rbrace)
	case *syntax.DictEntry:
		by.move(&n.Colon)
	case *syntax.LambdaExpr:
		by.move(&n.Lambda)
	case *syntax.ListExpr:
		by.move(&n.Lbrack)
		by.move(&n.Rbrack)
	case *syntax.CondExpr:
		by.move(&n.If)
		by.move(&n.ElsePos)
	case *syntax.TupleExpr:
		by.move(&n.Lparen)
		by.move(&n.Rparen)
	case *syntax.UnaryExpr:
		by.move(&n.OpPos)
	case *syntax.BinaryExpr:
		by.move(&n.OpPos)
	case *syntax.SliceExpr:
		by.move(&n.Lbrack)
		by.move(&n.Rbrack)
	case *syntax.IndexExpr:
		by.move(&n.Lbrack)
		by.move(&n.Rbrack)
	}
}

// lines are how far something moves.
type lines int32

// move moves a position, unless there is none: the parser leaves some out.
func (by lines) move(p *syntax.Position) {
	if p.Line > 0 {
		p.Line += int32(by)
	}
}

// Notes are what somebody worked out of a statement, by a key of his own. They are for one goroutine at a time.
type Notes struct {
	keys   []any
	values []any
}

// Get gives what is noted under a key, and makes it at the first time.
func Get[T any](n *Notes, key any, make func() T) T {
	for i, k := range n.keys {
		if k == key {
			return n.values[i].(T)
		}
	}
	value := make()
	n.keys, n.values = append(n.keys, key), append(n.values, value)
	return value
}

// Notes are about the text of the statement alone, so that they hold as long as it stays as it is, wherever it moves.
func (s *Statement) Notes() *Notes { return &s.tree.notes }
