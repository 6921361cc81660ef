package lsp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.lsp.dev/protocol"

	"sst/builtins"
)

// Options are what the server is given. The zero value works.
type Options struct {
	Version  string // of sst, told to the editor
	Logger   *slog.Logger
	Debounce time.Duration // between an edit and its diagnostics; 0 = 100 ms
	// Alive reports whether the process that the editor named as its own still runs; nil = not looked at.
	Alive func(pid int) bool
	Poll  time.Duration // how often Alive is asked; 0 = 5 s
	// PreludeDir is a folder for read-only copies of the prelude, which definitions lead to; "" = they lead nowhere.
	PreludeDir string
	Actions    Actions
}

// Server answers one editor.
type Server struct {
	opts Options
	out  *writer

	// Only the goroutine of Serve touches these.
	initialized, shutdown bool
	client                client
	clicks                context.Context // ends with Serve: what a click began is not waited for
	endClicks             context.CancelFunc

	mu       sync.Mutex
	current  *snapshot                     // replaced at each change, never changed
	running  map[string]context.CancelFunc // by id
	answered map[string]bool               // cancelled while queued or running
	timers   map[string]*time.Timer        // by path: diagnostics to come

	queue   chan func()   // what the editor waits for
	resting chan func()   // what is done when it waits for nothing: diagnostics
	done    chan struct{} // closed when Serve ends
	workers sync.WaitGroup
	lists   completionLists
	colours map[string]coloured // by path; only the worker touches them
	asked   atomic.Int64        // requests of the server's own
	working sync.Map            // token of a progress that is shown -> context.CancelCauseFunc
}

// client is what the editor said of itself.
type client struct {
	utf8     bool
	snippets bool
	defaults bool // completion lists may have an edit range for all items
	markdown bool
	creates  bool // workspace edits may create files
	shows    bool // documents when asked to
	progress bool // that something takes its time
	pulls    bool // diagnostics, so that they are not pushed
}

// New makes a server.
func New(opts Options) *Server {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Debounce == 0 {
		opts.Debounce = 100 * time.Millisecond
	}
	if opts.Poll == 0 {
		opts.Poll = 5 * time.Second
	}
	s := &Server{
		opts: opts, current: newSnapshot(opts), running: map[string]context.CancelFunc{}, answered: map[string]bool{}, timers: map[string]*time.Timer{},
		colours: map[string]coloured{}, queue: make(chan func(), 1024), resting: make(chan func(), 1024), done: make(chan struct{}),
	}
	return s
}

// ErrNoShutdown says that the editor went away without saying goodbye.
var ErrNoShutdown = errors.New("the editor ended the connection without a shutdown request")

// errExit ends the loop of Serve.
var errExit = errors.New("exit")

// Serve answers until the editor says exit, the stream ends or ctx does. The
// error is nil only after shutdown and exit.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.out = &writer{out: out}
	s.clicks, s.endClicks = context.WithCancel(ctx)
	s.workers.Go(s.work)
	go builtins.Env() // takes longer than the editor does to open a file
	defer s.close()

	type frame struct {
		body []byte
		err  error
	}
	frames := make(chan frame)
	go func() { // ends with the stream, which may be after Serve
		r := bufio.NewReaderSize(in, 64<<10)
		for {
			body, err := readBody(r)
			select {
			case frames <- frame{body, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case f := <-frames:
			if f.err != nil {
				if s.shutdown {
					return nil
				}
				if errors.Is(f.err, errFraming) {
					return f.err
				}
				return ErrNoShutdown
			}
			if err := s.receive(ctx, cancel, f.body); err != nil {
				if s.shutdown {
					return nil
				}
				return ErrNoShutdown
			}
		}
	}
}

func (s *Server) close() {
	s.mu.Lock()
	for _, timer := range s.timers {
		timer.Stop()
	}
	if !s.shutdown { // else what was asked before is answered
		for _, cancel := range s.running {
			cancel()
		}
	}
	s.mu.Unlock()
	s.endClicks()
	close(s.done)
	s.workers.Wait()
}

// work does the jobs one after another, requests before diagnostics; of what is left at the end the requests.
func (s *Server) work() {
	for {
		select {
		case job := <-s.queue:
			job()
			continue
		default:
		}
		select {
		case job := <-s.queue:
			job()
		case job := <-s.resting:
			job()
		case <-s.done:
			for {
				select {
				case job := <-s.queue:
					job()
				default:
					return
				}
			}
		}
	}
}

// receive handles one message. The error ends the connection.
func (s *Server) receive(ctx context.Context, cancel context.CancelFunc, body []byte) error {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		s.out.reply(json.RawMessage("null"), nil, &wireError{codeParse, "not a message: " + err.Error()})
		return nil
	}
	id := m.ID
	if string(id) == "null" {
		id = nil
	}
	switch {
	case m.Method == "":
		return nil // a reply: the server asks for nothing that it waits for
	case m.Method == "exit":
		return errExit
	case id == nil:
		s.notification(ctx, cancel, m)
	default:
		m.ID = id
		s.request(ctx, cancel, m)
	}
	return nil
}

// notification is handled at once, in the order of arrival. What goes wrong is logged.
func (s *Server) notification(ctx context.Context, cancel context.CancelFunc, m message) {
	defer func() {
		if fault := recover(); fault != nil {
			s.opts.Logger.Error("notification", "method", m.Method, "fault", fault, "stack", string(debug.Stack()))
		}
	}()
	if m.Method == "$/cancelRequest" {
		var params struct {
			ID json.RawMessage `json:"id"`
		}
		if json.Unmarshal(m.Params, &params) == nil {
			s.cancel(params.ID)
		}
		return
	}
	handle := notifications[m.Method]
	if handle == nil || !s.initialized || s.shutdown {
		return
	}
	if err := handle(s, m.Params); err != nil {
		s.opts.Logger.Warn("notification", "method", m.Method, "error", err)
	}
}

// request starts a request on the snapshot of now; the reply comes from the worker.
func (s *Server) request(ctx context.Context, cancel context.CancelFunc, m message) {
	switch {
	case m.Method == "initialize" && !s.initialized:
		result, err := s.initialize(ctx, cancel, m.Params)
		s.out.reply(m.ID, result, err)
		return
	case m.Method == "initialize" || s.shutdown:
		s.out.reply(m.ID, nil, &wireError{codeInvalidRequest, m.Method + ": not now"})
		return
	case !s.initialized:
		s.out.reply(m.ID, nil, &wireError{codeNotInitialized, "not initialized"})
		return
	case m.Method == "shutdown":
		s.shutdown = true
		s.enqueue(func() { s.out.reply(m.ID, nil, nil) }) // after what was asked before
		return
	}
	handle := requests[m.Method]
	if handle == nil {
		s.out.reply(m.ID, nil, &wireError{codeMethodNotFound, "there is no method " + m.Method})
		return
	}
	call := &call{server: s, client: s.client}
	call.ctx, call.cancel = context.WithCancel(ctx)
	key := string(m.ID)
	s.mu.Lock()
	call.snapshot = s.current
	s.running[key] = call.cancel
	s.mu.Unlock()
	finish := func(result any, err error) {
		defer call.cancel()
		s.mu.Lock()
		delete(s.running, key)
		answered := s.answered[key]
		delete(s.answered, key)
		s.mu.Unlock()
		if !answered {
			s.out.reply(m.ID, result, err)
		}
	}
	s.enqueue(func() {
		if call.ctx.Err() != nil {
			finish(nil, &wireError{codeRequestCancelled, "cancelled"})
			return
		}
		result, err := call.run(handle, m)
		if wait, ok := result.(later); ok {
			s.workers.Go(func() {
				stop := context.AfterFunc(s.clicks, call.cancel)
				defer stop()
				finish(wait(call.ctx))
			})
			return
		}
		finish(result, err)
	})
}

// enqueue gives the worker a job. A full queue holds the reader up, which the editor notices as a slow pipe.
func (s *Server) enqueue(job func()) {
	select {
	case s.queue <- job:
	case <-s.done:
	}
}

// enqueueResting gives the worker a job for when nobody waits.
func (s *Server) enqueueResting(job func()) {
	select {
	case s.resting <- job:
	case <-s.done:
	}
}

// cancel answers a request at once that waits or runs.
func (s *Server) cancel(id json.RawMessage) {
	key := string(id)
	s.mu.Lock()
	stop, ok := s.running[key]
	ok = ok && !s.answered[key]
	if ok {
		s.answered[key] = true
	}
	s.mu.Unlock()
	if ok {
		stop()
		s.out.reply(id, nil, &wireError{codeRequestCancelled, "cancelled"})
	}
}

// call is one request with what it may look at.
type call struct {
	server   *Server
	client   client
	snapshot *snapshot
	ctx      context.Context
	cancel   context.CancelFunc
}

func (c *call) run(handle requestFunc, m message) (result any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			c.server.opts.Logger.Error("request", "method", m.Method, "fault", fault, "stack", string(debug.Stack()))
			result, err = nil, &wireError{codeInternal, fmt.Sprintf("%s: internal error: %v", m.Method, fault)}
		}
	}()
	return handle(c, m.Params)
}

type (
	requestFunc      func(*call, json.RawMessage) (any, error)
	notificationFunc func(*Server, json.RawMessage) error
)

// on makes a requestFunc of a method with typed parameters.
func on[P any](method func(*call, *P) (any, error)) requestFunc {
	return func(c *call, params json.RawMessage) (any, error) {
		var p P
		if err := decode(params, &p); err != nil {
			return nil, err
		}
		return method(c, &p)
	}
}

func onNotification[P any](method func(*Server, *P) error) notificationFunc {
	return func(s *Server, params json.RawMessage) error {
		var p P
		if err := decode(params, &p); err != nil {
			return err
		}
		return method(s, &p)
	}
}

// requests is the table of what can be asked.
var requests map[string]requestFunc

// notifications is the table of what can be told.
var notifications map[string]notificationFunc

func init() { // the methods look at the tables' types: not a literal, for that would be a cycle
	requests = map[string]requestFunc{
		"textDocument/completion":                on((*call).completion),
		"completionItem/resolve":                 on((*call).resolve),
		"textDocument/hover":                     on((*call).hover),
		"textDocument/signatureHelp":             on((*call).signatureHelp),
		"textDocument/definition":                on((*call).definition),
		"textDocument/references":                on((*call).references),
		"textDocument/documentHighlight":         on((*call).highlight),
		"textDocument/prepareRename":             on((*call).prepareRename),
		"textDocument/rename":                    on((*call).rename),
		"textDocument/documentSymbol":            on((*call).documentSymbol),
		"workspace/symbol":                       on((*call).workspaceSymbol),
		"textDocument/foldingRange":              on((*call).folding),
		"textDocument/semanticTokens/full":       on((*call).semanticTokens),
		"textDocument/semanticTokens/full/delta": on((*call).semanticTokensDelta),
		"textDocument/semanticTokens/range":      on((*call).semanticTokensRange),
		"textDocument/formatting":                on((*call).formatting),
		"textDocument/codeAction":                on((*call).codeAction),
		"textDocument/codeLens":                  on((*call).codeLens),
		"textDocument/diagnostic":                on((*call).pullDiagnostics),
		"textDocument/documentLink":              on((*call).documentLink),
		"textDocument/inlayHint":                 on((*call).inlayHint),
		"textDocument/selectionRange":            on((*call).selectionRange),
		"workspace/executeCommand":               on((*call).executeCommand),
	}
	notifications = map[string]notificationFunc{
		"initialized":                         func(*Server, json.RawMessage) error { return nil },
		"textDocument/didOpen":                onNotification((*Server).didOpen),
		"textDocument/didChange":              onNotification((*Server).didChange),
		"textDocument/didClose":               onNotification((*Server).didClose),
		"textDocument/didSave":                func(s *Server, _ json.RawMessage) error { s.diskChanged(); return nil },
		"workspace/didChangeWatchedFiles":     func(s *Server, _ json.RawMessage) error { s.diskChanged(); return nil },
		"window/workDoneProgress/cancel":      onNotification((*Server).giveUp),
		"workspace/didChangeConfiguration":    func(*Server, json.RawMessage) error { return nil },
		"workspace/didChangeWorkspaceFolders": func(*Server, json.RawMessage) error { return nil },
	}
}

// initialize agrees on what both sides can.
func (s *Server) initialize(ctx context.Context, cancel context.CancelFunc, raw json.RawMessage) (any, error) {
	var p protocol.InitializeParams
	if err := decode(raw, &p); err != nil {
		return nil, err
	}
	s.client = clientOf(raw)
	s.initialized = true
	s.mu.Lock()
	s.current = s.current.withFolders(folders(&p))
	s.mu.Unlock()
	if p.ProcessID != nil && *p.ProcessID > 0 {
		s.Watch(ctx, int(*p.ProcessID), cancel)
	}
	return s.capabilities(), nil
}

// Watch calls gone when a process is no more.
func (s *Server) Watch(ctx context.Context, pid int, gone func()) {
	if s.opts.Alive == nil {
		return
	}
	go func() {
		tick := time.NewTicker(s.opts.Poll)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !s.opts.Alive(pid) {
					gone()
					return
				}
			}
		}
	}()
}
