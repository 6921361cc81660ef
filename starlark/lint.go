package interp

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/syntax"

	"sst/starlark/diag"
)

// Lint reports what is allowed and most likely not meant: names that nothing uses, account ids and secrets written into the
// file, permissions for everything. All of it are warnings; what is surely wrong is the matter of [Check]. loaded says
// whether another file loads a global of f; nil when that is not known. A file that does not parse has none.
//
// Codes: unused-load unused-variable unused-function hard-coded-account hard-coded-secret wildcard-permission.
func Lint(f *File, loaded func(name string) bool) diag.List {
	if f.Errors.HasErrors() {
		return nil
	}
	return Parse(f.Path, f.Src).LintAgain(loaded) // with trees of its own: resolving writes to them, and others may be reading
}

// LintAgain is [Lint] for a file that only the caller looks at. It remembers what it found of each statement for the versions
// of the file to come.
func (f *File) LintAgain(loaded func(name string) bool) diag.List {
	if f.Errors.HasErrors() {
		return nil
	}
	all := make([]*linted, len(f.Statements))
	resolved, uses := true, map[string]bool{}
	for i := range f.Statements {
		all[i] = f.lintStatement(&f.Statements[i])
		resolved = resolved && all[i].resolved
		for _, name := range all[i].reads {
			uses[name] = true
		}
	}
	l := &linter{file: f}
	said := map[string]bool{}
	for i, each := range all {
		l.found = append(l.found, each.values...)
		if !resolved {
			continue // said by the check
		}
		l.found = append(l.found, each.unused...)
		for _, global := range each.globals {
			if id := global.ident.Name; !uses[id] && !said[id] && id != "_" {
				said[id] = true
				f.Statements[i].Stmts() // puts its place right
				l.unusedGlobal(global, loaded)
			}
		}
	}
	return l.found.Sorted()
}

// linted is what a statement says for itself.
type linted struct {
	line     int
	resolved bool     // its names are in order
	globals  []name   // that it binds
	reads    []string // globals that it reads, its own and those of other statements
	unused   diag.List
	values   diag.List
}

type lintKey struct{}

func (f *File) lintStatement(s *Statement) *linted {
	notes := s.Notes()
	result := Get(notes, lintKey{}, func() *linted { return &linted{line: -1} })
	if result.line >= 0 && (result.line == s.Line || len(result.unused)+len(result.values) == 0) {
		return result
	}
	*result = linted{line: s.Line}
	l := &linter{file: f}
	if !IsTestFile(f.Path) { // what a test expects is written out
		for _, stmt := range s.Stmts() {
			l.values(stmt)
		}
	}
	result.values, l.found = l.found, nil
	l.names(s.Stmts(), result)
	result.unused = l.found
	return result
}

type linter struct {
	file  *File
	found diag.List
}

func (l *linter) warn(n syntax.Node, code, summary, hint, format string, args ...any) {
	l.found = append(l.found, &diag.Diagnostic{Severity: diag.Warning, Code: code, Summary: summary, Hint: hint,
		Detail: fmt.Sprintf(format, args...), Span: nodeSpan(l.file.Path, n)})
}

// name is one place that binds a name.
type name struct {
	ident  *syntax.Ident
	kind   DefinitionKind
	global bool
}

// names finds what a statement binds and reads. Of the names of functions it reports those that nothing reads.
func (l *linter) names(stmts []syntax.Stmt, result *linted) {
	always := func(string) bool { return true } // the other statements may define it
	if err := resolve.File(&syntax.File{Path: l.file.Path, Stmts: stmts, Options: dialect}, always, always); err != nil {
		return
	}
	result.resolved = true
	var names []name
	bound := map[*syntax.Ident]bool{}
	for _, stmt := range stmts {
		names = bindings(stmt, names, true, bound)
	}
	uses := map[*syntax.Ident]bool{} // by first identifier of the binding: something reads it
	reads := map[string]bool{}
	for _, stmt := range stmts {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			id, ok := n.(*syntax.Ident)
			if !ok || bound[id] {
				return true
			}
			b, ok := id.Binding.(*resolve.Binding)
			if ok && b.First != nil {
				uses[b.First] = true
			}
			if ok && (b.First == nil || b.Scope == resolve.Global) {
				reads[id.Name] = true
			}
			return true
		})
	}
	result.reads = slices.Sorted(maps.Keys(reads))
	said := map[*syntax.Ident]bool{}
	for _, each := range names {
		if each.global {
			result.globals = append(result.globals, each)
			continue
		}
		b, ok := each.ident.Binding.(*resolve.Binding)
		if !ok || b.First == nil || uses[b.First] || said[b.First] || each.ident.Name == "_" {
			continue
		}
		said[b.First] = true
		switch id := each.ident.Name; {
		case each.kind == Loaded:
			l.warn(each.ident, "unused-load", "Unused name", "", "Nothing uses %q.", id)
		case !strings.HasPrefix(id, "_"):
			l.warn(each.ident, "unused-variable", "Unused name", "", "Nothing uses %q; a name that begins with an underscore may stay unused.", id)
		}
	}
}

// unusedGlobal reports a global that nothing in its file reads. Of these are wrong loaded names, functions that start with an
// underscore, and, when it is known that no file loads them, all functions; a variable often only names what it makes.
func (l *linter) unusedGlobal(each name, loaded func(string) bool) {
	id := each.ident.Name
	private := strings.HasPrefix(id, "_")
	switch {
	case each.kind == Loaded:
		l.warn(each.ident, "unused-load", "Unused name", "", "Nothing uses %q.", id)
	case each.kind == Function:
		isTest := IsTestFile(l.file.Path) && strings.HasPrefix(id, "test_")
		if isTest || !private && (loaded == nil || loaded(id)) {
			return
		}
		l.warn(each.ident, "unused-function", "Unused function", "", "Nothing calls %q.", id)
	case private:
		l.warn(each.ident, "unused-variable", "Unused name", "", "Nothing uses %q.", id)
	}
}

// bindings collects the names that a statement binds, those of functions inside it included, but for parameters and the
// variables of loops and comprehensions, which have to be there whether they are used or not. All that bind are marked.
func bindings(stmt syntax.Stmt, names []name, global bool, bound map[*syntax.Ident]bool) []name {
	add := func(kind DefinitionKind, ids ...*syntax.Ident) {
		for _, id := range ids {
			bound[id] = true
			names = append(names, name{id, kind, global})
		}
	}
	mark := func(e syntax.Expr) []*syntax.Ident {
		ids := boundIn(e)
		for _, id := range ids {
			bound[id] = true
		}
		return ids
	}
	switch n := stmt.(type) {
	case *syntax.AssignStmt:
		switch ids := mark(n.LHS); {
		case n.Op != syntax.EQ: // reads, too, but only to write
		case len(ids) == 1 && n.LHS == syntax.Expr(ids[0]):
			add(Variable, ids...)
		}
		markInside(n.RHS, bound)
	case *syntax.ExprStmt:
		markInside(n.X, bound)
	case *syntax.DefStmt:
		add(Function, n.Name)
		markParams(n.Params, bound)
		for _, inner := range n.Body {
			names = bindings(inner, names, false, bound)
		}
	case *syntax.ForStmt:
		mark(n.Vars)
		markInside(n.X, bound)
		for _, inner := range n.Body {
			names = bindings(inner, names, global, bound)
		}
	case *syntax.IfStmt:
		markInside(n.Cond, bound)
		for _, inner := range slices.Concat(n.True, n.False) {
			names = bindings(inner, names, global, bound)
		}
	case *syntax.ReturnStmt:
		if n.Result != nil {
			markInside(n.Result, bound)
		}
	case *syntax.LoadStmt:
		for _, id := range n.From {
			bound[id] = true
		}
		add(Loaded, n.To...)
	}
	return names
}

// boundIn are the names that an assignment to e binds; those inside of an index or before a dot are read.
func boundIn(e syntax.Expr) []*syntax.Ident {
	switch e := e.(type) {
	case *syntax.Ident:
		return []*syntax.Ident{e}
	case *syntax.ParenExpr:
		return boundIn(e.X)
	case *syntax.TupleExpr:
		return boundInAll(e.List)
	case *syntax.ListExpr:
		return boundInAll(e.List)
	}
	return nil
}

func boundInAll(list []syntax.Expr) (ids []*syntax.Ident) {
	for _, e := range list {
		ids = append(ids, boundIn(e)...)
	}
	return ids
}

// markInside marks what lambdas and comprehensions inside an expression bind, and names that are no variables: keywords
// and attributes.
func markInside(e syntax.Expr, bound map[*syntax.Ident]bool) {
	syntax.Walk(e, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.LambdaExpr:
			markParams(n.Params, bound)
		case *syntax.Comprehension:
			for _, clause := range n.Clauses {
				if f, ok := clause.(*syntax.ForClause); ok {
					for _, id := range boundIn(f.Vars) {
						bound[id] = true
					}
				}
			}
		}
		return true
	})
}

func markParams(params []syntax.Expr, bound map[*syntax.Ident]bool) {
	for _, p := range params {
		switch p := p.(type) {
		case *syntax.Ident:
			bound[p] = true
		case *syntax.BinaryExpr:
			if id, ok := p.X.(*syntax.Ident); ok {
				bound[id] = true
			}
			markInside(p.Y, bound)
		case *syntax.UnaryExpr:
			if id, ok := p.X.(*syntax.Ident); ok {
				bound[id] = true
			}
		}
	}
}

// values looks at literals: account ids, secrets, permissions.
func (l *linter) values(root syntax.Node) {
	accounts := map[syntax.Expr]bool{} // values of a key or keyword "account", where an id belongs
	syntax.Walk(root, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.BinaryExpr: // a keyword argument, too
			if id, ok := n.X.(*syntax.Ident); ok && n.Op == syntax.EQ {
				l.named(id.Name, n.Y, accounts)
			}
		case *syntax.AssignStmt:
			if id, ok := n.LHS.(*syntax.Ident); ok {
				l.named(id.Name, n.RHS, accounts)
			}
		case *syntax.DictEntry:
			if key := literal(n.Key); key != "" {
				l.named(key, n.Value, accounts)
			}
		case *syntax.CallExpr:
			l.statement(n)
		case *syntax.Literal:
			if text := literal(n); text != "" && !accounts[n] {
				l.text(n, text)
			}
		}
		return true
	})
}

func literal(e syntax.Expr) string {
	if l, ok := e.(*syntax.Literal); ok && l.Token == syntax.STRING {
		return l.Value.(string)
	}
	return ""
}

// named looks at the value of a keyword, variable or key.
func (l *linter) named(key string, value syntax.Expr, accounts map[syntax.Expr]bool) {
	switch strings.ToLower(key) {
	case "account", "account_id", "source_account":
		accounts[value] = true
	case "permissions":
		l.permissions(value)
	}
	if text := literal(value); secretName.MatchString(key) && looksSecret(text) {
		l.secret(value, fmt.Sprintf("%q", key))
	}
}

var (
	accountInARN = regexp.MustCompile(`^arn:[a-z-]+:[a-z0-9-]*:[a-z0-9-]*:([0-9]{12}):`)
	accountAlone = regexp.MustCompile(`^[0-9]{12}$`)
	secretName   = regexp.MustCompile(`(?i)(?:passw(?:or)?d|secret|token|api_?key|private_?key)$`)
	secretForm   = regexp.MustCompile(`^(?:AKIA|ASIA)[0-9A-Z]{16}$|-----BEGIN [A-Z ]*PRIVATE KEY-----|^gh[pousr]_[A-Za-z0-9]{36}|^sk_live_[A-Za-z0-9]{16}|^xox[abpr]-[A-Za-z0-9-]{10}`)
	letters      = regexp.MustCompile(`[A-Za-z]`)
	digits       = regexp.MustCompile(`[0-9]`)
)

// looksSecret says whether a text may be a password or key rather than the name of one.
func looksSecret(text string) bool {
	return len(text) >= 16 && !strings.ContainsAny(text, " /:${") && letters.MatchString(text) && digits.MatchString(text)
}

func (l *linter) secret(n syntax.Node, what string) {
	l.warn(n, "hard-coded-secret", "Secret in the file", "Make it an sst.Secret, whose value `sst secrets set` stores.",
		"The value of %s is in the file, in its history and in the template.", what)
}

func (l *linter) text(n syntax.Node, text string) {
	if secretForm.MatchString(text) {
		l.secret(n, "what looks like a key")
		return
	}
	account := ""
	if m := accountInARN.FindStringSubmatch(text); m != nil && !strings.Contains(text, ":layer:") { // a layer of somebody else's
		account = m[1]
	} else if accountAlone.MatchString(text) {
		account = text
	}
	if account != "" {
		l.warn(n, "hard-coded-account", "Account id in the file", "cdk.Aws.ACCOUNT_ID is that of the deployment; the accounts of stages belong into `stages` of the App.",
			"Another stage may be in another account than %s.", account)
	}
}

// permissions looks at the value of a construct's permissions: "*", and names of whole services.
func (l *linter) permissions(value syntax.Expr) {
	elements := []syntax.Expr{value}
	if list, ok := value.(*syntax.ListExpr); ok {
		elements = list.List
	}
	for _, e := range elements {
		switch text := literal(e); {
		case text == "*" || text == "*:*":
			l.warn(e, "wildcard-permission", "Permission for everything", "`link` gives a function what it needs of a construct.", "The function may do anything with everything in the account.")
		case text != "" && (!strings.Contains(text, ":") || strings.HasSuffix(text, ":*")):
			service, _, _ := strings.Cut(text, ":")
			l.warn(e, "wildcard-permission", "Permission for a whole service", "`link`, or a construct in the list, gives it for that one; an action, \"s3:GetObject\", for that action.",
				"The function may do anything with every resource of %s in the account.", service)
		}
	}
}

// statement looks at a cdk.aws_iam.PolicyStatement that allows every action on every resource.
func (l *linter) statement(call *syntax.CallExpr) {
	if !strings.HasSuffix(DottedName(call.Fn), "PolicyStatement") {
		return
	}
	var wide syntax.Node
	everywhere := false
	for _, arg := range call.Args {
		b, ok := arg.(*syntax.BinaryExpr)
		if !ok || b.Op != syntax.EQ {
			continue
		}
		list, ok := b.Y.(*syntax.ListExpr)
		if !ok {
			continue
		}
		for _, e := range list.List {
			switch text := literal(e); b.X.(*syntax.Ident).Name {
			case "actions":
				if text == "*" || strings.HasSuffix(text, ":*") {
					wide = e
				}
			case "resources":
				everywhere = everywhere || text == "*"
			}
		}
	}
	if wide != nil && everywhere {
		l.warn(wide, "wildcard-permission", "Permission for everything", "Name the actions, or the resources.", "The statement is for all resources.")
	}
}

// IsTestFile says whether sst test evaluates a file.
func IsTestFile(path string) bool { return strings.HasSuffix(filepath.Base(path), "_test.star") }
