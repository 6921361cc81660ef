package runtime

import "syscall"

// groupAttr puts a process into a group of its own, so that Ctrl-C reaches only us and a kill reaches all it started,
// and lets the kernel end it when the thread that started it ends (see spawner).
func groupAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
