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
		cold(b, binary, root, path, text)
		c, command := spawn(b, binary, root)
		c.initialize(root)
		warm(b, c, command, path, text)
		end(b, c, command)
		small(b, binary)
	}
}

func line(name string, s samples, p99 float64, note string) {
	fmt.Printf("%-42s n %4d  p50 %7.2f  p90 %7.2f  p99 %7.2f  max %7.2f ms   goal p99 %5.0f%s\n", name, len(s), s.at(0.5), s.at(0.9), s.at(0.99), s.at(1), p99, note)
}

func cold(b *testing.B, binary, root, path, text string) {
	var started, first samples
	for range 5 {
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
	line("spawn -> initialize", started, 60, "")
	line("spawn -> first completion of cdk members", first, 150, "")
}

func warm(b *testing.B, c *testClient, command *exec.Cmd, path, text string) {
	lines := strings.Split(text, "\n")
	target := 5000
	for !strings.HasPrefix(lines[target], "bucket_") {
		target++
	}
	lines = slices.Insert(lines, target, "probe = cdk.aws_lambda.Function(web, \"Probe\", )", "probe2 = cdk.aws_s3.", "probe3 = sst.Function(web, \"P\", handler = \"src/\")", "#")
	text = strings.Join(lines, "\n")
	c.open(path, text)
	c.diagnosed(path, 1)
	fmt.Printf("%-42s %d MiB (goal 80)\n", "resident memory after open", memory(command.Process.Pid))
	version := 1
	edit := func(where int, add string) { // in a comment, so that the file stays as it is
		version++
		area := testRange{testPosition{where, 1}, testPosition{where, 1}}
		c.change(path, version, map[string]any{"range": area, "text": add})
	}
	run := func(name, method string, place testPosition, goal float64, extra map[string]any) {
		var s samples
		size := 0
		for i := range 120 {
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
			size = max(size, c.bytes)
		}
		line(name, s, goal, fmt.Sprintf("  reply %d KB", size>>10))
	}
	run("completion: keywords", "textDocument/completion", testPosition{target, len(lines[target]) - 1}, 25, nil)
	run("completion: attributes", "textDocument/completion", testPosition{target + 1, len(lines[target+1])}, 25, nil)
	run("completion: handler", "textDocument/completion", testPosition{target + 2, len(lines[target+2]) - 2}, 25, nil)
	run("completion: names", "textDocument/completion", testPosition{target + 4, 2}, 25, nil)
	run("hover", "textDocument/hover", testPosition{target, 25}, 20, nil)
	run("signature help", "textDocument/signatureHelp", testPosition{target, len(lines[target]) - 1}, 20, nil)
	run("definition", "textDocument/definition", testPosition{target, 33}, 20, nil)
	run("document symbols", "textDocument/documentSymbol", testPosition{}, 60, nil)
	run("semantic tokens, whole file", "textDocument/semanticTokens/full", testPosition{}, 60, nil)
	run("folding", "textDocument/foldingRange", testPosition{}, 60, nil)
	run("formatting", "textDocument/formatting", testPosition{}, 80, map[string]any{"options": map[string]any{"tabSize": 4, "insertSpaces": true}})

	var newline samples
	for range 100 {
		edit(1, "\n#") // every statement below moves
		newline.time(func() {
			if err := c.request("textDocument/hover", at(path, testPosition{target, 25}), nil); err != nil {
				b.Fatal(err)
			}
		})
		target++
	}
	line("hover after a new line at the top", newline, 25, "")

	var diagnostics samples
	for range 60 {
		edit(target+3, "y")
		diagnostics.time(func() { c.diagnosed(path, version) })
	}
	line("edit -> diagnostics (100 ms of it wait)", diagnostics, 200, "")

	var cancel samples
	for range 100 {
		var waiting []chan reply
		for range 5 {
			_, ch := c.send("textDocument/semanticTokens/full", at(path, testPosition{}))
			waiting = append(waiting, ch)
		}
		id, ch := c.send("textDocument/formatting", map[string]any{"textDocument": map[string]any{"uri": uriOf(path)}, "options": map[string]any{"tabSize": 4, "insertSpaces": true}})
		cancel.time(func() {
			c.notify("$/cancelRequest", map[string]any{"id": id})
			c.wait(ch)
		})
		for _, ch := range waiting {
			c.wait(ch)
		}
	}
	line("cancel -> reply, behind other requests", cancel, 5, "")

	before, start := cpu(command.Process.Pid), time.Now()
	for range 100 {
		edit(target+3, "t")
		if err := c.request("textDocument/completion", at(path, testPosition{target, 25}), nil); err != nil {
			b.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Printf("%-42s %.1f %% of a core (goal 15)\n", "typing, a key and a completion each 50 ms", 100*(cpu(command.Process.Pid)-before).Seconds()/time.Since(start).Seconds())

	asked := memory(command.Process.Pid)
	for i := range 10_000 {
		edit(target+3, "z")
		if i%20 == 0 {
			if err := c.request("textDocument/hover", at(path, testPosition{target, 25}), nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	fmt.Printf("%-42s %d MiB; after 10,000 edits %d MiB (goal 120)\n", "resident memory after all of the above", asked, memory(command.Process.Pid))
}

// small measures what is not about a long file: completion in one of 200 lines, diagnostics with 20 loaded files.
func small(b *testing.B, binary string) {
	root := project(b)
	c, command := spawn(b, binary, root)
	c.initialize(root)
	defer end(b, c, command)

	path := filepath.Join(root, "stacks.star")
	c.open(path, bigFile(200)+"\nprobe = cdk.aws_lambda.Function(web, \"Probe\", )\n#\n")
	c.diagnosed(path, 1)
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
	line("completion: keywords, file of 200 lines", s, 10, "")

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
	line("edit -> diagnostics, 20 loaded files", diagnostics, 400, "")
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
func memory(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			n, _ := strconv.Atoi(strings.Fields(string(rest))[0])
			return n >> 10
		}
	}
	return 0
}
