package cfn

import (
	"os"
	"testing"

	"sst/builtins/jsii"
)

// TestMain lets this program hand over the CDK archive where it is not unpacked yet.
func TestMain(m *testing.M) {
	if jsii.TapMain() {
		return
	}
	os.Exit(m.Run())
}
