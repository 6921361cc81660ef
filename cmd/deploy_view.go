package cmd

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sst/cfn"
)

// This file is what the two views show of a deployment.

type deployView interface {
	// Follow shows on a terminal that stacks are under way, as Progress tells it, until the func that it gives is called. It may be called
	// again before that.
	Follow(*cfn.Manifest, []*cfn.Stack) (done func())
	// Progress prints one thing that happened in AWS.
	Progress(*cfn.Manifest, cfn.Progress)
	// Deployed prints the result of a deployment.
	Deployed(deploySummary)
	// Removed prints the result of a removal.
	Removed(removeSummary)
	// Differs prints what a deployment would change.
	Differs(diffSummary)
	// LogLine prints a line that a deployed function has logged.
	LogLine(function string, at time.Time, line string)
	// Stacks prints how stacks are.
	Stacks(stateSummary)
}

// deploySummary is what a deployment tells.
type deploySummary struct {
	App     string          `json:"app"`
	Stage   string          `json:"stage"`
	Region  string          `json:"region"`
	Stacks  []deployedStack `json:"stacks"`
	Seconds float64         `json:"seconds"`
}

type deployedStack struct {
	Name    string            `json:"name"`
	Outcome string            `json:"outcome"`           // deployed, unchanged, swapped, failed, skipped, submitted
	Swapped int               `json:"swapped,omitempty"` // functions that were changed past CloudFormation
	Outputs map[string]string `json:"outputs,omitempty"`
	Error   string            `json:"error,omitempty"`
	Seconds float64           `json:"seconds"`
}

// removeSummary is what a removal tells.
type removeSummary struct {
	App     string         `json:"app"`
	Stage   string         `json:"stage"`
	Region  string         `json:"region"`
	Stacks  []removedStack `json:"stacks"`
	Kept    []keptResource `json:"kept,omitempty"`
	Seconds float64        `json:"seconds"`
}

type removedStack struct {
	Name    string  `json:"name"`
	Outcome string  `json:"outcome"` // removed, absent, failed, skipped, submitted
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

type keptResource struct {
	Stack string `json:"stack"`
	Type  string `json:"type"`
	Name  string `json:"name"`
	Path  string `json:"path,omitempty"`
	Why   string `json:"why"`           // policy, snapshot, refused, unknown, secret
	How   string `json:"how,omitempty"` // the command that deletes it
}

// stateSummary is what `sst status` tells.
type stateSummary struct {
	App    string       `json:"app"`
	Stage  string       `json:"stage"`
	Region string       `json:"region"`
	Stacks []stackState `json:"stacks"`
	Stubs  []string     `json:"stubs,omitempty"` // functions that sst start has made stubs
	// Functions that were changed past CloudFormation, and are otherwise than its templates say.
	Swapped []string `json:"swapped,omitempty"`
}

type stackState struct {
	Name    string            `json:"name"`
	Status  string            `json:"status,omitempty"` // CloudFormation's; absent when there is no such stack
	Reason  string            `json:"reason,omitempty"`
	Outputs map[string]string `json:"outputs,omitempty"`
}

// Progress prints what is over; what has only begun is for programs, unless it may take minutes.
func (v *humanView) Progress(m *cfn.Manifest, e cfn.Progress) {
	if board := v.board.Load(); board != nil {
		board.tell(e)
	}
	name := v.bold.Sprint(cmp.Or(e.Stack.Short, e.Stack.Name))
	switch e.Kind {
	case cfn.ProgressAsset:
		if e.Status == "PUBLISHING" && (e.Done > 0 || e.Total < announcedBytes || v.board.Load() != nil) {
			return
		}
		size := ""
		if e.Status == "PUBLISHING" {
			size = "  " + byteSize(e.Total)
		}
		v.printf("%s %s  %s %s%s\n", v.clock(e.Time), name, strings.ToLower(e.Status), v.dim.Sprint(shortHash(e.Path)), size)
	case cfn.ProgressStack:
		switch e.Status {
		case "CHECKING", "UNCHANGED", "SWAPPED", "FAILED", "SKIPPED", "SUBMITTED", "ABSENT": // the result says it
			return
		case "NOT_SWAPPED":
			v.printf("%s %s  %s%s\n", v.clock(e.Time), name, v.yellow.Sprint("not swapped"), reasonOf(obstacle(m, e)))
			return
		}
		if strings.HasSuffix(e.Status, "CLEANUP_IN_PROGRESS") {
			return
		}
		v.printf("%s %s  %s%s\n", v.clock(e.Time), name, v.status(e.Status), reasonOf(e.Reason))
	case cfn.ProgressResource:
		if strings.HasSuffix(e.Status, "_IN_PROGRESS") {
			return
		}
		path := e.LogicalID
		if e.Path != "" {
			path = m.ShortPath(e.Path)
		}
		line := fmt.Sprintf("%s %s  %s  %s", v.clock(e.Time), name, v.status(e.Status), path)
		if kind := "  " + v.dim.Sprint(e.Type); v.screen == nil || e.Reason != "" || v.screen.fits(line+kind) {
			line += kind
		}
		v.printf("%s%s\n", line, reasonOf(e.Reason))
	}
}

// announcedBytes is from which size on an upload takes long enough to say that it has begun.
const announcedBytes = 8 << 20

// Follow draws a board below what is printed, where there is a terminal.
func (v *humanView) Follow(m *cfn.Manifest, stacks []*cfn.Stack) (done func()) {
	board := newBoard(v.palette, m, stacks, time.Now)
	if v.screen == nil || !v.board.CompareAndSwap(nil, board) {
		return func() {}
	}
	v.screen.begin(board.lines)
	return func() {
		v.board.Store(nil)
		v.screen.end()
	}
}

func (v *jsonView) Follow(*cfn.Manifest, []*cfn.Stack) (done func()) { return func() {} }

// obstacle says what keeps a stack from being swapped, and where that is in stacks.star.
func obstacle(m *cfn.Manifest, e cfn.Progress) string {
	if e.LogicalID == "" {
		return e.Reason
	}
	what := cmp.Or(m.ShortPath(strings.TrimSuffix(strings.TrimSuffix(e.Path, "/Resource"), "/Resource")), e.LogicalID)
	if at := m.Position(e.Path); at.Line > 0 {
		what += fmt.Sprintf(" (%s:%d)", at.File, at.Line)
	}
	return what + ": " + e.Reason
}

func reasonOf(reason string) string {
	if reason == "" {
		return ""
	}
	return "  " + strings.TrimSpace(reason)
}

// shortHash shows asset.<64 digits>.zip as a person can tell it from others.
func shortHash(name string) string {
	if rest, ok := strings.CutPrefix(name, "asset."); ok && len(rest) > 64 {
		return "asset." + rest[:8] + rest[64:]
	}
	return name
}

func (v *humanView) status(status string) string {
	switch {
	case strings.HasSuffix(status, "_FAILED") || strings.Contains(status, "ROLLBACK"):
		return v.red.Sprint(status)
	case strings.HasSuffix(status, "_COMPLETE"):
		return v.green.Sprint(status)
	}
	return v.yellow.Sprint(status)
}

func (v *humanView) Deployed(s deploySummary) {
	var b strings.Builder
	any := func(outcomes ...cfn.Outcome) bool {
		return slices.ContainsFunc(s.Stacks, func(d deployedStack) bool { return slices.Contains(outcomes, cfn.Outcome(d.Outcome)) })
	}
	swapped := 0
	for _, stack := range s.Stacks {
		swapped += stack.Swapped
	}
	how, at := v.green.Sprint("Deployed"), "to"
	switch {
	case any(cfn.Failed, cfn.Skipped):
		how = v.red.Sprint("Not deployed:")
	case any(cfn.Submitted):
		how = v.yellow.Sprint("Submitted")
	case swapped > 0 && !any(cfn.Deployed):
		how, at = v.green.Sprint("Swapped")+" "+count(swapped, "function")+" of", "in"
	}
	fmt.Fprintf(&b, "%s %s, stage %s, %s %s in %s\n", how, v.bold.Sprint(s.App), v.bold.Sprint(s.Stage), at, s.Region, seconds(s.Seconds))
	width := 0
	for _, stack := range s.Stacks {
		width = max(width, len(stack.Name))
	}
	for _, stack := range s.Stacks {
		outcome := stack.Outcome
		if stack.Swapped > 0 {
			outcome += ", " + count(stack.Swapped, "function")
		}
		fmt.Fprintf(&b, "  %-*s  %s\n", width, stack.Name, outcome)
		writeOutputs(&b, stack.Outputs)
	}
	v.printf("%s", b.String())
}

// writeOutputs prints outputs in the order of their names, whatever the case.
func writeOutputs(b *strings.Builder, outputs map[string]string) {
	names := slices.SortedFunc(maps.Keys(outputs), func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
	for _, name := range names {
		fmt.Fprintf(b, "    %s: %s\n", name, outputs[name])
	}
}

func (v *humanView) Removed(s removeSummary) {
	var b strings.Builder
	how := v.green.Sprint("Removed")
	if slices.ContainsFunc(s.Stacks, func(d removedStack) bool { return d.Outcome != string(cfn.Removed) && d.Outcome != string(cfn.Absent) }) {
		how = v.red.Sprint("Not removed:")
	}
	fmt.Fprintf(&b, "%s %s, stage %s, from %s in %s\n", how, v.bold.Sprint(s.App), v.bold.Sprint(s.Stage), s.Region, seconds(s.Seconds))
	width := 0
	for _, stack := range s.Stacks {
		width = max(width, len(stack.Name))
	}
	for _, stack := range s.Stacks {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, stack.Name, stack.Outcome)
	}
	if len(s.Kept) > 0 {
		fmt.Fprintf(&b, "Still in the account\n")
		for _, k := range s.Kept {
			name := k.Name
			if k.Why == string(cfn.KeptSnapshot) {
				name = "a snapshot of " + name
			}
			fmt.Fprintf(&b, "  %s  %s\n    %s\n", name, v.dim.Sprint(k.Type), keptReasons[k.Why])
			if k.How != "" {
				fmt.Fprintf(&b, "    %s\n", v.dim.Sprint(k.How))
			}
		}
	}
	v.printf("%s", b.String())
}

func (v *humanView) Stacks(s stateSummary) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, stage %s, in %s\n", v.bold.Sprint(s.App), v.bold.Sprint(s.Stage), s.Region)
	width := 0
	for _, stack := range s.Stacks {
		width = max(width, len(stack.Name))
	}
	for _, stack := range s.Stacks {
		status := v.dim.Sprint("not deployed")
		if stack.Status != "" {
			status = v.status(stack.Status)
		}
		fmt.Fprintf(&b, "  %-*s  %s%s\n", width, stack.Name, status, reasonOf(stack.Reason))
		writeOutputs(&b, stack.Outputs)
	}
	if len(s.Stubs) > 0 {
		fmt.Fprintf(&b, "Stubs, which need sst start; sst deploy puts their code back\n")
		for _, id := range s.Stubs {
			fmt.Fprintf(&b, "  %s\n", id)
		}
	}
	writeSwapped(&b, s.Swapped)
	v.printf("%s", b.String())
}

// writeSwapped lists what was changed past CloudFormation.
func writeSwapped(b *strings.Builder, functions []string) {
	if len(functions) == 0 {
		return
	}
	fmt.Fprintf(b, "Swapped past CloudFormation; sst deploy puts that right\n")
	for _, id := range functions {
		fmt.Fprintf(b, "  %s\n", id)
	}
}

func (v *jsonView) Progress(m *cfn.Manifest, e cfn.Progress) {
	event := struct {
		Time      time.Time     `json:"time"`
		Kind      string        `json:"kind"`
		Stack     string        `json:"stack"`
		Status    string        `json:"status"`
		Reason    string        `json:"reason,omitempty"`
		LogicalID string        `json:"logicalId,omitempty"`
		Type      string        `json:"type,omitempty"`
		Path      string        `json:"path,omitempty"`
		Asset     string        `json:"asset,omitempty"`
		Bytes     int64         `json:"bytes,omitempty"`
		Resources int64         `json:"resources,omitempty"`
		Position  *cfn.Position `json:"position,omitempty"`
	}{Time: e.Time, Kind: string(e.Kind), Stack: e.Stack.Name, Status: e.Status, Reason: e.Reason, LogicalID: e.LogicalID, Type: e.Type}
	switch e.Kind {
	case cfn.ProgressStack:
		event.Resources = e.Total
	case cfn.ProgressAsset:
		if event.Asset, event.Bytes = e.Path, e.Total; e.Status == "PUBLISHING" && e.Done > 0 {
			return // many a second
		}
	}
	if e.Kind != cfn.ProgressAsset && e.Path != "" {
		event.Path = e.Path
		if at := m.Position(e.Path); at.Line > 0 {
			event.Position = &at
		}
	}
	v.emit("progress", event)
}

func (v *jsonView) Deployed(s deploySummary) { v.emit("deployed", s) }
func (v *jsonView) Removed(s removeSummary)  { v.emit("removed", s) }
func (v *jsonView) Stacks(s stateSummary)    { v.emit("stacks", s) }

// LogLine prints a line of a deployed function's log, for programs as well.
func (v *humanView) LogLine(_ string, at time.Time, line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.out, "%s %s\n", at.Local().Format("2006-01-02 15:04:05.000"), strings.TrimRight(line, "\r\n"))
}

func (v *jsonView) LogLine(function string, at time.Time, line string) {
	v.emit("log", struct {
		Time     time.Time `json:"time"`
		Function string    `json:"function"`
		Line     string    `json:"line"`
	}{at, function, strings.TrimRight(line, "\r\n")})
}
