package cfn

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// Outcomes of a removal beside Failed and Skipped.
const (
	Removed Outcome = "removed"
	Absent  Outcome = "absent" // there was no such stack
)

// Protected says that a stack may not be deleted.
type Protected struct{ Stack *Stack }

func (e *Protected) Error() string {
	return fmt.Sprintf("stack %s is protected from deletion", e.Stack.Name)
}

// Kept is something that is still there after a removal.
type Kept struct {
	Stack string // name
	Type  string // of the resource; AWS::CloudFormation::Stack for a whole stack
	Name  string // physical id
	Path  string // construct path, "" when unknown
}

// Above gives the stacks of these names with those that depend on them, in order; all when there are no names.
func (a *Assembly) Above(names []string) []*Stack {
	if len(names) == 0 {
		return a.Stacks
	}
	wanted := map[string]bool{}
	for _, name := range names {
		if s := a.Stack(name); s != nil {
			wanted[s.ID] = true
		}
	}
	var all []*Stack
	for _, s := range a.Stacks { // dependencies come first
		if wanted[s.ID] || slices.ContainsFunc(s.Dependencies, func(id string) bool { return wanted[id] }) {
			wanted[s.ID] = true
			all = append(all, s)
		}
	}
	return all
}

// Remove deletes the stacks, dependents first. Kept is what their deletion policies leave in the account, and stacks of the
// same app and stage that the assembly no longer has. Nothing is deleted when a stack is protected. The error is as that of
// Deploy.
func (d *Deployer) Remove(ctx context.Context, stacks []*Stack) ([]Result, []Kept, error) {
	run, err := d.begin(ctx, stacks)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range stacks {
		if there := run.there[run.env.region(s)+"/"+s.Name]; there != nil && aws.ToBool(there.EnableTerminationProtection) {
			return nil, nil, &Protected{s}
		}
	}
	results := make([]Result, len(stacks))
	kept := make([][]Kept, len(stacks))
	over := map[string]chan struct{}{}
	for _, s := range stacks {
		over[s.ID] = make(chan struct{})
	}
	var group sync.WaitGroup
	for i, s := range stacks {
		group.Go(func() {
			defer close(over[s.ID])
			for j, other := range stacks {
				if !slices.Contains(other.Dependencies, s.ID) {
					continue
				}
				<-over[other.ID]
				if o := results[j].Outcome; o == Failed || o == Skipped {
					results[i] = Result{Stack: s, Outcome: Skipped}
					d.over(s, Skipped)
					return
				}
			}
			run.slots <- struct{}{}
			defer func() { <-run.slots }()
			started := time.Now()
			results[i], kept[i] = run.remove(ctx, s)
			results[i].Stack, results[i].Duration = s, time.Since(started)
			d.over(s, results[i].Outcome)
		})
	}
	group.Wait()
	all := slices.Concat(kept...)
	if len(stacks) == len(d.Assembly.Stacks) {
		all = append(all, run.strays()...)
	}
	return results, all, run.detached(ctx, results)
}

func (r *deployment) remove(ctx context.Context, s *Stack) (Result, []Kept) {
	if err := context.Cause(ctx); err != nil {
		return failed(err), nil
	}
	there := r.there[r.env.region(s)+"/"+s.Name]
	if there == nil {
		return Result{Outcome: Absent}, nil
	}
	client, err := r.env.cloudformation(ctx, s)
	if err != nil {
		return failed(err), nil
	}
	if status := string(there.StackStatus); strings.HasSuffix(status, "_IN_PROGRESS") && status != "REVIEW_IN_PROGRESS" && status != "DELETE_IN_PROGRESS" {
		r.report(Progress{Kind: ProgressStack, Stack: s, Status: "WAITING", Reason: "another change is under way: " + status})
		o := &operation{deployer: r.Deployer, client: client, stack: s, arn: aws.ToString(there.StackId)}
		if _, _, err := o.follow(ctx); err != nil {
			return failed(err), nil
		}
	}
	groups, err := r.strayLogs(ctx, client, s, there)
	if err != nil {
		return failed(err), nil
	}
	o := &operation{deployer: r.Deployer, client: client, stack: s, arn: aws.ToString(there.StackId), token: randomToken()}
	if there.StackStatus == "DELETE_IN_PROGRESS" {
		o.token = "" // whoever began it
	} else if _, err := client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: there.StackId, ClientRequestToken: &o.token}); err != nil {
		return failed(fmt.Errorf("remove stack %s: %w", s.Name, err)), nil
	}
	r.mu.Lock()
	r.running[s.ID] = s
	r.mu.Unlock()
	r.report(Progress{Kind: ProgressStack, Stack: s, Status: "DELETE_IN_PROGRESS"})
	status, reason, err := o.follow(ctx)
	if err != nil {
		return failed(err), nil
	}
	r.mu.Lock()
	delete(r.running, s.ID)
	r.mu.Unlock()
	r.report(Progress{Kind: ProgressStack, Stack: s, Status: status, Reason: reason})
	if status != "DELETE_COMPLETE" {
		return failed(o.cause(status, reason)), o.kept
	}
	if r.swappedIn(s) != nil {
		if err := r.forget(ctx, s); err != nil {
			return failed(err), o.kept
		}
	}
	for _, group := range groups {
		if err := r.deleteLogs(ctx, s, group); err != nil {
			o.kept = append(o.kept, Kept{Stack: s.Name, Type: typeLogGroup, Name: group})
		}
	}
	return Result{Outcome: Removed}, o.kept
}

const typeLogGroup = "AWS::Logs::LogGroup"

// strayLogs gives the log groups that Lambda makes by itself for functions of a personal stage which have none of their own (the
// CDK's helpers). They belong to no stack, so that they would stay for ever; elsewhere logs are never deleted but by a template.
func (r *deployment) strayLogs(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack) (groups []string, err error) {
	if !r.manifest().Personal || there.StackStatus == types.StackStatusReviewInProgress {
		return nil, nil
	}
	t := &Template{} // of a stack that is known by its name alone, every group may be one
	if s.TemplateFile != "" {
		if t, err = s.Template(); err != nil {
			return nil, err
		}
	}
	resources, err := listResources(ctx, client, s, there)
	if err != nil {
		return nil, err
	}
	for _, resource := range resources {
		if aws.ToString(resource.ResourceType) != "AWS::Lambda::Function" || aws.ToString(resource.PhysicalResourceId) == "" {
			continue
		}
		if known := t.Resources[aws.ToString(resource.LogicalResourceId)]; known == nil || known.Properties["LoggingConfig"] == nil {
			groups = append(groups, "/aws/lambda/"+aws.ToString(resource.PhysicalResourceId))
		}
	}
	return groups, nil
}

func (r *deployment) deleteLogs(ctx context.Context, s *Stack, group string) error {
	config := r.Config.Copy()
	config.Region = r.env.region(s)
	_, err := cloudwatchlogs.NewFromConfig(config).DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &group})
	if code(err) == "ResourceNotFoundException" {
		return nil
	}
	return err
}

// strays are the stacks with the tags of the app and stage that the assembly does not have.
func (r *deployment) strays() (found []Kept) {
	m := r.manifest()
	for _, there := range r.there {
		tags := map[string]string{}
		for _, t := range there.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		name := aws.ToString(there.StackName)
		if m.App != "" && tags["sst:app"] == m.App && tags["sst:stage"] == m.Stage && there.ParentId == nil && r.Assembly.Stack(name) == nil {
			found = append(found, Kept{Stack: name, Type: typeNested, Name: name})
		}
	}
	slices.SortFunc(found, func(a, b Kept) int { return strings.Compare(a.Name, b.Name) })
	return found
}
