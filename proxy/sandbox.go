package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// SandboxOptions configures OpenSandbox.
type SandboxOptions struct {
	URL    string
	Header http.Header
	Token  string
	ID     string // unique per sandbox
	Init   Init   // function, environment and so on; sent once
	Logger *slog.Logger
}

// Sandbox is the function's end inside this process. It has the same conversation as the stub in Lambda.
type Sandbox struct{}

// Request is an invocation to be made.
type Request struct {
	RequestID string // "" = a new UUID
	Event     []byte
	Deadline  time.Time // zero = now + Init.Timeout (or 15 minutes)
	Header    Header
}

// Response is the answer to a Request.
type Response struct {
	RequestID     string
	Body          []byte // the result, or the error's body, verbatim
	FunctionError bool
	ErrorType     string // set with FunctionError
	LogTail       []byte // when Header.Tail was set: the last 4 KB
}

// OpenSandbox connects a sandbox. It returns at once: the connection is made in the background and awaited by the
// first Invoke.
func OpenSandbox(ctx context.Context, opts SandboxOptions) (*Sandbox, error) {
	return nil, errors.New("open sandbox: not there yet")
}

// Invoke runs one invocation and returns its answer. The error is for what is no answer of a function at all: ctx
// ended, sandbox closed. Concurrent calls are allowed; a caller that wants Lambda's one at a time keeps to it.
func (s *Sandbox) Invoke(ctx context.Context, req Request) (*Response, error) { return nil, nil }

// Close ends the sandbox; the developer's end forgets it.
func (s *Sandbox) Close() error { return nil }
