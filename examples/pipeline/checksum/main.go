// Command checksum writes the SHA-256 of each uploaded file beside the other reports.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// worker is what stays from one invocation to the next.
type worker struct {
	client  *s3.Client
	reports string // bucket
}

func main() {
	settings, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	var reports struct{ Name string }
	if err := json.Unmarshal([]byte(os.Getenv("SST_RESOURCE_Reports")), &reports); err != nil {
		log.Fatalf("the bucket Reports is not linked: %v", err)
	}
	w := &worker{client: s3.NewFromConfig(settings), reports: reports.Name}
	lambda.Start(w.handle)
}

// handle answers with the messages that failed, so that only those come again.
func (w *worker) handle(ctx context.Context, batch events.SQSEvent) (events.SQSEventResponse, error) {
	var answer events.SQSEventResponse
	for _, message := range batch.Records {
		if err := w.message(ctx, message.Body); err != nil {
			log.Printf("message %s: %v", message.MessageId, err)
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.MessageId})
		}
	}
	return answer, nil
}

func (w *worker) message(ctx context.Context, body string) error {
	var event events.S3Event // without Records it is the test message that S3 sends when a notification is set up
	if err := json.Unmarshal([]byte(body), &event); err != nil {
		return err
	}
	for _, record := range event.Records {
		key, err := url.QueryUnescape(record.S3.Object.Key)
		if err != nil {
			return err
		}
		if err := w.file(ctx, record.S3.Bucket.Name, key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func (w *worker) file(ctx context.Context, bucket, key string) error {
	object, err := w.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer object.Body.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, object.Body)
	if err != nil {
		return err
	}
	name := "checksums/" + key + ".sha256"
	text := strings.NewReader(fmt.Sprintf("%s  %s\n", hex.EncodeToString(sum.Sum(nil)), key))
	if _, err := w.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.reports, Key: &name, Body: text}); err != nil {
		return err
	}
	log.Printf("%s: %d bytes", key, size)
	return nil
}
