//go:build !windows

package bundle

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup lets a command and all it starts be ended together.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
