package jsii

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"time"
)

// Value is what goes to Node and comes back. It is one of
//
//	nil, bool, float64, int, int64 (to Node only), string, time.Time,
//	[]Value, map[string]Value, Pairs (to Node only)
//	Ref, EnumValue, StructValue, Callback
//
// A struct goes to Node as a map whose keys are JavaScript names, or as the StructValue that it came back as. A nil argument is undefined to JavaScript; a nil inside
// of a map or list is null.
type Value = any

// Pairs is a map that keeps its order, where that of a map[string]Value is by key. Names are different from each other.
type Pairs []Pair

// Pair is an entry of Pairs.
type Pair struct {
	Name  string
	Value Value
}

// Get gives the value of a name.
func (p Pairs) Get(name string) (Value, bool) {
	for i := range p {
		if p[i].Name == name {
			return p[i].Value, true
		}
	}
	return nil, false
}

// Set gives a name another value, or adds it at the end.
func (p *Pairs) Set(name string, value Value) {
	for i := range *p {
		if (*p)[i].Name == name {
			(*p)[i].Value = value
			return
		}
	}
	*p = append(*p, Pair{name, value})
}

// Ref is an object of the host.
type Ref struct {
	ID         int64
	FQN        string   // of its class, "" when that is not in the catalog; not needed in values for Node
	Interfaces []string // what it was declared as, when its class does not say it
}

// EnumValue is a member of an enum.
type EnumValue struct {
	FQN    string
	Member string // "DESTROY"
}

// StructValue is a struct that came back by value.
type StructValue struct {
	FQN    string
	Fields map[string]Value // by JavaScript name
}

// Callback is an object that lives in Go: Node sees an object of class FQN (abstract or not) or with interface FQN,
// and calling one of Methods runs the session's callback function. The same ID gives the same object, and when that object
// comes back from Node it is a Callback with nothing but the ID.
type Callback struct {
	ID      int64
	FQN     string
	Methods []string // JavaScript names of the methods and properties that are answered
	Args    []Value  // for the constructor, when FQN is a class
}

// IsNumberToken says whether f is a number that stands for a value known only to CloudFormation.
func IsNumberToken(f float64) bool { return math.Float64bits(f)>>48 == 0xfbff }

// encodeValue appends the wire form of a value, described at the top of host.js.
func (h *Host) encodeValue(b []byte, v Value) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, fmt.Errorf("%v is not a number that can be passed on", v)
		}
		return strconv.AppendFloat(b, v, 'g', -1, 64), nil
	case string:
		return appendString(b, v), nil
	case time.Time:
		b = append(b, `{"$date":`...)
		return append(appendString(b, v.UTC().Format("2006-01-02T15:04:05.000Z")), '}'), nil
	case Ref:
		b = append(b, `{"$ref":`...)
		return append(strconv.AppendInt(b, v.ID, 10), '}'), nil
	case EnumValue:
		b = append(b, `{"$enum":[`...)
		b = append(appendString(b, v.FQN), ',')
		return append(appendString(b, v.Member), "]}"...), nil
	case Callback:
		return h.encodeCallback(b, v)
	case []Value:
		return h.encodeList(b, v)
	case map[string]Value:
		return h.encodeMap(b, v)
	case Pairs:
		return h.encodePairs(b, v)
	case StructValue:
		return h.encodeMap(b, v.Fields)
	}
	return nil, fmt.Errorf("a %T cannot be passed on", v)
}

func (h *Host) encodeList(b []byte, list []Value) ([]byte, error) {
	b = append(b, '[')
	for i, x := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = h.encodeValue(b, x); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (h *Host) encodeMap(b []byte, m map[string]Value) ([]byte, error) {
	pairs := make(Pairs, 0, len(m))
	for k, v := range m {
		pairs = append(pairs, Pair{k, v})
	}
	sort.Slice(pairs, func(i, j int) bool { return pairs[i].Name < pairs[j].Name })
	return h.encodePairs(b, pairs)
}

func (h *Host) encodePairs(b []byte, pairs Pairs) ([]byte, error) {
	special := false // keys that the host would take for its own
	for _, p := range pairs {
		special = special || p.Name != "" && p.Name[0] == '$'
	}
	if special {
		b = append(b, `{"$map":`...)
	}
	b = append(b, '{')
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, p.Name), ':')
		var err error
		if b, err = h.encodeValue(b, p.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	b = append(b, '}')
	if special {
		b = append(b, '}')
	}
	return b, nil
}

// encodeCallback also says how the arguments of its methods come back.
func (h *Host) encodeCallback(b []byte, c Callback) ([]byte, error) {
	t, ok := h.catalog.Type(c.FQN)
	if !ok {
		return nil, fmt.Errorf("callback of unknown type %s", c.FQN)
	}
	h.callbacks[c.ID] = t
	methods := map[string]any{}
	for _, name := range c.Methods {
		m, ok := t.FieldJS(name)
		if !ok {
			return nil, fmt.Errorf("%s has no %s", c.FQN, name)
		}
		if m.Kind == Property {
			methods[name] = map[string]any{"property": true, "shape": h.shape(m.Type)}
			continue
		}
		params := []any{}
		for _, p := range m.Params {
			params = append(params, h.shape(p.Type))
		}
		method := map[string]any{"params": params}
		if m.Variadic {
			method["rest"] = params[len(params)-1]
		}
		methods[name] = method
	}
	data, err := json.Marshal(methods)
	if err != nil {
		return nil, err
	}
	b = append(b, `{"$callback":{"id":`...)
	b = strconv.AppendInt(b, c.ID, 10)
	b = appendString(append(b, `,"fqn":`...), c.FQN)
	b = strconv.AppendBool(append(b, `,"class":`...), t.Kind == Class)
	b = append(append(b, `,"methods":`...), data...)
	if b, err = h.encodeList(append(b, `,"args":`...), c.Args); err != nil {
		return nil, err
	}
	return append(b, "}}"...), nil
}

func appendString(b []byte, s string) []byte {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return append(append(append(b, '"'), s...), '"')
	}
	data, _ := json.Marshal(s) // a string cannot fail
	return append(b, data...)
}

// shape says to the host how a value of a declared type comes back; see encode in host.js. Structs are described to it once.
func (h *Host) shape(t TypeRef) any {
	switch t.Kind {
	case Void:
		return nil
	case String, Number, Boolean:
		return "p"
	case Date:
		return "d"
	case List:
		return map[string]any{"l": h.shape(*t.Elem)}
	case Map:
		return map[string]any{"m": h.shape(*t.Elem)}
	case Named:
		typ, ok := h.catalog.Type(t.FQN)
		if !ok {
			return "r"
		}
		switch typ.Kind {
		case Enum:
			return map[string]any{"e": t.FQN}
		case Struct:
			h.describe(typ)
			return map[string]any{"s": t.FQN}
		}
		return "r"
	}
	return "a"
}

// describe puts the shape of a struct into the next frame.
func (h *Host) describe(t *Type) {
	if h.described[t.FQN] {
		return
	}
	h.described[t.FQN] = true // before the fields: structs refer to themselves
	fields := map[string]any{}
	for _, f := range t.Fields() {
		fields[f.JS] = h.shape(f.Type)
	}
	h.newStructs[t.FQN] = fields
}

// decodeValue makes a value of its wire form. declared is the type that it was asked for as.
func decodeValue(c *Catalog, data json.RawMessage, declared TypeRef) (Value, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var raw any
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	return fromWire(c, raw, declared)
}

func fromWire(c *Catalog, raw any, declared TypeRef) (Value, error) {
	switch raw := raw.(type) {
	case []any:
		elem := TypeRef{Kind: Any}
		if declared.Elem != nil {
			elem = *declared.Elem
		}
		for i := range raw {
			v, err := fromWire(c, raw[i], elem)
			if err != nil {
				return nil, err
			}
			raw[i] = v
		}
		return raw, nil
	case map[string]any:
		return mapFromWire(c, raw, declared)
	}
	return raw, nil
}

func mapFromWire(c *Catalog, raw map[string]any, declared TypeRef) (Value, error) {
	if id, ok := raw["$ref"].(float64); ok {
		fqn, _ := raw["$fqn"].(string)
		return ref(c, int64(id), fqn, declared), nil
	}
	if id, ok := raw["$callback"].(float64); ok {
		return Callback{ID: int64(id)}, nil
	}
	if e, ok := raw["$enum"].([]any); ok && len(e) == 2 {
		fqn, _ := e[0].(string)
		member, _ := e[1].(string)
		return EnumValue{fqn, member}, nil
	}
	if d, ok := raw["$date"].(string); ok {
		return time.Parse(time.RFC3339, d)
	}
	if fqn, ok := raw["$struct"].(string); ok {
		fields, _ := raw["f"].(map[string]any)
		t, known := c.Type(fqn)
		if !known {
			return nil, fmt.Errorf("unknown struct %s", fqn)
		}
		for name := range fields {
			of := TypeRef{Kind: Any}
			if f, ok := t.FieldJS(name); ok {
				of = f.Type
			}
			v, err := fromWire(c, fields[name], of)
			if err != nil {
				return nil, err
			}
			fields[name] = v
		}
		return StructValue{fqn, fields}, nil
	}
	if m, ok := raw["$map"].(map[string]any); ok {
		raw = m
	} else {
		for k := range raw {
			if k != "" && k[0] == '$' {
				return nil, errors.New("unknown kind of value " + k)
			}
		}
	}
	elem := TypeRef{Kind: Any}
	if declared.Elem != nil {
		elem = *declared.Elem
	}
	for k := range raw {
		v, err := fromWire(c, raw[k], elem)
		if err != nil {
			return nil, err
		}
		raw[k] = v
	}
	return raw, nil
}

// ref describes an object by its class and, where that does not have what was declared (a class that is not public, or none
// at all), by the declared type.
func ref(c *Catalog, id int64, fqn string, declared TypeRef) Ref {
	r := Ref{ID: id, FQN: fqn}
	if _, known := c.Type(fqn); !known {
		r.FQN = ""
	}
	if declared.Kind != Named || c.AssignableTo(r.FQN, declared.FQN) {
		return r
	}
	t, known := c.Type(declared.FQN)
	if !known {
		return r
	}
	if t.Kind == Class && (r.FQN == "" || c.AssignableTo(declared.FQN, r.FQN)) {
		r.FQN = declared.FQN
	} else {
		r.Interfaces = []string{declared.FQN}
	}
	return r
}
