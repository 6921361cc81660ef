package assertions

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.starlark.net/starlark"

	interp "sst/starlark"
)

// assertModule is the module assert. Each call belongs to the test that is under way in the suite.
func (r *run) assertModule() *module {
	m := &module{name: "assert", members: starlark.StringDict{}}
	for name, check := range map[string]func(*starlark.Thread, string, starlark.Tuple, []starlark.Tuple) error{
		"eq":       r.assertEqual,
		"ne":       r.assertUnequal,
		"true":     r.assertTrue,
		"contains": r.assertContains,
		"matches":  r.assertMatches,
		"fails":    r.assertFails,
		"snapshot": r.assertSnapshot,
	} {
		m.members[name] = starlark.NewBuiltin("assert."+name, func(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			return starlark.None, check(thread, b.Name(), args, kwargs)
		})
	}
	return m
}

func (r *run) assertEqual(_ *starlark.Thread, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	var got, want starlark.Value
	if err := starlark.UnpackArgs(name, args, kwargs, "got", &got, "want", &want); err != nil {
		return err
	}
	same, err := starlark.Equal(got, want)
	if err != nil || same {
		return err
	}
	return failed("Values differ", "%s", difference(got, want))
}

// difference shows where two values differ: in strings of several lines the line, in dicts and lists the places.
func difference(got, want starlark.Value) string {
	if g, ok := starlark.AsString(got); ok {
		if w, ok := starlark.AsString(want); ok && strings.Contains(g+w, "\n") {
			return lineDifference(g, w)
		}
	}
	if found, ok := structuralDifference(got, want); ok {
		return "The values differ:" + list(found)
	}
	return fmt.Sprintf("want %s\ngot  %s", shorten(want.String()), shorten(got.String()))
}

// structuralDifference is that of two values made of what JSON has.
func structuralDifference(got, want starlark.Value) ([]mismatch, bool) {
	g, err := toJSON(got)
	if err != nil {
		return nil, false
	}
	if _, isScalar := want.(starlark.Iterable); !isScalar {
		return nil, false
	}
	found := match("", want, g, true, &sightings{})
	if len(found) == 0 || len(found) == 1 && found[0].path == "" {
		return nil, false
	}
	return found, true
}

func lineDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	at := 0
	for at < len(g) && at < len(w) && g[at] == w[at] {
		at++
	}
	line := func(lines []string) string {
		if at < len(lines) {
			return fmt.Sprintf("%q", shorten(lines[at]))
		}
		return "nothing"
	}
	return fmt.Sprintf("They differ from line %d on:\nwant %s\ngot  %s", at+1, line(w), line(g))
}

func (r *run) assertUnequal(_ *starlark.Thread, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	var got, unwanted starlark.Value
	if err := starlark.UnpackArgs(name, args, kwargs, "got", &got, "unwanted", &unwanted); err != nil {
		return err
	}
	same, err := starlark.Equal(got, unwanted)
	if err != nil || !same {
		return err
	}
	return failed("Values are equal", "Both are %s.", shorten(got.String()))
}

func (r *run) assertTrue(_ *starlark.Thread, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	var value starlark.Value
	message := ""
	if err := starlark.UnpackArgs(name, args, kwargs, "value", &value, "message?", &message); err != nil {
		return err
	}
	if value.Truth() {
		return nil
	}
	if message == "" {
		message = fmt.Sprintf("The value is %s.", shorten(value.String()))
	}
	return failed("Not true", "%s", message)
}

func (r *run) assertContains(thread *starlark.Thread, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	var all, one starlark.Value
	if err := starlark.UnpackArgs(name, args, kwargs, "all", &all, "element", &one); err != nil {
		return err
	}
	text, isText := starlark.AsString(all)
	if part, ok := starlark.AsString(one); isText && ok {
		if strings.Contains(text, part) {
			return nil
		}
		return failed("Not in there", "%s is not in %s.", shorten(one.String()), shorten(all.String()))
	}
	if mapping, ok := all.(starlark.Mapping); ok {
		if _, found, err := mapping.Get(one); err != nil || found {
			return err
		}
		return failed("Not in there", "%s is not a key of %s.", shorten(one.String()), shorten(all.String()))
	}
	elements, ok := all.(starlark.Iterable)
	if !ok {
		f := interp.Errorf("wrong-type", "Wrong type", "%s: want a string, list, set or dict, got %s.", name, all.Type())
		f.Positional = 1
		return f
	}
	for each := range starlark.Elements(elements) {
		if same, err := starlark.Equal(each, one); err != nil || same {
			return err
		}
	}
	return failed("Not in there", "%s is not in %s.", shorten(one.String()), shorten(all.String()))
}

// assertMatches matches a value with a pattern of Match.
func (r *run) assertMatches(_ *starlark.Thread, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	var got, pattern starlark.Value
	if err := starlark.UnpackArgs(name, args, kwargs, "got", &got, "pattern", &pattern); err != nil {
		return err
	}
	value, err := toJSON(got)
	if err != nil {
		f := interp.Errorf("wrong-type", "Wrong type", "%s: %v.", name, err)
		f.Positional = 1
		return f
	}
	seen := &sightings{}
	if found := match("", pattern, value, false, seen); found != nil {
		return failed("Value does not match", "The value differs:%s", list(found))
	}
	seen.keep()
	return nil
}

// assertFails calls a function that has to fail with a message like the pattern.
func (r *run) assertFails(thread *starlark.Thread, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	var fn starlark.Callable
	pattern := ""
	if err := starlark.UnpackArgs(name, args, kwargs, "function", &fn, "message?", &pattern); err != nil {
		return err
	}
	like, err := regexp.Compile(pattern)
	if err != nil {
		f := interp.Errorf("wrong-value", "Not a regular expression", "%s.", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		f.Positional = 2
		return f
	}
	_, err = starlark.Call(thread, fn, nil, nil)
	switch {
	case err == nil:
		return failed("No failure", "The function did not fail.")
	case interp.Context(thread).Err() != nil: // it was stopped
		return err
	}
	if text := message(err); !like.MatchString(text) {
		return failed("Another failure", "The function failed with\n  %s\nwanted one like %q.", strings.ReplaceAll(text, "\n", "\n  "), pattern)
	}
	return nil
}

// message is what a failure says, without its place.
func message(err error) string {
	var parts []string
	for _, d := range interp.ToDiagnostics(err, func(string) ([]byte, error) { return nil, errors.New("no carets are needed") }) {
		text := d.Summary
		for _, more := range []string{d.Detail, d.Hint} {
			if more != "" {
				text += "\n" + more
			}
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "\n")
}
