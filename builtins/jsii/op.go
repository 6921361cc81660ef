package jsii

import (
	"encoding/json"
	"errors"
	"fmt"
)

// OpKind says what an operation does.
type OpKind uint8

// The operations.
const (
	Create          OpKind = iota // FQN, Args → ID
	Invoke                        // Target, Member, Args → ID or value
	Static                        // FQN, Member, Args → ID or value
	Get                           // Target, Member → ID or value
	Set                           // Target, Member, Args[0]
	StaticGet                     // FQN, Member → ID or value
	StaticSet                     // FQN, Member, Args[0]
	Resolve                       // Target → what an earlier result turned out to be
	PlaceholderCode               // Args[0]: key, 64 hex digits → ID of an aws_lambda.Code
	LogicalID                     // Target: a construct → the logical id of it or of its default child
	NodePath                      // Target: a construct → its path
)

var opNames = [...]string{
	Create: "create", Invoke: "call", Static: "callStatic", Get: "get", Set: "set", StaticGet: "getStatic", StaticSet: "setStatic",
	Resolve: "resolve", PlaceholderCode: "placeholderCode", LogicalID: "logicalId", NodePath: "nodePath",
}

// Op is one operation.
//
// A result that is an object gets the ID that the caller chose, so that later operations can use it without waiting for an
// answer. When the object had one already, the new ID is another name for it: Call and Resolve answer with the first.
type Op struct {
	Kind    OpKind
	ID      int64  // for the result: positive, not used before in this session; 0 when no object is expected
	FQN     string // of the class, for Create and statics
	Member  string // JavaScript name
	Target  int64
	Args    []Value
	Returns TypeRef // declared result, which decides how it comes back
	Tag     int     // comes back in errors
}

// Error is a JavaScript exception.
type Error struct {
	Tag      int    // of the operation that failed
	Name     string // "ValidationError"; of ours: "ReadRefused", "ExecRefused"
	Message  string
	JSStack  string
	Path     string    // of the construct that it names, when it does
	Messages []Message // when a synth failed: what the constructs have to say, errors of their validation too
	Callback error     // the error of the callback that caused it, if one did
}

func (e *Error) Error() string {
	if e.Callback != nil {
		return e.Callback.Error()
	}
	return e.Message
}

// Unwrap gives the callback's error.
func (e *Error) Unwrap() error { return e.Callback }

// HostError means that the process itself failed: it died, hung, or said something that is not an answer. Another host can be started.
type HostError struct {
	Problem string // "ended", "gave no answer in time", ...
	Stderr  string // its last lines
	Err     error
}

func (e *HostError) Error() string {
	s := "the CDK's Node process " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Stderr != "" {
		s += "\n" + e.Stderr
	}
	return s
}

// ErrSilent is the cause of a context that gives up on a process because it does not answer.
var ErrSilent = errors.New("it may hang")

// Lost says that the process ended by itself, answered nonsense or fell silent, and was not given up on because its
// caller ended.
func (e *HostError) Lost() bool { return e.Problem != noAnswer || errors.Is(e.Err, ErrSilent) }

// noAnswer is the problem of a process that was asked when a context ended.
const noAnswer = "gave no answer in time"

// Unwrap gives the cause.
func (e *HostError) Unwrap() error { return e.Err }

// SynthReply is what a synth says beside the assembly it wrote.
type SynthReply struct {
	Dir      string           `json:"dir"`
	Paths    map[int64]string `json:"paths"`    // node path of every construct that a Create made, by ID
	Messages []Message        `json:"messages"` // in the order of the construct tree
	Files    []File           `json:"files"`    // what CDK code read, sorted by name
}

// Message is an annotation on a construct, or an error of its validation.
type Message struct {
	Level   string `json:"level"` // "info", "warning", "error"
	Path    string `json:"path"`  // of the construct
	ID      int64  `json:"id"`    // of the nearest construct made by a Create, 0 when there is none
	Message string `json:"message"`
}

// Missing is a lookup that the context of the app does not answer.
type Missing struct {
	Key      string          `json:"key"`
	Provider string          `json:"provider"`
	Props    json.RawMessage `json:"props"`
	Tag      int             `json:"tag"` // of the operation that asked first
}

// File is something that CDK code read.
type File struct {
	Name string `json:"name"` // absolute
	Kind string `json:"kind"` // "file" and "dir": its content; "exists" and "missing": only whether it is there
}

// wire gives the operation as host.js has it. Its result is wanted in the answer, or not.
func (h *Host) wire(op Op, answer bool) (wireOp, error) {
	if !h.began {
		return wireOp{}, fmt.Errorf("operation before Begin")
	}
	if int(op.Kind) >= len(opNames) {
		return wireOp{}, fmt.Errorf("unknown operation %d", op.Kind)
	}
	w := wireOp{kind: opNames[op.Kind], id: op.ID, member: op.Member, args: op.Args, tag: op.Tag, on: op.Target}
	switch op.Kind {
	case Create, Static, StaticGet, StaticSet:
		w.on = op.FQN
	case LogicalID, NodePath:
		w.shape = "p"
	}
	if op.Kind == StaticSet {
		h.marked = true
	}
	if op.Kind == Create && op.ID <= 0 {
		return wireOp{}, fmt.Errorf("%s: no id for the object", op.FQN)
	}
	switch op.Returns.Kind {
	case Void:
		if answer && w.shape == nil && (op.Kind == Create || op.Kind == PlaceholderCode) {
			w.shape = "r"
		}
	default:
		w.shape = h.shape(op.Returns)
	}
	return w, nil
}
