package bundle

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// zipDate is what all files in an archive are dated: 1980-01-01, the earliest that the format can say. (The CDK does the same.)
const zipDate = 1<<5 | 1

const (
	zipVersion = 20      // of the format, which a reader must know
	zipUTF8    = 1 << 11 // flag: the name is UTF-8
)

// Zip gives the archive that Lambda takes. It is the same for the same Hash: sorted names, fixed times and modes. The error is
// ErrDamaged, and never that of a Result with Files.
func (r *Result) Zip() ([]byte, error) {
	if r.archive != nil {
		data, err := r.archive.read()
		if err == nil || r.Files == nil {
			return data, err
		}
	}
	return new(packer).pack(r.Files), nil
}

// A packer makes archives. The bundles of an app are mostly the same packages over and over, so that it remembers what
// pieces of them were compressed to: see docs/decisions/bundle-zip-pieces.md. It is safe for concurrent use; the zero
// value is ready.
type packer struct {
	mu     sync.Mutex // guards pieces and bytes
	pieces map[uint64]piece
	bytes  int
}

type piece struct{ plain, deflated []byte }

// maxPieceMemory bounds what a packer remembers, in bytes.
const maxPieceMemory = 64 << 20

// pack writes to memory, so that nothing can fail but a file too large for the format, which Lambda's limit of 250 MB
// excludes.
func (p *packer) pack(files []File) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		body := p.deflate(f.Data)
		header := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, ModifiedDate: zipDate, ReaderVersion: zipVersion, Flags: zipUTF8, CRC32: crc32.ChecksumIEEE(f.Data),
			CompressedSize64: uint64(len(body)), UncompressedSize64: uint64(len(f.Data))}
		header.SetMode(f.Mode)
		file, err := w.CreateRaw(header)
		if err == nil {
			_, err = file.Write(body)
		}
		if err != nil {
			panic(fmt.Sprintf("bundle: zip %s: %v", f.Name, err))
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("bundle: zip: %v", err))
	}
	return out.Bytes()
}

// deflate compresses data piece by piece. The result depends on data alone, not on what is remembered.
func (p *packer) deflate(data []byte) []byte {
	var out []byte
	for len(data) > 0 {
		n := cut(data)
		out = append(out, p.piece(data[:n])...)
		data = data[n:]
	}
	return append(out, lastBlock...)
}

// lastBlock is an empty block that ends a deflated stream: the pieces end in blocks that others may follow.
var lastBlock = []byte{0x01, 0x00, 0x00, 0xff, 0xff}

var pieceSeed = maphash.MakeSeed()

func (p *packer) piece(plain []byte) []byte {
	key := maphash.Bytes(pieceSeed, plain)
	p.mu.Lock()
	known, ok := p.pieces[key]
	p.mu.Unlock()
	if ok && bytes.Equal(known.plain, plain) {
		return known.deflated
	}
	deflated := deflatePiece(plain)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytes += len(plain) + len(deflated); p.pieces == nil || p.bytes > maxPieceMemory {
		p.pieces, p.bytes = map[uint64]piece{}, len(plain)+len(deflated)
	}
	p.pieces[key] = piece{bytes.Clone(plain), deflated} // the whole file is not to be kept for it
	return deflated
}

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, 6)
	if err != nil {
		panic(err) // of a wrong level only
	}
	return w
}}

// deflatePiece gives whole blocks that look at nothing before them.
func deflatePiece(plain []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	if _, err := w.Write(plain); err != nil {
		panic(err) // a buffer takes all
	}
	if err := w.Flush(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

const (
	minPiece = 48 << 10
	maxPiece = 256 << 10 // on average it goes on for 64 KB
)

// cut gives the length of the first piece of data. Where a piece ends depends on the bytes just before alone, so that the
// pieces of what two files share are the same wherever it lies in them.
func cut(data []byte) int {
	if len(data) <= minPiece {
		return len(data)
	}
	end := min(len(data), maxPiece)
	var h uint32
	for i := minPiece - 32; i < end; i++ {
		h = h<<1 + gear[data[i]] // what is 32 bytes back has left it
		if i >= minPiece && h>>16 == 0 {
			return i
		}
	}
	return end
}

// gear has a random number for each byte, always the same.
var gear = func() (table [256]uint32) {
	x := uint32(2463534242)
	for i := range table {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		table[i] = x
	}
	return table
}()
