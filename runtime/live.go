package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"sst/cfn"
	"sst/proxy"
	"sst/runtime/bundle"
)

// This file is live mode: the functions are in AWS, where each is a stub, and their invocations come over a relay there.
// There are no fronts and no sandboxes here; all else is as in a local run.

// Link says how the relay in AWS is reached.
type Link struct {
	URL      string // wss://
	Sign     *proxy.Signer
	Payloads proxy.Payloads
	Key      ed25519.PrivateKey // the stage's
	Name     string             // shown to other developers
	TakeOver bool
	Instance string                   // of this run; "" makes one
	Former   string                   // of the run before in this folder, which is gone; "": none
	Only     []string                 // functions to run; nil: all
	State    func(proxy.State, error) // called in order, must not block
	Notice   func(proxy.Notice)       // likewise
}

// Connect registers the server of a live run as the stage's developer's end: from then on it is asked to run the stage's
// invocations, also over reconnects. It is called once, after the first Update.
func (s *Server) Connect(ctx context.Context, link Link) error {
	if !s.opts.Live {
		return errors.New("a local run has its own relay")
	}
	conn, err := proxy.Dial(ctx, proxy.DialOptions{
		URL: link.URL, Sign: link.Sign, Payloads: link.Payloads, Key: link.Key, Name: link.Name, TakeOver: link.TakeOver, Instance: link.Instance, Former: link.Former, Only: link.Only, OnNotice: link.Notice, Handler: s.runner,
		Logger: s.log, Audit: s.log, OnState: link.State,
	})
	if err != nil {
		return err
	}
	return s.do(ctx, func() error {
		s.conn = conn
		return nil
	})
}

// liveApp is what a manifest says of the functions that run here. Those that are not live run in AWS.
func liveApp(m *cfn.Manifest) *app {
	a := &app{functions: map[string]*function{}, names: map[string]*function{}}
	for _, f := range m.Functions {
		if !f.Live {
			continue
		}
		fn := &function{Function: f, key: f.Bundle.Key()}
		a.functions[f.ID], a.names[f.Name] = fn, fn
		a.ordered = append(a.ordered, fn)
	}
	return a
}

// liveEnv is the environment of a sandbox in AWS as the function would have it there without the stub.
func liveEnv(fn *function, sandbox map[string]string) map[string]string {
	env := maps.Clone(sandbox)
	env["IS_LOCAL"] = "true"
	if fn.Bundle.Kind == bundle.Go || fn.Bundle.Kind == bundle.Custom {
		delete(env, "AWS_EXECUTION_ENV")
	} else {
		env["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + fn.Runtime
	}
	return env
}

// report tells of an invocation that no front of ours knows about.
func (r *runner) report(c *call, inv *proxy.Invocation, got answer, began time.Time) {
	now := time.Now()
	event := Finished{RequestID: c.id, Function: c.function, Trigger: c.trigger, Time: now, Duration: now.Sub(began)}
	c.mu.Lock()
	event.Running = c.running
	c.mu.Unlock()
	request := requested(inv.Event)
	switch {
	case got.errorType != "":
		event.Error = functionError(got.errorType, got.body)
		if request {
			event.Status = http.StatusBadGateway
		}
	case got.passed:
		if request {
			event.Status = http.StatusOK
		}
	default:
		event.Result = got.body
		if request {
			var result struct{ StatusCode int }
			if event.Status = http.StatusOK; json.Unmarshal(got.body, &result) == nil && result.StatusCode > 0 {
				event.Status = result.StatusCode
			}
		}
	}
	r.emit(event)
}

// makeRoom waits until one worker more may run: the one that was idle longest goes first. Without a bound there is room.
func (r *runner) makeRoom(ctx context.Context) bool {
	for {
		r.mu.Lock()
		if r.max == 0 || r.workers < r.max {
			r.workers++
			r.mu.Unlock()
			return true
		}
		seats := slices.SortedFunc(maps.Values(r.seats), func(a, b *seat) int { return a.used.Compare(b.used) })
		freed := r.freed
		r.mu.Unlock()
		for _, s := range seats {
			if s.vacate() {
				break
			}
		}
		select {
		case <-freed:
		case <-time.After(100 * time.Millisecond): // one of them became idle meanwhile
		case <-ctx.Done():
			return false
		}
	}
}

// left says that a worker is gone.
func (r *runner) left() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers--
	close(r.freed)
	r.freed = make(chan struct{})
}

// vacate ends the worker of an idle seat; false when there is none or it is at work.
func (s *seat) vacate() bool {
	select {
	case s.turn <- struct{}{}:
	default:
		return false
	}
	defer func() { <-s.turn }()
	w := s.worker
	if w == nil || s.debug.debugged() {
		return false
	}
	s.worker = nil
	go w.stop()
	return true
}

// reap forgets the sandboxes in AWS that have been idle for that long. One that comes back has a worker started for it.
func (r *runner) reap(idle time.Duration) {
	r.mu.Lock()
	var old []string
	for id, s := range r.seats {
		if time.Since(s.used) > idle && len(s.turn) == 0 && !s.debug.debugged() {
			old = append(old, id)
		}
	}
	r.mu.Unlock()
	for _, id := range old {
		r.drop(id)
	}
}

// occasion is what events say of where they come from.
type occasion struct {
	HTTPMethod     string `json:"httpMethod"`
	Path           string `json:"path"`
	RawPath        string `json:"rawPath"`
	RequestContext struct {
		HTTP struct {
			Method, Path string
		} `json:"http"`
		ELB          json.RawMessage `json:"elb"`
		EventType    string          `json:"eventType"`
		RouteKey     string          `json:"routeKey"`
		ConnectionID string          `json:"connectionId"`
	} `json:"requestContext"`
	Records []struct {
		EventSource    string `json:"eventSource"`
		EventSourceARN string `json:"eventSourceARN"`
		EventName      string `json:"eventName"`
		SNS            struct{ TopicArn string }
		S3             struct {
			Bucket struct{ Name string }
			Object struct{ Key string }
		}
	} `json:"Records"`
	Source        string          `json:"source"`
	DetailType    string          `json:"detail-type"`
	Resources     []string        `json:"resources"`
	TriggerSource string          `json:"triggerSource"`
	RequestType   string          `json:"RequestType"`
	ResponseURL   string          `json:"ResponseURL"`
	Type          string          `json:"type"`
	MethodArn     string          `json:"methodArn"`
	RouteArn      string          `json:"routeArn"`
	Info          json.RawMessage `json:"info"`
}

func (o *occasion) method() string {
	if o.RequestContext.HTTP.Method != "" {
		return o.RequestContext.HTTP.Method
	}
	return o.HTTPMethod
}

// maxOccasion is how much of an event is read for a line on the terminal.
const maxOccasion = 256 << 10

func readOccasion(event []byte) (o occasion) {
	if len(event) <= maxOccasion && bytes.HasPrefix(bytes.TrimSpace(event), []byte("{")) {
		json.Unmarshal(event, &o) // fields of another shape stay empty, and the words are plainer
	}
	return o
}

// requested says whether an event is an HTTP request.
func requested(event []byte) bool {
	o := readOccasion(event)
	return o.method() != "" && o.MethodArn == "" && o.RouteArn == ""
}

// describe says in words what an event comes from.
func describe(event []byte) string {
	o := readOccasion(event)
	switch {
	case o.MethodArn != "" || o.RouteArn != "":
		parts := strings.SplitN(o.MethodArn+o.RouteArn, "/", 3) // api, stage, method and path
		return "authorizer of " + strings.Replace(parts[len(parts)-1], "/", " /", 1)
	case o.RequestContext.ConnectionID != "":
		return "WebSocket " + o.RequestContext.RouteKey
	case o.method() != "":
		for _, path := range []string{o.RawPath, o.Path, o.RequestContext.HTTP.Path} {
			if path != "" {
				return o.method() + " " + path
			}
		}
		return o.method() + " /"
	case len(o.Records) > 0:
		return o.records()
	case o.TriggerSource != "":
		return "Cognito " + o.TriggerSource
	case o.ResponseURL != "" && o.RequestType != "":
		return "custom resource " + o.RequestType
	case o.DetailType == "Scheduled Event":
		return "schedule " + lastPart(strings.Join(o.Resources, ""))
	case o.DetailType != "":
		return fmt.Sprintf("event %s of %s", o.DetailType, o.Source)
	}
	return "Invoke"
}

func (o *occasion) records() string {
	first := o.Records[0]
	text := ""
	switch first.EventSource {
	case "aws:sqs":
		text = "queue " + lastPart(first.EventSourceARN)
	case "aws:s3":
		return fmt.Sprintf("bucket %s/%s %s", first.S3.Bucket.Name, first.S3.Object.Key, first.EventName)
	case "aws:dynamodb":
		_, table, _ := strings.Cut(first.EventSourceARN, ":table/")
		table, _, _ = strings.Cut(table, "/")
		text = "table " + table
	case "aws:kinesis":
		text = "stream " + lastPart(first.EventSourceARN)
	default:
		if first.SNS.TopicArn != "" {
			text = "topic " + lastPart(first.SNS.TopicArn)
			break
		}
		return "Invoke"
	}
	if n := len(o.Records); n > 1 {
		text += fmt.Sprintf(" (%d records)", n)
	}
	return text
}

// lastPart of an ARN is what people call the thing.
func lastPart(arn string) string {
	return arn[strings.LastIndexAny(arn, ":/")+1:]
}
