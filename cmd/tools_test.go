//go:build !windows

package cmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hanging is a tool of a project that never ends by itself. It makes a file when it runs.
func hanging(t *testing.T) (program, dir string) {
	t.Helper()
	dir = t.TempDir()
	program = filepath.Join(dir, "tool")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n: > started\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return program, dir
}

// A slow checker is named while it is waited for, and Ctrl-C, as cancelling the context is, ends it with the wait.
func TestSlowChecker(t *testing.T) {
	program, dir := hanging(t)
	said := &lineWriter{lines: make(chan string, 8)}
	tool := &tool{World: &World{Environ: os.Environ()}, patience: 20 * time.Millisecond}
	tool.view = newHumanView(said, said, viewOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, _, _, err := tool.captured(ctx, "ESLint", program, dir, nil)
		ended <- err
	}()
	if got, want := <-said.lines, "ESLint is still running ...\n"; got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	if code := tool.exit(ctx, context.Canceled); code != ExitProblem {
		t.Errorf("exit code %d, want %d", code, ExitProblem)
	}
	if got := <-said.lines; got != "error: interrupted\n" {
		t.Errorf("it said %q", got)
	}
}

// A slow test runner is named when it begins, since what it prints is its own from then on; Ctrl-C ends it.
func TestSlowTestRunner(t *testing.T) {
	program, dir := hanging(t)
	var out bytes.Buffer
	tool := &tool{World: &World{Environ: os.Environ(), Stderr: &out}}
	tool.view = newHumanView(&out, &out, viewOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := tool.runTool(ctx, toolRun{title: "Vitest", path: program, args: []string{"run"}, dir: dir})
		ended <- err
	}()
	for i := 0; !fileThere(filepath.Join(dir, "started")); i++ {
		if i > 1000 {
			t.Fatal("the runner was not started")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	if want := "Vitest: tool run\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("it said %q, want %q first", &out, want)
	}
}

// lineWriter gives what is written to it, a call each.
type lineWriter struct{ lines chan string }

func (w *lineWriter) Write(p []byte) (int, error) {
	w.lines <- string(p)
	return len(p), nil
}
