package queues

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func ids(got []Received) string {
	var all []string
	for _, r := range got {
		all = append(all, r.ID)
	}
	return strings.Join(all, " ")
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead, expired []string
		q := NewQueue(QueueOptions{Visibility: 10 * time.Second, MaxReceive: 2, Retention: time.Hour,
			DeadLetter: func(m Message) { dead = append(dead, m.ID) }, Expired: func(m Message) { expired = append(expired, m.ID) }})
		q.Send(Message{ID: "a"}, 0)
		q.Send(Message{ID: "late"}, 5*time.Second)
		first := q.Receive(t.Context(), 10, 0, 0)
		if ids(first) != "a" || first[0].Received != 1 {
			t.Errorf("received %+v", first)
		}
		if v, h, d := q.Counts(); v != 0 || h != 1 || d != 1 {
			t.Errorf("counts = %d %d %d", v, h, d)
		}
		if got := q.Receive(t.Context(), 10, 20*time.Second, 0); ids(got) != "late" || q.Delete(got[0].Receipt) != nil {
			t.Errorf("after the delay: %+v", got)
		}
		began := time.Now()
		second := q.Receive(t.Context(), 10, 20*time.Second, 0)
		if ids(second) != "a" || second[0].Received != 2 || time.Since(began) != 5*time.Second {
			t.Errorf("after the visibility: %+v, %v", second, time.Since(began))
		}
		if err := q.Delete(first[0].Receipt); !errors.Is(err, ErrReceipt) {
			t.Errorf("an old receipt: %v", err)
		}
		if got := q.Receive(t.Context(), 10, 20*time.Second, 0); len(got) != 0 || !slices.Equal(dead, []string{"a"}) {
			t.Errorf("third time: %+v, dead %v", got, dead)
		}
		q.Send(Message{ID: "old"}, 0)
		time.Sleep(2 * time.Hour)
		if got := q.Receive(t.Context(), 10, 0, 0); len(got) != 0 || !slices.Equal(expired, []string{"old"}) {
			t.Errorf("after the retention: %+v, %v", got, expired)
		}
	})
}

func TestFIFO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue(QueueOptions{FIFO: true, Visibility: 10 * time.Second})
		for _, id := range []string{"a1", "a2", "b1", "a3"} {
			q.Send(Message{ID: id, Group: id[:1], Dedup: id}, 0)
		}
		if _, taken, _ := q.Send(Message{ID: "again", Group: "a", Dedup: "a1"}, 0); taken {
			t.Error("a duplicate was taken")
		}
		first := q.Receive(t.Context(), 1, 0, 0)
		if got := q.Receive(t.Context(), 10, 0, 0); ids(first) != "a1" || ids(got) != "b1" {
			t.Errorf("while a1 is under way: %s, then %s", ids(first), ids(got))
		}
		q.Hide(first[0].Receipt, time.Second)
		time.Sleep(time.Second)
		if got := q.Receive(t.Context(), 10, 0, 0); ids(got) != "a1 a2 a3" {
			t.Errorf("the group in order: %s", ids(got))
		}
		time.Sleep(dedupTime)
		if _, taken, _ := q.Send(Message{ID: "again", Group: "c", Dedup: "a1"}, 0); !taken {
			t.Error("no duplicate any more after five minutes")
		}
	})
}

// TestQueueAtRandom lets a few thousand calls in any order run against what a queue promises: of a group messages come in
// order and none while one before it is hidden, a receipt deletes once, and in the end each message was had.
func TestQueueAtRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, fifo := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			q := NewQueue(QueueOptions{FIFO: fifo, Visibility: 10 * time.Second})
			type held struct {
				Received
				until time.Time
			}
			var under []held
			groupOf, deleted := map[string][]int64{}, map[string]bool{}
			sent := 0
			step := func(drain bool) {
				switch n := r.IntN(10); {
				case n < 3 && !drain:
					sent++
					m, _, _ := q.Send(Message{ID: fmt.Sprint(sent), Group: fmt.Sprint("g", r.IntN(4)), Dedup: fmt.Sprint(sent)}, 0)
					groupOf[m.Group] = append(groupOf[m.Group], m.Sequence)
				case n < 6:
					now := time.Now()
					under = slices.DeleteFunc(under, func(h held) bool { return !now.Before(h.until) })
					for _, got := range q.Receive(t.Context(), 1+r.IntN(5), 0, 0) {
						if deleted[got.ID] || slices.ContainsFunc(under, func(h held) bool { return h.ID == got.ID }) {
							t.Fatalf("%s came again", got.ID)
						}
						if fifo && !slices.ContainsFunc(under, func(h held) bool { return h.Group == got.Group && h.Sequence >= got.Sequence }) {
							if first := groupOf[got.Group]; !slices.ContainsFunc(under, func(h held) bool { return h.Group == got.Group }) && first[0] != got.Sequence {
								t.Fatalf("%s came before %d of its group", got.ID, first[0])
							}
						} else if fifo {
							t.Fatalf("%s came while one behind it is hidden", got.ID)
						}
						under = append(under, held{got, now.Add(10 * time.Second)})
					}
				case n < 8 && len(under) > 0:
					i := r.IntN(len(under))
					h := under[i]
					under = slices.Delete(under, i, i+1)
					if err := q.Delete(h.Receipt); err != nil {
						t.Fatal(err)
					}
					if err := q.Delete(h.Receipt); !errors.Is(err, ErrReceipt) {
						t.Fatalf("deleted twice: %v", err)
					}
					deleted[h.ID] = true
					groupOf[h.Group] = slices.DeleteFunc(groupOf[h.Group], func(n int64) bool { return n == h.Sequence })
				case n == 8 && len(under) > 0:
					h := &under[r.IntN(len(under))]
					d := time.Duration(r.IntN(20)) * time.Second
					if err := q.Hide(h.Receipt, d); (err == nil) != time.Now().Before(h.until) {
						t.Fatalf("hide: %v", err)
					} else if err == nil {
						h.until = time.Now().Add(d)
					}
				default:
					time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				}
				now := time.Now()
				under = slices.DeleteFunc(under, func(h held) bool { return !now.Before(h.until) })
				if v, hidden, d := q.Counts(); hidden != len(under) || d != 0 || v != sent-len(deleted)-len(under) {
					t.Fatalf("counts = %d %d %d; sent %d, deleted %d, under way %d", v, hidden, d, sent, len(deleted), len(under))
				}
			}
			for range 3000 {
				step(false)
			}
			for i := 0; len(deleted) < sent; i++ {
				if i > 100000 {
					t.Fatalf("%d of %d were never had", sent-len(deleted), sent)
				}
				step(true)
			}
			if len(q.receipts)+len(q.groups)+len(q.turns)+q.waiting.Len()+q.sent.Len() != 0 {
				t.Errorf("something is left: %d receipts, %d groups, %d turns, %d waiting", len(q.receipts), len(q.groups), len(q.turns), q.waiting.Len())
			}
		})
	}
}

// BenchmarkBacklog sends, receives and deletes with 100,000 messages in the queue: what waits must cost nothing.
func BenchmarkBacklog(b *testing.B) {
	for _, backlog := range []int{0, 100_000} {
		b.Run(fmt.Sprint(backlog), func(b *testing.B) {
			q := NewQueue(QueueOptions{})
			for i := range backlog {
				q.Send(Message{ID: fmt.Sprint("old", i)}, 0)
			}
			n := 0
			for b.Loop() {
				n++
				q.Send(Message{ID: fmt.Sprint(n)}, 0)
				for _, got := range q.Receive(b.Context(), 1, 0, 0) {
					q.Delete(got.Receipt)
				}
			}
		})
	}
}

// TestMapping has the second message fail twice, so that it is dead after two times, and the others pass.
func TestMapping(t *testing.T) {
	for _, fifo := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var mu sync.Mutex
			var batches []string
			var dead, done []string
			q := NewQueue(QueueOptions{FIFO: fifo, MaxReceive: 2, Visibility: time.Minute, DeadLetter: func(m Message) { dead = append(dead, m.ID) }})
			m := &Mapping{Queue: q, Batch: 3, Window: 2 * time.Second, Concurrency: 1,
				Wanted: func(m Message) bool { return m.ID != "skip" },
				Again:  func(received int) time.Duration { return time.Duration(received) * time.Second },
				Done:   func(m Message) { mu.Lock(); done = append(done, m.ID); mu.Unlock() },
				Invoke: func(_ context.Context, batch []Message) ([]string, error) {
					var text string
					var failed []string
					for _, m := range batch {
						text += m.ID
						if m.ID == "2" {
							failed = append(failed, m.ID)
						}
					}
					batches = append(batches, text)
					return failed, nil
				}}
			for _, id := range []string{"1", "skip", "2", "3"} {
				q.Send(Message{ID: id, Group: "g", Dedup: id}, 0)
			}
			ended := make(chan struct{})
			go func() { m.Run(ctx); close(ended) }()
			time.Sleep(10 * time.Minute)
			cancel()
			<-ended
			want := "[123 2]" // the second time 2 is alone
			if fifo {
				want = "[12 23 3]" // 3 waits for those of its group, and comes again with 2
			}
			if fmt.Sprint(batches) != want || !slices.Contains(dead, "2") || !slices.Contains(done, "1") || !slices.Contains(done, "skip") {
				t.Errorf("fifo %v: batches %v, dead %v, done %v; want %s", fifo, batches, dead, done, want)
			}
		})
	}
}

func TestShard(t *testing.T) {
	for _, test := range []struct {
		bisect  bool
		partial bool
		want    string
	}{
		{false, false, "[abcd abcd abcd] given up [abcd]"},
		{true, false, "[abcd ab cd c d] given up [d]"},
		{false, true, "[abcd d d] given up [d]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			text := func(batch []Message) (s string) {
				for _, m := range batch {
					s += m.ID
				}
				return s
			}
			var batches, given []string
			s := &Shard{Batch: 4, Window: time.Second, Retries: 2, Bisect: test.bisect,
				Again:     func(int) time.Duration { return time.Second },
				Discarded: func(batch []Message) { given = append(given, text(batch)) },
				Invoke: func(_ context.Context, batch []Message) ([]string, error) {
					batches = append(batches, text(batch))
					switch {
					case !strings.Contains(text(batch), "d"):
						return nil, nil
					case test.partial:
						return []string{"d"}, nil
					}
					return nil, errors.New("no")
				}}
			for _, id := range []string{"a", "b", "c", "d"} {
				s.Put(Message{ID: id})
			}
			ended := make(chan struct{})
			go func() { s.Run(ctx); close(ended) }()
			time.Sleep(time.Minute)
			cancel()
			<-ended
			if got := fmt.Sprint(batches, " given up ", given); got != test.want {
				t.Errorf("bisect %v, partial %v: %s, want %s", test.bisect, test.partial, got, test.want)
			}
		})
	}
}

func TestItemFailures(t *testing.T) {
	batch := []Message{{ID: "m1"}, {ID: "m2"}}
	for answer, want := range map[string]string{
		``: "[]", `null`: "[]", `{}`: "[]", `"done"`: "[]", `{"batchItemFailures":null}`: "[]", `{"batchItemFailures":[]}`: "[]",
		`{"batchItemFailures":[{"itemIdentifier":"m2"}]}`:    "[m2]",
		`{"batchItemFailures":[{"itemIdentifier":"other"}]}`: "error", `{"batchItemFailures":[{"itemIdentifier":""}]}`: "error",
		`{"batchItemFailures":[{}]}`: "error", `{"batchItemFailures":"m1"}`: "error",
	} {
		got, err := ItemFailures([]byte(answer), batch, func(m Message) string { return m.ID })
		text := fmt.Sprint(got)
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("%s = %s, want %s", answer, text, want)
		}
	}
}

func TestPattern(t *testing.T) {
	const event = `{"source":"shop","detail":{"n":5,"big":9007199254740993,"name":"Anna","tags":["x","y"],"nothing":null,"ip":"10.0.0.7","items":[{"id":1},{"id":2}],"ok":true}}`
	for pattern, want := range map[string]bool{
		`{"source":["shop"]}`:                                             true,
		`{"source":["other"]}`:                                            false,
		`{"source":["shop"],"detail":{"tags":["y"]}}`:                     true,
		`{"detail":{"n":[5.0]}}`:                                          true,
		`{"detail":{"big":[9007199254740992]}}`:                           false,
		`{"detail":{"ok":[true],"nothing":[null]}}`:                       true,
		`{"detail":{"name":[{"prefix":"An"}]}}`:                           true,
		`{"detail":{"name":[{"prefix":{"equals-ignore-case":"an"}}]}}`:    true,
		`{"detail":{"name":[{"suffix":"x"}]}}`:                            false,
		`{"detail":{"name":[{"equals-ignore-case":"ANNA"}]}}`:             true,
		`{"detail":{"name":[{"wildcard":"A*n*a"}]}}`:                      true,
		`{"detail":{"name":[{"wildcard":"A*b"}]}}`:                        false,
		`{"detail":{"name":[{"anything-but":["Bob","Anna"]}]}}`:           false,
		`{"detail":{"name":[{"anything-but":{"prefix":"B"}}]}}`:           true,
		`{"detail":{"n":[{"numeric":[">",0,"<=",5]}]}}`:                   true,
		`{"detail":{"n":[{"numeric":["<",5]}]}}`:                          false,
		`{"detail":{"ip":[{"cidr":"10.0.0.0/24"}]}}`:                      true,
		`{"detail":{"missing":[{"exists":false}],"n":[{"exists":true}]}}`: true,
		`{"detail":{"n":[{"exists":false}]}}`:                             false,
		`{"detail":{"items":{"id":[2]}}}`:                                 true,
		`{"$or":[{"source":["other"]},{"detail":{"n":[5]}}]}`:             true,
		`{"detail":{"missing":["x"]}}`:                                    false,
	} {
		p, err := ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.MatchesJSON([]byte(event)); got != want {
			t.Errorf("%s = %v, want %v", pattern, got, want)
		}
	}
	for _, bad := range []string{`{"a":"x"}`, `{"a":[{"like":"x"}]}`, `[]`} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// TestHeldMessages has a function that takes three times as long as the queue hides its message, held in between.
func TestHeldMessages(t *testing.T) {
	for _, hold := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			q := NewQueue(QueueOptions{Visibility: 10 * time.Second, Retention: time.Hour})
			ctx, end := context.WithCancel(t.Context())
			var mu sync.Mutex
			times := 0
			m := &Mapping{Queue: q, Concurrency: 2, Hold: func() bool { return hold }, Invoke: func(context.Context, []Message) ([]string, error) {
				mu.Lock()
				times++
				mu.Unlock()
				time.Sleep(30 * time.Second)
				return nil, nil
			}}
			done := make(chan struct{})
			go func() { m.Run(ctx); close(done) }()
			q.Send(Message{ID: "a"}, 0)
			time.Sleep(time.Minute)
			end()
			<-done
			if again := times > 1; again == hold {
				t.Errorf("held %v: delivered %d times", hold, times)
			}
			if visible, hidden, _ := q.Counts(); hold && visible+hidden > 0 {
				t.Errorf("left: %d visible, %d hidden", visible, hidden)
			}
		})
	}
}
