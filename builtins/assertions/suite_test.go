package assertions

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	interp "sst/starlark"
	"sst/starlark/diag"
)

var update = flag.Bool("update", false, "rewrite testdata/fail.txt")

const webTemplate = `{
  "Parameters": {"BootstrapVersion": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/cdk-bootstrap/hnb659fds/version"}},
  "Conditions": {"IsProd": {"Fn::Equals": ["a", "b"]}},
  "Mappings": {"Regions": {"us-east-1": {"ami": "ami-1"}}},
  "Resources": {
    "Jobs": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dev-shop-Jobs", "VisibilityTimeout": 30}, "DeletionPolicy": "Delete"},
    "Mail": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dev-shop-Mail.fifo", "VisibilityTimeout": 60, "FifoQueue": true}},
    "Alarms": {"Type": "AWS::SNS::Topic"}
  },
  "Outputs": {"url": {"Value": {"Fn::Join": ["", ["https://", {"Ref": "Api"}]]}}, "stage": {"Value": "dev"}}
}`

// synthesize makes the same app for every stage but "broken".
func synthesize(_ context.Context, in SynthInput) (*App, error) {
	if in.Stage == "broken" {
		f := interp.Errorf("unknown-parameter", "Unknown parameter", "Queue has no parameter %q.", "consumr")
		return nil, diag.List{interp.FailureAt(f, nil, diag.Position{File: "stacks.star", Line: 3, Col: 5})}
	}
	if in.Stage == "" {
		in.Stage = "mine"
	}
	lines := map[string]int{"Jobs": 4, "Mail": 9}
	return &App{Name: "shop", Stage: in.Stage, Region: "us-east-1", Stacks: []Stack{
		{Name: in.Stage + "-shop-data", Short: "data", Template: []byte(`{"Resources": {}}`)},
		{Name: in.Stage + "-shop-web", Short: "web", Template: []byte(webTemplate), Position: func(id string) diag.Position {
			if lines[id] == 0 {
				return diag.Position{}
			}
			return diag.Position{File: "stacks.star", Line: lines[id]}
		}},
	}}, nil
}

// runSuite runs test files of testdata, with their folder copied so that snapshots can be written.
func runSuite(t *testing.T, policy SnapshotPolicy, files ...string) (sum Summary, report, dir string) {
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	return suiteIn(t, dir, policy, files...)
}

func suiteIn(t *testing.T, dir string, policy SnapshotPolicy, files ...string) (sum Summary, report, _ string) {
	var b strings.Builder
	suite := &Suite{Root: dir, Policy: policy, Synthesize: synthesize, Done: func(r Result) {
		word := "ok"
		if len(r.Problems) > 0 {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s %s %s\n", word, filepath.Base(r.File), r.Name)
		(&diag.Printer{Out: &b, Base: dir}).Print(r.Problems...)
	}}
	paths := make([]string, len(files))
	for i, file := range files {
		paths[i] = filepath.Join(dir, file)
	}
	sum, err := suite.RunFiles(t.Context(), paths)
	if err != nil {
		t.Fatal(err)
	}
	return sum, b.String(), dir
}

func TestPassing(t *testing.T) {
	sum, report, dir := runSuite(t, WriteNew, "pass_test.star")
	if sum.Failed > 0 || sum.Passed != 8 {
		t.Errorf("%d passed, %d failed:\n%s", sum.Passed, sum.Failed, report)
	}
	if len(sum.Written) != 2 {
		t.Errorf("written %v, want two snapshots", sum.Written)
	}
	for file, want := range map[string]string{
		"test_snapshots.json":        "{\n  \"a\": [\n    1,\n    null\n  ],\n  \"b\": 1\n}\n",
		"test_snapshots-a-name.json": "\"text\"\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, "__snapshots__", "pass_test", file))
		if err != nil || string(got) != want {
			t.Errorf("%s = %q, %v, want %q", file, got, err, want)
		}
	}
	// A second run compares with what the first has written.
	if sum, report, _ := suiteIn(t, dir, Frozen, "pass_test.star"); sum.Failed > 0 || len(sum.Written) > 0 {
		t.Errorf("second run: %+v\n%s", sum, report)
	}
}

// Each failure is told with its place, what differs and the nearest; the report is a golden file.
func TestFailing(t *testing.T) {
	sum, report, dir := runSuite(t, WriteNew, "fail_test.star")
	if sum.Passed != 1 || sum.Failed != strings.Count(report, "FAIL ") {
		t.Errorf("%d passed, %d failed", sum.Passed, sum.Failed)
	}
	if len(sum.Stale) != 1 || filepath.Base(sum.Stale[0]) != "test_gone.json" {
		t.Errorf("stale %v, want test_gone.json", sum.Stale)
	}
	report = strings.ReplaceAll(report, dir, "DIR")
	if *update {
		if err := os.WriteFile("testdata/fail.txt", []byte(report), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/fail.txt")
	if err != nil {
		t.Fatal(err)
	}
	if report != string(want) {
		t.Errorf("the report is not that of testdata/fail.txt:\n%s", report)
	}
}

func TestFrozenSnapshots(t *testing.T) {
	sum, report, dir := runSuite(t, Frozen, "pass_test.star")
	if sum.Failed != 1 || !strings.Contains(report, "There is no __snapshots__/pass_test/test_snapshots.json") {
		t.Errorf("%+v\n%s", sum, report)
	}
	if _, err := os.Stat(filepath.Join(dir, "__snapshots__", "pass_test")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot was written: %v", err)
	}
}

func TestUpdatedSnapshots(t *testing.T) {
	sum, report, dir := runSuite(t, UpdateAll, "fail_test.star")
	if strings.Contains(report, "Snapshot differs") || len(sum.Written) != 1 {
		t.Errorf("%+v\n%s", sum, report)
	}
	if _, err := os.Stat(filepath.Join(dir, "__snapshots__", "fail_test", "test_gone.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a snapshot that no test takes is still there: %v", err)
	}
}

// The goal: 1,000 assertions on an app of 600 resources within a second.
func BenchmarkThousandAssertions(b *testing.B) {
	var template strings.Builder
	template.WriteString(`{"Resources": {`)
	for i := range 600 {
		if i > 0 {
			template.WriteString(",")
		}
		fmt.Fprintf(&template, `"R%d": {"Type": "AWS::Test::Type%d", "Properties": {"Name": "name-%d", "Tags": [{"Key": "a", "Value": "%d"}], "Deep": {"A": {"B": %d}}}}`, i, i%6, i, i, i)
	}
	template.WriteString("}}")
	dir := b.TempDir()
	file := filepath.Join(dir, "big_test.star")
	err := os.WriteFile(file, []byte(`
web = synth().template("web")

def test_all():
    for i in range(1000):
        n = i % 600
        web.has_resource_properties("AWS::Test::Type%d" % (n % 6), {
            "Name": "name-%d" % n,
            "Tags": Match.array_with([{"Key": "a"}]),
            "Deep": {"A": {"B": n}},
        })
`), 0o644)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		suite := &Suite{Root: dir, Synthesize: func(context.Context, SynthInput) (*App, error) {
			return &App{Stacks: []Stack{{Name: "web", Short: "web", Template: []byte(template.String())}}}, nil
		}}
		if sum, err := suite.RunFiles(b.Context(), []string{file}); err != nil || sum.Passed != 1 {
			b.Fatal(sum, err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*1000, "ms/1000-assertions(goal:1000)")
}
