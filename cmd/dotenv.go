package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"go.starlark.net/syntax"

	interp "sst/starlark"
	"sst/starlark/diag"
)

// This file is the .env files of a project: variables for env() in stacks.star and for handlers on this machine. What is
// set in the process wins, then the file of the stage, then the common one, each with a `.local` that is not committed.

// envFiles are the names, the strongest first.
func envFiles(stage string) []string {
	return []string{".env." + stage + ".local", ".env." + stage, ".env.local", ".env"}
}

// envLine is one definition in a file.
type envLine struct {
	name  string
	raw   string // with its references
	plain bool   // in single quotes: there are none
	file  string
	line  int
}

// dotenv is what the files of a project say.
type dotenv struct {
	files   []string             // absolute, the strongest first, whether they are there or not
	lines   map[string][]envLine // by name, the strongest first
	process func(string) (string, bool)
	values  map[string]string // of names that the process does not set and the files may
}

// openEnv reads the files of a stage.
func (t *tool) openEnv(p *project) (*dotenv, error) {
	d := &dotenv{lines: map[string][]envLine{}, process: t.LookupEnv, values: map[string]string{}}
	var problems diag.List
	for _, name := range envFiles(p.stage) {
		file := filepath.Join(p.root, name)
		d.files = append(d.files, file)
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, problemf("", "%s cannot be read: %v", name, errors.Unwrap(err))
		}
		lines, wrong := parseEnv(file, string(data))
		problems = append(problems, wrong...)
		slices.Reverse(lines) // in one file the last counts
		for _, line := range lines {
			d.lines[line.name] = append(d.lines[line.name], line)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	for _, name := range slices.Sorted(maps.Keys(d.lines)) {
		if _, set := d.process(name); set || reservedEnv(name) {
			continue
		}
		value, err := d.expand(name, nil)
		if err != nil {
			return nil, diag.List{err}
		}
		d.values[name] = value
	}
	return d, nil
}

// reservedEnv says which variables decide about the tool and what it runs: no file of a project sets them.
func reservedEnv(name string) bool {
	return strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "SST_") || strings.HasPrefix(name, "NODE_") || strings.EqualFold(name, "PATH")
}

// lookup is that of the process, completed by the files.
func (d *dotenv) lookup(name string) (string, bool) {
	if value, ok := d.process(name); ok {
		return value, true
	}
	value, ok := d.values[name]
	return value, ok
}

// complete adds the variables that an environment lacks.
func (d *dotenv) complete(env map[string]string) map[string]string {
	if len(d.values) == 0 {
		return env
	}
	all := maps.Clone(d.values)
	maps.Copy(all, env)
	return all
}

var (
	envName      = regexp.MustCompile(`^(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*`)
	envReference = regexp.MustCompile(`\\.|\$\{([A-Za-z_][A-Za-z0-9_.]*)(?::?-([^}]*))?\}|\$([A-Za-z_][A-Za-z0-9_]*)`)
)

// parseEnv reads NAME=value lines. A value is bare (to the end of the line or " #"), in 'single quotes' (as it is) or in
// "double quotes" (with \n, \" and so on); quoted ones may go over several lines.
func parseEnv(file, text string) (lines []envLine, problems diag.List) {
	text = strings.TrimPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "\ufeff")
	number := 0
	for text != "" {
		number++
		line, rest, _ := strings.Cut(text, "\n")
		trimmed := strings.TrimLeft(line, " \t")
		if trimmed == "" || trimmed[0] == '#' {
			text = rest
			continue
		}
		fail := func(detail string) {
			problems = append(problems, &diag.Diagnostic{Code: "wrong-env-line", Summary: "Wrong line", Detail: detail,
				Span: diag.Point(diag.Position{File: file, Line: number, Col: len(line) - len(trimmed) + 1})})
		}
		match := envName.FindStringSubmatch(trimmed)
		if match == nil {
			fail("A line is NAME=value, a comment (# ...) or empty.")
			text = rest
			continue
		}
		one := envLine{name: match[1], file: file, line: number}
		value := text[len(line)-len(trimmed)+len(match[0]):]
		if value == "" || value[0] != '"' && value[0] != '\'' {
			value, text, _ = strings.Cut(value, "\n")
			if value != "" && value[0] == '#' {
				value = ""
			}
			value, _, _ = strings.Cut(value, " #")
			one.raw = strings.TrimSpace(value)
			lines = append(lines, one)
			continue
		}
		end := closing(value)
		if end < 0 {
			fail(fmt.Sprintf("The value of %s begins with %c and does not end with it.", one.name, value[0]))
			text = rest
			continue
		}
		one.raw, one.plain = value[1:end], value[0] == '\''
		after, rest, _ := strings.Cut(value[end+1:], "\n")
		if after = strings.TrimSpace(after); after != "" && after[0] != '#' {
			fail(fmt.Sprintf("Nothing but a comment follows the value of %s, got %q.", one.name, after))
		}
		number += strings.Count(value[:end], "\n")
		text = rest
		if !one.plain {
			one.raw = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`).Replace(one.raw)
		}
		lines = append(lines, one)
	}
	return lines, problems
}

// closing finds the quote that ends a quoted value, -1 when there is none.
func closing(value string) int {
	for i := 1; i < len(value); i++ {
		switch {
		case value[0] == '"' && value[i] == '\\':
			i++
		case value[i] == value[0]:
			return i
		}
	}
	return -1
}

// expand gives the value of the strongest definition of a name, references to others replaced. An unset one is empty, as in a
// shell.
func (d *dotenv) expand(name string, via []string) (string, *diag.Diagnostic) {
	line := d.lines[name][0]
	if line.plain {
		return line.raw, nil
	}
	via = append(via, name)
	var problem *diag.Diagnostic
	value := envReference.ReplaceAllStringFunc(line.raw, func(found string) string {
		if found[0] == '\\' {
			if found[1] == '$' || found[1] == '\\' {
				return found[1:]
			}
			return found
		}
		match := envReference.FindStringSubmatch(found)
		other := match[1] + match[3]
		if value, ok := d.process(other); ok {
			return value
		}
		if d.lines[other] == nil || reservedEnv(other) {
			return match[2]
		}
		if slices.Contains(via, other) {
			problem = &diag.Diagnostic{Code: "env-cycle", Summary: "Variables need each other", Detail: strings.Join(append(via, other), " -> "),
				Span: diag.Point(diag.Position{File: line.file, Line: line.line, Col: 1})}
			return ""
		}
		value, err := d.expand(other, slices.Clone(via))
		if err != nil {
			problem = err
		}
		return value
	})
	return value, problem
}

func envCommand(t *tool) *cobra.Command {
	all := group(&cobra.Command{
		Use:   "env",
		Short: "Tell where the variables of env() come from",
		Long: `Variables of env("NAME") in stacks.star, and of handlers on this machine, come from the process or else from .env files beside stacks.star:
.env.<stage>.local, .env.<stage>, .env.local, .env, the first that has it. "$NAME" and "${NAME:-default}" refer to others.

A deployed function has only what its environment in stacks.star says: environment = {"NAME": env("NAME")}.
Files never set AWS_*, SST_*, NODE_* or PATH. No value is ever printed: what is in .env files is often secret.`,
	})
	all.AddCommand(&cobra.Command{
		Use:   "list",
		Short: "List the variables of the project, and where each comes from",
		Long: `List the variables that stacks.star and the files it loads read with env(), and those that .env files define, each with the place it has
its value from in this stage. Values are not printed; sst secrets list is the list of secrets.`,
		Example: "  sst env list --stage prod",
		Args:    noArgs,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := t.open(c.Context(), nil)
			if err != nil {
				return err
			}
			list, err := t.listEnv(p, t.env.Load())
			if err != nil {
				return err
			}
			t.view.EnvListed(list)
			return nil
		},
	})
	all.AddCommand(&cobra.Command{
		Use:     "why NAME",
		Short:   "Tell where a variable comes from, and what it hides",
		Example: "  sst env why API_URL --stage prod",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one NAME, got %d arguments", c.CommandPath(), len(args))
			}
			p, err := t.open(c.Context(), nil)
			if err != nil {
				return err
			}
			why := explainEnv(p, t.env.Load(), args[0])
			t.view.EnvExplained(why)
			if why.Source == "" {
				return problemf("", "%s is not set for stage %s", args[0], p.stage)
			}
			return nil
		},
	})
	return all
}

// envReason is where a variable comes from. No value is part of it.
type envReason struct {
	Name   string     `json:"name"`
	Stage  string     `json:"stage"`
	Source string     `json:"source,omitempty"` // process, file; "" when it is not set
	File   string     `json:"file,omitempty"`
	Line   int        `json:"line,omitempty"`
	Hidden []envPlace `json:"hidden,omitempty"`
	Barred bool       `json:"barred"` // files may not set it
}

type envPlace struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

func explainEnv(p *project, d *dotenv, name string) envReason {
	why := envReason{Name: name, Stage: p.stage, Barred: reservedEnv(name)}
	lines := d.lines[name]
	switch _, set := d.process(name); {
	case set:
		why.Source = "process"
	case len(lines) > 0 && !why.Barred:
		why.Source, why.File, why.Line = "file", lines[0].file, lines[0].line
		lines = lines[1:]
	}
	for _, line := range lines {
		why.Hidden = append(why.Hidden, envPlace{line.file, line.line})
	}
	return why
}

// envList is every variable that the project knows by name.
type envList struct {
	Stage     string      `json:"stage"`
	Variables []envListed `json:"variables"`
}

type envListed struct {
	envReason
	Used     []envPlace `json:"used,omitempty"` // by env() in Starlark
	Required bool       `json:"required"`       // one of these has no default
}

// listEnv lists the variables that the project's Starlark asks for and its .env files define, by name.
func (t *tool) listEnv(p *project, d *dotenv) (envList, error) {
	list := envList{Stage: p.stage, Variables: []envListed{}}
	found := map[string]*envListed{}
	of := func(name string) *envListed {
		if found[name] == nil {
			found[name] = &envListed{envReason: explainEnv(p, d, name)}
		}
		return found[name]
	}
	for name := range d.lines {
		of(name)
	}
	files, err := t.starFiles([]string{p.root})
	if err != nil {
		return list, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, testSuffix) {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return list, problemf("", "%s cannot be read: %v", relative(t.Dir, file), errors.Unwrap(err))
		}
		for _, call := range interp.Parse(file, src).Outline().Calls {
			if call.Callee != "env" || len(call.Expr.Args) == 0 {
				continue
			}
			if name, ok := call.Expr.Args[0].(*syntax.Literal); ok && name.Token == syntax.STRING {
				v := of(name.Value.(string))
				v.Used = append(v.Used, envPlace{file, call.Span.Start.Line})
				v.Required = v.Required || len(call.Expr.Args) == 1
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		list.Variables = append(list.Variables, *found[name])
	}
	return list, nil
}

// envView is what `sst env` shows.
type envView interface {
	// EnvListed prints where all variables come from.
	EnvListed(envList)
	// EnvExplained prints where a variable comes from.
	EnvExplained(envReason)
}

func (v *humanView) EnvExplained(e envReason) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.Source {
	case "process":
		fmt.Fprintf(v.out, "%s is set in this process, which is stronger than any file.\n", v.bold.Sprint(e.Name))
	case "file":
		fmt.Fprintf(v.out, "%s comes from %s:%d\n", v.bold.Sprint(e.Name), relative(v.options.Base, e.File), e.Line)
	}
	for _, place := range e.Hidden {
		reason := "which is weaker"
		if e.Barred {
			reason = "which may not set it: AWS_*, SST_*, NODE_* and PATH decide about the tool itself"
		}
		fmt.Fprintf(v.out, "  not from %s:%d, %s\n", relative(v.options.Base, place.File), place.Line, reason)
	}
}

func (v *humanView) EnvListed(l envList) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(l.Variables) == 0 {
		fmt.Fprintln(v.err, "No .env file defines a variable, and no Starlark file reads one with env(\"NAME\").")
		return
	}
	at := func(p envPlace) string { return fmt.Sprintf("%s:%d", relative(v.options.Base, p.File), p.Line) }
	width, sources := 0, make([]string, len(l.Variables))
	widest := 0
	for i, e := range l.Variables {
		switch {
		case e.Source == "process":
			sources[i] = "this process"
		case e.Source == "file":
			sources[i] = at(envPlace{e.File, e.Line})
		case len(e.Used) > 0 && !e.Required:
			sources[i] = "its default"
		default:
			sources[i] = "not set"
		}
		width, widest = max(width, len(e.Name)), max(widest, len(sources[i]))
	}
	for i, e := range l.Variables {
		var notes []string
		if len(e.Used) > 0 {
			notes = append(notes, "read at "+places(e.Used, at))
		}
		switch {
		case len(e.Hidden) > 0 && e.Barred:
			notes = append(notes, "no file may set it: "+places(e.Hidden, at))
		case len(e.Hidden) > 0:
			notes = append(notes, "hides "+places(e.Hidden, at))
		}
		source := fmt.Sprintf("%-*s", widest, sources[i])
		if sources[i] == "not set" && e.Required {
			source = v.red.Sprint(source)
		}
		fmt.Fprintf(v.out, "%s\n", strings.TrimRight(fmt.Sprintf("%-*s  %s  %s", width, e.Name, source, v.dim.Sprint(strings.Join(notes, "; "))), " "))
	}
}

func places(list []envPlace, at func(envPlace) string) string {
	var texts []string
	for _, p := range list {
		texts = append(texts, at(p))
	}
	return strings.Join(texts, ", ")
}

func (v *jsonView) EnvListed(l envList) { v.emit("env-listed", l) }

func (v *jsonView) EnvExplained(e envReason) { v.emit("env-explained", e) }

// envInUse holds the files as they were read last; start reads them again.
type envInUse = atomic.Pointer[dotenv]

// lookupInput is what env() of stacks.star sees.
func (t *tool) lookupInput(name string) (string, bool) {
	if d := t.env.Load(); d != nil {
		return d.lookup(name)
	}
	return t.LookupEnv(name)
}
