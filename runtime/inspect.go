package runtime

// Debuggers. An inspected function has a port of its own that stays the same while its workers come and go: what listens
// there is this process, and inspect_session.go hands a debugger on to whichever worker there is. Such a function has one
// worker at a time, so that every invocation meets the breakpoints.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"sst/proxy"
	"sst/runtime/bundle"
)

// firstInspectPort is Node's own choice; the next free ones follow.
const firstInspectPort = 9229

const (
	inspectStart  = 10 * time.Second // for a process to open its inspector
	inspectAttach = 5 * time.Second  // for debuggers to be attached to a new process before it loads anything
	inspectAgain  = time.Second      // before another process takes the place of one that ended by itself
	debuggedTime  = 24 * time.Hour   // what a local invocation of an inspected function may take with all its pauses
)

// Inspection says which functions can be debugged.
type Inspection struct {
	All       bool     // every Node function
	Functions []string // these as well, by ID
}

// Inspected is where a debugger finds a function.
type Inspected struct {
	Function string // ID
	Handler  string
	Kind     string
	Address  string // host:port
}

// inspectors are the debuggers' ports. The server's owner goroutine updates them.
type inspectors struct {
	chosen  Inspection
	factory *factory
	emit    func(Event)
	known   func(id string) map[string]string // a function's environment as far as it is known before an invocation
	code    func(id string) (built *code, release func(), err error)
	told    map[string]bool // functions that cannot be debugged, which was said

	mu  sync.Mutex // guards all
	all map[string]*inspector
}

// of gives the inspector of a function; nil when it is not inspected.
func (d *inspectors) of(id string) *inspector {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[id]
}

func (d *inspectors) wants(fn *function) bool {
	if !slices.Contains(d.chosen.Functions, fn.ID) {
		return d.chosen.All && fn.Bundle.Kind == bundle.Node
	}
	if lacks := d.lacksDebugger(fn); lacks != "" {
		if !d.told[fn.ID] {
			d.told[fn.ID] = true
			d.emit(Notice{Text: lacks})
		}
		return false
	}
	return true
}

// update opens and closes ports; gone are the functions that are not inspected any more.
func (d *inspectors) update(a *app) (gone []string, err error) {
	wanted := map[string]*function{}
	for _, fn := range a.ordered {
		if d.wants(fn) {
			wanted[fn.ID] = fn
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, i := range d.all {
		if wanted[id] == nil {
			delete(d.all, id)
			gone = append(gone, id)
			i.close()
		}
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if d.all[id] == nil {
			i, err := d.open(wanted[id])
			if err != nil {
				return gone, fmt.Errorf("open a port for the debugger of %s: %w", id, err)
			}
			d.all[id] = i
		}
	}
	return gone, nil
}

func (d *inspectors) list() []Inspected {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []Inspected
	for _, id := range slices.Sorted(maps.Keys(d.all)) {
		i := d.all[id]
		if i.unseen {
			continue
		}
		list = append(list, Inspected{Function: id, Handler: i.handler, Kind: i.kind, Address: i.addr})
	}
	return list
}

func (d *inspectors) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range d.all {
		i.close()
	}
}

// inspector is the port of one function.
type inspector struct {
	d       *inspectors
	fn      string
	handler string
	kind    string
	id      string // of the target, as debuggers see it
	addr    string
	unseen  bool         // nobody can say when a debugger is there, so one always may be
	shut    func() error // ends listening
	taking  sync.Mutex   // one process is made at a time; guards laid
	laid    string       // folder of the code that was put where debuggers of Python look

	mu       sync.Mutex // guards what follows
	sessions map[client]struct{}
	changed  chan struct{} // closed and replaced when the first debugger comes or the last one goes
	worker   *worker       // that debuggers see; nil: none runs
	spare    *worker       // the same, while it is not bound to a sandbox
	closed   bool
}

// client is a debugger that is there.
type client interface {
	// attach leads it to a process; what it gives is closed when the process may begin.
	attach(w *worker) <-chan struct{}
	end()
}

var (
	_ client = (*debugSession)(nil)
	_ client = (*dapClient)(nil)
)

// open takes the next free port. A debugger of other languages comes to the process by itself: it may be there at any time.
func (d *inspectors) open(fn *function) (*inspector, error) {
	if fn.Bundle.Kind != bundle.Node && fn.Bundle.Kind != bundle.Python {
		return &inspector{d: d, fn: fn.ID, handler: fn.Handler, kind: fn.Bundle.Kind, unseen: true, sessions: map[client]struct{}{},
			changed: make(chan struct{}), shut: func() error { return nil }}, nil
	}
	var l net.Listener
	var err error
	for port := firstInspectPort; port < firstInspectPort+2000; port++ {
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	i := &inspector{d: d, fn: fn.ID, handler: fn.Handler, kind: fn.Bundle.Kind, id: newID(), addr: l.Addr().String(),
		sessions: map[client]struct{}{}, changed: make(chan struct{}), shut: l.Close}
	if i.kind == bundle.Python {
		go i.accept(l)
		return i, nil
	}
	server := &http.Server{Handler: i, ErrorLog: log.New(io.Discard, "", 0)}
	i.shut = server.Close
	go server.Serve(l)
	return i, nil
}

func (i *inspector) close() {
	i.mu.Lock()
	i.closed = true
	sessions := slices.Collect(maps.Keys(i.sessions))
	spare := i.spare
	i.spare = nil
	i.mu.Unlock()
	i.shut()
	for _, s := range sessions {
		s.end()
	}
	if spare != nil {
		go spare.stop()
	}
}

// attached says whether a debugger is there, and when that changes.
func (i *inspector) attached() (bool, <-chan struct{}) {
	if i == nil {
		return false, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.unseen || len(i.sessions) > 0, i.changed
}

// debugged is attached without its future.
func (i *inspector) debugged() bool {
	is, _ := i.attached()
	return is
}

// devtools are the origins of the pages that Chrome and Edge debug with; no web page can have one of them.
var devtools = map[string]bool{"devtools://devtools": true, "chrome-devtools://devtools": true}

// ServeHTTP answers as Node's inspector does.
func (i *inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !localHost(r.Host):
		http.Error(w, fmt.Sprintf("Host %q is not this machine", r.Host), http.StatusForbidden)
		return
	case fromPage(r) && !devtools[r.Header.Get("Origin")]:
		http.Error(w, "requests of web pages are refused here", http.StatusForbidden)
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case "/json", "/json/list":
		writeJSON(w, []map[string]string{i.describe(r.Host)})
	case "/json/version":
		writeJSON(w, map[string]string{"Browser": fmt.Sprintf("node.js/v%d", i.d.factory.opts.Node.Major), "Protocol-Version": "1.1"})
	case "/json/protocol":
		i.protocol(w, r)
	case "/" + i.id:
		i.serve(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (i *inspector) describe(host string) map[string]string {
	at := host + "/" + i.id
	return map[string]string{
		"description":          "function " + i.fn + " of sst",
		"devtoolsFrontendUrl":  "devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws=" + at,
		"id":                   i.id,
		"title":                i.fn + " (" + i.handler + ")",
		"type":                 "node",
		"url":                  "file://",
		"webSocketDebuggerUrl": "ws://" + at,
	}
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Cache-Control", "no-cache")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.Encode(value)
}

// protocol passes on what the function's Node says that it understands.
func (i *inspector) protocol(w http.ResponseWriter, r *http.Request) {
	from, err := i.some()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(from.inspector, "ws://"), "/")
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+host+"/json/protocol", nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	io.Copy(w, res.Body)
}

// some gives the worker that runs, or starts one.
func (i *inspector) some() (*worker, error) {
	i.mu.Lock()
	w := i.worker
	i.mu.Unlock()
	if w != nil && !w.dead() {
		return w, nil
	}
	i.taking.Lock()
	defer i.taking.Unlock()
	i.mu.Lock()
	w, closed := i.worker, i.closed
	i.mu.Unlock()
	switch {
	case closed:
		return nil, errClosing
	case w != nil && !w.dead():
		return w, nil
	}
	w, err := i.start(i.d.known(i.fn), true)
	if err == nil {
		i.watch(w)
	}
	return w, err
}

// upgrader leaves the check of the origin to ServeHTTP.
var upgrader = websocket.Upgrader{ReadBufferSize: 16 << 10, WriteBufferSize: 64 << 10, CheckOrigin: func(*http.Request) bool { return true }}

// serve attaches a debugger until it leaves.
func (i *inspector) serve(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it was answered
	}
	s := newDebugSession(ws)
	i.join(s)
	s.read()
	i.leave(s)
}

// join leads a debugger to the process that there is, or has one started.
func (i *inspector) join(s client) {
	i.mu.Lock()
	if i.closed {
		i.mu.Unlock()
		s.end()
		return
	}
	_, returned := i.sessions[s]
	i.sessions[s] = struct{}{}
	first := len(i.sessions) == 1 && !returned
	current := i.worker
	if first {
		i.turn()
	}
	i.mu.Unlock()
	if first {
		i.d.emit(Debugging{Function: i.fn, Attached: true})
	}
	if current != nil && !current.dead() {
		s.attach(current)
	} else {
		go i.replenish()
	}
}

// leave forgets a debugger.
func (i *inspector) leave(s client) {
	i.mu.Lock()
	_, there := i.sessions[s]
	delete(i.sessions, s)
	last := there && len(i.sessions) == 0 && !i.closed
	var spare *worker
	if last {
		i.turn()
		spare, i.spare = i.spare, nil
	}
	i.mu.Unlock()
	if spare != nil {
		go spare.stop()
	}
	if last {
		i.d.emit(Debugging{Function: i.fn, Attached: false})
	}
}

// turn tells those who count time that a debugger came or that there is none any more; mu is held.
func (i *inspector) turn() {
	close(i.changed)
	i.changed = make(chan struct{})
}

// replenish gives debuggers a process while no invocation has needed one: in it they can set breakpoints in code that is
// not loaded yet.
func (i *inspector) replenish() {
	if !i.debugged() {
		return
	}
	if _, err := i.some(); err != nil && !errors.Is(err, errClosing) && i.debugged() {
		i.d.emit(Notice{Text: fmt.Sprintf("%s: there is no process to debug: %v", i.fn, err)})
	}
}

// process gives a Node process that waits to be bound and that all debuggers are attached to.
func (i *inspector) process(env map[string]string) (*worker, error) {
	i.taking.Lock()
	defer i.taking.Unlock()
	i.mu.Lock()
	w := i.spare
	i.spare = nil
	i.mu.Unlock()
	if w != nil && !w.dead() && (i.kind == bundle.Python || !bindsAtStart(w.env, env)) {
		w.env = nil
		return w, nil
	}
	if w != nil {
		go w.stop()
	}
	w, err := i.start(env, false)
	if err == nil {
		i.watch(w)
	}
	return w, err
}

// start starts a process and attaches every debugger to it; taking is held.
func (i *inspector) start(env map[string]string, spare bool) (*worker, error) {
	var w *worker
	var err error
	if i.kind == bundle.Python {
		if spare {
			built, release, err := i.d.code(i.fn)
			if err != nil {
				return nil, err
			}
			defer release()
			if !built.failed { // what is wrong was said
				if err := i.lay(built); err != nil {
					return nil, err
				}
			}
		}
		w, err = i.d.factory.startPythonDebug(env)
	} else {
		w, err = i.d.factory.startNode(environList(env), []string{"--inspect-publish-uid=http"}, "inspect")
	}
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(inspectStart)
	defer late.Stop()
	select {
	case w.inspector = <-w.api.inspector:
	case <-w.exited:
		return nil, fmt.Errorf("it ended before its debugger listened (%s)", w.how)
	case <-late.C:
		w.stop()
		return nil, fmt.Errorf("its debugger did not listen within %v", inspectStart)
	}
	i.mu.Lock()
	i.worker = w
	if spare {
		w.env = env // what it started with
		i.spare = w
	}
	sessions := slices.Collect(maps.Keys(i.sessions))
	i.mu.Unlock()
	var attaching []<-chan struct{}
	for _, s := range sessions {
		attaching = append(attaching, s.attach(w))
	}
	for _, ready := range attaching {
		select {
		case <-ready:
		case <-late.C:
		}
	}
	return w, nil
}

// watch has another process made when this one ends while a debugger is there.
func (i *inspector) watch(w *worker) {
	go func() {
		<-w.exited
		i.mu.Lock()
		current := i.worker == w
		if current {
			i.worker = nil
		}
		unbound := i.spare == w
		if unbound {
			i.spare = nil
		}
		i.mu.Unlock()
		if !current {
			return
		}
		if unbound { // it did not end because of an invocation: not again and again
			time.Sleep(inspectAgain)
		}
		i.replenish()
	}()
}

// countdown is time that runs down, but not while a debugger is attached.
type countdown struct {
	done    chan struct{} // closed when it is over
	stopped bool          // a debugger was there when it began
	quit    func()
}

func (c *countdown) stop() { c.quit() }

// countdown begins to count; moved is told, with what is left, when a debugger stops the clock and when it goes on.
func (i *inspector) countdown(d time.Duration, moved func(left time.Duration, stopped bool)) *countdown {
	c := &countdown{done: make(chan struct{})}
	if i == nil {
		t := time.AfterFunc(d, func() { close(c.done) })
		c.quit = func() { t.Stop() }
		return c
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.quit = cancel
	stopped, changed := i.attached()
	c.stopped = stopped
	go func() {
		for left := d; ; {
			began := time.Now()
			over := time.NewTimer(left)
			if stopped {
				over.Stop()
			}
			select {
			case <-over.C:
				close(c.done)
				return
			case <-changed:
				over.Stop()
			case <-ctx.Done():
				over.Stop()
				return
			}
			if !stopped {
				left = max(left-time.Since(began), 0)
			}
			was := stopped
			if stopped, changed = i.attached(); was != stopped && moved != nil {
				moved(left, stopped)
			}
		}
	}()
	return c
}

// within is context.WithTimeout whose time a debugger stops.
func (i *inspector) within(ctx context.Context, d time.Duration) (context.Context, func()) {
	if i == nil {
		return context.WithTimeout(ctx, d)
	}
	ctx, cancel := context.WithCancel(ctx)
	c := i.countdown(d, nil)
	go func() {
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { c.stop(); cancel() }
}

// deadline counts the time of an invocation that its worker is about to get. Lambda's own clock cannot be stopped; that
// it is nearly over is said then.
func (r *runner) deadline(s *seat, w *worker, inv *proxy.Invocation, d *delivery, left time.Duration) *countdown {
	if !r.live || s.debug == nil {
		c := s.debug.countdown(left, func(left time.Duration, stopped bool) { w.api.clock(d, left, stopped) })
		switch {
		case c.stopped && s.debug.kind == bundle.Node:
			d.header["Sst-Left-Ms"] = []string{strconv.FormatInt(left.Milliseconds(), 10)}
		case c.stopped: // a client of the Runtime API knows of no other clock
			d.header["Lambda-Runtime-Deadline-Ms"] = []string{deadlineHeader(time.Now().Add(debuggedTime))}
		}
		return c
	}
	early := min(left/2, lambdaNear)
	near := time.AfterFunc(left-early, func() {
		if s.debug.debugged() {
			r.emit(Notice{Text: fmt.Sprintf("%s: Lambda gives this invocation up in %v, debugger or not; its caller then gets %s. A longer timeout in stacks.star leaves more time.",
				inv.Function, early.Round(100*time.Millisecond), givenUp(inv.Event))})
		}
	})
	c := (*inspector)(nil).countdown(left, nil)
	quit := c.quit
	c.quit = func() { near.Stop(); quit() }
	return c
}

// lambdaNear is how long before Lambda gives up that is said.
const lambdaNear = 5 * time.Second

// givenUp is what the stub answers just before the deadline.
func givenUp(event []byte) string {
	if requested(event) {
		return "503"
	}
	return "the error " + proxy.ErrorDeadlineNear
}

// linger lets somebody who debugs an invocation that Lambda has given up see it to its end.
func (r *runner) linger(s *seat, w *worker, inv *proxy.Invocation, d *delivery, timeout time.Duration) answer {
	r.emit(Notice{Text: fmt.Sprintf("%s: Lambda has given this invocation up after its timeout of %v; its caller got %s. It goes on here as long as the debugger stays, and its answer goes nowhere.",
		inv.Function, timeout, givenUp(inv.Event))})
	for {
		debugged, changed := s.debug.attached()
		if !debugged {
			s.worker = nil
			go w.stop()
			return timedOut(inv.RequestID, timeout)
		}
		select {
		case got := <-d.answered:
			if got.stream != nil {
				got.stream.close(true)
			}
			return errorAnswer(proxy.ErrorDeadlineNear, fmt.Sprintf("the code has answered, but Lambda had given up after the function's timeout of %v", timeout), nil)
		case <-w.exited:
			s.worker = nil
			return exited(inv.RequestID, w.how)
		case <-changed:
		}
	}
}
