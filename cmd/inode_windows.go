package cmd

import (
	"io/fs"
	"syscall"
)

var errNotDirectory error = syscall.ERROR_PATH_NOT_FOUND

// inodeOf gives 0: size and time identify a file here.
func inodeOf(fs.FileInfo) uint64 { return 0 }
