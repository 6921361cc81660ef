package runtime

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sst/cfn"
	"sst/proxy"
)

// apiTime is how long an HTTP API waits for a function.
const apiTime = 30 * time.Second

// apiFront is the HTTP port of one Api. It keeps its port for the life of the server.
type apiFront struct {
	server *Server
	http   *http.Server
	port   int
	url    string
	api    atomic.Pointer[apiConfig]

	sockets connections // of a WebSocket API
}

// apiConfig is what an Api of the present app says.
type apiConfig struct {
	cfn.Api
	routes []route
	region string
}

// apiID stands for the id that AWS would give.
func (c *apiConfig) apiID() string { return strings.ToLower(c.LogicalID) }

// byKey finds a route of a WebSocket API.
func (c *apiConfig) byKey(key string) (match, bool) {
	for _, r := range c.routes {
		if r.key == key {
			return match{key: key, function: r.function, route: r.cfn}, true
		}
	}
	return match{}, false
}

// address is what callers of an Api take, given that of its port.
func address(api cfn.Api, url string) string {
	switch api.Type {
	case "rest":
		return url + "/" + api.StageName
	case "websocket":
		return "ws" + strings.TrimPrefix(url, "http") + "/" + api.StageName
	}
	return url
}

func (c *apiConfig) stage() string { return cmp.Or(c.StageName, "$default") }

// arn is that of a method, as policies name it.
func (c *apiConfig) arn(method, path string) string {
	return fmt.Sprintf("arn:aws:execute-api:%s:%s:%s/%s/%s%s", c.region, accountID, c.apiID(), c.stage(), method, path)
}

// openFronts gives each Api its port and closes the fronts of others. It runs on the owner goroutine.
func (s *Server) openFronts(apis []cfn.Api) (changed bool, err error) {
	wanted := map[string]bool{}
	next := s.opts.Port
	for _, api := range apis {
		wanted[api.ID] = true
		front := s.fronts[api.ID]
		if front == nil {
			if front, err = s.openFront(api.ID, next); err != nil {
				return changed, err
			}
			s.fronts[api.ID] = front
			changed = true
		}
		if next != 0 {
			next = max(next, front.port) + 1
		}
	}
	for id, front := range s.fronts {
		if !wanted[id] {
			delete(s.fronts, id)
			changed = true
			go front.close()
		}
	}
	return changed, nil
}

// route has the fronts serve the routes of their Apis.
func (s *Server) route(a *app) {
	for _, api := range a.apis {
		front := s.fronts[api.ID]
		if front == nil {
			continue
		}
		config := &apiConfig{Api: api, region: a.region}
		for _, r := range api.Routes {
			config.routes = append(config.routes, newRoute(r))
		}
		front.api.Store(config)
	}
}

// openFront listens on the first free port from the one wanted on; 0 is any free one.
func (s *Server) openFront(id string, want int) (*apiFront, error) {
	var l net.Listener
	var err error
	for port := want; ; port++ {
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			break
		}
		if want == 0 || port-want >= 100 || port >= 65535 {
			return nil, fmt.Errorf("open a port for %s: %w", id, err)
		}
	}
	f := &apiFront{server: s, port: l.Addr().(*net.TCPAddr).Port}
	if want != 0 && f.port != want {
		s.events.send(Notice{Text: fmt.Sprintf("port %d is taken; %s is on port %d", want, id, f.port)})
	}
	f.url = fmt.Sprintf("http://127.0.0.1:%d", f.port)
	f.http = &http.Server{Handler: f, ErrorLog: log.New(io.Discard, "", 0)}
	go f.http.Serve(l)
	return f, nil
}

// close lets requests under way end for a moment.
func (f *apiFront) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	f.sockets.close()
	if f.http.Shutdown(ctx) != nil {
		f.http.Close()
	}
}

func (f *apiFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !localHost(r.Host) {
		http.Error(w, fmt.Sprintf("Host %q is not this machine", r.Host), http.StatusForbidden)
		return
	}
	config := f.api.Load()
	if config == nil {
		message(w, http.StatusServiceUnavailable, "Service Unavailable")
		return
	}
	x := &exchange{server: f.server, front: f, api: config, w: w, r: r, id: newID(), began: time.Now()}
	switch config.Type {
	case "rest":
		x.serveREST()
	case "websocket":
		x.serveSocket()
	default:
		x.serveHTTP()
	}
}

// exchange is one request at a front.
type exchange struct {
	server *Server
	front  *apiFront
	api    *apiConfig
	w      http.ResponseWriter
	r      *http.Request
	id     string
	began  time.Time
}

// refuse answers a request that leads to no function; why is for the developer.
func (x *exchange) refuse(function string, a *httpAnswer, why string) {
	a.write(x.w)
	x.server.events.send(Finished{RequestID: x.id, Function: function, Trigger: x.trigger(), Status: a.status,
		Refused: why, Duration: time.Since(x.began), Time: time.Now()})
}

func (x *exchange) trigger() string { return x.r.Method + " " + x.r.URL.Path }

// refuseText refuses with a message in the form of HTTP APIs.
func (x *exchange) refuseText(function string, status int, text, why string) {
	x.refuse(function, messageAnswer(status, text), cmp.Or(why, text))
}

func (x *exchange) serveHTTP() {
	x.w.Header().Set("Apigw-Requestid", x.id)
	if x.api.Cors != nil && applyCors(x.api.Cors, x.w.Header(), x.r) {
		x.w.WriteHeader(http.StatusNoContent)
		return
	}
	m, ok := find(x.api.routes, x.r.Method, x.r.URL.Path)
	if !ok {
		x.refuseText("", http.StatusNotFound, "Not Found", "")
		return
	}
	fn, ok := x.server.app.Load().functions[m.function]
	switch {
	case !ok && m.route.Proxy == nil:
		x.refuseText(m.function, http.StatusNotImplemented, nowhere(m), "")
		return
	case !ok:
		if _, refused := x.server.authorize(x.server.ctx, x.httpGate(m, time.Now())); refused != nil {
			x.refuse("", httpRefusal(refused, x.api.Type), refused.why)
			return
		}
		x.forward(m, apiTime, func(late bool) *httpAnswer {
			return messageAnswer(http.StatusServiceUnavailable, "Service Unavailable")
		})
		return
	}
	body, ok := x.body(func() { x.refuseText(fn.ID, http.StatusRequestEntityTooLarge, "Request Entity Too Large", "") },
		func() { x.refuseText(fn.ID, http.StatusBadRequest, "Bad Request", "") })
	if !ok {
		return
	}
	now := time.Now()
	who, refused := x.server.authorize(x.server.ctx, x.httpGate(m, now))
	if refused != nil {
		a := httpRefusal(refused, x.api.Type)
		maps.Copy(a.header, refused.header)
		x.refuse(fn.ID, a, refused.why)
		return
	}
	var made any
	if m.route.Payload == "1.0" {
		made = newRESTEvent(x.r, m, x.api, x.r.URL.Path, x.id, body, who, now)
	} else {
		e := newHTTPEvent(x.r, m, x.api.apiID(), x.id, body, now)
		e.StageVariables = x.api.Variables
		who.fillHTTP(&e.Context)
		made = e
	}
	event, err := json.Marshal(made)
	if err != nil {
		x.refuseText(fn.ID, http.StatusInternalServerError, "Internal Server Error", "")
		return
	}
	if len(event) > maxPayload {
		x.refuseText(fn.ID, http.StatusRequestEntityTooLarge, "Request Entity Too Large", "")
		return
	}
	req := request{fn: fn, id: x.id, event: event, trigger: x.trigger()}
	read := httpResult
	if m.route.Payload == "1.0" {
		read = oldHTTPResult
	}
	limit := apiTime
	if x.api.Type == "url" {
		limit = 15 * time.Minute // Lambda's own
	}
	if x.api.Stream {
		x.serveStream(req, read)
		return
	}
	x.run(req, limit, read, func() *httpAnswer { return messageAnswer(http.StatusServiceUnavailable, "Service Unavailable") })
}

// body reads the request's; it is false when it was refused.
func (x *exchange) body(large, broken func()) ([]byte, bool) {
	body, err := io.ReadAll(io.LimitReader(x.r.Body, maxPayload+1))
	switch {
	case err != nil:
		broken()
	case len(body) > maxPayload:
		large()
	default:
		return body, true
	}
	return nil, false
}

// run invokes the function and answers. The invocation goes on when the caller has left or was sent away.
func (x *exchange) run(req request, limit time.Duration, read func(*proxy.Response, error) *httpAnswer, late func() *httpAnswer) {
	answered := make(chan *httpAnswer, 1)
	go x.server.invoke(x.server.ctx, req,
		func(got *proxy.Response, err error) int {
			a := read(got, err)
			answered <- a
			return a.status
		})
	patience := x.server.debug.of(req.fn.ID).countdown(limit, nil)
	defer patience.stop()
	select {
	case a := <-answered:
		a.write(x.w)
	case <-patience.done:
		late().write(x.w)
	case <-x.r.Context().Done():
	}
}

// httpGate is the request in front of its authorizer.
func (x *exchange) httpGate(m match, now time.Time) gate {
	g := gate{route: m.route, api: x.api, header: x.r.Header, now: now, arn: x.api.arn(x.r.Method, x.r.URL.Path)}
	g.value = sourceOf(x.r, x.api.Variables, map[string]string{"routeKey": m.key, "path": x.r.URL.Path, "httpMethod": x.r.Method})
	g.event = func(a cfn.Authorizer, identity []string) any {
		if a.Payload == "1.0" {
			e := newRESTEvent(x.r, m, x.api, x.r.URL.Path, x.id, nil, nil, now).authorizerEvent(g.arn, false)
			e.Version, e.IdentitySource, e.Token = "1.0", strings.Join(identity, ","), strings.Join(identity, ",")
			return e
		}
		e := newHTTPEvent(x.r, m, x.api.apiID(), x.id, nil, now)
		return authorizerEvent{Version: "2.0", Type: "REQUEST", RouteArn: g.arn, IdentitySource: identity, RouteKey: m.key, RawPath: e.RawPath,
			RawQuery: &e.RawQuery, Cookies: e.Cookies, Headers: e.Headers, Query: filled(e.Query), PathParameters: filled(e.PathParameters),
			StageVariables: filled(x.api.Variables), Context: e.Context}
	}
	return g
}

// httpRefusal is what an HTTP API or a function URL answers to a caller who may not.
func httpRefusal(r *refusal, kind string) *httpAnswer {
	switch r.kind {
	case refusedUnauthorized, refusedExpired:
		return messageAnswer(http.StatusUnauthorized, "Unauthorized")
	case refusedFailure, refusedAnswer:
		return messageAnswer(http.StatusInternalServerError, "Internal Server Error")
	}
	if kind == "url" {
		a := messageAnswer(http.StatusForbidden, "")
		a.body = []byte(`{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}`)
		return a
	}
	return messageAnswer(http.StatusForbidden, "Forbidden")
}

func message(w http.ResponseWriter, status int, text string) {
	messageAnswer(status, text).write(w)
}

func messageAnswer(status int, text string) *httpAnswer {
	body, _ := json.Marshal(map[string]string{"message": text})
	return &httpAnswer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: body}
}

// httpResult turns the end of an invocation into an HTTP answer. A function error says no more than on AWS, but for code
// that does not compile: nobody would know from "Internal Server Error" that their save was at fault.
func httpResult(got *proxy.Response, err error) *httpAnswer {
	switch {
	case errors.Is(err, errBusy):
		return messageAnswer(http.StatusTooManyRequests, "Too Many Requests")
	case err != nil:
		return messageAnswer(http.StatusServiceUnavailable, "Service Unavailable")
	case got.FunctionError && (got.ErrorType == errorBuild || got.ErrorType == errorStart):
		var shape map[string]any
		json.Unmarshal(got.Body, &shape)
		shape["message"] = shape["errorMessage"]
		delete(shape, "errorMessage")
		delete(shape, "errorType")
		body, _ := json.Marshal(shape)
		return &httpAnswer{status: http.StatusInternalServerError, header: http.Header{"Content-Type": {"application/json"}}, body: body}
	case got.FunctionError:
		return messageAnswer(http.StatusInternalServerError, "Internal Server Error")
	}
	a, err := readHTTPAnswer(got.Body)
	if err != nil {
		return messageAnswer(http.StatusInternalServerError, "Internal Server Error")
	}
	return a
}

// oldHTTPResult is httpResult for payload format 1.0.
func oldHTTPResult(got *proxy.Response, err error) *httpAnswer {
	if err != nil || got.FunctionError {
		return httpResult(got, err)
	}
	a, encoded, err := readProxyAnswer(got.Body)
	if err == nil && encoded {
		err = a.decode()
	}
	if err != nil {
		return messageAnswer(http.StatusInternalServerError, "Internal Server Error")
	}
	return a
}

// ours are headers a function cannot set: they describe the connection.
var ours = []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Content-Length", "Te", "Trailer"}

func (a *httpAnswer) write(w http.ResponseWriter) {
	if a.status >= 200 && a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	a.begin(w)
	w.Write(a.body)
}

// begin sends status and headers.
func (a *httpAnswer) begin(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.header {
		if slices.Contains(ours, name) || strings.HasPrefix(name, "Access-Control-") && h[corsMark] != nil {
			continue // where CORS is configured, API Gateway ignores what the function says
		}
		h[name] = values
	}
	delete(h, corsMark)
	w.WriteHeader(a.status)
}

// corsMark is set between applyCors and write: the Api has a CORS configuration.
const corsMark = "\x00cors"

// applyCors sets the CORS headers for a request that comes from a page. It is true for a preflight request, which is
// answered without the function.
func applyCors(c *cfn.Cors, h http.Header, r *http.Request) (preflight bool) {
	h[corsMark] = []string{""}
	origin := r.Header.Get("Origin")
	preflight = r.Method == http.MethodOptions && origin != "" && r.Header.Get("Access-Control-Request-Method") != ""
	if preflight {
		delete(h, corsMark)
	}
	if origin == "" || !originAllowed(c.AllowOrigins, origin) {
		return preflight
	}
	allow := origin
	if slices.Contains(c.AllowOrigins, "*") && !c.AllowCredentials {
		allow = "*"
	} else {
		h.Set("Vary", "Origin")
	}
	h.Set("Access-Control-Allow-Origin", allow)
	if c.AllowCredentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(c.ExposeHeaders) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(c.ExposeHeaders, ","))
	}
	if preflight {
		if len(c.AllowMethods) > 0 {
			h.Set("Access-Control-Allow-Methods", strings.Join(c.AllowMethods, ","))
		}
		if len(c.AllowHeaders) > 0 {
			h.Set("Access-Control-Allow-Headers", strings.Join(c.AllowHeaders, ","))
		}
		if c.MaxAge > 0 {
			h.Set("Access-Control-Max-Age", strconv.Itoa(c.MaxAge))
		}
	}
	return preflight
}

// originAllowed matches an origin against "*", an origin, or one with a wildcard: "https://*", "https://*.example.com".
func originAllowed(allowed []string, origin string) bool {
	for _, a := range allowed {
		before, after, wild := strings.Cut(a, "*")
		if a == origin || wild && len(origin) >= len(before)+len(after) &&
			strings.HasPrefix(origin, before) && strings.HasSuffix(origin, after) {
			return true
		}
	}
	return false
}
