package runtime

// The sources of events of a local app: its queues, topics, buses, buckets, tables and streams, with what consumes them.
// Messages get in by `sst invoke` (front_deliver.go); what a function answers decides whether they come again, go to a
// queue for dead letters, or are done.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sst/cfn"
	"sst/proxy"
	"sst/runtime/cloud"
	"sst/runtime/queues"
)

// network is owned by the goroutine that Update runs on, but for what mu guards.
type network struct {
	server  *Server
	stop    context.CancelFunc
	running sync.WaitGroup // mappings and shards, also those of apps before

	mu     sync.Mutex // guards what follows
	queues map[string]*queue
	shards map[string]*shard
	wiring wiring
}

// wiring is what the present app says.
type wiring struct {
	sources  map[string]cfn.Source // by name
	arns     map[string]string
	triggers []cfn.Trigger
	forwards []cfn.Forward
	async    map[string]cfn.Async // by function
	region   string
}

type queue struct {
	source    cfn.Source
	retention time.Duration
	*queues.Queue
}

type shard struct {
	trigger cfn.Trigger
	*queues.Shard
}

// item is what goes along with a message.
type item struct {
	report *report
}

// report follows what one `sst invoke` brought about. A nil one follows nothing.
type report struct {
	lines chan string // buffered; what does not fit is left out

	mu      sync.Mutex // guards what follows
	pending int
	failed  bool
	done    chan struct{} // closed when nothing is pending any more
}

func newReport() *report { return &report{lines: make(chan string, 100), done: make(chan struct{})} }

func (r *report) begin() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending++
}

func (r *report) end(failed bool) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || failed
	if r.pending--; r.pending == 0 {
		close(r.done) // nothing begins once nothing is pending: what follows begins before what it follows ends
	}
}

// say tells the console, and who waits for the report.
func (n *network) say(r *report, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.server.events.send(Notice{Text: text})
	if r != nil {
		select {
		case r.lines <- text:
		default:
		}
	}
}

// rewire makes the network that of an app. Messages stay in their queues. It runs on the owner goroutine.
func (n *network) rewire(a *app, asm *cfn.Assembly, resolver *cfn.Resolver) {
	if n.stop != nil {
		n.stop()
	}
	m := asm.Manifest
	w := wiring{sources: map[string]cfn.Source{}, arns: map[string]string{}, triggers: m.Triggers, forwards: m.Forwards, async: map[string]cfn.Async{}, region: a.region}
	for _, source := range m.Sources {
		w.sources[source.Name()] = source
		w.arns[source.Name()] = resolver.ARN(source.Name())
	}
	for _, said := range m.Async {
		w.async[said.Function] = said
	}
	retention := map[string]time.Duration{}                              // of queues
	if found, err := resolver.Resources("AWS::SQS::Queue"); err == nil { // one that cannot be resolved is told by the cloud
		for _, r := range found {
			seconds, _ := strconv.Atoi(fmt.Sprint(r.Properties["MessageRetentionPeriod"]))
			retention[r.Stack+"/"+r.LogicalID] = time.Duration(seconds) * time.Second
		}
	}
	ctx, stop := context.WithCancel(n.server.ctx)
	n.stop = stop
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wiring = w
	for name, source := range w.sources {
		if source.Type == "queue" && (n.queues[name] == nil || n.queues[name].retention != retention[name] || !reflect.DeepEqual(n.queues[name].source, source)) {
			n.queues[name] = n.newQueue(source, retention[name])
		}
	}
	shards := map[string]*shard{}
	for _, t := range m.Triggers {
		if a.functions[t.Function] == nil || !t.Enabled {
			continue
		}
		switch q := n.queues[t.Source]; {
		case t.Type == "queue" && q != nil:
			mapping := n.newMapping(t, q)
			n.running.Go(func() { mapping.Run(ctx) })
		case t.Type == "stream" && t.Source != "":
			key := t.Source + "\n" + t.Function
			sh := n.shards[key]
			if sh == nil || !sameTrigger(sh.trigger, t) {
				sh = &shard{t, n.newShard(t, w.sources[t.Source].Type)}
			}
			shards[key] = sh
			n.running.Go(func() { sh.Run(ctx) })
		}
	}
	n.shards = shards
}

func sameTrigger(a, b cfn.Trigger) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// localAgain is how long something that failed waits here, where nobody wants to wait as long as on AWS.
func localAgain(tried int, limit time.Duration) time.Duration {
	return min(limit, time.Second<<min(max(tried-1, 0), 10))
}

func visibility(s cfn.Source) time.Duration {
	if s.Visibility == 0 {
		return 30 * time.Second
	}
	return time.Duration(s.Visibility) * time.Second
}

func (n *network) newQueue(source cfn.Source, retention time.Duration) *queue {
	return &queue{source, retention, queues.NewQueue(queues.QueueOptions{
		Journal: n.server.cloud.Journal(source.Name()),
		Failed:  func(err error) { n.say(nil, "%s: %v", source.ID, err) },
		FIFO:    source.Fifo, Visibility: visibility(source), Retention: retention, MaxReceive: source.MaxReceive,
		DeadLetter: func(m queues.Message) { n.bury(source, m) },
		Expired: func(m queues.Message) {
			r := reportOf(m)
			n.say(r, "%s: message %s was never deleted and is gone", source.ID, short(m.ID))
			r.end(true)
		},
	})}
}

func reportOf(m queues.Message) *report {
	if it, ok := m.Value.(*item); ok {
		return it.report
	}
	return nil
}

func short(id string) string { return id[:min(8, len(id))] }

// bury moves a message that was received too often.
func (n *network) bury(source cfn.Source, m queues.Message) {
	r := reportOf(m)
	times := fmt.Sprintf("%d times", m.Received)
	if m.Received == 1 {
		times = "once"
	}
	n.mu.Lock()
	dead := n.queues[source.DeadLetter]
	n.mu.Unlock()
	if dead == nil {
		n.say(r, "%s: message %s was received %s; its queue for dead letters is not in the app", source.ID, short(m.ID), times)
		r.end(true)
		return
	}
	n.say(r, "%s: message %s was received %s and goes to %s", source.ID, short(m.ID), times, dead.source.ID)
	if r != nil {
		r.mu.Lock()
		r.failed = true
		r.mu.Unlock()
	}
	n.enqueue(dead, m, 0)
	r.end(true)
}

// enqueue puts a message into a queue.
func (n *network) enqueue(q *queue, m queues.Message, delay time.Duration) {
	r := reportOf(m)
	r.begin()
	if q.source.Fifo && m.Group == "" {
		m.Group = "local"
	}
	_, taken, err := q.Send(m, delay)
	if err != nil {
		n.say(r, "%s: message %s cannot be kept: %v", q.source.ID, short(m.ID), err)
		r.end(true)
		return
	}
	if !taken {
		n.say(r, "%s: message %s was sent before and is not taken again", q.source.ID, short(m.ID))
		r.end(false)
		return
	}
	n.mu.Lock()
	consumed := slices.ContainsFunc(n.wiring.triggers, func(t cfn.Trigger) bool {
		return t.Type == "queue" && t.Source == q.source.Name() && t.Enabled && n.server.app.Load().functions[t.Function] != nil
	})
	n.mu.Unlock()
	if !consumed {
		n.say(r, "%s: message %s stays there, for no function consumes it", q.source.ID, short(m.ID))
		r.end(false)
	}
}

// function finds the function of a trigger in the present app.
func (n *network) function(t cfn.Trigger) (*function, error) {
	fn, ok := n.server.app.Load().functions[t.Function]
	if !ok {
		return nil, fmt.Errorf("%s is not in the app any more", t.Function)
	}
	return fn, nil
}

// call invokes a function with an event and gives its answer.
func (n *network) call(t cfn.Trigger, event any) ([]byte, error) {
	fn, err := n.function(t)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	got, err := n.server.invoke(n.server.ctx, request{fn: fn, event: data, trigger: t.Type + " " + t.ID}, nil)
	switch {
	case err != nil:
		return nil, err
	case got.FunctionError:
		return nil, errors.New(functionError(got.ErrorType, got.Body).Message)
	}
	return got.Body, nil
}

// from is what the events of a source are made of.
func (n *network) from(source string, m queues.Message) sample {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := sample{body: m.Body, region: n.wiring.region, now: m.Sent, from: n.wiring.arns[source], id: m.ID, received: m.Received, first: m.First,
		group: m.Group, sequence: m.Sequence, attributes: m.Attributes, subject: m.Subject, dedup: m.Dedup, keys: n.wiring.sources[source].Keys}
	if n.wiring.sources[source].Type == "table" && s.from != "" {
		s.from += "/stream/2020-01-01T00:00:00.000"
	}
	return s
}

// criteria reads the filter of an event source mapping; nil wants everything.
func (n *network) criteria(t cfn.Trigger) []queues.Pattern {
	var shape struct{ Filters []struct{ Pattern string } }
	if t.Filter == "" || json.Unmarshal([]byte(t.Filter), &shape) != nil {
		return nil
	}
	var all []queues.Pattern
	for _, f := range shape.Filters {
		p, err := queues.ParsePattern(f.Pattern)
		if err != nil {
			n.say(nil, "%s: the filter of %s: %v", t.ID, t.Function, err)
			continue
		}
		all = append(all, p)
	}
	return all
}

// wanted makes the filter of a mapping; the field that holds the data is compared as JSON when it is that.
func (n *network) wanted(t cfn.Trigger, record func(queues.Message) fields, open func(fields, []byte)) func(queues.Message) bool {
	patterns := n.criteria(t)
	if patterns == nil {
		return nil
	}
	return func(m queues.Message) bool {
		rec := record(m)
		if json.Valid(m.Body) {
			open(rec, m.Body)
		}
		data, err := json.Marshal(rec)
		if err == nil && slices.ContainsFunc(patterns, func(p queues.Pattern) bool { return p.MatchesJSON(data) }) {
			return true
		}
		n.say(reportOf(m), "%s: message %s is left out by the filter of %s", t.ID, short(m.ID), t.Function)
		return false
	}
}

func (n *network) newMapping(t cfn.Trigger, q *queue) *queues.Mapping {
	limit := visibility(q.source)
	record := func(m queues.Message) fields { return n.from(t.Source, m).sqsRecord() }
	return &queues.Mapping{
		Queue: q.Queue, Batch: t.BatchSize, Window: time.Duration(t.Window) * time.Second,
		Wanted: n.wanted(t, record, func(rec fields, body []byte) { rec["body"] = json.RawMessage(body) }),
		Again:  func(received int) time.Duration { return localAgain(received, limit) },
		Done:   func(m queues.Message) { reportOf(m).end(false) },
		Hold:   func() bool { return n.server.debug.of(t.Function).debugged() },
		Invoke: func(_ context.Context, batch []queues.Message) ([]string, error) {
			list := make([]fields, len(batch))
			for i, m := range batch {
				list[i] = record(m)
			}
			answer, err := n.call(t, records(list...))
			var failed []string
			if err == nil && t.Partial {
				failed, err = queues.ItemFailures(answer, batch, func(m queues.Message) string { return m.ID })
			}
			for _, m := range batch {
				if err != nil || slices.Contains(failed, m.ID) {
					n.say(reportOf(m), "%s: message %s failed, received %s%s", q.source.ID, short(m.ID), times(m.Received, q.source.MaxReceive), again(localAgain(m.Received, limit), limit))
				}
			}
			return failed, err
		},
	}
}

func times(received, limit int) string {
	if limit > 0 {
		return fmt.Sprintf("%d of %d times", received, limit)
	}
	return fmt.Sprintf("%d times", received)
}

func again(here, there time.Duration) string {
	if here == there {
		return fmt.Sprintf("; again in %v", here)
	}
	return fmt.Sprintf("; again in %v (on AWS after %v)", here, there)
}

func (n *network) newShard(t cfn.Trigger, kind string) *queues.Shard {
	record := func(m queues.Message) fields { return n.from(t.Source, m).dynamoRecord() }
	number := func(rec fields) string { return fmt.Sprint(rec["dynamodb"].(fields)["SequenceNumber"]) }
	open := func(fields, []byte) {}
	if kind == "stream" {
		record = func(m queues.Message) fields { return n.from(t.Source, m).kinesisRecord() }
		number = func(rec fields) string { return fmt.Sprint(rec["kinesis"].(fields)["sequenceNumber"]) }
		open = func(rec fields, body []byte) {
			data := maps.Clone(rec["kinesis"].(fields))
			data["data"] = json.RawMessage(body)
			rec["data"], rec["kinesis"] = json.RawMessage(body), data
		}
	}
	retries := -1
	if t.Retries != nil {
		retries = *t.Retries
	}
	const longest = 30 * time.Second
	var log queues.Log
	switch table := n.server.tableOf(t.Source); {
	case kind == "stream":
		log = streamLog{server: n.server, trigger: t}
	case table != "":
		log = streamLog{n.server, t, table}
	}
	return &queues.Shard{
		Log: log, Failed: func(err error) { n.say(nil, "%s: %v", t.ID, err) },
		Batch: t.BatchSize, Window: time.Duration(t.Window) * time.Second, Retries: retries, Bisect: t.Bisect,
		Wanted: n.wanted(t, record, open),
		Again:  func(tried int) time.Duration { return localAgain(tried, longest) },
		Done:   func(m queues.Message) { reportOf(m).end(false) },
		Discarded: func(batch []queues.Message) {
			for _, m := range batch {
				n.say(reportOf(m), "%s: record %s is given up after %d times", t.ID, short(m.ID), m.Received)
				if r := reportOf(m); r != nil {
					r.mu.Lock()
					r.failed = true
					r.mu.Unlock()
				}
			}
			if t.OnFailure != "" {
				body, _ := json.Marshal(fields{"requestContext": fields{"functionArn": t.Function, "condition": "RetryAttemptsExhausted", "approximateInvokeCount": batch[0].Received},
					"version": "1.0", "timestamp": time.Now().UTC().Format(time.RFC3339), "batchSize": len(batch)})
				n.sendTo(t.OnFailure, queues.Message{ID: newID(), Body: body, Value: &item{report: reportOf(batch[0])}})
			}
		},
		Invoke: func(_ context.Context, batch []queues.Message) ([]string, error) {
			list := make([]fields, len(batch))
			for i, m := range batch {
				list[i] = record(m)
			}
			answer, err := n.call(t, records(list...))
			var failed []string
			if err == nil && t.Partial {
				failed, err = queues.ItemFailures(answer, batch, func(m queues.Message) string { return number(record(m)) })
			}
			if err != nil || len(failed) > 0 {
				last := batch[len(batch)-1]
				limit := 0
				if retries >= 0 {
					limit = retries + 1
				}
				n.say(reportOf(last), "%s: a batch of %d failed, tried %s; the records behind it wait", t.ID, len(batch), times(last.Received, limit))
			}
			return failed, err
		},
	}
}

// sendTo brings a message to a queue or topic by its name.
func (n *network) sendTo(name string, m queues.Message) {
	n.mu.Lock()
	q, source := n.queues[name], n.wiring.sources[name]
	n.mu.Unlock()
	if q != nil {
		n.enqueue(q, m, time.Duration(q.source.Delay)*time.Second)
	} else if source.Type == "topic" {
		n.publish(source, m)
	}
}

// deliver takes a message for a source of the app.
func (n *network) deliver(source cfn.Source, m queues.Message) {
	r := reportOf(m)
	r.begin() // until it is passed on
	defer r.end(false)
	switch source.Type {
	case "queue":
		n.sendTo(source.Name(), m)
	case "table", "stream":
		n.mu.Lock()
		var to []*shard
		for _, sh := range n.shards {
			if sh.trigger.Source == source.Name() {
				to = append(to, sh)
			}
		}
		n.mu.Unlock()
		for _, sh := range to {
			r.begin()
			sh.Put(m)
		}
		if len(to) == 0 && r != nil {
			n.say(r, "%s: no function consumes it", source.ID)
		}
	default:
		n.publish(source, m)
	}
}

// publish brings a message of a topic, an event of a bus or the change of a bucket to all who want it.
func (n *network) publish(source cfn.Source, m queues.Message) {
	n.mu.Lock()
	w := n.wiring
	n.mu.Unlock()
	r := reportOf(m)
	m.Sent = time.Now()
	s := n.from(source.Name(), m)
	s.now = m.Sent
	var event any
	kind := source.Type
	switch kind {
	case "topic":
		event = s.sns()
	case "bus":
		s.from, kind = "", "event"
		event = s.eventBridge()
	default:
		event = s.s3()
	}
	data, err := json.Marshal(event)
	if err != nil {
		n.say(r, "%s: %v", source.ID, err)
		return
	}
	found, left := 0, 0
	for _, t := range w.triggers {
		fn := n.server.app.Load().functions[t.Function]
		if t.Type != kind || !comesFrom(t.Source, source) || !t.Enabled || fn == nil {
			continue
		}
		if !n.passes(way{t.Filter, t.FilterScope, t.Events, t.Prefix, t.Suffix}, t.ID, kind, s, data) {
			left++
			continue
		}
		found++
		payload := data
		if t.Input != "" {
			payload = []byte(t.Input)
		}
		r.begin()
		if !n.server.later(request{fn: fn, event: payload, trigger: kind + " " + source.ID, report: r}) {
			r.end(true)
		}
	}
	for _, f := range w.forwards {
		if f.Type != source.Type || !comesFrom(f.From, source) {
			continue
		}
		if !n.passes(way{f.Filter, f.FilterScope, f.Events, f.Prefix, f.Suffix}, source.ID, kind, s, data) {
			left++
			continue
		}
		found++
		next := queues.Message{ID: newID(), Group: m.Group, Dedup: m.Dedup, Body: data, Value: &item{report: r}}
		switch {
		case f.Input != "":
			next.Body = []byte(f.Input)
		case kind == "topic" && f.RawDelivery:
			next.Body, next.Attributes = m.Body, m.Attributes
		case kind == "topic":
			next.Body, _ = json.Marshal(s.notification(s.arn("sns", "local")))
		}
		n.sendTo(f.To, next)
	}
	switch {
	case r == nil: // code that publishes does not ask who listens
	case found == 0 && left > 0:
		n.say(r, "%s: the filters of its consumers leave this one out", source.ID)
	case found == 0:
		n.say(r, "%s: nothing consumes it", source.ID)
	}
}

// comesFrom says whether a source is the one that is named; "" names the default bus.
func comesFrom(name string, source cfn.Source) bool {
	return name == source.Name() || name == "" && source.Type == "bus" && source.LogicalID == ""
}

// way is what a consumer says it wants.
type way struct {
	filter, scope  string
	events         []string
	prefix, suffix string
}

func (n *network) passes(w way, id, kind string, s sample, event []byte) bool {
	if kind == "bucket" {
		var shape struct {
			Records []struct {
				Name string `json:"eventName"`
				S3   struct{ Object struct{ Key string } }
			}
		}
		if json.Unmarshal(event, &shape) != nil || len(shape.Records) != 1 {
			return false
		}
		key, err := url.QueryUnescape(shape.Records[0].S3.Object.Key)
		if err != nil {
			return false
		}
		return strings.HasPrefix(key, w.prefix) && strings.HasSuffix(key, w.suffix) &&
			slices.ContainsFunc(w.events, func(name string) bool { return cloud.Like(strings.TrimPrefix(name, "s3:"), shape.Records[0].Name) })
	}
	if w.filter == "" {
		return true
	}
	p, err := queues.ParsePattern(w.filter)
	if err != nil {
		n.say(nil, "%s: %v", id, err)
		return false
	}
	switch {
	case kind == "event":
		return p.MatchesJSON(event)
	case w.scope == "MessageBody":
		return p.MatchesJSON(s.body)
	}
	named := map[string]any{}
	for name, value := range s.attributes {
		switch value.Kind {
		case "Number":
			named[name] = json.Number(value.Text)
		case "String.Array":
			var list any
			if json.Unmarshal([]byte(value.Text), &list) == nil {
				named[name] = list
			}
		default:
			named[name] = value.Text
		}
	}
	return p.Matches(named)
}

// gaveUp tells of an asynchronous invocation that failed to the end, and brings its event to where the template says.
func (n *network) gaveUp(req request, got *proxy.Response, err error, tries int) {
	n.mu.Lock()
	said := n.wiring.async[req.fn.ID]
	dead, report := n.wiring.sources[said.DeadLetter], n.wiring.sources[said.OnFailure]
	n.mu.Unlock()
	failure := &FunctionError{Type: "SST.NotRun"}
	if err != nil {
		failure.Message = err.Error()
	} else {
		failure = functionError(got.ErrorType, got.Body)
	}
	where := "there is no queue for it"
	if dead.ID != "" {
		where = "its event goes to " + dead.ID
	} else if report.ID != "" {
		where = "a report goes to " + report.ID
	}
	n.say(req.report, "%s: failed %d times; %s", req.fn.ID, tries, where)
	if dead.ID != "" {
		n.sendTo(dead.Name(), queues.Message{ID: newID(), Body: req.event, Value: &item{report: req.report}, Attributes: map[string]queues.Attribute{
			"RequestID": {Kind: "String", Text: req.id}, "ErrorCode": {Kind: "Number", Text: "200"}, "ErrorMessage": {Kind: "String", Text: failure.Message[:min(1024, len(failure.Message))]}}})
	}
	if report.ID != "" {
		var payload, answer any = json.RawMessage(req.event), nil
		if got != nil && json.Valid(got.Body) {
			answer = json.RawMessage(got.Body)
		}
		body, _ := json.Marshal(fields{"version": "1.0", "timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
			"requestContext": fields{"requestId": req.id, "functionArn": req.fn.arn + ":$LATEST", "condition": "RetriesExhausted", "approximateInvokeCount": tries},
			"requestPayload": payload, "responseContext": fields{"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}, "responsePayload": answer})
		n.sendTo(report.Name(), queues.Message{ID: newID(), Body: body, Value: &item{report: req.report}})
	}
}

// retries is how often an asynchronous invocation of a function is tried again.
func (n *network) retries(function string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if said := n.wiring.async[function]; said.Retries != nil {
		return min(*said.Retries, len(retryAfter))
	}
	return len(retryAfter)
}
