package runtime

// WebSocket APIs: connections of clients, their messages by route, and @connections, where functions send to them.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"sst/cfn"
	"sst/proxy"
)

// What API Gateway allows a connection.
const (
	socketMessage = 128 << 10 // bytes
	socketFrame   = 32 << 10
	socketIdle    = 10 * time.Minute
	socketLife    = 2 * time.Hour
	socketWrite   = 10 * time.Second // for a client that does not read
)

// connections are those of one WebSocket API.
type connections struct {
	mu     sync.Mutex // guards what follows
	open   map[string]*connection
	closed bool
	ended  sync.WaitGroup
}

// connection is one client.
type connection struct {
	id        string
	ws        *websocket.Conn
	who       *caller
	ip, agent string
	began     time.Time

	write sync.Mutex // held while something is written

	mu     sync.Mutex // guards what follows
	active time.Time
	code   int // why it ended, as the close frame says
	reason string
}

func (c *connections) add(one *connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.open == nil {
		c.open = map[string]*connection{}
	}
	c.open[one.id] = one
	c.ended.Add(1)
	return true
}

func (c *connections) get(id string) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[id]
}

func (c *connections) remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
}

// close ends all connections and waits for what they run.
func (c *connections) close() {
	c.mu.Lock()
	c.closed = true
	for _, one := range c.open {
		one.end(websocket.CloseGoingAway, "Going away")
	}
	c.mu.Unlock()
	c.ended.Wait()
}

// end closes a connection from this side.
func (c *connection) end(code int, reason string) {
	c.mu.Lock()
	if c.code == 0 {
		c.code, c.reason = code, reason
	}
	c.mu.Unlock()
	c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	c.ws.Close()
}

// send writes one message.
func (c *connection) send(data []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	c.ws.SetWriteDeadline(time.Now().Add(socketWrite))
	if err := c.ws.WriteMessage(websocket.TextMessage, data); err != nil {
		c.ws.Close()
		return err
	}
	c.touch()
	return nil
}

func (c *connection) touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active = time.Now()
}

// socketEvent is what a route's function gets. Only $connect and $disconnect have headers.
type socketEvent struct {
	Headers         map[string]string   `json:"headers,omitempty"`
	MultiHeaders    map[string][]string `json:"multiValueHeaders,omitempty"`
	Query           map[string]string   `json:"queryStringParameters,omitempty"`
	MultiQuery      map[string][]string `json:"multiValueQueryStringParameters,omitempty"`
	StageVariables  map[string]string   `json:"stageVariables,omitempty"`
	Context         socketContext       `json:"requestContext"`
	Body            *string             `json:"body,omitempty"`
	IsBase64Encoded bool                `json:"isBase64Encoded"`
}

type socketContext struct {
	RouteKey          string         `json:"routeKey"`
	Authorizer        map[string]any `json:"authorizer,omitempty"`
	MessageID         string         `json:"messageId,omitempty"`
	DisconnectCode    *int           `json:"disconnectStatusCode,omitempty"`
	DisconnectReason  *string        `json:"disconnectReason,omitempty"`
	EventType         string         `json:"eventType"`
	ExtendedRequestID string         `json:"extendedRequestId"`
	RequestTime       string         `json:"requestTime"`
	MessageDirection  string         `json:"messageDirection"`
	Stage             string         `json:"stage"`
	ConnectedAt       int64          `json:"connectedAt"`
	RequestTimeEpoch  int64          `json:"requestTimeEpoch"`
	Identity          fields         `json:"identity"`
	RequestID         string         `json:"requestId"`
	DomainName        string         `json:"domainName"`
	ConnectionID      string         `json:"connectionId"`
	APIID             string         `json:"apiId"`
}

func (x *exchange) socketContext(c *connection, key, kind, id string, now time.Time) socketContext {
	identity := fields{"sourceIp": c.ip}
	if c.agent != "" {
		identity["userAgent"] = c.agent
	}
	if c.who != nil && c.who.accessKey != "" {
		identity["accessKey"], identity["caller"], identity["userArn"], identity["accountId"] = c.who.accessKey, c.who.accessKey, c.who.arn(), accountID
	}
	return socketContext{RouteKey: key, Authorizer: c.who.flat(), EventType: kind, ExtendedRequestID: id[:8], RequestTime: now.UTC().Format(timeOfRequest),
		MessageDirection: "IN", Stage: x.api.stage(), ConnectedAt: c.began.UnixMilli(), RequestTimeEpoch: now.UnixMilli(),
		Identity: identity, RequestID: id, DomainName: x.r.Host, ConnectionID: c.id, APIID: x.api.apiID()}
}

func (x *exchange) serveSocket() {
	path, ok := belowStage(x.r.URL.Path, x.api.StageName)
	if id, manages := strings.CutPrefix(path, "/@connections/"); ok && manages {
		if fromPage(x.r) {
			http.Error(x.w, "requests of web pages are refused here", http.StatusForbidden)
			return
		}
		x.manage(id)
		return
	}
	switch {
	case !ok || path != "/":
		x.refuseText("", http.StatusForbidden, "Forbidden", fmt.Sprintf("a WebSocket API is at its stage: /%s", x.api.StageName))
	case !websocket.IsWebSocketUpgrade(x.r):
		x.refuseText("", http.StatusUpgradeRequired, "Upgrade Required", "this is a WebSocket API")
	default:
		x.connect()
	}
}

// connect runs $connect, upgrades the connection when the function lets it, and serves it to its end.
func (x *exchange) connect() {
	now := time.Now()
	ip, _, _ := net.SplitHostPort(x.r.RemoteAddr)
	id := strings.ReplaceAll(newID(), "-", "")
	c := &connection{id: id[:15] + "=", ip: ip, agent: x.r.UserAgent(), began: now, active: now}
	event := socketEvent{StageVariables: x.api.Variables, Context: x.socketContext(c, "$connect", "CONNECT", x.id, now)}
	event.Headers, event.MultiHeaders = multiHeaders(x.r, x.id, now)
	event.Query, event.MultiQuery = multiQuery(x.r.URL.RawQuery)
	m, _ := x.api.byKey("$connect")
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }} // who may connect is the authorizer's matter
	if m.key != "" {
		gate := gate{route: m.route, api: x.api, header: x.r.Header, now: now, arn: x.api.arn("", "$connect"),
			value: sourceOf(x.r, x.api.Variables, map[string]string{"connectionId": c.id, "routeKey": "$connect"})}
		gate.event = func(cfn.Authorizer, []string) any {
			return authorizerEvent{Type: "REQUEST", MethodArn: gate.arn, Headers: event.Headers, MultiHeaders: event.MultiHeaders, Query: filled(event.Query),
				MultiQuery: filled(event.MultiQuery), StageVariables: filled(x.api.Variables), Context: event.Context}
		}
		who, refused := x.server.authorize(x.server.ctx, gate)
		if refused != nil {
			x.refuse(m.function, httpRefusal(refused, "http"), refused.why)
			return
		}
		c.who = who
		event.Context.Authorizer = who.flat()
		a := x.runRoute(m, event, x.id, "$connect")
		if a.status < 200 || a.status > 299 {
			(&httpAnswer{status: a.status}).write(x.w)
			return
		}
		if chosen := a.header.Get("Sec-Websocket-Protocol"); chosen != "" {
			upgrader.Subprotocols = []string{chosen}
		}
	}
	w, exceeded := proxy.LimitFrames(x.w, socketFrame)
	ws, err := upgrader.Upgrade(w, x.r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	c.ws = ws
	defer ws.Close()
	if !x.front.sockets.add(c) {
		c.end(websocket.CloseGoingAway, "Going away")
		return
	}
	defer x.front.sockets.ended.Done()
	x.read(c, exceeded)
	x.front.sockets.remove(c.id)
	x.disconnect(c)
}

// read passes messages on until the connection ends. Each message is worked on by itself: API Gateway keeps no order
// between them.
func (x *exchange) read(c *connection, exceeded func() bool) {
	c.ws.SetReadLimit(socketMessage)
	idle := time.NewTimer(x.server.socketIdle)
	life := time.NewTimer(x.server.socketLife)
	done := make(chan struct{})
	defer func() {
		close(done)
		idle.Stop()
		life.Stop()
	}()
	go func() {
		for {
			select {
			case <-done:
				return
			case <-life.C:
				c.end(websocket.CloseGoingAway, "Going away")
			case <-idle.C:
				c.mu.Lock()
				left := time.Until(c.active.Add(x.server.socketIdle))
				c.mu.Unlock()
				if left <= 0 {
					c.end(websocket.CloseGoingAway, "Going away")
				} else {
					idle.Reset(left)
				}
			}
		}
	}()
	running := make(chan struct{}, 100) // what a client may have under way
	var messages sync.WaitGroup
	defer messages.Wait()
	for {
		kind, data, err := c.ws.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case exceeded():
			c.end(websocket.CloseMessageTooBig, "Frame is too big")
			return
		case errors.As(err, &closed):
			c.mu.Lock()
			if c.code == 0 {
				c.code, c.reason = closed.Code, closed.Text
			}
			c.mu.Unlock()
			return
		case errors.Is(err, websocket.ErrReadLimit):
			c.end(websocket.CloseMessageTooBig, "Message is too big")
			return
		case err != nil:
			c.mu.Lock()
			if c.code == 0 {
				c.code = websocket.CloseAbnormalClosure
			}
			c.mu.Unlock()
			return
		case kind == websocket.BinaryMessage:
			c.end(websocket.CloseUnsupportedData, "Binary messages are not supported")
			return
		}
		c.touch()
		running <- struct{}{}
		messages.Go(func() {
			x.message(c, string(data))
			<-running
		})
	}
}

// message runs the route of one message.
func (x *exchange) message(c *connection, text string) {
	api := x.front.api.Load() // routes may have changed since it connected
	id, now := newID(), time.Now()
	key := selectRoute(api.Selection, text)
	m, ok := api.byKey(key)
	if !ok || strings.HasPrefix(key, "$") {
		m, ok = api.byKey("$default")
	}
	refuse := func(text string) {
		data, _ := json.Marshal(struct {
			Message      string `json:"message"`
			ConnectionID string `json:"connectionId"`
			RequestID    string `json:"requestId"`
		}{text, c.id, id})
		c.send(data)
	}
	if !ok {
		refuse("Forbidden")
		x.server.events.send(Finished{RequestID: id, Trigger: "message", Status: http.StatusForbidden,
			Refused: fmt.Sprintf("no route is called %q (%s), and there is no $default", key, api.Selection), Time: now})
		return
	}
	event := socketEvent{StageVariables: api.Variables, Context: x.socketContext(c, m.key, "MESSAGE", id, now), Body: &text}
	event.Context.MessageID = id[:8] + id[9:13] + "="
	a := x.runRoute(m, event, id, m.key)
	switch {
	case a.status >= 500 && a.failed:
		refuse("Internal server error")
	case m.route.Respond && len(a.body) > 0:
		c.send(a.body)
	}
}

// disconnect runs $disconnect, if there is such a route.
func (x *exchange) disconnect(c *connection) {
	m, ok := x.front.api.Load().byKey("$disconnect")
	if !ok || x.server.ctx.Err() != nil {
		return
	}
	id := newID()
	event := socketEvent{Headers: map[string]string{"Host": x.r.Host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""},
		MultiHeaders:   map[string][]string{"Host": {x.r.Host}, "x-api-key": {""}, "X-Forwarded-For": {""}, "x-restapi": {""}},
		StageVariables: x.api.Variables, Context: x.socketContext(c, "$disconnect", "DISCONNECT", id, time.Now())}
	c.mu.Lock()
	code, reason := c.code, c.reason
	c.mu.Unlock()
	event.Context.DisconnectCode, event.Context.DisconnectReason = &code, &reason
	x.runRoute(m, event, id, "$disconnect")
}

// routeAnswer is what came of a route.
type routeAnswer struct {
	httpAnswer
	failed bool // there was no answer that makes sense
}

// runRoute invokes the function of a route.
func (x *exchange) runRoute(m match, event socketEvent, id, key string) *routeAnswer {
	failed := &routeAnswer{httpAnswer{status: http.StatusBadGateway}, true}
	fn, ok := x.server.app.Load().functions[m.function]
	if !ok {
		x.server.events.send(Finished{RequestID: id, Trigger: key, Status: http.StatusNotImplemented, Refused: nowhere(m), Time: time.Now()})
		failed.status = http.StatusNotImplemented
		return failed
	}
	data, err := json.Marshal(event)
	if err != nil {
		return failed
	}
	answered := make(chan *routeAnswer, 1)
	go x.server.invoke(x.server.ctx, request{fn: fn, id: id, event: data, trigger: key + " " + x.r.URL.Path}, func(got *proxy.Response, err error) int {
		answer := failed
		if err == nil && !got.FunctionError {
			if a, encoded, err := readProxyAnswer(got.Body); err == nil && (!encoded || a.decode() == nil) {
				answer = &routeAnswer{httpAnswer: *a}
			} else if key != "$connect" && !m.route.Respond { // nobody reads it
				answer = &routeAnswer{httpAnswer: httpAnswer{status: http.StatusOK}}
			}
		}
		answered <- answer
		return answer.status
	})
	patience := time.NewTimer(restTime)
	defer patience.Stop()
	select {
	case answer := <-answered:
		return answer
	case <-patience.C: // the function goes on, as on AWS
		return failed
	}
}

var placeOfBody = regexp.MustCompile(`\$\{?request\.body\.([\w.-]+)\}?`)

// selectRoute evaluates a route selection expression: "$request.body.action", "${request.body.kind}/${request.body.name}". It is
// "" when the message does not say.
func selectRoute(expression, text string) string {
	var message any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&message) != nil {
		return ""
	}
	missing := false
	key := placeOfBody.ReplaceAllStringFunc(expression, func(place string) string {
		value := message
		for name := range strings.SplitSeq(placeOfBody.FindStringSubmatch(place)[1], ".") {
			object, _ := value.(map[string]any)
			value = object[name]
		}
		switch v := value.(type) {
		case string:
			return v
		case json.Number, bool:
			return fmt.Sprint(v)
		}
		missing = true
		return ""
	})
	if missing {
		return ""
	}
	return key
}

// manage serves @connections: POST sends, GET tells, DELETE ends.
func (x *exchange) manage(escaped string) {
	w := x.w
	w.Header().Set("X-Amzn-Requestid", x.id)
	refuse := func(status int, errorType, message string) {
		w.Header().Set("X-Amzn-Errortype", errorType)
		messageAnswer(status, message).write(w)
	}
	id, err := url.PathUnescape(escaped)
	if err != nil {
		id = escaped
	}
	c := x.front.sockets.get(id)
	if c == nil {
		w.Header().Set("X-Amzn-Errortype", "GoneException")
		w.WriteHeader(http.StatusGone)
		return
	}
	switch x.r.Method {
	case http.MethodPost:
		data, err := io.ReadAll(io.LimitReader(x.r.Body, socketMessage+1))
		switch {
		case err != nil:
			refuse(http.StatusBadRequest, "BadRequestException", "the request ended before it was complete")
		case len(data) > socketMessage:
			refuse(http.StatusRequestEntityTooLarge, "PayloadTooLargeException", "Message too long")
		case c.send(data) != nil:
			w.Header().Set("X-Amzn-Errortype", "GoneException")
			w.WriteHeader(http.StatusGone)
		default:
			w.WriteHeader(http.StatusOK)
		}
	case http.MethodGet:
		c.mu.Lock()
		active := c.active
		c.mu.Unlock()
		const form = "2006-01-02T15:04:05.000Z"
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(fields{"connectedAt": c.began.UTC().Format(form), "lastActiveAt": active.UTC().Format(form),
			"identity": fields{"sourceIp": c.ip, "userAgent": c.agent}})
	case http.MethodDelete:
		c.end(websocket.CloseNormalClosure, "Connection Closed Normally")
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(http.StatusMethodNotAllowed, "ForbiddenException", "Forbidden")
	}
}
