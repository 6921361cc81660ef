package cfn

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"sst/cfn/cfntest"
)

func TestSwappable(t *testing.T) {
	const (
		function = `{"Type":"AWS::Lambda::Function","Properties":{"Code":{"S3Bucket":"b","S3Key":"KEY"},"Description":"DESC","MemorySize":128,"Environment":{"Variables":{"A":"1","B":"2"}}},"Metadata":{"aws:asset:path":"KEY"}}`
		queue    = `"Queue":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"q"}}`
		version  = `"Version":{"Type":"AWS::Lambda::Version","Properties":{"FunctionName":{"Ref":"Export"}}}`
		layer    = `"Layer":{"Type":"AWS::Lambda::LayerVersion","Properties":{"Content":{"S3Bucket":"b","S3Key":"KEY"}}}`
		second   = `"Second":{"Type":"AWS::Lambda::Function","Properties":{"Code":{"S3Bucket":"b","S3Key":"second"},"Environment":{"Variables":{"A":"1"}}}}`

		versionOfARN    = `"Version":{"Type":"AWS::Lambda::Version","Properties":{"FunctionName":{"Fn::GetAtt":["Export","Arn"]}}}`
		versionOfSecond = `"Version":{"Type":"AWS::Lambda::Version","Properties":{"FunctionName":{"Ref":"Second"}}}`
	)
	with := func(function string, more ...string) string {
		return `{"Resources":{"Export":` + function + strings.Join(append([]string{""}, more...), ",") + `}}`
	}
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(function) }
	for _, test := range []struct{ name, was, is, want string }{
		{"nothing", with(function), with(function), ""},
		{"code", with(function), with(edit("KEY", "other")), "Export[]"},
		{"description", with(function), with(edit("DESC", "other")), "Export[]"},
		{"a variable", with(function), with(edit(`"A":"1"`, `"A":"3"`)), "Export[A]"},
		{"a variable less and one more", with(function), with(edit(`"A":"1"`, `"C":"1"`)), "Export[A C]"},
		{"no environment before", with(edit(`,"Environment":{"Variables":{"A":"1","B":"2"}}`, "")), with(function), "Export[A B]"},
		{"metadata only", with(function), with(edit(`path":"KEY`, `path":"other`)), ""},
		{"memory", with(function), with(edit("128", "256")), "Export: MemorySize changes"},
		{"inline code", with(function), with(edit(`{"S3Bucket":"b","S3Key":"KEY"}`, `{"ZipFile":"x"}`)), "Export: its code is not an archive in a bucket"},
		{"code of a version in the bucket", with(edit(`"S3Key":"KEY"`, `"S3Key":"KEY","S3ObjectVersion":"1"`)), with(edit(`"S3Key":"KEY"`, `"S3Key":"KEY","S3ObjectVersion":"2"`)), "Export: its code is not an archive in a bucket"},
		{"an environment by condition", with(function), with(edit(`{"Variables":{"A":"1","B":"2"}}`, `{"Fn::If":["Never",{"Ref":"AWS::NoValue"},{"Variables":{"A":"3"}}]}`)), "Export: its environment is not a list of variables"},
		{"variables by condition", with(function), with(edit(`{"A":"1","B":"2"}`, `{"Fn::If":["Never",{"A":"1"},{"A":"3"}]}`)), "Export: its environment is not a list of variables"},
		{"no variables any more", with(function), with(edit(`{"A":"1","B":"2"}`, `{}`)), "Export[A B]"},
		{"a handler and code", with(function), with(edit("KEY", "other", `"MemorySize"`, `"Handler":"a.b","MemorySize"`)), "Export: Handler changes"},
		{"a role", with(function), with(edit(`"MemorySize"`, `"Role":"arn:other","MemorySize"`)), "Export: Role changes"},
		{"a layer", with(function), with(edit(`"MemorySize"`, `"Layers":["arn:layer:1"],"MemorySize"`)), "Export: Layers changes"},
		{"a deletion policy", with(function), with(edit(`"Type"`, `"DeletionPolicy":"Retain","Type"`)), "Export: (DeletionPolicy) changes"},
		{"an archive that a layer has too", with(function, layer), with(edit("KEY", "other"), strings.Replace(layer, "KEY", "other", 1)), "Layer: Content.S3Key changes"},
		{"two functions", with(function, second), with(edit("KEY", "other"), strings.Replace(second, `"A":"1"`, `"A":"2"`, 1)), "Export[] Second[A]"},
		{"a published version by its ARN", with(function, versionOfARN), with(edit("KEY", "other"), versionOfARN), "Export: has a published version, Version"},
		{"a published version of another function", with(function, second, versionOfSecond), with(edit("KEY", "other"), second, versionOfSecond), "Export[]"},
		{"a new resource", with(function), with(edit("KEY", "other"), queue), "Queue: is new"},
		{"one less", with(function, queue), with(edit("KEY", "other")), "Queue: is removed"},
		{"another resource", with(function, queue), with(edit("KEY", "other"), strings.Replace(queue, `"q"`, `"r"`, 1)), "Queue: QueueName changes"},
		{"a published version", with(function, version), with(edit("KEY", "other"), version), "Export: has a published version, Version"},
		{"an output", with(function), strings.TrimSuffix(with(function), "}") + `,"Outputs":{"name":{"Value":{"Ref":"Export"}}}}`, ": the output name changes"},
		{"a condition", with(function), strings.TrimSuffix(with(function), "}") + `,"Conditions":{"Never":{"Fn::Equals":["a","b"]}}}`, ": Conditions of the template change"},
	} {
		was, err := ParseTemplate([]byte(test.was))
		if err != nil {
			t.Fatal(test.name, err)
		}
		is, err := ParseTemplate([]byte(test.is))
		if err != nil {
			t.Fatal(test.name, err)
		}
		swaps, obstacle := Swappable(was, is)
		var said []string
		for _, one := range swaps {
			said = append(said, one.LogicalID+"["+strings.Join(one.Variables, " ")+"]")
		}
		if obstacle != nil {
			said = []string{obstacle.LogicalID + ": " + obstacle.What}
		}
		if got := strings.Join(said, " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func init() { firstLook = 5 * time.Millisecond }

// swapApp writes an app of stacks with a function each, whose code, description and environment are named for key.
func swapApp(t *testing.T, n int, key string) *Assembly {
	t.Helper()
	dir := writeApp(t, n, 1).Dir
	const bucket = `"bucketName":"cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"`
	write(t, dir, key+".zip", "the archive "+key)
	for i := range n {
		stack := fmt.Sprintf("dev-app-s%02d", i)
		write(t, dir, stack+".template.json", `{"Resources":{"Export":{"Type":"AWS::Lambda::Function","Properties":{"Description":"`+key+`","Environment":{"Variables":{"KEY":"`+key+
			`","KEPT":"yes"}},"Code":{"S3Bucket":{"Fn::Sub":"cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"},"S3Key":"`+key+`.zip"}}}}}`)
		write(t, dir, stack+".assets.json", `{"version":"54.0.0","files":{"c":{"source":{"path":"`+key+`.zip","packaging":"file"},"destinations":{"d":{`+bucket+
			`,"objectKey":"`+key+`.zip"}}},"t":{"source":{"path":"`+stack+`.template.json","packaging":"file"},"destinations":{"d":{`+bucket+fmt.Sprintf(`,"objectKey":"h%d.json"}}}}}`, i))
	}
	asm, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return asm
}

// isSwapApp checks that the functions are what swapApp says, in each part.
func isSwapApp(t *testing.T, when string, server *cfntest.Server, n int, key string) {
	t.Helper()
	for i := range n {
		p := server.Deployed(fmt.Sprintf("dev-app-s%02d", i), "us-east-1")[0].Properties
		got := fmt.Sprint(p["Description"], " ", p["Code"].(map[string]any)["S3Key"], " ", p["Environment"])
		if want := key + " " + key + ".zip map[Variables:map[KEPT:yes KEY:" + key + "]]"; got != want {
			t.Errorf("%s: the function of stack %d is %s, want %s", when, i, got, want)
		}
	}
}

// Wherever a swap of two stacks breaks, the next deployment of the template that CloudFormation has brings the functions to it.
func TestSwapBrokenAtEachCall(t *testing.T) {
	one, two := swapApp(t, 2, "one"), swapApp(t, 2, "two")
	begin := func() (*cfntest.Server, *Deployer) {
		server := cfntest.New(cfntest.Options{})
		server.Bootstrap("us-east-1", 30)
		d := &Deployer{Config: server.Config("us-east-1"), Assembly: one}
		deployed(t, d, "deployed deployed")
		server.Calls()
		d.Assembly, d.Hotswap = two, true
		return server, d
	}
	server, d := begin()
	deployed(t, d, "swapped swapped")
	isSwapApp(t, "unbroken", server, 2, "two")
	calls := server.Calls()
	server.Close()
	if count(calls, "UpdateFunctionCode") != 2 || count(calls, "UpdateFunctionConfiguration") != 2 || count(calls, "PutParameter") != 2 || count(calls, "CreateChangeSet") != 0 {
		t.Fatalf("calls %v", calls)
	}
	var group sync.WaitGroup
	for _, killed := range []bool{true, false} {
		for at := range len(calls) {
			group.Go(func() {
				server, d := begin()
				defer server.Close()
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				server.Fault(after(at, func() *cfntest.Error {
					if killed { // what AWS was asked, it does; nobody hears the answer
						cancel(errors.New("killed"))
						return nil
					}
					return &cfntest.Error{Status: 403, Code: "ExpiredToken", Message: "The security token included in the request is expired"}
				}))
				d.Deploy(ctx, two.Stacks)
				server.Fault(nil)
				when := fmt.Sprintf("killed %v at %d", killed, at)
				d.Assembly, d.Hotswap = one, false
				results, err := d.Deploy(context.Background(), one.Stacks)
				for _, r := range results {
					if err = errors.Join(err, r.Err); r.Outcome != Deployed && r.Outcome != Unchanged {
						t.Errorf("%s: %s", when, r.Outcome)
					}
				}
				if err != nil {
					t.Errorf("%s: %v", when, err)
				}
				isSwapApp(t, when, server, 2, "one")
				if left, err := d.SwappedFunctions(context.Background()); len(left) > 0 || err != nil {
					t.Errorf("%s: still recorded: %v %v", when, left, err)
				}
			})
		}
	}
	group.Wait()
}

// Each call of a swap is refused three times, and made again.
func TestSwapThrottledAtEachCall(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: quick(server), Assembly: swapApp(t, 2, "one")}
	deployed(t, d, "deployed deployed")
	seen := map[string]int{}
	server.Fault(func(c cfntest.Call) *cfntest.Error {
		key := fmt.Sprint(c.Service, c.Action, c.Stack)
		if seen[key]++; seen[key] > 3 {
			return nil
		}
		switch c.Service {
		case "s3":
			return &cfntest.Error{Status: 503, Code: "SlowDown", Message: "Please reduce your request rate."}
		case "lambda":
			return &cfntest.Error{Status: 429, Code: "TooManyRequestsException", Message: "Rate exceeded"}
		}
		return &cfntest.Error{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"}
	})
	d.Assembly, d.Hotswap = swapApp(t, 2, "two"), true
	deployed(t, d, "swapped swapped")
	isSwapApp(t, "throttled", server, 2, "two")
	for key, n := range seen {
		if n < 4 {
			t.Errorf("%s was called %d times", key, n)
		}
	}
}

// A change that Lambda takes and cannot make is told with its reason, and does not stand in the way of the next one.
func TestSwapFailed(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: swapApp(t, 1, "one")}
	deployed(t, d, "deployed")
	name := server.Deployed("dev-app-s00", "us-east-1")[0].Physical
	server.Fail("function", "us-east-1", name, "the key is disabled")
	d.Assembly, d.Hotswap = swapApp(t, 1, "two"), true
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "failed" || !strings.Contains(results[0].Err.Error(), "the key is disabled") {
		t.Fatalf("%s: %v", got, results[0].Err)
	}
	server.Fail("function", "us-east-1", name, "")
	deployed(t, d, "swapped")
	isSwapApp(t, "mended", server, 1, "two")
}

// A stack in another region than the app's is recorded where the next deployment looks.
func TestSwapInOtherRegion(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	server.Bootstrap("eu-west-1", 30)
	abroad := func(key string) *Assembly {
		asm := swapApp(t, 1, key)
		asm.Stacks[0].Region = "eu-west-1"
		return asm
	}
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: abroad("one")}
	deployed(t, d, "deployed")
	d.Assembly, d.Hotswap = abroad("two"), true
	deployed(t, d, "swapped")
	d.Assembly, d.Hotswap = abroad("one"), false
	deployed(t, d, "deployed")
	if p := server.Deployed("dev-app-s00", "eu-west-1")[0].Properties; p["Description"] != "one" {
		t.Errorf("deployed %v", p)
	}
}

// The test's Lambda refuses what Lambda refuses, in the words that its SDK understands.
func TestSwapStrictness(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: swapApp(t, 1, "one")}
	deployed(t, d, "deployed")
	ctx, client := context.Background(), lambda.NewFromConfig(d.Config)
	name := server.Deployed("dev-app-s00", "us-east-1")[0].Physical
	bucket := "cdk-hnb659fds-assets-123456789012-us-east-1"
	server.Put(bucket, "one.zip", []byte("the archive one"))
	give := func(in lambda.UpdateFunctionCodeInput) error {
		in.FunctionName = cmp.Or(in.FunctionName, &name)
		_, err := client.UpdateFunctionCode(ctx, &in)
		return err
	}
	environment := func(variable, value string) error {
		_, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name,
			Environment: &lambdatypes.Environment{Variables: map[string]string{variable: value}}})
		return err
	}
	for _, test := range []struct {
		name, want string
		err        error
	}{
		{"no such function", "ResourceNotFoundException", give(lambda.UpdateFunctionCodeInput{FunctionName: aws.String("nobody"), S3Bucket: &bucket, S3Key: aws.String("one.zip")})},
		{"no such object", "InvalidParameterValueException", give(lambda.UpdateFunctionCodeInput{S3Bucket: &bucket, S3Key: aws.String("two.zip")})},
		{"no code", "InvalidParameterValueException", give(lambda.UpdateFunctionCodeInput{})},
		{"code past the bucket", "InvalidParameterValueException", give(lambda.UpdateFunctionCodeInput{ZipFile: []byte("zip")})},
		{"a version", "InvalidParameterValueException", give(lambda.UpdateFunctionCodeInput{S3Bucket: &bucket, S3Key: aws.String("one.zip"), Publish: true})},
		{"an old revision", "PreconditionFailedException", give(lambda.UpdateFunctionCodeInput{S3Bucket: &bucket, S3Key: aws.String("one.zip"), RevisionId: aws.String("old")})},
		{"a reserved variable", "InvalidParameterValueException", environment("AWS_LAMBDA_RUNTIME_API", "x")},
		{"variables of more than 4 KB", "InvalidParameterValueException", environment("BIG", strings.Repeat("x", 4096))},
		{"variables of 4 KB", "", environment("BIG", strings.Repeat("x", 4093))},
	} {
		if got := code(test.err); got != test.want || (test.err == nil) != (test.want == "") {
			t.Errorf("%s: %v, want %q", test.name, test.err, test.want)
		}
	}
	out, err := client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	sum := sha256.Sum256([]byte("the archive one"))
	if err != nil || aws.ToString(out.CodeSha256) != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("hash of the code: %v %v", out, err)
	}
}

// Lambda changes a function once at a time, and a change that comes in between is made after it.
func TestSwapWaits(t *testing.T) {
	server := cfntest.New(cfntest.Options{Speed: 20})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	ctx := context.Background()
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: swapApp(t, 1, "one"), Hotswap: true}
	if results, err := d.Deploy(ctx, d.Assembly.Stacks); err != nil || results[0].Err != nil {
		t.Fatal(err, results[0].Err)
	}
	client := lambda.NewFromConfig(d.Config)
	name := server.Deployed("dev-app-s00", "us-east-1")[0].Physical
	if _, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Description: aws.String("somebody else's")}); err != nil {
		t.Fatal(err)
	}
	_, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Description: aws.String("too soon")})
	if code(err) != "ResourceConflictException" {
		t.Fatalf("a change during another one: %v", err)
	}
	d.Assembly = swapApp(t, 1, "two")
	results, err := d.Deploy(ctx, d.Assembly.Stacks)
	if err != nil || results[0].Err != nil || results[0].Outcome != Swapped {
		t.Fatalf("%+v %v", results, err)
	}
	is := server.Deployed("dev-app-s00", "us-east-1")[0].Properties
	if is["Description"] != "two" || is["Code"].(map[string]any)["S3Key"] != "two.zip" {
		t.Errorf("deployed %v", is)
	}
	// Whoever may not read the record is not kept from deploying.
	d.Hotswap = false
	server.Fault(func(c cfntest.Call) *cfntest.Error {
		if c.Action == "GetParametersByPath" {
			return &cfntest.Error{Status: 400, Code: "AccessDeniedException", Message: "no"}
		}
		return nil
	})
	if results, err = d.Deploy(ctx, d.Assembly.Stacks); err != nil || results[0].Err != nil {
		t.Errorf("without the right to read the record: %+v %v", results, err)
	}
}
