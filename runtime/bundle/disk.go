package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// disk keeps results for the next process: <unit>.json says what a bundle was made from, <hash>.zip is the bundle.
// It is a cache: what cannot be read or written is as if it were not there. Records bear the time of their last use.
type disk struct {
	dir   string
	limit int64 // bytes; 0 = cacheBytes

	packer packer

	once sync.Once
	tool string // identity of the binary: another one may bundle differently
}

const (
	cacheBytes   = 512 << 20
	cacheEntries = 4000        // files
	useGrain     = time.Minute // the time of use is written down at most so often
	inUse        = 10 * useGrain
)

type diskRecord struct {
	Hash     string    `json:"hash"` // the first field: prune reads no further
	Archive  stamp     `json:"archive"`
	Sum      string    `json:"sum"` // of the archive's bytes
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

// read gives the unit as an earlier process left it, or nil and why there is none. Its Files are not read: Zip has them.
func (d *disk) read(root string, u *unit) (known *unit, why string) {
	name := d.name(root, u)
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, notBuilt
	}
	var r diskRecord
	if json.Unmarshal(data, &r) != nil || r.Hash == "" {
		return nil, damaged
	}
	archive := &stored{path: filepath.Join(d.dir, r.Hash+".zip"), sum: r.Sum}
	// Reading all archives would cost more than the rest of a build in which one handler changed: those whose figures are
	// not what they were are read now, the others when they are used.
	if newStamps().changed([]stamp{r.Archive}) != "" {
		if _, err := archive.read(); err != nil {
			return nil, damaged
		}
	}
	if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > useGrain {
		now := time.Now()
		_ = os.Chtimes(name, now, now) // or it is taken for older than it is
	}
	known = &unit{key: u.key, spec: u.spec, file: u.file, stamps: r.Stamps}
	known.result = Result{Hash: r.Hash, Exports: r.Exports, Inputs: r.Inputs, Messages: r.Messages, archive: archive}
	return known, ""
}

// stored is an archive in the cache.
type stored struct {
	path string
	sum  string
	lost atomic.Bool // it was found gone or damaged
}

// ErrDamaged is the error of Result.Zip when the archive in the cache was removed or written to after Build had looked at
// it. The next Build makes it again.
var ErrDamaged = errors.New("an archive in the cache of bundles was removed or damaged meanwhile")

// read gives the bytes that were written, or ErrDamaged.
func (s *stored) read() ([]byte, error) {
	data, err := os.ReadFile(s.path)
	if err == nil && sumOf(data) == s.sum {
		return data, nil
	}
	s.lost.Store(true)
	_ = os.Remove(s.path) // what cannot be removed is found damaged again
	return nil, fmt.Errorf("%w: %s", ErrDamaged, s.path)
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// write stores the units that were built, packing on all cores.
func (d *disk) write(root string, units []*unit) {
	units = slices.DeleteFunc(slices.Clone(units), func(u *unit) bool { return u.result.Failed() })
	if len(units) == 0 || os.MkdirAll(d.dir, 0o755) != nil {
		return
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, u := range units {
		group.Go(func() error {
			packed := d.packer.pack(u.result.Files)
			archive := &stored{path: filepath.Join(d.dir, u.result.Hash+".zip"), sum: sumOf(packed)}
			if there, err := os.ReadFile(archive.path); (err != nil || !bytes.Equal(there, packed)) && replace(archive.path, packed) != nil {
				return nil
			}
			u.result.archive = archive
			data, err := json.Marshal(diskRecord{u.result.Hash, newStamps().look(stamp{Path: archive.path}), archive.sum,
				u.result.Exports, u.result.Inputs, u.result.Messages, u.stamps})
			if err == nil {
				_ = replace(d.name(root, u), data) // a lost record costs one build
			}
			return nil
		})
	}
	group.Wait()
	d.prune()
}

// prune removes what was not used for longest when there is too much, never what a build under way may have been given.
func (d *disk) prune() {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return
	}
	type aged struct {
		name string
		size int64
		time time.Time
	}
	var records []aged
	archives := map[string]int64{} // by hash
	files, total, limit := len(entries), int64(0), cmp.Or(d.limit, cacheBytes)
	remove := func(name string, size int64) {
		if os.Remove(filepath.Join(d.dir, name)) == nil { // another process may have been faster
			total -= size
			files--
		}
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		total += info.Size()
		switch {
		case strings.HasSuffix(e.Name(), ".json"):
			records = append(records, aged{e.Name(), info.Size(), info.ModTime()})
		case strings.HasSuffix(e.Name(), ".zip"):
			// One without a record is on its way into the cache, or out of it.
			if time.Since(info.ModTime()) > inUse {
				archives[strings.TrimSuffix(e.Name(), ".zip")] = info.Size()
			}
		case time.Since(info.ModTime()) > inUse: // the draft of a process that was killed
			remove(e.Name(), info.Size())
		}
	}
	if total <= limit && files <= cacheEntries {
		return
	}
	slices.SortFunc(records, func(a, b aged) int { return cmp.Or(b.time.Compare(a.time), cmp.Compare(a.name, b.name)) })
	// The latest stay, with their archives, as long as they take three quarters of what is allowed: so this is rare.
	kept := 0
	var keptBytes int64
	for _, r := range records {
		hash := d.hashIn(r.name)
		fits := keptBytes+r.size+archives[hash] <= limit*3/4 && kept+2 <= cacheEntries*3/4
		if fits || time.Since(r.time) <= inUse {
			keptBytes += r.size + archives[hash]
			kept += 2
			delete(archives, hash)
		} else {
			remove(r.name, r.size)
		}
	}
	for hash, size := range archives {
		remove(hash+".zip", size)
	}
}

// hashIn reads as much of a record as names its archive.
func (d *disk) hashIn(name string) string {
	file, err := os.Open(filepath.Join(d.dir, name))
	if err != nil {
		return ""
	}
	defer file.Close()
	head := make([]byte, len(`{"hash":"`)+2*sha256.Size)
	if _, err := io.ReadFull(file, head); err != nil {
		return ""
	}
	return strings.TrimPrefix(string(head), `{"hash":"`)
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
