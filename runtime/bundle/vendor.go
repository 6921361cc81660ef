package bundle

// The vendor layer of Live bundles. Installed packages do not change from save to save, so those that a handler
// imports are built once, as functions of one CommonJS file, and the handler's own files are built alone: in a few
// milliseconds, whatever the packages weigh.
//
// A bundle with the layer behaves as one without it. Packages are evaluated when and in the order in which the
// handler's files import them; they have one instance each, the handler's require and its import.meta. What cannot be
// had that way (top-level await, packages that fail alone, options that say how to bundle) is built in full.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evanw/esbuild/pkg/api"
)

const (
	vendorNamespace = "sst-vendor"   // modules that stand for a package in a handler's build
	vendorQuiet     = time.Second    // without a build, before a layer is made
	vendorUnasked   = 4              // layers made for handlers that were not edited yet
	vendorSmall     = 256 << 10      // bytes up to which a layer may be many times what is used of it
	vendorRatio     = 3              // how many times beyond that
	vendorGlobal    = "__sst_vendor" // of a handler: the layer's functions, by place in the set

	// What follows a file's path in that namespace. An extension at the end, as .mjs, would mean something to esbuild.
	vendorOuter = ":package" // what a handler's file imports
	vendorInner = ":exports" // of an ES module, as an object
)

// vendors makes layers in the background and remembers which a unit can use.
type vendors struct {
	b   *Builder
	dir string

	mu     sync.Mutex // guards what follows
	sets   map[string]*vendorSet
	byUnit map[string]*vendorSet // by unit.key
	queue  []*vendorSet
	timer  *time.Timer
	stop   context.CancelFunc // of the layer being made; nil: none is
	tasks  sync.WaitGroup
	ended  bool
}

// vendorSet is the layer for one set of imported files. What is below ready is written once, before ready is set.
type vendorSet struct {
	n       nodeBuild
	entries []string // real paths, sorted
	used    int      // bytes of the largest full bundle with these packages
	asked   bool     // a handler that was edited wants it
	ready   bool
	failed  error // why there is none

	path     string // of the file
	packages map[string]vendorPackage
	inputs   []string
	stamps   []stamp
}

// vendorPackage says how an entry is imported.
type vendorPackage struct {
	index int
	esm   bool
	names []string // of an ES module
}

func openVendors(b *Builder, dir string) *vendors {
	return &vendors{b: b, dir: dir, sets: map[string]*vendorSet{}, byUnit: map[string]*vendorSet{}}
}

func (v *vendors) close() {
	v.mu.Lock()
	v.ended = true
	if v.timer != nil {
		v.timer.Stop()
	}
	if v.stop != nil {
		v.stop()
	}
	v.mu.Unlock()
	v.tasks.Wait()
}

// splits says whether units of a build can have a layer at all.
func (n nodeBuild) splits() bool {
	o := n.options
	return !n.commonJS && len(o.External) == 0 && len(o.Install) == 0 && len(o.Loader) == 0 && len(o.Esbuild) == 0 && o.Minify == nil && o.Hooks == nil
}

// pause gives way to a build that somebody waits for; resume takes up what was left.
func (v *vendors) pause() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.timer != nil {
		v.timer.Stop()
	}
	if v.stop != nil {
		v.stop()
	}
}

func (v *vendors) resume() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended || len(v.queue) == 0 {
		return
	}
	if v.timer == nil {
		v.timer = time.AfterFunc(vendorQuiet, v.next)
	} else {
		v.timer.Reset(vendorQuiet)
	}
}

// next makes the first layer in the queue.
func (v *vendors) next() {
	v.mu.Lock()
	if v.ended || v.stop != nil || len(v.queue) == 0 {
		v.mu.Unlock()
		return
	}
	set := v.queue[0]
	ctx, stop := context.WithCancel(context.Background())
	v.stop = stop
	v.tasks.Add(1)
	made, used := *set, set.used
	v.mu.Unlock()
	defer v.tasks.Done()
	err := v.b.makeVendor(ctx, &made, v.dir, used)
	canceled := ctx.Err() != nil
	stop()
	v.mu.Lock()
	v.stop = nil
	if !canceled || err == nil {
		v.queue = slices.DeleteFunc(v.queue, func(other *vendorSet) bool { return other == set })
		set.path, set.packages, set.inputs, set.stamps = made.path, made.packages, made.inputs, made.stamps
		set.ready, set.failed = err == nil, err
	}
	v.mu.Unlock()
	if canceled {
		v.resume()
	} else {
		v.next()
	}
}

func (v *vendors) forget(unit string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byUnit, unit)
}

// learn notes after a full build which packages a unit imports, and has their layer made. edited says that the unit
// was built before.
func (v *vendors) learn(n nodeBuild, u *unit, entries []string, edited bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byUnit, u.key)
	if len(entries) == 0 || v.ended {
		return
	}
	key := strconv.Itoa(n.major) + "\n" + strings.Join(entries, "\n")
	set := v.sets[key]
	if set == nil {
		set = &vendorSet{n: nodeBuild{major: n.major}, entries: entries}
		v.sets[key] = set
	}
	v.byUnit[u.key] = set
	for _, f := range u.result.Files {
		if strings.HasSuffix(f.Name, ".mjs") {
			set.used = max(set.used, len(f.Data))
		}
	}
	set.asked = set.asked || edited
	if set.ready || set.failed != nil || slices.Contains(v.queue, set) {
		return
	}
	if set.asked {
		v.queue = slices.Insert(v.queue, 0, set)
	} else if len(v.sets) <= vendorUnasked {
		v.queue = append(v.queue, set)
	}
}

// stale drops a layer whose packages changed. The next full build has it made again.
func (v *vendors) stale(set *vendorSet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	maps.DeleteFunc(v.sets, func(_ string, other *vendorSet) bool { return other == set })
	maps.DeleteFunc(v.byUnit, func(_ string, other *vendorSet) bool { return other == set })
}

// of gives the layer that a unit was last built for, if it is there.
func (v *vendors) of(u *unit) *vendorSet {
	v.mu.Lock()
	defer v.mu.Unlock()
	if set := v.byUnit[u.key]; set != nil && set.ready {
		return set
	}
	return nil
}

// vendored builds a unit with its layer; false means that it must be built in full.
func (b *Builder) vendored(ctx context.Context, n nodeBuild, options api.BuildOptions, u *unit) bool {
	set := b.vendors.of(u)
	if set == nil {
		return false
	}
	if newStamps().changed(set.stamps) != "" {
		b.vendors.stale(set)
		return false
	}
	others := false // something is imported that the layer does not have
	options.Plugins = append(options.Plugins, api.Plugin{Name: vendorNamespace, Setup: func(build api.PluginBuild) {
		build.OnResolve(api.OnResolveOptions{Filter: `.`, Namespace: vendorNamespace}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: args.Path, Namespace: vendorNamespace}, nil
		})
		build.OnResolve(api.OnResolveOptions{Filter: `.`, Namespace: "file"}, func(args api.OnResolveArgs) (api.OnResolveResult, error) {
			switch {
			case args.PluginData != nil || args.Importer == "", strings.Contains(args.Importer, nodeModules):
				return api.OnResolveResult{}, nil
			}
			switch args.Kind {
			case api.ResolveJSImportStatement, api.ResolveJSDynamicImport, api.ResolveJSRequireCall:
			default:
				return api.OnResolveResult{}, nil
			}
			found := build.Resolve(args.Path, api.ResolveOptions{Importer: args.Importer, Namespace: args.Namespace,
				ResolveDir: args.ResolveDir, Kind: args.Kind, PluginData: true, With: args.With})
			if len(found.Errors) > 0 || found.External || found.Namespace != "file" || !isVendor(found.Path) {
				return api.OnResolveResult{}, nil
			}
			if _, ok := set.packages[found.Path]; !ok || found.Suffix != "" {
				others = true
				return api.OnResolveResult{}, fmt.Errorf("%s is not in the layer", found.Path)
			}
			result := api.OnResolveResult{Path: found.Path + vendorOuter, Namespace: vendorNamespace}
			if !found.SideEffects {
				result.SideEffects = api.SideEffectsFalse
			}
			return result, nil
		})
		build.OnLoad(api.OnLoadOptions{Filter: `.`, Namespace: vendorNamespace}, func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			text := set.module(args.Path)
			return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, nil
		})
	}})
	banner := maps.Clone(options.Banner)
	banner["js"] += fmt.Sprintf("\nconst %s = require(%s)(require, import.meta);", vendorGlobal, quote(set.path))
	options.Banner = banner
	options.EntryPointsAdvanced = []api.EntryPoint{{InputPath: u.file, OutputPath: u.place()}}
	result := b.esbuild(ctx, options)
	if others || len(result.Errors) > 0 || ctx.Err() != nil {
		return false // a full build finds the same errors, and says them as ever
	}
	b.nodeOutputs(ctx, n, result, []*unit{u})
	u.result.Inputs = compact(append(u.result.Inputs, set.inputs...))
	u.result.Preload = set.path
	return true
}

// module is what a package is in a handler's build: for CommonJS its exports, so that the importing file's rules for
// CommonJS hold; for an ES module its names, so that a missing one is found and each is read when it is used.
func (set *vendorSet) module(path string) string {
	file, inner := strings.CutSuffix(path, vendorInner)
	file = strings.TrimSuffix(file, vendorOuter)
	p := set.packages[file]
	if inner || !p.esm {
		return fmt.Sprintf("module.exports = %s[%d]();", vendorGlobal, p.index)
	}
	from := quote(file + vendorInner)
	if len(p.names) == 0 {
		return "import " + from + "; export {};"
	}
	quoted := make([]string, len(p.names))
	for i, name := range p.names {
		quoted[i] = quote(name)
		if name == "default" {
			quoted[i] = name
		}
	}
	return "export { " + strings.Join(quoted, ", ") + " } from " + from + ";"
}

// quote makes a string literal of JavaScript.
func quote(s string) string {
	data, _ := json.Marshal(s)
	return string(data)
}

// isVendor says whether a file is code of an installed package.
func isVendor(file string) bool {
	if !strings.Contains(file, nodeModules) {
		return false
	}
	switch filepath.Ext(file) {
	case ".js", ".mjs", ".cjs":
		return true
	}
	return false
}

// imported gives the files of packages that the project's files among the inputs of a full build import, sorted. ok is
// false when one is imported in a way that a layer does not follow.
func (b *Builder) imported(meta metafile, reached []string) (files []string, ok bool) {
	for _, name := range reached {
		if strings.Contains(string(filepath.Separator)+filepath.FromSlash(name), nodeModules) {
			continue
		}
		for _, i := range meta.Inputs[name].Imports {
			if i.External {
				continue
			}
			if namespace.MatchString(i.Path) || strings.ContainsAny(i.Path, "?#") {
				return nil, false
			}
			file := filepath.FromSlash(i.Path)
			if !filepath.IsAbs(file) {
				file = filepath.Join(b.root, file)
			}
			if isVendor(file) {
				files = append(files, file)
			}
		}
	}
	return compact(files), true
}

// makeVendor builds a layer. used is how much of it a full bundle has.
func (b *Builder) makeVendor(ctx context.Context, set *vendorSet, dir string, used int) error {
	options, err := b.esbuildOptions(set.n)
	if err != nil {
		return err
	}
	start, before := time.Now(), newStamps()
	if err := b.vendorPackages(ctx, set, options); err != nil {
		return err
	}

	var entry strings.Builder
	entry.WriteString("module.exports = [\n")
	for _, file := range set.entries {
		fmt.Fprintf(&entry, "() => require(%s),\n", quote(filepath.ToSlash(file)))
	}
	entry.WriteString("];\n")
	options.Format, options.OutExtension = api.FormatCommonJS, nil
	options.Sourcemap = api.SourceMapExternal
	options.Define = maps.Clone(options.Define)
	for _, name := range []string{"url", "dirname", "filename", "resolve"} {
		options.Define["import.meta."+name] = "__sst_meta." + name
	}
	options.Define["import.meta"] = "__sst_meta"
	for _, name := range []string{"__dirname", "__filename"} {
		if _, ok := options.Define[name]; ok {
			options.Define[name] = "__sst_meta." + strings.Trim(name, "_")
		}
	}
	// All of a full bundle is an ES module, so strict. The parentheses have V8 compile the function at once: a process
	// may load the file before it knows which function it is, since no package is run by that.
	options.Banner = map[string]string{"js": `module.exports = (function (require, __sst_meta) { "use strict"; const module = { exports: {} }; let exports = module.exports;`}
	options.Footer = map[string]string{"js": "return module.exports; });"}
	options.Outdir, options.Outfile = "", filepath.Join(b.root, "vendor.cjs")
	options.Stdin = &api.StdinOptions{Contents: entry.String(), ResolveDir: b.root, Sourcefile: "packages", Loader: api.LoaderJS}
	result := b.esbuild(ctx, options)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(result.Errors) > 0 {
		return fmt.Errorf("%s", result.Errors[0].Text)
	}
	var meta metafile
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		return err
	}
	var code, mapping []byte
	for _, f := range result.OutputFiles {
		switch filepath.Ext(f.Path) {
		case ".cjs":
			code = f.Contents
		case ".map":
			mapping = b.withSourceRoot(f.Contents, ".")
		default:
			return fmt.Errorf("%s beside the code", f.Path)
		}
	}
	if len(code) > vendorSmall && len(code) > vendorRatio*used {
		return fmt.Errorf("%d bytes for %d that are used", len(code), used)
	}
	for input := range meta.Inputs {
		if !namespace.MatchString(input) && input != "packages" {
			set.inputs = append(set.inputs, b.absolute(filepath.FromSlash(input)))
		}
	}
	set.inputs = compact(append(set.inputs, b.configs(set.inputs)...))
	set.stamps = newStamps().take(set.inputs, nil, start, before)

	sum := sha256.Sum256(append(bytes.Clone(code), b.root...))
	name := "packages-" + hex.EncodeToString(sum[:8]) + ".cjs"
	set.path = filepath.Join(dir, name)
	code = fmt.Appendf(bytes.TrimRight(code, "\n"), "\n//# sourceMappingURL=%s.map\n", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := replaceFile(set.path+".map", mapping); err != nil {
		return err
	}
	return replaceFile(set.path, code)
}

// replaceFile writes a file, complete or not at all.
func replaceFile(name string, data []byte) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// vendorPackages finds out what kind of module each entry is and what it exports.
func (b *Builder) vendorPackages(ctx context.Context, set *vendorSet, options api.BuildOptions) error {
	options.Splitting = true
	options.Sourcemap = api.SourceMapNone
	for i, file := range set.entries {
		options.EntryPointsAdvanced = append(options.EntryPointsAdvanced, api.EntryPoint{InputPath: file, OutputPath: "entry" + strconv.Itoa(i)})
	}
	result := b.esbuild(ctx, options)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(result.Errors) > 0 {
		return fmt.Errorf("%s", result.Errors[0].Text)
	}
	var meta metafile
	if err := json.Unmarshal([]byte(result.Metafile), &meta); err != nil {
		return err
	}
	for _, f := range result.OutputFiles {
		if starExport.Match(f.Contents) {
			return fmt.Errorf("%s: what it exports is known only when it runs", f.Path)
		}
	}
	exports := map[string][]string{}
	for _, output := range meta.Outputs {
		if output.EntryPoint != "" {
			exports[output.EntryPoint] = output.Exports
		}
	}
	set.packages = map[string]vendorPackage{}
	for i, file := range set.entries {
		name := b.relative(file)
		p := vendorPackage{index: i, esm: meta.Inputs[name].Format == "esm"}
		if p.esm {
			p.names = slices.Sorted(slices.Values(exports[name]))
		}
		set.packages[file] = p
	}
	return nil
}

// layered says whether a build had a layer.
func layered(meta metafile) bool {
	for name := range meta.Inputs {
		if strings.HasPrefix(name, vendorNamespace+":") {
			return true
		}
	}
	return false
}
