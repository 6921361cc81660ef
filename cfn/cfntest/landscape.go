package cfntest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// This file is what lies in an account before anything is deployed, as EC2, Route 53, KMS, Elastic Load Balancing and Cloud Control
// tell it. They refuse filters and operations that they do not have.

// Landscape is what lies in an account.
type Landscape struct {
	Zones        []string // available ones; others have "-" in front
	VPCs         []VPC
	Images       []Image
	Groups       []SecurityGroup
	HostedZones  []HostedZone
	KeyAliases   map[string]string // alias → key id
	Balancers    []Balancer
	Resources    map[string]map[string]string // type → identifier → properties, JSON
	ServiceZones map[string][]string          // of endpoint services
	Parameters   map[string]string            // String parameters of SSM
}

// VPC is a network.
type VPC struct {
	ID, CIDR string
	Default  bool
	Tags     map[string]string
	Subnets  []Subnet
	Tables   []RouteTable
	Gateway  string // VPN gateway, attached
}

// Subnet of a VPC.
type Subnet struct {
	ID, CIDR, Zone string
	Public         bool // gives addresses at launch
	Tags           map[string]string
}

// RouteTable of a VPC; Routes are targets of 0.0.0.0/0.
type RouteTable struct {
	ID      string
	Main    bool
	Subnets []string
	Routes  []string
}

// Image is an AMI.
type Image struct{ ID, Name, Created string }

// SecurityGroup is one; Open lets all traffic out.
type SecurityGroup struct {
	ID, Name, VPC string
	Open          bool
}

// HostedZone is a zone of Route 53, private when it has VPCs.
type HostedZone struct {
	ID, Name string
	VPCs     []string
}

// Balancer is a load balancer with its listeners.
type Balancer struct {
	ARN, Type, VPC string
	Tags           map[string]string
	Groups         []string
	Ports          []int // an HTTPS listener each
}

// Furnish puts a landscape into the account, all regions alike.
func (s *Server) Furnish(region string, l Landscape) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.land = l
	for name, value := range l.Parameters {
		s.params[region+name] = &parameter{kind: "String", value: value, version: 1, modified: s.now}
	}
}

func tagSet(tags map[string]string) element {
	var items [][]element
	for _, key := range sorted(tags) {
		items = append(items, []element{{"key", key}, {"value", tags[key]}})
	}
	return set("tagSet", items)
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// set is a list as EC2 has it.
func set(name string, each [][]element) element {
	var all []element
	for _, e := range each {
		all = append(all, element{"item", e})
	}
	return element{name, all}
}

// filtered says whether something with such properties passes the filters of a request of EC2.
func (r *request) filtered(properties map[string]string) (bool, *Error) {
	for i := 1; ; i++ {
		name := r.form.Get(fmt.Sprintf("Filter.%d.Name", i))
		if name == "" {
			return true, nil
		}
		have, ok := properties[name]
		if !ok && !strings.HasPrefix(name, "tag:") {
			return false, &Error{400, "InvalidParameterValue", "The filter '" + name + "' is invalid"}
		}
		pass := false
		for k := 1; r.form.Has(fmt.Sprintf("Filter.%d.Value.%d", i, k)); k++ {
			want := r.form.Get(fmt.Sprintf("Filter.%d.Value.%d", i, k))
			prefix, wild := strings.CutSuffix(want, "*")
			pass = pass || want == have || wild && strings.HasPrefix(have, prefix)
		}
		if !pass {
			return false, nil
		}
	}
}

func withTags(properties, tags map[string]string) map[string]string {
	for key, value := range tags {
		properties["tag:"+key] = value
	}
	return properties
}

func (s *Server) ec2(w http.ResponseWriter, r *request) {
	var result []element
	var refused *Error
	pass := func(properties map[string]string) bool {
		ok, fail := r.filtered(properties)
		if fail != nil {
			refused = fail
		}
		return ok
	}
	var items [][]element
	switch r.Action {
	case "DescribeVpcs":
		for _, v := range s.land.VPCs {
			if pass(withTags(map[string]string{"vpc-id": v.ID, "isDefault": fmt.Sprint(v.Default), "owner-id": Account}, v.Tags)) {
				items = append(items, []element{{"vpcId", v.ID}, {"ownerId", Account}, {"cidrBlock", v.CIDR}, {"state", "available"}, {"isDefault", v.Default}, tagSet(v.Tags)})
			}
		}
		result = []element{set("vpcSet", items)}
	case "DescribeSubnets":
		for _, v := range s.land.VPCs {
			for _, n := range v.Subnets {
				if pass(withTags(map[string]string{"vpc-id": v.ID, "subnet-id": n.ID}, n.Tags)) {
					items = append(items, []element{{"subnetId", n.ID}, {"vpcId", v.ID}, {"cidrBlock", n.CIDR}, {"availabilityZone", n.Zone}, {"mapPublicIpOnLaunch", n.Public}, tagSet(n.Tags)})
				}
			}
		}
		result = []element{set("subnetSet", items)}
	case "DescribeRouteTables":
		for _, v := range s.land.VPCs {
			for _, t := range v.Tables {
				if !pass(map[string]string{"vpc-id": v.ID, "route-table-id": t.ID}) {
					continue
				}
				routes := [][]element{{{"destinationCidrBlock", v.CIDR}, {"gatewayId", "local"}}}
				for _, to := range t.Routes {
					kind := "gatewayId"
					switch {
					case strings.HasPrefix(to, "nat-"):
						kind = "natGatewayId"
					case strings.HasPrefix(to, "tgw-"):
						kind = "transitGatewayId"
					}
					routes = append(routes, []element{{"destinationCidrBlock", "0.0.0.0/0"}, {kind, to}})
				}
				var associations [][]element
				if t.Main {
					associations = append(associations, []element{{"main", true}})
				}
				for _, n := range t.Subnets {
					associations = append(associations, []element{{"main", false}, {"subnetId", n}})
				}
				items = append(items, []element{{"routeTableId", t.ID}, {"vpcId", v.ID}, set("routeSet", routes), set("associationSet", associations)})
			}
		}
		result = []element{set("routeTableSet", items)}
	case "DescribeVpnGateways":
		for _, v := range s.land.VPCs {
			if v.Gateway != "" && pass(map[string]string{"attachment.vpc-id": v.ID, "attachment.state": "attached", "state": "available"}) {
				items = append(items, []element{{"vpnGatewayId", v.Gateway}, {"state", "available"}})
			}
		}
		result = []element{set("vpnGatewaySet", items)}
	case "DescribeAvailabilityZones":
		for _, name := range s.land.Zones {
			plain, down := strings.CutPrefix(name, "-")
			state := map[bool]string{false: "available", true: "impaired"}[down]
			items = append(items, []element{{"zoneName", plain}, {"zoneState", state}, {"regionName", r.Region}})
		}
		result = []element{set("availabilityZoneInfo", items)}
	case "DescribeImages":
		for _, i := range s.land.Images {
			if pass(map[string]string{"name": i.Name, "state": "available", "image-type": "machine"}) {
				items = append(items, []element{{"imageId", i.ID}, {"name", i.Name}, {"creationDate", i.Created}})
			}
		}
		result = []element{set("imagesSet", items)}
	case "DescribeSecurityGroups":
		id := r.form.Get("GroupId.1")
		for _, g := range s.land.Groups {
			if (id == "" || id == g.ID) && pass(map[string]string{"group-name": g.Name, "vpc-id": g.VPC}) {
				var out [][]element
				if g.Open {
					out = [][]element{{{"ipProtocol", "-1"}, set("ipRanges", [][]element{{{"cidrIp", "0.0.0.0/0"}}}), set("ipv6Ranges", [][]element{{{"cidrIpv6", "::/0"}}})}}
				}
				items = append(items, []element{{"groupId", g.ID}, {"groupName", g.Name}, {"vpcId", g.VPC}, set("ipPermissionsEgress", out)})
			}
		}
		if id != "" && len(items) == 0 {
			refused = &Error{400, "InvalidGroup.NotFound", "The security group '" + id + "' does not exist"}
		}
		result = []element{set("securityGroupInfo", items)}
	case "DescribeVpcEndpointServices":
		name := r.form.Get("ServiceName.1")
		zones, ok := s.land.ServiceZones[name]
		if !ok {
			refused = &Error{400, "InvalidServiceName", "The Vpc Endpoint Service '" + name + "' does not exist"}
		}
		var list []element
		for _, zone := range zones {
			list = append(list, element{"item", zone})
		}
		result = []element{set("serviceDetailSet", [][]element{{{"serviceName", name}, {"availabilityZoneSet", list}}})}
	default:
		refused = &Error{400, "InvalidAction", "The action " + r.Action + " is not valid for this web service."}
	}
	if refused != nil {
		r.refuse(w, refused)
		return
	}
	reply(w, element{r.Action + "Response", append([]element{{"requestId", w.Header().Get("X-Amzn-Requestid")}}, result...)})
}

func reply(w http.ResponseWriter, root element) {
	var b strings.Builder
	root.write(&b)
	w.Header().Set("Content-Type", "text/xml")
	io.WriteString(w, xml.Header+b.String())
}

func zoneElement(z HostedZone) element {
	return element{"HostedZone", []element{{"Id", "/hostedzone/" + z.ID}, {"Name", z.Name}, {"CallerReference", z.ID}, {"Config", []element{{"PrivateZone", len(z.VPCs) > 0}}}}}
}

func (s *Server) route53(w http.ResponseWriter, r *request) {
	path := strings.TrimPrefix(r.http.URL.Path, "/2013-04-01/")
	id, one := strings.CutPrefix(path, "hostedzone/")
	switch {
	case r.http.Method == http.MethodGet && path == "hostedzonesbyname":
		var zones []element
		from := r.http.URL.Query().Get("dnsname")
		for _, z := range s.land.HostedZones { // sorted by name
			if z.Name >= from {
				zones = append(zones, zoneElement(z))
			}
		}
		reply(w, element{"ListHostedZonesByNameResponse", []element{{"HostedZones", zones}, {"IsTruncated", false}, {"MaxItems", 100}}})
	case r.http.Method == http.MethodGet && one:
		for _, z := range s.land.HostedZones {
			if z.ID == id {
				var vpcs []element
				for _, v := range z.VPCs {
					vpcs = append(vpcs, element{"VPC", []element{{"VPCRegion", "us-east-1"}, {"VPCId", v}}})
				}
				reply(w, element{"GetHostedZoneResponse", []element{zoneElement(z), {"VPCs", vpcs}}})
				return
			}
		}
		r.refuse(w, &Error{404, "NoSuchHostedZone", "No hosted zone found with ID: " + id})
	default:
		r.refuse(w, &Error{400, "InvalidInput", r.http.Method + " " + path})
	}
}

func (s *Server) kms(w http.ResponseWriter, r *request) {
	if r.Action != "TrentService.ListAliases" {
		r.refuse(w, &Error{400, "UnknownOperationException", r.Action})
		return
	}
	aliases := []map[string]string{{"AliasName": "alias/aws/s3"}} // of a key that does not exist yet
	for _, name := range sorted(s.land.KeyAliases) {
		aliases = append(aliases, map[string]string{"AliasName": name, "TargetKeyId": s.land.KeyAliases[name]})
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(map[string]any{"Aliases": aliases, "Truncated": false})
}

func (s *Server) elb(w http.ResponseWriter, r *request) {
	listenerOf := func(b Balancer, port int) []element {
		return []element{{"ListenerArn", fmt.Sprintf("%s/listener/%d", b.ARN, port)}, {"LoadBalancerArn", b.ARN}, {"Port", port}, {"Protocol", "HTTPS"}}
	}
	var all [][]element
	switch r.Action {
	case "DescribeLoadBalancers":
		want := r.list("LoadBalancerArns")
		for _, b := range s.land.Balancers {
			if len(want) > 0 && !slices.Contains(want, b.ARN) {
				continue
			}
			var groups []element
			for _, g := range b.Groups {
				groups = append(groups, element{"member", g})
			}
			all = append(all, []element{{"LoadBalancerArn", b.ARN}, {"DNSName", "lb.example.com"}, {"CanonicalHostedZoneId", "Z35"}, {"VpcId", b.VPC}, {"Type", b.Type},
				{"IpAddressType", "ipv4"}, {"SecurityGroups", groups}})
		}
		if len(want) > 0 && len(all) == 0 {
			r.refuse(w, &Error{400, "LoadBalancerNotFound", "One or more load balancers not found"})
			return
		}
		r.answer(w, members("LoadBalancers", all))
	case "DescribeTags":
		for _, arn := range r.list("ResourceArns") {
			for _, b := range s.land.Balancers {
				if b.ARN == arn {
					var tags [][]element
					for _, key := range sorted(b.Tags) {
						tags = append(tags, []element{{"Key", key}, {"Value", b.Tags[key]}})
					}
					all = append(all, []element{{"ResourceArn", arn}, members("Tags", tags)})
				}
			}
		}
		r.answer(w, members("TagDescriptions", all))
	case "DescribeListeners":
		of, want := r.form.Get("LoadBalancerArn"), r.list("ListenerArns")
		for _, b := range s.land.Balancers {
			for _, port := range b.Ports {
				if of == b.ARN || slices.Contains(want, fmt.Sprintf("%s/listener/%d", b.ARN, port)) {
					all = append(all, listenerOf(b, port))
				}
			}
		}
		r.answer(w, members("Listeners", all))
	default:
		r.refuse(w, &Error{400, "InvalidAction", "Could not find operation " + r.Action})
	}
}

func (s *Server) cloudcontrol(w http.ResponseWriter, r *request) {
	kind, _ := r.json["TypeName"].(string)
	describe := func(id string) map[string]string {
		return map[string]string{"Identifier": id, "Properties": s.land.Resources[kind][id]}
	}
	var answer any
	switch r.Action {
	case "CloudApiService.GetResource":
		id, _ := r.json["Identifier"].(string)
		if _, ok := s.land.Resources[kind][id]; !ok {
			r.refuse(w, &Error{400, "ResourceNotFoundException", "Resource of type '" + kind + "' with identifier '" + id + "' was not found."})
			return
		}
		answer = map[string]any{"TypeName": kind, "ResourceDescription": describe(id)}
	case "CloudApiService.ListResources":
		list := []any{}
		for _, id := range sorted(s.land.Resources[kind]) {
			list = append(list, describe(id))
		}
		answer = map[string]any{"TypeName": kind, "ResourceDescriptions": list}
	default:
		r.refuse(w, &Error{400, "UnknownOperationException", r.Action})
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	json.NewEncoder(w).Encode(answer)
}
