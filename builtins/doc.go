// Package builtins is what a stacks.star can say: the modules sst and cdk, env and read, and the engine that turns
// the file into a cloud assembly.
//
// It owns the values that stand for CDK objects, the checking and conversion of arguments against the CDK's metadata,
// the intrinsics that the prelude is written with, and the place of every error that the CDK reports late. It leaves
// evaluation to package interp, the CDK process to package jsii, constructs to the prelude's Starlark files, and the
// finished assembly to package cfn.
//
// Start from Engine (Open, Synth), Object (a CDK object), Construct (an sst construct) and the table of intrinsics.
package builtins
