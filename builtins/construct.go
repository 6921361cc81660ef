package builtins

import (
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	interp "sst/starlark"
)

// Construct is an sst construct: members of its own first, then the attributes of the CDK resource behind it.
type Construct struct {
	s        *session
	kind     string // "Queue"
	members  starlark.StringDict
	resource starlark.Value // *Object, or None
	scope    *Object        // the constructs.Construct it is
}

var (
	_ starlark.HasSetField = (*Construct)(nil)
	_ starlark.Comparable  = (*Construct)(nil)
)

// Type is the kind as users write it: "sst.Queue".
func (c *Construct) Type() string         { return "sst." + c.kind }
func (c *Construct) Truth() starlark.Bool { return true }

// String shows kind and path: "<sst.Table storage/Notes>".
func (c *Construct) String() string {
	path := c.s.short(c.scope.constructPath())
	if path == "" {
		return "<" + c.Type() + ">"
	}
	return "<" + c.Type() + " " + path + ">"
}

// Freeze freezes the members; what a construct must remember is in a cell.
func (c *Construct) Freeze() { c.members.Freeze() }

// Hash is by identity.
func (c *Construct) Hash() (uint32, error) { return c.scope.Hash() }

// CompareSameType compares identity.
func (c *Construct) CompareSameType(op syntax.Token, y starlark.Value, depth int) (bool, error) {
	d, ok := y.(*Construct)
	return compareIdentity(op, ok && c == d, c)
}

// AttrNames are the members that are not private to the prelude, and the resource's attributes.
func (c *Construct) AttrNames() []string {
	names := []string{"resource", "node"}
	for name := range c.members {
		if !strings.HasPrefix(name, "_") {
			names = append(names, name)
		}
	}
	if o := asObject(c.resource); o != nil {
		names = append(names, attributes(o.t)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Attr finds a member, then an attribute of the resource.
func (c *Construct) Attr(name string) (starlark.Value, error) {
	if v, ok := c.members[name]; ok {
		return v, nil
	}
	switch name {
	case "resource":
		return c.resource, nil
	case "node":
		return c.scope.Attr(name)
	}
	o := asObject(c.resource)
	if o == nil {
		o = c.scope
	}
	if strings.HasPrefix(name, "_") {
		return nil, nil
	}
	if m, err := o.member(name); m == nil {
		if f, ok := err.(*interp.Failure); ok && f.Code == "unknown-attribute" {
			f := interp.Errorf("unknown-attribute", "Unknown attribute", "%s has no attribute %q, and neither has its resource (%s).", c.Type(), name, display(o.t))
			f.Hint = nearest(name, c.AttrNames())
			return nil, f
		}
		return nil, err
	}
	return o.Attr(name)
}

// SetField sets a property of the resource.
func (c *Construct) SetField(name string, value starlark.Value) error {
	if _, own := c.members[name]; own || name == "resource" {
		return interp.Errorf("read-only", "Read-only attribute", "%s.%s cannot be set: it is decided when the construct is made.", c.Type(), name)
	}
	if o := asObject(c.resource); o != nil {
		return o.SetField(name, value)
	}
	return interp.Errorf("unknown-attribute", "Unknown attribute", "%s has no attribute %q that can be set.", c.Type(), name)
}

// standFor is what goes where the CDK type fqn is wanted: the construct itself as a scope, else its resource. nil when neither fits.
func (c *Construct) standFor(fqn string) *Object {
	if scopes[fqn] {
		return c.scope
	}
	if o := asObject(c.resource); o != nil && o.is(fqn) {
		return o
	}
	if c.scope.is(fqn) {
		return c.scope
	}
	return nil
}

// scopeOf is the construct that v is as a scope.
func scopeOf(v starlark.Value) starlark.Value {
	if c, ok := v.(*Construct); ok {
		return c.scope
	}
	return v
}

// asObject is the CDK object that v is or wraps, nil for other values.
func asObject(v starlark.Value) *Object {
	switch v := v.(type) {
	case *Object:
		return v
	case *Construct:
		return asObject(v.resource)
	}
	return nil
}

// newConstruct makes the value of _construct.
func (s *session) newConstruct(kind string, members, resource, scope starlark.Value) (*Construct, error) {
	c := &Construct{s: s, kind: kind, members: starlark.StringDict{}, resource: resource}
	switch m := members.(type) {
	case *starlark.Dict:
		for _, item := range m.Items() {
			name, ok := item[0].(starlark.String)
			if !ok {
				return nil, interp.Errorf("wrong-type", "Wrong type", "_construct: member %s is not named by a string.", item[0])
			}
			c.members[string(name)] = item[1]
		}
	case *starlarkstruct.Struct:
		m.ToStringDict(c.members)
	default:
		return nil, interp.Errorf("wrong-type", "Wrong type", "_construct: members are a dict or struct, got %s.", members.Type())
	}
	if inner, ok := resource.(*Construct); ok {
		c.resource = inner.resource
	}
	if scope == starlark.None {
		scope = c.resource
	}
	o, ok := scopeOf(scope).(*Object)
	if !ok {
		return nil, interp.Errorf("wrong-type", "Wrong type", "_construct: scope is a constructs.Construct, got %s.", scope.Type())
	}
	c.scope = o
	return c, nil
}
