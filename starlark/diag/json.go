package diag

import "encoding/json"

// MarshalJSON is the form for programs.
func (d *Diagnostic) MarshalJSON() ([]byte, error) {
	start, end := d.Span.Start, d.Span.End
	if end.Line == 0 {
		end = start
	}
	return json.Marshal(struct {
		File      string `json:"file,omitempty"`
		Line      int    `json:"line,omitempty"`
		Column    int    `json:"column,omitempty"`
		EndLine   int    `json:"endLine,omitempty"`
		EndColumn int    `json:"endColumn,omitempty"`
		Severity  string `json:"severity"`
		Code      string `json:"code,omitempty"`
		Summary   string `json:"summary"`
		Detail    string `json:"detail,omitempty"`
		Hint      string `json:"hint,omitempty"`
	}{start.File, start.Line, start.Col, end.Line, end.Col, d.Severity.String(), d.Code, d.Summary, d.Detail, d.Hint})
}
