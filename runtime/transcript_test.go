//go:build !windows

package runtime

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sst/cfn"
)

// transcript writes down what a Runtime API is asked and answers, with the headers that the protocol is made of.
type transcript struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (tr *transcript) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trailers := slices.Sorted(maps.Keys(r.Trailer)) // those that are announced
		got := httptest.NewRecorder()
		next.ServeHTTP(got, r)
		tr.mu.Lock()
		fmt.Fprintf(&tr.text, "%s %s", r.Method, r.URL.Path)
		for _, name := range []string{"Content-Type", "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Response-Mode"} {
			if value := r.Header.Get(name); value != "" {
				fmt.Fprintf(&tr.text, " [%s: %s]", name, value)
			}
		}
		if len(trailers) > 0 {
			fmt.Fprintf(&tr.text, " [trailers: %s]", strings.Join(trailers, ", "))
		}
		fmt.Fprintf(&tr.text, " -> %d\n", got.Code)
		tr.mu.Unlock()
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(got.Code)
		w.Write(got.Body.Bytes())
	})
}

// TestGoTranscript has the unmodified aws-lambda-go answer, fail and panic, and compares what it asked of the Runtime API.
func TestGoTranscript(t *testing.T) {
	bootstrap := filepath.Join(t.TempDir(), "bootstrap")
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", bootstrap, "./testdata/gofunc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	api, err := openRuntimeAPI()
	if err != nil {
		t.Fatal(err)
	}
	defer api.close()
	var tr transcript
	api.flush, api.onNext, api.gone = func() {}, func() {}, make(chan struct{})
	api.server.Handler = tr.record(api)
	api.serve()
	cmd := exec.Command(bootstrap)
	cmd.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+api.addr, "_HANDLER=main")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	defer func() { cmd.Process.Kill(); <-ended }()
	for i, do := range []string{"greet", "error", "panic"} {
		d := testDelivery(fmt.Sprintf("id-%d", i+1), `{"do":"`+do+`"}`)
		d.header.Set("Lambda-Runtime-Deadline-Ms", deadlineHeader(time.Now().Add(time.Minute)))
		if !api.settled(t.Context()) {
			t.Fatal("the client does not ask for an event")
		}
		api.deliver(d)
		select {
		case <-d.answered:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s was not answered", do)
		}
	}
	<-ended // a panic ends the process
	const next = "GET /2018-06-01/runtime/invocation/next -> 200\n"
	const post = "POST /2018-06-01/runtime/invocation/"
	const sent = " [Content-Type: application/json] [trailers: Lambda-Runtime-Function-Error-Body, Lambda-Runtime-Function-Error-Type] -> 202\n"
	want := next + post + "id-1/response" + sent + next + post + "id-2/error" + sent + next + post + "id-3/error" + sent
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if got := tr.text.String(); got != want {
		t.Errorf("transcript\n%swant\n%s", got, want)
	}
}

// TestTimeoutLeavesNothing runs out of time in a process that ignores SIGTERM and has started another: both must be gone.
func TestTimeoutLeavesNothing(t *testing.T) {
	f := nodeFunction("web/Stay", "src/stay.handler")
	f.Timeout = 1
	p := newProject(t, map[string]string{"src/stay.js": `
import { spawn } from 'node:child_process';
export const handler = async () => {
  process.on('SIGTERM', () => {});
  const child = spawn('sh', ['-c', 'trap "" TERM; sleep 1000'], { stdio: 'ignore' });
  console.log('pids', process.pid, child.pid);
  await new Promise((r) => setTimeout(r, 60000));
};`}, []cfn.Function{f})
	if got := p.invoke("web-Stay", "{}"); !strings.Contains(got.body, "Task timed out after 1.00 seconds") {
		t.Errorf("Invoke = %+v", got)
	}
	line := await(p, "the processes", func(e Logged) bool { return strings.HasPrefix(e.Line, "pids ") }).Line
	for _, field := range strings.Fields(line)[1:] {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		gone := false
		for range 200 {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			// One that nobody waits for any more is a zombie until the system's own process takes it.
			if gone = syscall.Kill(pid, 0) != nil || err == nil && strings.Contains(string(stat), ") Z "); gone {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !gone {
			t.Errorf("process %d is still there", pid)
		}
	}
}
