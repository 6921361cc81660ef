package runtime

// Who may call a route: tokens are verified, functions asked, signatures taken as they are.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"sst/cfn"
)

// Kinds of refusals, under the names that REST APIs have for them.
const (
	refusedUnauthorized = "UNAUTHORIZED"
	refusedExpired      = "UNAUTHORIZED (expired)"
	refusedDenied       = "ACCESS_DENIED"
	refusedUnsigned     = "MISSING_AUTHENTICATION_TOKEN"
	refusedKey          = "INVALID_API_KEY"
	refusedFailure      = "AUTHORIZER_FAILURE"
	refusedAnswer       = "AUTHORIZER_CONFIGURATION_ERROR"
)

// refusal says why a caller may not; why is for the developer.
type refusal struct {
	kind   string
	why    string
	header http.Header
}

func refuseCaller(kind, format string, args ...any) *refusal {
	return &refusal{kind: kind, why: fmt.Sprintf(format, args...)}
}

// gate is a request in front of an authorizer.
type gate struct {
	route  cfn.Route
	api    *apiConfig
	header http.Header
	value  func(source string) string // of an identity source
	arn    string                     // of the method
	now    time.Time
	// event is what a function is asked with; identity are the values of its sources.
	event func(a cfn.Authorizer, identity []string) any
}

// authorize decides on a request.
func (s *Server) authorize(ctx context.Context, g gate) (*caller, *refusal) {
	var who *caller
	var refused *refusal
	switch a, ok := g.api.AuthorizerOf(g.route.Authorizer); {
	case g.route.Authorizer == "":
	case g.route.Authorizer == "iam":
		who, refused = g.signed()
	case !ok:
		refused = refuseCaller(refusedFailure, "its authorizer %s is not in the templates", g.route.Authorizer)
	case a.Type == "jwt" || a.Type == "users":
		who, refused = s.byToken(ctx, g, a)
	default:
		who, refused = s.byFunction(ctx, g, a)
	}
	if refused != nil || !g.route.APIKey {
		return who, refused
	}
	key := g.header.Get("X-Api-Key")
	switch {
	case key == "":
		return nil, refuseCaller(refusedKey, "it wants an API key in the header x-api-key")
	case len(g.api.Keys) > 0 && !slices.Contains(g.api.Keys, key):
		return nil, refuseCaller(refusedKey, "its API key is not one of the templates")
	}
	if who == nil {
		who = &caller{}
	}
	who.apiKey = key
	return who, nil
}

// signed takes a signature as it is: nobody here knows the keys it was made with.
func (g gate) signed() (*caller, *refusal) {
	key := credential.FindStringSubmatch(g.header.Get("Authorization"))
	if in, _, ok := strings.Cut(g.value("$request.querystring.X-Amz-Credential"), "/"); ok {
		key = []string{"", in}
	}
	if key == nil {
		return nil, refuseCaller(refusedUnsigned, "it wants a signed request (curl --aws-sigv4 aws:amz:%s:execute-api --user local:local); whose signature it is is not checked here",
			g.api.region)
	}
	return &caller{accessKey: key[1]}, nil
}

// bearer takes the word in front of a token away.
func bearer(value string) string {
	if word, token, ok := strings.Cut(value, " "); ok && strings.EqualFold(word, "Bearer") {
		return strings.TrimSpace(token)
	}
	return value
}

func (s *Server) byToken(ctx context.Context, g gate, a cfn.Authorizer) (*caller, *refusal) {
	source := "$request.header.Authorization"
	if len(a.Sources) > 0 {
		source = a.Sources[0]
	}
	token := bearer(g.value(source))
	if token == "" {
		r := refuseCaller(refusedUnauthorized, "authorizer %s: there is no token in %s", a.Name, source)
		r.header = http.Header{"Www-Authenticate": {"Bearer"}}
		return nil, r
	}
	if a.Pattern != "" && !fits(a.Pattern, token) {
		return nil, refuseCaller(refusedUnauthorized, "authorizer %s: the token does not match %s", a.Name, a.Pattern)
	}
	claims, err := s.keyring.verify(ctx, token, a.Issuers, g.now)
	if err == nil && a.Type == "jwt" {
		err = checkAudience(claims, a.Audience)
	}
	if err != nil {
		kind := refusedUnauthorized
		var refused *tokenError
		if errors.As(err, &refused) && refused.expired {
			kind = refusedExpired
		}
		r := refuseCaller(kind, "authorizer %s: the token is refused: %v", a.Name, err)
		r.header = http.Header{"Www-Authenticate": {fmt.Sprintf(`Bearer scope="" error="invalid_token" error_description=%q`, err.Error())}}
		return nil, r
	}
	who := &caller{claims: claimTexts(claims)}
	if len(g.route.Scopes) > 0 {
		who.scopes = scopesOf(claims)
		if !slices.ContainsFunc(g.route.Scopes, func(scope string) bool { return slices.Contains(who.scopes, scope) }) {
			kind := refusedDenied
			if a.Type == "users" {
				kind = refusedUnauthorized
			}
			r := refuseCaller(kind, "authorizer %s: the token has none of the scopes %s", a.Name, strings.Join(g.route.Scopes, ", "))
			r.header = http.Header{"Www-Authenticate": {fmt.Sprintf("Bearer scope=%q error=\"insufficient_scope\"", strings.Join(g.route.Scopes, " "))}}
			return nil, r
		}
		if a.Type == "users" {
			who.scopes = nil // REST APIs do not pass them on beside the claims
		}
	}
	return who, nil
}

// checkAudience looks for one of the wanted values in aud, or in client_id where there is no aud.
func checkAudience(claims map[string]any, wanted []string) error {
	var given []string
	switch aud := claims["aud"].(type) {
	case string:
		given = []string{aud}
	case []any:
		for _, each := range aud {
			given = append(given, fmt.Sprint(each))
		}
	default:
		if client, ok := claims["client_id"].(string); ok {
			given = []string{client}
		}
	}
	if slices.ContainsFunc(given, func(each string) bool { return slices.Contains(wanted, each) }) {
		return nil
	}
	return refuseToken("it is for %q (aud or client_id), wanted is %q", strings.Join(given, `", "`), strings.Join(wanted, `" or "`))
}

func scopesOf(claims map[string]any) []string {
	for _, name := range []string{"scope", "scp"} {
		switch v := claims[name].(type) {
		case string:
			return strings.Fields(v)
		case []any:
			var all []string
			for _, each := range v {
				all = append(all, fmt.Sprint(each))
			}
			return all
		}
	}
	return []string{}
}

// answers keeps what authorizers' functions answered.
type answers struct {
	mu   sync.Mutex // guards kept
	kept map[string]keptAnswer
}

type keptAnswer struct {
	said  said
	until time.Time
}

// said is what a function answered.
type said struct {
	Authorized *bool          `json:"isAuthorized"`
	Principal  string         `json:"principalId"`
	Policy     *policy        `json:"policyDocument"`
	Context    map[string]any `json:"context"`
	Key        string         `json:"usageIdentifierKey"`
}

func (a *answers) get(key string, now time.Time) (said, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept, ok := a.kept[key]
	return kept.said, ok && now.Before(kept.until)
}

func (a *answers) put(key string, s said, until, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept == nil {
		a.kept = map[string]keptAnswer{}
	}
	if len(a.kept) > 1000 {
		for k, v := range a.kept {
			if now.After(v.until) {
				delete(a.kept, k)
			}
		}
	}
	a.kept[key] = keptAnswer{s, until}
}

// forget drops all answers: the code that gave them may be another now.
func (a *answers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept = nil
}

func (s *Server) byFunction(ctx context.Context, g gate, a cfn.Authorizer) (*caller, *refusal) {
	identity := make([]string, 0, len(a.Sources))
	for _, source := range a.Sources {
		value := g.value(source)
		if value == "" {
			return nil, refuseCaller(refusedUnauthorized, "authorizer %s: there is no %s", a.Name, source)
		}
		identity = append(identity, value)
	}
	if a.Pattern != "" && len(identity) > 0 && !fits(a.Pattern, identity[0]) {
		return nil, refuseCaller(refusedUnauthorized, "authorizer %s: the token does not match %s", a.Name, a.Pattern)
	}
	key := g.api.ID + "\n" + a.ID + "\n" + strings.Join(identity, "\n")
	got, kept := s.answers.get(key, g.now)
	began := time.Now()
	if !kept {
		var refused *refusal
		if got, refused = s.ask(ctx, g, a, identity); refused != nil {
			return nil, refused
		}
		if a.TTL > 0 && len(identity) > 0 {
			s.answers.put(key, got, g.now.Add(time.Duration(a.TTL)*time.Second), g.now)
		}
	}
	who := &caller{lambda: true, context: got.Context, principal: got.Principal, latency: time.Since(began).Milliseconds()}
	allowed := false
	if a.Simple {
		allowed = *got.Authorized
	} else {
		allowed = got.Policy.allows(g.arn)
	}
	if !allowed {
		by := "says no"
		if !a.Simple {
			by = "answered a policy that does not allow execute-api:Invoke on " + g.arn
		}
		return nil, refuseCaller(refusedDenied, "authorizer %s %s", a.Name, by)
	}
	return who, nil
}

// ask invokes the function of an authorizer and checks the form of its answer.
func (s *Server) ask(ctx context.Context, g gate, a cfn.Authorizer, identity []string) (said, *refusal) {
	var got said
	fn, ok := s.app.Load().functions[a.Function]
	if !ok {
		return got, refuseCaller(refusedFailure, "authorizer %s leads to a function that does not run locally", a.Name)
	}
	event, err := json.Marshal(g.event(a, identity))
	if err != nil {
		return got, refuseCaller(refusedFailure, "authorizer %s: %v", a.Name, err)
	}
	res, err := s.invoke(ctx, request{fn: fn, event: event, trigger: "authorizer " + a.Name}, nil)
	switch {
	case err != nil:
		return got, refuseCaller(refusedFailure, "authorizer %s: %v", a.Name, err)
	case res.FunctionError && functionError(res.ErrorType, res.Body).Message == "Unauthorized" && g.api.Type != "http":
		return got, refuseCaller(refusedUnauthorized, "authorizer %s threw \"Unauthorized\"", a.Name)
	case res.FunctionError:
		return got, refuseCaller(refusedFailure, "authorizer %s failed", a.Name)
	}
	if err := json.Unmarshal(res.Body, &got); err != nil {
		return got, refuseCaller(refusedAnswer, "authorizer %s answered something that is no authorizer's answer", a.Name)
	}
	switch {
	case a.Simple && got.Authorized == nil:
		return got, refuseCaller(refusedAnswer, "authorizer %s: its answer has no isAuthorized (true or false)", a.Name)
	case !a.Simple && (got.Policy == nil || got.Principal == ""):
		return got, refuseCaller(refusedAnswer, "authorizer %s: its answer needs principalId and policyDocument", a.Name)
	}
	if g.api.Type != "http" {
		for name, value := range got.Context {
			switch value.(type) {
			case map[string]any, []any:
				return got, refuseCaller(refusedAnswer, "authorizer %s: the context's %q is no text, number or boolean", a.Name, name)
			}
		}
	}
	return got, nil
}

// fits says whether a whole text matches an expression.
func fits(pattern, text string) bool {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	return err != nil || re.MatchString(text) // one of Java's that Go has not is taken as fitting
}

// sourceOf gives the value of an identity source of a request.
func sourceOf(r *http.Request, variables map[string]string, contexts map[string]string) func(string) string {
	return func(source string) string {
		kind, name, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(source, "$"), "method."), "route."), ".")
		switch kind {
		case "request":
			kind, name, _ = strings.Cut(name, ".")
			if kind == "header" {
				return r.Header.Get(name)
			}
			_, all := multiQuery(r.URL.RawQuery)
			return strings.Join(all[name], ",")
		case "stageVariables":
			return variables[name]
		case "context":
			return contexts[name]
		}
		return ""
	}
}

// authorizerEvent is what the function of an authorizer gets in the forms that are not those of a token alone.
type authorizerEvent struct {
	Version        string              `json:"version,omitempty"`
	Type           string              `json:"type"`
	MethodArn      string              `json:"methodArn,omitempty"`
	RouteArn       string              `json:"routeArn,omitempty"`
	IdentitySource any                 `json:"identitySource,omitempty"`
	Token          string              `json:"authorizationToken,omitempty"`
	RouteKey       string              `json:"routeKey,omitempty"`
	RawPath        string              `json:"rawPath,omitempty"`
	RawQuery       *string             `json:"rawQueryString,omitempty"`
	Cookies        []string            `json:"cookies,omitempty"`
	Resource       string              `json:"resource,omitempty"`
	Path           string              `json:"path,omitempty"`
	Method         string              `json:"httpMethod,omitempty"`
	Headers        map[string]string   `json:"headers"`
	MultiHeaders   map[string][]string `json:"multiValueHeaders,omitempty"`
	Query          map[string]string   `json:"queryStringParameters"`
	MultiQuery     map[string][]string `json:"multiValueQueryStringParameters,omitempty"`
	PathParameters map[string]string   `json:"pathParameters"`
	StageVariables map[string]string   `json:"stageVariables"`
	Context        any                 `json:"requestContext"`
}

// tokenEvent is what the function of a token authorizer gets.
type tokenEvent struct {
	Type      string `json:"type"`
	Token     string `json:"authorizationToken"`
	MethodArn string `json:"methodArn"`
}

func filled[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// authorizerEvent makes the event from that of the request in format 1.0.
func (e *restEvent) authorizerEvent(arn string, multi bool) authorizerEvent {
	got := authorizerEvent{Type: "REQUEST", MethodArn: arn, Resource: e.Resource, Path: e.Path, Method: e.Method, Headers: e.Headers,
		Query: filled(e.Query), PathParameters: filled(e.PathParameters), StageVariables: filled(e.StageVariables), Context: e.Context}
	if multi {
		got.MultiHeaders, got.MultiQuery = e.MultiHeaders, filled(e.MultiQuery)
	}
	return got
}
