package interp

// Syntax errors for people who know Python: what Starlark has not, and what to
// write instead.

import (
	"fmt"
	"strconv"
	"strings"

	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// missing is what Starlark leaves out of Python (and of JavaScript), by the end
// of its code: "python-" + key.
var missing = map[string]struct{ detail, hint string }{
	"f-string":           {`Starlark has no f-strings.`, `Write "{} of {}".format(a, b) or "%s of %s" % (a, b).`},
	"string-prefix":      {`Strings are Unicode already.`, `Leave out the prefix.`},
	"is":                 {`Starlark has no "is".`, `Write "==" to compare.`},
	"is-not":             {`Starlark has no "is not".`, `Write "!=" to compare.`},
	"try":                {`Starlark has no exceptions: an error ends the evaluation and is shown at its line.`, `Check first, for example with "in", hasattr or dict.get.`},
	"raise":              {`Starlark has no exceptions.`, `Write fail("message").`},
	"assert":             {`Starlark has no assert statement.`, `Write "if not condition: fail("message")".`},
	"import":             {`Starlark has no import.`, `Write load("./file.star", "name"); sst, cdk, json and math are there without it.`},
	"class":              {`Starlark has no classes.`, `Write a function that returns struct(name = value, ...).`},
	"async":              {`Starlark runs from top to bottom, nothing is asynchronous.`, `Leave out async and await.`},
	"with":               {`Starlark has no with statement.`, `Read a declared input with read("path").`},
	"yield":              {`Starlark has no generators.`, `Build a list and return it.`},
	"generator":          {`Starlark has no generator expressions.`, `Put the comprehension into brackets: [x for x in xs].`},
	"del":                {`Starlark has no del.`, `Write d.pop(key) for a dict, l.pop(index) for a list.`},
	"global":             {`Starlark has no global and nonlocal: a function cannot rebind names outside it.`, `Return the new value and assign it where the function is called.`},
	"chained-comparison": {`Comparisons do not chain in Starlark.`, `Write "a < b and b < c".`},
	"joined-strings":     {`Neighbouring strings are not joined in Starlark.`, `Write "+" between them, or a comma if two strings are meant.`},
	"while":              {`Starlark has no while loops, so that every evaluation ends.`, `Write "for i in range(n)" with a break.`},
	"walrus":             {`Starlark has no ":=".`, `Assign on a line of its own.`},
	"annotation":         {`Starlark has no type annotations.`, `Leave it out, and say the type in the docstring.`},
	"decorator":          {`Starlark has no decorators.`, `Call the function on the result: f = decorator(f).`},
	"power":              {`Starlark has no "**" operator.`, `Write x * x, 1 << n, or math.pow(x, y).`},
	"unpacking":          {`Starlark unpacks only in calls.`, `Write a + b for lists, a | b for dicts.`},
	"set-literal":        {`Starlark has no set literals.`, `Write set([a, b]), or key: value for a dict.`},
	"else-if":            {`Starlark has no "else if".`, `Write elif.`},
	"for-else":           {`Loops have no else in Starlark.`, `Set a flag inside the loop.`},
	"increment":          {`Starlark has no "++" and "--".`, `Write x += 1.`},
	"and":                {`Starlark has no "&&".`, `Write and.`},
	"or":                 {`Starlark has no "||".`, `Write or.`},
	"not":                {`Starlark has no "!".`, `Write not.`},
	"comment":            {`Comments begin with "#" in Starlark.`, `Write # instead of //.`},
	"print":              {`print is a function.`, `Write print(value).`},
	"match":              {`Starlark has no match statement.`, `Write if and elif, or look up a dict.`},
	"ellipsis":           {`Starlark has no "...".`, `Write pass for an empty body, None for a missing value.`},
	"not-equal":          {`Starlark has no "<>".`, `Write !=.`},
	"conditional":        {`Starlark has no "?:".`, `Write "a if condition else b".`},
	"arrow":              {`Starlark has no arrow functions.`, `Write "lambda x: value".`},
	"declaration":        {`Names are not declared in Starlark.`, `Write "name = value".`},
	"digit-separator":    {`Numbers have no "_" in Starlark.`, `Write the digits without it.`},
	"positional-only":    {`Starlark has no "/" in parameter lists.`, `Leave it out.`},
	"template-string":    {`Starlark has no template strings.`, `Write "{}".format(value).`},
}

const notInStarlarkSummary = "Not in Starlark"

func notInStarlark(key string, span diag.Span) *diag.Diagnostic {
	m := missing[key]
	return &diag.Diagnostic{Code: "python-" + key, Summary: notInStarlarkSummary, Detail: m.detail, Hint: m.hint, Span: span}
}

// diagnoseSyntax turns the parser's error about text into a diagnostic.
func diagnoseSyntax(path string, text []byte, line int, err error) *diag.Diagnostic {
	pos, msg := syntaxError(err)
	p := newSyntaxProblem(path, lex(text, line), pos, msg)
	if d := p.python(); d != nil {
		return d
	}
	return p.plain()
}

// syntaxProblem is an error of the parser with the tokens around it.
type syntaxProblem struct {
	path string
	toks []token // without comments
	line int
	col  int
	msg  string
}

func newSyntaxProblem(path string, all []token, pos syntax.Position, msg string) *syntaxProblem {
	p := &syntaxProblem{path: path, line: int(pos.Line), col: int(pos.Col), msg: msg}
	for _, t := range all {
		if t.kind != commentToken {
			p.toks = append(p.toks, t)
		}
	}
	p.settle()
	return p
}

// settle moves the place of the error to the start of the token that the
// parser stumbled over: it mostly gives the end of it.
func (p *syntaxProblem) settle() {
	if strings.Contains(p.msg, "primary expression") {
		return
	}
	for i := range p.toks {
		if t := &p.toks[i]; t.endLine == p.line && t.endCol == p.col {
			p.line, p.col = t.line, t.col
			return
		}
	}
}

// python is the diagnostic for the construct of another language nearest to
// the error on its line, nil when there is none.
func (p *syntaxProblem) python() *diag.Diagnostic {
	var best *diag.Diagnostic
	nearest := 1 << 30
	for i := range p.toks {
		t := &p.toks[i]
		if t.line > p.line || t.endLine < p.line {
			continue
		}
		distance := p.col - t.col
		if distance < 0 {
			distance = 1000 - distance // after the error: only when nothing stands before it
		}
		if t.line < p.line {
			distance = 500
		}
		if distance >= nearest {
			continue
		}
		if d := p.construct(i); d != nil {
			best, nearest = d, distance
		}
	}
	return best
}

// at is token i, an empty operator outside the text.
func (p *syntaxProblem) at(i int) *token {
	if i < 0 || i >= len(p.toks) {
		return &token{kind: newlineToken}
	}
	return &p.toks[i]
}

// first reports whether token i begins a line.
func (p *syntaxProblem) first(i int) bool { return p.at(i-1).kind == newlineToken }

// before is the index of the token before i, over line ends inside brackets.
func (p *syntaxProblem) before(i int) int {
	for i--; i >= 0 && p.toks[i].kind == newlineToken && p.toks[i].depth > 0; i-- {
	}
	return i
}

// lineEnd is the index of the last token on the line of token i.
func (p *syntaxProblem) lineEnd(i int) int {
	for i+1 < len(p.toks) && p.toks[i+1].kind != newlineToken {
		i++
	}
	return i
}

// opener is the index of the bracket that token i stands in or closes, -1 for none.
func (p *syntaxProblem) opener(i int) int {
	depth := p.at(i).depth
	for i--; i >= 0; i-- {
		t := &p.toks[i]
		if t.kind == opToken && t.depth == depth-1 && strings.Contains("([{", t.text) {
			return i
		}
	}
	return -1
}

// operand reports whether a value can end with token i.
func (p *syntaxProblem) operand(i int) bool {
	t := p.at(i)
	switch t.kind {
	case nameToken:
		return !keywords[t.text]
	case numberToken, stringToken:
		return true
	case opToken:
		return t.text == ")" || t.text == "]" || t.text == "}"
	}
	return false
}

var keywords = map[string]bool{
	"and": true, "break": true, "continue": true, "def": true, "elif": true, "else": true, "for": true, "if": true, "in": true,
	"lambda": true, "load": true, "not": true, "or": true, "pass": true, "return": true, "while": true,
}

// construct is the diagnostic for what begins at token i, if Starlark has it not.
func (p *syntaxProblem) construct(i int) *diag.Diagnostic {
	t, next := p.at(i), p.at(i+1)
	hit := func(key string) *diag.Diagnostic { return notInStarlark(key, p.span(t)) }
	atError := t.line == p.line && t.col == p.col
	switch t.kind {
	case stringToken:
		quote := strings.IndexAny(t.text, `"'`)
		switch strings.ToLower(t.text[:quote]) {
		case "f", "fr", "rf", "t":
			d := hit("f-string")
			if hint := formatted(t.text[quote:]); hint != "" {
				d.Hint = "Write " + hint + "."
			}
			return d
		case "u":
			return hit("string-prefix")
		}
		if prev := p.before(i); prev >= 0 && p.toks[prev].kind == stringToken && atError && p.toks[prev].closed {
			return hit("joined-strings")
		}
	case nameToken:
		return p.word(i)
	case numberToken:
		if strings.Contains(t.text, "_") {
			d := hit("digit-separator")
			d.Hint = "Write " + strings.ReplaceAll(t.text, "_", "") + "."
			return d
		}
	case opToken:
		switch t.text {
		case ":=":
			return hit("walrus")
		case "->":
			return hit("annotation")
		case "++", "--":
			if p.operand(i-1) || next.kind == nameToken {
				return hit("increment")
			}
		case "&&":
			return hit("and")
		case "||":
			return hit("or")
		case "!":
			return hit("not")
		case "<>":
			return hit("not-equal")
		case "?":
			return hit("conditional")
		case "=>":
			return hit("arrow")
		case "...":
			return hit("ellipsis")
		case "`":
			return hit("template-string")
		case "@":
			if p.first(i) {
				return hit("decorator")
			}
		case "//":
			if p.first(i) || !p.operand(i-1) {
				return hit("comment")
			}
		case "**":
			if p.operand(i - 1) {
				return hit("power")
			}
			if o := p.opener(i); o >= 0 && p.toks[o].text != "(" {
				return hit("unpacking")
			}
		case "*":
			if o := p.opener(i); atError && !p.operand(i-1) && (o < 0 || p.toks[o].text != "(" || !p.operand(o-1)) {
				return hit("unpacking")
			}
		case "/":
			if o := p.opener(i); o >= 0 && p.at(o-2).is("def") && !p.operand(i-1) {
				return hit("positional-only")
			}
		case ":":
			if atError && p.annotated(i) {
				return hit("annotation")
			}
		case ",", "}":
			if o := p.opener(i); atError && o >= 0 && p.toks[o].text == "{" && strings.Contains(p.msg, "want ':'") {
				return notInStarlark("set-literal", p.span(p.at(o)))
			}
		case "<", ">", "<=", ">=", "==", "!=":
			if atError && strings.Contains(p.msg, "does not associate with") {
				return p.chained(i)
			}
		}
	}
	return nil
}

// word is construct for a name or reserved word.
func (p *syntaxProblem) word(i int) *diag.Diagnostic {
	t, next := p.at(i), p.at(i+1)
	hit := func(key string) *diag.Diagnostic { return notInStarlark(key, p.span(t)) }
	atError := t.line == p.line && t.col == p.col
	begins := p.first(i)
	switch t.text {
	case "is":
		if next.is("not") {
			return notInStarlark("is-not", diag.Span{Start: p.span(t).Start, End: p.span(next).End})
		}
		return hit("is")
	case "try", "except", "finally":
		return hit("try")
	case "raise", "import", "class", "with", "yield", "del":
		return hit(t.text)
	case "from":
		return hit("import")
	case "async", "await":
		return hit("async")
	case "global", "nonlocal":
		return hit("global")
	case "assert":
		if begins && (next.kind == nameToken || next.kind == stringToken || next.kind == numberToken) {
			return hit("assert")
		}
	case "print":
		if begins && (next.kind == nameToken || next.kind == stringToken || next.kind == numberToken) {
			return hit("print")
		}
	case "const", "let", "var", "function":
		if begins && next.kind == nameToken {
			return hit("declaration")
		}
	case "match", "case":
		if begins && p.at(p.lineEnd(i)).is(":") && !next.is("=") && !next.is("(") && !next.is(".") {
			return hit("match")
		}
	case "else":
		if next.is("if") && begins {
			return hit("else-if")
		}
		if begins && atError {
			return p.loopElse(i)
		}
	case "for":
		if o := p.opener(i); atError && o >= 0 && p.toks[o].text == "(" {
			return hit("generator")
		}
	case "in", "not":
		if atError && strings.Contains(p.msg, "does not associate with") {
			return p.chained(i)
		}
	}
	return nil
}

// annotated reports whether the colon at i begins a type annotation.
func (p *syntaxProblem) annotated(i int) bool {
	if p.at(i-1).kind != nameToken || p.at(i+1).kind == newlineToken {
		return false
	}
	if o := p.opener(i); o >= 0 {
		return p.toks[o].text == "(" && p.at(o-2).is("def")
	}
	return p.first(i-1) && !keywords[p.at(i-1).text]
}

// loopElse is the diagnostic for an else that has no if.
func (p *syntaxProblem) loopElse(i int) *diag.Diagnostic {
	for j := i - 1; j >= 0; j-- {
		if p.first(j) && p.toks[j].col == p.toks[i].col && p.toks[j].kind == nameToken {
			if p.toks[j].is("for") {
				return notInStarlark("for-else", p.span(p.at(i)))
			}
			return nil
		}
	}
	return nil
}

// chained is the diagnostic for "a < b < c", with the names when they are plain.
func (p *syntaxProblem) chained(i int) *diag.Diagnostic {
	d := notInStarlark("chained-comparison", p.span(p.at(i)))
	plain := func(i int) bool {
		t := p.at(i)
		return (t.kind == nameToken && !keywords[t.text]) || t.kind == numberToken || t.kind == stringToken && len(t.text) < 20
	}
	b := i - 1
	if t := p.at(i); t.kind == opToken && plain(b) && p.at(b-1).kind == opToken && plain(b-2) && plain(i+1) {
		d.Hint = fmt.Sprintf(`Write "%s %s %s and %s %s %s".`, p.at(b-2).text, p.at(b-1).text, p.at(b).text, p.at(b).text, t.text, p.at(i+1).text)
	}
	return d
}

// formatted is an f-string (without prefix) as a call of format, "" when that
// cannot be told simply.
func formatted(literal string) string {
	var text, args strings.Builder
	n := 0
	for i := 0; i < len(literal); i++ {
		c := literal[i]
		if c == '\n' || c == '\r' {
			return ""
		}
		if c != '{' {
			text.WriteByte(c)
			continue
		}
		end := strings.IndexAny(literal[i+1:], "{}:!\"'\\")
		if end <= 0 || literal[i+1+end] != '}' {
			return "" // an escaped brace, a format spec, a nested string
		}
		if n > 0 {
			args.WriteString(", ")
		}
		n++
		args.WriteString(strings.TrimSpace(literal[i+1 : i+1+end]))
		text.WriteString("{}")
		i += end + 1
	}
	if n == 0 {
		return text.String()
	}
	return text.String() + ".format(" + args.String() + ")"
}

// plain is the diagnostic for an error that is one in Python too.
func (p *syntaxProblem) plain() *diag.Diagnostic {
	d := &diag.Diagnostic{Code: "syntax-error", Summary: "Syntax error", Span: p.errorSpan()}
	if open := p.unclosedString(); open != nil {
		d.Code, d.Summary = "unclosed-string", "String is not closed"
		d.Detail, d.Span = "The string that begins here has no end quote.", diag.Point(p.span(open).Start)
		if !strings.Contains(open.text, `"""`) && !strings.Contains(open.text, "'''") {
			d.Detail = "The string that begins here has no end quote on its line."
		}
		return d
	}
	if open := p.unclosedBracket(); open != nil {
		d.Code, d.Summary = "unclosed-bracket", "Bracket is not closed"
		d.Detail, d.Span = fmt.Sprintf("%q has no matching %q.", open.text, closing(open.text)), p.span(open)
		return d
	}
	got, want, ok := strings.Cut(strings.TrimPrefix(p.msg, "got "), ", want ")
	if !ok {
		d.Detail = sentence(p.msg)
		if strings.Contains(p.msg, "unindent") {
			d.Detail = "The indentation fits none of the lines above."
		}
		return d
	}
	if after, _, ok := strings.Cut(got, " after expression"); ok {
		got = after
	}
	switch {
	case want == "indent":
		d.Detail, d.Hint = "A block must follow, indented.", `Write pass for an empty one.`
		return d
	case got == "indent" && want == "primary expression":
		d.Detail = "This line is indented more than the one before it."
		return d
	case got == "outdent" && want == "primary expression":
		d.Detail = "The indentation fits none of the lines above."
		return d
	}
	d.Detail = fmt.Sprintf("Expected %s, found %s.", tokenName(want), tokenName(got))
	switch {
	case want == "':'" && got == "newline":
		d.Hint = `End the line with ":".`
	case want == "':'" && got == "'='":
		d.Hint = `Write "==" to compare.`
	case strings.ContainsAny(want, "])}") && (strings.HasSuffix(got, "literal") || got == "identifier"):
		d.Hint = "Is there a comma missing before it?"
	case strings.Contains(p.msg, "keyword argument must have form"):
		d.Hint = ""
	}
	return d
}

// unclosedString is the string without an end on the line of the error.
func (p *syntaxProblem) unclosedString() *token {
	if !strings.Contains(p.msg, "string") || strings.Contains(p.msg, "got ") {
		return nil
	}
	for i := range p.toks {
		if t := &p.toks[i]; t.kind == stringToken && !t.closed && t.line <= p.line && t.endLine >= p.line {
			return t
		}
	}
	return nil
}

// unclosedBracket is the innermost bracket that the text never closes, when
// the error lies beyond its line.
func (p *syntaxProblem) unclosedBracket() *token {
	var open []*token
	for i := range p.toks {
		t := &p.toks[i]
		if t.kind != opToken {
			continue
		}
		switch t.text {
		case "(", "[", "{":
			open = append(open, t)
		case ")", "]", "}":
			if len(open) == 0 || closing(open[len(open)-1].text) != t.text {
				if len(open) > 0 && t.line == p.line && t.col == p.col {
					return open[len(open)-1]
				}
				return nil
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return nil
	}
	last := open[len(open)-1]
	if p.line > last.line || strings.Contains(p.msg, "end of file") || p.at(len(p.toks)-1).line < p.line {
		return last
	}
	return nil
}

func closing(open string) string {
	switch open {
	case "(":
		return ")"
	case "[":
		return "]"
	}
	return "}"
}

// errorSpan is the token at the error.
func (p *syntaxProblem) errorSpan() diag.Span {
	for i := range p.toks {
		if t := &p.toks[i]; t.line == p.line && t.col == p.col && t.kind != newlineToken {
			return p.span(t)
		}
	}
	return diag.Point(diag.Position{File: p.path, Line: p.line, Col: p.col})
}

func (p *syntaxProblem) span(t *token) diag.Span {
	return diag.Span{Start: diag.Position{File: p.path, Line: t.line, Col: t.col}, End: diag.Position{File: p.path, Line: t.endLine, Col: t.endCol}}
}

// tokenName is what the parser calls a token, in words.
func tokenName(s string) string {
	switch s {
	case "newline":
		return "the end of the line"
	case "identifier":
		return "a name"
	case "primary expression":
		return "a value"
	case "indent":
		return "an indented line"
	case "outdent":
		return "the end of the block"
	case "EOF", "end of file":
		return "the end of the file"
	case "string literal", "bytes literal", "int literal", "float literal":
		return "a " + strings.Replace(strings.TrimSuffix(s, " literal"), "int", "number", 1)
	case "illegal token":
		return "something that Starlark does not know"
	}
	if strings.HasPrefix(s, "'") {
		parts := strings.Split(s, ", ")
		for i, part := range parts {
			parts[i] = strings.ReplaceAll(part, "'", `"`)
		}
		return strings.Join(parts, ", ")
	}
	return strconv.Quote(s) // a keyword
}

// sentence is msg with a capital letter and a full stop.
func sentence(msg string) string {
	msg = strings.TrimSpace(msg)
	if msg == "" {
		return ""
	}
	if first, _, _ := strings.Cut(msg, " "); !strings.HasSuffix(first, ":") {
		msg = strings.ToUpper(msg[:1]) + msg[1:] // not the name of a builtin
	}
	if !strings.HasSuffix(msg, ".") && !strings.HasSuffix(msg, "?") && !strings.HasSuffix(msg, "!") {
		msg += "."
	}
	return msg
}
