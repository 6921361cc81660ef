package diag

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Printer writes diagnostics for people:
//
//	stacks.star:12:22: error: Unknown parameter
//	    Queue(stack, "Jobs", consumr = "src/jobs.main")
//	                         ^^^^^^^
//	  Queue has no parameter "consumr". Did you mean "consumer"?
type Printer struct {
	Out     io.Writer
	Color   bool                              // ANSI colours
	Verbose bool                              // also the frames below the user's line and its callers
	Base    string                            // files under it are shown relative to it
	Read    func(file string) ([]byte, error) // source for the excerpt; nil = os.ReadFile
}

const (
	bold   = "\x1b[1m"
	red    = "\x1b[31;1m"
	yellow = "\x1b[33;1m"
	cyan   = "\x1b[36;1m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

var severityColor = map[Severity]string{Error: red, Warning: yellow, Note: cyan}

// Print writes the diagnostics in the order given, each in one Write.
func (p *Printer) Print(l ...*Diagnostic) {
	for _, d := range l {
		var b strings.Builder
		p.format(&b, d)
		io.WriteString(p.Out, b.String())
	}
}

func (p *Printer) format(b *strings.Builder, d *Diagnostic) {
	color := severityColor[d.Severity]
	if pos := d.Span.Start; pos.IsValid() {
		b.WriteString(p.paint(bold, p.place(pos)+":"))
		b.WriteByte(' ')
	}
	fmt.Fprintf(b, "%s %s\n", p.paint(color, d.Severity.String()+":"), p.paint(bold, printable(d.Summary)))
	if text, carets, ok := p.excerpt(d.Span); ok {
		fmt.Fprintf(b, "    %s\n    %s\n", text, strings.TrimRight(carets, "^")+p.paint(color, strings.TrimLeft(carets, " ")))
	}
	if text := d.text(); text != "" {
		for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
			if line = strings.TrimRight(printable(line), " \r"); line == "" {
				b.WriteByte('\n')
			} else {
				fmt.Fprintf(b, "  %s\n", line)
			}
		}
	}
	if !p.Verbose {
		return
	}
	for _, f := range d.Frames {
		p.frame(b, "in", f)
	}
	for i := len(d.Callers) - 1; i >= 0; i-- {
		p.frame(b, "called by", d.Callers[i])
	}
}

func (p *Printer) frame(b *strings.Builder, how string, f Frame) {
	line := "  " + how + " " + printable(f.Name)
	if f.Pos.IsValid() {
		line += " (" + p.place(f.Pos) + ")"
	}
	b.WriteString(p.paint(dim, line))
	b.WriteByte('\n')
}

func (p *Printer) paint(color, text string) string {
	if !p.Color || text == "" {
		return text
	}
	return color + text + reset
}

func (p *Printer) place(pos Position) string {
	pos.File = printable(relative(p.Base, pos.File))
	return pos.String()
}

// excerpt is the source line of a span without its indentation, and the carets
// under the part that the span covers.
func (p *Printer) excerpt(span Span) (text, carets string, ok bool) {
	pos := span.Start
	if !pos.IsValid() || pos.Line < 1 {
		return "", "", false
	}
	read := p.Read
	if read == nil {
		read = os.ReadFile
	}
	src, err := read(pos.File)
	if err != nil {
		return "", "", false
	}
	line, ok := sourceLine(string(src), pos.Line)
	if !ok || strings.TrimSpace(line) == "" {
		return "", "", false
	}
	runes := []rune(line)
	from, to := pos.Col-1, pos.Col // rune indices; to is exclusive
	if from < 0 {
		from, to = 0, len(runes) // column unknown: the whole line
	} else if end := span.End; end.Line == pos.Line && end.Col > pos.Col {
		to = end.Col - 1
	} else if end.Line > pos.Line {
		to = len(runes)
	}
	return window(runes, from, to)
}

// maxExcerpt is how many columns of a source line are shown.
const maxExcerpt = 140

// window lays runes out in terminal columns, with carets under [from, to).
func window(runes []rune, from, to int) (text, carets string, ok bool) {
	if from > len(runes) {
		return "", "", false
	}
	first := 0
	for first < len(runes) && first < from && (runes[first] == ' ' || runes[first] == '\t') {
		first++
	}
	last := len(runes)
	for last > first && (runes[last-1] == ' ' || runes[last-1] == '\t') {
		last--
	}
	to = max(min(to, max(last, from+1)), from+1)
	var before, after string
	if last-first > maxExcerpt {
		if from-first > maxExcerpt/2 {
			first, before = from-maxExcerpt/2, "... "
		}
		if last-first > maxExcerpt {
			last, after = first+maxExcerpt, " ..."
		}
	}
	var line, mark strings.Builder
	line.WriteString(before)
	mark.WriteString(strings.Repeat(" ", len(before)))
	column := 0
	for i := first; i < last; i++ {
		cell, width := cellOf(runes[i], column)
		line.WriteString(cell)
		column += width
		switch {
		case i < from:
			mark.WriteString(strings.Repeat(" ", width))
		case i < to:
			mark.WriteString(strings.Repeat("^", width))
		}
	}
	if from >= last {
		mark.WriteString(strings.Repeat(" ", from-last) + "^") // just past the end of the line
	}
	return line.String() + after, mark.String(), strings.Contains(mark.String(), "^")
}

// cellOf is what a terminal is given for r at a column, and how many columns it takes.
func cellOf(r rune, column int) (string, int) {
	switch {
	case r == '\t':
		n := 4 - column%4
		return strings.Repeat(" ", n), n
	case isControl(r):
		return "?", 1
	}
	return string(r), runeWidth(r)
}

// sourceLine is line n, counted from 1, without its end.
func sourceLine(src string, n int) (string, bool) {
	src = strings.TrimPrefix(src, "\ufeff")
	for ; n > 1; n-- {
		i := strings.IndexAny(src, "\r\n")
		if i < 0 {
			return "", false
		}
		if strings.HasPrefix(src[i:], "\r\n") {
			i++
		}
		src = src[i+1:]
	}
	if i := strings.IndexAny(src, "\r\n"); i >= 0 {
		src = src[:i]
	}
	return src, true
}
