package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"sst/runtime/bundle"
)

// This file finds and runs the tools of the user's project: what it has installed itself, never one of ours.

// toolRun is one tool to run.
type toolRun struct {
	title string // "Jest"
	path  string // of the program
	args  []string
	dir   string
	env   map[string]string // beside that of the user
}

// packageFile is the part of a package.json that says which tools a project uses.
type packageFile struct {
	Scripts         map[string]string `json:"scripts"`
	Dependencies    map[string]string `json:"dependencies"`
	DevDependencies map[string]string `json:"devDependencies"`
}

func (f *packageFile) uses(name string) bool {
	if f == nil {
		return false
	}
	_, dev := f.DevDependencies[name]
	_, own := f.Dependencies[name]
	return dev || own
}

// nodeProject is the nearest package.json from the project's folder upwards: its folder, and what it says. nil when
// there is none.
func nodeProject(root string) (dir string, file *packageFile, err error) {
	for dir = root; ; {
		data, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if err == nil {
			file = &packageFile{}
			if err := json.Unmarshal(data, file); err != nil {
				return dir, nil, problemf("", "%s is not JSON: %v", filepath.Join(dir, "package.json"), err)
			}
			return dir, file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return dir, nil, problemf("", "%s cannot be read: %v", filepath.Join(dir, "package.json"), errors.Unwrap(err))
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", nil, nil
		}
		dir = up
	}
}

// nodeBin is the program of an installed npm package, from the project's folder upwards as Node looks; "" when it is not
// installed.
func nodeBin(root, name string) string {
	if runtime.GOOS == "windows" {
		name += ".cmd"
	}
	for dir := root; ; {
		path := filepath.Join(dir, "node_modules", ".bin", name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// jsTests is the project's Jest or Vitest, nil when it uses neither.
func (t *tool) jsTests(p *project) (*toolRun, error) {
	dir, file, err := nodeProject(p.root)
	if err != nil || file == nil {
		return nil, err
	}
	for _, runner := range []struct {
		name, title string
		args        []string
	}{{"vitest", "Vitest", []string{"run"}}, {"jest", "Jest", nil}} {
		if !file.uses(runner.name) {
			continue
		}
		path := nodeBin(dir, runner.name)
		if path == "" {
			return nil, t.notInstalled(runner.title, dir)
		}
		return &toolRun{title: runner.title, path: path, args: runner.args, dir: dir}, nil
	}
	if path := findFile(p.root, isJSTest); path != "" {
		t.view.Notice(relative(t.Dir, path) + " is not run: the project has no Jest or Vitest. `npm install --save-dev jest` adds one.")
	}
	return nil, nil
}

func isJSTest(name string) bool {
	base := strings.TrimSuffix(name, filepath.Ext(name))
	return bundle.IsScript(name) && (strings.HasSuffix(base, ".test") || strings.HasSuffix(base, ".spec"))
}

func isGoTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func isPythonTest(name string) bool {
	return strings.HasSuffix(name, ".py") && (strings.HasPrefix(name, "test_") || strings.HasSuffix(name, "_test.py"))
}

// findFile is the first file below root that is wanted, "" when there is none.
func findFile(root string, is func(name string) bool) (found string) {
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // what cannot be read has no tests for us
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "__pycache__"):
			return fs.SkipDir
		case !d.IsDir() && is(d.Name()):
			found = path
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// otherTests are the Go and Python tests of the project, when it has some.
func (t *tool) otherTests(p *project) ([]toolRun, error) {
	var runs []toolRun
	if path := findFile(p.root, isGoTest); path != "" {
		module := folderWith(filepath.Dir(path), "go.mod", p.root)
		switch program, err := exec.LookPath("go"); {
		case module == "":
			t.view.Notice(relative(t.Dir, path) + " is not run: there is no go.mod in its folder or above it. `go mod init` makes one.")
		case err != nil:
			return nil, problemf("Install Go from https://go.dev to run them.", "the project has Go tests (%s), but there is no go on the PATH", relative(t.Dir, path))
		default:
			runs = append(runs, toolRun{title: "Go tests", path: program, args: []string{"test", "./..."}, dir: module})
		}
	}
	if path := findFile(p.root, isPythonTest); path != "" {
		python := projectPython(p.root)
		if python == "" || exec.Command(python, "-c", "import pytest").Run() != nil {
			return nil, problemf("`pip install pytest`, or `uv add --dev pytest`, adds it.", "the project has Python tests (%s), but its Python has no pytest", relative(t.Dir, path))
		}
		runs = append(runs, toolRun{title: "Python tests", path: python, args: []string{"-m", "pytest", "-q"}, dir: p.root})
	}
	return runs, nil
}

// folderWith is the nearest folder from dir up to top that has a file, "" when none has.
func folderWith(dir, file, top string) string {
	for {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return dir
		}
		if dir == top || dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// projectPython is the project's own virtual environment, else the Python on the PATH, "" when there is none.
func projectPython(root string) string {
	for _, path := range []string{".venv/bin/python", "venv/bin/python", `.venv\Scripts\python.exe`, `venv\Scripts\python.exe`} {
		if path := filepath.Join(root, filepath.FromSlash(path)); fileThere(path) {
			return path
		}
	}
	for _, name := range []string{"python3", "python"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func fileThere(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// runTool runs a tool with its output on stderr, and says whether it ended well. With --json its output stays there, since
// stdout is for events.
func (t *tool) runTool(ctx context.Context, run toolRun) (bool, error) {
	cmd := exec.CommandContext(ctx, run.path, run.args...)
	cmd.Dir = run.dir
	cmd.Env = slices.Clone(t.Environ)
	for _, name := range slices.Sorted(maps.Keys(run.env)) {
		cmd.Env = append(cmd.Env, name+"="+run.env[name])
	}
	cmd.Stdin = nil
	cmd.Stdout, cmd.Stderr = t.Stderr, t.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 3 * time.Second
	t.view.Notice(strings.Join(append([]string{run.title + ":", filepath.Base(run.path)}, run.args...), " "))
	began := time.Now()
	err := cmd.Run()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, problemf("", "%s cannot be run: %v", run.title, err)
	}
	t.view.Ran(ranTool{Tool: run.title, Passed: err == nil, ExitCode: cmd.ProcessState.ExitCode(), Seconds: time.Since(began).Seconds()})
	return err == nil, nil
}

// ranTool is how a tool of the project ended.
type ranTool struct {
	Tool     string  `json:"tool"`
	Passed   bool    `json:"passed"`
	ExitCode int     `json:"exitCode"` // -1 when a signal ended it
	Seconds  float64 `json:"seconds"`
}
