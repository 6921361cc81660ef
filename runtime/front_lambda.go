package runtime

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sst/proxy"
)

// maxAsync is the largest event of an asynchronous invocation.
const maxAsync = 1 << 20

// retryAfter is how long an asynchronous invocation that failed waits before each of its two further tries. AWS waits
// a minute and two; nobody at a terminal wants to.
var retryAfter = []time.Duration{time.Second, 2 * time.Second}

// serveLambda answers the Lambda Invoke API, for the AWS SDKs and CLI with an endpoint URL.
func (s *Server) serveLambda(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", newID())
	version, path, ok := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/functions/")
	name, rest, _ := strings.Cut(path, "/")
	name, err := url.PathUnescape(name)
	streams := version == "2021-11-15" && rest == "response-streaming-invocations"
	if !ok || err != nil || !streams && (version != "2015-03-31" || rest != "invocations") {
		refuseLambda(w, http.StatusNotFound, "UnknownOperationException", "only Invoke is served here")
		return
	}
	if r.Method != http.MethodPost {
		refuseLambda(w, http.StatusMethodNotAllowed, "UnknownOperationException", "Invoke is a POST")
		return
	}
	fn, ok := s.app.Load().find(name)
	if !ok {
		refuseLambda(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+name)
		return
	}
	switch kind := r.Header.Get("X-Amz-Invocation-Type"); kind {
	case "", "RequestResponse":
		if streams {
			s.invokeStream(w, r, fn)
			return
		}
		s.invokeSync(w, r, fn)
	case "Event":
		s.invokeAsync(w, r, fn)
	case "DryRun":
		w.Header().Set("X-Amz-Executed-Version", "$LATEST")
		w.WriteHeader(http.StatusNoContent)
	default:
		refuseLambda(w, http.StatusBadRequest, "InvalidParameterValueException", fmt.Sprintf("invocation type %q", kind))
	}
}

func refuseLambda(w http.ResponseWriter, status int, errorType, message string) {
	body, _ := json.Marshal(map[string]string{"Type": "User", "Message": message, "message": message})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", errorType)
	w.WriteHeader(status)
	w.Write(body)
}

// readEvent reads the payload: JSON, {} when there is none.
func readEvent(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	event, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case err != nil:
		refuseLambda(w, http.StatusBadRequest, "InvalidRequestContentException", "the request ended before it was complete")
	case int64(len(event)) > limit:
		io.CopyN(io.Discard, r.Body, 64<<20) // clients do not read an answer while they write
		refuseLambda(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException",
			fmt.Sprintf("Request must be smaller than %d bytes for the InvokeFunction operation", limit))
	case len(event) == 0:
		return []byte("{}"), true
	case !json.Valid(event):
		refuseLambda(w, http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json: "+jsonProblem(event))
	default:
		return event, true
	}
	return nil, false
}

func jsonProblem(data []byte) string {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err.Error()
	}
	return ""
}

// readInvoke reads a request to invoke a function; it has answered when that fails.
func (s *Server) readInvoke(w http.ResponseWriter, r *http.Request, fn *function) (req request, ok bool) {
	event, ok := readEvent(w, r, maxPayload)
	if !ok {
		return req, false
	}
	req = request{fn: fn, id: w.Header().Get("X-Amzn-Requestid"), event: event, trigger: "Invoke"}
	if encoded := r.Header.Get("X-Amz-Client-Context"); encoded != "" {
		client, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || !json.Valid(client) {
			refuseLambda(w, http.StatusBadRequest, "InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.")
			return req, false
		}
		req.header.ClientContext = string(client)
	}
	req.header.TraceID = r.Header.Get("X-Amzn-Trace-Id")
	req.header.TenantID = r.Header.Get("X-Amz-Tenant-Id")
	req.header.Tail = r.Header.Get("X-Amz-Log-Type") == "Tail"
	return req, true
}

func (s *Server) invokeSync(w http.ResponseWriter, r *http.Request, fn *function) {
	req, ok := s.readInvoke(w, r, fn)
	if !ok {
		return
	}
	got, err := s.invoke(s.ctx, req, func(got *proxy.Response, err error) int {
		switch {
		case errors.Is(err, errBusy):
			return http.StatusTooManyRequests
		case err != nil:
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	switch {
	case errors.Is(err, errBusy):
		refuseLambda(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
		return
	case err != nil:
		refuseLambda(w, http.StatusInternalServerError, "ServiceException", err.Error())
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Amz-Executed-Version", "$LATEST")
	if got.FunctionError {
		h.Set("X-Amz-Function-Error", "Unhandled")
	}
	if req.header.Tail {
		h.Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString(got.LogTail))
	}
	w.Write(got.Body)
}

func (s *Server) invokeAsync(w http.ResponseWriter, r *http.Request, fn *function) {
	event, ok := readEvent(w, r, maxAsync)
	if !ok {
		return
	}
	if !s.later(request{fn: fn, id: w.Header().Get("X-Amzn-Requestid"), event: event, trigger: "Invoke (async)"}) {
		refuseLambda(w, http.StatusServiceUnavailable, "ServiceException", errClosing.Error())
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// later runs a request that nobody waits for, again up to twice when it fails, with the same request id as Lambda does.
func (s *Server) later(req request) bool {
	if s.ctx.Err() != nil {
		return false
	}
	if req.id == "" {
		req.id = newID()
	}
	kept := s.keepLater(req)
	go func() {
		trigger := req.trigger
		retries := s.network.retries(req.fn.ID)
		failed := true
		defer func() { req.report.end(failed) }()
		for try := 0; ; try++ {
			got, err := s.invoke(s.ctx, req, nil)
			if failed = err != nil || got.FunctionError; failed && s.ctx.Err() != nil {
				return // it is tried again at the next start
			}
			if !failed || try >= retries {
				if failed {
					s.network.gaveUp(req, got, err, try+1)
				}
				kept()
				return
			}
			wait := time.NewTimer(retryAfter[try])
			select {
			case <-wait.C:
			case <-s.ctx.Done():
				wait.Stop()
				return
			}
			if now, ok := s.app.Load().functions[req.fn.ID]; ok {
				req.fn = now
			}
			req.trigger = fmt.Sprintf("%s, retry %d", trigger, try+1)
		}
	}()
	return true
}

// laterKept is an asynchronous invocation as the store has it.
type laterKept struct {
	Function, Trigger string
	Event             json.RawMessage
}

// keepLater keeps an asynchronous invocation until it is over: who asked for it has been told that it will run, also when
// this process is ended before. It gives what forgets it.
func (s *Server) keepLater(req request) (over func()) {
	if s.cloud == nil || req.report != nil { // who waits for a report sees that it ended
		return func() {}
	}
	tell := func(err error) {
		if err != nil && s.ctx.Err() == nil {
			s.events.send(Notice{Text: fmt.Sprintf("%s: its event cannot be kept: %v", req.fn.ID, err)})
		}
	}
	tell(s.cloud.Keep("later", req.id, laterKept{req.fn.ID, req.trigger, req.event}))
	return func() { tell(s.cloud.Keep("later", req.id, nil)) }
}

// resumeLater runs what an earlier process had promised and not done.
func (s *Server) resumeLater(a *app) error {
	ids, err := s.cloud.KeptNames("later")
	if err != nil {
		return err
	}
	for _, id := range ids {
		var kept laterKept
		if _, err := s.cloud.Kept("later", id, &kept); err != nil {
			return err
		}
		if fn := a.functions[kept.Function]; fn != nil {
			s.later(request{fn: fn, id: id, event: kept.Event, trigger: kept.Trigger})
		} else if err := s.cloud.Keep("later", id, nil); err != nil {
			return err
		}
	}
	return nil
}
