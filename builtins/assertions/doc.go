// Package assertions is what *_test.star files can say beside the language: apps synthesized for a stage, their templates
// as values, the matchers of the CDK's own assertions module, and asserts with readable differences. It knows nothing of
// the CDK or of bundles: the caller of [Suite.Run] synthesizes.
//
// Templates are matched here, in Go, not by the CDK in its process, so that a thousand assertions cost milliseconds.
// Start reading at [Suite].
package assertions
