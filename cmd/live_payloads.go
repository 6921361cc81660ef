package cmd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"sst/cfn"
	"sst/proxy"
)

// payloadBucket is the bucket of the debug stack. Functions have no permission for it: they get addresses that are signed
// here, each for one object and a while.
type payloadBucket struct {
	client *s3.Client
	signer *s3.PresignClient
	name   string
}

var _ proxy.Payloads = (*payloadBucket)(nil)

// How long addresses are good: one to write waits for an invocation that needs it, one to read is read at once.
const (
	putTime = 12 * time.Hour
	getTime = 15 * time.Minute
)

func openPayloadBucket(config aws.Config, name string) *payloadBucket {
	client := s3.NewFromConfig(config, func(o *s3.Options) {
		o.UsePathStyle = config.BaseEndpoint != nil
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // a signed address covers no checksum
	})
	return &payloadBucket{client: client, signer: s3.NewPresignClient(client), name: name}
}

func newPayloadKey() *string {
	id := make([]byte, 16)
	rand.Read(id)
	return aws.String("payloads/" + hex.EncodeToString(id))
}

// Offer is that of proxy.Payloads.
func (b *payloadBucket) Offer(ctx context.Context) (key, put string, err error) {
	name := newPayloadKey()
	signed, err := b.signer.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: name}, s3.WithPresignExpires(putTime))
	if err != nil {
		return "", "", err
	}
	return *name, signed.URL, nil
}

// Fetch is that of proxy.Payloads.
func (b *payloadBucket) Fetch(ctx context.Context, key string) ([]byte, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, err
	}
	b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key}) // else it expires with the others
	return body, nil
}

// Store is that of proxy.Payloads.
func (b *payloadBucket) Store(ctx context.Context, body []byte) (get string, err error) {
	key := newPayloadKey()
	if _, err := b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: key, Body: bytes.NewReader(body)}); err != nil {
		return "", err
	}
	signed, err := b.signer.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: key}, s3.WithPresignExpires(getTime))
	if err != nil {
		return "", err
	}
	return signed.URL, nil
}

// empty takes everything away, so that the bucket can be deleted.
func (b *payloadBucket) empty(ctx context.Context) error {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: aws.String("payloads/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if _, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: o.Key}); err != nil {
				return err
			}
		}
	}
	return nil
}

// emptyPayloads empties the payload bucket of a stage that was live.
func emptyPayloads(ctx context.Context, config aws.Config, asm *cfn.Assembly) error {
	stack := asm.Stack(debugStackName(asm.Manifest))
	if stack == nil {
		return nil
	}
	d := &cfn.Deployer{Config: config, Assembly: asm}
	states, _, err := d.Status(ctx, []*cfn.Stack{stack}, false)
	if err != nil {
		return err
	}
	for _, state := range states {
		if bucket := state.Outputs["bucket"]; bucket != "" {
			return openPayloadBucket(config, bucket).empty(ctx)
		}
	}
	return nil
}
