package queues

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Mapping polls a queue for one function, as an event source mapping of Lambda does.
type Mapping struct {
	Queue       *Queue
	Batch       int           // messages at once; 0: 10
	Window      time.Duration // how long a batch is collected
	Concurrency int           // batches at once; 0: 5, as Lambda begins with
	// Wanted is false for a message that the filter leaves out: it is deleted unseen. nil: all are wanted.
	Wanted func(Message) bool
	// Invoke runs the function. failed are the ids of those that failed, when the function says; an error is all of them.
	Invoke func(ctx context.Context, batch []Message) (failed []string, err error)
	// Again is how long a message that failed is hidden, given how often it was received; nil leaves it hidden for the
	// rest of the queue's visibility.
	Again func(received int) time.Duration
	// Done takes each message that is dealt with; nil: nobody wants to know.
	Done func(Message)
	// Hold says whether messages under way stay hidden however long the function takes, as while somebody debugs it; nil: never.
	Hold func() bool
}

// Run polls until ctx ends, and then waits for batches under way.
func (m *Mapping) Run(ctx context.Context) {
	concurrency, batch := m.Concurrency, m.Batch
	if concurrency <= 0 {
		concurrency = 5
	}
	if batch <= 0 {
		batch = 10
	}
	turns := make(chan struct{}, concurrency)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		got := m.collect(ctx, batch)
		if len(got) == 0 {
			<-turns
			if ctx.Err() != nil {
				return
			}
			continue
		}
		running.Go(func() {
			m.deliver(ctx, got)
			<-turns
		})
	}
}

// collect gives a batch: what is there, and with a window what comes until it is over or the batch is full.
func (m *Mapping) collect(ctx context.Context, batch int) []Received {
	var all []Received
	take := func(wait time.Duration) {
		for _, r := range m.Queue.Receive(ctx, batch-len(all), wait, 0) {
			if m.Wanted != nil && !m.Wanted(r.Message) {
				m.finish(r)
				continue
			}
			all = append(all, r)
		}
	}
	take(20 * time.Second)
	for until := time.Now().Add(m.Window); len(all) > 0 && len(all) < batch; {
		left := time.Until(until)
		if left <= 0 || ctx.Err() != nil {
			break
		}
		take(left)
	}
	return all
}

func (m *Mapping) finish(r Received) {
	if m.Queue.Delete(r.Receipt) == nil && m.Done != nil {
		m.Done(r.Message)
	}
}

func (m *Mapping) deliver(ctx context.Context, got []Received) {
	messages := make([]Message, len(got))
	for i, r := range got {
		messages[i] = r.Message
	}
	release := m.hold(got)
	failed, err := m.Invoke(ctx, messages)
	release()
	blocked := map[string]bool{} // groups with a message that failed: what follows it comes again too
	for _, r := range got {
		if err == nil && !slices.Contains(failed, r.ID) && !blocked[r.Group] {
			m.finish(r)
			continue
		}
		if m.Queue.opts.FIFO {
			blocked[r.Group] = true
		}
		if m.Again != nil {
			m.Queue.Hide(r.Receipt, m.Again(r.Received))
		}
	}
}

// hold keeps messages hidden as long as Hold wants, until release.
func (m *Mapping) hold(got []Received) (release func()) {
	if m.Hold == nil {
		return func() {}
	}
	visibility := m.Queue.opts.Visibility
	tick := time.NewTicker(visibility / 4)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-tick.C:
				if m.Hold() {
					for _, r := range got {
						m.Queue.Hide(r.Receipt, visibility) // one that is visible again has been given away
					}
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		tick.Stop()
		close(done)
		<-ended
	}
}

// ErrFailures says that a function's list of failures makes no sense: the whole batch has failed then.
var ErrFailures = errors.New("batchItemFailures makes no sense")

// ItemFailures reads the ids of the items that failed off a function's answer. Nothing said is none; a list that names
// something else than items of the batch is an error, and all of them have failed.
func ItemFailures(answer []byte, batch []Message, id func(Message) string) ([]string, error) {
	var shape struct {
		Failures json.RawMessage `json:"batchItemFailures"`
	}
	if json.Unmarshal(answer, &shape) != nil || len(shape.Failures) == 0 || string(shape.Failures) == "null" {
		return nil, nil
	}
	var failures []map[string]any
	if json.Unmarshal(shape.Failures, &failures) != nil {
		return nil, fmt.Errorf("%w: want a list of {\"itemIdentifier\": ...}", ErrFailures)
	}
	var failed []string
	for _, each := range failures {
		name, _ := each["itemIdentifier"].(string)
		i := slices.IndexFunc(batch, func(m Message) bool { return id(m) == name })
		if name == "" || i < 0 {
			return nil, fmt.Errorf("%w: the batch has no item %q", ErrFailures, fmt.Sprint(each["itemIdentifier"]))
		}
		failed = append(failed, batch[i].ID)
	}
	return failed, nil
}
