package cmd

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// templates are the files of new projects: of all, of a template, of a language, and of both together, each over the one
// before. APP-NAME in them is the app's name. A file whose name would mean something here ends in .txt.
//
//go:embed all:templates
var templates embed.FS

// projectTemplates are what --template takes, with what they are for.
var projectTemplates = []struct {
	name, about string
	languages   []string // the first is the default
}{
	{"api", "an HTTP API", []string{"typescript", "python", "go"}},
	{"pipeline", "uploads that are worked on through a topic and a queue", []string{"typescript"}},
	{"site", "a static site with an API", []string{"typescript"}},
	{"empty", "an app with one empty stack", []string{"typescript"}},
}

func templateNames() (names []string) {
	for _, each := range projectTemplates {
		names = append(names, each.name)
	}
	return names
}

func initCommand(t *tool) *cobra.Command {
	var template, language string
	c := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a new project",
		Long: `Make a new project in DIR (default: here): stacks.star, handlers with tests, a test of the stacks, and the
settings of ESLint, Jest and TypeScript. Nothing that is there already is changed.

The app is called like the folder. On a terminal the template is asked for, elsewhere it is api.`,
		Example: "  sst init\n  sst init shop --template api --language python",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one DIR, got %d arguments: %s", c.CommandPath(), len(args), strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir := t.Dir
			if len(args) == 1 {
				dir = t.abs(args[0])
			}
			return t.initProject(c.Context(), dir, template, language)
		},
	}
	c.Flags().StringVar(&template, "template", "", strings.Join(templateNames(), ", "))
	c.Flags().StringVar(&language, "language", "", "of the handlers: typescript (default), python or go; the last two with --template api")
	return c
}

// initiated is what a new project has.
type initiated struct {
	Dir      string   `json:"dir"`
	App      string   `json:"app"`
	Template string   `json:"template"`
	Language string   `json:"language"`
	Files    []string `json:"files"` // relative to dir, with slashes
	Next     []string `json:"next"`  // commands to go on with
}

func (t *tool) initProject(ctx context.Context, dir, template, language string) error {
	if foreign := filepath.Join(dir, "sst.config.ts"); fileThere(foreign) {
		return problemf("Choose another folder: sst init my-app.", "%s belongs to another tool of the same name", relative(t.Dir, foreign))
	}
	if template == "" {
		var err error
		if template, err = t.askTemplate(ctx); err != nil {
			return err
		}
	}
	at := slices.Index(templateNames(), template)
	if at < 0 {
		return usagef("--template: there is no %q%s; there are %s", template, didYouMean(template, templateNames()), strings.Join(templateNames(), ", "))
	}
	languages := projectTemplates[at].languages
	if language == "" {
		language = languages[0]
	}
	if !slices.Contains(languages, language) {
		return usagef("--language: the template %s has no %q; it has %s", template, language, strings.Join(languages, ", "))
	}
	name := appName(filepath.Base(dir))
	files, err := templateFiles(template, language, name)
	if err != nil {
		return err
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	made := initiated{Dir: dir, App: name, Template: template, Language: language, Files: sortedNames(files), Next: nextSteps(relative(t.Dir, dir), language)}
	t.view.Initiated(made)
	return nil
}

// askTemplate asks for the template on a terminal.
func (t *tool) askTemplate(ctx context.Context) (string, error) {
	if !isTerminal(t.Stdin) || !isTerminal(t.Stderr) || t.json {
		return projectTemplates[0].name, nil
	}
	fmt.Fprintln(t.Stderr, "What shall it begin with?")
	for i, each := range projectTemplates {
		fmt.Fprintf(t.Stderr, "  %d  %-9s %s\n", i+1, each.name, each.about)
	}
	input := bufio.NewReader(t.Stdin)
	for {
		fmt.Fprintf(t.Stderr, "Number or name [%s]: ", projectTemplates[0].name)
		line, err := readLine(ctx, input)
		if ctx.Err() != nil {
			fmt.Fprintln(t.Stderr)
			return "", context.Cause(ctx)
		}
		if err != nil {
			return "", problemf("--template names it without asking.", "no template was chosen")
		}
		answer := strings.TrimSpace(line)
		if answer == "" {
			return projectTemplates[0].name, nil
		}
		for i, each := range projectTemplates {
			if answer == each.name || answer == fmt.Sprint(i+1) {
				return each.name, nil
			}
		}
		t.view.Problem(&Problem{Summary: fmt.Sprintf("there is no template %q", answer)})
	}
}

var notInAppNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

// appName makes the name of an app of that of a folder.
func appName(folder string) string {
	name := strings.Trim(notInAppNames.ReplaceAllString(folder, "-"), "-")
	name = strings.ToLower(strings.TrimLeft(name, "0123456789-"))
	if name == "" {
		return "my-app"
	}
	return name[:min(len(name), 40)]
}

// templateFiles are the files of a new project by path, with slashes.
func templateFiles(template, language, name string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, layer := range []string{"common", language, template, template + "-" + language} {
		root := path.Join("templates", layer)
		err := fs.WalkDir(templates, root, func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && file == root {
				return fs.SkipDir // not every layer is there
			}
			if err != nil || d.IsDir() {
				return err
			}
			data, err := templates.ReadFile(file)
			if err != nil {
				return err
			}
			target := strings.TrimPrefix(file, root+"/")
			if target == "gitignore" {
				target = ".gitignore"
			}
			if base := strings.TrimSuffix(target, ".txt"); strings.HasSuffix(base, ".go") || strings.HasSuffix(base, ".mod") {
				target = base
			}
			files[target] = []byte(strings.ReplaceAll(string(data), "APP-NAME", name))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func sortedNames(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// writeNew writes files into a folder, none when one of them is there already.
func writeNew(dir string, files map[string][]byte) error {
	var there []string
	for _, name := range sortedNames(files) {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			there = append(there, name)
		}
	}
	if len(there) > 0 {
		return problemf("Nothing was written. Choose another folder: sst init my-app.", "%s has %s already", dir, strings.Join(there, ", "))
	}
	for _, name := range sortedNames(files) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return problemf("", "the folder %s cannot be made: %v", filepath.Dir(path), errors.Unwrap(err))
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // what appeared meanwhile stays
		if err == nil {
			_, err = f.Write(files[name])
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return problemf("", "%s cannot be written: %v", path, err)
		}
	}
	return nil
}

// nextSteps are the commands to go on with.
func nextSteps(dir, language string) (steps []string) {
	if dir != "." {
		steps = append(steps, "cd "+shellWord(dir))
	}
	switch language {
	case "typescript":
		steps = append(steps, "npm install")
	case "python":
		steps = append(steps, "python3 -m venv .venv && .venv/bin/pip install -r requirements-dev.txt")
	case "go":
		steps = append(steps, "go mod tidy")
	}
	return append(steps, "sst start", "sst test")
}

func (v *humanView) Initiated(m initiated) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s in %s\n", v.green.Sprint("Made"), v.bold.Sprint(m.App), relative(v.options.Base, m.Dir))
	for _, file := range m.Files {
		fmt.Fprintf(&b, "  %s\n", file)
	}
	fmt.Fprintf(&b, "\nGo on with\n")
	for _, step := range m.Next {
		fmt.Fprintf(&b, "  %s\n", v.cyan.Sprint(step))
	}
	v.printf("%s", b.String())
}

func (v *jsonView) Initiated(m initiated) { v.emit("initiated", m) }

// shellWord is a text as one word of a command that people copy into a shell.
func shellWord(text string) string {
	if strings.ContainsAny(text, " '\"$&()!;{}") {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}
