package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"sst/cfn"
)

func bootstrapCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "bootstrap",
		Short: "Make what deployments need in an account and region",
		Long: `Make the stack CDKToolkit: a bucket for code and templates, a repository for images, and the roles to publish and deploy
with. Once per account and region; on your own stage sst deploy does it by itself.

It is the bootstrap of the AWS CDK in its form of version 30, under the same names: apps of the CDK can be deployed with it,
and sst deploys with one that "cdk bootstrap" made, which stays as it is.`,
		Example: "  sst bootstrap --region eu-central-1\n  AWS_PROFILE=production sst bootstrap",
		Args:    noArgs,
		RunE: func(c *cobra.Command, args []string) error {
			p := &project{region: t.region}
			var err error
			if p.defaultRegion, err = t.settingsRegion(c.Context()); err != nil {
				return err
			}
			if p.defaultRegion == "" {
				p.defaultRegion = t.builtRegion()
			}
			config, err := t.awsConfig(c.Context(), p, "")
			if err != nil {
				return err
			}
			return t.bootstrap(c.Context(), config)
		},
	}
}

// builtRegion is the region of the nearest project's last build, "" when there is none.
func (t *tool) builtRegion() string {
	file, err := t.findFile(nil)
	if err != nil {
		return ""
	}
	asm, err := cfn.Open(filepath.Join(filepath.Dir(file), ".sst", "out"))
	if err != nil || asm.Manifest == nil {
		return ""
	}
	return asm.Manifest.Region
}

func (t *tool) bootstrap(ctx context.Context, config aws.Config) error {
	d := &cfn.Deployer{Config: config, Report: func(e cfn.Progress) { t.view.Progress(&cfn.Manifest{}, e) }}
	done := t.view.Follow(&cfn.Manifest{}, nil)
	result, account, err := d.Bootstrap(ctx)
	done()
	var foreign *cfn.ForeignBootstrap
	switch {
	case errors.As(err, &foreign):
		return problemf(fmt.Sprintf("Renew it with that tool, so that what it was told is kept: npx aws-cdk@2 bootstrap aws://%s/%s", foreign.Account, foreign.Region), "%v", foreign)
	case err != nil:
		return t.awsProblem(err)
	case result.Outcome == cfn.Unchanged:
		t.view.Notice(fmt.Sprintf("Account %s is bootstrapped in %s, with version %s.", account, config.Region, result.Outputs["BootstrapVersion"]))
	default:
		t.view.Notice(fmt.Sprintf("Account %s is now bootstrapped in %s: its deployments are kept in %s.", account, config.Region, result.Outputs["BucketName"]))
	}
	return nil
}

// bootstrapped runs a deployment; when it finds nothing that it needs in the account, and the stage is a personal one, that is made first.
func (t *tool) bootstrapped(ctx context.Context, d *cfn.Deployer, stacks []*cfn.Stack) ([]cfn.Result, error) {
	results, err := d.Deploy(ctx, stacks)
	var bare *cfn.NotBootstrapped
	if !errors.As(err, &bare) || bare.Have > 0 || !d.Assembly.Manifest.Personal || bare.Region != d.Config.Region {
		return results, err
	}
	t.view.Notice(fmt.Sprintf("Account %s has nothing in %s to deploy with; making it, once for all apps.", bare.Account, bare.Region))
	if err := t.bootstrap(ctx, d.Config); err != nil {
		return nil, err
	}
	return d.Deploy(ctx, stacks)
}
