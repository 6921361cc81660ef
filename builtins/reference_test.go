package builtins

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	interp "sst/starlark"
)

var update = flag.Bool("update", false, "rewrite docs/reference")

const referenceDir = "../docs/reference"

// docs/reference is made of the docstrings of the prelude; this test fails when it is stale, and -update writes it.
func TestReference(t *testing.T) {
	pages := referencePages(t)
	old, err := filepath.Glob(filepath.Join(referenceDir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if pages[filepath.Base(file)] == nil {
			if *update {
				os.Remove(file)
			} else {
				t.Errorf("%s is of nothing any more: go test ./builtins -run TestReference -update", file)
			}
		}
	}
	for name, want := range pages {
		file := filepath.Join(referenceDir, name)
		if *update {
			if err := os.MkdirAll(referenceDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, _ := os.ReadFile(file); !bytes.Equal(got, want) {
			t.Errorf("%s is stale: go test ./builtins -run TestReference -update", file)
		}
	}
}

func referencePages(t *testing.T) map[string][]byte {
	pages := map[string][]byte{}
	var index bytes.Buffer
	index.WriteString("# Reference\n\nMade of the docstrings of `builtins/prelude/*.star`; `sst doc NAME` prints the same, and that of the whole CDK\n(`sst doc cdk.aws_s3.Bucket`).\n\n")
	index.WriteString("- [What a `stacks.star` can say beside constructs](language.md)\n- [What the constructs are made of](../constructs.md): their ids for ever, physical names, links\n\n")
	index.WriteString("| construct | | its resource |\n|---|---|---|\n")
	facts := constructFacts(t)
	for _, name := range Constructs() {
		page, err := Document("sst." + name)
		if err != nil {
			t.Fatal(err)
		}
		fact, ok := facts[name]
		if !ok {
			t.Errorf("docs/constructs.md has no row for %s in its table of ids", name)
		}
		file := fileName(name)
		fmt.Fprintf(&index, "| [`sst.%s`](%s) | %s | %s |\n", name, file, visible(firstSentence(page.Doc)), fact.resource)
		pages[file] = constructPage(name, page, fact)
	}
	pages["README.md"] = index.Bytes()
	pages["language.md"] = languagePage(t)
	return pages
}

func fileName(construct string) string {
	var b strings.Builder
	for i, r := range construct {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 && !(construct[i-1] >= 'A' && construct[i-1] <= 'Z') {
			b.WriteByte('-')
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String() + ".md"
}

// fact is a construct's row in docs/constructs.md, which people keep.
type fact struct{ resource, children, name string }

func constructFacts(t *testing.T) map[string]fact {
	data, err := os.ReadFile("../docs/constructs.md")
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]fact{}
	_, table, _ := strings.Cut(string(data), "| construct | resource |")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) < 3 || !strings.HasPrefix(line, "| `") {
			continue
		}
		one := fact{resource: cells[1], children: cells[2]}
		if len(cells) > 3 {
			one.name = strings.TrimSuffix(cells[3], " |")
		}
		facts[strings.Trim(cells[0], "| `")] = one
	}
	return facts
}

func constructPage(name string, page *Page, fact fact) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Generated from builtins/prelude by go test ./builtins -run TestReference -update -->\n\n# sst.%s\n\n%s\n\n", name, visible(page.Doc))
	if page.Example != "" {
		fmt.Fprintf(&b, "```python\n%s\n```\n\n", page.Example)
	}
	if len(page.Params) > 0 {
		b.WriteString("## Keywords\n\n| keyword | |\n|---|---|\n")
		for i, about := range page.Params {
			if p := page.Signature.Params[i]; p.KeywordOnly {
				fmt.Fprintf(&b, "| `%s`%s | %s |\n", p.Name, requiredMark(p), tableCell(about.Doc))
			}
		}
		b.WriteString("\n")
	}
	for _, s := range page.Sections {
		fmt.Fprintf(&b, "## %s\n\n", s.Title)
		for _, about := range s.Entries {
			doc := ""
			if about.Doc != "" {
				doc = ": " + strings.ReplaceAll(visible(about.Doc), "\n\n", " ")
			}
			fmt.Fprintf(&b, "- `%s`%s\n", about.Title, doc)
		}
		b.WriteString("\n")
	}
	b.WriteString("## Resource and ids\n\n")
	fmt.Fprintf(&b, "Its resource is %s", fact.resource)
	if page.Resource != "" {
		fmt.Fprintf(&b, ", so it has what that has: `sst doc %s`", page.Resource)
	}
	b.WriteString(".")
	if children := strings.Trim(fact.children, " |"); children != "" {
		fmt.Fprintf(&b, " Children beside `Resource`: %s.", children)
	}
	if fact.name != "" && fact.name != "|" {
		fmt.Fprintf(&b, " Its physical name: %s.", fact.name)
	}
	b.WriteString(" See [what the constructs are made of](../constructs.md).\n")
	return b.Bytes()
}

func requiredMark(p interp.Param) string {
	if p.Required {
		return " (required)"
	}
	return ""
}

func tableCell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(visible(text))
}

// visible keeps Markdown from taking <stage> for a tag.
func visible(text string) string {
	parts := strings.Split(text, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.ReplaceAll(parts[i], "<", `\<`)
	}
	return strings.Join(parts, "`")
}

func languagePage(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated by go test ./builtins -run TestReference -update -->\n\n# What a stacks.star can say\n\n" +
		"Beside [the constructs](README.md) as `sst` and the AWS CDK as `cdk`, these names are there without a `load`.\n\n")
	for _, name := range []string{"env", "read", "struct", "json", "math"} {
		page, err := Document(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", name, page.Doc)
		for _, about := range page.Params {
			fmt.Fprintf(&b, "- `%s`: %s\n", about.Title, about.Doc)
		}
		for _, s := range page.Sections {
			for _, about := range s.Entries {
				fmt.Fprintf(&b, "- %s\n", about.Doc)
			}
		}
		if len(page.Params)+len(page.Sections) > 0 {
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, "## sst.UNSET\n\n%s\n\n## Starlark's own\n\n", unsetDoc)
	for _, name := range UniverseNames() {
		fmt.Fprintf(&b, "- %s\n", universe[name])
	}
	return b.Bytes()
}

// Every name that a page lists has a page of its own, and every name of Starlark's modules is documented.
func TestDocumentEverything(t *testing.T) {
	for _, name := range Constructs() {
		page, err := Document(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range page.Sections {
			for _, about := range s.Entries {
				if _, err := Document(name + "." + about.Title); err != nil {
					t.Errorf("%s.%s: %v", name, about.Title, err)
				}
				if s.Title == "Methods" && about.Doc == "" {
					t.Errorf("the method %s.%s is not documented", name, about.Title)
				}
			}
		}
		for i, about := range page.Params {
			if page.Signature.Params[i].KeywordOnly && about.Doc == "" {
				t.Errorf("the keyword %s of %s is not documented", about.Title, name)
			}
		}
	}
	for _, module := range []string{"json", "math"} {
		for _, name := range Env().Globals[module].Members() {
			if moduleDocs[name] == "" {
				t.Errorf("%s.%s is not documented", module, name)
			}
		}
	}
	for name, want := range map[string]string{
		"cdk.aws_s3.Bucket":                      "class",
		"cdk.aws_s3.Bucket.grant_read":           "method",
		"cdk.aws_s3.Bucket.bucket_arn":           "property",
		"cdk.aws_s3.Bucket.versioned":            "parameter",
		"cdk.aws_s3.BucketEncryption":            "enum",
		"cdk.aws_s3.BucketEncryption.KMS":        "constant",
		"cdk.aws_s3.LifecycleRule":               "struct",
		"cdk.aws_s3.BlockPublicAccess.BLOCK_ALL": "constant",
		"aws_s3":                                 "module",
		"Duration":                               "class",
		"sst.UNSET":                              "constant",
		"Table.table_arn":                        "property",
		"Queue.consumer":                         "parameter",
		"len":                                    "function",
		"read":                                   "function",
	} {
		page, err := Document(name)
		if err != nil {
			t.Errorf("Document(%q): %v", name, err)
		} else if page.Kind != want {
			t.Errorf("Document(%q) is a %s, want a %s", name, page.Kind, want)
		}
	}
	for name, near := range map[string]string{
		"Quee": "Queue", "queue": "Queue", "cdk.aws_s3.Buckett": "cdk.aws_s3.Bucket", "cdk.aws_s4": "cdk.aws_s3", "cdk.aws_s3.Bucket.grantRead": "cdk.aws_s3.Bucket.grant_read",
		"Queue.consumr": "sst.Queue.consumer", "lenn": "len",
	} {
		_, err := Document(name)
		unknown, ok := err.(*UnknownName)
		if !ok || unknown.Near != near && !slices.Contains([]string{"cdk.aws_s4"}, name) {
			t.Errorf("Document(%q): %v, want the hint %s", name, err, near)
		}
	}
}
