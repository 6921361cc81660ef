package cfn

import (
	"encoding/json"
	"testing"
)

// derived gives what Derive reads off a template with the functions F and G.
func derived(t *testing.T, text string) (*Manifest, *Resolver, *Stack) {
	t.Helper()
	asm, s := template(t, text)
	m := &Manifest{Functions: []Function{
		{ID: "web/F", Stack: s.ID, LogicalID: "F", Name: "web-F"}, {ID: "web/G", Stack: s.ID, LogicalID: "G", Name: "web-G"},
	}}
	must(t, Derive(asm, m))
	return m, NewResolver(asm, Local{URL: func(_ *Stack, id string) (string, bool) { return "http://127.0.0.1:3000", true }}), s
}

func TestDeriveURL(t *testing.T) {
	m, r, s := derived(t, `{"Resources": {
"F": {"Type": "AWS::Lambda::Function"},
"U": {"Type": "AWS::Lambda::Url", "Properties": {"TargetFunctionArn": {"Fn::GetAtt": ["F", "Arn"]}, "AuthType": "NONE",
  "InvokeMode": "RESPONSE_STREAM", "Cors": {"AllowOrigins": ["*"], "MaxAge": 5}}}}}`)
	got, _ := json.Marshal(m.Apis)
	want := `[{"id":"web/F","stack":"S","logicalId":"U","type":"url","stream":true,"cors":{"allowOrigins":["*"],"maxAge":5},` +
		`"routes":[{"key":"$default","function":"web/F","payload":"2.0"}]}]`
	if string(got) != want {
		t.Errorf("apis\n got %s\nwant %s", got, want)
	}
	if url, err := r.Resolve(s, map[string]any{"Fn::GetAtt": []any{"U", "FunctionUrl"}}); err != nil || url != "http://127.0.0.1:3000/" {
		t.Errorf("FunctionUrl = %v, %v", url, err)
	}
}

func wantJSON(t *testing.T, what string, got any, want string) {
	t.Helper()
	data, err := json.Marshal(got)
	must(t, err)
	if string(data) != want {
		t.Errorf("%s\n got %s\nwant %s", what, data, want)
	}
}

const invocation = `{"Fn::Join": ["", ["arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/", {"Fn::GetAtt": ["F", "Arn"]}, "/invocations"]]}`

func TestDeriveREST(t *testing.T) {
	m, r, s := derived(t, `{"Resources": {
"F": {"Type": "AWS::Lambda::Function"}, "G": {"Type": "AWS::Lambda::Function"}, "Pool": {"Type": "AWS::Cognito::UserPool"},
"A": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"BinaryMediaTypes": ["image/*"]}},
"S": {"Type": "AWS::ApiGateway::Stage", "Properties": {"RestApiId": {"Ref": "A"}, "StageName": "dev", "Variables": {"v": "1"}}},
"Notes": {"Type": "AWS::ApiGateway::Resource", "Properties": {"RestApiId": {"Ref": "A"}, "ParentId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "PathPart": "notes"}},
"Note": {"Type": "AWS::ApiGateway::Resource", "Properties": {"RestApiId": {"Ref": "A"}, "ParentId": {"Ref": "Notes"}, "PathPart": "{id}"}},
"Users": {"Type": "AWS::ApiGateway::Authorizer", "Properties": {"RestApiId": {"Ref": "A"}, "Type": "COGNITO_USER_POOLS", "Name": "users",
  "IdentitySource": "method.request.header.Authorization", "ProviderARNs": ["arn:aws:cognito-idp:eu-west-1:1:userpool/eu-west-1_p"]}},
"Ask": {"Type": "AWS::ApiGateway::Authorizer", "Properties": {"RestApiId": {"Ref": "A"}, "Type": "REQUEST", "AuthorizerResultTtlInSeconds": 0,
  "IdentitySource": "method.request.header.a, method.request.querystring.b", "AuthorizerUri": `+invocation+`}},
"Valid": {"Type": "AWS::ApiGateway::RequestValidator", "Properties": {"RestApiId": {"Ref": "A"}, "ValidateRequestParameters": true}},
"Get": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Ref": "Note"}, "HttpMethod": "GET", "AuthorizationType": "CUSTOM",
  "AuthorizerId": {"Ref": "Ask"}, "RequestValidatorId": {"Ref": "Valid"}, "RequestParameters": {"method.request.querystring.q": true, "method.request.header.h": false},
  "Integration": {"Type": "AWS_PROXY", "Uri": `+invocation+`}}},
"Options": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "HttpMethod": "OPTIONS", "AuthorizationType": "NONE",
  "Integration": {"Type": "MOCK", "IntegrationResponses": [{"StatusCode": "204", "ResponseParameters": {"method.response.header.Access-Control-Allow-Origin": "'https://a'"},
    "ResponseTemplates": {"application/json": "#if($origin == \"https://a\" || $origin == \"https://b\")"}}]}}},
"Put": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Ref": "Notes"}, "HttpMethod": "PUT", "AuthorizationType": "AWS_IAM",
  "Integration": {"Type": "HTTP_PROXY", "Uri": "https://old.example"}}},
"Error": {"Type": "AWS::ApiGateway::GatewayResponse", "Properties": {"RestApiId": {"Ref": "A"}, "ResponseType": "DEFAULT_4XX", "ResponseParameters": {"gatewayresponse.header.X": "'*'"}}}
}}`)
	wantJSON(t, "apis", m.Apis, `[{"id":"S/A","stack":"S","logicalId":"A","type":"rest","stageName":"dev","variables":{"v":"1"},"binaryTypes":["image/*"],`+
		`"authorizers":[{"id":"Users","name":"users","type":"users","issuers":["https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_p"],"sources":["method.request.header.Authorization"]},`+
		`{"id":"Ask","name":"Ask","type":"request","function":"web/F","sources":["method.request.header.a","method.request.querystring.b"]}],`+
		`"responses":[{"type":"DEFAULT_4XX","headers":{"X":"'*'"}}],`+
		`"routes":[{"key":"GET /notes/{id}","function":"web/F","payload":"1.0","authorizer":"Ask","required":["querystring.q"]},`+
		`{"key":"OPTIONS /","payload":"1.0","mock":{"status":204,"headers":{"Access-Control-Allow-Origin":"https://a"},"origins":["https://a","https://b"]}},`+
		`{"key":"PUT /notes","payload":"1.0","authorizer":"iam","proxy":{"url":"https://old.example"}}]}]`)
	address := map[string]any{"Fn::Sub": "https://${A}.execute-api.${AWS::Region}.amazonaws.com/dev"}
	if url, err := r.Resolve(s, address); err != nil || url != "http://127.0.0.1:3000/dev" {
		t.Errorf("url = %v, %v", url, err)
	}
}

// What a REST API does beside asking functions: it checks bodies, passes requests on, streams, and asks services of AWS.
func TestDeriveRESTIntegrations(t *testing.T) {
	m, _, _ := derived(t, `{"Resources": {
"F": {"Type": "AWS::Lambda::Function"},
"A": {"Type": "AWS::ApiGateway::RestApi"}, "S": {"Type": "AWS::ApiGateway::Stage", "Properties": {"RestApiId": {"Ref": "A"}, "StageName": "dev"}},
"Valid": {"Type": "AWS::ApiGateway::RequestValidator", "Properties": {"RestApiId": {"Ref": "A"}, "ValidateRequestBody": true}},
"Model": {"Type": "AWS::ApiGateway::Model", "Properties": {"RestApiId": {"Ref": "A"}, "ContentType": "application/json", "Schema": {"type": "object",
  "properties": {"a": {"type": "string"}, "other": {"$ref": {"Fn::Join": ["", ["https://apigateway.amazonaws.com/restapis/", {"Ref": "A"}, "/models/Other"]]}}}}}},
"M1": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "HttpMethod": "POST",
  "RequestValidatorId": {"Ref": "Valid"}, "RequestModels": {"application/json": {"Ref": "Model"}},
  "Integration": {"Type": "AWS_PROXY", "ResponseTransferMode": "STREAM",
    "Uri": {"Fn::Join": ["", ["arn:aws:apigateway:us-east-1:lambda:path/2021-11-15/functions/", {"Fn::GetAtt": ["F", "Arn"]}, "/response-streaming-invocations"]]}}}},
"M2": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "HttpMethod": "GET",
  "Integration": {"Type": "HTTP_PROXY", "IntegrationHttpMethod": "ANY", "Uri": "https://old.example/{id}", "RequestParameters": {"integration.request.path.id": "method.request.querystring.id"}}}},
"M3": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "HttpMethod": "PUT",
  "Integration": {"Type": "HTTP_PROXY", "ConnectionType": "VPC_LINK", "Uri": "http://inside.example"}}},
"Image": {"Type": "AWS::Lambda::Function", "Properties": {"PackageType": "Image"}, "Metadata": {"aws:cdk:path": "S/Report/Resource"}},
"M5": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "HttpMethod": "DELETE",
  "Integration": {"Type": "AWS_PROXY", "Uri": {"Fn::Join": ["", ["arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/", {"Fn::GetAtt": ["Image", "Arn"]}, "/invocations"]]}}}},
"M4": {"Type": "AWS::ApiGateway::Method", "Properties": {"RestApiId": {"Ref": "A"}, "ResourceId": {"Fn::GetAtt": ["A", "RootResourceId"]}, "HttpMethod": "PATCH",
  "Integration": {"Type": "AWS", "Uri": "arn:aws:apigateway:us-east-1:sqs:path/1/q"}}}
}}`)
	wantJSON(t, "routes", m.Apis[0].Routes, `[{"key":"POST /","function":"web/F","payload":"1.0","stream":true,"models":{"application/json":{"properties":{"a":{"type":"string"},"other":{}},"type":"object"}}},`+
		`{"key":"GET /","payload":"1.0","proxy":{"url":"https://old.example/{id}","parameters":{"path.id":"querystring.id"}}},`+
		`{"key":"PUT /","payload":"1.0","leads":"a VPC link to http://inside.example"},`+
		`{"key":"DELETE /","payload":"1.0","leads":"the function S/Report, a container image"},`+
		`{"key":"PATCH /","payload":"1.0","leads":"an integration of type AWS, which maps requests to a service of AWS"}]`)
}

func TestDeriveHTTPIntegrations(t *testing.T) {
	m, _, _ := derived(t, `{"Resources": {
"F": {"Type": "AWS::Lambda::Function"}, "A": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"ProtocolType": "HTTP"}},
"I1": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {"ApiId": {"Ref": "A"}, "IntegrationType": "HTTP_PROXY", "IntegrationMethod": "GET", "IntegrationUri": "https://old.example/{proxy}", "PayloadFormatVersion": "1.0"}},
"R1": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {"ApiId": {"Ref": "A"}, "RouteKey": "ANY /{proxy+}", "Target": {"Fn::Join": ["", ["integrations/", {"Ref": "I1"}]]}}},
"I2": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {"ApiId": {"Ref": "A"}, "IntegrationType": "AWS_PROXY", "IntegrationSubtype": "SQS-SendMessage", "PayloadFormatVersion": "1.0"}},
"R2": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {"ApiId": {"Ref": "A"}, "RouteKey": "POST /jobs", "Target": {"Fn::Join": ["", ["integrations/", {"Ref": "I2"}]]}}}
}}`)
	wantJSON(t, "routes", m.Apis[0].Routes, `[{"key":"ANY /{proxy+}","payload":"1.0","proxy":{"url":"https://old.example/{proxy}","method":"GET"}},`+
		`{"key":"POST /jobs","payload":"1.0","leads":"the service action SQS-SendMessage"}]`)
}

func TestDeriveWebSocket(t *testing.T) {
	m, r, s := derived(t, `{"Resources": {
"F": {"Type": "AWS::Lambda::Function"}, "G": {"Type": "AWS::Lambda::Function"},
"A": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.do"}},
"S": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {"ApiId": {"Ref": "A"}, "StageName": "dev"}},
"Gate": {"Type": "AWS::ApiGatewayV2::Authorizer", "Properties": {"ApiId": {"Ref": "A"}, "AuthorizerType": "REQUEST", "Name": "gate",
  "IdentitySource": ["route.request.querystring.token"], "AuthorizerUri": `+invocation+`}},
"I": {"Type": "AWS::ApiGatewayV2::Integration", "Properties": {"ApiId": {"Ref": "A"}, "IntegrationType": "AWS_PROXY", "IntegrationUri": `+invocation+`}},
"C": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {"ApiId": {"Ref": "A"}, "RouteKey": "$connect", "AuthorizationType": "CUSTOM", "AuthorizerId": {"Ref": "Gate"},
  "Target": {"Fn::Join": ["", ["integrations/", {"Ref": "I"}]]}}},
"Say": {"Type": "AWS::ApiGatewayV2::Route", "Properties": {"ApiId": {"Ref": "A"}, "RouteKey": "say", "RouteResponseSelectionExpression": "$default",
  "Target": {"Fn::Join": ["", ["integrations/", {"Ref": "I"}]]}}},
"SayBack": {"Type": "AWS::ApiGatewayV2::RouteResponse", "Properties": {"ApiId": {"Ref": "A"}, "RouteId": {"Ref": "Say"}, "RouteResponseKey": "$default"}}
}}`)
	wantJSON(t, "apis", m.Apis, `[{"id":"S/A","stack":"S","logicalId":"A","type":"websocket","stageName":"dev","selection":"$request.body.do",`+
		`"authorizers":[{"id":"Gate","name":"gate","type":"request","function":"web/F","sources":["route.request.querystring.token"]}],`+
		`"routes":[{"key":"$connect","function":"web/F","authorizer":"Gate"},{"key":"say","function":"web/F","respond":true}]}]`)
	for text, want := range map[string]string{
		"wss://${A}.execute-api.us-east-1.amazonaws.com/dev":   "ws://127.0.0.1:3000/dev",
		"https://${A}.execute-api.us-east-1.amazonaws.com/dev": "http://127.0.0.1:3000/dev",
	} {
		if url, err := r.Resolve(s, map[string]any{"Fn::Sub": text}); err != nil || url != want {
			t.Errorf("%s = %v, %v, want %s", text, url, err, want)
		}
	}
}
