// Package proxy is the live wire: the protocol sst-live/1 between the place where an invocation arrives (a sandbox)
// and the place where its code runs (the developer's machine), and the relay between the two.
//
// Start with [Relay], the WebSocket endpoint both ends connect to; [Conn], the developer's end, which hands each
// [Invocation] to a [Handler]; and [Sandbox], the function's end inside this process. [Stub] is the same function's
// end as one JavaScript file that runs in Lambda. The wire itself ([Frame], its codec, chunks, sequence numbers,
// acknowledgements) is described in docs/protocol.md, from which another implementation can be written.
//
// The package moves bytes and never looks into them: events and answers are passed on verbatim. Running the code of
// a function, its workers and their Runtime API are package runtime's.
package proxy

import _ "embed"

// Version is the protocol version this package speaks; MinVersion the oldest one it still accepts.
const (
	Version    = 1
	MinVersion = 1
)

// Stub is the function's end for Lambda: one JavaScript module without dependencies that speaks the Runtime API.
// Its configuration is the environment variable SST_LIVE (see docs/protocol.md, "The stub").
//
//go:generate go test . -run TestGoldenStub -update
//go:embed stub.min.mjs
var Stub []byte

// StubWrapper is the program that Lambda starts in the place of a function's runtime (AWS_LAMBDA_EXEC_WRAPPER): it runs the
// stub, StubFile beside it.
//
//go:embed stub.sh
var StubWrapper []byte

// Names of the stub's files in a function's archive.
const (
	StubFile        = "sst-live.mjs"
	StubWrapperFile = "sst-live"
)

// RelayFunction is the relay as a Lambda function: one JavaScript module that exports handler. API Gateway holds the
// connections and asks it for each frame.
//
//go:embed relay.mjs
var RelayFunction []byte

// Error types made by the wire itself; every other error type is the function's own.
const (
	ErrorNoDeveloper   = "SST.NoDeveloper"   // nobody is connected who could run the function
	ErrorDeadlineNear  = "SST.DeadlineNear"  // answered just before Lambda would kill the sandbox
	ErrorDeveloperLost = "SST.DeveloperLost" // the developer's end restarted while it may have run this attempt
	ErrorNoAnswer      = "SST.NoAnswer"      // a Handler returned without answering
	ErrorProtocol      = "SST.Protocol"      // a message could not be read by the other end
	ErrorTooLarge      = "Function.ResponseSizeTooLarge"
	ErrorBusy          = "SST.Busy" // the developer's end holds too much already
)
