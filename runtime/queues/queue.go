// Package queues brings messages to functions the way SQS, Kinesis and DynamoDB streams do, inside one process: queues
// with visibility, dead letters and order within groups; mappings that poll them in batches; shards whose batches are
// tried again until they pass. It knows neither functions nor the forms of events: its owner gives it funcs.
//
// Start from Queue, Mapping and Shard.
package queues

import (
	"container/heap"
	"container/list"
	"context"
	"errors"
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

	Position string // in the log that it was read from; "": in none

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

// ErrVisible says that a message is not hidden any more.
var ErrVisible = errors.New("the message is visible")

// Queue holds messages. Its funcs may be called from any goroutine; those in its options are called without locks.
//
// Every message belongs to a group; in a standard queue each has one of its own. The groups that something can be received
// from are in turns, what is hidden or delayed is in waiting, so that no call looks at more messages than it takes.
type Queue struct {
	opts QueueOptions

	mu       sync.Mutex // guards what follows
	sequence int64
	sent     list.List // of *entry, in order of sending: the first is the first to be too old
	turns    turns
	waiting  line // by the time they are visible
	hidden   int  // how many of waiting were received
	receipts map[string]*entry
	groups   map[string]*group  // of a FIFO queue, by name
	dedup    map[string]Message // by Dedup, as they were sent
	order    list.List          // of the messages in dedup, in order of sending
	wake     chan struct{}      // closed and replaced when a message may have become visible
}

type entry struct {
	Message
	group   *group
	visible time.Time // from then on
	receipt string    // "" until it was received
	hidden  bool      // received, not deleted, not visible again yet
	place   *list.Element
	in      *line // the one it is in
	index   int   // there
}

// group holds messages of which the first can be received when none is hidden.
type group struct {
	name   string
	next   line // by sequence: those that are visible
	hidden int
	total  int
	index  int // in turns; -1: it is not there
}

// line is a heap of entries, each of which knows where it is.
type line struct {
	entries []*entry
	byTime  bool // rather than by sequence
}

func (l *line) Len() int { return len(l.entries) }

func (l *line) Less(i, j int) bool {
	a, b := l.entries[i], l.entries[j]
	if l.byTime && !a.visible.Equal(b.visible) {
		return a.visible.Before(b.visible)
	}
	return a.Sequence < b.Sequence
}

func (l *line) Swap(i, j int) {
	l.entries[i], l.entries[j] = l.entries[j], l.entries[i]
	l.entries[i].index, l.entries[j].index = i, j
}

func (l *line) Push(x any) {
	e := x.(*entry)
	e.in, e.index = l, len(l.entries)
	l.entries = append(l.entries, e)
}

func (l *line) Pop() any {
	last := len(l.entries) - 1
	e := l.entries[last]
	l.entries[last], l.entries = nil, l.entries[:last]
	e.in = nil
	return e
}

// turns is a heap of groups by their first message.
type turns []*group

func (t turns) Len() int { return len(t) }
func (t turns) Less(i, j int) bool {
	return t[i].next.entries[0].Sequence < t[j].next.entries[0].Sequence
}

func (t turns) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *turns) Push(x any) {
	g := x.(*group)
	g.index = len(*t)
	*t = append(*t, g)
}

func (t *turns) Pop() any {
	last := len(*t) - 1
	g := (*t)[last]
	(*t)[last], *t = nil, (*t)[:last]
	g.index = -1
	return g
}

// NewQueue makes a queue with what its Journal kept.
func NewQueue(opts QueueOptions) *Queue {
	if opts.Visibility <= 0 {
		opts.Visibility = 30 * time.Second
	}
	if opts.Retention <= 0 {
		opts.Retention = 4 * 24 * time.Hour
	}
	q := &Queue{opts: opts, waiting: line{byTime: true}, receipts: map[string]*entry{}, groups: map[string]*group{}, dedup: map[string]Message{}, wake: make(chan struct{})}
	if opts.Journal != nil {
		kept, err := opts.Journal.Load()
		q.failed(err)
		for _, k := range kept {
			k.Received, k.First = 0, time.Time{}
			q.add(k.Message, k.Visible)
			q.sequence = max(q.sequence, k.Sequence)
			q.remember(k.Message)
		}
	}
	return q
}

func (q *Queue) failed(err error) {
	if err != nil && q.opts.Failed != nil {
		q.opts.Failed(err)
	}
}

// add puts a message behind the others.
func (q *Queue) add(m Message, visible time.Time) {
	name := ""
	if q.opts.FIFO {
		name = m.Group
	}
	g := q.groups[name]
	if g == nil || !q.opts.FIFO {
		g = &group{name: name, index: -1}
		if q.opts.FIFO {
			q.groups[name] = g
		}
	}
	g.total++
	e := &entry{Message: m, group: g, visible: visible}
	e.place = q.sent.PushBack(e)
	heap.Push(&q.waiting, e)
}

// appear brings what is visible by now to its group; mu is held.
func (q *Queue) appear(now time.Time) {
	for len(q.waiting.entries) > 0 && !now.Before(q.waiting.entries[0].visible) {
		e := heap.Pop(&q.waiting).(*entry)
		q.shown(e)
		heap.Push(&e.group.next, e)
		q.turn(e.group)
	}
}

// shown notes that an entry is not hidden any more.
func (q *Queue) shown(e *entry) {
	if e.hidden {
		e.hidden = false
		e.group.hidden--
		q.hidden--
	}
}

// turn brings a group into turns, or to its place there, or out of it.
func (q *Queue) turn(g *group) {
	switch may := g.hidden == 0 && len(g.next.entries) > 0; {
	case may && g.index < 0:
		heap.Push(&q.turns, g)
	case may:
		heap.Fix(&q.turns, g.index)
	case g.index >= 0:
		// Its first entry may be gone: it is put where it can be taken out without being compared.
		last := len(q.turns) - 1
		i := g.index
		q.turns.Swap(i, last)
		q.turns.Pop()
		if i < last {
			heap.Fix(&q.turns, i)
		}
	}
}

// remove forgets an entry.
func (q *Queue) remove(e *entry) {
	q.shown(e)
	if e.in != nil {
		heap.Remove(e.in, e.index)
	}
	delete(q.receipts, e.receipt)
	q.sent.Remove(e.place)
	g := e.group
	if g.total--; g.total == 0 && q.opts.FIFO {
		delete(q.groups, g.name)
	}
	q.turn(g)
}

// remember has a message known as sent for a while.
func (q *Queue) remember(m Message) {
	if q.opts.FIFO && m.Dedup != "" {
		q.dedup[m.Dedup] = m
		q.order.PushBack(m)
	}
}

// Send takes a message and gives it as it is in the queue; it can be received once delay has passed. taken is false when
// a FIFO queue has it already: then it gives the one before.
func (q *Queue) Send(m Message, delay time.Duration) (sent Message, taken bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.opts.FIFO && m.Dedup != "" {
		for e := q.order.Front(); e != nil && now.Sub(e.Value.(Message).Sent) >= dedupTime; e = q.order.Front() {
			delete(q.dedup, e.Value.(Message).Dedup)
			q.order.Remove(e)
		}
		if before, again := q.dedup[m.Dedup]; again {
			return before, false, nil
		}
	}
	m.Sequence, m.Sent, m.Received, m.First = q.sequence+1, now, 0, time.Time{}
	visible := now.Add(delay)
	if q.opts.Journal != nil {
		if err := q.opts.Journal.Save(Kept{m, visible}); err != nil {
			return m, false, err
		}
	}
	q.sequence++
	q.remember(m)
	q.add(m, visible)
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
	for first := q.sent.Front(); first != nil && now.Sub(first.Value.(*entry).Sent) >= q.opts.Retention; first = q.sent.Front() {
		expired = append(expired, first.Value.(*entry).Message)
		q.remove(first.Value.(*entry))
	}
	q.appear(now)
	for len(got) < max && len(q.turns) > 0 {
		g := q.turns[0]
		e := g.next.entries[0]
		if q.opts.MaxReceive > 0 && e.Received >= q.opts.MaxReceive {
			dead = append(dead, e.Message)
			q.remove(e)
			continue
		}
		for len(got) < max && len(g.next.entries) > 0 { // as many of a group as there are
			e := g.next.entries[0]
			if q.opts.MaxReceive > 0 && e.Received >= q.opts.MaxReceive {
				break
			}
			heap.Pop(&g.next)
			if e.Received++; e.Received == 1 {
				e.First = now
			}
			delete(q.receipts, e.receipt)
			e.visible, e.hidden, e.receipt = now.Add(visibility), true, e.ID+"."+strconv.Itoa(e.Received)
			q.receipts[e.receipt] = e
			g.hidden++
			q.hidden++
			heap.Push(&q.waiting, e)
			got = append(got, Received{e.Message, e.receipt})
		}
		q.turn(g)
	}
	if len(q.waiting.entries) > 0 {
		next = q.waiting.entries[0].visible
	}
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
	e := q.receipts[receipt]
	if e == nil {
		return ErrReceipt
	}
	q.drop(e.Message)
	q.remove(e)
	if e.group.index >= 0 {
		q.stir() // the next of its group
	}
	return nil
}

// Hide makes a message that was received visible again after d from now.
func (q *Queue) Hide(receipt string, d time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.receipts[receipt]
	switch {
	case e == nil:
		return ErrReceipt
	case !time.Now().Before(e.visible):
		return ErrVisible
	}
	e.visible = time.Now().Add(d)
	heap.Fix(&q.waiting, e.index)
	q.stir()
	return nil
}

// Counts says how many messages can be received, how many are under way, and how many are delayed.
func (q *Queue) Counts() (visible, hidden, delayed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.appear(time.Now())
	return q.sent.Len() - len(q.waiting.entries), q.hidden, len(q.waiting.entries) - q.hidden
}

// Purge removes all messages.
func (q *Queue) Purge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent.Init()
	q.turns, q.waiting, q.hidden = nil, line{byTime: true}, 0
	q.receipts, q.groups = map[string]*entry{}, map[string]*group{}
	if q.opts.Journal != nil {
		q.failed(q.opts.Journal.Clear())
	}
}
