package cfn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"sst/cfn/cfntest"
)

// This file breaks deployments at each of their calls: nothing may be lost, and the next deployment ends well.

func init() { firstPoll = 10 * time.Millisecond }

// deployed runs a deployment to its end, on a server that works.
func deployed(t *testing.T, d *Deployer, want string) []Result {
	t.Helper()
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != want {
		t.Fatalf("outcomes %s, want %s", got, want)
	}
	return results
}

// sequence is the calls of an undisturbed deployment, polls left out.
func sequence(t *testing.T, asm *Assembly) (n int) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	deployed(t, &Deployer{Config: server.Config("us-east-1"), Assembly: asm}, "deployed deployed")
	return len(server.Calls())
}

// Whichever call the credentials end at, or the process: the next run brings the app to the same end.
func TestDeployBrokenAtEachCall(t *testing.T) {
	asm := writeApp(t, 2, 2)
	n := sequence(t, asm)
	if n < 15 {
		t.Fatalf("a deployment of two stacks has %d calls", n)
	}
	breaks := map[string]func(d *Deployer, server *cfntest.Server, at int) (context.Context, string){
		"expired": func(d *Deployer, server *cfntest.Server, at int) (context.Context, string) {
			server.Fault(after(at, func() *cfntest.Error {
				return &cfntest.Error{Status: 403, Code: "ExpiredToken", Message: "The security token included in the request is expired"}
			}))
			return context.Background(), "ExpiredToken"
		},
		"killed": func(d *Deployer, server *cfntest.Server, at int) (context.Context, string) {
			ctx, cancel := context.WithCancelCause(context.Background())
			server.Fault(after(at, func() *cfntest.Error {
				cancel(errors.New("killed")) // what AWS was asked, it does; nobody hears the answer
				return nil
			}))
			return ctx, ""
		},
	}
	var group sync.WaitGroup
	for name, prepare := range breaks {
		for at := range n {
			group.Go(func() {
				server := cfntest.New(cfntest.Options{})
				defer server.Close()
				server.Bootstrap("us-east-1", 30)
				d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm}
				ctx, want := prepare(d, server, at)
				results, err := d.Deploy(ctx, asm.Stacks)
				var all []error
				for _, r := range results {
					all = append(all, r.Err)
				}
				reached := len(server.Calls()) > at // the number of polls differs from run to run
				if all = append(all, err); reached && want != "" && code(errors.Join(all...)) != want {
					t.Errorf("%s at %d: results %v, error %v", name, at, results, err)
				}
				server.Fault(nil)
				again, err := d.Deploy(context.Background(), asm.Stacks)
				for _, r := range again {
					if r.Outcome != Deployed && r.Outcome != Unchanged || r.Err != nil || err != nil {
						t.Errorf("%s at %d: %s of the next run: %s %v %v", name, at, r.Stack.Name, r.Outcome, r.Err, err)
					}
					if status := server.Status(r.Stack.Name, "us-east-1"); status != "CREATE_COMPLETE" {
						t.Errorf("%s at %d: %s is in %s", name, at, r.Stack.Name, status)
					}
				}
			})
		}
	}
	group.Wait()
}

// after gives a fault from the call of that number on.
func after(at int, fault func() *cfntest.Error) func(cfntest.Call) *cfntest.Error {
	seen := 0
	return func(cfntest.Call) *cfntest.Error {
		if seen++; seen > at {
			return fault()
		}
		return nil
	}
}

// A throttled call is made again: each call of a deployment, one after the other, is refused three times.
func TestDeployThrottledAtEachCall(t *testing.T) {
	asm := writeApp(t, 2, 2)
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	seen := map[string]int{}
	server.Fault(func(c cfntest.Call) *cfntest.Error {
		key := fmt.Sprint(c.Service, c.Action, c.Stack)
		if seen[key]++; seen[key] > 3 {
			return nil
		}
		if c.Service == "s3" {
			return &cfntest.Error{Status: 503, Code: "SlowDown", Message: "Please reduce your request rate."}
		}
		return &cfntest.Error{Status: 400, Code: "Throttling", Message: "Rate exceeded"}
	})
	d := &Deployer{Config: quick(server), Assembly: asm}
	deployed(t, d, "deployed deployed")
	for key, n := range seen {
		if n < 4 {
			t.Errorf("%s was called %d times", key, n)
		}
	}
}

// quick retries as the tool does, without the waits.
func quick(server *cfntest.Server) aws.Config {
	config := server.Config("us-east-1")
	config.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff, o.RateLimiter = 10, 10*time.Millisecond, noLimit{}
		})
	}
	return config
}

type noLimit struct{}

func (noLimit) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (noLimit) AddTokens(uint) error { return nil }

// Two deployments of the same stage at once end the same way, whoever comes first.
func TestDeployTwiceAtOnce(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := writeApp(t, 3, 1)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm}
			results, err := d.Deploy(context.Background(), asm.Stacks)
			for _, r := range results {
				if err = errors.Join(err, r.Err); r.Outcome != Deployed && r.Outcome != Unchanged {
					t.Errorf("%s: %s", r.Stack.Name, r.Outcome)
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	executed := 0
	for _, c := range server.Calls() {
		if c.Action == "ExecuteChangeSet" {
			executed++
		}
	}
	if executed < 3 {
		t.Errorf("%d change sets executed", executed)
	}
}

// A stack whose deletion got stuck is deleted without what stands in the way, which is told.
func TestDeployRepairsDeleteFailed(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 1, 1)}
	deployed(t, d, "deployed")
	server.Fail("delete", "dev-app-s00", "Queue", "the queue is in use")
	results, kept, err := d.Remove(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "failed" || len(kept) != 0 {
		t.Fatalf("%s, kept %v", got, kept)
	}
	var stuck *Stuck
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "failed" || !errors.As(results[0].Err, &stuck) || stuck.Status != "DELETE_FAILED" {
		t.Fatalf("%s %v", got, results[0].Err)
	}
	var left []string
	d.Repair, d.Report = true, func(p Progress) {
		if p.Status == "LEFT" {
			left = append(left, p.LogicalID+" "+p.Path)
		}
	}
	deployed(t, d, "deployed")
	if got := strings.Join(left, ", "); got != "Queue dev-app-s00/Queue/Resource" {
		t.Errorf("left %q", got)
	}
}

// A rollback that stays stuck is continued without the resource that it is stuck at.
func TestDeployRepairsStuckRollback(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 1, 1)}
	deployed(t, d, "deployed")
	d.Assembly = edit(t, d.Assembly, `"Type":"AWS::SQS::Queue",`, `"Type":"AWS::SQS::Queue","Properties":{"DelaySeconds":1},`)
	d.Assembly = edit(t, d.Assembly, `"DependsOn":"Queue"`, `"DependsOn":"Queue","Properties":{"DisplayName":"x"}`)
	server.Fail("update", "dev-app-s00", "Topic", "topic refused")
	server.Fail("rollback", "dev-app-s00", "Queue", "queue stuck")
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "failed" || !strings.Contains(results[0].Err.Error(), "UPDATE_ROLLBACK_FAILED: Topic") {
		t.Fatalf("%s %v", got, results[0].Err)
	}
	server.Fail("update", "dev-app-s00", "Topic", "")
	var skipped []string
	d.Repair, d.Report = true, func(p Progress) {
		if p.Status == "SKIPPED" {
			skipped = append(skipped, p.LogicalID)
		}
	}
	deployed(t, d, "deployed")
	if got := strings.Join(skipped, ", "); got != "Queue" {
		t.Errorf("skipped %q", got)
	}
}

// A stack that was left under review has no resources: it is taken over, or removed.
func TestDeployReviewInProgress(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	client := cloudformation.NewFromConfig(server.Config("us-east-1"))
	review := func() {
		_, err := client.CreateChangeSet(context.Background(), &cloudformation.CreateChangeSetInput{StackName: aws.String("dev-app-s00"), ChangeSetName: aws.String("left"),
			ChangeSetType: "CREATE", TemplateBody: aws.String(`{"Resources":{"Q":{"Type":"AWS::SQS::Queue"}}}`)})
		if err != nil || server.Status("dev-app-s00", "us-east-1") != "REVIEW_IN_PROGRESS" {
			t.Fatal(err, server.Status("dev-app-s00", "us-east-1"))
		}
	}
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 1, 1)}
	review()
	results, _, err := d.Remove(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "removed" {
		t.Fatal(got)
	}
	review()
	deployed(t, d, "deployed")
}

// A large asset goes in parts; a run that was cut off in the middle is taken up where it ended.
func TestPublishResumes(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := writeApp(t, 1, 1)
	big := make([]byte, 5*partBytes+1234)
	for i := range big {
		big[i] = byte(i >> 12)
	}
	if err := os.WriteFile(filepath.Join(asm.Dir, "big.bin"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	asm.Stacks[0].Assets = append(asm.Stacks[0].Assets, Asset{ID: "big", Path: filepath.Join(asm.Dir, "big.bin"), Packaging: "file", ObjectKey: "big.bin",
		Bucket: "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"})
	d := &Deployer{Config: quick(server), Assembly: asm}
	parts := 0
	server.Fault(func(c cfntest.Call) *cfntest.Error {
		if c.Action == "UploadPart" {
			if parts++; parts > 3 {
				return &cfntest.Error{Status: 403, Code: "ExpiredToken", Message: "The provided token has expired."}
			}
		}
		return nil
	})
	results, err := d.Deploy(context.Background(), asm.Stacks)
	if got := outcomes(t, results, err); got != "failed" || code(results[0].Err) != "ExpiredToken" {
		t.Fatal(got)
	}
	server.Fault(nil)
	server.Calls()
	deployed(t, d, "deployed")
	calls := server.Calls()
	if n := count(calls, "UploadPart"); n < 3 || n > 5 || count(calls, "CreateMultipartUpload") != 0 { // of 6; one that was on its way when another failed may be cut off
		t.Errorf("%d parts sent again; calls %v", n, calls)
	}
	if got := server.Object("cdk-hnb659fds-assets-123456789012-us-east-1", "big.bin"); string(got) != string(big) {
		t.Errorf("%d bytes arrived, want %d and the same", len(got), len(big))
	}
}

// A template over the limit of a request goes through S3, also where the synthesizer publishes none.
func TestDeployLargeTemplate(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := edit(t, writeApp(t, 1, 1), `"DependsOn":"Queue"`, `"DependsOn":"Queue","Properties":{"DisplayName":"`+strings.Repeat("x", maxInlineBytes)+`"}`)
	asm.Stacks[0].Assets, asm.Stacks[0].Deployment.StackTemplateAssetObjectURL = nil, ""
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm}
	deployed(t, d, "deployed")
	if n := count(server.Calls(), "PutObject"); n != 1 {
		t.Errorf("%d uploads", n)
	}
	deployed(t, d, "unchanged")
}

// The events of a nested stack are told, and the cause of a failure in it is found.
func TestDeployNested(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := writeApp(t, 1, 1)
	bucket := "cdk-hnb659fds-assets-123456789012-us-east-1"
	write(t, asm.Dir, "inner.json", `{"Resources":{"Deep":{"Type":"AWS::SQS::Queue","Metadata":{"aws:cdk:path":"dev-app-s00/Queue/Deep"}}}}`)
	asm = edit(t, asm, `"Topic":{"Type":"AWS::SNS::Topic","DependsOn":"Queue"}`,
		`"Inner":{"Type":"AWS::CloudFormation::Stack","Properties":{"TemplateURL":"https://s3.us-east-1.amazonaws.com/`+bucket+`/inner.json"}}`)
	asm.Stacks[0].Assets = append(asm.Stacks[0].Assets, Asset{ID: "inner", Path: filepath.Join(asm.Dir, "inner.json"), Packaging: "file", Bucket: bucket, ObjectKey: "inner.json"})
	var seen []string
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm, Report: func(p Progress) { seen = append(seen, p.Path+" "+p.Status) }}
	deployed(t, d, "deployed")
	if got := strings.Join(seen, "\n"); !strings.Contains(got, "dev-app-s00/Queue/Deep CREATE_COMPLETE") {
		t.Errorf("events %s", got)
	}

	asm = edit(t, asm, `"Type":"AWS::SQS::Queue",`, `"Type":"AWS::SQS::Queue","Properties":{"DelaySeconds":1},`)
	server.Fail("delete", "dev-app-s00", "Queue", "in use")
	results, _, err := d.Remove(context.Background(), asm.Stacks)
	if got := outcomes(t, results, err); got != "failed" {
		t.Fatal(got)
	}
	server.Fail("delete", "dev-app-s00", "Queue", "")
	results, _, err = d.Remove(context.Background(), asm.Stacks)
	if got := outcomes(t, results, err); got != "removed" {
		t.Fatal(got)
	}
	server.Fail("create", "dev-app-s00-Inner", "Deep", "no more queues")
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	var f *Failure
	if got := outcomes(t, results, err); got != "failed" || !errors.As(results[0].Err, &f) || f.Path != "dev-app-s00/Queue/Deep" || f.Reason != "no more queues" || f.Position.Line != 3 {
		t.Fatalf("%s: %#v", got, f)
	}
}

// A stack whose export another one imports keeps it, and says who does.
func TestDeployExportInUse(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := writeApp(t, 2, 1)
	asm = edit(t, asm, `{"Value":{"Fn::GetAtt":["Queue","Arn"]}}`, `{"Value":{"Fn::GetAtt":["Queue","Arn"]},"Export":{"Name":"shared"}}`)
	data, err := os.ReadFile(filepath.Join(asm.Dir, "dev-app-s01.template.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, asm.Dir, "dev-app-s01.template.json", strings.Replace(string(data), `"DependsOn":"Queue"`, `"DependsOn":"Queue","Properties":{"DisplayName":{"Fn::ImportValue":"shared"}}`, 1))
	asm.Stacks[1].Dependencies = []string{"dev-app-s00"}
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm}
	deployed(t, d, "deployed deployed")
	d.Assembly = edit(t, asm, `,"Export":{"Name":"shared"}`, ``)
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks[:1])
	if got := outcomes(t, results, err); got != "failed" || !strings.Contains(results[0].Err.Error(), "Export shared cannot be deleted as it is in use by dev-app-s01") {
		t.Fatalf("%s: %v", got, results[0].Err)
	}
	if status := server.Status("dev-app-s00", "us-east-1"); status != "UPDATE_ROLLBACK_COMPLETE" {
		t.Error(status)
	}
}
