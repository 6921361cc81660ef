package builtins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"sst/cfn"
	"sst/runtime/bundle"
	interp "sst/starlark"
)

// function is a Lambda function to be listed in the manifest.
type function struct {
	object *Object // the CDK's function
	owner  *Object // the construct that has the id shown to people
	tag    int
	cfn.Function
}

// bundleKind says how a runtime's code is made: "nodejs24.x", "python3.13", "go", "provided.al2023".
func bundleKind(runtime string) string {
	switch {
	case strings.HasPrefix(runtime, "nodejs"):
		return bundle.Node
	case strings.HasPrefix(runtime, "python"):
		return bundle.Python
	case runtime == "go" || strings.HasPrefix(runtime, "go1"):
		return bundle.Go
	case strings.HasPrefix(runtime, "provided"):
		return bundle.Custom
	}
	return ""
}

// lambdaRuntime is the runtime that Lambda knows for the user's word.
func lambdaRuntime(runtime string) string {
	if bundleKind(runtime) == bundle.Go {
		return "provided.al2023"
	}
	return runtime
}

// bundleOf is the intrinsic _bundle.
func bundleOf(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var handler, runtime string
	arch := "x86_64"
	var options starlark.Value = starlark.None
	if err := starlark.UnpackArgs("_bundle", args, kwargs, "handler", &handler, "runtime", &runtime, "arch?", &arch, "options??", &options); err != nil {
		return nil, err
	}
	kind := bundleKind(runtime)
	if kind == "" {
		f := interp.Errorf("unknown-runtime", "Unknown runtime", "functions of the runtime %q cannot be built: there are nodejs, python, go and provided.", runtime)
		f.Value = runtime
		return nil, f
	}
	spec := bundle.Spec{Kind: kind, Handler: filepath.ToSlash(strings.TrimPrefix(handler, "./")), Runtime: lambdaRuntime(runtime), Arch: arch}
	if err := bundleOptions(options, &spec.Options); err != nil {
		return nil, err
	}
	key := spec.Key()
	if value, ok := s.bundles[key]; ok {
		return value, nil
	}
	entry, exports, err := s.findHandler(spec)
	if err != nil {
		return nil, err
	}
	code, err := s.placeholder(thread, key)
	if err != nil {
		return nil, err
	}
	value := &bundleValue{spec: spec, Struct: starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
		"key":     starlark.String(key),
		"code":    code,
		"entry":   starlark.String(entry),
		"kind":    starlark.String(kind),
		"exports": exports,
		"runtime": starlark.String(spec.Runtime),
	})}
	s.bundles[key] = value
	return value, nil
}

// shippedCode is the intrinsic _shipped.
func shippedCode(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := starlark.UnpackArgs("_shipped", args, kwargs, "name", &name); err != nil {
		return nil, err
	}
	hash, ok := s.in.Shipped[name]
	if !ok {
		return nil, interp.Errorf("not-shipped", "No such code", "_shipped: the code %q was not given.", name)
	}
	return s.placeholder(thread, hash)
}

// bundleValue is what _bundle gives: a struct that remembers the spec.
type bundleValue struct {
	*starlarkstruct.Struct
	spec bundle.Spec
}

// bundleOptions reads a dict of options as bundle.Options has them.
func bundleOptions(v starlark.Value, into *bundle.Options) error {
	if v == starlark.None {
		return nil
	}
	wire, err := (&conversion{what: "bundle"}).free(v)
	if err != nil {
		return err
	}
	data, err := json.Marshal(canonical(wire))
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return wrongBundle(err)
	}
	return nil
}

var bundleKeys = []string{"external", "install", "loader", "minify", "source_map", "format", "copy", "source", "hooks", "esbuild"}

// What the options that are dicts have.
var (
	copyKeys = []string{"from", "to"}
	hookKeys = []string{"before", "after", "inputs"}
)

func wrongBundle(err error) error {
	var typeErr *json.UnmarshalTypeError
	f := interp.Errorf("wrong-bundle", "Wrong bundle option", "bundle: %v.", err)
	f.Keyword = "bundle"
	switch {
	case errors.As(err, &typeErr):
		f.Detail = fmt.Sprintf("bundle: %s: got %s, want %s.", typeErr.Field, typeErr.Value, goTypeWord(typeErr.Type.String()))
	case strings.Contains(err.Error(), "unknown field"):
		_, name, _ := strings.Cut(err.Error(), `"`)
		name = strings.TrimSuffix(name, `"`)
		f.Summary, f.Code = "Unknown bundle option", "unknown-key"
		f.Detail = fmt.Sprintf("bundle has no option %q; it has %s; each of copy has %s; hooks has %s.", name,
			strings.Join(bundleKeys, ", "), strings.Join(copyKeys, ", "), strings.Join(hookKeys, ", "))
		f.Hint, f.Value = nearest(name, slices.Concat(bundleKeys, copyKeys, hookKeys)), name
	}
	return f
}

func goTypeWord(name string) string {
	switch {
	case strings.HasPrefix(name, "[]"):
		return "a list"
	case strings.HasPrefix(name, "map"), strings.Contains(name, "Copy"), strings.Contains(name, "Hooks"):
		return "a dict"
	}
	return name
}

// findHandler checks that the file and the export of a handler exist. The file is parsed, never run.
func (s *session) findHandler(spec bundle.Spec) (entry string, exports starlark.Value, err error) {
	file, export, err := bundle.Find(s.root, spec.Handler, spec.Kind)
	if err != nil {
		f := interp.Errorf("missing-handler", "Handler not found", "%v.", err)
		f.Value = spec.Handler
		s.depend(Dependency{Kind: "dir", Name: filepath.Dir(filepath.Join(s.root, filepath.FromSlash(spec.Handler)))})
		var find *bundle.FindError
		if errors.As(err, &find) {
			f.Detail = fmt.Sprintf("%q: %s", find.Handler, sentence(find.Text))
			if len(find.Known) > 0 {
				f.Hint = fmt.Sprintf("Did you mean %q?", find.Known[0])
			}
		}
		return "", nil, f
	}
	if rel, err := filepath.Rel(s.root, file); err == nil {
		if _, inside := s.resolvePath(s.in.File, "//"+filepath.ToSlash(rel)); !inside {
			f := interp.Errorf("outside-root", "Outside the project", "%q: %s is a link that leads out of the project (the folder of stacks.star).", spec.Handler, filepath.ToSlash(rel))
			f.Value = spec.Handler
			return "", nil, f
		}
	}
	entry = bundle.Entry(s.root, spec)
	if spec.Kind != bundle.Node && spec.Kind != bundle.Python {
		return entry, starlark.None, nil
	}
	src, err := s.in.read(file)
	if err != nil {
		return entry, starlark.None, nil // the bundler says it better
	}
	hash := hashOf(src)
	s.depend(Dependency{"handler", file, hash}) // only its exports matter here
	found := s.exports.get(file+" "+hash, func() exportList {
		names, known := bundle.Exports(file, src)
		return exportList{names, known}
	})
	names := found.names
	if !found.known {
		return entry, starlark.None, nil
	}
	if !slices.Contains(names, export) {
		rel, _ := filepath.Rel(s.root, file)
		f := interp.Errorf("missing-export", "Handler not found", "%s has no export %q.", filepath.ToSlash(rel), export)
		f.Value = spec.Handler
		if near := nearest(export, names); near != "" {
			f.Hint = near
		} else if len(names) > 0 && len(names) <= 8 {
			f.Hint = "It has " + strings.Join(names, ", ") + "."
		} else if len(names) == 0 {
			f.Hint = "It exports nothing."
		}
		return "", nil, f
	}
	items := make([]starlark.Value, len(names))
	for i, name := range names {
		items[i] = starlark.String(name)
	}
	return entry, starlark.NewList(items), nil
}

// exportList is what bundle.Exports says of a file.
type exportList struct {
	names []string
	known bool
}

func sentence(text string) string {
	if text == "" || strings.HasSuffix(text, ".") || strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

// recordFunction is the intrinsic _function.
func recordFunction(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var target starlark.Value
	var code *bundleValue
	live := true
	var handler, runtime string
	architecture := "x86_64"
	var timeout, memory int
	if err := starlark.UnpackArgs("_function", args, kwargs, "construct", &target, "bundle", &code, "live?", &live,
		"handler??", &handler, "runtime??", &runtime, "architecture??", &architecture, "timeout??", &timeout, "memory??", &memory); err != nil {
		return nil, err
	}
	object, owner := asObject(target), asObject(scopeOf(target))
	if object == nil || owner == nil {
		return nil, interp.Errorf("wrong-type", "Wrong type", "_function: got %s, want a construct.", shown(target))
	}
	tag := s.at(thread)
	f := function{object: object, owner: owner, tag: tag, Function: cfn.Function{
		Handler: code.spec.Handler, Runtime: code.spec.Runtime, Architecture: architecture, Timeout: timeout, Memory: memory,
		Bundle: code.spec, Live: live, Position: s.position(tag),
	}}
	if handler != "" {
		f.Handler = handler
	}
	if runtime != "" {
		f.Runtime = lambdaRuntime(runtime)
	}
	f.Path = owner.constructPath()
	f.ID = s.short(f.Path)
	s.functions = append(s.functions, f)
	if s.in.OnFunction != nil {
		s.in.OnFunction(f.Function)
	}
	return starlark.None, nil
}

// recordSecret is the intrinsic _secret.
func recordSecret(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var target starlark.Value
	var secret cfn.Secret
	if err := starlark.UnpackArgs("_secret", args, kwargs, "construct", &target, "id", &secret.Name, "parameter", &secret.Parameter, "fallback??", &secret.Fallback); err != nil {
		return nil, err
	}
	if !hasTokens(secret.Parameter) {
		secret.ID = s.short(asObject(target).constructPath())
		secret.Position = s.position(s.at(thread))
		s.secrets = append(s.secrets, secret)
	}
	return starlark.None, nil
}
