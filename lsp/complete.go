package lsp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"go.lsp.dev/protocol"

	"sst/builtins"
	interp "sst/starlark"
	"sst/starlark/scan"
)

// maxItems bounds a reply; what is left out comes when more is typed.
const maxItems = 200

// candidate is something to complete.
type candidate struct {
	label   string
	insert  string // "" = label
	snippet string // for editors that have snippets; "" = insert
	kind    protocol.CompletionItemKind
	detail  string
	rank    int // smaller is first
	old     bool
	doc     func() (builtins.About, bool) // nil = none
	fill    func(*candidate)              // completes one that is offered; nil = it is complete
}

// completions collects candidates for one place.
type completions struct {
	call       *call
	c          *cursor
	typed      string // what the candidates must match
	start, end int    // offsets of what they replace
	list       []candidate
}

func (r *completions) add(c candidate) { r.list = append(r.list, c) }

func (c *call) completion(p *protocol.CompletionParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	r := c.complete(a, a.doc.offset(p.Position, c.client.utf8))
	if by := p.Context.TriggerCharacter; by != nil && *by == ":" && !r.c.inString { // it goes on a name inside strings alone: "s3:"
		return nil, nil
	}
	return r.reply(), nil
}

// complete finds the candidates at an offset.
func (c *call) complete(a *analysis, offset int) *completions {
	cur := c.snapshot.at(a, offset)
	r := &completions{call: c, c: cur}
	r.typed, r.start = cur.prefix()
	r.end = offset
	switch {
	case cur.inComment:
	case cur.inString:
		r.strings()
	case cur.next > 0 && r.afterDot():
	case r.defining():
	default:
		r.expression()
	}
	return r
}

// token is the index of the first token at or behind the prefix.
func (r *completions) token() int {
	i := r.c.next
	for i > 0 && r.c.start+r.c.tokens[i-1].End > r.start {
		i--
	}
	return i
}

// afterDot completes members.
func (r *completions) afterDot() bool {
	i := r.token()
	if !r.c.is(i-1, ".") {
		return false
	}
	owner := r.c.dotted(i)
	if owner == "" {
		return true
	}
	shape := r.c.shapeOf(owner)
	if shape == nil {
		return true
	}
	names := shape.Members()
	if k, ok := shape.(interface{ Known() []string }); ok {
		names = k.Known()
	}
	wanted := r.c.wanted()
	values := builtins.Values(wanted.typ)
	for _, name := range names {
		if strings.HasPrefix(name, "_") && !strings.HasPrefix(r.typed, "_") {
			continue
		}
		r.member(shape, owner, name, values)
	}
	return true
}

func (r *completions) member(owner interp.Shape, written, name string, values []string) {
	c := candidate{label: name, kind: protocol.CompletionItemKindProperty, rank: 3, doc: func() (builtins.About, bool) { return builtins.DescribeMember(owner, name) }}
	if !matches(r.typed, name) {
		return
	}
	shape, _ := owner.Member(name)
	if slices.Contains(values, written+"."+name) {
		c.rank = 0
	}
	switch {
	case c.rank == 0:
	case r.used(name):
		c.rank = 2
	case strings.HasPrefix(name, "Cfn"): // the raw resources are rarely meant
		c.rank = 4
	}
	if shape != nil {
		if sig := shape.Signature(); sig != nil {
			c.kind = protocol.CompletionItemKindMethod
			c.detail = short(sig)
			c.snippet = r.callSnippet(name, sig)
		}
		switch builtins.KindOf(shape) {
		case "module":
			c.kind, c.snippet = protocol.CompletionItemKindModule, ""
		case "enum":
			c.kind = protocol.CompletionItemKindEnum
		case "interface":
			c.kind = protocol.CompletionItemKindInterface
		case "struct", "class":
			if name != "" && name[0] >= 'A' && name[0] <= 'Z' && strings.ToUpper(name) != name {
				c.kind = protocol.CompletionItemKindClass
			}
		case "construct":
			c.kind = protocol.CompletionItemKindClass
		}
	}
	if strings.ToUpper(name) == name && name[0] >= 'A' && name[0] <= 'Z' && c.kind == protocol.CompletionItemKindProperty {
		c.kind = protocol.CompletionItemKindEnumMember
	}
	r.add(c)
}

// nearBytes is how far around the cursor is looked for what is used already.
const nearBytes = 32 << 10

// used reports whether a member of this name is used near the cursor, but for the statement that is being written: who has
// written cdk.aws_sns means it rather than the hundred modules before it.
func (r *completions) used(name string) bool {
	src := r.c.a.doc.src
	begin, end := r.c.start, min(len(src), r.c.start+len(r.c.text))
	return hasMember(src[max(0, begin-nearBytes):begin], name) || hasMember(src[end:min(len(src), end+nearBytes)], name)
}

func hasMember(src []byte, name string) bool {
	for {
		i := bytes.Index(src, []byte("."+name))
		if i < 0 {
			return false
		}
		src = src[i+1+len(name):]
		if len(src) == 0 || !scan.IsNameByte(src[0]) {
			return true
		}
	}
}

// callSnippet is a call with what it must be given.
func (r *completions) callSnippet(name string, sig *interp.Signature) string {
	at := r.c.offset - r.c.start
	if at < len(r.c.text) && r.c.text[at] == '(' {
		return ""
	}
	var args []string
	for _, p := range sig.Params {
		if !p.Required {
			continue
		}
		n := len(args) + 1
		arg := fmt.Sprintf("${%d:%s}", n, p.Name)
		switch {
		case p.Name == "id":
			arg = fmt.Sprintf("\"${%d:Id}\"", n)
		case p.KeywordOnly:
			arg = fmt.Sprintf("%s = ${%d}", p.Name, n)
		}
		args = append(args, arg)
	}
	if len(args) == 0 {
		if len(sig.Params) == 0 && !sig.Variadic && !sig.Open {
			return name + "()"
		}
		return name + "($0)"
	}
	return name + "(" + strings.Join(args, ", ") + "$0)"
}

// defining reports whether a new name is being written, which nothing completes.
func (r *completions) defining() bool {
	i := r.token()
	return r.c.is(i-1, "def") || r.c.is(i-1, "for") || r.c.is(i-1, "lambda") || r.c.is(i-2, "lambda") && r.c.is(i-1, ",") ||
		r.typed == "" && r.inNumber()
}

// inNumber reports whether the cursor stands in or behind a number.
func (r *completions) inNumber() bool {
	t := r.c.token(r.c.next)
	return t != nil && t.Kind == scan.Number && r.c.start+t.Start < r.c.offset && r.c.offset <= r.c.start+t.End
}

// expression completes keywords, values and names.
func (r *completions) expression() {
	i := r.token()
	f := r.c.innermost()
	wanted := r.c.wanted()
	atArgument := f != nil && (i == f.argument)
	if f != nil && f.callee == "load" && f.bracket == '(' {
		r.loadNames()
		return
	}
	if f != nil && f.callee != "" && f.bracket == '(' && atArgument {
		r.keywords(f)
	}
	if wanted.key && atArgument {
		r.keys(wanted, f.given, `"`)
		return
	}
	if operandExpected := i == 0 || !r.c.operand(i-1); !operandExpected && !r.lineStart(i) {
		r.words([]string{"and", "or", "in", "not", "if", "else", "for"})
		return
	}
	for _, v := range builtins.Values(wanted.typ) {
		r.value(v)
	}
	for _, v := range wanted.literals() {
		r.add(candidate{label: `"` + v + `"`, kind: protocol.CompletionItemKindValue, rank: 1})
	}
	if wanted.handler() {
		r.handlers(`"`)
	}
	r.names()
	if f == nil && r.lineStart(i) {
		r.statements()
	} else {
		r.words([]string{"not", "lambda"})
	}
}

// lineStart reports whether token i begins a line of the text.
func (r *completions) lineStart(i int) bool {
	if i == 0 || len(r.c.frames) > 0 {
		return i == 0
	}
	line := r.c.a.doc.lineAt(r.start)
	return r.c.a.doc.lineAt(r.c.start+r.c.tokens[i-1].Start) < line
}

// keywords completes the keywords of a call that are not given yet, required ones first.
func (r *completions) keywords(f *frame) {
	fn := r.c.shapeOf(f.callee)
	if fn == nil {
		return
	}
	sig := fn.Signature()
	if sig == nil {
		return
	}
	assigned := r.followed("=")
	var required []string
	for i, p := range sig.Params {
		if i < sig.PositionalOnly || i < f.position && !p.KeywordOnly || slices.Contains(f.given, p.Name) || !p.KeywordOnly && (p.Name == "scope" || p.Name == "id") {
			continue
		}
		c := candidate{
			label: p.Name, insert: p.Name + " = ", kind: protocol.CompletionItemKindField, rank: 1,
			doc: func() (builtins.About, bool) { return builtins.DescribeParam(fn, p.Name) },
		}
		if p.Type != nil {
			c.detail = p.Type.String()
		}
		if p.Required {
			c.rank = 0
			c.detail = strings.TrimSpace(c.detail + " (required)")
			if p.KeywordOnly {
				required = append(required, p.Name)
			}
		}
		if builtins.DeprecatedParam(fn, p.Name) != "" {
			c.old = true
			c.rank = 2
		}
		if assigned {
			c.insert = p.Name
		}
		r.add(c)
	}
	if len(required) > 1 && r.call.client.snippets && !assigned {
		var parts []string
		for i, name := range required {
			parts = append(parts, fmt.Sprintf("%s = ${%d}", name, i+1))
		}
		r.add(candidate{label: strings.Join(required, ", "), snippet: strings.Join(parts, ", "), insert: required[0] + " = ", kind: protocol.CompletionItemKindSnippet, detail: "all required keywords"})
	}
}

// followed reports whether an operator follows the name at the cursor.
func (r *completions) followed(op string) bool {
	i := r.c.next
	for i < len(r.c.tokens) && r.c.start+r.c.tokens[i].Start < r.c.offset {
		i++
	}
	return r.c.is(i, op)
}

// keys completes the keys of a dict.
func (r *completions) keys(w want, given []string, quote string) {
	if w.route() {
		r.routes(quote)
		return
	}
	for _, p := range w.fields {
		if slices.Contains(given, p.Name) {
			continue
		}
		c := candidate{label: quote + p.Name + quote, insert: quote + p.Name + quote + ": ", kind: protocol.CompletionItemKindProperty, rank: 1}
		if quote == "" || r.followed(":") {
			c.insert = c.label
		}
		if p.Type != nil {
			c.detail = p.Type.String()
		}
		if p.Required {
			c.rank = 0
			c.detail = strings.TrimSpace(c.detail + " (required)")
		}
		if w.about != nil {
			c.doc = func() (builtins.About, bool) { return w.about(p.Name) }
		}
		r.add(c)
	}
}

func (r *completions) value(v string) {
	c := candidate{label: v, kind: protocol.CompletionItemKindEnumMember, rank: 0}
	if v == "True" || v == "False" {
		c.kind = protocol.CompletionItemKindValue
	} else if dot := strings.LastIndexByte(v, '.'); dot > 0 {
		owner, name := v[:dot], v[dot+1:]
		c.doc = func() (builtins.About, bool) {
			if shape := r.c.shapeOf(owner); shape != nil {
				return builtins.DescribeMember(shape, name)
			}
			return builtins.About{}, false
		}
	}
	r.add(c)
}

// names completes what is in scope.
func (r *completions) names() {
	env := r.call.snapshot.env(r.c.a)
	for _, name := range r.c.scope.Visible(r.c.lookup) {
		if !matches(r.typed, name) {
			continue
		}
		_, predeclared := env.Globals[name]
		c := candidate{label: name, kind: protocol.CompletionItemKindVariable, rank: 2}
		switch {
		case r.c.scope.Defines(name):
			c.rank = 3
		case predeclared:
			c.rank, c.kind = 4, protocol.CompletionItemKindModule
		case isUniverse(name):
			c.rank, c.kind = 5, protocol.CompletionItemKindFunction
		}
		c.fill = func(c *candidate) {
			shape := r.c.shapeOf(name)
			if shape == nil {
				return
			}
			c.detail = shape.Kind()
			if sig := shape.Signature(); sig != nil {
				c.kind = protocol.CompletionItemKindFunction
				c.detail = short(sig)
				c.snippet = r.callSnippet(name, sig)
			}
		}
		c.doc = func() (builtins.About, bool) { return r.call.aboutName(r.c, name) }
		r.add(c)
	}
}

func (r *completions) words(words []string) {
	for _, w := range words {
		r.add(candidate{label: w, kind: protocol.CompletionItemKindKeyword, rank: 6})
	}
}

// statements completes what begins a line.
func (r *completions) statements() {
	r.add(candidate{label: "def", snippet: "def ${1:name}(${2}):\n    ${0:pass}", kind: protocol.CompletionItemKindKeyword, rank: 6})
	r.add(candidate{label: "load", snippet: `load("${1:./}", "$0")`, kind: protocol.CompletionItemKindKeyword, rank: 6})
	r.add(candidate{label: "for", snippet: "for ${1:x} in ${2:list}:\n    ${0:pass}", kind: protocol.CompletionItemKindKeyword, rank: 6})
	r.words([]string{"if", "elif", "else", "return", "pass", "break", "continue"})
}

// short is a signature in one line.
func short(sig *interp.Signature) string {
	var parts []string
	for _, p := range sig.Params {
		if p.Required {
			parts = append(parts, p.Name)
		}
	}
	if len(parts) < len(sig.Params) || sig.Open || sig.Variadic {
		parts = append(parts, "...")
	}
	text := "(" + strings.Join(parts, ", ") + ")"
	if sig.Result != nil {
		text += " -> " + sig.Result.Kind()
	}
	return text
}

// matches reports whether the letters of typed stand in name in this order, the first at
// the beginning of one of its words; case and underscores aside.
func matches(typed, name string) bool { return typed == "" || quality(typed, name) < 9 }

// quality is how well typed stands for name: 0 best, 9 not at all.
func quality(typed, name string) int {
	name = strings.Trim(name, `"`)
	switch {
	case typed == "" || strings.HasPrefix(name, typed):
		return 0
	}
	t, n := fold(typed), fold(name)
	switch {
	case strings.HasPrefix(n, t):
		return 1
	case strings.Contains(n, t):
		return 2
	}
	for i := 0; i < len(n) && t != ""; i++ {
		if n[i] == t[0] {
			t = t[1:]
		}
	}
	if t == "" && n[0] == fold(typed)[0] {
		return 3
	}
	return 9
}

func fold(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "_", ""))
}

// reply ranks the candidates and makes the list.
func (r *completions) reply() *protocol.CompletionList {
	type ranked struct {
		candidate
		q int
	}
	var kept []ranked
	for _, c := range r.list {
		if q := quality(r.typed, c.label); q < 9 {
			kept = append(kept, ranked{c, q})
		}
	}
	sort.SliceStable(kept, func(i, j int) bool {
		a, b := &kept[i], &kept[j]
		switch {
		case (a.q > 1) != (b.q > 1):
			return a.q < b.q
		case a.rank != b.rank:
			return a.rank < b.rank
		case a.q != b.q:
			return a.q < b.q
		}
		return a.label < b.label
	})
	list := &protocol.CompletionList{Items: []protocol.CompletionItem{}, IsIncomplete: len(kept) > maxItems}
	kept = kept[:min(len(kept), maxItems)]
	area := r.c.a.doc.span(r.start, r.end, r.call.client.utf8)
	if r.call.client.defaults {
		list.ItemDefaults = &protocol.CompletionItemDefaults{EditRange: &area}
	}
	seen := map[string]bool{}
	docs := make([]func() (builtins.About, bool), 0, len(kept))
	for _, c := range kept {
		if seen[c.label] {
			continue
		}
		seen[c.label] = true
		if c.fill != nil {
			c.fill(&c.candidate)
		}
		docs = append(docs, c.doc)
		list.Items = append(list.Items, r.item(c.candidate, area, len(docs)-1))
	}
	number := r.call.server.lists.keep(docs)
	for i := range list.Items {
		list.Items[i].Data = protocol.LSPAny(fmt.Sprintf("[%d,%d]", number, i))
	}
	return list
}

func (r *completions) item(c candidate, area protocol.Range, index int) protocol.CompletionItem {
	item := protocol.CompletionItem{Label: c.label, Kind: c.kind, SortText: protocol.NewOptional(fmt.Sprintf("%04d", index))}
	if c.detail != "" {
		item.Detail = protocol.NewOptional(c.detail)
	}
	if c.old {
		item.Tags = []protocol.CompletionItemTag{protocol.CompletionItemTagDeprecated}
	}
	text := c.insert
	if text == "" {
		text = c.label
	}
	if c.snippet != "" && r.call.client.snippets {
		text = c.snippet
		item.InsertTextFormat = protocol.InsertTextFormatSnippet
	}
	if r.call.client.defaults {
		if text != c.label {
			item.TextEditText = protocol.NewOptional(text)
		}
	} else {
		item.TextEdit = &protocol.TextEdit{Range: area, NewText: text}
	}
	return item
}

// maxLists is how many lists can still be asked about: the one that is shown and the one that replaces it. Each holds on
// to all that was known of the file when it was made, which is megabytes for a long one.
const maxLists = 2

// completionLists remembers the documentation of the last lists, for resolve.
type completionLists struct {
	mu    sync.Mutex
	first int
	lists [][]func() (builtins.About, bool)
}

func (l *completionLists) keep(docs []func() (builtins.About, bool)) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists = append(l.lists, docs)
	if len(l.lists) > maxLists {
		l.lists = l.lists[1:]
		l.first++
	}
	return l.first + len(l.lists) - 1
}

func (l *completionLists) get(list, item int) func() (builtins.About, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if list -= l.first; list < 0 || list >= len(l.lists) || item < 0 || item >= len(l.lists[list]) {
		return nil
	}
	return l.lists[list][item]
}

// resolve adds the documentation to an item.
func (c *call) resolve(p *protocol.CompletionItem) (any, error) {
	var at [2]int
	if json.Unmarshal(p.Data, &at) != nil {
		return p, nil
	}
	doc := c.server.lists.get(at[0], at[1])
	if doc == nil {
		return p, nil
	}
	if about, ok := doc(); ok {
		p.Documentation = c.markup(text(about))
	}
	return p, nil
}

// markup is text as the editor wants it.
func (c *call) markup(text string) *protocol.MarkupContent {
	if c.client.markdown {
		return &protocol.MarkupContent{Kind: protocol.MarkupKindMarkdown, Value: text}
	}
	return &protocol.MarkupContent{Kind: protocol.MarkupKindPlainText, Value: text}
}

// analyse is what is known of a document of a request, nil when it is not known.
func (c *call) analyse(id protocol.TextDocumentIdentifier) *analysis {
	path, ok := pathOf(string(id.URI))
	if !ok {
		return nil
	}
	return c.snapshot.fresh(path)
}
