package cloud

// A request: who makes it, of which service, in which protocol; and its answer.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// KeyPrefix is what the access keys of functions begin with.
const KeyPrefix = "SSTL"

const maxRequest = 16 << 20 // bytes of a request that is no object

// call is one request to a service.
type call struct {
	cloud   *Cloud
	app     *App
	ctx     context.Context
	service string
	op      string
	query   bool // the query protocol, answered in XML
	target  string
	caller  *Caller // nil: the developer
	in      params
}

// Error is an answer as AWS gives it.
type Error struct {
	Status  int // 0: 400
	Code    string
	Message string
	Query   string // the code's older name, in the query protocol
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// operation answers a call with a struct that becomes JSON or XML; nil is an empty answer.
type operation func(c *call) (any, error)

// service is one that this package answers itself.
type service struct {
	name       string
	version    string // of its XML
	operations map[string]operation
}

var services = map[string]*service{
	"sqs":            {"SQS", "http://queue.amazonaws.com/doc/2012-11-05/", sqsOperations},
	"sns":            {"SNS", "http://sns.amazonaws.com/doc/2010-03-31/", snsOperations},
	"sts":            {"STS", "https://sts.amazonaws.com/doc/2011-06-15/", stsOperations},
	"events":         {"EventBridge", "", eventsOperations},
	"ssm":            {"SSM", "", ssmOperations},
	"secretsmanager": {"Secrets Manager", "", secretOperations},
	"kinesis":        {"Kinesis", "", kinesisOperations},
}

// scope reads the credentials' id and the service off a signature, in the header or a presigned URL.
func scope(r *http.Request) (key, service string) {
	text := r.Header.Get("Authorization")
	if _, after, ok := strings.Cut(text, "Credential="); ok {
		text, _, _ = strings.Cut(after, ",")
	} else {
		text = r.URL.Query().Get("X-Amz-Credential")
	}
	parts := strings.Split(text, "/")
	if len(parts) < 5 {
		return "", ""
	}
	return strings.Join(parts[:len(parts)-4], "/"), parts[len(parts)-2]
}

func localHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// ServeHTTP finds out whom a request is for.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	app := c.app.Load()
	key, name := scope(r)
	caller := app.callers[key]
	presigned := r.URL.Query().Get("X-Amz-Signature") != ""
	switch {
	case !localHost(r.Host):
		http.Error(w, fmt.Sprintf("Host %q is not this machine", r.Host), http.StatusForbidden)
		return
	case (r.Header["Origin"] != nil || r.Header["Sec-Fetch-Site"] != nil) && !c.pageMay(app, r, caller, presigned):
		http.Error(w, "requests of web pages are refused here, but for presigned ones that a function made", http.StatusForbidden)
		return
	}
	w.Header().Set("X-Amzn-Requestid", newID())
	if caller == nil && strings.HasPrefix(key, KeyPrefix) {
		// Of a function that is gone or of an earlier run: not the developer, who may do everything.
		req := &call{service: name, query: r.Header.Get("X-Amz-Target") == ""}
		code := "UnrecognizedClientException"
		switch {
		case name == "s3":
			code = "InvalidAccessKeyId"
		case req.query && name != "lambda":
			code = "InvalidClientTokenId"
		}
		req.refuse(w, &Error{Status: http.StatusForbidden, Code: code, Message: "The security token included in the request is invalid: it is that of a function of an earlier sst start."})
		return
	}
	if strings.Contains(r.URL.Path, "/functions/") && (name == "" || name == "lambda") {
		c.serveLambda(w, r, app, caller)
		return
	}
	if name == "" && r.URL.Query().Get("AWSAccessKeyId") == "" && r.Method != http.MethodPost {
		name = "s3" // without a signature
	}
	if name == "s3" {
		c.serveS3(w, r, &call{cloud: c, app: app, ctx: r.Context(), service: "s3", caller: caller})
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil || len(body) > maxRequest {
		http.Error(w, "the request is cut or too large", http.StatusBadRequest)
		return
	}
	req := &call{cloud: c, app: app, ctx: r.Context(), service: name, caller: caller, target: r.Header.Get("X-Amz-Target")}
	if req.target != "" {
		_, req.op, _ = strings.Cut(req.target, ".")
		req.in, err = parseJSON(body)
	} else if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") || r.URL.Query().Get("Action") != "" {
		values, _ := url.ParseQuery(string(body))
		for name, list := range r.URL.Query() {
			values[name] = list
		}
		req.query, req.op = true, values.Get("Action")
		req.in = parseQuery(name, values)
	} else {
		req.op = r.Method + " " + r.URL.Path
	}
	if err != nil {
		req.refuse(w, refuse("SerializationException", "the body is not JSON: %v", err))
		return
	}
	if mounted := c.opts.Services[name]; mounted != nil {
		if err := req.mayAtTable(); err != nil {
			req.refuse(w, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		mounted.ServeHTTP(w, r)
		return
	}
	s := services[name]
	if s == nil || s.operations[req.op] == nil {
		req.unknown(w)
		return
	}
	out, err := s.operations[req.op](req)
	if err != nil {
		req.refuse(w, err)
		return
	}
	req.answer(w, s, out)
}

// unknown says that there is no such operation here, to the code and to people.
func (c *call) unknown(w http.ResponseWriter) {
	service, op := c.service, c.op
	if s := services[service]; s != nil {
		service = s.name
	} else if service == "" {
		service = "A service that is not known (the request is not signed)"
	}
	c.cloud.once("%s %s is not in the local cloud%s: it was answered 501. docs/local-cloud.md says what is; that code runs against AWS, with `sst start` and credentials.", service, op, c.by())
	c.refuse(w, &Error{Status: http.StatusNotImplemented, Code: "NotImplemented",
		Message: fmt.Sprintf("%s %s is not in the local cloud of sst start; docs/local-cloud.md says what is", service, op)})
}

func (c *call) by() string {
	if c.caller == nil {
		return ""
	}
	return " (called by " + c.caller.ID + ")"
}

func (c *call) refuse(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: err.Error()}
	}
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	old := e.Query
	if old == "" {
		old = e.Code
	}
	if c.query || c.service == "s3" {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		if c.service == "s3" {
			fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message><RequestId>%s</RequestId></Error>", e.Code, escape(e.Message), w.Header().Get("X-Amzn-Requestid"))
			return
		}
		fmt.Fprintf(w, "<ErrorResponse><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
			kind, escape(old), escape(e.Message), w.Header().Get("X-Amzn-Requestid"))
		return
	}
	data, _ := json.Marshal(map[string]string{"__type": e.Code, "message": e.Message, "Message": e.Message})
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amzn-Errortype", e.Code)
	if c.service == "sqs" {
		w.Header().Set("X-Amzn-Query-Error", old+";"+kind)
	}
	w.WriteHeader(status)
	w.Write(data)
}

func (c *call) answer(w http.ResponseWriter, s *service, out any) {
	if !c.query {
		data := []byte("{}")
		if out != nil {
			data, _ = json.Marshal(out)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Write(data)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%sResponse xmlns=%q>", c.op, s.version)
	if out != nil {
		fmt.Fprintf(&b, "<%sResult>", c.op)
		op := ""
		if c.service == "sqs" {
			op = c.op
		}
		writeXML(&b, op, out)
		fmt.Fprintf(&b, "</%sResult>", c.op)
	}
	fmt.Fprintf(&b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", w.Header().Get("X-Amzn-Requestid"), c.op)
	w.Write(b.Bytes())
}

// serveLambda hands on what the Invoke API answers.
func (c *Cloud) serveLambda(w http.ResponseWriter, r *http.Request, app *App, caller *Caller) {
	_, path, _ := strings.Cut(r.URL.EscapedPath(), "/functions/")
	name, rest, _ := strings.Cut(path, "/")
	name, _ = url.PathUnescape(name)
	req := &call{cloud: c, app: app, ctx: r.Context(), service: "lambda", caller: caller, op: r.Method + " " + r.URL.Path}
	if rest != "invocations" && rest != "response-streaming-invocations" {
		req.unknown(w)
		return
	}
	arn := name
	if !strings.HasPrefix(name, "arn:") {
		arn = fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", app.Region, app.Account, name)
	}
	if err := req.may("lambda:InvokeFunction", arn); err != nil {
		req.refuse(w, err)
		return
	}
	c.opts.Lambda.ServeHTTP(w, r)
}
