//go:build !windows

package proxy_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// What can happen to a sandbox in Lambda, to the real stub.

func TestStubFrozen(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret", Idle: 700 * time.Millisecond}, relaytest.Faults{})
	begun := make(chan bool, 1)
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{
		URL: relay.URL, Token: "secret", Heartbeat: 150 * time.Millisecond,
		Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
			if string(inv.Event) == `"slow"` {
				begun <- true
				time.Sleep(300 * time.Millisecond)
			}
			inv.Respond(inv.Event)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, _ := startStub(t, relay.URL)
	freeze := func(d time.Duration) {
		l.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(d)
		l.cmd.Process.Signal(syscall.SIGCONT)
	}
	for _, d := range []time.Duration{300 * time.Millisecond, 1200 * time.Millisecond} { // the second is long enough for the relay to drop it
		if a := l.invoke(t, []byte("1"), 20*time.Second); string(a.body) != "1" {
			t.Fatalf("got %s %s %s", a.kind, a.errType, a.body)
		}
		freeze(d) // between invocations
		began := time.Now()
		if a := l.invoke(t, []byte("2"), 20*time.Second); string(a.body) != "2" {
			t.Errorf("after %v: got %s %s %s", d, a.kind, a.errType, a.body)
		}
		if took := time.Since(began); took > 2500*time.Millisecond {
			t.Errorf("after %v: answered in %v", d, took)
		}
		go func() { // while it waits
			<-begun
			freeze(d)
		}()
		if a := l.invoke(t, []byte(`"slow"`), 20*time.Second); string(a.body) != `"slow"` {
			t.Errorf("frozen for %v while waiting: got %s %s %s", d, a.kind, a.errType, a.body)
		}
	}
}

// Between invocations the stub sends nothing, and does not connect when its connection is gone.
func TestStubQuiet(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	tcp := relaytest.NewProxy(t, relay.Addr, 1)
	conn := dialEchoOptions(t, proxy.DialOptions{URL: relay.URL, Token: "secret", Heartbeat: time.Hour})
	l, _ := startStub(t, tcp.URL)
	cpu := func() time.Duration {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.cmd.Process.Pid))
		if err != nil {
			return 0 // no such thing here
		}
		f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		var user, system int64
		fmt.Sscan(f[11], &user)
		fmt.Sscan(f[12], &system)
		return time.Duration(user+system) * 10 * time.Millisecond
	}
	quiet := func(what string) {
		t.Helper()
		time.Sleep(200 * time.Millisecond) // acknowledgements of the last answer
		before, busy := relay.Stats(), cpu()
		time.Sleep(1200 * time.Millisecond)
		if after := relay.Stats(); after.Frames != before.Frames || after.Accepted != before.Accepted {
			t.Errorf("%s: %d frames and %d connections", what, after.Frames-before.Frames, after.Accepted-before.Accepted)
		}
		if used := cpu() - busy; used > 30*time.Millisecond {
			t.Errorf("%s: used %v of the processor", what, used)
		}
	}
	if a := l.invoke(t, bytes.Repeat([]byte("1"), 200_000), 20*time.Second); len(a.body) != 200_000 {
		t.Fatalf("got %s %s", a.kind, a.errType)
	}
	quiet("after an answer")
	tcp.Cut()
	quiet("without a connection")
	conn.Close()
	if a := l.invoke(t, []byte("1"), 2*time.Second); a.errType != proxy.ErrorNoDeveloper {
		t.Errorf("without a developer: got %s %s", a.kind, a.errType)
	}
	quiet("without a developer")
}

// AWS retries with the request id of the first try: each is an attempt of its own and runs.
func TestStubRetried(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	var mu sync.Mutex
	attempts := map[string]bool{}
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Token: "secret", Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
		mu.Lock()
		attempts[inv.ID] = true
		n := len(attempts)
		mu.Unlock()
		inv.Error("Foo", []byte(fmt.Sprint(inv.RequestID, n)))
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, _ := startStub(t, relay.URL)
	for i := 1; i <= 3; i++ {
		if a := l.invokeAs(t, "r-same", []byte("1"), 10*time.Second); string(a.body) != fmt.Sprint("r-same", i) {
			t.Errorf("try %d: got %s %s %s", i, a.kind, a.errType, a.body)
		}
	}
	if len(attempts) != 3 {
		t.Errorf("attempts %v, want three", attempts)
	}
}

// The clocks of Lambda and of the developer's machine may differ: a deadline is a time left.
func TestStubClock(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Token: "secret", Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
		inv.Respond([]byte(fmt.Sprint(time.Until(inv.Deadline).Milliseconds())))
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, shift := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		script := fmt.Sprintf("const now = Date.now; Date.now = () => now() + %d", shift.Milliseconds())
		l, _ := startStub(t, relay.URL, "NODE_OPTIONS=--import data:text/javascript;base64,"+base64.StdEncoding.EncodeToString([]byte(script)))
		l.shift = shift
		a := l.invoke(t, []byte("1"), 20*time.Second)
		var left float64
		json.Unmarshal(a.body, &left)
		if math.Abs(left-20_000) > 1500 {
			t.Errorf("clock ahead by %v: %s %s %s ms left of 20,000", shift, a.kind, a.errType, a.body)
		}
	}
}

// With a deadline of one second there is an answer in time, whoever is there.
func TestStubShortDeadline(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	l, _ := startStub(t, relay.URL)
	const deadline = 3 * time.Second // short, and long enough for a machine that has other things to do
	timed := func(event string, want string) {
		t.Helper()
		began := time.Now()
		a := l.invoke(t, []byte(event), deadline)
		if got := a.errType + string(a.body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", event, got, want)
		}
		if took := time.Since(began); took > deadline-100*time.Millisecond {
			t.Errorf("%s: answered after %v of %v", event, took, deadline)
		}
	}
	timed("1", proxy.ErrorNoDeveloper)
	dialEcho(t, relay.URL)
	timed("1", "1")
	timed(`"hang"`, proxy.ErrorDeadlineNear)
	timed("2", "2")
}

// A stub of another version is refused, and says so.
func TestStubVersion(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	dialEcho(t, relay.URL)
	source, err := os.ReadFile("stub.mjs")
	if err != nil {
		t.Fatal(err)
	}
	source = bytes.Replace(source, []byte("const VERSION = 1\n"), []byte("const VERSION = 7\n"), 1)
	l, _ := startStubConfig(t, map[string]any{"url": relay.URL, "token": "secret", "source": source})
	a := l.invoke(t, []byte("1"), 2*time.Second)
	if a.errType != proxy.ErrorNoDeveloper || !strings.Contains(string(a.body), "version") {
		t.Errorf("got %s %s, want a word about the version", a.errType, a.body)
	}
}

// A stub that is killed leaves nothing that keeps the next one from working, nor the first one's invocation for ever.
func TestStubKilled(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway, Token: "secret"}, relaytest.Faults{})
	begun, ended := make(chan bool, 1), make(chan error, 1)
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: relay.URL, Token: "secret", Handler: proxy.HandlerFunc(func(ctx context.Context, inv *proxy.Invocation) {
		if string(inv.Event) == `"hang"` {
			begun <- true
			<-ctx.Done()
			ended <- context.Cause(ctx)
		}
		inv.Respond(inv.Event)
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, _ := startStub(t, relay.URL)
	go func() {
		l.events <- &event{"r-1", []byte(`"hang"`), time.Now().Add(1500 * time.Millisecond), make(chan answer, 1)}
	}()
	<-begun
	l.cmd.Process.Kill()
	next, _ := startStub(t, relay.URL)
	if a := next.invoke(t, []byte("1"), 20*time.Second); string(a.body) != "1" {
		t.Errorf("the next stub: got %s %s %s", a.kind, a.errType, a.body)
	}
	if err := <-ended; err != context.DeadlineExceeded {
		t.Errorf("the invocation of the killed one ended with %v, want its deadline", err)
	}
}

// Many stubs that start at the same moment are all answered.
func TestStubColdStarts(t *testing.T) {
	t.Parallel()
	n := 4
	if *full {
		n = 50
	}
	g := newGateway(t, relaytest.GatewayOptions{})
	dialEchoOptions(t, developerOptions(g.URL))
	var wg sync.WaitGroup
	for i := range n {
		l := startSignedStub(t, g.URL)
		wg.Go(func() {
			e := &event{fmt.Sprint("r-", i), []byte(fmt.Sprint(i)), time.Now().Add(time.Minute), make(chan answer, 1)}
			l.events <- e
			if a := <-e.answer; string(a.body) != fmt.Sprint(i) {
				t.Errorf("stub %d: got %s %s %s", i, a.kind, a.errType, a.body)
			}
		})
	}
	wg.Wait()
}

// A developer's process that stands still, with hardly a file to open, is patiently waited for, or honestly given up.
func TestDeveloperStopped(t *testing.T) {
	t.Parallel()
	relay := relaytest.New(t, proxy.RelayOptions{Profile: proxy.ProfileAPIGateway}, relaytest.Faults{})
	dir := t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", `ulimit -n 16; exec "$0" -test.run '^TestEchoProcess$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "SST_RELAY="+relay.URL, "SST_EXECUTED="+dir+"/executed")
	stdin, err := cmd.StdinPipe() // it ends with us
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("it said: %s", &said)
		}
	}()
	s, _ := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: relay.URL, Init: proxy.Init{Function: "f"}})
	defer s.Close()
	invoke := func(event string) *proxy.Response {
		t.Helper()
		r, err := s.Invoke(context.Background(), proxy.Request{Event: []byte(event), Deadline: time.Now().Add(30 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := 0; ; i++ {
		if r := invoke(fmt.Sprint("first", i)); !r.FunctionError {
			break
		} else if i == 5 {
			t.Fatalf("it does not answer: %s %s", r.ErrorType, r.Body)
		}
	}
	answers := make(chan *proxy.Response, 1)
	go func() { answers <- invoke("slow") }()
	time.Sleep(100 * time.Millisecond) // it has it now
	cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(2500 * time.Millisecond)
	cmd.Process.Signal(syscall.SIGCONT)
	if r := <-answers; string(r.Body) != "slow" {
		t.Errorf("asked before it stood still: got %s %s", r.ErrorType, r.Body)
	}
	cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(300 * time.Millisecond) // until all of its threads stand still
	began := time.Now()
	if r := invoke("while"); r.ErrorType != proxy.ErrorDeveloperLost && r.ErrorType != proxy.ErrorNoDeveloper { // it may have been about to connect again
		t.Errorf("asked while it stood still: got %s %s", r.ErrorType, r.Body)
	}
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("given up after %v", took)
	}
	cmd.Process.Signal(syscall.SIGCONT)
	if r := invoke("after"); string(r.Body) != "after" {
		t.Errorf("asked after it stood still: got %s %s", r.ErrorType, r.Body)
	}
	data, _ := os.ReadFile(dir + "/executed")
	for _, event := range []string{"slow", "while", "after"} {
		if n := strings.Count(string(data), event+"\n"); n > 1 || n == 0 && event != "while" {
			t.Errorf("%s was executed %d times", event, n)
		}
	}
}

// TestEchoProcess is the other process of TestDeveloperStopped and TestFormerRunKilled.
func TestEchoProcess(t *testing.T) {
	url := os.Getenv("SST_RELAY")
	if url == "" {
		t.Skip("a part of other tests")
	}
	file, err := os.OpenFile(os.Getenv("SST_EXECUTED"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := proxy.Dial(context.Background(), proxy.DialOptions{URL: url, Instance: os.Getenv("SST_INSTANCE"), Heartbeat: 300 * time.Millisecond, Handler: proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
		file.WriteString(string(inv.Event) + "\n")
		if string(inv.Event) == "slow" {
			time.Sleep(500 * time.Millisecond)
		}
		inv.Respond(inv.Event)
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Println("connected")
	os.Stdin.Read(make([]byte, 1))
}
