package cfn

// What events come from and where those go that no function takes.

import "slices"

var sourceTypes = map[string]string{
	"AWS::SQS::Queue":            "queue",
	"AWS::SNS::Topic":            "topic",
	"AWS::Events::EventBus":      "bus",
	"AWS::S3::Bucket":            "bucket",
	"AWS::DynamoDB::Table":       "table",
	"AWS::DynamoDB::GlobalTable": "table",
	"AWS::Kinesis::Stream":       "stream",
}

// source lists a resource that events come from.
func (d *derivation) source(s *Stack, id string, r *Resource) {
	kind, ok := sourceTypes[r.Type]
	if !ok {
		return
	}
	p := r.Properties
	source := Source{Type: kind, ID: d.pathOf(s, id), Stack: s.ID, LogicalID: id, Fifo: d.truth(s, p["FifoQueue"]) || d.truth(s, p["FifoTopic"])}
	if kind == "queue" {
		source.Visibility, source.Delay = d.number(s, p["VisibilityTimeout"]), d.number(s, p["DelaySeconds"])
		if redrive := object(p["RedrivePolicy"]); redrive != nil {
			source.MaxReceive = d.number(s, redrive["maxReceiveCount"])
			source.DeadLetter, _ = d.sink(s, redrive["deadLetterTargetArn"])
		}
	}
	if kind == "table" {
		for _, key := range slice(p["KeySchema"]) {
			if name, ok := object(key)["AttributeName"].(string); ok {
				source.Keys = append(source.Keys, name)
			}
		}
	}
	d.m.Sources = append(d.m.Sources, source)
}

// sink finds the queue or topic of the app that a value leads to.
func (d *derivation) sink(s *Stack, value any) (string, bool) {
	t, ok := d.follow(s, value, 0)
	if !ok || t.resource.Type != "AWS::SQS::Queue" && t.resource.Type != "AWS::SNS::Topic" {
		return "", false
	}
	return t.name(), true
}

// async reads what a function or its EventInvokeConfig says of asynchronous invocations.
func (d *derivation) async(s *Stack, id string, r *Resource) {
	p := r.Properties
	var f *Function
	if r.Type == typeFunction {
		f = d.m.functionOf(s, id)
	} else {
		f = d.function(s, p["FunctionName"])
	}
	if f == nil {
		return
	}
	said := Async{Function: f.ID}
	said.DeadLetter, _ = d.sink(s, object(p["DeadLetterConfig"])["TargetArn"])
	said.OnFailure, _ = d.sink(s, object(object(p["DestinationConfig"])["OnFailure"])["Destination"])
	if p["MaximumRetryAttempts"] != nil {
		n := d.number(s, p["MaximumRetryAttempts"])
		said.Retries = &n
	}
	if said == (Async{Function: f.ID}) {
		return
	}
	if i := slices.IndexFunc(d.m.Async, func(a Async) bool { return a.Function == f.ID }); i >= 0 {
		other := d.m.Async[i]
		if said.DeadLetter == "" {
			said.DeadLetter = other.DeadLetter
		}
		if said.Retries == nil {
			said.Retries = other.Retries
		}
		if said.OnFailure == "" {
			said.OnFailure = other.OnFailure
		}
		d.m.Async[i] = said
		return
	}
	d.m.Async = append(d.m.Async, said)
}

// ARN gives the ARN that a local run has for a source ("<stack>/<logical id>"), "" when there is none.
func (r *Resolver) ARN(source string) string {
	if r.index() != nil {
		return ""
	}
	for _, top := range r.asm.Stacks {
		all, err := top.withNested()
		if err != nil {
			return ""
		}
		for _, s := range all {
			t, err := s.Template()
			if err != nil {
				return ""
			}
			for id, resource := range t.Resources {
				if s.ID+"/"+id != source {
					continue
				}
				attribute := "Arn"
				if resource.Type == "AWS::SNS::Topic" {
					attribute = "TopicArn"
				}
				e := evaluation{Resolver: r}
				if arn, err := e.resource(s, nil, id, resource, attribute); err == nil {
					text, _ := arn.(string)
					return text
				}
			}
		}
	}
	return ""
}
