package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"sst/cfn/cfntest"
)

var land = cfntest.Landscape{
	Zones: []string{"us-east-1a", "us-east-1b", "-us-east-1c"},
	VPCs: []cfntest.VPC{
		{ID: "vpc-1", CIDR: "10.0.0.0/16", Default: true, Gateway: "vgw-1",
			Subnets: []cfntest.Subnet{
				{ID: "subnet-b", CIDR: "10.0.1.0/24", Zone: "us-east-1b", Public: true},
				{ID: "subnet-a", CIDR: "10.0.0.0/24", Zone: "us-east-1a"},
				{ID: "subnet-p", CIDR: "10.0.2.0/24", Zone: "us-east-1a"},
				{ID: "subnet-t", CIDR: "10.0.3.0/24", Zone: "us-east-1a", Tags: map[string]string{"aws-cdk:subnet-type": "Private", "aws-cdk:subnet-name": "app", "Tier": "x"}},
				{ID: "subnet-i", CIDR: "10.0.4.0/24", Zone: "us-east-1a"},
			},
			Tables: []cfntest.RouteTable{
				{ID: "rtb-main", Main: true},
				{ID: "rtb-igw", Subnets: []string{"subnet-a", "subnet-b"}, Routes: []string{"igw-1"}},
				{ID: "rtb-nat", Subnets: []string{"subnet-p"}, Routes: []string{"nat-1"}},
			}},
		{ID: "vpc-2", CIDR: "10.1.0.0/16", Tags: map[string]string{"Name": "two"}},
		{ID: "vpc-3", CIDR: "10.1.0.0/16", Tags: map[string]string{"Name": "two"}},
	},
	Images: []cfntest.Image{{ID: "ami-old", Name: "web-1", Created: "2024-01-01T00:00:00.000Z"}, {ID: "ami-new", Name: "web-2", Created: "2025-01-01T00:00:00.000Z"},
		{ID: "ami-db", Name: "db-1", Created: "2026-01-01T00:00:00.000Z"}},
	Groups: []cfntest.SecurityGroup{{ID: "sg-1", Name: "open", VPC: "vpc-1", Open: true}, {ID: "sg-2", Name: "shut", VPC: "vpc-1"}},
	HostedZones: []cfntest.HostedZone{{ID: "ZPUB", Name: "example.com."}, {ID: "ZPRIV", Name: "example.com.", VPCs: []string{"vpc-1"}},
		{ID: "ZPRIV2", Name: "example.com.", VPCs: []string{"vpc-2"}}, {ID: "ZORG", Name: "example.org."}},
	KeyAliases: map[string]string{"alias/mine": "1234-abcd"},
	Balancers: []cfntest.Balancer{
		{ARN: "arn:lb/web", Type: "application", VPC: "vpc-1", Tags: map[string]string{"app": "web"}, Groups: []string{"sg-1"}, Ports: []int{443, 8443}},
		{ARN: "arn:lb/net", Type: "network", VPC: "vpc-1", Tags: map[string]string{"app": "web"}},
	},
	Resources: map[string]map[string]string{
		"AWS::RDS::DBInstance": {"db": `{"DBInstanceArn":"arn:db","Endpoint":{"Address":"db.example.com","Port":"5432"}}`},
		"AWS::EC2::PrefixList": {"pl-1": `{"PrefixListName":"a","PrefixListId":"pl-1"}`, "pl-2": `{"PrefixListName":"b","PrefixListId":"pl-2"}`},
	},
	ServiceZones: map[string][]string{"com.amazonaws.us-east-1.s3": {"us-east-1b", "us-east-1a"}},
	Parameters:   map[string]string{"/vpc/id": "vpc-1"},
}

// TestAsk asks a fake AWS through the real clients. Answers are those that the CDK's own tool records.
func TestAsk(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Furnish("us-east-1", land)
	for _, test := range []struct{ provider, props, want string }{
		{"availability-zones", `{"region":"us-east-1"}`, `["us-east-1a","us-east-1b"]`},
		{"vpc-provider", `{"filter":{"isDefault":"true"},"returnAsymmetricSubnets":true}`,
			`{"vpcId":"vpc-1","vpcCidrBlock":"10.0.0.0/16","ownerAccountId":"123456789012","region":"us-east-1","availabilityZones":[],"vpnGatewayId":"vgw-1","subnetGroups":[` +
				`{"name":"Isolated","type":"Isolated","subnets":[{"subnetId":"subnet-i","cidr":"10.0.4.0/24","availabilityZone":"us-east-1a","routeTableId":"rtb-main"}]},` +
				`{"name":"Private","type":"Private","subnets":[{"subnetId":"subnet-p","cidr":"10.0.2.0/24","availabilityZone":"us-east-1a","routeTableId":"rtb-nat"}]},` +
				`{"name":"app","type":"Private","subnets":[{"subnetId":"subnet-t","cidr":"10.0.3.0/24","availabilityZone":"us-east-1a","routeTableId":"rtb-main"}]},` +
				`{"name":"Public","type":"Public","subnets":[{"subnetId":"subnet-a","cidr":"10.0.0.0/24","availabilityZone":"us-east-1a","routeTableId":"rtb-igw"},` +
				`{"subnetId":"subnet-b","cidr":"10.0.1.0/24","availabilityZone":"us-east-1b","routeTableId":"rtb-igw"}]}]}`},
		{"vpc-provider", `{"filter":{"vpc-id":"vpc-2"},"returnVpnGateways":false}`,
			`{"vpcId":"vpc-2","vpcCidrBlock":"10.1.0.0/16","ownerAccountId":"123456789012","region":"us-east-1","availabilityZones":[],"subnetGroups":[]}`},
		{"vpc-provider", `{"filter":{"tag:Name":"two"}}`, `error: 2 VPCs of us-east-1 fit tag:Name = two; say more, so that one is left`},
		{"vpc-provider", `{"filter":{"isDefault":"true"},"subnetGroupNameTag":"Tier"}`, `error: subnet subnet-b of vpc-1 has no tag Tier`},
		{"ssm", `{"parameterName":"/vpc/id"}`, `"vpc-1"`},
		{"ssm", `{"parameterName":"/gone"}`, `error: there is no parameter /gone in us-east-1`},
		{"ssm", `{"parameterName":"/gone","ignoreErrorOnMissingContext":true,"dummyValue":"none"}`, `"none"`},
		{"hosted-zone", `{"domainName":"example.com"}`, `{"Id":"/hostedzone/ZPUB","Name":"example.com."}`},
		{"hosted-zone", `{"domainName":"example.com","privateZone":true,"vpcId":"vpc-2"}`, `{"Id":"/hostedzone/ZPRIV2","Name":"example.com."}`},
		{"hosted-zone", `{"domainName":"example.com","privateZone":true}`, `error: 2 private hosted zones of the account fit the name example.com; say more, so that one is left`},
		{"hosted-zone", `{"domainName":"nothing.dev"}`, `error: no public hosted zone of the account fits the name nothing.dev`},
		{"ami", `{"owners":["self"],"filters":{"name":["web-*"],"state":["available"]}}`, `"ami-new"`},
		{"ami", `{"filters":{"name":["gone-*"]}}`, `error: no image of us-east-1 fits what machineImage looks for`},
		{"security-group", `{"securityGroupId":"sg-1"}`, `{"allowAllOutbound":true,"securityGroupId":"sg-1"}`},
		{"security-group", `{"securityGroupName":"shut","vpcId":"vpc-1"}`, `{"allowAllOutbound":false,"securityGroupId":"sg-2"}`},
		{"security-group", `{"securityGroupName":"gone","vpcId":"vpc-1"}`, `error: no security group of us-east-1 fits group-name = gone, vpc-id = vpc-1`},
		{"key-provider", `{"aliasName":"alias/mine"}`, `{"keyId":"1234-abcd"}`},
		{"key-provider", `{"aliasName":"alias/gone"}`, `error: no key of us-east-1 has the alias alias/gone`},
		{"load-balancer", `{"loadBalancerType":"application","loadBalancerTags":[{"key":"app","value":"web"}]}`,
			`{"ipAddressType":"ipv4","loadBalancerArn":"arn:lb/web","loadBalancerCanonicalHostedZoneId":"Z35","loadBalancerDnsName":"lb.example.com","securityGroupIds":["sg-1"],"vpcId":"vpc-1"}`},
		{"load-balancer", `{"loadBalancerType":"application","loadBalancerTags":[{"key":"app","value":"db"}]}`, `error: no load balancer of us-east-1 fits the tags app = db`},
		{"load-balancer-listener", `{"loadBalancerType":"application","loadBalancerArn":"arn:lb/web","listenerPort":8443}`,
			`{"listenerArn":"arn:lb/web/listener/8443","listenerPort":8443,"securityGroupIds":["sg-1"]}`},
		{"load-balancer-listener", `{"loadBalancerType":"application","listenerArn":"arn:lb/web/listener/443"}`,
			`{"listenerArn":"arn:lb/web/listener/443","listenerPort":443,"securityGroupIds":["sg-1"]}`},
		{"load-balancer-listener", `{"loadBalancerType":"application","loadBalancerArn":"arn:lb/web"}`, `error: 2 listeners of us-east-1 fit arn:lb/web; say more, so that one is left`},
		{"endpoint-service-availability-zones", `{"serviceName":"com.amazonaws.us-east-1.s3"}`, `["us-east-1a","us-east-1b"]`},
		{"cc-api-provider", `{"typeName":"AWS::RDS::DBInstance","exactIdentifier":"db","propertiesToReturn":["DBInstanceArn","Endpoint.Address","Gone"]}`,
			`[{"DBInstanceArn":"arn:db","Endpoint.Address":"db.example.com","Identifier":"db"}]`},
		{"cc-api-provider", `{"typeName":"AWS::RDS::DBInstance","exactIdentifier":"gone"}`, `error: there is no AWS::RDS::DBInstance gone in us-east-1`},
		{"cc-api-provider", `{"typeName":"AWS::EC2::PrefixList","propertyMatch":{"PrefixListName":"b"},"propertiesToReturn":["PrefixListId"],"expectedMatchCount":"exactly-one"}`,
			`[{"Identifier":"pl-2","PrefixListId":"pl-2"}]`},
		{"plugin", `{}`, `error: the CDK asks "plugin", which sst cannot ask; it knows ami, availability-zones, cc-api-provider, endpoint-service-availability-zones, hosted-zone, key-provider, load-balancer, load-balancer-listener, security-group, ssm, vpc-provider`},
	} {
		answer, err := Ask(context.Background(), server.Config("us-east-1"), Question{test.provider, json.RawMessage(test.props)})
		data, _ := json.Marshal(answer)
		got := string(data)
		if err != nil {
			got = "error: " + err.Error()
			if !errors.As(err, new(*NotFound)) && !errors.As(err, new(*Unknown)) {
				t.Errorf("%s %s: %T", test.provider, test.props, err)
			}
		}
		if got != test.want {
			t.Errorf("%s %s:\n got %s\nwant %s", test.provider, test.props, got, test.want)
		}
	}
}
