// Package format puts Starlark text into the house style: buildifier's default
// mode, with the line breaks that the author chose.
//
// It keeps line breaks, comments and the meaning; it sets indentation, spaces,
// quotes, blank lines, trailing commas and the place of closing brackets. A statement
// that does not parse stays as it is. Start from [Source].
package format

import (
	"bytes"
	"runtime"
	"sync"
	"sync/atomic"

	"go.starlark.net/syntax"

	interp "sst/starlark"
)

var dialect = &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}

// Source is src in the house style. Statements are formatted one by one; of one
// whose tree would not be the same afterwards, or that does not parse, the text is left alone.
func Source(src []byte) []byte {
	text := bytes.TrimPrefix(src, []byte("\ufeff"))
	crlf := bytes.Contains(text[:bytes.IndexByte(text, '\n')+1], []byte("\r\n"))
	if bytes.IndexByte(text, '\r') >= 0 {
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
	}
	var out bytes.Buffer
	var before piece
	for i, p := range formatChunks(interp.Split(text)) {
		if i > 0 && len(before.text) > 0 && len(p.text) > 0 {
			if before.blankAfter || p.blankBefore || (before.isDef || p.isDef) && !before.broken && !p.broken {
				out.WriteByte('\n')
			}
		}
		out.Write(p.text)
		if len(p.text) == 0 { // nothing but blank lines
			before.blankAfter = before.blankAfter || p.blankAfter
			continue
		}
		before = p
	}
	result := out.Bytes()
	if crlf {
		result = bytes.ReplaceAll(result, []byte("\n"), []byte("\r\n"))
	}
	return result
}

// formatChunks formats statements on all cores.
func formatChunks(chunks []interp.Chunk) []piece {
	pieces := make([]piece, len(chunks))
	const batch = 64
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(chunks)/batch+1) {
		workers.Go(func() {
			for {
				end := int(next.Add(batch))
				for i := end - batch; i < min(end, len(chunks)); i++ {
					pieces[i] = formatChunk(chunks[i].Text)
				}
				if end >= len(chunks) {
					return
				}
			}
		})
	}
	workers.Wait()
	return pieces
}

// piece is one formatted chunk. Its text has no blank lines at its ends and
// ends in a line end.
type piece struct {
	text                    []byte
	blankBefore, blankAfter bool
	isDef, broken           bool
}

func formatChunk(text []byte) piece {
	var p piece
	body := bytes.TrimLeft(text, " \t\n")
	start := len(text) - len(body)
	if cut := bytes.LastIndexByte(text[:start], '\n'); cut >= 0 {
		p.blankBefore = true
		text = text[cut+1:]
	}
	trimmed := bytes.TrimRight(text, " \t\n")
	if len(trimmed) == 0 {
		return piece{blankAfter: bytes.Count(text, []byte("\n")) > 0}
	}
	p.blankAfter = bytes.Count(text[len(trimmed):], []byte("\n")) > 1
	original := append(bytes.Clone(trimmed), '\n')
	p.text = original
	tree, err := dialect.Parse("", original, 0)
	if err != nil {
		p.broken = true
		return p
	}
	if len(tree.Stmts) > 0 {
		_, p.isDef = tree.Stmts[0].(*syntax.DefStmt)
	}
	formatted := layout(original)
	if bytes.Equal(formatted, original) {
		return p
	}
	if again, err := dialect.Parse("", formatted, 0); err != nil || !sameTree(tree, again) || !sameComments(original, formatted) {
		return p
	}
	p.text = formatted
	return p
}
