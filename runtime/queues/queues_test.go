package queues

import (
	"context"
	"errors"
	"fmt"
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
