package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// delivery is one event on its way through a worker's Runtime API.
type delivery struct {
	id       string
	event    []byte
	header   http.Header // of the answer to next
	answered chan answer // buffered: the first answer
}

// states of a worker as its Runtime API sees it.
type apiState int

const (
	apiInit      apiState = iota // the runtime has not asked for an event yet
	apiReady                     // it asks for one
	apiBusy                      // it has one
	apiStreaming                 // it is still writing its answer
	apiDone                      // it answered, and may still be working after the answer
	apiFailed                    // it reported that it cannot start
)

// runtimeAPI is the Lambda Runtime API of one worker process, on a loopback port of its own.
//
// An event that was not answered is rendered again to another next; the second answer to one event is refused; an
// invocation is complete at the call of next that follows its answer.
type runtimeAPI struct {
	addr     string // 127.0.0.1:port
	listener net.Listener
	server   *http.Server
	// flush is called before an answer is passed on and before the next event: what the process printed belongs to
	// what it ran until then.
	flush func()
	// onNext is called when the process asks for an event, so when the last invocation is over.
	onNext func()

	gone  <-chan struct{} // closed when the process is gone
	ended chan struct{}   // closed by close: whoever waits for an event goes home

	mu      sync.Mutex
	state   apiState
	current *delivery
	wake    chan struct{} // closed and replaced when current or state changes
	channel *channel      // of a worker that speaks frames

	inspector chan string // gets the URL of the process's inspector; buffered
	initErr   answer
	info      map[string]string // what an extension is told when it registers
}

// describe says whose Runtime API it is.
func (a *runtimeAPI) describe(function, handler string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.info = map[string]string{"functionName": function, "functionVersion": "$LATEST", "handler": handler}
}

// openRuntimeAPI takes the port; serve answers on it, once the fields that others set are set.
func openRuntimeAPI() (*runtimeAPI, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the Runtime API of a worker: %w", err)
	}
	a := &runtimeAPI{
		addr:     l.Addr().String(),
		listener: l,
		ended:    make(chan struct{}),
		wake:     make(chan struct{}),

		inspector: make(chan string, 1),
	}
	a.server = &http.Server{
		Handler:        a,
		MaxHeaderBytes: 2 << 20, // the X-Ray cause of an error may have 1 MiB
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	return a, nil
}

func (a *runtimeAPI) serve() { go a.server.Serve(a.listener) }

func (a *runtimeAPI) close() {
	a.mu.Lock()
	select {
	case <-a.ended:
		a.mu.Unlock()
		return
	default:
	}
	close(a.ended)
	a.mu.Unlock()
	a.server.Close()
	a.listener.Close() // the server does not know of it before serve
}

// inspectorAt takes where the process's debugger listens, once.
func (a *runtimeAPI) inspectorAt(address string) {
	select {
	case a.inspector <- address:
	default:
	}
}

// deliver hands the next event to the process. The worker must be ready, or become so: see settled.
func (a *runtimeAPI) deliver(d *delivery) {
	a.mu.Lock()
	a.current = d
	if ch := a.channel; ch != nil && a.state == apiReady {
		a.state = apiBusy
		a.mu.Unlock()
		ch.send(d)
		return
	}
	a.change()
	a.mu.Unlock()
}

// asks notes that the process wants an event; mu is held.
func (a *runtimeAPI) asks() {
	if a.state == apiDone {
		a.current = nil
	}
	if a.state != apiBusy {
		a.state = apiReady
		a.onNext()
		a.change()
	}
}

// change wakes those who wait for another state; mu is held.
func (a *runtimeAPI) change() {
	close(a.wake)
	a.wake = make(chan struct{})
}

// settled waits until the process asks for an event. It is false when ctx ended or the process cannot start.
func (a *runtimeAPI) settled(ctx context.Context) bool {
	for {
		a.mu.Lock()
		state, wake := a.state, a.wake
		a.mu.Unlock()
		switch state {
		case apiReady:
			return true
		case apiFailed:
			return false
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		case <-a.gone:
			return false
		case <-a.ended:
			return false
		}
	}
}

// initError gives the error that the process reported instead of starting, if it did.
func (a *runtimeAPI) initError() (answer, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.initErr, a.state == apiFailed
}

func (a *runtimeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !localHost(r.Host) || fromPage(r) {
		refuse(w, http.StatusForbidden, "Forbidden", "requests of web pages and foreign hosts are refused")
		return
	}
	if r.URL.Path == channelPath {
		a.openChannel(w, r)
		return
	}
	if r.URL.Path == inspectPath && r.Method == http.MethodPost {
		address, _ := io.ReadAll(io.LimitReader(r.Body, 100))
		a.inspectorAt(string(address))
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/2018-06-01/")
	if !ok {
		a.serveExtension(w, r)
		return
	}
	switch {
	case path == "runtime/invocation/next":
		if method(w, r, http.MethodGet) {
			a.next(w, r)
		}
	case path == "runtime/init/error":
		if method(w, r, http.MethodPost) {
			a.failInit(w, r)
		}
	case strings.HasPrefix(path, "runtime/invocation/"):
		id, verb, _ := strings.Cut(strings.TrimPrefix(path, "runtime/invocation/"), "/")
		if verb != "response" && verb != "error" {
			http.NotFound(w, r)
		} else if method(w, r, http.MethodPost) {
			a.answer(w, r, id, verb == "error")
		}
	case path == "ping":
		io.WriteString(w, "pong")
	default:
		http.NotFound(w, r)
	}
}

func method(w http.ResponseWriter, r *http.Request, want string) bool {
	if r.Method == want {
		return true
	}
	w.Header().Set("Allow", want)
	refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "only "+want)
	return false
}

// refuse answers with an error in the form of the Runtime API.
func refuse(w http.ResponseWriter, status int, errorType, message string) {
	body, _ := json.Marshal(map[string]string{"errorMessage": message, "errorType": errorType})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body)
}

func accepted(w http.ResponseWriter) {
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusAccepted)
	w.Write(statusOK)
}

var (
	jsonType = []string{"application/json"}
	statusOK = []byte(`{"status":"OK"}` + "\n")
)

func (a *runtimeAPI) next(w http.ResponseWriter, r *http.Request) {
	a.flush()
	a.mu.Lock()
	if a.state == apiFailed {
		a.mu.Unlock()
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the runtime reported that it cannot start")
		return
	}
	for asked := false; ; {
		if a.state != apiStreaming && !asked {
			asked = true
			a.asks()
		}
		if asked && a.current != nil {
			break
		}
		wake := a.wake
		a.mu.Unlock()
		select {
		case <-wake:
		case <-r.Context().Done():
			return
		case <-a.ended:
			return
		}
		a.mu.Lock()
	}
	d := a.current
	a.state = apiBusy
	a.mu.Unlock()
	header := w.Header()
	for name, values := range d.header {
		header[name] = values
	}
	header["Content-Length"] = []string{strconv.Itoa(len(d.event))}
	w.Write(d.event)
}

// answer takes the response or error of the current event.
func (a *runtimeAPI) answer(w http.ResponseWriter, r *http.Request, id string, isError bool) {
	a.mu.Lock()
	d, state := a.current, a.state
	a.mu.Unlock()
	switch {
	case d == nil || d.id != id:
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	case state != apiBusy:
		refuse(w, http.StatusForbidden, "InvalidStateTransition",
			"Transition from ResponseSent to InvocationResponse is not allowed")
		return
	}
	mode := r.Header.Get("Lambda-Runtime-Function-Response-Mode")
	if !isError && mode != "" && mode != "streaming" {
		refuse(w, http.StatusBadRequest, "InvalidFunctionResponseMode", "Invalid function response mode: "+mode)
		return
	}
	if !isError && (mode == "streaming" || r.ContentLength < 0 && r.Header.Get("Content-Type") == streamHead) { // aws-lambda-go says no mode
		a.stream(w, r, d)
		return
	}
	body, err := readBody(r)
	var got answer
	status := http.StatusAccepted
	switch {
	case errors.Is(err, errTooLarge):
		got, status = tooLarge(), http.StatusRequestEntityTooLarge
	case err != nil:
		got = platformError(errorTruncated, d.id, "the response ended before it was complete")
		status = http.StatusBadRequest
	case isError:
		got = answer{body: body, errorType: errorTypeOf(r.Header, body)}
	default:
		got = answer{body: body, contentType: r.Header.Get("Content-Type")}
		if late, failed := trailed(r); failed {
			got = late
		}
	}
	a.flush()

	a.mu.Lock()
	if a.current != d || a.state != apiBusy {
		a.mu.Unlock()
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the event has been answered")
		return
	}
	a.state = apiDone
	a.change()
	a.mu.Unlock()
	d.answered <- got
	switch status {
	case http.StatusAccepted:
		accepted(w)
	case http.StatusRequestEntityTooLarge:
		refuse(w, status, "RequestEntityTooLarge",
			fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", maxPayload))
	default:
		refuse(w, status, "TruncatedHTTPRequest", "HTTP request detected as truncated")
	}
}

func errorTypeOf(h http.Header, body []byte) string {
	if t := h.Get("Lambda-Runtime-Function-Error-Type"); t != "" {
		return t
	}
	var shape struct {
		Type string `json:"errorType"`
	}
	if json.Unmarshal(body, &shape) == nil && shape.Type != "" {
		return shape.Type
	}
	return "Runtime.Unknown"
}

var errTooLarge = errors.New("payload too large")

// readBody reads at most maxPayload bytes; more is errTooLarge, with the rest read and dropped as far as it is bearable,
// since most clients do not look at an answer while they still write.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxPayload {
		io.CopyN(io.Discard, r.Body, 64<<20)
		return nil, errTooLarge
	}
	if n := r.ContentLength; n >= 0 {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	var buf bytes.Buffer
	_, err := io.CopyN(&buf, r.Body, maxPayload+1)
	if err == nil {
		io.CopyN(io.Discard, r.Body, 64<<20)
		return nil, errTooLarge
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf.Bytes(), err
}

func (a *runtimeAPI) failInit(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "TruncatedHTTPRequest", "HTTP request detected as truncated")
		return
	}
	a.mu.Lock()
	if a.state != apiInit {
		a.mu.Unlock()
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the runtime is initialized already")
		return
	}
	a.state = apiFailed
	a.initErr = answer{body: body, errorType: errorTypeOf(r.Header, body)}
	a.change()
	a.mu.Unlock()
	accepted(w)
}

// serveExtension answers what runtime clients ask of the Extensions, Logs and Telemetry APIs: registration works, there
// are never events, subscriptions are declined as the runtime interface emulator does.
func (a *runtimeAPI) serveExtension(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/2020-01-01/extension/register":
		w.Header().Set("Lambda-Extension-Identifier", newID())
		w.Header().Set("Content-Type", "application/json")
		a.mu.Lock()
		info := a.info
		a.mu.Unlock()
		json.NewEncoder(w).Encode(info)
	case "/2020-01-01/extension/event/next":
		select {
		case <-a.ended:
		case <-r.Context().Done():
		}
	case "/2020-01-01/extension/init/error", "/2020-01-01/extension/exit/error":
		accepted(w)
	case "/2020-08-15/logs":
		refuse(w, http.StatusAccepted, "Logs.NotSupported", "Logs API is not supported")
	case "/2022-07-01/telemetry":
		refuse(w, http.StatusAccepted, "Telemetry.NotSupported", "Telemetry API is not supported")
	default:
		http.NotFound(w, r)
	}
}

// deadlineHeader is a time as the Runtime API tells it.
func deadlineHeader(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
