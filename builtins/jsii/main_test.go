package jsii

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if TapMain() {
		return
	}
	os.Exit(m.Run())
}
