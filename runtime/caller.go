package runtime

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// caller is what an authorizer found out about who calls: it becomes part of the event. A nil caller is nobody known.
type caller struct {
	claims    map[string]string // of a token
	scopes    []string
	context   map[string]any // that a Lambda authorizer gave
	principal string
	lambda    bool // a function was asked
	latency   int64
	accessKey string // of a signature
	apiKey    string
}

// fillHTTP puts the caller into the context of payload format 2.0.
func (c *caller) fillHTTP(to *httpContext) {
	switch {
	case c == nil:
	case c.claims != nil:
		to.Authorizer = map[string]any{"jwt": map[string]any{"claims": c.claims, "scopes": c.scopes}}
	case c.lambda:
		to.Authorizer = map[string]any{"lambda": c.context}
	case c.accessKey != "":
		to.Authorizer = map[string]any{"iam": map[string]any{"accessKey": c.accessKey, "accountId": accountID, "callerId": c.accessKey,
			"cognitoIdentity": nil, "principalOrgId": nil, "userArn": c.arn(), "userId": c.accessKey}}
	}
}

// fillREST puts the caller into the context of payload format 1.0.
func (c *caller) fillREST(to *restContext) {
	if c == nil {
		return
	}
	to.Authorizer = c.flat()
	if c.claims != nil {
		to.Authorizer = map[string]any{"claims": c.claims}
		if c.scopes != nil {
			to.Authorizer["scopes"] = c.scopes
		}
	}
	if c.accessKey != "" {
		account, arn := accountID, c.arn()
		to.Identity.AccountID, to.Identity.Caller, to.Identity.AccessKey = &account, &c.accessKey, &c.accessKey
		to.Identity.UserArn, to.Identity.User = &arn, &c.accessKey
	}
	if c.apiKey != "" {
		to.Identity.APIKey, to.Identity.APIKeyID = &c.apiKey, &c.apiKey
	}
}

// flat is the context of a Lambda authorizer as REST and WebSocket APIs pass it on: beside the principal, as texts.
func (c *caller) flat() map[string]any {
	if c == nil || !c.lambda {
		return nil
	}
	all := map[string]any{"principalId": c.principal, "integrationLatency": c.latency}
	for name, value := range c.context {
		if value != nil {
			all[name] = fmt.Sprint(value)
		}
	}
	return all
}

func (c *caller) arn() string { return "arn:aws:iam::" + accountID + ":user/" + c.accessKey }

// credential finds the access key in a request signed by AWS's rules.
var credential = regexp.MustCompile(`^AWS4-HMAC-SHA256 .*Credential=([^/,\s]+)/`)

// claimTexts is how API Gateway passes claims on: each as a text, a list as "[a b]".
func claimTexts(claims map[string]any) map[string]string {
	all := make(map[string]string, len(claims))
	for name, value := range claims {
		switch v := value.(type) {
		case string:
			all[name] = v
		case json.Number, bool:
			all[name] = fmt.Sprint(v)
		case []any:
			all[name] = fmt.Sprint(v)
		default:
			data, _ := json.Marshal(v)
			all[name] = string(data)
		}
	}
	return all
}
