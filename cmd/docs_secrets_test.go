package cmd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sst/cfn/cfntest"
)

const secretsPage = "docs/guides/secrets.md"

// secretsCode gives the block of a language of the page about secrets.
func secretsCode(t *testing.T, language string) string {
	for _, b := range blocks(t) {
		if b.page == secretsPage && b.language == language {
			return b.text
		}
	}
	t.Fatalf("%s has no block of %s", secretsPage, language)
	return ""
}

// The code that the page about secrets hands out reads them: the stage's value, the one for all stages, what is there already.
func TestSecretsGuide(t *testing.T) {
	dir := t.TempDir()
	module, err := filepath.Abs("..")
	must(t, err)
	put(t, filepath.Join(dir, "py", "sst_secrets.py"), secretsCode(t, "py"))
	put(t, filepath.Join(dir, "py", "main.py"), "import sst_secrets\nsst_secrets.load()\nprint(*[sst_secrets.secret('S%d' % i) for i in range(12)])\n")
	put(t, filepath.Join(dir, "go", "secrets.go"), strings.Replace(secretsCode(t, "go"), "package secrets", "package main", 1))
	put(t, filepath.Join(dir, "go", "main.go"), `package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	if err := Load(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := range 12 {
		fmt.Print(Get(fmt.Sprintf("S%d", i)), " ")
	}
}
`)
	for _, each := range []struct {
		language string
		ready    []string // a command that fails where the language is not there
		prepare  []string // runs once
		command  []string
	}{
		{"python with boto3", []string{"python3", "-c", "import boto3"}, nil, []string{"python3", filepath.Join(dir, "py", "main.py")}},
		{"go", []string{"go", "version"},
			[]string{"go", "build", "-o", filepath.Join(dir, "secrets.exe"), filepath.Join(dir, "go", "secrets.go"), filepath.Join(dir, "go", "main.go")},
			[]string{filepath.Join(dir, "secrets.exe")}},
	} {
		t.Run(each.language, func(t *testing.T) {
			if err := exec.Command(each.ready[0], each.ready[1:]...).Run(); err != nil {
				t.Skipf("%s is not installed: its code on %s is not run", each.language, secretsPage)
			}
			if each.prepare != nil {
				cmd := exec.Command(each.prepare[0], each.prepare[1:]...)
				cmd.Dir = module
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			cloud := cfntest.New(cfntest.Options{})
			defer cloud.Close()
			env := append(cloud.Env("us-east-1"), "AWS_DEFAULT_REGION=us-east-1", "PATH="+os.Getenv("PATH"), "HOME="+os.Getenv("HOME"))
			var want []string
			for i := range 12 { // more than a call takes
				id, stage := fmt.Sprintf("S%d", i), "dev"
				if i%3 == 1 {
					stage = ".fallback"
				}
				parameter := "/sst/shop/dev/Secret/" + id + "/value"
				if i%3 == 2 {
					env = append(env, fmt.Sprintf(`SST_RESOURCE_%s={"type":"sst.Secret","name":%q,"value":"there"}`, id, parameter))
					want = append(want, "there")
					continue
				}
				env = append(env, fmt.Sprintf(`SST_RESOURCE_%s={"type":"sst.Secret","name":%q}`, id, parameter))
				cloud.SetParameter("us-east-1", "/sst/shop/"+stage+"/Secret/"+id+"/value", "SecureString", stage+id)
				if i == 0 {
					cloud.SetParameter("us-east-1", "/sst/shop/.fallback/Secret/S0/value", "SecureString", "not this one")
				}
				want = append(want, stage+id)
			}
			run := func(env []string) string {
				cmd := exec.Command(each.command[0], each.command[1:]...)
				cmd.Env = env
				out, _ := cmd.CombinedOutput()
				return strings.TrimSpace(string(out))
			}
			if got := run(env); got != strings.Join(want, " ") {
				t.Errorf("got %s\nwant %s", got, strings.Join(want, " "))
			}
			got := run(append(env, `SST_RESOURCE_Lost={"type":"sst.Secret","name":"/sst/shop/dev/Secret/Lost/value"}`))
			if !strings.Contains(got, "secret Lost has no value") {
				t.Errorf("a secret without a value: got %s", got)
			}
		})
	}
}
