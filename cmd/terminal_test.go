//go:build unix

package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptTerminal runs the tool on a terminal.
func scriptTerminal(ts *testscript.TestScript, neg bool, args []string) {
	var when *regexp.Regexp
	if len(args) > 2 && args[0] == "-when" {
		when, args = regexp.MustCompile("(?m)"+args[1]), args[2:]
	}
	var width, height int
	if n, _ := fmt.Sscanf(args[0], "%dx%d", &width, &height); n != 2 || len(args) < 2 {
		ts.Fatalf("usage: terminal [-when PATTERN] COLUMNSxROWS ARG...")
	}
	command := exec.Command(ts.Getenv("SST"), args[1:]...)
	command.Dir = ts.MkAbs(".")
	command.Env = append(command.Env, "TERM=xterm-256color")
	for _, name := range []string{"PATH", "HOME", "USER", "XDG_CACHE_HOME", "TMPDIR", "TERM", "NO_COLOR", "AWS_EC2_METADATA_DISABLED", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_REGION", "AWS_ENDPOINT_URL"} {
		if value := ts.Getenv(name); value != "" {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	master, err := pty.StartWithSize(command, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)})
	ts.Check(err)
	defer master.Close()
	timeout := time.AfterFunc(time.Minute, func() { command.Process.Kill() })
	defer timeout.Stop()
	f := newFakeTerminal(width, height)
	for buffer := make([]byte, 1<<16); ; {
		n, err := master.Read(buffer)
		read := buffer[:n]
		if ts.Getenv("TERM") == "dumb" { // shows what it does not understand
			read = bytes.ReplaceAll(read, []byte("\x1b"), []byte("^["))
		}
		f.mu.Lock()
		f.emulator.Write(read)
		f.mu.Unlock()
		if screen := f.text(); when != nil && when.MatchString(screen) {
			fmt.Fprint(ts.Stdout(), screen, "--------------------\n")
			when = nil
			ts.Check(command.Process.Signal(os.Interrupt))
		}
		if err != nil { // Linux says EIO when nobody has the terminal open any more
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EIO) {
				ts.Fatalf("read the terminal: %v", err)
			}
			break
		}
	}
	err = command.Wait()
	screen := f.text()
	fmt.Fprint(ts.Stdout(), screen)
	if when != nil {
		ts.Fatalf("the screen never had %s:\n%s", when, screen)
	}
	if failed := err != nil; failed != neg {
		ts.Fatalf("sst %s: %v\n%s", strings.Join(args[1:], " "), err, screen)
	}
}
