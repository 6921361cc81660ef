package bundle

import (
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/evanw/esbuild/pkg/api"
)

// Severity of a message.
type Severity int

const (
	Error Severity = iota
	Warning
	Note
)

func (s Severity) String() string {
	return [...]string{"error", "warning", "note"}[s]
}

// Message is what a compiler has to say. Line and Col are 1-based and count runes, Length is in runes; Line 0 means
// the place is unknown. File is absolute.
type Message struct {
	Severity          Severity
	Text              string
	File              string
	Line, Col, Length int
	LineText          string
	Notes             []Message
}

func (m Message) String() string {
	switch {
	case m.Line != 0:
		return fmt.Sprintf("%s:%d:%d: %s: %s", m.File, m.Line, m.Col, m.Severity, m.Text)
	case m.File != "":
		return fmt.Sprintf("%s: %s: %s", m.File, m.Severity, m.Text)
	}
	return fmt.Sprintf("%s: %s", m.Severity, m.Text)
}

func errorAt(file, format string, args ...any) Message {
	return Message{Severity: Error, File: file, Text: fmt.Sprintf(format, args...)}
}

// place takes over esbuild's location, whose column and length are bytes, 0-based. absolute gives the file's path.
func (m *Message) place(l *api.Location, absolute func(string) string) {
	if l == nil {
		return
	}
	m.File = absolute(filepath.FromSlash(l.File))
	m.LineText = l.LineText
	if l.Line == 0 {
		return
	}
	start := min(l.Column, len(l.LineText))
	end := min(start+l.Length, len(l.LineText))
	m.Line = l.Line
	m.Col = utf8.RuneCountInString(l.LineText[:start]) + 1
	m.Length = utf8.RuneCountInString(l.LineText[start:end])
}

func fromEsbuild(all []api.Message, severity Severity, absolute func(string) string) []Message {
	out := make([]Message, 0, len(all))
	for _, each := range all {
		m := Message{Severity: severity, Text: each.Text}
		m.place(each.Location, absolute)
		for _, note := range each.Notes {
			n := Message{Severity: Note, Text: note.Text}
			n.place(note.Location, absolute)
			m.Notes = append(m.Notes, n)
		}
		out = append(out, m)
	}
	return out
}
