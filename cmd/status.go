package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"sst/cfn"
	"sst/starlark/diag"
)

func statusCommand(t *tool) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use:   "status [FILE] [STACK...]",
		Short: "Tell how the stacks are in AWS, or wait for those under way",
		Long: `Tell the state and the outputs of the app's stacks in AWS.

With --wait, stacks that are under way (after Ctrl-C in a deploy, or sst deploy --async) are watched to their end; the
exit code is 1 when one of them failed.`,
		Example: "  sst status\n  sst status --wait --stage prod",
		RunE: func(c *cobra.Command, args []string) error {
			file, names := fileAndStacks(t, args)
			p, err := t.open(c.Context(), file)
			if err != nil {
				return err
			}
			asm, err := t.lastAssembly(c.Context(), p)
			if err != nil {
				return err
			}
			return t.status(c.Context(), p, asm, names, wait)
		},
	}
	c.Flags().BoolVar(&wait, "wait", false, "watch the stacks under way to their end")
	return c
}

// lastAssembly gives the assembly of the last build of the stage, so that a stacks.star in the middle of an edit does not
// hide what is in AWS; without one it builds. One that was built for another region than this command is about, by a flag or other
// settings, is none.
func (t *tool) lastAssembly(ctx context.Context, p *project) (*cfn.Assembly, error) {
	if asm, err := cfn.Open(p.out); err == nil && asm.Manifest != nil && asm.Manifest.Stage == p.stage && asm.Manifest.Region == p.regionOf(asm.Manifest) {
		return asm, nil
	}
	if _, err := t.build(ctx, p, time.Now()); err != nil {
		return nil, err
	}
	return cfn.Open(p.out)
}

func (t *tool) status(ctx context.Context, p *project, asm *cfn.Assembly, names []string, wait bool) error {
	stacks, err := neededStacks(asm, names)
	if err != nil {
		return err
	}
	config, err := t.awsConfig(ctx, p, asm.Manifest.Region)
	if err != nil {
		return err
	}
	d := &cfn.Deployer{Config: config, Assembly: asm, Report: func(e cfn.Progress) { t.view.Progress(asm.Manifest, e) }}
	done := func() {}
	if wait {
		done = t.view.Follow(asm.Manifest, stacks)
	}
	states, failures, err := d.Status(ctx, stacks, wait)
	done()
	if err != nil {
		return t.awsProblem(err)
	}
	summary := stateSummary{App: asm.Manifest.App, Stage: asm.Manifest.Stage, Region: config.Region}
	outputs := deploySummary{}
	var places diag.List
	var problem error
	for _, s := range states {
		one := stackState{Name: s.Stack.Name, Status: s.Status, Reason: s.Reason, Outputs: shownOutputs(s.Outputs)}
		summary.Stacks = append(summary.Stacks, one)
		outputs.Stacks = append(outputs.Stacks, deployedStack{Name: one.Name, Outputs: one.Outputs})
		if f := failures[s.Stack.ID]; f != nil {
			if d := failureDiagnostic(p, f); d != nil {
				places = append(places, d)
			} else {
				problem = problemf("", "%v", f)
			}
		}
	}
	if summary.Stubs, err = d.Stubbed(ctx, states); err != nil {
		return t.awsProblem(err)
	}
	if summary.Swapped, err = d.SwappedFunctions(ctx); err != nil {
		return t.awsProblem(err)
	}
	t.view.Stacks(summary)
	if err := keepOutputs(p, outputs); err != nil {
		return err
	}
	if len(places) > 0 {
		return places
	}
	return problem
}
