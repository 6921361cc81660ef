package assertions

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	interp "sst/starlark"
	"sst/starlark/diag"
)

// Stack is a synthesized stack as the caller knows it.
type Stack struct {
	Name     string // "prod-notes-web"
	Short    string // "web", as stacks.star has it
	Template []byte // JSON
	// Normalize gives the template without what changes with the code of functions; nil leaves it as it is.
	Normalize func([]byte) []byte
	// Position is the line that made a resource; the zero Position when it is not known.
	Position func(logicalID string) diag.Position
}

// Template is a synthesized template. Its methods are those of Template in the CDK's assertions module.
type Template struct {
	stack  Stack
	whole  map[string]any
	byType map[string][]string // logical ids, sorted
}

var _ starlark.HasAttrs = (*Template)(nil)

func newTemplate(stack Stack) (*Template, error) {
	value, err := decode(stack.Template)
	if err != nil {
		return nil, fmt.Errorf("template of %s: %w", stack.Name, err)
	}
	whole, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("template of %s is not a JSON object", stack.Name)
	}
	t := &Template{stack: stack, whole: whole, byType: map[string][]string{}}
	resources := t.section("Resources")
	for _, id := range slices.Sorted(maps.Keys(resources)) {
		kind := resourceType(resources[id])
		t.byType[kind] = append(t.byType[kind], id)
	}
	return t, nil
}

func resourceType(resource any) string {
	object, _ := resource.(map[string]any)
	kind, _ := object["Type"].(string)
	return kind
}

func (t *Template) String() string        { return fmt.Sprintf("<Template %s>", t.stack.Short) }
func (t *Template) Type() string          { return "Template" }
func (t *Template) Freeze()               {}
func (t *Template) Truth() starlark.Bool  { return true }
func (t *Template) Hash() (uint32, error) { return starlark.String(t.stack.Name).Hash() }

// section is a part of the template, empty when it has none.
func (t *Template) section(name string) map[string]any {
	object, _ := t.whole[name].(map[string]any)
	return object
}

// normalized is the template as snapshots have it.
func (t *Template) normalized() (any, error) {
	if t.stack.Normalize == nil {
		return t.whole, nil
	}
	return decode(t.stack.Normalize(t.stack.Template))
}

// AttrNames are the methods, sorted.
func (t *Template) AttrNames() []string { return slices.Sorted(maps.Keys(templateMethods)) }

// Attr gives a method.
func (t *Template) Attr(name string) (starlark.Value, error) {
	if method := templateMethods[name]; method != nil {
		return starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			return method(t, b.Name(), args, kwargs)
		}), nil
	}
	return attr("Template", name, templateMembers())
}

func templateMembers() starlark.StringDict {
	names := starlark.StringDict{}
	for name := range templateMethods {
		names[name] = nil
	}
	return names
}

// attr gives a member, or an error with the nearest name.
func attr(of, name string, members starlark.StringDict) (starlark.Value, error) {
	if v := members[name]; v != nil {
		return v, nil
	}
	f := interp.Errorf("unknown-attribute", "Unknown attribute", "%s has no %q.", of, name)
	if near := diag.Nearest(name, members.Keys()); near != "" {
		f.Hint = fmt.Sprintf("Did you mean %q?", near)
	}
	return nil, f
}

type templateMethod func(t *Template, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)

var templateMethods map[string]templateMethod

func init() { // Attr refers to the table
	templateMethods = map[string]templateMethod{
		"to_json":                      (*Template).toJSON,
		"template_matches":             (*Template).matches,
		"has_resource":                 (*Template).hasResource,
		"has_resource_properties":      (*Template).hasResourceProperties,
		"all_resources":                (*Template).allResources,
		"all_resources_properties":     (*Template).allResourcesProperties,
		"find_resources":               (*Template).findResources,
		"resource_count_is":            (*Template).resourceCountIs,
		"resource_properties_count_is": (*Template).resourcePropertiesCountIs,
		"has_output":                   entries{"Outputs", "output"}.has,
		"find_outputs":                 entries{"Outputs", "output"}.find,
		"has_parameter":                entries{"Parameters", "parameter"}.has,
		"find_parameters":              entries{"Parameters", "parameter"}.find,
		"has_mapping":                  entries{"Mappings", "mapping"}.has,
		"find_mappings":                entries{"Mappings", "mapping"}.find,
		"has_condition":                entries{"Conditions", "condition"}.has,
		"find_conditions":              entries{"Conditions", "condition"}.find,
	}
}

func (t *Template) toJSON(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackPositionalArgs(name, args, kwargs, 0); err != nil {
		return nil, err
	}
	return toStarlark(t.whole), nil
}

func (t *Template) matches(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var expected starlark.Value
	if err := starlark.UnpackArgs(name, args, kwargs, "expected", &expected); err != nil {
		return nil, err
	}
	seen := &sightings{}
	if found := match("", expected, t.whole, false, seen); found != nil {
		return nil, failed("Template is not as wanted", "The template of %s differs:%s", t.stack.Short, list(found))
	}
	seen.keep()
	return starlark.None, nil
}

// wish is what the arguments of a resource assertion say.
type wish struct {
	kind    string
	pattern starlark.Value // nil: any
	count   int
	part    func(resource any) any // what of the resource the pattern is of
	at      string                 // the name of that part in paths
}

func whole(resource any) any { return resource }

func properties(resource any) any {
	object, _ := resource.(map[string]any)
	if p, ok := object["Properties"]; ok {
		return p
	}
	return map[string]any{} // as CloudFormation reads it
}

// tally sorts the resources of the wanted type into those that match and those that do not.
func (t *Template) tally(w wish) (matched, others []string, seen *sightings) {
	seen = &sightings{}
	resources := t.section("Resources")
	for _, id := range t.byType[w.kind] {
		trial := &sightings{}
		if w.pattern != nil && !fits(w.pattern, w.part(resources[id]), false, trial) {
			others = append(others, id)
			continue
		}
		matched = append(matched, id)
		seen.join(trial)
	}
	return matched, others, seen
}

// explain tells why a resource does not match.
func (t *Template) explain(w wish, id string) []mismatch {
	return explain(w.at, w.pattern, w.part(t.section("Resources")[id]), false)
}

func (t *Template) hasResource(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return t.has(wish{part: whole}, name, args, kwargs)
}

func (t *Template) hasResourceProperties(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return t.has(wish{part: properties, at: "Properties"}, name, args, kwargs)
}

func (t *Template) has(w wish, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs(name, args, kwargs, "type", &w.kind, "props", &w.pattern); err != nil {
		return nil, err
	}
	matched, others, seen := t.tally(w)
	if matched == nil {
		return nil, t.noneMatches(w, others)
	}
	seen.keep()
	return starlark.None, nil
}

// noneMatches tells of the resource that came nearest.
func (t *Template) noneMatches(w wish, others []string) error {
	if len(others) == 0 {
		return t.noneOfType(w.kind)
	}
	nearest, differences := "", []mismatch(nil)
	for _, id := range others {
		if found := t.explain(w, id); nearest == "" || len(found) < len(differences) {
			nearest, differences = id, found
		}
	}
	if len(others) == 1 {
		return failed("No resource matches", "The only %s of stack %s, %s, differs:%s", w.kind, t.stack.Short, t.place(nearest), list(differences))
	}
	return failed("No resource matches", "None of the %d %s of stack %s matches. The nearest is %s:%s",
		len(others), w.kind, t.stack.Short, t.place(nearest), list(differences))
}

func (t *Template) noneOfType(kind string) error {
	f := interp.Errorf("assertion", "No such resource", "Stack %s has no %s.", t.stack.Short, kind)
	if near := diag.Nearest(kind, slices.Collect(maps.Keys(t.byType))); near != "" && near != kind {
		f.Hint = fmt.Sprintf("Did you mean %q?", near)
	}
	return f
}

// place is a resource with the line that made it.
func (t *Template) place(id string) string {
	if t.stack.Position != nil {
		if at := t.stack.Position(id); at.IsValid() {
			return fmt.Sprintf("%s (%s)", id, at)
		}
	}
	return id
}

func (t *Template) allResources(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return t.all(wish{part: whole}, name, args, kwargs)
}

func (t *Template) allResourcesProperties(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return t.all(wish{part: properties, at: "Properties"}, name, args, kwargs)
}

func (t *Template) all(w wish, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs(name, args, kwargs, "type", &w.kind, "props", &w.pattern); err != nil {
		return nil, err
	}
	matched, others, seen := t.tally(w)
	if len(matched)+len(others) == 0 {
		return nil, t.noneOfType(w.kind)
	}
	if len(others) > 0 {
		var each strings.Builder
		for _, id := range others {
			fmt.Fprintf(&each, "\n%s%s", t.place(id), list(t.explain(w, id)))
		}
		return nil, failed("Not all resources match", "%d of the %d %s of stack %s do not match:%s", len(others), len(t.byType[w.kind]), w.kind, t.stack.Short, each.String())
	}
	seen.keep()
	return starlark.None, nil
}

func (t *Template) findResources(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	w := wish{part: whole}
	if err := starlark.UnpackArgs(name, args, kwargs, "type", &w.kind, "props?", &w.pattern); err != nil {
		return nil, err
	}
	matched, _, seen := t.tally(w)
	seen.keep()
	return pick(t.section("Resources"), matched), nil
}

func pick(from map[string]any, names []string) starlark.Value {
	dict := starlark.NewDict(len(names))
	for _, name := range names {
		dict.SetKey(starlark.String(name), toStarlark(from[name]))
	}
	return dict
}

func (t *Template) resourceCountIs(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	w := wish{part: whole}
	if err := starlark.UnpackArgs(name, args, kwargs, "type", &w.kind, "count", &w.count); err != nil {
		return nil, err
	}
	return t.countIs(w)
}

func (t *Template) resourcePropertiesCountIs(name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	w := wish{part: properties, at: "Properties"}
	if err := starlark.UnpackArgs(name, args, kwargs, "type", &w.kind, "props", &w.pattern, "count", &w.count); err != nil {
		return nil, err
	}
	return t.countIs(w)
}

func (t *Template) countIs(w wish) (starlark.Value, error) {
	matched, others, seen := t.tally(w)
	if len(matched) == w.count {
		seen.keep()
		return starlark.None, nil
	}
	if len(matched) == 0 {
		return nil, t.noneMatches(w, others)
	}
	var each strings.Builder
	for _, id := range matched {
		fmt.Fprintf(&each, "\n  %s", t.place(id))
	}
	return nil, failed("Another number of resources", "Stack %s has %d %s, wanted %d:%s", t.stack.Short, len(matched), w.kind, w.count, each.String())
}

// entries are the assertions on a section whose entries have names: outputs, parameters, mappings, conditions.
type entries struct{ section, noun string }

// has checks that the entry of a name, or any with "*", matches.
func (e entries) has(t *Template, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	id, pattern, err := e.arguments(name, args, kwargs)
	if err != nil {
		return nil, err
	}
	section := t.section(e.section)
	matched, differences, seen := e.tally(section, id, pattern)
	switch {
	case matched != nil:
		seen.keep()
		return starlark.None, nil
	case len(differences) == 0:
		f := interp.Errorf("assertion", "No such "+e.noun, "Stack %s has no %s %q.", t.stack.Short, e.noun, id)
		if id == "*" {
			f.Detail = fmt.Sprintf("Stack %s has no %ss.", t.stack.Short, e.noun)
		} else if near := diag.Nearest(id, slices.Collect(maps.Keys(section))); near != "" {
			f.Hint = fmt.Sprintf("Did you mean %q?", near)
		}
		return nil, f
	}
	nearest := ""
	for _, each := range slices.Sorted(maps.Keys(differences)) {
		if nearest == "" || len(differences[each]) < len(differences[nearest]) {
			nearest = each
		}
	}
	return nil, failed("No "+e.noun+" matches", "The nearest in %s is %s:%s", t.stack.Short, nearest, list(differences[nearest]))
}

func (e entries) find(t *Template, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	id, pattern, err := e.arguments(name, args, kwargs)
	if err != nil {
		return nil, err
	}
	section := t.section(e.section)
	matched, _, seen := e.tally(section, id, pattern)
	seen.keep()
	return pick(section, matched), nil
}

func (e entries) arguments(name string, args starlark.Tuple, kwargs []starlark.Tuple) (id string, pattern starlark.Value, err error) {
	err = starlark.UnpackArgs(name, args, kwargs, "logical_id", &id, "props?", &pattern)
	return id, pattern, err
}

func (e entries) tally(section map[string]any, id string, pattern starlark.Value) (matched []string, differences map[string][]mismatch, seen *sightings) {
	differences, seen = map[string][]mismatch{}, &sightings{}
	for _, each := range slices.Sorted(maps.Keys(section)) {
		if id != "*" && id != each {
			continue
		}
		trial := &sightings{}
		if pattern != nil {
			if found := match("", pattern, section[each], false, trial); found != nil {
				differences[each] = found
				continue
			}
		}
		matched = append(matched, each)
		seen.join(trial)
	}
	return matched, differences, seen
}

// shownDifferences is how many places a message lists.
const shownDifferences = 12

// list shows differences, one a line.
func list(differences []mismatch) string {
	var b strings.Builder
	for i, each := range differences {
		if i == shownDifferences {
			fmt.Fprintf(&b, "\n  and %d more", len(differences)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s", each)
	}
	return b.String()
}

// failed is an assertion that does not hold.
func failed(summary, format string, args ...any) *interp.Failure {
	return interp.Errorf("assertion", summary, format, args...)
}

// indented is JSON for people and for snapshots: sorted keys, two spaces.
func indented(value any) (string, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(value)
	return b.String(), err
}
