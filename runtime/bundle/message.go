package bundle

import "fmt"

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
	if m.Line == 0 {
		return fmt.Sprintf("%s: %s", m.Severity, m.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", m.File, m.Line, m.Col, m.Severity, m.Text)
}
