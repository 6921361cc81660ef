package proxy

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// newRelay starts a relay on a loopback listener.
func newRelay(t testing.TB, opts RelayOptions) (*Relay, string) {
	t.Helper()
	relay := NewRelay(opts)
	server := httptest.NewServer(relay)
	t.Cleanup(func() {
		relay.Close()
		server.Close()
	})
	return relay, "ws" + strings.TrimPrefix(server.URL, "http")
}

func dial(t testing.TB, url string, h HandlerFunc) *Conn {
	t.Helper()
	conn, err := Dial(context.Background(), DialOptions{URL: url, Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func openSandbox(t testing.TB, url string) *Sandbox {
	t.Helper()
	s, err := OpenSandbox(context.Background(), SandboxOptions{
		URL: url, Init: Init{Function: "web/Echo", Timeout: 20, Env: map[string]string{"A": "ä"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func echo(_ context.Context, inv *Invocation) { inv.Respond(inv.Event) }

var profiles = map[string]Profile{"fast": ProfileFast, "apigw": ProfileAPIGateway}

func TestInvoke(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			_, url := newRelay(t, RelayOptions{Profile: profile})
			dial(t, url, func(ctx context.Context, inv *Invocation) {
				switch string(inv.Event) {
				case "fail":
					inv.Error("Foo.Bar", []byte(`{"errorType":"Foo.Bar","trace":[]}`))
				case "silent":
				case "log":
					inv.Log([]byte("one\n"))
					inv.Log([]byte("two\n"))
					inv.Respond([]byte(inv.Function + " " + inv.Env["A"] + " " + inv.Header.TraceID))
				case "twice":
					if !inv.Respond([]byte("first")) || inv.Respond([]byte("second")) {
						t.Error("only the first answer counts")
					}
				case "hang":
					<-ctx.Done()
					inv.Error("Sandbox.Timedout", []byte(context.Cause(ctx).Error()))
				default:
					inv.Respond(inv.Event)
				}
			})
			s := openSandbox(t, url)
			invoke := func(event string, timeout time.Duration) *Response {
				t.Helper()
				r, err := s.Invoke(context.Background(), Request{
					Event: []byte(event), Deadline: time.Now().Add(timeout), Header: Header{Tail: true, TraceID: "Root=1"},
				})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			if r := invoke("hello", time.Minute); string(r.Body) != "hello" || r.FunctionError {
				t.Errorf("echo: got %q, function error %v", r.Body, r.FunctionError)
			}
			if r := invoke("fail", time.Minute); r.ErrorType != "Foo.Bar" || string(r.Body) != `{"errorType":"Foo.Bar","trace":[]}` {
				t.Errorf("fail: got %s %q", r.ErrorType, r.Body)
			}
			if r := invoke("silent", time.Minute); r.ErrorType != ErrorNoAnswer {
				t.Errorf("silent: got %s %q", r.ErrorType, r.Body)
			}
			if r := invoke("log", time.Minute); string(r.LogTail) != "one\ntwo\n" || string(r.Body) != "web/Echo ä Root=1" {
				t.Errorf("log: got %q, tail %q", r.Body, r.LogTail)
			}
			if r := invoke("twice", time.Minute); string(r.Body) != "first" {
				t.Errorf("twice: got %q", r.Body)
			}
			if r := invoke("hang", 300*time.Millisecond); r.ErrorType != "Sandbox.Timedout" || string(r.Body) != "context deadline exceeded" {
				t.Errorf("hang: got %s %q", r.ErrorType, r.Body)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	_, url := newRelay(t, RelayOptions{})
	started, ended := make(chan bool), make(chan error, 1)
	dial(t, url, func(ctx context.Context, inv *Invocation) {
		started <- true
		<-ctx.Done()
		ended <- context.Cause(ctx)
	})
	s := openSandbox(t, url)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-started
		cancel()
	}()
	if _, err := s.Invoke(ctx, Request{Event: []byte("{}")}); err != context.Canceled {
		t.Errorf("Invoke: got error %v, want %v", err, context.Canceled)
	}
	if err := <-ended; err != ErrCancelled {
		t.Errorf("cause at the developer's end: got %v, want %v", err, ErrCancelled)
	}
}

func TestNoDeveloper(t *testing.T) {
	_, url := newRelay(t, RelayOptions{})
	s := openSandbox(t, url)
	start := time.Now()
	r, err := s.Invoke(context.Background(), Request{Event: []byte("{}"), Deadline: start.Add(2 * time.Second)})
	if err != nil || r.ErrorType != ErrorNoDeveloper {
		t.Fatalf("Invoke: got %+v, %v", r, err)
	}
	if d := time.Since(start); d > 1200*time.Millisecond {
		t.Errorf("took %v of a deadline of 2 s", d)
	}

	// The request that was given up must not run when a developer comes after all.
	var ran []string
	var mu sync.Mutex
	dial(t, url, func(_ context.Context, inv *Invocation) {
		mu.Lock()
		ran = append(ran, string(inv.Event))
		mu.Unlock()
		inv.Respond(inv.Event)
	})
	r, err = s.Invoke(context.Background(), Request{Event: []byte("later")})
	if err != nil || string(r.Body) != "later" {
		t.Fatalf("Invoke with a developer: got %+v, %v", r, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ran) != 1 {
		t.Errorf("ran %q, want only the later one", ran)
	}
}

// Close leaves nothing behind.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		relay := NewRelay(RelayOptions{})
		server := httptest.NewServer(relay)
		url := "ws" + strings.TrimPrefix(server.URL, "http")
		conn, err := Dial(context.Background(), DialOptions{URL: url, Handler: HandlerFunc(func(ctx context.Context, inv *Invocation) {
			if string(inv.Event) == "hang" {
				<-ctx.Done()
			}
			inv.Respond(inv.Event)
		})})
		if err != nil {
			t.Fatal(err)
		}
		s, err := OpenSandbox(context.Background(), SandboxOptions{URL: url, Init: Init{Function: "f"}})
		if err != nil {
			t.Fatal(err)
		}
		invokeOrFail(t, s, []byte("1"))
		hung := make(chan *Response)
		go func() {
			r, _ := s.Invoke(context.Background(), Request{Event: []byte("hang")})
			hung <- r
		}()
		time.Sleep(20 * time.Millisecond)
		conn.Close() // the handler ends with its context, and its answer still leaves
		if r := <-hung; r == nil || string(r.Body) != "hang" {
			t.Errorf("answer given while closing: %+v", r)
		}
		s.Close()
		if _, err := s.Invoke(context.Background(), Request{Event: []byte("1")}); err == nil {
			t.Error("Invoke after Close: no error")
		}
		relay.Close()
		server.Close()
	}
	for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 5*time.Second {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// Whatever is cut when, every invocation is answered with its own answer and runs once.
func TestCuts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			relay, url := newRelay(t, RelayOptions{Profile: profile})
			var mu sync.Mutex
			runs := map[string]int{}
			dial(t, url, func(_ context.Context, inv *Invocation) {
				mu.Lock()
				runs[inv.RequestID]++
				mu.Unlock()
				inv.Respond(append([]byte(inv.RequestID+" "), inv.Event...))
			})
			const sandboxes, each = 8, 50
			var wg sync.WaitGroup
			var finished atomic.Int64
			for n := range sandboxes {
				s := openSandbox(t, url)
				sizes := make([]int, each)
				for i := range sizes {
					sizes[i] = rng.IntN(200)
					if rng.IntN(10) == 0 {
						sizes[i] = rng.IntN(300_000)
					}
				}
				wg.Go(func() {
					for i, size := range sizes {
						id := fmt.Sprintf("%d-%d", n, i)
						event := make([]byte, size)
						for j := range event {
							event[j] = byte(j * (i + 7))
						}
						r, err := s.Invoke(context.Background(), Request{RequestID: id, Event: event})
						if err != nil {
							t.Errorf("%s: %v", id, err)
						} else if r.FunctionError {
							t.Errorf("%s: %s %s", id, r.ErrorType, r.Body)
						} else if want := append([]byte(id+" "), event...); !bytes.Equal(r.Body, want) {
							t.Errorf("%s: wrong answer of %d bytes, want %d", id, len(r.Body), len(want))
						}
						finished.Add(1)
					}
				})
			}
			done := make(chan bool)
			go func() { wg.Wait(); close(done) }()
			cuts := 0
			for alive := true; alive; {
				select {
				case <-done:
					alive = false
				case <-time.After(time.Duration(rng.IntN(40)) * time.Millisecond):
					var all []*peer
					relay.conns.Range(func(_, p any) bool { all = append(all, p.(*peer)); return true })
					if len(all) > 0 {
						all[rng.IntN(len(all))].close(0, "")
						cuts++
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if len(runs) != sandboxes*each {
				t.Errorf("%d invocations ran, want %d", len(runs), sandboxes*each)
			}
			for id, n := range runs {
				if n != 1 {
					t.Errorf("%s ran %d times", id, n)
				}
			}
			t.Logf("%d cuts over %d invocations", cuts, finished.Load())
		})
	}
}
