package lsp

import (
	"bytes"
	"strings"

	"go.starlark.net/syntax"

	interp "sst/starlark"
	"sst/starlark/diag"
	"sst/starlark/scan"
)

// cursor is a place in a text with what surrounds it, read off the tokens, so
// that it works in statements that do not parse.
type cursor struct {
	a      *analysis
	offset int
	start  int          // offset of the statement in the text
	text   []byte       // of the statement
	tokens []scan.Token // of it, white space and comments left out
	next   int          // index of the first token that does not end before the cursor
	frames []frame      // open brackets around the cursor, outermost first

	inComment bool
	inString  bool // inside a string's quotes
	scope     *interp.Inference
	lookup    diag.Position // where local names are looked up
}

// frame is one open bracket and where in it the cursor stands.
type frame struct {
	open     int    // index of the bracket's token
	bracket  byte   // ( [ {
	callee   string // text of what is called, "" when it is no call
	keyword  string // of the argument the cursor is in: name = ...
	position int    // of that argument among the positional ones
	argument int    // index of the first token of that argument
	key      string // of the dict entry, its string literal
	value    bool   // behind the colon of a dict entry
	given    []string
}

// at puts a cursor at an offset.
func (s *snapshot) at(a *analysis, offset int) *cursor {
	c := &cursor{a: a, offset: offset, scope: a.inf, lookup: a.doc.place(offset)}
	index := a.file.StatementAt(a.doc.lineAt(offset) + 1)
	if index < 0 {
		return c
	}
	statement := &a.file.Statements[index]
	c.start, c.text = statement.Offset, statement.Text
	at := offset - c.start
	for _, t := range scan.Tokens(c.text) {
		switch t.Kind {
		case scan.Comment:
			if t.Start < at && at <= t.End {
				c.inComment = true
			}
		case scan.Space, scan.Newline, scan.Joiner:
		default:
			c.tokens = append(c.tokens, t)
		}
	}
	for c.next < len(c.tokens) && c.tokens[c.next].End < at {
		c.next++
	}
	if t := c.token(c.next); t != nil && t.End == at && !(t.Kind == scan.Name || t.Kind == scan.Number || t.Kind == scan.String && t.Open) {
		c.next++ // behind an operator or a closed string
	}
	if t := c.token(c.next); t != nil && t.Kind == scan.String {
		quote := t.Start + bytes.IndexAny(c.text[t.Start:t.End], `'"`)
		c.inString = at > quote && (at < t.End || t.Open)
	}
	c.findFrames(at)
	s.patch(c)
	return c
}

func (c *cursor) token(i int) *scan.Token {
	if i < 0 || i >= len(c.tokens) {
		return nil
	}
	return &c.tokens[i]
}

func (c *cursor) is(i int, text string) bool {
	t := c.token(i)
	return t != nil && t.Is(c.text, text)
}

func (c *cursor) textOf(i int) string {
	if t := c.token(i); t != nil {
		return t.Text(c.text)
	}
	return ""
}

// operand reports whether an expression can end with token i.
func (c *cursor) operand(i int) bool {
	t := c.token(i)
	if t == nil {
		return false
	}
	switch t.Kind {
	case scan.Name:
		return !scan.IsKeyword(t.Text(c.text)) || t.Is(c.text, "load")
	case scan.Number, scan.String:
		return true
	}
	return c.closes(i)
}

func (c *cursor) opens(i int) bool  { return c.is(i, "(") || c.is(i, "[") || c.is(i, "{") }
func (c *cursor) closes(i int) bool { return c.is(i, ")") || c.is(i, "]") || c.is(i, "}") }

// findFrames reads the brackets before the cursor.
func (c *cursor) findFrames(at int) {
	for i := 0; i < c.next && c.tokens[i].Start < at; i++ {
		switch {
		case c.opens(i):
			f := frame{open: i, bracket: c.text[c.tokens[i].Start], argument: i + 1}
			if f.bracket == '(' && c.operand(i-1) && !c.is(c.chainStart(i-1)-1, "def") {
				f.callee = c.span(c.chainStart(i-1), i-1)
			}
			c.frames = append(c.frames, f)
		case c.closes(i):
			if n := len(c.frames); n > 0 {
				c.frames = c.frames[:n-1]
			}
		case len(c.frames) > 0:
			f := &c.frames[len(c.frames)-1]
			switch {
			case c.is(i, ","):
				if f.keyword != "" {
					f.given = append(f.given, f.keyword)
				} else {
					f.position++
				}
				if f.key != "" {
					f.given = append(f.given, f.key)
				}
				f.keyword, f.key, f.value, f.argument = "", "", false, i+1
			case c.is(i, "=") && f.callee != "" && i == f.argument+1:
				f.keyword = c.textOf(f.argument)
			case c.is(i, ":") && f.bracket == '{':
				f.value = true
				if t := c.token(f.argument); t != nil && t.Kind == scan.String {
					f.key = stringValue(t.Text(c.text))
				}
			}
		}
	}
	// What follows the cursor is given too.
	for n := range c.frames {
		c.readRest(&c.frames[n], n == len(c.frames)-1)
	}
}

// readRest adds the keywords and keys that stand behind the cursor.
func (c *cursor) readRest(f *frame, innermost bool) {
	depth := 0
	for i := f.open + 1; i < len(c.tokens); i++ {
		switch {
		case c.opens(i):
			depth++
		case c.closes(i):
			if depth--; depth < 0 {
				return
			}
		case depth == 0 && i > c.next:
			if f.callee != "" && c.is(i, "=") && c.tokens[i-1].Kind == scan.Name && (c.is(i-2, ",") || i-2 == f.open) {
				f.given = append(f.given, c.textOf(i-1))
			}
			if f.bracket == '{' && c.is(i, ":") && c.tokens[i-1].Kind == scan.String && (c.is(i-2, ",") || i-2 == f.open) && i-1 != c.next {
				f.given = append(f.given, stringValue(c.textOf(i-1)))
			}
		}
	}
}

// chainStart is the index of the first token of the operand that ends with token i: a.b(c)[d].
func (c *cursor) chainStart(i int) int {
	for i > 0 {
		if c.closes(i) {
			depth := 0
			for ; i >= 0; i-- {
				if c.closes(i) {
					depth++
				} else if c.opens(i) {
					if depth--; depth == 0 {
						break
					}
				}
			}
			if i < 0 {
				return 0
			}
			if !c.is(i, "{") && c.operand(i-1) {
				i--
				continue
			}
		}
		if c.is(i-1, ".") && c.operand(i-2) {
			i -= 2
			continue
		}
		break
	}
	return i
}

// span is the text of tokens first to last.
func (c *cursor) span(first, last int) string {
	return string(c.text[c.tokens[first].Start:c.tokens[last].End])
}

// prefix is the part before the cursor of the name it stands in, and where it begins in the document.
func (c *cursor) prefix() (text string, start int) {
	at := c.offset - c.start
	from := at
	for from > 0 && from <= len(c.text) && scan.IsNameByte(c.text[from-1]) {
		from--
	}
	if from < at && '0' <= c.text[from] && c.text[from] <= '9' {
		return "", c.offset
	}
	return string(c.text[from:at]), c.start + from
}

// innermost is the bracket around the cursor, nil for none.
func (c *cursor) innermost() *frame {
	if len(c.frames) == 0 {
		return nil
	}
	return &c.frames[len(c.frames)-1]
}

// stringValue is the content of a string literal, open or not, escapes aside.
func stringValue(raw string) string {
	at := strings.IndexAny(raw, `'"`)
	if at < 0 {
		return ""
	}
	quote := raw[at : at+1]
	if strings.HasPrefix(raw[at:], quote+quote+quote) {
		quote += quote + quote
	}
	return strings.TrimSuffix(raw[at+len(quote):], quote)
}

var dialect = &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}

// patch replaces what is known at a cursor in a statement that does not parse:
// the part before the cursor's line stands in for it, so that local names are known.
func (s *snapshot) patch(c *cursor) {
	index := c.a.file.StatementAt(c.a.doc.lineAt(c.offset) + 1)
	if index < 0 || c.a.file.Statements[index].Error == nil || len(c.tokens) == 0 {
		return
	}
	// The logical line of the cursor begins after the last line end outside brackets.
	begin, depth := 0, 0
	for i := range c.tokens {
		t := &c.tokens[i]
		if i > 0 && depth == 0 && bytes.ContainsAny(c.text[c.tokens[i-1].End:t.Start], "\r\n") && c.start+t.Start <= c.offset {
			begin = t.Start
		}
		switch {
		case c.start+t.Start >= c.offset:
			continue
		case c.opens(i):
			depth++
		case c.closes(i):
			depth = max(depth-1, 0)
		}
	}
	text := append(bytes.Clone(c.text[:begin]), "pass\n"...)
	statement := interp.ParseChunk(c.a.doc.path, interp.Chunk{Line: c.a.file.Statements[index].Line, Text: text})
	statement.Error = nil // else every name in it counts as one that it may assign
	statement.Offset = c.start
	c.scope.Update(c.a.file.With(index, statement), s.env(c.a)) // until the next request
	c.lookup = c.a.doc.place(c.start + begin)
}

// shapeOf is what is known of an expression written at the cursor.
func (c *cursor) shapeOf(text string) interp.Shape {
	expr, err := dialect.ParseExpr("", text, 0)
	if err != nil {
		return nil
	}
	return c.scope.Shape(expr, c.lookup)
}

// dotted is the text of what stands before the dot before token i, "" when there is none.
func (c *cursor) dotted(i int) string {
	if !c.is(i-1, ".") || !c.operand(i-2) {
		return ""
	}
	return c.span(c.chainStart(i-2), i-2)
}

// call is the innermost call around the cursor with the index of its frame.
func (c *cursor) call() (f *frame, index int) {
	for i := len(c.frames) - 1; i >= 0; i-- {
		if c.frames[i].callee != "" {
			return &c.frames[i], i
		}
	}
	return nil, -1
}
