package lsp

import (
	"bytes"
	"slices"
	"strconv"

	"go.lsp.dev/protocol"

	interp "sst/starlark"
	"sst/starlark/scan"
)

// foldedLines is a range of lines.
type foldedLines struct {
	from, to int
	kind     protocol.FoldingRangeKind
}

type foldsKey struct{}

// statementFolds are those of a statement, its lines counted from 0.
type statementFolds struct {
	folds    []foldedLines
	load     bool // it is a load
	from, to int  // lines with code
}

// folding finds brackets, blocks, runs of comments and of loads that take several lines.
func (c *call) folding(p *protocol.FoldingRangeParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	var folds []foldedLines
	loads, lastLoad := -1, -1
	endLoads := func() {
		if lastLoad > loads {
			folds = append(folds, foldedLines{loads, lastLoad, protocol.FoldingRangeKindImports})
		}
		loads, lastLoad = -1, -1
	}
	for i := range a.file.Statements {
		s := &a.file.Statements[i]
		own := interp.Get(s.Notes(), foldsKey{}, func() *statementFolds { return foldsOf(s.Text) })
		line := s.Line - 1
		switch {
		case own.load && loads < 0:
			loads, lastLoad = line+own.from, line+own.to
		case own.load:
			lastLoad = line + own.to
		case own.from >= 0:
			endLoads()
		}
		for _, f := range own.folds {
			folds = append(folds, foldedLines{line + f.from, line + f.to, f.kind})
		}
	}
	endLoads()
	slices.SortStableFunc(folds, func(a, b foldedLines) int { return a.from - b.from })
	body := make([]byte, 0, 48*len(folds)+2)
	body = append(body, '[')
	for i, f := range folds {
		if i > 0 {
			body = append(body, ',')
		}
		body = strconv.AppendInt(append(body, `{"startLine":`...), int64(f.from), 10)
		body = strconv.AppendInt(append(body, `,"endLine":`...), int64(f.to), 10)
		if f.kind != "" {
			body = append(append(append(body, `,"kind":"`...), f.kind...), '"')
		}
		body = append(body, '}')
	}
	return protocol.LSPAny(append(body, ']')), nil
}

func foldsOf(src []byte) *statementFolds {
	own := &statementFolds{from: -1}
	add := func(from, to int, kind protocol.FoldingRangeKind) {
		if to > from {
			own.folds = append(own.folds, foldedLines{from, to, kind})
		}
	}
	type block struct{ line, column int }
	var open []int     // lines of brackets
	var blocks []block // lines that end with a colon
	comments, last := -1, -1
	line, begin := 0, 0
	first := true // of the line
	for _, t := range scan.Tokens(src) {
		text := src[t.Start:t.End]
		switch t.Kind {
		case scan.Newline, scan.Joiner:
			line++
			begin = t.End
			first = first || t.Kind == scan.Newline
			continue
		case scan.Space:
			continue
		case scan.Comment:
			if first {
				if comments < 0 || last != line-1 {
					add(comments, last, protocol.FoldingRangeKindComment)
					comments = line
				}
				last = line
			}
			first = false
			continue
		}
		if own.from < 0 {
			own.from = line
			own.load = t.Is(src, "load")
		}
		if first && len(open) == 0 {
			column := t.Start - begin
			for len(blocks) > 0 && column <= blocks[len(blocks)-1].column {
				add(blocks[len(blocks)-1].line, own.to, "")
				blocks = blocks[:len(blocks)-1]
			}
			if t.Kind == scan.Name {
				switch string(text) {
				case "def", "if", "elif", "else", "for", "while":
					blocks = append(blocks, block{line, column})
				}
			}
		}
		first = false
		switch {
		case t.Kind == scan.Op && bytes.ContainsAny(text, "([{") && len(text) == 1:
			open = append(open, line)
		case t.Kind == scan.Op && bytes.ContainsAny(text, ")]}") && len(text) == 1 && len(open) > 0:
			add(open[len(open)-1], line-1, "")
			open = open[:len(open)-1]
		case t.Kind == scan.String:
			starts := lineStarts(text)
			lines := len(starts) - 1
			add(line, line+lines, "")
			line += lines
			if lines > 0 {
				begin = t.Start + starts[lines]
			}
		}
		own.to = line
	}
	add(comments, last, protocol.FoldingRangeKindComment)
	for _, b := range blocks {
		add(b.line, own.to, "")
	}
	return own
}
