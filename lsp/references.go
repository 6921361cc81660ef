package lsp

import (
	"slices"
	"strings"

	"go.lsp.dev/protocol"
	"go.lsp.dev/uri"

	"sst/starlark/scan"
)

// reference is an occurrence of a symbol in a file.
type reference struct {
	doc *document
	place
}

// namesOf are the names of a file, worked out once for a snapshot.
func (c *call) namesOf(a *analysis) *names {
	if a.names == nil {
		a.names = namesOf(a)
	}
	return a.names
}

// symbol is the binding at a place, followed to the file that defines it unless it has another name there.
func (c *call) symbol(a *analysis, offset int) (*analysis, *binding, place) {
	b, at := c.namesOf(a).at(offset)
	if b == nil {
		return c.keywordSymbol(a, offset)
	}
	if b.module == "" || b.name != b.original && at != b.from {
		return a, b, at
	}
	if path, err := c.snapshot.loaded(a, b.module); err == nil {
		if other := c.snapshot.analyse(path); other != nil {
			if ob := c.namesOf(other).globals.names[b.original]; ob != nil && ob.module == "" {
				return other, ob, at
			}
		}
	}
	return a, b, at
}

// keywordSymbol is the parameter that a keyword in a call of a loaded function names.
func (c *call) keywordSymbol(a *analysis, offset int) (*analysis, *binding, place) {
	for _, k := range c.namesOf(a).keywords {
		if offset < k.place.start || offset > k.place.end || k.function.module == "" {
			continue
		}
		path, err := c.snapshot.loaded(a, k.function.module)
		if err != nil {
			break
		}
		if other := c.snapshot.analyse(path); other != nil {
			if fn := c.namesOf(other).globals.names[k.function.original]; fn != nil && fn.params[k.name] != nil {
				return other, fn.params[k.name], k.place
			}
		}
	}
	return nil, nil, place{}
}

// occurrences are all places of a symbol in the project, the definition's file first.
func (c *call) occurrences(a *analysis, b *binding) []reference {
	var list []reference
	for _, p := range b.places {
		list = append(list, reference{a.doc, p})
	}
	exported := b.global && b.module == ""
	parameter := b.function != nil && b.function.global
	if !exported && !parameter {
		return list
	}
	wanted := b.name
	if parameter {
		wanted = b.function.name
	}
	for _, path := range c.snapshot.starFiles(a.root) {
		if path == a.doc.path {
			continue
		}
		doc := c.snapshot.document(path)
		if doc == nil || !strings.Contains(string(doc.src), wanted) {
			continue
		}
		other := c.snapshot.analyse(path)
		n := c.namesOf(other)
		for _, l := range n.bindings {
			if l.module == "" || l.original != wanted {
				continue
			}
			if target, err := c.snapshot.loaded(other, l.module); err != nil || target != a.doc.path {
				continue
			}
			if parameter {
				for _, k := range n.keywords {
					if k.function == l && k.name == b.name {
						list = append(list, reference{doc, k.place})
					}
				}
				continue
			}
			list = append(list, reference{doc, l.from})
			if l.name == l.original {
				for _, p := range l.places {
					if p.start != l.from.start {
						list = append(list, reference{doc, p})
					}
				}
			}
		}
	}
	return list
}

func (c *call) references(p *protocol.ReferenceParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	of, b, _ := c.symbol(a, a.doc.offset(p.Position, c.client.utf8))
	if b == nil {
		return c.handlerReferences(a, a.doc.offset(p.Position, c.client.utf8)), nil
	}
	locations := []protocol.Location{}
	for _, r := range c.occurrences(of, b) {
		if r.write && !p.Context.IncludeDeclaration {
			continue
		}
		locations = append(locations, c.location(r.doc, r.start, r.end))
	}
	return locations, nil
}

// handlerReferences are the other places of the project that name the same handler.
func (c *call) handlerReferences(a *analysis, offset int) []protocol.Location {
	locations := []protocol.Location{}
	t, ok := c.target(a, offset)
	if !ok || t.export == "" {
		return locations
	}
	handler := stringValue(string(a.doc.src[t.start:t.end]))
	for _, path := range c.snapshot.starFiles(a.root) {
		doc := c.snapshot.document(path)
		if doc == nil || !strings.Contains(string(doc.src), handler) {
			continue
		}
		for _, token := range scan.Tokens(doc.src) {
			if token.Kind == scan.String && stringValue(token.Text(doc.src)) == handler {
				locations = append(locations, c.location(doc, token.Start, token.End))
			}
		}
	}
	return locations
}

func (c *call) location(doc *document, start, end int) protocol.Location {
	return protocol.Location{URI: protocolURI(doc.uri), Range: doc.span(start, end, c.client.utf8)}
}

func (c *call) highlight(p *protocol.DocumentHighlightParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	b, _ := c.namesOf(a).at(a.doc.offset(p.Position, c.client.utf8))
	list := []protocol.DocumentHighlight{}
	if b == nil {
		return list, nil
	}
	for _, place := range b.places {
		kind := protocol.DocumentHighlightKindRead
		if place.write {
			kind = protocol.DocumentHighlightKindWrite
		}
		list = append(list, protocol.DocumentHighlight{Range: a.doc.span(place.start, place.end, c.client.utf8), Kind: kind})
	}
	return list, nil
}

func (c *call) prepareRename(p *protocol.PrepareRenameParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	_, b, at := c.symbol(a, a.doc.offset(p.Position, c.client.utf8))
	if b == nil {
		return nil, nil
	}
	name := string(a.doc.src[at.start:at.end])
	return &protocol.PrepareRenamePlaceholder{Range: a.doc.span(at.start, at.end, c.client.utf8), Placeholder: name}, nil
}

func (c *call) rename(p *protocol.RenameParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, failed("nothing is known of this file")
	}
	of, b, _ := c.symbol(a, a.doc.offset(p.Position, c.client.utf8))
	if b == nil {
		return nil, failed("there is no name of this project here")
	}
	if !isName(p.NewName) {
		return nil, failed("%q is not a name", p.NewName)
	}
	if c.snapshot.isPrelude(of.doc.path) {
		return nil, failed("%s is a part of sst", b.name)
	}
	references := c.occurrences(of, b)
	if p.NewName != b.name {
		if err := c.free(of, b, references, p.NewName); err != nil {
			return nil, err
		}
	}
	edit := &protocol.WorkspaceEdit{Changes: map[uri.URI][]protocol.TextEdit{}}
	seen := map[reference]bool{}
	for _, r := range references {
		r.write = false
		if seen[r] {
			continue
		}
		seen[r] = true
		key := protocolURI(r.doc.uri)
		text := p.NewName
		edit.Changes[key] = append(edit.Changes[key], protocol.TextEdit{Range: r.doc.span(r.start, r.end, c.client.utf8), NewText: text})
	}
	for _, edits := range edit.Changes {
		slices.SortFunc(edits, func(x, y protocol.TextEdit) int {
			if x.Range.Start.Line != y.Range.Start.Line {
				return int(x.Range.Start.Line) - int(y.Range.Start.Line)
			}
			return int(x.Range.Start.Character) - int(y.Range.Start.Character)
		})
	}
	return edit, nil
}

// free reports whether a name can be taken: nothing in the files concerned may have it already.
func (c *call) free(a *analysis, b *binding, references []reference, name string) error {
	taken := func(doc *document) error {
		return failed("%s has a %s already", c.snapshot.shown(a.root, doc.path), name)
	}
	if b.scope.lookup(name) != nil || isUniverse(name) {
		return taken(a.doc)
	}
	env := c.snapshot.env(a)
	if _, ok := env.Globals[name]; ok {
		return failed("%s is a name of sst", name)
	}
	for _, r := range references {
		other := c.snapshot.analyse(r.doc.path)
		if r.doc.path != a.doc.path && b.function == nil && c.namesOf(other).globals.names[name] != nil {
			return taken(r.doc)
		}
	}
	if b.global || b.function != nil { // a local name of an inner scope would hide it
		for _, inner := range c.namesOf(a).bindings {
			if inner.name != name {
				continue
			}
			for s := inner.scope; s != nil; s = s.parent {
				if s == b.scope {
					return taken(a.doc)
				}
			}
		}
	}
	return nil
}

func isName(s string) bool {
	if s == "" || '0' <= s[0] && s[0] <= '9' || scan.IsKeyword(s) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !scan.IsNameByte(c) || c >= 0x80 {
			return false
		}
	}
	switch s {
	case "as", "assert", "async", "await", "class", "del", "except", "finally", "from", "global", "import", "is", "nonlocal", "raise", "try", "with", "yield":
		return false
	}
	return true
}
