package cmd

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"

	"sst/cfn"
)

// fakeTerminal is a terminal whose screen can be read.
type fakeTerminal struct {
	mu            sync.Mutex // guards all below
	emulator      *vt.Emulator
	width, height int
	writes        int
}

func newFakeTerminal(width, height int) *fakeTerminal {
	return &fakeTerminal{emulator: vt.NewEmulator(width, height), width: width, height: height}
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	f.emulator.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(string(p), "\r\n", "\n"), "\n", "\r\n"))) // as the line discipline does
	return len(p), nil
}

func (f *fakeTerminal) size() (int, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.width, f.height
}

func (f *fakeTerminal) resize(width, height int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.width, f.height = width, height
	f.emulator.Resize(width, height)
}

// text is what is on the screen, without the empty rows at its end.
func (f *fakeTerminal) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rows []string
	for row := range strings.Lines(f.emulator.String() + "\n") {
		rows = append(rows, strings.TrimRight(row, " \r\n"))
	}
	return strings.TrimRight(strings.Join(rows, "\n"), "\n") + "\n"
}

// boardTest is a view on a fake terminal with a clock of its own, drawn by hand.
type boardTest struct {
	*fakeTerminal
	view   *humanView
	board  *board
	stacks []*cfn.Stack
	at     time.Time
}

func newBoardTest(width, height int, names ...string) *boardTest {
	b := &boardTest{fakeTerminal: newFakeTerminal(width, height), at: time.Date(2026, 1, 1, 12, 0, 0, 0, time.Local)}
	b.view = newHumanView(b, b, viewOptions{})
	b.view.screen = &screen{out: b, size: b.size}
	b.view.err = b.view.screen
	for _, name := range names {
		b.stacks = append(b.stacks, &cfn.Stack{ID: name, Short: name, Name: "dev-shop-" + name})
	}
	m := &cfn.Manifest{App: "shop", Stage: "dev"}
	b.board = newBoard(b.view.palette, m, b.stacks, func() time.Time { return b.at })
	b.view.board.Store(b.board)
	b.view.screen.lines = b.board.lines // not begun: nothing is drawn but by draw
	return b
}

func (b *boardTest) tell(stack int, kind cfn.ProgressKind, status, what string, total int64) {
	e := cfn.Progress{Time: b.at, Kind: kind, Stack: b.stacks[stack], Status: status, Total: total}
	switch kind {
	case cfn.ProgressAsset:
		e.Path = what
	case cfn.ProgressResource:
		e.LogicalID, e.Type, e.Path = strings.ReplaceAll(what, "/", ""), "AWS::SQS::Queue", "dev-shop-"+b.stacks[stack].Short+"/"+what+"/Resource"
	}
	b.view.Progress(b.board.manifest, e)
}

func (b *boardTest) draw() string {
	b.view.screen.mu.Lock()
	b.view.screen.draw()
	b.view.screen.mu.Unlock()
	return b.text()
}

func (b *boardTest) end() string {
	b.view.screen.stop, b.view.screen.stopped = make(chan struct{}), make(chan struct{})
	close(b.view.screen.stopped)
	b.view.screen.end()
	return b.text()
}

// golden compares screens with testdata/screens/NAME.txt; -update rewrites it.
func golden(t *testing.T, name string, screens ...string) {
	t.Helper()
	got := strings.Join(screens, strings.Repeat("-", 20)+"\n")
	file := "../testdata/screens/" + name + ".txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("screens differ from %s:\n%s\nwant:\n%s", file, got, want)
	}
}

// TestBoard shows a deployment of two stacks from its first call to its end.
func TestBoard(t *testing.T) {
	b := newBoardTest(72, 14, "storage", "web")
	screens := []string{b.draw()}
	next := func(after time.Duration) {
		b.at = b.at.Add(after)
		screens = append(screens, b.draw())
	}
	b.tell(0, cfn.ProgressStack, "CHECKING", "", 0)
	b.tell(0, cfn.ProgressAsset, "PUBLISHING", "asset.zip", 12_400_000)
	b.view.Progress(b.board.manifest, cfn.Progress{Kind: cfn.ProgressAsset, Stack: b.stacks[0], Status: "PUBLISHING", Path: "asset.zip", Done: 3_100_000, Total: 12_400_000})
	next(2 * time.Second)
	b.tell(0, cfn.ProgressAsset, "PUBLISHED", "asset.zip", 12_400_000)
	b.tell(0, cfn.ProgressStack, "CREATE_IN_PROGRESS", "", 3)
	b.tell(0, cfn.ProgressResource, "CREATE_IN_PROGRESS", "Notes", 0)
	b.tell(0, cfn.ProgressResource, "CREATE_IN_PROGRESS", "Jobs", 0)
	next(70 * time.Second)
	b.tell(0, cfn.ProgressResource, "CREATE_COMPLETE", "Jobs", 0)
	next(time.Second)
	b.tell(0, cfn.ProgressResource, "CREATE_FAILED", "Notes", 0)
	b.tell(0, cfn.ProgressStack, "ROLLBACK_IN_PROGRESS", "", 0)
	b.tell(0, cfn.ProgressResource, "DELETE_IN_PROGRESS", "Jobs", 0)
	next(time.Second)
	b.tell(0, cfn.ProgressStack, "ROLLBACK_COMPLETE", "", 0)
	b.tell(1, cfn.ProgressStack, "SKIPPED", "", 0)
	b.view.Notice("somebody else says something")
	screens = append(screens, b.end())
	golden(t, "board", screens...)
}

// TestBoardNarrow keeps lines whole on a terminal with 40 columns, wide characters included.
func TestBoardNarrow(t *testing.T) {
	b := newBoardTest(40, 12, "storage-of-everything", "網站")
	for i := range b.stacks {
		b.tell(i, cfn.ProgressStack, "UPDATE_IN_PROGRESS", "", 30)
		b.tell(i, cfn.ProgressResource, "UPDATE_IN_PROGRESS", "Uploads/Notifications/resize-images/Permission", 0)
		b.tell(i, cfn.ProgressResource, "UPDATE_IN_PROGRESS", "圖片上傳處理程序與縮圖產生器以及其他功能", 0)
	}
	b.tell(0, cfn.ProgressResource, "UPDATE_COMPLETE", "Uploads/Policy", 0)
	golden(t, "board_narrow", b.draw())
}

// TestBoardManyStacks leaves a third of the terminal to what is over, and says how many stacks it does not show.
func TestBoardManyStacks(t *testing.T) {
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("service-%d", i))
	}
	b := newBoardTest(80, 24, names...)
	for i := range 5 {
		b.tell(i, cfn.ProgressStack, "CREATE_IN_PROGRESS", "", 4)
		for j := range 4 {
			b.tell(i, cfn.ProgressResource, "CREATE_IN_PROGRESS", fmt.Sprintf("Jobs%d", j), 0)
		}
	}
	few := b.draw()
	for i := range 28 {
		b.tell(i, cfn.ProgressStack, "CREATE_IN_PROGRESS", "", 4)
	}
	b.tell(28, cfn.ProgressStack, "UNCHANGED", "", 0)
	golden(t, "board_many", few, b.draw())
}

// TestScreenResized draws anew at the same place when the terminal became narrower and has wrapped the lines.
func TestScreenResized(t *testing.T) {
	f := newFakeTerminal(60, 10)
	s := &screen{out: f, size: f.size}
	s.lines = func(width, height int) []string { return []string{strings.Repeat("a", 50), "last"} }
	draw := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.draw()
	}
	fmt.Fprintln(s, "first")
	draw()
	// The emulator does not wrap anew what it shows, so the rows that a terminal makes of it are written here.
	f.resize(30, 10)
	f.Write([]byte("\x1b[2A\x1b[J" + strings.Repeat("a", 30) + "\r\n" + strings.Repeat("a", 20) + "\r\nlast\r\n"))
	fmt.Fprintln(s, "second")
	draw()
	want := "first\nsecond\n" + strings.Repeat("a", 28) + "…\nlast\n"
	if got := f.text(); got != want {
		t.Errorf("narrower:\n%s\nwant:\n%s", got, want)
	}
}

// TestScreenEnter leaves nothing behind when somebody presses ENTER below the lines.
func TestScreenEnter(t *testing.T) {
	f := newFakeTerminal(40, 6)
	s := &screen{out: f, size: f.size}
	s.begin(func(int, int) []string { return []string{"under way", "last"} })
	fmt.Fprint(s, "one\ntwo\nthree\n")
	waitFor(t, f, "one\ntwo\nthree\nunder way\nlast\n")
	f.Write([]byte("\n"))
	s.echoed()
	fmt.Fprintln(s, "four")
	waitFor(t, f, "two\nthree\nfour\nunder way\nlast\n")
	s.end()
}

// TestScreenTooSmall leaves a terminal alone that has no room for lines.
func TestScreenTooSmall(t *testing.T) {
	f := newFakeTerminal(10, 10)
	s := &screen{out: f, size: f.size}
	s.begin(func(int, int) []string { return []string{"under way"} })
	fmt.Fprintln(s, "one")
	waitFor(t, f, "one\n")
	s.end()
}

// TestScreenUnfinishedLine shows half a line when the other half has come, and at the end whatever there is.
func TestScreenUnfinishedLine(t *testing.T) {
	f := newFakeTerminal(40, 10)
	s := &screen{out: f, size: f.size}
	s.begin(func(int, int) []string { return []string{"under way"} })
	fmt.Fprint(s, "one\nha")
	waitFor(t, f, "one\nunder way\n")
	fmt.Fprint(s, "lf\nrest")
	waitFor(t, f, "one\nhalf\nunder way\n")
	s.end()
	if got, want := f.text(), "one\nhalf\nrest\n"; got != want {
		t.Errorf("at the end:\n%s\nwant:\n%s", got, want)
	}
	writes := f.writes
	s.begin(func(int, int) []string { return []string{"still"} })
	time.Sleep(3 * redraw)
	s.end()
	if f.writes > writes+2 {
		t.Errorf("%d writes for a line that stays the same", f.writes-writes)
	}
}

func waitFor(t *testing.T, f *fakeTerminal, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); f.text() != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the screen is\n%s\nwant\n%s", f.text(), want)
		}
	}
}
