package relaytest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy passes TCP connections on and harms them as told. It is no smarter than a network: it sees bytes, not frames.
type Proxy struct {
	Addr string // host:port
	URL  string // ws://host:port/

	target   string
	listener net.Listener
	wg       sync.WaitGroup
	cuts     atomic.Int64
	stop     chan struct{}

	mu       sync.Mutex
	rng      *rand.Rand
	min, max int // bytes until a cut; 0: none
	conns    []*pair
	lost     map[*pair]bool // half open
	weather  Weather
	changed  chan struct{} // closed when weather changes
	closed   bool
}

// Weather is how connections fare, until it changes; the zero value is fine.
type Weather struct {
	Delay, Jitter    time.Duration // of every piece of data
	Rate             int           // bytes a second each way; 0: any
	LoseUp, LoseDown bool          // what clients send, or are sent, is swallowed; connections stay open
	Hold             bool          // all is kept back, and comes at once when that ends
	Still            bool          // nothing is read, so that who sends is held up
	Refuse           bool          // new connections are reset
	Status           int           // new connections get this HTTP answer instead of the server's; 0: none
	Twice            bool          // the bytes of new connections' clients reach the server over two connections, the first is answered to
}

// Cut is a way for a connection to end.
type Cut int

const (
	Reset    Cut = iota // RST both ways
	Finish              // FIN both ways
	HalfOpen            // nothing is passed on any more, and nobody is told
)

// pair is a connection and its continuation.
type pair struct {
	in, out net.Conn
	left    atomic.Int64 // bytes until the cut
	how     atomic.Int64 // Cut
	lost    atomic.Bool  // HalfOpen has come
}

const never = 1 << 62

// NewProxy starts a proxy in front of target; it ends with the test.
func NewProxy(t testing.TB, target string, seed uint64) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		Addr: listener.Addr().String(), URL: "ws://" + listener.Addr().String() + "/",
		target: target, listener: listener, rng: rand.New(rand.NewPCG(seed, 0xc07)),
		lost: map[*pair]bool{}, changed: make(chan struct{}), stop: make(chan struct{}),
	}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Set changes the weather.
func (p *Proxy) Set(w Weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) now() (Weather, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather, p.changed
}

// BlackHole swallows all bytes of all connections, while they stay open, until called with false.
func (p *Proxy) BlackHole(on bool) { p.Set(Weather{LoseUp: on, LoseDown: on}) }

// CutAfter resets each new connection, in the middle of whatever it carries, after a random number of bytes between min
// and max; 0, 0 ends that.
func (p *Proxy) CutAfter(min, max int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.min, p.max = min, max
}

// CutOne has a random connection end that way once it has passed on some bytes more, so in the middle of a frame as
// often as between two. It reports whether there was one.
func (p *Proxy) CutOne(how Cut, after int) bool {
	p.mu.Lock()
	var whole []*pair
	for _, c := range p.conns {
		if c.left.Load() > 1<<40 {
			whole = append(whole, c)
		}
	}
	if len(whole) == 0 {
		p.mu.Unlock()
		return false
	}
	c := whole[p.rng.IntN(len(whole))]
	p.mu.Unlock()
	c.how.Store(int64(how))
	c.left.Store(int64(after))
	if after == 0 {
		p.cut(c)
	}
	return true
}

// Cut resets all connections now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	all := append([]*pair(nil), p.conns...)
	p.mu.Unlock()
	for _, c := range all {
		c.how.Store(int64(Reset))
		p.cut(c)
	}
}

// Cuts tells how many connections were cut.
func (p *Proxy) Cuts() int { return int(p.cuts.Load()) }

// Conns tells how many connections there are.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// cut ends a connection its way.
func (p *Proxy) cut(c *pair) {
	if !p.forget(c) {
		return
	}
	p.cuts.Add(1)
	switch Cut(c.how.Load()) {
	case HalfOpen:
		c.lost.Store(true)
		p.mu.Lock()
		p.lost[c] = true
		p.mu.Unlock()
		return
	case Reset:
		c.in.(*net.TCPConn).SetLinger(0)
		c.out.(*net.TCPConn).SetLinger(0)
	}
	c.in.Close()
	c.out.Close()
}

// forget takes a connection out of the list; false when it was not there any more.
func (p *Proxy) forget(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.conns {
		if other == c {
			p.conns = append(p.conns[:i], p.conns[i+1:]...)
			return true
		}
	}
	return false
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		w, _ := p.now()
		switch {
		case w.Refuse:
			in.(*net.TCPConn).SetLinger(0)
			in.Close()
			continue
		case w.Status != 0:
			p.wg.Go(func() { answer(in, w.Status) })
			continue
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		up := io.Writer(out)
		if w.Twice {
			if second, err := net.Dial("tcp", p.target); err == nil {
				up = io.MultiWriter(out, second)
				p.wg.Go(func() { // nobody waits for its answers, and it ends with the first
					io.Copy(io.Discard, second)
					second.Close()
				})
				p.wg.Go(func() {
					<-p.stop
					second.Close()
				})
			}
		}
		c := &pair{in: in, out: out}
		c.left.Store(never)
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			in.Close()
			out.Close()
			return
		}
		p.conns = append(p.conns, c)
		if p.max > 0 {
			c.left.Store(int64(p.min + p.rng.IntN(p.max-p.min+1)))
		}
		p.mu.Unlock()
		var ended sync.WaitGroup
		ended.Add(2)
		p.wg.Go(func() { defer ended.Done(); p.pass(c, up, in, true) })
		p.wg.Go(func() { defer ended.Done(); p.pass(c, in, out, false) })
		p.wg.Go(func() {
			ended.Wait()
			in.Close()
			out.Close()
			p.mu.Lock()
			delete(p.lost, c)
			p.mu.Unlock()
		})
	}
}

// answer is an HTTP server that has only this to say.
func answer(conn net.Conn, status int) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return
	}
	body := message(http.StatusText(status))
	fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(body), body)
}

// piece is what was read at once, and when it is to be passed on.
type piece struct {
	data []byte
	due  time.Time
}

// pass carries one direction of a connection.
func (p *Proxy) pass(c *pair, to io.Writer, from net.Conn, up bool) {
	pieces := make(chan piece, 1024)
	p.wg.Go(func() {
		defer close(pieces)
		var sent, last time.Time
		for p.wait(func(w Weather) bool { return w.Still }) {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				sent, last = p.due(sent, last, n)
				select {
				case pieces <- piece{buf[:n], last}:
				case <-p.stop:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for next := range pieces {
		if d := time.Until(next.due); d > 0 {
			time.Sleep(d)
		}
		if !p.wait(func(w Weather) bool { return w.Hold }) {
			break
		}
		w, _ := p.now()
		if c.lost.Load() || up && w.LoseUp || !up && w.LoseDown {
			continue
		}
		data := next.data
		rest := c.left.Add(-int64(len(data)))
		if rest < 0 {
			data = data[:max(0, len(data)+int(rest))]
		}
		_, err := to.Write(data)
		if rest < 0 {
			p.cut(c)
		} else if err != nil {
			break
		}
	}
	if !c.lost.Load() && p.forget(c) { // who has closed a half open one does not reach the other
		c.in.Close()
		c.out.Close()
	}
}

// due is when n bytes that have just been read have left, which takes time at a low rate, and when they arrive. sent and
// last are those times of the bytes before.
func (p *Proxy) due(sent, last time.Time, n int) (time.Time, time.Time) {
	w, _ := p.now()
	at := time.Now()
	if at.Before(sent) {
		at = sent
	}
	if w.Rate > 0 {
		at = at.Add(time.Duration(n) * time.Second / time.Duration(w.Rate))
	}
	arrives := at.Add(w.Delay)
	if w.Jitter > 0 {
		p.mu.Lock()
		arrives = arrives.Add(time.Duration(p.rng.Int64N(int64(w.Jitter))))
		p.mu.Unlock()
	}
	if arrives.Before(last) { // bytes do not overtake each other
		arrives = last
	}
	return at, arrives
}

// wait waits as long as the weather is such; false when the proxy ends.
func (p *Proxy) wait(such func(Weather) bool) bool {
	for {
		w, changed := p.now()
		if !such(w) {
			return true
		}
		select {
		case <-changed:
		case <-p.stop:
			return false
		}
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	close(p.stop)
	p.listener.Close()
	p.Cut()
	p.mu.Lock()
	for c := range p.lost {
		c.in.Close()
		c.out.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
