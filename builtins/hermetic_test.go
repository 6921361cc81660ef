package builtins

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sst/starlark/diag"
)

// hermetic uses much of what could differ between two machines: files, dates, maps, tokens, generated names.
const hermetic = `
app = sst.App("notes", region = "us-east-1")
web = sst.Stack(app, "web")
cdk.aws_s3_assets.Asset(web, "Folder", path = "asset")
cdk.aws_s3.Bucket(web, "Raw", lifecycle_rules = [{"expiration_date": "2030-01-31"}])
cdk.CfnOutput(web, "When", value = cdk.Expiration.after("1 day").date)
cdk.CfnOutput(web, "Text", value = read("text.txt") + env("WHO", default = "nobody"))
cdk.CfnOutput(web, "Sorted", value = ",".join(sorted([cdk.CfnParameter(web, n).value_as_string for n in ["b", "a", "c"]])))
cdk.CfnResource(web, "Map", type = "X::Y::Z", properties = {k: {"n": len(k)} for k in ["z", "y", "x", "w", "v"]})
sst.Api(web, "Api", routes = {"GET /": "src/notes.list", "POST /": "src/notes.create"})
`

func hermeticProject(t *testing.T) map[string]string {
	return map[string]string{"stacks.star": hermetic, "src/notes.ts": handlers, "asset/x.txt": "x", "asset/deep/y.txt": "y", "text.txt": "hello "}
}

// TestSameBytesElsewhere synthesizes for another user, in another place on earth and with another environment.
func TestSameBytesElsewhere(t *testing.T) {
	warm := engine(t)
	first, err := synth(t, warm, project(t, hermeticProject(t)), Input{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // each run has another order of Go's maps
		again, err := synth(t, warm, project(t, hermeticProject(t)), Input{})
		if err != nil {
			t.Fatal(err)
		}
		sameAssembly(t, "again", first, again)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SST_TEST_CDK_CACHE", filepath.Join(cache, "sst-test"))
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "USER": "somebody", "LOGNAME": "somebody", "TZ": "Asia/Kathmandu", "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8", "TMPDIR": t.TempDir(),
		"AWS_REGION": "eu-north-1", "AWS_PROFILE": "other", "CDK_DEFAULT_ACCOUNT": "999999999999", "CDK_DEFAULT_REGION": "eu-north-1", "CDK_OUTDIR": home,
		"CDK_CONTEXT_JSON": `{"@aws-cdk/core:newStyleStackSynthesis": false}`, "CDK_DEBUG": "true", "NODE_OPTIONS": "--stack-trace-limit=3", "WHO": "me",
	} {
		t.Setenv(name, value)
	}
	fresh := newEngine()
	defer fresh.Close()
	there, err := synth(t, fresh, project(t, hermeticProject(t)), Input{})
	if err != nil {
		t.Fatal(err)
	}
	sameAssembly(t, "elsewhere", first, there)
	if list, _ := os.ReadDir(home); len(list) > 0 {
		t.Errorf("something was written to the user's home: %v", list)
	}
	template, err := os.ReadFile(filepath.Join(there.Dir, "dev-notes-web.template.json"))
	if err != nil || !strings.Contains(string(template), "2000-01-02T00:00:00") || !strings.Contains(string(template), "hello nobody") {
		t.Errorf("the clock or the environment shows in the template: %v\n%s", err, template)
	}
}

// TestEditedAsset changes what only the CDK reads.
func TestEditedAsset(t *testing.T) {
	dir := project(t, hermeticProject(t))
	first, err := synth(t, engine(t), dir, Input{})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, d := range first.Inputs {
		rel, _ := filepath.Rel(dir, d.Name)
		kinds[filepath.ToSlash(rel)] = d.Kind
	}
	for name, kind := range map[string]string{"asset": "dir", "asset/deep": "dir", "asset/x.txt": "file", "asset/deep/y.txt": "file", "text.txt": "file", LockFile: "missing"} {
		if kinds[name] != kind {
			t.Errorf("input %s is %q, want %q", name, kinds[name], kind)
		}
	}
	before := assembly(t, first.Dir)
	if err := os.WriteFile(filepath.Join(dir, "asset/deep/y.txt"), []byte("z"), 0o644); err != nil {
		t.Fatal(err)
	}
	second, err := synth(t, engine(t), dir, Input{})
	if err != nil {
		t.Fatal(err)
	}
	if name := "dev-notes-web.assets.json"; string(before[name]) == string(assembly(t, second.Dir)[name]) {
		t.Errorf("%s is the same after the folder of an asset was edited", name)
	}
}

// outsiders want something that does not belong to the project; root/link and root/sneaky.txt are links that lead out.
var outsiders = map[string]string{
	"read":              `read("../outside/secret.txt")`,
	"read of a root":    `read("//../outside/secret.txt")`,
	"read absolute":     `read(OUTSIDE + "/secret.txt")`,
	"read by a link":    `read("sneaky.txt")`,
	"read in a link":    `read("link/secret.txt")`,
	"load":              `load("../outside/x.star", "x")`,
	"load by a link":    `load("./link/x.star", "x")`,
	"asset":             `cdk.aws_s3_assets.Asset(web, "A", path = "../outside")`,
	"asset absolute":    `cdk.aws_s3_assets.Asset(web, "A", path = OUTSIDE)`,
	"asset by a link":   `cdk.aws_s3_assets.Asset(web, "A", path = "link")`,
	"asset of a file":   `cdk.aws_s3_assets.Asset(web, "A", path = "sneaky.txt")`,
	"code":              `cdk.aws_lambda.Code.from_asset("link/data").bind(web)`,
	"included template": `cdk.cloudformation_include.CfnInclude(web, "I", template_file = "link/t.json")`,
	"schema":            `cdk.aws_appsync.GraphqlApi(web, "G", name = "g", definition = cdk.aws_appsync.Definition.from_file("sneaky.txt"))`,
	"inline code":       `cdk.aws_cloudfront.FunctionCode.from_file(file_path = "sneaky.txt").render()`,
	"handler":           `sst.Function(web, "F", handler = "../outside/h.main")`,
	"handler by a link": `sst.Function(web, "F", handler = "link/h.main")`,
	"API definition":    `cdk.aws_apigateway.SpecRestApi(web, "S", api_definition = cdk.aws_apigateway.ApiDefinition.from_asset("sneaky.txt"))`,
	"links followed":    `cdk.aws_s3_assets.Asset(web, "A", path = "inside", follow_symlinks = cdk.SymlinkFollowMode.ALWAYS)`,
}

// TestNothingElseIsRead tries each way out; opened says what was opened meanwhile, as the kernel saw it.
func TestNothingElseIsRead(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	outside, root := filepath.Join(base, "outside"), filepath.Join(base, "project")
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"secret.txt": "type Query { a: String }", "x.star": "x = 1", "data/x.txt": "x", "t.json": `{"Resources":{}}`, "h.js": "exports.main = () => 1"} {
		write(filepath.Join(outside, name), text)
	}
	write(filepath.Join(root, "inside", "x.txt"), "x")
	for link, to := range map[string]string{"link": "../outside", "sneaky.txt": "../outside/secret.txt", "inside/link": "../../outside"} {
		if err := os.Symlink(filepath.FromSlash(to), filepath.Join(root, link)); err != nil {
			t.Skipf("links cannot be made: %v", err)
		}
	}
	opened := watchOpens(t, base, outside, filepath.Join(outside, "data"))
	for name, body := range outsiders {
		write(filepath.Join(root, "stacks.star"), strings.ReplaceAll("app = sst.App(\"a\")\nweb = sst.Stack(app, \"web\")\n"+body+"\n", "OUTSIDE", `"`+filepath.ToSlash(outside)+`"`))
		_, err := synth(t, engine(t), root, Input{})
		var list diag.List
		if !errors.As(err, &list) || list[0].Span.Start.Line != 3 {
			t.Errorf("%s: err = %v, want a diagnostic at line 3", name, err)
		}
		for _, file := range opened() {
			if file != "project" && !strings.HasPrefix(file, "Test") {
				t.Errorf("%s: %s was opened", name, file)
			}
		}
	}
}
