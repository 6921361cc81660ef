package builtins

import (
	"slices"
	"strings"
	"sync"

	starlarkjson "go.starlark.net/lib/json"
	starlarkmath "go.starlark.net/lib/math"
	"go.starlark.net/syntax"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// This file says what is known of sst and cdk without running anything: for the check that precedes every synth, and for
// the editor. What is not surely known is left open, since a false alarm is worse than none.

// Env is what files of the user are checked against. It is made once and needs neither Node nor the CDK on disk.
var Env = sync.OnceValue(func() interp.Env {
	catalog := jsii.Index()
	root, _ := catalog.Module("")
	env := &functionShape{sig: &interp.Signature{Name: "env", Params: []interp.Param{
		{Name: "name", Required: true, Type: literal{jsii.TypeRef{Kind: jsii.String}}, Doc: "name of the environment variable"},
		{Name: "default", Doc: "value when it is not set; without it, that is an error"},
	}}}
	read := &functionShape{sig: &interp.Signature{Name: "read", Result: interp.StringShape, Params: []interp.Param{
		{Name: "path", Required: true, Type: literal{jsii.TypeRef{Kind: jsii.String}}, Doc: "file in the project, relative to this one, or from the root with //"},
	}}}
	library := &functionShape{sig: &interp.Signature{Name: "library", Params: []interp.Param{
		{Name: "name", Required: true, Type: literal{jsii.TypeRef{Kind: jsii.String}}, Doc: "name of an npm package of constructs, added by sst add"},
		{Name: "version", Required: true, Type: literal{jsii.TypeRef{Kind: jsii.String}}, Doc: "its version, as in sst.lock.json"},
	}}}
	return interp.Env{Globals: map[string]interp.Shape{
		"cdk":     moduleShape{root},
		"sst":     sstShape(),
		"env":     env,
		"read":    read,
		"library": library,
		"struct":  nil,
		"json":    &namesShape{"module", starlarkjson.Module.Members.Keys()},
		"math":    &namesShape{"module", starlarkmath.Module.Members.Keys()},
	}}
})

// functionShape is something to call.
type functionShape struct{ sig *interp.Signature }

func (f *functionShape) Kind() string                       { return "function" }
func (f *functionShape) Members() []string                  { return nil }
func (f *functionShape) Member(string) (interp.Shape, bool) { return nil, false }
func (f *functionShape) Signature() *interp.Signature       { return f.sig }

// namesShape is a value with members of which only the names are known.
type namesShape struct {
	kind  string
	names []string
}

func (n *namesShape) Kind() string                 { return n.kind }
func (n *namesShape) Members() []string            { return n.names }
func (n *namesShape) Signature() *interp.Signature { return nil }
func (n *namesShape) Member(name string) (interp.Shape, bool) {
	return nil, slices.Contains(n.names, name)
}

// moduleShape is cdk or a module in it.
type moduleShape struct{ m *jsii.Module }

func (m moduleShape) Kind() string {
	if m.m.Name == "" {
		return "cdk"
	}
	return "cdk." + m.m.Name
}
func (m moduleShape) Members() []string            { return moduleNames(m.m) }
func (m moduleShape) Signature() *interp.Signature { return nil }

func (m moduleShape) Member(name string) (interp.Shape, bool) {
	if t, ok := m.m.Type(name); ok {
		return classShape{t}, true
	}
	if m.m.Name != "" {
		name = m.m.Name + "." + name
	}
	if sub, ok := jsii.Index().Module(name); ok {
		return moduleShape{sub}, true
	}
	return nil, false
}

// classShape is a CDK type by its name.
type classShape struct{ t *jsii.Type }

func (c classShape) Kind() string      { return display(c.t) }
func (c classShape) Members() []string { return classNames(c.t) }

func (c classShape) Member(name string) (interp.Shape, bool) {
	if t, ok := c.t.Nested(name); ok {
		return classShape{t}, true
	}
	m, ok := c.t.Member(name)
	switch {
	case !ok:
		return nil, false
	case m.Kind == jsii.EnumMember:
		return enumShape{c.t}, true
	case !m.Static:
		return nil, false
	}
	return memberShape(display(c.t)+"."+name, m), true
}

var signatures memo[*interp.Signature]

// Signature is that of the constructor.
func (c classShape) Signature() *interp.Signature {
	return signatures.get(c.t.FQN, c.signature)
}

func (c classShape) signature() *interp.Signature {
	sig := &interp.Signature{Name: display(c.t)}
	switch c.t.Kind {
	case jsii.Struct:
		sig.Params = fieldParams(c.t)
		sig.Result = structShape{c.t}
		return sig
	case jsii.Class:
		init := c.t.Init()
		if init == nil || c.t.Abstract {
			return nil
		}
		if jsii.Index().AssignableTo(c.t.FQN, "constructs.Construct") {
			sig.PositionalOnly = constructPositions(init)
		}
		parameters(sig, init.Params, init.Variadic)
		sig.Result = objectShape{c.t, true}
		return sig
	}
	return nil
}

// parameters adds the parameters of a constructor or method as they are called: the fields of a last struct by keyword.
func parameters(sig *interp.Signature, params []jsii.Parameter, variadic bool) {
	lifted := keywordStruct(jsii.Index(), params, variadic)
	if lifted != nil {
		params = params[:len(params)-1]
	}
	for i, p := range params {
		if variadic && i == len(params)-1 {
			sig.Variadic = true
			sig.Open = true // the list can be given by its name
			break
		}
		name := p.Name
		if lifted != nil {
			if _, taken := lifted.Field(name); taken { // as in Python: the keyword is the field
				name += "_"
			}
		}
		sig.Params = append(sig.Params, interp.Param{Name: name, Required: !p.Type.Optional, Type: literalOf(p.Type), Doc: p.Doc()})
	}
	if lifted != nil {
		sig.Params = append(sig.Params, fieldParams(lifted)...)
	}
}

// fieldParams are the fields of a struct as keywords.
func fieldParams(t *jsii.Type) []interp.Param {
	fields := t.Fields()
	params := make([]interp.Param, len(fields))
	for i, f := range fields {
		params[i] = interp.Param{Name: f.Name, Required: !f.Optional && !f.Type.Optional, KeywordOnly: true, Type: literalOf(f.Type), Doc: f.Doc().Summary}
	}
	return params
}

// memberShape is the shape of a property's value, or of a method.
func memberShape(name string, m *jsii.Member) interp.Shape {
	if m.Kind != jsii.Method {
		return valueShape(m.Type)
	}
	return methodShape{name, m}
}

type methodShape struct {
	name string
	m    *jsii.Member
}

func (m methodShape) Kind() string                       { return "method" }
func (m methodShape) Members() []string                  { return nil }
func (m methodShape) Member(string) (interp.Shape, bool) { return nil, false }
func (m methodShape) Signature() *interp.Signature {
	return signatures.get(m.m.DeclaredBy()+"."+m.m.JS+" "+m.name, m.signature)
}

func (m methodShape) signature() *interp.Signature {
	sig := &interp.Signature{Name: m.name}
	parameters(sig, m.m.Params, m.m.Variadic)
	if m.m.Returns != nil {
		sig.Result = valueShape(*m.m.Returns)
	}
	return sig
}

// valueShape is the shape of a value of a declared type.
func valueShape(ref jsii.TypeRef) interp.Shape {
	switch ref.Kind {
	case jsii.String:
		return interp.StringShape
	case jsii.List:
		return interp.ListShape
	case jsii.Map:
		return interp.DictShape
	case jsii.Named:
		t, ok := jsii.Index().Type(ref.FQN)
		switch {
		case !ok:
			return nil
		case t.Kind == jsii.Enum:
			return enumShape{t}
		case t.Kind == jsii.Struct:
			return structShape{t}
		}
		return objectShape{t, false}
	}
	return nil
}

// objectShape is a CDK object. Only when it was made by its own constructor are its attributes all known: what is declared
// as an interface often has more.
type objectShape struct {
	t     *jsii.Type
	exact bool
}

func (o objectShape) Kind() string                 { return display(o.t) }
func (o objectShape) Signature() *interp.Signature { return nil }
func (o objectShape) Members() []string {
	if !o.exact {
		return nil
	}
	return attributes(o.t)
}

// Known are the attributes of the declared type, for completion.
func (o objectShape) Known() []string { return attributes(o.t) }

func (o objectShape) Member(name string) (interp.Shape, bool) {
	m, ok := o.t.Member(name)
	if !ok || m.Static {
		return nil, false
	}
	return memberShape(display(o.t)+"."+name, m), true
}

// structShape is a struct of the CDK with its fields.
type structShape struct{ t *jsii.Type }

func (s structShape) Kind() string                 { return display(s.t) }
func (s structShape) Members() []string            { return nil }
func (s structShape) Known() []string              { return fieldNames(s.t) }
func (s structShape) Signature() *interp.Signature { return nil }
func (s structShape) Member(name string) (interp.Shape, bool) {
	_, ok := s.t.Field(name)
	return nil, ok
}

// enumShape is a member of an enum.
type enumShape struct{ t *jsii.Type }

func (e enumShape) Kind() string                       { return display(e.t) }
func (e enumShape) Members() []string                  { return nil }
func (e enumShape) Member(string) (interp.Shape, bool) { return nil, false }
func (e enumShape) Signature() *interp.Signature       { return nil }

// literal judges literals by a type of the CDK.
type literal struct{ ref jsii.TypeRef }

// literalOf gives the Type that says most about ref; nil for one that takes anything.
func literalOf(ref jsii.TypeRef) interp.Type {
	if ref.Kind == jsii.Union { // a token is never a literal
		rest := slices.DeleteFunc(slices.Clone(ref.Union), func(r jsii.TypeRef) bool {
			return r.Kind == jsii.Named && r.FQN == resolvableFQN
		})
		if len(rest) == 1 {
			ref = rest[0]
		}
	}
	switch ref.Kind {
	case jsii.Any, jsii.JSON, jsii.Void:
		return nil
	case jsii.List, jsii.Map:
		return elements{literal{ref}}
	case jsii.Named:
		t, ok := jsii.Index().Type(ref.FQN)
		if !ok {
			return nil
		}
		if t.Kind == jsii.Struct {
			return structure{literal{ref}, t}
		}
	}
	return literal{ref}
}

func (l literal) String() string { return describe(jsii.Index(), l.ref) }

// Accepts judges strings, numbers, bools, lists, dicts and lambdas.
func (l literal) Accepts(e syntax.Expr) (bool, string) {
	kind, text := literalKind(e)
	if kind == "" || takes(l.ref, kind) {
		if kind == "string" && l.ref.Kind == jsii.Named {
			return quantityText(l.ref.FQN, text), l.String()
		}
		return true, ""
	}
	return false, l.String()
}

// quantityText says whether a text is understood where a Duration or Size is wanted.
func quantityText(fqn, text string) bool {
	for _, u := range []*unit{durations, sizes} {
		if fqn == u.fqn {
			return u.understands(text)
		}
	}
	return true
}

// literalKind is the Starlark type of a literal, "" for other expressions.
func literalKind(e syntax.Expr) (kind, text string) {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		return literalKind(e.X)
	case *syntax.Literal:
		switch e.Token {
		case syntax.STRING:
			text, _ := e.Value.(string)
			return "string", text
		case syntax.INT:
			return "int", ""
		case syntax.FLOAT:
			return "float", ""
		}
	case *syntax.Ident:
		if e.Name == "True" || e.Name == "False" {
			return "bool", ""
		}
	case *syntax.UnaryExpr:
		if kind, _ := literalKind(e.X); e.Op == syntax.MINUS && (kind == "int" || kind == "float") {
			return kind, ""
		}
	case *syntax.ListExpr, *syntax.TupleExpr:
		return "list", ""
	case *syntax.Comprehension:
		if e.Curly {
			return "dict", ""
		}
		return "list", ""
	case *syntax.DictExpr:
		return "dict", ""
	case *syntax.LambdaExpr:
		return "function", ""
	}
	return "", ""
}

// takes says whether a literal of a kind can be what ref wants.
func takes(ref jsii.TypeRef, kind string) bool {
	switch ref.Kind {
	case jsii.String, jsii.Date:
		return kind == "string"
	case jsii.Number:
		return kind == "int" || kind == "float"
	case jsii.Boolean:
		return kind == "bool"
	case jsii.List:
		return kind == "list"
	case jsii.Map:
		return kind == "dict"
	case jsii.Union:
		return slices.ContainsFunc(ref.Union, func(r jsii.TypeRef) bool { return takes(r, kind) })
	case jsii.Named:
		t, ok := jsii.Index().Type(ref.FQN)
		switch {
		case !ok:
			return true
		case t.FQN == durationFQN || t.FQN == sizeFQN:
			return kind == "string" || kind == "int" || kind == "float"
		case t.Kind == jsii.Struct:
			return kind == "dict"
		case t.Kind == jsii.Interface:
			return kind == "dict" || kind == "function"
		}
		return false
	}
	return true
}

// elements is the type of a list or map.
type elements struct{ literal }

// Elem is the type of an item or value.
func (l elements) Elem() interp.Type { return literalOf(*l.ref.Elem) }

// structure is the type of a struct, whose literal is a dict.
type structure struct {
	literal
	t *jsii.Type
}

// Fields are the keys of the dict.
func (s structure) Fields() ([]interp.Param, bool) { return fieldParams(s.t), false }

var (
	_ interp.ElemType   = elements{}
	_ interp.StructType = structure{}
)

// understands says whether a text is a number and a unit. Text that is put together elsewhere is not judged.
func (u *unit) understands(text string) bool {
	_, _, problem := u.read(text)
	return problem == "" || strings.Contains(text, "${")
}
