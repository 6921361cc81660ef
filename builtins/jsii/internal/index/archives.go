package index

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// modules are the Go modules that carry the npm packages. The first two have the types that a program can name; what else the
// CDK depends on has either none (the two layers) or only ones that aws-cdk-lib declares again as its own (the cloud assembly schema).
var modules = []string{
	"github.com/aws/aws-cdk-go/awscdk/v2",
	"github.com/aws/constructs-go/constructs/v10",
	"github.com/cdklabs/awscdk-asset-awscli-go/awscliv1/v2",
	"github.com/cdklabs/awscdk-asset-node-proxy-agent-go/nodeproxyagentv6/v2",
	"github.com/cdklabs/cloud-assembly-schema-go/awscdkcloudassemblyschema/v54",
}

const typed = 2 // of them

// sources are part of the hash: whoever changes the generator changes what it generates.
//
//go:embed *.go
var sources embed.FS

// Archives finds the npm packages in the Go module cache, in the order of modules; dir is a folder in the main module.
func Archives(dir string) ([]string, error) {
	cmd := exec.Command("go", append([]string{"list", "-m", "-f", "{{.Dir}}"}, modules...)...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find the CDK modules: %w", err)
	}
	var files []string
	for _, d := range strings.Fields(string(out)) {
		found, err := filepath.Glob(filepath.Join(d, "jsii", "*.tgz"))
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("%s has %d archives, want 1", d, len(found))
		}
		files = append(files, found[0])
	}
	if len(files) != len(modules) {
		return nil, errors.New("the CDK modules are not in the module cache: run go mod download")
	}
	return files, nil
}

// Hash names what an index is made from: the archives and the generator.
func Hash(archives []string) ([sha256.Size]byte, error) {
	h := sha256.New()
	for _, name := range archives {
		f, err := os.Open(name)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return [sha256.Size]byte{}, err
		}
	}
	entries, err := sources.ReadDir(".")
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	for _, e := range entries { // sorted by name
		if strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		data, err := sources.ReadFile(e.Name())
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		h.Write(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// read gives the assembly in an npm package and the Python translations of its examples by their source.
func read(archive string) (*assembly, map[string]string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", archive, err)
	}
	var asm *assembly
	python := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", archive, err)
		}
		var in io.Reader = r
		base, gzipped := strings.CutSuffix(h.Name, ".gz")
		if base != "package/.jsii" && base != "package/.jsii.tabl.json" {
			continue
		}
		if gzipped {
			if in, err = gzip.NewReader(r); err != nil {
				return nil, nil, fmt.Errorf("%s: %s: %w", archive, h.Name, err)
			}
		}
		if base == "package/.jsii" {
			a := &assembly{}
			if err := json.NewDecoder(in).Decode(a); err != nil {
				return nil, nil, fmt.Errorf("%s: %s: %w", archive, h.Name, err)
			}
			if a.Types != nil { // else it is a redirect to the gzipped one
				asm = a
			}
			continue
		}
		var t tablet
		if err := json.NewDecoder(in).Decode(&t); err != nil {
			return nil, nil, fmt.Errorf("%s: %s: %w", archive, h.Name, err)
		}
		keys := make([]string, 0, len(t.Snippets))
		for k := range t.Snippets {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			s := t.Snippets[k].Translations
			if _, have := python[s["$"].Source]; !have && s["python"].Source != "" {
				python[s["$"].Source] = s["python"].Source
			}
		}
	}
	if asm == nil {
		return nil, nil, fmt.Errorf("%s has no assembly", archive)
	}
	return asm, python, nil
}
