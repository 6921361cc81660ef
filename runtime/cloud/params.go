package cloud

// Inputs as JSON has them, also those of the query protocol, and answers as XML.

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params is an input or a part of one.
type params map[string]any

type fields = map[string]any

func parseJSON(body []byte) (params, error) {
	in := params{}
	if len(bytes.TrimSpace(body)) == 0 {
		return in, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return in, d.Decode(&in)
}

func (p params) has(name string) bool { return p[name] != nil }

func (p params) text(name string) string {
	switch v := p[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// number gives an integer within limits, or what it is when it is not given.
func (p params) number(name string, otherwise, low, high int) (int, error) {
	if !p.has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(p.text(name))
	if err != nil || n < low || n > high {
		return 0, refuse("InvalidParameterValue", "Value %s for parameter %s is invalid. Reason: Must be between %d and %d, if provided.", p.text(name), name, low, high)
	}
	return n, nil
}

func (p params) truth(name string) bool { return p.text(name) == "true" }

func (p params) object(name string) params {
	m, _ := p[name].(map[string]any)
	return m
}

func (p params) objects(name string) []params {
	list, _ := p[name].([]any)
	all := make([]params, 0, len(list))
	for _, each := range list {
		if m, ok := each.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

func (p params) texts(name string) []string {
	list, _ := p[name].([]any)
	var all []string
	for _, each := range list {
		all = append(all, fmt.Sprint(each))
	}
	return all
}

// flat are the names that lists of SQS have in its query protocol.
var flat = map[string]string{
	"SendMessageBatchRequestEntry": "Entries", "DeleteMessageBatchRequestEntry": "Entries", "ChangeMessageVisibilityBatchRequestEntry": "Entries",
	"MessageAttribute": "MessageAttributes", "AttributeName": "AttributeNames", "MessageAttributeName": "MessageAttributeNames",
	"MessageSystemAttributeName": "MessageSystemAttributeNames", "MessageSystemAttribute": "MessageSystemAttributes",
}

// parseQuery makes of "Entries.member.1.Id=a" what JSON would have.
func parseQuery(service string, values url.Values) params {
	root := fields{}
	for name, list := range values {
		at := root
		parts := strings.Split(name, ".")
		for i, part := range parts {
			if i == len(parts)-1 {
				at[part] = list[0]
				break
			}
			next, ok := at[part].(fields)
			if !ok {
				next = fields{}
				at[part] = next
			}
			at = next
		}
	}
	in, _ := shape(root, service == "sqs").(fields)
	return in
}

// shape turns numbered maps into lists, lists of names and values into maps, and leaves out "member" and "entry".
func shape(value any, sqs bool) any {
	m, ok := value.(fields)
	if !ok {
		return value
	}
	for _, name := range []string{"member", "entry"} {
		if inner, ok := m[name].(fields); ok && len(m) == 1 {
			return shape(inner, sqs)
		}
	}
	numbers := true
	for key := range m {
		if _, err := strconv.Atoi(key); err != nil {
			numbers = false
		}
	}
	if numbers && len(m) > 0 {
		keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
			x, _ := strconv.Atoi(a)
			y, _ := strconv.Atoi(b)
			return x - y
		})
		list := []any{}
		named := fields{}
		for _, key := range keys {
			each := shape(m[key], sqs)
			list = append(list, each)
			if pair, ok := each.(fields); ok && len(pair) == 2 && pair["Name"] != nil && pair["Value"] != nil {
				named[fmt.Sprint(pair["Name"])] = pair["Value"]
			}
		}
		if len(named) == len(list) {
			return named
		}
		return list
	}
	out := fields{}
	for key, each := range m {
		if known := flat[key]; known != "" && sqs {
			key = known
		}
		out[key] = shape(each, sqs)
	}
	return out
}

func escape(text string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(text))
	return b.String()
}

// flatNames are the elements that SQS repeats for the items of a list.
var flatNames = map[string]string{"Messages": "Message", "QueueUrls": "QueueUrl", "queueUrls": "QueueUrl", "Attributes": "Attribute", "MessageAttributes": "MessageAttribute"}

// writeXML writes an answer; op is that of SQS, "" for other services. SQS has its lists without an element around them, and its maps as names and values.
func writeXML(b *bytes.Buffer, op string, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		return
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var plain any
	if d.Decode(&plain) == nil {
		writePlain(b, op, plain)
	}
}

func writePlain(b *bytes.Buffer, op string, value any) {
	sqs := op != ""
	m, ok := value.(fields)
	if !ok {
		if value != nil {
			b.WriteString(escape(fmt.Sprint(value)))
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list, isList := m[key].([]any)
		object, isMap := m[key].(fields)
		name := key
		if flatNames[key] != "" {
			name = flatNames[key]
		}
		switch {
		case isList && sqs:
			if key == "Successful" || key == "Failed" { // of a batch
				name = map[string]string{"Successful": op + "ResultEntry", "Failed": "BatchResultErrorEntry"}[key]
			}
			for _, each := range list {
				element(b, op, name, each)
			}
		case isList:
			fmt.Fprintf(b, "<%s>", key)
			for _, each := range list {
				element(b, op, "member", each)
			}
			fmt.Fprintf(b, "</%s>", key)
		case isMap && sqs && key != "Value":
			for _, inner := range slices.Sorted(maps.Keys(object)) {
				element(b, op, name, fields{"Name": inner, "Value": object[inner]})
			}
		case isMap && key == "Attributes":
			fmt.Fprintf(b, "<%s>", key)
			for _, inner := range slices.Sorted(maps.Keys(object)) {
				element(b, op, "entry", fields{"key": inner, "value": object[inner]})
			}
			fmt.Fprintf(b, "</%s>", key)
		default:
			element(b, op, key, m[key])
		}
	}
}

func element(b *bytes.Buffer, op string, name string, value any) {
	fmt.Fprintf(b, "<%s>", name)
	if object, ok := value.(fields); ok && name == "Value" { // of a message's attribute
		for _, key := range slices.Sorted(maps.Keys(object)) {
			fmt.Fprintf(b, "<%s>%s</%s>", key, escape(fmt.Sprint(object[key])), key)
		}
	} else {
		writePlain(b, op, value)
	}
	fmt.Fprintf(b, "</%s>", name)
}
