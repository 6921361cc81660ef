package builtins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	cdk "github.com/aws/aws-cdk-go/awscdk/v2/jsii"
	jsiiruntime "github.com/aws/jsii-runtime-go"
	"github.com/aws/jsii-runtime-go/runtime"

	"sst/builtins/jsii"
)

// kernel is a host that is the jsii kernel, as the CDK's own Go bindings use it: the second opinion on what Starlark programs mean. It
// does what the generic calls of its client allow; programs that need more (callbacks, enums that come back) are not asked about.
type kernel struct {
	objects map[int64]any
	ids     map[any]int64
	lastID  int64 // of objects that nobody gave an id: negative
	failed  error
}

var _ host = (*kernel)(nil)

// errBeyond marks what the kernel's client cannot do for us.
var errBeyond = errors.New("beyond the kernel's generic client")

type jsiiProxy_object struct{ _ byte } //nolint:revive // the runtime wants the prefix

type kernelEnum string

func (e kernelEnum) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"$jsii.enum": string(e)})
}

func (k *kernel) Send(op jsii.Op) {
	if k.failed == nil {
		_, k.failed = k.do(op)
	}
}

func (k *kernel) Call(_ context.Context, op jsii.Op) (jsii.Value, error) {
	if err := k.Flush(nil); err != nil {
		return nil, err
	}
	return k.do(op)
}

func (k *kernel) Flush(context.Context) error {
	err := k.failed
	k.failed = nil
	return err
}

func (k *kernel) Synth(ctx context.Context, app int64, tag int) (*jsii.SynthReply, error) {
	_, err := k.Call(ctx, jsii.Op{Kind: jsii.Invoke, Target: app, Member: "synth", Returns: jsii.TypeRef{Kind: jsii.Void}})
	return &jsii.SynthReply{}, err
}

func (k *kernel) Missing(context.Context) ([]jsii.Missing, error) { return nil, nil }
func (k *kernel) Use(string, []jsii.Library) error                { return errBeyond }

func (k *kernel) do(op jsii.Op) (v jsii.Value, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the kernel: %v", fault)
		}
	}()
	args := make([]any, len(op.Args))
	for i, arg := range op.Args {
		args[i] = k.argument(arg)
	}
	var ret any
	switch op.Kind {
	case jsii.Create:
		obj := &jsiiProxy_object{}
		runtime.Create(runtime.FQN(op.FQN), args, obj)
		k.keep(obj, op.ID)
		return nil, nil
	case jsii.Invoke:
		if op.Returns.Kind == jsii.Void {
			runtime.InvokeVoid(k.objects[op.Target], op.Member, args)
			return nil, nil
		}
		runtime.Invoke(k.objects[op.Target], op.Member, args, &ret)
	case jsii.Static:
		if op.Returns.Kind == jsii.Void {
			runtime.StaticInvokeVoid(runtime.FQN(op.FQN), op.Member, args)
			return nil, nil
		}
		runtime.StaticInvoke(runtime.FQN(op.FQN), op.Member, args, &ret)
	case jsii.Get:
		runtime.Get(k.objects[op.Target], op.Member, &ret)
	case jsii.Set:
		runtime.Set(k.objects[op.Target], op.Member, args[0])
		return nil, nil
	case jsii.StaticGet:
		runtime.StaticGet(runtime.FQN(op.FQN), op.Member, &ret)
	case jsii.NodePath:
		var node any
		runtime.Get(k.objects[op.Target], "node", &node)
		runtime.Get(node, "path", &ret)
	default:
		panic(errBeyond)
	}
	return k.result(ret, op.Returns, op.ID), nil
}

func (k *kernel) keep(obj any, id int64) int64 {
	if id != 0 {
		k.objects[id] = obj
	}
	if known, ok := k.ids[obj]; ok {
		return known
	}
	if id == 0 {
		k.lastID--
		id = k.lastID
		k.objects[id] = obj
	}
	k.ids[obj] = id
	return id
}

func (k *kernel) argument(v jsii.Value) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case jsii.Ref:
		return k.objects[v.ID]
	case jsii.EnumValue:
		return kernelEnum(v.FQN + "/" + v.Member)
	case jsii.Callback:
		panic(errBeyond)
	case jsii.Pairs:
		m := map[string]any{}
		for _, p := range v {
			m[p.Name] = k.argument(p.Value)
		}
		return m
	case map[string]jsii.Value:
		m := map[string]any{}
		for name, item := range v {
			m[name] = k.argument(item)
		}
		return m
	case []jsii.Value:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = k.argument(item)
		}
		return list
	}
	return v
}

// result gives what came back as the host would.
func (k *kernel) result(v any, ref jsii.TypeRef, id int64) jsii.Value {
	switch v := v.(type) {
	case nil, bool, string, float64, time.Time:
		return v
	case []any:
		elem := jsii.TypeRef{Kind: jsii.Any}
		if ref.Elem != nil {
			elem = *ref.Elem
		}
		list := make([]jsii.Value, len(v))
		for i, item := range v {
			list[i] = k.result(item, elem, 0)
		}
		return list
	case map[string]any:
		m := map[string]jsii.Value{}
		for name, item := range v {
			m[name] = k.result(item, jsii.TypeRef{Kind: jsii.Any}, 0)
		}
		return m
	}
	if reflect.TypeOf(v).Kind() != reflect.Pointer || ref.Kind != jsii.Named {
		panic(errBeyond)
	}
	return jsii.Ref{ID: k.keep(v, id), FQN: ref.FQN}
}

const (
	oracleSample = 12  // programs in each run of the tests
	oracleAll    = 200 // with SST_TEST_ALL
)

// TestOracleOfCorpus runs examples of the CDK's documentation through the jsii kernel: the templates must be those of Node, which are ours.
func TestOracleOfCorpus(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("takes some seconds; jsii-runtime-go has a data race of its own")
	}
	engine(t)
	wanted := oracleSample
	if os.Getenv("SST_TEST_ALL") != "" {
		wanted = oracleAll
	}
	c, err := openCorpus(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	list, err := examples()
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := sample()
	if err != nil {
		t.Fatal(err)
	}
	if wanted > oracleSample {
		chosen = append(chosen, spread(list, len(list))...)
	}
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	startKernel(t, c.node, base)
	node := &nodeRunner{node: c.node, dir: c.cdk, root: base, out: filepath.Join(base, "node")}
	defer node.close()
	agreed, beyond, done := 0, 0, map[string]bool{}
	for _, e := range chosen {
		if agreed == wanted {
			break
		}
		if done[e.ID] || e.Python == "" {
			continue
		}
		done[e.ID] = true
		want, ok := c.meant.get(e.ID)
		if !ok {
			if want, err = node.run(e); err != nil {
				t.Fatal(err)
			}
		}
		if want.Error != "" || len(want.Templates) == 0 {
			continue
		}
		same, err := kernelAgrees(e, want, filepath.Join(base, "out"))
		switch {
		case err != nil:
			beyond++ // what fails here passes the corpus test, or is listed there
		case !same:
			t.Errorf("%s (%s): the kernel makes other templates than Node\n%s", e.ID, e.Of, e.starlark())
		default:
			agreed++
		}
	}
	t.Logf("%d examples make the same templates through jsii-runtime-go; %d use what its generic calls cannot do", agreed, beyond)
	if agreed < wanted {
		t.Errorf("only %d examples could be compared, want %d", agreed, wanted)
	}
}

// startKernel starts the process-wide kernel, with the time and chance of our host.
func startKernel(t *testing.T, node jsii.Node, base string) {
	t.Helper()
	pins := filepath.Join(base, "pins.js")
	begin, end := strings.Index(nodeJS, "// The same time and chance"), strings.Index(nodeJS, "process.chdir")
	if begin < 0 || end < begin {
		t.Fatal("node.js has no pins")
	}
	if err := os.WriteFile(pins, []byte(nodeJS[begin:end]), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"DEPRECATED", "END_OF_LIFE", "KNOWN_BROKEN", "UNTESTED"} {
		t.Setenv("JSII_SILENCE_WARNING_"+name+"_NODE_VERSION", fmt.Sprint(node.Major))
	}
	for name, value := range map[string]string{
		"JSII_NODE": node.Path, "CDK_VALIDATION": "false", "CDK_DISABLE_STACK_TRACE": "1", "JSII_DEPRECATED": "quiet", "NODE_OPTIONS": "--require=" + pins,
	} {
		t.Setenv(name, value)
	}
	cdk.Initialize()
	t.Cleanup(jsiiruntime.Close)
}

// kernelAgrees says whether the kernel makes the wanted templates of an example; an error says that it could not be tried.
func kernelAgrees(e *example, want *meant, out string) (bool, error) {
	source := e.starlark()
	if err := os.RemoveAll(out); err != nil {
		return false, err
	}
	in := Input{File: filepath.Join(filepath.Dir(out), "main.star"), OutDir: out, Read: func(string) ([]byte, error) { return []byte(source), nil }}
	p := &translation{session: newSession(context.Background(), in, &kernel{objects: map[int64]any{}, ids: map[any]int64{}}), out: out}
	if err := p.resolves(source, want.Kind); err != nil {
		return false, err
	}
	templates, err := p.run(want.Kind, false)
	p.session.ended = true
	if err != nil {
		return false, err
	}
	return reflect.DeepEqual(unordered(any(templates)), unordered(any(want.Templates))), nil
}

// unordered is a value whose JSON in strings has its keys sorted: Go's maps, which the client of the kernel takes, have no order.
func unordered(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, item := range v {
			m[name] = unordered(item)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = unordered(item)
		}
		return list
	case string:
		var inner any
		if strings.HasPrefix(v, "{") && json.Unmarshal([]byte(v), &inner) == nil {
			return unordered(inner)
		}
	}
	return v
}
