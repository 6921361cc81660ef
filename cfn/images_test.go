package cfn

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sst/cfn/cfntest"
)

const imageManifest = `{"abc123": {"displayName": "web/Report", "source": {"directory": "asset.abc123", "dockerFile": "Dockerfile.report",
	"dockerBuildArgs": {"B": "2", "A": "1"}, "dockerBuildTarget": "app", "platform": "linux/arm64", "dockerBuildSecrets": {"npm": "src=.npmrc"},
	"cacheFrom": [{"type": "registry", "params": {"ref": "cache:1", "mode": "max"}}], "cacheDisabled": true},
	"destinations": {"d": {"repositoryName": "cdk-hnb659fds-container-assets-${AWS::AccountId}-${AWS::Region}", "imageTag": "abc123",
	"assumeRoleArn": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/cdk-hnb659fds-image-publishing-role-${AWS::AccountId}-${AWS::Region}"}}}}`

// withImage is an app of one stack that has an image.
func withImage(t *testing.T, images string) *Assembly {
	asm := writeApp(t, 1, 1)
	file := filepath.Join(asm.Dir, "dev-app-s00.assets.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, asm.Dir, "dev-app-s00.assets.json", strings.TrimSuffix(string(data), "}")+`,"dockerImages":`+images+`}`)
	if err := os.MkdirAll(filepath.Join(asm.Dir, "asset.abc123"), 0o755); err != nil {
		t.Fatal(err)
	}
	if asm, err = Open(asm.Dir); err != nil {
		t.Fatal(err)
	}
	return asm
}

// fakeDocker is a program that writes down how it is called, and fails at the word fails.
func fakeDocker(t *testing.T, fails string) (program, log string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the container engine of the test is a shell script")
	}
	dir := t.TempDir()
	program, log = filepath.Join(dir, "docker"), filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$(basename \"$PWD\") $BUILDX_NO_DEFAULT_ATTESTATIONS: $*\" >> '" + log + "'\n" +
		"if [ $1 = login ]; then echo \"password $(cat)\" >> '" + log + "'; fi\n" +
		"if [ $1 = '" + fails + "' ]; then echo 'no space left on device' >&2; exit 7; fi\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return program, log
}

// An image is built as the CDK's command line builds it, pushed once, and not again while its tag is there.
func TestDeployImage(t *testing.T) {
	program, log := fakeDocker(t, "")
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: withImage(t, imageManifest), Docker: program}
	results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "deployed" {
		t.Fatalf("outcomes %s", got)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	remote := cfntest.Account + ".dkr.ecr.us-east-1.amazonaws.com"
	image := remote + "/cdk-hnb659fds-container-assets-" + cfntest.Account + "-us-east-1:abc123"
	want := []string{
		"asset.abc123 1: build --build-arg A=1 --build-arg B=2 --secret id=npm,src=.npmrc --tag cdkasset-abc123 --target app --file Dockerfile.report " +
			"--platform linux/arm64 --cache-from type=registry,mode=max,ref=cache:1 --no-cache .",
		"cfn 1: login --username AWS --password-stdin " + remote,
		"password " + cfntest.RegistryPassword,
		"cfn 1: tag cdkasset-abc123 " + image,
		"cfn 1: push " + image,
	}
	if got := strings.TrimSpace(string(data)); got != strings.Join(want, "\n") {
		t.Errorf("docker was called as\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	for _, call := range server.Calls() {
		if call.Service == "ecr" && !strings.Contains(call.Role, "image-publishing") {
			t.Errorf("%s as %q, want the role for images", call.Action, call.Role)
		}
	}

	// There already: no engine is needed.
	server.SetImage("us-east-1", "cdk-hnb659fds-container-assets-"+cfntest.Account+"-us-east-1", "abc123")
	d.Docker, d.Assembly = "no-such-program", edit(t, d.Assembly, `"Queue":`, `"Queue2":{"Type":"AWS::SQS::Queue"},"Queue":`)
	results, err = d.Deploy(context.Background(), d.Assembly.Stacks)
	if got := outcomes(t, results, err); got != "deployed" {
		t.Errorf("outcomes %s, want the new template with the image of before", got)
	}
}

func TestDeployImageFails(t *testing.T) {
	program, _ := fakeDocker(t, "build")
	for docker, want := range map[string]string{
		"no-such-program": `stack dev-app-s00 has the container image web/Report, and there is no "no-such-program" on this machine to build it: ` +
			"install and start Docker, or another engine with Docker's command line (CDK_DOCKER names it), or deploy from a machine that has one",
		program: "publish image web/Report to cdk-hnb659fds-container-assets-" + cfntest.Account + "-us-east-1: docker build: exit status 7\nno space left on device",
	} {
		server := cfntest.New(cfntest.Options{})
		server.Bootstrap("us-east-1", 30)
		d := &Deployer{Config: server.Config("us-east-1"), Assembly: withImage(t, imageManifest), Docker: docker}
		results, err := d.Deploy(context.Background(), d.Assembly.Stacks)
		if got := outcomes(t, results, err); got != "failed" || results[0].Err == nil || results[0].Err.Error() != want {
			t.Errorf("%s: %s, %v\nwant %s", docker, got, results[0].Err, want)
		}
		var none *NoContainerEngine
		if is := errors.As(results[0].Err, &none); is != (docker == "no-such-program") {
			t.Errorf("%s: NoContainerEngine is %v", docker, is)
		}
		if n := count(server.Calls(), "CreateChangeSet"); n != 0 {
			t.Errorf("%s: %d change sets of a stack whose image is missing", docker, n)
		}
		server.Close()
	}
}

// An image that a command makes is named by what the command prints.
func TestImageOfCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command is one of a Unix shell")
	}
	name, err := (&Image{Directory: t.TempDir(), Executable: []string{"sh", "-c", "echo loaded:1"}}).build(context.Background(), "docker", "x")
	if err != nil || name != "loaded:1" {
		t.Errorf("build = %q, %v, want loaded:1", name, err)
	}
}
