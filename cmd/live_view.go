package cmd

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sst/cfn"
)

// This file is what live mode shows: that it is ready, and what ENTER would deploy.

// describeLive is the started of live mode.
func (l *live) describeLive(m *cfn.Manifest, took time.Duration) started {
	about := started{App: m.App, Stage: m.Stage, Mode: "live", Why: "AWS credentials are configured", Region: l.config.Region, Seconds: took.Seconds(), Sites: startedSites(m),
		APIs: []startedAPI{}, Functions: []startedFn{}, Schedules: []startedTrigger{}}
	for _, f := range m.Functions {
		if f.Live {
			about.Functions = append(about.Functions, startedFn{f.ID, f.Name, f.Handler})
		}
	}
	return about
}

// startedLive is Started of live mode.
func (v *humanView) startedLive(s started) {
	v.printf("\n%s  stage %s\n  %s\n%s\nReady in %s. What you save is live at the next invocation; Ctrl-C stops.\n\n", v.bold.Sprint(s.App), v.bold.Sprint(s.Stage),
		v.dim.Sprintf("live: %s of %s run on this machine", count(len(s.Functions), "function"), s.Region), v.sites(s.Sites)+v.inspectedText(s.Inspect), seconds(s.Seconds))
}

// change is how what stacks.star says differs from what AWS has.
type change struct {
	Added   []changedResource `json:"added"`
	Changed []changedResource `json:"changed"`
	Removed []changedResource `json:"removed"`
	Then    string            `json:"then"` // "wait" for ENTER, "queue" after the deployment under way on ENTER, or "deploy" at once
}

type changedResource struct {
	ID          string          `json:"id"` // construct path without "<stage>-<app>-", or stack and logical id
	Type        string          `json:"type"`
	Replacement cfn.Replacement `json:"replacement,omitempty"`
	DataLost    bool            `json:"dataLost,omitempty"`
}

// loses says whether something that a resource holds is gone afterwards. A function's log goes with the function.
func (c *change) loses() bool {
	return slices.ContainsFunc(slices.Concat(c.Changed, c.Removed), func(r changedResource) bool { return r.DataLost && r.Type != "AWS::Logs::LogGroup" })
}

func (c *change) empty() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// changeBetween compares the templates of two assemblies. The debug stack is not the app's.
func changeBetween(before, after *cfn.Assembly) (change, error) {
	c := change{Added: []changedResource{}, Changed: []changedResource{}, Removed: []changedResource{}}
	old, err := appStacks(before)
	if err != nil {
		return c, err
	}
	now, err := appStacks(after)
	if err != nil {
		return c, err
	}
	for _, id := range slices.Sorted(maps.Keys(merge(old, now))) {
		was, err := templateOf(old[id])
		if err != nil {
			return c, err
		}
		is, err := templateOf(now[id])
		if err != nil {
			return c, err
		}
		stack := cmp.Or(now[id], old[id])
		d := cfn.Compare(was, is)
		for _, r := range d.Resources {
			one := changedResource{ID: stack.Short + "/" + r.LogicalID, Type: r.Type, Replacement: r.Replacement, DataLost: r.DataLost}
			of := stack
			if r.Action == cfn.Delete {
				of = old[id]
			}
			if path := cmp.Or(of.Path(r.LogicalID), r.Path); path != "" {
				one.ID = strings.TrimSuffix(after.Manifest.ShortPath(path), "/Resource")
			}
			switch r.Action {
			case cfn.Add:
				c.Added = append(c.Added, one)
			case cfn.Delete:
				c.Removed = append(c.Removed, one)
			default:
				c.Changed = append(c.Changed, one)
			}
		}
		if len(d.Outputs)+len(d.Other) > 0 {
			c.Changed = append(c.Changed, changedResource{ID: stack.Short, Type: "outputs"})
		}
	}
	for _, list := range [][]changedResource{c.Added, c.Changed, c.Removed} {
		slices.SortFunc(list, func(a, b changedResource) int {
			return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Type, b.Type))
		})
	}
	return c, nil
}

func merge(a, b map[string]*cfn.Stack) map[string]*cfn.Stack {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// templateOf is nil for a stack that is not there.
func templateOf(s *cfn.Stack) (*cfn.Template, error) {
	if s == nil {
		return nil, nil
	}
	return s.Template()
}

// appStacks gives the app's own stacks, nested ones too, by id.
func appStacks(asm *cfn.Assembly) (map[string]*cfn.Stack, error) {
	all := map[string]*cfn.Stack{}
	var add func(s *cfn.Stack) error
	add = func(s *cfn.Stack) error {
		all[s.ID] = s
		below, err := s.Nested()
		for _, nested := range below {
			if err := add(nested); err != nil {
				return err
			}
		}
		return err
	}
	for _, s := range asm.Stacks {
		if s.ID == debugStackName(asm.Manifest) {
			continue
		}
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// shownChanges is how many lines a change has on a terminal.
const shownChanges = 20

func (v *humanView) Pending(c change) {
	var b strings.Builder
	fmt.Fprintf(&b, "Not in AWS yet:\n")
	lines := 0
	for _, list := range []struct {
		mark  string
		items []changedResource
	}{{v.green.Sprint("+"), c.Added}, {v.yellow.Sprint("~"), c.Changed}, {v.red.Sprint("-"), c.Removed}} {
		for _, r := range list.items {
			if lines++; lines <= shownChanges {
				fmt.Fprintf(&b, "  %s %s  %s%s\n", list.mark, r.ID, v.dim.Sprint(r.Type), v.consequence(r))
			}
		}
	}
	if lines > shownChanges {
		fmt.Fprintf(&b, "  and %d more\n", lines-shownChanges)
	}
	switch c.Then {
	case "wait":
		fmt.Fprintf(&b, "%s deploys it.\n", v.bold.Sprint("ENTER"))
	case "queue":
		fmt.Fprintf(&b, "%s deploys it after the deployment under way.\n", v.bold.Sprint("ENTER"))
	}
	v.printf("%s", b.String())
}

// consequence says what a change does to a resource beside being one.
func (v *humanView) consequence(r changedResource) string {
	text := ""
	switch r.Replacement {
	case cfn.Replace:
		text = "  " + v.red.Sprint("is replaced")
	case cfn.Maybe:
		text = "  " + v.yellow.Sprint("may be replaced")
	}
	if r.DataLost {
		text += "  " + v.red.Sprint("its data is lost")
	}
	return text
}

func (v *jsonView) Pending(c change) { v.emit("pending", c) }
