package cfntest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// This file is Lambda and CloudWatch Logs, as far as a tool looks at functions that are deployed.

// Answer is what a function gives to an invocation.
type Answer struct {
	Payload string
	Error   string // "Unhandled" when it failed
	Log     string
}

// logLine is an event of a log group.
type logLine struct {
	id, stream, text string
	at               time.Time
}

// Serve makes the functions of the account answer; without it they give back the event.
func (s *Server) Serve(answer func(name string, event []byte) Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answerer = answer
}

// Log writes a line to a log group, which comes to be by that.
func (s *Server) Log(group, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	s.logs[group] = append(s.logs[group], logLine{fmt.Sprintf("%056d", s.serial), "2026/01/01/[$LATEST]1", text, time.Now()})
}

// HasLogs says whether there is a log group.
func (s *Server) HasLogs(group string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs[group] != nil
}

// function finds a function that exists by name, and gives its properties as they are in AWS.
func (s *Server) function(name, region string) (definition map[string]any) {
	for _, st := range s.stacks {
		if st.deleted || st.region != region {
			continue
		}
		t, fail := parseTemplate(st.body)
		if fail != nil {
			continue
		}
		c := scope{s, st, t, nil}
		for id, r := range t.Resources {
			if r.Type == "AWS::Lambda::Function" && st.resources[id] && c.physical(id) == name {
				properties, _ := c.value(r.Properties).(map[string]any)
				return s.overlay(region, name, properties)
			}
		}
	}
	return nil
}

func lambdaAction(r *http.Request) (action, name string) {
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // 2015-03-31/functions/NAME/...
	if len(path) < 3 || path[1] != "functions" {
		return r.Method + " " + r.URL.Path, ""
	}
	name, _ = url.PathUnescape(path[2])
	switch rest := strings.Join(path[3:], "/"); {
	case r.Method == http.MethodPost && rest == "invocations":
		action = "Invoke"
	case r.Method == http.MethodGet && rest == "configuration":
		action = "GetFunctionConfiguration"
	case r.Method == http.MethodPut && rest == "configuration":
		action = "UpdateFunctionConfiguration"
	case r.Method == http.MethodPut && rest == "code":
		action = "UpdateFunctionCode"
	default:
		action = r.Method + " " + rest
	}
	return action, name
}

func (s *Server) lambda(w http.ResponseWriter, r *request) {
	properties := s.function(r.Stack, r.Region)
	if properties == nil {
		r.refuse(w, &Error{404, "ResourceNotFoundException", fmt.Sprintf("Function not found: arn:aws:lambda:%s:%s:function:%s", r.Region, Account, r.Stack)})
		return
	}
	switch r.Action {
	case "Invoke":
		answer := Answer{Payload: string(r.body)}
		if s.answerer != nil {
			answer = s.answerer(r.Stack, r.body)
		}
		if r.http.Header.Get("X-Amz-Log-Type") == "Tail" {
			w.Header().Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte(answer.Log)))
		}
		if answer.Error != "" {
			w.Header().Set("X-Amz-Function-Error", answer.Error)
		}
		w.Header().Set("X-Amz-Executed-Version", "$LATEST")
		io.WriteString(w, answer.Payload)
	case "GetFunctionConfiguration":
		json.NewEncoder(w).Encode(s.configuration(r.Region, r.Stack, properties))
	case "UpdateFunctionCode", "UpdateFunctionConfiguration":
		if fail := s.updateFunction(r, properties); fail != nil {
			r.refuse(w, fail)
			return
		}
		json.NewEncoder(w).Encode(s.configuration(r.Region, r.Stack, s.function(r.Stack, r.Region)))
	default:
		r.refuse(w, &Error{404, "ResourceNotFoundException", r.Action})
	}
}

func (s *Server) cloudwatchLogs(w http.ResponseWriter, r *request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	group, _ := r.json["logGroupName"].(string)
	lines, there := s.logs[group]
	if !there {
		r.refuse(w, &Error{400, "ResourceNotFoundException", "The specified log group does not exist."})
		return
	}
	switch r.Action {
	case "FilterLogEvents":
		from, _ := r.json["startTime"].(float64)
		pattern, _ := r.json["filterPattern"].(string)
		most := s.options.PageSize
		begin := 0
		if next, _ := r.json["nextToken"].(string); next != "" {
			begin = slices.IndexFunc(lines, func(l logLine) bool { return l.id == next })
			if begin < 0 {
				r.refuse(w, &Error{400, "InvalidParameterException", "The specified nextToken is invalid."})
				return
			}
		}
		answer := map[string]any{}
		events := []map[string]any{}
		for _, l := range lines[begin:] {
			if l.at.UnixMilli() < int64(from) || !strings.Contains(l.text, strings.Trim(pattern, `"`)) {
				continue
			}
			if len(events) == most {
				answer["nextToken"] = l.id
				break
			}
			events = append(events, map[string]any{"eventId": l.id, "logStreamName": l.stream, "message": l.text, "timestamp": l.at.UnixMilli(), "ingestionTime": l.at.UnixMilli()})
		}
		answer["events"] = events
		json.NewEncoder(w).Encode(answer)
	case "DeleteLogGroup":
		delete(s.logs, group)
		w.WriteHeader(http.StatusOK)
	default:
		r.refuse(w, &Error{400, "UnknownOperationException", r.Action})
	}
}
