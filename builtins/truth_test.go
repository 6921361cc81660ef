package builtins

import (
	"errors"
	"testing"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// eachConstruct visits the constructs of the index that can be made.
func eachConstruct(visit func(t *jsii.Type)) {
	catalog := jsii.Index()
	for _, name := range catalog.Modules() {
		m, _ := catalog.Module(name)
		for _, typeName := range m.Names() {
			if t, ok := m.Type(typeName); ok && t.Kind == jsii.Class && !t.Abstract && t.Init() != nil && catalog.AssignableTo(t.FQN, "constructs.Construct") {
				visit(t)
			}
		}
	}
}

// TestKeywordsOfConstructs holds what the editor and the static check say of every construct of the CDK against what a call
// accepts: every keyword of the signature is taken, every field of the properties is a keyword, another one is refused.
func TestKeywordsOfConstructs(t *testing.T) {
	s := &session{catalog: jsii.Index()}
	constructs, keywords := 0, 0
	eachConstruct(func(of *jsii.Type) {
		constructs++
		init := of.Init()
		b := binding{s: s, what: display(of), params: init.Params, variadic: init.Variadic, positional: constructPositions(init)}
		accepts := func(name string) bool { // None: only the name is judged
			_, err := b.bind(nil, []starlark.Tuple{{starlark.String(name), starlark.None}})
			var f *interp.Failure
			return !errors.As(err, &f) || f.Code != "unknown-parameter" || f.Value != name
		}
		sig := classShape{of}.Signature()
		offered := map[string]bool{}
		for _, p := range sig.Params[sig.PositionalOnly:] {
			offered[p.Name] = true
			keywords++
			if !accepts(p.Name) {
				t.Errorf("%s: %s is offered and refused", display(of), p.Name)
			}
		}
		if props := keywordStruct(s.catalog, init.Params, init.Variadic); props != nil {
			for _, field := range props.Fields() {
				if !offered[field.Name] && accepts(field.Name) {
					t.Errorf("%s: %s is accepted and not offered", display(of), field.Name)
				}
			}
		}
		if accepts("nonesuch") {
			t.Errorf("%s accepts anything", display(of))
		}
	})
	if constructs < 2000 || keywords < 10*constructs/2 {
		t.Errorf("%d constructs, %d keywords", constructs, keywords)
	}
	t.Logf("%d constructs, %d keywords", constructs, keywords)
}
