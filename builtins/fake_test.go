package builtins

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sst/builtins/jsii"
)

// recorder is a host that notes operations and answers with a value of the declared type. What the CDK would do is
// tested with the CDK; this is for what is decided before it is asked.
type recorder struct {
	ops    []jsii.Op
	answer func(op jsii.Op) (jsii.Value, error) // nil, or errUnanswered: a value of the declared type
	fqns   map[int64]string
	tokens int
}

var _ host = (*recorder)(nil)

func (r *recorder) Use(string, []jsii.Library) error { return nil }

func (r *recorder) Missing(context.Context) ([]jsii.Missing, error) { return nil, nil }

var errUnanswered = fmt.Errorf("not answered")

func (r *recorder) note(op jsii.Op) {
	r.ops = append(r.ops, op)
	if r.fqns == nil {
		r.fqns = map[int64]string{}
	}
	if op.ID != 0 {
		r.fqns[op.ID] = op.Returns.FQN
		if op.Kind == jsii.Create {
			r.fqns[op.ID] = op.FQN
		}
	}
}

func (r *recorder) Send(op jsii.Op) { r.note(op) }

func (r *recorder) Call(_ context.Context, op jsii.Op) (jsii.Value, error) {
	r.note(op)
	if r.answer != nil {
		if v, err := r.answer(op); err != errUnanswered {
			return v, err
		}
	}
	if op.Kind == jsii.Resolve {
		return jsii.Ref{ID: op.Target, FQN: r.fqns[op.Target]}, nil
	}
	return r.value(op.Returns, op.ID), nil
}

// value is some value of a type; structs have all their fields.
func (r *recorder) value(ref jsii.TypeRef, id int64) jsii.Value {
	switch ref.Kind {
	case jsii.String:
		r.tokens++
		return fmt.Sprintf("${Token[T.%d]}", r.tokens)
	case jsii.Number:
		return 7.0
	case jsii.Boolean:
		return true
	case jsii.List:
		return []jsii.Value{}
	case jsii.Named:
		t, ok := jsii.Index().Type(ref.FQN)
		if !ok {
			return nil
		}
		if t.Kind == jsii.Enum {
			m, _ := t.Member(t.EnumMembers()[0])
			return jsii.EnumValue{FQN: ref.FQN, Member: m.JS}
		}
		if t.Kind == jsii.Struct {
			fields := map[string]jsii.Value{}
			for _, f := range t.Fields() {
				fields[f.JS] = r.value(f.Type, 0)
			}
			return jsii.StructValue{FQN: ref.FQN, Fields: fields}
		}
		if id != 0 {
			return jsii.Ref{ID: id, FQN: ref.FQN}
		}
	}
	return nil
}

func (r *recorder) Flush(context.Context) error { return nil }

func (r *recorder) Synth(context.Context, int64, int) (*jsii.SynthReply, error) {
	return &jsii.SynthReply{}, nil
}

// evaluation evaluates a project against the recorder.
func evaluation(t testing.TB, files map[string]string) (*session, *recorder, error) {
	t.Helper()
	dir := project(t, files)
	r := &recorder{}
	s := newSession(context.Background(), Input{File: filepath.Join(dir, "stacks.star"), Stage: "dev", OutDir: filepath.Join(dir, "out")}, r)
	return s, r, s.evaluate(compiledPrelude())
}

// project writes files into a folder.
func project(t testing.TB, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.TrimPrefix(text, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPreludeCompiles(t *testing.T) {
	if err := compiledPrelude().err; err != nil {
		t.Fatal(err)
	}
}

func TestEvaluateNotes(t *testing.T) {
	_, r, err := evaluation(t, map[string]string{
		"src/notes.ts": "export async function list() {}\nexport async function create() {}\n",
		"stacks.star": `
app = sst.App("notes")
web = sst.Stack(app, "web")
api = sst.Api(web, "Api", routes = {
    "GET /notes": "src/notes.list",
    "POST /notes": "src/notes.create",
})
sst.Queue(web, "Jobs", consumer = "src/notes.list")
web.output(url = api.url)
bucket = cdk.aws_s3.Bucket(web, "Raw", versioned = True, removal_policy = cdk.RemovalPolicy.DESTROY,
    lifecycle_rules = [{"expiration": "10 days"}])
bucket.grant_read(api.function("GET /notes"))
print(api, bucket)
`})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range r.ops {
		t.Log(op.Kind, op.ID, op.FQN, op.Member, op.Target, op.Args)
	}
}
