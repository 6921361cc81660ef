package cfn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hexOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// open reads an assembly of testdata with a manifest that lists all its functions, as the engine would.
func open(t testing.TB, dir, stage, app string) *Assembly {
	t.Helper()
	asm, err := Open(dir)
	must(t, err)
	asm.Manifest = manifestOf(t, asm, stage, app)
	return asm
}

func manifestOf(t testing.TB, asm *Assembly, stage, app string) *Manifest {
	t.Helper()
	m := &Manifest{App: app, Stage: stage}
	for _, top := range asm.Stacks {
		all, err := top.withNested()
		must(t, err)
		for _, s := range all {
			template, err := s.Template()
			must(t, err)
			for _, id := range template.all(typeFunction) {
				r := template.Resources[id]
				if object(r.Properties["Code"])["S3Key"] == nil {
					continue // the CDK's own
				}
				path := m.ShortPath(s.Path(id))
				_, below, _ := strings.Cut(path, "/")
				m.Functions = append(m.Functions, Function{
					ID: path, Path: s.Path(id), Stack: top.ID, LogicalID: id, Name: FunctionName(top.Name, below),
					Handler: r.Properties["Handler"].(string),
				})
			}
		}
	}
	return m
}

// codes are what bundling gives for the assemblies of testdata: the key is the hash of the handler; all handlers of
// one file share their code.
func codes(m *Manifest, version string) map[string]Code {
	all := map[string]Code{}
	for _, f := range m.Functions {
		file, _, _ := strings.Cut(f.Handler, ".")
		content := file + version
		all[hexOf(f.Handler)] = Code{Hash: hexOf("code " + content), Zip: func() ([]byte, error) { return []byte("zip of " + content), nil }}
	}
	return all
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	want, err := os.ReadFile(file)
	if err == nil && bytes.Equal(got, want) {
		return
	}
	if *update {
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, got, 0o644))
		return
	}
	t.Errorf("%s differs (run with -update and read the diff):\n%s", file, got)
}

func TestOpen(t *testing.T) {
	for _, test := range []struct{ dir, want string }{
		{"testdata/notes", `dev-notes-storage name=dev-notes-storage env=/eu-west-1 deps=[] assets=2 nested=[]
dev-notes-web name=dev-notes-web env=/eu-west-1 deps=[dev-notes-storage] assets=8 nested=[dev-notes-web/InnerNestedStackInnerNestedStackResource745E041B dev-notes-web/InnerNestedStackInnerNestedStackResource745E041B/DeeperNestedStackDeeperNestedStackResource02A56DA5]
`},
		{"testdata/stages", `BetaDataEED1ED73 name=Beta-Data env=111111111111/us-west-2 deps=[] assets=1 nested=[]
BetaWorkA29745F2 name=Beta-Work env=111111111111/us-west-2 deps=[BetaDataEED1ED73] assets=2 nested=[]
ProdData90A795AA name=Prod-Data env=111111111111/us-west-2 deps=[] assets=1 nested=[]
ProdWork50AF616D name=Prod-Work env=111111111111/us-west-2 deps=[ProdData90A795AA] assets=2 nested=[]
Shared name=Shared env=/ deps=[] assets=2 nested=[]
`},
	} {
		asm, err := Open(test.dir)
		must(t, err)
		var got strings.Builder
		for _, s := range asm.Stacks {
			all, err := s.withNested()
			must(t, err)
			var nested []string
			for _, n := range all[1:] {
				nested = append(nested, n.ID)
			}
			fmt.Fprintf(&got, "%s name=%s env=%s/%s deps=%v assets=%d nested=%v\n", s.ID, s.Name, s.Account, s.Region, s.Dependencies, len(s.Assets), nested)
		}
		if got.String() != test.want {
			t.Errorf("%s:\n%s\nwant:\n%s", test.dir, got.String(), test.want)
		}
	}
	if _, err := Open("testdata"); err == nil || !strings.Contains(err.Error(), "is not a cloud assembly") {
		t.Errorf("a folder without manifest.json: %v", err)
	}
}

func TestDeriveGolden(t *testing.T) {
	for _, test := range []struct{ dir, stage, app string }{
		{"notes", "dev", "notes"}, {"stages", "dev", "stages"}, {"version", "dev", "version"},
	} {
		asm := open(t, filepath.Join("testdata", test.dir), test.stage, test.app)
		must(t, Derive(asm, asm.Manifest))
		for i := range asm.Manifest.Functions { // the rest is the test's own
			asm.Manifest.Functions[i] = Function{ID: asm.Manifest.Functions[i].ID, Stack: asm.Manifest.Functions[i].Stack, LogicalID: asm.Manifest.Functions[i].LogicalID, Name: asm.Manifest.Functions[i].Name}
		}
		got, err := marshal(asm.Manifest, "  ")
		must(t, err)
		golden(t, test.dir+".sst.json", got)
	}
}

func TestEnvironmentGolden(t *testing.T) {
	var out bytes.Buffer
	for _, dir := range []string{"notes", "stages"} {
		asm := open(t, filepath.Join("testdata", dir), "dev", dir)
		r := NewResolver(asm, Local{URL: func(s *Stack, id string) (string, bool) { return "http://127.0.0.1:3000", true }})
		for _, f := range asm.Manifest.Functions {
			env, err := r.Environment(f)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(&out, "%s\n", f.ID)
			for _, name := range slices.Sorted(maps.Keys(env)) {
				fmt.Fprintf(&out, "  %s=%s\n", name, env[name])
			}
		}
	}
	golden(t, "environment.txt", out.Bytes())
}

func template(t testing.TB, text string) (*Assembly, *Stack) {
	t.Helper()
	parsed, err := ParseTemplate([]byte(text))
	must(t, err)
	s := &Stack{ID: "S", Name: "S", template: parsed}
	s.once.Do(func() {})
	return &Assembly{Stacks: []*Stack{s}}, s
}

func TestResolve(t *testing.T) {
	asm, s := template(t, `{
"Parameters": {"P": {"Type": "String", "Default": "p"}, "None": {"Type": "String"}, "List": {"Type": "CommaDelimitedList", "Default": "a, b"},
  "Ssm": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/name"}},
"Mappings": {"M": {"a": {"b": ["x", "y"]}}},
"Conditions": {"Yes": {"Fn::Equals": [{"Ref": "P"}, "p"]}, "No": {"Fn::Not": [{"Condition": "Yes"}]},
  "Both": {"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]}, "Either": {"Fn::Or": [{"Condition": "No"}, {"Condition": "Yes"}]}},
"Resources": {
  "Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "${P}-q"}}},
  "Fifo": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": true}},
  "B": {"Type": "AWS::S3::Bucket"},
  "F": {"Type": "AWS::Lambda::Function"},
  "Live": {"Type": "AWS::Lambda::Alias", "Properties": {"Name": "live", "FunctionName": {"Ref": "F"}}},
  "T": {"Type": "AWS::DynamoDB::Table"},
  "K": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/k", "Value": {"Ref": "T"}}},
  "X": {"Type": "Custom::Thing"},
  "Loop": {"Type": "AWS::SSM::Parameter", "Properties": {"Value": {"Fn::GetAtt": ["Loop", "Value"]}}}
}}`)
	r := NewResolver(asm, Local{Value: func(_ *Stack, id string, _ *Resource, attribute string) (string, bool) {
		return "mine", id == "X" && attribute == "Mine"
	}})
	for _, test := range []struct{ value, want string }{
		{`"text"`, `"text"`},
		{`{"Ref": "P"}`, `"p"`},
		{`{"Ref": "List"}`, `["a","b"]`},
		{`{"Ref": "AWS::Region"}`, `"us-east-1"`},
		{`{"Ref": "AWS::StackName"}`, `"S"`},
		{`{"a": {"Ref": "AWS::NoValue"}, "b": [1, {"Ref": "AWS::NoValue"}]}`, `{"b":[1]}`},
		{`{"Ref": "Q"}`, `"https://sqs.us-east-1.amazonaws.com/000000000000/p-q"`},
		{`{"Fn::GetAtt": ["Q", "Arn"]}`, `"arn:aws:sqs:us-east-1:000000000000:p-q"`},
		{`{"Fn::GetAtt": "Q.QueueName"}`, `"p-q"`},
		{`{"Fn::GetAtt": ["Fifo", "QueueName"]}`, `"S-Fifo.fifo"`},
		{`{"Ref": "B"}`, `"s-b"`},
		{`{"Fn::GetAtt": ["B", "Arn"]}`, `"arn:aws:s3:::s-b"`},
		{`{"Fn::GetAtt": ["F", "Arn"]}`, `"arn:aws:lambda:us-east-1:000000000000:function:S-F"`},
		{`{"Ref": "Live"}`, `"arn:aws:lambda:us-east-1:000000000000:function:S-F:live"`},
		{`{"Fn::GetAtt": ["T", "StreamArn"]}`, `"arn:aws:dynamodb:us-east-1:000000000000:table/S-T/stream/2020-01-01T00:00:00.000"`},
		{`{"Fn::GetAtt": ["K", "Value"]}`, `"S-T"`},
		{`{"Fn::GetAtt": ["X", "Mine"]}`, `"mine"`},
		{`{"Fn::Join": ["-", ["a", {"Ref": "P"}, 1, true]]}`, `"a-p-1-true"`},
		{`{"Fn::Join": ["||", {"Ref": "List"}]}`, `"a||b"`},
		{`{"Fn::Select": ["1", {"Fn::Split": [",", "a,b,c"]}]}`, `"b"`},
		{`{"Fn::Select": [0, {"Fn::FindInMap": ["M", "a", "b"]}]}`, `"x"`},
		{`{"Fn::FindInMap": ["M", "a", "z", {"DefaultValue": "d"}]}`, `"d"`},
		{`{"Fn::Sub": "${AWS::Region} ${Q.Arn} ${!P} ${P}"}`, `"us-east-1 arn:aws:sqs:us-east-1:000000000000:p-q ${P} p"`},
		{`{"Fn::Sub": ["${V}", {"V": {"Ref": "B"}}]}`, `"s-b"`},
		{`{"Fn::If": ["Yes", "y", "n"]}`, `"y"`},
		{`{"Fn::If": ["No", "y", "n"]}`, `"n"`},
		{`{"Fn::If": ["Both", "y", "n"]}`, `"n"`},
		{`{"Fn::If": ["Either", "y", {"Ref": "Missing"}]}`, `"y"`},
		{`{"Fn::Base64": "hi"}`, `"aGk="`},
		{`{"Fn::GetAZs": ""}`, `["us-east-1a","us-east-1b","us-east-1c"]`},
		{`{"Fn::Length": {"Ref": "List"}}`, `2`},
		{`{"Fn::ToJsonString": {"a": {"Ref": "P"}}}`, `"{\"a\":\"p\"}"`},

		{`{"Ref": "Missing"}`, `stack S: {"Ref":"Missing"}: there is no parameter or resource of this name`},
		{`{"Ref": "None"}`, `stack S: {"Ref":"None"}: the parameter has no default`},
		{`{"Ref": "Ssm"}`, `stack S: {"Ref":"Ssm"}: the parameter's value is in SSM (/name)`},
		{`{"Ref": "X"}`, `stack S: {"Ref":"X"}: a local run has no value for a Ref of X (Custom::Thing)`},
		{`{"Fn::GetAtt": ["X", "Data"]}`, `stack S: {"Fn::GetAtt":["X","Data"]}: a local run has no value for the attribute "Data" of X (Custom::Thing)`},
		{`{"Fn::GetAtt": ["Q", "Color"]}`, `stack S: {"Fn::GetAtt":["Q","Color"]}: a local run has no value for the attribute "Color" of Q (AWS::SQS::Queue)`},
		{`{"Fn::GetAtt": ["Loop", "Value"]}`, `stack S: {"Fn::GetAtt":["Loop","Value"]}: it depends on itself`},
		{`{"Fn::ImportValue": "gone"}`, `stack S: {"Fn::ImportValue":"gone"}: no stack of the app exports "gone"`},
		{`{"Fn::GetStackOutput": {"StackName": "Other", "OutputName": "O"}}`, `stack S: {"Fn::GetStackOutput":{"OutputName":"O","StackName":"Other"}}: the app has no stack named "Other"`},
		{`{"Fn::Cidr": ["10.0.0.0/16", 1, 8]}`, `stack S: {"Fn::Cidr":["10.0.0.0/16",1,8]}: a local run does not know Fn::Cidr`},
		{`{"Fn::Select": [5, ["a"]]}`, `stack S: {"Fn::Select":[5,["a"]]}: there is no element 5 among 1`},
		{`{"Fn::Join": ["-", "x", "y"]}`, `stack S: {"Fn::Join":["-","x","y"]}: the arguments do not fit Fn::Join`},
		{`{"Fn::FindInMap": ["M", "a", "z"]}`, `stack S: {"Fn::FindInMap":["M","a","z"]}: the mapping has no M → a → z`},
		{`"{{resolve:ssm:/x}}"`, `stack S: "{{resolve:ssm:/x}}": a dynamic reference has its value in AWS only`},
		{`{"Fn::If": ["Gone", 1, 2]}`, `stack S: {"Fn::If":["Gone",1,2]}: there is no condition "Gone"`},
	} {
		var value any
		decoder := json.NewDecoder(strings.NewReader(test.value))
		decoder.UseNumber()
		must(t, decoder.Decode(&value))
		got := ""
		if out, err := r.Resolve(s, value); err != nil {
			got = err.Error()
		} else {
			text, err := json.Marshal(out)
			must(t, err)
			got = string(text)
		}
		if got != test.want {
			t.Errorf("Resolve(%s) = %s, want %s", test.value, got, test.want)
		}
	}
}

// The form that the CDK's recommended flags give cross-stack references.
func TestWeakReferences(t *testing.T) {
	asm, _ := template(t, `{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}, "Outputs": {"O": {"Value": {"Fn::GetAtt": ["Q", "Arn"]}}}}`)
	other, s := template(t, `{"Resources": {
"F": {"Type": "AWS::Lambda::Function"},
"M": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"FunctionName": {"Ref": "F"},
  "EventSourceArn": {"Fn::GetStackOutput": {"StackName": "S", "OutputName": "O", "Region": {"Ref": "AWS::Region"}}}}}}}`)
	s.ID, s.Name = "T", "T"
	asm.Stacks = append(asm.Stacks, other.Stacks...)
	m := &Manifest{Functions: []Function{{ID: "T/F", Stack: "T", LogicalID: "F", Name: "T-F"}}}
	must(t, Derive(asm, m))
	if len(m.Triggers) != 1 || m.Triggers[0].Source != "S/Q" || m.Triggers[0].Type != "queue" {
		t.Errorf("triggers: %+v", m.Triggers)
	}
	got, err := NewResolver(asm, Local{}).Resolve(s, map[string]any{"Fn::GetStackOutput": map[string]any{"StackName": "S", "OutputName": "O"}})
	if err != nil || got != "arn:aws:sqs:us-east-1:000000000000:S-Q" {
		t.Errorf("Fn::GetStackOutput: %v %v", got, err)
	}
}

func finish(_ *Assembly, err error) error { return err }

func TestFinish(t *testing.T) {
	for _, dir := range []string{"notes", "stages"} {
		t.Run(dir, func(t *testing.T) {
			src, dst := filepath.Join("testdata", dir), filepath.Join(t.TempDir(), "out")
			asm := open(t, src, "dev", dir)
			m := asm.Manifest
			first := codes(m, "")
			must(t, finish(FinishTo(src, dst, m, first)))
			check(t, dst, first)
			once := files(t, dst)
			must(t, finish(FinishTo(src, dst, m, first)))
			equal(t, "on repeat", once, files(t, dst))
			must(t, finish(Finish(dst, m, first)))
			equal(t, "in place", once, files(t, dst))

			second := codes(m, " changed")
			must(t, finish(FinishTo(src, dst, m, second)))
			check(t, dst, second)
			if once["manifest.json"] == files(t, dst)["manifest.json"] {
				t.Errorf("other code, but manifest.json is the same")
			}
			must(t, finish(FinishTo(src, dst, m, first)))
			equal(t, "and back", once, files(t, dst))
		})
	}
}

// check reads a finished assembly as the CLI does: every asset is there, every template has the hash it is listed
// under, and no placeholder is left.
func check(t *testing.T, dir string, codes map[string]Code) {
	t.Helper()
	asm, err := Open(dir)
	must(t, err)
	for name, text := range files(t, dir) {
		for key := range codes {
			if strings.Contains(text, key) && name != ManifestFile {
				t.Errorf("%s: a placeholder is left", name)
			}
		}
	}
	listed := map[string]bool{}
	for _, s := range asm.Stacks {
		if !strings.Contains(s.Deployment.StackTemplateAssetObjectURL, "/"+hashOf(t, filepath.Join(s.Dir, s.TemplateFile))+".json") {
			t.Errorf("%s: the template's URL %s is not that of its content", s.ID, s.Deployment.StackTemplateAssetObjectURL)
		}
		all, err := s.withNested()
		must(t, err)
		if want := 3; s.ID == "dev-notes-web" && len(all) != want {
			t.Errorf("%s: %d stacks with nested ones, want %d", s.ID, len(all), want)
		}
		for _, a := range s.Assets {
			listed[a.Path] = true
			if strings.HasSuffix(a.Path, ".template.json") {
				if hash := hashOf(t, a.Path); a.ID != hash || a.ObjectKey != hash+".json" {
					t.Errorf("%s: asset %s with key %s has the content %s", a.Path, a.ID, a.ObjectKey, hash)
				}
			} else if _, err := os.Stat(a.Path); err != nil || a.ObjectKey != a.ID+".zip" {
				t.Errorf("%s: key %s: %v", a.Path, a.ObjectKey, err)
			}
		}
	}
	for name := range files(t, dir) {
		if full := filepath.Join(dir, name); strings.HasSuffix(name, ".zip") && !listed[full] {
			t.Errorf("%s is left over", name)
		}
	}
}

func hashOf(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	return hexOf(string(data))
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(data)
		return err
	}))
	return all
}

func equal(t *testing.T, when string, want, got map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: %s differs", when, name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d files, want %d", when, len(got), len(want))
	}
}

// An assembly that was synthesized again with the real hashes has these in the place of keys.
func TestFinishRealHash(t *testing.T) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS("testdata/version")))
	asm := open(t, dir, "dev", "version")
	all := codes(asm.Manifest, "")
	for name, text := range files(t, dir) {
		for key, code := range all {
			text = strings.ReplaceAll(text, key, code.Hash)
		}
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(t, finish(Finish(dir, asm.Manifest, all)))
	check(t, dir, all)
	asm, err := Open(dir)
	must(t, err)
	if needed, err := NeedsRealHash(asm); needed || err != nil {
		t.Errorf("a finished assembly needs real hashes: %v", err)
	}
}

func TestFinishMissingCode(t *testing.T) {
	asm := open(t, "testdata/notes", "dev", "notes")
	_, err := FinishTo("testdata/notes", t.TempDir(), asm.Manifest, nil)
	if err == nil || !strings.Contains(err.Error(), "no code is given for the asset asset.") {
		t.Errorf("an assembly without its code: %v", err)
	}
}

// The stock CLI reads what Finish wrote.
func TestStockCLI(t *testing.T) {
	cli, err := filepath.Abs("../testdata/npm/node_modules/.bin/cdk")
	must(t, err)
	if _, err := os.Stat(cli); err != nil {
		if cli, err = exec.LookPath("cdk"); err != nil {
			t.Skip("the cdk CLI is not installed (make test installs it): it does not read our assemblies")
		}
	}
	for _, test := range []struct{ dir, want string }{
		{"notes", "dev-notes-storage\ndev-notes-web\n"},
		{"stages", "Shared\nBeta/Data (Beta-Data)\nBeta/Work (Beta-Work)\nProd/Data (Prod-Data)\nProd/Work (Prod-Work)\n"},
	} {
		dst := t.TempDir()
		asm := open(t, filepath.Join("testdata", test.dir), "dev", test.dir)
		must(t, finish(FinishTo(filepath.Join("testdata", test.dir), dst, asm.Manifest, codes(asm.Manifest, ""))))
		cmd := exec.Command(cli, "ls", "--app", dst, "--no-version-reporting", "--no-notices")
		cmd.Env = append(cmd.Environ(), "CDK_DISABLE_CLI_TELEMETRY=true", "AWS_EC2_METADATA_DISABLED=true")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, &stderr)
		}
		want := strings.Split(test.want, "\n")
		got := strings.Split(string(out), "\n")
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("cdk ls:\n%s\nwant:\n%s", out, test.want)
		}
	}
}

func TestNeedsRealHash(t *testing.T) {
	for dir, want := range map[string]bool{"version": true, "notes": false, "stages": false} {
		asm, err := Open(filepath.Join("testdata", dir))
		must(t, err)
		if got, err := NeedsRealHash(asm); got != want || err != nil {
			t.Errorf("NeedsRealHash(%s) = %v, %v, want %v", dir, got, err, want)
		}
	}
}

func TestNormalize(t *testing.T) {
	hash := hexOf("x")
	in := `{"b": {"Key": "` + hash + `.zip", "Other": "` + hexOf("y") + `", "Html": "<a&b>"}, "a": [1.50, "a/` + hash + `"]}`
	want := `{
  "a": [
    1.50,
    "a/<asset src/x.main>"
  ],
  "b": {
    "Html": "<a&b>",
    "Key": "<asset src/x.main>.zip",
    "Other": "` + hexOf("y") + `"
  }
}
`
	if got := string(Normalize([]byte(in), map[string]string{hash: "src/x.main"})); got != want {
		t.Errorf("Normalize gives\n%s\nwant\n%s", got, want)
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct{ stack, path, want string }{
		{"dev-notes-web", "Export", "dev-notes-web-Export"},
		{"dev-notes-web", "Api/GET notes {id}", "dev-notes-web-Api-GET-notes-id"},
		{"dev-notes-web", strings.Repeat("long", 20), "dev-notes-web-" + strings.Repeat("long", 10) + "l-6e4491dd"},
	} {
		got := FunctionName(test.stack, test.path)
		if got != test.want || len(got) > 64 {
			t.Errorf("FunctionName(%q, %q) = %q, want %q", test.stack, test.path, got, test.want)
		}
	}
	m := &Manifest{App: "notes", Stage: "dev", Functions: []Function{{ID: "web/Export", Name: "dev-notes-web-Export"}}}
	for _, name := range []string{"web/Export", "dev-notes-web-Export", "arn:aws:lambda:us-east-1:1:function:dev-notes-web-Export:live"} {
		if m.Function(name) == nil {
			t.Errorf("Function(%q) finds nothing", name)
		}
	}
	if got := m.ShortPath("dev-notes-web/Export/Resource/Resource"); got != "web/Export" {
		t.Errorf("ShortPath = %q", got)
	}
}
