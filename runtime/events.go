package runtime

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sst/runtime/bundle"
)

// Event is something that happened, for the terminal. It is one of the structs below.
type Event interface{ event() }

// Listening says where the fronts are. It is sent after an Update that changed them.
type Listening struct {
	Apis   []ApiAddress
	Lambda string // base URL of the Invoke API
}

// ApiAddress is the URL of one Api.
type ApiAddress struct {
	ID  string // "web/Api"
	URL string
}

// Invoked says that an invocation was delivered to its worker.
type Invoked struct {
	RequestID string
	Function  string // cfn.Function.ID
	Trigger   string // in words: "GET /notes", "Invoke", "cron rate(1 minute)"
	Cold      bool   // a process was started for it
	Time      time.Time
}

// Logged is one line of a function's output. RequestID is "" between invocations.
type Logged struct {
	RequestID string
	Function  string
	Stderr    bool
	Line      string
	Time      time.Time
}

// Finished says how an invocation ended, or that a request led to none.
type Finished struct {
	RequestID string
	Function  string
	Trigger   string
	Duration  time.Duration // from the arrival at the front to the answer
	Running   time.Duration // of that in the function; zero when it never ran
	Status    int           // of the HTTP answer, 0 for other triggers
	Result    []byte        // the function's answer, when it gave one
	Error     *FunctionError
	Refused   string // why no function was asked: "Not Found"; Function may be "" then
	Time      time.Time
}

// FunctionError is the error an invocation ended with, as the function's runtime client told it.
type FunctionError struct {
	Type    string
	Message string
	Trace   []string // one frame a line, source-mapped; may be empty
}

// BuildFailed says that the code of these functions does not compile. Invocations answer with it until it does.
type BuildFailed struct {
	Functions []string // those that fail with these messages, as functions of one file do
	Messages  []bundle.Message
}

// Rebuilt says that new code of these functions is ready; the next invocation runs it.
type Rebuilt struct {
	Functions []string
	Files     []string // that changed, relative to the root
	Duration  time.Duration
	Warnings  []bundle.Message
}

// Changed says that files given to Watch changed.
type Changed struct{ Files []string }

// Debugging says that the first debugger has attached to a function, or that the last one has left.
type Debugging struct {
	Function string
	Attached bool
}

// Notice is a sentence for people: a port that was taken, a fallback that was chosen.
type Notice struct{ Text string }

func (Listening) event()   {}
func (Invoked) event()     {}
func (Logged) event()      {}
func (Finished) event()    {}
func (BuildFailed) event() {}
func (Rebuilt) event()     {}
func (Changed) event()     {}
func (Debugging) event()   {}
func (Notice) event()      {}

// events hands events on, one at a time and in order. Lines of a log are dropped when nobody keeps up with them;
// nothing else is.
type events struct {
	queue   chan Event
	done    chan struct{}
	dropped atomic.Int64
	mu      sync.RWMutex // guards ended against sends
	ended   bool
}

func openEvents(take func(Event)) *events {
	e := &events{queue: make(chan Event, 4096), done: make(chan struct{})}
	go func() {
		defer close(e.done)
		for event := range e.queue {
			if mark, ok := event.(mark); ok {
				close(mark)
			} else if take != nil {
				take(event)
			}
		}
	}()
	return e
}

func (e *events) send(event Event) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.ended {
		e.queue <- event
	}
}

// mark is closed when all events before it were taken.
type mark chan struct{}

func (mark) event() {}

// flush waits until all events so far were taken.
func (e *events) flush() {
	m := make(mark)
	e.send(m)
	select {
	case <-m:
	case <-e.done:
	}
}

func (e *events) log(event Logged) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.ended {
		return
	}
	if cap(e.queue)-len(e.queue) < 512 { // room for the rest
		e.dropped.Add(1)
		return
	}
	if n := e.dropped.Swap(0); n > 0 {
		e.queue <- Notice{Text: fmt.Sprintf("%d lines of logs were left out: too many at once", n)}
	}
	e.queue <- event
}

func (e *events) close() {
	e.mu.Lock()
	ended := e.ended
	e.ended = true
	e.mu.Unlock()
	if !ended {
		close(e.queue)
	}
	<-e.done
}
