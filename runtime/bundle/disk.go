package bundle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
)

// disk keeps results for the next process: <unit>.json says what a bundle was made from, <hash>.zip is the bundle.
// It is a cache: what cannot be read or written is as if it were not there.
type disk struct {
	dir string

	packer packer

	once sync.Once
	tool string // identity of the binary: another one may bundle differently
}

// diskEntries bounds the folder; the oldest half goes when there are more.
const diskEntries = 4000

type diskRecord struct {
	Hash     string    `json:"hash"`
	Size     int       `json:"size"` // of the archive: one cut short is none
	Exports  []string  `json:"exports"`
	Inputs   []string  `json:"inputs"`
	Messages []Message `json:"messages,omitempty"`
	Stamps   []stamp   `json:"stamps"`
}

func (d *disk) name(root string, u *unit) string {
	d.once.Do(func() {
		if path, err := os.Executable(); err == nil {
			if info, err := os.Stat(path); err == nil {
				d.tool = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
			}
		}
	})
	sum := sha256.Sum256([]byte(d.tool + "\n" + root + "\n" + u.key))
	return filepath.Join(d.dir, hex.EncodeToString(sum[:])+".json")
}

func (d *disk) archive(hash string) string { return filepath.Join(d.dir, hash+".zip") }

// read gives the unit as an earlier process left it, or nil. Its Files are not read: Zip has them.
func (d *disk) read(root string, u *unit) *unit {
	data, err := os.ReadFile(d.name(root, u))
	if err != nil {
		return nil
	}
	var r diskRecord
	if json.Unmarshal(data, &r) != nil || r.Hash == "" {
		return nil
	}
	if info, err := os.Stat(d.archive(r.Hash)); err != nil || info.Size() != int64(r.Size) {
		return nil
	}
	known := *u
	known.result = Result{Hash: r.Hash, Exports: r.Exports, Inputs: r.Inputs, Messages: r.Messages, archive: d.archive(r.Hash)}
	known.stamps = r.Stamps
	return &known
}

// write stores the units that were built, packing on all cores.
func (d *disk) write(root string, units []*unit) {
	units = slices.DeleteFunc(slices.Clone(units), func(u *unit) bool { return u.result.Failed() })
	if len(units) == 0 || os.MkdirAll(d.dir, 0o755) != nil {
		return
	}
	d.prune()
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, u := range units {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			archive := d.archive(u.result.Hash)
			packed := d.packer.pack(u.result.Files)
			if info, err := os.Stat(archive); (err != nil || info.Size() != int64(len(packed))) && replace(archive, packed) != nil {
				return
			}
			u.result.archive = archive
			data, err := json.Marshal(diskRecord{u.result.Hash, len(packed), u.result.Exports, u.result.Inputs, u.result.Messages, u.stamps})
			if err == nil {
				_ = replace(d.name(root, u), data) // a lost record costs one build
			}
		})
	}
	wg.Wait()
}

// prune removes the oldest entries when there are too many.
func (d *disk) prune() {
	entries, err := os.ReadDir(d.dir)
	if err != nil || len(entries) <= diskEntries {
		return
	}
	type aged struct {
		name string
		time int64
	}
	var all []aged
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			all = append(all, aged{e.Name(), info.ModTime().UnixNano()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Compare(a.time, b.time) })
	for _, e := range all[:len(all)-diskEntries/2] {
		_ = os.Remove(filepath.Join(d.dir, e.name)) // another process may have been faster
	}
}

// replace writes a file that other processes see whole or not at all.
func replace(name string, data []byte) error {
	draft, err := os.CreateTemp(filepath.Dir(name), ".draft-")
	if err != nil {
		return err
	}
	_, err = draft.Write(data)
	if closeErr := draft.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(draft.Name(), name)
	}
	if err != nil {
		_ = os.Remove(draft.Name())
	}
	return err
}
