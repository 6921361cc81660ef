package cfn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

// Deployer brings the stacks of an assembly to AWS through CloudFormation. Its fields are set before the first call and
// not changed after.
type Deployer struct {
	Config   aws.Config // credentials and region
	Assembly *Assembly
	// Repair allows to delete or roll back a stack that is stuck; without it that is an error which says what is wrong.
	Repair bool
	// Empty allows to empty the buckets of a stack that is deleted, and to delete the logs that services keep of it. It is for stages whose
	// policy is to destroy; what a template retains is never touched.
	Empty bool
	// Async returns once everything is submitted. A stack that others wait for is waited for.
	Async bool
	// Hotswap changes functions past CloudFormation where nothing else of a stack changes; see hotswap.go.
	Hotswap bool
	Cap     int // stacks under way at once; 0 is 16
	Report  func(Progress)
	Docker  string // the program that makes container images; "" is docker
	// Ready is waited for when the files of a stack are published, before its change set is made; nil is always ready. Its error
	// is that of the stack.
	Ready func(context.Context) error
}

// ProgressKind says what a Progress is about.
type ProgressKind string

const (
	ProgressStack    ProgressKind = "stack"
	ProgressResource ProgressKind = "resource"
	ProgressAsset    ProgressKind = "asset"
)

// Progress is one thing that happened.
type Progress struct {
	Time      time.Time
	Kind      ProgressKind
	Stack     *Stack
	Status    string // CloudFormation's; of a stack also CHECKING, UNCHANGED, WAITING, REPAIRING, FAILED, SKIPPED, SUBMITTED, ABSENT; of an asset BUILDING, PUBLISHING, PUBLISHED
	Reason    string
	LogicalID string // of a resource
	Type      string // of a resource
	Path      string // construct path of a resource, "" when unknown; file of an asset
	Done      int64  // of an asset that is PUBLISHING: bytes that are sent
	Total     int64  // bytes of an asset; resources that change, of a stack whose change begins; 0 when unknown
}

// Outcome is how it went for a stack.
type Outcome string

const (
	Deployed  Outcome = "deployed"
	Unchanged Outcome = "unchanged"
	Swapped   Outcome = "swapped" // past CloudFormation
	Failed    Outcome = "failed"
	Skipped   Outcome = "skipped"   // because one that it depends on failed
	Submitted Outcome = "submitted" // CloudFormation goes on by itself
)

// Result is what became of one stack.
type Result struct {
	Stack    *Stack
	Outcome  Outcome
	Swapped  int // functions, of a swapped stack
	Outputs  map[string]string
	Err      error // of a failed stack; a *Failure when CloudFormation gave up
	Duration time.Duration
}

// Failure is the first real cause of a failed operation.
type Failure struct {
	Stack     *Stack
	Status    string // the status that the stack ended with
	LogicalID string // "" when it is the stack as a whole
	Type      string
	Path      string
	Position  Position // Line 0 when unknown
	Reason    string
}

func (e *Failure) Error() string {
	if e.LogicalID == "" {
		return fmt.Sprintf("stack %s ended as %s: %s", e.Stack.Name, e.Status, e.Reason)
	}
	return fmt.Sprintf("stack %s ended as %s: %s (%s): %s", e.Stack.Name, e.Status, e.LogicalID, e.Type, e.Reason)
}

// Stuck says that a stack is in a state from which no deployment leads on without deleting or rolling back something.
type Stuck struct {
	Stack          *Stack
	Status, Reason string
}

func (e *Stuck) Error() string {
	text := fmt.Sprintf("stack %s is in %s: %s", e.Stack.Name, e.Status, stuck[e.Status])
	if e.Reason != "" {
		text += " (" + strings.TrimSuffix(strings.TrimSpace(e.Reason), ".") + ")"
	}
	return text
}

// stuck explains the states from which a stack does not come back by itself.
var stuck = map[string]string{
	"ROLLBACK_COMPLETE":      "its creation failed and was undone; it has to be deleted before it can be created again",
	"ROLLBACK_FAILED":        "its creation failed and could not be undone; it has to be deleted before it can be created again",
	"CREATE_FAILED":          "its creation failed; it has to be deleted before it can be created again",
	"DELETE_FAILED":          "its deletion failed half-way; it has to be deleted before it can be created again",
	"UPDATE_ROLLBACK_FAILED": "an update failed and could not be undone; the rollback has to be continued",
}

// Detached says that the wait for stacks ended before they did. CloudFormation goes on with them.
type Detached struct {
	Running []*Stack
	Cause   error
}

func (e *Detached) Error() string {
	return fmt.Sprintf("%d stacks are still under way: %v", len(e.Running), e.Cause)
}

func (e *Detached) Unwrap() error { return e.Cause }

func (d *Deployer) report(p Progress) {
	if p.Time.IsZero() {
		p.Time = time.Now()
	}
	if d.Report != nil {
		d.Report(p)
	}
}

func (d *Deployer) manifest() *Manifest {
	if d.Assembly.Manifest == nil {
		return &Manifest{}
	}
	return d.Assembly.Manifest
}

// Needed gives the stacks of these names with those that they depend on, in order; all when there are no names.
func (a *Assembly) Needed(names []string) ([]*Stack, error) {
	if len(names) == 0 {
		return a.Stacks, nil
	}
	wanted := map[string]bool{}
	var add func(s *Stack)
	add = func(s *Stack) {
		if s == nil || wanted[s.ID] {
			return
		}
		wanted[s.ID] = true
		for _, id := range s.Dependencies {
			add(a.Stack(id))
		}
	}
	for _, name := range names {
		s := a.Stack(name)
		if s == nil {
			var known []string
			for _, s := range a.Stacks {
				known = append(known, s.Short)
			}
			return nil, fmt.Errorf("there is no stack %q; there are %s", name, strings.Join(known, ", "))
		}
		add(s)
	}
	return slices.DeleteFunc(slices.Clone(a.Stacks), func(s *Stack) bool { return !wanted[s.ID] }), nil
}

// deployment is one run of Deploy.
type deployment struct {
	*Deployer
	env     *environments
	publish *publisher
	there   map[string]*types.Stack // by region and name, what was in the account at the beginning
	slots   chan struct{}

	mu      sync.Mutex
	swaps   map[string]swapped // by short name of the stack, what CloudFormation does not know
	running map[string]*Stack  // submitted and not over
	moved   map[string]bool    // ids of stacks that changed in this run
}

// Deploy deploys the stacks, which are in dependency order and complete (Needed). The error is that of the preparation, or
// *Detached when ctx or the credentials ended while stacks were under way; what went wrong with a stack is in its result.
func (d *Deployer) Deploy(ctx context.Context, stacks []*Stack) ([]Result, error) {
	run, err := d.begin(ctx, stacks)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(stacks))
	over := map[string]chan struct{}{}
	index := map[string]int{}
	for i, s := range stacks {
		over[s.ID], index[s.ID] = make(chan struct{}), i
	}
	var group sync.WaitGroup
	for i, s := range stacks {
		group.Go(func() {
			defer close(over[s.ID])
			for _, id := range s.Dependencies {
				if over[id] == nil {
					continue
				}
				<-over[id]
				if o := results[index[id]].Outcome; o == Failed || o == Skipped {
					results[i] = Result{Stack: s, Outcome: Skipped}
					d.over(s, Skipped)
					return
				}
			}
			run.slots <- struct{}{}
			defer func() { <-run.slots }()
			started := time.Now()
			last := !slices.ContainsFunc(stacks, func(other *Stack) bool { return slices.Contains(other.Dependencies, s.ID) })
			results[i] = run.deploy(ctx, s, d.Async && last)
			results[i].Stack, results[i].Duration = s, time.Since(started)
			d.over(s, results[i].Outcome)
		})
	}
	group.Wait()
	return results, run.detached(ctx, results)
}

// over tells that nothing more is done about a stack, where its last status does not say so.
func (d *Deployer) over(s *Stack, o Outcome) {
	switch o {
	case Failed, Skipped, Submitted, Absent:
		d.report(Progress{Kind: ProgressStack, Stack: s, Status: strings.ToUpper(string(o))})
	}
}

// detached is the error when stacks are under way that nobody watches any more; their results say submitted. What was
// meant to be left to CloudFormation is none.
func (r *deployment) detached(ctx context.Context, results []Result) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := &Detached{Cause: context.Cause(ctx)}
	for i := range results {
		one := &results[i]
		if r.running[one.Stack.ID] == nil {
			continue
		}
		d.Running = append(d.Running, one.Stack)
		if one.Outcome == Failed {
			d.Cause, one.Outcome, one.Err = one.Err, Submitted, nil
		}
	}
	if d.Cause == nil || len(d.Running) == 0 {
		return nil
	}
	return d
}

// begin checks credentials, accounts and bootstrap, and reads what is in the account, before anything is changed.
func (d *Deployer) begin(ctx context.Context, stacks []*Stack) (*deployment, error) {
	return d.open(ctx, stacks, true)
}

// open is begin; where nothing is deployed, it goes without the bootstrap.
func (d *Deployer) open(ctx context.Context, stacks []*Stack, bootstrapped bool) (*deployment, error) {
	env, err := openEnvironments(ctx, d.Config)
	if err != nil {
		return nil, err
	}
	run := &deployment{Deployer: d, env: env, publish: newPublisher(env, d.report, d.Docker), there: map[string]*types.Stack{},
		running: map[string]*Stack{}, moved: map[string]bool{}}
	capacity := d.Cap
	if capacity == 0 {
		capacity = 16
	}
	run.slots = make(chan struct{}, capacity)
	for _, s := range stacks {
		if s.Account != "" && s.Account != env.account {
			return nil, &WrongAccount{Stack: s.Name, Have: env.account, Want: s.Account}
		}
	}
	if bootstrapped {
		if run.swaps, err = d.swapped(ctx); err != nil {
			return nil, err
		}
	}
	read := map[string]bool{}
	for _, s := range stacks {
		if bootstrapped {
			if err := env.checkBootstrap(ctx, s); err != nil {
				return nil, err
			}
		}
		region := env.region(s)
		if read[region] {
			continue
		}
		read[region] = true
		client, err := env.cloudformation(ctx, s)
		if err != nil {
			return nil, err
		}
		pages := cloudformation.NewDescribeStacksPaginator(client, &cloudformation.DescribeStacksInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("list the stacks in %s: %w", region, err)
			}
			for _, st := range page.Stacks {
				run.there[region+"/"+aws.ToString(st.StackName)] = &st
			}
		}
	}
	return run, nil
}

func failed(err error) Result { return Result{Outcome: Failed, Err: err} }

// overtaken is how often a stack is looked at again because somebody else changed it meanwhile.
const overtaken = 5

// deploy brings one stack to what the assembly says.
func (r *deployment) deploy(ctx context.Context, s *Stack, async bool) Result {
	client, err := r.env.cloudformation(ctx, s)
	if err != nil {
		return failed(err)
	}
	there := r.there[r.env.region(s)+"/"+s.Name]
	for tries := 0; ; tries++ {
		result := r.try(ctx, client, s, there, async)
		if result.Outcome != Failed || !inTheWay(result.Err) || tries == overtaken {
			return result
		}
		if there, err = describe(ctx, client, s.Name); err != nil {
			return failed(err)
		}
	}
}

// inTheWay says that a change was refused because another one came first.
func inTheWay(err error) bool {
	switch text := message(err); code(err) {
	case "InvalidChangeSetStatus", "InvalidChangeSetStatusException", "ChangeSetNotFound", "ChangeSetNotFoundException":
		return true
	case "ValidationError":
		return strings.Contains(text, "_IN_PROGRESS state and can not be updated") || strings.Contains(text, "already exists and cannot be created again")
	}
	return false
}

// describe gives a stack as it is now, nil when there is none; name may be an ARN.
func describe(ctx context.Context, client *cloudformation.Client, name string) (*types.Stack, error) {
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	switch {
	case code(err) == "ValidationError" && strings.Contains(message(err), "does not exist"):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("state of stack %s: %w", name, err)
	case len(out.Stacks) == 0:
		return nil, nil
	}
	return &out.Stacks[0], nil
}

func (r *deployment) try(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack, async bool) Result {
	if err := context.Cause(ctx); err != nil {
		return failed(err)
	}
	there, err := r.settle(ctx, client, s, there)
	if err != nil {
		return failed(err)
	}
	if there != nil {
		same, body, err := r.unchanged(ctx, client, s, there)
		if err != nil {
			return failed(err)
		}
		recorded := r.swappedIn(s) != nil
		if r.Hotswap && (!same || recorded) {
			result, err := r.swap(ctx, s, there, body)
			if err != nil {
				return failed(err)
			}
			if result != nil {
				return *result
			}
		}
		if same && recorded {
			if err := r.putBack(ctx, s); err != nil {
				return failed(err)
			}
			return Result{Outcome: Deployed, Outputs: outputsOf(there)}
		}
		if same {
			if err := r.protect(ctx, client, s, there); err != nil {
				return failed(err)
			}
			r.report(Progress{Kind: ProgressStack, Stack: s, Status: "UNCHANGED"})
			return Result{Outcome: Unchanged, Outputs: outputsOf(there)}
		}
	}
	if err := r.publish.publish(ctx, s); err != nil {
		return failed(err)
	}
	if r.Ready != nil {
		if err := r.Ready(ctx); err != nil {
			return failed(err)
		}
	}
	arn, set, changes, err := r.changeSet(ctx, client, s, there)
	if err != nil {
		return failed(err)
	}
	if set == "" { // it came to the same after all
		if err := r.putBack(ctx, s); err != nil {
			return failed(err)
		}
		return Result{Outcome: Unchanged, Outputs: outputsOf(there)}
	}
	token := randomToken()
	input := &cloudformation.ExecuteChangeSetInput{ChangeSetName: &set, StackName: &arn, ClientRequestToken: &token}
	if _, err := client.ExecuteChangeSet(ctx, input); err != nil {
		return failed(fmt.Errorf("deploy stack %s: %w", s.Name, err))
	}
	r.mu.Lock()
	r.running[s.ID], r.moved[s.ID] = s, true
	r.mu.Unlock()
	begun := "CREATE_IN_PROGRESS"
	if there != nil {
		begun = "UPDATE_IN_PROGRESS"
	}
	r.report(Progress{Kind: ProgressStack, Stack: s, Status: begun, Total: int64(changes)})
	if err := r.protect(ctx, client, s, there); err != nil {
		return failed(err)
	}
	if async && r.swappedIn(s) == nil {
		return Result{Outcome: Submitted}
	}
	return r.finish(ctx, client, s, arn, token)
}

// finish follows a stack to its end and tells how it went.
func (r *deployment) finish(ctx context.Context, client *cloudformation.Client, s *Stack, arn, token string) Result {
	o := &operation{deployer: r.Deployer, client: client, stack: s, arn: arn, token: token}
	status, reason, err := o.follow(ctx)
	if err != nil {
		return failed(err)
	}
	r.mu.Lock()
	delete(r.running, s.ID)
	r.mu.Unlock()
	r.report(Progress{Kind: ProgressStack, Stack: s, Status: status, Reason: reason})
	if !good(status) {
		return failed(o.cause(status, reason))
	}
	if err := r.putBack(ctx, s); err != nil {
		return failed(err)
	}
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &arn})
	if err != nil || len(out.Stacks) == 0 {
		return failed(fmt.Errorf("outputs of stack %s: %w", s.Name, err))
	}
	return Result{Outcome: Deployed, Outputs: outputsOf(&out.Stacks[0])}
}

// good says that a stack of that status is what was asked for.
func good(status string) bool {
	return status == "CREATE_COMPLETE" || status == "UPDATE_COMPLETE" || status == "IMPORT_COMPLETE"
}

// cause names the first resource that failed by itself.
func (o *operation) cause(status, reason string) *Failure {
	f := &Failure{Stack: o.stack, Status: status, Reason: reason}
	if len(o.failures) == 0 {
		return f
	}
	first := o.failures[0]
	for _, e := range o.failures {
		if aws.ToTime(e.Timestamp).Before(aws.ToTime(first.Timestamp)) {
			first = e
		}
	}
	f.LogicalID, f.Type, f.Reason = aws.ToString(first.LogicalResourceId), aws.ToString(first.ResourceType), aws.ToString(first.ResourceStatusReason)
	if o.blamed != nil {
		f.Path = o.blamed.Path(f.LogicalID)
		f.Position = o.deployer.manifest().Position(f.Path)
	}
	return f
}

// settle brings a stack to a state from which it can be deployed, and gives it as it is then; nil when there is none.
func (r *deployment) settle(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack) (*types.Stack, error) {
	for repairs := 0; there != nil; {
		status := string(there.StackStatus)
		switch {
		case status == "REVIEW_IN_PROGRESS" || status == "DELETE_COMPLETE":
			return nil, nil
		case strings.HasSuffix(status, "_IN_PROGRESS"):
			r.report(Progress{Kind: ProgressStack, Stack: s, Status: "WAITING", Reason: "another change is under way: " + status})
			o := &operation{deployer: r.Deployer, client: client, stack: s, arn: aws.ToString(there.StackId)}
			if _, _, err := o.follow(ctx); err != nil {
				return nil, err
			}
		case stuck[status] == "":
			return there, nil
		case !r.Repair || repairs == 2:
			return nil, &Stuck{Stack: s, Status: status, Reason: aws.ToString(there.StackStatusReason)}
		default:
			repairs++
			if err := r.repair(ctx, client, s, there, repairs > 1); err != nil {
				return nil, err
			}
		}
		var err error
		if there, err = describe(ctx, client, aws.ToString(there.StackId)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// repair deletes a stack whose creation failed, or continues the rollback of one whose update did. The second time, the
// resources that stood in the way are left as they are; what is left of a deleted stack is told.
func (r *deployment) repair(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack, again bool) error {
	token, status := randomToken(), there.StackStatus
	rollback := status == types.StackStatusUpdateRollbackFailed
	r.report(Progress{Kind: ProgressStack, Stack: s, Status: "REPAIRING", Reason: string(status)})
	var left []string
	if !rollback && r.Empty {
		h, err := r.holds(ctx, client, s, aws.ToString(there.StackId))
		if err != nil {
			return err
		}
		if err := r.empty(ctx, s, h.buckets); err != nil {
			return err
		}
	}
	if again && (rollback || status == types.StackStatusDeleteFailed) {
		var err error
		if left, err = r.leave(ctx, client, s, there, rollback); err != nil {
			return err
		}
	}
	var err error
	if rollback {
		_, err = client.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: there.StackId, ClientRequestToken: &token, ResourcesToSkip: left})
	} else {
		_, err = client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: there.StackId, ClientRequestToken: &token, RetainResources: left})
	}
	if err != nil {
		return fmt.Errorf("repair stack %s: %w", s.Name, err)
	}
	o := &operation{deployer: r.Deployer, client: client, stack: s, arn: aws.ToString(there.StackId), token: token}
	_, _, err = o.follow(ctx)
	return err
}

// leave gives the resources that kept a stack from being repaired.
func (r *deployment) leave(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack, rollback bool) (ids []string, err error) {
	resources, err := listResources(ctx, client, s, there)
	if err != nil {
		return nil, err
	}
	stuck, word := types.ResourceStatusDeleteFailed, "LEFT"
	if rollback {
		stuck, word = types.ResourceStatusUpdateFailed, "SKIPPED"
	}
	for _, resource := range resources {
		if resource.ResourceStatus != stuck {
			continue
		}
		id := aws.ToString(resource.LogicalResourceId)
		ids = append(ids, id)
		r.report(Progress{Kind: ProgressResource, Stack: s, Status: word, Reason: aws.ToString(resource.PhysicalResourceId), LogicalID: id,
			Type: aws.ToString(resource.ResourceType), Path: s.Path(id)})
	}
	return ids, nil
}

// listResources gives the resources of a stack as they are.
func listResources(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack) (all []types.StackResourceSummary, err error) {
	pages := cloudformation.NewListStackResourcesPaginator(client, &cloudformation.ListStackResourcesInput{StackName: there.StackId})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("resources of stack %s: %w", s.Name, err)
		}
		all = append(all, page.StackResourceSummaries...)
	}
	return all, nil
}

// unchanged compares a stack with what the assembly says: template, parameters and tags. body is the template in AWS, when nothing but
// that differs.
func (r *deployment) unchanged(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack) (same bool, body []byte, err error) {
	r.report(Progress{Kind: ProgressStack, Stack: s, Status: "CHECKING"})
	if !good(string(there.StackStatus)) && there.StackStatus != types.StackStatusUpdateRollbackComplete {
		return false, nil, nil
	}
	if !sameTags(s, there) {
		return false, nil, nil
	}
	t, err := s.Template()
	if err != nil {
		return false, nil, err
	}
	if !r.sameParameters(t, there) {
		return false, nil, nil
	}
	own, err := os.ReadFile(filepath.Join(s.Dir, s.TemplateFile))
	if err != nil {
		return false, nil, err
	}
	if strings.Contains(string(own), `"Fn::GetStackOutput"`) && r.changedBelow(s) {
		return false, nil, nil // the values it reads may be others now
	}
	out, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: there.StackId, TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return false, nil, fmt.Errorf("template of stack %s: %w", s.Name, err)
	}
	body = []byte(aws.ToString(out.TemplateBody))
	return sameJSON(own, body), body, nil
}

func sameTags(s *Stack, there *types.Stack) bool {
	tags := map[string]string{}
	for _, t := range there.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return maps.Equal(tags, s.Tags)
}

func (r *deployment) changedBelow(s *Stack) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(s.Dependencies, func(id string) bool { return r.moved[id] })
}

// sameParameters compares the parameters that a stack has with those it would get. One that is read from SSM may have
// another value behind the same name; only CloudFormation can tell.
func (r *deployment) sameParameters(t *Template, there *types.Stack) bool {
	have := map[string]string{}
	for _, p := range there.Parameters {
		have[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
	}
	for name, p := range t.Parameters {
		value, there := have[name]
		if !there || p.Default != nil && fmt.Sprint(p.Default) != value || strings.HasPrefix(p.Type, "AWS::SSM::") && name != bootstrapParameter {
			return false
		}
	}
	return len(have) == len(t.Parameters)
}

// bootstrapParameter is in every template of the CDK; it only serves a check.
const bootstrapParameter = "BootstrapVersion"

func sameJSON(a, b []byte) bool {
	if string(a) == string(b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// capabilities are those that the CDK's own deployment gives.
var capabilities = []types.Capability{types.CapabilityCapabilityIam, types.CapabilityCapabilityNamedIam, types.CapabilityCapabilityAutoExpand}

// changeSet makes the change set of a stack and gives its ARN, "" when nothing would change, and how many resources it changes (0: unknown).
func (r *deployment) changeSet(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack) (stack, set string, changes int, err error) {
	token := randomToken()
	in := &cloudformation.CreateChangeSetInput{
		StackName: aws.String(s.Name), ChangeSetName: aws.String("sst-" + token), ClientToken: &token,
		ChangeSetType: types.ChangeSetTypeCreate, Capabilities: capabilities,
	}
	if there != nil {
		in.ChangeSetType = types.ChangeSetTypeUpdate
	}
	if role := r.env.fill(s.Deployment.CloudFormationExecutionRoleArn, r.env.region(s)); role != "" {
		in.RoleARN = &role
	}
	if err := r.template(ctx, s, in); err != nil {
		return "", "", 0, err
	}
	if in.Parameters, err = parameters(s, there); err != nil {
		return "", "", 0, err
	}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(key), Value: aws.String(s.Tags[key])})
	}
	made, err := client.CreateChangeSet(ctx, in)
	if err != nil {
		return "", "", 0, fmt.Errorf("change set of stack %s: %w", s.Name, err)
	}
	var p pace
	for {
		// One change is enough: only the status matters here.
		out, err := client.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id, StackName: made.StackId})
		if err != nil && !throttled(err) {
			return "", "", 0, fmt.Errorf("change set of stack %s: %w", s.Name, err)
		}
		if err == nil {
			reason := aws.ToString(out.StatusReason)
			switch out.Status {
			case types.ChangeSetStatusCreateComplete:
				changes = len(out.Changes)
				if out.NextToken != nil { // more than a page: of a new stack the template says how many
					changes = 0
					if t, err := s.Template(); there == nil && err == nil {
						changes = len(t.Resources)
					}
				}
				return aws.ToString(made.StackId), aws.ToString(made.Id), changes, nil
			case types.ChangeSetStatusFailed:
				_, err := client.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{ChangeSetName: made.Id, StackName: made.StackId})
				if strings.Contains(reason, "didn't contain changes") || strings.Contains(reason, "No updates are to be performed") {
					return aws.ToString(made.StackId), "", 0, err
				}
				return "", "", 0, &Failure{Stack: s, Status: "no change set", Reason: reason}
			}
		}
		if err := p.wait(ctx, false, throttled(err)); err != nil {
			return "", "", 0, err
		}
	}
}

// maxInlineBytes is how large a template in a request may be.
const maxInlineBytes = 51200

// template says where CloudFormation finds the template: in S3, where it was published, else in the request.
func (r *deployment) template(ctx context.Context, s *Stack, in *cloudformation.CreateChangeSetInput) error {
	address := r.env.fill(s.Deployment.StackTemplateAssetObjectURL, r.env.region(s))
	body, err := os.ReadFile(filepath.Join(s.Dir, s.TemplateFile))
	if err != nil {
		return err
	}
	if address == "" && len(body) > maxInlineBytes { // a synthesizer that publishes no templates
		if address, err = r.publish.template(ctx, s); err != nil {
			return err
		}
	}
	if rest, ok := strings.CutPrefix(address, "s3://"); ok {
		base := "https://s3." + r.env.region(s) + "." + r.env.suffix()
		if own := r.Config.BaseEndpoint; own != nil {
			base = strings.TrimSuffix(*own, "/")
		}
		in.TemplateURL = aws.String(base + "/" + rest)
		return nil
	}
	in.TemplateBody = aws.String(string(body))
	return nil
}

// parameters keeps the values of parameters without a default.
func parameters(s *Stack, there *types.Stack) ([]types.Parameter, error) {
	t, err := s.Template()
	if err != nil {
		return nil, err
	}
	var all []types.Parameter
	for _, name := range slices.Sorted(maps.Keys(t.Parameters)) {
		if t.Parameters[name].Default != nil {
			continue
		}
		if there == nil || !slices.ContainsFunc(there.Parameters, func(p types.Parameter) bool { return aws.ToString(p.ParameterKey) == name }) {
			return nil, fmt.Errorf("parameter %s of stack %s has no default, and no value from an earlier deployment", name, s.Name)
		}
		all = append(all, types.Parameter{ParameterKey: aws.String(name), UsePreviousValue: aws.Bool(true)})
	}
	return all, nil
}

// protect sets the termination protection as the assembly says.
func (r *deployment) protect(ctx context.Context, client *cloudformation.Client, s *Stack, there *types.Stack) error {
	on := s.Deployment.TerminationProtection
	if was := there != nil && aws.ToBool(there.EnableTerminationProtection); was == on {
		return nil
	}
	_, err := client.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: aws.String(s.Name), EnableTerminationProtection: &on})
	if err != nil {
		return fmt.Errorf("termination protection of stack %s: %w", s.Name, err)
	}
	return nil
}

func outputsOf(st *types.Stack) map[string]string {
	all := map[string]string{}
	for _, o := range st.Outputs {
		all[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	return all
}

func randomToken() string {
	data := make([]byte, 16)
	rand.Read(data) // never fails
	return hex.EncodeToString(data)
}

// State is how a stack is in the account.
type State struct {
	Stack   *Stack
	Status  string // "" when there is none
	Reason  string
	Outputs map[string]string
}

// Status tells how the stacks are. With wait it follows those under way to their end, reporting as Deploy does; what failed
// meanwhile has its cause in errs, by artifact id.
func (d *Deployer) Status(ctx context.Context, stacks []*Stack, wait bool) (states []State, errs map[string]*Failure, err error) {
	run, err := d.open(ctx, stacks, false)
	if err != nil {
		return nil, nil, err
	}
	states, errs = make([]State, len(stacks)), map[string]*Failure{}
	failures := make([]error, len(stacks))
	var group sync.WaitGroup
	var mu sync.Mutex // guards errs
	for i, s := range stacks {
		states[i].Stack = s
		there := run.there[run.env.region(s)+"/"+s.Name]
		if there == nil {
			if wait {
				d.over(s, Absent)
			}
			continue
		}
		states[i].Status, states[i].Reason, states[i].Outputs = string(there.StackStatus), aws.ToString(there.StackStatusReason), outputsOf(there)
		if !wait {
			continue
		}
		if ended(states[i].Status) || states[i].Status == "REVIEW_IN_PROGRESS" {
			d.report(Progress{Kind: ProgressStack, Stack: s, Status: "UNCHANGED"})
			continue
		}
		d.report(Progress{Kind: ProgressStack, Stack: s, Status: states[i].Status})
		group.Go(func() {
			client, err := run.env.cloudformation(ctx, s)
			if err != nil {
				failures[i] = err
				return
			}
			o := &operation{deployer: d, client: client, stack: s, arn: aws.ToString(there.StackId)}
			status, reason, err := o.follow(ctx)
			if err != nil {
				failures[i] = err
				return
			}
			d.report(Progress{Kind: ProgressStack, Stack: s, Status: status, Reason: reason})
			states[i].Status, states[i].Reason = status, reason
			if !good(status) && status != "DELETE_COMPLETE" {
				mu.Lock()
				errs[s.ID] = o.cause(status, reason)
				mu.Unlock()
			}
			out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: there.StackId})
			if err == nil && len(out.Stacks) > 0 {
				states[i].Outputs = outputsOf(&out.Stacks[0])
			}
			failures[i] = err
		})
	}
	group.Wait()
	return states, errs, errors.Join(failures...)
}
