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
