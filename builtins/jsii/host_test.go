package jsii

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// unpacked gives the CDK's folder and Node, once for all tests, or skips.
var unpacked = sync.OnceValues(func() (string, error) {
	cache := os.Getenv("SST_TEST_CDK_CACHE") // several runs may share one
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(base, "sst-test")
	}
	return Unpack(context.Background(), cache, nil)
})

func needNode(t testing.TB) (Node, string) {
	t.Helper()
	node, err := FindNode(os.Getenv, "")
	if err != nil {
		t.Skipf("needs Node.js: %v", err)
	}
	dir, err := unpacked()
	if err != nil {
		t.Fatal(err)
	}
	return node, dir
}

// program drives a host in tests: every step ends the test when it fails.
type program struct {
	t    testing.TB
	host *Host
	ctx  context.Context
	last int64
}

func newHost(t testing.TB, o HostOptions) *Host {
	t.Helper()
	o.Node, o.Dir = needNode(t)
	h, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// shared is the host that tests use one after another, as one that is kept warm is used for one app after another.
var shared *Host

func newProgram(t testing.TB, s Session) *program {
	node, dir := needNode(t)
	if shared == nil || shared.Worn() {
		h, err := Start(context.Background(), HostOptions{Node: node, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		shared = h
	}
	return programOn(t, shared, s)
}

// ownProgram has a host of its own.
func ownProgram(t testing.TB, s Session) *program { return programOn(t, newHost(t, HostOptions{}), s) }

func programOn(t testing.TB, h *Host, s Session) *program {
	h.Begin(s)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &program{t: t, host: h, ctx: ctx}
}

func (p *program) id() int64 { p.last++; return p.last }

// create makes an object without waiting.
func (p *program) create(fqn string, args ...Value) Ref {
	id := p.id()
	p.host.Send(Op{Kind: Create, ID: id, FQN: fqn, Args: args, Tag: int(id)})
	return Ref{ID: id, FQN: fqn}
}

func (p *program) call(op Op) Value {
	p.t.Helper()
	v, err := p.host.Call(p.ctx, op)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// declared is the result type of a member.
func declared(t testing.TB, fqn, js string) TypeRef {
	t.Helper()
	m, ok := mustType(t, fqn).FieldJS(js)
	if !ok {
		t.Fatalf("%s has no %s", fqn, js)
	}
	if m.Kind == Property {
		return m.Type
	}
	if m.Returns == nil {
		return TypeRef{}
	}
	return *m.Returns
}

func (p *program) get(target Ref, js string) Value {
	p.t.Helper()
	return p.call(Op{Kind: Get, ID: p.id(), Target: target.ID, Member: js, Returns: declared(p.t, target.FQN, js)})
}

func (p *program) invoke(target Ref, js string, args ...Value) Value {
	p.t.Helper()
	return p.call(Op{Kind: Invoke, ID: p.id(), Target: target.ID, Member: js, Args: args, Returns: declared(p.t, target.FQN, js)})
}

func (p *program) static(fqn, js string, args ...Value) Value {
	p.t.Helper()
	return p.call(Op{Kind: Static, ID: p.id(), FQN: fqn, Member: js, Args: args, Returns: declared(p.t, fqn, js)})
}

func (p *program) constant(fqn, js string) Value {
	p.t.Helper()
	return p.call(Op{Kind: StaticGet, ID: p.id(), FQN: fqn, Member: js, Returns: declared(p.t, fqn, js)})
}

func appProps(outdir string) map[string]Value {
	return map[string]Value{
		"outdir": outdir, "treeMetadata": false, "analyticsReporting": false,
		"context": map[string]Value{"aws:cdk:disable-creation-stack-traces": true},
	}
}

func (p *program) app() Ref { return p.create("aws-cdk-lib.App", appProps(p.t.TempDir())) }

func (p *program) synth(app Ref) *SynthReply {
	p.t.Helper()
	reply, err := p.host.Synth(p.ctx, app.ID, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

func template(t testing.TB, dir, stack string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, stack+".template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHost(t *testing.T) {
	p := newProgram(t, Session{})
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	queue := p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Q", map[string]Value{
		"removalPolicy": EnumValue{"aws-cdk-lib.RemovalPolicy", "RETAIN"},
	})
	arn := p.get(queue, "queueArn")
	if s, ok := arn.(string); !ok || !strings.HasPrefix(s, "${Token[") {
		t.Errorf("queueArn = %v", arn)
	}
	reply := p.synth(app)
	if got := reply.Paths[queue.ID]; got != "S/Q" {
		t.Errorf("path of the queue = %q, of all %v", got, reply.Paths)
	}
	if len(template(t, reply.Dir, "S")["Resources"].(map[string]any)) != 1 {
		t.Error("the template has not one resource")
	}
}

// The same object answers with the same ID, whichever way it comes.
func TestIdentity(t *testing.T) {
	p := newProgram(t, Session{})
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	queue := p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Q")

	node1 := p.get(queue, "node").(Ref)
	node2 := p.get(queue, "node").(Ref)
	if node1.ID != node2.ID || node1.FQN != "constructs.Node" {
		t.Errorf("node is %+v, then %+v", node1, node2)
	}
	if scope := p.get(node1, "scope").(Ref); scope.ID != stack.ID || scope.FQN != "aws-cdk-lib.Stack" {
		t.Errorf("scope = %+v, want the stack %+v", scope, stack)
	}
	children := p.get(p.get(stack, "node").(Ref), "children").([]Value)
	if len(children) != 1 || children[0].(Ref).ID != queue.ID {
		t.Errorf("children of the stack = %v", children)
	}

	// Sent without waiting, used, and found out later.
	lazy := p.id()
	p.host.Send(Op{Kind: Get, ID: lazy, Target: queue.ID, Member: "stack"})
	bucket := p.create("aws-cdk-lib.aws_s3.Bucket", Ref{ID: lazy}, "B")
	if got := p.call(Op{Kind: Resolve, Target: lazy, Returns: TypeRef{Kind: Named, FQN: "aws-cdk-lib.Stack"}}); got.(Ref).ID != stack.ID {
		t.Errorf("the sent result is %+v, want the stack", got)
	}
	if path := p.call(Op{Kind: NodePath, Target: bucket.ID}); path != "S/B" {
		t.Errorf("path = %v", path)
	}

	// No value is a value, until it is used.
	none := p.id()
	p.host.Send(Op{Kind: Get, ID: none, Target: queue.ID, Member: "deadLetterQueue", Tag: 7})
	if got := p.call(Op{Kind: Resolve, Target: none, Returns: TypeRef{Kind: Any}}); got != nil {
		t.Errorf("deadLetterQueue = %v", got)
	}
	_, err := p.host.Call(p.ctx, Op{Kind: Get, Target: none, Member: "x", Returns: TypeRef{Kind: Any}})
	if e := new(Error); !errors.As(err, &e) || !strings.Contains(e.Message, "no value") {
		t.Errorf("use of nothing: %v", err)
	}

	// A class that is not public comes back as what it was declared to be.
	imported := p.static("aws-cdk-lib.aws_sqs.Queue", "fromQueueArn", stack, "I", "arn:aws:sqs:us-east-1:111111111111:q").(Ref)
	if imported.FQN != "aws-cdk-lib.aws_sqs.QueueBase" || imported.Interfaces != nil {
		t.Errorf("imported queue = %+v", imported)
	}
}

func TestValues(t *testing.T) {
	p := newProgram(t, Session{})
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S", map[string]Value{"env": map[string]Value{"region": "eu-west-1", "account": "111111111111"}})

	// An enum comes back as one, whether it is declared alone or in a struct.
	fn := p.create("aws-cdk-lib.aws_lambda.Function", stack, "F", map[string]Value{
		"runtime": p.constant("aws-cdk-lib.aws_lambda.Runtime", "NODEJS_22_X"), "handler": "i.h",
		"code": p.static("aws-cdk-lib.aws_lambda.Code", "fromInline", "x"),
	})
	family := p.get(p.get(fn, "runtime").(Ref), "family")
	if family != (EnumValue{"aws-cdk-lib.aws_lambda.RuntimeFamily", "NODEJS"}) {
		t.Errorf("family = %v", family)
	}
	// A struct comes back by value.
	env := p.get(fn, "env").(StructValue)
	if env.FQN != "aws-cdk-lib.interfaces.ResourceEnvironment" && env.FQN != "aws-cdk-lib.ResourceEnvironment" || env.Fields["region"] != "eu-west-1" {
		t.Errorf("env = %+v", env)
	}
	// Dates go both ways.
	when := time.Date(2031, 2, 3, 4, 5, 6, 7e6, time.UTC)
	expiration := p.static("aws-cdk-lib.Expiration", "atDate", when).(Ref)
	if got, ok := p.get(expiration, "date").(time.Time); !ok || !got.Equal(when) {
		t.Errorf("date = %v, want %v", got, when)
	}
	// Tokens: text, lists and numbers.
	list := p.static("aws-cdk-lib.Token", "asList", map[string]Value{"Ref": "L"}).([]Value)
	if len(list) != 1 || !strings.HasPrefix(list[0].(string), "#{Token[") {
		t.Errorf("list token = %v", list)
	}
	number := p.static("aws-cdk-lib.Token", "asNumber", map[string]Value{"Ref": "N"}).(float64)
	if !IsNumberToken(number) || IsNumberToken(42) || IsNumberToken(-1e300) {
		t.Errorf("number token = %v", number)
	}
	// Anything: maps keep their keys, even those that look like ours, and null is null inside of them.
	text := p.invoke(stack, "toJsonString", map[string]Value{
		"$ref": 1, "n": nil, "i": number, "l": []Value{true, nil, 1.5}, "s": "ü\u2028\x01\"",
	})
	resolved := p.invoke(stack, "resolve", text)
	data, _ := json.Marshal(resolved)
	if got, want := string(data), `{"Fn::Join":["",["{\"$ref\":1,\"i\":",{"Ref":"N"},",\"l\":[true,null,1.5],\"n\":null,\"s\":\"ü\u2028\\u0001\\\"\"}"]]}`; got != want {
		t.Errorf("resolved = %s\nwant %s", got, want)
	}
	if got := p.invoke(stack, "resolve", map[string]Value{"$callback": map[string]Value{"$ref": "x"}}); !reflect.DeepEqual(got, map[string]Value{"$callback": map[string]Value{"$ref": "x"}}) {
		t.Errorf("a map with our keys came back as %v", got)
	}
	// Pairs keep their order, structs go back as they came.
	text = p.invoke(stack, "toJsonString", Pairs{{"z", 1}, {"a", Pairs{{"$x", env}}}})
	if got := p.invoke(stack, "resolve", text); got != `{"z":1,"a":{"$x":{"account":"111111111111","region":"eu-west-1"}}}` {
		t.Errorf("pairs = %v", got)
	}
	// Properties can be set.
	p.host.Send(Op{Kind: Set, Target: stack.ID, Member: "terminationProtection", Args: []Value{true}})
	if got := p.get(stack, "terminationProtection"); got != true {
		t.Errorf("terminationProtection = %v", got)
	}
}

func TestErrors(t *testing.T) {
	p := newProgram(t, Session{})
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Q")
	bad := p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Q") // the same id
	p.create("aws-cdk-lib.aws_sqs.Queue", bad, "Inner")      // not even tried
	after := p.create("aws-cdk-lib.aws_sqs.Queue", stack, "After")
	err := p.host.Flush(p.ctx)
	var e *Error
	if !errors.As(err, &e) || e.Tag != int(bad.ID) || !strings.Contains(e.Message, "There is already a Construct with name 'Q'") || !strings.Contains(e.JSStack, "constructs") {
		t.Fatalf("duplicate id: %#v", err)
	}
	// The error is told once, and the host goes on; what followed the error was not done.
	if _, err := p.host.Call(p.ctx, Op{Kind: NodePath, Target: after.ID}); err == nil || !strings.Contains(err.Error(), "unknown object") {
		t.Errorf("after an error: %v", err)
	}
	p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Next")
	if err := p.host.Flush(p.ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		op   Op
		want string
	}{
		{Op{Kind: Create, ID: p.id(), FQN: "aws-cdk-lib.aws_sqs.Nothing"}, "the CDK has no aws-cdk-lib.aws_sqs.Nothing"},
		{Op{Kind: Invoke, Target: stack.ID, Member: "nothing"}, "aws-cdk-lib.Stack has no method nothing"},
		{Op{Kind: Static, FQN: "aws-cdk-lib.Duration", Member: "days", Args: []Value{EnumValue{"aws-cdk-lib.RemovalPolicy", "NONE"}}}, "aws-cdk-lib.RemovalPolicy has no NONE"},
		{Op{Kind: Static, FQN: "aws-cdk-lib.Duration", Member: "days", Args: []Value{struct{}{}}}, "cannot be passed on"},
		{Op{Kind: Create, FQN: "aws-cdk-lib.App"}, "no id"},
	} {
		c.op.Tag = 99
		p.host.Send(Op{Kind: Static, FQN: "aws-cdk-lib.Duration", Member: "days", Args: []Value{1}})
		_, err := p.host.Call(p.ctx, c.op)
		if !errors.As(err, &e) || e.Tag != 99 || !strings.Contains(e.Message, c.want) {
			t.Errorf("%+v: error %v, want %q", c.op, err, c.want)
		}
		p.host.Send(c.op)
		if err := p.host.Flush(p.ctx); !errors.As(err, &e) || e.Tag != 99 || !strings.Contains(e.Message, c.want) {
			t.Errorf("sent %+v: error %v, want %q", c.op, err, c.want)
		}
	}
	// A construct that the CDK names in an error is passed on.
	queue := p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Slow", map[string]Value{"visibilityTimeout": p.static("aws-cdk-lib.Duration", "days", 1)})
	if err := p.host.Flush(p.ctx); !errors.As(err, &e) || e.Tag != int(queue.ID) || e.Path != "S/Slow" {
		t.Errorf("visibility timeout too long: %#v", err)
	}
}

// Annotations come with the assembly; a failed validation lists all that is wrong, each with its construct.
func TestSynthMessages(t *testing.T) {
	p := newProgram(t, Session{})
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	queue := p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Q")
	annotations := p.static("aws-cdk-lib.Annotations", "of", queue).(Ref)
	p.invoke(annotations, "addWarningV2", "house:rule", "mind this")
	p.invoke(annotations, "addError", "not this")
	reply := p.synth(app)
	want := []Message{{"warning", "S/Q", queue.ID, "mind this [ack: house:rule]"}, {"error", "S/Q", queue.ID, "not this"}}
	if !reflect.DeepEqual(reply.Messages, want) {
		t.Errorf("messages = %+v\nwant %+v", reply.Messages, want)
	}

	p.last = 0
	p.host.Begin(Session{Callback: func(ctx context.Context, call CallbackRequest) (Value, error) {
		return []Value{"wrong " + fmt.Sprint(call.ID)}, nil
	}})
	app = p.app()
	stack = p.create("aws-cdk-lib.Stack", app, "S")
	for i := int64(1); i <= 2; i++ {
		c := p.create("constructs.Construct", stack, fmt.Sprintf("C%d", i))
		p.invoke(p.get(c, "node").(Ref), "addValidation", Callback{ID: i, FQN: "constructs.IValidation", Methods: []string{"validate"}})
	}
	_, err := p.host.Synth(p.ctx, app.ID, 3)
	var e *Error
	if !errors.As(err, &e) || e.Tag != 3 || len(e.Messages) != 2 || e.Messages[1].Message != "wrong 2" || e.Messages[1].Path != "S/C2" {
		t.Errorf("failed validation: %+v", err)
	}
}

func TestCallbacks(t *testing.T) {
	var p *program
	var visited []string
	failure := errors.New("the aspect is cross")
	fail := false
	answer := func(ctx context.Context, call CallbackRequest) (Value, error) {
		switch call.ID {
		case 1: // an aspect, which asks and changes while it is called
			node := call.Args[0].(Ref)
			path := p.call(Op{Kind: NodePath, Target: node.ID}).(string)
			visited = append(visited, path)
			if fail && path == "S/Q" {
				return nil, failure
			}
			if path == "S/Q" {
				p.host.Send(Op{Kind: Invoke, Target: node.ID, Member: "applyRemovalPolicy", Args: []Value{EnumValue{"aws-cdk-lib.RemovalPolicy", "RETAIN"}}})
			}
			return nil, nil
		case 2: // a producer of text
			if len(call.Args) != 0 && call.Method != "produce" {
				return nil, fmt.Errorf("unexpected call %+v", call)
			}
			return "produced", nil
		case 3: // an object with a property, and a method that calls another callback
			if call.Get {
				return "the property", nil
			}
			return p.call(Op{Kind: Invoke, Target: call.Args[0].(Ref).ID, Member: "resolve", Args: []Value{"x"}, Returns: TypeRef{Kind: Any}}), nil
		}
		return nil, fmt.Errorf("unexpected call %+v", call)
	}
	p = newProgram(t, Session{Callback: answer})
	build := func() Ref {
		app := p.app()
		stack := p.create("aws-cdk-lib.Stack", app, "S")
		queue := p.create("aws-cdk-lib.aws_sqs.Queue", stack, "Q", map[string]Value{
			"queueName": p.static("aws-cdk-lib.Lazy", "string", Callback{ID: 2, FQN: "aws-cdk-lib.IStableStringProducer", Methods: []string{"produce"}}),
		})
		p.invoke(p.static("aws-cdk-lib.Aspects", "of", queue).(Ref), "add", Callback{ID: 1, FQN: "aws-cdk-lib.IAspect", Methods: []string{"visit"}})
		p.create("aws-cdk-lib.CfnOutput", stack, "O", map[string]Value{
			"value": p.static("aws-cdk-lib.Token", "asString", Callback{ID: 3, FQN: "aws-cdk-lib.IResolvable", Methods: []string{"resolve"}}),
		})
		return app
	}
	reply := p.synth(build())
	resources := template(t, reply.Dir, "S")["Resources"].(map[string]any)
	queue := resources["Q63C6E3AB"].(map[string]any)
	if queue["DeletionPolicy"] != "Retain" || queue["Properties"].(map[string]any)["QueueName"] != "produced" {
		t.Errorf("queue = %v", queue)
	}
	if got := template(t, reply.Dir, "S")["Outputs"].(map[string]any)["O"].(map[string]any)["Value"]; got != "x" {
		t.Errorf("output = %v", got)
	}
	if strings.Join(visited, " ") != "S/Q S/Q/Resource" {
		t.Errorf("visited %v", visited)
	}

	// An error ends the synth and comes back as itself; the host is as good as before.
	p.last = 0
	fail = true
	p.host.Begin(Session{Callback: answer})
	_, err := p.host.Synth(p.ctx, build().ID, 4)
	if !errors.Is(err, failure) {
		t.Errorf("error of a callback: %v", err)
	}
	if e := new(Error); !errors.As(err, &e) || e.Tag != 4 {
		t.Errorf("error of a callback: %#v", err)
	}
	p.last = 0
	fail = false
	p.host.Begin(Session{Callback: answer})
	p.synth(build())
}

// An abstract class can be filled in by Go, and what was queued before a callback is done after it.
func TestCallbackClass(t *testing.T) {
	var p *program
	calls := 0
	p = newProgram(t, Session{Callback: func(ctx context.Context, call CallbackRequest) (Value, error) {
		calls++
		return map[string]Value{"inlineCode": "exports.h = 1"}, nil
	}})
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	fn := p.create("aws-cdk-lib.aws_lambda.Function", stack, "F", map[string]Value{
		"runtime": p.constant("aws-cdk-lib.aws_lambda.Runtime", "NODEJS_22_X"), "handler": "index.h",
		"code": Callback{ID: 1, FQN: "aws-cdk-lib.aws_lambda.Code", Methods: []string{"bind"}},
	})
	p.host.flush(0)
	for i := range 3000 { // more than a pipe holds, while the host waits for the callback
		p.create("aws-cdk-lib.Tag", fmt.Sprint("k", i), strings.Repeat("v", 50))
	}
	if got := p.call(Op{Kind: LogicalID, Target: fn.ID}); got != "FC4345940" {
		t.Errorf("logical id = %v", got)
	}
	reply := p.synth(app)
	resource := template(t, reply.Dir, "S")["Resources"].(map[string]any)["FC4345940"].(map[string]any)
	if code := resource["Properties"].(map[string]any)["Code"].(map[string]any); code["ZipFile"] != "exports.h = 1" || calls != 1 {
		t.Errorf("code = %v after %d calls", code, calls)
	}
}

func TestPlaceholderCode(t *testing.T) {
	p := newProgram(t, Session{})
	key := strings.Repeat("ab", 32)
	app := p.app()
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	code := Ref{ID: p.id()}
	p.host.Send(Op{Kind: PlaceholderCode, ID: code.ID, Args: []Value{key}})
	fn := p.create("aws-cdk-lib.aws_lambda.Function", stack, "F", map[string]Value{
		"runtime": p.constant("aws-cdk-lib.aws_lambda.Runtime", "NODEJS_22_X"), "handler": "index.h", "code": code,
	})
	p.get(fn, "currentVersion")
	reply := p.synth(app)
	data, _ := os.ReadFile(filepath.Join(reply.Dir, "S.template.json"))
	if !strings.Contains(string(data), `"S3Key": "`+key+`.zip"`) {
		t.Errorf("template without the key:\n%s", data)
	}
	assets, _ := os.ReadFile(filepath.Join(reply.Dir, "S.assets.json"))
	if !strings.Contains(string(assets), `"path": "asset.`+key+`.zip"`) {
		t.Errorf("asset manifest without the placeholder:\n%s", assets)
	}
}

// A warm host makes the same bytes as a fresh one, tokens included, whatever it did before.
func TestDeterminism(t *testing.T) {
	run := func(p *program) string {
		p.last = 0
		p.host.Begin(Session{})
		app := p.app()
		stack := p.create("aws-cdk-lib.Stack", app, "S")
		var out []string
		for i := range 3 {
			q := p.create("aws-cdk-lib.aws_sqs.Queue", stack, fmt.Sprint("Q", i))
			out = append(out, p.get(q, "queueArn").(string))
		}
		p.create("aws-cdk-lib.aws_ec2.Vpc", stack, "V") // its zones are tokens that the CDK makes once
		out = append(out, p.constant("aws-cdk-lib.Aws", "ACCOUNT_ID").(string))
		expires := p.static("aws-cdk-lib.Expiration", "after", p.static("aws-cdk-lib.Duration", "days", 1)).(Ref)
		out = append(out, fmt.Sprint(p.get(expires, "date")))
		out = append(out, p.constant("aws-cdk-lib.aws_stepfunctions.JsonPath", "entirePayload").(string))
		reply := p.synth(app)
		data, err := os.ReadFile(filepath.Join(reply.Dir, "S.template.json"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(out, "\n") + string(data)
	}
	fresh := ownProgram(t, Session{})
	want := run(fresh)
	if got := run(fresh); got != want {
		t.Errorf("second run in the host:\n%s\nfirst:\n%s", got, want)
	}
	other := newProgram(t, Session{})
	other.functions(2, t.TempDir())
	other.static("aws-cdk-lib.aws_events.EventField", "fromPath", "$.x") // loads modules in another order
	other.constant("aws-cdk-lib.aws_stepfunctions.JsonPath", "DISCARD")
	if got := run(other); got != want {
		t.Errorf("another host, after other work:\n%s\nfirst:\n%s", got, want)
	}
}

// What CDK code reads is reported, what is outside of the root refused.
func TestFiles(t *testing.T) {
	root, outside := t.TempDir(), "/etc/hostname"
	for name, text := range map[string]string{"code/index.js": "x", "code/sub/y.js": "y", "spec.yaml": "openapi: 3.0.0"} {
		file := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := newProgram(t, Session{Root: root})
	build := func(path string) (*SynthReply, error) {
		p.last = 0
		p.host.Begin(Session{Root: root, OutDir: filepath.Join(root, ".sst", "out")})
		app := p.create("aws-cdk-lib.App")
		stack := p.create("aws-cdk-lib.Stack", app, "S")
		p.create("aws-cdk-lib.aws_s3_assets.Asset", stack, "A", map[string]Value{"path": path})
		return p.host.Synth(p.ctx, app.ID, 0)
	}
	reply, err := build("code")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, ".sst", "out"); reply.Dir != want {
		t.Errorf("assembly in %s, want %s", reply.Dir, want)
	}
	kinds := map[string]string{}
	for _, f := range reply.Files {
		rel, err := filepath.Rel(root, f.Name)
		if err != nil || strings.HasPrefix(rel, "..") || strings.HasPrefix(rel, ".sst") {
			t.Errorf("reported %+v", f)
		}
		kinds[filepath.ToSlash(rel)] = f.Kind
	}
	for name, want := range map[string]string{"code": "dir", "code/sub": "dir", "code/index.js": "file", "code/sub/y.js": "file"} {
		if kinds[name] != want {
			t.Errorf("%s was reported as %q, want %q; all: %v", name, kinds[name], want, kinds)
		}
	}
	if _, ok := kinds["spec.yaml"]; ok {
		t.Error("a file that nobody read was reported")
	}

	var e *Error
	if _, err := build(outside); !errors.As(err, &e) || e.Name != "ReadRefused" || !strings.Contains(e.Message, outside+" is outside of "+root) {
		t.Errorf("outside of the root: %v", err)
	}
	if err := os.Symlink("/etc", filepath.Join(root, "link")); err == nil {
		if _, err := build("link/hostname"); !errors.As(err, &e) || e.Name != "ReadRefused" || !strings.Contains(e.Message, "is a link to") {
			t.Errorf("link out of the root: %v", err)
		}
	}
	// A changed file is read again.
	first, _ := os.ReadFile(filepath.Join(reply.Dir, "S.assets.json"))
	if err := os.WriteFile(filepath.Join(root, "code", "index.js"), []byte("z"), 0o644); err != nil {
		t.Fatal(err)
	}
	if reply, err = build("code"); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(filepath.Join(reply.Dir, "S.assets.json")); string(first) == string(second) {
		t.Error("the asset of a changed file is the same")
	}
}

func TestExec(t *testing.T) {
	root := t.TempDir()
	for _, allow := range []bool{false, true} {
		p := newProgram(t, Session{Root: root, AllowExec: allow})
		_, err := p.host.Call(p.ctx, Op{Kind: Static, FQN: "aws-cdk-lib.aws_lambda.Code", Member: "fromCustomCommand", ID: p.id(), Tag: 2,
			Args: []Value{root, []Value{p.host.options.Node.Path, "--eval", "require('fs').writeFileSync('made', 'x')"}}})
		_, statErr := os.Stat(filepath.Join(root, "made"))
		var e *Error
		switch {
		case allow && (err != nil || statErr != nil):
			t.Errorf("allowed command: %v, %v", err, statErr)
		case !allow && (!errors.As(err, &e) || e.Name != "ExecRefused" || e.Tag != 2 || !strings.Contains(e.Message, "--eval") || statErr == nil):
			t.Errorf("refused command: %v", err)
		}
	}
}

// The environment of CDK code has nothing of the user's that could change what it makes.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"AWS_REGION": "eu-north-1", "NODE_OPTIONS": "--no-such-option", "CDK_CONTEXT_JSON": `{"x":1}`, "CDK_OUTDIR": "/nowhere", "CDK_DEFAULT_REGION": "x"} {
		t.Setenv(name, value)
	}
	p := ownProgram(t, Session{})
	app := p.app()
	p.synth(app)
	if v := p.invoke(p.get(app, "node").(Ref), "tryGetContext", "x"); v != nil {
		t.Errorf("context x = %v", v)
	}
}
