package lsp

import (
	"bytes"

	"go.lsp.dev/protocol"

	"sst/starlark/format"
)

// formatting gives one edit: the lines from the first that changes to the last.
func (c *call) formatting(p *protocol.DocumentFormattingParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	out := format.Source(a.doc.src)
	if bytes.Equal(out, a.doc.src) {
		return []protocol.TextEdit{}, nil
	}
	before, after := a.doc.src, out
	start := 0
	for start < len(before) && start < len(after) && before[start] == after[start] {
		start++
	}
	start = bytes.LastIndexByte(before[:start], '\n') + 1
	end := 0
	for end < len(before)-start && end < len(after)-start && before[len(before)-1-end] == after[len(after)-1-end] {
		end++
	}
	if cut := bytes.IndexByte(before[len(before)-end:], '\n'); cut >= 0 {
		end -= cut + 1
	} else {
		end = 0
	}
	return []protocol.TextEdit{{
		Range:   a.doc.span(start, len(before)-end, c.client.utf8),
		NewText: string(after[start : len(after)-end]),
	}}, nil
}
