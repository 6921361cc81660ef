package cfn

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Derive fills the manifest's Apis and Triggers from the templates: what calls a function of the manifest, however it
// was declared. What leads elsewhere is left out, but for routes, which are listed without a function.
func Derive(asm *Assembly, m *Manifest) error {
	m.Apis, m.Triggers, m.Sources, m.Forwards, m.Async = nil, nil, nil, nil, nil
	asm.setShort(m)
	known := *asm
	known.Manifest = m // the resolver names functions as the manifest does
	d := &derivation{asm: asm, m: m, resolver: NewResolver(&known, Local{})}
	for _, top := range asm.Stacks {
		all, err := top.withNested()
		if err != nil {
			return err
		}
		for _, s := range all {
			if err := d.stack(s); err != nil {
				return fmt.Errorf("stack %s: %w", s.ID, err)
			}
		}
	}
	return nil
}

type derivation struct {
	asm      *Assembly
	m        *Manifest
	resolver *Resolver
}

// target is a resource that a value refers to.
type target struct {
	stack     *Stack
	id        string
	resource  *Resource
	attribute string
}

func (t target) name() string { return t.stack.ID + "/" + t.id }

func (d *derivation) stack(s *Stack) error {
	t, err := s.Template()
	if err != nil {
		return err
	}
	for _, id := range t.Order {
		r := t.Resources[id]
		d.source(s, id, r)
		switch r.Type {
		case typeFunction, "AWS::Lambda::EventInvokeConfig":
			d.async(s, id, r)
		case typeHTTPAPI:
			d.m.Apis = append(d.m.Apis, d.api(s, id, r))
		case typeRESTAPI:
			d.m.Apis = append(d.m.Apis, d.rest(s, id, r))
		case typeURL:
			d.url(s, id, r)
		case "AWS::Events::Rule":
			d.rule(s, id, r)
		case "AWS::Scheduler::Schedule":
			d.schedule(s, id, r)
		case "AWS::Lambda::EventSourceMapping":
			d.mapping(s, id, r)
		case "AWS::SNS::Subscription":
			d.subscription(s, id, r)
		case "AWS::SNS::Topic":
			d.inlineSubscriptions(s, id, r)
		case "AWS::S3::Bucket":
			d.notifications(s, id, r, object(r.Properties["NotificationConfiguration"]), target{s, id, r, ""})
		case "Custom::S3BucketNotifications":
			if bucket, ok := d.follow(s, r.Properties["BucketName"], 0); ok {
				d.notifications(s, id, r, object(r.Properties["NotificationConfiguration"]), bucket)
			}
		}
	}
	return nil
}

// pathOf is the id that people see for a resource.
func (d *derivation) pathOf(s *Stack, id string) string {
	if path := s.Path(id); path != "" {
		return d.m.ShortPath(path)
	}
	return cmp.Or(s.Short, s.ID) + "/" + id
}

// follow finds the resource that a value refers to: through cross-stack references and parameters of nested stacks.
func (d *derivation) follow(s *Stack, value any, depth int) (target, bool) {
	m, _ := value.(map[string]any)
	name, argument, ok := intrinsic(m)
	if !ok || depth > 20 {
		return target{}, false
	}
	t, err := s.Template()
	if err != nil {
		return target{}, false
	}
	switch name {
	case "Ref":
		id, _ := argument.(string)
		if r := t.Resources[id]; r != nil {
			return target{s, id, r, ""}, true
		}
		if t.Parameters[id] != nil && s.Parent != nil {
			parent, err := s.Parent.Template()
			if err != nil {
				return target{}, false
			}
			return d.follow(s.Parent, object(parent.Resources[s.LogicalID].Properties["Parameters"])[id], depth+1)
		}
	case "Fn::GetAtt":
		id, attribute := "", ""
		switch a := argument.(type) {
		case string:
			id, attribute, _ = strings.Cut(a, ".")
		case []any:
			if len(a) == 2 {
				id, _ = a[0].(string)
				attribute, _ = a[1].(string)
			}
		}
		r := t.Resources[id]
		if r == nil {
			return target{}, false
		}
		if output, ok := strings.CutPrefix(attribute, "Outputs."); ok && r.Type == typeNested {
			nested, _ := s.Nested()
			for _, n := range nested {
				if n.LogicalID == id {
					return d.followOutput(n, output, depth)
				}
			}
			return target{}, false
		}
		return target{s, id, r, attribute}, true
	case "Fn::ImportValue":
		name, err := d.resolver.Resolve(s, argument)
		text, isText := name.(string)
		if err != nil || !isText {
			return target{}, false
		}
		for _, x := range d.resolver.exports[text] {
			if len(d.resolver.exports[text]) == 1 || x.stack.Account == s.Account && x.stack.Region == s.Region {
				return d.follow(x.stack, x.output.Value, depth+1)
			}
		}
	case "Fn::GetStackOutput":
		a := object(argument)
		stackName, _ := a["StackName"].(string)
		output, _ := a["OutputName"].(string)
		if other := d.asm.named(stackName, s); other != nil {
			return d.followOutput(other, output, depth)
		}
	}
	return target{}, false
}

func (d *derivation) followOutput(s *Stack, name string, depth int) (target, bool) {
	t, err := s.Template()
	if err != nil || t.Outputs[name] == nil {
		return target{}, false
	}
	return d.follow(s, t.Outputs[name].Value, depth+1)
}

// function finds the function of the manifest that a value leads to: a reference, one inside a longer ARN, or one of
// an alias or version.
func (d *derivation) function(s *Stack, value any) *Function {
	switch v := value.(type) {
	case map[string]any:
		if t, ok := d.follow(s, v, 0); ok {
			switch t.resource.Type {
			case typeFunction:
				return d.m.functionOf(t.stack, t.id)
			case typeAlias, typeVersion:
				return d.function(t.stack, t.resource.Properties["FunctionName"])
			}
			return nil
		}
		for _, name := range []string{"Fn::Join", "Fn::Sub"} {
			if f := d.function(s, v[name]); f != nil {
				return f
			}
		}
		if sub, ok := v["Fn::Sub"].([]any); ok && len(sub) == 2 {
			for _, each := range object(sub[1]) {
				if f := d.function(s, each); f != nil {
					return f
				}
			}
		}
	case []any:
		for _, each := range v {
			if f := d.function(s, each); f != nil {
				return f
			}
		}
	case string:
		for _, match := range placeholder.FindAllStringSubmatch(v, -1) {
			id, _, _ := strings.Cut(match[2], ".")
			if t, err := s.Template(); err == nil && t.Resources[id] != nil && t.Resources[id].Type == typeFunction {
				return d.m.functionOf(s, id)
			}
		}
		if strings.Contains(v, ":function:") {
			return d.m.Function(v)
		}
	}
	return nil
}

// find looks through a value for a reference to a resource of the type.
func (d *derivation) find(s *Stack, value any, wanted string) (target, bool) {
	if t, ok := d.follow(s, value, 0); ok {
		return t, t.resource.Type == wanted
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range []string{"Fn::Join", "Fn::Sub"} {
			if t, ok := d.find(s, v[name], wanted); ok {
				return t, true
			}
		}
	case []any:
		for _, each := range v {
			if t, ok := d.find(s, each, wanted); ok {
				return t, true
			}
		}
	case string:
		for _, match := range placeholder.FindAllStringSubmatch(v, -1) {
			if t, err := s.Template(); err == nil && t.Resources[match[2]] != nil && t.Resources[match[2]].Type == wanted {
				return target{s, match[2], t.Resources[match[2]], ""}, true
			}
		}
	}
	return target{}, false
}

func (d *derivation) rule(s *Stack, id string, r *Resource) {
	schedule := d.text(s, r.Properties["ScheduleExpression"])
	pattern := r.Properties["EventPattern"]
	targets, _ := r.Properties["Targets"].([]any)
	for _, each := range targets {
		p := object(each)
		f := d.function(s, p["Arn"])
		if f == nil {
			if to, ok := d.sink(s, p["Arn"]); ok && pattern != nil {
				forward := Forward{Type: "bus", To: to, Filter: d.json(s, pattern), Input: d.text(s, p["Input"])}
				if bus, ok := d.follow(s, r.Properties["EventBusName"], 0); ok {
					forward.From = bus.name()
				}
				d.m.Forwards = append(d.m.Forwards, forward)
			}
			continue
		}
		trigger := Trigger{ID: d.pathOf(s, id), Function: f.ID, Stack: s.ID, Input: d.text(s, p["Input"]),
			Enabled: d.text(s, r.Properties["State"]) != "DISABLED"}
		if bus, ok := d.follow(s, r.Properties["EventBusName"], 0); ok {
			trigger.Source = bus.name()
		}
		if pattern != nil {
			trigger.Type, trigger.Filter = "event", d.json(s, pattern)
			d.m.Triggers = append(d.m.Triggers, trigger)
		}
		if schedule != "" {
			trigger.Type, trigger.Schedule, trigger.Filter, trigger.Timezone = "cron", schedule, "", "UTC"
			d.m.Triggers = append(d.m.Triggers, trigger)
		}
	}
}

func (d *derivation) schedule(s *Stack, id string, r *Resource) {
	to := object(r.Properties["Target"])
	f := d.function(s, to["Arn"])
	if f == nil {
		return
	}
	d.m.Triggers = append(d.m.Triggers, Trigger{
		Type: "cron", ID: d.pathOf(s, id), Function: f.ID, Stack: s.ID,
		Schedule: d.text(s, r.Properties["ScheduleExpression"]),
		Timezone: cmp.Or(d.text(s, r.Properties["ScheduleExpressionTimezone"]), "UTC"),
		Input:    d.text(s, to["Input"]), Enabled: d.text(s, r.Properties["State"]) != "DISABLED",
	})
}

func (d *derivation) mapping(s *Stack, id string, r *Resource) {
	p := r.Properties
	f := d.function(s, p["FunctionName"])
	if f == nil {
		return
	}
	trigger := Trigger{
		Function: f.ID, Stack: s.ID, BatchSize: d.number(s, p["BatchSize"]),
		Window:   d.number(s, p["MaximumBatchingWindowInSeconds"]),
		Partial:  slices.Contains(d.texts(s, p["FunctionResponseTypes"]), "ReportBatchItemFailures"),
		Position: d.text(s, p["StartingPosition"]), Enabled: p["Enabled"] == nil || d.truth(s, p["Enabled"]),
	}
	if p["MaximumRetryAttempts"] != nil {
		if n := d.number(s, p["MaximumRetryAttempts"]); n >= 0 {
			trigger.Retries = &n
		}
	}
	trigger.Bisect = d.truth(s, p["BisectBatchOnFunctionError"])
	trigger.OnFailure, _ = d.sink(s, object(object(p["DestinationConfig"])["OnFailure"])["Destination"])
	if criteria := object(p["FilterCriteria"]); len(criteria) > 0 {
		trigger.Filter = d.json(s, criteria)
	}
	source, ok := d.follow(s, p["EventSourceArn"], 0)
	if !ok {
		trigger.Type, trigger.ID = sourceType(d.text(s, p["EventSourceArn"])), d.pathOf(s, id)
		d.m.Triggers = append(d.m.Triggers, trigger)
		return
	}
	trigger.ID, trigger.Source = d.pathOf(source.stack, source.id), source.name()
	trigger.Type = "stream"
	if source.resource.Type == "AWS::SQS::Queue" {
		trigger.Type = "queue"
		trigger.BatchSize = cmp.Or(trigger.BatchSize, 10)
	}
	trigger.BatchSize = cmp.Or(trigger.BatchSize, 100)
	d.m.Triggers = append(d.m.Triggers, trigger)
}

// sourceType tells the type of a source that is not in the app by its ARN.
func sourceType(arn string) string {
	if strings.HasPrefix(arn, "arn:aws:sqs:") {
		return "queue"
	}
	return "stream"
}

func (d *derivation) subscription(s *Stack, id string, r *Resource) {
	p := r.Properties
	topic, known := d.follow(s, p["TopicArn"], 0)
	if to, ok := d.sink(s, p["Endpoint"]); ok && known && d.text(s, p["Protocol"]) == "sqs" {
		forward := Forward{Type: "topic", From: topic.name(), To: to, RawDelivery: d.truth(s, p["RawMessageDelivery"])}
		if policy := p["FilterPolicy"]; policy != nil {
			forward.Filter = d.json(s, policy)
			forward.FilterScope = cmp.Or(d.text(s, p["FilterPolicyScope"]), "MessageAttributes")
		}
		d.m.Forwards = append(d.m.Forwards, forward)
	}
	if d.text(s, p["Protocol"]) != "lambda" {
		return
	}
	f := d.function(s, p["Endpoint"])
	if f == nil {
		return
	}
	trigger := Trigger{Type: "topic", ID: d.pathOf(s, id), Function: f.ID, Stack: s.ID, Enabled: true, RawDelivery: d.truth(s, p["RawMessageDelivery"])}
	if policy := p["FilterPolicy"]; policy != nil {
		trigger.Filter = d.json(s, policy)
		trigger.FilterScope = cmp.Or(d.text(s, p["FilterPolicyScope"]), "MessageAttributes")
	}
	if known {
		trigger.ID, trigger.Source = d.pathOf(topic.stack, topic.id), topic.name()
	}
	d.m.Triggers = append(d.m.Triggers, trigger)
}

func (d *derivation) inlineSubscriptions(s *Stack, id string, r *Resource) {
	list, _ := r.Properties["Subscription"].([]any)
	for _, each := range list {
		p := object(each)
		if f := d.function(s, p["Endpoint"]); f != nil && d.text(s, p["Protocol"]) == "lambda" {
			d.m.Triggers = append(d.m.Triggers, Trigger{Type: "topic", ID: d.pathOf(s, id), Function: f.ID, Stack: s.ID,
				Source: s.ID + "/" + id, Enabled: true})
		}
	}
}

// notifications reads the two forms there are: the bucket's own property (one Event, Function) and the CDK's custom
// resource, which takes that of the S3 API (Events, LambdaFunctionArn).
func (d *derivation) notifications(s *Stack, id string, r *Resource, configuration map[string]any, bucket target) {
	for _, key := range []string{"LambdaConfigurations", "LambdaFunctionConfigurations", "QueueConfigurations", "TopicConfigurations"} {
		list, _ := configuration[key].([]any)
		for _, each := range list {
			p := object(each)
			var arn any
			for _, name := range []string{"LambdaFunctionArn", "Function", "QueueArn", "Queue", "TopicArn", "Topic"} {
				if arn = p[name]; arn != nil {
					break
				}
			}
			trigger := Trigger{Type: "bucket", ID: d.pathOf(bucket.stack, bucket.id), Stack: s.ID,
				Source: bucket.name(), Enabled: true, Events: d.texts(s, p["Events"])}
			to := ""
			if f := d.function(s, arn); f != nil {
				trigger.Function = f.ID
			} else if to, _ = d.sink(s, arn); to == "" {
				continue
			}
			if event := d.text(s, p["Event"]); event != "" {
				trigger.Events = []string{event}
			}
			filter := object(p["Filter"])
			rules := object(filter["Key"])["FilterRules"]
			if rules == nil {
				rules = object(filter["S3Key"])["Rules"]
			}
			for _, rule := range slice(rules) {
				switch value := d.text(s, object(rule)["Value"]); strings.ToLower(d.text(s, object(rule)["Name"])) {
				case "prefix":
					trigger.Prefix = value
				case "suffix":
					trigger.Suffix = value
				}
			}
			if to != "" {
				d.m.Forwards = append(d.m.Forwards, Forward{Type: "bucket", From: trigger.Source, To: to, Events: trigger.Events, Prefix: trigger.Prefix, Suffix: trigger.Suffix})
				continue
			}
			d.m.Triggers = append(d.m.Triggers, trigger)
		}
	}
}

func object(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}

func slice(value any) []any {
	list, _ := value.([]any)
	return list
}

// text is a value as a string, "" when it is not there or has no value outside AWS.
func (d *derivation) text(s *Stack, value any) string {
	if value == nil {
		return ""
	}
	got, err := d.resolver.Resolve(s, value)
	if err != nil {
		return ""
	}
	text, err := scalar(got)
	if err != nil {
		return ""
	}
	return text
}

func (d *derivation) texts(s *Stack, value any) []string {
	var all []string
	for _, each := range slice(value) {
		all = append(all, d.text(s, each))
	}
	return all
}

func (d *derivation) number(s *Stack, value any) int {
	n, _ := strconv.Atoi(d.text(s, value)) // a count that is not a number is as good as none
	return n
}

func (d *derivation) truth(s *Stack, value any) bool { return d.text(s, value) == "true" }

// json is a value as JSON text with all that can be resolved in its place.
func (d *derivation) json(s *Stack, value any) string {
	got, err := d.resolver.Resolve(s, value)
	if err != nil {
		got = value
	}
	data, err := json.Marshal(got)
	if err != nil {
		return ""
	}
	return string(data)
}
