//go:build !windows

package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
	"sst/runtime/bundle"
)

// What live mode promises, on a network that breaks all the time: no invocation is lost, none is executed twice, no
// answer is another's. The developer's end is a process of its own that runs the handler in Node; what was executed is
// what the handler wrote into a file.

const cutsHandler = `import { appendFileSync } from "node:fs";
export const handler = async (event) => {
  appendFileSync(process.env.EXECUTED, event.id + "\n");
  if (event.wait) await new Promise((done) => setTimeout(done, event.wait));
  return { id: event.id, pad: event.pad };
};`

// TestCuts is the short form of BenchmarkGoalG7.
func TestCuts(t *testing.T) { cuts(t, 600, 60, 1) }

// BenchmarkGoalG7 is goal G7: 1,000 cuts over 10,000 invocations.
func BenchmarkGoalG7(b *testing.B) {
	for b.Loop() {
		cuts(b, 10_000, 1_000, 10)
	}
}

// cuts makes invocations while connections are cut, one cut for every invocations/wanted of them, and the developer's
// process is killed and started again so many times.
func cuts(t testing.TB, invocations, wanted, kills int) {
	node := localNode(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SST_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("seed %d (SST_SEED repeats it)", seed)
	root := t.TempDir()
	executed := filepath.Join(root, "executed")
	if err := os.MkdirAll(filepath.Join(root, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "src", "a.js"), []byte(cutsHandler), 0o644); err != nil {
		t.Fatal(err)
	}
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway}, relaytest.Faults{})
	ours, theirs := relaytest.NewProxy(t, relay.Addr, seed), relaytest.NewProxy(t, relay.Addr, seed+1)
	dev := &developerProcess{t: t, node: node, root: root, url: ours.URL}
	dev.start()
	defer dev.kill()

	const sandboxes = 8
	var (
		wg               sync.WaitGroup
		begun, done      atomic.Int64
		attempts, errors sync.Map // id -> error type, "" for a result
		rngs             [sandboxes]*rand.Rand
	)
	env := map[string]string{"EXECUTED": executed, "AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "a"}
	for n := range sandboxes {
		rngs[n] = rand.New(rand.NewPCG(seed, uint64(n)))
		s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{
			URL: theirs.URL, ID: fmt.Sprint("s", n), Init: proxy.Init{Function: "web/A", Timeout: 60, Env: env},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		wg.Go(func() {
			for i := begun.Add(1); i <= int64(invocations) || ours.Cuts()+theirs.Cuts() < wanted; i = begun.Add(1) {
				for try := 0; ; try++ {
					id := fmt.Sprintf("%d.%d", i, try)
					got := attempt(t, s, rngs[n], id)
					if got == "" {
						attempts.Store(id, true)
						break
					}
					errors.Store(id, got)
					if try == 20 {
						t.Errorf("invocation %d is lost: %s", i, got)
						break
					}
				}
				done.Add(1)
			}
		})
	}
	finished := make(chan bool)
	go func() { wg.Wait(); close(finished) }()
	rng := rand.New(rand.NewPCG(seed, 99))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	killed := 0
	for alive := true; alive; {
		select {
		case <-finished:
			alive = false
			continue
		case <-tick.C:
		}
		if killed < kills && done.Load() >= int64((killed+1)*invocations/(kills+1)) {
			killed++
			dev.kill()
			dev.start()
		}
		if ours.Cuts()+theirs.Cuts() >= int(done.Load())*wanted/invocations {
			continue
		}
		where, how, after := theirs, relaytest.Cut(rng.IntN(3)), rng.IntN(5000)
		if rng.IntN(4) == 0 {
			where = ours
		}
		if where == ours && how == relaytest.HalfOpen && rng.IntN(4) > 0 { // noticed by a heartbeat only
			how = relaytest.Finish
		}
		if rng.IntN(3) == 0 {
			after = 0
		}
		where.CutOne(how, after)
	}
	dev.kill()

	counts := map[string]int{}
	data, err := os.ReadFile(executed)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range strings.Fields(string(data)) {
		counts[id]++
	}
	twice, wrong := 0, 0
	for id, n := range counts {
		if n > 1 {
			twice++
			t.Errorf("%s was executed %d times", id, n)
		}
	}
	attempts.Range(func(id, _ any) bool {
		if counts[id.(string)] != 1 {
			wrong++
			t.Errorf("%s has a result and was executed %d times", id, counts[id.(string)])
		}
		return true
	})
	failed := map[string]int{}
	errors.Range(func(id, kind any) bool {
		failed[kind.(string)]++
		if kind == proxy.ErrorNoDeveloper && counts[id.(string)] != 0 {
			t.Errorf("%s was executed, although nobody took it", id)
		}
		if kind != proxy.ErrorNoDeveloper && kind != proxy.ErrorDeveloperLost || kills == 0 {
			t.Errorf("%s: %s", id, kind)
		}
		return true
	})
	t.Logf("%d invocations, %d cuts (%d of the developer's end), %d kills, attempts that failed: %v; executed twice: %d, results without execution: %d",
		done.Load(), ours.Cuts()+theirs.Cuts(), ours.Cuts(), killed, failed, twice, wrong)
	if n := ours.Cuts() + theirs.Cuts(); n < wanted {
		t.Errorf("%d cuts, want %d", n, wanted)
	}
}

// attempt makes one attempt at an invocation and gives the type of its error, "" for a right answer.
func attempt(t testing.TB, s *proxy.Sandbox, rng *rand.Rand, id string) string {
	event := struct {
		ID   string `json:"id"`
		Wait int    `json:"wait,omitempty"`
		Pad  string `json:"pad"`
	}{ID: id}
	size := rng.IntN(300)
	if rng.IntN(10) == 0 {
		size = rng.IntN(60_000)
	}
	if rng.IntN(10) == 0 {
		event.Wait = rng.IntN(50)
	}
	pad := make([]byte, size)
	for i := range pad {
		pad[i] = 'a' + byte(rng.IntN(26))
	}
	event.Pad = string(pad)
	data, _ := json.Marshal(event)
	r, err := s.Invoke(context.Background(), proxy.Request{Event: data, Deadline: time.Now().Add(60 * time.Second)})
	if err != nil {
		t.Errorf("%s: %v", id, err)
		return ""
	}
	if r.FunctionError {
		return r.ErrorType
	}
	event.Wait = 0
	if want, _ := json.Marshal(event); !bytes.Equal(r.Body, want) {
		t.Errorf("%s: wrong answer %.200s", id, r.Body)
	}
	return ""
}

// developerProcess is `sst start` as far as the wire and the workers are concerned.
type developerProcess struct {
	t         testing.TB
	node      Node
	root, url string
	cmd       *exec.Cmd
	said      bytes.Buffer
}

func (d *developerProcess) start() {
	d.t.Helper()
	d.said.Reset()
	d.cmd = exec.Command(os.Args[0], "-test.run", "^TestDeveloperProcess$", "-test.v")
	d.cmd.Env = append(os.Environ(), "SST_RELAY="+d.url, "SST_ROOT="+d.root)
	d.cmd.Stderr = &d.said
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go io.Copy(io.Discard, out)
}

// kill is kill -9.
func (d *developerProcess) kill() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
}

// TestDeveloperProcess is that process.
func TestDeveloperProcess(t *testing.T) {
	url, root := os.Getenv("SST_RELAY"), os.Getenv("SST_ROOT")
	if url == "" {
		t.Skip("a part of TestCuts")
	}
	openDeveloper(t, root, url)
	select {} // until it is killed
}

// openDeveloper connects a developer's end that runs the handler in Node.
func openDeveloper(t testing.TB, root, url string) *runner {
	t.Helper()
	fn := &function{Function: nodeFunction("web/A", "src/a.handler")}
	fn.key = fn.Bundle.Key()
	opts := Options{Root: root, Dir: filepath.Join(root, fmt.Sprint("state", os.Getpid())), Node: localNode(t), Environ: os.Environ()}
	ignore := func(Event) {}
	codes, err := openCodes(context.Background(), root, filepath.Join(opts.Dir, "bundles"),
		bundle.Config{Root: root, Mode: bundle.Live, NodeMajor: opts.Node.Major, Vendor: filepath.Join(opts.Dir, "vendor")}, ignore, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	factory, err := openFactory(opts, filepath.Join(opts.Dir, "shim"), func(*call, bool, string) {})
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.Map
	r := newRunner(factory, codes, &calls, func(string) (*function, bool) { return fn, true }, ignore)
	codes.swap = r.refresh
	codes.update([]bundle.Spec{fn.Bundle}, map[string][]string{fn.key: {fn.ID}})
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: url, TakeOver: true, Handler: r, Heartbeat: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		factory.close()
		codes.close()
	})
	return r
}
