package jsii

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// One test, since loading the rules is slow.
func TestValidate(t *testing.T) {
	node, dir := needNode(t)
	temp := t.TempDir()
	good, bad := filepath.Join(temp, "a.template.json"), filepath.Join(temp, "b.template.json")
	for file, text := range map[string]string{
		good: `{"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 30}}}}`,
		bad:  `{"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": "soon", "Colour": "red"}}}}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	findings, err := Validate(context.Background(), node, dir, []string{bad, good})
	if err != nil {
		t.Fatal(err)
	}
	colour := false
	for _, f := range findings {
		if f.Template != bad {
			t.Errorf("in the good template: %+v", f)
		}
		if strings.Contains(f.Message, "Colour") && f.LogicalID == "Q" && f.Severity == "error" && f.Rule != "" {
			colour = true
		}
	}
	if !colour {
		t.Errorf("the unknown property is not among %+v", findings)
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := Validate(ctx, node, dir, []string{bad}); err != context.DeadlineExceeded {
		t.Errorf("out of time: %v", err)
	}
	if _, err := Validate(context.Background(), node, temp, []string{bad}); err == nil || !strings.Contains(err.Error(), "Cannot find module") {
		t.Errorf("without the CDK: %v", err)
	}
}
