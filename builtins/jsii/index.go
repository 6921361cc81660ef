package jsii

// The embedded file behind the catalog: reading its sections in place. The layout is described in internal/index.

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

//go:generate go run ./internal/gen

//go:embed index.bin
var indexFile string

const (
	indexHash = len("sst jsii index 1")
	indexHead = indexHash + 32

	moduleSize = 24
	typeSize   = 16
)

// file knows where the sections are.
type file struct {
	data                   string
	strings, refs, docs    blobs
	modules, types, bodies int // first record
	moduleCount, typeCount int
	docMu                  sync.Mutex
	docBlocks              [4]docBlock // the ones used last, latest first
	decoder                func() *zstd.Decoder
}

type docBlock struct {
	number int // plus one; 0 is none
	data   string
}

func open(data string) *file {
	f := &file{data: data}
	at := func(i int) int { return f.u32(indexHead + 4*i) }
	f.strings, f.refs, f.docs = f.blobs(at(0)), f.blobs(at(3)), f.blobs(at(5))
	f.moduleCount, f.modules = f.u32(at(1)), at(1)+4
	f.typeCount, f.types = f.u32(at(2)), at(2)+4
	f.bodies = at(4)
	f.decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic(err) // options only: a bug of ours
		}
		return d
	})
	return f
}

func (f *file) u32(at int) int {
	d := f.data[at : at+4]
	return int(d[0]) | int(d[1])<<8 | int(d[2])<<16 | int(d[3])<<24
}

// blobs is a table of byte strings.
type blobs struct{ offsets, bytes, count int }

func (f *file) blobs(at int) blobs {
	n := f.u32(at)
	return blobs{offsets: at + 4, bytes: at + 4 + 4*(n+1), count: n}
}

func (f *file) blob(b blobs, i int) string {
	return f.data[b.bytes+f.u32(b.offsets+4*i) : b.bytes+f.u32(b.offsets+4*i+4)]
}

func (f *file) str(i int) string { return f.blob(f.strings, i) }

// moduleName is the JavaScript name of a module.
func (f *file) moduleName(i int) string { return f.str(f.u32(f.modules + i*moduleSize)) }

// moduleTypes is the range of types of a module.
func (f *file) moduleTypes(i int) (first, end int) {
	at := f.modules + i*moduleSize
	first = f.u32(at + 4)
	return first, first + f.u32(at+8)
}

// moduleOf is the module of a type.
func (f *file) moduleOf(typ int) int {
	return sort.Search(f.moduleCount, func(i int) bool { first, _ := f.moduleTypes(i); return first > typ }) - 1
}

func (f *file) typeName(i int) string { return f.str(f.u32(f.types + i*typeSize)) }

// findType looks for a type by name in a module; -1 when there is none.
func (f *file) findType(module int, name string) int {
	first, end := f.moduleTypes(module)
	i := first + sort.Search(end-first, func(i int) bool { return f.typeName(first+i) >= name })
	if i < end && f.typeName(i) == name {
		return i
	}
	return -1
}

// stream reads varints and strings off a part of the file.
type stream struct {
	s  string
	at int
}

func (r *stream) uv() int {
	n, shift := 0, 0
	for {
		c := r.s[r.at]
		r.at++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
		shift += 7
	}
}

func (r *stream) str() string {
	n := r.uv()
	r.at += n
	return r.s[r.at-n : r.at]
}

// block gives documentation block i, inflated.
func (f *file) block(i int) string {
	f.docMu.Lock()
	defer f.docMu.Unlock()
	for k, b := range f.docBlocks {
		if b.number == i+1 {
			copy(f.docBlocks[1:k+1], f.docBlocks[:k])
			f.docBlocks[0] = b
			return b.data
		}
	}
	raw, err := f.decoder().DecodeAll([]byte(f.blob(f.docs, i)), nil)
	if err != nil {
		panic(fmt.Sprintf("the embedded CDK index is damaged: %v", err))
	}
	copy(f.docBlocks[1:], f.docBlocks[:])
	f.docBlocks[0] = docBlock{i + 1, string(raw)}
	return f.docBlocks[0].data
}

// doc reads the text in the given slot of what starts at an offset of a block.
func (f *file) doc(block, at, slot int) Doc {
	r := stream{f.block(block), at}
	for {
		var parts [7]string
		mask := r.uv()
		for i := range parts {
			if mask&(1<<i) != 0 {
				parts[i] = r.str()
			}
		}
		if slot == 0 {
			for i := range parts {
				parts[i] = strings.Clone(parts[i]) // who keeps a sentence shall not keep the block
			}
			d := Doc{Summary: parts[0], Remarks: parts[1], Default: parts[2], Example: parts[3], Stability: parts[4], Returns: parts[5], See: parts[6]}
			if d.Stability == "" {
				d.Stability = "stable"
			}
			return d
		}
		slot--
	}
}
