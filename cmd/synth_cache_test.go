package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The cache of synthesized assemblies keeps the ones used last, as many as it may, and nothing that is half written.
func TestPruneSynths(t *testing.T) {
	for _, test := range []struct {
		entries int
		bytes   int64
		want    string
	}{
		{9, 1 << 20, "0 1 2 3"},
		{2, 1 << 20, "0 1"},
		{9, 2500, "0 1"},
		{9, 10, "0"}, // the one that was made just now is in use
	} {
		dir := t.TempDir()
		for i := range 4 { // 0 was used last
			folder := filepath.Join(dir, fmt.Sprint(i))
			write(t, filepath.Join(folder, "asset.1", "file"), strings.Repeat("x", 900))
			write(t, folder+resultSuffix, strings.Repeat("x", 50))
			write(t, folder+".json", strings.Repeat("x", 50))
			used := time.Now().Add(-time.Duration(i) * time.Second)
			if err := os.Chtimes(folder+".json", used, used); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(dir, "half", "manifest.json"), "{}")
		if err := pruneSynths(dir, test.entries, test.bytes); err != nil {
			t.Fatal(err)
		}
		var left, folders, results []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			switch name, record := strings.CutSuffix(e.Name(), ".json"); {
			case e.IsDir():
				folders = append(folders, name)
			case record:
				left = append(left, name)
			default:
				results = append(results, strings.TrimSuffix(name, resultSuffix))
			}
		}
		if got := strings.Join(left, " "); got != test.want || !slices.Equal(left, folders) || !slices.Equal(left, results) {
			t.Errorf("of 4 entries of 1,000 bytes, %d and %d bytes allowed: records %s, folders %s and results %s left, want %s",
				test.entries, test.bytes, left, folders, results, test.want)
		}
	}
}

func TestPruneVerdicts(t *testing.T) {
	dir := t.TempDir()
	for i := range 4 {
		path := filepath.Join(dir, fmt.Sprint(i, ".json"))
		write(t, path, "[]")
		made := time.Now().Add(-time.Duration(i) * time.Second)
		if err := os.Chtimes(path, made, made); err != nil {
			t.Fatal(err)
		}
	}
	pruneVerdicts(dir, 2)
	if left := newestFirst(dir, ""); len(left) != 2 || filepath.Base(left[1]) != "1.json" {
		t.Errorf("left of 4 verdicts, 2 allowed: %s", left)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
