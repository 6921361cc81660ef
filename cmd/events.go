package cmd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sst/runtime"
	"sst/runtime/bundle"
	"sst/starlark/diag"
)

// This file is what the two views show of a running server.

// shownResult is how much of an error people see, and of a result programs do.
const shownResult = 1500

func (v *humanView) Started(s started) {
	if s.Mode == "live" {
		v.startedLive(s)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s  stage %s\n  %s\n", v.bold.Sprint(s.App), v.bold.Sprint(s.Stage), v.dim.Sprintf("local: %s, so nothing is deployed", s.Why))
	for _, api := range s.APIs {
		fmt.Fprintf(&b, "\n  %s  %s\n", v.cyan.Sprint(api.URL), v.dim.Sprint(api.ID))
		width := 0
		for _, route := range api.Routes {
			width = max(width, len(route.Key))
		}
		for _, route := range api.Routes {
			what := route.Handler
			if route.Authorizer != "" {
				what += "  " + route.Authorizer
			}
			fmt.Fprintf(&b, "    %-*s  %s\n", width, route.Key, v.dim.Sprint(what))
		}
	}
	if len(s.Schedules) > 0 {
		fmt.Fprintf(&b, "\n  On schedule\n")
		width, most := 0, 0
		for _, schedule := range s.Schedules {
			width, most = max(width, len(schedule.Schedule)), max(most, len(schedule.Function))
		}
		for _, schedule := range s.Schedules {
			fmt.Fprintf(&b, "    %-*s  %-*s  %s\n", width, schedule.Schedule, most, schedule.Function, v.dim.Sprint(schedule.Handler))
		}
	}
	if len(s.Functions) > 0 {
		fmt.Fprintf(&b, "\n  Without a route\n")
		width := 0
		for _, f := range s.Functions {
			width = max(width, len(f.ID))
		}
		for _, f := range s.Functions {
			fmt.Fprintf(&b, "    %-*s  %s\n", width, f.ID, v.dim.Sprint(f.Handler))
		}
		fmt.Fprintf(&b, "  invoke one with\n    sst invoke %s\n", shellWord(s.Functions[0].ID))
	}
	b.WriteString(v.sites(s.Sites))
	b.WriteString(v.inspectedText(s.Inspect))
	fmt.Fprintf(&b, "\nReady in %s. What you save is served at once; Ctrl-C stops.\n\n", seconds(s.Seconds))
	v.printf("%s", b.String())
}

// sites says how static sites are worked on: by their own dev servers, which reload what is saved better than anything of ours.
func (v *humanView) sites(sites []startedSite) string {
	if len(sites) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Sites\n")
	width := 0
	for _, site := range sites {
		width = max(width, len(site.ID))
	}
	for _, site := range sites {
		fmt.Fprintf(&b, "    %-*s  %s\n", width, site.ID, v.dim.Sprint(site.Folder))
	}
	fmt.Fprintf(&b, "  run the dev server of one, which then knows the app, with\n    sst shell %s -- npm run dev\n", shellWord(sites[0].ID))
	return b.String()
}

func (v *humanView) Reloaded(r reloaded) {
	var b strings.Builder
	for i, file := range r.Files {
		r.Files[i] = relative(v.options.Base, file)
	}
	fmt.Fprintf(&b, "%s %s in %s", v.green.Sprint("Reloaded"), strings.Join(r.Files, ", "), seconds(r.Seconds))
	for _, list := range []struct {
		mark  string
		names []string
	}{{"+", r.Added}, {"-", r.Removed}, {"~", r.Changed}} {
		for _, name := range list.names {
			fmt.Fprintf(&b, "\n  %s %s", list.mark, name)
		}
	}
	v.printf("%s\n", b.String())
}

func (v *humanView) Event(e runtime.Event) {
	switch e := e.(type) {
	case runtime.Logged:
		v.printf("%s %s %s\n", v.clock(e.Time), v.dim.Sprint("│"), strings.TrimRight(e.Line, "\r\n"))
	case runtime.Finished:
		v.printf("%s %s %s  %s%s\n%s", v.clock(e.Time), v.outcome(e), e.Trigger, v.dim.Sprint(seconds(e.Duration.Seconds())), v.function(e), v.failure(e))
	case runtime.BuildFailed:
		if list := messageList(e.Messages); v.unsaid(list) {
			v.Diagnostics(list)
		}
	case runtime.Rebuilt:
		v.unsaid(nil)
		if len(e.Functions) == 0 {
			return
		}
		v.printf("%s %s\n", v.clock(time.Now()), v.dim.Sprintf("rebuilt %s in %s", strings.Join(e.Files, ", "), seconds(e.Duration.Seconds())))
		if len(e.Warnings) > 0 {
			v.Diagnostics(messageList(e.Warnings))
		}
	case runtime.Debugging:
		if e.Attached {
			v.Notice("A debugger is attached to " + e.Function + ".")
		} else {
			v.Notice("The debugger has left " + e.Function + "; its time counts again.")
		}
	case runtime.Notice:
		v.Notice(e.Text)
	}
}

// unsaid says whether the problems are other ones than those shown last: functions that share a file fail together.
func (v *humanView) unsaid(list diag.List) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := ""
	if len(list) > 0 {
		text = list.Error()
	}
	if text == v.failed {
		return false
	}
	v.failed = text
	return true
}

func (v *humanView) clock(t time.Time) string { return v.dim.Sprint(t.Format("15:04:05")) }

// outcome is the HTTP status, or a word for what has none.
func (v *humanView) outcome(e runtime.Finished) string {
	paint := v.green
	word := "ok "
	if isRequest(e) {
		word = fmt.Sprint(e.Status)
	}
	switch {
	case e.Error != nil || e.Status >= 500:
		paint = v.red
		if !isRequest(e) {
			word = "err"
		}
	case e.Status >= 400:
		paint = v.yellow
	}
	return paint.Sprint(word)
}

// isRequest says whether the invocation came through an Api, where the status and the route say it all.
func isRequest(e runtime.Finished) bool { return e.Status != 0 && strings.Contains(e.Trigger, "/") }

// function names the function where the trigger does not say it.
func (v *humanView) function(e runtime.Finished) string {
	if e.Function == "" || isRequest(e) {
		return ""
	}
	return "  " + v.dim.Sprint(e.Function)
}

func (v *humanView) failure(finished runtime.Finished) string {
	e := finished.Error
	if e == nil && finished.Refused != "" {
		return fmt.Sprintf("         %s\n", v.dim.Sprint(refusal(finished)))
	}
	if e == nil {
		return ""
	}
	text := e.Message
	if e.Type != "" {
		text = e.Type + ": " + text
	}
	if len(text) > shownResult {
		text = text[:shownResult] + " ..."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "         %s\n", v.red.Sprint(strings.ReplaceAll(text, "\n", "\n         ")))
	if e.Type == bundleFailed { // the place was shown when it was saved
		return b.String()
	}
	for _, frame := range e.Trace {
		frame = strings.TrimSpace(frame)
		if frame == "" || strings.Contains(text, frame) || isOurFrame(frame) {
			continue
		}
		fmt.Fprintf(&b, "         %s\n", v.dim.Sprint(frame))
	}
	return b.String()
}

// refusal says in words why a request led to no function.
func refusal(e runtime.Finished) string {
	switch e.Status {
	case http.StatusNotFound:
		return "no route leads there"
	case http.StatusRequestEntityTooLarge:
		return "a request and its headers may have 6 MB in all, as on AWS"
	}
	return e.Refused
}

// bundleFailed is the error type of invocations whose code does not compile.
const bundleFailed = "SST.BuildFailed"

// isOurFrame recognises what is below the user's code in a JavaScript stack: Node itself and the client of the Runtime API.
func isOurFrame(frame string) bool {
	return strings.Contains(frame, "(node:") || strings.Contains(frame, "at node:") || strings.Contains(frame, "/.sst/local/shim/")
}

// messageList shows what a compiler said like our own diagnostics.
func messageList(messages []bundle.Message) diag.List {
	var list diag.List
	for _, m := range messages {
		list = append(list, messageDiagnostic(m))
	}
	return list
}

func (v *jsonView) Started(s started)   { v.emit("started", s) }
func (v *jsonView) Reloaded(r reloaded) { v.emit("reloaded", r) }

// Event writes the server's events with their fields in camelCase, as everything in the JSON output.
func (v *jsonView) Event(e runtime.Event) {
	switch e := e.(type) {
	case runtime.Listening:
		urls := map[string]string{}
		for _, api := range e.Apis {
			urls[api.ID] = api.URL
		}
		v.emit("listening", struct {
			APIs   map[string]string `json:"apis"`
			Lambda string            `json:"lambda"`
		}{urls, e.Lambda})
	case runtime.Invoked:
		v.emit("invoked", struct {
			Time      time.Time `json:"time"`
			RequestID string    `json:"requestId"`
			Function  string    `json:"function"`
			Trigger   string    `json:"trigger"`
			Cold      bool      `json:"cold"`
		}{e.Time, e.RequestID, e.Function, e.Trigger, e.Cold})
	case runtime.Logged:
		v.emit("log", struct {
			Time      time.Time `json:"time"`
			RequestID string    `json:"requestId,omitempty"`
			Function  string    `json:"function"`
			Stderr    bool      `json:"stderr,omitempty"`
			Line      string    `json:"line"`
		}{e.Time, e.RequestID, e.Function, e.Stderr, e.Line})
	case runtime.Finished:
		type failure struct {
			Type    string   `json:"type"`
			Message string   `json:"message"`
			Trace   []string `json:"trace,omitempty"`
		}
		finished := struct {
			Time      time.Time       `json:"time"`
			RequestID string          `json:"requestId"`
			Function  string          `json:"function"`
			Trigger   string          `json:"trigger"`
			Status    int             `json:"status,omitempty"`
			Refused   string          `json:"refused,omitempty"`
			Seconds   float64         `json:"seconds"`
			Result    json.RawMessage `json:"result,omitempty"`
			Error     *failure        `json:"error,omitempty"`
		}{Time: e.Time, RequestID: e.RequestID, Function: e.Function, Trigger: e.Trigger, Status: e.Status, Refused: e.Refused, Seconds: e.Duration.Seconds()}
		if e.Error != nil {
			finished.Error = &failure{e.Error.Type, e.Error.Message, e.Error.Trace}
		} else if len(e.Result) <= shownResult && json.Valid(e.Result) {
			finished.Result = e.Result
		}
		v.emit("finished", finished)
	case runtime.BuildFailed:
		v.Diagnostics(messageList(e.Messages))
	case runtime.Rebuilt:
		v.emit("rebuilt", struct {
			Functions []string `json:"functions"`
			Files     []string `json:"files"`
			Seconds   float64  `json:"seconds"`
		}{e.Functions, e.Files, e.Duration.Seconds()})
		v.Diagnostics(messageList(e.Warnings))
	case runtime.Debugging:
		v.emit("debugging", struct {
			Function string `json:"function"`
			Attached bool   `json:"attached"`
		}{e.Function, e.Attached})
	case runtime.Changed:
		v.emit("changed", struct {
			Files []string `json:"files"`
		}{e.Files})
	case runtime.Notice:
		v.Notice(e.Text)
	}
}
