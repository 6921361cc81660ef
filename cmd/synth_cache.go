package cmd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// This file keeps synthesized assemblies, several of a project: whoever goes from stage to stage, or from branch to branch and
// back, finds what was synthesized there. Each is a folder <key>-<id> with two files beside it: <key>-<id>.result, and the record
// <key>-<id>.json, which is small, since many may have to be read, and whose time is that of the last use. Only who holds the lock of the project's build comes here.

const (
	synthEntries = 16
	synthBytes   = 256 << 20
)

func (p *project) synthCache() string { return filepath.Join(p.state, "cache", "synths") }

// cachedSynth gives a synthesized assembly that is still right, else nil and what speaks against the one used last.
func (t *tool) cachedSynth(p *project) (s *synthesized, why string) {
	key := t.buildKey(p)
	why = "there is none for this stage, region and version of sst"
	for i, memory := range newestFirst(p.synthCache(), short(key)) {
		s, reason := t.restoreSynth(memory, key)
		if s != nil {
			now := time.Now()
			if err := os.Chtimes(memory, now, now); err != nil {
				t.log.Warn("the use of a synthesized assembly is not noted", "error", err)
			}
			s.step = buildStep{Step: "synth", Reused: 1}
			return s, ""
		}
		if i == 0 {
			why = reason
		}
	}
	return nil, why
}

// restoreSynth reads one entry. One that is damaged is removed.
func (t *tool) restoreSynth(memory, key string) (*synthesized, string) {
	const damaged = "its entry in the cache is damaged"
	r, err := readRecord(memory)
	if err != nil {
		removeSynth(memory)
		return nil, damaged
	}
	if ok, why := r.inputsUnchanged(key, t.envState); !ok {
		return nil, why
	}
	s := &synthesized{Dir: strings.TrimSuffix(memory, ".json")}
	data, err := os.ReadFile(s.Dir + resultSuffix)
	if err != nil || json.Unmarshal(data, s) != nil || s.Manifest == nil || r.rewritten() {
		removeSynth(memory)
		return nil, damaged
	}
	return s, ""
}

// keepSynth puts a synthesized assembly where later runs find it. The record is written last, so that it never speaks of
// a folder that is not whole.
func (t *tool) keepSynth(p *project, s *synthesized, started time.Time) error {
	key := t.buildKey(p)
	dir := filepath.Join(p.synthCache(), short(key)+"-"+hex.EncodeToString(randomBytes(8)))
	if err := replaceFolder(s.Dir, dir); err != nil {
		return err
	}
	s.Dir = dir
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := writeFileAtomic(dir+resultSuffix, data, 0o600); err != nil {
		return err
	}
	written, err := outputs(dir)
	if err != nil {
		return err
	}
	written = append(written, dir+resultSuffix)
	files, env := t.dependencies(s.Inputs, "handler")
	r, err := newRecord(nil, key, started, files, written, env, nil)
	if err != nil {
		return err
	}
	if err := r.write(dir + ".json"); err != nil {
		return err
	}
	return pruneSynths(p.synthCache(), synthEntries, synthBytes)
}

// short names the files of a key.
func short(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:6])
}

// newestFirst lists the JSON files of a folder whose name begins with prefix, by their time.
func newestFirst(dir, prefix string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	times := map[string]time.Time{}
	var records []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), prefix) || !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		times[path] = info.ModTime()
		records = append(records, path)
	}
	slices.SortStableFunc(records, func(a, b string) int { return times[b].Compare(times[a]) })
	return records
}

const resultSuffix = ".result"

// removeSynth removes an entry, its record first.
func removeSynth(memory string) error {
	folder := strings.TrimSuffix(memory, ".json")
	return errors.Join(os.Remove(memory), os.RemoveAll(folder+resultSuffix), os.RemoveAll(folder))
}

// pruneSynths removes what was not used for longest when there is too much, and what has no record. The
// entry used last stays, whatever its size.
func pruneSynths(dir string, maxEntries int, maxBytes int64) error {
	records := newestFirst(dir, "") // their time is that of the last use
	kept := map[string]bool{}
	var total int64
	var problems []error
	for i, memory := range records {
		folder := strings.TrimSuffix(memory, ".json")
		total += sizeOf(folder) + sizeOf(folder+resultSuffix) + sizeOf(memory)
		if i > 0 && (i >= maxEntries || total > maxBytes) {
			problems = append(problems, removeSynth(memory))
			continue
		}
		kept[memory], kept[folder+resultSuffix], kept[folder] = true, true, true
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); !kept[path] {
			problems = append(problems, os.RemoveAll(path))
		}
	}
	return errors.Join(append(problems, err)...)
}

// sizeOf is that of a file, or of all files below a folder.
func sizeOf(path string) (bytes int64) {
	filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil // what cannot be read has no size
	})
	return bytes
}
