package builtins

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
)

// An example of the CDK's documentation, as the archive of aws-cdk-lib has it: the TypeScript with its fixture around it, and
// the translation to Python.
type example struct {
	ID         string
	Of         string // what it documents: "aws-cdk-lib.aws_s3.Bucket"
	TypeScript string
	Python     string // "" when it was not translated
}

const cdkModule = "github.com/aws/aws-cdk-go/awscdk/v2"

// examples gives all of them, sorted by ID. They are read once.
func examples() ([]*example, error) {
	list, err := allExamples()
	return slices.Clone(list), err
}

var allExamples = sync.OnceValues(readExamples)

func readExamples() ([]*example, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", cdkModule).Output()
	if err != nil {
		return nil, fmt.Errorf("find the CDK: %w", err)
	}
	archives, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "jsii", "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("%s has %d archives, want 1", dir, len(archives))
	}
	var list []*example
	err = extract(archives[0], "package/.jsii.tabl.json.gz", func(r io.Reader) error {
		var tablet struct {
			Snippets map[string]struct {
				FullSource   string
				Translations struct{ Python struct{ Source string } }
				Location     struct {
					API struct{ FQN, ModuleFQN string }
				}
			}
		}
		if err := json.NewDecoder(r).Decode(&tablet); err != nil {
			return err
		}
		for id, s := range tablet.Snippets {
			of := s.Location.API.FQN
			if of == "" {
				of = s.Location.API.ModuleFQN
			}
			list = append(list, &example{id, of, s.FullSource, s.Translations.Python.Source})
		}
		return nil
	})
	slices.SortFunc(list, func(a, b *example) int { return strings.Compare(a.ID, b.ID) })
	return list, err
}

// extract reads a gzipped file of a gzipped archive.
func extract(archive, name string, read func(io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return fmt.Errorf("%s has no %s", archive, name)
		}
		if err != nil {
			return err
		}
		if h.Name == name {
			inner, err := gzip.NewReader(t)
			if err != nil {
				return err
			}
			return read(bufio.NewReaderSize(inner, 1<<20))
		}
	}
}

// javascript compiles an example for node.js. The class whose constructor it is in is exported as "host".
func (e *example) javascript() (string, error) {
	source := e.TypeScript
	if host := hostClass(source); host != "" {
		source += "\nexport { " + host + " as host };\n"
	}
	result := api.Transform(source, api.TransformOptions{
		Loader: api.LoaderTS, Format: api.FormatCommonJS, Target: api.ES2022, LogLevel: api.LogLevelSilent,
		TsconfigRaw: `{"compilerOptions": {"useDefineForClassFields": false, "experimentalDecorators": true}}`,
	})
	if len(result.Errors) > 0 {
		return "", errors.New(result.Errors[0].Text)
	}
	return string(result.Code), nil
}
