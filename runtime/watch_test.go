package runtime

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A save that comes after a file's stamp was taken but before the system watches its folder tells nothing by itself.
func TestSaveBeforeTheFolderIsWatched(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stacks.star")
	if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := make(chan Changed, 1)
	w := openWatcher(watcherOptions{
		root: filepath.Dir(file), skip: filepath.Join(filepath.Dir(file), ".sst"),
		codes: &codes{},
		emit: func(e Event) {
			if c, ok := e.(Changed); ok {
				changed <- c
			}
		},
		log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	defer w.close()
	w.mu.Lock()
	w.star[file], w.stamps[file] = true, stampOf(file) // as watch does
	w.mu.Unlock()
	if err := os.WriteFile(file, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.refresh()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told of a save")
	}
}
