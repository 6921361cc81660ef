package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fatih/color"

	"sst/runtime"
	"sst/starlark/diag"
)

// View tells people and programs what happens. There are two: one for people, who read stderr, and one for programs,
// which read a JSON event a line from stdout. Its methods may be called from several goroutines.
type View interface {
	// Diagnostics prints problems that have a place in a file.
	Diagnostics(diag.List)
	// Problem prints one that has none.
	Problem(*Problem)
	// Fault prints a bug of sst with what to report; stack may be nil.
	Fault(err error, stack []byte)
	// Notice prints one line worth knowing: a choice that was made, a wait.
	Notice(text string)
	// Printed prints what print() said at a place.
	Printed(at diag.Position, text string)
	// Built prints the result of a build.
	Built(buildSummary)
	// Started prints the addresses and commands of a server that is ready.
	Started(started)
	// Reloaded prints what a saved stacks.star changed.
	Reloaded(reloaded)
	// Pending prints what a saved stacks.star would change in AWS.
	Pending(change)
	// Event prints what the server reports.
	Event(runtime.Event)
	deployView
	testView
	secretView
	envView
}

type viewOptions struct {
	Base    string // files are shown relative to it
	Color   bool
	Verbose bool
}

// buildSummary is what a build tells.
type buildSummary struct {
	App       string         `json:"app"`
	Stage     string         `json:"stage"`
	Region    string         `json:"region,omitempty"`
	Out       string         `json:"out"`
	Stacks    []stackSummary `json:"stacks"`
	Functions int            `json:"functions"`
	Unchanged bool           `json:"unchanged"` // nothing was synthesized: the assembly was already right
	Reason    string         `json:"reason,omitempty"`
	Steps     []buildStep    `json:"steps,omitempty"`
	Seconds   float64        `json:"seconds"`
}

type stackSummary struct {
	Name      string `json:"name"`
	Template  string `json:"template"`
	Resources int    `json:"resources"`
}

// palette is the few colours in use.
type palette struct{ bold, dim, red, green, yellow, cyan *color.Color }

func newPalette(on bool) palette {
	p := palette{color.New(color.Bold), color.New(color.Faint), color.New(color.FgRed), color.New(color.FgGreen),
		color.New(color.FgYellow), color.New(color.FgCyan)}
	for _, c := range []*color.Color{p.bold, p.dim, p.red, p.green, p.yellow, p.cyan} {
		if on {
			c.EnableColor()
		} else {
			c.DisableColor()
		}
	}
	return p
}

// humanView writes for people, to stderr.
type humanView struct {
	mu      sync.Mutex
	out     io.Writer
	err     io.Writer
	options viewOptions
	screen  *screen // where err is a terminal that can be drawn on; err is this one then
	board   atomic.Pointer[board]
	failed  string // the problems of the build that were shown last; guarded by mu
	palette
}

var _ View = (*humanView)(nil)

func newHumanView(out, err io.Writer, options viewOptions) *humanView {
	return &humanView{out: out, err: err, options: options, palette: newPalette(options.Color)}
}

func (v *humanView) printf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.err, format, args...)
}

func (v *humanView) Diagnostics(list diag.List) {
	v.mu.Lock()
	defer v.mu.Unlock()
	printer := &diag.Printer{Out: v.err, Color: v.options.Color, Verbose: v.options.Verbose, Base: v.options.Base}
	printer.Print(list...)
}

func (v *humanView) Problem(p *Problem) {
	text := v.red.Sprint("error:") + " " + p.Summary + "\n"
	if p.Hint != "" {
		text += "  " + p.Hint + "\n"
	}
	v.printf("%s", text)
}

func (v *humanView) Fault(err error, stack []byte) {
	v.printf("%s %v\n  This is a fault of sst %s, not of your app. Please report it with the command you ran and this text.\n%s",
		v.red.Sprint("fault:"), err, Version, stack)
}

func (v *humanView) Notice(text string) { v.printf("%s\n", v.dim.Sprint(text)) }

func (v *humanView) Printed(at diag.Position, text string) {
	at.File = relative(v.options.Base, at.File)
	v.printf("%s %s\n", v.dim.Sprintf("%s:", at), text)
}

func (v *humanView) Built(s buildSummary) {
	var b strings.Builder
	how := "Built"
	if s.Unchanged {
		how = "Unchanged:"
	}
	fmt.Fprintf(&b, "%s %s, stage %s, in %s\n", v.green.Sprint(how), v.bold.Sprint(s.App), v.bold.Sprint(s.Stage), seconds(s.Seconds))
	width := 0
	for _, stack := range s.Stacks {
		width = max(width, len(stack.Name))
	}
	for _, stack := range s.Stacks {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, stack.Name, count(stack.Resources, "resource"))
	}
	fmt.Fprintf(&b, "  %s in %s\n", count(s.Functions, "function"), relative(v.options.Base, s.Out))
	if v.options.Verbose {
		for _, step := range s.Steps {
			fmt.Fprintf(&b, "  %s\n", v.dim.Sprint(step))
		}
	}
	v.printf("%s", b.String())
}

func seconds(s float64) string {
	switch d := time.Duration(s * float64(time.Second)); {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", s*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", s*1000)
	default:
		return fmt.Sprintf("%.1f s", s)
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// relative shows a path as the user would type it.
func relative(base, path string) string {
	if rel, err := filepath.Rel(base, path); err == nil && !strings.HasPrefix(rel, ".."+string(filepath.Separator)+"..") {
		return rel
	}
	return path
}

// jsonView writes one event a line to stdout. Every event has the field "event"; the rest is documented in
// docs/json-events.md.
type jsonView struct {
	mu      sync.Mutex
	out     *json.Encoder
	err     io.Writer
	options viewOptions
}

var _ View = (*jsonView)(nil)

func newJSONView(out, err io.Writer, options viewOptions) *jsonView {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return &jsonView{out: encoder, err: err, options: options}
}

// emit writes the fields of value with the event's name in front.
func (v *jsonView) emit(event string, value any) {
	fields, err := json.Marshal(value)
	if err != nil {
		fields = []byte(fmt.Sprintf(`{"error":%q}`, err))
	}
	line := fmt.Appendf(nil, `{"event":%q`, event)
	if len(fields) > 2 {
		line = append(append(line, ','), fields[1:]...)
	} else {
		line = append(line, '}')
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.out.Encode(json.RawMessage(line))
}

func (v *jsonView) Diagnostics(list diag.List) {
	for _, d := range list.Sorted() {
		v.emit("diagnostic", d)
	}
}

func (v *jsonView) Problem(p *Problem) {
	v.emit("problem", struct {
		Summary string `json:"summary"`
		Hint    string `json:"hint,omitempty"`
	}{p.Summary, p.Hint})
}

func (v *jsonView) Fault(err error, stack []byte) {
	v.emit("fault", struct {
		Error   string `json:"error"`
		Version string `json:"version"`
		Stack   string `json:"stack,omitempty"`
	}{err.Error(), Version, string(stack)})
}

func (v *jsonView) Notice(text string) {
	v.emit("notice", struct {
		Text string `json:"text"`
	}{text})
}

func (v *jsonView) Printed(at diag.Position, text string) {
	v.emit("print", struct {
		File string `json:"file"`
		Line int    `json:"line"`
		Text string `json:"text"`
	}{at.File, at.Line, text})
}

func (v *jsonView) Built(s buildSummary) { v.emit("built", s) }
