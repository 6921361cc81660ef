package cmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"sst/cfn"
)

// This file is what a removal says of the things that it leaves.

// keptSecret is the reason that only the command knows.
const keptSecret = "secret"

var keptReasons = map[string]string{
	string(cfn.KeptPolicy):   "is retained by its removal policy",
	string(cfn.KeptSnapshot): "was taken last, as its removal policy says",
	string(cfn.KeptRefused):  "could not be deleted",
	string(cfn.KeptUnknown):  "is a stack of this app and stage that stacks.star does not have any more",
	keptSecret:               "is a secret of the stage, for when it is deployed again",
}

// deleteCommands are those of the AWS CLI for what holds data; %s is the physical id.
var deleteCommands = map[string]string{
	"AWS::S3::Bucket":                      "aws s3 rb s3://%s --force",
	"AWS::DynamoDB::Table":                 "aws dynamodb delete-table --table-name %s",
	"AWS::Logs::LogGroup":                  "aws logs delete-log-group --log-group-name %s",
	"AWS::Cognito::UserPool":               "aws cognito-idp delete-user-pool --user-pool-id %s",
	"AWS::Kinesis::Stream":                 "aws kinesis delete-stream --stream-name %s",
	"AWS::SQS::Queue":                      "aws sqs delete-queue --queue-url %s",
	"AWS::RDS::DBCluster":                  "aws rds delete-db-cluster --skip-final-snapshot --db-cluster-identifier %s",
	"AWS::RDS::DBInstance":                 "aws rds delete-db-instance --skip-final-snapshot --db-instance-identifier %s",
	"AWS::KMS::Key":                        "aws kms schedule-key-deletion --key-id %s",
	"AWS::ECR::Repository":                 "aws ecr delete-repository --force --repository-name %s",
	"AWS::SecretsManager::Secret":          "aws secretsmanager delete-secret --secret-id %s",
	"AWS::EFS::FileSystem":                 "aws efs delete-file-system --file-system-id %s",
	"AWS::CloudFormation::Stack":           "aws cloudformation delete-stack --stack-name %s",
	"AWS::ElastiCache::CacheCluster":       "aws elasticache delete-cache-cluster --cache-cluster-id %s",
	"AWS::OpenSearchService::Domain":       "aws opensearch delete-domain --domain-name %s",
	"AWS::Neptune::DBCluster":              "aws neptune delete-db-cluster --skip-final-snapshot --db-cluster-identifier %s",
	"AWS::DocDB::DBCluster":                "aws docdb delete-db-cluster --skip-final-snapshot --db-cluster-identifier %s",
	"AWS::EC2::Volume":                     "aws ec2 delete-volume --volume-id %s",
	"AWS::KinesisFirehose::DeliveryStream": "aws firehose delete-delivery-stream --delivery-stream-name %s",
}

// snapshotCommands list the snapshots of what is gone: their names are CloudFormation's.
var snapshotCommands = map[string]string{
	"AWS::RDS::DBCluster":  "aws rds describe-db-cluster-snapshots --db-cluster-identifier %s",
	"AWS::RDS::DBInstance": "aws rds describe-db-snapshots --db-instance-identifier %s",
	"AWS::EC2::Volume":     "aws ec2 describe-snapshots --filters Name=volume-id,Values=%s",
}

// howToDelete is the command that deletes what was left; the Cloud Control API knows most types that have none here.
func howToDelete(k cfn.Kept, region string) string {
	command, known := deleteCommands[k.Type]
	switch {
	case k.Why == cfn.KeptSnapshot:
		if command = snapshotCommands[k.Type]; command == "" {
			return ""
		}
	case strings.HasPrefix(k.Type, "Custom::"):
		return "" // in the console
	case !known:
		command = "aws cloudcontrol delete-resource --type-name " + k.Type + " --identifier %s"
	}
	return fmt.Sprintf(command, quoted(k.Name)) + " --region " + region
}

// quoted is a word as shells take it.
func quoted(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// keptSecrets are the secrets of a stage, which no stack has. Who may not list them has none to tell of.
func (t *tool) keptSecrets(ctx context.Context, config aws.Config, m *cfn.Manifest) (kept []keptResource) {
	store := &ssmStore{client: ssm.NewFromConfig(config), region: config.Region}
	names, err := store.Names(ctx, fmt.Sprintf("/sst/%s/%s/Secret", m.App, m.Stage))
	if err != nil {
		t.log.Info("secrets that stay", "error", err.Error())
		return nil
	}
	for _, name := range names {
		short := strings.TrimSuffix(name, "/value")
		short = short[strings.LastIndexByte(short, '/')+1:]
		kept = append(kept, keptResource{Type: "AWS::SSM::Parameter", Name: name, Why: keptSecret, How: fmt.Sprintf("sst secrets remove %s --stage %s --region %s", short, m.Stage, config.Region)})
	}
	return kept
}
