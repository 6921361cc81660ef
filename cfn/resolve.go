package cfn

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Local says how physical names and attributes of resources are chosen for a local run.
type Local struct {
	Region  string // of stacks that leave it open; default us-east-1
	Account string // likewise; default 000000000000
	// Value overrides what a resource's Ref (attribute "") or attribute is; false leaves the default.
	Value func(s *Stack, logicalID string, r *Resource, attribute string) (string, bool)
	// URL gives the local address of an API, without a slash at the end; it takes the place of
	// https://<id>.execute-api.<region>.amazonaws.com wherever that is put together.
	URL func(s *Stack, logicalID string) (string, bool)
	// QueueURL gives the local URL of a queue by its name; nil leaves that of AWS.
	QueueURL func(name string) string
	// Parameter gives values of template parameters; false leaves the default.
	Parameter func(s *Stack, name string) (string, bool)
}

// Resolver evaluates intrinsic functions against local names. It is safe for concurrent use.
type Resolver struct {
	asm   *Assembly
	local Local

	once      sync.Once
	exports   map[string][]export
	endpoints []endpoint
	err       error
}

type export struct {
	stack  *Stack
	output *Output
}

type endpoint struct {
	stack     *Stack
	logicalID string
	url       string
}

// ResolveError says which intrinsic has no value here and why.
type ResolveError struct {
	Stack     string // stack id
	Intrinsic string // as JSON
	Reason    string
}

func (e *ResolveError) Error() string {
	return fmt.Sprintf("stack %s: %s: %s", e.Stack, e.Intrinsic, e.Reason)
}

// NewResolver makes a resolver for the assembly.
func NewResolver(asm *Assembly, local Local) *Resolver {
	if local.Region == "" {
		local.Region = "us-east-1"
		if asm.Manifest != nil && asm.Manifest.Region != "" {
			local.Region = asm.Manifest.Region
		}
	}
	if local.Account == "" {
		local.Account = "000000000000"
	}
	return &Resolver{asm: asm, local: local}
}

// Resolve evaluates a value of the stack's template: what comes back has no intrinsics.
func (r *Resolver) Resolve(s *Stack, value any) (any, error) {
	if err := r.index(); err != nil {
		return nil, err
	}
	e := evaluation{Resolver: r}
	out, err := e.value(s, value)
	if err != nil {
		return nil, err
	}
	if out == noValue {
		return nil, nil
	}
	return r.localURLs(out), nil
}

// Environment gives the environment variables of a function. The error names each that cannot be resolved; the others
// are in the map all the same.
func (r *Resolver) Environment(fn Function) (map[string]string, error) {
	s, resource, err := r.asm.locate(fn)
	if err != nil {
		return nil, err
	}
	environment, _ := resource.Properties["Environment"].(map[string]any)
	variables, _ := environment["Variables"].(map[string]any)
	out := map[string]string{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		value, err := r.Resolve(s, variables[name])
		if err == nil && value != nil {
			var text string
			if text, err = scalar(value); err == nil {
				out[name] = text
			}
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: environment variable %s: %w", fn.ID, name, err))
		}
	}
	return out, errors.Join(problems...)
}

// Name gives a resource's physical name: the Ref of what is named, the name in the ARN of what is not.
func (r *Resolver) Name(s *Stack, logicalID string) (string, error) {
	if err := r.index(); err != nil {
		return "", err
	}
	t, err := s.Template()
	if err != nil {
		return "", err
	}
	resource := t.Resources[logicalID]
	if resource == nil {
		return "", fmt.Errorf("stack %s has no resource %s", s.ID, logicalID)
	}
	e := evaluation{Resolver: r}
	return e.name(s, logicalID, resource)
}

// locate finds a function's resource. In nested stacks the logical id alone may be ambiguous; then the code decides.
func (a *Assembly) locate(fn Function) (*Stack, *Resource, error) {
	var found *Stack
	var resource *Resource
	for _, top := range a.Stacks {
		if top.ID != fn.Stack && !strings.HasPrefix(fn.Stack, top.ID+"/") {
			continue
		}
		all, err := top.withNested()
		if err != nil {
			return nil, nil, err
		}
		for _, s := range all {
			t, err := s.Template()
			if err != nil {
				return nil, nil, err
			}
			r := t.Resources[fn.LogicalID]
			if r == nil || r.Type != typeFunction {
				continue
			}
			if s.ID == fn.Stack && s.Parent != nil {
				return s, r, nil
			}
			if found == nil || usesCode(r, fn.Bundle.Key()) {
				found, resource = s, r
			}
		}
	}
	if found == nil {
		return nil, nil, fmt.Errorf("function %s: stack %s has no function with the logical id %s", fn.ID, fn.Stack, fn.LogicalID)
	}
	return found, resource, nil
}

func usesCode(r *Resource, key string) bool {
	code, _ := r.Properties["Code"].(map[string]any)
	file, _ := code["S3Key"].(string)
	return strings.HasPrefix(file, key)
}

// index collects the exports and API addresses of all stacks once.
func (r *Resolver) index() error {
	r.once.Do(func() {
		r.exports = map[string][]export{}
		e := evaluation{Resolver: r}
		for _, top := range r.asm.Stacks {
			all, err := top.withNested()
			if err != nil {
				r.err = err
				return
			}
			for _, s := range all {
				t, err := s.Template()
				if err != nil {
					r.err = err
					return
				}
				for _, name := range slices.Sorted(maps.Keys(t.Outputs)) {
					if o := t.Outputs[name]; o.Export.Name != nil {
						if text, err := e.text(s, o.Export.Name); err == nil { // else nobody can import it either
							r.exports[text] = append(r.exports[text], export{s, o})
						}
					}
				}
				for _, id := range t.all(typeHTTPAPI, typeRESTAPI) {
					if url, err := e.attribute(s, id, t.Resources[id], "ApiEndpoint"); err == nil {
						r.endpoints = append(r.endpoints, endpoint{s, id, url.(string)})
						if host, ok := strings.CutPrefix(url.(string), "wss://"); ok { // where its connections are managed
							r.endpoints = append(r.endpoints, endpoint{s, id, "https://" + host})
						}
					}
				}
				for _, id := range t.all(typeURL) {
					r.endpoints = append(r.endpoints, endpoint{s, id, e.functionURL(s, id)})
				}
			}
		}
	})
	return r.err
}

// localURLs puts local addresses in the place of those of APIs.
func (r *Resolver) localURLs(value any) any {
	if r.local.URL == nil {
		return value
	}
	switch v := value.(type) {
	case string:
		for _, e := range r.endpoints {
			if strings.Contains(v, e.url) {
				if url, ok := r.local.URL(e.stack, e.logicalID); ok {
					if strings.HasPrefix(e.url, "wss:") {
						url = "ws" + strings.TrimPrefix(url, "http")
					}
					v = strings.ReplaceAll(v, e.url, url)
				}
			}
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = r.localURLs(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = r.localURLs(v[key])
		}
		return out
	}
	return value
}

// evaluation is one walk; busy holds what is being evaluated, so that a cycle ends as an error.
type evaluation struct {
	*Resolver
	busy []string
}

// noValue is what AWS::NoValue evaluates to: the property is not there.
var noValue any = new(byte)

func (e *evaluation) fail(s *Stack, intrinsic any, format string, args ...any) error {
	text, _ := json.Marshal(intrinsic)
	if len(text) > 200 {
		text = append(text[:197:197], "..."...)
	}
	return &ResolveError{s.ID, string(text), fmt.Sprintf(format, args...)}
}

var dynamic = regexp.MustCompile(`\{\{resolve:[^}]*\}\}`)

func (e *evaluation) value(s *Stack, value any) (any, error) {
	switch v := value.(type) {
	case string:
		if ref := dynamic.FindString(v); ref != "" {
			return nil, e.fail(s, ref, "a dynamic reference has its value in AWS only")
		}
		return v, nil
	case []any:
		out := make([]any, 0, len(v))
		for _, each := range v {
			got, err := e.value(s, each)
			if err != nil {
				return nil, err
			}
			if got != noValue {
				out = append(out, got)
			}
		}
		return out, nil
	case map[string]any:
		if name, argument, ok := intrinsic(v); ok {
			return e.call(s, v, name, argument)
		}
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			got, err := e.value(s, v[key])
			if err != nil {
				return nil, err
			}
			if got != noValue {
				out[key] = got
			}
		}
		return out, nil
	}
	return value, nil
}

// intrinsic tells a function call from a map: one key, Ref, Condition or Fn::*.
func intrinsic(m map[string]any) (name string, argument any, ok bool) {
	if len(m) != 1 {
		return "", nil, false
	}
	for name, argument := range m {
		if name == "Ref" || strings.HasPrefix(name, "Fn::") {
			return name, argument, true
		}
	}
	return "", nil, false
}

func (e *evaluation) call(s *Stack, whole any, name string, argument any) (any, error) {
	switch name {
	case "Ref":
		target, ok := argument.(string)
		if !ok {
			return nil, e.fail(s, whole, "a Ref takes a name")
		}
		return e.ref(s, whole, target)
	case "Fn::GetAtt":
		return e.getAtt(s, whole, argument)
	case "Fn::If":
		return e.choose(s, whole, argument)
	case "Fn::Sub":
		return e.sub(s, whole, argument)
	case "Fn::ImportValue":
		name, err := e.text(s, argument)
		if err != nil {
			return nil, err
		}
		return e.imported(s, whole, name)
	case "Fn::GetStackOutput":
		return e.stackOutput(s, whole, argument)
	}
	evaluated, err := e.value(s, argument)
	if err != nil {
		return nil, err
	}
	list, _ := evaluated.([]any)
	switch name {
	case "Fn::Join":
		if len(list) == 2 {
			separator, isText := list[0].(string)
			parts, isList := list[1].([]any)
			if one, ok := list[1].(string); ok { // {"Fn::Join": ["||", {"Fn::GetAtt": ...}]}
				parts, isList = []any{one}, true
			}
			if isText && isList {
				texts := make([]string, len(parts))
				for i, part := range parts {
					if texts[i], err = scalar(part); err != nil {
						return nil, e.fail(s, whole, "%s", err)
					}
				}
				return strings.Join(texts, separator), nil
			}
		}
	case "Fn::Split":
		if len(list) == 2 {
			separator, _ := list[0].(string)
			text, ok := list[1].(string)
			if ok && separator != "" {
				var parts []any
				for part := range strings.SplitSeq(text, separator) {
					parts = append(parts, part)
				}
				return parts, nil
			}
		}
	case "Fn::Select":
		if len(list) == 2 {
			text, _ := scalar(list[0])
			i, err := strconv.Atoi(text)
			from, ok := list[1].([]any)
			if err == nil && ok {
				if i < 0 || i >= len(from) {
					return nil, e.fail(s, whole, "there is no element %d among %d", i, len(from))
				}
				return from[i], nil
			}
		}
	case "Fn::FindInMap":
		if len(list) >= 3 {
			return e.findInMap(s, whole, list)
		}
	case "Fn::Base64":
		if text, ok := evaluated.(string); ok {
			return base64.StdEncoding.EncodeToString([]byte(text)), nil
		}
	case "Fn::GetAZs":
		region, _ := evaluated.(string)
		if region == "" {
			region = e.region(s)
		}
		return []any{region + "a", region + "b", region + "c"}, nil
	case "Fn::Length":
		if list, ok := evaluated.([]any); ok {
			return json.Number(strconv.Itoa(len(list))), nil
		}
	case "Fn::ToJsonString":
		text, err := json.Marshal(evaluated)
		return string(text), err
	default:
		return nil, e.fail(s, whole, "a local run does not know %s", name)
	}
	return nil, e.fail(s, whole, "the arguments do not fit %s", name)
}

func (e *evaluation) ref(s *Stack, whole any, name string) (any, error) {
	switch name {
	case "AWS::NoValue":
		return noValue, nil
	case "AWS::Region":
		return e.region(s), nil
	case "AWS::AccountId":
		return e.account(s), nil
	case "AWS::Partition":
		return "aws", nil
	case "AWS::URLSuffix":
		return "amazonaws.com", nil
	case "AWS::StackName":
		return s.Name, nil
	case "AWS::StackId":
		return e.stackID(s), nil
	case "AWS::NotificationARNs":
		return []any{}, nil
	}
	t, err := s.Template()
	if err != nil {
		return nil, err
	}
	if p := t.Parameters[name]; p != nil {
		return e.parameter(s, whole, name, p)
	}
	r := t.Resources[name]
	if r == nil {
		return nil, e.fail(s, whole, "there is no parameter or resource of this name")
	}
	return e.resource(s, whole, name, r, "")
}

func (e *evaluation) getAtt(s *Stack, whole, argument any) (any, error) {
	id, attribute := "", ""
	switch a := argument.(type) {
	case string:
		id, attribute, _ = strings.Cut(a, ".")
	case []any:
		if len(a) == 2 {
			id, _ = a[0].(string)
			name, err := e.text(s, a[1])
			if err != nil {
				return nil, err
			}
			attribute = name
		}
	}
	t, err := s.Template()
	if err != nil {
		return nil, err
	}
	r := t.Resources[id]
	if r == nil || attribute == "" {
		return nil, e.fail(s, whole, "there is no such resource")
	}
	return e.resource(s, whole, id, r, attribute)
}

// resource evaluates a Ref (attribute "") or attribute of a resource.
func (e *evaluation) resource(s *Stack, whole any, id string, r *Resource, attribute string) (any, error) {
	if e.local.Value != nil {
		if value, ok := e.local.Value(s, id, r, attribute); ok {
			return value, nil
		}
	}
	key := s.ID + "\n" + id + "\n" + attribute
	if slices.Contains(e.busy, key) {
		return nil, e.fail(s, whole, "it depends on itself")
	}
	e.busy = append(e.busy, key)
	defer func() { e.busy = e.busy[:len(e.busy)-1] }()
	if name, ok := strings.CutPrefix(attribute, "Outputs."); ok && r.Type == typeNested {
		nested, err := s.Nested()
		if err != nil {
			return nil, err
		}
		for _, n := range nested {
			if n.LogicalID == id {
				return e.output(n, whole, name)
			}
		}
	}
	value, err := e.attribute(s, id, r, attribute)
	if errors.Is(err, errUnknown) {
		what := "a Ref"
		if attribute != "" {
			what = fmt.Sprintf("the attribute %q", attribute)
		}
		return nil, e.fail(s, whole, "a local run has no value for %s of %s (%s)", what, id, r.Type)
	}
	return value, err
}

func (e *evaluation) output(s *Stack, whole any, name string) (any, error) {
	t, err := s.Template()
	if err != nil {
		return nil, err
	}
	o := t.Outputs[name]
	if o == nil {
		return nil, e.fail(s, whole, "the stack has no output %s", name)
	}
	return e.value(s, o.Value)
}

func (e *evaluation) parameter(s *Stack, whole any, name string, p *Parameter) (any, error) {
	var value any
	switch {
	case s.Parent != nil:
		t, err := s.Parent.Template()
		if err != nil {
			return nil, err
		}
		given, _ := t.Resources[s.LogicalID].Properties["Parameters"].(map[string]any)
		if argument, ok := given[name]; ok {
			if value, err = e.value(s.Parent, argument); err != nil {
				return nil, err
			}
		}
	case e.local.Parameter != nil:
		if text, ok := e.local.Parameter(s, name); ok {
			value = text
		}
	}
	if value == nil {
		if strings.HasPrefix(p.Type, "AWS::SSM::Parameter::") {
			return nil, e.fail(s, whole, "the parameter's value is in SSM (%v)", p.Default)
		}
		if p.Default == nil {
			return nil, e.fail(s, whole, "the parameter has no default")
		}
		value = p.Default
	}
	if text, ok := value.(string); ok && (p.Type == "CommaDelimitedList" || strings.HasPrefix(p.Type, "List<")) {
		var list []any
		for part := range strings.SplitSeq(text, ",") {
			list = append(list, strings.TrimSpace(part))
		}
		return list, nil
	}
	return value, nil
}

func (e *evaluation) imported(s *Stack, whole any, name string) (any, error) {
	var best *export
	for i, x := range e.exports[name] {
		if best == nil || x.stack.Account == s.Account && x.stack.Region == s.Region {
			best = &e.exports[name][i]
		}
	}
	if best == nil {
		return nil, e.fail(s, whole, "no stack of the app exports %q", name)
	}
	return e.value(best.stack, best.output.Value)
}

func (e *evaluation) stackOutput(s *Stack, whole, argument any) (any, error) {
	evaluated, err := e.value(s, argument)
	if err != nil {
		return nil, err
	}
	m, _ := evaluated.(map[string]any)
	stackName, _ := m["StackName"].(string)
	outputName, _ := m["OutputName"].(string)
	if other := e.asm.named(stackName, s); other != nil {
		return e.output(other, whole, outputName)
	}
	return nil, e.fail(s, whole, "the app has no stack named %q", stackName)
}

// named finds a stack by its name in CloudFormation, one of the same environment before others.
func (a *Assembly) named(name string, near *Stack) *Stack {
	var found *Stack
	for _, s := range a.Stacks {
		if s.Name == name && (found == nil || s.Account == near.Account && s.Region == near.Region) {
			found = s
		}
	}
	return found
}

var placeholder = regexp.MustCompile(`\$\{(!?)([^}]*)\}`)

func (e *evaluation) sub(s *Stack, whole, argument any) (any, error) {
	text, _ := argument.(string)
	variables := map[string]any{}
	if list, ok := argument.([]any); ok && len(list) == 2 {
		text, _ = list[0].(string)
		variables, _ = list[1].(map[string]any)
	}
	var failure error
	out := placeholder.ReplaceAllStringFunc(text, func(match string) string {
		parts := placeholder.FindStringSubmatch(match)
		name := strings.TrimSpace(parts[2])
		if parts[1] == "!" {
			return "${" + parts[2] + "}"
		}
		var value any = map[string]any{"Ref": name}
		if given, ok := variables[name]; ok {
			value = given
		} else if id, attribute, ok := strings.Cut(name, "."); ok {
			value = map[string]any{"Fn::GetAtt": []any{id, attribute}}
		}
		got, err := e.text(s, value)
		if err != nil && failure == nil {
			failure = err
		}
		return got
	})
	if failure != nil {
		return nil, failure
	}
	if ref := dynamic.FindString(out); ref != "" {
		return nil, e.fail(s, ref, "a dynamic reference has its value in AWS only")
	}
	return out, nil
}

func (e *evaluation) findInMap(s *Stack, whole any, list []any) (any, error) {
	t, err := s.Template()
	if err != nil {
		return nil, err
	}
	var keys [3]string
	for i := range keys {
		if keys[i], err = scalar(list[i]); err != nil {
			return nil, e.fail(s, whole, "%s", err)
		}
	}
	if value, ok := t.Mappings[keys[0]][keys[1]][keys[2]]; ok {
		return value, nil
	}
	if len(list) == 4 {
		if options, ok := list[3].(map[string]any); ok && options["DefaultValue"] != nil {
			return options["DefaultValue"], nil
		}
	}
	return nil, e.fail(s, whole, "the mapping has no %s", strings.Join(keys[:], " → "))
}

func (e *evaluation) choose(s *Stack, whole, argument any) (any, error) {
	list, _ := argument.([]any)
	if len(list) != 3 {
		return nil, e.fail(s, whole, "the arguments do not fit Fn::If")
	}
	name, _ := list[0].(string)
	yes, err := e.condition(s, whole, name)
	if err != nil {
		return nil, err
	}
	if yes {
		return e.value(s, list[1])
	}
	return e.value(s, list[2])
}

func (e *evaluation) condition(s *Stack, whole any, name string) (bool, error) {
	t, err := s.Template()
	if err != nil {
		return false, err
	}
	value, ok := t.Conditions[name]
	if !ok {
		return false, e.fail(s, whole, "there is no condition %q", name)
	}
	return e.truth(s, value)
}

func (e *evaluation) truth(s *Stack, value any) (bool, error) {
	m, _ := value.(map[string]any)
	if len(m) != 1 {
		return false, e.fail(s, value, "this is not a condition")
	}
	for name, argument := range m {
		list, _ := argument.([]any)
		switch name {
		case "Condition":
			other, _ := argument.(string)
			return e.condition(s, value, other)
		case "Fn::Equals":
			if len(list) == 2 {
				left, err := e.value(s, list[0])
				if err != nil {
					return false, err
				}
				right, err := e.value(s, list[1])
				if err != nil {
					return false, err
				}
				x, errX := json.Marshal(left)
				y, errY := json.Marshal(right)
				return string(x) == string(y), errors.Join(errX, errY)
			}
		case "Fn::Not":
			if len(list) == 1 {
				yes, err := e.truth(s, list[0])
				return !yes, err
			}
		case "Fn::And", "Fn::Or":
			for _, each := range list {
				yes, err := e.truth(s, each)
				if err != nil || yes == (name == "Fn::Or") {
					return yes, err
				}
			}
			return name == "Fn::And", nil
		}
	}
	return false, e.fail(s, value, "a local run does not know this condition")
}

// text evaluates to a string.
func (e *evaluation) text(s *Stack, value any) (string, error) {
	got, err := e.value(s, value)
	if err != nil {
		return "", err
	}
	text, err := scalar(got)
	if err != nil {
		return "", e.fail(s, value, "%s", err)
	}
	return text, nil
}

func scalar(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", fmt.Errorf("a string is wanted")
}

func (r *Resolver) region(s *Stack) string {
	if s.Region != "" {
		return s.Region
	}
	return r.local.Region
}

func (r *Resolver) account(s *Stack) string {
	if s.Account != "" {
		return s.Account
	}
	return r.local.Account
}
