package cfn

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sst/cfn/cfntest"
)

// withBuckets is an app with a bucket that goes, one that is retained and a database of which a snapshot is taken.
func withBuckets(t *testing.T) *Assembly {
	return edit(t, writeApp(t, 1, 1), `"Topic":{`, `"Raw":{"Type":"AWS::S3::Bucket","Properties":{"BucketName":"raw"},"DeletionPolicy":"Delete","Metadata":{"aws:cdk:path":"s0/Raw/Resource"}},`+
		`"Kept":{"Type":"AWS::S3::Bucket","Properties":{"BucketName":"kept"},"DeletionPolicy":"Retain"},`+
		`"Careful":{"Type":"AWS::S3::Bucket","Properties":{"BucketName":"careful"},"DeletionPolicy":"RetainExceptOnCreate"},`+
		`"Data":{"Type":"AWS::RDS::DBCluster","Properties":{"DBClusterIdentifier":"data"},"DeletionPolicy":"Snapshot"},"Topic":{`)
}

// A removal empties what goes, with all versions, delete markers and uploads, and never what is retained.
func TestRemoveEmpties(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := withBuckets(t)
	var told []string
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm, Empty: true, Report: func(p Progress) {
		if p.Type == "AWS::S3::Bucket" && strings.HasPrefix(p.Status, "EMPTY") {
			told = append(told, p.LogicalID+" "+p.Status+" "+p.Reason)
		}
	}}
	deployed(t, d, "deployed")
	const objects = 2300
	for i := range objects {
		server.Put("raw", fmt.Sprintf("photos/%d.jpg", i), []byte("x"))
	}
	server.PutVersion("raw", "photos/1.jpg", "v1", []byte("old"))
	server.PutVersion("raw", "gone.txt", "v2", nil)
	server.Fail("object", "raw", "photos/7.jpg", "SlowDown")
	for _, bucket := range []string{"kept", "careful"} {
		server.Put(bucket, "precious", []byte("x"))
	}
	server.Calls()
	results, kept, err := d.Remove(context.Background(), asm.Stacks)
	if got := outcomes(t, results, err); got != "removed" {
		t.Fatalf("%s", got)
	}
	if server.HasBucket("raw") || server.Objects("kept") != 1 || server.Objects("careful") != 1 {
		t.Errorf("raw is there: %v; kept has %d objects, careful %d", server.HasBucket("raw"), server.Objects("kept"), server.Objects("careful"))
	}
	deletes := 0
	for _, call := range server.Calls() {
		if call.Action == "DeleteObjects" {
			deletes++
		}
		if strings.HasPrefix(call.Stack, "kept/") || strings.HasPrefix(call.Stack, "careful/") {
			t.Errorf("%s of %s", call.Action, call.Stack)
		}
	}
	if want := (objects+2)/100 + 2; deletes > want { // a page of this server is 100; one batch is sent twice
		t.Errorf("%d requests to delete, want at most %d", deletes, want)
	}
	if want := []string{"Raw EMPTY_IN_PROGRESS ", "Raw EMPTY_COMPLETE objects and versions deleted: 2302"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	why := map[string]KeptWhy{}
	for _, k := range kept {
		name, _, _ := strings.Cut(strings.TrimPrefix(k.Name, "dev-app-s00-"), "-") // a cluster's name is CloudFormation's
		why[name] = k.Why
	}
	if len(kept) != 3 || why["kept"] != KeptPolicy || why["careful"] != KeptPolicy || why["Data"] != KeptSnapshot {
		t.Errorf("kept %v", kept)
	}
}

// A creation that failed when a bucket had something in it already cannot be undone by CloudFormation; where that is allowed, the repair empties it.
func TestDeployRepairsFullBucket(t *testing.T) {
	server := cfntest.New(cfntest.Options{Duration: func(_, id, _ string) time.Duration {
		if id == "Topic" {
			return 500 * time.Second // of virtual time: the others are there long before
		}
		return time.Second
	}})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := withBuckets(t)
	server.Fail("create", "dev-app-s00", "Topic", "no more topics")
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm, Repair: true, Empty: true}
	d.Report = func(p Progress) {
		if p.LogicalID == "Raw" && p.Status == "CREATE_COMPLETE" {
			server.Put("raw", "deployed.html", []byte("x"))
		}
	}
	results, err := d.Deploy(context.Background(), asm.Stacks)
	if got := outcomes(t, results, err); got != "failed" || server.Status("dev-app-s00", "us-east-1") != "ROLLBACK_FAILED" {
		t.Fatalf("%s, the stack is in %s", got, server.Status("dev-app-s00", "us-east-1"))
	}
	server.Fail("create", "dev-app-s00", "Topic", "")
	deployed(t, d, "deployed")
	if got := server.Status("dev-app-s00", "us-east-1"); got != "CREATE_COMPLETE" {
		t.Errorf("the stack is in %s", got)
	}
}

// What still writes into a bucket while its stack is deleted does not keep it: it is emptied again.
func TestRemoveRefilled(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	asm := withBuckets(t)
	puts := 0
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm, Empty: true}
	d.Report = func(p Progress) {
		if p.Kind == ProgressStack && p.Status == "DELETE_IN_PROGRESS" && puts == 0 {
			puts++
			server.Put("raw", "late", []byte("x"))
		}
	}
	deployed(t, d, "deployed")
	results, _, err := d.Remove(context.Background(), asm.Stacks)
	if got := outcomes(t, results, err); got != "removed" || server.HasBucket("raw") || puts != 1 {
		t.Errorf("%s, the bucket is there: %v", got, server.HasBucket("raw"))
	}
}

// Without the policy nothing is emptied and CloudFormation's refusal is told; what may not be deleted names the permission, before anything is deleted.
func TestRemoveDoesNotEmpty(t *testing.T) {
	for _, test := range []struct {
		empty        bool
		code, want   string
		status, call string
	}{
		{false, "", "not empty", "DELETE_FAILED", ""},
		{true, "AccessDenied", "empty bucket raw: operation error S3: DeleteObjectVersion, a: api error AccessDenied: Access Denied because object protected by object lock.", "CREATE_COMPLETE", "DeleteStack"},
	} {
		server := cfntest.New(cfntest.Options{})
		server.Bootstrap("us-east-1", 30)
		asm := withBuckets(t)
		d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm, Empty: test.empty}
		deployed(t, d, "deployed")
		server.Put("raw", "a", []byte("x"))
		server.Fail("object", "raw", "a", test.code)
		server.Calls()
		results, _, err := d.Remove(context.Background(), asm.Stacks)
		if err != nil || results[0].Err == nil || !strings.Contains(results[0].Err.Error(), test.want) {
			t.Errorf("empty %v: %v, %v", test.empty, err, results[0].Err)
		}
		if got := server.Status(asm.Stacks[0].Name, "us-east-1"); got != test.status {
			t.Errorf("empty %v: the stack is in %s", test.empty, got)
		}
		if slices.ContainsFunc(server.Calls(), func(c cfntest.Call) bool { return c.Action == test.call }) || server.Objects("raw") != 1 {
			t.Errorf("empty %v: something was deleted", test.empty)
		}
		server.Close()
	}
}

func init() { deletePause = time.Millisecond }

// The logs of a function without a log group of its own go with a personal stage, and stay with any other.
func TestRemoveStrayLogs(t *testing.T) {
	for _, personal := range []bool{true, false} {
		server := cfntest.New(cfntest.Options{PageSize: 1})
		server.Bootstrap("us-east-1", 30)
		asm := edit(t, writeApp(t, 1, 1), `"Topic":{`, `"Helper":{"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"helper"}},`+
			`"Own":{"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"own","LoggingConfig":{"LogGroup":"mine"}}},"Topic":{`)
		d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm, Empty: personal}
		deployed(t, d, "deployed")
		for _, group := range []string{"/aws/lambda/helper", "mine", "/aws/lambda/other"} {
			server.Log(group, "x")
		}
		results, kept, err := d.Remove(context.Background(), asm.Stacks)
		if got := outcomes(t, results, err); got != "removed" || len(kept) > 0 {
			t.Errorf("%s, kept %v", got, kept)
		}
		if server.HasLogs("/aws/lambda/helper") == personal || !server.HasLogs("mine") || !server.HasLogs("/aws/lambda/other") {
			t.Errorf("personal %v: logs of the helper there %v", personal, server.HasLogs("/aws/lambda/helper"))
		}
		server.Close()
	}
}
