package runtime

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"sst/cfn"
)

const streamers = `
const pause = (ms) => new Promise((r) => setTimeout(r, ms));
export const steps = awslambda.streamifyResponse(async (event, stream) => {
  stream.setContentType('text/plain');
  for (let i = 0; i < 3; i++) { stream.write('part ' + i + '\n'); await pause(150); }
  stream.end();
});
export const late = awslambda.streamifyResponse(async (event, stream) => { stream.write('some'); await pause(20); throw new RangeError('too late'); });
export const exit = awslambda.streamifyResponse(async (event, stream) => { stream.write('some'); await pause(50); process.exit(3); });
export const hang = awslambda.streamifyResponse(async (event, stream) => { stream.write('some'); await pause(60000); });
export const large = awslambda.streamifyResponse(async (event, stream) => {
  const part = Buffer.alloc(1 << 20, 'x');
  for (let i = 0; i < event.mb; i++) if (!stream.write(part)) await new Promise((r) => stream.once('drain', r));
  stream.end();
});
export const plain = async () => ({ plain: true });
`

func streamProject(t testing.TB) *project {
	var functions []cfn.Function
	for _, name := range []string{"steps", "late", "exit", "hang", "large", "plain"} {
		fn := nodeFunction("web/"+name, "src/s."+name)
		if fn.Timeout = 20; name == "hang" {
			fn.Timeout = 1
		}
		functions = append(functions, fn)
	}
	return newProject(t, map[string]string{"src/s.js": streamers}, functions)
}

// TestInvokeWithResponseStream reads streams with the AWS SDK.
func TestInvokeWithResponseStream(t *testing.T) {
	p := streamProject(t)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"), config.WithBaseEndpoint(p.server.Lambda()),
		config.WithCredentialsProvider(nil), config.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	client := lambda.NewFromConfig(cfg, func(o *lambda.Options) { o.Credentials = nil })
	for _, test := range []struct{ name, event, body, code, details string }{
		{"steps", "{}", "part 0\npart 1\npart 2\n", "", ""},
		{"late", "{}", "some", "RangeError", `"errorMessage":"too late"`},
		{"exit", "{}", "some", errorExit, "exit status 3"},
		{"hang", "{}", "some", errorTimeout, "1.00 seconds"},
		{"plain", "{}", `{"plain":true}`, "", ""},
		{"large", `{"mb":12}`, strings.Repeat("x", 12<<20), "", ""},
	} {
		name := "web-" + test.name
		out, err := client.InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{FunctionName: &name, Payload: []byte(test.event)})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var body strings.Builder
		var end types.InvokeWithResponseStreamCompleteEvent
		began := time.Now()
		var first time.Duration
		for event := range out.GetStream().Events() {
			switch event := event.(type) {
			case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
				if first == 0 {
					first = time.Since(began)
				}
				body.Write(event.Value.Payload)
			case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
				end = event.Value
			}
		}
		if err := out.GetStream().Err(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		text := func(s *string) string {
			if s == nil {
				return ""
			}
			return *s
		}
		if body.String() != test.body || text(end.ErrorCode) != test.code || !strings.Contains(text(end.ErrorDetails), test.details) {
			t.Errorf("%s: got %.100q, %q %s", test.name, body.String(), text(end.ErrorCode), text(end.ErrorDetails))
		}
		if test.name == "steps" && first > 100*time.Millisecond {
			t.Errorf("the first part came after %v", first)
		}
	}
	// Collected for a plain Invoke, within its limit.
	if got := p.invoke("web-steps", "{}"); got.body != "part 0\npart 1\npart 2\n" {
		t.Errorf("Invoke = %+v", got)
	}
	if got := p.invoke("web-large", `{"mb":12}`); !strings.Contains(got.body, errorTooLarge) {
		t.Errorf("Invoke of 12 MB = %.200s", got.body)
	}
}

// A caller that leaves in the middle ends the function.
func TestStreamAbandoned(t *testing.T) {
	p := streamProject(t)
	res, err := http.Post(p.server.Lambda()+"/2021-11-15/functions/web-large/response-streaming-invocations", "application/json", strings.NewReader(`{"mb":190}`))
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(res.Body, make([]byte, 1000))
	res.Body.Close()
	await(p, "the end", func(e Finished) bool { return e.Function == "web/large" && e.Error != nil })
	if got := p.invoke("web-large", `{"mb":1}`); len(got.body) != 1<<20 {
		t.Errorf("after it: %.200s", got.body)
	}
}
