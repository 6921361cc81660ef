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

// publish sends the diagnostics of a file as it is now. The worker calls it. It gives way to requests and to newer texts; what
// it has found out by then stays known.
func (s *Server) publish(path string) {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	doc := current.open[path]
	if doc == nil {
		return // closed meanwhile
	}
	old := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.current.open[path] != doc
	}
	params := &protocol.PublishDiagnosticsParams{
		URI: protocolURI(doc.uri), Version: protocol.NewOptional(doc.version), Diagnostics: []protocol.Diagnostic{},
	}
	done := true
	defer func() {
		if fault := recover(); fault != nil {
			s.opts.Logger.Error("diagnostics", "file", path, "fault", fault)
			return
		}
		switch {
		case done:
			s.out.notify("textDocument/publishDiagnostics", params)
		case !old(): // else the change has asked for them
			s.diagnoseSoon(path, 0)
		}
	}()
	c := &call{server: s, client: s.client, snapshot: current}
	var found diag.List
	found, done = c.diagnose(current.fresh(path), func() bool { return len(s.queue) > 0 || old() })
	for _, d := range found {
		params.Diagnostics = append(params.Diagnostics, c.diagnostic(doc, d))
	}
}

// pullDiagnostics are those of publish for an editor that asks.
func (c *call) pullDiagnostics(p *protocol.DocumentDiagnosticParams) (any, error) {
	report := &protocol.RelatedFullDocumentDiagnosticReport{FullDocumentDiagnosticReport: protocol.FullDocumentDiagnosticReport{Kind: "full", Items: []protocol.Diagnostic{}}}
	if a := c.analyse(p.TextDocument); a != nil {
		found, _ := c.diagnose(a, func() bool { return c.ctx.Err() != nil })
		for _, d := range found {
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
// files that are not there. It gives up when stop says so.
func (c *call) diagnose(a *analysis, stop func() bool) (found diag.List, done bool) {
	if a == nil || c.snapshot.opts.PreludeDir != "" && filepath.Dir(a.doc.path) == c.snapshot.opts.PreludeDir {
		return nil, true
	}
	checked, done := a.inf.CheckUntil(stop)
	if !done {
		return nil, false
	}
	found = append(slices.Clone(a.file.Errors), checked...)
	found = append(found, c.loads(a)...)
	if !c.snapshot.isPrelude(a.doc.path) {
		for i := range a.file.Statements {
			if stop() {
				return nil, false
			}
			c.handlersOf(a, i) // keeps them
			found = append(found, c.deprecated(a, i)...)
		}
		found = append(found, c.handlerProblems(a)...)
		if stop() {
			return nil, false
		}
		found = append(found, c.lint(a)...)
	}
	return found.Sorted(), true
}

// lint is what sst lint finds in a file, but for loaded names, which loads has found.
func (c *call) lint(a *analysis) diag.List {
	return slices.DeleteFunc(a.file.LintAgain(c.loadedElsewhere(a)), func(d *diag.Diagnostic) bool { return d.Code == "unused-load" })
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
	if strings.HasPrefix(filepath.Base(a.doc.path), "_") {
		return found // there to load names for others
	}
	for _, l := range a.outlined().Loads {
		for _, name := range l.Names {
			if !a.inf.Reads(name.As) {
				found = append(found, &diag.Diagnostic{
					Severity: diag.Note, Code: "unused-load", Summary: "Unused name", Detail: fmt.Sprintf("Nothing uses %q.", name.As), Span: name.Span,
				})
			}
		}
	}
	return found
}

// What is kept of a statement, and under which key.
type (
	deprecatedKey struct{} // bool: it uses nothing that is deprecated
	handlersKey   struct{} // []handlerUse
)

// deprecated reports uses of what the CDK has deprecated in a statement.
func (c *call) deprecated(a *analysis, i int) diag.List {
	var found diag.List
	looked := false
	look := func() bool {
		looked = true
		for _, stmt := range a.file.Statements[i].Stmts() {
			syntax.Walk(stmt, func(n syntax.Node) bool {
				if call, ok := n.(*syntax.CallExpr); ok {
					found = append(found, deprecatedKeywords(a, call)...)
				}
				if dot, ok := n.(*syntax.DotExpr); ok && strings.HasPrefix(interp.DottedName(dot), "cdk.") {
					found = append(found, deprecatedMember(a, dot)...)
				}
				return true
			})
		}
		return len(found) == 0
	}
	if !interp.Get(a.inf.NotesOf(i), deprecatedKey{}, look) && !looked {
		look()
	}
	return found
}

// deprecatedMember reports a member of a module or class that the CDK has deprecated.
func deprecatedMember(a *analysis, dot *syntax.DotExpr) diag.List {
	name := dot.Name
	at := diag.Position{File: a.doc.path, Line: int(name.NamePos.Line), Col: int(name.NamePos.Col)}
	owner := a.inf.Shape(dot.X, at)
	if owner == nil {
		return nil
	}
	reason := builtins.Deprecated(owner, name.Name)
	if reason == "" {
		return nil
	}
	end := at
	end.Col += len(name.Name)
	return diag.List{&diag.Diagnostic{
		Severity: diag.Note, Code: "deprecated", Summary: "Deprecated", Detail: fmt.Sprintf("%s.%s is deprecated: %s", owner.Kind(), name.Name, reason),
		Span: diag.Span{Start: at, End: end}, Hint: instead(reason, owner),
	}}
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
		switch name := replacement(reason); {
		case takesTheSame(fn.Signature(), id.Name, name):
			d.Hint = fmt.Sprintf("Did you mean %q?", name)
		case fn.Signature() != nil && slices.ContainsFunc(fn.Signature().Params, func(p interp.Param) bool { return p.Name == name }):
			d.Hint = fmt.Sprintf("It is %s in Starlark.", name)
		}
		found = append(found, d)
	}
	return found
}

// takesTheSame says whether what one parameter is given can be given to another: else a new name for it is no repair.
func takesTheSame(sig *interp.Signature, old, name string) bool {
	if sig == nil {
		return false
	}
	types := map[string]string{}
	for _, p := range sig.Params {
		if p.Type != nil {
			types[p.Name] = p.Type.String()
		}
	}
	return name != old && types[name] != "" && types[name] == types[old]
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

// handlerUse is a handler in a statement.
type handlerUse struct {
	literal *syntax.Literal
	handler string
}

// handlers visits the handler strings of a file.
func (c *call) handlers(a *analysis, visit func(*syntax.Literal, string)) {
	for i := range a.file.Statements {
		list := c.handlersOf(a, i)
		if len(list) == 0 {
			continue
		}
		a.file.Statements[i].Stmts() // puts their places right
		for _, h := range list {
			visit(h.literal, h.handler)
		}
	}
}

// handlersOf are the handler strings of a statement.
func (c *call) handlersOf(a *analysis, i int) []handlerUse {
	return interp.Get(a.inf.NotesOf(i), handlersKey{}, func() []handlerUse {
		var list []handlerUse
		for _, stmt := range a.file.Statements[i].Stmts() {
			syntax.Walk(stmt, func(n syntax.Node) bool {
				if call, ok := n.(*syntax.CallExpr); ok {
					handlersOfCall(a, call, func(l *syntax.Literal, handler string) { list = append(list, handlerUse{l, handler}) })
				}
				return true
			})
		}
		return list
	})
}

// handlersOfCall visits the handler strings among the arguments of a call of a dotted name.
func handlersOfCall(a *analysis, call *syntax.CallExpr, visit func(*syntax.Literal, string)) {
	callee := interp.DottedName(call.Fn)
	if callee == "" {
		return
	}
	start, _ := call.Fn.Span()
	at := diag.Position{File: a.doc.path, Line: int(start.Line), Col: int(start.Col)}
	fn := a.inf.Shape(call.Fn, at)
	if fn == nil || fn.Signature() == nil {
		return
	}
	cur := &cursor{a: a, scope: a.inf, lookup: at}
	position := 0
	for _, arg := range call.Args {
		f := &frame{callee: callee, position: position}
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
		cur.handlersIn(want{name: p.Name, doc: cur.resolveDoc(callee, p.Doc)}, value, visit)
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
