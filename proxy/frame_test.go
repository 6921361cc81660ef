package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden frames")

const (
	testSession = "0199f0b1c2d-01020304"
	testSandbox = "a1b2c3d4e5f60718"
	testID      = "8f14e45f-ceea-467f-a8d2-0a1b2c3d4e5f.0123456789abcdef"
)

// goldenFrames has one of every type; docs/protocol.md shows them.
var goldenFrames = map[string]Frame{
	"hello": {Type: typeHello, Data: []byte(`{"role":"sandbox","min":1,"max":1,"function":"web/Notes"}`)},
	"room": {Version: 1, Type: typeRoom, To: "5d41402abc4b2a76", Session: "0199f0b1c2d-01020304", Sandbox: "a1b2c3d4e5f60718", Seq: 1, Ack: 1,
		Data: []byte(`{"at":"payloads/01","put":"https://b.s3.us-east-1.amazonaws.com/payloads/01?X-Amz-Signature=00"}`)},
	"far": {Version: 1, Type: typeFar, To: "5d41402abc4b2a76", Session: "0199f0b1c2d-01020304", Sandbox: "a1b2c3d4e5f60718", ID: "8f14e45f-ceea-467f-a8d2-0a1b2c3d4e5f.0123456789abcdef", Seq: 3, Ack: 2,
		Data: []byte(`{"at":"https://b.s3.us-east-1.amazonaws.com/payloads/02?X-Amz-Signature=00","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","kind":"res"}`)},
	"notice":  {Type: typeNotice, Code: NoticeTaken, Data: []byte(`{"name":"grace","functions":["web/Notes"]}`)},
	"welcome": {Type: typeWelcome, Data: []byte(`{"connection":"5d41402abc4b2a76","version":1,"frame":31000,"codecs":["gzip"],"developer":"ada","present":true}`)},
	"init":    {Type: typeInit, Seq: 1, Data: []byte(`{"function":"web/Notes","runtime":"nodejs24.x","memory":1024,"timeout":10,"arch":"x86_64","env":{"TABLE":"notes"}}`)},
	"req":     {Type: typeReq, ID: testID, Seq: 2, Ack: 1, Data: []byte("{\"request\":\"8f14e45f-ceea-467f-a8d2-0a1b2c3d4e5f\",\"remaining\":9871,\"arn\":\"arn:aws:lambda:eu-west-1:123456789012:function:notes\"}\n{\"n\":1e400}")},
	"chunk":   {Type: typeReq, ID: testID, Seq: 7, Ack: 4, Index: 0, Count: 3, Codec: codecGzip, Hash: "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0", Data: []byte{0x1f, 0x8b, 8, 0}},
	"ack":     {Type: typeAck, Ack: 9},
	"res":     {Type: typeRes, ID: testID, Seq: 3, Ack: 2, To: "5d41402abc4b2a76", Data: []byte(`{"statusCode":200}`)},
	"err":     {Type: typeErr, ID: testID, Seq: 3, Ack: 2, To: "5d41402abc4b2a76", Data: []byte("{\"type\":\"Error\"}\n{\"errorType\":\"Error\",\"errorMessage\":\"no\",\"trace\":[]}")},
	"stream":  {Type: typeStream, ID: testID, Seq: 4, Index: 1, Count: -1, Data: []byte("part")},
	"end":     {Type: typeEnd, ID: testID, Seq: 5, Data: []byte("{\"parts\":2}\n")},
	"credit":  {Type: typeAck, ID: testID, Seq: 6, Ack: 5, Credit: 5242880},
	"cancel":  {Type: typeCancel, ID: testID, Seq: 3, Ack: 1},
	"log":     {Type: typeLog, ID: testID, Seq: 3, Data: []byte("line\n")},
	"ping":    {Type: typePing},
	"pong":    {Type: typePong},
	"bye":     {Type: typeBye, Code: "replaced", Data: []byte(`{"name":"grace"}`)},
	"nak":     {Type: typeNak, ID: testID, Code: "no-developer", Data: []byte(`{"m":2,"t":"req"}`)},
	"resume":  {Type: typeResume, Ack: 17},
	"raw":     {Type: typeRes, ID: testID, Seq: 3, Ack: 2, Codec: codecRaw, Data: []byte("\x00\xff{}\n")},
	"names":   {Type: typeLog, Sandbox: "küche \"1\"\\\U0001f373\n", From: "5d41402abc4b2a76"},
}

func TestGoldenFrames(t *testing.T) {
	for name, f := range goldenFrames {
		f.Version = Version
		switch f.Type {
		case typeHello, typeWelcome, typePing, typePong, typeBye:
		default:
			f.Session = testSession
			if f.Sandbox == "" {
				f.Sandbox = testSandbox
			}
		}
		got := f.Append(nil)
		file := filepath.Join("testdata", "frames", name+".json")
		if *update {
			os.MkdirAll(filepath.Dir(file), 0o755)
			os.WriteFile(file, got, 0o644)
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		back, err := Decode(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(*back, f) {
			t.Errorf("%s: decoded\n got %+v\nwant %+v", name, *back, f)
		}
		if f.Codec == codecRaw {
			continue
		}
		if !json.Valid(want) {
			t.Errorf("%s: not JSON: %s", name, want)
		}
		for _, c := range want {
			if c < ' ' || c > '~' {
				t.Errorf("%s: byte %#x is not printable ASCII", name, c)
			}
		}
	}
	files, _ := filepath.Glob("testdata/frames/*.json")
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); goldenFrames[name].Type == "" {
			t.Errorf("%s is stale", file)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, test := range []struct{ in, err string }{
		{`{"v":1,"t":"req"}`, ""},
		{" {\n \"t\" : \"req\" , \"v\" : 1 } \n", ""},
		{`{"v":1,"t":"req","xx":{"a":[1,{"b":"}"}],"c":null},"y":-1.5e3,"z2":true}`, ""},
		{`{}`, ""},
		{``, "want an object"},
		{`[]`, "want an object"},
		{`{"t":"a","t":"b"}`, "twice"},
		{`{"d":"a","d":"b"}`, "twice"},
		{`{"t":1}`, "want a string"},
		{`{"m":"1"}`, "want an integer"},
		{`{"m":1.5}`, "want a comma"},
		{`{"m":-1}`, "range"},
		{`{"n":-2}`, "range"},
		{`{"n":3,"q":3}`, "range"},
		{`{"n":100000}`, "range"},
		{`{"q":1}`, "range"},
		{`{"d":"*"}`, "data"},
		{`{"d":"QQ=="}`, "data"},
		{`{"t":"req"} x`, "after"},
		{`{"t":"req"`, "comma"},
		{`{"xx":[1,]}`, "bad value"},
		{`{"xx":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "bad value"},
		{"{\"t\":\"\xff\"}", "string"},
	} {
		_, err := Decode([]byte(test.in))
		if got := fmt.Sprint(err); (err == nil) != (test.err == "") || err != nil && !strings.Contains(got, test.err) {
			t.Errorf("Decode(%q) = %v, want %q", test.in, err, test.err)
		}
	}
}

// Whatever Decode takes, encoding/json takes too and reads the same, and it survives another round.
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/frames/*.json")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Contains(b, []byte("}\n")) { // not raw
			var m map[string]any
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatalf("%q is not JSON: %v", b, err)
			}
			if s, _ := m["t"].(string); s != frame.Type {
				t.Fatalf("%q: type %q, JSON says %q", b, frame.Type, s)
			}
		}
		again, err := Decode(frame.Append(nil))
		if err != nil {
			t.Fatalf("%q: encoded anew: %v", b, err)
		}
		if len(frame.Data) == 0 {
			frame.Data, again.Data = nil, nil
		}
		if !reflect.DeepEqual(frame, again) {
			t.Fatalf("%q:\n first %+v\nsecond %+v", b, frame, again)
		}
	})
}

// No sequence of frames may harm the receiver.
func FuzzReceive(f *testing.F) {
	var some []byte
	for _, frame := range number(split(typeReq, testID, randomBytes(2000), format{frame: 1100})) {
		some = append(frame.Append(some), 0)
	}
	f.Add(some)
	f.Add([]byte(`{"m":9,"q":5,"n":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sock atomic.Pointer[socket]
		var memory atomic.Int64
		l := newLink("w", "s", &sock, format{}, &memory)
		for _, part := range bytes.Split(b, []byte{0}) {
			if frame, err := Decode(part); err == nil {
				l.receive(frame)
			}
		}
		l.end()
		if n := memory.Load(); n != 0 {
			t.Errorf("%d bytes still counted", n)
		}
	})
}

// pipe passes the frames of a message from one link to another in the order given, each through the codec.
func pipe(t *testing.T, frames []*Frame, order []int) (bodies [][]byte, err error) {
	var sock atomic.Pointer[socket]
	var memory atomic.Int64
	l := newLink("w", "s", &sock, format{}, &memory)
	for _, i := range order {
		f, derr := Decode(frames[i].Append(nil))
		if derr != nil {
			t.Fatal(derr)
		}
		msg, rerr := l.receive(f)
		if rerr != nil {
			err = rerr
		}
		if msg != nil {
			bodies = append(bodies, msg.body)
		}
	}
	if n := memory.Load(); n != 0 && len(l.partial) == 0 {
		t.Errorf("%d bytes still counted", n)
	}
	return bodies, err
}

func number(frames []*Frame) []*Frame {
	for i, f := range frames {
		f.Seq = uint64(i + 1)
	}
	return frames
}

// Every size around a boundary, both forms: in frames that fit, shuffled and repeated, back to the same bytes, once.
func TestChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, w := range map[string]format{"text": {frame: frameBytes}, "raw": {frame: fastFrameBytes, raw: true}, "tiny": {frame: 1100}} {
		size := w.chunkBytes()
		sizes := []int{0, 1, 30_999, 31_000, 31_001, gzipFrom, gzipFrom + 1, 128<<10 - 1, 128 << 10, 128<<10 + 1, 200_000}
		for _, k := range []int{1, 2, 3, 7} {
			sizes = append(sizes, k*size-1, k*size, k*size+1)
		}
		if name != "tiny" {
			sizes = append(sizes, 6<<20-100, messageBytes)
		}
		for _, n := range sizes {
			body := randomBytes(n)
			frames := number(split(typeReq, testID, body, w))
			order := make([]int, 0, 2*len(frames))
			for i, f := range frames {
				f.Session, f.Sandbox, f.Ack = testSession, testSandbox, 1<<40
				if size := len(f.Append(nil)); size > w.frame {
					t.Errorf("%s, %d bytes: frame %d has %d bytes, want at most %d", name, n, i, size, w.frame)
				}
				order = append(order, i, i)
			}
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			bodies, err := pipe(t, frames, order)
			if err != nil || len(bodies) != 1 || !bytes.Equal(bodies[0], body) {
				t.Errorf("%s, %d bytes in %d frames: got %d messages, %v", name, n, len(frames), len(bodies), err)
			}
		}
	}
}

func TestCompression(t *testing.T) {
	body := bytes.Repeat([]byte(`{"some":"text"}`), 200_000)
	frames := number(split(typeRes, testID, body, format{frame: frameBytes}))
	if len(frames) > 2 {
		t.Errorf("3 MB of repetition take %d frames", len(frames))
	}
	order := make([]int, len(frames))
	for i := range order {
		order[i] = i
	}
	if bodies, err := pipe(t, frames, order); err != nil || len(bodies) != 1 || !bytes.Equal(bodies[0], body) {
		t.Errorf("got %d messages, %v", len(bodies), err)
	}
}

func TestRefusedMessages(t *testing.T) {
	chunked := func(change func(frames []*Frame)) []*Frame {
		frames := number(split(typeReq, testID, randomBytes(70_000), format{frame: frameBytes}))
		change(frames)
		return frames
	}
	bomb := pack(make([]byte, messageBytes+1))
	sum := sha256.Sum256(nil)
	for _, test := range []struct {
		name   string
		frames []*Frame
		want   error
	}{
		{"digest", chunked(func(f []*Frame) { f[0].Hash = b64.EncodeToString(sum[:]) }), errDigest},
		{"no digest", chunked(func(f []*Frame) { f[0].Hash = "" }), errDigest},
		{"count changes", chunked(func(f []*Frame) { f[2].Count = 9 }), errChunks},
		{"codec changes", chunked(func(f []*Frame) { f[1].Codec = codecGzip }), errChunks},
		{"unknown codec", []*Frame{{Seq: 1, Codec: "zstd", Data: []byte("x")}}, errCodec},
		{"not gzip", []*Frame{{Seq: 1, Codec: codecGzip, Data: []byte("x")}}, errCodec},
		{"bomb", []*Frame{{Seq: 1, Codec: codecGzip, Data: bomb}}, errTooLarge},
		{"before the first", []*Frame{{Seq: 1, Index: 2, Count: 3}}, errChunks},
		{"packed stream", []*Frame{{Seq: 9, Index: 5, Count: -1, Codec: codecGzip}}, errCodec},
		{"far ahead", []*Frame{{Seq: 1 << 40}}, errBusy},
	} {
		order := make([]int, len(test.frames))
		for i := range order {
			order[i] = i
		}
		if bodies, err := pipe(t, test.frames, order); err != test.want || len(bodies) != 0 {
			t.Errorf("%s: got %d messages, error %v, want %v", test.name, len(bodies), err, test.want)
		}
	}
	var large []*Frame
	for i := range 8 {
		large = append(large, &Frame{Type: typeReq, Index: i, Count: 8, Codec: codecRaw, Data: make([]byte, 1<<20)})
	}
	if bodies, err := pipe(t, number(large), []int{0, 1, 2, 3, 4, 5, 6, 7}); err != errTooLarge || len(bodies) != 0 {
		t.Errorf("8 MB: got %d messages, %v", len(bodies), err)
	}
}
