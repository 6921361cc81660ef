package lsp

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.lsp.dev/protocol"
	"go.starlark.net/syntax"

	"sst/builtins"
	"sst/runtime/bundle"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// publish sends the diagnostics of a file as it is now. The worker calls it.
func (s *Server) publish(path string) {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	doc := current.open[path]
	if doc == nil {
		return // closed meanwhile
	}
	params := &protocol.PublishDiagnosticsParams{
		URI: protocolURI(doc.uri), Version: protocol.NewOptional(doc.version), Diagnostics: []protocol.Diagnostic{},
	}
	defer func() {
		if fault := recover(); fault != nil {
			s.opts.Logger.Error("diagnostics", "file", path, "fault", fault)
			return
		}
		s.out.notify("textDocument/publishDiagnostics", params)
	}()
	c := &call{server: s, client: s.client, snapshot: current}
	for _, d := range c.diagnose(current.analyse(path)) {
		params.Diagnostics = append(params.Diagnostics, c.diagnostic(doc, d))
	}
}

// pullDiagnostics are those of publish for an editor that asks.
func (c *call) pullDiagnostics(p *protocol.DocumentDiagnosticParams) (any, error) {
	report := &protocol.RelatedFullDocumentDiagnosticReport{FullDocumentDiagnosticReport: protocol.FullDocumentDiagnosticReport{Kind: "full", Items: []protocol.Diagnostic{}}}
	if a := c.analyse(p.TextDocument); a != nil {
		for _, d := range c.diagnose(a) {
			report.Items = append(report.Items, c.diagnostic(a.doc, d))
		}
	}
	return report, nil
}

func (c *call) diagnostic(doc *document, d *diag.Diagnostic) protocol.Diagnostic {
	text := strings.TrimSpace(d.Detail + " " + d.Hint)
	if text == "" {
		text = d.Summary
	}
	out := protocol.Diagnostic{
		Range: doc.rangeOf(d.Span, c.client.utf8), Severity: protocol.DiagnosticSeverityError,
		Code: protocol.String(d.Code), Source: protocol.NewOptional("sst"), Message: protocol.String(text),
	}
	switch {
	case d.Code == "unused-load" || d.Code == "unused-variable" || d.Code == "unused-function":
		out.Severity = protocol.DiagnosticSeverityHint
		out.Tags = protocol.NewDiagnosticTags(protocol.DiagnosticTagUnnecessary)
	case d.Code == "deprecated":
		out.Severity = protocol.DiagnosticSeverityHint
		out.Tags = protocol.NewDiagnosticTags(protocol.DiagnosticTagDeprecated)
	case d.Severity == diag.Warning:
		out.Severity = protocol.DiagnosticSeverityWarning
	case d.Severity == diag.Note:
		out.Severity = protocol.DiagnosticSeverityInformation
	}
	return out
}

// diagnose finds what is wrong in a file: what the build's check finds, and
// files that are not there.
func (c *call) diagnose(a *analysis) diag.List {
	if a == nil || c.snapshot.opts.PreludeDir != "" && filepath.Dir(a.doc.path) == c.snapshot.opts.PreludeDir {
		return nil
	}
	found := slices.Clone(a.file.Errors)
	found = append(found, a.inf.Check()...)
	found = append(found, c.loads(a)...)
	if !c.snapshot.isPrelude(a.doc.path) {
		found = append(found, c.handlerProblems(a)...)
		found = append(found, c.deprecated(a)...)
		found = append(found, c.lint(a)...)
	}
	return found.Sorted()
}

// lint is what sst lint finds in a file, but for loaded names, which loads has found.
func (c *call) lint(a *analysis) diag.List {
	return slices.DeleteFunc(interp.Lint(a.file, c.loadedElsewhere(a)), func(d *diag.Diagnostic) bool { return d.Code == "unused-load" })
}

// loadedElsewhere says whether another file of the project loads a name. It looks when it is first asked, which is for a
// function that its own file does not call.
func (c *call) loadedElsewhere(a *analysis) func(name string) bool {
	names := sync.OnceValue(func() map[string]bool {
		names := map[string]bool{}
		for _, path := range c.snapshot.starFiles(a.root) {
			doc := c.snapshot.document(path)
			if path == a.doc.path || doc == nil || !bytes.Contains(doc.src, []byte(filepath.Base(a.doc.path))) {
				continue
			}
			other := c.snapshot.analyse(path)
			for _, l := range other.outlined().Loads {
				if target, err := c.snapshot.loaded(other, l.Module); err != nil || target != a.doc.path {
					continue
				}
				for _, n := range l.Names {
					names[n.Name] = true
				}
			}
		}
		return names
	})
	return func(name string) bool { return names()[name] }
}

// loads reports files that are not there and names that nothing uses.
func (c *call) loads(a *analysis) diag.List {
	var found diag.List
	for _, l := range a.outlined().Loads {
		_, err := c.snapshot.loaded(a, l.Module)
		var f *interp.Failure
		if errors.As(err, &f) {
			found = append(found, &diag.Diagnostic{Code: f.Code, Summary: f.Summary, Detail: f.Detail, Hint: f.Hint, Span: l.Span})
		}
	}
	if a.outlined().Partial {
		return found // a statement that does not parse may use them
	}
	for _, b := range c.namesOf(a).bindings {
		if b.module != "" && len(b.places) == 1 && !strings.HasPrefix(filepath.Base(a.doc.path), "_") {
			found = append(found, &diag.Diagnostic{
				Severity: diag.Note, Code: "unused-load", Summary: "Unused name", Detail: fmt.Sprintf("Nothing uses %q.", b.name),
				Span: diag.Span{Start: a.doc.place(b.from.start), End: a.doc.place(b.from.end)},
			})
		}
	}
	return found
}

// deprecated reports uses of what the CDK has deprecated.
func (c *call) deprecated(a *analysis) diag.List {
	var found diag.List
	for i := range a.file.Statements {
		for _, stmt := range a.file.Statements[i].Stmts {
			syntax.Walk(stmt, func(n syntax.Node) bool {
				if call, ok := n.(*syntax.CallExpr); ok {
					found = append(found, deprecatedKeywords(a, call)...)
				}
				dot, ok := n.(*syntax.DotExpr)
				if !ok || !strings.HasPrefix(interp.DottedName(dot), "cdk.") {
					return true
				}
				name := dot.Name
				at := diag.Position{File: a.doc.path, Line: int(name.NamePos.Line), Col: int(name.NamePos.Col)}
				owner := a.inf.Shape(dot.X, at)
				if owner == nil {
					return true
				}
				if reason := builtins.Deprecated(owner, name.Name); reason != "" {
					end := at
					end.Col += len(name.Name)
					found = append(found, &diag.Diagnostic{
						Severity: diag.Note, Code: "deprecated", Summary: "Deprecated", Detail: fmt.Sprintf("%s.%s is deprecated: %s", owner.Kind(), name.Name, reason),
						Span: diag.Span{Start: at, End: end}, Hint: instead(reason, owner),
					})
				}
				return true
			})
		}
	}
	return found
}

// deprecatedKeywords reports keywords of a call that the CDK has deprecated.
func deprecatedKeywords(a *analysis, call *syntax.CallExpr) diag.List {
	var found diag.List
	var fn interp.Shape
	for _, arg := range call.Args {
		b, ok := arg.(*syntax.BinaryExpr)
		if !ok || b.Op != syntax.EQ {
			continue
		}
		id, ok := b.X.(*syntax.Ident)
		if !ok {
			continue
		}
		at := diag.Position{File: a.doc.path, Line: int(id.NamePos.Line), Col: int(id.NamePos.Col)}
		if fn == nil {
			if fn = a.inf.Shape(call.Fn, at); fn == nil {
				break
			}
		}
		reason := builtins.DeprecatedParam(fn, id.Name)
		if reason == "" {
			continue
		}
		end := at
		end.Col += len(id.Name)
		d := &diag.Diagnostic{Severity: diag.Note, Code: "deprecated", Summary: "Deprecated", Detail: fmt.Sprintf("%s is deprecated: %s", id.Name, reason),
			Span: diag.Span{Start: at, End: end}}
		if name := replacement(reason); fn.Signature() != nil && slices.ContainsFunc(fn.Signature().Params, func(p interp.Param) bool { return p.Name == name }) {
			d.Hint = fmt.Sprintf("Did you mean %q?", name)
		}
		found = append(found, d)
	}
	return found
}

// useInstead finds the name in "use `grantRead` instead", "use {@link X.logGroup}".
var useInstead = regexp.MustCompile("(?i)\\buse\\s+(?:the\\s+)?(?:\\{@link\\s+)?[`']?(?:[A-Za-z_]+[.#])*([A-Za-z_][A-Za-z_0-9]*)")

// replacement is the name that a reason for a deprecation gives, as it is in Starlark; "" when there is none.
func replacement(reason string) string {
	m := useInstead.FindStringSubmatch(reason)
	if m == nil {
		return ""
	}
	if isUpper(m[1]) || m[1][0] >= 'A' && m[1][0] <= 'Z' {
		return m[1]
	}
	var b strings.Builder
	for _, r := range m[1] {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// instead is the hint for a deprecated member: the other one, when the owner has it.
func instead(reason string, owner interp.Shape) string {
	name := replacement(reason)
	if _, ok := owner.Member(name); name == "" || !ok {
		return ""
	}
	return fmt.Sprintf("Did you mean %q?", name)
}

// handlerProblems reports handlers whose file or export is not there, whatever
// their runtime.
func (c *call) handlerProblems(a *analysis) diag.List {
	if !isFile(filepath.Join(a.root, "stacks.star")) && c.snapshot.open[filepath.Join(a.root, "stacks.star")] == nil {
		return nil // handlers are relative to the folder of stacks.star
	}
	var found diag.List
	problems := map[string]*diag.Diagnostic{} // nil: the handler is there
	c.handlers(a, func(l *syntax.Literal, handler string) {
		d, known := problems[handler]
		if !known {
			d = handlerProblem(a.root, handler)
			problems[handler] = d
		}
		if d != nil {
			at := *d
			at.Span = literalSpan(a.doc, l)
			found = append(found, &at)
		}
	})
	return found
}

// handlers visits the handler strings of a file.
func (c *call) handlers(a *analysis, visit func(*syntax.Literal, string)) {
	o := a.outlined()
	for i := range o.Calls {
		call := &o.Calls[i]
		cur := &cursor{a: a, scope: a.inf, lookup: call.Span.Start}
		fn := a.inf.Shape(call.Expr.Fn, call.Span.Start)
		if fn == nil || fn.Signature() == nil {
			continue
		}
		position := 0
		for _, arg := range call.Expr.Args {
			f := &frame{callee: call.Callee, position: position}
			value := arg
			if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
				if id, ok := b.X.(*syntax.Ident); ok {
					f.keyword, value = id.Name, b.Y
				}
			} else {
				position++
			}
			p := parameterOf(fn.Signature(), f)
			if p == nil || p.Type != nil {
				continue
			}
			cur.handlersIn(want{name: p.Name, doc: cur.resolveDoc(call.Callee, p.Doc)}, value, visit)
		}
	}
}

func literalSpan(doc *document, l *syntax.Literal) diag.Span {
	start := doc.offsetOf(int(l.TokenPos.Line), int(l.TokenPos.Col))
	return diag.Span{Start: doc.place(start), End: doc.place(start + len(l.Raw))}
}

// handlersIn visits the handler strings of an argument.
func (c *cursor) handlersIn(w want, e syntax.Expr, visit func(*syntax.Literal, string)) {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		c.handlersIn(w, e.X, visit)
	case *syntax.Literal:
		if text, ok := literalText(e); ok && w.handler() && text != "" {
			visit(e, text)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			c.handlersIn(c.inside(w, &frame{bracket: '['}), x, visit)
		}
	case *syntax.DictExpr:
		for _, entry := range e.List {
			entry := entry.(*syntax.DictEntry)
			if key, ok := literalText(entry.Key); ok {
				c.handlersIn(c.inside(w, &frame{bracket: '{', key: key, value: true}), entry.Value, visit)
			}
		}
	}
}

// handlerProblem is what is wrong with a handler; nil when nothing surely is.
func handlerProblem(root, handler string) *diag.Diagnostic {
	file, export, err := bundle.Find(root, handler, bundle.Node)
	if err != nil {
		for _, kind := range []string{bundle.Python, bundle.Go, bundle.Custom} {
			if _, _, other := bundle.Find(root, handler, kind); other == nil {
				return nil
			}
		}
		d := &diag.Diagnostic{Code: "missing-handler", Summary: "Handler not found", Detail: fmt.Sprintf("%v.", err)}
		var find *bundle.FindError
		if errors.As(err, &find) {
			d.Detail = fmt.Sprintf("%q: %s.", find.Handler, find.Text)
			if len(find.Known) > 0 {
				d.Hint = fmt.Sprintf("Did you mean %q?", find.Known[0])
			}
		}
		return d
	}
	names, known := exportsOf(file)
	if !known || slices.Contains(names, export) {
		return nil
	}
	if _, _, err := bundle.Find(root, handler, bundle.Python); err == nil {
		return nil
	}
	rel, _ := filepath.Rel(root, file)
	d := &diag.Diagnostic{Code: "missing-export", Summary: "Handler not found", Detail: fmt.Sprintf("%s has no export %q.", filepath.ToSlash(rel), export)}
	if near := diag.Nearest(export, names); near != "" {
		d.Hint = fmt.Sprintf("Did you mean %q?", strings.TrimSuffix(handler, export)+near)
	}
	return d
}
