// Package relaytest is the live wire's surroundings as a test wants them: a relay with the quotas of API Gateway that
// loses, repeats and delays frames, and a TCP proxy that cuts connections. Both take a seed, so that a failure can be
// had again. Start with [New] and [NewProxy].
package relaytest

import (
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sst/proxy"
)

// Server is a relay on a loopback listener, closed with the test.
type Server struct {
	*proxy.Relay
	Addr string // host:port
	URL  string // ws://host:port/
}

// Faults says what happens to frames on their way; the shares are probabilities, the zero value harms none.
type Faults struct {
	Seed      uint64
	Drop      float64
	Duplicate float64
	Delay     float64       // share of frames that others overtake
	MaxDelay  time.Duration // 0 = 20 ms
}

// New starts a relay.
func New(t testing.TB, opts proxy.RelayOptions, faults Faults) *Server {
	t.Helper()
	if faults.Drop+faults.Duplicate+faults.Delay > 0 {
		opts.Fault = faults.apply()
	}
	relay := proxy.NewRelay(opts)
	server := httptest.NewServer(relay)
	t.Cleanup(func() {
		relay.Close()
		server.Close()
	})
	addr := strings.TrimPrefix(server.URL, "http://")
	return &Server{Relay: relay, Addr: addr, URL: "ws://" + addr + "/"}
}

func (f Faults) apply() func([]byte, func()) {
	if f.MaxDelay == 0 {
		f.MaxDelay = 20 * time.Millisecond
	}
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(f.Seed, 0x5eed))
	return func(_ []byte, deliver func()) {
		mu.Lock()
		dice, delay := rng.Float64(), time.Duration(rng.Int64N(int64(f.MaxDelay)))
		mu.Unlock()
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
		deliver()
	}
}
