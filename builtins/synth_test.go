package builtins

import (
	"context"
	"os"
	"path/filepath"
	"testing"

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
	var early []cfn.Function
	s, err := synth(t, engine(t), dir, Input{OnFunction: func(f cfn.Function) { early = append(early, f) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range s.Warnings {
		t.Log(d)
	}
	entries, _ := os.ReadDir(s.Dir)
	for _, e := range entries {
		t.Log(e.Name())
	}
	for _, f := range s.Manifest.Functions {
		t.Logf("%+v", f)
	}
	t.Logf("%+v", s.Manifest.Apis)
	t.Logf("%+v", s.Manifest.Triggers)
	t.Logf("%+v", s.Inputs)
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
