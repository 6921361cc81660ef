package cfn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
)

// SiteEnvironment gives the variables of a static site's build command, those that only CloudFormation knows resolved. The error
// names each that cannot be; the others are in the map all the same.
func (r *Resolver) SiteEnvironment(site Packed) (map[string]string, error) {
	if site.Bundle.Site == nil {
		return nil, nil
	}
	s, markers, err := r.asm.markers(site)
	if err != nil {
		return nil, err
	}
	out := maps.Clone(site.Bundle.Site.Environment)
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(out)) {
		late, ok := markers[out[name]]
		if !ok {
			continue
		}
		value, err := r.Resolve(s, late)
		text := ""
		if err == nil {
			text, err = scalar(value)
		}
		if err != nil {
			delete(out, name)
			problems = append(problems, fmt.Errorf("%s: environment variable %s: %w", site.ID, name, err))
			continue
		}
		out[name] = text
	}
	return out, errors.Join(problems...)
}

// markers are what stands for late values in the files of a site, with the values, which are those of the stack's template.
func (a *Assembly) markers(site Packed) (*Stack, map[string]any, error) {
	s := a.Stack(site.Stack)
	if s == nil {
		return nil, nil, fmt.Errorf("the assembly has no stack %s", site.Stack)
	}
	t, err := s.Template()
	if err != nil {
		return nil, nil, err
	}
	for _, r := range t.Resources {
		path, _ := r.Metadata["aws:cdk:path"].(string)
		if r.Type != "Custom::CDKBucketDeployment" || !strings.HasPrefix(path, site.Path+"/") {
			continue
		}
		all, _ := r.Properties["SourceMarkers"].([]any)
		if len(all) > 0 {
			markers, _ := all[0].(map[string]any)
			return s, markers, nil
		}
	}
	return s, nil, nil
}

// DeployedSite gives the variables of a static site's build command as they are in the account. The error names each that
// AWS does not tell.
func (d *Deployer) DeployedSite(ctx context.Context, site Packed) (map[string]string, error) {
	account, err := openEnvironments(ctx, d.Config)
	if err != nil {
		return nil, err
	}
	known := &deployedNames{ctx: ctx, d: d, stacks: map[*Stack]*deployedStack{}}
	env, err := NewResolver(d.Assembly, Local{Region: d.Config.Region, Account: account.account, Value: known.value}).SiteEnvironment(site)
	if known.err != nil {
		return nil, known.err
	}
	return env, err
}

// NotTold says why a variable of a site is not known, and what the user can do.
type NotTold struct{ Reason, Advice string }

func (e *NotTold) Error() string { return e.Reason }

// deployedNames answers for resources what they are in the account.
type deployedNames struct {
	ctx    context.Context
	d      *Deployer
	stacks map[*Stack]*deployedStack
	err    error // the first; what is resolved after it is worth nothing
}

// deployedStack is what CloudFormation says of a stack.
type deployedStack struct {
	ids     map[string]string // logical id to physical id
	outputs map[string]string
}

// value is that of a Local. An attribute is told when it follows from the physical id, or when an output gives it out.
func (n *deployedNames) value(s *Stack, logicalID string, r *Resource, attribute string) (string, bool) {
	if n.err != nil {
		return "", true
	}
	there, err := n.stack(s)
	if err != nil {
		n.err = err
		return "", true
	}
	id := there.ids[logicalID]
	switch r.Type + " " + attribute {
	case r.Type + " ", "AWS::ApiGatewayV2::Api ApiId", "AWS::ApiGateway::RestApi RestApiId", "AWS::Cognito::UserPool UserPoolId",
		"AWS::Cognito::UserPoolClient ClientId", "AWS::Cognito::IdentityPool Id", "AWS::CloudFront::Distribution Id":
		if id == "" {
			n.err = &NotTold{fmt.Sprintf("%s of stack %s is not deployed", logicalID, s.Name), "sst deploy deploys it."}
		}
		return id, true
	case "AWS::ApiGatewayV2::Api ApiEndpoint":
		scheme := "https"
		if r.Properties["ProtocolType"] == "WEBSOCKET" {
			scheme = "wss"
		}
		return fmt.Sprintf("%s://%s.execute-api.%s.amazonaws.com", scheme, id, n.region(s)), true
	}
	t, err := s.Template()
	if err != nil {
		n.err = err
		return "", true
	}
	wanted := map[string]any{"Fn::GetAtt": []any{logicalID, attribute}}
	for name, output := range t.Outputs {
		if reflect.DeepEqual(output.Value, wanted) && there.outputs[name] != "" {
			return there.outputs[name], true
		}
	}
	n.err = &NotTold{fmt.Sprintf("CloudFormation does not tell the attribute %s of %s (%s)", attribute, logicalID, r.Type),
		fmt.Sprintf("Make it an output of its stack, as in web.output(address = ...), and deploy %s.", s.Name)}
	return "", true
}

func (n *deployedNames) region(s *Stack) string {
	if s.Region != "" {
		return s.Region
	}
	return n.d.Config.Region
}

func (n *deployedNames) stack(s *Stack) (*deployedStack, error) {
	if there := n.stacks[s]; there != nil {
		return there, nil
	}
	name := s.Name
	if s.Parent != nil {
		parent, err := n.stack(s.Parent)
		if err != nil {
			return nil, err
		}
		name = parent.ids[s.LogicalID]
	}
	config := n.d.Config.Copy()
	config.Region = n.region(s)
	client := cloudformation.NewFromConfig(config)
	found, err := describe(n.ctx, client, name)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, &NotTold{fmt.Sprintf("stack %s is not deployed", name), "sst deploy deploys it."}
	}
	resources, err := listResources(n.ctx, client, s, found)
	if err != nil {
		return nil, err
	}
	there := &deployedStack{ids: map[string]string{}, outputs: outputsOf(found)}
	for _, r := range resources {
		there.ids[aws.ToString(r.LogicalResourceId)] = aws.ToString(r.PhysicalResourceId)
	}
	n.stacks[s] = there
	return there, nil
}
