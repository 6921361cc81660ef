package dynamo

import (
	"maps"
	"slices"
)

// update applies the actions to an item and gives the new one. Every operand is read from the item as it was.
func (i Item) update(actions []action) (Item, error) {
	out := maps.Clone(i)
	if out == nil {
		out = Item{}
	}
	copied := map[string]bool{} // attributes whose insides belong to out
	var removals []path
	for _, act := range actions {
		if len(act.path) > 1 && !copied[act.path[0].name] {
			if value, ok := out[act.path[0].name]; ok {
				out[act.path[0].name] = value.clone()
			}
			copied[act.path[0].name] = true
		}
		if act.verb == "REMOVE" {
			if _, ok := i.find(act.path[:len(act.path)-1]); len(act.path) > 1 && !ok {
				return nil, invalid("The document path provided in the update expression is invalid for update")
			}
			removals = append(removals, act.path)
			continue
		}
		value, keep, err := act.result(i)
		if err != nil {
			return nil, err
		}
		if !keep {
			removals = append(removals, act.path)
			continue
		}
		if _, err := (Value{Kind: Map, Map: out}).set(act.path, value); err != nil {
			return nil, err
		}
	}
	// The indexes of a list are those of the item as it was: the last goes first.
	slices.SortStableFunc(removals, func(a, b path) int { return b[len(b)-1].index - a[len(a)-1].index })
	for _, p := range removals {
		(Value{Kind: Map, Map: out}).remove(p)
	}
	return out, nil
}

// clone copies lists and maps to the bottom.
func (v Value) clone() Value {
	v.List = slices.Clone(v.List)
	for at := range v.List {
		v.List[at] = v.List[at].clone()
	}
	if v.Map != nil {
		v.Map = maps.Clone(v.Map)
		for name, inner := range v.Map {
			v.Map[name] = inner.clone()
		}
	}
	return v
}

// set puts a value below v, whose maps it changes, and gives v with a list that may have grown.
func (v Value) set(p path, value Value) (Value, error) {
	if len(p) == 0 {
		return value, nil
	}
	first := p[0]
	next, ok := v.step(first)
	if !ok && (len(p) > 1 || v.Kind != Map && first.index < 0 || v.Kind != List && first.index >= 0) {
		return v, invalid("The document path provided in the update expression is invalid for update")
	}
	next, err := next.set(p[1:], value)
	if err != nil {
		return v, err
	}
	switch {
	case first.index < 0:
		v.Map[first.name] = next
	case ok:
		v.List[first.index] = next
	default:
		v.List = append(v.List, next) // beyond the end is the end
	}
	return v, nil
}

// remove deletes below v, when it is there; the element of a list is cut out of the list that its parent holds.
func (v Value) remove(p path) {
	last := p[len(p)-1]
	parent := v
	for _, s := range p[:len(p)-1] {
		var ok bool
		if parent, ok = parent.step(s); !ok {
			return
		}
	}
	if last.index < 0 {
		delete(parent.Map, last.name)
		return
	}
	if _, ok := parent.step(last); !ok {
		return
	}
	shorter := Value{Kind: List, List: slices.Delete(slices.Clone(parent.List), last.index, last.index+1)}
	v.set(p[:len(p)-1], shorter) // the way there was just walked
}

// result is the value that the action leaves at its path; keep is false when nothing is left of a set.
func (act action) result(item Item) (value Value, keep bool, err error) {
	if act.verb == "SET" {
		value, err = act.value.compute(item)
		return value, true, err
	}
	operand := act.value.value
	old, ok := item.find(act.path)
	switch {
	case !ok && act.verb == "ADD":
		return operand, true, nil
	case !ok:
		return Value{}, false, nil
	case old.Kind != operand.Kind:
		return Value{}, false, invalid("An operand in the update expression has an incorrect data type")
	case operand.Kind == Number:
		value, err = sum(old, operand, false)
		return value, true, err
	}
	value = Value{Kind: old.Kind}
	for _, element := range old.List {
		if act.verb == "ADD" || !slices.ContainsFunc(operand.List, element.equal) {
			value.List = append(value.List, element)
		}
	}
	if act.verb == "ADD" {
		for _, element := range operand.List {
			if !slices.ContainsFunc(old.List, element.equal) {
				value.List = append(value.List, element)
			}
		}
		value.sortSet()
	}
	return value, len(value.List) > 0, nil
}

func sum(a, b Value, minus bool) (Value, error) {
	left, err := parseDecimal(a.Text)
	if err != nil {
		return Value{}, err
	}
	right, err := parseDecimal(b.Text)
	if err != nil {
		return Value{}, err
	}
	total, err := left.add(right, minus)
	if err != nil {
		return Value{}, err
	}
	return Value{Kind: Number, Text: total.String()}, nil
}

// compute gives the right side of a SET.
func (n *node) compute(item Item) (Value, error) {
	switch n.op {
	case "value":
		return n.value.clone(), nil // each place has its own: a later action may go into it
	case "if_not_exists":
		if value, ok := n.args[0].operand(item); ok {
			return value.clone(), nil
		}
		return n.args[1].compute(item)
	case "+", "-", "list_append":
		left, err := n.args[0].compute(item)
		if err != nil {
			return Value{}, err
		}
		right, err := n.args[1].compute(item)
		if err != nil {
			return Value{}, err
		}
		want := Number
		if n.op == "list_append" {
			want = List
		}
		if left.Kind != want || right.Kind != want {
			return Value{}, invalid("An operand in the update expression has an incorrect data type")
		}
		if want == List {
			return Value{Kind: List, List: slices.Concat([]Value{}, left.List, right.List)}, nil
		}
		return sum(left, right, n.op == "-")
	}
	value, ok := n.operand(item)
	if !ok {
		return Value{}, invalid("The provided expression refers to an attribute that does not exist in the item")
	}
	return value.clone(), nil
}
