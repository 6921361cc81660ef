package runtime

import (
	"bytes"
	"io"
	"net/http"

	"sst/proxy"
)

// streamHead is the content type of an answer that begins with status and headers as JSON, and eight NUL bytes.
const streamHead = "application/vnd.awslambda.http-integration-response"

// maxHead bounds those.
const maxHead = 1 << 20

// serveStream answers a request with what the function streams, as it comes. An answer that is not streamed is served
// like any other.
func (x *exchange) serveStream(req request, result func(*proxy.Response, error) *httpAnswer) {
	w, r := x.w, x.r
	began := false
	req.stream = func(got *proxy.Response) error {
		began = true
		a, rest, err := readStreamHead(got)
		if err != nil {
			messageAnswer(http.StatusBadGateway, "Internal Server Error").write(w)
			return err
		}
		a.begin(w)
		out := flushWriter{w, http.NewResponseController(w)}
		if len(rest) > 0 {
			if _, err := out.Write(rest); err != nil {
				return err
			}
		}
		_, err = io.CopyBuffer(out, struct{ io.Reader }{got.Stream}, make([]byte, 32<<10))
		return err
	}
	var status int
	got, err := x.server.invoke(r.Context(), req, func(got *proxy.Response, err error) int {
		if status = http.StatusOK; !began {
			status = result(got, err).status
		}
		return status
	})
	switch {
	case !began && r.Context().Err() == nil:
		result(got, err).write(w)
	case began && got != nil && got.FunctionError:
		panic(http.ErrAbortHandler) // the status has been sent: only a broken connection can tell
	}
}

// readStreamHead reads what comes before the body of a streamed answer: status and headers, if the function has said
// any, and what of the body was read with them.
func readStreamHead(got *proxy.Response) (*httpAnswer, []byte, error) {
	if got.ContentType != streamHead {
		kind := got.ContentType
		if kind == "" {
			kind = "application/octet-stream"
		}
		return &httpAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {kind}}}, nil, nil
	}
	var head []byte
	buf := make([]byte, 4<<10)
	for len(head) < maxHead {
		n, err := got.Stream.Read(buf)
		head = append(head, buf[:n]...)
		if meta, rest, found := bytes.Cut(head, make([]byte, 8)); found {
			a, err := readStreamed(meta, nil)
			return a, rest, err
		}
		if err != nil {
			if err == io.EOF {
				err = errMalformed
			}
			return nil, nil, err
		}
	}
	return nil, nil, errMalformed
}
