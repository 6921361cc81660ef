package builtins

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// assembly is all of an assembly's files by name.
func assembly(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files[rel] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameAssembly(t *testing.T, what string, a, b *Synthesis) {
	t.Helper()
	first, second := assembly(t, a.Dir), assembly(t, b.Dir)
	for name, data := range first {
		if !bytes.Equal(data, second[name]) {
			t.Errorf("%s: %s differs", what, name)
		}
	}
	if len(first) != len(second) {
		t.Errorf("%s: %d files and %d", what, len(first), len(second))
	}
	m, _ := json.Marshal(a.Manifest)
	n, _ := json.Marshal(b.Manifest)
	if !bytes.Equal(m, n) {
		t.Errorf("%s: the manifests differ:\n%s\n%s", what, m, n)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	warm := engine(t)
	files := map[string]string{"stacks.star": notes, "src/notes.ts": handlers}
	run := func(e *Engine) *Synthesis {
		s, err := synth(t, e, project(t, files), Input{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := run(warm)
	sameAssembly(t, "warm, in another folder", first, run(warm))
	synth(t, warm, project(t, map[string]string{"stacks.star": "app = sst.App(\"x\")\ncdk.aws_s3.Bucket(sst.Stack(app, \"s\"), \"A\").bucket_arn + 1\n"}), Input{})
	sameAssembly(t, "warm, after a failure", first, run(warm))
	fresh := newEngine()
	defer fresh.Close()
	sameAssembly(t, "fresh process", first, run(fresh))
}
