//go:build !windows

package cmd

import "os"

// drawable says whether a terminal can move its cursor.
func drawable(_ *os.File, term string) bool { return term != "" && term != "dumb" }
