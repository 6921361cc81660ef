package proxy

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Timing of the link.
const (
	ackDelay  = 20 * time.Millisecond // an acknowledgement waits this long for a frame to ride on
	ackEvery  = 32                    // or for this many frames
	ackBytes  = 256 << 10             // or for this many bytes
	rtoMin    = 200 * time.Millisecond
	rtoMax    = 5 * time.Second
	rtoFrames = 32 // frames sent again at once
	sequences = 1 << 16
)

// Windows: bytes on their way that the other end has not acknowledged.
const (
	windowFirst  = 1 << 20   // at the beginning of a session
	windowMost   = 4 << 20   // it grows up to here as acknowledgements come
	windowResume = 256 << 10 // after a reconnect: what is left goes out again at the pace of the acknowledgements
	windowTight  = 64 << 10  // told by a receiver whose memory for incomplete messages is half used up
)

// link is one end of the conversation between a sandbox and a developer's end. It outlives connections: every frame
// that matters has a number, is kept until the other end has acknowledged it, and is sent again after a reconnect or
// when the acknowledgement is overdue; what arrives twice is dropped. The relay need not be reliable.
type link struct {
	session string
	sandbox string
	sock    *atomic.Pointer[socket] // the connection of the end now, nil between two
	format  format
	memory  *atomic.Int64 // bytes of incomplete messages of the whole end
	seal    *seal         // nil: frames are sent as they are
	sent    atomic.Uint64 // number of the last transmission that has one

	mu      sync.Mutex
	window  int             // bytes that may be on their way
	peer    int             // and what the other end is ready to take
	flying  int             // bytes on their way
	held    int             // frames posted that are not on their way
	from    uint64          // the first of them may be here
	ready   bool            // frames may be sent: the other end is there and knows the session
	dead    bool            // the session is over
	to      string          // developer's end: the sandbox's connection
	next    uint64          // number of the last frame posted
	unacked []*outFrame     // numbered without a gap
	got     uint64          // everything up to here has arrived
	beyond  map[uint64]bool // and these
	partial map[uint64]*assembly
	owed    int // frames received since k was last told
	owedOf  int // their bytes
	ackOn   bool
	ackTmr  *time.Timer
	rtoTmr  *time.Timer
	rtoOn   bool
	rto     time.Duration
	srtt    time.Duration
	moved   time.Time // last time the other end acknowledged something new
	heard   time.Time // last frame received
	heardAt uint64    // number of the last transmission that has one, at that time
}

// outFrame is a frame waiting for its acknowledgement.
type outFrame struct {
	*Frame
	sentAt time.Time
	sends  int      // transmissions not known to have failed
	unsure []uint64 // their numbers, of a request
	out    bool     // on its way, as far as we know
	acked  func()   // called under the link's mutex
}

// cost is what a frame takes of the window.
func (f *outFrame) cost() int { return len(f.Data) + 256 }

func newLink(sandbox, session string, sock *atomic.Pointer[socket], w format, memory *atomic.Int64) *link {
	now := time.Now()
	return &link{
		session: session, sandbox: sandbox, sock: sock, format: w, memory: memory,
		beyond: map[uint64]bool{}, partial: map[uint64]*assembly{}, moved: now, heard: now,
		window: windowFirst, peer: windowMost,
	}
}

// post sends a message reliably. acked, which may be nil, is called once the other end has all of it; it must not
// call the link. post reports false when the session is over.
func (l *link) post(t, id string, body []byte, acked func()) bool {
	return l.postFrames(split(t, id, body, l.format), acked, true)
}

// postFrames sends the frames of one message, as far as the window lets them; the rest follows as acknowledgements
// come. Without wait it does not block.
func (l *link) postFrames(frames []*Frame, acked func(), wait bool) bool {
	now := time.Now()
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return false
	}
	if len(l.unacked) == 0 {
		l.moved = now
	}
	if l.held == 0 {
		l.from = l.next + 1
	}
	for n, f := range frames {
		l.next++
		f.Seq, f.Session, f.Sandbox = l.next, l.session, l.sandbox
		if l.seal != nil {
			f.Hash = "" // it would tell what is inside
		}
		out := &outFrame{Frame: f}
		if n == len(frames)-1 {
			out.acked = acked
		}
		l.unacked = append(l.unacked, out)
	}
	l.held += len(frames)
	l.transmit(now, l.due(), wait)
	return true
}

// due gives the frames that may go out now. Called with mu held; what it gives must be transmitted.
func (l *link) due() (frames []*outFrame) {
	if !l.ready || l.held == 0 || len(l.unacked) == 0 || l.sock.Load() == nil {
		return nil
	}
	window := min(l.window, l.peer)
	first := l.unacked[0].Seq
	for l.from = max(l.from, first); l.held > 0 && l.from <= l.next; l.from++ {
		f := l.unacked[l.from-first]
		if f.out {
			continue
		}
		if l.flying > 0 && l.flying+f.cost() > window {
			break
		}
		l.fly(f, true)
		frames = append(frames, f)
	}
	return frames
}

// fly notes that a frame is on its way, or is not any more. Called with mu held.
func (l *link) fly(f *outFrame, out bool) {
	switch {
	case f.out == out:
	case out:
		l.flying += f.cost()
		l.held--
	default:
		l.flying -= f.cost()
		l.held++
		l.from = min(l.from, f.Seq)
	}
	f.out = out
}

// open posts the init of a session. Nothing else is sent before the other end has answered, so that a session which
// nobody takes leaves no doubt about its requests.
func (l *link) open(body []byte) {
	l.post(typeInit, "", body, nil)
	l.mu.Lock()
	l.ready = true
	l.transmit(time.Now(), l.due(), false)
	l.detach()
}

// transmit writes frames; it is called with mu held and releases it. Without wait it does not block, for readers.
func (l *link) transmit(now time.Time, frames []*outFrame, wait bool) {
	sock := l.sock.Load()
	if !l.ready || sock == nil || len(frames) == 0 {
		l.mu.Unlock()
		return
	}
	type sending struct {
		*Frame
		nonce uint64
	}
	var few [4]sending
	batch := few[:0] // withdraw may replace the frames as soon as mu is released
	for _, f := range frames {
		f.sends++
		f.sentAt = now
		nonce := uint64(0)
		if l.seal != nil || f.Type == typeReq {
			nonce = l.sent.Add(1)
		}
		if f.Type == typeReq {
			f.unsure = append(f.unsure, nonce)
		}
		batch = append(batch, sending{f.Frame, nonce})
	}
	to, ack := l.to, l.got
	l.owed, l.owedOf = 0, 0
	l.armResend()
	l.mu.Unlock()
	for _, b := range batch {
		f := b.Frame
		if l.seal != nil {
			f = l.seal.close(f, ack, b.nonce)
		} else if b.nonce != 0 {
			g := *f
			g.Nonce = b.nonce
			f = &g
		}
		if sock.putFrame(f, ack, to, wait) != nil {
			return
		}
	}
}

// bare makes a frame that is not numbered: it says what has arrived, and how much more is welcome. Called with mu held.
func (l *link) bare(t string) *Frame {
	l.owed, l.owedOf = 0, 0
	f := &Frame{Version: Version, Type: t, Session: l.session, Sandbox: l.sandbox, To: l.to, Ack: l.got}
	if l.memory.Load() > totalBytes/2 {
		f.Credit = windowTight
	}
	return f
}

// control sends a frame that is not acknowledged and not kept.
func (l *link) control(t, code string) {
	l.mu.Lock()
	f := l.bare(t)
	f.Code = code
	l.mu.Unlock()
	l.say(f)
}

// say sends a frame of bare.
func (l *link) say(f *Frame) {
	sock := l.sock.Load()
	if sock == nil {
		return
	}
	if l.seal != nil {
		to := f.To
		f = l.seal.close(f, f.Ack, l.sent.Add(1))
		f.To = to
	} else if f.Type == typeResume { // its refusal must tell which one was meant
		f.Nonce = l.sent.Add(1)
	}
	sock.send(f)
}

// received is what a frame turned out to be.
type received struct {
	typ, id string
	body    []byte
	index   int // of a part of a stream
	credit  int
}

// receive takes a frame of this session. It returns the message that is complete with it, if any; an error means the
// message has to be refused with that reason.
func (l *link) receive(f *Frame) (*received, error) {
	now := time.Now()
	if l.seal != nil { // what is not sealed by the other end was not said
		data, ok := l.seal.open(f)
		if !ok {
			return nil, nil
		}
		f.Data = data
	}
	l.mu.Lock()
	if l.seal != nil && f.Seq == 0 {
		if f.Nonce <= l.seal.heard { // said before
			l.mu.Unlock()
			return nil, nil
		}
		l.seal.heard = f.Nonce
	}
	l.heard, l.heardAt = now, l.sent.Load()
	l.trim(f.Ack, now)
	msg, err := l.take(f)
	l.transmit(now, l.due(), false)
	return msg, err
}

// take is called with mu held.
func (l *link) take(f *Frame) (*received, error) {
	if f.Seq == 0 {
		if f.Type == typeAck || f.Type == typeResume {
			l.peer = windowMost
			if f.Credit > 0 {
				l.peer = min(f.Credit, windowMost)
			}
		}
		return &received{typ: f.Type, id: f.ID, body: f.Data}, nil
	}
	if f.Seq <= l.got || l.beyond[f.Seq] {
		l.owe(ackEvery, 0) // the other end did not hear our acknowledgement: tell at once
		return nil, nil
	}
	if f.Seq > l.got+sequences {
		return nil, errBusy
	}
	if f.Count >= 0 && uint64(f.Index) >= f.Seq {
		return nil, errChunks
	}
	if f.Count > 1 && l.memory.Add(int64(len(f.Data))) > totalBytes {
		l.memory.Add(-int64(len(f.Data)))
		return nil, errBusy // not acknowledged: it comes again
	}
	l.beyond[f.Seq] = true
	for l.beyond[l.got+1] {
		l.got++
		delete(l.beyond, l.got)
	}
	l.owe(1, len(f.Data))
	if f.Count < 0 { // a part of a stream, complete by itself
		if f.Codec != codecPlain && f.Codec != codecRaw {
			return nil, errCodec
		}
		return &received{typ: f.Type, id: f.ID, body: f.Data, index: f.Index}, nil
	}
	return l.collect(f)
}

// collect puts a chunk to the others of its message. Called with mu held.
func (l *link) collect(f *Frame) (*received, error) {
	first := f.Seq - uint64(f.Index)
	a := l.partial[first]
	if a == nil {
		a = &assembly{sealed: l.seal != nil}
	}
	err := a.add(f)
	if a.missing > 0 {
		l.partial[first] = a
		return nil, err
	}
	delete(l.partial, first)
	if f.Count > 1 {
		l.memory.Add(-int64(a.bytes))
	}
	if err != nil || a.failed {
		return nil, err
	}
	body, err := a.message()
	if err != nil {
		return nil, err
	}
	return &received{typ: f.Type, id: f.ID, body: body, credit: f.Credit}, nil
}

// trim forgets what the other end has. Called with mu held.
func (l *link) trim(ack uint64, now time.Time) {
	n := 0
	for n < len(l.unacked) && l.unacked[n].Seq <= ack {
		f := l.unacked[n]
		if f.acked != nil {
			f.acked()
		}
		if f.out {
			l.flying -= f.cost()
			l.window = min(l.window+f.cost(), windowMost)
		} else {
			l.held--
		}
		if f.sends == 1 {
			if rtt := now.Sub(f.sentAt); l.srtt == 0 {
				l.srtt = rtt
			} else {
				l.srtt += (rtt - l.srtt) / 8
			}
		}
		l.unacked[n] = nil
		n++
	}
	if n > 0 {
		l.unacked = l.unacked[n:]
		if len(l.unacked) == 0 {
			l.unacked = nil
		}
		l.moved = now
		l.rto = 0
	}
}

// owe notes that k must be told. Called with mu held.
func (l *link) owe(n, bytes int) {
	l.owed += n
	l.owedOf += bytes
	if l.owed >= ackEvery || l.owedOf >= ackBytes {
		l.say(l.bare(typeAck))
		return
	}
	if !l.ackOn {
		l.ackOn = true
		if l.ackTmr == nil {
			l.ackTmr = time.AfterFunc(ackDelay, l.ackNow)
		} else {
			l.ackTmr.Reset(ackDelay)
		}
	}
}

func (l *link) ackNow() {
	l.mu.Lock()
	l.ackOn = false
	owed := l.owed > 0 && !l.dead
	l.mu.Unlock()
	if owed {
		l.control(typeAck, "")
	}
}

// armResend starts the timer for overdue acknowledgements. Called with mu held.
func (l *link) armResend() {
	if l.rtoOn {
		return
	}
	l.rtoOn = true
	if l.rto == 0 {
		l.rto = max(rtoMin, 3*l.srtt)
	}
	if l.rtoTmr == nil {
		l.rtoTmr = time.AfterFunc(l.rto, l.overdue)
	} else {
		l.rtoTmr.Reset(l.rto)
	}
}

// overdue sends the oldest frames again when nothing was acknowledged for a whole timeout.
func (l *link) overdue() {
	now := time.Now()
	l.mu.Lock()
	l.rtoOn = false
	if l.dead || !l.ready || len(l.unacked) == 0 {
		l.mu.Unlock()
		return
	}
	if l.rto == 0 {
		l.rto = max(rtoMin, 3*l.srtt)
	}
	var again []*outFrame
	if now.Sub(l.moved) >= l.rto {
		for _, f := range l.unacked {
			if f.out && now.Sub(f.sentAt) >= l.rto {
				if again = append(again, f); len(again) == rtoFrames {
					break
				}
			}
		}
		if len(again) > 0 {
			l.rto = min(2*l.rto, rtoMax)
			l.window = max(l.window/2, windowResume)
		}
	}
	if len(again) == 0 {
		l.armResend()
	}
	l.transmit(now, again, false)
}

// resumed is called when the other end has told over a new connection (or a new one of ours) what it has: everything
// beyond is sent again at the pace of the acknowledgements, except what has just been sent.
func (l *link) resumed(fresh time.Duration) {
	now := time.Now()
	l.mu.Lock()
	l.ready = true
	for _, f := range l.unacked {
		if f.out && (f.sends == 0 || now.Sub(f.sentAt) >= fresh) {
			l.fly(f, false)
			l.window = min(l.window, windowResume)
		}
	}
	l.transmit(now, l.due(), false)
}

// detach stops sending until the next resumed.
func (l *link) detach() {
	l.mu.Lock()
	l.ready = false
	l.mu.Unlock()
}

// refused notes that a transmission of frame seq came back undelivered. Of a request it must say which one, since a
// relay may say everything twice.
func (l *link) refused(seq, nonce uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.unacked {
		if f.Seq != seq || f.sends == 0 {
			continue
		}
		if i := slices.Index(f.unsure, nonce); i >= 0 {
			f.unsure = slices.Delete(f.unsure, i, i+1)
			f.sends--
		} else if f.Type != typeReq {
			f.sends--
		}
	}
}

// doubt says whether a transmission of a request has been neither acknowledged nor refused.
func (l *link) doubt() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.unacked, func(f *outFrame) bool { return len(f.unsure) > 0 })
}

// stale says whether a transmission was made before the last sign of life of the other end. A relay may change the order: a
// resume that overtakes the init is refused, and that refusal may arrive when the session has been running for long.
func (l *link) stale(nonce uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nonce != 0 && nonce <= l.heardAt
}

// end is the last thing said to a link. It reports for every attempt with frames left whether the other end cannot
// have got it: then, and only then, may it be posted again elsewhere.
func (l *link) end() (untouched map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	untouched = map[string]bool{}
	l.dead, l.ready = true, false
	for _, f := range l.unacked {
		if _, known := untouched[f.ID]; !known {
			untouched[f.ID] = f.Index == 0 && f.sends == 0
		}
	}
	for _, a := range l.partial {
		l.memory.Add(-int64(a.bytes))
	}
	l.unacked, l.partial = nil, nil
	if l.ackTmr != nil {
		l.ackTmr.Stop()
	}
	if l.rtoTmr != nil {
		l.rtoTmr.Stop()
	}
	return untouched
}

// rtt is the smoothed time until an acknowledgement.
func (l *link) rtt() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.srtt
}

func (l *link) isReady() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready
}

// touched says whether the other end may have a part of a request.
func (l *link) touched(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.unacked {
		if f.ID == id && f.sends > 0 {
			return true
		}
	}
	return false
}

// withdraw takes back what the other end does not have of a request that nobody waits for any more. What may have
// arrived keeps its numbers, as empty frames; it reports whether nothing can have arrived.
func (l *link) withdraw(id string) (untouched bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := func(f *outFrame) bool { return f.ID == id && f.Type == typeReq }
	for _, f := range l.unacked {
		untouched = untouched || mine(f) && f.Index == 0
	}
	for n := len(l.unacked); untouched && n > 0 && mine(l.unacked[n-1]) && l.unacked[n-1].sends == 0; n-- {
		l.fly(l.unacked[n-1], false)
		l.held--
		l.unacked = l.unacked[:n-1]
		l.next--
	}
	for _, f := range l.unacked {
		if mine(f) {
			if f.out {
				l.flying -= len(f.Data)
			}
			f.Frame = &Frame{Version: Version, Type: typeAck, Session: l.session, Sandbox: l.sandbox, Seq: f.Seq}
			untouched = false
		}
	}
	return untouched
}
