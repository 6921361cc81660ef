package interp

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sst/starlark/diag"
)

// chunk is a part of a test file: parts are separated by "---" lines, and a
// line that must be reported ends in ### "regexp", once for each diagnostic.
// The regexp is matched against "text under the caret: Summary: Detail Hint".
type chunk struct {
	line int // of its first line in the test file
	src  string
	want map[int][]*regexp.Regexp // by line of the chunk
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
		c := chunk{line: line, src: src + "\n", want: map[int][]*regexp.Regexp{}}
		for i, text := range strings.Split(src, "\n") {
			for _, m := range expectation.FindAllStringSubmatch(text, -1) {
				pattern, err := strconv.Unquote(m[1])
				if err != nil {
					t.Fatalf("%s:%d: %v", file, line+i, err)
				}
				rx, err := regexp.Compile(pattern)
				if err != nil {
					t.Fatalf("%s:%d: %v", file, line+i, err)
				}
				c.want[i+1] = append(c.want[i+1], rx)
			}
		}
		chunks = append(chunks, c)
		line += strings.Count(src, "\n") + 2
	}
	return chunks
}

// testChunks runs each chunk of the files that match and compares what is reported.
func testChunks(t *testing.T, glob string, run func(t *testing.T, path, src string) diag.List) {
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no test files (%v)", glob, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, c := range readChunks(t, file) {
				c.compare(t, file, run(t, "/proj/chunk.star", c.src))
			}
		})
	}
}

func (c *chunk) compare(t *testing.T, file string, got diag.List) {
	t.Helper()
	lines := strings.Split(c.src, "\n")
	for _, d := range got {
		text := covered(lines, d.Span) + ": " + d.Summary + ": " + strings.TrimSpace(d.Detail+" "+d.Hint)
		line := d.Span.Start.Line
		want := c.want[line]
		if len(want) == 0 {
			t.Errorf("%s:%d: unexpected: %s", file, c.line+line-1, text)
			continue
		}
		if !want[0].MatchString(text) {
			t.Errorf("%s:%d: got  %s\n\twant a match of %s", file, c.line+line-1, text, want[0])
		}
		c.want[line] = want[1:]
		if d.Code == "" {
			t.Errorf("%s:%d: no code: %s", file, c.line+line-1, text)
		}
	}
	for line, want := range c.want {
		for _, rx := range want {
			t.Errorf("%s:%d: nothing reported that matches %s", file, c.line+line-1, rx)
		}
	}
}

// covered is the source under the carets of a span, on its first line.
func covered(lines []string, span diag.Span) string {
	i := span.Start.Line - 1
	if i < 0 || i >= len(lines) {
		return ""
	}
	runes := []rune(lines[i])
	from := min(max(span.Start.Col-1, 0), len(runes))
	to := min(from+1, len(runes))
	if span.End.Line == span.Start.Line {
		to = min(span.End.Col-1, len(runes))
	}
	return string(runes[from:max(from, to)])
}
