package lsp

// The framing of messages and their envelope.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"go.lsp.dev/protocol"
)

// maxMessageBytes bounds what a client can make the server keep.
const maxMessageBytes = 256 << 20

// message is a request, a notification (no ID) or a reply (no Method).
type message struct {
	ID     json.RawMessage `json:"id,omitempty"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
}

// Codes of errors.
const (
	codeParse            = -32700
	codeInvalidRequest   = -32600
	codeMethodNotFound   = -32601
	codeInvalidParams    = -32602
	codeInternal         = -32603
	codeNotInitialized   = -32002
	codeRequestCancelled = -32800
	codeRequestFailed    = -32803
)

// wireError is an error with the code that the client reads.
type wireError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *wireError) Error() string { return e.Message }

func failed(format string, args ...any) error {
	return &wireError{codeRequestFailed, fmt.Sprintf(format, args...)}
}

// errFraming ends the connection: where the next message begins is not known.
var errFraming = errors.New("the stream is not framed as the protocol has it")

// readBody reads one frame and gives its content.
func readBody(r *bufio.Reader) ([]byte, error) {
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return nil, errFraming
			}
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			if length < 0 {
				continue // blank lines between frames
			}
			break
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok {
			return nil, errFraming
		}
		if strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || n < 0 || n > maxMessageBytes {
				return nil, errFraming
			}
			length = n
		}
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(length)); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return body.Bytes(), nil
}

// writer writes frames, one at a time.
type writer struct {
	mu  sync.Mutex
	out io.Writer
}

// copiedBytes is up to which length parts are put together to be written at once; a long one is not copied.
const copiedBytes = 8 << 10

// frame writes a body that is given in parts.
func (w *writer) frame(parts ...[]byte) error {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	head := fmt.Appendf(make([]byte, 0, 64+min(length, copiedBytes)), "Content-Length: %d\r\n\r\n", length)
	for _, part := range parts {
		if len(part) <= copiedBytes {
			head = append(head, part...)
			continue
		}
		if _, err := w.out.Write(head); err != nil {
			return err
		}
		if _, err := w.out.Write(part); err != nil {
			return err
		}
		head = head[:0]
	}
	_, err := w.out.Write(head)
	return err
}

// reply answers a request.
func (w *writer) reply(id json.RawMessage, result any, err error) {
	kind := `,"result":`
	var body []byte
	if err == nil {
		body, err = encode(result)
	}
	if err != nil {
		var known *wireError
		if !errors.As(err, &known) {
			known = &wireError{codeInternal, err.Error()}
		}
		kind = `,"error":`
		body, _ = json.Marshal(known)
	}
	// A client that is gone is noticed by the reader.
	_ = w.frame([]byte(`{"jsonrpc":"2.0","id":`), id, []byte(kind), body, []byte("}"))
}

// notify sends a notification.
func (w *writer) notify(method string, params any) {
	body, err := encode(params)
	if err != nil {
		return
	}
	_ = w.frame([]byte(`{"jsonrpc":"2.0","method":"` + method + `","params":` + string(body) + `}`))
}

// ask sends a request whose reply nobody waits for.
func (w *writer) ask(id, method string, params any) {
	body, err := encode(params)
	if err != nil {
		return
	}
	_ = w.frame([]byte(`{"jsonrpc":"2.0","id":"` + id + `","method":"` + method + `","params":` + string(body) + `}`))
}

func encode(v any) ([]byte, error) {
	if v == nil {
		return []byte("null"), nil
	}
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	return protocol.Marshal(v)
}

func decode(params json.RawMessage, into any) error {
	if len(params) == 0 {
		params = json.RawMessage("null")
	}
	if err := protocol.Unmarshal(params, into); err != nil {
		return &wireError{codeInvalidParams, "wrong parameters: " + err.Error()}
	}
	return nil
}
