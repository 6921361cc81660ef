package jsii

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// linked is an unpacked CDK of the test's own, without what other hosts have learned.
func linked(t *testing.T) string {
	t.Helper()
	_, dir := needNode(t)
	own := t.TempDir()
	err := filepath.WalkDir(filepath.Join(dir, "node_modules"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(own, rel), 0o755)
		}
		return os.Link(path, filepath.Join(own, rel))
	})
	if err != nil {
		t.Skipf("the CDK cannot be linked: %v", err)
	}
	return own
}

func packs(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "modules-*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// synthOn synthesizes an app that asks for facts about a region, on a fresh host, and gives its template.
func synthOn(t *testing.T, dir string) []byte {
	t.Helper()
	node, _ := needNode(t)
	h, err := Start(context.Background(), HostOptions{Node: node, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	p := programOn(t, h, Session{})
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S", map[string]Value{"env": map[string]Value{"region": "eu-west-1"}})
	p.create("aws-cdk-lib.aws_lambda.Function", stack, "F", map[string]Value{
		"runtime": p.constant("aws-cdk-lib.aws_lambda.Runtime", "NODEJS_22_X"), "handler": "index.main",
		"code":            p.static("aws-cdk-lib.aws_lambda.Code", "fromInline", "exports.main = 1"),
		"insightsVersion": p.constant("aws-cdk-lib.aws_lambda.LambdaInsightsVersion", "VERSION_1_0_229_0"),
	})
	reply, err := h.Synth(p.ctx, app.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(p.ctx); err != nil { // then the pack is written
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(reply.Dir, "S.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The pack changes nothing but the time, and a host starts from a broken one as from none.
func TestPack(t *testing.T) {
	dir := linked(t)
	first := synthOn(t, dir)
	if !strings.Contains(string(first), "arn:aws:lambda:eu-west-1:580247275435:layer:LambdaInsightsExtension") {
		t.Errorf("no fact about the region in %s", first)
	}
	found := packs(t, dir)
	if len(found) != 1 {
		t.Fatalf("packs after the first synth: %v", found)
	}
	good, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"good":                  good,
		"cut short":             good[:len(good)/2],
		"empty":                 {},
		"of an unknown form":    []byte("this is no pack"),
		"refused by the engine": withoutCode(good),
	} {
		if err := os.WriteFile(found[0], data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := synthOn(t, dir); !bytes.Equal(got, first) {
			t.Errorf("with a pack that is %s: another template\n%s\nwant\n%s", name, got, first)
		}
	}
}

// withoutCode spoils what V8 made of the modules, not the modules.
func withoutCode(pack []byte) []byte {
	return bytes.ReplaceAll(bytes.Clone(pack), pack[codeStart(pack):codeStart(pack)+8], make([]byte, 8))
}

func codeStart(pack []byte) int {
	return 4 + int(pack[0]) + int(pack[1])<<8 + int(pack[2])<<16 + int(pack[3])<<24
}

// What may have made a host fail is not there for the next one.
func TestPackForgotten(t *testing.T) {
	dir := t.TempDir()
	pack := filepath.Join(dir, "modules-v22.0.0-x64.pack")
	if err := os.WriteFile(pack, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	forget(dir)
	if _, err := os.Stat(pack); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the pack is still there: %v", err)
	}
}

// A Node.js is asked for its version once, a launcher that may choose another one each time.
func TestRecalledVersion(t *testing.T) {
	dir := t.TempDir()
	memory := filepath.Join(dir, "cache", "node.json")
	program := filepath.Join(dir, "node")
	write := func(size int64, at time.Time) {
		t.Helper()
		if err := os.WriteFile(program, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Truncate(program, size), os.Chtimes(program, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	version := func(want string, times int) {
		t.Helper()
		asked = 0
		for range 2 {
			got, err := recalledVersion(memory, program, func() (string, error) { asked++; return want, nil })
			if err != nil || got != want {
				t.Errorf("version %s, %v, want %s", got, err, want)
			}
		}
		if asked != times {
			t.Errorf("asked %d times, want %d", asked, times)
		}
	}
	write(nodeSize, time.Unix(1000, 0))
	version("22.0.0", 1)
	write(nodeSize+1, time.Unix(1000, 0))
	version("22.1.0", 1)
	write(nodeSize+1, time.Unix(2000, 0))
	version("22.2.0", 1)
	write(100, time.Unix(1000, 0))
	version("24.0.0", 2)
	if err := os.WriteFile(memory, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	write(nodeSize, time.Unix(1000, 0))
	version("24.1.0", 1)
	if _, err := recalledVersion(filepath.Join(dir, "other.json"), program, func() (string, error) { return "", errors.New("broken") }); err == nil {
		t.Error("no error of a program that does not run")
	}
}

// Every edit of the CDK's files finds its place, once: with another version of the CDK an edit may have become pointless.
func TestEdits(t *testing.T) {
	node, dir := needNode(t)
	script := `
const fs = require('fs');
const { edits } = require(process.argv[1]);
for (const name in edits) {
  const source = fs.readFileSync(process.argv[2] + '/' + name, 'utf8');
  for (const [from] of edits[name]) {
    const times = source.split(from).length - 1;
    if (times !== 1) console.log(name + ' has ' + times + ' times ' + from.slice(0, 80));
  }
}
console.log(Object.keys(edits).length);`
	modules, err := filepath.Abs("modules.js")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(node.Path, "-e", script, modules, dir).CombinedOutput()
	if err != nil || strings.Contains(string(out), "times") || strings.TrimSpace(string(out)) == "0" {
		t.Errorf("%v\n%s", err, out)
	}
}
