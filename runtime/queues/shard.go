package queues

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Shard brings records to one function in their order: a batch that fails is tried again before the next, as Lambda does
// for Kinesis and DynamoDB streams.
type Shard struct {
	Batch  int           // records at once; 0: 100
	Window time.Duration // how long a batch is collected
	// Retries is how often a batch is tried again; less than 0: until its records are too old.
	Retries int
	MaxAge  time.Duration // of a record; 0: a day
	Bisect  bool          // a batch that failed is split in two
	// Wanted is false for a record that the filter leaves out.
	Wanted func(Message) bool
	// Invoke runs the function; failed are the ids of those that failed: the first of them and all after it come again.
	Invoke func(ctx context.Context, batch []Message) (failed []string, err error)
	// Again is how long a batch that failed waits, given how often it was tried.
	Again func(tried int) time.Duration
	// Discarded takes what is given up; nil: nobody wants to know.
	Discarded func(batch []Message)
	// Done takes each record that is dealt with, given up ones too; nil: nobody wants to know.
	Done func(Message)
	// Log, when given, keeps records, so that none is lost when the process ends; Put is for others beside them.
	Log    Log
	Failed func(err error) // takes what a Log could not do; nil: nobody wants to know

	running sync.Mutex // one Run at a time

	mu      sync.Mutex // guards what follows
	records []Message
	wake    chan struct{}
	last    int64
	read    string // how far the log was read; "": not yet
	saved   string // how far it is known to be dealt with
}

// Log keeps the records of a shard and how far its function came. A record names its place in Message.Position; places
// of one log are texts that ascend.
type Log interface {
	// Begin is the place after which the function goes on.
	Begin() (after string, err error)
	Read(after string, limit int) ([]Message, error)
	// Reached keeps that all up to a place is dealt with.
	Reached(position string) error
}

func (s *Shard) failed(err error) {
	if err != nil && s.Failed != nil {
		s.Failed(err)
	}
}

// Put appends a record.
func (s *Shard) Put(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Sent = time.Now()
	s.append(m)
	s.stir()
}

func (s *Shard) append(m Message) {
	s.last++
	m.Sequence = s.last
	s.records = append(s.records, m)
}

// Wake says that there is more in the log.
func (s *Shard) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stir()
}

// stir wakes Run; mu is held.
func (s *Shard) stir() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// Run delivers until ctx ends. What it has not dealt with by then the next Run begins with.
func (s *Shard) Run(ctx context.Context) {
	s.running.Lock()
	defer s.running.Unlock()
	if s.Log != nil && s.read == "" {
		after, err := s.Log.Begin()
		s.failed(err)
		s.mu.Lock()
		s.read, s.saved = after, after
		s.mu.Unlock()
	}
	for ctx.Err() == nil {
		if batch := s.collect(ctx); len(batch) > 0 {
			s.deliver(ctx, batch, 0)
		}
	}
}

// fill takes from the log what fits a batch; mu is held.
func (s *Shard) fill(size int) {
	if s.Log == nil || len(s.records) >= size {
		return
	}
	more, err := s.Log.Read(s.read, size-len(s.records))
	s.failed(err)
	for _, m := range more {
		s.append(m)
		s.read = m.Position
	}
}

// reached keeps how far the log is dealt with; mu is held.
func (s *Shard) reached(position string) {
	if s.Log != nil && position > s.saved {
		s.failed(s.Log.Reached(position))
		s.saved = position
	}
}

// back puts records back that were not dealt with.
func (s *Shard) back(batch []Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, batch...)
	slices.SortFunc(s.records, func(a, b Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
}

func (s *Shard) collect(ctx context.Context) []Message {
	size := s.Batch
	if size <= 0 {
		size = 100
	}
	var until time.Time
	for {
		s.mu.Lock()
		s.fill(size)
		if s.Wanted != nil {
			some := len(s.records) > 0
			s.records = slices.DeleteFunc(s.records, func(m Message) bool {
				unwanted := !s.Wanted(m)
				if unwanted && s.Done != nil {
					defer s.Done(m)
				}
				return unwanted
			})
			if some && len(s.records) == 0 { // nothing before them is left
				s.reached(s.read)
				s.fill(size)
				if len(s.records) > 0 {
					s.mu.Unlock()
					continue
				}
			}
		}
		if len(s.records) > 0 && until.IsZero() {
			until = time.Now().Add(s.Window)
		}
		if n := len(s.records); n >= size || n > 0 && !time.Now().Before(until) {
			n = min(n, size)
			batch := slices.Clone(s.records[:n])
			s.records = slices.Delete(s.records, 0, n)
			s.mu.Unlock()
			return batch
		}
		if s.wake == nil {
			s.wake = make(chan struct{})
		}
		wake := s.wake
		s.mu.Unlock()
		var over <-chan time.Time
		if !until.IsZero() {
			over = time.After(time.Until(until))
		}
		select {
		case <-wake:
		case <-over:
		case <-ctx.Done():
			return nil
		}
	}
}

// deliver tries a batch until it passed or is given up. tried is how often its records were in vain. What is left when ctx
// ends is put back.
func (s *Shard) deliver(ctx context.Context, batch []Message, tried int) {
	defer func() { s.back(batch) }()
	for len(batch) > 0 && ctx.Err() == nil {
		for i := range batch {
			batch[i].Received = tried + 1
		}
		failed, err := s.Invoke(ctx, batch)
		first := len(batch)
		if err != nil {
			first = 0
		} else if len(failed) > 0 {
			first = slices.IndexFunc(batch, func(m Message) bool { return slices.Contains(failed, m.ID) })
		}
		s.done(batch[:first])
		if batch = batch[first:]; len(batch) == 0 || ctx.Err() != nil {
			return
		}
		if first > 0 {
			tried = 0 // it is another batch
		}
		tried++
		age := s.MaxAge
		if age <= 0 {
			age = 24 * time.Hour
		}
		if s.Retries >= 0 && tried > s.Retries || time.Since(batch[0].Sent) > age {
			if s.Discarded != nil {
				s.Discarded(batch)
			}
			s.done(batch)
			batch = nil
			return
		}
		if s.Again != nil && !pause(ctx, s.Again(tried)) {
			return
		}
		if half := len(batch) / 2; s.Bisect && half > 0 && first == 0 {
			whole := batch
			batch = nil
			s.deliver(ctx, whole[:half:half], tried)
			s.deliver(ctx, whole[half:], tried)
			return
		}
	}
}

func (s *Shard) done(batch []Message) {
	for _, m := range batch {
		s.mu.Lock()
		s.reached(m.Position)
		s.mu.Unlock()
		if s.Done != nil {
			s.Done(m)
		}
	}
}

// pause waits; it is false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
