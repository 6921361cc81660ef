package proxy

import (
	"context"
	"time"
)

// Handler runs functions. Each invocation is given to Invoke in a goroutine of its own, exactly once per attempt id,
// whatever happens to the connection. Invoke answers by Respond or Error before it returns; ctx ends when the
// sandbox cancels, when the deadline passes and when Invoke has returned.
type Handler interface {
	Invoke(ctx context.Context, inv *Invocation)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, inv *Invocation)

// Invoke calls f.
func (f HandlerFunc) Invoke(ctx context.Context, inv *Invocation) { f(ctx, inv) }

// Invocation is one attempt to run a function. Event and Env must not be changed.
type Invocation struct {
	ID        string    // attempt id: the request id, a dot and 16 hex digits
	RequestID string    // what the function sees as its request id
	Function  string    // cfn.Function.ID
	Sandbox   string    // the sandbox asking; one local worker belongs to one sandbox
	Deadline  time.Time // on the local clock
	Event     []byte    // verbatim
	Header    Header
	Init      *Init             // what the sandbox told of itself when it started
	Env       map[string]string // the sandbox's environment (Init.Env)

	answer func(kind string, errType string, body []byte) bool
	log    func(line []byte)
	stream func(contentType string) *Stream
}

// Header is what the Runtime API tells beside the event; empty fields were absent.
type Header struct {
	InvokedFunctionArn string `json:"arn,omitempty"`
	TraceID            string `json:"trace,omitempty"`
	ClientContext      string `json:"client,omitempty"`
	CognitoIdentity    string `json:"cognito,omitempty"`
	TenantID           string `json:"tenant,omitempty"`
	ContentType        string `json:"type,omitempty"`
	Tail               bool   `json:"tail,omitempty"` // the caller wants the log's tail: send Log lines
}

// Init is what a sandbox tells once, before its first request.
type Init struct {
	Function string            `json:"function"`
	Runtime  string            `json:"runtime,omitempty"`
	Memory   int               `json:"memory,omitempty"`  // MB
	Timeout  int               `json:"timeout,omitempty"` // seconds
	Arch     string            `json:"arch,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Far      bool              `json:"far,omitempty"` // it can reach Payloads
}

// Respond answers with body. Only the first answer of an invocation counts; it reports whether this was it.
func (inv *Invocation) Respond(body []byte) bool { return inv.answer(typeRes, "", body) }

// Error answers with a function error: errType and the body as the runtime client wrote it, verbatim.
func (inv *Invocation) Error(errType string, body []byte) bool {
	return inv.answer(typeErr, errType, body)
}

// Stream begins a streamed answer, for which Lambda's limit is 200 MB; it is nil when there is another answer already.
// The Stream must be ended by Close or Fail before Invoke returns.
func (inv *Invocation) Stream(contentType string) *Stream { return inv.stream(contentType) }

// Log sends lines of the function's log to the sandbox; useful only when Header.Tail asks for it.
func (inv *Invocation) Log(lines []byte) { inv.log(lines) }
