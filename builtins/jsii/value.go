package jsii

// Value is what goes to Node and comes back. It is one of
//
//	nil, bool, float64, int64 (to Node only), string, time.Time,
//	[]Value, map[string]Value,
//	Ref, EnumValue, StructValue (from Node only), Callback
//
// A struct goes to Node as a map whose keys are JavaScript names.
type Value = any

// Ref is an object of the host.
type Ref struct {
	ID         int64
	FQN        string   // of its class; "" in values for Node, which ignore it
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
// and calling one of Methods runs the session's callback function. The same ID gives the same object.
type Callback struct {
	ID      int64
	FQN     string
	Methods []string // JavaScript names of the methods and properties that are answered
	Args    []Value  // for the constructor, when FQN is a class
}

// IsNumberToken says whether f is a number that stands for a value known only to CloudFormation.
func IsNumberToken(f float64) bool { return false }
