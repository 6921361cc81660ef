package cloud

// What a function's role allows.

import (
	"fmt"
	"net/http"
	"strings"
)

// Policy is one of a role: the document as a template has it, resolved.
type Policy struct {
	Name     string
	Document map[string]any
}

// principal is the function as AWS names it.
func (c *call) principal() string {
	return fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", c.app.Account, c.caller.Role, c.caller.Name)
}

// may says whether the caller is allowed an action on a resource, as IAM does within an account: an explicit denial wins,
// and what nobody allows is denied.
func (c *call) may(action, resource string) error {
	if c.caller == nil || c.cloud.opts.NoIAM {
		return nil
	}
	allowed := len(c.caller.Unread) > 0
	if allowed {
		c.cloud.once("%s: %s of its role cannot be evaluated here; all its calls are allowed", c.caller.ID, strings.Join(c.caller.Unread, ", "))
	}
	for _, p := range c.caller.Policies {
		for _, s := range list(p.Document["Statement"]) {
			statement, ok := s.(map[string]any)
			if !ok || !applies(statement, action, resource) {
				continue
			}
			if statement["Effect"] == "Deny" {
				if statement["Condition"] != nil {
					c.cloud.once("%s: the condition of a denial of %s is not evaluated here; the denial is left out", c.caller.ID, action)
					continue
				}
				return c.denied(action, resource, "with an explicit deny in an identity-based policy")
			}
			if statement["Condition"] != nil {
				c.cloud.once("%s: the condition under which %s is allowed is not evaluated here; it is allowed", c.caller.ID, action)
			}
			allowed = true
		}
	}
	if allowed {
		return nil
	}
	return c.denied(action, resource, "because no identity-based policy allows the "+action+" action")
}

func (c *call) denied(action, resource, why string) error {
	code := "AccessDeniedException"
	switch c.service {
	case "s3", "sqs":
		code = "AccessDenied"
	case "sns":
		code = "AuthorizationError"
	}
	c.cloud.once("%s may not %s on %s: its role does not allow it. Link the resource or give it `permissions`.", c.caller.ID, action, resource)
	status := http.StatusBadRequest
	if c.service == "s3" || c.service == "sns" || c.service == "lambda" || c.service == "sqs" {
		status = http.StatusForbidden
	}
	return &Error{Status: status, Code: code, Message: fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", c.principal(), action, resource, why)}
}

func list(value any) []any {
	switch v := value.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{value}
}

func applies(statement map[string]any, action, resource string) bool {
	matches := func(patterns any, text string, fold bool) bool {
		for _, each := range list(patterns) {
			pattern, _ := each.(string)
			if fold {
				pattern, text = strings.ToLower(pattern), strings.ToLower(text)
			}
			if Like(pattern, text) {
				return true
			}
		}
		return false
	}
	switch {
	case statement["Action"] != nil && !matches(statement["Action"], action, true):
		return false
	case statement["NotAction"] != nil && matches(statement["NotAction"], action, true):
		return false
	case statement["Resource"] != nil && !matches(statement["Resource"], resource, false):
		return false
	case statement["NotResource"] != nil && matches(statement["NotResource"], resource, false):
		return false
	}
	return statement["Action"] != nil || statement["NotAction"] != nil
}

// Like matches * (any text) and ? (one character) as IAM does.
func Like(pattern, text string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(text) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == text[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// mayAtTable checks a call to DynamoDB, which is answered elsewhere.
func (c *call) mayAtTable() error {
	if c.service != "dynamodb" {
		return nil
	}
	check := func(op string, in params) error {
		name := in.text("TableName")
		if name == "" {
			return nil
		}
		if !strings.HasPrefix(name, "arn:") {
			name = c.arn("dynamodb", "table/"+name)
		}
		if in.has("IndexName") {
			name += "/index/" + in.text("IndexName")
		}
		return c.may("dynamodb:"+op, name)
	}
	if tables := c.in.object("RequestItems"); tables != nil {
		for name := range tables {
			if err := check(c.op, params{"TableName": name}); err != nil {
				return err
			}
		}
	}
	for _, item := range c.in.objects("TransactItems") {
		for kind, op := range map[string]string{"Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"} {
			if one := item.object(kind); one != nil {
				if err := check(op, one); err != nil {
					return err
				}
			}
		}
	}
	return check(c.op, c.in)
}
