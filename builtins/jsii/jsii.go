// Package jsii is the way to the AWS CDK.
//
// It owns four things. The [Catalog] is an embedded index of every type of aws-cdk-lib under the names of its
// Python bindings, small enough to ask before any Node process exists. [Unpack] puts the CDK that this binary
// carries on disk. A [Host] is a Node process that runs the CDK and does what Go tells it, operation by
// operation. [Validate] runs the CDK's own template rules in a process of their own.
//
// It knows nothing of Starlark: names are checked, values converted and errors given their place by its callers.
package jsii
