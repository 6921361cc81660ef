package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
)

// API Gateway limits the frame, not only the message, and the WebSocket library shows only messages. So the guard
// sits below it and reads along.

var errFrameTooLarge = errors.New("frame over the limit")

// frameGuard is a connection that fails once a data frame is larger than limit.
type frameGuard struct {
	net.Conn
	limit    uint64
	exceeded atomic.Bool
	head     []byte // bytes of an incomplete frame header
	skip     uint64 // payload bytes until the next header
}

func (g *frameGuard) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if n > 0 && !g.follow(b[:n]) {
		g.exceeded.Store(true)
		return 0, errFrameTooLarge
	}
	return n, err
}

// follow keeps track of the frames in a stream of client frames (RFC 6455, section 5.2; all masked).
func (g *frameGuard) follow(b []byte) bool {
	for len(b) > 0 {
		if g.skip > 0 {
			n := min(g.skip, uint64(len(b)))
			g.skip -= n
			b = b[n:]
			continue
		}
		g.head = append(g.head, b[0])
		b = b[1:]
		if len(g.head) < 2 {
			continue
		}
		size, want := uint64(g.head[1]&0x7f), 2
		switch size {
		case 126:
			want = 4
		case 127:
			want = 10
		}
		if len(g.head) < want+4 {
			continue
		}
		switch want {
		case 4:
			size = uint64(binary.BigEndian.Uint16(g.head[2:]))
		case 10:
			size = binary.BigEndian.Uint64(g.head[2:])
		}
		g.head = g.head[:0]
		if g.skip = size; size > g.limit {
			return false
		}
	}
	return true
}

// guardedWriter hands the guard to the WebSocket library as the connection it takes over.
type guardedWriter struct {
	http.ResponseWriter
	guard *frameGuard
}

func (w guardedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.guard.Conn = conn
	return w.guard, rw, err
}

// LimitFrames gives the ResponseWriter for an upgrade whose connection fails once a frame is larger than limit, as API
// Gateway's does, and a func that says whether that has happened.
func LimitFrames(w http.ResponseWriter, limit int) (http.ResponseWriter, func() bool) {
	guard := &frameGuard{limit: uint64(limit)}
	return guardedWriter{w, guard}, guard.exceeded.Load
}
