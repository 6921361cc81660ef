package cmd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"sst/cfn"
)

// board is what a terminal shows of stacks under way: a line for each, its resources in progress beneath. What is over is not its
// business: that was printed.
type board struct {
	palette
	manifest *cfn.Manifest
	now      func() time.Time

	mu     sync.Mutex // guards all below
	began  time.Time
	stacks []*boardStack // in the order of the assembly
}

type boardStack struct {
	id, name  string
	status    string // the last that was told, "" while it waits for others
	over      bool
	began     time.Time
	total     int // resources that change, 0 when unknown
	resources []*boardResource
	assets    []*boardAsset
}

type boardResource struct {
	id, path, kind string
	status         string
	over           bool
	began          time.Time
}

type boardAsset struct {
	name        string
	building    bool
	done, total int64
	over        bool
}

func newBoard(p palette, m *cfn.Manifest, stacks []*cfn.Stack, now func() time.Time) *board {
	b := &board{palette: p, manifest: m, now: now, began: now()}
	for _, s := range stacks {
		b.stacks = append(b.stacks, &boardStack{id: s.ID, name: s.Short})
	}
	return b
}

// tell takes in what happened.
func (b *board) tell(e cfn.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.stacks, func(s *boardStack) bool { return s.id == e.Stack.ID })
	if i < 0 { // one that is not the app's, as that of the bootstrap
		i = len(b.stacks)
		b.stacks = append(b.stacks, &boardStack{id: e.Stack.ID, name: cmp.Or(e.Stack.Short, e.Stack.Name)})
	}
	s := b.stacks[i]
	if s.began.IsZero() {
		s.began = b.now()
	}
	switch e.Kind {
	case cfn.ProgressStack:
		s.status, s.over = e.Status, !underWay(e.Status)
		if e.Total > 0 {
			s.total = int(e.Total)
		}
		if begins(e.Status) {
			s.resources = nil
		}
	case cfn.ProgressResource:
		s.resource(e, b)
	case cfn.ProgressAsset:
		s.asset(e)
	}
}

// underWay says that there is more to come of a stack or resource of that status.
func underWay(status string) bool {
	switch status {
	case "CHECKING", "WAITING", "REPAIRING", "NOT_SWAPPED":
		return true
	}
	return strings.HasSuffix(status, "_IN_PROGRESS")
}

// begins says that a stack's resources are another matter from now on.
func begins(status string) bool {
	switch status {
	case "CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "REPAIRING", "WAITING":
		return true
	}
	return false
}

func (s *boardStack) resource(e cfn.Progress, b *board) {
	key := e.Path + " " + e.LogicalID
	i := slices.IndexFunc(s.resources, func(r *boardResource) bool { return r.id == key })
	if i < 0 {
		i = len(s.resources)
		path := e.LogicalID
		if e.Path != "" {
			path = strings.TrimPrefix(b.manifest.ShortPath(e.Path), s.name+"/")
		}
		s.resources = append(s.resources, &boardResource{id: key, path: path, kind: e.Type})
	}
	r := s.resources[i]
	if r.status != e.Status {
		r.began = b.now()
	}
	r.status, r.over = e.Status, !underWay(e.Status)
}

func (s *boardStack) asset(e cfn.Progress) {
	i := slices.IndexFunc(s.assets, func(a *boardAsset) bool { return a.name == e.Path })
	if i < 0 {
		i = len(s.assets)
		s.assets = append(s.assets, &boardAsset{name: e.Path})
	}
	a := s.assets[i]
	a.building, a.over = e.Status == "BUILDING", e.Status == "PUBLISHED"
	a.done, a.total = max(a.done, e.Done), max(a.total, e.Total)
}

// boardResources is how many resources a stack shows at most while others have something to show.
const boardResources = 8

// lines draws the board for a terminal of that size: never more than two thirds of it, so that what is over stays in view.
func (b *board) lines(width, height int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	room := max(3, height*2/3)
	var active []*boardStack
	over := 0
	for _, s := range b.stacks {
		switch {
		case s.over:
			over++
		case s.status != "" || len(s.assets) > 0:
			active = append(active, s)
		}
	}
	last := b.summary(len(active), over, now)
	if last != "" {
		room--
	}
	hidden := len(active) - room
	if hidden > 0 {
		hidden++ // the line that says so takes the place of one
		active = active[:room-1]
		room = 0
	} else {
		room -= len(active)
	}
	shown := share(active, room)
	name := 0
	for _, s := range active {
		name = max(name, ansi.StringWidth(s.name))
	}
	name = min(name, max(8, width/3))
	var all []string
	for i, s := range active {
		all = append(all, b.stackLine(s, name, width, now))
		all = append(all, b.resourceLines(s, shown[i], width, now)...)
	}
	if hidden > 0 {
		all = append(all, b.dim.Sprintf("and %d more stacks", hidden))
	}
	if last != "" {
		all = append(all, b.dim.Sprint(last))
	}
	return all
}

// share gives each stack its part of the lines that are left for resources, in turns.
func share(stacks []*boardStack, room int) []int {
	shown, wants := make([]int, len(stacks)), make([]int, len(stacks))
	for i, s := range stacks {
		for _, r := range s.resources {
			if !r.over {
				wants[i]++
			}
		}
		wants[i] = min(wants[i], boardResources)
	}
	for more := true; more && room > 0; {
		more = false
		for i := range stacks {
			if room > 0 && shown[i] < wants[i] {
				shown[i]++
				room--
				more = true
			}
		}
	}
	return shown
}

// summary is about all stacks; with a single one its own line says it.
func (b *board) summary(active, over int, now time.Time) string {
	took := elapsed(now.Sub(b.began))
	switch {
	case active == 0 && over == 0:
		return took + "  asking AWS"
	case len(b.stacks) == 1:
		return ""
	}
	text := fmt.Sprintf("%s  %d of %s done", took, over, count(len(b.stacks), "stack"))
	if active > 0 {
		text += fmt.Sprintf(", %d under way", active)
	}
	if waiting := len(b.stacks) - active - over; waiting > 0 {
		text += fmt.Sprintf(", %d waiting", waiting)
	}
	return text
}

func (b *board) stackLine(s *boardStack, name, width int, now time.Time) string {
	word := s.word()
	shown := b.yellow.Sprint(word)
	if strings.Contains(s.status, "ROLLBACK") || s.status == "REPAIRING" {
		shown = b.red.Sprint(word)
	}
	line := b.bold.Sprint(padded(s.name, name)) + "  " + shown
	if done := s.done(); strings.HasSuffix(s.status, "_IN_PROGRESS") {
		line += fmt.Sprintf("  %d", done)
		if total := max(s.total, len(s.resources)); s.total > 0 {
			line += fmt.Sprintf("/%d", total)
		}
	}
	return line + "  " + b.dim.Sprint(elapsed(now.Sub(s.began)))
}

func (s *boardStack) done() (n int) {
	for _, r := range s.resources {
		if r.over {
			n++
		}
	}
	return n
}

// word says what goes on with a stack.
func (s *boardStack) word() string {
	switch s.status {
	case "", "CHECKING", "NOT_SWAPPED":
		var left, done, total int64
		for _, a := range s.assets {
			switch {
			case a.over:
			case a.building:
				return "building " + a.name
			default:
				left++
			}
			done, total = done+a.done, total+a.total
		}
		switch {
		case left > 0 && total > 0:
			return "publishing " + bytesOf(done, total)
		case len(s.assets) > 0:
			return "preparing"
		}
		return "checking"
	case "WAITING":
		return "waiting for another change of it"
	case "REPAIRING":
		return "repairing"
	}
	return statusWord(s.status)
}

// statusWord is what goes on, in words: CREATE_IN_PROGRESS is creating.
func statusWord(status string) string {
	switch {
	case strings.HasSuffix(status, "CLEANUP_IN_PROGRESS"):
		return "cleaning up"
	case strings.Contains(status, "ROLLBACK"):
		return "rolling back"
	case strings.HasPrefix(status, "CREATE"):
		return "creating"
	case strings.HasPrefix(status, "UPDATE"):
		return "updating"
	case strings.HasPrefix(status, "DELETE"):
		return "deleting"
	case strings.HasPrefix(status, "EMPTY"):
		return "emptying"
	case strings.HasPrefix(status, "IMPORT"):
		return "importing"
	}
	return strings.ToLower(status)
}

// resourceLines are the resources that take longest.
func (b *board) resourceLines(s *boardStack, most, width int, now time.Time) []string {
	var active []*boardResource
	for _, r := range s.resources {
		if !r.over {
			active = append(active, r)
		}
	}
	slices.SortStableFunc(active, func(x, y *boardResource) int { return x.began.Compare(y.began) })
	var all []string
	for i, r := range active[:most] {
		after := statusWord(r.status) + "  " + elapsed(now.Sub(r.began))
		if more := len(active) - most; more > 0 && i == most-1 {
			after += fmt.Sprintf(", %d more", more)
		}
		room := width - len("    ") - len(after) - 1
		path := shortened(r.path, room)
		line := "  " + path + "  " + after
		if kind := "  " + r.kind; ansi.StringWidth(line)+len(kind) < width {
			line = "  " + path + b.dim.Sprint(kind) + "  " + after
		}
		all = append(all, line)
	}
	return all
}

// shortened leaves out the middle of what is too long: a path says most with its ends.
func shortened(text string, room int) string {
	have := ansi.StringWidth(text)
	if have <= room || room < 3 {
		return ansi.Truncate(text, max(0, room), "")
	}
	head := (room - 1) / 3
	return ansi.Truncate(text, head, "") + "…" + ansi.TruncateLeft(text, have-(room-1-head), "")
}

// padded makes a text exactly that wide.
func padded(text string, width int) string {
	text = shortened(text, width)
	return text + strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
}

func elapsed(d time.Duration) string {
	s := int(max(0, d).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// byteSize is a size in a unit that suits it.
func byteSize(total int64) string {
	_, size, _ := strings.Cut(bytesOf(total, total), " of ")
	return size
}

// bytesOf is how much of something is done, in the unit of the whole.
func bytesOf(done, total int64) string {
	switch {
	case total < 1e3:
		return fmt.Sprintf("%d of %d B", done, total)
	case total < 1e6:
		return fmt.Sprintf("%.0f of %.0f kB", float64(done)/1e3, float64(total)/1e3)
	case total < 1e9:
		return fmt.Sprintf("%.1f of %.1f MB", float64(done)/1e6, float64(total)/1e6)
	}
	return fmt.Sprintf("%.2f of %.2f GB", float64(done)/1e9, float64(total)/1e9)
}
