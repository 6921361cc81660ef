package cmd

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestLSPProcess talks to the program itself: only the protocol is on its stdout, and its exit code says how the
// conversation ended.
func TestLSPProcess(t *testing.T) {
	binary, err := exec.LookPath("sst-bin")
	if err != nil {
		t.Fatal(err)
	}
	talk := func(messages ...string) (replies []string, code int) {
		t.Helper()
		var in strings.Builder
		for _, m := range messages {
			fmt.Fprintf(&in, "Content-Length: %d\r\n\r\n%s", len(m), m)
		}
		c := exec.Command(binary, "lsp", "--stdio")
		c.Dir = t.TempDir()
		c.Stdin = strings.NewReader(in.String())
		out, err := c.Output()
		if exit, ok := err.(*exec.ExitError); ok {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(strings.NewReader(string(out)))
		for {
			header, err := r.ReadString('\n')
			if err == io.EOF && header == "" {
				return replies, code
			}
			length, ok := strings.CutPrefix(strings.TrimSpace(header), "Content-Length: ")
			n, convErr := strconv.Atoi(length)
			if !ok || convErr != nil {
				t.Fatalf("stdout has %q", header)
			}
			if blank, _ := r.ReadString('\n'); blank != "\r\n" {
				t.Fatalf("stdout has %q behind the header", blank)
			}
			body := make([]byte, n)
			if _, err := io.ReadFull(r, body); err != nil {
				t.Fatal(err)
			}
			replies = append(replies, string(body))
		}
	}
	const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"processId":null,"rootUri":null,"capabilities":{}}}`
	replies, code := talk(
		initialize,
		`{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///x.star","languageId":"starlark","version":1,"text":"print(1)\nsst."}}}`,
		`{"jsonrpc":"2.0","id":"two","method":"textDocument/completion","params":{"textDocument":{"uri":"file:///x.star"},"position":{"line":1,"character":4}}}`,
		`{"jsonrpc":"2.0","id":3,"method":"shutdown"}`,
		`{"jsonrpc":"2.0","method":"exit"}`,
	)
	if code != 0 {
		t.Errorf("exit code %d after shutdown and exit", code)
	}
	all := strings.Join(replies, "\n")
	for _, want := range []string{`"id":1,"result":{"capabilities"`, `"id":"two","result"`, `"label":"Queue"`, `"id":3,"result":null`} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in %s", want, all)
		}
	}
	if _, code := talk(initialize, `{"jsonrpc":"2.0","method":"exit"}`); code != ExitProblem {
		t.Errorf("exit code %d without shutdown", code)
	}
	if _, code := talk(initialize); code != ExitProblem {
		t.Errorf("exit code %d when the editor is gone", code)
	}
}
