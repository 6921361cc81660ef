package builtins

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sst/builtins/jsii"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// This file makes pages of what is documented, for the terminal and for docs/reference.

// Page is what is documented of one name.
type Page struct {
	About
	Example   string            // code
	Signature *interp.Signature // of what can be called
	Params    []About           // in the order of the signature; Default and Type where they are known
	Sections  []Section         // what it has
	Resource  string            // of a construct: the CDK's class whose attributes it has as well
}

// Section is a list of names, each with a line.
type Section struct {
	Title   string // "Attributes"
	Entries []About
}

// UnknownName says that nothing of a name is documented.
type UnknownName struct {
	Name string
	Near string // the nearest that is, in full; "" when none is
}

func (e *UnknownName) Error() string {
	if e.Near == "" {
		return fmt.Sprintf("nothing is called %s", e.Name)
	}
	return fmt.Sprintf("nothing is called %s (did you mean %s?)", e.Name, e.Near)
}

// Document gives the page of a name as it stands in stacks.star: "sst.Queue", "cdk.aws_s3.Bucket.grant_read", "env". The
// names of the constructs do without "sst.", those of the CDK's modules without "cdk.".
func Document(name string) (*Page, error) {
	globals := Env().Globals
	parts := strings.Split(name, ".")
	if _, ok := globals[parts[0]]; !ok && !isUniverseName(parts[0]) {
		for _, module := range []string{"sst", "cdk"} {
			if _, ok := globals[module].Member(parts[0]); ok {
				parts = append([]string{module}, parts...)
				break
			}
		}
	}
	if doc := universe[parts[0]]; doc != "" && len(parts) == 1 {
		return &Page{About: About{Kind: "function", Title: parts[0], Doc: doc}}, nil
	}
	shape, ok := globals[parts[0]]
	if !ok {
		return nil, &UnknownName{name, diag.Nearest(parts[0], knownRoots())}
	}
	about := describeGlobal(parts[0], shape)
	for i, part := range parts[1:] {
		owner := shape
		if shape, about, ok = step(owner, part); !ok {
			before := strings.Join(parts[:i+1], ".")
			near := diag.Nearest(part, below(owner))
			if near != "" {
				near = before + "." + near
			}
			return nil, &UnknownName{strings.Join(parts[:i+2], "."), near}
		}
	}
	return pageOf(about, shape), nil
}

// step goes from a shape to what it calls name: a member, that of an instance, or a keyword of its constructor.
func step(owner interp.Shape, name string) (interp.Shape, About, bool) {
	if f, ok := owner.(*functionShape); ok {
		if c, ok := f.sig.Result.(*constructShape); ok {
			if about, ok := DescribeMember(c, name); ok {
				shape, _ := c.Member(name)
				return shape, about, true
			}
		}
	}
	if owner == nil {
		return nil, About{}, false
	}
	if about, ok := DescribeMember(owner, name); ok {
		shape, _ := owner.Member(name)
		if c, ok := owner.(classShape); ok && shape == nil {
			shape, _ = objectShape{c.t, true}.Member(name)
		}
		return shape, about, true
	}
	if about, ok := DescribeParam(owner, name); ok {
		about.Title = owner.Signature().Name + "(" + name + ")"
		return nil, about, true
	}
	if names, ok := owner.(*namesShape); ok && slices.Contains(names.names, name) {
		return nil, About{Kind: "function", Title: name, Doc: moduleDocs[name]}, true
	}
	if _, ok := owner.(*sstModuleShape); ok && name == "UNSET" {
		return nil, About{Kind: "constant", Title: "sst.UNSET", Doc: unsetDoc}, true
	}
	return nil, About{}, false
}

// below are the names that step knows.
func below(owner interp.Shape) []string {
	if owner == nil {
		return nil
	}
	names := slices.Clone(owner.Members())
	if f, ok := owner.(*functionShape); ok {
		if c, ok := f.sig.Result.(*constructShape); ok {
			names = append(names, c.Known()...)
		}
	}
	if c, ok := owner.(classShape); ok {
		names = append(names, c.t.MemberNames()...)
	}
	if sig := owner.Signature(); sig != nil {
		for _, p := range sig.Params {
			names = append(names, p.Name)
		}
	}
	return names
}

// knownRoots are the names that a page's name can begin with.
func knownRoots() []string {
	names := append(sortedKeys(Env().Globals), sortedKeys(universe)...)
	names = append(names, Env().Globals["sst"].Members()...)
	return append(names, jsii.Index().Modules()...)
}

func describeGlobal(name string, shape interp.Shape) About {
	if shape != nil {
		if about := Describe(shape); about.Title != "" {
			return about
		}
	}
	return About{Kind: "module", Title: name, Doc: globalDocs[name]}
}

func pageOf(about About, shape interp.Shape) *Page {
	p := &Page{About: about}
	if doc, example, ok := strings.Cut(p.Doc, "\n\n```python\n"); ok && about.Kind == "construct" {
		p.Doc, p.Example = doc, strings.TrimSuffix(example, "\n```")
	}
	if about.Kind == "class" {
		p.Example = ExampleOf(about.Title)
	}
	switch s := shape.(type) {
	case *sstModuleShape:
		p.section("Constructs", s.Members(), func(name string) (About, bool) { _, about, ok := step(s, name); return about, ok })
		return p
	case *namesShape:
		p.section("Members", s.Members(), func(name string) (About, bool) { _, about, ok := step(s, name); return about, ok })
		return p
	case moduleShape:
		p.Doc = introduction(s.m.Doc())
		p.module(s)
		return p
	case *functionShape:
		p.call(s)
		if c, ok := s.sig.Result.(*constructShape); ok {
			p.construct(c)
		}
	case classShape:
		p.class(s)
	case methodShape:
		p.call(s)
	}
	return p
}

// section adds those of the names that are documented.
func (p *Page) section(title string, names []string, describe func(string) (About, bool)) {
	s := Section{Title: title}
	for _, name := range names {
		if about, ok := describe(name); ok {
			about.Title = name
			s.Entries = append(s.Entries, about)
		}
	}
	if len(s.Entries) > 0 {
		p.Sections = append(p.Sections, s)
	}
}

// call adds the signature and its parameters, those that must be given first.
func (p *Page) call(fn interp.Shape) {
	if p.Signature = fn.Signature(); p.Signature == nil {
		return
	}
	for _, param := range p.Signature.Params {
		about, _ := DescribeParam(fn, param.Name)
		about.Title = param.Name
		p.Params = append(p.Params, about)
	}
}

func (p *Page) module(s moduleShape) {
	byKind := map[string][]string{}
	for _, name := range s.Members() {
		shape, ok := s.Member(name)
		if !ok {
			continue
		}
		kind := KindOf(shape)
		if c, ok := shape.(classShape); ok && jsii.Index().AssignableTo(c.t.FQN, "constructs.Construct") {
			if kind = "construct"; strings.HasPrefix(c.t.Name, "Cfn") {
				kind = "resource"
			}
		}
		byKind[kind] = append(byKind[kind], name)
	}
	for _, of := range [][2]string{{"Modules", "module"}, {"Constructs", "construct"}, {"Classes", "class"}, {"Enums", "enum"}, {"Structs", "struct"},
		{"Interfaces", "interface"}, {"Resources as CloudFormation has them", "resource"}} {
		p.section(of[0], byKind[of[1]], func(name string) (About, bool) {
			about, ok := DescribeMember(s, name)
			about.Doc = firstSentence(about.Doc)
			return about, ok
		})
	}
}

func (p *Page) class(s classShape) {
	member := func(name string) (About, bool) { return DescribeMember(s, name) }
	if s.t.Kind == jsii.Enum {
		p.section("Values", s.t.EnumMembers(), member)
		return
	}
	p.call(s)
	if s.t.Kind == jsii.Struct {
		return
	}
	var statics, attributes, methods []string
	for _, m := range s.t.Members() {
		switch {
		case m.Static:
			statics = append(statics, m.Name)
		case m.Kind == jsii.Method:
			methods = append(methods, m.Name)
		default:
			attributes = append(attributes, m.Name)
		}
	}
	p.section("Of the class itself", statics, member)
	p.section("Attributes", attributes, member)
	p.section("Methods", methods, member)
	p.section("Types inside", s.t.NestedNames(), member)
}

func (p *Page) construct(c *constructShape) {
	var attributes, methods []string
	for _, name := range sortedKeys(c.members) {
		if strings.HasPrefix(name, "_") {
			continue
		}
		if constructMembers(c.kind)[name] != nil {
			methods = append(methods, name)
		} else {
			attributes = append(attributes, name)
		}
	}
	member := func(name string) (About, bool) { return DescribeMember(c, name) }
	p.section("Attributes", attributes, member)
	p.section("Methods", methods, member)
	if c.resource != nil {
		p.Resource = display(c.resource)
	}
}

// introduction is what a module's tutorial says before it teaches.
func introduction(text string) string {
	var kept []string
	for part := range strings.SplitSeq(text, "\n\n") {
		part = strings.TrimSpace(part)
		switch {
		case strings.HasPrefix(part, "## "), strings.HasPrefix(part, "```"), len(kept) == 3:
			return strings.Join(kept, "\n\n")
		case part != "" && !strings.HasPrefix(part, "#") && !strings.HasPrefix(part, "<!--"):
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "\n\n")
}

func firstSentence(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if i := strings.Index(text, ". "); i > 0 {
		text = text[:i+1]
	}
	return text
}

// Constructs are the names of module sst that make something, as `sst.Queue` does.
func Constructs() []string {
	return slices.DeleteFunc(sortedKeys(sstDefinitions()), func(name string) bool { return sstDefinitions()[name] == nil })
}

// UniverseDoc is what is documented of one of Starlark's own functions, "" for other names.
func UniverseDoc(name string) string { return universe[name] }

// UniverseNames are the documented functions of Starlark's own.
func UniverseNames() []string { return sortedKeys(universe) }

func isUniverseName(name string) bool { return universe[name] != "" }

const unsetDoc = "As a value of a keyword or key it removes what `defaults` of the app, the stack or the construct say."

// globalDocs are the predeclared names that have no documentation elsewhere.
var globalDocs = map[string]string{
	"struct": "`struct(**fields)`: a value with these attributes, which cannot be changed.",
	"json":   "Text in JSON and back.",
	"math":   "Functions of numbers with a fraction.",
}

// moduleDocs are the members of json and math.
var moduleDocs = map[string]string{
	"encode": "`json.encode(x)`: x as JSON, the keys of dicts sorted.", "decode": "`json.decode(text, default)`: the value that the JSON means; without `default` an error when it is none.",
	"indent": "`json.indent(text, prefix = \"\", indent = \"\\t\")`: the JSON on several lines.", "encode_indent": "`json.encode_indent(x, prefix = \"\", indent = \"\\t\")`: x as JSON on several lines.",
	"ceil": "`math.ceil(x)`: the next whole number, upwards.", "floor": "`math.floor(x)`: the next whole number, downwards.", "round": "`math.round(x)`: the nearest whole number, half away from zero.",
	"fabs": "`math.fabs(x)`: x without its sign.", "pow": "`math.pow(x, y)`: x to the power of y.", "exp": "`math.exp(x)`: e to the power of x.", "sqrt": "`math.sqrt(x)`: the square root.",
	"log": "`math.log(x, base = e)`: the logarithm.", "mod": "`math.mod(x, y)`: what is left of x divided by y, with the sign of x.", "copysign": "`math.copysign(x, y)`: x with the sign of y.",
	"remainder": "`math.remainder(x, y)`: what is left of x divided by y, as IEEE 754 has it.", "hypot": "`math.hypot(x, y)`: the length of the vector (x, y).",
	"gamma": "`math.gamma(x)`: the gamma function.", "degrees": "`math.degrees(x)`: radians as degrees.", "radians": "`math.radians(x)`: degrees as radians.",
	"pi": "The number pi.", "e": "The number e.",
	"sin": "`math.sin(x)`", "cos": "`math.cos(x)`", "tan": "`math.tan(x)`", "asin": "`math.asin(x)`", "acos": "`math.acos(x)`", "atan": "`math.atan(x)`",
	"atan2": "`math.atan2(y, x)`: the angle of the vector (x, y).", "sinh": "`math.sinh(x)`", "cosh": "`math.cosh(x)`", "tanh": "`math.tanh(x)`",
	"asinh": "`math.asinh(x)`", "acosh": "`math.acosh(x)`", "atanh": "`math.atanh(x)`",
}

// ParamLine is a parameter on one line: its type and default where they are known.
func ParamLine(p interp.Param, about About) string {
	var parts []string
	if t := about.Type; t != "" {
		parts = append(parts, t)
	}
	if p.Required {
		parts = append(parts, "required")
	}
	if d := cmp.Or(strings.TrimPrefix(strings.TrimSpace(about.Default), "- ")); d != "" {
		parts = append(parts, "default: "+firstSentence(d))
	}
	return strings.Join(parts, ", ")
}

// universe are Starlark's own functions in a sentence.
var universe = map[string]string{
	"abs": "`abs(x)`: the number without its sign.", "all": "`all(list)`: whether all elements are true.", "any": "`any(list)`: whether one element is true.",
	"bool": "`bool(x)`: whether x counts as true.", "dict": "`dict(pairs, **entries)`: a new dict.", "dir": "`dir(x)`: the attributes of x.",
	"enumerate": "`enumerate(list, start = 0)`: pairs of index and element.", "fail": "`fail(*args)`: ends the evaluation with a message.",
	"float": "`float(x)`: x as a number with a fraction.", "getattr": "`getattr(x, name, default)`: an attribute by its name.",
	"hasattr": "`hasattr(x, name)`: whether x has an attribute.", "hash": "`hash(text)`: a number for a text.", "int": "`int(x, base = 10)`: x as a whole number.",
	"len": "`len(x)`: the number of elements.", "list": "`list(x)`: a new list of the elements of x.", "max": "`max(*args, key = None)`: the greatest.",
	"min": "`min(*args, key = None)`: the least.", "print": "`print(*args, sep = \" \")`: writes to the console.", "range": "`range(start, stop, step)`: numbers one after another.",
	"repr": "`repr(x)`: x as it is written in Starlark.", "reversed": "`reversed(list)`: a new list, the other way round.", "set": "`set(list)`: a set.",
	"sorted": "`sorted(list, key = None, reverse = False)`: a new list in order.", "str": "`str(x)`: x as text.", "tuple": "`tuple(x)`: a tuple of the elements of x.",
	"type": "`type(x)`: the name of the type of x.", "zip": "`zip(*lists)`: tuples of the elements at the same places.",
}
