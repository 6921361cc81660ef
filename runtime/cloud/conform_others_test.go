package cloud

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func TestSNS(t *testing.T) {
	g := newGround(t)
	c := sns.NewFromConfig(g.aws)
	arn := func(name string) *string { return aws.String("arn:aws:sns:us-east-1:000000000000:" + name) }
	publish := func(in sns.PublishInput) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.Publish(ctx, &in)
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(len(*out.MessageId), len(aws.ToString(out.SequenceNumber))), nil
		}
	}
	batch := func(name string, entries ...snstypes.PublishBatchRequestEntry) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: arn(name), PublishBatchRequestEntries: entries})
			if err != nil {
				return nil, err
			}
			var all []string
			for _, d := range out.Successful {
				all = append(all, *d.Id)
			}
			for _, f := range out.Failed {
				all = append(all, fmt.Sprint(*f.Id, " ", *f.Code))
			}
			return all, nil
		}
	}
	entry := func(id, text string) snstypes.PublishBatchRequestEntry {
		return snstypes.PublishBatchRequestEntry{Id: aws.String(id), Message: aws.String(text)}
	}
	check(t, []row{
		{"publish", publish(sns.PublishInput{TopicArn: arn("news"), Message: aws.String("hi")}), "36 0"},
		{"to a target", publish(sns.PublishInput{TargetArn: arn("news"), Message: aws.String("hi")}), "36 0"},
		{"a form for each protocol", publish(sns.PublishInput{TopicArn: arn("news"), Message: aws.String(`{"default":"d"}`), MessageStructure: aws.String("json")}), "36 0"},
		{"no default form", publish(sns.PublishInput{TopicArn: arn("news"), Message: aws.String(`{"sqs":"d"}`), MessageStructure: aws.String("json")}), "InvalidParameter"},
		{"empty", publish(sns.PublishInput{TopicArn: arn("news"), Message: aws.String("")}), "InvalidParameter"},
		{"too long", publish(sns.PublishInput{TopicArn: arn("news"), Message: aws.String(strings.Repeat("x", 256<<10+1))}), "InvalidParameter"},
		{"subject too long", publish(sns.PublishInput{TopicArn: arn("news"), Message: aws.String("x"), Subject: aws.String(strings.Repeat("s", 101))}), "InvalidParameter"},
		{"no such topic", publish(sns.PublishInput{TopicArn: arn("none"), Message: aws.String("x")}), "NotFound"},
		{"FIFO", publish(sns.PublishInput{TopicArn: arn("news.fifo"), Message: aws.String("x"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("1")}), "36 20"},
		{"FIFO without a group", publish(sns.PublishInput{TopicArn: arn("news.fifo"), Message: aws.String("x")}), "InvalidParameter"},
		{"FIFO without deduplication", publish(sns.PublishInput{TopicArn: arn("news.fifo"), Message: aws.String("x"), MessageGroupId: aws.String("g")}), "InvalidParameter"},
		{"text message", publish(sns.PublishInput{PhoneNumber: aws.String("+1"), Message: aws.String("x")}), "NotImplemented"},
		{"batch", batch("news", entry("a", "1"), entry("b", "")), "[a b InvalidParameter]"},
		{"batch, one id", batch("news", entry("a", "1"), entry("a", "2")), "BatchEntryIdsNotDistinct"},
		{"batch, bad id", batch("news", entry("a b", "1")), "InvalidBatchEntryId"},
		{"batch, too long", batch("news", entry("a", strings.Repeat("x", 200<<10)), entry("b", strings.Repeat("x", 200<<10))), "BatchRequestTooLong"},
		{"subscriptions", func(ctx context.Context) (any, error) {
			out, err := c.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: arn("news")})
			if err != nil || len(out.Subscriptions) != 1 {
				return out, err
			}
			return *out.Subscriptions[0].Protocol + " " + *out.Subscriptions[0].Endpoint, nil
		}, "sqs arn:aws:sqs:us-east-1:000000000000:dead"},
		{"topics", func(ctx context.Context) (any, error) {
			out, err := c.ListTopics(ctx, &sns.ListTopicsInput{})
			if err != nil {
				return nil, err
			}
			return len(out.Topics), nil
		}, "2"},
		{"attributes", func(ctx context.Context) (any, error) {
			out, err := c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: arn("news.fifo")})
			if err != nil {
				return nil, err
			}
			return out.Attributes["FifoTopic"], nil
		}, "true"},
		{"not here", func(ctx context.Context) (any, error) {
			return c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: arn("news"), Protocol: aws.String("sqs")})
		}, "NotImplemented"},
		{"delivered", func(context.Context) (any, error) { return strings.Join(g.wire.got(), ","), nil }, "work/news hi,work/news hi,work/news d,work/news.fifo x,work/news 1"},
	})
}

func TestEventBridge(t *testing.T) {
	g := newGround(t)
	c := eventbridge.NewFromConfig(g.aws)
	put := func(entries ...eventtypes.PutEventsRequestEntry) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
			if err != nil {
				return nil, err
			}
			all := []any{out.FailedEntryCount}
			for _, e := range out.Entries {
				if e.EventId != nil {
					all = append(all, "ok")
				} else {
					all = append(all, *e.ErrorCode)
				}
			}
			return all, nil
		}
	}
	entry := func(bus, source, kind, detail string) eventtypes.PutEventsRequestEntry {
		e := eventtypes.PutEventsRequestEntry{Source: aws.String(source), DetailType: aws.String(kind), Detail: aws.String(detail), Time: aws.Time(time.Unix(1e9, 0)), Resources: []string{"r"}}
		if bus != "" {
			e.EventBusName = aws.String(bus)
		}
		return e
	}
	check(t, []row{
		{"default bus, a bus, its ARN", put(entry("", "shop", "paid", `{"n":1}`), entry("bus", "shop", "paid", `{}`), entry("arn:aws:events:us-east-1:000000000000:event-bus/bus", "shop", "paid", `{"a":1}`)), "[0 ok ok ok]"},
		{"no such bus", put(entry("none", "shop", "paid", `{}`)), "[0 ok]"},
		{"one fails", put(entry("bus", "shop", "paid", `{"b":1}`), entry("bus", "shop", "paid", `{`), entry("bus", "", "paid", `{}`), entry("bus", "shop", "", `{}`)), "[3 ok MalformedDetail InvalidArgument InvalidArgument]"},
		{"detail is no object", put(entry("bus", "shop", "paid", `[1]`)), "[1 MalformedDetail]"},
		{"source of AWS", put(entry("bus", "aws.s3", "paid", `{}`)), "[1 NotAuthorizedForSourceException]"},
		{"too long", put(entry("bus", "shop", "paid", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`)), "ValidationException"},
		{"eleven", put(make([]eventtypes.PutEventsRequestEntry, 11)...), "ValidationException"},
		{"none", put([]eventtypes.PutEventsRequestEntry{}...), "ValidationException"},
		{"not here", func(ctx context.Context) (any, error) {
			return c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("x")})
		}, "NotImplemented"},
		{"delivered", func(context.Context) (any, error) { return strings.Join(g.wire.got(), "\n"), nil }, strings.Join([]string{
			` {"detail":{"n":1},"detail-type":"paid","resources":["r"],"source":"shop","time":"2001-09-09T01:46:40Z"}`,
			`work/bus {"detail":{},"detail-type":"paid","resources":["r"],"source":"shop","time":"2001-09-09T01:46:40Z"}`,
			`work/bus {"detail":{"a":1},"detail-type":"paid","resources":["r"],"source":"shop","time":"2001-09-09T01:46:40Z"}`,
			`work/bus {"detail":{"b":1},"detail-type":"paid","resources":["r"],"source":"shop","time":"2001-09-09T01:46:40Z"}`}, "\n")},
	})
}

func TestParametersAndSecrets(t *testing.T) {
	g := newGround(t)
	c, s := ssm.NewFromConfig(g.aws), secretsmanager.NewFromConfig(g.aws)
	get := func(name string, decrypt bool) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(name), WithDecryption: aws.Bool(decrypt)})
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(*out.Parameter.Name, " ", out.Parameter.Type, " ", *out.Parameter.Value, " ", out.Parameter.Version), nil
		}
	}
	put := func(name, value string, kind ssmtypes.ParameterType, overwrite bool) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(name), Value: aws.String(value), Type: kind, Overwrite: aws.Bool(overwrite)})
			if err != nil {
				return nil, err
			}
			return out.Version, nil
		}
	}
	path := func(path string, deep bool, size int32) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			var all []string
			pages := ssm.NewGetParametersByPathPaginator(c, &ssm.GetParametersByPathInput{Path: aws.String(path), Recursive: aws.Bool(deep), MaxResults: aws.Int32(size)})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				for _, p := range page.Parameters {
					all = append(all, *p.Name)
				}
				all = append(all, "|")
			}
			return all, nil
		}
	}
	secret := func(id string) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := s.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(id)})
			if err != nil {
				return nil, err
			}
			if len(*out.SecretString) == 20 {
				return "generated " + *out.Name, nil
			}
			return *out.SecretString, nil
		}
	}
	check(t, []row{
		{"parameter", get("/shop/plan", false), "/shop/plan String gold 1"},
		{"by ARN", get("arn:aws:ssm:us-east-1:000000000000:parameter/shop/plan", false), "/shop/plan String gold 1"},
		{"none", get("/none", false), "ParameterNotFound"},
		{"put", put("/shop/secret", "s3", ssmtypes.ParameterTypeSecureString, false), "1"},
		{"put again", put("/shop/secret", "s4", ssmtypes.ParameterTypeSecureString, false), "ParameterAlreadyExists"},
		{"overwrite", put("/shop/secret", "s4", "", true), "2"},
		{"no type", put("/shop/new", "x", "", false), "ValidationException"},
		{"decrypted", get("/shop/secret", true), "/shop/secret SecureString s4 2"},
		{"several", func(ctx context.Context) (any, error) {
			out, err := c.GetParameters(ctx, &ssm.GetParametersInput{Names: []string{"/shop/plan", "/none", "/shop/eu/plan"}})
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(len(out.Parameters), out.InvalidParameters), nil
		}, "2 [/none]"},
		{"eleven", func(ctx context.Context) (any, error) {
			return c.GetParameters(ctx, &ssm.GetParametersInput{Names: strings.Split("a,b,c,d,e,f,g,h,i,j,k", ",")})
		}, "ValidationException"},
		{"path", path("/shop", false, 10), "[/shop/plan /shop/secret |]"},
		{"path, all below", path("/shop/", true, 10), "[/shop/eu/plan /shop/plan /shop/secret |]"},
		{"path, in pages", path("/shop", true, 2), "[/shop/eu/plan /shop/plan | /shop/secret |]"},
		{"path without a slash", path("shop", true, 2), "ValidationException"},
		{"generated secret", secret("key"), "generated key"},
		{"by ARN", secret("arn:aws:secretsmanager:us-east-1:000000000000:secret:key-AbCdEf"), "generated key"},
		{"no secret", secret("none"), "ResourceNotFoundException"},
		{"no value", secret("empty"), "ResourceNotFoundException"},
		{"put secret", func(ctx context.Context) (any, error) {
			out, err := s.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String("empty"), SecretString: aws.String("now")})
			if err != nil {
				return nil, err
			}
			return out.VersionStages, nil
		}, "[AWSCURRENT]"},
		{"it has one", secret("empty"), "now"},
		{"not here", func(ctx context.Context) (any, error) {
			return c.GetParameterHistory(ctx, &ssm.GetParameterHistoryInput{Name: aws.String("/shop/plan")})
		}, "NotImplemented"},
		{"who", func(ctx context.Context) (any, error) {
			out, err := sts.NewFromConfig(g.aws).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			if err != nil {
				return nil, err
			}
			return *out.Account + " " + *out.Arn, nil
		}, "000000000000 arn:aws:sts::000000000000:assumed-role/role/run"},
	})
}
