package cloud

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func TestKinesis(t *testing.T) {
	g := newGround(t)
	c := kinesis.NewFromConfig(g.aws)
	name := aws.String("clicks")
	numbers := map[string]string{}
	put := func(stream, key, data string) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String(stream), PartitionKey: aws.String(key), Data: []byte(data)})
			if err != nil {
				return nil, err
			}
			numbers[data] = *out.SequenceNumber
			return *out.ShardId, nil
		}
	}
	var middle time.Time
	var next string
	read := func(limit int32, in func() kinesis.GetShardIteratorInput) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			input := in()
			if input.StreamName == nil {
				input.StreamName = name
			}
			if input.ShardId == nil {
				input.ShardId = aws.String("shardId-000000000000")
			}
			it, err := c.GetShardIterator(ctx, &input)
			if err != nil {
				return nil, err
			}
			out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: aws.Int32(limit)})
			if err != nil {
				return nil, err
			}
			next = *out.NextShardIterator
			var all []string
			for _, r := range out.Records {
				all = append(all, *r.PartitionKey+string(r.Data))
			}
			return fmt.Sprint(all, *out.MillisBehindLatest > 0), nil
		}
	}
	kind := func(kind types.ShardIteratorType, more ...func(*kinesis.GetShardIteratorInput)) func() kinesis.GetShardIteratorInput {
		return func() kinesis.GetShardIteratorInput {
			in := kinesis.GetShardIteratorInput{ShardIteratorType: kind}
			for _, m := range more {
				m(&in)
			}
			return in
		}
	}
	at := func(data string) func(*kinesis.GetShardIteratorInput) {
		return func(in *kinesis.GetShardIteratorInput) { in.StartingSequenceNumber = aws.String(numbers[data]) }
	}
	check(t, []row{
		{"nothing yet", read(10, kind(types.ShardIteratorTypeTrimHorizon)), "[] false"},
		{"put", put("clicks", "k", "1"), "shardId-000000000000"},
		{"put", put("clicks", "k", "2"), "shardId-000000000000"},
		{"later", func(context.Context) (any, error) {
			time.Sleep(20 * time.Millisecond)
			middle = time.Now()
			return "", nil
		}, ""},
		{"put several", func(ctx context.Context) (any, error) {
			out, err := c.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: name, Records: []types.PutRecordsRequestEntry{{PartitionKey: aws.String("l"), Data: []byte("3")}, {PartitionKey: aws.String("l"), Data: []byte("4")}}})
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(*out.FailedRecordCount, len(out.Records), *out.Records[0].SequenceNumber < *out.Records[1].SequenceNumber), nil
		}, "0 2 true"},
		{"no such stream", put("none", "k", "x"), "ResourceNotFoundException"},
		{"no key", put("clicks", "", "x"), "ValidationException"},
		{"from the beginning", read(10, kind(types.ShardIteratorTypeTrimHorizon)), "[k1 k2 l3 l4] false"},
		{"from now", read(10, kind(types.ShardIteratorTypeLatest)), "[] false"},
		{"at a record", read(10, kind(types.ShardIteratorTypeAtSequenceNumber, at("2"))), "[k2 l3 l4] false"},
		{"after a record", read(10, kind(types.ShardIteratorTypeAfterSequenceNumber, at("2"))), "[l3 l4] false"},
		{"since", read(10, kind(types.ShardIteratorTypeAtTimestamp, func(in *kinesis.GetShardIteratorInput) { in.Timestamp = aws.Time(middle) })), "[l3 l4] false"},
		{"some", read(3, kind(types.ShardIteratorTypeTrimHorizon)), "[k1 k2 l3] true"},
		{"the rest", func(ctx context.Context) (any, error) {
			out, err := c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String(next)})
			if err != nil {
				return nil, err
			}
			return string(out.Records[0].Data), nil
		}, "4"},
		{"no such shard", read(1, kind(types.ShardIteratorTypeLatest, func(in *kinesis.GetShardIteratorInput) { in.ShardId = aws.String("shardId-000000000001") })), "ResourceNotFoundException"},
		{"no such number", read(1, kind(types.ShardIteratorTypeAtSequenceNumber, func(in *kinesis.GetShardIteratorInput) { in.StartingSequenceNumber = aws.String("12") })), "InvalidArgumentException"},
		{"no such kind", read(1, kind("NOW")), "ValidationException"},
		{"no iterator", func(ctx context.Context) (any, error) {
			return c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String("x")})
		}, "InvalidArgumentException"},
		{"expired", func(ctx context.Context) (any, error) {
			data := `{"Source":"work/clicks","Made":"2020-01-01T00:00:00Z"}`
			return c.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: aws.String(base64Of(data))})
		}, "ExpiredIteratorException"},
		{"shards", func(ctx context.Context) (any, error) {
			out, err := c.ListShards(ctx, &kinesis.ListShardsInput{StreamName: name})
			if err != nil {
				return nil, err
			}
			return *out.Shards[0].ShardId, nil
		}, "shardId-000000000000"},
		{"describe", func(ctx context.Context) (any, error) {
			out, err := c.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(out.StreamDescriptionSummary.StreamStatus, *out.StreamDescriptionSummary.RetentionPeriodHours), nil
		}, "ACTIVE24"},
		{"streams", func(ctx context.Context) (any, error) {
			out, err := c.ListStreams(ctx, &kinesis.ListStreamsInput{})
			if err != nil {
				return nil, err
			}
			return out.StreamNames, nil
		}, "[clicks]"},
		{"not here", func(ctx context.Context) (any, error) {
			return c.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: name, AdjacentShardToMerge: name})
		}, "NotImplemented"},
		{"consumers were told", func(context.Context) (any, error) { return len(g.wire.got()), nil }, "3"},
	})
}
