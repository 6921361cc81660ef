package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"sst/cfn"
	"sst/proxy"
)

func TestRoutes(t *testing.T) {
	var routes []route
	for _, key := range []string{"GET /notes", "GET /notes/{id}", "GET /notes/new", "ANY /notes/{id}", "ANY /files/{proxy+}",
		"GET /files/{name}/meta", "POST /files/a/{proxy+}", "GET /", "$default", "ANY /only"} {
		routes = append(routes, newRoute(cfn.Route{Key: key, Function: key}))
	}
	tests := []struct {
		method, path, key string
		parameters        map[string]string
	}{
		{"GET", "/notes", "GET /notes", nil},
		{"GET", "/notes/7", "GET /notes/{id}", map[string]string{"id": "7"}},
		{"DELETE", "/notes/7", "ANY /notes/{id}", map[string]string{"id": "7"}},
		{"GET", "/notes/new", "GET /notes/new", nil},
		{"DELETE", "/notes/new", "ANY /notes/{id}", map[string]string{"id": "new"}},
		{"GET", "/files/a/b/c", "ANY /files/{proxy+}", map[string]string{"proxy": "a/b/c"}},
		{"POST", "/files/a/b/c", "POST /files/a/{proxy+}", map[string]string{"proxy": "b/c"}},
		{"GET", "/files/a/meta", "GET /files/{name}/meta", map[string]string{"name": "a"}},
		{"GET", "/files/", "$default", nil},
		{"GET", "/", "GET /", nil},
		{"POST", "/", "$default", nil},
		{"PUT", "/only", "ANY /only", nil},
		{"PUT", "/only/more", "$default", nil},
	}
	for _, test := range tests {
		got, ok := find(routes, test.method, test.path)
		if !ok || got.key != test.key || !maps.Equal(got.parameters, test.parameters) {
			t.Errorf("%s %s = %q %v, want %q %v", test.method, test.path, got.key, got.parameters, test.key, test.parameters)
		}
	}
	if got, ok := find(routes[:3], "POST", "/notes"); ok {
		t.Errorf("POST /notes without a route = %+v", got)
	}
}

func TestHTTPEvent(t *testing.T) {
	r, _ := http.NewRequest("POST", "http://localhost:3000/a%2Fb?x=1&y=%20z&x=2&empty", strings.NewReader("ab"))
	r.RemoteAddr = "127.0.0.1:5555"
	r.Header = http.Header{"Cookie": {"a=1; b=2", "c=3"}, "X-Two": {"1", "2"}, "Content-Type": {"application/x-www-form-urlencoded"}, "User-Agent": {"test"}}
	e := newHTTPEvent(r, match{key: "POST /{id}", parameters: map[string]string{"id": "a/b"}}, "api1", newID(), []byte("ab"), time.Unix(1583348638, 0))
	got, _ := json.Marshal(e)
	for _, want := range []string{
		`{"version":"2.0","routeKey":"POST /{id}","rawPath":"/a/b","rawQueryString":"x=1\u0026y=%20z\u0026x=2\u0026empty","cookies":["a=1","b=2","c=3"],"headers":{`,
		`"x-two":"1,2"`, `"content-type":"application/x-www-form-urlencoded"`, `"x-forwarded-proto":"http"`, `"x-forwarded-for":"127.0.0.1"`, `"content-length":"2"`,
		`"queryStringParameters":{"empty":"","x":"1,2","y":" z"}`,
		`"http":{"method":"POST","path":"/a/b","protocol":"HTTP/1.1","sourceIp":"127.0.0.1","userAgent":"test"}`,
		`"time":"04/Mar/2020:19:03:58 +0000","timeEpoch":1583348638000`,
		`"pathParameters":{"id":"a/b"},"body":"YWI=","isBase64Encoded":true}`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("event lacks %s: %s", want, got)
		}
	}
	for contentType, text := range map[string]bool{"text/plain": true, "application/json; charset=utf-8": true, "application/vnd.api+json": true,
		"": true, "image/png": false, "application/octet-stream": false, "multipart/form-data; boundary=x": false} {
		h := http.Header{}
		if contentType != "" {
			h.Set("Content-Type", contentType)
		}
		if isText(h, []byte("ab")) != text {
			t.Errorf("isText(%q) = %v, want %v", contentType, !text, text)
		}
	}
}

func TestHTTPAnswer(t *testing.T) {
	tests := []struct {
		result string
		status int // 0: malformed
		body   string
		header string // name: value
	}{
		{`{"statusCode":201,"body":"hi","headers":{"X-A":"b"}}`, 201, "hi", "X-A: b"},
		{`{"statusCode":200,"body":"hi"}`, 200, "hi", "Content-Type: text/plain;charset=UTF-8"},
		{`{"statusCode":"204"}`, 204, "", ""},
		{`{"statusCode":200,"body":"aGk=","isBase64Encoded":true}`, 200, "hi", ""},
		{`{"statusCode":200,"cookies":["a=1"],"headers":{"x-n":1.50}}`, 200, "", "X-N: 1.50"},
		{`{"a":1}`, 200, `{"a":1}`, "Content-Type: application/json"},
		{`"hello"`, 200, "hello", "Content-Type: application/json"},
		{`null`, 200, "null", ""},
		{`[1]`, 200, "[1]", ""},
		{`{"statusCode":"many"}`, 0, "", ""},
		{`{"statusCode":2000}`, 0, "", ""},
		{`{"statusCode":200,"body":{"a":1}}`, 0, "", ""},
		{`{"statusCode":200,"headers":{"a":[1]}}`, 0, "", ""},
		{`{"statusCode":200,"body":"%","isBase64Encoded":true}`, 0, "", ""},
		{`nonsense`, 0, "", ""},
		{"{\"statusCode\":202}\x00\x00\x00\x00\x00\x00\x00\x00rest", 202, "rest", ""},
	}
	for _, test := range tests {
		got, err := readHTTPAnswer([]byte(test.result))
		if test.status == 0 {
			if err == nil {
				t.Errorf("%s = %+v, want an error", test.result, got)
			}
			continue
		}
		name, value, _ := strings.Cut(test.header, ": ")
		if err != nil || got.status != test.status || string(got.body) != test.body || name != "" && got.header.Get(name) != value {
			t.Errorf("%s = %+v %v", test.result, got, err)
		}
	}
}

func TestCors(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.js": `export const handler = async () => ({ statusCode: 200, headers: { 'access-control-allow-origin': 'mine', 'x-a': 'b' } });`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")}, cfn.Route{Key: "GET /", Function: "web/A"})
	ask := func(method, origin string, header ...string) http.Header {
		t.Helper()
		req, _ := http.NewRequest(method, p.api()+"/", nil)
		req.Header.Set("Origin", origin)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		res.Header.Set("Status", strconv.Itoa(res.StatusCode))
		return res.Header
	}
	if h := ask("GET", "https://page.example"); h.Get("Access-Control-Allow-Origin") != "mine" {
		t.Errorf("without CORS the function's header counts: %v", h)
	}
	p.asm.Manifest.Apis[0].Cors = &cfn.Cors{AllowOrigins: []string{"https://*.example"}, AllowMethods: []string{"GET", "PUT"},
		AllowHeaders: []string{"content-type"}, AllowCredentials: true, MaxAge: 60}
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	h := ask("GET", "https://page.example")
	if h.Get("Access-Control-Allow-Origin") != "https://page.example" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("X-A") != "b" {
		t.Errorf("GET = %v", h)
	}
	h = ask("OPTIONS", "https://page.example", "Access-Control-Request-Method", "PUT")
	if h.Get("Status") != "204" || h.Get("Access-Control-Allow-Methods") != "GET,PUT" || h.Get("Access-Control-Max-Age") != "60" {
		t.Errorf("preflight = %v", h)
	}
	if h = ask("GET", "https://page.invalid"); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("foreign origin = %v", h)
	}
}

// TestSDK invokes with the AWS SDK.
func TestSDK(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.js": `export const handler = async (event) => { console.log('seen'); if (event.bad) throw new Error('bad'); return event; };`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")})
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(p.server.Lambda()),
		config.WithCredentialsProvider(nil), config.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	client := lambda.NewFromConfig(cfg, func(o *lambda.Options) { o.Credentials = nil })
	name, bad := "web-A", "nobody"
	out, err := client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"a":"é"}`), LogType: types.LogTypeTail})
	if err != nil || string(out.Payload) != `{"a":"é"}` || out.FunctionError != nil || out.LogResult == nil {
		t.Errorf("Invoke = %+v %v", out, err)
	}
	out, err = client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"bad":1}`)})
	if err != nil || out.FunctionError == nil {
		t.Errorf("Invoke bad = %+v %v", out, err)
	}
	_, err = client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &bad})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		t.Errorf("Invoke nobody: %v", err)
	}
}

func TestPorts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	root := t.TempDir()
	p := &project{t: t, root: root, heard: make(chan struct{})}
	if p.server, err = Open(context.Background(), Options{Root: root, Port: taken, Events: p.event}); err != nil {
		t.Fatal(err)
	}
	defer p.server.Close()
	p.asm = &cfn.Assembly{Manifest: &cfn.Manifest{Apis: []cfn.Api{{ID: "web/A"}, {ID: "web/B"}}}}
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	await(p, "Notice of the taken port", func(e Notice) bool {
		return strings.HasPrefix(e.Text, "port "+strconv.Itoa(taken)+" is taken; web/A is on port ")
	})
	listening := await(p, "Listening", func(e Listening) bool { return len(e.Apis) == 2 })
	data, err := os.ReadFile(filepath.Join(root, ".sst", "start.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file startFile
	if err := json.Unmarshal(data, &file); err != nil || file.Apis["web/B"] != listening.Apis[1].URL || file.Lambda != p.server.Lambda() || file.PID != os.Getpid() {
		t.Errorf("start.json = %s, listening = %+v", data, listening)
	}
	// The ports stay when the app changes.
	p.asm.Manifest.Apis = p.asm.Manifest.Apis[1:]
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	if got := p.server.Apis(); len(got) != 1 || got[0] != listening.Apis[1] {
		t.Errorf("after the update: %+v, want %+v", got, listening.Apis[1])
	}
}

func TestRelayWantsToken(t *testing.T) {
	p := newProject(t, nil, nil)
	for _, header := range []http.Header{{}, {"Authorization": {"Bearer wrong"}}} {
		req, _ := http.NewRequest("GET", p.server.Lambda()+"/relay", nil)
		req.Header = header
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		req.Header.Set("Sec-Websocket-Version", "13")
		req.Header.Set("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 401 && res.StatusCode != 403 {
			t.Errorf("relay without token = %d", res.StatusCode)
		}
	}
}

func TestPoolBounds(t *testing.T) {
	closed := make(chan string, 100)
	p := newPool(3, 2)
	n := 0
	p.open = func(fn *function) (*sandbox, error) { n++; return &sandbox{id: strconv.Itoa(n), fn: fn}, nil }
	p.close = func(sb *sandbox) { closed <- sb.id }
	fn := func(id string) *function { return &function{Function: cfn.Function{ID: id}} }
	a, b := fn("a"), fn("b")
	take := func(f *function) *sandbox {
		t.Helper()
		sb, err := p.acquire(t.Context(), f, nil)
		if err != nil {
			t.Fatal(err)
		}
		return sb
	}
	a1, a2 := take(a), take(a)
	got := make(chan *sandbox)
	go func() { sb, _ := p.acquire(t.Context(), a, nil); got <- sb }()
	b1 := take(b) // the third process: a's bound does not hold b back
	select {
	case sb := <-got:
		t.Fatalf("a third sandbox of a: %v", sb)
	case <-time.After(20 * time.Millisecond):
	}
	p.release(a2)
	if sb := <-got; sb != a2 {
		t.Errorf("the waiter got %v, want the one released", sb)
	}
	p.release(a1)
	p.release(b1)
	if sb := take(b); sb != b1 {
		t.Errorf("idle sandbox not reused")
	}
	if sb := take(fn("c")); sb == nil { // full: the idle a1 must go
		t.Error("no sandbox for c")
	}
	if id := <-closed; id != a1.id {
		t.Errorf("closed %s, want %s", id, a1.id)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.acquire(ctx, fn("d"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled acquire: %v", err)
	}
	p.mu.Lock()
	for range maxQueue {
		p.waiting = append(p.waiting, &waiter{fn: &function{}, got: make(chan grant, 1)})
	}
	p.mu.Unlock()
	if _, err := p.acquire(t.Context(), fn("d"), nil); err != errBusy {
		t.Errorf("full queue: %v", err)
	}
	if a := httpResult(nil, errBusy); a.status != 429 {
		t.Errorf("busy = %+v", a)
	}
	if a := httpResult(&proxy.Response{FunctionError: true, ErrorType: "Error", Body: []byte(`{"errorMessage":"secret"}`)}, nil); a.status != 500 || string(a.body) != `{"message":"Internal Server Error"}` {
		t.Errorf("function error = %d %s", a.status, a.body)
	}
}

// TestPoolPatience has callers that come while the only sandbox is busy: a short function is waited for, and no more
// than two sandboxes start at once for a long one.
func TestPoolPatience(t *testing.T) {
	p := newPool(8, 8)
	opened := make(chan *sandbox, 8)
	p.open = func(fn *function) (*sandbox, error) { sb := &sandbox{fn: fn}; opened <- sb; return sb, nil }
	fn := &function{Function: cfn.Function{ID: "a"}}
	first, err := p.acquire(t.Context(), fn, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.started(first)
	<-opened
	got := make(chan *sandbox, 8)
	go func() { sb, _ := p.acquire(t.Context(), fn, nil); got <- sb }()
	for p.queued() == 0 {
		time.Sleep(time.Millisecond)
	}
	p.release(first)
	if sb := <-got; sb != first {
		t.Fatalf("another sandbox was made: %v", sb)
	}
	for range 4 { // first is still busy
		go func() { sb, _ := p.acquire(t.Context(), fn, nil); got <- sb }()
	}
	began := time.Now()
	second, third := <-opened, <-opened
	if took := time.Since(began); took < patience/2 {
		t.Errorf("the second sandbox was made after %v", took)
	}
	if time.Since(began) < startTime/2 && len(opened) > 0 {
		t.Error("three sandboxes start at once")
	}
	p.started(second)
	p.started(third)
	<-opened
	<-opened
	p.close = func(*sandbox) {}
	p.release(first)
	for range 4 {
		p.release(<-got)
	}
	p.mu.Lock()
	for _, sb := range p.idle["a"] {
		sb.used = sb.used.Add(-2 * surplusTime)
	}
	p.mu.Unlock()
	p.reap(idleTime, func(*function) bool { return false })
	if left := len(p.idle["a"]); left != 1 {
		t.Errorf("%d idle sandboxes are left, want 1", left)
	}
}

// After a change the processes of a function are started one after the other, and who waits is served by those that have
// been, unless he came later than their code.
func TestPoolAfterAChange(t *testing.T) {
	p := newPool(8, 8)
	p.open = func(fn *function) (*sandbox, error) { return &sandbox{fn: fn}, nil }
	fn := &function{Function: cfn.Function{ID: "a"}}
	runs := map[*sandbox]*code{}
	p.warm = func(sb *sandbox, need *code) bool { return runs[sb].serves(need) }
	first, second := &code{key: "a", turn: 1, dir: "1"}, &code{key: "a", turn: 2, dir: "2"}
	var boxes []*sandbox
	for range 3 { // all are there, with the first code
		p.mu.Lock()
		sb := &sandbox{fn: fn}
		runs[sb] = first
		p.count["a"]++
		p.total++
		p.mu.Unlock()
		boxes = append(boxes, sb)
	}
	for _, sb := range boxes {
		p.release(sb)
	}
	one, err := p.acquire(t.Context(), fn, second)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *sandbox, 2)
	for range 2 {
		go func() { sb, _ := p.acquire(t.Context(), fn, second); got <- sb }()
	}
	for p.queued() < 2 {
		time.Sleep(time.Millisecond)
	}
	old, err := p.acquire(t.Context(), fn, first) // it came before the second code
	if err != nil || old == one {
		t.Fatalf("got %v, %v", old, err)
	}
	p.release(old)
	time.Sleep(2 * patience) // long enough for both to be served if they were not held back
	select {
	case sb := <-got:
		t.Fatalf("two processes are started at once: %p beside %p", sb, one)
	default:
	}
	p.mu.Lock() // warm is called with it
	runs[one] = second
	p.mu.Unlock()
	for range 2 {
		p.started(one)
		p.release(one)
		if sb := <-got; sb != one {
			t.Errorf("another process was started")
		}
	}
}

// queued counts the callers that wait.
func (p *pool) queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}
