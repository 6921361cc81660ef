package runtime

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long files must be quiet before they are looked at: editors save in several steps.
	settleTime = 8 * time.Millisecond
	// pollTime is how often files are looked at where the system cannot tell of changes.
	pollTime = 500 * time.Millisecond
)

type watcherOptions struct {
	root  string
	skip  string // the tool's own folder
	codes *codes
	emit  func(Event)
	log   *slog.Logger
}

// watcher follows the inputs of bundles and of stacks.star. It watches their folders, since editors save by renaming,
// and new files appear there. It is a convenience: requests look at the files by themselves.
type watcher struct {
	opts  watcherOptions
	fs    *fsnotify.Watcher // nil: polling only
	kick  chan struct{}     // what is watched is other now
	quit  chan struct{}
	ended chan struct{}

	mu     sync.Mutex // guards what follows
	stamps map[string]stamp
	star   map[string]bool // files and folders of Watch
	told   bool            // the fallback was announced
}

func openWatcher(opts watcherOptions) *watcher {
	w := &watcher{opts: opts, kick: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
		stamps: map[string]stamp{}, star: map[string]bool{}}
	var err error
	if w.fs, err = fsnotify.NewWatcher(); err != nil {
		w.fs = nil
		w.fallBack(err)
	}
	go w.run()
	return w
}

func (w *watcher) close() {
	close(w.quit)
	<-w.ended
}

// watch replaces the files and folders that are reported as Changed.
func (w *watcher) watch(files []string) {
	w.mu.Lock()
	w.star = map[string]bool{}
	for _, f := range files {
		f = filepath.Clean(f)
		w.star[f] = true
		if _, known := w.stamps[f]; !known { // else a change that was not looked at yet would be lost
			w.stamps[f] = stampOf(f)
		}
	}
	w.mu.Unlock()
	w.refresh()
}

// refresh has the set of watched folders computed again, soon.
func (w *watcher) refresh() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *watcher) fallBack(err error) {
	w.mu.Lock()
	told := w.told
	w.told = true
	w.mu.Unlock()
	if !told {
		w.opts.emit(Notice{Text: "the system watches no more files (" + err.Error() + "); looking at them twice a second instead"})
	}
}

func (w *watcher) run() {
	defer close(w.ended)
	var events chan fsnotify.Event
	var failures chan error
	if w.fs != nil {
		events, failures = w.fs.Events, w.fs.Errors
		defer w.fs.Close()
	}
	pending := map[string]bool{}
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	poll := time.NewTicker(pollTime)
	defer poll.Stop()
	watched := map[string]bool{}
	for {
		select {
		case <-w.quit:
			return
		case <-w.kick:
			w.follow(watched)
		case event := <-events:
			if event.Op == fsnotify.Chmod || w.ignored(event.Name) {
				continue
			}
			pending[filepath.Clean(event.Name)] = true
			settle.Reset(settleTime)
		case err := <-failures:
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				for _, f := range w.files() {
					pending[f] = true
				}
				settle.Reset(settleTime)
				continue
			}
			w.fallBack(err)
		case <-settle.C:
			w.look(pending)
			clear(pending)
		case <-poll.C:
			w.mu.Lock()
			polling := w.told
			w.mu.Unlock()
			if polling {
				for _, f := range w.files() {
					pending[f] = true
				}
				w.look(pending)
				clear(pending)
			}
		}
	}
}

// follow watches the folders of all files that matter. The system tells nothing of what was saved before a folder was
// watched, so what Watch follows is looked at then.
func (w *watcher) follow(watched map[string]bool) {
	if w.fs == nil {
		return
	}
	wanted := map[string]bool{}
	for _, f := range w.files() {
		if info, err := os.Stat(f); err == nil && info.IsDir() {
			wanted[f] = true
		} else {
			wanted[filepath.Dir(f)] = true
		}
	}
	added := false
	for dir := range wanted {
		if watched[dir] {
			continue
		}
		if err := w.fs.Add(dir); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				w.fallBack(err)
			}
			continue
		}
		watched[dir] = true
		added = true
	}
	if added {
		unseen := map[string]bool{}
		w.mu.Lock()
		for f := range w.star {
			unseen[f] = true
		}
		w.mu.Unlock()
		w.look(unseen)
	}
	for dir := range watched {
		if !wanted[dir] {
			w.fs.Remove(dir)
			delete(watched, dir)
		}
	}
}

// files are all that are followed.
func (w *watcher) files() []string {
	files := w.opts.codes.inputs()
	w.mu.Lock()
	defer w.mu.Unlock()
	for f := range w.star {
		files = append(files, f)
	}
	return files
}

// ignored leaves out our own folder, editors' temporary files and what installing packages stirs up.
func (w *watcher) ignored(path string) bool {
	base := filepath.Base(path)
	return strings.HasPrefix(path, w.opts.skip+string(filepath.Separator)) ||
		strings.HasSuffix(base, "~") || strings.HasPrefix(base, ".#") || strings.HasSuffix(base, ".swp") ||
		strings.HasSuffix(base, ".swx") || base == "4913" || base == ".DS_Store" || base == ".git"
}

// look compares files with what they were and tells who cares. A file without a stamp is new to us.
func (w *watcher) look(pending map[string]bool) {
	var changed, star []string
	w.mu.Lock()
	for f := range pending {
		was, known := w.stamps[f]
		now := stampOf(f)
		if known && was == now {
			continue
		}
		w.stamps[f] = now
		changed = append(changed, f)
		if w.star[f] || w.star[filepath.Dir(f)] {
			star = append(star, f)
		}
	}
	w.mu.Unlock()
	if len(changed) == 0 {
		return
	}
	slices.Sort(star)
	w.opts.codes.changed(changed)
	if len(star) > 0 {
		w.opts.emit(Changed{Files: star})
	}
}
