// Package queues brings messages to functions the way SQS, Kinesis and DynamoDB streams do, inside one process: queues
// with visibility, dead letters and order within groups; mappings that poll them in batches; shards whose batches are
// tried again until they pass. It knows neither functions nor the forms of events: its owner gives it funcs.
//
// Start from Queue, Mapping and Shard.
package queues

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Message is one message of a queue or record of a shard. The owner of the queue may read it; fields are set by Send and
// Receive.
type Message struct {
	ID    string
	Body  []byte
	Group string // of a FIFO queue: one message of a group is under way at a time, in order
	Dedup string // of a FIFO queue: one that was sent within five minutes is not taken again; "" is always taken
	Value any    // the owner's; it is not kept by a Journal

	Attributes map[string]Attribute
	Subject    string // of a topic's message

	Sent     time.Time
	First    time.Time // received the first time
	Received int       // how often, with the present one
	Sequence int64     // in the queue, ascending
}

// Attribute is an attribute of a message: its type as SQS names it, and its value as text (base64 of a Binary one).
type Attribute struct{ Kind, Text string }

// Kept is a message as a Journal keeps it.
type Kept struct {
	Message
	Visible time.Time // from then on
}

// Journal keeps what a queue holds, so that it is there after a restart. It is called with the queue locked: for one queue
// in order.
type Journal interface {
	// Load gives what was kept, in order of sending.
	Load() ([]Kept, error)
	Save(Kept) error
	Drop(sequence int64) error
	Clear() error
}

// QueueOptions are those of one queue; the zero value is a standard queue as SQS makes it.
type QueueOptions struct {
	FIFO       bool
	Visibility time.Duration // how long a message that was received is hidden; 0: 30 seconds
	Retention  time.Duration // 0: 4 days
	// MaxReceive is how often a message is received before it goes to DeadLetter; 0: there are no dead letters.
	MaxReceive int
	DeadLetter func(Message)
	// Expired takes what was never deleted within the retention; nil: nobody wants to know.
	Expired func(Message)
	Journal Journal         // nil: messages end with the process
	Failed  func(err error) // takes what a Journal could not do when nobody else is told; nil: nobody wants to know
}

const dedupTime = 5 * time.Minute

// ErrReceipt says that a receipt is not that of the last time its message was received, or that the message is gone.
var ErrReceipt = errors.New("the receipt is not valid any more")

// Queue holds messages. Its funcs may be called from any goroutine; those in its options are called without locks.
type Queue struct {
	opts QueueOptions

	mu       sync.Mutex // guards what follows
	entries  []*entry   // in order of sending
	sequence int64
	dedup    map[string]Message // by Dedup, as they were sent
	wake     chan struct{}      // closed and replaced when a message may have become visible
	closed   bool
}

type entry struct {
	Message
	visible time.Time // from then on
	receipt string    // "" while it is visible and was not received
	hidden  bool      // received, not deleted, not visible again yet
}

// NewQueue makes a queue with what its Journal kept.
func NewQueue(opts QueueOptions) *Queue {
	if opts.Visibility <= 0 {
		opts.Visibility = 30 * time.Second
	}
	if opts.Retention <= 0 {
		opts.Retention = 4 * 24 * time.Hour
	}
	q := &Queue{opts: opts, dedup: map[string]Message{}, wake: make(chan struct{})}
	if opts.Journal != nil {
		kept, err := opts.Journal.Load()
		q.failed(err)
		for _, k := range kept {
			k.Received, k.First = 0, time.Time{}
			q.entries = append(q.entries, &entry{Message: k.Message, visible: k.Visible})
			q.sequence = max(q.sequence, k.Sequence)
			if k.Dedup != "" {
				q.dedup[k.Dedup] = k.Message
			}
		}
	}
	return q
}

func (q *Queue) failed(err error) {
	if err != nil && q.opts.Failed != nil {
		q.opts.Failed(err)
	}
}

// Send takes a message and gives it as it is in the queue; it can be received once delay has passed. taken is false when
// a FIFO queue has it already: then it gives the one before.
func (q *Queue) Send(m Message, delay time.Duration) (sent Message, taken bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.opts.FIFO && m.Dedup != "" {
		for id, before := range q.dedup {
			if now.Sub(before.Sent) >= dedupTime {
				delete(q.dedup, id)
			}
		}
		if before, again := q.dedup[m.Dedup]; again {
			return before, false, nil
		}
	}
	m.Sequence, m.Sent, m.Received, m.First = q.sequence+1, now, 0, time.Time{}
	e := &entry{Message: m, visible: now.Add(delay)}
	if q.opts.Journal != nil {
		if err := q.opts.Journal.Save(Kept{e.Message, e.visible}); err != nil {
			return m, false, err
		}
	}
	q.sequence++
	if q.opts.FIFO && m.Dedup != "" {
		q.dedup[m.Dedup] = m
	}
	q.entries = append(q.entries, e)
	q.stir()
	return m, true, nil
}

// drop lets the journal forget a message.
func (q *Queue) drop(m Message) {
	if q.opts.Journal != nil {
		q.failed(q.opts.Journal.Drop(m.Sequence))
	}
}

// stir wakes those who wait for messages; mu is held.
func (q *Queue) stir() {
	close(q.wake)
	q.wake = make(chan struct{})
}

// Received is a message with what it is deleted by.
type Received struct {
	Message
	Receipt string
}

// Receive gives up to max messages, and waits up to wait for the first. visibility hides them; 0 is the queue's own.
func (q *Queue) Receive(ctx context.Context, max int, wait, visibility time.Duration) []Received {
	if visibility <= 0 {
		visibility = q.opts.Visibility
	}
	until := time.Now().Add(wait)
	for {
		got, next, wake := q.take(max, visibility)
		if len(got) > 0 || ctx.Err() != nil {
			return got
		}
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if !next.IsZero() {
			left = min(left, max0(time.Until(next)))
		}
		timer := time.NewTimer(left)
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func max0(d time.Duration) time.Duration { return max(d, time.Millisecond) }

// take gives what is visible now; next is when something will be, if nothing else happens.
func (q *Queue) take(max int, visibility time.Duration) (got []Received, next time.Time, wake chan struct{}) {
	q.mu.Lock()
	now := time.Now()
	var dead, expired []Message
	busy := map[string]bool{} // groups that wait for a message before
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool {
		if now.Sub(e.Sent) >= q.opts.Retention {
			expired = append(expired, e.Message)
			return true
		}
		if now.Before(e.visible) || q.opts.FIFO && busy[e.Group] {
			if now.Before(e.visible) && (next.IsZero() || e.visible.Before(next)) {
				next = e.visible
			}
			busy[e.Group] = true
			return false
		}
		if q.opts.MaxReceive > 0 && e.Received >= q.opts.MaxReceive {
			dead = append(dead, e.Message)
			return true
		}
		if len(got) >= max {
			busy[e.Group] = true
			return false
		}
		if e.Received++; e.Received == 1 {
			e.First = now
		}
		e.visible, e.hidden = now.Add(visibility), true
		e.receipt = e.ID + "." + strconv.Itoa(e.Received)
		got = append(got, Received{e.Message, e.receipt})
		return false
	})
	wake = q.wake
	q.mu.Unlock()
	for _, m := range dead {
		if q.opts.DeadLetter != nil {
			q.opts.DeadLetter(m)
		}
		q.drop(m) // once it is there: a message is rather twice than lost
	}
	for _, m := range expired {
		if q.opts.Expired != nil {
			q.opts.Expired(m)
		}
		q.drop(m)
	}
	return got, next, wake
}

// Delete removes a message that was received.
func (q *Queue) Delete(receipt string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.entries, func(e *entry) bool { return e.receipt == receipt && e.receipt != "" })
	if i < 0 {
		return ErrReceipt
	}
	q.drop(q.entries[i].Message)
	q.entries = slices.Delete(q.entries, i, i+1)
	q.stir() // the next of its group
	return nil
}

// Hide makes a message that was received visible again after d from now.
func (q *Queue) Hide(receipt string, d time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.entries, func(e *entry) bool { return e.receipt == receipt && e.receipt != "" })
	if i < 0 || !time.Now().Before(q.entries[i].visible) {
		return ErrReceipt
	}
	q.entries[i].visible = time.Now().Add(d)
	q.stir()
	return nil
}

// Counts says how many messages can be received, how many are under way, and how many are delayed.
func (q *Queue) Counts() (visible, hidden, delayed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, e := range q.entries {
		switch {
		case !now.Before(e.visible):
			visible++
		case e.hidden:
			hidden++
		default:
			delayed++
		}
	}
	return visible, hidden, delayed
}

// Purge removes all messages.
func (q *Queue) Purge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries = nil
	if q.opts.Journal != nil {
		q.failed(q.opts.Journal.Clear())
	}
}
