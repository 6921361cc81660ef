package builtins

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sst/starlark/diag"
)

// TestParity has one small program for each thing that a CDK app in Python can do. What it prints and what the templates must contain
// says that it came through, both ways.
func TestParity(t *testing.T) {
	tests := []struct {
		name, body string
		prints     string
		want       []string // parts of all templates together, as compact JSON with sorted keys
	}{
		{"static properties", `
print(cdk.aws_lambda.Runtime.NODEJS_22_X.name, cdk.aws_lambda.Runtime.ALL[0].family == cdk.aws_lambda.RuntimeFamily.NODEJS, len(cdk.aws_lambda.Runtime.ALL) > 10)
print(cdk.aws_s3.BlockPublicAccess.BLOCK_ALL.block_public_acls, cdk.Aws.REGION != "")`,
			"nodejs22.x True True\nTrue True", nil},
		{"static properties, set", `
cdk.aws_ecs.AppProtocol.http = cdk.aws_ecs.AppProtocol.grpc
print(cdk.aws_ecs.AppProtocol.http.value)`,
			"grpc", nil},
		{"static properties, as they were in the next app", `
print(cdk.aws_ecs.AppProtocol.http.value)`,
			"http", nil},
		{"instance properties, read and set", `
b = cdk.aws_s3.CfnBucket(web, "Raw", bucket_name = "one")
b.bucket_name = b.bucket_name + "two"
b.versioning_configuration = {"status": "Enabled"}
b.tags.set_tag("a", "b")
b.cfn_options.deletion_policy = cdk.CfnDeletionPolicy.RETAIN
b.cfn_options.metadata = {"Why": ["x", {"Y": 1}]}
print(b.bucket_name, b.cfn_resource_type, b.cfn_options.deletion_policy)`,
			"onetwo AWS::S3::Bucket cdk.CfnDeletionPolicy.RETAIN",
			[]string{`"BucketName":"onetwo"`, `"VersioningConfiguration":{"Status":"Enabled"}`, `"DeletionPolicy":"Retain"`, `"Why":["x",{"Y":1}]`}},
		{"unions", `
cdk.aws_lambda.CfnFunction(web, "A", role = "arn", code = {"zip_file": "x"})
cdk.aws_lambda.CfnFunction(web, "B", role = "arn", code = cdk.aws_lambda.CfnFunction.CodeProperty(zip_file = "y"))
cdk.aws_lambda.CfnFunction(web, "C", role = "arn", code = cdk.Lazy.any({"produce": lambda: {"zipFile": "z"}}))
cdk.aws_s3.CfnBucket(web, "D", object_lock_enabled = True)
cdk.aws_s3.CfnBucket(web, "E", object_lock_enabled = cdk.Lazy.any(lambda: False))`,
			"", []string{`"Code":{"ZipFile":"x"}`, `"Code":{"ZipFile":"y"}`, `"Code":{"ZipFile":"z"}`, `"ObjectLockEnabled":true`, `"ObjectLockEnabled":false`}},
		{"variadics", `
role = cdk.aws_iam.Role(web, "Role", assumed_by = cdk.aws_iam.CompositePrincipal(
    cdk.aws_iam.ServicePrincipal("lambda.amazonaws.com"), cdk.aws_iam.ServicePrincipal("ec2.amazonaws.com")))
s = cdk.aws_iam.PolicyStatement(resources = ["*"])
s.add_actions("s3:GetObject", *["s3:PutObject"])
role.add_to_policy(s)
print(cdk.Fn.condition_or(*[cdk.Fn.condition_equals("a", "b"), cdk.Fn.condition_equals("c", "d")]) != None, s.actions)`,
			`True ["s3:GetObject", "s3:PutObject"]`, []string{`"Action":["s3:GetObject","s3:PutObject"]`, `"Service":["ec2.amazonaws.com","lambda.amazonaws.com"]`}},
		{"dates", `
zone = cdk.aws_events.Rule(web, "R", schedule = cdk.aws_events.Schedule.cron(minute = "0"))
cdk.aws_s3.Bucket(web, "B", lifecycle_rules = [{"expiration_date": "2030-01-31"}])
e = cdk.Expiration.at_date("2030-01-31T12:30:00Z")
print(e.date, e.to_epoch(), cdk.Expiration.from_string("2030-02-01").date)`,
			"2030-01-31T12:30:00Z 1896093000 2030-02-01T00:00:00Z", []string{`"ExpirationDate":"2030-01-31T00:00:00`}},
		{"any values", `
cdk.CfnResource(web, "A", type = "X::Y::Z", properties = {"Null": [None], "List": (1, 2.5, True), "Deep": {"snake_case": {"camelCase": cdk.Aws.REGION}}, "Enum": cdk.RemovalPolicy.DESTROY})
cdk.CustomResource(web, "C", service_token = "arn", properties = {"a_b": {"c_d": [{"e_f": 1}]}})
cdk.CfnOutput(web, "J", value = web.to_json_string({"a_b": [1, {"b": cdk.Aws.REGION}]}))
print(web.resolve({"x": cdk.Aws.REGION}))`,
			`{"x": {"Ref": "AWS::Region"}}`,
			[]string{`{"Fn::Join":["",["{\"a_b\":[1,{\"b\":\"",{"Ref":"AWS::Region"},"\"}]}"]]}`, `"List":[1,2.5,true]`, `"snake_case":{"camelCase":{"Ref":"AWS::Region"}}`, `"Enum":"destroy"`, `"a_b":{"c_d":[{"e_f":1}]}`}},
		{"tokens in strings, lists, numbers and keys", `
text, list, n = cdk.CfnParameter(web, "S"), cdk.CfnParameter(web, "L", type = "CommaDelimitedList"), cdk.CfnParameter(web, "N", type = "Number")
cdk.CfnResource(web, "R", type = "X::Y::Z", properties = {
    "Joined": "a-" + text.value_as_string + "-{}-%s" % cdk.Aws.REGION, "Formatted": "<{}>".format(text.value_as_string),
    "List": list.value_as_list, "Number": n.value_as_number, "Text": "n=%s" % n.value_as_number,
    "Json": cdk.Lazy.any(lambda: {"k": text.value_as_string})})
print(cdk.Token.is_unresolved(text.value_as_string), cdk.Token.is_unresolved(n.value_as_number), cdk.Token.is_unresolved("a"))`,
			"True True False",
			[]string{`"Joined":{"Fn::Join":["",["a-",{"Ref":"S"},"-{}-",{"Ref":"AWS::Region"}]]}`, `"Formatted":{"Fn::Join":["",["<",{"Ref":"S"},">"]]}`,
				`"List":{"Ref":"L"}`, `"Number":{"Ref":"N"}`, `"Text":{"Fn::Join":["",["n=",{"Ref":"N"}]]}`, `"Json":{"k":{"Ref":"S"}}`}},
		{"Fn and Aws", `
cdk.CfnOutput(web, "A", value = cdk.Fn.select(1, cdk.Fn.split("/", cdk.Fn.import_value("x"))))
cdk.CfnOutput(web, "B", value = cdk.Fn.sub("${a}!", {"a": cdk.Aws.STACK_NAME}))
cdk.CfnOutput(web, "C", value = cdk.Fn.get_att("Other", "Arn").to_string())
cdk.CfnOutput(web, "D", value = cdk.Fn.join("-", [cdk.Aws.PARTITION, cdk.Fn.base64("x")]))`,
			"", []string{`{"Fn::Select":[1,{"Fn::Split":["/",{"Fn::ImportValue":"x"}]}]}`, `{"Fn::Sub":["${a}!",{"a":{"Ref":"AWS::StackName"}}]}`,
				`{"Fn::GetAtt":["Other","Arn"]}`, `{"Fn::Join":["-",[{"Ref":"AWS::Partition"},{"Fn::Base64":"x"}]]}`}},
		{"conditions and mappings", `
c = cdk.CfnCondition(web, "Big", expression = cdk.Fn.condition_equals(cdk.CfnParameter(web, "Size", default = "s", allowed_values = ["s", "l"]).value_as_string, "l"))
cdk.aws_sns.Topic(web, "T").node.default_child.cfn_options.condition = c
m = cdk.CfnMapping(web, "Map", mapping = {"us-east-1": {"name": "x"}})
cdk.CfnOutput(web, "O", value = m.find_in_map(cdk.Aws.REGION, "name"), condition = c)`,
			"", []string{`"Condition":"Big"`, `"AllowedValues":["s","l"]`, `"us-east-1":{"name":"x"}`, `"Fn::FindInMap":["Map",{"Ref":"AWS::Region"},"name"]`}},
		{"CfnInclude", `
included = cdk.cloudformation_include.CfnInclude(web, "Old", template_file = "old.json", parameters = {"Name": "given"})
included.get_resource("Topic").display_name = "changed"
print(type(included.get_resource("Topic")))`,
			"cdk.CfnResource", []string{`"DisplayName":"changed"`, `"TopicName":"given"`}},
		{"escape hatches", `
b = cdk.aws_s3.Bucket(web, "Raw", versioned = True)
raw = b.node.default_child
raw.add_property_override("VersioningConfiguration.Status", "Suspended")
raw.add_property_deletion_override("Tags")
raw.add_override("UpdateReplacePolicy", "Snapshot")
raw.override_logical_id("Mine")
raw.add_dependency(cdk.CfnResource(web, "First", type = "X::Y::Z"))
raw.add_metadata("k", {"a_b": 1})`,
			"", []string{`"Mine":{`, `"VersioningConfiguration":{"Status":"Suspended"}`, `"UpdateReplacePolicy":"Snapshot"`, `"DependsOn":["First"]`, `"k":{"a_b":1}`}},
		{"aspects", `
def visit(node):
    if type(node) == "cdk.aws_sqs.CfnQueue":
        node.kms_master_key_id = "alias/mine"
cdk.aws_sqs.Queue(web, "Q")
cdk.Aspects.of(web).add(visit, priority = cdk.AspectPriority.MUTATING)
cdk.Aspects.of(web).add({"visit": lambda node: None})
print(len(cdk.Aspects.of(web).all))`,
			"2", []string{`"KmsMasterKeyId":"alias/mine"`}},
		{"interfaces implemented by functions", `
def bind(rule, id):
    return cdk.aws_events.RuleTargetConfig(arn = "arn:aws:sqs:us-east-1:111111111111:" + rule.node.id, input = cdk.aws_events.RuleTargetInput.from_object({"a_b": 1}))
cdk.aws_events.Rule(web, "Rule", schedule = cdk.aws_events.Schedule.rate("1 hour"), targets = [bind, struct(bind = bind)])
cdk.CfnOutput(web, "L", value = cdk.Fn.join(",", cdk.Lazy.list({"produce": lambda: ["x", "y"]})))
cdk.CfnResource(web, "N", type = "X::Y::Z", properties = {"N": cdk.Lazy.number({"produce": lambda context: 7})})
web.node.add_validation({"validate": lambda: []})`,
			"", []string{`"Arn":"arn:aws:sqs:us-east-1:111111111111:Rule"`, `"Input":"{\"a_b\":1}"`, `{"Fn::Join":[",",["x","y"]]}`, `"N":7`}},
		{"Tags.of", `
cdk.Tags.of(web).add("team", "a", priority = 300)
q = cdk.aws_sqs.Queue(web, "Q")
cdk.Tags.of(q).remove("team")
cdk.aws_sns.Topic(web, "T")
cdk.Tags.of(app).add("all", "yes", include_resource_types = ["AWS::SNS::Topic"])`,
			"", []string{`"Tags":[{"Key":"all","Value":"yes"},{"Key":"team","Value":"a"}]`}},
		{"stages and nested stacks", `
stage = cdk.Stage(app, "Blue", env = {"region": "eu-west-1", "account": "111111111111"})
inner = cdk.Stack(stage, "Inner")
cdk.aws_sns.Topic(inner, "InStage")
nested = cdk.NestedStack(web, "Nested", parameters = {"P": "x"})
cdk.CfnParameter(nested, "P")
topic = cdk.aws_sns.Topic(nested, "InNested", display_name = "deep")
cdk.CfnOutput(web, "Deep", value = topic.topic_arn)
print(inner.stack_name, inner.region, cdk.Stage.of(inner).stage_name, nested.nested_stack_parent == web.resource)`,
			"Blue-Inner eu-west-1 Blue True", []string{`"AWS::CloudFormation::Stack"`, `"DisplayName":"deep"`, `"Fn::GetAtt":["NestedNestedStackNestedNestedStackResource`}},
		{"cross-stack references", `
other = sst.Stack(app, "other")
b = cdk.aws_s3.Bucket(other, "Shared")
cdk.CfnOutput(web, "Name", value = b.bucket_arn)
third = sst.Stack(app, "third")
third.add_dependency(other, "it is told to")
print(other.export_value(b.bucket_name) != "", [s.stack_name for s in third.dependencies])`,
			`True ["dev-notes-other"]`, []string{`"OutputName":"PublishOutputFnGetAttShared`, `"Export":{"Name":"dev-notes-other:ExportsOutput`}},
		{"imported resources", `
b = cdk.aws_s3.Bucket.from_bucket_name(web, "B", "existing")
b.grant_read(cdk.aws_iam.Role.from_role_arn(web, "R", "arn:aws:iam::111111111111:role/x"))
vpc = cdk.aws_ec2.Vpc.from_vpc_attributes(web, "V", vpc_id = "vpc-1", availability_zones = ["a", "b"], private_subnet_ids = ["s-1", "s-2"])
cdk.aws_ec2.SecurityGroup(web, "G", vpc = vpc)
cdk.CfnOutput(web, "O", value = b.bucket_arn)
print(b, [s.subnet_id for s in vpc.private_subnets])`,
			`<aws_s3.IBucket web/B> ["s-1", "s-2"]`, []string{`:s3:::existing`, `"VpcId":"vpc-1"`, `"Resource":["arn:aws:s3:::existing","arn:aws:s3:::existing/*"]`, `"Roles":["x"]`}},
		{"assertions", `
cdk.aws_sqs.Queue(web, "Q", visibility_timeout = "1 minute")
t = cdk.assertions.Template.from_stack(web)
t.resource_count_is("AWS::SQS::Queue", 1)
t.has_resource_properties("AWS::SQS::Queue", {"VisibilityTimeout": cdk.assertions.Match.any_value()})
found = t.find_resources("AWS::SQS::Queue", {"Properties": {"VisibilityTimeout": 60}})
capture = cdk.assertions.Capture()
t.has_resource_properties("AWS::SQS::Queue", {"VisibilityTimeout": capture})
print(len(found), capture.as_number(), sorted(t.to_json().keys()))`,
			`1 60 ["Parameters", "Resources", "Rules"]`, nil},
		{"structs in every form, inherited ones too", `
props = {"versioned": True, "lifecycle_rules": [{"prefix": "a/", "expiration": "3 days"}, cdk.aws_s3.LifecycleRule(prefix = "b/", expiration = cdk.Duration.days(4)), struct(prefix = "c/", expiration = "5 days")]}
cdk.aws_s3.Bucket(web, "B", **props)
alias = cdk.aws_lambda.FunctionOptions(description = "x", timeout = "9 seconds")
print(alias.description, alias.timeout, cdk.aws_s3.BucketProps(versioned = True).versioned)`,
			"x 9 seconds True", []string{`"ExpirationInDays":3`, `"ExpirationInDays":4`, `"ExpirationInDays":5`}},
		{"maps and lists at any depth", `
cdk.aws_apigateway.CfnDocumentationPart(web, "D", location = {"type": "API"}, properties = "{}", rest_api_id = "x")
cdk.aws_stepfunctions.StateMachine(web, "S", definition_body = cdk.aws_stepfunctions.DefinitionBody.from_chainable(
    cdk.aws_stepfunctions.Pass(web, "P", parameters = {"a_b": [[{"c.$": "$.d"}], [1, [2]]]})))
print([[s for s in r] for r in [("a", "b"), ["c"]]])`,
			`[["a", "b"], ["c"]]`, []string{`\"Parameters\":{\"a_b\":[[{\"c.$\":\"$.d\"}],[1,[2]]]}`}},
		{"values as keys", `
a, b = cdk.aws_s3.Bucket(web, "A"), cdk.aws_s3.Bucket(web, "B")
names = {a: "a", b: "b", cdk.RemovalPolicy.RETAIN: "r", cdk.aws_s3.Bucket: "class"}
print(names[web.node.find_child("A")], names[b], names[cdk.RemovalPolicy.RETAIN], names[cdk.aws_s3.Bucket], a == b, a in names)`,
			"a b r class False True", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := project(t, map[string]string{
				"stacks.star": "app = sst.App(\"notes\", region = \"us-east-1\")\nweb = sst.Stack(app, \"web\")\n" + strings.TrimPrefix(test.body, "\n") + "\n",
				"old.json":    `{"Parameters":{"Name":{"Type":"String"}},"Resources":{"Topic":{"Type":"AWS::SNS::Topic","Properties":{"TopicName":{"Ref":"Name"}}}}}`,
			})
			var lines []string
			s, err := synth(t, engine(t), dir, Input{Print: func(_ diag.Position, text string) { lines = append(lines, text) }})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(lines, "\n"); got != test.prints {
				t.Errorf("printed\n%s\nwant\n%s", got, test.prints)
			}
			templates := allTemplates(t, s.Dir)
			for _, want := range test.want {
				if !strings.Contains(templates, want) {
					t.Errorf("the templates have no %s:\n%s", want, templates)
				}
			}
		})
	}
}

// allTemplates are those of an assembly, nested ones too, as one text.
func allTemplates(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".template.json") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var template any
		if err := json.Unmarshal(data, &template); err != nil {
			return err
		}
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		return enc.Encode(template)
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
