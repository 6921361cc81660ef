package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"

	"sst/builtins"
	"sst/builtins/assertions"
	interp "sst/starlark"
	"sst/starlark/diag"
)

// block is a fenced block of a page.
type block struct {
	page     string // "docs/testing.md"
	line     int    // of its first line
	language string
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

var fence = regexp.MustCompile("^\\s*```(\\S*)")

// blocks are those of all pages that people read, generated ones aside: these have a test of their own.
func blocks(t *testing.T) []block {
	var all []block
	pages := []string{"../README.md", "../CHANGELOG.md"}
	for _, pattern := range []string{"../docs/*.md", "../docs/guides/*.md", "../examples/*/README.md", "../editors/*/README.md"} {
		found, err := filepath.Glob(pattern)
		must(t, err)
		pages = append(pages, found...)
	}
	for _, page := range pages {
		data, err := os.ReadFile(page)
		must(t, err)
		var open *block
		number := 0
		for line := range strings.Lines(string(data)) {
			number++
			switch m := fence.FindStringSubmatch(line); {
			case m != nil && open == nil:
				open = &block{page: strings.TrimPrefix(filepath.ToSlash(page), "../"), line: number + 1, language: m[1]}
			case m != nil:
				all = append(all, *open)
				open = nil
			case open != nil:
				open.text += strings.TrimPrefix(line, "  ")
			}
		}
		if open != nil {
			t.Errorf("%s: the block of line %d does not end", page, open.line)
		}
	}
	return all
}

// Every code block of the documentation is what it claims to be: files named stacks.star build, test files run, other Starlark
// has no unknown names of ours, commands and flags exist, TypeScript and JSON parse.
func TestDocs(t *testing.T) {
	docs.t = t
	t.Cleanup(docs.close)
	stacks := 0
	for _, b := range blocks(t) {
		if strings.HasPrefix(b.page, "CHANGELOG") && b.language != "python" {
			continue
		}
		t.Run(b.String(), func(t *testing.T) {
			switch b.language {
			case "python":
				switch {
				case strings.HasPrefix(b.text, "# stacks.star\n"):
					stacks++
					checkStacks(t, b)
				case strings.Contains(strings.SplitN(b.text, "\n", 2)[0], "_test.star") || strings.Contains(b.text, "def test_"):
					checkFragment(t, b, assertions.Predeclared...)
				default:
					checkFragment(t, b)
				}
			case "sh":
				checkCommands(t, b)
			case "ts", "js":
				checkScript(t, b)
			case "json":
				if !json.Valid([]byte(b.text)) {
					t.Errorf("not JSON:\n%s", b.text)
				}
			case "py", "go": // TestSecretsGuide runs them
				if b.page != secretsPage {
					t.Errorf("nothing runs this code:\n%s", b.text)
				}
			case "toml", "lua", "elisp": // TestEditorSettings runs them
			case "", "yaml":
			default:
				t.Errorf("nothing checks blocks of %q", b.language)
			}
		})
	}
	if stacks == 0 {
		t.Error("no page has a stacks.star")
	}
}

// checkFragment checks a part of a file whose other names are known to the reader.
func checkFragment(t *testing.T, b block, names ...string) {
	f := interp.Parse("/docs/stacks.star", []byte(b.text))
	for _, d := range append(f.Errors, interp.Check(f, builtins.Env())...) {
		if d.Code != "unknown-name" && d.Severity == diag.Error && !slices.Contains(names, d.Detail) {
			t.Errorf("%v", d)
		}
	}
}

// checkStacks builds a whole file, with handlers made for it.
func checkStacks(t *testing.T, b block) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	if strings.Contains(b.text, "from_lookup") {
		checkFragment(t, b)
		return
	}
	dir := t.TempDir()
	putHandlers(t, dir, b.text)
	put(t, filepath.Join(dir, "stacks.star"), b.text)
	for _, stage := range []string{"dev", "prod"} {
		var out bytes.Buffer
		world := &World{Args: []string{"build", "--no-lint", "--stage", stage}, Dir: dir, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &out,
			LookupEnv: os.LookupEnv, Environ: os.Environ(), CacheDir: userCache(t), Engine: docsEngine(t)}
		if code := Run(context.Background(), world); code != ExitDone {
			t.Errorf("stage %s: exit code %d\n%s", stage, code, &out)
		}
	}
}

// docsEngine is one warm engine for all pages.
func docsEngine(t *testing.T) func(context.Context) (*builtins.Engine, error) {
	return func(ctx context.Context) (*builtins.Engine, error) {
		return docs.get(ctx, &World{LookupEnv: os.LookupEnv, CacheDir: userCache(t), Dir: t.TempDir(), Stderr: io.Discard, Stdout: io.Discard})
	}
}

var docs sharedEngine

func userCache(t *testing.T) string {
	cache, err := os.UserCacheDir()
	must(t, err)
	return filepath.Join(cache, "sst")
}

var sstCommand = regexp.MustCompile(`(?m)^\s*(?:\$ |[A-Z_]+=\S+ )*(?:npx stacks-star|sst) ([^#|>&\n]*)`)

// checkCommands looks whether the verbs and flags of a block are there.
func checkCommands(t *testing.T, b block) {
	for _, m := range sstCommand.FindAllStringSubmatch(b.text, -1) {
		words := shellWords(strings.TrimSpace(m[1]))
		tool := &tool{World: &World{LookupEnv: func(string) (string, bool) { return "", false }, Stdout: io.Discard, Stderr: io.Discard}}
		root := tool.root()
		c, rest, err := root.Find(words)
		if err != nil || c == root && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
			t.Errorf("there is no command %q", m[1])
			continue
		}
		if err := c.ParseFlags(rest); err != nil {
			t.Errorf("sst %s: %v", m[1], err)
			continue
		}
		if c.Args != nil {
			if err := c.Args(c, c.Flags().Args()); err != nil {
				t.Errorf("sst %s: %v", m[1], err)
			}
		}
	}
}

// shellWords splits a line as a shell does, as far as the pages go: spaces and quotes.
func shellWords(line string) (words []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		words = append(words, m[1]+m[2]+m[3])
	}
	return words
}

func checkScript(t *testing.T, b block) {
	result := api.Transform(b.text, api.TransformOptions{Loader: api.LoaderTS, LogLevel: api.LogLevelSilent})
	for _, e := range result.Errors {
		t.Errorf("%s: %s", e.Location.LineText, e.Text)
	}
}

var pageLink = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

// Links between pages lead somewhere.
func TestDocsLinks(t *testing.T) {
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md", "../examples/*/README.md", "../editors/*/README.md"} {
		pages, err := filepath.Glob(pattern)
		must(t, err)
		for _, page := range pages {
			data, err := os.ReadFile(page)
			must(t, err)
			for _, m := range pageLink.FindAllStringSubmatch(string(data), -1) {
				if strings.Contains(m[1], "://") || strings.ContainsAny(m[1], "<>") {
					continue
				}
				if _, err := os.Stat(filepath.Join(filepath.Dir(page), filepath.FromSlash(m[1]))); err != nil {
					t.Errorf("%s: the link %s leads nowhere", page, m[1])
				}
			}
		}
	}
}
