package runtime

// Debuggers of Python functions. debugpy speaks the Debug Adapter Protocol, in which a conversation belongs to one process:
// when that ends, the debugger is told to attach again, which it does at once and to the same port.

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"sst/runtime/bundle"
)

//go:embed shim/debug.py
var pythonDebugShim []byte

const (
	inspectPath = "/sst/inspect" // of a worker's Runtime API: where its debugger listens
	dapReturn   = 3 * time.Second
	dapEnd      = 300 * time.Millisecond // between the word of debugpy that a process ends and its end
	maxDAP      = 64 << 20               // bytes of a message
)

// dapClient is one debugger.
type dapClient struct {
	i      *inspector
	conn   net.Conn
	reader *bufio.Reader

	mu    sync.Mutex // guards what follows
	up    net.Conn   // nil: no process yet
	ended bool
}

// accept takes debuggers; debugpy has one at a time.
func (i *inspector) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			c := &dapClient{i: i, conn: conn, reader: bufio.NewReaderSize(conn, 64<<10)}
			// What a web page can send does not begin like this.
			const first = "Content-Length:"
			conn.SetReadDeadline(time.Now().Add(inspectStart))
			if begin, err := c.reader.Peek(len(first)); err != nil || !strings.EqualFold(string(begin), first) {
				conn.Close()
				return
			}
			conn.SetReadDeadline(time.Time{})
			i.mu.Lock()
			taken := false
			for other := range i.sessions {
				old := other.(*dapClient)
				old.mu.Lock()
				if old.ended { // this is the one that was asked to come again
					delete(i.sessions, other)
					i.sessions[c] = struct{}{}
				} else {
					taken = true
				}
				old.mu.Unlock()
			}
			i.mu.Unlock()
			if taken {
				conn.Close()
				return
			}
			i.join(c)
		}()
	}
}

// attach leads the debugger to the first process it meets.
func (c *dapClient) attach(w *worker) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil || c.ended {
		return closedChan
	}
	up, err := net.DialTimeout("tcp", w.inspector, inspectAttach)
	if err != nil {
		return closedChan // the process has just ended; the next one follows
	}
	c.up = up
	go func() { // until the debugger leaves
		io.Copy(up, c.reader)
		c.end()
		up.Close()
		c.i.leave(c)
	}()
	go func() {
		again := c.listen(bufio.NewReader(up), w)
		c.mu.Lock()
		left := c.ended
		c.ended = true
		c.mu.Unlock()
		if again && !left {
			event, _ := json.Marshal(map[string]any{"seq": 1 << 30, "type": "event", "event": "terminated", "body": map[string]any{"restart": true}})
			fmt.Fprintf(c.conn, "Content-Length: %d\r\n\r\n%s", len(event), event)
			time.AfterFunc(dapReturn, func() { c.i.leave(c) })
		}
		c.conn.Close()
	}()
	return closedChan
}

// listen passes on whole messages until the process ends; false means that the session is over.
func (c *dapClient) listen(up *bufio.Reader, w *worker) bool {
	for {
		var size int
		for {
			line, err := up.ReadString('\n')
			if err != nil {
				return true
			}
			if line = strings.TrimSpace(line); line == "" {
				break
			}
			if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
				size, _ = strconv.Atoi(strings.TrimSpace(value))
			}
		}
		if size <= 0 || size > maxDAP {
			return false
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(up, body); err != nil {
			return true
		}
		var m struct{ Type, Event string }
		if size < 1000 && json.Unmarshal(body, &m) == nil && m.Type == "event" && m.Event == "terminated" {
			select {
			case <-w.exited: // not the debugger, but its process has left
				return true
			case <-time.After(dapEnd):
			}
		}
		if _, err := fmt.Fprintf(c.conn, "Content-Length: %d\r\n\r\n%s", size, body); err != nil {
			return false
		}
	}
}

func (c *dapClient) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.conn.Close()
}

// startPythonDebug starts a Python process under debugpy that waits to be bound.
func (f *factory) startPythonDebug(env map[string]string) (*worker, error) {
	w, err := f.start(f.python(), []string{"-Xfrozen_modules=off", filepath.Join(f.dir, "debug.py")}, environList(env), f.dir, true, func(w *worker) {
		w.cmd.Args = append(w.cmd.Args, w.api.addr)
		w.cmd.Env = append(w.cmd.Env, "PYDEVD_DISABLE_FILE_VALIDATION=1")
	})
	if err != nil {
		return nil, fmt.Errorf("start Python: %w", err)
	}
	return w, nil
}

// debugPython is openPython for a function that a debugger may follow. The code lies where launch configurations say, the
// same for every build.
func (f *factory) debugPython(c *code, sandbox map[string]string, debug *inspector) (*worker, error) {
	task := filepath.Join(f.opts.Dir, filepath.FromSlash(InspectFolder(debug.fn)))
	debug.taking.Lock()
	err := debug.lay(c)
	debug.taking.Unlock()
	if err != nil {
		return nil, err
	}
	w, err := debug.process(workerEnv(f.base, sandbox, task, c.entry, ""))
	if err != nil {
		return nil, err
	}
	wait := 0
	if debug.debugged() {
		wait = int(inspectAttach.Seconds())
	}
	line, err := json.Marshal(struct {
		Task    string            `json:"task"`
		Handler string            `json:"handler"`
		Client  bool              `json:"client"`
		Wait    int               `json:"wait"` // seconds for the debugger
		Env     map[string]string `json:"env"`
	}{task, c.entry, f.pythonRIC(), wait, workerEnv(f.base, sandbox, task, c.entry, w.api.addr)})
	if err == nil {
		_, err = w.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		w.stop()
		return nil, fmt.Errorf("start a Python worker: %w", err)
	}
	w.stdin.Close()
	return w, nil
}

// lay puts a Python function's code where debuggers expect it. They look for the file when a breakpoint is set, so it is there
// before the process is.
func (i *inspector) lay(c *code) error {
	if i.laid == c.dir {
		return nil
	}
	task := filepath.Join(i.d.factory.opts.Dir, filepath.FromSlash(InspectFolder(i.fn)))
	if err := errors.Join(os.RemoveAll(task), os.CopyFS(task, os.DirFS(c.dir))); err != nil {
		return fmt.Errorf("copy the code of %s: %w", i.fn, err)
	}
	i.laid = c.dir
	return nil
}

// InspectFolder is where the code of a Python function lies while it can be debugged, relative to the tool's folder.
func InspectFolder(function string) string {
	return "local/inspect/" + strings.Map(func(r rune) rune {
		if r == '/' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, function)
}

// lacksDebugger says what keeps a function from being debugged; "" when nothing does.
func (d *inspectors) lacksDebugger(fn *function) string {
	switch fn.Bundle.Kind {
	case bundle.Node:
		return ""
	case bundle.Python:
		if !d.factory.debugpy() {
			return fmt.Sprintf("%s: debugpy is not in its Python environment. Add it and start again: %s -m pip install debugpy", fn.ID, relativeTo(d.factory.opts.Root, d.factory.python()))
		}
		return ""
	}
	return ""
}

func relativeTo(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
