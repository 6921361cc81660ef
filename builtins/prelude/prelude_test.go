package prelude

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"go.starlark.net/syntax"
)

// parse gives the files of the prelude by name.
func parse(t *testing.T) map[string]*syntax.File {
	t.Helper()
	names, err := fs.Glob(FS, "*.star")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*syntax.File{}
	for _, name := range names {
		src, err := FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if files[name], err = (&syntax.FileOptions{}).Parse(name, src, 0); err != nil {
			t.Error(err)
		}
	}
	return files
}

// docOf is the docstring of a function, "" when it has none.
func docOf(def *syntax.DefStmt) string {
	if expr, ok := def.Body[0].(*syntax.ExprStmt); ok {
		if lit, ok := expr.X.(*syntax.Literal); ok && lit.Token == syntax.STRING {
			return lit.Value.(string)
		}
	}
	return ""
}

// paramsOf are a function's parameters: those before the star, and those after it with their defaults.
func paramsOf(def *syntax.DefStmt) (positional []string, keywords map[string]syntax.Expr) {
	keywords = map[string]syntax.Expr{}
	star := false
	for _, p := range def.Params {
		switch p := p.(type) {
		case *syntax.Ident:
			if star {
				keywords[p.Name] = nil
			} else {
				positional = append(positional, p.Name)
			}
		case *syntax.BinaryExpr:
			keywords[p.X.(*syntax.Ident).Name] = p.Y
		case *syntax.UnaryExpr:
			star = true
			if name, ok := p.X.(*syntax.Ident); ok {
				positional = append(positional, name.Name)
			}
		}
	}
	return positional, keywords
}

// argsOf are the names that the Args part of a docstring explains, in order.
func argsOf(doc string) (names []string) {
	_, args, _ := strings.Cut(doc, "\n    Args:\n")
	args, _, _ = strings.Cut(args, "\n\n")
	for line := range strings.Lines(args) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			names = append(names, name)
		}
	}
	return names
}

// The docstring of a construct is its reference page and hover text.
func TestDocstrings(t *testing.T) {
	constructs := 0
	for file, parsed := range parse(t) {
		for _, stmt := range parsed.Stmts {
			def, ok := stmt.(*syntax.DefStmt)
			if !ok {
				continue
			}
			doc := docOf(def)
			if doc == "" {
				t.Errorf("%s: %s has no docstring", file, def.Name.Name)
			}
			if strings.ToUpper(def.Name.Name[:1]) != def.Name.Name[:1] {
				continue
			}
			constructs++
			first, rest, _ := strings.Cut(doc, "\n")
			if !strings.HasSuffix(first, ".") || !strings.HasPrefix(rest, "\n") {
				t.Errorf("%s: the docstring of %s does not start with one sentence and a blank line", file, def.Name.Name)
			}
			if !strings.Contains(doc, "\n    Example:\n") {
				t.Errorf("%s: the docstring of %s has no example", file, def.Name.Name)
			}
			positional, keywords := paramsOf(def)
			explained := map[string]bool{}
			for _, name := range argsOf(doc) {
				explained[name] = true
				_, known := keywords[name]
				for _, p := range positional {
					known = known || p == name
				}
				if !known {
					t.Errorf("%s: the docstring of %s explains %q, which is no parameter", file, def.Name.Name, name)
				}
			}
			for name, value := range keywords {
				if !explained[name] {
					t.Errorf("%s: the docstring of %s does not explain %q", file, def.Name.Name, name)
				}
				// Values of a prelude file are frozen, and None is "not given" everywhere.
				if none, ok := value.(*syntax.Ident); value != nil && (!ok || none.Name != "None") {
					t.Errorf("%s: the default of %s's %q is not None", file, def.Name.Name, name)
				}
			}
			if len(positional) > 2 {
				t.Errorf("%s: %s takes %v by position; only scope and id are", file, def.Name.Name, positional)
			}
		}
	}
	if constructs == 0 {
		t.Error("no construct was found")
	}
}

// What a file loads it uses, and private names stay private.
func TestLoads(t *testing.T) {
	for file, parsed := range parse(t) {
		loaded := map[string]bool{}
		syntax.Walk(parsed, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.LoadStmt:
				if module := n.ModuleName(); !strings.HasPrefix(module, "./") {
					t.Errorf("%s loads %q: files of the prelude load each other by ./name.star", file, module)
				}
				for _, name := range n.To {
					loaded[name.Name] = true
				}
				return false
			case *syntax.Ident:
				delete(loaded, n.Name)
			}
			return true
		})
		for name := range loaded {
			t.Errorf("%s loads %s and does not use it", file, name)
		}
	}
}

func TestFlags(t *testing.T) {
	var flags map[string]any
	if err := json.Unmarshal(Flags, &flags); err != nil {
		t.Fatal(err)
	}
	for name := range flags {
		if !strings.HasPrefix(name, "@aws-cdk") {
			t.Errorf("flag %q is none of the CDK's", name)
		}
	}
	if len(flags) < 80 {
		t.Errorf("%d flags; the pinned CDK recommends more", len(flags))
	}
}
