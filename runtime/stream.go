package runtime

// Streamed answers: from the worker's Runtime API through the wire to a front that reads them as they come.

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sst/proxy"
)

// maxStream is what Lambda takes of a streamed answer.
const maxStream = 200 << 20

// streamed is an answer that the worker still writes. Who gets it reads it to its end, or closes it.
type streamed struct {
	body    io.Reader
	request *http.Request // its trailers are there after the end of body
	read    int64
	once    sync.Once
	done    chan struct{} // closed when nobody reads any more
	failed  bool          // valid after done: the worker is told so
}

// Read gives the next bytes as soon as the worker has written some.
func (s *streamed) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if s.read += int64(n); s.read > maxStream {
		return 0, proxy.ErrStreamTooLarge
	}
	return n, err
}

func (s *streamed) close(failed bool) {
	s.once.Do(func() {
		s.failed = failed
		close(s.done)
	})
}

// late is the error that the worker reported in the trailers, if it did.
func (s *streamed) late() (answer, bool) { return trailed(s.request) }

// trailed is the error that a request reports in its trailers, after a body that was begun before the error was known.
func trailed(r *http.Request) (answer, bool) {
	kind := r.Trailer.Get("Lambda-Runtime-Function-Error-Type")
	if kind == "" {
		return answer{}, false
	}
	body, err := base64.StdEncoding.DecodeString(r.Trailer.Get("Lambda-Runtime-Function-Error-Body"))
	if err != nil || len(body) == 0 {
		body = errorAnswer(kind, "", nil).body
	}
	return answer{body: body, errorType: kind}, true
}

// stream passes on the streamed answer of the event d while the worker writes it.
func (a *runtimeAPI) stream(w http.ResponseWriter, r *http.Request, d *delivery) {
	s := &streamed{body: r.Body, request: r, done: make(chan struct{})}
	a.flush()
	a.mu.Lock()
	if a.current != d || a.state != apiBusy {
		a.mu.Unlock()
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the event has been answered")
		return
	}
	a.state = apiStreaming
	a.change()
	a.mu.Unlock()
	d.answered <- answer{stream: s, contentType: r.Header.Get("Content-Type")}
	select {
	case <-s.done:
	case <-a.ended:
	}
	a.flush()
	a.mu.Lock()
	a.state = apiDone
	a.change()
	a.mu.Unlock()
	switch {
	case s.failed && s.read > maxStream:
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", maxStream))
	case s.failed:
		refuse(w, http.StatusBadRequest, "TruncatedHTTPRequest", "HTTP request detected as truncated")
	default:
		accepted(w)
	}
}

// pass passes a worker's streamed answer on to the sandbox, within the time of the invocation.
func (r *runner) pass(ctx context.Context, s *seat, w *worker, inv *proxy.Invocation, got answer, over *countdown, timeout time.Duration) {
	out := inv.Stream(got.contentType)
	if out == nil {
		got.stream.close(true)
		return
	}
	var late atomic.Bool
	passed := make(chan struct{})
	defer close(passed)
	go func() {
		select {
		case <-over.done:
			late.Store(true)
		case <-ctx.Done():
		case <-passed:
			return
		}
		if !r.live || !s.debug.debugged() { // there a debugger may still look at it
			w.stop()
		}
	}()
	_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{got.stream}, make([]byte, 32<<10))
	end := func(a answer) { out.Fail(a.errorType, a.body) }
	failure, failed := got.stream.late()
	switch {
	case err == nil && failed:
		end(failure)
	case err == nil:
		out.Close()
	case errors.Is(err, proxy.ErrStreamTooLarge):
		end(tooLarge())
		go w.stop() // it may go on for long
	case late.Load():
		w.output.flush()
		end(timedOut(inv.RequestID, timeout))
	case ctx.Err() != nil:
		end(canceled(ctx, inv.RequestID))
	default:
		gone := time.NewTimer(100 * time.Millisecond) // its connection ends a little before it does
		defer gone.Stop()
		select {
		case <-w.exited:
			end(exited(inv.RequestID, w.how))
		case <-gone.C:
			end(platformError(errorTruncated, inv.RequestID, "the response ended before it was complete"))
		}
	}
	got.stream.close(err != nil)
}

// finishStream has a streamed answer read to its end, and notes how it ended; one that was collected may be too large.
func finishStream(got *proxy.Response, read func(*proxy.Response) error) {
	if got.Stream == nil {
		if len(got.Body) > maxPayload {
			large := tooLarge()
			got.Body, got.FunctionError, got.ErrorType = large.body, true, large.errorType
		}
		return
	}
	err := read(got)
	got.Stream.Close()
	var failed *proxy.StreamError
	switch {
	case errors.As(err, &failed):
		got.FunctionError, got.ErrorType, got.Body = true, failed.Type, failed.Body
	case err != nil && err != io.EOF:
		left := errorAnswer(errorAbandoned, "the caller left before the answer was complete", nil)
		got.FunctionError, got.ErrorType, got.Body = true, left.errorType, left.body
	}
}
