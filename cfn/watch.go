package cfn

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// This file follows an operation of a stack by its events, those of nested stacks included.

// The pause between two polls is a tenth of what the wait has taken so far, within these bounds: a short operation is seen to
// end at once, a long one costs few calls.
const (
	lastPoll = 5 * time.Second
	newsPoll = time.Second // at most, while things happen
)

var firstPoll = 250 * time.Millisecond // tests make it shorter

// pace is the pauses of one wait.
type pace struct{ began time.Time }

// wait waits for the next poll; with news it is not far, and after throttling it is.
func (p *pace) wait(ctx context.Context, news, throttled bool) error {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	pause := min(lastPoll, max(firstPoll, time.Since(p.began)/10))
	if news {
		pause = min(pause, newsPoll)
	}
	if throttled {
		pause = lastPoll
	}
	timer := time.NewTimer(pause*9/10 + rand.N(pause/5))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// operation is one run of a stack from an IN_PROGRESS to an end.
type operation struct {
	deployer *Deployer
	client   *cloudformation.Client
	stack    *Stack
	arn      string
	token    string // ClientRequestToken; "" follows whatever runs
	nested   map[string]*followed
	failures []types.StackEvent // what may be the cause, oldest first
	blamed   *Stack             // whose the first failure is
	kept     []Kept             // what a deletion leaves
}

// followed is a stack whose events are read.
type followed struct {
	arn   string
	stack *Stack // nil when the assembly does not know it
	seen  map[string]bool
	over  bool
}

// follow waits for the end of the operation and gives the status it ended with, and the stack's own reason.
func (o *operation) follow(ctx context.Context) (status, reason string, err error) {
	o.nested = map[string]*followed{}
	root := &followed{arn: o.arn, stack: o.stack, seen: map[string]bool{}}
	var p pace
	for news, slow := false, false; ; {
		if err := p.wait(ctx, news, slow); err != nil {
			return "", "", err
		}
		events, err := o.fresh(ctx, root)
		news, slow = false, throttled(err)
		if slow {
			continue
		}
		if err != nil {
			return "", "", err
		}
		o.discover(root, events)
		told := map[*followed]bool{}
		for more := true; more; { // before the parent's events are told: the cause comes first
			more = false
			for _, n := range o.below() {
				if n.over || told[n] {
					continue
				}
				told[n], more = true, true
				inner, err := o.fresh(ctx, n)
				if err != nil && !throttled(err) {
					return "", "", err
				}
				o.discover(n, inner)
				for _, e := range inner {
					o.tell(n, e)
				}
			}
		}
		for _, e := range events {
			news = true
			o.tell(root, e)
			own := aws.ToString(e.PhysicalResourceId) == o.arn
			if own && strings.Contains(string(e.ResourceStatus), "ROLLBACK_IN_PROGRESS") && reason == "" {
				reason = aws.ToString(e.ResourceStatusReason)
			}
			if own && ended(string(e.ResourceStatus)) {
				if text := aws.ToString(e.ResourceStatusReason); reason == "" {
					reason = text
				}
				return string(e.ResourceStatus), reason, nil
			}
		}
	}
}

// below gives the nested stacks that are known, in a fixed order.
func (o *operation) below() (all []*followed) {
	for _, arn := range slices.Sorted(maps.Keys(o.nested)) {
		all = append(all, o.nested[arn])
	}
	return all
}

// discover finds the stacks nested in one by its events.
func (o *operation) discover(f *followed, events []types.StackEvent) {
	for _, e := range events {
		physical := aws.ToString(e.PhysicalResourceId)
		if aws.ToString(e.ResourceType) != typeNested || !strings.HasPrefix(physical, "arn:") || physical == f.arn || o.nested[physical] != nil {
			continue
		}
		n := &followed{arn: physical, seen: map[string]bool{}}
		if f.stack != nil {
			nested, _ := f.stack.Nested() // without it the events have no construct path
			for _, s := range nested {
				if s.LogicalID == aws.ToString(e.LogicalResourceId) {
					n.stack = s
				}
			}
		}
		o.nested[physical] = n
	}
}

// fresh gives the events of the operation that were not seen yet, oldest first.
func (o *operation) fresh(ctx context.Context, f *followed) ([]types.StackEvent, error) {
	var events []types.StackEvent
	pages := cloudformation.NewDescribeStackEventsPaginator(o.client, &cloudformation.DescribeStackEventsInput{StackName: &f.arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.StackEvents {
			token := aws.ToString(e.ClientRequestToken)
			if f.seen[aws.ToString(e.EventId)] || o.token != "" && token != o.token {
				slices.Reverse(events)
				return events, nil
			}
			f.seen[aws.ToString(e.EventId)] = true
			events = append(events, e)
			if aws.ToString(e.PhysicalResourceId) == f.arn && begins(string(e.ResourceStatus)) {
				slices.Reverse(events)
				return events, nil
			}
		}
	}
	slices.Reverse(events)
	return events, nil
}

// tell reports an event and keeps what may be the cause of a failure.
func (o *operation) tell(f *followed, e types.StackEvent) {
	physical, status, id := aws.ToString(e.PhysicalResourceId), string(e.ResourceStatus), aws.ToString(e.LogicalResourceId)
	kind, reason := aws.ToString(e.ResourceType), aws.ToString(e.ResourceStatusReason)
	own := physical == f.arn && kind == typeNested
	if own {
		f.over = f.over || ended(status)
		if f.arn == o.arn { // the deployer tells how it begins and ends
			if strings.HasSuffix(status, "ROLLBACK_IN_PROGRESS") || strings.HasSuffix(status, "CLEANUP_IN_PROGRESS") {
				o.deployer.report(Progress{Time: aws.ToTime(e.Timestamp), Stack: o.stack, Kind: ProgressStack, Status: status, Reason: reason})
			}
			return
		}
	}
	if strings.HasSuffix(status, "_FAILED") && !own && !consequence(reason) {
		if len(o.failures) == 0 {
			o.blamed = f.stack
		}
		o.failures = append(o.failures, e)
	}
	if own || reason == "Resource creation Initiated" {
		return
	}
	path := ""
	if f.stack != nil {
		path = f.stack.Path(id)
	}
	if status == "DELETE_SKIPPED" {
		o.kept = append(o.kept, Kept{Stack: o.stack.Name, Type: kind, Name: physical, Path: path, Why: KeptPolicy})
	}
	o.deployer.report(Progress{Time: aws.ToTime(e.Timestamp), Stack: o.stack, Kind: ProgressResource, Status: status, Reason: reason,
		LogicalID: id, Type: kind, Path: path})
}

// consequence recognises failures that follow from another one.
func consequence(reason string) bool {
	return strings.Contains(reason, "cancelled") || strings.HasPrefix(reason, "The following resource(s) failed to") ||
		strings.HasPrefix(reason, "Embedded stack ")
}

// begins says that a stack's status is the first of an operation.
func begins(status string) bool {
	switch status {
	case "CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS":
		return true
	}
	return false
}

// ended says that nothing goes on in a stack of that status.
func ended(status string) bool {
	return status != "" && !strings.HasSuffix(status, "_IN_PROGRESS")
}

func throttled(err error) bool {
	switch code(err) {
	case "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown":
		return true
	}
	return false
}
