package cfn

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"golang.org/x/sync/errgroup"
)

// This file is the fast path of a deployment: code, environment and description of functions go to Lambda itself, past
// CloudFormation, which knows nothing of it. So what was swapped is recorded before it is done, and the next deployment through
// CloudFormation puts those functions to what the template says, also where the template did not change.

// Swap is a function of a stack whose code, environment or description can be changed without CloudFormation.
type Swap struct {
	LogicalID string
	Variables []string // of the environment, those that change
}

// Obstacle says why a stack cannot do without CloudFormation.
type Obstacle struct {
	LogicalID string // "" when it is not about one resource
	What      string // "Timeout changes"
}

// Swappable tells the difference between the templates of a stack as swaps, or what stands in the way.
func Swappable(was, is *Template) ([]Swap, *Obstacle) {
	diff := Compare(was, is)
	switch {
	case len(diff.Other) > 0:
		return nil, &Obstacle{What: diff.Other[0] + " of the template change"}
	case len(diff.Outputs) > 0:
		return nil, &Obstacle{What: "the output " + diff.Outputs[0].Path + " changes"}
	}
	published := publishedFunctions(is)
	var swaps []Swap
	for _, c := range diff.Resources {
		if c.Type == "AWS::CDK::Metadata" {
			continue
		}
		if c.Action != Change {
			return nil, &Obstacle{c.LogicalID, map[Action]string{Add: "is new", Delete: "is removed"}[c.Action]}
		}
		c.Properties = slices.DeleteFunc(c.Properties, func(p PropertyChange) bool { return p.Path == "(Metadata)" })
		if len(c.Properties) == 0 {
			continue
		}
		if c.Type != typeFunction {
			return nil, &Obstacle{c.LogicalID, c.Properties[0].Path + " changes"}
		}
		for _, p := range c.Properties {
			if name, _, _ := strings.Cut(p.Path, "."); name != "Code" && name != "Environment" && name != "Description" {
				return nil, &Obstacle{c.LogicalID, p.Path + " changes"}
			}
		}
		if by := published[c.LogicalID]; by != "" {
			return nil, &Obstacle{c.LogicalID, "has a published version, " + by}
		}
		for _, r := range []*Resource{was.Resources[c.LogicalID], is.Resources[c.LogicalID]} {
			if o := cmp.Or(codeFromBucket(r), plainEnvironment(r)); o != "" {
				return nil, &Obstacle{c.LogicalID, o}
			}
		}
		swaps = append(swaps, Swap{c.LogicalID, changedVariables(was.Resources[c.LogicalID], is.Resources[c.LogicalID])})
	}
	return swaps, nil
}

// publishedFunctions are those with a version of their own in the template, which CloudFormation has to publish anew.
func publishedFunctions(t *Template) map[string]string {
	all, functions := map[string]string{}, map[string]bool{}
	for _, id := range t.all(typeFunction) {
		functions[id] = true
	}
	for _, id := range t.all(typeVersion) {
		if of := refersTo(t.Resources[id].Properties["FunctionName"], functions, ""); of != "" {
			all[of] = id
		}
	}
	return all
}

// codeFromBucket says why code cannot be given to Lambda as it stands, "" when it can.
func codeFromBucket(r *Resource) string {
	code, _ := r.Properties["Code"].(map[string]any)
	if len(code) != 2 || code["S3Bucket"] == nil || code["S3Key"] == nil {
		return "its code is not an archive in a bucket"
	}
	return ""
}

// plainEnvironment says why the variables of a function cannot be told apart, "" when they can.
func plainEnvironment(r *Resource) string {
	environment := r.Properties["Environment"]
	if environment == nil {
		return ""
	}
	m, _ := environment.(map[string]any)
	variables, ok := m["Variables"].(map[string]any)
	if len(m) > 1 || len(m) == 1 && !ok || m == nil || isIntrinsic(variables) {
		return "its environment is not a list of variables"
	}
	return ""
}

func variablesOf(r *Resource) map[string]any {
	environment, _ := r.Properties["Environment"].(map[string]any)
	variables, _ := environment["Variables"].(map[string]any)
	return variables
}

func changedVariables(was, is *Resource) []string {
	before, now := variablesOf(was), variablesOf(is)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(merged(before, now))), func(name string) bool { return same(before[name], now[name]) })
}

// swapped is the record of a stack: logical ids of the functions that are not as its template in CloudFormation says, and which
// of their variables.
type swapped map[string][]string

// swapName is the name of the parameter that holds the record of a stack.
func (d *Deployer) swapName(s *Stack) string {
	m := d.manifest()
	return fmt.Sprintf("/sst/%s/%s/Hotswap/%s", m.App, m.Stage, s.Short)
}

// largestRecord is what a standard parameter of SSM holds.
const largestRecord = 4096

// records has the records of all stacks in the region of the app, where the next deployment looks for them at once, and with the
// caller's own credentials: the role that deploys reads the parameters of the bootstrap only.
func (d *Deployer) records() *ssm.Client { return ssm.NewFromConfig(d.Config) }

// SwappedFunctions gives the functions of the stage that were changed past CloudFormation, by the ids of the manifest, sorted.
func (d *Deployer) SwappedFunctions(ctx context.Context) ([]string, error) {
	found, err := d.swapped(ctx)
	var all []string
	for short, record := range found {
		s := d.Assembly.Stack(short)
		for id := range record {
			switch {
			case s == nil:
				all = append(all, short+"/"+id)
			case d.manifest().functionOf(s, id) != nil:
				all = append(all, d.manifest().functionOf(s, id).ID)
			default:
				all = append(all, d.shortName(s, id))
			}
		}
	}
	slices.Sort(all)
	return all, err
}

// swapped reads the records of the stage, by short names of stacks. Who may not read them has made none.
func (d *Deployer) swapped(ctx context.Context) (map[string]swapped, error) {
	m := d.manifest()
	if m.App == "" || m.Stage == "" {
		return nil, nil
	}
	all := map[string]swapped{}
	path := fmt.Sprintf("/sst/%s/%s/Hotswap", m.App, m.Stage)
	pages := ssm.NewGetParametersByPathPaginator(d.records(), &ssm.GetParametersByPathInput{Path: &path})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch {
		case code(err) == "AccessDeniedException":
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("what was swapped in stage %s: %w", m.Stage, err)
		}
		for _, p := range page.Parameters {
			var record swapped
			if err := json.Unmarshal([]byte(aws.ToString(p.Value)), &record); err != nil {
				return nil, fmt.Errorf("what was swapped in stage %s: %s holds %q", m.Stage, aws.ToString(p.Name), aws.ToString(p.Value))
			}
			all[strings.TrimPrefix(aws.ToString(p.Name), path+"/")] = record
		}
	}
	return all, nil
}

func (r *deployment) swappedIn(s *Stack) swapped {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.swaps[s.Short]
}

// record says of functions that they are about to be swapped, beside those that were.
func (r *deployment) record(ctx context.Context, s *Stack, swaps []Swap) (*Obstacle, error) {
	record := swapped{}
	had := r.swappedIn(s)
	maps.Copy(record, had)
	for _, one := range swaps {
		names := slices.Sorted(slices.Values(append(slices.Clone(record[one.LogicalID]), one.Variables...)))
		record[one.LogicalID] = append([]string{}, slices.Compact(names)...)
	}
	text, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	if len(text) > largestRecord {
		return &Obstacle{What: "more functions differ from their template than can be noted"}, nil
	}
	if same(had, record) {
		return nil, nil
	}
	_, err = r.records().PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(r.swapName(s)), Value: aws.String(string(text)),
		Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true)})
	if err != nil {
		return nil, fmt.Errorf("note what is swapped in stack %s: %w", s.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.swaps == nil {
		r.swaps = map[string]swapped{}
	}
	r.swaps[s.Short] = record
	return nil, nil
}

// forget deletes the record of a stack.
func (r *deployment) forget(ctx context.Context, s *Stack) error {
	_, err := r.records().DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(r.swapName(s))})
	if err != nil && code(err) != "ParameterNotFound" {
		return fmt.Errorf("forget what was swapped in stack %s: %w", s.Name, err)
	}
	return nil
}

// swap brings a stack to what the assembly says past CloudFormation. An obstacle is said, and the result is nil then.
func (r *deployment) swap(ctx context.Context, s *Stack, there *types.Stack, body []byte) (*Result, error) {
	if body == nil {
		return nil, r.obstructed(s, &Obstacle{What: "more than its template changes"})
	}
	is, err := s.Template()
	if err != nil {
		return nil, err
	}
	was, err := ParseTemplate(body)
	if err != nil {
		return nil, fmt.Errorf("the template of stack %s in AWS is not JSON: %w", s.Name, err)
	}
	swaps, obstacle := Swappable(was, is)
	if obstacle != nil {
		return nil, r.obstructed(s, obstacle)
	}
	for id, names := range r.swappedIn(s) { // what was swapped before may be wanted otherwise now
		i := slices.IndexFunc(swaps, func(one Swap) bool { return one.LogicalID == id })
		switch {
		case i >= 0:
			all := slices.Sorted(slices.Values(append(slices.Clone(names), swaps[i].Variables...)))
			swaps[i].Variables = slices.Compact(all)
		case is.Resources[id] != nil:
			swaps = append(swaps, Swap{id, names})
		}
	}
	if len(swaps) == 0 {
		return nil, nil
	}
	now := r.functions(ctx, s)
	for _, one := range swaps {
		for _, template := range []*Template{was, is} { // the older one is what this is put back to one day
			if _, err := now.variables(template, one); err != nil {
				var unknown *NotTold
				if !errors.As(err, &unknown) {
					return nil, err
				}
				return nil, r.obstructed(s, &Obstacle{one.LogicalID, "its environment cannot be worked out here: " + unknown.Reason})
			}
		}
	}
	obstacle, err = r.record(ctx, s, swaps)
	if err != nil {
		return nil, err
	}
	if obstacle != nil {
		return nil, r.obstructed(s, obstacle)
	}
	if err := r.apply(ctx, s, is, swaps, now); err != nil {
		return nil, err
	}
	r.report(Progress{Kind: ProgressStack, Stack: s, Status: "SWAPPED"})
	return &Result{Outcome: Swapped, Outputs: outputsOf(there), Swapped: len(swaps)}, nil
}

// obstructed tells why CloudFormation is needed.
func (r *deployment) obstructed(s *Stack, o *Obstacle) error {
	p := Progress{Kind: ProgressStack, Stack: s, Status: "NOT_SWAPPED", Reason: o.What, LogicalID: o.LogicalID}
	if o.LogicalID != "" {
		p.Path = s.Path(o.LogicalID)
	}
	r.report(p)
	return nil
}

// putBack brings functions that were swapped to what the stack's template says, after CloudFormation has done its part.
func (r *deployment) putBack(ctx context.Context, s *Stack) error {
	record := r.swappedIn(s)
	if record == nil {
		return nil
	}
	is, err := s.Template()
	if err != nil {
		return err
	}
	var swaps []Swap
	for _, id := range slices.Sorted(maps.Keys(record)) {
		if f := is.Resources[id]; f != nil && f.Type == typeFunction && codeFromBucket(f) == "" {
			swaps = append(swaps, Swap{id, record[id]})
		}
	}
	if err := r.apply(ctx, s, is, swaps, r.functions(ctx, s)); err != nil {
		return err
	}
	return r.forget(ctx, s)
}

// functions are the functions of a stack as they are in the account.
func (r *deployment) functions(ctx context.Context, s *Stack) *liveFunctions {
	known := &deployedNames{ctx: ctx, d: r.Deployer, stacks: map[*Stack]*deployedStack{}}
	config := r.Config.Copy()
	config.Region = r.env.region(s)
	return &liveFunctions{stack: s, names: known, lambda: lambda.NewFromConfig(config),
		resolver: NewResolver(r.Assembly, Local{Region: config.Region, Account: r.env.account, Value: known.value})}
}

type liveFunctions struct {
	stack    *Stack
	names    *deployedNames
	lambda   *lambda.Client
	mu       sync.Mutex // guards resolver, whose failures are kept in names
	resolver *Resolver
}

// resolve evaluates a value of the stack; a *NotTold when AWS does not tell what it takes.
func (l *liveFunctions) resolve(value any) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names.err = nil
	resolved, err := l.resolver.Resolve(l.stack, value)
	if l.names.err != nil {
		return "", l.names.err
	}
	if err == nil {
		var text string
		if text, err = scalar(resolved); err == nil {
			return text, nil
		}
	}
	return "", &NotTold{Reason: err.Error()}
}

// variables gives those variables of a swap that the template has, as text.
func (l *liveFunctions) variables(t *Template, swap Swap) (map[string]string, error) {
	all := map[string]string{}
	r := t.Resources[swap.LogicalID]
	if r == nil {
		return all, nil
	}
	in := variablesOf(r)
	for _, name := range swap.Variables {
		if value, ok := in[name]; ok {
			text, err := l.resolve(value)
			if err != nil {
				return nil, err
			}
			all[name] = text
		}
	}
	return all, nil
}

// apply makes functions what the template says.
func (r *deployment) apply(ctx context.Context, s *Stack, t *Template, swaps []Swap, now *liveFunctions) error {
	wanted := map[string]bool{}
	for _, one := range swaps {
		code, _ := t.Resources[one.LogicalID].Properties["Code"].(map[string]any)
		key, err := now.resolve(code["S3Key"])
		if err != nil {
			return err
		}
		wanted[key] = true
	}
	if err := r.publish.some(ctx, s, func(key string) bool { return wanted[key] }); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	for _, one := range swaps {
		group.Go(func() error {
			changed, err := r.applyOne(ctx, s, t, one, now)
			if err != nil {
				return fmt.Errorf("swap %s: %w", r.shortName(s, one.LogicalID), err)
			}
			if changed {
				r.report(Progress{Kind: ProgressResource, Stack: s, Status: "SWAPPED", LogicalID: one.LogicalID, Type: typeFunction, Path: s.Path(one.LogicalID)})
			}
			return nil
		})
	}
	return group.Wait()
}

// shortName is what people call a resource of a stack.
func (d *Deployer) shortName(s *Stack, logicalID string) string {
	if path := s.Path(logicalID); path != "" {
		return d.manifest().ShortPath(strings.TrimSuffix(strings.TrimSuffix(path, "/Resource"), "/Resource"))
	}
	return logicalID
}

func (r *deployment) applyOne(ctx context.Context, s *Stack, t *Template, one Swap, now *liveFunctions) (changed bool, err error) {
	resource := t.Resources[one.LogicalID]
	name, err := now.resolve(map[string]any{"Ref": one.LogicalID})
	if err != nil {
		return false, err
	}
	have, err := now.settled(ctx, name)
	if err != nil {
		return false, err
	}
	code, _ := resource.Properties["Code"].(map[string]any)
	bucket, err := now.resolve(code["S3Bucket"])
	if err != nil {
		return false, err
	}
	key, err := now.resolve(code["S3Key"])
	if err != nil {
		return false, err
	}
	if sum := archiveSum(s, key); sum == "" || sum != aws.ToString(have.CodeSha256) {
		changed = true
		err := now.insist(ctx, name, func() error {
			_, err := now.lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &name, S3Bucket: &bucket, S3Key: &key})
			return err
		})
		if err != nil {
			return false, err
		}
		if have, err = now.changed(ctx, name); err != nil {
			return false, err
		}
	}
	environment := map[string]string{}
	if have.Environment != nil {
		maps.Copy(environment, have.Environment.Variables)
	}
	wanted, err := now.variables(t, one)
	if err != nil {
		return false, err
	}
	for _, variable := range one.Variables {
		delete(environment, variable)
	}
	maps.Copy(environment, wanted)
	description := ""
	if d := resource.Properties["Description"]; d != nil {
		if description, err = now.resolve(d); err != nil {
			return false, err
		}
	}
	before := map[string]string{}
	if have.Environment != nil {
		before = have.Environment.Variables
	}
	if description == aws.ToString(have.Description) && maps.Equal(environment, before) {
		return changed, nil
	}
	err = now.insist(ctx, name, func() error {
		_, err := now.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Description: &description,
			Environment: &lambdatypes.Environment{Variables: environment}})
		return err
	})
	if err != nil {
		return false, err
	}
	_, err = now.changed(ctx, name)
	return true, err
}

// archiveSum is what Lambda calls CodeSha256 of an archive of the assembly, "" when it is not there.
func archiveSum(s *Stack, key string) string {
	for _, asset := range s.Assets {
		if asset.ObjectKey != key || asset.Packaging != "file" {
			continue
		}
		data, err := os.ReadFile(asset.Path)
		if err != nil {
			return ""
		}
		sum := sha256.Sum256(data)
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	return ""
}

// The pace of looking at a function that Lambda is changing, which takes a second or two.
var (
	firstLook = 250 * time.Millisecond
	lastLook  = 2 * time.Second
	patience  = 5 * time.Minute
)

// changed waits until a change of a function that was asked for is over, and gives the function as it is then.
func (l *liveFunctions) changed(ctx context.Context, name string) (*lambda.GetFunctionConfigurationOutput, error) {
	out, err := l.settled(ctx, name)
	if err == nil && out.LastUpdateStatus == lambdatypes.LastUpdateStatusFailed {
		return nil, fmt.Errorf("Lambda could not change %s: %s", name, aws.ToString(out.LastUpdateStatusReason))
	}
	return out, err
}

// settled waits until no change of a function is under way, and gives it as it is then. One that failed before is no reason not to
// try another, which may be what mends it.
func (l *liveFunctions) settled(ctx context.Context, name string) (*lambda.GetFunctionConfigurationOutput, error) {
	pause, until := firstLook, time.Now().Add(patience)
	for {
		out, err := l.lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
		if err != nil {
			return nil, err
		}
		switch {
		case out.LastUpdateStatus != lambdatypes.LastUpdateStatusInProgress && out.State != lambdatypes.StatePending:
			return out, nil
		case time.Now().After(until):
			return nil, fmt.Errorf("Lambda is still changing %s after %s", name, patience)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, lastLook)
	}
}

// insist tries again when somebody else is changing the function at the moment.
func (l *liveFunctions) insist(ctx context.Context, name string, do func() error) error {
	for tries := 0; ; tries++ {
		err := do()
		if code(err) != "ResourceConflictException" || tries == overtaken {
			return err
		}
		if _, err := l.settled(ctx, name); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
