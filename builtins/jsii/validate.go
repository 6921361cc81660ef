package jsii

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sort"
)

//go:embed validate.js
var validateJS []byte

// Finding is something that the CDK's template rules object to.
type Finding struct {
	Template  string `json:"template"`  // the file
	Rule      string `json:"rule"`      // "E3002"
	Severity  string `json:"severity"`  // "error", "warning", "info"
	LogicalID string `json:"logicalId"` // of the resource, "" when it is about something else
	Path      string `json:"path"`      // in the resource: "Properties.VisibilityTimeout"
	Message   string `json:"message"`
	Fix       string `json:"fix"` // what could be done, "" when the rule does not say
}

// severities are the engine's words and those of the CDK.
var severities = map[string]string{"FATAL": "error", "ERROR": "error", "WARN": "warning", "INFO": "info", "DEBUG": "info"}

// Validate checks template files with the CDK's own rules, in a process of its own: loading the rules takes a second or two of
// processor time at low priority and some 500 MiB, which the end of the process gives back. dir is from Unpack.
func Validate(ctx context.Context, node Node, dir string, templates []string) ([]Finding, error) {
	if len(templates) == 0 {
		return nil, nil
	}
	script, err := installScript(dir, "validate", validateJS)
	if err != nil {
		return nil, fmt.Errorf("validate templates: %w", err)
	}
	config, err := json.Marshal(map[string]string{"dir": dir})
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(templates)
	if err != nil {
		return nil, err
	}
	args := []string{script, string(config)}
	if node.Major <= BestNode { // those that are known to know it
		// While the engine reads its rules, threads that mark its memory take three times the time of the engine itself.
		args = slices.Insert(args, 0, "--single-threaded-gc")
	}
	cmd := exec.CommandContext(ctx, node.Path, args...)
	ownGroup(cmd)
	cmd.Cancel = func() error { kill(cmd); return nil }
	cmd.WaitDelay = closeGrace
	cmd.Dir = dir
	cmd.Env = nodeEnv(os.Getenv)
	cmd.Stdin = bytes.NewReader(input)
	stderr := &tail{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("validate templates: %w: %s", err, stderr)
	}
	var findings []Finding
	if err := json.Unmarshal(out, &findings); err != nil {
		return nil, fmt.Errorf("validate templates: %w: it said %.200q", err, out)
	}
	for i, f := range findings {
		if s, ok := severities[f.Severity]; ok {
			findings[i].Severity = s
		} else { // as the CDK does with words of a later engine
			findings[i].Severity = "warning"
		}
	}
	sort.SliceStable(findings, func(i, j int) bool {
		a, b := findings[i], findings[j]
		if a.Template != b.Template {
			return a.Template < b.Template
		}
		if a.LogicalID != b.LogicalID {
			return a.LogicalID < b.LogicalID
		}
		return a.Rule < b.Rule
	})
	return findings, nil
}
