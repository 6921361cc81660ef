package runtime

// The short way between our own Node shim and a worker's Runtime API: the same conversation in frames over one
// connection, without HTTP around each event and answer. Other runtime clients use HTTP; see api.go.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	channelPath     = "/sst/worker"
	channelProtocol = "sst-worker/1"

	atOnce = 64 << 10 // bytes of an event that the system takes without waiting for the worker
)

// Frames of the shim: one byte of kind, four of the body's length (big-endian), the body. An answer asks for the next
// event at once. A frame to the shim is an event: four bytes of the header's length, four of the body's, the header
// as a JSON object with the names of the Runtime API in lower case, the body. One whose header has no request id is no event:
// it says how the clock of the event under way goes on, see clock.
const (
	frameNext   = 'n'
	frameResult = 'r'
	frameError  = 'e' // the error's type, a newline, the error
	frameDebug  = 'i' // the URL of the inspector that it has opened
)

// channel is the connection of a worker that speaks frames.
type channel struct {
	conn net.Conn
	buf  []byte // of send; guarded by the api's state: one event is sent at a time
}

// openChannel takes over the connection of a request for channelPath and serves it until it ends.
func (a *runtimeAPI) openChannel(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != channelProtocol {
		refuse(w, http.StatusUpgradeRequired, "UpgradeRequired", "this is for workers")
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		refuse(w, http.StatusInternalServerError, "InternalError", "the connection cannot be taken over")
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	ch := &channel{conn: conn}
	a.mu.Lock()
	taken := a.channel != nil
	if !taken {
		a.channel = ch
	}
	a.mu.Unlock()
	if taken {
		return
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-a.ended:
			conn.Close()
		case <-stop:
		}
	}()
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", channelProtocol); err == nil {
		a.serveChannel(ch, buffered.Reader)
	}
}

func (a *runtimeAPI) serveChannel(ch *channel, r *bufio.Reader) {
	var head [5]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		var got answer
		if size := int(binary.BigEndian.Uint32(head[1:])); size > maxPayload {
			got = tooLarge()
			if _, err := io.CopyN(io.Discard, r, int64(size)); err != nil {
				return
			}
		} else if size > 0 {
			got.body = make([]byte, size)
			if _, err := io.ReadFull(r, got.body); err != nil {
				return
			}
		}
		switch head[0] {
		case frameNext:
			a.flush()
			a.mu.Lock()
			a.asks()
		case frameDebug:
			a.inspectorAt(string(got.body))
			continue
		case frameResult:
			if !a.complete(got) {
				return
			}
		case frameError:
			if got.errorType == "" {
				kind, body, _ := bytes.Cut(got.body, []byte("\n"))
				if got = (answer{body: body, errorType: string(kind)}); len(kind) == 0 {
					got.errorType = errorTypeOf(nil, body)
				}
			}
			if !a.complete(got) {
				return
			}
		default:
			return
		}
		if a.state == apiReady && a.current != nil { // it was not answered: the worker gets it again
			a.state = apiBusy
			d := a.current
			a.mu.Unlock()
			ch.send(d)
			continue
		}
		a.mu.Unlock()
	}
}

// complete takes the answer of the event that the worker has; the worker asks for the next one at once. It locks mu,
// and leaves it locked when it is true.
func (a *runtimeAPI) complete(got answer) bool {
	a.flush()
	a.mu.Lock()
	d := a.current
	if d == nil || a.state != apiBusy {
		a.mu.Unlock()
		return false
	}
	a.state = apiDone
	a.asks()
	d.answered <- got
	return true
}

// send writes an event. A worker that is gone is noticed by its process.
func (ch *channel) send(d *delivery) {
	fields := make(map[string]string, len(d.header))
	for name, values := range d.header {
		fields[strings.ToLower(name)] = values[0]
	}
	header, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings only
	}
	b := binary.BigEndian.AppendUint32(ch.buf[:0], uint32(len(header)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.event)))
	b = append(b, header...)
	if len(d.event) > atOnce {
		go func() { // nobody's deadline may wait for a worker that does not read
			parts := net.Buffers{b, d.event}
			parts.WriteTo(ch.conn)
		}()
		ch.buf = nil
		return
	}
	b = append(b, d.event...)
	ch.conn.Write(b)
	ch.buf = b
}

// clock tells a worker that a debugger has stopped the clock of the event it has, with so much time left, or that it goes on.
func (a *runtimeAPI) clock(d *delivery, left time.Duration, stopped bool) {
	fields := map[string]string{"sst-left-ms": strconv.FormatInt(left.Milliseconds(), 10)}
	if !stopped {
		fields["sst-deadline-ms"] = deadlineHeader(time.Now().Add(left))
	}
	header, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings only
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(header)))
	b = append(binary.BigEndian.AppendUint32(b, 0), header...)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.channel != nil && a.current == d && a.state == apiBusy {
		a.channel.conn.Write(b)
	}
}
