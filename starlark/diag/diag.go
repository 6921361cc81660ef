// Package diag holds diagnostics: what is wrong, where, and what to do about it.
//
// It owns the form of a problem ([Diagnostic], [List]), its text for people
// ([Printer]) and for programs (JSON), and the search for the nearest known
// name ([Nearest]). Finding problems is left to the packages above.
package diag

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Severity says how bad a Diagnostic is. The zero value is Error.
type Severity int

const (
	Error   Severity = iota // the run fails
	Warning                 // the run goes on, the user should look
	Note                    // worth knowing
)

// String is the word that people and programs read: "error", "warning", "note".
func (s Severity) String() string {
	switch s {
	case Warning:
		return "warning"
	case Note:
		return "note"
	}
	return "error"
}

// Position is a place in a file. Line and Col are 1-based, Col counts runes
// as go.starlark.net does. Line 0 means that the place in File is unknown;
// an empty File that the place is unknown altogether.
type Position struct {
	File string // absolute, or "@sst/..." for the prelude
	Line int
	Col  int
}

// IsValid reports whether p names at least a file.
func (p Position) IsValid() bool { return p.File != "" }

// String is "file:line:col" as far as it is known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Compare orders positions by file, line and column.
func (p Position) Compare(q Position) int {
	return cmp.Or(strings.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Span is a piece of a file. End is exclusive; a zero End makes it a point.
type Span struct{ Start, End Position }

// Point is the span of a single position.
func Point(p Position) Span { return Span{Start: p} }

// Frame is one call on the way from the user's line to the fault.
type Frame struct {
	Name string
	Pos  Position
}

// Diagnostic is one problem. Summary is constant for its Code; names and
// values go into Detail.
type Diagnostic struct {
	Severity Severity
	Code     string // stable kebab-case id, "unknown-parameter"
	Summary  string // "Unknown parameter"
	Detail   string // `Queue has no parameter "consumr".`
	Hint     string // `Did you mean "consumer"?`, at most one
	Span     Span
	Frames   []Frame // what runs below the user's line, innermost last
	Callers  []Frame // the user's own calls above it, outermost first
}

// Error is the diagnostic in one line.
func (d *Diagnostic) Error() string {
	var b strings.Builder
	if d.Span.Start.IsValid() {
		b.WriteString(d.Span.Start.String())
		b.WriteString(": ")
	}
	b.WriteString(d.Severity.String())
	b.WriteString(": ")
	b.WriteString(d.Summary)
	if text := d.text(); text != "" {
		b.WriteString(": ")
		b.WriteString(strings.ReplaceAll(text, "\n", " "))
	}
	return b.String()
}

// text is detail and hint as people read them.
func (d *Diagnostic) text() string {
	switch {
	case d.Hint == "":
		return d.Detail
	case d.Detail == "":
		return d.Hint
	}
	return d.Detail + " " + d.Hint
}

// List is an ordered set of diagnostics that serves as an error.
type List []*Diagnostic

// Error is one line for each diagnostic.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, d := range l {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As and errors.Is each diagnostic.
func (l List) Unwrap() []error {
	errs := make([]error, len(l))
	for i, d := range l {
		errs[i] = d
	}
	return errs
}

// HasErrors reports whether any diagnostic is an Error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d *Diagnostic) bool { return d.Severity == Error })
}

// Err is l as an error when it holds one, else nil.
func (l List) Err() error {
	if l.HasErrors() {
		return l
	}
	return nil
}

// Sorted is a copy of l by file, line, column and severity, without repetition.
// Diagnostics without a place come last.
func (l List) Sorted() List {
	sorted := slices.Clone(l)
	slices.SortStableFunc(sorted, func(a, b *Diagnostic) int {
		p, q := a.Span.Start, b.Span.Start
		if p.IsValid() != q.IsValid() {
			if p.IsValid() {
				return -1
			}
			return 1
		}
		return cmp.Or(p.Compare(q), cmp.Compare(a.Severity, b.Severity),
			strings.Compare(a.Code, b.Code), strings.Compare(a.Detail, b.Detail))
	})
	return slices.CompactFunc(sorted, func(a, b *Diagnostic) bool {
		return a.Span == b.Span && a.Severity == b.Severity && a.Code == b.Code &&
			a.Summary == b.Summary && a.Detail == b.Detail && a.Hint == b.Hint
	})
}

// relative is file as shown under base: slashes, never climbing out of it.
func relative(base, file string) string {
	if base == "" || !filepath.IsAbs(file) {
		return file
	}
	rel, err := filepath.Rel(base, file)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return file
	}
	return filepath.ToSlash(rel)
}
