package interp

// A lexer that never fails, for text that the parser refused.

import (
	"unicode/utf8"
)

type tokenKind uint8

const (
	nameToken tokenKind = iota
	numberToken
	stringToken
	opToken
	newlineToken // also inside brackets
	commentToken
)

type token struct {
	kind      tokenKind
	text      string // of a string: with prefix and quotes
	line, col int
	endLine   int
	endCol    int
	spaced    bool // white space stands before it
	depth     int  // open brackets before it
	closed    bool // of a string: its end quote is there
}

// is reports whether t is the operator or word text.
func (t *token) is(text string) bool {
	return (t.kind == opToken || t.kind == nameToken) && t.text == text
}

// lex cuts src into tokens; line is the number of its first line.
func lex(src []byte, line int) []token {
	var toks []token
	col, depth := 1, 0
	spaced := false
	for i := 0; i < len(src); {
		c := src[i]
		start, startLine, startCol := i, line, col
		kind, closed := opToken, true
		switch {
		case c == ' ' || c == '\t':
			i++
			col++
			spaced = true
			continue
		case c == '\\' && newline(src[i+1:]) > 0:
			i += 1 + newline(src[i+1:])
			line++
			col = 1
			spaced = true
			continue
		case c == '\n' || c == '\r':
			kind = newlineToken
			i += newline(src[i:])
		case c == '#':
			kind = commentToken
			for i < len(src) && src[i] != '\n' && src[i] != '\r' {
				i++
			}
		case c == '"' || c == '\'':
			kind = stringToken
			i, closed = stringEnd(src, i)
		case '0' <= c && c <= '9':
			kind = numberToken
			for i < len(src) && (isNameByte(src[i]) || src[i] == '.') {
				i++
			}
		case isNameByte(c):
			kind = nameToken
			for i < len(src) && isNameByte(src[i]) {
				i++
			}
			if i < len(src) && (src[i] == '"' || src[i] == '\'') && isStringPrefix(string(src[start:i])) {
				kind = stringToken
				i, closed = stringEnd(src, i)
			}
		default:
			i += opLength(src[i:])
		}
		text := string(src[start:i])
		t := token{kind: kind, text: text, line: startLine, col: startCol, spaced: spaced, depth: depth, closed: closed}
		spaced = false
		line, col = advance(line, col, text)
		t.endLine, t.endCol = line, col
		if kind == opToken {
			switch text {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth = max(depth-1, 0)
			}
		}
		toks = append(toks, t)
	}
	return toks
}

// advance is the position after text.
func advance(line, col int, text string) (int, int) {
	for i := 0; i < len(text); {
		if w := newline([]byte(text[i:min(i+2, len(text))])); w > 0 {
			line++
			col = 1
			i += w
			continue
		}
		_, w := utf8.DecodeRuneInString(text[i:])
		col++
		i += w
	}
	return line, col
}

// stringEnd is the offset after the string literal whose quote is at i.
func stringEnd(src []byte, i int) (end int, closed bool) {
	c := src[i]
	if i+2 < len(src) && src[i+1] == c && src[i+2] == c {
		for i += 3; i < len(src); {
			n, _, closed := scanTriple(src[i:], c)
			i += n
			if closed {
				return i, true
			}
		}
		return i, false
	}
	n, _ := scanQuoted(src[i:])
	return i + n, n > 1 && src[i+n-1] == c
}

func isStringPrefix(s string) bool {
	switch s {
	case "r", "b", "rb", "f", "F", "fr", "rf", "Rf", "rF", "FR", "RF", "fR", "Fr", "R", "B", "u", "U", "br", "t":
		return true
	}
	return false
}

var longOps = []string{
	"**=", "//=", "<<=", ">>=", "...",
	":=", "->", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "**", "//", "<<", ">>", "++", "--", "&&", "||", "=>", "<>",
}

func opLength(b []byte) int {
	for _, op := range longOps {
		if len(b) >= len(op) && string(b[:len(op)]) == op {
			return len(op)
		}
	}
	_, n := utf8.DecodeRune(b)
	return n
}
