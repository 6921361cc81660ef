// Package interp is the language host: it evaluates Starlark files, turns
// every error into a diagnostic at the user's line, and understands files
// without running them (split, parse, outline, check) for the editor.
package interp
