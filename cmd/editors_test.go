//go:build !windows

package cmd

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The settings for editors in docs/editors.md, as they stand there: the editors that are installed start with them, find the
// server and show what is wrong; TOML is read.
func TestEditorSettings(t *testing.T) {
	binary, err := exec.LookPath("sst-bin")
	must(t, err)
	tools := t.TempDir()
	must(t, os.WriteFile(filepath.Join(tools, "sst"), []byte("#!/bin/sh\nexec '"+binary+"' \"$@\"\n"), 0o755))
	var settings []block
	for _, b := range blocks(t) {
		if b.page == "docs/editors.md" {
			settings = append(settings, b)
		}
	}
	run := func(t *testing.T, want string, command string, args ...string) {
		t.Helper()
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "stacks.star"), []byte("app = sst.App(\"a\")\nweb = sst.Stack(app, \"web\")\nq = sst.Queue(web, \"Q\", consumr = \"x\")\n"), 0o644))
		must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "sub", "more.star"), []byte("sst.Quue()\n"), 0o644))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, command, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_STATE_HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		out, err := cmd.CombinedOutput()
		real, _ := filepath.EvalSymlinks(dir)
		text := strings.ReplaceAll(strings.ReplaceAll(string(out), real, "PROJECT"), dir, "PROJECT")
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v; it printed %q, want %q", err, text, want)
		}
	}
	file := func(t *testing.T, name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	lua := 0
	for _, b := range settings {
		t.Run(b.String(), func(t *testing.T) {
			switch b.language {
			case "lua":
				lua++
				tool := needs(t, "nvim")
				if strings.Contains(b.text, "vim.lsp.config") && !neovimHas(t, tool, "nvim-0.11") {
					t.Skip("this Neovim is older than 0.11, which these settings are for")
				}
				run(t, "starlark PROJECT has no", tool, "--headless", "-u", file(t, "init.lua", b.text), "-n", "sub/more.star", "-c", "luafile "+file(t, "check.lua", `
local buffer = vim.api.nvim_get_current_buf()
vim.wait(20000, function() return #vim.diagnostic.get(buffer) > 0 end, 20)
local client = (vim.lsp.get_clients or vim.lsp.get_active_clients)()[1]
io.stdout:write(vim.bo.filetype .. " " .. client.config.root_dir .. " " .. vim.diagnostic.get(buffer)[1].message:match("has no") .. "\n")
vim.cmd("quitall!")`), "-c", "cquit 1")
			case "elisp":
				tool := needs(t, "emacs")
				if exec.Command(tool, "--batch", "--eval", "(package-initialize)", "--eval", "(require 'eglot)").Run() != nil {
					t.Skip("this Emacs has no eglot")
				}
				run(t, "starlark-mode serves", tool, "--batch", "--eval", "(package-initialize)", "-l", file(t, "init.el", b.text), "--eval", `(progn
  (setq eglot-sync-connect 20 enable-local-variables nil)
  (find-file "stacks.star")
  (run-hooks 'post-command-hook)
  (require 'eglot)
  (unless (eglot-current-server) (apply #'eglot (append (eglot--guess-contact) '(nil))))
  (let ((reply (jsonrpc-request (eglot-current-server) :textDocument/documentSymbol (list :textDocument (eglot--TextDocumentIdentifier)))))
    (princ (format "%s %s\n" major-mode (if (> (length reply) 1) "serves" reply))))
  (eglot-shutdown (eglot-current-server)))`)
			case "toml":
				var out bytes.Buffer
				cmd := exec.Command(needs(t, "python3"), "-c", "import sys, tomllib; print(sorted(tomllib.load(sys.stdin.buffer)))")
				cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(b.text), &out, &out
				if err := cmd.Run(); err != nil && strings.Contains(out.String(), "No module named 'tomllib'") {
					t.Skip("this Python is older than 3.11 and reads no TOML")
				} else if got, want := out.String(), "['language', 'language-server']\n"; err != nil || got != want {
					t.Errorf("%v: %s, want %s", err, got, want)
				}
			}
		})
	}
	if lua != 2 {
		t.Errorf("%d settings for Neovim", lua)
	}
}

func needs(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func neovimHas(t *testing.T, nvim, feature string) bool {
	out, err := exec.Command(nvim, "--headless", "-u", "NONE", "-c", `call writefile([string(has("`+feature+`"))], "/dev/stdout")`, "-c", "quitall").Output()
	must(t, err)
	return strings.TrimSpace(string(out)) == "1"
}
