//go:build unix

package cmd

import (
	"io/fs"
	"syscall"
)

// errNotDirectory is what looking for a file below a file gives: it is as gone as one that does not exist.
var errNotDirectory error = syscall.ENOTDIR

func inodeOf(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}
