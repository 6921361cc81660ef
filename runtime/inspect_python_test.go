package runtime

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sst/cfn"
	"sst/runtime/bundle"
)

// dap is a client of the Debug Adapter Protocol.
type dap struct {
	t      testing.TB
	conn   net.Conn
	reader *bufio.Reader
	number int
}

type dapMessage struct {
	Type, Event, Command, Message string
	Success                       bool
	Body                          map[string]any
}

func dialDAP(t testing.TB, address string) *dap {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &dap{t: t, conn: conn, reader: bufio.NewReader(conn)}
}

func (d *dap) send(command string, arguments any) {
	d.t.Helper()
	d.number++
	data, _ := json.Marshal(map[string]any{"seq": d.number, "type": "request", "command": command, "arguments": arguments})
	if _, err := fmt.Fprintf(d.conn, "Content-Length: %d\r\n\r\n%s", len(data), data); err != nil {
		d.t.Fatal(err)
	}
}

// wait reads to the event or answer of that name.
func (d *dap) wait(name string) map[string]any {
	d.t.Helper()
	for {
		size := 0
		for {
			line, err := d.reader.ReadString('\n')
			if err != nil {
				d.t.Fatalf("waiting for %s: %v", name, err)
			}
			if line = strings.TrimSpace(line); line == "" {
				break
			}
			size, _ = strconv.Atoi(strings.TrimPrefix(line, "Content-Length: "))
		}
		data := make([]byte, size)
		io.ReadFull(d.reader, data)
		var m dapMessage
		if err := json.Unmarshal(data, &m); err != nil {
			d.t.Fatalf("%v: %s", err, data)
		}
		if m.Type == "response" && !m.Success {
			d.t.Fatalf("%s: %s", m.Command, m.Message)
		}
		if m.Event == name || m.Command == name {
			return m.Body
		}
	}
}

// begin is what an editor says first; breakpoints are lines of the file.
func (d *dap) begin(mapping map[string]string, file string, lines ...int) {
	d.t.Helper()
	d.send("initialize", map[string]any{"adapterID": "debugpy", "pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": true})
	d.wait("initialize")
	d.send("attach", map[string]any{"pathMappings": []any{mapping}, "justMyCode": true})
	d.wait("initialized")
	var breakpoints []any
	for _, line := range lines {
		breakpoints = append(breakpoints, map[string]any{"line": line})
	}
	d.send("setBreakpoints", map[string]any{"source": map[string]any{"path": file}, "breakpoints": breakpoints})
	d.wait("setBreakpoints")
	d.send("configurationDone", nil)
	d.wait("configurationDone")
}

// stopped waits for a breakpoint, gives its place, and goes on after pause.
func (d *dap) stopped(pause time.Duration) string {
	d.t.Helper()
	thread := d.wait("stopped")["threadId"]
	d.send("stackTrace", map[string]any{"threadId": thread})
	frame := d.wait("stackTrace")["stackFrames"].([]any)[0].(map[string]any)
	time.Sleep(pause)
	d.send("continue", map[string]any{"threadId": thread})
	d.wait("continue")
	return fmt.Sprintf("%s:%v", frame["source"].(map[string]any)["path"], frame["line"])
}

// TestPythonDebugger follows a Python function from its first line, over its timeout and a save.
func TestPythonDebugger(t *testing.T) {
	t.Parallel() // it waits more than it works
	if exec.Command("python3", "-c", "import debugpy").Run() != nil {
		t.Skip("skipped: debugpy cannot be imported (python3 -m pip install debugpy)")
	}
	source := "NAME = 'hello'  # line 1\n\ndef handler(event, context):\n    left = context.get_remaining_time_in_millis()  # line 4\n    return {'name': NAME, 'left': left > 0}\n"
	f := cfn.Function{ID: "web/Py", Name: "web-Py", Handler: "src/notes.handler", Runtime: "python3.13", Timeout: 1, Memory: 128,
		Bundle: bundle.Spec{Kind: bundle.Python, Handler: "src/notes.handler", Runtime: "python3.13"}}
	p := newProjectWith(t, func(s *Server) { s.Inspect(Inspection{Functions: []string{"web/Py"}}) }, map[string]string{"src/notes.py": source}, []cfn.Function{f})
	address := p.server.Inspected()[0].Address
	if _, err := http.Get("http://" + address + "/"); err == nil {
		t.Error("a request of HTTP was let through")
	}
	file := filepath.Join(p.root, "src", "notes.py")
	mapping := map[string]string{"localRoot": filepath.Join(p.root, "src"), "remoteRoot": filepath.Join(p.root, ".sst", filepath.FromSlash(InspectFolder("web/Py")))}
	call := func() chan string {
		got := make(chan string, 1)
		go func() { got <- p.invoke("web-Py", "{}").body }()
		return got
	}
	d := dialDAP(t, address)
	d.begin(mapping, file, 1, 4)
	await(p, "the debugger", func(e Debugging) bool { return e.Attached })
	answer := call()
	if at := d.stopped(0); at != file+":1" {
		t.Errorf("stopped at %s", at)
	}
	if at := d.stopped(1200 * time.Millisecond); at != file+":4" {
		t.Errorf("stopped at %s", at)
	}
	if got := <-answer; got != `{"name": "hello", "left": true}` {
		t.Errorf("answer = %s", got)
	}
	p.write("src/notes.py", "# saved\n"+source)
	if body := d.wait("terminated"); body["restart"] != true {
		t.Errorf("terminated = %v", body)
	}
	answer = call()
	d = dialDAP(t, address)
	d.begin(mapping, file, 5)
	if at := d.stopped(0); at != file+":5" {
		t.Errorf("after the save: stopped at %s", at)
	}
	if got := <-answer; got != `{"name": "hello", "left": true}` {
		t.Errorf("after the save: %s", got)
	}
	d.conn.Close()
	await(p, "the debugger to leave", func(e Debugging) bool { return !e.Attached })
	for _, e := range p.events {
		if e, ok := e.(Logged); ok {
			t.Errorf("logged: %s", e.Line)
		}
	}
}
