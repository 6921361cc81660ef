package diag

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestNearest(t *testing.T) {
	params := []string{"consumer", "visibility_timeout", "cdk", "fields", "primary_index"}
	for _, test := range []struct {
		name, want string
	}{
		{"consumr", "consumer"},
		{"visibilityTimeout", "visibility_timeout"},
		{"VISIBILITY_TIMEOUT", "visibility_timeout"},
		{"primaryIndex", "primary_index"},
		{"cosnumer", "consumer"},
		{"feilds", "fields"},
		{"cdkk", "cdk"},
		{"zzz", ""},
		{"x", ""},
		{"", ""},
		{"_", ""},
		{"consumer", "consumer"},
	} {
		if got := Nearest(test.name, params); got != test.want {
			t.Errorf("Nearest(%q) = %q, want %q", test.name, got, test.want)
		}
	}
	if got := Nearest("ab", []string{"aa", "ac"}); got != "" {
		t.Errorf("Nearest of a two-letter name with one letter wrong = %q, want none", got)
	}
	if got := Nearest("aws_sq", []string{"aws_s3", "aws_sns", "aws_sqs"}); got != "aws_sqs" {
		t.Errorf("Nearest(aws_sq) = %q, want the one with more letters in common, aws_sqs", got)
	}
	if got := Nearest("s3", []string{"aws_s3", "aws_s3_assets"}); got != "aws_s3" {
		t.Errorf("Nearest(s3) = %q, want the one it is the end of, aws_s3", got)
	}
	if got := Nearest("s3", []string{"aws_s3", "my_s3"}); got != "" {
		t.Errorf("Nearest(s3) of two that end so = %q, want none", got)
	}
	if got := Nearest("länge", []string{"lange", "Länge"}); got != "Länge" {
		t.Errorf("Nearest(länge) = %q, want Länge", got)
	}
}

func TestSorted(t *testing.T) {
	at := func(file string, line, col int) Span { return Point(Position{file, line, col}) }
	l := List{
		{Code: "d", Summary: "no place"},
		{Code: "c", Span: at("/b", 1, 1)},
		{Code: "b", Span: at("/a", 10, 2)},
		{Code: "a", Span: at("/a", 9, 2)},
		{Code: "b", Span: at("/a", 10, 2)},
		{Code: "b", Severity: Warning, Span: at("/a", 10, 2)},
		{Code: "b", Span: at("/a", 10, 1)},
	}
	var got []string
	for _, d := range l.Sorted() {
		got = append(got, fmt.Sprintf("%s%v:%s", d.Code, d.Span.Start, d.Severity))
	}
	want := "a/a:9:2:error b/a:10:1:error b/a:10:2:error b/a:10:2:warning c/b:1:1:error d:error"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("Sorted = %s, want %s", s, want)
	}
	if l[0].Code != "d" {
		t.Error("Sorted changed its receiver")
	}
}

func TestListIsAnError(t *testing.T) {
	warning := List{{Severity: Warning, Summary: "Old"}}
	if warning.HasErrors() || warning.Err() != nil {
		t.Error("a list of warnings counts as an error")
	}
	l := List{{Severity: Warning, Summary: "Old"}, {Code: "x", Summary: "Unknown name", Detail: `No "y".`, Span: Point(Position{"/f", 1, 2})}}
	err := fmt.Errorf("build: %w", l.Err())
	var d *Diagnostic
	if !errors.As(err, &d) || d.Summary != "Old" {
		t.Errorf("errors.As found %v", d)
	}
	var back List
	if !errors.As(err, &back) || len(back) != 2 {
		t.Errorf("errors.As to List found %v", back)
	}
	if got, want := l[1].Error(), `/f:1:2: error: Unknown name: No "y".`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	for _, test := range []struct {
		d    Diagnostic
		want string
	}{
		{Diagnostic{Summary: "Failed"}, `{"severity":"error","summary":"Failed"}`},
		{
			Diagnostic{Severity: Warning, Code: "c", Summary: "S", Detail: "D", Hint: "H",
				Span: Span{Position{"/a.star", 1, 2}, Position{"/a.star", 3, 4}}},
			`{"file":"/a.star","line":1,"column":2,"endLine":3,"endColumn":4,"severity":"warning","code":"c","summary":"S","detail":"D","hint":"H"}`,
		},
		{
			Diagnostic{Summary: "S", Span: Point(Position{"/a.star", 1, 2})},
			`{"file":"/a.star","line":1,"column":2,"endLine":1,"endColumn":2,"severity":"error","summary":"S"}`,
		},
	} {
		got, err := json.Marshal(&test.d)
		if err != nil || string(got) != test.want {
			t.Errorf("JSON = %s, %v\nwant   %s", got, err, test.want)
		}
	}
}

const source = `app = sst.App("notes")
Queue(stack, "Jobs", consumr = "src/jobs.main")
	if x:
	q =	Queue("名前", "b", bad = 1)
x = "🎉é" + oops
` + "\x1b[31m evil = 1\r\n" + `crlf = here
`

func TestPrinter(t *testing.T) {
	long := "x = [" + strings.Repeat("1, ", 200) + "oops" + strings.Repeat(", 2", 200) + "]"
	read := func(file string) ([]byte, error) {
		switch file {
		case "/proj/stacks.star":
			return []byte(source), nil
		case "/proj/long.star":
			return []byte(long), nil
		}
		return nil, os.ErrNotExist
	}
	span := func(line, col, endLine, endCol int) Span {
		s := Span{Start: Position{"/proj/stacks.star", line, col}}
		if endLine > 0 {
			s.End = Position{"/proj/stacks.star", endLine, endCol}
		}
		return s
	}
	all := List{
		{Code: "unknown-parameter", Summary: "Unknown parameter", Detail: `Queue has no parameter "consumr".`, Hint: `Did you mean "consumer"?`,
			Span: span(2, 22, 2, 29), Frames: []Frame{{"Queue", Position{"@sst/queue.star", 3, 5}}, {"new Queue", Position{}}},
			Callers: []Frame{{"<toplevel>", Position{"/proj/stacks.star", 1, 1}}, {"make", Position{"/proj/lib.star", 8, 2}}}},
		{Severity: Warning, Summary: "Tabs and wide runes", Span: span(4, 22, 4, 25)},
		{Severity: Note, Summary: "Emoji and combining marks", Span: span(5, 12, 5, 16)},
		{Summary: "A point", Span: span(1, 7, 0, 0)},
		{Summary: "Several lines", Detail: "One.\n\nTwo.\n", Span: span(2, 14, 4, 3)},
		{Summary: "Past the end", Span: span(1, 23, 0, 0)},
		{Summary: "Control characters\x1b[2J", Detail: "a\x1bb", Span: span(6, 7, 6, 11)},
		{Summary: "After CRLF", Span: span(7, 8, 7, 12)},
		{Summary: "Column unknown", Span: span(1, 0, 0, 0)},
		{Summary: "Line unknown", Span: span(0, 0, 0, 0), Hint: "Only a hint."},
		{Summary: "No place"},
		{Summary: "Not readable", Span: Point(Position{"/other/x.star", 1, 1})},
		{Summary: "No such line", Span: span(99, 1, 0, 0)},
		{Summary: "Long line", Span: Span{Position{"/proj/long.star", 1, 606}, Position{"/proj/long.star", 1, 610}}},
	}
	var out bytes.Buffer
	p := &Printer{Out: &out, Base: "/proj", Read: read}
	p.Print(all...)
	golden(t, "print.txt", out.Bytes())

	out.Reset()
	p.Color, p.Verbose = true, true
	p.Print(all[:3]...)
	golden(t, "print_color.txt", out.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what was printed (go test -update rewrites it):\n%s", file, got)
	}
}
