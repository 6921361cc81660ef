package proxy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evanw/esbuild/pkg/api"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// What is deployed is made of the source, and small (goal G14).
func TestGoldenStub(t *testing.T) {
	source, err := os.ReadFile("stub.mjs")
	if err != nil {
		t.Fatal(err)
	}
	made := api.Transform(string(source), api.TransformOptions{
		Format: api.FormatESModule, Target: api.ES2022, Platform: api.PlatformNode, Charset: api.CharsetASCII,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true, LegalComments: api.LegalCommentsNone,
		Banner: "// The function's end of sst-live/1, made from stub.mjs of the sources of sst.",
	})
	if len(made.Errors) > 0 {
		t.Fatal(made.Errors)
	}
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile("stub.min.mjs", made.Code, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(made.Code, proxy.Stub) {
		t.Error("stub.min.mjs is stale: run go generate ./proxy")
	}
	if n := len(proxy.Stub); n > 25<<10 {
		t.Errorf("the stub has %d bytes, want at most 25 KB", n)
	}
}

// lambda plays the Runtime API to one stub.
type lambda struct {
	events  chan *event
	current *event
	URL     string
	cmd     *exec.Cmd     // the stub
	shift   time.Duration // of Lambda's clock
}

type event struct {
	id       string
	body     []byte
	deadline time.Time
	answer   chan answer
}

type answer struct {
	kind, errType string // "response" or "error"
	body          []byte
	kindOf        string // content type
	trailer       http.Header
}

func newLambda(t testing.TB) *lambda {
	l := &lambda{events: make(chan *event)}
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/2018-06-01/runtime/")
		if path == "invocation/next" {
			select {
			case e := <-l.events:
				mu.Lock()
				l.current = e
				mu.Unlock()
				w.Header().Set("Lambda-Runtime-Aws-Request-Id", e.id)
				w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(e.deadline.Add(l.shift).UnixMilli()))
				w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:f")
				w.Header().Set("Lambda-Runtime-Trace-Id", "Root=1-2-3")
				w.Header().Set("Content-Type", "application/json")
				w.Write(e.body)
			case <-r.Context().Done():
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		e := l.current
		mu.Unlock()
		parts := strings.Split(path, "/")
		if len(parts) != 3 || e == nil || parts[1] != e.id {
			t.Errorf("Runtime API: unexpected %s %s", r.Method, r.URL.Path)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		select {
		case e.answer <- answer{parts[2], r.Header.Get("Lambda-Runtime-Function-Error-Type"), body, r.Header.Get("Content-Type"), r.Trailer}:
			w.WriteHeader(http.StatusAccepted)
		default:
			t.Errorf("%s: answered twice", e.id)
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(server.Close)
	l.URL = strings.TrimPrefix(server.URL, "http://")
	return l
}

func (l *lambda) invoke(t testing.TB, body []byte, timeout time.Duration) answer {
	t.Helper()
	return l.invokeAs(t, fmt.Sprintf("r-%016x", rand.Uint64()), body, timeout)
}

func (l *lambda) invokeAs(t testing.TB, id string, body []byte, timeout time.Duration) answer {
	t.Helper()
	e := &event{id, body, time.Now().Add(timeout), make(chan answer, 1)}
	select {
	case l.events <- e:
	case <-time.After(10 * time.Second):
		t.Fatal("the stub did not ask for an event")
	}
	select {
	case a := <-e.answer:
		return a
	case <-time.After(20 * time.Second):
		t.Fatal("the stub did not answer")
	}
	panic("unreachable")
}

// startStub runs the stub in Node against a Runtime API and a relay.
func startStub(t *testing.T, url string, env ...string) (*lambda, *bytes.Buffer) {
	t.Helper()
	return startStubWith(t, url, "", env...)
}

// startStubWith gives the stub the stage's public key.
func startStubWith(t *testing.T, url, key string, env ...string) (*lambda, *bytes.Buffer) {
	t.Helper()
	return startStubConfig(t, map[string]any{"url": url, "token": "secret", "key": key}, env...)
}

// startStubConfig completes the configuration of a stub.
func startStubConfig(t testing.TB, with map[string]any, env ...string) (*lambda, *bytes.Buffer) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	file := filepath.Join(t.TempDir(), "stub.mjs")
	text := proxy.Stub
	if source, ok := with["source"].([]byte); ok {
		text = source
		delete(with, "source")
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	l := newLambda(t)
	with["function"], with["runtime"], with["timeout"] = "web/Notes", "python3.13", 30
	config, _ := json.Marshal(with)
	cmd := exec.Command(node, file)
	l.cmd = cmd
	cmd.Env = append(env, "AWS_LAMBDA_RUNTIME_API="+l.URL, "SST_LIVE="+string(config), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512", "USER_VALUE=ü")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if s := out.String(); strings.Contains(s, "Error") {
			t.Errorf("the stub said: %s", s)
		}
	})
	return l, &out
}

func dialEcho(t *testing.T, url string) { dialEchoWith(t, url, nil) }

func dialEchoWith(t *testing.T, url string, key ed25519.PrivateKey) *proxy.Conn {
	t.Helper()
	return dialEchoOptions(t, proxy.DialOptions{URL: url, Token: "secret", Key: key})
}

func dialEchoOptions(t *testing.T, opts proxy.DialOptions) *proxy.Conn {
	t.Helper()
	opts.Handler = proxy.HandlerFunc(func(ctx context.Context, inv *proxy.Invocation) {
		switch string(inv.Event) {
		case `"env"`:
			inv.Respond([]byte(strings.Join([]string{
				inv.Function, inv.Init.Runtime, fmt.Sprint(inv.Init.Memory, inv.Init.Timeout), inv.Env["USER_VALUE"], inv.Env["SST_LIVE"],
				inv.Header.InvokedFunctionArn, inv.Header.TraceID, inv.RequestID[:2],
			}, "|")))
		case `"fail"`:
			inv.Error("Foo.Bar", []byte("{\"stackTrace\":[\"\xff\"]}"))
		case `"hang"`:
			<-t.Context().Done() // not ctx: this end must not answer at the deadline when the stub is slow to
		case `"stream"`, `"late"`, `"endless"`:
			w := inv.Stream("text/event-stream")
			for i := range 300 {
				w.Write(bytes.Repeat([]byte{byte(i)}, 10_000))
			}
			if string(inv.Event) == `"endless"` {
				<-ctx.Done()
				w.Fail(proxy.ErrorDeadlineNear, nil) // when the stub was too slow to say it first
			}
			if string(inv.Event) == `"late"` {
				w.Fail("Foo.Late", []byte(`{"errorType":"Foo.Late"}`))
			}
			w.Close()
		default:
			inv.Respond(inv.Event)
		}
	})
	var conn *proxy.Conn
	var err error
	var present *proxy.PresentError
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// The relay may not have seen yet that the end before this one has left.
		if conn, err = proxy.Dial(context.Background(), opts); !errors.As(err, &present) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Sealed with the stage's key, the stub does all it does; it finds a restarted end by its new key, and talks to nobody
// whom the stage has not signed.
func TestStubSealed(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	public := base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	var mu sync.Mutex
	var seen bytes.Buffer
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret", Fault: func(frame []byte, deliver func()) {
		mu.Lock()
		if f, err := proxy.Decode(frame); err == nil {
			seen.Write(f.Data)
		}
		mu.Unlock()
		deliver()
	}}, relaytest.Faults{})
	l, _ := startStubWith(t, relay.URL, public, "AWS_SECRET_ACCESS_KEY=terribly-secret")
	if a := l.invoke(t, []byte("1"), 2*time.Second); a.errType != proxy.ErrorNoDeveloper {
		t.Errorf("nobody there: got %+v", a)
	}
	first := dialEchoWith(t, relay.URL, key)
	for _, n := range []int{1, 3000, 40_000, 2 << 20} {
		body := bytes.Repeat([]byte("terribly-secret"), n/15+1)
		if a := l.invoke(t, body, 20*time.Second); !bytes.Equal(a.body, body) {
			t.Errorf("%d bytes: got %s %s %.100s", n, a.kind, a.errType, a.body)
		}
	}
	if a := l.invoke(t, []byte(`"stream"`), 20*time.Second); len(a.body) != 3_000_000 {
		t.Errorf("stream: got %s of %d bytes", a.kind, len(a.body))
	}
	first.Close()
	second := dialEchoWith(t, relay.URL, key)
	if a := l.invoke(t, []byte("2"), 20*time.Second); string(a.body) != "2" {
		t.Errorf("restarted end: got %+v %s", a, a.body)
	}
	second.Close()
	dialEchoWith(t, relay.URL, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if a := l.invoke(t, []byte("3"), 2*time.Second); a.errType != proxy.ErrorNoDeveloper || !strings.Contains(string(a.body), "not signed") {
		t.Errorf("a stranger: got %+v %s", a, a.body)
	}
	mu.Lock()
	defer mu.Unlock()
	if bytes.Contains(seen.Bytes(), []byte("terribly-secret")) || seen.Len() < 2<<20 {
		t.Errorf("the relay can read among %d bytes", seen.Len())
	}
}

func TestStub(t *testing.T) {
	for _, profile := range []proxy.Profile{proxy.ProfileAPIGateway, proxy.ProfileFast} {
		t.Run(fmt.Sprint(profile), func(t *testing.T) {
			t.Parallel()
			relay := relaytest.New(t, proxy.RelayOptions{Profile: profile, Token: "secret"}, relaytest.Faults{})
			dialEcho(t, relay.URL)
			l, _ := startStub(t, relay.URL)
			for name, payload := range relaytest.Payloads() {
				a := l.invoke(t, payload, 30*time.Second)
				if a.kind != "response" || !bytes.Equal(a.body, payload) {
					t.Errorf("%s: got %s of %d bytes, want the %d sent: %.200s", name, a.kind, len(a.body), len(payload), a.body)
				}
			}
			want := "web/Notes|python3.13|512 30|ü||arn:aws:lambda:eu-west-1:1:function:f|Root=1-2-3|r-"
			if a := l.invoke(t, []byte(`"env"`), 30*time.Second); string(a.body) != want {
				t.Errorf("env: got %s\nwant %s", a.body, want)
			}
			if a := l.invoke(t, []byte(`"fail"`), 30*time.Second); a.kind != "error" || a.errType != "Foo.Bar" || string(a.body) != "{\"stackTrace\":[\"\xff\"]}" {
				t.Errorf("fail: got %+v", a)
			}
			streamed := make([]byte, 0, 3_000_000)
			for i := range 300 {
				streamed = append(streamed, bytes.Repeat([]byte{byte(i)}, 10_000)...)
			}
			if a := l.invoke(t, []byte(`"stream"`), 30*time.Second); a.kind != "response" || a.kindOf != "text/event-stream" || !bytes.Equal(a.body, streamed) || len(a.trailer.Get("Lambda-Runtime-Function-Error-Type")) > 0 {
				t.Errorf("stream: got %s %s of %d bytes, %v", a.kind, a.kindOf, len(a.body), a.trailer)
			}
			failure := base64.StdEncoding.EncodeToString([]byte(`{"errorType":"Foo.Late"}`))
			if a := l.invoke(t, []byte(`"late"`), 30*time.Second); !bytes.Equal(a.body, streamed) || a.trailer.Get("Lambda-Runtime-Function-Error-Type") != "Foo.Late" || a.trailer.Get("Lambda-Runtime-Function-Error-Body") != failure {
				t.Errorf("late error: got %s of %d bytes, %v", a.kind, len(a.body), a.trailer)
			}
			if a := l.invoke(t, []byte(`"endless"`), 1500*time.Millisecond); !bytes.Equal(a.body, streamed) || a.trailer.Get("Lambda-Runtime-Function-Error-Type") != proxy.ErrorDeadlineNear {
				t.Errorf("endless: got %s of %d bytes, %v", a.kind, len(a.body), a.trailer)
			}
			if a := l.invoke(t, []byte(`"hang"`), 3*time.Second); a.kind != "error" || a.errType != proxy.ErrorDeadlineNear {
				t.Errorf("hang: got %s %s %s", a.kind, a.errType, a.body)
			}
		})
	}
}

func TestStubNoDeveloper(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	l, _ := startStub(t, relay.URL)
	if a := l.invoke(t, []byte(`{"Records":[]}`), 2*time.Second); a.kind != "error" || a.errType != proxy.ErrorNoDeveloper {
		t.Errorf("queue event: got %s %s %s", a.kind, a.errType, a.body)
	}
	a := l.invoke(t, []byte(`{"version":"2.0","requestContext":{"http":{"method":"GET"}}}`), 2*time.Second)
	var web struct {
		StatusCode int
		Body       string
	}
	if err := json.Unmarshal(a.body, &web); err != nil || a.kind != "response" || web.StatusCode != 503 || !strings.Contains(web.Body, "sst start") {
		t.Errorf("web event: got %s %s", a.kind, a.body)
	}
	dialEcho(t, relay.URL)
	if a := l.invoke(t, []byte("1"), 10*time.Second); string(a.body) != "1" {
		t.Errorf("with a developer: got %s %s %s", a.kind, a.errType, a.body)
	}
}

func TestStubCuts(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	tcp := relaytest.NewProxy(t, relay.Addr, seed)
	var mu sync.Mutex
	runs := map[string]int{}
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: tcp.URL, Token: "secret", Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
		mu.Lock()
		runs[inv.RequestID]++
		mu.Unlock()
		inv.Respond(inv.Event)
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, _ := startStub(t, tcp.URL)
	rng := rand.New(rand.NewPCG(seed, 2))
	tcp.CutAfter(2000, 200_000)
	const each = 100
	for i := range each {
		payload := make([]byte, rng.IntN(60_000))
		for j := range payload {
			payload[j] = byte(rng.Uint32())
		}
		if a := l.invoke(t, payload, 30*time.Second); a.kind != "response" || !bytes.Equal(a.body, payload) {
			t.Errorf("%d: got %s %s %.100s", i, a.kind, a.errType, a.body)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(runs) != each {
		t.Errorf("%d invocations ran, want %d", len(runs), each)
	}
	for id, n := range runs {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	t.Logf("%d cuts", tcp.Cuts())
}

// The lesser form, a handler under somebody else's runtime client, and what is lost by it: numbers that JavaScript has
// not, bodies that are not JSON, streams, traces. What is never lost is whether the function failed.
func TestStubHandler(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	file := filepath.Join(t.TempDir(), "stub.mjs")
	if err := os.WriteFile(file, proxy.Stub, 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(name string, remaining int, want string, events ...string) {
		t.Helper()
		script := `const { handler } = await import(process.argv[1])
for (const event of process.argv.slice(3)) {
  const end = Date.now() + Number(process.argv[2])
  const context = { awsRequestId: "r-1", getRemainingTimeInMillis: () => end - Date.now() }
  try {
    console.log(JSON.stringify(await handler(JSON.parse(event), context)))
  } catch (err) { console.log(err.name, err.message, Date.now() < end) }
}
process.exit()`
		args := append([]string{"--input-type=module", "-e", script, file, fmt.Sprint(remaining)}, events...)
		cmd := exec.Command(node, args...)
		cmd.Env = []string{`SST_LIVE={"url":"` + relay.URL + `","function":"f","token":"secret"}`}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, out, want)
		}
	}
	run("nobody there", 1500, "SST.NoDeveloper no developer is connected: run `sst start` true\n"+
		`{"statusCode":503,"headers":{"content-type":"text/plain; charset=utf-8"},"body":"no developer is connected: run `+"`sst start`"+`\n","isBase64Encoded":false}`+"\n",
		`{"Records":[]}`, `{"requestContext":{"http":{"method":"GET"}}}`)
	dialEcho(t, relay.URL)
	run("values", 20_000, `{"a":["ü"]}`+"\n[9007199254740992,null]\n", `{"a":["ü"]}`, `[9007199254740993, 1e400]`)
	run("an error", 20_000, "Foo.Bar {\"stackTrace\":[\"\ufffd\"]} true\n", `"fail"`)
	run("a stream", 20_000, "SST.Protocol the answer is not JSON, which this form of the stub cannot pass on true\n", `"stream"`)
	run("no answer in time", 1500, "SST.DeadlineNear the developer's end did not answer before the deadline true\n", `"hang"`)
}

// The signature was made with the AWS SDK's own signer.
func TestStubSignature(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	file := filepath.Join(t.TempDir(), "stub.mjs")
	if err := os.WriteFile(file, proxy.Stub, 0o644); err != nil {
		t.Fatal(err)
	}
	script := `const { sign } = await import(process.argv[1])
console.log(sign("wss://abc.execute-api.eu-west-1.amazonaws.com/live?b=2&a=x%20y", {region: "eu-west-1", key: "AKIDEXAMPLE",
  secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", session: "token/+=", now: new Date("2026-11-23T01:02:03Z")}).authorization)`
	out, err := exec.Command(node, "--input-type=module", "-e", script, file).CombinedOutput()
	want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-west-1/execute-api/aws4_request, " +
		"SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=240ceab8c751a801057985a1394892232d1e842ff29fcfe8425b7a75dd0082d9\n"
	if err != nil || string(out) != want {
		t.Errorf("sign: %v\n got %s\nwant %s", err, out, want)
	}
}
