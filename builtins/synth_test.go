package builtins

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sst/builtins/jsii"
	"sst/cfn"
)

const notes = `
app = sst.App("notes", region = "us-east-1")
storage = sst.Stack(app, "storage")
table = sst.Table(storage, "Notes", fields = {"user": "string", "note": "string"}, primary_index = ("user", "note"))
web = sst.Stack(app, "web")
api = sst.Api(web, "Api", link = [table], routes = {
    "GET /notes": "src/notes.list",
    "POST /notes": "src/notes.create",
    "GET /notes/{id}": "src/notes.get",
})
sst.Function(web, "Export", handler = "src/notes.list", timeout = "1 minute")
sst.Queue(web, "Jobs", consumer = "src/notes.create")
sst.Topic(web, "Events", subscribers = ["src/notes.create"])
sst.Bucket(web, "Files", notifications = ["src/notes.create"])
sst.Cron(web, "Daily", schedule = "rate(1 day)", job = "src/notes.create")
raw = cdk.aws_s3.Bucket(web, "Raw", versioned = True, removal_policy = cdk.RemovalPolicy.DESTROY)
raw.grant_read(api.function("GET /notes"))
web.output(url = api.url)
`

const handlers = "export async function list() {}\nexport async function create() {}\nexport async function get() {}\n"

// synth synthesizes a project with the shared engine.
func synth(t testing.TB, e *Engine, dir string, in Input) (*Synthesis, error) {
	t.Helper()
	in.File = filepath.Join(dir, "stacks.star")
	in.Stage = "dev"
	if in.OutDir == "" {
		in.OutDir = filepath.Join(dir, ".sst", "out")
	}
	return e.Synth(context.Background(), in)
}

func TestSynthNotes(t *testing.T) {
	dir := project(t, map[string]string{"stacks.star": notes, "src/notes.ts": handlers})
	var early []string
	s, err := synth(t, engine(t), dir, Input{OnFunction: func(f cfn.Function) { early = append(early, f.ID) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings) > 0 {
		t.Errorf("warnings: %v", s.Warnings)
	}
	asm, err := cfn.Open(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var stacks []string
	for _, stack := range asm.Stacks {
		stacks = append(stacks, stack.ID)
	}
	if want := []string{"dev-notes-storage", "dev-notes-web"}; !slices.Equal(stacks, want) {
		t.Errorf("stacks = %q, want %q", stacks, want)
	}
	m := s.Manifest
	if m.App != "notes" || m.Stage != "dev" || m.Region != "us-east-1" {
		t.Errorf("app %q, stage %q, region %q", m.App, m.Stage, m.Region)
	}
	var ids []string
	for _, f := range m.Functions {
		ids = append(ids, f.ID)
		template, err := asm.Stack(f.Stack).Template()
		if err != nil {
			t.Fatal(err)
		}
		if r := template.Resources[f.LogicalID]; r == nil || r.Type != "AWS::Lambda::Function" {
			t.Errorf("%s: %s has no function %s", f.ID, f.Stack, f.LogicalID)
		}
	}
	want := []string{"web/Api/GET notes", "web/Api/POST notes", "web/Api/GET notes {id}", "web/Export", "web/Jobs/Consumer",
		"web/Events/Subscriber 0", "web/Files/Notification 0", "web/Daily/Job"}
	if !slices.Equal(ids, want) {
		t.Errorf("functions = %q, want %q", ids, want)
	}
	if !slices.Equal(early, ids) {
		t.Errorf("told early: %q", early)
	}
	if f := m.Functions[3]; f.Name != "dev-notes-web-Export" || f.Timeout != 60 || f.Memory != 1024 || f.Position != (cfn.Position{File: "stacks.star", Line: 10, Column: 13}) {
		t.Errorf("Export = %+v", f)
	}
	if got := m.Positions["dev-notes-web/Raw"]; got.Line != 15 {
		t.Errorf("position of Raw = %+v", got)
	}
	if len(m.Apis) != 1 || len(m.Apis[0].Routes) != 3 || len(m.Triggers) != 5 {
		t.Errorf("apis %+v, triggers %+v", m.Apis, m.Triggers)
	}
	var inputs []string
	for _, input := range s.Inputs {
		rel, _ := filepath.Rel(dir, input.Name)
		inputs = append(inputs, input.Kind+" "+filepath.ToSlash(rel))
	}
	if want := []string{"file stacks.star", "handler src/notes.ts", "missing sst.lock.json"}; !slices.Equal(inputs, want) {
		t.Errorf("inputs = %q, want %q", inputs, want)
	}
}

func TestErrorsOfTheCDK(t *testing.T) {
	e := engine(t)
	each(t, "synth.star", func(t *testing.T, src string) error {
		dir := project(t, map[string]string{"stacks.star": src, "src/notes.ts": handlers})
		_, err := synth(t, e, dir, Input{})
		return err
	})
}

func TestNoApp(t *testing.T) {
	dir := project(t, map[string]string{"stacks.star": "x = 1\n"})
	_, err := synth(t, engine(t), dir, Input{})
	if want := filepath.Join(dir, "stacks.star") + ": error: No app: the file makes no sst.App: begin with app = sst.App(\"name\")."; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestInterrupted(t *testing.T) {
	e := newEngine()
	defer e.Close()
	engine(t)
	dir := project(t, map[string]string{"stacks.star": notes, "src/notes.ts": handlers})
	cause := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(context.Background())
	in := Input{File: filepath.Join(dir, "stacks.star"), Stage: "dev", OutDir: filepath.Join(dir, "out"), OnFunction: func(cfn.Function) { cancel(cause) }}
	if _, err := e.Synth(ctx, in); err == nil {
		t.Fatal("a cancelled synth succeeded")
	}
	if _, err := synth(t, e, dir, Input{}); err != nil { // and the next one is not disturbed
		t.Fatal(err)
	}
}

func TestDeadline(t *testing.T) {
	engine(t)
	e, err := Open(Options{Node: shared.opts.Node, CDKDir: shared.opts.CDKDir, Deadline: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := project(t, map[string]string{"stacks.star": notes, "src/notes.ts": handlers})
	if _, err := synth(t, e, dir, Input{}); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("err = %v, want no answer", err)
	}
}

// A process that is killed, before a synth or in the middle of one, costs time and nothing else.
func TestKilledHost(t *testing.T) {
	engine(t)
	e, err := Open(Options{Node: shared.opts.Node, CDKDir: shared.opts.CDKDir})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	kill := func() {
		process, err := os.FindProcess(e.pool.host.PID())
		if err != nil {
			t.Fatal(err)
		}
		process.Kill()
	}
	dir := project(t, map[string]string{"stacks.star": notes, "src/notes.ts": handlers})
	if _, err := synth(t, e, dir, Input{}); err != nil {
		t.Fatal(err)
	}
	kill()
	if _, err := synth(t, e, dir, Input{}); err != nil {
		t.Errorf("after the process was killed: %v", err)
	}
	var once sync.Once
	if _, err := synth(t, e, dir, Input{OnFunction: func(cfn.Function) { once.Do(kill) }}); err != nil {
		t.Errorf("killed in the middle: %v", err)
	}
	// One that always dies is told, without a third try.
	if _, err := synth(t, e, dir, Input{OnFunction: func(cfn.Function) { kill() }}); err == nil || !strings.Contains(err.Error(), "process ended") {
		t.Errorf("killed each time: err = %v", err)
	}
}

// The successor of a worn process has synthesized the app before it takes over, and writes the same.
func TestWarmSuccessor(t *testing.T) {
	engine(t)
	e, err := Open(Options{Node: shared.opts.Node, CDKDir: shared.opts.CDKDir})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := project(t, map[string]string{"stacks.star": "app = sst.App(\"x\")\nsst.Queue(sst.Stack(app, \"web\"), \"Jobs\")\n"})
	var first *jsii.Host
	var want map[string][]byte
	for i := 0; ; i++ {
		s, err := synth(t, e, dir, Input{})
		if err != nil {
			t.Fatal(err)
		}
		h, err := e.pool.take(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first, want = h, assembly(t, s.Dir)
		}
		if h == first && h.Down() == nil && i < 1000 {
			continue
		}
		if h == first || h.Synths() != warmSynths || i < 49 {
			t.Errorf("after %d synths the successor has made %d, want %d", i+1, h.Synths(), warmSynths)
		}
		break
	}
	s, err := synth(t, e, dir, Input{})
	if err != nil {
		t.Fatal(err)
	}
	if got := assembly(t, s.Dir); !maps.EqualFunc(got, want, bytes.Equal) {
		t.Error("the successor writes something else")
	}
}

func TestInputsOfAFailure(t *testing.T) {
	for name, src := range map[string]string{
		"check":      "app = sst.App(\"x\")\nsst.Stak(app, \"y\")\n",
		"evaluation": "app = sst.App(\"x\")\nread(\"gone.txt\")\n",
		"synth":      "app = sst.App(\"x\")\n",
	} {
		dir := project(t, map[string]string{"stacks.star": src})
		s, err := synth(t, engine(t), dir, Input{})
		if err == nil || s == nil || len(s.Inputs) == 0 || s.Inputs[0].Name != filepath.Join(dir, "stacks.star") {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestNodeMissing(t *testing.T) {
	e, err := Open(Options{
		Node:   func() (jsii.Node, error) { return jsii.Node{}, errors.New("no Node here") },
		CDKDir: func(context.Context) (string, error) { return "", nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := project(t, map[string]string{"stacks.star": "app = sst.App(\"x\")\nsst.Stak(app, \"y\")\n"})
	if _, err := synth(t, e, dir, Input{}); err == nil || !strings.Contains(err.Error(), `Did you mean "Stack"?`) {
		t.Errorf("err = %v, want that of the file", err)
	}
	dir = project(t, map[string]string{"stacks.star": "app = sst.App(\"x\")\n"})
	if _, err := synth(t, e, dir, Input{}); err == nil || err.Error() != "no Node here" {
		t.Errorf("err = %v, want that of Node", err)
	}
}

func TestRealHashes(t *testing.T) {
	src := "app = sst.App(\"x\", region = \"us-east-1\")\nweb = sst.Stack(app, \"web\")\nf = sst.Function(web, \"F\", handler = \"src/notes.list\")\nweb.output(v = f.current_version.version)\n"
	dir := project(t, map[string]string{"stacks.star": src, "src/notes.ts": handlers})
	s, err := synth(t, engine(t), dir, Input{})
	if err != nil {
		t.Fatal(err)
	}
	asm, err := cfn.Open(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if needs, err := cfn.NeedsRealHash(asm); err != nil || !needs {
		t.Error(err, "a version does not need the real hash")
	}
	before := string(assembly(t, s.Dir)["dev-x-web.template.json"])
	hash := strings.Repeat("ab", 32)
	if s, err = synth(t, engine(t), dir, Input{Hashes: map[string]string{s.Manifest.Functions[0].Bundle.Key(): hash}}); err != nil {
		t.Fatal(err)
	}
	after := string(assembly(t, s.Dir)["dev-x-web.template.json"])
	if before == after || !strings.Contains(after, hash) {
		t.Error("the real hash is not in the template")
	}
}
