package builtins

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// notesN is an app of n routes with a function each, a table, a queue, a topic and a cron, at most 40 routes a stack.
func notesN(n int) map[string]string {
	var stacks, src strings.Builder
	stacks.WriteString("app = sst.App(\"notes\", region = \"us-east-1\")\ndata = sst.Stack(app, \"data\")\n" +
		"table = sst.Table(data, \"Notes\", fields = {\"id\": \"string\"}, primary_index = \"id\")\n" +
		"sst.Queue(data, \"Jobs\", consumer = \"src/h.f0\")\nsst.Topic(data, \"Events\", subscribers = [\"src/h.f0\"])\n" +
		"sst.Cron(data, \"Daily\", schedule = \"rate(1 day)\", job = \"src/h.f0\")\n")
	for i := range n {
		if i%40 == 0 {
			if i > 0 {
				stacks.WriteString("})\n")
			}
			fmt.Fprintf(&stacks, "sst.Api(sst.Stack(app, \"web%d\"), \"Api%d\", link = [table], routes = {\n", i/40, i/40)
		}
		fmt.Fprintf(&stacks, "    \"GET /r%d\": \"src/h.f%d\",\n", i, i)
		fmt.Fprintf(&src, "export const f%d = async () => 1;\n", i)
	}
	stacks.WriteString("})\n")
	return map[string]string{"stacks.star": stacks.String(), "src/h.ts": src.String()}
}

// BenchmarkSynthWarm is a re-synth in a running process: targets 40 ms for 10 functions, 200 ms for 100.
func BenchmarkSynthWarm(b *testing.B) {
	e := engine(b)
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			dir := project(b, notesN(n))
			run := func() {
				if _, err := synth(b, e, dir, Input{}); err != nil {
					b.Fatal(err)
				}
			}
			run()
			for b.Loop() {
				run()
			}
		})
	}
}

// BenchmarkSynthCold boots a process for each synth.
func BenchmarkSynthCold(b *testing.B) {
	engine(b)
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("functions=%d", n), func(b *testing.B) {
			dir := project(b, notesN(n))
			for b.Loop() {
				e := newEngine()
				if _, err := synth(b, e, dir, Input{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				e.Close()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkEvaluate is a file of 1,000 resources without the CDK: target 10 ms.
func BenchmarkEvaluate(b *testing.B) {
	var src strings.Builder
	src.WriteString("app = sst.App(\"big\")\nweb = sst.Stack(app, \"web\")\n")
	for i := range 1000 {
		fmt.Fprintf(&src, "cdk.aws_sqs.Queue(web, \"Q%d\", fifo = True, visibility_timeout = \"1 minute\", removal_policy = cdk.RemovalPolicy.DESTROY)\n", i)
	}
	dir := project(b, map[string]string{"stacks.star": src.String()})
	in := Input{File: filepath.Join(dir, "stacks.star"), Stage: "dev"}
	compiledPrelude()
	b.Run("evaluate", func(b *testing.B) {
		for b.Loop() {
			r := &recorder{}
			if err := newSession(context.Background(), in, r).evaluate(compiledPrelude()); err != nil {
				b.Fatal(err)
			}
		}
	})
	Env()
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if problems := (parsedFiles{}).check(in); problems.HasErrors() {
				b.Fatal(problems)
			}
		}
	})
	b.Run("prelude", func(b *testing.B) {
		empty := project(b, map[string]string{"stacks.star": ""})
		in := Input{File: filepath.Join(empty, "stacks.star"), Stage: "dev"}
		for b.Loop() {
			if err := newSession(context.Background(), in, &recorder{}).evaluate(compiledPrelude()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkResynths is 500 synths in one process, hosts replaced on the way: what it and its hosts have grown by since the first
// hundred, target 50 MiB, and how long one takes in the middle, and the first one of a new host.
func BenchmarkResynths(b *testing.B) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		b.Skip("memory is read from /proc")
	}
	e := engine(b)
	dir := project(b, notesN(10))
	hosts := map[int]bool{}
	var all, first []float64 // ms of synths, and of those that are the first of their host
	run := func(n int) {
		for range n {
			h, err := e.pool.take(context.Background()) // the one that will be used, unless another becomes ready just now
			if err != nil {
				b.Fatal(err)
			}
			pid := h.PID()
			began := time.Now()
			if _, err := synth(b, e, dir, Input{}); err != nil {
				b.Fatal(err)
			}
			took := time.Since(began).Seconds() * 1000
			all = append(all, took)
			if !hosts[pid] {
				first = append(first, took)
			}
			hosts[pid] = true
		}
	}
	middle := func(figures []float64) float64 {
		slices.Sort(figures)
		return figures[len(figures)/2]
	}
	// A host grows until it is replaced, so that the same point of its life is looked at.
	atEnd := func() float64 {
		for e.pool.host.Synths() != 49 {
			run(1)
		}
		runtime.GC()
		return residentMiB(os.Getpid()) + residentMiB(e.pool.host.PID())
	}
	for range b.N {
		run(100)
		before := atEnd()
		clear(hosts)
		all, first = nil, nil
		run(500)
		b.ReportMetric(atEnd()-before, "grown-MiB")
		b.ReportMetric(50, "target-MiB")
		b.ReportMetric(before, "MiB")
		b.ReportMetric(float64(len(hosts)), "hosts")
		b.ReportMetric(middle(all), "median-ms")
		b.ReportMetric(middle(first), "first-of-a-host-ms")
	}
	b.ReportMetric(0, "ns/op")
}

func residentMiB(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib := 0.0
	fmt.Sscan(rest, &kib)
	return kib / 1024
}
