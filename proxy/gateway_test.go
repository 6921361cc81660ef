package proxy_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/gorilla/websocket"

	"sst/proxy"
	"sst/proxy/relaytest"
)

var full = flag.Bool("full", false, "take the time for the long forms of the tests of a bad network")

// The wire over an API Gateway WebSocket API with its quotas, SigV4 and a relay that is a function.

var keys = map[string]relaytest.Key{
	"AKIADEVELOPER": {Secret: "developer-secret", ARN: "arn:aws:iam::111111111111:user/ada"},
	"ASIAFUNCTION":  {Secret: "function-secret", Session: "session/token+=", ARN: "arn:aws:sts::111111111111:assumed-role/notes/fn"},
	"ASIARELAY":     {Secret: "relay-secret", Session: "relay-token", ARN: "arn:aws:sts::111111111111:assumed-role/relay/fn"},
}

func credentialsOf(id string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(id, keys[id].Secret, keys[id].Session)
}

// newGateway starts the WebSocket API with the relay behind it.
func newGateway(t *testing.T, opts relaytest.GatewayOptions) *relaytest.Gateway {
	t.Helper()
	router := &relaytest.Router{
		Region: "eu-west-1", Credentials: aws.Credentials{AccessKeyID: "ASIARELAY", SecretAccessKey: "relay-secret", SessionToken: "relay-token"},
		Developer: func(arn string) bool { return strings.Contains(arn, ":user/") },
	}
	opts.Auth = &relaytest.SigV4{Region: "eu-west-1", Keys: keys, Allow: func(key relaytest.Key, action, _ string) bool {
		return action == "execute-api:Invoke" || strings.Contains(key.ARN, "/relay/")
	}}
	opts.Function = router.Invoke
	g := relaytest.NewGateway(t, opts)
	router.Management = g.Management
	return g
}

func developerOptions(url string) proxy.DialOptions {
	return proxy.DialOptions{URL: url, Sign: &proxy.Signer{Credentials: credentialsOf("AKIADEVELOPER"), Region: "eu-west-1"}}
}

func startSignedStub(t *testing.T, url string) *lambda {
	l, _ := startStubConfig(t, map[string]any{"url": url}, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=ASIAFUNCTION",
		"AWS_SECRET_ACCESS_KEY=function-secret", "AWS_SESSION_TOKEN=session/token+=")
	return l
}

func TestGateway(t *testing.T) {
	t.Parallel()
	g := newGateway(t, relaytest.GatewayOptions{})
	conn := dialEchoOptions(t, developerOptions(g.URL))
	l := startSignedStub(t, g.URL)
	for name, payload := range relaytest.Payloads() {
		if len(payload) > 1<<20 && !*full { // each of its frames is three HTTP requests
			continue
		}
		if a := l.invoke(t, payload, 30*time.Second); a.kind != "response" || !bytes.Equal(a.body, payload) {
			t.Errorf("%s: got %s of %d bytes, want the %d sent: %.200s", name, a.kind, len(a.body), len(payload), a.body)
		}
	}
	if a := l.invoke(t, []byte(`"stream"`), 30*time.Second); a.kind != "response" || len(a.body) != 3_000_000 {
		t.Errorf("stream: got %s of %d bytes", a.kind, len(a.body))
	}
	g.Disconnect(websocket.CloseGoingAway, "Going away")
	if a := l.invoke(t, []byte("1"), 30*time.Second); string(a.body) != "1" {
		t.Errorf("after a disconnect: got %s %s %s", a.kind, a.errType, a.body)
	}
	conn.Close()
	if a := l.invoke(t, []byte("1"), 2*time.Second); a.errType != proxy.ErrorNoDeveloper {
		t.Errorf("without a developer: got %s %s %s", a.kind, a.errType, a.body)
	}
}

// Throttled posts and connections that are gone cost time and no answer.
func TestGatewayRefusals(t *testing.T) {
	t.Parallel()
	var calls, faults atomic.Int64
	g := newGateway(t, relaytest.GatewayOptions{Refuse: func(method, id string) (int, bool) {
		if n := calls.Add(1); faults.Load() > 0 {
			switch {
			case n%3 == 0:
				return http.StatusTooManyRequests, false
			case n%50 == 25: // delivered all the same
				return http.StatusGone, true
			case n%50 == 26:
				return http.StatusInternalServerError, true
			case n%50 == 27:
				return http.StatusInternalServerError, false
			}
		}
		return 0, false
	}})
	var mu sync.Mutex
	runs := map[string]int{}
	opts := developerOptions(g.URL)
	opts.Handler = proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
		mu.Lock()
		runs[inv.RequestID]++
		mu.Unlock()
		inv.Respond(inv.Event)
	})
	conn, err := proxy.Dial(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := startSignedStub(t, g.URL)
	l.invoke(t, []byte("1"), 30*time.Second)
	faults.Store(1)
	for i := range 40 {
		event := bytes.Repeat([]byte{'0' + byte(i%10)}, 1+i*i*40)
		if a := l.invoke(t, event, 30*time.Second); a.kind != "response" || !bytes.Equal(a.body, event) {
			t.Errorf("%d: got %s %s %.100s", i, a.kind, a.errType, a.body)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(runs) != 41 {
		t.Errorf("%d requests ran, want 41", len(runs))
	}
	for id, n := range runs {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	if n := g.Throttled.Load(); n == 0 {
		t.Error("nothing was throttled")
	}
}

// Each connection of a handover is signed anew, and the message of a refusal is told.
func TestGatewaySignature(t *testing.T) {
	t.Parallel()
	g := newGateway(t, relaytest.GatewayOptions{Lifetime: 4 * time.Second})
	var signed atomic.Int64
	opts := developerOptions(g.URL)
	opts.Lifetime = 400 * time.Millisecond
	opts.Sign.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		signed.Add(1)
		return credentialsOf("AKIADEVELOPER").Retrieve(ctx)
	})
	third := make(chan bool)
	var states atomic.Int64
	opts.OnState = func(s proxy.State, _ error) {
		if s == proxy.Disconnected {
			states.Add(1)
		}
	}
	dialEchoOptions(t, opts)
	l := startSignedStub(t, g.URL)
	go func() {
		for signed.Load() < 3 {
			time.Sleep(10 * time.Millisecond)
		}
		close(third)
	}()
	for done := false; !done; {
		select {
		case <-third:
			done = true
		default:
		}
		if a := l.invoke(t, []byte("1"), 10*time.Second); string(a.body) != "1" {
			t.Errorf("during handovers: got %s %s %s", a.kind, a.errType, a.body)
		}
	}
	if states.Load() > 0 {
		t.Errorf("disconnected %d times", states.Load())
	}

	try := func(id, secret, region string) error {
		conn, err := proxy.Dial(context.Background(), proxy.DialOptions{
			URL: g.URL, TakeOver: true, Handler: proxy.HandlerFunc(func(context.Context, *proxy.Invocation) {}),
			Sign: &proxy.Signer{Region: region, Credentials: credentials.NewStaticCredentialsProvider(id, secret, keys[id].Session)},
		})
		if err == nil {
			conn.Close()
		}
		return err
	}
	for _, test := range []struct{ id, secret, region, want string }{
		{"AKIANOBODY", "x", "eu-west-1", "security token included in the request is invalid"},
		{"AKIADEVELOPER", "wrong", "eu-west-1", "signature we calculated does not match"},
		{"AKIADEVELOPER", "developer-secret", "us-east-1", "Credential should be scoped to a valid region"},
		{"ASIAFUNCTION", "function-secret", "eu-west-1", "relay refused: forbidden"},
	} {
		if err := try(test.id, test.secret, test.region); !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s in %s: got %v, want %q", test.id, test.region, err, test.want)
		}
	}
	if _, resp, _ := websocket.DefaultDialer.Dial(g.URL, nil); resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("unsigned: got %v, want 403", resp)
	}
}

// A clock that is wrong by ten minutes is put right by what the relay's refusal says.
func TestSignerClock(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		now := func() time.Time { return time.Now().Add(wrong) }
		auth := &relaytest.SigV4{Region: "eu-west-1", Keys: keys, Now: now}
		relay := proxy.NewRelay(proxy.RelayOptions{Authorize: auth.Authorize})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", now().UTC().Format(http.TimeFormat))
			relay.ServeHTTP(w, r)
		}))
		defer server.Close()
		defer relay.Close()
		opts := developerOptions("ws" + strings.TrimPrefix(server.URL, "http"))
		opts.Handler = proxy.HandlerFunc(func(context.Context, *proxy.Invocation) {})
		conn, err := proxy.Dial(context.Background(), opts)
		if err != nil {
			t.Errorf("clock wrong by %v: %v", wrong, err)
			continue
		}
		conn.Close()
	}
}

// The Gateway is as strict as what it stands for: @connections and its statuses, a function that is slow or fails.
func TestGatewayManagement(t *testing.T) {
	t.Parallel()
	var throttle atomic.Bool
	g := relaytest.NewGateway(t, relaytest.GatewayOptions{
		Timeout: 50 * time.Millisecond,
		Refuse: func(string, string) (int, bool) {
			if throttle.Load() {
				return http.StatusTooManyRequests, false
			}
			return 0, false
		},
		Function: func(ctx context.Context, event []byte) ([]byte, error) {
			switch {
			case bytes.Contains(event, []byte("DENY")):
				return []byte(`{"statusCode":401}`), nil
			case bytes.Contains(event, []byte("slow")):
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []byte(`{"statusCode":200}`), nil
		},
	})
	if _, resp, _ := websocket.DefaultDialer.Dial(g.URL, http.Header{"X-Test": {"DENY"}}); resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("refused by the function: got %v, want 401", resp)
	}
	c := rawDial(t, g.URL)
	c.say(`{"t":"slow"}`)
	if _, b, err := c.ReadMessage(); err != nil || !bytes.Contains(b, []byte(`"message":"Internal server error"`)) {
		t.Errorf("after the timeout: got %s, %v", b, err)
	}
	ids := g.Connections()
	if len(ids) != 1 {
		t.Fatalf("connections %v, want one", ids)
	}
	ask := func(method, id string, body string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(method, g.Management+"/@connections/"+id, strings.NewReader(body))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode, res.Header.Get("x-amzn-ErrorType")
	}
	for _, test := range []struct {
		method, id, body string
		status           int
		kind             string
	}{
		{"GET", ids[0], "", 200, ""},
		{"POST", ids[0], strings.Repeat("x", 128<<10), 200, ""},
		{"POST", ids[0], strings.Repeat("x", 128<<10+1), 413, "PayloadTooLargeException"},
		{"POST", "nobody=", "x", 410, "GoneException"},
		{"DELETE", ids[0], "", 204, ""},
	} {
		if status, kind := ask(test.method, test.id, test.body); status != test.status || kind != test.kind {
			t.Errorf("%s of %d bytes to %s: got %d %s, want %d %s", test.method, len(test.body), test.id, status, kind, test.status, test.kind)
		}
	}
	if _, b, err := c.ReadMessage(); err != nil || len(b) != 128<<10 {
		t.Errorf("message of 128 KB: got %d bytes, %v", len(b), err)
	}
	if code := c.closed(); code != websocket.CloseNormalClosure {
		t.Errorf("deleted: closed with %d", code)
	}
	throttle.Store(true)
	if status, kind := ask("POST", ids[0], "x"); status != 429 || kind != "LimitExceededException" {
		t.Errorf("throttled: got %d %s", status, kind)
	}
}
