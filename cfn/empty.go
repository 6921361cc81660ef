package cfn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/errgroup"
)

// This file is what CloudFormation does not do when it deletes a stack: it takes no bucket that has something in it, and knows nothing of
// log groups that services make by themselves.

// holding is what a stack has that its deletion needs to know of.
type holding struct {
	resources int
	buckets   []owned  // that the stack's deletion deletes
	logs      []string // groups that may be there when the stack is gone
	kept      []Kept   // of which a snapshot stays
}

// owned is a resource with its name in the account.
type owned struct{ id, name, path string }

// holds reads a stack and those nested in it, as they are in the account: that is what CloudFormation goes by.
func (r *deployment) holds(ctx context.Context, client *cloudformation.Client, s *Stack, arn string) (h holding, err error) {
	out, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &arn, TemplateStage: cftypes.TemplateStageOriginal})
	if err != nil {
		return h, fmt.Errorf("template of stack %s: %w", s.Name, err)
	}
	t, err := ParseTemplate([]byte(aws.ToString(out.TemplateBody)))
	if err != nil { // one that was not written by the CDK, as YAML: nothing is known of it, so nothing is emptied
		return h, nil
	}
	resources, err := listResources(ctx, client, s, &cftypes.Stack{StackId: &arn})
	if err != nil {
		return h, err
	}
	for _, resource := range resources {
		id, name, kind := aws.ToString(resource.LogicalResourceId), aws.ToString(resource.PhysicalResourceId), aws.ToString(resource.ResourceType)
		known := t.Resources[id]
		if known == nil || name == "" || resource.ResourceStatus == cftypes.ResourceStatusDeleteComplete {
			continue
		}
		h.resources++
		path := pathOf(known)
		if kind == typeNested && strings.HasPrefix(name, "arn:") {
			below, err := r.holds(ctx, client, s, name)
			if err != nil {
				return h, err
			}
			h.resources += below.resources
			h.buckets, h.logs, h.kept = append(h.buckets, below.buckets...), append(h.logs, below.logs...), append(h.kept, below.kept...)
			continue
		}
		if keepsData(known.DeletionPolicy, kind) {
			if known.DeletionPolicy == nil || known.DeletionPolicy == "Snapshot" {
				h.kept = append(h.kept, Kept{Stack: s.Name, Type: kind, Name: name, Path: path, Why: KeptSnapshot})
			}
			continue
		}
		if text, given := known.DeletionPolicy.(string); known.DeletionPolicy != nil && (!given || text != "Delete") {
			continue // computed: in doubt it stays
		}
		if kind == "AWS::S3::Bucket" {
			h.buckets = append(h.buckets, owned{id, name, path})
		}
		h.logs = append(h.logs, logGroups(kind, name, known)...)
	}
	return h, nil
}

// logGroups are those that a service makes for a resource by itself, and makes again when it still logs while the stack is deleted.
func logGroups(kind, name string, resource *Resource) []string {
	switch kind {
	case typeLogGroup:
		return []string{name}
	case "AWS::Lambda::Function":
		if resource.Properties["LoggingConfig"] == nil {
			return []string{"/aws/lambda/" + name}
		}
	case "AWS::CodeBuild::Project":
		if resource.Properties["LogsConfig"] == nil {
			return []string{"/aws/codebuild/" + name}
		}
	case "AWS::AppSync::GraphQLApi": // its physical id is an ARN
		return []string{"/aws/appsync/apis/" + name[strings.LastIndexByte(name, '/')+1:]}
	}
	return nil
}

// empty empties buckets, and tells how much was in them.
func (r *deployment) empty(ctx context.Context, s *Stack, buckets []owned) error {
	config := r.Config.Copy()
	config.Region = r.env.region(s)
	client := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = config.BaseEndpoint != nil })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	for _, b := range buckets {
		group.Go(func() error {
			tell := func(status, reason string) {
				r.report(Progress{Kind: ProgressResource, Stack: s, Status: status, Reason: reason, LogicalID: b.id, Type: "AWS::S3::Bucket", Path: b.path})
			}
			tell("EMPTY_IN_PROGRESS", "")
			e := &emptying{client: client, bucket: b.name, owner: r.env.account}
			if err := e.empty(ctx); err != nil {
				tell("EMPTY_FAILED", "")
				return fmt.Errorf("empty bucket %s: %w", b.name, err)
			}
			if n := e.gone.Load(); n > 0 {
				tell("EMPTY_COMPLETE", fmt.Sprintf("objects and versions deleted: %d", n))
			}
			return nil
		})
	}
	return group.Wait()
}

// emptying takes all versions, delete markers and unfinished uploads out of a bucket.
type emptying struct {
	client        *s3.Client
	bucket, owner string
	gone          atomic.Int64
}

// S3 deletes so many objects in one request, and lists as many.
const (
	deletesAtOnce  = 1000
	deleteRequests = 4 // under way at once
	deleteTries    = 8 // of what S3 was too busy for
)

var deletePause = time.Second // before the first try again; tests make it shorter

func (e *emptying) empty(ctx context.Context) error {
	if err := e.abortUploads(ctx); err != nil {
		return gone(err)
	}
	group, deleting := errgroup.WithContext(ctx)
	group.SetLimit(deleteRequests)
	pages := s3.NewListObjectVersionsPaginator(e.client, &s3.ListObjectVersionsInput{Bucket: &e.bucket, MaxKeys: aws.Int32(deletesAtOnce), ExpectedBucketOwner: &e.owner})
	var failed error
	for pages.HasMorePages() && deleting.Err() == nil {
		page, err := pages.NextPage(ctx)
		if err != nil {
			failed = err
			break
		}
		var batch []types.ObjectIdentifier
		for _, v := range page.Versions {
			batch = append(batch, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			batch = append(batch, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if len(batch) > 0 {
			group.Go(func() error { return e.delete(deleting, batch) })
		}
	}
	if err := group.Wait(); err != nil {
		return gone(err)
	}
	return gone(failed)
}

// gone forgives that there is no such bucket any more.
func gone(err error) error {
	if code(err) == "NoSuchBucket" {
		return nil
	}
	return err
}

// delete deletes up to deletesAtOnce versions. S3 answers for each; those that it was too busy for are tried again.
func (e *emptying) delete(ctx context.Context, batch []types.ObjectIdentifier) error {
	for pause, tries := deletePause, 1; ; pause, tries = min(2*pause, lastPoll), tries+1 {
		out, err := e.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &e.bucket, ExpectedBucketOwner: &e.owner,
			Delete: &types.Delete{Objects: batch, Quiet: aws.Bool(true)}})
		if err != nil {
			return err
		}
		var again []types.ObjectIdentifier
		for _, refused := range out.Errors {
			switch aws.ToString(refused.Code) {
			case "InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout":
				if tries < deleteTries {
					again = append(again, types.ObjectIdentifier{Key: refused.Key, VersionId: refused.VersionId})
					continue
				}
			}
			return &smithy.OperationError{ServiceID: s3.ServiceID, OperationName: "DeleteObjectVersion", Err: fmt.Errorf("%s: %w", aws.ToString(refused.Key),
				&smithy.GenericAPIError{Code: aws.ToString(refused.Code), Message: aws.ToString(refused.Message)})}
		}
		e.gone.Add(int64(len(batch) - len(again)))
		if batch = again; len(batch) == 0 {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// abortUploads ends uploads that nobody completed. Who may not see them goes without: they do not keep a bucket from being deleted.
func (e *emptying) abortUploads(ctx context.Context) error {
	pages := s3.NewListMultipartUploadsPaginator(e.client, &s3.ListMultipartUploadsInput{Bucket: &e.bucket, ExpectedBucketOwner: &e.owner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if code(err) == "AccessDenied" {
			return nil
		}
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			_, err := e.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &e.bucket, Key: u.Key, UploadId: u.UploadId, ExpectedBucketOwner: &e.owner})
			switch code(err) {
			case "NoSuchUpload", "AccessDenied":
			default:
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// refilled says that a deletion failed because something was put into a bucket meanwhile.
func refilled(err error, buckets []owned) bool {
	var f *Failure
	return errors.As(err, &f) && strings.Contains(f.Reason, "not empty") && slices.ContainsFunc(buckets, func(b owned) bool { return b.id == f.LogicalID })
}
