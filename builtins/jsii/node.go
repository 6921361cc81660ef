package jsii

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Node is a Node.js that is new enough.
type Node struct {
	Path    string
	Version string // "22.11.0"
	Major   int
}

// MinNode is the oldest major version of Node.js that the CDK runs on, BestNode the one to install.
const (
	MinNode  = 20
	BestNode = 24
)

// FindNode looks for Node.js: at path when it is not "", else along the PATH of env. Its error says what is wanted and how to get it.
func FindNode(env func(string) string, path string) (Node, error) {
	return findNode(env, path, nodeVersion)
}

// RecallNode is FindNode that does not run a program whose version it knows already, from a file in cacheDir.
func RecallNode(env func(string) string, path, cacheDir string) (Node, error) {
	return findNode(env, path, func(env func(string) string, found string) (string, error) {
		return recalledVersion(filepath.Join(cacheDir, "node.json"), found, func() (string, error) { return nodeVersion(env, found) })
	})
}

func findNode(env func(string) string, path string, ask func(env func(string) string, found string) (version string, err error)) (Node, error) {
	found := path
	if path == "" {
		for _, dir := range filepath.SplitList(env("PATH")) {
			if dir == "" || !filepath.IsAbs(dir) { // not what happens to lie in the working folder
				continue
			}
			if file := executable(filepath.Join(dir, "node")); file != "" {
				found = file
				break
			}
		}
		if found == "" {
			return Node{}, fmt.Errorf("Node.js is not installed, or not in the PATH; the AWS CDK needs version %d or newer. %s", MinNode, howToGetNode)
		}
	} else if found = executable(path); found == "" {
		return Node{}, fmt.Errorf("%s is not a program; the AWS CDK needs Node.js %d or newer. %s", path, MinNode, howToGetNode)
	}
	version, err := ask(env, found)
	if err != nil {
		return Node{}, fmt.Errorf("%s does not run as Node.js: %w", found, err)
	}
	major, _ := strconv.Atoi(version[:strings.IndexByte(version+".", '.')])
	if major < MinNode {
		return Node{}, fmt.Errorf("%s is Node.js %s; the AWS CDK needs version %d or newer. %s", found, version, MinNode, howToGetNode)
	}
	return Node{Path: found, Version: version, Major: major}, nil
}

var howToGetNode = fmt.Sprintf("Get version %d from https://nodejs.org/en/download, or with a version manager: nvm install %d, fnm install %d", BestNode, BestNode, BestNode)

// executable gives the file to run, "" when there is none.
func executable(path string) string {
	names := []string{path}
	if runtime.GOOS == "windows" && filepath.Ext(path) == "" {
		names = []string{path + ".exe"}
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || info.IsDir() || runtime.GOOS != "windows" && info.Mode()&0o111 == 0 {
			continue
		}
		if abs, err := filepath.Abs(name); err == nil {
			return abs
		}
	}
	return ""
}

func nodeVersion(env func(string) string, path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = nodeEnv(env)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return "", err
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "v")
	if !ok || version == "" || version[0] < '0' || version[0] > '9' {
		return "", errors.New("it does not say its version")
	}
	return version, nil
}

// nodeSize is the least that Node.js itself is large. A smaller program of that name is one that chooses: the launcher of a
// version manager, which runs another version in another folder.
const nodeSize = 20 << 20

// seenNode is what is remembered of a Node.js.
type seenNode struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
}

// recalledVersion is the version of a program as memory has it, when it is the same file, else what ask says. Starting Node
// for it takes 30 ms, each time.
func recalledVersion(memory, program string, ask func() (string, error)) (string, error) {
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return ask()
	}
	info, err := os.Stat(real)
	if name := strings.TrimSuffix(filepath.Base(real), ".exe"); err != nil || info.Size() < nodeSize || name != "node" && name != "nodejs" {
		return ask()
	}
	now := seenNode{Path: real, Size: info.Size(), Time: info.ModTime().UTC()}
	if data, err := os.ReadFile(memory); err == nil {
		var seen seenNode
		if json.Unmarshal(data, &seen) == nil && seen.Version != "" && seen == (seenNode{now.Path, now.Size, now.Time, seen.Version}) {
			return seen.Version, nil
		}
	}
	if now.Version, err = ask(); err != nil {
		return "", err
	}
	if data, err := json.Marshal(now); err == nil {
		remember(memory, data) // else it is asked again
	}
	return now.Version, nil
}

// remember replaces a small file in one step.
func remember(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+"-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(data)
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}

// nodeEnv is the environment of every Node process: what the system and Node need, nothing that changes what the CDK does.
func nodeEnv(env func(string) string) []string {
	var out []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "USERPROFILE", "SystemRoot", "TEMP", "TMP", "ComSpec", "PATHEXT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "NIX_LD", "NIX_LD_LIBRARY_PATH"} {
		if v := env(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return append(out,
		"TZ=UTC", "LC_ALL=C", "NO_COLOR=1", "NODE_NO_WARNINGS=1",
		"CDK_VALIDATION=false",      // its engine costs seconds and half a GiB: Validate runs it elsewhere
		"CDK_DISABLE_STACK_TRACE=1", // stacks in the metadata of an assembly name folders of this machine
		"CDK_NO_PERF_BUILTINS=1",    // else it wraps all of fs to measure it
		"JSII_DEPRECATED=quiet",     // the catalog knows, and callers have the line
	)
}
