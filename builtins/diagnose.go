package builtins

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"sst/builtins/jsii"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// This file gives errors of the CDK, which come late and speak JavaScript, their place in the user's files.

// diagnostic is a failure at a call that is remembered.
func (s *session) diagnostic(f *interp.Failure, at call) *diag.Diagnostic {
	d := interp.FailureAt(f, s.parsed(at.pos.File), at.pos)
	d.Frames = append(slices.Clone(at.frames), f.Frames...)
	return d
}

// placed is err with a place: failures get that of the call, other errors are left alone.
func (s *session) placed(err error, at call) error {
	var list diag.List
	var one *diag.Diagnostic
	if errors.As(err, &list) || errors.As(err, &one) {
		return err
	}
	var f *interp.Failure
	if errors.As(err, &f) {
		return diag.List{s.diagnostic(f, at)}
	}
	return err
}

// diagnose turns an error of the CDK process into diagnostics where the user can do something about it.
func (s *session) diagnose(err error) error {
	var js *jsii.Error
	if !errors.As(err, &js) {
		return s.hostProblem(err)
	}
	if code := noSpace[beforeColon(js.Message)]; code != nil { // no line of stacks.star is to blame
		return fmt.Errorf("write the templates: %w", code)
	}
	if js.Callback != nil {
		return s.placed(js.Callback, s.call(js.Tag))
	}
	var said diag.List
	for _, m := range js.Messages {
		if m.Level == "error" {
			said = append(said, s.said(m))
		}
	}
	if len(said) > 0 { // a failed validation repeats them all without their places
		return said.Sorted()
	}
	at := s.call(js.Tag)
	if strings.HasPrefix(js.Message, "Cannot reference across apps") && len(s.orphans) > 0 {
		at = s.call(s.orphans[0])
	}
	if at.pos.File == "" || js.Path != "" && js.Tag == 0 {
		at = s.call(s.tagOfPath(js))
	}
	return diag.List{s.diagnostic(s.failureOf(js), at)}
}

func isDiagnostic(err error) bool {
	var list diag.List
	var one *diag.Diagnostic
	return errors.As(err, &list) || errors.As(err, &one)
}

// hostProblem is a fault of the process, or the end of the one who asked it.
func (s *session) hostProblem(err error) error {
	var host *jsii.HostError
	if errors.As(err, &host) {
		return host
	}
	if cause := context.Cause(s.ctx); cause != nil {
		return cause
	}
	return err
}

const unknownAccount = "unknown-account"

var (
	duplicateID = regexp.MustCompile(`There is already a Construct with name '([^']*)' in (\w+)(?: \[([^\]]*)\])?`)
	tooMany     = regexp.MustCompile(`^Number of resources in stack '([^']*)': (\d+) is greater than allowed maximum of (\d+): (.*)`)
	bracketPath = regexp.MustCompile(`\[([^\[\]\s][^\[\]]*)\]`)
	at          = regexp.MustCompile(`^\s*at (?:(.*) \()?(.+?):(\d+):(\d+)\)?$`)
)

// noSpace are the codes of Node's errors, "ENOSPC: no space left on device, write", that say that a file system is full.
var noSpace = map[string]error{"ENOSPC": syscall.ENOSPC, "EDQUOT": syscall.EDQUOT}

func beforeColon(text string) string {
	before, _, _ := strings.Cut(text, ":")
	return before
}

// failureOf explains a JavaScript error.
func (s *session) failureOf(js *jsii.Error) *interp.Failure {
	f := &interp.Failure{Code: "cdk-error", Summary: "The CDK objects", Detail: sentence(s.readable(js.Message)), Frames: jsFrames(js.JSStack)}
	if m := duplicateID.FindStringSubmatch(js.Message); m != nil {
		f.Code, f.Summary = "duplicate-id", "Id used twice"
		parent := m[3]
		f.Detail = fmt.Sprintf("there is already a construct with the id %q", m[1])
		path := m[1]
		if parent != "" {
			f.Detail += " in " + s.short(parent)
			path = parent + "/" + m[1]
		}
		if tag, ok := s.places[path]; ok {
			f.Detail += ", made at " + s.place0(s.call(tag).pos)
		}
		f.Detail += "."
		f.Value = strings.TrimSuffix(m[1], "--")
	}
	if m := tooMany.FindStringSubmatch(js.Message); m != nil {
		f.Code, f.Summary = "too-many-resources", "Too many resources"
		f.Detail = fmt.Sprintf("the stack %s has %s resources, CloudFormation takes %s: %s", s.short(m[1]), m[2], m[3], sentence(m[4]))
		f.Hint = split
	}
	if strings.HasPrefix(js.Message, "Cannot reference across apps") && len(s.orphans) > 0 {
		f.Code, f.Summary = "other-app", "Construct of another app"
		f.Detail = "this stack has no scope, and so is not part of the app; something in the app uses what it has."
		f.Hint = `Give it the app: cdk.Stack(app, "name").`
	}
	if strings.HasPrefix(js.Message, "Cannot retrieve value from context provider") {
		f.Code, f.Summary = unknownAccount, "Account not known"
		f.Detail = "this looks something up in AWS, which takes the account and the region of the stage."
		if s.regionKnown() {
			f.Hint = "Run `" + s.lookupCommand() + "` to record the account of your credentials. Or n"
		} else {
			f.Hint = "N"
		}
		f.Hint += `ame them: sst.App(..., region = "us-east-1", stages = {"` + s.in.Stage + `": {"account": "111111111111"}}).`
	}
	if strings.Contains(js.Message, "Stack at '") && strings.Contains(js.Message, "cyclic") || strings.Contains(js.Message, "would create a cyclic reference") {
		f.Code, f.Summary = "cyclic-stacks", "Stacks depend on each other"
	}
	return f
}

// readable is a CDK message without what only its own programmers need.
func (s *session) readable(message string) string {
	message, _, _ = strings.Cut(message, "\nObject creation stack:")
	message = strings.TrimSpace(message)
	for strings.HasPrefix(message, "Resolution error: ") {
		message = strings.TrimPrefix(message, "Resolution error: ")
	}
	if wrapped := strings.TrimRight(message, "."); len(message)-len(wrapped) > 3 { // "text." in "...: %s..."
		message = wrapped
	}
	if prefix := s.prefix(); prefix != "" {
		message = strings.ReplaceAll(message, "["+prefix, "[")
	}
	return message
}

// place0 is a position as people read it in a sentence.
func (s *session) place0(pos diag.Position) string {
	if rel, err := filepath.Rel(s.root, pos.File); err == nil {
		return fmt.Sprintf("%s:%d", filepath.ToSlash(rel), pos.Line)
	}
	return pos.String()
}

// tagOfPath finds the line that made the construct which an error names, or the nearest construct around it.
func (s *session) tagOfPath(js *jsii.Error) int {
	paths := []string{js.Path}
	for _, m := range bracketPath.FindAllStringSubmatch(js.Message, -1) {
		paths = append(paths, m[1])
	}
	for _, path := range paths {
		if tag := s.tagAbove(path); tag != 0 {
			return tag
		}
	}
	best, found := 0, ""
	for path, tag := range s.places { // a path anywhere in the message; the longest says most
		if len(path) > len(found) && strings.Contains(js.Message, path) {
			best, found = tag, path
		}
	}
	if best == 0 && s.app != nil {
		for tag := range s.calls {
			if s.calls[tag].pos == s.appCall.pos {
				return tag
			}
		}
	}
	return best
}

// tagAbove is the tag of the construct at path or of the nearest one above it, 0 when there is none.
func (s *session) tagAbove(path string) int {
	path = strings.Trim(path, "/")
	for path != "" {
		if tag, ok := s.places[path]; ok {
			return tag
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return 0
		}
		path = path[:i]
	}
	return 0
}

// jsFrames reads a JavaScript stack, innermost last as ours are.
func jsFrames(stack string) []diag.Frame {
	var frames []diag.Frame
	for line := range strings.Lines(stack) {
		m := at.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			continue
		}
		row, _ := strconv.Atoi(m[3])
		col, _ := strconv.Atoi(m[4])
		frames = append([]diag.Frame{{Name: m[1], Pos: diag.Position{File: strings.TrimPrefix(m[2], "file://"), Line: row, Col: col}}}, frames...)
	}
	return frames
}

// warn notes a warning about the project as a whole.
func (s *session) warn(code, summary, detail string) {
	s.warnings = append(s.warnings, &diag.Diagnostic{Severity: diag.Warning, Code: code, Summary: summary, Detail: detail,
		Span: diag.Point(diag.Position{File: s.in.File})})
}
