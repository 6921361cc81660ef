package builtins

import (
	"maps"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"sst/builtins/jsii"
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

// adoptable are the classes of a resource's module that could be adopted in its place: those that implement its interface.
func adoptable(t *jsii.Type) []*jsii.Type {
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
		file := l.programs[path].File()
		for _, stmt := range file.Stmts() {
			if def, ok := stmt.(*syntax.DefStmt); ok {
				if c := constructOf(def); c != nil {
					kinds[c.kind] = c
				}
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

// constructOf reads the call of _construct in a function: its kind, its members and the class of its resource.
func constructOf(def *syntax.DefStmt) *constructShape {
	var found *constructShape
	assigned := map[string]syntax.Expr{}
	nested := map[string]*syntax.DefStmt{}
	syntax.Walk(def, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.AssignStmt:
			if id, ok := n.LHS.(*syntax.Ident); ok && n.Op == syntax.EQ {
				if old := assigned[id.Name]; old == nil || cdkClass(old) == nil {
					assigned[id.Name] = n.RHS
				}
			}
		case *syntax.DefStmt:
			nested[n.Name.Name] = n
		case *syntax.CallExpr:
			id, ok := n.Fn.(*syntax.Ident)
			if !ok || id.Name != "_construct" || len(n.Args) < 3 {
				break
			}
			kind, _ := literalKind(n.Args[0])
			dict, isDict := n.Args[1].(*syntax.DictExpr)
			if kind != "string" || !isDict {
				break
			}
			found = &constructShape{kind: n.Args[0].(*syntax.Literal).Value.(string), members: map[string]interp.Shape{}}
			for _, entry := range dict.List {
				entry := entry.(*syntax.DictEntry)
				if kind, name := literalKind(entry.Key); kind == "string" && !strings.HasPrefix(name, "_") {
					found.members[name] = memberOf(entry.Value, nested)
				}
			}
			if id, ok := n.Args[2].(*syntax.Ident); ok {
				found.resource = cdkClass(assigned[id.Name])
			}
		}
		return true
	})
	return found
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
	file := &interp.File{Statements: []interp.Statement{{Stmts: []syntax.Stmt{def}}}}
	outline := file.Outline()
	if len(outline.Definitions) == 0 {
		return nil
	}
	return &functionShape{interp.SignatureOf(&outline.Definitions[0])}
}

// cdkClass is the class whose constructor is called somewhere in e, nil when there is none.
func cdkClass(e syntax.Expr) *jsii.Type {
	if e == nil {
		return nil
	}
	var found *jsii.Type
	syntax.Walk(e, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || found != nil {
			return found == nil
		}
		var parts []string
		fn := call.Fn
		for {
			dot, ok := fn.(*syntax.DotExpr)
			if !ok {
				break
			}
			parts = append([]string{dot.Name.Name}, parts...)
			fn = dot.X
		}
		if id, ok := fn.(*syntax.Ident); !ok || id.Name != "_cdk" || len(parts) == 0 {
			return true
		}
		if m, ok := jsii.Index().Module(strings.Join(parts[:len(parts)-1], ".")); ok {
			if t, ok := m.Type(parts[len(parts)-1]); ok && t.Kind == jsii.Class {
				found = t
			}
		}
		return true
	})
	return found
}
