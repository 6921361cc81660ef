package runtime

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"sst/proxy"
)

// initTime is what Lambda gives a runtime to start before it counts the function's own time.
const initTime = 10 * time.Second

// idleTime is how long a worker without an invocation lives.
const idleTime = 5 * time.Minute

// call is one invocation under way, from its front to its worker.
type call struct {
	id       string
	function string
	trigger  string
	tail     func(line []byte) // nil: nobody wants the log's tail
	need     *code             // what was there when it came, which it wants to be run by, or by what is newer; nil: what is there when its turn comes

	mu        sync.Mutex // guards what follows
	running   time.Duration
	cold      bool
	delivered func() // called when a worker that was started for it has the event; nil: nobody waits for that
}

// runner is the developer's end: it runs invocations in workers, one worker a sandbox.
type runner struct {
	factory *factory
	codes   *codes
	lookup  func(id string) (*function, bool)
	calls   *sync.Map // request id -> *call, for what a front knows about an invocation
	emit    func(Event)
	secrets func(context.Context, map[string]string) (map[string]string, error) // completes an environment; nil: leaves it
	debug   *inspectors

	live bool // the sandboxes are in AWS
	max  int  // workers at once; 0: as many as there are sandboxes

	mu      sync.Mutex // guards what follows
	seats   map[string]*seat
	workers int           // that run or are about to
	freed   chan struct{} // closed when a worker is gone

	refreshed map[string]time.Time // by key of a bundle: the last time
}

// seat is the place of one sandbox. Its worker is replaced when the code changed, when it died and when it ran out of time.
type seat struct {
	turn   chan struct{} // holds a token; who has it uses the worker
	worker *worker
	debug  *inspector // of the function, when it is inspected
	used   time.Time  // guarded by runner.mu
}

// inspectedSeat is the id of the one seat of an inspected function, whatever the sandbox.
func inspectedSeat(function string) string { return "inspected " + function }

var _ proxy.Handler = (*runner)(nil)

func newRunner(f *factory, c *codes, calls *sync.Map, lookup func(string) (*function, bool), emit func(Event)) *runner {
	return &runner{factory: f, codes: c, calls: calls, lookup: lookup, emit: emit, seats: map[string]*seat{}, freed: make(chan struct{}), refreshed: map[string]time.Time{}}
}

func (r *runner) seat(inv *proxy.Invocation) *seat {
	id, debug := inv.Sandbox, r.debug.of(inv.Function)
	if debug != nil {
		id = inspectedSeat(inv.Function)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seats[id]
	if s == nil {
		s = &seat{turn: make(chan struct{}, 1), debug: debug}
		r.seats[id] = s
	}
	s.used = time.Now()
	return s
}

// warm says whether a sandbox that is not at work has a worker that may run what wants that code.
func (r *runner) warm(id string, need *code) bool {
	r.mu.Lock()
	s := r.seats[id]
	r.mu.Unlock()
	if s == nil {
		return false
	}
	select {
	case s.turn <- struct{}{}:
	default:
		return false // refresh is at it: most likely it ends a worker
	}
	defer func() { <-s.turn }()
	return s.worker != nil && !s.worker.dead() && s.worker.code.serves(need)
}

// drop ends the worker of a sandbox that is gone.
func (r *runner) drop(id string) {
	r.mu.Lock()
	s := r.seats[id]
	delete(r.seats, id)
	r.mu.Unlock()
	if s == nil {
		return
	}
	s.turn <- struct{}{}
	if w := s.worker; w != nil {
		s.worker = nil
		w.stop()
	}
	<-s.turn
}

// outdatedTime is how long a worker with old code is kept for those who came before there was other code.
const outdatedTime = 100 * time.Millisecond

// retire ends a worker that is not at work if its code is still the old one.
func (r *runner) retire(s *seat, w *worker) {
	select {
	case s.turn <- struct{}{}:
	default:
		return // it is looked at again after what it does now
	}
	if s.worker == w && r.codes.outdated(w.code) {
		s.worker = nil
		go w.stop()
	}
	<-s.turn
}

// hurry is how soon after a build another one counts as one of a series: somebody, or something, saves again and again.
const hurry = 150 * time.Millisecond

// refresh replaces idle workers that run other code of the same bundle. The one used last is started again at once, since the
// next request most likely comes to it; in a series of builds, once that is over.
func (r *runner) refresh(built *code) {
	if !r.codes.retainCurrent(built) { // the next build is done already
		return
	}
	defer r.codes.release(built)
	r.mu.Lock()
	seats := slices.SortedFunc(maps.Values(r.seats), func(a, b *seat) int { return b.used.Compare(a.used) })
	r.mu.Unlock()
	var idle []*seat
	for _, s := range seats {
		select {
		case s.turn <- struct{}{}:
		default:
			continue // it looks at its code before its next invocation
		}
		if w := s.worker; w != nil && w.code.key == built.key && !w.code.same(built) {
			idle = append(idle, s)
		} else {
			<-s.turn
		}
	}
	now := time.Now()
	r.mu.Lock()
	hurried := now.Sub(r.refreshed[built.key]) < hurry
	r.refreshed[built.key] = now
	r.mu.Unlock()
	for i, s := range idle {
		old := s.worker
		s.worker = nil
		go old.stop()
		switch {
		case i > 0 || s.debug.debugged(): // a debugger gets a process that has loaded nothing yet instead: no breakpoint is met before a request comes
		case hurried: // what is started now would be of the past before it runs
			time.AfterFunc(hurry, func() { r.ahead(s, built, old.env) })
		default:
			r.fill(s, built, old.env)
		}
		<-s.turn
	}
}

// ahead starts the worker of an idle seat that has none, if its code is still the newest.
func (r *runner) ahead(s *seat, built *code, env map[string]string) {
	if !r.codes.retainCurrent(built) {
		return
	}
	defer r.codes.release(built)
	select {
	case s.turn <- struct{}{}:
	default:
		return
	}
	defer func() { <-s.turn }()
	r.mu.Lock()
	there := slices.Contains(slices.Collect(maps.Values(r.seats)), s)
	r.mu.Unlock()
	if there && s.worker == nil && !s.debug.debugged() {
		r.fill(s, built, env)
	}
}

// fill starts a worker in a seat whose turn the caller has.
func (r *runner) fill(s *seat, built *code, env map[string]string) {
	r.mu.Lock()
	r.workers++
	r.mu.Unlock()
	if w, err := r.open(built, env, s.debug); err == nil {
		s.worker = w
	}
}

// Invoke runs one invocation and answers it.
func (r *runner) Invoke(ctx context.Context, inv *proxy.Invocation) {
	c := &call{id: inv.RequestID, function: inv.Function}
	began := time.Now()
	if r.live {
		c.trigger = describe(inv.Event)
	} else if known, ok := r.calls.Load(inv.RequestID); ok {
		c = known.(*call)
	}
	if inv.Header.Tail {
		c.tail = inv.Log
	}
	got := r.run(ctx, inv, c)
	if len(got.body) > maxPayload {
		got = tooLarge()
	}
	if r.live {
		defer r.report(c, inv, got, began)
	}
	if got.passed {
		return
	}
	if got.errorType != "" {
		inv.Error(got.errorType, got.body)
	} else {
		inv.Respond(got.body)
	}
}

func (r *runner) run(ctx context.Context, inv *proxy.Invocation, c *call) answer {
	fn, ok := r.lookup(inv.Function)
	if !ok {
		return errorAnswer(errorStart, fmt.Sprintf("there is no function %q in the app", inv.Function), nil)
	}
	s := r.seat(inv)
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return canceled(ctx, inv.RequestID)
	}
	defer func() {
		if w := s.worker; w != nil && r.codes.outdated(w.code) {
			time.AfterFunc(outdatedTime, func() { r.retire(s, w) })
		}
		<-s.turn
	}()

	var built *code
	var err error
	if w := s.worker; c.need != nil && !c.need.failed && w != nil && w.code.serves(c.need) {
		built = w.code
		r.codes.retain(built)
	} else if built, err = r.codes.get(ctx, fn.key); err != nil {
		return errorAnswer(errorBuild, err.Error(), nil)
	}
	defer r.codes.release(built)
	if built.failed {
		return buildError(built.messages)
	}
	env := inv.Env
	if r.live {
		env = liveEnv(fn, env)
	}
	if r.secrets != nil {
		if env, err = r.secrets(ctx, env); err != nil {
			return errorAnswer(errorSecrets, err.Error(), nil)
		}
	}
	timeout := time.Duration(fn.Timeout) * time.Second
	if inv.Init != nil && inv.Init.Timeout > 0 {
		timeout = time.Duration(inv.Init.Timeout) * time.Second
	}
	if timeout <= 0 {
		timeout = 3 * time.Second
	}
	for {
		fresh := false
		w := s.worker
		if w != nil && (w.dead() || !w.code.same(built) || !maps.Equal(w.env, env)) {
			s.worker = nil
			go w.stop()
			w = nil
		}
		if w == nil {
			fresh = true
			if !r.makeRoom(ctx) {
				return canceled(ctx, inv.RequestID)
			}
			if w, err = r.open(built, env, s.debug); err != nil {
				return errorAnswer(errorStart, err.Error(), nil)
			}
			s.worker = w
		}
		// Lambda gives a start 10 seconds; a worker that still works after its last answer has the function's time.
		starting := ctx
		if r.live && s.debug.debugged() { // who steps through what is loaded at the start goes on after Lambda has given up
			starting = context.WithoutCancel(ctx)
		}
		waiting, cancel := s.debug.within(starting, initTime+timeout)
		ready := w.api.settled(waiting)
		cancel()
		if ready && ctx.Err() != nil {
			return canceled(ctx, inv.RequestID)
		}
		if ready {
			c.mu.Lock()
			c.cold = c.cold || fresh
			delivered := c.delivered
			c.mu.Unlock()
			if fresh && delivered != nil {
				delivered()
			}
			return r.deliver(ctx, s, w, inv, c, timeout, fresh)
		}
		s.worker = nil
		failure, failed := w.api.initError()
		gone := w.dead()
		go w.stop()
		switch {
		case ctx.Err() != nil:
			return canceled(ctx, inv.RequestID)
		case failed:
			return failure
		case gone && !fresh:
			continue // it went between two invocations
		case gone:
			return exited(inv.RequestID, w.how)
		case !fresh:
			continue // it never came back from work after its last answer
		default:
			return timedOut(inv.RequestID, initTime+timeout)
		}
	}
}

func canceled(ctx context.Context, id string) answer {
	return platformError(errorExit, id, "the invocation was canceled: %v", context.Cause(ctx))
}

// open starts a worker that holds its code until it is gone.
func (r *runner) open(built *code, env map[string]string, debug *inspector) (*worker, error) {
	w, err := r.factory.open(built, env, debug)
	if err != nil {
		r.left()
		return nil, err
	}
	w.env = env
	r.codes.retain(built)
	go func() {
		<-w.exited
		r.left()
		r.codes.release(built)
	}()
	return w, nil
}

// deliver hands the event to a worker that waits for one, and waits for what comes of it.
func (r *runner) deliver(ctx context.Context, s *seat, w *worker, inv *proxy.Invocation, c *call, timeout time.Duration, cold bool) answer {
	began := time.Now()
	deadline := began.Add(timeout)
	if !inv.Deadline.IsZero() && inv.Deadline.Before(deadline) {
		deadline = inv.Deadline
	}
	d := &delivery{id: inv.RequestID, event: inv.Event, header: nextHeader(inv, deadline), answered: make(chan answer, 1)}
	over := r.deadline(s, w, inv, d, time.Until(deadline))
	defer over.stop()
	w.output.attribute(c)
	r.emit(Invoked{RequestID: c.id, Function: inv.Function, Trigger: c.trigger, Cold: cold, Time: began})
	w.api.deliver(d)
	defer func() {
		c.mu.Lock()
		c.running = time.Since(began)
		c.mu.Unlock()
	}()
	select {
	case got := <-d.answered:
		if got.stream != nil {
			r.pass(ctx, s, w, inv, got, over, timeout)
			return answer{passed: true}
		}
		return got
	case <-w.exited:
		s.worker = nil
		// An answer that it wrote before it went may still be on its way through the loopback.
		grace := time.NewTimer(10 * time.Millisecond)
		defer grace.Stop()
		select {
		case got := <-d.answered:
			return got
		case <-grace.C:
		}
		return exited(inv.RequestID, w.how)
	case <-over.done:
		if r.live && s.debug.debugged() {
			return r.linger(s, w, inv, d, timeout)
		}
		s.worker = nil
		w.output.flush()
		go w.stop()
		return timedOut(inv.RequestID, timeout)
	case <-ctx.Done():
		if r.live && s.debug.debugged() && context.Cause(ctx) != proxy.ErrClosed {
			return r.linger(s, w, inv, d, timeout)
		}
		s.worker = nil
		go w.stop()
		return canceled(ctx, inv.RequestID)
	}
}

// nextHeader is the header of the answer to next. What is empty is left out: user code sees the difference.
func nextHeader(inv *proxy.Invocation, deadline time.Time) http.Header {
	contentType := inv.Header.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	h := http.Header{
		"Content-Type":                  {contentType},
		"Lambda-Runtime-Aws-Request-Id": {inv.RequestID},
		"Lambda-Runtime-Deadline-Ms":    {deadlineHeader(deadline)},
	}
	for name, value := range map[string]string{
		"Lambda-Runtime-Invoked-Function-Arn": inv.Header.InvokedFunctionArn,
		"Lambda-Runtime-Trace-Id":             inv.Header.TraceID,
		"Lambda-Runtime-Client-Context":       inv.Header.ClientContext,
		"Lambda-Runtime-Cognito-Identity":     inv.Header.CognitoIdentity,
		"Lambda-Runtime-Aws-Tenant-Id":        inv.Header.TenantID,
	} {
		if value != "" {
			h[name] = []string{value}
		}
	}
	return h
}
