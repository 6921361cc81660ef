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
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sst/runtime"
)

// invokeVerb runs one function of a running `sst start`.
func invokeVerb(t *tool) *cobra.Command {
	var event, body, source string
	c := &cobra.Command{
		Use:   "invoke FUNCTION",
		Short: "Run one function of the running sst start",
		Long: `Run one function of the running sst start and print its answer.

FUNCTION is its id ("web/Export"), its handler ("src/export.main") or its name in AWS.
The event is {}, the content of --event FILE ("-" is stdin), or what --source makes around --body.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one FUNCTION, got %d arguments", c.CommandPath(), len(args))
			}
			if event != "" && (source != "" || body != "") {
				return usagef("--event is the whole event: it does not go with --source and --body")
			}
			if body != "" && source == "" {
				return usagef("--body needs --source (%s)", strings.Join(runtime.SampleSources(), ", "))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			payload, err := t.invokeEvent(event, source, body)
			if err != nil {
				return err
			}
			return t.invoke(c.Context(), args[0], payload)
		},
	}
	c.Flags().StringVar(&event, "event", "", "file with the event as JSON, - for stdin")
	c.Flags().StringVar(&source, "source", "", "make the event as this source does: "+strings.Join(runtime.SampleSources(), ", "))
	c.Flags().StringVar(&body, "body", "", "what the event of --source is about: a message, a detail, an object's key, an item")
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

// running is what .sst/start.json says of a running start.
type running struct {
	Lambda    string `json:"lambda"`
	Functions []struct {
		ID, Name, Handler string
	} `json:"functions"`
}

// find finds a function by id, handler or name.
func (r *running) find(name string) (id string, err error) {
	var known, same []string
	for _, fn := range r.Functions {
		if fn.ID == name || fn.Name == name {
			return fn.ID, nil
		}
		if fn.Handler == name {
			same = append(same, fn.ID)
		}
		known = append(known, fn.ID, fn.Handler)
	}
	switch {
	case len(same) == 1:
		return same[0], nil
	case len(same) > 1:
		return "", problemf("Name one of "+strings.Join(same, ", ")+".", "%d functions have the handler %s", len(same), name)
	}
	slices.Sort(known)
	return "", problemf("", "there is no function %q%s", name, didYouMean(name, known))
}

func (t *tool) invoke(ctx context.Context, name string, event []byte) error {
	file, err := t.findFile(nil)
	if err != nil {
		return err
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return err
	}
	const start = "Run `sst start` in another terminal."
	data, err := os.ReadFile(filepath.Join(filepath.Dir(file), ".sst", "start.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return problemf(start, "nothing runs here")
	}
	var there running
	if err == nil {
		err = json.Unmarshal(data, &there)
	}
	if err != nil {
		return err
	}
	id, err := there.find(name)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, there.Lambda+"/2015-03-31/functions/"+url.PathEscape(id)+"/invocations", bytes.NewReader(event))
	if err != nil {
		return err
	}
	req.Header.Set("X-Amz-Log-Type", "Tail")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return problemf(start, "the running sst start does not answer: %v", err)
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
	if tail, err := base64.StdEncoding.DecodeString(res.Header.Get("X-Amz-Log-Result")); err == nil {
		t.Stderr.Write(tail)
	}
	fmt.Fprintf(t.Stdout, "%s\n", bytes.TrimSuffix(body, []byte("\n")))
	if res.Header.Get("X-Amz-Function-Error") != "" {
		return problemf("", "%s failed", id)
	}
	return nil
}
