package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors is the plan of the house: a package imports only packages of lower floors, so that each can be read,
// tested and replaced without the ones above or beside it.
var floors = map[string]int{
	"sst":     4,
	"sst/cmd": 4,

	"sst/docs/pictures": 4, // records the pictures of the pages; no part of the tool
	"sst/cmd/release":   4, // makes the archives of a version; no part of the tool

	"sst/lsp": 3,

	"sst/builtins":          2,
	"sst/builtins/prelude":  1, // Starlark sources only; builtins embeds them
	"sst/proxy/relaytest":   2, // faults for the tests of proxy
	"sst/cfn/lookup":        0, // asks AWS what the CDK wants to know
	"sst/cfn/cfntest":       0, // AWS, as the deployer meets it: knows nothing of ours
	"sst/cfn/cfntest/serve": 1, // the same for somebody at a terminal
	"sst/runtime":           2,

	"sst/builtins/assertions": 2, // what *_test.star can say; needs the language host only

	"sst/starlark/format": 2, // formats around broken statements: needs the splitter

	"sst/starlark": 1,
	"sst/cfn":      1,

	"sst/runtime/cloud": 1, // AWS's services on this machine: knows queues, no templates

	"sst/proxy": 1,

	"sst/starlark/diag":  0,
	"sst/starlark/scan":  0,
	"sst/builtins/jsii":  0,
	"sst/runtime/bundle": 0,
	"sst/runtime/queues": 0,
	"sst/runtime/dynamo": 0,
}

// above gives reasons for the imports that go sideways: inside one floor only these are allowed.
var above = map[[2]string]string{
	{"sst", "sst/cmd"}: "main hands its arguments to the verbs",
}

func TestFloors(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "testdata", "node_modules", ".git", ".sst", "internal", "examples": // examples are modules of their own
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		from := "sst"
		if dir := filepath.ToSlash(filepath.Dir(path)); dir != "." {
			from += "/" + dir
		}
		floor, known := floors[from]
		if !known {
			t.Errorf("%s: package %s has no floor: give it one in floors_test.go", path, from)
			floors[from] = 99
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			to, _ := strconv.Unquote(spec.Path.Value)
			if to != "sst" && !strings.HasPrefix(to, "sst/") {
				continue
			}
			if strings.HasPrefix(to, from+"/internal/") {
				continue
			}
			if _, allowed := above[[2]string{from, to}]; !allowed && floors[to] >= floor {
				t.Errorf("%s: %s (floor %d) imports %s (floor %d): imports go down; let cmd hand a func over instead",
					path, from, floor, to, floors[to])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
