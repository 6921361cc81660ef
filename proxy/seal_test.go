package proxy

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var stageKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func dialSealed(t testing.TB, url string, h HandlerFunc) *Conn {
	t.Helper()
	conn, err := Dial(context.Background(), DialOptions{URL: url, Handler: h, Key: stageKey, TakeOver: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func openSealed(t testing.TB, url string, trust ed25519.PublicKey) *Sandbox {
	t.Helper()
	s, err := OpenSandbox(context.Background(), SandboxOptions{
		URL: url, Trust: trust, Init: Init{Function: "f", Timeout: 20, Env: map[string]string{"AWS_SECRET_ACCESS_KEY": "terribly-secret"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// meddler is a relay in the way: it keeps what it has seen, and has its own ideas about it.
type meddler struct {
	mu     sync.Mutex
	rng    *rand.Rand
	seen   [][]byte
	change float64
	replay float64
}

func (m *meddler) fault(frame []byte, deliver func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, bytes.Clone(frame))
	deliver()
}

// Sealed, everything works as before, and the relay sees neither events, answers nor the environment.
func TestSealed(t *testing.T) {
	t.Parallel()
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			m := &meddler{}
			_, url := newRelay(t, RelayOptions{Profile: profile, Fault: m.fault})
			dialSealed(t, url, func(_ context.Context, inv *Invocation) {
				if string(inv.Event) == "terribly-secret stream" {
					w := inv.Stream("text/plain")
					for range 300 {
						w.Write(bytes.Repeat([]byte("terribly-secret"), 2000))
					}
					w.Fail("Error", []byte("terribly-secret error"))
					return
				}
				inv.Respond(append([]byte(inv.Env["AWS_SECRET_ACCESS_KEY"]+" "), inv.Event...))
			})
			s := openSealed(t, url, stageKey.Public().(ed25519.PublicKey))
			for _, n := range []int{0, 1, 20_000, 200_000, 3 << 20} {
				event := randomBytes(n)
				r, err := s.Invoke(context.Background(), Request{Event: event})
				if err != nil || string(r.Body) != "terribly-secret "+string(event) {
					t.Fatalf("%d bytes: got %d, %v %s", n, len(r.Body), err, r.ErrorType)
				}
			}
			r, err := s.Invoke(context.Background(), Request{Event: []byte("terribly-secret stream"), Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(r.Stream); len(body) != 300*2000*15 || err == nil || err.Error() != "stream ended with Error" {
				t.Errorf("stream: %d bytes, %v", len(body), err)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, frame := range m.seen {
				f, err := Decode(frame)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(f.Data, []byte("terribly")) || f.Hash != "" {
					t.Fatalf("the relay can read %.200s", frame)
				}
			}
		})
	}
}

// What was changed, invented or said before is not believed; what is lost by that is sent again.
func TestSealedAgainstMeddling(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 9))
	var mu sync.Mutex
	var relay *Relay
	meddling := false
	old := map[string][][]byte{}
	pass := func(to string, frame []byte) { // as the relay would
		if p, ok := relay.conns.Load(to); ok {
			b := newBuffer(len(frame))
			b.body = b.block[:copy(b.block, frame)]
			p.(*peer).offer(b)
		}
	}
	target := func(f *Frame) string {
		if f.To != "" {
			return f.To
		}
		dev, _ := relay.registry.Load().For("web/Echo")
		return dev.Connection
	}
	relay, url := newRelay(t, RelayOptions{Profile: ProfileAPIGateway, Fault: func(frame []byte, deliver func()) {
		mu.Lock()
		defer mu.Unlock()
		f, err := Decode(frame)
		if err != nil {
			t.Error(err)
			return
		}
		to := target(f)
		if !meddling {
			deliver()
			return
		}
		kept := old[to]
		old[to] = append(kept, bytes.Clone(frame))
		switch rng.IntN(50) {
		case 0: // changed data
			if len(f.Data) > 0 {
				f.Data[rng.IntN(len(f.Data))] ^= 1
			}
			pass(to, f.Append(nil))
			return
		case 1: // everything is said to have arrived
			f.Ack += 3
			pass(to, f.Append(nil))
			return
		case 2: // invented: an answer to whatever is asked, and a cancel
			g := *f
			g.Type, g.Seq, g.Nonce, g.Data = typeRes, f.Seq+1, 0, []byte("forged")
			pass(to, g.Append(nil))
			g.Type, g.Seq = typeCancel, f.Seq+2
			pass(to, g.Append(nil))
		case 3:
			if len(kept) > 0 {
				pass(to, kept[rng.IntN(len(kept))])
			}
		}
		deliver()
	}})
	runs := map[string]int{}
	dialSealed(t, url, func(_ context.Context, inv *Invocation) {
		mu.Lock()
		runs[inv.RequestID]++
		mu.Unlock()
		inv.Respond(append([]byte("answer to "), inv.Event...))
	})
	s := openSealed(t, url, stageKey.Public().(ed25519.PublicKey))
	if _, err := s.Invoke(context.Background(), Request{RequestID: "first"}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	meddling = true // once both ends know the session: a refusal is not sealed, and believed
	mu.Unlock()
	var wg sync.WaitGroup
	for i := range 60 {
		event := fmt.Sprint(i, strings.Repeat("x", i*1000))
		wg.Go(func() {
			r, err := s.Invoke(context.Background(), Request{RequestID: fmt.Sprint(i), Event: []byte(event)})
			if err != nil || string(r.Body) != "answer to "+event {
				t.Errorf("%d: got %.100s %s, %v", i, r.Body, r.ErrorType, err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	for id, n := range runs {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
}

// A developer's end without the stage's key gets nothing, nor does a sandbox that does not seal; a restarted end is
// found by its new key.
func TestSealedTrust(t *testing.T) {
	t.Parallel()
	_, url := newRelay(t, RelayOptions{})
	echo := func(_ context.Context, inv *Invocation) { inv.Respond(inv.Event) }
	other := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	s := openSealed(t, url, stageKey.Public().(ed25519.PublicKey))
	ask := func(s *Sandbox, timeout time.Duration) *Response {
		t.Helper()
		r, err := s.Invoke(context.Background(), Request{Event: []byte("1"), Deadline: time.Now().Add(timeout)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := ask(s, time.Second); r.ErrorType != ErrorNoDeveloper || !strings.Contains(string(r.Body), "sst start") {
		t.Errorf("nobody there: got %+v", r)
	}
	first := dialSealed(t, url, echo)
	if r := ask(s, 20*time.Second); string(r.Body) != "1" {
		t.Errorf("first end: got %+v %s", r, r.Body)
	}
	first.Close()
	dialSealed(t, url, echo)
	if r := ask(s, 20*time.Second); string(r.Body) != "1" {
		t.Errorf("restarted end: got %+v %s", r, r.Body)
	}
	if r := ask(openSealed(t, url, other), time.Second); r.ErrorType != ErrorNoDeveloper || !strings.Contains(string(r.Body), "not signed") {
		t.Errorf("another stage's key: got %+v %s", r, r.Body)
	}
	if r := ask(openSandbox(t, url), time.Second); !r.FunctionError {
		t.Errorf("not sealed: got %+v", r)
	}
}

// The sealed frames of docs/protocol.md, made with keys that anyone can make: another implementation must read these.
func TestGoldenSealed(t *testing.T) {
	private := func(b byte) *ecdh.PrivateKey {
		key, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{b}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	developer, sandbox := private(1), private(2)
	stage := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))
	const session = "0199f0b1c2d-01020304"
	box, err := newSeal(sandbox, developer.PublicKey(), session, true)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := newSeal(developer, sandbox.PublicKey(), session, false)
	if err != nil {
		t.Fatal(err)
	}
	init := box.close(&Frame{Version: 1, Type: typeInit, Session: session, Sandbox: "box", Seq: 1, Data: []byte(`{"function":"web/Notes"}`)}, 0, 1)
	ack := dev.close(&Frame{Version: 1, Type: typeAck, Session: session, Sandbox: "box"}, 1, 1)
	got := fmt.Sprintf("stage public key: %s\nkey:              %s\nsignature:        %s\n%s\n%s\n",
		b64.EncodeToString(stage.Public().(ed25519.PublicKey)), b64.EncodeToString(developer.PublicKey().Bytes()),
		b64.EncodeToString(ed25519.Sign(stage, append([]byte(signInfo), developer.PublicKey().Bytes()...))), init.Append(nil), ack.Append(nil))
	const file = "testdata/sealed.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("got\n%swant\n%s%v", got, want, err)
	}
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil || !bytes.Contains(page, want) {
		t.Errorf("docs/protocol.md does not show %s: %v", file, err)
	}
	for _, line := range bytes.Split(want, []byte("\n"))[3:5] {
		f, err := Decode(line)
		if err != nil {
			t.Fatal(err)
		}
		reader := dev
		if f.Type == typeAck {
			reader = box
		}
		if data, ok := reader.open(f); !ok || f.Type == typeInit && string(data) != `{"function":"web/Notes"}` {
			t.Errorf("%s does not open: %q", line, data)
		}
	}
}
