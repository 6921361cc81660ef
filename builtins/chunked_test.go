package builtins

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sst/starlark/diag"
)

// chunk is a part of a test file: parts are separated by "---" lines, and a line that must be reported ends in
// ### "regexp", matched against `text under the caret: Summary: Detail Hint`.
type chunk struct {
	file string
	line int // of its first line
	src  string
	want map[int]*regexp.Regexp // by line of the chunk
}

var expectation = regexp.MustCompile("### (\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`)")

func readChunks(t *testing.T, file string) []chunk {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var chunks []chunk
	line := 1
	for src := range strings.SplitSeq(string(data), "\n---\n") {
		c := chunk{file: file, line: line, src: src + "\n", want: map[int]*regexp.Regexp{}}
		for i, text := range strings.Split(src, "\n") {
			if m := expectation.FindStringSubmatch(text); m != nil {
				pattern, err := strconv.Unquote(m[1])
				if err != nil {
					t.Fatalf("%s:%d: %v", file, line+i, err)
				}
				c.want[i+1] = regexp.MustCompile(pattern)
			}
		}
		chunks = append(chunks, c)
		line += strings.Count(src, "\n") + 2
	}
	return chunks
}

// compare reports what was found and not wanted, and the other way round.
func (c *chunk) compare(t *testing.T, err error) {
	t.Helper()
	var got diag.List
	if err != nil && !errors.As(err, &got) {
		t.Errorf("%s:%d: %v", c.file, c.line, err)
		return
	}
	lines := strings.Split(c.src, "\n")
	seen := map[int]bool{}
	for _, d := range got {
		n := d.Span.Start.Line
		text := covered(lines, d.Span) + ": " + d.Summary + ": " + strings.TrimSpace(d.Detail+" "+d.Hint)
		seen[n] = true
		switch want := c.want[n]; {
		case want == nil:
			t.Errorf("%s:%d: unexpected: %s", c.file, c.line+n-1, text)
		case !want.MatchString(text):
			t.Errorf("%s:%d:\n got  %s\n want %s", c.file, c.line+n-1, text, want)
		}
	}
	for n, want := range c.want {
		if !seen[n] {
			t.Errorf("%s:%d: not reported: %s", c.file, c.line+n-1, want)
		}
	}
}

func covered(lines []string, span diag.Span) string {
	start, end := span.Start, span.End
	if start.Line < 1 || start.Line > len(lines) {
		return ""
	}
	line := []rune(lines[start.Line-1])
	from, to := min(max(start.Col-1, 0), len(line)), len(line)
	if end.Line == start.Line {
		to = min(end.Col-1, len(line))
	} else if end.Line == 0 {
		to = from
	}
	return string(line[from:to])
}

// each runs every chunk of a file.
func each(t *testing.T, name string, run func(t *testing.T, src string) error) {
	for _, c := range readChunks(t, filepath.Join("testdata", name)) {
		c.compare(t, run(t, c.src))
	}
}
