package cmd

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// helpWidth is how wide help is at most: long lines are hard to read on any screen.
const helpWidth = 100

// printHelp is cobra's help with its text and the descriptions of flags broken for the terminal at hand, so that a
// verb's text is written without a thought of columns.
func (t *tool) printHelp(c *cobra.Command) {
	columns := t.helpColumns()
	usage := c.UsageString()
	local, global := c.LocalFlags(), c.InheritedFlags()
	if c.HasAvailableLocalFlags() {
		usage = strings.Replace(usage, trimEnd(local.FlagUsages()), trimEnd(local.FlagUsagesWrapped(columns)), 1)
	}
	if c.HasAvailableInheritedFlags() {
		usage = strings.Replace(usage, trimEnd(global.FlagUsages()), trimEnd(global.FlagUsagesWrapped(columns)), 1)
	}
	text := c.Long
	if text == "" {
		text = c.Short
	}
	fmt.Fprintf(c.OutOrStdout(), "%s\n\n%s", wrapText(text, columns), usage)
}

// helpCommand is cobra's, except that what it cannot explain is a mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Tell what a command does",
		Example: "  sst help deploy\n  sst help secrets set",
		ValidArgsFunction: func(c *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
			of, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var found []string
			for _, each := range of.Commands() {
				if !each.Hidden {
					found = append(found, each.Name()+"\t"+each.Short)
				}
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			switch {
			case err != nil:
				return usagef("%v", err)
			case len(rest) > 0 && of.HasSubCommands():
				return noCommand(of, rest[0])
			case len(rest) > 0:
				return usagef("%s has no commands of its own, got %q", of.CommandPath(), rest[0])
			}
			of.InitDefaultHelpFlag() // it is told of as with --help
			return of.Help()
		},
	}
}

// helpColumns is the width of the terminal that help goes to, or helpWidth when that is less or there is none.
func (t *tool) helpColumns() int {
	if file, ok := t.Stdout.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width >= 40 {
			return min(width, helpWidth)
		}
	}
	return helpWidth
}

// wrapText breaks paragraphs anew. Lines that are indented stay as they are.
func wrapText(text string, columns int) string {
	var out strings.Builder
	used := 0 // columns of the line that is being written
	for _, line := range strings.Split(trimEnd(text), "\n") {
		if line == "" || line[0] == ' ' {
			if used > 0 {
				out.WriteByte('\n')
			}
			out.WriteString(line + "\n")
			used = 0
			continue
		}
		for _, word := range strings.Fields(line) {
			width := utf8.RuneCountInString(word)
			switch {
			case used == 0:
			case used+1+width > columns:
				out.WriteByte('\n')
				used = 0
			default:
				out.WriteByte(' ')
				used++
			}
			out.WriteString(word)
			used += width
		}
	}
	return trimEnd(out.String())
}

func trimEnd(s string) string { return strings.TrimRight(s, " \n") }
