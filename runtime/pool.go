package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sst/proxy"
)

const (
	// maxQueue bounds the invocations that wait for a sandbox.
	maxQueue = 1000
	// patience is how long an invocation waits for a busy sandbox before another is made. A short function is done
	// sooner than another process has started, and a process that runs hot answers several times as fast as a cold one.
	patience = 20 * time.Millisecond
	// A sandbox counts as starting until it runs its first invocation, at most startTime. More than maxStarting of a
	// function at once would only take the processor from each other.
	startTime   = 250 * time.Millisecond
	maxStarting = 2
	// surplusTime is how long a sandbox lives without an invocation that is not the only idle one of its function.
	surplusTime = time.Minute
)

var errBusy = errors.New("too many invocations are waiting")

// sandbox is the function's end of one execution environment: it runs one invocation at a time and keeps its worker, and
// so the function's state, from one to the next.
type sandbox struct {
	id   string
	fn   *function
	wire *proxy.Sandbox
	used time.Time

	starting bool // guarded by pool.mu
}

// pool owns the sandboxes of a local run. One is made when all of a function's are busy, as Lambda does, within bounds
// on processes; beyond them invocations wait in order.
type pool struct {
	max, perFunction int
	alone            func(id string) bool // a function that has one sandbox only; nil: none
	open             func(fn *function) (*sandbox, error)
	close            func(*sandbox)             // in a goroutine of its own
	warm             func(*sandbox, *code) bool // its worker may run what wants that code; nil: all may

	mu      sync.Mutex // guards what follows
	idle    map[string][]*sandbox
	busy    map[*sandbox]struct{}
	count   map[string]int // by function, idle and busy
	begun   map[string]int // of those, starting
	total   int
	waiting []*waiter
	closing sync.WaitGroup
	ended   bool
}

type waiter struct {
	fn    *function
	need  *code      // at least; nil: any
	eager bool       // waited long enough for a busy sandbox
	got   chan grant // buffered
}

type grant struct {
	sandbox *sandbox
	err     error
}

func newPool(max, perFunction int) *pool {
	return &pool{max: max, perFunction: perFunction, idle: map[string][]*sandbox{},
		busy: map[*sandbox]struct{}{}, count: map[string]int{}, begun: map[string]int{}}
}

// acquire gives a sandbox of the function for one invocation, that wants to be run by need or what is newer.
func (p *pool) acquire(ctx context.Context, fn *function, need *code) (*sandbox, error) {
	p.mu.Lock()
	if sb, err := p.try(fn, need, false); sb != nil || err != nil {
		p.mu.Unlock()
		return sb, err
	}
	if len(p.waiting) >= maxQueue {
		p.mu.Unlock()
		return nil, errBusy
	}
	w := &waiter{fn: fn, need: need, got: make(chan grant, 1)}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	hurry := time.NewTimer(patience)
	defer hurry.Stop()
	for {
		select {
		case g := <-w.got:
			return g.sandbox, g.err
		case <-hurry.C:
			p.mu.Lock()
			w.eager = true
			p.serve()
			p.mu.Unlock()
			continue
		case <-ctx.Done():
		}
		break
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	select {
	case g := <-w.got:
		if g.sandbox != nil {
			p.release(g.sandbox)
		}
	default:
	}
	return nil, context.Cause(ctx)
}

// serve gives the first in line that can have one a sandbox; mu is held.
func (p *pool) serve() {
	for i, w := range p.waiting {
		if got, err := p.try(w.fn, w.need, w.eager); got != nil || err != nil {
			p.waiting = slices.Delete(p.waiting, i, i+1)
			w.got <- grant{got, err}
			return
		}
	}
}

// started says that a sandbox runs its first invocation, or has had its time to come that far. It may be free in a moment, so
// that none of those who wait needs another.
func (p *pool) started(sb *sandbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settle(sb) {
		time.AfterFunc(patience, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.serve()
		})
	}
}

// settle ends the counting of a sandbox as starting; mu is held.
func (p *pool) settle(sb *sandbox) bool {
	if !sb.starting {
		return false
	}
	sb.starting = false
	if p.begun[sb.fn.ID]--; p.begun[sb.fn.ID] == 0 {
		delete(p.begun, sb.fn.ID)
	}
	return true
}

// try gives an idle sandbox or makes one; nil means that there is no room, or that waiting is better as long as the
// caller is not eager. mu is held.
func (p *pool) try(fn *function, need *code, eager bool) (*sandbox, error) {
	if p.ended {
		return nil, errClosing
	}
	idle := slices.DeleteFunc(p.idle[fn.ID], func(sb *sandbox) bool {
		if sb.fn.same(fn) {
			return false
		}
		p.discard(sb)
		return true
	})
	p.idle[fn.ID] = idle
	// After a change each sandbox has a process to start. To wait for one that does is sooner than to start them all.
	at := len(idle) - 1
	for p.warm != nil && need != nil && at >= 0 && !p.warm(idle[at], need) {
		at--
	}
	cold := at < 0
	switch begun := p.begun[fn.ID]; {
	case !cold || p.count[fn.ID] == 0:
	case len(idle) > 0 && (begun > 0 || !eager && p.count[fn.ID] > len(idle)):
		return nil, nil
	case len(idle) == 0 && (!eager || begun >= maxStarting):
		return nil, nil
	}
	if len(idle) > 0 {
		if cold {
			at = len(idle) - 1
		}
		sb := idle[at]
		p.idle[fn.ID] = slices.Delete(idle, at, at+1)
		p.busy[sb] = struct{}{}
		if cold {
			p.start(sb)
		}
		return sb, nil
	}
	most := p.perFunction
	if p.alone != nil && p.alone(fn.ID) {
		most = 1
	}
	if p.count[fn.ID] >= most || p.total >= p.max && !p.evict() {
		return nil, nil
	}
	sb, err := p.open(fn)
	if err != nil {
		return nil, fmt.Errorf("open a sandbox of %s: %w", fn.ID, err)
	}
	p.total++
	p.count[fn.ID]++
	p.busy[sb] = struct{}{}
	p.start(sb)
	return sb, nil
}

// start counts a sandbox as starting; mu is held.
func (p *pool) start(sb *sandbox) {
	sb.starting = true
	p.begun[sb.fn.ID]++
	time.AfterFunc(startTime, func() { p.started(sb) })
}

// evict ends the sandbox that was idle longest. mu is held.
func (p *pool) evict() bool {
	var oldest *sandbox
	for _, idle := range p.idle {
		if len(idle) > 0 && (oldest == nil || idle[0].used.Before(oldest.used)) {
			oldest = idle[0]
		}
	}
	if oldest == nil {
		return false
	}
	p.idle[oldest.fn.ID] = p.idle[oldest.fn.ID][1:]
	p.discard(oldest)
	return true
}

// discard ends a sandbox that is neither idle nor busy any more. mu is held.
func (p *pool) discard(sb *sandbox) {
	p.total--
	p.settle(sb)
	if p.count[sb.fn.ID]--; p.count[sb.fn.ID] == 0 {
		delete(p.count, sb.fn.ID)
	}
	p.closing.Add(1)
	go func() {
		defer p.closing.Done()
		p.close(sb)
	}()
}

// release gives a sandbox back after its invocation and lets the next in line have what became free.
func (p *pool) release(sb *sandbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, sb)
	sb.used = time.Now()
	if p.ended {
		p.discard(sb)
		return
	}
	p.settle(sb)
	p.idle[sb.fn.ID] = append(p.idle[sb.fn.ID], sb)
	p.serve()
}

// reap ends what has been idle for that long (all but one of a function, surplusTime), and what stale says is of another
// app than the present one.
func (p *pool) reap(idleFor time.Duration, stale func(*function) bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, idle := range p.idle {
		var keep []*sandbox
		for i, sb := range idle { // the one used last is the last
			limit := idleFor
			if i < len(idle)-1 {
				limit = min(limit, surplusTime)
			}
			if now.Sub(sb.used) > limit || stale(sb.fn) {
				p.discard(sb)
			} else {
				keep = append(keep, sb)
			}
		}
		if p.idle[id] = keep; keep == nil {
			delete(p.idle, id)
		}
	}
}

// end closes all sandboxes, the busy ones too, and waits.
func (p *pool) end() {
	p.mu.Lock()
	p.ended = true
	for _, w := range p.waiting {
		w.got <- grant{err: errClosing}
	}
	p.waiting = nil
	for id, idle := range p.idle {
		for _, sb := range idle {
			p.discard(sb)
		}
		delete(p.idle, id)
	}
	p.mu.Unlock()
	p.closing.Wait()
}
