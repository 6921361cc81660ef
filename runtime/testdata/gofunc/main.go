// A Go function as users write them, for the conformance test.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do string `json:"do"`
}

func handle(ctx context.Context, e event) (map[string]any, error) {
	switch e.Do {
	case "error":
		return nil, errors.New("no such note")
	case "panic":
		panic("lost")
	case "exit":
		os.Exit(4)
	}
	lc, _ := lambdacontext.FromContext(ctx)
	_, deadline := ctx.Deadline()
	return map[string]any{"id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "deadline": deadline, "do": e.Do,
		"name": lambdacontext.FunctionName}, nil
}

func main() { lambda.Start(handle) }
