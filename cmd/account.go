package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"sst/cfn"
	"sst/lsp"
	"sst/starlark/diag"
)

// This file is the way into the AWS account: one configuration for all verbs, and one clear error for each way it can fail.

// callAttempts is how often a call is tried when AWS throttles or stumbles.
const callAttempts = 10

// regionPattern is what all regions look like; which there are changes.
var regionPattern = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)

// nearRegion asks whether another region is meant, when there is none of that name as far as is known; "" otherwise.
func nearRegion(name string) string {
	known := lsp.Regions()
	if near := diag.Nearest(name, known); near != "" && !slices.Contains(known, name) {
		return fmt.Sprintf(" Is %s meant?", near)
	}
	return ""
}

// awsConfig makes the configuration for the region of an assembly, which is the one that regionOf decides, from the AWS SDK's own chain, and
// checks that there are credentials.
func (t *tool) awsConfig(ctx context.Context, p *project, region string) (aws.Config, error) {
	region = cmp.Or(p.region, region, p.defaultRegion)
	if region == "" {
		return aws.Config{}, problemf(`Give --region, or sst.App(..., region = "us-east-1"), or set AWS_REGION.`, "no region is chosen to deploy to")
	}
	if !regionPattern.MatchString(region) {
		return aws.Config{}, problemf("Regions are named like us-east-1 and eu-central-1.", "%q is not a region%s", region, didYouMean(region, lsp.Regions()))
	}
	source, err := t.credentialSource(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	if source == "" {
		return aws.Config{}, problemf("Set AWS_PROFILE or --profile, or run `aws configure` (`aws configure sso` for single sign-on).", "there are no AWS credentials")
	}
	options := []func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithLogger(logging.Nop{}), // its warnings are about connections that are tried again anyway
		config.WithRetryer(func() aws.Retryer { return newRetryer() }),
	}
	if t.profile != "" {
		options = append(options, config.WithSharedConfigProfile(t.profile))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return c, problemf("", "the AWS settings cannot be used: %v", err)
	}
	if _, err := c.Credentials.Retrieve(ctx); err != nil && ctx.Err() == nil {
		return c, t.noCredentials(source, err)
	}
	return c, nil
}

func (t *tool) noCredentials(source string, err error) error {
	text := err.Error()
	if strings.Contains(text, "SSO") || strings.Contains(text, "sso") || strings.Contains(text, "InvalidGrant") {
		name, _ := t.profileName()
		return problemf("Log in again: aws sso login --profile "+name, "the single sign-on of profile %s has expired", name)
	}
	return problemf("", "%s gives no credentials: %v", source, last(err))
}

// last is the innermost error, which says it without the SDK's chain.
func last(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// awsProblem turns what AWS or the deployer refuses into the user's problem. What it does not know stays as it is.
func (t *tool) awsProblem(err error) error {
	var bare *cfn.NotBootstrapped
	var account *cfn.WrongAccount
	var stuck *cfn.Stuck
	var failure *cfn.Failure
	var api smithy.APIError
	var network net.Error
	var name *net.DNSError
	switch {
	case err == nil, errors.As(err, new(*Problem)), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &bare):
		if bare.Have > 0 {
			return problemf(fmt.Sprintf("Renew it: sst bootstrap --region %s", bare.Region), "%v", bare)
		}
		meant := nearRegion(bare.Region)
		if meant == "" {
			meant = fmt.Sprintf(" If that was done, is %s the region you mean?", bare.Region)
		}
		return problemf(fmt.Sprintf("Once per account and region: sst bootstrap --region %s.%s", bare.Region, meant), "%v", bare)
	case errors.As(err, &account):
		return problemf("Choose other credentials with --profile or AWS_PROFILE, or correct `stages` of sst.App.", "%v", account)
	case errors.As(err, &failure):
		return problemf(failureHint(failure), "%v", failure)
	case errors.As(err, &stuck):
		return problemf("sst deploy --repair does that; what the stack holds is lost where it has to be deleted.", "%v", stuck)
	case errors.As(err, &api):
		return t.refused(err, api)
	case errors.As(err, &name):
		hint := "Is there a way to the internet from here?"
		for label := range strings.SplitSeq(name.Name, ".") {
			if meant := nearRegion(label); strings.Count(label, "-") > 1 && meant != "" {
				hint = "There may be no such region." + meant
			}
		}
		return problemf(hint, "AWS cannot be reached: there is no host %s", name.Name)
	case errors.As(err, &network):
		hint := "Is there a way to the internet from here, or does a proxy or firewall stand in it?"
		if own := t.Getenv("AWS_ENDPOINT_URL"); own != "" {
			hint = "AWS_ENDPOINT_URL says that it is at " + own + "."
		}
		return problemf(hint, "AWS cannot be reached: %v", last(err))
	}
	return problemf("", "%v", err)
}

// refused turns an answer of AWS that is an error into the user's problem.
func (t *tool) refused(err error, api smithy.APIError) error {
	t.log.Info("refused by AWS", "error", err.Error()) // with the request id, which the text below leaves out
	name, _ := t.profileName()
	switch api.ErrorCode() {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return problemf("Renew them (aws sso login --profile "+name+" for single sign-on) and run the command again.", "the AWS credentials have expired")
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure":
		return problemf("Are they of another partition, or deleted? `aws sts get-caller-identity` tells. A region that has to be switched on for the account says the same.", "AWS does not accept the credentials: %s", api.ErrorMessage())
	case "OptInRequired", "RegionDisabledException":
		return problemf("Switch it on under Account, AWS Regions, or choose another with --region.", "the region is not switched on for this account")
	case "SignatureDoesNotMatch", "RequestTimeTooSkewed", "InvalidSignatureException":
		if strings.Contains(api.ErrorMessage(), "expired") || strings.Contains(api.ErrorMessage(), "yet current") || api.ErrorCode() == "RequestTimeTooSkewed" {
			return problemf("Set the clock of this machine.", "AWS finds the time of this machine wrong: %s", api.ErrorMessage())
		}
		return problemf("", "the secret access key does not fit the access key id: %s", api.ErrorMessage())
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden":
		return denied(err, api)
	case "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown":
		return problemf("Run the command again; what is done is not done twice.", "AWS takes no more requests for the moment: %s", plain(err))
	}
	return problemf("", "%s", plain(err))
}

// notAuthorized is how most services put a missing permission.
var notAuthorized = regexp.MustCompile(`(?:User: )?(\S+) is not authorized to perform: (\S+?)(?: on resource: (\S+?))?(?: (because .*)|with an explicit deny.*)?$`)

// denied names the action that the policies have to allow; of a service that does not say it, the one that the call needs.
func denied(err error, api smithy.APIError) error {
	who, action, resource, because := "these credentials", "", "", ""
	if m := notAuthorized.FindStringSubmatch(strings.TrimSpace(api.ErrorMessage())); m != nil {
		who, action, resource, because = m[1], m[2], m[3], m[4]
	}
	var op *smithy.OperationError
	if action == "" && errors.As(err, &op) {
		action = actionOf(op)
		if said := strings.TrimSpace(api.ErrorMessage()); strings.HasPrefix(said, "Access Denied ") { // S3 rarely says more, as of an object lock
			because = said
		}
	}
	if resource != "" {
		resource = " on " + resource
	}
	hint := "A policy has to allow it."
	if because != "" {
		hint = strings.ToUpper(because[:1]) + strings.TrimSuffix(because[1:], ".") + "."
	}
	where := ""
	if op := operationOf(err); op != nil {
		where = strings.TrimSuffix(strings.TrimSuffix(err.Error(), op.Error()), ": ")
	}
	if where != "" {
		where = " (" + where + ")"
	}
	return problemf(hint, "%s may not do %s%s%s", who, action, resource, where)
}

// actionOf is the action that a policy allows an operation by.
func actionOf(op *smithy.OperationError) string {
	name := op.Operation()
	switch name {
	case "HeadObject":
		name = "GetObject"
	case "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload":
		name = "PutObject"
	case "ListObjectsV2", "HeadBucket":
		name = "ListBucket"
	case "ListObjectVersions":
		name = "ListBucketVersions"
	case "DeleteObjects":
		name = "DeleteObject"
	case "Invoke":
		name = "InvokeFunction"
	}
	return strings.ToLower(strings.ReplaceAll(op.Service(), " ", "")) + ":" + name
}

func operationOf(err error) (op *smithy.OperationError) {
	errors.As(err, &op)
	return op
}

// plain is an error of an AWS call without what the SDK puts around it: what was tried, what AWS says, and which call it was.
func plain(err error) string {
	var api smithy.APIError
	op := operationOf(err)
	if op == nil || !errors.As(err, &api) {
		return err.Error()
	}
	said := strings.TrimSpace(api.ErrorMessage())
	if said == "" {
		said = api.ErrorCode()
	}
	return fmt.Sprintf("%s%s (%s %s: %s)", strings.TrimSuffix(err.Error(), op.Error()), strings.TrimSuffix(said, "."), op.Service(), op.Operation(), api.ErrorCode())
}
