package runtime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sst/cfn"
)

// TestMisbehavingHandlers has handlers do what no runtime should: each must get one honest answer, and the function
// must answer again afterwards.
func TestMisbehavingHandlers(t *testing.T) {
	p := newProject(t, map[string]string{"src/odd.mjs": `
const root = 'http://' + process.env.AWS_LAMBDA_RUNTIME_API + '/2018-06-01/runtime/invocation/';
const post = async (id, body) => (await fetch(root + id + '/response', { method: 'POST', body })).status;
const flood = (ms) => { const end = Date.now() + ms; while (Date.now() < end) console.log('x'.repeat(1000)); };
export const handler = async (event, context) => {
  switch (event) {
    case 'exit 0': process.exit(0);
    case 'exit 137': process.exit(137);
    case 'killed': process.kill(process.pid, 'SIGKILL'); for (;;);
    case 'deaf': process.on('SIGTERM', () => {}); for (;;);
    case 'other id': return [await post('11111111-2222-3333-4444-555555555555', '"wrong"'), 'right'];
    case 'twice': return [await post(context.awsRequestId, '"first"'), 'second'];
    case 'no stdin': process.stdin.destroy(); return 'open';
    case 'reject after': setTimeout(() => Promise.reject(new Error('late')), 5); return 'before';
    case 'flood after': setImmediate(() => flood(300)); return 'before';
    case 'flood on': flood(60_000);
  }
  return 'well';
};`}, []cfn.Function{func() cfn.Function { f := nodeFunction("web/Odd", "src/odd.handler"); f.Timeout = 2; return f }()})
	tests := []struct {
		event, errorType, want string // want is how the message or, without an error, the answer begins
	}{
		{"exit 0", "Runtime.ExitError", "RequestId: ID Error: Runtime exited without providing a reason"},
		{"exit 137", "Runtime.ExitError", "RequestId: ID Error: Runtime exited with error: exit status 137"},
		{"killed", "Runtime.ExitError", "RequestId: ID Error: Runtime exited with error: signal: killed"},
		{"deaf", "Sandbox.Timedout", "RequestId: ID Error: Task timed out after 2.00 seconds"},
		{"flood on", "Sandbox.Timedout", "RequestId: ID Error: Task timed out after 2.00 seconds"},
		{"other id", "", `[400,"right"]`},
		{"twice", "", `"first"`},
		{"no stdin", "", `"open"`},
		{"flood after", "", `"before"`},
		{"reject after", "", `"before"`},
	}
	for _, test := range tests {
		event, _ := json.Marshal(test.event)
		got := p.invoke("web-Odd", string(event))
		var shape struct{ ErrorType, ErrorMessage string }
		begin := got.body
		if got.functionError != "" {
			if err := json.Unmarshal([]byte(got.body), &shape); err != nil {
				t.Errorf("%s: %v: %.300s", test.event, err, got.body)
			}
			begin = shape.ErrorMessage
		}
		want := strings.Replace(test.want, "ID", got.header.Get("X-Amzn-Requestid"), 1)
		if shape.ErrorType != test.errorType || !strings.HasPrefix(begin, want) {
			t.Errorf("%s: got %q %.300s, want %s %s", test.event, got.functionError, got.body, test.errorType, want)
		}
		if test.event == "reject after" { // it ends the process, between two invocations or, as in a thawed Lambda, in the next one
			if got := p.invoke("web-Odd", `"again"`); got.body != `"well"` && !strings.Contains(got.body, errorExit) {
				t.Errorf("right after %s: %q %.300s", test.event, got.functionError, got.body)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got := p.invoke("web-Odd", `"again"`); got.body != `"well"` {
			t.Errorf("after %s: %q %.300s", test.event, got.functionError, got.body)
		}
	}
}

// TestNoRoomForBundles has the place of the bundles take nothing, as a full disk does: the request says why, and the next one that
// finds room is served.
func TestNoRoomForBundles(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.mjs": `export const handler = async () => 1;`}, []cfn.Function{nodeFunction("web/A", "src/a.handler")})
	if got := p.invoke("web-A", "{}"); got.body != "1" {
		t.Fatalf("Invoke = %+v", got)
	}
	dir := filepath.Join(p.root, ".sst", "local", "bundles")
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.write("src/a.mjs", `export const handler = async () => 2;`)
	if got := p.invoke("web-A", "{}"); got.functionError == "" || !strings.Contains(got.body, "write the bundle: ") {
		t.Errorf("no room: %+v", got)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if got := p.invoke("web-A", "{}"); got.body != "2" {
		t.Errorf("with room again: %+v", got)
	}
}
