package lsp

import (
	"bytes"

	"go.lsp.dev/protocol"

	interp "sst/starlark"
	"sst/starlark/format"
)

type formattedKey struct{}

// formatted is a statement in the house style, once that was asked for.
type formatted struct {
	piece format.Piece
	known bool
}

// formatting gives an edit for each statement that changes, so that cursors and breakpoints elsewhere stay where they are.
func (c *call) formatting(p *protocol.DocumentFormattingParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	doc := a.doc
	edits := []protocol.TextEdit{}
	if bytes.IndexByte(doc.src, '\r') >= 0 || bytes.HasPrefix(doc.src, []byte("\ufeff")) {
		return c.changed(doc, edits, 0, doc.src, format.Source(doc.src)), nil
	}
	statements := a.file.Statements
	kept := func(i int) *formatted {
		return interp.Get(statements[i].Notes(), formattedKey{}, func() *formatted { return &formatted{} })
	}
	pieces := format.Statements(a.file, func(i int) (format.Piece, bool) { f := kept(i); return f.piece, f.known })
	for i, piece := range pieces {
		*kept(i) = formatted{piece, true}
	}
	gaps := format.Gaps(pieces)
	for i := range statements {
		text := pieces[i].Text
		if i+1 < len(pieces) && gaps[i+1] {
			text = append(bytes.Clone(text), '\n')
		}
		edits = c.changed(doc, edits, statements[i].Offset, statements[i].Text, text)
	}
	return edits, nil
}

// changed adds an edit of the lines from the first that changes to the last.
func (c *call) changed(doc *document, edits []protocol.TextEdit, offset int, before, after []byte) []protocol.TextEdit {
	if bytes.Equal(before, after) {
		return edits
	}
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
	return append(edits, protocol.TextEdit{
		Range:   doc.span(offset+start, offset+len(before)-end, c.client.utf8),
		NewText: string(after[start : len(after)-end]),
	})
}
