package cmd

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// Every verb explains itself: help fits the screen, says what the verb does in a sentence, and one that
// takes arguments shows an example.
func TestHelpFits(t *testing.T) {
	help := func(args ...string) string {
		var out bytes.Buffer
		code := Run(context.Background(), &World{
			Args:      append(args, "--help"),
			LookupEnv: func(string) (string, bool) { return "", false },
			Stdout:    &out,
			Stderr:    &out,
		})
		if code != ExitDone {
			t.Errorf("%s --help: exit code %d", strings.Join(args, " "), code)
		}
		return out.String()
	}
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		text := help(path...)
		for line := range strings.Lines(text) {
			if width := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > helpWidth {
				t.Errorf("%v: %d columns: %s", path, width, line)
			}
		}
		if strings.HasSuffix(c.Short, ".") && c.HasParent() {
			t.Errorf("%v: the short text ends with a full stop: %s", path, c.Short)
		}
		if strings.Contains(c.Use, " ") && !c.HasSubCommands() && c.Example == "" && !strings.Contains(c.Long, "\n  "+c.CommandPath()+" ") {
			t.Errorf("%v: no example", path)
		}
		for _, sub := range c.Commands() {
			visit(sub, append(path[:len(path):len(path)], sub.Name()))
		}
	}
	visit((&tool{World: &World{Stdout: &bytes.Buffer{}, LookupEnv: func(string) (string, bool) { return "", false }}}).root(), nil)
}

func TestWrapText(t *testing.T) {
	text := "one two three\nfour\n\n  as it is, however long\nfive six seven eight\n"
	want := "one two\nthree four\n\n  as it is, however long\nfive six\nseven\neight"
	if got := wrapText(text, 10); got != want {
		t.Errorf("wrapText: got\n%s\nwant\n%s", got, want)
	}
}
