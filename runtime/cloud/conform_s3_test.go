package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestS3(t *testing.T) {
	g := newGround(t)
	c := s3.NewFromConfig(g.aws, func(o *s3.Options) { o.UsePathStyle = true })
	files, copies := aws.String("files"), aws.String("copies")
	put := func(key, body string, more ...func(*s3.PutObjectInput)) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			in := &s3.PutObjectInput{Bucket: files, Key: &key, Body: strings.NewReader(body)}
			for _, m := range more {
				m(in)
			}
			out, err := c.PutObject(ctx, in)
			if err != nil {
				return nil, err
			}
			return *out.ETag, nil
		}
	}
	get := func(key string, more ...func(*s3.GetObjectInput)) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			in := &s3.GetObjectInput{Bucket: files, Key: &key}
			for _, m := range more {
				m(in)
			}
			out, err := c.GetObject(ctx, in)
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(out.Body)
			return fmt.Sprint(string(data), " ", aws.ToString(out.ContentType), " ", aws.ToString(out.CacheControl), " ", out.Metadata, " ", aws.ToString(out.ContentRange)), err
		}
	}
	list := func(in s3.ListObjectsV2Input) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			var all []string
			in.Bucket = files
			pages := s3.NewListObjectsV2Paginator(c, &in)
			for pages.HasMorePages() {
				page, err := pages.NextPage(ctx)
				if err != nil {
					return nil, err
				}
				for _, o := range page.Contents {
					all = append(all, *o.Key)
				}
				for _, p := range page.CommonPrefixes {
					all = append(all, *p.Prefix)
				}
				all = append(all, "|")
			}
			return all, nil
		}
	}
	const hello = `"5d41402abc4b2a76b9719d911017c592"`
	var upload string
	etags := map[int32]string{}
	begin := func(ctx context.Context) (any, error) {
		out, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: files, Key: aws.String("big"), ContentType: aws.String("text/plain")})
		if err == nil {
			upload = *out.UploadId
		}
		return "begun", err
	}
	part := func(n int32, size int) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			out, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: files, Key: aws.String("big"), UploadId: &upload, PartNumber: &n, Body: bytes.NewReader(bytes.Repeat([]byte("x"), size))})
			if err != nil {
				return nil, err
			}
			etags[n] = *out.ETag
			return "part", nil
		}
	}
	complete := func(numbers ...int32) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			var parts []types.CompletedPart
			for _, n := range numbers {
				parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: aws.String(etags[n])})
			}
			out, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: files, Key: aws.String("big"), UploadId: &upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
			if err != nil {
				return nil, err
			}
			return *out.ETag, nil
		}
	}
	head := func(key string, more ...func(*s3.HeadObjectInput)) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			in := &s3.HeadObjectInput{Bucket: files, Key: &key}
			for _, m := range more {
				m(in)
			}
			out, err := c.HeadObject(ctx, in)
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(*out.ETag, " ", *out.ContentLength, " ", *out.ContentType), nil
		}
	}
	copied := func(from, to string, more ...func(*s3.CopyObjectInput)) func(ctx context.Context) (any, error) {
		return func(ctx context.Context) (any, error) {
			in := &s3.CopyObjectInput{Bucket: files, Key: &to, CopySource: &from}
			for _, m := range more {
				m(in)
			}
			out, err := c.CopyObject(ctx, in)
			if err != nil {
				return nil, err
			}
			return *out.CopyObjectResult.ETag, nil
		}
	}
	check(t, []row{
		{"put", put("a/hello", "hello", func(in *s3.PutObjectInput) {
			in.ContentType, in.CacheControl, in.Metadata = aws.String("text/plain"), aws.String("max-age=5"), map[string]string{"who": "me"}
		}), hello},
		{"get", get("a/hello"), "hello text/plain max-age=5 map[who:me] "},
		{"range", get("a/hello", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=1-3") }), "ell text/plain max-age=5 map[who:me] bytes 1-3/5"},
		{"the end", get("a/hello", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=-2") }), "lo text/plain max-age=5 map[who:me] bytes 3-4/5"},
		{"no such range", get("a/hello", func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=9-") }), "InvalidRange"},
		{"if it is", get("a/hello", func(in *s3.GetObjectInput) { in.IfMatch = aws.String(hello) }), "hello text/plain max-age=5 map[who:me] "},
		{"if it is another", get("a/hello", func(in *s3.GetObjectInput) { in.IfMatch = aws.String(`"x"`) }), "PreconditionFailed"},
		{"if it is not", get("a/hello", func(in *s3.GetObjectInput) { in.IfNoneMatch = aws.String(hello) }), "NotModified"},
		{"if it changed", get("a/hello", func(in *s3.GetObjectInput) { in.IfModifiedSince = aws.Time(time.Now().Add(time.Hour)) }), "NotModified"},
		{"if it did not change", get("a/hello", func(in *s3.GetObjectInput) { in.IfUnmodifiedSince = aws.Time(time.Unix(0, 0)) }), "PreconditionFailed"},
		{"missing", get("none"), "NoSuchKey"},
		{"no bucket", func(ctx context.Context) (any, error) {
			return c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("none"), Key: aws.String("k")})
		}, "NoSuchBucket"},
		{"denied", get("forbidden/x"), "AccessDenied"},
		{"put if there is none", put("a/hello", "x", func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }), "PreconditionFailed"},
		{"put if it is that", put("a/hello", "hello", func(in *s3.PutObjectInput) {
			in.IfMatch, in.ContentType, in.CacheControl, in.Metadata = aws.String(hello), aws.String("text/plain"), aws.String("max-age=5"), map[string]string{"who": "me"}
		}), hello},
		{"put if it is another", put("a/hello", "x", func(in *s3.PutObjectInput) { in.IfMatch = aws.String(`"x"`) }), "PreconditionFailed"},
		{"key too long", put(strings.Repeat("k", 1025), "x"), "KeyTooLongError"},

		{"begin", begin, "begun"},
		{"part", part(1, 5<<20), "part"},
		{"part", part(2, 3), "part"},
		{"part again", part(2, 10), "part"},
		{"part from an object", func(ctx context.Context) (any, error) {
			out, err := c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: files, Key: aws.String("big"), UploadId: &upload, PartNumber: aws.Int32(3), CopySource: aws.String("files/a/hello"), CopySourceRange: aws.String("bytes=1-4")})
			if err != nil {
				return nil, err
			}
			etags[3] = *out.CopyPartResult.ETag
			return etags[3], nil
		}, `"9ecb0b2f7994a8a3a2919212f764b81a"`},
		{"parts", func(ctx context.Context) (any, error) {
			out, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: files, Key: aws.String("big"), UploadId: &upload})
			if err != nil {
				return nil, err
			}
			var all []int64
			for _, p := range out.Parts {
				all = append(all, *p.Size)
			}
			return all, nil
		}, "[5242880 10 4]"},
		{"uploads", func(ctx context.Context) (any, error) {
			out, err := c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: files})
			if err != nil {
				return nil, err
			}
			return len(out.Uploads), nil
		}, "1"},
		{"too small", complete(1, 2, 3), "EntityTooSmall"},
		{"wrong order", complete(3, 1), "InvalidPartOrder"},
		{"not uploaded", complete(1, 4), "InvalidPart"},
		{"not there yet", head("big"), "NotFound"},
		{"complete", complete(1, 3), `"0cd58fef177c084ae635b7bc871b2f9c-2"`},
		{"it is over", complete(1, 3), "NoSuchUpload"},
		{"the object", head("big"), `"0cd58fef177c084ae635b7bc871b2f9c-2" 5242884 text/plain`},
		{"if it is not", head("big", func(in *s3.HeadObjectInput) { in.IfNoneMatch = aws.String(`"0cd58fef177c084ae635b7bc871b2f9c-2"`) }), "NotModified"},
		{"begin another", begin, "begun"},
		{"abort", func(ctx context.Context) (any, error) {
			_, err := c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: files, Key: aws.String("big"), UploadId: &upload})
			return "aborted", err
		}, "aborted"},
		{"part of none", part(1, 3), "NoSuchUpload"},

		{"copy", copied("files/a/hello", "b/copy"), hello},
		{"the copy", get("b/copy"), "hello text/plain max-age=5 map[who:me] "},
		{"copy to itself", copied("files/a/hello", "a/hello"), "InvalidRequest"},
		{"copy nothing", copied("files/none", "b/copy"), "NoSuchKey"},
		{"list", list(s3.ListObjectsV2Input{}), "[a/hello b/copy big |]"},
		{"list, folders", list(s3.ListObjectsV2Input{Delimiter: aws.String("/")}), "[big a/ b/ |]"},
		{"list, prefix", list(s3.ListObjectsV2Input{Prefix: aws.String("b"), Delimiter: aws.String("/")}), "[big b/ |]"},
		{"list, pages", list(s3.ListObjectsV2Input{MaxKeys: aws.Int32(1)}), "[a/hello | b/copy | big |]"},
		{"list, after", list(s3.ListObjectsV2Input{StartAfter: aws.String("a/hello")}), "[b/copy big |]"},
		{"list, version 1", func(ctx context.Context) (any, error) {
			out, err := c.ListObjects(ctx, &s3.ListObjectsInput{Bucket: files, MaxKeys: aws.Int32(1), Delimiter: aws.String("/")})
			if err != nil {
				return nil, err
			}
			return fmt.Sprint(*out.IsTruncated, " ", *out.CommonPrefixes[0].Prefix), nil
		}, "true a/"},
		{"delete", func(ctx context.Context) (any, error) {
			_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: files, Key: aws.String("none")})
			return "deleted", err
		}, "deleted"},
		{"delete several", func(ctx context.Context) (any, error) {
			out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: files, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("big")}, {Key: aws.String("b/copy")}}}})
			if err != nil {
				return nil, err
			}
			return len(out.Deleted), nil
		}, "2"},
		{"the rest", list(s3.ListObjectsV2Input{}), "[a/hello |]"},
		{"head of a bucket", func(ctx context.Context) (any, error) {
			_, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: copies})
			return "there", err
		}, "there"},
		{"not here", func(ctx context.Context) (any, error) {
			return c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: files, Key: aws.String("a/hello")})
		}, "NotImplemented"},
	})
	// An error that the library does not name is still the client's: the SDKs would try again.
	if _, err := begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	part(1, 3)(t.Context())
	part(2, 3)(t.Context())
	_, err := complete(1, 2)(t.Context())
	var answer interface{ HTTPStatusCode() int }
	if !errors.As(err, &answer) || answer.HTTPStatusCode() != 400 || code(err) != "EntityTooSmall" {
		t.Errorf("parts too small: %v", err)
	}
	// Presigned addresses work without credentials, for what they were made for.
	sign := s3.NewPresignClient(c)
	get1, err := sign.PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: files, Key: aws.String("a/hello")})
	if err != nil {
		t.Fatal(err)
	}
	put1, err := sign.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: files, Key: aws.String("page")})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, url, origin string
		want                int
	}{
		{"GET", get1.URL, "", 200}, {"GET", get1.URL, "https://shop.example", 200}, {"PUT", put1.URL, "https://shop.example", 200}, {"PUT", get1.URL, "", 403},
		{"GET", strings.Replace(get1.URL, "/a/hello?", "/page?", 1), "", 403}, {"GET", g.URL() + "/files/a/hello", "https://shop.example", 403},
		{"GET", strings.Replace(get1.URL, "SSTLRUN", "SSTLOLD", 1), "", 403},
	} {
		req, _ := http.NewRequest(test.method, test.url, strings.NewReader("x"))
		if test.method == "GET" {
			req.Body = http.NoBody
		}
		if test.origin != "" {
			req.Header.Set("Origin", test.origin)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != test.want {
			t.Errorf("%s %s from %q = %d, want %d", test.method, test.url, test.origin, res.StatusCode, test.want)
		}
	}
}
