package builtins

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"sst/cfn"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// remnant is the text of a token that the CDK did not recognize any more, because it was sliced, split or changed in case.
var remnant = regexp.MustCompile(`(?i)\bTOKEN\[[A-Z0-9._-]+\.c?[0-9]+\]?|[$#]\{TOKEN\[`)

// misuse finds tokens that were cut to pieces, by what is left of them in the templates.
func (s *session) misuse(asm *cfn.Assembly) (diag.List, error) {
	var list diag.List
	for _, stack := range asm.Stacks {
		data, err := os.ReadFile(filepath.Join(stack.Dir, stack.TemplateFile))
		if err != nil {
			return nil, err
		}
		suspicious := bytes.Contains(data, []byte("oken[")) || bytes.Contains(data, []byte("OKEN["))
		if !suspicious || !remnant.Match(data) {
			continue
		}
		template, err := stack.Template()
		if err != nil {
			return nil, err
		}
		found := len(list)
		for _, id := range slices.Sorted(maps.Keys(template.Resources)) {
			r := template.Resources[id]
			if where, ok := remnantIn(r.Properties, ""); ok {
				path, _ := r.Metadata["aws:cdk:path"].(string)
				list = append(list, s.misused(s.tagAbove(path), s.short(path)+": "+where))
			}
		}
		for _, id := range slices.Sorted(maps.Keys(template.Outputs)) {
			if _, ok := remnantIn(template.Outputs[id], ""); ok {
				list = append(list, s.misused(s.tagAbove(stack.ID), "output "+id))
			}
		}
		if len(list) == found {
			list = append(list, s.misused(s.tagAbove(stack.ID), stack.Short))
		}
	}
	return list, nil
}

func (s *session) misused(tag int, where string) *diag.Diagnostic {
	f := interp.Errorf("token-misuse", "Misuse of a token",
		"%s has a piece of a value that is known only to CloudFormation. Such a string can be joined and formatted, but not sliced, split or changed in case.", where)
	f.Hint = "cdk.Fn.split, cdk.Fn.select and cdk.Fn.sub do it at the deployment."
	return s.diagnostic(f, s.call(tag))
}

// remnantIn finds the first remnant in a value, and where.
func remnantIn(v any, where string) (string, bool) {
	switch v := v.(type) {
	case string:
		return where, remnant.MatchString(v)
	case []any:
		for _, item := range v {
			if at, ok := remnantIn(item, where); ok {
				return at, true
			}
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			name := key
			if where != "" {
				name = where + "." + key
			}
			if remnant.MatchString(key) {
				return where, true
			}
			if at, ok := remnantIn(v[key], name); ok {
				return at, true
			}
		}
	}
	return "", false
}
