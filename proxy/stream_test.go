package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// A streamed answer arrives as it is written, in order, and ends as the function ends it.
func TestStream(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			_, url := newRelay(t, RelayOptions{Profile: profile})
			step, gone := make(chan bool), make(chan error, 1)
			dial(t, url, func(ctx context.Context, inv *Invocation) {
				w := inv.Stream("text/plain")
				switch string(inv.Event) {
				case "steps":
					for _, part := range []string{"one", "two", "three"} {
						<-step
						io.WriteString(w, part)
					}
				case "late":
					io.WriteString(w, "begun")
					w.Fail("Error", []byte(`{"errorType":"Error"}`))
					return
				case "unended":
					io.WriteString(w, "begun")
					return
				case "endless":
					for {
						if _, err := w.Write(make([]byte, 10_000)); err != nil {
							gone <- err
							return
						}
					}
				case "again":
					if inv.Respond(nil) || inv.Stream("") != nil {
						t.Error("only the first answer counts")
					}
				}
				w.Close()
			})
			s := openSandbox(t, url)
			open := func(event string, stream bool) *Response {
				t.Helper()
				r, err := s.Invoke(context.Background(), Request{Event: []byte(event), Stream: stream})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			r := open("steps", true)
			if r.ContentType != "text/plain" || r.Stream == nil {
				t.Fatalf("got %+v", r)
			}
			buf := make([]byte, 100)
			for _, want := range []string{"one", "two", "three"} {
				step <- true
				if n, err := r.Stream.Read(buf); string(buf[:n]) != want || err != nil {
					t.Errorf("got %q, %v, want %q", buf[:n], err, want)
				}
			}
			if n, err := r.Stream.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("at the end: got %d, %v", n, err)
			}
			go func() {
				for range 3 {
					step <- true
				}
			}()
			if r := open("steps", false); string(r.Body) != "onetwothree" || r.ContentType != "text/plain" || r.Stream != nil {
				t.Errorf("whole: got %+v", r)
			}
			body, err := io.ReadAll(open("late", true).Stream)
			var failed *StreamError
			if !errors.As(err, &failed) || failed.Type != "Error" || string(failed.Body) != `{"errorType":"Error"}` || string(body) != "begun" {
				t.Errorf("late error: got %q, %v", body, err)
			}
			if r := open("late", false); !r.FunctionError || r.ErrorType != "Error" || string(r.Body) != `{"errorType":"Error"}` {
				t.Errorf("late error, whole: got %+v", r)
			}
			if _, err := io.ReadAll(open("unended", true).Stream); !errors.As(err, &failed) || failed.Type != ErrorNoAnswer {
				t.Errorf("unended: got %v", err)
			}
			if r := open("again", false); r.FunctionError || len(r.Body) != 0 {
				t.Errorf("again: got %+v", r)
			}
			r = open("endless", true)
			io.ReadFull(r.Stream, make([]byte, 3<<20))
			r.Stream.Close()
			if err := <-gone; err != ErrCancelled {
				t.Errorf("after Close the writer gets %v", err)
			}
			if r := open("endless", false); r.ErrorType != ErrorTooLarge {
				t.Errorf("endless, whole: got %+v", r)
			}
			<-gone
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.calls) != 0 {
				t.Errorf("%d calls are left", len(s.calls))
			}
		})
	}
}

// A reader that does not read stops the writer, and nobody else of its sandbox.
func TestStreamBackpressure(t *testing.T) {
	t.Parallel()
	_, url := newRelay(t, RelayOptions{})
	written := make(chan int, 1000)
	dial(t, url, func(ctx context.Context, inv *Invocation) {
		if len(inv.Event) == 0 {
			inv.Respond([]byte("quick"))
			return
		}
		w := inv.Stream("")
		for range 160 {
			w.Write(make([]byte, 100_000))
			written <- 100_000
		}
		w.Close()
	})
	s := openSandbox(t, url)
	r, err := s.Invoke(context.Background(), Request{Event: []byte("1"), Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for quiet := false; !quiet; {
		select {
		case n := <-written:
			total += n
		case <-time.After(300 * time.Millisecond):
			quiet = true
		}
	}
	if total > streamWindow || total < streamFirst/2 {
		t.Errorf("%d bytes were written without a reader, want at most %d", total, streamWindow)
	}
	if r, err := s.Invoke(context.Background(), Request{}); err != nil || string(r.Body) != "quick" {
		t.Errorf("beside it: got %+v, %v", r, err)
	}
	if n, err := io.Copy(io.Discard, r.Stream); n != 16_000_000 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}

// Cuts in the middle of a stream lose, repeat and swap nothing.
func TestStreamCuts(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			relay, url := newRelay(t, RelayOptions{Profile: profile})
			data := randomBytes(20 << 20)
			dial(t, url, func(ctx context.Context, inv *Invocation) {
				w := inv.Stream("")
				for rest := data; len(rest) > 0; {
					n := min(len(rest), 1+int(inv.Deadline.UnixNano()%50_000))
					w.Write(rest[:n])
					rest = rest[n:]
				}
				w.Close()
			})
			s := openSandbox(t, url)
			r, err := s.Invoke(context.Background(), Request{Event: []byte("1"), Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan bool)
			cuts := 0
			go func() {
				defer close(done)
				for s.ctx.Err() == nil && cuts < 40 {
					time.Sleep(time.Duration(5+rng.IntN(30)) * time.Millisecond)
					s.mu.Lock()
					over := len(s.calls) == 0
					s.mu.Unlock()
					if over {
						return
					}
					var all []*peer
					relay.conns.Range(func(_, p any) bool { all = append(all, p.(*peer)); return true })
					if len(all) > 0 {
						all[rng.IntN(len(all))].close(0, "")
						cuts++
					}
				}
			}()
			body, err := io.ReadAll(r.Stream)
			if err != nil || !bytes.Equal(body, data) {
				t.Errorf("got %d bytes, %v", len(body), err)
			}
			<-done
			t.Logf("%d cuts", cuts)
		})
	}
}

// The end of the caller's context and the deadline end a stream that is being read.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	_, url := newRelay(t, RelayOptions{})
	dial(t, url, func(ctx context.Context, inv *Invocation) {
		inv.Stream("")
		<-ctx.Done()
	})
	s, err := OpenSandbox(context.Background(), SandboxOptions{URL: url, Init: Init{Function: "f"}, Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := s.Invoke(ctx, Request{Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := r.Stream.Read(make([]byte, 1)); err != context.Canceled {
		t.Errorf("canceled: got %v", err)
	}
	if r, err = s.Invoke(context.Background(), Request{Stream: true, Deadline: time.Now().Add(300 * time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	var failed *StreamError
	if _, err := r.Stream.Read(make([]byte, 1)); !errors.As(err, &failed) {
		t.Errorf("deadline: got %v", err)
	}
}

// BenchmarkStream200MB is goal G12: 200 MB at constant memory (<= 32 MB), the first byte within 5 ms.
func BenchmarkStream200MB(b *testing.B) {
	for _, name := range []string{"fast", "apigw"} {
		b.Run(name, func(b *testing.B) {
			_, url := newRelay(b, RelayOptions{Profile: profiles[name]})
			part := randomBytes(64 << 10)
			wrote := make(chan time.Time, 1)
			dial(b, url, func(ctx context.Context, inv *Invocation) {
				w := inv.Stream("")
				time.Sleep(20 * time.Millisecond)
				wrote <- time.Now()
				for i := range 200 << 20 / len(part) {
					w.Write(part)
					if i == 0 {
						time.Sleep(20 * time.Millisecond)
					}
				}
				w.Close()
			})
			s := openSandbox(b, url)
			runtime.GC()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			var first time.Duration
			var most uint64
			for b.Loop() {
				r, err := s.Invoke(context.Background(), Request{Event: []byte("1"), Stream: true, Deadline: time.Now().Add(time.Minute)})
				if err != nil {
					b.Fatal(err)
				}
				sum, total, buf := sha256.New(), 0, make([]byte, 32<<10)
				for {
					n, err := r.Stream.Read(buf)
					if total == 0 {
						first = time.Since(<-wrote)
					}
					sum.Write(buf[:n])
					if total += n; total>>23 != (total-n)>>23 {
						runtime.ReadMemStats(&now)
						most = max(most, now.Sys-now.HeapReleased)
					}
					if err != nil {
						if err != io.EOF || total != 200<<20 {
							b.Fatal(fmt.Errorf("%d bytes: %w", total, err))
						}
						break
					}
				}
			}
			b.ReportMetric(float64(first.Microseconds()), "first-byte-us")
			b.ReportMetric(float64(int64(most)-int64(before.Sys-before.HeapReleased))/(1<<20), "growth-MB")
		})
	}
}
