package cfn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each case is a template before and after, and what a deployment of it means.
var diffCases = []struct{ name, before, after, want string }{
	{"added", `{}`, `{"Resources":{"Q":{"Type":"AWS::SQS::Queue"}}}`, "add Q"},
	{"changed in place", `{"Resources":{"Q":{"Type":"AWS::SQS::Queue","Properties":{"DelaySeconds":1}}}}`,
		`{"Resources":{"Q":{"Type":"AWS::SQS::Queue","Properties":{"DelaySeconds":2}}}}`, "change Q\n  DelaySeconds 1 → 2"},
	{"replaced", `{"Resources":{"T":{"Type":"AWS::DynamoDB::Table","Properties":{"TableName":"a"}}}}`,
		`{"Resources":{"T":{"Type":"AWS::DynamoDB::Table","Properties":{"TableName":"b"}}}}`, "change T replaced lost\n  TableName a → b replaces"},
	{"replaced and kept", `{"Resources":{"T":{"Type":"AWS::DynamoDB::Table","UpdateReplacePolicy":"Retain","Properties":{"TableName":"a"}}}}`,
		`{"Resources":{"T":{"Type":"AWS::DynamoDB::Table","UpdateReplacePolicy":"Retain","Properties":{"TableName":"b"}}}}`, "change T replaced kept\n  TableName a → b replaces"},
	{"removed", `{"Resources":{"B":{"Type":"AWS::S3::Bucket"},"C":{"Type":"AWS::SNS::Topic"}}}`, `{"Resources":{"C":{"Type":"AWS::SNS::Topic"}}}`, "remove B lost"},
	{"orphaned", `{"Resources":{"B":{"Type":"AWS::S3::Bucket","DeletionPolicy":"Retain"}}}`, `{}`, "remove B kept"},
	{"may be replaced", `{"Resources":{"D":{"Type":"AWS::RDS::DBCluster","Properties":{"Engine":"a"}}}}`,
		`{"Resources":{"D":{"Type":"AWS::RDS::DBCluster","Properties":{"Engine":"b"}}}}`, "change D maybe\n  Engine a → b may replace"},
	{"follows a replaced one", `{"Resources":{"A":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"a"}},"M":{"Type":"AWS::Lambda::EventSourceMapping","Properties":{"EventSourceArn":{"Fn::GetAtt":["A","Arn"]},"FunctionName":"f"}}}}`,
		`{"Resources":{"A":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"b"}},"M":{"Type":"AWS::Lambda::EventSourceMapping","Properties":{"EventSourceArn":{"Fn::GetAtt":["A","Arn"]},"FunctionName":"f"}}}}`,
		"change A replaced lost\n  QueueName a → b replaces\nchange M replaced\n  EventSourceArn follows A replaces"},
	{"nested value", `{"Resources":{"F":{"Type":"AWS::Lambda::Function","Properties":{"Environment":{"Variables":{"A":"1","B":{"Ref":"X"}}}}}}}`,
		`{"Resources":{"F":{"Type":"AWS::Lambda::Function","Properties":{"Environment":{"Variables":{"A":"2","B":{"Fn::Join":["/",["a",{"Ref":"Y"}]]}}}}}}}`,
		"change F\n  Environment.Variables.A 1 → 2\n  Environment.Variables.B ${X} → a/${Y}"},
	{"dependency", `{"Resources":{"Q":{"Type":"AWS::SQS::Queue","DependsOn":["A"]}}}`, `{"Resources":{"Q":{"Type":"AWS::SQS::Queue","DependsOn":["B"]}}}`,
		"change Q\n  (DependsOn) [\"A\"] → [\"B\"]"},
	{"only the order of keys", `{"Resources":{"Q":{"Type":"AWS::SQS::Queue","Properties":{"DelaySeconds":1,"FifoQueue":true}}}}`,
		`{"Resources":{"Q":{"Properties":{"FifoQueue":true,"DelaySeconds":1},"Type":"AWS::SQS::Queue"}}}`, ""},
	{"only metadata", `{"Resources":{"Q":{"Type":"AWS::SQS::Queue","Metadata":{"a":1}}}}`, `{"Resources":{"Q":{"Type":"AWS::SQS::Queue","Metadata":{"a":2}}}}`, "change Q\n  (Metadata) {\"a\":1} → {\"a\":2}"},
	{"security group", `{"Resources":{"G":{"Type":"AWS::EC2::SecurityGroup","Properties":{"GroupDescription":"g","SecurityGroupIngress":[{"CidrIp":"10.0.0.0/8","IpProtocol":"tcp","FromPort":80,"ToPort":80}]}}}}`,
		`{"Resources":{"G":{"Type":"AWS::EC2::SecurityGroup","Properties":{"GroupDescription":"g","SecurityGroupIngress":[{"CidrIp":"0.0.0.0/0","IpProtocol":"tcp","FromPort":80,"ToPort":80}]}}}}`,
		"change G\n  SecurityGroupIngress[0].CidrIp 10.0.0.0/8 → 0.0.0.0/0\n+ In from 0.0.0.0/0 tcp, 80\n- In from 10.0.0.0/8 tcp, 80"},
	{"permission", `{"Resources":{"P":{"Type":"AWS::IAM::Policy","Properties":{"PolicyName":"p","Roles":[{"Ref":"R"}],"PolicyDocument":{"Statement":[{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"*"}]}}}}}`,
		`{"Resources":{"P":{"Type":"AWS::IAM::Policy","Properties":{"PolicyName":"p","Roles":[{"Ref":"R"}],"PolicyDocument":{"Statement":[{"Effect":"Allow","Action":["sqs:SendMessage","sqs:GetQueueUrl"],"Resource":{"Fn::GetAtt":["Q","Arn"]}}]}}}}}`,
		"change P\n  PolicyDocument.Statement[0].Action sqs:SendMessage → [\"sqs:SendMessage\",\"sqs:GetQueueUrl\"]\n  PolicyDocument.Statement[0].Resource * → ${Q.Arn}\n" +
			"+ Allow sqs:SendMessage, sqs:GetQueueUrl on ${Q.Arn} to ${R}\n- Allow sqs:SendMessage on * to ${R}"},
}

func TestCompare(t *testing.T) {
	for _, c := range diffCases {
		if got := describeDiff(compareText(t, c.before, c.after)); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func compareText(t *testing.T, before, after string) *TemplateDiff {
	t.Helper()
	old, err := ParseTemplate([]byte(before))
	if err != nil {
		t.Fatal(err)
	}
	new, err := ParseTemplate([]byte(after))
	if err != nil {
		t.Fatal(err)
	}
	return Compare(old, new)
}

func describeDiff(d *TemplateDiff) string {
	var lines []string
	for _, c := range d.Resources {
		line := string(c.Action) + " " + c.LogicalID
		for _, flag := range []struct {
			on   bool
			text string
		}{{c.Replacement == Replace, " replaced"}, {c.Replacement == Maybe, " maybe"}, {c.DataLost, " lost"}, {c.Kept, " kept"}} {
			if flag.on {
				line += flag.text
			}
		}
		lines = append(lines, line)
		for _, p := range c.Properties {
			line := fmt.Sprintf("  %s %s → %s", p.Path, Brief(p.From), Brief(p.To))
			if p.Follows != "" {
				line = "  " + p.Path + " follows " + p.Follows
			}
			lines = append(lines, line+map[Replacement]string{Replace: " replaces", Maybe: " may replace"}[p.Replacement])
		}
	}
	for _, row := range slices.Concat(d.Permissions, d.Network) {
		lines = append(lines, map[bool]string{true: "+ ", false: "- "}[row.Added]+row.Text)
	}
	return strings.Join(lines, "\n")
}

// impacts puts ours in the words of the CDK's own.
//
// They follow a reference to a replaced resource only where it is the whole value and replaces in turn; one in the middle of an ARN changes
// its resource just as well, so what is changed by that alone is left out unless theirs has it.
func impacts(d *TemplateDiff, theirs string) string {
	var all []string
	for _, c := range d.Resources {
		itself := func(p PropertyChange) bool { return p.Follows == "" }
		if c.Action == Change && !slices.ContainsFunc(c.Properties, itself) && !strings.Contains(theirs, c.LogicalID+" ") {
			continue
		}
		word := map[Action]string{Add: "WILL_CREATE", Change: "WILL_UPDATE", Delete: "WILL_DESTROY"}[c.Action]
		switch {
		case c.Replacement == Replace:
			word = "WILL_REPLACE"
		case c.Replacement == Maybe:
			word = "MAY_REPLACE"
		case c.Action == Delete && c.Kept:
			word = "WILL_ORPHAN"
		}
		all = append(all, c.LogicalID+" "+word)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// The CDK's own comparison says the same of each resource, of the cases above and of changes to an app's real templates.
func TestCompareOracle(t *testing.T) {
	tools, err := filepath.Abs("../testdata/npm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(tools, "node_modules/@aws-cdk/cloudformation-diff")); err != nil {
		t.Skip("@aws-cdk/cloudformation-diff is not installed (make test installs it)")
	}
	type pair = struct{ Before, After json.RawMessage }
	var pairs []pair
	for _, c := range diffCases {
		pairs = append(pairs, pair{json.RawMessage(c.before), json.RawMessage(c.after)})
	}
	real, err := filepath.Glob("testdata/*/*.template.json")
	if err != nil || len(real) == 0 {
		t.Fatal("no templates", err)
	}
	for _, file := range real {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, mutations(t, data)...)
	}
	input, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("node", "-e", `
const { fullDiff } = require("@aws-cdk/cloudformation-diff");
const out = JSON.parse(require("fs").readFileSync(0)).map(({ Before, After }) => {
  const all = [];
  fullDiff(Before, After).resources.forEachDifference((id, change) => { if (change.changeImpact !== "NO_CHANGE") all.push(id + " " + change.changeImpact); });
  return all.sort().join(", ");
});
console.log(JSON.stringify(out));`)
	command.Dir, command.Stdin = tools, bytes.NewReader(input)
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs []string
	if err := json.Unmarshal(output, &theirs); err != nil {
		t.Fatal(err)
	}
	differ := 0
	for i, p := range pairs {
		if got := impacts(compareText(t, string(p.Before), string(p.After)), theirs[i]); got != theirs[i] {
			if differ++; differ < 5 {
				t.Errorf("pair %d:\n  ours   %s\n  theirs %s", i, got, theirs[i])
			}
		}
	}
	t.Logf("%d comparisons, %d differ", len(pairs), differ)
}

// mutations are changes of one property each, and removals of one resource each, of a template.
func mutations(t *testing.T, data []byte) (all []struct{ Before, After json.RawMessage }) {
	t.Helper()
	var template map[string]any
	if err := json.Unmarshal(data, &template); err != nil {
		t.Fatal(err)
	}
	resources, _ := template["Resources"].(map[string]any)
	add := func() {
		after, err := json.Marshal(template)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, struct{ Before, After json.RawMessage }{data, after})
	}
	for id, r := range resources {
		if kind, _ := r.(map[string]any)["Type"].(string); strings.HasPrefix(kind, "Custom::") {
			continue // theirs knows no properties of these and calls a change none
		}
		properties, _ := r.(map[string]any)["Properties"].(map[string]any)
		for name, was := range properties {
			properties[name] = "another"
			add()
			properties[name] = was
		}
		delete(resources, id)
		add()
		resources[id] = r
	}
	return all
}
