package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sst/cfn"
	"sst/runtime/bundle"
)

// localNode finds Node.js or skips the test, saying so.
func localNode(t testing.TB) Node {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Skip("skipped: node is not installed")
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Skipf("skipped: node --version: %v", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
	n, _ := strconv.Atoi(major)
	return Node{Path: path, Major: n}
}

// project is a folder with handlers, an app described by hand, and a server for it.
type project struct {
	t      testing.TB
	root   string
	server *Server
	asm    *cfn.Assembly

	mu     sync.Mutex
	events []Event
	heard  chan struct{} // replaced at each event
}

// newProject writes files and serves an app with an Api "web/Api" and the functions.
func newProject(t testing.TB, files map[string]string, functions []cfn.Function, routes ...cfn.Route) *project {
	t.Helper()
	return newProjectWith(t, func(*Server) {}, files, functions, routes...)
}

// newProjectWith is newProject with a server that prepare may set up before it serves.
func newProjectWith(t testing.TB, prepare func(*Server), files map[string]string, functions []cfn.Function, routes ...cfn.Route) *project {
	t.Helper()
	p := &project{t: t, root: t.TempDir(), heard: make(chan struct{})}
	for name, text := range files {
		p.write(name, text)
	}
	p.asm = &cfn.Assembly{Dir: p.root, Manifest: &cfn.Manifest{Version: 1, App: "notes", Stage: "dev", Region: "us-east-1"}}
	p.set(functions, routes...)
	var opts Options
	opts.Root, opts.Stage, opts.App = p.root, "dev", "notes"
	opts.Environ = os.Environ()
	opts.Events = p.event
	if len(functions) > 0 && functions[0].Bundle.Kind == bundle.Node {
		opts.Node = localNode(t)
	}
	var err error
	if p.server, err = Open(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.server.Close() })
	prepare(p.server)
	if err := p.server.Update(context.Background(), p.asm); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *project) set(functions []cfn.Function, routes ...cfn.Route) {
	p.asm.Manifest.Functions = functions
	p.asm.Manifest.Apis = []cfn.Api{{ID: "web/Api", LogicalID: "Api123", Type: "http", Routes: routes}}
}

func (p *project) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) event(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	close(p.heard)
	p.heard = make(chan struct{})
}

// await waits for an event that wanted accepts.
func await[E Event](p *project, what string, wanted func(E) bool) E {
	p.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		p.mu.Lock()
		for _, e := range p.events {
			if e, ok := e.(E); ok && wanted(e) {
				p.mu.Unlock()
				return e
			}
		}
		heard := p.heard
		p.mu.Unlock()
		select {
		case <-heard:
		case <-timeout:
			p.mu.Lock()
			p.t.Fatalf("no event: %s; there were %+v", what, p.events)
		}
	}
}

// nodeFunction describes a Node function named like its ID.
func nodeFunction(id, handler string) cfn.Function {
	return cfn.Function{ID: id, Name: strings.ReplaceAll(id, "/", "-"), Handler: handler, Runtime: "nodejs24.x", Timeout: 10, Memory: 1024,
		Bundle: bundle.Spec{Kind: bundle.Node, Handler: handler, Runtime: "nodejs24.x"}}
}

func nodeFunctionFor(runtime, id, handler string) cfn.Function {
	f := nodeFunction(id, handler)
	f.Runtime, f.Bundle.Runtime = runtime, runtime
	return f
}

func (p *project) api() string { return p.server.Apis()[0].URL }

func (p *project) get(path string) (int, string) {
	p.t.Helper()
	res, err := http.Get(p.api() + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// invoked is the answer of the Invoke API.
type invoked struct {
	status        int
	functionError string
	body          string
	header        http.Header
}

func (p *project) invoke(name, event string, header ...string) invoked {
	p.t.Helper()
	req, _ := http.NewRequest("POST", p.server.Lambda()+"/2015-03-31/functions/"+name+"/invocations", strings.NewReader(event))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return invoked{res.StatusCode, res.Header.Get("X-Amz-Function-Error"), string(body), res.Header}
}

const echo = `
let count = 0;
export const handler = async (event, context) => ({ event, count: ++count, id: context.awsRequestId, left: context.getRemainingTimeInMillis() > 0,
  arn: context.invokedFunctionArn, client: context.clientContext, env: process.env.AWS_ACCESS_KEY_ID, profile: process.env.AWS_PROFILE ?? null });
`

func TestPathOfARequest(t *testing.T) {
	p := newProject(t, map[string]string{"src/echo.js": echo},
		[]cfn.Function{nodeFunction("web/Echo", "src/echo.handler")},
		cfn.Route{Key: "GET /notes/{id}", Function: "web/Echo"})
	before := p.server.Stats()
	status, body := p.get("/notes/a%20b?x=1&x=2")
	if status != 200 {
		t.Fatalf("GET = %d %s", status, body)
	}
	var got struct {
		Event httpEvent
		Count int
		Env   string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if got.Event.RouteKey != "GET /notes/{id}" || got.Event.PathParameters["id"] != "a b" || got.Event.Query["x"] != "1,2" ||
		got.Event.RawPath != "/notes/a b" || got.Event.RawQuery != "x=1&x=2" || got.Count != 1 || !strings.HasPrefix(got.Env, "SSTL") {
		t.Errorf("event = %s", body)
	}
	if _, body := p.get("/notes/2"); !strings.Contains(body, `"count":2`) {
		t.Errorf("second request did not find the state of the first: %s", body)
	}
	if after := p.server.Stats(); after.Frames-before.Frames < 4 {
		t.Errorf("%d frames crossed the relay for two requests", after.Frames-before.Frames)
	}
	if status, body := p.get("/nowhere"); status != 404 || body != `{"message":"Not Found"}` {
		t.Errorf("GET /nowhere = %d %s", status, body)
	}
	got2 := await(p, "Finished", func(e Finished) bool { return e.Trigger == "GET /notes/2" })
	if got2.Status != 200 || got2.Error != nil || got2.Running <= 0 || got2.Duration < got2.Running {
		t.Errorf("Finished = %+v", got2)
	}
}

func TestInvokeAPI(t *testing.T) {
	p := newProject(t, map[string]string{"src/echo.js": echo}, []cfn.Function{nodeFunction("web/Echo", "src/echo.handler")})
	for _, name := range []string{"web-Echo", "web%2FEcho", "web-Echo:$LATEST", "000000000000:function:web-Echo",
		"arn:aws:lambda:us-east-1:000000000000:function:web-Echo"} {
		got := p.invoke(name, `{"n":9007199254740993}`)
		if got.status != 200 || got.functionError != "" || got.header.Get("X-Amz-Executed-Version") != "$LATEST" {
			t.Errorf("Invoke %s = %+v", name, got)
		}
	}
	if got := p.invoke("missing", "{}"); got.status != 404 || got.header.Get("X-Amzn-Errortype") != "ResourceNotFoundException" {
		t.Errorf("Invoke missing = %+v", got)
	}
	if got := p.invoke("web-Echo", `{`); got.status != 400 || got.header.Get("X-Amzn-Errortype") != "InvalidRequestContentException" {
		t.Errorf("Invoke with bad JSON = %+v", got)
	}
	if got := p.invoke("web-Echo", `{}`, "X-Amz-Invocation-Type", "DryRun"); got.status != 204 {
		t.Errorf("DryRun = %+v", got)
	}
	if got := p.invoke("web-Echo", `{"async":1}`, "X-Amz-Invocation-Type", "Event"); got.status != 202 || got.body != "" {
		t.Errorf("Event = %+v", got)
	}
	await(p, "the asynchronous invocation", func(e Finished) bool { return bytes.Contains(e.Result, []byte(`"async":1`)) })
	for _, header := range [][2]string{{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		if got := p.invoke("web-Echo", "{}", header[0], header[1]); got.status != 403 {
			t.Errorf("Invoke with %s = %d, want 403", header[0], got.status)
		}
	}
	client := `eyJjdXN0b20iOnsiYSI6MX19` // {"custom":{"a":1}}
	if got := p.invoke("web-Echo", "{}", "X-Amz-Client-Context", client); !strings.Contains(got.body, `"client":{"custom":{"a":1}}`) {
		t.Errorf("client context: %s", got.body)
	}
}

func TestFunctionErrors(t *testing.T) {
	files := map[string]string{"src/bad.js": `
export const thrown = async () => { throw new TypeError('no such note'); };
export const words = async () => { throw 'just words'; };
export const exit = async () => { process.exit(3); };
export const hang = () => new Promise((resolve) => setTimeout(resolve, 60_000));
export const loop = async () => { for (;;); };
export const large = async () => 'x'.repeat(6 * 1024 * 1024 + 99);
export const callback = (event, context, callback) => callback(null, 1);
export const cyclic = async () => { const a = {}; a.a = a; return a; };
export const stray = async () => { Promise.reject(new Error('stray')); await new Promise((r) => setTimeout(r, 5000)); };
export const dry = () => new Promise(() => {});
`, "src/init.js": `throw new RangeError('at the start'); export const handler = 1;`}
	tests := []struct {
		handler, runtime, errorType, message string
	}{
		{"src/bad.thrown", "nodejs24.x", "TypeError", "no such note"},
		{"src/bad.words", "nodejs24.x", "string", "just words"},
		{"src/bad.exit", "nodejs24.x", "Runtime.ExitError", "RequestId: ID Error: Runtime exited with error: exit status 3"},
		{"src/bad.hang", "nodejs24.x", "Sandbox.Timedout", "RequestId: ID Error: Task timed out after 1.00 seconds"},
		{"src/bad.loop", "nodejs22.x", "Sandbox.Timedout", "RequestId: ID Error: Task timed out after 1.00 seconds"},
		{"src/bad.large", "nodejs24.x", "Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6291556 bytes)."},
		{"src/bad.callback", "nodejs24.x", "Runtime.CallbackHandlerDeprecated", "ERROR: AWS Lambda has removed support"},
		{"src/bad.cyclic", "nodejs24.x", "Runtime.JSONStringifyError", "Unable to stringify response body"},
		{"src/bad.cyclic", "nodejs22.x", "Error", "Unable to stringify response body"},
		{"src/bad.stray", "nodejs24.x", "Runtime.ExitError", "RequestId: ID Error: Runtime exited with error: exit status 1"},
		{"src/bad.stray", "nodejs20.x", "Runtime.UnhandledPromiseRejection", "Error: stray"},
		{"src/bad.dry", "nodejs24.x", "Runtime.ExitError", "RequestId: ID Error: Runtime exited without providing a reason"},
		{"src/init.handler", "nodejs24.x", "RangeError", "at the start"},
		{"src/bad.missing", "nodejs24.x", "SST.BuildFailed", "src/bad does not export \"missing\""},
	}
	var functions []cfn.Function
	for i, test := range tests {
		f := nodeFunctionFor(test.runtime, fmt.Sprintf("web/F%d", i), test.handler)
		f.Timeout = 1
		functions = append(functions, f)
	}
	functions = append(functions, nodeFunctionFor("nodejs22.x", "web/Callback", "src/bad.callback"), nodeFunctionFor("nodejs22.x", "web/Dry", "src/bad.dry"))
	p := newProject(t, files, functions)
	for i, test := range tests {
		t.Run(test.handler+" "+test.runtime, func(t *testing.T) {
			t.Parallel()
			for range 2 { // the worker of the second call is a new one where the first died
				got := p.invoke(fmt.Sprintf("web-F%d", i), "{}")
				var shape struct{ ErrorType, ErrorMessage string }
				if err := json.Unmarshal([]byte(got.body), &shape); err != nil {
					t.Fatalf("%v: %.300s", err, got.body)
				}
				want := strings.Replace(test.message, "ID", got.header.Get("X-Amzn-Requestid"), 1)
				if got.status != 200 || got.functionError != "Unhandled" || shape.ErrorType != test.errorType || !strings.HasPrefix(shape.ErrorMessage, want) {
					t.Errorf("got %d %q %s, want %s %s", got.status, got.functionError, got.body, test.errorType, want)
				}
			}
		})
	}
	for _, name := range []string{"web-Callback", "web-Dry"} {
		if got := p.invoke(name, "{}"); got.functionError != "" {
			t.Errorf("%s for nodejs22.x = %+v", name, got)
		}
	}
}

func TestLargePayloads(t *testing.T) {
	p := newProject(t, map[string]string{"src/pass.js": `
export const size = async (event) => JSON.stringify(event).length;
export const fits = async (event) => 'x'.repeat(6 * 1024 * 1024 + 98);`},
		[]cfn.Function{nodeFunction("web/Size", "src/pass.size"), nodeFunction("web/Fits", "src/pass.fits")})
	event := `"` + strings.Repeat("y", 6*1024*1024-2) + `"`
	if got := p.invoke("web-Size", event); got.body != strconv.Itoa(6*1024*1024) {
		t.Errorf("event of 6 MB: %.200s", got.body)
	}
	if got := p.invoke("web-Size", `"`+strings.Repeat("y", maxPayload)+`"`); got.status != 413 {
		t.Errorf("event over 6 MB: %d %.200s", got.status, got.body)
	}
	if got := p.invoke("web-Fits", `{}`); got.functionError != "" || len(got.body) != maxPayload {
		t.Errorf("answer of 6 MB and 100 bytes: %.200s (%d bytes)", got.body, len(got.body))
	}
}

func TestLogs(t *testing.T) {
	p := newProject(t, map[string]string{"src/log.js": `
export const handler = async (event, context) => {
  console.log('mine', event.n, context.awsRequestId);
  console.error('also mine', event.n);
  process.stdout.write('without newline ' + event.n);
  return event.n;
};
export const flood = async () => { for (let i = 0; i < 100_000; i++) console.log('x'.repeat(1000)); return 'done'; };`},
		[]cfn.Function{nodeFunction("web/Log", "src/log.handler"), nodeFunction("web/Flood", "src/log.flood")})
	const n = 50
	for i := range n {
		if got := p.invoke("web-Log", fmt.Sprintf(`{"n":%d}`, i)); got.body != strconv.Itoa(i) {
			t.Fatalf("Invoke = %+v", got)
		}
	}
	await(p, "the last Finished", func(e Finished) bool { return string(e.Result) == strconv.Itoa(n-1) })
	ids := map[string]string{} // request id -> its result
	p.mu.Lock()
	for _, e := range p.events {
		if e, ok := e.(Finished); ok {
			ids[e.RequestID] = string(e.Result)
		}
	}
	lines := 0
	for _, e := range p.events {
		if e, ok := e.(Logged); ok {
			lines++
			if !strings.HasSuffix(e.Line, " "+ids[e.RequestID]) && !strings.HasSuffix(e.Line, " "+e.RequestID) {
				t.Errorf("line %q is attributed to the invocation that answered %s", e.Line, ids[e.RequestID])
			}
		}
	}
	p.mu.Unlock()
	if lines != 3*n {
		t.Errorf("%d lines, want %d", lines, 3*n)
	}
	if got := p.invoke("web-Log", `{"n":1}`, "X-Amz-Log-Type", "Tail"); got.header.Get("X-Amz-Log-Result") == "" {
		t.Error("no log tail")
	}
	if got := p.invoke("web-Flood", "{}"); got.body != `"done"` {
		t.Errorf("flood = %.200s", got.body)
	}
}

func TestEdit(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.ts": `import { v } from './b'; export const handler = async () => ({ v });`, "src/b.ts": `export const v: number = 0;`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")}, cfn.Route{Key: "GET /", Function: "web/A"})
	if _, body := p.get("/"); body != `{"v":0}` {
		t.Fatalf("GET = %s", body)
	}
	for i := 1; i <= 5; i++ {
		p.write("src/b.ts", fmt.Sprintf("export const v: number = %d;", i))
		if _, body := p.get("/"); body != fmt.Sprintf(`{"v":%d}`, i) {
			t.Fatalf("after save %d: %s", i, body)
		}
	}
	// As editors save: write beside, rename over.
	p.write("src/b.new", "export const v: number = 77;")
	os.Rename(filepath.Join(p.root, "src/b.new"), filepath.Join(p.root, "src/b.ts"))
	if _, body := p.get("/"); body != `{"v":77}` {
		t.Fatalf("after rename: %s", body)
	}
	p.write("src/b.ts", "export const v: number = ;\n")
	status, body := p.get("/")
	if status != 500 || !strings.Contains(body, `"line":1`) || !strings.Contains(body, "b.ts") || !strings.Contains(body, "Unexpected") {
		t.Errorf("broken code: %d %s", status, body)
	}
	if got := p.invoke("web-A", "{}"); got.functionError != "Unhandled" || !strings.Contains(got.body, "Unexpected") {
		t.Errorf("broken code: %+v", got)
	}
	await(p, "BuildFailed", func(e BuildFailed) bool { return slices.Equal(e.Functions, []string{"web/A"}) && len(e.Messages) == 1 })
	p.write("src/b.ts", "export { v } from './c';\n")
	if status, _ := p.get("/"); status != 500 {
		t.Errorf("missing file: %d", status)
	}
	p.write("src/c.ts", "export const v = 'mended';\n")
	if _, body := p.get("/"); body != `{"v":"mended"}` {
		t.Errorf("after repair: %s", body)
	}
}

func TestOneServerAFolder(t *testing.T) {
	p := newProject(t, nil, nil)
	_, err := Open(context.Background(), Options{Root: p.root})
	if want := fmt.Sprintf("process %d", os.Getpid()); err == nil || !strings.Contains(err.Error(), "already running") || !strings.Contains(err.Error(), want) {
		t.Errorf("second Open: %v, want one that names %s", err, want)
	}
	file := filepath.Join(p.root, ".sst", "start.json")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("start.json: %v %v", info, err)
	}
	p.server.Close()
	if _, err := os.Stat(file); err == nil {
		t.Error("start.json is still there after Close")
	}
	again, err := Open(context.Background(), Options{Root: p.root})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
