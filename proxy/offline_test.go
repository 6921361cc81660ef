package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sst/proxy"
	"sst/proxy/relaytest"
)

// TestOffline runs the relay that is deployed, the function of relay.mjs, behind somebody else's WebSocket gateway, that of
// serverless-offline, and holds the wire to the same: payloads, cuts, nobody there. It runs when that is installed in
// testdata/offline (make offline).
func TestOffline(t *testing.T) {
	folder, err := filepath.Abs(filepath.Join("..", "testdata", "offline"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "serverless-offline")); err != nil {
		t.Skip("skipped: serverless-offline is not installed (make offline)")
	}
	url := startOffline(t, folder)
	target := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/")
	seed := seedOf(t)
	tcp, boxes := relaytest.NewProxy(t, target, seed), relaytest.NewProxy(t, target, seed+1)

	s, err := proxy.OpenSandbox(context.Background(), proxy.SandboxOptions{URL: url, Init: proxy.Init{Function: "f"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	invoke := func(event []byte) *proxy.Response {
		t.Helper()
		r, err := s.Invoke(context.Background(), proxy.Request{Event: event, Deadline: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := invoke([]byte("1")); r.ErrorType != proxy.ErrorNoDeveloper {
		t.Errorf("nobody there: got %+v %s", r, r.Body)
	}
	runs := newRuns(t, tcp.URL)
	n := loadWhile(t, boxes.URL, seed, 3, func() {
		for i := range 10 {
			time.Sleep(300 * time.Millisecond)
			p := boxes
			if i%3 == 0 {
				p = tcp
			}
			p.CutOne(relaytest.Cut(i%2), 100+i*211)
		}
	})
	runs.check(n)
	t.Logf("%d invocations, %d and %d cuts", n, tcp.Cuts(), boxes.Cuts())

	l, _ := startStubConfig(t, map[string]any{"url": url, "token": "none"})
	for name, payload := range relaytest.Payloads() {
		if len(payload) > 1<<20 && !*full {
			continue
		}
		if a := l.invoke(t, payload, time.Minute); !bytes.HasSuffix(a.body, payload) || a.kind != "response" {
			t.Errorf("%s: got %s %s of %d bytes, want the %d sent", name, a.kind, a.errType, len(a.body), len(payload))
		}
	}
}

// startOffline starts DynamoDB and the gateway and gives the gateway's URL.
func startOffline(t *testing.T, folder string) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("skipped: node is not installed")
	}
	var ports []string
	var held []net.Listener
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	for _, l := range held {
		l.Close()
	}
	root := t.TempDir()
	relay, err := os.ReadFile("relay.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(folder, "node_modules"), filepath.Join(root, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"relay.mjs": string(relay),
		"serverless.yml": `service: live
frameworkVersion: "3"
provider:
  name: aws
  runtime: nodejs20.x
  websocketsApiRouteSelectionExpression: $request.body.t
  environment:
    TABLE: connections
    AWS_REGION: us-east-1
    AWS_ACCESS_KEY_ID: local
    AWS_SECRET_ACCESS_KEY: local
    AWS_ENDPOINT_URL_DYNAMODB: http://127.0.0.1:` + ports[0] + `
    CONNECTIONS_URL: http://127.0.0.1:` + ports[1] + `
plugins: [serverless-offline]
functions:
  relay:
    handler: relay.handler
    timeout: 15
    events: [{ websocket: $connect }, { websocket: $disconnect }, { websocket: $default }]
`,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	modules := filepath.Join(folder, "node_modules")
	run := func(args ...string) {
		cmd := exec.Command(node, args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "SLS_TELEMETRY_DISABLED=1", "SLS_NOTIFICATIONS_MODE=off", "SLS_TRACKING_DISABLED=1", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local")
		said := &lockedBuffer{}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
			if t.Failed() {
				t.Logf("%s: %.3000s", args[0], said.String())
			}
		})
	}
	until := func(what string, ready func() error) {
		t.Helper()
		var err error
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
			if err = ready(); err == nil {
				return
			}
		}
		t.Fatalf("%s is not there: %v", what, err)
	}
	run(filepath.Join(modules, "dynalite", "cli.js"), "--port", ports[0], "--host", "127.0.0.1", "--createTableMs", "0")
	until("DynamoDB", func() error {
		table := `{"TableName":"connections","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],` +
			`"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`
		req, _ := http.NewRequest("POST", "http://127.0.0.1:"+ports[0]+"/", strings.NewReader(table))
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		req.Header.Set("X-Amz-Target", "DynamoDB_20120810.CreateTable")
		req.Header.Set("X-Amz-Date", "20260101T000000Z")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 && !bytes.Contains(body, []byte("ResourceInUse")) {
			return fmt.Errorf("%s: %s", res.Status, body)
		}
		return nil
	})
	run(filepath.Join(modules, "serverless", "bin", "serverless.js"), "offline", "--host", "127.0.0.1",
		"--websocketPort", ports[1], "--httpPort", ports[2], "--lambdaPort", ports[3], "--albPort", ports[4])
	url := "ws://127.0.0.1:" + ports[1] + "/"
	until("serverless-offline", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		conn, err := proxy.Dial(ctx, proxy.DialOptions{URL: url, TakeOver: true, Handler: proxy.HandlerFunc(func(context.Context, *proxy.Invocation) {})})
		if err == nil {
			conn.Close()
		}
		return err
	})
	return url
}

// lockedBuffer is a buffer that a process writes to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *lockedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *lockedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
