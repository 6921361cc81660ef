package builtins

import (
	"regexp"

	"sst/builtins/jsii"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// deprecated warns of a deprecated part of the CDK where the user first uses it; keyword is the keyword under which that is. What the
// prelude uses is for us to change. near is the type whose members a replacement probably is.
func (s *session) deprecated(name, reason, keyword string, near *jsii.Type) {
	at := s.lastCall()
	if reason == "" || s.closed || at.inPrelude() || at.pos.File == "" || s.warned[name] {
		return
	}
	if s.warned == nil {
		s.warned = map[string]bool{}
	}
	s.warned[name] = true
	f := interp.Errorf("deprecated", "Deprecated", "%s is deprecated: %s", name, sentence(inPython(reason, near)))
	f.Severity, f.Keyword = diag.Warning, keyword
	s.warnings = append(s.warnings, s.diagnostic(f, at))
}

var camelName = regexp.MustCompile(`\b[a-z]+[A-Z]\w*\b`)

// inPython spells names of members in a text of the CDK's documentation as they are spelt here.
func inPython(text string, t *jsii.Type) string {
	return camelName.ReplaceAllStringFunc(text, func(name string) string {
		if m, ok := t.FieldJS(name); ok {
			return m.Name
		}
		if init := t.Init(); init != nil && len(init.Params) > 0 { // a property of a construct's constructor
			if props := keywordStruct(jsii.Index(), init.Params, init.Variadic); props != nil {
				if m, ok := props.FieldJS(name); ok {
					return m.Name
				}
			}
		}
		return name
	})
}
