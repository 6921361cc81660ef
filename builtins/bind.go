package builtins

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// binding matches the arguments of a call with the parameters of a constructor or method, as the CDK's Python bindings do:
// the fields of a last struct parameter are keywords, the other parameters can be given either way.
type binding struct {
	s          *session
	what       string
	params     []jsii.Parameter
	variadic   bool
	positional int // so many parameters have no keyword: scope and id
}

// keywordStruct is the struct whose fields are keywords, nil when there is none.
func (s *session) keywordStruct(params []jsii.Parameter, variadic bool) *jsii.Type {
	return keywordStruct(s.catalog, params, variadic)
}

var structs memo[*jsii.Type]

func keywordStruct(catalog *jsii.Catalog, params []jsii.Parameter, variadic bool) *jsii.Type {
	if len(params) == 0 || variadic {
		return nil
	}
	last := params[len(params)-1].Type
	if last.Kind != jsii.Named {
		return nil
	}
	return structs.get(last.FQN, func() *jsii.Type {
		if t, ok := catalog.Type(last.FQN); ok && t.Kind == jsii.Struct {
			return t
		}
		return nil
	})
}

// bind gives the arguments for the wire, without the absent ones at the end.
func (b *binding) bind(args starlark.Tuple, kwargs []starlark.Tuple) ([]jsii.Value, error) {
	params, lifted := b.params, b.s.keywordStruct(b.params, b.variadic)
	var last jsii.Parameter
	if lifted != nil {
		last = params[len(params)-1]
		params = params[:len(params)-1]
	}
	wire := make([]jsii.Value, len(params), len(params)+1)
	given := make([]bool, len(params))
	rest := args
	for i := range params {
		if len(rest) == 0 || b.variadic && i == len(params)-1 {
			break
		}
		if rest[0] != starlark.None {
			if err := b.convert(&wire[i], rest[0], params[i], i+1); err != nil {
				return nil, err
			}
			given[i] = true
		}
		rest = rest[1:]
	}

	var props []pair
	for _, kwarg := range kwargs {
		name := string(kwarg[0].(starlark.String))
		i := slices.IndexFunc(params, func(p jsii.Parameter) bool { return p.Name == name })
		if i < b.positional {
			i = -1
		}
		if i >= 0 && lifted != nil && given[i] {
			if _, field := lifted.Field(name); field {
				i = -1
			}
		}
		switch {
		case i < 0 && lifted != nil:
			props = append(props, pair{name, kwarg[1]})
		case i < 0:
			return nil, b.unknown(name, nil)
		case i < len(args) && !(b.variadic && i == len(params)-1):
			f := interp.Errorf("duplicate-parameter", "Parameter given twice", "%s: %s is given by position and by keyword.", b.what, name)
			f.Keyword = name
			return nil, f
		case kwarg[1] == starlark.None:
		case b.variadic && i == len(params)-1:
			items, ok := listItems(kwarg[1])
			if !ok {
				f := interp.Errorf("wrong-type", "Wrong type", "%s: %s: got %s, want a list.", b.what, name, kindOf(kwarg[1]))
				f.Keyword = name
				return nil, f
			}
			rest = items
		default:
			if err := b.convert(&wire[i], kwarg[1], params[i], 0); err != nil {
				return nil, err
			}
			given[i] = true
		}
	}

	if lifted != nil && len(rest) == 0 {
		value, err := b.lift(lifted, last, props)
		if err != nil {
			return nil, err
		}
		wire = append(wire, value)
	}
	if b.variadic {
		wire = wire[:len(params)-1]
		for i, value := range rest {
			var item jsii.Value
			if err := b.convert(&item, value, params[len(params)-1], len(params)+i); err != nil {
				return nil, err
			}
			wire = append(wire, item)
		}
		params, rest = params[:len(params)-1], nil
	}
	if len(rest) > 0 {
		f := interp.Errorf("too-many-arguments", "Too many positional arguments", "%s takes %s, not %d.", b.what, arguments(len(params)), len(args))
		if lifted != nil {
			f.Hint = "Give the others by name."
		}
		f.Positional = len(params) + 1
		return nil, f
	}
	for i, p := range params {
		if !given[i] && !p.Type.Optional {
			return nil, interp.Errorf("missing-parameter", "Missing parameter", "%s needs %s (%s).", b.what, p.Name, describe(b.s.catalog, p.Type))
		}
	}
	for len(wire) > 0 && wire[len(wire)-1] == nil {
		wire = wire[:len(wire)-1]
	}
	return wire, nil
}

func arguments(n int) string {
	if n == 1 {
		return "1 argument by position"
	}
	return fmt.Sprintf("%d arguments by position", n)
}

// lift gives the value of the last struct parameter from keywords.
func (b *binding) lift(t *jsii.Type, last jsii.Parameter, props []pair) (jsii.Value, error) {
	if len(props) == 0 && last.Type.Optional {
		return nil, nil
	}
	c := &conversion{s: b.s, what: b.what, params: b.params[b.positional:]}
	fields, err := c.fields(t, props, true)
	if err != nil {
		return nil, err
	}
	return fields, nil
}

func (b *binding) convert(into *jsii.Value, v starlark.Value, p jsii.Parameter, number int) error {
	c := &conversion{s: b.s, what: b.what, number: number}
	c.push(p.Name)
	value, err := c.value(v, p.Type)
	*into = value
	return err
}

// unknown reports a keyword that no parameter has.
func (b *binding) unknown(name string, known []string) error {
	for _, p := range b.params[b.positional:] {
		known = append(known, p.Name)
	}
	return unknownParameter(b.what, name, known)
}

func unknownParameter(what, name string, known []string) error {
	f := interp.Errorf("unknown-parameter", "Unknown parameter", "%s has no parameter %q.", what, name)
	f.Keyword, f.Value = name, name // the key of a dict when it was handed on by the prelude
	f.Hint = nearest(name, known)
	return f
}

// create makes an object of a class.
func (s *session) create(t *jsii.Type, init *jsii.Callable, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	tag := len(s.calls) - 1 // of the call under way: the class has just noted it
	b := binding{s: s, what: display(t), params: init.Params, variadic: init.Variadic}
	facts := s.facts(t)
	if facts.construct {
		b.positional = constructPositions(init)
	}
	wire, err := b.bind(args, kwargs)
	if err != nil {
		return nil, err
	}
	if t.Deprecated != "" || init.Deprecated != "" {
		s.deprecated(display(t), cmp.Or(t.Deprecated, init.Deprecated), "", t)
	}
	o := &Object{s: s, id: s.id(), t: t}
	o.canonical = o.id
	if facts.construct {
		if err := s.place(o, args, &wire, tag); err != nil {
			return nil, err
		}
	}
	s.objects[o.id] = o
	return o, s.send(jsii.Op{Kind: jsii.Create, ID: o.id, FQN: t.FQN, Args: wire, Tag: tag})
}

// typeFacts are what is asked of a class each time that it is called.
type typeFacts struct{ construct, stack, nested bool }

var factsOfTypes memo[typeFacts]

func (s *session) facts(t *jsii.Type) typeFacts {
	return factsOfTypes.get(t.FQN, func() typeFacts {
		return typeFacts{
			construct: s.catalog.AssignableTo(t.FQN, "constructs.Construct"),
			stack:     s.catalog.AssignableTo(t.FQN, stackFQN),
			nested:    s.catalog.AssignableTo(t.FQN, "aws-cdk-lib.NestedStack"),
		}
	})
}

// constructPositions says how many parameters of a construct's constructor can be given by position only: scope and id,
// since some constructs have properties of these names.
func constructPositions(init *jsii.Callable) int {
	for i, name := range []string{"scope", "id"} {
		if i >= len(init.Params) || strings.TrimRight(init.Params[i].Name, "_") != name {
			return i
		}
	}
	return 2
}

const (
	appFQN   = "aws-cdk-lib.App"
	stackFQN = "aws-cdk-lib.Stack"
)

// place notes where a construct stands and which line made it, and completes what the engine decides for apps and stacks.
func (s *session) place(o *Object, args starlark.Tuple, wire *[]jsii.Value, tag int) error {
	s.created[o.id] = o
	if o.t.FQN == appFQN {
		return s.completeApp(wire)
	}
	if len(args) >= 2 {
		if id, ok := starlark.AsString(args[1]); ok && id != "" {
			if scope := asObject(scopeOf(args[0])); scope != nil {
				if scope.path != "" {
					o.path = scope.path + "/" + strings.ReplaceAll(id, "/", "--")
				} else if scope.t.FQN == appFQN {
					o.path = strings.ReplaceAll(id, "/", "--")
				}
			}
			if o.path != "" {
				if _, taken := s.places[o.path]; !taken {
					s.places[o.path] = tag
				}
			}
		}
	}
	if s.facts(o.t).stack {
		if len(args) == 0 || args[0] == starlark.None {
			s.orphans = append(s.orphans, tag)
		}
		if s.stack == nil {
			s.stack = o
		}
		s.nameStack(o, args, wire)
	}
	return nil
}

// completeApp sets what a user has no say in: where the assembly goes, and what would make synth slow or its output
// depend on the machine.
func (s *session) completeApp(wire *[]jsii.Value) error {
	if !s.lastCall().inPrelude() {
		return interp.Errorf("raw-app", "Raw app", "the app is made by sst.App(\"name\"); a cdk.App would be a second one.")
	}
	var props jsii.Pairs
	if len(*wire) > 0 {
		props, _ = (*wire)[0].(jsii.Pairs)
	}
	if err := s.readLock(); err != nil {
		return err
	}
	context := s.lookups()
	if given, ok := props.Get("context"); ok {
		given, _ := given.(jsii.Pairs)
		for _, p := range given {
			context.Set(p.Name, p.Value)
		}
	}
	context.Set("aws:cdk:disable-creation-stack-traces", true)
	context.Set("aws:cdk:enable-path-metadata", true)                      // joins resources with source lines
	context.Set("@aws-cdk/core:enableAdditionalMetadataCollection", false) // for reports that are not made; it costs 5 % of a synth
	props.Set("context", context)
	props.Set("outdir", nil) // that of the session
	props.Set("treeMetadata", false)
	props.Set("analyticsReporting", false)
	props.Set("autoSynth", false)
	*wire = []jsii.Value{props}
	return nil
}

// nameStack gives a raw stack without a name the app's prefix.
func (s *session) nameStack(o *Object, args starlark.Tuple, wire *[]jsii.Value) {
	if len(args) < 2 || len(*wire) < 2 || s.prefix() == "" || s.facts(o.t).nested {
		return
	}
	scope := asObject(scopeOf(args[0]))
	id, _ := starlark.AsString(args[1])
	if scope == nil || scope.t.FQN != appFQN || strings.HasPrefix(id, s.prefix()) {
		return
	}
	var props jsii.Pairs
	if len(*wire) > 2 {
		props, _ = (*wire)[2].(jsii.Pairs)
	}
	if _, named := props.Get("stackName"); !named {
		props.Set("stackName", s.prefix()+id)
	}
	*wire = append((*wire)[:2], props)
}
