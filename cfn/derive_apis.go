package cfn

// What answers requests: HTTP and WebSocket APIs, and function URLs. REST APIs are in derive_rest.go.

import (
	"cmp"
	"slices"
	"strings"
)

// each calls do for every resource of the types whose property refers to the API: a route may be declared in another
// stack than its API.
func (d *derivation) each(api target, property string, do func(s *Stack, id string, r *Resource), types ...string) {
	for _, top := range d.asm.Stacks {
		all, _ := top.withNested()
		for _, s := range all {
			t, err := s.Template()
			if err != nil {
				continue
			}
			for _, id := range t.all(types...) {
				r := t.Resources[id]
				if of, ok := d.follow(s, r.Properties[property], 0); ok && of.stack == api.stack && of.id == api.id {
					do(s, id, r)
				}
			}
		}
	}
}

// api reads an HTTP or WebSocket API.
func (d *derivation) api(s *Stack, id string, r *Resource) Api {
	api := Api{ID: d.pathOf(s, id), Stack: s.ID, LogicalID: id, Type: "http", Routes: []Route{}}
	self := target{s, id, r, ""}
	if d.text(s, r.Properties["ProtocolType"]) == "WEBSOCKET" {
		api.Type = "websocket"
		api.Selection = cmp.Or(d.text(s, r.Properties["RouteSelectionExpression"]), "$request.body.action")
	}
	api.Cors = d.cors(s, r.Properties["CorsConfiguration"])
	d.each(self, "ApiId", func(s *Stack, _ string, r *Resource) {
		if api.Variables == nil && api.StageName == "" {
			if name := d.text(s, r.Properties["StageName"]); api.Type == "websocket" {
				api.StageName = name
			}
			api.Variables = d.strings(s, r.Properties["StageVariables"])
		}
	}, "AWS::ApiGatewayV2::Stage")
	d.each(self, "ApiId", func(s *Stack, id string, r *Resource) {
		api.Authorizers = append(api.Authorizers, d.authorizer(s, id, r))
	}, "AWS::ApiGatewayV2::Authorizer")
	if quick := r.Properties["Target"]; quick != nil { // an API made with its only route
		route := Route{Key: cmp.Or(d.text(s, r.Properties["RouteKey"]), "$default"), Payload: "2.0"}
		if f := d.function(s, quick); f != nil {
			route.Function = f.ID
		}
		api.Routes = append(api.Routes, route)
	}
	answered := map[string]bool{} // by the route's resource
	d.each(self, "ApiId", func(s *Stack, _ string, r *Resource) {
		if of, ok := d.follow(s, r.Properties["RouteId"], 0); ok {
			answered[of.name()] = true
		}
	}, "AWS::ApiGatewayV2::RouteResponse")
	d.each(self, "ApiId", func(s *Stack, id string, r *Resource) {
		route := d.route(s, r.Properties)
		if api.Type == "websocket" {
			route.Payload = ""
			route.Respond = answered[s.ID+"/"+id] && d.text(s, r.Properties["RouteResponseSelectionExpression"]) != ""
		}
		api.Routes = append(api.Routes, route)
	}, "AWS::ApiGatewayV2::Route")
	return api
}

func (d *derivation) route(s *Stack, properties map[string]any) Route {
	route := Route{Key: d.text(s, properties["RouteKey"]), Payload: "2.0", Scopes: d.texts(s, properties["AuthorizationScopes"]),
		APIKey: d.truth(s, properties["ApiKeyRequired"])}
	if of, ok := d.follow(s, properties["AuthorizerId"], 0); ok {
		route.Authorizer = of.id
	} else if d.text(s, properties["AuthorizationType"]) == "AWS_IAM" {
		route.Authorizer = "iam"
	}
	integration, ok := d.find(s, properties["Target"], "AWS::ApiGatewayV2::Integration")
	if !ok {
		return route
	}
	p := integration.resource.Properties
	// CloudFormation's own default is 1.0.
	route.Payload = cmp.Or(d.text(integration.stack, p["PayloadFormatVersion"]), "1.0")
	route.Timeout = d.number(integration.stack, p["TimeoutInMillis"])
	url := d.text(integration.stack, p["IntegrationUri"])
	switch kind := d.text(integration.stack, p["IntegrationType"]); {
	case kind == "HTTP_PROXY" && d.text(integration.stack, p["ConnectionType"]) == "VPC_LINK":
		route.Leads = strings.TrimSpace("a VPC link to " + url)
	case kind == "HTTP_PROXY" && url != "" && len(object(p["RequestParameters"]))+len(object(p["ResponseParameters"])) == 0:
		route.Proxy = &Passed{URL: url, Method: method(d.text(integration.stack, p["IntegrationMethod"]))}
	case kind == "HTTP_PROXY":
		route.Leads = strings.TrimSpace("an integration of type HTTP_PROXY that maps parameters " + url)
	case d.text(integration.stack, p["IntegrationSubtype"]) != "":
		route.Leads = "the service action " + d.text(integration.stack, p["IntegrationSubtype"])
	default:
		d.lead(&route, integration.stack, p["IntegrationUri"])
	}
	return route
}

// lead notes which function a route leads to, or that it is one that sst does not run.
func (d *derivation) lead(route *Route, s *Stack, uri any) {
	if f := d.function(s, uri); f != nil {
		route.Function = f.ID
		return
	}
	t, ok := d.find(s, uri, typeFunction)
	if !ok {
		return
	}
	route.Leads = "the function " + strings.TrimSuffix(d.pathOf(t.stack, t.id), "/Resource")
	if d.text(t.stack, t.resource.Properties["PackageType"]) == "Image" {
		route.Leads += ", a container image"
	}
}

// authorizer reads one of an HTTP or WebSocket API.
func (d *derivation) authorizer(s *Stack, id string, r *Resource) Authorizer {
	p := r.Properties
	a := Authorizer{ID: id, Name: cmp.Or(d.text(s, p["Name"]), id), Type: "request", Sources: d.texts(s, p["IdentitySource"]),
		TTL: d.number(s, p["AuthorizerResultTtlInSeconds"]), Payload: d.text(s, p["AuthorizerPayloadFormatVersion"]),
		Simple: d.truth(s, p["EnableSimpleResponses"])}
	if d.text(s, p["AuthorizerType"]) == "JWT" {
		jwt := object(p["JwtConfiguration"])
		a.Type, a.Issuers, a.Audience = "jwt", []string{d.text(s, jwt["Issuer"])}, d.texts(s, jwt["Audience"])
	} else if f := d.function(s, p["AuthorizerUri"]); f != nil {
		a.Function = f.ID
	}
	return a
}

// cors reads the CORS configuration of an HTTP API or a function URL, which have the same form.
func (d *derivation) cors(s *Stack, value any) *Cors {
	cors := object(value)
	if len(cors) == 0 {
		return nil
	}
	return &Cors{
		AllowCredentials: d.truth(s, cors["AllowCredentials"]), AllowHeaders: d.texts(s, cors["AllowHeaders"]),
		AllowMethods: d.texts(s, cors["AllowMethods"]), AllowOrigins: d.texts(s, cors["AllowOrigins"]),
		ExposeHeaders: d.texts(s, cors["ExposeHeaders"]), MaxAge: d.number(s, cors["MaxAge"]),
	}
}

// url reads a function URL: an Api whose only route is its function. It goes by the function's name.
func (d *derivation) url(s *Stack, id string, r *Resource) {
	f := d.function(s, r.Properties["TargetFunctionArn"])
	if f == nil {
		return
	}
	route := Route{Key: "$default", Function: f.ID, Payload: "2.0"}
	if d.text(s, r.Properties["AuthType"]) == "AWS_IAM" {
		route.Authorizer = "iam"
	}
	d.m.Apis = append(d.m.Apis, Api{
		ID: f.ID, Stack: s.ID, LogicalID: id, Type: "url",
		Stream: d.text(s, r.Properties["InvokeMode"]) == "RESPONSE_STREAM",
		Cors:   d.cors(s, r.Properties["Cors"]),
		Routes: []Route{route},
	})
}

// strings reads a map of texts; nil when there is none.
func (d *derivation) strings(s *Stack, value any) map[string]string {
	var all map[string]string
	for name, each := range object(value) {
		if all == nil {
			all = map[string]string{}
		}
		all[name] = d.text(s, each)
	}
	return all
}

// AuthorizerOf finds an authorizer by id.
func (a *Api) AuthorizerOf(id string) (Authorizer, bool) {
	i := slices.IndexFunc(a.Authorizers, func(each Authorizer) bool { return each.ID == id })
	if i < 0 {
		return Authorizer{}, false
	}
	return a.Authorizers[i], true
}
