package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// What can go wrong on the way, one fault a test: every invocation is answered with its own answer and runs once. Each
// test says its seed; SST_SEED repeats it.

func seedOf(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SST_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("seed %d", seed)
	return seed
}

// script does something to the network while invocations are made.
type script func(t *testing.T, dev, boxes *relaytest.Proxy)

// spell is weather that comes and goes, three times.
func spell(where string, w relaytest.Weather, lasts time.Duration) script {
	return func(t *testing.T, dev, boxes *relaytest.Proxy) {
		for range 3 {
			time.Sleep(50 * time.Millisecond)
			for name, p := range map[string]*relaytest.Proxy{"dev": dev, "boxes": boxes} {
				if strings.Contains(where, name) {
					p.Set(w)
				}
			}
			time.Sleep(lasts)
			dev.Set(relaytest.Weather{})
			boxes.Set(relaytest.Weather{})
		}
	}
}

// newcomers is weather for connections that are made while it lasts: those there were are cut.
func newcomers(where string, w relaytest.Weather, lasts time.Duration) script {
	return func(t *testing.T, dev, boxes *relaytest.Proxy) {
		for range 3 {
			time.Sleep(50 * time.Millisecond)
			for name, p := range map[string]*relaytest.Proxy{"dev": dev, "boxes": boxes} {
				if strings.Contains(where, name) {
					p.Set(w)
					p.Cut()
				}
			}
			time.Sleep(lasts)
			dev.Set(relaytest.Weather{})
			boxes.Set(relaytest.Weather{})
		}
	}
}

func TestNetwork(t *testing.T) {
	const moment = 250 * time.Millisecond
	for _, test := range []struct {
		name string
		do   script
	}{
		{"delay and jitter", func(t *testing.T, dev, boxes *relaytest.Proxy) {
			w := relaytest.Weather{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond}
			dev.Set(w)
			boxes.Set(w)
			time.Sleep(time.Second)
		}},
		{"low rate", func(t *testing.T, dev, boxes *relaytest.Proxy) {
			dev.Set(relaytest.Weather{Rate: 2 << 20})
			time.Sleep(time.Second)
		}},
		{"cut in the handshake", func(t *testing.T, dev, boxes *relaytest.Proxy) {
			for range 15 {
				dev.CutAfter(1, 700)
				boxes.CutAfter(1, 700)
				dev.Cut()
				boxes.Cut()
				time.Sleep(20 * time.Millisecond)
			}
			dev.CutAfter(0, 0)
			boxes.CutAfter(0, 0)
		}},
		{"reset inside a frame", cutting(relaytest.Reset)},
		{"end inside a frame", cutting(relaytest.Finish)},
		{"half open", cutting(relaytest.HalfOpen)},
		{"nothing up", spell("dev", relaytest.Weather{LoseUp: true}, moment)},
		{"nothing down", spell("dev", relaytest.Weather{LoseDown: true}, moment)},
		{"nothing up from sandboxes", spell("boxes", relaytest.Weather{LoseUp: true}, moment)},
		{"nothing down to sandboxes", spell("boxes", relaytest.Weather{LoseDown: true}, moment)},
		{"nothing at all", spell("dev boxes", relaytest.Weather{LoseUp: true, LoseDown: true}, moment)},
		{"held back, then a burst", spell("dev boxes", relaytest.Weather{Hold: true}, 2*moment)},
		{"nobody reads", spell("boxes", relaytest.Weather{Still: true}, 2*moment)},
		{"refused", newcomers("dev boxes", relaytest.Weather{Refuse: true}, moment)},
		{"403", newcomers("dev boxes", relaytest.Weather{Status: 403}, moment)},
		{"429", newcomers("dev boxes", relaytest.Weather{Status: 429}, moment)},
		{"500", newcomers("dev", relaytest.Weather{Status: 500}, moment)},
		{"502", newcomers("boxes", relaytest.Weather{Status: 502}, moment)},
		{"connected twice", newcomers("dev boxes", relaytest.Weather{Twice: true}, moment)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			seed := seedOf(t)
			relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway}, relaytest.Faults{})
			dev, boxes := relaytest.NewProxy(t, relay.Addr, seed), relaytest.NewProxy(t, relay.Addr, seed+1)
			runs := newRuns(t, dev.URL)
			n := loadWhile(t, boxes.URL, seed, 4, func() { test.do(t, dev, boxes) })
			runs.check(n)
			t.Logf("%d invocations, %d and %d cuts", n, dev.Cuts(), boxes.Cuts())
		})
	}
}

func cutting(how relaytest.Cut) script {
	return func(t *testing.T, dev, boxes *relaytest.Proxy) {
		for i := range 8 {
			p := boxes
			if i%4 == 0 {
				p = dev
			}
			p.CutOne(how, 100+i*737)
			time.Sleep(60 * time.Millisecond)
		}
	}
}

// loadWhile makes invocations of random sizes from several sandboxes until do has ended and a bit longer, and checks
// their answers.
func loadWhile(t *testing.T, url string, seed uint64, sandboxes int, do func()) int {
	t.Helper()
	var over atomic.Bool
	var count atomic.Int64
	var wg sync.WaitGroup
	for n := range sandboxes {
		s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: url, Init: proxy.Init{Function: "f"}, Patience: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer s.Close()
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			for i, more := 0, 3; more > 0; i++ {
				if over.Load() {
					more--
				}
				id := fmt.Sprintf("%d-%d", n, i)
				event := make([]byte, rng.IntN(300))
				if rng.IntN(8) == 0 {
					event = make([]byte, rng.IntN(100_000))
				}
				for j := range event {
					event[j] = byte(rng.Uint32())
				}
				count.Add(1)
				r, err := s.Invoke(context.Background(), proxy.Request{RequestID: id, Event: event})
				switch {
				case err != nil:
					t.Errorf("%s: %v", id, err)
				case r.FunctionError:
					t.Errorf("%s: %s %s", id, r.ErrorType, r.Body)
				case !bytes.Equal(r.Body, append([]byte(id+" "), event...)):
					t.Errorf("%s: wrong answer", id)
				}
				time.Sleep(time.Millisecond) // leave the others some of the machine
			}
		})
	}
	do()
	over.Store(true)
	wg.Wait()
	return int(count.Load())
}

func TestTLSUnknown(t *testing.T) {
	t.Parallel()
	relay := proxy.NewRelay(proxy.RelayOptions{})
	server := httptest.NewUnstartedServer(relay)
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	defer relay.Close()
	_, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: "wss" + strings.TrimPrefix(server.URL, "https"), Handler: proxy.HandlerFunc(nil),
	})
	if err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("got %v, want a complaint about the certificate", err)
	}
}

// What a relay may do: end connections for every reason, start anew, forget who is idle, deliver out of order and twice.
func TestRelayFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		opts   proxy.RelayOptions
		faults relaytest.Faults
		do     func(relay *relaytest.Server)
	}{
		{name: "disorder within 8", faults: relaytest.Faults{Window: 8}, do: pause},
		{name: "every 20th lost", faults: relaytest.Faults{DropEvery: 20}, do: pause},
		{name: "all twice", faults: relaytest.Faults{Duplicate: 1}, do: pause},
		{name: "closed", do: func(relay *relaytest.Server) {
			for _, code := range []int{1001, 0, 1008, 1009, 1011, 1012} {
				relay.Disconnect(code, "test")
				time.Sleep(100 * time.Millisecond)
			}
		}},
		{name: "restarted", do: func(relay *relaytest.Server) {
			for range 4 {
				relay.Restart()
				time.Sleep(150 * time.Millisecond)
			}
		}},
		{name: "short lives", opts: proxy.RelayOptions{Lifetime: 60 * time.Millisecond}, do: pause},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			seed := seedOf(t)
			test.opts.Profile, test.faults.Seed = proxy.ProfileAPIGateway, seed
			relay := relaytest.New(t, test.opts, test.faults)
			runs := newRuns(t, relay.URL)
			n := loadWhile(t, relay.URL, seed, 4, func() { test.do(relay) })
			runs.check(n)
			t.Logf("%d invocations", n)
		})
	}
}

func pause(*relaytest.Server) { time.Sleep(600 * time.Millisecond) }

// A connection that was dropped for being idle is made again by the next invocation.
func TestIdle(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Idle: 300 * time.Millisecond}, relaytest.Faults{})
	runs := newRuns(t, relay.URL)
	s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
	defer s.Close()
	for i := range 3 {
		if r, err := s.Invoke(context.Background(), proxy.Request{RequestID: fmt.Sprint(i), Event: []byte("1")}); err != nil || r.FunctionError {
			t.Errorf("%d: %+v, %v", i, r, err)
		}
		for accepted := relay.Stats().Accepted; relay.Stats().Conns > 1 || relay.Stats().Accepted > accepted; {
			time.Sleep(10 * time.Millisecond) // the developer's end pings every 400 ms or less often, so it is dropped too
			accepted = relay.Stats().Accepted
		}
	}
	runs.check(3)
}

// Of two developers who come at the same moment one is let in, and the other hears who that is.
func TestRegisterRace(t *testing.T) {
	t.Parallel()
	for range 20 {
		relay := proxy.NewRelay(proxy.RelayOptions{})
		server := httptest.NewServer(relay)
		url := "ws" + strings.TrimPrefix(server.URL, "http")
		var in, out atomic.Int64
		var wg sync.WaitGroup
		var conns [2]*proxy.Conn
		for i, name := range []string{"ada", "grace"} {
			wg.Go(func() {
				conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: url, Name: name, Handler: proxy.HandlerFunc(nil)})
				var present *proxy.PresentError
				switch {
				case err == nil:
					in.Add(1)
					conns[i] = conn
				case errors.As(err, &present) && present.Name != name && present.Name != "":
					out.Add(1)
				default:
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 || out.Load() != 1 {
			t.Errorf("%d let in, %d refused", in.Load(), out.Load())
		}
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
		relay.Close()
		server.Close()
	}
}

// A $disconnect that comes after the next $connect and hello ends no registration but its own.
func TestLateDisconnect(t *testing.T) {
	t.Parallel()
	router := &relaytest.Router{}
	release := make(chan bool)
	var late atomic.Int64
	g := relaytest.NewGateway(t, relaytest.GatewayOptions{Timeout: time.Minute, Function: func(ctx context.Context, event []byte) ([]byte, error) {
		var e struct{ RequestContext struct{ EventType string } }
		json.Unmarshal(event, &e)
		if e.RequestContext.EventType == "DISCONNECT" {
			late.Add(1)
			<-release
		}
		return router.Invoke(ctx, event)
	}})
	t.Cleanup(func() { // before the gateway waits for its calls
		select {
		case <-release:
		default:
			close(release)
		}
	})
	router.Management = g.Management
	runs := newRuns(t, g.URL)
	s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: g.URL, Init: proxy.Init{Function: "f"}})
	defer s.Close()
	invoke := func(id string) {
		t.Helper()
		if r, err := s.Invoke(context.Background(), proxy.Request{RequestID: id, Event: []byte("1")}); err != nil || r.FunctionError {
			t.Errorf("%s: %+v, %v", id, r, err)
		}
	}
	invoke("before")
	g.Disconnect(websocket.CloseGoingAway, "Going away")
	invoke("between")
	close(release)
	for len(g.Connections()) != 2 || late.Load() < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	invoke("after")
	runs.check(3)
}

// Fifty sandboxes that start at the same moment: each is answered. How soon is a matter of the machine, which has to play all
// of Lambda and API Gateway here, so they are patient.
func TestColdStarts(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"relay":   relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway}, relaytest.Faults{}).URL,
		"gateway": newGateway(t, relaytest.GatewayOptions{}).URL,
	} {
		opts := developerOptions(url)
		sign := opts.Sign
		opts.Handler = proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) { inv.Respond(inv.Event) })
		conn, err := proxy.Dial(context.Background(), opts)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: url, Sign: sign, Init: proxy.Init{Function: "f"}, Patience: 30 * time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte(fmt.Sprint(i)), Deadline: time.Now().Add(2 * time.Minute)})
				if err != nil || string(r.Body) != fmt.Sprint(i) {
					t.Errorf("%s: sandbox %d: %+v, %v", name, i, r, err)
				}
			})
		}
		wg.Wait()
		conn.Close()
	}
}

// Whatever happens in whatever order: an attempt ends in exactly one of a right result after one execution, an error of
// the function, or an honest error of the wire; one that nobody took was not executed.
func TestSchedule(t *testing.T) {
	t.Parallel()
	rounds := 1
	if *full {
		rounds = 20
	}
	for range rounds {
		schedule(t, seedOf(t))
	}
}

func schedule(t *testing.T, seed uint64) {
	begun := time.Now()
	rng := rand.New(rand.NewPCG(seed, 0))
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Lifetime: 2 * time.Second}, relaytest.Faults{
		Seed: seed, Drop: 0.005, Duplicate: 0.05, Delay: 0.05,
	})
	boxes := relaytest.NewProxy(t, relay.Addr, seed+1)
	var mu sync.Mutex
	ran := map[string]int{}
	where := map[string]string{} // which end ran it, in words
	end := 0
	handler := proxy.HandlerFunc(func(ctx context.Context, inv *proxy.Invocation) {
		mu.Lock()
		ran[inv.RequestID]++
		where[inv.RequestID] += fmt.Sprintf(" %s at end %d, %v;", inv.ID, end, time.Since(begun))
		mu.Unlock()
		switch len(inv.Event) % 10 {
		case 0:
			inv.Error("Function.Failed", []byte(inv.RequestID))
		case 1:
			<-ctx.Done()
			inv.Error("Sandbox.Timedout", []byte(inv.RequestID))
		case 2:
			w := inv.Stream("text/plain")
			w.Write([]byte(inv.RequestID + " "))
			w.Write(inv.Event)
			w.Close()
		default:
			inv.Respond(append([]byte(inv.RequestID+" "), inv.Event...))
		}
	})
	var wire *relaytest.Proxy
	var conn *proxy.Conn
	var dead []*proxy.Conn
	enter := func() {
		mu.Lock()
		end++
		mu.Unlock()
		wire = relaytest.NewProxy(t, relay.Addr, rng.Uint64())
		var err error
		for range 50 { // the last of the dead may still hold the place
			if conn, err = proxy.Dial(context.Background(), proxy.DialOptions{
				URL: wire.URL, TakeOver: true, Handler: handler, Heartbeat: 200 * time.Millisecond, Lifetime: time.Second,
			}); err == nil {
				return
			}
		}
		t.Fatal(err)
	}
	enter()
	var wg sync.WaitGroup
	var over atomic.Bool
	var outcomes sync.Map
	for n := range 6 {
		s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: boxes.URL, Init: proxy.Init{Function: "f"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(n+1)))
			for i := 0; !over.Load(); i++ {
				id := fmt.Sprintf("%d-%d", n, i)
				event := bytes.Repeat([]byte{byte(i)}, rng.IntN(400))
				if rng.IntN(10) == 0 {
					event = bytes.Repeat([]byte{byte(i)}, rng.IntN(90_000))
				}
				began, timeout := time.Now(), 4*time.Second
				if len(event)%10 == 1 {
					timeout = time.Second
				}
				r, err := s.Invoke(context.Background(), proxy.Request{RequestID: id, Event: event, Deadline: began.Add(timeout)})
				if err != nil {
					t.Errorf("%s: %v", id, err)
					continue
				}
				kind := r.ErrorType
				if !r.FunctionError {
					kind = "result"
					if !bytes.Equal(r.Body, append([]byte(id+" "), event...)) {
						t.Errorf("%s: wrong answer of %d bytes", id, len(r.Body))
					}
				}
				if took := time.Since(began); took > timeout+4*time.Second {
					t.Errorf("%s: %s after %v of %v", id, kind, took, timeout)
				}
				outcomes.Store(id, kind)
			}
		})
	}
	lasts := 3 * time.Second
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Duration(rng.IntN(120)) * time.Millisecond) {
		p := boxes
		if rng.IntN(2) == 0 {
			p = wire
		}
		switch rng.IntN(9) {
		case 0, 1, 2:
			p.CutOne(relaytest.Cut(rng.IntN(3)), rng.IntN(4000))
		case 3:
			p.Set(relaytest.Weather{Delay: time.Duration(rng.IntN(50)) * time.Millisecond, Jitter: 10 * time.Millisecond})
		case 4:
			p.Set(relaytest.Weather{LoseUp: rng.IntN(2) == 0, LoseDown: rng.IntN(2) == 0, Hold: rng.IntN(2) == 0})
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			p.Set(relaytest.Weather{})
		case 5:
			p.Set(relaytest.Weather{Refuse: true})
			p.Cut()
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			p.Set(relaytest.Weather{})
		case 6:
			relay.Disconnect([]int{0, 1001, 1011}[rng.IntN(3)], "test")
		case 7: // as kill -9 does: what runs goes on, and nobody hears of it
			wire.Set(relaytest.Weather{Refuse: true})
			wire.Cut()
			dead = append(dead, conn)
			enter()
		case 8:
			conn.Wake()
		}
	}
	wire.Set(relaytest.Weather{})
	boxes.Set(relaytest.Weather{})
	over.Store(true)
	wg.Wait()
	for _, c := range append(dead, conn) {
		c.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	kinds := map[string]int{}
	outcomes.Range(func(id, kind any) bool {
		kinds[kind.(string)]++
		n, once := ran[id.(string)], false
		switch kind {
		case "result", "Function.Failed", "Sandbox.Timedout", proxy.ErrorNoAnswer:
			once = n == 1
		case proxy.ErrorNoDeveloper:
			once = n == 0
		case proxy.ErrorDeveloperLost, proxy.ErrorDeadlineNear:
			once = n <= 1
		}
		if !once {
			t.Errorf("%s: ended in %s and was executed %d times:%s", id, kind, n, where[id.(string)])
		}
		return true
	})
	t.Logf("%d attempts: %v", len(ran), kinds)
}
