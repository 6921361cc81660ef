package relaytest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sst/proxy"
)

// GatewayOptions configures a Gateway; the zero value has the quotas of AWS and lets anyone in.
type GatewayOptions struct {
	Stage    string            // default "live"
	Stages   []string          // further ones
	Auth     *SigV4            // on $connect and @connections; nil: both are open
	Function Function          // behind $connect, $disconnect and $default
	Mock     map[string]string // answers of routes without a function, by the message's t

	Idle     time.Duration // 0 = 10 minutes
	Lifetime time.Duration // 0 = 2 hours
	Timeout  time.Duration // of a call of Function; 0 = 29 s

	// Refuse is asked before each call of @connections: a status other than 0 refuses it (429, 410, 500, ...), after
	// the message was delivered if deliver says so, as AWS has been seen to do.
	Refuse func(method, connection string) (status int, deliver bool)
}

// Function is a Lambda function: an event in, a result or an error out. It may be called many times at once, and for
// messages of one connection in any order.
type Function func(ctx context.Context, event []byte) ([]byte, error)

// Gateway is a WebSocket API of API Gateway: routes to a function, @connections, quotas. What its quotas page does not
// tell is as strict as it may be: messages reach the function in any order, and only messages from the client keep a
// connection from being idle.
type Gateway struct {
	URL        string // ws://host:port/stage
	Management string // http://host:port/stage, for @connections

	opts GatewayOptions
	up   websocket.Upgrader
	ids  atomic.Int64
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns map[string]*gatewayConn
	ended bool

	Messages, Posts, Throttled atomic.Int64 // counters
}

type gatewayConn struct {
	id       string
	stage    string
	ws       *websocket.Conn
	who      Key
	begun    time.Time
	active   atomic.Int64 // UnixMilli of the last message
	write    sync.Mutex
	ending   atomic.Bool
	query    url.Values
	header   http.Header
	sourceIP string
}

// Quotas of a WebSocket API.
const (
	quotaFrame    = 32 << 10
	quotaMessage  = 128 << 10
	quotaIdle     = 10 * time.Minute
	quotaLifetime = 2 * time.Hour
	quotaTimeout  = 29 * time.Second
)

// NewGateway starts a Gateway on the loopback interface; it ends with the test.
func NewGateway(t testing.TB, opts GatewayOptions) *Gateway {
	t.Helper()
	for _, limit := range []struct {
		d     *time.Duration
		quota time.Duration
	}{{&opts.Idle, quotaIdle}, {&opts.Lifetime, quotaLifetime}, {&opts.Timeout, quotaTimeout}} {
		if *limit.d == 0 {
			*limit.d = limit.quota
		}
	}
	if opts.Stage == "" {
		opts.Stage = "live"
	}
	g := &Gateway{opts: opts, conns: map[string]*gatewayConn{}, up: websocket.Upgrader{
		ReadBufferSize: 4096, WriteBufferSize: quotaFrame, CheckOrigin: func(*http.Request) bool { return true },
	}}
	server := httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(func() {
		g.mu.Lock()
		g.ended = true
		g.mu.Unlock()
		g.Disconnect(websocket.CloseGoingAway, "Going away")
		g.wg.Wait()
		server.Close()
	})
	addr := strings.TrimPrefix(server.URL, "http://")
	g.URL, g.Management = "ws://"+addr+"/"+opts.Stage, "http://"+addr+"/"+opts.Stage
	return g
}

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	stage, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	id, connections := strings.CutPrefix(rest, "@connections/")
	switch {
	case stage != g.opts.Stage && !slices.Contains(g.opts.Stages, stage) || rest != "" && !connections:
		refuse(w, http.StatusForbidden, "ForbiddenException", "Forbidden")
	case connections:
		g.manage(w, r, stage, id)
	default:
		g.connect(w, r, stage)
	}
}

func refuse(w http.ResponseWriter, status int, kind, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-amzn-ErrorType", kind)
	w.WriteHeader(status)
	io.WriteString(w, message(text))
}

// connect is the upgrade: who it is, then what the function says to it, then the connection.
func (g *Gateway) connect(w http.ResponseWriter, r *http.Request, stage string) {
	var who Key
	if g.opts.Auth != nil {
		key, status, text := g.opts.Auth.Check(r, nil, "execute-api:Invoke")
		if status != 0 {
			refuse(w, status, "ForbiddenException", text)
			return
		}
		who = key
	}
	if len(r.URL.String()) > 4096 {
		refuse(w, http.StatusRequestURITooLong, "RequestURITooLong", "Request URI too long")
		return
	}
	host, _, _ := strings.Cut(r.RemoteAddr, ":")
	c := &gatewayConn{id: fmt.Sprintf("L0SM%07d=", g.ids.Add(1)), stage: stage, who: who, begun: time.Now(), query: r.URL.Query(), header: r.Header, sourceIP: host}
	c.active.Store(c.begun.UnixMilli())
	result, err := g.call(c, "$connect", "CONNECT", nil, nil)
	if err != nil {
		refuse(w, http.StatusBadGateway, "InternalServerErrorException", "Internal server error")
		return
	}
	var answer struct{ StatusCode int }
	if err := json.Unmarshal(result, &answer); err != nil || answer.StatusCode == 0 {
		refuse(w, http.StatusInternalServerError, "InternalServerErrorException", "Internal server error")
		return
	}
	if answer.StatusCode/100 != 2 {
		refuse(w, answer.StatusCode, "ForbiddenException", "Forbidden")
		return
	}
	w, exceeded := proxy.LimitFrames(w, quotaFrame)
	ws, err := g.up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c.ws = ws
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		ws.Close()
		return
	}
	g.wg.Add(1)
	g.conns[c.id] = c
	g.mu.Unlock()
	defer g.wg.Done()
	code, reason := g.read(c, exceeded)
	g.mu.Lock()
	delete(g.conns, c.id)
	ended := g.ended
	g.mu.Unlock()
	c.close(code, reason)
	if !ended {
		g.call(c, "$disconnect", "DISCONNECT", nil, map[string]any{"disconnectStatusCode": code, "disconnectReason": reason})
	}
}

// read serves a connection and gives the code and reason of its end.
func (g *Gateway) read(c *gatewayConn, exceeded func() bool) (code int, reason string) {
	c.ws.SetReadLimit(quotaMessage)
	life := time.AfterFunc(g.opts.Lifetime, func() { c.close(websocket.CloseGoingAway, "Going away") })
	defer life.Stop()
	for {
		c.ws.SetReadDeadline(time.Now().Add(g.opts.Idle))
		kind, body, err := c.ws.ReadMessage()
		switch {
		case err == nil && kind == websocket.BinaryMessage:
			return websocket.CloseUnsupportedData, "Binary messages are not supported"
		case err == nil:
		case exceeded() || err == websocket.ErrReadLimit:
			return websocket.CloseMessageTooBig, "Message too long"
		case c.ending.Load():
			return websocket.CloseGoingAway, "Going away"
		case isTimeout(err):
			return websocket.CloseGoingAway, "Going away"
		default:
			if closed, ok := err.(*websocket.CloseError); ok {
				return closed.Code, closed.Text
			}
			return websocket.CloseAbnormalClosure, "Connection closed abnormally"
		}
		c.active.Store(time.Now().UnixMilli())
		g.Messages.Add(1)
		g.wg.Add(1)
		go func() {
			defer g.wg.Done()
			g.message(c, body)
		}()
	}
}

func isTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}

// message takes one message where its route leads, $request.body.t.
func (g *Gateway) message(c *gatewayConn, body []byte) {
	var selected struct {
		T string `json:"t"`
	}
	json.Unmarshal(body, &selected)
	if answer, ok := g.opts.Mock[selected.T]; ok {
		c.send([]byte(answer))
		return
	}
	if _, err := g.call(c, "$default", "MESSAGE", body, map[string]any{"messageId": fmt.Sprint(g.ids.Add(1))}); err != nil {
		text, _ := json.Marshal(map[string]string{"message": "Internal server error", "connectionId": c.id, "requestId": fmt.Sprint(g.ids.Add(1))})
		c.send(text)
	}
}

// call invokes the function with the event of a route.
func (g *Gateway) call(c *gatewayConn, route, kind string, body []byte, more map[string]any) ([]byte, error) {
	if g.opts.Function == nil {
		return []byte(`{"statusCode":200}`), nil
	}
	now := time.Now()
	about := map[string]any{
		"routeKey": route, "eventType": kind, "messageDirection": "IN", "stage": c.stage, "apiId": "api0123456",
		"connectionId": c.id, "connectedAt": c.begun.UnixMilli(), "requestTimeEpoch": now.UnixMilli(),
		"requestTime": now.UTC().Format("02/Jan/2006:15:04:05 +0000"), "requestId": fmt.Sprint(g.ids.Add(1)),
		"extendedRequestId": fmt.Sprint(g.ids.Add(1)), "domainName": strings.TrimSuffix(strings.TrimPrefix(g.Management, "http://"), "/"+g.opts.Stage),
		"identity": map[string]any{"sourceIp": c.sourceIP, "userArn": nullable(c.who.ARN), "accountId": "111111111111"},
	}
	for name, value := range more {
		about[name] = value
	}
	event := map[string]any{"requestContext": about, "isBase64Encoded": false}
	if kind == "CONNECT" {
		headers, query := map[string]string{}, map[string]string{}
		for name, values := range c.header {
			headers[name] = strings.Join(values, ",")
		}
		for name, values := range c.query {
			query[name] = values[len(values)-1]
		}
		event["headers"] = headers
		if len(query) > 0 {
			event["queryStringParameters"] = query
		}
	}
	if body != nil {
		event["body"] = string(body)
	}
	data, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.opts.Timeout)
	defer cancel()
	return g.opts.Function(ctx, data)
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// manage is the @connections API.
func (g *Gateway) manage(w http.ResponseWriter, r *http.Request, stage, id string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, quotaMessage+1))
	if err != nil {
		return
	}
	if id, err = url.PathUnescape(id); err != nil {
		refuse(w, http.StatusBadRequest, "BadRequestException", "Invalid connectionId: "+id)
		return
	}
	if g.opts.Auth != nil {
		if _, status, text := g.opts.Auth.Check(r, body, "execute-api:ManageConnections"); status != 0 {
			refuse(w, status, "ForbiddenException", text)
			return
		}
	}
	g.mu.Lock()
	c := g.conns[id]
	g.mu.Unlock()
	if c != nil && c.stage != stage {
		c = nil
	}
	if g.opts.Refuse != nil {
		if status, deliver := g.opts.Refuse(r.Method, id); status != 0 {
			if deliver && c != nil {
				c.send(body)
			}
			kind, text := "InternalServerErrorException", "Internal server error"
			switch status {
			case http.StatusTooManyRequests:
				kind, text = "LimitExceededException", "Too Many Requests"
				g.Throttled.Add(1)
			case http.StatusGone:
				kind, text = "GoneException", "Gone"
			}
			refuse(w, status, kind, text)
			return
		}
	}
	switch {
	case c == nil:
		refuse(w, http.StatusGone, "GoneException", "Gone")
	case r.Method == http.MethodPost && len(body) > quotaMessage:
		refuse(w, http.StatusRequestEntityTooLarge, "PayloadTooLargeException", "Message too long")
	case r.Method == http.MethodPost:
		g.Posts.Add(1)
		if c.send(body) != nil {
			refuse(w, http.StatusGone, "GoneException", "Gone")
			return
		}
		c.active.Store(time.Now().UnixMilli())
		w.WriteHeader(http.StatusOK)
	case r.Method == http.MethodDelete:
		c.close(websocket.CloseNormalClosure, "Connection Closed Normally")
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"connectedAt": c.begun.UTC(), "lastActiveAt": time.UnixMilli(c.active.Load()).UTC(),
			"identity": map[string]string{"sourceIp": c.sourceIP},
		})
	default:
		refuse(w, http.StatusForbidden, "ForbiddenException", "Forbidden")
	}
}

// Connections lists the ids of the open connections.
func (g *Gateway) Connections() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ids []string
	for id := range g.conns {
		ids = append(ids, id)
	}
	return ids
}

// Disconnect closes all connections with a code; 0: without a word.
func (g *Gateway) Disconnect(code int, reason string) {
	g.mu.Lock()
	var all []*gatewayConn
	for _, c := range g.conns {
		all = append(all, c)
	}
	g.mu.Unlock()
	for _, c := range all {
		c.close(code, reason)
	}
}

// send writes one message, in frames as large as the quota allows.
func (c *gatewayConn) send(body []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
	w, err := c.ws.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	return w.Close()
}

func (c *gatewayConn) close(code int, reason string) {
	if c.ending.Swap(true) {
		return
	}
	if code != 0 && code != websocket.CloseAbnormalClosure && code != websocket.CloseNoStatusReceived {
		c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	}
	c.ws.Close()
}
