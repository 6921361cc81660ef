package cfn

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// This file makes what deployments need in an account and region: a bucket and a repository for assets, the roles to publish and
// deploy with, and the parameter that says which version of all this is there. Names and logical ids are those that assemblies of the
// CDK and its command line expect, so that either tool goes on with what the other has made (docs/decisions/cfn-bootstrap.md).

const (
	bootstrapStack     = "CDKToolkit"
	bootstrapQualifier = "hnb659fds"
	// BootstrapVersion is what the CDK calls the version of a bootstrap with these permissions.
	BootstrapVersion = 30
)

// madeBy is how a bootstrap of ours is told from others.
const madeBy = "Made by sst bootstrap: what deployments of the AWS CDK and of sst need in this account and region."

// ForeignBootstrap says that a bootstrap was made by another tool and is older than wanted: renewing it here would drop what that
// tool was told (trusted accounts, policies).
type ForeignBootstrap struct {
	Account, Region string
	Have            int
}

func (e *ForeignBootstrap) Error() string {
	return fmt.Sprintf("account %s was bootstrapped in %s by another tool, with version %d", e.Account, e.Region, e.Have)
}

// Bootstrap makes or renews the bootstrap of the region of the configuration. One of a later version stays as it is.
func (d *Deployer) Bootstrap(ctx context.Context) (Result, string, error) {
	env, err := openEnvironments(ctx, d.Config)
	if err != nil {
		return Result{}, "", err
	}
	dir, err := os.MkdirTemp("", "sst-bootstrap-")
	if err != nil {
		return Result{}, "", err
	}
	defer os.RemoveAll(dir)
	template, err := json.MarshalIndent(bootstrapTemplate(), "", " ")
	if err != nil {
		return Result{}, "", err
	}
	s := &Stack{ID: bootstrapStack, Name: bootstrapStack, Short: bootstrapStack, DisplayName: bootstrapStack, Dir: dir, TemplateFile: "template.json",
		Region: d.Config.Region, Deployment: Deployment{BootstrapStackVersionSsmParameter: versionParameter, RequiresBootstrapStackVersion: BootstrapVersion}}
	if err := os.WriteFile(filepath.Join(dir, s.TemplateFile), template, 0o600); err != nil {
		return Result{}, "", err
	}
	run := *d
	run.Assembly, run.Repair = &Assembly{Dir: dir, Stacks: []*Stack{s}}, true
	there, err := run.open(ctx, run.Assembly.Stacks, false)
	if err != nil {
		return Result{}, env.account, err
	}
	if have := there.there[d.Config.Region+"/"+bootstrapStack]; have != nil && good(string(have.StackStatus)) {
		version := 0
		fmt.Sscan(outputsOf(have)["BootstrapVersion"], &version)
		switch {
		case version >= BootstrapVersion:
			return Result{Stack: s, Outcome: Unchanged, Outputs: outputsOf(have)}, env.account, nil
		case aws.ToString(have.Description) != madeBy:
			return Result{}, env.account, &ForeignBootstrap{Account: env.account, Region: d.Config.Region, Have: version}
		}
	}
	s.Deployment = Deployment{}
	results, err := run.Deploy(ctx, run.Assembly.Stacks)
	if err != nil {
		return Result{}, env.account, err
	}
	return results[0], env.account, results[0].Err
}

const versionParameter = "/cdk-bootstrap/" + bootstrapQualifier + "/version"

type dict = map[string]any

func sub(text string) dict { return dict{"Fn::Sub": text} }

// bootstrapTemplate is the bootstrap as a template.
func bootstrapTemplate() dict {
	bucket := sub("cdk-" + bootstrapQualifier + "-assets-${AWS::AccountId}-${AWS::Region}")
	bucketAndObjects := []any{sub("${StagingBucket.Arn}"), sub("${StagingBucket.Arn}/*")}
	allow := func(sid string, actions []string, resources any) dict {
		return dict{"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
	}
	// Whoever may assume roles in this account may assume these. An external id is a sign of a deputy who was asked by somebody else.
	trust := dict{"Version": "2012-10-17", "Statement": []any{
		dict{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": dict{"AWS": dict{"Ref": "AWS::AccountId"}}, "Condition": dict{"Null": dict{"sts:ExternalId": "true"}}},
		dict{"Effect": "Allow", "Action": "sts:TagSession", "Principal": dict{"AWS": dict{"Ref": "AWS::AccountId"}}},
	}}
	role := func(name, tag string, statements []any, managed ...any) dict {
		properties := dict{
			"RoleName":                 sub("cdk-" + bootstrapQualifier + "-" + name + "-role-${AWS::AccountId}-${AWS::Region}"),
			"AssumeRolePolicyDocument": trust,
			"Tags":                     []any{dict{"Key": "aws-cdk:bootstrap-role", "Value": tag}},
		}
		if len(statements) > 0 {
			properties["Policies"] = []any{dict{"PolicyName": "default", "PolicyDocument": dict{"Version": "2012-10-17", "Statement": statements}}}
		}
		if len(managed) > 0 {
			properties["ManagedPolicyArns"] = managed
		}
		return dict{"Type": "AWS::IAM::Role", "Properties": properties}
	}
	execution := role("cfn-exec", "cfn-exec", nil, sub("arn:${AWS::Partition}:iam::aws:policy/AdministratorAccess"))
	execution["Properties"].(dict)["AssumeRolePolicyDocument"] = dict{"Version": "2012-10-17", "Statement": []any{
		dict{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": dict{"Service": "cloudformation.amazonaws.com"}}}}
	delete(execution["Properties"].(dict), "Tags")
	repository := sub("arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/cdk-" + bootstrapQualifier + "-container-assets-${AWS::AccountId}-${AWS::Region}")
	return dict{
		"Description": madeBy,
		"Resources": dict{
			"StagingBucket": dict{"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain", "Properties": dict{
				"BucketName":                     bucket,
				"BucketEncryption":               dict{"ServerSideEncryptionConfiguration": []any{dict{"ServerSideEncryptionByDefault": dict{"SSEAlgorithm": "AES256"}}}},
				"PublicAccessBlockConfiguration": dict{"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true},
				"VersioningConfiguration":        dict{"Status": "Enabled"},
				"LifecycleConfiguration": dict{"Rules": []any{
					dict{"Id": "OldVersions", "Status": "Enabled", "NoncurrentVersionExpiration": dict{"NoncurrentDays": 30}},
					dict{"Id": "UnfinishedUploads", "Status": "Enabled", "AbortIncompleteMultipartUpload": dict{"DaysAfterInitiation": 1}}}},
			}},
			"StagingBucketPolicy": dict{"Type": "AWS::S3::BucketPolicy", "Properties": dict{"Bucket": dict{"Ref": "StagingBucket"},
				"PolicyDocument": dict{"Version": "2012-10-17", "Statement": []any{dict{"Sid": "OnlyEncrypted", "Effect": "Deny", "Action": "s3:*", "Principal": "*",
					"Resource": bucketAndObjects, "Condition": dict{"Bool": dict{"aws:SecureTransport": "false"}}}}}}},
			"ContainerAssetsRepository": dict{"Type": "AWS::ECR::Repository", "Properties": dict{
				"RepositoryName":             sub("cdk-" + bootstrapQualifier + "-container-assets-${AWS::AccountId}-${AWS::Region}"),
				"ImageTagMutability":         "IMMUTABLE",
				"ImageScanningConfiguration": dict{"ScanOnPush": true},
				"RepositoryPolicyText": dict{"Version": "2012-10-17", "Statement": []any{dict{"Sid": "FunctionsOfThisAccount", "Effect": "Allow",
					"Principal": dict{"Service": "lambda.amazonaws.com"}, "Action": []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
					"Condition": dict{"StringLike": dict{"aws:sourceArn": sub("arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*")}}}}},
			}},
			"FilePublishingRole": role("file-publishing", "file-publishing", []any{
				allow("Objects", []string{"s3:GetObject*", "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:List*", "s3:DeleteObject*", "s3:PutObject*", "s3:Abort*"}, bucketAndObjects)}),
			"ImagePublishingRole": role("image-publishing", "image-publishing", []any{
				allow("Images", []string{"ecr:PutImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:BatchCheckLayerAvailability",
					"ecr:DescribeRepositories", "ecr:DescribeImages", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}, repository),
				allow("LogIn", []string{"ecr:GetAuthorizationToken"}, "*")}),
			"LookupRole": role("lookup", "lookup", []any{
				dict{"Sid": "NoSecrets", "Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}}, sub("arn:${AWS::Partition}:iam::aws:policy/ReadOnlyAccess")),
			"DeploymentActionRole": role("deploy", "deploy", []any{
				allow("Deploy", []string{"cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet", "cloudformation:ExecuteChangeSet", "cloudformation:CreateStack",
					"cloudformation:UpdateStack", "cloudformation:RollbackStack", "cloudformation:ContinueUpdateRollback", "cloudformation:DeleteStack",
					"cloudformation:UpdateTerminationProtection", "cloudformation:CreateStackRefactor", "cloudformation:DescribeStackRefactor",
					"cloudformation:ExecuteStackRefactor", "cloudformation:ListStackRefactorActions", "cloudformation:ListStackRefactors", "sts:GetCallerIdentity"}, "*"),
				allow("HandOver", []string{"iam:PassRole"}, sub("${CloudFormationExecutionRole.Arn}")),
				allow("Templates", []string{"s3:GetObject*", "s3:GetBucket*", "s3:List*"}, bucketAndObjects),
				allow("Version", []string{"ssm:GetParameter", "ssm:GetParameters"}, sub("arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter"+versionParameter)),
			}, sub("arn:${AWS::Partition}:iam::aws:policy/AWSCloudFormationReadOnlyAccess")),
			"CloudFormationExecutionRole": execution,
			"CdkBootstrapVersion": dict{"Type": "AWS::SSM::Parameter", "Properties": dict{
				"Name": versionParameter, "Type": "String", "Value": fmt.Sprint(BootstrapVersion)}},
		},
		"Outputs": dict{
			"BucketName":          dict{"Value": sub("${StagingBucket}")},
			"BucketDomainName":    dict{"Value": sub("${StagingBucket.RegionalDomainName}")},
			"ImageRepositoryName": dict{"Value": sub("${ContainerAssetsRepository}")},
			"BootstrapVersion":    dict{"Value": fmt.Sprint(BootstrapVersion)},
		},
	}
}
