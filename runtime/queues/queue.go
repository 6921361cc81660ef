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
	Value any    // the owner's

	Sent     time.Time
	First    time.Time // received the first time
	Received int       // how often, with the present one
	Sequence int64     // in the queue, ascending
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
	dedup    map[string]time.Time
	wake     chan struct{} // closed and replaced when a message may have become visible
	closed   bool
}

type entry struct {
	Message
	visible time.Time // from then on
	receipt string    // "" while it is visible and was not received
	hidden  bool      // received, not deleted, not visible again yet
}

// NewQueue makes an empty queue.
func NewQueue(opts QueueOptions) *Queue {
	if opts.Visibility <= 0 {
		opts.Visibility = 30 * time.Second
	}
	if opts.Retention <= 0 {
		opts.Retention = 4 * 24 * time.Hour
	}
	return &Queue{opts: opts, dedup: map[string]time.Time{}, wake: make(chan struct{})}
}

// Send takes a message; it can be received once delay has passed. It is false when a FIFO queue has it already.
func (q *Queue) Send(m Message, delay time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.opts.FIFO && m.Dedup != "" {
		for id, at := range q.dedup {
			if now.Sub(at) >= dedupTime {
				delete(q.dedup, id)
			}
		}
		if _, again := q.dedup[m.Dedup]; again {
			return false
		}
		q.dedup[m.Dedup] = now
	}
	q.sequence++
	m.Sequence, m.Sent, m.Received, m.First = q.sequence, now, 0, time.Time{}
	q.entries = append(q.entries, &entry{Message: m, visible: now.Add(delay)})
	q.stir()
	return true
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
	}
	for _, m := range expired {
		if q.opts.Expired != nil {
			q.opts.Expired(m)
		}
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
}
