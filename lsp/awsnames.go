package lsp

// Names of AWS inside strings: actions of IAM, events, regions. What is not among them is not wrong: AWS has more every week.

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"slices"
	"strings"
	"sync"

	"go.lsp.dev/protocol"

	"sst/builtins"
	"sst/starlark/scan"
)

//go:generate go run ./internal/awsnames ../testdata/npm/node_modules .

// The files are written by internal/awsnames, which says what is in them.
var (
	//go:embed actions.txt.gz
	packedActions []byte
	//go:embed events.txt
	eventLines string
	//go:embed regions.txt
	regionLines string
)

// actionLines are unpacked when they are asked for first: 500 KB, a few milliseconds.
var actionLines = sync.OnceValue(func() string {
	z, err := gzip.NewReader(bytes.NewReader(packedActions))
	if err != nil {
		panic(err) // it is part of the program
	}
	text, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	return string(text)
})

var accessLevels = map[byte]string{'L': "List", 'R': "Read", 'W': "Write", 'T': "Tagging", 'P': "Permissions management"}

// labels are the names of the keyword and keys that the cursor is in the value of, the innermost first, up to the call: "source",
// "pattern", "paid", "rules". list says that it stands in a list of the innermost.
func (c *cursor) labels() (names []string, callee string, list bool) {
	for i := len(c.frames) - 1; i >= 0; i-- {
		f := &c.frames[i]
		switch {
		case f.callee != "":
			if f.keyword != "" {
				names = append(names, f.keyword)
			}
			return names, f.callee, list
		case f.bracket == '{' && f.value:
			names = append(names, f.key)
		case f.bracket == '{':
			names = append(names, "") // where a key goes
		case len(names) == 0:
			list = true
		}
	}
	return names, "", list
}

// awsNames completes what AWS calls the thing that is wanted, and says whether such a name is wanted.
func (r *completions) awsNames() bool {
	names, callee, list := r.c.labels()
	if len(names) == 0 {
		if list || !strings.HasSuffix(callee, ".grant") || r.c.innermost().position < 1 {
			return false
		}
		r.actions() // table.grant(function, "dynamodb:GetItem")
		return true
	}
	above := ""
	if len(names) > 1 {
		above = names[1]
	}
	_, class, _ := cutLastDot(callee)
	pattern := above == "pattern" || above == "event_pattern" || class == "EventPattern" && len(names) == 1
	switch name := names[0]; {
	case list && (name == "permissions" || (name == "actions" || name == "not_actions") && class == "PolicyStatement" && len(names) == 1):
		r.actions()
	case !list && (name == "region" && len(names) == 1 && callee != "" || name == "region" && (above == "env" || slices.Contains(names, "stages"))):
		r.regions()
	case list && name == "replication_regions":
		r.regions()
	case list && name == "source" && pattern:
		r.eventSources()
	case list && name == "detail_type" && pattern:
		r.detailTypes()
	case list && name == "events" && slices.Contains(names, "notifications"):
		r.bucketEvents()
	default:
		return false
	}
	return true
}

func cutLastDot(path string) (before, last string, found bool) {
	i := strings.LastIndexByte(path, '.')
	return path[:max(i, 0)], path[i+1:], i >= 0
}

// actions completes services and, once there is one, its actions.
func (r *completions) actions() {
	service, _, chosen := strings.Cut(r.typed, ":")
	for line := range strings.Lines(actionLines()) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !chosen {
			c := candidate{label: name + ":", kind: protocol.CompletionItemKindModule, rank: 2}
			if slices.Contains(commonServices, name) {
				c.rank = 1
			}
			r.add(c)
			continue
		}
		if !strings.EqualFold(name, service) {
			continue
		}
		for action := range strings.SplitSeq(rest, " ") {
			r.add(candidate{label: name + ":" + action[1:], kind: protocol.CompletionItemKindValue, rank: 1, detail: accessLevels[action[0]]})
		}
		return
	}
}

// commonServices come before the 450 others.
var commonServices = []string{"cloudwatch", "dynamodb", "events", "kinesis", "kms", "lambda", "logs", "s3", "secretsmanager", "ses", "sns", "sqs", "ssm", "states"}

// Regions are the names of AWS's regions as far as they are known here; there are more over time.
func Regions() (names []string) {
	for line := range strings.Lines(regionLines) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	return names
}

func (r *completions) regions() {
	for line := range strings.Lines(regionLines) {
		name, where, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		r.add(candidate{label: name, kind: protocol.CompletionItemKindValue, rank: 1, detail: where})
	}
}

func (r *completions) eventSources() {
	for line := range strings.Lines(eventLines) {
		source, _, _ := strings.Cut(line, "\t")
		r.add(candidate{label: source, kind: protocol.CompletionItemKindValue, rank: 1})
	}
}

// detailTypes completes those of the sources that the pattern names, or of all.
func (r *completions) detailTypes() {
	sources := r.besides("source")
	for line := range strings.Lines(eventLines) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(sources) > 0 && !slices.Contains(sources, parts[0]) {
			continue
		}
		for _, name := range parts[1:] {
			r.add(candidate{label: name, kind: protocol.CompletionItemKindValue, rank: 1, detail: parts[0]})
		}
	}
}

// besides are the strings in the value of another key or keyword of the dict or call around the cursor's list.
func (r *completions) besides(name string) (values []string) {
	c := r.c
	if len(c.frames) < 2 {
		return nil
	}
	open, depth, inside := c.frames[len(c.frames)-2].open, 0, false
	for i := open + 1; i < len(c.tokens) && depth >= 0; i++ {
		t := &c.tokens[i]
		switch {
		case c.opens(i):
			depth++
		case c.closes(i):
			depth--
		case depth == 0 && c.is(i, ","):
			inside = false
		case depth == 0 && (c.is(i, ":") || c.is(i, "=")):
			inside = strings.Trim(c.textOf(i-1), `"'`) == name
		case inside && t.Kind == scan.String:
			values = append(values, stringValue(t.Text(c.text)))
		}
	}
	return values
}

// bucketEventNames are those that sst.Bucket takes.
var bucketEventNames = sync.OnceValue(func() []string { return builtins.TableKeys("bucket.star", "event_types") })

func (r *completions) bucketEvents() {
	for rank, name := range bucketEventNames() {
		r.add(candidate{label: name, kind: protocol.CompletionItemKindValue, rank: 1 + rank})
	}
}
