package cfn

// What resources are called in a local run. The names are those that CloudFormation would be told, or made from the
// stack's name and the logical id, as CloudFormation does without its random end.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	typeFunction = "AWS::Lambda::Function"
	typeAlias    = "AWS::Lambda::Alias"
	typeVersion  = "AWS::Lambda::Version"
	typeHTTPAPI  = "AWS::ApiGatewayV2::Api"
	typeRESTAPI  = "AWS::ApiGateway::RestApi"
	typeURL      = "AWS::Lambda::Url"
)

// errUnknown says that a resource's type or attribute has no local value.
var errUnknown = errors.New("unknown")

// kind says how resources of one type are called.
type kind struct {
	name   string // property with the physical name; "" when there is none
	arn    string // "%s" is the name; begins after "arn:aws:"; {r} and {a} stand for region and account
	refArn bool   // Ref gives the ARN
	id     int    // Ref gives an id of this many characters, made up by the service
	limit  int    // longest name
	lower  bool
}

var kinds = map[string]kind{
	"AWS::SQS::Queue":                      {name: "QueueName", arn: "sqs:{r}:{a}:%s", limit: 80},
	"AWS::SNS::Topic":                      {name: "TopicName", arn: "sns:{r}:{a}:%s", refArn: true, limit: 256},
	"AWS::DynamoDB::Table":                 {name: "TableName", arn: "dynamodb:{r}:{a}:table/%s", limit: 255},
	"AWS::DynamoDB::GlobalTable":           {name: "TableName", arn: "dynamodb:{r}:{a}:table/%s", limit: 255},
	"AWS::S3::Bucket":                      {name: "BucketName", arn: "s3:::%s", limit: 63, lower: true},
	typeFunction:                           {name: "FunctionName", arn: "lambda:{r}:{a}:function:%s", limit: 64},
	"AWS::Lambda::LayerVersion":            {name: "LayerName", arn: "lambda:{r}:{a}:layer:%s:1", refArn: true, limit: 140},
	"AWS::Kinesis::Stream":                 {name: "Name", arn: "kinesis:{r}:{a}:stream/%s", limit: 128},
	"AWS::KinesisFirehose::DeliveryStream": {name: "DeliveryStreamName", arn: "firehose:{r}:{a}:deliverystream/%s", limit: 64},
	"AWS::Events::EventBus":                {name: "Name", arn: "events:{r}:{a}:event-bus/%s", limit: 256},
	"AWS::Events::Rule":                    {name: "Name", arn: "events:{r}:{a}:rule/%s", limit: 64},
	"AWS::Scheduler::Schedule":             {name: "Name", arn: "scheduler:{r}:{a}:schedule/default/%s", limit: 64},
	"AWS::Scheduler::ScheduleGroup":        {name: "Name", arn: "scheduler:{r}:{a}:schedule-group/%s", limit: 64},
	"AWS::Logs::LogGroup":                  {name: "LogGroupName", arn: "logs:{r}:{a}:log-group:%s:*", limit: 512},
	"AWS::SSM::Parameter":                  {name: "Name", arn: "ssm:{r}:{a}:parameter/%s", limit: 1011},
	"AWS::SecretsManager::Secret":          {name: "Name", arn: "secretsmanager:{r}:{a}:secret:%s-local0", refArn: true, limit: 512},
	"AWS::IAM::Role":                       {name: "RoleName", arn: "iam::{a}:role/%s", limit: 64},
	"AWS::IAM::User":                       {name: "UserName", arn: "iam::{a}:user/%s", limit: 64},
	"AWS::IAM::Group":                      {name: "GroupName", arn: "iam::{a}:group/%s", limit: 128},
	"AWS::IAM::ManagedPolicy":              {name: "ManagedPolicyName", arn: "iam::{a}:policy/%s", refArn: true, limit: 128},
	"AWS::StepFunctions::StateMachine":     {name: "StateMachineName", arn: "states:{r}:{a}:stateMachine:%s", refArn: true, limit: 80},
	"AWS::StepFunctions::Activity":         {name: "Name", arn: "states:{r}:{a}:activity:%s", refArn: true, limit: 80},
	"AWS::ECS::Cluster":                    {name: "ClusterName", arn: "ecs:{r}:{a}:cluster/%s", limit: 255},
	"AWS::CodeBuild::Project":              {name: "Name", arn: "codebuild:{r}:{a}:project/%s", limit: 255},
	"AWS::RDS::DBCluster":                  {name: "DBClusterIdentifier", arn: "rds:{r}:{a}:cluster:%s", limit: 63, lower: true},
	"AWS::CloudWatch::Alarm":               {name: "AlarmName", arn: "cloudwatch:{r}:{a}:alarm:%s", limit: 255},
	typeHTTPAPI:                            {arn: "apigateway:{r}::/apis/%s", id: 10},
	typeRESTAPI:                            {arn: "apigateway:{r}::/restapis/%s", id: 10},
	"AWS::ApiGateway::ApiKey":              {arn: "apigateway:{r}::/apikeys/%s", id: 10},
	"AWS::AppSync::GraphQLApi":             {arn: "appsync:{r}:{a}:apis/%s", id: 26, refArn: true},
	"AWS::Cognito::UserPoolClient":         {id: 26},
	"AWS::CloudFront::Distribution":        {arn: "cloudfront::{a}:distribution/%s", id: 14},
	"AWS::KMS::Key":                        {arn: "kms:{r}:{a}:key/%s", id: 36},
}

// name gives the physical name of a resource, or the id that its service would make up.
func (e *evaluation) name(s *Stack, id string, r *Resource) (string, error) {
	k, ok := kinds[r.Type]
	if !ok {
		return "", errUnknown
	}
	if k.id > 0 {
		return made(s, id, k.id), nil
	}
	if given, ok := r.Properties[k.name]; ok && given != nil {
		return e.text(s, given)
	}
	if r.Type == typeFunction {
		if f := e.asm.functionOf(s, id); f != nil {
			return f.Name, nil
		}
	}
	name := s.Name + "-" + id
	if k.lower {
		name = strings.ToLower(name)
	}
	name = limit(strings.ReplaceAll(name, "/", "-"), k.limit)
	if fifo, _ := r.Properties["FifoQueue"].(bool); fifo {
		name = limit(name, k.limit-len(".fifo")) + ".fifo"
	}
	if fifo, _ := r.Properties["FifoTopic"].(bool); fifo {
		name = limit(name, k.limit-len(".fifo")) + ".fifo"
	}
	return name, nil
}

// functionOf gives the manifest's entry of a function.
func (a *Assembly) functionOf(s *Stack, logicalID string) *Function {
	if a.Manifest == nil {
		return nil
	}
	return a.Manifest.functionOf(s, logicalID)
}

// made is an id of lowercase letters and digits, always the same for the same resource.
func made(s *Stack, id string, length int) string {
	sum := sha256.Sum256([]byte(s.ID + "\n" + id))
	return hex.EncodeToString(sum[:])[:length]
}

func (e *evaluation) stackID(s *Stack) string {
	return fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/%s", e.region(s), e.account(s), s.Name, made(s, "", 32))
}

// attribute gives a Ref (attribute "") or attribute; errUnknown when there is none locally.
func (e *evaluation) attribute(s *Stack, id string, r *Resource, attribute string) (any, error) {
	region := e.region(s)
	switch r.Type { // those that are not called by a name of their own
	case typeURL:
		if attribute == "FunctionUrl" {
			return e.functionURL(s, id) + "/", nil
		}
		return e.qualified(s, r, attribute)
	case typeAlias, typeVersion:
		return e.qualified(s, r, attribute)
	case "AWS::ApiGatewayV2::Stage", "AWS::ApiGateway::Stage":
		if attribute == "" {
			return e.text(s, r.Properties["StageName"])
		}
		return nil, errUnknown
	case "AWS::Cognito::UserPool":
		pool := region + "_" + made(s, id, 9)
		switch attribute {
		case "", "UserPoolId":
			return pool, nil
		case "Arn":
			return fmt.Sprintf("arn:aws:cognito-idp:%s:%s:userpool/%s", region, e.account(s), pool), nil
		case "ProviderName":
			return fmt.Sprintf("cognito-idp.%s.amazonaws.com/%s", region, pool), nil
		case "ProviderURL":
			return fmt.Sprintf("https://cognito-idp.%s.amazonaws.com/%s", region, pool), nil
		}
		return nil, errUnknown
	case "AWS::Cognito::IdentityPool":
		if attribute == "" || attribute == "Id" {
			return region + ":" + made(s, id, 32), nil
		}
		return nil, errUnknown
	case "AWS::KMS::Alias":
		if attribute == "" {
			return e.text(s, r.Properties["AliasName"])
		}
		return nil, errUnknown
	case typeNested:
		if attribute == "" {
			return fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/%s", region, e.account(s), s.Name+"-"+id, made(s, id, 32)), nil
		}
		return nil, errUnknown
	}
	k, ok := kinds[r.Type]
	if !ok {
		return nil, errUnknown
	}
	name, err := e.name(s, id, r)
	if err != nil {
		return nil, err
	}
	arn := ""
	if k.arn != "" {
		arn = "arn:aws:" + strings.NewReplacer("{r}", region, "{a}", e.account(s)).Replace(fmt.Sprintf(k.arn, name))
		arn = strings.Replace(arn, ":parameter//", ":parameter/", 1)
	}
	switch {
	case attribute == "" && k.refArn, attribute == "Arn" && arn != "":
		return arn, nil
	case attribute == "" && r.Type == "AWS::SQS::Queue":
		return e.queueURL(s, name), nil
	case attribute == "", attribute == k.name:
		return name, nil
	}
	return e.special(s, id, r, attribute, name, arn)
}

func (e *evaluation) queueURL(s *Stack, name string) string {
	if e.local.QueueURL != nil {
		return e.local.QueueURL(name)
	}
	return fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s", e.region(s), e.account(s), name)
}

// special gives the attributes that only some types have.
func (e *evaluation) special(s *Stack, id string, r *Resource, attribute, name, arn string) (any, error) {
	region := e.region(s)
	switch r.Type + " " + attribute {
	case "AWS::SQS::Queue QueueUrl":
		return e.queueURL(s, name), nil
	case "AWS::SNS::Topic TopicArn", "AWS::SecretsManager::Secret Id", "AWS::IAM::ManagedPolicy PolicyArn":
		return arn, nil
	case "AWS::DynamoDB::Table StreamArn", "AWS::DynamoDB::GlobalTable StreamArn":
		return arn + "/stream/2020-01-01T00:00:00.000", nil
	case "AWS::S3::Bucket DomainName":
		return name + ".s3.amazonaws.com", nil
	case "AWS::S3::Bucket RegionalDomainName":
		return fmt.Sprintf("%s.s3.%s.amazonaws.com", name, region), nil
	case "AWS::S3::Bucket DualStackDomainName":
		return fmt.Sprintf("%s.s3.dualstack.%s.amazonaws.com", name, region), nil
	case "AWS::S3::Bucket WebsiteURL":
		return fmt.Sprintf("http://%s.s3-website-%s.amazonaws.com", name, region), nil
	case "AWS::IAM::Role RoleId", "AWS::KMS::Key KeyId", "AWS::CloudFront::Distribution Id", "AWS::StepFunctions::StateMachine Name",
		typeHTTPAPI + " ApiId", typeRESTAPI + " RestApiId", "AWS::AppSync::GraphQLApi ApiId",
		"AWS::Cognito::UserPoolClient ClientId":
		return name, nil
	case typeHTTPAPI + " ApiEndpoint":
		scheme := "https"
		if protocol, _ := r.Properties["ProtocolType"].(string); protocol == "WEBSOCKET" {
			scheme = "wss"
		}
		return fmt.Sprintf("%s://%s.execute-api.%s.amazonaws.com", scheme, name, region), nil
	case typeRESTAPI + " ApiEndpoint": // not an attribute in CloudFormation; what URLs are put together from
		return fmt.Sprintf("https://%s.execute-api.%s.amazonaws.com", name, region), nil
	case typeRESTAPI + " RootResourceId":
		return made(s, id+"\nroot", 10), nil
	case "AWS::AppSync::GraphQLApi GraphQLUrl":
		return fmt.Sprintf("https://%s.appsync-api.%s.amazonaws.com/graphql", name, region), nil
	case "AWS::CloudFront::Distribution DomainName":
		return name + ".cloudfront.net", nil
	case "AWS::SSM::Parameter Value", "AWS::SSM::Parameter Type":
		return e.value(s, r.Properties[attribute])
	}
	return nil, errUnknown
}

// qualified gives the ARN of a function's alias or version.
func (e *evaluation) qualified(s *Stack, r *Resource, attribute string) (any, error) {
	qualifier := "$LATEST"
	if r.Type == typeAlias {
		name, err := e.text(s, r.Properties["Name"])
		if err != nil {
			return nil, err
		}
		qualifier = name
	}
	target := r.Properties["FunctionName"]
	if r.Type == typeURL {
		target = r.Properties["TargetFunctionArn"]
	}
	function, err := e.text(s, target)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(function, "arn:") {
		function = fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", e.region(s), e.account(s), function)
	}
	switch attribute {
	case "", "AliasArn", "FunctionArn":
		if r.Type == typeURL {
			return function, nil
		}
		return function + ":" + qualifier, nil
	case "Version":
		return qualifier, nil
	}
	return nil, errUnknown
}

// functionURL is the address of a function URL, without the slash at the end.
func (e *evaluation) functionURL(s *Stack, id string) string {
	return fmt.Sprintf("https://%s.lambda-url.%s.on.aws", made(s, id, 32), e.region(s))
}
