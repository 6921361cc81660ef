package cmd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"

	"sst/cfn"
)

const stacksFile = "stacks.star"

// stagePattern is that of SST: a letter, then letters, digits or hyphens. The length keeps `<stage>-<app>-<stack>`
// inside CloudFormation's 128 characters.
var stagePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,62}$`)

// project is one stacks.star, its folder, and the stage a verb works on.
type project struct {
	file  string // stacks.star, absolute, symlinks resolved
	root  string // its folder: nothing outside is readable from Starlark
	state string // root/.sst
	out   string // where the assembly goes

	stage         string
	savedStage    bool   // the stage is the one saved on this machine, so it may be personal
	region        string // --region, or ""
	defaultRegion string // what AWS settings say, or ""
}

// regionOf decides the region of a stage: --region, else what the App says for it, else the AWS settings. "" when none of them does.
func (p *project) regionOf(m *cfn.Manifest) string {
	return cmp.Or(p.region, m.AppRegion, p.defaultRegion)
}

// open finds the project of a verb: FILE when given, else the nearest stacks.star upwards.
func (t *tool) open(ctx context.Context, args []string) (*project, error) {
	file, err := t.findFile(args)
	if err != nil {
		return nil, err
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return nil, err
	}
	p := &project{file: file, root: filepath.Dir(file), region: t.region}
	p.state = filepath.Join(p.root, ".sst")
	p.out = filepath.Join(p.state, "out")
	if t.out != "" {
		p.out = t.abs(t.out)
	}
	if err := os.MkdirAll(p.state, 0o755); err != nil {
		return nil, problemf("sst keeps its state, caches and output there.", "the folder %s cannot be made: %v", p.state, errors.Unwrap(err))
	}
	if err := ignoreState(p.state); err != nil {
		return nil, err
	}
	if err := t.resolveStage(ctx, p); err != nil {
		return nil, err
	}
	t.openLog(p)
	env, err := t.openEnv(p)
	if err != nil {
		return nil, err
	}
	t.env.Store(env)
	p.defaultRegion, err = t.settingsRegion(ctx)
	return p, err
}

// ignoreState keeps .sst out of the project's git: all of it can be made again or belongs to this machine.
func ignoreState(dir string) error {
	path := filepath.Join(dir, ".gitignore")
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.WriteFile(path, []byte("*\n"), 0o644); err != nil {
		return problemf("sst keeps its state, caches and output there.", "the folder %s cannot be written to: %v", dir, errors.Unwrap(err))
	}
	return nil
}

func (t *tool) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(t.Dir, path)
}

func (t *tool) findFile(args []string) (string, error) {
	if len(args) == 1 {
		path := t.abs(args[0])
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", problemf("", "there is no file %s", args[0])
		case err != nil:
			return "", problemf("", "%s cannot be read: %v", args[0], errors.Unwrap(err))
		case info.IsDir():
			path = filepath.Join(path, stacksFile)
			if _, err := os.Stat(path); err != nil {
				return "", problemf("", "%s is a folder without a %s", args[0], stacksFile)
			}
		case !info.Mode().IsRegular(): // a pipe or a device never ends
			return "", problemf("", "%s is not a file that can be read again and again", args[0])
		}
		return path, nil
	}
	for dir := t.Dir; ; {
		path := filepath.Join(dir, stacksFile)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
		up := filepath.Dir(dir)
		if foreign := filepath.Join(dir, "sst.config.ts"); fileThere(foreign) {
			return "", problemf("`sst init my-app` makes a project of this one.",
				"%s belongs to another tool of the same name, and there is no %s here", relative(t.Dir, foreign), stacksFile)
		}
		if up == dir {
			return "", problemf("Name the file (sst build path/to/stacks.star) or go to the project's folder.",
				"there is no %s in %s or in a folder above it", stacksFile, t.Dir)
		}
		dir = up
	}
}

// resolveStage chooses the stage: --stage, else the one saved on this machine, else asked for once (on a terminal)
// or the OS user's name (without one), and then saved.
func (t *tool) resolveStage(ctx context.Context, p *project) error {
	if t.stage != "" {
		if !stagePattern.MatchString(t.stage) {
			return usagef("--stage: %v", badStage(t.stage))
		}
		p.stage = t.stage
		return nil
	}
	saved := filepath.Join(p.state, "stage")
	data, err := os.ReadFile(saved)
	if err == nil {
		p.stage, p.savedStage = strings.TrimSpace(string(data)), true
		if !stagePattern.MatchString(p.stage) {
			return problemf("Correct the file, or delete it to be asked again.", "%s holds %q, which is not a stage name", saved, p.stage)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return problemf("", "the saved stage cannot be read: %v", err)
	}
	suggestion := userStage(t)
	p.stage = suggestion
	if isTerminal(t.Stdin) && isTerminal(t.Stderr) && !t.json {
		if p.stage, err = t.askStage(ctx, suggestion); err != nil {
			return err
		}
	} else {
		t.view.Notice(fmt.Sprintf("Stage %s, after your user name; --stage chooses another.", p.stage))
	}
	p.savedStage = true
	return os.WriteFile(saved, []byte(p.stage+"\n"), 0o644)
}

func (t *tool) askStage(ctx context.Context, suggestion string) (string, error) {
	input := bufio.NewReader(t.Stdin)
	for {
		fmt.Fprintf(t.Stderr, "Name of your own stage on this machine [%s]: ", suggestion)
		line, err := readLine(ctx, input)
		answer := strings.TrimSpace(line)
		switch {
		case ctx.Err() != nil:
			fmt.Fprintln(t.Stderr)
			return "", context.Cause(ctx)
		case err != nil:
			return "", problemf("--stage names it without asking.", "no stage was chosen")
		case answer == "":
			return suggestion, nil
		case stagePattern.MatchString(answer):
			return answer, nil
		}
		t.view.Problem(badStage(answer).(*Problem))
	}
}

// readLine reads a line unless ctx ends first: Ctrl-C does not interrupt a read, so the reading goroutine is then left
// behind, and the process is about to end.
func readLine(ctx context.Context, input *bufio.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := input.ReadString('\n')
		read <- result{line, err}
	}()
	select {
	case r := <-read:
		return r.line, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func badStage(name string) error {
	return problemf("", "%q is not a stage name: a letter, then letters, digits or hyphens, at most 63 in all", name)
}

// userStage makes a stage name of the OS user's name.
func userStage(t *tool) string {
	name := t.Getenv("USER")
	if name == "" {
		name = t.Getenv("USERNAME")
	}
	if name == "" {
		if current, err := user.Current(); err == nil {
			name = current.Username
		}
	}
	if _, after, found := strings.Cut(name, `\`); found { // DOMAIN\user
		name = after
	}
	name = regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(name, "-")
	name = strings.TrimLeft(strings.Trim(name, "-"), "0123456789-")
	if name == "" {
		return "dev"
	}
	return name[:min(len(name), 32)]
}

// settingsRegion is the region of the user's AWS settings: the variables, then the profile of the shared files.
func (t *tool) settingsRegion(ctx context.Context) (string, error) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region := t.Getenv(name); region != "" {
			return region, nil
		}
	}
	shared, err := t.sharedProfile(ctx)
	if err != nil {
		return "", err
	}
	return shared.Region, nil
}

// sharedProfile reads the chosen profile of ~/.aws. No profile named and none there is an empty one; a profile that was
// named and is missing is the user's problem.
func (t *tool) sharedProfile(ctx context.Context) (config.SharedConfig, error) {
	name, named := t.profileName()
	shared, err := config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) {
		o.ConfigFiles = []string{t.awsFile("AWS_CONFIG_FILE", "config")}
		o.CredentialsFiles = []string{t.awsFile("AWS_SHARED_CREDENTIALS_FILE", "credentials")}
	})
	var missing config.SharedConfigProfileNotExistError
	if errors.As(err, &missing) {
		if !named {
			return config.SharedConfig{}, nil
		}
		return config.SharedConfig{}, problemf("`aws configure list-profiles` lists those there are.", "there is no AWS profile %q", name)
	}
	if err != nil {
		return config.SharedConfig{}, problemf("", "the AWS settings cannot be read: %v", err)
	}
	return shared, nil
}

func (t *tool) profileName() (name string, named bool) {
	for _, name := range []string{t.profile, t.Getenv("AWS_PROFILE"), t.Getenv("AWS_DEFAULT_PROFILE")} {
		if name != "" {
			return name, true
		}
	}
	return "default", false
}

func (t *tool) awsFile(variable, name string) string {
	if path := t.Getenv(variable); path != "" {
		return path
	}
	home := t.Getenv("HOME")
	if home == "" {
		home = t.Getenv("USERPROFILE")
	}
	return filepath.Join(home, ".aws", name)
}
