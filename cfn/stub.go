package cfn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"golang.org/x/sync/errgroup"

	"sst/runtime/bundle"
)

// This file makes the live functions of an assembly into stubs, which hand each invocation to the developer's machine.

// Stubs says what a function becomes. It changes its code, handler and runtime and adds two variables; what else it had,
// triggers, role, memory, timeout, network, stays as it is.
type Stubs struct {
	Hash    string // of the stub's archive, as of Code
	Handler string
	Runtime string
	Wrapper string // file in the archive that is started in the place of the runtime
	// Config is the value of SST_LIVE for a function.
	Config func(Function) string
	// API is the id of the WebSocket API and Stage its stage, to which the functions' roles may connect.
	API, Stage string
}

// StubNote says what is different about a function in live mode, or what has to be done for it.
type StubNote struct {
	Function Function
	Text     string
}

// StubTooLarge says that a function's variables and those of the stub are more than Lambda takes.
type StubTooLarge struct {
	Function   Function
	Size, Stub int // bytes: in all, and of the stub
}

func (e *StubTooLarge) Error() string {
	return fmt.Sprintf("%s has %d bytes of environment variables, %d of them for live mode; Lambda takes %d", e.Function.ID, e.Size, e.Stub, maxEnvironment)
}

// The variables of a stub.
const (
	StubVariable    = "SST_LIVE"
	wrapperVariable = "AWS_LAMBDA_EXEC_WRAPPER"
	asidePrefix     = "SST_LIVE_" // before the names of the function's own variables that the stub must not run under
	maxEnvironment  = 4096
)

var asideVariables = []string{wrapperVariable, "NODE_OPTIONS"}

// Stub makes the live functions of a synthesized assembly into stubs, in its folder, before it is finished: FinishTo is
// to be given the stub's archive and the code of the functions that are not live. Saved code changes nothing in what
// comes out. The assembly and m are to be read again afterwards.
func Stub(asm *Assembly, m *Manifest, to Stubs) ([]StubNote, error) {
	s := &stubbing{Stubs: to, follow: &derivation{asm: asm, m: m, resolver: NewResolver(asm, Local{})}, roles: map[*Stack]map[string]bool{}, done: map[string]bool{}}
	stacks, err := asm.all()
	if err != nil {
		return nil, err
	}
	texts := map[*Stack]*stubbed{}
	for _, stack := range stacks {
		t, err := s.stack(stack)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", stack.TemplateFile, err)
		}
		texts[stack] = t
	}
	dirs := map[string]bool{}
	for _, stack := range stacks { // roles may be of another stack than their functions
		if err := texts[stack].write(stack, s.policy(s.roles[stack])); err != nil {
			return nil, err
		}
		dirs[stack.Dir] = true
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := s.assets(dir); err != nil {
			return nil, err
		}
	}
	return s.notes, nil
}

// all gives the stacks with those nested in them.
func (a *Assembly) all() ([]*Stack, error) {
	var all []*Stack
	for _, top := range a.Stacks {
		below, err := top.withNested()
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

type stubbing struct {
	Stubs
	follow *derivation
	notes  []StubNote
	roles  map[*Stack]map[string]bool // logical ids of the roles of stubs
	done   map[string]bool            // keys of bundles that a stub took the place of
}

func (s *stubbing) note(f Function, format string, args ...any) {
	s.notes = append(s.notes, StubNote{f, fmt.Sprintf(format, args...)})
}

// stubbed is a template on its way.
type stubbed struct {
	whole   map[string]any
	renamed map[string]string // logical ids
	changed bool
}

func (s *stubbing) stack(stack *Stack) (*stubbed, error) {
	data, err := os.ReadFile(filepath.Join(stack.Dir, stack.TemplateFile))
	if err != nil {
		return nil, err
	}
	t := &stubbed{renamed: map[string]string{}}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&t.whole); err != nil {
		return nil, err
	}
	resources := object(t.whole["Resources"])
	became := map[string]string{} // logical id of a function → hash of what it is now
	for _, f := range s.follow.m.Functions {
		r := object(resources[f.LogicalID])
		if !f.Live || r["Type"] != typeFunction || !s.follow.m.isIn(f, stack, object(r["Properties"])) {
			continue
		}
		p := object(r["Properties"])
		ok, err := s.function(stack, f, p)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		t.changed = true
		text, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		became[f.LogicalID] = hex.EncodeToString(sum[:4])
	}
	// A version is made once and stays as it is: that of another stub is another version.
	for id, r := range resources {
		if object(r)["Type"] != typeVersion {
			continue
		}
		if of, ok := s.follow.follow(stack, object(object(r)["Properties"])["FunctionName"], 0); ok && of.stack == stack && became[of.id] != "" {
			t.renamed[id] = id + "Live" + became[of.id]
		}
	}
	return t, nil
}

// function makes one function a stub; false when it has to stay as it is.
func (s *stubbing) function(stack *Stack, f Function, p map[string]any) (bool, error) {
	if p["CapacityProviderConfig"] != nil {
		s.note(f, "runs on Managed Instances, where a stub would hold machines; it keeps its deployed code")
		return false, nil
	}
	code, err := json.Marshal(p["Code"])
	if err != nil {
		return false, err
	}
	key := f.Bundle.Key()
	if !bytes.Contains(code, []byte(key)) {
		s.note(f, "has code that is not bundled; it keeps it")
		return false, nil
	}
	var replaced any
	if err := json.Unmarshal(bytes.ReplaceAll(code, []byte(key), []byte(s.Hash)), &replaced); err != nil {
		return false, err
	}
	p["Code"], p["Handler"], p["Runtime"] = replaced, s.Handler, s.Runtime
	s.done[key] = true

	if err := s.environment(f, p); err != nil {
		return false, err
	}
	s.layers(stack, f, p)
	if p["SnapStart"] != nil {
		delete(p, "SnapStart")
		s.note(f, "is without SnapStart in live mode, which its stub's runtime does not have")
	}
	if object(p["RuntimeManagementConfig"])["RuntimeVersionArn"] != nil {
		delete(p, "RuntimeManagementConfig")
		s.note(f, "is without its pinned runtime version in live mode")
	}
	role, ok := s.follow.follow(stack, p["Role"], 0)
	if !ok || role.resource.Type != "AWS::IAM::Role" {
		s.note(f, "has a role from elsewhere; it must allow execute-api:Invoke on %s", s.resource("*", "*", "*"))
		return true, nil
	}
	if s.roles[role.stack] == nil {
		s.roles[role.stack] = map[string]bool{}
	}
	s.roles[role.stack][role.id] = true
	return true, nil
}

// environment adds the stub's variables, and moves aside those of the function that would change how the stub runs.
func (s *stubbing) environment(f Function, p map[string]any) error {
	environment := object(p["Environment"])
	variables := object(environment["Variables"])
	if variables == nil {
		variables = map[string]any{}
		p["Environment"] = map[string]any{"Variables": variables}
	}
	for _, name := range asideVariables {
		if value, ok := variables[name]; ok {
			delete(variables, name)
			variables[asidePrefix+name] = value
		}
	}
	size := 0
	for name, value := range variables {
		text, _ := value.(string) // what only AWS knows counts as nothing
		size += len(name) + len(text)
	}
	before := size
	own := map[string]string{StubVariable: s.Config(f), wrapperVariable: "/var/task/" + s.Wrapper}
	for name, value := range own {
		variables[name] = value
		size += len(name) + len(value)
	}
	if size > maxEnvironment {
		return &StubTooLarge{f, size, size - before}
	}
	return nil
}

// layers leaves out what is made for another runtime than the stub's.
func (s *stubbing) layers(stack *Stack, f Function, p map[string]any) {
	all, _ := p["Layers"].([]any)
	var kept []any
	for _, layer := range all {
		fits := f.Bundle.Kind == bundle.Node // so are the layers that it was given
		if made, ok := s.follow.follow(stack, layer, 0); ok {
			if runtimes, ok := made.resource.Properties["CompatibleRuntimes"].([]any); ok {
				fits = slices.Contains(runtimes, any(s.Runtime))
			}
		}
		if fits {
			kept = append(kept, layer)
		}
	}
	if n := len(all) - len(kept); n > 0 {
		s.note(f, "is without %d of its layers in live mode, which are not made for its stub's runtime", n)
	}
	if len(kept) > 0 {
		p["Layers"] = kept
	} else {
		delete(p, "Layers")
	}
}

// resource is the ARN of the connection to the API.
func (s *stubbing) resource(partition, region, account string) string {
	return fmt.Sprintf("arn:%s:execute-api:%s:%s:%s/%s/$connect", partition, region, account, s.API, s.Stage)
}

// policy lets roles connect to the API, as a resource beside them: the roles themselves stay untouched.
func (s *stubbing) policy(roles map[string]bool) map[string]any {
	if len(roles) == 0 {
		return nil
	}
	refs := []any{}
	for _, id := range slices.Sorted(maps.Keys(roles)) {
		refs = append(refs, map[string]any{"Ref": id})
	}
	return map[string]any{"Type": "AWS::IAM::Policy", "Properties": map[string]any{
		"PolicyName": "sst-live",
		"PolicyDocument": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
			"Effect": "Allow", "Action": "execute-api:Invoke",
			"Resource": map[string]any{"Fn::Sub": s.resource("${AWS::Partition}", "${AWS::Region}", "${AWS::AccountId}")},
		}}},
		"Roles": refs,
	}}
}

// policyID is the logical id of the policy that lets stubs connect.
const policyID = "SstLivePolicy"

func (t *stubbed) write(stack *Stack, policy map[string]any) error {
	if policy != nil {
		object(t.whole["Resources"])[policyID] = policy
		t.changed = true
	}
	if !t.changed {
		return nil
	}
	text, err := marshal(t.whole, " ")
	if err != nil {
		return err
	}
	for _, id := range sortedKeys(t.renamed) {
		text = regexp.MustCompile(`\b`+regexp.QuoteMeta(id)+`\b`).ReplaceAll(text, []byte(t.renamed[id]))
	}
	return os.WriteFile(filepath.Join(stack.Dir, stack.TemplateFile), text, 0o644)
}

// assets puts the stub's archive into the asset manifests of a folder, in the place of the code that no function there
// has any more.
func (s *stubbing) assets(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.assets.json"))
	if err != nil {
		return err
	}
	templates, err := filepath.Glob(filepath.Join(dir, "*.template.json"))
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, file := range templates {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for key := range s.done {
			used[key] = used[key] || bytes.Contains(text, []byte(key))
		}
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var whole map[string]json.RawMessage
		var entries map[string]json.RawMessage
		if err := json.Unmarshal(data, &whole); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := json.Unmarshal(whole["files"], &entries); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		changed := false
		for _, key := range slices.Sorted(maps.Keys(s.done)) {
			entry, ok := entries[key]
			if !ok {
				continue
			}
			// What an entry says of the asset beside its hash is a name for people, which would differ by function.
			var one map[string]json.RawMessage
			if err := json.Unmarshal(entry, &one); err != nil {
				return fmt.Errorf("%s: %s: %w", file, key, err)
			}
			one["displayName"] = json.RawMessage(`"stub of sst start"`)
			if entry, err = marshal(one, ""); err != nil {
				return err
			}
			entries[s.Hash] = bytes.ReplaceAll(entry, []byte(key), []byte(s.Hash))
			if !used[key] {
				delete(entries, key)
			}
			changed = true
		}
		if !changed {
			continue
		}
		if whole["files"], err = marshal(entries, ""); err != nil {
			return err
		}
		if data, err = marshal(whole, "  "); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// StubbedIn lists the logical ids of the functions that a template makes into stubs, sorted.
func StubbedIn(t *Template) []string {
	var ids []string
	for _, id := range t.all(typeFunction) {
		if object(object(t.Resources[id].Properties["Environment"])["Variables"])[StubVariable] != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Stubbed gives the functions that are stubs in AWS now, those of nested stacks included, by the ids of the manifest, sorted.
func (d *Deployer) Stubbed(ctx context.Context, states []State) ([]string, error) {
	env, err := openEnvironments(ctx, d.Config)
	if err != nil {
		return nil, err
	}
	found := make([][]string, len(states))
	group, ctx := errgroup.WithContext(ctx)
	for i, state := range states {
		if state.Status == "" || state.Status == "REVIEW_IN_PROGRESS" || state.Status == "DELETE_COMPLETE" {
			continue
		}
		group.Go(func() error {
			client, err := env.cloudformation(ctx, state.Stack)
			if err != nil {
				return err
			}
			found[i], err = d.stubbed(ctx, client, state.Stack, state.Stack.Name)
			return err
		})
	}
	err = group.Wait()
	all := slices.Concat(found...)
	slices.Sort(all)
	return all, err
}

// stubbed looks into one stack, which AWS knows by a name or an ARN, and those nested in it.
func (d *Deployer) stubbed(ctx context.Context, client *cloudformation.Client, s *Stack, name string) (all []string, err error) {
	out, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &name, TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return nil, fmt.Errorf("template of stack %s: %w", s.Name, err)
	}
	t, err := ParseTemplate([]byte(aws.ToString(out.TemplateBody)))
	if err != nil {
		return nil, nil // written by somebody else, in YAML
	}
	for _, id := range StubbedIn(t) {
		name := s.Short + "/" + id
		if f := d.manifest().functionOf(s, id); f != nil {
			name = f.ID
		} else if path, ok := t.Resources[id].Metadata["aws:cdk:path"].(string); ok { // of another build than the last one here
			name = d.manifest().ShortPath(strings.TrimSuffix(strings.TrimSuffix(path, "/Resource"), "/Resource"))
		}
		all = append(all, name)
	}
	below, err := s.below(t)
	if err != nil {
		return nil, err
	}
	for _, nested := range below {
		if t.Resources[nested.LogicalID] == nil {
			continue // not deployed yet
		}
		out, err := client.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: &name, LogicalResourceId: &nested.LogicalID})
		if code(err) == "ValidationError" && strings.Contains(message(err), "does not exist") {
			continue // its creation was never begun
		}
		if err != nil {
			return nil, fmt.Errorf("nested stack %s: %w", nested.ID, err)
		}
		r := out.StackResourceDetail
		if aws.ToString(r.PhysicalResourceId) == "" || r.ResourceStatus == types.ResourceStatusDeleteComplete {
			continue
		}
		inner, err := d.stubbed(ctx, client, nested, aws.ToString(r.PhysicalResourceId))
		if err != nil {
			return nil, err
		}
		all = append(all, inner...)
	}
	return all, nil
}
