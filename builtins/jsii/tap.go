package jsii

// The npm packages that this binary carries are in unexported variables of Go modules that hand them to one taker only: the
// kernel of jsii-runtime-go, a program that the environment variable JSII_RUNTIME can name. So two short-lived processes
// of this binary play that scene: "fetch" asks the modules to load themselves, "serve" is the kernel and keeps what it is given.
// They are processes of their own because the runtime is one per process, panics, and is configured by the environment.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	cdk "github.com/aws/aws-cdk-go/awscdk/v2/jsii"
	jsiiruntime "github.com/aws/jsii-runtime-go"
)

const (
	tapFetchVerb = "__jsii-tap-fetch"
	tapServeVerb = "__jsii-tap-serve"
	tapDir       = "SST_JSII_TAP" // environment variable: where the archives go
)

// TapMain does the work of the hidden verb that Unpack starts, and says whether this process was started for it.
// It comes first in main and in the TestMain of tests that unpack.
func TapMain() bool {
	var err error
	switch n := len(os.Args); {
	case n == 2 && os.Args[1] == tapFetchVerb:
		err = tapFetch()
	case n > 2 && os.Args[n-1] == tapServeVerb: // behind "-c", or "/d", "/s", "/c" on Windows
		err = tapServe(os.Stdin, os.Stdout, os.Getenv(tapDir))
	default:
		return false
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// fetchArchives has the npm packages written to dir and gives their file names.
func fetchArchives(ctx context.Context, dir string) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, tapFetchVerb)
	// The runtime writes each archive to the temporary folder first: beside dir, so that the tap can link instead of copy.
	cmd.Env = append(os.Environ(), tapDir+"="+dir, "TMPDIR="+dir, "TMP="+dir, "TEMP="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("take the CDK out of this program: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.npm"))
	if err == nil && len(files) == 0 {
		err = errors.New("take the CDK out of this program: it handed over nothing")
	}
	return files, err
}

// tapFetch makes the modules load themselves into the tap.
func tapFetch() (err error) {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	// The runtime has a shell run what JSII_RUNTIME says. This binary is that shell: how cmd.exe reads the quotes around its
	// path depends on who wrote them.
	os.Setenv("JSII_RUNTIME", tapServeVerb)
	os.Setenv("SHELL", exe)
	os.Setenv("ComSpec", exe)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("jsii runtime: %v", p)
		}
	}()
	cdk.Initialize()
	jsiiruntime.Close()
	return nil
}

// tapServe speaks the kernel's protocol as far as loading goes.
func tapServe(in io.Reader, out io.Writer, dir string) error {
	enc := json.NewEncoder(out)
	if err := enc.Encode(map[string]string{"hello": "@jsii/runtime@1.139.0"}); err != nil {
		return err
	}
	dec := json.NewDecoder(bufio.NewReader(in))
	for n := 0; ; n++ {
		var req struct {
			API, Name, Version, Tarball string
			Exit                        *int
		}
		if err := dec.Decode(&req); err == io.EOF || err == nil && req.Exit != nil {
			return nil
		} else if err != nil {
			return err
		}
		if req.API != "load" {
			return fmt.Errorf("the runtime asks for %q", req.API)
		}
		if err := keep(req.Tarball, filepath.Join(dir, fmt.Sprintf("%d.npm", n))); err != nil {
			return err
		}
		if err := enc.Encode(map[string]any{"ok": map[string]any{"assembly": req.Name, "types": 0}}); err != nil {
			return err
		}
	}
}

// keep makes a second name for a file that is about to be deleted, or a copy where there are no links.
func keep(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}
