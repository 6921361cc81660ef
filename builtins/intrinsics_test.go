package builtins

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// A prelude of its own for the tests of intrinsics.
const testPrelude = `
cell = _state(seen = [], apps = {})

def App(name, **more):
    resource = _cdk.App()
    self = _construct("App", {"name": name, "region": None, "_hidden": 1}, resource)
    _set_app(self)
    return self

def Stack(app, id):
    resource = _cdk.Stack(app, "dev-" + app.name + "-" + id)
    return _construct("Stack", {"double": lambda x: 2 * x}, resource)

def Thing(scope, id, *, size = None, wait = None):
    outer = _cdk.constructs.Construct(scope, id)
    inner = _cdk.aws_sqs.Queue(outer, "Resource")
    if size == "huge":
        _error("Wrong size", "Thing: size is small or large", code = "wrong-size", keyword = "size", value = size, hint = _nearest("smal", ["small", "large"]))
    if size == "odd":
        _warn("Odd size", "Thing: size odd is odd", keyword = "size")
    cell.seen.append(id)
    cell.last = id
    cell.wait = _seconds(wait, "wait")
    if size == "late":
        _on_synth(lambda: _error("Late", "said at the end"))
    return _construct("Thing", {"size": size, "seen": lambda: list(cell.seen)}, inner, outer)

def Facts(x):
    return [_kind(x), _is(x, _cdk.aws_sqs.IQueue), _is(x, _cdk.constructs.IConstruct), _kind(_resource(x)), _kind(_scope(x)), _kind(1), _is(1, _cdk.App)]

def Units():
    return [_seconds("2 minutes"), _seconds(5), _days("2 weeks"), _days(3), _megabytes("1 GB"), _megabytes(512), _seconds(None), str(_duration("1 hour"))]

def Json(x):
    return _json(x)

def Context():
    c = _context()
    return [c.stage, c.region, c.local, c.personal, _app() != None]

def hidden():
    pass
`

func withPrelude(t *testing.T, src string) (*session, map[string]string, error) {
	t.Helper()
	l := compile(fstest.MapFS{"test.star": {Data: []byte(testPrelude)}})
	if l.err != nil {
		t.Fatal(l.err)
	}
	dir := project(t, map[string]string{"stacks.star": src, "lib.star": "load(\"//more.star\", \"thing\")\ndef thing2(web):\n    return thing(web)\n",
		"more.star": "def thing(web):\n    return sst.Thing(web, \"More\")\n"})
	s := newSession(context.Background(), Input{File: filepath.Join(dir, "stacks.star"), Stage: "dev", Personal: true}, &recorder{})
	printed := map[string]string{}
	err := s.evaluate(l)
	for _, d := range s.warnings {
		printed["warning"] += d.Summary + ": " + d.Detail
	}
	return s, printed, err
}

func TestIntrinsics(t *testing.T) {
	const head = "app = sst.App(\"notes\")\nweb = sst.Stack(app, \"web\")\n"
	tests := []struct{ name, src, want string }{
		{"construct", `t = sst.Thing(web, "T", size = "small")
check([str(t), type(t), t.size, t == t, {t: 1}[t], t.queue_name.startswith("${"), str(t.resource), str(t.node) != "", hasattr(t, "_hidden"), "size" in dir(t), "queue_arn" in dir(t)],
    ["<sst.Thing web/T>", "sst.Thing", "small", True, 1, True, "<aws_sqs.Queue web/T/Resource>", True, False, True, True])`, ""},
		{"state outlives freezing", `load("lib.star", "thing2")
thing2(web)
check(sst.Thing(web, "B").seen(), ["More", "B"])`, ""},
		{"scope and resource", `t = sst.Thing(web, "T")
check(sst.Facts(t), ["Thing", True, True, "cdk.aws_sqs.Queue", "cdk.constructs.Construct", "int", False])
check(sst.Facts(t.resource)[:3], ["cdk.aws_sqs.Queue", True, True])
cdk.aws_sqs.Queue(t, "Child", dead_letter_queue = {"queue": t, "max_receive_count": 2})`, ""},
		{"units", `check(sst.Units(), [120, 5, 14, 3, 1024, 512, None, "<cdk.Duration>"])`, ""},
		{"json", `check([sst.Json({"b": 1, "a": [None, True, "<&>"]}), sst.Json({"t": app.node.id}).startswith("${")], ['{"a":[null,true,"<&>"],"b":1}', True])`, ""},
		{"context", `check(sst.Context(), ["dev", None, False, True, True])`, ""},
		{"hidden", `check([hasattr(sst, "hidden"), hasattr(sst, "Thing"), str(sst.UNSET)], [False, True, "sst.UNSET"])`, ""},
		{"error at the keyword", `sst.Thing(web, "T", size = "huge")`, `stacks.star:5:28: error: Wrong size: Thing: size is small or large. Did you mean "small"?`},
		{"error in a hook", `sst.Thing(web, "T", size = "late")`, `stacks.star:5:1: error: Late: said at the end.`},
		{"wrong unit", `sst.Thing(web, "T", wait = "3 parsecs")`, `stacks.star:5:28: error: Wrong unit: wait: "3 parsecs" is not understood: write a number and a unit, like "10 seconds" (millisecond, second, minute, hour, day, week).`},
		{"second app", `sst.App("other")`, `stacks.star:5:1: error: Second app: there is exactly one sst.App; the first is at stacks.star:1.`},
		{"unknown attribute", `sst.Thing(web, "T").sice`, `stacks.star:5:21: error: Unknown attribute: sst.Thing has no attribute "sice", and neither has its resource (cdk.aws_sqs.Queue). Did you mean "size"?`},
		{"prelude only", `_cdk`, `stacks.star:5:1: error: Unknown name: There is no "_cdk" here.`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, _, err := withPrelude(t, head+"def check(got, want):\n    got == want or fail(\"got %s, want %s\" % (got, want))\n"+test.src+"\n")
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), s.root+string(filepath.Separator), "")
			}
			if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
				t.Errorf("\n got  %s\n want %s", got, test.want)
			}
		})
	}
}

func TestWarning(t *testing.T) {
	_, printed, err := withPrelude(t, "app = sst.App(\"notes\")\nsst.Thing(sst.Stack(app, \"web\"), \"T\", size = \"odd\")\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := printed["warning"], "Odd size: Thing: size odd is odd."; got != want {
		t.Errorf("warned %q, want %q", got, want)
	}
}

func TestStateClosesWithSynth(t *testing.T) {
	s, _, err := withPrelude(t, "app = sst.App(\"notes\")\nsst.Thing(sst.Stack(app, \"web\"), \"T\")\n")
	if err != nil {
		t.Fatal(err)
	}
	s.closeStates()
	if err := s.states[0].SetField("x", unset); err == nil {
		t.Error("a cell could be set after synth started")
	}
}

func TestIntrinsicsAreDocumented(t *testing.T) {
	for _, i := range intrinsics {
		if !strings.HasPrefix(i.name, "_") || i.doc == "" || !strings.HasSuffix(i.doc, ".") {
			t.Errorf("%s(%s): %q", i.name, i.params, i.doc)
		}
	}
}
