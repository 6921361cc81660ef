// Package runtime runs the functions of an assembly on this machine: it owns the ports people and programs call (an
// HTTP port for each Api, the Lambda Invoke API, schedules), the sandboxes an invocation arrives in, the worker
// processes with their Runtime API, and the watching and rebuilding of code.
//
// Every request takes one path: front -> proxy.Sandbox -> proxy.Relay over a loopback WebSocket -> proxy.Conn -> worker,
// and back. So what runs locally is the wire that live mode runs on, and only authentication and address differ.
//
// It leaves to others what is bundled and how (runtime/bundle), what the functions, routes and schedules are (cfn), the
// wire (proxy), and what people see (cmd, from the events).
//
// Start from Server: Open, Update with an assembly, Close; and from the Event types.
package runtime

import (
	"context"
	"log/slog"
)

// Options configures Open.
type Options struct {
	Root    string // project root, absolute: handlers are relative to it
	Dir     string // the tool's folder in it, ".sst"; "" means Root/.sst
	App     string
	Stage   string
	Region  string // "" means us-east-1
	Port    int    // of the first Api; the next free ones follow. 0: every front on a free port of its own
	Node    Node
	Python  string   // "" means python3 of PATH
	Go      string   // the go command; "" means the one in PATH
	Environ []string // of this process, as os.Environ; workers get a few of its variables
	Logger  *slog.Logger
	Events  func(Event) // called one at a time; must not block for long. nil: nobody looks
	Version string      // of the tool

	// Secrets completes the environment of a sandbox: the values of the secrets that it names, what this machine adds. It is asked before each
	// invocation and gives the same map when there are none, so it must be quick. nil: nobody knows any.
	Secrets func(ctx context.Context, env map[string]string) (map[string]string, error)

	// Parameter gives the value of a secret by its parameter, for code that asks the local cloud for it; nil: there are none.
	Parameter func(ctx context.Context, name string) (value string, ok bool, err error)
	Reset     bool // the local cloud begins empty
	NoIAM     bool // in the local cloud every function may do everything

	// Keys say where the public keys of issuers of tokens are, "FILE_OR_URL" or "ISSUER=FILE_OR_URL" each; of others they
	// are fetched as the issuer says.
	Keys []string

	// Live says that the app's functions are stubs in AWS, whose invocations come over the relay there: see Server.Connect.
	Live bool

	// MaxWorkers bounds the live worker processes; 0 means twice the cores, at least 8. MaxPerFunction bounds those
	// of one function; 0 means 10.
	MaxWorkers, MaxPerFunction int
}

// Node is the Node.js that runs Node functions; an empty Path makes them fail with a message that says so.
type Node struct {
	Path  string
	Major int
}
