package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sst/runtime"
)

// sampleEvents has one of each event of the server, to be filled.
var sampleEvents = []runtime.Event{
	runtime.Listening{}, runtime.Invoked{}, runtime.Logged{}, runtime.Finished{}, runtime.BuildFailed{}, runtime.Rebuilt{},
	runtime.Changed{}, runtime.Debugging{}, runtime.Notice{},
}

// TestJSONEvents compares what the JSON view writes with docs/json-events.md, event by event and field by field.
func TestJSONEvents(t *testing.T) {
	written := writtenEvents(t)
	documented := documentedEvents(t)
	for event, fields := range written {
		if documented[event] == nil {
			t.Errorf("docs/json-events.md has no section %q; its fields are %q", event, fields)
			continue
		}
		for _, field := range fields {
			if !slices.Contains(documented[event], field) {
				t.Errorf("docs/json-events.md: section %q has no field `%s`", event, field)
			}
		}
	}
}

// writtenEvents calls every method of the JSON view with everything filled in, and gives the fields of each event.
func writtenEvents(t *testing.T) map[string][]string {
	var out bytes.Buffer
	view := reflect.ValueOf(View(newJSONView(&out, &out, viewOptions{})))
	methods := reflect.TypeFor[View]()
	for i := range methods.NumMethod() {
		method := methods.Method(i)
		var args []reflect.Value
		for j := range method.Type.NumIn() {
			arg := reflect.New(method.Type.In(j)).Elem()
			fill(arg, 8)
			args = append(args, arg)
		}
		if method.Name != "Event" {
			view.MethodByName(method.Name).Call(args)
			continue
		}
		for _, event := range sampleEvents {
			full := reflect.New(reflect.TypeOf(event)).Elem()
			fill(full, 8)
			view.MethodByName("Event").Call([]reflect.Value{full})
			if finished, ok := full.Interface().(runtime.Finished); ok { // with an error there is no result
				finished.Error = nil
				view.MethodByName("Event").Call([]reflect.Value{reflect.ValueOf(finished)})
			}
		}
	}
	if code := Run(t.Context(), &World{Args: []string{"version", "--json"}, Stdout: &out, Stderr: &out, LookupEnv: os.LookupEnv}); code != ExitDone {
		t.Fatalf("version --json: exit code %d", code)
	}
	fields := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("not JSON: %v\n%s", err, line)
		}
		name, _ := event["event"].(string)
		if name == "" {
			t.Fatalf("no event name: %s", line)
		}
		delete(event, "event")
		fields[name] = slices.Compact(slices.Sorted(slices.Values(append(fields[name], paths("", event)...))))
	}
	return fields
}

// paths names the fields in a value: "stacks[].name", "apis.*" where the key is a name of the user's.
func paths(prefix string, value any) (all []string) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			all = append(all, paths(strings.TrimPrefix(prefix+"."+key, "."), inner)...)
		}
		return all
	case []any:
		for _, inner := range value {
			all = append(all, paths(prefix+"[]", inner)...)
		}
		return all
	}
	return []string{prefix}
}

// fill gives every field a value that is not zero, as deep as it goes: some types hold themselves.
func fill(v reflect.Value, depth int) {
	if depth == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	case []byte:
		v.SetBytes([]byte("1"))
		return
	}
	if v.Type() == reflect.TypeFor[error]() {
		v.Set(reflect.ValueOf(errors.New("x")))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("*") // ids become keys
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth-1)
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element, depth-1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("*").Convert(v.Type().Key()), element)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth-1)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth-1)
			}
		}
	}
}

// documentedEvents reads the sections and their tables.
func documentedEvents(t *testing.T) map[string][]string {
	data, err := os.ReadFile("../docs/json-events.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string][]string{}
	row := regexp.MustCompile("^\\| `([^`]+)` \\|")
	section := ""
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(name)
			fields[section] = []string{}
		} else if m := row.FindStringSubmatch(line); m != nil && section != "" {
			fields[section] = append(fields[section], m[1])
		}
	}
	return fields
}

// TestSampleEvents fails when the server has an event that the list above lacks.
func TestSampleEvents(t *testing.T) {
	source, err := os.ReadFile("../runtime/events.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, event := range sampleEvents {
		known[reflect.TypeOf(event).Name()] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^func \(([A-Z]\w*)\) event\(\)`).FindAllStringSubmatch(string(source), -1) {
		if !known[m[1]] {
			t.Errorf("sampleEvents lacks runtime.%s", m[1])
		}
	}
}
