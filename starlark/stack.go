package interp

import (
	"context"
	"strings"

	"go.starlark.net/starlark"

	"sst/starlark/diag"
)

// runKey is the thread local that holds the *run.
const runKey = "sst.run"

// Context is the context that the evaluation on thread runs under: it ends
// with the caller's, and at the time limit.
func Context(thread *starlark.Thread) context.Context {
	if r, ok := thread.Local(runKey).(*run); ok {
		return r.ctx
	}
	return context.Background()
}

// Caller is the innermost position in a file of the user, the place of every
// error; the zero Position when no such file is being evaluated.
func Caller(thread *starlark.Thread) diag.Position {
	for depth := range thread.CallStackDepth() {
		if pos := thread.CallFrame(depth).Pos; userFile(pos.Filename()) {
			return position(pos.Filename(), pos)
		}
	}
	return diag.Position{}
}

// Stack is Caller with the calls below it, innermost last.
func Stack(thread *starlark.Thread) (user diag.Position, frames []diag.Frame) {
	at := siteOf(thread.CallStack())
	return at.user, at.frames
}

// userFile reports whether a frame's file is one of the user.
func userFile(name string) bool {
	return name != "" && !isPrelude(name) && !strings.HasPrefix(name, "<")
}

// siteOf takes a stack apart at the innermost frame of the user.
func siteOf(stack starlark.CallStack) site {
	var at site
	user := -1
	for i, fr := range stack {
		if userFile(fr.Pos.Filename()) {
			user = i
		}
	}
	for i, fr := range stack {
		f := frame(fr)
		switch {
		case i < user:
			at.callers = append(at.callers, f)
		case i > user:
			at.frames = append(at.frames, f)
		default:
			at.user = f.Pos
		}
	}
	return at
}

func frame(fr starlark.CallFrame) diag.Frame {
	f := diag.Frame{Name: fr.Name}
	if file := fr.Pos.Filename(); userFile(file) || isPrelude(file) {
		f.Pos = position(file, fr.Pos)
	}
	return f
}
