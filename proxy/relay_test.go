package proxy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// rawConn is a client without any manners.
type rawConn struct {
	*websocket.Conn
	t *testing.T
}

func rawDial(t *testing.T, url string) rawConn {
	t.Helper()
	d := websocket.Dialer{WriteBufferSize: 256 << 10}
	ws, _, err := d.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	return rawConn{ws, t}
}

func (c rawConn) say(text string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c rawConn) hear() (f *proxy.Frame, raw string) {
	c.t.Helper()
	_, b, err := c.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	f, err = proxy.Decode(b)
	if err != nil {
		c.t.Fatalf("%s: %v", b, err)
	}
	return f, string(b)
}

// closed returns the code the relay closes with.
func (c rawConn) closed() int {
	c.t.Helper()
	for {
		_, _, err := c.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return closed.Code
		}
		if err != nil {
			c.t.Fatalf("no close frame: %v", err)
		}
	}
}

func (c rawConn) hello(role string) string {
	c.t.Helper()
	data := base64.RawURLEncoding.EncodeToString([]byte(`{"role":"` + role + `","min":1,"max":3}`))
	c.say(`{"v":1,"t":"hello","d":"` + data + `"}`)
	f, _ := c.hear()
	var w struct{ Connection string }
	json.Unmarshal(f.Data, &w)
	if f.Type != "welcome" || w.Connection == "" {
		c.t.Fatalf("hello: got %+v", f)
	}
	return w.Connection
}

func TestRelayRouting(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway}, relaytest.Faults{})
	dev, box := rawDial(t, relay.URL), rawDial(t, relay.URL)
	refusal := func(c rawConn, say, want string) {
		t.Helper()
		c.say(say)
		if f, raw := c.hear(); f.Type != "nak" || f.Code != want {
			t.Errorf("%s: got %s, want a nak %s", say, raw, want)
		}
	}
	refusal(box, `{"v":1,"t":"req"}`, "hello-first")
	refusal(box, `{"v":1,"t":"hello"}`, "bad-frame")
	refusal(box, `nonsense`, "bad-frame")
	refusal(box, `{"v":1,"t":"hello","d":"`+base64.RawURLEncoding.EncodeToString([]byte(`{"role":"sandbox","min":2,"max":3}`))+`"}`, "version")
	boxID := box.hello("sandbox")
	refusal(box, `{"v":1,"t":"req","s":"s","w":"w","i":"x","m":4}`, "no-developer")
	devID := dev.hello("developer")
	refusal(box, `{"v":1,"t":"req","from":"me"}`, "bad-frame")
	refusal(box, `{"v":1,"t":"res","to":"`+boxID+`"}`, "forbidden")
	refusal(dev, `{"v":1,"t":"res"}`, "gone")
	refusal(dev, `{"v":1,"t":"res","to":"nobody"}`, "gone")

	// One field more, everything else as it was, unknown fields and types too.
	box.say(`{"v":7,"t":"novel","extra":{"a":[1]},"d":"QUJD"}`)
	if _, raw := dev.hear(); raw != `{"from":"`+boxID+`","v":7,"t":"novel","extra":{"a":[1]},"d":"QUJD"}` {
		t.Errorf("developer's end got %s", raw)
	}
	dev.say(`{"to":"` + boxID + `","t":"res"}`)
	if _, raw := box.hear(); raw != `{"from":"`+devID+`","to":"`+boxID+`","t":"res"}` {
		t.Errorf("sandbox got %s", raw)
	}
	dev.say(`{"v":1,"t":"ping"}`)
	if f, _ := dev.hear(); f.Type != "pong" {
		t.Errorf("ping: got %+v", f)
	}
	if s := relay.Stats(); s.Conns != 2 || s.Frames == 0 || s.Bytes == 0 || s.Refused == 0 {
		t.Errorf("stats: %+v", s)
	}
}

// The ends name the message they do not know and go on.
func TestUnknownType(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	dialEcho(t, relay.URL)
	box := rawDial(t, relay.URL)
	box.hello("sandbox")
	box.say(`{"v":1,"t":"init","s":"1","w":"w","m":1,"d":"e30"}`)
	if f, raw := box.hear(); f.Type != "ack" || f.Ack != 1 {
		t.Fatalf("init: got %s", raw)
	}
	box.say(`{"v":1,"t":"novel","s":"1","w":"w","m":2}`)
	for {
		f, raw := box.hear()
		if f.Type == "ack" {
			continue
		}
		if f.Type != "nak" || f.Code != "unknown-type" || string(f.Data) != `{"m":2,"t":"novel"}` {
			t.Errorf("got %s with %s", raw, f.Data)
		}
		break
	}
	box.say(`{"v":1,"t":"resume","s":"0","w":"w"}`)
	for {
		if f, raw := box.hear(); f.Type != "ack" {
			if f.Code != "unknown-session" {
				t.Errorf("other session: got %s", raw)
			}
			break
		}
	}
}

func TestGatewayQuotas(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{
		Profile: proxy.ProfileAPIGateway, Idle: 300 * time.Millisecond, Lifetime: time.Second,
	}, relaytest.Faults{})
	gateway := relaytest.NewGateway(t, relaytest.GatewayOptions{
		Mock: map[string]string{"ping": `{"v":1,"t":"pong"}`}, Idle: 300 * time.Millisecond, Lifetime: time.Second,
	})
	for name, url := range map[string]string{"relay": relay.URL, "gateway": gateway.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			quotas(t, url)
		})
	}
}

// quotas checks what an API Gateway endpoint refuses; its idle time is 300 ms, its lifetime a second.
func quotas(t *testing.T, url string) {
	pad := func(n int) []byte { return []byte(`{"t":"ping","y":"` + strings.Repeat("x", n-19) + `"}`) }

	ws := rawDial(t, url)
	if err := ws.WriteMessage(websocket.TextMessage, pad(32<<10)); err != nil {
		t.Fatal(err)
	}
	if f, _ := ws.hear(); f.Type != "pong" {
		t.Errorf("frame of 32 KB: got %+v", f)
	}
	ws.WriteMessage(websocket.TextMessage, pad(32<<10+1))
	if code := ws.closed(); code != websocket.CloseMessageTooBig {
		t.Errorf("frame of 32 KB and a byte: closed with %d", code)
	}

	fragments := func(n int) rawConn {
		d := websocket.Dialer{WriteBufferSize: 16 << 10}
		c, _, err := d.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		c.WriteMessage(websocket.TextMessage, pad(n))
		return rawConn{c, t}
	}
	if f, _ := fragments(128 << 10).hear(); f.Type != "pong" {
		t.Errorf("message of 128 KB: got %+v", f)
	}
	if code := fragments(128<<10 + 1).closed(); code != websocket.CloseMessageTooBig {
		t.Errorf("message of 128 KB and a byte: closed with %d", code)
	}

	ws = rawDial(t, url)
	ws.WriteMessage(websocket.BinaryMessage, []byte("{}"))
	if code := ws.closed(); code != websocket.CloseUnsupportedData {
		t.Errorf("binary: closed with %d", code)
	}

	ws = rawDial(t, url)
	start := time.Now()
	if code := ws.closed(); code != websocket.CloseGoingAway || time.Since(start) < 250*time.Millisecond {
		t.Errorf("idle: closed with %d after %v", code, time.Since(start))
	}

	ws = rawDial(t, url)
	start = time.Now()
	stop := make(chan bool)
	go func() {
		defer close(stop)
		for time.Since(start) < 3*time.Second {
			if ws.WriteMessage(websocket.TextMessage, []byte(`{"t":"ping"}`)) != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if code := ws.closed(); code != websocket.CloseGoingAway || time.Since(start) < 900*time.Millisecond {
		t.Errorf("lifetime: closed with %d after %v", code, time.Since(start))
	}
	<-stop
}

// A connection that ends with its lifetime is replaced without a loss.
func TestLifetimeEnds(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Lifetime: 150 * time.Millisecond}, relaytest.Faults{})
	r := newRuns(t, relay.URL)
	load(t, relay.URL, 1, 4, 400)
	r.check(1600)
	t.Logf("%d connections", relay.Stats().Accepted)
}

func TestUpgradeRefused(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{Token: "secret"}, relaytest.Faults{})
	for _, test := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"no token", nil, 401},
		{"wrong token", http.Header{"Authorization": {"Bearer secre"}}, 401},
		{"origin", http.Header{"Authorization": {"Bearer secret"}, "Origin": {"http://localhost:3000"}}, 403},
		{"fetch", http.Header{"Authorization": {"Bearer secret"}, "Sec-Fetch-Site": {"cross-site"}}, 403},
		{"host", http.Header{"Authorization": {"Bearer secret"}, "Host": {"evil.example"}}, 421},
		{"fine", http.Header{"Authorization": {"Bearer secret"}, "Host": {"localhost:1"}}, 101},
	} {
		ws, resp, _ := websocket.DefaultDialer.Dial(relay.URL, test.header)
		if ws != nil {
			ws.Close()
		}
		if resp == nil || resp.StatusCode != test.status {
			t.Errorf("%s: got %v, want %d", test.name, resp, test.status)
		}
	}
	resp, err := http.Get("http://" + relay.Addr)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("plain GET: %s", resp.Status)
	}
	_, err = proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Token: "wrong", Handler: proxy.HandlerFunc(nil)})
	if want := "dial relay: the relay answered 401 Unauthorized: wrong token"; fmt.Sprint(err) != want {
		t.Errorf("Dial: got %v, want %s", err, want)
	}
}

// A sandbox that does not read is thrown out; the others do not notice.
func TestSlowReader(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	dev, slow := rawDial(t, relay.URL), rawDial(t, relay.URL)
	dev.hello("developer")
	id := slow.hello("sandbox")
	frame := []byte(`{"t":"res","to":"` + id + `","d":"` + strings.Repeat("A", 100_000) + `"}`)
	for range 400 { // 40 MB: more than the relay and the sockets hold
		if err := dev.WriteMessage(websocket.TextMessage, frame); err != nil {
			t.Fatal(err)
		}
	}
	if f, _ := dev.hear(); f.Type != "nak" || f.Code != "gone" {
		t.Errorf("got %+v, want the sandbox gone", f)
	}
}

func TestPayloads(t *testing.T) {
	for _, profile := range []proxy.Profile{proxy.ProfileFast, proxy.ProfileAPIGateway} {
		relay := relaytest.New(t, proxy.RelayOptions{Profile: profile, Token: "secret"}, relaytest.Faults{})
		dialEcho(t, relay.URL)
		s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Token: "secret", Init: proxy.Init{Function: "f"}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for name, payload := range relaytest.Payloads() {
			r, err := s.Invoke(context.Background(), proxy.Request{Event: payload})
			if err != nil || r.FunctionError || !bytes.Equal(r.Body, payload) {
				t.Errorf("%s: %v, %v", name, err, r)
			}
		}
	}
}

func TestTooLarge(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
		inv.Respond(make([]byte, 7<<20+1))
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
	defer s.Close()
	if r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte("1")}); err != nil || r.ErrorType != proxy.ErrorTooLarge {
		t.Errorf("answer: got %v, %v", r, err)
	}
	if _, err := s.Invoke(context.Background(), proxy.Request{Event: make([]byte, 7<<20)}); err == nil {
		t.Error("event of 7 MB was taken")
	}
}
