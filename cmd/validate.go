package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"sst/builtins/jsii"
	"sst/cfn"
	"sst/starlark/diag"
)

// This file checks the templates of a build with the CDK's own rules, once per distinct template: the verdicts are kept in
// .sst/cache/verdicts.

var contentHash = regexp.MustCompile(`[0-9a-f]{64}`)

// verdictName is where the verdict on a template is kept. The hashes of code in it decide nothing.
func (p *project) verdictName(template []byte) string {
	hash := sha256.New()
	hash.Write([]byte(jsii.CDKVersion + "\n"))
	hash.Write(contentHash.ReplaceAll(template, []byte("hash")))
	return filepath.Join(p.state, "cache", "verdicts", hex.EncodeToString(hash.Sum(nil))+".json")
}

// validate gives what the rules object to in stacks of an app and in those nested in them, at the lines of stacks.star that
// made it.
func (t *tool) validate(ctx context.Context, p *project, m *cfn.Manifest, of []*cfn.Stack) (diag.List, error) {
	var stacks []*cfn.Stack
	for queue := of; len(queue) > 0; queue = queue[1:] {
		nested, err := queue[0].Nested()
		if err != nil {
			return nil, err
		}
		stacks, queue = append(stacks, queue[0]), append(queue, nested...)
	}
	verdicts := make([][]jsii.Finding, len(stacks))
	names := make([]string, len(stacks))
	var unknown []string
	var list diag.List
	for i, s := range stacks {
		file := filepath.Join(s.Dir, s.TemplateFile)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		names[i] = p.verdictName(text)
		if withoutResources(text) { // a new app has no place in the rules
			list = append(list, emptyStack(p, m, s))
			continue
		}
		data, err := os.ReadFile(names[i])
		if err != nil || json.Unmarshal(data, &verdicts[i]) != nil {
			verdicts[i] = nil
			unknown = append(unknown, file)
		}
	}
	fresh, err := t.judge(ctx, unknown)
	if err != nil {
		return nil, err
	}
	if len(fresh) > 0 {
		pruneVerdicts(filepath.Dir(names[0]), keptVerdicts-len(fresh))
	}
	for i, s := range stacks {
		if findings, ok := fresh[filepath.Join(s.Dir, s.TemplateFile)]; ok {
			verdicts[i] = findings
			if data, err := json.Marshal(findings); err == nil {
				if err := writeFileAtomic(names[i], data, 0o600); err != nil {
					t.log.Warn("the verdict on a template is not kept", "error", err)
				}
			}
		}
		for _, finding := range verdicts[i] {
			list = append(list, findingDiagnostic(p, m, s, finding))
		}
	}
	return list.Sorted(), nil
}

func withoutResources(template []byte) bool {
	var t struct{ Resources map[string]json.RawMessage }
	return json.Unmarshal(template, &t) == nil && len(t.Resources) == 0
}

// emptyStack says that a stack cannot be deployed yet.
func emptyStack(p *project, m *cfn.Manifest, s *cfn.Stack) *diag.Diagnostic {
	at := m.Position(s.ID)
	return &diag.Diagnostic{Severity: diag.Warning, Code: "empty-stack", Summary: "Empty stack", Detail: m.ShortPath(s.ID) + " has no resources yet, and CloudFormation takes no stack without any.",
		Span: diag.Point(diag.Position{File: filepath.Join(p.root, filepath.FromSlash(at.File)), Line: at.Line, Col: at.Column})}
}

// ruleCheck is a validate beside a deployment.
type ruleCheck struct {
	tool *tool
	end  context.CancelFunc
	done chan struct{}
	told sync.Once

	found diag.List // when done is closed
	err   error
}

// patienceWithRules is how long a deployment waits for them. Loading them takes two seconds, longer on a busy machine.
const patienceWithRules = 30 * time.Second

// startRules starts to validate in the background.
func (t *tool) startRules(ctx context.Context, p *project, m *cfn.Manifest, stacks []*cfn.Stack) *ruleCheck {
	ctx, end := context.WithTimeoutCause(ctx, patienceWithRules, fmt.Errorf("there was no verdict in %v", patienceWithRules))
	c := &ruleCheck{tool: t, end: end, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer end()
		c.found, c.err = t.validate(ctx, p, m, stacks)
	}()
	return c
}

// tell waits for the verdict and prints it, once. That there is none stops nothing.
func (c *ruleCheck) tell(context.Context) error {
	<-c.done
	c.told.Do(func() {
		if len(c.found) > 0 {
			c.tool.view.Diagnostics(c.found)
		}
		if c.err != nil && !errors.Is(c.err, context.Canceled) {
			c.tool.log.Warn("the templates were not checked", "error", c.err)
			c.tool.view.Notice(fmt.Sprintf("The templates were not checked by the CDK's rules: %v", c.err))
		}
	})
	if c.found.HasErrors() {
		return problemf("--no-lint deploys it all the same.", "CloudFormation would refuse the templates, so no stack was changed")
	}
	return nil
}

// stop ends the check and waits until its process is gone. What it knows by then is told, even if no stack waited for it.
func (c *ruleCheck) stop() {
	c.end()
	c.tell(context.Background())
}

// keptVerdicts bounds the verdicts of a project. Each is a few hundred bytes.
const keptVerdicts = 1000

// pruneVerdicts leaves the newest. A verdict that is missed is made again.
func pruneVerdicts(dir string, keep int) {
	files := newestFirst(dir, "")
	for _, file := range files[min(len(files), max(keep, 0)):] {
		_ = os.Remove(file)
	}
}

// judge runs the rules over templates, all in one process.
func (t *tool) judge(ctx context.Context, templates []string) (map[string][]jsii.Finding, error) {
	if len(templates) == 0 {
		return nil, nil
	}
	node, err := t.findNode()
	if err != nil {
		return nil, err
	}
	dir, err := t.unpackCDK(ctx)
	if err != nil {
		return nil, err
	}
	findings, err := jsii.Validate(ctx, node, dir, templates)
	if err != nil {
		return nil, err
	}
	byTemplate := map[string][]jsii.Finding{}
	for _, file := range templates {
		byTemplate[file] = []jsii.Finding{} // nothing is a verdict too
	}
	for _, finding := range findings {
		byTemplate[finding.Template] = append(byTemplate[finding.Template], finding)
	}
	return byTemplate, nil
}

// findingDiagnostic shows what a rule found like our own diagnostics.
func findingDiagnostic(p *project, m *cfn.Manifest, s *cfn.Stack, f jsii.Finding) *diag.Diagnostic {
	d := &diag.Diagnostic{Severity: diag.Warning, Code: f.Rule, Summary: "CloudFormation may refuse this", Detail: f.Message, Hint: f.Fix}
	switch f.Severity {
	case "error":
		d.Severity, d.Summary = diag.Error, "CloudFormation will refuse this"
	case "info":
		d.Severity = diag.Note
	}
	place := s.Name
	if path := s.Path(f.LogicalID); path != "" {
		place = m.ShortPath(path)
		if at := m.Position(path); at.Line > 0 {
			d.Span = diag.Point(diag.Position{File: filepath.Join(p.root, filepath.FromSlash(at.File)), Line: at.Line, Col: at.Column})
		}
	} else if f.LogicalID != "" {
		place += "/" + f.LogicalID
	}
	if f.Path != "" {
		place += ", " + f.Path
	}
	d.Detail = fmt.Sprintf("%s: %s", place, d.Detail)
	if !d.Span.Start.IsValid() {
		d.Span = diag.Point(diag.Position{File: p.file})
	}
	return d
}
