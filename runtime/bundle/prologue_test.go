package bundle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sst/cfn/cfntest"
)

const secretive = `
-- package.json --
{"type": "module"}
-- src/early.ts --
export const early = process.env.SST_RESOURCE_Key; // read while the modules run
-- src/pay.ts --
import { early } from "./early";
const process = { mine: true }; // a name of the user's
export const main = async () => [early, globalThis.process.env.SST_RESOURCE_Other ?? null, process.mine];
-- src/old.cjs --
const early = process.env.SST_RESOURCE_Key;
exports.main = async () => [early, process.env.SST_RESOURCE_Other ?? null, true];
`

// runWith runs a bundle in the environment of a function of Lambda's.
func runWith(t *testing.T, r *Result, env ...string) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: bundles are not run")
	}
	dir := t.TempDir()
	for _, f := range r.Files {
		name := filepath.Join(dir, f.Name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, f.Data, f.Mode))
	}
	file, export, _ := strings.Cut(r.Entry, ".")
	for _, extension := range []string{".mjs", ".cjs"} {
		if isFile(filepath.Join(dir, file+extension)) {
			file += extension
		}
	}
	cmd := exec.Command(node, "--input-type=module", "-e", fmt.Sprintf(
		`import(%q).then(m => m.%s()).then(v => console.log(JSON.stringify(v)), e => console.log("failed: " + e.message))`, "./"+file, export))
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func secretEnv(id string) string {
	return fmt.Sprintf(`SST_RESOURCE_%s={"name":"/sst/app/dev/Secret/%s/value","type":"sst.Secret"}`, id, id)
}

func TestPrologue(t *testing.T) {
	b := Open(Config{Root: project(t, secretive)})
	defer b.Close()
	for _, r := range build(t, b, "src/pay.main", "src/old.main") {
		t.Run(r.Spec.Handler, func(t *testing.T) {
			cloud := cfntest.New(cfntest.Options{})
			defer cloud.Close()
			env := cloud.Env("us-east-1")
			check := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: got %s\nwant %s", what, got, want)
				}
			}
			calls := func() (names string) {
				for _, call := range cloud.Calls() {
					names += call.Action + " "
				}
				return names
			}

			check("without secrets", runWith(t, r, append(env, `SST_RESOURCE_Key={"type":"sst.Table"}`)...), `["{\"type\":\"sst.Table\"}",null,true]`)
			check("calls without secrets", calls(), "")

			cloud.SetParameter("us-east-1", "/sst/app/dev/Secret/Key/value", "SecureString", `s"3`)
			cloud.SetParameter("us-east-1", "/sst/app/.fallback/Secret/Key/value", "SecureString", "not this one")
			key := `"{\"name\":\"/sst/app/dev/Secret/Key/value\",\"type\":\"sst.Secret\",\"value\":\"s\\\"3\"}"`
			check("one", runWith(t, r, append(env, secretEnv("Key"))...), "["+key+",null,true]")
			check("calls for one", calls(), "GetParameters ")

			cloud.SetParameter("us-east-1", "/sst/app/.fallback/Secret/Other/value", "SecureString", "all stages")
			other := `"{\"name\":\"/sst/app/dev/Secret/Other/value\",\"type\":\"sst.Secret\",\"value\":\"all stages\"}"`
			check("fallback", runWith(t, r, append(env, secretEnv("Key"), secretEnv("Other"))...), "["+key+","+other+",true]")
			check("calls with a fallback", calls(), "GetParameters GetParameters ")

			many := append(env, secretEnv("Key"))
			for i := range 11 {
				id := fmt.Sprintf("N%d", i)
				cloud.SetParameter("us-east-1", "/sst/app/dev/Secret/"+id+"/value", "SecureString", id)
				many = append(many, secretEnv(id))
			}
			check("twelve", runWith(t, r, many...), "["+key+",null,true]")
			check("calls for twelve", calls(), "GetParameters GetParameters ")

			check("missing", runWith(t, r, append(env, secretEnv("Key"), secretEnv("Lost"))...), "failed: The secret Lost has no value: "+
				"there is no parameter /sst/app/dev/Secret/Lost/value. Set it: sst secrets set Lost --stage dev")
			calls()

			failures := 2
			cloud.Fault(func(cfntest.Call) *cfntest.Error {
				if failures--; failures >= 0 {
					return &cfntest.Error{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"}
				}
				return nil
			})
			check("throttled", runWith(t, r, append(env, secretEnv("Key"))...), "["+key+",null,true]")
			check("calls when throttled", calls(), "GetParameters GetParameters GetParameters ")

			cloud.Confine("AKIAWEAK", []string{"ssm:GetParameters"}, []string{"arn:aws:ssm:us-east-1:123456789012:parameter/sst/app/dev/Secret/N1/value"})
			got := runWith(t, r, append(env, "AWS_ACCESS_KEY_ID=AKIAWEAK", secretEnv("Key"))...)
			if want := "failed: The secrets of this function cannot be read from SSM. AccessDeniedException: User: AKIAWEAK is not authorized"; !strings.HasPrefix(got, want) {
				t.Errorf("refused: got %s\nwant %s...", got, want)
			}
			check("calls when refused", calls(), "GetParameters ")
			check("signature", runWith(t, r, append(env, "AWS_SECRET_ACCESS_KEY=wrong", secretEnv("Key"))...)[:70],
				"failed: The secrets of this function cannot be read from SSM. InvalidSignatureException: The request"[:70])
		})
	}
}

// A live bundle has nothing of it: the dev server completes the environment.
func TestPrologueIsOfDeployments(t *testing.T) {
	for mode, want := range map[Mode]bool{Deploy: true, Live: false} {
		b := Open(Config{Root: project(t, secretive), Mode: mode})
		for _, r := range build(t, b, "src/pay.main", "src/old.main") {
			for _, f := range r.Files {
				if strings.HasSuffix(f.Name, "js") && strings.Contains(string(f.Data), "sst_secrets") != want {
					t.Errorf("mode %d: %s has the prologue: %v, want %v", mode, f.Name, !want, want)
				}
			}
		}
		must(t, b.Close())
	}
	for name, text := range map[string]string{"ESM": prologueESM(), "CommonJS": prologueCommonJS()} {
		if len(text) > 4096 {
			t.Errorf("the prologue of %s has %d bytes, which every function carries", name, len(text))
		}
		t.Logf("%s: %d bytes", name, len(text))
	}
}
