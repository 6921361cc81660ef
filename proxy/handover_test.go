package proxy

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A connection whose lifetime ends is replaced before it is broken: no invocation notices, and nobody ever says
// "disconnected". The lifetimes are those of API Gateway, scaled.
func TestHandover(t *testing.T) {
	t.Parallel()
	relay, url := newRelay(t, RelayOptions{Profile: ProfileAPIGateway, Lifetime: 400 * time.Millisecond})
	var lost atomic.Int64
	var mu sync.Mutex
	runs := map[string]int{}
	conn, err := Dial(context.Background(), DialOptions{
		URL: url, Lifetime: 250 * time.Millisecond, OnState: func(s State, _ error) {
			if s == Disconnected {
				lost.Add(1)
			}
		},
		Handler: HandlerFunc(func(_ context.Context, inv *Invocation) {
			mu.Lock()
			runs[inv.RequestID]++
			mu.Unlock()
			time.Sleep(time.Duration(len(inv.Event)%7) * time.Millisecond)
			inv.Respond(inv.Event)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var wg sync.WaitGroup
	var slowest atomic.Int64
	end := time.Now().Add(1500 * time.Millisecond)
	for n := range 4 {
		s := openSandbox(t, url)
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				event := bytes.Repeat([]byte{byte(i)}, 1+i*997%40_000)
				began := time.Now()
				r, err := s.Invoke(context.Background(), Request{RequestID: fmt.Sprint(n, "-", i), Event: event})
				if err != nil || r.FunctionError || !bytes.Equal(r.Body, event) {
					t.Errorf("%d-%d: %v %+v", n, i, err, r)
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(began))))
			}
		})
	}
	wg.Wait()
	if lost.Load() != 0 {
		t.Errorf("disconnected %d times", lost.Load())
	}
	if n := relay.Stats().Accepted; n < 6 {
		t.Errorf("%d connections were made, want some handovers", n)
	}
	mu.Lock()
	defer mu.Unlock()
	for id, n := range runs {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	t.Logf("%d invocations, the slowest took %v", len(runs), time.Duration(slowest.Load()))
}

// A machine that slept connects again at once, and answers what it was asked before.
func TestWake(t *testing.T) {
	t.Parallel()
	_, url := newRelay(t, RelayOptions{})
	asked, release := make(chan bool), make(chan bool)
	states := make(chan State, 20)
	conn, err := Dial(context.Background(), DialOptions{
		URL: url, OnState: func(s State, _ error) { states <- s },
		Handler: HandlerFunc(func(_ context.Context, inv *Invocation) {
			asked <- true
			<-release
			inv.Respond(inv.Event)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	s := openSandbox(t, url)
	answer := make(chan *Response, 1)
	go func() {
		r, _ := s.Invoke(context.Background(), Request{Event: []byte("1")})
		answer <- r
	}()
	<-asked
	for len(states) > 0 {
		<-states
	}
	woke := time.Now()
	conn.Wake()
	for s := range states {
		if s == Connected {
			break
		}
	}
	if d := time.Since(woke); d > 2*time.Second {
		t.Errorf("connected again after %v, want 2 s", d)
	}
	close(release)
	if r := <-answer; r == nil || string(r.Body) != "1" {
		t.Errorf("got %+v", r)
	}
}
