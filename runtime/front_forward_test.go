package runtime

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sst/cfn"
)

// TestForward passes requests on to another server, as integrations of type HTTP_PROXY do.
func TestForward(t *testing.T) {
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		w.Header().Set("X-Old", "yes")
		w.WriteHeader(299)
		fmt.Fprintf(w, "%s %s %s %q %s", r.Method, r.Host, r.URL.RequestURI(), body, r.Header.Get("X-Part"))
	}))
	defer old.Close()
	host := strings.TrimPrefix(old.URL, "http://")
	rest := cfn.Api{ID: "web/Old", LogicalID: "Old1", Type: "rest", StageName: "dev", Routes: []cfn.Route{
		{Key: "ANY /files/{path+}", Payload: "1.0", Proxy: &cfn.Passed{URL: old.URL + "/f/{at}?v=1", Parameters: map[string]string{"path.at": "path.path", "header.x-part": "querystring.part", "querystring.fixed": "'on'"}}},
		{Key: "GET /slow", Payload: "1.0", Timeout: 200, Proxy: &cfn.Passed{URL: old.URL + "/slow"}},
		{Key: "GET /gone", Payload: "1.0", Proxy: &cfn.Passed{URL: "http://127.0.0.1:1/x"}},
		{Key: "GET /inside", Payload: "1.0", Leads: "a VPC link to http://inside.example"},
		{Key: "GET /closed", Payload: "1.0", Authorizer: "iam", Proxy: &cfn.Passed{URL: old.URL}},
	}}
	p := serveApis(t, map[string]string{"src/rest.js": restHandlers}, nil, rest)
	got := p.wantCall(299, `PUT `+host+` /f/a%20b/c?fixed=on&part=7&v=1 "body" 7`, "PUT", "/files/a%20b/c?part=7", "body")
	if got.header.Get("X-Old") != "yes" {
		t.Errorf("headers = %v", got.header)
	}
	p.wantCall(504, `{"message":"Endpoint request timed out"}`, "GET", "/slow", "")
	p.wantCall(502, `{"message":"Internal server error"}`, "GET", "/gone", "")
	await(p, "the reason", func(e Finished) bool { return strings.Contains(e.Refused, "GET /gone leads to http://127.0.0.1:1/x: ") })
	p.wantCall(501, `GET /inside leads to a VPC link to http://inside.example, which does not run locally`, "GET", "/inside", "")
	p.wantCall(403, "Missing Authentication Token", "GET", "/closed", "")

	p = serveApis(t, map[string]string{"src/rest.js": restHandlers}, nil, cfn.Api{ID: "web/New", LogicalID: "New1", Type: "http", Routes: []cfn.Route{
		{Key: "ANY /{proxy+}", Payload: "1.0", Proxy: &cfn.Passed{URL: old.URL + "/{proxy}", Method: "GET"}},
		{Key: "POST /jobs", Payload: "1.0", Leads: "the service action SQS-SendMessage"}}})
	p.wantCall(299, `GET `+host+` /a/b?c=d`, "DELETE", "/a/b?c=d", "")
	p.wantCall(501, `POST /jobs leads to the service action SQS-SendMessage, which does not run locally`, "POST", "/jobs", "")
}

// TestModels checks bodies against the models of a REST API.
func TestModels(t *testing.T) {
	f := nodeFunction("web/echo", "src/rest.echo")
	schema := json.RawMessage(`{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","required":["name"],"properties":{"name":{"type":"string","minLength":2},"n":{"type":"integer","minimum":0,"exclusiveMinimum":true}}}`)
	p := serveApis(t, map[string]string{"src/rest.js": restHandlers}, []cfn.Function{f}, cfn.Api{ID: "web/Api", LogicalID: "Api1", Type: "rest", StageName: "dev", Routes: []cfn.Route{
		{Key: "POST /", Function: "web/echo", Payload: "1.0", Models: map[string]json.RawMessage{"application/json": schema}}}})
	const wrong = `{"message":"Invalid request body"}`
	for body, want := range map[string]int{`{"name":"ann"}`: 200, `{"name":"ann","n":1}`: 200, `{"name":"a"}`: 400, `{"name":"ann","n":0}`: 400, `{}`: 400, `[]`: 400, ``: 400, `{"name":`: 400} {
		text := ""
		if want == 400 {
			text = wrong
		}
		p.wantCall(want, text, "POST", "/", body, "Content-Type", "application/json; charset=utf-8")
	}
	await(p, "the reason", func(e Finished) bool {
		return strings.HasPrefix(e.Refused, "the body is not of its model: ") && strings.Contains(e.Refused, "minLength")
	})
	p.wantCall(200, "", "POST", "/", "no model for it", "Content-Type", "text/plain")
}

// TestRESTStream passes an answer of a REST API on as it comes.
func TestRESTStream(t *testing.T) {
	p := serveApis(t, map[string]string{"src/page.mjs": `
const pause = (ms) => new Promise((r) => setTimeout(r, ms));
export const page = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'x-path': event.path }, cookies: ['a=1'] });
  stream.write('one ');
  await pause(500);
  stream.end('two');
});
export const plain = async () => ({ statusCode: 202, body: 'plain' });
`}, []cfn.Function{nodeFunction("web/page", "src/page.page"), nodeFunction("web/plain", "src/page.plain")}, cfn.Api{ID: "web/Api", LogicalID: "Api1", Type: "rest", StageName: "dev", Routes: []cfn.Route{
		{Key: "GET /page", Function: "web/page", Payload: "1.0", Stream: true}, {Key: "GET /plain", Function: "web/plain", Payload: "1.0", Stream: true},
		{Key: "GET /whole", Function: "web/page", Payload: "1.0"}}})
	p.wantCall(202, "plain", "GET", "/plain", "")
	for range 2 { // cold, warm
		res, err := http.Get(p.api() + "/page")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		buf := make([]byte, 100)
		n, _ := res.Body.Read(buf)
		first := time.Since(began)
		rest, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(buf[:n]) != "one " || string(rest) != "two" || err != nil || first > 300*time.Millisecond {
			t.Errorf("got %q after %v, then %q, %v", buf[:n], first, rest, err)
		}
		if res.StatusCode != 201 || res.Header.Get("X-Path") != "/page" || len(res.Cookies()) != 1 {
			t.Errorf("head = %d %v", res.StatusCode, res.Header)
		}
	}
	// A method that does not stream takes what a function streams for no answer, as on AWS.
	p.wantCall(502, `{"message":"Internal server error"}`, "GET", "/whole", "")
}
