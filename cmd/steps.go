package cmd

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"sst/runtime/bundle"
)

// buildStep says how much of one step of a build was taken from earlier ones, and why the rest was made.
type buildStep struct {
	Step    string   `json:"step"` // synth, bundles, templates, archives
	Reused  int      `json:"reused"`
	Made    int      `json:"made"`
	Reasons []string `json:"reasons,omitempty"` // sorted, each once
}

// shownReasons of a step; the rest is counted.
const shownReasons = 10

func (s *buildStep) count(why string) {
	if why == "" {
		s.Reused++
		return
	}
	s.Made++
	s.Reasons = append(s.Reasons, why)
}

func (s buildStep) finished() buildStep {
	slices.Sort(s.Reasons)
	s.Reasons = slices.Compact(s.Reasons)
	if more := len(s.Reasons) - shownReasons; more > 0 {
		s.Reasons = append(s.Reasons[:shownReasons:shownReasons], fmt.Sprintf("and %d more", more))
	}
	return s
}

// String is the step in words.
func (s buildStep) String() string {
	if s.Made == 0 {
		return fmt.Sprintf("%s: %d reused", s.Step, s.Reused)
	}
	return fmt.Sprintf("%s: %d reused, %d made: %s", s.Step, s.Reused, s.Made, strings.Join(s.Reasons, ", "))
}

func bundleStep(results map[string]*bundle.Result) buildStep {
	step := buildStep{Step: "bundles"}
	for _, result := range results {
		step.count(result.Made)
	}
	return step.finished()
}

// outputSteps compares the templates and archives that a build wrote with those that the build before left.
func outputSteps(before, after *record) []buildStep {
	templates, archives := buildStep{Step: "templates"}, buildStep{Step: "archives"}
	known := map[string]string{}
	if before != nil {
		for _, output := range before.Outputs {
			known[output.Path] = output.Hash
		}
	}
	for _, output := range after.Outputs {
		name, why := filepath.Base(output.Path), ""
		switch hash, ok := known[output.Path]; {
		case !ok:
			why = "the last build had no " + name
			if strings.HasPrefix(name, "asset.") { // named by its content
				why = "the last build had no such content"
			}
		case hash != output.Hash:
			why = name + " is another"
		}
		switch {
		case strings.HasSuffix(name, ".template.json"):
			templates.count(why)
		case strings.HasPrefix(name, "asset."):
			archives.count(why)
		}
	}
	return []buildStep{templates.finished(), archives.finished()}
}
