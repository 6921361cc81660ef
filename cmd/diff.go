package cmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sst/cfn"
)

func diffCommand(t *tool) *cobra.Command {
	var fail bool
	c := &cobra.Command{
		Use:   "diff [FILE] [STACK...]",
		Short: "Show what a deployment would change in AWS",
		Long: `Build the app and compare it with what is deployed: resources that would be added, changed or removed, by the line that
declares them; which of them are replaced, and whose data is lost by that; permissions and rules of security groups apart.
Nothing is changed.

With --fail the exit code is 1 when anything differs, for CI.`,
		Example: "  sst diff\n  sst diff --stage prod --fail",
		RunE: func(c *cobra.Command, args []string) error {
			file, names := fileAndStacks(t, args)
			p, err := t.open(c.Context(), file)
			if err != nil {
				return err
			}
			if _, err := t.buildRecorded(c.Context(), p, time.Now()); err != nil {
				return err
			}
			asm, err := cfn.Open(p.out)
			if err != nil {
				return err
			}
			return t.diff(c.Context(), p, asm, names, fail)
		},
	}
	c.Flags().BoolVar(&fail, "fail", false, "exit with 1 when anything differs")
	return c
}

func (t *tool) diff(ctx context.Context, p *project, asm *cfn.Assembly, names []string, fail bool) error {
	stacks, err := neededStacks(asm, names)
	if err != nil {
		return err
	}
	config, err := t.awsConfig(ctx, p, asm.Manifest.Region)
	if err != nil {
		return err
	}
	d := &cfn.Deployer{Config: config, Assembly: asm}
	diffs, strays, err := d.Diff(ctx, stacks)
	if err != nil {
		return t.awsProblem(err)
	}
	summary := diffSummary{App: asm.Manifest.App, Stage: asm.Manifest.Stage, Region: config.Region, manifest: asm.Manifest}
	for _, one := range diffs {
		s := diffStack{Name: one.Stack.Name, New: one.Status == "", Tags: one.Tags, TemplateDiff: *one.TemplateDiff}
		slices.SortStableFunc(s.Resources, func(a, b cfn.ResourceChange) int { return byLine(a.Position, b.Position) })
		s.Differs = s.New || s.Tags || !s.Empty()
		summary.Differs = summary.Differs || s.Differs
		summary.Stacks = append(summary.Stacks, s)
	}
	for _, k := range strays {
		summary.Strays = append(summary.Strays, k.Name)
	}
	if summary.Swapped, err = d.SwappedFunctions(ctx); err != nil {
		return t.awsProblem(err)
	}
	summary.Differs = summary.Differs || len(summary.Swapped) > 0
	t.view.Differs(summary)
	if fail && summary.Differs {
		return problemf("", "stage %s differs from %s", asm.Manifest.Stage, relative(t.Dir, p.file))
	}
	return nil
}

// byLine orders what has a line by it, before what has none.
func byLine(a, b *cfn.Position) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
}

// diffSummary is what `sst diff` tells.
type diffSummary struct {
	App     string      `json:"app"`
	Stage   string      `json:"stage"`
	Region  string      `json:"region"`
	Differs bool        `json:"differs"`
	Stacks  []diffStack `json:"stacks"`
	Strays  []string    `json:"strays,omitempty"`  // deployed stacks of the stage that the app no longer has
	Swapped []string    `json:"swapped,omitempty"` // functions that were changed past CloudFormation

	manifest *cfn.Manifest
}

type diffStack struct {
	Name    string `json:"name"`
	Differs bool   `json:"differs"`
	New     bool   `json:"new,omitempty"`
	Tags    bool   `json:"tags,omitempty"`
	cfn.TemplateDiff
}

func (v *jsonView) Differs(s diffSummary) { v.emit("diff", s) }

// shownValue is how much of a value people see.
const shownValue = 120

func (v *humanView) Differs(s diffSummary) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, stage %s, in %s\n", v.bold.Sprint(s.App), v.bold.Sprint(s.Stage), s.Region)
	tally := map[cfn.Action]int{}
	replaced, lost := 0, 0
	for _, stack := range s.Stacks {
		if !stack.Differs {
			fmt.Fprintf(&b, "\n%s  %s\n", v.bold.Sprint(stack.Name), v.dim.Sprint("unchanged"))
			continue
		}
		fmt.Fprintf(&b, "\n%s%s\n", v.bold.Sprint(stack.Name), map[bool]string{true: "  " + v.green.Sprint("new")}[stack.New])
		last := "(none)"
		for _, c := range stack.Resources {
			tally[c.Action]++
			if c.Replacement == cfn.Replace {
				replaced++
			}
			if c.DataLost {
				lost++
			}
			if line := lineOf(c); line != last {
				fmt.Fprintf(&b, "  %s\n", v.dim.Sprint(line))
				last = line
			}
			v.writeChange(&b, s.manifest, c)
		}
		v.writeAccess(&b, s.manifest, "Permissions", stack.Permissions)
		v.writeAccess(&b, s.manifest, "Security groups", stack.Network)
		if len(stack.Outputs) > 0 {
			fmt.Fprintf(&b, "  %s\n", v.dim.Sprint("Outputs"))
		}
		for _, c := range stack.Outputs {
			v.writeProperty(&b, "    ", c)
		}
		if stack.Tags && !stack.New {
			fmt.Fprintf(&b, "  %s Tags\n", v.yellow.Sprint("~"))
		}
		for _, section := range stack.Other {
			if !stack.New {
				fmt.Fprintf(&b, "  %s %s\n", v.yellow.Sprint("~"), section)
			}
		}
	}
	for _, name := range s.Strays {
		fmt.Fprintf(&b, "\n%s  %s\n", v.bold.Sprint(name), v.dim.Sprint("is deployed, and not in the app any more: a deployment leaves it alone"))
	}
	if len(s.Swapped) > 0 {
		b.WriteString("\n")
		writeSwapped(&b, s.Swapped)
	}
	if !s.Differs {
		fmt.Fprintf(&b, "\n%s\n", v.green.Sprint("Nothing to deploy."))
		v.printf("%s", b.String())
		return
	}
	fmt.Fprintf(&b, "\n%d to add, %d to change (%d replaced), %d to remove", tally[cfn.Add], tally[cfn.Change], replaced, tally[cfn.Delete])
	if lost > 0 {
		fmt.Fprintf(&b, "; %s", v.red.Sprintf("data of %s is lost", count(lost, "resource")))
	}
	v.printf("%s.\n", b.String())
}

// lineOf names the line that a change comes from.
func lineOf(c cfn.ResourceChange) string {
	switch {
	case c.Position != nil:
		return fmt.Sprintf("%s:%d", c.Position.File, c.Position.Line)
	case c.Action == cfn.Delete:
		return "no longer declared"
	}
	return "from no line of yours"
}

func (v *humanView) writeChange(b *strings.Builder, m *cfn.Manifest, c cfn.ResourceChange) {
	mark := map[cfn.Action]string{cfn.Add: v.green.Sprint("+"), cfn.Change: v.yellow.Sprint("~"), cfn.Delete: v.red.Sprint("-")}[c.Action]
	fmt.Fprintf(b, "    %s %s  %s", mark, resourceName(m, c.Path, c.LogicalID), v.dim.Sprint(c.Type))
	switch {
	case c.Replacement == cfn.Replace:
		fmt.Fprintf(b, "  %s", v.red.Sprint("is replaced"))
	case c.Replacement == cfn.Maybe:
		fmt.Fprintf(b, "  %s", v.yellow.Sprint("may be replaced"))
	}
	switch {
	case c.DataLost:
		fmt.Fprintf(b, "  %s", v.red.Sprint("its data is lost"))
	case c.Kept && c.Action == cfn.Delete:
		fmt.Fprintf(b, "  %s", v.dim.Sprint("stays in the account"))
	case c.Kept:
		fmt.Fprintf(b, "  %s", v.dim.Sprint("the old one stays in the account"))
	}
	b.WriteString("\n")
	for _, p := range c.Properties {
		v.writeProperty(b, "        ", p)
	}
}

func (v *humanView) writeProperty(b *strings.Builder, indent string, p cfn.PropertyChange) {
	text := fmt.Sprintf("%s → %s", shortValue(p.From), shortValue(p.To))
	switch {
	case p.Follows != "":
		text = fmt.Sprintf("refers to %s, which is replaced", p.Follows)
	case p.From == nil:
		text = shortValue(p.To)
	case p.To == nil:
		text = fmt.Sprintf("%s → (none)", shortValue(p.From))
	}
	fmt.Fprintf(b, "%s%s: %s", indent, p.Path, text)
	if p.Replacement == cfn.Replace {
		fmt.Fprintf(b, "  %s", v.red.Sprint("(replaces)"))
	} else if p.Replacement == cfn.Maybe {
		fmt.Fprintf(b, "  %s", v.yellow.Sprint("(may replace)"))
	}
	b.WriteString("\n")
}

func (v *humanView) writeAccess(b *strings.Builder, m *cfn.Manifest, title string, rows []cfn.AccessChange) {
	if len(rows) > 0 {
		fmt.Fprintf(b, "  %s\n", v.dim.Sprint(title))
	}
	for _, row := range rows {
		mark := v.red.Sprint("-")
		if row.Added {
			mark = v.green.Sprint("+")
		}
		fmt.Fprintf(b, "    %s %s  %s\n", mark, row.Text, v.dim.Sprint(resourceName(m, row.Path, row.LogicalID)))
	}
}

// resourceName is how a resource is shown: by its construct where that is known.
func resourceName(m *cfn.Manifest, path, logicalID string) string {
	if path == "" {
		return logicalID
	}
	return m.ShortPath(path)
}

// shortValue shows a value on one line; a hash of 64 digits as a person can tell it from others.
func shortValue(value any) string {
	text := strings.Join(strings.Fields(cfn.Brief(value)), " ")
	if hash, ext, _ := strings.Cut(text, "."); len(hash) == 64 && (ext == "zip" || ext == "json") {
		return hash[:8] + "." + ext
	}
	if runes := []rune(text); len(runes) > shownValue {
		return string(runes[:shownValue]) + " ..."
	}
	return text
}
