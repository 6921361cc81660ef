package dynamo

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestConditionsAgainstModel builds conditions at random, beside a Go func of the same meaning, and holds the parser and the
// evaluation to it: precedence, parentheses, missing attributes, types that do not compare.
func TestConditionsAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"p", "q", "r"}
	random := func() Value {
		if r.IntN(3) == 0 {
			return Value{Kind: String, Text: string(rune('a' + r.IntN(3)))}
		}
		return Value{Kind: Number, Text: fmt.Sprint(r.IntN(5) - 2)}
	}
	type model func(Item) bool
	for round := range 3000 {
		values := map[string]Value{}
		literal := func() (string, Value) {
			key := fmt.Sprintf(":v%d", len(values))
			values[key] = random()
			return key, values[key]
		}
		var build func(depth int) (string, model, int) // the level: 0 OR, 1 AND, 2 NOT and below
		build = func(depth int) (string, model, int) {
			pick := r.IntN(7)
			if depth == 0 {
				pick = 3 + r.IntN(4)
			}
			part := func(level int) (string, model) {
				text, m, its := build(depth - 1)
				if its < level {
					text = "(" + text + ")"
				}
				return text, m
			}
			name := names[r.IntN(len(names))]
			switch pick {
			case 0:
				a, am := part(0)
				b, bm := part(1)
				return a + " or " + b, func(i Item) bool { return am(i) || bm(i) }, 0
			case 1:
				a, am := part(1)
				b, bm := part(2)
				return a + " AND " + b, func(i Item) bool { return am(i) && bm(i) }, 1
			case 2:
				a, am := part(2)
				return "NOT " + a, func(i Item) bool { return !am(i) }, 2
			case 3:
				return "attribute_exists(" + name + ")", func(i Item) bool { _, ok := i[name]; return ok }, 2
			case 4:
				a, av := literal()
				b, bv := literal()
				return name + " IN (" + a + ", " + b + ")", func(i Item) bool {
					v, ok := i[name]
					return ok && (v.Kind == av.Kind && v.Text == av.Text || v.Kind == bv.Kind && v.Text == bv.Text)
				}, 2
			}
			op := []string{"=", "<>", "<", "<=", ">", ">="}[r.IntN(6)]
			key, want := literal()
			return name + " " + op + " " + key, func(i Item) bool {
				v, ok := i[name]
				if !ok || v.Kind != want.Kind {
					return op == "<>"
				}
				order := strings.Compare(v.Text, want.Text)
				if v.Kind == Number {
					a, _ := new(big.Rat).SetString(v.Text)
					b, _ := new(big.Rat).SetString(want.Text)
					order = a.Cmp(b)
				}
				return map[string]bool{"=": order == 0, "<>": order != 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[op]
			}, 2
		}
		text, want, _ := build(r.IntN(4))
		with := &placeholders{values: values, usedNames: map[string]bool{}, usedKeys: map[string]bool{}}
		condition, err := parseCondition("FilterExpression", text, with)
		if err != nil {
			t.Fatalf("round %d: %s: %v", round, text, err)
		}
		if err := with.unused(); err != nil {
			t.Fatalf("round %d: %s: %v", round, text, err)
		}
		for range 10 {
			item := Item{}
			for _, name := range names {
				if r.IntN(4) > 0 {
					item[name] = random()
				}
			}
			if got := condition.holds(item); got != want(item) {
				t.Fatalf("round %d: %s with %v on %v: got %v", round, text, values, item, got)
			}
		}
	}
}

// TestNumbersAgainstModel: numbers are kept, ordered, encoded as keys and added as exact rationals are.
func TestNumbersAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func() string {
		digits := make([]byte, 1+r.IntN(20))
		for at := range digits {
			digits[at] = byte('0' + r.IntN(10))
		}
		text := string(digits)
		if at := r.IntN(len(text)); r.IntN(2) == 0 {
			text = text[:at] + "." + text[at:]
		}
		if r.IntN(2) == 0 {
			text = "-" + text
		}
		if r.IntN(3) == 0 {
			text += fmt.Sprintf("e%d", r.IntN(14)-7)
		}
		return text
	}
	for range 20_000 {
		a, b := random(), random()
		left, okA := new(big.Rat).SetString(a)
		right, okB := new(big.Rat).SetString(b)
		x, errX := canonicalNumber(a)
		y, errY := canonicalNumber(b)
		if !okA || !okB || errX != nil || errY != nil {
			t.Fatalf("%s, %s: %v %v", a, b, errX, errY)
		}
		if kept, _ := new(big.Rat).SetString(x); kept.Cmp(left) != 0 {
			t.Fatalf("%s is kept as %s", a, x)
		}
		order := left.Cmp(right)
		if got := compareNumbers(x, y); got > 0 != (order > 0) || got < 0 != (order < 0) || (x == y) != (order == 0) {
			t.Fatalf("compareNumbers(%s, %s) = %d, want %d", x, y, got, order)
		}
		one, other := Value{Kind: Number, Text: x}, Value{Kind: Number, Text: y}
		if got := bytes.Compare(appendKey(nil, one), appendKey(nil, other)); got != order {
			t.Fatalf("the keys of %s and %s have the order %d, want %d", x, y, got, order)
		}
		total, err := sum(one, other, true)
		if err != nil {
			continue // more than 38 digits
		}
		if got, _ := new(big.Rat).SetString(total.Text); got.Cmp(new(big.Rat).Sub(left, right)) != 0 {
			t.Fatalf("%s - %s = %s", x, y, total.Text)
		}
	}
}

// TestStoredItems: what is encoded is decoded, and data that is cut is refused, not misread.
func TestStoredItems(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var random func(depth int) Value
	random = func(depth int) Value {
		v := Value{Kind: kinds[r.IntN(len(kinds))]}
		if depth == 0 && (v.Kind == Map || v.Kind == List) {
			v.Kind = String
		}
		switch v.Kind {
		case Number:
			v.Text = fmt.Sprint(r.IntN(1000))
		case Bool:
			v.True = r.IntN(2) == 0
		case Null:
		case Map:
			v.Map = Item{}
			for n := range r.IntN(3) {
				v.Map[fmt.Sprint("k", n)] = random(depth - 1)
			}
		case List:
			for range r.IntN(3) {
				v.List = append(v.List, random(depth-1))
			}
		case StringSet, NumberSet, BinarySet:
			for n := range 1 + r.IntN(3) {
				v.List = append(v.List, Value{Kind: v.Kind.elementKind(), Text: fmt.Sprint(n)})
			}
		default:
			v.Text = strings.Repeat("ä\x00", r.IntN(4))
		}
		return v
	}
	for range 2000 {
		item := Item{"a": random(3), "b": random(3)}
		data := encodeItem(item)
		got, size, err := decodeItem(data)
		if err != nil || size != item.size() || !got.equal(item) {
			t.Fatalf("%v became %v, %d bytes: %v", item, got, size, err)
		}
		if _, _, err := decodeItem(data[:r.IntN(len(data))]); err == nil {
			t.Fatalf("%v was read from a part of it", item)
		}
		var read Value
		wrapped := Value{Kind: Map, Map: item}
		if err := read.UnmarshalJSON(wrapped.appendJSON(nil)); err != nil || !read.equal(wrapped) {
			t.Fatalf("as JSON %v became %v: %v", item, read, err)
		}
	}
}
