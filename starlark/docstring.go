package interp

import (
	"strings"

	"go.starlark.net/syntax"
)

// Doc is a docstring taken apart.
type Doc struct {
	Summary string   // the first paragraph, in one line
	Body    string   // what follows, without Args, dedented
	Args    []ArgDoc // the lines under "Args:"
}

// ArgDoc is what a docstring says of one parameter.
type ArgDoc struct{ Name, Text string }

// Arg is what the docstring says of a parameter, "" when it says nothing.
func (d Doc) Arg(name string) string {
	for _, a := range d.Args {
		if a.Name == name {
			return a.Text
		}
	}
	return ""
}

// ParseDoc takes a docstring apart: a sentence, a blank line, "Args:" with an
// indented line for each parameter (continued lines are indented further), the rest.
func ParseDoc(text string) Doc {
	lines := dedent(strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n"))
	var d Doc
	i := 0
	for ; i < len(lines) && lines[i] == ""; i++ {
	}
	var summary []string
	for ; i < len(lines) && lines[i] != "" && lines[i] != "Args:"; i++ {
		summary = append(summary, strings.TrimSpace(lines[i]))
	}
	d.Summary = strings.Join(summary, " ")
	var body []string
	for i < len(lines) {
		if lines[i] != "Args:" {
			body = append(body, lines[i])
			i++
			continue
		}
		i = d.args(lines, i+1)
	}
	d.Body = strings.Trim(strings.Join(body, "\n"), "\n")
	return d
}

// args reads the lines under "Args:" and returns the index after them.
func (d *Doc) args(lines []string, i int) int {
	indent := -1
	for ; i < len(lines); i++ {
		line := lines[i]
		n := len(line) - len(strings.TrimLeft(line, " "))
		if line == "" {
			continue
		}
		if n == 0 {
			return i
		}
		if indent < 0 {
			indent = n
		}
		name, text, ok := strings.Cut(strings.TrimSpace(line), ":")
		if n <= indent && ok && strings.TrimLeft(name, "*") != "" && !strings.Contains(name, " ") {
			d.Args = append(d.Args, ArgDoc{strings.TrimLeft(name, "*"), strings.TrimSpace(text)})
		} else if len(d.Args) > 0 {
			last := &d.Args[len(d.Args)-1]
			last.Text = strings.TrimSpace(last.Text + " " + strings.TrimSpace(line))
		}
	}
	return i
}

// dedent removes the indentation that all lines but the first share, and white
// space at the ends of lines.
func dedent(lines []string) []string {
	common := -1
	for i := range lines {
		lines[i] = strings.TrimRight(strings.ReplaceAll(lines[i], "\t", "    "), " ")
		if n := len(lines[i]) - len(strings.TrimLeft(lines[i], " ")); i > 0 && lines[i] != "" && (common < 0 || n < common) {
			common = n
		}
	}
	for i := range lines {
		if i == 0 {
			lines[i] = strings.TrimLeft(lines[i], " ")
		} else if lines[i] != "" {
			lines[i] = lines[i][common:]
		}
	}
	return lines
}

// docOf is the docstring that a block begins with.
func docOf(body []syntax.Stmt) Doc {
	if len(body) > 0 {
		if x, ok := body[0].(*syntax.ExprStmt); ok {
			if l, ok := x.X.(*syntax.Literal); ok && l.Token == syntax.STRING {
				return ParseDoc(l.Value.(string))
			}
		}
	}
	return Doc{}
}
