package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sst/proxy"
)

// maxQueue bounds the invocations that wait for a sandbox.
const maxQueue = 1000

var errBusy = errors.New("too many invocations are waiting")

// sandbox is the function's end of one execution environment: it runs one invocation at a time and keeps its worker, and
// so the function's state, from one to the next.
type sandbox struct {
	id   string
	fn   *function
	wire *proxy.Sandbox
	used time.Time
}

// pool owns the sandboxes of a local run. One is made when all of a function's are busy, as Lambda does, within bounds
// on processes; beyond them invocations wait in order.
type pool struct {
	max, perFunction int
	open             func(fn *function) (*sandbox, error)
	close            func(*sandbox) // in a goroutine of its own

	mu      sync.Mutex // guards what follows
	idle    map[string][]*sandbox
	busy    map[*sandbox]struct{}
	count   map[string]int // by function, idle and busy
	total   int
	waiting []*waiter
	closing sync.WaitGroup
	ended   bool
}

type waiter struct {
	fn  *function
	got chan grant // buffered
}

type grant struct {
	sandbox *sandbox
	err     error
}

func newPool(max, perFunction int) *pool {
	return &pool{max: max, perFunction: perFunction, idle: map[string][]*sandbox{},
		busy: map[*sandbox]struct{}{}, count: map[string]int{}}
}

// acquire gives a sandbox of the function for one invocation.
func (p *pool) acquire(ctx context.Context, fn *function) (*sandbox, error) {
	p.mu.Lock()
	if sb, err := p.try(fn); sb != nil || err != nil {
		p.mu.Unlock()
		return sb, err
	}
	if len(p.waiting) >= maxQueue {
		p.mu.Unlock()
		return nil, errBusy
	}
	w := &waiter{fn: fn, got: make(chan grant, 1)}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	select {
	case g := <-w.got:
		return g.sandbox, g.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	for i, other := range p.waiting {
		if other == w {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			break
		}
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

// try gives an idle sandbox or makes one; nil means there is no room. mu is held.
func (p *pool) try(fn *function) (*sandbox, error) {
	if p.ended {
		return nil, errClosing
	}
	for idle := p.idle[fn.ID]; len(idle) > 0; idle = p.idle[fn.ID] {
		sb := idle[len(idle)-1]
		p.idle[fn.ID] = idle[:len(idle)-1]
		if sb.fn.same(fn) {
			p.busy[sb] = struct{}{}
			return sb, nil
		}
		p.discard(sb)
	}
	if p.count[fn.ID] >= p.perFunction || p.total >= p.max && !p.evict() {
		return nil, nil
	}
	sb, err := p.open(fn)
	if err != nil {
		return nil, fmt.Errorf("open a sandbox of %s: %w", fn.ID, err)
	}
	p.total++
	p.count[fn.ID]++
	p.busy[sb] = struct{}{}
	return sb, nil
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
	p.idle[sb.fn.ID] = append(p.idle[sb.fn.ID], sb)
	for i, w := range p.waiting {
		got, err := p.try(w.fn)
		if got == nil && err == nil {
			continue
		}
		p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
		w.got <- grant{got, err}
		return
	}
}

// reap ends what has been idle since before the time given, and what stale says is of another app than the present one.
func (p *pool) reap(before time.Time, stale func(*function) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, idle := range p.idle {
		var keep []*sandbox
		for _, sb := range idle {
			if sb.used.Before(before) || stale(sb.fn) {
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
