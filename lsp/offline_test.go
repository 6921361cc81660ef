package lsp

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// TestOpensOnly: opening, editing and asking runs no program, reaches no host, needs no credentials and stays out of node_modules.
func TestOpensOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs that must not run are shell scripts")
	}
	bin, ran := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	for _, program := range []string{"node", "npm", "npx", "git", "aws", "python3", "uv", "go", "sh-credentials"} {
		script := "#!/bin/sh\necho " + program + " >> " + ran + "\n"
		if err := os.WriteFile(filepath.Join(bin, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var reached atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	home := t.TempDir()
	config := filepath.Join(home, "config")
	if err := os.WriteFile(config, []byte("[default]\ncredential_process = "+filepath.Join(bin, "sh-credentials")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	for name, value := range map[string]string{
		"PATH": bin, "HOME": home, "AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "none"),
		"AWS_ENDPOINT_URL": address, "AWS_EC2_METADATA_SERVICE_ENDPOINT": address, "AWS_CONTAINER_CREDENTIALS_FULL_URI": address,
		"HTTP_PROXY": address, "HTTPS_PROXY": address, "npm_config_registry": address, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}

	root := project(t)
	manyFiles(t, root, 3, 3)
	packaged := filepath.Join(root, "node_modules", "package0", "lib")
	for name, text := range map[string]string{"in_package.star": "def of_a_package():\n    pass\n", "handler.js": "exports.ofAPackage = () => {}\n"} {
		if err := os.WriteFile(filepath.Join(packaged, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	handler := "import { execSync } from 'node:child_process'\nexecSync('echo handler >> " + ran + "')\nexport function main() {}\n"
	if err := os.WriteFile(filepath.Join(root, "src", "jobs.ts"), []byte(handler), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newClientWith(t, root, Actions{})
	path := filepath.Join(root, "stacks.star")
	text := "load(\"./stacks/s1.star\", \"make_1\")\napp = sst.App(\"a\")\nweb = sst.Stack(app, \"web\")\nmake_1(app)\nq = sst.Queue(web, \"Q\", consumer = \"src/jobs.main\")\nb = cdk.aws_s3.Bucket(web, \"B\", versioned = True)\nvpc = cdk.aws_ec2.Vpc.from_lookup(web, \"V\", is_default = True)\n"
	c.open(path, text)
	c.change(path, 2, map[string]any{"range": testRange{testPosition{4, 0}, testPosition{4, 0}}, "text": "\n"})
	if found := c.diagnosed(path, 2); len(found) > 0 {
		t.Errorf("diagnostics %v", found)
	}
	if err := os.Remove(ran); err == nil {
		t.Error("a program was run to find out what is wrong")
	}
	answers := map[string]string{}
	for _, method := range []string{
		"textDocument/completion", "textDocument/hover", "textDocument/signatureHelp", "textDocument/definition", "textDocument/references", "textDocument/documentHighlight",
		"textDocument/documentSymbol", "textDocument/foldingRange", "textDocument/semanticTokens/full", "textDocument/formatting", "textDocument/codeAction", "textDocument/codeLens",
		"textDocument/documentLink", "textDocument/inlayHint", "workspace/symbol",
	} {
		params := at(path, testPosition{5, 41})
		params["context"] = map[string]any{"includeDeclaration": true, "diagnostics": []any{}}
		params["options"] = map[string]any{"tabSize": 4, "insertSpaces": true}
		params["range"] = testRange{testPosition{0, 0}, testPosition{8, 0}}
		params["query"] = ""
		var answer any
		id, ch := c.send(method, params)
		r := c.wait(ch)
		if r.Error != nil {
			t.Errorf("%s (%d): %v %v", method, id, r.Error, answer)
		}
		answers[method] = string(r.Result)
	}
	if got := answers["textDocument/completion"]; !strings.Contains(got, "src/jobs.main") {
		t.Errorf("the handler is not among the completions: %s", got)
	}
	if got := answers["workspace/symbol"]; !strings.Contains(got, "make_2") {
		t.Errorf("a function of the project is not among the symbols: %s", got)
	}
	for method, answer := range answers {
		if strings.Contains(answer, "of_a_package") || strings.Contains(answer, "ofAPackage") {
			t.Errorf("%s went into node_modules: %s", method, answer)
		}
	}
	if programs, err := os.ReadFile(ran); err == nil {
		t.Errorf("programs were run: %s", programs)
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}
