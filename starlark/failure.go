package interp

import (
	"fmt"

	"sst/starlark/diag"
)

// Failure is the error that a builtin returns for a mistake of the user. It
// becomes a Diagnostic at the user's line. Keyword, Value and Positional move
// the caret to that part of the user's call; a Value is looked for inside the
// argument that Keyword or Positional names, when there is one.
type Failure struct {
	Severity   diag.Severity
	Code       string
	Summary    string
	Detail     string
	Hint       string
	Keyword    string       // keyword of the user's call
	Value      string       // string literal anywhere inside the user's call
	Positional int          // 1-based positional argument of the user's call; 0 = none
	Cause      error        // for errors.Is and errors.As
	Frames     []diag.Frame // below the builtin, e.g. JavaScript; innermost last
}

// Errorf makes a Failure; its Detail is formatted.
func Errorf(code, summary, format string, args ...any) *Failure {
	return &Failure{Code: code, Summary: summary, Detail: fmt.Sprintf(format, args...)}
}

// Error is summary and detail in one line.
func (f *Failure) Error() string {
	if f.Detail == "" {
		return f.Summary
	}
	return f.Summary + ": " + f.Detail
}

// Unwrap is the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// diagnostic is f at a place.
func (f *Failure) diagnostic(span diag.Span) *diag.Diagnostic {
	return &diag.Diagnostic{Severity: f.Severity, Code: f.Code, Summary: f.Summary, Detail: f.Detail, Hint: f.Hint, Span: span, Frames: f.Frames}
}

// FailureAt turns a failure into a diagnostic whose place is the user's call
// at pos in f (which may be nil), for what is found after the call: warnings,
// errors of a queue, checks before synth.
func FailureAt(failure *Failure, f *File, pos diag.Position) *diag.Diagnostic {
	span := diag.Point(pos)
	if f != nil {
		span = f.Locate(pos, failure.Keyword, failure.Positional, failure.Value)
	}
	return failure.diagnostic(span)
}
