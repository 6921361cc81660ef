package cfn

import (
	"context"
	"fmt"

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
	diffs = make([]StackDiff, len(stacks))
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range stacks {
		group.Go(func() error {
			var err error
			diffs[i], err = run.diff(ctx, s)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	if len(stacks) == len(d.Assembly.Stacks) {
		strays = run.strays()
	}
	return diffs, strays, nil
}

func (r *deployment) diff(ctx context.Context, s *Stack) (StackDiff, error) {
	d := StackDiff{Stack: s}
	is, err := s.Template()
	if err != nil {
		return d, err
	}
	var was *Template
	there := r.there[r.env.region(s)+"/"+s.Name]
	if there != nil && there.StackStatus != types.StackStatusReviewInProgress {
		d.Status = string(there.StackStatus)
		d.Tags = !sameTags(s, there)
		client, err := r.env.cloudformation(ctx, s)
		if err != nil {
			return d, err
		}
		out, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: there.StackId, TemplateStage: types.TemplateStageOriginal})
		if err != nil {
			return d, fmt.Errorf("template of stack %s: %w", s.Name, err)
		}
		if was, err = ParseTemplate([]byte(aws.ToString(out.TemplateBody))); err != nil {
			return d, fmt.Errorf("the template of stack %s in AWS is not JSON: %w", s.Name, err)
		}
	}
	d.TemplateDiff = Compare(was, is)
	for i := range d.Resources {
		c := &d.Resources[i]
		if path := s.Path(c.LogicalID); path != "" {
			c.Path = path
		}
		if at := r.manifest().Position(c.Path); at.Line > 0 && c.Action != Delete {
			c.Position = &at
		}
	}
	for _, list := range [][]AccessChange{d.Permissions, d.Network} {
		for i := range list {
			if path := s.Path(list[i].LogicalID); path != "" {
				list[i].Path = path
			}
		}
	}
	return d, nil
}
