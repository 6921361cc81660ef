package cfn

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"sst/cfn/cfntest"
)

func TestSwappable(t *testing.T) {
	const (
		function = `{"Type":"AWS::Lambda::Function","Properties":{"Code":{"S3Bucket":"b","S3Key":"KEY"},"Description":"DESC","MemorySize":128,"Environment":{"Variables":{"A":"1","B":"2"}}},"Metadata":{"aws:asset:path":"KEY"}}`
		queue    = `"Queue":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"q"}}`
		version  = `"Version":{"Type":"AWS::Lambda::Version","Properties":{"FunctionName":{"Ref":"Export"}}}`
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

// Lambda changes a function once at a time, and a change that comes in between is made after it.
func TestSwapWaits(t *testing.T) {
	server := cfntest.New(cfntest.Options{Speed: 20})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	app := func(key string) *Assembly {
		dir := writeApp(t, 1, 1).Dir
		const bucket = `"bucketName":"cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"`
		write(t, dir, "dev-app-s00.template.json", `{"Resources":{"Export":{"Type":"AWS::Lambda::Function","Properties":{"Description":"`+key+
			`","Code":{"S3Bucket":{"Fn::Sub":"cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"},"S3Key":"`+key+`.zip"}}}}}`)
		write(t, dir, key+".zip", "the archive "+key)
		write(t, dir, "dev-app-s00.assets.json", `{"version":"54.0.0","files":{"c":{"source":{"path":"`+key+`.zip","packaging":"file"},"destinations":{"d":{`+bucket+
			`,"objectKey":"`+key+`.zip"}}},"t":{"source":{"path":"dev-app-s00.template.json","packaging":"file"},"destinations":{"d":{`+bucket+`,"objectKey":"h0.json"}}}}}`)
		asm, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return asm
	}
	ctx := context.Background()
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: app("one"), Hotswap: true}
	if results, err := d.Deploy(ctx, d.Assembly.Stacks); err != nil || results[0].Err != nil {
		t.Fatal(err, results[0].Err)
	}
	defer func(was time.Duration) { firstLook = was }(firstLook)
	firstLook = 5 * time.Millisecond
	client := lambda.NewFromConfig(d.Config)
	name := server.Deployed("dev-app-s00", "us-east-1")[0].Physical
	if _, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Description: aws.String("somebody else's")}); err != nil {
		t.Fatal(err)
	}
	_, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Description: aws.String("too soon")})
	if code(err) != "ResourceConflictException" {
		t.Fatalf("a change during another one: %v", err)
	}
	d.Assembly = app("two")
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
