package lsp

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bigFile is a stacks.star of so many lines: constructs of sst and of the CDK, functions, comments.
func bigFile(lines int) string {
	var b strings.Builder
	b.WriteString("# Generated.\napp = sst.App(\"big\")\nweb = sst.Stack(app, \"web\")\n\n")
	for i := 0; i*22+4 < lines; i++ {
		fmt.Fprintf(&b, `# Queue number %[1]d and what belongs to it.
queue_%[1]d = sst.Queue(web, "Queue%[1]d", consumer = {
    "function": "src/jobs.main",
    "batch_size": 5,
    "memory": 512,
})
bucket_%[1]d = cdk.aws_s3.Bucket(web, "Bucket%[1]d",
    versioned = True,
    removal_policy = cdk.RemovalPolicy.DESTROY,
    lifecycle_rules = [{"expiration": "10 days", "prefix": "tmp/"}],
)

def grant_%[1]d(fn, *, write = False):
    """Gives access to the bucket."""
    if write:
        bucket_%[1]d.grant_read_write(fn)
    else:
        bucket_%[1]d.grant_read(fn)

grant_%[1]d(queue_%[1]d.function())
web.output(**{"queue%[1]d": queue_%[1]d.queue_url})

`, i)
	}
	return b.String()
}

func TestBigFile(t *testing.T) {
	if lines := strings.Count(bigFile(10_000), "\n"); lines < 10_000 || lines > 10_100 {
		t.Errorf("%d lines", lines)
	}
	c := newClient(t, project(t))
	path := filepath.Join(c.root, "stacks.star")
	c.open(path, bigFile(500))
	for _, d := range c.diagnosed(path, 1) {
		t.Errorf("%d: %s: %s", d.Range.Start.Line+1, d.Code, d.Message)
	}
}

func project(t testing.TB) string {
	root := t.TempDir()
	for name, text := range map[string]string{"stacks.star": "", "src/jobs.ts": "export function main() {}\n"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// spawn starts the real program.
func spawn(t testing.TB, binary, root string) (*testClient, *exec.Cmd) {
	command := exec.Command(binary, "lsp", "--stdio")
	command.Dir = root
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	c := attach(t, in, out)
	c.root = root
	return c, command
}

func end(t testing.TB, c *testClient, command *exec.Cmd) {
	if err := c.request("shutdown", nil, nil); err != nil {
		t.Error(err)
	}
	c.notify("exit", nil)
	if err := command.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// samples are durations in milliseconds.
type samples []float64

func (s *samples) time(f func()) {
	start := time.Now()
	f()
	*s = append(*s, float64(time.Since(start).Microseconds())/1000)
}

func (s samples) at(p float64) float64 {
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(len(sorted)-1, int(math.Ceil(p*float64(len(sorted))))-1)]
}

// table prints figures beside their goals. What misses its goal is marked and fails the benchmark.
type table struct {
	rows, missed int
}

// goal is what a figure shall be at most: p50 or p99 of a row, or its only figure.
type goal struct {
	of    string
	limit float64
}

func (t *table) judge(figures map[string]float64, goals []goal) string {
	var parts []string
	verdict := "ok"
	for _, g := range goals {
		parts = append(parts, fmt.Sprintf("%s <= %g", g.of, g.limit))
		if figures[g.of] > g.limit {
			verdict = "MISSED"
		}
	}
	t.rows++
	if verdict != "ok" {
		t.missed++
	}
	return fmt.Sprintf("goal %s: %s", strings.Join(parts, ", "), verdict)
}

// times prints a row of durations in milliseconds.
func (t *table) times(name string, s samples, goals ...goal) {
	figures := map[string]float64{"p50": s.at(0.5), "p95": s.at(0.95), "p99": s.at(0.99)}
	fmt.Printf("%-42s n %4d  p50 %7.2f  p95 %7.2f  p99 %7.2f  max %7.2f ms   %s\n",
		name, len(s), figures["p50"], figures["p95"], figures["p99"], s.at(1), t.judge(figures, goals))
}

// figure prints a row of one figure.
func (t *table) figure(name string, value float64, unit string, limit float64) {
	fmt.Printf("%-42s %7.1f %-48s %s\n", name, value, unit, t.judge(map[string]float64{unit: value}, []goal{{unit, limit}}))
}

// BenchmarkServer drives the real program on a file of 10,000 lines with a change before every request, and prints each
// figure beside its goal: `make bench-lsp`.
func BenchmarkServer(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "sst")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "..").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	root := project(b)
	text := bigFile(10_000)
	path := filepath.Join(root, "stacks.star")
	for b.Loop() {
		t := &table{}
		t.cold(b, binary, root, path, text)
		c, command := spawn(b, binary, root)
		c.initialize(root)
		c.quick = true
		t.warm(b, c, command, path, text)
		end(b, c, command)
		t.small(b, binary)
		t.large(b, binary)
		if t.missed > 0 {
			b.Errorf("%d of %d goals are missed", t.missed, t.rows)
		}
	}
}

func (t *table) cold(b *testing.B, binary, root, path, text string) {
	var started, first samples
	for range 6 {
		start := time.Now()
		c, command := spawn(b, binary, root)
		c.initialize(root)
		started = append(started, float64(time.Since(start).Microseconds())/1000)
		c.open(path, text)
		c.change(path, 2, map[string]any{"range": testRange{}, "text": "cdk.\n"})
		var list testList
		if err := c.request("textDocument/completion", at(path, testPosition{0, 4}), &list); err != nil || len(list.Items) == 0 {
			b.Fatalf("%v, %d items", err, len(list.Items))
		}
		first = append(first, float64(time.Since(start).Microseconds())/1000)
		end(b, c, command)
	}
	// The first start reads the program, which was built a moment ago, from the disk.
	t.times("spawn -> initialize", started[1:], goal{"p99", 60})
	t.times("spawn -> first completion of cdk members", first[1:], goal{"p99", 150})
}

func (t *table) warm(b *testing.B, c *testClient, command *exec.Cmd, path, text string) {
	lines := strings.Split(text, "\n")
	target := 5000
	for !strings.HasPrefix(lines[target], "bucket_") {
		target++
	}
	lines = slices.Insert(lines, target, "probe = cdk.aws_lambda.Function(web, \"Probe\", )", "probe2 = cdk.aws_s3.", "probe3 = sst.Function(web, \"P\", handler = \"src/\")", "#")
	text = strings.Join(lines, "\n")
	c.open(path, text)
	c.diagnosed(path, 1)
	t.figure("resident memory after open", memory(command.Process.Pid), "MiB", 80)
	version := 1
	edit := func(where int, add string) { // in a comment, so that the file stays as it is
		version++
		area := testRange{testPosition{where, 1}, testPosition{where, 1}}
		c.change(path, version, map[string]any{"range": area, "text": add})
	}
	largest := 0
	run := func(name, method string, place testPosition, extra map[string]any, goals ...goal) {
		var s samples
		for i := range 320 {
			edit(target+3, "x")
			params := at(path, place)
			for k, v := range extra {
				params[k] = v
			}
			f := func() {
				if err := c.request(method, params, nil); err != nil {
					b.Fatal(err)
				}
			}
			if i < 20 {
				f()
			} else {
				s.time(f)
			}
			if method == "textDocument/completion" {
				largest = max(largest, c.bytes)
			}
		}
		t.times(name, s, goals...)
	}
	completion := []goal{{"p50", 8}, {"p99", 25}}
	run("completion: keywords", "textDocument/completion", testPosition{target, len(lines[target]) - 1}, nil, completion...)
	run("completion: attributes", "textDocument/completion", testPosition{target + 1, len(lines[target+1])}, nil, completion...)
	run("completion: handler", "textDocument/completion", testPosition{target + 2, len(lines[target+2]) - 2}, nil, completion...)
	run("completion: names", "textDocument/completion", testPosition{target + 4, 2}, nil, completion...)
	t.figure("largest completion reply", float64(largest)/1024, "KB", 64)
	run("hover", "textDocument/hover", testPosition{target, 25}, nil, goal{"p99", 20})
	run("signature help", "textDocument/signatureHelp", testPosition{target, len(lines[target]) - 1}, nil, goal{"p99", 20})
	run("definition", "textDocument/definition", testPosition{target, 33}, nil, goal{"p99", 20})
	run("document symbols", "textDocument/documentSymbol", testPosition{}, nil, goal{"p99", 60})
	run("semantic tokens, whole file", "textDocument/semanticTokens/full", testPosition{}, nil, goal{"p99", 60})
	run("folding", "textDocument/foldingRange", testPosition{}, nil, goal{"p99", 60})
	style := map[string]any{"options": map[string]any{"tabSize": 4, "insertSpaces": true}}
	run("formatting", "textDocument/formatting", testPosition{}, style, goal{"p99", 80})
	fresh := path + "fresh.star"
	var first samples
	for i := range 10 { // nothing of it is known: a text that was not there before
		c.open(fresh, strings.ReplaceAll(text, "queue_", fmt.Sprintf("queue%d_", i)))
		first.time(func() {
			params := at(fresh, testPosition{})
			params["options"] = style["options"]
			if err := c.request("textDocument/formatting", params, nil); err != nil {
				b.Fatal(err)
			}
		})
	}
	c.notify("textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": uriOf(fresh)}})
	t.times("open, parse and format a whole file", first, goal{"p99", 160})

	var newline samples
	for range 300 {
		edit(1, "\n#") // every statement below moves
		newline.time(func() {
			if err := c.request("textDocument/hover", at(path, testPosition{target, 25}), nil); err != nil {
				b.Fatal(err)
			}
		})
		target++
	}
	t.times("hover after a new line at the top", newline, goal{"p99", 20})

	var diagnostics samples
	for range 60 {
		edit(target+3, "y")
		diagnostics.time(func() { c.diagnosed(path, version) })
	}
	t.times("edit -> diagnostics (100 ms of it wait)", diagnostics, goal{"p99", 200})

	var cancel samples
	for range 100 {
		var waiting []chan reply
		for range 5 {
			_, ch := c.send("textDocument/semanticTokens/full", at(path, testPosition{}))
			waiting = append(waiting, ch)
		}
		params := at(path, testPosition{})
		params["options"] = style["options"]
		id, ch := c.send("textDocument/formatting", params)
		cancel.time(func() {
			c.notify("$/cancelRequest", map[string]any{"id": id})
			c.wait(ch)
		})
		for _, ch := range waiting {
			c.wait(ch)
		}
	}
	t.times("cancel -> reply, behind other requests", cancel, goal{"p99", 5})

	before, start := cpu(command.Process.Pid), time.Now()
	for range 100 {
		edit(target+3, "t")
		if err := c.request("textDocument/completion", at(path, testPosition{target, 25}), nil); err != nil {
			b.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.figure("typing, a key and a completion each 50 ms", 100*(cpu(command.Process.Pid)-before).Seconds()/time.Since(start).Seconds(), "% of a core", 15)

	t.figure("resident memory after all of the above", memory(command.Process.Pid), "MiB", 120)
	for i := range 10_000 {
		edit(target+3, "z")
		if i%20 == 0 {
			if err := c.request("textDocument/hover", at(path, testPosition{target, 25}), nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	t.figure("resident memory after 10,000 edits more", memory(command.Process.Pid), "MiB", 120)
}

// small measures what is not about a long file: completion in one of 200 lines, diagnostics with 20 loaded files.
func (t *table) small(b *testing.B, binary string) {
	root := project(b)
	c, command := spawn(b, binary, root)
	c.initialize(root)
	defer end(b, c, command)

	path := filepath.Join(root, "stacks.star")
	c.open(path, bigFile(200)+"\nprobe = cdk.aws_lambda.Function(web, \"Probe\", )\n#\n")
	c.diagnosed(path, 1)
	c.quick = true
	probe := strings.Count(bigFile(200), "\n") + 1
	var s samples
	for i := range 320 {
		c.change(path, i+2, map[string]any{"range": testRange{testPosition{probe + 1, 1}, testPosition{probe + 1, 1}}, "text": "x"})
		f := func() {
			if err := c.request("textDocument/completion", at(path, testPosition{probe, 46}), nil); err != nil {
				b.Fatal(err)
			}
		}
		if i < 20 {
			f()
		} else {
			s.time(f)
		}
	}
	t.times("completion: keywords, file of 200 lines", s, goal{"p99", 10})

	main := "app = sst.App(\"a\")\nstack = sst.Stack(app, \"s\")\n"
	for i := range 20 {
		part := fmt.Sprintf("def make_%d(stack):\n    bucket = cdk.aws_s3.Bucket(stack, \"B%d\", versioned = True)\n    return bucket\n", i, i) + strings.Repeat("# more\n", 200)
		if err := os.WriteFile(filepath.Join(root, fmt.Sprintf("part%d.star", i)), []byte(part), 0o644); err != nil {
			b.Fatal(err)
		}
		main = fmt.Sprintf("load(\"./part%d.star\", \"make_%d\")\n", i, i) + main + fmt.Sprintf("make_%d(stack)\n", i)
	}
	other := filepath.Join(root, "other.star")
	c.open(other, main+"#\n")
	c.diagnosed(other, 1)
	last := strings.Count(main, "\n")
	var diagnostics samples
	for i := range 60 {
		c.change(other, i+2, map[string]any{"range": testRange{testPosition{last, 1}, testPosition{last, 1}}, "text": "x"})
		diagnostics.time(func() { c.diagnosed(other, i+2) })
	}
	t.times("edit -> diagnostics, 20 loaded files", diagnostics, goal{"p99", 400})
}

// large starts in a project of 200 Starlark files beside node_modules with 50,000.
func (t *table) large(b *testing.B, binary string) {
	root := project(b)
	manyFiles(b, root, 200, 50_000)
	path := filepath.Join(root, "stacks.star")
	text := "load(\"./stacks/s7.star\", \"make_7\")\napp = sst.App(\"a\")\nmake_7(app)\n"
	var started, first, found, handlers samples
	for range 6 {
		start := time.Now()
		since := func(s *samples) { *s = append(*s, float64(time.Since(start).Microseconds())/1000) }
		c, command := spawn(b, binary, root)
		c.initialize(root)
		since(&started)
		c.open(path, text)
		ask := func(method string, params map[string]any) {
			if err := c.request(method, params, nil); err != nil {
				b.Fatal(err)
			}
		}
		ask("textDocument/hover", at(path, testPosition{2, 3}))
		since(&first)
		found.time(func() { ask("workspace/symbol", map[string]any{"query": "make"}) })
		c.open(path+"2.star", "f = sst.Function(None, \"F\", handler = \"\")\n")
		handlers.time(func() {
			ask("textDocument/completion", at(path+"2.star", testPosition{0, 40}))
		})
		end(b, c, command)
	}
	t.times("200 files, 50,000 in node_modules: start", started[1:], goal{"p99", 60})
	t.times("  first hover over a loaded name", first[1:], goal{"p99", 150})
	t.times("  first search for symbols in all files", found[1:], goal{"p99", 400})
	t.times("  first completion of a handler", handlers[1:], goal{"p99", 150})
}

// manyFiles makes Starlark files and the files of packages.
func manyFiles(t testing.TB, root string, stars, packaged int) {
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	make := func(dir string) string {
		dir = filepath.Join(root, dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := make("stacks")
	for i := range stars {
		write(filepath.Join(dir, fmt.Sprintf("s%d.star", i)), fmt.Sprintf("def make_%d(app):\n    \"\"\"Makes stack %d.\"\"\"\n    return sst.Stack(app, \"s%d\")\n", i, i, i))
	}
	for i := range packaged {
		if i%100 == 0 {
			dir = make(fmt.Sprintf("node_modules/package%d/lib", i/100))
		}
		write(filepath.Join(dir, fmt.Sprintf("f%d.js", i)), "")
	}
}

// cpu is the processor time that a process has had, 0 where that is not known.
func cpu(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks, 100 a second on every Linux
}

// memory is the resident memory of a process in MiB, 0 where that is not known.
func memory(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			n, _ := strconv.Atoi(strings.Fields(string(rest))[0])
			return float64(n) / 1024
		}
	}
	return 0
}
