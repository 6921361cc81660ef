package builtins

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sst/cfn"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// CloudFormation takes no more resources in one stack, and a warning comes while there is still room to split it.
const (
	mostResources = 500
	manyResources = 450
)

// split is how a stack becomes smaller.
const split = "Make another sst.Stack and move some of these there: references between stacks work as they do within one. " +
	"CloudFormation deletes what moves and makes it anew, so move what holds no data."

// crowded warns of stacks that are near CloudFormation's limit.
func (s *session) crowded(asm *cfn.Assembly) error {
	for _, stack := range asm.Stacks {
		template, err := stack.Template()
		if err != nil {
			return err
		}
		count := len(template.Resources)
		if count < manyResources || count > mostResources {
			continue // the CDK has refused what is over
		}
		f := interp.Errorf("many-resources", "Many resources", "the stack %s has %d resources, CloudFormation takes %d; %s.",
			s.short(stack.ID), count, mostResources, largest(stack.ID, template))
		f.Severity, f.Hint = diag.Warning, split
		s.warnings = append(s.warnings, s.diagnostic(f, s.call(s.tagAbove(stack.ID))))
	}
	return nil
}

// largest says which constructs of a stack have the most resources.
func largest(stack string, template *cfn.Template) string {
	counts := map[string]int{}
	for _, r := range template.Resources {
		path, _ := r.Metadata["aws:cdk:path"].(string)
		if id, _, below := strings.Cut(strings.TrimPrefix(path, stack+"/"), "/"); below {
			counts[id]++
		}
	}
	ids := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	var words []string
	for _, id := range ids[:min(3, len(ids))] {
		words = append(words, fmt.Sprintf("%s has %d", id, counts[id]))
	}
	return strings.Join(words, ", ")
}
