package jsii

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps Ctrl-C away from the process: it is ours to handle.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// kill ends the process.
func kill(cmd *exec.Cmd) { cmd.Process.Kill() }
