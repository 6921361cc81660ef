package proxy

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A message is what a frame or a run of chunk frames carries: bytes, for some types with a line of JSON before them.

const gzipFrom = 2 << 10 // smaller messages are not worth compressing

// format is what the two ends may use on the wire, as the relay's welcome says.
type format struct {
	frame int  // most bytes of one frame
	raw   bool // binary frames with the body as it is
}

// chunkBytes is the room for data in one frame; the header takes at most 700 bytes with ids of the usual length.
func (w format) chunkBytes() int {
	room := w.frame - 700
	if !w.raw {
		room = room / 4 * 3
	}
	return max(room, 256)
}

// split makes the frames of a message. They share body's bytes; sequence numbers are the link's to give.
func split(t, id string, body []byte, w format) []*Frame {
	codec, data := codecPlain, body
	switch {
	case w.raw:
		codec = codecRaw
	case len(body) > gzipFrom:
		if packed := pack(body); len(packed) < len(body) {
			codec, data = codecGzip, packed
		}
	}
	size := w.chunkBytes()
	if len(data) <= size {
		return []*Frame{{Version: Version, Type: t, ID: id, Codec: codec, Data: data}}
	}
	n := (len(data) + size - 1) / size
	frames := make([]*Frame, n)
	for q := range frames {
		part := data[q*size : min(len(data), (q+1)*size)]
		frames[q] = &Frame{Version: Version, Type: t, ID: id, Index: q, Count: n, Codec: codec, Data: part}
	}
	sum := sha256.Sum256(body)
	frames[0].Hash = b64.EncodeToString(sum[:])
	return frames
}

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return w
}}

func pack(body []byte) []byte {
	var out bytes.Buffer
	w := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(w)
	w.Reset(&out)
	w.Write(body)
	w.Close()
	return out.Bytes()
}

// Reasons to refuse a message, as they stand in a nak.
var (
	errTooLarge = errors.New("too-large")
	errBusy     = errors.New("busy")
	errDigest   = errors.New("digest")
	errCodec    = errors.New("codec")
	errChunks   = errors.New("chunks")
)

// assembly collects the chunks of one message in any order.
type assembly struct {
	parts   [][]byte // nil: not there yet
	missing int
	bytes   int
	hash    string
	codec   string
	sealed  bool
	failed  bool // refused already; the rest is only counted
}

// add takes a chunk. The sequence numbers keep duplicates out, so that every chunk counts once.
func (a *assembly) add(f *Frame) error {
	if a.parts == nil {
		a.parts, a.missing, a.codec = make([][]byte, max(f.Count, 1)), max(f.Count, 1), f.Codec
	}
	a.missing--
	a.bytes += len(f.Data)
	if a.failed {
		return nil
	}
	a.failed = true
	switch {
	case max(f.Count, 1) != len(a.parts) || f.Index >= len(a.parts) || f.Codec != a.codec || a.parts[f.Index] != nil:
		return errChunks
	case a.bytes > messageBytes:
		clear(a.parts)
		return errTooLarge
	}
	a.failed = false
	if f.Hash != "" {
		a.hash = f.Hash
	}
	a.parts[f.Index] = f.Data
	if f.Data == nil {
		a.parts[f.Index] = []byte{}
	}
	return nil
}

// message joins the chunks, unpacks them and checks the digest.
func (a *assembly) message() ([]byte, error) {
	data := a.parts[0]
	if len(a.parts) > 1 {
		data = make([]byte, 0, a.bytes)
		for i, part := range a.parts {
			data = append(data, part...)
			a.parts[i] = nil
		}
	}
	switch a.codec {
	case codecPlain, codecRaw:
	case codecGzip:
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, errCodec
		}
		if data, err = io.ReadAll(io.LimitReader(r, messageBytes+1)); err != nil {
			return nil, errCodec
		}
	default:
		return nil, errCodec
	}
	if len(data) > messageBytes {
		return nil, errTooLarge
	}
	if len(a.parts) > 1 && !a.sealed { // a seal vouches for each chunk
		sum := sha256.Sum256(data)
		if b64.EncodeToString(sum[:]) != a.hash {
			return nil, errDigest
		}
	}
	return data, nil
}

// withLine puts a line of JSON before body.
func withLine(line any, body []byte) []byte {
	head, err := json.Marshal(line)
	if err != nil {
		panic(err) // our own structs of strings and numbers
	}
	out := make([]byte, 0, len(head)+1+len(body))
	out = append(append(out, head...), '\n')
	return append(out, body...)
}

// cutLine undoes withLine.
func cutLine(msg []byte, line any) ([]byte, error) {
	head, body, ok := bytes.Cut(msg, []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("%w: no line of parameters", errFrame)
	}
	if err := json.Unmarshal(head, line); err != nil {
		return nil, fmt.Errorf("%w: parameters: %v", errFrame, err)
	}
	return body, nil
}

// Roles of a connection.
const (
	roleDeveloper = "developer"
	roleSandbox   = "sandbox"
)

// hello is the body of a hello frame.
type hello struct {
	Role     string   `json:"role"` // "developer" or "sandbox"
	Min      int      `json:"min"`
	Max      int      `json:"max"`
	Instance string   `json:"instance,omitempty"` // developer: the same over reconnects of one process
	Name     string   `json:"name,omitempty"`
	Function string   `json:"function,omitempty"` // sandbox: which function it is of
	TakeOver bool     `json:"takeOver,omitempty"`
	Again    bool     `json:"again,omitempty"`     // developer: this process was registered before
	Former   string   `json:"former,omitempty"`    // developer: instance of the run before it in this place, whose process is gone
	Turn     int      `json:"turn,omitempty"`      // developer: number of this connection; a late hello of an earlier one moves nothing
	Only     []string `json:"only,omitempty"`      // developer: functions it runs; none: all
	Key      string   `json:"key,omitempty"`       // developer: of this run
	Signed   string   `json:"signature,omitempty"` // by the stage's key
}

// welcome is the body of a welcome frame.
type welcome struct {
	Connection string   `json:"connection"`
	Version    int      `json:"version"`
	Frame      int      `json:"frame"` // most bytes of a frame sent by this end
	Codecs     []string `json:"codecs"`
	Developer  string   `json:"developer,omitempty"` // name of the developer's end registered now
	Present    bool     `json:"present"`             // there is one
	Key        string   `json:"key,omitempty"`       // of that end
	Signed     string   `json:"signature,omitempty"`
}

func (w welcome) format() format {
	f := format{frame: min(max(w.Frame, 1024), fastFrameBytes)}
	for _, codec := range w.Codecs {
		f.raw = f.raw || codec == codecRaw
	}
	return f
}

// reqLine is the line before an event.
type reqLine struct {
	Request   string `json:"request"`
	Remaining int64  `json:"remaining"`     // ms until the deadline, when this was sent
	Far       *far   `json:"far,omitempty"` // where the event is; nil: after this line
	Header
}

// errLine is the line before an error's body.
type errLine struct {
	Type string `json:"type"`
}
