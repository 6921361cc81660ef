package assertions

import (
	"fmt"

	"go.starlark.net/starlark"

	interp "sst/starlark"
)

// Capture takes the place of a value in a pattern and keeps what it met there: of each resource that matched as a whole,
// in the order of the template.
type Capture struct {
	pattern  starlark.Value // nil: any value
	captured []any
	at       int // the one that value is of
}

var _ starlark.HasAttrs = (*Capture)(nil)

func (c *Capture) String() string        { return "Capture()" }
func (c *Capture) Type() string          { return "Capture" }
func (c *Capture) Freeze()               {} // a capture of the file's top level is filled by its tests
func (c *Capture) Truth() starlark.Bool  { return len(c.captured) > 0 }
func (c *Capture) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable type: Capture") }

var captureMembers = []string{"value", "values", "next", "as_string", "as_number", "as_boolean", "as_array", "as_object"}

// AttrNames are those of the CDK's Capture, and value and values.
func (c *Capture) AttrNames() []string { return captureMembers }

// Attr gives a member.
func (c *Capture) Attr(name string) (starlark.Value, error) {
	want := map[string]string{"as_string": "string", "as_number": "", "as_boolean": "bool", "as_array": "list", "as_object": "dict"}
	switch name {
	case "values":
		return toStarlark(c.captured), nil
	case "value":
		return c.value()
	case "next":
		return starlark.NewBuiltin("next", c.next), nil
	case "as_string", "as_number", "as_boolean", "as_array", "as_object":
		return starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 0); err != nil {
				return nil, err
			}
			v, err := c.value()
			if err != nil {
				return nil, err
			}
			kind := v.Type()
			if kind == want[name] || name == "as_number" && (kind == "int" || kind == "float") {
				return v, nil
			}
			return nil, interp.Errorf("wrong-type", "Captured something else", "%s: what was captured is %s.", name, show(c.captured[c.at]))
		}), nil
	}
	return nil, nil
}

func (c *Capture) value() (starlark.Value, error) {
	if c.at >= len(c.captured) {
		return nil, interp.Errorf("nothing-captured", "Nothing was captured", "No assertion with this capture has matched.")
	}
	return toStarlark(c.captured[c.at]), nil
}

// next moves to the next captured value and says whether there is one.
func (c *Capture) next(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 0); err != nil {
		return nil, err
	}
	if c.at+1 >= len(c.captured) {
		return starlark.False, nil
	}
	c.at++
	return starlark.True, nil
}

func newCapture(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	c := &Capture{}
	return c, starlark.UnpackArgs(b.Name(), args, kwargs, "pattern?", &c.pattern)
}

// sightings are what captures met while a value was matched.
type sightings struct{ all []sighting }

type sighting struct {
	by  *Capture
	got any
}

func (s *sightings) add(by *Capture, got any) { s.all = append(s.all, sighting{by, got}) }
func (s *sightings) join(more *sightings)     { s.all = append(s.all, more.all...) }

// keep hands them to their captures.
func (s *sightings) keep() {
	for _, each := range s.all {
		each.by.captured = append(each.by.captured, each.got)
	}
}
