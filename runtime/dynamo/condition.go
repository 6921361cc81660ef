package dynamo

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// find follows a path; false means that there is nothing.
func (i Item) find(p path) (Value, bool) {
	at := Value{Kind: Map, Map: i}
	for _, s := range p {
		var ok bool
		if at, ok = at.step(s); !ok {
			return Value{}, false
		}
	}
	return at, true
}

// operand gives the value of a path, a literal or size(); false means that there is none.
func (n *node) operand(item Item) (Value, bool) {
	switch n.op {
	case "value":
		return n.value, true
	case "path":
		return item.find(n.path)
	case "size":
		value, ok := n.args[0].operand(item)
		if !ok {
			return Value{}, false
		}
		length := 0
		switch value.Kind {
		case String:
			length = len(utf16.Encode([]rune(value.Text)))
		case Binary:
			length = len(value.Text)
		case Map:
			length = len(value.Map)
		case List, StringSet, NumberSet, BinarySet:
			length = len(value.List)
		default:
			return Value{}, false
		}
		return Value{Kind: Number, Text: strconv.Itoa(length)}, true
	}
	return Value{}, false
}

// holds evaluates a condition; a missing item is an empty one. nil always holds.
func (n *node) holds(item Item) bool {
	if n == nil {
		return true
	}
	switch n.op {
	case "and":
		return n.args[0].holds(item) && n.args[1].holds(item)
	case "or":
		return n.args[0].holds(item) || n.args[1].holds(item)
	case "not":
		return !n.args[0].holds(item)
	case "attribute_exists", "attribute_not_exists":
		_, ok := n.args[0].operand(item)
		return ok == (n.op == "attribute_exists")
	}
	left, ok := n.args[0].operand(item)
	if !ok {
		if n.op == "<>" {
			_, other := n.args[1].operand(item)
			return other
		}
		return false
	}
	rest := make([]Value, 0, len(n.args)-1)
	for _, arg := range n.args[1:] {
		value, ok := arg.operand(item)
		if ok {
			rest = append(rest, value)
		} else if n.op != "in" {
			return n.op == "<>"
		}
	}
	ordered := func(other Value) (int, bool) {
		if left.Kind != other.Kind || !slices.Contains([]Kind{String, Number, Binary}, left.Kind) {
			return 0, false
		}
		return compare(left, other), true
	}
	switch n.op {
	case "=":
		return left.equal(rest[0])
	case "<>":
		return !left.equal(rest[0])
	case "in":
		return slices.ContainsFunc(rest, left.equal)
	case "between":
		low, ok := ordered(rest[0])
		high, also := ordered(rest[1])
		return ok && also && low >= 0 && high <= 0
	case "attribute_type":
		return string(left.Kind) == rest[0].Text
	case "begins_with":
		_, same := ordered(rest[0])
		return same && left.Kind != Number && strings.HasPrefix(left.Text, rest[0].Text)
	case "contains":
		if left.Kind == String || left.Kind == Binary {
			return left.Kind == rest[0].Kind && strings.Contains(left.Text, rest[0].Text)
		}
		return slices.ContainsFunc(left.List, rest[0].equal)
	}
	order, ok := ordered(rest[0])
	switch n.op {
	case "<":
		return ok && order < 0
	case "<=":
		return ok && order <= 0
	case ">":
		return ok && order > 0
	case ">=":
		return ok && order >= 0
	}
	return false
}

// project keeps the paths; elements of lists close ranks. No paths means the whole item.
func (i Item) project(paths []path) Item {
	if paths == nil {
		return i
	}
	got, _ := Value{Kind: Map, Map: i}.project(paths)
	if got.Map == nil {
		return Item{}
	}
	return got.Map
}

func (v Value) project(paths []path) (Value, bool) {
	var firsts []step
	below := map[step][]path{}
	for _, p := range paths {
		if len(p) == 0 {
			return v, true
		}
		if below[p[0]] == nil {
			firsts = append(firsts, p[0])
		}
		below[p[0]] = append(below[p[0]], p[1:])
	}
	slices.SortFunc(firsts, func(a, b step) int { return a.index - b.index })
	out := Value{Kind: v.Kind}
	for _, first := range firsts {
		next, ok := v.step(first)
		if !ok {
			continue
		}
		if next, ok = next.project(below[first]); !ok {
			continue
		}
		if first.index >= 0 {
			out.List = append(out.List, next)
			continue
		}
		if out.Map == nil {
			out.Map = Item{}
		}
		out.Map[first.name] = next
	}
	return out, out.Map != nil || out.List != nil
}

// step goes one step down from v.
func (v Value) step(s step) (Value, bool) {
	if s.index >= 0 {
		if v.Kind != List || s.index >= len(v.List) {
			return Value{}, false
		}
		return v.List[s.index], true
	}
	if v.Kind != Map {
		return Value{}, false
	}
	next, ok := v.Map[s.name]
	return next, ok
}
