package cmd

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"sst/cfn"
)

// This file is what live mode shows: that it is ready, and what ENTER would deploy.

// describeLive is the started of live mode.
func (l *live) describeLive(m *cfn.Manifest, took time.Duration) started {
	about := started{App: m.App, Stage: m.Stage, Mode: "live", Why: "AWS credentials are configured", Region: l.config.Region, Seconds: took.Seconds(),
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
	v.printf("\n%s  stage %s\n  %s\n\nReady in %s. What you save is live at the next invocation; Ctrl-C stops.\n\n", v.bold.Sprint(s.App), v.bold.Sprint(s.Stage),
		v.dim.Sprintf("live: %s of %s run on this machine", count(len(s.Functions), "function"), s.Region), seconds(s.Seconds))
}

// change is how what stacks.star says differs from what AWS has.
type change struct {
	Added   []changedResource `json:"added"`
	Changed []changedResource `json:"changed"`
	Removed []changedResource `json:"removed"`
	Then    string            `json:"then"` // "wait" for ENTER, "queue" after the deployment under way on ENTER, or "deploy" at once
}

type changedResource struct {
	ID   string `json:"id"` // construct path without "<stage>-<app>-", or stack and logical id
	Type string `json:"type"`
}

func (c *change) empty() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// changeBetween compares the templates of two assemblies. The debug stack is not the app's.
func changeBetween(before, after *cfn.Assembly) (change, error) {
	c := change{Added: []changedResource{}, Changed: []changedResource{}, Removed: []changedResource{}}
	old, err := resourcesOf(before)
	if err != nil {
		return c, err
	}
	now, err := resourcesOf(after)
	if err != nil {
		return c, err
	}
	for key, r := range now {
		if was, ok := old[key]; !ok {
			c.Added = append(c.Added, r.changedResource)
		} else if !reflect.DeepEqual(was.what, r.what) {
			c.Changed = append(c.Changed, r.changedResource)
		}
	}
	for key, r := range old {
		if _, ok := now[key]; !ok {
			c.Removed = append(c.Removed, r.changedResource)
		}
	}
	for _, list := range [][]changedResource{c.Added, c.Changed, c.Removed} {
		slices.SortFunc(list, func(a, b changedResource) int {
			return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Type, b.Type))
		})
	}
	return c, nil
}

type comparedResource struct {
	changedResource
	what any
}

// resourcesOf gives what would be deployed, by stack and logical id; outputs of a stack count as one of its resources.
func resourcesOf(asm *cfn.Assembly) (map[string]comparedResource, error) {
	all := map[string]comparedResource{}
	var add func(s *cfn.Stack) error
	add = func(s *cfn.Stack) error {
		t, err := s.Template()
		if err != nil {
			return err
		}
		for id, r := range t.Resources {
			if r.Type == "AWS::CDK::Metadata" {
				continue
			}
			name := s.Short + "/" + id
			if path := s.Path(id); path != "" {
				name = strings.TrimSuffix(asm.Manifest.ShortPath(path), "/Resource")
			}
			shown := *r
			shown.Metadata = nil
			all[s.ID+" "+id] = comparedResource{changedResource{name, r.Type}, shown}
		}
		if len(t.Outputs) > 0 {
			all[s.ID+" "] = comparedResource{changedResource{s.Short, "outputs"}, t.Outputs}
		}
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
				fmt.Fprintf(&b, "  %s %s  %s\n", list.mark, r.ID, v.dim.Sprint(r.Type))
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

func (v *jsonView) Pending(c change) { v.emit("pending", c) }
