package cmd

import "github.com/rogpeppe/go-internal/testscript"

func scriptTerminal(ts *testscript.TestScript, neg bool, args []string) {
	ts.Fatalf("there is no pseudo-terminal here")
}
