package lsp

import (
	"slices"
	"strings"
	"unicode/utf16"

	"go.lsp.dev/protocol"

	"sst/builtins"
)

func (c *call) signatureHelp(p *protocol.SignatureHelpParams) (any, error) {
	a := c.analyse(p.TextDocument)
	if a == nil {
		return nil, nil
	}
	cur := c.snapshot.at(a, a.doc.offset(p.Position, c.client.utf8))
	f, _ := cur.call()
	if f == nil || f.callee == "load" {
		return nil, nil
	}
	fn := cur.shapeOf(f.callee)
	if fn == nil {
		return nil, nil
	}
	sig := fn.Signature()
	if sig == nil {
		return nil, nil
	}
	name := sig.Name
	if name == "" {
		name = f.callee
	}
	label := name + "("
	var parameters []protocol.ParameterInformation
	var names []string
	for i, text := range parameterTexts(sig) {
		if i > 0 {
			label += ", "
		}
		start := utf16Length(label)
		label += text
		if text == "*" {
			continue
		}
		parameter, _, _ := strings.Cut(text, ":")
		parameter, _, _ = strings.Cut(parameter, " ")
		names = append(names, parameter)
		info := protocol.ParameterInformation{Label: protocol.ParameterInformationLabelTuple{start, utf16Length(label)}}
		if about, ok := builtins.DescribeParam(fn, parameter); ok {
			if about.Type != "" && strings.Contains(text, ":") {
				about.Type = "" // said by the label
			}
			info.Documentation = c.markup(summary(about))
		}
		parameters = append(parameters, info)
	}
	label += ")"
	if sig.Result != nil {
		label += " -> " + sig.Result.Kind()
	}
	info := protocol.SignatureInformation{Label: label, Parameters: parameters}
	if about := builtins.Describe(fn); about.Doc != "" {
		info.Documentation = c.markup(summary(about))
	}
	help := &protocol.SignatureHelp{Signatures: []protocol.SignatureInformation{info}}
	active := -1
	if f.keyword == "" && cur.is(f.argument+1, "=") {
		f.keyword = cur.textOf(f.argument) // the cursor stands in the name
	}
	if f.keyword != "" {
		active = slices.Index(names, f.keyword)
	} else if f.position < len(sig.Params) && !sig.Params[f.position].KeywordOnly {
		active = slices.Index(names, sig.Params[f.position].Name)
	} else if sig.Variadic {
		active = slices.Index(names, "*args")
	}
	if active >= 0 {
		help.ActiveParameter = protocol.NewNullable(uint32(active))
	} else {
		help.ActiveParameter = protocol.NewNullable(uint32(len(parameters))) // none
	}
	return help, nil
}

// summary is the first paragraph with type and default.
func summary(about builtins.About) string {
	about.Doc, _, _ = strings.Cut(about.Doc, "\n\n")
	return text(about)
}

func utf16Length(s string) uint32 { return uint32(len(utf16.Encode([]rune(s)))) }
