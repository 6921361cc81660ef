package cmd

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"sst/cfn"
	"sst/cfn/cfntest"
)

const secretApp = `
-- stacks.star --
app = sst.App("shop")
web = sst.Stack(app, "web")
names = ["Key%d" % i for i in range(6)]
later = sst.Function(web, "Later", handler = "src/pay.main")
sst.Function(web, "Pay", handler = "src/pay.main", link = [sst.Secret(web, name) for name in names])
later.link(sst.Secret(web, "Late"))
-- src/pay.mjs --
const early = Object.entries(process.env).filter(([name, text]) => text.includes("sst.Secret")).map(([, text]) => JSON.parse(text).value).sort();
export const main = async () => early;
`

// A deployed function reads its secrets with the rights and the environment that the template gives it, and with no other;
// a secret that was linked after the function was declared is one like the others.
func TestSecretsOfDeployedFunction(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(secretApp)).Files {
		name := filepath.Join(dir, f.Name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, f.Data, 0o644))
	}
	cache, err := os.UserCacheDir()
	must(t, err)
	var out bytes.Buffer
	world := &World{Args: []string{"build", "--stage", "dev", "--region", "us-east-1"}, Dir: dir, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		LookupEnv: os.LookupEnv, Environ: os.Environ(), CacheDir: filepath.Join(cache, "sst")}
	if code := Run(context.Background(), world); code != ExitDone {
		t.Fatalf("build: exit code %d\n%s", code, &out)
	}
	asm, err := cfn.Open(filepath.Join(dir, ".sst", "out"))
	must(t, err)

	cloud := cfntest.New(cfntest.Options{})
	defer cloud.Close()
	for _, secret := range asm.Manifest.Secrets {
		name := secret.Parameter
		if secret.Name == "Key5" {
			name = secret.Fallback
		}
		cloud.SetParameter("us-east-1", name, "SecureString", "value of "+secret.Name)
	}
	for id, want := range map[string]string{
		"web/Pay":   `["value of Key0","value of Key1","value of Key2","value of Key3","value of Key4","value of Key5"]`,
		"web/Later": `["value of Late"]`,
	} {
		f := asm.Manifest.Functions[slices.IndexFunc(asm.Manifest.Functions, func(f cfn.Function) bool { return f.ID == id })]
		template, err := asm.Stacks[0].Template()
		must(t, err)
		actions, resources := ssmRights(t, template, strings.TrimPrefix(id, "web/"))
		cloud.Confine("AKIA"+f.LogicalID, actions, resources)
		env := []string{"PATH=" + os.Getenv("PATH"), "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=AKIA" + f.LogicalID, "AWS_SECRET_ACCESS_KEY=secret", "AWS_ENDPOINT_URL=" + cloud.URL}
		variables := template.Resources[f.LogicalID].Properties["Environment"].(map[string]any)["Variables"].(map[string]any)
		for name, value := range variables {
			env = append(env, name+"="+value.(string))
		}
		code := unzip(t, filepath.Join(asm.Dir, "asset."+f.Hash+".zip"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, node, "--input-type=module", "-e", `import("./src/pay.mjs").then(async (m) => console.log(JSON.stringify(await m.main())))`)
		cmd.Dir, cmd.Env = code, env
		got, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", id, err, got, want)
		}
		var calls []string
		for _, call := range cloud.Calls() {
			calls = append(calls, call.Action)
		}
		if most := map[string]int{"web/Pay": 2, "web/Later": 1}[id]; len(calls) != most {
			t.Errorf("%s: called %v, want %d times", id, calls, most)
		}
	}
}

// ssmRights gives what the role of a function may do in SSM, its ARNs as in us-east-1.
func ssmRights(t *testing.T, template *cfn.Template, function string) (actions, resources []string) {
	t.Helper()
	list := func(v any) []any {
		if all, ok := v.([]any); ok {
			return all
		}
		return []any{v}
	}
	for id, r := range template.Resources {
		if r.Type != "AWS::IAM::Policy" || !strings.HasPrefix(id, function) {
			continue
		}
		for _, s := range r.Properties["PolicyDocument"].(map[string]any)["Statement"].([]any) {
			statement := s.(map[string]any)
			for _, action := range list(statement["Action"]) {
				if !strings.HasPrefix(action.(string), "ssm:") {
					continue
				}
				actions = append(actions, action.(string))
				for _, resource := range list(statement["Resource"]) {
					data, err := json.Marshal(resource)
					must(t, err)
					text := string(data)
					for ref, value := range map[string]string{"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": cfntest.Account} {
						text = strings.ReplaceAll(text, `{"Ref":"`+ref+`"}`, `"`+value+`"`)
					}
					var join struct {
						Parts []any `json:"Fn::Join"`
					}
					must(t, json.Unmarshal([]byte(text), &join))
					arn := ""
					for _, part := range join.Parts[1].([]any) {
						arn += part.(string)
					}
					resources = append(resources, arn)
				}
			}
		}
	}
	return actions, resources
}

func unzip(t *testing.T, file string) string {
	t.Helper()
	archive, err := zip.OpenReader(file)
	must(t, err)
	defer archive.Close()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, archive))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
