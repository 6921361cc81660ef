package builtins

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

// unit is a kind of quantity: what texts mean, what a bare number means, and which CDK class holds it.
type unit struct {
	fqn     string
	bare    string // unit of a number: "seconds"
	example string
	words   []unitWord
}

// unitWord is a word for a unit: its size in the smallest one, and the static of the CDK class.
type unitWord struct {
	word   string // without plural s
	size   float64
	static string
	scale  float64 // of the number given to the static
}

var durations = &unit{durationFQN, "second", `"10 seconds"`, []unitWord{
	{"millisecond", 1, "millis", 1},
	{"second", 1000, "seconds", 1},
	{"minute", 60_000, "minutes", 1},
	{"hour", 3_600_000, "hours", 1},
	{"day", 86_400_000, "days", 1},
	{"week", 7 * 86_400_000, "days", 7},
}}

var sizes = &unit{sizeFQN, "MB", `"1 GB"`, []unitWord{
	{"byte", 1, "bytes", 1},
	{"KB", 1 << 10, "kibibytes", 1},
	{"KiB", 1 << 10, "kibibytes", 1},
	{"MB", 1 << 20, "mebibytes", 1},
	{"MiB", 1 << 20, "mebibytes", 1},
	{"GB", 1 << 30, "gibibytes", 1},
	{"GiB", 1 << 30, "gibibytes", 1},
	{"TB", 1 << 40, "tebibytes", 1},
	{"TiB", 1 << 40, "tebibytes", 1},
}}

func (u *unit) find(word string) (unitWord, bool) {
	for _, w := range u.words {
		if strings.EqualFold(w.word, word) || strings.EqualFold(w.word, strings.TrimSuffix(strings.ToLower(word), "s")) {
			return w, true
		}
	}
	return unitWord{}, false
}

// parse reads "10 seconds" or a number. ok is false for values of other types; problem says what is wrong with a text.
func (u *unit) parse(v starlark.Value) (n float64, w unitWord, ok bool, problem string) {
	switch v := v.(type) {
	case starlark.Int, starlark.Float:
		value, _ := starlark.AsFloat(v)
		w, _ = u.find(u.bare)
		if value < 0 || math.IsInf(value, 0) || math.IsNaN(value) {
			return 0, w, true, fmt.Sprintf("%v is negative or not finite.", v)
		}
		return value, w, true, ""
	case starlark.String:
		n, w, problem := u.read(string(v))
		return n, w, true, problem
	}
	return 0, w, false, ""
}

// read reads "10 seconds".
func (u *unit) read(text string) (n float64, w unitWord, problem string) {
	trimmed := strings.TrimSpace(text)
	rest := strings.TrimLeft(trimmed, "0123456789.")
	w, known := u.find(strings.TrimSpace(rest))
	n, err := strconv.ParseFloat(trimmed[:len(trimmed)-len(rest)], 64)
	if err == nil && known {
		return n, w, ""
	}
	var names []string
	for _, w := range u.words {
		if !strings.HasSuffix(w.word, "iB") {
			names = append(names, w.word)
		}
	}
	return 0, w, fmt.Sprintf("%q is not understood: write a number and a unit, like %s (%s).", text, u.example, strings.Join(names, ", "))
}

// unit converts a text or number to the CDK's own Duration or Size.
func (c *conversion) unit(v starlark.Value, ref jsii.TypeRef, u *unit) (jsii.Value, error) {
	if token, ok := v.(numberToken); ok {
		w, _ := u.find(u.bare)
		return c.s.quantity(u, token.value, w.static), nil
	}
	n, w, ok, problem := u.parse(v)
	if !ok {
		return nil, c.wrong(v, ref)
	}
	if problem != "" {
		return nil, c.fail("wrong-unit", "Wrong unit", v, "%s", problem)
	}
	static := w.static
	n *= w.scale
	if n != math.Trunc(n) { // "1.5 hours": in the smallest unit
		n = math.Round(n / w.scale * w.size)
		static = u.words[0].static
		if u == durations && math.Mod(n, 1000) == 0 {
			n, static = n/1000, "seconds"
		}
	}
	return c.s.quantity(u, n, static), nil
}

// quantity makes a Duration or Size, once for each value.
func (s *session) quantity(u *unit, n float64, static string) jsii.Ref {
	key := fmt.Sprintf("%s %v", static, n)
	if o, ok := s.durations[key]; ok {
		return jsii.Ref{ID: o.id}
	}
	t, _ := s.catalog.Type(u.fqn)
	o := &Object{s: s, id: s.id(), t: t}
	s.durations[key] = o
	s.send(jsii.Op{Kind: jsii.Static, ID: o.id, FQN: u.fqn, Member: static, Args: []jsii.Value{n},
		Returns: jsii.TypeRef{Kind: jsii.Named, FQN: u.fqn}, Tag: s.at(nil)})
	return jsii.Ref{ID: o.id}
}

// amount gives v in a unit: a text or number, or the CDK's own object, whose method is asked.
func (s *session) amount(what string, v starlark.Value, u *unit, word, method string) (starlark.Value, error) {
	if o := asObject(v); o != nil && o.is(u.fqn) {
		return s.run(jsii.Op{Kind: jsii.Invoke, Target: o.id, Member: method, Returns: jsii.TypeRef{Kind: jsii.Number}, Tag: s.at(nil)}, false)
	}
	if token, ok := v.(numberToken); ok {
		return token, nil
	}
	n, w, ok, problem := u.parse(v)
	if ok && problem == "" {
		target, _ := u.find(word)
		n = n * w.size / target.size
		if n == math.Trunc(n) {
			return starlark.MakeInt64(int64(n)), nil
		}
		problem = fmt.Sprintf("%s is not a whole number of %ss.", v, word)
	}
	if !ok {
		problem = fmt.Sprintf("got %s, want a number of %s or a text like %s.", shown(v), plural(u.bare), u.example)
	}
	f := interp.Errorf("wrong-unit", "Wrong unit", "%s", problem)
	if what != "" {
		f.Detail = what + ": " + problem
	}
	f.Keyword = what
	if text, isText := v.(starlark.String); isText {
		f.Value = string(text)
	}
	return nil, f
}

func plural(word string) string {
	if word == "MB" {
		return word
	}
	return word + "s"
}
