package cmd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"sst/builtins/jsii"
	"sst/cfn"
	"sst/starlark/diag"
)

// gcPercent of a process that soon ends: collecting less often takes 400 MB instead of 250 for 100 functions, and saves most
// of the tenth of the processor time that went into it.
const gcPercent = 300

func buildCommand(t *tool) *cobra.Command {
	var noLint, validate bool
	c := &cobra.Command{
		Use:   "build [FILE]",
		Short: "Write the CloudFormation templates and the zipped code of the app",
		Long: `Write the app as a CDK cloud assembly: a template for each stack, the zipped code of its functions, and sst.json.

It goes to .sst/out beside stacks.star, or to --out. Nothing is deployed; no AWS account is needed. The stock CDK CLI
reads the same folder: npx aws-cdk@2 ls --app .sst/out

The project's own ESLint and type check run beside it; an error of theirs is one of the build (--no-lint leaves them out).

With --validate the templates are then checked with the CDK's own rules, which takes some seconds the first time a template is
seen. What CloudFormation would refuse makes the exit code 1.`,
		Example: "  sst build\n  sst build --stage prod --region eu-west-1",
		Args:    atMostFile,
		RunE: func(c *cobra.Command, args []string) error {
			started := time.Now()
			if t.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			p, err := t.open(c.Context(), args)
			if err != nil {
				return err
			}
			code := t.checkCodeOf(c.Context(), p, noLint)
			defer code.stop()
			summary, err := t.build(c.Context(), p, started)
			if err != nil {
				return err
			}
			t.view.Built(summary)
			if ok, err := code.tell(); err != nil || !ok {
				return cmp.Or(err, errTold)
			}
			if !validate {
				return nil
			}
			asm, err := cfn.Open(p.out)
			if err != nil {
				return err
			}
			findings, err := t.validate(c.Context(), p, asm.Manifest, asm.Stacks)
			switch {
			case err != nil:
				return err
			case findings.HasErrors():
				return findings
			case len(findings) > 0:
				t.view.Diagnostics(findings)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&noLint, "no-lint", false, noLintHelp)
	c.Flags().BoolVar(&validate, "validate", false, "check the templates with the CDK's rules")
	return c
}

const noLintHelp = "run neither the project's ESLint nor its type check"

// buildResult is what the record of a build remembers beside the files.
type buildResult struct {
	Summary  buildSummary        `json:"summary"`
	Warnings []*storedDiagnostic `json:"warnings,omitempty"`
}

// build makes the assembly in p.out unless it is there already, and says what it did. Builds of one project wait for each
// other.
func (t *tool) build(ctx context.Context, p *project, started time.Time) (buildSummary, error) {
	memory := filepath.Join(p.state, "cache", "build.json")
	before := t.lastBuild(p, memory)
	if before.summary == nil {
		lock := flock.New(filepath.Join(p.state, "build.lock"))
		free, err := lock.TryLock()
		if err == nil && !free {
			_, err = lock.TryLockContext(ctx, 20*time.Millisecond)
			before = t.lastBuild(p, memory) // the other build may have done it
		}
		if err != nil {
			return buildSummary{}, fmt.Errorf("lock the output: %w", err)
		}
		defer lock.Unlock()
	}
	if before.summary != nil {
		if len(before.warnings) > 0 { // an unchanged mistake is still one
			t.view.Diagnostics(before.warnings)
		}
		before.summary.Unchanged = true
		before.summary.Seconds = time.Since(started).Seconds()
		return *before.summary, nil
	}
	if t.onBuild != nil {
		t.onBuild()
	}
	began := time.Now()
	engine := &lazyEngine{tool: t}
	defer engine.wait()
	if strings.HasSuffix(before.reason, starSuffix+changedSuffix) { // it will be needed: let it boot while the rest is looked at
		if _, err := engine.get(ctx); err != nil {
			return buildSummary{}, err
		}
	}
	b, err := t.buildAssembly(ctx, p, engine, before.record.intact())
	if err != nil {
		return buildSummary{}, err
	}
	if len(b.warnings) > 0 {
		t.view.Diagnostics(b.warnings)
	}
	summary := summarize(p, b)
	after, err := t.remember(before.record, memory, began, p, b, summary)
	if err != nil {
		t.view.Notice(fmt.Sprintf("The next build will not know about this one: %v", err))
	} else {
		summary.Steps = append(b.steps, outputSteps(before.record, after)...)
	}
	summary.Reason = before.reason
	summary.Seconds = time.Since(started).Seconds()
	return summary, nil
}

// lastBuild is what is known of the build before.
type lastBuild struct {
	record   *record       // nil when there is none
	summary  *buildSummary // nil when it would not be the same again
	warnings diag.List
	reason   string // why not
}

func (t *tool) lastBuild(p *project, memory string) (last lastBuild) {
	var err error
	if last.record, err = readRecord(memory); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			last.reason = "the record of the last build cannot be read"
		}
		return last
	}
	var result buildResult
	ok, why := last.record.unchanged(t.buildKey(p), t.envState)
	if !ok || json.Unmarshal(last.record.Result, &result) != nil {
		last.reason = why
		return last
	}
	last.summary, last.warnings = &result.Summary, restoreDiagnostics(result.Warnings)
	return last
}

func summarize(p *project, b *built) buildSummary {
	m := b.synth.Manifest
	summary := buildSummary{App: m.App, Stage: m.Stage, Region: m.Region, Out: p.out, Functions: len(m.Functions), Stacks: []stackSummary{}}
	for _, stack := range b.synth.Stacks {
		stack.Template = filepath.Join(p.out, stack.Template)
		summary.Stacks = append(summary.Stacks, stack)
	}
	return summary
}

func (t *tool) remember(last *record, path string, started time.Time, p *project, b *built, summary buildSummary) (*record, error) {
	written, err := outputs(p.out)
	if err != nil {
		return nil, err
	}
	r, err := newRecord(last, t.buildKey(p), started, b.inputs, written, b.env, buildResult{summary, storeDiagnostics(b.warnings)})
	if err != nil {
		return nil, err
	}
	return r, r.write(path)
}

// buildKey covers what decides a build besides its inputs: the tool itself, the CDK, and what was asked for.
func (t *tool) buildKey(p *project) string {
	self := Version
	if path, err := os.Executable(); err == nil {
		if info, err := os.Stat(path); err == nil {
			self = fmt.Sprintf("%s %d %d", Version, info.Size(), info.ModTime().UnixNano())
		}
	}
	parts, _ := json.Marshal([]any{self, jsii.CDKVersion, p.file, p.out, p.stage, p.savedStage, p.region, p.defaultRegion})
	sum := sha256.Sum256(parts)
	return hex.EncodeToString(sum[:])
}
