package runtime

// One debugger's conversation with a function's workers. It is one conversation: when the worker is replaced, what the
// debugger had set up is said again to the next one, and the debugger hears what a browser says when its page is loaded
// anew. While there is no worker, its requests wait.

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// ownRequests is the number of our first request to a worker; debuggers count from 1.
const ownRequests = 2_000_000_000

// cdpMessage is what we read of the protocol; ID is nil for an event.
type cdpMessage struct {
	ID     *int64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result struct {
		BreakpointID string `json:"breakpointId"`
	} `json:"result"`
	Error json.RawMessage `json:"error"`
}

// setting is a request whose effect lasts as long as the process.
type setting struct {
	method     string
	params     json.RawMessage
	key        string // settings of one key replace each other; "": each counts
	breakpoint string // the worker's name for it. It is made from the parameters, so the next worker gives the same
}

// pendingRequest is one that the worker has not answered.
type pendingRequest struct {
	raw     []byte
	setting *setting // nil: it has no lasting effect
}

// debugSession is one debugger.
type debugSession struct {
	ws  *websocket.Conn
	out *sender

	mu       sync.Mutex // guards what follows; what reaches a sender in order is sent under it
	up       *upstream  // nil: no worker
	held     [][]byte   // for the next worker
	pending  map[int64]pendingRequest
	settings []*setting
	threads  []string // sessions of the worker's own threads
	count    int      // of the workers so far
	paused   bool
	ended    bool
}

// upstream is the connection to a worker's inspector.
type upstream struct {
	ids     ids
	conn    *websocket.Conn
	out     *sender
	own     map[int64]bool // requests of ours that are not answered
	ready   chan struct{}  // closed when all are
	isReady bool
}

func newDebugSession(ws *websocket.Conn) *debugSession {
	return &debugSession{ws: ws, pending: map[int64]pendingRequest{},
		out: newSender(func(data []byte) error { return ws.WriteMessage(websocket.TextMessage, data) }, ws.Close)}
}

// read takes what the debugger says until it leaves.
func (s *debugSession) read() {
	defer s.end()
	for {
		_, data, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.request(data)
		s.mu.Unlock()
	}
}

func (s *debugSession) end() {
	s.mu.Lock()
	up := s.up
	s.up, s.ended = nil, true
	s.mu.Unlock()
	if up != nil {
		up.out.close()
	}
	s.out.close()
}

// request passes a request on, or keeps it for the next worker; mu is held.
func (s *debugSession) request(data []byte) {
	var m cdpMessage
	if json.Unmarshal(data, &m) == nil && m.ID != nil && m.Method == "NodeRuntime.notifyWhenWaitingForDisconnect" {
		s.say(map[string]any{"id": *m.ID, "result": struct{}{}}) // we are who wants to know
		return
	}
	if s.up == nil || !s.up.isReady {
		s.held = append(s.held, data)
		return
	}
	if m.ID != nil {
		s.pending[*m.ID] = pendingRequest{data, s.note(m)}
	}
	s.up.out.send(s.up.ids.theirs(data))
}

// single are the requests that set one thing, so that the last one counts.
var single = map[string]bool{
	"Debugger.setAsyncCallStackDepth": true, "Debugger.setBlackboxPatterns": true, "Debugger.setBreakpointsActive": true,
	"Debugger.setPauseOnExceptions": true, "Debugger.setSkipAllPauses": true, "Runtime.setAsyncCallStackDepth": true,
	"Runtime.setCustomObjectFormatterEnabled": true, "Runtime.setMaxCallStackSizeToCapture": true,
}

// note remembers what a request sets up; mu is held.
func (s *debugSession) note(m cdpMessage) *setting {
	set := &setting{method: m.Method, params: m.Params}
	domain, verb, _ := strings.Cut(m.Method, ".")
	switch {
	case verb == "enable":
		set.key = m.Method
	case single[m.Method]:
		set.key = m.Method
	case m.Method == "Debugger.setBreakpointByUrl", m.Method == "Debugger.setInstrumentationBreakpoint", m.Method == "Runtime.addBinding":
	case m.Method == "Debugger.removeBreakpoint":
		var which struct {
			BreakpointID string `json:"breakpointId"`
		}
		json.Unmarshal(m.Params, &which)
		s.drop(func(old *setting) bool { return old.breakpoint != "" && old.breakpoint == which.BreakpointID })
		return nil
	case m.Method == "Runtime.removeBinding":
		s.drop(func(old *setting) bool {
			return old.method == "Runtime.addBinding" && string(old.params) == string(m.Params)
		})
		return nil
	case verb == "disable": // the worker forgets what was set in the domain
		s.drop(func(old *setting) bool { return strings.HasPrefix(old.method, domain+".") })
		return nil
	default:
		return nil
	}
	if set.key != "" {
		for at, old := range s.settings {
			if old.key == set.key {
				s.settings[at] = set
				return set
			}
		}
	}
	s.settings = append(s.settings, set)
	return set
}

func (s *debugSession) drop(which func(*setting) bool) {
	var kept []*setting
	for _, set := range s.settings {
		if !which(set) {
			kept = append(kept, set)
		}
	}
	s.settings = kept
}

// attach leads the debugger to a worker. What it gives is closed when the worker knows all that was set up, or is lost.
func (s *debugSession) attach(w *worker) <-chan struct{} {
	up := &upstream{own: map[int64]bool{}, ready: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), inspectAttach)
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, w.inspector, nil)
	cancel()
	if err != nil { // the process has just ended; the next one follows
		close(up.ready)
		return up.ready
	}
	up.conn = conn
	up.out = newSender(func(data []byte) error { return writeFrame(conn.UnderlyingConn(), data) }, conn.Close)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		up.out.close()
		close(up.ready)
		return up.ready
	}
	s.lost(s.up)
	s.up = up
	up.ids = newIDs(s.count)
	s.count++
	number := int64(ownRequests)
	ask := func(method string, params json.RawMessage) {
		data, _ := json.Marshal(struct {
			ID     int64           `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params,omitempty"`
		}{number, method, params})
		up.own[number] = true
		number++
		up.out.send(data)
	}
	// A process that ends waits for its debuggers to leave; it says so only to those who ask for it.
	ask("NodeRuntime.notifyWhenWaitingForDisconnect", json.RawMessage(`{"enabled":true}`))
	for _, set := range s.settings {
		ask(set.method, set.params)
	}
	go s.listen(up)
	return up.ready
}

func (s *debugSession) listen(up *upstream) {
	for {
		_, data, err := up.conn.ReadMessage()
		s.mu.Lock()
		if err != nil || !s.heard(up, data) {
			s.lost(up)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// heard takes what a worker says; false means that it waits for us to leave. mu is held.
func (s *debugSession) heard(up *upstream, data []byte) bool {
	if s.up != up {
		return false
	}
	var m cdpMessage
	json.Unmarshal(data, &m) // what is not understood is passed on
	switch {
	case m.ID != nil && up.own[*m.ID]:
		delete(up.own, *m.ID)
		if len(up.own) == 0 && !up.isReady {
			up.isReady = true
			held := s.held
			s.held = nil
			for _, each := range held {
				s.request(each)
			}
			close(up.ready)
		}
		return true
	case m.ID != nil:
		if set := s.pending[*m.ID].setting; set != nil && m.Error != nil {
			s.drop(func(old *setting) bool { return old == set })
		} else if set != nil {
			set.breakpoint = m.Result.BreakpointID
		}
		delete(s.pending, *m.ID)
	case m.Method == "NodeRuntime.waitingForDisconnect":
		return false
	case m.Method == "Runtime.executionContextDestroyed":
		var which struct {
			ID int `json:"executionContextId"`
		}
		if json.Unmarshal(m.Params, &which); which.ID == 1 { // the process is ending; to a debugger that would be the end of all
			return true
		}
	case m.Method == "NodeWorker.attachedToWorker", m.Method == "NodeWorker.detachedFromWorker":
		var which struct {
			SessionID string `json:"sessionId"`
		}
		json.Unmarshal(m.Params, &which)
		if s.threads = slices.DeleteFunc(s.threads, func(id string) bool { return id == which.SessionID }); m.Method == "NodeWorker.attachedToWorker" {
			s.threads = append(s.threads, which.SessionID)
		}
	case m.Method == "Debugger.paused":
		s.paused = true
	case m.Method == "Debugger.resumed":
		s.paused = false
	}
	s.out.send(up.ids.ours(data))
	return true
}

// ids makes the numbers of scripts and contexts of one worker different from those of the workers before: every process
// counts from the same number, and a debugger takes a script that it knows for the same one. The first worker's stay as
// they are, since debuggers ask for context 1 unseen.
type ids struct {
	prefix string // of scripts
	offset int    // of contexts
}

// maxContexts is how many contexts a process has at most, as far as we can tell them apart.
const maxContexts = 100_000

func newIDs(count int) ids {
	if count == 0 {
		return ids{}
	}
	return ids{fmt.Sprintf("%d.", count), count * maxContexts}
}

// A quotation mark inside of a string is escaped, so none of these is found in one.
var (
	scriptID  = regexp.MustCompile(`"scriptId"\s*:\s*"([^"]*)"`)
	contextID = regexp.MustCompile(`("(?:executionContextId|contextId)"\s*:\s*|"context"\s*:\s*\{\s*"id"\s*:\s*)(\d+)`)
)

// ours rewrites what a worker says.
func (i ids) ours(data []byte) []byte {
	if i.prefix == "" {
		return data
	}
	data = scriptID.ReplaceAll(data, []byte(`"scriptId":"`+i.prefix+`${1}"`))
	return i.contexts(data, func(n int) int { return n + i.offset })
}

// theirs rewrites what is said to a worker. What belongs to another worker stays, and is not known there.
func (i ids) theirs(data []byte) []byte {
	if i.prefix == "" {
		return data
	}
	data = scriptID.ReplaceAllFunc(data, func(match []byte) []byte {
		id, own := bytes.CutPrefix(scriptID.FindSubmatch(match)[1], []byte(i.prefix))
		if !own {
			id = append([]byte("gone."), id...)
		}
		return fmt.Appendf(nil, `"scriptId":"%s"`, id)
	})
	return i.contexts(data, func(n int) int {
		if n > i.offset && n < i.offset+maxContexts {
			return n - i.offset
		}
		return n + maxContexts
	})
}

func (i ids) contexts(data []byte, to func(int) int) []byte {
	return contextID.ReplaceAllFunc(data, func(match []byte) []byte {
		parts := contextID.FindSubmatch(match)
		n, err := strconv.Atoi(string(parts[2]))
		if err != nil {
			return match
		}
		return strconv.AppendInt(bytes.Clone(parts[1]), int64(to(n)), 10)
	})
}

// lost ends the conversation with a worker. What lasts is for the next one; what the debugger asked of this one alone has
// failed. mu is held.
func (s *debugSession) lost(up *upstream) {
	if up == nil || s.up != up {
		return
	}
	s.up = nil
	up.out.close()
	if !up.isReady {
		up.isReady = true
		close(up.ready)
	}
	var again [][]byte
	for _, id := range slices.Sorted(maps.Keys(s.pending)) {
		request := s.pending[id]
		if request.setting != nil {
			s.drop(func(old *setting) bool { return old == request.setting })
			again = append(again, request.raw)
			continue
		}
		s.say(map[string]any{"id": id, "error": map[string]any{"code": -32000, "message": "the function's process has ended"}})
	}
	clear(s.pending)
	s.held = append(again, s.held...)
	if s.paused {
		s.paused = false
		s.say(map[string]any{"method": "Debugger.resumed", "params": struct{}{}})
	}
	for _, id := range s.threads {
		s.say(map[string]any{"method": "NodeWorker.detachedFromWorker", "params": map[string]string{"sessionId": id}})
	}
	s.threads = nil
	for _, set := range s.settings {
		if set.method == "Runtime.enable" {
			s.say(map[string]any{"method": "Runtime.executionContextsCleared", "params": struct{}{}})
		}
	}
}

func (s *debugSession) say(value any) {
	data, _ := json.Marshal(value)
	s.out.send(data)
}

// sender writes messages in order in a goroutine of its own, so that nobody waits for a peer that does not read.
type sender struct {
	mu    sync.Mutex
	more  *sync.Cond
	queue [][]byte
	ended bool
	shut  func() error
}

func newSender(write func([]byte) error, shut func() error) *sender {
	s := &sender{shut: shut}
	s.more = sync.NewCond(&s.mu)
	go func() {
		for {
			s.mu.Lock()
			for len(s.queue) == 0 && !s.ended {
				s.more.Wait()
			}
			if s.ended {
				s.mu.Unlock()
				return
			}
			data := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			if write(data) != nil {
				s.close()
				return
			}
		}
	}()
	return s
}

func (s *sender) send(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, data)
	s.more.Signal()
}

func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		s.more.Signal()
		s.shut()
	}
}

// writeFrame writes a message as one frame: Node's inspector takes no message in pieces, which is how a client of the
// library sends what its buffer does not hold. The mask may be zero.
func writeFrame(conn net.Conn, data []byte) error {
	head := []byte{0x81}
	switch n := len(data); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	frame := net.Buffers{append(head, 0, 0, 0, 0), data}
	_, err := frame.WriteTo(conn)
	return err
}
