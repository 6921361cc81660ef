package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Commands of the project around the bundling of a function: a code generator before it, files put beside it after it.

// Hooks are run by the shell, one command after the other; the first that fails ends the build.
type Hooks struct {
	// Before are run in the project's folder, before anything of the function is read.
	Before []string `json:"before,omitempty"`
	// After are run in a folder with the files of the bundle; what lies in it then is the bundle.
	After []string `json:"after,omitempty"`
	// Inputs are the files and folders, relative to the root, that the commands read. Nil is the whole project.
	Inputs []string `json:"inputs,omitzero"`
}

// before runs the commands that come before units are built, the same ones once for all of them. It gives the time from
// which on sources are read: what the commands wrote is older.
func (b *Builder) before(ctx context.Context, units []*unit, start time.Time) time.Time {
	ran := map[string]error{}
	for _, u := range units {
		h := u.spec.Options.Hooks
		if h == nil || ctx.Err() != nil {
			continue
		}
		id := strings.Join(h.Before, "\x00")
		err, done := ran[id]
		if !done {
			for _, command := range h.Before {
				if err = b.hook(ctx, "before", command, b.config.Root, nil); err != nil {
					break
				}
			}
			ran[id] = err
		}
		if err != nil {
			u.fail(errorAt("", "%s", err))
			inputs, _ := b.hookInputs(h) // where the fault is put right
			u.result.Inputs = compact(append(inputs, b.shown(u.file)))
		}
	}
	if len(ran) == 0 {
		return start
	}
	time.Sleep(2 * clockGrain)
	return time.Now()
}

// stampsOf takes the stamps of what a unit was made from. What was named as an input of its commands counts from start
// on, when they began to read it; all else from read on, or what a command writes would always look just written.
func (b *Builder) stampsOf(u *unit, after *stamps, start, read time.Time, before *stamps) []stamp {
	h := u.spec.Options.Hooks
	if h == nil || h.Inputs == nil {
		return after.take(u.result.Inputs, b.folders(u), read, before)
	}
	named, _ := b.hookInputs(h) // an error has ended the build
	rest := slices.DeleteFunc(slices.Clone(u.result.Inputs), func(input string) bool { return slices.Contains(named, input) })
	return append(after.take(named, nil, start, before), after.take(rest, b.folders(u), read, before)...)
}

// after runs the commands that work on the files of a built unit.
func (b *Builder) after(ctx context.Context, u *unit) {
	h := u.spec.Options.Hooks
	if h == nil || u.result.Failed() {
		return
	}
	inputs, err := b.hookInputs(h)
	if err != nil {
		u.fail(errorAt("", "%s", err))
		return
	}
	u.result.Inputs = compact(append(u.result.Inputs, inputs...))
	if len(h.After) == 0 {
		return
	}
	files, err := b.afterIn(ctx, u, h)
	if err != nil {
		u.fail(errorAt("", "%s", err))
		return
	}
	u.result.Files = files
}

func (b *Builder) afterIn(ctx context.Context, u *unit, h *Hooks) ([]File, error) {
	dir, err := os.MkdirTemp("", "sst-bundle-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for _, f := range u.result.Files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, f.Data, f.Mode); err != nil {
			return nil, err
		}
	}
	for _, command := range h.After {
		if err := b.hook(ctx, "after", command, dir, map[string]string{"SST_PROJECT": b.config.Root, "SST_HANDLER": u.spec.Handler}); err != nil {
			return nil, err
		}
	}
	files, _, err := tree(dir, "", nil)
	return files, err
}

// hook runs one command; kind is the list that it is of.
func (b *Builder) hook(ctx context.Context, kind, command, dir string, environment map[string]string) error {
	if b.config.Notice != nil && b.config.Mode == Deploy {
		b.config.Notice(fmt.Sprintf("Running the hook %q: %s", kind, command))
	}
	if err := b.shell(ctx, command, dir, b.config.Root, environment); err != nil {
		return fmt.Errorf("hooks: %s: %w", kind, err)
	}
	return nil
}

// hookInputs are the files whose change lets the commands run again.
func (b *Builder) hookInputs(h *Hooks) ([]string, error) {
	if h.Inputs == nil {
		return siteSources(b.config.Root, "")
	}
	var all []string
	for _, name := range h.Inputs {
		if path.IsAbs(name) || strings.HasPrefix(path.Clean(name), "..") {
			return nil, fmt.Errorf("hooks: inputs %q: it is outside the project", name)
		}
		sources, err := siteSources(filepath.Join(b.config.Root, filepath.FromSlash(name)), "")
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("hooks: inputs %q: there is no such file or folder", name)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, sources...)
	}
	return compact(all), nil
}

// hookFolders adds the folders in which a new file counts: those that were named, with all below them that hold an input.
func (b *Builder) hookFolders(h *Hooks, folders map[string][]string) {
	named := h.Inputs
	if named == nil {
		named = []string{"."}
	}
	for _, name := range named {
		top := filepath.Join(b.config.Root, filepath.FromSlash(name))
		if !isDir(top) {
			continue
		}
		folders[top] = nil
		sources, _ := siteSources(top, "") // an error has ended the build
		for _, source := range sources {
			for dir := filepath.Dir(source); len(dir) > len(top); dir = filepath.Dir(dir) {
				folders[dir] = nil
			}
		}
	}
}
