package jsii

import (
	"strings"
	"unicode"
)

// Python names, computed as the generator of the CDK's Python bindings does.

// pythonKeywords get an underscore behind them.
var pythonKeywords = map[string]bool{
	"False": true, "None": true, "True": true, "and": true, "as": true, "assert": true, "async": true, "await": true,
	"break": true, "class": true, "continue": true, "def": true, "del": true, "elif": true, "else": true, "except": true,
	"finally": true, "for": true, "from": true, "global": true, "if": true, "import": true, "in": true, "is": true,
	"lambda": true, "nonlocal": true, "not": true, "or": true, "pass": true, "raise": true, "return": true, "try": true,
	"while": true, "with": true, "yield": true,
}

func pythonName(js string) string { return identifier(snake(js)) }

func identifier(s string) string {
	if pythonKeywords[s] {
		return s + "_"
	}
	return s
}

// snake turns camelCase into snake_case: a word starts at a capital after a small letter or digit, and at the last
// capital of several when a small letter follows ("myURLString" is my_url_string, "sha256Hash" sha256_hash).
// The units KiB, MiB and GiB are single words.
func snake(js string) string {
	js = units(js)
	r := []rune(js)
	var b strings.Builder
	b.Grow(len(js) + 4)
	cut := true // the last rune written was a separator, or none was written
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) && !cut {
			prev := r[i-1]
			if unicode.IsLower(prev) || unicode.IsDigit(prev) ||
				unicode.IsUpper(prev) && i+1 < len(r) && unicode.IsLower(r[i+1]) {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(c))
		cut = c == '_'
	}
	return b.String()
}

// units rewrites KiB, MiB and GiB to Kib, Mib and Gib where they stand as words of their own.
func units(s string) string {
	if !strings.Contains(s, "iB") {
		return s
	}
	b := []byte(s)
	for i := 0; i+3 <= len(b); i++ {
		if c := b[i]; (c != 'K' && c != 'M' && c != 'G') || b[i+1] != 'i' || b[i+2] != 'B' {
			continue
		}
		if i > 0 && b[i-1] >= 'A' && b[i-1] <= 'Z' || i+3 < len(b) && b[i+3] >= 'a' && b[i+3] <= 'z' {
			continue
		}
		b[i+2] = 'b'
	}
	return string(b)
}
