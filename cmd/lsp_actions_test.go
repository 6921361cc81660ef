package cmd

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEditorActions clicks lenses of a project without and with a running start.
func TestEditorActions(t *testing.T) {
	root := t.TempDir()
	do := (&tool{World: &World{Dir: root}}).editorActions()
	if _, _, err := do.Invoke(context.Background(), root, "web/Export", "{}"); err == nil || !strings.Contains(err.Error(), "Run `sst start`") {
		t.Errorf("nothing runs: %v", err)
	}
	if _, err := do.URL(root, "web/Api"); err == nil || !strings.Contains(err.Error(), "Run `sst start`") {
		t.Errorf("nothing runs: %v", err)
	}
	if built := do.Built(root, "web"); built != nil {
		t.Errorf("nothing is built: %+v", built)
	}

	if _, err := do.Logs(root, "web/Export"); err == nil || !strings.Contains(err.Error(), "Run `sst start`") {
		t.Errorf("nothing runs: %v", err)
	}

	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sst/logs" {
			if r.URL.Query().Get("function") == "web/Export" && r.Header.Get("Authorization") == "Bearer secret" {
				_, _ = w.Write([]byte(`{"number":1,"time":"2030-01-02T03:04:05Z","line":"hello"}` + "\n"))
			}
			return
		}
		if r.URL.Path != "/2015-03-31/functions/web/Export/invocations" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("X-Amz-Log-Result", "bGluZQo=")
		_, _ = w.Write([]byte(`{"ok":true}`))
	}))
	defer lambda.Close()
	write := func(name, text string) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".sst/start.json", `{"lambda":"`+lambda.URL+`","token":"secret","apis":{"web/Api":"http://localhost:3000"},"functions":[{"id":"web/Export","handler":"src/export.run"},{"id":"web/Silent","handler":"src/silent.run"}]}`)
	for _, name := range []string{"web/Export", "src/export.run"} {
		answer, logs, err := do.Invoke(context.Background(), root, name, "{}")
		if answer != `{"ok":true}` || logs != "line\n" || err != nil {
			t.Errorf("%s: %q, %q, %v", name, answer, logs, err)
		}
	}
	if _, _, err := do.Invoke(context.Background(), root, "web/Exprot", "{}"); err == nil || !strings.Contains(err.Error(), `did you mean "web/Export"?`) {
		t.Errorf("misspelt: %v", err)
	}
	file, err := do.Logs(root, "web/Export")
	if text, _ := os.ReadFile(file); err != nil || filepath.Base(file) != "web-Export.log" || !strings.HasSuffix(string(text), ".000 hello\n") {
		t.Errorf("log: %s: %q, %v", file, text, err)
	}
	if _, err := do.Logs(root, "web/Silent"); err == nil || !strings.Contains(err.Error(), "printed nothing") {
		t.Errorf("log of a silent function: %v", err)
	}
	for _, id := range []string{"web/Api", "Api"} {
		if address, err := do.URL(root, id); address != "http://localhost:3000" || err != nil {
			t.Errorf("%s: %s, %v", id, address, err)
		}
	}

	write(".sst/out/sst.json", `{"version":1,"app":"notes","stage":"dev","functions":[]}`)
	write(".sst/out/manifest.json", `{"version":"1","artifacts":{"dev-notes-web":{"type":"aws:cloudformation:stack","environment":"aws://unknown-account/unknown-region",
		"properties":{"templateFile":"t.json","stackName":"dev-notes-web"},"displayName":"dev-notes-web"}}}`)
	write(".sst/out/t.json", `{"Resources":{
		"Jobs":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":"dev-notes-Jobs"},"Metadata":{"aws:cdk:path":"dev-notes-web/Jobs/Resource/Resource"}},
		"Role":{"Type":"AWS::IAM::Role","Properties":{"RoleName":{"Ref":"X"}},"Metadata":{"aws:cdk:path":"dev-notes-web/Other/Role"}}}}`)
	web, jobs := do.Built(root, "web"), do.Built(root, "web/Jobs")
	if web == nil || len(web.Resources) != 2 || web.Stage != "dev" || filepath.Base(web.Template) != "t.json" || web.Resources[1].Name != "" {
		t.Errorf("web: %+v", web)
	}
	if jobs == nil || len(jobs.Resources) != 1 || jobs.Resources[0].Name != "dev-notes-Jobs" {
		t.Errorf("web/Jobs: %+v", jobs)
	}
}
