// Package prelude holds the sst constructs, written in Starlark, and the
// feature flags that every app is synthesized with.
//
// One file is one construct (queue.star) or one thing that several constructs
// share (link.star). Every global whose name starts with a capital letter is a
// member of the module sst. The files reach the CDK and the host through the
// intrinsics of package builtins, whose names start with an underscore.
package prelude

import "embed"

// FS holds the prelude files, at its root.
//
//go:embed *.star
var FS embed.FS

// Code holds what runs in AWS on behalf of a construct, below code/.
//
//go:embed code
var Code embed.FS

// Flags is the JSON object of the CDK feature flags set on every sst.App: those
// recommended by the pinned CDK version. They are written down here so that an
// upgrade of the CDK changes nobody's resources unasked.
//
//go:embed flags.json
var Flags []byte
