package runtime

// The local cloud: what the app's code reaches by the AWS SDKs (package cloud), fed from the templates.

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sst/cfn"
	"sst/runtime/cloud"
	"sst/runtime/dynamo"
	"sst/runtime/queues"
)

// cloudTypes are the resources that the local cloud serves.
var cloudTypes = []string{"AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::SNS::Subscription", "AWS::Events::EventBus", "AWS::S3::Bucket", "AWS::SSM::Parameter",
	"AWS::SecretsManager::Secret", "AWS::Kinesis::Stream"}

// ownFolders are in .sst/local beside the folders of the stages.
var ownFolders = []string{"assembly", "bundles", "shim"}

// dataDir is where the stage's data is kept.
func (o Options) dataDir() string { return filepath.Join(o.Dir, "local", cmp.Or(o.Stage, "dev")) }

// openCloud opens the endpoint.
func (s *Server) openCloud() error {
	dir := s.opts.dataDir()
	if slices.Contains(ownFolders, s.opts.Stage) {
		return fmt.Errorf("the stage %q cannot run here: %s has files of sst start itself; give another name with --stage", s.opts.Stage, dir)
	}
	if s.opts.Reset {
		for _, name := range []string{"cloud.db", "objects", "dynamo.db"} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	var err error
	s.cloud, err = cloud.Open(cloud.Options{
		Dir: dir, Network: cloudNetwork{s.network}, Services: map[string]http.Handler{"dynamodb": http.HandlerFunc(s.serveTables)}, Lambda: http.HandlerFunc(s.serveLambda), Parameter: s.opts.Parameter, NoIAM: s.opts.NoIAM,
		Say: func(text string) { s.events.send(Notice{Text: text}) },
	})
	return err
}

// credentials are those of a function, the same for as long as the server runs and of no use elsewhere.
func (s *Server) credentials(id string) (key, secret string) {
	made := func(what string) []byte {
		h := hmac.New(sha256.New, []byte(s.token))
		h.Write([]byte(what + "\n" + id))
		return h.Sum(nil)
	}
	return cloud.KeyPrefix + base32.StdEncoding.EncodeToString(made("key"))[:16], base64.RawStdEncoding.EncodeToString(made("secret"))[:40]
}

// updateCloud serves the resources that the templates make, and lets functions do what their roles allow.
func (s *Server) updateCloud(a *app, asm *cfn.Assembly, resolver *cfn.Resolver) error {
	found, err := resolver.Resources(cloudTypes...)
	if err != nil {
		return err
	}
	next := &cloud.App{Region: a.region, Account: accountID}
	for _, r := range found {
		source := r.Stack + "/" + r.LogicalID
		id := source
		if i := slices.IndexFunc(asm.Manifest.Sources, func(s cfn.Source) bool { return s.Name() == source }); i >= 0 {
			id = asm.Manifest.Sources[i].ID
		}
		next.Resources = append(next.Resources, cloud.Resource{Type: r.Type, ID: id, Source: source, Name: r.Name, ARN: r.ARN, Properties: r.Properties})
	}
	if err := s.updateTables(a, resolver); err != nil {
		return err
	}
	roles, err := resolver.Roles(asm.Manifest.Functions)
	if err != nil {
		return err
	}
	for _, f := range asm.Manifest.Functions {
		caller := cloud.Caller{ID: f.ID, Name: f.Name, Role: roles[f.ID].Name, Unread: roles[f.ID].Unread}
		caller.Key, caller.Secret = s.credentials(f.ID)
		for _, p := range roles[f.ID].Policies {
			caller.Policies = append(caller.Policies, cloud.Policy(p))
		}
		next.Callers = append(next.Callers, caller)
	}
	return s.cloud.Update(next)
}

// serveTables answers calls to DynamoDB. An app without tables needs no store: opening one costs time at the start.
func (s *Server) serveTables(w http.ResponseWriter, r *http.Request) {
	if store := s.tables.Load(); store != nil {
		store.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(http.StatusBadRequest)
	io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found: the app has no tables"}`)
}

// updateTables makes the tables that the templates declare. One that is not in the app any more keeps its items.
func (s *Server) updateTables(a *app, resolver *cfn.Resolver) error {
	found, err := resolver.Resources("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable")
	if err != nil || len(found) == 0 {
		return err
	}
	sources := map[string]string{} // by table
	for _, r := range found {
		sources[r.Name] = r.Stack + "/" + r.LogicalID
	}
	s.tableSources.Store(&sources)
	store := s.tables.Load()
	if store == nil {
		store, err = dynamo.Open(dynamo.Options{Dir: s.opts.dataDir(), Region: a.region, Account: accountID, Logger: s.log,
			OnChange: func(table string, _ dynamo.StreamRecord) {
				cloudNetwork{s.network}.Wake((*s.tableSources.Load())[table])
			}})
		if err != nil {
			return err
		}
		s.tables.Store(store)
	}
	for _, r := range found {
		r.Properties["TableName"] = r.Name
		data, err := json.Marshal(r.Properties)
		if err != nil {
			return err
		}
		var spec dynamo.TableSpec
		if err := json.Unmarshal(data, &spec); err != nil {
			return fmt.Errorf("table %s: %w", r.Name, err)
		}
		if err := store.Ensure(spec); err != nil {
			return err
		}
	}
	return nil
}

// tableOf gives the name of a table with a stream by its source; "" when it has none.
func (s *Server) tableOf(source string) string {
	store, sources := s.tables.Load(), s.tableSources.Load()
	if store == nil || sources == nil {
		return ""
	}
	for name, of := range *sources {
		if of == source {
			if _, err := store.Last(name); err == nil {
				return name
			}
		}
	}
	return ""
}

// cloudNetwork is the network as the local cloud sees it.
type cloudNetwork struct{ *network }

var _ cloud.Network = cloudNetwork{}

func (n cloudNetwork) Queue(source string) *queues.Queue {
	n.mu.Lock()
	defer n.mu.Unlock()
	if q := n.queues[source]; q != nil {
		return q.Queue
	}
	return nil
}

func (n cloudNetwork) Deliver(source string, m queues.Message) {
	n.mu.Lock()
	about, ok := n.wiring.sources[source]
	n.mu.Unlock()
	if !ok && source == "" {
		about, ok = cfn.Source{Type: "bus", ID: "default"}, true
	}
	if ok {
		n.deliver(about, m)
	}
}

func (n cloudNetwork) Wake(source string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, sh := range n.shards {
		if sh.trigger.Source == source {
			sh.Wake()
		}
	}
}

// streamLog is what a function reads of a stream or table, and how far it came.
type streamLog struct {
	server  *Server
	trigger cfn.Trigger
	table   string // "": it is a stream of Kinesis
}

var _ queues.Log = streamLog{}

func (l streamLog) name() string { return l.trigger.Source + "\n" + l.trigger.Function }

// Begin is where the function came to, or where a new one begins as the template says.
func (l streamLog) Begin() (string, error) {
	var last string
	var err error
	if l.table != "" {
		last, err = l.server.tables.Load().Last(l.table)
	} else {
		last, err = l.server.cloud.Last(l.trigger.Source)
	}
	if err != nil {
		return "", err
	}
	var kept string
	ok, err := l.server.cloud.Kept("positions", l.name(), &kept)
	switch {
	case err != nil:
		return "", err
	case ok:
		return min(kept, last), nil // the data may be newer than what was kept
	case l.trigger.Position == "TRIM_HORIZON":
		return "", nil
	}
	return last, l.Reached(last)
}

func (l streamLog) Read(after string, limit int) ([]queues.Message, error) {
	if l.table == "" {
		return l.server.cloud.Records(l.trigger.Source, after, limit)
	}
	records, err := l.server.tables.Load().Records(l.table, after, limit)
	if err != nil {
		return nil, err
	}
	all := make([]queues.Message, len(records))
	for i, r := range records {
		body, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		all[i] = queues.Message{ID: r.EventID, Position: r.Change.SequenceNumber, Body: body, Sent: time.Unix(r.Change.ApproximateCreationDateTime, 0)}
	}
	return all, nil
}

func (l streamLog) Reached(position string) error {
	return l.server.cloud.Keep("positions", l.name(), position)
}
