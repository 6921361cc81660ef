package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// startDynamo starts a DynamoDB with the relay's table in it.
func startDynamo(t *testing.T) string {
	t.Helper()
	dynalite, err := exec.LookPath(filepath.Join("..", "testdata", "npm", "node_modules", ".bin", "dynalite"))
	if err != nil {
		t.Skip("dynalite is not installed")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	command := exec.Command(dynalite, "--port", addr[strings.LastIndex(addr, ":")+1:], "--host", "127.0.0.1", "--createTableMs", "0")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	body := `{"TableName":"connections","BillingMode":"PAY_PER_REQUEST",
		"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],
		"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		req, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		req.Header.Set("X-Amz-Target", "DynamoDB_20120810.CreateTable")
		req.Header.Set("X-Amz-Date", "20260101T000000Z")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("CreateTable: %s %s", resp.Status, text)
			}
			return "http://" + addr
		}
		if time.Now().After(deadline) {
			t.Fatal("dynalite does not start")
		}
	}
}

// startRelayFunction runs relay.mjs as Lambda would: several environments, each with one event at a time.
func startRelayFunction(t *testing.T, dynamo, connections string, environments int) relaytest.Function {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.mjs"), proxy.RelayFunction, 0o644); err != nil {
		t.Fatal(err)
	}
	harness := filepath.Join(dir, "harness.mjs")
	if err := os.WriteFile(harness, []byte(`import readline from "node:readline"
import { handler } from "./index.mjs"
for await (const line of readline.createInterface({ input: process.stdin })) {
  let answer
  try { answer = { result: await handler(JSON.parse(line)) ?? null } } catch (err) { answer = { error: String(err.stack) } }
  process.stdout.write(JSON.stringify(answer) + "\n")
}`), 0o644); err != nil {
		t.Fatal(err)
	}
	type environment struct {
		in  io.Writer
		out *bufio.Reader
	}
	idle := make(chan *environment, environments)
	for range environments {
		command := exec.Command(node, harness)
		command.Env = []string{"TABLE=connections", "CONNECTIONS_URL=" + connections, "AWS_ENDPOINT_URL_DYNAMODB=" + dynamo, "AWS_REGION=eu-west-1",
			"AWS_ACCESS_KEY_ID=ASIARELAY", "AWS_SECRET_ACCESS_KEY=relay-secret", "AWS_SESSION_TOKEN=relay-token"}
		in, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			command.Process.Kill()
			command.Wait()
		})
		idle <- &environment{in, bufio.NewReader(out)}
	}
	return func(_ context.Context, event []byte) ([]byte, error) {
		e := <-idle
		defer func() { idle <- e }()
		if _, err := e.in.Write(append(bytes.TrimSpace(event), '\n')); err != nil {
			return nil, err
		}
		line, err := e.out.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		var answer struct {
			Result json.RawMessage
			Error  string
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return nil, err
		}
		if answer.Error != "" {
			return nil, errors.New(answer.Error)
		}
		return answer.Result, nil
	}
}

// The relay function itself, with the stub and the developer's end of a stage: nothing is lost and nothing runs twice while
// API Gateway throttles, fails and says that connections are gone which are not.
func TestRelayFunction(t *testing.T) {
	t.Parallel()
	var calls, faults atomic.Int64
	var function relaytest.Function
	g := relaytest.NewGateway(t, relaytest.GatewayOptions{
		Stage: "developer", Stages: []string{"stub"},
		Auth: &relaytest.SigV4{Region: "eu-west-1", Keys: keys, Allow: func(key relaytest.Key, action, path string) bool {
			switch {
			case strings.Contains(key.ARN, "/relay/"):
				return action == "execute-api:ManageConnections"
			case strings.Contains(key.ARN, ":user/"):
				return strings.HasPrefix(path, "/developer")
			}
			return strings.HasPrefix(path, "/stub")
		}},
		Function: func(ctx context.Context, event []byte) ([]byte, error) { return function(ctx, event) },
		Refuse: func(method, _ string) (int, bool) {
			if n := calls.Add(1); faults.Load() > 0 && method == http.MethodPost {
				switch {
				case n%5 == 0:
					return http.StatusTooManyRequests, false
				case n%40 == 21: // delivered all the same
					return http.StatusGone, true
				case n%40 == 22:
					return http.StatusInternalServerError, false
				}
			}
			return 0, false
		},
	})
	base := strings.TrimSuffix(g.Management, "/developer")
	function = startRelayFunction(t, startDynamo(t), base+"/{stage}", 3)
	url := func(stage string) string { return "ws" + strings.TrimPrefix(base, "http") + "/" + stage }

	l := startSignedStub(t, url("stub"))
	if a := l.invoke(t, []byte("1"), 2*time.Second); a.errType != proxy.ErrorNoDeveloper {
		t.Errorf("nobody there: got %s %s", a.errType, a.body)
	}
	var mu sync.Mutex
	runs := map[string]int{}
	opts := developerOptions(url("developer"))
	opts.Name = "ada"
	opts.Handler = proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) {
		mu.Lock()
		runs[inv.RequestID]++
		mu.Unlock()
		inv.Respond(inv.Event)
	})
	conn, err := proxy.Dial(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close() }()
	second := opts
	second.Name = "grace"
	if _, err := proxy.Dial(context.Background(), second); err == nil || !strings.Contains(err.Error(), "ada") {
		t.Errorf("a second developer: got %v", err)
	}
	// A function that says it is a developer is none.
	forged := opts
	forged.URL, forged.Sign = url("stub"), &proxy.Signer{Credentials: credentialsOf("ASIAFUNCTION"), Region: "eu-west-1"}
	if _, err := proxy.Dial(context.Background(), forged); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("a function as a developer: got %v", err)
	}

	faults.Store(1)
	for i := range 40 {
		body := bytes.Repeat([]byte(fmt.Sprintf("%d,", i)), 1+i*i*20)
		if a := l.invoke(t, body, 30*time.Second); a.kind != "response" || !bytes.Equal(a.body, body) {
			t.Fatalf("%d: got %s %s of %d bytes, want %d: %.200s", i, a.kind, a.errType, len(a.body), len(body), a.body)
		}
		if i%10 == 9 {
			g.Disconnect(websocket.CloseGoingAway, "Going away")
		}
	}
	faults.Store(0)
	mu.Lock()
	if len(runs) != 40 {
		t.Errorf("%d invocations ran, want 40", len(runs))
	}
	for id, n := range runs {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	mu.Unlock()

	// Who takes over has it; the other is told and leaves.
	second.TakeOver = true
	second.Handler = proxy.HandlerFunc(func(_ context.Context, inv *proxy.Invocation) { inv.Respond([]byte(`"grace"`)) })
	other, err := proxy.Dial(context.Background(), second)
	if err != nil {
		t.Fatal(err)
	}
	if a := l.invoke(t, []byte("1"), 20*time.Second); string(a.body) != `"grace"` {
		t.Errorf("taken over: got %s %s", a.errType, a.body)
	}
	other.Close()
	for try := 0; ; try++ { // until its $disconnect has been heard, a request may still go to it and be lost
		a := l.invoke(t, []byte("1"), 2*time.Second)
		if a.errType == proxy.ErrorNoDeveloper {
			break
		}
		if a.errType != proxy.ErrorDeveloperLost || try == 5 {
			t.Fatalf("left: got %s %s", a.errType, a.body)
		}
	}
}
