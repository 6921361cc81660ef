package dynamo

// How items and keys lie in the store. Keys sort as DynamoDB sorts them: bytes.Compare of two encoded keys is the order of the keys.

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
)

var errStored = errors.New("dynamo: a stored item cannot be read")

// kinds gives each type its byte in the store; the order must never change.
var kinds = []Kind{String, Number, Binary, Bool, Null, Map, List, StringSet, NumberSet, BinarySet}

var kindByte = func() map[Kind]byte {
	bytes := map[Kind]byte{}
	for at, kind := range kinds {
		bytes[kind] = byte(at)
	}
	return bytes
}()

// encodeItem starts with the item's size, which pages and capacity need without reading the rest.
func encodeItem(item Item) []byte {
	out := binary.AppendUvarint(make([]byte, 0, 64), uint64(item.size()))
	return appendMap(out, item)
}

func appendMap(out []byte, item Item) []byte {
	out = binary.AppendUvarint(out, uint64(len(item)))
	for name, value := range item {
		out = appendBytes(out, name)
		out = appendValue(out, value)
	}
	return out
}

func appendBytes(out []byte, text string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(text))), text...)
}

func appendValue(out []byte, v Value) []byte {
	out = append(out, kindByte[v.Kind])
	switch v.Kind {
	case Bool:
		if v.True {
			return append(out, 1)
		}
		return append(out, 0)
	case Null:
		return out
	case Map:
		return appendMap(out, v.Map)
	case List, StringSet, NumberSet, BinarySet:
		out = binary.AppendUvarint(out, uint64(len(v.List)))
		for _, element := range v.List {
			out = appendValue(out, element)
		}
		return out
	}
	return appendBytes(out, v.Text)
}

// decodeItem reads what encodeItem wrote; size is the item's.
func decodeItem(data []byte) (item Item, size int, err error) {
	r := &reader{text: string(data)} // one copy; the names and texts are parts of it
	size = r.count()
	item = r.item()
	if r.failed {
		return nil, 0, errStored
	}
	return item, size, nil
}

type reader struct {
	text   string
	failed bool
}

func (r *reader) count() int {
	value, shift := uint64(0), 0
	for at := 0; at < len(r.text) && at < binary.MaxVarintLen64; at++ {
		c := r.text[at]
		value |= uint64(c&0x7f) << shift
		if c < 0x80 {
			r.text = r.text[at+1:]
			return int(value)
		}
		shift += 7
	}
	r.failed = true
	return 0
}

func (r *reader) bytes() string {
	n := r.count()
	if r.failed || n < 0 || n > len(r.text) {
		r.failed = true
		return ""
	}
	text := r.text[:n]
	r.text = r.text[n:]
	return text
}

func (r *reader) one() byte {
	if r.text == "" {
		r.failed = true
		return 0
	}
	c := r.text[0]
	r.text = r.text[1:]
	return c
}

func (r *reader) item() Item {
	n := r.count()
	if r.failed || n > len(r.text) {
		r.failed = true
		return nil
	}
	item := make(Item, n)
	for ; n > 0 && !r.failed; n-- {
		name := r.bytes()
		item[name] = r.value()
	}
	return item
}

func (r *reader) value() Value {
	kind := int(r.one())
	if kind >= len(kinds) {
		r.failed = true
		return Value{}
	}
	v := Value{Kind: kinds[kind]}
	switch v.Kind {
	case Bool:
		v.True = r.one() == 1
	case Null:
	case Map:
		v.Map = r.item()
	case List, StringSet, NumberSet, BinarySet:
		n := r.count()
		if n > len(r.text) {
			r.failed = true
			return v
		}
		v.List = make([]Value, 0, n)
		for ; n > 0 && !r.failed; n-- {
			v.List = append(v.List, r.value())
		}
	default:
		v.Text = r.bytes()
	}
	return v
}

// partitionBytes is the length of the hash that the keys of a table start with.
const partitionBytes = 4

// partition spreads the hash keys, as AWS does: a Scan has no order that an app could come to lean on, and its segments are
// ranges of this number.
func partition(hash Value) []byte {
	sum := fnv.New64a()
	sum.Write(appendKey(nil, hash))
	mixed := sum.Sum64()
	mixed ^= mixed >> 32
	mixed *= 0x9e3779b97f4a7c15
	return binary.BigEndian.AppendUint32(nil, uint32(mixed>>32))
}

// appendKey writes a key attribute so that the bytes sort as the values do, and so that none is the start of another.
func appendKey(out []byte, v Value) []byte {
	if v.Kind != Number {
		for _, c := range []byte(v.Text) {
			if out = append(out, c); c == 0 {
				out = append(out, 0xff)
			}
		}
		return append(out, 0, 0)
	}
	sign, digits, exponent := scientific(v.Text)
	if sign == 0 {
		return append(out, 0x80)
	}
	start := len(out) + 1
	out = append(out, 0xc0)
	out = binary.BigEndian.AppendUint16(out, uint16(exponent+1000))
	out = append(append(out, digits...), 0)
	if sign < 0 {
		out[start-1] = 0x40
		for at := start; at < len(out); at++ {
			out[at] = ^out[at]
		}
	}
	return out
}
