package bundle

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// batchSize is how many entries one call of esbuild gets. One call per handler parses what they share again and again;
// one call for all keeps every bundle in memory at once.
const batchSize = 24

// requireShim lets CommonJS packages inside an ES module require what is left outside. esbuild never uses the name
// `require` for anything of the user's, so it cannot clash.
const requireShim = `import { createRequire as __sst_createRequire } from "node:module"; const require = __sst_createRequire(import.meta.url);`

// nodeBuild is the part of a node unit that decides which call of esbuild it can share: all but the entry.
type nodeBuild struct {
	major    int
	commonJS bool
	options  Options
}

// metafile is what we read of esbuild's.
type metafile struct {
	Inputs map[string]struct {
		Imports []struct {
			Path     string `json:"path"`
			External bool   `json:"external"`
		} `json:"imports"`
		Format string `json:"format"`
	} `json:"inputs"`
	Outputs map[string]struct {
		Imports []struct {
			Path     string `json:"path"`
			Kind     string `json:"kind"`
			External bool   `json:"external"`
		} `json:"imports"`
		Exports    []string `json:"exports"`
		EntryPoint string   `json:"entryPoint"`
		CSSBundle  string   `json:"cssBundle"`
	} `json:"outputs"`
}

// nodeMajor is the version that code is made for.
func (b *Builder) nodeMajor(runtime string) int {
	major, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(runtime, "nodejs"), ".x"))
	if major == 0 {
		major = 24
	}
	if b.config.Mode == Live && b.config.NodeMajor > 0 {
		major = min(major, b.config.NodeMajor)
	}
	return major
}

// esbuildOptions are the options of one call, without its entries.
func (b *Builder) esbuildOptions(n nodeBuild) (api.BuildOptions, error) {
	live := b.config.Mode == Live
	minify := !live
	if n.options.Minify != nil {
		minify = *n.options.Minify
	}
	o := api.BuildOptions{
		LogLevel: api.LogLevelSilent, LogLimit: 0, Metafile: true, Bundle: true,
		AbsWorkingDir: b.root, Outdir: b.root, AllowOverwrite: true, // nothing is written
		Platform: api.PlatformNode, Charset: api.CharsetUTF8,
		Engines:          []api.Engine{{Name: api.EngineNode, Version: strconv.Itoa(n.major)}},
		MinifyWhitespace: minify, MinifyIdentifiers: minify, MinifySyntax: minify,
		// Error and constructor names reach logs and answers; they are to be those of the live run.
		KeepNames: minify,
		Define:    map[string]string{},
		Banner:    map[string]string{},
		Loader:    map[string]api.Loader{},
		External:  append(slices.Clone(n.options.External), n.options.Install...),
	}
	if n.commonJS {
		o.Format, o.OutExtension = api.FormatCommonJS, map[string]string{".js": ".cjs"}
		if !live {
			o.Banner["js"] = prologueCommonJS()
		}
	} else {
		o.Format, o.OutExtension = api.FormatESModule, map[string]string{".js": ".mjs"}
		o.MainFields = []string{"module", "main"}
		o.Banner["js"] = requireShim
		if !live {
			o.Banner["js"] += "\n" + prologueESM()
		}
		if n.major >= 20 {
			o.Define["__dirname"], o.Define["__filename"] = "import.meta.dirname", "import.meta.filename"
		}
	}
	switch {
	case live: // Node reads the sources themselves for the frames it shows
		o.Sourcemap, o.SourcesContent = api.SourceMapLinked, api.SourcesContentExclude
		if b.whole {
			o.SourcesContent = api.SourcesContentInclude
		}
	case n.options.SourceMap != nil && *n.options.SourceMap:
		o.Sourcemap = api.SourceMapLinked
	}
	if err := setLoaders(&o, n.options.Loader); err != nil {
		return o, err
	}
	e, err := parseExtra(n.options.Esbuild)
	if err != nil {
		return o, err
	}
	return o, e.apply(&o)
}

// nodeUnits builds units that share options; each gets its output set.
func (b *Builder) nodeUnits(ctx context.Context, n nodeBuild, units []*unit) {
	options, err := b.esbuildOptions(n)
	if err != nil {
		for _, u := range units {
			u.fail(errorAt("", "%s", err))
		}
		return
	}
	if b.vendors != nil && n.splits() {
		units = slices.DeleteFunc(slices.Clone(units), func(u *unit) bool { return b.vendored(ctx, n, options, u) })
	}
	for len(units) > 0 {
		var batch, rest []*unit
		taken := map[string]bool{} // two files may want one place: "a.b.ts" and "a-b.ts"
		for _, u := range units {
			if len(batch) < batchSize && !taken[u.place()] {
				batch = append(batch, u)
				taken[u.place()] = true
			} else {
				rest = append(rest, u)
			}
		}
		units = rest
		b.nodeBatch(ctx, n, options, batch)
		if ctx.Err() != nil {
			for _, u := range units {
				u.fail(errorAt("", "%s", context.Cause(ctx)))
			}
			return
		}
	}
}

// nodeBatch makes one call. An error in one entry leaves the others without output, so then the entries it lies in are
// set apart; when that does not help the batch is halved until the guilty are alone.
func (b *Builder) nodeBatch(ctx context.Context, n nodeBuild, options api.BuildOptions, batch []*unit) {
	if len(batch) == 0 || ctx.Err() != nil {
		for _, u := range batch {
			u.fail(errorAt("", "%s", context.Cause(ctx)))
		}
		return
	}
	options.EntryPointsAdvanced = nil
	for _, u := range batch {
		options.EntryPointsAdvanced = append(options.EntryPointsAdvanced, api.EntryPoint{InputPath: u.file, OutputPath: u.place()})
	}
	result := b.esbuild(ctx, options)
	switch {
	case ctx.Err() != nil:
		b.nodeBatch(ctx, n, options, batch)
	case len(result.Errors) == 0:
		b.nodeOutputs(ctx, n, result, batch)
	case len(batch) == 1:
		u := batch[0]
		u.fail(b.explain(u.file, result.Errors)...)
		u.result.Messages = append(u.result.Messages, fromEsbuild(result.Warnings, Warning, b.absolute)...)
		for _, m := range u.result.Messages {
			if m.File != "" {
				u.result.Inputs = append(u.result.Inputs, m.File)
			}
		}
		u.result.Inputs = compact(append(u.result.Inputs, b.shown(u.file)))
	default:
		guilty := map[string]bool{}
		for _, m := range fromEsbuild(result.Errors, Error, b.absolute) {
			guilty[m.File] = true
		}
		var bad, good []*unit
		for _, u := range batch {
			if guilty[b.shown(u.file)] {
				bad = append(bad, u)
			} else {
				good = append(good, u)
			}
		}
		if len(bad) == 0 || len(good) == 0 || len(bad) > 4 {
			half := len(batch) / 2
			bad, good = batch[:half], batch[half:]
		}
		if len(bad) <= 4 {
			for _, u := range bad {
				b.nodeBatch(ctx, n, options, []*unit{u})
			}
		} else {
			b.nodeBatch(ctx, n, options, bad)
		}
		b.nodeBatch(ctx, n, options, good)
	}
}

// esbuild runs one build that ends early with ctx.
func (b *Builder) esbuild(ctx context.Context, options api.BuildOptions) api.BuildResult {
	build, err := api.Context(options)
	if err != nil {
		return api.BuildResult{Errors: err.Errors}
	}
	defer build.Dispose()
	stop := context.AfterFunc(ctx, build.Cancel)
	defer stop()
	return build.Rebuild()
}

// nodeOutputs hands the files of one call to their units.
func (b *Builder) nodeOutputs(ctx context.Context, n nodeBuild, result api.BuildResult, batch []*unit) {
	var meta metafile
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		for _, u := range batch {
			u.fail(errorAt(b.shown(u.file), "metafile of esbuild: %s", err))
		}
		return
	}
	contents := map[string][]byte{}
	for _, f := range result.OutputFiles {
		contents[b.relative(f.Path)] = f.Contents
	}
	byEntry := map[string]string{}
	for name, output := range meta.Outputs {
		if output.EntryPoint != "" {
			byEntry[output.EntryPoint] = name
		}
	}
	warnings := fromEsbuild(result.Warnings, Warning, b.absolute)
	var commonJS []*unit
	for _, u := range batch {
		entry := b.relative(u.file)
		if meta.Inputs[entry].Format == "cjs" && !n.commonJS {
			// As an ES module it would only have a default export, which Lambda cannot find the handler in.
			commonJS = append(commonJS, u)
			continue
		}
		name := byEntry[entry]
		output := meta.Outputs[name]
		names := []string{name, name + ".map", output.CSSBundle}
		for _, imported := range output.Imports {
			if !imported.External { // files of the loaders "file" and "copy"
				names = append(names, imported.Path)
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			data, ok := contents[name]
			if !ok {
				continue
			}
			if b.config.Mode == Live && strings.HasSuffix(name, ".map") {
				data = b.withSourceRoot(data, path.Dir(name))
			}
			u.result.Files = append(u.result.Files, File{Name: name, Data: data, Mode: 0o644})
		}
		if code := contents[name]; meta.Inputs[entry].Format == "esm" && !starExport.Match(code) {
			u.result.Exports = append([]string{}, output.Exports...) // none is not the same as unknown
			slices.Sort(u.result.Exports)
		}
		reached := closure(meta, entry)
		if b.vendors != nil && n.splits() && len(result.OutputFiles) > 0 && !layered(meta) {
			if packages, ok := b.imported(meta, reached); ok {
				b.vendors.learn(n, u, packages, b.known(u.key) != nil)
			}
		}
		for _, input := range reached {
			u.result.Inputs = append(u.result.Inputs, b.absolute(filepath.FromSlash(input)))
		}
		u.result.Inputs = append(u.result.Inputs, b.configs(u.result.Inputs)...)
		u.result.Inputs = compact(u.result.Inputs)
		for _, w := range warnings {
			if _, found := slices.BinarySearch(u.result.Inputs, w.File); found || w.File == "" {
				u.result.Messages = append(u.result.Messages, w)
			}
		}
		b.nodeExtras(u)
	}
	if len(commonJS) > 0 {
		n.commonJS = true
		b.nodeUnits(ctx, n, commonJS)
	}
}

// closure gives all files that the entry reaches, also those that were shaken off again: a change there may matter.
func closure(meta metafile, entry string) []string {
	seen := map[string]bool{entry: true}
	queue := []string{entry}
	for len(queue) > 0 {
		file := queue[0]
		queue = queue[1:]
		for _, i := range meta.Inputs[file].Imports {
			if !i.External && !seen[i.Path] {
				seen[i.Path] = true
				queue = append(queue, i.Path)
			}
		}
	}
	maps.DeleteFunc(seen, func(name string, _ bool) bool {
		return namespace.MatchString(name) // "(disabled):fs", not a file
	})
	return slices.Collect(maps.Keys(seen))
}

var namespace = regexp.MustCompile(`^(?:\(disabled\)|<[^>]*>|[a-z][a-z-]+):|^<`)

// configs gives the files that decide how esbuild reads the inputs: the tsconfig.json nearest to each file of the
// project with what it extends, and the package.json of each package.
func (b *Builder) configs(inputs []string) []string {
	var found []string
	dirs := map[string]bool{}
	for _, input := range inputs {
		inPackage := strings.Contains(input, nodeModules)
		for dir := filepath.Dir(input); !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
			if name := filepath.Join(dir, "package.json"); isFile(name) {
				found = append(found, name)
				if inPackage && filepath.Base(filepath.Dir(dir)) == "node_modules" {
					break
				}
			}
			if name := filepath.Join(dir, "tsconfig.json"); !inPackage && isFile(name) {
				found = append(found, extended(name, 8)...)
			}
			if dir == b.config.Root || filepath.Dir(dir) == dir {
				break
			}
		}
	}
	return found
}

const nodeModules = string(filepath.Separator) + "node_modules" + string(filepath.Separator)

var extends = regexp.MustCompile(`"extends"\s*:\s*(\[[^\]]*\]|"[^"]*")`)
var quoted = regexp.MustCompile(`"([^"]*)"`)

func extended(tsconfig string, depth int) []string {
	found := []string{tsconfig}
	data, _ := os.ReadFile(tsconfig)
	match := extends.FindSubmatch(data)
	if match == nil || depth == 0 {
		return found
	}
	for _, name := range quoted.FindAllSubmatch(match[1], -1) {
		if !bytes.HasPrefix(name[1], []byte(".")) {
			continue
		}
		base := filepath.Join(filepath.Dir(tsconfig), filepath.FromSlash(string(name[1])))
		for _, file := range []string{base, base + ".json"} {
			if isFile(file) {
				found = append(found, extended(file, depth-1)...)
				break
			}
		}
	}
	return found
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// withSourceRoot makes a Live map find its sources wherever it is put, so that stacks show the user's own paths.
func (b *Builder) withSourceRoot(data []byte, dir string) []byte {
	root := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(path.Join(filepath.ToSlash(b.config.Root), dir), "/") + "/"}
	text, _ := json.Marshal(root.String())
	return bytes.Replace(data, []byte(`"version": 3,`), []byte(`"version": 3, "sourceRoot": `+string(text)+`,`), 1)
}

var unresolved = regexp.MustCompile(`^Could not resolve "([^"]+)"`)
var packageName = regexp.MustCompile(`^(@[a-z0-9][\w.-]*/)?[a-z0-9][\w.-]*`)

// explain turns esbuild's errors into messages; a package that is not there is named with the command that adds it.
func (b *Builder) explain(entry string, errors []api.Message) []Message {
	all := fromEsbuild(errors, Error, b.absolute)
	for i := range all {
		match := unresolved.FindStringSubmatch(all[i].Text)
		if match == nil {
			if strings.HasPrefix(all[i].Text, `No loader is configured for ".node" files`) {
				all[i].Notes = append(all[i].Notes, Message{Severity: Note,
					Text: "Native addons cannot be bundled: list the package in the function's bundle option \"install\"."})
			}
			continue
		}
		name := packageName.FindString(match[1])
		if name == "" || b.isFolder(name) { // an alias or a path from the root, not a package
			continue
		}
		command, declared := b.packageManager(cmp.Or(all[i].File, entry), name)
		all[i].Text = fmt.Sprintf("The package %q is not installed", name)
		all[i].Notes = []Message{{Severity: Note, Text: fmt.Sprintf("Add it to the project: %s %s", command, name)}}
		if declared {
			all[i].Notes[0].Text = fmt.Sprintf("It is in package.json but not in node_modules: run %s install", strings.Fields(command)[0])
		}
	}
	return all
}

func (b *Builder) isFolder(name string) bool {
	info, err := os.Stat(filepath.Join(b.root, name))
	return err == nil && info.IsDir()
}

// packageManager gives the command that adds a package to the project that the file belongs to, and whether its
// package.json names the package already.
func (b *Builder) packageManager(file, name string) (command string, declared bool) {
	command = "npm install"
	for dir := filepath.Dir(file); ; dir = filepath.Dir(dir) {
		if data, err := os.ReadFile(filepath.Join(dir, "package.json")); err == nil {
			var manifest struct {
				Dependencies, DevDependencies, OptionalDependencies map[string]string
			}
			_ = json.Unmarshal(data, &manifest) // a broken package.json is esbuild's to report
			for _, list := range []map[string]string{manifest.Dependencies, manifest.DevDependencies, manifest.OptionalDependencies} {
				if _, ok := list[name]; ok {
					declared = true
				}
			}
		}
		for _, manager := range [][2]string{{"package-lock.json", "npm install"}, {"pnpm-lock.yaml", "pnpm add"},
			{"yarn.lock", "yarn add"}, {"bun.lock", "bun add"}, {"bun.lockb", "bun add"}} {
			if isFile(filepath.Join(dir, manager[0])) {
				return manager[1], declared
			}
		}
		if filepath.Dir(dir) == dir {
			return command, declared
		}
	}
}
