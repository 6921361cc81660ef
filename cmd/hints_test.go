package cmd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"sst/cfn"
)

// The reasons are those of CloudFormation, as people report them.
func TestFailureHints(t *testing.T) {
	for reason, want := range map[string]string{
		"CloudWatch Logs role ARN must be set in account settings to enable logging (Service: ApiGateway, Status Code: 400)":                                          "CloudWatch log role ARN",
		"Insufficient permissions to enable logging (Service: AmazonApiGatewayV2; Status Code: 400; Error Code: BadRequestException)":                                 "logs:CreateLogDelivery",
		"Schema is currently being altered, please wait until that is complete. (Service: AWSAppSync; Status Code: 409; Error Code: ConcurrentModificationException)": "Deploy again",
		"No hosted zone found with ID: Z123 (Service: AmazonRoute53; Status Code: 404; Error Code: NoSuchHostedZone)":                                                 "not in this account",
		"Export dev-shop-data:Notes cannot be deleted as it is in use by dev-shop-web":                                                                                "without the use",
		"Resource of type 'AWS::SQS::Queue' with identifier 'dev-shop-Jobs' already exists.":                                                                          "made outside this stack",
		"The bucket you tried to delete is not empty (Service: S3, Status Code: 409)":                                                                                 "Empty the bucket",
		"something that nobody has seen": "",
	} {
		got := failureHint(&cfn.Failure{Reason: reason})
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("hint for %q is %q, want one with %q", reason, got, want)
		}
	}
}

// What S3 says of an object beyond the bare refusal is told.
func TestDenied(t *testing.T) {
	for said, want := range map[string]string{
		"Access Denied": "A policy has to allow it.",
		"Access Denied because object protected by object lock.": "Access Denied because object protected by object lock.",
	} {
		api := &smithy.GenericAPIError{Code: "AccessDenied", Message: said}
		err := fmt.Errorf("empty bucket raw: %w", &smithy.OperationError{ServiceID: "S3", OperationName: "DeleteObjectVersion", Err: api})
		problem := denied(err, api).(*Problem)
		if problem.Summary != "these credentials may not do s3:DeleteObjectVersion (empty bucket raw)" || problem.Hint != want {
			t.Errorf("%q is told as %q, %q", said, problem.Summary, problem.Hint)
		}
	}
}
