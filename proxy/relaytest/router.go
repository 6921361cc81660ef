package relaytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"crypto/sha256"
	"encoding/hex"

	"sst/proxy"
)

// Router is the relay as a function behind a Gateway: it keeps connections and registrations in a table and sends by
// @connections. What it decides is what proxy.Relay decides.
type Router struct {
	Management  string // Gateway.Management
	Region      string
	Credentials aws.Credentials       // it posts with; zero: unsigned
	Developer   func(arn string) bool // who may register as a developer's end; nil: everyone
	Tries       int                   // of a post that is throttled; 0 = 6

	mu        sync.Mutex
	conns     map[string]*routed
	developer string // connection registered
}

type routed struct {
	arn, role, instance, name, key, signature string
}

type gatewayEvent struct {
	Body           string
	RequestContext struct {
		ConnectionID string
		EventType    string
		Identity     struct{ UserArn string }
	}
}

// Invoke is the Function.
func (r *Router) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	var e gatewayEvent
	if err := json.Unmarshal(event, &e); err != nil {
		return nil, err
	}
	id := e.RequestContext.ConnectionID
	switch e.RequestContext.EventType {
	case "CONNECT":
		r.mu.Lock()
		if r.conns == nil {
			r.conns = map[string]*routed{}
		}
		r.conns[id] = &routed{arn: e.RequestContext.Identity.UserArn}
		r.mu.Unlock()
	case "DISCONNECT":
		r.mu.Lock()
		delete(r.conns, id)
		if r.developer == id {
			r.developer = ""
		}
		r.mu.Unlock()
	default:
		if err := r.message(ctx, id, []byte(e.Body)); err != nil {
			return nil, err
		}
	}
	return []byte(`{"statusCode":200}`), nil
}

func (r *Router) message(ctx context.Context, id string, body []byte) error {
	f, err := proxy.Decode(body)
	if err != nil || f.From != "" || body[0] != '{' {
		return r.refuse(ctx, id, &proxy.Frame{}, "bad-frame")
	}
	switch f.Type {
	case "hello":
		return r.hello(ctx, id, f)
	case "ping":
		return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "pong", ID: f.ID})
	}
	r.mu.Lock()
	c, to, code := r.conns[id], r.developer, ""
	registered := r.conns[r.developer]
	switch {
	case c == nil || c.role == "":
		code = "hello-first"
	case c.role == "developer" && (registered == nil || registered.instance != c.instance):
		code = "not-registered"
	case c.role == "developer":
		to = f.To
	case f.To != "":
		code = "forbidden"
	case to == "":
		code = "no-developer"
	}
	r.mu.Unlock()
	if code == "" {
		frame := append([]byte(`{"from":"`+id+`",`), body[1:]...)
		switch status, err := r.post(ctx, to, frame); {
		case err != nil:
			return err
		case status == http.StatusOK || status == http.StatusTooManyRequests: // throttled too long: the ends send again
			return nil
		case c.role == "developer":
			code = "gone"
		default:
			code = "no-developer" // but it stays registered: a 410 may be wrong, and hello looks again
		}
	}
	return r.refuse(ctx, id, f, code)
}

func (r *Router) hello(ctx context.Context, id string, f *proxy.Frame) error {
	var h struct {
		Role, Instance, Name, Key, Signature string
		Min, Max                             int
		TakeOver                             bool
	}
	if err := json.Unmarshal(f.Data, &h); err != nil || !slices.Contains([]string{"developer", "sandbox"}, h.Role) {
		return r.refuse(ctx, id, f, "bad-frame")
	}
	if h.Min > 1 || h.Max < 1 {
		return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "nak", Code: "version", Data: []byte(`{"min":1,"max":1}`)})
	}
	r.mu.Lock()
	if registered := r.developer; h.Role == "developer" && registered != "" && registered != id {
		r.mu.Unlock()
		status, err := r.call(ctx, http.MethodGet, registered, nil) // its $disconnect may never have come
		if err != nil {
			return err
		}
		r.mu.Lock()
		if status == http.StatusGone && r.developer == registered {
			r.developer = ""
		}
	}
	c, was := r.conns[id], r.conns[r.developer]
	if c == nil { // its $connect is still on its way
		c = &routed{}
		r.conns[id] = c
	}
	replaced := ""
	if h.Role == "developer" {
		switch {
		case r.Developer != nil && !r.Developer(c.arn):
			r.mu.Unlock()
			return r.refuse(ctx, id, f, "forbidden")
		case was != nil && was.instance != h.Instance && !h.TakeOver:
			r.mu.Unlock()
			data, _ := json.Marshal(map[string]string{"name": was.name})
			return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "nak", Code: "developer-present", Data: data})
		case was != nil && was.instance != h.Instance:
			replaced = r.developer
		}
		r.developer = id
	}
	c.role, c.instance, c.name, c.key, c.signature = h.Role, h.Instance, h.Name, h.Key, h.Signature
	dev := r.conns[r.developer]
	r.mu.Unlock()
	if replaced != "" {
		data, _ := json.Marshal(map[string]string{"name": h.Name})
		r.send(ctx, replaced, &proxy.Frame{Version: 1, Type: "bye", Code: "replaced", Data: data})
	}
	answer := map[string]any{"connection": id, "version": 1, "frame": 31_000, "codecs": []string{"gzip"}, "present": dev != nil}
	if dev != nil {
		answer["developer"], answer["key"], answer["signature"] = dev.name, dev.key, dev.signature
	}
	data, _ := json.Marshal(answer)
	return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "welcome", Data: data})
}

func (r *Router) refuse(ctx context.Context, id string, f *proxy.Frame, code string) error {
	data, _ := json.Marshal(map[string]any{"m": f.Seq, "t": f.Type, "to": f.To})
	return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "nak", Code: code, Session: f.Session, Sandbox: f.Sandbox, ID: f.ID, Data: data})
}

func (r *Router) send(ctx context.Context, id string, f *proxy.Frame) error {
	_, err := r.post(ctx, id, f.Append(nil))
	return err
}

func (r *Router) post(ctx context.Context, id string, body []byte) (int, error) {
	return r.call(ctx, http.MethodPost, id, body)
}

// call asks @connections and gives the status; what is throttled is tried again.
func (r *Router) call(ctx context.Context, method, id string, body []byte) (int, error) {
	tries := r.Tries
	if tries == 0 {
		tries = 6
	}
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, method, r.Management+"/@connections/"+url.PathEscape(id), bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		if r.Credentials.AccessKeyID != "" {
			sum := sha256.Sum256(body)
			if err := v4.NewSigner().SignHTTP(ctx, r.Credentials, req, hex.EncodeToString(sum[:]), "execute-api", r.Region, time.Now()); err != nil {
				return 0, err
			}
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		res.Body.Close()
		switch {
		case res.StatusCode == http.StatusOK || res.StatusCode == http.StatusGone:
			return res.StatusCode, nil
		case res.StatusCode == http.StatusTooManyRequests && try < tries-1:
			time.Sleep(10*time.Millisecond + rand.N(20*time.Millisecond<<try))
		case res.StatusCode == http.StatusTooManyRequests:
			return res.StatusCode, nil
		default:
			return 0, fmt.Errorf("@connections: %s", res.Status)
		}
	}
}
