package cmd

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"sst/builtins/jsii"
)

// Version of the tool; releases set it at link time.
var Version = "0.1.0-dev"

func versionCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of sst and of the CDK inside it",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			about := struct {
				Event string `json:"event"`
				SST   string `json:"sst"`
				CDK   string `json:"cdk"`
				Go    string `json:"go"`
				OS    string `json:"os"`
				Arch  string `json:"arch"`
			}{"version", Version, jsii.CDKVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if t.json {
				return json.NewEncoder(t.Stdout).Encode(about)
			}
			fmt.Fprintf(t.Stdout, "sst %s (aws-cdk-lib %s, %s, %s/%s)\n", about.SST, about.CDK, about.Go, about.OS, about.Arch)
			return nil
		},
	}
}
