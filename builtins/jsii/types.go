package jsii

import (
	"sort"
	"strings"
	"sync"
)

// Kind says what a type is.
type Kind uint8

// The kinds of types.
const (
	Class     Kind = iota
	Interface      // of behaviour: its name starts with I
	Struct         // of values: keywords and plain dicts
	Enum
)

func (k Kind) String() string { return [...]string{"class", "interface", "struct", "enum"}[k] }

// MemberKind says what a member is.
type MemberKind uint8

// The kinds of members.
const (
	Property MemberKind = iota
	Method
	EnumMember
)

func (k MemberKind) String() string { return [...]string{"property", "method", "enum member"}[k] }

// RefKind says what a TypeRef refers to.
type RefKind uint8

// The kinds of type references.
const (
	Void RefKind = iota
	Any
	String
	Number
	Boolean
	Date
	JSON
	Named // FQN
	List  // of Elem
	Map   // from string to Elem
	Union // of Union
)

// TypeRef is the type of a value: of a property, a parameter or a result.
type TypeRef struct {
	Kind     RefKind
	FQN      string // of Named
	Elem     *TypeRef
	Union    []TypeRef
	Optional bool // nil is a value too
}

// String gives the type as one would write it in Python: "str", "List[aws_s3.IBucket]".
func (r TypeRef) String() string {
	switch r.Kind {
	case Void:
		return "None"
	case String:
		return "str"
	case Number:
		return "number"
	case Boolean:
		return "bool"
	case Date:
		return "date"
	case JSON:
		return "dict"
	case Named:
		return strings.TrimPrefix(r.FQN, "aws-cdk-lib.")
	case List:
		return "List[" + r.Elem.String() + "]"
	case Map:
		return "Dict[str, " + r.Elem.String() + "]"
	case Union:
		parts := make([]string, len(r.Union))
		for i, u := range r.Union {
			parts[i] = u.String()
		}
		return strings.Join(parts, " | ")
	}
	return "any"
}

// Type is a class, interface, struct or enum.
type Type struct {
	FQN        string // "aws-cdk-lib.aws_lambda.CfnFunction.CodeProperty"
	Module     string // "aws_lambda"
	Name       string // "CfnFunction.CodeProperty"
	Kind       Kind
	Abstract   bool
	Base       string   // FQN of the base class, "" for none
	Interfaces []string // FQNs of the interfaces that it names itself
	Deprecated string   // why and what instead; "" for a type in good standing

	catalog *Catalog
	index   int
	init    *Callable
	own     []*Member

	flatten sync.Once
	all     []*Member // own and inherited, by Python name
}

// Callable is a constructor.
type Callable struct {
	Params     []Parameter
	Variadic   bool // the last parameter takes the rest
	Deprecated string

	slot int
}

// Parameter is one of a method or constructor. When the last one is a struct, its fields are the keywords; a field of the
// same name as an earlier parameter makes that one positional only.
type Parameter struct {
	Name string // as in Python
	JS   string
	Type TypeRef // Type.Optional: it may be left out

	owner *Type
	slot  int
}

// Member is a property, a method or a member of an enum. Protected ones are not in the catalog.
type Member struct {
	Name       string // as in Python
	JS         string
	Kind       MemberKind
	Static     bool
	Const      bool // a static that never changes
	Optional   bool
	Settable   bool
	Abstract   bool
	Type       TypeRef // of a property
	Params     []Parameter
	Variadic   bool
	Returns    *TypeRef // nil: nothing
	Deprecated string

	owner *Type
	slot  int
}

// Doc is what the documentation says of a type or member, in Markdown. The example is in Python where one is known.
type Doc struct {
	Summary, Remarks, Default, Example, Stability, Returns, See string
}

// decode reads type i. The caller holds c.mu.
func (c *Catalog) decode(i int) *Type {
	f := c.file
	at := f.types + i*typeSize
	module := f.moduleName(f.moduleOf(i))
	name := f.typeName(i)
	t := &Type{FQN: module + "." + name, Module: pythonModule(module), Name: name, catalog: c, index: i}
	r := stream{f.data, f.bodies + f.u32(at+4)}
	slot := 1 // of documentation; 0 is the type itself
	flags := r.uv()
	t.Kind = Kind(flags & 3)
	t.Abstract = flags&(1<<2) != 0
	if flags&(1<<4) != 0 {
		t.Deprecated = f.str(r.uv())
	}
	t.Base = c.fqn(r.uv())
	for range r.uv() {
		t.Interfaces = append(t.Interfaces, c.fqn(r.uv()))
	}
	if flags&(1<<3) != 0 {
		t.init = &Callable{Variadic: flags&(1<<5) != 0, slot: slot}
		slot++
		if flags&(1<<6) != 0 {
			t.init.Deprecated = f.str(r.uv())
		}
		t.init.Params = c.params(&r, t, &slot)
	}
	t.own = make([]*Member, r.uv())
	block := make([]Member, len(t.own))
	for k := range t.own {
		flags := r.uv()
		m := &block[k]
		t.own[k] = m
		*m = Member{
			JS: f.str(r.uv()), Kind: MemberKind(flags & 3),
			Static: flags&(1<<2) != 0, Const: flags&(1<<3) != 0, Optional: flags&(1<<4) != 0, Settable: flags&(1<<5) != 0,
			Variadic: flags&(1<<6) != 0, Abstract: flags&(1<<9) != 0,
			owner: t, slot: slot,
		}
		slot++
		if flags&(1<<8) != 0 {
			m.Deprecated = f.str(r.uv())
		}
		switch m.Kind {
		case Property:
			m.Type = c.ref(r.uv())
			m.Name = pythonName(m.JS)
			if m.Const {
				m.Name = strings.ToUpper(m.Name)
			}
		case Method:
			if flags&(1<<7) != 0 {
				returns := c.ref(r.uv())
				m.Returns = &returns
			}
			m.Params = c.params(&r, t, &slot)
			m.Name = pythonName(m.JS)
		case EnumMember:
			m.Name = identifier(m.JS)
		}
	}
	return t
}

func (c *Catalog) params(r *stream, t *Type, slot *int) []Parameter {
	params := make([]Parameter, r.uv())
	for i := range params {
		js := c.file.str(r.uv())
		params[i] = Parameter{Name: pythonName(js), JS: js, Type: c.ref(r.uv()), owner: t, slot: *slot}
		*slot++
	}
	return params
}

// ref reads a type reference.
func (c *Catalog) ref(i int) TypeRef {
	r := stream{c.file.blob(c.file.refs, i), 0}
	b := r.uv0()
	t := TypeRef{Kind: RefKind(b & 0x7f), Optional: b&0x80 != 0}
	switch t.Kind {
	case Named:
		t.FQN = c.fqn(r.uv())
	case List, Map:
		elem := c.ref(r.uv())
		t.Elem = &elem
	case Union:
		t.Union = make([]TypeRef, r.uv())
		for k := range t.Union {
			t.Union[k] = c.ref(r.uv())
		}
	}
	return t
}

// uv0 reads one byte.
func (r *stream) uv0() byte {
	r.at++
	return r.s[r.at-1]
}

// Foreign says whether the type is that of a library, not of the CDK.
func (t *Type) Foreign() bool { return t.catalog.whole != nil }

// Init gives the constructor, nil when there is none to call.
func (t *Type) Init() *Callable { return t.init }

// members flattens the type: a member declared here hides an inherited one, and of two with one Python name the one in
// good standing stays.
func (t *Type) members() []*Member {
	t.flatten.Do(func() {
		byName := map[string]*Member{}
		add := func(m *Member) {
			if have, ok := byName[m.Name]; !ok || have.owner == m.owner && have.Deprecated != "" && m.Deprecated == "" {
				byName[m.Name] = m
			}
		}
		for _, m := range t.own {
			add(m)
		}
		inherit := func(fqn string) {
			base, _ := t.catalog.Type(fqn)
			for _, m := range base.members() {
				if _, have := byName[m.Name]; !have && !(t.Kind == Interface && m.Static) {
					byName[m.Name] = m
				}
			}
		}
		if t.Base != "" {
			inherit(t.Base)
		}
		for _, i := range t.Interfaces {
			inherit(i)
		}
		t.all = make([]*Member, 0, len(byName))
		for _, m := range byName {
			t.all = append(t.all, m)
		}
		sort.Slice(t.all, func(i, j int) bool { return t.all[i].Name < t.all[j].Name })
	})
	return t.all
}

// Member gives a property, method or enum member by its Python name, inherited ones too.
func (t *Type) Member(name string) (*Member, bool) {
	all := t.members()
	i := sort.Search(len(all), func(i int) bool { return all[i].Name >= name })
	if i < len(all) && all[i].Name == name {
		return all[i], true
	}
	return nil, false
}

// MemberNames lists the Python names of all members, inherited ones too, sorted.
func (t *Type) MemberNames() []string {
	all := t.members()
	names := make([]string, len(all))
	for i, m := range all {
		names[i] = m.Name
	}
	return names
}

// Members gives all members, inherited ones too, sorted by Python name.
func (t *Type) Members() []*Member { return t.members() }

// Nested gives a type declared inside this one.
func (t *Type) Nested(name string) (*Type, bool) { return t.catalog.Type(t.FQN + "." + name) }

// NestedNames lists the types declared directly inside this one, sorted.
func (t *Type) NestedNames() []string {
	f := t.catalog.file
	_, end := f.moduleTypes(f.moduleOf(t.index))
	var names []string
	for i := t.index + 1; i < end; i++ {
		rest, ok := strings.CutPrefix(f.typeName(i), t.Name+".")
		if !ok {
			break
		}
		if !strings.Contains(rest, ".") {
			names = append(names, rest)
		}
	}
	return names
}

// Fields gives all fields of a struct, inherited ones too, sorted by Python name.
func (t *Type) Fields() []*Member { return t.members() }

// Field gives a field of a struct by its Python name.
func (t *Type) Field(name string) (*Member, bool) { return t.Member(name) }

// FieldJS gives a member by its JavaScript name.
func (t *Type) FieldJS(name string) (*Member, bool) {
	if m, ok := t.Member(pythonName(name)); ok && m.JS == name {
		return m, true
	}
	for _, m := range t.members() { // a constant, or one of two that share a Python name
		if m.JS == name {
			return m, true
		}
	}
	return nil, false
}

// EnumMembers lists the members of an enum in the order of its declaration.
func (t *Type) EnumMembers() []string {
	names := make([]string, len(t.own))
	for i, m := range t.own {
		names[i] = m.Name
	}
	return names
}

// DeclaredBy gives the FQN of the type that the member was declared in.
func (m *Member) DeclaredBy() string { return m.owner.FQN }

// Doc gives the type's documentation.
func (t *Type) Doc() Doc { return t.doc(0) }

// InitDoc gives the constructor's documentation.
func (t *Type) InitDoc() Doc {
	if t.init == nil {
		return Doc{}
	}
	return t.doc(t.init.slot)
}

// Doc gives the member's documentation.
func (m *Member) Doc() Doc { return m.owner.doc(m.slot) }

// Doc gives the parameter's description.
func (p *Parameter) Doc() string { return p.owner.doc(p.slot).Summary }

func (t *Type) doc(slot int) Doc {
	at := t.catalog.file.types + t.index*typeSize
	return t.catalog.file.doc(t.catalog.file.u32(at+8), t.catalog.file.u32(at+12), slot)
}
