package builtins

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"sst/builtins/jsii"
)

// shared is the warm engine of all tests that need the CDK; nil without Node.
var (
	shared  *Engine
	noNode  error
	testCDK = func(ctx context.Context) (string, error) {
		cache := os.Getenv("SST_TEST_CDK_CACHE") // several runs may share one
		if cache == "" {
			base, err := os.UserCacheDir()
			if err != nil {
				return "", err
			}
			cache = filepath.Join(base, "sst-test")
		}
		return jsii.Unpack(ctx, cache, nil)
	}
)

func TestMain(m *testing.M) {
	if jsii.TapMain() {
		return
	}
	if _, noNode = jsii.FindNode(os.Getenv, ""); noNode == nil {
		shared = newEngine()
	}
	code := m.Run()
	if shared != nil {
		shared.Close()
	}
	os.Exit(code)
}

func newEngine() *Engine {
	e, err := Open(Options{Node: func() (jsii.Node, error) { return jsii.FindNode(os.Getenv, "") }, CDKDir: testCDK})
	if err != nil {
		panic(err)
	}
	return e
}

// engine is the shared engine; without Node the test is skipped.
func engine(t testing.TB) *Engine {
	t.Helper()
	if shared == nil {
		t.Skipf("needs Node.js: %v", noNode)
	}
	return shared
}
