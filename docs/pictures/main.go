// Command pictures makes the pictures of the documentation. It records the terminal of `sst start` on examples/notes, with
// real requests and a real edit, and writes docs/pictures/start.svg: `make picture` runs that; it needs tmux, curl and
// bin/sst. With the argument architecture it draws docs/pictures/architecture.svg, which needs nothing.
package main

import (
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	columns, rows = 92, 34
	session       = "sst-picture"
)

func main() {
	make := func() error { return record("docs/pictures/start.svg") }
	if slices.Equal(os.Args[1:], []string{"architecture"}) {
		make = func() error { return os.WriteFile("docs/pictures/architecture.svg", []byte(architecture()), 0o644) }
	}
	if err := make(); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

func record(target string) error {
	binary, err := filepath.Abs("bin/sst")
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return errors.New("there is no bin/sst: run make build first")
	}
	dir, err := os.MkdirTemp("", "notes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS("examples/notes")); err != nil {
		return err
	}
	if out, err := exec.Command("npm", "ci", "--prefix", dir, "--no-audit", "--no-fund").CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".sst"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ".sst", "stage"), []byte("ann\n"), 0o644); err != nil {
		return err
	}
	tmux := func(args ...string) (string, error) {
		out, err := exec.Command("tmux", args...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
		}
		return string(out), nil
	}
	shell := fmt.Sprintf("cd %s && PS1='$ ' PATH=%s:$PATH TMPDIR=%s sh", dir, filepath.Dir(binary), dir)
	if _, err := tmux("new-session", "-d", "-s", session, "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows), shell); err != nil {
		return err
	}
	defer tmux("kill-session", "-t", session)
	see := func(text string) error {
		for range 300 {
			screen, err := tmux("capture-pane", "-p", "-t", session)
			if err != nil || strings.Contains(screen, text) {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
		screen, _ := tmux("capture-pane", "-p", "-t", session)
		return fmt.Errorf("the terminal does not show %q:\n%s", text, screen)
	}
	edit := func(file, old, text string) error {
		path := filepath.Join(dir, file)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(string(data), old) {
			return fmt.Errorf("%s has no %q", file, old)
		}
		return os.WriteFile(path, []byte(strings.Replace(string(data), old, text, 1)), 0o644)
	}
	curl := func(args ...string) error {
		return exec.Command("curl", append([]string{"-s", "-o", os.DevNull}, args...)...).Run()
	}
	steps := []func() error{
		func() error { _, err := tmux("send-keys", "-t", session, "sst start --local", "Enter"); return err },
		func() error { return see("Ready in") },
		func() error { return curl("-X", "POST", "localhost:3000/notes", "-d", `{"text":"hi"}`) },
		func() error { return curl("localhost:3000/notes") },
		func() error { return see("200 GET /notes") },
		func() error {
			return edit("src/notes.ts", `console.log("created", note.id)`, `console.log("new note:", note.text)`)
		},
		func() error { return see("rebuilt") },
		func() error { return curl("-X", "POST", "localhost:3000/notes", "-d", `{"text":"tea at four"}`) },
		func() error { return see("new note: tea at four") },
		func() error {
			return edit("stacks.star", `"GET /notes": "src/notes.list",`, `"GET /notes": "src/notes.list",`+"\n"+`    "GET /latest": "src/notes.list",`)
		},
		func() error { return see("+ web/Api GET /latest") },
		func() error { return edit("stacks.star", "routes = {", "rutes = {") },
		func() error { return see("Did you mean") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	time.Sleep(300 * time.Millisecond)
	screen, err := tmux("capture-pane", "-e", "-p", "-t", session)
	if err != nil {
		return err
	}
	return os.WriteFile(target, []byte(draw(screen)), 0o644)
}

// The colours of the terminal, by ANSI number.
var colours = map[int]string{31: "#ff7b72", 32: "#7ee787", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#56d4dd", 37: "#c9d1d9"}

var sgr = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// draw makes a picture of a screen with its colours.
func draw(screen string) string {
	lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	const charWidth, lineHeight, padding, bar = 8.0, 18, 16, 32
	width, height := int(columns*charWidth)+2*padding, len(lines)*lineHeight+2*padding+bar
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="A terminal with sst start: requests, an edit, a new route and a mistake">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#0d1117"/>`+"\n", width, height)
	for i, colour := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="18" r="6" fill="%s"/>`+"\n", 20+i*20, colour)
	}
	b.WriteString(`<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="13" fill="#c9d1d9" xml:space="preserve">` + "\n")
	style := "" // goes on from line to line
	for i, line := range lines {
		column, at := 0, 0
		text := ""
		flush := func(part string) {
			if word := strings.TrimLeft(part, " "); word != "" { // browsers drop spaces in front, so they are part of the place
				at := column + len(part) - len(word)
				text += fmt.Sprintf(`<tspan x="%.1f"%s>%s</tspan>`, padding+float64(at)*charWidth, style, html.EscapeString(word))
			}
			column += len([]rune(part))
		}
		for _, m := range sgr.FindAllStringSubmatchIndex(line, -1) {
			flush(line[at:m[0]])
			style = styleOf(line[m[2]:m[3]], style)
			at = m[1]
		}
		flush(line[at:])
		if text != "" {
			fmt.Fprintf(&b, `<text y="%d">%s</text>`+"\n", bar+padding+i*lineHeight+4, text)
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

const dim = ` fill="#8b949e"`

func styleOf(codes, style string) string {
	for code := range strings.SplitSeq(codes, ";") {
		n, _ := strconv.Atoi(code)
		switch {
		case n == 39: // another colour ends, dimness stays
			if style != dim {
				style = ""
			}
		case n == 0 || n == 22:
			style = ""
		case n == 1:
			style += ` font-weight="bold"`
		case n == 2:
			style = dim
		case colours[n] != "":
			style += fmt.Sprintf(` fill="%s"`, colours[n])
		}
	}
	return style
}
