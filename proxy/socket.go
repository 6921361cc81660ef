package proxy

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	headroom     = 64 // before a received message, for the field the relay adds
	queueBytes   = 16 << 20
	writeTimeout = 10 * time.Second
)

// buffer is a message on its way; body is a part of block.
type buffer struct {
	block  []byte
	body   []byte
	binary bool
}

// Buffers come in the sizes of small frames, of full ones of API Gateway and of full local ones.
var (
	bufferSizes = [...]int{512, 2 << 10, 4 << 10, gatewayFrame + 1024, fastFrameBytes + 1024}
	buffers     [len(bufferSizes)]sync.Pool
)

// newBuffer gives a buffer whose block has at least n bytes.
func newBuffer(n int) *buffer {
	for i, size := range bufferSizes {
		if n <= size {
			if b, ok := buffers[i].Get().(*buffer); ok {
				return b
			}
			return &buffer{block: make([]byte, size)}
		}
	}
	return &buffer{block: make([]byte, n)}
}

func (b *buffer) free() {
	b.body, b.block = nil, b.block[:cap(b.block)]
	for i, size := range bufferSizes {
		if len(b.block) == size {
			buffers[i].Put(b)
			return // it is somebody else's now
		}
	}
}

// frameBuffer encodes a frame.
func frameBuffer(f *Frame, ack uint64, to string) *buffer {
	size := len(f.Data)
	if f.Codec != codecRaw {
		size = b64.EncodedLen(size)
	}
	b := newBuffer(size + 512)
	b.body = f.append(b.block[:0], ack, to)
	b.block = b.body
	b.binary = f.Codec == codecRaw
	return b
}

var errClosed = errors.New("connection closed")

// socket is a WebSocket with a bounded queue in front of its one writer goroutine. Its reader is whoever calls read.
type socket struct {
	ws   *websocket.Conn
	wake chan struct{} // the queue is no longer empty
	done chan struct{} // closed with the socket
	gone chan struct{} // closed when the writer has ended

	mu     sync.Mutex
	space  *sync.Cond
	queue  []*buffer
	bytes  int
	closed bool
	final  []byte // close message to be sent last
}

func newSocket(ws *websocket.Conn) *socket {
	s := &socket{ws: ws, wake: make(chan struct{}, 1), done: make(chan struct{}), gone: make(chan struct{})}
	s.space = sync.NewCond(&s.mu)
	go s.write()
	return s
}

// put queues b. When the queue is full it waits for room if wait is set; otherwise the message is queued in any case,
// which is for the few small ones a reader must be able to send. Unless it fails, it owns b from here on.
func (s *socket) put(b *buffer, wait bool) error {
	s.mu.Lock()
	if wait {
		s.wait(len(b.body))
	}
	return s.enqueue(b)
}

// wait waits until there is room for n bytes more, and has the next one who waits look too. Called with mu held.
func (s *socket) wait(n int) {
	for !s.closed && s.bytes > queueBytes/16 {
		s.space.Wait()
	}
	if s.bytes+n <= queueBytes/16 {
		s.space.Signal()
	}
}

// putFrame is put for a frame. It is encoded when there is room, so that those who wait hold no memory.
func (s *socket) putFrame(f *Frame, ack uint64, to string, wait bool) error {
	if wait {
		s.mu.Lock()
		s.wait(len(f.Data))
		s.bytes += len(f.Data) // keeps the place
		s.mu.Unlock()
	}
	b := frameBuffer(f, ack, to)
	s.mu.Lock()
	if wait {
		s.bytes -= len(f.Data)
	}
	err := s.enqueue(b)
	if err != nil {
		b.free()
	}
	return err
}

// offer queues b unless the queue is full.
func (s *socket) offer(b *buffer) bool {
	s.mu.Lock()
	if s.bytes+len(b.body) > queueBytes {
		s.mu.Unlock()
		return false
	}
	return s.enqueue(b) == nil
}

// enqueue is called with mu held and releases it.
func (s *socket) enqueue(b *buffer) error {
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	s.queue = append(s.queue, b)
	s.bytes += len(b.body)
	first := len(s.queue) == 1
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// send queues a small frame of our own.
func (s *socket) send(f *Frame) error {
	return s.putFrame(f, f.Ack, f.To, false)
}

func (s *socket) write() {
	defer close(s.gone)
	var batch, spare []*buffer
	for {
		s.mu.Lock()
		batch, s.queue = s.queue, spare[:0]
		closed, final := s.closed, s.final
		s.mu.Unlock()
		if len(batch) == 0 {
			if closed {
				s.finish(final)
				return
			}
			spare = batch
			<-s.wake
			continue
		}
		for i, b := range batch {
			kind := websocket.TextMessage
			if b.binary {
				kind = websocket.BinaryMessage
			}
			s.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
			err := s.ws.WriteMessage(kind, b.body)
			size := len(b.body)
			b.free()
			batch[i] = nil
			s.mu.Lock()
			s.bytes -= size
			s.space.Signal() // one message of room for one who waits
			s.mu.Unlock()
			if err != nil {
				s.close(0, "")
				s.finish(nil)
				return
			}
		}
		spare = batch
	}
}

func (s *socket) finish(final []byte) {
	if final != nil {
		s.ws.WriteControl(websocket.CloseMessage, final, time.Now().Add(time.Second))
	}
	s.ws.Close()
}

// close ends the socket; what is queued is still written. Code 0 closes without a word.
func (s *socket) close(code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if code != 0 {
		s.final = websocket.FormatCloseMessage(code, reason)
		time.AfterFunc(time.Second, func() { s.ws.Close() }) // a peer that does not read must not hold us
	} else {
		s.ws.Close()
	}
	close(s.done)
	s.space.Broadcast()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// read reads one message; the buffer is the caller's to free.
func (s *socket) read() (*buffer, error) {
	kind, r, err := s.ws.NextReader()
	if err != nil {
		return nil, err
	}
	b := newBuffer(2 << 10)
	n := headroom
	for {
		if n == len(b.block) {
			large := newBuffer(2 * n)
			copy(large.block, b.block[:n])
			b.free()
			b = large
		}
		m, err := r.Read(b.block[n:])
		n += m
		if err == io.EOF {
			break
		}
		if err != nil {
			b.free()
			return nil, err
		}
	}
	b.body = b.block[headroom:n]
	b.binary = kind == websocket.BinaryMessage
	return b, nil
}
