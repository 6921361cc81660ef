package proxy

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// heldSocket is a socket that nobody writes out: what was sent stays in its queue.
func heldSocket() *socket {
	s := &socket{wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.space = sync.NewCond(&s.mu)
	return s
}

// Bytes go out as acknowledgements come, after a reconnect too, and in a small window when the other end is short of memory.
func TestWindow(t *testing.T) {
	var at atomic.Pointer[socket]
	var memory atomic.Int64
	sock := heldSocket()
	at.Store(sock)
	l := newLink("w", "s", &at, format{frame: frameBytes}, &memory)
	l.ready, l.srtt = true, time.Minute // nothing is sent again by time
	sent := func() (n int) {
		sock.mu.Lock()
		defer sock.mu.Unlock()
		for _, b := range sock.queue {
			f, err := Decode(b.body)
			if err != nil {
				t.Fatal(err)
			}
			n += len(f.Data)
		}
		sock.queue, sock.bytes = nil, 0
		return n
	}
	within := func(what string, got, most int) {
		t.Helper()
		if got > most || got < most*3/4 {
			t.Errorf("%s: %d bytes went out, want a little less than %d", what, got, most)
		}
	}
	l.postFrames(split(typeReq, "i", randomBytes(6<<20), l.format), nil, false)
	within("at first", sent(), windowFirst)
	receive := func(ack uint64, credit int) {
		t.Helper()
		if _, err := l.receive(&Frame{Type: typeAck, Ack: ack, Credit: credit}); err != nil {
			t.Fatal(err)
		}
	}
	receive(10, 0)
	if n := sent(); n < 15*22_000 || n > 30*22_000 {
		t.Errorf("10 frames acknowledged: %d bytes went out, want those and a wider window", n)
	}
	l.detach()
	receive(12, 0)
	if n := sent(); n != 0 {
		t.Errorf("%d bytes went out between two connections", n)
	}
	l.resumed(0)
	within("after a reconnect", sent(), windowResume)
	receive(20, windowTight)
	if n := sent(); n != 0 {
		t.Errorf("%d bytes went out beyond what the other end has room for", n)
	}
	total := 0
	for ack := uint64(21); ; ack++ { // all that is left, in order
		receive(min(ack, l.next), windowTight)
		n := sent()
		if total += n; n > windowTight {
			t.Fatalf("%d bytes went out at once, want at most %d", n, windowTight)
		}
		if ack >= l.next {
			break
		}
	}
	if len(l.unacked) != 0 || l.flying != 0 || l.held != 0 {
		t.Errorf("at the end: %d frames, %d bytes flying, %d held", len(l.unacked), l.flying, l.held)
	}
	l.end()
}
