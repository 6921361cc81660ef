package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sst/builtins"
)

func docCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "doc [NAME]",
		Short: "Print the documentation of a name in stacks.star",
		Long: `Print the documentation of a name as it stands in stacks.star: a construct of sst with its keywords, attributes and methods, or
anything of the CDK (a module, class, struct, enum, method, keyword) under its name in Starlark, with types and defaults.

It needs no project, no network and no Node.`,
		Example: "  sst doc Queue\n  sst doc Queue.consumer\n  sst doc cdk.aws_s3.Bucket\n  sst doc cdk.aws_s3.Bucket.grant_read\n  sst doc env",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one NAME, got %d arguments: %s", c.CommandPath(), len(args), strings.Join(args, " "))
			}
			name := "sst"
			if len(args) == 1 {
				name = strings.TrimSuffix(strings.TrimSpace(args[0]), "()")
			}
			page, err := builtins.Document(name)
			var unknown *builtins.UnknownName
			if errors.As(err, &unknown) {
				return problemf("sst doc sst lists the constructs, sst doc cdk the modules of the CDK.", "%v", err)
			} else if err != nil {
				return err
			}
			if t.json {
				return json.NewEncoder(t.Stdout).Encode(documentation(page))
			}
			d := &docPrinter{palette: newPalette(!t.noColor && t.Getenv("NO_COLOR") == "" && t.Getenv("TERM") != "dumb" && isTerminal(t.Stdout)), width: 100}
			if file, ok := t.Stdout.(*os.File); ok {
				if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 40 {
					d.width = min(width, 120)
				}
			}
			d.page(page)
			fmt.Fprint(t.Stdout, d.out.String())
			return nil
		},
	}
}

// documented is a page for programs.
type documented struct {
	Event      string            `json:"event"`
	Kind       string            `json:"kind"`
	Name       string            `json:"name"`
	Type       string            `json:"type,omitempty"`
	Default    string            `json:"default,omitempty"`
	Deprecated string            `json:"deprecated,omitempty"`
	Doc        string            `json:"doc,omitempty"`
	Example    string            `json:"example,omitempty"`
	Resource   string            `json:"resource,omitempty"`
	Parameters []documentedName  `json:"parameters,omitempty"`
	Sections   []documentedGroup `json:"sections,omitempty"`
}

type documentedGroup struct {
	Title   string           `json:"title"`
	Entries []documentedName `json:"entries"`
}

type documentedName struct {
	Name       string `json:"name"`
	Type       string `json:"type,omitempty"`
	Default    string `json:"default,omitempty"`
	Required   bool   `json:"required,omitempty"`
	Deprecated string `json:"deprecated,omitempty"`
	Doc        string `json:"doc,omitempty"`
}

func documentation(p *builtins.Page) documented {
	name := func(a builtins.About) documentedName {
		return documentedName{Name: a.Title, Type: a.Type, Default: a.Default, Deprecated: a.Deprecated, Doc: a.Doc}
	}
	d := documented{Event: "documentation", Kind: p.Kind, Name: p.Title, Type: p.Type, Default: p.Default, Deprecated: p.Deprecated, Doc: p.Doc, Example: p.Example, Resource: p.Resource}
	for i, about := range p.Params {
		one := name(about)
		one.Required = p.Signature.Params[i].Required
		d.Parameters = append(d.Parameters, one)
	}
	for _, s := range p.Sections {
		group := documentedGroup{Title: s.Title}
		for _, about := range s.Entries {
			group.Entries = append(group.Entries, name(about))
		}
		d.Sections = append(d.Sections, group)
	}
	return d
}

// docPrinter writes a page for a terminal.
type docPrinter struct {
	palette
	out   strings.Builder
	width int
}

func (d *docPrinter) page(p *builtins.Page) {
	fmt.Fprintf(&d.out, "%s", d.bold.Sprint(p.Title))
	if p.Type != "" {
		fmt.Fprintf(&d.out, ": %s", d.cyan.Sprint(p.Type))
	}
	fmt.Fprintf(&d.out, "  %s\n", d.dim.Sprint(p.Kind))
	if sig := p.Signature; sig != nil {
		d.signature(p)
	}
	if p.Deprecated != "" {
		d.out.WriteString("\n")
		d.text(d.yellow.Sprint("Deprecated.")+" "+p.Deprecated, "", "")
	}
	if p.Doc != "" {
		d.out.WriteString("\n")
		d.markdown(p.Doc, "  ")
	}
	if p.Default != "" {
		d.out.WriteString("\n")
		d.text("Default: "+strings.TrimPrefix(strings.TrimSpace(p.Default), "- "), "  ", "  ")
	}
	if p.Example != "" {
		fmt.Fprintf(&d.out, "\n%s\n", d.bold.Sprint("Example"))
		for line := range strings.SplitSeq(p.Example, "\n") {
			fmt.Fprintf(&d.out, "    %s\n", line)
		}
	}
	if len(p.Params) > 0 {
		fmt.Fprintf(&d.out, "\n%s\n", d.bold.Sprint("Parameters"))
		for i, about := range p.Params {
			d.entry(about.Title, builtins.ParamLine(p.Signature.Params[i], about), about)
		}
	}
	for _, s := range p.Sections {
		fmt.Fprintf(&d.out, "\n%s\n", d.bold.Sprint(s.Title))
		for _, about := range s.Entries {
			line := about.Type
			d.entry(about.Title, line, about)
		}
	}
	if p.Resource != "" {
		fmt.Fprintf(&d.out, "\nIt also has what its resource has: sst doc %s\n", p.Resource)
	}
}

// signature is the call: positional parameters, and where keywords begin.
func (d *docPrinter) signature(p *builtins.Page) {
	var parts []string
	keywords := 0
	for _, param := range p.Signature.Params {
		if param.KeywordOnly {
			keywords++
			continue
		}
		parts = append(parts, param.Name)
	}
	if p.Signature.Variadic {
		parts = append(parts, "*args")
	}
	if keywords > 0 {
		parts = append(parts, "...")
	}
	fmt.Fprintf(&d.out, "  %s(%s)", p.Signature.Name, strings.Join(parts, ", "))
	if r := p.Signature.Result; r != nil && p.Kind != "construct" && r.Kind() != p.Title {
		fmt.Fprintf(&d.out, " -> %s", r.Kind())
	}
	d.out.WriteString("\n")
}

func (d *docPrinter) entry(name, line string, about builtins.About) {
	fmt.Fprintf(&d.out, "  %s", d.green.Sprint(name))
	if line != "" {
		fmt.Fprintf(&d.out, "  %s", d.cyan.Sprint(line))
	}
	d.out.WriteString("\n")
	if about.Deprecated != "" {
		d.text("Deprecated. "+about.Deprecated, "      ", "      ")
	}
	if doc, _, _ := strings.Cut(about.Doc, "\n\n"); doc != "" {
		d.text(doc, "      ", "      ")
	}
}

// markdown writes paragraphs; code and lists stay as they are.
func (d *docPrinter) markdown(text, indent string) {
	code := false
	var paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			d.text(strings.Join(paragraph, " "), indent, indent)
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			flush()
			code = !code
		case code:
			fmt.Fprintf(&d.out, "%s    %s\n", indent, line)
		case trimmed == "":
			flush()
			if !strings.HasSuffix(d.out.String(), "\n\n") {
				d.out.WriteString("\n")
			}
		case strings.HasPrefix(trimmed, "- ") || strings.HasPrefix(trimmed, "* ") || strings.HasPrefix(trimmed, "|"):
			flush()
			d.text(trimmed, indent, indent+"  ")
		default:
			paragraph = append(paragraph, trimmed)
		}
	}
	flush()
}

// text writes words in lines of the terminal's width.
func (d *docPrinter) text(text, first, rest string) {
	line, used := first, len(first)
	empty := true
	for word := range strings.FieldsSeq(text) {
		n := len([]rune(word))
		if !empty && used+1+n > d.width {
			d.out.WriteString(strings.TrimRight(line, " ") + "\n")
			line, used, empty = rest, len(rest), true
		}
		if !empty {
			line += " "
			used++
		}
		line += word
		used += n
		empty = false
	}
	d.out.WriteString(strings.TrimRight(line, " ") + "\n")
}
