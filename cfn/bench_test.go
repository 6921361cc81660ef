package cfn

import (
	"os"
	"testing"
)

// Set SST_BENCH_ASSEMBLY to a synthesized assembly (placeholders as testdata/generate.js makes them) to measure with it.
func BenchmarkFinish(b *testing.B) {
	src := os.Getenv("SST_BENCH_ASSEMBLY")
	if src == "" {
		src = "testdata/notes"
	}
	asm := open(b, src, "dev", "notes")
	dst := b.TempDir()
	versions := []map[string]Code{codes(asm.Manifest, ""), codes(asm.Manifest, " changed")}
	for i := 0; b.Loop(); i++ {
		must(b, finish(FinishTo(src, dst, asm.Manifest, versions[i%2])))
	}
	b.ReportMetric(float64(len(asm.Manifest.Functions)), "functions")
}

func BenchmarkEnvironment(b *testing.B) {
	asm := open(b, "testdata/notes", "dev", "notes")
	for b.Loop() {
		r := NewResolver(asm, Local{})
		for _, f := range asm.Manifest.Functions {
			if _, err := r.Environment(f); err != nil {
				b.Fatal(err)
			}
		}
	}
}
