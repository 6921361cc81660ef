package cmd

import (
	"os"

	"golang.org/x/sys/windows"
)

// drawable says whether a console can move its cursor as terminals do, and makes it do so: it has to be asked for.
func drawable(file *os.File, term string) bool {
	var mode uint32
	handle := windows.Handle(file.Fd())
	return term != "dumb" && windows.GetConsoleMode(handle, &mode) == nil &&
		windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
