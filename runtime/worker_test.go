package runtime

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sst/cfn"
	"sst/runtime/bundle"
)

func customFunction(id, folder string) cfn.Function {
	return cfn.Function{ID: id, Name: strings.ReplaceAll(id, "/", "-"), Handler: folder, Runtime: "provided.al2023", Timeout: 5, Memory: 128,
		Bundle: bundle.Spec{Kind: bundle.Custom, Handler: folder, Runtime: "provided.al2023"}}
}

// TestGoClient runs the unmodified aws-lambda-go against the Runtime API.
func TestGoClient(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, "bootstrap"), "./testdata/gofunc")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary, err := os.ReadFile(filepath.Join(dir, "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	p := newProject(t, map[string]string{"fn/bootstrap": string(binary)}, nil)
	os.Chmod(filepath.Join(p.root, "fn/bootstrap"), 0o755)
	p.set([]cfn.Function{customFunction("web/Go", "fn")})
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got := p.invoke("web-Go", `{"do":"greet"}`)
		var result map[string]any
		if err := json.Unmarshal([]byte(got.body), &result); err != nil || got.functionError != "" {
			t.Fatalf("%v: %+v", err, got)
		}
		if result["id"] != got.header.Get("X-Amzn-Requestid") || !(result["left"].(float64) > 0) || result["name"] != "web-Go" ||
			result["arn"] != "arn:aws:lambda:us-east-1:000000000000:function:web-Go" {
			t.Errorf("result = %v", result)
		}
	}
	for do, want := range map[string]string{
		"error": `{"errorMessage":"no such note","errorType":"errorString"}`,
		"panic": `"errorMessage":"lost","errorType":"string","stackTrace":[`,
		"exit":  `Runtime exited with error: exit status 4`,
	} {
		if got := p.invoke("web-Go", `{"do":"`+do+`"}`); got.functionError != "Unhandled" || !strings.Contains(got.body, want) {
			t.Errorf("%s = %+v, want %s", do, got, want)
		}
		if got := p.invoke("web-Go", `{"do":"greet"}`); got.functionError != "" {
			t.Errorf("after %s: %+v", do, got)
		}
	}
}

func TestPython(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("skipped: python3 is not installed")
	}
	f := cfn.Function{ID: "web/Py", Name: "web-Py", Handler: "src/notes.handler", Runtime: "python3.13", Timeout: 5, Memory: 128,
		Bundle: bundle.Spec{Kind: bundle.Python, Handler: "src/notes.handler", Runtime: "python3.13"}}
	p := newProject(t, map[string]string{"src/notes.py": `
import os
def handler(event, context):
    print("hello", event["n"])
    if event["n"] == 2:
        raise ValueError("no such note")
    if event["n"] == 3:
        return object()
    return {"n": event["n"], "id": context.aws_request_id, "left": context.get_remaining_time_in_millis() > 0, "key": os.environ["AWS_ACCESS_KEY_ID"][:4], "text": "\u2028é"}
`}, []cfn.Function{f})
	got := p.invoke("web-Py", `{"n":1}`)
	if want := `"left": true, "key": "SSTL", "text": "` + "\u2028é" + `"`; got.functionError != "" || !strings.Contains(got.body, want) {
		t.Errorf("Invoke = %+v, want %s", got, want)
	}
	got = p.invoke("web-Py", `{"n":2}`)
	if got.functionError != "Unhandled" || !strings.Contains(got.body, `"errorType": "ValueError"`) || !strings.Contains(got.body, "in handler") {
		t.Errorf("raised = %+v", got)
	}
	if got = p.invoke("web-Py", `{"n":3}`); !strings.Contains(got.body, "Runtime.MarshalError") {
		t.Errorf("not serializable = %+v", got)
	}
	await(p, "the printed line", func(e Logged) bool { return e.Line == "hello 2" && e.Function == "web/Py" })
}

// TestBootstrap runs a runtime made of a shell script: it must see Lambda's environment and folder, and the Runtime API
// must take what curl sends.
func TestBootstrap(t *testing.T) {
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: %s is not installed", tool)
		}
	}
	p := newProject(t, map[string]string{"fn/bootstrap": `#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
[ "$PWD" = "$LAMBDA_TASK_ROOT" ] || { curl -s -d '{"errorType":"Bad","errorMessage":"folder"}' $api/init/error; exit 1; }
curl -s -D /dev/stderr -o /dev/null -d '{"events":[]}' -H 'Lambda-Extension-Name: x' http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension/register 2>&1 | grep -i extension-identifier
while :; do
  headers=$(mktemp)
  event=$(curl -sS -D $headers $api/invocation/next) || exit 0
  id=$(grep -i lambda-runtime-aws-request-id $headers | tr -d '\r' | cut -d' ' -f2)
  rm $headers
  [ "$event" = '"crash"' ] && exit 7
  printf '%s' "$event" | curl -sS -H 'Transfer-Encoding: chunked' -H 'Lambda-Runtime-Function-Response-Mode: streaming' --data-binary @- $api/invocation/$id/response
done
`}, nil)
	os.Chmod(filepath.Join(p.root, "fn/bootstrap"), 0o755)
	p.set([]cfn.Function{customFunction("web/Sh", "fn")})
	if err := p.server.Update(t.Context(), p.asm); err != nil {
		t.Fatal(err)
	}
	if got := p.invoke("web-Sh", `{"a":1e400}`); got.body != `{"a":1e400}` {
		t.Errorf("Invoke = %+v", got)
	}
	if got := p.invoke("web-Sh", `"crash"`); !strings.Contains(got.body, "exit status 7") {
		t.Errorf("crash = %+v", got)
	}
	if got := p.invoke("web-Sh", `1`); got.body != `1` {
		t.Errorf("after the crash: %+v", got)
	}
}

func TestStreaming(t *testing.T) {
	p := newProject(t, map[string]string{"src/stream.js": `
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
export const page = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'x-made': 'yes' }, cookies: ['a=1'] });
  await pipeline(Readable.from(['one ', 'two']), stream);
});
export const late = awslambda.streamifyResponse(async (event, stream) => {
  stream.write('something');
  throw new RangeError('too late');
});
export const unended = awslambda.streamifyResponse(async (event, stream) => { stream.write('x'); });
`}, []cfn.Function{nodeFunction("web/Page", "src/stream.page"), nodeFunction("web/Late", "src/stream.late"),
		nodeFunctionFor("nodejs22.x", "web/Unended", "src/stream.unended")}, cfn.Route{Key: "$default", Function: "web/Page"})
	for range 2 {
		status, body := p.get("/x")
		if status != 201 || body != "one two" {
			t.Errorf("GET = %d %q", status, body)
		}
	}
	for range 2 {
		if got := p.invoke("web-Late", "{}"); !strings.Contains(got.body, `"errorType":"RangeError","errorMessage":"too late"`) {
			t.Errorf("late error = %+v", got)
		}
		if got := p.invoke("web-Unended", "{}"); !strings.Contains(got.body, "Response stream is not finished.") {
			t.Errorf("unended = %+v", got)
		}
	}
}
