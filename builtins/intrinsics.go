package builtins

import (
	"bytes"
	"encoding/json"
	"strings"

	starlarkjson "go.starlark.net/lib/json"
	starlarkmath "go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"sst/builtins/jsii"
	"sst/builtins/prelude"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// intrinsic is something that a prelude file cannot do in Starlark.
type intrinsic struct {
	name   string
	params string // "" for a value
	doc    string
	call   func(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
}

// intrinsics is all that prelude files have beside Starlark, `struct`, `json`, `math` and the values _cdk and _unset.
var intrinsics = []intrinsic{
	{"_construct", "kind, members, resource, scope = None",
		"Makes the value of an sst construct: members (dict or struct; names with an underscore are the prelude's own), then the attributes of resource (a CDK object or None). scope is the constructs.Construct that it is, by default the resource.",
		construct},
	{"_state", "**fields",
		"A cell whose attributes can be set until synth starts, also from a loaded file.",
		newState},
	{"_context", "",
		"struct(stage, region, default_region, account, locked_account, local, live, connections_url, personal, root); what is not known is None.",
		contextOf},
	{"_app", "",
		"The sst.App, or None.",
		app},
	{"_set_app", "construct",
		"Registers the app; its members name and region go to the manifest. A second one is an error.",
		setApp},
	{"_flags", "",
		"The CDK feature flags of this version, as a dict.",
		flags},
	{"_on_synth", "fn",
		"Calls fn() when evaluation has ended, before synth, in the order of registration. Its errors are shown at the line of now.",
		onSynth},
	{"_bundle", "handler, runtime, arch = \"x86_64\", options = None",
		"Records that a handler is to be bundled and gives struct(key, code, entry, kind, exports). Missing handler files and exports are errors at the literal.",
		bundleOf},
	{"_site", "construct, path, command = None, output = None, index = None, environment = None",
		"Records that a static site is to be built and gives the cdk.aws_lambda.Code whose bind(scope) says where its archive lies. A missing folder is an error at the literal.",
		siteOf},
	{"_job", "construct, bundle",
		"Records that a job runs a bundle, which is what _bundle gave.",
		jobOf},
	{"_shipped", "name",
		"A cdk.aws_lambda.Code of code that comes with sst itself, by the name under which it was given (Input.Shipped).",
		shippedCode},
	{"_function", "construct, bundle, live = True, handler = None, runtime = None, architecture = \"x86_64\", timeout = None, memory = None",
		"Records a Lambda function for the manifest: construct is the sst construct or the CDK function, bundle what _bundle gave.",
		recordFunction},
	{"_secret", "construct, id, parameter, fallback = None",
		"Records a secret for the manifest: the names of its parameters. One whose name only AWS knows is left out.",
		recordSecret},
	{"_error", "summary, detail, code = \"invalid\", keyword = None, value = None, hint = None",
		"Stops with a diagnostic at the user's line, the caret at that keyword of the call or at the string literal equal to value.",
		raise},
	{"_warn", "summary, detail, code = \"warning\", keyword = None, value = None, hint = None",
		"Says a warning at the user's line and goes on.",
		warn},
	{"_nearest", "name, names",
		"The hint for a name that is not known: 'Did you mean \"x\"?', or None when nothing is near.",
		nearestName},
	{"_kind", "x",
		"The kind of a value: \"Queue\" for an sst construct, \"cdk.aws_sqs.Queue\" for a CDK object, else the Starlark type.",
		kind},
	{"_is", "x, cls",
		"Whether x is (or wraps) an object of a CDK class or interface.",
		is},
	{"_resource", "x",
		"The CDK object behind an sst construct; anything else as it is.",
		resource},
	{"_scope", "x",
		"The constructs.Construct that an sst construct is; anything else as it is.",
		scope},
	{"_duration", "x, keyword = None",
		"A cdk.Duration from \"10 seconds\", a number of seconds, or a cdk.Duration.",
		duration},
	{"_seconds", "x, keyword = None", "A number of seconds from \"10 seconds\", a number, or a cdk.Duration.",
		amountOf(durations, "second", "toSeconds")},
	{"_days", "x, keyword = None", "A number of days from \"2 weeks\", a number of days, or a cdk.Duration.",
		days},
	{"_megabytes", "x, keyword = None", "A number of MB from \"1 GB\", a number, or a cdk.Size.",
		amountOf(sizes, "MB", "toMebibytes")},
	{"_code", "name",
		"A program of the prelude's folder code as text, JavaScript without comments and white space, since Lambda takes 4096 bytes of it in a template.",
		codeOf},
	{"_folder", "path, keyword, extension",
		"The absolute path of a folder of the project that has files of an extension (\"\": anything). A folder that is not there, or has none, is an error at the keyword.",
		folderOf},
	{"_file", "path, keyword",
		"The absolute path of a file of the project. One that is not there is an error at the keyword.",
		fileOf},
	{"_schema", "files, keyword",
		"struct(text, types) of files with parts of a GraphQL schema for AppSync, checked and made one: the text, and a dict of object type to the names of its fields.",
		schemaOf},
	{"_json", "value",
		"Canonical JSON of a value, tokens of the CDK included.",
		toJSON},
}

// unset is sst.UNSET: as a value of a keyword it removes a default.
var unset = sentinel("UNSET")

type sentinel string

func (s sentinel) String() string        { return "sst." + string(s) }
func (s sentinel) Type() string          { return string(s) }
func (s sentinel) Freeze()               {}
func (s sentinel) Truth() starlark.Bool  { return false }
func (s sentinel) Hash() (uint32, error) { return starlark.String(s).Hash() }

// common is what both prelude and user files have.
func common() starlark.StringDict {
	return starlark.StringDict{
		"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
		"json":   starlarkjson.Module,
		"math":   starlarkmath.Module,
	}
}

// preludeNames are predeclared in prelude files.
func preludeNames() map[string]bool {
	names := map[string]bool{"_cdk": true, "_unset": true}
	for name := range common() {
		names[name] = true
	}
	for _, i := range intrinsics {
		names[i.name] = true
	}
	return names
}

// forPrelude are the values predeclared in prelude files.
func (s *session) forPrelude() starlark.StringDict {
	values := common()
	root, _ := s.module("")
	values["_cdk"] = root
	values["_unset"] = unset
	for _, i := range intrinsics {
		values[i.name] = starlark.NewBuiltin(i.name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			s.at(thread)
			v, err := i.call(s, thread, args, kwargs)
			if err != nil && !interp.Caller(thread).IsValid() { // in a hook or callback
				err = s.placed(err, s.base)
			}
			return v, err
		})
	}
	return values
}

// forUser are the values predeclared in files of the user; sst is added when the prelude has run.
func (s *session) forUser() starlark.StringDict {
	values := common()
	root, _ := s.module("")
	values["cdk"] = root
	values["env"] = starlark.NewBuiltin("env", s.env)
	values["read"] = starlark.NewBuiltin("read", s.read)
	values["library"] = starlark.NewBuiltin("library", s.library)
	return values
}

func construct(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var kind string
	var members, resource starlark.Value
	var scope starlark.Value = starlark.None
	if err := starlark.UnpackArgs("_construct", args, kwargs, "kind", &kind, "members", &members, "resource", &resource, "scope?", &scope); err != nil {
		return nil, err
	}
	return s.newConstruct(kind, members, resource, scope)
}

func newState(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackPositionalArgs("_state", args, nil, 0); err != nil {
		return nil, err
	}
	c := &state{s: s, fields: make(starlark.StringDict, len(kwargs))}
	for _, kwarg := range kwargs {
		c.fields[string(kwarg[0].(starlark.String))] = kwarg[1]
	}
	s.states = append(s.states, c)
	return c, nil
}

func contextOf(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("_context", args, kwargs); err != nil {
		return nil, err
	}
	if err := s.readLock(); err != nil {
		return nil, err
	}
	text := func(text string) starlark.Value {
		if text == "" {
			return starlark.None
		}
		return starlark.String(text)
	}
	return starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
		"stage":           starlark.String(s.in.Stage),
		"region":          text(s.in.Region),
		"default_region":  text(s.in.DefaultRegion),
		"locked_account":  text(s.account()),
		"local":           starlark.Bool(s.in.Local),
		"live":            starlark.Bool(s.in.Live),
		"connections_url": text(s.in.ConnectionsURL),
		"personal":        starlark.Bool(s.in.Personal),
		"root":            starlark.String(s.root),
	}), nil
}

func app(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("_app", args, kwargs); err != nil {
		return nil, err
	}
	if s.app == nil {
		return starlark.None, nil
	}
	return s.app, nil
}

func setApp(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var c *Construct
	if err := starlark.UnpackArgs("_set_app", args, kwargs, "construct", &c); err != nil {
		return nil, err
	}
	if s.app != nil {
		return nil, interp.Errorf("second-app", "Second app", "there is exactly one sst.App; the first is at %s.", s.place0(s.appCall.pos))
	}
	s.app, s.appCall = c, s.call(s.at(thread))
	return starlark.None, nil
}

func flags(_ *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("_flags", args, kwargs); err != nil {
		return nil, err
	}
	return starlark.Call(thread, starlarkjson.Module.Members["decode"], starlark.Tuple{starlark.String(prelude.Flags)}, nil)
}

func onSynth(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var fn starlark.Callable
	if err := starlark.UnpackArgs("_on_synth", args, kwargs, "fn", &fn); err != nil {
		return nil, err
	}
	s.onSynth = append(s.onSynth, hook{fn, s.call(s.at(thread))})
	return starlark.None, nil
}

// failureOf reads the arguments of _error and _warn.
func failureOf(name string, args starlark.Tuple, kwargs []starlark.Tuple) (*interp.Failure, error) {
	f := &interp.Failure{Code: "invalid"}
	if name == "_warn" {
		f.Code, f.Severity = "warning", diag.Warning
	}
	var keyword, value, hint, code starlark.Value
	if err := starlark.UnpackArgs(name, args, kwargs, "summary", &f.Summary, "detail", &f.Detail,
		"code?", &code, "keyword?", &keyword, "value?", &value, "hint?", &hint); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		into *string
		from starlark.Value
	}{{&f.Code, code}, {&f.Keyword, keyword}, {&f.Value, value}, {&f.Hint, hint}} {
		if text, ok := part.from.(starlark.String); ok {
			*part.into = string(text)
		}
	}
	if f.Detail != "" && !strings.HasSuffix(f.Detail, ".") && !strings.HasSuffix(f.Detail, "?") {
		f.Detail += "."
	}
	return f, nil
}

func raise(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	f, err := failureOf("_error", args, kwargs)
	if err != nil {
		return nil, err
	}
	return nil, f
}

func warn(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	f, err := failureOf("_warn", args, kwargs)
	if err != nil {
		return nil, err
	}
	s.warnings = append(s.warnings, s.diagnostic(f, s.call(s.at(thread))))
	return starlark.None, nil
}

func nearestName(_ *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	var names starlark.Iterable
	if err := starlark.UnpackArgs("_nearest", args, kwargs, "name", &name, "names", &names); err != nil {
		return nil, err
	}
	var known []string
	iter := names.Iterate()
	defer iter.Done()
	var item starlark.Value
	for iter.Next(&item) {
		if text, ok := starlark.AsString(item); ok {
			known = append(known, text)
		}
	}
	if hint := nearest(name, known); hint != "" {
		return starlark.String(hint), nil
	}
	return starlark.None, nil
}

func kind(_ *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackArgs("_kind", args, kwargs, "x", &x); err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case *Construct:
		return starlark.String(x.kind), nil
	case *Object:
		x.resolve()
		return starlark.String(display(x.t)), nil
	}
	return starlark.String(kindOf(x)), nil
}

func is(_ *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	var cls *class
	if err := starlark.UnpackArgs("_is", args, kwargs, "x", &x, "cls", &cls); err != nil {
		return nil, err
	}
	switch x := x.(type) {
	case *Construct:
		o := asObject(x.resource)
		return starlark.Bool(o != nil && o.is(cls.t.FQN) || x.scope.is(cls.t.FQN)), nil
	case *Object:
		return starlark.Bool(x.is(cls.t.FQN)), nil
	case *structValue:
		return starlark.Bool(x.s.catalog.AssignableTo(x.t.FQN, cls.t.FQN)), nil
	case *enumValue:
		return starlark.Bool(x.t.FQN == cls.t.FQN), nil
	}
	return starlark.False, nil
}

func resource(_ *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackArgs("_resource", args, kwargs, "x", &x); err != nil {
		return nil, err
	}
	if c, ok := x.(*Construct); ok {
		return c.resource, nil
	}
	return x, nil
}

func scope(_ *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackArgs("_scope", args, kwargs, "x", &x); err != nil {
		return nil, err
	}
	return scopeOf(x), nil
}

func duration(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	x, keyword, err := unitArgs("_duration", args, kwargs)
	if err != nil || x == starlark.None {
		return x, err
	}
	c := &conversion{s: s, what: "duration"}
	if keyword != "" {
		c.push(keyword)
	}
	ref, err := c.value(x, jsii.TypeRef{Kind: jsii.Named, FQN: durationFQN})
	if err != nil {
		return nil, err
	}
	for _, o := range s.durations {
		if o.id == ref.(jsii.Ref).ID {
			return o, nil
		}
	}
	return asObject(x), nil
}

func unitArgs(name string, args starlark.Tuple, kwargs []starlark.Tuple) (x starlark.Value, keyword string, err error) {
	var word starlark.Value
	err = starlark.UnpackArgs(name, args, kwargs, "x", &x, "keyword?", &word)
	if text, ok := word.(starlark.String); ok {
		keyword = string(text)
	}
	return x, keyword, err
}

// amountOf is an intrinsic that gives a quantity as a number; None stays None.
func amountOf(u *unit, word, method string) func(*session, *starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return func(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		x, keyword, err := unitArgs("_"+plural(word), args, kwargs)
		if err != nil || x == starlark.None {
			return x, err
		}
		return s.amount(keyword, x, u, word, method)
	}
}

// days differs from the other units in what a bare number means.
func days(s *session, thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	u := *durations
	u.bare = "day"
	u.example = `"2 weeks"`
	return amountOf(&u, "day", "toDays")(s, thread, args, kwargs)
}

func toJSON(s *session, _ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackArgs("_json", args, kwargs, "value", &x); err != nil {
		return nil, err
	}
	c := &conversion{s: s, what: "json"}
	wire, err := c.free(x)
	if err != nil {
		return nil, err
	}
	if !hasTokens(wire) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(canonical(wire)); err != nil {
			return nil, err
		}
		return starlark.String(bytes.TrimRight(b.Bytes(), "\n")), nil
	}
	if s.stack == nil {
		return nil, interp.Errorf("no-stack", "No stack", "a value known only to CloudFormation can be written as JSON only when there is a stack.")
	}
	v, err := s.call1(jsii.Op{Kind: jsii.Invoke, Target: s.stack.id, Member: "toJsonString", Args: []jsii.Value{canonical(wire)},
		Returns: jsii.TypeRef{Kind: jsii.String}, Tag: s.at(nil)})
	if err != nil {
		return nil, err
	}
	return s.receive(v, jsii.TypeRef{Kind: jsii.String}), nil
}

// hasTokens says whether a value has parts that only the CDK can write.
func hasTokens(v jsii.Value) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "${Token[") || strings.Contains(v, "#{Token[")
	case float64:
		return jsii.IsNumberToken(v)
	case []jsii.Value:
		for _, item := range v {
			if hasTokens(item) {
				return true
			}
		}
	case jsii.Pairs:
		for _, p := range v {
			if hasTokens(p.Value) || strings.Contains(p.Name, "${Token[") {
				return true
			}
		}
	case jsii.Ref, jsii.EnumValue, jsii.Callback, jsii.StructValue:
		return true
	}
	return false
}
