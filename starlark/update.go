package interp

// The next version of a file, for the cost of what changed.

import (
	"bytes"
	"sort"
)

// Update is the file with another text. Statements that are the same keep their trees and what is noted of them, on
// whatever line they are now.
func (f *File) Update(src []byte) *File {
	if d := notText(f.Path, src); d != nil {
		return Parse(f.Path, src)
	}
	chunks, plain := f.resplit(src)
	statements := make([]Statement, len(chunks))
	before := f.Statements
	same := func(c *Chunk, s *Statement) bool {
		return len(c.Text) == len(s.Text) && bytes.Equal(c.Text, s.Text) && s.tree != nil &&
			((c.Line == 1) == (s.Line == 1) || !bytes.HasPrefix(c.Text, byteOrderMark))
	}
	first := 0
	for first < len(chunks) && first < len(before) && same(&chunks[first], &before[first]) {
		first++
	}
	last := 0
	for last < len(chunks)-first && last < len(before)-first && same(&chunks[len(chunks)-1-last], &before[len(before)-1-last]) {
		last++
	}
	keep := func(s Statement, c Chunk) Statement {
		if s.Error != nil && s.Line != c.Line { // the error says where it is
			s.Error = ParseChunk(f.Path, c).Error
		}
		s.Chunk = c
		return s
	}
	offset := 0
	for i, chunk := range chunks {
		switch {
		case i < first:
			statements[i] = keep(before[i], chunk)
		case i >= len(chunks)-last:
			statements[i] = keep(before[len(before)-(len(chunks)-i)], chunk)
		default:
			statements[i] = ParseChunk(f.Path, chunk)
		}
		statements[i].Offset = offset
		offset += len(chunk.Text)
	}
	next := Assemble(f.Path, src, statements)
	next.plain = plain
	return next
}

// With is the file with another statement in the place of one, for a question about what could be there.
func (f *File) With(index int, s Statement) *File {
	statements := append([]Statement(nil), f.Statements...)
	statements[index] = s
	return Assemble(f.Path, f.Src, statements)
}

// resplit is split of the next text: it looks for cuts from the statement before the change on, until one falls
// together with one of before.
func (f *File) resplit(src []byte) (chunks []Chunk, plain bool) {
	if !f.plain || len(f.Statements) < 2 {
		return split(src)
	}
	before := f.Statements
	head := commonPrefix(f.Src, src)
	tail := commonSuffix(f.Src[head:], src[head:])
	// The statement with the change may now belong to the one before it.
	from := max(0, sort.Search(len(before), func(i int) bool { return before[i].Offset > head })-2)
	s := &splitter{src: src, line: before[from].Line, off: before[from].Offset, start: before[from].Offset, firstLine: before[from].Line, pendingOff: -1}
	chunks = make([]Chunk, 0, len(before)+2)
	for i := range before[:from] {
		chunks = append(chunks, Chunk{before[i].Line, src[before[i].Offset : before[i].Offset+len(before[i].Text)]})
	}
	for cuts := 0; s.off < len(src); {
		s.step()
		if s.resumes > 0 {
			return split(src)
		}
		if len(s.chunks) == cuts {
			continue
		}
		cuts = len(s.chunks)
		left := len(src) - s.start
		if left > tail {
			continue
		}
		old := len(f.Src) - left
		if i := sort.Search(len(before), func(i int) bool { return before[i].Offset >= old }); i < len(before) && before[i].Offset == old {
			chunks = append(chunks, s.chunks...)
			down := s.startLine() - before[i].Line
			for ; i < len(before); i++ {
				at := before[i].Offset - old + s.start
				chunks = append(chunks, Chunk{before[i].Line + down, src[at : at+len(before[i].Text)]})
			}
			return chunks, true
		}
	}
	if !s.state.clean() {
		return split(src) // which may have to go back to a line before the change
	}
	chunks = append(chunks, s.chunks...)
	if s.start < len(src) {
		chunks = append(chunks, Chunk{s.startLine(), src[s.start:]})
	}
	return chunks, true
}

func commonPrefix(a, b []byte) int {
	n := 0
	const step = 256
	for n+step <= len(a) && n+step <= len(b) && bytes.Equal(a[n:n+step], b[n:n+step]) {
		n += step
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b []byte) int {
	n := 0
	const step = 256
	for n+step <= len(a) && n+step <= len(b) && bytes.Equal(a[len(a)-n-step:len(a)-n], b[len(b)-n-step:len(b)-n]) {
		n += step
	}
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}
