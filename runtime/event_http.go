package runtime

// Payload format 2.0 of HTTP APIs: what a function gets of a request, and what its answer means.

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// httpEvent is the event of payload format 2.0. The order of the fields is AWS's.
type httpEvent struct {
	Version         string            `json:"version"`
	RouteKey        string            `json:"routeKey"`
	RawPath         string            `json:"rawPath"`
	RawQuery        string            `json:"rawQueryString"`
	Cookies         []string          `json:"cookies,omitempty"`
	Headers         map[string]string `json:"headers"`
	Query           map[string]string `json:"queryStringParameters,omitempty"`
	Context         httpContext       `json:"requestContext"`
	PathParameters  map[string]string `json:"pathParameters,omitempty"`
	StageVariables  map[string]string `json:"stageVariables,omitempty"`
	Body            *string           `json:"body,omitempty"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

type httpContext struct {
	AccountID    string         `json:"accountId"`
	APIID        string         `json:"apiId"`
	Authorizer   map[string]any `json:"authorizer,omitempty"`
	DomainName   string         `json:"domainName"`
	DomainPrefix string         `json:"domainPrefix"`
	HTTP         struct {
		Method    string `json:"method"`
		Path      string `json:"path"`
		Protocol  string `json:"protocol"`
		SourceIP  string `json:"sourceIp"`
		UserAgent string `json:"userAgent"`
	} `json:"http"`
	RequestID string `json:"requestId"`
	RouteKey  string `json:"routeKey"`
	Stage     string `json:"stage"`
	Time      string `json:"time"`
	TimeEpoch int64  `json:"timeEpoch"`
}

// newHTTPEvent makes the event of a request. The path is decoded and the query string is not: so does API Gateway.
func newHTTPEvent(r *http.Request, m match, apiID, requestID string, body []byte, now time.Time) *httpEvent {
	e := &httpEvent{Version: "2.0", RouteKey: m.key, RawPath: r.URL.Path, RawQuery: r.URL.RawQuery,
		Headers: map[string]string{}, PathParameters: m.parameters}
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if name == "cookie" {
			for _, value := range values {
				for cookie := range strings.SplitSeq(value, ";") {
					e.Cookies = append(e.Cookies, strings.TrimSpace(cookie))
				}
			}
			continue
		}
		e.Headers[name] = strings.Join(values, ",")
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	_, port, _ := net.SplitHostPort(r.Host)
	e.Headers["host"] = r.Host
	if r.ContentLength >= 0 && (r.ContentLength > 0 || r.Header["Content-Length"] != nil) {
		e.Headers["content-length"] = strconv.FormatInt(r.ContentLength, 10)
	}
	setDefault(e.Headers, "x-forwarded-for", ip)
	setDefault(e.Headers, "x-forwarded-port", port)
	setDefault(e.Headers, "x-forwarded-proto", "http")
	setDefault(e.Headers, "x-amzn-trace-id", traceOf(requestID, now))
	e.Query = joinQuery(r.URL.RawQuery)
	host, _, _ := strings.Cut(r.Host, ":")
	prefix, _, _ := strings.Cut(host, ".")
	e.Context = httpContext{AccountID: accountID, APIID: apiID, DomainName: r.Host, DomainPrefix: prefix,
		RequestID: requestID, RouteKey: m.key, Stage: "$default",
		Time: now.UTC().Format(timeOfRequest), TimeEpoch: now.UnixMilli()}
	e.Context.HTTP.Method, e.Context.HTTP.Path, e.Context.HTTP.Protocol = r.Method, r.URL.Path, r.Proto
	e.Context.HTTP.SourceIP, e.Context.HTTP.UserAgent = ip, r.UserAgent()
	if len(body) > 0 {
		text := string(body)
		if e.IsBase64Encoded = !isText(r.Header, body); e.IsBase64Encoded {
			text = base64.StdEncoding.EncodeToString(body)
		}
		e.Body = &text
	}
	return e
}

func hexTime(t time.Time) string { return fmt.Sprintf("%08x", t.Unix()) }

func setDefault(m map[string]string, name, value string) {
	if m[name] == "" {
		m[name] = value
	}
}

// joinQuery decodes a query string; the values of a name that occurs again are joined by commas, in order.
func joinQuery(raw string) map[string]string {
	var query map[string]string
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		if value, err = url.QueryUnescape(value); err != nil {
			continue
		}
		if query == nil {
			query = map[string]string{}
		}
		if first, again := query[name]; again {
			value = first + "," + value
		}
		query[name] = value
	}
	return query
}

// isText says whether API Gateway passes a body on as it is. A form counts as binary there.
func isText(h http.Header, body []byte) bool {
	if h.Get("Content-Encoding") != "" || !utf8.Valid(body) {
		return false
	}
	given := h.Get("Content-Type")
	if given == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(given)
	if err != nil {
		return false
	}
	return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml") ||
		slices.Contains([]string{"application/json", "application/xml", "application/javascript"}, kind)
}

// httpAnswer is a function's answer as the front sends it.
type httpAnswer struct {
	status int
	header http.Header
	body   []byte
}

var errMalformed = fmt.Errorf("the function's answer is not one that an HTTP API understands")

// readHTTPAnswer reads a function's result: an object with a statusCode says what to send, anything else is sent as
// it is with status 200.
func readHTTPAnswer(result []byte) (*httpAnswer, error) {
	if meta, body, streamed := bytes.Cut(result, make([]byte, 8)); streamed && json.Valid(meta) {
		return readStreamed(meta, body)
	}
	if !json.Valid(result) {
		return nil, errMalformed
	}
	var shape map[string]json.RawMessage
	if json.Unmarshal(result, &shape) != nil || shape["statusCode"] == nil {
		a := &httpAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: result}
		var text string
		if len(result) > 0 && result[0] == '"' && json.Unmarshal(result, &text) == nil {
			a.body = []byte(text)
		}
		return a, nil
	}
	a := &httpAnswer{header: http.Header{}}
	if err := a.readHead(shape); err != nil {
		return nil, err
	}
	var encoded bool
	if raw := shape["isBase64Encoded"]; raw != nil && string(raw) != "null" && json.Unmarshal(raw, &encoded) != nil {
		return nil, errMalformed
	}
	if raw := shape["body"]; raw != nil && string(raw) != "null" {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil, errMalformed
		}
		a.body = []byte(text)
	}
	if encoded {
		decoded, err := base64.StdEncoding.DecodeString(string(a.body))
		if err != nil {
			return nil, errMalformed
		}
		a.body = decoded
	}
	if a.header["Content-Type"] == nil {
		a.header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	return a, nil
}

// readHead reads status, headers and cookies.
func (a *httpAnswer) readHead(shape map[string]json.RawMessage) error {
	status, err := strconv.Atoi(strings.Trim(string(shape["statusCode"]), `"`))
	if err != nil || status < 100 || status > 599 {
		return errMalformed
	}
	a.status = status
	var headers map[string]any
	if raw := shape["headers"]; raw != nil {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if d.Decode(&headers) != nil {
			return errMalformed
		}
	}
	for name, value := range headers {
		switch value := value.(type) {
		case string:
			a.header.Set(name, value)
		case bool, json.Number:
			a.header.Set(name, fmt.Sprint(value))
		default:
			return errMalformed
		}
	}
	var cookies []string
	if raw := shape["cookies"]; raw != nil && json.Unmarshal(raw, &cookies) != nil {
		return errMalformed
	}
	for _, cookie := range cookies {
		a.header.Add("Set-Cookie", cookie)
	}
	return nil
}

// readStreamed reads the answer of a streaming handler that wrote metadata before its body.
func readStreamed(meta, body []byte) (*httpAnswer, error) {
	var shape map[string]json.RawMessage
	if json.Unmarshal(meta, &shape) != nil {
		return nil, errMalformed
	}
	if shape["statusCode"] == nil {
		shape["statusCode"] = json.RawMessage("200")
	}
	a := &httpAnswer{header: http.Header{}, body: body}
	if err := a.readHead(shape); err != nil {
		return nil, err
	}
	if a.header["Content-Type"] == nil {
		a.header.Set("Content-Type", "application/octet-stream")
	}
	return a, nil
}
