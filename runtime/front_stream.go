package runtime

// InvokeWithResponseStream of the Lambda API: the answer as an event stream of the AWS SDKs.

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"net/http"

	"sst/proxy"
)

// eventStream writes messages of the form application/vnd.amazon.eventstream: lengths and a checksum, headers, the
// payload, a checksum of all.
type eventStream struct {
	w   io.Writer
	buf []byte
}

// send writes one event.
func (e *eventStream) send(event, contentType string, payload []byte) error {
	var headers []byte
	for _, h := range [][2]string{{":message-type", "event"}, {":event-type", event}, {":content-type", contentType}} {
		headers = append(headers, byte(len(h[0])))
		headers = append(headers, h[0]...)
		headers = append(headers, 7) // a string
		headers = binary.BigEndian.AppendUint16(headers, uint16(len(h[1])))
		headers = append(headers, h[1]...)
	}
	b := binary.BigEndian.AppendUint32(e.buf[:0], uint32(12+len(headers)+len(payload)+4))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	e.buf = b
	_, err := e.w.Write(b)
	return err
}

// flushWriter passes everything on at once.
type flushWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (f flushWriter) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// invokeStream answers with what the function streams, as it comes. The answer of one that does not stream is one part.
func (s *Server) invokeStream(w http.ResponseWriter, r *http.Request, fn *function) {
	req, ok := s.readInvoke(w, r, fn)
	if !ok {
		return
	}
	out := &eventStream{w: flushWriter{w, http.NewResponseController(w)}}
	begin := func(contentType string) {
		h := w.Header()
		if contentType == "" {
			contentType = "application/octet-stream"
		}
		h.Set("X-Amzn-Remapped-Content-Type", contentType)
		h.Set("Content-Type", "application/vnd.amazon.eventstream")
		h.Set("X-Amz-Executed-Version", "$LATEST")
		w.WriteHeader(http.StatusOK)
	}
	began := false
	req.trigger = "Invoke (stream)"
	req.stream = func(got *proxy.Response) error {
		began = true
		begin(got.ContentType)
		buf := make([]byte, 32<<10)
		for {
			n, err := got.Stream.Read(buf)
			if n > 0 {
				if err := out.send("PayloadChunk", "application/octet-stream", buf[:n]); err != nil {
					return err
				}
			}
			if err != nil {
				return err
			}
		}
	}
	got, err := s.invoke(r.Context(), req, nil)
	switch {
	case r.Context().Err() != nil:
		return
	case errors.Is(err, errBusy):
		refuseLambda(w, http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
		return
	case err != nil:
		refuseLambda(w, http.StatusInternalServerError, "ServiceException", err.Error())
		return
	}
	if !began {
		begin(got.ContentType)
		if !got.FunctionError {
			out.send("PayloadChunk", "application/octet-stream", got.Body)
		}
	}
	var end struct {
		Code    string `json:"ErrorCode,omitempty"`
		Details string `json:"ErrorDetails,omitempty"`
		Log     string `json:"LogResult,omitempty"`
	}
	if got.FunctionError {
		end.Code, end.Details = got.ErrorType, string(got.Body)
	}
	if req.header.Tail {
		end.Log = base64.StdEncoding.EncodeToString(got.LogTail)
	}
	data, err := json.Marshal(end)
	if err == nil {
		out.send("InvokeComplete", "application/json", data)
	}
}
