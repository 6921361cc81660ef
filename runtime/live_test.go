//go:build !windows

package runtime

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sst/cfn"
)

// TestEditUnderLoad saves while requests are under way: none may fail, and one that begins after a save must run it.
func TestEditUnderLoad(t *testing.T) {
	source := func(n int) string {
		return fmt.Sprintf("export const handler = async () => { await new Promise((r) => setTimeout(r, 2)); return { n: %d }; };", n)
	}
	p := newProject(t, map[string]string{"src/a.js": source(0)},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")}, cfn.Route{Key: "GET /", Function: "web/A"})
	url := p.api() + "/"
	p.get("/")
	var saved atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var served atomic.Int64
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				atLeast := saved.Load()
				res, err := http.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				var got struct{ N int64 }
				err = json.NewDecoder(res.Body).Decode(&got)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || got.N < atLeast {
					t.Errorf("got %d %v %v, want at least %d", res.StatusCode, got.N, err, atLeast)
					return
				}
				served.Add(1)
			}
		})
	}
	for n := 1; n <= 12; n++ {
		p.write("src/a.new", source(n))
		if err := os.Rename(filepath.Join(p.root, "src/a.new"), filepath.Join(p.root, "src/a.js")); err != nil {
			t.Fatal(err)
		}
		saved.Store(int64(n))
		time.Sleep(60 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if _, body := p.get("/"); body != `{"n":12}` {
		t.Errorf("at the end: %s", body)
	}
	t.Logf("%d requests", served.Load())
	// Old bundles go once nobody runs them.
	waitFor(t, "old bundles to be removed", func() bool {
		dirs, _ := os.ReadDir(filepath.Join(p.root, ".sst", "local", "bundles"))
		return len(dirs) == 1
	})
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestBurstAfterASave sends several requests at once after a save: few processes are started for them, and all run what was saved.
func TestBurstAfterASave(t *testing.T) {
	source := func(n int) string {
		return fmt.Sprintf("export const handler = async () => ({ n: %d, pid: process.pid });", n)
	}
	p := newProject(t, map[string]string{"src/a.js": source(0)}, []cfn.Function{nodeFunction("web/A", "src/a.handler")})
	burst := func(n int) map[int]bool {
		pids := map[int]bool{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				got := p.invoke("web-A", "{}")
				var is struct{ N, PID int }
				if err := json.Unmarshal([]byte(got.body), &is); err != nil || is.N != n {
					t.Errorf("got %+v, want %d", got, n)
				}
				mu.Lock()
				pids[is.PID] = true
				mu.Unlock()
			})
		}
		wg.Wait()
		return pids
	}
	burst(0)
	for n := 1; n <= 3; n++ {
		p.write("src/a.js", source(n))
		if pids := burst(n); len(pids) > 6 { // a process a request is what it must not come to
			t.Errorf("%d processes were started for 12 requests at once", len(pids))
		}
	}
}

// TestUpdateInFlight changes the app while an invocation of the old one runs.
func TestUpdateInFlight(t *testing.T) {
	p := newProject(t, map[string]string{
		"src/a.js": `export const handler = async () => { await new Promise((r) => setTimeout(r, 400)); return 'old'; };`,
		"src/b.js": `export const handler = async () => 'new';`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")}, cfn.Route{Key: "GET /", Function: "web/A"})
	got := make(chan string, 1)
	go func() {
		_, body := p.get("/")
		got <- body
	}()
	await(p, "Invoked", func(e Invoked) bool { return e.Function == "web/A" })
	p.set([]cfn.Function{nodeFunction("web/B", "src/b.handler")}, cfn.Route{Key: "GET /", Function: "web/B"})
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	if _, body := p.get("/"); body != "new" {
		t.Errorf("after the update: %s", body)
	}
	if body := <-got; body != "old" {
		t.Errorf("the invocation under way: %s", body)
	}
	if res := p.invoke("web-A", "{}"); res.status != 404 {
		t.Errorf("the function that is gone: %+v", res)
	}
}

func TestCloseKills(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.js": `
import { spawn } from 'node:child_process';
export const handler = async () => {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  console.log('pids', process.pid, child.pid);
  for (;;);
};`}, []cfn.Function{nodeFunction("web/A", "src/a.handler")})
	done := make(chan invoked, 1)
	go func() { done <- p.invoke("web-A", "{}") }()
	line := await(p, "the pids", func(e Logged) bool { return strings.HasPrefix(e.Line, "pids ") }).Line
	began := time.Now()
	p.server.Close()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
	for _, field := range strings.Fields(line)[1:] {
		pid, _ := strconv.Atoi(field)
		waitFor(t, "process "+field+" to end", func() bool { return gone(pid) })
	}
	if got := <-done; got.status == 200 && got.functionError == "" {
		t.Errorf("the invocation under way = %+v, want an error", got)
	}
	if left, _ := filepath.Glob(filepath.Join(p.root, ".sst", "start*.json")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// gone says whether a process has ended; one that nobody waited for counts.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestWorkerEnvironment(t *testing.T) {
	t.Setenv("AWS_PROFILE", "production")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
	t.Setenv("NO_PROXY", "example.com")
	t.Setenv("MY_SECRET", "x")
	p := newProject(t, map[string]string{"src/a.js": `export const handler = async () => ({ env: process.env, cwd: process.cwd() });`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")})
	key, _ := p.server.credentials("web/A")
	for range 2 { // a worker started for it, then, after its end, the spare one
		var got struct {
			Env map[string]string
			Cwd string
		}
		if err := json.Unmarshal([]byte(p.invoke("web-A", "{}").body), &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"AWS_PROFILE": "", "MY_SECRET": "", "AWS_ACCESS_KEY_ID": key, "NO_PROXY": "example.com",
			"AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "web-A", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024", "TZ": ":UTC",
			"_HANDLER": "src/a.handler", "LAMBDA_TASK_ROOT": got.Cwd, "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x"} {
			if got.Env[name] != want {
				t.Errorf("%s = %q, want %q", name, got.Env[name], want)
			}
		}
		if !strings.HasPrefix(got.Env["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:") || got.Env["_X_AMZN_TRACE_ID"] == "" {
			t.Errorf("env = %v", got.Env)
		}
		waitFor(t, "the spare process", func() bool {
			p.server.factory.mu.Lock()
			defer p.server.factory.mu.Unlock()
			return p.server.factory.spare != nil
		})
		p.server.pool.reap(0, func(*function) bool { return true })
	}
}

func TestWatch(t *testing.T) {
	p := newProject(t, map[string]string{"stacks.star": "a", "src/a.js": `export const handler = async () => 1;`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")})
	star := filepath.Join(p.root, "stacks.star")
	p.server.Watch([]string{star})
	if got := p.invoke("web-A", "{}"); got.body != "1" {
		t.Fatalf("Invoke = %+v", got)
	}
	time.Sleep(50 * time.Millisecond) // for the folders to be watched
	p.write("stacks.star", "b")
	await(p, "Changed", func(e Changed) bool { return slices.Equal(e.Files, []string{star}) })
	more := filepath.Join(p.root, "more.star")
	p.server.Watch([]string{star, more})
	p.write("more.star", "saved before it was looked at")
	p.server.Watch([]string{star, more})
	await(p, "Changed between two lists", func(e Changed) bool { return slices.Equal(e.Files, []string{more}) })
	p.write("src/a.js", `export const handler = async () => 22;`)
	got := await(p, "Rebuilt", func(e Rebuilt) bool { return slices.Equal(e.Functions, []string{"web/A"}) })
	if !slices.Equal(got.Files, []string{"src/a.js"}) {
		t.Errorf("Rebuilt = %+v", got)
	}
	p.write("src/a.js", `export const handler = async () => {`)
	await(p, "BuildFailed without a request", func(e BuildFailed) bool { return slices.Equal(e.Functions, []string{"web/A"}) })
}

// TestOneEventAFile has two functions in one file: what is said of a build is said once.
func TestOneEventAFile(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.js": `export const one = async () => 1; export const two = async () => 2;`},
		[]cfn.Function{nodeFunction("web/One", "src/a.one"), nodeFunction("web/Two", "src/a.two")})
	both := []string{"web/One", "web/Two"}
	p.invoke("web-One", "{}")
	p.invoke("web-Two", "{}")
	p.write("src/a.js", `export const one = async () => 11; export const two = async () => 22;`)
	if got := p.invoke("web-One", "{}"); got.body != "11" {
		t.Errorf("one: %+v", got)
	}
	if got := p.invoke("web-Two", "{}"); got.body != "22" {
		t.Errorf("two: %+v", got)
	}
	await(p, "Rebuilt", func(e Rebuilt) bool { return slices.Equal(e.Functions, both) })
	p.write("src/a.js", `export const one = async () => ;`)
	p.invoke("web-One", "{}")
	p.invoke("web-Two", "{}")
	await(p, "BuildFailed", func(e BuildFailed) bool { return slices.Equal(e.Functions, both) })
	p.server.events.flush()
	p.mu.Lock()
	defer p.mu.Unlock()
	var news []Event
	for _, e := range p.events {
		switch e.(type) {
		case Rebuilt, BuildFailed:
			news = append(news, e)
		}
	}
	if len(news) != 2 {
		t.Errorf("events of builds: %+v", news)
	}
}

// TestManyAtOnce has more callers than workers may be: all are answered.
func TestManyAtOnce(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.js": `export const handler = async (event) => event.n;`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")})
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			if got := p.invoke("web-A", fmt.Sprintf(`{"n":%d}`, i)); got.body != strconv.Itoa(i) {
				t.Errorf("invocation %d = %+v", i, got)
			}
		})
	}
	wg.Wait()
	p.server.pool.mu.Lock()
	defer p.server.pool.mu.Unlock()
	if p.server.pool.total > p.server.opts.MaxWorkers {
		t.Errorf("%d sandboxes, want at most %d", p.server.pool.total, p.server.opts.MaxWorkers)
	}
}

func TestAsyncRetries(t *testing.T) {
	defer func(old []time.Duration) { retryAfter = old }(retryAfter)
	retryAfter = []time.Duration{time.Millisecond, time.Millisecond}
	p := newProject(t, map[string]string{"src/a.js": `let n = 0; export const handler = async (event, context) => { if (++n < 3) throw new Error('not yet'); return context.awsRequestId + ' ' + n; };`},
		[]cfn.Function{nodeFunction("web/A", "src/a.handler")})
	id := p.invoke("web-A", "{}", "X-Amz-Invocation-Type", "Event").header.Get("X-Amzn-Requestid")
	got := await(p, "the third try", func(e Finished) bool { return e.Error == nil })
	if string(got.Result) != fmt.Sprintf("%q", id+" 3") || got.Trigger != "Invoke (async), retry 2" {
		t.Errorf("Finished = %+v %s, want request %s", got, got.Result, id)
	}
}
