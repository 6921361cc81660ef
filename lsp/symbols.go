package lsp

import (
	"strings"

	"go.lsp.dev/protocol"

	interp "sst/starlark"
)

// maxSymbols bounds the answer to a search over the project.
const maxSymbols = 300

func (c *call) documentSymbol(p *protocol.DocumentSymbolParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	o := a.outlined()
	symbols := []protocol.DocumentSymbol{}
	calls := map[int]*interp.Call{} // unassigned constructs, by line
	targets := map[string]string{}
	for i := range o.Calls {
		call := &o.Calls[i]
		if call.Target != "" {
			targets[call.Target] = call.Callee
		} else if isConstruct(call) {
			calls[call.Range.Start.Line] = call
		}
	}
	add := func(name, detail string, kind protocol.SymbolKind, whole, selection protocol.Range) {
		s := protocol.DocumentSymbol{Name: name, Kind: kind, Range: whole, SelectionRange: selection}
		if detail != "" {
			s.Detail = &detail
		}
		symbols = append(symbols, s)
	}
	for i := range o.Definitions {
		d := &o.Definitions[i]
		if d.Kind == interp.Loaded || d.Name == "_" {
			continue
		}
		kind := protocol.SymbolKindVariable
		detail := targets[d.Name]
		if d.Kind == interp.Function {
			kind, detail = protocol.SymbolKindFunction, d.Doc.Summary
		} else if detail != "" && strings.Contains(detail, ".") {
			kind = protocol.SymbolKindObject
		}
		add(d.Name, detail, kind, a.doc.rangeOf(d.Range, c.client.utf8), a.doc.rangeOf(d.Span, c.client.utf8))
	}
	for i := range o.Calls {
		call := &o.Calls[i]
		if calls[call.Range.Start.Line] != call {
			continue
		}
		id, _ := literalText(call.Expr.Args[1])
		add(id, call.Callee, protocol.SymbolKindObject, a.doc.rangeOf(call.Range, c.client.utf8), a.doc.rangeOf(call.Span, c.client.utf8))
	}
	return symbols, nil
}

// isConstruct reports whether a call makes a construct: scope and id, of sst or cdk.
func isConstruct(call *interp.Call) bool {
	if !strings.HasPrefix(call.Callee, "sst.") && !strings.HasPrefix(call.Callee, "cdk.") || len(call.Expr.Args) < 2 {
		return false
	}
	_, ok := literalText(call.Expr.Args[1])
	return ok
}

func (c *call) workspaceSymbol(p *protocol.WorkspaceSymbolParams) (any, error) {
	symbols := []protocol.SymbolInformation{}
	roots := map[string]bool{}
	for _, folder := range c.snapshot.folders {
		roots[folder] = true
	}
	for path := range c.snapshot.open {
		roots[c.snapshot.root(path)] = true
	}
	seen := map[string]bool{}
	for root := range roots {
		for _, path := range c.snapshot.starFiles(root) {
			if seen[path] || c.ctx.Err() != nil {
				continue
			}
			seen[path] = true
			a := c.snapshot.analyse(path)
			if a == nil {
				continue
			}
			o := a.outlined()
			for i := range o.Definitions {
				d := &o.Definitions[i]
				if d.Kind == interp.Loaded || !matches(p.Query, d.Name) || len(symbols) >= maxSymbols {
					continue
				}
				kind := protocol.SymbolKindVariable
				if d.Kind == interp.Function {
					kind = protocol.SymbolKindFunction
				}
				container := c.snapshot.shown(a.root, path)
				symbols = append(symbols, protocol.SymbolInformation{
					BaseSymbolInformation: protocol.BaseSymbolInformation{Name: d.Name, Kind: kind, ContainerName: &container},
					Location:              protocol.Location{URI: protocolURI(a.doc.uri), Range: a.doc.rangeOf(d.Span, c.client.utf8)},
				})
			}
		}
	}
	return symbols, nil
}
