package lsp

// What an editor shows in or around the text: names of positional arguments, links, selections that grow.

import (
	"strings"

	"go.lsp.dev/protocol"
	"go.lsp.dev/uri"
	"go.starlark.net/syntax"

	interp "sst/starlark"
	"sst/starlark/scan"
)

// inlayHint names the literal positional arguments of calls into the CDK: what a bare True or "x*" is for cannot be seen.
// Names and calls speak for themselves, and scope and id stand in every construct.
func (c *call) inlayHint(p *protocol.InlayHintParams) (any, error) {
	hints := []protocol.InlayHint{}
	a := c.analyse(p.TextDocument)
	if a == nil {
		return hints, nil
	}
	from, to := a.doc.offset(p.Range.Start, c.client.utf8), a.doc.offset(p.Range.End, c.client.utf8)
	kind := protocol.InlayHintKindParameter
	for i := range a.outlined().Calls {
		made := &a.outlined().Calls[i]
		start := a.doc.offsetOf(made.Span.Start.Line, made.Span.Start.Col)
		if start > to || a.doc.offsetOf(made.Range.End.Line, made.Range.End.Col) < from || strings.HasPrefix(made.Callee, "sst.") {
			continue
		}
		literals := false
		for _, arg := range made.Expr.Args {
			literals = literals || plain(arg)
		}
		if !literals {
			continue
		}
		fn := a.inf.Shape(made.Expr.Fn, made.Span.Start)
		if fn == nil || fn.Signature() == nil || !ofCDK(fn, made) {
			continue
		}
		sig := fn.Signature()
		for position, arg := range made.Expr.Args {
			if position >= len(sig.Params) || sig.Params[position].KeywordOnly {
				break
			}
			if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
				break
			}
			name := sig.Params[position].Name
			if !plain(arg) || name == "scope" || name == "id" || len(sig.Params) == 1 {
				continue
			}
			at, _ := arg.Span()
			hints = append(hints, protocol.InlayHint{
				Position: a.doc.position(a.doc.offsetOf(int(at.Line), int(at.Col)), c.client.utf8),
				Label:    protocol.String(name + " ="), Kind: kind, PaddingRight: ptr(true),
			})
		}
	}
	return hints, nil
}

func ptr[T any](v T) *T { return &v }

// ofCDK reports whether a call goes to the CDK: by its name, or as a method of something of it.
func ofCDK(fn interp.Shape, made *interp.Call) bool {
	return strings.HasPrefix(made.Callee, "cdk.") || strings.HasPrefix(fn.Kind(), "cdk.") || strings.HasPrefix(fn.Signature().Name, "cdk.")
}

// plain reports whether an expression says nothing of what it is for.
func plain(e syntax.Expr) bool {
	switch e := e.(type) {
	case *syntax.Literal, *syntax.ListExpr, *syntax.DictExpr:
		return true
	case *syntax.UnaryExpr:
		return e.Op == syntax.MINUS
	case *syntax.Ident:
		return e.Name == "True" || e.Name == "False" || e.Name == "None"
	}
	return false
}

// documentLink makes links of the strings that name files: of load statements and handlers.
func (c *call) documentLink(p *protocol.DocumentLinkParams) (any, error) {
	links := []protocol.DocumentLink{}
	a := c.analyse(p.TextDocument)
	if a == nil {
		return links, nil
	}
	add := func(start, end int, file string) { // without the quotes
		target := uri.URI(uriOf(file))
		links = append(links, protocol.DocumentLink{Range: a.doc.span(start+1, max(start+1, end-1), c.client.utf8), Target: &target})
	}
	for _, l := range a.outlined().Loads {
		if file, err := c.snapshot.loaded(a, l.Module); err == nil && c.snapshot.document(file) != nil {
			add(a.doc.offsetOf(l.Span.Start.Line, l.Span.Start.Col), a.doc.offsetOf(l.Span.End.Line, l.Span.End.Col), file)
		}
	}
	c.handlers(a, func(l *syntax.Literal, handler string) {
		if file, _, ok := findHandler(a.root, handler); ok {
			start := a.doc.offsetOf(int(l.TokenPos.Line), int(l.TokenPos.Col))
			add(start, start+len(l.Raw), file)
		}
	})
	return links, nil
}

// selectionRange grows a selection: the token, the argument or element around it, what stands in the brackets, the brackets with what is called, the line, the statement.
func (c *call) selectionRange(p *protocol.SelectionRangeParams) (any, error) {
	ranges := []protocol.SelectionRange{}
	a := c.analyse(p.TextDocument)
	if a == nil {
		return ranges, nil
	}
	for _, position := range p.Positions {
		offset := a.doc.offset(position, c.client.utf8)
		var current *protocol.SelectionRange
		from, to := len(a.doc.src)+1, -1
		spans := c.around(a, offset)
		for i := len(spans) - 1; i >= 0; i-- { // the outermost first
			s := spans[i]
			if current != nil && (s[0] < from || s[1] > to || s[0] == from && s[1] == to) {
				continue
			}
			from, to = s[0], s[1]
			current = &protocol.SelectionRange{Range: a.doc.span(from, to, c.client.utf8), Parent: current}
		}
		ranges = append(ranges, *current)
	}
	return ranges, nil
}

// around are the spans around an offset, the smallest first.
func (c *call) around(a *analysis, offset int) [][2]int {
	cur := c.snapshot.at(a, offset)
	var spans [][2]int
	if t := cur.token(cur.touching(offset)); t != nil {
		if t.Kind == scan.String && t.Start+1 <= offset-cur.start && !t.Open {
			spans = append(spans, [2]int{cur.start + t.Start + 1, cur.start + t.End - 1})
		}
		spans = append(spans, [2]int{cur.start + t.Start, cur.start + t.End})
	}
	for i := len(cur.frames) - 1; i >= 0; i-- {
		f := &cur.frames[i]
		closing, comma := len(cur.tokens), -1
		depth := 0
		for j := f.open; j < len(cur.tokens); j++ {
			switch {
			case cur.opens(j):
				depth++
			case cur.closes(j):
				depth--
			case depth == 1 && comma < 0 && cur.is(j, ",") && cur.start+cur.tokens[j].Start >= offset:
				comma = j
			}
			if depth == 0 {
				closing = j
				break
			}
		}
		last := closing - 1
		if comma >= 0 {
			last = comma - 1
		}
		if f.argument <= last && last < len(cur.tokens) {
			spans = append(spans, [2]int{cur.start + cur.tokens[f.argument].Start, cur.start + cur.tokens[last].End})
		}
		if closing < len(cur.tokens) {
			spans = append(spans, [2]int{cur.start + cur.tokens[f.open].End, cur.start + cur.tokens[closing].Start})
			start := f.open
			if f.callee != "" {
				start = cur.chainStart(f.open - 1)
			}
			spans = append(spans, [2]int{cur.start + cur.tokens[start].Start, cur.start + cur.tokens[closing].End})
		}
	}
	if n := len(cur.tokens); n > 0 {
		line := a.doc.lineAt(offset)
		spans = append(spans, [2]int{a.doc.lines[line], a.doc.lineEnd(line)}, [2]int{cur.start + cur.tokens[0].Start, cur.start + cur.tokens[n-1].End})
	}
	spans = append(spans, [2]int{0, len(a.doc.src)})
	kept := spans[:0]
	for _, s := range spans {
		if s[0] <= offset && offset <= s[1] {
			kept = append(kept, s)
		}
	}
	return kept
}
