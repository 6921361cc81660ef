//go:build !windows

package cmd

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestQuickStart does what docs/quick-start.md says, word by word, in a clone and with an empty home folder: up to the
// deployment, which wants an account. It installs npm packages and takes port 3000.
func TestQuickStart(t *testing.T) {
	if os.Getenv("SST_TEST_ALL") == "" {
		t.Skip("make test-all runs it")
	}
	goEnv := func(name string) string {
		out, err := exec.Command("go", "env", name).Output()
		must(t, err)
		return name + "=" + strings.TrimSpace(string(out))
	}
	home := t.TempDir()
	env := append(slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "AWS_") || strings.HasPrefix(kv, "HOME=") || strings.HasPrefix(kv, "XDG_")
	}), "HOME="+home, "USER=ann", "AWS_EC2_METADATA_DISABLED=true", goEnv("GOMODCACHE"), goEnv("GOCACHE"))
	clone := filepath.Join(home, "clone")
	must(t, exec.Command("git", "clone", "--quiet", "..", clone).Run())

	// One shell reads it all, as one terminal would: cd and export last.
	script := "set -eu\n"
	for _, b := range blocks(t) {
		if b.page != "docs/quick-start.md" || b.language != "sh" {
			continue
		}
		if strings.Contains(b.text, "sst deploy") {
			break
		}
		if b.text == "sst start\n" {
			script += "sst start 2>start.log & server=$!\nfor i in $(seq 600); do grep -q Ready start.log && break; sleep 0.1; done\n"
			continue
		}
		script += b.text
		if strings.Contains(b.text, "curl ") {
			script += "kill -INT $server; wait $server || true\n"
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Env = clone, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(clone, "shop", "start.log"))
		t.Fatalf("%v\n%s\nsst start said:\n%s", err, &out, log)
	}
	for _, want := range []string{"Made shop in shop", "Hello, Ada!", `"item":"tea"`, "2 passed, 0 failed", "Jest passed", "0 errors, 0 warnings"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the quick start did not print %q:\n%s", want, &out)
		}
	}
}
