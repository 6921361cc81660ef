package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"sst/cfn"
	"sst/proxy"
	"sst/runtime/bundle"
	"sst/runtime/cloud"
	"sst/runtime/dynamo"
)

var errClosing = errors.New("the server is closing")

// Server is the dev server. What it serves is an immutable app that Update replaces; fronts, schedules and start.json
// belong to the goroutine that Update runs on.
type Server struct {
	opts   Options
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelCauseFunc
	lock   *flock.Flock
	token  string

	app     atomic.Pointer[app]
	calls   sync.Map // request id -> *call
	due     sync.Map // dueKey -> time a rate fires next
	events  *events
	logs    logs
	factory *factory
	codes   *codes
	runner  *runner
	pool    *pool
	debug   *inspectors
	relay   *proxy.Relay
	conn    *proxy.Conn
	control *http.Server
	lambda  string
	relayTo string
	watcher *watcher
	network *network
	cloud   *cloud.Cloud                 // nil in live mode
	tables  atomic.Pointer[dynamo.Store] // nil until an app has tables
	keyring *keyring
	answers answers // of Lambda authorizers

	socketIdle, socketLife time.Duration // what a WebSocket connection has; tests have less time

	tableSources atomic.Pointer[map[string]string] // table to "<stack>/<logical id>"

	ops     chan func() // run by the owner goroutine
	tasks   sync.WaitGroup
	closing sync.Once

	// Owned by the owner goroutine.
	resumed   bool                 // what an earlier process had promised runs
	fronts    map[string]*apiFront // by Api ID
	schedules func()               // ends them
}

// Open takes the project's folder for this process, starts the relay and the control port, and writes
// .sst/start.json. Functions are served after the first Update. Another running server in the folder is an error that
// names its process.
func Open(ctx context.Context, opts Options) (s *Server, err error) {
	if opts.Dir == "" {
		opts.Dir = filepath.Join(opts.Root, ".sst")
	}
	if opts.Region == "" {
		opts.Region = "us-east-1"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.MaxWorkers <= 0 {
		opts.MaxWorkers = max(8, 2*goruntime.NumCPU())
	}
	if opts.MaxPerFunction <= 0 {
		opts.MaxPerFunction = 10
	}
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, err
	}
	s = &Server{opts: opts, log: opts.Logger, token: newToken(), ops: make(chan func()), fronts: map[string]*apiFront{},
		socketIdle: socketIdle, socketLife: socketLife}
	if s.lock, err = takeFolder(opts.Dir); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	s.app.Store(&app{functions: map[string]*function{}, names: map[string]*function{}})
	s.events = openEvents(opts.Events)
	s.network = &network{server: s, queues: map[string]*queue{}, shards: map[string]*shard{}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.keyring, err = openKeyring(opts.Root, opts.Keys, func(text string) { s.events.send(Notice{Text: text}) }); err != nil {
		return nil, err
	}
	environment := map[string]string{}
	for _, each := range opts.Environ {
		name, value, _ := strings.Cut(each, "=")
		environment[name] = value
	}
	lookup := func(name string) (string, bool) { value, ok := environment[name]; return value, ok }
	local := filepath.Join(opts.Dir, "local")
	if s.codes, err = openCodes(s.ctx, opts.Root, filepath.Join(local, "bundles"), bundle.Config{
		Root: opts.Root, Mode: bundle.Live, NodeMajor: opts.Node.Major, GoTool: opts.Go, Vendor: filepath.Join(local, "bundles", "vendor"), LookupEnv: lookup,
	}, s.events.send, s.log); err != nil {
		return nil, err
	}
	if s.factory, err = openFactory(opts, filepath.Join(local, "shim"), s.line); err != nil {
		return nil, err
	}
	s.runner = newRunner(s.factory, s.codes, &s.calls, func(id string) (*function, bool) {
		fn, ok := s.app.Load().functions[id]
		return fn, ok
	}, s.events.send)
	s.runner.secrets = opts.Secrets
	s.debug = &inspectors{factory: s.factory, emit: s.events.send, known: s.knownEnv, code: s.knownCode, told: map[string]bool{}, all: map[string]*inspector{}}
	s.runner.debug = s.debug
	s.codes.swap = func(c *code) {
		s.answers.forget()
		s.runner.refresh(c)
	}
	if opts.Live {
		s.runner.live, s.runner.max = true, opts.MaxWorkers
	}
	s.pool = newPool(opts.MaxWorkers, opts.MaxPerFunction)
	s.pool.open, s.pool.close = s.openSandbox, s.closeSandbox
	s.pool.alone = func(id string) bool { return s.debug.of(id) != nil }
	s.pool.warm = func(sb *sandbox, need *code) bool {
		return s.debug.of(sb.fn.ID) != nil || s.runner.warm(sb.id, need)
	}

	if !opts.Live {
		if err := s.openCloud(); err != nil {
			return nil, err
		}
		if err := s.listen(); err != nil {
			return nil, err
		}
		if s.conn, err = proxy.Dial(s.ctx, proxy.DialOptions{
			URL: s.relayTo, Token: s.token, Name: "local", Handler: s.runner, Logger: s.log,
		}); err != nil {
			return nil, fmt.Errorf("connect to the relay: %w", err)
		}
	}
	s.watcher = openWatcher(watcherOptions{
		root: opts.Root, skip: opts.Dir, codes: s.codes, emit: s.events.send, log: s.log,
	})
	s.codes.watch = s.watcher.refresh
	s.tasks.Add(2)
	go s.own()
	go s.reapIdle()
	if err := s.writeStart(s.app.Load()); err != nil {
		return nil, err
	}
	return s, nil
}

// own runs what changes the server's own state, one thing after another.
func (s *Server) own() {
	defer s.tasks.Done()
	for {
		select {
		case op := <-s.ops:
			op()
		case <-s.ctx.Done():
			return
		}
	}
}

// do runs op on the owner goroutine and waits for it.
func (s *Server) do(ctx context.Context, op func() error) error {
	result := make(chan error, 1)
	select {
	case s.ops <- func() { result <- op() }:
		return <-result
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return errClosing
	}
}

// listen opens the control port: the Invoke API and the relay.
func (s *Server) listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the control port: %w", err)
	}
	s.relay = proxy.NewRelay(proxy.RelayOptions{Profile: proxy.ProfileFast, Token: s.token, Logger: s.log})
	mux := http.NewServeMux()
	mux.Handle("/relay", s.relay)
	mux.HandleFunc(deliverPath, s.serveDeliver)
	mux.HandleFunc(EnvironmentPath, s.serveEnvironment)
	mux.HandleFunc(logsPath, s.serveLogs)
	mux.HandleFunc("/", s.serveLambda)
	s.lambda = "http://" + l.Addr().String()
	s.relayTo = "ws://" + l.Addr().String() + "/relay"
	s.control = &http.Server{Handler: guard(mux), ErrorLog: log.New(io.Discard, "", 0)}
	go s.control.Serve(l)
	return nil
}

// Update serves what the assembly describes from now on. Invocations under way finish as they began. Its events have
// been handed over when it returns, so it must not be called from Options.Events.
func (s *Server) Update(ctx context.Context, asm *cfn.Assembly) error {
	return s.do(ctx, func() error { return s.update(asm) })
}

func (s *Server) update(asm *cfn.Assembly) error {
	if asm.Manifest == nil {
		return fmt.Errorf("%s: sst.json is missing", asm.Dir)
	}
	changed := false
	if !s.opts.Live {
		var err error
		if changed, err = s.openFronts(asm.Manifest.Apis); err != nil { // first: functions are told their addresses
			return err
		}
	}
	var next *app
	var resolver *cfn.Resolver
	var notices []string
	if s.opts.Live {
		next = liveApp(asm.Manifest)
	} else {
		next, resolver, notices = newApp(asm, s.opts.Region, s.addressOf, s.cloud.URL(), s.credentials)
	}
	for _, text := range notices {
		s.events.send(Notice{Text: text})
	}
	gone, err := s.debug.update(next)
	if err != nil {
		return err
	}
	s.app.Store(next)
	for _, id := range gone {
		go s.runner.drop(inspectedSeat(id))
	}
	s.codes.update(next.bundles())
	for _, fn := range next.ordered {
		if fn.Bundle.Kind == bundle.Node {
			s.factory.want()
			break
		}
	}
	if !s.opts.Live {
		s.route(next)
		s.tellSigned(next.apis)
		s.reschedule(next)
		if err := s.updateCloud(next, asm, resolver); err != nil {
			return err
		}
		s.network.rewire(next, asm, resolver)
		if !s.resumed {
			s.resumed = true
			if err := s.resumeLater(next); err != nil {
				return err
			}
		}
	}
	s.pool.reap(idleTime, s.stale)
	if err := s.writeStart(next); err != nil {
		return err
	}
	if changed {
		s.events.send(Listening{Apis: s.addresses(next), Lambda: s.lambda})
	}
	s.events.flush()
	return nil
}

// tellSigned says once of an Api that signatures are not checked.
func (s *Server) tellSigned(apis []cfn.Api) {
	for _, api := range apis {
		if slices.ContainsFunc(api.Routes, func(r cfn.Route) bool { return r.Authorizer == "iam" }) {
			s.keyring.tell(api.ID + " has routes for IAM: a local request must be signed, by whom is taken as it says")
		}
	}
}

// addressOf is the URL of an Api by its resource.
func (s *Server) addressOf(apis []cfn.Api, stack, logicalID string) (string, bool) {
	for _, api := range apis {
		if front := s.fronts[api.ID]; front != nil && api.Stack == stack && api.LogicalID == logicalID {
			return front.url, true
		}
	}
	return "", false
}

// Inspect says which functions can be debugged. It is called before the first Update.
func (s *Server) Inspect(chosen Inspection) {
	s.debug.chosen = chosen
	s.codes.builder.KeepSources()
}

// Inspected gives the addresses for debuggers, by function.
func (s *Server) Inspected() []Inspected { return s.debug.list() }

// knownEnv is the environment of a function's process before an invocation says it; in AWS only the invocation knows.
func (s *Server) knownEnv(id string) map[string]string {
	var env map[string]string
	if fn := s.app.Load().functions[id]; fn != nil {
		env = fn.env
	}
	return workerEnv(s.factory.base, env, "", "", "")
}

// knownCode is a function's code as it is now, held until release.
func (s *Server) knownCode(id string) (*code, func(), error) {
	fn := s.app.Load().functions[id]
	if fn == nil {
		return nil, nil, errClosing
	}
	built, err := s.codes.get(s.ctx, fn.key)
	if err != nil {
		return nil, nil, err
	}
	return built, func() { s.codes.release(built) }, nil
}

func (s *Server) stale(fn *function) bool {
	now := s.app.Load().functions[fn.ID]
	return now == nil || !now.same(fn)
}

// Watch reports changes of these files, and of what appears in these folders, as Changed. It replaces the list of an
// earlier call.
func (s *Server) Watch(files []string) { s.watcher.watch(files) }

// Lambda is the base URL of the Invoke API, for --endpoint-url.
func (s *Server) Lambda() string { return s.lambda }

// Apis gives the addresses of the Apis.
func (s *Server) Apis() []ApiAddress {
	var all []ApiAddress
	s.do(context.Background(), func() error {
		all = s.addresses(s.app.Load())
		return nil
	})
	return all
}

// Stats counts what went over the relay.
func (s *Server) Stats() proxy.Stats { return s.relay.Stats() }

// Close ends the server: requests under way are answered with an error, every worker process is gone when it returns.
func (s *Server) Close() error {
	s.closing.Do(s.close)
	return nil
}

func (s *Server) close() {
	os.Remove(filepath.Join(s.opts.Dir, "start.json"))
	s.cancel(errClosing)
	s.tasks.Wait()
	if s.schedules != nil {
		s.schedules()
	}
	var servers sync.WaitGroup
	for _, front := range s.fronts {
		servers.Go(front.close)
	}
	if s.debug != nil {
		s.debug.close()
	}
	if s.factory != nil { // first of all: what runs in a worker ends with it
		s.factory.close()
	}
	s.network.running.Wait()
	if s.cloud != nil {
		s.cloud.Close()
	}
	if store := s.tables.Load(); store != nil {
		store.Close()
	}
	if s.pool != nil {
		s.pool.end()
	}
	if s.conn != nil {
		s.conn.Close()
	}
	if s.watcher != nil {
		s.watcher.close()
	}
	if s.codes != nil {
		s.codes.close()
	}
	servers.Wait()
	if s.relay != nil {
		s.relay.Close()
		s.control.Close()
	}
	s.events.close()
	s.lock.Unlock()
}

func (s *Server) reapIdle() {
	defer s.tasks.Done()
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.pool.reap(idleTime, s.stale)
			if s.opts.Live {
				s.runner.reap(idleTime)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Server) openSandbox(fn *function) (*sandbox, error) {
	sb := &sandbox{id: newID(), fn: fn}
	var err error
	sb.wire, err = proxy.OpenSandbox(s.ctx, proxy.SandboxOptions{
		URL: s.relayTo, Token: s.token, ID: sb.id, Init: fn.init(), Logger: s.log,
	})
	return sb, err
}

func (s *Server) closeSandbox(sb *sandbox) {
	sb.wire.Close()
	s.runner.drop(sb.id)
}

// line takes a line that a worker printed.
func (s *Server) line(c *call, stderr bool, line string) {
	event := Logged{Stderr: stderr, Line: line, Time: time.Now()}
	if c != nil {
		event.RequestID, event.Function = c.id, c.function
		if c.tail != nil {
			c.tail([]byte(line + "\n"))
		}
	}
	s.logs.add(event)
	s.events.log(event)
}

// addresses lists the Apis that are served, in the order of the app.
func (s *Server) addresses(a *app) []ApiAddress {
	var list []ApiAddress
	for _, api := range a.apis {
		if front := s.fronts[api.ID]; front != nil {
			list = append(list, ApiAddress{ID: api.ID, URL: address(api, front.url)})
		}
	}
	return list
}

// takeFolder makes sure that one server runs in a folder. A file left by a server that is gone does no harm.
func takeFolder(dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, "start.lock"))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if !ok {
		var other startFile
		if data, err := os.ReadFile(filepath.Join(dir, "start.json")); err == nil && json.Unmarshal(data, &other) == nil {
			return nil, fmt.Errorf("sst start is already running in this project (process %d); end it first", other.PID)
		}
		return nil, errors.New("sst start is already running in this project; end it first")
	}
	return lock, nil
}

// startFile is .sst/start.json: how another process finds this one.
type startFile struct {
	PID       int               `json:"pid"`
	Version   string            `json:"version,omitempty"`
	App       string            `json:"app,omitempty"`
	Stage     string            `json:"stage"`
	Mode      string            `json:"mode"`
	Token     string            `json:"token"`
	Apis      map[string]string `json:"apis"`
	Lambda    string            `json:"lambda"`
	Cloud     string            `json:"cloud,omitempty"` // base URL of the local cloud
	Functions []startFunction   `json:"functions"`
	Sources   []startSource     `json:"sources"`
	Sites     []string          `json:"sites,omitempty"`     // ids of static sites
	Schedules map[string]string `json:"schedules,omitempty"` // ids of what runs a function by the clock, with the function's
}

// startSource is something that `sst invoke` brings messages to.
type startSource struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

type startFunction struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Handler string `json:"handler"`
	Inspect string `json:"inspect,omitempty"` // where a debugger finds it, host:port
}

func (s *Server) mode() string {
	if s.opts.Live {
		return "live"
	}
	return "local"
}

// writeStart writes start.json, complete or not at all and for this user only.
func (s *Server) writeStart(a *app) error {
	file := startFile{PID: os.Getpid(), Version: s.opts.Version, App: s.opts.App, Stage: s.opts.Stage, Mode: s.mode(),
		Token: s.token, Apis: map[string]string{}, Lambda: s.lambda, Functions: []startFunction{}}
	if s.cloud != nil {
		file.Cloud = s.cloud.URL()
	}
	for _, address := range s.addresses(a) {
		file.Apis[address.ID] = address.URL
	}
	for _, fn := range a.ordered {
		one := startFunction{ID: fn.ID, Name: fn.Name, Handler: fn.Handler}
		if debug := s.debug.of(fn.ID); debug != nil && !debug.unseen {
			one.Inspect = debug.addr
		}
		file.Functions = append(file.Functions, one)
	}
	for _, site := range a.sites {
		file.Sites = append(file.Sites, site.ID)
	}
	for _, trigger := range a.triggers {
		if trigger.Type == "cron" {
			if file.Schedules == nil {
				file.Schedules = map[string]string{}
			}
			file.Schedules[trigger.ID] = trigger.Function
		}
	}
	file.Sources = append([]startSource{}, s.network.list()...)
	slices.SortFunc(file.Functions, func(a, b startFunction) int { return strings.Compare(a.ID, b.ID) })
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(s.opts.Dir, "start-*.json") // mode 0600
	if err != nil {
		return fmt.Errorf("write start.json: %w", err)
	}
	_, err = tmp.Write(append(data, '\n'))
	if err := errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write start.json: %w", err)
	}
	if err := os.Rename(tmp.Name(), filepath.Join(s.opts.Dir, "start.json")); err != nil {
		return fmt.Errorf("write start.json: %w", err)
	}
	return nil
}
