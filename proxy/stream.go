package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A streamed answer travels as frames of type stream, numbered by q, and one message of type end. How many bytes may
// be on their way is a matter of each stream, apart from the link's window: a reader that takes its time must not
// hold up the other invocations of its sandbox.
const (
	streamFirst  = 1 << 20 // bytes that may be sent before the reader has said anything
	streamWindow = 4 << 20 // bytes the reader lets the writer be ahead
	streamBytes  = 200 << 20
)

// streamLine is the line in part 0 of a stream.
type streamLine struct {
	Type string `json:"type,omitempty"` // content type
}

// endLine is the line before the error's body in an end.
type endLine struct {
	Parts int    `json:"parts"`          // stream frames there were
	Type  string `json:"type,omitempty"` // error type; "" when all is well
}

// Stream is a streamed answer, at the developer's end. It is one goroutine's.
type Stream struct {
	ctx   context.Context
	conn  *Conn
	a     *attempt
	parts int
	sent  int
	ended bool

	mu     sync.Mutex
	credit int           // bytes that may have been sent
	more   chan struct{} // credit grew
}

// Write sends p at once. It waits while the reader is too far behind, and fails when nobody waits for the answer any
// more or Lambda's limit for a streamed answer is reached.
func (s *Stream) Write(p []byte) (n int, err error) {
	if s.ended {
		return 0, io.ErrClosedPipe
	}
	for len(p) > 0 {
		if err := s.ctx.Err(); err != nil {
			return n, context.Cause(s.ctx)
		}
		s.conn.mu.Lock()
		l := s.a.link
		s.conn.mu.Unlock()
		room, err := s.room()
		if err != nil {
			return n, err
		}
		part := p[:min(len(p), room, l.format.chunkBytes())]
		if s.sent += len(part); s.sent > streamBytes {
			return n, ErrStreamTooLarge
		}
		if !s.part(l, bytes.Clone(part)) {
			return n, ErrCancelled
		}
		n += len(part)
		p = p[len(part):]
	}
	return n, nil
}

// ErrStreamTooLarge is the error of a Write beyond what Lambda lets a streamed answer have.
var ErrStreamTooLarge = errors.New("streamed answer is too large")

func (s *Stream) part(l *devLink, data []byte) bool {
	f := &Frame{Version: Version, Type: typeStream, ID: s.a.inv.ID, Index: s.parts, Count: -1, Data: data}
	if l.format.raw {
		f.Codec = codecRaw
	}
	s.parts++
	return l.postFrames([]*Frame{f}, nil, true)
}

// room waits until something may be sent.
func (s *Stream) room() (int, error) {
	for {
		s.mu.Lock()
		n := s.credit - s.sent
		s.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-s.more:
		case <-s.ctx.Done():
			return 0, context.Cause(s.ctx)
		}
	}
}

func (s *Stream) grant(credit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if credit > s.credit {
		s.credit = credit
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
}

// Close ends the answer.
func (s *Stream) Close() error {
	s.end(endLine{}, nil)
	return nil
}

// Fail ends the answer with a function error, after what has been written.
func (s *Stream) Fail(errType string, body []byte) { s.end(endLine{Type: errType}, body) }

func (s *Stream) end(line endLine, body []byte) bool {
	if s.ended {
		return false
	}
	s.ended = true
	line.Parts = s.parts
	s.conn.mu.Lock()
	l := s.a.link
	if s.a.outcome = line.Type; line.Type == "" {
		s.a.outcome = "stream"
	}
	s.conn.mu.Unlock()
	l.post(typeEnd, s.a.inv.ID, withLine(line, body), s.conn.delivered(s.a.inv.ID))
	return true
}

// stream makes a streamed answer the one that counts; nil when there is another already.
func (c *Conn) stream(ctx context.Context, a *attempt, contentType string) *Stream {
	c.mu.Lock()
	if a.answered {
		c.mu.Unlock()
		return nil
	}
	s := &Stream{ctx: ctx, conn: c, a: a, credit: streamFirst, more: make(chan struct{}, 1)}
	a.answered, a.stream = true, s
	l := a.link
	c.mu.Unlock()
	s.part(l, withLine(streamLine{Type: contentType}, nil))
	return s
}

// granted takes the credit that a sandbox gives a stream.
func (c *Conn) granted(id string, credit int) {
	c.mu.Lock()
	var s *Stream
	if a := c.attempts[id]; a != nil {
		s = a.stream
	}
	c.mu.Unlock()
	if s != nil {
		s.grant(credit)
	}
}

// StreamError is the function error that a streamed answer ended with.
type StreamError struct {
	Type string
	Body []byte // verbatim
}

func (e *StreamError) Error() string { return "stream ended with " + e.Type }

// streamReader is a streamed answer, at the sandbox: what has arrived and was not read yet.
type streamReader struct {
	sandbox *Sandbox
	call    *call
	stop    []func() bool // ends what watches over it

	mu       sync.Mutex
	changed  *sync.Cond
	buffered bool // nobody reads: it is collected for a caller that wants it whole
	began    bool
	kind     string // content type
	next     int
	early    map[int][]byte
	queue    [][]byte
	arrived  int // bytes
	read     int
	granted  int
	parts    int   // -1: not known yet
	final    error // once all parts are read: io.EOF or *StreamError
	err      error // at once
}

func newStreamReader(s *Sandbox, c *call) *streamReader {
	r := &streamReader{sandbox: s, call: c, early: map[int][]byte{}, granted: streamFirst, parts: -1, buffered: !c.req.Stream}
	r.changed = sync.NewCond(&r.mu)
	return r
}

var errStream = errors.New("stream out of order")

// part takes a part, in any order. It reports whether the stream has just begun.
func (r *streamReader) part(index int, data []byte) (began bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if index < r.next || r.early[index] != nil {
		return false, nil
	}
	if r.arrived += len(data); r.arrived > r.granted+streamWindow || len(r.early) > sequences {
		return false, errStream
	}
	if data == nil {
		data = []byte{}
	}
	r.early[index] = data
	for data = r.early[r.next]; data != nil; data = r.early[r.next] {
		delete(r.early, r.next)
		if r.next == 0 {
			var line streamLine
			if data, err = cutLine(data, &line); err != nil {
				return false, err
			}
			r.kind, r.began, began = line.Type, true, true
		}
		r.next++
		if len(data) > 0 {
			r.queue = append(r.queue, data)
		}
	}
	r.changed.Broadcast()
	return began, nil
}

// finish says how many parts there are and what comes after them.
func (r *streamReader) finish(parts int, final error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts, r.final = parts, final
	r.changed.Broadcast()
}

// complete reports whether all has arrived.
func (r *streamReader) complete() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts >= 0 && r.next >= r.parts
}

// fail ends the stream at once.
func (r *streamReader) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.queue = nil
	r.changed.Broadcast()
}

// due is the credit to be told to the writer, 0 for none. Called with mu held.
func (r *streamReader) due() int {
	taken := r.read
	if r.buffered {
		taken = r.arrived
	}
	if taken+streamWindow-r.granted < streamWindow/4 && r.granted > streamFirst {
		return 0
	}
	r.granted = taken + streamWindow
	return r.granted
}

// credit tells the writer how much more there may be.
func (r *streamReader) credit() {
	r.mu.Lock()
	credit := 0
	if r.parts < 0 && r.err == nil && r.began {
		credit = r.due()
	}
	r.mu.Unlock()
	r.sandbox.mu.Lock()
	l := r.sandbox.link
	r.sandbox.mu.Unlock()
	if credit > 0 && l != nil {
		l.postFrames([]*Frame{{Version: Version, Type: typeAck, ID: r.call.id, Credit: credit}}, nil, false)
	}
}

// Read gives the next bytes as soon as there are any.
func (r *streamReader) Read(p []byte) (int, error) {
	n, err := r.take(p)
	if err != nil {
		r.release()
	} else {
		r.credit()
	}
	return n, err
}

func (r *streamReader) take(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.err == nil && len(r.queue) == 0 && (r.parts < 0 || r.next < r.parts) {
		r.changed.Wait()
	}
	switch {
	case r.err != nil:
		return 0, r.err
	case len(r.queue) == 0:
		return 0, r.final
	}
	n := copy(p, r.queue[0])
	r.read += n
	if r.queue[0] = r.queue[0][n:]; len(r.queue[0]) == 0 {
		r.queue[0] = nil
		r.queue = r.queue[1:]
	}
	return n, nil
}

// Close gives up what has not been read; the developer's end is told that nobody waits.
func (r *streamReader) Close() error {
	r.mu.Lock()
	unfinished := r.err == nil && (r.parts < 0 || r.next < r.parts)
	r.mu.Unlock()
	r.fail(io.ErrClosedPipe)
	if unfinished {
		r.sandbox.cancelCall(r.call)
	}
	r.release()
	return nil
}

func (r *streamReader) release() {
	r.mu.Lock()
	stop := r.stop
	r.stop = nil
	r.mu.Unlock()
	for _, f := range stop {
		f()
	}
	r.sandbox.drop(r.call)
}

// watch bounds the life of a stream that its caller reads.
func (r *streamReader) watch(ctx context.Context) {
	s, c := r.sandbox, r.call
	late := time.AfterFunc(time.Until(c.req.Deadline)+s.opts.Grace, func() {
		own := c.fail(ErrorDeadlineNear, "the developer's end did not finish its answer before the deadline")
		r.fail(&StreamError{own.ErrorType, own.Body})
		s.cancelCall(c)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop = []func() bool{
		late.Stop,
		context.AfterFunc(ctx, func() {
			r.fail(context.Cause(ctx))
			s.cancelCall(c)
		}),
		context.AfterFunc(s.ctx, func() { r.fail(fmt.Errorf("invoke %s: sandbox closed", s.opts.Init.Function)) }),
	}
}

// whole is the answer to a caller that does not read streams.
func (r *streamReader) whole() *Response {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.final.(*StreamError); ok {
		return &Response{Body: e.Body, FunctionError: true, ErrorType: e.Type}
	}
	return &Response{Body: bytes.Join(r.queue, nil), ContentType: r.kind}
}

// streamed takes a part of a streamed answer.
func (s *Sandbox) streamed(msg *received) {
	s.mu.Lock()
	c := s.calls[msg.id]
	if c == nil {
		s.mu.Unlock()
		return
	}
	if c.reader == nil {
		c.reader = newStreamReader(s, c)
	}
	r := c.reader
	s.mu.Unlock()
	began, err := r.part(msg.index, msg.body)
	if err == nil && r.buffered && r.arrived > messageBytes {
		s.failCall(msg.id, ErrorTooLarge, fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", messageBytes))
		s.cancelCall(c)
		return
	}
	if err != nil {
		s.failCall(msg.id, ErrorProtocol, "the streamed answer could not be read: "+err.Error())
		s.cancelCall(c)
		return
	}
	if began && !r.buffered {
		s.begin(c)
	}
	if began || r.buffered {
		r.credit()
	}
	s.endStream(c)
}

// begin answers a call with the stream itself.
func (s *Sandbox) begin(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.finished {
		c.finished, c.streaming = true, true
		c.answer <- &Response{RequestID: c.req.RequestID, ContentType: c.reader.kind, Stream: c.reader}
	}
}

// streamEnded takes the end of a streamed answer.
func (s *Sandbox) streamEnded(msg *received) {
	var line endLine
	body, err := cutLine(msg.body, &line)
	if err != nil {
		s.failCall(msg.id, ErrorProtocol, err.Error())
		return
	}
	s.mu.Lock()
	c := s.calls[msg.id]
	if c != nil && c.reader == nil {
		c.reader = newStreamReader(s, c) // the end overtook all parts
	}
	s.mu.Unlock()
	if c == nil {
		return
	}
	final := io.EOF
	if line.Type != "" {
		final = &StreamError{line.Type, body}
	}
	c.reader.finish(line.Parts, final)
	s.endStream(c)
}

// endStream answers a call that wants its answer whole, when it is.
func (s *Sandbox) endStream(c *call) {
	if !c.reader.buffered || !c.reader.complete() {
		return
	}
	s.mu.Lock()
	s.finish(c, c.reader.whole())
	s.mu.Unlock()
}
