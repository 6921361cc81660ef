package runtime

import (
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// killTree ends a process and all it started.
func killTree(p *os.Process) {
	exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(p.Pid)).Run()
	p.Kill()
}

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// pipeReader reads the output of a process as it comes.
type pipeReader struct {
	f    *os.File
	take func([]byte) // called with mu held
	mu   sync.Mutex
	buf  [64 << 10]byte
}

func (p *pipeReader) run() {
	for {
		n, err := p.f.Read(p.buf[:])
		p.mu.Lock()
		p.take(p.buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// drain gives the reader a moment: a pipe cannot be asked here how much is in it.
func (p *pipeReader) drain() { time.Sleep(2 * time.Millisecond) }
