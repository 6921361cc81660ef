package interp

import "go.starlark.net/syntax"

// dialect is the Starlark that people write: sets, if and for at top level and
// reassigned globals are on; while and recursion are off.
var dialect = &syntax.FileOptions{
	Set:             true,
	TopLevelControl: true,
	GlobalReassign:  true,
}
