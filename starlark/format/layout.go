package format

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"sst/starlark/scan"
)

// tok is a token without the white space around it.
type tok struct {
	kind   scan.Kind
	text   string
	lines  int  // line ends before it, 0 when it goes on on the same line
	joined bool // a backslash stands before it
	column int  // width of the white space before it, when it begins a line

	// Of an opening bracket, and its index is close of the closing one.
	close   int
	broken  bool // a line end stands directly inside
	hanging bool // a line end follows at once
	def     bool // of the parameters of a def
	call    bool // arguments of a call
	index   bool // of an index or slice
	comma   bool // a comma stands directly inside
	loop    bool // a comprehension
	spread  bool // its last element begins with a star
	braced  bool // it was given an opening bracket's index
}

func (t *tok) is(text string) bool {
	return (t.kind == scan.Op || t.kind == scan.Name) && t.text == text
}

func (t *tok) opens() bool {
	return t.kind == scan.Op && (t.text == "(" || t.text == "[" || t.text == "{")
}
func (t *tok) closes() bool {
	return t.kind == scan.Op && (t.text == ")" || t.text == "]" || t.text == "}")
}

// operand reports whether an expression can end with t.
func (t *tok) operand() bool {
	switch t.kind {
	case scan.Name:
		return !scan.IsKeyword(t.text) || t.text == "load"
	case scan.Number, scan.String:
		return true
	}
	return t.closes()
}

// layout formats text that parses.
func layout(text []byte) []byte {
	toks := significant(text)
	mark(toks)
	toks = settle(toks)
	mark(toks)
	p := &printer{toks: toks}
	return p.print()
}

// significant are the tokens that are not white space.
func significant(text []byte) []tok {
	var toks []tok
	lines, column, joined := 1, 0, false
	for _, t := range scan.Tokens(text) {
		switch t.Kind {
		case scan.Newline:
			lines++
			column = 0
		case scan.Joiner:
			joined = true
			column = 0
		case scan.Space:
			for _, c := range text[t.Start:t.End] {
				if c == '\t' {
					column = column/8*8 + 8
				} else {
					column++
				}
			}
		default:
			s := t.Text(text)
			if t.Kind == scan.Comment {
				s = strings.TrimRight(s, " \t")
			}
			if t.Kind == scan.String {
				s = quoted(s)
			}
			toks = append(toks, tok{kind: t.Kind, text: s, lines: lines, column: column, joined: joined})
			lines, column, joined = 0, 0, false
		}
	}
	return toks
}

// quoted turns single quotes into double ones where nothing needs an escape.
func quoted(s string) string {
	at := strings.IndexAny(s, `'"`)
	if at < 0 || s[at] == '"' || strings.HasPrefix(s[at:], "'''") || strings.ContainsAny(s[at+1:], `"\`) {
		return s
	}
	return s[:at] + `"` + s[at+1:len(s)-1] + `"`
}

// mark finds out what the brackets are.
func mark(toks []tok) {
	var open []int
	previous := -1 // significant token before, comments aside
	for i := range toks {
		t := &toks[i]
		if t.kind == scan.Comment {
			if len(open) > 0 && t.lines > 0 {
				toks[open[len(open)-1]].broken = true
			}
			continue
		}
		if len(open) > 0 {
			b := &toks[open[len(open)-1]]
			if t.lines > 0 {
				b.broken = true
				if i == open[len(open)-1]+1 {
					b.hanging = true
				}
			}
			first := previous == open[len(open)-1] || previous >= 0 && toks[previous].is(",")
			switch {
			case t.is(","):
				b.comma = true
			case t.is("for"):
				b.loop = true
			case first && !t.closes():
				b.spread = t.is("*") || t.is("**")
			}
		}
		switch {
		case t.opens():
			after := previous >= 0 && toks[previous].operand() && (t.lines == 0 || len(open) > 0 || t.joined)
			t.call = t.text == "(" && after
			t.index = t.text == "[" && after
			t.def = t.call && previous > 0 && toks[previous-1].is("def")
			t.broken, t.hanging, t.comma, t.loop, t.spread = false, i+1 < len(toks) && toks[i+1].kind == scan.Comment && toks[i+1].lines == 0, false, false, false
			open = append(open, i)
		case t.closes() && len(open) > 0:
			toks[open[len(open)-1]].close = i
			t.close, t.braced = open[len(open)-1], true
			open = open[:len(open)-1]
		}
		previous = i
	}
}

// settle adds and drops trailing commas and moves closing brackets.
func settle(toks []tok) []tok {
	out := make([]tok, 0, len(toks)+8)
	for i := range toks {
		t := toks[i]
		if !t.closes() || !t.braced {
			out = append(out, t)
			continue
		}
		b := &toks[t.close]
		last := len(out) - 1 // last token of the contents
		for last >= 0 && out[last].kind == scan.Comment {
			last--
		}
		commented := last != len(out)-1
		empty := i == t.close+1
		trailing := last >= 0 && out[last].is(",")
		list := b.call || b.text == "{" || b.text == "[" && !b.index
		switch {
		case empty:
			t.lines = 0
		case b.def:
			if !commented {
				t.lines = 0
				if trailing {
					out = slices.Delete(out, last, last+1)
				}
			}
		case b.hanging:
			if (list || b.comma) && !b.loop && !trailing && !(b.call && b.spread) && !b.index {
				out = slices.Insert(out, last+1, tok{kind: scan.Op, text: ","})
			}
			t.lines = max(t.lines, 1)
		case trailing && list && t.lines == 0 && !commented && !b.broken:
			out = slices.Delete(out, last, last+1)
		}
		out = append(out, t)
	}
	return out
}

// printer writes tokens line by line.
type printer struct {
	toks   []tok
	out    bytes.Buffer
	blocks []int // columns of the open blocks, as the author has them
	open   []int // brackets
	margin int   // of the lines inside the open brackets
	start  int   // offset of the line
	chain  []int // per open bracket: the column where the expression begins that goes on
}

const indent = 4

func (p *printer) print() []byte {
	p.blocks = []int{0}
	p.chain = []int{0}
	for i := range p.toks {
		t := &p.toks[i]
		switch {
		case i == 0:
			p.enter(i)
		case t.lines > 0:
			p.newline(i)
		case t.joined:
			p.out.WriteString(" \\\n")
			p.start = p.out.Len()
			p.pad(p.continued(i, indent*(len(p.blocks)-1)+p.margin+indent))
		case t.kind == scan.Comment:
			p.out.WriteString("  ")
		case p.spaced(i):
			p.out.WriteByte(' ')
		}
		if p.begins(i) {
			p.chain[len(p.chain)-1] = utf8.RuneCount(p.out.Bytes()[p.start:])
		}
		p.out.WriteString(t.text)
		if t.kind == scan.String && strings.Contains(t.text, "\n") {
			p.start = p.out.Len() - (len(t.text) - strings.LastIndexByte(t.text, '\n') - 1)
		}
		p.bracket(i)
	}
	p.out.WriteByte('\n')
	return p.out.Bytes()
}

// newline begins a line with token i.
func (p *printer) newline(i int) {
	t := &p.toks[i]
	p.out.WriteByte('\n')
	defer func(from int) { p.start = from + bytes.LastIndexByte(p.out.Bytes()[from:], '\n') + 1 }(p.out.Len())
	if len(p.open) > 0 {
		before := &p.toks[i-1]
		if t.lines > 1 && !before.opens() && !t.closes() {
			p.out.WriteByte('\n')
		}
		margin := p.margin
		if t.closes() {
			margin -= p.width(p.open[len(p.open)-1])
		}
		p.pad(p.continued(i, indent*(len(p.blocks)-1)+margin))
		return
	}
	deeper := len(p.blocks)
	opened := p.endsBlockHead(i)
	p.enter(i)
	if t.lines > 1 && !(opened && len(p.blocks) >= deeper) {
		p.out.WriteByte('\n')
	}
	p.pad(indent * p.level(i))
}

// endsBlockHead reports whether the code before token i ends with a colon.
func (p *printer) endsBlockHead(i int) bool {
	for i--; i >= 0; i-- {
		if p.toks[i].kind != scan.Comment {
			return p.toks[i].is(":")
		}
		if p.toks[i].lines > 0 {
			return false
		}
	}
	return false
}

// enter opens and closes blocks for the line that begins with token i.
func (p *printer) enter(i int) {
	t := &p.toks[i]
	if t.kind == scan.Comment {
		return
	}
	for len(p.blocks) > 1 && t.column < p.blocks[len(p.blocks)-1] {
		p.blocks = p.blocks[:len(p.blocks)-1]
	}
	if t.column > p.blocks[len(p.blocks)-1] {
		p.blocks = append(p.blocks, t.column)
	}
}

// level is the depth of the line that begins with token i. A comment goes with
// the code after it, or, at the end of a block, with the block it is indented like.
func (p *printer) level(i int) int {
	if p.toks[i].kind != scan.Comment {
		return len(p.blocks) - 1
	}
	next := i
	for next < len(p.toks) && p.toks[next].kind == scan.Comment {
		next++
	}
	if next == len(p.toks) {
		return p.depth(p.toks[i].column)
	}
	if column := p.toks[next].column; column <= p.blocks[len(p.blocks)-1] {
		return max(p.depth(p.toks[i].column), p.depth(column))
	}
	return len(p.blocks)
}

// depth is the innermost open block that a column lies in.
func (p *printer) depth(column int) int {
	level := 0
	for n, c := range p.blocks {
		if c <= column {
			level = n
		}
	}
	return level
}

func (p *printer) pad(n int) {
	for ; n > 0; n-- {
		p.out.WriteByte(' ')
	}
}

// width is how far the lines in bracket b are moved to the right.
func (p *printer) width(b int) int {
	t := &p.toks[b]
	switch {
	case t.def && t.hanging:
		return 2 * indent
	case t.broken || t.hanging:
		return indent
	}
	return 0
}

// bracket notes that token i was written.
func (p *printer) bracket(i int) {
	t := &p.toks[i]
	switch {
	case t.opens():
		p.margin += p.width(i)
		p.open = append(p.open, i)
		p.chain = append(p.chain, 0)
	case t.closes() && len(p.open) > 0:
		p.margin -= p.width(p.open[len(p.open)-1])
		p.open = p.open[:len(p.open)-1]
		p.chain = p.chain[:len(p.chain)-1]
	}
}

// continued is the column of the line that begins with token i: where the
// expression began when an operator ended the line before, else the margin.
func (p *printer) continued(i, margin int) int {
	before := &p.toks[i-1]
	if p.toks[i].kind == scan.Comment || p.toks[i].closes() || before.kind == scan.Comment || p.unary(i-1) {
		return margin
	}
	switch before.text {
	case "+", "-", "*", "/", "//", "%", "|", "&", "^", "<<", ">>", "==", "!=", "<", ">", "<=", ">=", "and", "or", "in":
		if before.kind != scan.String {
			return p.chain[len(p.chain)-1]
		}
	}
	return margin
}

// begins reports whether an expression of its own begins with token i.
func (p *printer) begins(i int) bool {
	if i == 0 {
		return true
	}
	if len(p.open) == 0 && p.toks[i].lines > 0 {
		return true
	}
	a := &p.toks[i-1]
	if a.kind != scan.Op && a.kind != scan.Name {
		return a.kind == scan.Comment && len(p.open) == 0
	}
	switch a.text {
	case ",", "=", ":", "+=", "return", "if", "else", "elif", "for", "lambda", "not":
		return true
	}
	return a.opens()
}

// spaced reports whether a blank stands between token i and the one before.
func (p *printer) spaced(i int) bool {
	a, b := &p.toks[i-1], &p.toks[i]
	switch {
	case a.opens() || b.closes() || b.is(",") || b.is(";") || a.is(".") || b.is("."):
		return false
	case a.is(":") && p.slicing(i-1) || b.is(":"):
		return false
	case p.unary(i - 1):
		return false
	case b.is("(") || b.is("["):
		return !(b.call || b.index)
	}
	return true
}

// slicing reports whether the colon at i is that of a slice.
func (p *printer) slicing(i int) bool {
	if len(p.open) == 0 || !p.toks[p.open[len(p.open)-1]].index {
		return false
	}
	depth := 0 // a lambda's colon is not
	for j := i - 1; j > p.open[len(p.open)-1]; j-- {
		switch t := &p.toks[j]; {
		case t.closes():
			depth++
		case t.opens():
			depth--
		case depth == 0 && t.is("lambda"):
			return false
		case depth == 0 && t.is(":"):
			return true
		}
	}
	return true
}

// unary reports whether the token at i is an operator with one operand.
func (p *printer) unary(i int) bool {
	t := &p.toks[i]
	switch t.text {
	case "-", "+", "~", "*", "**":
		if t.kind != scan.Op {
			return false
		}
		for i--; i >= 0 && p.toks[i].kind == scan.Comment; i-- {
		}
		return i < 0 || !p.toks[i].operand()
	}
	return false
}
