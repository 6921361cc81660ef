package cfn

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"golang.org/x/sync/errgroup"
)

// StackDiff is what a deployment would change in one stack.
type StackDiff struct {
	Stack  *Stack
	Status string // in AWS; "" when there is no such stack
	*TemplateDiff
	Tags bool // the tags differ
}

// Diff compares the stacks with what is in AWS. Strays are stacks of the app and stage that the assembly does not have. Nothing is
// changed, and no bootstrap is needed.
func (d *Deployer) Diff(ctx context.Context, stacks []*Stack) (diffs []StackDiff, strays []Kept, err error) {
	run, err := d.open(ctx, stacks, false)
	if err != nil {
		return nil, nil, err
	}
	each := make([][]StackDiff, len(stacks))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, s := range stacks {
		group.Go(func() error {
			var err error
			each[i], err = run.diff(groupCtx, s)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	diffs = slices.Concat(each...)
	if len(stacks) == len(d.Assembly.Stacks) {
		strays = run.strays()
	}
	return diffs, strays, nil
}

// diff compares one stack, and the stacks nested in it, which come behind it.
func (r *deployment) diff(ctx context.Context, s *Stack) ([]StackDiff, error) {
	d := StackDiff{Stack: s}
	there := r.there[r.env.region(s)+"/"+s.Name]
	if there == nil || there.StackStatus == types.StackStatusReviewInProgress {
		return r.compare(ctx, nil, d, "")
	}
	d.Status = string(there.StackStatus)
	d.Tags = !sameTags(s, there)
	client, err := r.env.cloudformation(ctx, s)
	if err != nil {
		return nil, err
	}
	return r.compare(ctx, client, d, aws.ToString(there.StackId))
}

// compare completes the difference of a stack whose ARN in AWS is given, "" when it is not there, and adds those of nested stacks.
// One that the app no longer has, in which all is removed, has no Dir.
func (r *deployment) compare(ctx context.Context, client *cloudformation.Client, d StackDiff, arn string) ([]StackDiff, error) {
	s := d.Stack
	var was, is *Template
	var err error
	if s.Dir != "" {
		if is, err = s.Template(); err != nil {
			return nil, err
		}
	}
	if arn != "" {
		out, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &arn, TemplateStage: types.TemplateStageOriginal})
		if err != nil {
			return nil, fmt.Errorf("template of stack %s: %w", s.Name, err)
		}
		if was, err = ParseTemplate([]byte(aws.ToString(out.TemplateBody))); err != nil {
			return nil, fmt.Errorf("the template of stack %s in AWS is not JSON: %w", s.Name, err)
		}
	}
	d.TemplateDiff = Compare(was, is)
	r.place(d)
	all := []StackDiff{d}
	below, err := s.below(was)
	if err != nil {
		return nil, err
	}
	for _, nested := range below {
		one := StackDiff{Stack: nested}
		own := ""
		if was != nil && was.Resources[nested.LogicalID] != nil {
			out, err := client.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: &arn, LogicalResourceId: &nested.LogicalID})
			if err != nil {
				return nil, fmt.Errorf("nested stack %s: %w", nested.ID, err)
			}
			own = aws.ToString(out.StackResourceDetail.PhysicalResourceId)
			one.Status = string(out.StackResourceDetail.ResourceStatus)
		}
		more, err := r.compare(ctx, client, one, own)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// below are the stacks nested in one: those of the assembly, then those that are only in its template in AWS, whose Dir is "".
func (s *Stack) below(was *Template) (all []*Stack, err error) {
	if s.Dir != "" {
		nested, err := s.Nested()
		if err != nil {
			return nil, err
		}
		all = slices.Clone(nested)
	}
	if was == nil {
		return all, nil
	}
	for _, id := range was.all(typeNested) {
		if !slices.ContainsFunc(all, func(n *Stack) bool { return n.LogicalID == id }) {
			all = append(all, &Stack{ID: s.ID + "/" + id, Name: s.Name + "-" + id, Short: s.Short + "/" + id, Parent: s, LogicalID: id, Account: s.Account, Region: s.Region})
		}
	}
	return all, nil
}

// place gives construct paths and lines to what differs in a stack.
func (r *deployment) place(d StackDiff) {
	path := func(id string) string {
		if d.Stack.Dir == "" {
			return ""
		}
		return d.Stack.Path(id)
	}
	for i := range d.Resources {
		c := &d.Resources[i]
		if path := path(c.LogicalID); path != "" {
			c.Path = path
		}
		if at := r.manifest().Position(c.Path); at.Line > 0 && c.Action != Delete {
			c.Position = &at
		}
	}
	for _, list := range [][]AccessChange{d.Permissions, d.Network} {
		for i := range list {
			if path := path(list[i].LogicalID); path != "" {
				list[i].Path = path
			}
		}
	}
}
