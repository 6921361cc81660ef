package builtins

import (
	"context"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// callback is an interface of the CDK implemented by Starlark functions.
type callback struct {
	t    *jsii.Type
	tag  int                       // where it was handed over
	impl map[string]starlark.Value // function or property value, by JavaScript name
	m    map[string]*jsii.Member   // by JavaScript name
}

const resolvableFQN = "aws-cdk-lib.IResolvable"

// provided says whether the host itself gives a member when Starlark does not.
func provided(t *jsii.Type, m *jsii.Member) bool {
	return m.Optional || t.FQN == resolvableFQN && m.JS != "resolve"
}

// required are the members that an implementation of t must have.
func required(t *jsii.Type) []string {
	return slices.DeleteFunc(slices.Clone(attributes(t)), func(name string) bool { m, _ := t.Member(name); return provided(t, m) })
}

// interfaceMethods are the methods of an interface by name, own and inherited, but those that the host gives.
func interfaceMethods(t *jsii.Type) []*jsii.Member {
	var methods []*jsii.Member
	for _, name := range t.MemberNames() {
		if m, ok := t.Member(name); ok && m.Kind == jsii.Method && !m.Static && !provided(t, m) {
			methods = append(methods, m)
		}
	}
	return methods
}

// implements says whether the keys of a dict or struct are members of the interface, so that it is probably meant as one.
func implements(catalog *jsii.Catalog, v starlark.Value, t *jsii.Type) bool {
	pairs, ok, err := (&conversion{}).pairs(v)
	if !ok || err != nil || len(pairs) == 0 {
		return false
	}
	return slices.ContainsFunc(pairs, func(p pair) bool {
		m, ok := t.Member(p.name)
		_, callable := p.value.(starlark.Callable)
		return ok && callable && m.Kind == jsii.Method
	})
}

// behaviour converts a function, or a dict or struct of functions, to an object that implements t. ok is false when v is
// none of these.
func (c *conversion) behaviour(v starlark.Value, t *jsii.Type) (value jsii.Value, ok bool, err error) {
	methods := interfaceMethods(t)
	cb := &callback{t: t, tag: c.s.at(nil), impl: map[string]starlark.Value{}, m: map[string]*jsii.Member{}}
	switch v := v.(type) {
	case starlark.Callable:
		if _, isClass := v.(*class); isClass {
			return nil, false, nil
		}
		if names := required(t); len(methods) != 1 || len(names) != 1 {
			return nil, true, c.fail("wrong-type", "Wrong type", nil, "%s has %d members: give a dict of them (%s).", display(t), len(names), strings.Join(names, ", "))
		}
		cb.impl[methods[0].JS], cb.m[methods[0].JS] = v, methods[0]
	case *starlark.Dict, *starlarkstruct.Struct:
		pairs, _, err := c.pairs(v)
		if err != nil {
			return nil, true, err
		}
		if err := c.implement(cb, pairs); err != nil {
			return nil, true, err
		}
		if len(methods) == 0 {
			value, err := c.plain(cb)
			return value, true, err
		}
	default:
		return nil, false, nil
	}
	c.s.callbacks = append(c.s.callbacks, cb)
	return jsii.Callback{ID: int64(len(c.s.callbacks)), FQN: t.FQN, Methods: sortedKeys(cb.impl)}, true, nil
}

// plain is an object with properties only, which needs no calls back.
func (c *conversion) plain(cb *callback) (jsii.Value, error) {
	wire := make(map[string]jsii.Value, len(cb.impl))
	for js, v := range cb.impl {
		if v == starlark.None {
			continue
		}
		c.push(cb.m[js].Name)
		value, err := c.value(v, cb.m[js].Type)
		if err != nil {
			return nil, err
		}
		c.pop()
		wire[js] = value
	}
	return wire, nil
}

func (c *conversion) implement(cb *callback, pairs []pair) error {
	names := attributes(cb.t)
	for _, p := range pairs {
		m, ok := cb.t.Member(p.name)
		if !ok || m.Static {
			f := c.fail("unknown-key", "Unknown key", starlark.String(p.name), "%s has no member %q.", display(cb.t), p.name)
			f.Hint = nearest(p.name, names)
			return f
		}
		if _, callable := p.value.(starlark.Callable); m.Kind == jsii.Method && !callable {
			return c.fail("wrong-type", "Wrong type", p.value, "%s of %s is a method: got %s, want a function.", p.name, display(cb.t), shown(p.value))
		}
		cb.impl[m.JS], cb.m[m.JS] = p.value, m
	}
	for _, name := range names {
		m, _ := cb.t.Member(name)
		if _, given := cb.impl[m.JS]; !given && !provided(cb.t, m) {
			return c.fail("missing-key", "Missing member", nil, "%s needs %q.", display(cb.t), name)
		}
	}
	return nil
}

// answer runs a callback for the CDK. Operations are allowed meanwhile, under the context of this call.
func (s *session) answer(ctx context.Context, request jsii.CallbackRequest) (jsii.Value, error) {
	if request.ID < 1 || int(request.ID) > len(s.callbacks) {
		return nil, interp.Errorf("no-callback", "No callback", "the CDK calls %s on something that does not exist.", request.Method)
	}
	cb := s.callbacks[request.ID-1]
	m, ok := cb.m[request.Method]
	if !ok {
		return nil, interp.Errorf("no-callback", "No callback", "%s has no %s.", display(cb.t), request.Method)
	}
	before, base, thread := s.ctx, s.base, s.thread
	s.ctx, s.base = ctx, s.call(cb.tag)
	defer func() { s.ctx, s.base, s.thread = before, base, thread }()

	result, ref := cb.impl[request.Method], m.Type
	if m.Kind == jsii.Method {
		fn := cb.impl[request.Method].(starlark.Callable)
		args := s.callbackArgs(fn, m, request.Args)
		var err error
		if result, err = s.interp.Call(ctx, fn, args, nil); err != nil {
			return nil, s.rehome(err, s.base)
		}
		if m.Returns == nil {
			return nil, nil
		}
		ref = *m.Returns
	}
	if result == starlark.None {
		return nil, nil
	}
	c := &conversion{s: s, what: display(cb.t)}
	c.push(m.Name)
	value, err := c.value(result, ref)
	if err != nil {
		return nil, s.placed(err, s.call(cb.tag))
	}
	return value, nil
}

// callbackArgs gives a function as many arguments as it takes: many do not care for the CDK's context.
func (s *session) callbackArgs(fn starlark.Callable, m *jsii.Member, given []jsii.Value) starlark.Tuple {
	n := len(given)
	if f, ok := fn.(*starlark.Function); ok && !f.HasVarargs() {
		n = min(n, f.NumParams()-f.NumKwonlyParams())
	}
	args := make(starlark.Tuple, 0, n)
	for i := range n {
		ref := jsii.TypeRef{Kind: jsii.Any}
		switch {
		case i < len(m.Params):
			ref = m.Params[i].Type
		case m.Variadic:
			ref = m.Params[len(m.Params)-1].Type
		}
		args = append(args, s.receive(given[i], ref))
	}
	return args
}
