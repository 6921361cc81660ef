package runtime

// Routes that lead to another server: integrations of type HTTP_PROXY.

import (
	"cmp"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"sst/cfn"
)

// maxForward is what API Gateway passes on of a request.
const maxForward = 10 << 20

// nowhere says what a route leads to that is not here.
func nowhere(m match) string {
	if m.route.Leads == "" {
		return m.key + " leads to something that does not run locally"
	}
	return m.key + " leads to " + m.route.Leads + ", which does not run locally"
}

// forward passes a request on and its answer back. failed is what the API answers when there is none in time.
func (x *exchange) forward(m match, limit time.Duration, failed func(late bool) *httpAnswer) {
	f := m.route.Proxy
	target, err := url.Parse(forwardURL(f, m, x.value))
	if err != nil || target.Host == "" {
		x.refuse("", failed(false), m.key+" leads to "+f.URL+", which is no address")
		return
	}
	began := time.Now()
	status, refused := 0, ""
	ctx, cancel := context.WithTimeout(x.r.Context(), limit)
	defer cancel()
	passer := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			query := r.In.URL.Query()
			for name, values := range target.Query() {
				query[name] = values
			}
			r.Out.URL, r.Out.Host = target, ""
			r.Out.Method = cmp.Or(f.Method, r.In.Method)
			for to, from := range f.Parameters {
				switch kind, name, _ := strings.Cut(to, "."); kind {
				case "header":
					r.Out.Header.Set(name, x.value(m, from))
				case "querystring":
					query.Set(name, x.value(m, from))
				}
			}
			r.Out.URL.RawQuery = query.Encode()
			r.SetXForwarded()
		},
		ErrorLog:       log.New(io.Discard, "", 0),
		ModifyResponse: func(r *http.Response) error { status = r.StatusCode; return nil },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			a := failed(ctx.Err() == context.DeadlineExceeded)
			status, refused = a.status, m.key+" leads to "+f.URL+": "+err.Error()
			a.write(w)
		},
	}
	r := x.r.WithContext(ctx)
	r.Body = http.MaxBytesReader(x.w, x.r.Body, maxForward)
	passer.ServeHTTP(x.w, r)
	now := time.Now()
	x.server.events.send(Finished{RequestID: x.id, Trigger: x.trigger(), Status: status, Refused: refused, Time: now, Duration: now.Sub(began)})
}

// forwardURL puts parameters into the address.
func forwardURL(f *cfn.Passed, m match, value func(m match, from string) string) string {
	address := f.URL
	put := func(name, text string) {
		var parts []string
		for part := range strings.SplitSeq(text, "/") { // those of a greedy parameter
			parts = append(parts, url.PathEscape(part))
		}
		address = strings.ReplaceAll(address, "{"+name+"}", strings.Join(parts, "/"))
	}
	for to, from := range f.Parameters {
		if name, ok := strings.CutPrefix(to, "path."); ok {
			put(name, value(m, from))
		}
	}
	for name, text := range m.parameters { // HTTP APIs need no mapping
		put(name, text)
	}
	return address
}

// value is one of the request, "path.id", "querystring.page" or "header.x", or a text in quotes.
func (x *exchange) value(m match, from string) string {
	if text, ok := strings.CutPrefix(from, "'"); ok {
		return strings.TrimSuffix(text, "'")
	}
	switch kind, name, _ := strings.Cut(from, "."); kind {
	case "querystring":
		return x.r.URL.Query().Get(name)
	case "header":
		return x.r.Header.Get(name)
	case "path":
		return m.parameters[name]
	}
	return ""
}
