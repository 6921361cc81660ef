//go:build unix

package cmd

import (
	"errors"
	"syscall"
)

// alive reports whether a process still runs.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
