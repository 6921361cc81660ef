package proxy_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sst/proxy"
)

// A relay may change the order: the question whether a session is known overtakes its init, is refused, and the refusal
// arrives when an invocation runs in the session. It must not be taken for a restart of the developer's end.
func TestStaleRefusal(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sandbox", "stub"} {
		t.Run(kind, func(t *testing.T) {
			var mu sync.Mutex
			var inits, refusals []func()
			open := false
			relay := proxy.NewRelay(proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Fault: func(frame []byte, deliver func()) {
				f, err := proxy.Decode(frame)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case f.Type == "init" && !open:
					inits = append(inits, deliver)
				case f.Type == "nak" && f.Code == "unknown-session" && !open:
					refusals = append(refusals, deliver)
				default:
					deliver()
				}
			}})
			server := httptest.NewServer(relay)
			t.Cleanup(func() { relay.Close(); server.Close() })
			url := "ws" + strings.TrimPrefix(server.URL, "http")
			running, release := make(chan bool, 1), make(chan bool)
			conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: url, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
				running <- true
				<-release
				inv.Respond([]byte("2"))
			})})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			got := make(chan string, 1)
			if kind == "stub" {
				l, _ := startStubConfig(t, map[string]any{"url": url})
				go func() {
					a := l.invoke(t, []byte("1"), 20*time.Second)
					got <- a.kind + " " + string(a.body)
				}()
			} else {
				s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: url, Init: proxy.Init{Function: "f"}})
				defer s.Close()
				go func() {
					r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte("1"), Deadline: time.Now().Add(20 * time.Second)})
					if err != nil {
						t.Error(err)
						r = &proxy.Response{}
					}
					text, _ := json.Marshal(r.FunctionError)
					got <- strings.NewReplacer("false", "response", "true", "error").Replace(string(text)) + " " + string(r.Body)
				}()
			}
			until := func(what string, done func() bool) {
				t.Helper()
				for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
					mu.Lock()
					ok := done()
					mu.Unlock()
					if ok {
						return
					}
					if time.Now().After(end) {
						t.Fatal("it did not come to " + what)
					}
				}
			}
			until("a refusal", func() bool { return len(inits) > 0 && len(refusals) > 0 })
			mu.Lock()
			open = true
			for _, deliver := range inits {
				deliver()
			}
			mu.Unlock()
			<-running
			time.Sleep(50 * time.Millisecond) // until the request is acknowledged
			mu.Lock()
			for _, deliver := range refusals {
				deliver()
			}
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			close(release)
			if answer := <-got; answer != "response 2" {
				t.Errorf("got %s", answer)
			}
		})
	}
}

// The refusal of a request comes later than that of the question that was sent after it: the request was not executed all the
// same, and runs at the developer's end that is there now.
func TestLateRefusal(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sandbox", "stub"} {
		t.Run(kind, func(t *testing.T) {
			var late atomic.Int64
			relay := proxy.NewRelay(proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Fault: func(frame []byte, deliver func()) {
				f, err := proxy.Decode(frame)
				if err == nil && f.Type == "nak" && f.Code == "unknown-session" && strings.Contains(string(f.Data), `"t":"req"`) && late.Add(1) == 1 {
					time.AfterFunc(600*time.Millisecond, deliver)
					return
				}
				deliver()
			}})
			server := httptest.NewServer(relay)
			t.Cleanup(func() { relay.Close(); server.Close() })
			url := "ws" + strings.TrimPrefix(server.URL, "http")
			dial := func() *proxy.Conn {
				conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: url, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) { inv.Respond(inv.Event) })})
				if err != nil {
					t.Fatal(err)
				}
				return conn
			}
			invoke := func(event string) string { return "" }
			if kind == "stub" {
				l, _ := startStubConfig(t, map[string]any{"url": url})
				invoke = func(event string) string { return string(l.invoke(t, []byte(event), 20*time.Second).body) }
			} else {
				s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: url, Init: proxy.Init{Function: "f"}})
				defer s.Close()
				invoke = func(event string) string {
					r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte(event), Deadline: time.Now().Add(20 * time.Second)})
					if err != nil {
						t.Fatal(err)
					}
					return string(r.Body)
				}
			}
			first := dial()
			if got := invoke("1"); got != "1" {
				t.Fatalf("got %s", got)
			}
			first.Close()
			second := dial()
			defer second.Close()
			if got := invoke("2"); got != "2" || late.Load() < 2 {
				t.Errorf("got %s after %d refusals of the request", got, late.Load())
			}
		})
	}
}
