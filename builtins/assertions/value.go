package assertions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// This file turns decoded JSON into Starlark values and back. Numbers of decoded JSON are json.Number.

// decode reads JSON.
func decode(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}

// toStarlark makes a new, mutable value.
func toStarlark(value any) starlark.Value {
	switch v := value.(type) {
	case string:
		return starlark.String(v)
	case bool:
		return starlark.Bool(v)
	case json.Number:
		return number(v)
	case []any:
		list := make([]starlark.Value, len(v))
		for i := range v {
			list[i] = toStarlark(v[i])
		}
		return starlark.NewList(list)
	case map[string]any:
		dict := starlark.NewDict(len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			dict.SetKey(starlark.String(key), toStarlark(v[key]))
		}
		return dict
	}
	return starlark.None
}

func number(n json.Number) starlark.Value {
	if i, ok := new(big.Int).SetString(n.String(), 10); ok {
		return starlark.MakeBigInt(i)
	}
	f, _ := n.Float64()
	return starlark.Float(f)
}

// toJSON makes decoded JSON of a value that is made of what JSON has.
func toJSON(value starlark.Value) (any, error) {
	switch v := value.(type) {
	case starlark.NoneType:
		return nil, nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.String:
		return string(v), nil
	case starlark.Int:
		return json.Number(v.String()), nil
	case starlark.Float:
		if f := float64(v); math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, fmt.Errorf("%v is not a number of JSON", v)
		}
		text, err := json.Marshal(float64(v))
		return json.Number(text), err
	case *Template:
		return v.normalized()
	case starlark.IterableMapping:
		object := map[string]any{}
		for _, item := range v.Items() {
			key, ok := starlark.AsString(item[0])
			if !ok {
				return nil, fmt.Errorf("a key of JSON is a string, got %s", item[0].Type())
			}
			member, err := toJSON(item[1])
			if err != nil {
				return nil, err
			}
			object[key] = member
		}
		return object, nil
	case starlark.Iterable:
		list := []any{}
		for element := range starlark.Elements(v) {
			member, err := toJSON(element)
			if err != nil {
				return nil, err
			}
			list = append(list, member)
		}
		return list, nil
	}
	return nil, fmt.Errorf("a value of type %s has no JSON form", value.Type())
}

// show is decoded JSON in one line, short enough for a message.
func show(value any) string {
	if value == missing {
		return "nothing"
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Sprint(value)
	}
	return shorten(strings.TrimSuffix(b.String(), "\n"))
}

// shownValue is how many characters of a value a message has room for.
const shownValue = 200

func shorten(text string) string {
	if runes := []rune(text); len(runes) > shownValue {
		return string(runes[:shownValue]) + " ..."
	}
	return text
}
