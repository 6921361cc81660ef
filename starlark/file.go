package interp

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"unicode/utf8"

	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Statement is a chunk and what it parses to.
type Statement struct {
	Chunk
	Offset int              // byte offset of Text in the file
	Error  *diag.Diagnostic // nil when the chunk parses
	tree   *tree            // shared by the versions of a file that have the statement, on whatever line
}

// NewStatement is a statement of what was parsed elsewhere.
func NewStatement(stmts ...syntax.Stmt) Statement {
	return Statement{tree: &tree{stmts: stmts}}
}

// Stmts are the trees; their positions are those of the file. nil when Error is set.
func (s *Statement) Stmts() []syntax.Stmt {
	if s.tree == nil {
		return nil
	}
	s.tree.moveTo(s.Line)
	return s.tree.stmts
}

// File is a parsed file, never nil, whatever its text. It may be evaluated
// again and again, but not by two Interps at the same time: resolving names
// writes to the tree. Of the versions that [File.Update] makes of each other only one is looked at at a time: they share trees.
type File struct {
	Path       string
	Src        []byte
	Statements []Statement
	Errors     diag.List // of the statements, and what the dialect leaves out
	plain      bool      // cut without going back: the cuts before a change are those of the next version
}

// Parse parses src statement by statement, so that a broken one leaves the
// rest usable. It never fails; what is wrong is in File.Errors.
func Parse(path string, src []byte) *File {
	if d := notText(path, src); d != nil {
		return Assemble(path, src, []Statement{{Chunk: Chunk{Text: src, Line: 1}, Error: d, tree: &tree{line: 1}}})
	}
	chunks, plain := split(src)
	f := &File{Path: path, Src: src, Statements: make([]Statement, len(chunks)), plain: plain}
	whole := parseWhole(path, src)
	offset := 0
	for i, chunk := range chunks {
		s := &f.Statements[i]
		if whole == nil {
			*s = ParseChunk(path, chunk)
		} else {
			s.Chunk = chunk
			s.tree = &tree{line: chunk.Line}
			s.tree.stmts, whole.Stmts = cutStmts(whole.Stmts, chunks, i+1)
		}
		s.Offset = offset
		offset += len(chunk.Text)
		f.collect(s)
	}
	return f
}

// notText is the diagnostic for a file that is not UTF-8, nil for one that is.
// No statement of it is parsed: every one of them would be reported.
func notText(path string, src []byte) *diag.Diagnostic {
	at := bytes.IndexByte(src, 0)
	if !utf8.Valid(src) {
		for i := 0; i < len(src); {
			r, n := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError && n == 1 {
				if at < 0 || i < at {
					at = i
				}
				break
			}
			i += n
		}
	}
	if at < 0 {
		return nil
	}
	line := 1 + bytes.Count(src[:at], []byte("\n"))
	return &diag.Diagnostic{
		Code: "not-text", Summary: "Not UTF-8 text", Span: diag.Point(diag.Position{File: path, Line: line}),
		Detail: fmt.Sprintf("Byte %#x in line %d is not part of UTF-8 text. Save the file as UTF-8.", src[at], line),
	}
}

// parseWhole parses a file at once, which is quicker than chunk by chunk; nil
// when something in it is wrong.
func parseWhole(path string, src []byte) *syntax.File {
	f, err := dialect.Parse(path, bytes.TrimPrefix(src, byteOrderMark), 0)
	if err != nil {
		return nil
	}
	return f
}

var byteOrderMark = []byte("\ufeff")

// cutStmts takes off the statements that begin before chunk next.
func cutStmts(stmts []syntax.Stmt, chunks []Chunk, next int) (mine, rest []syntax.Stmt) {
	n := len(stmts)
	if next < len(chunks) {
		n = 0
		for n < len(stmts) && int(syntax.Start(stmts[n]).Line) < chunks[next].Line {
			n++
		}
	}
	return stmts[:n:n], stmts[n:]
}

// ParseChunk parses one chunk alone.
func ParseChunk(path string, chunk Chunk) Statement {
	s := Statement{Chunk: chunk, tree: &tree{line: chunk.Line}}
	text := chunk.Text
	if chunk.Line == 1 {
		text = bytes.TrimPrefix(text, byteOrderMark)
	}
	parsed, err := dialect.Parse(path, syntax.FilePortion{Content: text, FirstLine: int32(chunk.Line), FirstCol: 1}, 0)
	if err != nil {
		s.Error = diagnoseSyntax(path, text, chunk.Line, err)
		return s
	}
	s.tree.stmts = parsed.Stmts
	return s
}

// Assemble makes a File of statements that were parsed one by one; together
// they are the whole of src.
func Assemble(path string, src []byte, statements []Statement) *File {
	f := &File{Path: path, Src: src, Statements: statements}
	for i := range statements {
		f.collect(&statements[i])
	}
	return f
}

// collect notes what is wrong in one statement.
func (f *File) collect(s *Statement) {
	if s.Error != nil {
		f.Errors = append(f.Errors, s.Error)
		return
	}
	if !bytes.Contains(s.Text, []byte("while")) {
		return
	}
	for _, stmt := range s.Stmts() {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			if w, ok := n.(*syntax.WhileStmt); ok {
				f.Errors = append(f.Errors, notInStarlark("while", spanOf(f.Path, w.While, "while")))
			}
			return true
		})
	}
}

// Stmts are the statements that parsed, in order.
func (f *File) Stmts() []syntax.Stmt {
	var stmts []syntax.Stmt
	for i := range f.Statements {
		stmts = append(stmts, f.Statements[i].Stmts()...)
	}
	return stmts
}

// tree is the whole file as the resolver and compiler want it.
func (f *File) tree() *syntax.File {
	return &syntax.File{Path: f.Path, Stmts: f.Stmts(), Options: dialect}
}

// StatementAt is the index in Statements of the one that holds a line, -1 when
// the file is empty.
func (f *File) StatementAt(line int) int {
	return sort.Search(len(f.Statements), func(i int) bool { return f.Statements[i].Line > line }) - 1
}

// position is p with the path of the file that it is in.
func position(path string, p syntax.Position) diag.Position {
	return diag.Position{File: path, Line: int(p.Line), Col: int(p.Col)}
}

// spanOf is the span of text at p.
func spanOf(path string, p syntax.Position, text string) diag.Span {
	start := position(path, p)
	end := start
	end.Line, end.Col = advance(start.Line, start.Col, text)
	return diag.Span{Start: start, End: end}
}

// nodeSpan is the span of a node of the tree.
func nodeSpan(path string, n syntax.Node) diag.Span {
	start, end := n.Span()
	if t, ok := n.(*syntax.TupleExpr); ok && t.Lparen.IsValid() {
		end.Col++ // the spans of these two leave out the closing parenthesis
	}
	if _, ok := n.(*syntax.LoadStmt); ok {
		end.Col++
	}
	return diag.Span{Start: position(path, start), End: position(path, end)}
}

// syntaxError is the place and text of an error of the parser.
func syntaxError(err error) (syntax.Position, string) {
	var e syntax.Error
	if errors.As(err, &e) {
		return e.Pos, e.Msg
	}
	return syntax.Position{}, err.Error()
}
