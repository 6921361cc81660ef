package lsp

// What a construct is called in AWS, in every stage that the project knows, built or not.

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"sst/builtins"
	interp "sst/starlark"
)

// namedAs is how the documentation of a construct says what it is called: named "<stage>-<app>-<id>".
var namedAs = regexp.MustCompile(`[Nn]amed\s+"([^"]*<stage>[^"]*<id>[^"]*)"`)

// stageNames lists the physical names of the construct that a call makes; "" when they are not known from the text alone. built is
// the stage of the last build, "" for none.
func (c *call) stageNames(a *analysis, made *interp.Call, about builtins.About, built string) string {
	pattern := namedAs.FindStringSubmatch(about.Doc)
	if pattern == nil || len(made.Expr.Args) < 2 {
		return ""
	}
	id, ok := literalText(made.Expr.Args[1])
	if !ok {
		return ""
	}
	suffix := ""
	for _, arg := range made.Expr.Args[2:] {
		switch name, value := keywordArgument(arg); {
		case name == "cdk" || name == "" || name == "**": // it may be called something else, or be another one's
			return ""
		case name == "fifo" && isIdent(value, "True"):
			suffix = ".fifo"
		case name == "fifo" && !isIdent(value, "False") && !isIdent(value, "None"):
			return ""
		}
	}
	app, stages := c.stagesOf(a)
	if app == "" {
		return ""
	}
	if do := c.server.opts.Actions; built == "" && do.Stage != nil {
		built = do.Stage(a.root)
	}
	if built != "" && !slices.Contains(stages, built) {
		stages = append([]string{built}, stages...)
	}
	if len(stages) == 0 {
		stages = []string{"<stage>"}
	}
	const most = 12
	text := "Named, in each stage:\n"
	for i, stage := range stages {
		if i == most {
			return text + fmt.Sprintf("\n- and %d more", len(stages)-most)
		}
		name := strings.NewReplacer("<stage>", stage, "<app>", app, "<id>", id).Replace(pattern[1])
		text += fmt.Sprintf("\n- %s: `%s`", stage, name+suffix)
	}
	return text
}

// keywordArgument takes an argument of a call apart: its name, "" for one by position, "**" for many at once.
func keywordArgument(arg syntax.Expr) (string, syntax.Expr) {
	switch arg := arg.(type) {
	case *syntax.BinaryExpr:
		if name, ok := arg.X.(*syntax.Ident); ok && arg.Op == syntax.EQ {
			return name.Name, arg.Y
		}
	case *syntax.UnaryExpr:
		return "**", arg.X
	}
	return "", arg
}

func isIdent(e syntax.Expr, name string) bool {
	ident, ok := e.(*syntax.Ident)
	return ok && ident.Name == name
}

// stagesOf are the app of a project and the stages that it names, sorted; "" when the app has no plain name.
func (c *call) stagesOf(a *analysis) (app string, stages []string) {
	found := map[string]bool{}
	for _, file := range append([]string{a.doc.path}, c.snapshot.starFiles(a.root)...) {
		other := c.snapshot.analyse(file)
		if other == nil || strings.HasSuffix(file, "_test.star") {
			continue
		}
		for _, made := range other.outlined().Calls {
			if made.Callee != "sst.App" || len(made.Expr.Args) == 0 {
				continue
			}
			if name, ok := literalText(made.Expr.Args[0]); ok {
				app = name
			}
			for _, arg := range made.Expr.Args[1:] {
				name, value := keywordArgument(arg)
				dict, ok := value.(*syntax.DictExpr)
				if name != "stages" || !ok {
					continue
				}
				for _, entry := range dict.List {
					if stage, ok := literalText(entry.(*syntax.DictEntry).Key); ok {
						found[stage] = true
					}
				}
			}
		}
	}
	return app, slices.Sorted(maps.Keys(found))
}
