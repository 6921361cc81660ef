package runtime

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sst/runtime/bundle"
)

//go:embed shim/worker.mjs
var nodeShim []byte

//go:embed shim/worker.py
var pythonShim []byte

// worker is one process with a Runtime API of its own.
type worker struct {
	api    *runtimeAPI
	output *output
	cmd    *exec.Cmd
	stdin  io.WriteCloser    // of a Node process that is not bound to a function yet
	code   *code             // what it runs; nil for a spare one
	env    map[string]string // that of its sandbox
	exited chan struct{}     // closed when the process is gone
	how    string            // why it went: "exit status 1"; "" for exit code 0. Valid after exited

	inspector string // URL of its inspector; "" when it has none
}

// dead says whether the process is gone.
func (w *worker) dead() bool {
	select {
	case <-w.exited:
		return true
	default:
		return false
	}
}

// stop kills the process and waits for it.
func (w *worker) stop() {
	killTree(w.cmd.Process)
	<-w.exited
}

// factory starts workers.
type factory struct {
	opts  Options
	dir   string // where the shims are
	base  map[string]string
	lines func(tag *call, stderr bool, line string)
	spawn *spawner
	alive sync.WaitGroup // processes

	pythonRIC func() bool // whether awslambdaric can be imported
	debugpy   func() bool // likewise

	mu     sync.Mutex // guards what follows
	spare  *worker
	ahead  string // what a spare process loads: the file that the last worker needed
	filled *time.Timer
	taken  time.Time // when the last worker was started
	closed bool
	all    map[*worker]struct{}
}

func openFactory(opts Options, dir string, lines func(*call, bool, string)) (*factory, error) {
	f := &factory{opts: opts, dir: dir, base: baseEnv(opts.Environ), lines: lines, spawn: openSpawner(), all: map[*worker]struct{}{}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{"worker.mjs": nodeShim, "worker.py": pythonShim, "debug.py": pythonDebugShim} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return nil, err
		}
	}
	imports := func(module string) func() bool {
		return sync.OnceValue(func() bool {
			cmd := exec.Command(f.python(), "-c", "import "+module)
			cmd.Env = environList(f.base)
			return cmd.Run() == nil
		})
	}
	f.pythonRIC, f.debugpy = imports("awslambdaric"), imports("debugpy")
	return f, nil
}

// close kills every process and waits for them.
func (f *factory) close() {
	f.mu.Lock()
	f.closed = true
	if f.filled != nil {
		f.filled.Stop()
	}
	for w := range f.all {
		killTree(w.cmd.Process)
	}
	f.mu.Unlock()
	f.alive.Wait()
	f.spawn.close()
}

// start starts a process with its pipes and its Runtime API.
func (f *factory) start(path string, args, env []string, dir string, stdin bool, prepare func(w *worker)) (*worker, error) {
	api, err := openRuntimeAPI()
	if err != nil {
		return nil, err
	}
	w := &worker{api: api, exited: make(chan struct{})}
	out, stdout, stderr, err := openOutput(f.lines)
	if err != nil {
		api.close()
		return nil, err
	}
	w.output = out
	api.gone = w.exited
	api.flush = out.flush
	api.onNext = func() { out.attribute(nil) }
	api.serve()
	w.cmd = exec.Command(path, args...)
	w.cmd.Dir = dir
	w.cmd.Stdout, w.cmd.Stderr = stdout, stderr
	ownGroup(w.cmd)
	w.cmd.Env = env
	if prepare != nil {
		prepare(w)
	}
	if stdin {
		if w.stdin, err = w.cmd.StdinPipe(); err != nil {
			api.close()
			return nil, err
		}
	}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		err = errors.New("the server is closing")
	} else {
		f.alive.Add(1)
		f.mu.Unlock()
		if err = f.spawn.start(w.cmd); err != nil {
			f.alive.Done()
		}
	}
	stdout.Close()
	stderr.Close()
	if err != nil {
		out.close()
		api.close()
		return nil, err
	}
	out.started()
	f.mu.Lock()
	f.all[w] = struct{}{}
	if f.closed {
		killTree(w.cmd.Process)
	}
	f.mu.Unlock()
	go f.wait(w)
	return w, nil
}

func (f *factory) wait(w *worker) {
	defer f.alive.Done()
	err := w.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		w.how = exit.Error()
	}
	killTree(w.cmd.Process) // what it started
	w.output.close()
	f.mu.Lock()
	delete(f.all, w)
	if f.spare == w {
		f.spare = nil
	}
	f.mu.Unlock()
	close(w.exited)
	// An answer on its way in may still be read.
	time.AfterFunc(time.Second, w.api.close)
}

// open starts a worker for code with the sandbox's environment. With an inspector, a debugger can follow a Node process.
func (f *factory) open(c *code, sandbox map[string]string, debug *inspector) (*worker, error) {
	var w *worker
	var err error
	switch c.spec.Kind {
	case bundle.Python:
		if debug != nil {
			w, err = f.debugPython(c, sandbox, debug)
		} else {
			w, err = f.openPython(c, sandbox)
		}
	case bundle.Go, bundle.Custom:
		if w, err = f.openBootstrap(c, sandbox); err == nil && debug != nil {
			debug.d.emit(Notice{Text: fmt.Sprintf("%s runs as process %d, and its time does not count. A debugger attaches to the process, for Go: dlv attach %d", debug.fn, w.cmd.Process.Pid, w.cmd.Process.Pid)})
		}
	default:
		w, err = f.openNode(c, sandbox, debug)
	}
	if err != nil {
		return nil, err
	}
	w.code = c
	w.api.describe(sandbox["AWS_LAMBDA_FUNCTION_NAME"], c.entry)
	return w, nil
}

func (f *factory) openNode(c *code, sandbox map[string]string, debug *inspector) (*worker, error) {
	if f.opts.Node.Path == "" {
		return nil, errors.New("Node.js was not found; install it and start again")
	}
	env := workerEnv(f.base, sandbox, c.dir, c.entry, "")
	var w *worker
	var err error
	if debug != nil {
		w, err = debug.process(env)
	} else {
		if w = f.takeSpare(c.preload); w != nil && bindsAtStart(f.base, env) {
			f.giveBack(w)
			w = nil
		}
		if w == nil {
			w, err = f.startNode(environList(env), nil)
		}
	}
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(struct {
		Task    string            `json:"task"`
		Handler string            `json:"handler"`
		Major   int               `json:"major"`
		Env     map[string]string `json:"env"`
	}{c.dir, c.entry, nodeMajor(c.spec.Runtime), workerEnv(f.base, sandbox, c.dir, c.entry, w.api.addr)})
	if err != nil {
		return nil, err
	}
	if _, err := w.stdin.Write(append(line, '\n')); err != nil {
		w.stop()
		return nil, fmt.Errorf("start a Node worker: %w", err)
	}
	w.stdin.Close()
	return w, nil
}

// startNode starts a Node process that waits to be bound.
//
// Flags are those of a debugger; nil: none comes.
func (f *factory) startNode(env, flags []string, args ...string) (*worker, error) {
	args = slices.Concat(flags, []string{"--enable-source-maps", "--max-http-header-size=2097152", filepath.Join(f.dir, "worker.mjs")}, args)
	return f.start(f.opts.Node.Path, args, env, f.dir, true, func(w *worker) {
		if flags != nil {
			w.output.quiet = debuggerLines
		}
		shim := slices.Index(w.cmd.Args, filepath.Join(f.dir, "worker.mjs"))
		w.cmd.Args = slices.Insert(w.cmd.Args, shim+1, w.api.addr)
	})
}

// debuggerLines are what Node writes when a debugger comes or goes; people are told once for all processes of a function.
var debuggerLines = map[string]bool{"Debugger attached.": true, "Waiting for the debugger to disconnect...": true}

func nodeMajor(runtime string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(runtime, "nodejs"), ".x"))
	if n == 0 {
		n = 24
	}
	return n
}

// takeSpare gives the process that was started ahead, if there is one, and has the next one started soon. ahead is what
// that one may load: most likely it is wanted for the same function, saved again.
func (f *factory) takeSpare(ahead string) *worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead = ahead
	w := f.spare
	f.spare = nil
	if w != nil && w.dead() {
		w = nil
	}
	f.fillSoon()
	f.taken = time.Now()
	return w
}

// want has a spare process started, once there are Node functions.
func (f *factory) want() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spare == nil {
		f.fillSoon()
	}
}

func (f *factory) giveBack(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spare == nil && !f.closed {
		f.spare = w
		return
	}
	go w.stop()
}

// fillSoon starts a spare process once the one just bound has had time to load its code; when one follows the other, as
// while somebody saves again and again, once that is over: a machine with few cores cannot start them all. mu is held.
func (f *factory) fillSoon() {
	if f.closed || f.opts.Node.Path == "" {
		return
	}
	wait := 60 * time.Millisecond
	if now := time.Now(); now.Sub(f.taken) < hurry {
		wait = 2 * hurry
	}
	if f.filled == nil {
		f.filled = time.AfterFunc(wait, f.fill)
	} else {
		f.filled.Reset(wait)
	}
}

func (f *factory) fill() {
	f.mu.Lock()
	full, ahead := f.spare != nil || f.closed, f.ahead
	f.mu.Unlock()
	if full {
		return
	}
	w, err := f.startNode(environList(f.base), nil, "spare", ahead)
	if err != nil {
		return // the next worker says why
	}
	f.giveBack(w)
}

func (f *factory) python() string {
	for _, rel := range []string{".venv/bin/python", ".venv/Scripts/python.exe"} {
		path := filepath.Join(f.opts.Root, filepath.FromSlash(rel))
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if f.opts.Python != "" {
		return f.opts.Python
	}
	return "python3"
}

func (f *factory) openPython(c *code, sandbox map[string]string) (*worker, error) {
	args := []string{filepath.Join(f.dir, "worker.py")}
	if f.pythonRIC() {
		args = []string{"-m", "awslambdaric", c.entry}
	}
	w, err := f.start(f.python(), args, nil, c.dir, false, func(w *worker) {
		w.cmd.Env = environList(workerEnv(f.base, sandbox, c.dir, c.entry, w.api.addr))
	})
	if err != nil {
		return nil, fmt.Errorf("start a Python worker: %w", err)
	}
	return w, nil
}

func (f *factory) openBootstrap(c *code, sandbox map[string]string) (*worker, error) {
	path := filepath.Join(c.dir, "bootstrap")
	if goruntime.GOOS == "windows" {
		path += ".exe"
	}
	w, err := f.start(path, nil, nil, c.dir, false, func(w *worker) {
		w.cmd.Env = environList(workerEnv(f.base, sandbox, c.dir, c.entry, w.api.addr))
	})
	if err != nil {
		return nil, fmt.Errorf("start bootstrap: %w", err)
	}
	return w, nil
}

// spawner starts processes on one thread that lives as long as the server: the kernel ends the processes of a thread
// that ended, so a server that was killed leaves none behind.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func openSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		goruntime.LockOSThread()
		for job := range s.jobs {
			job()
		}
		close(s.done)
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}
