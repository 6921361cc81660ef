// Package dynamo is DynamoDB for an app that runs before there is an AWS account: tables on an embedded store, and the JSON
// protocol that the AWS SDKs speak to them.
//
// A Store owns the data of one folder. Start from Open, Ensure (a table as a template declares it) and ServeHTTP, which answers
// DynamoDB_20120810 and DynamoDBStreams_20120810. It looks at no signature and no policy: whoever mounts it has done so before.
//
// A write that was answered is on the disk: writers that come at one time share one transaction and one sync of the file
// (commit.go), and a transaction is seen in full or not at all, also after a kill.
package dynamo

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Options of a Store.
type Options struct {
	Dir     string // holds dynamo.db; made when it is missing
	Region  string
	Account string
	Now     func() time.Time // nil: time.Now

	// OnChange is told of each change of a table that has a stream, once it is on the disk, in the order of the changes. All
	// writes wait for it to return. A change that was stored in the instant before a kill may not have been told: Records
	// reads those after a known sequence number.
	OnChange func(table string, record StreamRecord)

	Logger *slog.Logger // nil: silent

	Sweep time.Duration // how often expired items are looked for; 0: a second
}

// A Store is an http.Handler; all methods may be called at one time.
type Store struct {
	options Options
	db      *bolt.DB
	jobs    chan *job
	closing chan struct{}
	workers sync.WaitGroup
	once    sync.Once

	mu     sync.RWMutex
	tables map[string]*table // replaced, never changed, by the committer

	tokens map[string]remembered // the committer's own
}

// The buckets of the file. Those of items, indexes and streams are named by these letters and the id of their table.
var (
	metaBucket   = []byte("tables") // name -> table as JSON
	countsBucket = []byte("counts") // id -> number of items, bytes
)

const formatKey, formatVersion = "\x00format", "1"

// Open opens or makes the store in a folder. One process has it at a time.
func Open(options Options) (*Store, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Sweep == 0 {
		options.Sweep = time.Second
	}
	if options.Region == "" {
		options.Region = "us-east-1"
	}
	if options.Account == "" {
		options.Account = "000000000000"
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open local tables: %w", err)
	}
	file := filepath.Join(options.Dir, "dynamo.db")
	db, err := bolt.Open(file, 0o600, &bolt.Options{Timeout: 3 * time.Second, FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("open local tables in %s: %w", file, err)
	}
	s := &Store{options: options, db: db, jobs: make(chan *job, 256), closing: make(chan struct{}), tables: map[string]*table{}, tokens: map[string]remembered{}}
	if err := s.load(); err != nil {
		db.Close()
		return nil, fmt.Errorf("open local tables in %s: %w", file, err)
	}
	s.workers.Add(2)
	go s.commit()
	go s.sweep()
	return s, nil
}

func (s *Store) load() error {
	return s.db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucketIfNotExists(countsBucket); err != nil {
			return err
		}
		switch got := string(meta.Get([]byte(formatKey))); got {
		case formatVersion:
		case "":
			if err := meta.Put([]byte(formatKey), []byte(formatVersion)); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the data has format %s, this version reads %s: empty it with sst start --reset", got, formatVersion)
		}
		return meta.ForEach(func(name, data []byte) error {
			if string(name) == formatKey {
				return nil
			}
			t := new(table)
			if err := json.Unmarshal(data, t); err != nil {
				return fmt.Errorf("table %s: %w", name, err)
			}
			s.tables[t.Spec.TableName] = t
			return nil
		})
	})
}

// Close waits for the writes at hand.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.closing) })
	s.workers.Wait()
	return s.db.Close()
}

// Reset empties all tables; they stay.
func (s *Store) Reset() error {
	return s.write(func(tx *bolt.Tx, out *changes) error {
		for _, name := range sorted(s.snapshot()) {
			t := s.lookup(name)
			fresh := *t
			fresh.ID = newID()
			if fresh.StreamLabel != "" {
				fresh.StreamLabel = s.label()
			}
			if err := dropBuckets(tx, t); err != nil {
				return err
			}
			if err := makeBuckets(tx, &fresh); err != nil {
				return err
			}
			if err := out.save(tx, &fresh); err != nil {
				return err
			}
		}
		return nil
	})
}

// snapshot is the set of tables as it is now; it must not be changed.
func (s *Store) snapshot() map[string]*table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tables
}

func (s *Store) lookup(name string) *table { return s.snapshot()[name] }

// A job is one write on its way to the disk.
type job struct {
	do   func(*bolt.Tx, *changes) error
	err  error
	done chan struct{}
}

// changes is what a transaction leaves outside of the file once it is on the disk.
type changes struct {
	records []told
	tables  map[string]*table // nil: deleted
	tokens  map[string]remembered
}

type told struct {
	table  string
	record StreamRecord
}

// write runs do in a transaction that it may share with others, and returns when that is on the disk. do answers an *apiError
// before it changes anything; with any other error all of the transaction is undone.
func (s *Store) write(do func(*bolt.Tx, *changes) error) error {
	j := &job{do: do, done: make(chan struct{})}
	select {
	case s.jobs <- j:
	case <-s.closing:
		return errClosing
	}
	select {
	case <-j.done:
		return j.err
	case <-s.closing:
		s.workers.Wait()
		select {
		case <-j.done:
			return j.err
		default:
			return errClosing
		}
	}
}

const maxGroup = 256

// commit takes what is waiting into one transaction: the more writers, the fewer syncs for each.
func (s *Store) commit() {
	defer s.workers.Done()
	for {
		var group []*job
		select {
		case j := <-s.jobs:
			group = append(group, j)
		case <-s.closing:
			return
		}
		for len(group) < maxGroup {
			select {
			case j := <-s.jobs:
				group = append(group, j)
				continue
			default:
			}
			break
		}
		s.commitGroup(group)
	}
}

func (s *Store) commitGroup(group []*job) {
	before := s.snapshot()
	out := &changes{tables: map[string]*table{}, tokens: map[string]remembered{}}
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, j := range group {
			j.err = j.do(tx, out)
			if _, refused := j.err.(*apiError); j.err != nil && !refused {
				return j.err
			}
			s.apply(out)
		}
		return nil
	})
	if err != nil {
		s.mu.Lock()
		s.tables = before
		s.mu.Unlock()
		s.options.Logger.Error("local DynamoDB: a write is lost", "error", err)
		for _, j := range group {
			j.err = fmt.Errorf("store: %w", err)
		}
	} else {
		maps.Copy(s.tokens, out.tokens) // of what was undone, a second try must run
		for _, t := range out.records {
			if s.options.OnChange != nil {
				s.options.OnChange(t.table, t.record)
			}
		}
	}
	for _, j := range group {
		close(j.done)
	}
}

// apply lets the jobs that follow see the tables that one made.
func (s *Store) apply(out *changes) {
	if len(out.tables) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[string]*table, len(s.tables)+1)
	for name, t := range s.tables {
		next[name] = t
	}
	for name, t := range out.tables {
		if t == nil {
			delete(next, name)
		} else {
			next[name] = t
		}
	}
	s.tables, out.tables = next, map[string]*table{}
}

func (out *changes) save(tx *bolt.Tx, t *table) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	out.tables[t.Spec.TableName] = t
	return tx.Bucket(metaBucket).Put([]byte(t.Spec.TableName), data)
}

// store writes the item that follows old, keeps indexes, counts and stream in step. nil is no item.
func (s *Store) store(tx *bolt.Tx, out *changes, t *table, old, item Item, by *UserIdentity) error {
	some := item
	if some == nil {
		some = old
	}
	if some == nil {
		return nil
	}
	key := t.key(some)
	items := tx.Bucket(t.bucket())
	var err error
	if item == nil {
		err = items.Delete(key)
	} else {
		err = items.Put(key, encodeItem(item))
	}
	if err != nil {
		return err
	}
	for _, index := range t.Spec.indexes() {
		before, after := index.entry(old, key), index.entry(item, key)
		if slices.Equal(before, after) {
			continue
		}
		entries := tx.Bucket(t.indexBucket(index.IndexName))
		if before != nil {
			if err := entries.Delete(before); err != nil {
				return err
			}
		}
		if after != nil {
			if err := entries.Put(after, key); err != nil {
				return err
			}
		}
	}
	if err := count(tx, t, old, item); err != nil {
		return err
	}
	return s.record(tx, out, t, old, item, by)
}

func count(tx *bolt.Tx, t *table, old, item Item) error {
	items, bytes := counts(tx, t)
	if old != nil {
		items, bytes = items-1, bytes-int64(old.size())
	}
	if item != nil {
		items, bytes = items+1, bytes+int64(item.size())
	}
	data := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(items)), uint64(bytes))
	return tx.Bucket(countsBucket).Put([]byte(t.ID), data)
}

func counts(tx *bolt.Tx, t *table) (items, bytes int64) {
	data := tx.Bucket(countsBucket).Get([]byte(t.ID))
	if len(data) != 16 {
		return 0, 0
	}
	return int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint64(data[8:]))
}

// get reads one item; nil when there is none.
func get(tx *bolt.Tx, t *table, key []byte) (Item, error) {
	bucket := tx.Bucket(t.bucket())
	if bucket == nil {
		return nil, notFound()
	}
	data := bucket.Get(key)
	if data == nil {
		return nil, nil
	}
	item, _, err := decodeItem(data)
	return item, err
}
