package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sst/runtime/bundle"
)

// code is one built bundle on disk, or the messages that say why there is none.
type code struct {
	spec     bundle.Spec
	key      string // of the spec
	dir      string // of the bundle: the worker's working directory, as /var/task
	entry    string // the handler string inside it
	hash     string
	preload  string // what a process may load ahead of it; "" means nothing
	messages []bundle.Message
	failed   bool
	stamps   []stamp // of the inputs that people edit
	turn     int     // which build of its spec this is
}

// same says whether a worker that runs c need not be replaced to run other.
func (c *code) same(other *code) bool { return c.dir == other.dir && c.entry == other.entry }

// serves says whether a worker that runs c may run what wants other: nothing older than that.
func (c *code) serves(other *code) bool {
	return c.key == other.key && (c.turn >= other.turn || c.same(other))
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	path string
	size int64
	time int64 // modification, ns
}

func stampOf(path string) stamp {
	s := stamp{path: path, size: -1}
	if info, err := os.Stat(path); err == nil {
		s.size, s.time = info.Size(), info.ModTime().UnixNano()
	}
	return s
}

// clockGrain is how far apart two writes must be for their modification times to differ for sure.
const clockGrain = 10 * time.Millisecond

// unit is a spec that functions want, with the code of its last build. It is guarded by codes.mu.
type unit struct {
	spec      bundle.Spec
	file      string // the same for units that are built from one file with the same options
	functions []string
	code      *code         // nil: never built
	dirty     bool          // an input is known to have changed
	building  chan struct{} // closed when the build under way is over; nil: none
}

// codes builds bundles, keeps them fresh and puts them on disk, each content in a folder of its own, so that a live
// worker never loses its files.
//
// The promise: what get returns was built from files that were looked at after the call began. So a request that
// arrives after a save runs what was saved, however late the watcher is.
type codes struct {
	root, dir string
	real      string // root without symlinks
	builder   *bundle.Builder
	emit      func(Event)
	log       *slog.Logger
	ctx       context.Context
	watch     func()      // the inputs are others now
	swap      func(*code) // there is new code for what ran other code before
	tasks     sync.WaitGroup

	mu    sync.Mutex // guards what follows and all units
	units map[string]*unit
	dirs  map[string]bool // folders there are
	refs  map[string]int  // folder -> workers and requests that use it
	ended bool
}

func openCodes(ctx context.Context, root, dir string, config bundle.Config, emit func(Event), log *slog.Logger) (*codes, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clean the bundles of an earlier run: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		real = root
	}
	return &codes{root: root, real: real, dir: dir, builder: bundle.Open(config), emit: emit, log: log, ctx: ctx, watch: func() {}, swap: func(*code) {},
		units: map[string]*unit{}, dirs: map[string]bool{}, refs: map[string]int{}}, nil
}

func (c *codes) close() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.builder.Close()
	c.tasks.Wait()
}

// update says which specs are wanted from now on, and by which functions, and builds the new ones in the background.
func (c *codes) update(wanted []bundle.Spec, functions map[string][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := map[string]bool{}
	for _, spec := range wanted {
		key := spec.Key()
		keep[key] = true
		u := c.units[key]
		if u == nil {
			u = &unit{spec: spec, file: fileOf(spec)}
			c.units[key] = u
		}
		u.functions = functions[key]
	}
	for key, u := range c.units {
		if !keep[key] && u.building == nil {
			delete(c.units, key)
			c.builder.Forget(u.spec)
		}
	}
	c.sweep()
	c.background()
}

// get gives the code of the spec with this key, built if need be, and holds its folder until release.
func (c *codes) get(ctx context.Context, key string) (*code, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	checked := false
	for {
		u := c.units[key]
		if u == nil {
			return nil, errors.New("the function is not part of the app any more")
		}
		switch {
		case u.building != nil:
			building := u.building
			c.mu.Unlock()
			select {
			case <-building:
			case <-ctx.Done():
			}
			c.mu.Lock()
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			if checked {
				return c.hold(u.code), nil
			}
		case u.code != nil && !u.code.failed && !u.dirty:
			built := c.hold(u.code)
			c.mu.Unlock()
			fresh := built.fresh()
			c.mu.Lock()
			if fresh {
				return built, nil
			}
			c.unhold(built)
			u.dirty = true
		default:
			checked = true // the build starts now, so it sees what was saved before the call
			c.start(c.together(u))
		}
	}
}

func (c *codes) hold(built *code) *code {
	c.refs[built.dir]++
	return built
}

func (c *codes) unhold(built *code) {
	if c.refs[built.dir]--; c.refs[built.dir] <= 0 {
		delete(c.refs, built.dir)
		c.sweep()
	}
}

// retain holds code once more; release gives one hold back.
func (c *codes) retain(built *code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold(built)
}

// retainCurrent is retain, as long as there is nothing newer.
func (c *codes) retainCurrent(built *code) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.units[built.key]
	if u == nil || u.code != built {
		return false
	}
	c.hold(built)
	return true
}

func (c *codes) release(built *code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unhold(built)
}

// outdated says whether there is other code by now than what a worker runs.
func (c *codes) outdated(running *code) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.units[running.key]
	return u == nil || u.code != nil && !u.code.failed && !u.code.same(running)
}

// sweep removes the folders that nobody uses or will use; mu is held. While a build is under way nothing is removed: it
// may arrive at a content that was there before.
func (c *codes) sweep() {
	current := map[string]bool{}
	for _, u := range c.units {
		if u.building != nil {
			return
		}
		if u.code != nil {
			current[u.code.dir] = true
		}
	}
	for dir := range c.dirs {
		if c.refs[dir] > 0 || current[dir] {
			continue
		}
		delete(c.dirs, dir)
		if err := os.RemoveAll(dir); err != nil {
			c.log.Warn("remove an old bundle", "dir", dir, "error", err)
		}
	}
}

func (built *code) fresh() bool {
	for _, s := range built.stamps {
		if stampOf(s.path) != s {
			return false
		}
	}
	return true
}

// start begins one build of these units; mu is held and none of them is being built.
func (c *codes) start(units []*unit) {
	if c.ended {
		for _, u := range units {
			u.code = &code{spec: u.spec, key: u.spec.Key(), failed: true, messages: []bundle.Message{{Text: "the server is closing"}}}
			u.dirty = false
			u.building = closedChan
		}
		return
	}
	building := make(chan struct{})
	before := map[string]*code{}
	specs := make([]bundle.Spec, len(units))
	for i, u := range units {
		u.building, u.dirty = building, false
		before[u.spec.Key()] = u.code
		specs[i] = u.spec
	}
	c.tasks.Add(1)
	go func() {
		defer c.tasks.Done()
		began := time.Now()
		contents := recentContents(before)
		results := c.buildWhole(specs)
		built := make([]*code, len(results))
		for i, r := range results {
			built[i] = c.install(r, began, contents)
			if old := before[built[i].key]; old != nil {
				built[i].turn = old.turn + 1
			}
		}
		c.mu.Lock()
		for i, u := range units {
			u.code, u.building = built[i], nil
			u.dirty = u.dirty || built[i].stamps == nil && !built[i].failed
			if built[i].dir != "" {
				c.dirs[built[i].dir] = true
			}
		}
		c.sweep()
		close(building)
		c.background()
		c.mu.Unlock()
		c.report(units, before, built, time.Since(began))
		c.watch()
		for _, now := range built {
			if old := before[now.key]; old != nil && !now.failed && !old.same(now) {
				c.swap(now)
			}
		}
	}()
}

// buildWhole builds from files that nobody is in the middle of writing: an editor empties a file before it fills it, and what
// is built of the empty one would answer that it exports no handler.
func (c *codes) buildWhole(specs []bundle.Spec) []*bundle.Result {
	const tries, pause = 8, 3 * time.Millisecond
	const more = 40                        // tries of what cannot run as it is: it was built from half a file, most likely
	const emptied = 400 * time.Millisecond // after which a file that is empty is meant to be
	const coarse = 4 * time.Millisecond    // how far behind the clock a file's time may be
	for try := 1; ; try++ {
		began := time.Now()
		results := c.builder.Build(c.ctx, specs)
		torn, empty, limit := false, false, tries
		for _, r := range results {
			if r.Failed() || r.Exports == nil {
				limit = more
			}
			for _, input := range r.Inputs {
				if c.edited(input) {
					s := stampOf(input)
					at := time.Unix(0, s.time)
					torn = torn || at.After(began.Add(-coarse))
					empty = empty || s.size == 0 && time.Since(at) < emptied
				}
			}
		}
		if !empty && (!torn || try >= limit) || c.ctx.Err() != nil {
			return results
		}
		time.Sleep(pause)
	}
}

var closedChan = func() chan struct{} { ch := make(chan struct{}); close(ch); return ch }()

// background builds what was never built or is known to be stale, a few at a time, so that a request that needs one
// of them now does not wait for all. mu is held.
func (c *codes) background() {
	const batch = 8
	var some []*unit
	keys := make([]string, 0, len(c.units))
	for key, u := range c.units {
		if u.building != nil {
			return // the next batch follows when this one is done
		}
		if u.dirty || u.code == nil {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(c.units[a].spec.Handler, c.units[b].spec.Handler) })
	for _, key := range keys[:min(batch, len(keys))] {
		some = append(some, c.units[key])
	}
	if len(some) > 0 && !c.ended {
		c.start(c.together(some...))
	}
}

// fileOf tells which file a spec is built from, without the export, and with which options.
func fileOf(spec bundle.Spec) string {
	dir, base := path.Split(spec.Handler)
	base, _, _ = strings.Cut(base, ".")
	spec.Handler = dir + base
	return spec.Key()
}

// together adds the units that are built from the same files as some: they share the work and the news of it. mu is held.
func (c *codes) together(some ...*unit) []*unit {
	all := slices.Clone(some)
	for _, key := range slices.Sorted(maps.Keys(c.units)) {
		u := c.units[key]
		if u.building == nil && !slices.Contains(all, u) &&
			slices.ContainsFunc(some, func(other *unit) bool { return other.file == u.file }) {
			all = append(all, u)
		}
	}
	return all
}

// changed marks what was built from these files and rebuilds it in the background. It reports whether there was any.
// A file that nothing was built from may be the one that a failed build misses.
func (c *codes) changed(files []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	hit := false
	for _, u := range c.units {
		if u.code == nil {
			continue
		}
		touched := u.code.failed
		for _, s := range u.code.stamps {
			if slices.Contains(files, s.path) && stampOf(s.path) != s {
				touched = true
			}
		}
		if touched {
			u.dirty, hit = true, true
		}
	}
	if hit {
		c.background()
	}
	return hit
}

// inputs are the files people edit that the units were built from.
func (c *codes) inputs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	for _, u := range c.units {
		if u.code != nil {
			for _, s := range u.code.stamps {
				seen[s.path] = true
			}
		}
	}
	files := make([]string, 0, len(seen))
	for f := range seen {
		files = append(files, f)
	}
	slices.Sort(files)
	return files
}

// edited says whether a file is one that people edit, not part of an installed package.
func (c *codes) edited(path string) bool {
	rel, err := filepath.Rel(c.root, path)
	if err != nil || !filepath.IsLocal(rel) {
		if rel, err = filepath.Rel(c.real, path); err != nil || !filepath.IsLocal(rel) {
			return false
		}
	}
	return !strings.Contains(filepath.ToSlash(rel)+"/", "node_modules/") && !strings.HasPrefix(rel, ".sst"+string(filepath.Separator))
}

// recentContents hashes the known inputs that were written just now: a build that finds them unchanged afterwards has
// read what is on disk, although their modification time alone could not tell.
func recentContents(before map[string]*code) map[string][32]byte {
	contents := map[string][32]byte{}
	for _, old := range before {
		if old == nil {
			continue
		}
		for _, s := range old.stamps {
			if _, done := contents[s.path]; !done && stampOf(s.path) != s {
				if data, err := os.ReadFile(s.path); err == nil {
					contents[s.path] = sha256.Sum256(data)
				}
			}
		}
	}
	return contents
}

// install writes a result to its folder. Code without stamps was built while its inputs changed: it is built again.
func (c *codes) install(r *bundle.Result, began time.Time, contents map[string][32]byte) *code {
	built := &code{spec: r.Spec, key: r.Spec.Key(), entry: r.Entry, hash: r.Hash, preload: r.Preload, messages: r.Messages, failed: r.Failed(), stamps: []stamp{}}
	for _, input := range r.Inputs {
		if !c.edited(input) {
			continue
		}
		s := stampOf(input)
		if time.Unix(0, s.time).After(began.Add(-clockGrain)) {
			if age := time.Since(time.Unix(0, s.time)); age < clockGrain {
				time.Sleep(clockGrain - max(age, 0))
			}
			data, err := os.ReadFile(input)
			if again := stampOf(input); err != nil || again != s || contents[input] != sha256.Sum256(data) {
				built.stamps = nil
				break
			}
		}
		built.stamps = append(built.stamps, s)
	}
	if built.failed {
		if built.stamps == nil {
			built.stamps = []stamp{}
			for _, input := range r.Inputs {
				if c.edited(input) {
					built.stamps = append(built.stamps, stampOf(input))
				}
			}
		}
		return built
	}
	dir, err := c.write(r)
	if err != nil {
		built.failed = true
		built.messages = append(built.messages, bundle.Message{Text: "write the bundle: " + err.Error()})
	}
	built.dir = dir
	return built
}

// write puts a bundle into the folder of its content, complete or not at all.
func (c *codes) write(r *bundle.Result) (string, error) {
	dir := filepath.Join(c.dir, r.Hash[:min(32, len(r.Hash))])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(c.dir, "new-")
	if err != nil {
		return "", err
	}
	for _, f := range r.Files {
		name := filepath.Join(tmp, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", err
		}
		mode := f.Mode.Perm()
		if mode == 0 {
			mode = 0o644
		}
		if err := os.WriteFile(name, f.Data, mode); err != nil {
			return "", err
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		os.RemoveAll(tmp)
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}

// report tells what a build changed.
func (c *codes) report(units []*unit, before map[string]*code, built []*code, took time.Duration) {
	if c.ctx.Err() != nil {
		return
	}
	var rebuilt Rebuilt
	var broken []BuildFailed
	for i, u := range units {
		old, now := before[u.spec.Key()], built[i]
		c.mu.Lock()
		functions := u.functions
		c.mu.Unlock()
		switch {
		case now.failed:
			if old != nil && old.failed && slices.EqualFunc(old.messages, now.messages, sameMessage) {
				continue
			}
			same := slices.IndexFunc(broken, func(b BuildFailed) bool {
				return slices.EqualFunc(b.Messages, now.messages, sameMessage)
			})
			if same < 0 {
				same = len(broken)
				broken = append(broken, BuildFailed{Messages: now.messages})
			}
			broken[same].Functions = append(broken[same].Functions, functions...)
		case old != nil && (old.failed || !old.same(now)):
			rebuilt.Functions = append(rebuilt.Functions, functions...)
			for _, m := range now.messages {
				if !slices.ContainsFunc(rebuilt.Warnings, func(other bundle.Message) bool { return sameMessage(m, other) }) {
					rebuilt.Warnings = append(rebuilt.Warnings, m)
				}
			}
			for _, s := range old.stamps {
				if rel, err := filepath.Rel(c.root, s.path); err == nil && stampOf(s.path) != s {
					rebuilt.Files = append(rebuilt.Files, filepath.ToSlash(rel))
				}
			}
		}
	}
	for _, b := range broken {
		slices.Sort(b.Functions)
		c.emit(b)
	}
	if len(rebuilt.Functions) > 0 {
		slices.Sort(rebuilt.Functions)
		slices.Sort(rebuilt.Files)
		rebuilt.Files = slices.Compact(rebuilt.Files)
		rebuilt.Duration = took
		c.emit(rebuilt)
	}
}

func sameMessage(a, b bundle.Message) bool {
	return a.Text == b.Text && a.File == b.File && a.Line == b.Line && a.Col == b.Col
}
