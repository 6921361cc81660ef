package cloud

import (
	"encoding/binary"
	"encoding/json"

	"go.etcd.io/bbolt"

	"sst/runtime/queues"
)

// journal keeps one queue's messages by their sequence.
type journal struct {
	db     *bbolt.DB
	bucket []byte
}

var _ queues.Journal = (*journal)(nil)

func sequenceKey(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func (j *journal) Load() (all []queues.Kept, err error) {
	err = j.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(j.bucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(_, data []byte) error {
			var k queues.Kept
			if err := json.Unmarshal(data, &k); err != nil {
				return err
			}
			all = append(all, k)
			return nil
		})
	})
	return all, err
}

func (j *journal) Save(k queues.Kept) error {
	k.Value = nil
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return j.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(j.bucket)
		if err != nil {
			return err
		}
		return b.Put(sequenceKey(k.Sequence), data)
	})
}

func (j *journal) Drop(sequence int64) error {
	return j.db.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(j.bucket); b != nil {
			return b.Delete(sequenceKey(sequence))
		}
		return nil
	})
}

func (j *journal) Clear() error {
	return j.db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket(j.bucket) == nil {
			return nil
		}
		return tx.DeleteBucket(j.bucket)
	})
}
