package dynamo

// The wire: JSON 1.0 over POST, the operation in a header, errors as AWS shapes them.

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	serviceNamespace = "com.amazonaws.dynamodb.v20120810#"
	coralValidate    = "com.amazon.coral.validate#"
	coralService     = "com.amazon.coral.service#"

	maxBodyBytes = 16 << 20
)

// An apiError is an error that AWS has, in its words.
type apiError struct {
	status  int
	kind    string // with its namespace
	message string
	extra   map[string]any
}

func (e *apiError) Error() string { return e.message }

func failure(kind, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, kind: serviceNamespace + kind, message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &apiError{status: http.StatusBadRequest, kind: coralValidate + "ValidationException", message: fmt.Sprintf(format, args...)}
}

func serialization(format string, args ...any) error {
	return &apiError{status: http.StatusBadRequest, kind: coralService + "SerializationException", message: fmt.Sprintf(format, args...)}
}

// notFound is what calls about items answer when there is no such table.
func notFound() error { return failure("ResourceNotFoundException", "Requested resource not found") }

var errClosing = errors.New("the local DynamoDB is closing")

// operations answer a body with a value to encode. Each reads what it knows of the body.
var operations = map[string]func(*Store, []byte) (any, error){
	"DynamoDB_20120810.CreateTable":               operation((*Store).createTable),
	"DynamoDB_20120810.DescribeTable":             operation((*Store).describeTable),
	"DynamoDB_20120810.ListTables":                operation((*Store).listTables),
	"DynamoDB_20120810.DeleteTable":               operation((*Store).deleteTable),
	"DynamoDB_20120810.UpdateTable":               operation((*Store).updateTable),
	"DynamoDB_20120810.UpdateTimeToLive":          operation((*Store).updateTimeToLive),
	"DynamoDB_20120810.DescribeTimeToLive":        operation((*Store).describeTimeToLive),
	"DynamoDB_20120810.DescribeContinuousBackups": operation((*Store).describeContinuousBackups),
	"DynamoDB_20120810.PutItem":                   operation((*Store).putItem),
	"DynamoDB_20120810.GetItem":                   operation((*Store).getItem),
	"DynamoDB_20120810.UpdateItem":                operation((*Store).updateItem),
	"DynamoDB_20120810.DeleteItem":                operation((*Store).deleteItem),
	"DynamoDB_20120810.Query":                     operation((*Store).query),
	"DynamoDB_20120810.Scan":                      operation((*Store).scan),
	"DynamoDB_20120810.BatchGetItem":              operation((*Store).batchGetItem),
	"DynamoDB_20120810.BatchWriteItem":            operation((*Store).batchWriteItem),
	"DynamoDB_20120810.TransactGetItems":          operation((*Store).transactGetItems),
	"DynamoDB_20120810.TransactWriteItems":        operation((*Store).transactWriteItems),
	"DynamoDBStreams_20120810.ListStreams":        operation((*Store).listStreams),
	"DynamoDBStreams_20120810.DescribeStream":     operation((*Store).describeStream),
	"DynamoDBStreams_20120810.GetShardIterator":   operation((*Store).getShardIterator),
	"DynamoDBStreams_20120810.GetRecords":         operation((*Store).getRecords),
}

func operation[In any](do func(*Store, *In) (any, error)) func(*Store, []byte) (any, error) {
	return func(s *Store, body []byte) (any, error) {
		in := new(In)
		if err := json.Unmarshal(body, in); err != nil {
			var told *apiError
			if errors.As(err, &told) {
				return nil, told
			}
			var wrong *json.UnmarshalTypeError
			if errors.As(err, &wrong) {
				return nil, serialization("%s can not be converted to %s %s", strings.ToUpper(wrong.Value), "the type of", wrong.Field)
			}
			return nil, serialization("The request is not JSON: %v", err)
		}
		return do(s, in)
	}
}

// ServeHTTP answers one call.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var answer any
	target := r.Header.Get("X-Amz-Target")
	switch do := operations[target]; {
	case err != nil:
		var long *http.MaxBytesError
		if !errors.As(err, &long) {
			return // the client went away
		}
		err = &apiError{status: http.StatusRequestEntityTooLarge, kind: coralService + "RequestEntityTooLargeException", message: "The request is larger than 16 MB"}
	case do == nil:
		_, name, _ := strings.Cut(target, ".")
		if name == "" {
			name = "(none)"
		}
		s.options.Logger.Warn("local DynamoDB has no such operation", "operation", name)
		err = &apiError{status: http.StatusNotImplemented, kind: coralService + "UnknownOperationException",
			message: fmt.Sprintf("the local DynamoDB has no operation %s: call it on AWS, in live mode", name)}
	default:
		answer, err = do(s, body)
	}
	status := http.StatusOK
	if err != nil {
		var told *apiError
		if !errors.As(err, &told) {
			s.options.Logger.Error("local DynamoDB", "operation", target, "error", err)
			told = &apiError{status: http.StatusInternalServerError, kind: serviceNamespace + "InternalServerError", message: err.Error()}
		}
		fields := map[string]any{"__type": told.kind, "message": told.message}
		for name, value := range told.extra {
			fields[name] = value
		}
		answer, status = fields, told.status
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if raw, ok := answer.(rawAnswer); ok {
		out.Write(raw)
	} else if err := encoder.Encode(answer); err != nil {
		s.options.Logger.Error("local DynamoDB", "operation", target, "error", err)
		status = http.StatusInternalServerError
		out.Reset()
	}
	head := w.Header()
	head.Set("Content-Type", "application/x-amz-json-1.0")
	head.Set("X-Amzn-RequestId", strings.ToUpper(rand.Text()))
	head.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(out.Bytes())), 10))
	head.Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(status)
	w.Write(out.Bytes())
}

// A rawAnswer is JSON already.
type rawAnswer []byte
