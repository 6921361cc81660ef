package runtime

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// openTestAPI gives a Runtime API without a process, and how to talk to it.
func openTestAPI(t *testing.T) (*runtimeAPI, func(method, path, body string, header ...string) (int, string, http.Header)) {
	t.Helper()
	api, err := openRuntimeAPI()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.close)
	api.flush, api.onNext, api.gone = func() {}, func() {}, make(chan struct{})
	api.serve()
	return api, func(method, path, body string, header ...string) (int, string, http.Header) {
		req, _ := http.NewRequest(method, "http://"+api.addr+path, strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return 0, "", nil
		}
		defer res.Body.Close()
		data, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(data), res.Header
	}
}

func testDelivery(id, event string) *delivery {
	return &delivery{id: id, event: []byte(event), answered: make(chan answer, 1),
		header: http.Header{"Lambda-Runtime-Aws-Request-Id": {id}, "Content-Type": {"application/json"}}}
}

const (
	pathNext     = "/2018-06-01/runtime/invocation/next"
	pathResponse = "/2018-06-01/runtime/invocation/%s/response"
	pathError    = "/2018-06-01/runtime/invocation/%s/error"
	pathInit     = "/2018-06-01/runtime/init/error"
)

func TestRuntimeAPIStates(t *testing.T) {
	api, do := openTestAPI(t)
	type step struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}
	run := func(steps ...step) {
		t.Helper()
		for i, s := range steps {
			status, body, _ := do(s.method, s.path, s.body, s.header...)
			if status != s.status || !strings.Contains(body, s.want) {
				t.Errorf("step %d, %s %s = %d %s, want %d %s", i, s.method, s.path, status, body, s.status, s.want)
			}
		}
	}
	d := testDelivery("id-1", `{"n":1}`)
	api.deliver(d)
	run(
		step{"POST", fmt.Sprintf(pathResponse, "id-1"), `1`, nil, 403, "InvalidStateTransition"}, // before next
		step{"GET", pathNext, "", nil, 200, `{"n":1}`},
		step{"GET", pathNext, "", nil, 200, `{"n":1}`}, // rendered again
		step{"POST", pathInit, "{}", nil, 403, "InvalidStateTransition"},
		step{"POST", fmt.Sprintf(pathResponse, "id-2"), `1`, nil, 400, "InvalidRequestID"},
		step{"POST", fmt.Sprintf(pathResponse, "id-1"), `1`, []string{"Lambda-Runtime-Function-Response-Mode", "buffered"}, 400, "InvalidFunctionResponseMode"},
		step{"POST", fmt.Sprintf(pathResponse, "id-1"), `"done"`, nil, 202, `{"status":"OK"}`},
		step{"POST", fmt.Sprintf(pathResponse, "id-1"), `"again"`, nil, 403, "InvalidStateTransition"},
		step{"POST", fmt.Sprintf(pathError, "id-1"), `{}`, nil, 403, "InvalidStateTransition"},
		step{"PUT", pathNext, "", nil, 405, ""},
		step{"GET", "/2018-06-01/ping", "", nil, 200, "pong"},
		step{"GET", pathNext, "", []string{"Origin", "http://page.example"}, 403, ""},
		step{"PUT", "/2022-07-01/telemetry", "{}", nil, 202, "Telemetry.NotSupported"},
	)
	if got := <-d.answered; string(got.body) != `"done"` || got.errorType != "" {
		t.Errorf("answer = %+v", got)
	}
	d = testDelivery("id-2", `{}`)
	go func() {
		time.Sleep(20 * time.Millisecond)
		api.deliver(d)
	}()
	run(
		step{"GET", pathNext, "", nil, 200, `{}`},
		step{"POST", fmt.Sprintf(pathError, "id-2"), `{"errorType":"E","errorMessage":"m"}`, []string{"Lambda-Runtime-Function-Error-Type", "Mine"}, 202, "OK"},
	)
	if got := <-d.answered; string(got.body) != `{"errorType":"E","errorMessage":"m"}` || got.errorType != "Mine" {
		t.Errorf("answer = %+v", got)
	}
}

func TestRuntimeAPISizes(t *testing.T) {
	api, do := openTestAPI(t)
	for _, test := range []struct {
		size, status int
		errorType    string
	}{{maxPayload, 202, ""}, {maxPayload + 1, 413, errorTooLarge}} {
		d := testDelivery("id", "{}")
		api.mu.Lock()
		api.state, api.current = apiReady, d
		api.mu.Unlock()
		do("GET", pathNext, "")
		status, body, _ := do("POST", fmt.Sprintf(pathResponse, "id"), strings.Repeat("x", test.size))
		if got := <-d.answered; status != test.status || got.errorType != test.errorType {
			t.Errorf("%d bytes = %d %s, error %q; want %d, %q", test.size, status, body, got.errorType, test.status, test.errorType)
		}
	}
}

// TestTruncatedResponse ends a chunked body without its last chunk: that is no answer.
func TestTruncatedResponse(t *testing.T) {
	api, do := openTestAPI(t)
	d := testDelivery("id", "{}")
	api.deliver(d)
	do("GET", pathNext, "")
	conn, err := net.Dial("tcp", api.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST "+pathResponse+" HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\"half\r\n", "id", api.addr)
	conn.(*net.TCPConn).CloseWrite()
	if got := <-d.answered; got.errorType != errorTruncated {
		t.Errorf("answer = %+v", got)
	}
	conn.Close()
}

func TestTrailers(t *testing.T) {
	api, do := openTestAPI(t)
	d := testDelivery("id", "{}")
	api.deliver(d)
	do("GET", pathNext, "")
	conn, err := net.Dial("tcp", api.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST "+pathResponse+" HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"+
		"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n4\r\nhalf\r\n0\r\n"+
		"Lambda-Runtime-Function-Error-Type: Mine\r\nLambda-Runtime-Function-Error-Body: e30=\r\n\r\n", "id", api.addr)
	got := <-d.answered
	if body, err := io.ReadAll(got.stream); string(body) != "half" || err != nil {
		t.Errorf("stream = %q, %v", body, err)
	}
	if late, ok := got.stream.late(); !ok || late.errorType != "Mine" || string(late.body) != "{}" {
		t.Errorf("late error = %+v", late)
	}
	got.stream.close(false)
	if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != 202 {
		t.Errorf("response: %v %v", res, err)
	}
}

// TestTrailersOfABufferedAnswer has a body that was begun as a result end as an error, as aws-lambda-go reports a reader that fails.
func TestTrailersOfABufferedAnswer(t *testing.T) {
	api, do := openTestAPI(t)
	d := testDelivery("id", "{}")
	api.deliver(d)
	do("GET", pathNext, "")
	conn, err := net.Dial("tcp", api.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST "+pathResponse+" HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"+
		"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n4\r\nhalf\r\n0\r\n"+
		"Lambda-Runtime-Function-Error-Type: Mine\r\nLambda-Runtime-Function-Error-Body: e30=\r\n\r\n", "id", api.addr)
	if got := <-d.answered; got.errorType != "Mine" || string(got.body) != "{}" {
		t.Errorf("answer = %+v", got)
	}
}

func TestForeignHost(t *testing.T) {
	api, do := openTestAPI(t)
	req, _ := http.NewRequest("GET", "http://"+api.addr+"/2018-06-01/ping", nil)
	req.Host = "rebound.example"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("foreign host = %d, want 403", res.StatusCode)
	}
	if status, _, _ := do("GET", "/2018-06-01/ping", "", "Sec-Fetch-Site", "same-origin"); status != 403 {
		t.Errorf("Sec-Fetch-Site = %d, want 403", status)
	}
}
