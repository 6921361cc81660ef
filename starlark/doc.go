// Package interp is the language host. It evaluates Starlark files with limits
// and turns every error into a diagnostic at the user's line; and it
// understands files without running them, for the editor and for the check
// before an evaluation. What the files can say is left to builtins.
//
// Evaluation starts from [Interp] (with [Options]), the prelude from
// [Compile]; builtins report with [Failure]. Without running, a [File] comes
// from [Parse], and from it an [Outline], an [Inference] and [Check].
//
// The codes of the diagnostics are stable. Of texts that do not parse:
//
//	syntax-error unclosed-bracket unclosed-string
//	python-*, with the keys of the table in python.go: python-f-string, python-is, ...
//
// Of names and calls, by the check or by the evaluation:
//
//	unknown-name unknown-attribute unknown-parameter unknown-symbol unknown-key
//	missing-parameter missing-field duplicate-parameter too-many-arguments
//	positional-only private-symbol wrong-type misplaced
//
// Of files and load:
//
//	missing-file unreadable-file outside-root bad-load-path load-cycle
//
// Of values, by the evaluation alone:
//
//	unassigned-name not-callable wrong-operands missing-key recursion
//	index-out-of-range missing-value wrong-unpacking division-by-zero no-number
//	frozen-value fail evaluation-failed
//
// Of evaluations that were stopped:
//
//	time-limit step-limit memory-limit long-range not-text cancelled internal
package interp
