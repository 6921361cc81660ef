package cmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sst/cfn/cfntest"
	"sst/proxy/relaytest"
)

// scriptCloud gives a script an AWS of its own, and then plays its part:
//
//	cloud                        an empty one; AWS_ENDPOINT_URL and credentials point at it
//	cloud bootstrap [VERSION [REGION]]  what cdk bootstrap leaves in an account
//	cloud fail WHAT STACK ID REASON...   a create, update, delete or rollback of a resource fails
//	cloud fault ACTION CODE MESSAGE...   each call of the action is refused; ACTION "" ends that
//	cloud slow STACK ID DURATION  a resource takes that long, in virtual time
//	cloud log STACK/ID TEXT...   a line of a log group
//	cloud answer ok|error JSON LOG...  what functions answer and log
//	cloud await-log STACK/ID TEXT... the same between two looks of somebody who follows the log
//	cloud put STACK/ID KEY       an object into a bucket; STACK/ID as the beginning of its construct path
//	cloud clock DURATION         AWS's clock is ahead of the machine's
//	cloud furnish                a VPC, a hosted zone, a parameter and an image, to be looked up
//	cloud deny ROLE              nobody may assume the role
//	cloud status STACK           prints the status of a stack
//	cloud await STACK STATUS     waits until the stack has the status
//	cloud parameter NAME         prints the type and the quoted value of a parameter of SSM
//	cloud parameter-set NAME VALUE  somebody else puts a secret there
//	cloud live                   the parts of AWS that live mode needs: a WebSocket API, DynamoDB, Lambda (live_cloud_test.go)
//	cloud invoke FUNCTION PAYLOAD    an invocation through Lambda's API; `! cloud invoke` wants a function error
//	cloud invoke-large FUNCTION BYTES    the same with that much random text as "text"; the answer is abridged
//	cloud deny-connect, allow-connect    the developer may not, or may, connect to the WebSocket API
//	cloud expire KEY             API Gateway does not know the key any more, and ends all connections
//	cloud forget KEY             the account does not know the key any more
//	cloud know KEY               a key of the developer that works again
//	cloud deployed STACK PATH    prints the properties of the resource with that construct path, less "<stack>/" and "/Resource"
//	cloud tally NAME             keeps how many calls there were since the last time, polls left out
//	cloud at-most A B            the tally of A is no more than that of B
//	cloud calls                  prints what was called since the last time
func scriptCloud(ts *testscript.TestScript, neg bool, args []string) {
	if neg && (len(args) == 0 || args[0] != "invoke") {
		ts.Fatalf("cloud cannot fail")
	}
	if len(args) == 0 {
		slow := map[string]time.Duration{}
		server := cfntest.New(cfntest.Options{Duration: func(stack, id, _ string) time.Duration {
			if d, ok := slow[stack+"/"+id]; ok {
				return d
			}
			return time.Second
		}})
		ts.Defer(server.Close)
		for _, pair := range server.Env("us-east-1") {
			name, value, _ := strings.Cut(pair, "=")
			ts.Setenv(name, value)
		}
		*ts.Value(cloudKey{}).(*cloud) = cloud{Server: server, slow: slow}
		return
	}
	c := ts.Value(cloudKey{}).(*cloud)
	if c.Server == nil {
		ts.Fatalf("cloud comes before cloud %s", args[0])
	}
	switch args[0] {
	case "bootstrap":
		version := 30
		if len(args) > 1 {
			fmt.Sscan(args[1], &version)
		}
		region := "us-east-1"
		if len(args) > 2 {
			region = args[2]
		}
		c.Bootstrap(region, version)
	case "fail":
		c.Fail(args[1], args[2], args[3], strings.Join(args[4:], " "))
	case "fault":
		action, code, message := args[1], "", ""
		if action != "" {
			code, message = args[2], strings.Join(args[3:], " ")
		}
		c.Fault(func(call cfntest.Call) *cfntest.Error {
			if call.Action == action {
				return &cfntest.Error{Status: 400, Code: code, Message: message}
			}
			return nil
		})
	case "slow":
		d, err := time.ParseDuration(args[3])
		ts.Check(err)
		c.slow[args[1]+"/"+args[2]] = d
	case "log":
		c.Log(logGroup(ts, c, args[1]), strings.Join(args[2:], " "))
	case "await-log": // a line that comes between two looks of somebody who follows the log
		read := func() {
			for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				for _, call := range c.Calls() {
					if call.Action == "FilterLogEvents" {
						return
					}
				}
				if time.Now().After(deadline) {
					ts.Fatalf("nobody reads the log")
				}
			}
		}
		read()
		c.Log(logGroup(ts, c, args[1]), strings.Join(args[2:], " "))
		read()
		read() // what the one before gave is printed
	case "answer":
		answer := cfntest.Answer{Payload: args[2], Log: strings.Join(args[3:], " ") + "\n"}
		if args[1] == "error" {
			answer.Error = "Unhandled"
		}
		c.Serve(func(string, []byte) cfntest.Answer { return answer })
	case "put":
		stack, id, _ := strings.Cut(args[1], "/")
		for _, d := range c.Deployed(stack, "us-east-1") {
			if d.Type == "AWS::S3::Bucket" && strings.HasPrefix(d.Path, stack+"/"+id) {
				c.Put(d.Physical, args[2], []byte("x"))
				return
			}
		}
		ts.Fatalf("there is no bucket %s", args[1])
	case "clock":
		ahead, err := time.ParseDuration(args[1])
		ts.Check(err)
		c.Clock(ahead)
	case "furnish":
		c.Furnish("us-east-1", furniture)
	case "deny":
		c.Deny(args[1])
	case "status":
		fmt.Fprintln(ts.Stdout(), c.Status(args[1], "us-east-1"))
	case "await":
		for deadline := time.Now().Add(30 * time.Second); c.Status(args[1], "us-east-1") != args[2]; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				ts.Fatalf("%s is in %s", args[1], c.Status(args[1], "us-east-1"))
			}
		}
	case "parameter":
		kind, value := c.Parameter("us-east-1", args[1])
		fmt.Fprintf(ts.Stdout(), "%s %q\n", kind, value)
	case "parameter-set":
		c.SetParameter("us-east-1", args[1], "SecureString", args[2])
	case "live":
		c.live = openLiveCloud(ts.Value(testKey{}).(testing.TB), ts.Defer, c.Server)
		ts.Setenv("SST_WEBSOCKET_URL", "ws"+strings.TrimPrefix(c.live.base(), "http")+"/{stage}")
		ts.Setenv("SST_CONNECTIONS_URL", c.live.base()+"/{stage}")
	case "deny-connect", "allow-connect":
		c.live.denied.Store(args[0] == "deny-connect")
	case "invoke", "invoke-large":
		payload := strings.Join(args[2:], " ")
		if args[0] == "invoke-large" {
			var n int
			fmt.Sscan(args[2], &n)
			payload = fmt.Sprintf(`{"text":"%x"}`, randomBytes(n/2))
		}
		answer, err := c.live.call(args[1], payload)
		if err != nil {
			answer = err.Error()
		}
		if n := len(answer); args[0] == "invoke-large" && n > 200 {
			answer = fmt.Sprintf("%s ... %s (%d bytes)", answer[:20], answer[n-20:], n)
		}
		fmt.Fprintln(ts.Stdout(), answer)
		if (err != nil) != neg {
			ts.Fatalf("cloud invoke %s: %s", args[1], answer)
		}
	case "expire":
		c.live.forget(args[1])
	case "forget":
		c.Forget(args[1])
	case "know":
		c.live.know(args[1], relaytest.Key{Secret: "secret", ARN: "arn:aws:iam::" + cfntest.Account + ":user/tester"})
		c.Know(args[1])
	case "calls":
		seen := map[string]bool{} // a connection that broke on a busy machine makes the SDK try again, which is not a call of ours
		for _, call := range c.Calls() {
			if call.Invocation == "" || !seen[call.Invocation] {
				fmt.Fprintln(ts.Stdout(), call.Service, call.Action)
			}
			seen[call.Invocation] = true
		}
	case "deployed":
		for _, d := range c.Deployed(args[1], "us-east-1") {
			if strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(d.Path, args[1]+"/"), "/Resource"), "/Resource") == args[2] {
				data, err := json.Marshal(d.Properties)
				ts.Check(err)
				fmt.Fprintln(ts.Stdout(), string(data))
				return
			}
		}
		ts.Fatalf("there is no %s in %s", args[2], args[1])
	case "tally":
		n := 0
		for _, call := range c.Calls() {
			switch call.Action {
			case "DescribeStacks", "DescribeStackEvents", "DescribeChangeSet": // polls
			default:
				n++
			}
		}
		ts.Setenv("TALLY_"+args[1], fmt.Sprint(n))
	case "at-most":
		var a, b int
		fmt.Sscan(ts.Getenv("TALLY_"+args[1]), &a)
		fmt.Sscan(ts.Getenv("TALLY_"+args[2]), &b)
		if ts.Logf("%s: %d calls, %s: %d", args[1], a, args[2], b); a == 0 || a > b {
			ts.Fatalf("%d calls, want at most %d", a, b)
		}
	default:
		ts.Fatalf("unknown: cloud %s", args[0])
	}
}

// logGroup is the physical name of a log group given as STACK/ID.
func logGroup(ts *testscript.TestScript, c *cloud, name string) string {
	stack, id, _ := strings.Cut(name, "/")
	for _, d := range c.Deployed(stack, "us-east-1") {
		if d.LogicalID == id {
			return d.Physical
		}
	}
	ts.Fatalf("there is no %s", name)
	return ""
}

type cloud struct {
	*cfntest.Server
	slow map[string]time.Duration // written before the deployment that reads it
	live *liveCloud
}

type cloudKey struct{}

var furniture = cfntest.Landscape{
	Zones: []string{"us-east-1a", "us-east-1b"},
	VPCs: []cfntest.VPC{{ID: "vpc-11111111", CIDR: "10.0.0.0/16", Tags: map[string]string{"Name": "shared"},
		Subnets: []cfntest.Subnet{{ID: "subnet-1", CIDR: "10.0.0.0/24", Zone: "us-east-1a"}, {ID: "subnet-2", CIDR: "10.0.1.0/24", Zone: "us-east-1b"}},
		Tables:  []cfntest.RouteTable{{ID: "rtb-1", Main: true, Routes: []string{"nat-1"}}}}},
	HostedZones: []cfntest.HostedZone{{ID: "ZEXAMPLE", Name: "example.com."}},
	Images:      []cfntest.Image{{ID: "ami-77", Name: "web-1", Created: "2025-01-01T00:00:00.000Z"}},
	Parameters:  map[string]string{"/shared/topic": "arn:aws:sns:us-east-1:123456789012:shared"},
}

// testKey is where a script finds the test that it is.
type testKey struct{}
