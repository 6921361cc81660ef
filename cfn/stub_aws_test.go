package cfn

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"sst/cfn/cfntest"
)

// Stubs are found in stacks nested to any depth, by the names that the app has for them; what was not deployed is none.
func TestStubbedNested(t *testing.T) {
	server := cfntest.New(cfntest.Options{})
	defer server.Close()
	server.Bootstrap("us-east-1", 30)
	const bucket = "cdk-hnb659fds-assets-123456789012-us-east-1"
	function := func(path, variable string) string {
		return fmt.Sprintf(`{"Type":"AWS::Lambda::Function","Metadata":{"aws:cdk:path":"%s/Resource/Resource"},"Properties":{"Code":{"ZipFile":"x"},"Environment":{"Variables":{"%s":"x"}}}}`, path, variable)
	}
	nested := func(file string) string {
		return `{"Type":"AWS::CloudFormation::Stack","Properties":{"TemplateURL":"https://s3.us-east-1.amazonaws.com/` + bucket + `/` + file + `"}}`
	}
	dir := writeApp(t, 1, 1).Dir
	write(t, dir, "dev-app-s00.template.json", `{"Resources":{"Top":`+function("dev-app-s00/Top", "SST_LIVE")+`,"Inner":`+nested("inner.json")+`}}`)
	write(t, dir, "inner.json", `{"Resources":{"Export":`+function("dev-app-s00/Inner/Export", "SST_LIVE")+`,"Real":`+function("dev-app-s00/Inner/Real", "LEVEL")+`,"Deeper":`+nested("deeper.json")+`}}`)
	write(t, dir, "deeper.json", `{"Resources":{"Import":`+function("dev-app-s00/Inner/Deeper/Import", "SST_LIVE")+`}}`)
	write(t, dir, ManifestFile, `{"version":1,"app":"app","stage":"dev","functions":[{"id":"s00/Inner/Export","stack":"dev-app-s00/Inner","logicalId":"Export"},`+
		`{"id":"s00/Top","stack":"dev-app-s00","logicalId":"Top"}]}`)
	open := func() *Assembly {
		asm, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"inner", "deeper"} {
			asm.Stacks[0].Assets = append(asm.Stacks[0].Assets, Asset{ID: name, Path: dir + "/" + name + ".json", Packaging: "file", Bucket: bucket, ObjectKey: name + ".json"})
		}
		return asm
	}
	d := &Deployer{Config: server.Config("us-east-1"), Assembly: open()}
	stubs := func() []string {
		t.Helper()
		ctx := context.Background()
		states, _, err := d.Status(ctx, d.Assembly.Stacks, false)
		if err != nil {
			t.Fatal(err)
		}
		all, err := d.Stubbed(ctx, states)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := stubs(); len(got) > 0 {
		t.Errorf("before the first deployment: %q", got)
	}
	deployed(t, d, "deployed")
	want := []string{"s00/Inner/Deeper/Import", "s00/Inner/Export", "s00/Top"}
	if got := stubs(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// The app here may not have them any more, or more of them than are deployed.
	write(t, dir, "dev-app-s00.template.json", `{"Resources":{"Other":`+nested("deeper.json")+`}}`)
	d.Assembly = open()
	if got := stubs(); !slices.Equal(got, want) {
		t.Errorf("of an app without nested stacks: got %q, want %q", got, want)
	}
}
