package lsp

import (
	"fmt"
	"slices"
	"strconv"

	"go.lsp.dev/protocol"

	interp "sst/starlark"
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

// tokenSize is how many numbers a token of the protocol is.
const tokenSize = 5

// coloured are the tokens of a text as they were sent last, for the next answer to say only what is different.
type coloured struct {
	id   int
	data []uint32
	file *interp.File // that they are of
}

func (c *call) semanticTokens(p *protocol.SemanticTokensParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	now := c.colours(a)
	return encodedTokens(now.id, now.data), nil
}

func (c *call) semanticTokensDelta(p *protocol.SemanticTokensDeltaParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	before := c.server.colours[a.doc.path]
	now := c.colours(a)
	id, data := now.id, now.data
	if before.data == nil || strconv.Itoa(before.id) != p.PreviousResultID {
		return encodedTokens(id, data), nil
	}
	head := 0
	for head < len(data) && head < len(before.data) && data[head] == before.data[head] {
		head++
	}
	tail := 0
	for tail < len(data)-head && tail < len(before.data)-head && data[len(data)-1-tail] == before.data[len(before.data)-1-tail] {
		tail++
	}
	removed, added := len(before.data)-head-tail, data[head:len(data)-tail]
	if removed == 0 && len(added) == 0 {
		return protocol.LSPAny(fmt.Sprintf(`{"resultId":"%d","edits":[]}`, id)), nil
	}
	body := fmt.Appendf(nil, `{"resultId":"%d","edits":[{"start":%d,"deleteCount":%d,"data":`, id, head, removed)
	return protocol.LSPAny(append(appendNumbers(body, added), "}]}"...)), nil
}

func (c *call) semanticTokensRange(p *protocol.SemanticTokensRangeParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	first := max(0, a.file.StatementAt(int(p.Range.Start.Line)+1))
	end := min(len(a.file.Statements), a.file.StatementAt(int(min(p.Range.End.Line, 1<<30))+1)+1)
	return encodedTokens(0, tokensIn(c.tokens(a, first, max(first, end)), p.Range)), nil
}

// tokensIn are the tokens of which a part lies in a range.
func tokensIn(data []uint32, area protocol.Range) []uint32 {
	kept := []uint32{}
	var at, last protocol.Position // of the token, and of the last one kept
	for ; len(data) > 0; data = data[tokenSize:] {
		if data[0] > 0 {
			at.Character = 0
		}
		at.Line, at.Character = at.Line+data[0], at.Character+data[1]
		from, to := area.Start, area.End
		if at.Line < from.Line || at.Line == from.Line && at.Character+data[2] <= from.Character ||
			at.Line > to.Line || at.Line == to.Line && at.Character >= to.Character {
			continue
		}
		character := at.Character
		if at.Line == last.Line {
			character -= last.Character
		}
		kept = append(append(kept, at.Line-last.Line, character), data[2:tokenSize]...)
		last = at
	}
	return kept
}

// colours are the tokens of a file, and remembers them.
func (c *call) colours(a *analysis) coloured {
	now := c.server.colours[a.doc.path]
	if now.file != a.file {
		now = coloured{now.id + 1, c.tokens(a, 0, len(a.file.Statements)), a.file}
		c.server.colours[a.doc.path] = now
	}
	return now
}

// encodedTokens is what protocol.SemanticTokens would become, without a detour for each of 50,000 numbers.
func encodedTokens(id int, data []uint32) any {
	body := make([]byte, 0, len(data)*2+len(data)/2+64)
	body = append(body, '{')
	if id > 0 {
		body = fmt.Appendf(body, `"resultId":"%d",`, id)
	}
	return protocol.LSPAny(append(appendNumbers(append(body, `"data":`...), data), '}'))
}

func appendNumbers(b []byte, numbers []uint32) []byte {
	b = append(b, '[')
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(n), 10)
	}
	return append(b, ']')
}

type tokensKey struct{ utf8 bool }

// statementTokens are the tokens of a statement; the line of the first is counted from the statement's, and last is that of the last.
type statementTokens struct {
	data []uint32
	last int
}

// tokens colours statements by their tokens, so that it does so in broken text too.
func (c *call) tokens(a *analysis, first, end int) []uint32 {
	env := c.snapshot.env(a).Globals
	var data []uint32
	line := 0
	for i := first; i < end; i++ {
		s := &a.file.Statements[i]
		own := interp.Get(s.Notes(), tokensKey{c.client.utf8}, func() statementTokens { return colour(s.Text, env, c.client.utf8) })
		if len(own.data) == 0 {
			continue
		}
		if data == nil {
			data = make([]uint32, 0, (len(own.data)+tokenSize)*(end-first))
		}
		at := len(data)
		data = append(data, own.data...)
		data[at] += uint32(s.Line - 1 - line)
		line = s.Line - 1 + own.last
	}
	return slices.Clip(data)
}

// colour gives the tokens of a statement.
func colour(text []byte, env map[string]interp.Shape, utf8 bool) statementTokens {
	doc := newDocument("", "", 0, text)
	var data []uint32
	var before protocol.Position
	all := scan.Tokens(text)
	code := make([]int, 0, len(all))
	for i := range all {
		switch all[i].Kind {
		case scan.Space, scan.Newline, scan.Joiner:
		default:
			code = append(code, i)
		}
	}
	depth := 0
	for n, i := range code {
		t := all[i]
		if t.Kind == scan.Op {
			switch text[t.Start] {
			case '(', '[', '{':
				depth++
			case ')', ']', '}':
				depth = max(depth-1, 0)
			}
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
			is := func(n int, what string) bool { return n >= 0 && n < len(code) && all[code[n]].Is(text, what) }
			name := t.Text(text)
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
				p, q := doc.position(start, utf8), doc.position(end, utf8)
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
	return statementTokens{slices.Clip(data), int(before.Line)}
}

func isUpper(s string) bool {
	for i := range len(s) {
		if 'a' <= s[i] && s[i] <= 'z' {
			return false
		}
	}
	return true
}
