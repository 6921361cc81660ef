package queues

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
)

// Pattern is an event pattern of EventBridge, which filters of event source mappings and filter policies of SNS are as
// well: an object of fields, each with a list of values or conditions.
type Pattern map[string]any

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	var p Pattern
	if err := decode([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	return p, nil
}

func decode(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(to)
}

// conditions are the names of what a condition may be.
var conditions = []string{"prefix", "suffix", "anything-but", "numeric", "exists", "equals-ignore-case", "wildcard", "cidr"}

func (p Pattern) check() error {
	for name, value := range p {
		switch v := value.(type) {
		case map[string]any:
			if err := Pattern(v).check(); err != nil {
				return err
			}
		case []any:
			for _, each := range v {
				condition, ok := each.(map[string]any)
				if !ok {
					continue
				}
				if name == "$or" {
					if err := Pattern(condition).check(); err != nil {
						return err
					}
					continue
				}
				for kind := range condition {
					if len(condition) != 1 || !slices.Contains(conditions, kind) {
						return fmt.Errorf("%q: a condition is one of %s", name, strings.Join(conditions, ", "))
					}
				}
			}
		default:
			return fmt.Errorf("%q: want a list of values", name)
		}
	}
	return nil
}

// MatchesJSON says whether an event fits.
func (p Pattern) MatchesJSON(event []byte) bool {
	var v any
	return decode(event, &v) == nil && p.Matches(v)
}

// Matches says whether an event fits; its numbers are json.Number.
func (p Pattern) Matches(event any) bool {
	if list, ok := event.([]any); ok { // of objects: one has to fit
		return slices.ContainsFunc(list, p.Matches)
	}
	object, _ := event.(map[string]any)
	for name, wanted := range p {
		if name == "$or" {
			ways, _ := wanted.([]any)
			if !slices.ContainsFunc(ways, func(way any) bool {
				other, ok := way.(map[string]any)
				return ok && Pattern(other).Matches(event)
			}) {
				return false
			}
			continue
		}
		value, there := object[name]
		switch w := wanted.(type) {
		case map[string]any:
			if !Pattern(w).Matches(value) {
				return false
			}
		case []any:
			if !slices.ContainsFunc(w, func(each any) bool { return fits(each, value, there) }) {
				return false
			}
		}
	}
	return true
}

// fits says whether a value is one that a list of a pattern names. A list fits when one of its values does.
func fits(wanted, value any, there bool) bool {
	condition, isCondition := wanted.(map[string]any)
	if exists, ok := condition["exists"].(bool); ok {
		_, leaf := value.(map[string]any)
		return there && !leaf == exists || !there && !exists
	}
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, func(each any) bool { return fits(wanted, each, true) })
	}
	if !there {
		return false
	}
	if !isCondition {
		return equal(wanted, value)
	}
	for kind, argument := range condition {
		return met(kind, argument, value)
	}
	return false
}

func equal(wanted, value any) bool {
	x, okX := number(wanted)
	y, okY := number(value)
	if okX && okY {
		return x.Cmp(y) == 0
	}
	switch wanted.(type) {
	case string, bool, nil:
		return wanted == value
	}
	return false
}

func number(value any) (*big.Rat, bool) {
	n, ok := value.(json.Number)
	if !ok || len(n) > 40 { // an exponent without bound would make it endless
		return nil, false
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(n.String()), "e"); ok && len(strings.TrimLeft(exponent, "+-0")) > 3 {
		return nil, false
	}
	return new(big.Rat).SetString(n.String())
}

// met evaluates one condition.
func met(kind string, argument, value any) bool {
	text, isText := value.(string)
	want, _ := argument.(string)
	switch kind {
	case "prefix", "suffix", "equals-ignore-case":
		if nested, ok := argument.(map[string]any); ok { // {"prefix": {"equals-ignore-case": "a"}}
			want, _ = nested["equals-ignore-case"].(string)
			want, text = strings.ToLower(want), strings.ToLower(text)
		}
		switch {
		case !isText:
			return false
		case kind == "prefix":
			return strings.HasPrefix(text, want)
		case kind == "suffix":
			return strings.HasSuffix(text, want)
		}
		return strings.EqualFold(text, want)
	case "wildcard":
		return isText && wild(want, text)
	case "cidr":
		network, err := netip.ParsePrefix(want)
		address, errAddress := netip.ParseAddr(text)
		return err == nil && errAddress == nil && network.Contains(address)
	case "numeric":
		list, _ := argument.([]any)
		return compares(list, value)
	case "anything-but":
		return !butMatches(argument, value)
	}
	return false
}

// butMatches says whether a value is what anything-but names.
func butMatches(argument, value any) bool {
	switch a := argument.(type) {
	case []any:
		return slices.ContainsFunc(a, func(each any) bool { return equal(each, value) })
	case map[string]any:
		for kind, inner := range a {
			if list, ok := inner.([]any); ok {
				return slices.ContainsFunc(list, func(each any) bool { return met(kind, each, value) })
			}
			return met(kind, inner, value)
		}
	}
	return equal(argument, value)
}

// compares evaluates [">", 0, "<=", 5].
func compares(list []any, value any) bool {
	n, ok := number(value)
	if !ok {
		return false
	}
	for i := 0; i+1 < len(list); i += 2 {
		limit, ok := number(list[i+1])
		if !ok {
			return false
		}
		c := n.Cmp(limit)
		switch list[i] {
		case "=":
			ok = c == 0
		case "<":
			ok = c < 0
		case "<=":
			ok = c <= 0
		case ">":
			ok = c > 0
		case ">=":
			ok = c >= 0
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

// wild matches *, which stands for any text.
func wild(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
