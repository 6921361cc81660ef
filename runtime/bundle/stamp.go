package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A stamp is what tells, without reading it, that a file is still the one that was read: size, modification time and
// inode, as git does. A folder's stamp is the list of its names, since a new file can change what an import means.
type stamp struct {
	Path string `json:"path"`
	Gone bool   `json:"gone,omitempty"` // it was looked for and not there
	Dir  bool   `json:"dir,omitempty"`
	// Stems limits a folder's names to those that could be taken for an input of this stem, and to configuration;
	// nil is all names.
	Stems []string  `json:"stems,omitempty"`
	Size  int64     `json:"size,omitempty"`
	Time  time.Time `json:"time,omitzero"`
	Inode uint64    `json:"inode,omitempty"`
	Names string    `json:"names,omitempty"` // hash of a folder's names
	Racy  bool      `json:"racy,omitempty"`  // written so close to the read that a later write could look the same
}

// clockGrain is how far apart two writes must be for their modification times to differ for sure.
const clockGrain = 10 * time.Millisecond

// stamps looks at files and folders, each at most once: one build compares many bundles that share most inputs.
type stamps struct {
	files   map[string]stamp
	entries map[string][]os.DirEntry
}

func newStamps() *stamps {
	return &stamps{files: map[string]stamp{}, entries: map[string][]os.DirEntry{}}
}

// look gives the stamp of wanted.Path as it is now, and of a folder for the same stems. A folder is listed only when
// its time is not that of wanted.
func (s *stamps) look(wanted stamp) stamp {
	got, ok := s.files[wanted.Path]
	if !ok {
		got = stamp{Path: wanted.Path}
		info, err := os.Stat(wanted.Path)
		switch {
		case err != nil:
			got.Gone = true
		default:
			got.Dir, got.Time, got.Inode = info.IsDir(), info.ModTime(), inode(info)
			if !got.Dir {
				got.Size = info.Size()
			}
		}
		s.files[wanted.Path] = got
	}
	if !got.Dir {
		return got
	}
	got.Stems = wanted.Stems
	if wanted.Dir && wanted.Time.Equal(got.Time) && wanted.Inode == got.Inode && !wanted.Racy {
		got.Names = wanted.Names
		return got
	}
	entries, ok := s.entries[wanted.Path]
	if !ok {
		entries, _ = os.ReadDir(wanted.Path) // what cannot be listed has no names
		s.entries[wanted.Path] = entries
	}
	got.Names = hashNames(entries, wanted.Stems)
	return got
}

// changed gives the first that is not as it was, or "".
func (s *stamps) changed(all []stamp) string {
	for _, known := range all {
		got := s.look(known)
		switch {
		case got.Gone != known.Gone, got.Dir != known.Dir:
			return known.Path
		case got.Gone:
		case got.Dir:
			if got.Names != known.Names {
				return known.Path
			}
		case known.Racy, got.Size != known.Size, !got.Time.Equal(known.Time), got.Inode != known.Inode:
			return known.Path
		}
	}
	return ""
}

// take records files and folders, which were read not earlier than since. A file that looked the same before that is
// not racy, however new it is: only a second write of the same size within one tick of the clock could go unseen.
func (s *stamps) take(files []string, folders map[string][]string, since time.Time, before *stamps) []stamp {
	all := make([]stamp, 0, len(files)+len(folders))
	add := func(wanted stamp) {
		got := s.look(wanted)
		old, seen := before.files[got.Path]
		same := seen && !got.Dir && old.Size == got.Size && old.Time.Equal(got.Time) && old.Inode == got.Inode
		got.Racy = !got.Gone && !same && got.Time.After(since.Add(-clockGrain))
		all = append(all, got)
	}
	for _, file := range files {
		add(stamp{Path: file})
	}
	for folder, stems := range folders {
		add(stamp{Path: folder, Stems: stems})
	}
	slices.SortFunc(all, func(a, b stamp) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func hashNames(entries []os.DirEntry, stems []string) string {
	hash := sha256.New()
	for _, e := range entries {
		name := e.Name()
		if ignored(name) {
			continue
		}
		if stems != nil && name != "package.json" && name != "tsconfig.json" && name != "node_modules" {
			if _, found := slices.BinarySearch(stems, stem(name)); !found {
				continue
			}
		}
		hash.Write([]byte(name + "\x00" + e.Type().String() + "\x00"))
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// stem is what an import may say in place of the name.
func stem(name string) string {
	if i := strings.IndexByte(name, '.'); i > 0 {
		return name[:i]
	}
	return name
}

// surroundings gives the folders whose names decide which files the imports of the inputs mean: those that hold an
// input of the project, with the stems that matter in them, and the node_modules beside and above.
func surroundings(root string, inputs []string) map[string][]string {
	folders := map[string][]string{}
	for _, input := range inputs {
		if strings.Contains(input, nodeModules) {
			continue
		}
		for path := input; path != root; path = filepath.Dir(path) {
			dir := filepath.Dir(path)
			if dir == path {
				break
			}
			if slices.Contains(folders[dir], stem(filepath.Base(path))) {
				break
			}
			folders[dir] = append(folders[dir], stem(filepath.Base(path)))
			modules := filepath.Join(dir, "node_modules")
			folders[modules] = nil
		}
	}
	for _, stems := range folders {
		slices.Sort(stems)
	}
	return folders
}

// compact sorts and removes duplicates.
func compact(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}
