package bundle

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// text of n bytes that compresses as code does.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "var v%d=f%d(%d,\"%x\");", r.IntN(500), r.IntN(50), r.IntN(9), r.IntN(1<<20))
	}
	return b.Bytes()[:n]
}

// An archive depends on its files alone, not on what was packed before, and others can read it.
func TestPack(t *testing.T) {
	shared := text(1, 900<<10)
	var used packer
	for i, data := range [][]byte{nil, []byte("x"), shared, append(text(2, 70<<10), shared...), append(bytes.Clone(shared), text(3, 9)...), make([]byte, 3<<20)} {
		files := []File{{Name: "ä.mjs", Data: data, Mode: 0o644}, {Name: "bin/b", Data: []byte("b"), Mode: 0o755}}
		packed := used.pack(files)
		if !bytes.Equal(packed, new(packer).pack(files)) {
			t.Errorf("archive %d depends on those before", i)
		}
		r, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
		if err != nil {
			t.Fatal(err)
		}
		for j, f := range r.File {
			body, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body) // looks at the checksum too
			if err != nil || !bytes.Equal(got, files[j].Data) || f.Mode() != files[j].Mode || f.Modified.Year() != 1980 || f.Name != files[j].Name {
				t.Errorf("archive %d: %s: %v, %d bytes, want %d", i, f.Name, err, len(got), len(files[j].Data))
			}
		}
	}
}

// What two files share is cut at the same places, so that it is compressed once.
func TestPiecesAreShared(t *testing.T) {
	shared := text(1, 2<<20)
	var p packer
	p.deflate(shared)
	before := p.bytes
	p.deflate(append(text(2, 1000), shared...))
	if added := p.bytes - before; added > before/5 {
		t.Errorf("the same text behind another beginning added %d bytes to %d", added, before)
	}
}

func BenchmarkPack(b *testing.B) {
	shared := text(1, 400<<10)
	for b.Loop() {
		var p packer
		for i := range 100 {
			p.pack([]File{{Name: "a.mjs", Data: append(bytes.Clone(shared), fmt.Sprint(i)...), Mode: 0o644}})
		}
	}
}
