package jsii

// Node is a Node.js that is new enough.
type Node struct {
	Path    string
	Version string // "22.11.0"
	Major   int
}

// MinNode is the oldest major version of Node.js that the CDK runs on.
const MinNode = 20

// FindNode looks for Node.js: at path when it is not "", else along the PATH of env. Its error says what is wanted and how to get it.
func FindNode(env func(string) string, path string) (Node, error) { return Node{}, nil }
