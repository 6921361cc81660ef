package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sst/cfn"
	serve "sst/runtime"
)

func shellCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "shell [FUNCTION | SITE] [-- CMD...]",
		Short: "Run a command with the environment of the stage",
		Long: `Run CMD, or your shell, with what the functions of the stage know: all that they link (SST_RESOURCE_..., secrets completed), so
that scripts and migrations use Resource.<Id> as handlers do. With FUNCTION, the whole environment of that one. With SITE, a
static site, CMD runs in its folder with the variables of its build, so that its own dev server knows the API.

The stage is the one that a local sst start runs in this project, with its local cloud; otherwise the deployed one. The credentials
are yours, not those of the functions. Nothing is printed or kept: the values are in the environment of CMD only.`,
		Example: "  sst shell -- node scripts/seed.mjs\n  sst shell web/Site -- npm run dev\n  sst shell web/Export --stage prod -- env",
		RunE: func(c *cobra.Command, args []string) error {
			at := c.ArgsLenAtDash()
			if at < 0 {
				at = len(args)
			}
			if at > 1 {
				return usagef("%s takes one FUNCTION or SITE; the command comes behind --", c.CommandPath())
			}
			of := ""
			if at == 1 {
				of = args[0]
			}
			return t.shell(c.Context(), of, args[at:])
		},
	}
}

// surroundings are what a command of `sst shell` gets.
type surroundings struct {
	dir       string // "" = where the user is
	variables map[string]string
}

func (t *tool) shell(ctx context.Context, of string, command []string) error {
	p, err := t.open(ctx, nil)
	if err != nil {
		return err
	}
	var around *surroundings
	if there, failed := runningIn(p.root); failed == nil && there.Lambda != "" && (t.stage == "" || t.stage == there.Stage) {
		around, err = t.localSurroundings(ctx, p, there, of)
	} else {
		around, err = t.deployedSurroundings(ctx, p, of)
	}
	if err != nil {
		return err
	}
	if len(command) == 0 {
		command = []string{t.userShell()}
	}
	return t.runWith(around, command)
}

// localSurroundings asks the running start.
func (t *tool) localSurroundings(ctx context.Context, p *project, there *running, of string) (*surroundings, error) {
	if of != "" && !slices.Contains(there.Sites, of) {
		id, isSource, err := there.find(of)
		if err != nil {
			return nil, err
		}
		if isSource {
			return nil, problemf("", "%s is no function or static site", id)
		}
		of = id
	}
	res, err := there.ask(ctx, http.MethodGet, serve.EnvironmentPath+"?of="+url.QueryEscape(of), nil, "the running sst start")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var about serve.Environment
	if err := json.NewDecoder(res.Body).Decode(&about); err != nil {
		return nil, fmt.Errorf("environment of the running sst start: %w", err)
	}
	if about.Folder != "" {
		return &surroundings{filepath.Join(p.root, about.Folder), about.Variables}, nil
	}
	variables, err := completeSecrets(ctx, t.localSecrets(p), "sst secrets set --local", about.Variables)
	return &surroundings{"", variables}, err
}

// deployedSurroundings asks AWS.
func (t *tool) deployedSurroundings(ctx context.Context, p *project, of string) (*surroundings, error) {
	asm, err := t.lastAssembly(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, site := range asm.Manifest.Sites {
		if site.ID != of {
			continue
		}
		config, err := t.awsConfig(ctx, p, asm.Manifest.Region)
		if err != nil {
			return nil, err
		}
		variables, err := (&cfn.Deployer{Config: config, Assembly: asm}).DeployedSite(ctx, site)
		var unknown *cfn.NotTold
		if errors.As(err, &unknown) {
			return nil, problemf(unknown.Advice, "environment of %s: %v", of, unknown)
		}
		return &surroundings{filepath.Join(p.root, site.Bundle.Handler), variables}, t.awsProblem(err)
	}
	var functions []*cfn.Function
	for i := range asm.Manifest.Functions {
		functions = append(functions, &asm.Manifest.Functions[i])
	}
	var config aws.Config
	variables := map[string]string{}
	if of != "" {
		f, err := t.deployedFunction(ctx, of)
		if err != nil {
			return nil, err
		}
		config = f.config
		if variables, err = deployedEnvironment(ctx, config, f.name); err != nil {
			return nil, t.awsProblem(fmt.Errorf("environment of %s: %w", f.ID, err))
		}
	} else {
		if config, err = t.awsConfig(ctx, p, asm.Manifest.Region); err != nil {
			return nil, err
		}
		if variables, err = linkedEnvironment(ctx, &cfn.Deployer{Config: config, Assembly: asm}, functions); err != nil {
			return nil, t.awsProblem(err)
		}
		if len(variables) == 0 {
			return nil, problemf(fmt.Sprintf("sst deploy --stage %s deploys it.", p.stage), "no function of stage %s is deployed in %s that links anything", p.stage, config.Region)
		}
	}
	store := &ssmStore{client: ssm.NewFromConfig(config), region: config.Region}
	if variables, err = completeSecrets(ctx, store, p.secretsCommand("set"), variables); err != nil {
		return nil, t.awsProblem(err)
	}
	variables["AWS_REGION"] = config.Region
	if t.profile != "" {
		variables["AWS_PROFILE"] = t.profile
	}
	return &surroundings{"", variables}, nil
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
func (t *tool) runWith(around *surroundings, command []string) error {
	variables, dir := around.variables, around.dir
	if dir == "" {
		dir = t.Dir
	}
	run := exec.Command(command[0], command[1:]...)
	run.Dir, run.Stdin, run.Stdout, run.Stderr = dir, t.Stdin, t.Stdout, t.Stderr
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
