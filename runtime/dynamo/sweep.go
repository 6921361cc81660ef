package dynamo

// What happens by itself: expired items go, and records of streams after a day.

import (
	"encoding/json"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
)

// maxSweep bounds what one transaction deletes, so that other writes do not wait long.
const maxSweep = 500

// longest is how old an expiry may be: AWS keeps items whose time is more than five years past, taking it for a mistake.
const longest = 5 * 365 * 24 * time.Hour

var byTTL = &UserIdentity{Type: "Service", PrincipalID: "dynamodb.amazonaws.com"}

func (s *Store) sweep() {
	defer s.workers.Done()
	tick := time.NewTicker(s.options.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-tick.C:
		}
		for _, name := range sorted(s.snapshot()) {
			if err := s.sweepTable(name); err != nil && err != errClosing {
				if _, gone := err.(*apiError); !gone {
					s.options.Logger.Error("local DynamoDB: sweep", "table", name, "error", err)
				}
			}
		}
	}
}

func (s *Store) sweepTable(name string) error {
	t := s.lookup(name)
	if t == nil {
		return nil
	}
	var expired [][]byte
	old := 0
	err := s.db.View(func(tx *bolt.Tx) error {
		if stream := tx.Bucket(t.streamBucket()); stream != nil {
			cursor := stream.Cursor()
			for key, data := cursor.First(); key != nil && old < maxSweep && s.trimmed(data); key, data = cursor.Next() {
				old++
			}
		}
		items := tx.Bucket(t.bucket())
		if ttl := t.Spec.TimeToLiveSpecification; ttl == nil || !ttl.Enabled || items == nil {
			return nil
		}
		cursor := items.Cursor()
		for key, data := cursor.First(); key != nil && len(expired) < maxSweep; key, data = cursor.Next() {
			item, _, err := decodeItem(data)
			if err != nil {
				return err
			}
			if s.expired(t, item) {
				expired = append(expired, append([]byte{}, key...))
			}
		}
		return nil
	})
	if err != nil || len(expired) == 0 && old == 0 {
		return err
	}
	return s.write(func(tx *bolt.Tx, out *changes) error {
		now := s.lookup(name)
		if now == nil || now.ID != t.ID {
			return nil
		}
		if old > 0 {
			cursor := tx.Bucket(now.streamBucket()).Cursor()
			for key, data := cursor.First(); key != nil && old > 0 && s.trimmed(data); key, data = cursor.First() {
				if err := cursor.Delete(); err != nil {
					return err
				}
				old--
			}
		}
		for _, key := range expired {
			item, err := get(tx, now, key)
			if err != nil {
				return err
			}
			if item == nil || !s.expired(now, item) { // changed since
				continue
			}
			if err := s.store(tx, out, now, item, nil, byTTL); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) expired(t *table, item Item) bool {
	ttl := t.Spec.TimeToLiveSpecification
	if ttl == nil || !ttl.Enabled {
		return false
	}
	value := item[ttl.AttributeName]
	if value.Kind != Number {
		return false
	}
	second, err := strconv.ParseFloat(value.Text, 64)
	if err != nil {
		return false
	}
	now := float64(s.options.Now().Unix())
	return second < now && second > now-longest.Seconds()
}

func (s *Store) trimmed(data []byte) bool {
	var record struct {
		Change struct{ ApproximateCreationDateTime int64 } `json:"dynamodb"`
	}
	return json.Unmarshal(data, &record) == nil && s.options.Now().Sub(time.Unix(record.Change.ApproximateCreationDateTime, 0)) > streamLife
}
