package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sst/starlark/diag"
)

// This file runs the project's own ESLint and type check beside something else: a build, a deployment, a running start.

// codeCheck is one run of them.
type codeCheck struct {
	tool   *tool
	failed string // the file that remembers a run with errors
	end    context.CancelFunc
	done   chan struct{}

	found    diag.List // when done is closed
	problems []*Problem
	missing  []*missingTool
	err      error
}

// startCodeCheck starts the checks that the project brings, and more, in the background.
func (t *tool) startCodeCheck(ctx context.Context, p *project, more ...check) *codeCheck {
	ctx, end := context.WithCancel(ctx)
	c := &codeCheck{tool: t, failed: filepath.Join(p.state, "cache", "code-check-failed"), end: end, done: make(chan struct{})}
	checks := append(t.projectChecks(p, false), more...)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, check := range checks {
		all.Go(func() {
			list, err := check(ctx)
			mu.Lock()
			defer mu.Unlock()
			c.found = append(c.found, list...)
			var problem *Problem
			var missing *missingTool
			if errors.As(err, &missing) {
				c.missing = append(c.missing, missing)
			} else if errors.As(err, &problem) {
				c.problems = append(c.problems, problem)
			} else if err != nil {
				c.err = err
			}
		})
	}
	go func() {
		all.Wait()
		c.found = unrepeated(c.found)
		end()
		close(c.done)
	}()
	return c
}

// checkCodeOf checks the code of a project beside the build that follows: from when it finds that something has changed,
// or at once when the last check found errors. A build that finds nothing new is not held up.
func (t *tool) checkCodeOf(ctx context.Context, p *project, not bool) *lazyCheck {
	c := &lazyCheck{}
	if not {
		return c
	}
	start := func() {
		if c.check == nil {
			c.check = t.startCodeCheck(ctx, p)
		}
	}
	if p.codeFailed() {
		start()
	}
	t.onBuild = start
	return c
}

// lazyCheck is a codeCheck that may not have been started; then all is well.
type lazyCheck struct{ check *codeCheck }

func (c *lazyCheck) stop() {
	if c.check != nil {
		c.check.stop()
	}
}

func (c *lazyCheck) tell() (bool, error) {
	if c.check == nil {
		return true, nil
	}
	return c.check.tell()
}

// ok says whether there are neither errors nor problems. A run that was broken off is none.
func (c *codeCheck) ok() bool {
	<-c.done
	return c.err == nil && len(c.problems) == 0 && !c.found.HasErrors()
}

// stop ends the checks and waits until their processes are gone.
func (c *codeCheck) stop() {
	c.end()
	<-c.done
}

// tell waits for the end, prints what was found, and says whether code is good enough to go on. The next command looks
// again when it is not, even if nothing has changed.
func (c *codeCheck) tell() (bool, error) {
	<-c.done
	if c.err != nil {
		return false, c.err
	}
	if len(c.found) > 0 {
		c.tool.view.Diagnostics(c.found)
	}
	for _, p := range c.problems {
		c.tool.view.Problem(p)
	}
	for _, m := range c.missing {
		c.tool.view.Notice(fmt.Sprintf("Without a check: %s. %s", m.Summary, m.Hint))
	}
	if c.ok() {
		os.Remove(c.failed)
		return true, nil
	}
	if err := os.MkdirAll(filepath.Dir(c.failed), 0o755); err == nil {
		os.WriteFile(c.failed, nil, 0o644)
	}
	return false, nil
}

// codeFailed says whether the last code check of the project found errors.
func (p *project) codeFailed() bool {
	return fileThere(filepath.Join(p.state, "cache", "code-check-failed"))
}

// settleCode is how long files must be quiet before code is checked again: a check takes seconds of a processor.
const settleCode = 500 * time.Millisecond

// codeWatch checks code and templates again and again beside a running start, the newest text only: a save ends the check before it.
type codeWatch struct {
	tool    *tool
	project *project
	rules   check
	kick    chan struct{}
	ended   chan struct{}
}

// watchCode checks once now, and after each call of saved until ctx ends. rules are the CDK's, of the app that is served.
func (t *tool) watchCode(ctx context.Context, p *project, rules check) *codeWatch {
	w := &codeWatch{tool: t, project: p, rules: rules, kick: make(chan struct{}, 1), ended: make(chan struct{})}
	w.saved()
	go w.run(ctx)
	return w
}

// saved says that something was saved. It never waits; nil does nothing.
func (w *codeWatch) saved() {
	if w == nil {
		return
	}
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *codeWatch) run(ctx context.Context) {
	defer close(w.ended)
	var check *codeCheck
	var done chan struct{}
	var settle <-chan time.Time
	said := ""
	stop := func() {
		if check != nil {
			check.stop()
			check, done = nil, nil
		}
	}
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
			settle = time.After(settleCode)
		case <-settle:
			settle = nil
			stop()
			check = w.tool.startCodeCheck(ctx, w.project, w.rules)
			done = check.done
		case <-done:
			said = w.told(check, said)
			check, done = nil, nil
		}
	}
}

// told prints what is new since the last time and gives what there is now.
func (w *codeWatch) told(check *codeCheck, said string) string {
	if check.err != nil {
		w.tool.log.Warn("the code was not checked", "error", check.err)
		return said
	}
	text := ""
	if len(check.found) > 0 {
		text = check.found.Error()
	}
	for _, p := range check.problems {
		text += "\n" + p.Summary
	}
	for _, m := range check.missing {
		text += "\n" + m.Summary
	}
	switch {
	case text == said:
	case text == "":
		w.tool.view.Notice("ESLint, the type check and the CDK's rules find nothing to complain of any more.")
	default:
		check.tell()
	}
	return text
}

// wait until no process of a check is left; the context of the watch has ended. nil waits for nothing.
func (w *codeWatch) wait() {
	if w != nil {
		<-w.ended
	}
}
