// Package cloud answers the calls of an app's code to AWS on this machine: one loopback endpoint that the AWS SDKs take
// by AWS_ENDPOINT_URL. It owns the wire protocols of the services, what they keep (objects, parameters, secrets, messages)
// and who may do what. It leaves queues and the way of events to functions to its owner (Network), and tables to a handler
// that is mounted (Options.Services).
//
// It is not an emulator of AWS: there is what code of an app calls, for the resources that the templates make. Everything
// else is answered 501, and said.
//
// Start from Cloud, App and Network.
package cloud

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"sst/runtime/queues"
)

// Network is where messages go. A source is named as "<stack>/<logical id>"; "" is the default event bus.
type Network interface {
	// Queue gives a queue of the app; nil when there is none.
	Queue(source string) *queues.Queue
	// Deliver brings a message to what consumes a topic, bus or bucket.
	Deliver(source string, m queues.Message)
	// Wake says that a stream has records that its consumers have not read.
	Wake(source string)
}

// Options are those of a Cloud.
type Options struct {
	Dir     string // where its data is kept
	Network Network
	// Lambda answers the Invoke API.
	Lambda http.Handler
	// Services answer those that are not of this package, by the name in the signature's scope.
	Services map[string]http.Handler
	// Parameter gives the value of a secret that `sst secrets` keeps, by the parameter's name; nil: there are none.
	Parameter func(ctx context.Context, name string) (value string, ok bool, err error)
	Say       func(text string) // to people
	NoIAM     bool              // everyone may do everything
}

// Resource is one that a template makes.
type Resource struct {
	Type       string // of CloudFormation
	ID         string // as people know it: "work/Uploads"
	Source     string // "<stack>/<logical id>"
	Name       string
	ARN        string
	Properties map[string]any // without intrinsics; one that cannot be known here is missing
}

// Caller is a function: its credentials and what its role allows.
type Caller struct {
	ID       string // "web/Export"
	Name     string
	Key      string // access key id
	Secret   string
	Role     string // name
	Policies []Policy
	// Unread are parts of the role that are not evaluated here: what it may do cannot be known, so it may do everything.
	Unread []string
}

// App is what there is to be called and by whom. It never changes; Update puts another in its place.
type App struct {
	Region    string
	Account   string
	Resources []Resource
	Callers   []Caller

	names   map[string]*Resource // type and name
	arns    map[string]*Resource
	callers map[string]*Caller // by key
}

func (a *App) named(kind, name string) *Resource { return a.names[kind+"\n"+name] }

// Cloud is the endpoint. Make it with Open.
type Cloud struct {
	opts    Options
	url     string
	server  *http.Server
	db      *bbolt.DB
	app     atomic.Pointer[App]
	objects *objects
	s3      http.Handler

	mu     sync.Mutex // guards what follows
	said   map[string]bool
	purged map[string]time.Time // queues, when they were
}

// Open takes the folder of the data and listens on a port of this machine. There are no resources before Update.
func Open(opts Options) (*Cloud, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, err
	}
	c := &Cloud{opts: opts, said: map[string]bool{}, purged: map[string]time.Time{}}
	c.app.Store(&App{})
	// Not synced: what was written is with the system when a call is answered, and outlives this process, however it ends.
	db, err := bbolt.Open(filepath.Join(opts.Dir, "cloud.db"), 0o600, &bbolt.Options{Timeout: 2 * time.Second, NoSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("open the data of the local cloud in %s: %w; sst start --reset begins anew", opts.Dir, err)
	}
	c.db = db
	if c.objects, err = openObjects(c, filepath.Join(opts.Dir, "objects")); err != nil {
		db.Close()
		return nil, err
	}
	c.s3 = c.objects.handler()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open the port of the local cloud: %w", err)
	}
	c.url = "http://" + l.Addr().String()
	c.server = &http.Server{Handler: c, ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols)}
	c.server.Protocols.SetHTTP1(true)
	c.server.Protocols.SetUnencryptedHTTP2(true) // the SDK for JavaScript speaks it to Kinesis
	go c.server.Serve(l)
	return c, nil
}

// URL is the endpoint, without a slash at the end.
func (c *Cloud) URL() string { return c.url }

// Update serves the resources of an app from now on. What the ones before kept stays.
func (c *Cloud) Update(app *App) error {
	app.names, app.arns, app.callers = map[string]*Resource{}, map[string]*Resource{}, map[string]*Caller{}
	for i := range app.Resources {
		r := &app.Resources[i]
		app.names[r.Type+"\n"+r.Name] = r
		app.arns[r.ARN] = r
	}
	for i := range app.Callers {
		app.callers[app.Callers[i].Key] = &app.Callers[i]
	}
	c.app.Store(app)
	return nil
}

// Close ends the endpoint; requests under way are cut.
func (c *Cloud) Close() error {
	c.server.Close()
	return c.db.Close()
}

// once says something to people the first time only.
func (c *Cloud) once(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.mu.Lock()
	again := c.said[text]
	c.said[text] = true
	c.mu.Unlock()
	if !again && c.opts.Say != nil {
		c.opts.Say(text)
	}
}

// Keep keeps a value of the owner's by kind and name; a nil one is forgotten.
func (c *Cloud) Keep(kind, name string, value any) error {
	if value == nil {
		return c.forget("owner/"+kind, name)
	}
	return c.keep("owner/"+kind, name, value)
}

// Kept reads a value that Keep has kept.
func (c *Cloud) Kept(kind, name string, value any) (ok bool, err error) {
	return c.kept("owner/"+kind, name, value)
}

// KeptNames are the names of those of a kind.
func (c *Cloud) KeptNames(kind string) ([]string, error) { return c.keptNames("owner/" + kind) }

// Journal keeps the messages of a queue.
func (c *Cloud) Journal(source string) queues.Journal {
	return &journal{c.db, []byte("queue/" + source)}
}
