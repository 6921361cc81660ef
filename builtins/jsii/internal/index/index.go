// Package index makes the flat index of the CDK's types that package jsii embeds, from the assemblies in the npm packages.
// That of the CDK is made at generation time, that of a library when it is added to a project. Start at [Build]; the layout of the file is described at [Magic].
package index

import (
	"encoding/binary"
	"fmt"
	"maps"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Magic starts an index file. Then follow
//
//	32 bytes   Hash
//	6 × uint32 where the sections start, from the beginning of the file:
//	  strings   uint32 n, n+1 × uint32 offsets from the end of this table, bytes
//	  modules   uint32 n, n × 24 bytes: JS name (string), first type, number of types, doc block, doc offset, 0; sorted by JS name
//	  types     uint32 n, n × 16 bytes: name (string), body offset, doc block, doc offset; sorted by module and name
//	  refs      uint32 n, n+1 × uint32 offsets, bytes: types of values
//	  bodies    see encoder.body
//	  docs      uint32 n, n+1 × uint32 offsets, zstd frames
//
// All integers are little-endian, or unsigned varints where the bytes are a stream. Everything but the docs is read in place.
const Magic = "sst jsii index 1"

// Flags of types and members, and the kinds of references, shared with the reader by value (a test reads everything back).
const (
	typeKindMask   = 3 // class, interface, struct, enum
	typeAbstract   = 1 << 2
	typeInit       = 1 << 3
	typeDeprecated = 1 << 4
	initVariadic   = 1 << 5
	initDeprecated = 1 << 6

	memberKindMask   = 3 // property, method, enum member
	memberStatic     = 1 << 2
	memberConst      = 1 << 3
	memberOptional   = 1 << 4
	memberSettable   = 1 << 5
	memberVariadic   = 1 << 6
	memberReturns    = 1 << 7
	memberDeprecated = 1 << 8
	memberAbstract   = 1 << 9

	refOptional = 1 << 7
)

const (
	refAny = iota + 1
	refString
	refNumber
	refBoolean
	refDate
	refJSON
	refNamed
	refList
	refMap
	refUnion
)

// docBlock is how much documentation is compressed together: reading one text means to inflate this much.
const docBlock = 256 << 10

type module struct {
	name  string
	types []*jsType
	doc   string
}

type encoder struct {
	strings   []string
	stringAt  map[string]int
	types     []*jsType
	typeAt    map[string]int // by FQN
	refs      [][]byte
	refAt     map[string]int
	python    map[string]string
	block     []byte   // documentation not compressed yet
	blocks    [][]byte // compressed
	compress  *zstd.Encoder
	bodies    []byte
	typeTable []byte
	foreign   []string // types of other assemblies, numbered behind those of this one; nil: there must be none
	err       error
}

// Build makes the index of the assemblies in the archives.
func Build(archives []string) ([]byte, error) {
	hash, err := Hash(archives)
	if err != nil {
		return nil, err
	}
	e, err := newEncoder(zstd.SpeedBestCompression)
	if err != nil {
		return nil, err
	}
	var assemblies []*assembly
	for _, archive := range archives[:typed] {
		asm, python, err := read(archive)
		if err != nil {
			return nil, err
		}
		maps.Copy(e.python, python)
		assemblies = append(assemblies, asm)
	}
	return e.encode(assemblies, hash)
}

// Library makes the index of one assembly alone, and says its name. Types of other assemblies have their names in it and nothing else.
func Library(archive string) (name string, data []byte, err error) {
	e, err := newEncoder(zstd.SpeedDefault)
	if err != nil {
		return "", nil, err
	}
	asm, python, err := read(archive)
	if err != nil {
		return "", nil, err
	}
	e.python, e.foreign = python, []string{}
	data, err = e.encode([]*assembly{asm}, [32]byte{})
	return asm.Name, data, err
}

func newEncoder(level zstd.EncoderLevel) (*encoder, error) {
	compress, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	e := &encoder{stringAt: map[string]int{}, typeAt: map[string]int{}, refAt: map[string]int{}, python: map[string]string{}, compress: compress}
	e.str("")
	return e, nil
}

func (e *encoder) encode(assemblies []*assembly, hash [32]byte) ([]byte, error) {
	byName := map[string]*module{}
	for _, asm := range assemblies {
		byName[asm.Name] = &module{name: asm.Name}
		if asm.Readme != nil {
			byName[asm.Name].doc = asm.Readme.Markdown
		}
		for name, s := range asm.Submodules {
			byName[name] = &module{name: name}
			if s.Readme != nil {
				byName[name].doc = s.Readme.Markdown
			}
		}
		for fqn, t := range asm.Types {
			m := byName[fqn[:len(fqn)-len(t.Name)-1]]
			for rest := fqn; m == nil; m = byName[rest] { // a nested type: the module is further out
				rest = rest[:strings.LastIndexByte(rest, '.')]
			}
			m.types = append(m.types, t)
		}
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		m := byName[name]
		sort.Slice(m.types, func(i, j int) bool { return m.types[i].FQN < m.types[j].FQN })
		for _, t := range m.types {
			e.typeAt[t.FQN] = len(e.types)
			e.types = append(e.types, t)
		}
	}
	var moduleTable []byte
	first := 0
	for _, name := range names {
		m := byName[name]
		for _, t := range m.types {
			e.typ(m, t)
		}
		var d []byte
		d = str(d, m.doc)
		block, at := e.doc(d)
		moduleTable = u32(moduleTable, e.str(name), first, len(m.types), block, at, 0)
		first += len(m.types)
	}
	for i := 0; i < len(e.foreign); i++ { // a module for each, since those of one assembly do not follow each other
		fqn := e.foreign[i]
		assembly, name, _ := strings.Cut(fqn, ".")
		t := &jsType{FQN: fqn, Kind: "class"}
		e.typ(&module{name: assembly}, t)
		e.types = append(e.types, t)
		names = append(names, fqn)
		moduleTable = u32(moduleTable, e.str(strings.TrimSuffix(fqn, "."+name)), first, 1, 0, 0, 0)
		first++
	}
	e.flush()
	if e.err != nil {
		return nil, e.err
	}

	out := append([]byte(Magic), hash[:]...)
	head := len(out)
	out = append(out, make([]byte, 6*4)...)
	for i, section := range [][]byte{
		blobs(e.stringBytes()),
		append(u32(nil, len(names)), moduleTable...),
		append(u32(nil, len(e.types)), e.typeTable...),
		blobs(e.refs),
		e.bodies,
		blobs(e.blocks),
	} {
		binary.LittleEndian.PutUint32(out[head+4*i:], uint32(len(out)))
		out = append(out, section...)
	}
	return out, nil
}

// typ writes a type's record, body and documentation.
func (e *encoder) typ(m *module, t *jsType) {
	var docs []byte
	body := len(e.bodies)
	e.bodies = e.body(e.bodies, t, &docs)
	block, at := e.doc(docs)
	e.typeTable = u32(e.typeTable, e.str(strings.TrimPrefix(t.FQN, m.name+".")), body, block, at)
}

// body writes what a type is, and its documentation in the same order to docs: the type, its constructor and
// parameters, each member and its parameters.
func (e *encoder) body(b []byte, t *jsType, docs *[]byte) []byte {
	flags, ok := map[string]int{"class": 0, "interface": 1, "enum": 3}[t.Kind]
	if !ok {
		e.fail("%s is of unknown kind %q", t.FQN, t.Kind)
	}
	if t.Datatype {
		flags = 2
	}
	if t.Abstract {
		flags |= typeAbstract
	}
	if t.Docs.Deprecated != "" {
		flags |= typeDeprecated
	}
	init := t.Initializer
	if init != nil && init.Protected {
		init = nil
	}
	if init != nil {
		flags |= typeInit
		if init.Variadic {
			flags |= initVariadic
		}
		if init.Docs.Deprecated != "" {
			flags |= initDeprecated
		}
	}
	b = uv(b, flags)
	if t.Docs.Deprecated != "" {
		b = uv(b, e.str(oneLine(t.Docs.Deprecated)))
	}
	b = uv(b, e.typeIndex(t.Base))
	b = uv(b, len(t.Interfaces))
	for _, i := range t.Interfaces {
		b = uv(b, e.typeIndex(i))
	}
	*docs = e.docs(*docs, t.Docs)
	if init != nil {
		if init.Docs.Deprecated != "" {
			b = uv(b, e.str(oneLine(init.Docs.Deprecated)))
		}
		*docs = e.docs(*docs, init.Docs)
		b = e.params(b, init, docs)
	}

	count := len(b)
	n := 0
	var members []byte
	for _, p := range t.Properties {
		if p.Protected {
			continue
		}
		n++
		flags := 0
		if p.Static {
			flags |= memberStatic
		}
		if p.Const {
			flags |= memberConst
		}
		if p.Optional {
			flags |= memberOptional
		}
		if !p.Immutable && !p.Const {
			flags |= memberSettable
		}
		members = e.member(members, flags, p.Name, p.Docs)
		members = uv(members, e.ref(p.Type, p.Optional))
		*docs = e.docs(*docs, p.Docs)
	}
	for _, m := range t.Methods {
		if m.Protected {
			continue
		}
		n++
		flags := 1
		if m.Static {
			flags |= memberStatic
		}
		if m.Variadic {
			flags |= memberVariadic
		}
		if m.Abstract {
			flags |= memberAbstract
		}
		if m.Returns != nil {
			flags |= memberReturns
		}
		members = e.member(members, flags, m.Name, m.Docs)
		if m.Returns != nil {
			members = uv(members, e.ref(m.Returns.Type, m.Returns.Optional))
		}
		*docs = e.docs(*docs, m.Docs)
		members = e.params(members, m, docs)
	}
	for _, m := range t.Members {
		n++
		members = e.member(members, 2|memberStatic|memberConst, m.Name, m.Docs)
		*docs = e.docs(*docs, m.Docs)
	}
	return append(uv(b[:count], n), members...)
}

func (e *encoder) member(b []byte, flags int, name string, d docs) []byte {
	if d.Deprecated != "" {
		flags |= memberDeprecated
	}
	b = uv(b, flags)
	b = uv(b, e.str(name))
	if d.Deprecated != "" {
		b = uv(b, e.str(oneLine(d.Deprecated)))
	}
	return b
}

func (e *encoder) params(b []byte, c *callable, docs *[]byte) []byte {
	b = uv(b, len(c.Parameters))
	for _, p := range c.Parameters {
		b = uv(b, e.str(p.Name))
		b = uv(b, e.ref(p.Type, p.Optional))
		*docs = e.docs(*docs, p.Docs)
	}
	return b
}

// ref interns the type of a value.
func (e *encoder) ref(t typeRef, optional bool) int {
	var b []byte
	kind := func(k int) {
		if optional {
			k |= refOptional
		}
		b = append(b, byte(k))
	}
	switch {
	case t.Intersection != nil: // rare, and only for arguments: whoever is all of them is the first
		return e.ref(t.Intersection.Types[0], optional)
	case t.FQN != "":
		kind(refNamed)
		b = uv(b, e.typeIndex(t.FQN))
	case t.Collection != nil && t.Collection.Kind == "array":
		kind(refList)
		b = uv(b, e.ref(t.Collection.ElementType, false))
	case t.Collection != nil && t.Collection.Kind == "map":
		kind(refMap)
		b = uv(b, e.ref(t.Collection.ElementType, false))
	case t.Union != nil:
		kind(refUnion)
		b = uv(b, len(t.Union.Types))
		for _, u := range t.Union.Types {
			b = uv(b, e.ref(u, false))
		}
	default:
		k, ok := map[string]int{"any": refAny, "string": refString, "number": refNumber, "boolean": refBoolean, "date": refDate, "json": refJSON}[t.Primitive]
		if !ok {
			e.fail("unknown type %+v", t)
		}
		kind(k)
	}
	if i, ok := e.refAt[string(b)]; ok {
		return i
	}
	i := len(e.refs)
	e.refAt[string(b)] = i
	e.refs = append(e.refs, b)
	return i
}

// typeIndex is the number of a type plus one; zero is none.
func (e *encoder) typeIndex(fqn string) int {
	if fqn == "" {
		return 0
	}
	i, ok := e.typeAt[fqn]
	switch {
	case ok:
	case e.foreign != nil:
		i = len(e.types) + len(e.foreign)
		e.typeAt[fqn] = i
		e.foreign = append(e.foreign, fqn)
	default:
		e.fail("unknown type %s", fqn)
	}
	return i + 1
}

func (e *encoder) str(s string) int {
	if i, ok := e.stringAt[s]; ok {
		return i
	}
	i := len(e.strings)
	e.stringAt[s] = i
	e.strings = append(e.strings, s)
	return i
}

func (e *encoder) stringBytes() [][]byte {
	all := make([][]byte, len(e.strings))
	for i, s := range e.strings {
		all[i] = []byte(s)
	}
	return all
}

// docs writes one text: which parts it has, then the parts. Examples are those of the Python bindings where there are any,
// since those nearly are what one writes here.
func (e *encoder) docs(b []byte, d docs) []byte {
	if p, ok := e.python[d.Example]; ok {
		d.Example = p
	}
	if d.Stability == "stable" { // nearly all; what is not said is stable
		d.Stability = ""
	}
	parts := []string{d.Summary, d.Remarks, d.Default, d.Example, d.Stability, d.Returns, d.See}
	mask := 0
	for i, p := range parts {
		if p != "" {
			mask |= 1 << i
		}
	}
	b = uv(b, mask)
	for _, p := range parts {
		if p != "" {
			b = str(b, p)
		}
	}
	return b
}

// doc puts the documentation of one type or module away and says where.
func (e *encoder) doc(d []byte) (block, at int) {
	if len(e.block) > 0 && len(e.block)+len(d) > docBlock {
		e.flush()
	}
	block, at = len(e.blocks), len(e.block)
	e.block = append(e.block, d...)
	return block, at
}

func (e *encoder) flush() {
	e.blocks = append(e.blocks, e.compress.EncodeAll(e.block, nil))
	e.block = nil
}

func (e *encoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func uv(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

func str(b []byte, s string) []byte { return append(uv(b, len(s)), s...) }

func u32(b []byte, ns ...int) []byte {
	for _, n := range ns {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b
}

// blobs writes a table of offsets and the bytes.
func blobs(all [][]byte) []byte {
	b := u32(nil, len(all))
	n := 0
	for _, x := range all {
		b = u32(b, n)
		n += len(x)
	}
	b = u32(b, n)
	for _, x := range all {
		b = append(b, x...)
	}
	return b
}
