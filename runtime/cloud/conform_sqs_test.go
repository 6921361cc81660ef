package cloud

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestSQS(t *testing.T) {
	g := newGround(t)
	c := sqs.NewFromConfig(g.aws)
	at := func(name string) *string { return aws.String(QueueURL(g.URL(), account, name)) }
	send := func(ctx context.Context, in *sqs.SendMessageInput) (any, error) {
		if in.MessageBody == nil {
			in.MessageBody = aws.String("x")
		}
		out, err := c.SendMessage(ctx, in)
		if err != nil {
			return nil, err
		}
		return aws.ToString(out.MD5OfMessageBody), nil
	}
	receipts := map[string]string{} // by body
	receive := func(name string, n int32, wait int32) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: at(name), MaxNumberOfMessages: n, WaitTimeSeconds: wait, MessageAttributeNames: []string{"All"},
				MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}})
			if err != nil {
				return nil, err
			}
			var all []string
			for _, m := range out.Messages {
				receipts[*m.Body] = *m.ReceiptHandle
				all = append(all, *m.Body+m.Attributes["ApproximateReceiveCount"])
			}
			return all, nil
		}
	}
	body := func(name, text string, more ...func(*sqs.SendMessageInput)) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			in := &sqs.SendMessageInput{QueueUrl: at(name), MessageBody: aws.String(text)}
			for _, m := range more {
				m(in)
			}
			if _, err := send(ctx, in); err != nil {
				return nil, err
			}
			return "sent", nil
		}
	}
	group := func(group, dedup string) func(*sqs.SendMessageInput) {
		return func(in *sqs.SendMessageInput) {
			in.MessageGroupId = aws.String(group)
			if dedup != "" {
				in.MessageDeduplicationId = aws.String(dedup)
			}
		}
	}
	hide := func(text string, seconds int32) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			name := "jobs"
			if strings.HasPrefix(text, "f") {
				name = "orders.fifo"
			}
			_, err := c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: at(name), ReceiptHandle: aws.String(receipts[text]), VisibilityTimeout: seconds})
			return "hidden", err
		}
	}
	remove := func(name, text string) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			_, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: at(name), ReceiptHandle: aws.String(receipts[text])})
			return "deleted", err
		}
	}
	batch := func(name string, entries ...types.SendMessageBatchRequestEntry) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: at(name), Entries: append([]types.SendMessageBatchRequestEntry{}, entries...)})
			if err != nil {
				return nil, err
			}
			var all []string
			for _, d := range out.Successful {
				all = append(all, *d.Id)
			}
			for _, f := range out.Failed {
				all = append(all, fmt.Sprint(*f.Id, " ", *f.Code, " ", f.SenderFault))
			}
			return all, nil
		}
	}
	entry := func(id, body string) types.SendMessageBatchRequestEntry {
		return types.SendMessageBatchRequestEntry{Id: aws.String(id), MessageBody: aws.String(body)}
	}
	var eleven []types.SendMessageBatchRequestEntry
	for i := range 11 {
		eleven = append(eleven, entry(fmt.Sprint(i), "x"))
	}
	attributes := func(name string) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: at(name), AttributeNames: []types.QueueAttributeName{"All"}})
			if err != nil {
				return nil, err
			}
			return out.Attributes, nil
		}
	}
	began := time.Now()
	check(t, []row{
		{"send", func(ctx context.Context) (any, error) { return send(ctx, &sqs.SendMessageInput{QueueUrl: at("jobs")}) }, "9dd4e461268c8034f5c8564e155c67a6"},
		{"receive", receive("jobs", 10, 0), "[x1]"},
		{"hidden", receive("jobs", 10, 0), "[]"},
		{"visible at once", hide("x", 0), "hidden"},
		{"again", receive("jobs", 10, 0), "[x2]"},
		{"visible a second time", hide("x", 0), "hidden"},
		{"not in flight any more", hide("x", 5), "AWS.SimpleQueueService.MessageNotInflight"},
		{"received too often", receive("jobs", 10, 0), "[]"},
		{"a dead letter", receive("dead", 10, 0), "[x1]"},
		{"delete", remove("dead", "x"), "deleted"},
		{"delete again", remove("dead", "x"), "deleted"},
		{"hide what is deleted", func(ctx context.Context) (any, error) {
			return c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: at("dead"), ReceiptHandle: aws.String(receipts["x"]), VisibilityTimeout: 1})
		}, "InvalidParameterValue"},
		{"a receipt that never was", func(ctx context.Context) (any, error) {
			return c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: at("jobs"), ReceiptHandle: aws.String("nonsense")})
		}, "ReceiptHandleIsInvalid"},
		{"delayed", body("jobs", "late", func(in *sqs.SendMessageInput) { in.DelaySeconds = 1 }), "sent"},
		{"delayed is not there", receive("jobs", 1, 0), "[]"},
		{"long polling", receive("jobs", 1, 5), "[late1]"},
		{"batch", batch("jobs", entry("a", "a"), entry("b", "b")), "[a b]"},
		{"batch, one fails", batch("jobs", entry("a", "a"), entry("b", "\x01")), "[a b InvalidMessageContents true]"},
		{"batch, empty", batch("jobs", []types.SendMessageBatchRequestEntry{}...), "AWS.SimpleQueueService.EmptyBatchRequest"},
		{"batch of eleven", batch("jobs", eleven...), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"},
		{"batch, one id", batch("jobs", entry("a", "a"), entry("a", "b")), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"},
		{"batch, bad id", batch("jobs", entry("a b", "a")), "AWS.SimpleQueueService.InvalidBatchEntryId"},
		{"batch, too long", batch("jobs", entry("a", strings.Repeat("x", 600<<10)), entry("b", strings.Repeat("x", 600<<10))), "AWS.SimpleQueueService.BatchRequestTooLong"},
		{"too long", body("small", strings.Repeat("x", 1025)), "InvalidParameterValue"},
		{"no such queue", body("nowhere", "x"), "AWS.SimpleQueueService.NonExistentQueue"},
		{"eleven at once", receive("jobs", 11, 0), "InvalidParameterValue"},
		{"delay too long", body("jobs", "x", func(in *sqs.SendMessageInput) { in.DelaySeconds = 901 }), "InvalidParameterValue"},
		{"attribute of no type", body("jobs", "x", func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{"a": {DataType: aws.String("Text"), StringValue: aws.String("x")}}
		}), "InvalidParameterValue"},
		{"attribute without a value", body("jobs", "x", func(in *sqs.SendMessageInput) {
			in.MessageAttributes = map[string]types.MessageAttributeValue{"a": {DataType: aws.String("String"), StringValue: aws.String("")}}
		}), "InvalidParameterValue"},
		{"deduplication in a standard queue", body("jobs", "x", func(in *sqs.SendMessageInput) { in.MessageDeduplicationId = aws.String("d") }), "InvalidParameterValue"},
		{"denied", body("forbidden", "x"), "AccessDenied"},

		{"FIFO without a group", body("orders.fifo", "x"), "MissingParameter"},
		{"FIFO without deduplication", body("orders.fifo", "x", group("g", "")), "InvalidParameterValue"},
		{"FIFO by content", body("content.fifo", "same", group("g", "")), "sent"},
		{"FIFO by content again", body("content.fifo", "same", group("g", "")), "sent"},
		{"FIFO by content, one", receive("content.fifo", 10, 0), "[same1]"},
		{"FIFO", body("orders.fifo", "f1", group("g", "1")), "sent"},
		{"FIFO second", body("orders.fifo", "f2", group("g", "2")), "sent"},
		{"FIFO other group", body("orders.fifo", "o1", group("h", "3")), "sent"},
		{"FIFO duplicate", body("orders.fifo", "f1 again", group("g", "1")), "sent"},
		{"FIFO first", receive("orders.fifo", 1, 0), "[f11]"},
		{"FIFO the others wait for it", receive("orders.fifo", 10, 0), "[o11]"},
		{"FIFO comes again", hide("f1", 0), "hidden"},
		{"FIFO in order", receive("orders.fifo", 10, 0), "[f12 f21]"},

		{"address", func(ctx context.Context) (any, error) {
			out, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("jobs")})
			if err != nil {
				return nil, err
			}
			return strings.TrimPrefix(*out.QueueUrl, g.URL()), nil
		}, "/000000000000/jobs"},
		{"no address", func(ctx context.Context) (any, error) {
			return c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("none")})
		}, "AWS.SimpleQueueService.NonExistentQueue"},
		{"attributes", attributes("orders.fifo"), "map[ApproximateNumberOfMessages:0 ApproximateNumberOfMessagesDelayed:0 ApproximateNumberOfMessagesNotVisible:3 ContentBasedDeduplication:false DelaySeconds:0 FifoQueue:true MaximumMessageSize:1048576 MessageRetentionPeriod:345600 QueueArn:arn:aws:sqs:us-east-1:000000000000:orders.fifo ReceiveMessageWaitTimeSeconds:0 VisibilityTimeout:30]"},
		{"sources of dead letters", func(ctx context.Context) (any, error) {
			out, err := c.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: at("dead")})
			if err != nil {
				return nil, err
			}
			return len(out.QueueUrls), nil
		}, "1"},
		{"pages of queues", func(ctx context.Context) (any, error) {
			var all []string
			pages := sqs.NewListQueuesPaginator(c, &sqs.ListQueuesInput{MaxResults: aws.Int32(2), QueueNamePrefix: aws.String("")})
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				all = append(all, fmt.Sprint(len(page.QueueUrls)))
			}
			return all, nil
		}, "[2 2 2]"},
		{"purge", func(ctx context.Context) (any, error) {
			_, err := c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: at("jobs")})
			return "purged", err
		}, "purged"},
		{"purge again", func(ctx context.Context) (any, error) {
			return c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: at("jobs")})
		}, "AWS.SimpleQueueService.PurgeQueueInProgress"},
		{"purged", receive("jobs", 10, 0), "[]"},
		{"not here", func(ctx context.Context) (any, error) {
			return c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("x")})
		}, "NotImplemented"},
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v: long polling waits for nothing", took)
	}
	if !slices.ContainsFunc(*g.said, func(text string) bool {
		return strings.HasPrefix(text, "SQS CreateQueue is not in the local cloud (called by work/Run): it was answered 501")
	}) {
		t.Errorf("said %q", *g.said)
	}
	// The client checks the MD5 of bodies and attributes itself.
	_, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: at("jobs"), MessageBody: aws.String("ä"), MessageAttributes: map[string]types.MessageAttributeValue{
		"s": {DataType: aws.String("String.kind"), StringValue: aws.String("text")}, "n": {DataType: aws.String("Number"), StringValue: aws.String("1.5")}, "b": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 255}}}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: at("jobs"), MessageAttributeNames: []string{"s", "b.*"}})
	if err != nil || len(out.Messages) != 1 {
		t.Fatal(out, err)
	}
	if got := slices.Sorted(maps.Keys(out.Messages[0].MessageAttributes)); fmt.Sprint(got) != "[b s]" {
		t.Errorf("attributes %v", got)
	}
}

// TestSQSQuery speaks the older protocol, as SDKs before 2023 do.
func TestSQSQuery(t *testing.T) {
	g := newGround(t)
	ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}(\.\d+)?`)
	ask := func(form url.Values) string {
		t.Helper()
		form.Set("Version", "2012-11-05")
		req, _ := http.NewRequest("POST", g.URL()+"/000000000000/jobs", strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=SSTLRUN/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
		if form.Get("QueueUrl") == "" {
			form.Set("QueueUrl", g.URL()+"/000000000000/jobs")
			req.Body = io.NopCloser(strings.NewReader(form.Encode()))
			req.ContentLength = int64(len(form.Encode()))
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		data, _ := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", ids.ReplaceAllString(string(data), "ID"))
	}
	for _, test := range []struct{ form, want string }{
		{"Action=SendMessage&MessageBody=a%26b&MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v",
			`200 <SendMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><SendMessageResult><MD5OfMessageAttributes>f4b238699da710fd012839c16c09f1ca</MD5OfMessageAttributes><MD5OfMessageBody>b96e7bda9c9feee3259b177bd456b0a5</MD5OfMessageBody><MessageId>ID</MessageId></SendMessageResult>`},
		{"Action=ReceiveMessage&MessageAttributeName.1=All&AttributeName.1=ApproximateReceiveCount",
			`<Message><Attribute><Name>ApproximateReceiveCount</Name><Value>1</Value></Attribute><Body>a&amp;b</Body><MD5OfBody>b96e7bda9c9feee3259b177bd456b0a5</MD5OfBody><MD5OfMessageAttributes>f4b238699da710fd012839c16c09f1ca</MD5OfMessageAttributes><MessageAttribute><Name>n</Name><Value><DataType>String</DataType><StringValue>v</StringValue></Value></MessageAttribute><MessageId>ID</MessageId><ReceiptHandle>ID</ReceiptHandle></Message>`},
		{"Action=SendMessageBatch&SendMessageBatchRequestEntry.1.Id=one&SendMessageBatchRequestEntry.1.MessageBody=x&SendMessageBatchRequestEntry.2.Id=two&SendMessageBatchRequestEntry.2.MessageBody=%01",
			`<SenderFault>true</SenderFault></BatchResultErrorEntry><SendMessageBatchResultEntry><Id>one</Id>`},
		{"Action=GetQueueAttributes&AttributeName.1=VisibilityTimeout", `<GetQueueAttributesResult><Attribute><Name>VisibilityTimeout</Name><Value>30</Value></Attribute></GetQueueAttributesResult>`},
		{"Action=SendMessage&MessageBody=x&QueueUrl=http%3A%2F%2Fx%2F000000000000%2Fnone", `400 <ErrorResponse><Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>`},
		{"Action=DeleteMessage&ReceiptHandle=nonsense", `400 <ErrorResponse><Error><Type>Sender</Type><Code>ReceiptHandleIsInvalid</Code>`},
		{"Action=CreateQueue&QueueName=x", `501 <ErrorResponse><Error><Type>Receiver</Type><Code>NotImplemented</Code><Message>SQS CreateQueue is not in the local cloud`},
	} {
		form, _ := url.ParseQuery(test.form)
		if got := ask(form); !strings.Contains(got, test.want) {
			t.Errorf("%s = %s, want %s", test.form, got, test.want)
		}
	}
}
