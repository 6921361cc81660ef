package lsp

import (
	"go.lsp.dev/protocol"

	"sst/starlark/scan"
)

var (
	tokenTypes     = []string{"namespace", "class", "function", "method", "property", "variable", "parameter", "keyword", "string", "number", "comment", "enumMember"}
	tokenModifiers = []string{"definition", "defaultLibrary", "readonly"}
)

const (
	tokenNamespace = iota
	tokenClass
	tokenFunction
	tokenMethod
	tokenProperty
	tokenVariable
	tokenParameter
	tokenKeyword
	tokenString
	tokenNumber
	tokenComment
	tokenEnumMember

	modDefinition     = 1
	modDefaultLibrary = 2
	modReadonly       = 4
)

func (c *call) semanticTokens(p *protocol.SemanticTokensParams) (any, error) {
	return c.tokens(p.TextDocument, nil)
}

func (c *call) semanticTokensRange(p *protocol.SemanticTokensRangeParams) (any, error) {
	return c.tokens(p.TextDocument, &p.Range)
}

// tokens colours the text by its tokens, so that it does so in broken text too.
func (c *call) tokens(id protocol.TextDocumentIdentifier, area *protocol.Range) (any, error) {
	a := c.analyse(id)
	if a == nil {
		return nil, nil
	}
	doc := a.doc
	from, to := 0, len(doc.src)
	if area != nil {
		from, to = doc.offset(area.Start, c.client.utf8), doc.offset(area.End, c.client.utf8)
	}
	data := make([]uint32, 0, (to-from)/4)
	var before protocol.Position
	all := scan.Tokens(doc.src)
	code := make([]int, 0, len(all))
	for i := range all {
		switch all[i].Kind {
		case scan.Space, scan.Newline, scan.Joiner:
		default:
			code = append(code, i)
		}
	}
	env := c.snapshot.env(a).Globals
	depth := 0
	for n, i := range code {
		t := all[i]
		if t.Kind == scan.Op {
			switch doc.src[t.Start] {
			case '(', '[', '{':
				depth++
			case ')', ']', '}':
				depth = max(depth-1, 0)
			}
		}
		if t.End <= from || t.Start >= to {
			continue
		}
		kind, modifiers := tokenVariable, uint32(0)
		switch t.Kind {
		case scan.Op:
			continue
		case scan.Comment:
			kind = tokenComment
		case scan.String:
			kind = tokenString
		case scan.Number:
			kind = tokenNumber
		case scan.Name:
			is := func(n int, text string) bool { return n >= 0 && n < len(code) && all[code[n]].Is(doc.src, text) }
			name := t.Text(doc.src)
			upper := name[0] >= 'A' && name[0] <= 'Z'
			_, predeclared := env[name]
			switch {
			case is(n-1, "."):
				switch {
				case upper && isUpper(name) && len(name) > 1:
					kind, modifiers = tokenEnumMember, modReadonly
				case upper:
					kind = tokenClass
				case is(n+1, "("):
					kind = tokenMethod
				default:
					kind = tokenProperty
				}
			case name == "load" && is(n+1, "("), scan.IsKeyword(name), name == "True", name == "False", name == "None":
				kind = tokenKeyword
			case is(n-1, "def"):
				kind, modifiers = tokenFunction, modDefinition
			case depth > 0 && is(n+1, "=") && (is(n-1, "(") || is(n-1, ",")):
				kind = tokenParameter
			case predeclared:
				kind, modifiers = tokenNamespace, modDefaultLibrary
				if is(n+1, "(") {
					kind = tokenFunction
				}
			case is(n+1, "("):
				kind = tokenFunction
				if isUniverse(name) {
					modifiers = modDefaultLibrary
				}
			}
		}
		// A token of several lines is several tokens of the protocol.
		for start := t.Start; start < t.End; {
			line := doc.lineAt(start)
			end := min(t.End, doc.lineEnd(line))
			if end > start {
				p, q := doc.position(start, c.client.utf8), doc.position(end, c.client.utf8)
				character := p.Character
				if p.Line == before.Line {
					character -= before.Character
				}
				data = append(data, p.Line-before.Line, character, q.Character-p.Character, uint32(kind), modifiers)
				before = p
			}
			if line+1 >= len(doc.lines) {
				break
			}
			start = max(doc.lines[line+1], end)
		}
	}
	return &protocol.SemanticTokens{Data: data}, nil
}

func isUpper(s string) bool {
	for i := range len(s) {
		if 'a' <= s[i] && s[i] <= 'z' {
			return false
		}
	}
	return true
}
