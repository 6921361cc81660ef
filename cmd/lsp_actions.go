package cmd

// What the code lenses of the editor do: reach a running start, and read the last build.

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sst/cfn"
	"sst/lsp"
	"sst/runtime"
)

// editorTime bounds what a click in an editor waits for: a Lambda function has at most as long.
const editorTime = 15 * time.Minute

func (t *tool) editorActions() lsp.Actions {
	last := &editorBuild{out: t.out, dir: t.Dir}
	return lsp.Actions{Invoke: t.editorInvoke, Logs: t.editorLogs, URL: editorURL, Stage: editorStage, Built: last.made}
}

// editorInvoke runs a function of the running start, or sends to a source, as sst invoke does.
func (t *tool) editorInvoke(ctx context.Context, root, name, event string) (answer, logs string, err error) {
	ctx, cancel := context.WithTimeout(ctx, editorTime)
	defer cancel()
	there, err := runningForEditor(root)
	if err != nil {
		return "", "", err
	}
	if there.Lambda == "" { // on AWS: that takes credentials, which the editor's server does without
		return "", "", inOneLine(problemf("`sst invoke "+name+"` in a terminal invokes the function in AWS.", "the running sst start is live"))
	}
	id, isSource, err := there.find(name)
	if err != nil {
		return "", "", inOneLine(err)
	}
	var out, errs bytes.Buffer
	world := *t.World
	world.Stdout, world.Stderr = &out, &errs
	quiet := &tool{World: &world}
	if isSource {
		err = quiet.send(ctx, there, runtime.Delivery{Source: id, Body: event})
	} else {
		err = quiet.invoke(ctx, there, id, []byte(event))
	}
	return strings.TrimSpace(out.String()), errs.String(), inOneLine(err)
}

// runningForEditor is the running start; an editor reaches nothing that is deployed.
func runningForEditor(root string) (*running, error) {
	there, err := runningIn(root)
	if errors.Is(err, fs.ErrNotExist) {
		err = problemf("Run `sst start` in a terminal.", "nothing runs here")
	}
	return there, inOneLine(err)
}

// inOneLine is a problem as an editor shows it: with what to do.
func inOneLine(err error) error {
	var p *Problem
	if errors.As(err, &p) && p.Hint != "" {
		return errors.New(p.Summary + ". " + p.Hint)
	}
	return err
}

func editorURL(root, id string) (string, error) {
	there, err := runningForEditor(root)
	if err != nil {
		return "", err
	}
	for known, address := range there.Apis {
		if _, own, _ := cutLast(known); known == id || own == id {
			return address, nil
		}
	}
	return "", errors.New(id + " does not run. The running sst start has another app, or the API is newer than it.")
}

// editorLogs writes what a function of the running start has printed last into a file of the project's state.
func (t *tool) editorLogs(root, id string) (string, error) {
	there, err := runningForEditor(root)
	if err != nil {
		return "", err
	}
	if there.Lambda == "" {
		return "", inOneLine(problemf("`sst logs "+id+"` in a terminal prints the log in AWS.", "the running sst start is live"))
	}
	id, isSource, err := there.find(id)
	if err == nil && isSource {
		err = fmt.Errorf("%s is no function", id)
	}
	if err != nil {
		return "", inOneLine(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lines, err := there.logs(ctx, id, 0)
	if err != nil {
		return "", inOneLine(err)
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("%s has printed nothing since sst start began", id)
	}
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(logText(line) + "\n")
	}
	dir := filepath.Join(root, ".sst", "logs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, strings.Map(inFileName, id)+".log")
	return file, writeFileAtomic(file, []byte(text.String()), 0o600)
}

// inFileName leaves what every file system takes.
func inFileName(r rune) rune {
	if strings.ContainsRune(`/\:*?"<>|{} `, r) || r < ' ' {
		return '-'
	}
	return r
}

// editorStage is the stage that is saved in a project.
func editorStage(root string) string {
	data, err := os.ReadFile(filepath.Join(root, ".sst", "stage"))
	if stage := strings.TrimSpace(string(data)); err == nil && stagePattern.MatchString(stage) {
		return stage
	}
	return ""
}

// editorBuild reads what the last build of a project left.
type editorBuild struct {
	out, dir string // as the flag --out has it, and what it is relative to

	mu       sync.Mutex
	root     string
	written  time.Time // of its manifest
	assembly *cfn.Assembly
	byID     map[string]*lsp.Built // by id
}

// made is what the last build made of a construct or stack; nil when there is none.
func (l *editorBuild) made(root, id string) *lsp.Built {
	folder := l.out
	if folder == "" {
		folder = filepath.Join(root, ".sst", "out")
	} else if !filepath.IsAbs(folder) {
		folder = filepath.Join(l.dir, folder)
	}
	info, err := os.Stat(filepath.Join(folder, cfn.ManifestFile))
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root != root || !l.written.Equal(info.ModTime()) {
		l.root, l.written, l.byID = root, info.ModTime(), map[string]*lsp.Built{}
		if l.assembly, err = cfn.Open(folder); err != nil {
			l.assembly = nil
		}
	}
	if l.assembly == nil || l.assembly.Manifest == nil {
		return nil
	}
	built, known := l.byID[id]
	if !known {
		built = builtOf(l.assembly, id)
		l.byID[id] = built
	}
	return built
}

// builtOf reads the resources of a stack ("web") or of a construct in one ("web/Jobs") off the templates.
func builtOf(asm *cfn.Assembly, id string) *lsp.Built {
	short, inside, _ := strings.Cut(id, "/")
	for _, stack := range asm.Stacks {
		if stack.Short != short || stack.Parent != nil {
			continue
		}
		built := &lsp.Built{Stage: asm.Manifest.Stage, Template: filepath.Join(stack.Dir, stack.TemplateFile)}
		data, err := os.ReadFile(built.Template)
		var template struct {
			Resources orderedResources
		}
		if err != nil || json.Unmarshal(data, &template) != nil {
			return nil
		}
		prefix := stack.DisplayName + "/"
		if inside != "" {
			prefix += inside + "/"
		}
		for _, r := range template.Resources {
			if strings.HasPrefix(r.Metadata.Path, prefix) || inside == "" {
				built.Resources = append(built.Resources, lsp.Resource{Type: r.Type, Name: r.name()})
			}
		}
		return built
	}
	return nil
}

// templateResource is what is shown of a resource.
type templateResource struct {
	Type       string
	Properties map[string]json.RawMessage
	Metadata   struct {
		Path string `json:"aws:cdk:path"`
	}
}

// name is the physical name in the template: QueueName of an AWS::SQS::Queue, or Name.
func (r *templateResource) name() string {
	_, kind, _ := cutLast(strings.ReplaceAll(r.Type, "::", "/"))
	var name string
	_ = json.Unmarshal([]byte(cmp.Or(string(r.Properties[kind+"Name"]), string(r.Properties["Name"]), `""`)), &name) // a reference is no name
	return name
}

// orderedResources are the resources of a template in its order.
type orderedResources []templateResource

func (o *orderedResources) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		if _, err := d.Token(); err != nil {
			return err
		}
		var r templateResource
		if err := d.Decode(&r); err != nil {
			return err
		}
		*o = append(*o, r)
	}
	return nil
}
