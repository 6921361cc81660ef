package builtins

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

func TestCheck(t *testing.T) {
	each(t, "check.star", func(t *testing.T, src string) error {
		dir := project(t, map[string]string{"stacks.star": src})
		if problems := (parsedFiles{}).check(Input{File: filepath.Join(dir, "stacks.star")}); problems.HasErrors() {
			return problems
		}
		return nil
	})
}

// raw evaluates a file against the recorder, with a stack and no prelude.
func raw(t testing.TB, src string) (*session, *recorder, starlark.StringDict, error) {
	t.Helper()
	dir := project(t, map[string]string{"stacks.star": src})
	r := &recorder{}
	in := Input{File: filepath.Join(dir, "stacks.star"), Stage: "dev", OutDir: filepath.Join(dir, "out"), Env: func(name string) (string, bool) { return "", name == "SET" }}
	s := newSession(context.Background(), in, r)
	user := s.forUser()
	s.interp = interp.New(interp.Options{Root: s.root, OnRead: s.onRead, Predeclared: user})
	stackType, _ := s.catalog.Type(stackFQN)
	s.stack = &Object{s: s, id: s.id(), t: stackType, path: "dev-notes-web"}
	s.stack.canonical = s.stack.id
	user["stack"] = s.stack
	user["flag"] = starlark.MakeInt(1)
	globals, err := s.interp.Exec(s.ctx, in.File)
	return s, r, globals, err
}

func TestConversionErrors(t *testing.T) {
	each(t, "convert.star", func(t *testing.T, src string) error {
		_, _, _, err := raw(t, src)
		return err
	})
}

// args are the arguments of the last operation of a kind.
func (r *recorder) last(t *testing.T, kind jsii.OpKind) jsii.Op {
	t.Helper()
	for i := len(r.ops) - 1; i >= 0; i-- {
		if r.ops[i].Kind == kind {
			return r.ops[i]
		}
	}
	t.Fatalf("no operation of kind %d", kind)
	return jsii.Op{}
}

func TestConversion(t *testing.T) {
	tests := []struct {
		src  string
		want any // properties of the last construct
	}{
		{`cdk.aws_s3.Bucket(stack, "A", versioned = True)`, map[string]any{"versioned": true}},
		{`cdk.aws_s3.Bucket(stack, "A", versioned = None)`, map[string]any{}},
		{`cdk.aws_s3.Bucket(stack, "A", removal_policy = cdk.RemovalPolicy.DESTROY)`,
			map[string]any{"removalPolicy": jsii.EnumValue{FQN: "aws-cdk-lib.RemovalPolicy", Member: "DESTROY"}}},
		{`cdk.aws_s3.Bucket(stack, "A", lifecycle_rules = [{"prefix": "x", "id": None}])`,
			map[string]any{"lifecycleRules": []any{map[string]any{"prefix": "x"}}}},
		{`cdk.aws_s3.Bucket(stack, "A", lifecycle_rules = [cdk.aws_s3.LifecycleRule(prefix = "x")])`,
			map[string]any{"lifecycleRules": []any{map[string]any{"prefix": "x"}}}},
		{`cdk.CfnResource(stack, "A", type = "A::B::C", properties = {"A": None, "B": [1, 2.5, True], "C": {"d_e": (1,)}})`,
			map[string]any{"type": "A::B::C", "properties": map[string]any{"A": nil, "B": []any{int64(1), 2.5, true}, "C": map[string]any{"d_e": []any{int64(1)}}}}},
		{`cdk.CfnResource(stack, "A", type = "A::B::C", properties = struct(a = stack))`,
			map[string]any{"type": "A::B::C", "properties": map[string]any{"a": jsii.Ref{ID: 1}}}},
	}
	for _, test := range tests {
		_, r, _, err := raw(t, test.src)
		if err != nil {
			t.Errorf("%s: %v", test.src, err)
			continue
		}
		args := r.last(t, jsii.Create).Args
		var got any = map[string]any{}
		if len(args) > 2 {
			got = canonical(args[2])
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got  %#v\n want %#v", test.src, got, test.want)
		}
	}
}

func TestUnits(t *testing.T) {
	tests := []struct{ src, want string }{
		{`"10 seconds"`, "seconds 10"},
		{`"1 second"`, "seconds 1"},
		{`90`, "seconds 90"},
		{`"1.5 hours"`, "seconds 5400"},
		{`"2 weeks"`, "days 14"},
		{`"0.5 seconds"`, "millis 500"},
		{`"5 minutes"`, "minutes 5"},
	}
	for _, test := range tests {
		_, r, _, err := raw(t, `cdk.aws_sqs.Queue(stack, "Q", visibility_timeout = `+test.src+`)`)
		if err != nil {
			t.Errorf("%s: %v", test.src, err)
			continue
		}
		op := r.last(t, jsii.Static)
		if got := fmt.Sprintf("%s %v", op.Member, op.Args[0]); got != test.want {
			t.Errorf("%s = %s, want %s", test.src, got, test.want)
		}
	}
}

func TestValues(t *testing.T) {
	_, _, globals, err := raw(t, `
bucket = cdk.aws_s3.Bucket(stack, "Raw")
same = bucket == bucket
other = bucket == cdk.aws_s3.Bucket(stack, "Other")
key = {bucket: 1}[bucket]
text = str([bucket, stack, cdk.aws_lambda.Runtime.NODEJS_22_X, cdk.RemovalPolicy.DESTROY, cdk.aws_s3, cdk.aws_s3.Bucket])
kinds = [type(bucket), type(cdk.RemovalPolicy.DESTROY), type(cdk.aws_s3.LifecycleRule(prefix = "x"))]
rule = cdk.aws_s3.LifecycleRule(prefix = "x")
fields = [rule.prefix, rule.id, str(rule)]
has = [hasattr(bucket, "bucket_arn"), hasattr(bucket, "x"), "Bucket" in dir(cdk.aws_s3), "aws_s3" in dir(cdk), "constructs" in dir(cdk), "DESTROY" in dir(cdk.RemovalPolicy)]
token = cdk.Token.as_number({"Ref": "X"})
`)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"same":   "True",
		"other":  "False",
		"key":    "1",
		"text":   `"[<aws_s3.Bucket dev-notes-web/Raw>, <cdk.Stack dev-notes-web>, <aws_lambda.Runtime>, cdk.RemovalPolicy.DESTROY, <module cdk.aws_s3>, <class cdk.aws_s3.Bucket>]"`,
		"kinds":  `["cdk.aws_s3.Bucket", "cdk.RemovalPolicy", "cdk.aws_s3.LifecycleRule"]`,
		"fields": `["x", None, "cdk.aws_s3.LifecycleRule(prefix = \"x\")"]`,
		"has":    "[True, False, True, True, True, True]",
	} {
		if got := globals[name].String(); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
}

func TestQueuedAndAwaited(t *testing.T) {
	// Nothing here has to wait for an answer but the name.
	_, r, globals, err := raw(t, `
bucket = cdk.aws_s3.Bucket(stack, "Raw", lifecycle_rules = [{"expiration": "1 day"}])
fn = cdk.aws_lambda.Function(stack, "F", handler = "h", code = cdk.aws_lambda.Code.from_inline("x"), runtime = cdk.aws_lambda.Runtime.NODEJS_22_X)
bucket.grant_read(fn)
fn.add_to_role_policy(cdk.aws_iam.PolicyStatement(actions = ["*"]))
name = bucket.bucket_name
`)
	if err != nil {
		t.Fatal(err)
	}
	waited := 0
	for _, op := range r.ops {
		if op.ID == 0 && op.Kind != jsii.Invoke {
			waited++
		}
	}
	if waited != 1 {
		t.Errorf("waited for %d answers, want 1", waited)
	}
	if name, _ := starlark.AsString(globals["name"]); name == "" {
		t.Errorf("no name")
	}
}

func TestMapsKeepTheirOrder(t *testing.T) {
	_, r, _, err := raw(t, `cdk.CfnResource(stack, "A", type = "A::B::C", properties = {"z": {"y": 1, "x": 2}, "a": 3})`)
	if err != nil {
		t.Fatal(err)
	}
	args := r.last(t, jsii.Create).Args
	want := jsii.Pairs{{Name: "type", Value: "A::B::C"}, {Name: "properties", Value: jsii.Pairs{
		{Name: "z", Value: jsii.Pairs{{Name: "y", Value: int64(1)}, {Name: "x", Value: int64(2)}}}, {Name: "a", Value: int64(3)}}}}
	if got := args[len(args)-1]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
