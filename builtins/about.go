package builtins

import (
	"slices"
	"strings"
	"sync"

	"go.starlark.net/syntax"

	"sst/builtins/jsii"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// This file says what the documentation has on shapes, for the editor.

// About is what is documented of a name.
type About struct {
	Kind       string // "module", "class", "struct", "enum", "interface", "construct", "function", "method", "property", "constant", "parameter"
	Title      string // "cdk.aws_sqs.Queue", "cdk.aws_sqs.Queue.queue_arn"
	Type       string // of a property or parameter, "" when unknown
	Doc        string // Markdown
	Default    string // of a property or parameter
	Deprecated string
	Source     diag.Span // of the definition in the prelude; zero when there is none
}

// Describe gives what is documented of a shape itself.
func Describe(shape interp.Shape) About {
	switch s := shape.(type) {
	case moduleShape:
		return About{Kind: "module", Title: s.Kind(), Doc: firstParagraphs(s.m.Doc())}
	case classShape:
		return aboutType(s.t)
	case objectShape:
		return aboutType(s.t)
	case structShape:
		return aboutType(s.t)
	case enumShape:
		return aboutType(s.t)
	case methodShape:
		return aboutMember(s.name, s.m)
	case *constructShape:
		if def := sstDefinitions()[s.kind]; def != nil {
			return aboutDefinition("construct", "sst."+s.kind, def)
		}
	case *functionShape:
		if name, ok := strings.CutPrefix(s.sig.Name, "sst."); ok {
			if def := sstDefinitions()[name]; def != nil {
				return aboutDefinition("construct", s.sig.Name, def)
			}
		}
		switch s.sig.Name {
		case "env":
			return About{Kind: "function", Title: "env", Doc: "The value of an environment variable: an input of the build."}
		case "library":
			return About{Kind: "function", Title: "library", Doc: "The constructs of an npm package that was written with jsii: `library(\"cdk-nag\", \"2.38.2\")`. `sst add` fetches it and pins it in sst.lock.json."}
		case "read":
			return About{Kind: "function", Title: "read", Doc: "The text of a file of the project: an input of the build."}
		}
	case *sstModuleShape:
		return About{Kind: "module", Title: "sst", Doc: "The constructs of sst."}
	}
	return About{}
}

// DescribeMember gives what is documented of owner.name.
func DescribeMember(owner interp.Shape, name string) (About, bool) {
	member := func(t *jsii.Type) (About, bool) {
		if m, ok := t.Member(name); ok {
			return aboutMember(display(t)+"."+name, m), true
		}
		return About{}, false
	}
	switch o := owner.(type) {
	case classShape:
		if t, ok := o.t.Nested(name); ok {
			return aboutType(t), true
		}
		return member(o.t)
	case objectShape:
		return member(o.t)
	case structShape:
		return member(o.t)
	case *constructShape:
		if _, own := o.members[name]; own {
			if def := constructMembers(o.kind)[name]; def != nil {
				return aboutDefinition("method", o.Kind()+"."+name, def), true
			}
			return About{Kind: "property", Title: o.Kind() + "." + name}, true
		}
		switch {
		case name == "node":
			return About{Kind: "property", Title: o.Kind() + ".node", Type: "constructs.Node", Doc: "The construct's node in the tree."}, true
		case name == "resource":
			about := About{Kind: "property", Title: o.Kind() + ".resource", Doc: "The resource of the CDK behind the construct."}
			if o.resource != nil {
				about.Type = display(o.resource)
			}
			return about, true
		case o.resource == nil:
			return About{}, false
		}
		for _, t := range adoptable(o.resource) {
			if about, ok := member(t); ok {
				return about, true
			}
		}
		return About{}, false
	}
	if shape, ok := owner.Member(name); ok && shape != nil {
		about := Describe(shape)
		return about, about.Title != ""
	}
	return About{}, false
}

// DescribeParam gives what is documented of a keyword of a call of fn.
func DescribeParam(fn interp.Shape, name string) (About, bool) {
	var params []jsii.Parameter
	variadic := false
	switch f := fn.(type) {
	case classShape:
		if f.t.Kind == jsii.Struct {
			return aboutField(f.t, name)
		}
		init := f.t.Init()
		if init == nil {
			return About{}, false
		}
		params, variadic = init.Params, init.Variadic
	case methodShape:
		params, variadic = f.m.Params, f.m.Variadic
	}
	if lifted := keywordStruct(jsii.Index(), params, variadic); lifted != nil {
		if about, ok := aboutField(lifted, name); ok {
			return about, true
		}
	}
	for _, p := range params {
		if p.Name == name {
			return About{Kind: "parameter", Title: name, Type: describe(jsii.Index(), p.Type), Doc: p.Doc()}, true
		}
	}
	if sig := fn.Signature(); sig != nil {
		for _, p := range sig.Params {
			if p.Name == name {
				about := About{Kind: "parameter", Title: name, Doc: p.Doc}
				if p.Type != nil {
					about.Type = p.Type.String()
				}
				return about, true
			}
		}
	}
	return About{}, false
}

// DescribeField gives what is documented of a key of a struct.
func DescribeField(t interp.Type, name string) (About, bool) {
	if s, ok := t.(structure); ok {
		return aboutField(s.t, name)
	}
	return About{}, false
}

// Values are the expressions that name the values of a type: the members of an enum, the constants of a class that has
// such of itself, truth values. nil when there are none to name.
func Values(t interp.Type) []string {
	var ref jsii.TypeRef
	switch l := t.(type) {
	case literal:
		ref = l.ref
	case structure:
		return nil
	default:
		return nil
	}
	refs := []jsii.TypeRef{ref}
	if ref.Kind == jsii.Union {
		refs = ref.Union
	}
	var values []string
	for _, ref := range refs {
		switch ref.Kind {
		case jsii.Boolean:
			values = append(values, "True", "False")
		case jsii.Named:
			if t, ok := jsii.Index().Type(ref.FQN); ok {
				values = append(values, constants(t)...)
			}
		}
	}
	return values
}

// constants are the members of an enum, or the statics of a class that are of that class.
func constants(t *jsii.Type) []string {
	var names []string
	switch t.Kind {
	case jsii.Enum:
		for _, name := range t.EnumMembers() {
			names = append(names, display(t)+"."+name)
		}
	case jsii.Class:
		for _, m := range t.Members() {
			if m.Static && m.Kind == jsii.Property && m.Deprecated == "" && m.Type.Kind == jsii.Named && jsii.Index().AssignableTo(m.Type.FQN, t.FQN) {
				names = append(names, display(t)+"."+m.Name)
			}
		}
	}
	return names
}

// WantsQuantity says whether a type is a duration or a size, and how one is written.
func WantsQuantity(t interp.Type) (examples []string) {
	l, ok := t.(literal)
	if !ok || l.ref.Kind != jsii.Named {
		return nil
	}
	switch l.ref.FQN {
	case durationFQN:
		return []string{"10 seconds", "1 minute", "5 minutes", "1 hour", "1 day"}
	case sizeFQN:
		return []string{"128 MB", "512 MB", "1 GB", "10 GB"}
	}
	return nil
}

// PreludeSource is the text of a file of the prelude, named as in positions: "@sst/queue.star".
func PreludeSource(path string) ([]byte, bool) {
	src, ok := compiledPrelude().sources[path]
	return src, ok
}

func aboutType(t *jsii.Type) About {
	return About{Kind: t.Kind.String(), Title: display(t), Doc: markdown(t.Doc()), Deprecated: t.Deprecated}
}

func aboutMember(title string, m *jsii.Member) About {
	doc := m.Doc()
	about := About{Kind: "property", Title: title, Doc: markdown(doc), Default: doc.Default, Deprecated: m.Deprecated}
	switch {
	case m.Kind == jsii.EnumMember || m.Static && m.Const:
		about.Kind = "constant"
	case m.Kind == jsii.Method:
		about.Kind = "method"
	}
	if m.Kind == jsii.Property {
		about.Type = describe(jsii.Index(), m.Type)
	}
	return about
}

func aboutField(t *jsii.Type, name string) (About, bool) {
	m, ok := t.Field(name)
	if !ok {
		return About{}, false
	}
	about := aboutMember(name, m)
	about.Kind = "parameter"
	return about, true
}

func aboutDefinition(kind, title string, def *interp.Definition) About {
	doc := def.Doc.Summary
	body, _, _ := strings.Cut(def.Doc.Body, "Example:")
	if body = strings.TrimSpace(body); body != "" {
		doc += "\n\n" + body
	}
	if _, example, ok := strings.Cut(def.Doc.Body, "Example:\n"); ok {
		doc += "\n\n```python\n" + dedented(example) + "\n```"
	}
	return About{Kind: kind, Title: title, Doc: doc, Source: def.Span}
}

func dedented(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

func markdown(d jsii.Doc) string {
	parts := []string{d.Summary, withoutTypeScript(d.Remarks)}
	if d.Returns != "" {
		parts = append(parts, "Returns "+d.Returns)
	}
	if d.See != "" {
		parts = append(parts, "See "+d.See)
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "\n\n")
}

// firstParagraphs leaves the tutorial out of a module's description.
func firstParagraphs(text string) string {
	var kept []string
	for part := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(part, "```") || len(kept) == 4 {
			break
		}
		if !strings.HasPrefix(part, "<!--") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "\n\n")
}

// sstDefinitions are the functions of module sst by name.
var sstDefinitions = sync.OnceValue(func() map[string]*interp.Definition {
	definitions := map[string]*interp.Definition{}
	for name, member := range sstMembers() {
		definitions[name] = member.def
	}
	return definitions
})

var members memo[map[string]*interp.Definition]

// constructMembers are the functions among the members of a construct, by name.
func constructMembers(kind string) map[string]*interp.Definition {
	return members.get(kind, func() map[string]*interp.Definition {
		found := map[string]*interp.Definition{}
		l := compiledPrelude()
		for _, path := range l.paths {
			file := l.programs[path].File()
			for _, def := range definitions(file.Stmts()) {
				if c := definitions(file.Stmts()).constructOf(def); c == nil || c.kind != kind {
					continue
				}
				nested := map[string]*syntax.DefStmt{}
				syntax.Walk(def, func(n syntax.Node) bool {
					switch n := n.(type) {
					case *syntax.DefStmt:
						nested[n.Name.Name] = n
					case *syntax.DictEntry:
						_, name := literalKind(n.Key)
						if dot, ok := n.Value.(*syntax.DotExpr); ok && name != "" && found[name] == nil {
							if def := sharedMembers()[dot.Name.Name]; def != nil {
								found[name] = def
							}
							break
						}
						id, ok := n.Value.(*syntax.Ident)
						if !ok || name == "" || nested[id.Name] == nil {
							break
						}
						inner := &interp.File{Path: path, Statements: []interp.Statement{interp.NewStatement(nested[id.Name])}}
						if o := inner.Outline(); len(o.Definitions) > 0 && found[name] == nil {
							found[name] = &o.Definitions[0]
						}
					}
					return true
				})
			}
		}
		return found
	})
}

// sharedMembers are the functions that prelude files hand out in a struct, by the name that they have in it: what constructs
// with functions have in common.
var sharedMembers = sync.OnceValue(func() map[string]*interp.Definition {
	found := map[string]*interp.Definition{}
	l := compiledPrelude()
	for _, path := range l.paths {
		for _, def := range definitions(l.programs[path].File().Stmts()) {
			nested := map[string]*syntax.DefStmt{}
			syntax.Walk(def, func(n syntax.Node) bool {
				switch n := n.(type) {
				case *syntax.DefStmt:
					nested[n.Name.Name] = n
				case *syntax.CallExpr:
					if fn, ok := n.Fn.(*syntax.Ident); !ok || fn.Name != "struct" {
						break
					}
					for _, arg := range n.Args {
						given, ok := arg.(*syntax.BinaryExpr)
						if !ok || given.Op != syntax.EQ {
							continue
						}
						id, ok := given.Y.(*syntax.Ident)
						if !ok || nested[id.Name] == nil {
							continue
						}
						inner := &interp.File{Path: path, Statements: []interp.Statement{interp.NewStatement(nested[id.Name])}}
						if o := inner.Outline(); len(o.Definitions) > 0 && o.Definitions[0].Doc.Summary != "" {
							found[given.X.(*syntax.Ident).Name] = &o.Definitions[0]
						}
					}
				}
				return true
			})
		}
	}
	return found
})

// PreludeEnv is what the files of the prelude are checked against.
var PreludeEnv = sync.OnceValue(func() interp.Env {
	env := interp.Env{Globals: map[string]interp.Shape{}}
	for name := range preludeNames() {
		env.Globals[name] = nil
	}
	root, _ := jsii.Index().Module("")
	env.Globals["_cdk"] = moduleShape{root}
	return env
})

// KindOf is Describe(shape).Kind without reading the documentation.
func KindOf(shape interp.Shape) string {
	switch s := shape.(type) {
	case moduleShape, *sstModuleShape:
		return "module"
	case classShape:
		return s.t.Kind.String()
	case objectShape:
		return s.t.Kind.String()
	case structShape:
		return s.t.Kind.String()
	case enumShape:
		return s.t.Kind.String()
	case methodShape:
		return "method"
	case *constructShape:
		return "construct"
	case *functionShape:
		if strings.HasPrefix(s.sig.Name, "sst.") {
			return "construct"
		}
		return "function"
	}
	return ""
}

// Deprecated says why owner.name should not be used any more, "" when it may.
func Deprecated(owner interp.Shape, name string) string {
	of := func(t *jsii.Type) string {
		if m, ok := t.Member(name); ok {
			return m.Deprecated
		}
		return ""
	}
	switch o := owner.(type) {
	case moduleShape:
		if t, ok := o.m.Type(name); ok {
			return t.Deprecated
		}
	case classShape:
		return of(o.t)
	case objectShape:
		return of(o.t)
	}
	return ""
}

// DeprecatedParam says why a keyword of a call of fn should not be given any more, "" when it may.
func DeprecatedParam(fn interp.Shape, name string) string {
	var params []jsii.Parameter
	variadic := false
	switch f := fn.(type) {
	case classShape:
		if init := f.t.Init(); init != nil {
			params, variadic = init.Params, init.Variadic
		}
	case methodShape:
		params, variadic = f.m.Params, f.m.Variadic
	}
	if lifted := keywordStruct(jsii.Index(), params, variadic); lifted != nil {
		if m, ok := lifted.Field(name); ok {
			return m.Deprecated
		}
	}
	return ""
}
