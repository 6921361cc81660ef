// Package scan cuts Starlark text into tokens, for the formatter and the
// editor. It never fails and loses nothing: the texts of the tokens joined are
// the input. What the tokens mean is left to others.
package scan

import "unicode/utf8"

// Kind says what a Token is.
type Kind uint8

// The kinds of tokens.
const (
	Name Kind = iota // keywords too
	Number
	String  // with prefix and quotes
	Op      // operators, brackets, separators and bytes that mean nothing
	Comment // to the end of the line
	Newline // one line end
	Space   // blanks and tabs
	Joiner  // a backslash and the line end that it takes away
)

// Token is a piece of text.
type Token struct {
	Kind       Kind
	Start, End int  // byte offsets
	Open       bool // of a String: its end quote is missing
}

// Text is the token's text.
func (t Token) Text(src []byte) string { return string(src[t.Start:t.End]) }

// Is reports whether t is the operator or word text.
func (t Token) Is(src []byte, text string) bool {
	return (t.Kind == Op || t.Kind == Name) && string(src[t.Start:t.End]) == text
}

// Tokens cuts src.
func Tokens(src []byte) []Token {
	tokens := make([]Token, 0, len(src)/4+1)
	for i := 0; i < len(src); {
		t := next(src, i)
		tokens = append(tokens, t)
		i = t.End
	}
	return tokens
}

func next(src []byte, i int) Token {
	c := src[i]
	t := Token{Kind: Op, Start: i}
	switch {
	case c == ' ' || c == '\t':
		t.Kind, t.End = Space, i+1
		for t.End < len(src) && (src[t.End] == ' ' || src[t.End] == '\t') {
			t.End++
		}
	case lineEnd(src, i) > 0:
		t.Kind, t.End = Newline, i+lineEnd(src, i)
	case c == '\\' && lineEnd(src, i+1) > 0:
		t.Kind, t.End = Joiner, i+1+lineEnd(src, i+1)
	case c == '#':
		t.Kind, t.End = Comment, i
		for t.End < len(src) && lineEnd(src, t.End) == 0 {
			t.End++
		}
	case c == '"' || c == '\'':
		t.Kind = String
		t.End, t.Open = stringEnd(src, i)
	case '0' <= c && c <= '9', c == '.' && i+1 < len(src) && '0' <= src[i+1] && src[i+1] <= '9':
		t.Kind, t.End = Number, numberEnd(src, i)
	case IsNameByte(c):
		t.Kind, t.End = Name, i+1
		for t.End < len(src) && IsNameByte(src[t.End]) {
			t.End++
		}
		if t.End < len(src) && (src[t.End] == '"' || src[t.End] == '\'') && isPrefix(src[i:t.End]) {
			t.Kind = String
			t.End, t.Open = stringEnd(src, t.End)
		}
	default:
		t.End = i + opLength(src[i:])
	}
	return t
}

// lineEnd is the length of the line end at i, 0 when there is none.
func lineEnd(src []byte, i int) int {
	switch {
	case i >= len(src):
		return 0
	case src[i] == '\n':
		return 1
	case src[i] == '\r':
		if i+1 < len(src) && src[i+1] == '\n' {
			return 2
		}
		return 1
	}
	return 0
}

// IsNameByte reports whether c can stand in a name.
func IsNameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= utf8.RuneSelf
}

func isPrefix(b []byte) bool {
	switch string(b) {
	case "r", "b", "rb", "f", "F", "fr", "rf", "R", "B", "u", "U", "br":
		return true
	}
	return false
}

func numberEnd(src []byte, i int) int {
	start := i
	for i < len(src) {
		c := src[i]
		exponent := i > start && (src[i-1] == 'e' || src[i-1] == 'E') && !(start+1 < len(src) && (src[start+1] == 'x' || src[start+1] == 'X'))
		if !IsNameByte(c) && c != '.' && !((c == '+' || c == '-') && exponent) {
			break
		}
		i++
	}
	return i
}

// stringEnd is the offset after the string whose quote is at i.
func stringEnd(src []byte, i int) (end int, open bool) {
	quote := src[i]
	triple := i+2 < len(src) && src[i+1] == quote && src[i+2] == quote
	if triple {
		i += 2
	}
	for i++; i < len(src); {
		switch c := src[i]; {
		case c == '\\' && i+1 < len(src):
			i++
			if n := lineEnd(src, i); n > 0 {
				i += n
			} else {
				i++
			}
		case !triple && lineEnd(src, i) > 0:
			return i, true
		case c != quote:
			i++
		case !triple:
			return i + 1, false
		case i+2 < len(src) && src[i+1] == quote && src[i+2] == quote:
			return i + 3, false
		default:
			i++
		}
	}
	return len(src), true
}

var longOps = []string{
	"**=", "//=", "<<=", ">>=", "...",
	":=", "->", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "**", "//", "<<", ">>",
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

// IsKeyword reports whether a name is a word of the language.
func IsKeyword(name string) bool {
	switch name {
	case "and", "break", "continue", "def", "elif", "else", "for", "if", "in", "lambda", "load", "not", "or", "pass", "return", "while":
		return true
	}
	return false
}
