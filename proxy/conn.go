package proxy

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// State is what a Conn tells about its connection.
type State int

const (
	Connecting   State = iota
	Connected          // registered: invocations arrive
	Disconnected       // between two tries
	Replaced           // another developer took over: no further tries
)

func (s State) String() string {
	return [...]string{"connecting", "connected", "disconnected", "replaced"}[s]
}

// Causes of a context's end, beside context.DeadlineExceeded.
var (
	ErrCancelled = errors.New("the sandbox does not wait any more")
	ErrClosed    = errors.New("the developer's end is closing")
)

// DialOptions configures Dial.
type DialOptions struct {
	URL       string // ws:// or wss://
	Header    http.Header
	Token     string   // bearer token of the relay
	Sign      *Signer  // for a relay on AWS
	Name      string   // shown to other developers; default: the host's name
	TakeOver  bool     // from developers who run the same already
	Only      []string // functions to run, the others are left to other developers; nil: all
	Handler   Handler
	Logger    *slog.Logger
	Audit     *slog.Logger       // gets one line for each invocation, without a body or a variable; nil: none
	OnState   func(State, error) // called in order, must not block
	OnNotice  func(Notice)       // of what other developers do; likewise
	Payloads  Payloads           // for large bodies; nil: all go over the relay
	Key       ed25519.PrivateKey // of the stage; with it, only sealed sessions are accepted
	Heartbeat time.Duration      // between pings while something runs; three times that otherwise; 0 = 4.5 s
	Lifetime  time.Duration      // of a connection, before the next one is made and takes over; 0 = 110 minutes
	Instance  string             // of this run, which no other has; "" makes one
	Former    string             // that of the run before in the same place, whose process is gone: it need not be waited for
	MaxInvoke int                // invocations held at once before more are refused as busy; 0 = 20,000
}

// Conn is the developer's end of the wire. It keeps the conversations with all sandboxes through reconnects, starts
// each attempt once, and keeps each answer until the sandbox has it.
type Conn struct {
	opts     DialOptions
	log      *slog.Logger
	instance string
	key      *runKey // nil: sessions are not sealed
	ctx      context.Context
	cancel   context.CancelCauseFunc
	sock     atomic.Pointer[socket]
	memory   atomic.Int64
	known    atomic.Bool          // the relay has registered us once
	turn     atomic.Int64         // number of the last connection
	slept    func() time.Duration // how long the machine slept since the last call
	wake     atomic.Bool          // set by Wake
	reading  sync.Mutex           // one frame at a time, also while two connections are open
	rtt      atomic.Int64         // nanoseconds to the relay and back
	running  sync.WaitGroup
	wg       sync.WaitGroup

	mu       sync.Mutex
	links    map[string]*devLink // by sandbox
	attempts map[string]*attempt // by attempt id
	replaced bool
	closed   bool

	leaving atomic.Bool   // the relay is told: no further tries
	left    chan struct{} // closed when the relay has confirmed it
}

// devLink is the developer's side of a sandbox's session. Conn.reading guards the fields beside link.
type devLink struct {
	*link
	init *Init
	held []*received // requests that came before init
}

// attempt is one execution, running or answered. Guarded by Conn.mu.
type attempt struct {
	inv      *Invocation
	link     *devLink
	cancel   context.CancelCauseFunc
	answered bool
	outcome  string  // for the audit: "result", "stream", "cancelled" or an error's type
	stream   *Stream // the answer, when it is a streamed one
	kind     string
	body     []byte
	expires  time.Time
}

// Dial connects the developer's end and registers it. It returns when the relay has confirmed the registration; from
// then on the Conn reconnects by itself until Close.
func Dial(ctx context.Context, opts DialOptions) (*Conn, error) {
	if opts.Handler == nil {
		return nil, errors.New("dial relay: no handler")
	}
	if opts.Name == "" {
		opts.Name, _ = os.Hostname()
	}
	opts.Heartbeat = orDefault(opts.Heartbeat, 4500*time.Millisecond)
	opts.Lifetime = orDefault(opts.Lifetime, connLifetime)
	if opts.MaxInvoke == 0 {
		opts.MaxInvoke = 20_000
	}
	c := &Conn{
		opts: opts, log: logger(opts.Logger), instance: opts.Instance, left: make(chan struct{}),
		links: map[string]*devLink{}, attempts: map[string]*attempt{}, slept: newSleepClock(),
	}
	if c.instance == "" {
		c.instance = NewInstance()
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	if opts.Key != nil {
		var err error
		if c.key, err = newRunKey(opts.Key); err != nil {
			c.cancel(ErrClosed)
			return nil, fmt.Errorf("dial relay: %w", err)
		}
	}
	c.state(Connecting, nil)
	sock, _, err := c.connect(ctx, connectTime)
	if err != nil {
		c.cancel(ErrClosed)
		return nil, fmt.Errorf("dial relay: %w", err)
	}
	c.known.Store(true)
	c.sock.Store(sock)
	c.state(Connected, nil)
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.run(sock)
	}()
	return c, nil
}

// NewInstance makes the name of a run.
func NewInstance() string { return token(8) }

func (c *Conn) state(s State, err error) {
	if c.opts.OnState != nil {
		c.opts.OnState(s, err)
	}
}

func (c *Conn) hello() hello {
	h := hello{Role: roleDeveloper, Min: MinVersion, Max: Version, Instance: c.instance, Name: c.opts.Name, Only: c.opts.Only}
	h.Again, h.Turn = c.known.Load(), int(c.turn.Add(1))
	if !h.Again { // who lost it meanwhile does not get it back by himself
		h.TakeOver, h.Former = c.opts.TakeOver, c.opts.Former
	}
	if c.key != nil {
		h.Key, h.Signed = c.key.public(), c.key.signed
	}
	return h
}

// greet is hello over the connection there is.
func (c *Conn) greet() hello {
	h := c.hello()
	h.Turn = int(c.turn.Load())
	return h
}

func (c *Conn) connect(ctx context.Context, patience time.Duration) (*socket, welcome, error) {
	return connect(ctx, patience, address{c.opts.URL, c.opts.Header, c.opts.Token, c.opts.Sign}, c.hello())
}

// Refused is the relay's refusal of a hello, other than a PresentError.
type Refused struct {
	Code string // "version", "forbidden"
	Data []byte // as the relay sent it
}

func (e *Refused) Error() string { return fmt.Sprintf("relay refused: %s %s", e.Code, e.Data) }

// Rejected is the answer of an endpoint that makes no WebSocket of a request.
type Rejected struct {
	Status int
	Body   string // the beginning of it
}

func (e *Rejected) Error() string {
	text := fmt.Sprintf("the relay answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Body != "" {
		text += ": " + e.Body
	}
	return text
}

// clientWriteBuffers are as large as the largest frame, so that one message is one frame.
var clientWriteBuffers sync.Pool

// address is where a relay is, and what it wants to see.
type address struct {
	url    string
	header http.Header
	bearer string
	sign   *Signer
}

// open makes the WebSocket.
func (a address) open(ctx context.Context) (*websocket.Conn, error) {
	dialer := websocket.Dialer{
		Proxy: http.ProxyFromEnvironment, ReadBufferSize: 4096,
		WriteBufferSize: fastFrameBytes + 1024, WriteBufferPool: &clientWriteBuffers,
	}
	for tries := 0; ; tries++ {
		header, err := upgradeHeader(ctx, a.url, a.header, a.bearer, a.sign)
		if err != nil {
			return nil, err
		}
		ws, resp, err := dialer.DialContext(ctx, a.url, header)
		switch {
		case err == nil:
			return ws, nil
		case resp == nil:
			return nil, err
		case a.sign != nil && tries == 0 && a.sign.refused(resp):
			continue
		}
		reason, _ := io.ReadAll(resp.Body) // the beginning of it
		return nil, &Rejected{Status: resp.StatusCode, Body: string(bytes.TrimSpace(reason))}
	}
}

// A connection that is not made after connectTime most likely never will be. The first tries are given up sooner, as a
// network that swallows what is sent does so for a moment; a relay on AWS that has to start takes a second.
const connectTime = 10 * time.Second

func connectPatience(try int) time.Duration {
	return min(1500*time.Millisecond<<min(try, 8), connectTime)
}

// connect opens a connection, says hello and waits for the welcome.
func connect(ctx context.Context, patience time.Duration, a address, h hello) (*socket, welcome, error) {
	var w welcome
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer for %v", patience))
	defer cancel()
	ws, err := a.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, w, err
	}
	ws.SetReadLimit(4 * fastFrameBytes)
	sock := newSocket(ws)
	stop := context.AfterFunc(ctx, func() { sock.close(0, "") })
	sock.send(helloFrame(h))
	for {
		f, err := readFrame(sock)
		if err == nil && f.Type == typeNak && f.Code == "developer-present" {
			err = presentError(f.Data)
		} else if err == nil && f.Type == typeNak {
			err = &Refused{Code: f.Code, Data: f.Data}
		}
		if err == nil && f.Type == typeWelcome {
			err = json.Unmarshal(f.Data, &w)
			if err == nil && stop() {
				return sock, w, nil
			}
		}
		if err != nil || ctx.Err() != nil {
			stop()
			sock.close(0, "")
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, w, err
		}
	}
}

func presentError(data []byte) *PresentError {
	err := &PresentError{}
	json.Unmarshal(data, err)
	return err
}

func helloFrame(h hello) *Frame {
	data, _ := json.Marshal(h)
	return &Frame{Version: Version, Type: typeHello, Data: data}
}

// readFrame reads the next frame; a malformed one ends the connection, since nobody else can have sent it.
func readFrame(s *socket) (*Frame, error) {
	b, err := s.read()
	if err != nil {
		return nil, err
	}
	defer b.free()
	return Decode(b.body)
}

// A connection of API Gateway ends after 2 hours.
const (
	connLifetime = 110 * time.Minute
	connOverlap  = 2 * time.Second // for which the connection before is still read
)

// attend serves a connection until it is lost. When its lifetime comes to an end, the next one is made before it is
// broken: what is still on its way over the old one is read, and everything else goes over the new one at once.
func (c *Conn) attend(sock *socket) error {
	for {
		lost := make(chan error, 1)
		c.wg.Go(func() { lost <- c.serve(sock) })
		life := time.NewTimer(c.opts.Lifetime)
		var next *socket
		for next == nil {
			select {
			case err := <-lost:
				life.Stop()
				return err
			case <-life.C:
			}
			var err error
			if next, _, err = c.connect(c.ctx, connectTime); err != nil { // the old one may still live a while
				c.log.Info("next relay connection not made", "error", err)
				life.Reset(c.opts.Lifetime / 100)
			}
		}
		c.log.Info("relay connection handed over")
		c.sock.Store(next)
		c.resume()
		old := sock
		c.wg.Go(func() {
			over := time.NewTimer(min(connOverlap, c.opts.Lifetime/2))
			defer over.Stop()
			select {
			case <-over.C:
			case <-lost:
			}
			old.close(websocket.CloseNormalClosure, "handed over")
		})
		sock = next
	}
}

// run serves one connection after the other.
func (c *Conn) run(sock *socket) {
	for {
		err := c.attend(sock)
		c.sock.Store(nil)
		if c.isReplaced() {
			c.state(Replaced, err)
			return
		}
		if c.ctx.Err() != nil || c.leaving.Load() {
			return
		}
		c.state(Disconnected, err)
		c.log.Info("relay connection lost", "error", err)
		for try := 0; ; try++ {
			if try > 0 && !sleep(c.ctx, backoff(try, 5*time.Second)) {
				return
			}
			c.state(Connecting, nil)
			if sock, _, err = c.connect(c.ctx, connectPatience(try)); err == nil {
				break
			}
			if c.ctx.Err() != nil {
				return
			}
			if present := (*PresentError)(nil); errors.As(err, &present) {
				c.state(Replaced, err)
				return
			}
			c.state(Disconnected, err)
		}
		c.sock.Store(sock)
		c.state(Connected, nil)
		c.resume()
	}
}

func (c *Conn) isReplaced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replaced
}

// backoff is exponential from 50 ms, with full jitter, never less than 5 ms.
func backoff(try int, limit time.Duration) time.Duration {
	d := min(50*time.Millisecond<<min(try-1, 16), limit)
	return 5*time.Millisecond + rand.N(d)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// resume tells every sandbox what has arrived here and sends again what may have been lost.
func (c *Conn) resume() {
	c.mu.Lock()
	links := make([]*devLink, 0, len(c.links))
	for _, l := range c.links {
		links = append(links, l)
	}
	c.mu.Unlock()
	for _, l := range links {
		l.mu.Lock()
		begun := l.got > 0
		l.mu.Unlock()
		if begun { // else its init is just being read, and the sandbox must not take this for an answer to it
			l.control(typeResume, "")
			l.resumed(0)
		}
	}
}

func (c *Conn) serve(sock *socket) error {
	stop := context.AfterFunc(c.ctx, func() { sock.close(websocket.CloseNormalClosure, "") })
	defer stop()
	var heard, pinged atomic.Int64 // UnixNano
	heard.Store(time.Now().UnixNano())
	beat := make(chan struct{})
	go func() {
		defer close(beat)
		c.heartbeat(sock, &heard, &pinged)
	}()
	defer func() {
		sock.close(0, "")
		<-beat
		<-sock.gone
	}()
	for {
		f, err := readFrame(sock)
		if err != nil {
			return err
		}
		now := time.Now().UnixNano()
		heard.Store(now)
		if f.Type == "" { // API Gateway's own words about a frame that it could not pass on
			continue
		}
		if f.Type == typePong {
			c.rtt.Store(now - pinged.Load())
			continue
		}
		c.reading.Lock()
		err = c.frame(sock, f)
		c.reading.Unlock()
		if err != nil {
			return err
		}
	}
}

// heartbeat pings the relay, notices silence and a sleep of the machine, and drops what has expired.
func (c *Conn) heartbeat(sock *socket, heard, pinged *atomic.Int64) {
	tick := min(500*time.Millisecond, c.opts.Heartbeat/4)
	t := time.NewTicker(tick)
	defer t.Stop()
	lastPing, lastHello, lastSweep := time.Now(), time.Now(), time.Now()
	for {
		select {
		case <-sock.done:
			return
		case <-t.C:
		}
		now := time.Now()
		if slept := c.slept(); slept > sleepNoticed || c.wake.Swap(false) {
			c.log.Info("machine slept, connecting again", "for", slept)
			sock.close(0, "")
			return
		}
		interval := c.opts.Heartbeat
		c.mu.Lock()
		if len(c.attempts) == 0 {
			interval *= 3
		}
		c.mu.Unlock()
		if silent := time.Duration(now.UnixNano() - heard.Load()); silent >= 2*interval {
			c.log.Info("relay is silent, connecting again", "for", silent)
			sock.close(0, "")
			return
		}
		if now.Sub(lastPing) >= interval {
			lastPing = now
			pinged.Store(now.UnixNano())
			sock.send(&Frame{Version: Version, Type: typePing})
		}
		if now.Sub(lastHello) >= time.Minute && c.sock.Load() == sock && !c.leaving.Load() { // is the registration still ours?
			lastHello = now
			sock.send(helloFrame(c.greet()))
		}
		if now.Sub(lastSweep) >= 15*time.Second {
			lastSweep = now
			c.sweep(now)
		}
	}
}

// Wake says that the machine has just woken, for those who know it from elsewhere than the clocks: the connection is
// made anew.
func (c *Conn) Wake() { c.wake.Store(true) }

// sleepNoticed is how long a sleep must be for the connection to count as lost.
const sleepNoticed = 15 * time.Second

// newSleepClock gives a func that tells how long the machine slept since its last call: the monotonic clock stands
// still meanwhile, the wall clock does not.
func newSleepClock() func() time.Duration {
	var mu sync.Mutex
	last := time.Now()
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		slept := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
		last = now
		return slept
	}
}

// Time after which a silent sandbox is forgotten: longer than a function can run. One that was only frozen opens a
// new session.
const linkExpiry = 16 * time.Minute

func (c *Conn) sweep(now time.Time) {
	c.mu.Lock()
	links := make([]*devLink, 0, len(c.links))
	for _, l := range c.links {
		links = append(links, l)
	}
	c.mu.Unlock()
	var silent []*devLink
	for _, l := range links {
		l.mu.Lock()
		if now.Sub(l.heard) > linkExpiry {
			silent = append(silent, l)
		}
		l.mu.Unlock()
	}
	c.mu.Lock()
	busy := map[*devLink]bool{}
	for id, a := range c.attempts {
		if a.answered && now.After(a.expires) {
			delete(c.attempts, id)
		} else if !a.answered {
			busy[a.link] = true
		}
	}
	var old []*devLink
	for _, l := range silent {
		if c.links[l.sandbox] == l && !busy[l] {
			old = append(old, l)
			delete(c.links, l.sandbox)
		}
	}
	c.mu.Unlock()
	for _, l := range old {
		l.end()
	}
}

// frame handles one frame; an error ends the connection.
func (c *Conn) frame(sock *socket, f *Frame) error {
	switch f.Type {
	case typeWelcome:
		return nil
	case typeBye:
		if f.From == "" && f.Code == byeLeft {
			return c.gone()
		}
		if f.From == "" {
			c.mu.Lock()
			c.replaced = f.Code == "replaced"
			c.mu.Unlock()
			if c.isReplaced() {
				return presentError(f.Data)
			}
			return fmt.Errorf("relay says bye: %s %s", f.Code, f.Data)
		}
	case typeNotice:
		if f.From == "" && c.opts.OnNotice != nil {
			n := Notice{Kind: f.Code}
			if json.Unmarshal(f.Data, &n) == nil {
				c.opts.OnNotice(n)
			}
		}
		return nil
	case typeNak:
		return c.nak(f)
	}
	l := c.link(sock, f)
	if l == nil {
		return nil
	}
	msg, err := l.receive(f)
	if err != nil {
		sock.send(nak(f, err.Error()))
		return nil
	}
	if msg == nil {
		return nil
	}
	switch msg.typ {
	case typeInit:
		init := &Init{}
		if err := json.Unmarshal(msg.body, init); err != nil {
			sock.send(nak(f, "bad-init"))
			return nil
		}
		l.init = init
		l.control(typeAck, "") // at once: the first request waits for it
		held := l.held
		l.held = nil
		for _, msg := range held {
			c.start(l, msg)
		}
		c.offer(l)
	case typeReq:
		if l.init == nil {
			l.held = append(l.held, msg)
			return nil
		}
		c.start(l, msg)
	case typeCancel:
		c.abandon(l, msg.id)
	case typeResume:
		l.resumed(rtoMin)
		l.control(typeAck, "")
	case typeBye:
		c.forget(l)
	case typeAck:
		if msg.credit > 0 {
			c.granted(msg.id, msg.credit)
		}
	default:
		sock.send(nak(f, "unknown-type"))
	}
	return nil
}

// nak refuses a frame that came through the relay.
func nak(f *Frame, code string) *Frame {
	data, _ := json.Marshal(refused{Seq: int64(f.Seq), Nonce: int64(f.Nonce), Type: f.Type})
	return &Frame{
		Version: Version, Type: typeNak, Code: code, To: f.From,
		Session: f.Session, Sandbox: f.Sandbox, ID: f.ID, Data: data,
	}
}

// link finds the session of a frame, or opens it when the frame is of an init. Everyone else is told that the session
// is not known here, and starts a new one.
func (c *Conn) link(sock *socket, f *Frame) *devLink {
	c.mu.Lock()
	l := c.links[f.Sandbox]
	if l == nil || l.session != f.Session {
		if f.Type != typeInit || l != nil && f.Session < l.session {
			c.mu.Unlock()
			if f.Type != typeNak {
				sock.send(nak(f, "unknown-session"))
			}
			return nil
		}
		sealed, err := c.unseal(f)
		if err != nil {
			c.mu.Unlock()
			c.log.Warn("session refused", "sandbox", f.Sandbox, "error", err)
			sock.send(nak(f, "not-sealed"))
			return nil
		}
		old := l
		l = &devLink{link: newLink(f.Sandbox, f.Session, &c.sock, format{frame: frameBytes}, &c.memory)}
		if f.Codec == codecRaw { // the sandbox has read it in its welcome, which is the same relay's
			l.format = format{frame: fastFrameBytes, raw: true}
		}
		l.seal = sealed
		c.links[f.Sandbox] = l
		c.mu.Unlock()
		if old != nil {
			old.end()
		}
		c.mu.Lock()
	}
	c.mu.Unlock()
	if l.seal != nil { // only what is the sandbox's own may move its session
		if _, ok := l.seal.open(f); !ok {
			return nil
		}
	}
	// A late frame of the sandbox's connection before must not lead us back to it.
	l.mu.Lock()
	if l.seal != nil && f.Seq == 0 && f.Nonce <= l.seal.heard {
		l.mu.Unlock()
		return nil
	}
	again := l.seal != nil && f.Type == typeInit && f.Seq <= l.got // who repeats what was said cannot move it
	moved := !l.ready || l.to != f.From && (f.Type == typeResume || f.Type == typeInit && !again)
	if moved {
		l.to = f.From
	}
	l.mu.Unlock()
	if moved {
		l.resumed(0)
	}
	return l
}

// unseal makes the keys of the session that an init opens, and makes sure that the init is sealed with them. Without a
// key of the stage sessions are not sealed.
func (c *Conn) unseal(f *Frame) (*seal, error) {
	if c.key == nil {
		return nil, nil
	}
	raw, err := b64.DecodeString(f.Key)
	if err != nil {
		return nil, err
	}
	other, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, err
	}
	s, err := newSeal(c.key.private, other, f.Session, false)
	if err != nil {
		return nil, err
	}
	if _, ok := s.open(f); !ok {
		return nil, errors.New("init is not sealed with this run's key")
	}
	return s, nil
}

// nak handles a refusal of something we sent.
func (c *Conn) nak(f *Frame) error {
	var what refused
	json.Unmarshal(f.Data, &what)
	c.log.Debug("frame refused", "code", f.Code, "sandbox", f.Sandbox, "attempt", f.ID, "type", what.Type)
	if what.Type == typeBye && f.From == "" && f.Session == "" && c.leaving.Load() { // the registration is gone already, or the relay knows no leaving
		return c.gone()
	}
	switch f.Code {
	case "gone": // keep what it has not got; it will resume over a new connection
		c.mu.Lock()
		l := c.links[f.Sandbox]
		c.mu.Unlock()
		if l != nil && l.session == f.Session {
			l.mu.Lock()
			if l.to == what.To {
				l.ready = false
			}
			l.mu.Unlock()
		}
	case "not-registered", "hello-first":
		return errors.New("relay does not know this connection any more")
	case "developer-present":
		c.mu.Lock()
		c.replaced = true
		c.mu.Unlock()
		return presentError(f.Data)
	}
	return nil
}

// start runs an attempt, unless it runs or ran already: then its answer goes to the session that asks now.
func (c *Conn) start(l *devLink, msg *received) {
	var line reqLine
	event, err := cutLine(msg.body, &line)
	if err != nil {
		l.post(typeErr, msg.id, errorMessage(errLine{ErrorProtocol}, err.Error()), nil)
		return
	}
	c.mu.Lock()
	if a := c.attempts[msg.id]; a != nil {
		a.link = l
		kind, body := a.kind, a.body
		answered := a.answered
		c.mu.Unlock()
		if answered && kind != "" {
			l.post(kind, msg.id, body, c.delivered(msg.id))
		}
		return
	}
	if len(c.attempts) >= c.opts.MaxInvoke || c.closed {
		c.mu.Unlock()
		l.post(typeErr, msg.id, errorMessage(errLine{ErrorBusy}, "the developer's end holds too many invocations already"), nil)
		return
	}
	remaining := time.Duration(line.Remaining)*time.Millisecond - time.Duration(c.rtt.Load())
	inv := &Invocation{
		ID: msg.id, RequestID: line.Request, Function: l.init.Function, Sandbox: l.sandbox,
		Deadline: time.Now().Add(remaining), Event: event, Header: line.Header, Init: l.init, Env: l.init.Env,
	}
	ctx, cancel := context.WithCancelCause(c.ctx)
	began := time.Now()
	a := &attempt{inv: inv, link: l, cancel: cancel, expires: inv.Deadline.Add(time.Minute)}
	inv.answer = func(kind, errType string, body []byte) bool { return c.answer(a, kind, errType, body) }
	inv.log = func(lines []byte) { c.logLines(a, lines) }
	c.attempts[msg.id] = a
	c.running.Add(1)
	c.mu.Unlock()
	go func() {
		defer c.running.Done()
		timed, stop := context.WithDeadline(ctx, inv.Deadline)
		inv.stream = func(contentType string) *Stream { return c.stream(timed, a, contentType) }
		if line.Far == nil || c.bring(timed, a, line.Far) {
			c.opts.Handler.Invoke(timed, inv)
		}
		stop()
		cancel(context.Canceled)
		none := errorBody(ErrorNoAnswer, "the function was not answered for")
		if c.answer(a, typeErr, ErrorNoAnswer, none) || a.stream != nil && a.stream.end(endLine{Type: ErrorNoAnswer}, none) {
			c.log.Error("handler did not answer", "attempt", inv.ID)
		}
		c.audit(a, time.Since(began))
	}()
}

// audit notes who had what run, how much went over the wire and how it ended.
func (c *Conn) audit(a *attempt, took time.Duration) {
	if c.opts.Audit == nil {
		return
	}
	c.mu.Lock()
	l, outcome, out := a.link, a.outcome, len(a.body)
	if a.stream != nil {
		out = a.stream.sent
	}
	c.mu.Unlock()
	l.mu.Lock()
	to := l.to
	l.mu.Unlock()
	c.opts.Audit.Info("invocation", "attempt", a.inv.ID, "function", a.inv.Function, "sandbox", a.inv.Sandbox, "connection", to,
		"in", len(a.inv.Event), "out", out, "ms", took.Milliseconds(), "outcome", outcome)
}

// errorBody is the JSON body of an error of ours, in the shape the Node client uses.
func errorBody(errType, message string) []byte {
	b, _ := json.Marshal(map[string]any{"errorType": errType, "errorMessage": message, "trace": []string{}})
	return b
}

func errorMessage(line errLine, message string) []byte {
	return withLine(line, errorBody(line.Type, message))
}

// answer takes the first answer of an attempt and reports whether this was it.
func (c *Conn) answer(a *attempt, kind, errType string, body []byte) bool {
	c.mu.Lock()
	if a.answered {
		c.mu.Unlock()
		return false
	}
	a.answered = true
	if kind == typeRes && len(body) > messageBytes {
		kind, errType = typeErr, ErrorTooLarge
		body = errorBody(ErrorTooLarge, fmt.Sprintf("Response payload size (%d bytes) exceeded maximum allowed payload size.", len(body)))
	}
	a.outcome = "result"
	if kind == typeErr {
		a.outcome = errType
		body = withLine(errLine{errType}, body)
	}
	a.kind, a.body = kind, body
	l := a.link
	c.mu.Unlock()
	if elsewhere := c.store(l, kind, body); elsewhere != nil {
		kind, body = typeFar, elsewhere
	}
	l.post(kind, a.inv.ID, body, c.delivered(a.inv.ID))
	return true
}

// delivered forgets an attempt whose answer the sandbox has. It runs under the link's mutex, which is taken before
// Conn.mu, never after.
func (c *Conn) delivered(id string) func() {
	return func() {
		c.mu.Lock()
		delete(c.attempts, id)
		c.mu.Unlock()
	}
}

func (c *Conn) logLines(a *attempt, lines []byte) {
	c.mu.Lock()
	l, answered := a.link, a.answered
	c.mu.Unlock()
	if !answered {
		l.post(typeLog, a.inv.ID, lines, nil)
	}
}

// abandon ends an attempt nobody waits for any more. Its id is remembered for a while, since the request itself may
// be the later one of the two to arrive.
func (c *Conn) abandon(l *devLink, id string) {
	c.mu.Lock()
	a := c.attempts[id]
	c.attempts[id] = &attempt{link: l, answered: true, expires: time.Now().Add(time.Minute)}
	if a != nil {
		if !a.answered {
			a.outcome = "cancelled"
		}
		a.answered = true
	}
	c.mu.Unlock()
	if a != nil && a.cancel != nil {
		a.cancel(ErrCancelled)
	}
}

// forget ends a session whose sandbox has left.
func (c *Conn) forget(l *devLink) {
	var left []string
	c.mu.Lock()
	if c.links[l.sandbox] == l {
		delete(c.links, l.sandbox)
	}
	for id, a := range c.attempts {
		if a.link == l {
			left = append(left, id)
		}
	}
	c.mu.Unlock()
	for _, id := range left {
		c.abandon(l, id)
	}
	l.end()
}

// leaveTime is how long Close waits for the sandboxes to have their answers, and for the relay to confirm the leaving.
const leaveTime = time.Second

// leave has the answers arrive and ends the registration, so that whoever comes next is not refused. Nobody may be there
// to say so, hence the bound.
func (c *Conn) leave() {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for began := time.Now(); c.owes() && !c.isReplaced() && time.Since(began) < leaveTime; {
		<-look.C
	}
	sock := c.sock.Load()
	if sock == nil || c.isReplaced() {
		return
	}
	c.leaving.Store(true)
	if sock.send(&Frame{Version: Version, Type: typeBye}) != nil {
		return
	}
	bound := time.NewTimer(leaveTime)
	defer bound.Stop()
	select {
	case <-c.left:
	case <-sock.done:
	case <-bound.C:
	}
}

// owes says whether a sandbox has not confirmed an answer.
func (c *Conn) owes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.attempts {
		if a.inv != nil && a.answered && a.kind != "" {
			return true
		}
	}
	return false
}

// gone takes the relay's word that the registration has ended; the connection ends with it.
func (c *Conn) gone() error {
	if c.leaving.Load() {
		select {
		case <-c.left:
		default:
			close(c.left)
		}
	}
	return ErrClosed
}

// Close ends the contexts of running handlers, waits for them, sends their answers, says goodbye and closes the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.wg.Wait()
		return nil
	}
	c.closed = true
	for _, a := range c.attempts {
		if a.cancel != nil {
			a.cancel(ErrClosed)
		}
	}
	c.mu.Unlock()
	c.running.Wait()
	c.leave()
	if sock := c.sock.Load(); sock != nil {
		sock.close(websocket.CloseNormalClosure, "bye")
	}
	c.cancel(ErrClosed)
	c.wg.Wait()
	c.mu.Lock()
	links := c.links
	c.links = map[string]*devLink{}
	c.mu.Unlock()
	for _, l := range links {
		l.end()
	}
	return nil
}
