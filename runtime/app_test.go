package runtime

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sst/cfn"
)

// TestSynthesizedAssembly serves an assembly that the CDK wrote: its functions must be told where the Apis are here.
func TestSynthesizedAssembly(t *testing.T) {
	asm, err := cfn.Open("../cfn/testdata/notes")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../cfn/testdata/golden/notes.sst.json")
	if err != nil {
		t.Fatal(err)
	}
	asm.Manifest = &cfn.Manifest{}
	if err := json.Unmarshal(data, asm.Manifest); err != nil {
		t.Fatal(err)
	}
	p := newProject(t, nil, nil)
	if err := p.server.Update(t.Context(), asm); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{}
	for _, api := range p.server.Apis() {
		urls[api.ID] = api.URL
	}
	if len(urls) == 0 {
		t.Fatal("no Api is served")
	}
	var env map[string]string
	for _, fn := range p.server.app.Load().ordered {
		if fn.env["URL"] != "" {
			env = fn.env
		}
	}
	if !strings.Contains(env["URL"], `"url":"http://127.0.0.1:`) || !strings.HasPrefix(env["AWS_ACCESS_KEY_ID"], "SSTL") {
		t.Errorf("env = %v, Apis = %v", env, urls)
	}
}
