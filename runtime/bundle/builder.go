package bundle

import (
	"context"
	"log/slog"
)

// Mode says what a bundle is for.
type Mode int

const (
	Deploy Mode = iota // runs in Lambda
	Live               // runs on this machine
)

// Config of a Builder. Root must be absolute.
type Config struct {
	Root      string
	Mode      Mode
	NodeMajor int    // of the local Node; Live bundles are made for the older of it and the function's runtime
	GoTool    string // path of the go command; "" means the one in PATH
	// Cache is a folder where results are kept between processes; "" means none.
	Cache  string
	Logger *slog.Logger
	// Requirements installs a Python function's dependencies and returns the files to add; nil leaves them out,
	// with a warning.
	Requirements func(ctx context.Context, spec Spec, dir string) ([]File, error)
}

// Builder builds specs and remembers what each was built from. It is safe for concurrent use.
type Builder struct {
	config Config
}

// Open makes a Builder. Nothing is read before the first Build.
func Open(config Config) *Builder { return &Builder{config: config} }

// Close ends builds under way.
func (b *Builder) Close() error { return nil }

// Build gives one result per spec, in the same order. What did not change since it was last built is not built again.
// When ctx ends, the results not yet made carry its cause as their error.
func (b *Builder) Build(ctx context.Context, specs []Spec) []*Result {
	results := make([]*Result, len(specs))
	for i, spec := range specs {
		results[i] = &Result{Spec: spec}
	}
	return results
}

// Forget drops what is remembered of a spec that is not needed any more.
func (b *Builder) Forget(spec Spec) {}
