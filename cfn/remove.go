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
	Why   KeptWhy
}

// KeptWhy is why something is still there.
type KeptWhy string

const (
	KeptPolicy   KeptWhy = "policy"   // its deletion policy is to retain it
	KeptSnapshot KeptWhy = "snapshot" // its deletion policy is to take a last snapshot
	KeptRefused  KeptWhy = "refused"  // AWS refused to delete it
	KeptUnknown  KeptWhy = "unknown"  // a stack of the app and stage that the assembly does not have
)

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
	run, err := d.open(ctx, stacks, false)
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
	var h holding
	if there.StackStatus != types.StackStatusReviewInProgress {
		r.report(Progress{Kind: ProgressStack, Stack: s, Status: "CHECKING"})
		if h, err = r.holds(ctx, client, s, aws.ToString(there.StackId)); err != nil {
			return failed(err), nil
		}
	}
	var kept []Kept
	for tries := 1; ; tries++ {
		if r.Empty && there.StackStatus != types.StackStatusDeleteInProgress {
			if err := r.empty(ctx, s, h.buckets); err != nil {
				return failed(err), kept
			}
		}
		o := &operation{deployer: r.Deployer, client: client, stack: s, arn: aws.ToString(there.StackId), token: randomToken()}
		err := r.delete(ctx, o, there, h.resources)
		kept = append(kept, o.kept...)
		if err == nil {
			break
		}
		if tries == 3 || !r.Empty || !refilled(err, h.buckets) {
			return failed(err), unique(kept)
		}
		there.StackStatus = types.StackStatusDeleteFailed
	}
	if r.swappedIn(s) != nil {
		if err := r.forget(ctx, s); err != nil {
			return failed(err), unique(kept)
		}
	}
	kept = append(kept, h.kept...)
	if r.Empty {
		for _, group := range h.logs {
			if err := r.deleteLogs(ctx, s, group); err != nil {
				kept = append(kept, Kept{Stack: s.Name, Type: typeLogGroup, Name: group, Why: KeptRefused})
			}
		}
	}
	return Result{Outcome: Removed}, unique(kept)
}

// delete has CloudFormation delete a stack and follows it to the end.
func (r *deployment) delete(ctx context.Context, o *operation, there *types.Stack, resources int) error {
	if there.StackStatus == types.StackStatusDeleteInProgress {
		o.token = "" // whoever began it
	} else if _, err := o.client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: there.StackId, ClientRequestToken: &o.token}); err != nil {
		return fmt.Errorf("remove stack %s: %w", o.stack.Name, err)
	}
	r.mu.Lock()
	r.running[o.stack.ID] = o.stack
	r.mu.Unlock()
	r.report(Progress{Kind: ProgressStack, Stack: o.stack, Status: "DELETE_IN_PROGRESS", Total: int64(resources)})
	status, reason, err := o.follow(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.running, o.stack.ID)
	r.mu.Unlock()
	r.report(Progress{Kind: ProgressStack, Stack: o.stack, Status: status, Reason: reason})
	if status != "DELETE_COMPLETE" {
		return o.cause(status, reason)
	}
	return nil
}

// unique leaves out what is told twice: another try skips the same resources again.
func unique(all []Kept) (each []Kept) {
	for _, k := range all {
		if !slices.Contains(each, k) {
			each = append(each, k)
		}
	}
	return each
}

const typeLogGroup = "AWS::Logs::LogGroup"

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
			found = append(found, Kept{Stack: name, Type: typeNested, Name: name, Why: KeptUnknown})
		}
	}
	slices.SortFunc(found, func(a, b Kept) int { return strings.Compare(a.Name, b.Name) })
	return found
}
