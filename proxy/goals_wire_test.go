package proxy_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// goal prints a figure beside its target, which must not be exceeded.
func goal(b *testing.B, name string, got, target float64, unit string) {
	b.Helper()
	verdict := "ok"
	if got > target {
		verdict = "MISSED"
	}
	b.Logf("%-44s %10.4g %-4s goal <= %g: %s", name, got, unit, target, verdict)
}

// BenchmarkGoalG8 lets the network of the developer's end swallow everything, with the heartbeat as it is: half a minute.
func BenchmarkGoalG8(b *testing.B) {
	for b.Loop() {
		relay := relaytest.New(b, proxy.RelayOptions{}, relaytest.Faults{})
		for _, inFlight := range []bool{true, false} {
			tcp := relaytest.NewProxy(b, relay.Addr, 1)
			lost, there := make(chan bool, 10), make(chan bool, 10)
			began, release := make(chan bool, 1), make(chan bool)
			conn, err := proxy.Dial(context.Background(), proxy.DialOptions{
				URL: tcp.URL, TakeOver: true,
				OnState: func(s proxy.State, _ error) {
					switch s {
					case proxy.Disconnected:
						lost <- true
					case proxy.Connected:
						there <- true
					}
				},
				Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
					began <- true
					<-release
					inv.Respond(inv.Event)
				}),
			})
			if err != nil {
				b.Fatal(err)
			}
			<-there
			name, target := "idle", 30.0
			if inFlight {
				name, target = "in flight", 10
				s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
				defer s.Close()
				go s.Invoke(context.Background(), proxy.Request{Event: []byte("1"), Deadline: time.Now().Add(time.Minute)})
				<-began
			}
			tcp.BlackHole(true)
			cut := time.Now()
			<-lost
			goal(b, "G8 black hole noticed, "+name, time.Since(cut).Seconds(), target, "s")
			tcp.BlackHole(false)
			<-there
			woke := time.Now()
			conn.Wake()
			<-there
			goal(b, "G8 connected again after a sleep", time.Since(woke).Seconds(), 2, "s")
			close(release)
			conn.Close()
		}
	}
}

// BenchmarkGoalG12 is how long a byte that the function writes takes to the sandbox's reader.
func BenchmarkGoalG12(b *testing.B) {
	for b.Loop() {
		relay := relaytest.New(b, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway}, relaytest.Faults{})
		conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
			w := inv.Stream("")
			w.Write(binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano())))
			time.Sleep(5 * time.Millisecond)
			w.Close()
		})})
		if err != nil {
			b.Fatal(err)
		}
		s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
		var took []float64
		for range 100 {
			r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte("1"), Stream: true})
			if err != nil || r.Stream == nil {
				b.Fatalf("%+v, %v", r, err)
			}
			var at [8]byte
			io.ReadFull(r.Stream, at[:])
			took = append(took, float64(time.Now().UnixNano()-int64(binary.BigEndian.Uint64(at[:])))/1e6)
			io.Copy(io.Discard, r.Stream)
		}
		slices.Sort(took)
		goal(b, "G12 first byte of a stream, p50", took[50], 5, "ms")
		goal(b, "G12 first byte of a stream, p99", took[98], 5, "ms")
		s.Close()
		conn.Close()
	}
}

// BenchmarkGoalG14 is the stub's size and what it takes of the processor until it asks for the first event: its modules, the
// connection and the first words over it, in a Node that is there already.
func BenchmarkGoalG14(b *testing.B) {
	for b.Loop() {
		goal(b, "G14 stub", float64(len(proxy.Stub))/1024, 25, "KB")
		relay := relaytest.New(b, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
		script := `const began = process.cpuUsage()
import http from "node:http"
const request = http.request
http.request = function (o, ...more) {
  if (o.path?.endsWith("/next")) {
    const { user, system } = process.cpuUsage(began)
    console.error("took", (user + system) / 1000)
    http.request = request
  }
  return request.call(this, o, ...more)
}`
		var took []float64
		for range 7 {
			l, out := startStubConfig(b, map[string]any{"url": relay.URL, "token": "secret"}, "NODE_OPTIONS=--import data:text/javascript;base64,"+base64.StdEncoding.EncodeToString([]byte(script)))
			l.invoke(b, []byte("1"), time.Second) // nobody is there
			l.cmd.Process.Kill()
			l.cmd.Wait()
			var ms float64
			fmt.Sscanf(strings.TrimSpace(out.String()), "took %g", &ms)
			took = append(took, ms)
		}
		slices.Sort(took)
		goal(b, "G14 processor until the first event, p50", took[len(took)/2], 30, "ms")
	}
}
