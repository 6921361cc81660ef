package jsii

import (
	"sort"
	"strings"
	"sync"
)

// Catalog is the index of all types of the CDK. It is read-only and safe for concurrent use. What it gives is shared:
// callers do not change it.
type Catalog struct {
	base      *Catalog   // With: the CDK's, beside which libraries are; has no file of its own then
	libraries []*Catalog // With
	whole     *Catalog   // of a library: what it is part of
	name      string     // of a library: its assembly

	file     *file
	byJS     map[string]int // modules
	byPython map[string]int

	mu      sync.Mutex
	types   map[int]*Type
	modules map[int]*Module

	byName sync.Map // fully qualified name → *Type: those that were asked for
}

// Module is a namespace: aws-cdk-lib itself (""), "aws_s3", "aws_s3.mixins", "constructs", "cdk-nag" of a library.
type Module struct {
	Name string // as in Python, without "aws_cdk."
	JS   string // as in fully qualified names: "aws-cdk-lib.aws_s3"

	catalog *Catalog
	index   int
}

var embedded = sync.OnceValue(func() *Catalog { return newCatalog(indexFile) })

// Index gives the embedded catalog.
func Index() *Catalog { return embedded() }

// With gives a catalog that has the types of libraries too.
func (c *Catalog) With(libraries []Library) *Catalog {
	whole := &Catalog{base: c}
	for _, l := range libraries {
		lib := newCatalog(l.index)
		lib.name, lib.whole = l.Name, whole
		whole.libraries = append(whole.libraries, lib)
	}
	return whole
}

// library is the one that a name belongs to: a module's or a type's; nil when it is none's.
func (c *Catalog) library(name string) *Catalog {
	for _, lib := range c.libraries {
		if rest, ok := strings.CutPrefix(name, lib.name); ok && (rest == "" || rest[0] == '.') {
			return lib
		}
	}
	return nil
}

// elsewhere is the catalog that answers for a name instead of this one, nil when this one does.
func (c *Catalog) elsewhere(name string) *Catalog {
	switch {
	case c.base != nil:
		if lib := c.library(name); lib != nil {
			return lib
		}
		return c.base
	case c.whole != nil && c.whole.library(name) != c:
		return c.whole
	}
	return nil
}

func newCatalog(data string) *Catalog {
	f := open(data)
	c := &Catalog{
		file:     f,
		byJS:     make(map[string]int, f.moduleCount),
		byPython: make(map[string]int, f.moduleCount),
		types:    map[int]*Type{},
		modules:  map[int]*Module{},
	}
	for i := range f.moduleCount {
		js := f.moduleName(i)
		c.byJS[js] = i
		c.byPython[pythonModule(js)] = i
	}
	return c
}

// pythonModule gives "aws_s3" for "aws-cdk-lib.aws_s3".
func pythonModule(js string) string {
	assembly, rest, _ := strings.Cut(js, ".")
	if assembly == "aws-cdk-lib" {
		return rest
	}
	return js
}

// Modules lists the modules by name, nested ones too, sorted.
func (c *Catalog) Modules() []string {
	names := make([]string, 0, len(c.byPython))
	for name := range c.byPython {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Module gives a module by its Python name; "" is aws-cdk-lib itself.
func (c *Catalog) Module(name string) (*Module, bool) {
	if other := c.elsewhere(name); other != nil {
		return other.Module(name)
	}
	i, ok := c.byPython[name]
	if !ok {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.modules[i]
	if !ok {
		m = &Module{Name: name, JS: c.file.moduleName(i), catalog: c, index: i}
		c.modules[i] = m
	}
	return m, true
}

// Type gives a type by its fully qualified name.
func (c *Catalog) Type(fqn string) (*Type, bool) {
	if other := c.elsewhere(fqn); other != nil {
		return other.Type(fqn)
	}
	if t, ok := c.byName.Load(fqn); ok {
		return t.(*Type), true
	}
	i := c.typeIndex(fqn)
	if i < 0 {
		return nil, false
	}
	t := c.typeAt(i)
	c.byName.Store(fqn, t)
	return t, true
}

// typeIndex finds a type; the module is the longest name of one that the fully qualified name starts with.
func (c *Catalog) typeIndex(fqn string) int {
	for end := strings.LastIndexByte(fqn, '.'); end > 0; end = strings.LastIndexByte(fqn[:end], '.') {
		if m, ok := c.byJS[fqn[:end]]; ok {
			return c.file.findType(m, fqn[end+1:])
		}
	}
	return -1
}

func (c *Catalog) typeAt(i int) *Type {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.types[i]
	if !ok {
		t = c.decode(i)
		c.types[i] = t
	}
	return t
}

// fqn is the name of the type with a number as the index stores it: plus one, and zero for none.
func (c *Catalog) fqn(i int) string {
	if i == 0 {
		return ""
	}
	return c.file.moduleName(c.file.moduleOf(i-1)) + "." + c.file.typeName(i-1)
}

// AssignableTo says whether a value of type fqn can stand where target is wanted: it is that type, or one of its bases or interfaces is.
func (c *Catalog) AssignableTo(fqn, target string) bool {
	if fqn == target {
		return true
	}
	t, ok := c.Type(fqn)
	if !ok {
		return false
	}
	if t.Base != "" && c.AssignableTo(t.Base, target) {
		return true
	}
	for _, i := range t.Interfaces {
		if c.AssignableTo(i, target) {
			return true
		}
	}
	return false
}

// Foreign says whether the module is that of a library, not of the CDK.
func (m *Module) Foreign() bool { return m.catalog.whole != nil }

// Names lists the types of the module, nested ones left out, sorted.
func (m *Module) Names() []string {
	first, end := m.catalog.file.moduleTypes(m.index)
	var names []string
	for i := first; i < end; i++ {
		if name := m.catalog.file.typeName(i); !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	return names
}

// Type gives a type by its Python name, which is that of JavaScript; "CfnFunction.CodeProperty" is a nested one.
func (m *Module) Type(name string) (*Type, bool) {
	i := m.catalog.file.findType(m.index, name)
	if i < 0 {
		return nil, false
	}
	return m.catalog.typeAt(i), true
}

// Submodules lists the modules in this one by the last part of their names, sorted.
func (m *Module) Submodules() []string {
	var names []string
	for js := range m.catalog.byJS {
		if rest, ok := strings.CutPrefix(js, m.JS+"."); ok && !strings.Contains(rest, ".") {
			names = append(names, rest)
		}
	}
	sort.Strings(names)
	return names
}

// Doc gives the module's description, Markdown.
func (m *Module) Doc() string {
	f := m.catalog.file
	at := f.modules + m.index*moduleSize
	r := stream{f.block(f.u32(at + 12)), f.u32(at + 16)}
	return r.str()
}
