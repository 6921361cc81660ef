package proxy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Frame types. A receiver answers a type it does not know with a nak.
const (
	typeHello   = "hello"   // end -> relay: role, version range
	typeWelcome = "welcome" // relay -> end: connection id, limits
	typeInit    = "init"    // sandbox -> developer: environment, opens a session
	typeReq     = "req"     // sandbox -> developer: an invocation
	typeAck     = "ack"     // both: nothing but the cumulative acknowledgement
	typeRes     = "res"     // developer -> sandbox: result
	typeErr     = "err"     // developer -> sandbox: function error
	typeStream  = "stream"  // developer -> sandbox: part of a streamed result
	typeEnd     = "end"     // developer -> sandbox: end of a streamed result
	typeCancel  = "cancel"  // sandbox -> developer: nobody waits any more
	typeLog     = "log"     // developer -> sandbox: lines of the function's log
	typePing    = "ping"    // end -> relay
	typePong    = "pong"    // relay -> end
	typeBye     = "bye"     // both: the sender is leaving, or the receiver must
	typeNak     = "nak"     // both: a frame was refused, reason in e
	typeRoom    = "room"    // developer -> sandbox: where its next large event may be put
	typeFar     = "far"     // developer -> sandbox: where its answer lies
	typeNotice  = "notice"  // relay -> developer: what others do
	typeResume  = "resume"  // both: the connection is new; k says what has arrived
)

// byeLeft is the code of the relay's answer to a bye of a developer's end.
const byeLeft = "left"

// Codecs of a frame's data.
const (
	codecPlain = ""     // base64url of the bytes
	codecGzip  = "gzip" // base64url of a part of the gzipped bytes
	codecRaw   = "raw"  // binary frame: the bytes follow the header after a newline (local relay only)
)

// Frame is one WebSocket message of sst-live/1. On the wire it is a flat JSON object with one-letter names; zero
// fields are left out.
type Frame struct {
	Version int    // v
	Type    string // t
	Session string // s: one life of a sandbox's conversation with one developer's end
	Sandbox string // w
	ID      string // i: attempt id
	Seq     uint64 // m: number of this frame within session and direction, from 1; 0 = not acknowledged
	Index   int    // q: chunk number
	Count   int    // n: number of chunks; 0 means 1, -1 a part of a stream: q is its number
	Credit  int    // c: with i, bytes of that stream there may be in all; else bytes beyond k the sender is ready to take
	Ack     uint64 // k: all frames up to this number have arrived
	Code    string // e: reason of a nak or bye
	Hash    string // h: base64url SHA-256 of the whole message, on chunk 0 of several
	Codec   string // z
	Key     string // p: public key of the sandbox for this session, base64url; on init, when it is sealed
	Nonce   uint64 // x: number of this transmission within session and direction, from 1; on sealed frames and on req
	To      string // to: connection the relay shall deliver to (developer's end only)
	From    string // from: added by the relay
	Data    []byte // d: bytes of this chunk, still in the message's codec but base64 undone
}

// Limits a receiver enforces whatever the sender says.
const (
	frameBytes     = 31_000    // one frame through API Gateway: 32 KiB less what the relay adds
	fastFrameBytes = 128 << 10 // one frame through a local relay
	messageBytes   = 7 << 20   // one message, all chunks, unpacked
	totalBytes     = 256 << 20 // all incomplete messages of an end
	maxChunks      = 8192
)

var (
	errFrame = errors.New("malformed frame")
	b64      = base64.RawURLEncoding
)

// Append encodes f to dst. The result of a frame that is not raw is ASCII.
func (f *Frame) Append(dst []byte) []byte {
	return f.append(dst, f.Ack, f.To)
}

// append encodes with k and to given apart: a frame that is sent again carries today's values of these.
func (f *Frame) append(dst []byte, ack uint64, to string) []byte {
	dst = append(dst, `{"v":`...)
	dst = strconv.AppendInt(dst, int64(f.Version), 10)
	dst = appendString(dst, `,"t":`, f.Type)
	dst = appendString(dst, `,"to":`, to)
	dst = appendString(dst, `,"from":`, f.From)
	dst = appendString(dst, `,"s":`, f.Session)
	dst = appendString(dst, `,"w":`, f.Sandbox)
	dst = appendString(dst, `,"i":`, f.ID)
	dst = appendInt(dst, `,"m":`, int64(f.Seq))
	dst = appendInt(dst, `,"k":`, int64(ack))
	dst = appendInt(dst, `,"q":`, int64(f.Index))
	dst = appendInt(dst, `,"n":`, int64(f.Count))
	dst = appendInt(dst, `,"c":`, int64(f.Credit))
	dst = appendString(dst, `,"e":`, f.Code)
	dst = appendString(dst, `,"h":`, f.Hash)
	dst = appendString(dst, `,"z":`, f.Codec)
	dst = appendString(dst, `,"p":`, f.Key)
	dst = appendInt(dst, `,"x":`, int64(f.Nonce))
	if f.Codec == codecRaw {
		dst = append(dst, "}\n"...)
		return append(dst, f.Data...)
	}
	if len(f.Data) > 0 {
		dst = append(dst, `,"d":"`...)
		dst = b64.AppendEncode(dst, f.Data)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

func appendInt(dst []byte, name string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), n, 10)
}

func appendString(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	dst = append(append(dst, name...), '"')
	for _, r := range s {
		switch {
		case r >= ' ' && r < 0x7f && r != '"' && r != '\\':
			dst = append(dst, byte(r))
		case r > 0xffff:
			r -= 0x10000
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return append(dst, '"')
}

// Decode parses a frame. The Data of the result does not alias b.
func Decode(b []byte) (*Frame, error) {
	var v view
	if err := v.scan(b); err != nil {
		return nil, err
	}
	return v.frame()
}

// view is a parsed frame whose strings still lie in the message it came from: what the relay needs, without copies.
type view struct {
	t, s, w, i, e, h, z, p, to, from, d []byte // contents of the strings, escapes undone
	v, m, k, q, n, c, x                 int64
	raw                                 []byte // what follows the header
}

func (v *view) frame() (*Frame, error) {
	f := &Frame{
		Version: int(v.v), Type: typeName(v.t), Session: string(v.s), Sandbox: string(v.w), ID: string(v.i),
		Seq: uint64(v.m), Index: int(v.q), Count: int(v.n), Credit: int(v.c), Ack: uint64(v.k),
		Code: string(v.e), Hash: string(v.h), To: string(v.to), From: string(v.from),
		Key: string(v.p), Nonce: uint64(v.x),
	}
	if v.x < 0 || v.m < 0 || v.k < 0 || v.q < 0 || v.n < -1 || v.n > maxChunks || v.n > 0 && v.q >= v.n || v.n == 0 && v.q > 0 {
		return nil, fmt.Errorf("%w: numbers out of range", errFrame)
	}
	switch f.Codec = string(v.z); f.Codec {
	case codecRaw:
		f.Data = bytes.Clone(v.raw)
	default:
		if len(v.d) > 0 {
			f.Data = make([]byte, b64.DecodedLen(len(v.d)))
			n, err := b64.Decode(f.Data, v.d)
			if err != nil {
				return nil, fmt.Errorf("%w: data: %v", errFrame, err)
			}
			f.Data = f.Data[:n]
		}
	}
	return f, nil
}

// typeName saves an allocation for the types we know.
func typeName(t []byte) string {
	switch string(t) {
	case typeReq:
		return typeReq
	case typeRes:
		return typeRes
	case typeAck:
		return typeAck
	case typeErr:
		return typeErr
	case typeLog:
		return typeLog
	}
	return string(t)
}

// scan parses the flat object at the start of b. Unknown fields are skipped, nested values among them; a field given
// twice is refused, so that no two readers can understand a frame differently.
func (v *view) scan(b []byte) error {
	p := parser{b: b}
	p.space()
	if !p.take('{') {
		return p.fail("want an object")
	}
	var seen uint32
	for first := true; ; first = false {
		p.space()
		if p.take('}') {
			break
		}
		if !first {
			if !p.take(',') {
				return p.fail("want a comma")
			}
			p.space()
		}
		name, ok := p.str()
		if !ok {
			return p.fail("want a name")
		}
		p.space()
		if !p.take(':') {
			return p.fail("want a colon")
		}
		p.space()
		text, number, bit := v.field(name)
		if bit != 0 && seen&bit != 0 {
			return p.fail("field given twice")
		}
		seen |= bit
		switch {
		case text != nil:
			if *text, ok = p.str(); !ok {
				return p.fail("want a string")
			}
		case number != nil:
			if *number, ok = p.integer(); !ok {
				return p.fail("want an integer")
			}
		default:
			if !p.skip(0) {
				return p.fail("bad value")
			}
		}
	}
	rest := p.b[p.i:]
	if len(rest) > 0 && rest[0] == '\n' {
		v.raw = rest[1:]
		return nil
	}
	if len(bytes.TrimLeft(rest, " \t\r\n")) > 0 {
		return p.fail("data after the object")
	}
	return nil
}

// field finds where a field goes, and a bit of its own.
func (v *view) field(name []byte) (*[]byte, *int64, uint32) {
	switch string(name) {
	case "t":
		return &v.t, nil, 1 << 0
	case "s":
		return &v.s, nil, 1 << 1
	case "w":
		return &v.w, nil, 1 << 2
	case "i":
		return &v.i, nil, 1 << 3
	case "e":
		return &v.e, nil, 1 << 4
	case "h":
		return &v.h, nil, 1 << 5
	case "z":
		return &v.z, nil, 1 << 6
	case "to":
		return &v.to, nil, 1 << 7
	case "from":
		return &v.from, nil, 1 << 8
	case "d":
		return &v.d, nil, 1 << 9
	case "v":
		return nil, &v.v, 1 << 10
	case "m":
		return nil, &v.m, 1 << 11
	case "k":
		return nil, &v.k, 1 << 12
	case "q":
		return nil, &v.q, 1 << 13
	case "n":
		return nil, &v.n, 1 << 14
	case "c":
		return nil, &v.c, 1 << 15
	case "p":
		return &v.p, nil, 1 << 16
	case "x":
		return nil, &v.x, 1 << 17
	}
	return nil, nil, 0
}

// parser reads just enough JSON for a flat object.
type parser struct {
	b []byte
	i int
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: byte %d: %s", errFrame, p.i, what)
}

func (p *parser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\n' || p.b[p.i] == '\r') {
		p.i++
	}
}

func (p *parser) take(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) str() ([]byte, bool) {
	if !p.take('"') {
		return nil, false
	}
	start := p.i
	end := bytes.IndexByte(p.b[start:], '"')
	if end < 0 {
		return nil, false
	}
	s := p.b[start : start+end]
	if bytes.IndexByte(s, '\\') < 0 {
		p.i = start + end + 1
		if !clean(s) {
			return nil, false
		}
		return s, true
	}
	for i := start; i < len(p.b); i++ {
		switch p.b[i] {
		case '\\':
			i++
		case '"':
			p.i = i + 1
			var text string
			if json.Unmarshal(p.b[start-1:p.i], &text) != nil {
				return nil, false
			}
			return []byte(text), true
		}
	}
	return nil, false
}

// clean reports whether s may stand in a JSON string as it is. Long strings are data and checked by base64.
func clean(s []byte) bool {
	if len(s) > 512 {
		return true
	}
	for _, c := range s {
		if c < ' ' {
			return false
		}
	}
	return utf8.Valid(s)
}

func (p *parser) integer() (int64, bool) {
	start := p.i
	p.take('-')
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	n, err := strconv.ParseInt(string(p.b[start:p.i]), 10, 64)
	return n, err == nil
}

// skip passes over any value; depth bounds the nesting.
func (p *parser) skip(depth int) bool {
	if p.i >= len(p.b) || depth > 16 {
		return false
	}
	switch c := p.b[p.i]; c {
	case '"':
		_, ok := p.str()
		return ok
	case '{', '[':
		p.i++
		for first := true; ; first = false {
			p.space()
			if p.take(c + 2) { // '{'+2 is '}', '['+2 is ']'
				return true
			}
			if !first {
				if !p.take(',') {
					return false
				}
				p.space()
			}
			if c == '{' {
				if _, ok := p.str(); !ok {
					return false
				}
				p.space()
				if !p.take(':') {
					return false
				}
				p.space()
			}
			if !p.skip(depth + 1) {
				return false
			}
		}
	default:
		start := p.i
		for p.i < len(p.b) && !bytes.ContainsRune([]byte(" \t\r\n,}]"), rune(p.b[p.i])) {
			p.i++
		}
		return json.Valid(p.b[start:p.i])
	}
}
