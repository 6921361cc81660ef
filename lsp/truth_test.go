package lsp

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sst/builtins"
	interp "sst/starlark"
)

// TestKeywordsOfConstructs completes a call of every construct of the CDK: what is offered is the signature that a test of
// package builtins holds against the engine, all of it and nothing else.
func TestKeywordsOfConstructs(t *testing.T) {
	root := project(t)
	path := filepath.Join(root, "stacks.star")
	cdk := builtins.Env().Globals["cdk"]
	constructs := 0
	for _, module := range cdk.Members() {
		m, ok := cdk.Member(module)
		if !ok || m == nil || builtins.KindOf(m) != "module" {
			continue
		}
		var text strings.Builder
		text.WriteString("app = sst.App(\"a\")\nweb = sst.Stack(app, \"web\")\n")
		var names []string
		var signatures []*interp.Signature
		for _, name := range m.Members() {
			shape, _ := m.Member(name)
			if shape == nil || builtins.KindOf(shape) != "class" || shape.Signature() == nil || shape.Signature().PositionalOnly != 2 {
				continue
			}
			names = append(names, "cdk."+module+"."+name)
			signatures = append(signatures, shape.Signature())
			text.WriteString("cdk." + module + "." + name + "(web, \"X\", )\n")
		}
		doc := newDocument(path, uriOf(path), 1, []byte(text.String()))
		s := newSnapshot(Options{}).with(doc)
		a := s.analyse(path)
		server := New(Options{})
		for i, name := range names {
			constructs++
			c := &call{server: server, snapshot: s}
			var got []string
			for _, item := range c.complete(a, doc.lineEnd(i+2)-1).list {
				if strings.HasSuffix(item.insert, " = ") {
					got = append(got, item.label)
				}
			}
			var want []string
			for _, p := range signatures[i].Params[2:] {
				want = append(want, p.Name)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: offered %q, accepted %q", name, got, want)
			}
		}
	}
	if constructs < 2000 {
		t.Errorf("%d constructs", constructs)
	}
	t.Logf("%d constructs", constructs)
}
