package cmd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sst/cfn"
	"sst/runtime/bundle"
	interp "sst/starlark"
	"sst/starlark/diag"
)

func lintCommand(t *tool) *cobra.Command {
	var fix bool
	c := &cobra.Command{
		Use:   "lint [FILE]",
		Short: "Check stacks.star and its handlers, with the project's own ESLint and tsc",
		Long: `Check the app: stacks.star and what it loads, the handlers that it names, the templates by the CDK's own rules
(once per distinct template), and what is allowed but most likely not meant (names that nothing uses, account
ids and secrets in the file, permissions for everything). Beside that, the project's own ESLint and the type check
of its own TypeScript run; one that is not installed is named.

Warnings do not fail the command, errors do. --fix lets ESLint repair what it can, and formats the Starlark files.`,
		Example: "  sst lint\n  sst lint --fix",
		Args:    atMostFile,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := t.open(c.Context(), args)
			if err != nil {
				return err
			}
			return t.lint(c.Context(), p, fix)
		},
	}
	c.Flags().BoolVar(&fix, "fix", false, "repair what can be repaired")
	return c
}

// lintSummary is what sst lint tells in the end.
type lintSummary struct {
	Errors   int     `json:"errors"`
	Warnings int     `json:"warnings"`
	Seconds  float64 `json:"seconds"`
}

func (t *tool) lint(ctx context.Context, p *project, fix bool) error {
	began := time.Now()
	if fix {
		files, err := t.starFiles([]string{p.root})
		if err != nil {
			return err
		}
		if err := t.format(files, false, func(file string) { t.view.Notice("Formatted " + file) }); err != nil {
			return err
		}
	}
	var found diag.List
	var problems []error
	var mu sync.Mutex // guards the two above
	var all sync.WaitGroup
	for _, check := range t.checks(p, fix) {
		all.Go(func() {
			list, err := check(ctx)
			mu.Lock()
			defer mu.Unlock()
			found = append(found, list...)
			if err != nil {
				problems = append(problems, err)
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	found = unrepeated(found)
	t.view.Diagnostics(found)
	sum := lintSummary{Seconds: time.Since(began).Seconds()}
	for _, d := range found {
		switch d.Severity {
		case diag.Error:
			sum.Errors++
		case diag.Warning:
			sum.Warnings++
		}
	}
	for _, err := range problems {
		var problem *Problem
		if !errors.As(err, &problem) {
			return err
		}
		sum.Errors++
		t.view.Problem(problem)
	}
	t.view.Linted(sum)
	if sum.Errors > 0 {
		return errTold
	}
	return nil
}

// unrepeated sorts diagnostics and drops those that two checks have found.
func unrepeated(list diag.List) diag.List {
	sorted := list.Sorted()
	return slices.CompactFunc(sorted, func(a, b *diag.Diagnostic) bool {
		return a.Span == b.Span && a.Code == b.Code && a.Detail == b.Detail
	})
}

// lintStarlark evaluates the app, which finds handlers and exports too, has the CDK's rules look at its templates, and looks
// at all Starlark files of the project.
func (t *tool) lintStarlark(ctx context.Context, p *project) (diag.List, error) {
	found, err := t.lintFiles(p)
	if err != nil {
		return nil, err
	}
	engine, done, err := t.engine(ctx)
	if err != nil {
		return found, err
	}
	defer done()
	work, err := p.workFolder()
	if err != nil {
		return found, err
	}
	defer os.RemoveAll(work)
	dir := filepath.Join(work, "lint")
	synthesis, err := t.synthesize(ctx, engine, p, dir, forDeploy, nil, nil)
	var list diag.List
	switch {
	case errors.As(err, &list):
		return append(found, list...), nil
	case err != nil:
		return found, err
	}
	asm, err := cfn.Open(dir)
	if err != nil {
		return found, err
	}
	refused, err := t.validate(ctx, p, synthesis.Manifest, asm.Stacks)
	return slices.Concat(found, synthesis.Warnings, refused), err
}

// lintFiles looks at the Starlark files of the project without running them.
func (t *tool) lintFiles(p *project) (diag.List, error) {
	paths, err := t.starFiles([]string{p.root})
	if err != nil {
		return nil, err
	}
	var files []*interp.File
	loaded := map[string]map[string]bool{} // by file: names that others load
	for _, path := range paths {
		src, err := os.ReadFile(path)
		if err != nil {
			return nil, problemf("", "%s cannot be read: %v", relative(t.Dir, path), errors.Unwrap(err))
		}
		f := interp.Parse(path, src)
		files = append(files, f)
		for _, load := range f.Outline().Loads {
			from, err := interp.Resolve(p.root, path, load.Module, nil)
			if err != nil {
				continue // said by the evaluation
			}
			if loaded[from] == nil {
				loaded[from] = map[string]bool{}
			}
			for _, name := range load.Names {
				loaded[from][name.Name] = true
			}
		}
	}
	var found diag.List
	for _, f := range files {
		if interp.IsTestFile(f.Path) {
			found = append(found, f.Errors...) // the app does not load it
		}
		found = append(found, interp.Lint(f, func(name string) bool { return loaded[f.Path][name] })...)
	}
	return found, nil
}

// check finds problems. What it cannot do is an error beside what it found.
type check func(ctx context.Context) (diag.List, error)

// checks are all there are; they run side by side.
func (t *tool) checks(p *project, fix bool) []check {
	return append(t.projectChecks(p, fix), func(ctx context.Context) (diag.List, error) { return t.lintStarlark(ctx, p) })
}

// projectChecks are those that the project brings: ESLint and the type check.
func (t *tool) projectChecks(p *project, fix bool) []check {
	dir, file, err := nodeProject(p.root)
	if err != nil {
		return []check{func(context.Context) (diag.List, error) { return nil, err }}
	}
	if file == nil {
		return nil
	}
	return []check{
		func(ctx context.Context) (diag.List, error) { return t.eslint(ctx, p, dir, file, fix) },
		func(ctx context.Context) (diag.List, error) { return t.tsc(ctx, p, dir, file) },
	}
}

// missingTool is the problem of a tool that the project wants and has not installed. sst lint fails of it; beside a build,
// which does without, it is only said.
type missingTool struct{ *Problem }

func (m *missingTool) Unwrap() error { return m.Problem }

// notInstalled is the problem of a tool that package.json names and node_modules lacks.
func (t *tool) notInstalled(title, dir string) error {
	where := ""
	if dir != t.Dir {
		where = " in " + relative(t.Dir, dir)
	}
	return &missingTool{&Problem{Summary: title + " is in package.json but not installed", Hint: "`npm install`" + where + " installs it."}}
}

// eslint runs the project's ESLint on its folder.
func (t *tool) eslint(ctx context.Context, p *project, dir string, file *packageFile, fix bool) (diag.List, error) {
	path := nodeBin(dir, "eslint")
	switch {
	case path == "" && file.uses("eslint"):
		return nil, t.notInstalled("ESLint", dir)
	case path == "" || !file.uses("eslint"): // another package may have brought one of its own
		if source := findFile(p.root, bundle.IsScript); source != "" {
			t.view.Notice("Code is not linted: the project has no ESLint. `npm init @eslint/config@latest` adds it.")
		}
		return nil, nil
	}
	args := []string{p.root, "--format", "json", "--no-error-on-unmatched-pattern", "--ignore-pattern", "**/.sst/**",
		"--cache", "--cache-location", filepath.Join(p.state, "cache", "eslint") + string(filepath.Separator)}
	if fix {
		args = append(args, "--fix")
	}
	out, stderr, code, err := t.captured(ctx, "ESLint", path, dir, args)
	if err != nil {
		return nil, err
	}
	var results []struct {
		FilePath string `json:"filePath"`
		Messages []struct {
			RuleID    string `json:"ruleId"`
			Severity  int    `json:"severity"`
			Message   string `json:"message"`
			Line      int    `json:"line"`
			Column    int    `json:"column"`
			EndLine   int    `json:"endLine"`
			EndColumn int    `json:"endColumn"`
		} `json:"messages"`
	}
	if code > 1 || json.Unmarshal(out, &results) != nil {
		return nil, toolBroken("ESLint", code, stderr, out)
	}
	var found diag.List
	for _, file := range results {
		for _, m := range file.Messages {
			d := &diag.Diagnostic{Severity: diag.Warning, Code: "eslint", Summary: "ESLint", Detail: sentenceOf(m.Message),
				Span: spanIn(file.FilePath, m.Line, m.Column, m.EndLine, m.EndColumn)}
			if m.Severity == 2 {
				d.Severity = diag.Error
			}
			if m.RuleID != "" {
				d.Code, d.Summary = "eslint/"+m.RuleID, "ESLint "+m.RuleID
			}
			found = append(found, d)
		}
	}
	return found, nil
}

// sentenceOf ends a message with a full stop, so that all in the report read alike.
func sentenceOf(text string) string {
	text = strings.TrimSpace(text)
	if text != "" && !strings.ContainsAny(text[len(text)-1:], ".!?:") {
		text += "."
	}
	return text
}

func spanIn(file string, line, column, endLine, endColumn int) diag.Span {
	span := diag.Point(diag.Position{File: file, Line: line, Col: column})
	if endLine > 0 {
		span.End = diag.Position{File: file, Line: endLine, Col: endColumn}
	}
	return span
}

// tscLine is a line of tsc: src/a.ts(3,5): error TS2322: Type 'string' is not assignable to type 'number'.
var tscLine = regexp.MustCompile(`^(.+?)\((\d+),(\d+)\): (error|warning) (TS\d+): (.*)$`)

// tscBare is one that has no place: error TS5083: Cannot read file 'tsconfig.json'.
var tscBare = regexp.MustCompile(`^error (TS\d+): (.*)$`)

// tsc checks the types of the project with its own TypeScript.
func (t *tool) tsc(ctx context.Context, p *project, dir string, file *packageFile) (diag.List, error) {
	config := folderWith(p.root, "tsconfig.json", dir)
	if config == "" && !file.uses("typescript") {
		return nil, nil
	}
	path := nodeBin(dir, "tsc")
	switch {
	case path == "" && file.uses("typescript"):
		return nil, t.notInstalled("TypeScript", dir)
	case path == "":
		t.view.Notice("Types are not checked: the project has no TypeScript. `npm install --save-dev typescript` adds it.")
		return nil, nil
	case config == "":
		t.view.Notice("Types are not checked: the project has no tsconfig.json. `npx tsc --init` makes one.")
		return nil, nil
	}
	out, stderr, code, err := t.captured(ctx, "tsc", path, config, []string{"--noEmit", "--pretty", "false", "-p", config,
		"--incremental", "--tsBuildInfoFile", filepath.Join(p.state, "cache", "tsc.tsbuildinfo")})
	if err != nil {
		return nil, err
	}
	var found diag.List
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\r\n")
		if m := tscLine.FindStringSubmatch(line); m != nil {
			name := m[1]
			if !filepath.IsAbs(name) {
				name = filepath.Join(config, filepath.FromSlash(name))
			}
			row, _ := strconv.Atoi(m[2])
			column, _ := strconv.Atoi(m[3])
			found = append(found, &diag.Diagnostic{Code: strings.ToLower(m[5]), Summary: m[5], Detail: m[6], Span: spanIn(name, row, column, 0, 0)})
		} else if strings.HasPrefix(line, " ") && len(found) > 0 {
			found[len(found)-1].Detail += "\n" + line
		} else if m := tscBare.FindStringSubmatch(line); m != nil {
			if m[1] == "TS18003" {
				t.view.Notice("Types are not checked: " + relative(t.Dir, filepath.Join(config, "tsconfig.json")) + " finds no source files.")
				return found, nil
			}
			return found, problemf("", "tsc cannot check the types: %s", strings.TrimSuffix(m[2], "."))
		}
	}
	if code != 0 && len(found) == 0 {
		return nil, toolBroken("tsc", code, stderr, out)
	}
	return found, nil
}

// toolBroken is the problem of a tool that ended without a report.
func toolBroken(title string, code int, stderr, stdout []byte) error {
	said := strings.TrimSpace(string(stderr))
	if said == "" {
		said = strings.TrimSpace(string(stdout))
	}
	lines := strings.Split(said, "\n")
	if len(lines) > 8 {
		lines = append(lines[:8], "...")
	}
	if code < 0 {
		return problemf(strings.Join(lines, "\n  "), "%s was ended by a signal, by somebody or by the system when memory was short", title)
	}
	return problemf(strings.Join(lines, "\n  "), "%s ended with exit code %d and without a report; it said:", title, code)
}

// patienceWithTools is after what time a tool that says nothing is named.
const patienceWithTools = 10 * time.Second

// captured runs a tool and gives what it printed.
func (t *tool) captured(ctx context.Context, title, path, dir string, args []string) (stdout, stderr []byte, code int, err error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, t.Environ
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 3 * time.Second
	slow := time.AfterFunc(cmp.Or(t.patience, patienceWithTools), func() { t.view.Notice(fmt.Sprintf("%s is still running ...", title)) })
	err = cmd.Run()
	slow.Stop()
	if ctx.Err() != nil {
		return nil, nil, 0, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, nil, 0, problemf("", "%s cannot be run: %v", title, err)
	}
	return out.Bytes(), errs.Bytes(), cmd.ProcessState.ExitCode(), nil
}
