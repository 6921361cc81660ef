package cmd

import "testing"

func TestHasConfiguration(t *testing.T) {
	node := launchConfiguration{Name: "sst: web/A", Port: 9229}
	python := launchConfiguration{Name: "sst: web/P", Connect: &debugpyAddress{"127.0.0.1", 9230}}
	for _, test := range []struct {
		file         string
		node, python bool
	}{
		{`{}`, false, false},
		{`{"configurations": [{"request": "launch", "port": 9229}]}`, false, false},
		{`{"configurations": [{"name": "mine", "request": "attach", "port": 9229}]}`, true, false},
		{`{"configurations": [{"name": "sst: web/B", "request": "attach", "port": 9229}]}`, false, false},
		{"{ // \"a\" comment\n/* and } another */ \"configurations\": [{\"name\": \"sst: web/A\", \"request\": \"attach\", \"port\": 9229,},],}", true, false},
		{`{"configurations": [{"name": "a // \\" b", "request": "attach", "connect": {"host": "localhost", "port": 9230}}]}`, false, true},
		{`{"configurations": [ what is this, 9229`, true, false},
	} {
		if got := hasConfiguration([]byte(test.file), node); got != test.node {
			t.Errorf("hasConfiguration(%s, Node) = %v", test.file, got)
		}
		if got := hasConfiguration([]byte(test.file), python); got != test.python {
			t.Errorf("hasConfiguration(%s, Python) = %v", test.file, got)
		}
	}
}
