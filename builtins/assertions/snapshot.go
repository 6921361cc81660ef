package assertions

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// snapshotFolder lies beside a test file and holds a folder for it, with a file of JSON per snapshot: a change is then
// read as any other diff.
const snapshotFolder = "__snapshots__"

// snapshots are those of one test file.
type snapshots struct {
	dir     string
	policy  SnapshotPolicy
	taken   map[string]bool // file names of this run
	counts  map[string]int  // by test: how many had no name
	written []string
}

// SnapshotPolicy says what happens to a snapshot that is not there or is another.
type SnapshotPolicy int

const (
	WriteNew  SnapshotPolicy = iota // new ones are written, others compared
	Frozen                          // for CI: a new one is a failure
	UpdateAll                       // all are written, those that no test takes any more removed
)

func snapshotsOf(file string, policy SnapshotPolicy) *snapshots {
	base := strings.TrimSuffix(filepath.Base(file), ".star")
	return &snapshots{dir: filepath.Join(filepath.Dir(file), snapshotFolder, base), policy: policy, taken: map[string]bool{}, counts: map[string]int{}}
}

var notInFileNames = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// assertSnapshot compares a value with what it was when the snapshot was taken.
func (r *run) assertSnapshot(_ *starlark.Thread, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	var got starlark.Value
	title := ""
	if err := starlark.UnpackArgs(name, args, kwargs, "value", &got, "name?", &title); err != nil {
		return err
	}
	value, err := toJSON(got)
	if err != nil {
		return failed("No snapshot", "%v.", err)
	}
	text, err := indented(value)
	if err != nil {
		return err
	}
	s := r.snapshots
	file := r.test
	if title != "" {
		file += "-" + strings.Trim(notInFileNames.ReplaceAllString(title, "-"), "-")
	} else if s.counts[r.test]++; s.counts[r.test] > 1 {
		file += fmt.Sprintf("-%d", s.counts[r.test])
	}
	file += ".json"
	if s.taken[file] {
		return failed("Snapshot taken twice", "This test has another snapshot of the name %q.", title)
	}
	s.taken[file] = true
	return s.compare(file, text, value)
}

func (s *snapshots) compare(file, text string, value any) error {
	path := filepath.Join(s.dir, file)
	shown := filepath.ToSlash(filepath.Join(snapshotFolder, filepath.Base(s.dir), file))
	old, err := os.ReadFile(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !isNew:
		return failed("No snapshot", "%s cannot be read: %v.", shown, errors.Unwrap(err))
	case string(old) == text:
		return nil
	case isNew && s.policy == Frozen:
		f := failed("No snapshot", "There is no %s.", shown)
		f.Hint = "Run `sst test` on your machine and commit the file; with CI set, none is written."
		return f
	case isNew || s.policy == UpdateAll:
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return failed("No snapshot", "%v.", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return failed("No snapshot", "%v.", err)
		}
		s.written = append(s.written, path)
		return nil
	}
	return failed("Snapshot differs", "%s\nIf it should, `sst test --update` takes it anew.", s.differs(shown, string(old), text, value))
}

func (s *snapshots) differs(shown, old, text string, value any) string {
	was, err := decode([]byte(old))
	if err != nil {
		return fmt.Sprintf("%s does not hold JSON.", shown)
	}
	found := match("", toStarlark(was), value, true, &sightings{})
	if len(found) == 0 || len(found) == 1 && found[0].path == "" {
		return shown + ": " + lineDifference(text, old)
	}
	return fmt.Sprintf("Not as %s has it:%s", shown, list(found))
}

// stale are the snapshots that no test took; with UpdateAll they are removed.
func (s *snapshots) stale() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var stale []string
	for _, entry := range entries {
		if !entry.IsDir() && strings.HasSuffix(entry.Name(), ".json") && !s.taken[entry.Name()] {
			stale = append(stale, filepath.Join(s.dir, entry.Name()))
		}
	}
	slices.Sort(stale)
	if s.policy != UpdateAll {
		return stale, err
	}
	for _, path := range stale {
		err = errors.Join(err, os.Remove(path))
	}
	os.Remove(s.dir) // only when it is empty
	os.Remove(filepath.Dir(s.dir))
	return nil, err
}
