package builtins

import interp "sst/starlark"

// Env is what files of the user are checked against, and what the editor completes from.
func Env() interp.Env {
	return interp.Env{Globals: map[string]interp.Shape{"sst": nil, "cdk": nil, "env": nil, "read": nil, "struct": nil, "json": nil, "math": nil}}
}
