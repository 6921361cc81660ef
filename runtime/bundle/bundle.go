// Package bundle turns a handler into the files that Lambda runs: TypeScript and JavaScript through esbuild in this
// process, Python as it is, Go through `go build`, anything else that brings a `bootstrap`.
//
// It owns how a handler string names a file, what goes into the zip and the zip's bytes. It leaves to others which
// functions there are, where the zips go (package cfn) and who runs the code (package runtime). Nothing it makes for
// deployment depends on the folder the project lies in, so the same sources give the same hash everywhere.
//
// Start from Spec (what is wanted), Builder (makes it, and again only what changed) and Result.
package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
)

// The kinds of bundles.
const (
	Node   = "node"
	Python = "python"
	Go     = "go"
	Custom = "custom"
	Site   = "site" // no function: the files of a static site, Handler being its folder
)

// Spec says what is to be bundled. Handler is relative to the project root, with slashes: "src/notes.list" for Node
// and Python, the package's folder for Go, the folder with `bootstrap` for custom.
type Spec struct {
	Kind    string       `json:"kind"`
	Handler string       `json:"handler"`
	Runtime string       `json:"runtime,omitempty"`
	Arch    string       `json:"arch,omitempty"`
	Options Options      `json:"options,omitzero"`
	Site    *SiteOptions `json:"site,omitempty"` // of the kind Site only
}

// Options are what a user may say about the bundling of one function. The zero value is what nearly all want.
type Options struct {
	// External are packages left out of the bundle; the runtime or a layer must have them.
	External []string `json:"external,omitempty"`
	// Install are packages copied from node_modules beside the bundle instead of into it: native addons and what
	// reads its own files.
	Install []string `json:"install,omitempty"`
	// Loader says how files of an extension are imported, as in esbuild: {".sql": "text"}.
	Loader map[string]string `json:"loader,omitempty"`
	// Minify defaults to true for deployment; names of functions and classes are kept.
	Minify *bool `json:"minify,omitempty"`
	// SourceMap defaults to false for deployment. Live bundles always have one.
	SourceMap *bool `json:"source_map,omitempty"`
	// Format is "esm" (default) or "cjs".
	Format string `json:"format,omitempty"`
	// Copy puts files of the project into the zip.
	Copy []Copy `json:"copy,omitempty"`
	// Source is the folder, relative to the root, that becomes the zip of a Python function. By default it is the
	// nearest folder with a pyproject.toml, requirements.txt, Pipfile or setup.py, else the one that holds the top
	// package of the handler.
	Source string `json:"source,omitempty"`
	// Hooks are commands around the bundling; nil runs none.
	Hooks *Hooks `json:"hooks,omitempty"`
	// Esbuild is an object with further options of esbuild, under the names of its JavaScript API.
	Esbuild json.RawMessage `json:"esbuild,omitempty"`
}

// Copy is one file or folder of the project (From, relative to the root) and its place in the zip (To, default From).
type Copy struct {
	From string `json:"from"`
	To   string `json:"to,omitempty"`
}

// Key identifies the spec: 64 hex digits that synth sees in place of the code's hash.
func (s Spec) Key() string {
	data, err := json.Marshal(s)
	if err != nil { // only Esbuild can fail, when it is not JSON
		s.Options.Esbuild, _ = json.Marshal(string(s.Options.Esbuild))
		data, _ = json.Marshal(s)
	}
	sum := sha256.Sum256(append([]byte("sst bundle spec 1\n"), data...))
	return hex.EncodeToString(sum[:])
}

// File is one file of a bundle. Mode is 0644 or 0755.
type File struct {
	Name string
	Data []byte
	Mode fs.FileMode
}

// Result is one built spec. When Failed, only Spec, Inputs and Messages mean something.
type Result struct {
	Spec    Spec
	Files   []File   // sorted by name; nil when the result comes from Config.Cache: then only Zip has them
	Entry   string   // the Lambda handler string: "src/notes.list" finds src/notes.mjs in Files
	Exports []string // sorted; nil when unknown
	Inputs  []string // absolute paths of the files read, sorted
	Hash    string   // 64 hex digits of names, modes and contents
	// Preload is a CommonJS file that a Node process may load ahead of the bundle; "" means none. It only defines what
	// the bundle then runs.
	Preload string
	// Messages are the errors and warnings of the compiler, at their places.
	Messages []Message

	// Made says why it was built: which input changed, or that it never was before. "" when an earlier process built it.
	Made string

	archive *stored // of results that are kept between processes
}

// Failed says whether there is an error among the messages.
func (r *Result) Failed() bool {
	for _, m := range r.Messages {
		if m.Severity == Error {
			return true
		}
	}
	return false
}
