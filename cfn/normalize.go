package cfn

import (
	"bytes"
	"encoding/json"
)

// Normalize rewrites a template for comparison in tests: sorted keys, indented by 2, and each hash that names has
// replaced by "<asset NAME>". Nothing else is changed; what is not JSON comes back as it is.
func Normalize(template []byte, names map[string]string) []byte {
	decoder := json.NewDecoder(bytes.NewReader(template))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return template
	}
	out, err := marshal(named(value, names), "  ")
	if err != nil {
		return template
	}
	return out
}

func named(value any, names map[string]string) any {
	switch v := value.(type) {
	case string:
		return string(replaceHashes([]byte(v), func(hash string) (string, bool) {
			name, ok := names[hash]
			return "<asset " + name + ">", ok
		}))
	case []any:
		for i := range v {
			v[i] = named(v[i], names)
		}
	case map[string]any:
		for key := range v {
			v[key] = named(v[key], names)
		}
	}
	return value
}
