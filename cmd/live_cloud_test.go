package cmd

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"sst/cfn/cfntest"
	"sst/proxy/relaytest"
)

// This file is the rest of AWS that live mode meets, beside cfntest: the WebSocket API of the debug stack with IAM, the
// relay function's deployed code in Node, DynamoDB (dynalite), and a Lambda that runs deployed archives as Lambda does.

const liveRegion = "us-east-1"

// liveCloud is that of one script.
type liveCloud struct {
	aws     *cfntest.Server
	dir     string
	gateway *relaytest.Gateway
	auth    *relaytest.SigV4
	dynamo  string // URL
	denied  atomic.Bool

	mu      sync.Mutex
	relays  map[string]*nodeFunction // by hash of its archive
	serial  int
	lambda  *httptest.Server
	boxes   map[string]*liveSandbox // by function
	failure error
}

// openLiveCloud starts it.
func openLiveCloud(t testing.TB, atEnd func(func()), cloud *cfntest.Server) *liveCloud {
	dir, err := os.MkdirTemp("", "sst-live-cloud-") // not below the script's folder: these processes are not those of start
	if err != nil {
		t.Fatal(err)
	}
	atEnd(func() { os.RemoveAll(dir) })
	c := &liveCloud{aws: cloud, dir: dir, relays: map[string]*nodeFunction{}, boxes: map[string]*liveSandbox{}}
	c.startDynamo(t, atEnd)
	c.auth = &relaytest.SigV4{Region: liveRegion, Allow: c.allow, Keys: map[string]relaytest.Key{
		cfntest.Key: {Secret: "secret", ARN: "arn:aws:iam::" + cfntest.Account + ":user/tester"},
		"ASIARELAY": {Secret: "relay", Session: "relay-session", ARN: "arn:aws:sts::" + cfntest.Account + ":assumed-role/relay/relay"},
	}}
	c.gateway = relaytest.NewGateway(t, relaytest.GatewayOptions{Stage: "developer", Stages: []string{"stub"}, Auth: c.auth, Function: c.relay})
	c.lambda = httptest.NewServer(http.HandlerFunc(c.invoke))
	atEnd(func() {
		c.lambda.CloseClientConnections()
		c.mu.Lock()
		for _, r := range c.relays {
			r.command.Process.Kill()
		}
		for _, b := range c.boxes {
			b.end()
		}
		c.mu.Unlock()
		c.lambda.Close()
	})
	return c
}

// know makes a key work. The keys are read at any time, so the map is made anew.
func (c *liveCloud) know(id string, key relaytest.Key) {
	keys := maps.Clone(c.auth.Keys)
	keys[id] = key
	c.auth.Keys = keys
}

// forget ends a key, and all connections.
func (c *liveCloud) forget(id string) {
	keys := maps.Clone(c.auth.Keys)
	delete(keys, id)
	c.auth.Keys = keys
	c.gateway.Disconnect(1001, "Going away")
}

// base is the gateway's address without a stage.
func (c *liveCloud) base() string { return strings.TrimSuffix(c.gateway.Management, "/developer") }

func (c *liveCloud) startDynamo(t testing.TB, atEnd func(func())) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	command := exec.Command(filepath.Join(npmTools(), "dynalite"), "--port", fmt.Sprint(port), "--host", "127.0.0.1", "--createTableMs", "0")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	atEnd(func() {
		command.Process.Kill()
		command.Wait()
	})
	c.dynamo = fmt.Sprintf("http://127.0.0.1:%d", port)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(c.dynamo, "http://")); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("dynalite does not start")
		}
	}
}

// dynamoCall calls DynamoDB as the account.
func (c *liveCloud) dynamoCall(action string, input any) error {
	body, err := json.Marshal(input)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, c.dynamo+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+action)
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: "A", SecretAccessKey: "B"}, req, "UNSIGNED-PAYLOAD", "dynamodb", liveRegion, time.Now()); err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 && !bytes.Contains(text, []byte("ResourceInUseException")) {
		return fmt.Errorf("DynamoDB %s: %s %s", action, resp.Status, text)
	}
	return nil
}

// stackOfFunctions is every stack but the debug stack.
func (c *liveCloud) functions() (all []cfntest.Deployed) {
	for _, name := range []string{"dev-shop-web", "dev-shop-more"} {
		for _, r := range c.aws.Deployed(name, liveRegion) {
			if r.Type == "AWS::Lambda::Function" {
				all = append(all, r)
			}
		}
	}
	return all
}

func (c *liveCloud) debug(kind string) (cfntest.Deployed, error) {
	for _, r := range c.aws.Deployed("dev-shop-debug-stack", liveRegion) {
		if r.Type == kind {
			return r, nil
		}
	}
	return cfntest.Deployed{}, fmt.Errorf("the debug stack has no %s", kind)
}

// allow is IAM: the deployed policies say what roles may do, the tester is a developer.
func (c *liveCloud) allow(key relaytest.Key, action, path string) bool {
	stage, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	api, err := c.debug("AWS::ApiGatewayV2::Api")
	if err != nil {
		return false
	}
	resource := fmt.Sprintf("arn:aws:execute-api:%s:%s:%s/%s/", liveRegion, cfntest.Account, api.Physical, stage)
	role := ""
	stack := "dev-shop-web"
	switch {
	case strings.HasSuffix(key.ARN, ":user/tester"):
		return action == "execute-api:Invoke" && stage == "developer" && !c.denied.Load()
	case strings.HasSuffix(key.ARN, ":assumed-role/relay/relay"):
		stack = "dev-shop-debug-stack"
		relay, err := c.debug("AWS::Lambda::Function")
		if err != nil {
			return false
		}
		role = relay.Role()
		resource += "POST/@connections/x"
	default:
		role = strings.Split(key.ARN, "/")[1]
		resource += "$connect"
	}
	for _, r := range c.aws.Deployed(stack, liveRegion) {
		if r.Type != "AWS::IAM::Policy" || !slices.Contains(asList(r.Properties["Roles"]), any(role)) {
			continue
		}
		document, _ := r.Properties["PolicyDocument"].(map[string]any)
		for _, each := range asList(document["Statement"]) {
			statement := each.(map[string]any)
			if !slices.Contains(asList(statement["Action"]), any(action)) {
				continue
			}
			for _, pattern := range asList(statement["Resource"]) {
				if matches(pattern.(string), resource) {
					return true
				}
			}
		}
	}
	return false
}

func asList(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

// matches is IAM's * in a resource.
func matches(pattern, text string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	for i := len(head); i <= len(text); i++ {
		if matches(rest, text[i:]) {
			return true
		}
	}
	return false
}

// relay is the function behind the WebSocket API: the deployed code with the deployed environment.
func (c *liveCloud) relay(ctx context.Context, event []byte) ([]byte, error) {
	f, err := c.relayFunction()
	if err != nil {
		c.mu.Lock()
		c.failure = err
		c.mu.Unlock()
		return nil, err
	}
	return f.call(ctx, event)
}

func (c *liveCloud) relayFunction() (*nodeFunction, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	function, err := c.debug("AWS::Lambda::Function")
	if err != nil {
		return nil, err
	}
	id := fmt.Sprint(function.Properties["Code"])
	if f := c.relays[id]; f != nil {
		return f, nil
	}
	table, err := c.debug("AWS::DynamoDB::Table")
	if err != nil {
		return nil, err
	}
	properties := maps.Clone(table.Properties)
	properties["TableName"] = table.Physical
	delete(properties, "TimeToLiveSpecification") // dynalite has none; the code does not rely on it
	if err := c.dynamoCall("CreateTable", properties); err != nil {
		return nil, err
	}
	dir, err := c.unzip(function)
	if err != nil {
		return nil, err
	}
	env := variables(function)
	maps.Copy(env, map[string]string{"AWS_REGION": liveRegion, "AWS_ACCESS_KEY_ID": "ASIARELAY", "AWS_SECRET_ACCESS_KEY": "relay",
		"AWS_SESSION_TOKEN": "relay-session", "AWS_ENDPOINT_URL_DYNAMODB": c.dynamo})
	f, err := startNodeFunction(dir, env)
	if err != nil {
		return nil, err
	}
	c.relays[id] = f
	return f, nil
}

func variables(function cfntest.Deployed) map[string]string {
	env := map[string]string{}
	environment, _ := function.Properties["Environment"].(map[string]any)
	all, _ := environment["Variables"].(map[string]any)
	for name, value := range all {
		env[name], _ = value.(string)
	}
	return env
}

// unzip unpacks a function's archive, with its modes.
func (c *liveCloud) unzip(function cfntest.Deployed) (string, error) {
	data, err := c.aws.Code(function)
	if err != nil {
		return "", err
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return "", err
	}
	c.serial++
	dir := filepath.Join(c.dir, fmt.Sprintf("code-%d", c.serial))
	for _, file := range archive.File {
		r, err := file.Open()
		if err != nil {
			return "", err
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return "", err
		}
		name := filepath.Join(dir, filepath.FromSlash(file.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(name, content, file.Mode().Perm()); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// nodeFunction is a handler "index.handler" in a Node process.
type nodeFunction struct {
	command *exec.Cmd
	input   io.Writer

	mu      sync.Mutex
	next    int
	waiting map[int]chan nodeAnswer
}

type nodeAnswer struct {
	ID     int
	Result json.RawMessage
	Error  string
}

const nodeHarness = `import readline from "node:readline"
const { handler } = await import(process.argv[2])
readline.createInterface({ input: process.stdin }).on("line", async line => {
  const { id, event } = JSON.parse(line)
  let answer
  try { answer = { id, result: await handler(event) ?? null } } catch (err) { answer = { id, error: String(err.stack) } }
  process.stdout.write(JSON.stringify(answer) + "\n")
})`

func startNodeFunction(dir string, env map[string]string) (*nodeFunction, error) {
	harness := filepath.Join(dir, "harness.mjs")
	if err := os.WriteFile(harness, []byte(nodeHarness), 0o644); err != nil {
		return nil, err
	}
	f := &nodeFunction{command: exec.Command("node", harness, filepath.Join(dir, "index.mjs")), waiting: map[int]chan nodeAnswer{}}
	f.command.Env = []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range env {
		f.command.Env = append(f.command.Env, name+"="+value)
	}
	f.command.Stderr = os.Stderr
	var err error
	if f.input, err = f.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := f.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var a nodeAnswer
			if json.Unmarshal(lines.Bytes(), &a) != nil {
				continue
			}
			f.mu.Lock()
			waiting := f.waiting[a.ID]
			delete(f.waiting, a.ID)
			f.mu.Unlock()
			if waiting != nil {
				waiting <- a
			}
		}
		f.command.Wait()
	}()
	return f, nil
}

func (f *nodeFunction) call(ctx context.Context, event []byte) ([]byte, error) {
	answer := make(chan nodeAnswer, 1)
	f.mu.Lock()
	f.next++
	f.waiting[f.next] = answer
	_, err := fmt.Fprintf(f.input, `{"id":%d,"event":%s}`+"\n", f.next, event)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		if a.Error != "" {
			return nil, errors.New(a.Error)
		}
		return a.Result, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// liveSandbox is an execution environment: the process, and the Runtime API it asks.
type liveSandbox struct {
	about   string // what it was made of
	command *exec.Cmd
	server  *httptest.Server
	events  chan liveEvent
	turn    sync.Mutex // one invocation at a time
	ended   chan struct{}

	mu      sync.Mutex
	current *liveEvent
}

type liveEvent struct {
	id       string
	body     []byte
	deadline time.Time
	arn      string
	answer   chan liveAnswer
}

type liveAnswer struct {
	failed bool
	body   []byte
}

func (b *liveSandbox) end() {
	b.command.Process.Kill()
	<-b.ended
	b.server.CloseClientConnections()
	b.server.Close()
}

// sandbox gives the execution environment of a function, a new one when the function was deployed anew.
func (c *liveCloud) sandbox(function cfntest.Deployed) (*liveSandbox, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := json.Marshal(function.Properties)
	if err != nil {
		return nil, err
	}
	if b := c.boxes[function.Physical]; b != nil {
		select {
		case <-b.ended:
		default:
			if b.about == string(text) {
				return b, nil
			}
			b.end()
		}
	}
	dir, err := c.unzip(function)
	if err != nil {
		return nil, err
	}
	b := &liveSandbox{about: string(text), events: make(chan liveEvent), ended: make(chan struct{})}
	b.server = httptest.NewServer(http.HandlerFunc(b.serve))
	key := fmt.Sprintf("ASIAROLE%04d", c.serial)
	c.know(key, relaytest.Key{Secret: "role-secret", Session: "role-session",
		ARN: fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", cfntest.Account, function.Role(), function.Physical)})
	env := map[string]string{"PATH": "/var/lang/bin:" + os.Getenv("PATH"), "AWS_REGION": liveRegion, "AWS_DEFAULT_REGION": liveRegion,
		"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "role-secret", "AWS_SESSION_TOKEN": "role-session",
		"AWS_LAMBDA_RUNTIME_API": strings.TrimPrefix(b.server.URL, "http://"), "AWS_LAMBDA_FUNCTION_NAME": function.Physical,
		"AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": fmt.Sprint(function.Properties["MemorySize"]),
		"AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + function.Physical, "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0",
		"AWS_EXECUTION_ENV": "AWS_Lambda_" + fmt.Sprint(function.Properties["Runtime"]), "_HANDLER": fmt.Sprint(function.Properties["Handler"]),
		"LAMBDA_TASK_ROOT": dir, "LAMBDA_RUNTIME_DIR": "/var/runtime", "TZ": ":UTC", "LANG": "en_US.UTF-8"}
	maps.Copy(env, variables(function))
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	// The bootstrap of a managed runtime starts the wrapper with the command it would have run itself.
	wrapper := env["AWS_LAMBDA_EXEC_WRAPPER"]
	if wrapper == "" {
		return nil, fmt.Errorf("%s is no stub", function.LogicalID)
	}
	b.command = exec.Command(strings.Replace(wrapper, "/var/task", dir, 1), node, "--max-http-header-size", "81920", "/var/runtime/index.mjs")
	b.command.Dir = dir
	for name, value := range env {
		b.command.Env = append(b.command.Env, name+"="+value)
	}
	b.command.Stderr = os.Stderr
	if err := b.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		b.command.Wait()
		close(b.ended)
	}()
	c.boxes[function.Physical] = b
	return b, nil
}

// serve is the Runtime API.
func (b *liveSandbox) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/2018-06-01/runtime/")
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	current := b.current
	b.mu.Unlock()
	if path == "invocation/next" && r.Method == http.MethodGet {
		select {
		case e := <-b.events:
			b.mu.Lock()
			b.current = &e
			b.mu.Unlock()
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", e.id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(e.deadline.UnixMilli()))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", e.arn)
			w.Header().Set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1")
			w.Header().Set("Content-Type", "application/json")
			w.Write(e.body)
		case <-r.Context().Done():
		}
		return
	}
	rest, _ := strings.CutPrefix(path, "invocation/")
	id, kind, _ := strings.Cut(rest, "/")
	if !ok || r.Method != http.MethodPost || current == nil || id != current.id || kind != "response" && kind != "error" {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.current = nil
	b.mu.Unlock()
	current.answer <- liveAnswer{kind == "error", body}
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"status":"OK"}`)
}

// invoke is Lambda's Invoke API.
func (c *liveCloud) invoke(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/2015-03-31/functions/"), "/invocations")
	body, _ := io.ReadAll(r.Body)
	all := c.functions()
	i := slices.IndexFunc(all, func(f cfntest.Deployed) bool { return f.Physical == name })
	if i < 0 {
		w.Header().Set("X-Amzn-Errortype", "ResourceNotFoundException")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"Message":"Function not found: %s"}`, name)
		return
	}
	b, err := c.sandbox(all[i])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	timeout := 3 * time.Second
	if s, ok := all[i].Properties["Timeout"].(float64); ok {
		timeout = time.Duration(s) * time.Second
	}
	c.mu.Lock()
	c.serial++
	e := liveEvent{id: fmt.Sprintf("8f14e45f-ceea-467f-a8d2-%012d", c.serial), body: body, deadline: time.Now().Add(timeout),
		arn: "arn:aws:lambda:" + liveRegion + ":" + cfntest.Account + ":function:" + name, answer: make(chan liveAnswer, 1)}
	c.mu.Unlock()
	select {
	case b.events <- e:
	case <-b.ended:
		http.Error(w, "the sandbox ended", http.StatusInternalServerError)
		return
	case <-time.After(20 * time.Second):
		http.Error(w, "the stub does not ask for its event", http.StatusInternalServerError)
		return
	}
	select {
	case a := <-e.answer:
		if a.failed {
			w.Header().Set("X-Amz-Function-Error", "Unhandled")
		}
		w.Write(a.body)
	case <-time.After(time.Until(e.deadline)):
		b.command.Process.Kill()
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		fmt.Fprintf(w, `{"errorMessage":"Task timed out after %.2f seconds"}`, timeout.Seconds())
	}
}

// call invokes a function by its construct id, with the AWS SDK.
func (c *liveCloud) call(id, payload string) (string, error) {
	for _, f := range c.functions() {
		_, path, _ := strings.Cut(f.Path, "-shop-")
		if strings.TrimSuffix(path, "/Resource") != id && strings.TrimSuffix(path, "/Resource/Resource") != id {
			continue
		}
		client := lambda.New(lambda.Options{BaseEndpoint: &c.lambda.URL, Region: liveRegion,
			Credentials: credentials.NewStaticCredentialsProvider("A", "B", ""), RetryMaxAttempts: 1})
		out, err := client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.Physical, Payload: []byte(payload)})
		if err != nil {
			return "", err
		}
		if out.FunctionError != nil {
			return "", errors.New(*out.FunctionError + " " + string(out.Payload))
		}
		return string(out.Payload), nil
	}
	return "", fmt.Errorf("no function %s is deployed", id)
}
