package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sst/cfn"
)

func shellCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "shell [FUNCTION] [-- CMD...]",
		Short: "Run a command with the environment of the deployed stage",
		Long: `Run CMD, or your shell, with what the functions of the deployed stage know: all that they link (SST_RESOURCE_..., secrets
completed), so that scripts and migrations use Resource.<Id> as handlers do. With FUNCTION, the whole environment of that one.

The credentials are yours, not those of the functions. Nothing is printed or kept: the values are in the environment of CMD only.`,
		Example: "  sst shell -- node scripts/seed.mjs\n  sst shell web/Export --stage prod -- env",
		RunE: func(c *cobra.Command, args []string) error {
			at := c.ArgsLenAtDash()
			if at < 0 {
				at = len(args)
			}
			if at > 1 {
				return usagef("%s takes one FUNCTION; the command comes behind --", c.CommandPath())
			}
			return t.shell(c.Context(), args[:at], args[at:])
		},
	}
}

func (t *tool) shell(ctx context.Context, function, command []string) error {
	p, err := t.open(ctx, nil)
	if err != nil {
		return err
	}
	asm, err := t.lastAssembly(ctx, p)
	if err != nil {
		return err
	}
	var functions []*cfn.Function
	for i := range asm.Manifest.Functions {
		functions = append(functions, &asm.Manifest.Functions[i])
	}
	var config aws.Config
	variables := map[string]string{}
	if len(function) > 0 {
		f, err := t.deployedFunction(ctx, function[0])
		if err != nil {
			return err
		}
		config = f.config
		if variables, err = deployedEnvironment(ctx, config, f.name); err != nil {
			return t.awsProblem(fmt.Errorf("environment of %s: %w", f.ID, err))
		}
	} else {
		if config, err = t.awsConfig(ctx, p, asm.Manifest.Region); err != nil {
			return err
		}
		if variables, err = linkedEnvironment(ctx, &cfn.Deployer{Config: config, Assembly: asm}, functions); err != nil {
			return t.awsProblem(err)
		}
		if len(variables) == 0 {
			return problemf(fmt.Sprintf("sst deploy --stage %s deploys it.", p.stage), "no function of stage %s is deployed that links anything", p.stage)
		}
	}
	store := &ssmStore{client: ssm.NewFromConfig(config), region: config.Region}
	if variables, err = completeSecrets(ctx, store, p.secretsCommand("set"), variables); err != nil {
		return t.awsProblem(err)
	}
	variables["AWS_REGION"] = config.Region
	if t.profile != "" {
		variables["AWS_PROFILE"] = t.profile
	}
	if len(command) == 0 {
		command = []string{t.userShell()}
	}
	return t.runWith(p, command, variables)
}

func (t *tool) userShell() string {
	if runtime.GOOS == "windows" {
		if shell := t.Getenv("COMSPEC"); shell != "" {
			return shell
		}
		return "cmd.exe"
	}
	if shell := t.Getenv("SHELL"); shell != "" {
		return shell
	}
	return "/bin/sh"
}

// runWith runs a command to its end; Ctrl-C reaches it through the terminal, and it decides.
func (t *tool) runWith(p *project, command []string, variables map[string]string) error {
	run := exec.Command(command[0], command[1:]...)
	run.Dir, run.Stdin, run.Stdout, run.Stderr = t.Dir, t.Stdin, t.Stdout, t.Stderr
	run.Env = slices.DeleteFunc(slices.Clone(t.Environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		_, ours := variables[name]
		return ours
	})
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		run.Env = append(run.Env, name+"="+variables[name])
	}
	err := run.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return problemf("", "%s ended with exit code %d", command[0], exit.ExitCode())
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return problemf("", "there is no command %s", command[0])
	}
	return err
}

// deployedEnvironment is the environment of a function as it is in AWS.
func deployedEnvironment(ctx context.Context, config aws.Config, name string) (map[string]string, error) {
	out, err := lambda.NewFromConfig(config).GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	if err != nil {
		return nil, err
	}
	variables := map[string]string{}
	if out.Environment != nil {
		maps.Copy(variables, out.Environment.Variables)
	}
	return variables, nil
}

// lookups is how many functions are asked for at once: Lambda allows 15 of these calls a second.
const lookups = 4

// linkedEnvironment is what the functions of the stage link, all together. A function that is not deployed adds nothing.
func linkedEnvironment(ctx context.Context, d *cfn.Deployer, functions []*cfn.Function) (map[string]string, error) {
	each := make([]map[string]string, len(functions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for i, f := range functions {
		group.Go(func() error {
			name, err := d.DeployedName(ctx, f)
			var absent *cfn.NotDeployed
			if errors.As(err, &absent) {
				return nil
			}
			if err == nil {
				each[i], err = deployedEnvironment(ctx, d.Config, name)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("environment of the stage: %w", err)
	}
	all := map[string]string{}
	for _, variables := range each {
		for name, value := range variables {
			if strings.HasPrefix(name, resourceVariable) {
				all[name] = value
			}
		}
	}
	return all, nil
}
