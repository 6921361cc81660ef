package builtins

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"sync"
	"time"

	"sst/builtins/jsii"
	"sst/cfn"
	"sst/starlark/diag"
)

// Options of an Engine.
type Options struct {
	// Node and CDKDir say what runs the CDK and where it is (jsii.FindNode, jsii.Unpack). They are called once, in the
	// background; an error is that of the first Synth whose files are right.
	Node   func() (jsii.Node, error)
	CDKDir func(ctx context.Context) (string, error)
	Logger *slog.Logger
	// Deadline is how long the CDK may take for one answer; 0 = 60 s.
	Deadline time.Duration
}

// Engine turns projects into assemblies. It keeps a CDK process warm and another one spare, and may be used by one
// goroutine after the other; concurrent calls of Synth wait for each other.
type Engine struct {
	opts Options

	mu    sync.Mutex // held by a synth
	pool  pool
	files parsedFiles
}

// Input is what one synth depends on beside files.
type Input struct {
	File          string // stacks.star, absolute; its folder is the root of the project
	Stage         string
	Region        string // --region, or ""
	DefaultRegion string // of the AWS SDK's own chain, or ""
	Account       string // where neither stages nor sst.lock.json names one; "" leaves it to the deployment
	Personal      bool   // the stage is that of one developer
	Local         bool   // for `sst start`; without Live nothing is deployed, and lookups without an answer get the CDK's made-up values
	Live          bool   // for `sst start` on AWS: the app gets its debug stack, and a protected stage is refused
	OutDir        string // the assembly goes here; emptied first
	AllowExec     bool   // the CDK may start other programs
	CacheDir      string // the user's, where libraries are; "" = they are only in the project
	// Env looks up env("NAME"); nil: nothing is set.
	Env func(name string) (string, bool)
	// Read gives files, nil = os.ReadFile; texts that an editor has not saved go here.
	Read func(path string) ([]byte, error)
	// Hashes are the content hashes of bundles by their key, where they are known already; others get a placeholder.
	Hashes map[string]string
	// ConnectionsURL is the @connections address of an emulator's WebSocket API; "" where the one that AWS names is right.
	ConnectionsURL string
	// Shipped are the content hashes of code that comes with sst, by name: "relay".
	Shipped map[string]string
	// OnFunction is called for each function while the file is evaluated, so that bundling can begin. Stack, LogicalID
	// and Name are not known by then.
	OnFunction func(cfn.Function)
	// OnPacked is the same for static sites and jobs.
	OnPacked func(cfn.Packed)
	MaxSteps uint64        // of the evaluation; 0 = 50 million
	Timeout  time.Duration // of the evaluation; 0 = 30 s
	// Print gets what print() says; nil drops it.
	Print func(pos diag.Position, text string)
}

func (in *Input) read(path string) ([]byte, error) {
	if in.Read != nil {
		return in.Read(path)
	}
	return os.ReadFile(path)
}

// Dependency is something that the assembly was made from. Kind is "file", "dir", "missing" or "exists" (a file of which only
// that mattered), "handler" (the source of a handler, of which only the exports mattered), or "env"; Name is an absolute
// path or the variable. Hash is that of the content of a file and of the value of a
// variable, "" when there is none.
type Dependency struct {
	Kind, Name, Hash string
}

// Synthesis is what a synth gives beside the assembly in Dir.
type Synthesis struct {
	Dir      string
	Manifest *cfn.Manifest
	Assembly *cfn.Assembly // as it lies in Dir, its templates read already; without the Manifest
	Inputs   []Dependency  // sorted
	Warnings diag.List
	Missing  []Lookup // what sst.lock.json does not answer; the error says so as well, unless made-up values do
}

// Lookup is something that the CDK wants to know of an account.
type Lookup struct {
	Key      string // in the lock file
	Provider string // "" is the account of the stage itself
	Props    json.RawMessage
	Span     diag.Span // of the call that asks
}

// Open starts the CDK process and returns at once: it boots while the caller goes on.
func Open(o Options) (*Engine, error) {
	e := &Engine{opts: o, files: parsedFiles{}}
	e.pool.open(o)
	return e, nil
}

// Close ends the CDK processes.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pool.close()
}

// Synth checks and evaluates in.File and synthesizes the app into in.OutDir. The error is a diag.List when the user can do
// something about it; then the Synthesis has at least the inputs, whose change may mend it.
func (e *Engine) Synth(ctx context.Context, in Input) (*Synthesis, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.synth(ctx, in)
}
