package bundle

// What a user may pass through to esbuild, under the names of its JavaScript API.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// extra is Options.Esbuild. What would change where files lie or how they are found by Lambda is not offered.
type extra struct {
	Alias             map[string]string `json:"alias"`
	Banner            map[string]string `json:"banner"`
	Charset           string            `json:"charset"`
	Conditions        []string          `json:"conditions"`
	Define            map[string]string `json:"define"`
	Drop              []string          `json:"drop"`
	DropLabels        []string          `json:"dropLabels"`
	External          []string          `json:"external"`
	Footer            map[string]string `json:"footer"`
	IgnoreAnnotations bool              `json:"ignoreAnnotations"`
	Inject            []string          `json:"inject"`
	JSX               string            `json:"jsx"`
	JSXDev            bool              `json:"jsxDev"`
	JSXFactory        string            `json:"jsxFactory"`
	JSXFragment       string            `json:"jsxFragment"`
	JSXImportSource   string            `json:"jsxImportSource"`
	JSXSideEffects    bool              `json:"jsxSideEffects"`
	KeepNames         *bool             `json:"keepNames"`
	LegalComments     string            `json:"legalComments"`
	Loader            map[string]string `json:"loader"`
	MainFields        []string          `json:"mainFields"`
	Minify            *bool             `json:"minify"`
	MinifyWhitespace  *bool             `json:"minifyWhitespace"`
	MinifyIdentifiers *bool             `json:"minifyIdentifiers"`
	MinifySyntax      *bool             `json:"minifySyntax"`
	NodePaths         []string          `json:"nodePaths"`
	Packages          string            `json:"packages"`
	PreserveSymlinks  bool              `json:"preserveSymlinks"`
	Pure              []string          `json:"pure"`
	ResolveExtensions []string          `json:"resolveExtensions"`
	SourcesContent    *bool             `json:"sourcesContent"`
	Supported         map[string]bool   `json:"supported"`
	Target            targets           `json:"target"`
	TreeShaking       *bool             `json:"treeShaking"`
	Tsconfig          string            `json:"tsconfig"`
	TsconfigRaw       json.RawMessage   `json:"tsconfigRaw"`
}

// targets is a string or a list of strings.
type targets []string

func (t *targets) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = strings.Split(one, ",")
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

func parseExtra(raw json.RawMessage) (extra, error) {
	var e extra
	if len(raw) == 0 {
		return e, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&e); err != nil {
		return e, fmt.Errorf("esbuild: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return e, nil
}

var loaders = map[string]api.Loader{
	"base64": api.LoaderBase64, "binary": api.LoaderBinary, "copy": api.LoaderCopy, "css": api.LoaderCSS,
	"dataurl": api.LoaderDataURL, "default": api.LoaderDefault, "empty": api.LoaderEmpty, "file": api.LoaderFile,
	"global-css": api.LoaderGlobalCSS, "js": api.LoaderJS, "json": api.LoaderJSON, "jsx": api.LoaderJSX,
	"local-css": api.LoaderLocalCSS, "text": api.LoaderText, "ts": api.LoaderTS, "tsx": api.LoaderTSX,
}

// apply puts the user's options over ours.
func (e extra) apply(o *api.BuildOptions) error {
	choose := func(name, value string, among map[string]func()) error {
		if value == "" {
			return nil
		}
		set, ok := among[value]
		if !ok {
			return fmt.Errorf("esbuild: %s: %q is not one of its values", name, value)
		}
		set()
		return nil
	}
	for _, err := range []error{
		choose("charset", e.Charset, map[string]func(){
			"ascii": func() { o.Charset = api.CharsetASCII }, "utf8": func() { o.Charset = api.CharsetUTF8 }}),
		choose("jsx", e.JSX, map[string]func(){
			"transform": func() { o.JSX = api.JSXTransform }, "preserve": func() { o.JSX = api.JSXPreserve },
			"automatic": func() { o.JSX = api.JSXAutomatic }}),
		choose("legalComments", e.LegalComments, map[string]func(){
			"none": func() { o.LegalComments = api.LegalCommentsNone }, "inline": func() { o.LegalComments = api.LegalCommentsInline },
			"eof": func() { o.LegalComments = api.LegalCommentsEndOfFile }}),
		choose("packages", e.Packages, map[string]func(){
			"bundle": func() { o.Packages = api.PackagesBundle }, "external": func() { o.Packages = api.PackagesExternal }}),
	} {
		if err != nil {
			return err
		}
	}
	for _, drop := range e.Drop {
		switch drop {
		case "console":
			o.Drop |= api.DropConsole
		case "debugger":
			o.Drop |= api.DropDebugger
		default:
			return fmt.Errorf("esbuild: drop: %q is not one of its values", drop)
		}
	}
	if err := setLoaders(o, e.Loader); err != nil {
		return err
	}
	for name, value := range e.Define {
		o.Define[name] = value
	}
	if text := e.Banner["js"]; text != "" {
		o.Banner["js"] = strings.TrimPrefix(o.Banner["js"]+"\n"+text, "\n")
	}
	if text := e.Footer["js"]; text != "" {
		o.Footer = map[string]string{"js": text}
	}
	if e.Minify != nil {
		o.MinifyWhitespace, o.MinifyIdentifiers, o.MinifySyntax = *e.Minify, *e.Minify, *e.Minify
	}
	for _, each := range []struct {
		from *bool
		to   *bool
	}{{e.MinifyWhitespace, &o.MinifyWhitespace}, {e.MinifyIdentifiers, &o.MinifyIdentifiers},
		{e.MinifySyntax, &o.MinifySyntax}, {e.KeepNames, &o.KeepNames}} {
		if each.from != nil {
			*each.to = *each.from
		}
	}
	if e.SourcesContent != nil {
		o.SourcesContent = api.SourcesContentInclude
		if !*e.SourcesContent {
			o.SourcesContent = api.SourcesContentExclude
		}
	}
	if e.TreeShaking != nil {
		o.TreeShaking = api.TreeShakingTrue
		if !*e.TreeShaking {
			o.TreeShaking = api.TreeShakingFalse
		}
	}
	if e.MainFields != nil {
		o.MainFields = e.MainFields
	}
	if len(e.Target) > 0 {
		if err := setTarget(o, e.Target); err != nil {
			return err
		}
	}
	if len(e.TsconfigRaw) > 0 {
		o.TsconfigRaw = string(e.TsconfigRaw)
		var text string
		if json.Unmarshal(e.TsconfigRaw, &text) == nil {
			o.TsconfigRaw = text
		}
	}
	o.Alias, o.Conditions, o.DropLabels, o.IgnoreAnnotations = e.Alias, e.Conditions, e.DropLabels, e.IgnoreAnnotations
	o.Inject, o.JSXDev, o.JSXFactory, o.JSXFragment = e.Inject, e.JSXDev, e.JSXFactory, e.JSXFragment
	o.JSXImportSource, o.JSXSideEffects, o.NodePaths = e.JSXImportSource, e.JSXSideEffects, e.NodePaths
	o.PreserveSymlinks, o.Pure, o.ResolveExtensions = e.PreserveSymlinks, e.Pure, e.ResolveExtensions
	o.Supported, o.Tsconfig = e.Supported, e.Tsconfig
	o.External = append(o.External, e.External...)
	return nil
}

func setLoaders(o *api.BuildOptions, byExtension map[string]string) error {
	for extension, name := range byExtension {
		loader, ok := loaders[name]
		if !ok {
			return fmt.Errorf("loader %q: esbuild has no loader %q", extension, name)
		}
		if !strings.HasPrefix(extension, ".") {
			extension = "." + extension
		}
		o.Loader[extension] = loader
	}
	return nil
}

// setTarget takes what can run in Lambda: an edition of the language or a version of Node.
func setTarget(o *api.BuildOptions, wanted []string) error {
	editions := map[string]api.Target{"esnext": api.ESNext, "es2015": api.ES2015, "es2016": api.ES2016, "es2017": api.ES2017,
		"es2018": api.ES2018, "es2019": api.ES2019, "es2020": api.ES2020, "es2021": api.ES2021, "es2022": api.ES2022,
		"es2023": api.ES2023, "es2024": api.ES2024}
	o.Engines = nil
	for _, name := range wanted {
		name = strings.ToLower(strings.TrimSpace(name))
		if version, ok := strings.CutPrefix(name, "node"); ok {
			o.Engines = append(o.Engines, api.Engine{Name: api.EngineNode, Version: version})
		} else if edition, ok := editions[name]; ok {
			o.Target = edition
		} else {
			return fmt.Errorf("esbuild: target: %q is neither node<version> nor an edition of the language", name)
		}
	}
	return nil
}
