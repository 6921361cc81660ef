package builtins

import (
	"math"
	"slices"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// receive turns what the CDK process answers into a Starlark value. ref is the declared type.
func (s *session) receive(v jsii.Value, ref jsii.TypeRef) starlark.Value {
	switch v := v.(type) {
	case nil:
		return starlark.None
	case bool:
		return starlark.Bool(v)
	case string:
		return starlark.String(v)
	case int64:
		return starlark.MakeInt64(v)
	case float64:
		return s.number(v)
	case time.Time:
		return starlark.String(v.UTC().Format(time.RFC3339Nano))
	case jsii.Ref:
		return s.object(v, s.reference(ref))
	case jsii.EnumValue:
		return s.enumOf(v)
	case jsii.StructValue:
		return s.structOf(v)
	case []jsii.Value:
		elem := element(ref, jsii.List)
		items := make([]starlark.Value, len(v))
		for i, item := range v {
			items[i] = s.receive(item, elem)
		}
		return starlark.NewList(items)
	case map[string]jsii.Value:
		if t := s.structType(ref); t != nil {
			return s.structOf(jsii.StructValue{FQN: t.FQN, Fields: v})
		}
		elem := element(ref, jsii.Map)
		dict := starlark.NewDict(len(v))
		for _, key := range sortedKeys(v) {
			dict.SetKey(starlark.String(key), s.receive(v[key], elem))
		}
		return dict
	}
	return starlark.None
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func element(ref jsii.TypeRef, kind jsii.RefKind) jsii.TypeRef {
	if ref.Kind == kind && ref.Elem != nil {
		return *ref.Elem
	}
	return jsii.TypeRef{Kind: jsii.Any}
}

func (s *session) number(f float64) starlark.Value {
	switch {
	case jsii.IsNumberToken(f):
		return numberToken{s, f}
	case f == math.Trunc(f) && math.Abs(f) <= 1<<53:
		return starlark.MakeInt64(int64(f))
	}
	return starlark.Float(f)
}

func (s *session) enumOf(v jsii.EnumValue) starlark.Value {
	t, ok := s.catalog.Type(v.FQN)
	if !ok {
		return starlark.String(v.Member)
	}
	for _, name := range t.EnumMembers() {
		if m, ok := t.Member(name); ok && m.JS == v.Member {
			return s.enumMember(t, name, v.Member)
		}
	}
	return s.enumMember(t, v.Member, v.Member)
}

func (s *session) structType(ref jsii.TypeRef) *jsii.Type {
	if ref.Kind != jsii.Named {
		return nil
	}
	if t, ok := s.catalog.Type(ref.FQN); ok && t.Kind == jsii.Struct {
		return t
	}
	return nil
}

// structOf makes a struct that came by value, under its Python names.
func (s *session) structOf(v jsii.StructValue) starlark.Value {
	t, ok := s.catalog.Type(v.FQN)
	if !ok {
		return s.receive(v.Fields, jsii.TypeRef{Kind: jsii.Any})
	}
	value := &structValue{s: s, t: t, fields: map[string]starlark.Value{}}
	for _, js := range sortedKeys(v.Fields) {
		item := v.Fields[js]
		value.wire.Set(js, item)
		if field, ok := t.FieldJS(js); ok && item != nil {
			value.fields[field.Name] = s.receive(item, field.Type)
		}
	}
	return value
}

// numberToken is a number known only to CloudFormation. It can be handed to the CDK and put into text, and nothing else:
// arithmetic would give nonsense.
type numberToken struct {
	s     *session
	value float64
}

var _ starlark.Comparable = numberToken{}

// String is text that the CDK resolves to the number.
func (n numberToken) String() string {
	if !n.s.ended {
		v, err := n.s.call1(jsii.Op{Kind: jsii.Static, FQN: "aws-cdk-lib.Token", Member: "asString", Args: []jsii.Value{n.value},
			Returns: jsii.TypeRef{Kind: jsii.String}, Tag: n.s.at(nil)})
		if text, ok := v.(string); ok && err == nil {
			return text
		}
	}
	return "<number known to CloudFormation>"
}

func (n numberToken) Type() string         { return "number token" }
func (n numberToken) Freeze()              {}
func (n numberToken) Truth() starlark.Bool { return true }
func (n numberToken) Hash() (uint32, error) {
	bits := math.Float64bits(n.value)
	return uint32(bits) ^ uint32(bits>>32), nil
}

// CompareSameType makes tokens equal when they are the same token; they have no order.
func (n numberToken) CompareSameType(op syntax.Token, y starlark.Value, depth int) (bool, error) {
	m, ok := y.(numberToken)
	same := ok && n.value == m.value
	switch op {
	case syntax.EQL:
		return same, nil
	case syntax.NEQ:
		return !same, nil
	}
	return false, interp.Errorf("token-order", "No order", "this number is known only to CloudFormation, so it cannot be compared.")
}
