package format

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"sst/starlark/scan"
)

// sameTree reports whether two files say the same: places and the spelling of
// literals aside.
func sameTree(a, b *syntax.File) bool { return bytes.Equal(said(a), said(b)) }

// said writes a tree in prefix form with the lengths of its lists.
func said(f *syntax.File) []byte {
	var b []byte
	num := func(n ...int) {
		for _, n := range n {
			b = append(b, byte(n), byte(n>>8), byte(n>>16))
		}
	}
	text := func(s string) {
		num(len(s))
		b = append(b, s...)
	}
	has := func(e syntax.Expr) int {
		if e == nil {
			return 0
		}
		return 1
	}
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case nil:
			b = append(b, ')')
		case *syntax.File:
			num(len(n.Stmts))
		case *syntax.Ident:
			b = append(b, 'i')
			text(n.Name)
		case *syntax.Literal:
			b = append(b, 'l', byte(n.Token))
			switch v := n.Value.(type) {
			case string:
				text(v)
			default:
				text(fmt.Sprintf("%T %v", v, v))
			}
		case *syntax.AssignStmt:
			b = append(b, '=', byte(n.Op))
		case *syntax.BranchStmt:
			b = append(b, 'b', byte(n.Token))
		case *syntax.DefStmt:
			b = append(b, 'd')
			num(len(n.Params), len(n.Body))
		case *syntax.ExprStmt:
			b = append(b, 'e')
		case *syntax.IfStmt:
			b = append(b, '?')
			num(len(n.True), len(n.False))
		case *syntax.LoadStmt:
			b = append(b, 'L')
			num(len(n.From))
			text(n.ModuleName())
			for i := range n.From {
				text(n.From[i].Name)
				text(n.To[i].Name)
			}
		case *syntax.ForStmt:
			b = append(b, 'f')
			num(len(n.Body))
		case *syntax.WhileStmt:
			b = append(b, 'w')
			num(len(n.Body))
		case *syntax.ReturnStmt:
			b = append(b, 'r')
			num(has(n.Result))
		case *syntax.BinaryExpr:
			b = append(b, '2', byte(n.Op))
		case *syntax.UnaryExpr:
			b = append(b, '1', byte(n.Op))
			num(has(n.X))
		case *syntax.CallExpr:
			b = append(b, '(')
			num(len(n.Args))
		case *syntax.Comprehension:
			b = append(b, 'c')
			if n.Curly {
				b = append(b, '{')
			}
			num(len(n.Clauses))
		case *syntax.ForClause:
			b = append(b, 'F')
		case *syntax.IfClause:
			b = append(b, 'I')
		case *syntax.CondExpr:
			b = append(b, ':')
		case *syntax.DictEntry:
			b = append(b, ';')
		case *syntax.DictExpr:
			b = append(b, '{')
			num(len(n.List))
		case *syntax.DotExpr:
			b = append(b, '.')
		case *syntax.IndexExpr:
			b = append(b, '[')
		case *syntax.LambdaExpr:
			b = append(b, '\\')
			num(len(n.Params))
		case *syntax.ListExpr:
			b = append(b, ']')
			num(len(n.List))
		case *syntax.ParenExpr:
			b = append(b, 'p')
		case *syntax.SliceExpr:
			b = append(b, 's')
			num(has(n.Lo), has(n.Hi), has(n.Step))
		case *syntax.TupleExpr:
			b = append(b, 't')
			num(len(n.List))
		default:
			panic(fmt.Sprintf("unknown node %T", n))
		}
		return true
	})
	return b
}

// sameComments reports whether two texts have the same comments in the same order.
func sameComments(a, b []byte) bool {
	if bytes.IndexByte(a, '#') < 0 {
		return true
	}
	return slices.Equal(comments(a), comments(b))
}

func comments(text []byte) []string {
	var list []string
	for _, t := range scan.Tokens(text) {
		if t.Kind == scan.Comment {
			list = append(list, strings.TrimRight(t.Text(text), " \t\r"))
		}
	}
	return list
}
