package cfn

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

// This file sends large objects in parts. What an interrupted run has sent already is not sent again: a key is named after its
// content, so an unfinished upload of the same key is one of the same bytes, and each part is checked by its checksum all the same.

const (
	partBytes   = 8 << 20
	partUploads = 4 // parts of one object under way at once
)

// sending is what is sent, and where to.
type sending struct {
	client             *s3.Client
	bucket, key, owner string
	data               io.ReaderAt
	size               int64
	sent               sent
}

// sent counts what was read of an object to be sent, by parts: one that is read again counts anew.
type sent struct {
	tell func(done int64) // may be nil

	mu    sync.Mutex // guards all below
	parts map[int32]int64
	told  time.Time
}

// toldEvery is how often it is told at most.
const toldEvery = 100 * time.Millisecond

func (s *sent) set(part int32, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		s.parts = map[int32]int64{}
	}
	s.parts[part] = bytes
	if now := time.Now(); s.tell != nil && now.Sub(s.told) >= toldEvery {
		s.told = now
		done := int64(0)
		for _, n := range s.parts {
			done += n
		}
		s.tell(done)
	}
}

// counted is the body of one part.
type counted struct {
	*io.SectionReader
	part int32
	sent *sent
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.SectionReader.Read(p)
	at, _ := c.SectionReader.Seek(0, io.SeekCurrent)
	c.sent.set(c.part, at)
	return n, err
}

func (o *sending) body(part int32, from, length int64) io.ReadSeeker {
	return &counted{io.NewSectionReader(o.data, from, length), part, &o.sent}
}

func (o *sending) send(ctx context.Context) error {
	if o.size <= partBytes {
		_, err := o.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.bucket, Key: &o.key, Body: o.body(1, 0, o.size),
			ContentLength: &o.size, ExpectedBucketOwner: &o.owner})
		return err
	}
	err := o.sendParts(ctx, true)
	if code(err) == "NoSuchUpload" { // somebody else completed or dropped the one that was taken up
		err = o.sendParts(ctx, false)
	}
	return err
}

// sendParts takes up an earlier upload or begins one. When it fails the upload is left for the next run; the bucket's own rule
// clears away what nobody comes back for.
func (o *sending) sendParts(ctx context.Context, resume bool) error {
	id, have := "", map[int32]types.Part{}
	if resume {
		id, have = o.unfinished(ctx)
	}
	if id == "" {
		made, err := o.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &o.bucket, Key: &o.key,
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc32, ExpectedBucketOwner: &o.owner})
		if err != nil {
			return err
		}
		id = aws.ToString(made.UploadId)
	}
	parts := make([]types.CompletedPart, (o.size+partBytes-1)/partBytes)
	group, sending := errgroup.WithContext(ctx)
	group.SetLimit(partUploads)
	for i := range parts {
		group.Go(func() (err error) {
			parts[i], err = o.part(sending, id, int32(i+1), have)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	_, err := o.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &o.bucket, Key: &o.key, UploadId: &id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}, ExpectedBucketOwner: &o.owner})
	return err
}

// part sends one part, numbered from 1, unless it is there.
func (o *sending) part(ctx context.Context, upload string, number int32, have map[int32]types.Part) (types.CompletedPart, error) {
	from := int64(number-1) * partBytes
	length := min(partBytes, o.size-from)
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(o.data, from, length)); err != nil {
		return types.CompletedPart{}, err
	}
	checksum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	if p, ok := have[number]; ok && aws.ToInt64(p.Size) == length && aws.ToString(p.ChecksumCRC32) == checksum {
		o.sent.set(number, length)
		return types.CompletedPart{PartNumber: &number, ETag: p.ETag, ChecksumCRC32: &checksum}, nil
	}
	out, err := o.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &o.bucket, Key: &o.key, UploadId: &upload, PartNumber: &number,
		Body: o.body(number, from, length), ContentLength: &length, ChecksumCRC32: &checksum, ExpectedBucketOwner: &o.owner})
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumCRC32: &checksum}, nil
}

// unfinished finds the latest upload of the key and its parts; "" when there is none, or none that may be looked at.
func (o *sending) unfinished(ctx context.Context) (string, map[int32]types.Part) {
	out, err := o.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &o.bucket, Prefix: &o.key, ExpectedBucketOwner: &o.owner})
	if err != nil {
		return "", nil
	}
	uploads := slices.DeleteFunc(out.Uploads, func(u types.MultipartUpload) bool { return aws.ToString(u.Key) != o.key })
	if len(uploads) == 0 {
		return "", nil
	}
	id := slices.MaxFunc(uploads, func(a, b types.MultipartUpload) int {
		return cmp.Compare(aws.ToTime(a.Initiated).UnixNano(), aws.ToTime(b.Initiated).UnixNano())
	}).UploadId
	parts := map[int32]types.Part{}
	pages := s3.NewListPartsPaginator(o.client, &s3.ListPartsInput{Bucket: &o.bucket, Key: &o.key, UploadId: id, ExpectedBucketOwner: &o.owner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", nil
		}
		for _, p := range page.Parts {
			parts[aws.ToInt32(p.PartNumber)] = p
		}
	}
	return aws.ToString(id), parts
}
