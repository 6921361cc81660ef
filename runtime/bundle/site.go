package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A static site: the folder of its sources, and the command that makes the files to be served of them.

// SiteOptions are how a site is built. All paths are relative to the site's folder, with slashes.
type SiteOptions struct {
	// Command is run by the shell in the site's folder; "" means that the files of Output are there already.
	Command string `json:"command,omitempty"`
	// Output is the folder whose files are served; "" means the site's folder itself.
	Output string `json:"output,omitempty"`
	// Index is a file that has to be among them.
	Index string `json:"index,omitempty"`
	// Environment is what the command gets beside siteVariables.
	Environment map[string]string `json:"environment,omitempty"`
}

// siteVariables are the only ones of our own environment that a build command gets: what shells, package managers and
// their downloads need. All else would be an input that nobody declared.
var siteVariables = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TMP", "TEMP", "LANG", "LC_ALL", "CI",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS",
	"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PNPM_HOME", "VOLTA_HOME", "NVM_DIR", "COREPACK_HOME",
	"SystemRoot", "SystemDrive", "ComSpec", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "ProgramFiles", "ProgramData", "windir",
}

// siteCaches are folders that builds of sites write to and that are no sources.
var siteCaches = map[string]bool{
	"node_modules": true, ".git": true, ".hg": true, ".svn": true, ".sst": true, ".cache": true, ".next": true, ".nuxt": true,
	".output": true, ".astro": true, ".svelte-kit": true, ".turbo": true, ".parcel-cache": true, ".vite": true, ".angular": true,
	".docusaurus": true, ".eleventy-cache": true, "__pycache__": true,
}

// siteTail is how many of the last lines of a command that failed are shown.
const siteTail = 30

// site builds a site. A Live builder runs no command, since nobody asks for the site there: a page says so.
func (b *Builder) site(ctx context.Context, u *unit) {
	dir, o := b.shown(u.file), u.spec.Site
	if o == nil {
		o = &SiteOptions{}
	}
	output := filepath.Join(dir, filepath.FromSlash(o.Output))
	if o.Command != "" {
		sources, err := siteSources(dir, output)
		if err != nil {
			u.fail(errorAt(dir, "%s", err))
			return
		}
		u.result.Inputs = sources
		if b.config.Mode == Live || b.config.NoSites {
			u.result.Files = []File{{Name: "index.html", Data: []byte(sitePlaceholder), Mode: 0o644}}
			return
		}
		if b.config.Notice != nil {
			b.config.Notice(fmt.Sprintf("Building the site %s: %s", u.spec.Handler, o.Command))
		}
		if err := b.shell(ctx, o.Command, dir, dir, o.Environment); err != nil {
			u.fail(errorAt("", "%s", err))
			return
		}
	}
	files, inputs, err := tree(output, "", func(folder string) bool { return filepath.Base(folder) == "node_modules" })
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.Command != "":
		u.fail(errorAt("", "%q made no folder %s in %s: output names the folder that it writes", o.Command, o.Output, u.spec.Handler))
		return
	case err != nil:
		u.fail(errorAt(dir, "%s", err))
		return
	}
	if o.Command == "" {
		u.result.Inputs = inputs
	}
	if o.Index != "" && !slices.ContainsFunc(files, func(f File) bool { return f.Name == o.Index }) {
		u.fail(errorAt("", "there is no %s among the %d files of %s", o.Index, len(files), filepath.ToSlash(filepath.Join(u.spec.Handler, o.Output))))
		return
	}
	for i := range files {
		files[i].Mode = 0o644
	}
	u.result.Files = files
}

// sitePlaceholder stands where a site would, on a stage whose site is served by its own development server.
const sitePlaceholder = `<!doctype html>
<meta charset="utf-8">
<title>Not built</title>
<p>This stage runs in sst start, which does not build the site: run the site's own development server, or sst deploy.</p>
`

// shell runs a command of the project in a folder, with the tools installed beside or above the folder tools; its error
// ends with the last lines that it printed.
func (b *Builder) shell(ctx context.Context, command, dir, tools string, environment map[string]string) error {
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/C"
	}
	cmd := exec.CommandContext(ctx, shell, flag, command)
	var output bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &output, &output
	cmd.Env = b.commandEnvironment(tools, environment)
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(output.String(), "\n"), "\n")
	if len(lines) > siteTail {
		lines = append([]string{"..."}, lines[len(lines)-siteTail:]...)
	}
	return fmt.Errorf("%q failed (%w):\n%s", command, err, strings.Join(lines, "\n"))
}

// commandEnvironment is what a command may know: the tools installed beside or above dir come first in PATH.
func (b *Builder) commandEnvironment(dir string, environment map[string]string) []string {
	values := map[string]string{}
	if b.config.LookupEnv != nil {
		for _, name := range siteVariables {
			if value, ok := b.config.LookupEnv(name); ok {
				values[name] = value
			}
		}
	}
	var path []string
	for at := dir; ; at = filepath.Dir(at) {
		path = append(path, filepath.Join(at, "node_modules", ".bin"))
		if at == b.config.Root || filepath.Dir(at) == at {
			break
		}
	}
	values["PATH"] = strings.Join(append(path, values["PATH"]), string(filepath.ListSeparator))
	for name, value := range environment {
		values[name] = value
	}
	env := make([]string, 0, len(values))
	for name, value := range values {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// siteSources are the files that a build may read: all below the site's folder but what builds write, and the package
// manager's files above it, which stand for node_modules.
func siteSources(dir, output string) ([]string, error) {
	var sources []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && (siteCaches[d.Name()] || path == output):
			return filepath.SkipDir
		case !d.IsDir() && !leftover(d.Name()):
			sources = append(sources, path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for at := filepath.Dir(dir); ; at = filepath.Dir(at) {
		for _, name := range []string{"package.json", "package-lock.json", "pnpm-lock.yaml", "pnpm-workspace.yaml", "yarn.lock", "bun.lock", "bun.lockb"} {
			if isFile(filepath.Join(at, name)) {
				sources = append(sources, filepath.Join(at, name))
			}
		}
		if filepath.Dir(at) == at || isDir(filepath.Join(at, ".git")) {
			break
		}
	}
	return compact(sources), nil
}

// leftover says whether a file is what editors and compilers leave beside sources.
func leftover(name string) bool {
	return strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".swp") || strings.HasSuffix(name, ".tmp") ||
		strings.HasPrefix(name, ".#") || name == ".DS_Store" || strings.HasSuffix(name, ".tsbuildinfo")
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
