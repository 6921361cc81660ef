package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewaymanagementapi"
	"github.com/aws/aws-sdk-go-v2/service/apigatewaymanagementapi/types"
	"github.com/gorilla/websocket"

	"sst/cfn"
)

const socketHandlers = `
export const connect = async (event) => {
  const q = event.queryStringParameters ?? {};
  if (q.no) return { statusCode: 403 };
  if (q.bad) throw new Error("no");
  return { statusCode: 200, headers: { "Sec-WebSocket-Protocol": "chat" } };
};
export const leave = async (event) => { console.log("left", JSON.stringify(event.requestContext)); };
export const say = async (event) => ({ statusCode: 200, body: JSON.stringify(event) });
export const quiet = async () => ({ statusCode: 200, body: "nobody hears this" });
export const fail = async () => { throw new Error("no"); };
export const gate = async (event) => ({ principalId: "ann", context: { n: 1 }, policyDocument: { Version: "2012-10-17", Statement: [
  { Action: "execute-api:Invoke", Effect: event.queryStringParameters.token === "good" ? "Allow" : "Deny", Resource: event.methodArn } ] } });
`

func socketProject(t *testing.T, gated bool) *project {
	return socketProjectWith(t, gated, func(*Server) {})
}

func socketProjectWith(t *testing.T, gated bool, prepare func(*Server)) *project {
	var functions []cfn.Function
	for _, name := range []string{"connect", "leave", "say", "quiet", "fail", "gate"} {
		functions = append(functions, nodeFunction("web/"+name, "src/chat."+name))
	}
	api := cfn.Api{ID: "web/Chat", LogicalID: "Chat1", Type: "websocket", StageName: "dev", Selection: "$request.body.do", Routes: []cfn.Route{
		{Key: "$connect", Function: "web/connect"}, {Key: "$disconnect", Function: "web/leave"}, {Key: "say", Function: "web/say", Respond: true},
		{Key: "quiet", Function: "web/quiet"}, {Key: "fail", Function: "web/fail"}, {Key: "$default", Function: "web/say", Respond: true}}}
	if gated {
		api.Authorizers = []cfn.Authorizer{{ID: "Gate", Name: "gate", Type: "request", Function: "web/gate", Sources: []string{"route.request.querystring.token"}}}
		api.Routes[0].Authorizer = "Gate"
		api.Routes = api.Routes[:3]
	}
	p := newProjectWith(t, prepare, map[string]string{"src/chat.js": socketHandlers}, functions)
	p.asm.Manifest.Apis = []cfn.Api{api}
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	return p
}

// dial connects to the WebSocket API; a refused one gives the status.
func (p *project) dial(query string, header ...string) (*websocket.Conn, int) {
	p.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"other", "chat"}, WriteBufferSize: 200 << 10}
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	ws, res, err := dialer.Dial(p.api()+query, h)
	if err != nil {
		if res == nil {
			p.t.Fatal(err)
		}
		return nil, res.StatusCode
	}
	p.t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(20 * time.Second))
	return ws, http.StatusSwitchingProtocols
}

// tell sends a text and gives the next one that comes.
func tell(t *testing.T, ws *websocket.Conn, text string) string {
	t.Helper()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, data, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWebSocket(t *testing.T) {
	p := socketProject(t, false)
	if !strings.HasPrefix(p.api(), "ws://127.0.0.1:") || !strings.HasSuffix(p.api(), "/dev") {
		t.Errorf("address = %s", p.api())
	}
	if _, status := p.dial("?no=1"); status != 403 {
		t.Errorf("rejected = %d", status)
	}
	if _, status := p.dial("?bad=1"); status != 502 {
		t.Errorf("failed $connect = %d", status)
	}
	ws, _ := p.dial("?a=1", "Origin", "https://page.example") // pages may connect
	if ws.Subprotocol() != "chat" {
		t.Errorf("subprotocol = %q", ws.Subprotocol())
	}
	var event socketEvent
	if err := json.Unmarshal([]byte(tell(t, ws, `{"do":"say","n":1e400}`)), &event); err != nil {
		t.Fatal(err)
	}
	c := event.Context
	if c.RouteKey != "say" || c.EventType != "MESSAGE" || c.Stage != "dev" || c.ConnectionID == "" || c.MessageID == "" || c.ConnectedAt == 0 ||
		*event.Body != `{"do":"say","n":1e400}` || event.Headers != nil || c.DomainName != strings.TrimSuffix(strings.TrimPrefix(p.api(), "ws://"), "/dev") {
		t.Errorf("event = %+v", event)
	}
	for _, text := range []string{`{"do":"nothing"}`, `no JSON`, `{"other":1}`, `{"do":"$connect"}`} {
		if got := tell(t, ws, text); !strings.Contains(got, `"routeKey":"$default"`) {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := tell(t, ws, `{"do":"fail"}`); !strings.HasPrefix(got, `{"message":"Internal server error","connectionId":"`+c.ConnectionID) {
		t.Errorf("fail: %s", got)
	}

	// The AWS SDK sends, asks and ends.
	client := apigatewaymanagementapi.New(apigatewaymanagementapi.Options{Region: "us-east-1", BaseEndpoint: aws.String("http" + strings.TrimPrefix(p.api(), "ws")), Credentials: aws.AnonymousCredentials{}})
	ctx := context.Background()
	if _, err := client.PostToConnection(ctx, &apigatewaymanagementapi.PostToConnectionInput{ConnectionId: &c.ConnectionID, Data: []byte("psst")}); err != nil {
		t.Fatal(err)
	}
	// The answer of "quiet" must not come: what comes is what is sent next.
	if got := tell(t, ws, `{"do":"quiet"}`); got != "psst" {
		t.Errorf("sent by the SDK: %s", got)
	}
	about, err := client.GetConnection(ctx, &apigatewaymanagementapi.GetConnectionInput{ConnectionId: &c.ConnectionID})
	if err != nil || about.ConnectedAt == nil || *about.Identity.SourceIp != "127.0.0.1" {
		t.Errorf("GetConnection = %+v, %v", about, err)
	}
	if _, err := client.PostToConnection(ctx, &apigatewaymanagementapi.PostToConnectionInput{ConnectionId: &c.ConnectionID, Data: make([]byte, 128<<10+1)}); err == nil {
		t.Error("a message over 128 KB was sent")
	}
	if _, err := client.DeleteConnection(ctx, &apigatewaymanagementapi.DeleteConnectionInput{ConnectionId: &c.ConnectionID}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("after DELETE: %v", err)
	}
	left := await(p, "$disconnect", func(e Logged) bool {
		return strings.HasPrefix(e.Line, "left ") && strings.Contains(e.Line, c.ConnectionID)
	})
	if !strings.Contains(left.Line, `"eventType":"DISCONNECT"`) || !strings.Contains(left.Line, `"disconnectStatusCode":1000`) {
		t.Errorf("$disconnect got %s", left.Line)
	}
	var gone *types.GoneException
	if _, err := client.PostToConnection(ctx, &apigatewaymanagementapi.PostToConnectionInput{ConnectionId: &c.ConnectionID, Data: []byte("x")}); !errors.As(err, &gone) {
		t.Errorf("to one that is gone: %v", err)
	}
	// A page must not send to connections.
	req, _ := http.NewRequest("POST", "http"+strings.TrimPrefix(p.api(), "ws")+"/@connections/"+url.PathEscape(c.ConnectionID), strings.NewReader("x"))
	req.Header.Set("Sec-Fetch-Site", "same-site")
	if res, err := http.DefaultClient.Do(req); err != nil || res.StatusCode != 403 {
		t.Errorf("a page at @connections: %v %v", res, err)
	}
	for what, test := range map[string]struct {
		kind, size, code int
	}{
		"a binary message":        {websocket.BinaryMessage, 10, websocket.CloseUnsupportedData},
		"a frame over 32 KB":      {websocket.TextMessage, 32<<10 + 1, websocket.CloseMessageTooBig},
		"a client that goes away": {websocket.CloseMessage, 0, websocket.CloseNoStatusReceived},
	} {
		ws, _ := p.dial("")
		ws.WriteMessage(test.kind, []byte(strings.Repeat("x", test.size)))
		if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, test.code) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWebSocketAuthorizer(t *testing.T) {
	p := socketProject(t, true)
	for query, want := range map[string]int{"": 401, "?token=bad": 403, "?token=good": 101} {
		ws, status := p.dial(query)
		if status != want {
			t.Errorf("connect %q = %d, want %d", query, status, want)
		}
		if ws != nil {
			if got := tell(t, ws, `{"do":"say"}`); !strings.Contains(got, `"authorizer":{"`) || !strings.Contains(got, `"n":"1","principalId":"ann"`) {
				t.Errorf("event = %s", got)
			}
			if got := tell(t, ws, `{"do":"nothing"}`); !strings.HasPrefix(got, `{"message":"Forbidden"`) {
				t.Errorf("no route = %s", got)
			}
		}
	}
	await(p, "the reason", func(e Finished) bool {
		return e.Status == 403 && strings.Contains(e.Refused, "does not allow execute-api:Invoke")
	})
}

// TestWebSocketLimits has ten minutes and two hours pass in a moment: a connection that says and hears nothing is closed, one that
// does is kept, and closed all the same when its time is over.
func TestWebSocketLimits(t *testing.T) {
	ended := func(ws *websocket.Conn) time.Duration {
		t.Helper()
		began := time.Now()
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
					t.Errorf("it ended with %v, want close 1001", err)
				}
				return time.Since(began)
			}
		}
	}
	const idle, life = 600 * time.Millisecond, 2 * time.Second
	p := socketProjectWith(t, false, func(s *Server) { s.socketIdle = idle })
	ws, _ := p.dial("")
	tell(t, ws, `{"do":"say"}`) // the worker is warm
	if took := ended(ws); took < idle/2 {
		t.Errorf("an idle connection was closed after %v", took)
	}
	await(p, "$disconnect", func(e Logged) bool {
		return strings.HasPrefix(e.Line, "left ") && strings.Contains(e.Line, `"disconnectStatusCode":1001`)
	})

	p = socketProjectWith(t, false, func(s *Server) { s.socketIdle, s.socketLife = idle, life })
	ws, _ = p.dial("")
	began := time.Now()
	go func() {
		for time.Since(began) < life+idle && ws.WriteMessage(websocket.TextMessage, []byte(`{"do":"quiet"}`)) == nil {
			time.Sleep(idle / 4)
		}
	}()
	ended(ws)
	if took := time.Since(began); took < life-idle/2 {
		t.Errorf("a connection that talks was closed after %v of its %v", took, life)
	}
}
