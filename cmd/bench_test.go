package cmd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The benchmarks of this file time the real binary, whole process, on the generated app notes-N. Each prints the median
// of its runs beside the target of the project: `make bench`.

// report prints the figure and its target in the form of Go's benchmarks.
func report(b *testing.B, runs []time.Duration, target time.Duration) {
	slices.Sort(runs)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(runs[len(runs)/2]), "ms")
	b.ReportMetric(ms(target), "target-ms")
}

// binary builds sst as a release does, once.
func binary(b *testing.B) string {
	b.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sst-bench-%d", os.Getpid()))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "..")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func runBuild(b *testing.B, sst, dir string) (took time.Duration, peakMiB float64) {
	b.Helper()
	took, peakMiB, _ = runBuildIn(b, sst, dir)
	return took, peakMiB
}

// runBuildIn is runBuild with more of an environment; it gives what was said, too.
func runBuildIn(b *testing.B, sst, dir string, env ...string) (took time.Duration, peakMiB float64, said string) {
	b.Helper()
	command := exec.Command(sst, "build", "--stage", "bench")
	command.Dir = dir
	command.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	started := time.Now()
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	stop, peak := make(chan struct{}), make(chan float64)
	go watchMemory(command.Process.Pid, stop, peak)
	err := command.Wait()
	took = time.Since(started)
	close(stop)
	peakMiB = <-peak
	if err != nil {
		b.Fatalf("sst build: %v\n%s", err, out.Bytes())
	}
	return took, peakMiB, out.String()
}

// watchMemory finds the most memory that a process and all below it held together, where there is a /proc.
func watchMemory(pid int, stop <-chan struct{}, peak chan<- float64) {
	most := 0.0
	for {
		most = max(most, residentMiB(pid))
		select {
		case <-stop:
			peak <- most
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func residentMiB(pid int) float64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib := 0.0
	fmt.Sscan(rest, &kib)
	total := kib / 1024
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(children)) {
			if id, err := strconv.Atoi(child); err == nil {
				total += residentMiB(id)
			}
		}
	}
	return total
}

func benchmarkBuild(b *testing.B, n int, target time.Duration, before func(dir string, i int)) {
	sst := binary(b)
	dir := b.TempDir()
	writeNotes(b, dir, n)
	runBuild(b, sst, dir) // unpacks the CDK where that was not done
	var runs []time.Duration
	most := 0.0
	for range b.N {
		for i := range 7 {
			before(dir, i)
			took, peak := runBuild(b, sst, dir)
			runs = append(runs, took)
			most = max(most, peak)
		}
	}
	report(b, runs, target)
	b.ReportMetric(most, "peak-MiB")
}

func remove(b *testing.B, path string) {
	if err := os.RemoveAll(path); err != nil {
		b.Fatal(err)
	}
}

func edit(b *testing.B, path, old, new string) {
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Replace(string(data), old, new, 1)
	if text == string(data) {
		b.Fatalf("%s does not contain %q", path, old)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkBuildCold10(b *testing.B) {
	benchmarkBuild(b, 10, 600*time.Millisecond, func(dir string, _ int) { remove(b, filepath.Join(dir, ".sst")) })
}

func BenchmarkBuildCold100(b *testing.B) {
	benchmarkBuild(b, 100, 2200*time.Millisecond, func(dir string, _ int) { remove(b, filepath.Join(dir, ".sst")) })
}

func BenchmarkBuildUnchanged10(b *testing.B) {
	benchmarkBuild(b, 10, 60*time.Millisecond, func(string, int) {})
}

func BenchmarkBuildUnchanged100(b *testing.B) {
	benchmarkBuild(b, 100, 60*time.Millisecond, func(string, int) {})
}

func BenchmarkBuildHandlerChanged100(b *testing.B) {
	benchmarkBuild(b, 100, 200*time.Millisecond, func(dir string, i int) {
		edit(b, filepath.Join(dir, "src/route7.ts"), "statusCode: 200", fmt.Sprintf("extra: %d, statusCode: 200", i))
	})
}

func BenchmarkBuildStacksChanged100(b *testing.B) {
	benchmarkBuild(b, 100, 700*time.Millisecond, func(dir string, i int) {
		path := filepath.Join(dir, "stacks.star")
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		data = regexp.MustCompile(`rate\(.*?\)`).ReplaceAll(data, fmt.Appendf(nil, "rate(%d hours)", i+2))
		if err := os.WriteFile(path, data, 0o644); err != nil {
			b.Fatal(err)
		}
	})
}

// writeLarge makes an app of 30 stacks with about 2,000 resources, which refer to each other within a stack and to the first one.
func writeLarge(b *testing.B, dir string) {
	var stacks strings.Builder
	stacks.WriteString("app = sst.App(\"large\", region = \"us-east-1\")\nshared = cdk.aws_sns.Topic(sst.Stack(app, \"shared\"), \"Alarms\")\n")
	for i := range 30 {
		fmt.Fprintf(&stacks, `
def stack%d(s):
    for i in range(12):
        q = cdk.aws_sqs.Queue(s, "Queue%%d" %% i, visibility_timeout = "1 minute", encryption = cdk.aws_sqs.QueueEncryption.SQS_MANAGED)
        q.metric_approximate_number_of_messages_visible().create_alarm(s, "Alarm%%d" %% i, threshold = 10, evaluation_periods = 2)
        t = cdk.aws_sns.Topic(s, "Topic%%d" %% i)
        t.add_subscription(cdk.aws_sns_subscriptions.SqsSubscription(q))
    for i in range(2):
        f = sst.Function(s, "Function%%d" %% i, handler = "src/handler.main")
        shared.grant_publish(f)
stack%d(sst.Stack(app, "s%d"))
`, i, i, i)
	}
	for name, text := range map[string]string{"stacks.star": stacks.String(), "src/handler.ts": "export const main = async () => 1;\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuildLarge(b *testing.B) {
	sst, dir := binary(b), b.TempDir()
	writeLarge(b, dir)
	_, _, said := runBuildIn(b, sst, dir)
	resources := 0
	for _, match := range regexp.MustCompile(`(\d+) resources`).FindAllStringSubmatch(said, -1) {
		n, _ := strconv.Atoi(match[1])
		resources += n
	}
	var runs []time.Duration
	most := 0.0
	for range b.N {
		for range 3 {
			remove(b, filepath.Join(dir, ".sst"))
			took, peak := runBuild(b, sst, dir)
			runs, most = append(runs, took), max(most, peak)
		}
	}
	report(b, runs, 4*time.Second)
	b.ReportMetric(most, "peak-MiB")
	b.ReportMetric(700, "target-MiB")
	b.ReportMetric(float64(resources), "resources")
}

// BenchmarkFirstRun is what the first build on a machine takes more than the second.
func BenchmarkFirstRun(b *testing.B) {
	sst, dir := binary(b), b.TempDir()
	writeNotes(b, dir, 10)
	var more []time.Duration
	for range b.N {
		for range 3 {
			home := "XDG_CACHE_HOME=" + b.TempDir()
			remove(b, filepath.Join(dir, ".sst"))
			first, _, said := runBuildIn(b, sst, dir, home)
			if !strings.Contains(said, "Unpacking") {
				b.Fatalf("the first run does not say that it unpacks:\n%s", said)
			}
			remove(b, filepath.Join(dir, ".sst"))
			second, _, _ := runBuildIn(b, sst, dir, home)
			more = append(more, first-second)
		}
	}
	report(b, more, 2*time.Second)
}
