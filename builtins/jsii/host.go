package jsii

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed host.js
var hostJS []byte

//go:embed modules.js
var modulesJS []byte

// warm are the classes that a host loads before it is asked to, with all that they need: what nearly every app uses.
var warm = []string{
	"aws-cdk-lib.App", "aws-cdk-lib.Stack", "aws-cdk-lib.CfnOutput",
	"aws-cdk-lib.aws_lambda.Function", "aws-cdk-lib.aws_iam.Role", "aws-cdk-lib.aws_iam.PolicyStatement", "aws-cdk-lib.aws_logs.LogGroup",
}

const (
	eagerBytes     = 16 << 10 // queued operations that are sent without waiting for a Call
	stderrTail     = 8 << 10
	maxAnswerBytes = 256 << 20
	maxSynths      = 50        // of one host; each leaves some megabytes behind
	maxRSS         = 400 << 20 // bytes
	closeGrace     = 500 * time.Millisecond
)

// HostOptions says how to run the CDK.
type HostOptions struct {
	Node   Node
	Dir    string              // from Unpack
	Env    func(string) string // the environment, of which little goes on; nil: os.Getenv
	Stderr io.Writer           // what CDK code prints; nil: dropped (the last lines are kept for errors)
}

// Session is what changes from one synth to the next in the same host.
type Session struct {
	Root      string // the working folder; files outside of it are refused to CDK code. "" confines nothing
	OutDir    string // where an App that says nothing else writes its assembly
	AllowExec bool   // CDK code may start other programs
	// Callback answers a call of a method of a Callback. Operations are allowed while it runs. Its error ends the operation
	// that called.
	Callback func(ctx context.Context, call CallbackRequest) (Value, error)
}

// CallbackRequest is a method call, or a property read or write, on a Callback.
type CallbackRequest struct {
	ID     int64
	Method string // JavaScript name
	Get    bool   // a property is read
	Set    bool   // a property is written: Args has its value
	Args   []Value
	Tag    int // of the operation that caused it
}

// Host is a Node process that runs the CDK. Its methods are for one goroutine at a time, Close for any.
type Host struct {
	options HostOptions
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers chan answer   // from the process, closed when it said all
	exited  chan struct{} // closed when the process is gone
	stderr  *tail

	queueMu   sync.Mutex // guards out and outClosed
	outReady  *sync.Cond
	out       [][]byte // frames to write
	outClosed bool

	downMu sync.Mutex // guards down and closed
	down   error      // why the host is of no use any more
	closed bool

	// Owned by the goroutine that uses the host.
	session    Session
	began      bool
	ready      bool // it said hello
	frame      []byte
	ops        int
	depth      int
	seq        int64
	synths     int
	rss        int64
	marked     bool     // a static property was set: it would still be there in the next session
	catalog    *Catalog // of the session: with libraries, if it has some
	described  map[string]bool
	newStructs map[string]any
	callbacks  map[int64]*Type // what each was made as
	failed     map[int64]error // errors of callbacks by number, until the operation that they ended is reported
}

// answer is a frame of the process.
type answer struct {
	Hello *struct{ Node, CDK string }
	S     int64
	V     json.RawMessage
	E     *wireError
	CB    int64
	ID    int64
	M     string
	K     string
	A     []json.RawMessage
	Tag   int

	garbage error
}

type wireError struct {
	Tag      int
	Name     string
	Message  string
	Stack    string
	Path     string
	Code     string
	Callback int64
	Findings []Message
}

// Start starts a host and returns at once: it boots while the caller goes on. ctx is for starting only.
func Start(ctx context.Context, o HostOptions) (*Host, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if o.Env == nil {
		o.Env = os.Getenv
	}
	script, err := installScript(o.Dir, "host", hostJS)
	if err != nil {
		return nil, fmt.Errorf("start the CDK: %w", err)
	}
	modules, err := installScript(o.Dir, "modules", modulesJS)
	if err != nil {
		return nil, fmt.Errorf("start the CDK: %w", err)
	}
	config, err := json.Marshal(map[string]any{"dir": o.Dir, "modules": modules, "warm": warm})
	if err != nil {
		return nil, err
	}
	h := &Host{
		options:    o,
		cmd:        exec.Command(o.Node.Path, script, string(config)),
		answers:    make(chan answer, 16),
		exited:     make(chan struct{}),
		stderr:     &tail{next: o.Stderr},
		catalog:    Index(),
		described:  map[string]bool{},
		newStructs: map[string]any{},
		callbacks:  map[int64]*Type{},
		failed:     map[int64]error{},
	}
	h.outReady = sync.NewCond(&h.queueMu)
	h.cmd.Dir = o.Dir
	h.cmd.Env = nodeEnv(o.Env)
	h.cmd.Stderr = h.stderr
	h.cmd.WaitDelay = closeGrace // a grandchild may hold the pipes
	ownGroup(h.cmd)
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the CDK: %w", err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the CDK: %w", err)
	}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the CDK with %s: %w", o.Node.Path, err)
	}
	go h.read(stdout)
	go h.write()
	return h, nil
}

// installScript writes a program of ours beside the CDK, once, and gives its name.
func installScript(dir, name string, data []byte) (string, error) {
	sum := sha256.Sum256(data)
	file := filepath.Join(dir, name+"-"+hex.EncodeToString(sum[:6])+".js")
	if info, err := os.Stat(file); err == nil && info.Size() == int64(len(data)) {
		return file, nil
	}
	temp, err := os.CreateTemp(dir, name+"-*.tmp")
	if err != nil {
		return "", err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(data); err != nil {
		temp.Close()
		return "", err
	}
	if err := temp.Close(); err != nil {
		return "", err
	}
	return file, os.Rename(temp.Name(), file)
}

// read takes frames until the process has closed its end, and then sees it off.
func (h *Host) read(stdout io.Reader) {
	in := bufio.NewReaderSize(stdout, 64<<10)
	for {
		line, err := readLine(in, maxAnswerBytes)
		if err != nil {
			if err != io.EOF {
				h.answers <- answer{garbage: err}
			}
			break
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			h.answers <- answer{garbage: fmt.Errorf("it said %.200q", line)}
			break
		}
		h.answers <- a
	}
	// It has ended, or it will not be heard of again.
	late := time.AfterFunc(closeGrace, func() { kill(h.cmd) })
	io.Copy(io.Discard, in)
	h.cmd.Wait()
	late.Stop()
	close(h.exited)
	close(h.answers)
}

func readLine(in *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case err == bufio.ErrBufferFull && len(line) < limit:
		case err == bufio.ErrBufferFull:
			return nil, fmt.Errorf("its answer has more than %d bytes", limit)
		case err == io.EOF && len(line) > 0:
			return nil, fmt.Errorf("it broke off after %.200q", line)
		default:
			return nil, io.EOF
		}
	}
}

// write sends frames one after another: a host that is busy must not make Send wait.
func (h *Host) write() {
	for {
		h.queueMu.Lock()
		for len(h.out) == 0 && !h.outClosed {
			h.outReady.Wait()
		}
		frames, closed := h.out, h.outClosed
		h.out = nil
		h.queueMu.Unlock()
		for _, f := range frames {
			if _, err := h.stdin.Write(f); err != nil {
				return // the reader finds out why
			}
		}
		if closed {
			h.stdin.Close()
			return
		}
	}
}

func (h *Host) post(frame []byte) {
	h.queueMu.Lock()
	defer h.queueMu.Unlock()
	h.out = append(h.out, frame)
	h.outReady.Signal()
}

// Begin forgets all objects and starts over for another app. It comes before the first operation.
func (h *Host) Begin(s Session) {
	h.session, h.catalog = s, Index()
	h.began = true
	h.frame, h.ops = nil, 0
	clear(h.failed)
	clear(h.callbacks)
	h.send(wireOp{kind: "begin", args: []Value{map[string]Value{"root": s.Root, "outdir": s.OutDir, "exec": s.AllowExec}}})
	h.flush(0)
}

// wireOp is an operation as host.js names it.
type wireOp struct {
	kind   string
	id     int64
	on     any // int64 or string
	member string
	args   []Value
	shape  any
	tag    int
}

// send puts an operation into the frame that is being written.
func (h *Host) send(op wireOp) error {
	start := len(h.frame)
	b := h.frame
	if h.ops > 0 {
		b = append(b, ',')
	}
	b = appendString(append(b, '['), op.kind)
	b = strconv.AppendInt(append(b, ','), op.id, 10)
	b = append(b, ',')
	if fqn, ok := op.on.(string); ok {
		b = appendString(b, fqn)
	} else {
		id, _ := op.on.(int64)
		b = strconv.AppendInt(b, id, 10)
	}
	b = appendString(append(b, ','), op.member)
	b, err := h.encodeList(append(b, ','), op.args)
	if err != nil {
		h.frame = h.frame[:start]
		return err
	}
	shape, err := json.Marshal(op.shape)
	if err != nil {
		h.frame = h.frame[:start]
		return err
	}
	b = append(append(b, ','), shape...)
	b = strconv.AppendInt(append(b, ','), int64(op.tag), 10)
	h.frame = append(b, ']')
	h.ops++
	return nil
}

// flush posts the frame; seq asks for an answer.
func (h *Host) flush(seq int64) {
	if h.ops == 0 && seq == 0 {
		return
	}
	b := make([]byte, 0, len(h.frame)+64)
	b = strconv.AppendInt(append(b, `{"d":`...), int64(h.depth), 10)
	b = strconv.AppendInt(append(b, `,"s":`...), seq, 10)
	if len(h.newStructs) > 0 {
		structs, err := json.Marshal(h.newStructs)
		if err != nil {
			panic(err) // strings and maps of them: a bug of ours
		}
		b = append(append(b, `,"t":`...), structs...)
		clear(h.newStructs)
	}
	b = append(append(b, `,"ops":[`...), h.frame...)
	b = append(b, "]}\n"...)
	h.frame, h.ops = h.frame[:0], 0
	h.post(b)
}

// Send queues an operation. Its error comes with the next Call, Flush or Synth; what was sent after it is not done then.
func (h *Host) Send(op Op) {
	w, err := h.wire(op, false)
	if err == nil {
		err = h.send(w)
	}
	if err != nil {
		// What cannot be written fails where it would have been done, so that errors keep their order.
		h.send(wireOp{kind: "fail", args: []Value{err.Error()}, tag: op.Tag})
	}
	if len(h.frame) >= eagerBytes {
		h.flush(0)
	}
}

// Call sends what is queued and then op, and waits for its result.
func (h *Host) Call(ctx context.Context, op Op) (Value, error) {
	w, err := h.wire(op, true)
	if err == nil {
		err = h.send(w)
	}
	if err != nil {
		if earlier := h.Flush(ctx); earlier != nil {
			return nil, earlier
		}
		return nil, &Error{Tag: op.Tag, Name: "Error", Message: err.Error()}
	}
	raw, err := h.sync(ctx)
	if err != nil {
		return nil, err
	}
	v, err := decodeValue(h.catalog, raw, op.Returns)
	if err != nil {
		return nil, h.fail("gave an answer that makes no sense", err)
	}
	return v, nil
}

// Flush sends what is queued and waits until it is done.
func (h *Host) Flush(ctx context.Context) error {
	_, err := h.sync(ctx)
	return err
}

// sync posts the frame and waits for its answer, serving callbacks in between.
func (h *Host) sync(ctx context.Context) (json.RawMessage, error) {
	if err := h.dead(); err != nil {
		return nil, err
	}
	h.seq++
	seq := h.seq
	h.flush(seq)
	for {
		var a answer
		var ok bool
		select {
		case a, ok = <-h.answers:
		case <-ctx.Done():
			return nil, h.fail(noAnswer, context.Cause(ctx))
		}
		switch {
		case !ok:
			return nil, h.fail("ended", h.exitError())
		case a.garbage != nil:
			return nil, h.fail("gave an answer that makes no sense", a.garbage)
		case a.Hello != nil && !h.ready:
			if a.Hello.CDK != CDKVersion {
				return nil, h.fail("runs another CDK", fmt.Errorf("version %s, want %s", a.Hello.CDK, CDKVersion))
			}
			h.ready = true
		case a.CB != 0:
			if err := h.callback(ctx, a); err != nil {
				return nil, err
			}
		case a.S != seq:
			return nil, h.fail("gave an answer that makes no sense", fmt.Errorf("to question %d, when asked %d", a.S, seq))
		case a.E != nil:
			return nil, h.exception(a.E)
		default:
			return a.V, nil
		}
	}
}

// callback runs Go's side of a call from CDK code and posts its result.
func (h *Host) callback(ctx context.Context, a answer) error {
	outerFrame, outerOps := h.frame, h.ops
	h.frame, h.ops = nil, 0
	h.depth++
	v, err := h.answerCallback(ctx, a)
	if down := h.dead(); down != nil {
		return down
	}
	h.flush(0)
	var data []byte
	if err == nil {
		data, err = h.encodeValue(nil, v)
	}
	b := strconv.AppendInt([]byte(`{"d":`), int64(h.depth), 10)
	b = strconv.AppendInt(append(b, `,"cb":`...), a.CB, 10)
	if len(h.newStructs) > 0 { // the result described some
		structs, _ := json.Marshal(h.newStructs)
		b = append(append(b, `,"t":`...), structs...)
		clear(h.newStructs)
	}
	if err != nil {
		h.failed[a.CB] = err
		b = appendString(append(b, `,"e":`...), err.Error())
	} else {
		b = append(append(b, `,"v":`...), data...)
	}
	h.post(append(b, "}\n"...))
	h.depth--
	h.frame, h.ops = outerFrame, outerOps
	return nil
}

func (h *Host) answerCallback(ctx context.Context, a answer) (Value, error) {
	if h.session.Callback == nil {
		return nil, errors.New("nobody answers callbacks")
	}
	call := CallbackRequest{ID: a.ID, Method: a.M, Get: a.K == "get", Set: a.K == "set", Tag: a.Tag}
	var params []Parameter
	if t := h.callbacks[a.ID]; t != nil {
		if m, ok := t.FieldJS(a.M); ok {
			params = m.Params
		}
	}
	for i, raw := range a.A {
		declared := TypeRef{Kind: Any}
		if i < len(params) {
			declared = params[i].Type
		}
		v, err := decodeValue(h.catalog, raw, declared)
		if err != nil {
			return nil, err
		}
		call.Args = append(call.Args, v)
	}
	return h.session.Callback(ctx, call)
}

// exception makes the error of a JavaScript exception.
func (h *Host) exception(e *wireError) error {
	if e.Code == "MODULE_NOT_FOUND" || e.Name == "SyntaxError" {
		forget(h.options.Dir)
	}
	err := &Error{Tag: e.Tag, Name: e.Name, Message: e.Message, JSStack: e.Stack, Path: e.Path, Messages: e.Findings, Callback: h.failed[e.Callback]}
	clear(h.failed)
	return err
}

// Synth synthesizes an App that a Create made, into its own outdir, else that of the session.
func (h *Host) Synth(ctx context.Context, app int64, tag int) (*SynthReply, error) {
	h.synths++
	if err := h.send(wireOp{kind: "synth", on: app, shape: "j", tag: tag}); err != nil {
		return nil, err
	}
	raw, err := h.sync(ctx)
	if err != nil {
		return nil, err
	}
	var reply struct {
		SynthReply
		RSS int64
	}
	if err := json.Unmarshal(raw, &reply); err != nil {
		return nil, h.fail("gave an answer that makes no sense", err)
	}
	h.rss = reply.RSS
	sort.Slice(reply.Files, func(i, j int) bool { return reply.Files[i].Name < reply.Files[j].Name })
	return &reply.SynthReply, nil
}

// Use makes the classes of libraries known for this session.
func (h *Host) Use(dir string, libraries []Library) error {
	h.catalog = Index().With(libraries)
	maps.DeleteFunc(h.described, func(fqn string, _ bool) bool { return h.catalog.library(fqn) != nil }) // perhaps of another version
	names := make([]Value, len(libraries))
	for i, l := range libraries {
		names[i] = l.Name
	}
	return h.send(wireOp{kind: "libraries", args: []Value{map[string]Value{"dir": dir, "names": names}}})
}

// Missing gives the lookups of the session that had no answer, in the order in which they were asked.
func (h *Host) Missing(ctx context.Context) ([]Missing, error) {
	if err := h.send(wireOp{kind: "missing", shape: "j"}); err != nil {
		return nil, err
	}
	raw, err := h.sync(ctx)
	if err != nil {
		return nil, err
	}
	var list []Missing
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, h.fail("gave an answer that makes no sense", err)
	}
	return list, nil
}

// Worn says whether it is time to replace the host: the CDK keeps some memory of each synth.
func (h *Host) Worn() bool {
	return h.Spoiled() || h.synths >= maxSynths || h.rss > maxRSS
}

// Spoiled says whether the next session must not have this host: it has ended, or something of the last one is still in it.
func (h *Host) Spoiled() bool { return h.marked || h.dead() != nil }

// Synths is the number of synths so far.
func (h *Host) Synths() int { return h.synths }

// Memory is the resident size in bytes after the last synth.
func (h *Host) Memory() int64 { return h.rss }

// PID is the number of the process.
func (h *Host) PID() int { return h.cmd.Process.Pid }

// fail ends the process and says why. The first reason stays.
func (h *Host) fail(problem string, cause error) error {
	if err := h.dead(); err != nil {
		return err
	}
	kill(h.cmd)
	h.shut()
	h.drain() // until the process is gone and stderr is complete
	if !errors.Is(cause, context.Canceled) {
		forgetModules(h.options.Dir)
	}
	if h.stderr.mentions("MODULE_NOT_FOUND", "SyntaxError", "Cannot find module") {
		forget(h.options.Dir)
	}
	h.downMu.Lock()
	defer h.downMu.Unlock()
	if h.down == nil {
		h.down = &HostError{Problem: problem, Stderr: h.stderr.String(), Err: cause}
	}
	return h.down
}

// Down says how the process failed, nil when it did not.
func (h *Host) Down() *HostError {
	h.downMu.Lock()
	defer h.downMu.Unlock()
	down, _ := h.down.(*HostError)
	return down
}

func (h *Host) dead() error {
	h.downMu.Lock()
	defer h.downMu.Unlock()
	return h.down
}

// exitError says how the process ended. The reader has seen it end.
func (h *Host) exitError() error {
	if h.cmd.ProcessState != nil {
		return errors.New(h.cmd.ProcessState.String())
	}
	return errors.New("no reason known")
}

// shut stops the writer.
func (h *Host) shut() {
	h.queueMu.Lock()
	defer h.queueMu.Unlock()
	h.outClosed = true
	h.outReady.Signal()
}

// drain lets the reader finish.
func (h *Host) drain() {
	for range h.answers {
	}
}

// Close ends the process and all it started.
func (h *Host) Close() error {
	h.downMu.Lock()
	if h.closed {
		h.downMu.Unlock()
		<-h.exited
		return nil
	}
	h.closed = true
	if h.down == nil {
		h.down = &HostError{Problem: "is closed", Err: os.ErrClosed}
	}
	h.downMu.Unlock()
	h.shut() // end of input: it leaves by itself when it is idle
	go h.drain()
	select {
	case <-h.exited:
	case <-time.After(closeGrace):
	}
	kill(h.cmd) // also what it started and left behind
	<-h.exited
	return nil
}

// tail keeps the end of what is written to it, and passes it on.
type tail struct {
	next io.Writer

	mu   sync.Mutex // guards data
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	t.data = append(t.data, p...)
	if extra := len(t.data) - stderrTail; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	t.mu.Unlock()
	if t.next != nil {
		t.next.Write(p) // whoever cannot take it does not stop the CDK
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.data))
}

func (t *tail) mentions(words ...string) bool {
	s := t.String()
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}
