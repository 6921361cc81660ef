//go:build !windows

package runtime

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// killTree ends a process and all it started.
func killTree(p *os.Process) {
	syscall.Kill(-p.Pid, syscall.SIGKILL)
	p.Kill()
}

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = groupAttr() }

// pipeReader reads the output of a process as it comes, and can be asked to read all that was written so far.
type pipeReader struct {
	f    *os.File
	take func([]byte) // called with mu held
	mu   sync.Mutex
	buf  [64 << 10]byte
}

// run reads until the pipe ends.
func (p *pipeReader) run() {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return
	}
	for {
		ended := false
		err := raw.Read(func(fd uintptr) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			n, err := p.readOnce(fd)
			ended = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR
			return err != syscall.EAGAIN
		})
		if ended || err != nil {
			return
		}
	}
}

// readOnce reads what there is without waiting; mu is held.
func (p *pipeReader) readOnce(fd uintptr) (int, error) {
	n, err := syscall.Read(int(fd), p.buf[:])
	if n > 0 {
		p.take(p.buf[:n])
	}
	return n, err
}

// drain takes what the process wrote before the call, up to a bound: a flood is read on by run.
func (p *pipeReader) drain() {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for range 64 {
			if n, err := p.readOnce(fd); n <= 0 && err != syscall.EINTR {
				return
			}
		}
	})
}
