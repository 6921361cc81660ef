package assertions

import (
	"maps"
	"slices"
	"sync"

	interp "sst/starlark"
)

// Env is what a test file is checked against: its names, and of them the members, so that the editor knows them.
// general are the names that app files have too: json, math, struct.
func Env(general map[string]interp.Shape) interp.Env {
	own := ownShapes()
	globals := map[string]interp.Shape{}
	for _, name := range Predeclared {
		if shape, ok := own[name]; ok {
			globals[name] = shape
		} else {
			globals[name] = general[name]
		}
	}
	return interp.Env{Globals: globals}
}

var ownShapes = sync.OnceValue(func() map[string]interp.Shape {
	template := &shape{kind: "Template", members: map[string]interp.Shape{}}
	for name := range templateMethods {
		template.members[name] = &shape{kind: "method", call: templateCalls[name]}
	}
	app := &shape{kind: "App", members: map[string]interp.Shape{
		"name": interp.StringShape, "stage": interp.StringShape, "region": interp.StringShape,
		"stacks": interp.ListShape, "functions": interp.ListShape, "warnings": interp.ListShape,
		"template": &shape{kind: "method", call: call("template", template, "stack")},
	}}
	capture := &shape{kind: "Capture", members: map[string]interp.Shape{}}
	for _, name := range captureMembers {
		capture.members[name] = nil
	}
	match := &shape{kind: "Match", members: map[string]interp.Shape{}}
	for kind, name := range kindNames {
		signature := call(name, nil, "pattern")
		if kind == absentKind || kind == anyValue {
			signature = call(name, nil)
		}
		match.members[name] = &shape{kind: "function", call: signature}
	}
	assert := &shape{kind: "assert", members: map[string]interp.Shape{}}
	for name := range (&run{}).assertModule().members {
		assert.members[name] = &shape{kind: "function", call: assertCalls[name]}
	}
	return map[string]interp.Shape{
		"Capture": &shape{kind: "function", call: call("Capture", capture, "pattern?")},
		"Match":   match,
		"assert":  assert,
		"synth":   &shape{kind: "function", call: call("synth", app, "stage?", "region?", "env?")},
	}
})

// templateCalls are what the methods of a template take.
var templateCalls = map[string]*interp.Signature{
	"template_matches":             call("template_matches", nil, "expected"),
	"has_resource":                 call("has_resource", nil, "type", "props"),
	"has_resource_properties":      call("has_resource_properties", nil, "type", "props"),
	"all_resources":                call("all_resources", nil, "type", "props"),
	"all_resources_properties":     call("all_resources_properties", nil, "type", "props"),
	"find_resources":               call("find_resources", interp.DictShape, "type", "props?"),
	"resource_count_is":            call("resource_count_is", nil, "type", "count"),
	"resource_properties_count_is": call("resource_properties_count_is", nil, "type", "props", "count"),
	"has_output":                   call("has_output", nil, "logical_id", "props?"),
	"find_outputs":                 call("find_outputs", interp.DictShape, "logical_id", "props?"),
	"has_parameter":                call("has_parameter", nil, "logical_id", "props?"),
	"find_parameters":              call("find_parameters", interp.DictShape, "logical_id", "props?"),
	"has_mapping":                  call("has_mapping", nil, "logical_id", "props?"),
	"find_mappings":                call("find_mappings", interp.DictShape, "logical_id", "props?"),
	"has_condition":                call("has_condition", nil, "logical_id", "props?"),
	"find_conditions":              call("find_conditions", interp.DictShape, "logical_id", "props?"),
}

var assertCalls = map[string]*interp.Signature{
	"eq":       call("eq", nil, "got", "want"),
	"ne":       call("ne", nil, "got", "unwanted"),
	"true":     call("true", nil, "value", "message?"),
	"contains": call("contains", nil, "all", "element"),
	"matches":  call("matches", nil, "got", "pattern"),
	"fails":    call("fails", nil, "function", "message?"),
	"snapshot": call("snapshot", nil, "value", "name?"),
}

// call is a signature; parameters with a question mark may be left out.
func call(name string, result interp.Shape, params ...string) *interp.Signature {
	sig := &interp.Signature{Name: name, Result: result}
	for _, p := range params {
		optional := p[len(p)-1] == '?'
		if optional {
			p = p[:len(p)-1]
		}
		sig.Params = append(sig.Params, interp.Param{Name: p, Required: !optional})
	}
	return sig
}

// shape is one of the values that tests are made of.
type shape struct {
	kind    string
	members map[string]interp.Shape
	call    *interp.Signature
}

var _ interp.Shape = (*shape)(nil)

func (s *shape) Kind() string                 { return s.kind }
func (s *shape) Signature() *interp.Signature { return s.call }
func (s *shape) Members() []string {
	if s.members == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.members))
}

func (s *shape) Member(name string) (interp.Shape, bool) {
	member, ok := s.members[name]
	return member, ok
}
