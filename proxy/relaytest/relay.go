// Package relaytest is the live wire's surroundings as a test wants them: a relay with the quotas of API Gateway that
// loses, repeats and delays frames, and a TCP proxy that cuts connections. Both take a seed, so that a failure can be
// had again. Start with [New] and [NewProxy].
package relaytest

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sst/proxy"
)

// Server is a relay on a loopback listener, closed with the test.
type Server struct {
	Addr string // host:port
	URL  string // ws://host:port/

	opts proxy.RelayOptions
	now  atomic.Pointer[proxy.Relay]
}

// Restart puts a new relay that knows nothing in the place of the one before.
func (s *Server) Restart() { s.now.Swap(proxy.NewRelay(s.opts)).Close() }

// Stats are those of the relay since its start.
func (s *Server) Stats() proxy.Stats { return s.now.Load().Stats() }

// Disconnect closes every connection with a code and reason, code 0 without a word.
func (s *Server) Disconnect(code int, reason string) { s.now.Load().Disconnect(code, reason) }

// Faults says what happens to frames on their way; the shares are probabilities, the zero value harms none.
type Faults struct {
	Seed      uint64
	Drop      float64
	DropEvery int // each so manieth frame is lost; 0: none
	Window    int // frames among which the order is random; 0 or 1: it is kept
	Duplicate float64
	Delay     float64       // share of frames that others overtake
	MaxDelay  time.Duration // 0 = 20 ms
}

// New starts a relay.
func New(t testing.TB, opts proxy.RelayOptions, faults Faults) *Server {
	t.Helper()
	if faults.Drop+faults.Duplicate+faults.Delay > 0 || faults.DropEvery+faults.Window > 0 {
		opts.Fault = faults.apply()
	}
	s := &Server{opts: opts}
	s.now.Store(proxy.NewRelay(opts))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.now.Load().ServeHTTP(w, r) }))
	t.Cleanup(func() {
		s.now.Load().Close()
		server.Close()
	})
	s.Addr = strings.TrimPrefix(server.URL, "http://")
	s.URL = "ws://" + s.Addr + "/"
	return s
}

func (f Faults) apply() func([]byte, func()) {
	if f.MaxDelay == 0 {
		f.MaxDelay = 20 * time.Millisecond
	}
	var mu sync.Mutex
	var count int
	var waiting []func()
	rng := rand.New(rand.NewPCG(f.Seed, 0x5eed))
	// shuffled keeps a frame back until the window is full, or a moment has passed, and delivers a random one.
	shuffled := func(deliver func()) {
		mu.Lock()
		waiting = append(waiting, deliver)
		var now []func()
		for len(waiting) > f.Window {
			i := rng.IntN(len(waiting))
			now = append(now, waiting[i])
			waiting = append(waiting[:i], waiting[i+1:]...)
		}
		mu.Unlock()
		for _, d := range now {
			d()
		}
		time.AfterFunc(f.MaxDelay, func() {
			mu.Lock()
			all := waiting
			waiting = nil
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			mu.Unlock()
			for _, d := range all {
				d()
			}
		})
	}
	return func(_ []byte, deliver func()) {
		mu.Lock()
		count++
		dice, delay, nth := rng.Float64(), time.Duration(rng.Int64N(int64(f.MaxDelay))), count
		mu.Unlock()
		if f.DropEvery > 0 && nth%f.DropEvery == 0 {
			return
		}
		if dice -= f.Drop; dice < 0 {
			return
		}
		if dice -= f.Duplicate; dice < 0 {
			deliver()
			deliver()
			return
		}
		if dice -= f.Delay; dice < 0 {
			time.AfterFunc(delay, deliver)
			return
		}
		if f.Window > 1 {
			shuffled(deliver)
			return
		}
		deliver()
	}
}
