package lsp

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.lsp.dev/protocol"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"sst/builtins"
	interp "sst/starlark"
	"sst/starlark/scan"
)

// text is documentation as Markdown.
func text(a builtins.About) string {
	var parts []string
	if a.Type != "" {
		parts = append(parts, "`"+a.Type+"`")
	}
	if a.Deprecated != "" {
		parts = append(parts, "**Deprecated.** "+a.Deprecated)
	}
	if a.Doc != "" {
		parts = append(parts, a.Doc)
	}
	if a.Default != "" {
		parts = append(parts, "Default: "+strings.TrimPrefix(strings.TrimSpace(a.Default), "- "))
	}
	return strings.Join(parts, "\n\n")
}

// aboutDefinition is what a file says of one of its own names.
func aboutDefinition(d *interp.Definition) builtins.About {
	about := builtins.About{Kind: "variable", Title: d.Name, Doc: d.Doc.Summary, Source: d.Span}
	if d.Def != nil {
		about.Kind = "function"
	}
	if d.Doc.Body != "" {
		about.Doc += "\n\n" + d.Doc.Body
	}
	for _, arg := range d.Doc.Args {
		about.Doc += fmt.Sprintf("\n- `%s`: %s", arg.Name, arg.Text)
	}
	return about
}

// aboutName is what is documented of a name at a cursor.
func (c *call) aboutName(cur *cursor, name string) (builtins.About, bool) {
	if d := cur.a.outlined().Lookup(name); d != nil {
		if d.Module != "" {
			if other, original := c.loadedDefinition(cur.a, d); other != nil {
				if od := other.outlined().Lookup(original); od != nil {
					return aboutDefinition(od), true
				}
			}
		}
		about := aboutDefinition(d)
		if shape := cur.shapeOf(name); shape != nil && d.Def == nil {
			of := builtins.Describe(shape)
			about.Type = shape.Kind()
			about.Doc = of.Doc
		}
		return about, true
	}
	if shape := cur.shapeOf(name); shape != nil {
		about := builtins.Describe(shape)
		if about.Title == "" {
			about = builtins.About{Kind: "variable", Title: name, Type: shape.Kind()}
		}
		return about, true
	}
	if doc := builtins.UniverseDoc(name); doc != "" {
		return builtins.About{Kind: "function", Title: name, Doc: doc}, true
	}
	return builtins.About{}, false
}

// loadedDefinition is the file that a loaded name comes from, and its name there.
func (c *call) loadedDefinition(a *analysis, d *interp.Definition) (*analysis, string) {
	path, err := c.snapshot.loaded(a, d.Module)
	if err != nil {
		return nil, ""
	}
	for _, l := range a.outlined().Loads {
		if l.Module != d.Module {
			continue
		}
		for _, n := range l.Names {
			if n.As == d.Name {
				return c.snapshot.analyse(path), n.Name
			}
		}
	}
	return nil, ""
}

func isUniverse(name string) bool { return starlark.Universe.Has(name) || name == "set" }

func (c *call) hover(p *protocol.HoverParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	t, ok := c.target(a, a.doc.offset(p.Position, c.client.utf8))
	if !ok || t.hover == "" {
		return nil, nil
	}
	if built := c.builtText(a, t.start, t.about); built != "" {
		t.hover += "\n\n" + built
	}
	area := a.doc.span(t.start, t.end, c.client.utf8)
	return &protocol.Hover{Contents: c.markup(t.hover), Range: &area}, nil
}

// target is what stands at a place: a name, a keyword, a string that names something.
type target struct {
	start, end int
	hover      string
	about      builtins.About
	of         documented // in the CDK
	file       string     // that a string names
	export     string
}

// target finds what stands at an offset.
func (c *call) target(a *analysis, offset int) (target, bool) {
	cur := c.snapshot.at(a, offset)
	i := cur.touching(offset)
	t := cur.token(i)
	if t == nil || cur.inComment {
		return target{}, false
	}
	found := target{start: cur.start + t.Start, end: cur.start + t.End}
	switch t.Kind {
	case scan.String:
		return c.stringTarget(cur, i, found)
	case scan.Name:
	default:
		return target{}, false
	}
	name := t.Text(cur.text)
	var about builtins.About
	var shape interp.Shape
	ok := false
	f := cur.frameOf(i)
	switch owner := cur.dotted(i); {
	case owner != "":
		if of := cur.shapeOf(owner); of != nil {
			about, ok = builtins.DescribeMember(of, name)
			shape, _ = of.Member(name)
			if found.of.page = pageOfShape(shape); found.of.page == "" || builtins.Describe(shape).Kind != about.Kind || !strings.HasSuffix(found.of.page, "."+name) {
				found.of = documented{pageOfShape(of), name} // an attribute, a method or a value of it
			}
			if !ok && shape != nil {
				about, ok = builtins.About{Kind: "property", Title: name, Type: shape.Kind()}, true
			}
		}
	case f != nil && f.callee != "" && cur.is(i+1, "=") && i == f.argument:
		if fn := cur.shapeOf(f.callee); fn != nil {
			about, ok = builtins.DescribeParam(fn, name)
			found.of = documented{pageOfShape(fn), name}
		}
	case scan.IsKeyword(name):
	default:
		about, ok = c.aboutName(cur, name)
		shape = cur.shapeOf(name)
	}
	if !ok {
		return found, false
	}
	found.about = about
	head := about.Title
	if shape != nil {
		if sig := shape.Signature(); sig != nil {
			head = signatureText(sig, about.Title)
		}
	}
	if about.Kind != "" {
		head = "(" + about.Kind + ") " + head
	}
	if about.Type != "" && !strings.Contains(head, "\n") {
		head += ": " + about.Type
		about.Type = ""
	}
	found.hover = "```python\n" + head + "\n```"
	if body := text(about); body != "" {
		found.hover += "\n\n" + body
	}
	if about.Kind == "class" {
		if example := builtins.ExampleOf(about.Title); example != "" {
			found.hover += "\n\n```python\n" + example + "\n```"
		}
	}
	return found, true
}

// touching is the index of the token that an offset is in or, for names and strings, at the end of.
func (c *cursor) touching(offset int) int {
	at := offset - c.start
	best := -1
	for i := range c.tokens {
		t := &c.tokens[i]
		if t.Kind == scan.Op && best >= 0 && c.tokens[best].End == at {
			break
		}
		if t.Start <= at && at <= t.End && (at < t.End || t.Kind == scan.Name || t.Kind == scan.String) {
			best = i
			if at < t.End {
				break
			}
		}
	}
	return best
}

// frameOf is the bracket around token i as if the cursor stood behind it.
func (c *cursor) frameOf(i int) *frame {
	other := *c
	other.frames = nil
	other.next = i
	other.findFrames(c.tokens[i].Start)
	return other.innermost()
}

// stringTarget finds what a string names: a file to load, a handler, a key.
func (c *call) stringTarget(cur *cursor, i int, found target) (target, bool) {
	value := stringValue(cur.textOf(i))
	other := *cur
	other.frames = nil
	other.next = i
	other.findFrames(cur.tokens[i].Start)
	f := other.innermost()
	if f != nil && f.callee == "load" {
		path, err := c.snapshot.loaded(cur.a, value)
		if i != f.open+1 {
			if t := cur.token(f.open + 1); t != nil {
				path, err = c.snapshot.loaded(cur.a, stringValue(t.Text(cur.text)))
			}
			if err != nil {
				return found, false
			}
			if a := c.snapshot.analyse(path); a != nil {
				if d := a.outlined().Lookup(value); d != nil {
					found.about = aboutDefinition(d)
					found.hover = "```python\n" + c.definitionHead(a, d) + "\n```\n\n" + found.about.Doc
					return found, true
				}
			}
			return found, false
		}
		if err != nil {
			return found, false
		}
		found.file = path
		rel, _ := filepath.Rel(cur.a.root, path)
		found.hover = "`" + filepath.ToSlash(rel) + "`"
		if a := c.snapshot.analyse(path); a != nil {
			if doc := a.outlined().Doc; doc.Summary != "" {
				found.hover += "\n\n" + doc.Summary
			}
		}
		return found, true
	}
	w := other.wanted()
	if w.key && w.about != nil {
		about, ok := w.about(value)
		if !ok {
			return found, false
		}
		found.about = about
		head := about.Title
		if about.Type != "" {
			head += ": " + about.Type
			about.Type = ""
		}
		found.hover = "```python\n(key) " + head + "\n```\n\n" + text(about)
		return found, true
	}
	if !w.handler() {
		return found, false
	}
	file, export, ok := findHandler(cur.a.root, value)
	if !ok {
		return found, false
	}
	found.file, found.export = file, export
	rel, _ := filepath.Rel(cur.a.root, file)
	found.hover = fmt.Sprintf("Handler `%s` in `%s`", export, filepath.ToSlash(rel))
	if names, known := exportsOf(file); known && !slices.Contains(names, export) {
		found.hover += fmt.Sprintf("\n\nThe file has no such export; it has %s.", strings.Join(names, ", "))
	}
	return found, true
}

func (c *call) definitionHead(a *analysis, d *interp.Definition) string {
	if d.Def != nil {
		return "(function) " + signatureText(interp.SignatureOf(d), d.Name)
	}
	return "(variable) " + d.Name
}

// signatureText is a call as it would be declared, on several lines when it is long.
func signatureText(sig *interp.Signature, name string) string {
	if name == "" {
		name = sig.Name
	}
	parts := parameterTexts(sig)
	text := name + "(" + strings.Join(parts, ", ") + ")"
	if len(text) > 100 {
		const most = 40
		if len(parts) > most {
			parts = append(parts[:most:most], fmt.Sprintf("... %d more", len(parts)-most))
		}
		text = name + "(\n    " + strings.Join(parts, ",\n    ") + ",\n)"
	}
	if sig.Result != nil {
		text += " -> " + sig.Result.Kind()
	}
	return text
}

// parameterTexts are the parameters of a signature, the star before keywords among them.
func parameterTexts(sig *interp.Signature) []string {
	var parts []string
	star := false
	for _, p := range sig.Params {
		if p.KeywordOnly && !star {
			star = true
			if sig.Variadic {
				parts = append(parts, "*args")
			} else {
				parts = append(parts, "*")
			}
		}
		parts = append(parts, parameterText(p))
	}
	if sig.Variadic && !star {
		parts = append(parts, "*args")
	}
	if sig.Open && !sig.Variadic {
		parts = append(parts, "**kwargs")
	}
	return parts
}

func parameterText(p interp.Param) string {
	text := p.Name
	if p.Type != nil {
		text += ": " + p.Type.String()
	}
	if !p.Required {
		text += " = None"
	}
	return text
}

// literalText is the value of a string literal.
func literalText(e syntax.Expr) (string, bool) {
	l, ok := e.(*syntax.Literal)
	if !ok || l.Token != syntax.STRING {
		return "", false
	}
	s, ok := l.Value.(string)
	return s, ok
}
