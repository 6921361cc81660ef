package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sst/cfn"
	"sst/starlark/diag"
)

func deployCommand(t *tool) *cobra.Command {
	var repair, async, noLint, hotswap bool
	c := &cobra.Command{
		Use:   "deploy [FILE] [STACK...]",
		Short: "Deploy the app, or some of its stacks, to AWS",
		Long: `Build the app and bring it to AWS through CloudFormation: code and templates are published, stacks that changed are
deployed, independent ones side by side. A stack in which nothing changed is left alone.

The account is that of your AWS credentials; it has to be bootstrapped for the CDK in the region. STACK is a stack's name
with or without "<stage>-<app>-"; the stacks that it depends on are deployed as well. Outputs are printed and kept in
.sst/outputs.json.

With --hotswap a stack in which only code, environment or description of functions changed is not deployed: Lambda is given them,
which takes seconds. CloudFormation does not know of it; the next deployment without --hotswap puts that right.

The project's own ESLint and type check run first; after an error of theirs nothing is deployed. The CDK's rules judge new
templates while code is published, and what CloudFormation would refuse is told before a stack is changed (--no-lint asks neither).
Ctrl-C stops watching, not the deployment: sst status --wait takes it up again.`,
		Example: "  sst deploy\n  sst deploy --hotswap\n  sst deploy --stage prod web\n  AWS_PROFILE=production sst deploy --stage prod --region us-east-1",
		RunE: func(c *cobra.Command, args []string) error {
			started := time.Now()
			file, names := fileAndStacks(t, args)
			p, err := t.open(c.Context(), file)
			if err != nil {
				return err
			}
			code := t.checkCodeOf(c.Context(), p, noLint)
			defer code.stop()
			if _, err := t.buildRecorded(c.Context(), p, started); err != nil {
				return err
			}
			if ok, err := code.tell(); err != nil {
				return err
			} else if !ok {
				return problemf("--no-lint deploys it all the same.", "the code has errors, so nothing was deployed")
			}
			asm, err := cfn.Open(p.out)
			if err != nil {
				return err
			}
			return t.deploy(c.Context(), p, asm, names, deployOptions{repair: repair, async: async, hotswap: hotswap, unchecked: noLint}, started)
		},
	}
	c.Flags().BoolVar(&noLint, "no-lint", false, noLintHelp+", nor the CDK's rules for templates")
	c.Flags().BoolVar(&repair, "repair", false, "delete or roll back stacks that are stuck (on your own stage that is done without asking)")
	c.Flags().BoolVar(&hotswap, "hotswap", false, "on your own stage: give code, environment and description of functions to Lambda itself where nothing else changed")
	c.Flags().BoolVar(&async, "async", false, "return once everything is submitted; sst status --wait waits for it")
	return c
}

// fileAndStacks tells FILE from STACK: a file ends in .star or is a folder that is there.
func fileAndStacks(t *tool, args []string) (file, stacks []string) {
	if len(args) == 0 {
		return nil, nil
	}
	info, err := os.Stat(t.abs(args[0]))
	if strings.HasSuffix(args[0], ".star") || err == nil && info.IsDir() {
		return args[:1], args[1:]
	}
	return nil, args
}

type deployOptions struct {
	repair, async, hotswap bool
	unchecked              bool // the CDK's rules are not asked
}

// deploy brings an assembly to AWS and tells the view.
func (t *tool) deploy(ctx context.Context, p *project, asm *cfn.Assembly, names []string, o deployOptions, started time.Time) error {
	stacks, err := neededStacks(asm, names)
	if err != nil {
		return err
	}
	if len(asm.Missing) > 0 {
		return problemf("`sst lookup` records it.", "the app looks up what sst.lock.json does not have: %s", asm.Missing[0].Key)
	}
	if o.hotswap && !asm.Manifest.Personal {
		return problemf("Leave --hotswap out.", "stage %s is not your own: --hotswap changes functions past CloudFormation, where others do not expect it", p.stage)
	}
	config, err := t.awsConfig(ctx, p, asm.Manifest.Region)
	if err != nil {
		return err
	}
	var ready func(context.Context) error
	if !o.unchecked {
		rules := t.startRules(ctx, p, asm.Manifest, stacks)
		defer rules.stop()
		ready = rules.tell
	}
	if err := t.checkSecrets(ctx, p, asm.Manifest, config); err != nil {
		return err
	}
	d := &cfn.Deployer{
		Config: config, Assembly: asm, Repair: o.repair || asm.Manifest.Personal, Empty: asm.Manifest.Personal, Async: o.async, Hotswap: o.hotswap,
		Report: func(e cfn.Progress) { t.view.Progress(asm.Manifest, e) },
		Ready:  ready,
	}
	d.Docker, _ = t.LookupEnv("CDK_DOCKER") // as the CDK's own command line
	_, err = t.deployStacks(ctx, p, d, stacks, func(s deploySummary) {
		s.Seconds = time.Since(started).Seconds()
		t.view.Deployed(s)
	})
	return err
}

// deployStacks brings stacks to AWS. Outputs are kept; show, when given, is told the result.
func (t *tool) deployStacks(ctx context.Context, p *project, d *cfn.Deployer, stacks []*cfn.Stack, show func(deploySummary)) ([]cfn.Result, error) {
	started := time.Now()
	done := t.view.Follow(d.Assembly.Manifest, stacks)
	results, err := t.bootstrapped(ctx, d, stacks)
	done()
	m := d.Assembly.Manifest
	summary := deploySummary{App: m.App, Stage: m.Stage, Region: d.Config.Region, Seconds: time.Since(started).Seconds()}
	var places diag.List
	var problems []error // without a place
	for _, r := range results {
		one := deployedStack{Name: r.Stack.Name, Outcome: string(r.Outcome), Outputs: shownOutputs(r.Outputs), Swapped: r.Swapped, Seconds: r.Duration.Seconds()}
		if r.Err != nil {
			one.Error = plain(r.Err)
			if d := failureDiagnostic(p, r.Err); d != nil {
				places = append(places, d)
			} else if problem := t.awsProblem(r.Err); !slices.ContainsFunc(problems, func(said error) bool { return said.Error() == problem.Error() }) {
				problems = append(problems, problem) // several stacks may fail for one reason
			}
		}
		summary.Stacks = append(summary.Stacks, one)
	}
	if len(results) > 0 && show != nil {
		if err := keepOutputs(p, summary); err != nil {
			return results, err
		}
		show(summary)
	}
	var detached *cfn.Detached
	switch {
	case errors.As(err, &detached):
		return results, t.detached(p, detached)
	case err != nil:
		return results, t.awsProblem(err)
	case len(places) > 0:
		problems = append(problems, places)
	case len(problems) == 0:
		return results, nil
	}
	last := len(problems) - 1
	for _, problem := range problems[:last] {
		t.exit(ctx, problem)
	}
	return results, problems[last]
}

// neededStacks gives the stacks that the user names.
func neededStacks(asm *cfn.Assembly, names []string) ([]*cfn.Stack, error) {
	var known []string
	for _, s := range asm.Stacks {
		known = append(known, s.Short)
	}
	for _, name := range names {
		if asm.Stack(name) == nil {
			return nil, problemf(listNames("There are ", known), "there is no stack %q%s", name, didYouMean(name, known))
		}
	}
	return asm.Needed(names)
}

// detached says how to come back to stacks that go on by themselves.
func (t *tool) detached(p *project, d *cfn.Detached) error {
	var names []string
	for _, s := range d.Running {
		names = append(names, s.Name)
	}
	t.view.Notice(fmt.Sprintf("CloudFormation goes on with %s. To watch again: sst status --wait --stage %s", strings.Join(names, ", "), p.stage))
	return t.awsProblem(d.Cause)
}

// failureDiagnostic places a failure at the line that made the resource; nil when no line is known.
func failureDiagnostic(p *project, err error) *diag.Diagnostic {
	var f *cfn.Failure
	if !errors.As(err, &f) || f.Position.Line == 0 {
		return nil
	}
	at := diag.Position{File: filepath.Join(p.root, filepath.FromSlash(f.Position.File)), Line: f.Position.Line, Col: f.Position.Column}
	detail := fmt.Sprintf("%s (%s) of stack %s: %s", f.LogicalID, f.Type, f.Stack.Name, f.Reason)
	if hint := failureHint(f); hint != "" {
		detail += "\n" + hint
	}
	return &diag.Diagnostic{Code: "deploy-failed", Summary: "Deployment failed", Detail: detail + "\nThe stack is now in " + f.Status + ".", Span: diag.Point(at)}
}

// failureHints are what to do about reasons that say it badly.
var failureHints = []struct{ reason, hint string }{
	{"CloudWatch Logs role ARN must be set", "API Gateway needs a role for its logs, once per account and region: set it under API Gateway, Settings, CloudWatch log role ARN."},
	{"Insufficient permissions to enable logging", "The role that CloudFormation deploys with needs logs:CreateLogDelivery, logs:PutResourcePolicy and logs:DescribeResourcePolicies, or the access log of the API has to be off."},
	{"is not authorized to perform", "The role that CloudFormation deploys with lacks that permission."},
	{"cannot be deleted as it is in use by", "Deploy the stack that uses the export first, without the use, and then this one."},
	{"already exists", "Something of that name was made outside this stack. Remove it, or give this one another name."},
	{"Schema is currently being altered", "AppSync changes one thing at a time. Deploy again."},
	{"No hosted zone", "The domain's hosted zone is not in this account."},
	{"limit exceeded", "A quota of the account is reached: see Service Quotas."},
	{"not empty", "Empty the bucket. Where the removal policy of the stage is to destroy (`removal` of sst.App), sst remove does that."},
}

func failureHint(f *cfn.Failure) string {
	for _, h := range failureHints {
		if strings.Contains(strings.ToLower(f.Reason), strings.ToLower(h.reason)) {
			return h.hint
		}
	}
	return ""
}

// shownOutputs leaves out those that the CDK makes for other stacks.
func shownOutputs(outputs map[string]string) map[string]string {
	shown := maps.Clone(outputs)
	maps.DeleteFunc(shown, func(key, _ string) bool {
		return strings.HasPrefix(key, "ExportsOutput") || strings.HasPrefix(key, "PublishOutput")
	})
	return shown
}

// keepOutputs writes .sst/outputs.json: stack name → outputs. Stacks of other deployments stay in it.
func keepOutputs(p *project, summary deploySummary) error {
	file := filepath.Join(p.state, "outputs.json")
	all := map[string]map[string]string{}
	if data, err := os.ReadFile(file); err == nil {
		if json.Unmarshal(data, &all) != nil { // nothing in it that the next lines do not write again
			all = map[string]map[string]string{}
		}
	}
	for _, s := range summary.Stacks {
		if s.Outputs != nil {
			all[s.Name] = s.Outputs
		}
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	draft := file + ".new"
	if err := os.WriteFile(draft, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(draft, file)
}
