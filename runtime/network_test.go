package runtime

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sst/cfn"
)

const consumers = `
const fail = new Set(["bad"]);
const show = (event) => console.log("got", event.Records.map((r) => r.body ?? r.Sns?.Message ?? r.s3?.object.key ?? (r.kinesis ? atob(r.kinesis.data) : r.dynamodb.NewImage.id.S)).join(","));
export const partial = async (event) => {
  show(event);
  return { batchItemFailures: event.Records.filter((r) => fail.has(r.body)).map((r) => ({ itemIdentifier: r.messageId })) };
};
export const plain = async (event) => { show(event); };
export const throws = async (event) => { throw new Error("no stock"); };
export const dead = async (event) => { console.log("dead", event.Records[0].body, event.Records[0].messageAttributes.ErrorMessage?.stringValue); };
export const bus = async (event) => { console.log("event", event.source, JSON.stringify(event.detail)); };
`

// send brings a body to a source and gives what was said of it, and whether it failed.
func (p *project) send(source, body string, attributes map[string]string) (string, bool) {
	p.t.Helper()
	data, _ := json.Marshal(Delivery{Source: source, Body: body, Attributes: attributes})
	req, _ := http.NewRequest("POST", p.server.Lambda()+deliverPath, strings.NewReader(string(data)))
	req.Header.Set("Authorization", "Bearer "+p.server.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var text strings.Builder
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		var line DeliveryLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			p.t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		if line.Done {
			return text.String(), line.Failed
		}
		text.WriteString(line.Text + "\n")
	}
	p.t.Fatalf("%s: no end; %d %s", source, res.StatusCode, text.String())
	return "", false
}

func TestSources(t *testing.T) {
	short := retryAfter
	retryAfter = []time.Duration{time.Millisecond, time.Millisecond}
	t.Cleanup(func() { retryAfter = short })
	var functions []cfn.Function
	for _, name := range []string{"partial", "plain", "throws", "dead", "bus"} {
		functions = append(functions, nodeFunction("web/"+name, "src/c."+name))
	}
	p := newProject(t, map[string]string{"src/c.js": consumers}, functions)
	once := 1
	m := p.asm.Manifest
	source := func(kind, id string) cfn.Source {
		return cfn.Source{Type: kind, ID: "web/" + id, Stack: "web", LogicalID: id}
	}
	orders, fifo := source("queue", "Orders"), source("queue", "Fifo")
	orders.MaxReceive, orders.DeadLetter, orders.Visibility = 2, "web/Dead", 1
	fifo.Fifo = true
	m.Sources = []cfn.Source{orders, fifo, source("queue", "Dead"), source("queue", "Nobody"), source("topic", "Topic"), source("bus", "Bus"), source("bucket", "Files"),
		source("table", "Notes"), source("stream", "Clicks")}
	trigger := func(kind, id, fn string) cfn.Trigger {
		return cfn.Trigger{Type: kind, ID: "web/" + id, Source: "web/" + id, Function: "web/" + fn, Enabled: true, BatchSize: 10}
	}
	queue := trigger("queue", "Orders", "partial")
	queue.Partial = true
	small := trigger("topic", "Topic", "plain")
	small.Filter, small.FilterScope = `{"size":[{"numeric":["<",10]}]}`, "MessageAttributes"
	paid := trigger("event", "Bus", "bus")
	paid.Filter = `{"source":["shop"]}`
	files := trigger("bucket", "Files", "plain")
	files.Events, files.Suffix = []string{"s3:ObjectCreated:*"}, ".png"
	clicks := trigger("stream", "Clicks", "throws")
	clicks.Retries = &once
	notes := trigger("stream", "Notes", "plain")
	notes.Filter = `{"Filters":[{"Pattern":"{\"dynamodb\":{\"NewImage\":{\"id\":{\"S\":[\"n1\"]}}}}"}]}`
	m.Triggers = []cfn.Trigger{queue, trigger("queue", "Fifo", "plain"), trigger("queue", "Dead", "dead"), small, trigger("topic", "Topic", "throws"), paid, files, notes, clicks}
	m.Forwards = []cfn.Forward{{Type: "bus", From: "web/Bus", To: "web/Fifo", Filter: `{"source":["stock"]}`}}
	m.Async = []cfn.Async{{Function: "web/throws", DeadLetter: "web/Dead"}}
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	logged := func(line string) {
		t.Helper()
		await(p, line, func(e Logged) bool { return e.Line == line })
	}
	wants := func(said string, failed bool, wantFailed bool, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(said, w) || failed != wantFailed {
				t.Errorf("said %q, failed %v; want %q, failed %v", said, failed, w, wantFailed)
			}
		}
	}
	said, failed := p.send("web/Orders", "good", nil)
	wants(said, failed, false, "")
	logged("got good")
	said, failed = p.send("web/Orders", "bad", nil)
	wants(said, failed, true, "failed, received 1 of 2 times; again in 1s", "failed, received 2 of 2 times", "was received 2 times and goes to web/Dead")
	logged("dead bad undefined")
	said, failed = p.send("web/Nobody", "x", nil)
	wants(said, failed, false, "stays there, for no function consumes it")

	// One subscriber filters, the other fails to the end: its event goes to the queue that the function names.
	said, failed = p.send("web/Topic", "large", map[string]string{"size:Number": "12"})
	wants(said, failed, true, "web/throws: failed 3 times; its event goes to web/Dead")
	await(p, "the dead letter", func(e Logged) bool {
		return strings.HasPrefix(e.Line, "dead {") && strings.HasSuffix(e.Line, "no stock")
	})
	p.send("web/Topic", "small", map[string]string{"size:Number": "5"})
	logged("got small")

	said, failed = p.send("web/Bus", `{"source":"shop","detail-type":"paid","detail":{"n":1}}`, nil)
	wants(said, failed, false, "")
	logged(`event shop {"n":1}`)
	said, failed = p.send("web/Bus", `{"n":2}`, nil)
	wants(said, failed, false, "the filters of its consumers leave this one out")
	said, failed = p.send("web/Bus", `{"source":"stock","detail-type":"low"}`, nil)
	wants(said, failed, false, "")
	await(p, "the event in the queue", func(e Logged) bool {
		return strings.HasPrefix(e.Line, `got {"account"`) && strings.Contains(e.Line, `"source":"stock"`)
	})

	said, failed = p.send("web/Files", "a b.png", nil)
	wants(said, failed, false, "")
	logged("got a+b.png")
	said, failed = p.send("web/Files", `{"key":"a.png","eventName":"ObjectRemoved:Delete"}`, nil)
	wants(said, failed, false, "the filters of its consumers leave this one out")

	said, failed = p.send("web/Notes", `{"id":"n1"}`, nil)
	wants(said, failed, false, "")
	logged("got n1")
	said, failed = p.send("web/Notes", `{"id":"n2"}`, nil)
	wants(said, failed, false, "left out by the filter")
	said, failed = p.send("web/Clicks", "c", nil)
	wants(said, failed, true, "a batch of 1 failed, tried 1 of 2 times", "is given up after 2 times")

	res, err := http.Post(p.server.Lambda()+deliverPath, "application/json", strings.NewReader(`{"source":"web/Orders"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token = %d", res.StatusCode)
	}
}
