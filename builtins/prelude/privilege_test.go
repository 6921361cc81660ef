package prelude

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

const (
	asked    = "the script asks for it with permissions = [...]"
	unnamed  = "there are no resources to name"
	oneStore = "one of the CDK's grants, on one bucket"
)

// wide says why a policy may name more than one thing: an action with a
// wildcard, an action on all resources, a managed policy. Anything else in a
// golden fails.
var wide = map[string]string{
	"* on *":                               asked,
	"cognito-idp:*":                        asked,
	"dynamodb:*":                           asked,
	"kinesis:*":                            asked,
	"polly:SynthesizeSpeech on *":          asked,
	"s3:* on *":                            asked,
	"s3:*":                                 asked,
	"s3:GetObject on *":                    asked,
	"s3:ListAllMyBuckets on *":             asked,
	"ses:* on *":                           asked,
	"ses:Send* on *":                       asked,
	"ses:SendEmail on *":                   asked,
	"sns:*":                                asked,
	"sqs:* on *":                           asked,
	"sqs:*":                                asked,
	"ssm:*":                                asked,
	"dynamodb:ListStreams on *":            unnamed,
	"xray:PutTelemetryRecords on *":        unnamed,
	"xray:PutTraceSegments on *":           unnamed,
	"sns:Publish on *":                     "a user pool sends texts to telephones, which have no ARN",
	"kms:*":                                "the policy of a key, which gives it to the account's own IAM",
	"s3:Abort*":                            oneStore,
	"s3:DeleteObject*":                     oneStore,
	"s3:GetBucket*":                        oneStore,
	"s3:GetObject*":                        oneStore,
	"s3:List*":                             oneStore,
	"AWSLambdaBasicExecutionRole":          "the function's own logs",
	"AWSLambdaVPCAccessExecutionRole":      "a function in a VPC makes its own network interfaces",
	"AmazonAPIGatewayPushToCloudWatchLogs": "one role of the account writes the logs of all its APIs",
}

// Policies of the goldens give no more than they need.
func TestLeastPrivilege(t *testing.T) {
	scripts, err := filepath.Glob("../../testdata/construct_*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	used := map[string]bool{}
	policies := 0
	for _, script := range scripts {
		archive, err := txtar.ParseFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range archive.Files {
			if !strings.HasSuffix(file.Name, ".json") {
				continue
			}
			var template struct {
				Resources map[string]struct {
					Type       string
					Properties map[string]any
				}
			}
			if err := json.Unmarshal(file.Data, &template); err != nil {
				continue // not a template
			}
			for _, id := range slices.Sorted(maps.Keys(template.Resources)) {
				r := template.Resources[id]
				found := managed(r.Properties)
				for _, statement := range statements(r.Properties) {
					policies++
					found = append(found, tooWide(r.Type, statement)...)
				}
				for _, found := range found {
					used[found] = true
					if wide[found] == "" {
						t.Errorf("%s: %s: %s (%s) allows %s, for which there is no reason", filepath.Base(script), file.Name, id, r.Type, found)
					}
				}
			}
		}
	}
	for found := range wide {
		if !used[found] {
			t.Errorf("no golden allows %s, whose reason is %q", found, wide[found])
		}
	}
	if policies < 100 {
		t.Errorf("only %d statements were found", policies)
	}
}

// managed are the names of the managed policies of a role.
func managed(properties map[string]any) (names []string) {
	for _, arn := range list(properties["ManagedPolicyArns"]) {
		text, err := json.Marshal(arn)
		if err != nil || arn == nil {
			continue
		}
		name := string(text)[strings.LastIndex(string(text), "/")+1:]
		names = append(names, strings.TrimRight(name, `"]}`))
	}
	return names
}

// statements are all policy statements below a value.
func statements(value any) (found []map[string]any) {
	switch value := value.(type) {
	case map[string]any:
		if value["Effect"] != nil && value["Action"] != nil {
			return append(found, value)
		}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			found = append(found, statements(value[key])...)
		}
	case []any:
		for _, item := range value {
			found = append(found, statements(item)...)
		}
	}
	return found
}

// tooWide are the actions of a statement that have a wildcard ("s3:*") or go to all resources ("xray:PutTraceSegments on *").
func tooWide(kind string, statement map[string]any) (found []string) {
	if statement["Effect"] != "Allow" {
		return nil
	}
	if principal := statement["Principal"]; principal == "*" {
		found = append(found, "everybody")
	} else if principal, ok := principal.(map[string]any); ok && principal["AWS"] == "*" {
		found = append(found, "everybody")
	}
	everywhere := slices.Contains(list(statement["Resource"]), any("*"))
	for _, action := range list(statement["Action"]) {
		action := action.(string)
		if everywhere && kind != "AWS::KMS::Key" { // a key's policy speaks of the key itself
			found = append(found, action+" on *")
		} else if strings.Contains(action, "*") {
			found = append(found, action)
		}
	}
	return found
}

// list is a value that may stand alone or in a list.
func list(value any) []any {
	if items, ok := value.([]any); ok {
		return items
	}
	return []any{value}
}
