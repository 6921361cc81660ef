package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sst/cfn"
	"sst/starlark/diag"
)

func removeCommand(t *tool) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "remove [FILE] [STACK...]",
		Short: "Delete the app, or some of its stacks, from AWS",
		Long: `Delete the stacks of the stage from AWS, those that depend on others first. With STACK, that stack and those that
depend on it.

It asks first, unless the stage is your own or --yes is given. Where the stage's removal policy is "destroy", as on your own
stage, buckets are emptied (all versions) before they are deleted, and logs that services keep outside of the stacks go as
well. What is retained is never touched: it stays in the account and is listed at the end, with the command that deletes it.
A protected stage cannot be removed.`,
		Example: "  sst remove\n  sst remove --stage pr-12 --yes",
		RunE: func(c *cobra.Command, args []string) error {
			started := time.Now()
			file, names := fileAndStacks(t, args)
			p, err := t.open(c.Context(), file)
			if err != nil {
				return err
			}
			asm, err := t.lastAssembly(c.Context(), p)
			if err != nil {
				return err
			}
			return t.remove(c.Context(), p, asm, names, yes, started)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (t *tool) remove(ctx context.Context, p *project, asm *cfn.Assembly, names []string, yes bool, started time.Time) error {
	if _, err := neededStacks(asm, names); err != nil {
		return err
	}
	if len(names) == 0 {
		addDebugStack(asm)
	}
	stacks := asm.Above(names)
	config, err := t.awsConfig(ctx, p, asm.Manifest.Region)
	if err != nil {
		return err
	}
	if !yes && !asm.Manifest.Personal {
		if err := t.consent(p, stacks, config.Region); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		if err := emptyPayloads(ctx, config, asm); err != nil {
			return t.awsProblem(err)
		}
	}
	d := &cfn.Deployer{Config: config, Assembly: asm, Empty: asm.Manifest.Personal || asm.Manifest.Destroy, Report: func(e cfn.Progress) { t.view.Progress(asm.Manifest, e) }}
	done := t.view.Follow(asm.Manifest, stacks)
	results, kept, err := d.Remove(ctx, stacks)
	done()
	summary := removeSummary{App: asm.Manifest.App, Stage: asm.Manifest.Stage, Region: config.Region, Seconds: time.Since(started).Seconds()}
	var places diag.List
	var problem error
	wasLive := false
	for _, r := range results {
		if r.Stack.ID == debugStackName(asm.Manifest) {
			if r.Outcome == cfn.Absent {
				continue
			}
			wasLive = r.Outcome == cfn.Removed
		}
		one := removedStack{Name: r.Stack.Name, Outcome: string(r.Outcome), Seconds: r.Duration.Seconds()}
		if r.Err != nil {
			one.Error = plain(r.Err)
			if d := removalDiagnostic(p, r.Err); d != nil {
				places = append(places, d)
			} else if problem == nil {
				problem = t.awsProblem(r.Err)
			}
		}
		summary.Stacks = append(summary.Stacks, one)
	}
	for _, k := range kept {
		summary.Kept = append(summary.Kept, keptResource{Stack: k.Stack, Type: k.Type, Name: k.Name, Path: k.Path, Why: string(k.Why), How: howToDelete(k, config.Region)})
	}
	if len(names) == 0 && err == nil {
		summary.Kept = append(summary.Kept, t.keptSecrets(ctx, config, asm.Manifest)...)
	}
	if len(results) > 0 {
		t.view.Removed(summary)
	}
	if wasLive && problem == nil {
		problem = t.awsProblem(deleteStageKey(ctx, config, asm.Manifest))
	}
	var detached *cfn.Detached
	var protected *cfn.Protected
	switch {
	case errors.As(err, &protected):
		return problemf("Take `protect` of the stage out of stacks.star and deploy, then remove.", "%v", protected)
	case errors.As(err, &detached):
		return t.detached(p, detached)
	case err != nil:
		return t.awsProblem(err)
	case len(places) > 0:
		return places
	}
	return problem
}

// removalDiagnostic is failureDiagnostic in the words of a removal.
func removalDiagnostic(p *project, err error) *diag.Diagnostic {
	d := failureDiagnostic(p, err)
	if d != nil {
		d.Code, d.Summary = "remove-failed", "Removal failed"
	}
	return d
}

// consent asks for the name of the stage, so that nobody removes the wrong one with a stray ENTER.
func (t *tool) consent(p *project, stacks []*cfn.Stack, region string) error {
	if !isTerminal(t.Stdin) || t.json {
		return problemf("--yes removes it without asking.", "stage %s is not your own, and there is no terminal to ask on", p.stage)
	}
	fmt.Fprintf(t.Stderr, "This deletes from %s, with what is in them:\n", region)
	for _, s := range stacks {
		fmt.Fprintf(t.Stderr, "  %s\n", s.Name)
	}
	fmt.Fprintf(t.Stderr, "Type the name of the stage (%s) to go on, from %s: ", p.stage, relative(t.Dir, filepath.Dir(p.file)))
	answer, err := bufio.NewReader(t.Stdin).ReadString('\n')
	if err != nil || strings.TrimSpace(answer) != p.stage {
		return problemf("", "nothing was removed")
	}
	return nil
}
