package dynamo

import (
	"bufio"
	"encoding/json"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// A request of testdata/answers.txt. There a request is a line "Operation body", its answer the line "= status body" below, and
// a line "! reason" tells why dynalite answers otherwise. Requests build on the ones before; # starts a remark.
type request struct {
	line                             int
	before                           []string // remarks
	operation, body, answer, differs string
}

func requests(t *testing.T) []request {
	t.Helper()
	file, err := os.Open("testdata/answers.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []request
	var remarks []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		first, rest, _ := strings.Cut(lines.Text(), " ")
		switch first {
		case "", "#":
			remarks = append(remarks, lines.Text())
		case "=":
			all[len(all)-1].answer = rest
		case "!":
			all[len(all)-1].differs = rest
		default:
			all = append(all, request{line: n, before: remarks, operation: first, body: rest})
			remarks = nil
		}
	}
	return all
}

// TestAnswers holds the package to the answers in testdata/answers.txt, each of which was read.
func TestAnswers(t *testing.T) {
	_, url := opened(t, Options{})
	all := requests(t)
	var out strings.Builder
	for _, r := range all {
		status, answer := call(t, url, r.operation, r.body)
		got := strconv.Itoa(status) + " " + steady(answer)
		if got != r.answer && !*update {
			t.Errorf("testdata/answers.txt:%d: %s %s\n got %s\nwant %s", r.line, r.operation, r.body, got, r.answer)
		}
		for _, remark := range r.before {
			out.WriteString(remark + "\n")
		}
		out.WriteString(r.operation + " " + r.body + "\n= " + got + "\n")
		if r.differs != "" {
			out.WriteString("! " + r.differs + "\n")
		}
	}
	if *update {
		if err := os.WriteFile("testdata/answers.txt", []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// steady orders the answer and leaves out what is of the moment.
func steady(answer string) string {
	var value any
	if err := json.Unmarshal([]byte(answer), &value); err != nil {
		return answer
	}
	if fields, ok := value.(map[string]any); ok {
		if message, ok := fields["Message"]; ok {
			delete(fields, "Message")
			fields["message"] = message
		}
		delete(fields, "TableDescription")
		delete(fields, "Table")
		for _, name := range []string{"Items", "Responses"} {
			sortAny(fields[name])
		}
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.Encode(value)
	return strings.TrimSpace(out.String())
}

// sortAny gives what has no order one: the items of a Scan lie as their hashes fall.
func sortAny(value any) {
	switch value := value.(type) {
	case []any:
		slices.SortFunc(value, func(a, b any) int { return strings.Compare(encoded(a), encoded(b)) })
	case map[string]any:
		for _, inner := range value {
			sortAny(inner)
		}
	}
}

func encoded(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// sets are in our order: sorted. Dynalite keeps that of the request.
func sortSets(value any) {
	switch value := value.(type) {
	case []any:
		for _, inner := range value {
			sortSets(inner)
		}
	case map[string]any:
		for name, inner := range value {
			if name == "SS" || name == "NS" || name == "BS" {
				sortAny(inner)
			}
			sortSets(inner)
		}
	}
}

// TestDynalite sends the same requests to npm dynalite: the answers are the same, or differ with a reason.
func TestDynalite(t *testing.T) {
	script, err := filepath.Abs("../../testdata/npm/node_modules/dynalite/cli.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(script); err != nil {
		t.Skip("dynalite is not installed: run make testdata/npm/node_modules/.installed")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	cmd := exec.Command("node", script, "--host", "127.0.0.1", "--port", port, "--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "listening") {
		t.Fatalf("dynalite says %q: %v", line, err)
	}
	for _, r := range requests(t) {
		status, answer := call(t, "http://127.0.0.1:"+port, r.operation, r.body)
		got := strconv.Itoa(status) + " " + steady(answer)
		if r.operation == "CreateTable" { // there is a moment between
			for range 100 {
				if _, state := call(t, "http://127.0.0.1:"+port, "DescribeTable", r.body[:strings.Index(r.body, ",")]+"}"); !strings.Contains(state, "CREATING") {
					break
				}
			}
		}
		same := got == r.answer
		if _, a, ok := strings.Cut(got, " "); !same && ok {
			_, b, _ := strings.Cut(r.answer, " ")
			var theirs, ours any
			if json.Unmarshal([]byte(a), &theirs) == nil && json.Unmarshal([]byte(b), &ours) == nil {
				sortSets(theirs)
				sortSets(ours)
				same = got[:3] == r.answer[:3] && reflect.DeepEqual(theirs, ours)
			}
		}
		if same == (r.differs != "") {
			t.Errorf("testdata/answers.txt:%d: %s %s\ndynalite %s\n    ours %s\n  reason %q", r.line, r.operation, r.body, got, r.answer, r.differs)
		}
	}
}
