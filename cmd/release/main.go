// Command release makes what a version is published as: an archive per platform, the npm packages, checksums and a bill
// of materials. `make release VERSION=1.2.3` runs it. The same commit gives the same bytes: files carry the commit's time,
// binaries no paths.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sst/builtins/jsii"
)

// platform is one that releases are made for.
type platform struct {
	os, arch    string // as Go names them
	npmOS, npmC string // as npm names them
}

var platforms = []platform{
	{"linux", "amd64", "linux", "x64"},
	{"linux", "arm64", "linux", "arm64"},
	{"darwin", "amd64", "darwin", "x64"},
	{"darwin", "arm64", "darwin", "arm64"},
	{"windows", "amd64", "win32", "x64"},
	{"windows", "arm64", "win32", "arm64"},
}

func (p platform) String() string { return p.os + "-" + p.arch }

func (p platform) program() string {
	if p.os == "windows" {
		return "sst.exe"
	}
	return "sst"
}

// npmName is the package that npm installs beside the wrapper on this platform alone.
func (p platform) npmName() string { return npmScope + "/" + p.npmOS + "-" + p.npmC }

// The names on npm; sst is another project there.
const (
	npmPackage = "stacks-star"
	npmScope   = "@stacks-star"
)

var semver = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func main() {
	version := flag.String("version", "", "version to release, as 1.2.3")
	out := flag.String("out", "dist", "folder to write to; emptied first")
	only := flag.String("only", "", "one platform, as linux-amd64; default all")
	flag.Parse()
	if err := release(*version, *out, *only); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// file is one of an archive.
type file struct {
	name string
	data []byte
	mode os.FileMode
}

func release(version, out, only string) error {
	if !semver.MatchString(version) {
		return fmt.Errorf("-version is of the form 1.2.3, got %q", version)
	}
	chosen := platforms
	if only != "" {
		if chosen = slices.DeleteFunc(slices.Clone(platforms), func(p platform) bool { return p.String() != only }); len(chosen) == 0 {
			return fmt.Errorf("-only: there is no platform %q", only)
		}
	}
	when, err := commitTime()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(out, "npm"), 0o755); err != nil {
		return err
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		return err
	}
	var made []string
	for _, p := range chosen {
		fmt.Println("building", p)
		program := filepath.Join(out, p.String(), p.program())
		if err := build(p, version, program); err != nil {
			return err
		}
		binary, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		archive := filepath.Join(out, fmt.Sprintf("sst-%s-%s.tar.gz", version, p))
		write := writeTar
		if p.os == "windows" {
			archive, write = strings.TrimSuffix(archive, ".tar.gz")+".zip", writeZip
		}
		if err := write(archive, []file{{p.program(), binary, 0o755}, {"README.md", readme, 0o644}}, when); err != nil {
			return err
		}
		bill := filepath.Join(out, fmt.Sprintf("sst-%s-%s.cdx.json", version, p))
		if err := writeBill(bill, program, version, p, when); err != nil {
			return err
		}
		pack := filepath.Join(out, "npm", fmt.Sprintf("%s-%s-%s.tgz", npmPackage, p.npmOS+"-"+p.npmC, version))
		if err := writeTar(pack, platformPackage(p, version, binary), when); err != nil {
			return err
		}
		made = append(made, archive, bill, pack)
		if err := os.RemoveAll(filepath.Dir(program)); err != nil {
			return err
		}
	}
	wrapper := filepath.Join(out, "npm", fmt.Sprintf("%s-%s.tgz", npmPackage, version))
	if err := writeTar(wrapper, wrapperPackage(version, readme), when); err != nil {
		return err
	}
	return writeSums(out, append(made, wrapper))
}

// commitTime is that of the commit being released.
func commitTime() (time.Time, error) {
	text, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
	if err != nil {
		return time.Time{}, fmt.Errorf("the commit's time: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

func build(p platform, version, program string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X sst/cmd.Version="+version, "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", p, err)
	}
	return nil
}

func writeTar(path string, files []file, when time.Time) error {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	w := tar.NewWriter(z)
	for _, f := range files {
		head := &tar.Header{Name: f.name, Mode: int64(f.mode), Size: int64(len(f.data)), ModTime: when, Format: tar.FormatPAX}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		if _, err := w.Write(f.data); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

func writeZip(path string, files []file, when time.Time) error {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		head := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: when}
		head.SetMode(f.mode)
		each, err := w.CreateHeader(head)
		if err == nil {
			_, err = each.Write(f.data)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// packageJSON is what npm reads.
type packageJSON struct {
	Name                 string            `json:"name"`
	Version              string            `json:"version"`
	Description          string            `json:"description"`
	OS                   []string          `json:"os,omitempty"`
	CPU                  []string          `json:"cpu,omitempty"`
	PreferUnplugged      bool              `json:"preferUnplugged,omitempty"` // Yarn: a program cannot run out of an archive
	Bin                  map[string]string `json:"bin,omitempty"`
	Engines              map[string]string `json:"engines,omitempty"`
	OptionalDependencies map[string]string `json:"optionalDependencies,omitempty"`
}

func (p packageJSON) file() file {
	data, err := indented(p)
	if err != nil {
		panic(err) // strings and maps of strings
	}
	return file{"package/package.json", data, 0o644}
}

func indented(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(value)
	return b.Bytes(), err
}

func platformPackage(p platform, version string, binary []byte) []file {
	return []file{
		packageJSON{Name: p.npmName(), Version: version, Description: fmt.Sprintf("The program of %s for %s.", npmPackage, p),
			OS: []string{p.npmOS}, CPU: []string{p.npmC}, PreferUnplugged: true}.file(),
		{"package/" + p.program(), binary, 0o755},
	}
}

// wrapperPackage is the one that people install: npm adds the package of their platform, and `sst` runs its program. So does
// the package's own name, for projects that also have the SDK called sst, which brings a command of that name.
func wrapperPackage(version string, readme []byte) []file {
	manifest := packageJSON{Name: npmPackage, Version: version,
		Description: "Write your AWS app in Starlark, run its functions live on your machine, deploy it stage by stage.",
		Bin:         map[string]string{"sst": "sst.js", npmPackage: "sst.js"}, Engines: map[string]string{"node": ">=20"}, OptionalDependencies: map[string]string{}}
	for _, p := range platforms {
		manifest.OptionalDependencies[p.npmName()] = version
	}
	return []file{manifest.file(), {"package/sst.js", []byte(wrapper), 0o755}, {"package/README.md", readme, 0o644}}
}

// wrapper hands everything over to the program of this platform and ends as it ends.
const wrapper = `#!/usr/bin/env node
const { spawn } = require("node:child_process");
const name = "` + npmScope + `/" + process.platform + "-" + process.arch;
let program;
try {
  program = require.resolve(name + "/sst" + (process.platform === "win32" ? ".exe" : ""));
} catch {
  console.error("error: the package " + name + " is not installed.");
  console.error("  npm leaves it out with --no-optional or --omit=optional, and in a node_modules that was made on another platform: install again without.");
  process.exit(1);
}
const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
// Ctrl-C reaches the program by itself; it decides when to end.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => signal === "SIGINT" || child.kill(signal));
child.on("error", (error) => { console.error("error: " + program + " cannot be run: " + error.message); process.exit(1); });
child.on("exit", (code, signal) => {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
});
`

// writeBill writes the modules inside a binary as CycloneDX.
func writeBill(path, program, version string, p platform, when time.Time) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	type component struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		Version string `json:"version"`
		PURL    string `json:"purl,omitempty"`
	}
	components := []component{
		{"platform", "go", strings.TrimPrefix(info.GoVersion, "go"), ""},
		{"library", "aws-cdk-lib", jsii.CDKVersion, "pkg:npm/aws-cdk-lib@" + jsii.CDKVersion},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		components = append(components, component{"library", m.Path, m.Version, "pkg:golang/" + m.Path + "@" + m.Version})
	}
	bill := map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata": map[string]any{
			"timestamp": when.Format(time.RFC3339),
			"component": component{"application", "sst (" + p.String() + ")", version, ""},
		},
		"components": components,
	}
	data, err := indented(bill)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// writeSums writes SHA256SUMS, in the form that `sha256sum -c` reads.
func writeSums(out string, files []string) error {
	var b strings.Builder
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		f.Close()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(out, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), filepath.ToSlash(name))
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(b.String()), 0o644)
}
