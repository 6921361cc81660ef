package lsp

import (
	"net/url"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.lsp.dev/protocol"
	"go.lsp.dev/uri"

	"sst/starlark/diag"
)

// document is one version of a file's text. It never changes.
type document struct {
	path    string // absolute; "@sst/..." for the prelude
	uri     string // as the editor writes it
	version int32  // of an open one
	open    bool
	src     []byte
	lines   []int // offsets of the beginnings of lines
}

func newDocument(path, uri string, version int32, src []byte) *document {
	return &document{path: path, uri: uri, version: version, src: src, lines: lineStarts(src)}
}

func lineStarts(src []byte) []int {
	starts := make([]int, 1, len(src)/24+1)
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '\n':
			starts = append(starts, i+1)
		case '\r':
			if i+1 < len(src) && src[i+1] == '\n' {
				i++
			}
			starts = append(starts, i+1)
		}
	}
	return starts
}

// replaced is the document with other text between two offsets.
func (d *document) replaced(start, end int, text string, version int32) *document {
	src := make([]byte, 0, len(d.src)+len(text)-(end-start))
	src = append(append(append(src, d.src[:start]...), text...), d.src[end:]...)
	// The lines around the change are counted anew, a line before it too: a \r and a \n may have come together.
	first := max(0, d.lineAt(start)-1)
	last := sort.SearchInts(d.lines, end+1)
	moved := len(src) - len(d.src)
	until := len(src)
	if last < len(d.lines) {
		until = d.lines[last] + moved
	}
	between := lineStarts(src[d.lines[first]:until])
	if last < len(d.lines) {
		between = between[:len(between)-1] // the first of the lines behind
	}
	lines := make([]int, 0, first+len(between)+len(d.lines)-last)
	lines = append(lines, d.lines[:first]...)
	for _, at := range between {
		lines = append(lines, d.lines[first]+at)
	}
	for _, at := range d.lines[last:] {
		lines = append(lines, at+moved)
	}
	return &document{path: d.path, uri: d.uri, version: version, src: src, lines: lines}
}

// clamp keeps an offset inside the text.
func (d *document) clamp(offset int) int { return max(0, min(offset, len(d.src))) }

// lineAt is the 0-based line of an offset.
func (d *document) lineAt(offset int) int {
	return sort.Search(len(d.lines), func(i int) bool { return d.lines[i] > offset }) - 1
}

// lineEnd is the offset of the end of a line, its line end left out.
func (d *document) lineEnd(line int) int {
	end := len(d.src)
	if line+1 < len(d.lines) {
		end = d.lines[line+1]
	}
	for end > d.lines[line] && (d.src[end-1] == '\n' || d.src[end-1] == '\r') {
		end--
	}
	return end
}

// offset is the place of a position of the protocol; one outside the text is moved into it.
func (d *document) offset(p protocol.Position, asUTF8 bool) int {
	if int64(p.Line) >= int64(len(d.lines)) {
		return len(d.src)
	}
	line := int(p.Line)
	at, end := d.lines[line], d.lineEnd(line)
	if asUTF8 {
		at = int(min(int64(at)+int64(p.Character), int64(end)))
		for at > d.lines[line] && at < end && !utf8.RuneStart(d.src[at]) {
			at--
		}
		return at
	}
	for units := int64(p.Character); units > 0 && at < end; {
		r, n := utf8.DecodeRune(d.src[at:end])
		units -= int64(max(utf16.RuneLen(r), 1))
		if units < 0 {
			break
		}
		at += n
	}
	return at
}

// position is the place of an offset in the protocol.
func (d *document) position(offset int, asUTF8 bool) protocol.Position {
	offset = d.clamp(offset)
	line := d.lineAt(offset)
	text := d.src[d.lines[line]:offset]
	units := len(text)
	if !asUTF8 {
		units = 0
		for i := 0; i < len(text); {
			if text[i] < utf8.RuneSelf {
				units++
				i++
				continue
			}
			r, n := utf8.DecodeRune(text[i:])
			units += max(utf16.RuneLen(r), 1)
			i += n
		}
	}
	return protocol.Position{Line: uint32(line), Character: uint32(units)}
}

func (d *document) span(start, end int, asUTF8 bool) protocol.Range {
	return protocol.Range{Start: d.position(start, asUTF8), End: d.position(end, asUTF8)}
}

// place is an offset as diagnostics and trees have it.
func (d *document) place(offset int) diag.Position {
	offset = d.clamp(offset)
	line := d.lineAt(offset)
	return diag.Position{File: d.path, Line: line + 1, Col: utf8.RuneCount(d.src[d.lines[line]:offset]) + 1}
}

// offsetOf is the opposite of place.
func (d *document) offsetOf(line, col int) int {
	if line < 1 || line > len(d.lines) {
		return len(d.src)
	}
	at, end := d.lines[line-1], d.lineEnd(line-1)
	for ; col > 1 && at < end; col-- {
		_, n := utf8.DecodeRune(d.src[at:end])
		at += n
	}
	return at
}

// rangeOf is a span of the tree in the protocol.
func (d *document) rangeOf(s diag.Span, asUTF8 bool) protocol.Range {
	if d.plain(s.Start) && d.plain(s.End) && (s.End.Line > s.Start.Line || s.End.Line == s.Start.Line && s.End.Col >= s.Start.Col) {
		return protocol.Range{
			Start: protocol.Position{Line: uint32(s.Start.Line - 1), Character: uint32(s.Start.Col - 1)},
			End:   protocol.Position{Line: uint32(s.End.Line - 1), Character: uint32(s.End.Col - 1)},
		}
	}
	start := d.offsetOf(s.Start.Line, s.Start.Col)
	end := start
	if s.End.Line > 0 {
		end = d.offsetOf(s.End.Line, s.End.Col)
	}
	return d.span(start, max(start, end), asUTF8)
}

// plain reports whether a place is counted the same in bytes, code points and UTF-16: nearly always.
func (d *document) plain(p diag.Position) bool {
	if p.Line < 1 || p.Line > len(d.lines) || p.Col < 1 {
		return false
	}
	start := d.lines[p.Line-1]
	end := start + p.Col - 1
	if end > d.lineEnd(p.Line-1) {
		return false
	}
	for _, c := range d.src[start:end] {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// pathOf is the file that a URI names; false for other schemes.
func pathOf(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "file" || u.Path == "" {
		return "", false
	}
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/")
	}
	return filepath.Clean(filepath.FromSlash(path)), true
}

// uriOf is the URI of a file.
func uriOf(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

func protocolURI(text string) uri.URI { return uri.URI(text) }
