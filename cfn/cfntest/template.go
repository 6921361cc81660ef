package cfntest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// This file reads and checks templates, and computes what their intrinsics come to.

type template struct {
	Description string
	Parameters  map[string]struct {
		Type    string
		Default any
	}
	Conditions map[string]any
	Resources  map[string]*definition
	Outputs    map[string]struct {
		Value       any
		Description string
		Condition   string
		Export      struct{ Name any }
	}
}

type definition struct {
	Type           string
	Properties     map[string]any
	DependsOn      any
	Condition      string
	DeletionPolicy string
	Metadata       any
}

const (
	maxInline    = 51200
	maxTemplate  = 1 << 20
	maxResources = 500
)

var logicalID = regexp.MustCompile(`^[A-Za-z0-9]+$`)

func parseTemplate(body string) (*template, *Error) {
	t := &template{}
	if err := json.Unmarshal([]byte(body), t); err != nil {
		return nil, invalid("Template format error: JSON not well-formed.")
	}
	if len(t.Resources) == 0 {
		return nil, invalid("Template format error: At least one Resources member must be defined.")
	}
	if len(t.Resources) > maxResources {
		return nil, invalid("Template format error: Number of resources, %d, is greater than maximum allowed, %d", len(t.Resources), maxResources)
	}
	for id, r := range t.Resources {
		if !logicalID.MatchString(id) {
			return nil, invalid("Template format error: Resource name %s is non alphanumeric.", id)
		}
		if r == nil || r.Type == "" {
			return nil, invalid("Template format error: [/Resources/%s] Every Resources object must contain a Type member.", id)
		}
	}
	var unresolved []string
	for id := range t.Resources {
		for ref := range t.references(id) {
			if _, isParameter := t.Parameters[ref]; !isParameter && t.Resources[ref] == nil {
				unresolved = append(unresolved, ref)
			}
		}
	}
	if len(unresolved) > 0 {
		slices.Sort(unresolved)
		return nil, invalid("Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", strings.Join(slices.Compact(unresolved), ", "))
	}
	if _, circle := t.order(); len(circle) > 0 {
		return nil, invalid("Circular dependency between resources: [%s]", strings.Join(circle, ", "))
	}
	return t, nil
}

// references of a resource: what Ref, GetAtt, Sub and DependsOn name.
func (t *template) references(id string) map[string]bool {
	found := map[string]bool{}
	add := func(name string) {
		name, _, _ = strings.Cut(name, ".")
		if !strings.HasPrefix(name, "AWS::") {
			found[name] = true
		}
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, each := range v {
				walk(each)
			}
		case map[string]any:
			for key, each := range v {
				switch text, _ := each.(string); {
				case key == "Ref" && text != "":
					add(text)
				case key == "Fn::GetAtt":
					if list, ok := each.([]any); ok && len(list) > 0 {
						text, _ = list[0].(string)
					}
					add(text)
				case key == "Fn::Sub":
					var own map[string]any
					if list, ok := each.([]any); ok && len(list) == 2 {
						text, _ = list[0].(string)
						own, _ = list[1].(map[string]any)
						walk(own)
					}
					for _, m := range substitution.FindAllStringSubmatch(text, -1) {
						if _, known := own[m[1]]; !known {
							add(m[1])
						}
					}
				default:
					walk(each)
				}
			}
		}
	}
	r := t.Resources[id]
	walk(r.Properties)
	switch d := r.DependsOn.(type) {
	case string:
		add(d)
	case []any:
		for _, each := range d {
			if text, ok := each.(string); ok {
				add(text)
			}
		}
	}
	return found
}

var substitution = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

// order gives the resources after those they depend on, and those in a circle.
func (t *template) order() (ids, circle []string) {
	done := map[string]bool{}
	for len(done) < len(t.Resources) {
		before := len(done)
		for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
			if done[id] {
				continue
			}
			ready := true
			for ref := range t.references(id) {
				ready = ready && (done[ref] || t.Resources[ref] == nil)
			}
			if ready {
				done[id] = true
				ids = append(ids, id)
			}
		}
		if len(done) == before {
			for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
				if !done[id] {
					circle = append(circle, id)
				}
			}
			return ids, circle
		}
	}
	return ids, nil
}

// capabilities that the template needs.
func (t *template) capabilities() (needed []string) {
	for _, r := range t.Resources {
		if !strings.HasPrefix(r.Type, "AWS::IAM::") {
			continue
		}
		for _, name := range []string{"RoleName", "UserName", "GroupName", "ManagedPolicyName", "InstanceProfileName"} {
			if _, named := r.Properties[name]; named && r.Type != "AWS::IAM::Policy" {
				return []string{"CAPABILITY_NAMED_IAM"}
			}
		}
		needed = []string{"CAPABILITY_IAM"}
	}
	return needed
}

func canonical(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// scope computes intrinsics for one stack.
type scope struct {
	server *Server
	stack  *stack
	t      *template
	params map[string]string
}

func (c scope) text(v any) string {
	switch v := c.value(v).(type) {
	case string:
		return v
	case nil:
		return ""
	case float64, bool:
		return strings.Trim(canonical(v), `"`)
	default:
		var b bytes.Buffer
		json.NewEncoder(&b).Encode(v)
		return strings.TrimSpace(b.String())
	}
}

func (c scope) ref(name string) any {
	switch name {
	case "AWS::AccountId":
		return Account
	case "AWS::Region":
		return c.stack.region
	case "AWS::Partition":
		return "aws"
	case "AWS::URLSuffix":
		return "amazonaws.com"
	case "AWS::StackName":
		return c.stack.name
	case "AWS::StackId":
		return c.stack.arn
	case "AWS::NoValue":
		return nil
	}
	if value, ok := c.params[name]; ok {
		return value
	}
	return c.physical(name)
}

// physical id of a resource: its own name where it has one.
func (c scope) physical(id string) string {
	r := c.t.Resources[id]
	if r == nil {
		return ""
	}
	for _, name := range []string{"BucketName", "RoleName", "TableName", "QueueName", "TopicName", "FunctionName", "LogGroupName", "Name"} {
		if own, ok := r.Properties[name]; ok && r.Type != "AWS::ApiGatewayV2::Api" {
			return c.text(own)
		}
	}
	name := c.stack.name + "-" + id + "-" + c.stack.serial
	if r.Type == "AWS::S3::Bucket" {
		name = strings.ToLower(name)
	}
	return name
}

func (c scope) attribute(id, name string) any {
	physical := c.physical(id)
	kind := strings.Split(c.t.Resources[id].Type, "::")
	service := strings.ToLower(kind[min(1, len(kind)-1)])
	switch {
	case name == "ApiEndpoint":
		return "https://" + strings.ToLower(id) + ".execute-api." + c.stack.region + ".amazonaws.com"
	case name == "Arn" && service == "iam":
		return "arn:aws:iam::" + Account + ":role/" + physical
	case name == "Arn" && service == "s3":
		return "arn:aws:s3:::" + physical
	case strings.HasSuffix(name, "Arn"):
		return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, c.stack.region, Account, physical)
	case strings.HasPrefix(name, "Outputs."):
		if nested := c.server.byARN(c.stack.nested[id]); nested != nil {
			for _, o := range nested.outputs {
				if o.key == strings.TrimPrefix(name, "Outputs.") {
					return o.value
				}
			}
		}
	}
	return physical + "." + name
}

func (c scope) value(v any) any {
	switch v := v.(type) {
	case []any:
		var all []any
		for _, each := range v {
			if x := c.value(each); x != nil {
				all = append(all, x)
			}
		}
		return all
	case map[string]any:
		if len(v) == 1 {
			for key, arg := range v {
				if x, ok := c.call(key, arg); ok {
					return x
				}
			}
		}
		all := map[string]any{}
		for key, each := range v {
			if x := c.value(each); x != nil {
				all[key] = x
			}
		}
		return all
	}
	return v
}

func (c scope) call(name string, arg any) (any, bool) {
	list, _ := arg.([]any)
	switch name {
	case "Ref":
		return c.ref(fmt.Sprint(arg)), true
	case "Fn::GetAtt":
		if text, ok := arg.(string); ok {
			id, attribute, _ := strings.Cut(text, ".")
			return c.attribute(id, attribute), true
		}
		return c.attribute(fmt.Sprint(list[0]), fmt.Sprint(list[1])), true
	case "Fn::Join":
		parts, _ := c.value(list[1]).([]any)
		var texts []string
		for _, p := range parts {
			texts = append(texts, c.text(p))
		}
		return strings.Join(texts, fmt.Sprint(list[0])), true
	case "Fn::Sub":
		text, own := fmt.Sprint(arg), map[string]any{}
		if len(list) == 2 {
			text = fmt.Sprint(list[0])
			own, _ = list[1].(map[string]any)
		}
		return substitution.ReplaceAllStringFunc(text, func(m string) string {
			name := m[2 : len(m)-1]
			if x, ok := own[name]; ok {
				return c.text(x)
			}
			if id, attribute, found := strings.Cut(name, "."); found {
				return c.text(c.attribute(id, attribute))
			}
			return c.text(c.ref(name))
		}), true
	case "Fn::Split":
		var parts []any
		for _, p := range strings.Split(c.text(list[1]), fmt.Sprint(list[0])) {
			parts = append(parts, p)
		}
		return parts, true
	case "Fn::Select":
		parts, _ := c.value(list[1]).([]any)
		var i int
		fmt.Sscan(fmt.Sprint(list[0]), &i)
		if i < len(parts) {
			return parts[i], true
		}
		return nil, true
	case "Fn::If":
		if c.condition(fmt.Sprint(list[0])) {
			return c.value(list[1]), true
		}
		return c.value(list[2]), true
	case "Fn::ImportValue":
		for _, st := range c.server.stacks {
			for _, o := range st.outputs {
				if !st.deleted && st.region == c.stack.region && o.export != "" && o.export == c.text(arg) {
					return o.value, true
				}
			}
		}
		return nil, true
	case "Fn::GetStackOutput":
		from, _ := arg.(map[string]any)
		region := c.text(from["Region"])
		if region == "" {
			region = c.stack.region
		}
		if st := c.server.find(c.text(from["StackName"]), region); st != nil {
			for _, o := range st.outputs {
				if o.key == c.text(from["OutputName"]) {
					return o.value, true
				}
			}
		}
		return nil, true
	}
	return nil, false
}

func (c scope) condition(name string) bool { return c.truth(c.t.Conditions[name]) }

func (c scope) truth(v any) bool {
	m, _ := v.(map[string]any)
	for name, arg := range m {
		list, _ := arg.([]any)
		switch name {
		case "Condition":
			return c.condition(fmt.Sprint(arg))
		case "Fn::Equals":
			return c.text(list[0]) == c.text(list[1])
		case "Fn::Not":
			return !c.truth(list[0])
		case "Fn::And":
			return !slices.ContainsFunc(list, func(x any) bool { return !c.truth(x) })
		case "Fn::Or":
			return slices.ContainsFunc(list, c.truth)
		}
	}
	return false
}
