//go:build !windows

package runtime

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/aws/aws-lambda-go/lambda" // what testdata/gofunc is made with

	"sst/cfn"
)

// The conformance tests: real, unmodified runtime clients against the Runtime API of a worker. What a client asks and is
// answered is a transcript, kept in testdata/conformance; the emulator of AWS gives the same one where it is installed.

var update = flag.Bool("update", false, "rewrite the transcripts in testdata/conformance")

// transcript writes down what a Runtime API is asked and answers, with the headers that the protocol is made of.
type transcript struct {
	mu    sync.Mutex // guards what follows
	lines []string   // in the order of arrival
	taken int
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (tr *transcript) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := r.Method + " " + requestID.ReplaceAllString(strings.TrimPrefix(r.URL.Path, "/2018-06-01/runtime/"), "ID")
		for _, name := range []string{"Content-Type", "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Response-Mode"} {
			if value := r.Header.Get(name); value != "" {
				line += " [" + name + ": " + value + "]"
			}
		}
		if trailers := slices.Sorted(maps.Keys(r.Trailer)); len(trailers) > 0 { // those that are announced
			line += " [trailers: " + strings.Join(trailers, ", ") + "]"
		}
		tr.mu.Lock()
		at := len(tr.lines)
		tr.lines = append(tr.lines, line+waits)
		tr.mu.Unlock()
		got := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			if r.Context().Err() != nil && strings.HasSuffix(r.URL.Path, "/next") {
				return // the process has gone while it waited
			}
			line += fmt.Sprintf(" -> %d", got.status)
			var set []string
			for name := range got.Header() {
				if short, ok := strings.CutPrefix(name, "Lambda-Runtime-"); ok {
					set = append(set, short)
				}
			}
			if slices.Sort(set); len(set) > 0 {
				line += " [" + strings.Join(set, ", ") + "]"
			}
			tr.mu.Lock()
			tr.lines[at] = line
			tr.mu.Unlock()
		}()
		next.ServeHTTP(got, r)
	})
}

var requestID = regexp.MustCompile(`id-\d+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

const waits = " -> nothing"

// take gives what was written down since the last call. A call of next that still waits comes with what it is told.
func (tr *transcript) take() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	lines := tr.lines[tr.taken:]
	if n := len(lines); n > 0 && strings.HasSuffix(lines[n-1], waits) {
		lines = lines[:n-1]
	}
	tr.taken += len(lines)
	return strings.Join(lines, "\n")
}

// runtimeClient is one of AWS's runtime interface clients with a function of ours.
type runtimeClient struct {
	name    string
	command []string // handler follows
	streams string   // handler of streams; "": it has none
	error   string   // type and message of the error its handler gives
	task    string   // folder of the function
}

// goFunction builds testdata/gofunc once.
var goFunction = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sst-gofunc-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "bootstrap")
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, "./testdata/gofunc").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
})

// runtimeClients are those that are there; the others are said to be missing.
func runtimeClients(t testing.TB) []runtimeClient {
	t.Helper()
	binary, err := goFunction()
	if err != nil {
		t.Fatal(err)
	}
	task, err := filepath.Abs(filepath.Join("testdata", "conformance"))
	if err != nil {
		t.Fatal(err)
	}
	clients := []runtimeClient{{name: "aws-lambda-go", command: []string{binary}, streams: "fn.handler", error: "errorString: no such note", task: task}}
	ric, err := filepath.Abs(filepath.Join("..", "testdata", "ric", "node_modules", "aws-lambda-ric"))
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if _, native := os.Stat(filepath.Join(ric, "rapid-client.node")); err == nil && native == nil {
		clients = append(clients, runtimeClient{name: "aws-lambda-ric", command: []string{node, filepath.Join(ric, "index.mjs")}, streams: "fn.stream", error: "RangeError: no such note", task: task})
	} else {
		t.Log("skipped: npm's aws-lambda-ric is not installed with its native part (make ric; it needs cmake, autoconf, automake and libtool)")
	}
	if python, err := exec.LookPath("python3"); err == nil && exec.Command(python, "-c", "import awslambdaric").Run() == nil {
		clients = append(clients, runtimeClient{name: "awslambdaric", command: []string{python, "-m", "awslambdaric"}, error: "ValueError: no such note", task: task})
	} else {
		t.Log("skipped: Python's awslambdaric cannot be imported (pip install awslambdaric)")
	}
	return clients
}

// environment is what a client wants beside the address of the Runtime API.
func (c runtimeClient) environment(handler string) []string {
	return append(os.Environ(), "_HANDLER="+handler, "LAMBDA_TASK_ROOT="+c.task, "AWS_EXECUTION_ENV=", "AWS_REGION=us-east-1",
		"AWS_LAMBDA_FUNCTION_NAME=fn", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/fn", "AWS_LAMBDA_LOG_STREAM_NAME=$LATEST", "PYTHONDONTWRITEBYTECODE=1")
}

// asked is one event for a client and what must come of it.
type asked struct {
	name, event string
	header      map[string]string
	want        func(c runtimeClient, got answer, streamed string) string // what is wrong with it, "" nothing
}

// withContext is what the Runtime API tells about an invocation.
var withContext = map[string]string{
	"Lambda-Runtime-Client-Context":   `{"custom":{"who":"ada"}}`,
	"Lambda-Runtime-Cognito-Identity": `{"cognitoIdentityId":"i-1","cognitoIdentityPoolId":"p-1"}`,
	"Lambda-Runtime-Trace-Id":         "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1",
	"Lambda-Runtime-Aws-Tenant-Id":    "tenant-1",
}

func (c runtimeClient) failed(got answer, want string) string {
	var shape struct{ ErrorType, ErrorMessage string }
	json.Unmarshal(got.body, &shape)
	if got.errorType == "" || shape.ErrorType+": "+shape.ErrorMessage != want {
		return "want error " + want
	}
	return ""
}

const bigPad = 3 << 20 // aws-lambda-go escapes U+2028, so its answer is larger

var conversation = []asked{
	{name: "context", event: `{"do":"context"}`, header: withContext, want: func(c runtimeClient, got answer, _ string) string {
		var is map[string]any
		if json.Unmarshal(got.body, &is) != nil || got.errorType != "" {
			return "want a result"
		}
		left, _ := is["left"].(float64)
		if delete(is, "left"); left <= 50_000 || left > 60_000 {
			return fmt.Sprintf("%v ms are left of a minute", left)
		}
		want := map[string]any{"id": "id-1", "arn": "arn:aws:lambda:us-east-1:000000000000:function:fn", "client": "ada", "identity": "i-1", "tenant": "tenant-1",
			"trace": withContext["Lambda-Runtime-Trace-Id"], "name": "fn", "version": "$LATEST", "memory": 128.0, "group": "/aws/lambda/fn", "stream": "$LATEST"}
		if !maps.Equal(is, want) {
			return fmt.Sprintf("want %v", want)
		}
		return ""
	}},
	{name: "what is absent stays absent", event: `{"do":"context"}`, want: func(_ runtimeClient, got answer, _ string) string {
		var is struct{ Client, Identity, Tenant, Trace string }
		if err := json.Unmarshal(got.body, &is); err != nil || is.Client+is.Identity+is.Tenant+is.Trace != "" {
			return fmt.Sprintf("%+v, %v", is, err)
		}
		return ""
	}},
	{name: "handler error", event: `{"do":"error"}`, want: func(c runtimeClient, got answer, _ string) string { return c.failed(got, c.error) }},
	{name: "big payload", event: `{"do":"echo","pad":"` + strings.Repeat("\u2028é", bigPad/5) + `"}`, want: func(_ runtimeClient, got answer, _ string) string {
		var is struct{ Pad string }
		if json.Unmarshal(got.body, &is); is.Pad != strings.Repeat("\u2028é", bigPad/5) {
			return "want the event back"
		}
		return ""
	}},
}

var streams = []asked{
	{name: "stream", event: `{"do":"stream"}`, want: func(_ runtimeClient, got answer, streamed string) string {
		head, body, _ := strings.Cut(streamed, strings.Repeat("\x00", 8))
		var meta struct {
			StatusCode int
			Headers    map[string]string
		}
		if json.Unmarshal([]byte(head), &meta) != nil || meta.StatusCode != 201 || meta.Headers["x-made"] != "yes" || body != "one two" || got.errorType != "" ||
			got.contentType != "application/vnd.awslambda.http-integration-response" {
			return fmt.Sprintf("got %q of %s", streamed, got.contentType)
		}
		return ""
	}},
	{name: "error in a stream", event: `{"do":"late"}`, want: func(c runtimeClient, got answer, streamed string) string {
		if !strings.HasSuffix(streamed, "one ") || !strings.Contains(string(got.body), `too late`) || got.errorType == "" {
			return fmt.Sprintf("got %q, then %s %s", streamed, got.errorType, got.body)
		}
		return ""
	}},
}

// session is a client's process and the Runtime API it talks to.
type session struct {
	t      testing.TB
	client runtimeClient
	api    *runtimeAPI
	tr     *transcript
	cmd    *exec.Cmd
	ended  chan struct{}
	said   *syncBuffer
	count  int
}

// syncBuffer is what a process prints.
type syncBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.text) < 4096 {
		b.text = append(b.text, p[:min(len(p), 4096)]...)
	}
	return len(p), nil
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

func (c runtimeClient) begin(t testing.TB, handler string) *session {
	t.Helper()
	api, err := openRuntimeAPI()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, client: c, api: api, tr: &transcript{}, ended: make(chan struct{}), said: &syncBuffer{}}
	api.flush, api.onNext, api.gone = func() {}, func() {}, s.ended
	api.server.Handler = s.tr.record(api)
	api.serve()
	s.cmd = exec.Command(c.command[0], append(slices.Clone(c.command[1:]), handler)...)
	s.cmd.Env = append(c.environment(handler), "AWS_LAMBDA_RUNTIME_API="+api.addr)
	s.cmd.Dir = c.task
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.ended
		api.close()
		if t.Failed() {
			t.Logf("%s said: %s", c.name, s.said)
		}
	})
	return s
}

// asks says whether the client asks for the next event, soon.
func (s *session) asks() bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	return s.api.settled(ctx)
}

// ask delivers an event and gives what came of it; the last string is a streamed result.
func (s *session) ask(a asked) (answer, string) {
	s.t.Helper()
	s.count++
	d := testDelivery(fmt.Sprintf("id-%d", s.count), a.event)
	d.header.Set("Lambda-Runtime-Deadline-Ms", deadlineHeader(time.Now().Add(time.Minute)))
	d.header.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:fn")
	for name, value := range a.header {
		d.header.Set(name, value)
	}
	if !s.asks() {
		s.t.Fatalf("%s: the client does not ask for an event: %s", a.name, s.said)
	}
	s.api.deliver(d)
	select {
	case got := <-d.answered:
		if got.stream == nil {
			return got, ""
		}
		body, err := io.ReadAll(got.stream)
		late, failed := got.stream.late()
		got.stream.close(err != nil)
		if failed {
			late.contentType = got.contentType
			return late, string(body)
		}
		if err != nil {
			s.t.Errorf("%s: the stream ends with %v", a.name, err)
		}
		return got, string(body)
	case <-s.ended: // as a worker's end is answered for
		s.api.close()
		return answer{errorType: errorExit}, ""
	case <-time.After(10 * time.Second):
		s.t.Fatalf("%s was not answered", a.name)
	}
	return answer{}, ""
}

// converse leads a client through the conversation and gives the transcript of it.
func (client runtimeClient) converse(t testing.TB) string {
	var text strings.Builder
	next := map[bool]string{true: "it asks for the next event", false: "its process ends"}
	hold := func(s *session, list []asked) {
		for _, a := range list {
			got, streamed := s.ask(a)
			if wrong := a.want(client, got, streamed); wrong != "" {
				t.Errorf("%s: got %s %.300s: %s", a.name, got.errorType, got.body, wrong)
			}
		}
	}
	s := client.begin(t, "fn.handler")
	for _, a := range conversation {
		hold(s, []asked{a})
		s.asks()
		fmt.Fprintf(&text, "# %s\n%s\n", a.name, s.tr.take())
	}
	// A result over 6 MB is refused. Whether its client goes on is its own business; Lambda's error stands.
	got, _ := s.ask(asked{name: "large result", event: `{"do":"large"}`})
	if got.errorType != errorTooLarge {
		t.Errorf("large result: got %s %.300s", got.errorType, got.body)
	}
	alive := s.asks()
	fmt.Fprintf(&text, "# large result; then %s\n%s\n", next[alive], s.tr.take())

	// Most clients report an event that is not JSON; aws-lambda-ric 4 ends, which is answered for as any end of a process.
	s = client.begin(t, "fn.handler")
	if got, _ := s.ask(asked{name: "invalid JSON", event: `{"do":`}); got.errorType == "" {
		t.Errorf("invalid JSON: got %.300s", got.body)
	}
	alive = s.asks()
	fmt.Fprintf(&text, "# invalid JSON; then %s\n%s\n", next[alive], s.tr.take())

	// Out of time: the process is ended as it is, and says nothing more.
	s = client.begin(t, "fn.handler")
	if !s.asks() {
		t.Fatal("it does not ask for an event")
	}
	d := testDelivery("id-1", `{"do":"sleep"}`)
	d.header.Set("Lambda-Runtime-Deadline-Ms", deadlineHeader(time.Now().Add(time.Minute)))
	d.header.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:fn")
	s.api.deliver(d)
	time.Sleep(100 * time.Millisecond)
	s.cmd.Process.Kill()
	<-s.ended
	if len(d.answered) > 0 {
		t.Error("an invocation that sleeps was answered")
	}
	fmt.Fprintf(&text, "# out of time\n%s\n", s.tr.take())

	if client.streams != "" {
		s = client.begin(t, client.streams)
		for _, a := range streams {
			hold(s, []asked{a})
			s.asks()
			fmt.Fprintf(&text, "# %s\n%s\n", a.name, s.tr.take())
		}
	}

	s = client.begin(t, "broken.handler")
	if s.asks() {
		t.Error("code that cannot begin asks for an event")
	}
	<-s.ended
	if failure, reported := s.api.initError(); reported && client.failed(failure, strings.Replace(client.error, "no such note", "cannot begin", 1)) != "" {
		t.Errorf("init error: %s %s", failure.errorType, failure.body)
	}
	fmt.Fprintf(&text, "# init error; %s\n%s\n", s.cmd.ProcessState, s.tr.take())
	return text.String()
}

// TestConformance leads each client through the same conversation.
func TestConformance(t *testing.T) {
	for _, client := range runtimeClients(t) {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			golden(t, client.name, client.converse(t))
		})
	}
}

// BenchmarkGoalG15 prints how many clients' transcripts are others than those that are kept, which are the emulator's.
func BenchmarkGoalG15(b *testing.B) {
	for b.Loop() {
		var names []string
		others := 0
		for _, client := range runtimeClients(b) {
			names = append(names, client.name)
			want, err := os.ReadFile(filepath.Join("testdata", "conformance", client.name+".txt"))
			if text := client.converse(b); err != nil || text != string(want) {
				others++
			}
		}
		goal(b, fmt.Sprintf("G15 other transcripts of %s", strings.Join(names, ", ")), float64(others), 0, "", false)
	}
}

// golden compares a transcript with the one that is kept.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", "conformance", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		t.Logf("there is no transcript of %s yet (go test ./runtime -run Conformance -update):\n%s", name, text)
		return
	}
	if err != nil || string(want) != text {
		t.Errorf("transcript of %s, %v\n%s\nwant\n%s", name, err, text, want)
	}
}

// TestConformanceOfWorkers runs each client as the bootstrap of a function, with all of a worker around it.
func TestConformanceOfWorkers(t *testing.T) {
	for _, client := range runtimeClients(t) {
		t.Run(client.name, func(t *testing.T) {
			files := map[string]string{"fn/bootstrap": "#!/bin/sh\nexport _HANDLER=fn.handler\nexec '" + strings.Join(client.command, "' '") + "' fn.handler\n"}
			for _, name := range []string{"fn.mjs", "fn.py"} {
				data, err := os.ReadFile(filepath.Join(client.task, name))
				if err != nil {
					t.Fatal(err)
				}
				files["fn/"+name] = string(data)
			}
			p := newProject(t, files, nil)
			os.Chmod(filepath.Join(p.root, "fn/bootstrap"), 0o755)
			f := customFunction("web/Fn", "fn")
			f.Timeout = 1
			p.set([]cfn.Function{f})
			if err := p.server.Update(t.Context(), p.asm); err != nil {
				t.Fatal(err)
			}
			errorType, message, _ := strings.Cut(client.error, ": ")
			for _, test := range []struct{ do, errorType, message string }{
				{"error", errorType, message},
				{"exit", errorExit, "Runtime exited with error: exit status 4"},
				{"sleep", errorTimeout, "Task timed out after 1.00 seconds"},
				{"large", errorTooLarge, "Response payload size exceeded maximum allowed payload size"},
			} {
				got := p.invoke("web-Fn", `{"do":"`+test.do+`"}`)
				var shape struct{ ErrorType, ErrorMessage string }
				if json.Unmarshal([]byte(got.body), &shape) != nil || got.functionError == "" || shape.ErrorType != test.errorType || !strings.Contains(shape.ErrorMessage, test.message) {
					t.Errorf("%s: got %s %.300s, want %s %s", test.do, got.functionError, got.body, test.errorType, test.message)
				}
				got = p.invoke("web-Fn", `{"do":"context"}`)
				var is map[string]any
				if json.Unmarshal([]byte(got.body), &is) != nil || is["id"] != got.header.Get("X-Amzn-Requestid") || is["name"] != "web-Fn" || is["memory"] != 128.0 {
					t.Errorf("after %s: %+v", test.do, got)
				}
			}
		})
	}
}

// TestEmulatorTranscript leads the clients through a part of the conversation at AWS's own emulator of the Runtime API,
// which must be asked, and must answer, the same.
func TestEmulatorTranscript(t *testing.T) {
	emulator, err := exec.LookPath("aws-lambda-rie")
	if err != nil {
		t.Skip("skipped: aws-lambda-rie is not installed (go install github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie@latest)")
	}
	for _, client := range runtimeClients(t) {
		t.Run(client.name, func(t *testing.T) {
			free := func() string {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				return l.Addr().String()
			}
			front, behind := free(), free()
			target, _ := url.Parse("http://" + behind)
			tr := &transcript{}
			between, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			recorder := &http.Server{Handler: tr.record(httputil.NewSingleHostReverseProxy(target))}
			go recorder.Serve(between)
			defer recorder.Close()
			script := filepath.Join(t.TempDir(), "bootstrap")
			if err := os.WriteFile(script, []byte("#!/bin/sh\nexport AWS_LAMBDA_RUNTIME_API="+between.Addr().String()+"\nexec '"+strings.Join(client.command, "' '")+"' fn.handler\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(emulator, "--runtime-interface-emulator-address", front, "--runtime-api-address", behind, script)
			cmd.Env, cmd.Dir = client.environment("fn.handler"), client.task
			said := &syncBuffer{}
			cmd.Stdout, cmd.Stderr = said, said
			ownGroup(cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				killTree(cmd.Process)
				cmd.Wait()
				if t.Failed() {
					t.Logf("it said: %s", said)
				}
			}()
			ours := client.begin(t, "fn.handler")
			for i, a := range conversation {
				req, err := http.NewRequest(http.MethodPost, "http://"+front+"/2015-03-31/functions/function/invocations", strings.NewReader(a.event))
				if err != nil {
					t.Fatal(err)
				}
				header := map[string]string{}
				if i == 0 {
					header["Lambda-Runtime-Client-Context"] = withContext["Lambda-Runtime-Client-Context"]
					req.Header.Set("X-Amz-Client-Context", base64.StdEncoding.EncodeToString([]byte(header["Lambda-Runtime-Client-Context"])))
				}
				var resp *http.Response
				for try := 0; ; try++ {
					if resp, err = http.DefaultClient.Do(req); err == nil {
						break
					}
					if try == 200 {
						t.Fatal(err)
					}
					time.Sleep(20 * time.Millisecond)
					req.Body = io.NopCloser(strings.NewReader(a.event))
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				ours.ask(asked{name: a.name, event: a.event, header: header})
				ours.asks()
				if got, want := ours.tr.take(), tr.take(); got != want {
					t.Errorf("%s: our transcript\n%s\nthe emulator's\n%s", a.name, got, want)
				}
			}
		})
	}
}
