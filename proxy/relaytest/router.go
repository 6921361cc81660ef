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

	mu       sync.Mutex
	conns    map[string]*routed
	registry proxy.Registry
}

type routed struct {
	arn, role, instance, function string
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
		r.mu.Unlock()
		r.leave(ctx, id)
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
	c, to, code := r.conns[id], f.To, ""
	switch {
	case c == nil || c.role == "":
		code = "hello-first"
	case c.role == "developer" && !r.registry.Has(c.instance):
		code = "not-registered"
	case c.role == "developer" && f.Type == "bye" && f.To == "":
		r.mu.Unlock()
		r.leave(ctx, id)
		return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "bye", Code: "left"})
	case c.role == "developer":
	case f.To != "":
		code = "forbidden"
	default:
		dev, ok := r.registry.For(c.function)
		if to = dev.Connection; !ok {
			code = "no-developer"
		}
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
			f.Nonce = 0           // nor is it certain that it was not delivered
		}
	}
	return r.refuse(ctx, id, f, code)
}

func (r *Router) hello(ctx context.Context, id string, f *proxy.Frame) error {
	var h struct {
		Role, Instance, Name, Function, Former, Key, Signature string
		Min, Max, Turn                                         int
		TakeOver, Again                                        bool
		Only                                                   []string
	}
	if err := json.Unmarshal(f.Data, &h); err != nil || !slices.Contains([]string{"developer", "sandbox"}, h.Role) {
		return r.refuse(ctx, id, f, "bad-frame")
	}
	if h.Min > 1 || h.Max < 1 {
		return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "nak", Code: "version", Data: []byte(`{"min":1,"max":1}`)})
	}
	r.mu.Lock()
	c, registry := r.conns[id], r.registry
	if c == nil { // its $connect is still on its way
		c = &routed{}
		r.conns[id] = c
	}
	r.mu.Unlock()
	if h.Instance == "" {
		h.Instance = id
	}
	if h.Role == "developer" {
		if r.Developer != nil && !r.Developer(c.arn) {
			return r.refuse(ctx, id, f, "forbidden")
		}
		for _, was := range registry { // the $disconnect of one may never have come
			if was.Instance == h.Instance || was.Instance == h.Former {
				continue
			}
			if status, err := r.call(ctx, http.MethodGet, was.Connection, nil); err != nil {
				return err
			} else if status == http.StatusGone {
				r.leave(ctx, was.Connection)
			}
		}
		claim := proxy.Claim{Connection: id, Instance: h.Instance, Turn: h.Turn, Name: h.Name, Only: h.Only, Former: h.Former, Key: h.Key, Signed: h.Signature}
		r.mu.Lock()
		next, notices, present := r.registry.Register(claim, h.TakeOver, h.Again)
		r.registry = next
		r.mu.Unlock()
		r.tell(ctx, notices)
		if present != nil {
			data, _ := json.Marshal(present)
			return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "nak", Code: "developer-present", Data: data})
		}
	}
	r.mu.Lock()
	c.role, c.instance, c.function = h.Role, h.Instance, h.Function
	dev, present := r.registry.For(h.Function)
	r.mu.Unlock()
	data, _ := json.Marshal(map[string]any{
		"connection": id, "version": 1, "frame": 31_000, "codecs": []string{"gzip"},
		"present": present, "developer": dev.Name, "key": dev.Key, "signature": dev.Signed,
	})
	return r.send(ctx, id, &proxy.Frame{Version: 1, Type: "welcome", Data: data})
}

func (r *Router) leave(ctx context.Context, id string) {
	r.mu.Lock()
	next, notices := r.registry.Leave(id)
	r.registry = next
	r.mu.Unlock()
	r.tell(ctx, notices)
}

func (r *Router) tell(ctx context.Context, notices []proxy.Notice) {
	for _, n := range notices {
		r.send(ctx, n.Connection, n.Frame())
	}
}

func (r *Router) refuse(ctx context.Context, id string, f *proxy.Frame, code string) error {
	data, _ := json.Marshal(map[string]any{"m": f.Seq, "x": f.Nonce, "t": f.Type, "to": f.To})
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
