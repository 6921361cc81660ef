package assertions

import (
	"strings"
	"testing"

	"go.starlark.net/starlark"
)

// TestShapes calls what the editor says there is with the arguments that it says are taken: the shape and the value may not
// drift apart.
func TestShapes(t *testing.T) {
	own := Env(nil).Globals
	r := &run{apps: map[string]*synthesized{}}
	thread := &starlark.Thread{}
	tried := 0
	try := func(name string, fn starlark.Value, s *shape) {
		if s.call == nil {
			return
		}
		tried++
		_, err := starlark.Call(thread, fn, nil, []starlark.Tuple{{starlark.String("nonesuch_"), starlark.None}})
		if err == nil || !strings.Contains(err.Error(), "nonesuch_") && !strings.Contains(err.Error(), "keyword") {
			t.Errorf("%s takes any keyword: %v", name, err)
		}
		for _, p := range s.call.Params {
			func() {
				defer func() { _ = recover() }() // this run has no suite: what gets that far has taken the keyword
				_, err := starlark.Call(thread, fn, nil, []starlark.Tuple{{starlark.String(p.Name), starlark.MakeInt(1)}})
				if err != nil && strings.Contains(err.Error(), "unexpected keyword argument") {
					t.Errorf("%s: %v", name, err)
				}
			}()
		}
	}
	for name, value := range r.assertModule().members {
		member, ok := own["assert"].Member(name)
		if !ok {
			t.Errorf("assert.%s is not known", name)
			continue
		}
		try("assert."+name, value, member.(*shape))
	}
	for name := range matchModule().members {
		if _, ok := own["Match"].Member(name); !ok {
			t.Errorf("Match.%s is not known", name)
		}
	}
	template := own["synth"].Signature().Result.(*shape).members["template"].Signature().Result
	for name := range templateMethods {
		member, ok := template.Member(name)
		if !ok {
			t.Errorf("Template.%s is not known", name)
			continue
		}
		value, err := (&Template{}).Attr(name)
		if err != nil {
			t.Fatal(err)
		}
		try("Template."+name, value, member.(*shape))
	}
	if tried < 20 {
		t.Errorf("%d calls tried", tried)
	}
}
