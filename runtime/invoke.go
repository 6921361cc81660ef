package runtime

import (
	"context"
	"time"

	"sst/proxy"
)

// bundleTime is what a request waits for the build of its code, beyond its own time.
const bundleTime = 60 * time.Second

// request is an invocation as a front asks for it.
type request struct {
	fn      *function
	id      string // "" means a new one
	event   []byte
	trigger string // in words
	header  proxy.Header
	report  *report // of an asynchronous one: who wants to know how it ends; nil: nobody

	// stream, when given, takes an answer that the function streams, as it comes: all of got.Stream. Otherwise such an
	// answer is collected.
	stream func(got *proxy.Response) error
}

// invoke runs a request to its end, whether or not its caller still waits, and reports it. finish, when given, says
// which HTTP status the answer became.
func (s *Server) invoke(ctx context.Context, req request, finish func(*proxy.Response, error) int) (*proxy.Response, error) {
	began := time.Now()
	if req.id == "" {
		req.id = newID()
	}
	if req.header.InvokedFunctionArn == "" {
		req.header.InvokedFunctionArn = req.fn.arn
	}
	if req.header.TraceID == "" {
		req.header.TraceID = newTrace(began)
	}
	c := &call{id: req.id, function: req.fn.ID, trigger: req.trigger}
	s.calls.Store(req.id, c)
	defer s.calls.Delete(req.id)
	got, err := s.pass(ctx, req, c)
	event := Finished{RequestID: req.id, Function: req.fn.ID, Trigger: req.trigger}
	if finish != nil {
		event.Status = finish(got, err)
	}
	event.Time = time.Now()
	event.Duration = event.Time.Sub(began)
	c.mu.Lock()
	event.Running = c.running
	c.mu.Unlock()
	switch {
	case err != nil:
		event.Error = &FunctionError{Type: "SST.NotRun", Message: err.Error()}
	case got.FunctionError:
		event.Error = functionError(got.ErrorType, got.Body)
	default:
		event.Result = got.Body
	}
	s.events.send(event)
	return got, err
}

// pass sends a request through a sandbox of its function.
func (s *Server) pass(ctx context.Context, req request, c *call) (*proxy.Response, error) {
	// What is saved from here on need not be run: so those who wait together can be served by one worker.
	if built, err := s.codes.get(ctx, req.fn.key); err == nil {
		defer s.codes.release(built)
		c.need = built
	}
	sb, err := s.pool.acquire(ctx, req.fn, c.need)
	if err != nil {
		return nil, err
	}
	defer s.pool.release(sb)
	c.mu.Lock()
	c.delivered = func() { s.pool.started(sb) }
	c.mu.Unlock()
	// The function's own time begins when its worker has the event; the worker sees to that.
	limit := req.fn.timeout() + initTime + bundleTime
	if s.debug.of(req.fn.ID) != nil {
		limit = debuggedTime
	}
	got, err := sb.wire.Invoke(ctx, proxy.Request{
		RequestID: req.id, Event: req.event, Header: req.header, Stream: req.stream != nil,
		Deadline: time.Now().Add(limit),
	})
	if err == nil {
		finishStream(got, req.stream)
	}
	return got, err
}

// newTrace makes an X-Ray trace header that is not sampled.
func newTrace(now time.Time) string {
	id := newID()
	return "Root=1-" + hexTime(now) + "-" + id[0:8] + id[9:13] + id[14:18] + id[19:23] + id[24:28] + ";Parent=" + id[20:23] + id[24:36] + "0;Sampled=0"
}
