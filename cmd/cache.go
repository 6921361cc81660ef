package cmd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sst/starlark/diag"
)

// This file answers one question: would doing it again give what lies there already? A record names everything that a
// step read (files, folders, environment values) and everything it wrote. Files are compared by size, modification time
// and inode, as git does; only one whose figures changed, or which was written so close to the recording that a later
// write could have left them equal, is read again.

// racyWindow is how close to the recording a modification time may be before the figures alone are not trusted: file
// systems keep it with a granularity of up to two seconds.
const racyWindow = 2 * time.Second

// record is what a step remembers, as JSON in .sst/cache.
type record struct {
	Key     string            `json:"key"` // the tool, the CDK, and what was asked for
	Made    time.Time         `json:"made"`
	Inputs  []fileState       `json:"inputs"`
	Outputs []fileState       `json:"outputs"`
	Env     map[string]string `json:"env"` // name → keyed hash of its value
	Salt    string            `json:"salt"`
	Result  json.RawMessage   `json:"result"` // what the step said beside the files
}

// fileState is the identity of a file or folder: figures that change when it does.
type fileState struct {
	Path  string    `json:"path"`
	Dir   bool      `json:"dir,omitempty"`  // its list of names matters, not their content
	Gone  bool      `json:"gone,omitempty"` // it was looked for and not found
	Size  int64     `json:"size,omitempty"`
	Time  time.Time `json:"time,omitzero"`
	Inode uint64    `json:"inode,omitempty"`
	Hash  string    `json:"hash,omitempty"`
}

func stateOf(path string) (fileState, error) {
	state := fileState{Path: path}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDirectory) {
		state.Gone = true
		return state, nil
	}
	if err != nil {
		return state, err
	}
	state.Time, state.Inode = info.ModTime(), inodeOf(info)
	if info.IsDir() {
		state.Dir = true
		state.Hash, err = hashNames(path)
		return state, err
	}
	state.Size = info.Size()
	state.Hash, err = hashFile(path)
	return state, err
}

// same says whether the file or folder is still what it was when the record was made.
func (s fileState) same(made time.Time) bool {
	info, err := os.Stat(s.Path)
	if err != nil {
		return s.Gone && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDirectory))
	}
	if s.Gone || info.IsDir() != s.Dir {
		return false
	}
	if s.untouched(info, made) {
		return true
	}
	if s.Dir {
		hash, err := hashNames(s.Path)
		return err == nil && hash == s.Hash
	}
	if info.Size() != s.Size {
		return false
	}
	hash, err := hashFile(s.Path)
	return err == nil && hash == s.Hash
}

// untouched says whether the figures alone show that nothing was written since the record was made.
func (s fileState) untouched(info fs.FileInfo, made time.Time) bool {
	return s.figures(info) && made.Sub(s.Time) > racyWindow
}

// figures says whether size, time and inode are the same.
func (s fileState) figures(info fs.FileInfo) bool {
	return !s.Gone && info.IsDir() == s.Dir && info.ModTime().Equal(s.Time) && inodeOf(info) == s.Inode && (s.Dir || info.Size() == s.Size)
}

// asWritten is same for an output. Nobody but the step writes it as a rule, so that its figures are trusted however new it
// is: every output is as new as its record.
func (s fileState) asWritten() bool {
	if info, err := os.Stat(s.Path); err == nil && s.figures(info) {
		return true
	}
	return s.same(time.Time{})
}

func hashFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// hashNames covers the names in a folder: a new file can change what an import means. The tool's own folder, and what
// editors leave beside the files they write, cannot.
func hashNames(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, entry := range entries {
		name := entry.Name()
		if name == ".sst" || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".tmp") {
			continue
		}
		hash.Write([]byte(name + "\x00" + entry.Type().String() + "\x00"))
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// newRecord looks at everything that a step, begun at started, read and wrote. What last, the record before (or nil), knows
// of files that were not touched since is taken over without reading them.
func newRecord(last *record, key string, started time.Time, inputs, outputs []string, env map[string]string, result any) (*record, error) {
	r := &record{Key: key, Made: started, Env: map[string]string{}}
	known := last.states()
	var err error
	if r.Inputs, err = states(inputs, known); err != nil {
		return nil, err
	}
	for i := range r.Inputs {
		if input := &r.Inputs[i]; !input.Dir && input.Time.After(started) {
			input.Hash = "saved while the step ran" // which content was used is not known: never equal
		}
	}
	if r.Outputs, err = states(outputs, known); err != nil {
		return nil, err
	}
	r.Salt = hex.EncodeToString(randomBytes(16))
	for name, value := range env {
		r.Env[name] = keyedHash(r.Salt, value)
	}
	r.Result, err = json.Marshal(result)
	return r, err
}

// states gives what the record knows of untouched files, by path.
func (r *record) states() map[string]fileState {
	known := map[string]fileState{}
	if r == nil {
		return known
	}
	for _, state := range r.Inputs {
		if info, err := os.Stat(state.Path); err == nil && state.untouched(info, r.Made) {
			known[state.Path] = state
		}
	}
	for _, state := range r.Outputs {
		if info, err := os.Stat(state.Path); err == nil && state.figures(info) {
			known[state.Path] = state
		}
	}
	return known
}

func states(paths []string, known map[string]fileState) ([]fileState, error) {
	all := make([]fileState, len(paths))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, path := range paths {
		if state, ok := known[path]; ok {
			all[i] = state
			continue
		}
		group.Go(func() (err error) {
			all[i], err = stateOf(path)
			return err
		})
	}
	return all, group.Wait()
}

// withSurroundings adds what decides how the inputs are read without being one of them: the folders they lie in (a
// new file may now be what an import finds) and the package.json and tsconfig.json beside and above them.
func withSurroundings(files []string) []string {
	set := map[string]bool{}
	for _, file := range files {
		set[file] = true
		dir := filepath.Dir(file)
		if set[dir] {
			continue
		}
		for {
			set[dir] = true
			set[filepath.Join(dir, "package.json")] = true
			set[filepath.Join(dir, "tsconfig.json")] = true
			up := filepath.Dir(dir)
			// Folders above a project (one with a stacks.star) or a package's root cannot change what is imported.
			if up == dir || set[up] || exists(filepath.Join(dir, stacksFile)) {
				break
			}
			dir = up
		}
	}
	all := make([]string, 0, len(set))
	for path := range set {
		all = append(all, path)
	}
	slices.Sort(all)
	return all
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func keyedHash(salt, value string) string {
	sum := sha256.Sum256([]byte(salt + "\x00" + value))
	return hex.EncodeToString(sum[:])
}

// unchanged says whether the record still describes the world, and if not, the first thing that differs.
func (r *record) unchanged(key string, env func(name string) string) (ok bool, why string) {
	if ok, why := r.inputsUnchanged(key, env); !ok {
		return false, why
	}
	if path := r.damaged(); path != "" {
		return false, path + " is not as it was written"
	}
	return true, ""
}

// inputsUnchanged says whether the step would read the same as when the record was made.
func (r *record) inputsUnchanged(key string, env func(name string) string) (ok bool, why string) {
	if r.Key != key {
		return false, "the stage, the region or the tool is another"
	}
	for name, hash := range r.Env {
		if keyedHash(r.Salt, env(name)) != hash {
			return false, "the environment variable " + name + " changed"
		}
	}
	for _, starlark := range []bool{true, false} { // those are few, and what they decide takes longest
		for _, input := range r.Inputs {
			if strings.HasSuffix(input.Path, starSuffix) == starlark && !input.same(r.Made) {
				return false, input.Path + changedSuffix
			}
		}
	}
	return true, ""
}

const (
	starSuffix    = ".star"
	changedSuffix = " changed"
)

// damaged gives the first output that is not as it was written, or "".
func (r *record) damaged() string {
	for _, output := range r.Outputs {
		if !output.asWritten() {
			return output.Path
		}
	}
	return ""
}

// rewritten says whether any output has another content now, whatever its figures say: for outputs that are about to be read.
func (r *record) rewritten() bool {
	paths := make([]string, len(r.Outputs))
	for i, output := range r.Outputs {
		paths[i] = output.Path
	}
	now, err := states(paths, nil)
	return err != nil || !slices.EqualFunc(now, r.Outputs, func(a, b fileState) bool { return a.Gone == b.Gone && a.Dir == b.Dir && a.Hash == b.Hash })
}

// intact lists the outputs that are still as they were written.
func (r *record) intact() []string {
	if r == nil {
		return nil
	}
	var paths []string
	for _, output := range r.Outputs {
		if !output.Gone && output.asWritten() {
			paths = append(paths, output.Path)
		}
	}
	return paths
}

func readRecord(path string) (*record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// write replaces the record in one step, so that a reader or a crash never sees half of it.
func (r *record) write(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFileAtomic(path, data, 0o600)
}

// storedDiagnostic is a diagnostic with all its fields in JSON; its own JSON is the one for people's programs.
type storedDiagnostic diag.Diagnostic

func storeDiagnostics(list diag.List) []*storedDiagnostic {
	stored := make([]*storedDiagnostic, len(list))
	for i, d := range list {
		stored[i] = (*storedDiagnostic)(d)
	}
	return stored
}

func restoreDiagnostics(stored []*storedDiagnostic) diag.List {
	var list diag.List
	for _, d := range stored {
		list = append(list, (*diag.Diagnostic)(d))
	}
	return list
}

func writeFileAtomic(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name()) // gone already when the rename was reached
	_, err = draft.Write(data)
	err = errors.Join(err, draft.Chmod(mode), draft.Close())
	if err != nil {
		return err
	}
	return os.Rename(draft.Name(), path)
}
