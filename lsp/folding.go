package lsp

import (
	"bytes"
	"slices"

	"go.lsp.dev/protocol"

	"sst/starlark/scan"
)

// folding finds brackets, blocks, runs of comments and of loads that take several lines.
func (c *call) folding(p *protocol.FoldingRangeParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	doc := a.doc
	ranges := []protocol.FoldingRange{}
	add := func(from, to int, kind protocol.FoldingRangeKind) {
		if to > from {
			ranges = append(ranges, protocol.FoldingRange{StartLine: uint32(from), EndLine: uint32(to), Kind: kind})
		}
	}
	type block struct{ line, column int }
	var open []int     // lines of brackets
	var blocks []block // lines that end with a colon
	comments, last, loads, lastLoad := -1, -1, -1, -1
	line, lastCode := 0, 0
	first := true // of the line
	for _, t := range scan.Tokens(doc.src) {
		text := doc.src[t.Start:t.End]
		switch t.Kind {
		case scan.Newline:
			line++
			first = true
			continue
		case scan.Space:
			continue
		case scan.Joiner:
			line++
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
		if first && len(open) == 0 {
			column := t.Start - doc.lines[line]
			for len(blocks) > 0 && column <= blocks[len(blocks)-1].column {
				add(blocks[len(blocks)-1].line, lastCode, "")
				blocks = blocks[:len(blocks)-1]
			}
			switch {
			case t.Is(doc.src, "load") && column == 0:
				if loads < 0 {
					loads = line
				}
			case column == 0 && loads >= 0:
				add(loads, lastLoad, protocol.FoldingRangeKindImports)
				loads = -1
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
			lines := len(lineStarts(text)) - 1
			add(line, line+lines, "")
			line += lines
		}
		lastCode = line
		if loads >= 0 {
			lastLoad = line
		}
	}
	add(comments, last, protocol.FoldingRangeKindComment)
	add(loads, lastLoad, protocol.FoldingRangeKindImports)
	for _, b := range blocks {
		add(b.line, lastCode, "")
	}
	slices.SortStableFunc(ranges, func(a, b protocol.FoldingRange) int { return int(a.StartLine) - int(b.StartLine) })
	return ranges, nil
}
