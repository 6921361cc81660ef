package jsii

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func hostError(t *testing.T, err error) *HostError {
	t.Helper()
	var e *HostError
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a HostError", err, err)
	}
	return e
}

// A host that is killed says so at the next question, and at every one after it.
func TestHostKilled(t *testing.T) {
	p := ownProgram(t, Session{})
	app := p.app()
	p.call(Op{Kind: NodePath, Target: app.ID})
	if err := p.host.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := p.host.Call(p.ctx, Op{Kind: NodePath, Target: app.ID})
	e := hostError(t, err)
	if e.Problem != "ended" || !strings.Contains(e.Error(), "killed") && runtime.GOOS != "windows" {
		t.Errorf("error = %v", e)
	}
	p.host.Send(Op{Kind: NodePath, Target: app.ID})
	if again := hostError(t, p.host.Flush(p.ctx)); again != e {
		t.Errorf("second error = %v", again)
	}
	if !p.host.Worn() {
		t.Error("a dead host is not worn")
	}
	if err := p.host.Close(); err != nil {
		t.Error(err)
	}
}

// A host that hangs is ended at the deadline, and what it started with it.
func TestHostHangs(t *testing.T) {
	root := t.TempDir()
	p := ownProgram(t, Session{Root: root, AllowExec: true})
	if err := p.host.Flush(p.ctx); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(root, "pid")
	ctx, cancel := context.WithCancelCause(p.ctx)
	go func() { // too slow, once the command is there
		for ctx.Err() == nil {
			if data, _ := os.ReadFile(pidFile); len(data) > 0 {
				cancel(errors.New("too slow"))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := p.host.Call(ctx, Op{Kind: Static, FQN: "aws-cdk-lib.aws_lambda.Code", Member: "fromCustomCommand", ID: p.id(),
		Args: []Value{".", []Value{p.host.options.Node.Path, "--eval", "require('fs').writeFileSync('pid', String(process.pid)); setTimeout(() => {}, 60000)"}}})
	if e := hostError(t, err); e.Problem != "gave no answer in time" || e.Err == nil || e.Err.Error() != "too slow" {
		t.Errorf("error = %v", e)
	}
	<-p.host.exited
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	for alive(string(data)) {
		time.Sleep(5 * time.Millisecond)
		if p.ctx.Err() != nil {
			t.Fatal("the command of the host is still there")
		}
	}
}

// alive says whether a process runs: not when it only waits to be reaped.
func alive(pid string) bool {
	n, _ := strconv.Atoi(pid)
	process, err := os.FindProcess(n)
	if err != nil || process.Signal(syscall.Signal(0)) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// The callback can be what hangs or fails, and Close may come at any time.
func TestCloseInCallback(t *testing.T) {
	var p *program
	p = ownProgram(t, Session{Callback: func(ctx context.Context, call CallbackRequest) (Value, error) {
		go p.host.Close()
		<-p.host.exited
		return nil, errors.New("closed")
	}})
	app := p.app()
	p.static("aws-cdk-lib.Aspects", "of", app)
	p.invoke(p.static("aws-cdk-lib.Aspects", "of", app).(Ref), "add", Callback{ID: 1, FQN: "aws-cdk-lib.IAspect", Methods: []string{"visit"}})
	_, err := p.host.Synth(p.ctx, app.ID, 0)
	if e := hostError(t, err); !errors.Is(e, os.ErrClosed) {
		t.Errorf("error = %v", e)
	}
}

// fakeHost runs a program in place of node.
func fakeHost(t *testing.T, script string) *Host {
	t.Helper()
	node, _ := needNode(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "fake.js")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "node")
	if err := os.WriteFile(run, []byte("#!/bin/sh\nexec '"+node.Path+"' '"+file+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	h, err := Start(context.Background(), HostOptions{Node: Node{Path: run}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	h.Begin(Session{})
	return h
}

func TestHostNonsense(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"garbage", `console.log("Debugger attached."); setTimeout(() => {}, 60000)`, `it said "Debugger attached."`},
		{"other json", `console.log('[1]'); setTimeout(() => {}, 60000)`, "makes no sense"},
		{"wrong number", `console.log('{"s":77}'); setTimeout(() => {}, 60000)`, "to question 77"},
		{"broken off", `process.stdout.write('{"s":1')`, "broke off"},
		{"ends", `process.exit(3)`, "exit status 3"},
		{"complains", `console.error("out of luck"); process.exit(1)`, "out of luck"},
		{"other version", `console.log('{"hello":{"node":"20","cdk":"1.0.0"}}'); setTimeout(() => {}, 60000)`, "version 1.0.0"},
		{"closes", `require("fs").closeSync(1); setTimeout(() => {}, 60000)`, "ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, c.script)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			err := h.Flush(ctx)
			if e := hostError(t, err); !strings.Contains(e.Error(), c.want) {
				t.Errorf("error = %v, want %q", e, c.want)
			}
		})
	}
}

// CDK code that prints does not disturb the conversation.
func TestPrinting(t *testing.T) {
	var stderr bytes.Buffer
	root := t.TempDir()
	h := newHost(t, HostOptions{Stderr: &stderr})
	h.Begin(Session{Root: root, AllowExec: true})
	p := &program{t: t, host: h, ctx: context.Background()}
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	p.create("aws-cdk-lib.aws_s3_assets.Asset", stack, "A", map[string]Value{
		"path":     ".",
		"bundling": map[string]Value{"image": p.static("aws-cdk-lib.DockerImage", "fromRegistry", "none"), "local": Callback{ID: 1, FQN: "aws-cdk-lib.ILocalBundling", Methods: []string{"tryBundle"}}},
	})
	h.session.Callback = func(ctx context.Context, call CallbackRequest) (Value, error) {
		return true, os.WriteFile(filepath.Join(call.Args[0].(string), "made"), []byte("x"), 0o644)
	}
	p.synth(app)
	h.Close()
	if !strings.Contains(stderr.String(), "Bundling asset S/A") {
		t.Errorf("stderr = %q", stderr.String())
	}
}

func TestFindNode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	fake := func(version string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "node"), []byte("#!/bin/sh\n"+version+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	env := func(path string) func(string) string {
		return func(name string) string {
			if name == "PATH" {
				return path
			}
			return ""
		}
	}
	for _, c := range []struct {
		name, path, explicit, version string
		errors                        []string
	}{
		{name: "good", path: fake("echo v22.11.0"), version: "22.11.0"},
		{name: "first of two", path: fake("echo v24.1.0") + ":" + fake("echo v20.0.0"), version: "24.1.0"},
		{name: "none", path: t.TempDir(), errors: []string{"not installed", "version 20 or newer", "https://nodejs.org"}},
		{name: "relative", path: ".", errors: []string{"not installed"}},
		{name: "too old", path: fake("echo v18.20.1"), errors: []string{"is Node.js 18.20.1", "version 20 or newer", "nvm install"}},
		{name: "not node", path: fake("echo hello"), errors: []string{"does not run as Node.js", "does not say its version"}},
		{name: "broken", path: fake("echo no libc >&2; exit 127"), errors: []string{"does not run as Node.js", "no libc"}},
		{name: "explicit", path: fake("echo v18.0.0"), explicit: filepath.Join(fake("echo v20.19.0"), "node"), version: "20.19.0"},
		{name: "explicit and missing", explicit: "/no/such/node", errors: []string{"/no/such/node is not a program"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := FindNode(env(c.path), c.explicit)
			if len(c.errors) == 0 {
				if err != nil || n.Version != c.version || fmt.Sprint(n.Major) != strings.Split(c.version, ".")[0] || !filepath.IsAbs(n.Path) {
					t.Errorf("found %+v, %v", n, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("found %+v", n)
			}
			for _, want := range c.errors {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// Two processes that unpack at once both end with a whole folder, and there is one.
func TestUnpackTwice(t *testing.T) {
	cache := t.TempDir()
	// What an interrupted process left long ago goes away.
	left := filepath.Join(cache, "cdk", ".unpack-left")
	os.MkdirAll(left, 0o755)
	old := time.Now().Add(-2 * unpackStale)
	os.Chtimes(left, old, old)

	var wg sync.WaitGroup
	var dirs [2]string
	wg.Add(1)
	go func() { // another process
		defer wg.Done()
		cmd := exec.Command(os.Args[0], "-test.run=^TestUnpackHelper$")
		cmd.Env = append(os.Environ(), "SST_TEST_UNPACK="+cache)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("other process: %v\n%s", err, out)
		}
	}()
	said := 0
	dir, err := Unpack(context.Background(), cache, func(string) { said++ })
	wg.Wait()
	if err != nil || said > 1 {
		t.Fatalf("unpack: %v, progress %d times", err, said)
	}
	dirs[0] = dir
	if !intact(dir) {
		t.Error("the folder is not whole")
	}
	entries, _ := os.ReadDir(filepath.Join(cache, "cdk"))
	if len(entries) != 1 {
		t.Errorf("left in the cache: %v", entries)
	}
	if _, set := os.LookupEnv("JSII_RUNTIME"); set {
		t.Error("JSII_RUNTIME is left set")
	}

	// Nothing to do: nothing is said.
	if again, err := Unpack(context.Background(), cache, func(string) { t.Error("unpacked again") }); err != nil || again != dir {
		t.Errorf("second time: %s, %v", again, err)
	}
	// A file cut short is found, once the folder is not believed any more, and all is made anew.
	victim := filepath.Join(dir, "node_modules", "aws-cdk-lib", "index.js")
	if err := os.Truncate(victim, 10); err != nil {
		t.Fatal(err)
	}
	forget(dir)
	said = 0
	if again, err := Unpack(context.Background(), cache, func(string) { said++ }); err != nil || again != dir || said != 1 || !intact(dir) {
		t.Errorf("after damage: %s, %v, progress %d times", again, err, said)
	}
	if info, err := os.Stat(victim); err != nil || info.Size() == 10 {
		t.Errorf("the damaged file is still there: %v", err)
	}
	entries, _ = os.ReadDir(filepath.Join(cache, "cdk"))
	if len(entries) != 1 {
		t.Errorf("left in the cache: %v", entries)
	}

	// Interrupted: an error, and nothing that looks whole.
	stop, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("interrupted"))
	cache2 := t.TempDir()
	if _, err := Unpack(stop, cache2, nil); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(cache2, "cdk")); len(entries) != 0 {
		t.Errorf("left after an interruption: %v", entries)
	}
}

// TestUnpackHelper is the other process of TestUnpackTwice.
func TestUnpackHelper(t *testing.T) {
	cache := os.Getenv("SST_TEST_UNPACK")
	if cache == "" {
		t.Skip("for TestUnpackTwice only")
	}
	if _, err := Unpack(context.Background(), cache, nil); err != nil {
		t.Fatal(err)
	}
}

// A damaged CDK is looked at again after a host could not start with it.
func TestDamageIsNoticed(t *testing.T) {
	node, _ := needNode(t)
	dir := t.TempDir()
	file := filepath.Join(dir, unpackMarker)
	if err := os.WriteFile(file, []byte(`{"Files":{"a":1}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := Start(context.Background(), HostOptions{Node: node, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	h.Begin(Session{})
	hostError(t, h.Flush(context.Background()))
	if intact(dir) {
		t.Error("the folder is still believed")
	}
}
