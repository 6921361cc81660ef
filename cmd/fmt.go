package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	interp "sst/starlark"
	"sst/starlark/diag"
	"sst/starlark/format"
)

func fmtCommand(t *tool) *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:   "fmt [FILE...]",
		Short: "Format Starlark files",
		Long: `Format Starlark files in place: the house style of buildifier, with the line breaks that you chose.

Without FILE, all .star files of the project; a folder means all in it; "-" formats stdin to stdout.
A statement that does not parse stays as it is and is reported. The meaning of a file never changes.`,
		Example: "  sst fmt\n  sst fmt --check\n  sst fmt - < stacks.star",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				src, err := io.ReadAll(t.Stdin)
				if err != nil {
					return problemf("", "stdin cannot be read: %v", err)
				}
				_, err = t.Stdout.Write(format.Source(src))
				return err
			}
			files, err := t.starFiles(args)
			if err != nil {
				return err
			}
			return t.format(files, check, func(file string) { fmt.Fprintln(t.Stdout, file) })
		},
	}
	c.Flags().BoolVar(&check, "check", false, "change nothing; print the files that would change and exit 1 when there are any")
	return c
}

// format formats files, or only looks which would change, and tells each of these.
func (t *tool) format(files []string, check bool, tell func(file string)) error {
	var problems diag.List
	unformatted := 0
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			return problemf("", "%s cannot be read: %v", relative(t.Dir, file), errors.Unwrap(err))
		}
		problems = append(problems, interp.Parse(file, src).Errors...)
		out := format.Source(src)
		if bytes.Equal(src, out) {
			continue
		}
		unformatted++
		tell(relative(t.Dir, file))
		if !check {
			if err := replaceFile(file, out); err != nil {
				return problemf("", "%s cannot be written: %v", relative(t.Dir, file), err)
			}
		}
	}
	if problems.HasErrors() {
		return problems.Sorted()
	}
	if check && unformatted > 0 {
		return problemf("sst fmt formats them", "%s not formatted", count(unformatted, "file"))
	}
	return nil
}

// replaceFile writes a file in one step, with the mode that it has.
func replaceFile(file string, data []byte) error {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(real), ".sst-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // nothing is there any more when all went well
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Chmod(info.Mode().Perm()), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), real)
}

// starFiles are the Starlark files that arguments mean.
func (t *tool) starFiles(args []string) ([]string, error) {
	if len(args) == 0 {
		file, err := t.findFile(nil)
		if err != nil {
			return nil, err
		}
		args = []string{filepath.Dir(file)}
	}
	var files []string
	for _, arg := range args {
		path := t.abs(arg)
		info, err := os.Stat(path)
		if err != nil {
			return nil, problemf("", "there is no file %s", arg)
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && name != path && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
				return fs.SkipDir
			case !d.IsDir() && strings.HasSuffix(name, ".star"):
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, problemf("", "%s cannot be read: %v", arg, err)
		}
	}
	return files, nil
}
