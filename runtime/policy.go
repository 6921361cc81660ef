package runtime

// The policies that Lambda authorizers answer with.

import (
	"encoding/json"
	"strings"

	"sst/runtime/cloud"
)

// policy is an IAM policy document as far as authorizers use it.
type policy struct {
	Statement oneOrMore[statement]
}

type statement struct {
	Effect    string
	Action    oneOrMore[string]
	Resource  oneOrMore[string]
	Condition json.RawMessage
}

// oneOrMore reads a value or a list of them, as IAM does.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(data []byte) error {
	var list []T
	if json.Unmarshal(data, &list) == nil {
		*o = list
		return nil
	}
	var one T
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	*o = []T{one}
	return nil
}

// allows says whether the policy lets a method be called: an explicit deny decides, nothing said is no. A statement with
// a condition denies and never allows: it is not evaluated here.
func (p policy) allows(arn string) bool {
	allowed := false
	for _, s := range p.Statement {
		if !anyMatches(s.Action, "execute-api:Invoke", true) || !anyMatches(s.Resource, arn, false) {
			continue
		}
		switch {
		case s.Effect == "Deny":
			return false
		case s.Effect == "Allow" && len(s.Condition) == 0:
			allowed = true
		}
	}
	return allowed
}

func anyMatches(patterns []string, text string, fold bool) bool {
	for _, pattern := range patterns {
		if fold {
			pattern, text = strings.ToLower(pattern), strings.ToLower(text)
		}
		if cloud.Like(pattern, text) {
			return true
		}
	}
	return false
}
