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
	chunks := interp.Split(text)
	pieces := make([]Piece, len(chunks))
	parallel(len(chunks), func(i int) { pieces[i] = formatChunk(chunks[i].Text, nil) })
	var out bytes.Buffer
	for i, apart := range Gaps(pieces) {
		if apart {
			out.WriteByte('\n')
		}
		out.Write(pieces[i].Text)
	}
	result := out.Bytes()
	if crlf {
		result = bytes.ReplaceAll(result, []byte("\n"), []byte("\r\n"))
	}
	return result
}

// Statements formats the statements of a file one by one; of those that known has, it takes that. Joined, with an empty line
// before each that [Gaps] says, they are [Source] of the file, if that has neither carriage returns nor a byte order mark.
func Statements(f *interp.File, known func(i int) (Piece, bool)) []Piece {
	pieces := make([]Piece, len(f.Statements))
	var missing []int
	for i := range f.Statements {
		piece, ok := known(i)
		if !ok {
			f.Statements[i].Stmts() // several cannot be moved to their places at once when they are one
			missing = append(missing, i)
		}
		pieces[i] = piece
	}
	parallel(len(missing), func(n int) {
		s := &f.Statements[missing[n]]
		pieces[missing[n]] = formatChunk(s.Text, s)
	})
	return pieces
}

// Gaps says for each piece whether an empty line stands before it.
func Gaps(pieces []Piece) []bool {
	gaps := make([]bool, len(pieces))
	var before Piece
	for i, p := range pieces {
		if i > 0 && len(before.Text) > 0 && len(p.Text) > 0 {
			gaps[i] = before.blankAfter || p.blankBefore || (before.isDef || p.isDef) && !before.broken && !p.broken
		}
		if len(p.Text) == 0 { // nothing but blank lines
			before.blankAfter = before.blankAfter || p.blankAfter
			continue
		}
		before = p
	}
	return gaps
}

// parallel does jobs on all cores.
func parallel(jobs int, do func(i int)) {
	const batch = 64
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), jobs/batch+1) {
		workers.Go(func() {
			for {
				end := int(next.Add(batch))
				for i := end - batch; i < min(end, jobs); i++ {
					do(i)
				}
				if end >= jobs {
					return
				}
			}
		})
	}
	workers.Wait()
}

// Piece is one formatted statement. Its text has no blank lines at its ends and
// ends in a line end, or is empty.
type Piece struct {
	Text                    []byte
	blankBefore, blankAfter bool
	isDef, broken           bool
}

// formatChunk formats a chunk; parsed is what it parses to, nil when that is not known.
func formatChunk(text []byte, parsed *interp.Statement) Piece {
	var p Piece
	body := bytes.TrimLeft(text, " \t\n")
	start := len(text) - len(body)
	if cut := bytes.LastIndexByte(text[:start], '\n'); cut >= 0 {
		p.blankBefore = true
		text = text[cut+1:]
	}
	trimmed := bytes.TrimRight(text, " \t\n")
	if len(trimmed) == 0 {
		return Piece{blankAfter: bytes.Count(text, []byte("\n")) > 0}
	}
	p.blankAfter = bytes.Count(text[len(trimmed):], []byte("\n")) > 1
	original := append(bytes.Clone(trimmed), '\n')
	p.Text = original
	tree, ok := treeOf(original, parsed)
	if !ok {
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
	p.Text = formatted
	return p
}

func treeOf(text []byte, parsed *interp.Statement) (*syntax.File, bool) {
	if parsed != nil {
		return &syntax.File{Stmts: parsed.Stmts()}, parsed.Error == nil
	}
	tree, err := dialect.Parse("", text, 0)
	return tree, err == nil
}
