package runtime

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sst/cfn"
	"sst/proxy"
)

// debugger is a client of the Chrome DevTools Protocol.
type debugger struct {
	t  testing.TB
	ws *websocket.Conn

	mu      sync.Mutex
	number  int
	answers map[int]chan cdpAnswer
	events  []cdpEvent
	heard   chan struct{}
	seen    int // events that next has given
}

type cdpAnswer struct {
	Result map[string]any
	Error  *struct{ Message string }
}

type cdpEvent struct {
	Method string
	Params map[string]any
}

// inspecting serves a project whose functions can be debugged.
func inspecting(t testing.TB, files map[string]string, functions []cfn.Function, routes ...cfn.Route) *project {
	t.Helper()
	return newProjectWith(t, func(s *Server) { s.Inspect(Inspection{All: true}) }, files, functions, routes...)
}

// attach connects to a function's port as debuggers do: by what the port lists.
func attach(t testing.TB, address string) *debugger {
	t.Helper()
	res, err := http.Get("http://" + address + "/json/list")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var targets []struct{ WebSocketDebuggerURL string }
	if err := json.NewDecoder(res.Body).Decode(&targets); err != nil || len(targets) != 1 {
		t.Fatalf("targets: %v %+v", err, targets)
	}
	ws, _, err := websocket.DefaultDialer.Dial(targets[0].WebSocketDebuggerURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &debugger{t: t, ws: ws, answers: map[int]chan cdpAnswer{}, heard: make(chan struct{})}
	t.Cleanup(func() { ws.Close() })
	go d.read()
	return d
}

func (d *debugger) read() {
	for {
		_, data, err := d.ws.ReadMessage()
		if err != nil {
			return
		}
		var m struct {
			ID int
			cdpAnswer
			cdpEvent
		}
		if err := json.Unmarshal(data, &m); err != nil {
			d.t.Errorf("%v: %s", err, data)
			return
		}
		d.mu.Lock()
		if m.ID != 0 {
			d.answers[m.ID] <- m.cdpAnswer
		} else {
			d.events = append(d.events, m.cdpEvent)
			close(d.heard)
			d.heard = make(chan struct{})
		}
		d.mu.Unlock()
	}
}

// start sends a request; its answer comes on the channel.
func (d *debugger) start(method string, params map[string]any) chan cdpAnswer {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.number++
	answer := make(chan cdpAnswer, 1)
	d.answers[d.number] = answer
	if err := d.ws.WriteJSON(map[string]any{"id": d.number, "method": method, "params": params}); err != nil {
		d.t.Fatal(err)
	}
	return answer
}

func (d *debugger) call(method string, params map[string]any) map[string]any {
	d.t.Helper()
	select {
	case a := <-d.start(method, params):
		if a.Error != nil {
			d.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		return a.Result
	case <-time.After(10 * time.Second):
		d.t.Fatalf("%s: no answer", method)
	}
	return nil
}

// next waits for the next event of that name.
func (d *debugger) next(method string) map[string]any {
	d.t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		d.mu.Lock()
		for d.seen < len(d.events) {
			e := d.events[d.seen]
			d.seen++
			if e.Method == method {
				d.mu.Unlock()
				return e.Params
			}
		}
		heard := d.heard
		d.mu.Unlock()
		select {
		case <-heard:
		case <-timeout:
			d.t.Fatalf("no event %s", method)
		}
	}
}

// evaluate gives the value of an expression in the frame of a pause.
func (d *debugger) evaluate(pause map[string]any, expression string) any {
	d.t.Helper()
	frame := pause["callFrames"].([]any)[0].(map[string]any)
	got := d.call("Debugger.evaluateOnCallFrame", map[string]any{"callFrameId": frame["callFrameId"], "expression": expression, "returnByValue": true})
	return got["result"].(map[string]any)["value"]
}

// place gives the place of a pause: the source line that the script's own source map names, as debuggers find it.
func (d *debugger) place(pause map[string]any) string {
	d.t.Helper()
	location := pause["callFrames"].([]any)[0].(map[string]any)["location"].(map[string]any)
	m := d.mapOf(location["scriptId"].(string))
	line, column := int(location["lineNumber"].(float64)), int(location["columnNumber"].(float64))
	at := ""
	for _, s := range m.segments {
		if s.line > line || s.line == line && s.column > column {
			break
		}
		at = fmt.Sprintf("%s:%d", filepath.Base(m.sources[s.source]), s.sourceLine+1)
	}
	return at
}

// mapped is a source map read by the address in a script.
type mapped struct {
	url      string // of the script
	sources  []string
	segments []segment
}

type segment struct{ line, column, source, sourceLine int }

// mapOf reads the source map of a script, which must lie where the script says.
func (d *debugger) mapOf(script string) *mapped {
	d.t.Helper()
	d.mu.Lock()
	var parsed map[string]any
	for _, e := range d.events {
		if e.Method == "Debugger.scriptParsed" && e.Params["scriptId"] == script {
			if parsed != nil {
				d.t.Errorf("two processes have a script %s", script)
			}
			parsed = e.Params
		}
	}
	d.mu.Unlock()
	if parsed == nil {
		d.t.Fatalf("there is no script %s", script)
	}
	base, _ := url.Parse(parsed["url"].(string))
	at, err := base.Parse(parsed["sourceMapURL"].(string))
	if err != nil || at.Scheme != "file" {
		d.t.Fatalf("source map of %s: %v %v", base, at, err)
	}
	data, err := os.ReadFile(at.Path)
	if err != nil {
		d.t.Fatal(err)
	}
	var text struct {
		SourceRoot     string
		Sources        []string
		SourcesContent []string
		Mappings       string
	}
	if err := json.Unmarshal(data, &text); err != nil {
		d.t.Fatal(err)
	}
	m := &mapped{url: base.String()}
	for i, source := range text.Sources {
		root, err := url.Parse(text.SourceRoot)
		if err != nil {
			d.t.Fatal(err)
		}
		of, err := root.Parse(source)
		if err != nil {
			d.t.Fatal(err)
		}
		if _, err := os.Stat(of.Path); err != nil || len(text.SourcesContent) <= i || text.SourcesContent[i] == "" {
			d.t.Errorf("source %s cannot be shown: %v", of, err)
		}
		m.sources = append(m.sources, of.Path)
	}
	var source, sourceLine int
	for line, row := range strings.Split(text.Mappings, ";") {
		column := 0
		for _, each := range strings.Split(row, ",") {
			if fields := decodeVLQ(each); len(fields) >= 4 {
				column += fields[0]
				source += fields[1]
				sourceLine += fields[2]
				m.segments = append(m.segments, segment{line, column, source, sourceLine})
			}
		}
	}
	return m
}

// decodeVLQ reads the numbers of a segment.
func decodeVLQ(text string) (numbers []int) {
	value, shift := 0, 0
	for _, c := range text {
		digit := strings.IndexRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c)
		value |= digit & 31 << shift
		if shift += 5; digit&32 == 0 {
			if value&1 == 1 {
				numbers = append(numbers, -(value >> 1))
			} else {
				numbers = append(numbers, value>>1)
			}
			value, shift = 0, 0
		}
	}
	return numbers
}

const debugged = `import { greeting } from "./greeting";
const loaded: string = greeting("module"); // line 2
export const handler = async (event: { queryStringParameters?: { exit?: string } }, context: any) => {
  const name: string = greeting("handler"); // line 4
  if (event.queryStringParameters?.exit) process.exit(3);
  return { statusCode: 200, body: JSON.stringify({ loaded, name, pid: process.pid, left: context.getRemainingTimeInMillis() }) };
};
`

// TestDebugger follows a function as an editor does: from its first line, over its timeout, a save and its end.
func TestDebugger(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := nodeFunction("web/Notes", "src/notes.handler")
	f.Timeout = 1
	p := inspecting(t, map[string]string{"src/notes.ts": debugged,
		"src/greeting.ts": "export const greeting = (who: string): string => `hello ${who}`;\n"},
		[]cfn.Function{f}, cfn.Route{Key: "GET /", Function: "web/Notes"})
	inspected := p.server.Inspected()
	if len(inspected) != 1 || inspected[0].Function != "web/Notes" || !strings.HasPrefix(inspected[0].Address, "127.0.0.1:") {
		t.Fatalf("inspected = %+v", inspected)
	}
	d := attach(t, inspected[0].Address)
	await(p, "the debugger to be told of", func(e Debugging) bool { return e.Function == "web/Notes" && e.Attached })

	// Nothing is loaded yet, and there is a process to talk to.
	d.call("Runtime.enable", nil)
	d.call("Debugger.enable", nil)
	d.next("Runtime.executionContextCreated")
	if got := d.call("Runtime.evaluate", map[string]any{"expression": "process.pid > 0", "returnByValue": true, "contextId": 1}); got["result"].(map[string]any)["value"] != true {
		t.Errorf("evaluate = %v", got)
	}
	// Stopping before a script with a source map is how editors set breakpoints in sources in time.
	d.call("Debugger.setInstrumentationBreakpoint", map[string]any{"instrumentation": "beforeScriptWithSourceMapExecution"})

	get := func(query string) chan string {
		got := make(chan string, 1)
		go func() {
			status, body := p.get("/" + query)
			got <- fmt.Sprint(status, " ", body)
		}()
		return got
	}
	// stops sets breakpoints in the lines of notes.ts while its script is about to run.
	stops := func(lines ...int) {
		t.Helper()
		pause := d.next("Debugger.paused")
		if pause["reason"] != "instrumentation" {
			t.Fatalf("paused for %v", pause["reason"])
		}
		data := pause["data"].(map[string]any)
		m := d.mapOf(data["scriptId"].(string))
		for _, line := range lines {
			for _, s := range m.segments {
				if s.sourceLine == line-1 && filepath.Base(m.sources[s.source]) == "notes.ts" {
					d.call("Debugger.setBreakpointByUrl", map[string]any{"url": m.url, "lineNumber": s.line, "columnNumber": s.column})
					break
				}
			}
		}
		d.call("Debugger.resume", nil)
	}
	pausedAt := func(want string) map[string]any {
		t.Helper()
		pause := d.next("Debugger.paused")
		if at := d.place(pause); at != want {
			t.Fatalf("paused at %s, want %s", at, want)
		}
		return pause
	}

	answer := get("")
	stops(2, 4)
	pausedAt("notes.ts:2")
	d.call("Debugger.resume", nil)
	pause := pausedAt("notes.ts:4")
	time.Sleep(1100 * time.Millisecond) // longer than the function's timeout
	if left, ok := d.evaluate(pause, "context.getRemainingTimeInMillis()").(float64); !ok || left < 500 || left > 1000 {
		t.Errorf("left = %v", left)
	}
	if name := d.evaluate(pause, "loaded"); name != "hello module" {
		t.Errorf("loaded = %v", name)
	}
	d.call("Debugger.resume", nil)
	if got := <-answer; !strings.HasPrefix(got, "200 ") || !strings.Contains(got, "hello handler") {
		t.Errorf("answer = %s", got)
	}

	// Two requests at once meet the breakpoint one after the other, in one process.
	first, second := get("?n=1"), get("?n=2")
	pausedAt("notes.ts:4")
	d.call("Debugger.resume", nil)
	pausedAt("notes.ts:4")
	d.call("Debugger.resume", nil)
	var one, two struct{ PID int }
	json.Unmarshal([]byte(strings.TrimPrefix(<-first, "200 ")), &one)
	json.Unmarshal([]byte(strings.TrimPrefix(<-second, "200 ")), &two)
	if one.PID == 0 || one.PID != two.PID {
		t.Errorf("processes %d and %d", one.PID, two.PID)
	}

	// A save: the debugger stays and stops in the new code, one line further down.
	p.write("src/notes.ts", "// saved\n"+debugged)
	d.next("Runtime.executionContextsCleared")
	answer = get("")
	stops(5)
	pausedAt("notes.ts:5")
	d.call("Debugger.resume", nil)
	if got := <-answer; !strings.HasPrefix(got, "200 ") {
		t.Errorf("after the save: %s", got)
	}

	// A process that ends at once does not wait for the debugger; the next one is there for it.
	answer = get("?exit=1")
	pausedAt("notes.ts:5")
	d.call("Debugger.resume", nil)
	if got := <-answer; !strings.HasPrefix(got, "500 ") {
		t.Errorf("exit = %s", got)
	}
	await(p, "the exit", func(e Finished) bool { return e.Error != nil && strings.Contains(e.Error.Message, "exit status 3") })
	d.next("Runtime.executionContextsCleared")
	answer = get("")
	stops()
	pausedAt("notes.ts:5") // the breakpoint is still known
	hung := d.start("Runtime.evaluate", map[string]any{"expression": "new Promise(() => {})", "awaitPromise": true})

	// The debugger leaves: the function goes on, and its time counts again.
	d.call("Debugger.disable", nil)
	if got := <-answer; !strings.HasPrefix(got, "200 ") {
		t.Errorf("after Debugger.disable: %s", got)
	}
	d.ws.Close()
	await(p, "the debugger to leave", func(e Debugging) bool { return !e.Attached })
	select {
	case a := <-hung:
		t.Errorf("evaluate = %+v", a)
	default:
	}
	p.mu.Lock()
	for _, e := range p.events {
		if e, ok := e.(Logged); ok {
			t.Errorf("logged: %s", e.Line)
		}
	}
	p.mu.Unlock()
	p.write("src/notes.ts", "export const handler = () => new Promise((done) => setTimeout(done, 5000));\n")
	if got := p.invoke("web-Notes", "{}"); !strings.Contains(got.body, "Task timed out after 1.00 seconds") {
		t.Errorf("without a debugger: %+v", got)
	}
}

// TestDebuggerGuard asks the port as web pages, other hosts and tools would.
func TestDebuggerGuard(t *testing.T) {
	p := inspecting(t, map[string]string{"src/a.js": "export const handler = async () => 1;"}, []cfn.Function{nodeFunction("web/A", "src/a.handler"), nodeFunction("web/B", "src/a.handler")})
	list := p.server.Inspected()
	if len(list) != 2 || list[0].Address == list[1].Address {
		t.Fatalf("inspected = %+v", list)
	}
	ask := func(path string, header ...string) (int, string) {
		req, _ := http.NewRequest("GET", "http://"+list[0].Address+path, nil)
		for i := 0; i < len(header); i += 2 {
			if header[i] == "Host" {
				req.Host = header[i+1]
			}
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	for _, test := range []struct {
		path   string
		header []string
		status int
		want   string
	}{
		{"/json/list", nil, 200, `"title":"web/A (src/a.handler)"`},
		{"/json", []string{"Host", "localhost:9229"}, 200, `"webSocketDebuggerUrl":"ws://localhost:9229/`},
		{"/json/version", nil, 200, `"Browser":"node.js/v`},
		{"/json/protocol", nil, 200, `"domain":"Debugger"`},
		{"/json/list", []string{"Host", "evil.example"}, 403, "not this machine"},
		{"/json/list", []string{"Origin", "https://evil.example"}, 403, "web pages"},
		{"/json/list", []string{"Sec-Fetch-Site", "cross-site"}, 403, "web pages"},
		{"/json/list", []string{"Origin", "devtools://devtools", "Sec-Fetch-Site", "cross-site"}, 200, "web/A"},
		{"/elsewhere", nil, 404, ""},
	} {
		if status, body := ask(test.path, test.header...); status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s %v = %d %.200s, want %d %s", test.path, test.header, status, body, test.status, test.want)
		}
	}
	id := p.server.debug.of("web/A").id
	for origin, want := range map[string]int{"https://evil.example": 403, "null": 403, "devtools://devtools": 101} {
		ws, res, err := websocket.DefaultDialer.Dial("ws://"+list[0].Address+"/"+id, http.Header{"Origin": {origin}})
		if res == nil || res.StatusCode != want {
			t.Errorf("Origin %s: %v %v, want %d", origin, res, err, want)
		}
		if ws != nil {
			ws.Close()
		}
	}
	var file startFile
	data, _ := os.ReadFile(filepath.Join(p.root, ".sst", "start.json"))
	if err := json.Unmarshal(data, &file); err != nil || file.Functions[1].Inspect != list[1].Address {
		t.Errorf("start.json: %v %s", err, data)
	}
}

// TestDebuggerInLiveMode stops an invocation of AWS until Lambda gives it up: that is said before, the caller gets an error in
// time, and the code goes on for whoever looks at it.
func TestDebuggerInLiveMode(t *testing.T) {
	t.Parallel() // it waits more than it works
	relay := proxy.NewRelay(proxy.RelayOptions{Profile: proxy.ProfileFast})
	front := httptest.NewServer(relay)
	defer front.Close()
	defer relay.Close()
	p := &project{t: t, root: t.TempDir(), heard: make(chan struct{})}
	p.write("src/a.mjs", "export const handler = async (event) => {\n  globalThis.calls = (globalThis.calls ?? 0) + 1;\n  if (event.stop) debugger;\n  return globalThis.calls;\n};\n")
	f := nodeFunction("web/A", "src/a.handler")
	f.Live, f.Timeout = true, 2
	server, err := Open(t.Context(), Options{Root: p.root, Stage: "dev", Environ: os.Environ(), Events: p.event, Node: localNode(t), Live: true})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Inspect(Inspection{Functions: []string{"web/A"}})
	asm := &cfn.Assembly{Dir: p.root, Manifest: &cfn.Manifest{Version: 1, App: "notes", Stage: "dev", Region: "us-east-1", Functions: []cfn.Function{f}}}
	if err := server.Update(t.Context(), asm); err != nil {
		t.Fatal(err)
	}
	url := "ws" + strings.TrimPrefix(front.URL, "http")
	if err := server.Connect(t.Context(), Link{URL: url, Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	box := func() *proxy.Sandbox {
		sb, err := proxy.OpenSandbox(t.Context(), proxy.SandboxOptions{URL: url, Grace: time.Millisecond,
			Init: proxy.Init{Function: "web/A", Runtime: "nodejs24.x", Timeout: 2, Env: map[string]string{"AWS_REGION": "us-east-1"}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sb.Close() })
		return sb
	}
	one, other := box(), box()
	invoke := func(sb *proxy.Sandbox, event string) *proxy.Response {
		t.Helper()
		got, err := sb.Invoke(t.Context(), proxy.Request{Event: []byte(event)})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	d := attach(t, server.Inspected()[0].Address)
	d.call("Debugger.enable", nil)
	if got := invoke(one, `{"stop":true}`); got.ErrorType != proxy.ErrorDeadlineNear {
		t.Errorf("at the breakpoint: %+v", got)
	}
	await(p, "a warning", func(e Notice) bool { return strings.Contains(e.Text, "web/A: Lambda gives this invocation up in 1s") })
	await(p, "how it went", func(e Notice) bool { return strings.Contains(e.Text, "its caller got the error SST.DeadlineNear") })
	pause := d.next("Debugger.paused")
	if calls := d.evaluate(pause, "globalThis.calls"); calls != 1.0 {
		t.Errorf("calls = %v", calls)
	}
	d.call("Debugger.resume", nil)
	await(p, "its end", func(e Finished) bool { return e.Error != nil && e.Error.Type == proxy.ErrorDeadlineNear })
	// Another sandbox meets the same process, which lives.
	if got := invoke(other, `{}`); string(got.Body) != "2" {
		t.Errorf("the next invocation: %+v %s", got, got.Body)
	}
}

// TestUnseenDebugger runs a program whose debugger comes to the process by itself: its time does not count, and where it is
// is said.
func TestUnseenDebugger(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: %s is not installed", tool)
		}
	}
	f := customFunction("web/Sh", "fn")
	f.Timeout = 1
	p := servingSlow(t, f)
	if got := p.invoke("web-Sh", "{}"); got.body != `"late"` {
		t.Errorf("Invoke = %+v", got)
	}
	await(p, "where it runs", func(e Notice) bool {
		return strings.Contains(e.Text, "web/Sh runs as process ") && strings.Contains(e.Text, "dlv attach")
	})
	if list := p.server.Inspected(); len(list) != 0 {
		t.Errorf("inspected = %+v", list)
	}
}

// servingSlow serves a program that takes 1.3 seconds.
func servingSlow(t *testing.T, f cfn.Function) *project {
	p := newProjectWith(t, func(s *Server) { s.Inspect(Inspection{Functions: []string{f.ID}}) }, map[string]string{"fn/bootstrap": `#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
while :; do
  headers=$(mktemp)
  curl -sS -o /dev/null -D $headers $api/invocation/next || exit 0
  id=$(grep -i lambda-runtime-aws-request-id $headers | tr -d '\r' | cut -d' ' -f2)
  rm $headers
  sleep 1.3
  curl -sS -o /dev/null -d '"late"' $api/invocation/$id/response
done
`}, nil)
	os.Chmod(filepath.Join(p.root, "fn/bootstrap"), 0o755)
	p.set([]cfn.Function{f})
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestIDsOfWorkers(t *testing.T) {
	first, third := newIDs(0), newIDs(2)
	for _, test := range []struct{ said, want string }{
		{`{"method":"Debugger.scriptParsed","params":{"scriptId":"141","url":"file:///a","executionContextId":1}}`,
			`{"method":"Debugger.scriptParsed","params":{"scriptId":"2.141","url":"file:///a","executionContextId":200001}}`},
		{`{"method":"Runtime.executionContextCreated","params":{"context":{"id":1,"origin":""}}}`,
			`{"method":"Runtime.executionContextCreated","params":{"context":{"id":200001,"origin":""}}}`},
		{`{"id":7,"result":{"scriptSource":"x = '{\"scriptId\":\"1\",\"contextId\":1}'"}}`,
			`{"id":7,"result":{"scriptSource":"x = '{\"scriptId\":\"1\",\"contextId\":1}'"}}`},
	} {
		if got := string(first.ours([]byte(test.said))); got != test.said {
			t.Errorf("of the first worker: %s", got)
		}
		if got := string(third.ours([]byte(test.said))); got != test.want {
			t.Errorf("of the third worker: %s, want %s", got, test.want)
		}
		if got := string(third.theirs([]byte(test.want))); got != test.said {
			t.Errorf("to the third worker: %s, want %s", got, test.said)
		}
	}
	for said, want := range map[string]string{ // of another worker
		`{"params": {"contextId": 1, "scriptId": "141"}}`:         `{"params": {"contextId": 100001, "scriptId":"gone.141"}}`,
		`{"params": {"contextId": 100001, "scriptId": "1.141"}}`:  `{"params": {"contextId": 200001, "scriptId":"gone.1.141"}}`,
		`{"params": {"contextId": 200003, "scriptId": "2.141" }}`: `{"params": {"contextId": 3, "scriptId":"141" }}`,
	} {
		if got := string(third.theirs([]byte(said))); got != want {
			t.Errorf("to the third worker: %s, want %s", got, want)
		}
	}
}
