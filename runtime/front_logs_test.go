package runtime

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sst/cfn"
)

// What functions printed can be read later: the last lines of each, numbered; with the token alone.
func TestKeptLogs(t *testing.T) {
	p := newProject(t, map[string]string{"src/a.mjs": `export const main = async (event) => { console.log("saw", event.n); };`},
		[]cfn.Function{nodeFunction("web/A", "src/a.main"), nodeFunction("web/B", "src/a.main")})
	for n := range 3 {
		if got := p.invoke("web-A", fmt.Sprintf(`{"n":%d}`, n)); got.functionError != "" {
			t.Fatalf("%+v", got)
		}
	}
	read := func(function string, after int, token string) (int, []LogLine) {
		req, _ := http.NewRequest("GET", fmt.Sprintf("%s%s?function=%s&after=%d", p.server.Lambda(), logsPath, url.QueryEscape(function), after), nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var lines []LogLine
		for scanner := bufio.NewScanner(res.Body); res.StatusCode == 200 && scanner.Scan(); {
			var line LogLine
			if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		return res.StatusCode, lines
	}
	_, lines := read("web/A", 1, p.server.token)
	if len(lines) != 2 || lines[0].Number != 2 || lines[0].Line != "saw 1" || lines[1].Line != "saw 2" || lines[1].RequestID == "" || lines[1].Time.IsZero() {
		t.Errorf("behind line 1: %+v", lines)
	}
	if _, lines := read("web/B", 0, p.server.token); len(lines) != 0 {
		t.Errorf("web/B printed nothing: %+v", lines)
	}
	if code, _ := read("web/A", 0, "guess"); code != http.StatusUnauthorized {
		t.Errorf("without the token: %d", code)
	}
}

// No more than the last lines are kept, and of a long one its beginning.
func TestKeptLogsAreBounded(t *testing.T) {
	var l logs
	for n := range 5 * keptLines {
		l.add(Logged{Function: "f", Line: fmt.Sprint(n)})
	}
	l.add(Logged{Function: "f", Line: strings.Repeat("é", keptLineBytes)})
	l.add(Logged{Line: "of no function"})
	lines := l.of("f", 0)
	last := lines[len(lines)-1]
	if len(lines) != keptLines || last.Number != 5*keptLines+1 || len(last.Line) > keptLineBytes+3 || len(l.lines["f"]) > 2*keptLines || len(l.lines) != 1 {
		t.Errorf("%d lines, the last %d of %d bytes", len(lines), last.Number, len(last.Line))
	}
}
