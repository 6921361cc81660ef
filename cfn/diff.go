package cfn

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// This file compares templates: what a deployment would change, and what that means for the resources.

// Action is what happens to a resource.
type Action string

const (
	Add    Action = "add"
	Change Action = "change"
	Delete Action = "remove"
)

// Replacement says whether a change makes a new resource in place of the old one.
type Replacement string

const (
	InPlace Replacement = ""
	Maybe   Replacement = "maybe"
	Replace Replacement = "yes"
)

// ResourceChange is what happens to one resource.
type ResourceChange struct {
	Action      Action           `json:"action"`
	LogicalID   string           `json:"logicalId"`
	Type        string           `json:"type"`
	Path        string           `json:"path,omitempty"` // construct path
	Position    *Position        `json:"position,omitempty"`
	Replacement Replacement      `json:"replacement,omitempty"`
	DataLost    bool             `json:"dataLost,omitempty"` // what the resource holds is gone afterwards
	Kept        bool             `json:"kept,omitempty"`     // a removed one stays in the account, or a snapshot of it
	Properties  []PropertyChange `json:"properties,omitempty"`
}

// PropertyChange is a property that has another value; From or To is nil when it has none.
type PropertyChange struct {
	Path        string      `json:"path"` // "Environment.Variables.NAME"
	From        any         `json:"from,omitempty"`
	To          any         `json:"to,omitempty"`
	Replacement Replacement `json:"replacement,omitempty"`
	Follows     string      `json:"follows,omitempty"` // logical id of the replaced resource that it refers to; the template itself says the same
}

// AccessChange is a permission or a rule of a security group that comes or goes.
type AccessChange struct {
	Added     bool   `json:"added"`
	LogicalID string `json:"logicalId"`
	Path      string `json:"path,omitempty"`
	Text      string `json:"text"` // "Allow sqs:SendMessage on ${Jobs.Arn}"
}

// TemplateDiff is what differs between two templates of a stack.
type TemplateDiff struct {
	Resources   []ResourceChange `json:"resources,omitempty"`
	Permissions []AccessChange   `json:"permissions,omitempty"`
	Network     []AccessChange   `json:"network,omitempty"` // rules of security groups
	Outputs     []PropertyChange `json:"outputs,omitempty"`
	Other       []string         `json:"other,omitempty"` // sections beside resources and outputs that differ: "Parameters"
}

// Empty says that nothing differs.
func (d *TemplateDiff) Empty() bool {
	return len(d.Resources)+len(d.Outputs)+len(d.Other) == 0
}

//go:generate go run ./internal/replacement ../testdata/npm/node_modules/@aws-cdk/aws-service-spec/db.json.gz replacement.txt

// replacementTable is written by internal/replacement.
//
//go:embed replacement.txt
var replacementTable string

type typeRules struct {
	stateful   bool
	properties map[string]Replacement
}

var rules = sync.OnceValue(func() map[string]typeRules {
	all := map[string]typeRules{}
	for line := range strings.Lines(replacementTable) {
		words := strings.Fields(line)
		name, stateful := strings.CutSuffix(words[0], "!")
		r := typeRules{stateful: stateful || alsoStateful[name], properties: map[string]Replacement{}}
		for _, word := range words[1:] {
			if property, maybe := strings.CutPrefix(word, "?"); maybe {
				r.properties[property] = Maybe
			} else {
				r.properties[property] = Replace
			}
		}
		all[name] = r
	}
	nested := all[typeNested] // what is lost with one is said of what is in it
	nested.stateful = false
	all[typeNested] = nested
	return all
})

// alsoStateful are types that hold data and are not marked in the CDK's database.
var alsoStateful = map[string]bool{
	"AWS::Kinesis::Stream": true, "AWS::SecretsManager::Secret": true, "AWS::ECR::Repository": true, "AWS::EC2::Volume": true,
	"AWS::S3Tables::Table": true, "AWS::MSK::Cluster": true, "AWS::Timestream::Table": true, "AWS::KMS::Key": true,
	"AWS::Cognito::IdentityPool": true, "AWS::FSx::FileSystem": true, "AWS::ElastiCache::ServerlessCache": true, "AWS::DSQL::Cluster": true,
}

// Compare tells what a change of template means. old may be nil: the stack does not exist.
func Compare(old, new *Template) *TemplateDiff {
	if old == nil {
		old = &Template{}
	}
	if new == nil {
		new = &Template{}
	}
	d := &TemplateDiff{}
	replaced := map[string]bool{}
	var changed map[string]ResourceChange
	for again := true; again; { // a replaced resource changes what refers to it
		again, changed = false, map[string]ResourceChange{}
		for _, id := range new.Order {
			was, is := old.Resources[id], new.Resources[id]
			if was == nil || is == nil {
				continue
			}
			c, differs := compareResource(id, was, is, replaced)
			if !differs {
				continue
			}
			changed[id] = c
			if c.Replacement == Replace && !replaced[id] {
				replaced[id], again = true, true
			}
		}
	}
	for _, id := range new.Order {
		is := new.Resources[id]
		if is == nil {
			continue
		}
		if c, ok := changed[id]; ok {
			d.Resources = append(d.Resources, c)
		} else if old.Resources[id] == nil {
			d.Resources = append(d.Resources, ResourceChange{Action: Add, LogicalID: id, Type: is.Type, Path: pathOf(is)})
		}
	}
	for _, id := range old.Order {
		if was := old.Resources[id]; was != nil && new.Resources[id] == nil {
			keeps := keepsData(was.DeletionPolicy, was.Type)
			d.Resources = append(d.Resources, ResourceChange{Action: Delete, LogicalID: id, Type: was.Type, Path: pathOf(was), Kept: keeps,
				DataLost: !keeps && rules()[was.Type].stateful})
		}
	}
	d.Permissions = accessDiff(old, new, permissions)
	d.Network = accessDiff(old, new, network)
	for _, name := range slices.Sorted(maps.Keys(merged(old.Outputs, new.Outputs))) {
		was, is := old.Outputs[name], new.Outputs[name]
		if !same(was, is) {
			c := PropertyChange{Path: name}
			if was != nil {
				c.From = was.Value
			}
			if is != nil {
				c.To = is.Value
			}
			d.Outputs = append(d.Outputs, c)
		}
	}
	if !same(old.Parameters, new.Parameters) {
		d.Other = append(d.Other, "Parameters")
	}
	if !same(old.Mappings, new.Mappings) && len(old.Mappings)+len(new.Mappings) > 0 {
		d.Other = append(d.Other, "Mappings")
	}
	if !same(old.Conditions, new.Conditions) && len(old.Conditions)+len(new.Conditions) > 0 {
		d.Other = append(d.Other, "Conditions")
	}
	return d
}

func merged[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return all
}

func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func pathOf(r *Resource) string {
	path, _ := r.Metadata["aws:cdk:path"].(string)
	return path
}

// keepsData says that a deletion or update-replace policy leaves the resource, or a snapshot of it.
func keepsData(policy any, kind string) bool {
	text, given := policy.(string)
	if !given && (kind == "AWS::RDS::DBCluster" || kind == "AWS::RDS::DBInstance") {
		return true // CloudFormation takes a snapshot unless told otherwise
	}
	return text == "Retain" || text == "RetainExceptOnCreate" || text == "Snapshot"
}

func compareResource(id string, was, is *Resource, replaced map[string]bool) (ResourceChange, bool) {
	c := ResourceChange{Action: Change, LogicalID: id, Type: is.Type, Path: pathOf(is)}
	if was.Type != is.Type {
		c.Replacement = Replace
		c.Properties = []PropertyChange{{Path: "Type", From: was.Type, To: is.Type, Replacement: Replace}}
	}
	for _, name := range slices.Sorted(maps.Keys(merged(was.Properties, is.Properties))) {
		from, to := was.Properties[name], is.Properties[name]
		effect := rules()[is.Type].properties[name]
		follows := ""
		if same(from, to) {
			if follows = refersTo(to, replaced, id); follows == "" {
				continue
			}
			c.Properties = append(c.Properties, PropertyChange{Path: name, From: from, To: to, Replacement: effect, Follows: follows})
		} else {
			for _, p := range leaves(name, from, to) {
				p.Replacement = effect
				c.Properties = append(c.Properties, p)
			}
		}
		if c.Replacement != Replace && effect != InPlace {
			c.Replacement = effect
		}
	}
	for _, attribute := range []struct {
		name     string
		was, now any
	}{{"DependsOn", was.DependsOn, is.DependsOn}, {"Condition", was.Condition, is.Condition}, {"DeletionPolicy", was.DeletionPolicy, is.DeletionPolicy},
		{"UpdateReplacePolicy", was.UpdateReplacePolicy, is.UpdateReplacePolicy}, {"Metadata", was.Metadata, is.Metadata}} {
		if !same(attribute.was, attribute.now) {
			c.Properties = append(c.Properties, PropertyChange{Path: "(" + attribute.name + ")", From: attribute.was, To: attribute.now})
		}
	}
	if c.Replacement == Replace {
		c.Kept = keepsData(is.UpdateReplacePolicy, is.Type)
		c.DataLost = !c.Kept && rules()[was.Type].stateful
	}
	return c, len(c.Properties) > 0
}

// refersTo gives a replaced resource that a value refers to, "" for none.
func refersTo(value any, replaced map[string]bool, self string) string {
	switch v := value.(type) {
	case []any:
		for _, each := range v {
			if id := refersTo(each, replaced, self); id != "" {
				return id
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			name, _ := v[key].(string)
			if list, ok := v[key].([]any); ok && key == "Fn::GetAtt" && len(list) > 0 {
				name, _ = list[0].(string)
			}
			if key == "Fn::GetAtt" || key == "Ref" {
				name, _, _ = strings.Cut(name, ".")
				if replaced[name] && name != self {
					return name
				}
			} else if id := refersTo(v[key], replaced, self); id != "" {
				return id
			}
		}
	}
	return ""
}

// leaves descends to the values that differ.
func leaves(path string, from, to any) []PropertyChange {
	if same(from, to) {
		return nil
	}
	a, isMap := from.(map[string]any)
	b, both := to.(map[string]any)
	if isMap && both && !isIntrinsic(a) && !isIntrinsic(b) {
		var all []PropertyChange
		for _, name := range slices.Sorted(maps.Keys(merged(a, b))) {
			all = append(all, leaves(path+"."+name, a[name], b[name])...)
		}
		return all
	}
	x, isList := from.([]any)
	y, both := to.([]any)
	if isList && both && len(x) == len(y) {
		var all []PropertyChange
		for i := range x {
			all = append(all, leaves(fmt.Sprintf("%s[%d]", path, i), x[i], y[i])...)
		}
		return all
	}
	return []PropertyChange{{Path: path, From: from, To: to}}
}

func isIntrinsic(m map[string]any) bool {
	if len(m) != 1 {
		return false
	}
	for key := range m {
		return key == "Ref" || key == "Condition" || strings.HasPrefix(key, "Fn::")
	}
	return false
}

// Brief is a value of a template as a person reads it: references as ${Id}, joins joined, the rest as JSON.
func Brief(value any) string {
	switch v := value.(type) {
	case nil:
		return "(none)"
	case string:
		return v
	case map[string]any:
		if !isIntrinsic(v) {
			break
		}
		for key, arg := range v {
			list, _ := arg.([]any)
			switch {
			case key == "Ref":
				return "${" + fmt.Sprint(arg) + "}"
			case key == "Fn::GetAtt" && len(list) == 2:
				return fmt.Sprintf("${%v.%v}", list[0], list[1])
			case key == "Fn::GetAtt":
				return fmt.Sprintf("${%v}", arg)
			case key == "Fn::Sub" && len(list) == 0:
				return fmt.Sprint(arg)
			case key == "Fn::ImportValue":
				return "import " + Brief(arg)
			case key == "Fn::Join" && len(list) == 2:
				parts, ok := list[1].([]any)
				if !ok {
					break
				}
				var texts []string
				for _, p := range parts {
					texts = append(texts, Brief(p))
				}
				return strings.Join(texts, fmt.Sprint(list[0]))
			}
		}
	}
	data, err := json.Marshal(value)
	if err != nil || reflect.ValueOf(value).Kind() == reflect.Func {
		return fmt.Sprint(value)
	}
	return string(data)
}

// accessDiff compares what a look at each resource gives.
func accessDiff(old, new *Template, look func(id string, r *Resource) []string) (all []AccessChange) {
	rows := func(t *Template) (ids []AccessChange, has map[string]bool) {
		has = map[string]bool{}
		for _, id := range t.Order {
			if r := t.Resources[id]; r != nil {
				for _, text := range look(id, r) {
					if key := id + "\n" + text; !has[key] {
						has[key] = true
						ids = append(ids, AccessChange{LogicalID: id, Path: pathOf(r), Text: text})
					}
				}
			}
		}
		return ids, has
	}
	before, had := rows(old)
	after, has := rows(new)
	for _, row := range after {
		if !had[row.LogicalID+"\n"+row.Text] {
			row.Added = true
			all = append(all, row)
		}
	}
	for _, row := range before {
		if !has[row.LogicalID+"\n"+row.Text] {
			all = append(all, row)
		}
	}
	return all
}

// permissions of a resource: the statements of all policy documents in it, managed policies, and who may call a function.
func permissions(id string, r *Resource) (rows []string) {
	switch r.Type {
	case "AWS::Lambda::Permission":
		row := fmt.Sprintf("Allow %s on %s to %s", Brief(r.Properties["Action"]), Brief(r.Properties["FunctionName"]), Brief(r.Properties["Principal"]))
		if source := r.Properties["SourceArn"]; source != nil {
			row += " for " + Brief(source)
		}
		return []string{row}
	case "AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group":
		if managed, ok := r.Properties["ManagedPolicyArns"].([]any); ok {
			for _, each := range managed {
				rows = append(rows, "Managed policy "+Brief(each))
			}
		}
	}
	to := ""
	if roles, ok := r.Properties["Roles"].([]any); ok && strings.HasPrefix(r.Type, "AWS::IAM::") {
		var names []string
		for _, each := range roles {
			names = append(names, Brief(each))
		}
		to = strings.Join(names, ", ")
	}
	var walk func(value any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, each := range v {
				walk(each)
			}
		case map[string]any:
			if statements, ok := v["Statement"]; ok {
				list, many := statements.([]any)
				if !many {
					list = []any{statements}
				}
				for _, s := range list {
					if m, ok := s.(map[string]any); ok && m["Effect"] != nil {
						rows = append(rows, statement(m, to))
					}
				}
				return
			}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key])
			}
		}
	}
	walk(map[string]any(r.Properties))
	return rows
}

func statement(m map[string]any, to string) string {
	list := func(value any) string {
		many, ok := value.([]any)
		if !ok {
			return Brief(value)
		}
		var texts []string
		for _, each := range many {
			texts = append(texts, Brief(each))
		}
		return strings.Join(texts, ", ")
	}
	text := Brief(m["Effect"])
	for _, part := range []struct{ key, before string }{{"Action", " "}, {"NotAction", " all but "}, {"Resource", " on "}, {"NotResource", " on all but "}} {
		if value, ok := m[part.key]; ok {
			text += part.before + list(value)
		}
	}
	for _, key := range []string{"Principal", "NotPrincipal"} {
		switch p := m[key].(type) {
		case nil:
			continue
		case map[string]any:
			if !isIntrinsic(p) {
				var texts []string
				for _, kind := range slices.Sorted(maps.Keys(p)) {
					texts = append(texts, list(p[kind]))
				}
				to = strings.Join(texts, ", ")
				break
			}
			to = Brief(p)
		default:
			to = list(p)
		}
		if key == "NotPrincipal" {
			to = "all but " + to
		}
	}
	if to != "" {
		text += " to " + to
	}
	if condition := m["Condition"]; condition != nil {
		text += " if " + Brief(condition)
	}
	return text
}

// network gives the rules of a security group.
func network(id string, r *Resource) (rows []string) {
	add := func(word string, rule map[string]any) {
		ports := Brief(rule["FromPort"])
		if to := Brief(rule["ToPort"]); to != ports {
			ports += "-" + to
		}
		if rule["FromPort"] == nil {
			ports = "all ports"
		}
		peer := "anything"
		for _, key := range []string{"CidrIp", "CidrIpv6", "SourceSecurityGroupId", "DestinationSecurityGroupId", "SourcePrefixListId", "DestinationPrefixListId"} {
			if value := rule[key]; value != nil {
				peer = Brief(value)
			}
		}
		protocol := Brief(rule["IpProtocol"])
		if protocol == "-1" {
			protocol = "everything"
		}
		rows = append(rows, fmt.Sprintf("%s %s, %s", word+" "+peer, protocol, ports))
	}
	each := func(word string, value any) {
		list, _ := value.([]any)
		for _, one := range list {
			if rule, ok := one.(map[string]any); ok {
				add(word, rule)
			}
		}
	}
	switch r.Type {
	case "AWS::EC2::SecurityGroup":
		each("In from", r.Properties["SecurityGroupIngress"])
		each("Out to", r.Properties["SecurityGroupEgress"])
	case "AWS::EC2::SecurityGroupIngress":
		add("In from", r.Properties)
	case "AWS::EC2::SecurityGroupEgress":
		add("Out to", r.Properties)
	}
	return rows
}
