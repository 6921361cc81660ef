package builtins

import (
	"fmt"
	"path"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
	"go.starlark.net/starlark"

	"sst/builtins/prelude"
)

// codeOf is the intrinsic _code.
func codeOf(_ *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := starlark.UnpackArgs("_code", args, kwargs, "name", &name); err != nil {
		return nil, err
	}
	text, err := inlineCode(name)
	return starlark.String(text), err
}

// inlined are the programs that were asked for, by name: the same in each session.
var inlined sync.Map

func inlineCode(name string) (string, error) {
	if text, ok := inlined.Load(name); ok {
		return text.(string), nil
	}
	data, err := prelude.Code.ReadFile("code/" + name)
	if err != nil {
		return "", err
	}
	text := string(data)
	if path.Ext(name) == ".js" {
		// Names stay: an error in the logs is to be understood.
		result := api.Transform(text, api.TransformOptions{MinifyWhitespace: true, MinifySyntax: true, LegalComments: api.LegalCommentsNone,
			Charset: api.CharsetUTF8, Format: api.FormatCommonJS, Platform: api.PlatformNode, Target: api.ES2022})
		if len(result.Errors) > 0 {
			return "", fmt.Errorf("%s: %s", name, result.Errors[0].Text)
		}
		text = string(result.Code)
	}
	inlined.Store(name, text)
	return text, nil
}
