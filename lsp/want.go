package lsp

// What is wanted where the cursor stands: the type or, for constructs of sst,
// what the docstring of the parameter says.

import (
	"regexp"
	"slices"
	"strings"

	"sst/builtins"
	interp "sst/starlark"
)

// want is what a place takes.
type want struct {
	name string      // of the parameter or key, "" for an element
	typ  interp.Type // nil = unknown
	doc  string      // docstring of the parameter of sst
	key  bool        // the cursor is where a key of a dict goes
	// fields are the known keys of the dict.
	fields []interp.Param
	about  func(key string) (builtins.About, bool)
}

var (
	backquoted  = regexp.MustCompile("`([a-z][a-z_0-9]*)`")
	quoted      = regexp.MustCompile(`"([^"]*)"`)
	cdkClass    = regexp.MustCompile(`cdk\.[a-z0-9_]+\.[A-Z]\w*`)
	keywordOf   = regexp.MustCompile("what (?:a value of|the keyword) `([a-z_]+)` may be")
	routeMethod = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY"}
)

// wanted is what the place of the cursor takes; zero when nothing is known.
func (c *cursor) wanted() want {
	f, index := c.call()
	if f == nil {
		return want{}
	}
	fn := c.shapeOf(f.callee)
	if fn == nil {
		return want{}
	}
	sig := fn.Signature()
	if sig == nil {
		return want{}
	}
	p := parameterOf(sig, f)
	if p == nil {
		return want{}
	}
	w := want{name: p.Name, typ: p.Type, doc: c.resolveDoc(f.callee, p.Doc)}
	for i := index + 1; i < len(c.frames); i++ {
		w = c.inside(w, &c.frames[i])
	}
	return w
}

// parameterOf is the parameter that the argument at the cursor is for, nil when there is none.
func parameterOf(sig *interp.Signature, f *frame) *interp.Param {
	if f.keyword != "" {
		if i := slices.IndexFunc(sig.Params, func(p interp.Param) bool { return p.Name == f.keyword }); i >= 0 {
			return &sig.Params[i]
		}
		return nil
	}
	if f.position < len(sig.Params) && !sig.Params[f.position].KeywordOnly {
		return &sig.Params[f.position]
	}
	return nil
}

// resolveDoc follows a docstring that names another parameter: "what the keyword `consumer` may be".
func (c *cursor) resolveDoc(callee, doc string) string {
	m := keywordOf.FindStringSubmatch(doc)
	dot := strings.LastIndexByte(callee, '.')
	if m == nil || dot < 0 {
		return doc
	}
	owner := c.shapeOf(callee[:dot])
	if owner == nil {
		return doc
	}
	if construct := c.shapeOf(owner.Kind()); construct != nil && construct.Signature() != nil {
		for _, p := range construct.Signature().Params {
			if p.Name == m[1] {
				if m[1] == "routes" {
					_, doc, _ = strings.Cut(p.Doc, " to a ")
					return "a " + doc
				}
				return p.Doc
			}
		}
	}
	return doc
}

// inside is what a place in a bracket takes of which the whole is wanted.
func (c *cursor) inside(w want, f *frame) want {
	element, isElement := w.typ.(interp.ElemType)
	structure, isStruct := w.typ.(interp.StructType)
	switch {
	case f.bracket == '{' && isStruct:
		fields, _ := structure.Fields()
		about := func(key string) (builtins.About, bool) { return builtins.DescribeField(structure, key) }
		return c.entry(f, fields, about, want{})
	case isElement:
		if f.bracket == '{' && !f.value {
			return want{key: true}
		}
		return want{typ: element.Elem()}
	case w.doc == "":
		return want{}
	case f.bracket != '{':
		return want{name: w.name, doc: w.doc}
	case strings.Contains(w.doc, `"METHOD /path"`):
		if !f.value {
			return want{name: w.name, doc: w.doc, key: true}
		}
		_, value, _ := strings.Cut(w.doc, " to a ")
		return want{doc: "a " + value}
	}
	fields, about := c.documented(w)
	if len(fields) == 0 {
		return want{name: w.name, doc: w.doc, key: !f.value}
	}
	return c.entry(f, fields, about, want{name: w.name, doc: w.doc})
}

// entry is what a place in a dict with known keys takes; other is for values of other keys.
func (c *cursor) entry(f *frame, fields []interp.Param, about func(string) (builtins.About, bool), other want) want {
	if !f.value {
		other.key, other.fields, other.about = true, fields, about
		return other
	}
	for _, p := range fields {
		if p.Name == f.key {
			if p.Name == "function" && p.Doc == "" {
				return want{name: p.Name, doc: other.doc}
			}
			return want{name: p.Name, typ: p.Type, doc: p.Doc}
		}
	}
	return other
}

// documented are the keys that a docstring names.
func (c *cursor) documented(w want) ([]interp.Param, func(string) (builtins.About, bool)) {
	var fields []interp.Param
	about := func(key string) (builtins.About, bool) {
		for _, p := range fields {
			if p.Name == key {
				return builtins.About{Kind: "parameter", Title: key, Doc: p.Doc}, p.Doc != ""
			}
		}
		return builtins.About{}, false
	}
	if class := cdkClass.FindString(w.doc); w.name == "cdk" && class != "" {
		if shape := c.shapeOf(class); shape != nil && shape.Signature() != nil {
			for _, p := range shape.Signature().Params {
				if p.KeywordOnly {
					p.Required = false
					fields = append(fields, p)
				}
			}
			return fields, func(key string) (builtins.About, bool) { return builtins.DescribeParam(shape, key) }
		}
	}
	_, after, ok := strings.Cut(w.doc, "dict ")
	if !ok {
		return nil, nil
	}
	for _, m := range backquoted.FindAllStringSubmatch(after, -1) {
		if !slices.ContainsFunc(fields, func(p interp.Param) bool { return p.Name == m[1] }) {
			fields = append(fields, interp.Param{Name: m[1]})
		}
	}
	if strings.Contains(w.doc, "dict of its properties") || strings.Contains(w.doc, "sst.Function properties") {
		if shape := c.shapeOf("sst.Function"); shape != nil && shape.Signature() != nil {
			for _, p := range shape.Signature().Params {
				if p.KeywordOnly && !slices.ContainsFunc(fields, func(q interp.Param) bool { return q.Name == p.Name }) {
					p.Required = false
					fields = append(fields, p)
				}
			}
		}
	}
	return fields, about
}

// handler reports whether a handler string goes here.
func (w want) handler() bool {
	return !w.key && w.typ == nil && (w.name == "handler" || strings.Contains(w.doc, "handler path"))
}

// route reports whether a route key goes here.
func (w want) route() bool {
	return strings.Contains(w.doc, `"METHOD /path"`) && (w.key || w.name == "key")
}

// literals are the texts that the docstring names as values, and quantities of the type.
func (w want) literals() []string {
	if w.key {
		return nil
	}
	values := builtins.WantsQuantity(w.typ)
	for _, m := range quoted.FindAllStringSubmatch(w.doc, -1) {
		v := m[1]
		if v == "" || v == "METHOD /path" || v[0] == '.' || v[0] == '<' || strings.Contains(v, "/") || w.handler() && w.name != "handler" || slices.Contains(values, v) {
			continue
		}
		values = append(values, v)
	}
	return values
}
