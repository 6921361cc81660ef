package bundle

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// Exports gives the sorted names that a handler file exports. It is parsed, never run. known is false when they cannot
// be told: CommonJS, a star export of a package, a syntax error. Star exports of project files are followed.
func Exports(file string, src []byte) (names []string, known bool) {
	if filepath.Ext(file) == ".py" {
		return pythonExports(src)
	}
	set := map[string]bool{}
	if !collectExports(file, src, set, map[string]bool{}) {
		return nil, false
	}
	return sortedNames(set), true
}

func sortedNames(set map[string]bool) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// starExport is how esbuild prints a star export that it leaves alone, with and without minifying.
var starExport = starExports{regexp.MustCompile(`\bexport ?\* ?from ?"((?:[^"\\]|\\.)*)"`)}

type starExports struct{ *regexp.Regexp }

// Match looks for the words first: the expression alone takes 6 ms for a bundle of 400 KB.
func (e starExports) Match(code []byte) bool {
	return (bytes.Contains(code, []byte("export*")) || bytes.Contains(code, []byte("export *"))) && e.Regexp.Match(code)
}

func collectExports(file string, src []byte, set, visited map[string]bool) (known bool) {
	if visited[file] {
		return true
	}
	visited[file] = true
	result := api.Build(api.BuildOptions{
		LogLevel: api.LogLevelSilent, Metafile: true, Outdir: filepath.Dir(file), AbsWorkingDir: filepath.Dir(file),
		Platform: api.PlatformNode, Format: api.FormatESModule, TsconfigRaw: "{}",
		Stdin: &api.StdinOptions{Contents: string(src), Sourcefile: filepath.Base(file), Loader: loaderOf(file)},
	})
	if len(result.Errors) > 0 {
		return false
	}
	var meta metafile
	if json.Unmarshal([]byte(result.Metafile), &meta) != nil {
		return false
	}
	for _, input := range meta.Inputs {
		if input.Format != "esm" { // CommonJS, or neither: nothing is known to be exported
			return false
		}
	}
	for _, output := range meta.Outputs {
		for _, name := range output.Exports {
			if name != "default" || len(visited) == 1 { // a star export leaves the default out
				set[name] = true
			}
		}
	}
	for _, output := range result.OutputFiles {
		for _, match := range starExport.FindAllSubmatch(output.Contents, -1) {
			target, ok := relativeModule(filepath.Dir(file), string(match[1]))
			if !ok {
				return false
			}
			data, err := os.ReadFile(target)
			if err != nil || !collectExports(target, data, set, visited) {
				return false
			}
		}
	}
	return true
}

// relativeModule finds the file of a relative import the way TypeScript does: "./b.js" may be b.ts.
func relativeModule(dir, specifier string) (file string, ok bool) {
	if !strings.HasPrefix(specifier, ".") {
		return "", false
	}
	base := filepath.Join(dir, filepath.FromSlash(specifier))
	candidates := []string{base}
	if extension := filepath.Ext(base); strings.HasSuffix(extension, "js") {
		candidates = append(candidates, strings.TrimSuffix(base, "js")+"ts")
	}
	for _, extension := range nodeExtensions {
		candidates = append(candidates, base+extension)
	}
	for _, extension := range nodeExtensions {
		candidates = append(candidates, filepath.Join(base, "index"+extension))
	}
	for _, candidate := range candidates {
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() {
			return candidate, true
		}
	}
	return "", false
}

func loaderOf(file string) api.Loader {
	switch filepath.Ext(file) {
	case ".ts", ".mts", ".cts":
		return api.LoaderTS
	case ".tsx":
		return api.LoaderTSX
	}
	return api.LoaderJSX
}

var (
	pythonDef    = regexp.MustCompile(`^(?:async\s+)?(?:def|class)\s+([A-Za-z_]\w*)`)
	pythonAssign = regexp.MustCompile(`^([A-Za-z_]\w*)\s*(?::[^=]*)?=(?:[^=]|$)`)
	pythonImport = regexp.MustCompile(`^(?:from\s+\S+\s+)?import\s+(.*)$`)
	// pythonOpaque statements at the top level may define anything.
	pythonOpaque = regexp.MustCompile(`^(?:if|elif|else|try|except|finally|with|for|while|match|global|exec)\b|^[A-Za-z_]\w*\s*,|^[(\[]|^globals\(|\bimport\s+\*|^def\s+__getattr__|^(?:setattr|import)\s*\(`)
)

// pythonExports reads the statements at column 0; anything there that could define names in another way makes the
// answer unknown.
func pythonExports(src []byte) (names []string, known bool) {
	inString := ""
	set := map[string]bool{}
	for line := range strings.SplitSeq(string(bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))), "\n") {
		if inString == "" {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "if __name__") {
				continue
			}
			if pythonOpaque.MatchString(line) {
				return nil, false
			}
			if m := pythonDef.FindStringSubmatch(line); m != nil {
				set[m[1]] = true
			} else if m := pythonAssign.FindStringSubmatch(line); m != nil {
				set[m[1]] = true
			} else if m := pythonImport.FindStringSubmatch(line); m != nil {
				if strings.ContainsAny(m[1], "(\\") {
					return nil, false
				}
				for item := range strings.SplitSeq(strings.SplitN(m[1], "#", 2)[0], ",") {
					words := strings.Fields(item)
					if len(words) > 0 {
						name, _, _ := strings.Cut(words[len(words)-1], ".")
						set[name] = true
					}
				}
			}
		}
		for _, quote := range []string{`"""`, `'''`} {
			if n := strings.Count(line, quote); n%2 == 1 && (inString == "" || inString == quote) {
				if inString == "" {
					inString = quote
				} else {
					inString = ""
				}
				break
			}
		}
	}
	if inString != "" { // the quotes were not understood
		return nil, false
	}
	return sortedNames(set), true
}
