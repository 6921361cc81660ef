package interp

import (
	"testing"

	"sst/starlark/diag"
)

func TestLint(t *testing.T) {
	testChunks(t, "testdata/lint/*.star", func(_ *testing.T, path, src string) diag.List {
		return Lint(Parse(path, []byte(src)), nil)
	})
}

// Of a file that nothing loads, every function that it does not call itself is one too many; in test files those of sst test
// are called.
func TestLintUnloaded(t *testing.T) {
	src := "def spare():\n    pass\n\ndef needed():\n    pass\n\ndef test_it():\n    pass\n"
	loaded := func(name string) bool { return name == "needed" }
	for path, want := range map[string][]string{
		"/p/alarms.star":      {`Nothing calls "spare".`, `Nothing calls "test_it".`},
		"/p/alarms_test.star": {`Nothing calls "spare".`},
	} {
		found := Lint(Parse(path, []byte(src)), loaded)
		if len(found) != len(want) {
			t.Errorf("%s: got %v, want %q", path, found, want)
			continue
		}
		for i := range want {
			if found[i].Detail != want[i] || found[i].Severity != diag.Warning {
				t.Errorf("%s: got %v, want %q", path, found[i], want[i])
			}
		}
	}
}

// The texts of the evaluation tests are written as people write.
func TestLintSaysNothingOfGoodFiles(t *testing.T) {
	if found := Lint(Parse("/f.star", bigFile(3)), nil); len(found) > 0 {
		t.Errorf("generated file: %v", found)
	}
}
