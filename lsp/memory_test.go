package lsp

import (
	"path/filepath"
	"runtime"
	"testing"
)

// maxLiveBytes is what may be kept for a file of 10,000 lines: one snapshot of it, twice what completions refer to, the
// index. Lists of completions that held on to eight snapshots made it 100 MiB.
const maxLiveBytes = 48 << 20

// TestMemory completes at one place after another and holds what is kept in the end.
func TestMemory(t *testing.T) {
	c := newClient(t, project(t))
	path := filepath.Join(c.root, "stacks.star")
	c.open(path, bigFile(10_000))
	c.diagnosed(path, 1)
	for version := 2; version < 22; version++ {
		c.change(path, version, map[string]any{"range": testRange{testPosition{0, 1}, testPosition{0, 1}}, "text": "x"})
		var list testList
		if err := c.request("textDocument/completion", at(path, testPosition{5003, 0}), &list); err != nil || len(list.Items) == 0 {
			t.Fatalf("%v, %d items", err, len(list.Items))
		}
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d MiB are kept", m.HeapAlloc>>20)
	if m.HeapAlloc > maxLiveBytes {
		t.Errorf("%d MiB are kept, want at most %d", m.HeapAlloc>>20, maxLiveBytes>>20)
	}
}
