package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	cloudtypes "github.com/aws/aws-sdk-go-v2/service/cloudcontrol/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// This file asks the services other than EC2.

func parameter(ctx context.Context, q query) (any, error) {
	props, err := decode[struct{ ParameterName string }](q)
	if err != nil {
		return nil, err
	}
	reply, err := ssm.NewFromConfig(q.config).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(props.ParameterName)})
	if errors.As(err, new(*ssmtypes.ParameterNotFound)) {
		return nil, notFound("there is no parameter %s in %s", props.ParameterName, q.config.Region)
	}
	if err != nil {
		return nil, err
	}
	if reply.Parameter.Type == ssmtypes.ParameterTypeSecureString {
		return nil, notFound("the parameter %s is a SecureString: its value would stand in the lock file and in the template", props.ParameterName)
	}
	return value(reply.Parameter.Value), nil
}

func hostedZone(ctx context.Context, q query) (any, error) {
	props, err := decode[struct {
		DomainName  string
		PrivateZone bool
		VpcID       string
	}](q)
	if err != nil {
		return nil, err
	}
	client := route53.NewFromConfig(q.config)
	name := strings.TrimSuffix(props.DomainName, ".") + "."
	var found []types.HostedZone
	input := &route53.ListHostedZonesByNameInput{DNSName: aws.String(name)}
	for more := true; more; {
		page, err := client.ListHostedZonesByName(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, zone := range page.HostedZones { // sorted by name, beginning with ours
			if value(zone.Name) == name && (zone.Config != nil && zone.Config.PrivateZone) == props.PrivateZone {
				found = append(found, zone)
			}
		}
		input.DNSName, input.HostedZoneId = page.NextDNSName, page.NextHostedZoneId
		more = page.IsTruncated && value(page.NextDNSName) == name
	}
	if props.VpcID != "" {
		if found, err = inVPC(ctx, client, found, props.VpcID); err != nil {
			return nil, err
		}
	}
	if len(found) != 1 {
		kind := "public hosted zone"
		if props.PrivateZone {
			kind = "private hosted zone"
		}
		return nil, notOne(len(found), kind, "the account", "the name "+props.DomainName)
	}
	return map[string]string{"Id": value(found[0].Id), "Name": value(found[0].Name)}, nil
}

func inVPC(ctx context.Context, client *route53.Client, zones []types.HostedZone, vpc string) (found []types.HostedZone, err error) {
	for _, zone := range zones {
		more, err := client.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: zone.Id})
		if err != nil {
			return nil, err
		}
		for _, v := range more.VPCs {
			if value(v.VPCId) == vpc {
				found = append(found, zone)
			}
		}
	}
	return found, nil
}

func key(ctx context.Context, q query) (any, error) {
	props, err := decode[struct{ AliasName string }](q)
	if err != nil {
		return nil, err
	}
	client := kms.NewFromConfig(q.config)
	var id string
	err = paged(func(next *string) (*string, error) {
		page, err := client.ListAliases(ctx, &kms.ListAliasesInput{Marker: next})
		if err != nil {
			return nil, err
		}
		for _, alias := range page.Aliases {
			if value(alias.AliasName) == props.AliasName {
				id = value(alias.TargetKeyId)
			}
		}
		return page.NextMarker, nil
	})
	if err != nil {
		return nil, err
	}
	if id != "" {
		return map[string]string{"keyId": id}, nil
	}
	return nil, notFound("no key of %s has the alias %s", q.config.Region, props.AliasName)
}

// balancerProps say which load balancer is meant.
type balancerProps struct {
	ARN  string                        `json:"loadBalancerArn"`
	Tags []struct{ Key, Value string } `json:"loadBalancerTags"`
	Type string                        `json:"loadBalancerType"`
}

func (p balancerProps) String() string {
	if p.ARN != "" {
		return p.ARN
	}
	var parts []string
	for _, t := range p.Tags {
		parts = append(parts, t.Key+" = "+t.Value)
	}
	return "the tags " + strings.Join(parts, ", ")
}

func loadBalancer(ctx context.Context, q query) (any, error) {
	props, err := decode[balancerProps](q)
	if err != nil {
		return nil, err
	}
	found, err := balancers(ctx, elb.NewFromConfig(q.config), props)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, notOne(len(found), "load balancer", q.config.Region, props.String())
	}
	b := found[0]
	ip := "dual-stack"
	if b.IpAddressType == elbtypes.IpAddressTypeIpv4 {
		ip = "ipv4"
	}
	return map[string]any{
		"loadBalancerArn": value(b.LoadBalancerArn), "loadBalancerCanonicalHostedZoneId": value(b.CanonicalHostedZoneId),
		"loadBalancerDnsName": value(b.DNSName), "vpcId": value(b.VpcId), "securityGroupIds": groups(b), "ipAddressType": ip,
	}, nil
}

func groups(b elbtypes.LoadBalancer) []string { return append([]string{}, b.SecurityGroups...) }

// balancers are those that fit.
func balancers(ctx context.Context, client *elb.Client, props balancerProps) ([]elbtypes.LoadBalancer, error) {
	input := &elb.DescribeLoadBalancersInput{}
	if props.ARN != "" {
		input.LoadBalancerArns = []string{props.ARN}
	}
	var found []elbtypes.LoadBalancer
	err := paged(func(next *string) (*string, error) {
		input.Marker = next
		page, err := client.DescribeLoadBalancers(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, b := range page.LoadBalancers {
			if props.Type == "" || string(b.Type) == props.Type {
				found = append(found, b)
			}
		}
		return page.NextMarker, nil
	})
	if err != nil || len(props.Tags) == 0 {
		return found, err
	}
	const most = 20 // of ARNs in a call
	var tagged []elbtypes.LoadBalancer
	for len(found) > 0 {
		some := found[:min(most, len(found))]
		found = found[len(some):]
		input := &elb.DescribeTagsInput{}
		for _, b := range some {
			input.ResourceArns = append(input.ResourceArns, value(b.LoadBalancerArn))
		}
		reply, err := client.DescribeTags(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, b := range some {
			for _, d := range reply.TagDescriptions {
				if value(d.ResourceArn) == value(b.LoadBalancerArn) && hasTags(d.Tags, props) {
					tagged = append(tagged, b)
				}
			}
		}
	}
	return tagged, nil
}

func hasTags(tags []elbtypes.Tag, props balancerProps) bool {
	have := map[string]string{}
	for _, t := range tags {
		have[value(t.Key)] = value(t.Value)
	}
	for _, t := range props.Tags {
		if v, ok := have[t.Key]; !ok || v != t.Value {
			return false
		}
	}
	return true
}

func listener(ctx context.Context, q query) (any, error) {
	props, err := decode[struct {
		balancerProps
		ARN      string `json:"listenerArn"`
		Port     int32  `json:"listenerPort"`
		Protocol string `json:"listenerProtocol"`
	}](q)
	if err != nil {
		return nil, err
	}
	client := elb.NewFromConfig(q.config)
	if props.ARN != "" {
		reply, err := client.DescribeListeners(ctx, &elb.DescribeListenersInput{ListenerArns: []string{props.ARN}})
		if err != nil {
			return nil, err
		}
		if len(reply.Listeners) != 1 {
			return nil, notFound("there is no listener %s in %s", props.ARN, q.config.Region)
		}
		props.balancerProps.ARN = value(reply.Listeners[0].LoadBalancerArn)
	}
	of, err := balancers(ctx, client, props.balancerProps)
	if err != nil {
		return nil, err
	}
	found := []map[string]any{}
	for _, b := range of {
		err := paged(func(next *string) (*string, error) {
			page, err := client.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: b.LoadBalancerArn, Marker: next})
			if err != nil {
				return nil, err
			}
			for _, l := range page.Listeners {
				if (props.ARN == "" || value(l.ListenerArn) == props.ARN) && (props.Port == 0 || value(l.Port) == props.Port) &&
					(props.Protocol == "" || string(l.Protocol) == props.Protocol) {
					found = append(found, map[string]any{"listenerArn": value(l.ListenerArn), "listenerPort": value(l.Port), "securityGroupIds": groups(b)})
				}
			}
			return page.NextMarker, nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(found) != 1 {
		return nil, notOne(len(found), "listener", q.config.Region, props.balancerProps.String())
	}
	return found[0], nil
}

// resources asks the Cloud Control API, which knows most types of resources.
func resources(ctx context.Context, q query) (any, error) {
	props, err := decode[struct {
		TypeName           string
		ExactIdentifier    string
		PropertyMatch      map[string]any
		PropertiesToReturn []string
		ExpectedMatchCount string
	}](q)
	if err != nil {
		return nil, err
	}
	client := cloudcontrol.NewFromConfig(q.config)
	var found []cloudtypes.ResourceDescription
	if props.ExactIdentifier != "" {
		reply, err := client.GetResource(ctx, &cloudcontrol.GetResourceInput{TypeName: &props.TypeName, Identifier: &props.ExactIdentifier})
		if errors.As(err, new(*cloudtypes.ResourceNotFoundException)) {
			return nil, notFound("there is no %s %s in %s", props.TypeName, props.ExactIdentifier, q.config.Region)
		}
		if err != nil {
			return nil, err
		}
		found = append(found, value(reply.ResourceDescription))
	} else {
		err := paged(func(next *string) (*string, error) {
			page, err := client.ListResources(ctx, &cloudcontrol.ListResourcesInput{TypeName: &props.TypeName, NextToken: next})
			if err != nil {
				return nil, err
			}
			found = append(found, page.ResourceDescriptions...)
			return page.NextToken, nil
		})
		if err != nil {
			return nil, err
		}
	}
	answers := []map[string]any{}
	for _, r := range found {
		var have map[string]any
		if err := json.Unmarshal([]byte(value(r.Properties)), &have); err != nil {
			return nil, fmt.Errorf("%s %s: %w", props.TypeName, value(r.Identifier), err)
		}
		fits := true
		for path, want := range props.PropertyMatch {
			fits = fits && reflect.DeepEqual(at(have, path), want)
		}
		if !fits {
			continue
		}
		answer := map[string]any{"Identifier": value(r.Identifier)}
		for _, path := range props.PropertiesToReturn {
			if v := at(have, path); v != nil {
				answer[path] = v
			}
		}
		answers = append(answers, answer)
	}
	few, many := len(answers) == 0, len(answers) > 1
	if few && (props.ExpectedMatchCount == "exactly-one" || props.ExpectedMatchCount == "at-least-one") ||
		many && (props.ExpectedMatchCount == "exactly-one" || props.ExpectedMatchCount == "at-most-one") {
		return nil, notFound("%d resources %s of %s fit %v, want %s", len(answers), props.TypeName, q.config.Region, props.PropertyMatch, strings.ReplaceAll(props.ExpectedMatchCount, "-", " "))
	}
	return answers, nil
}

// at gives the value at a path such as "Endpoint.Address".
func at(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}
