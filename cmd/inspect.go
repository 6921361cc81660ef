package cmd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sst/cfn"
	"sst/runtime"
	"sst/runtime/bundle"
)

// This file is --inspect of sst start: which functions, and how an editor gets there.

// inspectFlag is --inspect, --inspect FUNCTION and --inspect=FUNCTION; it may be given again.
type inspectFlag struct {
	bare  int      // how often it stood without "=": a FUNCTION behind it is an argument like FILE
	names []string // the others
}

// String, Set and Type make it a flag that needs no value.
func (f *inspectFlag) String() string { return "" }
func (f *inspectFlag) Type() string   { return "bool" }
func (f *inspectFlag) Set(value string) error {
	if value == "true" {
		f.bare++
	} else {
		f.names = append(f.names, value)
	}
	return nil
}

// files takes the functions out of the arguments, which leaves FILE.
func (f *inspectFlag) files(t *tool, args []string) (functions, files []string) {
	functions = f.names
	taken := 0
	for _, arg := range args {
		_, err := os.Stat(t.abs(arg))
		if taken < f.bare && err != nil && !strings.HasSuffix(arg, ".star") {
			taken++
			functions = append(functions, arg)
		} else {
			files = append(files, arg)
		}
	}
	return functions, files
}

// inspection is what was asked for.
type inspection struct {
	on    bool
	names []string // none: every Node function
}

// inspect tells the server which functions can be debugged, before it serves any.
func (s *starter) inspect(m *cfn.Manifest) error {
	if !s.inspection.on {
		return nil
	}
	chosen, err := s.namedFunctions("--inspect", s.inspection.names, m)
	if err != nil {
		return err
	}
	if s.live != nil && len(s.live.only) > 0 {
		here, err := s.live.chosen(m)
		if err != nil {
			return err
		}
		for _, id := range chosen {
			if !slices.Contains(here, id) {
				return problemf("", "--inspect: %s does not run here, since --only leaves it to others", id)
			}
		}
	}
	s.server.Inspect(runtime.Inspection{All: len(s.inspection.names) == 0, Functions: chosen})
	return nil
}

// namedFunctions finds functions that run here by id, name in AWS, or handler, which several may share.
func (s *starter) namedFunctions(flag string, names []string, m *cfn.Manifest) ([]string, error) {
	var chosen, ids, known []string
	for _, f := range m.Functions {
		if s.live == nil || f.Live {
			ids = append(ids, f.ID)
			known = append(known, f.ID, f.Handler)
		}
	}
	for _, name := range names {
		before := len(chosen)
		for _, f := range m.Functions {
			if f.ID != name && f.Name != name && f.Handler != name {
				continue
			}
			if s.live != nil && !f.Live {
				return nil, problemf("", "%s: %s runs in AWS, since it has live = False", flag, f.ID)
			}
			chosen = append(chosen, f.ID)
		}
		if len(chosen) == before {
			return nil, problemf(listNames("There are ", ids), "%s: there is no function %q%s", flag, name, didYouMean(name, known))
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), nil
}

// startedInspect is a function that a debugger can follow.
type startedInspect struct {
	Function string `json:"function"`
	Handler  string `json:"handler"`
	Kind     string `json:"kind"`
	Address  string `json:"address"`
}

// started tells of a server that is ready, and gets editors ready for the functions that can be debugged.
func (s *starter) started(about started) {
	s.toldInspect = map[string]string{}
	for _, each := range s.server.Inspected() {
		about.Inspect = append(about.Inspect, startedInspect(each))
		s.toldInspect[each.Function] = each.Address
	}
	s.view.Started(about)
	switch {
	case len(about.Inspect) > 0:
		s.launchConfigurations(about.Inspect)
	case s.inspection.on && len(s.inspection.names) == 0:
		s.view.Notice("--inspect without a name is for Node functions, and there are none here; others are named: --inspect web/Export")
	}
}

// tellInspected says which functions have got an address since.
func (s *starter) tellInspected() {
	if s.toldInspect == nil { // Started tells it
		return
	}
	for _, each := range s.server.Inspected() {
		if s.toldInspect[each.Function] != each.Address {
			s.toldInspect[each.Function] = each.Address
			s.view.Notice(fmt.Sprintf("%s can be debugged at %s.", each.Function, each.Address))
		}
	}
}

// launchConfiguration is how VS Code attaches to a function.
type launchConfiguration struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Request    string          `json:"request"`
	Address    string          `json:"address,omitempty"`
	Port       int             `json:"port,omitempty"`
	Connect    *debugpyAddress `json:"connect,omitempty"`
	Mappings   []pathMapping   `json:"pathMappings,omitempty"`
	Restart    bool            `json:"restart,omitempty"`
	SourceMaps bool            `json:"sourceMaps,omitempty"`
	Pause      bool            `json:"pauseForSourceMap,omitempty"` // breakpoints are there before new code runs
	OutFiles   []string        `json:"outFiles,omitempty"`
	Resolve    []string        `json:"resolveSourceMapLocations,omitempty"`
	SkipFiles  []string        `json:"skipFiles,omitempty"`
}

// debugpyAddress and pathMapping are those of Python's debugger.
type debugpyAddress struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

type pathMapping struct {
	Local  string `json:"localRoot"`
	Remote string `json:"remoteRoot"`
}

type launchCompound struct {
	Name           string   `json:"name"`
	Configurations []string `json:"configurations"`
	StopAll        bool     `json:"stopAll"`
}

// Bounds on what is written and printed: who has a hundred functions names those that matter.
const (
	maxLaunch    = 20
	maxCompound  = 8
	maxInspected = 8
)

// configurationOf makes one; project is the project's folder as VS Code names it.
func (s *starter) configurationOf(each startedInspect, project string) launchConfiguration {
	host, text, _ := net.SplitHostPort(each.Address)
	port, _ := strconv.Atoi(text)
	if each.Kind == bundle.Python {
		local := project
		for _, f := range s.asm.Manifest.Functions {
			rel, err := filepath.Rel(s.project.root, bundle.PythonSource(s.project.root, f.Bundle))
			if f.ID == each.Function && err == nil && rel != "." {
				local += "/" + filepath.ToSlash(rel)
			}
		}
		return launchConfiguration{
			Name: "sst: " + each.Function, Type: "debugpy", Request: "attach", Connect: &debugpyAddress{host, port},
			Mappings: []pathMapping{{local, project + "/.sst/" + runtime.InspectFolder(each.Function)}},
		}
	}
	return launchConfiguration{
		Name: "sst: " + each.Function, Type: "node", Request: "attach", Address: host, Port: port, Restart: true, SourceMaps: true, Pause: true,
		OutFiles:  []string{project + "/.sst/local/bundles/**/*.mjs", project + "/.sst/local/bundles/**/*.cjs"},
		Resolve:   []string{project + "/.sst/local/bundles/**"},
		SkipFiles: []string{"<node_internals>/**", "**/node_modules/**", project + "/.sst/local/shim/**"},
	}
}

// launchConfigurations writes .vscode/launch.json when there is none. One that is there is the user's: what it lacks is printed.
func (s *starter) launchConfigurations(list []startedInspect) {
	dir := workspaceOf(s.project.root)
	path := filepath.Join(dir, ".vscode", "launch.json")
	project := "${workspaceFolder}"
	if rel, err := filepath.Rel(dir, s.project.root); err == nil && rel != "." {
		project += "/" + filepath.ToSlash(rel)
	}
	all := list
	if len(list) > maxLaunch {
		list = list[:maxLaunch]
	}
	var configurations []launchConfiguration
	for _, each := range list {
		configurations = append(configurations, s.configurationOf(each, project))
	}
	data, err := os.ReadFile(path)
	shown := relative(s.Dir, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		file := struct {
			Version        string                `json:"version"`
			Configurations []launchConfiguration `json:"configurations"`
			Compounds      []launchCompound      `json:"compounds,omitempty"`
		}{Version: "0.2.0", Configurations: configurations}
		if len(list) > 1 && len(list) <= maxCompound {
			compound := launchCompound{Name: "sst: all functions", StopAll: true}
			for _, c := range configurations {
				compound.Configurations = append(compound.Configurations, c.Name)
			}
			file.Compounds = []launchCompound{compound}
		}
		if err := writeNew(dir, map[string][]byte{".vscode/launch.json": indented(file, "")}); err != nil {
			s.view.Notice(fmt.Sprintf("VS Code gets no configurations: %v.", err))
			return
		}
		s.view.Notice(fmt.Sprintf("Wrote %s: F5 in VS Code attaches.", shown))
	case err != nil:
		s.view.Notice(fmt.Sprintf("%s cannot be read: %v", shown, err))
		return
	default:
		var missing []launchConfiguration
		for _, c := range configurations {
			if !hasConfiguration(data, c) {
				missing = append(missing, c)
			}
		}
		if len(missing) == 0 {
			return
		}
		// One is enough to see how it goes.
		s.view.Notice(fmt.Sprintf("%s has no configuration that attaches to %s. For its \"configurations\":\n%s",
			shown, strings.TrimPrefix(missing[0].Name, "sst: "), bytes.TrimRight(indented(missing[0], "  "), "\n")))
	}
	if len(list) < len(all) {
		s.view.Notice(fmt.Sprintf("These are %d of %d functions; sst start --inspect FUNCTION names the one that matters.", len(list), len(all)))
	}
}

// indented is JSON as people write it.
func indented(value any, prefix string) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent(prefix, "  ")
	b.WriteString(prefix)
	encoder.Encode(value)
	return b.Bytes()
}

// workspaceOf is the folder that is open in VS Code, most likely: the nearest one upwards in the same repository that has
// settings for it, else the project's own. (Outside of a repository, ~/.vscode is something else.)
func workspaceOf(root string) string {
	found := ""
	for dir := root; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, ".vscode")); found == "" && err == nil && info.IsDir() {
			found = dir
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return cmp.Or(found, root)
		}
		if filepath.Dir(dir) == dir {
			return root
		}
	}
}

// hasConfiguration says whether a launch.json, which may have comments, attaches to the same port.
func hasConfiguration(data []byte, want launchConfiguration) bool {
	var file struct {
		Configurations []struct {
			Name, Request string
			Port          any
			Connect       struct{ Port any }
		}
	}
	port := want.Port
	if want.Connect != nil {
		port = want.Connect.Port
	}
	if json.Unmarshal(plainJSON(data), &file) != nil {
		return bytes.Contains(data, fmt.Append(nil, port))
	}
	for _, c := range file.Configurations {
		if strings.HasPrefix(c.Name, "sst: ") && c.Name != want.Name { // of a run for another function
			continue
		}
		if c.Request == "attach" && (fmt.Sprint(c.Port) == fmt.Sprint(port) || fmt.Sprint(c.Connect.Port) == fmt.Sprint(port)) {
			return true
		}
	}
	return false
}

// plainJSON takes comments and trailing commas away.
func plainJSON(data []byte) []byte {
	var out []byte
	for i := 0; i < len(data); i++ {
		switch {
		case data[i] == '"':
			end := i + 1
			for end < len(data) && data[end] != '"' {
				if data[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(data))
			out = append(out, data[i:end]...)
			i = end - 1
		case bytes.HasPrefix(data[i:], []byte("//")):
			for i+1 < len(data) && data[i+1] != '\n' {
				i++
			}
		case bytes.HasPrefix(data[i:], []byte("/*")):
			length := bytes.Index(data[i:], []byte("*/"))
			if length < 0 {
				return out
			}
			i += length + 1
		case data[i] == ']' || data[i] == '}':
			out = append(bytes.TrimSuffix(bytes.TrimRight(out, " \t\r\n"), []byte(",")), data[i])
		default:
			out = append(out, data[i])
		}
	}
	return out
}

// inspectedText is the part of Started about debuggers.
func (v *humanView) inspectedText(list []startedInspect) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Debuggers attach to\n")
	width := 0
	for _, each := range list[:min(len(list), maxInspected)] {
		width = max(width, len(each.Function))
	}
	for i, each := range list {
		if i == maxInspected {
			fmt.Fprintf(&b, "    %s\n", v.dim.Sprintf("and %d more, in .sst/start.json", len(list)-i))
			break
		}
		fmt.Fprintf(&b, "    %s  %-*s  %s\n", each.Address, width, each.Function, v.dim.Sprint(each.Handler))
	}
	return b.String()
}
