package jsii

import (
	"context"
	"io"
)

// HostOptions says how to run the CDK.
type HostOptions struct {
	Node   Node
	Dir    string    // from Unpack
	Stderr io.Writer // what CDK code prints; nil: dropped (the last lines are kept for errors)
}

// Session is what changes from one synth to the next in the same host.
type Session struct {
	Root      string // files outside of it are refused to CDK code; "" confines nothing
	AllowExec bool   // CDK code may start other programs
	// Callback answers a call of a method of a Callback. Operations are allowed while it runs, on the ctx it gets.
	Callback func(ctx context.Context, call CallbackRequest) (Value, error)
}

// CallbackRequest is a method call, or a property read or write, on a Callback.
type CallbackRequest struct {
	ID     int64
	Method string // JavaScript name
	Set    bool   // a property is written: Args has its value
	Get    bool   // a property is read
	Args   []Value
	Tag    int // of the operation that caused it
}

// Host is a Node process that runs the CDK.
type Host struct{}

// OpKind says what an operation does.
type OpKind uint8

// The operations.
const (
	Create          OpKind = iota // FQN, Args → ID
	Invoke                        // Target, Member, Args → ID or value
	Static                        // FQN, Member, Args
	Get                           // Target, Member
	Set                           // Target, Member, Args[0]
	StaticGet                     // FQN, Member
	StaticSet                     // FQN, Member, Args[0]
	Resolve                       // Target → what it turned out to be
	PlaceholderCode               // Args: key, 64 hex digits → ID of an aws_lambda.Code
	LogicalID                     // Target: a construct → the logical id of it or its default child
	NodePath                      // Target → its path
)

// Op is one operation.
type Op struct {
	Kind    OpKind
	ID      int64  // for the result, chosen by the caller: positive, not used before in this session; 0 when no reference is expected
	FQN     string // of the class for Create and statics
	Member  string // JavaScript name
	Target  int64
	Args    []Value
	Returns TypeRef // declared result, which decides how it comes back
	Tag     int     // comes back in errors
}

// Error is a JavaScript exception.
type Error struct {
	Tag      int    // of the operation that failed
	Name     string // "ValidationError"
	Message  string
	JSStack  string
	Path     string // of the construct that it names, when it does
	Callback error  // the error of the callback that caused it, if one did
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the callback's error.
func (e *Error) Unwrap() error { return e.Callback }

// HostError means that the process itself failed: it died, hung, or said something that is not an answer.
type HostError struct {
	Problem string // "ended", "gave no answer", ...
	Stderr  string // its last lines
	Err     error
}

func (e *HostError) Error() string { return e.Problem }

// Unwrap gives the cause.
func (e *HostError) Unwrap() error { return e.Err }

// SynthReply is what a synth says beside the assembly it wrote.
type SynthReply struct {
	Dir      string
	Paths    map[int64]string // node path of every construct that a Create made, by ID
	Messages []Message        // in the order of the construct tree
	Files    []File           // what CDK code read, sorted
}

// Message is an annotation on a construct.
type Message struct {
	Level   string // "info", "warning", "error"
	Path    string // of the construct
	ID      int64  // of the nearest construct made by a Create, 0 when there is none
	Message string
}

// File is something that CDK code read.
type File struct {
	Name string // absolute
	Kind string // "file", "dir", "missing"
}

// Start starts a host and returns at once: it boots while the caller goes on.
func Start(ctx context.Context, o HostOptions) (*Host, error) { return &Host{}, nil }

// Begin forgets all objects and starts over for another app. It must be called before the first operation.
func (h *Host) Begin(s Session) {}

// Send queues an operation. Its error comes with the next Call, Flush or Synth.
func (h *Host) Send(op Op) {}

// Call sends what is queued and then op, and waits for its result.
func (h *Host) Call(ctx context.Context, op Op) (Value, error) { return nil, nil }

// Flush sends what is queued and waits until it is done.
func (h *Host) Flush(ctx context.Context) error { return nil }

// Synth synthesizes the app into dir.
func (h *Host) Synth(ctx context.Context, app int64, dir string, tag int) (*SynthReply, error) {
	return nil, nil
}

// Worn says whether it is time to replace the host: the CDK keeps some memory of each synth.
func (h *Host) Worn() bool { return false }

// Synths is the number of synths so far.
func (h *Host) Synths() int { return 0 }

// Memory is the resident size in bytes at the last answer.
func (h *Host) Memory() int64 { return 0 }

// Close ends the process and all it started.
func (h *Host) Close() error { return nil }
