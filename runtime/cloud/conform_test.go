package cloud

// What the AWS SDK for Go, unmodified, gets from the local cloud: each row is a call, and its answer as AWS documents it.

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"

	"sst/runtime/queues"
)

// wire stands for the network: it has queues, and keeps what is delivered.
type wire struct {
	queues map[string]*queues.Queue

	mu        sync.Mutex
	delivered []string
}

func (w *wire) Queue(source string) *queues.Queue { return w.queues[source] }

func (w *wire) Deliver(source string, m queues.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delivered = append(w.delivered, source+" "+string(m.Body))
}

func (w *wire) Wake(source string) { w.Deliver(source, queues.Message{Body: []byte("woken")}) }

func (w *wire) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.delivered)
}

const account, region = "000000000000", "us-east-1"

func about(kind, name string, properties map[string]any) Resource {
	service, resource := map[string]string{typeQueue: "sqs", typeTopic: "sns", typeBucket: "s3", typeStream: "kinesis", typeSecret: "secretsmanager", typeParameter: "ssm",
		typeSubscription: "sns", "AWS::Events::EventBus": "events"}[kind], name
	switch kind {
	case typeStream:
		resource = "stream/" + name
	case typeSecret:
		resource = "secret:" + name + "-AbCdEf"
	case typeSubscription:
		resource = "news:" + name
	}
	arn := fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, region, account, resource)
	if kind == typeBucket {
		arn = "arn:aws:s3:::" + name
	}
	return Resource{Type: kind, ID: "work/" + name, Source: "work/" + name, Name: name, ARN: arn, Properties: properties}
}

// ground is a cloud with one of each, and settings of a function that may use them all.
type ground struct {
	*Cloud
	wire *wire
	said *[]string
	aws  aws.Config
}

func newGround(t testing.TB) *ground {
	t.Helper()
	w := &wire{queues: map[string]*queues.Queue{}}
	var mu sync.Mutex
	said := &[]string{}
	c, err := Open(Options{Dir: t.TempDir(), Network: w, Lambda: http.NotFoundHandler(), Say: func(text string) {
		mu.Lock()
		defer mu.Unlock()
		*said = append(*said, text)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	dead := about(typeQueue, "dead", nil)
	resources := []Resource{
		about(typeQueue, "jobs", map[string]any{"RedrivePolicy": map[string]any{"deadLetterTargetArn": dead.ARN, "maxReceiveCount": 2}}), dead,
		about(typeQueue, "small", map[string]any{"MaximumMessageSize": 1024}),
		about(typeQueue, "orders.fifo", map[string]any{"FifoQueue": true}),
		about(typeQueue, "content.fifo", map[string]any{"FifoQueue": true, "ContentBasedDeduplication": true}),
		about(typeQueue, "forbidden", nil),
		about(typeTopic, "news", nil), about(typeTopic, "news.fifo", map[string]any{"FifoTopic": true}),
		about(typeSubscription, "1", map[string]any{"TopicArn": "arn:aws:sns:us-east-1:000000000000:news", "Protocol": "sqs", "Endpoint": dead.ARN}),
		about("AWS::Events::EventBus", "bus", nil),
		about(typeParameter, "/shop/plan", map[string]any{"Type": "String", "Value": "gold"}), about(typeParameter, "/shop/eu/plan", map[string]any{"Type": "StringList", "Value": "a,b"}),
		about(typeSecret, "key", map[string]any{"GenerateSecretString": map[string]any{"PasswordLength": 20, "ExcludePunctuation": true}}), about(typeSecret, "empty", nil),
		about(typeStream, "clicks", nil),
		about(typeBucket, "files", nil), about(typeBucket, "copies", nil),
	}
	for _, r := range resources {
		if r.Type != typeQueue {
			continue
		}
		opts := queues.QueueOptions{FIFO: strings.HasSuffix(r.Name, ".fifo"), Journal: c.Journal(r.Source)}
		if r.Name == "jobs" {
			opts.MaxReceive, opts.DeadLetter = 2, func(m queues.Message) { w.queues["work/dead"].Send(m, 0) }
		}
		w.queues[r.Source] = queues.NewQueue(opts)
	}
	statement := func(effect, action, resource string) map[string]any {
		return map[string]any{"Effect": effect, "Action": action, "Resource": resource}
	}
	role := Policy{Document: map[string]any{"Statement": []any{statement("Allow", "*", "*"), statement("Deny", "sqs:*", "arn:aws:sqs:us-east-1:000000000000:forbidden"), statement("Deny", "s3:*", "arn:aws:s3:::files/forbidden*")}}}
	if err := c.Update(&App{Region: region, Account: account, Resources: resources, Callers: []Caller{{ID: "work/Run", Name: "run", Key: "SSTLRUN", Secret: "secret", Role: "role", Policies: []Policy{role}}}}); err != nil {
		t.Fatal(err)
	}
	return &ground{c, w, said, aws.Config{Region: region, BaseEndpoint: aws.String(c.URL()), Credentials: credentials.NewStaticCredentialsProvider("SSTLRUN", "secret", ""),
		RetryMaxAttempts: 1, HTTPClient: &http.Client{Timeout: 30 * time.Second}}}
}

// code is the error's code as code of an app sees it, "" when there is none.
func code(err error) string {
	var e smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.ErrorCode()
	}
	return err.Error()
}

// row is one call: what it gives as text, or the code of its error.
type row struct {
	name string
	call func(ctx context.Context) (any, error)
	want string
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		got, err := r.call(t.Context())
		text := fmt.Sprint(got)
		if err != nil {
			text = code(err)
		}
		if text != r.want {
			t.Errorf("%s = %.500s, want %s (%v)", r.name, text, r.want, err)
		}
	}
}

func TestMain(m *testing.M) {
	for _, name := range []string{"AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_CA_BUNDLE"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
