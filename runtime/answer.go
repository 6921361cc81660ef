package runtime

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sst/runtime/bundle"
)

// Error types that Lambda itself, not the function's runtime client, gives an invocation.
const (
	errorExit      = "Runtime.ExitError"
	errorTruncated = "Runtime.TruncatedResponse"
	errorTimeout   = "Sandbox.Timedout"
	errorTooLarge  = "Function.ResponseSizeTooLarge"

	// errorBuild is ours: the code does not compile.
	errorBuild = "SST.BuildFailed"
	// errorStart is ours: the worker process cannot be started.
	errorStart = "SST.WorkerFailed"
	// errorSecrets is ours: a secret of the function has no value.
	errorSecrets = "SST.SecretMissing"
	// errorAbandoned is ours: a streamed answer whose reader went away.
	errorAbandoned = "SST.Abandoned"
)

// maxPayload is what Lambda takes each way: 6 MB and 100 bytes of grace.
const maxPayload = 6*1024*1024 + 100

// answer is how an invocation ended: a result, or an error when errorType is set. body is verbatim what the runtime
// client wrote.
type answer struct {
	body        []byte
	errorType   string
	contentType string
	stream      *streamed // the worker still writes it
	passed      bool      // a stream that was passed on, to its end
}

// platformError is an error that Lambda reports in the function's place.
func platformError(errorType, requestID, format string, args ...any) answer {
	message := fmt.Sprintf(format, args...)
	if requestID != "" {
		message = "RequestId: " + requestID + " Error: " + message
	}
	return errorAnswer(errorType, message, nil)
}

func errorAnswer(errorType, message string, trace []string) answer {
	body, _ := json.Marshal(struct {
		Type    string   `json:"errorType"`
		Message string   `json:"errorMessage"`
		Trace   []string `json:"trace,omitempty"`
	}{errorType, message, trace})
	return answer{body: body, errorType: errorType}
}

func timedOut(requestID string, timeout time.Duration) answer {
	return platformError(errorTimeout, requestID, "Task timed out after %.2f seconds", timeout.Seconds())
}

func exited(requestID, how string) answer {
	if how == "" {
		return platformError(errorExit, requestID, "Runtime exited without providing a reason")
	}
	return platformError(errorExit, requestID, "Runtime exited with error: %s", how)
}

func tooLarge() answer {
	return errorAnswer(errorTooLarge,
		fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", maxPayload), nil)
}

// buildError is the answer of a function whose code does not compile: the first message, with its line, and all of
// them as the trace.
func buildError(messages []bundle.Message) answer {
	var first *bundle.Message
	var trace []string
	for i, m := range messages {
		if m.Severity != bundle.Error {
			continue
		}
		if first == nil {
			first = &messages[i]
		}
		trace = append(trace, m.String())
		if m.LineText != "" {
			trace = append(trace, "    "+m.LineText)
		}
	}
	if first == nil {
		return errorAnswer(errorBuild, "the code could not be built", nil)
	}
	body, _ := json.Marshal(struct {
		Type    string   `json:"errorType"`
		Message string   `json:"errorMessage"`
		File    string   `json:"file,omitempty"`
		Line    int      `json:"line,omitempty"`
		Column  int      `json:"column,omitempty"`
		Trace   []string `json:"trace,omitempty"`
	}{errorBuild, first.Text, first.File, first.Line, first.Col, trace})
	return answer{body: body, errorType: errorBuild}
}

// functionError reads the shapes in which the runtime clients write errors: Node's trace, Python's list of strings, Go's frames.
func functionError(errorType string, body []byte) *FunctionError {
	var shape struct {
		Type    string          `json:"errorType"`
		Message string          `json:"errorMessage"`
		Trace   []string        `json:"trace"`
		Stack   json.RawMessage `json:"stackTrace"`
	}
	if json.Unmarshal(body, &shape) != nil {
		return &FunctionError{Type: errorType, Message: string(body)}
	}
	fe := &FunctionError{Type: shape.Type, Message: shape.Message, Trace: shape.Trace}
	if fe.Type == "" {
		fe.Type = errorType
	}
	var lines []string
	var frames []struct {
		Path  string `json:"path"`
		Line  int    `json:"line"`
		Label string `json:"label"`
	}
	switch {
	case fe.Trace != nil || shape.Stack == nil:
	case json.Unmarshal(shape.Stack, &lines) == nil:
		for _, line := range lines {
			fe.Trace = append(fe.Trace, strings.Split(strings.TrimRight(line, "\n"), "\n")...)
		}
	case json.Unmarshal(shape.Stack, &frames) == nil:
		for _, f := range frames {
			fe.Trace = append(fe.Trace, fmt.Sprintf("%s (%s:%d)", f.Label, f.Path, f.Line))
		}
	}
	return fe
}
