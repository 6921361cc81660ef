package builtins

import (
	"maps"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"sst/builtins/jsii"
	"sst/builtins/prelude"
	interp "sst/starlark"
)

// This file reads the shape of module sst off the prelude: the parameters of its functions, and what the constructs that
// they make can do.

// sstMember is a member of sst in the prelude.
type sstMember struct {
	def    *interp.Definition
	file   *interp.File
	result *constructShape // nil when the function makes no construct
}

// constructShape is an sst construct: its members, then those of its resource.
type constructShape struct {
	kind     string
	members  map[string]interp.Shape
	resource *jsii.Type // nil when it could not be told
}

func (c *constructShape) Kind() string                 { return "sst." + c.kind }
func (c *constructShape) Signature() *interp.Signature { return nil }

// Members are nil when the resource is not known, for then there may be others.
func (c *constructShape) Members() []string {
	if c.resource == nil {
		return nil
	}
	return c.Known()
}

// Known are the members that are known in any case, for completion.
func (c *constructShape) Known() []string {
	names := slices.Collect(maps.Keys(c.members))
	names = append(names, "resource", "node")
	if c.resource != nil {
		for _, t := range adoptable(c.resource) {
			names = append(names, attributes(t)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Member finds a member of the construct, then of its resource.
func (c *constructShape) Member(name string) (interp.Shape, bool) {
	if shape, ok := c.members[name]; ok {
		return shape, true
	}
	switch name {
	case "node":
		return constructNode(), true
	case "resource":
		if c.resource == nil {
			return nil, true
		}
		return objectShape{c.resource, false}, true
	}
	if c.resource == nil {
		return nil, false
	}
	if shape, ok := (objectShape{c.resource, true}).Member(name); ok {
		return shape, true
	}
	for _, t := range adoptable(c.resource) {
		if _, ok := (objectShape{t, true}).Member(name); ok {
			return nil, true
		}
	}
	return nil, false
}

func constructNode() interp.Shape {
	t, ok := jsii.Index().Type("constructs.Node")
	if !ok {
		return nil
	}
	return objectShape{t, false}
}

var adoptables memo[[]*jsii.Type]

// adoptable are the classes of a resource's module that could be adopted in its place: those that implement its interface.
func adoptable(t *jsii.Type) []*jsii.Type {
	return adoptables.get(t.FQN, func() []*jsii.Type { return findAdoptable(t) })
}

func findAdoptable(t *jsii.Type) []*jsii.Type {
	types := []*jsii.Type{t}
	catalog := jsii.Index()
	m, ok := catalog.Module(t.Module)
	if !ok {
		return types
	}
	common, ok := m.Type("I" + t.Name)
	if !ok {
		return types
	}
	for _, name := range m.Names() {
		other, ok := m.Type(name)
		if ok && other.FQN != t.FQN && other.Kind == jsii.Class && catalog.AssignableTo(other.FQN, common.FQN) {
			types = append(types, other)
		}
	}
	return types
}

// sstShape is the shape of module sst.
func sstShape() interp.Shape {
	members := map[string]interp.Shape{"UNSET": nil}
	for name, member := range sstMembers() {
		sig := interp.SignatureOf(member.def)
		if member.result != nil {
			sig.Result = member.result
		}
		sig.Name = "sst." + name
		members[name] = &functionShape{sig}
	}
	return &sstModuleShape{members}
}

type sstModuleShape struct{ members map[string]interp.Shape }

func (m *sstModuleShape) Kind() string                 { return "sst" }
func (m *sstModuleShape) Members() []string            { return sortedKeys(m.members) }
func (m *sstModuleShape) Signature() *interp.Signature { return nil }
func (m *sstModuleShape) Member(name string) (interp.Shape, bool) {
	shape, ok := m.members[name]
	return shape, ok
}

// sstMembers are the functions of sst by name.
func sstMembers() map[string]sstMember {
	l := compiledPrelude()
	members := map[string]sstMember{}
	kinds := map[string]*constructShape{}
	for _, path := range l.paths {
		defs := definitions(l.programs[path].File().Stmts())
		for _, def := range defs {
			if c := defs.constructOf(def); c != nil {
				kinds[c.kind] = c
			}
		}
	}
	for _, path := range l.paths {
		file := l.programs[path].File()
		outline := file.Outline()
		for i := range outline.Definitions {
			def := &outline.Definitions[i]
			if def.Kind == interp.Function && isMember(def.Name) {
				members[def.Name] = sstMember{def, file, kinds[def.Name]}
			}
		}
	}
	return members
}

// functionDefs are the functions of a prelude file, in order.
type functionDefs []*syntax.DefStmt

func definitions(stmts []syntax.Stmt) functionDefs {
	var defs functionDefs
	for _, stmt := range stmts {
		if def, ok := stmt.(*syntax.DefStmt); ok {
			defs = append(defs, def)
		}
	}
	return defs
}

func (defs functionDefs) named(name string) *syntax.DefStmt {
	for _, def := range defs {
		if def.Name.Name == name {
			return def
		}
	}
	return nil
}

// constructOf reads the call of _construct in a function: its kind, its members and the class of its resource. It is nil
// when there is none.
func (defs functionDefs) constructOf(def *syntax.DefStmt) *constructShape {
	nested := map[string]*syntax.DefStmt{}
	var made *syntax.CallExpr
	syntax.Walk(def, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.DefStmt:
			nested[n.Name.Name] = n
		case *syntax.CallExpr:
			if id, ok := n.Fn.(*syntax.Ident); ok && id.Name == "_construct" && len(n.Args) >= 3 {
				made = n
			}
		}
		return true
	})
	if made == nil {
		return nil
	}
	_, kind := literalKind(made.Args[0])
	dict, ok := made.Args[1].(*syntax.DictExpr)
	if kind == "" || !ok {
		return nil
	}
	c := &constructShape{kind: kind, members: map[string]interp.Shape{}}
	for _, entry := range dict.List {
		entry := entry.(*syntax.DictEntry)
		if _, name := literalKind(entry.Key); name != "" && !strings.HasPrefix(name, "_") {
			c.members[name] = memberOf(entry.Value, nested)
		}
	}
	if id, ok := made.Args[2].(*syntax.Ident); ok {
		c.resource = defs.classOf(def, id.Name, 4)
	}
	return c
}

// classOf is the CDK class of a variable or parameter of a function, followed through calls inside the file; nil when it
// cannot be told.
func (defs functionDefs) classOf(def *syntax.DefStmt, name string, depth int) *jsii.Type {
	var found *jsii.Type
	if depth == 0 {
		return nil
	}
	syntax.Walk(def, func(n syntax.Node) bool {
		if assign, ok := n.(*syntax.AssignStmt); ok && found == nil && assign.Op == syntax.EQ {
			if id, ok := assign.LHS.(*syntax.Ident); ok && id.Name == name {
				found = defs.classOfExpr(def, assign.RHS, depth)
			}
		}
		return true
	})
	position := slices.IndexFunc(def.Params, func(p syntax.Expr) bool {
		id, ok := p.(*syntax.Ident)
		return ok && id.Name == name
	})
	if found != nil || position < 0 {
		return found
	}
	for _, caller := range defs {
		syntax.Walk(caller, func(n syntax.Node) bool {
			call, ok := n.(*syntax.CallExpr)
			if !ok || found != nil || position >= len(call.Args) {
				return true
			}
			if fn, ok := call.Fn.(*syntax.Ident); ok && fn.Name == def.Name.Name {
				found = defs.classOfExpr(caller, call.Args[position], depth)
			}
			return true
		})
	}
	return found
}

// classOfExpr is classOf for an expression in a function.
func (defs functionDefs) classOfExpr(def *syntax.DefStmt, e syntax.Expr, depth int) *jsii.Type {
	switch e := e.(type) {
	case *syntax.Ident:
		return defs.classOf(def, e.Name, depth-1)
	case *syntax.CallExpr:
		if t := cdkClass(e.Fn); t != nil {
			return t
		}
		id, ok := e.Fn.(*syntax.Ident)
		if !ok {
			return nil
		}
		callee := defs.named(id.Name)
		if callee == nil {
			return nil
		}
		var found *jsii.Type
		syntax.Walk(callee, func(n syntax.Node) bool {
			if result, ok := n.(*syntax.ReturnStmt); ok && found == nil && result.Result != nil {
				found = defs.classOfExpr(callee, result.Result, depth-1)
			}
			return true
		})
		return found
	}
	return nil
}

// memberOf is the shape of a construct's member: the signature of a function in the same place.
func memberOf(e syntax.Expr, nested map[string]*syntax.DefStmt) interp.Shape {
	id, ok := e.(*syntax.Ident)
	if !ok {
		return nil
	}
	def := nested[id.Name]
	if def == nil {
		return nil
	}
	file := &interp.File{Statements: []interp.Statement{interp.NewStatement(def)}}
	outline := file.Outline()
	if len(outline.Definitions) == 0 {
		return nil
	}
	return &functionShape{interp.SignatureOf(&outline.Definitions[0])}
}

// cdkClass is the class that _cdk.module.Class names, nil when e is something else.
func cdkClass(e syntax.Expr) *jsii.Type {
	var parts []string
	for {
		dot, ok := e.(*syntax.DotExpr)
		if !ok {
			break
		}
		parts = append([]string{dot.Name.Name}, parts...)
		e = dot.X
	}
	if id, ok := e.(*syntax.Ident); !ok || id.Name != "_cdk" || len(parts) == 0 {
		return nil
	}
	last := len(parts) - 1
	m, ok := jsii.Index().Module(strings.Join(parts[:last], "."))
	if !ok {
		return nil
	}
	if t, ok := m.Type(parts[last]); ok && t.Kind == jsii.Class {
		return t
	}
	return nil
}

// TableKeys are the string keys of a dict that a file of the prelude has at its top, in order; nil when there is none. They are
// values that its constructs take.
func TableKeys(file, name string) (keys []string) {
	src, err := prelude.FS.ReadFile(file)
	if err != nil {
		return nil
	}
	d := interp.Parse(file, src).Outline().Lookup(name)
	if d == nil {
		return nil
	}
	dict, ok := d.Value.(*syntax.DictExpr)
	if !ok {
		return nil
	}
	for _, entry := range dict.List {
		if key, ok := entry.(*syntax.DictEntry).Key.(*syntax.Literal); ok && key.Token == syntax.STRING {
			keys = append(keys, key.Value.(string))
		}
	}
	return keys
}
