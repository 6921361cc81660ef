package proxy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Each invocation leaves one line in the audit: who, what, how much, how it ended; no log ever has a body or a variable.
func TestAudit(t *testing.T) {
	var audit, log syncBuffer
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))
	_, url := newRelay(t, RelayOptions{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	began := make(chan bool)
	conn, err := Dial(context.Background(), DialOptions{
		URL: url, Key: key, Audit: slog.New(slog.NewJSONHandler(&audit, nil)),
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Handler: HandlerFunc(func(ctx context.Context, inv *Invocation) {
			switch {
			case bytes.HasPrefix(inv.Event, []byte("fail")):
				inv.Error("Foo.Bar", []byte("secret-body"))
			case bytes.HasPrefix(inv.Event, []byte("stream")):
				w := inv.Stream("text/plain")
				w.Write([]byte("secret-body"))
				w.Close()
			case bytes.HasPrefix(inv.Event, []byte("hang")):
				began <- true
				<-ctx.Done()
			case bytes.HasPrefix(inv.Event, []byte("nothing")):
			default:
				inv.Respond([]byte("secret-body"))
			}
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSandbox(context.Background(), SandboxOptions{
		URL: url, ID: "box", Trust: key.Public().(ed25519.PublicKey), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Init: Init{Function: "web/A", Env: map[string]string{"AWS_SECRET_ACCESS_KEY": "secret-key"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, event := range []string{"do secret-event", "fail", "stream", "nothing"} {
		if _, err := s.Invoke(context.Background(), Request{Event: []byte(event)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-began
		cancel()
	}()
	s.Invoke(ctx, Request{Event: []byte("hang")})
	for strings.Count(audit.String(), "\n") < 5 {
		time.Sleep(time.Millisecond)
	}
	conn.Close()
	got := map[string]int{}
	for _, line := range strings.Split(strings.TrimSpace(audit.String()), "\n") {
		var l struct {
			Msg, Attempt, Function, Sandbox, Connection, Outcome string
			In, Out                                              int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg != "invocation" || l.Function != "web/A" || l.Sandbox != "box" || l.Connection == "" || l.Attempt == "" || l.In == 0 {
			t.Errorf("line %s", line)
		}
		if l.Outcome == "result" && (l.In != len("do secret-event") || l.Out != len("secret-body")) || l.Outcome == "stream" && l.Out != len("secret-body") {
			t.Errorf("bytes of %s", line)
		}
		got[l.Outcome]++
	}
	for _, outcome := range []string{"result", "Foo.Bar", "stream", ErrorNoAnswer, "cancelled"} {
		if got[outcome] != 1 {
			t.Errorf("outcomes %v, want one %s", got, outcome)
		}
	}
	if all := audit.String() + log.String(); strings.Contains(all, "secret-") {
		t.Errorf("a secret is in the log:\n%s", all)
	}
}

// syncBuffer is a buffer that many may write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
