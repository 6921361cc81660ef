package jsii

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
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

func newProgram(t testing.TB, s Session) *program {
	h := newHost(t, HostOptions{})
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
