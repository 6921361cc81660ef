package bundle

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// goBuild compiles a package of the project. The go command caches by itself; what is read is asked of `go list`, so
// that nothing is started when nothing changed.
func (b *Builder) goBuild(ctx context.Context, u *unit) {
	dir := b.shown(u.file)
	out, err := os.MkdirTemp("", "sst-go-")
	if err != nil {
		u.fail(errorAt(dir, "%s", err))
		return
	}
	defer os.RemoveAll(out)
	binary := filepath.Join(out, "bootstrap")
	flags := []string{"-trimpath", "-ldflags", "-s -w"}
	if b.whole { // what a debugger needs
		flags = []string{"-gcflags", "-N -l"}
	}
	arguments := slices.Concat([]string{"build", "-buildvcs=false", "-tags", "lambda.norpc"}, flags, []string{"-o", binary, "."})
	stderr, err := b.goRun(ctx, u, nil, arguments...)
	if err != nil {
		if ctx.Err() != nil {
			u.fail(errorAt("", "%s", context.Cause(ctx)))
			return
		}
		u.fail(goMessages(dir, stderr, err)...)
		return
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		u.fail(errorAt(dir, "%s", err))
		return
	}
	u.result.Files = []File{{Name: "bootstrap", Data: data, Mode: 0o755}}
	if u.result.Inputs, err = b.goInputs(ctx, u); err != nil {
		u.fail(errorAt(dir, "%s", err))
		return
	}
	b.extras(u)
}

func (b *Builder) goRun(ctx context.Context, u *unit, stdout io.Writer, args ...string) (stderr string, err error) {
	cmd := exec.CommandContext(ctx, cmp.Or(b.config.GoTool, "go"), args...)
	var text bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.shown(u.file), stdout, &text
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if b.config.Mode == Deploy {
		arch := "amd64"
		if u.spec.Arch == "arm64" {
			arch = "arm64"
		}
		cmd.Env = append(cmd.Env, "GOOS=linux", "GOARCH="+arch)
	} else {
		cmd.Env = append(cmd.Env, "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	}
	err = cmd.Run()
	return text.String(), err
}

// goInputs are the sources of the package and of what it imports, except the standard library and the module cache,
// whose files never change.
func (b *Builder) goInputs(ctx context.Context, u *unit) ([]string, error) {
	var out bytes.Buffer
	if text, err := b.goRun(ctx, u, &out, "list", "-deps", "-tags", "lambda.norpc",
		"-json=Dir,Standard,GoFiles,EmbedFiles,Module", "."); err != nil {
		return nil, cmp.Or(errorOf(text), err)
	}
	var inputs []string
	decoder := json.NewDecoder(&out)
	for decoder.More() {
		var p struct {
			Dir                 string
			Standard            bool
			GoFiles, EmbedFiles []string
			Module              *struct {
				Main  bool
				GoMod string
				Dir   string
			}
		}
		if err := decoder.Decode(&p); err != nil {
			return nil, err
		}
		if p.Standard || p.Module == nil || strings.Contains(filepath.ToSlash(p.Module.Dir), "@v") {
			continue
		}
		for _, name := range append(p.GoFiles, p.EmbedFiles...) {
			inputs = append(inputs, filepath.Join(p.Dir, name))
		}
		for _, name := range []string{p.Module.GoMod, filepath.Join(p.Module.Dir, "go.sum")} {
			if isFile(name) {
				inputs = append(inputs, name)
			}
		}
	}
	return compact(inputs), nil
}

type goError string

func (e goError) Error() string { return string(e) }

func errorOf(text string) error {
	if text = strings.TrimSpace(text); text != "" {
		return goError(text)
	}
	return nil
}

var goPlace = regexp.MustCompile(`^(.+?\.go):(\d+)(?::(\d+))?: (.*)$`)

// goMessages reads the compiler's lines; indented lines belong to the one before.
func goMessages(dir, text string, err error) []Message {
	var all []Message
	var other []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		switch match := goPlace.FindStringSubmatch(line); {
		case match != nil:
			m := Message{Severity: Error, Text: match[4], File: match[1]}
			if !filepath.IsAbs(m.File) {
				m.File = filepath.Join(dir, m.File)
			}
			m.Line, _ = strconv.Atoi(match[2])
			m.Col = 1
			m.locate(match[3])
			all = append(all, m)
		case strings.HasPrefix(line, "\t") && len(all) > 0:
			last := &all[len(all)-1]
			last.Text += "\n" + strings.TrimSpace(line)
		case strings.HasPrefix(line, "# ") || line == "" || line == "too many errors":
		default:
			other = append(other, line)
		}
	}
	if len(all) == 0 {
		if len(other) == 0 {
			other = []string{"go build: " + err.Error()}
		}
		all = append(all, errorAt(dir, "%s", strings.Join(other, "\n")))
	}
	return all
}

// locate turns the compiler's column, in bytes, into one in runes and reads the line.
func (m *Message) locate(column string) {
	col, err := strconv.Atoi(column)
	data, readErr := os.ReadFile(m.File)
	if err != nil || readErr != nil {
		return
	}
	lines := strings.Split(string(data), "\n")
	if m.Line < 1 || m.Line > len(lines) {
		return
	}
	m.LineText = strings.TrimSuffix(lines[m.Line-1], "\r")
	start := min(col-1, len(m.LineText))
	m.Col = utf8.RuneCountInString(m.LineText[:start]) + 1
	m.Length = utf8.RuneCountInString(identifier.FindString(m.LineText[start:]))
}

var identifier = regexp.MustCompile(`^[\pL_][\pL\pN_]*`)
