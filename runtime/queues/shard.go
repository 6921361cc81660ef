package queues

import (
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

	mu      sync.Mutex // guards what follows
	records []Message
	wake    chan struct{}
	last    int64
}

// Put appends a record.
func (s *Shard) Put(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	m.Sequence, m.Sent = s.last, time.Now()
	s.records = append(s.records, m)
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// Run delivers until ctx ends.
func (s *Shard) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if batch := s.collect(ctx); len(batch) > 0 {
			s.deliver(ctx, batch, 0)
		}
	}
}

func (s *Shard) collect(ctx context.Context) []Message {
	size := s.Batch
	if size <= 0 {
		size = 100
	}
	var until time.Time
	for {
		s.mu.Lock()
		if s.Wanted != nil {
			s.records = slices.DeleteFunc(s.records, func(m Message) bool {
				unwanted := !s.Wanted(m)
				if unwanted && s.Done != nil {
					defer s.Done(m)
				}
				return unwanted
			})
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

// deliver tries a batch until it passed or is given up. tried is how often its records were in vain.
func (s *Shard) deliver(ctx context.Context, batch []Message, tried int) {
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
			return
		}
		if s.Again != nil && !pause(ctx, s.Again(tried)) {
			return
		}
		if half := len(batch) / 2; s.Bisect && half > 0 && first == 0 {
			s.deliver(ctx, batch[:half:half], tried)
			s.deliver(ctx, batch[half:], tried)
			return
		}
	}
}

func (s *Shard) done(batch []Message) {
	if s.Done != nil {
		for _, m := range batch {
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
