package lsp

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// markerActions is the world of the marker tests: a build of one stack, and a start that is not asked.
var markerActions = Actions{
	Invoke: func(context.Context, string, string, string) (string, string, error) {
		return "", "", errors.New("something was invoked")
	},
	Logs: func(string, string) (string, error) { return "", errors.New("a log was read") },
	URL:  func(string, string) (string, error) { return "", errors.New("something was opened") },
	Built: func(_, id string) *Built {
		switch id {
		case "web":
			return &Built{Stage: "dev", Template: "/t.json", Resources: []Resource{{Type: "AWS::SQS::Queue", Name: "dev-notes-Jobs"}, {Type: "AWS::IAM::Role"}}}
		case "web/Jobs":
			return &Built{Stage: "dev", Template: "/t.json", Resources: []Resource{{Type: "AWS::SQS::Queue", Name: "dev-notes-Jobs"}}}
		}
		return nil
	},
}

func (k *mark) area(c *testClient) testRange {
	return testRange{c.position(k.line, k.text, k.start), c.position(k.line, k.text, k.end)}
}

func (k *mark) lens(t *testing.T, c *testClient, where string) {
	var lenses []struct {
		Range   testRange `json:"range"`
		Command struct {
			Title     string       `json:"title"`
			Arguments []lensTarget `json:"arguments"`
		} `json:"command"`
	}
	if err := c.request("textDocument/codeLens", at(k.file, testPosition{}), &lenses); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	var got []string
	for _, l := range lenses {
		if l.Range == k.area(c) {
			got = append(got, l.Command.Title+" => "+l.Command.Arguments[0].Name)
		}
	}
	if len(got) == 0 {
		got = []string{"none"}
	}
	if !slices.Contains(got, k.rest) {
		t.Errorf("%s: got %q", where, got)
	}
}

func (k *mark) hint(t *testing.T, c *testClient, where string) {
	var hints []struct {
		Position testPosition `json:"position"`
		Label    string       `json:"label"`
	}
	params := map[string]any{"textDocument": map[string]any{"uri": uriOf(k.file)}, "range": testRange{testPosition{k.line, 0}, testPosition{k.line + 1, 0}}}
	if err := c.request("textDocument/inlayHint", params, &hints); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	got := "none"
	for _, h := range hints {
		if h.Position == k.area(c).Start {
			got = h.Label
		}
	}
	if got != k.rest {
		t.Errorf("%s: got %s of %v", where, got, hints)
	}
}

func (k *mark) link(t *testing.T, c *testClient, where string) {
	var links []struct {
		Range  testRange `json:"range"`
		Target string    `json:"target"`
	}
	if err := c.request("textDocument/documentLink", at(k.file, testPosition{}), &links); err != nil {
		t.Errorf("%s: %v", where, err)
	}
	for _, l := range links {
		if l.Range == k.area(c) && strings.HasSuffix(l.Target, "/"+k.rest) {
			return
		}
	}
	t.Errorf("%s: got %v", where, links)
}

func (k *mark) selects(t *testing.T, c *testClient, where string, texts map[string]string) {
	type selection struct {
		Range  testRange  `json:"range"`
		Parent *selection `json:"parent"`
	}
	var selections []selection
	params := map[string]any{"textDocument": map[string]any{"uri": uriOf(k.file)}, "positions": []testPosition{k.area(c).Start}}
	if err := c.request("textDocument/selectionRange", params, &selections); err != nil || len(selections) != 1 {
		t.Fatalf("%s: %v %v", where, err, selections)
	}
	doc := newDocument(k.file, "", 0, []byte(texts[k.file]))
	s := &selections[0]
	for _, want := range strings.Split(k.rest, " => ") {
		if s == nil {
			t.Errorf("%s: nothing is around what stands before %q", where, want)
			return
		}
		if got := string(doc.src[doc.offset(protocolPosition(s.Range.Start), c.utf8):doc.offset(protocolPosition(s.Range.End), c.utf8)]); got != want {
			t.Errorf("%s: got %q, want %q", where, got, want)
		}
		s = s.Parent
	}
}

// TestCommands runs what lenses do: results and problems are shown, and a call that takes its time holds nothing up.
func TestCommands(t *testing.T) {
	running := make(chan string)
	do := Actions{
		Invoke: func(ctx context.Context, root, name, event string) (string, string, error) {
			switch name {
			case "web/Slow":
				running <- event
				<-ctx.Done()
				return "", "", context.Cause(ctx)
			case "web/Gone":
				return "", "", errors.New("nothing runs here. Run `sst start` in another terminal.")
			}
			return `{"ok":true}`, "a line of log\n", nil
		},
		Logs: func(root, name string) (string, error) {
			if name == "web/Silent" {
				return "", errors.New("web/Silent has printed nothing since sst start began")
			}
			return filepath.Join(root, ".sst", "logs", "web-Export.log"), nil
		},
		URL:   func(string, string) (string, error) { return "http://localhost:3000/", nil },
		Built: func(string, string) *Built { return nil },
	}
	c := newClientWith(t, project(t), do)
	run := func(command string, target lensTarget) (int, chan reply) {
		target.Root = c.root
		return c.send("workspace/executeCommand", map[string]any{"command": command, "arguments": []any{target}})
	}
	tells := func(method, want string) {
		t.Helper()
		select {
		case m := <-c.told:
			if m.method != method || !regexp.MustCompile(want).Match(m.params) {
				t.Errorf("got %s %s, want %s %s", m.method, m.params, method, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no %s", method)
		}
	}

	_, ch := run(commandInvoke, lensTarget{Name: "web/Export"})
	tells("window/logMessage", "a line of log")
	tells("window/showMessage", `"type":3,.*web/Export: {\\"ok\\":true}`)
	if r := c.wait(ch); r.Error != nil {
		t.Error(r.Error)
	}
	run(commandInvoke, lensTarget{Name: "web/Gone"})
	tells("window/showMessage", `"type":1,.*nothing runs here. Run .sst start. in another terminal`)
	run(commandOpen, lensTarget{Name: "web/Api", Path: "/notes"})
	tells("window/showDocument", `"uri":"http://localhost:3000/notes","external":true`)
	run(commandLogs, lensTarget{Name: "web/Export"})
	tells("window/showDocument", `"uri":"file:.*/.sst/logs/web-Export.log"`)
	run(commandLogs, lensTarget{Name: "web/Silent"})
	tells("window/showMessage", `"type":1,.*printed nothing since`)
	run(commandTemplate, lensTarget{Name: "web"})
	tells("window/showMessage", "sst build")

	id, slow := run(commandInvoke, lensTarget{Name: "web/Slow", Event: "[1]"})
	if event := <-running; event != "[1]" {
		t.Errorf("event %s", event)
	}
	path := filepath.Join(c.root, "stacks.star")
	c.open(path, "app = sst.App(\"a\")\n")
	if err := c.request("textDocument/documentSymbol", at(path, testPosition{}), nil); err != nil { // while it runs
		t.Error(err)
	}
	c.notify("$/cancelRequest", map[string]any{"id": id})
	if r := c.wait(slow); r.Error == nil || r.Error.Code != codeRequestCancelled {
		t.Errorf("cancelled: %+v", r)
	}
	for _, bad := range []string{`{"command":"sst.invoke"}`, `{"command":"sst.invoke","arguments":["x"]}`, `{"command":"rm","arguments":[{"root":"/","name":"x"}]}`} {
		if err := c.request("workspace/executeCommand", json.RawMessage(bad), nil); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestProgress gives up what a lens waits for by the button that the editor shows meanwhile.
func TestProgress(t *testing.T) {
	do := Actions{Invoke: func(ctx context.Context, root, name, event string) (string, string, error) {
		<-ctx.Done()
		return "", "", context.Cause(ctx)
	}}
	c := connect(t, Options{PreludeDir: t.TempDir(), Actions: do})
	t.Cleanup(c.close)
	root := project(t)
	if err := c.request("initialize", map[string]any{"rootUri": uriOf(root), "capabilities": map[string]any{"window": map[string]any{"workDoneProgress": true}}}, nil); err != nil {
		t.Fatal(err)
	}
	c.notify("initialized", map[string]any{})
	tells := func(method, want string) json.RawMessage {
		t.Helper()
		select {
		case m := <-c.told:
			if m.method != method || !regexp.MustCompile(want).Match(m.params) {
				t.Errorf("got %s %s, want %s %s", m.method, m.params, method, want)
			}
			return m.params
		case <-time.After(10 * time.Second):
			t.Fatalf("no %s", method)
			return nil
		}
	}
	_, done := c.send("workspace/executeCommand", map[string]any{"command": commandInvoke, "arguments": []any{lensTarget{Root: root, Name: "web/Slow"}}})
	var created struct{ Token string }
	if err := json.Unmarshal(tells("window/workDoneProgress/create", `"token":"sst-\d+"`), &created); err != nil {
		t.Fatal(err)
	}
	tells("$/progress", `"kind":"begin","title":"Invoking web/Slow","cancellable":true`)
	c.notify("window/workDoneProgress/cancel", map[string]any{"token": "another"})
	c.notify("window/workDoneProgress/cancel", map[string]any{"token": 7})
	c.notify("window/workDoneProgress/cancel", map[string]any{"token": created.Token})
	tells("window/showMessage", `not waited for any longer`)
	tells("$/progress", `"token":"`+created.Token+`","value":{"kind":"end"}`)
	if r := c.wait(done); r.Error != nil {
		t.Errorf("%+v", r)
	}
}
