// Command replacement writes cfn/replacement.txt: which properties of which resource types CloudFormation cannot change in place,
// and which types hold data. It reads the resource database that the CDK publishes on npm (testdata/npm).
//
// A line is a type and the names of its properties: "AWS::SQS::Queue! FifoQueue QueueName". A "!" says that it holds data, a "?" in
// front of a property that it depends on the values.
package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: replacement DATABASE FILE")
	}
	in, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	unpacked, err := gzip.NewReader(in)
	if err != nil {
		log.Fatal(err)
	}
	var database struct {
		Schema struct {
			Resource struct {
				Entities []struct {
					Type       string `json:"cloudFormationType"`
					Stateful   bool   `json:"isStateful"`
					Properties map[string]struct {
						Replaces string `json:"causesReplacement"`
					} `json:"properties"`
				} `json:"entities"`
			} `json:"resource"`
		} `json:"schema"`
	}
	if err := json.NewDecoder(unpacked).Decode(&database); err != nil {
		log.Fatal(err)
	}
	var lines []string
	for _, resource := range database.Schema.Resource.Entities {
		line, names := resource.Type, []string{}
		if resource.Stateful {
			line += "!"
		}
		for name, property := range resource.Properties {
			switch property.Replaces {
			case "yes":
				names = append(names, name)
			case "maybe":
				names = append(names, "?"+name)
			}
		}
		slices.Sort(names)
		if len(names) > 0 || resource.Stateful {
			lines = append(lines, strings.Join(append([]string{line}, names...), " "))
		}
	}
	slices.Sort(lines)
	if err := os.WriteFile(os.Args[2], []byte(strings.Join(slices.Compact(lines), "\n")+"\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(lines), "types")
}
