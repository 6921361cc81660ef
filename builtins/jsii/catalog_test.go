package jsii

import (
	"bytes"
	"flag"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sst/builtins/jsii/internal/index"
)

var full = flag.Bool("full", false, "generate the index again and compare, not only the hash of its sources")

func TestIndexIsFresh(t *testing.T) {
	archives, err := index.Archives(".")
	if err != nil {
		t.Skipf("no archives to compare with: %v", err)
	}
	hash, err := index.Hash(archives)
	if err != nil {
		t.Fatal(err)
	}
	if indexFile[indexHash:indexHead] != string(hash[:]) {
		t.Fatal("index.bin is stale: the CDK modules or the generator have changed; run go generate ./builtins/jsii")
	}
	if !strings.Contains(archives[0], "aws-cdk-lib-"+CDKVersion+".tgz") {
		t.Errorf("CDKVersion is %s, the archive is %s", CDKVersion, archives[0])
	}
	if !*full {
		return
	}
	data, err := index.Build(archives)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, []byte(indexFile)) {
		t.Error("index.bin is not what the generator writes: run go generate ./builtins/jsii")
	}
}

func TestPythonNames(t *testing.T) {
	for js, want := range map[string]string{
		"queueArn":             "queue_arn",
		"fromQueueArn":         "from_queue_arn",
		"from":                 "from_",
		"with":                 "with_",
		"lambda":               "lambda_",
		"None":                 "none",
		"toIsoString":          "to_iso_string",
		"attrDBInstanceArn":    "attr_db_instance_arn",
		"sslSupportURLs":       "ssl_support_ur_ls",
		"ipv4Cidr":             "ipv4_cidr",
		"s3Bucket":             "s3_bucket",
		"sha256Hash":           "sha256_hash",
		"md5":                  "md5",
		"enableIMDSv2":         "enable_imd_sv2",
		"toGibibytes":          "to_gibibytes",
		"memoryMiB":            "memory_mib",
		"memoryLimitMiB":       "memory_limit_mib",
		"ephemeralStorageGiB":  "ephemeral_storage_gib",
		"ebsVolumeSizeGiBytes": "ebs_volume_size_gi_bytes",
		"NODEJS_22_X":          "nodejs_22_x",
		"x":                    "x",
		"aKey":                 "a_key",
		"XMLHttp":              "xml_http",
	} {
		if got := pythonName(js); got != want {
			t.Errorf("pythonName(%q) = %q, want %q", js, got, want)
		}
	}
}

func mustType(t testing.TB, fqn string) *Type {
	t.Helper()
	typ, ok := Index().Type(fqn)
	if !ok {
		t.Fatalf("no type %s", fqn)
	}
	return typ
}

func TestCatalog(t *testing.T) {
	c := Index()
	if n := len(c.Modules()); n < 600 {
		t.Errorf("%d modules, want at least 600", n)
	}
	for _, name := range []string{"", "aws_s3", "aws_s3.mixins", "constructs", "cx_api", "cloud_assembly_schema", "interfaces.aws_kms", "alexa_ask"} {
		if _, ok := c.Module(name); !ok {
			t.Errorf("no module %q", name)
		}
	}
	root, _ := c.Module("")
	if subs := root.Submodules(); !slices.Contains(subs, "aws_lambda") || slices.Contains(subs, "aws_s3.mixins") || slices.Contains(subs, "mixins") {
		t.Errorf("submodules of the root: %v", subs)
	}
	if names := root.Names(); !slices.Contains(names, "Stack") || slices.ContainsFunc(names, func(s string) bool { return strings.Contains(s, ".") }) {
		t.Errorf("types of the root: %v", names)
	}
	for _, fqn := range []string{"aws-cdk-lib.NoSuch", "aws-cdk-lib.aws_s3", "aws-cdk-lib", "", "x.y", "aws-cdk-lib.aws_sqs.Queue.Nested"} {
		if _, ok := c.Type(fqn); ok {
			t.Errorf("type %q exists", fqn)
		}
	}

	queue := mustType(t, "aws-cdk-lib.aws_sqs.Queue")
	if queue.Kind != Class || queue.Abstract || queue.Module != "aws_sqs" || queue.Name != "Queue" || queue.Base != "aws-cdk-lib.aws_sqs.QueueBase" {
		t.Errorf("Queue = %+v", queue)
	}
	if p := queue.Init().Params; len(p) != 3 || p[0].Name != "scope" || p[2].Type.FQN != "aws-cdk-lib.aws_sqs.QueueProps" || !p[2].Type.Optional || p[1].Type.Kind != String {
		t.Errorf("Queue takes %+v", p)
	}
	grant, ok := queue.Member("grant_send_messages")
	if !ok || grant.Kind != Method || grant.JS != "grantSendMessages" || grant.Returns == nil || grant.Returns.FQN != "aws-cdk-lib.aws_iam.Grant" || grant.DeclaredBy() != "aws-cdk-lib.aws_sqs.QueueBase" {
		t.Errorf("grant_send_messages = %+v", grant)
	}
	if node, ok := queue.Member("node"); !ok || node.Type.FQN != "constructs.Node" || node.Settable {
		t.Errorf("node = %+v", node)
	}
	if _, ok := queue.Member("auto_create_policy"); ok {
		t.Error("a protected member is in the catalog")
	}
	if m, ok := queue.Member("from_queue_arn"); !ok || !m.Static {
		t.Errorf("from_queue_arn = %+v", m)
	}

	props := mustType(t, "aws-cdk-lib.aws_lambda.FunctionProps")
	if n := len(props.Fields()); props.Kind != Struct || n < 50 {
		t.Errorf("FunctionProps: %s with %d fields", props.Kind, n)
	}
	if f, ok := props.Field("memory_size"); !ok || f.JS != "memorySize" || !f.Optional || f.Type.Kind != Number {
		t.Errorf("memory_size = %+v", f)
	}
	if f, ok := props.FieldJS("handler"); !ok || f.Optional {
		t.Errorf("handler = %+v", f)
	}

	runtime := mustType(t, "aws-cdk-lib.aws_lambda.Runtime")
	if m, ok := runtime.Member("NODEJS_22_X"); !ok || !m.Static || !m.Const || m.JS != "NODEJS_22_X" {
		t.Errorf("NODEJS_22_X = %+v", m)
	}
	if m, ok := runtime.Member("NODEJS_12_X"); !ok || m.Deprecated == "" {
		t.Errorf("NODEJS_12_X = %+v", m)
	}
	removal := mustType(t, "aws-cdk-lib.RemovalPolicy")
	if got := removal.EnumMembers(); removal.Kind != Enum || !slices.Equal(got, []string{"DESTROY", "RETAIN", "SNAPSHOT", "RETAIN_ON_UPDATE_OR_DELETE"}) {
		t.Errorf("RemovalPolicy: %v", got)
	}

	fn := mustType(t, "aws-cdk-lib.aws_lambda.CfnFunction")
	if code, ok := fn.Nested("CodeProperty"); !ok || code.Name != "CfnFunction.CodeProperty" || code.Module != "aws_lambda" || !slices.Contains(fn.NestedNames(), "CodeProperty") {
		t.Errorf("CfnFunction.CodeProperty = %+v", code)
	}
	if m, ok := fn.Member("vpc_config"); !ok || !m.Settable || m.Type.Kind != Union {
		t.Errorf("vpc_config = %+v", m)
	}
	if annotations := mustType(t, "aws-cdk-lib.Annotations"); annotations.Init() != nil {
		t.Error("Annotations has a constructor to call")
	}
	construct := mustType(t, "constructs.Construct")
	if m, ok := construct.Member("is_construct"); construct.Module != "constructs" || !ok || !m.Static {
		t.Errorf("Construct.is_construct = %+v", m)
	}

	for _, a := range []struct {
		from, to string
		want     bool
	}{
		{"aws-cdk-lib.aws_sqs.Queue", "aws-cdk-lib.aws_sqs.IQueue", true},
		{"aws-cdk-lib.aws_sqs.Queue", "constructs.Construct", true},
		{"aws-cdk-lib.aws_sqs.Queue", "constructs.IConstruct", true},
		{"aws-cdk-lib.aws_sqs.Queue", "aws-cdk-lib.aws_s3.IBucket", false},
		{"aws-cdk-lib.aws_lambda.Function", "aws-cdk-lib.aws_iam.IGrantable", true},
		{"constructs.Construct", "aws-cdk-lib.aws_sqs.Queue", false},
		{"x", "y", false},
	} {
		if got := c.AssignableTo(a.from, a.to); got != a.want {
			t.Errorf("AssignableTo(%s, %s) = %v", a.from, a.to, got)
		}
	}
}

func TestDocs(t *testing.T) {
	queue := mustType(t, "aws-cdk-lib.aws_sqs.Queue")
	if d := queue.Doc(); d.Summary != "A new Amazon SQS queue." || !strings.Contains(d.Example, "sqs.Queue(self,") || d.Stability != "stable" {
		t.Errorf("Queue: %+v", d)
	}
	timeout, _ := mustType(t, "aws-cdk-lib.aws_sqs.QueueProps").Field("visibility_timeout")
	if d := timeout.Doc(); d.Default == "" || !strings.Contains(d.Summary, "Timeout of processing") {
		t.Errorf("visibility_timeout: %+v", d)
	}
	from, _ := queue.Member("from_queue_arn")
	if d := from.Params[2].Doc(); !strings.Contains(d, "queue ARN") {
		t.Errorf("queue_arn: %q", d)
	}
	s3, _ := Index().Module("aws_s3")
	if d := s3.Doc(); !strings.Contains(d, "Amazon S3 Construct Library") {
		t.Errorf("aws_s3: %.80q", d)
	}
}

// Every type decodes, every reference in it is known, and every text can be read.
func TestWholeIndex(t *testing.T) {
	c := newCatalog(indexFile)
	counts := map[Kind]int{}
	var check func(where string, r TypeRef)
	check = func(where string, r TypeRef) {
		switch r.Kind {
		case Named:
			if c.typeIndex(r.FQN) < 0 {
				t.Errorf("%s: unknown type %s", where, r.FQN)
			}
		case List, Map:
			check(where, *r.Elem)
		case Union:
			for _, u := range r.Union {
				check(where, u)
			}
		}
	}
	for i := range c.file.typeCount {
		typ := c.typeAt(i)
		counts[typ.Kind]++
		if got := c.typeIndex(typ.FQN); got != i {
			t.Fatalf("%s is type %d, found at %d", typ.FQN, i, got)
		}
		for _, m := range typ.Members() {
			check(typ.FQN+"."+m.JS, m.Type)
			if m.Returns != nil {
				check(typ.FQN+"."+m.JS, *m.Returns)
			}
			for _, p := range m.Params {
				check(typ.FQN+"."+m.JS, p.Type)
			}
		}
		if len(typ.own) > 0 {
			typ.own[len(typ.own)-1].Doc()
		}
	}
	if counts[Class] < 3300 || counts[Struct] < 15600 || counts[Interface] < 2000 || counts[Enum] < 640 {
		t.Errorf("types: %v", counts)
	}
}

func BenchmarkIndexFirstUse(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var c *Catalog
	for b.Loop() {
		c = newCatalog(indexFile)
		typ, _ := c.Type("aws-cdk-lib.aws_lambda.Function")
		typ.Member("grant_invoke")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024, "KiB-kept")
	runtime.KeepAlive(c)
}

func BenchmarkIndexLookup(b *testing.B) {
	for b.Loop() {
		m, _ := Index().Module("aws_lambda")
		typ, _ := m.Type("Function")
		typ.Member("grant_invoke")
	}
}

func BenchmarkIndexDoc(b *testing.B) {
	typ := mustType(b, "aws-cdk-lib.aws_lambda.Function")
	start := time.Now()
	typ.Doc()
	b.ReportMetric(float64(time.Since(start).Microseconds()), "first-µs")
	for b.Loop() {
		typ.Doc()
	}
}
