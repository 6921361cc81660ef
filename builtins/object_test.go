package builtins

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sst/starlark/diag"
)

// printed evaluates the body of a stack "web" with the CDK and gives what it prints, and the template.
func printed(t *testing.T, body string) (lines []string, template map[string]any) {
	t.Helper()
	dir := project(t, map[string]string{
		"stacks.star":  "app = sst.App(\"notes\", region = \"us-east-1\")\nweb = sst.Stack(app, \"web\")\n" + body,
		"src/notes.ts": handlers,
		"asset/x.txt":  "x",
	})
	s, err := synth(t, engine(t), dir, Input{Print: func(_ diag.Position, text string) { lines = append(lines, text) }})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(s.Dir, "dev-notes-web.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &template); err != nil {
		t.Fatal(err)
	}
	return lines, template
}

func TestObjects(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"text", `
b = cdk.aws_s3.Bucket(web, "Raw")
print(b, web, app, cdk.Duration.seconds(1), b.node.scope, sst.Queue(web, "Jobs"))`,
			"<aws_s3.Bucket web/Raw> <sst.Stack web> <sst.App> <cdk.Duration> <cdk.Stack web> <sst.Queue web/Jobs>"},
		{"identity", `
b = cdk.aws_s3.Bucket(web, "Raw")
print(b.node.scope == web.resource, b.node.scope == b, {web.resource: 1}[b.stack], b.node.root == app.resource, web == web, {web: 2}[web])`,
			"True False 1 True True 2"},
		{"concrete type when the declared one does not have it", `
cdk.aws_s3.Bucket(web, "Raw", versioned = True)
child = web.node.find_child("Raw")
print(type(child), child.node.default_child.logical_id != "", type(child.node.default_child))`,
			"cdk.constructs.IConstruct True cdk.aws_s3.CfnBucket"},
		{"None for what is not there", `
print(cdk.aws_s3.Bucket(web, "Raw").policy, web.node.try_find_child("Nothing"))`,
			"None None"},
		{"enums come back", `
b = cdk.aws_dynamodb.Table(web, "T", partition_key = {"name": "a", "type": cdk.aws_dynamodb.AttributeType.STRING})
s = b.schema()
print(s.partition_key.name, s.partition_key.type == cdk.aws_dynamodb.AttributeType.STRING, s.sort_key)`,
			"a True None"},
		{"number tokens", `
p = cdk.CfnParameter(web, "P", type = "Number")
n = p.value_as_number
print(type(n), n == n, ("%s" % n).startswith("${Token["))
cdk.aws_sqs.Queue(web, "Q", receive_message_wait_time = "1 second", retention_period = cdk.Duration.seconds(n))`,
			"number token True True"},
		{"list tokens", `
p = cdk.CfnParameter(web, "P", type = "CommaDelimitedList")
print(type(p.value_as_list), len(p.value_as_list))
cdk.aws_iam.PolicyStatement(actions = p.value_as_list, resources = ["*"])`,
			"list 1"},
		{"properties set", `
b = cdk.aws_s3.Bucket(web, "Raw")
b.node.default_child.bucket_name = "other"
b.policy = None
print(b.node.default_child.bucket_name)`,
			"other"},
		{"functions as interfaces", `
seen = []
cdk.aws_s3.Bucket(web, "Raw")
cdk.CfnOutput(web, "O", value = cdk.Lazy.string(lambda: "made " + "late"))
cdk.CfnOutput(web, "P", value = cdk.Lazy.string({"produce": lambda: "also"}))
cdk.CfnOutput(web, "R", value = cdk.Token.as_string({"resolve": lambda context: "resolved"}))
print("ok")`,
			"ok"},
		{"structs by value", `
print(cdk.Arn.split("arn:aws:s3:::x", cdk.ArnFormat.SLASH_RESOURCE_NAME).service)`,
			"s3"},
		{"variadics", `
a, b = cdk.aws_s3.Bucket(web, "A"), cdk.aws_s3.Bucket(web, "B")
a.node.add_dependency(b)
a.node.add_dependency(*[b, b])
print(len(web.node.find_child("A").node.dependencies))`,
			"1"},
		{"units", `
d = cdk.Duration.minutes(5)
print(d.to_seconds(), cdk.Size.gibibytes(2).to_mebibytes())`,
			"300 2048"},
		{"null in free maps", `
cdk.CfnResource(web, "R", type = "AWS::SNS::Topic", properties = {"A": {"b": [1, None, {"c": True}]}})
print("ok")`,
			"ok"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lines, _ := printed(t, strings.TrimPrefix(test.body, "\n")+"\n")
			if got := strings.Join(lines, "\n"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestCallbacksInTemplate(t *testing.T) {
	_, template := printed(t, `
def protect(node):
    if type(node) == "cdk.aws_s3.CfnBucket" or node.node.id == "Resource":
        node.add_property_override("Tagged", True)
cdk.aws_s3.Bucket(web, "Raw")
cdk.Aspects.of(web).add(protect)
cdk.CfnOutput(web, "O", value = cdk.Lazy.string(lambda: "made late"))
cdk.CfnOutput(web, "R", value = cdk.Token.as_string({"resolve": lambda context: {"Ref": "AWS::Region"}}))
cdk.Stack(app, "raw")
`)
	outputs := template["Outputs"].(map[string]any)
	if got := outputs["O"].(map[string]any)["Value"]; got != "made late" {
		t.Errorf("O = %v", got)
	}
	if got, _ := json.Marshal(outputs["R"].(map[string]any)["Value"]); string(got) != `{"Ref":"AWS::Region"}` {
		t.Errorf("R = %s", got)
	}
	for _, r := range template["Resources"].(map[string]any) {
		if r := r.(map[string]any); r["Type"] == "AWS::S3::Bucket" && r["Properties"].(map[string]any)["Tagged"] != true {
			t.Errorf("the aspect did not reach the bucket: %v", r)
		}
	}
}
