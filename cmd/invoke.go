package cmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sst/runtime"
)

// invokeVerb runs one function of a running `sst start`.
func invokeVerb(t *tool) *cobra.Command {
	var event, body, source, group string
	var attributes []string
	c := &cobra.Command{
		Use:   "invoke FUNCTION|SOURCE",
		Short: "Run one function, or send to what functions consume",
		Long: `Run one function and print its answer, or send a message to a source of events. A function is that of the running sst start; when none
runs here, or --stage names another stage, the one that is deployed: its answer goes to stdout, the end of its log to stderr.

FUNCTION is its id ("web/Export"), its handler ("src/export.main") or its name in AWS.
The event is {}, the content of --event FILE ("-" is stdin), or what --source makes around --body.

SOURCE is a queue, topic, bus, bucket, table or Kinesis stream of the app: "web/Orders", "Orders" or "Queue/Orders"; "default" is the default bus.
Its consumers get --body in batches and through their filters, again when they fail, until it goes to the queue for dead letters.
The body is a message's text; for a bus the detail, or {"source": ..., "detail-type": ..., "detail": ...}; for a bucket the key of an object, or
{"key": ..., "eventName": ...}; for a table the new item, or {"eventName": "MODIFY", "Keys": ..., "NewImage": ..., "OldImage": ...}.`,
		Example: "  sst invoke web/Export --event event.json\n  sst invoke Queue/Orders --body '{\"id\": 7}'",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one FUNCTION or SOURCE, got %d arguments", c.CommandPath(), len(args))
			}
			if event != "" && (source != "" || body != "") {
				return usagef("--event is the whole event: it does not go with --source and --body")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			there, err := t.running(c.Context())
			if err != nil {
				return err
			}
			if there == nil {
				payload, err := t.invokeEvent(event, source, body)
				if err != nil {
					return err
				}
				return t.invokeDeployed(c.Context(), args[0], payload)
			}
			id, isSource, err := there.find(args[0])
			if err != nil {
				return err
			}
			if isSource {
				if event != "" || source != "" {
					return usagef("%s is a source of events: give it a --body", id)
				}
				return t.send(c.Context(), there, runtime.Delivery{Source: id, Body: body, Group: group, Attributes: pairs(attributes)})
			}
			if body != "" && source == "" {
				return usagef("--body needs --source (%s) where a function is run", strings.Join(runtime.SampleSources(), ", "))
			}
			payload, err := t.invokeEvent(event, source, body)
			if err != nil {
				return err
			}
			return t.invoke(c.Context(), there, id, payload)
		},
	}
	c.Flags().StringVar(&event, "event", "", "`FILE` with the event as JSON, - for stdin")
	c.Flags().StringVar(&source, "source", "", "make the event as this source does: "+strings.Join(runtime.SampleSources(), ", "))
	c.Flags().StringVar(&body, "body", "", "what is sent, or what the event of --source is about: a message, a detail, an object's key, an item")
	c.Flags().StringVar(&group, "group", "", "message group of a FIFO queue, partition key of a Kinesis stream")
	c.Flags().StringArrayVar(&attributes, "attribute", nil, "`NAME=VALUE` or NAME:Number=VALUE, an attribute of a message; may be given again")
	return c
}

// invokeEvent gives the event that the flags ask for.
func (t *tool) invokeEvent(file, source, body string) ([]byte, error) {
	switch {
	case source != "":
		region := t.region
		if region == "" {
			region = "us-east-1"
		}
		event, err := runtime.SampleEvent(source, []byte(body), region, time.Now())
		if err != nil {
			return nil, usagef("--source: %v", err)
		}
		return event, nil
	case file == "-":
		return io.ReadAll(t.Stdin)
	case file != "":
		event, err := os.ReadFile(t.abs(file))
		if err != nil {
			return nil, problemf("", "the event cannot be read: %v", err)
		}
		if !json.Valid(event) {
			return nil, problemf("", "%s is not JSON", file)
		}
		return event, nil
	}
	return []byte("{}"), nil
}

// pairs reads NAME=VALUE.
func pairs(list []string) map[string]string {
	all := map[string]string{}
	for _, each := range list {
		name, value, _ := strings.Cut(each, "=")
		all[name] = value
	}
	return all
}

// running is what .sst/start.json says of a running start.
type running struct {
	Stage     string            `json:"stage"`
	Lambda    string            `json:"lambda"`
	Apis      map[string]string `json:"apis"` // id to URL
	Token     string            `json:"token"`
	Functions []struct {
		ID, Name, Handler string
	} `json:"functions"`
	Sources []struct{ ID, Type string } `json:"sources"`
	Sites   []string                    `json:"sites"` // ids of static sites
	// Schedules are the ids of what runs a function by the clock, with the function's.
	Schedules map[string]string `json:"schedules"`
}

const startFirst = "Run `sst start` in another terminal."

// running reads what runs in the project; nil when nothing of the chosen stage does and there are credentials for what is deployed.
func (t *tool) running(ctx context.Context) (*running, error) {
	file, err := t.findFile(nil)
	if err != nil {
		return nil, err
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return nil, err
	}
	there, err := runningIn(filepath.Dir(file))
	live := err == nil && there.Lambda == "" // on AWS, where its functions are invoked and come here from
	if !errors.Is(err, fs.ErrNotExist) && !live && (err != nil || t.stage == "" || there.Stage == t.stage) {
		return there, err
	}
	if live && t.stage == "" {
		t.stage = there.Stage
	}
	source, err := t.credentialSource(ctx)
	if err == nil && source == "" {
		err = problemf(startFirst+" With AWS credentials, the deployed function is invoked.", "nothing runs here")
	}
	return nil, err
}

// runningLocally is the local start of the project and the chosen stage; nil when there is none.
func (t *tool) runningLocally() *running {
	file, err := t.findFile(nil)
	if err != nil {
		return nil
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return nil
	}
	there, err := runningIn(filepath.Dir(file))
	if err != nil || there.Lambda == "" || t.stage != "" && t.stage != there.Stage {
		return nil
	}
	return there
}

// runningIn reads what runs in the project with this root; fs.ErrNotExist when nothing does.
func runningIn(root string) (*running, error) {
	data, err := os.ReadFile(filepath.Join(root, ".sst", "start.json"))
	there := &running{}
	if err == nil {
		err = json.Unmarshal(data, there)
	}
	return there, err
}

// sourceWords are the words in front of "/Orders" that name a type of source.
var sourceWords = map[string]string{"queue": "queue", "topic": "topic", "eventbus": "bus", "bus": "bus", "bucket": "bucket", "table": "table",
	"kinesisstream": "stream", "kinesis": "stream", "stream": "stream"}

// listNames lists what there is for somebody who named something else; "" when there is nothing.
func listNames(before string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return before + listed(names) + "."
}

// listed is a list of names for people, which ends where nobody reads on.
func listed(names []string) string {
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// find finds a function by id, handler or name, else a source by id, by the last part of it, or by its type and that.
func (r *running) find(name string) (id string, isSource bool, err error) {
	var known, same []string
	for _, fn := range r.Functions {
		if fn.ID == name || fn.Name == name {
			return fn.ID, false, nil
		}
		if fn.Handler == name {
			same = append(same, fn.ID)
		}
		known = append(known, fn.ID, fn.Handler)
	}
	switch {
	case len(same) == 1:
		return same[0], false, nil
	case len(same) > 1:
		return "", false, problemf("Name one of "+strings.Join(same, ", ")+".", "%d functions have the handler %s", len(same), name)
	case name == "default":
		return name, true, nil
	}
	word, short, two := strings.Cut(name, "/")
	kind := sourceWords[strings.ToLower(word)]
	for _, source := range r.Sources {
		_, last, _ := cutLast(source.ID)
		if source.ID == name {
			return source.ID, true, nil
		}
		if last == name || two && kind == source.Type && last == short {
			same = append(same, source.ID)
		}
		known = append(known, source.ID)
	}
	switch {
	case len(same) == 1:
		return same[0], true, nil
	case len(same) > 1:
		return "", false, problemf("Name one of "+strings.Join(same, ", ")+".", "%d sources are called %s", len(same), name)
	}
	for _, schedule := range slices.Sorted(maps.Keys(r.Schedules)) {
		cron := strings.TrimSuffix(schedule, "/Schedule") // what an sst.Cron calls its own
		if _, last, _ := cutLast(cron); cron == name || last == name {
			same = append(same, r.Schedules[schedule])
		}
	}
	if same = slices.Compact(slices.Sorted(slices.Values(same))); len(same) == 1 {
		return same[0], false, nil
	}
	same = nil
	// A Cron, Job or consumer by the name it has in stacks.star, whose function has a name below it.
	for _, fn := range r.Functions {
		if at := "/" + fn.ID + "/"; strings.HasSuffix(at, "/"+name+"/") || strings.HasPrefix(at, "/"+name+"/") || !two && strings.Contains(at, "/"+name+"/") {
			same = append(same, fn.ID)
		}
	}
	switch {
	case len(same) == 1:
		return same[0], false, nil
	case len(same) > 1:
		return "", false, problemf("Name one of "+listed(same)+".", "%s has %d functions", name, len(same))
	}
	slices.Sort(known)
	known = slices.DeleteFunc(slices.Compact(known), func(s string) bool { return s == "" })
	if len(known) == 0 {
		return "", false, problemf("", "the app has no functions, so there is no %q", name)
	}
	return "", false, problemf(listNames("There are ", known), "there is no function or source of events %q%s", name, didYouMean(name, known))
}

// cutLast splits a path before its last part.
func cutLast(path string) (before, last string, found bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// ask sends a request of our own to the running start, and gives an answer that is no refusal; refused begins what is said of one.
// The caller closes its body.
func (r *running) ask(ctx context.Context, method, path string, body io.Reader, refused string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.Lambda+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, problemf(startFirst, "the running sst start does not answer: %v", err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return nil, problemf("", "%s: %s", refused, bytes.TrimSpace(text))
	}
	return res, nil
}

// send brings a message to a source and prints what happens to it, until it is dealt with.
func (t *tool) send(ctx context.Context, there *running, d runtime.Delivery) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	res, err := there.ask(ctx, http.MethodPost, "/sst/deliver", bytes.NewReader(body), "nothing was sent to "+d.Source)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	for {
		var line runtime.DeliveryLine
		if err := lines.Decode(&line); err != nil {
			return problemf("", "the running sst start ended before the message was dealt with")
		}
		if line.Text != "" {
			fmt.Fprintln(t.Stderr, line.Text)
		}
		switch {
		case line.Done && line.Failed:
			return problemf("", "the message to %s failed", d.Source)
		case line.Done:
			fmt.Fprintf(t.Stdout, "%s: done\n", d.Source)
			return nil
		}
	}
}

// logs are the lines that a function of the running start has printed behind a number.
func (r *running) logs(ctx context.Context, id string, after int) ([]runtime.LogLine, error) {
	query := url.Values{"function": {id}, "after": {strconv.Itoa(after)}}
	res, err := r.ask(ctx, http.MethodGet, "/sst/logs?"+query.Encode(), nil, "the running sst start gives no log")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var lines []runtime.LogLine
	for each := json.NewDecoder(res.Body); ; {
		var line runtime.LogLine
		if err := each.Decode(&line); err == io.EOF {
			return lines, nil
		} else if err != nil {
			return nil, problemf("", "the answer of the running sst start ended before it was complete: %v", err)
		}
		lines = append(lines, line)
	}
}

// logText is a line as people read it.
func logText(line runtime.LogLine) string {
	return line.Time.Local().Format("15:04:05.000") + " " + line.Line
}

// invoke runs a function and prints its answer.
func (t *tool) invoke(ctx context.Context, there *running, id string, event []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, there.Lambda+"/2015-03-31/functions/"+url.PathEscape(id)+"/invocations", bytes.NewReader(event))
	if err != nil {
		return err
	}
	req.Header.Set("X-Amz-Log-Type", "Tail")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return problemf(startFirst, "the running sst start does not answer: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return problemf("", "the answer ended before it was complete: %v", err)
	}
	if res.StatusCode != http.StatusOK {
		var refused struct{ Message string }
		json.Unmarshal(body, &refused)
		return problemf("", "%s was not invoked: %s", id, refused.Message)
	}
	return t.invoked(id, body, res.Header.Get("X-Amz-Log-Result"), res.Header.Get("X-Amz-Function-Error"))
}

// invoked prints what an invocation came to.
func (t *tool) invoked(id string, answer []byte, log, failed string) error {
	if tail, err := base64.StdEncoding.DecodeString(log); err == nil {
		t.Stderr.Write(tail)
	}
	fmt.Fprintf(t.Stdout, "%s\n", bytes.TrimSuffix(answer, []byte("\n")))
	if failed != "" {
		return problemf("", "%s failed", id)
	}
	return nil
}
