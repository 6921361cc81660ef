package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Mode says what a bundle is for.
type Mode int

const (
	Deploy Mode = iota // runs in Lambda
	Live               // runs on this machine
)

// Config of a Builder. Root must be absolute.
type Config struct {
	Root      string
	Mode      Mode
	NodeMajor int    // of the local Node; Live bundles are made for the older of it and the function's runtime
	GoTool    string // path of the go command; "" means the one in PATH
	// Cache is a folder where Deploy results are kept between processes; "" means none.
	Cache string
	// CacheBytes bounds that folder; 0 = 512 MiB.
	CacheBytes int64
	// Vendor is a folder for the packages of Live bundles, built apart from the handlers that import them; "" means
	// that every bundle has all it needs. See vendor.go.
	Vendor string
	// Requirements installs the dependencies that a Python function's source folder declares and returns the files
	// to add; nil leaves them out, with a warning for Deploy.
	Requirements func(ctx context.Context, spec Spec, dir string) ([]File, error)
	// NoSites puts a page that says so in the place of sites that a command builds, as a Live builder does: a stage that
	// is developed on is looked at through the site's own server.
	NoSites bool
	// LookupEnv gives the commands that build sites, and those of Hooks, what tools need to run; nil gives them nothing.
	LookupEnv func(name string) (string, bool)
	// Notice says what takes long; nil says nothing.
	Notice func(text string)
}

// Builder builds specs and remembers what each was built from. It is safe for concurrent use; builds wait for each
// other, which bounds memory and costs nothing, since one build uses all cores.
type Builder struct {
	config Config
	whole  bool   // with what debuggers need; see KeepSources
	root   string // Config.Root with symlinks resolved, as esbuild sees files
	disk   *disk  // nil without Config.Cache

	vendors *vendors // nil without Config.Vendor

	ctx    context.Context
	cancel context.CancelCauseFunc
	turn   chan struct{} // holds one token; who has it may build

	mu    sync.Mutex
	units map[string]*unit // guarded by mu; the units in it are never written again
}

// unit is what is built once: all specs that differ only in the export they name share it.
type unit struct {
	key    string
	spec   Spec   // the first of those
	file   string // handler file, or folder, with symlinks of the root resolved
	result Result // Spec and Entry are set per spec
	stamps []stamp
}

func (u *unit) fail(messages ...Message) { u.result.Messages = append(u.result.Messages, messages...) }

// Open makes a Builder. Nothing is read before the first Build.
func Open(config Config) *Builder {
	b := &Builder{config: config, root: config.Root, turn: make(chan struct{}, 1), units: map[string]*unit{}}
	if real, err := filepath.EvalSymlinks(config.Root); err == nil {
		b.root = real
	}
	if config.Cache != "" && config.Mode == Deploy {
		b.disk = &disk{dir: config.Cache, limit: config.CacheBytes}
	}
	if config.Vendor != "" && config.Mode == Live {
		b.vendors = openVendors(b, config.Vendor)
	}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	return b
}

// KeepSources makes Live bundles for debuggers: source maps hold the sources, which a debugger may not be allowed to read from
// disk, and Go programs keep their symbols and the paths of their files.
// It is called before the first Build.
func (b *Builder) KeepSources() { b.whole = true }

var errClosed = errors.New("the builder was closed")

// Close ends builds under way and waits for them.
func (b *Builder) Close() error {
	b.cancel(errClosed)
	b.turn <- struct{}{}
	<-b.turn
	if b.vendors != nil {
		b.vendors.close()
	}
	return nil
}

// Build gives one result per spec, in the same order. What did not change since it was last built is not built again.
// When ctx ends, the results not yet made carry its cause as their error.
func (b *Builder) Build(ctx context.Context, specs []Spec) []*Result {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })()

	results := make([]*Result, len(specs))
	wanted := make([]*unit, len(specs))
	exports := make([]string, len(specs))
	byKey := map[string]*unit{}
	for i, spec := range specs {
		file, export, err := Find(b.config.Root, spec.Handler, spec.Kind)
		if err != nil {
			results[i] = failed(spec, Message{Severity: Error, Text: err.Error()})
			continue
		}
		u := b.unitOf(spec, file)
		if known := byKey[u.key]; known != nil {
			u = known
		}
		byKey[u.key], wanted[i], exports[i] = u, u, export
	}

	select {
	case b.turn <- struct{}{}:
		b.refresh(ctx, byKey)
		<-b.turn
	case <-ctx.Done():
		for _, u := range byKey {
			u.fail(errorAt("", "%s", context.Cause(ctx)))
		}
	}
	for i, u := range wanted {
		if u != nil {
			results[i] = b.resultOf(specs[i], exports[i], byKey[u.key])
		}
	}
	return results
}

// Forget drops what is remembered of a spec that is not needed any more.
func (b *Builder) Forget(spec Spec) {
	if file, _, err := Find(b.config.Root, spec.Handler, spec.Kind); err == nil {
		key := b.unitOf(spec, file).key
		b.mu.Lock()
		delete(b.units, key)
		b.mu.Unlock()
		if b.vendors != nil {
			b.vendors.forget(key)
		}
	}
}

func failed(spec Spec, messages ...Message) *Result { return &Result{Spec: spec, Messages: messages} }

// unitOf makes the unit that a spec shares with those that differ in the export only.
func (b *Builder) unitOf(spec Spec, file string) *unit {
	same := spec
	same.Handler = ""
	data, _ := json.Marshal(same) // Options.Esbuild that is not JSON fails when it is parsed
	if b.config.Mode == Live {
		data = append(data, "live"...)
	}
	if b.config.NoSites && spec.Kind == Site {
		data = append(data, "not built"...)
	}
	if rel, err := filepath.Rel(b.config.Root, file); err == nil {
		file = filepath.Join(b.root, rel)
	}
	return &unit{key: file + "\n" + string(data), spec: spec, file: file}
}

// place is where a unit's bundle lies in the zip, without extension.
func (u *unit) place() string { return place(u.spec.Handler, u.file) }

// place names the bundle of a Node handler after its file. Lambda takes the first dot of the base name for the
// beginning of the export, so there is none.
func place(handler, file string) string {
	dir, _ := path.Split(path.Clean(handler))
	base := filepath.Base(file)
	return dir + strings.ReplaceAll(strings.TrimSuffix(base, filepath.Ext(base)), ".", "-")
}

// refresh replaces the units by those remembered where nothing changed and builds the others.
func (b *Builder) refresh(ctx context.Context, byKey map[string]*unit) {
	now := newStamps()
	var stale []*unit
	kept, why := b.recall(byKey)
	for key, u := range byKey {
		known := kept[key]
		if known != nil {
			why[key] = ""
			if known.result.Files == nil && known.result.archive != nil && known.result.archive.lost.Load() {
				why[key] = damaged
			} else if path := now.changed(known.stamps); path != "" {
				why[key] = path + " changed"
			}
		}
		if why[key] == "" {
			byKey[key] = known
			b.keep(known)
		} else {
			u.result.Made = why[key]
			stale = append(stale, u)
		}
	}
	slices.SortFunc(stale, func(a, b *unit) int { return strings.Compare(a.key, b.key) })
	start := time.Now()
	if b.vendors != nil && len(stale) > 0 {
		b.vendors.pause()
		defer b.vendors.resume()
	}
	read := b.before(ctx, stale, start)
	b.compile(ctx, stale)
	after := newStamps()
	for _, u := range stale {
		if u.result.Failed() {
			// What the last good bundle was made from may be where the fault is put right.
			if known := b.known(u.key); known != nil {
				u.result.Inputs = compact(append(u.result.Inputs, known.result.Inputs...))
			}
			continue
		}
		slices.SortFunc(u.result.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
		u.result.Hash = hash(u.result.Files)
		u.stamps = b.stampsOf(u, after, start, read, now)
		b.keep(u)
	}
	if b.disk != nil {
		b.disk.write(b.config.Root, stale)
	}
}

// Why a bundle is built when no input of it has changed.
const (
	notBuilt = "it was not built before"
	damaged  = "its entry in the cache is damaged"
)

// recall gives what is remembered of units, in this process or on disk, and why nothing is of the others.
func (b *Builder) recall(byKey map[string]*unit) (kept map[string]*unit, why map[string]string) {
	kept, why = map[string]*unit{}, map[string]string{}
	var mu sync.Mutex // guards kept and why while goroutines add to them
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for key, u := range byKey {
		known, reason := b.known(key), notBuilt
		if known != nil || b.disk == nil {
			mu.Lock()
			if known != nil {
				kept[key] = known
			}
			why[key] = reason
			mu.Unlock()
			continue
		}
		group.Go(func() error {
			known, reason := b.disk.read(b.config.Root, u)
			mu.Lock()
			defer mu.Unlock()
			if known != nil {
				kept[key] = known
			}
			why[key] = reason
			return nil
		})
	}
	group.Wait() // there are no errors: what cannot be read is not known
	return kept, why
}

func (b *Builder) keep(u *unit) {
	b.mu.Lock()
	b.units[u.key] = u
	b.mu.Unlock()
}

func (b *Builder) known(key string) *unit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.units[key]
}

func (b *Builder) folders(u *unit) map[string][]string {
	folders := map[string][]string{}
	if u.spec.Kind == Node {
		folders = surroundings(b.config.Root, u.result.Inputs)
	}
	if u.spec.Options.Hooks != nil {
		b.hookFolders(u.spec.Options.Hooks, folders)
	}
	if u.spec.Kind == Node {
		return folders
	}
	for _, input := range u.result.Inputs {
		dir := filepath.Dir(input)
		folders[dir] = nil
		for u.spec.Kind == Site && len(dir) > len(b.shown(u.file)) { // a folder may hold nothing but others
			dir = filepath.Dir(dir)
			folders[dir] = nil
		}
	}
	return folders
}

// compile builds the units, those of Node together where they can be.
func (b *Builder) compile(ctx context.Context, units []*unit) {
	groups := map[string][]*unit{}
	var order []string
	for _, u := range units {
		if ctx.Err() != nil {
			u.fail(errorAt("", "%s", context.Cause(ctx)))
		}
		if u.result.Failed() {
			continue
		}
		switch u.spec.Kind {
		case Python:
			b.python(ctx, u)
		case Go:
			b.goBuild(ctx, u)
		case Custom:
			b.custom(u)
		case Site:
			b.site(ctx, u)
		case Node:
			key, _ := json.Marshal(struct {
				Major    int
				CommonJS bool
				Options  Options
			}{b.nodeMajor(u.spec.Runtime), isCommonJS(u), u.spec.Options})
			if groups[string(key)] == nil {
				order = append(order, string(key))
			}
			groups[string(key)] = append(groups[string(key)], u)
		}
	}
	for _, key := range order {
		group := groups[key]
		spec := group[0].spec
		n := nodeBuild{major: b.nodeMajor(spec.Runtime), commonJS: isCommonJS(group[0]), options: spec.Options}
		b.nodeUnits(ctx, n, group)
	}
	for _, u := range units {
		b.after(ctx, u)
	}
}

func isCommonJS(u *unit) bool {
	extension := filepath.Ext(u.file)
	return u.spec.Options.Format == "cjs" || extension == ".cjs" || extension == ".cts"
}

// Entry gives the Lambda handler string of a spec, as Result.Entry without building; "" when there is no such file.
func Entry(root string, spec Spec) string {
	file, export, err := Find(root, spec.Handler, spec.Kind)
	if err != nil {
		return ""
	}
	return entry(root, spec, file, export)
}

func entry(root string, spec Spec, file, export string) string {
	switch spec.Kind {
	case Node:
		return place(spec.Handler, file) + "." + export
	case Python:
		return pythonEntry(sourceOf(root, spec, file), file) + "." + export
	}
	return "bootstrap"
}

// resultOf is a unit's result as one spec sees it.
func (b *Builder) resultOf(spec Spec, export string, u *unit) *Result {
	r := u.result
	r.Spec = spec
	r.Messages = slices.Clone(u.result.Messages)
	if r.Failed() {
		r.Files = nil
		return &r
	}
	r.Entry = entry(b.config.Root, spec, b.shown(u.file), export)
	if r.Exports != nil {
		name, _, _ := strings.Cut(export, ".")
		if !slices.Contains(r.Exports, name) {
			file := b.shown(u.file)
			m := errorAt(file, "%s does not export %q", spec.Handler[:len(spec.Handler)-len(export)-1], name)
			known := slices.Clone(r.Exports)
			byDistance(known, name)
			if len(known) > 0 {
				m.Notes = []Message{{Severity: Note, File: file, Text: "It exports " + strings.Join(known, ", ")}}
			}
			r.Messages = append(r.Messages, m)
			r.Files, r.Hash = nil, ""
		}
	}
	return &r
}

// absolute turns a path of esbuild, relative to the real root, into one below Config.Root as the user wrote it.
func (b *Builder) absolute(file string) string {
	if file == "" {
		return ""
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(b.root, file)
	}
	return b.shown(file)
}

func (b *Builder) shown(file string) string {
	if rest, ok := strings.CutPrefix(file, b.root+string(filepath.Separator)); ok {
		return filepath.Join(b.config.Root, rest)
	}
	return file
}

// relative is how esbuild names a file in its metafile.
func (b *Builder) relative(file string) string {
	if rel, err := filepath.Rel(b.root, file); err == nil {
		return filepath.ToSlash(rel)
	}
	return filepath.ToSlash(file)
}

// hash covers names, modes and contents, not how they are compressed.
func hash(files []File) string {
	h := sha256.New()
	h.Write([]byte("sst bundle 1\n"))
	var size [8]byte
	for _, f := range files {
		for _, part := range [][]byte{[]byte(f.Name), []byte(f.Mode.String()), f.Data} {
			binary.BigEndian.PutUint64(size[:], uint64(len(part)))
			h.Write(size[:])
			h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
