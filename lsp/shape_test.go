package lsp

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shape checks the marks about the shape of a file: its symbols, folds, highlights and formatting.
func (k *mark) shape(t *testing.T, c *testClient, where string, texts map[string]string) {
	t.Helper()
	ask := func(method string, params map[string]any, result any) {
		t.Helper()
		if err := c.request(method, params, result); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	file := map[string]any{"textDocument": map[string]any{"uri": uriOf(k.file)}}
	place := at(k.file, c.position(k.line, k.text, k.start))
	got := "none"
	switch k.verb {
	case "highlight":
		var list []struct{ Range testRange }
		ask("textDocument/documentHighlight", place, &list)
		var lines []string
		for _, h := range list {
			lines = append(lines, fmt.Sprint(h.Range.Start.Line+1))
		}
		if len(lines) > 0 {
			got = strings.Join(lines, " ")
		}
	case "prepare":
		var p struct{ Placeholder string }
		ask("textDocument/prepareRename", place, &p)
		if p.Placeholder != "" {
			got = p.Placeholder
		}
	case "fold":
		var folds []struct{ StartLine, EndLine int }
		ask("textDocument/foldingRange", file, &folds)
		for _, f := range folds {
			if f.StartLine == k.line {
				got = fmt.Sprint(f.EndLine + 1)
			}
		}
	case "symbol":
		var symbols []struct {
			Name           string
			Kind           int
			SelectionRange testRange
		}
		ask("textDocument/documentSymbol", file, &symbols)
		for _, s := range symbols {
			if here := c.position(k.line, k.text, k.start); s.SelectionRange.Start.Line == k.line && s.SelectionRange.Start.Character <= here.Character && here.Character < s.SelectionRange.End.Character {
				got = map[int]string{12: "function", 13: "variable", 19: "object"}[s.Kind] + " " + s.Name
			}
		}
	case "find":
		query, want, _ := strings.Cut(k.rest, " => ")
		var symbols []struct {
			Name     string
			Location struct {
				URI   string
				Range testRange
			}
		}
		ask("workspace/symbol", map[string]any{"query": query}, &symbols)
		var places []string
		for _, s := range symbols {
			path, _ := pathOf(s.Location.URI)
			places = append(places, fmt.Sprintf("%s:%d", filepath.Base(path), s.Location.Range.Start.Line+1))
		}
		slices.Sort(places)
		if strings.Join(places, " ") != want {
			t.Errorf("%s: got %q", where, places)
		}
		return
	case "format":
		file["options"] = map[string]any{"tabSize": 4, "insertSpaces": true}
		var edits []struct {
			Range   testRange
			NewText string
		}
		ask("textDocument/formatting", file, &edits)
		text := texts[k.file]
		for _, e := range slices.Backward(edits) {
			doc := newDocument(k.file, uriOf(k.file), 1, []byte(text))
			start, end := doc.offset(protocolPosition(e.Range.Start), c.utf8), doc.offset(protocolPosition(e.Range.End), c.utf8)
			text = text[:start] + e.NewText + text[end:]
		}
		if got = text; slices.Contains(strings.Split(text, "\n"), k.rest) {
			got = k.rest
		}
	}
	if got != k.rest {
		t.Errorf("%s: got %s", where, got)
	}
}
