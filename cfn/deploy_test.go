package cfn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"sst/cfn/cfntest"
)

// writeApp writes an assembly of n stacks in levels: each stack depends on the one of the level before.
func writeApp(t testing.TB, n, levels int) *Assembly {
	t.Helper()
	dir := t.TempDir()
	artifacts := map[string]any{}
	for i := range n {
		id := fmt.Sprintf("dev-app-s%02d", i)
		template := fmt.Sprintf(`{"Resources":{"Queue":{"Type":"AWS::SQS::Queue","Metadata":{"aws:cdk:path":"%s/Queue/Resource"}},`+
			`"Topic":{"Type":"AWS::SNS::Topic","DependsOn":"Queue"}},"Outputs":{"arn":{"Value":{"Fn::GetAtt":["Queue","Arn"]}}}}`, id)
		write(t, dir, id+".template.json", template)
		write(t, dir, id+".assets.json", fmt.Sprintf(`{"version":"54.0.0","files":{"h%d":{"source":{"path":"%s.template.json","packaging":"file"},`+
			`"destinations":{"d":{"bucketName":"cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}","objectKey":"h%d.json","assumeRoleArn":"arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-hnb659fds-file-publishing-role-${AWS::AccountId}-${AWS::Region}"}}}}}`, i, id, i))
		artifacts[id+".assets"] = map[string]any{"type": typeAssets, "properties": map[string]any{"file": id + ".assets.json"}}
		dependencies := []string{id + ".assets"}
		if per := n / levels; i >= per {
			dependencies = append(dependencies, fmt.Sprintf("dev-app-s%02d", i-per))
		}
		artifacts[id] = map[string]any{"type": typeStack, "environment": "aws://unknown-account/unknown-region", "dependencies": dependencies,
			"properties": map[string]any{
				"templateFile": id + ".template.json", "stackName": id, "tags": map[string]string{"sst:app": "app"},
				"assumeRoleArn":                     "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-hnb659fds-deploy-role-${AWS::AccountId}-${AWS::Region}",
				"cloudFormationExecutionRoleArn":    "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-hnb659fds-cfn-exec-role-${AWS::AccountId}-${AWS::Region}",
				"stackTemplateAssetObjectUrl":       fmt.Sprintf("s3://cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}/h%d.json", i),
				"requiresBootstrapStackVersion":     6,
				"bootstrapStackVersionSsmParameter": "/cdk-bootstrap/hnb659fds/version",
			}}
	}
	manifest, err := json.Marshal(map[string]any{"version": "54.0.0", "artifacts": artifacts})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "manifest.json", string(manifest))
	write(t, dir, ManifestFile, `{"version":1,"app":"app","stage":"dev","positions":{"dev-app-s00/Queue":{"file":"stacks.star","line":3,"column":1}}}`)
	asm, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return asm
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func outcomes(t *testing.T, results []Result, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range results {
		all = append(all, string(r.Outcome))
		if r.Err != nil {
			t.Log(r.Err)
		}
	}
	return strings.Join(all, " ")
}

func count(calls []cfntest.Call, action string) (n int) {
	for _, c := range calls {
		if c.Action == action {
			n++
		}
	}
	return n
}

// An unchanged app of 30 stacks costs a listing and a look at each template.
func TestDeployManyStacks(t *testing.T) {
	server := cfntest.New(cfntest.Options{PageSize: 50})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 30, 3)}
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); strings.Count(got, "deployed") != 30 {
		t.Fatalf("outcomes %s", got)
	}
	calls := server.Calls()
	if got := count(calls, "CreateChangeSet"); got != 30 {
		t.Errorf("%d change sets", got)
	}
	if got := count(calls, "PutObject"); got != 30 {
		t.Errorf("%d uploads", got)
	}
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); strings.Count(got, "unchanged") != 30 {
		t.Fatalf("outcomes %s", got)
	}
	if results[0].Outputs["arn"] == "" {
		t.Errorf("outputs %v", results[0].Outputs)
	}
	calls = server.Calls()
	if count(calls, "DescribeStacks") != 1 || count(calls, "GetTemplate") != 30 || count(calls, "GetParametersByPath") != 1 || len(calls) != 35 {
		t.Errorf("calls %v", calls)
	}
}

// BenchmarkDeploy deploys 30 stacks in 3 levels with 50 ms a call; the critical path is three stacks one after the other:
// a change set of a second, two resources of a second each, and eight calls. Then it deploys the same again.
func BenchmarkDeploy(b *testing.B) {
	const goal, again = 1.3, time.Second
	defer func(was time.Duration) { firstPoll = was }(firstPoll)
	firstPoll = 250 * time.Millisecond
	for range b.N {
		server := cfntest.New(cfntest.Options{Speed: 1, Latency: 50 * time.Millisecond, PageSize: 50})
		server.Bootstrap("us-east-1", 30)
		d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(b, 30, 3)}
		started := time.Now()
		if _, err := d.Deploy(context.Background(), d.Assembly.Stacks); err != nil {
			b.Fatal(err)
		}
		took := time.Since(started)
		critical := 3 * (3*time.Second + 8*50*time.Millisecond)
		started = time.Now()
		if _, err := d.Deploy(context.Background(), d.Assembly.Stacks); err != nil {
			b.Fatal(err)
		}
		b.Logf("30 stacks: %.2f of the critical path, goal %.1f; unchanged: %v, goal %v", float64(took)/float64(critical), goal, time.Since(started), again)
		server.Close()
	}
}

// Dependents of a failure are skipped, others are not; the cause is the first resource that failed by itself.
func TestDeployFailure(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	server.Fail("create", "dev-app-s00", "Queue", "no more queues")
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 4, 2)}
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	if got, want := outcomes(t, results, err), "failed deployed skipped deployed"; got != want {
		t.Fatalf("outcomes %s, want %s", got, want)
	}
	var f *Failure
	if !errors.As(results[0].Err, &f) || f.LogicalID != "Queue" || f.Reason != "no more queues" || f.Position.Line != 3 || f.Status != "ROLLBACK_COMPLETE" {
		t.Errorf("failure %#v", results[0].Err)
	}

	server.Fail("create", "dev-app-s00", "Queue", "")
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	var stuck *Stuck
	if got, want := outcomes(t, results, err), "failed unchanged skipped unchanged"; got != want || !errors.As(results[0].Err, &stuck) {
		t.Fatalf("outcomes %s, want %s and a stuck stack", got, want)
	}
	d.Repair = true
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got, want := outcomes(t, results, err), "deployed unchanged deployed unchanged"; got != want {
		t.Fatalf("outcomes %s, want %s", got, want)
	}
}

// A rollback that got stuck is continued, and the update made again.
func TestDeployUpdateRollbackFailed(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 1, 1)}
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	outcomes(t, results, err)

	d.Assembly = edit(t, d.Assembly, `"Type":"AWS::SQS::Queue",`, `"Type":"AWS::SQS::Queue","Properties":{"DelaySeconds":1},`)
	d.Assembly = edit(t, d.Assembly, `"DependsOn":"Queue"`, `"DependsOn":"Queue","Properties":{"DisplayName":"x"}`)
	server.Fail("update", "dev-app-s00", "Topic", "topic refused")
	server.Fail("rollback", "dev-app-s00", "Queue", "queue stuck")
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "failed" || !strings.Contains(results[0].Err.Error(), "UPDATE_ROLLBACK_FAILED: Topic (AWS::SNS::Topic): topic refused") {
		t.Fatalf("%s %v", got, results[0].Err)
	}
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "failed" || !strings.Contains(results[0].Err.Error(), "the rollback has to be continued") {
		t.Fatalf("%s %v", got, results[0].Err)
	}
	server.Fail("update", "dev-app-s00", "Topic", "")
	server.Fail("rollback", "dev-app-s00", "Queue", "")
	d.Repair = true
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "deployed" {
		t.Fatal(got)
	}
}

// edit gives the assembly with its first template changed, under a new asset key.
func edit(t *testing.T, asm *Assembly, from, to string) *Assembly {
	t.Helper()
	key := asm.Stacks[0].Assets[0].ObjectKey
	for _, file := range []string{"dev-app-s00.template.json", "dev-app-s00.assets.json", "manifest.json"} {
		data, err := os.ReadFile(filepath.Join(asm.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(strings.Replace(string(data), from, to, 1), key, "x"+key)
		write(t, asm.Dir, file, text)
	}
	again, err := Open(asm.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// Throttling of every second call of each kind changes nothing but the time it takes.
func TestDeployThrottled(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	var mu sync.Mutex
	seen := map[string]int{}
	server.Fault(func(c cfntest.Call) *cfntest.Error {
		mu.Lock()
		defer mu.Unlock()
		seen[c.Action]++
		if seen[c.Action]%2 == 1 && c.Action != "HeadObject" && c.Action != "PutObject" {
			return &cfntest.Error{Status: 400, Code: "Throttling", Message: "Rate exceeded"}
		}
		return nil
	})
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 2, 2)}
	d.Config.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = 10 * time.Millisecond })
	}
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	if got, want := outcomes(t, results, err), "deployed deployed"; got != want {
		t.Fatalf("outcomes %s, want %s", got, want)
	}
}

// Credentials that end half-way leave the deployment to CloudFormation; the next run finds it done.
func TestDeployExpired(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	var expired atomic.Bool
	server.Fault(func(c cfntest.Call) *cfntest.Error {
		if c.Action == "DescribeStackEvents" && expired.Load() {
			return &cfntest.Error{Status: 403, Code: "ExpiredToken", Message: "The security token included in the request is expired"}
		}
		return nil
	})
	expired.Store(true)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 1, 1)}
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	var detached *Detached
	if !errors.As(err, &detached) || code(detached.Cause) != "ExpiredToken" || len(detached.Running) != 1 || results[0].Outcome != Submitted {
		t.Fatalf("error %v, results %v", err, results)
	}
	expired.Store(false)
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "unchanged" {
		t.Errorf("outcome %s after the credentials were renewed, want unchanged", got)
	}
}

// The end of the wait is not the end of the deployment.
func TestDeployDetachesAndWaits(t *testing.T) {
	server := cfntest.New(cfntest.Options{Speed: 2})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	ctx, cancel := context.WithCancel(context.Background())
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 1, 1)}
	d.Report = func(p Progress) {
		if p.Status == "CREATE_IN_PROGRESS" && p.Kind == ProgressStack {
			cancel()
		}
	}
	_, err := d.Deploy(ctx, d.Assembly.Stacks)
	var detached *Detached
	if !errors.As(err, &detached) || !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	d.Report = nil
	states, failures, err := d.Status(context.Background(), d.Assembly.Stacks, true)
	if err != nil || len(failures) > 0 || states[0].Status != "CREATE_COMPLETE" || states[0].Outputs["arn"] == "" {
		t.Errorf("states %v, failures %v, error %v", states, failures, err)
	}
}

// The polls of a wait are no more than its duration over the interval, and one; a long one is looked at ever less often, but at
// least every 5.5 seconds.
func TestPolls(t *testing.T) {
	for _, wait := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour} {
		for _, news := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var p pace
				polls, began, last := 0, time.Now(), time.Now()
				for time.Since(began) < wait {
					if err := p.wait(t.Context(), news, false); err != nil {
						t.Fatal(err)
					}
					polls++
					since := time.Since(last)
					if shortest := firstPoll * 9 / 10; since < shortest || since > lastPoll*11/10 {
						t.Fatalf("a poll %v after the one before", since)
					}
					last = time.Now()
				}
				most := int(wait/(firstPoll*9/10)) + 1
				interval := lastPoll
				if news {
					interval = newsPoll
				}
				// A pause that still grows is at least 0.09 of what passed, which is so less than 110 times on the way to the interval.
				most = min(most, int(wait/(interval*9/10))+1+110)
				if polls > most {
					t.Errorf("%d polls in %v (news %v), want at most %d", polls, wait, news, most)
				}
			})
		}
	}
}

// What a deployment of one stack asks while it waits, counted at the wire.
func TestDeployPolls(t *testing.T) {
	server := cfntest.New(cfntest.Options{Speed: 4})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: writeApp(t, 1, 1)}
	began := time.Now()
	deployed(t, d, "deployed")
	most := int(time.Since(began)/(firstPoll*9/10)) + 1
	calls := server.Calls()
	events, sets := count(calls, "DescribeStackEvents"), count(calls, "DescribeChangeSet")
	if events < 2 || sets < 1 || events+sets > most+1 {
		t.Errorf("%d polls of events and %d of the change set in %v, want at most %d", events, sets, time.Since(began), most+1)
	}
	if n := count(calls, "DescribeStacks"); n > 2 { // what there is at first, and the outputs
		t.Errorf("%d listings of stacks", n)
	}
}
