package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"

	"sst/builtins"
	"sst/builtins/jsii"
)

func addCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "add [PACKAGE[@VERSION]]",
		Short: "Add an npm package of CDK constructs to the app",
		Long: `Fetch an npm package of constructs and pin it by hash in sst.lock.json, with those that it needs, so that stacks.star can
use it:

  nag = library("cdk-nag", "2.38.2")
  cdk.Aspects.of(app).add(nag.AwsSolutionsChecks())

The package has to be written with jsii, as nearly all construct libraries are. PACKAGE can also be an archive (.tgz, as npm
pack makes it) in the project. Without PACKAGE, what sst.lock.json names is fetched: the first thing to do after a checkout.

npm does the fetching, with its own settings (registry, proxy, credentials); no code of the package is run. Builds never fetch.`,
		Example: "  sst add cdk-nag\n  sst add @acme/constructs@^2.1.0\n  sst add vendor/acme-constructs-2.1.0.tgz\n  sst add",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("sst add takes one PACKAGE, got %d arguments: %s", len(args), strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			file, err := t.findFile(nil) // the same for all stages
			if err != nil {
				return err
			}
			if file, err = filepath.EvalSymlinks(file); err != nil {
				return err
			}
			a, err := t.openAdding(&project{file: file, root: filepath.Dir(file)})
			if err != nil {
				return err
			}
			defer os.RemoveAll(a.temp)
			if len(args) == 0 {
				return a.fetchAll(c.Context())
			}
			return a.add(c.Context(), args[0])
		},
	}
}

// packagePattern is a package of a registry, by name and perhaps version or range: what npm takes beside that (folders, git, URLs) may run
// code or be another thing tomorrow.
var packagePattern = regexp.MustCompile(`^((?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*)(?:@([0-9A-Za-z^~<>=| .*+-]+))?$`)

// adding is a run of sst add.
type adding struct {
	*tool
	p    *project
	lock *lockFile
	pins map[string]jsii.Pin
	temp string
}

func (t *tool) openAdding(p *project) (*adding, error) {
	lock, err := readLock(p)
	if err != nil {
		return nil, err
	}
	a := &adding{tool: t, p: p, lock: lock, pins: map[string]jsii.Pin{}}
	if err := lock.field("libraries", &a.pins); err != nil {
		return nil, err
	}
	folder := filepath.Join(t.CacheDir, "libraries")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	a.temp, err = os.MkdirTemp(folder, ".unpack-")
	return a, err
}

// add pins a package and what it needs.
func (a *adding) add(ctx context.Context, what string) error {
	var archive string
	file := ""
	if strings.HasSuffix(what, ".tgz") {
		archive = a.abs(what)
		rel, err := filepath.Rel(a.p.root, archive)
		if err != nil || !filepath.IsLocal(rel) {
			return problemf("Copy it into the project: it belongs to what is committed.", "%s is not in the project", what)
		}
		file = filepath.ToSlash(rel)
	} else {
		if !packagePattern.MatchString(what) {
			return usagef("sst add takes the name of an npm package, with @VERSION or without, or a .tgz; got %q", what)
		}
		var err error
		if archive, err = a.pack(ctx, what); err != nil {
			return err
		}
	}
	m, err := a.pin(ctx, archive, file, nil)
	if err != nil {
		return err
	}
	if err := a.lock.set("libraries", a.pins); err != nil {
		return err
	}
	a.view.Notice(fmt.Sprintf("Added %s %s to %s. In stacks.star: %s = library(%q, %q)", m.Name, m.Version, builtins.LockFile, variable(m.Name), m.Name, m.Version))
	return nil
}

var notName = regexp.MustCompile(`[^a-z0-9]+`)

// variable is a name for a package in Starlark.
func variable(name string) string {
	name = name[strings.LastIndexByte(name, '/')+1:]
	name = strings.TrimPrefix(name, "cdk-")
	return strings.Trim(notName.ReplaceAllString(strings.ToLower(name), "_"), "_")
}

// pin records an archive and fetches what it needs. by are the packages that need it.
func (a *adding) pin(ctx context.Context, archive, file string, by []string) (*jsii.Manifest, error) {
	shown := filepath.Base(archive)
	m, err := jsii.ReadManifest(archive)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problemf("", "there is no file %s", shown)
	}
	if err != nil {
		return nil, problemf("", "%s is no npm package: %v", shown, err)
	}
	if !m.HasAssembly {
		return nil, problemf("A package of constructs that can be used from Python can be used here as well.",
			"%s %s is no package of constructs written with jsii: it can be used from TypeScript only", m.Name, m.Version)
	}
	if err := fits(m, "aws-cdk-lib", jsii.CDKVersion); err != nil {
		return nil, err
	}
	integrity, err := jsii.Integrity(archive)
	if err != nil {
		return nil, err
	}
	pin := jsii.Pin{Version: m.Version, Integrity: integrity, File: file}
	if file == "" {
		kept := jsii.ArchiveFile(a.CacheDir, m.Name, pin)
		if err := os.Rename(archive, kept); err != nil {
			return nil, err
		}
	}
	a.pins[m.Name] = pin
	by = append(slices.Clone(by), m.Name)
	for _, needs := range []map[string]string{m.Dependencies, m.PeerDependencies} {
		for _, name := range slices.Sorted(maps.Keys(needs)) {
			if name == "aws-cdk-lib" || name == "constructs" || slices.Contains(m.Bundled, name) || slices.Contains(by, name) {
				continue
			}
			if have, ok := a.pins[name]; ok {
				if err := fitsRange(m, name, needs[name], have.Version); err != nil {
					return nil, err
				}
				continue
			}
			found, err := a.pack(ctx, name+"@"+needs[name])
			if err != nil {
				return nil, err
			}
			if _, err := a.pin(ctx, found, "", by); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// fits says whether the version of a package that we have is one that m accepts.
func fits(m *jsii.Manifest, name, version string) error {
	for _, needs := range []map[string]string{m.PeerDependencies, m.Dependencies} {
		if r := needs[name]; r != "" {
			return fitsRange(m, name, r, version)
		}
	}
	return nil
}

func fitsRange(m *jsii.Manifest, name, accepted, version string) error {
	constraint, err := semver.NewConstraint(accepted)
	if err != nil {
		return nil // a tag or the like, which says nothing
	}
	v, err := semver.NewVersion(version)
	if err != nil || constraint.Check(v) {
		return nil
	}
	return problemf("Choose another version of "+m.Name+".", "%s %s needs %s %s; this project has %s", m.Name, m.Version, name, accepted, version)
}

// pack lets npm fetch a package and gives the archive.
func (a *adding) pack(ctx context.Context, spec string) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", problemf("It comes with Node.js.", "npm is not installed, or not in the PATH; it fetches packages")
	}
	a.view.Notice("Fetching " + spec)
	folder, err := os.MkdirTemp(a.temp, "npm-")
	if err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, npm, "pack", "--json", "--ignore-scripts", "--loglevel=error", "--pack-destination", folder, "--", spec)
	c.Dir, c.Env = a.p.root, a.Environ
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		return "", problemf("", "npm cannot fetch %s: %s", spec, npmError(out.String(), said.String()))
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("npm pack %s made %d archives", spec, len(files))
	}
	return files[0], nil
}

// npmError is what npm says, without its decoration.
func npmError(out, said string) string {
	var report struct{ Error struct{ Summary string } }
	if json.Unmarshal([]byte(out), &report) == nil && report.Error.Summary != "" {
		return strings.TrimSpace(report.Error.Summary)
	}
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "npm"), " error"))
		line = strings.TrimSpace(strings.TrimPrefix(line, "ERR!"))
		if line != "" && !strings.HasPrefix(line, "A complete log") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[:min(3, len(lines))], "; ")
}

// fetchAll fetches the archives of all pinned libraries that are not on this machine.
func (a *adding) fetchAll(ctx context.Context) error {
	fetched := 0
	for _, name := range slices.Sorted(maps.Keys(a.pins)) {
		pin := a.pins[name]
		kept := jsii.ArchiveFile(a.CacheDir, name, pin)
		if pin.File != "" {
			kept = filepath.Join(a.p.root, filepath.FromSlash(pin.File))
		}
		have, err := jsii.Integrity(kept)
		if err == nil && have == pin.Integrity {
			continue
		}
		archive := kept
		if pin.File == "" {
			if archive, err = a.pack(ctx, name+"@"+pin.Version); err != nil {
				return err
			}
			if have, err = jsii.Integrity(archive); err != nil {
				return err
			}
		}
		if have != pin.Integrity {
			return problemf("To accept what it is now: sst add "+name+"@"+pin.Version, "%s %s is not what %s has: its hash is %s", name, pin.Version, builtins.LockFile, have)
		}
		if err := os.Rename(archive, kept); err != nil {
			return err
		}
		fetched++
	}
	switch {
	case len(a.pins) == 0:
		a.view.Notice(builtins.LockFile + " names no libraries. To add one: sst add PACKAGE")
	case fetched == 0:
		a.view.Notice(fmt.Sprintf("All libraries of %s are here: %d.", builtins.LockFile, len(a.pins)))
	default:
		a.view.Notice(fmt.Sprintf("Fetched %d of the %d libraries of %s; the others were here.", fetched, len(a.pins), builtins.LockFile))
	}
	return nil
}
