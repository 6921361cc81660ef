package runtime

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	maxLine = 256 << 10 // bytes; a longer line comes in pieces

	// What a worker may print before lines are left out: bursts of this size, refilled each second.
	floodLines = 5_000
	floodBytes = 4 << 20
)

// output turns what a worker prints into lines, each tagged with the invocation that ran when it was printed. A
// process writes before it answers, so at the answer the pipes are drained and everything read belongs to it.
type output struct {
	pipes [2]*pipeReader // stdout, stderr
	open  [2]*os.File
	line  func(tag *call, stderr bool, line string)
	ended sync.WaitGroup
	quiet map[string]bool // lines that are left out: what Node says of its debugger

	mu      sync.Mutex // guards what follows; taken inside a pipe's own
	tag     *call      // nil between invocations
	partial [2][]byte
	lines   int // left in this second
	bytes   int
	refill  time.Time
	dropped int
}

// openOutput makes the pipes; the files are for the process and closed with started.
func openOutput(line func(tag *call, stderr bool, line string)) (o *output, stdout, stderr *os.File, err error) {
	o = &output{line: line}
	var writers [2]*os.File
	for i := range o.pipes {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, nil, fmt.Errorf("open the output of a worker: %w", err)
		}
		o.open[i], writers[i] = r, w
		o.pipes[i] = &pipeReader{f: r, take: func(data []byte) { o.write(i, data) }}
	}
	return o, writers[0], writers[1], nil
}

// started begins to read; the process has its ends now.
func (o *output) started() {
	for i := range o.pipes {
		o.ended.Add(1)
		go func() {
			defer o.ended.Done()
			o.pipes[i].run()
		}()
	}
}

// close reads what is left and ends. A descendant that keeps the pipe open is not waited for.
func (o *output) close() {
	done := make(chan struct{})
	go func() { o.ended.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(50 * time.Millisecond):
	}
	o.flush()
	for _, f := range o.open {
		f.Close()
	}
}

// attribute says whose lines those printed from now on are.
func (o *output) attribute(tag *call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tag = tag
}

// flush takes all that was printed so far, unfinished lines too.
func (o *output) flush() {
	for _, p := range o.pipes {
		p.drain()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.partial {
		if len(o.partial[i]) > 0 {
			o.emit(i, o.partial[i])
			o.partial[i] = nil
		}
	}
	if o.dropped > 0 {
		o.line(o.tag, false, fmt.Sprintf("... %d lines left out: too many at once", o.dropped))
		o.dropped = 0
	}
}

func (o *output) write(stream int, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(data) > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			o.partial[stream] = append(o.partial[stream], data...)
			if len(o.partial[stream]) >= maxLine {
				o.emit(stream, o.partial[stream])
				o.partial[stream] = o.partial[stream][:0]
			}
			return
		}
		if len(o.partial[stream]) > 0 {
			o.emit(stream, append(o.partial[stream], data[:i]...))
			o.partial[stream] = o.partial[stream][:0]
		} else {
			o.emit(stream, data[:i])
		}
		data = data[i+1:]
	}
}

// emit passes one line on, unless there were too many; mu is held.
func (o *output) emit(stream int, line []byte) {
	if o.quiet[string(line)] {
		return
	}
	if now := time.Now(); now.Sub(o.refill) >= time.Second {
		o.refill, o.lines, o.bytes = now, floodLines, floodBytes
	}
	if o.lines <= 0 || o.bytes < len(line) {
		o.dropped++
		return
	}
	o.lines--
	o.bytes -= len(line)
	o.line(o.tag, stream == 1, string(bytes.TrimSuffix(line, []byte("\r"))))
}
