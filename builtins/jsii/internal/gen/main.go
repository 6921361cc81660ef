// Command gen writes the index of the CDK's types, index.bin, for the go generate directive of package jsii.
package main

import (
	"fmt"
	"os"

	"sst/builtins/jsii/internal/index"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	archives, err := index.Archives(".")
	if err != nil {
		return err
	}
	data, err := index.Build(archives)
	if err != nil {
		return err
	}
	return os.WriteFile("index.bin", data, 0o644)
}
