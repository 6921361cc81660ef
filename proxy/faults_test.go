package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// Goals of a bad network: nothing lost, nothing run twice, no wrong answer.

func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, test := range []struct {
		name    string
		profile proxy.Profile
		faults  relaytest.Faults
		cut     [2]int
		each    int
	}{
		{name: "cuts fast", profile: proxy.ProfileFast, cut: [2]int{500, 800_000}, each: 150},
		{name: "cuts apigw", profile: proxy.ProfileAPIGateway, cut: [2]int{500, 600_000}, each: 150},
		{name: "disorder", profile: proxy.ProfileAPIGateway, faults: relaytest.Faults{Duplicate: 0.2, Delay: 0.3}, each: 100},
		{name: "loss", profile: proxy.ProfileAPIGateway, faults: relaytest.Faults{Drop: 0.02, Duplicate: 0.1, Delay: 0.1}, each: 40},
		{name: "all", profile: proxy.ProfileAPIGateway, faults: relaytest.Faults{Drop: 0.01, Duplicate: 0.1, Delay: 0.1}, cut: [2]int{2_000, 600_000}, each: 40},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.faults.Seed = seed
			relay := relaytest.New(t, proxy.RelayOptions{Profile: test.profile}, test.faults)
			tcp := relaytest.NewProxy(t, relay.Addr, seed)
			runs := newRuns(t, tcp.URL)
			if test.cut[1] > 0 {
				tcp.CutAfter(test.cut[0], test.cut[1])
			}
			load(t, tcp.URL, seed, 6, test.each)
			runs.check(6 * test.each)
			t.Logf("%d cuts, %d frames", tcp.Cuts(), relay.Stats().Frames)
		})
	}
}

// runs counts executions per request.
type runs struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[string]int
}

func newRuns(t *testing.T, url string) *runs {
	r := &runs{t: t, seen: map[string]int{}}
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: url, Heartbeat: 400 * time.Millisecond,
		Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
			r.mu.Lock()
			r.seen[inv.RequestID]++
			r.mu.Unlock()
			inv.Respond(append([]byte(inv.RequestID+" "), inv.Event...))
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return r
}

func (r *runs) check(want int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) != want {
		r.t.Errorf("%d invocations ran, want %d", len(r.seen), want)
	}
	for id, n := range r.seen {
		if n != 1 {
			r.t.Errorf("%s ran %d times", id, n)
		}
	}
}

// load makes invocations of random sizes from several sandboxes and checks their answers.
func load(t *testing.T, url string, seed uint64, sandboxes, each int) {
	t.Helper()
	var wg sync.WaitGroup
	for n := range sandboxes {
		s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: url, Init: proxy.Init{Function: "f"}})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer s.Close()
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			for i := range each {
				id := fmt.Sprintf("%d-%d", n, i)
				event := make([]byte, rng.IntN(300))
				if rng.IntN(8) == 0 {
					event = make([]byte, rng.IntN(100_000))
				}
				for j := range event {
					event[j] = byte(rng.Uint32())
				}
				r, err := s.Invoke(context.Background(), proxy.Request{RequestID: id, Event: event})
				switch {
				case err != nil:
					t.Errorf("%s: %v", id, err)
				case r.FunctionError:
					t.Errorf("%s: %s %s", id, r.ErrorType, r.Body)
				case !bytes.Equal(r.Body, append([]byte(id+" "), event...)):
					t.Errorf("%s: wrong answer", id)
				}
			}
		})
	}
	wg.Wait()
}

// A network that swallows everything is noticed by the heartbeat, and the answer that was on its way still arrives.
func TestBlackHole(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	tcp := relaytest.NewProxy(t, relay.Addr, 1)
	states := make(chan proxy.State, 100)
	release := make(chan bool)
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: tcp.URL, Heartbeat: 100 * time.Millisecond, OnState: func(s proxy.State, _ error) { states <- s },
		Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
			tcp.BlackHole(true)
			<-release
			inv.Respond([]byte("late"))
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
	defer s.Close()
	go func() {
		for state := range states {
			if state == proxy.Disconnected {
				tcp.BlackHole(false)
				tcp.Cut()
				close(release)
				return
			}
		}
	}()
	r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte("1")})
	if err != nil || string(r.Body) != "late" {
		t.Fatalf("got %+v, %v", r, err)
	}
}

// When the developer's end restarts, what it may have begun is answered with an error and not run again; what it
// cannot have got runs at the new one.
func TestDeveloperRestart(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	begun, stop := make(chan bool), make(chan bool)
	first, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: relay.URL, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
			begun <- true
			<-stop
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
	defer s.Close()
	lost := make(chan *proxy.Response, 1)
	go func() {
		r, _ := s.Invoke(context.Background(), proxy.Request{Event: []byte("1")})
		lost <- r
	}()
	<-begun
	time.Sleep(50 * time.Millisecond) // until the request is acknowledged
	var ran []string
	second, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: relay.URL, TakeOver: true, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
			ran = append(ran, string(inv.Event))
			inv.Respond(inv.Event)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	close(stop)
	first.Close()
	r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte("2")})
	if err != nil || string(r.Body) != "2" {
		t.Errorf("second: got %+v, %v", r, err)
	}
	if r := <-lost; r.ErrorType != proxy.ErrorDeveloperLost {
		t.Errorf("first: got %+v", r)
	}
	if len(ran) != 1 {
		t.Errorf("the new end ran %q, want only the second", ran)
	}
}

func TestDeveloperPresent(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	replaced := make(chan proxy.State, 10)
	h := proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) { inv.Respond(nil) })
	first, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: relay.URL, Name: "ada", Handler: h, OnState: func(s proxy.State, _ error) {
			if s == proxy.Replaced {
				replaced <- s
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Handler: h}); err == nil {
		t.Fatal("a second developer was let in without taking over")
	} else if want := "dial relay: ada is connected"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	second, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Handler: h, TakeOver: true})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	<-replaced
}

func TestManyInFlight(t *testing.T) {
	relay := relaytest.New(t, proxy.RelayOptions{}, relaytest.Faults{})
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: relay.URL, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
			time.Sleep(500 * time.Millisecond)
			inv.Respond(inv.Event)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var wg sync.WaitGroup
	start := time.Now()
	for range 100 {
		s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
		defer s.Close()
		for range 10 {
			wg.Go(func() {
				if r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte("1")}); err != nil || r.FunctionError {
					t.Errorf("got %+v, %v", r, err)
				}
			})
		}
	}
	wg.Wait()
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("1,000 invocations of 0.5 s took %v", d)
	}
}
