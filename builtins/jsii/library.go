package jsii

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/klauspost/compress/gzip"

	"sst/builtins/jsii/internal/index"
)

// Pin is an npm package as a project has fixed it.
type Pin struct {
	Version   string `json:"version"`
	Integrity string `json:"integrity"`      // "sha512-" and the hash in base64, of its archive
	File      string `json:"file,omitempty"` // the archive, relative to the project, when it does not come from a registry
}

// Library is a package of constructs beside the CDK.
type Library struct {
	Name  string
	index string
}

// NoArchive is the error when the archive of a library is not on this machine.
type NoArchive struct{ Name, Version string }

func (e *NoArchive) Error() string { return e.Name + " " + e.Version + " is not on this machine" }

// Damaged is the error when an archive is not what was pinned.
type Damaged struct{ Name, Want, Got string }

func (e *Damaged) Error() string {
	return fmt.Sprintf("the archive of %s has the hash %s, want %s", e.Name, e.Got, e.Want)
}

// ArchiveFile is where the archive of a pinned library is kept under a cache folder.
func ArchiveFile(cacheDir, name string, pin Pin) string {
	sum := sha256.Sum256([]byte(name + "\n" + pin.Integrity))
	return filepath.Join(cacheDir, "libraries", strings.NewReplacer("/", "-", "@", "").Replace(name)+"-"+pin.Version+"-"+hex.EncodeToString(sum[:6])+".tgz")
}

// Integrity is the hash of an archive as npm writes it.
func Integrity(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// Libraries makes sure that the pinned libraries are on disk under cacheDir, in one node_modules, and gives its folder. root is
// the project's, for archives that lie in it. Nothing is fetched.
func Libraries(ctx context.Context, cacheDir, root string, pins map[string]Pin) (dir string, list []Library, err error) {
	names := sortedNames(pins)
	key, err := json.Marshal(pins)
	if err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(append(key, CDKVersion+indexFile[indexHash:indexHead]...))
	parent := filepath.Join(cacheDir, "libraries")
	dir = filepath.Join(parent, "set-"+hex.EncodeToString(sum[:8]))
	if list, err := readLibraries(dir, names); err == nil {
		return dir, list, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", nil, err
	}
	sweep(parent)
	temp, err := os.MkdirTemp(parent, ".unpack-")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(temp)
	for i, name := range names {
		if err := context.Cause(ctx); err != nil {
			return "", nil, err
		}
		if err := unpackLibrary(temp, i, name, archiveOf(cacheDir, root, name, pins[name]), pins[name]); err != nil {
			return "", nil, err
		}
	}
	if err := os.Rename(temp, dir); err != nil { // another process was faster, or what is there is damaged
		if list, err := readLibraries(dir, names); err == nil {
			return dir, list, nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return "", nil, err
		}
		if err := os.Rename(temp, dir); err != nil {
			return "", nil, err
		}
	}
	list, err = readLibraries(dir, names)
	return dir, list, err
}

func archiveOf(cacheDir, root, name string, pin Pin) string {
	if pin.File != "" {
		return filepath.Join(root, filepath.FromSlash(pin.File))
	}
	return ArchiveFile(cacheDir, name, pin)
}

// unpackLibrary writes library number i of a set. Nothing is left out: what is part of an asset decides its hash.
func unpackLibrary(set string, i int, name, archive string, pin Pin) error {
	got, err := Integrity(archive)
	if errors.Is(err, fs.ErrNotExist) {
		return &NoArchive{name, pin.Version}
	}
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(got), []byte(pin.Integrity)) != 1 {
		return &Damaged{name, pin.Integrity, got}
	}
	modules := filepath.Join(set, "node_modules")
	err = unpackArchive(archive, func(string) bool { return false }, func(file string, data []byte) error {
		path := filepath.Join(modules, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	})
	if err != nil {
		return err
	}
	_, data, err := index.Library(archive)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(set, fmt.Sprintf("index-%d.bin", i)), data, 0o644)
}

func readLibraries(dir string, names []string) ([]Library, error) {
	var list []Library
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("index-%d.bin", i)))
		if err != nil {
			return nil, err
		}
		list = append(list, Library{name, string(data)})
	}
	return list, nil
}

// Manifest is what a package says of itself.
type Manifest struct {
	Name             string            `json:"name"`
	Version          string            `json:"version"`
	Dependencies     map[string]string `json:"dependencies"`
	PeerDependencies map[string]string `json:"peerDependencies"`
	Bundled          []string          `json:"bundledDependencies"`
	Bundle           []string          `json:"bundleDependencies"`
	HasAssembly      bool              `json:"-"` // it has the metadata of jsii, so that others than TypeScript can use it
}

// ReadManifest reads package.json in an archive.
func ReadManifest(archive string) (*Manifest, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		_, name, _ := strings.Cut(h.Name, "/") // the first part is "package"
		switch name {
		case "package.json":
			if err := json.NewDecoder(io.LimitReader(r, maxFileBytes)).Decode(m); err != nil {
				return nil, fmt.Errorf("package.json: %w", err)
			}
		case ".jsii":
			m.HasAssembly = true
		}
	}
	if m.Name == "" || m.Version == "" {
		return nil, errors.New("it is no npm package: package.json has no name and version")
	}
	m.Bundled = append(m.Bundled, m.Bundle...)
	return m, nil
}

func sortedNames(pins map[string]Pin) []string {
	names := make([]string, 0, len(pins))
	for name := range pins {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
