package builtins

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	interp "sst/starlark"
)

// What is shown as an example of the CDK parses, and is what it is said to be of.
func TestExamplesOfClasses(t *testing.T) {
	records := strings.Split(examplesText(), "\x00")[1:]
	if len(records) < 700 {
		t.Errorf("%d examples", len(records))
	}
	for _, record := range records {
		name, code, ok := strings.Cut(record, "\n")
		if !ok || !strings.Contains(code, name+"(") && !strings.Contains(code, name+".") {
			t.Errorf("%s: %s", name, code)
		}
		if errs := interp.Parse(name, []byte(code)).Errors; len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
		}
	}
	if got := ExampleOf("cdk.aws_s3.Bucket"); !strings.Contains(got, "cdk.aws_s3.Bucket(stack, ") {
		t.Errorf("a bucket: %s", got)
	}
	for _, none := range []string{"", "sst.Queue", "cdk.aws_s3.Buck", "cdk.aws_s3.CfnBucket"} {
		if got := ExampleOf(none); got != "" {
			t.Errorf("%s: %s", none, got)
		}
	}
}

func TestExamplesAreFresh(t *testing.T) {
	if os.Getenv("SST_TEST_ALL") == "" {
		t.Skip("make test-all runs it")
	}
	file := filepath.Join(t.TempDir(), "examples")
	if out, err := exec.Command("go", "run", "./internal/examples", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, packedExamples) {
		t.Error("examples.txt.gz is stale: go generate ./builtins")
	}
}

func TestWithoutTypeScript(t *testing.T) {
	for text, want := range map[string]string{
		"One.\n\nFor example:\n\n```ts\nnew X();\n```\n\nTwo.": "One.\n\nTwo.",
		"One.\n```typescript\nnew X();\n```":                   "One.",
		"Run\n\n```sh\nls\n```\n\nthen\n\n```js\nx\n```\nend":  "Run\n\n```sh\nls\n```\n\nthen\n\nend",
		"No code, for example: this.":                          "No code, for example: this.",
	} {
		if got := withoutTypeScript(text); got != want {
			t.Errorf("withoutTypeScript(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestResourceType(t *testing.T) {
	for class, want := range map[string]string{
		"cdk.aws_sqs.Queue": "AWS::SQS::Queue", "cdk.aws_ec2.Vpc": "AWS::EC2::VPC", "cdk.aws_dynamodb.Table": "AWS::DynamoDB::Table",
		"sst.Queue": "AWS::SQS::Queue", "sst.Topic": "AWS::SNS::Topic", "sst.Bucket": "AWS::S3::Bucket", "cdk.aws_lambda.Function": "AWS::Lambda::Function",
		"cdk.aws_ecs_patterns.ApplicationLoadBalancedFargateService": "", "cdk.Duration": "", "sst.Nope": "", "x": "",
	} {
		if got := ResourceType(class); got != want {
			t.Errorf("ResourceType(%q) = %q, want %q", class, got, want)
		}
	}
}
