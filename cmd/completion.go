package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sst/cfn"
)

// shells are those that completions can be made for, with the line that turns them on.
var shells = []struct {
	name, how string
	write     func(root *cobra.Command, t *tool) error
}{
	{"bash", `echo 'source <(sst completion bash)' >> ~/.bashrc`, func(root *cobra.Command, t *tool) error { return root.GenBashCompletionV2(t.Stdout, true) }},
	{"zsh", `sst completion zsh > "${fpath[1]}/_sst"`, func(root *cobra.Command, t *tool) error { return root.GenZshCompletion(t.Stdout) }},
	{"fish", `sst completion fish > ~/.config/fish/completions/sst.fish`, func(root *cobra.Command, t *tool) error { return root.GenFishCompletion(t.Stdout, true) }},
	{"powershell", `sst completion powershell >> $PROFILE`, func(root *cobra.Command, t *tool) error { return root.GenPowerShellCompletionWithDesc(t.Stdout) }},
}

func completionCommand(t *tool) *cobra.Command {
	var names []string
	long := "Print a script that completes commands, flags, functions and stacks in your shell. To turn it on for good:\n"
	for _, shell := range shells {
		names = append(names, shell.name)
		long += "\n  " + shell.how
	}
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print the completion script of a shell",
		Long:      long,
		ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one SHELL: %s", c.CommandPath(), strings.Join(names, ", "))
			}
			for _, shell := range shells {
				if shell.name == args[0] {
					return shell.write(c.Root(), t)
				}
			}
			return usagef("there are no completions for %q%s; there are for %s", args[0], didYouMean(args[0], names), strings.Join(names, ", "))
		},
	}
}

// lastManifest is what the last build or the running start says of the project here; nil when there is neither.
func (t *tool) lastManifest() *cfn.Manifest {
	file, err := t.findFile(nil)
	if err != nil {
		return nil
	}
	out := filepath.Join(filepath.Dir(file), ".sst", "out")
	if t.out != "" {
		out = t.abs(t.out)
	}
	data, err := os.ReadFile(filepath.Join(out, cfn.ManifestFile))
	if err != nil {
		return nil
	}
	m := &cfn.Manifest{}
	if json.Unmarshal(data, m) != nil {
		return nil
	}
	return m
}

// completeFunctions offers the functions of the last build as the first argument.
func (t *tool) completeFunctions(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	m := t.lastManifest()
	if m == nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []string
	for _, f := range m.Functions {
		found = append(found, f.ID+"\t"+f.Handler)
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeStacks offers the stacks of the last build, beside files for FILE.
func (t *tool) completeStacks(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	m := t.lastManifest()
	if m == nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var found []string
	for path := range m.Positions {
		stack, _, _ := strings.Cut(path, "/")
		found = append(found, strings.TrimPrefix(stack, m.Stage+"-"+m.App+"-"))
	}
	slices.Sort(found)
	return slices.Compact(found), cobra.ShellCompDirectiveDefault
}

// completeVerbs gives the verbs what completes their arguments; the verbs themselves need not know of it.
func (t *tool) completeVerbs(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch use := c.Use; {
		case c.ValidArgsFunction != nil || c.ValidArgs != nil:
		case strings.Contains(use, "FUNCTION"):
			c.ValidArgsFunction = t.completeFunctions
		case strings.Contains(use, "STACK"):
			c.ValidArgsFunction = t.completeStacks
		}
	}
	complete := func(command, flag string, words []string) {
		if c, _, err := root.Find([]string{command}); err == nil && c.Flags().Lookup(flag) != nil {
			c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	complete("init", "template", templateNames())
	complete("init", "language", []string{"typescript", "python", "go"})
}
