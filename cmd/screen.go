package cmd

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
)

// screen is a terminal whose last lines are drawn again and again while something is under way; all else that is written
// scrolls up above them. It stays an ordinary terminal: no other buffer, no raw mode, the cursor in view below the lines, so
// that nothing has to be put right when the process is killed.
type screen struct {
	out  io.Writer
	size func() (width, height int)

	mu      sync.Mutex // guards all below
	lines   func(width, height int) []string
	drawn   []string     // what is on the terminal
	width   int          // of the terminal when they were drawn
	pending bytes.Buffer // written and not shown yet
	stop    chan struct{}
	stopped chan struct{}
}

// How often the lines are drawn at most, and the least size that makes sense of them.
const (
	redraw    = 100 * time.Millisecond
	minWidth  = 20
	minHeight = 4
)

// synchronised output shows all of a change at once; terminals that do not know it ignore it.
const (
	beginFrame = "\x1b[?2026h"
	endFrame   = "\x1b[?2026l"
)

// Write shows text above the lines, with the next drawing; at once when there are none. The rest of an unfinished line waits for
// its end.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines == nil {
		return s.out.Write(p)
	}
	return s.pending.Write(p)
}

// fits says whether a line is shown in one row.
func (s *screen) fits(line string) bool {
	width, _ := s.size()
	return width == 0 || ansi.StringWidth(line) <= width
}

// begin draws lines from now on until end.
func (s *screen) begin(lines func(width, height int) []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines, s.stop, s.stopped = lines, make(chan struct{}), make(chan struct{})
	s.draw()
	go s.redraw(s.stop, s.stopped)
}

func (s *screen) redraw(stop, stopped chan struct{}) {
	defer close(stopped)
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.mu.Lock()
			s.draw()
			s.mu.Unlock()
		}
	}
}

// end takes the lines away and shows what was written meanwhile.
func (s *screen) end() {
	close(s.stop)
	<-s.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = nil
	var b strings.Builder
	s.erase(&b, s.width)
	b.Write(s.pending.Bytes())
	s.pending.Reset()
	io.WriteString(s.out, b.String())
}

// echoed says that the terminal has shown an ENTER by itself: the lines are one row further up now.
func (s *screen) echoed() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.drawn) > 0 {
		s.drawn = append(s.drawn, "")
	}
}

// draw brings the terminal up to date with one write.
func (s *screen) draw() {
	width, height := s.size()
	var lines []string
	if width >= minWidth && height >= minHeight {
		lines = s.lines(width, height)
	}
	done := bytes.LastIndexByte(s.pending.Bytes(), '\n') + 1
	if done == 0 && width == s.width && slices.Equal(lines, s.drawn) {
		return
	}
	var b strings.Builder
	b.WriteString(beginFrame)
	s.erase(&b, width)
	b.Write(s.pending.Next(done))
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, width-1, "…") // a full line may or may not have wrapped
		b.WriteString(lines[i] + "\x1b[0m\r\n")
	}
	b.WriteString(endFrame)
	s.drawn, s.width = lines, width
	io.WriteString(s.out, b.String())
}

// erase takes the drawn lines off a terminal which has this width by now: one that became narrower has wrapped them.
func (s *screen) erase(b *strings.Builder, width int) {
	rows := 0
	for _, line := range s.drawn {
		rows += max(1, (ansi.StringWidth(line)+width-1)/max(1, width))
	}
	if _, height := s.size(); height > 0 {
		rows = min(rows, height-1) // what has left the screen cannot be reached
	}
	s.drawn = nil
	if rows > 0 {
		fmt.Fprintf(b, "\x1b[%dA\r\x1b[J", rows)
	}
}
