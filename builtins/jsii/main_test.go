package jsii

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if TapMain() {
		return
	}
	code := m.Run()
	if shared != nil {
		shared.Close()
	}
	os.Exit(code)
}
