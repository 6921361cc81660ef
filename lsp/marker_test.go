package lsp

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var showMarks = flag.Bool("show", false, "print what each mark sees")

// TestMarkers runs testdata/lsp_*.txtar: projects with marks. A mark is a
// comment whose carets stand under the place of the line above that it is about; it is not
// part of the text. Behind the carets stands what is asked and what is wanted:
//
//	complete A B !C     A and B are offered, C is not; "first: A" = A is the first, "none" = nothing is
//	insert A => TEXT    what accepting A writes
//	resolve A REGEXP    the documentation of the offered A
//	hover REGEXP        "none" = nothing
//	sig REGEXP          label of the signature and, behind a space, the active parameter
//	def FILE:LINE       or FILE alone; several when several are given, "none" = nowhere
//	page FILE => LINE   the definition is this line of a page of documentation
//	refs FILE:LINE...   all references, the declaration too
//	rename NEW => ...   FILE:N edits in each, or "error REGEXP"
//	diag CODE REGEXP    a diagnostic exactly over the carets; once a file has one all its diagnostics need one
//	fix TITLE => LINE   the line after the quick fix, "\n" for line ends
//	token TYPE          the semantic token
//	lens TITLE => NAME  the code lens over the carets and what it is about; "none" = there is none
//	hint TEXT           the inlay hint before the carets, "none" = there is none
//	link FILE           the link over the carets
//	highlight LINE...   the lines where the name is
//	prepare NAME        what rename offers to change, "none" = nothing
//	fold LINE           the fold that begins here ends there, "none" = none begins here
//	symbol KIND NAME    a symbol of the file is named here
//	find QUERY => FILE:LINE...  symbols of the workspace
//	format LINE         a line of the file as formatting makes it
//	select A => B => C  what the selection grows to; the rest is not looked at
//
// A comment of the archive with the words "no diagnostics" asks for none in files without such marks.
func TestMarkers(t *testing.T) {
	archives, _ := filepath.Glob("../testdata/lsp_*.txtar")
	if len(archives) == 0 {
		t.Fatal("no archives")
	}
	count := 0
	for _, name := range archives {
		for _, encoding := range []string{"utf-8", "utf-16"} {
			t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar")+"/"+encoding, func(t *testing.T) {
				archive, err := txtar.ParseFile(name)
				if err != nil {
					t.Fatal(err)
				}
				n := runMarkers(t, archive, encoding)
				if encoding == "utf-8" {
					count += n
				}
			})
		}
	}
	t.Logf("%d marks", count)
}

type mark struct {
	file       string
	line       int // 0-based, in the text without marks
	start, end int // byte offsets in the line
	verb, rest string
	text       string // of the line
}

var markLine = regexp.MustCompile(`^\s*#\s*(\^+) (\w+)(?: (.*))?$`)

// parseMarks takes the marks out of a text.
func parseMarks(name, text string) (clean string, marks []mark) {
	var lines []string
	for _, line := range strings.SplitAfter(text, "\n") {
		m := markLine.FindStringSubmatchIndex(strings.TrimSuffix(line, "\n"))
		if m == nil {
			lines = append(lines, line)
			continue
		}
		above := strings.TrimSuffix(lines[len(lines)-1], "\n")
		columns := func(n int) int { // carets stand under characters, not bytes
			runes := []rune(above)
			return len(string(runes[:min(n, len(runes))]))
		}
		k := mark{file: name, line: len(lines) - 1, start: columns(m[2]), end: columns(m[3]), verb: line[m[4]:m[5]], text: above}
		if m[6] >= 0 {
			k.rest = line[m[6]:m[7]]
		}
		marks = append(marks, k)
	}
	return strings.Join(lines, ""), marks
}

func runMarkers(t *testing.T, archive *txtar.Archive, encoding string) int {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	var marks []mark
	for _, f := range archive.Files {
		path := filepath.Join(root, filepath.FromSlash(f.Name))
		text, found := string(f.Data), []mark(nil)
		if strings.HasSuffix(f.Name, ".star") {
			text, found = parseMarks(path, text)
			texts[path] = text
			marks = append(marks, found...)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := newClientWith(t, root, markerActions, encoding)
	diagnostics := map[string][]testDiagnostic{}
	strict := map[string]bool{}
	for path, text := range texts {
		c.open(path, text)
		diagnostics[path] = c.diagnosed(path, 1)
		strict[path] = strings.Contains(string(archive.Comment), "no diagnostics")
	}
	for _, k := range marks {
		k.run(t, c, texts, diagnostics)
		if k.verb == "diag" {
			strict[k.file] = true
		}
	}
	for path := range texts {
		for _, d := range diagnostics[path] {
			if d.Severity == 4 && !slices.ContainsFunc(marks, func(k mark) bool { return k.file == path && k.verb == "diag" }) {
				continue // a hint is no alarm
			}
			if strict[path] && d.Severity != 0 {
				t.Errorf("%s:%d:%d: unwanted diagnostic %s: %s", filepath.Base(path), d.Range.Start.Line+1, d.Range.Start.Character+1, d.Code, d.Message)
			}
		}
	}
	return len(marks)
}

func (k *mark) run(t *testing.T, c *testClient, texts map[string]string, diagnostics map[string][]testDiagnostic) {
	where := fmt.Sprintf("%s:%d: %s %s", filepath.Base(k.file), k.line+1, k.verb, k.rest)
	place := at(k.file, c.position(k.line, k.text, k.start))
	show := func(format string, args ...any) {
		if *showMarks {
			t.Logf(where+"\n    "+format, args...)
		}
	}
	pattern := func(text, got string) {
		t.Helper()
		show("%s", got)
		if text == "none" {
			if got != "" {
				t.Errorf("%s: got %q", where, got)
			}
			return
		}
		if !regexp.MustCompile(`(?s)` + text).MatchString(got) {
			t.Errorf("%s: got %q", where, got)
		}
	}
	switch k.verb {
	case "complete", "insert", "resolve":
		var list testList
		if err := c.request("textDocument/completion", place, &list); err != nil {
			t.Errorf("%s: %v", where, err)
			return
		}
		k.complete(t, c, where, list, show)
	case "hover":
		var h struct {
			Contents struct {
				Value string `json:"value"`
			} `json:"contents"`
		}
		if err := c.request("textDocument/hover", place, &h); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		pattern(k.rest, h.Contents.Value)
	case "sig":
		var s struct {
			Signatures []struct {
				Label      string `json:"label"`
				Parameters []struct {
					Label [2]int `json:"label"`
				} `json:"parameters"`
			} `json:"signatures"`
			ActiveParameter int `json:"activeParameter"`
		}
		if err := c.request("textDocument/signatureHelp", place, &s); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		got := ""
		if len(s.Signatures) > 0 {
			got = s.Signatures[0].Label
			if p := s.Signatures[0].Parameters; s.ActiveParameter < len(p) {
				got += " " + got[p[s.ActiveParameter].Label[0]:p[s.ActiveParameter].Label[1]]
			}
		}
		pattern(k.rest, got)
	case "def", "refs":
		var locations []struct {
			URI   string    `json:"uri"`
			Range testRange `json:"range"`
		}
		method := "textDocument/definition"
		if k.verb == "refs" {
			method = "textDocument/references"
			place["context"] = map[string]any{"includeDeclaration": true}
		}
		if err := c.request(method, place, &locations); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		var got []string
		for _, l := range locations {
			path, _ := pathOf(l.URI)
			at := fmt.Sprintf("%s:%d", filepath.Base(path), l.Range.Start.Line+1)
			if !strings.Contains(k.rest, ":") {
				at = filepath.Base(path)
			}
			got = append(got, at)
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
		slices.Sort(got)
		want := strings.Fields(k.rest)
		slices.Sort(want)
		if k.rest == "none" {
			want = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v", where, got)
		}
	case "page":
		var locations []struct {
			URI   string
			Range testRange
		}
		if err := c.request("textDocument/definition", place, &locations); err != nil || len(locations) != 1 {
			t.Errorf("%s: got %v, %v", where, locations, err)
			return
		}
		path, _ := pathOf(locations[0].URI)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%s: %v", where, err)
		}
		line := strings.Split(string(data), "\n")[locations[0].Range.Start.Line]
		if got := filepath.Base(path) + " => " + line; !strings.HasPrefix(got, k.rest) {
			t.Errorf("%s: got %s", where, got)
		}
	case "rename":
		name, want, _ := strings.Cut(k.rest, " => ")
		place["newName"] = name
		var edit struct {
			Changes map[string][]json.RawMessage `json:"changes"`
		}
		if err := c.request("textDocument/rename", place, &edit); err != nil {
			pattern(strings.TrimPrefix(want, "error "), err.Error())
			if !strings.HasPrefix(want, "error ") {
				t.Errorf("%s: %v", where, err)
			}
			return
		}
		var got []string
		for uri, edits := range edit.Changes {
			path, _ := pathOf(uri)
			got = append(got, fmt.Sprintf("%s:%d", filepath.Base(path), len(edits)))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v", where, got)
		}
	case "highlight", "prepare", "fold", "symbol", "find", "format":
		k.shape(t, c, where, texts)
	case "diag":
		k.diag(t, c, where, diagnostics)
	case "fix":
		k.fix(t, c, where, texts)
	case "token":
		k.token(t, c, where)
	case "lens":
		k.lens(t, c, where)
	case "hint":
		k.hint(t, c, where)
	case "link":
		k.link(t, c, where)
	case "select":
		k.selects(t, c, where, texts)
	default:
		t.Errorf("%s: there is no such mark", where)
	}
}

func (k *mark) complete(t *testing.T, c *testClient, where string, list testList, show func(string, ...any)) {
	labels := make([]string, len(list.Items))
	for i, item := range list.Items {
		labels[i] = item.Label
	}
	show("%q", labels[:min(len(labels), 40)])
	find := func(label string) *testItem {
		if i := slices.Index(labels, label); i >= 0 {
			return &list.Items[i]
		}
		t.Errorf("%s: %q is not among %q", where, label, labels[:min(len(labels), 30)])
		return nil
	}
	switch k.verb {
	case "insert":
		label, want, _ := strings.Cut(k.rest, " => ")
		if item := find(label); item != nil {
			got := item.TextEditText
			if got == "" {
				got = item.Label
			}
			if got != strings.ReplaceAll(want, `\n`, "\n") {
				t.Errorf("%s: got %q", where, got)
			}
		}
		return
	case "resolve":
		label, want, _ := strings.Cut(k.rest, " ")
		if item := find(label); item != nil {
			var resolved testItem
			raw, _ := json.Marshal(map[string]any{"label": item.Label, "data": item.Data})
			if err := c.request("completionItem/resolve", json.RawMessage(raw), &resolved); err != nil {
				t.Errorf("%s: %v", where, err)
			}
			show("%s", resolved.Documentation)
			if !regexp.MustCompile(want).Match(resolved.Documentation) {
				t.Errorf("%s: got %s", where, resolved.Documentation)
			}
		}
		return
	}
	if k.rest == "none" {
		if len(labels) > 0 {
			t.Errorf("%s: got %q", where, labels[:min(len(labels), 30)])
		}
		return
	}
	rest, first := strings.CutPrefix(k.rest, "first: ")
	for i, want := range splitLabels(rest) {
		if absent, ok := strings.CutPrefix(want, "!"); ok && len(absent) > 0 {
			if slices.Contains(labels, absent) {
				t.Errorf("%s: %q is offered", where, absent)
			}
			continue
		}
		if find(want) != nil && first && labels[i] != want {
			t.Errorf("%s: got %q first", where, labels[:min(len(labels), 10)])
		}
	}
}

// splitLabels cuts at blanks; labels with blanks stand between single quotes.
func splitLabels(s string) []string {
	var labels []string
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(s, -1) {
		labels = append(labels, m[1]+m[2])
	}
	return labels
}

func (k *mark) diag(t *testing.T, c *testClient, where string, diagnostics map[string][]testDiagnostic) {
	code, want, _ := strings.Cut(k.rest, " ")
	area := testRange{c.position(k.line, k.text, k.start), c.position(k.line, k.text, k.end)}
	list := diagnostics[k.file]
	for i := range list {
		d := &list[i]
		if d.Code == code && (d.Range == area || d.Range.Start == area.Start && k.end == k.start+1 && (d.Range.End == d.Range.Start || d.Range.End.Line > d.Range.Start.Line)) {
			if !regexp.MustCompile(want).MatchString(d.Message) {
				t.Errorf("%s: got %q", where, d.Message)
			}
			d.Severity = 0 // seen
			return
		}
	}
	for _, d := range list {
		if d.Range.Start.Line == k.line {
			t.Errorf("%s: no such diagnostic; there is %+v", where, d)
		}
	}
	if !slices.ContainsFunc(list, func(d testDiagnostic) bool { return d.Range.Start.Line == k.line }) {
		t.Errorf("%s: no diagnostic on this line", where)
	}
}

func (k *mark) fix(t *testing.T, c *testClient, where string, texts map[string]string) {
	title, want, _ := strings.Cut(k.rest, " => ")
	area := testRange{c.position(k.line, k.text, k.start), c.position(k.line, k.text, k.end)}
	var actions []struct {
		Title string `json:"title"`
		Edit  struct {
			Changes map[string][]struct {
				Range   testRange `json:"range"`
				NewText string    `json:"newText"`
			} `json:"changes"`
			DocumentChanges []struct {
				Kind string `json:"kind"`
				URI  string `json:"uri"`
			} `json:"documentChanges"`
		} `json:"edit"`
	}
	err := c.request("textDocument/codeAction", map[string]any{
		"textDocument": map[string]any{"uri": uriOf(k.file)}, "range": area, "context": map[string]any{"diagnostics": []any{}},
	}, &actions)
	if err != nil {
		t.Errorf("%s: %v", where, err)
	}
	var titles []string
	for _, a := range actions {
		titles = append(titles, a.Title)
		if a.Title != title {
			continue
		}
		if created, ok := strings.CutPrefix(want, "creates "); ok {
			if len(a.Edit.DocumentChanges) != 2 || a.Edit.DocumentChanges[0].Kind != "create" || !strings.HasSuffix(a.Edit.DocumentChanges[0].URI, created) {
				t.Errorf("%s: got %+v", where, a.Edit)
			}
			return
		}
		if file, ok := strings.CutPrefix(want, "edits "); ok {
			for uri := range a.Edit.Changes {
				if !strings.HasSuffix(uri, file) {
					t.Errorf("%s: got %s", where, uri)
				}
			}
			return
		}
		doc := newDocument(k.file, "", 0, []byte(texts[k.file]))
		edits := a.Edit.Changes[uriOf(k.file)]
		if len(edits) != 1 {
			t.Errorf("%s: got %+v", where, a.Edit)
			return
		}
		from := doc.offset(protocolPosition(edits[0].Range.Start), c.utf8)
		to := doc.offset(protocolPosition(edits[0].Range.End), c.utf8)
		result := string(doc.src[:from]) + edits[0].NewText + string(doc.src[to:])
		begin := doc.lines[k.line]
		want = strings.ReplaceAll(want, `\n`, "\n")
		if got := result[min(begin, len(result)):]; !strings.HasPrefix(got, want+"\n") && !(want == "" && got == string(doc.src[doc.lines[k.line+1]:])) {
			t.Errorf("%s: got %q", where, got[:min(len(got), 200)])
		}
		return
	}
	t.Errorf("%s: got %q", where, titles)
}

func (k *mark) token(t *testing.T, c *testClient, where string) {
	var tokens struct {
		Data []int `json:"data"`
	}
	if err := c.request("textDocument/semanticTokens/full", map[string]any{"textDocument": map[string]any{"uri": uriOf(k.file)}}, &tokens); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	var part struct {
		Data []int `json:"data"`
	}
	area := map[string]any{"textDocument": map[string]any{"uri": uriOf(k.file)}, "range": testRange{testPosition{k.line, 0}, testPosition{k.line + 1, 0}}}
	if err := c.request("textDocument/semanticTokens/range", area, &part); err != nil || len(part.Data) < 5 || len(part.Data) > len(tokens.Data) {
		t.Errorf("%s: tokens of the line alone: %v, %v", where, part.Data, err) // it may be those of the statement
	}
	line, character := 0, 0
	want := c.position(k.line, k.text, k.start)
	end := c.position(k.line, k.text, k.end)
	for d := tokens.Data; len(d) >= 5; d = d[5:] {
		if d[0] > 0 {
			character = 0
		}
		line, character = line+d[0], character+d[1]
		if line == want.Line && character == want.Character {
			if got := tokenTypes[d[3]]; got != k.rest || d[2] != end.Character-want.Character {
				t.Errorf("%s: got %s, %s long", where, got, strconv.Itoa(d[2]))
			}
			return
		}
	}
	t.Errorf("%s: no token", where)
}
