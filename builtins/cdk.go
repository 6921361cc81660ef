package builtins

import (
	"fmt"
	"slices"
	"sort"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// This file has what can be said without an object: modules, classes, enums and structs by name.

const constructsModule = "constructs"

// display is the name of a type as people write it: "cdk.aws_s3.Bucket".
func display(t *jsii.Type) string {
	if t.Module == "" {
		return "cdk." + t.Name
	}
	if t.Foreign() {
		return t.Module + "." + t.Name
	}
	return "cdk." + t.Module + "." + t.Name
}

// nearest is the hint for a name that is not known, "" when nothing is near.
func nearest(name string, known []string) string {
	if near := diag.Nearest(name, known); near != "" {
		return fmt.Sprintf("Did you mean %q?", near)
	}
	return ""
}

// module is `cdk` or one of its submodules. Members are made when they are asked for.
type module struct {
	s     *session
	m     *jsii.Module
	types map[string]*class // those that were asked for
}

var (
	_ starlark.HasAttrs    = (*module)(nil)
	_ starlark.HasAttrs    = (*class)(nil)
	_ starlark.Callable    = (*class)(nil)
	_ starlark.Comparable  = (*class)(nil)
	_ starlark.HasSetField = (*class)(nil)
)

func (s *session) module(name string) (*module, bool) {
	if m, ok := s.modules[name]; ok {
		return m, true
	}
	m, ok := s.catalog.Module(name)
	if !ok {
		return nil, false
	}
	value := &module{s: s, m: m, types: map[string]*class{}}
	s.modules[name] = value
	return value, true
}

func (m *module) name() string {
	if m.m.Name == "" {
		return "cdk"
	}
	if m.m.Foreign() {
		return m.m.Name
	}
	return "cdk." + m.m.Name
}

func (m *module) String() string        { return "<module " + m.name() + ">" }
func (m *module) Type() string          { return "module" }
func (m *module) Freeze()               {}
func (m *module) Truth() starlark.Bool  { return true }
func (m *module) Hash() (uint32, error) { return starlark.String(m.name()).Hash() }

func (m *module) Attr(name string) (starlark.Value, error) {
	if c, ok := m.types[name]; ok {
		return c, nil
	}
	if t, ok := m.m.Type(name); ok {
		c := m.s.class(t)
		m.types[name] = c
		return c, nil
	}
	sub := name
	if m.m.Name != "" {
		sub = m.m.Name + "." + name
	}
	if value, ok := m.s.module(sub); ok {
		return value, nil
	}
	f := interp.Errorf("unknown-member", "Unknown member", "%s has no member %q.", m.name(), name)
	f.Hint = nearest(name, m.AttrNames())
	return nil, f
}

func (m *module) AttrNames() []string { return moduleNames(m.m) }

var moduleMembers, classMembers memo[[]string]

// moduleNames are the types and submodules of a module, sorted.
func moduleNames(m *jsii.Module) []string {
	return moduleMembers.get(m.Name, func() []string {
		names := slices.Concat(m.Names(), m.Submodules())
		if m.Name == "" {
			names = append(names, constructsModule)
		}
		slices.Sort(names)
		return slices.Compact(names)
	})
}

// class is a type of the CDK by its name: a class or struct to call, an enum or interface to name.
type class struct {
	s     *session
	t     *jsii.Type
	fixed map[string]starlark.Value // attributes that were asked for and need no word with the user or the CDK
}

func (s *session) class(t *jsii.Type) *class {
	if c, ok := s.classes[t.FQN]; ok {
		return c
	}
	c := &class{s: s, t: t}
	s.classes[t.FQN] = c
	return c
}

func (c *class) String() string        { return "<class " + display(c.t) + ">" }
func (c *class) Type() string          { return "class" }
func (c *class) Name() string          { return display(c.t) }
func (c *class) Freeze()               {}
func (c *class) Truth() starlark.Bool  { return true }
func (c *class) Hash() (uint32, error) { return starlark.String(c.t.FQN).Hash() }

// AttrNames are nested types, statics and enum members.
func (c *class) AttrNames() []string { return classNames(c.t) }

func classNames(t *jsii.Type) []string {
	return classMembers.get(t.FQN, func() []string {
		names := slices.Clone(t.NestedNames())
		for _, name := range t.MemberNames() {
			if m, ok := t.Member(name); ok && (m.Static || m.Kind == jsii.EnumMember) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	})
}

func (c *class) Attr(name string) (starlark.Value, error) {
	if v, ok := c.fixed[name]; ok {
		return v, nil
	}
	if t, ok := c.t.Nested(name); ok {
		return c.keep(name, c.s.class(t)), nil
	}
	m, ok := c.t.Member(name)
	switch {
	case !ok:
		f := interp.Errorf("unknown-member", "Unknown member", "%s has no member %q.", display(c.t), name)
		f.Hint = nearest(name, c.AttrNames())
		return nil, f
	case m.Deprecated != "" && m.Kind != jsii.Method:
		c.s.at(nil)
		c.s.deprecated(display(c.t)+"."+name, m.Deprecated, "", c.t)
	}
	switch {
	case m.Kind == jsii.EnumMember:
		v := c.s.enumMember(c.t, m.Name, m.JS)
		if m.Deprecated != "" { // who asks may have to be told
			return v, nil
		}
		return c.keep(name, v), nil
	case !m.Static:
		return nil, interp.Errorf("not-static", "Not static", "%s is an attribute of the objects of %s, not of the class.", name, display(c.t))
	case m.Kind == jsii.Method:
		return &method{s: c.s, class: c.t, m: m}, nil
	}
	return c.s.static(c.t, m)
}

func (c *class) keep(name string, v starlark.Value) starlark.Value {
	if c.fixed == nil {
		c.fixed = map[string]starlark.Value{}
	}
	c.fixed[name] = v
	return v
}

// static reads a static property. One that never changes is read once.
func (s *session) static(t *jsii.Type, m *jsii.Member) (starlark.Value, error) {
	key := t.FQN + "." + m.JS
	if v, ok := s.constants[key]; ok {
		return v, nil
	}
	v, err := s.run(jsii.Op{Kind: jsii.StaticGet, FQN: t.FQN, Member: m.JS, Returns: m.Type, Tag: s.at(nil)}, m.Optional)
	if err == nil && m.Const {
		s.constants[key] = v
	}
	return v, err
}

// SetField sets a static property. The host keeps it, so it does not serve another synth.
func (c *class) SetField(name string, value starlark.Value) error {
	m, ok := c.t.Member(name)
	if !ok || !m.Static || m.Kind != jsii.Property || !m.Settable {
		return interp.Errorf("read-only", "Read-only attribute", "%s.%s cannot be set.", display(c.t), name)
	}
	conv := &conversion{s: c.s, what: display(c.t)}
	conv.push(name)
	wire, err := conv.value(value, m.Type)
	if err != nil {
		return err
	}
	_, err = c.s.call1(jsii.Op{Kind: jsii.StaticSet, FQN: c.t.FQN, Member: m.JS, Args: []jsii.Value{wire}, Tag: c.s.at(nil)})
	return err
}

// CallInternal makes an object of a class or a value of a struct.
func (c *class) CallInternal(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	c.s.at(thread)
	switch c.t.Kind {
	case jsii.Struct:
		return c.s.makeStruct(c.t, args, kwargs)
	case jsii.Enum:
		return nil, interp.Errorf("not-callable", "Not callable", "%s is an enum: name one of its members, such as %s.%s.",
			display(c.t), display(c.t), first(c.t.EnumMembers()))
	case jsii.Interface:
		return nil, interp.Errorf("not-callable", "Not callable",
			"%s is an interface: where one is wanted, give a function or a dict of functions.", display(c.t))
	}
	init := c.t.Init()
	if c.t.Abstract || init == nil {
		f := interp.Errorf("not-callable", "Not callable", "%s cannot be called: it is made by its static members.", display(c.t))
		if statics := classNames(c.t); len(statics) > 0 {
			f.Hint = fmt.Sprintf("Such as %s.%s.", display(c.t), statics[0])
		}
		return nil, f
	}
	return c.s.create(c.t, init, args, kwargs)
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// CompareSameType makes classes equal by their name.
func (c *class) CompareSameType(op syntaxToken, y starlark.Value, depth int) (bool, error) {
	d, ok := y.(*class)
	return compareIdentity(op, ok && c.t.FQN == d.t.FQN, c)
}

// enumValue is a member of an enum: cdk.RemovalPolicy.DESTROY.
type enumValue struct {
	t      *jsii.Type
	member string
	js     string
}

var _ starlark.Comparable = (*enumValue)(nil)

func (s *session) enumMember(t *jsii.Type, name, js string) *enumValue {
	key := t.FQN + "/" + js
	if v, ok := s.enums[key]; ok {
		return v
	}
	v := &enumValue{t, name, js}
	s.enums[key] = v
	return v
}

func (v *enumValue) String() string        { return display(v.t) + "." + v.member }
func (v *enumValue) Type() string          { return display(v.t) }
func (v *enumValue) Freeze()               {}
func (v *enumValue) Truth() starlark.Bool  { return true }
func (v *enumValue) Hash() (uint32, error) { return starlark.String(v.t.FQN + v.member).Hash() }

// CompareSameType makes members equal by name.
func (v *enumValue) CompareSameType(op syntaxToken, y starlark.Value, depth int) (bool, error) {
	w, ok := y.(*enumValue)
	return compareIdentity(op, ok && v.t.FQN == w.t.FQN && v.member == w.member, v)
}

// structValue is a struct of the CDK: its type, and its fields as given.
type structValue struct {
	s      *session
	t      *jsii.Type
	fields map[string]starlark.Value // by Python name
	wire   jsii.Pairs                // by JavaScript name
}

var _ starlark.HasAttrs = (*structValue)(nil)

// makeStruct checks at once, so that a mistake is reported where the struct is made.
func (s *session) makeStruct(t *jsii.Type, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) > 0 {
		return nil, interp.Errorf("too-many-arguments", "Too many arguments", "%s takes keywords only.", display(t))
	}
	c := &conversion{s: s, what: display(t)}
	wire, err := c.fields(t, pairsOf(kwargs), true)
	if err != nil {
		return nil, err
	}
	v := &structValue{s: s, t: t, wire: wire, fields: make(map[string]starlark.Value, len(kwargs))}
	for _, pair := range kwargs {
		v.fields[string(pair[0].(starlark.String))] = pair[1]
	}
	return v, nil
}

func (v *structValue) Type() string { return display(v.t) }
func (v *structValue) Freeze() {
	for _, field := range v.fields {
		field.Freeze()
	}
}
func (v *structValue) Truth() starlark.Bool { return true }
func (v *structValue) Hash() (uint32, error) {
	return 0, fmt.Errorf("unhashable type: %s", v.Type())
}

func (v *structValue) String() string {
	names := make([]string, 0, len(v.fields))
	for name := range v.fields {
		names = append(names, name)
	}
	sort.Strings(names)
	text := display(v.t) + "("
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += name + " = " + v.fields[name].String()
	}
	return text + ")"
}

func (v *structValue) AttrNames() []string { return fieldNames(v.t) }

func fieldNames(t *jsii.Type) []string {
	fields := t.Fields()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// Attr gives a field; one that was not given is None.
func (v *structValue) Attr(name string) (starlark.Value, error) {
	if value, ok := v.fields[name]; ok {
		return value, nil
	}
	if _, ok := v.t.Field(name); ok {
		return starlark.None, nil
	}
	f := interp.Errorf("unknown-attribute", "Unknown attribute", "%s has no field %q.", display(v.t), name)
	f.Hint = nearest(name, v.AttrNames())
	return nil, f
}
