package cmd

import (
	"log/slog"
	"os"
	"path/filepath"
)

// maxLogBytes is when a log begins anew: it is for the report of a fault, not a history.
const maxLogBytes = 1 << 20

// openLog makes t.log write to .sst/sst.log, and with --verbose to the terminal as well. A log that cannot be written is
// no reason to stop. Values of the environment, events and answers are never logged.
func (t *tool) openLog(p *project) {
	var handlers []slog.Handler
	path := filepath.Join(p.state, "sst.log")
	how := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogBytes {
		how |= os.O_TRUNC
	}
	if file, err := os.OpenFile(path, how, 0o600); err == nil {
		handlers = append(handlers, slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if t.verbose {
		handlers = append(handlers, slog.NewTextHandler(t.errors(), &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTime}))
	}
	t.log = slog.New(slog.NewMultiHandler(handlers...))
	t.log.Debug("begin", "version", Version, "stage", p.stage)
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
