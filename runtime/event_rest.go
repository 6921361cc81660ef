package runtime

// Payload format 1.0: what a function gets of a request to a REST API (or to an HTTP API that is set to 1.0), and what
// its answer means there.

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// restEvent is the event of payload format 1.0. What there is none of is null, as on AWS.
type restEvent struct {
	Version         string              `json:"version,omitempty"` // "1.0" of an HTTP API; a REST API does not say it
	Resource        string              `json:"resource"`
	Path            string              `json:"path"`
	Method          string              `json:"httpMethod"`
	Headers         map[string]string   `json:"headers"`
	MultiHeaders    map[string][]string `json:"multiValueHeaders"`
	Query           map[string]string   `json:"queryStringParameters"`
	MultiQuery      map[string][]string `json:"multiValueQueryStringParameters"`
	PathParameters  map[string]string   `json:"pathParameters"`
	StageVariables  map[string]string   `json:"stageVariables"`
	Context         restContext         `json:"requestContext"`
	Body            *string             `json:"body"`
	IsBase64Encoded bool                `json:"isBase64Encoded"`
}

type restContext struct {
	ResourceID        string         `json:"resourceId"`
	Authorizer        map[string]any `json:"authorizer,omitempty"`
	ResourcePath      string         `json:"resourcePath"`
	Method            string         `json:"httpMethod"`
	ExtendedRequestID string         `json:"extendedRequestId"`
	RequestTime       string         `json:"requestTime"`
	Path              string         `json:"path"` // with the stage
	AccountID         string         `json:"accountId"`
	Protocol          string         `json:"protocol"`
	Stage             string         `json:"stage"`
	DomainPrefix      string         `json:"domainPrefix"`
	RequestTimeEpoch  int64          `json:"requestTimeEpoch"`
	RequestID         string         `json:"requestId"`
	Identity          restIdentity   `json:"identity"`
	DomainName        string         `json:"domainName"`
	APIID             string         `json:"apiId"`
}

type restIdentity struct {
	CognitoIdentityPoolID *string `json:"cognitoIdentityPoolId"`
	AccountID             *string `json:"accountId"`
	CognitoIdentityID     *string `json:"cognitoIdentityId"`
	Caller                *string `json:"caller"`
	SourceIP              string  `json:"sourceIp"`
	PrincipalOrgID        *string `json:"principalOrgId"`
	AccessKey             *string `json:"accessKey"`
	CognitoAuthType       *string `json:"cognitoAuthenticationType"`
	CognitoAuthProvider   *string `json:"cognitoAuthenticationProvider"`
	UserArn               *string `json:"userArn"`
	UserAgent             string  `json:"userAgent"`
	User                  *string `json:"user"`
	APIKey                *string `json:"apiKey,omitempty"`
	APIKeyID              *string `json:"apiKeyId,omitempty"`
}

const timeOfRequest = "02/Jan/2006:15:04:05 -0700"

// newRESTEvent makes the event of a request. path is below the stage.
func newRESTEvent(r *http.Request, m match, api *apiConfig, path, requestID string, body []byte, who *caller, now time.Time) *restEvent {
	resource := m.key
	if _, after, ok := strings.Cut(m.key, " "); ok {
		resource = after
	}
	e := &restEvent{Resource: resource, Path: path, Method: r.Method, PathParameters: m.parameters, StageVariables: api.Variables}
	e.Headers, e.MultiHeaders = multiHeaders(r, requestID, now)
	e.Query, e.MultiQuery = multiQuery(r.URL.RawQuery)
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	prefix, _, _ := strings.Cut(r.Host, ".")
	prefix, _, _ = strings.Cut(prefix, ":")
	e.Context = restContext{ResourceID: resourceID(api.LogicalID, resource), ResourcePath: resource, Method: r.Method,
		ExtendedRequestID: requestID[:8], RequestTime: now.UTC().Format(timeOfRequest), Path: r.URL.Path, AccountID: accountID,
		Protocol: r.Proto, Stage: api.stage(), DomainPrefix: prefix, RequestTimeEpoch: now.UnixMilli(), RequestID: requestID,
		Identity: restIdentity{SourceIP: ip, UserAgent: r.UserAgent()}, DomainName: r.Host, APIID: api.apiID()}
	who.fillREST(&e.Context)
	if api.Type != "rest" {
		e.Version = "1.0"
	}
	if len(body) > 0 {
		text := string(body)
		if api.Type == "rest" {
			e.IsBase64Encoded = isBinary(api.BinaryTypes, r.Header.Get("Content-Type"))
		} else {
			e.IsBase64Encoded = !isText(r.Header, body)
		}
		if e.IsBase64Encoded {
			text = base64.StdEncoding.EncodeToString(body)
		}
		e.Body = &text
	}
	return e
}

// resourceID is what stands for the id of a resource.
func resourceID(api, path string) string {
	sum := uint32(2166136261)
	for _, c := range []byte(api + path) {
		sum = (sum ^ uint32(c)) * 16777619
	}
	return fmt.Sprintf("%06x", sum&0xffffff)
}

// multiHeaders gives the headers twice: the last value of each, and all of them.
func multiHeaders(r *http.Request, requestID string, now time.Time) (map[string]string, map[string][]string) {
	all := map[string][]string{"Host": {r.Host}}
	for name, values := range r.Header {
		all[name] = values
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	_, port, _ := net.SplitHostPort(r.Host)
	for name, value := range map[string]string{"X-Forwarded-For": ip, "X-Forwarded-Port": port, "X-Forwarded-Proto": "http",
		"X-Amzn-Trace-Id": traceOf(requestID, now)} {
		if all[name] == nil {
			all[name] = []string{value}
		}
	}
	if r.ContentLength > 0 {
		all["Content-Length"] = []string{fmt.Sprint(r.ContentLength)}
	}
	last := make(map[string]string, len(all))
	for name, values := range all {
		last[name] = values[len(values)-1]
	}
	return last, all
}

// traceOf is the trace header of a request that has none.
func traceOf(requestID string, now time.Time) string {
	return "Root=1-" + hexTime(now) + "-" + strings.ReplaceAll(requestID, "-", "")[:24]
}

// multiQuery decodes a query string: the last value of each name, and all of them. Both are nil when there is none.
func multiQuery(raw string) (map[string]string, map[string][]string) {
	var last map[string]string
	var all map[string][]string
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if pair == "" || errName != nil || errValue != nil {
			continue
		}
		if last == nil {
			last, all = map[string]string{}, map[string][]string{}
		}
		last[name] = value
		all[name] = append(all[name], value)
	}
	return last, all
}

// isBinary says whether a media type is among the binary ones of a REST API.
func isBinary(types []string, given string) bool {
	kind, _, err := mime.ParseMediaType(given)
	if err != nil {
		kind = "application/json" // what API Gateway takes for what does not say
	}
	group, _, _ := strings.Cut(kind, "/")
	for _, t := range types {
		if t == "*/*" || strings.EqualFold(t, kind) || strings.EqualFold(t, group+"/*") {
			return true
		}
	}
	return false
}

// readProxyAnswer reads a function's result in format 1.0, where it has to be an object with a statusCode.
func readProxyAnswer(result []byte) (a *httpAnswer, encoded bool, err error) {
	var shape map[string]json.RawMessage
	if json.Unmarshal(result, &shape) != nil || shape["statusCode"] == nil {
		return nil, false, errMalformed
	}
	a = &httpAnswer{header: http.Header{}}
	delete(shape, "cookies") // format 2.0 only
	if err := a.readHead(shape); err != nil {
		return nil, false, err
	}
	var multi map[string][]any
	if raw := shape["multiValueHeaders"]; raw != nil {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if d.Decode(&multi) != nil {
			return nil, false, errMalformed
		}
	}
	for name, values := range multi { // both maps are sent; what is in both comes once
		name = http.CanonicalHeaderKey(name)
		single := a.header.Get(name)
		delete(a.header, name)
		for _, value := range values {
			text := fmt.Sprint(value)
			if text == single {
				single = ""
			}
			a.header.Add(name, text)
		}
		if single != "" {
			a.header.Add(name, single)
		}
	}
	if raw := shape["isBase64Encoded"]; raw != nil && string(raw) != "null" && json.Unmarshal(raw, &encoded) != nil {
		return nil, false, errMalformed
	}
	if raw := shape["body"]; raw != nil && string(raw) != "null" {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return nil, false, errMalformed
		}
		a.body = []byte(text)
	}
	if a.header["Content-Type"] == nil {
		a.header.Set("Content-Type", "application/json")
	}
	return a, encoded, nil
}

// decode puts the bytes of a base64 body in its place.
func (a *httpAnswer) decode() error {
	decoded, err := base64.StdEncoding.DecodeString(string(a.body))
	if err != nil {
		return errMalformed
	}
	a.body = decoded
	return nil
}
