package jsii

// Catalog is the index of all types of the CDK. It is read-only and safe for concurrent use.
type Catalog struct{}

// Kind says what a type is.
type Kind uint8

// The kinds of types.
const (
	Class Kind = iota
	Interface
	Struct
	Enum
)

// MemberKind says what a member is.
type MemberKind uint8

// The kinds of members.
const (
	Property MemberKind = iota
	Method
	EnumMember
)

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

// Module is a namespace: aws-cdk-lib itself (""), "aws_s3", "aws_x.nested", "constructs".
type Module struct {
	Name string // as in Python
	JS   string // as in assemblies: "aws-cdk-lib.aws_s3"
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
}

// Callable is a constructor.
type Callable struct {
	Params     []Parameter
	Variadic   bool // the last parameter takes the rest
	Deprecated string
}

// Parameter is one of a method or constructor.
type Parameter struct {
	Name string // as in Python
	JS   string
	Type TypeRef // Type.Optional: it may be left out
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
	Type       TypeRef // of a property
	Params     []Parameter
	Variadic   bool
	Returns    *TypeRef // nil: nothing
	Deprecated string
}

// Doc is what the documentation says of a type or member. Reading it is slower than the rest of the catalog.
type Doc struct {
	Summary, Remarks, Default, Example, Stability, Returns, See string
}

// Index gives the embedded catalog.
func Index() *Catalog { return &Catalog{} }

// Modules lists the modules by name, nested ones too.
func (c *Catalog) Modules() []string { return nil }

// Module gives a module by its Python name; "" is aws-cdk-lib itself.
func (c *Catalog) Module(name string) (*Module, bool) { return nil, false }

// Type gives a type by its fully qualified name.
func (c *Catalog) Type(fqn string) (*Type, bool) { return nil, false }

// AssignableTo says whether a value of type fqn can stand where target is wanted.
func (c *Catalog) AssignableTo(fqn, target string) bool { return false }

// Names lists the types of the module, nested ones left out, sorted.
func (m *Module) Names() []string { return nil }

// Type gives a type by its Python name; "CfnFunction.CodeProperty" is a nested one.
func (m *Module) Type(name string) (*Type, bool) { return nil, false }

// Submodules lists the modules in this one by the last part of their names, sorted.
func (m *Module) Submodules() []string { return nil }

// Doc gives the module's description.
func (m *Module) Doc() string { return "" }

// Init gives the constructor, nil when there is none to call.
func (t *Type) Init() *Callable { return nil }

// Member gives a property, method or enum member by its Python name, inherited ones too.
func (t *Type) Member(name string) (*Member, bool) { return nil, false }

// MemberNames lists the Python names of all members, inherited ones too, sorted.
func (t *Type) MemberNames() []string { return nil }

// Nested gives a type declared inside this one.
func (t *Type) Nested(name string) (*Type, bool) { return nil, false }

// NestedNames lists the types declared inside this one, sorted.
func (t *Type) NestedNames() []string { return nil }

// Fields gives all fields of a struct, inherited ones too, sorted by Python name.
func (t *Type) Fields() []*Member { return nil }

// Field gives a field of a struct by its Python name.
func (t *Type) Field(name string) (*Member, bool) { return nil, false }

// FieldJS gives a field of a struct by its JavaScript name.
func (t *Type) FieldJS(name string) (*Member, bool) { return nil, false }

// EnumMembers lists the members of an enum in the order of its declaration.
func (t *Type) EnumMembers() []string { return nil }

// Doc gives the type's documentation.
func (t *Type) Doc() Doc { return Doc{} }

// InitDoc gives the constructor's documentation.
func (t *Type) InitDoc() Doc { return Doc{} }

// Doc gives the member's documentation.
func (m *Member) Doc() Doc { return Doc{} }

// Doc gives the parameter's description.
func (p *Parameter) Doc() string { return "" }

// DeclaredBy gives the FQN of the type that the member was declared in.
func (m *Member) DeclaredBy() string { return "" }
