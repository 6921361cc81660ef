package builtins

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"

	"sst/builtins/jsii"
	interp "sst/starlark"
)

var membersSeed = flag.Uint64("members", 0, "seed of TestRandomMembers; 0 = another one each time")

// TestRandomMembers takes members of the index by chance and uses each as its metadata says: the check must have nothing to say,
// the CDK must be asked for what the member is called there, and what a class itself has must exist in the real one.
func TestRandomMembers(t *testing.T) {
	seed := *membersSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./builtins -run TestRandomMembers -members %d", seed)
	g := &generator{r: rand.New(rand.NewPCG(seed, 0)), catalog: jsii.Index()}
	names := g.typeNames()
	var statics []*use
	for n := 0; n < 200; {
		typ := g.pick(names)
		u := g.use(typ)
		if u == nil {
			continue
		}
		n++
		if err := u.try(t); err != nil {
			t.Errorf("seed %d: %s: %s: %v", seed, display(typ), u.src, err)
		}
		if u.static {
			statics = append(statics, u)
		}
	}
	if shared == nil {
		t.Logf("needs Node.js to ask the CDK for %d static members: %v", len(statics), noNode)
		return
	}
	var lines []string
	for _, u := range statics {
		lines = append(lines, "print("+u.src+")")
	}
	if len(lines) > 0 {
		printed(t, strings.Join(lines, "\n")+"\ncdk.aws_sqs.Queue(web, \"Q\")\n")
	}
}

// generator writes Starlark that uses members.
type generator struct {
	r       *rand.Rand
	catalog *jsii.Catalog
}

func (g *generator) typeNames() [][2]string {
	var names [][2]string
	for _, module := range g.catalog.Modules() {
		m, _ := g.catalog.Module(module)
		for _, name := range m.Names() {
			names = append(names, [2]string{module, name})
		}
	}
	return names
}

// pick gives a type, now and then one that is declared inside of it.
func (g *generator) pick(names [][2]string) *jsii.Type {
	name := names[g.r.IntN(len(names))]
	m, _ := g.catalog.Module(name[0])
	t, _ := m.Type(name[1])
	for {
		nested := t.NestedNames()
		if len(nested) == 0 || g.r.IntN(2) == 0 {
			return t
		}
		t, _ = t.Nested(nested[g.r.IntN(len(nested))])
	}
}

// use is a piece of Starlark and what the CDK should be asked for by it.
type use struct {
	src    string
	op     jsii.OpKind
	fqn    string
	member string // JavaScript name
	none   bool   // nothing is asked
	static bool   // a property of a class, which can be read for real
}

// use gives a use of a type or one of its members; nil when there is none.
func (g *generator) use(t *jsii.Type) *use {
	if t.Kind == jsii.Struct {
		return &use{src: g.structOf(t, 3), none: true}
	}
	members := t.Members()
	i := g.r.IntN(len(members) + 1)
	if i == len(members) {
		if t.Kind != jsii.Class || t.Abstract || t.Init() == nil || t.FQN == appFQN {
			return nil
		}
		return &use{src: display(t) + g.call(t.Init().Params, t.Init().Variadic, constructPositions(t.Init())), op: jsii.Create, fqn: t.FQN}
	}
	m := members[i]
	object := fmt.Sprintf("object(%q).%s", t.FQN, m.Name)
	class := display(t) + "." + m.Name
	switch {
	case m.Kind == jsii.EnumMember:
		return &use{src: class, none: true, static: true}
	case m.Kind == jsii.Property && m.Static:
		return &use{src: class, op: jsii.StaticGet, fqn: t.FQN, member: m.JS, static: true}
	case m.Kind == jsii.Property:
		return &use{src: object, op: jsii.Get, member: m.JS}
	case m.Static:
		return &use{src: class + g.call(m.Params, m.Variadic, 0), op: jsii.Static, fqn: t.FQN, member: m.JS}
	}
	return &use{src: object + g.call(m.Params, m.Variadic, 0), op: jsii.Invoke, member: m.JS}
}

// call writes the arguments of a call: the required ones, and some of the others by name.
func (g *generator) call(params []jsii.Parameter, variadic bool, positional int) string {
	var args []string
	lifted := keywordStruct(g.catalog, params, variadic)
	for i, p := range params {
		switch {
		case variadic && i == len(params)-1:
			for range g.r.IntN(3) {
				args = append(args, g.value(p.Type, 3))
			}
		case lifted != nil && i == len(params)-1:
			if fields := g.fields(lifted, 3); len(fields) > 0 {
				args = append(args, strings.Join(fields, ", "))
			}
		case !p.Type.Optional || i < positional:
			args = append(args, g.value(p.Type, 3))
		default:
			args = append(args, "None")
		}
	}
	return "(" + strings.Join(args, ", ") + ")"
}

func (g *generator) fields(t *jsii.Type, depth int) []string {
	var fields []string
	for _, f := range t.Fields() {
		if !f.Optional && !f.Type.Optional || depth > 0 && g.r.IntN(8) == 0 {
			fields = append(fields, f.Name+" = "+g.value(f.Type, depth-1))
		}
	}
	return fields
}

// structOf writes a struct: by its name, or as a dict.
func (g *generator) structOf(t *jsii.Type, depth int) string {
	fields := g.fields(t, depth)
	if depth < 3 && g.r.IntN(2) == 0 {
		for i, f := range fields {
			name, value, _ := strings.Cut(f, " = ")
			fields[i] = fmt.Sprintf("%q: %s", name, value)
		}
		return "{" + strings.Join(fields, ", ") + "}"
	}
	return display(t) + "(" + strings.Join(fields, ", ") + ")"
}

func (g *generator) value(ref jsii.TypeRef, depth int) string {
	switch ref.Kind {
	case jsii.String:
		return `"text"`
	case jsii.Number:
		return fmt.Sprint(g.r.IntN(100))
	case jsii.Boolean:
		return "True"
	case jsii.Date:
		return `"2026-01-31"`
	case jsii.List:
		if depth < 0 {
			return "[]"
		}
		return "[" + g.value(*ref.Elem, depth-1) + "]"
	case jsii.Map:
		if depth < 0 {
			return "{}"
		}
		return `{"key": ` + g.value(*ref.Elem, depth-1) + "}"
	case jsii.Union:
		return g.value(ref.Union[g.r.IntN(len(ref.Union))], depth)
	case jsii.Named:
		t, ok := g.catalog.Type(ref.FQN)
		switch {
		case !ok:
			return `"text"`
		case t.Kind == jsii.Enum:
			members := t.EnumMembers()
			return display(t) + "." + members[g.r.IntN(len(members))]
		case t.Kind == jsii.Struct:
			return g.structOf(t, depth)
		case t.FQN == durationFQN:
			return `"10 minutes"`
		case t.FQN == sizeFQN:
			return `"1 GB"`
		}
		return fmt.Sprintf("object(%q)", t.FQN)
	}
	return `{"any": [1, None]}`
}

// try checks and evaluates the use against a host that agrees to everything.
func (u *use) try(t *testing.T) error {
	dir := project(t, map[string]string{"stacks.star": u.src + "\n"})
	in := Input{File: filepath.Join(dir, "stacks.star"), Stage: "dev", OutDir: filepath.Join(dir, "out")}
	if found := checkTranslation(in.File, u.src+"\n"); found.HasErrors() {
		return errors.New("check: " + found.Error())
	}
	r := &recorder{}
	s := newSession(context.Background(), in, r)
	values := s.forUser()
	values["object"] = starlark.NewBuiltin("object", func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		fqn, _ := starlark.AsString(args[0])
		typ, _ := s.catalog.Type(fqn)
		o := &Object{s: s, id: s.id(), t: typ}
		o.canonical = o.id
		return o, nil
	})
	s.interp = interp.New(interp.Options{Root: s.root, Predeclared: values})
	if _, err := s.interp.Exec(s.ctx, in.File); err != nil {
		return err
	}
	for _, op := range r.ops {
		if op.Kind == u.op && op.Member == u.member && (op.FQN == u.fqn || u.fqn == "") {
			return nil
		}
	}
	if u.none {
		return nil
	}
	return fmt.Errorf("the CDK is not asked for %q of %q but for %v", u.member, u.fqn, r.ops)
}
