package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
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
}

// apiConfig is what an Api of the present app says.
type apiConfig struct {
	cfn.Api
	routes []route
}

// openFronts gives each Api its port and closes the fronts of others. It runs on the owner goroutine.
func (s *Server) openFronts(apis []cfn.Api) (changed bool, err error) {
	wanted := map[string]bool{}
	next := s.opts.Port
	for _, api := range apis {
		if api.Type != "" && api.Type != "http" && api.Type != "url" {
			continue
		}
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
func (s *Server) route(apis []cfn.Api) {
	for _, api := range apis {
		front := s.fronts[api.ID]
		if front == nil {
			continue
		}
		config := &apiConfig{Api: api}
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
	id := newID()
	w.Header().Set("Apigw-Requestid", id)
	if config.Cors != nil && applyCors(config.Cors, w.Header(), r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	f.serve(w, r, config, id)
}

func (f *apiFront) serve(w http.ResponseWriter, r *http.Request, config *apiConfig, id string) {
	began := time.Now()
	refuse := func(function string, status int, text string) {
		message(w, status, text)
		f.server.events.send(Finished{RequestID: id, Function: function, Trigger: r.Method + " " + r.URL.Path, Status: status,
			Refused: text, Duration: time.Since(began), Time: time.Now()})
	}
	m, ok := find(config.routes, r.Method, r.URL.Path)
	if !ok {
		refuse("", http.StatusNotFound, "Not Found")
		return
	}
	fn, ok := f.server.app.Load().functions[m.function]
	if !ok {
		refuse(m.function, http.StatusNotImplemented, fmt.Sprintf("%s leads to something that does not run locally", m.key))
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	if err != nil {
		refuse(fn.ID, http.StatusBadRequest, "Bad Request")
		return
	}
	if len(body) > maxPayload {
		refuse(fn.ID, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	event, err := json.Marshal(newHTTPEvent(r, m, strings.ToLower(config.LogicalID), id, body, time.Now()))
	if err != nil {
		refuse(fn.ID, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	if len(event) > maxPayload {
		refuse(fn.ID, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		return
	}
	// The invocation goes on when the caller has left or was sent away.
	answered := make(chan *httpAnswer, 1)
	req := request{fn: fn, id: id, event: event, trigger: r.Method + " " + r.URL.Path}
	if config.Stream {
		f.serveStream(w, r, req)
		return
	}
	go f.server.invoke(f.server.ctx, req,
		func(got *proxy.Response, err error) int {
			a := httpResult(got, err)
			answered <- a
			return a.status
		})
	limit := apiTime
	if config.Type == "url" {
		limit = 15 * time.Minute // Lambda's own
	}
	patience := time.NewTimer(limit)
	defer patience.Stop()
	select {
	case a := <-answered:
		a.write(w)
	case <-patience.C:
		message(w, http.StatusServiceUnavailable, "Service Unavailable")
	case <-r.Context().Done():
	}
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
