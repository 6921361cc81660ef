package runtime

// REST APIs: requests below the path of the stage, answers that the API gives by itself.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sst/cfn"
	"sst/proxy"
)

// restTime is how long a REST API waits for a function that its template says nothing else about.
const restTime = 29 * time.Second

// gatewayAnswer is one that a REST API gives by itself.
type gatewayAnswer struct {
	kind    string // of the gateway response
	status  int
	message string // "" is null
	errType string // of the header x-amzn-ErrorType
}

var gatewayAnswers = map[string]gatewayAnswer{
	refusedUnauthorized: {"UNAUTHORIZED", 401, "Unauthorized", "UnauthorizedException"},
	refusedExpired:      {"UNAUTHORIZED", 401, "The incoming token has expired", "UnauthorizedException"},
	refusedDenied:       {"ACCESS_DENIED", 403, "User is not authorized to access this resource", "AccessDeniedException"},
	refusedUnsigned:     {"MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token", "MissingAuthenticationTokenException"},
	refusedKey:          {"INVALID_API_KEY", 403, "Forbidden", "ForbiddenException"},
	refusedFailure:      {"AUTHORIZER_FAILURE", 500, "", "AuthorizerFailureException"},
	refusedAnswer:       {"AUTHORIZER_CONFIGURATION_ERROR", 500, "", "AuthorizerConfigurationException"},
	"failed":            {"DEFAULT_5XX", 502, "Internal server error", "InternalServerErrorException"},
	"late":              {"INTEGRATION_TIMEOUT", 504, "Endpoint request timed out", ""},
	"large":             {"REQUEST_TOO_LARGE", 413, "Request Too Long", "RequestTooLargeException"},
	"throttled":         {"THROTTLED", 429, "Too Many Requests", "TooManyRequestsException"},
	"unavailable":       {"DEFAULT_5XX", 503, "Service Unavailable", ""},
	"nowhere":           {"INTEGRATION_FAILURE", 501, "", ""},
}

func (x *exchange) serveREST() {
	h := x.w.Header()
	h.Set("X-Amzn-Requestid", x.id)
	h.Set("X-Amz-Apigw-Id", x.id[:8])
	path, ok := belowStage(x.r.URL.Path, x.api.StageName)
	if !ok {
		x.refuse("", messageAnswer(http.StatusForbidden, "Forbidden"), fmt.Sprintf("the addresses of a REST API begin with its stage: /%s%s", x.api.StageName, x.r.URL.Path))
		return
	}
	m, ok := findMethod(x.api.routes, x.r.Method, path)
	if !ok {
		x.refuse("", x.gateway(gatewayAnswers[refusedUnsigned]), "no route leads there")
		return
	}
	if m.route.Mock != nil && m.route.Authorizer == "" {
		x.mock(m.route.Mock)
		return
	}
	fn, ok := x.server.app.Load().functions[m.function]
	if !ok && m.route.Proxy == nil {
		a := gatewayAnswers["nowhere"]
		a.message = nowhere(m)
		x.refuse(m.function, x.gateway(a), a.message)
		return
	}
	for _, name := range m.route.Required {
		if !x.has(name, m) {
			_, short, _ := strings.Cut(name, ".")
			a := gatewayAnswer{"BAD_REQUEST_PARAMETERS", 400, "Missing required request parameters: [" + short + "]", "BadRequestException"}
			x.refuse(m.function, x.gateway(a), a.message)
			return
		}
	}
	large := func() {
		x.refuse(m.function, x.gateway(gatewayAnswers["large"]), "a request and its headers may have 6 MB in all, as on AWS")
	}
	schema := bodyModel(m.route.Models, x.r.Header.Get("Content-Type"))
	var body []byte
	if ok || schema != nil {
		var whole bool
		if body, whole = x.body(large, func() { x.refuseText(m.function, http.StatusBadRequest, "Bad Request", "") }); !whole {
			return
		}
		x.r.Body = io.NopCloser(bytes.NewReader(body))
	}
	now := time.Now()
	who, refused := x.server.authorize(x.server.ctx, x.restGate(m, path, now))
	if refused != nil {
		x.refuse(m.function, x.gateway(gatewayAnswers[refused.kind]), refused.why)
		return
	}
	if schema != nil {
		if err := checkBody(schema, body); err != nil {
			a := gatewayAnswer{"BAD_REQUEST_BODY", 400, "Invalid request body", "BadRequestException"}
			x.refuse(m.function, x.gateway(a), "the body is not of its model: "+strings.ReplaceAll(err.Error(), "\n", " "))
			return
		}
	}
	limit := restTime
	if m.route.Timeout > 0 {
		limit = time.Duration(m.route.Timeout) * time.Millisecond
	}
	if !ok {
		x.forward(m, limit, func(late bool) *httpAnswer {
			if late {
				return x.gateway(gatewayAnswers["late"])
			}
			return x.gateway(gatewayAnswers["failed"])
		})
		return
	}
	event, err := json.Marshal(newRESTEvent(x.r, m, x.api, path, x.id, body, who, now))
	if err != nil {
		x.refuse(fn.ID, x.gateway(gatewayAnswers["failed"]), err.Error())
		return
	}
	if len(event) > maxPayload {
		large()
		return
	}
	req := request{fn: fn, id: x.id, event: event, trigger: x.trigger()}
	if m.route.Stream {
		x.serveStream(req, x.restResult)
		return
	}
	x.run(req, limit, x.restResult, func() *httpAnswer { return x.gateway(gatewayAnswers["late"]) })
}

// belowStage takes the stage off a path.
func belowStage(path, stage string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "/"+stage)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return cmp.Or(rest, "/"), true
}

// has says whether the request has a parameter, "querystring.page" or "header.x-part" or "path.id".
func (x *exchange) has(name string, m match) bool {
	kind, name, _ := strings.Cut(name, ".")
	switch kind {
	case "querystring":
		return x.r.URL.Query().Get(name) != ""
	case "header":
		return x.r.Header.Get(name) != ""
	}
	return m.parameters[name] != ""
}

func (x *exchange) restGate(m match, path string, now time.Time) gate {
	g := gate{route: m.route, api: x.api, header: x.r.Header, now: now, arn: x.api.arn(x.r.Method, path)}
	g.value = sourceOf(x.r, x.api.Variables, map[string]string{"path": x.r.URL.Path, "httpMethod": x.r.Method, "resourcePath": m.key})
	g.event = func(a cfn.Authorizer, identity []string) any {
		if a.Type == "token" {
			token := ""
			if len(identity) > 0 {
				token = identity[0]
			}
			return tokenEvent{"TOKEN", token, g.arn}
		}
		return newRESTEvent(x.r, m, x.api, path, x.id, nil, nil, now).authorizerEvent(g.arn, true)
	}
	return g
}

// restResult turns the end of an invocation into the answer of a REST API.
func (x *exchange) restResult(got *proxy.Response, err error) *httpAnswer {
	switch {
	case err == errBusy:
		return x.gateway(gatewayAnswers["throttled"])
	case err != nil:
		return x.gateway(gatewayAnswers["unavailable"])
	case got.FunctionError && (got.ErrorType == errorBuild || got.ErrorType == errorStart):
		return httpResult(got, nil)
	case got.FunctionError:
		return x.gateway(gatewayAnswers["failed"])
	}
	a, encoded, err := readProxyAnswer(got.Body)
	// The first type that the caller accepts decides whether a body comes as bytes.
	if err == nil && encoded {
		accept, _, _ := strings.Cut(x.r.Header.Get("Accept"), ",")
		if isBinary(x.api.BinaryTypes, accept) {
			err = a.decode()
		}
	}
	if err != nil {
		return x.gateway(gatewayAnswers["failed"])
	}
	return a
}

// gateway makes an answer of the API's own in the form that the template gives it.
func (x *exchange) gateway(g gatewayAnswer) *httpAnswer {
	key := "message"
	if g.kind == "ACCESS_DENIED" {
		key = "Message"
	}
	text := []byte("null")
	if g.message != "" {
		text, _ = json.Marshal(g.message)
	}
	a := &httpAnswer{status: g.status, header: http.Header{"Content-Type": {"application/json"}}, body: fmt.Appendf(nil, "{%q:%s}", key, text)}
	if g.errType != "" {
		a.header.Set("X-Amzn-Errortype", g.errType)
	}
	response, ok := x.response(g)
	if !ok {
		return a
	}
	if response.Status != 0 {
		a.status = response.Status
	}
	for name, value := range response.Headers {
		if quoted := strings.Trim(value, "'"); quoted != value {
			a.header.Set(name, quoted)
		} else if source, ok := strings.CutPrefix(value, "method.request."); ok {
			a.header.Set(name, sourceOf(x.r, nil, nil)("method.request."+source))
		}
	}
	if response.Template != "" {
		a.body = []byte(strings.NewReplacer("$context.error.messageString", string(text), "$context.error.message", g.message,
			"$context.error.responseType", g.kind, "$context.requestId", x.id, "$context.httpMethod", x.r.Method,
			"$context.path", x.r.URL.Path, "$context.stage", x.api.StageName).Replace(response.Template))
	}
	return a
}

// response finds the template's form of an answer: that of its type, else that of its class.
func (x *exchange) response(g gatewayAnswer) (cfn.GatewayResponse, bool) {
	for _, kind := range []string{g.kind, "DEFAULT_" + strconv.Itoa(g.status/100) + "XX"} {
		if i := slices.IndexFunc(x.api.Responses, func(r cfn.GatewayResponse) bool { return r.Type == kind }); i >= 0 {
			return x.api.Responses[i], true
		}
	}
	return cfn.GatewayResponse{}, false
}

// mock answers without a function, as to the preflight requests of CORS.
func (x *exchange) mock(m *cfn.Mock) {
	a := &httpAnswer{status: m.Status, header: http.Header{}}
	for name, value := range m.Headers {
		a.header.Set(name, value)
	}
	if origin := x.r.Header.Get("Origin"); origin != "" && originAllowed(m.Origins, origin) {
		a.header.Set("Access-Control-Allow-Origin", origin)
	}
	maps.Copy(x.w.Header(), a.header)
	a.write(x.w)
}
