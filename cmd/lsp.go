package cmd

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"sst/lsp"
)

func lspCommand(t *tool) *cobra.Command {
	var logFile string
	var pid int
	c := &cobra.Command{
		Use:   "lsp",
		Short: "Answer an editor (language server on stdin and stdout)",
		Long: `Answer an editor: the language server protocol on stdin and stdout. Editors start it; docs/editors.md says how to set each up.

It reads files and runs nothing: no Node, no network, no code of the project. Only a click on a code lens does something: it goes to the running sst start.`,
		Args: noArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			logger, closeLog, err := lspLog(t, logFile)
			if err != nil {
				return err
			}
			defer closeLog()
			debug.SetGCPercent(lspGCPercent)
			runtime.GOMAXPROCS(max(lspThreads, runtime.GOMAXPROCS(0)))
			out := t.Stdout
			if out == os.Stdout { // nothing but the protocol may reach it
				os.Stdout = os.Stderr
			}
			server := lsp.New(lsp.Options{
				Version: Version, Logger: logger, Alive: alive,
				PreludeDir: filepath.Join(t.CacheDir, "prelude", Version), Actions: t.editorActions(),
			})
			ctx, gone := context.WithCancelCause(command.Context())
			defer gone(nil)
			if pid > 0 {
				server.Watch(ctx, pid, func() { gone(errEditorGone) })
			}
			err = server.Serve(ctx, t.Stdin, out)
			switch {
			case err == nil || command.Context().Err() != nil:
				return err
			case errors.Is(err, lsp.ErrNoShutdown):
				return problemf("", "%v", err)
			case errors.Is(err, context.Canceled) || errors.Is(err, errEditorGone):
				return problemf("", "%v", errEditorGone)
			}
			return problemf("", "the connection to the editor: %v", err)
		},
	}
	c.Flags().StringVar(&logFile, "log-file", "", "write what goes wrong inside the server to this `FILE`")
	c.Flags().IntVar(&pid, "clientProcessId", 0, "end when the process with this id does")
	c.Flags().Bool("stdio", true, "talk on stdin and stdout; there is nothing else, editors say it anyway")
	return c
}

// lspGCPercent is how much garbage may pile up beside what is kept: a server lives as long as its editor, beside its
// other servers.
const lspGCPercent = 50

// lspThreads are how many goroutines run at once at least. On two cores the one that works and the collector would have both,
// and what the editor says would lie in the pipe until one of them has had its 10 ms; threads the system gives their turn at once.
const lspThreads = 4

var errEditorGone = errors.New("the editor's process has ended")

func lspLog(t *tool, file string) (*slog.Logger, func(), error) {
	if file == "" {
		return slog.New(slog.DiscardHandler), func() {}, nil
	}
	f, err := os.OpenFile(t.abs(file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, problemf("", "the log file %s cannot be written: %v", file, errors.Unwrap(err))
	}
	return slog.New(slog.NewTextHandler(f, nil)), func() { f.Close() }, nil
}
