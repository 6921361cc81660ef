package lsp

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.lsp.dev/protocol"

	"sst/starlark/format"
)

const sample = "app = sst.App(\"notes\")\nweb = sst.Stack(app, \"web\")\nq = sst.Queue(web, \"Jobs\", fifo = True)\n"

// TestHostile sends what no editor should; the server answers the next request as ever.
func TestHostile(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "stacks.star")
	uri := uriOf(file)
	cases := []struct{ name, body string }{
		{"not JSON", `{"jsonrpc":`},
		{"an array", `[1, 2]`},
		{"a number", `17`},
		{"null", `null`},
		{"no method", `{"jsonrpc":"2.0"}`},
		{"a reply to nothing", `{"jsonrpc":"2.0","id":9000,"result":null}`},
		{"unknown notification", `{"jsonrpc":"2.0","method":"textDocument/didDream","params":{}}`},
		{"unknown $ notification", `{"jsonrpc":"2.0","method":"$/whatever","params":{"a":1}}`},
		{"malformed didOpen", `{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":7}}`},
		{"didOpen without params", `{"jsonrpc":"2.0","method":"textDocument/didOpen"}`},
		{"malformed didChange", `{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":"` + uri + `","version":2},"contentChanges":"x"}}`},
		{"change of a file that is not open", `{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":"file:///nowhere.star","version":2},"contentChanges":[{"text":"x"}]}}`},
		{"change outside the text", `{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":"` + uri + `","version":2},"contentChanges":[{"range":{"start":{"line":4000000000,"character":4000000000},"end":{"line":0,"character":0}},"text":""}]}}`},
		{"negative position", `{"jsonrpc":"2.0","method":"textDocument/didChange","params":{"textDocument":{"uri":"` + uri + `","version":3},"contentChanges":[{"range":{"start":{"line":-1,"character":-1},"end":{"line":0,"character":0}},"text":""}]}}`},
		{"not a file", `{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"untitled:x","languageId":"starlark","version":1,"text":"x ="}}}`},
		{"cancel of nothing", `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":77}}`},
		{"cancel without params", `{"jsonrpc":"2.0","method":"$/cancelRequest"}`},
		{"cancel of an object", `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":{"a":[]}}}`},
		{"second initialized", `{"jsonrpc":"2.0","method":"initialized","params":{}}`},
		{"params of a wrong type", `{"jsonrpc":"2.0","method":"textDocument/didClose","params":[[[]]]}`},
		{"binary", "{\"jsonrpc\":\"2.0\",\"method\":\"\x00\xff\",\"params\":{}}"},
		{"deep", `{"jsonrpc":"2.0","method":"x","params":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			c := connect(t, Options{Debounce: time.Millisecond})
			c.initialize(root)
			c.open(file, sample)
			c.raw(test.body)
			var list testList
			if err := c.request("textDocument/completion", at(file, testPosition{2, 9}), &list); err != nil {
				t.Fatal(err)
			}
			c.close()
		})
	}
}

func TestWrongRequests(t *testing.T) {
	root := t.TempDir()
	c := newClient(t, root)
	file := filepath.Join(root, "stacks.star")
	for _, test := range []struct {
		method string
		params any
		code   int
	}{
		{"textDocument/dream", map[string]any{}, codeMethodNotFound},
		{"$/unknown", map[string]any{}, codeMethodNotFound},
		{"textDocument/completion", 7, codeInvalidParams},
		{"textDocument/hover", map[string]any{"textDocument": []int{1}}, codeInvalidParams},
		{"initialize", map[string]any{}, codeInvalidRequest},
		{"textDocument/rename", map[string]any{"textDocument": map[string]any{"uri": "untitled:x"}, "position": testPosition{}, "newName": "x"}, codeRequestFailed},
	} {
		err := c.request(test.method, test.params, nil)
		known, ok := err.(*wireError)
		if !ok || known.Code != test.code {
			t.Errorf("%s: got %v", test.method, err)
		}
	}
	// Of files that are not there nothing is known.
	for method := range requests {
		if method == "textDocument/rename" || method == "completionItem/resolve" || method == "workspace/symbol" || method == "workspace/executeCommand" {
			continue
		}
		params := at(file, testPosition{3000, 4})
		params["context"] = map[string]any{"diagnostics": []any{}}
		params["range"] = testRange{}
		params["options"] = map[string]any{"tabSize": 4, "insertSpaces": true}
		if err := c.request(method, params, nil); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	// And of an empty one.
	c.open(file, "")
	for method := range requests {
		if method == "textDocument/rename" || method == "completionItem/resolve" || method == "workspace/symbol" || method == "workspace/executeCommand" {
			continue
		}
		params := at(file, testPosition{3000, 4})
		params["context"] = map[string]any{"diagnostics": []any{}}
		params["range"] = testRange{testPosition{5, 5}, testPosition{1, 1}}
		params["options"] = map[string]any{"tabSize": 4, "insertSpaces": true}
		if err := c.request(method, params, nil); err != nil {
			t.Errorf("%s of an empty file: %v", method, err)
		}
	}
}

func TestLifecycle(t *testing.T) {
	ends := func(c *testClient, want error) {
		t.Helper()
		select {
		case err := <-c.done:
			if err != want && !(err != nil && want != nil && err.Error() == want.Error()) {
				t.Errorf("got %v, want %v", err, want)
			}
		case <-time.After(5 * time.Second):
			t.Error("the server goes on")
		}
	}
	c := connect(t, Options{})
	if err := c.request("textDocument/hover", map[string]any{}, nil); err == nil || err.(*wireError).Code != codeNotInitialized {
		t.Errorf("before initialize: %v", err)
	}
	c.initialize(t.TempDir())
	if err := c.request("shutdown", nil, nil); err != nil {
		t.Error(err)
	}
	if err := c.request("textDocument/hover", map[string]any{}, nil); err == nil || err.(*wireError).Code != codeInvalidRequest {
		t.Errorf("after shutdown: %v", err)
	}
	c.notify("exit", nil)
	ends(c, nil)

	c = connect(t, Options{})
	c.initialize(t.TempDir())
	c.notify("exit", nil)
	ends(c, ErrNoShutdown)

	c = connect(t, Options{})
	c.initialize(t.TempDir())
	c.in.Close()
	ends(c, ErrNoShutdown)

	c = connect(t, Options{})
	io.WriteString(c.in, "GET / HTTP/1.1\r\nHost\r\n\r\n")
	ends(c, errFraming)

	alive := make(chan int, 100)
	c = connect(t, Options{Poll: time.Millisecond, Alive: func(pid int) bool { alive <- pid; return false }})
	if err := c.request("initialize", map[string]any{"processId": 4711, "rootUri": nil, "capabilities": map[string]any{}}, nil); err != nil {
		t.Error(err)
	}
	if pid := <-alive; pid != 4711 {
		t.Errorf("asked for process %d", pid)
	}
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
		t.Error("the server outlives its editor")
	}
}

// TestOrder: each request sees the text of the moment it was sent, however fast changes follow each other.
func TestOrder(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "stacks.star")
	c := newClient(t, root)
	c.open(file, "x = 1\n")
	var waiting []chan reply
	for i := range 200 {
		c.change(file, i+2, map[string]any{"text": fmt.Sprintf("name_%d = 1\n", i)})
		_, ch := c.send("textDocument/documentSymbol", at(file, testPosition{}))
		waiting = append(waiting, ch)
	}
	for i, ch := range waiting {
		if r := c.wait(ch); !strings.Contains(string(r.Result), fmt.Sprintf(`"name_%d"`, i)) {
			t.Fatalf("request %d: %s", i, r.Result)
		}
	}
}

// TestCancel: a cancelled request is answered once, at once.
func TestCancel(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "stacks.star")
	c := newClient(t, root)
	c.open(file, strings.Repeat(sample, 1000))
	cancelled := 0
	var waiting []chan reply
	for range 100 {
		id, ch := c.send("textDocument/completion", at(file, testPosition{2, 9}))
		c.notify("$/cancelRequest", map[string]any{"id": id})
		waiting = append(waiting, ch)
	}
	for _, ch := range waiting {
		if r := c.wait(ch); r.Error != nil {
			if r.Error.Code != codeRequestCancelled {
				t.Fatal(r.Error)
			}
			cancelled++
		}
	}
	if cancelled == 0 {
		t.Error("nothing was cancelled")
	}
}

// TestRandomEdits changes a text in random places, in both encodings, and compares what the server has with what the
// editor has.
func TestRandomEdits(t *testing.T) {
	for _, name := range []string{"utf-8", "utf-16", "utf-8 with line feeds"} {
		t.Run(name, func(t *testing.T) {
			encoding, rest, _ := strings.Cut(name, " ")
			end := "\r\n"
			if rest != "" {
				end = "\n"
			}
			random := rand.New(rand.NewSource(1))
			root := t.TempDir()
			file := filepath.Join(root, "stacks.star")
			c := newClient(t, root, encoding)
			text := strings.Repeat(sample+"# 😀 é"+end+"y = \"𝒳\"\n", 5)
			c.open(file, text)
			pieces := []string{"", "x", "\n", end, "(", ")", "\"", "😀", "é", "def f():\n    ", "sst.", "\"\"\"", "#", "=", "\\", "\t", "load("}
			methods := []string{"textDocument/completion", "textDocument/hover", "textDocument/signatureHelp", "textDocument/definition", "textDocument/foldingRange", "textDocument/semanticTokens/full", "textDocument/documentSymbol", "textDocument/references"}
			var painted painter
			compare := func() {
				t.Helper()
				painted.ask(c, file)
				c.open(file+"2.star", text)
				sameAnswers(c, file, file+"2.star")
				var all painter
				all.ask(c, file+"2.star")
				if !slices.Equal(painted.data, all.data) {
					t.Fatalf("tokens put together of differences:\n%v\nall at once:\n%v", painted.data, all.data)
				}
				if got, want := formattedBy(c, file, text, encoding == "utf-8"), string(format.Source([]byte(text))); got != want {
					t.Fatalf("formatted:\n%q\nwant:\n%q", got, want)
				}
				painted.ask(c, file) // since all was asked for in between
			}
			steps := 1500
			if testing.Short() {
				steps = 200
			}
			for version := 2; version < steps; version++ {
				doc := newDocument(file, "", 0, []byte(text))
				from := runeStart(text, random.Intn(len(text)+1))
				to := runeStart(text, min(len(text), from+random.Intn(6)))
				piece := pieces[random.Intn(len(pieces))]
				area := doc.span(from, to, encoding == "utf-8")
				from, to = doc.offset(area.Start, encoding == "utf-8"), doc.offset(area.End, encoding == "utf-8")
				c.change(file, version, map[string]any{"range": area, "text": piece})
				text = text[:from] + piece + text[to:]
				if len(text) > 3000 {
					text = sample
					version++
					c.change(file, version, map[string]any{"text": text})
				}
				if version%75 == 0 {
					compare()
				}
				if version%10 == 0 {
					place := doc.position(random.Intn(len(text)), encoding == "utf-8")
					params := at(file, testPosition{int(place.Line), int(place.Character)})
					params["context"] = map[string]any{"includeDeclaration": true}
					if err := c.request(methods[random.Intn(len(methods))], params, nil); err != nil {
						t.Fatalf("version %d: %v", version, err)
					}
				}
			}
			compare()
		})
	}
}

// sameAnswers compares what a server says of a file that was edited with what it says of one that was opened as it is now.
func sameAnswers(c *testClient, edited, opened string) {
	c.t.Helper()
	for _, method := range []string{"textDocument/formatting", "textDocument/semanticTokens/full", "textDocument/foldingRange", "textDocument/documentSymbol", "textDocument/documentLink"} {
		var answers [2]string
		for i, path := range []string{edited, opened} {
			params := at(path, testPosition{})
			params["options"] = map[string]any{"tabSize": 4, "insertSpaces": true}
			var raw json.RawMessage
			if err := c.request(method, params, &raw); err != nil {
				c.t.Fatal(err)
			}
			answers[i] = withoutID.ReplaceAllString(string(raw), "")
		}
		if answers[0] != answers[1] {
			c.t.Fatalf("%s of a file that was edited:\n%s\nthat was opened:\n%s", method, answers[0], answers[1])
		}
	}
}

// formattedBy is a text with the edits that a server gives.
func formattedBy(c *testClient, path, text string, utf8 bool) string {
	c.t.Helper()
	var edits []struct {
		Range   protocol.Range `json:"range"`
		NewText string         `json:"newText"`
	}
	params := at(path, testPosition{})
	params["options"] = map[string]any{"tabSize": 4, "insertSpaces": true}
	if err := c.request("textDocument/formatting", params, &edits); err != nil {
		c.t.Fatal(err)
	}
	doc := newDocument(path, "", 0, []byte(text))
	for _, e := range slices.Backward(edits) {
		start, end := doc.offset(e.Range.Start, utf8), doc.offset(e.Range.End, utf8)
		text = text[:start] + e.NewText + text[end:]
	}
	return text
}

var withoutID = regexp.MustCompile(`"resultId":"\d+",`)

// painter asks for the tokens of a file as an editor does: all, then what is different.
type painter struct {
	id   string
	data []uint32
}

func (p *painter) ask(c *testClient, path string) {
	c.t.Helper()
	var answer struct {
		ResultID string   `json:"resultId"`
		Data     []uint32 `json:"data"`
		Edits    []struct {
			Start, DeleteCount int
			Data               []uint32
		} `json:"edits"`
	}
	method, params := "textDocument/semanticTokens/full", at(path, testPosition{})
	if p.id != "" {
		method += "/delta"
		params["previousResultId"] = p.id
	}
	if err := c.request(method, params, &answer); err != nil {
		c.t.Fatal(err)
	}
	p.id = answer.ResultID
	if answer.Edits == nil {
		p.data = answer.Data
	}
	for _, e := range answer.Edits {
		p.data = slices.Concat(p.data[:e.Start], e.Data, p.data[e.Start+e.DeleteCount:])
	}
}

func runeStart(s string, i int) int {
	for i > 0 && i < len(s) && s[i]&0xc0 == 0x80 {
		i--
	}
	return i
}

// TestReplaced: the lines of a text that was changed are those of the text.
func TestReplaced(t *testing.T) {
	random := rand.New(rand.NewSource(2))
	d := newDocument("/x.star", "", 0, []byte(strings.Repeat(sample, 3)))
	for i := range 3000 {
		start := random.Intn(len(d.src) + 1)
		end := min(len(d.src), start+random.Intn(30)*random.Intn(2))
		d = d.replaced(start, end, []string{"", "\n", "\r", "\r\n", "x", "a\nb\r"}[random.Intn(6)], 0)
		if want := lineStarts(d.src); !slices.Equal(d.lines, want) {
			t.Fatalf("step %d: lines begin at %v, want %v", i, d.lines, want)
		}
		if len(d.src) > 2000 || len(d.src) < 20 {
			d = newDocument("/x.star", "", 0, []byte(sample))
		}
	}
}

// TestNoFalseAlarm opens every Starlark file that builds: examples, prelude and the scripts' projects.
func TestNoFalseAlarm(t *testing.T) {
	c := newClient(t, t.TempDir())
	var files []string
	for _, pattern := range []string{"../examples/*/*.star", "../builtins/prelude/*.star", "../examples/*/*/*.star"} {
		found, _ := filepath.Glob(pattern)
		files = append(files, found...)
	}
	if len(files) < 10 {
		t.Fatalf("only %d files", len(files))
	}
	for _, file := range files {
		path, _ := filepath.Abs(file)
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c.open(path, string(src))
		for _, d := range c.diagnosed(path, 1) {
			t.Errorf("%s:%d: %s: %s", file, d.Range.Start.Line+1, d.Code, d.Message)
		}
	}
}
