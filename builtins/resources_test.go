package builtins

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.starlark.net/syntax"

	"sst/builtins/jsii"
	"sst/builtins/prelude"
)

// sameMeaning are members of ours that bear the name of one of the resource behind them, which they hide: each with the
// sense that both have.
var sameMeaning = map[string]string{
	"App.region":      "where the app is deployed",
	"App.account":     "whose it is",
	"Api.url":         "the API's own address",
	"ApiV1.url":       "the address of its stage",
	"RDS.cluster_arn": "the cluster's ARN",
}

var tableRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `cdk\\.([\\w.]+)`")

// resourceTypes reads what each construct's resource is off the table that people read.
func resourceTypes(t *testing.T) map[string]*jsii.Type {
	t.Helper()
	page, err := os.ReadFile("../docs/constructs.md")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]*jsii.Type{}
	for _, row := range tableRow.FindAllStringSubmatch(string(page), -1) {
		fqn := "aws-cdk-lib." + row[2]
		typ, ok := jsii.Index().Type(fqn)
		if !ok {
			t.Errorf("docs/constructs.md: sst.%s: there is no %s", row[1], fqn)
			continue
		}
		types[row[1]] = typ
	}
	return types
}

// membersOf are the public members that each construct's value has, by kind.
func membersOf(t *testing.T) map[string][]string {
	t.Helper()
	names, err := fs.Glob(prelude.FS, "*.star")
	if err != nil {
		t.Fatal(err)
	}
	members := map[string][]string{}
	for _, name := range names {
		src, err := prelude.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := (&syntax.FileOptions{}).Parse(name, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		syntax.Walk(file, func(n syntax.Node) bool {
			call, ok := n.(*syntax.CallExpr)
			if !ok {
				return true
			}
			if fn, ok := call.Fn.(*syntax.Ident); !ok || fn.Name != "_construct" {
				return true
			}
			kind := call.Args[0].(*syntax.Literal).Value.(string)
			members[kind] = append(members[kind], "")
			if dict, ok := call.Args[1].(*syntax.DictExpr); ok {
				for _, entry := range dict.List {
					if key := entry.(*syntax.DictEntry).Key.(*syntax.Literal).Value.(string); !strings.HasPrefix(key, "_") {
						members[kind] = append(members[kind], key)
					}
				}
			}
			return true
		})
	}
	return members
}

// An attribute that a construct defines hides that of its resource. Where the names are one, so must the meanings be.
func TestMembersMeanTheSame(t *testing.T) {
	types, members := resourceTypes(t), membersOf(t)
	used := map[string]bool{}
	for kind, names := range members {
		typ := types[kind]
		if typ == nil {
			t.Errorf("docs/constructs.md does not say what the resource of sst.%s is", kind)
			continue
		}
		for _, name := range names {
			if name == "" {
				continue
			}
			if _, hidden := typ.Member(name); !hidden {
				continue
			}
			used[kind+"."+name] = true
			if sameMeaning[kind+"."+name] == "" {
				t.Errorf("sst.%s: %s hides that of %s: give it another name, or say why it means the same", kind, name, display(typ))
			}
		}
	}
	for name, reason := range sameMeaning {
		if !used[name] {
			t.Errorf("%s (%q) hides nothing", name, reason)
		}
	}
	for kind := range types {
		if members[kind] == nil {
			t.Errorf("docs/constructs.md has sst.%s, which there is not", kind)
		}
	}
}
