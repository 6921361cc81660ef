package cmd

// crashes ROUNDS: writes to the local cloud of `sst start` until that is killed, many times, and looks at what is there then.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/rogpeppe/go-internal/testscript"
)

// written is what the local cloud has acknowledged, by kind.
type written struct {
	mu  sync.Mutex
	ids map[string][]string
}

func (w *written) add(kind, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids[kind] = append(w.ids[kind], id)
}

// crashCloud are clients of the local cloud that runs now, and its resources.
type crashCloud struct {
	sqs     *sqs.Client
	s3      *s3.Client
	db      *dynamodb.Client
	kinesis *kinesis.Client
	sns     *sns.Client

	kept, work, bucket, table, stream, topic string
}

func openCrashCloud(ts *testscript.TestScript) *crashCloud {
	var about struct{ Cloud string }
	data, err := os.ReadFile(ts.MkAbs(".sst/start.json"))
	ts.Check(err)
	ts.Check(json.Unmarshal(data, &about))
	config := aws.Config{Region: "us-east-1", BaseEndpoint: &about.Cloud, Credentials: credentials.NewStaticCredentialsProvider("developer", "none", ""), RetryMaxAttempts: 1}
	c := &crashCloud{sqs: sqs.NewFromConfig(config), db: dynamodb.NewFromConfig(config), kinesis: kinesis.NewFromConfig(config), sns: sns.NewFromConfig(config),
		s3: s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })}
	ctx := context.Background()
	queues, err := c.sqs.ListQueues(ctx, &sqs.ListQueuesInput{})
	ts.Check(err)
	for _, url := range queues.QueueUrls {
		if strings.HasSuffix(url, "-Kept") {
			c.kept = url
		} else {
			c.work = url
		}
	}
	buckets, err := c.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
	ts.Check(err)
	tables, err := c.db.ListTables(ctx, &dynamodb.ListTablesInput{})
	ts.Check(err)
	streams, err := c.kinesis.ListStreams(ctx, &kinesis.ListStreamsInput{})
	ts.Check(err)
	topics, err := c.sns.ListTopics(ctx, &sns.ListTopicsInput{})
	ts.Check(err)
	c.bucket, c.table, c.stream, c.topic = *buckets.Buckets[0].Name, tables.TableNames[0], streams.StreamNames[0], *topics.Topics[0].TopicArn
	return c
}

// bodyOf is what an object of that key holds.
func bodyOf(key string) []byte {
	hash := sha256.Sum256([]byte(key))
	return bytes.Repeat(hash[:], 1+int(hash[0])*20)
}

func row(id string) map[string]dynamotypes.AttributeValue {
	return map[string]dynamotypes.AttributeValue{"id": &dynamotypes.AttributeValueMemberS{Value: id}}
}

// write makes one write of each kind, again and again until one fails.
func (c *crashCloud) write(ctx context.Context, name string, w *written) {
	for n := 0; ; n++ {
		id := fmt.Sprint(name, "-", n)
		if _, err := c.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.kept, MessageBody: &id}); err != nil {
			return
		}
		w.add("kept", id)
		if _, err := c.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.work, MessageBody: &id}); err != nil {
			return
		}
		w.add("work", id)
		if _, err := c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &c.bucket, Key: &id, Body: bytes.NewReader(bodyOf(id))}); err != nil {
			return
		}
		w.add("object", id)
		both := []dynamotypes.TransactWriteItem{{Put: &dynamotypes.Put{TableName: &c.table, Item: row("a-" + id)}}, {Put: &dynamotypes.Put{TableName: &c.table, Item: row("b-" + id)}}}
		if _, err := c.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: both}); err != nil {
			return
		}
		w.add("row", "a-"+id)
		w.add("row", "b-"+id)
		if _, err := c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &c.stream, PartitionKey: &id, Data: []byte(id)}); err != nil {
			return
		}
		w.add("click", id)
		if _, err := c.sns.Publish(ctx, &sns.PublishInput{TopicArn: &c.topic, Message: &id}); err != nil {
			return
		}
		w.add("news", id)
	}
}

func scriptCrashes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: crashes ROUNDS")
	}
	rounds, err := strconv.Atoi(args[0])
	ts.Check(err)
	if os.Getenv("SST_TEST_ALL") != "" {
		rounds *= 10
	}
	seed := rand.Uint64()
	if text := os.Getenv("SST_CRASH_SEED"); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		ts.Check(err)
	}
	fmt.Fprintf(ts.Stdout(), "seed %d (SST_CRASH_SEED)\n", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	seen := ts.MkAbs("seen.log")
	ts.Check(os.WriteFile(ts.MkAbs("seen.txt"), []byte(seen), 0o644))
	ts.Check(os.WriteFile(seen, nil, 0o644))
	serve := func() *crashCloud {
		scriptServe(ts, false, []string{"--local", "--port", "0", "--stage", "dev", "--no-lint"})
		return openCrashCloud(ts)
	}
	w := &written{ids: map[string][]string{}}
	for round := range rounds {
		c := serve()
		ctx, cancel := context.WithCancel(context.Background())
		var writers sync.WaitGroup
		for i := range 4 {
			writers.Go(func() { c.write(ctx, fmt.Sprint(round, "-", i), w) })
		}
		time.Sleep(time.Duration(50+r.IntN(500)) * time.Millisecond)
		scriptCrash(ts, false, nil)
		cancel()
		writers.Wait()
	}
	c := serve()
	c.look(ts, w)
	// What functions were to see they see at least once, however often they were killed.
	want := map[string][]string{"work": w.ids["work"], "row": w.ids["row"], "click": w.ids["click"], "news": w.ids["news"]}
	var missing []string
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		data, err := os.ReadFile(seen)
		ts.Check(err)
		had := map[string]bool{}
		for line := range strings.Lines(string(data)) {
			had[strings.TrimSpace(line)] = true
		}
		missing = missing[:0]
		for kind, ids := range want {
			for _, id := range ids {
				if !had[kind+" "+id] {
					missing = append(missing, kind+" "+id)
				}
			}
		}
		if len(missing) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, kind := range []string{"kept", "work", "object", "row", "click", "news"} {
		fmt.Fprintf(ts.Stdout(), "%s %d\n", kind, len(w.ids[kind]))
		if len(w.ids[kind]) == 0 {
			ts.Fatalf("nothing was written: %s", kind)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		ts.Fatalf("%d were never seen by a function: %.500s", len(missing), strings.Join(missing, ", "))
	}
}

// look finds what was acknowledged, and nothing that is there by half.
func (c *crashCloud) look(ts *testscript.TestScript, w *written) {
	ctx := context.Background()
	have := map[string]map[string]bool{"kept": {}, "object": {}, "row": {}, "click": {}}
	for {
		out, err := c.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &c.kept, MaxNumberOfMessages: 10, VisibilityTimeout: 3600})
		ts.Check(err)
		if len(out.Messages) == 0 {
			break
		}
		for _, m := range out.Messages {
			have["kept"][*m.Body] = true
		}
	}
	objects := s3.NewListObjectsV2Paginator(c.s3, &s3.ListObjectsV2Input{Bucket: &c.bucket})
	for objects.HasMorePages() {
		page, err := objects.NextPage(ctx)
		ts.Check(err)
		for _, o := range page.Contents {
			got, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &c.bucket, Key: o.Key})
			ts.Check(err)
			data, err := io.ReadAll(got.Body)
			ts.Check(err)
			if want := bodyOf(*o.Key); !bytes.Equal(data, want) {
				ts.Fatalf("object %s has %d bytes %s, want %d", *o.Key, len(data), hex.EncodeToString(data[:min(len(data), 8)]), len(want))
			}
			have["object"][*o.Key] = true
		}
	}
	rows := dynamodb.NewScanPaginator(c.db, &dynamodb.ScanInput{TableName: &c.table})
	for rows.HasMorePages() {
		page, err := rows.NextPage(ctx)
		ts.Check(err)
		for _, item := range page.Items {
			have["row"][item["id"].(*dynamotypes.AttributeValueMemberS).Value] = true
		}
	}
	for id := range have["row"] {
		other := "a" + id[1:]
		if id[0] == 'a' {
			other = "b" + id[1:]
		}
		if !have["row"][other] {
			ts.Fatalf("of a transaction there is %s and not %s", id, other)
		}
	}
	it, err := c.kinesis.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamName: &c.stream, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: "TRIM_HORIZON"})
	ts.Check(err)
	for next := it.ShardIterator; ; {
		out, err := c.kinesis.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		ts.Check(err)
		if len(out.Records) == 0 {
			break
		}
		for _, r := range out.Records {
			have["click"][string(r.Data)] = true
		}
		next = out.NextShardIterator
	}
	for kind, there := range have {
		for _, id := range w.ids[kind] {
			if !there[id] {
				ts.Fatalf("%s %s was acknowledged and is lost; %d of %d are there", kind, id, len(there), len(w.ids[kind]))
			}
		}
	}
}

// scriptFlood sends messages to the queue Work, as many a second as it is given, and waits until the function has seen all:
// the figure is the rate from the first to the last.
func scriptFlood(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flood MESSAGES, after serve")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	if text := os.Getenv("SST_FLOOD"); text != "" {
		n, err = strconv.Atoi(text)
		ts.Check(err)
	}
	c := openCrashCloud(ts)
	ctx := context.Background()
	began := time.Now()
	var next atomic.Int64
	var senders sync.WaitGroup
	failed := make(chan error, 8)
	for range cap(failed) {
		senders.Go(func() {
			for {
				first := int(next.Add(10)) - 10
				if first >= n {
					return
				}
				var entries []sqstypes.SendMessageBatchRequestEntry
				for i := first; i < min(first+10, n); i++ {
					entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String("m" + strconv.Itoa(i))})
				}
				if _, err := c.sqs.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &c.work, Entries: entries}); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	senders.Wait()
	sent := time.Since(began)
	select {
	case err := <-failed:
		ts.Check(err)
	default:
	}
	had := map[string]bool{}
	for deadline := time.Now().Add(time.Minute); len(had) < n; time.Sleep(20 * time.Millisecond) {
		data, err := os.ReadFile(ts.MkAbs("seen.log"))
		ts.Check(err)
		for line := range strings.Lines(string(data)) {
			if id, ok := strings.CutPrefix(strings.TrimSpace(line), "work m"); ok && strings.HasSuffix(line, "\n") {
				had[id] = true
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%d of %d messages were never seen", n-len(had), n)
		}
	}
	took := time.Since(began)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the last deletions
		out, err := c.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &c.work, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		ts.Check(err)
		if out.Attributes["ApproximateNumberOfMessages"] == "0" && out.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0" {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the queue is not empty: %v", out.Attributes)
		}
	}
	line := fmt.Sprintf("flood: %d messages, sent in %.2f s, all seen by a Node function after %.2f s: %.0f messages/s (goal 1,000)", n, sent.Seconds(), took.Seconds(), float64(n)/took.Seconds())
	fmt.Fprintln(ts.Stdout(), line)
	if os.Getenv("SST_FLOOD") != "" {
		fmt.Println(line)
	}
}
