package proxy

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Profile says which limits a Relay has.
type Profile int

const (
	ProfileFast       Profile = iota // inside one machine: large frames, raw bodies, no timers
	ProfileAPIGateway                // the quotas of an API Gateway WebSocket API
)

// Quotas of an API Gateway WebSocket API.
const (
	gatewayFrame    = 32 << 10
	gatewayMessage  = 128 << 10
	gatewayIdle     = 10 * time.Minute
	gatewayLifetime = 2 * time.Hour
)

// RelayOptions configures a Relay; the zero value is an open relay of the fast profile.
type RelayOptions struct {
	Profile  Profile
	Token    string        // wanted as "Authorization: Bearer <token>"; empty: anyone on the machine
	Hosts    []string      // Host names accepted beside those of the loopback interface
	Idle     time.Duration // API Gateway profile: 0 = 10 minutes
	Lifetime time.Duration // API Gateway profile: 0 = 2 hours
	Logger   *slog.Logger  // nil: silent

	// Authorize decides in the place of Token who may connect; a status other than 0 refuses the upgrade.
	Authorize func(*http.Request) (status int, reason string)

	// Fault is asked for every frame on its way to a connection; nil delivers all. It is there for tests of the two
	// ends: a relay on AWS may lose, repeat or delay frames, and this makes one that does.
	Fault func(frame []byte, deliver func())
}

// Stats counts what went through a Relay.
type Stats struct {
	Frames, Bytes int64 // received
	Conns         int   // open now
	Accepted      int64 // connections since the start
	Refused       int64 // frames answered with a nak
}

// Relay is the WebSocket endpoint that sandboxes and the developer connect to. It keeps no message: what it cannot
// deliver it refuses with a nak, and the ends, which hold on to what is not acknowledged, send again.
type Relay struct {
	opts     RelayOptions
	log      *slog.Logger
	upgrader websocket.Upgrader
	format   format
	conns    sync.Map // connection id -> *peer
	registry atomic.Pointer[Registry]
	wg       sync.WaitGroup

	frames, bytes, refused, accepted, open atomic.Int64

	mu     sync.Mutex // registration and closing, never held on the data path
	closed bool
}

// peer is one connection of the relay.
type peer struct {
	*socket
	id     string
	prefix []byte // {"from":"<id>",
	hello  atomic.Pointer[hello]
	route  atomic.Pointer[route]
}

// route is where the frames of a sandbox go, as long as the registry is the same.
type route struct {
	registry *Registry
	target   *peer // nil: nobody
}

// NewRelay makes a Relay; Close it to end its connections.
func NewRelay(opts RelayOptions) *Relay {
	r := &Relay{opts: opts, log: logger(opts.Logger), format: format{frame: fastFrameBytes, raw: true}}
	if opts.Profile == ProfileAPIGateway {
		r.format = format{frame: frameBytes}
		r.opts.Idle = orDefault(opts.Idle, gatewayIdle)
		r.opts.Lifetime = orDefault(opts.Lifetime, gatewayLifetime)
	}
	r.registry.Store(&Registry{})
	r.upgrader = websocket.Upgrader{
		ReadBufferSize: 4096, WriteBufferSize: 4096, WriteBufferPool: &relayWriteBuffers,
		CheckOrigin: func(*http.Request) bool { return true }, // check has refused every Origin already
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			http.Error(w, reason.Error(), status)
		},
	}
	return r
}

var relayWriteBuffers sync.Pool

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// token returns n random bytes in hexadecimal.
func token(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// ServeHTTP upgrades a request to a connection of the relay and serves it. Web pages can reach the loopback
// interface too, so whatever a browser sends along by itself is refused, and so is a name that is not this machine's.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if status, reason := r.check(req); status != 0 {
		http.Error(w, reason, status)
		return
	}
	var rw = w
	exceeded := func() bool { return false }
	if r.opts.Profile == ProfileAPIGateway {
		rw, exceeded = LimitFrames(w, gatewayFrame)
	}
	ws, err := r.upgrader.Upgrade(rw, req, nil)
	if err != nil {
		return // the upgrader has answered
	}
	p := &peer{id: token(8)}
	p.prefix = []byte(`{"from":"` + p.id + `",`)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		ws.Close()
		return
	}
	r.wg.Add(1)
	p.socket = newSocket(ws)
	r.conns.Store(p.id, p)
	r.mu.Unlock()
	defer r.wg.Done()
	r.open.Add(1)
	r.accepted.Add(1)
	r.serve(p, exceeded)
	r.conns.Delete(p.id)
	r.leave(p)
	<-p.gone
	r.open.Add(-1)
}

func (r *Relay) check(req *http.Request) (status int, reason string) {
	for name := range req.Header {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return http.StatusForbidden, "requests from web pages are refused"
		}
	}
	host := req.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !slices.Contains(r.opts.Hosts, host) {
		return http.StatusMisdirectedRequest, "unknown host"
	}
	if r.opts.Authorize != nil {
		return r.opts.Authorize(req)
	}
	if r.opts.Token != "" {
		given := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(r.opts.Token)) != 1 {
			return http.StatusUnauthorized, "wrong token"
		}
	}
	return 0, ""
}

func (r *Relay) serve(p *peer, exceeded func() bool) {
	log := r.log.With("connection", p.id)
	gateway := r.opts.Profile == ProfileAPIGateway
	if gateway {
		p.ws.SetReadLimit(gatewayMessage)
		life := time.AfterFunc(r.opts.Lifetime, func() { p.close(websocket.CloseGoingAway, "connection lifetime is over") })
		defer life.Stop()
	} else {
		p.ws.SetReadLimit(4 * fastFrameBytes)
	}
	for {
		if gateway {
			p.ws.SetReadDeadline(time.Now().Add(r.opts.Idle))
		}
		b, err := p.read()
		switch {
		case err == nil:
		case exceeded():
			p.close(websocket.CloseMessageTooBig, "frame over 32 KB")
			return
		case isTimeout(err):
			p.close(websocket.CloseGoingAway, "idle")
			return
		default:
			p.close(0, "")
			log.Debug("connection ended", "error", err)
			return
		}
		if gateway && b.binary {
			p.close(websocket.CloseUnsupportedData, "binary frames are not supported")
			b.free()
			return
		}
		r.frames.Add(1)
		r.bytes.Add(int64(len(b.body)))
		r.route(p, b)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// route takes one frame of p where it belongs. The only thing changed about it is one field more, "from".
func (r *Relay) route(p *peer, b *buffer) {
	var v view
	if err := v.scan(b.body); err != nil || len(b.body) == 0 || b.body[0] != '{' || v.from != nil {
		r.refuse(p, &v, "bad-frame")
		b.free()
		return
	}
	switch string(v.t) {
	case typeHello:
		r.hello(p, &v)
		b.free()
		return
	case typePing:
		p.send(&Frame{Version: Version, Type: typePong, ID: string(v.i)})
		b.free()
		return
	}
	h := p.hello.Load()
	var target *peer
	code := ""
	switch {
	case h == nil:
		code = "hello-first"
	case h.Role == roleDeveloper && !r.registry.Load().Has(h.Instance):
		code = "not-registered"
	case h.Role == roleDeveloper && v.to == nil && string(v.t) == typeBye:
		r.leave(p)
		p.send(&Frame{Version: Version, Type: typeBye, Code: byeLeft})
		b.free()
		return
	case h.Role == roleDeveloper:
		if to, ok := r.conns.Load(string(v.to)); ok {
			target = to.(*peer)
		} else {
			code = "gone"
		}
	case v.to != nil:
		code = "forbidden"
	default:
		if target = r.developerOf(p, h); target == nil {
			code = "no-developer"
		}
	}
	if code != "" {
		r.refuse(p, &v, code)
		b.free()
		return
	}
	// The field goes into the room before the message: nothing is copied.
	start := headroom + 1 - len(p.prefix)
	copy(b.block[start:], p.prefix)
	b.body = b.block[start : headroom+len(b.body)]
	if r.opts.Fault != nil {
		frame, binary := slices.Clone(b.body), b.binary
		b.free()
		r.opts.Fault(frame, func() {
			c := newBuffer(len(frame))
			c.body, c.binary = c.block[:copy(c.block, frame)], binary
			if !target.offer(c) {
				c.free()
			}
		})
		return
	}
	r.deliver(p, target, b, h, &v)
}

// deliver queues a frame for its target. A developer's end that is behind slows its sandboxes down; a sandbox that
// does not read is disconnected, since the developer's end must not wait for it.
func (r *Relay) deliver(p, target *peer, b *buffer, h *hello, v *view) {
	var err error
	if h.Role == roleSandbox {
		err = target.put(b, true) // ends with the target's write timeout at the latest
	} else if !target.offer(b) {
		target.close(websocket.ClosePolicyViolation, "reads too slowly")
		err = errClosed
	}
	if err == nil {
		return
	}
	defer b.free()
	r.log.Warn("frame not delivered", "from", p.id, "to", target.id)
	if h.Role == roleSandbox {
		r.refuse(p, v, "no-developer")
	} else {
		r.refuse(p, v, "gone")
	}
}

// hello registers p and tells it the limits.
func (r *Relay) hello(p *peer, v *view) {
	f, err := v.frame()
	var h hello
	if err != nil || json.Unmarshal(f.Data, &h) != nil || h.Role != roleDeveloper && h.Role != roleSandbox {
		r.refuse(p, v, "bad-frame")
		return
	}
	if h.Min > Version || h.Max < MinVersion {
		data, _ := json.Marshal(map[string]int{"min": MinVersion, "max": Version})
		p.send(&Frame{Version: Version, Type: typeNak, Code: "version", Data: data})
		return
	}
	if h.Role == roleDeveloper {
		if other := r.register(p, &h); other != nil {
			data, _ := json.Marshal(other)
			p.send(&Frame{Version: Version, Type: typeNak, Code: "developer-present", Data: data})
			return
		}
	} else {
		p.hello.Store(&h)
		p.route.Store(nil) // it may be of another function than before
	}
	answer := welcome{Connection: p.id, Version: min(h.Max, Version), Frame: r.format.frame, Codecs: []string{codecGzip}}
	if r.format.raw {
		answer.Codecs = append(answer.Codecs, codecRaw)
	}
	if dev, ok := r.registry.Load().For(h.Function); ok {
		answer.Present, answer.Developer, answer.Key, answer.Signed = true, dev.Name, dev.Key, dev.Signed
	}
	data, _ := json.Marshal(answer)
	p.send(&Frame{Version: Version, Type: typeWelcome, Data: data})
}

// developerOf gives the developer's end that runs what a sandbox is for.
func (r *Relay) developerOf(p *peer, h *hello) *peer {
	registry := r.registry.Load()
	if known := p.route.Load(); known != nil && known.registry == registry {
		return known.target
	}
	next := &route{registry: registry}
	if c, ok := registry.For(h.Function); ok {
		if to, ok := r.conns.Load(c.Connection); ok {
			next.target = to.(*peer)
		}
	}
	p.route.Store(next)
	return next.target
}

// register makes p a developer's end, or says who is in its place.
func (r *Relay) register(p *peer, h *hello) *PresentError {
	r.mu.Lock()
	defer r.mu.Unlock()
	registry := *r.registry.Load()
	if h.Instance == "" {
		h.Instance = p.id
	}
	claim := Claim{Connection: p.id, Instance: h.Instance, Turn: h.Turn, Name: h.Name, Only: h.Only, Former: h.Former, Key: h.Key, Signed: h.Signed}
	for _, was := range registry {
		if was.Instance == h.Instance && was.Connection != p.id && was.Turn <= h.Turn { // it hands over, and closes the old one itself, unless that is dead
			if old, ok := r.conns.Load(was.Connection); ok {
				time.AfterFunc(2*connOverlap, func() { old.(*peer).close(websocket.CloseNormalClosure, "replaced") })
			}
		}
	}
	next, notices, refused := registry.Register(claim, h.TakeOver, h.Again)
	if refused == nil {
		p.hello.Store(h)
		r.registry.Store(&next)
	}
	r.tell(notices)
	return refused
}

// leave ends the registration of a connection that has ended.
func (r *Relay) leave(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, notices := r.registry.Load().Leave(p.id)
	r.registry.Store(&next)
	r.tell(notices)
}

// tell sends notices to developers' ends. Called with mu held.
func (r *Relay) tell(notices []Notice) {
	for _, n := range notices {
		to, ok := r.conns.Load(n.Connection)
		if !ok {
			continue
		}
		p := to.(*peer)
		p.send(n.Frame())
		if n.Kind == NoticeReplaced {
			p.close(websocket.CloseNormalClosure, "replaced")
		}
	}
}

// refuse answers a frame with a nak that repeats what identifies it.
func (r *Relay) refuse(p *peer, v *view, code string) {
	r.refused.Add(1)
	p.send(&Frame{
		Version: Version, Type: typeNak, Code: code,
		Session: string(v.s), Sandbox: string(v.w), ID: string(v.i), Data: refusedData(v),
	})
}

// refused is the body of a nak: which frame is meant.
type refused struct {
	Seq   int64  `json:"m,omitempty"`
	Nonce int64  `json:"x,omitempty"`
	To    string `json:"to,omitempty"`
	Type  string `json:"t,omitempty"`
}

func refusedData(v *view) []byte {
	data, _ := json.Marshal(refused{Seq: v.m, Nonce: v.x, To: string(v.to), Type: string(v.t)})
	return data
}

// Stats returns the counters.
func (r *Relay) Stats() Stats {
	return Stats{
		Frames: r.frames.Load(), Bytes: r.bytes.Load(), Conns: int(r.open.Load()),
		Accepted: r.accepted.Load(), Refused: r.refused.Load(),
	}
}

// Close ends all connections and waits for their goroutines.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.Disconnect(websocket.CloseGoingAway, "relay is closing")
	r.wg.Wait()
	return nil
}

// Disconnect closes every connection with a code and reason, code 0 without a word, as a network failure would.
func (r *Relay) Disconnect(code int, reason string) {
	r.conns.Range(func(_, p any) bool {
		p.(*peer).close(code, reason)
		return true
	})
}
