package assertions

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	interp "sst/starlark"
)

// absence is the type of missing.
type absence struct{}

// missing stands for a value that is not there.
var missing = absence{}

// mismatch is one place where a value is not as wanted.
type mismatch struct {
	path string // "Properties.RedrivePolicy.maxReceiveCount", "[2]"; "" is the whole
	want string
	got  any // decoded JSON, or missing
}

func (m mismatch) String() string {
	at := m.path
	if at == "" {
		at = "the value"
	}
	return fmt.Sprintf("%s: want %s, got %s", at, m.want, show(m.got))
}

// kind of a matcher; the names are those of the CDK's Match.
type kind int

const (
	absentKind kind = iota
	anyValue
	arrayEquals
	arrayWith
	exactly
	not
	objectEquals
	objectLike
	serializedJSON
	regexpLike
)

var kindNames = map[kind]string{
	absentKind: "absent", anyValue: "any_value", arrayEquals: "array_equals", arrayWith: "array_with", exactly: "exact",
	not: "not_", objectEquals: "object_equals", objectLike: "object_like", serializedJSON: "serialized_json", regexpLike: "string_like_regexp",
}

// matcher is a value of Match: a wish that is not a literal.
type matcher struct {
	kind    kind
	pattern starlark.Value // nil for absent and any_value
	regexp  *regexp.Regexp // of string_like_regexp
}

var _ starlark.Value = (*matcher)(nil)

func (m *matcher) String() string {
	if m.pattern == nil {
		return "Match." + kindNames[m.kind] + "()"
	}
	return fmt.Sprintf("Match.%s(%s)", kindNames[m.kind], m.pattern)
}
func (m *matcher) Type() string         { return "Matcher" }
func (m *matcher) Truth() starlark.Bool { return true }
func (m *matcher) Freeze() {
	if m.pattern != nil {
		m.pattern.Freeze()
	}
}
func (m *matcher) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable type: Matcher") }

// match compares a value with a pattern and gives the places where they differ, none when it matches. A dict matches
// an object that has at least its keys, a list an array of the same length; with exact, a dict has to have all keys.
// Captures keep what they see, in order, in seen: the caller commits it when the whole has matched.
func match(path string, pattern starlark.Value, got any, exact bool, seen *sightings) []mismatch {
	if fits(pattern, got, exact, seen) {
		return nil
	}
	return explain(path, pattern, got, exact)
}

// fits says whether a value matches. That is asked of every resource; why one does not is asked of few.
func fits(pattern starlark.Value, got any, exact bool, seen *sightings) bool {
	switch p := pattern.(type) {
	case *matcher:
		return p.fits(got, exact, seen)
	case *Capture:
		if got == missing || p.pattern != nil && !fits(p.pattern, got, exact, seen) {
			return false
		}
		seen.add(p, got)
		return true
	case starlark.IterableMapping:
		object, ok := got.(map[string]any)
		if !ok {
			return false
		}
		there := 0
		for _, item := range p.Items() {
			key, ok := starlark.AsString(item[0])
			if !ok {
				return false
			}
			value, has := object[key]
			if !has {
				value = missing
			} else {
				there++
			}
			if !fits(item[1], value, exact, seen) {
				return false
			}
		}
		return !exact || there == len(object)
	case *starlark.List, starlark.Tuple:
		array, ok := got.([]any)
		want := p.(starlark.Indexable)
		if !ok || len(array) != want.Len() {
			return false
		}
		for i := range array {
			if !fits(want.Index(i), array[i], exact, seen) {
				return false
			}
		}
		return true
	}
	return sameScalar(pattern, got)
}

// fits of a matcher. Inside of Match.exact and the equals matchers everything is exact, inside of the others nothing.
func (m *matcher) fits(got any, exact bool, seen *sightings) bool {
	switch m.kind {
	case absentKind:
		return got == missing
	case anyValue:
		return got != missing && got != nil
	case not:
		return !fits(m.pattern, got, exact, &sightings{})
	case exactly, objectEquals, arrayEquals:
		return fits(m.pattern, got, true, seen)
	case objectLike:
		return fits(m.pattern, got, false, seen)
	case arrayWith:
		array, ok := got.([]any)
		return ok && m.firstUnmet(array, seen) < 0
	case serializedJSON:
		value, ok := m.serialized(got)
		return ok && fits(m.pattern, value, exact, seen)
	case regexpLike:
		text, ok := got.(string)
		return ok && m.regexp.MatchString(text)
	}
	panic("unknown matcher")
}

// firstUnmet looks for the wanted elements in their order, others may be between them, and gives the index of the first
// that is not there, -1 when all are.
func (m *matcher) firstUnmet(array []any, seen *sightings) int {
	next, want := 0, m.pattern.(starlark.Indexable)
	for i := range want.Len() {
		for found := false; !found; next++ {
			if next == len(array) {
				return i
			}
			trial := &sightings{}
			if found = fits(want.Index(i), array[next], false, trial); found {
				seen.join(trial)
			}
		}
	}
	return -1
}

// serialized is the value that a string holds as JSON.
func (m *matcher) serialized(got any) (any, bool) {
	text, ok := got.(string)
	if !ok {
		return nil, false
	}
	value, err := decode([]byte(text))
	return value, err == nil
}

// explain gives the places where a value that does not match differs from the pattern.
func explain(path string, pattern starlark.Value, got any, exact bool) []mismatch {
	var found []mismatch
	switch p := pattern.(type) {
	case *matcher:
		return p.explain(path, got, exact)
	case *Capture:
		if got != missing && p.pattern != nil {
			return explain(path, p.pattern, got, exact)
		}
		return []mismatch{{path, "a value to capture", got}}
	case starlark.IterableMapping:
		if object, ok := got.(map[string]any); ok {
			found = explainObject(path, p, object, exact)
		}
	case *starlark.List, starlark.Tuple:
		array, ok := got.([]any)
		if want := p.(starlark.Indexable); ok && len(array) == want.Len() {
			for i := range array {
				found = append(found, match(fmt.Sprintf("%s[%d]", path, i), want.Index(i), array[i], exact, &sightings{})...)
			}
		}
	default:
		if want, err := toJSON(pattern); err == nil {
			return []mismatch{{path, show(want), got}}
		}
	}
	if len(found) == 0 {
		found = []mismatch{{path, shorten(pattern.String()), got}}
	}
	return found
}

func explainObject(path string, pattern starlark.IterableMapping, object map[string]any, exact bool) []mismatch {
	var found []mismatch
	wanted := map[string]bool{}
	for _, item := range pattern.Items() {
		key, ok := starlark.AsString(item[0])
		if !ok {
			return []mismatch{{path, fmt.Sprintf("keys that are strings, not %s", item[0]), object}}
		}
		wanted[key] = true
		value, has := object[key]
		if !has {
			value = missing
		}
		found = append(found, match(below(path, key), item[1], value, exact, &sightings{})...)
	}
	if exact {
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if !wanted[key] {
				found = append(found, mismatch{below(path, key), "nothing", object[key]})
			}
		}
	}
	return found
}

func (m *matcher) explain(path string, got any, exact bool) []mismatch {
	want := ""
	switch m.kind {
	case absentKind:
		want = "nothing"
	case anyValue:
		want = "any value"
	case not:
		want = "anything but " + shorten(m.pattern.String())
	case exactly, objectEquals, arrayEquals:
		return explain(path, m.pattern, got, true)
	case objectLike:
		return explain(path, m.pattern, got, false)
	case arrayWith:
		array, ok := got.([]any)
		if !ok {
			want = shorten(m.String())
			break
		}
		element := m.pattern.(starlark.Indexable).Index(m.firstUnmet(array, &sightings{}))
		if nearest := nearestElement(path, element, array); len(nearest) == 1 {
			return nearest // one thing is wrong in one element: that is what to say
		}
		want = "an element that matches " + shorten(element.String())
	case serializedJSON:
		if value, ok := m.serialized(got); ok {
			return explain(path+" (JSON)", m.pattern, value, exact)
		}
		want = "a string that holds JSON"
	case regexpLike:
		want = "a string like " + strconv.Quote(m.regexp.String())
	}
	return []mismatch{{path, want, got}}
}

// nearestElement explains the object in an array that comes nearest to a wanted one; nil when there is none to speak of.
func nearestElement(path string, want starlark.Value, array []any) (nearest []mismatch) {
	for i, each := range array {
		if _, isObject := each.(map[string]any); !isObject {
			continue
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		if found := explain(at, want, each, false); found[0].path != at && (nearest == nil || len(found) < len(nearest)) {
			nearest = found
		}
	}
	return nearest
}

func below(path, key string) string {
	if !plainKey.MatchString(key) {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_:-]+$`)

// sameScalar compares a literal with a JSON value: 30 and 30.0 are the same number, "30" and 30 are not.
func sameScalar(want starlark.Value, got any) bool {
	switch want := want.(type) {
	case starlark.NoneType:
		return got == nil
	case starlark.Bool:
		b, ok := got.(bool)
		return ok && b == bool(want)
	case starlark.String:
		s, ok := got.(string)
		return ok && s == string(want)
	case starlark.Int, starlark.Float:
		n, ok := got.(json.Number)
		if !ok {
			return false
		}
		same, err := starlark.Equal(want, number(n))
		return err == nil && same
	}
	return false
}

// matchModule is the module Match.
func matchModule() *module {
	m := &module{name: "Match", members: starlark.StringDict{}}
	for kind, name := range kindNames {
		m.members[name] = starlark.NewBuiltin("Match."+name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			return newMatcher(b.Name(), kind, args, kwargs)
		})
	}
	return m
}

func newMatcher(name string, kind kind, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	m := &matcher{kind: kind}
	if kind == absentKind || kind == anyValue {
		return m, starlark.UnpackPositionalArgs(name, args, kwargs, 0)
	}
	if err := starlark.UnpackPositionalArgs(name, args, kwargs, 1, &m.pattern); err != nil {
		return nil, err
	}
	wrong := func(want string) (starlark.Value, error) {
		f := interp.Errorf("wrong-type", "Wrong type", "%s: want %s, got %s.", name, want, m.pattern.Type())
		f.Positional = 1
		return nil, f
	}
	switch kind {
	case arrayEquals, arrayWith:
		if _, ok := m.pattern.(starlark.Sequence); !ok {
			return wrong("a list")
		}
		if _, ok := m.pattern.(starlark.Indexable); !ok {
			return wrong("a list")
		}
	case objectEquals, objectLike:
		if _, ok := m.pattern.(starlark.IterableMapping); !ok {
			return wrong("a dict")
		}
	case regexpLike:
		text, ok := starlark.AsString(m.pattern)
		if !ok {
			return wrong("a string")
		}
		var err error
		if m.regexp, err = regexp.Compile(text); err != nil {
			f := interp.Errorf("wrong-value", "Not a regular expression", "%s.", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			f.Positional = 1
			return nil, f
		}
	}
	return m, nil
}

// module is a Starlark module whose unknown members are told with the nearest.
type module struct {
	name    string
	members starlark.StringDict
}

var _ starlark.HasAttrs = (*module)(nil)

func (m *module) String() string        { return "<module " + m.name + ">" }
func (m *module) Type() string          { return "module" }
func (m *module) Freeze()               {}
func (m *module) Truth() starlark.Bool  { return true }
func (m *module) Hash() (uint32, error) { return starlark.String(m.name).Hash() }
func (m *module) AttrNames() []string   { return m.members.Keys() }
func (m *module) Attr(name string) (starlark.Value, error) {
	return attr(m.name, name, m.members)
}
