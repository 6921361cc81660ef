package lsp

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"

	"go.lsp.dev/protocol"

	"sst/builtins"
	"sst/runtime/bundle"
	"sst/starlark/diag"
)

func (c *call) definition(p *protocol.DefinitionParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	offset := a.doc.offset(p.Position, c.client.utf8)
	if of, b, _ := c.symbol(a, offset); b != nil {
		var locations []protocol.Location
		for _, place := range b.places {
			if place.write {
				locations = append(locations, c.location(of.doc, place.start, place.end))
			}
		}
		return locations, nil
	}
	t, ok := c.target(a, offset)
	switch {
	case !ok:
		return nil, nil
	case t.file != "":
		doc := c.snapshot.document(t.file)
		if doc == nil {
			return nil, nil
		}
		start, end := 0, 0
		if t.export != "" {
			start, end = exportPlace(doc.src, t.export)
		}
		return []protocol.Location{c.location(doc, start, end)}, nil
	}
	if places := c.sourceLocation(t.about.Source); places != nil {
		return places, nil
	}
	return c.pageLocation(t.of), nil
}

// sourceLocation is a place in the prelude, in a read-only copy, or in a file of the project.
func (c *call) sourceLocation(span diag.Span) []protocol.Location {
	src, ok := builtins.PreludeSource(span.Start.File)
	if !ok || c.snapshot.opts.PreludeDir == "" {
		return nil
	}
	path := filepath.Join(c.snapshot.opts.PreludeDir, filepath.Base(span.Start.File))
	if err := writePrelude(path, src); err != nil {
		c.server.opts.Logger.Warn("prelude", "error", err)
		return nil
	}
	doc := newDocument(path, uriOf(path), 0, src)
	return []protocol.Location{{URI: protocolURI(doc.uri), Range: doc.rangeOf(span, c.client.utf8)}}
}

// writePrelude makes a read-only copy of a prelude file, once.
func writePrelude(path string, src []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, src) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".prelude-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err = temporary.Write(src); err == nil {
		err = temporary.Chmod(0o444)
	}
	if closing := temporary.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// findHandler finds the file and export of a handler of any kind.
func findHandler(root, handler string) (file, export string, ok bool) {
	for _, kind := range []string{bundle.Node, bundle.Python} {
		if file, export, err := bundle.Find(root, handler, kind); err == nil {
			return file, export, true
		}
	}
	return "", "", false
}

// exportPlace is where a source file defines an export; its beginning when that is not plain.
func exportPlace(src []byte, name string) (start, end int) {
	n := regexp.QuoteMeta(name)
	for _, pattern := range []string{
		`(?m)^\s*export\s+(?:default\s+)?(?:async\s+)?(?:function\s*\*?|const|let|var|class)\s+(` + n + `)\b`,
		`(?m)^(?:async\s+)?(?:def|class)\s+(` + n + `)\b`,
		`(?m)^(?:async\s+)?(?:function\s*\*?|const|let|var|class)\s+(` + n + `)\b`,
		`(?m)^(` + n + `)\s*(?::[^=\n]*)?=`,
		`(?m)^(?:module\.)?exports\.(` + n + `)\b`,
		`export\s*\{[^}]*\b(` + n + `)\b`,
	} {
		if m := regexp.MustCompile(pattern).FindSubmatchIndex(src); m != nil {
			return m[2], m[3]
		}
	}
	if name == "default" {
		if m := regexp.MustCompile(`(?m)^\s*export\s+default\b`).FindIndex(src); m != nil {
			return m[0], m[1]
		}
	}
	return 0, 0
}
