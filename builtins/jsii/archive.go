package jsii

// Unpacking the npm packages that this binary carries.

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// CDKVersion is the version of aws-cdk-lib in this binary.
const CDKVersion = "2.270.0"

const (
	unpackRules  = "1"         // changes when what is left out changes, so that older folders are not taken
	unpackMarker = ".sst.json" // written last
	unpackTrust  = time.Hour   // how long a folder that was found intact is believed
	unpackStale  = time.Hour   // an unpacking folder this old was abandoned
	writers      = 4
	maxFileBytes = 256 << 20
)

// marker says what an unpacked folder holds.
type marker struct {
	Files map[string]int64 // size by slash-separated name under node_modules
}

// Unpack makes sure that the CDK is on disk under cacheDir and gives its folder, which has a node_modules.
// progress, if not nil, is called once when there is work to do. Any number of processes may do it at once.
func Unpack(ctx context.Context, cacheDir string, progress func(string)) (dir string, err error) {
	sum := sha256.Sum256([]byte(indexFile[indexHash:indexHead] + unpackRules))
	parent := filepath.Join(cacheDir, "cdk")
	dir = filepath.Join(parent, CDKVersion+"-"+hex.EncodeToString(sum[:6]))
	if intact(dir) {
		return dir, nil
	}
	if progress != nil {
		progress("Unpacking the AWS CDK " + CDKVersion + " (once)")
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("unpack the CDK: %w", err)
	}
	sweep(parent)
	temp, err := os.MkdirTemp(parent, ".unpack-")
	if err != nil {
		return "", fmt.Errorf("unpack the CDK: %w", err)
	}
	defer os.RemoveAll(temp)
	fresh := filepath.Join(temp, "cdk")
	if err := unpackInto(ctx, temp, fresh); err != nil {
		return "", fmt.Errorf("unpack the CDK into %s: %w", parent, err)
	}
	if os.Rename(fresh, dir) == nil {
		return dir, nil
	}
	if intact(dir) { // another process was faster
		return dir, nil
	}
	// What is there is damaged. It moves into our temporary folder and goes with it.
	if err := os.Rename(dir, filepath.Join(temp, "damaged")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("unpack the CDK: %s is damaged and cannot be replaced: %w", dir, err)
	}
	if err := os.Rename(fresh, dir); err != nil && !intact(dir) {
		return "", fmt.Errorf("unpack the CDK: %w", err)
	}
	return dir, nil
}

// sweep removes what interrupted processes left.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, ".unpack-*"))
	for _, d := range left {
		if info, err := os.Stat(d); err == nil && time.Since(info.ModTime()) > unpackStale {
			os.RemoveAll(d)
		}
	}
}

// intact says whether dir holds all files in their sizes: with a file cut short, or swept away by a cleaner of caches, the CDK
// would fail in ways that nobody understands. Looking at four thousand files takes some 15 ms, so that what was found good is
// believed for a while; a host that misses a file calls forget.
func intact(dir string) bool {
	name := filepath.Join(dir, unpackMarker)
	info, err := os.Stat(name)
	if err != nil {
		return false
	}
	if age := time.Since(info.ModTime()); age >= 0 && age < unpackTrust {
		return true
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	var m marker
	if json.Unmarshal(data, &m) != nil || len(m.Files) == 0 {
		return false
	}
	for file, size := range m.Files {
		if info, err := os.Lstat(filepath.Join(dir, "node_modules", filepath.FromSlash(file))); err != nil || info.Size() != size {
			return false
		}
	}
	now := time.Now()
	os.Chtimes(name, now, now) // best effort: the next one looks again
	return true
}

// forget makes the next Unpack look at every file of dir.
func forget(dir string) {
	os.Chtimes(filepath.Join(dir, unpackMarker), time.Unix(0, 0), time.Unix(0, 0))
	forgetModules(dir)
}

// forgetModules removes what hosts keep to load modules faster (modules.js): a host that failed may have failed by it.
func forgetModules(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == ".pack" {
			os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// unpackInto writes node_modules and the marker into dir.
func unpackInto(ctx context.Context, temp, dir string) error {
	archives, err := fetchArchives(ctx, temp)
	if err != nil {
		return err
	}
	modules := filepath.Join(dir, "node_modules")
	type job struct {
		name string // under node_modules
		data []byte
	}
	jobs := make(chan job, 32)
	m := marker{Files: map[string]int64{}}
	var mu sync.Mutex // guards m and made
	made := map[string]bool{}
	write, wctx := errgroup.WithContext(ctx)
	for range writers {
		write.Go(func() error {
			for j := range jobs {
				name := filepath.Join(modules, filepath.FromSlash(j.name))
				mu.Lock()
				known := made[path.Dir(j.name)]
				mu.Unlock()
				if !known {
					if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
						return err
					}
				}
				if err := os.WriteFile(name, j.data, 0o644); err != nil {
					return err
				}
				mu.Lock()
				made[path.Dir(j.name)] = true
				m.Files[j.name] = int64(len(j.data))
				mu.Unlock()
			}
			return nil
		})
	}
	read, rctx := errgroup.WithContext(wctx)
	for _, a := range archives {
		read.Go(func() error {
			return unpackArchive(a, skip, func(name string, data []byte) error {
				select {
				case jobs <- job{name, data}:
					return nil
				case <-rctx.Done():
					return context.Cause(rctx)
				}
			})
		})
	}
	readErr := read.Wait()
	close(jobs)
	if err := write.Wait(); err != nil {
		return err
	}
	if readErr != nil {
		return readErr
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, unpackMarker), data, 0o644)
}

// unpackArchive gives the files of one npm package that are not to be skipped, named from node_modules on.
func unpackArchive(archive string, skip func(name string) bool, file func(name string, data []byte) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	var pkg struct{ Name string }
	type entry struct {
		name string
		data []byte
	}
	var early []entry // before the package said its name
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		_, name, _ := strings.Cut(path.Clean(h.Name), "/") // the first part is "package"
		if h.Typeflag != tar.TypeReg || name == "" || skip(name) {
			continue
		}
		if !filepath.IsLocal(filepath.FromSlash(name)) || h.Size > maxFileBytes {
			return fmt.Errorf("%s: unexpected entry %s", archive, h.Name)
		}
		data := make([]byte, h.Size)
		if _, err := io.ReadFull(r, data); err != nil {
			return err
		}
		if name == "package.json" {
			if err := json.Unmarshal(data, &pkg); err != nil || !filepath.IsLocal(filepath.FromSlash(pkg.Name)) {
				return fmt.Errorf("%s: the package has no name: %v", archive, err)
			}
			for _, e := range early {
				if err := file(pkg.Name+"/"+e.name, e.data); err != nil {
					return err
				}
			}
			early = nil
		}
		if pkg.Name == "" {
			early = append(early, entry{name, data})
			continue
		}
		if err := file(pkg.Name+"/"+name, data); err != nil {
			return err
		}
	}
	if pkg.Name == "" {
		return fmt.Errorf("%s: the package has no name", archive)
	}
	return nil
}

// uploaded are the folders that the CDK makes assets of. They keep everything, or the hashes of those assets would be others
// than with the CDK from npm.
var uploaded = []string{"custom-resource-handlers/", "custom-resources/lib/provider-framework/runtime/"}

// skip says what is left out: types, documentation and jsii's own files.
func skip(name string) bool {
	for _, whole := range uploaded {
		if strings.HasPrefix(name, whole) {
			return false
		}
	}
	base := path.Base(name)
	switch {
	case strings.HasSuffix(base, ".d.ts"), strings.HasSuffix(base, ".d.mts"), strings.HasSuffix(base, ".js.map"):
		return true
	case strings.HasPrefix(name, "rosetta/"), strings.HasPrefix(name, "docs/"):
		return true
	case name == ".jsii", strings.HasPrefix(name, ".jsii."):
		return true
	case strings.HasSuffix(base, ".md"):
		return true
	}
	return false
}
