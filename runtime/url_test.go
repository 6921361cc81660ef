package runtime

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"sst/cfn"
)

// A function URL streams: status and headers from the function, the first part before the last is written.
func TestFunctionURL(t *testing.T) {
	page := nodeFunction("web/Page", "src/s.page")
	plain, late := nodeFunction("web/Plain", "src/s.plain"), nodeFunction("web/Late", "src/s.late")
	p := newProject(t, map[string]string{"src/s.js": `
const pause = (ms) => new Promise((r) => setTimeout(r, ms));
export const page = awslambda.streamifyResponse(async (event, stream) => {
  stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'x-path': event.rawPath }, cookies: ['a=1', 'b=2'] });
  stream.write('one ');
  await pause(400);
  stream.end('two');
});
export const plain = async (event) => ({ statusCode: 202, body: event.requestContext.http.method });
export const late = awslambda.streamifyResponse(async (event, stream) => { stream.write('some'); await pause(20); throw new Error('late'); });
`}, []cfn.Function{page, plain, late})
	p.asm.Manifest.Apis = nil
	for _, fn := range []cfn.Function{page, plain, late} {
		p.asm.Manifest.Apis = append(p.asm.Manifest.Apis, cfn.Api{
			ID: fn.ID, LogicalID: "Url" + fn.ID, Type: "url", Stream: true, Routes: []cfn.Route{{Key: "$default", Function: fn.ID, Payload: "2.0"}},
		})
	}
	if err := p.server.Update(context.Background(), p.asm); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{}
	for _, address := range p.server.Apis() {
		urls[address.ID] = address.URL
	}
	get := func(id string) (*http.Response, error) { return http.Get(urls[id] + "/a/b") }
	for range 2 { // cold, warm
		res, err := get("web/Page")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		buf := make([]byte, 100)
		n, _ := res.Body.Read(buf)
		if first := time.Since(began); string(buf[:n]) != "one " || first > 200*time.Millisecond {
			t.Errorf("first part %q after %v", buf[:n], first)
		}
		rest, err := io.ReadAll(res.Body)
		if string(rest) != "two" || err != nil {
			t.Errorf("rest = %q, %v", rest, err)
		}
		if res.StatusCode != 201 || res.Header.Get("X-Path") != "/a/b" || len(res.Cookies()) != 2 {
			t.Errorf("head = %d %v", res.StatusCode, res.Header)
		}
		res.Body.Close()
	}
	res, err := get("web/Plain")
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "GET" || res.StatusCode != 202 {
		t.Errorf("plain = %d %s", res.StatusCode, body)
	}
	if res, err = get("web/Late"); err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); string(body) != "some" || err == nil {
		t.Errorf("late error: got %q, %v, want a broken connection", body, err)
	}
}
