// Command sst describes AWS apps in Starlark, synthesizes them through the CDK, deploys them, and runs their
// functions on the developer's machine. The verbs are in package cmd.
package main

import (
	"os"

	"sst/builtins/jsii"
	"sst/cmd"
)

func main() {
	if jsii.TapMain() { // this process was started to hand over the CDK archive, not to run a verb
		return
	}
	os.Exit(cmd.Main())
}
