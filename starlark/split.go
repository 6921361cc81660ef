package interp

import "bytes"

// Chunk is a piece of a file that begins at column 0: a statement with the
// comments before it.
type Chunk struct {
	Line int    // 1-based first line
	Text []byte // with its line ends; the chunks of a file concatenated are the file
}

// Split cuts src at the statements that start in column 0. Brackets, strings
// and continued lines that are closed properly are never cut, whatever stands
// in column 0 inside them. One that is never closed ends before the next line
// that looks like a statement, so that it costs one statement and not the rest of the file.
func Split(src []byte) []Chunk {
	chunks, _ := split(src)
	return chunks
}

// split is Split; plain says that it went from cut to cut without going back.
func split(src []byte) (chunks []Chunk, plain bool) {
	s := &splitter{src: src, line: 1, pendingOff: -1}
	for s.off < len(src) || s.resume() {
		s.step()
	}
	if s.start < len(src) {
		s.chunks = append(s.chunks, Chunk{s.startLine(), src[s.start:]})
	}
	return s.chunks, s.resumes == 0 && s.state.clean()
}

type splitter struct {
	src    []byte
	chunks []Chunk

	off, line int // the line to look at next

	start, firstLine int    // of the open chunk; firstLine 0 = 1
	word             string // first word of its first statement, "" when it has comments only
	pendingOff       int    // first of the comments since the last code, -1 when there are none
	pendingLine      int

	state   lexState
	opener  cut // where the open chunk could be cut when its bracket is never closed
	inside  cut // the same for the first chunk with such a line inside a string
	resumes int
}

// lexState is what a line inherits from the lines before it.
type lexState struct {
	brackets []byte
	quote    byte // of an open triple-quoted string
	cont     bool // the line before ended in a backslash
}

func (l *lexState) clean() bool { return len(l.brackets) == 0 && l.quote == 0 && !l.cont }

// cut is a way back: the line to cut at, and what was known when it was passed.
type cut struct {
	ok               bool
	off, line        int
	chunks           int
	start, firstLine int
}

func (s *splitter) startLine() int { return max(s.firstLine, 1) }

// step consumes one line (or several that a string or backslash ties together).
func (s *splitter) step() {
	rest := s.src[s.off:]
	c := rest[0]
	column0 := c != ' ' && c != '\t' && c != '\r' && c != '\n'
	switch {
	case !s.state.clean():
		if column0 && s.state.quote == 0 && len(s.state.brackets) > 0 && startsDefinition(rest) {
			// def and load never stand inside brackets.
			if s.opener.ok && s.rewind(s.opener) {
				return
			}
			s.cutAt(s.off, s.line)
			s.word = firstWord(rest)
			break
		}
		if column0 && !s.state.cont && looksLikeStatement(rest) {
			here := cut{true, s.off, s.line, len(s.chunks), s.start, s.firstLine}
			if s.state.quote != 0 {
				if !s.inside.ok {
					s.inside = here
				}
			} else if !s.opener.ok {
				s.opener = here
			}
		}
	case !column0:
		if !blankOrComment(rest) {
			s.pendingOff = -1
		}
	case c == '#':
		if s.pendingOff < 0 {
			s.pendingOff, s.pendingLine = s.off, s.line
		}
	default:
		if word := firstWord(rest); s.word == "" {
			s.word = word
			s.pendingOff = -1
		} else if continues(s.word, word) {
			s.pendingOff = -1
		} else {
			if s.pendingOff >= 0 {
				s.cutAt(s.pendingOff, s.pendingLine)
			} else {
				s.cutAt(s.off, s.line)
			}
			s.word = word
		}
	}
	n, lines := s.state.scanLine(rest)
	s.off += n
	s.line += lines
}

func (s *splitter) cutAt(off, line int) {
	if off > s.start {
		s.chunks = append(s.chunks, Chunk{s.startLine(), s.src[s.start:off]})
	}
	s.start, s.firstLine = off, line
	s.pendingOff = -1
	s.state = lexState{brackets: s.state.brackets[:0]}
	s.opener = cut{}
}

// maxResumes bounds the work on files with very many open brackets.
const maxResumes = 64

// resume goes back to where an open bracket or string should have ended, when
// the end of the file was reached inside one.
func (s *splitter) resume() bool {
	at := s.opener
	if s.state.quote != 0 {
		at = s.inside
	}
	return !s.state.clean() && at.ok && s.rewind(at)
}

// rewind cuts at a line that was passed before.
func (s *splitter) rewind(at cut) bool {
	if s.resumes == maxResumes {
		return false
	}
	s.resumes++
	s.chunks = s.chunks[:at.chunks]
	s.start, s.firstLine = at.start, at.firstLine
	s.off, s.line = at.off, at.line
	s.cutAt(at.off, at.line)
	s.word = ""
	s.inside = cut{}
	return true
}

// scanLine reads to the end of the line and returns its length and how many
// line ends it holds.
func (l *lexState) scanLine(b []byte) (n, lines int) {
	l.cont = false
	for n < len(b) {
		if l.quote != 0 {
			size, newlines, closed := scanTriple(b[n:], l.quote)
			n += size
			lines += newlines
			if !closed {
				return n, lines
			}
			l.quote = 0
			continue
		}
		switch c := b[n]; c {
		case '\n', '\r':
			return n + newline(b[n:]), lines + 1
		case '#':
			for n < len(b) && b[n] != '\n' && b[n] != '\r' {
				n++
			}
		case '\\':
			if w := newline(b[n+1:]); w > 0 {
				l.cont = true
				return n + 1 + w, lines + 1
			}
			n++
		case '"', '\'':
			if n+2 < len(b) && b[n+1] == c && b[n+2] == c {
				l.quote = c
				n += 3
				continue
			}
			size, newlines := scanQuoted(b[n:])
			n += size
			lines += newlines
		case '(', '[', '{':
			l.brackets = append(l.brackets, c)
			n++
		case ')', ']', '}':
			l.close(c)
			n++
		default:
			n++
		}
	}
	return n, lines
}

// close closes the innermost bracket of the kind of c and what is open inside it.
func (l *lexState) close(c byte) {
	if i := bytes.LastIndexByte(l.brackets, opening(c)); i >= 0 {
		l.brackets = l.brackets[:i]
	}
}

func opening(c byte) byte {
	switch c {
	case ')':
		return '('
	case ']':
		return '['
	}
	return '{'
}

// scanTriple reads inside a triple-quoted string to its end or to the end of the line.
func scanTriple(b []byte, quote byte) (n, lines int, closed bool) {
	for n < len(b) {
		switch c := b[n]; {
		case c == '\n' || c == '\r':
			return n + newline(b[n:]), 1, false
		case c == '\\' && n+1 < len(b) && newline(b[n+1:]) == 0:
			n += 2
		case c == quote && n+2 < len(b) && b[n+1] == quote && b[n+2] == quote:
			return n + 3, 0, true
		default:
			n++
		}
	}
	return n, 0, false
}

// scanQuoted reads a single-quoted string from its first quote to its end, or
// to the end of the line, which it leaves.
func scanQuoted(b []byte) (n, lines int) {
	quote := b[0]
	for n = 1; n < len(b); {
		switch b[n] {
		case quote:
			return n + 1, lines
		case '\n', '\r':
			return n, lines
		case '\\':
			n++
			if w := newline(b[n:]); w > 0 {
				n += w
				lines++
			} else if n < len(b) {
				n++
			}
		default:
			n++
		}
	}
	return n, lines
}

// newline is the length of the line end that b begins with, 0 when it has none.
func newline(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == '\n':
		return 1
	case b[0] == '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	}
	return 0
}

func blankOrComment(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t':
		case '\n', '\r', '#':
			return true
		default:
			return false
		}
	}
	return true
}

// firstWord is the identifier that b begins with, or its first byte.
func firstWord(b []byte) string {
	n := 0
	for n < len(b) && isNameByte(b[n]) {
		n++
	}
	return string(b[:max(n, 1)])
}

func isNameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= 0x80
}

// continues reports whether a line that begins with word in column 0 belongs
// to the statement that begins with first.
func continues(first, word string) bool {
	switch word {
	case "else", "elif":
		return first == "if" || first == "for" || first == "while" || first == "try"
	case "except", "finally":
		return first == "try"
	}
	return false
}

func startsDefinition(b []byte) bool {
	return bytes.HasPrefix(b, []byte("def ")) || bytes.HasPrefix(b, []byte("load("))
}

// looksLikeStatement reports whether the line could begin a statement, as
// opposed to the middle of a call: def, load, name =, name(, name.name(.
func looksLikeStatement(b []byte) bool {
	if startsDefinition(b) {
		return true
	}
	n := 0
	for n < len(b) && (isNameByte(b[n]) || b[n] == '.') {
		n++
	}
	if n == 0 || '0' <= b[0] && b[0] <= '9' {
		return false
	}
	switch string(b[:n]) {
	case "if", "for":
		line := b
		if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
			line = b[:i]
		}
		return bytes.HasSuffix(bytes.TrimRight(line, " \t"), []byte(":"))
	}
	if n < len(b) && b[n] == '(' {
		return true
	}
	for n < len(b) && b[n] == ' ' {
		n++
	}
	if n < len(b) && b[n] == '+' {
		n++
	}
	return n+1 < len(b) && b[n] == '=' && b[n+1] != '='
}
