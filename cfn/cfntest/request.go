package cfntest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// This file reads requests of the three protocols and writes their answers.

type request struct {
	Call
	http   *http.Request
	key    string     // access key id
	form   url.Values // of the query protocol
	body   []byte
	json   map[string]any // of the JSON protocol
	bucket string
	object string
}

func (s *Server) read(r *http.Request) (*request, *Error) {
	req := &request{http: r}
	req.Invocation = r.Header.Get("Amz-Sdk-Invocation-Id")
	if _, rest, found := strings.Cut(r.Header.Get("Authorization"), "Credential="); found {
		scope, _, _ := strings.Cut(rest, ",")
		if parts := strings.Split(scope, "/"); len(parts) == 5 {
			req.key, req.Region, req.Service = parts[0], parts[2], services[parts[3]]
		}
	}
	if parts := strings.Split(r.URL.Query().Get("X-Amz-Credential"), "/"); len(parts) == 5 { // a signed address
		req.key, req.Region, req.Service = parts[0], parts[2], services[parts[3]]
	}
	var err error
	if req.body, err = io.ReadAll(r.Body); err != nil {
		return req, &Error{400, "IncompleteBody", err.Error()}
	}
	switch target := r.Header.Get("X-Amz-Target"); {
	case target != "":
		req.Action = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(target, "AmazonSSM."), "Logs_20140328."), "AmazonEC2ContainerRegistry_V20150921.")
		if err := json.Unmarshal(req.body, &req.json); err != nil {
			return req, &Error{400, "SerializationException", err.Error()}
		}
		req.Stack, _ = req.json["Name"].(string)
	case req.Service == "lambda":
		req.Action, req.Stack = lambdaAction(r)
	case req.Service == "route53":
		req.Action, req.Stack = r.Method, r.URL.Path
	case versions[req.Service] != "":
		if req.form, err = url.ParseQuery(string(req.body)); err != nil {
			return req, &Error{400, "MalformedQueryString", err.Error()}
		}
		if req.form.Get("Version") != versions[req.Service] {
			return req, &Error{400, "InvalidAction", "Could not find operation " + req.form.Get("Action") + " for version " + req.form.Get("Version")}
		}
		req.Action, req.Stack = req.form.Get("Action"), req.form.Get("StackName")
		if req.Service == "sts" {
			req.Stack = req.form.Get("RoleArn")
		}
	case req.Service == "":
		return req, nil // authenticate refuses it
	default:
		req.bucket, req.object, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		req.Action, req.Stack = s3Action(r, req.object), req.bucket+"/"+req.object
		if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
			if req.body, err = unchunk(req.body); err != nil {
				return req, &Error{400, "IncompleteBody", err.Error()}
			}
		}
	}
	return req, nil
}

// versions are those of the services that speak the query protocol.
var versions = map[string]string{"cloudformation": "2010-05-15", "sts": "2011-06-15", "ec2": "2016-11-15", "elasticloadbalancing": "2015-12-01"}

// list gives the members of a list of the query protocol.
func (r *request) list(name string) (values []string) {
	for i := 1; ; i++ {
		key := fmt.Sprintf("%s.member.%d", name, i)
		if !r.form.Has(key) {
			return values
		}
		values = append(values, r.form.Get(key))
	}
}

// pairs gives a list of structures of which two fields matter.
func (r *request) pairs(name, key, value string) (pairs [][2]string) {
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("%s.member.%d.", name, i)
		if !r.form.Has(prefix + key) {
			return pairs
		}
		pairs = append(pairs, [2]string{r.form.Get(prefix + key), r.form.Get(prefix + value)})
	}
}

// element is XML that keeps its order: name, text or children.
type element struct {
	name  string
	value any // string, []element
}

func (e element) write(b *strings.Builder) {
	b.WriteString("<" + e.name + ">")
	switch v := e.value.(type) {
	case []element:
		for _, child := range v {
			child.write(b)
		}
	default:
		xml.EscapeText(b, []byte(fmt.Sprint(v)))
	}
	b.WriteString("</" + e.name + ">")
}

func members(name string, each [][]element) element {
	var all []element
	for _, e := range each {
		all = append(all, element{"member", e})
	}
	return element{name, all}
}

// answer writes a result of the query protocol.
func (r *request) answer(w http.ResponseWriter, fields ...element) {
	space := map[string]string{"cloudformation": "http://cloudformation.amazonaws.com/doc/2010-05-15/", "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
		"elasticloadbalancing": "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"}[r.Service]
	var b strings.Builder
	fmt.Fprintf(&b, `<%sResponse xmlns="%s">`, r.Action, space)
	element{r.Action + "Result", fields}.write(&b)
	b.WriteString("<ResponseMetadata><RequestId>" + w.Header().Get("X-Amzn-Requestid") + "</RequestId></ResponseMetadata>")
	fmt.Fprintf(&b, "</%sResponse>", r.Action)
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	io.WriteString(w, b.String())
}

func (r *request) refuse(w http.ResponseWriter, e *Error) {
	switch r.Service {
	case "lambda":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-Errortype", e.Code)
		w.WriteHeader(e.Status)
		json.NewEncoder(w).Encode(map[string]string{"Type": "User", "Message": e.Message})
	case "ssm", "kms", "cloudcontrolapi", "logs", "ecr":
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(e.Status)
		json.NewEncoder(w).Encode(map[string]string{"__type": e.Code, "message": e.Message})
	case "ec2":
		w.WriteHeader(e.Status)
		reply(w, element{"Response", []element{{"Errors", []element{{"Error", []element{{"Code", e.Code}, {"Message", e.Message}}}}}, {"RequestID", w.Header().Get("X-Amzn-Requestid")}}})
	case "s3":
		var b strings.Builder
		element{"Error", []element{{"Code", e.Code}, {"Message", e.Message}}}.write(&b)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(e.Status)
		if r.http.Method != http.MethodHead {
			io.WriteString(w, b.String())
		}
	default:
		var b strings.Builder
		element{"ErrorResponse", []element{{"Error", []element{{"Type", "Sender"}, {"Code", e.Code}, {"Message", e.Message}}},
			{"RequestId", w.Header().Get("X-Amzn-Requestid")}}}.write(&b)
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(e.Status)
		io.WriteString(w, b.String())
	}
}

func invalid(format string, args ...any) *Error {
	return &Error{400, "ValidationError", fmt.Sprintf(format, args...)}
}
