package dynamo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Kind is a data type by DynamoDB's own name for it.
type Kind string

// The data types.
const (
	String    Kind = "S"
	Number    Kind = "N"
	Binary    Kind = "B"
	Bool      Kind = "BOOL"
	Null      Kind = "NULL"
	Map       Kind = "M"
	List      Kind = "L"
	StringSet Kind = "SS"
	NumberSet Kind = "NS"
	BinarySet Kind = "BS"
)

// A Value is one attribute value. Values are not changed once they are made: an update makes new ones.
type Value struct {
	Kind Kind
	Text string // of a String, a Number (canonical), or the bytes of a Binary
	True bool   // of a Bool
	List []Value
	Map  Item
}

// An Item is a row of a table, or the inside of a Map.
type Item map[string]Value

const maxDepth = 32

// elementKind is the type of a set's elements, or "" for what is no set.
func (k Kind) elementKind() Kind {
	switch k {
	case StringSet, NumberSet, BinarySet:
		return k[:1]
	}
	return ""
}

// UnmarshalJSON reads {"S": "text"} and its like. Errors are those of the API.
func (v *Value) UnmarshalJSON(data []byte) error {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return serialization("Start of structure or map found where not expected")
	}
	for kind := range parts {
		switch Kind(kind) {
		case String, Number, Binary, Bool, Null, Map, List, StringSet, NumberSet, BinarySet:
		default:
			delete(parts, kind)
		}
	}
	switch len(parts) {
	case 0:
		return invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	case 1:
	default:
		return invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
	for kind, raw := range parts {
		v.Kind = Kind(kind)
		return v.read(raw)
	}
	return nil
}

func (v *Value) read(raw []byte) error {
	wrong := func(err error) error {
		if err == nil {
			return nil
		}
		if told, ok := err.(*apiError); ok {
			return told
		}
		return serialization("The value of type %s in an AttributeValue cannot be read", v.Kind)
	}
	switch v.Kind {
	case Bool:
		return wrong(json.Unmarshal(raw, &v.True))
	case Null:
		var yes bool
		if err := json.Unmarshal(raw, &yes); err != nil {
			return wrong(err)
		}
		if !yes {
			return invalid("One or more parameter values were invalid: Null attribute value types must have the value of true")
		}
		return nil
	case Map:
		v.Map = Item{}
		return wrong(json.Unmarshal(raw, &v.Map))
	case List:
		v.List = []Value{}
		return wrong(json.Unmarshal(raw, &v.List))
	case StringSet, NumberSet, BinarySet:
		var texts []string
		if err := json.Unmarshal(raw, &texts); err != nil {
			return wrong(err)
		}
		return v.readSet(texts)
	}
	if err := json.Unmarshal(raw, &v.Text); err != nil {
		return wrong(err)
	}
	return v.normalize()
}

// normalize turns what stands in a request into the form that is compared and stored.
func (v *Value) normalize() (err error) {
	switch v.Kind {
	case Number:
		v.Text, err = canonicalNumber(v.Text)
	case Binary:
		var decoded []byte
		if decoded, err = base64.StdEncoding.DecodeString(v.Text); err != nil {
			return serialization("A binary value is not base64")
		}
		v.Text = string(decoded)
	}
	return err
}

func (v *Value) readSet(texts []string) error {
	if len(texts) == 0 {
		switch v.Kind {
		case BinarySet:
			return invalid("One or more parameter values were invalid: Binary sets should not be empty")
		case NumberSet:
			return invalid("One or more parameter values were invalid: An number set  may not be empty")
		}
		return invalid("One or more parameter values were invalid: An string set  may not be empty")
	}
	seen := map[string]bool{}
	for _, text := range texts {
		element := Value{Kind: v.Kind.elementKind(), Text: text}
		if err := element.normalize(); err != nil {
			return err
		}
		if seen[element.Text] {
			if v.Kind == NumberSet {
				return invalid("Input collection contains duplicates")
			}
			return invalid("One or more parameter values were invalid: Input collection [%s]%s contains duplicates.", strings.Join(texts, ", "),
				map[Kind]string{BinarySet: "of type BS"}[v.Kind])
		}
		seen[element.Text] = true
		v.List = append(v.List, element)
	}
	v.sortSet()
	return nil
}

// sortSet gives sets one order, so that answers are the same on every run.
func (v *Value) sortSet() { slices.SortFunc(v.List, compare) }

// compare orders two scalars of one type.
func compare(a, b Value) int {
	if a.Kind == Number {
		return compareNumbers(a.Text, b.Text)
	}
	return strings.Compare(a.Text, b.Text)
}

// MarshalJSON writes the value as the API does.
func (v Value) MarshalJSON() ([]byte, error) { return v.appendJSON(nil), nil }

// MarshalJSON writes the attributes in the order of their names.
func (i Item) MarshalJSON() ([]byte, error) { return i.appendJSON(nil), nil }

func (i Item) appendJSON(out []byte) []byte {
	if i == nil {
		return append(out, "null"...)
	}
	var few [16]string
	names := few[:0]
	for name := range i {
		names = append(names, name)
	}
	slices.Sort(names)
	out = append(out, '{')
	for at, name := range names {
		if at > 0 {
			out = append(out, ',')
		}
		out = append(appendText(out, name), ':')
		out = i[name].appendJSON(out)
	}
	return append(out, '}')
}

func (v Value) appendJSON(out []byte) []byte {
	out = append(out, '{', '"')
	out = append(append(out, v.Kind...), '"', ':')
	switch v.Kind {
	case Bool:
		out = append(out, map[bool]string{true: "true", false: "false"}[v.True]...)
	case Null:
		out = append(out, "true"...)
	case Map:
		out = v.Map.appendJSON(out)
	case List:
		out = append(out, '[')
		for at, element := range v.List {
			if at > 0 {
				out = append(out, ',')
			}
			out = element.appendJSON(out)
		}
		out = append(out, ']')
	case StringSet, NumberSet, BinarySet:
		out = append(out, '[')
		for at, element := range v.List {
			if at > 0 {
				out = append(out, ',')
			}
			out = element.appendScalar(out)
		}
		out = append(out, ']')
	default:
		out = v.appendScalar(out)
	}
	return append(out, '}')
}

func (v Value) appendScalar(out []byte) []byte {
	if v.Kind == Binary {
		out = append(out, '"')
		out = base64.StdEncoding.AppendEncode(out, []byte(v.Text))
		return append(out, '"')
	}
	return appendText(out, v.Text)
}

// appendText is a JSON string; most need no escapes.
func appendText(out []byte, text string) []byte {
	for _, c := range []byte(text) {
		if c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			var quoted bytes.Buffer
			encoder := json.NewEncoder(&quoted)
			encoder.SetEscapeHTML(false)
			encoder.Encode(text) // strings always encode
			return append(out, bytes.TrimRight(quoted.Bytes(), "\n")...)
		}
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"')
}

// equal compares by DynamoDB's rules: sets and maps without order, numbers by value.
func (v Value) equal(other Value) bool {
	if v.Kind != other.Kind || v.Text != other.Text || v.True != other.True || len(v.List) != len(other.List) || len(v.Map) != len(other.Map) {
		return false
	}
	for at := range v.List { // sets are sorted
		if !v.List[at].equal(other.List[at]) {
			return false
		}
	}
	return v.Map.equal(other.Map)
}

func (i Item) equal(other Item) bool {
	if len(i) != len(other) {
		return false
	}
	for name, value := range i {
		if its, ok := other[name]; !ok || !value.equal(its) {
			return false
		}
	}
	return true
}

// size counts as the 400 KB limit and the capacity units do.
func (i Item) size() int {
	total := 0
	for name, value := range i {
		total += len(name) + value.size()
	}
	return total
}

func (v Value) size() int {
	switch v.Kind {
	case Number:
		return numberSize(v.Text)
	case Bool, Null:
		return 1
	case Map:
		return 3 + len(v.Map) + v.Map.size()
	case List:
		total := 3 + len(v.List)
		for _, element := range v.List {
			total += element.size()
		}
		return total
	case StringSet, NumberSet, BinarySet:
		total := 0
		for _, element := range v.List {
			total += element.size()
		}
		return total
	}
	return len(v.Text)
}

// depth counts the levels of lists and maps; an item may have 32.
func (v Value) depth() int {
	deepest := 0
	for _, element := range v.List {
		deepest = max(deepest, element.depth())
	}
	for _, element := range v.Map {
		deepest = max(deepest, element.depth())
	}
	if v.Kind == Map || v.Kind == List {
		return deepest + 1
	}
	return deepest
}
