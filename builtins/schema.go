package builtins

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	interp "sst/starlark"
)

// appSync is what every schema of AppSync has without saying so.
const appSync = `
scalar AWSDate
scalar AWSTime
scalar AWSDateTime
scalar AWSTimestamp
scalar AWSEmail
scalar AWSJSON
scalar AWSPhone
scalar AWSURL
scalar AWSIPAddress
directive @aws_subscribe(mutations: [String!]!) on FIELD_DEFINITION
directive @aws_publish(subscriptions: [String!]) on FIELD_DEFINITION
directive @aws_auth(cognito_groups: [String!]!) on FIELD_DEFINITION
directive @aws_cognito_user_pools(cognito_groups: [String!]) on FIELD_DEFINITION | OBJECT | INTERFACE
directive @aws_api_key on FIELD_DEFINITION | OBJECT | INTERFACE
directive @aws_iam on FIELD_DEFINITION | OBJECT | INTERFACE
directive @aws_oidc on FIELD_DEFINITION | OBJECT | INTERFACE
directive @aws_lambda on FIELD_DEFINITION | OBJECT | INTERFACE
directive @canonical on FIELD_DEFINITION | OBJECT | INTERFACE | INPUT_OBJECT | ENUM | UNION | SCALAR
directive @hidden on FIELD_DEFINITION | OBJECT | INTERFACE | INPUT_OBJECT | ENUM | UNION | SCALAR
directive @renamed(to: String!) on FIELD_DEFINITION | OBJECT | INTERFACE | INPUT_OBJECT | ENUM | UNION | SCALAR
`

// schemaOf is the intrinsic _schema.
func schemaOf(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var files starlark.Iterable
	var keyword string
	if err := starlark.UnpackArgs("_schema", args, kwargs, "files", &files, "keyword", &keyword); err != nil {
		return nil, err
	}
	sources := []*ast.Source{validator.Prelude, {Name: "AppSync", Input: appSync, BuiltIn: true}}
	iter := files.Iterate()
	defer iter.Done()
	var item starlark.Value
	for iter.Next(&item) {
		name, _ := starlark.AsString(item)
		_, data, err := s.projectFile(name)
		if err != nil {
			f := interp.Errorf("missing-file", "File not found", "%s: %v.", keyword, err)
			f.Keyword, f.Value = keyword, name
			return nil, f
		}
		sources = append(sources, &ast.Source{Name: path.Clean(filepath.ToSlash(name)), Input: string(data)})
	}
	schema, err := mergeSchema(sources)
	if err != nil {
		f := interp.Errorf("wrong-schema", "Wrong schema", "%s.", schemaProblem(err))
		f.Keyword = keyword
		return nil, f
	}
	var text bytes.Buffer
	formatter.NewFormatter(&text, formatter.WithIndent("  ")).FormatSchema(schema)
	types := starlark.NewDict(len(schema.Types))
	for _, name := range slices.Sorted(maps.Keys(schema.Types)) {
		t := schema.Types[name]
		if t.Kind != ast.Object || t.BuiltIn {
			continue
		}
		var fields []starlark.Value
		for _, field := range t.Fields {
			if !strings.HasPrefix(field.Name, "__") {
				fields = append(fields, starlark.String(field.Name))
			}
		}
		if err := types.SetKey(starlark.String(name), starlark.NewList(fields)); err != nil {
			return nil, err
		}
	}
	return starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
		"text": starlark.String(text.String()), "types": types,
	}), nil
}

// mergeSchema makes one schema of several files. A type that several of them define has the fields of all.
func mergeSchema(sources []*ast.Source) (*ast.Schema, error) {
	doc, err := parser.ParseSchemas(sources...)
	if err != nil {
		return nil, err
	}
	var kept ast.DefinitionList
	for _, def := range doc.Definitions {
		if first := kept.ForName(def.Name); first == nil {
			kept = append(kept, def)
		} else if mergeable(def.Kind) && first.Kind == def.Kind {
			doc.Extensions = append(doc.Extensions, def)
		} else {
			return nil, gqlerror.ErrorPosf(def.Position, "%s is defined twice", def.Name)
		}
	}
	doc.Definitions = kept
	return validator.ValidateSchemaDocument(doc)
}

func mergeable(kind ast.DefinitionKind) bool {
	return kind == ast.Object || kind == ast.Interface || kind == ast.InputObject || kind == ast.Enum || kind == ast.Union
}

// schemaProblem says where in the schema the problem is, as an editor would.
func schemaProblem(err error) string {
	var problem *gqlerror.Error
	if list := (gqlerror.List)(nil); errors.As(err, &list) && len(list) > 0 {
		problem = list[0]
	} else if !errors.As(err, &problem) {
		return err.Error()
	}
	text := strings.TrimSuffix(problem.Message, ".")
	file, _ := problem.Extensions["file"].(string)
	if len(problem.Locations) > 0 {
		return fmt.Sprintf("%s:%d:%d: %s", file, problem.Locations[0].Line, problem.Locations[0].Column, text)
	}
	return text
}
