// Command examples writes builtins/examples.txt.gz: what the CDK's documentation shows for its classes, in Starlark. The archive
// of aws-cdk-lib has each example with a translation to Python; with its modules under their names in `cdk` that is Starlark, as
// far as it parses and the static check has nothing to say. An example that does not get there is left out.
//
// The file is a record per class, sorted: a zero byte, the name ("cdk.aws_s3.Bucket"), a line end, the code.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sst/builtins"
	interp "sst/starlark"
	"sst/starlark/format"
	"sst/starlark/scan"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: examples FILE")
	}
	snippets, err := read()
	if err != nil {
		log.Fatal(err)
	}
	best := map[string]candidate{}
	for _, s := range snippets {
		if strings.Contains(s.FullSource, "The values are placeholders") {
			continue
		}
		code := s.starlark()
		own := "cdk." + strings.TrimPrefix(cmp.Or(s.Location.API.FQN, s.Location.API.ModuleFQN), "aws-cdk-lib.")
		for _, m := range constructed.FindAllStringSubmatch(code, -1) {
			name := m[1]
			if page, err := builtins.Document(name); err != nil || page.Kind != "class" || strings.Contains(name, ".Cfn") {
				continue
			}
			c := candidate{code, m[2] == "", strings.HasPrefix(own, name[:strings.LastIndexByte(name, '.')])}
			if have, ok := best[name]; !ok || c.better(have) {
				best[name] = c
			}
		}
	}
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	for _, name := range slices.Sorted(maps.Keys(best)) {
		fmt.Fprintf(z, "\x00%s\n%s", name, best[name].code)
	}
	if err := errors.Join(z.Close(), os.WriteFile(os.Args[1], out.Bytes(), 0o644)); err != nil {
		log.Fatal(err)
	}
	log.Printf("%d classes", len(best))
}

// constructed is where a class is made or one of its members is used: cdk.aws_s3.Bucket( or cdk.Duration.minutes(
var constructed = regexp.MustCompile(`\b(cdk\.(?:[a-z][a-z0-9_]*\.)*[A-Z]\w*)(\.\w+)?\(`)

// candidate is an example of a class.
type candidate struct {
	code    string
	made    bool // the class is, instead of being asked for something
	ofHouse bool // it stands in the documentation of the class's module
}

// better prefers the example that says enough (usefulBytes) in the fewest words, near to home.
func (c candidate) better(than candidate) bool {
	enough := func(c candidate) bool { return len(c.code) >= usefulBytes }
	switch {
	case c.made != than.made:
		return c.made
	case enough(c) != enough(than):
		return enough(c)
	case c.ofHouse != than.ofHouse:
		return c.ofHouse
	case len(c.code) != len(than.code):
		return len(c.code) < len(than.code) == enough(c)
	}
	return c.code < than.code
}

// usefulBytes is how long an example is at least that shows more than a name.
const usefulBytes = 90

// snippet is an example of the tablet.
type snippet struct {
	FullSource   string // TypeScript, with its fixture
	Translations struct{ Python struct{ Source string } }
	Location     struct {
		API struct{ FQN, ModuleFQN string }
	}
}

func read() ([]snippet, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-cdk-go/awscdk/v2").Output()
	if err != nil {
		return nil, err
	}
	archives, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "jsii", "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("%s has %d archives, want 1", dir, len(archives))
	}
	f, err := os.Open(archives[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil, errors.New("the archive has no examples")
		} else if err != nil {
			return nil, err
		}
		if h.Name != "package/.jsii.tabl.json.gz" {
			continue
		}
		inner, err := gzip.NewReader(t)
		if err != nil {
			return nil, err
		}
		var tablet struct{ Snippets map[string]snippet }
		if err := json.NewDecoder(inner).Decode(&tablet); err != nil {
			return nil, err
		}
		var list []snippet
		for _, id := range slices.Sorted(maps.Keys(tablet.Snippets)) {
			list = append(list, tablet.Snippets[id])
		}
		return list, nil
	}
}

var (
	namespaceImport = regexp.MustCompile(`(?m)^\s*import\s+(?:\*\s*as\s+)?(\w+)\s+(?:from\s*|=\s*require\()['"]aws-cdk-lib(/[^'"]*)?['"]`)
	pythonModule    = regexp.MustCompile(`^import aws_cdk(\.[\w.]+)? as (\w+)$`)
	pythonNames     = regexp.MustCompile(`^from aws_cdk(\.[\w.]+)? import (.+)$`)
	namedImport     = regexp.MustCompile(`(?m)^\s*import\s+\{([^}]*)\}\s*from\s*['"](aws-cdk-lib|constructs)(/[^'"]*)?['"]`)
	declared        = regexp.MustCompile(`^#\s+(\w+): `)
	camel           = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

const (
	mostLines = 24
	mostBytes = 1200
)

// starlark is the example in Starlark, "" when it does not become right.
func (s *snippet) starlark() string {
	known := map[string]string{} // name in the translation to name in Starlark
	module := func(path string) string {
		return "cdk" + strings.NewReplacer("/", ".", "-", "_").Replace(path)
	}
	for _, m := range namespaceImport.FindAllStringSubmatch(s.FullSource, -1) {
		alias := strings.ToLower(camel.ReplaceAllString(m[1], "${1}_${2}"))
		if alias == "lambda" {
			alias = "lambda_"
		}
		known[alias] = module(m[2])
	}
	for _, m := range namedImport.FindAllStringSubmatch(s.FullSource, -1) {
		from := module(m[3])
		if m[2] == "constructs" {
			from = "cdk.constructs"
		}
		for item := range strings.SplitSeq(m[1], ",") {
			name, alias, renamed := strings.Cut(strings.TrimSpace(item), " as ")
			if !renamed {
				alias = name
			}
			if name != "" {
				known[alias] = from + "." + name
			}
		}
	}
	globals := maps.Clone(builtins.Env().Globals)
	globals["stack"] = nil
	var lines []string
	for line := range strings.Lines(s.Translations.Python.Source) {
		line = strings.TrimRight(line, " \r\n")
		switch m := declared.FindStringSubmatch(line); {
		case pythonModule.MatchString(line):
			m := pythonModule.FindStringSubmatch(line)
			known[m[2]] = "cdk" + m[1]
			continue
		case pythonNames.MatchString(line):
			m := pythonNames.FindStringSubmatch(line)
			for item := range strings.SplitSeq(m[2], ",") {
				name, alias, renamed := strings.Cut(strings.TrimSpace(item), " as ")
				if !renamed {
					alias = name
				}
				known[alias] = "cdk" + m[1] + "." + name
			}
			continue
		case strings.HasPrefix(line, "from ") || strings.HasPrefix(line, "import "):
			continue
		case m != nil: // a value of the reader
			globals[m[1]] = nil
			continue
		}
		lines = append(lines, line)
	}
	text := rename(strings.TrimSpace(strings.Join(lines, "\n")), known)
	if text == "" || strings.Count(text, "\n") >= mostLines || len(text) > mostBytes || strings.Contains(text, "#/") {
		return ""
	}
	code := bytes.TrimSpace(format.Source([]byte(text + "\n")))
	file := interp.Parse("example.star", code)
	if len(file.Errors) > 0 || len(interp.Check(file, interp.Env{Globals: globals})) > 0 {
		return ""
	}
	return string(code)
}

// rename puts the names of Starlark in the place of those that the translation has.
func rename(text string, known map[string]string) string {
	src := []byte(text)
	tokens := scan.Tokens(src)
	var b strings.Builder
	before := ""
	for i, t := range tokens {
		word := t.Text(src)
		if t.Kind == scan.Name && before != "." {
			after := ""
			for _, next := range tokens[i+1:] {
				if next.Kind != scan.Space {
					after = next.Text(src)
					break
				}
			}
			switch to := known[word]; {
			case word == "self" && after != ".":
				word = "stack"
			case to != "" && (after == "." || after == "("):
				word = to
			}
		}
		b.WriteString(word)
		if t.Kind != scan.Space {
			before = t.Text(src)
		}
	}
	return b.String()
}
