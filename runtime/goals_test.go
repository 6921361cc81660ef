//go:build !windows

package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sst/cfn"
	"sst/proxy"
	"sst/proxy/relaytest"
)

// The goals of the live wire that workers have a part in, each with what it is and what it should be: `make bench-live`.

// goal prints a figure beside its target; more: it must be reached, else it must not be exceeded.
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
	b.Logf("%-52s %10.4g %-5s goal %s %g: %s", name, got, unit, sign, target, verdict)
}

const goalHandler = `export const handler = async (event) => {
  if (event === "exit") process.exit(1);
  if (event?.sleep) await new Promise((done) => setTimeout(done, event.sleep));
  return event;
};`

// BenchmarkGoalWorkers prints G3, G4 and G10 with real workers.
func BenchmarkGoalWorkers(b *testing.B) {
	for b.Loop() {
		root := b.TempDir()
		os.MkdirAll(filepath.Join(root, "src"), 0o755)
		if err := os.WriteFile(filepath.Join(root, "src", "a.js"), []byte(goalHandler), 0o644); err != nil {
			b.Fatal(err)
		}
		relay := relaytest.New(b, proxy.RelayOptions{}, relaytest.Faults{})
		openDeveloper(b, root, relay.URL)
		boxes := make([]*proxy.Sandbox, 8)
		invoke := func(s *proxy.Sandbox, event string) *proxy.Response {
			r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte(event), Deadline: time.Now().Add(2 * time.Minute)})
			if err != nil {
				b.Error(err)
				return &proxy.Response{}
			}
			return r
		}
		env := map[string]string{"AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "a"}
		for i := range boxes {
			s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "web/A", Timeout: 120, Env: env}})
			if err != nil {
				b.Fatal(err)
			}
			boxes[i] = s
			invoke(s, `"warm"`)
		}
		event := `"` + strings.Repeat("x", 1000) + `"`
		all := func(each int, event string) time.Duration {
			var wg sync.WaitGroup
			began := time.Now()
			for _, s := range boxes {
				wg.Go(func() {
					for range each {
						if r := invoke(s, event); r.FunctionError {
							b.Errorf("%s %s", r.ErrorType, r.Body)
						}
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		all(200, event)
		goal(b, "G3 invocations a second, 8 Node workers", 8*1000/all(1000, event).Seconds(), 2000, "1/s", true)
		for _, n := range []int{1_000, 10_000} {
			var wg sync.WaitGroup
			var failed atomic.Int64
			began := time.Now()
			for i := range n {
				wg.Go(func() {
					if r := invoke(boxes[i%len(boxes)], fmt.Sprintf(`{"n":%d}`, i)); string(r.Body) != fmt.Sprintf(`{"n":%d}`, i) {
						failed.Add(1)
					}
				})
			}
			wg.Wait()
			goal(b, fmt.Sprintf("G4 errors of %d queued at 8 workers (%.1f s)", n, time.Since(began).Seconds()), float64(failed.Load()), 0, "", false)
		}
		var worst time.Duration
		for range 10 {
			invoke(boxes[0], `"warm"`)
			began := time.Now()
			if r := invoke(boxes[0], `"exit"`); r.ErrorType != "Runtime.ExitError" {
				b.Errorf("exit: got %s %s", r.ErrorType, r.Body)
			}
			worst = max(worst, time.Since(began))
		}
		goal(b, "G10 error after a worker's exit, slowest of 10", worst.Seconds()*1000, 100, "ms", false)
		for _, s := range boxes {
			s.Close()
		}
	}
}

// BenchmarkGoalG2 prints what a whole local request takes: front, sandbox, relay, warm Node and back.
func BenchmarkGoalG2(b *testing.B) {
	for b.Loop() {
		url := benchProject(b).api() + "/"
		load(b, url, 1, 500)
		var took []time.Duration
		for range 3000 {
			began := time.Now()
			if err := post(http.DefaultClient, url); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		goal(b, "G2 local request of 1 KB, p50", took[len(took)/2].Seconds()*1000, 0.5, "ms", false)
		goal(b, "G2 local request of 1 KB, p99", took[len(took)*99/100].Seconds()*1000, 4, "ms", false)
		for _, callers := range []int{10, 50} {
			load(b, url, callers, 3000)
			goal(b, fmt.Sprintf("G2 requests a second, %d at once", callers), load(b, url, callers, 10_000), 5000, "1/s", true)
		}
	}
}

// BenchmarkGoalG13 prints how soon a process that was not started ahead asks for its first event.
func BenchmarkGoalG13(b *testing.B) {
	for b.Loop() {
		p := benchProject(b)
		if err := post(http.DefaultClient, p.api()+"/"); err != nil {
			b.Fatal(err)
		}
		fn := p.server.app.Load().functions["web/A"]
		built, err := p.server.codes.get(b.Context(), fn.key)
		if err != nil {
			b.Fatal(err)
		}
		var took []time.Duration
		for range 11 {
			if spare := p.server.factory.takeSpare(""); spare != nil {
				spare.stop()
			}
			began := time.Now()
			w, err := p.server.factory.open(built, fn.init().Env, nil)
			if err != nil {
				b.Fatal(err)
			}
			if !w.api.settled(b.Context()) {
				b.Fatal("it does not ask for an event")
			}
			took = append(took, time.Since(began))
			w.stop()
		}
		p.server.codes.release(built)
		slices.Sort(took)
		goal(b, "G13 start to first next, p50", took[len(took)/2].Seconds()*1000, 150, "ms", false)
	}
}

// BenchmarkGoalG11 saves 20 times a second under 200 requests a second, in five bursts of two seconds.
func BenchmarkGoalG11(b *testing.B) {
	source := func(n int) string {
		return fmt.Sprintf("export const handler = async () => ({ n: %d });", n)
	}
	for b.Loop() {
		p := newProject(b, map[string]string{"src/a.js": source(0)},
			[]cfn.Function{nodeFunction("web/A", "src/a.handler")}, cfn.Route{Key: "GET /", Function: "web/A"})
		url := p.api() + "/"
		ask := func() (int, error) {
			res, err := http.Get(url)
			if err != nil {
				return 0, err
			}
			defer res.Body.Close()
			var got struct{ N int }
			body, _ := io.ReadAll(res.Body)
			if err := json.Unmarshal(body, &got); err != nil || res.StatusCode != 200 {
				return 0, fmt.Errorf("%d %s", res.StatusCode, body)
			}
			return got.N, nil
		}
		ask()
		var asked, failed atomic.Int64
		stop := make(chan bool)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
					}
					asked.Add(1)
					if _, err := ask(); err != nil {
						failed.Add(1)
						b.Log(err)
					}
				}
			})
		}
		var slowest time.Duration
		n := 0
		for range 5 {
			for range 40 {
				n++
				p.write("src/a.js", source(n))
				time.Sleep(50 * time.Millisecond)
			}
			n++
			p.write("src/a.js", source(n))
			saved := time.Now()
			for got, err := ask(); got != n && time.Since(saved) < 5*time.Second; got, err = ask() {
				if err != nil {
					failed.Add(1)
				}
			}
			slowest = max(slowest, time.Since(saved))
		}
		close(stop)
		wg.Wait()
		goal(b, fmt.Sprintf("G11 failed of %d under 200 edits", asked.Load()), float64(failed.Load()), 0, "", false)
		goal(b, "G11 last save of a burst to its code, slowest of 5", slowest.Seconds()*1000, 300, "ms", false)
	}
}

// usage is what a process must not gather.
type usage struct {
	goroutines, files, children int
	heap                        float64 // MB
}

func measure() usage {
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	u := usage{goroutines: goruntime.NumGoroutine(), heap: float64(m.HeapAlloc) / (1 << 20)}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(files)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		u.children += len(strings.Fields(string(data)))
	}
	return u
}

// BenchmarkGoalG16 is the soak: 200 invocations a second, a cut every 20 s, everything flat. It takes SST_SOAK (10m for
// the goal), a minute when that is not set.
func BenchmarkGoalG16(b *testing.B) {
	lasts := time.Minute
	if d, err := time.ParseDuration(os.Getenv("SST_SOAK")); err == nil {
		lasts = d
	}
	for b.Loop() {
		soak(b, lasts)
	}
}

func soak(b *testing.B, lasts time.Duration) {
	seed := uint64(time.Now().UnixNano())
	b.Logf("seed %d, %v", seed, lasts)
	root := b.TempDir()
	os.MkdirAll(filepath.Join(root, "src"), 0o755)
	if err := os.WriteFile(filepath.Join(root, "src", "a.js"), []byte(goalHandler), 0o644); err != nil {
		b.Fatal(err)
	}
	relay := relaytest.New(b, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Idle: 10 * time.Second}, relaytest.Faults{})
	ours, theirs := relaytest.NewProxy(b, relay.Addr, seed), relaytest.NewProxy(b, relay.Addr, seed+1)
	openDeveloper(b, root, ours.URL)
	const sandboxes = 4
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "a"}
	var wg sync.WaitGroup
	var count, failed, wrong atomic.Int64
	stop := make(chan bool)
	for n := range sandboxes {
		s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: theirs.URL, ID: fmt.Sprint("s", n), Init: proxy.Init{Function: "web/A", Timeout: 60, Env: env}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			tick := time.NewTicker(sandboxes * time.Second / 200)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				event := fmt.Sprintf(`{"n":%d,"pad":"%s"}`, count.Add(1), strings.Repeat("x", rng.IntN(2000)))
				r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte(event), Deadline: time.Now().Add(30 * time.Second)})
				switch {
				case err != nil || r.FunctionError:
					failed.Add(1)
					b.Logf("%v %+v", err, r)
				case string(r.Body) != event:
					wrong.Add(1)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 9))
	end := time.Now().Add(lasts)
	settled := time.Now().Add(lasts / 6)
	var first, last usage
	cut := time.Now()
	var samples []float64
	for time.Now().Before(end) {
		time.Sleep(time.Second)
		if first.goroutines == 0 && time.Now().After(settled) {
			first = measure()
		}
		if time.Since(cut) >= 20*time.Second {
			cut = time.Now()
			if rng.IntN(2) == 0 {
				ours.CutOne(relaytest.Cut(rng.IntN(2)), rng.IntN(3000))
			} else {
				theirs.CutOne(relaytest.Cut(rng.IntN(3)), rng.IntN(3000))
			}
		}
		if first.goroutines != 0 && time.Now().Second()%10 == 0 {
			samples = append(samples, measure().heap)
		}
	}
	close(stop)
	wg.Wait()
	time.Sleep(12 * time.Second) // connections cut half open end with the relay's idle time
	last = measure()
	b.Logf("%d invocations, %d cuts; at first %+v, at last %+v", count.Load(), ours.Cuts()+theirs.Cuts(), first, last)
	goal(b, "G16 invocations that failed", float64(failed.Load()), 0, "", false)
	goal(b, "G16 wrong answers", float64(wrong.Load()), 0, "", false)
	goal(b, "G16 goroutines more than at first", float64(last.goroutines-first.goroutines), 5, "", false)
	goal(b, "G16 files more than at first", float64(last.files-first.files), 3, "", false)
	goal(b, "G16 child processes more than at first", float64(last.children-first.children), 0, "", false)
	goal(b, "G16 heap more than at first", last.heap-first.heap, 2, "MB", false)
	if len(samples) > 0 {
		b.Logf("heap meanwhile: %.1f to %.1f MB", slices.Min(samples), slices.Max(samples))
	}
}
