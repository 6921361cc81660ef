package proxy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The goals of the live wire, each with what it is and what it should be: `make bench-live`.

// goal prints a figure beside its target; more is what must not be exceeded, or what must be reached.
func goal(b *testing.B, name string, got, target float64, unit string, more bool) {
	b.Helper()
	sign, ok := "<=", got <= target
	if more {
		sign, ok = ">=", got >= target
	}
	verdict := "ok"
	if !ok {
		verdict = "MISSED"
	}
	b.Logf("%-44s %10.4g %-4s goal %s %g: %s", name, got, unit, sign, target, verdict)
	b.ReportMetric(got, unit)
}

// resident is the memory of this process in bytes.
func resident() int64 {
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(data); len(fields) > 1 {
			pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			return pages * int64(os.Getpagesize())
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// BenchmarkGoalG5 holds 10,000 invocations of 1 KB in flight, at the developer's end and the relay; the sandboxes, as on
// AWS, are in another process.
func BenchmarkGoalG5(b *testing.B) {
	for b.Loop() {
		before, during, after := inFlight(b, 10_000)
		goal(b, "G5 growth with 10,000 in flight", float64(during-before)/(1<<20), 80, "MB", false)
		goal(b, "G5 left after them", float64(after-before)/(1<<20), 10, "MB-left", false)
	}
}

const sandboxesEach = 100 // invocations of one sandbox in inFlight

// inFlight makes invocations that all wait at the developer's end before one is answered, and gives the memory of
// this process before, meanwhile and after.
func inFlight(t testing.TB, n int) (before, during, after int64) {
	_, url := newRelay(t, RelayOptions{})
	release := make(chan bool)
	var warm, arrived sync.WaitGroup
	warm.Add(n / sandboxesEach)
	arrived.Add(n)
	dial(t, url, func(_ context.Context, inv *Invocation) {
		if len(inv.Event) > 1 {
			arrived.Done()
			<-release
		} else {
			warm.Done()
		}
		inv.Respond(inv.Event)
	})
	cmd := exec.Command(os.Args[0], "-test.run", "^TestSandboxes$", "-test.v")
	cmd.Env = append(os.Environ(), "SANDBOXES="+fmt.Sprint(n/sandboxesEach), "RELAY="+url)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	warm.Wait()
	debug.FreeOSMemory()
	before = resident()
	stdin.Write([]byte("\n"))
	arrived.Wait()
	during = resident()
	close(release)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the sandboxes: %v\n%s", err, out.Bytes())
	}
	debug.FreeOSMemory()
	debug.FreeOSMemory() // pools give up what they hold at the second collection
	return before, during, resident()
}

// TestSandboxes is the other process of inFlight.
func TestSandboxes(t *testing.T) {
	count, _ := strconv.Atoi(os.Getenv("SANDBOXES"))
	if count == 0 {
		t.Skip("a part of BenchmarkGoalG5")
	}
	sandboxes := make([]*Sandbox, count)
	for i := range sandboxes {
		sandboxes[i] = openSandbox(t, os.Getenv("RELAY"))
		invokeOrFail(t, sandboxes[i], []byte("1"))
	}
	os.Stdin.Read(make([]byte, 1))
	var wg sync.WaitGroup
	for i, s := range sandboxes {
		for j := range sandboxesEach {
			wg.Go(func() {
				event := randomBytes(1 << 10)
				copy(event, fmt.Sprint(i, " ", j, " "))
				r, err := s.Invoke(context.Background(), Request{Event: event, Deadline: time.Now().Add(time.Minute)})
				if err != nil || !bytes.Equal(r.Body, event) {
					t.Errorf("invocation %d of %d: %v", j, i, err)
				}
			})
		}
	}
	wg.Wait()
}

// BenchmarkGoalWire prints the other goals that the wire meets by itself: G1, G3, G4, G6, G8, G9.
func BenchmarkGoalWire(b *testing.B) {
	debug.FreeOSMemory() // of the benchmarks before
	for b.Loop() {
		_, url := newRelay(b, RelayOptions{})
		conn := dial(b, url, func(_ context.Context, inv *Invocation) {
			if len(inv.Event) == 2 {
				time.Sleep(time.Second)
			}
			inv.Respond(inv.Event)
		})
		s := openSandbox(b, url)
		event := randomBytes(1 << 10)
		took := make([]time.Duration, 3000)
		for i := range took {
			began := time.Now()
			invokeOrFail(b, s, event)
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
		goal(b, "G1 round trip of 1 KB, p50", ms(took[len(took)/2]), 0.30, "ms-p50", false)
		goal(b, "G1 round trip of 1 KB, p99", ms(took[len(took)*99/100]), 2, "ms-p99", false)

		sandboxes := make([]*Sandbox, 50)
		for i := range sandboxes {
			sandboxes[i] = openSandbox(b, url)
			invokeOrFail(b, sandboxes[i], event)
		}
		all := func(each int, event []byte) time.Duration {
			var wg sync.WaitGroup
			began := time.Now()
			for _, s := range sandboxes {
				wg.Go(func() {
					for range each {
						invokeOrFail(b, s, event)
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		goal(b, "G3 messages a second, both ways counted", 2*50*400/all(400, event).Seconds(), 10_000, "msg/s", true)

		var wg sync.WaitGroup
		began := time.Now()
		for i := range 1000 {
			wg.Go(func() { invokeOrFail(b, sandboxes[i%len(sandboxes)], []byte("1s")) })
		}
		wg.Wait()
		goal(b, "G4 1,000 in flight that take 1 s", time.Since(began).Seconds(), 3, "s", false)

		again := make([]time.Duration, 50)
		for i := range again {
			before := conn.sock.Load()
			began := time.Now()
			before.close(0, "") // as a reset does
			for now := conn.sock.Load(); now == nil || now == before; now = conn.sock.Load() {
				time.Sleep(time.Millisecond)
			}
			again[i] = time.Since(began)
		}
		slices.Sort(again)
		goal(b, "G8 registered again after a reset, p99", ms(again[len(again)-1]), 250, "ms-reset", false)
		conn.Close()

		began = time.Now()
		r, err := s.Invoke(context.Background(), Request{Event: []byte("1"), Deadline: began.Add(time.Minute)})
		if err != nil || r.ErrorType != ErrorNoDeveloper {
			b.Errorf("no developer: got %+v, %v", r, err)
		}
		goal(b, "G9 error without a developer", time.Since(began).Seconds(), 3.2, "s-absent", false)

		for _, test := range []struct {
			name   string
			target float64
		}{{"fast", 250}, {"apigw", 600}} {
			_, url := newRelay(b, RelayOptions{Profile: profiles[test.name]})
			dial(b, url, echo)
			s := openSandbox(b, url)
			large := randomBytes(6<<20 - 100)
			invokeOrFail(b, s, large)
			began := time.Now()
			invokeOrFail(b, s, large)
			goal(b, "G6 6 MB both ways, "+test.name, ms(time.Since(began)), test.target, "ms-"+test.name, false)
		}
	}
}
