package runtime

// The last lines that each function has printed, for who looks later: a code lens of an editor, `sst logs`.

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// logsPath is on the control port. It wants the token of start.json, and takes function (an id) and after (the number of the
// last line that is known; 0 for none).
const logsPath = "/sst/logs"

// What is kept: so many lines of a function, each so long at most.
const (
	keptLines     = 500
	keptLineBytes = 8 << 10
)

// LogLine is one line of the answer.
type LogLine struct {
	Number    int       `json:"number"` // 1, 2, ... of the function
	Time      time.Time `json:"time"`
	RequestID string    `json:"requestId,omitempty"`
	Line      string    `json:"line"`
}

// logs holds the last lines of all functions.
type logs struct {
	mu    sync.Mutex // guards what follows
	lines map[string][]LogLine
}

func (l *logs) add(e Logged) {
	if e.Function == "" {
		return
	}
	line := strings.TrimRight(e.Line, "\r\n")
	if len(line) > keptLineBytes {
		line = strings.ToValidUTF8(line[:keptLineBytes], "") + "..."
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = map[string][]LogLine{}
	}
	kept := l.lines[e.Function]
	number := 1
	if n := len(kept); n > 0 {
		number = kept[n-1].Number + 1
	}
	kept = append(kept, LogLine{Number: number, Time: e.Time, RequestID: e.RequestID, Line: line})
	if len(kept) > 2*keptLines { // so that a line costs no copy of all
		kept = append([]LogLine(nil), kept[len(kept)-keptLines:]...)
	}
	l.lines[e.Function] = kept
}

// of are the lines of a function behind a number.
func (l *logs) of(function string, after int) []LogLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.lines[function]
	kept = kept[max(0, len(kept)-keptLines):]
	for len(kept) > 0 && kept[0].Number <= after {
		kept = kept[1:]
	}
	return append([]LogLine(nil), kept...)
}

func (s *Server) serveLogs(w http.ResponseWriter, r *http.Request) {
	given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) != 1 {
		http.Error(w, "this wants the token of .sst/start.json", http.StatusUnauthorized)
		return
	}
	after, _ := strconv.Atoi(r.URL.Query().Get("after"))
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	for _, line := range s.logs.of(r.URL.Query().Get("function"), after) {
		if out.Encode(line) != nil {
			return
		}
	}
}
