package proxy

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Patience of a sandbox.
const (
	seekTime    = 3 * time.Second        // for a developer's end to take a request
	ackTime     = time.Second            // for an acknowledgement, before the connection counts as dead
	probeTime   = 5 * time.Second        // of silence before a waiting sandbox asks whether anyone is there
	graceTime   = 10 * time.Second       // for a developer's end that took a request and is gone to come back
	watchPeriod = 100 * time.Millisecond // while something is in flight
	doubtTime   = time.Second            // for refusals that are later than that of a question
	probePeriod = 200 * time.Millisecond // between questions whether a developer's end is there
	tailBytes   = 4 << 10
)

// SandboxOptions configures OpenSandbox.
type SandboxOptions struct {
	URL      string
	Header   http.Header
	Token    string
	Sign     *Signer           // for a relay on AWS
	ID       string            // unique per sandbox; default: random
	Init     Init              // function, environment and so on; sent once
	Trust    ed25519.PublicKey // of the stage; with it, only a developer's end with a key signed by it is talked to, sealed
	Grace    time.Duration     // how long after the deadline an answer is still awaited; 0 = 2 s
	Patience time.Duration     // how long a request may be taken by nobody; 0 = 3 s, and never more than a quarter of its time
	Logger   *slog.Logger
}

// Sandbox is the function's end inside this process. It has the same conversation as the stub in Lambda.
type Sandbox struct {
	opts   SandboxOptions
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // run has ended
	kick   chan struct{} // a connection is wanted
	sock   atomic.Pointer[socket]
	memory atomic.Int64
	heard  atomic.Int64 // UnixNano of the last frame, the relay's included

	mu         sync.Mutex
	link       *link // nil before the first welcome
	last       int64 // time in the newest session's name
	calls      map[string]*call
	watching   bool
	watch      *time.Timer
	looked     time.Time
	absent     time.Time // since when the relay has said that no developer is there; zero: one is
	probed     time.Time
	doubted    *link // whose refusals are waited for, since
	doubtedAt  time.Time
	peer       *ecdh.PublicKey // of the developer's end now, with Trust
	rekey      bool            // a new session has to wait for the developer's end to say its key
	connecting error           // why the last try to connect failed
}

// call is a request in flight. Guarded by Sandbox.mu, but for acked.
type call struct {
	id        string
	req       Request
	started   time.Time
	acked     atomic.Bool // the developer's end has it, so it may run
	answer    chan *Response
	tail      []byte
	finished  bool
	reader    *streamReader // of a streamed answer
	streaming bool          // the caller has it
	waited    time.Duration // for an acknowledgement, as far as we were running ourselves
	moved     time.Time     // link.moved when waited was 0
}

// Request is an invocation to be made.
type Request struct {
	RequestID string // "" = a new UUID
	Event     []byte
	Deadline  time.Time // zero = now + Init.Timeout (or 15 minutes)
	Header    Header
	Stream    bool // give a streamed answer as it comes, in Response.Stream; otherwise it is collected
}

// Response is the answer to a Request.
type Response struct {
	RequestID     string
	Body          []byte // the result, or the error's body, verbatim
	FunctionError bool
	ErrorType     string // set with FunctionError
	LogTail       []byte // when Header.Tail was set: the last 4 KB
	ContentType   string // of a streamed answer

	// Stream is a streamed answer, when Request.Stream asked for it: to be read to its end or closed. Its end is io.EOF,
	// or a *StreamError when the function failed after it had begun to answer. The context of Invoke bounds it too.
	Stream io.ReadCloser

	own bool // not from the developer's end, which must be told that nobody waits
}

// OpenSandbox connects a sandbox. It returns at once: the connection is made in the background and awaited by the
// first Invoke. ctx bounds the life of the sandbox like Close.
func OpenSandbox(ctx context.Context, opts SandboxOptions) (*Sandbox, error) {
	if opts.Init.Function == "" {
		return nil, errors.New("open sandbox: no function")
	}
	if opts.ID == "" {
		opts.ID = token(8)
	}
	opts.Grace = orDefault(opts.Grace, 2*time.Second)
	opts.Patience = orDefault(opts.Patience, seekTime)
	s := &Sandbox{
		opts: opts, log: logger(opts.Logger).With("sandbox", opts.ID), done: make(chan struct{}),
		kick: make(chan struct{}, 1), calls: map[string]*call{},
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.kick <- struct{}{}
	go s.run()
	return s, nil
}

// Invoke runs one invocation and returns its answer. The error is for what is no answer of a function at all: ctx
// ended, sandbox closed, event too large. Concurrent calls are allowed; a caller that wants Lambda's one at a time
// keeps to it.
func (s *Sandbox) Invoke(ctx context.Context, req Request) (*Response, error) {
	if len(req.Event) > messageBytes-(64<<10) {
		return nil, fmt.Errorf("invoke %s: event of %d bytes is too large", s.opts.Init.Function, len(req.Event))
	}
	now := time.Now()
	if req.RequestID == "" {
		req.RequestID = uuid()
	}
	if req.Deadline.IsZero() {
		timeout := time.Duration(s.opts.Init.Timeout) * time.Second
		req.Deadline = now.Add(orDefault(timeout, 15*time.Minute))
	}
	c := &call{id: req.RequestID + "." + token(8), req: req, started: now, answer: make(chan *Response, 1)}
	s.mu.Lock()
	s.calls[c.id] = c
	link := s.link
	s.startWatch()
	s.mu.Unlock()
	dropped := true
	defer func() {
		if dropped {
			s.drop(c)
		}
	}()
	if s.sock.Load() == nil {
		s.wanted()
	}
	if link != nil {
		s.post(c, link)
		s.mu.Lock()
		if !link.isReady() && s.sock.Load() != nil && now.Sub(s.probed) > probePeriod {
			s.probe(link, now)
		}
		s.mu.Unlock()
	}
	deadline := time.NewTimer(time.Until(req.Deadline) + s.opts.Grace)
	defer deadline.Stop()
	select {
	case r := <-c.answer:
		if r.own {
			s.cancelCall(c)
		}
		if r.Stream != nil { // it stays until it has been read
			dropped = false
			c.reader.watch(ctx)
		}
		return r, nil
	case <-deadline.C:
		s.cancelCall(c)
		return c.fail(ErrorDeadlineNear, "the developer's end did not answer before the deadline"), nil
	case <-ctx.Done():
		s.cancelCall(c)
		return nil, context.Cause(ctx)
	case <-s.ctx.Done():
		return nil, fmt.Errorf("invoke %s: sandbox closed", s.opts.Init.Function)
	}
}

// uuid returns a random UUID (version 4).
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *Sandbox) wanted() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// post sends a request over link. When the session ends meanwhile, renew has seen that it was not posted yet and
// leaves it to us to follow to the new one.
func (s *Sandbox) post(c *call, link *link) {
	line := reqLine{Request: c.req.RequestID, Remaining: time.Until(c.req.Deadline).Milliseconds(), Header: c.req.Header}
	body := withLine(line, c.req.Event)
	for !link.post(typeReq, c.id, body, func() { c.acked.Store(true) }) {
		s.mu.Lock()
		next := s.link
		finished := c.finished
		s.mu.Unlock()
		if next == link || finished {
			return
		}
		link = next
	}
}

func (s *Sandbox) drop(c *call) {
	s.mu.Lock()
	c.finished = true
	delete(s.calls, c.id)
	s.mu.Unlock()
}

// cancelCall tells the developer's end that nobody waits for c any more, and sends no more of it.
func (s *Sandbox) cancelCall(c *call) {
	s.mu.Lock()
	link := s.link
	s.mu.Unlock()
	if link != nil {
		if !link.withdraw(c.id) {
			link.post(typeCancel, c.id, nil, nil)
		}
	}
}

// fail makes an answer of our own.
func (c *call) fail(errType, message string) *Response {
	return &Response{own: true, RequestID: c.req.RequestID, FunctionError: true, ErrorType: errType, Body: errorBody(errType, message)}
}

// finish gives a call its answer. Called with mu held; the first answer counts.
func (s *Sandbox) finish(c *call, r *Response) {
	if c.streaming {
		c.reader.fail(&StreamError{r.ErrorType, r.Body})
		return
	}
	if c.finished {
		return
	}
	c.finished = true
	if c.req.Header.Tail {
		r.LogTail = c.tail
	}
	r.RequestID = c.req.RequestID
	c.answer <- r
}

func (s *Sandbox) hello() hello {
	return hello{Role: roleSandbox, Min: MinVersion, Max: Version, Function: s.opts.Init.Function}
}

// run makes connections while they are wanted.
func (s *Sandbox) run() {
	defer close(s.done)
	for try := 0; ; {
		s.mu.Lock()
		idle := len(s.calls) == 0
		s.mu.Unlock()
		if idle {
			select {
			case <-s.kick:
			case <-s.ctx.Done():
				return
			}
		}
		if try > 0 && !sleep(s.ctx, backoff(try, time.Second)) {
			return
		}
		sock, w, err := connect(s.ctx, min(connectPatience(max(try-1, 0)), seekTime), address{s.opts.URL, s.opts.Header, s.opts.Token, s.opts.Sign}, s.hello())
		s.mu.Lock()
		s.connecting = err
		s.mu.Unlock()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			s.log.Debug("relay not reached", "error", err)
			try++
			continue
		}
		try = 1
		err = s.serve(sock, w)
		s.log.Debug("relay connection lost", "error", err)
		if s.ctx.Err() != nil {
			return
		}
	}
}

// serve holds the conversation over one connection.
func (s *Sandbox) serve(sock *socket, w welcome) error {
	stop := context.AfterFunc(s.ctx, func() { sock.close(websocket.CloseNormalClosure, "") })
	defer stop()
	s.mu.Lock()
	link := s.link
	s.absent = time.Time{}
	s.probed = time.Now()
	s.heard.Store(s.probed.UnixNano())
	s.sock.Store(sock)
	s.mu.Unlock()
	s.learn(w)
	if link == nil {
		s.renew(w.format())
	} else {
		link.control(typeResume, "")
	}
	defer func() {
		s.mu.Lock()
		s.sock.Store(nil)
		if s.link != nil {
			s.link.detach()
		}
		s.mu.Unlock()
		sock.close(0, "")
		<-sock.gone
	}()
	for {
		f, err := readFrame(sock)
		if err != nil {
			return err
		}
		s.heard.Store(time.Now().UnixNano())
		if err := s.frame(sock, f, w.format()); err != nil {
			return err
		}
	}
}

// learn takes the key of the developer's end from a welcome, when one is wanted.
func (s *Sandbox) learn(w welcome) {
	if s.opts.Trust == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peer = nil
	if !w.Present {
		if s.absent.IsZero() {
			s.absent = time.Now()
		}
		return
	}
	s.peer, s.connecting = verifyRunKey(s.opts.Trust, w.Key, w.Signed)
	if s.connecting != nil {
		s.log.Warn("developer's end refused", "error", s.connecting)
	}
}

// renew opens a new session and posts into it what the developer's end of the session before cannot have got. What it
// may have got is answered with an error: to run it again could run it twice.
func (s *Sandbox) renew(w format) {
	body, _ := json.Marshal(s.opts.Init)
	s.mu.Lock()
	if s.rekey = s.opts.Trust != nil && s.peer == nil; s.rekey {
		s.mu.Unlock()
		return
	}
	old := s.link
	s.last = max(s.last+1, time.Now().UnixMilli())
	link := newLink(s.opts.ID, fmt.Sprintf("%011x-%s", s.last, token(4)), &s.sock, w, &s.memory)
	if s.peer != nil {
		var err error
		if link.seal, err = newSandboxSeal(s.peer, link.session); err != nil {
			s.rekey, s.connecting = true, err
			s.mu.Unlock()
			return
		}
	}
	var again []*call
	if old == nil {
		for _, c := range s.calls {
			again = append(again, c)
		}
	} else {
		untouched := old.end()
		for _, c := range s.calls {
			safe, posted := untouched[c.id]
			switch {
			case posted && safe:
				again = append(again, c)
			case posted || c.acked.Load():
				s.finish(c, c.fail(ErrorDeveloperLost, "the developer's end restarted while it may have run this invocation"))
			}
		}
	}
	link.open(body) // before anyone can see the link
	s.probed = time.Now()
	s.link = link
	s.mu.Unlock()
	for _, c := range again {
		go s.post(c, link) // not here: the reader must not wait for room in the queue
	}
}

// frame handles one frame; an error ends the connection.
func (s *Sandbox) frame(sock *socket, f *Frame, w format) error {
	switch f.Type {
	case typePong:
		return nil
	case typeWelcome: // what we asked to learn the key of the developer's end
		var answer welcome
		if json.Unmarshal(f.Data, &answer) == nil {
			s.learn(answer)
			s.mu.Lock()
			wanted := s.rekey && s.peer != nil
			s.mu.Unlock()
			if wanted {
				s.renew(w)
			}
		}
		return nil
	}
	s.mu.Lock()
	link := s.link
	s.mu.Unlock()
	if link == nil || f.Session != link.session {
		return nil // of a session that is over
	}
	if f.Type == typeNak {
		return s.nak(link, f, w)
	}
	msg, err := link.receive(f)
	if err != nil {
		sock.send(nak(f, err.Error()))
		s.failCall(f.ID, ErrorProtocol, "the answer could not be read: "+err.Error())
		return nil
	}
	s.mu.Lock()
	s.absent = time.Time{}
	s.mu.Unlock()
	if f.Ack == 0 { // it does not have the init, so it cannot have said this
		return nil
	}
	if !link.isReady() { // the developer's end knows the session: whatever it sends tells what it has
		link.resumed(0)
	}
	if msg == nil {
		return nil
	}
	switch msg.typ {
	case typeRes:
		s.answered(msg.id, &Response{Body: msg.body})
	case typeErr:
		var line errLine
		body, err := cutLine(msg.body, &line)
		if err != nil {
			s.failCall(msg.id, ErrorProtocol, err.Error())
			return nil
		}
		s.answered(msg.id, &Response{Body: body, FunctionError: true, ErrorType: line.Type})
	case typeStream:
		s.streamed(msg)
	case typeEnd:
		s.streamEnded(msg)
	case typeLog:
		s.mu.Lock()
		if c := s.calls[msg.id]; c != nil {
			c.tail = append(c.tail, msg.body...)
			c.tail = c.tail[max(0, len(c.tail)-tailBytes):]
		}
		s.mu.Unlock()
	case typeResume: // the connection of the developer's end is new
		link.resumed(0)
	case typeAck, typeBye:
	default:
		sock.send(nak(f, "unknown-type"))
	}
	return nil
}

func (s *Sandbox) answered(id string, r *Response) {
	s.mu.Lock()
	if c := s.calls[id]; c != nil {
		s.finish(c, r)
	}
	s.mu.Unlock()
}

func (s *Sandbox) failCall(id, errType, message string) {
	s.mu.Lock()
	if c := s.calls[id]; c != nil {
		s.finish(c, c.fail(errType, message))
	}
	s.mu.Unlock()
}

// nak handles a refusal of something we sent.
func (s *Sandbox) nak(link *link, f *Frame, w format) error {
	var what refused
	json.Unmarshal(f.Data, &what)
	switch f.Code {
	case "no-developer":
		link.refused(uint64(what.Seq), uint64(what.Nonce))
		link.detach()
		s.mu.Lock()
		if s.absent.IsZero() {
			s.absent = time.Now()
		}
		s.mu.Unlock()
	case "unknown-session":
		// Refusals of the frames still on their way come before the refusal of the resume sent now, and tell which
		// requests may safely move to a new session.
		link.refused(uint64(what.Seq), uint64(what.Nonce))
		if what.Type == typeResume && link.stale(uint64(what.Nonce)) { // ask again: only what comes after tells
			link.control(typeResume, "")
			return nil
		}
		if what.Type == typeResume && s.doubts(link) { // look asks again
			return nil
		}
		if what.Type == typeResume && s.opts.Trust != nil {
			s.mu.Lock()
			s.rekey, s.probed = true, time.Now()
			s.mu.Unlock()
			sock := s.sock.Load()
			if sock != nil {
				sock.send(helloFrame(s.hello()))
			}
		} else if what.Type == typeResume {
			s.renew(w)
		} else {
			link.detach()
			link.control(typeResume, "")
		}
	case "hello-first":
		return errors.New("relay does not know this connection any more")
	case errBusy.Error():
		s.failCall(f.ID, ErrorBusy, "the developer's end holds too much already")
	default:
		s.failCall(f.ID, ErrorProtocol, "the developer's end refused the request: "+f.Code)
	}
	return nil
}

// doubts says whether the refusal of a request may still come, which a relay that changes the order brings after that of a
// question sent later: then the request may safely move to another session. It is waited for, for a while.
func (s *Sandbox) doubts(link *link) bool {
	if !link.doubt() {
		return false
	}
	link.detach()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubted != link {
		s.doubted, s.doubtedAt = link, time.Now()
	}
	return time.Since(s.doubtedAt) < doubtTime
}

// startWatch begins to look after what is in flight. Called with mu held.
func (s *Sandbox) startWatch() {
	if s.watching {
		return
	}
	s.watching = true
	s.looked = time.Now()
	if s.watch == nil {
		s.watch = time.AfterFunc(watchPeriod, s.look)
	} else {
		s.watch.Reset(watchPeriod)
	}
}

// look ends what has waited too long: a connection without acknowledgements, a request nobody takes.
func (s *Sandbox) look() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) == 0 || s.ctx.Err() != nil {
		s.watching = false
		return
	}
	s.watch.Reset(watchPeriod)
	// A machine that is too busy to run us in time has kept the developer's end waiting as well: that time does not count.
	passed := min(now.Sub(s.looked), 2*watchPeriod)
	s.looked = now
	sock, link := s.sock.Load(), s.link
	if sock == nil {
		s.wanted()
	}
	var moved, heard time.Time
	var ready bool
	waiting := 0
	if link != nil {
		link.mu.Lock()
		moved, heard, ready, waiting = link.moved, link.heard, link.ready, len(link.unacked)
		link.mu.Unlock()
	}
	silent := now.Sub(time.Unix(0, s.heard.Load())) > 2*ackTime // not even a refusal of what is asked all the time
	if sock != nil && silent && (s.rekey || link != nil && !ready) {
		s.log.Info("the relay does not answer, connecting again")
		sock.close(0, "")
		sock = nil
	}
	if s.rekey && sock != nil && now.Sub(s.probed) > probePeriod {
		s.probed = now
		sock.send(helloFrame(s.hello()))
	}
	if link != nil && sock != nil && !s.rekey {
		switch {
		case !ready: // ask until someone is there
			if now.Sub(s.probed) > probePeriod {
				s.probe(link, now)
			}
		case waiting > 0 && now.Sub(moved) > ackTime+link.rtt() && now.Sub(s.probed) > ackTime:
			s.log.Info("no acknowledgement, connecting again")
			sock.close(0, "")
		case now.Sub(heard) > 2*probeTime && now.Sub(s.probed) > probeTime:
			s.log.Info("no sign of life, connecting again")
			sock.close(0, "")
		case now.Sub(heard) > probeTime && now.Sub(s.probed) > probeTime:
			s.probe(link, now)
		}
	}
	for _, c := range s.calls {
		if c.waited += min(passed, now.Sub(c.started)); moved.After(c.moved) && s.absent.IsZero() {
			c.waited, c.moved = 0, moved
		}
		budget := min(s.opts.Patience, c.req.Deadline.Sub(c.started)/4)
		switch {
		case !c.acked.Load() && c.waited > budget && link != nil && link.touched(c.id):
			s.finish(c, c.fail(ErrorDeveloperLost, "the developer's end did not say that it has the request: it may run it"))
		case !c.acked.Load() && c.waited > budget:
			s.finish(c, c.fail(ErrorNoDeveloper, s.nobody()))
		case c.acked.Load() && !s.absent.IsZero() && now.Sub(s.absent) > graceTime:
			s.finish(c, c.fail(ErrorDeveloperLost, "the developer's end left while it ran this invocation"))
		}
	}
}

func (s *Sandbox) nobody() string {
	switch {
	case s.connecting != nil:
		return "the relay could not be reached: " + s.connecting.Error()
	case !s.absent.IsZero():
		return "no developer is connected: run `sst start`"
	}
	return "the developer's end does not answer"
}

// probe asks whether the developer's end is there and knows the session. Called with mu held.
func (s *Sandbox) probe(link *link, now time.Time) {
	s.probed = now
	link.control(typeResume, "")
}

// Close ends the sandbox; the developer's end forgets it.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	link := s.link
	s.mu.Unlock()
	if link != nil {
		link.control(typeBye, "")
	}
	s.cancel()
	<-s.done
	if link != nil {
		link.end()
	}
	s.mu.Lock()
	if s.watch != nil {
		s.watch.Stop()
	}
	s.mu.Unlock()
	return nil
}
