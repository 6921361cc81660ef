package builtins

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// This file turns Starlark values into what the CDK process takes, checking them against the metadata on the way: the
// CDK itself accepts nearly anything without a word, and fails later or never.

const (
	durationFQN  = "aws-cdk-lib.Duration"
	sizeFQN      = "aws-cdk-lib.Size"
	appliableFQN = "constructs.IConstruct"
)

// scopes are the types that take a construct itself, not the resource behind it.
var scopes = map[string]bool{"constructs.Construct": true, "constructs.IConstruct": true, "constructs.IDependable": true}

// conversion is the conversion of one argument; path says where in it: "rules[2].expiration".
type conversion struct {
	s      *session
	what   string // the function called
	path   []string
	params []jsii.Parameter // further names to suggest for an unknown keyword
	number int              // of a positional argument, from 1
}

func (c *conversion) push(part string) { c.path = append(c.path, part) }
func (c *conversion) pop()             { c.path = c.path[:len(c.path)-1] }

func (c *conversion) where() string {
	var b strings.Builder
	for i, part := range c.path {
		if i > 0 && !strings.HasPrefix(part, "[") {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// fail is an error about the value at path; its caret goes to the literal, else to the keyword.
func (c *conversion) fail(code, summary string, v starlark.Value, format string, args ...any) *interp.Failure {
	f := interp.Errorf(code, summary, "%s: %s: %s", c.what, c.where(), fmt.Sprintf(format, args...))
	if len(c.path) == 0 {
		f.Detail = c.what + ": " + fmt.Sprintf(format, args...)
	}
	if c.number > 0 && !c.s.lastCall().inPrelude() {
		f.Positional = c.number
	} else if len(c.path) > 0 {
		f.Keyword = c.path[0]
	}
	if text, ok := v.(starlark.String); ok && len(text) > 0 && len(text) < 200 {
		f.Value = string(text)
		return f
	}
	for _, part := range c.path { // the innermost key of a dict
		if !strings.HasPrefix(part, "[") {
			f.Value = part
		}
	}
	return f
}

// wrong is the error of a value of another type than wanted.
func (c *conversion) wrong(v starlark.Value, ref jsii.TypeRef) error {
	return c.fail("wrong-type", "Wrong type", v, "got %s, want %s.", shown(v), describe(c.s.catalog, ref))
}

// value converts v to what ref wants. Whoever calls has dealt with None for "not given".
func (c *conversion) value(v starlark.Value, ref jsii.TypeRef) (jsii.Value, error) {
	switch ref.Kind {
	case jsii.Any, jsii.JSON:
		return c.free(v)
	case jsii.String:
		if text, ok := v.(starlark.String); ok {
			return string(text), nil
		}
	case jsii.Number:
		if n, ok := numberOf(v); ok {
			return n, nil
		}
	case jsii.Boolean:
		if b, ok := v.(starlark.Bool); ok {
			return bool(b), nil
		}
	case jsii.Date:
		return c.date(v, ref)
	case jsii.List:
		return c.list(v, ref)
	case jsii.Map:
		return c.mapping(v, ref)
	case jsii.Union:
		return c.union(v, ref)
	case jsii.Named:
		return c.named(v, ref)
	}
	return nil, c.wrong(v, ref)
}

func numberOf(v starlark.Value) (jsii.Value, bool) {
	switch v := v.(type) {
	case starlark.Int:
		if n, ok := v.Int64(); ok && n <= 1<<53 && n >= -1<<53 {
			return n, true
		}
		return float64(v.Float()), true
	case starlark.Float:
		f := float64(v)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, false
		}
		return f, true
	case numberToken:
		return v.value, true
	}
	return nil, false
}

// date takes "2026-01-31", "2026-01-31T12:00:00Z".
func (c *conversion) date(v starlark.Value, ref jsii.TypeRef) (jsii.Value, error) {
	text, ok := v.(starlark.String)
	if !ok {
		return nil, c.wrong(v, ref)
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			return t.UTC(), nil
		}
	}
	return nil, c.fail("wrong-value", "Wrong value", v, "%q is not a date: write \"2026-01-31\" or \"2026-01-31T12:00:00Z\".", string(text))
}

// listItems are the items of a list, tuple or set.
func listItems(v starlark.Value) (starlark.Tuple, bool) {
	switch v := v.(type) {
	case *starlark.List:
		items := make(starlark.Tuple, v.Len())
		for i := range items {
			items[i] = v.Index(i)
		}
		return items, true
	case starlark.Tuple:
		return v, true
	case *starlark.Set:
		var items starlark.Tuple
		for item := range v.Elements() {
			items = append(items, item)
		}
		return items, true
	}
	return nil, false
}

func (c *conversion) list(v starlark.Value, ref jsii.TypeRef) (jsii.Value, error) {
	items, ok := listItems(v)
	if !ok {
		return nil, c.wrong(v, ref)
	}
	wire := make([]jsii.Value, len(items))
	for i, item := range items {
		c.push("[" + strconv.Itoa(i) + "]")
		value, err := c.element(item, *ref.Elem)
		if err != nil {
			return nil, err
		}
		c.pop()
		wire[i] = value
	}
	return wire, nil
}

// element converts a part of a list or map, where None has no meaning unless anything goes.
func (c *conversion) element(v starlark.Value, ref jsii.TypeRef) (jsii.Value, error) {
	if v == starlark.None && ref.Kind != jsii.Any && ref.Kind != jsii.JSON {
		if ref.Optional {
			return nil, nil
		}
		return nil, c.wrong(v, ref)
	}
	return c.value(v, ref)
}

// pair is an entry of a dict, struct or list of keywords.
type pair struct {
	name  string
	value starlark.Value
}

func pairsOf(kwargs []starlark.Tuple) []pair {
	pairs := make([]pair, len(kwargs))
	for i, kwarg := range kwargs {
		pairs[i] = pair{string(kwarg[0].(starlark.String)), kwarg[1]}
	}
	return pairs
}

// pairs are the entries of a dict with string keys, or of a struct; ok is false for other values.
func (c *conversion) pairs(v starlark.Value) (pairs []pair, ok bool, err error) {
	switch v := v.(type) {
	case *starlark.Dict:
		pairs = make([]pair, 0, v.Len())
		for _, item := range v.Items() {
			key, isString := item[0].(starlark.String)
			if !isString {
				return nil, true, c.fail("wrong-type", "Wrong type", nil, "the keys of this dict are strings, got %s.", shown(item[0]))
			}
			pairs = append(pairs, pair{string(key), item[1]})
		}
		return pairs, true, nil
	case *starlarkstruct.Struct:
		for _, name := range v.AttrNames() {
			value, err := v.Attr(name)
			if err != nil {
				return nil, true, err
			}
			pairs = append(pairs, pair{name, value})
		}
		return pairs, true, nil
	}
	return nil, false, nil
}

func (c *conversion) mapping(v starlark.Value, ref jsii.TypeRef) (jsii.Value, error) {
	pairs, ok, err := c.pairs(v)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, c.wrong(v, ref)
	}
	wire := make(jsii.Pairs, 0, len(pairs)) // in the order given: it shows in text that is made of maps
	for _, p := range pairs {
		c.push(entry(p.name))
		value, err := c.element(p.value, *ref.Elem)
		if err != nil {
			return nil, err
		}
		c.pop()
		wire = append(wire, jsii.Pair{Name: p.name, Value: value})
	}
	return wire, nil
}

// entry is the path part of a map's key.
func entry(key string) string { return "[" + strconv.Quote(key) + "]" }

// free converts a value of which nothing is known: JSON with CDK objects in it.
func (c *conversion) free(v starlark.Value) (jsii.Value, error) {
	switch v := v.(type) {
	case starlark.NoneType:
		return nil, nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.String:
		return string(v), nil
	case starlark.Int, starlark.Float, numberToken:
		if n, ok := numberOf(v); ok {
			return n, nil
		}
		return nil, c.fail("wrong-value", "Wrong value", nil, "%s is not a number that JSON has.", v)
	case *enumValue:
		return jsii.EnumValue{FQN: v.t.FQN, Member: v.js}, nil
	case *structValue:
		return v.wire, nil
	case *Object:
		return jsii.Ref{ID: v.id}, nil
	case *Construct:
		if o := asObject(v.resource); o != nil {
			return jsii.Ref{ID: o.id}, nil
		}
		return jsii.Ref{ID: v.scope.id}, nil
	}
	ref := jsii.TypeRef{Kind: jsii.Any}
	if _, ok := listItems(v); ok {
		return c.list(v, jsii.TypeRef{Kind: jsii.List, Elem: &ref})
	}
	if pairs, ok, _ := c.pairs(v); ok {
		if len(pairs) == 1 && pairs[0].name == "resolve" { // a token of one's own
			if t, known := c.s.catalog.Type(resolvableFQN); known && implements(c.s.catalog, v, t) {
				token, _, err := c.behaviour(v, t)
				return token, err
			}
		}
		return c.mapping(v, jsii.TypeRef{Kind: jsii.Map, Elem: &ref})
	}
	if m, ok := v.(*method); ok {
		return nil, c.fail("wrong-type", "Wrong type", nil, "%s is a method: call it.", m.what())
	}
	return nil, c.fail("wrong-type", "Wrong type", nil, "got %s, want a string, number, bool, list, dict or CDK object.", shown(v))
}

// canonical is a converted value whose maps are in the order of their keys.
func canonical(v jsii.Value) jsii.Value {
	switch v := v.(type) {
	case []jsii.Value:
		list := make([]jsii.Value, len(v))
		for i, item := range v {
			list[i] = canonical(item)
		}
		return list
	case jsii.Pairs:
		m := make(map[string]jsii.Value, len(v))
		for _, p := range v {
			m[p.Name] = canonical(p.Value)
		}
		return m
	}
	return v
}

// fields converts entries to a struct. strict: names that are not fields are keywords of the call.
func (c *conversion) fields(t *jsii.Type, pairs []pair, keywords bool) (jsii.Pairs, error) {
	wire := make(jsii.Pairs, 0, len(pairs))
	for _, p := range pairs {
		field, ok := t.Field(p.name)
		if !ok {
			return nil, c.unknownField(t, p, keywords)
		}
		if p.value == starlark.None || p.value == unset {
			continue // not given
		}
		c.push(p.name)
		value, err := c.value(p.value, field.Type)
		if err != nil {
			return nil, err
		}
		c.pop()
		wire.Set(field.JS, value)
		if field.Deprecated != "" {
			keyword := p.name
			if len(c.path) > 0 {
				keyword = c.path[0]
			}
			c.s.deprecated(c.inside(t)+": "+p.name, field.Deprecated, keyword, t)
		}
	}
	for _, field := range t.Fields() {
		if field.Optional || field.Type.Optional {
			continue
		}
		if _, ok := wire.Get(field.JS); !ok {
			name := field.Name
			f := interp.Errorf("missing-parameter", "Missing parameter", "%s needs %s (%s).", c.inside(t), name, describe(c.s.catalog, field.Type))
			if len(c.path) > 0 {
				f.Keyword = c.path[0]
			}
			return nil, f
		}
	}
	return wire, nil
}

// inside names the struct that is being converted.
func (c *conversion) inside(t *jsii.Type) string {
	if len(c.path) == 0 {
		return c.what
	}
	return fmt.Sprintf("%s: %s (%s)", c.what, c.where(), display(t))
}

func (c *conversion) unknownField(t *jsii.Type, p pair, keywords bool) error {
	known := fieldNames(t)
	for _, param := range c.params {
		known = append(known, param.Name)
	}
	if keywords && len(c.path) == 0 {
		return unknownParameter(c.what, p.name, known)
	}
	f := c.fail("unknown-key", "Unknown key", starlark.String(p.name), "%s has no field %q.", display(t), p.name)
	if field, ok := t.FieldJS(p.name); ok {
		f.Hint = fmt.Sprintf("Did you mean %q?", field.Name)
	} else {
		f.Hint = nearest(p.name, known)
	}
	return f
}

// named converts to a class, interface, struct or enum.
func (c *conversion) named(v starlark.Value, ref jsii.TypeRef) (jsii.Value, error) {
	t, ok := c.s.catalog.Type(ref.FQN)
	if !ok {
		return c.free(v)
	}
	switch v := v.(type) {
	case *Construct:
		if o := v.standFor(t.FQN); o != nil {
			return jsii.Ref{ID: o.id}, nil
		}
		return nil, c.wrong(v, ref)
	case *Object:
		if v.is(t.FQN) {
			return jsii.Ref{ID: v.id}, nil
		}
		return nil, c.wrong(v, ref)
	case *enumValue:
		if v.t.FQN == t.FQN {
			return jsii.EnumValue{FQN: t.FQN, Member: v.js}, nil
		}
		return nil, c.wrong(v, ref)
	case *structValue:
		if t.Kind == jsii.Struct && c.s.catalog.AssignableTo(v.t.FQN, t.FQN) {
			return v.wire, nil
		}
		if t.Kind != jsii.Struct || v.t.FQN == t.FQN {
			return nil, c.wrong(v, ref)
		}
		return nil, c.wrong(v, ref)
	}
	switch {
	case t.Kind == jsii.Struct:
		pairs, ok, err := c.pairs(v)
		if err != nil {
			return nil, err
		}
		if ok {
			return c.fields(t, pairs, false)
		}
	case t.Kind == jsii.Enum:
		return nil, c.wantEnum(v, t)
	case t.FQN == durationFQN:
		return c.unit(v, ref, durations)
	case t.FQN == sizeFQN:
		return c.unit(v, ref, sizes)
	case t.Kind == jsii.Interface:
		if cb, ok, err := c.behaviour(v, t); ok || err != nil {
			return cb, err
		}
	}
	if token, ok := v.(numberToken); ok && t.FQN == resolvableFQN {
		return token.value, nil
	}
	return nil, c.wrong(v, ref)
}

// wantEnum is the error for anything but a member of the enum.
func (c *conversion) wantEnum(v starlark.Value, t *jsii.Type) error {
	members := t.EnumMembers()
	f := c.fail("wrong-type", "Wrong type", v, "got %s, want a member of %s.", shown(v), display(t))
	if text, ok := v.(starlark.String); ok {
		for _, name := range members {
			if strings.EqualFold(strings.NewReplacer("-", "_", " ", "_").Replace(string(text)), name) {
				f.Hint = fmt.Sprintf("Did you mean %s.%s?", display(t), name)
				return f
			}
		}
	}
	if len(members) > 0 && len(members) <= 6 {
		f.Hint = fmt.Sprintf("It has %s.", strings.Join(members, ", "))
	} else if len(members) > 0 {
		f.Hint = fmt.Sprintf("Such as %s.%s.", display(t), members[0])
	}
	return f
}

// union takes the first alternative that fits, structs before maps and everything else before free values.
func (c *conversion) union(v starlark.Value, ref jsii.TypeRef) (jsii.Value, error) {
	var likely []jsii.TypeRef
	for _, alternative := range ref.Union {
		if c.likely(v, alternative) {
			likely = append(likely, alternative)
		}
	}
	slices.SortStableFunc(likely, func(a, b jsii.TypeRef) int { return c.rank(a) - c.rank(b) })
	var errs []error
	depth := len(c.path)
	for _, alternative := range likely {
		value, err := c.value(v, alternative)
		if err == nil {
			return value, nil
		}
		c.path = c.path[:depth]
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, c.wrong(v, ref)
}

func (c *conversion) rank(ref jsii.TypeRef) int {
	switch ref.Kind {
	case jsii.Any, jsii.JSON:
		return 3
	case jsii.Map:
		return 2
	case jsii.Date:
		return 1
	case jsii.Named:
		if t, ok := c.s.catalog.Type(ref.FQN); ok && t.Kind == jsii.Interface {
			return 1
		}
	}
	return 0
}

// likely says whether the kind of v is one that ref could take, so that the error can speak of the alternative meant.
func (c *conversion) likely(v starlark.Value, ref jsii.TypeRef) bool {
	switch ref.Kind {
	case jsii.Any, jsii.JSON:
		return true
	case jsii.String, jsii.Date:
		_, ok := v.(starlark.String)
		return ok
	case jsii.Number:
		_, ok := numberOf(v)
		return ok
	case jsii.Boolean:
		_, ok := v.(starlark.Bool)
		return ok
	case jsii.List:
		_, ok := listItems(v)
		return ok
	case jsii.Map:
		_, ok, _ := c.pairs(v)
		return ok
	case jsii.Union:
		return slices.ContainsFunc(ref.Union, func(r jsii.TypeRef) bool { return c.likely(v, r) })
	case jsii.Named:
		return c.likelyNamed(v, ref)
	}
	return false
}

func (c *conversion) likelyNamed(v starlark.Value, ref jsii.TypeRef) bool {
	t, ok := c.s.catalog.Type(ref.FQN)
	if !ok {
		return true
	}
	switch v := v.(type) {
	case *Object:
		return v.is(t.FQN)
	case *Construct:
		return v.standFor(t.FQN) != nil
	case *enumValue:
		return v.t.FQN == t.FQN
	case *structValue:
		return c.s.catalog.AssignableTo(v.t.FQN, t.FQN)
	case numberToken:
		return t.FQN == resolvableFQN
	case starlark.Callable:
		return t.Kind == jsii.Interface && len(interfaceMethods(t)) > 0
	case starlark.String, starlark.Int, starlark.Float:
		return t.FQN == durationFQN || t.FQN == sizeFQN
	}
	_, pairs, _ := c.pairs(v)
	if !pairs {
		return false
	}
	if t.Kind == jsii.Interface {
		return t.FQN != resolvableFQN && implements(c.s.catalog, v, t)
	}
	return t.Kind == jsii.Struct
}

// describe names a type for people: "string", "list of cdk.aws_ec2.ISubnet".
func describe(catalog *jsii.Catalog, ref jsii.TypeRef) string {
	switch ref.Kind {
	case jsii.String:
		return "string"
	case jsii.Number:
		return "number"
	case jsii.Boolean:
		return "bool"
	case jsii.Date:
		return "date"
	case jsii.List:
		return "list of " + describe(catalog, *ref.Elem)
	case jsii.Map:
		return "dict of " + describe(catalog, *ref.Elem)
	case jsii.Union:
		var names []string
		for _, alternative := range ref.Union {
			if name := describe(catalog, alternative); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		return strings.Join(names, " or ")
	case jsii.Named:
		switch ref.FQN {
		case durationFQN:
			return `cdk.Duration, like "10 seconds" or a number of seconds`
		case sizeFQN:
			return `cdk.Size, like "1 GB" or a number of MB`
		}
		if t, ok := catalog.Type(ref.FQN); ok {
			return display(t)
		}
		return ref.FQN
	}
	return "anything"
}

// kindOf names the type of a value as people write it.
func kindOf(v starlark.Value) string {
	switch v := v.(type) {
	case starlark.NoneType:
		return "None"
	case *Construct:
		return "sst." + v.kind
	case *class:
		return display(v.t)
	}
	return v.Type()
}

// shown is the type of a value, with the value itself when it is short.
func shown(v starlark.Value) string {
	switch v := v.(type) {
	case starlark.String:
		if len(v) <= 40 && !strings.Contains(string(v), "${Token[") {
			return "string " + v.String()
		}
	case starlark.Int, starlark.Float:
		if text := v.String(); len(text) <= 40 {
			return v.Type() + " " + text
		}
	case starlark.Bool:
		return "bool " + v.String()
	case *enumValue:
		return v.String()
	case *class:
		return "the class " + display(v.t)
	}
	return kindOf(v)
}
