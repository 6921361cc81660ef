package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	interp "sst/starlark"
	"sst/starlark/scan"
)

// minReplay is the share of marked keys at which what was meant is among the first five.
const minReplay = 0.95

// TestReplay deletes each statement of the examples and templates in turn and types it again, key by key. Nothing
// crashes, the names of the other statements stay known, and at the marked keys (the second letter of a name, keyword or
// key that is longer than three, unless the user makes it up) what was typed is among the first five that are offered.
func TestReplay(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../examples/*/*.star", "../cmd/templates/*/*.star"} {
		found, _ := filepath.Glob(pattern)
		files = append(files, found...)
	}
	if len(files) < 8 {
		t.Fatalf("%d files", len(files))
	}
	r := &replay{t: t}
	for _, file := range files {
		file, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r.file(file, src)
	}
	share := float64(r.first) / float64(r.marked)
	t.Logf("%d files, %d keys, %d marked, expected item in the top 5 at %.1f %%", len(files), r.keys, r.marked, 100*share)
	if share < minReplay || r.marked < 150 {
		t.Errorf("%d marked keys, expected item in the top 5 at %.1f %%, want %.0f; missed:\n%s", r.marked, 100*share, 100*minReplay, strings.Join(r.missed, "\n"))
	}
}

type replay struct {
	t                   *testing.T
	keys, marked, first int
	missed              []string
}

func (r *replay) file(path string, src []byte) {
	server := New(Options{})
	parsed := interp.Parse(path, src)
	for i := range parsed.Statements {
		statement := &parsed.Statements[i]
		before, after := src[:statement.Offset], src[statement.Offset+len(statement.Text):]
		others := definitionsWithout(parsed, i)
		marks := marksOf(statement.Text)
		doc := newDocument(path, uriOf(path), 0, slices.Concat(before, after))
		s := newSnapshot(Options{}).with(doc)
		s.analyse(path)
		for n := 1; n <= len(statement.Text); n++ {
			r.keys++
			doc = newDocument(path, uriOf(path), int32(n), slices.Concat(before, statement.Text[:n], []byte("\n"), after))
			doc.open = true
			s = s.with(doc)
			a := s.analyse(path)
			c := &call{server: server, client: client{utf8: true}, snapshot: s}
			for _, name := range others {
				if a.outlined().Lookup(name) == nil || !a.inf.Defines(name) {
					r.t.Fatalf("%s: %q is gone after\n%s", path, name, statement.Text[:n])
				}
			}
			want := marks[n]
			if want == "" {
				if n%7 == 0 { // else only at the end of each word: what surrounds the cursor is the same
					c.complete(a, len(before)+n).reply()
				}
				continue
			}
			r.marked++
			var top []string
			for _, item := range c.complete(a, len(before)+n).reply().Items {
				if top = append(top, strings.Trim(item.Label, `"`)); len(top) == 5 {
					break
				}
			}
			if slices.Contains(top, want) {
				r.first++
			} else {
				r.missed = append(r.missed, fmt.Sprintf("%s: %q after %q: got %q", filepath.Base(filepath.Dir(path)), want, lastLine(statement.Text[:n]), top))
			}
		}
	}
}

func lastLine(text []byte) string {
	return string(text[strings.LastIndexByte(string(text), '\n')+1:])
}

// definitionsWithout are the globals that the other statements define.
func definitionsWithout(f *interp.File, i int) []string {
	statements := slices.Delete(slices.Clone(f.Statements), i, i+1)
	var names []string
	for _, d := range interp.Assemble(f.Path, f.Src, statements).Outline().Definitions {
		names = append(names, d.Name)
	}
	return names
}

// marksOf finds the marked keys of a statement: number of bytes typed, and what is meant. New names are not meant by anybody but
// the user, nor are texts; keys of dicts are names when a keyword or an attribute may be called like that.
func marksOf(text []byte) map[int]string {
	marks := map[int]string{}
	var code []scan.Token
	for _, t := range scan.Tokens(text) {
		switch t.Kind {
		case scan.Space, scan.Newline, scan.Joiner, scan.Comment:
		default:
			code = append(code, t)
		}
	}
	is := func(i int, what string) bool { return i >= 0 && i < len(code) && code[i].Is(text, what) }
	bound := map[string]bool{}
	depth := 0
	for i, t := range code {
		switch {
		case is(i, "(") || is(i, "[") || is(i, "{"):
			depth++
		case is(i, ")") || is(i, "]") || is(i, "}"):
			depth--
		}
		if t.Kind != scan.Name {
			continue
		}
		name := t.Text(text)
		keyword := depth > 0 && is(i+1, "=")
		if keyword && strings.Contains(lastLine(text[:t.Start]), ".output(") {
			continue // outputs are named by the user
		}
		fresh := depth == 0 && is(i+1, "=") || is(i-1, "def") || is(i-1, "for")
		if fresh || inParameters(code, text, i) {
			bound[name] = true
			continue
		}
		if len(name) > 3 && (keyword || is(i-1, ".") || !bound[name]) && !scan.IsKeyword(name) {
			marks[t.Start+2] = name
		}
	}
	return marks
}

// inParameters reports whether a token is a parameter in the head of a def or lambda.
func inParameters(code []scan.Token, text []byte, i int) bool {
	for j := i - 1; j >= 0; j-- {
		if code[j].Is(text, "lambda") {
			return true
		}
		if code[j].Is(text, ":") || code[j].Is(text, ")") {
			return false
		}
		if code[j].Is(text, "def") {
			return true
		}
	}
	return false
}
