package jsii

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// functions makes an app of n functions, each with a table that it may read and a grant, and synthesizes it.
func (p *program) functions(n int, outdir string) *SynthReply {
	app := p.create("aws-cdk-lib.App", appProps(outdir))
	stack := p.create("aws-cdk-lib.Stack", app, "S")
	bucket := p.create("aws-cdk-lib.aws_s3.Bucket", stack, "B")
	runtime := Ref{ID: p.id()}
	p.host.Send(Op{Kind: StaticGet, ID: runtime.ID, FQN: "aws-cdk-lib.aws_lambda.Runtime", Member: "NODEJS_22_X"})
	for i := range n {
		code := Ref{ID: p.id()}
		p.host.Send(Op{Kind: PlaceholderCode, ID: code.ID, Args: []Value{fmt.Sprintf("%064x", i)}})
		fn := p.create("aws-cdk-lib.aws_lambda.Function", stack, fmt.Sprintf("F%d", i), map[string]Value{
			"runtime": runtime, "handler": "index.handler", "code": code, "memorySize": 512,
			"environment": map[string]Value{"I": fmt.Sprint(i)},
		})
		p.host.Send(Op{Kind: Invoke, ID: p.id(), Target: bucket.ID, Member: "grantRead", Args: []Value{fn}})
	}
	return p.synth(app)
}

// From nothing to the template on disk: the process starts, loads the CDK and synthesizes.
func BenchmarkSynthCold(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			node, dir := needNode(b)
			for b.Loop() {
				h, err := Start(context.Background(), HostOptions{Node: node, Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				h.Begin(Session{})
				p := &program{t: b, host: h, ctx: context.Background()}
				p.functions(n, b.TempDir())
				b.StopTimer()
				h.Close()
				b.StartTimer()
			}
		})
	}
}

func BenchmarkSynthWarm(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			p := newProgram(b, Session{})
			p.functions(n, b.TempDir())
			first := p.host.Memory()
			count := 0
			for b.Loop() {
				count++
				p.last = 0
				p.host.Begin(Session{})
				p.functions(n, b.TempDir())
			}
			b.ReportMetric(float64(p.host.Memory())/(1<<20), "MiB")
			b.ReportMetric(float64(p.host.Memory()-first)/(1<<20)/float64(count), "MiB-more/op")
		})
	}
}

func BenchmarkHostBoot(b *testing.B) {
	node, dir := needNode(b)
	for b.Loop() {
		h, err := Start(context.Background(), HostOptions{Node: node, Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		h.Begin(Session{})
		if err := h.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		h.Close()
		b.StartTimer()
	}
}

// One question and its answer.
func BenchmarkRoundTrip(b *testing.B) {
	p := newProgram(b, Session{})
	app := p.app()
	p.call(Op{Kind: NodePath, Target: app.ID})
	for b.Loop() {
		p.call(Op{Kind: NodePath, Target: app.ID})
	}
}

// Operations that nobody waits for.
func BenchmarkSend(b *testing.B) {
	p := newProgram(b, Session{})
	value := map[string]Value{"text": strings.Repeat("x", 100), "when": time.Now(), "list": []Value{1, 2.5, true, nil}}
	p.host.Flush(p.ctx)
	for b.Loop() {
		p.host.Send(Op{Kind: Static, FQN: "aws-cdk-lib.Token", Member: "isUnresolved", Args: []Value{value}})
	}
	p.host.Flush(p.ctx)
}
