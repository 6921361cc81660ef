package lsp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"go.lsp.dev/protocol"
)

// client is an editor in this process.
type testClient struct {
	t    testing.TB
	in   io.WriteCloser
	out  *bufio.Reader
	done chan error
	root string
	utf8 bool

	mu          sync.Mutex
	last        int
	replies     map[int]chan reply
	diagnostics map[string]chan published
	bytes       int  // of the last reply
	quick       bool // replies are not read further than who they are for
	told        chan told
}

// told is another notification or request of the server.
type told struct {
	method string
	params json.RawMessage
}

type reply struct {
	Result json.RawMessage `json:"result"`
	Error  *wireError      `json:"error"`
	size   int
}

type published struct {
	URI         string           `json:"uri"`
	Version     int              `json:"version"`
	Diagnostics []testDiagnostic `json:"diagnostics"`
}

type testPosition struct {
	Line      int `json:"line"`
	Character int `json:"character"`
}

type testRange struct {
	Start testPosition `json:"start"`
	End   testPosition `json:"end"`
}

type testDiagnostic struct {
	Range    testRange `json:"range"`
	Severity int       `json:"severity"`
	Code     string    `json:"code"`
	Message  string    `json:"message"`
}

// newClient starts a server for a folder.
func newClient(t testing.TB, root string, encodings ...string) *testClient {
	return newClientWith(t, root, Actions{}, encodings...)
}

func newClientWith(t testing.TB, root string, do Actions, encodings ...string) *testClient {
	c := connect(t, Options{Debounce: time.Millisecond, PreludeDir: filepath.Join(t.TempDir(), "prelude"), Actions: do})
	c.root = root
	c.initialize(root, encodings...)
	t.Cleanup(c.close)
	return c
}

// connect starts a server and says nothing.
func connect(t testing.TB, opts Options) *testClient {
	serverIn, clientOut := io.Pipe()
	clientIn, serverOut := io.Pipe()
	c := attach(t, clientOut, clientIn)
	go func() {
		err := New(opts).Serve(context.Background(), serverIn, serverOut)
		serverOut.Close()
		serverIn.CloseWithError(io.ErrClosedPipe)
		c.done <- err
	}()
	return c
}

// attach talks to a server over two streams.
func attach(t testing.TB, in io.WriteCloser, out io.Reader) *testClient {
	c := &testClient{t: t, in: in, out: bufio.NewReaderSize(out, 64<<10), done: make(chan error, 1), replies: map[int]chan reply{}, diagnostics: map[string]chan published{}, told: make(chan told, 100)}
	go c.read()
	return c
}

func (c *testClient) read() {
	for {
		body, err := readBody(c.out)
		if err != nil {
			c.mu.Lock()
			for _, ch := range c.replies {
				close(ch)
			}
			c.replies = nil
			c.mu.Unlock()
			return
		}
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			reply
		}
		if c.quick && c.quickReply(body) {
			continue
		}
		if err := json.Unmarshal(body, &m); err != nil {
			c.t.Errorf("the server sent %q: %v", body, err)
			continue
		}
		m.reply.size = len(body)
		switch {
		case m.Method == "textDocument/publishDiagnostics":
			var p published
			if err := json.Unmarshal(m.Params, &p); err != nil {
				c.t.Errorf("diagnostics %s: %v", m.Params, err)
			}
			select {
			case c.published(p.URI) <- p:
			default:
			}
		case m.Method != "":
			select {
			case c.told <- told{m.Method, m.Params}:
			default:
			}
		case m.ID != nil:
			var id int
			_ = json.Unmarshal(m.ID, &id) // null, or not of this client
			c.mu.Lock()
			ch := c.replies[id]
			delete(c.replies, id)
			c.mu.Unlock()
			if ch == nil {
				if id > 0 {
					c.t.Errorf("a second reply, or one to nothing: %s", body)
				}
				continue
			}
			ch <- m.reply
		}
	}
}

// quickReply takes a result as it is, without reading it: what is measured is the server. False when body is something else.
func (c *testClient) quickReply(body []byte) bool {
	rest, ok := bytes.CutPrefix(body, []byte(`{"jsonrpc":"2.0","id":`))
	number, rest, isResult := bytes.Cut(rest, []byte(`,"result":`))
	id, err := strconv.Atoi(string(number))
	if !ok || !isResult || err != nil || len(rest) == 0 {
		return false
	}
	c.mu.Lock()
	ch := c.replies[id]
	delete(c.replies, id)
	c.mu.Unlock()
	if ch != nil {
		ch <- reply{Result: rest[:len(rest)-1], size: len(body)}
	}
	return ch != nil
}

func (c *testClient) published(uri string) chan published {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.diagnostics[uri] == nil {
		c.diagnostics[uri] = make(chan published, 1000)
	}
	return c.diagnostics[uri]
}

func (c *testClient) raw(body string) {
	if _, err := fmt.Fprintf(c.in, "Content-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		c.t.Logf("write: %v", err)
	}
}

func (c *testClient) notify(method string, params any) {
	body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})
	c.raw(string(body))
}

// send begins a request.
func (c *testClient) send(method string, params any) (int, chan reply) {
	c.mu.Lock()
	c.last++
	id := c.last
	ch := make(chan reply, 1)
	c.replies[id] = ch
	c.mu.Unlock()
	body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	c.raw(string(body))
	return id, ch
}

func (c *testClient) wait(ch chan reply) reply {
	c.t.Helper()
	select {
	case r, ok := <-ch:
		if !ok {
			c.t.Fatal("the server went away")
		}
		c.bytes = r.size
		return r
	case <-time.After(20 * time.Second):
		c.t.Fatal("no reply")
		return reply{}
	}
}

// request asks and decodes the result.
func (c *testClient) request(method string, params, result any) error {
	c.t.Helper()
	_, ch := c.send(method, params)
	r := c.wait(ch)
	if r.Error != nil {
		return r.Error
	}
	if result != nil {
		if err := json.Unmarshal(r.Result, result); err != nil {
			c.t.Fatalf("%s: %s: %v", method, r.Result, err)
		}
	}
	return nil
}

func (c *testClient) initialize(root string, encodings ...string) {
	c.t.Helper()
	var result struct {
		Capabilities struct {
			PositionEncoding string `json:"positionEncoding"`
		} `json:"capabilities"`
	}
	err := c.request("initialize", map[string]any{
		"processId": nil, "rootUri": uriOf(root),
		"capabilities": map[string]any{
			"general":   map[string]any{"positionEncodings": encodings},
			"window":    map[string]any{"showDocument": map[string]any{"support": true}},
			"workspace": map[string]any{"workspaceEdit": map[string]any{"documentChanges": true, "resourceOperations": []string{"create"}}},
			"textDocument": map[string]any{"completion": map[string]any{
				"completionItem": map[string]any{"snippetSupport": true}, "completionList": map[string]any{"itemDefaults": []string{"editRange"}},
			}},
		},
	}, &result)
	if err != nil {
		c.t.Fatal(err)
	}
	c.utf8 = result.Capabilities.PositionEncoding == "utf-8"
	c.notify("initialized", map[string]any{})
}

func (c *testClient) close() {
	if err := c.request("shutdown", nil, nil); err != nil {
		c.t.Errorf("shutdown: %v", err)
	}
	c.notify("exit", nil)
	select {
	case err := <-c.done:
		if err != nil {
			c.t.Errorf("Serve: %v", err)
		}
	case <-time.After(10 * time.Second):
		c.t.Error("the server does not end")
	}
}

func (c *testClient) open(path, text string) {
	c.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": uriOf(path), "languageId": "starlark", "version": 1, "text": text}})
}

func (c *testClient) change(path string, version int, changes ...map[string]any) {
	c.notify("textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": uriOf(path), "version": version}, "contentChanges": changes})
}

// diagnosed waits for the diagnostics of a version.
func (c *testClient) diagnosed(path string, version int) []testDiagnostic {
	c.t.Helper()
	ch := c.published(uriOf(path))
	for {
		select {
		case p := <-ch:
			if p.Version == version {
				return p.Diagnostics
			}
		case <-time.After(20 * time.Second):
			c.t.Fatalf("no diagnostics of %s, version %d", path, version)
		}
	}
}

// position is a byte offset in a line as the protocol has it.
func (c *testClient) position(line int, text string, at int) testPosition {
	if c.utf8 {
		return testPosition{line, at}
	}
	return testPosition{line, len(utf16.Encode([]rune(text[:at])))}
}

func at(path string, p testPosition) map[string]any {
	return map[string]any{"textDocument": map[string]any{"uri": uriOf(path)}, "position": p}
}

type testItem struct {
	Label         string          `json:"label"`
	Detail        string          `json:"detail"`
	Documentation json.RawMessage `json:"documentation"`
	TextEditText  string          `json:"textEditText"`
	Data          json.RawMessage `json:"data"`
}

type testList struct {
	IsIncomplete bool       `json:"isIncomplete"`
	Items        []testItem `json:"items"`
}

func protocolPosition(p testPosition) protocol.Position {
	return protocol.Position{Line: uint32(p.Line), Character: uint32(p.Character)}
}
