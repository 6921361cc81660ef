package lookup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// This file asks EC2: networks, zones, images, security groups.

// paged asks for one page after the other. The SDK's paginators take the client as an interface, which keeps all 700 operations of
// EC2 in the binary: 35 MB.
func paged(page func(next *string) (*string, error)) error {
	var next *string
	for {
		var err error
		if next, err = page(next); err != nil || value(next) == "" {
			return err
		}
	}
}

type vpcAnswer struct {
	VpcID             string        `json:"vpcId"`
	CIDR              string        `json:"vpcCidrBlock"`
	Owner             string        `json:"ownerAccountId,omitempty"`
	Region            string        `json:"region,omitempty"`
	AvailabilityZones []string      `json:"availabilityZones"` // always empty: the groups say it
	VPNGatewayID      string        `json:"vpnGatewayId,omitempty"`
	SubnetGroups      []subnetGroup `json:"subnetGroups"`
}

type subnetGroup struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Subnets []subnet `json:"subnets"`
}

type subnet struct {
	ID         string `json:"subnetId"`
	CIDR       string `json:"cidr"`
	Zone       string `json:"availabilityZone"`
	RouteTable string `json:"routeTableId"`
}

func vpc(ctx context.Context, q query) (any, error) {
	props, err := decode[struct {
		Filter            map[string]string
		GroupNameTag      string `json:"subnetGroupNameTag"`
		ReturnVPNGateways *bool  `json:"returnVpnGateways"`
	}](q)
	if err != nil {
		return nil, err
	}
	client := ec2.NewFromConfig(q.config)
	var found []types.Vpc
	err = paged(func(next *string) (*string, error) {
		page, err := client.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: filters(props.Filter), NextToken: next})
		if err != nil {
			return nil, err
		}
		found = append(found, page.Vpcs...)
		return page.NextToken, nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, notOne(len(found), "VPC", q.config.Region, described(props.Filter))
	}
	id := value(found[0].VpcId)
	in := []types.Filter{{Name: aws.String("vpc-id"), Values: []string{id}}}
	groups, err := subnetGroups(ctx, client, in, id, props.GroupNameTag)
	if err != nil {
		return nil, err
	}
	answer := vpcAnswer{VpcID: id, CIDR: value(found[0].CidrBlock), Owner: value(found[0].OwnerId), Region: q.config.Region, AvailabilityZones: []string{}, SubnetGroups: groups}
	if props.ReturnVPNGateways == nil || *props.ReturnVPNGateways {
		gateways, err := client.DescribeVpnGateways(ctx, &ec2.DescribeVpnGatewaysInput{Filters: []types.Filter{
			{Name: aws.String("attachment.vpc-id"), Values: []string{id}},
			{Name: aws.String("attachment.state"), Values: []string{"attached"}},
			{Name: aws.String("state"), Values: []string{"available"}},
		}})
		if err != nil {
			return nil, err
		}
		if len(gateways.VpnGateways) == 1 {
			answer.VPNGatewayID = value(gateways.VpnGateways[0].VpnGatewayId)
		}
	}
	return answer, nil
}

// subnetGroups sorts the subnets of a VPC by type and name, each group by zone: in the order of the subnets that AWS lists
// would be in no order at all, and the CDK numbers them.
func subnetGroups(ctx context.Context, client *ec2.Client, in []types.Filter, vpc, nameTag string) ([]subnetGroup, error) {
	var tables routeTables
	err := paged(func(next *string) (*string, error) {
		page, err := client.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: in, NextToken: next})
		if err != nil {
			return nil, err
		}
		tables = append(tables, page.RouteTables...)
		return page.NextToken, nil
	})
	if err != nil {
		return nil, err
	}
	byKey := map[[2]string]*subnetGroup{}
	err = paged(func(next *string) (*string, error) {
		page, err := client.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: in, NextToken: next})
		if err != nil {
			return nil, err
		}
		for _, s := range page.Subnets {
			id := value(s.SubnetId)
			kind := cmp.Or(tag(s.Tags, "aws-cdk:subnet-type"), tables.kind(s))
			if kind != "Public" && kind != "Private" && kind != "Isolated" {
				return nil, notFound("subnet %s of %s has the tag aws-cdk:subnet-type = %s; the CDK knows Public, Private and Isolated", id, vpc, kind)
			}
			name := cmp.Or(tag(s.Tags, cmp.Or(nameTag, "aws-cdk:subnet-name")), kind)
			if nameTag != "" && tag(s.Tags, nameTag) == "" {
				return nil, notFound("subnet %s of %s has no tag %s", id, vpc, nameTag)
			}
			table := tables.of(id)
			if table == nil {
				return nil, notFound("subnet %s of %s has no route table", id, vpc)
			}
			group := byKey[[2]string{kind, name}]
			if group == nil {
				group = &subnetGroup{Name: name, Type: kind}
				byKey[[2]string{kind, name}] = group
			}
			group.Subnets = append(group.Subnets, subnet{id, value(s.CidrBlock), value(s.AvailabilityZone), value(table.RouteTableId)})
		}
		return page.NextToken, nil
	})
	if err != nil {
		return nil, err
	}
	groups := []subnetGroup{}
	for _, key := range slices.SortedFunc(maps.Keys(byKey), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		g := byKey[key]
		slices.SortFunc(g.Subnets, func(a, b subnet) int { return cmp.Or(strings.Compare(a.Zone, b.Zone), strings.Compare(a.ID, b.ID)) })
		groups = append(groups, *g)
	}
	return groups, nil
}

type routeTables []types.RouteTable

// of gives the table of a subnet: its own, or the main one.
func (tables routeTables) of(subnet string) *types.RouteTable {
	var main *types.RouteTable
	for i := range tables {
		for _, a := range tables[i].Associations {
			if value(a.SubnetId) == subnet {
				return &tables[i]
			}
			if value(a.Main) {
				main = &tables[i]
			}
		}
	}
	return main
}

// kind of a subnet without a tag that says it: where its traffic goes.
func (tables routeTables) kind(s types.Subnet) string {
	if value(s.MapPublicIpOnLaunch) {
		return "Public"
	}
	kind := "Isolated"
	if table := tables.of(value(s.SubnetId)); table != nil {
		for _, r := range table.Routes {
			if strings.HasPrefix(value(r.GatewayId), "igw-") {
				return "Public"
			}
			if value(r.DestinationCidrBlock) == "0.0.0.0/0" && (r.NatGatewayId != nil || r.TransitGatewayId != nil) {
				kind = "Private"
			}
		}
	}
	return kind
}

func tag(tags []types.Tag, key string) string {
	for _, t := range tags {
		if value(t.Key) == key {
			return value(t.Value)
		}
	}
	return ""
}

func filters(by map[string]string) []types.Filter {
	var list []types.Filter
	for _, name := range slices.Sorted(maps.Keys(by)) {
		list = append(list, types.Filter{Name: aws.String(name), Values: []string{by[name]}})
	}
	return list
}

func described(by map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, name+" = "+by[name])
	}
	return strings.Join(parts, ", ")
}

func zones(ctx context.Context, q query) (any, error) {
	reply, err := ec2.NewFromConfig(q.config).DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, z := range reply.AvailabilityZones {
		if z.State == types.AvailabilityZoneStateAvailable {
			names = append(names, value(z.ZoneName))
		}
	}
	slices.Sort(names)
	return names, nil
}

func endpointZones(ctx context.Context, q query) (any, error) {
	props, err := decode[struct{ ServiceName string }](q)
	if err != nil {
		return nil, err
	}
	reply, err := ec2.NewFromConfig(q.config).DescribeVpcEndpointServices(ctx, &ec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{props.ServiceName}})
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, service := range reply.ServiceDetails {
		names = append(names, service.AvailabilityZones...)
		break
	}
	slices.Sort(names)
	return names, nil
}

// ami is the newest image that fits.
func ami(ctx context.Context, q query) (any, error) {
	props, err := decode[struct {
		Owners  []string
		Filters map[string][]string
	}](q)
	if err != nil {
		return nil, err
	}
	input := &ec2.DescribeImagesInput{Owners: props.Owners}
	for _, name := range slices.Sorted(maps.Keys(props.Filters)) {
		input.Filters = append(input.Filters, types.Filter{Name: aws.String(name), Values: props.Filters[name]})
	}
	var newest types.Image
	client := ec2.NewFromConfig(q.config)
	err = paged(func(next *string) (*string, error) {
		input.NextToken = next
		page, err := client.DescribeImages(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, image := range page.Images {
			if newest.ImageId == nil || value(image.CreationDate) > value(newest.CreationDate) { // ISO 8601
				newest = image
			}
		}
		return page.NextToken, nil
	})
	if err != nil {
		return nil, err
	}
	if newest.ImageId == nil {
		return nil, notFound("no image of %s fits what machineImage looks for", q.config.Region)
	}
	return *newest.ImageId, nil
}

func securityGroup(ctx context.Context, q query) (any, error) {
	props, err := decode[struct{ SecurityGroupID, SecurityGroupName, VpcID string }](q)
	if err != nil {
		return nil, err
	}
	input := &ec2.DescribeSecurityGroupsInput{}
	if props.SecurityGroupID != "" {
		input.GroupIds = []string{props.SecurityGroupID}
	}
	by := map[string]string{}
	if props.SecurityGroupName != "" {
		by["group-name"] = props.SecurityGroupName
	}
	if props.VpcID != "" {
		by["vpc-id"] = props.VpcID
	}
	input.Filters = filters(by)
	reply, err := ec2.NewFromConfig(q.config).DescribeSecurityGroups(ctx, input)
	if err != nil {
		return nil, err
	}
	if len(reply.SecurityGroups) != 1 {
		return nil, notOne(len(reply.SecurityGroups), "security group", q.config.Region, cmp.Or(props.SecurityGroupID, described(by)))
	}
	g := reply.SecurityGroups[0]
	var v4, v6 bool
	for _, p := range g.IpPermissionsEgress {
		if value(p.IpProtocol) == "-1" {
			v4 = v4 || slices.ContainsFunc(p.IpRanges, func(r types.IpRange) bool { return value(r.CidrIp) == "0.0.0.0/0" })
			v6 = v6 || slices.ContainsFunc(p.Ipv6Ranges, func(r types.Ipv6Range) bool { return value(r.CidrIpv6) == "::/0" })
		}
	}
	return map[string]any{"securityGroupId": value(g.GroupId), "allowAllOutbound": v4 && v6}, nil
}
