// Package lookup answers the questions that CDK code asks about an account: which subnets a VPC has, what a parameter says,
// the id of a hosted zone. It owns how each is asked of AWS and the form in which the CDK wants the answer; when to ask and where
// the answers are kept is for the caller.
//
// Start from Ask and the table of providers.
package lookup

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Question is what the CDK wants to know: an entry of `missing` in the manifest of an assembly.
type Question struct {
	Provider string
	Props    json.RawMessage
}

// Account gives the account that a question is about, "" when it does not say.
func (q Question) Account() string {
	var p struct{ Account string }
	json.Unmarshal(q.Props, &p) // what is no object has no account
	return p.Account
}

// Unknown is the error for a provider that is not in the table.
type Unknown struct{ Provider string }

func (e *Unknown) Error() string {
	return fmt.Sprintf("the CDK asks %q, which sst cannot ask; it knows %s", e.Provider, strings.Join(slices.Sorted(maps.Keys(providers)), ", "))
}

// NotFound is the error when AWS has nothing, or too much, that fits.
type NotFound struct{ What string }

func (e *NotFound) Error() string { return e.What }

// notOne is the error when n things fit and one is wanted; where names the region or the like.
func notOne(n int, thing, where, criteria string) error {
	if n == 0 {
		return notFound("no %s of %s fits %s", thing, where, criteria)
	}
	return notFound("%d %ss of %s fit %s; say more, so that one is left", n, thing, where, criteria)
}

func notFound(format string, args ...any) error { return &NotFound{fmt.Sprintf(format, args...)} }

// query is a question under way: its properties are decoded as each provider needs them.
type query struct {
	config aws.Config // for the region of the question
	props  json.RawMessage
}

var providers = map[string]func(ctx context.Context, q query) (any, error){
	"ami":                                 ami,
	"availability-zones":                  zones,
	"cc-api-provider":                     resources,
	"endpoint-service-availability-zones": endpointZones,
	"hosted-zone":                         hostedZone,
	"key-provider":                        key,
	"load-balancer":                       loadBalancer,
	"load-balancer-listener":              listener,
	"security-group":                      securityGroup,
	"ssm":                                 parameter,
	"vpc-provider":                        vpc,
}

// Ask gives the answer in the form that the CDK reads from its context. What AWS does not have is the question's own
// substitute when it brings one for that case, else a NotFound.
func Ask(ctx context.Context, config aws.Config, question Question) (any, error) {
	ask, ok := providers[question.Provider]
	if !ok {
		return nil, &Unknown{question.Provider}
	}
	var common struct {
		Region     string
		Lenient    bool            `json:"ignoreErrorOnMissingContext"`
		DummyValue json.RawMessage `json:"dummyValue"`
	}
	if err := json.Unmarshal(question.Props, &common); err != nil {
		return nil, fmt.Errorf("%s: %w", question.Provider, err)
	}
	config = config.Copy()
	if common.Region != "" {
		config.Region = common.Region
	}
	answer, err := ask(ctx, query{config, question.Props})
	if _, missing := err.(*NotFound); missing && common.Lenient && common.DummyValue != nil {
		return common.DummyValue, nil
	}
	return answer, err
}

// decode reads the properties that a provider needs.
func decode[T any](q query) (props T, err error) {
	err = json.Unmarshal(q.props, &props)
	return props, err
}

// value is what p points to, or nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
