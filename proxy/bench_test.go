package proxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRoundTrip is one invocation after the other: what the wire adds to a local invoke. Goal: p50 <= 0.30 ms,
// p99 <= 2 ms (fast).
func BenchmarkRoundTrip(b *testing.B) {
	for _, name := range []string{"fast", "apigw"} {
		b.Run(name, func(b *testing.B) {
			_, url := newRelay(b, RelayOptions{Profile: profiles[name]})
			dial(b, url, echo)
			s := openSandbox(b, url)
			event := randomBytes(1 << 10)
			invokeOrFail(b, s, event)
			times := make([]time.Duration, 0, b.N)
			for b.Loop() {
				start := time.Now()
				invokeOrFail(b, s, event)
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
		})
	}
}

// BenchmarkThroughput is many sandboxes at once through one developer connection. Goal: 10,000 messages/s, which is
// 5,000 invocations/s.
func BenchmarkThroughput(b *testing.B) {
	for _, name := range []string{"fast", "apigw"} {
		for _, width := range []int{10, 50} {
			b.Run(fmt.Sprintf("%s-%d", name, width), func(b *testing.B) {
				_, url := newRelay(b, RelayOptions{Profile: profiles[name]})
				dial(b, url, echo)
				event := randomBytes(1 << 10)
				sandboxes := make([]*Sandbox, width)
				for i := range sandboxes {
					sandboxes[i] = openSandbox(b, url)
					invokeOrFail(b, sandboxes[i], event)
				}
				b.ResetTimer()
				start := time.Now()
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for _, s := range sandboxes {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							invokeOrFail(b, s, event)
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "invokes/s")
			})
		}
	}
}

// BenchmarkEcho6MB sends the largest payload both ways. Goal: 600 ms (apigw), 250 ms (fast).
func BenchmarkEcho6MB(b *testing.B) {
	for _, name := range []string{"fast", "apigw"} {
		b.Run(name, func(b *testing.B) {
			_, url := newRelay(b, RelayOptions{Profile: profiles[name]})
			dial(b, url, echo)
			s := openSandbox(b, url)
			event := randomBytes(6<<20 - 100)
			for b.Loop() {
				invokeOrFail(b, s, event)
			}
		})
	}
}

// BenchmarkFrame is the codec alone.
func BenchmarkFrame(b *testing.B) {
	for _, codec := range []string{codecPlain, codecRaw} {
		f := &Frame{
			Version: 1, Type: typeReq, Session: "018f1e2d3c4-01020304", Sandbox: "0102030405060708",
			ID: uuid() + ".0102030405060708", Seq: 17, Ack: 16, Codec: codec, Data: randomBytes(1 << 10),
		}
		b.Run("codec="+codec, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = f.Append(buf[:0])
				if _, err := Decode(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func invokeOrFail(t testing.TB, s *Sandbox, event []byte) {
	r, err := s.Invoke(context.Background(), Request{Event: event})
	if err != nil || r.FunctionError || len(r.Body) != len(event) {
		t.Fatalf("invoke: %v %+v", err, r)
	}
}

func randomBytes(n int) []byte {
	rng := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	rng.Read(b)
	return b
}
