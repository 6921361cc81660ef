package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// extract unpacks a package as npm does: without its first folder.
func extract(t *testing.T, archive, dir string) {
	t.Helper()
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, strings.TrimPrefix(head.Name, "package/"))
		data, err := io.ReadAll(r)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o755)
		}
		if err == nil {
			err = os.WriteFile(path, data, os.FileMode(head.Mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The npm packages, laid as npm lays them: `sst` is the program of the platform, with its arguments, output and exit code.
func TestPackages(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the npm wrapper is not tried")
	}
	if runtime.GOOS == "windows" {
		t.Skip("the program of this test is a shell script")
	}
	at := slices.IndexFunc(platforms, func(p platform) bool { return p.os == runtime.GOOS && p.arch == runtime.GOARCH })
	if at < 0 {
		t.Skipf("nothing is released for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	p, dir, when := platforms[at], t.TempDir(), time.Unix(1_700_000_000, 0)
	archives := []string{filepath.Join(dir, "wrapper.tgz"), filepath.Join(dir, "platform.tgz"), filepath.Join(dir, "again.tgz")}
	program := []byte("#!/bin/sh\necho \"got $*\"\nexit 3\n")
	for i, files := range [][]file{wrapperPackage("1.2.3", nil), platformPackage(p, "1.2.3", program), platformPackage(p, "1.2.3", program)} {
		if err := writeTar(archives[i], files, when); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := os.ReadFile(archives[1])
	second, _ := os.ReadFile(archives[2])
	if !bytes.Equal(first, second) {
		t.Error("the same files give another archive")
	}
	modules := filepath.Join(dir, "node_modules")
	extract(t, archives[0], filepath.Join(modules, npmPackage))
	run := func() (string, int) {
		cmd := exec.Command(node, filepath.Join(modules, npmPackage, "sst.js"), "build", "--stage", "a b")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run(); code != 1 || !strings.Contains(out, "the package "+p.npmName()+" is not installed") {
		t.Errorf("without the program: exit code %d, %s", code, out)
	}
	extract(t, archives[1], filepath.Join(modules, filepath.FromSlash(p.npmName())))
	if out, code := run(); code != 3 || out != "got build --stage a b\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
}

func TestReleaseRefuses(t *testing.T) {
	for version, only := range map[string]string{"": "", "v1.2.3": "", "1.2": "", "1.2.3": "plan9-amd64"} {
		if err := release(version, t.TempDir(), only); err == nil {
			t.Errorf("release(%q, only %q) went on", version, only)
		}
	}
}
