package interp

// What ends an evaluation that would not end by itself: steps, time, memory, cancel.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/metrics"
	"strings"
	"sync"
	"time"

	"go.starlark.net/starlark"

	"sst/starlark/diag"
)

var (
	errTimeLimit   = errors.New("time limit")
	errStepLimit   = errors.New("step limit")
	errMemoryLimit = errors.New("memory limit")
)

// maxRange is how long a range may be. A loop over a longer one meets the step
// limit anyway; list(range(n)) is one step of the interpreter, which nothing
// can interrupt while it fills the memory.
const maxRange = 10_000_000

// memoryInterval is how often the memory of an evaluation is looked at.
const memoryInterval = 50 * time.Millisecond

// abandonAfter is how long a cancelled evaluation may take to notice. Only an
// operation that the interpreter cannot interrupt, such as multiplying huge
// integers, takes longer.
const abandonAfter = 200 * time.Millisecond

// run is one evaluation: a thread with its context and limits.
type run struct {
	in     *Interp
	ctx    context.Context
	thread *starlark.Thread

	// Owned by the evaluating goroutine.
	last    time.Time // of the last pulse that looked at the clock
	close   int       // so many steps are still watched one by one
	overrun bool      // the step limit was reached

	mu   sync.Mutex
	site site // where the thread was when it was last looked at
}

// site is a place in the user's files with the calls above and below it.
type site struct {
	user    diag.Position
	frames  []diag.Frame
	callers []diag.Frame
}

func newRun(in *Interp, ctx context.Context, name string) *run {
	r := &run{in: in, ctx: ctx}
	r.thread = r.newThread(name)
	return r
}

const (
	closeSteps  = 5_000                  // so many steps at the start are watched one by one
	pulseSteps  = 8                      // later the thread is looked at this often
	slowPulse   = 500 * time.Microsecond // a pulse that took longer makes the watch close again,
	closePulses = 2_000                  // for so many steps
)

// pulse is called by the interpreter on its own goroutine. It notes where the
// thread is, so that the place is known when the goroutine must be abandoned:
// its frames cannot be read from another one. Watching each step costs more
// than the step, so it is done at the start and whenever steps become slow.
func (r *run) pulse(thread *starlark.Thread) {
	if thread.Steps >= r.in.opts.MaxSteps {
		r.overrun = true
		thread.Cancel(errStepLimit.Error())
		thread.SetMaxExecutionSteps(1 << 63)
		return
	}
	r.note(thread)
	interval := uint64(1)
	if thread.Steps > closeSteps {
		now := time.Now()
		if now.Sub(r.last) > slowPulse {
			r.close = closePulses
		}
		r.last = now
		if r.close > 0 {
			r.close--
		} else {
			interval = pulseSteps
		}
	}
	thread.SetMaxExecutionSteps(min(thread.Steps+interval, r.in.opts.MaxSteps))
}

// note stores the place of the thread.
func (r *run) note(thread *starlark.Thread) {
	var at diag.Position
	for depth := range thread.CallStackDepth() {
		frame := thread.DebugFrame(depth)
		if fn, ok := frame.Callable().(*starlark.Function); ok && !userFile(fn.Position().Filename()) {
			continue // where in it does not matter, and takes time to find
		}
		pos := frame.Position()
		if file := pos.Filename(); userFile(file) {
			at = position(file, pos)
			break
		}
	}
	r.mu.Lock()
	r.site.user = at
	r.mu.Unlock()
}

func (r *run) seen() site {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.site
}

// stop is the diagnostic for an evaluation that ended before its time.
func (r *run) stop(cause error, at site) *diag.Diagnostic {
	d := &diag.Diagnostic{Span: diag.Point(at.user), Frames: at.frames, Callers: at.callers}
	switch {
	case errors.Is(cause, errTimeLimit):
		d.Code, d.Summary = "time-limit", "Evaluation takes too long"
		d.Detail = fmt.Sprintf("It was stopped here after %v.", r.in.opts.Timeout)
	case errors.Is(cause, errMemoryLimit):
		d.Code, d.Summary = "memory-limit", "Evaluation takes too much memory"
		d.Detail = fmt.Sprintf("It was stopped here when the process had grown by %d MB.", r.in.opts.MaxMemory>>20)
	case errors.Is(cause, errStepLimit):
		d.Code, d.Summary = "step-limit", "Evaluation takes too many steps"
		d.Detail = fmt.Sprintf("It was stopped here after %d steps.", r.in.opts.MaxSteps)
	default:
		d.Code, d.Summary = "cancelled", "Evaluation was cancelled"
		if cause != nil && !errors.Is(cause, context.Canceled) {
			d.Detail = sentence(cause.Error())
		}
	}
	return d
}

// crashed is the error for a panic in the interpreter or a builtin.
func (r *run) crashed(v any, stack []byte) error {
	d := &diag.Diagnostic{Code: "internal", Summary: "Internal error", Detail: sentence(fmt.Sprint(v)), Hint: "This is a fault of sst."}
	if at := r.seen().user; at.IsValid() {
		d.Span = diag.Point(at)
	}
	for line := range strings.Lines(string(stack)) {
		if strings.HasPrefix(line, "\t") {
			d.Frames = append(d.Frames, diag.Frame{Name: strings.TrimSpace(line)})
		}
	}
	return diag.List{d}
}

// cause is why the evaluation was stopped, nil when it ended by itself.
func (r *run) cause() error {
	if r.overrun {
		return errStepLimit
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return nil
}

// place is where the evaluation was when it ended with err.
func (r *run) place(err error) site {
	if eval := innermost(err); eval != nil {
		return siteOf(eval.CallStack)
	}
	return r.seen()
}

// watchMemory cancels the evaluation when the process has grown by limit bytes
// since it began. It ends with ctx. Others in the process may allocate as well,
// so the limit is far above what an evaluation needs.
func watchMemory(ctx context.Context, limit uint64, cancel context.CancelCauseFunc) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	heap := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	begin := heap()
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := heap(); now > begin && now-begin > limit {
				cancel(errMemoryLimit)
				return
			}
		}
	}
}

// boundedRange is range() with a limit on its length.
var boundedRange = starlark.NewBuiltin("range", func(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	v, err := starlark.Call(thread, starlark.Universe["range"], args, kwargs)
	if err != nil {
		return nil, err
	}
	if n := starlark.Len(v); n > maxRange {
		return nil, Errorf("long-range", "Range too long", "range() has %d elements here; at most %d are allowed.", n, maxRange)
	}
	return v, nil
})

// bounded is what user files see: the predeclared names, and range with its limit.
func bounded(predeclared starlark.StringDict) starlark.StringDict {
	all := maps.Clone(predeclared)
	if all == nil {
		all = starlark.StringDict{}
	}
	if !all.Has("range") {
		all["range"] = boundedRange
	}
	return all
}
