package cmd

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sst/builtins/assertions"
	"sst/starlark/diag"
)

// testView is what is shown of sst init, test and lint, and of the project's own tools.
type testView interface {
	// Tested prints how one test of a *_test.star file went.
	Tested(testResult, diag.List)
	// TestsDone prints how they all went.
	TestsDone(testSummary)
	// Ran prints how a tool of the project ended.
	Ran(ranTool)
	// Initiated prints what a new project has.
	Initiated(initiated)
	// Linted prints the end of sst lint.
	Linted(lintSummary)
}

// slowTest is from how many seconds on the time of a test is worth showing.
const slowTest = 0.1

func (v *humanView) Tested(r testResult, problems diag.List) {
	word, took := v.green.Sprint("ok  "), ""
	if r.Seconds >= slowTest {
		took = "  " + v.dim.Sprint(seconds(r.Seconds))
	}
	if !r.Passed {
		word = v.red.Sprint("FAIL")
	}
	name := relative(v.options.Base, r.File)
	if r.Name != "" {
		name += " " + r.Name
	}
	v.printf("%s  %s%s\n", word, name, took)
	if !r.Passed {
		v.Diagnostics(problems)
	}
}

func (v *humanView) TestsDone(s testSummary) {
	var b strings.Builder
	for _, path := range s.Written {
		fmt.Fprintf(&b, "%s %s\n", v.green.Sprint("snapshot"), relative(v.options.Base, path))
	}
	for _, path := range s.Stale {
		fmt.Fprintf(&b, "%s %s: no test takes it; `sst test --update` removes it\n", v.yellow.Sprint("stale"), relative(v.options.Base, path))
	}
	paint := v.green
	if s.Failed > 0 {
		paint = v.red
	}
	fmt.Fprintf(&b, "%s  %s, %s\n", paint.Sprintf("%d passed, %d failed", s.Passed, s.Failed), count(s.Files, "file"), seconds(s.Seconds))
	v.printf("%s", b.String())
}

func (v *humanView) Ran(r ranTool) {
	if r.Passed {
		v.printf("%s %s, %s\n", v.green.Sprint(r.Tool), "passed", seconds(r.Seconds))
		return
	}
	how := fmt.Sprintf("failed with exit code %d", r.ExitCode)
	if r.ExitCode < 0 {
		how = "was ended by a signal: by somebody, or by the system when memory was short"
	}
	v.printf("%s %s, %s\n", v.red.Sprint(r.Tool), how, seconds(r.Seconds))
}

func (v *humanView) Linted(s lintSummary) {
	paint := v.green
	if s.Errors > 0 {
		paint = v.red
	} else if s.Warnings > 0 {
		paint = v.yellow
	}
	v.printf("%s, %s\n", paint.Sprintf("%s, %s", count(s.Errors, "error"), count(s.Warnings, "warning")), seconds(s.Seconds))
}

func (v *jsonView) Linted(s lintSummary) { v.emit("linted", s) }

func (v *jsonView) Tested(r testResult, problems diag.List) {
	v.Diagnostics(problems)
	v.emit("test", r)
}

func (v *jsonView) TestsDone(s testSummary) { v.emit("tested", s) }
func (v *jsonView) Ran(r ranTool)           { v.emit("tool", r) }

// The JUnit form, as CI systems read it.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
	took     time.Duration
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes the results of test files, one suite a file, with paths relative to root.
func writeJUnit(path, root string, results []assertions.Result) error {
	all := junitSuites{}
	var took time.Duration
	for _, r := range results {
		file := filepath.ToSlash(relative(root, r.File))
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != file {
			all.Suites = append(all.Suites, junitSuite{Name: file})
		}
		suite := &all.Suites[len(all.Suites)-1]
		c := junitCase{Name: r.Name, Class: strings.TrimSuffix(file, ".star"), File: file, Time: decimal(r.Took)}
		if c.Name == "" {
			c.Name = "(evaluation)"
		}
		if len(r.Problems) > 0 {
			var text strings.Builder
			(&diag.Printer{Out: &text, Base: root}).Print(r.Problems...)
			c.Failure = &junitFailure{Message: r.Problems[0].Summary, Text: text.String()}
			suite.Failures++
			all.Failures++
		}
		suite.Cases = append(suite.Cases, c)
		suite.Tests++
		all.Tests++
		suite.took += r.Took
		suite.Time = decimal(suite.took)
		took += r.Took
	}
	all.Time = decimal(took)
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(xml.Header), append(text, '\n')...), 0o644)
}

func decimal(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
