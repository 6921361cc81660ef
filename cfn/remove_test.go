package cfn

import (
	"context"
	"testing"

	"sst/cfn/cfntest"
)

// The logs of a function without a log group of its own go with a personal stage, and stay with any other.
func TestRemoveStrayLogs(t *testing.T) {
	for _, personal := range []bool{true, false} {
		server := cfntest.New(cfntest.Options{PageSize: 1})
		server.Bootstrap("us-east-1", 30)
		asm := edit(t, writeApp(t, 1, 1), `"Topic":{`, `"Helper":{"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"helper"}},`+
			`"Own":{"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"own","LoggingConfig":{"LogGroup":"mine"}}},"Topic":{`)
		asm.Manifest.Personal = personal
		d := &Deployer{Config: server.Config("us-east-1"), Assembly: asm}
		deployed(t, d, "deployed")
		for _, group := range []string{"/aws/lambda/helper", "mine", "/aws/lambda/other"} {
			server.Log(group, "x")
		}
		results, kept, err := d.Remove(context.Background(), asm.Stacks)
		if got := outcomes(t, results, err); got != "removed" || len(kept) > 0 {
			t.Errorf("%s, kept %v", got, kept)
		}
		if server.HasLogs("/aws/lambda/helper") == personal || !server.HasLogs("mine") || !server.HasLogs("/aws/lambda/other") {
			t.Errorf("personal %v: logs of the helper there %v", personal, server.HasLogs("/aws/lambda/helper"))
		}
		server.Close()
	}
}
