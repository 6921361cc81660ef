package runtime

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sst/cfn"
)

// signKey is a private key with its name in the set.
type signKey struct {
	id        string
	algorithm jose.SignatureAlgorithm
	key       crypto.Signer
}

func newSignKeys(t *testing.T) (rs, es signKey, set []byte) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, es = signKey{"r1", jose.RS256, r}, signKey{"e1", jose.ES256, e}
	var keys jose.JSONWebKeySet
	for _, k := range []signKey{rs, es} {
		keys.Keys = append(keys.Keys, jose.JSONWebKey{Key: k.key.Public(), KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig"})
	}
	set, err = json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return rs, es, set
}

func (k signKey) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: jose.JSONWebKey{Key: k.key, KeyID: k.id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func with(claims map[string]any, name string, value any) map[string]any {
	all := map[string]any{}
	for n, v := range claims {
		all[n] = v
	}
	if all[name] = value; value == nil {
		delete(all, name)
	}
	return all
}

func TestTokens(t *testing.T) {
	rs, es, set := newSignKeys(t)
	stranger, _, _ := newSignKeys(t)
	var fetched int
	var issuer *httptest.Server
	issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"jwks_uri":%q}`, issuer.URL+"/keys")
		case "/keys":
			fetched++
			w.Write(set)
		}
	}))
	defer issuer.Close()
	user, scoped := cfn.Route{Key: "GET /me", Function: "web/echo", Payload: "2.0", Authorizer: "Jwt"}, cfn.Route{Key: "GET /old", Function: "web/echo", Payload: "1.0", Authorizer: "Jwt", Scopes: []string{"a:write", "a:read"}}
	p := serveApis(t, map[string]string{"src/rest.js": restHandlers}, []cfn.Function{nodeFunction("web/echo", "src/rest.echo")},
		cfn.Api{ID: "web/Api", LogicalID: "Api1", Type: "http", Routes: []cfn.Route{user, scoped},
			Authorizers: []cfn.Authorizer{{ID: "Jwt", Name: "users", Type: "jwt", Issuers: []string{issuer.URL}, Audience: []string{"notes"}, Sources: []string{"$request.header.Authorization"}}}})
	now := time.Now()
	good := map[string]any{"iss": issuer.URL, "aud": "notes", "sub": "ann", "exp": now.Add(time.Hour).Unix(), "groups": []string{"x", "y"}, "admin": true, "scope": "a:read b"}
	for _, test := range []struct {
		what, token string
		status      int
		why         string // in the body of what is let in, else for the developer
	}{
		{"good", rs.sign(t, good), 200, `"authorizer":{"jwt":{"claims":{"admin":"true","aud":"notes"`},
		{"list", rs.sign(t, good), 200, `"groups":"[x y]"`},
		{"list of audiences", rs.sign(t, with(good, "aud", []string{"x", "notes"})), 200, `"scopes":null`},
		{"client", rs.sign(t, with(with(good, "aud", nil), "client_id", "notes")), 200, ""},
		{"es256", es.sign(t, good), 200, ""},
		{"none", "", 401, "there is no token in $request.header.Authorization"},
		{"nonsense", "abc", 401, "it is no token signed with RS256"},
		{"expired", rs.sign(t, with(good, "exp", now.Add(-time.Minute).Unix())), 401, "it expired at"},
		{"early", rs.sign(t, with(good, "nbf", now.Add(time.Hour).Unix())), 401, "it is not valid yet"},
		{"for ever", rs.sign(t, with(good, "exp", nil)), 401, "it has no expiry"},
		{"audience", rs.sign(t, with(good, "aud", "other")), 401, `it is for "other" (aud or client_id), wanted is "notes"`},
		{"issuer", rs.sign(t, with(good, "iss", "https://evil.example")), 401, `its issuer is "https://evil.example"`},
		{"stranger", stranger.sign(t, good), 401, `its signature is not one of the issuer's key "r1"`},
		{"unsigned", "eyJhbGciOiJub25lIn0." + strings.Split(rs.sign(t, good), ".")[1] + ".", 401, "it is no token signed with RS256"},
	} {
		header := []string{}
		if test.token != "" {
			header = []string{"Authorization", "Bearer " + test.token}
		}
		got := p.call("GET", "/me", "", header...)
		if got.status != test.status || test.status == 200 && !strings.Contains(got.body, test.why) {
			t.Errorf("%s = %d %s", test.what, got.status, got.body)
		}
		if test.status != 200 {
			if got.body != `{"message":"Unauthorized"}` || !strings.HasPrefix(got.header.Get("Www-Authenticate"), "Bearer") {
				t.Errorf("%s = %s %v", test.what, got.body, got.header)
			}
			await(p, test.what, func(e Finished) bool { return strings.Contains(e.Refused, test.why) })
		}
	}
	await(p, "that AWS takes RSA alone", func(e Notice) bool { return strings.Contains(e.Text, "ES256, which API Gateway does not take") })
	if fetched != 1 {
		t.Errorf("the keys were fetched %d times", fetched)
	}
	p.wantCall(200, `"authorizer":{"claims":{`, "GET", "/old", "", "Authorization", rs.sign(t, good))
	p.wantCall(403, `{"message":"Forbidden"}`, "GET", "/old", "", "Authorization", rs.sign(t, with(good, "scope", "b")))
}

// TestKeysOfFile takes the keys of an issuer that is out of reach, as a user pool is, from a file, and sees that it changes.
func TestKeysOfFile(t *testing.T) {
	rs, _, set := newSignKeys(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(file, []byte(`{"keys":[]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	const pool = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_p"
	k, err := openKeyring(dir, []string{pool + "=jwks.json"}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	token := rs.sign(t, map[string]any{"iss": pool, "exp": time.Now().Add(time.Hour).Unix(), "n": json.Number("9007199254740993")})
	if _, err := k.verify(t.Context(), token, []string{pool}, time.Now()); err == nil || !strings.Contains(err.Error(), `its issuer has no key "r1"`) {
		t.Errorf("empty set: %v", err)
	}
	if err := os.WriteFile(file, set, 0o644); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(file, time.Now(), time.Now().Add(time.Second))
	claims, err := k.verify(t.Context(), token, []string{pool}, time.Now())
	if err != nil || claimTexts(claims)["n"] != "9007199254740993" {
		t.Errorf("after the change: %v, %v", claims, err)
	}
	if err := k.get(t.Context(), "http://keys.example/jwks", &claims); err == nil || !strings.Contains(err.Error(), "not an https address") {
		t.Errorf("keys over http: %v", err)
	}
	if _, err := openKeyring(dir, []string{"x="}, nil); err == nil {
		t.Error("keys without a place were taken")
	}
}

const gates = `
let asked = 0;
export const simple = async (event) => ({ isAuthorized: event.identitySource[0] === "yes", context: { asked: ++asked, list: [1], kind: event.type, key: event.routeKey } });
const statement = (effect, resource) => ({ Version: "2012-10-17", Statement: { Action: "execute-api:*", Effect: effect, Resource: resource } });
export const iam = async (event) => ({ principalId: "ann", policyDocument: statement("Allow", event.methodArn.replace(/GET.*/, "GET/*")), context: { n: 1, version: event.version } });
export const token = async (event) => {
  if (event.authorizationToken === "boom") throw new Error("boom");
  if (event.authorizationToken === "away") throw new Error("Unauthorized");
  return { principalId: "ann", policyDocument: statement("Allow", event.methodArn), context: event.authorizationToken === "list" ? { a: [] } : { ok: true, type: event.type } };
};
export const request = async (event) => ({ principalId: "bob", policyDocument: statement(event.headers["X-Who"] === "bob" && event.multiValueHeaders["X-Who"].length === 1 ? "Allow" : "Deny", "*") });
export const broken = async () => ({ isAuthorized: "yes" });
`

func TestLambdaAuthorizers(t *testing.T) {
	functions := []cfn.Function{nodeFunction("web/echo", "src/rest.echo")}
	for _, name := range []string{"simple", "iam", "token", "request", "broken"} {
		functions = append(functions, nodeFunction("web/"+name, "src/gates."+name))
	}
	route := func(key, gate string) cfn.Route {
		return cfn.Route{Key: key, Function: "web/echo", Payload: "2.0", Authorizer: gate}
	}
	header := []string{"$request.header.X-Who"}
	files := map[string]string{"src/rest.js": restHandlers, "src/gates.js": gates}
	p := serveApis(t, files, functions, cfn.Api{ID: "web/Api", LogicalID: "Api1", Type: "http",
		Authorizers: []cfn.Authorizer{
			{ID: "Simple", Name: "simple", Type: "request", Function: "web/simple", Sources: header, Payload: "2.0", Simple: true, TTL: 300},
			{ID: "Iam", Name: "iam", Type: "request", Function: "web/iam", Sources: header, Payload: "1.0", TTL: 300},
			{ID: "Broken", Name: "broken", Type: "request", Function: "web/broken", Payload: "2.0", Simple: true}},
		Routes: []cfn.Route{route("GET /simple", "Simple"), route("GET /iam/{id}", "Iam"), route("POST /iam/{id}", "Iam"), route("GET /broken", "Broken"), route("GET /signed", "iam")}})
	p.wantCall(401, `{"message":"Unauthorized"}`, "GET", "/simple", "")
	p.wantCall(403, `{"message":"Forbidden"}`, "GET", "/simple", "", "X-Who", "no")
	for range 2 { // the second time it is not asked
		p.wantCall(200, `"authorizer":{"lambda":{"asked":2,"key":"GET /simple","kind":"REQUEST","list":[1]}}`, "GET", "/simple", "", "X-Who", "yes")
	}
	p.wantCall(200, `"authorizer":{"lambda":{"n":1,"version":"1.0"}}`, "GET", "/iam/1", "", "X-Who", "ann")
	p.wantCall(200, "", "GET", "/iam/2", "", "X-Who", "ann") // the policy that was kept allows it too
	p.wantCall(403, "", "POST", "/iam/1", "", "X-Who", "ann")
	p.wantCall(500, `{"message":"Internal Server Error"}`, "GET", "/broken", "")
	p.wantCall(403, `{"message":"Forbidden"}`, "GET", "/signed", "")
	p.wantCall(200, `"authorizer":{"iam":{"accessKey":"AKID"`, "GET", "/signed", "", "Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=00")

	// Saved code is asked anew.
	p.write("src/gates.js", strings.Replace(gates, "list: [1]", "list: [2]", 1))
	await(p, "Rebuilt", func(e Rebuilt) bool { return len(e.Functions) > 0 })
	p.wantCall(200, `"list":[2]`, "GET", "/simple", "", "X-Who", "yes")
}

func TestRESTAuthorizers(t *testing.T) {
	functions := []cfn.Function{nodeFunction("web/echo", "src/rest.echo"), nodeFunction("web/token", "src/gates.token"), nodeFunction("web/request", "src/gates.request")}
	route := func(key, gate string) cfn.Route {
		return cfn.Route{Key: key, Function: "web/echo", Payload: "1.0", Authorizer: gate}
	}
	p := serveApis(t, map[string]string{"src/rest.js": restHandlers, "src/gates.js": gates}, functions, cfn.Api{ID: "web/Api", LogicalID: "Api1", Type: "rest", StageName: "dev",
		Authorizers: []cfn.Authorizer{
			{ID: "Token", Name: "token", Type: "token", Function: "web/token", Sources: []string{"method.request.header.Authorization"}, Pattern: "[a-z]+", TTL: 300},
			{ID: "Request", Name: "request", Type: "request", Function: "web/request", Sources: []string{"method.request.header.X-Who"}}},
		Routes: []cfn.Route{route("GET /token", "Token"), route("GET /other", "Token"), route("GET /request", "Request"), route("GET /signed", "iam")}})
	p.wantCall(401, `{"message":"Unauthorized"}`, "GET", "/token", "")
	p.wantCall(401, `{"message":"Unauthorized"}`, "GET", "/token", "", "Authorization", "NO1")
	p.wantCall(401, `{"message":"Unauthorized"}`, "GET", "/token", "", "Authorization", "away")
	p.wantCall(500, `{"message":null}`, "GET", "/token", "", "Authorization", "boom")
	p.wantCall(500, `{"message":null}`, "GET", "/token", "", "Authorization", "list")
	got := p.wantCall(200, `"principalId":"ann"`, "GET", "/token", "", "Authorization", "fine")
	if !strings.Contains(got.body, `"ok":"true"`) || !strings.Contains(got.body, `"type":"TOKEN"`) {
		t.Errorf("context = %s", got.body)
	}
	p.wantCall(403, `{"Message":"User is not authorized to access this resource"}`, "GET", "/other", "", "Authorization", "fine") // the answer that was kept is for /token
	p.wantCall(200, `"principalId":"bob"`, "GET", "/request", "", "X-Who", "bob")
	p.wantCall(403, `"Message"`, "GET", "/request", "", "X-Who", "eve")
	p.wantCall(403, `{"message":"Missing Authentication Token"}`, "GET", "/signed", "")
	p.wantCall(200, `"userArn":"arn:aws:iam::000000000000:user/AKID"`, "GET", "/signed?X-Amz-Credential=AKID/20260101/us-east-1/execute-api/aws4_request", "")
}

func TestPolicy(t *testing.T) {
	const arn = "arn:aws:execute-api:us-east-1:1:api/dev/GET/notes/1"
	for text, want := range map[string]bool{
		`{"Statement":[{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"` + arn + `"}]}`:                                    true,
		`{"Statement":{"Effect":"Allow","Action":["execute-api:invoke"],"Resource":["arn:aws:execute-api:*:*:api/*/GET/*"]}}`:          true,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*/GET/notes/?"}]}`:     false,
		`{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`:                                                            false,
		`{"Statement":[{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"arn:aws:execute-api:us-east-1:1:api/dev/POST/*"}]}`: false,
		`{"Statement":[]}`: false,
		`{"Statement":[{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}`:                             false,
		`{"Statement":[{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"},{"Effect":"Deny","Action":"execute-api:Invoke","Resource":"*","Condition":{"a":{}}}]}`: false,
	} {
		var p policy
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if got := p.allows(arn); got != want {
			t.Errorf("%s allows = %v, want %v", text, got, want)
		}
	}
}
