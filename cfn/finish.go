package cfn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Code is the finished code of one bundle. Hash is that of the content, 64 hex digits; Zip gives the archive and is
// called only when the assembly does not have it yet.
type Code struct {
	Hash string
	Zip  func() ([]byte, error)
}

// Finish puts the real code into an assembly that was synthesized with placeholders: codes maps a bundle's key to its
// code. It completes m, which is that of Derive, by Version and the Hash of each function and writes it to sst.json. The result is
// accepted by the stock cdk CLI and is the same on repeat.
func Finish(dir string, m *Manifest, codes map[string]Code) (*Assembly, error) {
	return FinishTo(dir, dir, m, codes)
}

// FinishTo is Finish with the result in another folder, so that the synthesized assembly can be finished again with
// other code. Archives in dst that are used no more are removed, other files there are left.
func FinishTo(src, dst string, m *Manifest, codes map[string]Code) (*Assembly, error) {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return nil, err
	}
	f := &finisher{codes: codes, used: map[string]bool{}, written: map[string]bool{}}
	if err := f.assembly(src, dst); err != nil {
		return nil, err
	}
	if src != dst {
		if err := f.copyTree(src, dst); err != nil {
			return nil, fmt.Errorf("copy assembly: %w", err)
		}
	}
	asm := &Assembly{Dir: dst, Manifest: m}
	if err := asm.read(dst); err != nil {
		return nil, err
	}
	asm.setShort(m)
	if err := f.clean(asm); err != nil {
		return nil, err
	}
	m.Version = ManifestVersion
	for i := range m.Functions {
		m.Functions[i].Hash = codes[m.Functions[i].Bundle.Key()].Hash
	}
	for _, packed := range [][]Packed{m.Sites, m.Jobs} {
		for i := range packed {
			packed[i].Hash = codes[packed[i].Bundle.Key()].Hash
		}
	}
	data, err := marshal(m, "  ")
	if err != nil {
		return nil, err
	}
	return asm, writeFile(filepath.Join(dst, ManifestFile), data)
}

// finisher rewrites the JSON files of an assembly. Hashes are replaced as text: they are unique, and the files keep
// the form in which the CDK wrote them.
type finisher struct {
	codes map[string]Code
	used  map[string]bool // archives written or kept, by path

	written map[string]bool // JSON files, by path
}

func (f *finisher) assembly(src, dst string) error {
	data, err := os.ReadFile(filepath.Join(src, "manifest.json"))
	if err != nil {
		return err
	}
	var manifest struct {
		Artifacts json.RawMessage `json:"artifacts"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(src, "manifest.json"), err)
	}
	artifacts, err := readArtifacts(manifest.Artifacts)
	if err != nil {
		return err
	}
	renamed := map[string]string{}
	for _, x := range artifacts {
		var p struct {
			DirectoryName string `json:"directoryName"`
			File          string `json:"file"`
		}
		if len(x.RawProperties) > 0 {
			if err := json.Unmarshal(x.RawProperties, &p); err != nil {
				return fmt.Errorf("%s: %w", x.ID, err)
			}
		}
		switch x.Type {
		case typeAssembly:
			if err := f.assembly(filepath.Join(src, p.DirectoryName), filepath.Join(dst, p.DirectoryName)); err != nil {
				return err
			}
		case typeAssets:
			if err := f.assets(src, dst, p.File, renamed); err != nil {
				return fmt.Errorf("%s: %w", p.File, err)
			}
		}
	}
	for _, x := range artifacts { // a template that is not an asset itself, as of the CDK's other synthesizers
		var p struct {
			TemplateFile string `json:"templateFile"`
		}
		if x.Type != typeStack || json.Unmarshal(x.RawProperties, &p) != nil || f.written[filepath.Join(dst, p.TemplateFile)] {
			continue
		}
		text, err := os.ReadFile(filepath.Join(src, p.TemplateFile))
		if err != nil {
			return err
		}
		if err := f.write(filepath.Join(dst, p.TemplateFile), replaceAll(f.withCode(text), renamed)); err != nil {
			return err
		}
	}
	return f.write(filepath.Join(dst, "manifest.json"), replaceAll(f.withCode(data), renamed))
}

func replaceAll(text []byte, renamed map[string]string) []byte {
	for _, old := range sortedKeys(renamed) {
		text = bytes.ReplaceAll(text, []byte(old), []byte(renamed[old]))
	}
	return text
}

// write writes one of the assembly's own files.
func (f *finisher) write(name string, data []byte) error {
	f.written[name] = true
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return writeFile(name, data)
}

// assets finishes one asset manifest with the templates and archives it lists. renamed receives the hashes of templates
// that changed.
func (f *finisher) assets(src, dst, file string, renamed map[string]string) error {
	data, err := os.ReadFile(filepath.Join(src, file))
	if err != nil {
		return err
	}
	var manifest assetManifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return err
	}
	var entries map[string]assetEntry
	if err := json.Unmarshal(manifest.Files, &entries); err != nil {
		return err
	}
	ids, err := objectKeys(manifest.Files)
	if err != nil {
		return err
	}
	t := &templates{f: f, src: src, dst: dst, files: map[string]string{}, done: map[string]string{}}
	for _, id := range ids {
		if name := entries[id].Source.Path; entries[id].Source.Packaging == "file" && strings.HasSuffix(name, ".template.json") {
			t.files[id] = name
		}
	}
	for _, id := range sortedKeys(t.files) {
		hash, err := t.finish(id)
		if err != nil {
			return err
		}
		renamed[id] = hash
	}
	if err := f.archives(src, dst, ids, entries); err != nil {
		return err
	}
	return f.writeAssets(filepath.Join(dst, file), manifest, ids, entries, renamed)
}

// templates finishes the templates of one asset manifest bottom-up: the hash of a nested one is part of its parent.
type templates struct {
	f        *finisher
	src, dst string
	files    map[string]string // old hash → file
	done     map[string]string // old hash → new hash
}

func (t *templates) finish(id string) (hash string, err error) {
	if hash, ok := t.done[id]; ok {
		return hash, nil
	}
	t.done[id] = id // a template that names itself would never end
	file := t.files[id]
	text, err := os.ReadFile(filepath.Join(t.src, file))
	if err != nil {
		return "", err
	}
	text = t.f.withCode(text)
	for _, other := range sortedKeys(t.files) {
		if other == id || !bytes.Contains(text, []byte(other)) {
			continue
		}
		hash, err := t.finish(other)
		if err != nil {
			return "", err
		}
		text = bytes.ReplaceAll(text, []byte(other), []byte(hash))
	}
	sum := sha256.Sum256(text)
	t.done[id] = hex.EncodeToString(sum[:])
	return t.done[id], t.f.write(filepath.Join(t.dst, file), text)
}

// withCode replaces the keys of bundles by the hashes of their code.
func (f *finisher) withCode(text []byte) []byte {
	return replaceHashes(text, func(key string) (string, bool) {
		code, ok := f.codes[key]
		return code.Hash, ok
	})
}

// replaceHashes replaces runs of exactly 64 hex digits. (A regular expression is twenty times slower here.)
func replaceHashes(text []byte, replacement func(hash string) (string, bool)) []byte {
	const length = 64
	var out []byte
	copied := 0
	for i := 0; i < len(text); {
		if !isHex(text[i]) {
			i++
			continue
		}
		start := i
		for i < len(text) && isHex(text[i]) {
			i++
		}
		if i-start != length {
			continue
		}
		if hash, ok := replacement(string(text[start:i])); ok {
			out = append(append(out, text[copied:start]...), hash...)
			copied = i
		}
	}
	if out == nil {
		return text
	}
	return append(out, text[copied:]...)
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// archives writes the code that the entries name, each once. Archives that the CDK itself put into src are not ours.
func (f *finisher) archives(src, dst string, ids []string, entries map[string]assetEntry) error {
	byHash := map[string]Code{}
	for key, code := range f.codes {
		byHash[key], byHash[code.Hash] = code, code
	}
	var group errgroup.Group
	group.SetLimit(2 * runtime.GOMAXPROCS(0)) // of them one half waits for the disk
	for _, id := range ids {
		source := entries[id].Source
		if !strings.HasSuffix(source.Path, id+".zip") {
			continue
		}
		code, ok := byHash[id]
		name := string(f.withCode([]byte(source.Path)))
		full := filepath.Join(dst, filepath.FromSlash(name))
		_, err := os.Stat(full)
		switch {
		case f.used[full]:
		case err == nil: // from an earlier time: the name is the content
		case !ok && isFile(filepath.Join(src, filepath.FromSlash(source.Path))):
		case !ok || code.Zip == nil:
			return errors.Join(fmt.Errorf("no code is given for the asset %s", name), group.Wait())
		default:
			f.written[full] = true
			group.Go(func() error {
				if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
					return err
				}
				data, err := code.Zip()
				if err != nil {
					return err
				}
				return os.WriteFile(full, data, 0o644)
			})
		}
		f.used[full] = true
	}
	return group.Wait()
}

// writeAssets writes the asset manifest with the final hashes. Entries that became the same are one.
func (f *finisher) writeAssets(file string, manifest assetManifest, ids []string, entries map[string]assetEntry, renamed map[string]string) error {
	type member struct {
		id    string
		entry json.RawMessage
	}
	var members []member
	seen := map[string]bool{}
	for _, id := range ids {
		raw, err := marshal(entries[id], "")
		if err != nil {
			return err
		}
		final := string(f.withCode([]byte(id)))
		if hash, ok := renamed[id]; ok {
			final = hash
		}
		if seen[final] {
			continue
		}
		seen[final] = true
		raw = f.withCode(raw)
		raw = bytes.ReplaceAll(raw, []byte(id), []byte(final))
		members = append(members, member{final, raw})
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `{"version":%q,"files":{`, manifest.Version)
	for i, m := range members {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%q:%s", m.id, m.entry)
	}
	out.WriteString("}")
	if len(manifest.DockerImages) > 0 {
		fmt.Fprintf(&out, `,"dockerImages":%s`, manifest.DockerImages)
	}
	out.WriteString("}")
	var indented bytes.Buffer
	if err := json.Indent(&indented, out.Bytes(), "", "  "); err != nil {
		return err
	}
	return f.write(file, indented.Bytes())
}

var archiveName = regexp.MustCompile(`^asset\.[0-9a-f]{64}\.zip$`)

// clean removes archives of earlier builds: those that no asset manifest names. (The CDK itself may have put some there.)
func (f *finisher) clean(asm *Assembly) error {
	listed := map[string]bool{}
	for _, s := range asm.Stacks {
		for _, a := range s.Assets {
			listed[a.Path] = true
		}
	}
	return filepath.WalkDir(asm.Dir, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && full != asm.Dir && !isAssembly(full) {
			return filepath.SkipDir
		}
		if !d.IsDir() && archiveName.MatchString(d.Name()) && !f.used[full] && !listed[full] {
			return os.Remove(full)
		}
		return nil
	})
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func isAssembly(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "manifest.json"))
	return err == nil
}

// copyTree brings over what Finish does not write itself: assets of the CDK and metadata. A file of the same size and
// name with a hash in it is the same.
func (f *finisher) copyTree(src, dst string) error {
	return filepath.WalkDir(src, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, full)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case f.written[to], d.Name() == ManifestFile:
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(full)
			if err != nil {
				return err
			}
			if old, err := os.Readlink(to); err == nil && old == target {
				return nil
			}
			_ = os.Remove(to) // Symlink reports what matters
			return os.Symlink(target, to)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if strings.HasPrefix(path.Base(filepath.ToSlash(firstPart(rel))), "asset.") {
			if old, err := os.Stat(to); err == nil && old.Size() == info.Size() {
				return nil
			}
		}
		data, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, info.Mode().Perm()|0o600)
	})
}

func firstPart(rel string) string {
	first, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	return first
}

// writeFile leaves a file alone that has the content already, so that times tell what changed.
func writeFile(name string, data []byte) error {
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return os.WriteFile(name, data, 0o644)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// marshal is JSON without the escapes for HTML.
func marshal(value any, indent string) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	err := encoder.Encode(value)
	return out.Bytes(), err
}

// NeedsRealHash says whether a logical id in the assembly contains a hash of a function's code, as that of
// `current_version` does: then it must be synthesized again with the real hashes. It is asked before Finish.
func NeedsRealHash(asm *Assembly) (bool, error) {
	d := &derivation{asm: asm, m: &Manifest{}, resolver: NewResolver(asm, Local{})}
	for _, top := range asm.Stacks {
		all, err := top.withNested()
		if err != nil {
			return false, err
		}
		for _, s := range all {
			t, err := s.Template()
			if err != nil {
				return false, err
			}
			for _, id := range t.all(typeVersion) {
				if of, ok := d.follow(s, t.Resources[id].Properties["FunctionName"], 0); ok && isPlaceholder(of) {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// isPlaceholder says whether a function's code is an archive that is not in the assembly: one of ours, unfinished.
func isPlaceholder(t target) bool {
	code := object(t.resource.Properties["Code"])
	key := lastString(code["S3Key"])
	for _, a := range t.stack.Assets {
		if key != "" && a.ObjectKey == key && a.Packaging == "file" {
			_, err := os.Stat(a.Path)
			return err != nil
		}
	}
	return false
}
