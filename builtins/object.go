package builtins

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

type syntaxToken = syntax.Token

// Object stands for an object of the CDK process. It may have been promised only: an operation whose result is an
// object is queued, and what it turned out to be is asked for when its declared type does not suffice.
type Object struct {
	s  *session
	id int64
	t  *jsii.Type // as declared; as it is, once known
	// canonical is the id that the same object always has; 0 until known.
	canonical int64
	path      string // of a construct made here, "" when not known
}

var (
	_ starlark.HasSetField = (*Object)(nil)
	_ starlark.Comparable  = (*Object)(nil)
)

// Type is the name of the CDK type.
func (o *Object) Type() string         { return display(o.t) }
func (o *Object) Freeze()              {}
func (o *Object) Truth() starlark.Bool { return true }

// String names the type, and a construct's path.
func (o *Object) String() string {
	name := o.t.Name
	if o.t.Module != "" {
		name = o.t.Module + "." + name
	} else {
		name = "cdk." + name
	}
	if path := o.constructPath(); path != "" {
		return "<" + name + " " + o.s.short(path) + ">"
	}
	return "<" + name + ">"
}

// constructPath is the path of a construct, "" for other objects and the app.
func (o *Object) constructPath() string {
	if o.path == "" && !o.s.ended && o.is("constructs.IConstruct") {
		v, err := o.s.call1(jsii.Op{Kind: jsii.NodePath, Target: o.id, Returns: jsii.TypeRef{Kind: jsii.String}, Tag: o.s.at(nil)})
		if path, ok := v.(string); ok && err == nil {
			o.path = path
		}
	}
	return o.path
}

// is says whether the object can stand where fqn is wanted. The CDK process is asked only when the declared type leaves it open.
func (o *Object) is(fqn string) bool {
	if o.s.catalog.AssignableTo(o.t.FQN, fqn) {
		return true
	}
	if o.canonical != 0 {
		return false
	}
	return o.resolve() == nil && o.s.catalog.AssignableTo(o.t.FQN, fqn)
}

// resolve finds out what a promised object turned out to be.
func (o *Object) resolve() error {
	if o.canonical != 0 {
		return nil
	}
	v, err := o.s.call1(jsii.Op{Kind: jsii.Resolve, Target: o.id, Returns: jsii.TypeRef{Kind: jsii.Named, FQN: o.t.FQN}, Tag: o.s.at(nil)})
	if err != nil {
		return err
	}
	ref, ok := v.(jsii.Ref)
	if !ok {
		return interp.Errorf("no-value", "No value", "this %s does not exist: the CDK gave nothing.", display(o.t))
	}
	o.settle(ref)
	return nil
}

// settle takes over what the CDK process says of the object.
func (o *Object) settle(ref jsii.Ref) {
	o.canonical = ref.ID
	if t := o.s.typeOf(ref, o.t); t != nil {
		o.t = t
	}
	if known, ok := o.s.objects[ref.ID]; ok {
		if o.path == "" {
			o.path = known.path
		}
	} else {
		o.s.objects[ref.ID] = o
	}
}

// typeOf is the type that says most about a reference.
func (s *session) typeOf(ref jsii.Ref, declared *jsii.Type) *jsii.Type {
	best := declared
	for _, fqn := range append([]string{ref.FQN}, ref.Interfaces...) {
		t, ok := s.catalog.Type(fqn)
		if ok && (best == nil || s.catalog.AssignableTo(fqn, best.FQN)) {
			best = t
			break
		}
	}
	if best == nil {
		best, _ = s.catalog.Type("constructs.IConstruct")
	}
	return best
}

// object gives the value of a reference that came from the CDK process.
func (s *session) object(ref jsii.Ref, declared *jsii.Type) *Object {
	if o, ok := s.objects[ref.ID]; ok {
		return o
	}
	o := &Object{s: s, id: ref.ID, canonical: ref.ID, t: s.typeOf(ref, declared)}
	s.objects[ref.ID] = o
	return o
}

// Hash is by identity.
func (o *Object) Hash() (uint32, error) {
	if err := o.resolve(); err != nil {
		return 0, err
	}
	return uint32(o.canonical) * 2654435761, nil
}

// CompareSameType compares identity.
func (o *Object) CompareSameType(op syntax.Token, y starlark.Value, depth int) (bool, error) {
	p, ok := y.(*Object)
	if !ok || o == p {
		return compareIdentity(op, ok, o)
	}
	if err := o.resolve(); err != nil {
		return false, err
	}
	if err := p.resolve(); err != nil {
		return false, err
	}
	return compareIdentity(op, o.canonical == p.canonical, o)
}

func compareIdentity(op syntax.Token, same bool, x starlark.Value) (bool, error) {
	switch op {
	case syntax.EQL:
		return same, nil
	case syntax.NEQ:
		return !same, nil
	}
	return false, fmt.Errorf("%s has no order", x.Type())
}

// AttrNames are properties and methods, sorted.
func (o *Object) AttrNames() []string {
	o.resolve()
	return attributes(o.t)
}

var instanceMembers memo[[]string]

// attributes are the names of what objects of a type have, sorted. Callers must not modify it.
func attributes(t *jsii.Type) []string {
	return instanceMembers.get(t.FQN, func() []string {
		var names []string
		for _, name := range t.MemberNames() {
			if m, ok := t.Member(name); ok && !m.Static {
				names = append(names, name)
			}
		}
		return names
	})
}

// member finds a member in the declared type, then in the one that the object has.
func (o *Object) member(name string) (*jsii.Member, error) {
	m, ok := o.t.Member(name)
	if (!ok || m.Static) && o.canonical == 0 {
		if err := o.resolve(); err != nil {
			return nil, err
		}
		m, ok = o.t.Member(name)
	}
	if ok && !m.Static {
		return m, nil
	}
	if ok {
		return nil, interp.Errorf("static", "Static", "%s belongs to the class: %s.%s.", name, display(o.t), name)
	}
	f := interp.Errorf("unknown-attribute", "Unknown attribute", "%s has no attribute %q.", display(o.t), name)
	f.Hint = nearest(name, attributes(o.t))
	return nil, f
}

// Attr gives a property's value or a bound method.
func (o *Object) Attr(name string) (starlark.Value, error) {
	m, err := o.member(name)
	if err != nil {
		return nil, err
	}
	if m.Kind == jsii.Method {
		return &method{s: o.s, recv: o, m: m}, nil
	}
	if m.Deprecated != "" {
		o.s.at(nil)
		o.s.deprecated(display(o.t)+"."+name, m.Deprecated, "", o.t)
	}
	return o.s.run(jsii.Op{Kind: jsii.Get, Target: o.id, Member: m.JS, Returns: m.Type, Tag: o.s.at(nil)}, m.Optional)
}

// SetField sets a property. It waits for the answer, since Starlark does not say where later.
func (o *Object) SetField(name string, value starlark.Value) error {
	m, err := o.member(name)
	if err != nil {
		return err
	}
	if m.Kind == jsii.Method || !m.Settable {
		f := interp.Errorf("read-only", "Read-only attribute", "%s.%s cannot be set.", display(o.t), name)
		if settable := slices.DeleteFunc(slices.Clone(attributes(o.t)), func(name string) bool { m, _ := o.t.Member(name); return !m.Settable }); len(settable) > 0 {
			f.Hint = nearest(name, settable)
		}
		return f
	}
	c := &conversion{s: o.s, what: display(o.t)}
	c.push(name)
	var wire jsii.Value
	if value != starlark.None || !(m.Optional || m.Type.Optional) {
		if wire, err = c.value(value, m.Type); err != nil {
			return err
		}
	}
	_, err = o.s.call1(jsii.Op{Kind: jsii.Set, Target: o.id, Member: m.JS, Args: []jsii.Value{wire}, Tag: o.s.at(nil)})
	return err
}

// method is a method bound to an object, or a static one.
type method struct {
	s     *session
	recv  *Object
	class *jsii.Type // of a static method
	m     *jsii.Member
}

var _ starlark.Callable = (*method)(nil)

func (m *method) Name() string {
	if m.recv != nil {
		return m.m.Name
	}
	return display(m.class) + "." + m.m.Name
}

// what names the method in errors.
func (m *method) what() string {
	if m.recv != nil {
		return display(m.recv.t) + "." + m.m.Name
	}
	return m.Name()
}

func (m *method) String() string        { return "<method " + m.what() + ">" }
func (m *method) Type() string          { return "method" }
func (m *method) Freeze()               {}
func (m *method) Truth() starlark.Bool  { return true }
func (m *method) Hash() (uint32, error) { return starlark.String(m.what()).Hash() }

// CallInternal queues the call when its result is nothing or an object, and waits otherwise.
func (m *method) CallInternal(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	tag := m.s.at(thread)
	b := binding{s: m.s, what: m.what(), params: m.m.Params, variadic: m.m.Variadic}
	wire, err := b.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	if m.m.Deprecated != "" {
		of := m.class
		if m.recv != nil {
			of = m.recv.t
		}
		m.s.deprecated(m.what(), m.m.Deprecated, "", of)
	}
	op := jsii.Op{Kind: jsii.Invoke, Member: m.m.JS, Args: wire, Tag: tag}
	if m.recv != nil {
		op.Target = m.recv.id
	} else {
		op.Kind, op.FQN = jsii.Static, m.class.FQN
	}
	if m.m.Returns == nil || m.m.Returns.Kind == jsii.Void {
		op.Returns = jsii.TypeRef{Kind: jsii.Void}
		return starlark.None, m.s.send(op)
	}
	op.Returns = *m.m.Returns
	return m.s.run(op, m.m.Returns.Optional)
}

// send queues an operation without a result.
func (s *session) send(op jsii.Op) error {
	if s.ended {
		return errClosed
	}
	s.host.Send(op)
	return nil
}

// call1 runs an operation and waits for its result.
func (s *session) call1(op jsii.Op) (jsii.Value, error) {
	if s.ended {
		return nil, errClosed
	}
	v, err := s.host.Call(s.context(), op)
	if err != nil {
		return nil, s.diagnose(err)
	}
	return v, nil
}

var errClosed = interp.Errorf("too-late", "Too late", "the app is synthesized already.")

// run runs an operation with a result. An object that must be there is promised without waiting.
func (s *session) run(op jsii.Op, optional bool) (starlark.Value, error) {
	if t := s.reference(op.Returns); t != nil {
		op.ID = s.id()
		if !optional && !op.Returns.Optional {
			if err := s.send(op); err != nil {
				return nil, err
			}
			return &Object{s: s, id: op.ID, t: t}, nil
		}
	}
	v, err := s.call1(op)
	if err != nil {
		return nil, err
	}
	return s.receive(v, op.Returns), nil
}

// reference is the type of an object that ref declares, nil when it declares something else.
func (s *session) reference(ref jsii.TypeRef) *jsii.Type {
	if ref.Kind != jsii.Named {
		return nil
	}
	t, ok := s.catalog.Type(ref.FQN)
	if !ok || t.Kind == jsii.Enum || t.Kind == jsii.Struct {
		return nil
	}
	return t
}
