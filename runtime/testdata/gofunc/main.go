// A Go function as users write them, for the conformance tests.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do  string `json:"do"`
	Pad string `json:"pad"`
}

func handle(ctx context.Context, e event) (any, error) {
	switch e.Do {
	case "error":
		return nil, errors.New("no such note")
	case "panic":
		panic("lost")
	case "exit":
		os.Exit(4)
	case "sleep":
		time.Sleep(time.Hour)
	case "echo":
		return map[string]any{"pad": e.Pad}, nil
	case "large":
		return bytes.Repeat([]byte("x"), 6<<20), nil // base64 makes 8 MiB of it
	case "stream":
		return &events.LambdaFunctionURLStreamingResponse{StatusCode: 201, Headers: map[string]string{"x-made": "yes"},
			Body: io.MultiReader(bytes.NewReader([]byte("one ")), bytes.NewReader([]byte("two")))}, nil
	case "late":
		return &events.LambdaFunctionURLStreamingResponse{Body: io.MultiReader(bytes.NewReader([]byte("one ")), failing{})}, nil
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return map[string]any{"id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "left": time.Until(deadline).Milliseconds(),
		"client": lc.ClientContext.Custom["who"], "identity": lc.Identity.CognitoIdentityID, "tenant": lc.TenantID, "trace": os.Getenv("_X_AMZN_TRACE_ID"),
		"name": lambdacontext.FunctionName, "version": lambdacontext.FunctionVersion, "memory": lambdacontext.MemoryLimitInMB,
		"group": lambdacontext.LogGroupName, "stream": lambdacontext.LogStreamName}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("too late") }

func main() {
	if os.Getenv("_HANDLER") == "broken.handler" {
		os.Exit(3)
	}
	lambda.Start(func(ctx context.Context, raw json.RawMessage) (any, error) {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			return nil, err
		}
		return handle(ctx, e)
	})
}
