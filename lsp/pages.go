package lsp

// Definitions of what the CDK has: its documentation, as a read-only page of Markdown.

import (
	"fmt"
	"path/filepath"
	"strings"

	"go.lsp.dev/protocol"

	"sst/builtins"
	interp "sst/starlark"
)

// documented is a name of the CDK: the page that it is on, and what it is called there; "" is the page itself.
type documented struct {
	page, entry string
}

// pageOfShape is the page of a shape of the CDK, "" when it has none.
func pageOfShape(shape interp.Shape) string {
	if shape == nil {
		return ""
	}
	about := builtins.Describe(shape)
	switch about.Kind {
	case "module", "class", "construct", "struct", "enum", "interface":
		if about.Title == "cdk" || strings.HasPrefix(about.Title, "cdk.") {
			return about.Title
		}
	}
	return ""
}

// pageLocation is the place of a documented name in its page.
func (c *call) pageLocation(of documented) []protocol.Location {
	if of.page == "" || c.snapshot.opts.PreludeDir == "" {
		return nil
	}
	page, err := builtins.Document(of.page)
	if err != nil {
		return nil
	}
	text := markdownPage(page)
	path := filepath.Join(c.snapshot.opts.PreludeDir, "docs", page.Title+".md")
	if err := writePrelude(path, []byte(text)); err != nil {
		c.server.opts.Logger.Warn("documentation", "error", err)
		return nil
	}
	doc := newDocument(path, uriOf(path), 0, []byte(text))
	start := 0
	if of.entry != "" {
		start = max(0, strings.Index(text, "\n### `"+of.entry+"`")+1)
	}
	end := start + strings.IndexByte(text[start:]+"\n", '\n')
	return []protocol.Location{{URI: protocolURI(doc.uri), Range: doc.span(start, end, c.client.utf8)}}
}

// markdownPage writes what is documented of a name.
func markdownPage(p *builtins.Page) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", p.Title)
	if p.Signature != nil {
		fmt.Fprintf(&b, "\n```python\n%s\n```\n", signatureText(p.Signature, p.Title))
	}
	about := p.About
	about.Type = ""
	if doc := text(about); doc != "" {
		fmt.Fprintf(&b, "\n%s\n", doc)
	}
	if p.Example != "" {
		fmt.Fprintf(&b, "\n```python\n%s\n```\n", p.Example)
	}
	entry := func(name, kind string, about builtins.About) {
		fmt.Fprintf(&b, "\n### `%s`", name)
		if kind != "" {
			fmt.Fprintf(&b, ": %s", kind)
		}
		b.WriteString("\n")
		about.Type = ""
		if doc := text(about); doc != "" {
			fmt.Fprintf(&b, "\n%s\n", doc)
		}
	}
	if len(p.Params) > 0 {
		b.WriteString("\n## Parameters\n")
		for i, about := range p.Params {
			kind := about.Type
			if p.Signature.Params[i].Required {
				kind = strings.TrimPrefix(kind+", required", ", ")
			}
			entry(about.Title, kind, about)
		}
	}
	for _, s := range p.Sections {
		fmt.Fprintf(&b, "\n## %s\n", s.Title)
		for _, about := range s.Entries {
			entry(about.Title, about.Type, about)
		}
	}
	return b.String()
}
