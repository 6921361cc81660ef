//go:build unix

package jsii

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process the head of a group, so that what it starts can be ended with it, and so that Ctrl-C is ours to handle.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// kill ends the process and its group.
func kill(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
