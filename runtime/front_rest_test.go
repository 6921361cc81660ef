package runtime

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"sst/cfn"
)

// serveApis serves functions behind Apis described by hand.
func serveApis(t testing.TB, files map[string]string, functions []cfn.Function, apis ...cfn.Api) *project {
	t.Helper()
	p := newProject(t, files, functions)
	p.asm.Manifest.Apis = apis
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	return p
}

// called is an answer of a front.
type called struct {
	status int
	body   string
	header http.Header
}

// call makes a request at an Api: the address of the Api, then path.
func (p *project) call(method, path, body string, header ...string) called {
	p.t.Helper()
	req, err := http.NewRequest(method, p.api()+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	data, _ := io.ReadAll(res.Body)
	return called{res.StatusCode, string(data), res.Header}
}

func (p *project) wantCall(want int, body, method, path, sent string, header ...string) called {
	p.t.Helper()
	got := p.call(method, path, sent, header...)
	if got.status != want || !strings.Contains(got.body, body) {
		p.t.Errorf("%s %s %v = %d %s, want %d %s", method, path, header, got.status, got.body, want, body)
	}
	return got
}

const restHandlers = `
export const echo = async (event) => ({ statusCode: 200, body: JSON.stringify(event) });
export const many = async () => ({ statusCode: "201", headers: { "x-one": "1", "X-Two": "a" }, multiValueHeaders: { "Set-Cookie": ["a=1", "b=2"], "x-two": ["a", "b"] }, body: "made" });
export const bare = async () => ({ hello: 1 });
export const fail = async () => { throw new Error("no"); };
export const slow = () => new Promise((r) => setTimeout(() => r({ statusCode: 200 }), 3000));
export const image = async () => ({ statusCode: 200, headers: { "content-type": "image/png" }, body: "iVBORw==", isBase64Encoded: true });
`

func TestREST(t *testing.T) {
	function := func(name string) cfn.Function { return nodeFunction("web/"+name, "src/rest."+name) }
	route := func(key, name string) cfn.Route {
		return cfn.Route{Key: key, Function: "web/" + name, Payload: "1.0"}
	}
	late, needs, keyed := route("GET /slow", "slow"), route("GET /needs", "echo"), route("GET /keyed", "echo")
	late.Timeout, needs.Required, keyed.APIKey = 100, []string{"querystring.page"}, true
	p := serveApis(t, map[string]string{"src/rest.js": restHandlers},
		[]cfn.Function{function("echo"), function("many"), function("bare"), function("fail"), function("slow"), function("image")},
		cfn.Api{ID: "web/Api", LogicalID: "Api1", Type: "rest", StageName: "dev", Variables: map[string]string{"v": "1"}, BinaryTypes: []string{"image/*"},
			Responses: []cfn.GatewayResponse{{Type: "DEFAULT_4XX", Headers: map[string]string{"Access-Control-Allow-Origin": "'*'"}},
				{Type: "BAD_REQUEST_PARAMETERS", Status: 422, Template: `{"why":$context.error.messageString,"kind":"$context.error.responseType"}`}},
			Keys: []string{"k1"},
			Routes: []cfn.Route{route("GET /notes/{id}", "echo"), route("POST /notes/special", "echo"), route("ANY /files/{proxy+}", "echo"), route("GET /", "many"),
				route("GET /bare", "bare"), route("GET /fail", "fail"), route("GET /image", "image"), late, needs, keyed,
				{Key: "PUT /elsewhere", Payload: "1.0"},
				{Key: "OPTIONS /notes/{id}", Payload: "1.0", Mock: &cfn.Mock{Status: 204, Headers: map[string]string{"Access-Control-Allow-Origin": "https://a.example"}, Origins: []string{"https://a.example", "https://b.example"}}},
			}})
	if !strings.HasSuffix(p.api(), "/dev") {
		t.Errorf("address %s does not end in the stage", p.api())
	}
	got := p.wantCall(200, "", "GET", "/notes/a%20b?x=1&x=2&y=%20", "", "X-Two", "1", "X-Two", "2", "User-Agent", "test")
	var e restEvent
	if err := json.Unmarshal([]byte(got.body), &e); err != nil {
		t.Fatal(err)
	}
	if e.Resource != "/notes/{id}" || e.Path != "/notes/a b" || e.Context.Path != "/dev/notes/a b" || e.Context.ResourcePath != "/notes/{id}" || e.Context.Stage != "dev" ||
		e.PathParameters["id"] != "a b" || e.Query["x"] != "2" || len(e.MultiQuery["x"]) != 2 || e.Query["y"] != " " || e.Headers["X-Two"] != "2" ||
		len(e.MultiHeaders["X-Two"]) != 2 || e.StageVariables["v"] != "1" || e.Context.Identity.UserAgent != "test" || e.Context.Identity.SourceIP != "127.0.0.1" {
		t.Errorf("event = %s", got.body)
	}
	for _, want := range []string{`"body":null`, `"isBase64Encoded":false`, `"cognitoIdentityId":null`} {
		if !strings.Contains(got.body, want) || strings.Contains(got.body, `"version"`) {
			t.Errorf("event lacks %s, or says a version: %s", want, got.body)
		}
	}
	p.wantCall(200, `"queryStringParameters":null,"multiValueQueryStringParameters":null`, "PATCH", "/files/a/b", "")
	p.wantCall(200, `"body":"hi ü","isBase64Encoded":false`, "POST", "/notes/special", "hi ü", "Content-Type", "application/octet-stream")
	p.wantCall(200, `"body":"/wAB","isBase64Encoded":true`, "POST", "/notes/special", "\xff\x00\x01", "Content-Type", "image/png")

	got = p.wantCall(201, "made", "GET", "/", "")
	if cookies := got.header["Set-Cookie"]; len(cookies) != 2 || len(got.header["X-Two"]) != 2 || got.header.Get("X-One") != "1" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers = %v", got.header)
	}
	if got := p.wantCall(200, "\x89PNG", "GET", "/image", "", "Accept", "image/webp,*/*"); got.body == "iVBORw==" {
		t.Error("an image that was asked for came as base64")
	}
	p.wantCall(200, "iVBORw==", "GET", "/image", "", "Accept", "text/html, image/png")
	p.wantCall(502, `{"message":"Internal server error"}`, "GET", "/bare", "")
	p.wantCall(502, `{"message":"Internal server error"}`, "GET", "/fail", "")
	p.wantCall(504, `{"message":"Endpoint request timed out"}`, "GET", "/slow", "")
	p.wantCall(501, `PUT /elsewhere leads to something that does not run locally`, "PUT", "/elsewhere", "")
	p.wantCall(422, `{"why":"Missing required request parameters: [page]","kind":"BAD_REQUEST_PARAMETERS"}`, "GET", "/needs", "")
	p.wantCall(200, "", "GET", "/needs?page=2", "")
	p.wantCall(403, `{"message":"Forbidden"}`, "GET", "/keyed", "")
	p.wantCall(403, `{"message":"Forbidden"}`, "GET", "/keyed", "", "X-Api-Key", "k2")
	p.wantCall(200, `"apiKey":"k1"`, "GET", "/keyed", "", "X-Api-Key", "k1")

	// The resource /notes/special has POST alone, and hides /notes/{id}.
	got = p.wantCall(403, `{"message":"Missing Authentication Token"}`, "GET", "/notes/special", "")
	if got.header.Get("Access-Control-Allow-Origin") != "*" || got.header.Get("X-Amzn-Errortype") != "MissingAuthenticationTokenException" {
		t.Errorf("headers = %v", got.header)
	}
	res, err := http.Get(strings.TrimSuffix(p.api(), "/dev") + "/notes/1")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("without the stage = %d", res.StatusCode)
	}
	await(p, "the reason", func(e Finished) bool {
		return e.Refused == "the addresses of a REST API begin with its stage: /dev/notes/1"
	})
	for origin, want := range map[string]string{"https://b.example": "https://b.example", "https://c.example": "https://a.example"} {
		if got := p.wantCall(204, "", "OPTIONS", "/notes/1", "", "Origin", origin); got.header.Get("Access-Control-Allow-Origin") != want {
			t.Errorf("preflight of %s: %v", origin, got.header)
		}
	}
}

// TestOldFormat serves payload format 1.0 from an HTTP API.
func TestOldFormat(t *testing.T) {
	p := serveApis(t, map[string]string{"src/rest.js": restHandlers}, []cfn.Function{nodeFunction("web/echo", "src/rest.echo"), nodeFunction("web/bare", "src/rest.bare")},
		cfn.Api{ID: "web/Api", LogicalID: "Api1", Type: "http", Routes: []cfn.Route{{Key: "GET /old/{id}", Function: "web/echo", Payload: "1.0"}, {Key: "GET /bare", Function: "web/bare", Payload: "1.0"}}})
	p.wantCall(200, `{"version":"1.0","resource":"/old/{id}","path":"/old/7","httpMethod":"GET"`, "GET", "/old/7", "")
	p.wantCall(500, `{"message":"Internal Server Error"}`, "GET", "/bare", "")
}
