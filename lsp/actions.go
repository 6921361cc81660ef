package lsp

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.lsp.dev/protocol"
	"go.lsp.dev/uri"
	"go.starlark.net/syntax"

	"sst/builtins"
	"sst/runtime/bundle"
	interp "sst/starlark"
	"sst/starlark/diag"
)

var meant = regexp.MustCompile(`Did you mean "(.*)"\?`)

func (c *call) codeAction(p *protocol.CodeActionParams) (any, error) {
	actions := []protocol.CodeAction{}
	a := c.analyse(p.TextDocument)
	if a == nil {
		return actions, nil
	}
	quick := func(kind protocol.CodeActionKind) bool { return kind == "" || kind == protocol.CodeActionKindQuickFix }
	if len(p.Context.Only) > 0 && !slices.ContainsFunc(p.Context.Only, quick) {
		return actions, nil
	}
	from, to := a.doc.offset(p.Range.Start, c.client.utf8), a.doc.offset(p.Range.End, c.client.utf8)
	found, _ := c.diagnose(a, func() bool { return c.ctx.Err() != nil })
	for _, d := range found {
		area := a.doc.rangeOf(d.Span, c.client.utf8)
		start, end := a.doc.offset(area.Start, c.client.utf8), a.doc.offset(area.End, c.client.utf8)
		if end < from || start > to {
			continue
		}
		actions = append(actions, c.fixes(a, d, start, end)...)
	}
	return actions, nil
}

// fixes are the changes that settle a diagnostic.
func (c *call) fixes(a *analysis, d *diag.Diagnostic, start, end int) []protocol.CodeAction {
	var actions []protocol.CodeAction
	add := func(title string, edit *protocol.WorkspaceEdit, preferred bool) {
		kind := protocol.CodeActionKindQuickFix
		action := protocol.CodeAction{Title: title, Kind: &kind, Diagnostics: []protocol.Diagnostic{c.diagnostic(a.doc, d)}, Edit: edit}
		if preferred {
			action.IsPreferred = &preferred
		}
		actions = append(actions, action)
	}
	if m := meant.FindStringSubmatch(d.Hint); m != nil && end > start {
		text := m[1]
		if quote := a.doc.src[start]; quote == '"' || quote == '\'' {
			text = string(quote) + text + string(quote)
		}
		add(fmt.Sprintf("Change to %s", text), c.edit(a.doc, start, end, text), true)
	}
	switch d.Code {
	case "missing-parameter":
		if title, edit := c.addRequired(a, start); edit != nil {
			add(title, edit, true)
		}
	case "missing-field":
		if title, edit := c.addFields(a, start, d.Detail); edit != nil {
			add(title, edit, true)
		}
	case "missing-handler":
		if title, edit := c.createHandler(a, start, end); edit != nil {
			add(title, edit, false)
		}
	case "missing-export":
		if title, edit := c.addExport(a, start, end); edit != nil {
			add(title, edit, false)
		}
	case "unused-load":
		add("Remove the unused name", c.removeLoad(a, start), true)
	}
	return actions
}

func (c *call) edit(doc *document, start, end int, text string) *protocol.WorkspaceEdit {
	return &protocol.WorkspaceEdit{Changes: map[uri.URI][]protocol.TextEdit{
		protocolURI(doc.uri): {{Range: doc.span(start, end, c.client.utf8), NewText: text}},
	}}
}

// addRequired adds the keywords that the call at an offset must have.
func (c *call) addRequired(a *analysis, start int) (string, *protocol.WorkspaceEdit) {
	at := a.doc.place(start)
	for _, call := range a.outlined().Calls {
		if call.Span.Start.Compare(at) > 0 || call.Span.End.Compare(at) <= 0 {
			continue
		}
		fn := a.inf.Shape(call.Expr.Fn, call.Span.Start)
		if fn == nil || fn.Signature() == nil {
			continue
		}
		sig := fn.Signature()
		given := map[string]bool{}
		position := 0
		for _, arg := range call.Expr.Args {
			if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
				if id, ok := b.X.(*syntax.Ident); ok {
					given[id.Name] = true
					continue
				}
			}
			if position < len(sig.Params) {
				given[sig.Params[position].Name] = true
			}
			position++
		}
		var parts, names []string
		for i, p := range sig.Params {
			if p.Required && !given[p.Name] && i >= sig.PositionalOnly {
				names = append(names, p.Name)
				parts = append(parts, p.Name+" = "+placeholder(p))
			}
		}
		if parts == nil {
			return "", nil
		}
		closing := a.doc.offsetOf(call.Range.End.Line, call.Range.End.Col) - 1
		return "Add " + strings.Join(names, ", "), c.insertElements(a.doc, closing, parts)
	}
	return "", nil
}

// usualValues are taken before the first of the alphabet.
var usualValues = []string{"cdk.aws_lambda.Runtime.NODEJS_24_X", "cdk.aws_s3.StorageClass.INFREQUENT_ACCESS", "cdk.aws_dynamodb.AttributeType.STRING"}

// placeholder is a value to begin with.
func placeholder(p interp.Param) string {
	if values := builtins.Values(p.Type); len(values) > 0 {
		for _, usual := range usualValues {
			if slices.Contains(values, usual) {
				return usual
			}
		}
		return values[0]
	}
	kind := ""
	if p.Type != nil {
		kind = p.Type.String()
	}
	if p.Type == nil {
		return "None"
	}
	if _, ok := p.Type.(interp.StructType); ok {
		return "{}"
	}
	switch {
	case strings.HasPrefix(kind, "list"):
		return "[]"
	case strings.HasPrefix(kind, "dict"):
		return "{}"
	case strings.HasPrefix(kind, "string"):
		return `""`
	case strings.HasPrefix(kind, "number"), strings.HasPrefix(kind, "int"):
		return "0"
	}
	return "None"
}

// addFields adds the keys that a dict must have; their names stand quoted in the detail.
func (c *call) addFields(a *analysis, start int, detail string) (string, *protocol.WorkspaceEdit) {
	_, after, ok := strings.Cut(detail, " needs ")
	cur := c.snapshot.at(a, start+1)
	f := cur.innermost()
	if !ok || f == nil || f.bracket != '{' {
		return "", nil
	}
	var parts, names []string
	w := cur.wanted()
	for _, m := range quoted.FindAllStringSubmatch(after, -1) {
		value := "None"
		for _, p := range w.fields {
			if p.Name == m[1] {
				value = placeholder(p)
			}
		}
		names = append(names, m[1])
		parts = append(parts, fmt.Sprintf("%q: %s", m[1], value))
	}
	depth := 0
	for i := f.open; i < len(cur.tokens); i++ {
		if cur.opens(i) {
			depth++
		} else if cur.closes(i) {
			if depth--; depth == 0 {
				return "Add " + strings.Join(names, ", "), c.insertElements(a.doc, cur.start+cur.tokens[i].Start, parts)
			}
		}
	}
	return "", nil
}

// insertElements puts elements before the closing bracket at an offset, on lines of their own when the others are.
func (c *call) insertElements(doc *document, closing int, parts []string) *protocol.WorkspaceEdit {
	body := bytes.TrimRight(doc.src[:closing], " \t\r\n")
	at := len(body)
	last := body[at-1]
	first := last == '(' || last == '{' || last == '['
	broken := bytes.ContainsAny(doc.src[at:closing], "\n")
	text := strings.Join(parts, ", ")
	switch {
	case broken && !first:
		line := doc.lines[doc.lineAt(at-1)]
		indent := doc.src[line : line+len(doc.src[line:at])-len(bytes.TrimLeft(doc.src[line:at], " \t"))]
		text = "\n" + string(indent) + strings.Join(parts, ",\n"+string(indent)) + ","
		if last != ',' {
			text = "," + text
		}
	case first:
	case last == ',':
		text = " " + text
	default:
		text = ", " + text
	}
	return c.edit(doc, at, at, text)
}

// createHandler makes the file of a handler.
func (c *call) createHandler(a *analysis, start, end int) (string, *protocol.WorkspaceEdit) {
	handler := stringValue(string(a.doc.src[start:end]))
	slash := strings.LastIndexByte(handler, '/')
	dot := strings.LastIndexByte(handler, '.')
	if !c.client.creates || dot <= slash+1 || !isName(handler[dot+1:]) || strings.Contains(handler, "..") || strings.HasPrefix(handler, "/") {
		return "", nil
	}
	extension := commonExtension(a.root)
	path := filepath.Join(a.root, filepath.FromSlash(handler[:dot])+extension)
	target := protocolURI(uriOf(path))
	ignore := true
	edit := &protocol.WorkspaceEdit{DocumentChanges: []protocol.DocumentChange{
		&protocol.CreateFile{ResourceOperation: protocol.ResourceOperation{Kind: "create"}, Kind: "create", URI: target, Options: &protocol.CreateFileOptions{IgnoreIfExists: &ignore}},
		&protocol.TextDocumentEdit{
			TextDocument: protocol.OptionalVersionedTextDocumentIdentifier{TextDocumentIdentifier: protocol.TextDocumentIdentifier{URI: target}},
			Edits:        []protocol.TextDocumentEditElement{&protocol.TextEdit{NewText: handlerText(handler[dot+1:], extension)}},
		},
	}}
	return "Create " + handler[:dot] + extension, edit
}

// commonExtension is that of most source files of the project.
func commonExtension(root string) string {
	count := map[string]int{}
	best := ".ts"
	for _, f := range handlerFiles(root) {
		extension := filepath.Ext(f.file)
		count[extension]++
		if count[extension] > count[best] {
			best = extension
		}
	}
	return best
}

func handlerText(name, extension string) string {
	switch extension {
	case ".py":
		return fmt.Sprintf("def %s(event, context):\n    return {\"statusCode\": 200, \"body\": \"ok\"}\n", name)
	case ".ts", ".mts", ".tsx":
		return fmt.Sprintf("export async function %s(event: unknown) {\n  return { statusCode: 200, body: \"ok\" };\n}\n", name)
	case ".cjs", ".cts":
		return fmt.Sprintf("exports.%s = async function (event) {\n  return { statusCode: 200, body: \"ok\" };\n};\n", name)
	}
	return fmt.Sprintf("export async function %s(event) {\n  return { statusCode: 200, body: \"ok\" };\n}\n", name)
}

// addExport adds a function to the file of a handler.
func (c *call) addExport(a *analysis, start, end int) (string, *protocol.WorkspaceEdit) {
	handler := stringValue(string(a.doc.src[start:end]))
	file, export, err := bundle.Find(a.root, handler, bundle.Node)
	if err != nil || !isName(export) {
		return "", nil
	}
	doc := c.snapshot.document(file)
	if doc == nil {
		return "", nil
	}
	text := "\n" + handlerText(export, filepath.Ext(file))
	if len(doc.src) > 0 && doc.src[len(doc.src)-1] != '\n' {
		text = "\n" + text
	}
	return fmt.Sprintf("Add %s to %s", export, c.snapshot.shown(a.root, file)), c.edit(doc, len(doc.src), len(doc.src), text)
}

// removeLoad takes a name out of a load statement, and the statement when it was the only one.
func (c *call) removeLoad(a *analysis, start int) *protocol.WorkspaceEdit {
	cur := c.snapshot.at(a, start)
	i := cur.touching(start)
	f := cur.frameOf(i)
	closing := i
	for closing < len(cur.tokens) && !cur.closes(closing) {
		closing++
	}
	if f == nil || closing == len(cur.tokens) {
		return nil
	}
	first := i
	if cur.is(i-1, "=") {
		first = i - 2
	}
	from, to := cur.tokens[first].Start, cur.tokens[i].End
	switch {
	case cur.is(i+1, ",") && !cur.closes(i+2):
		to = cur.tokens[i+2].Start
	case cur.is(first-1, ",") && first-1 > f.open+2:
		from = cur.tokens[first-1].Start
	default: // the only name
		line := a.doc.lineAt(cur.start + cur.tokens[closing].Start)
		end := len(a.doc.src)
		if line+1 < len(a.doc.lines) {
			end = a.doc.lines[line+1]
		}
		return c.edit(a.doc, a.doc.lines[a.doc.lineAt(cur.start+cur.tokens[0].Start)], end, "")
	}
	return c.edit(a.doc, cur.start+from, cur.start+to, "")
}
