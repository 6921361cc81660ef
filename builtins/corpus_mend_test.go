package builtins

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"sst/builtins/jsii"
)

// A mend undoes one known fault of the translator in a program, knowing nothing of the example. When a program that failed comes
// out as Node has it after mends, the fault was the translation's: had it been ours, it would still be there.
type mend struct {
	fault string // what the translator did
	apply func(source string, o outcome) string
}

var mends = []mend{
	{"Keys of a map that belong to the user are spelt in snake case; Python would make the same template.", mendKeys},
	{"KiB, MiB and GiB are spelt `ki_b`; the Python bindings have `kib`.", mendUnits},
	{"A name with digits is spelt as in TypeScript; the Python bindings have `LINEAR_10_PERCENT` and `A2_A`.", mendDigits},
	{"The last struct of a list of arguments is given by keywords.", mendListedStruct},
	{"A dict stands for an object of a class, which only TypeScript takes for one.", mendObjectLiteral},
	{"A struct or dict is given by position, where Python takes keywords.", mendPositionalStruct},
	{"An entry of a dict is set as an attribute.", mendEntry},
}

// mendKeys spells keys in quotes as Node's template has them. An entry of a struct cannot be meant: in the other spelling it would
// be an unknown key.
func mendKeys(source string, o outcome) string {
	spelt := o.Keys
	if m := namedKey.FindStringSubmatch(o.Detail); m != nil {
		spelt = map[string]string{m[1]: camelCase(m[1])}
	}
	for _, got := range sortedKeys(spelt) {
		source = strings.ReplaceAll(source, `"`+got+`":`, `"`+spelt[got]+`":`)
	}
	return source
}

var (
	namedKey   = regexp.MustCompile(`^cdk-error: .*'(\w+_\w+)'`)
	unitName   = regexp.MustCompile(`([kmgt])i_b(_|\b)`)
	meantName  = regexp.MustCompile(`has no (?:attribute|parameter|member) "(\w+)"\. Did you mean "(\w+)"`)
	digitEdge  = regexp.MustCompile(`_*(\d+)_*`)
	noKeyword  = regexp.MustCompile(`: cdk\.[\w.]*?(\w+) has no parameter "(\w+)"`)
	wantsClass = regexp.MustCompile(`: (\w+) of cdk\.[\w.]+ takes (cdk\.[\w.]+), not a dict`)
	byPosition = regexp.MustCompile(`: cdk\.[\w.]*?(\w+) (?:needs "|takes \d+ arguments? by position)`)
	dictEntry  = regexp.MustCompile(`Can't assign to \.(\w+) field of dict`)
	afterSnake = regexp.MustCompile(`_([a-z0-9])`)
)

func camelCase(name string) string {
	return afterSnake.ReplaceAllStringFunc(name, func(s string) string { return strings.ToUpper(s[1:]) })
}

func mendUnits(source string, _ outcome) string { return unitName.ReplaceAllString(source, "${1}ib$2") }

func mendDigits(source string, o outcome) string {
	m := meantName.FindStringSubmatch(o.Detail)
	if m == nil || digitEdge.ReplaceAllString(m[1], "$1") != digitEdge.ReplaceAllString(m[2], "$1") {
		return source
	}
	return regexp.MustCompile(`\b`+m[1]+`\b`).ReplaceAllString(source, m[2])
}

func mendEntry(source string, o outcome) string {
	m := dictEntry.FindStringSubmatch(o.Detail)
	if m == nil {
		return source
	}
	return regexp.MustCompile(`\.`+m[1]+`(\s*=)`).ReplaceAllString(source, `["`+camelCase(m[1])+`"]$1`)
}

// mendListedStruct makes a dict of the keywords of calls of a method that takes any number of structs.
func mendListedStruct(source string, o outcome) string {
	m := noKeyword.FindStringSubmatch(o.Detail)
	if m == nil {
		return source
	}
	return editCalls(source, m[1], func(call *syntax.CallExpr, text func(syntax.Node) string) (from, to syntax.Node, with string) {
		var entries []string
		for _, arg := range call.Args {
			if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
				if from == nil {
					from = arg
				}
				to = arg
				entries = append(entries, `"`+b.X.(*syntax.Ident).Name+`": `+text(b.Y))
			}
		}
		return from, to, "{" + strings.Join(entries, ", ") + "}"
	})
}

// mendObjectLiteral makes the object whose class the check wants.
func mendObjectLiteral(source string, o outcome) string {
	m := wantsClass.FindStringSubmatch(o.Detail)
	if m == nil {
		return source
	}
	return editCalls(source, "", func(call *syntax.CallExpr, text func(syntax.Node) string) (from, to syntax.Node, with string) {
		for _, arg := range call.Args {
			if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ && b.X.(*syntax.Ident).Name == m[1] {
				if _, ok := b.Y.(*syntax.DictExpr); ok {
					return b.Y, b.Y, m[2] + "(**" + text(b.Y) + ")"
				}
			}
		}
		return nil, nil, ""
	})
}

// mendPositionalStruct makes keywords of a struct or dict in a variable that is given by position.
func mendPositionalStruct(source string, o outcome) string {
	m := byPosition.FindStringSubmatch(o.Detail)
	if m == nil {
		return source
	}
	keywords := map[string]string{} // by variable
	if f, err := dialect.Parse("main.star", source, 0); err == nil {
		for _, statement := range f.Stmts {
			a, ok := statement.(*syntax.AssignStmt)
			if !ok {
				continue
			}
			name, ok := a.LHS.(*syntax.Ident)
			if !ok {
				continue
			}
			switch value := a.RHS.(type) {
			case *syntax.DictExpr:
				keywords[name.Name] = "**" + name.Name
			case *syntax.CallExpr:
				if n := len(value.Args); n > 0 {
					keywords[name.Name] = nodesText(source, value.Args[0], value.Args[n-1])
				}
			}
		}
	}
	return editCalls(source, m[1], func(call *syntax.CallExpr, _ func(syntax.Node) string) (from, to syntax.Node, with string) {
		if n := len(call.Args); n > 0 {
			if name, ok := call.Args[n-1].(*syntax.Ident); ok && keywords[name.Name] != "" {
				return name, name, keywords[name.Name]
			}
		}
		return nil, nil, ""
	})
}

// editCalls replaces a part of each call of a function or method of that name, "" = any.
func editCalls(source, name string, edit func(call *syntax.CallExpr, text func(syntax.Node) string) (from, to syntax.Node, with string)) string {
	f, err := dialect.Parse("main.star", source, 0)
	if err != nil {
		return source
	}
	type change struct {
		from, to int
		with     string
	}
	var changes []change
	text := func(n syntax.Node) string { return nodesText(source, n, n) }
	syntax.Walk(f, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok && (name == "" || calledName(call) == name) {
			if from, to, with := edit(call, text); from != nil {
				start, _ := from.Span()
				_, end := to.Span()
				changes = append(changes, change{offsetOf(source, start), offsetOf(source, end), with})
			}
		}
		return true
	})
	slices.SortFunc(changes, func(a, b change) int { return b.from - a.from })
	for _, c := range changes {
		source = source[:c.from] + c.with + source[c.to:]
	}
	return source
}

func calledName(call *syntax.CallExpr) string {
	switch fn := call.Fn.(type) {
	case *syntax.DotExpr:
		return fn.Name.Name
	case *syntax.Ident:
		return fn.Name
	}
	return ""
}

func nodesText(source string, from, to syntax.Node) string {
	start, _ := from.Span()
	_, end := to.Span()
	return source[offsetOf(source, start):offsetOf(source, end)]
}

// offsetOf is the byte that a position means; its columns count characters.
func offsetOf(source string, pos syntax.Position) int {
	at := 0
	for range pos.Line - 1 {
		at += strings.IndexByte(source[at:], '\n') + 1
	}
	for range pos.Col - 1 {
		_, size := firstRune(source[at:])
		at += size
	}
	return at
}

func firstRune(s string) (rune, int) {
	for i := range s {
		if i > 0 {
			return 0, i
		}
	}
	return 0, len(s)
}

// squeezed is a value whose strings have one space wherever they had white space.
func squeezed(v any) string {
	data, _ := json.Marshal(v)
	return strings.Join(strings.Fields(strings.NewReplacer(`\n`, " ", `\t`, " ").Replace(string(data))), " ")
}

var noName = regexp.MustCompile(`^unknown-(?:parameter|attribute|member): cdk\.([\w.]+) has no (?:attribute|parameter|member) "(\w+)"`)

// notInMetadata holds when a name is not known and no other spelling of it is a member of the type.
func notInMetadata(o outcome) bool {
	m := noName.FindStringSubmatch(o.Detail)
	if m == nil {
		return false
	}
	names := jsii.Index()
	for _, prefix := range []string{"aws-cdk-lib.", ""} {
		t, ok := names.Type(prefix + m[1])
		if !ok {
			continue
		}
		members := t.Members()
		if init := t.Init(); init != nil {
			if props := keywordStruct(names, init.Params, init.Variadic); props != nil {
				members = append(slices.Clone(members), props.Fields()...)
			}
		}
		return !slices.ContainsFunc(members, func(member *jsii.Member) bool { return fold(member.JS) == fold(m[2]) })
	}
	return false
}
