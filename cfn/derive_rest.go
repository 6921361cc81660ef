package cfn

// REST APIs: resources and methods, what they answer by themselves, their authorizers.

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// rest reads a REST API.
func (d *derivation) rest(s *Stack, id string, r *Resource) Api {
	api := Api{ID: d.pathOf(s, id), Stack: s.ID, LogicalID: id, Type: "rest", Routes: []Route{}, BinaryTypes: d.texts(s, r.Properties["BinaryMediaTypes"])}
	self := target{s, id, r, ""}
	d.each(self, "RestApiId", func(s *Stack, _ string, r *Resource) {
		if name := d.text(s, r.Properties["StageName"]); api.StageName == "" && name != "" {
			api.StageName, api.Variables = name, d.strings(s, r.Properties["Variables"])
		}
	}, "AWS::ApiGateway::Stage", "AWS::ApiGateway::Deployment")
	d.each(self, "RestApiId", func(s *Stack, id string, r *Resource) {
		api.Authorizers = append(api.Authorizers, d.restAuthorizer(s, id, r))
	}, "AWS::ApiGateway::Authorizer")
	d.each(self, "RestApiId", func(s *Stack, _ string, r *Resource) {
		api.Responses = append(api.Responses, d.gatewayResponse(s, r))
	}, "AWS::ApiGateway::GatewayResponse")
	d.each(self, "RestApiId", func(s *Stack, _ string, r *Resource) {
		api.Routes = append(api.Routes, d.method(s, r))
		if api.Routes[len(api.Routes)-1].APIKey && api.Keys == nil {
			api.Keys = d.apiKeys()
		}
	}, "AWS::ApiGateway::Method")
	return api
}

// apiKeys gives the values of API keys; nil when one has none in the templates, since any key may be that one then.
func (d *derivation) apiKeys() []string {
	var keys []string
	for _, top := range d.asm.Stacks {
		all, _ := top.withNested()
		for _, s := range all {
			t, err := s.Template()
			if err != nil {
				return nil
			}
			for _, id := range t.all("AWS::ApiGateway::ApiKey") {
				value := d.text(s, t.Resources[id].Properties["Value"])
				if value == "" {
					return nil
				}
				keys = append(keys, value)
			}
		}
	}
	return keys
}

// method reads a method as a route.
func (d *derivation) method(s *Stack, r *Resource) Route {
	p := r.Properties
	route := Route{Key: d.text(s, p["HttpMethod"]) + " " + d.resourcePath(s, p["ResourceId"]), Payload: "1.0",
		Scopes: d.texts(s, p["AuthorizationScopes"]), APIKey: d.truth(s, p["ApiKeyRequired"])}
	if of, ok := d.follow(s, p["AuthorizerId"], 0); ok {
		route.Authorizer = of.id
	} else if d.text(s, p["AuthorizationType"]) == "AWS_IAM" {
		route.Authorizer = "iam"
	}
	if v, ok := d.follow(s, p["RequestValidatorId"], 0); ok {
		if d.truth(v.stack, v.resource.Properties["ValidateRequestParameters"]) {
			for name, needed := range object(p["RequestParameters"]) {
				if d.truth(s, needed) {
					route.Required = append(route.Required, strings.TrimPrefix(name, "method.request."))
				}
			}
			slices.Sort(route.Required)
		}
		if d.truth(v.stack, v.resource.Properties["ValidateRequestBody"]) {
			route.Models = d.models(s, object(p["RequestModels"]))
		}
	}
	integration := object(p["Integration"])
	route.Timeout = d.number(s, integration["TimeoutInMillis"])
	route.Stream = d.text(s, integration["ResponseTransferMode"]) == "STREAM"
	url := d.text(s, integration["Uri"])
	switch kind := d.text(s, integration["Type"]); {
	case kind == "MOCK":
		route.Mock = d.mock(s, integration)
	case kind == "AWS_PROXY":
		d.lead(&route, s, integration["Uri"])
	case kind == "HTTP_PROXY" && d.text(s, integration["ConnectionType"]) == "VPC_LINK":
		route.Leads = strings.TrimSpace("a VPC link to " + url)
	case kind == "HTTP_PROXY" && url != "":
		route.Proxy = &Passed{URL: url, Method: method(d.text(s, integration["IntegrationHttpMethod"]))}
		for to, from := range d.strings(s, integration["RequestParameters"]) {
			if route.Proxy.Parameters == nil {
				route.Proxy.Parameters = map[string]string{}
			}
			route.Proxy.Parameters[strings.TrimPrefix(to, "integration.request.")] = strings.TrimPrefix(from, "method.request.")
		}
	case kind == "HTTP_PROXY" || kind == "HTTP":
		route.Leads = strings.TrimSpace("an integration of type " + kind + " " + url)
	case kind == "AWS":
		route.Leads = "an integration of type AWS, which maps requests to a service of AWS"
	}
	return route
}

// method is that of an integration; "" for all of them.
func method(name string) string {
	if name == "ANY" {
		return ""
	}
	return name
}

// models gives the schemas of models, by content type.
func (d *derivation) models(s *Stack, names map[string]any) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for kind, value := range names {
		if t, ok := d.follow(s, value, 0); ok && t.resource.Type == "AWS::ApiGateway::Model" {
			if text := d.json(t.stack, d.schema(t.stack, t.resource.Properties["Schema"])); json.Valid([]byte(text)) {
				all[kind] = json.RawMessage(text)
			}
		}
	}
	return all
}

// schema leaves out of a schema what only AWS can look up: a reference to another model takes anything.
func (d *derivation) schema(s *Stack, value any) any {
	switch v := value.(type) {
	case map[string]any:
		if ref, ok := v["$ref"]; ok && !strings.HasPrefix(d.text(s, ref), "#") {
			return map[string]any{}
		}
		plain := map[string]any{}
		for name, each := range v {
			plain[name] = d.schema(s, each)
		}
		return plain
	case []any:
		plain := make([]any, len(v))
		for i, each := range v {
			plain[i] = d.schema(s, each)
		}
		return plain
	}
	return value
}

// resourcePath puts together where a resource is.
func (d *derivation) resourcePath(s *Stack, value any) string {
	var parts []string
	for range 100 {
		t, ok := d.follow(s, value, 0)
		if !ok || t.resource.Type != "AWS::ApiGateway::Resource" {
			break
		}
		parts = append(parts, d.text(t.stack, t.resource.Properties["PathPart"]))
		s, value = t.stack, t.resource.Properties["ParentId"]
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// originTest is how the CDK's template asks for one of several origins.
var originTest = regexp.MustCompile(`\$origin(?: == "([^"]*)"|\.matches\("([^"]*)"\))`)

// mock reads what a method answers by itself: the response that no selection pattern is for.
func (d *derivation) mock(s *Stack, integration map[string]any) *Mock {
	m := &Mock{Status: 200}
	for _, each := range slice(integration["IntegrationResponses"]) {
		p := object(each)
		if d.text(s, p["SelectionPattern"]) != "" {
			continue
		}
		m.Status = cmp.Or(d.number(s, p["StatusCode"]), 200)
		m.Headers = d.headers(s, p["ResponseParameters"], "method.response.header.")
		for name, value := range m.Headers {
			m.Headers[name] = strings.Trim(value, "'")
		}
		for _, template := range object(p["ResponseTemplates"]) {
			for _, found := range originTest.FindAllStringSubmatch(d.text(s, template), -1) {
				if found[1] != "" {
					m.Origins = append(m.Origins, found[1])
				} else if found[2] != "" {
					m.Origins = append(m.Origins, "*")
				}
			}
			break
		}
		break
	}
	return m
}

func (d *derivation) headers(s *Stack, value any, prefix string) map[string]string {
	var all map[string]string
	for name, text := range d.strings(s, value) {
		if header, ok := strings.CutPrefix(name, prefix); ok {
			if all == nil {
				all = map[string]string{}
			}
			all[header] = text
		}
	}
	return all
}

func (d *derivation) gatewayResponse(s *Stack, r *Resource) GatewayResponse {
	p := r.Properties
	return GatewayResponse{Type: d.text(s, p["ResponseType"]), Status: d.number(s, p["StatusCode"]),
		Headers:  d.headers(s, p["ResponseParameters"], "gatewayresponse.header."),
		Template: d.text(s, object(p["ResponseTemplates"])["application/json"])}
}

// restAuthorizer reads one of a REST API, where answers are kept for five minutes unless it says otherwise.
func (d *derivation) restAuthorizer(s *Stack, id string, r *Resource) Authorizer {
	p := r.Properties
	a := Authorizer{ID: id, Name: cmp.Or(d.text(s, p["Name"]), id), TTL: 300, Pattern: d.text(s, p["IdentityValidationExpression"])}
	if p["AuthorizerResultTtlInSeconds"] != nil {
		a.TTL = d.number(s, p["AuthorizerResultTtlInSeconds"])
	}
	for source := range strings.SplitSeq(d.text(s, p["IdentitySource"]), ",") {
		if source = strings.TrimSpace(source); source != "" {
			a.Sources = append(a.Sources, source)
		}
	}
	switch d.text(s, p["Type"]) {
	case "COGNITO_USER_POOLS":
		a.Type, a.TTL = "users", 0
		for _, arn := range d.texts(s, p["ProviderARNs"]) {
			if parts := strings.Split(arn, ":"); len(parts) == 6 {
				a.Issuers = append(a.Issuers, "https://cognito-idp."+parts[3]+".amazonaws.com/"+strings.TrimPrefix(parts[5], "userpool/"))
			}
		}
	case "TOKEN":
		a.Type = "token"
	default:
		a.Type = "request"
	}
	if f := d.function(s, p["AuthorizerUri"]); f != nil {
		a.Function = f.ID
	}
	return a
}
