package relaytest

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy passes TCP connections on and harms them as told.
type Proxy struct {
	Addr string // host:port
	URL  string // ws://host:port/

	target   string
	listener net.Listener
	wg       sync.WaitGroup
	cuts     atomic.Int64
	hole     atomic.Bool
	delay    atomic.Int64

	mu       sync.Mutex
	rng      *rand.Rand
	min, max int // bytes until a cut; 0: none
	conns    map[*pair]bool
	closed   bool
}

type pair struct{ in, out net.Conn }

// NewProxy starts a proxy in front of target; it ends with the test.
func NewProxy(t testing.TB, target string, seed uint64) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		Addr: listener.Addr().String(), URL: "ws://" + listener.Addr().String() + "/",
		target: target, listener: listener, rng: rand.New(rand.NewPCG(seed, 0xc07)), conns: map[*pair]bool{},
	}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// CutAfter resets each connection, in the middle of whatever it carries, after a random number of bytes between min
// and max; 0, 0 ends that.
func (p *Proxy) CutAfter(min, max int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.min, p.max = min, max
}

// Cut resets all connections now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.reset(c)
	}
}

// BlackHole swallows all bytes of all connections, while they stay open, until called with false.
func (p *Proxy) BlackHole(on bool) { p.hole.Store(on) }

// Delay holds every piece of data back for d.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Cuts tells how many connections were reset.
func (p *Proxy) Cuts() int { return int(p.cuts.Load()) }

// reset closes with a RST. Called with mu held.
func (p *Proxy) reset(c *pair) {
	if !p.conns[c] {
		return
	}
	delete(p.conns, c)
	p.cuts.Add(1)
	for _, conn := range []net.Conn{c.in, c.out} {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		c := &pair{in, out}
		left := new(atomic.Int64)
		left.Store(1 << 62)
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			in.Close()
			out.Close()
			return
		}
		p.conns[c] = true
		if p.max > 0 {
			left.Store(int64(p.min + p.rng.IntN(p.max-p.min+1)))
		}
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(c, out, in, left) })
		p.wg.Go(func() { p.pass(c, in, out, left) })
	}
}

func (p *Proxy) pass(c *pair, to io.Writer, from io.Reader, left *atomic.Int64) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if d := time.Duration(p.delay.Load()); d > 0 {
			time.Sleep(d)
		}
		if n > 0 && !p.hole.Load() {
			rest := left.Add(-int64(n))
			if rest < 0 {
				n = max(0, n+int(rest))
			}
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
			if rest < 0 {
				p.mu.Lock()
				p.reset(c)
				p.mu.Unlock()
				return
			}
		}
		if err != nil {
			p.mu.Lock()
			if p.conns[c] {
				delete(p.conns, c)
				c.in.Close()
				c.out.Close()
			}
			p.mu.Unlock()
			return
		}
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		p.reset(c)
	}
	p.mu.Unlock()
	p.listener.Close()
	p.wg.Wait()
}
