package jsii

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	cdk "github.com/aws/aws-cdk-go/awscdk/v2/jsii"
	jsiiruntime "github.com/aws/jsii-runtime-go"
	"github.com/aws/jsii-runtime-go/runtime"
)

// driver is what the programs below need of a way to the CDK.
type driver interface {
	create(fqn string, args ...any) any
	invoke(obj any, method string, args ...any) any
	get(obj any, property string) any
	static(fqn, method string, args ...any) any
	constant(fqn, name string) any
	enum(fqn, member string) any
}

// viaHost is ours.
type viaHost struct{ p *program }

func (d viaHost) values(args []any) []Value { return args }
func (d viaHost) create(fqn string, args ...any) any {
	return d.p.create(fqn, d.values(args)...)
}
func (d viaHost) ref(v Value) any {
	if r, ok := v.(Ref); ok && r.FQN == "" && len(r.Interfaces) > 0 {
		r.FQN = r.Interfaces[0]
		return r
	}
	return v
}
func (d viaHost) invoke(obj any, method string, args ...any) any {
	return d.ref(d.p.invoke(obj.(Ref), method, args...))
}
func (d viaHost) get(obj any, property string) any { return d.ref(d.p.get(obj.(Ref), property)) }
func (d viaHost) static(fqn, method string, args ...any) any {
	return d.ref(d.p.static(fqn, method, args...))
}
func (d viaHost) constant(fqn, name string) any { return d.ref(d.p.constant(fqn, name)) }
func (d viaHost) enum(fqn, member string) any   { return EnumValue{fqn, member} }

// viaKernel is the jsii kernel, as the CDK's own Go bindings use it.
type viaKernel struct{}

type jsiiProxy_object struct{ _ byte } //nolint:revive // the runtime wants the prefix

type kernelEnum string

func (e kernelEnum) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"$jsii.enum": string(e)})
}

func (viaKernel) create(fqn string, args ...any) any {
	obj := &jsiiProxy_object{}
	runtime.Create(runtime.FQN(fqn), args, obj)
	return obj
}
func (viaKernel) invoke(obj any, method string, args ...any) any {
	var ret any
	runtime.Invoke(obj, method, args, &ret)
	return ret
}
func (viaKernel) get(obj any, property string) any {
	var ret any
	runtime.Get(obj, property, &ret)
	return ret
}
func (viaKernel) static(fqn, method string, args ...any) any {
	var ret any
	runtime.StaticInvoke(runtime.FQN(fqn), method, args, &ret)
	return ret
}
func (viaKernel) constant(fqn, name string) any {
	var ret any
	runtime.StaticGet(runtime.FQN(fqn), name, &ret)
	return ret
}
func (viaKernel) enum(fqn, member string) any { return kernelEnum(fqn + "/" + member) }

// oraclePrograms build under an App; both ways must write the same files.
var oraclePrograms = map[string]func(d driver, app any){
	"queue": func(d driver, app any) {
		stack := d.create("aws-cdk-lib.Stack", app, "S")
		dlq := d.create("aws-cdk-lib.aws_sqs.Queue", stack, "Dead")
		d.create("aws-cdk-lib.aws_sqs.Queue", stack, "Q", map[string]any{
			"visibilityTimeout": d.static("aws-cdk-lib.Duration", "seconds", 30.0),
			"deadLetterQueue":   map[string]any{"queue": dlq, "maxReceiveCount": 3.0},
		})
	},
	"bucket": func(d driver, app any) {
		stack := d.create("aws-cdk-lib.Stack", app, "S", map[string]any{"description": "ünï"})
		bucket := d.create("aws-cdk-lib.aws_s3.Bucket", stack, "B", map[string]any{
			"versioned": true, "removalPolicy": d.enum("aws-cdk-lib.RemovalPolicy", "DESTROY"), "autoDeleteObjects": true,
			"lifecycleRules": []any{map[string]any{"expiration": d.static("aws-cdk-lib.Duration", "days", 7.0), "prefix": "tmp/"}},
		})
		d.invoke(bucket, "addToResourcePolicy", d.create("aws-cdk-lib.aws_iam.PolicyStatement", map[string]any{
			"actions": []any{"s3:GetObject"}, "resources": []any{d.invoke(bucket, "arnForObjects", "*")},
			"principals": []any{d.create("aws-cdk-lib.aws_iam.AccountRootPrincipal")},
			"conditions": map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": d.constant("aws-cdk-lib.Aws", "ACCOUNT_ID")}},
		}))
	},
	"function": func(d driver, app any) {
		stack := d.create("aws-cdk-lib.Stack", app, "S", map[string]any{"env": map[string]any{"region": "eu-west-1", "account": "111111111111"}})
		table := d.create("aws-cdk-lib.aws_dynamodb.Table", stack, "T", map[string]any{
			"partitionKey": map[string]any{"name": "id", "type": d.enum("aws-cdk-lib.aws_dynamodb.AttributeType", "STRING")},
		})
		fn := d.create("aws-cdk-lib.aws_lambda.Function", stack, "F", map[string]any{
			"runtime": d.constant("aws-cdk-lib.aws_lambda.Runtime", "NODEJS_22_X"), "handler": "index.h",
			"code":        d.static("aws-cdk-lib.aws_lambda.Code", "fromInline", "exports.h = 1"),
			"environment": map[string]any{"TABLE": d.get(table, "tableName")},
			"logGroup":    d.create("aws-cdk-lib.aws_logs.LogGroup", stack, "L", map[string]any{"retention": d.enum("aws-cdk-lib.aws_logs.RetentionDays", "ONE_WEEK")}),
		})
		d.invoke(table, "grantReadWriteData", fn)
		topic := d.create("aws-cdk-lib.aws_sns.Topic", stack, "N")
		d.invoke(topic, "addSubscription", d.create("aws-cdk-lib.aws_sns_subscriptions.LambdaSubscription", fn))
		d.invoke(topic, "grantPublish", fn)
	},
	"l1": func(d driver, app any) {
		stack := d.create("aws-cdk-lib.Stack", app, "S")
		parameter := d.create("aws-cdk-lib.CfnParameter", stack, "Size", map[string]any{"type": "Number", "default": 128.0})
		d.create("aws-cdk-lib.aws_lambda.CfnFunction", stack, "F", map[string]any{
			"code": map[string]any{"zipFile": "x"}, "role": "arn:aws:iam::111111111111:role/r",
			"memorySize": d.get(parameter, "valueAsNumber"),
			"tags":       []any{map[string]any{"key": "k", "value": "v"}},
		})
		d.create("aws-cdk-lib.CfnOutput", stack, "O", map[string]any{"value": d.static("aws-cdk-lib.Fn", "join", "-", []any{d.constant("aws-cdk-lib.Aws", "REGION"), "x"})})
	},
	"cross": func(d driver, app any) {
		one := d.create("aws-cdk-lib.Stack", app, "One")
		queue := d.create("aws-cdk-lib.aws_sqs.Queue", one, "Q")
		two := d.create("aws-cdk-lib.Stack", app, "Two")
		role := d.create("aws-cdk-lib.aws_iam.Role", two, "R", map[string]any{"assumedBy": d.create("aws-cdk-lib.aws_iam.ServicePrincipal", "ec2.amazonaws.com")})
		d.invoke(queue, "grantSendMessages", role)
	},
}

// TestOracle compares our host with the jsii kernel: the same programs write the same bytes.
func TestOracle(t *testing.T) {
	if raceDetector {
		t.Skip("jsii-runtime-go has a data race of its own")
	}
	p := newProgram(t, Session{})
	for _, name := range []string{"DEPRECATED", "END_OF_LIFE", "KNOWN_BROKEN", "UNTESTED"} {
		t.Setenv("JSII_SILENCE_WARNING_"+name+"_NODE_VERSION", fmt.Sprint(p.host.options.Node.Major))
	}
	t.Setenv("JSII_NODE", p.host.options.Node.Path)
	t.Setenv("CDK_VALIDATION", "false")
	t.Setenv("CDK_DISABLE_STACK_TRACE", "1")
	t.Setenv("JSII_DEPRECATED", "quiet")
	cdk.Initialize()
	defer jsiiruntime.Close()

	for name, build := range oraclePrograms {
		t.Run(name, func(t *testing.T) {
			ours, theirs := t.TempDir(), t.TempDir()
			p.t, p.last = t, 0
			p.host.Begin(Session{})
			app := p.create("aws-cdk-lib.App", appProps(ours))
			build(viaHost{p}, app)
			p.synth(app)

			kernel := viaKernel{}
			app2 := kernel.create("aws-cdk-lib.App", appProps(theirs))
			build(kernel, app2)
			kernel.invoke(app2, "synth")

			entries, err := os.ReadDir(theirs)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := os.ReadDir(ours); len(n) != len(entries) {
				t.Errorf("we wrote %v, the kernel %v", n, entries)
			}
			for _, e := range entries {
				if e.IsDir() { // an asset, whose hash is in the templates
					continue
				}
				got, _ := os.ReadFile(filepath.Join(ours, e.Name()))
				want, err := os.ReadFile(filepath.Join(theirs, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(bytes.ReplaceAll(got, []byte(ours), nil), bytes.ReplaceAll(want, []byte(theirs), nil)) {
					t.Errorf("%s differs\nours:\n%s\nthe kernel's:\n%s", e.Name(), got, want)
				}
			}
		})
	}
}
