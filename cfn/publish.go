package cfn

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"
)

// This file uploads assets. An asset's name is its content, so what lies there already is right.

// uploads is how many assets are on their way at once.
const uploads = 8

// publisher publishes each asset once, whichever stacks want it.
type publisher struct {
	env    *environments
	report func(Progress)
	docker string // the program that makes container images
	slots  chan struct{}

	mu   sync.Mutex
	done map[string]*publication // by bucket and key
}

type publication struct {
	once sync.Once
	err  error
}

func newPublisher(env *environments, report func(Progress), docker string) *publisher {
	return &publisher{env: env, report: report, docker: cmp.Or(docker, "docker"), slots: make(chan struct{}, uploads), done: map[string]*publication{}}
}

// publish brings all assets of a stack to where its template expects them.
func (p *publisher) publish(ctx context.Context, s *Stack) error {
	return p.some(ctx, s, func(string) bool { return true })
}

// some publishes those of its files whose object keys are wanted.
func (p *publisher) some(ctx context.Context, s *Stack, wanted func(key string) bool) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, asset := range s.Assets {
		region := p.env.region(s)
		if asset.Region != "" {
			region = p.env.fill(asset.Region, region)
		}
		bucket, key := p.env.fill(asset.Bucket, region), p.env.fill(asset.ObjectKey, region)
		if asset.Image != nil {
			bucket, key = region+"/"+asset.Image.Repository, asset.Image.Tag
		}
		if !wanted(key) {
			continue
		}
		p.mu.Lock()
		one := p.done[bucket+"/"+key]
		if one == nil {
			one = &publication{}
			p.done[bucket+"/"+key] = one
		}
		p.mu.Unlock()
		group.Go(func() error {
			one.once.Do(func() {
				p.slots <- struct{}{}
				defer func() { <-p.slots }()
				if asset.Image != nil {
					one.err = p.image(ctx, s, asset, region)
				} else {
					one.err = p.upload(ctx, s, asset, bucket, key, region)
				}
			})
			return one.err
		})
	}
	return group.Wait()
}

// template publishes a stack's template to the bucket of the bootstrap and gives its address as the CDK writes it.
func (p *publisher) template(ctx context.Context, s *Stack) (string, error) {
	region, file := p.env.region(s), filepath.Join(s.Dir, s.TemplateFile)
	body, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	bucket := p.env.fill("cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}", region)
	key := fmt.Sprintf("%x.json", sha256.Sum256(body))
	asset := Asset{Path: file, Packaging: "file", AssumeRoleArn: "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-hnb659fds-file-publishing-role-${AWS::AccountId}-${AWS::Region}"}
	return "s3://" + bucket + "/" + key, p.upload(ctx, s, asset, bucket, key, region)
}

func (p *publisher) upload(ctx context.Context, s *Stack, asset Asset, bucket, key, region string) error {
	wrap := func(err error) error {
		return fmt.Errorf("publish %s to %s: %w", filepath.Base(asset.Path), bucket, err)
	}
	client, err := p.env.s3(ctx, asset.AssumeRoleArn, region)
	if err != nil {
		return wrap(err)
	}
	// A listing, not HeadObject: the answer to a HEAD has no body that says what is wrong.
	out, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &key, MaxKeys: aws.Int32(1), ExpectedBucketOwner: &p.env.account})
	if err != nil {
		return wrap(err)
	}
	if len(out.Contents) > 0 && aws.ToString(out.Contents[0].Key) == key {
		return nil
	}
	data, size, err := openContent(asset)
	if err != nil {
		return wrap(err)
	}
	defer data.Close()
	tell := func(status string, done int64) {
		p.report(Progress{Stack: s, Kind: ProgressAsset, Status: status, Path: filepath.Base(asset.Path), Done: done, Total: size})
	}
	tell("PUBLISHING", 0)
	o := &sending{client: client, bucket: bucket, key: key, owner: p.env.account, data: data, size: size}
	o.sent.tell = func(done int64) { tell("PUBLISHING", done) }
	if err := o.send(ctx); err != nil {
		return wrap(err)
	}
	tell("PUBLISHED", size)
	return nil
}

// content is what an asset consists of.
type content interface {
	io.ReaderAt
	io.Closer
}

type packed struct{ *bytes.Reader }

func (packed) Close() error { return nil }

// openContent gives the bytes that are published for an asset.
func openContent(asset Asset) (content, int64, error) {
	if asset.Packaging == "zip" {
		data, err := zipFolder(asset.Path)
		return packed{bytes.NewReader(data)}, int64(len(data)), err
	}
	file, err := os.Open(asset.Path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// zipFolder packs a folder, links followed, the same bytes for the same content.
func zipFolder(dir string) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	var add func(dir, name string) error
	add = func(dir, name string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			from, to := filepath.Join(dir, entry.Name()), path.Join(name, entry.Name())
			info, err := os.Stat(from)
			if err != nil {
				return err
			}
			if info.IsDir() {
				if err := add(from, to); err != nil {
					return err
				}
				continue
			}
			data, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			header := &zip.FileHeader{Name: to, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
			header.SetMode(0o644 | info.Mode()&0o111)
			target, err := w.CreateHeader(header)
			if err != nil {
				return err
			}
			if _, err := target.Write(data); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(dir, ""); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}
