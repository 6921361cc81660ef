package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sst/builtins"
	"sst/builtins/assertions"
	"sst/cfn"
	"sst/starlark/diag"
)

// testSuffix marks the files that sst test evaluates.
const testSuffix = "_test.star"

// testOptions are the flags of sst test.
type testOptions struct {
	run    string
	update bool
	junit  string
	tools  []string // arguments for the project's own test runner
	files  []string // test files that were named
	named  bool     // something was named: only that is run
}

func testCommand(t *tool) *cobra.Command {
	var o testOptions
	c := &cobra.Command{
		Use:   "test [ARGS...]",
		Short: "Test the templates (*_test.star), then run the project's own tests",
		Long: `Test the app. First the test_* functions of all *_test.star files beside stacks.star and below, which
look at the synthesized templates of any stage:

  app = synth(stage = "prod")

  def test_queue_keeps_dead_letters():
      app.template("web").has_resource_properties("AWS::SQS::Queue", {
          "RedrivePolicy": {"maxReceiveCount": 3},
      })

Then the project's own Jest or Vitest, Go and Python tests, with the environment that links give
functions (SST_RESOURCE_...). What is not installed is named.

ARGS that end in _test.star choose test files; others go to Jest or Vitest, and then only that is run.
Flags for it come after "--": sst test -- --coverage`,
		Example: "  sst test\n  sst test stacks_test.star --run dead_letters\n  sst test src/orders.test.ts",
		RunE: func(c *cobra.Command, args []string) error {
			o.split(args, c.ArgsLenAtDash())
			return t.test(c.Context(), &o)
		},
	}
	c.Flags().StringVar(&o.run, "run", "", "run only the tests whose names match this `REGEXP`")
	c.Flags().BoolVar(&o.update, "update", false, "take all snapshots anew and remove those that no test takes")
	c.Flags().StringVar(&o.junit, "junit", "", "write the results of *_test.star to this `FILE`, as JUnit XML")
	return c
}

// split tells test files from the arguments of the project's test runner; dash is where those after "--" begin, -1 for none.
func (o *testOptions) split(args []string, dash int) {
	if dash < 0 {
		dash = len(args)
	}
	for _, arg := range args[:dash] {
		o.named = true
		if strings.HasSuffix(arg, testSuffix) {
			o.files = append(o.files, arg)
		} else {
			o.tools = append(o.tools, arg)
		}
	}
	o.tools = append(o.tools, args[dash:]...)
}

// testResult is how one test of a *_test.star file went.
type testResult struct {
	File    string  `json:"file"`
	Name    string  `json:"name,omitempty"` // "" for a file that could not be evaluated
	Passed  bool    `json:"passed"`
	Seconds float64 `json:"seconds"`
}

// testSummary is how they all went.
type testSummary struct {
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Files   int      `json:"files"`
	Written []string `json:"written,omitempty"` // snapshots
	Stale   []string `json:"stale,omitempty"`   // snapshots that no test takes
	Seconds float64  `json:"seconds"`
}

// errTold ends a verb with exit code 1 after everything was said already.
var errTold = errors.New("told")

func (t *tool) test(ctx context.Context, o *testOptions) error {
	p, err := t.open(ctx, nil)
	if err != nil {
		return err
	}
	engine, done, err := t.engine(ctx)
	if err != nil {
		return err
	}
	defer done()
	work, err := p.workFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	failed := false
	if !o.named || len(o.files) > 0 {
		ok, err := t.testStarlark(ctx, p, engine, work, o)
		if err != nil {
			return err
		}
		failed = !ok
	}
	if !o.named || len(o.tools) > 0 {
		ok, err := t.testProject(ctx, p, engine, work, o)
		if err != nil {
			return err
		}
		failed = failed || !ok
	}
	if failed {
		return errTold
	}
	return nil
}

// testStarlark runs the *_test.star files and says whether all passed.
func (t *tool) testStarlark(ctx context.Context, p *project, engine *builtins.Engine, work string, o *testOptions) (bool, error) {
	files, err := t.testFiles(p, o.files)
	if err != nil || len(files) == 0 {
		return err == nil, err
	}
	suite := &assertions.Suite{
		Root:       p.root,
		Synthesize: (&testSynth{tool: t, project: p, engine: engine, work: work}).synthesize,
		Print:      t.view.Printed,
		Policy:     assertions.WriteNew,
	}
	switch {
	case o.update:
		suite.Policy = assertions.UpdateAll
	case t.Getenv("CI") != "" && t.Getenv("CI") != "false":
		suite.Policy = assertions.Frozen
	}
	if o.run != "" {
		if suite.Run, err = regexp.Compile(o.run); err != nil {
			return false, usagef("--run: %v", err)
		}
	}
	var results []assertions.Result
	suite.Done = func(r assertions.Result) {
		results = append(results, r)
		t.view.Tested(testResult{File: r.File, Name: r.Name, Passed: len(r.Problems) == 0, Seconds: r.Took.Seconds()}, r.Problems)
	}
	began := time.Now()
	sum, err := suite.RunFiles(ctx, files)
	if err != nil {
		return false, err
	}
	t.view.TestsDone(testSummary{Passed: sum.Passed, Failed: sum.Failed, Files: len(files), Written: sum.Written, Stale: sum.Stale,
		Seconds: time.Since(began).Seconds()})
	if o.junit != "" {
		if err := writeJUnit(t.abs(o.junit), p.root, results); err != nil {
			return false, problemf("", "--junit: %v", err)
		}
	}
	return sum.Failed == 0, nil
}

// testFiles are the files that were named, or all of the project.
func (t *tool) testFiles(p *project, named []string) ([]string, error) {
	args := named
	if len(args) == 0 {
		args = []string{p.root}
	}
	all, err := t.starFiles(args)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, file := range all {
		if strings.HasSuffix(file, testSuffix) {
			files = append(files, file)
		}
	}
	return files, nil
}

// testSynth synthesizes for tests, each app into a folder of its own.
type testSynth struct {
	*tool
	project *project
	engine  *builtins.Engine
	work    string
	count   int
}

func (s *testSynth) synthesize(ctx context.Context, in assertions.SynthInput) (*assertions.App, error) {
	p := *s.project
	if in.Stage != "" && in.Stage != p.stage {
		if !stagePattern.MatchString(in.Stage) {
			return nil, fmt.Errorf("synth: %w", badStage(in.Stage))
		}
		p.stage, p.savedStage = in.Stage, false
	}
	if in.Region != "" {
		p.region = in.Region
	}
	s.count++
	dir := filepath.Join(s.work, fmt.Sprint("app", s.count))
	input, err := s.input(&p, dir)
	if err != nil {
		return nil, err
	}
	around := input.Env
	input.Env = func(name string) (string, bool) {
		if value, ok := in.Env[name]; ok {
			return value, true
		}
		return around(name)
	}
	synthesis, err := s.engine.Synth(ctx, input)
	if err != nil {
		return nil, err
	}
	return describeApp(p.root, dir, synthesis)
}

// describeApp gives a synthesized app as tests see it.
func describeApp(root, dir string, synthesis *builtins.Synthesis) (*assertions.App, error) {
	asm, err := cfn.Open(dir)
	if err != nil {
		return nil, err
	}
	m := synthesis.Manifest
	asm.Manifest = m
	app := &assertions.App{Name: m.App, Stage: m.Stage, Region: m.Region}
	names := map[string]string{}
	for _, f := range m.Functions {
		app.Functions = append(app.Functions, f.ID)
		names[f.Bundle.Key()] = f.Handler
	}
	for _, packed := range slices.Concat(m.Sites, m.Jobs) {
		names[packed.Bundle.Key()] = packed.ID
	}
	for _, w := range synthesis.Warnings {
		app.Warnings = append(app.Warnings, w.Error())
	}
	for _, stack := range asm.Stacks {
		template, err := os.ReadFile(filepath.Join(stack.Dir, stack.TemplateFile))
		if err != nil {
			return nil, err
		}
		app.Stacks = append(app.Stacks, assertions.Stack{
			Name: stack.Name, Short: strings.TrimPrefix(stack.Name, m.Stage+"-"+m.App+"-"), Template: template,
			Normalize: func(template []byte) []byte { return cfn.Normalize(template, names) },
			Position: func(logicalID string) diag.Position {
				at := m.Position(stack.Path(logicalID))
				if at.Line == 0 {
					return diag.Position{}
				}
				return diag.Position{File: at.File, Line: at.Line}
			},
		})
	}
	return app, nil
}

// testProject runs the project's own tests and says whether all passed.
func (t *tool) testProject(ctx context.Context, p *project, engine *builtins.Engine, work string, o *testOptions) (bool, error) {
	var runs []toolRun
	js, err := t.jsTests(p)
	if err != nil {
		return false, err
	}
	if js != nil {
		if !o.named && findFile(p.root, isJSTest) == "" { // a new project may have none
			js.args = append(js.args, "--passWithNoTests")
		}
		js.args = append(js.args, o.tools...)
		if o.run != "" {
			js.args = append(js.args, "-t", o.run)
		}
		runs = append(runs, *js)
	} else if len(o.tools) > 0 {
		return false, problemf("npm install --save-dev jest adds one; arguments that end in "+testSuffix+" choose Starlark tests.",
			"there is no Jest or Vitest in this project to give %s to", strings.Join(o.tools, " "))
	}
	if !o.named {
		others, err := t.otherTests(p)
		if err != nil {
			return false, err
		}
		runs = append(runs, others...)
	}
	if len(runs) == 0 {
		return true, nil
	}
	env, err := t.testEnv(ctx, p, engine, filepath.Join(work, "links"))
	if err != nil {
		return false, err
	}
	passed := true
	for _, run := range runs {
		run.env = env
		ok, err := t.runTool(ctx, run)
		if err != nil {
			return false, err
		}
		passed = passed && ok
	}
	return passed, nil
}

// testEnv is what the project's tests have in their environment beside that of the user: the stage, and the links of all
// functions, with the names that a local run gives their resources.
func (t *tool) testEnv(ctx context.Context, p *project, engine *builtins.Engine, dir string) (map[string]string, error) {
	synthesis, err := t.synthesize(ctx, engine, p, dir, forLocal, nil, nil)
	if err != nil {
		return nil, err
	}
	asm, err := cfn.Open(dir)
	if err != nil {
		return nil, err
	}
	asm.Manifest = synthesis.Manifest
	region := synthesis.Manifest.Region
	if region == "" {
		region = p.defaultRegion
	}
	if region == "" {
		region = "us-east-1"
	}
	env := map[string]string{"SST_APP": synthesis.Manifest.App, "SST_STAGE": p.stage, "SST_REGION": region}
	resolver := cfn.NewResolver(asm, cfn.Local{Region: region, Account: "000000000000"})
	for _, f := range synthesis.Manifest.Functions {
		own, err := resolver.Environment(f)
		if err != nil {
			t.log.Info("environment of a function", "function", f.ID, "error", err)
		}
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if strings.HasPrefix(name, "SST_RESOURCE_") {
				env[name] = own[name]
			}
		}
	}
	return t.env.Load().complete(env), nil
}
