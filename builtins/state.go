package builtins

import (
	"go.starlark.net/starlark"

	interp "sst/starlark"
)

// state is a cell whose attributes can be set at any time until synth starts, even from a file that was loaded, whose own
// values are frozen.
type state struct {
	s      *session
	fields starlark.StringDict
}

var _ starlark.HasSetField = (*state)(nil)

func (c *state) String() string       { return "<state>" }
func (c *state) Type() string         { return "state" }
func (c *state) Freeze()              {} // that is what it is for
func (c *state) Truth() starlark.Bool { return true }
func (c *state) Hash() (uint32, error) {
	return 0, interp.Errorf("unhashable", "Unhashable", "a state cannot be the key of a dict.")
}

// AttrNames are the fields set so far.
func (c *state) AttrNames() []string { return c.fields.Keys() }

// Attr reads a field.
func (c *state) Attr(name string) (starlark.Value, error) { return c.fields[name], nil }

// SetField sets a field.
func (c *state) SetField(name string, value starlark.Value) error {
	if c.s.closed {
		return interp.Errorf("too-late", "Too late", "the app is being synthesized: constructs cannot change any more.")
	}
	c.fields[name] = value
	return nil
}

// closeStates makes all cells and what is in them read-only.
func (s *session) closeStates() {
	s.closed = true
	for _, c := range s.states {
		c.fields.Freeze()
	}
}
