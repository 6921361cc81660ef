package dynamo

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A StreamRecord is one change, in the shape in which functions receive it.
type StreamRecord struct {
	EventID        string        `json:"eventID"`
	EventName      string        `json:"eventName"` // INSERT, MODIFY, REMOVE
	EventVersion   string        `json:"eventVersion"`
	EventSource    string        `json:"eventSource"`
	AWSRegion      string        `json:"awsRegion"`
	Change         Change        `json:"dynamodb"`
	UserIdentity   *UserIdentity `json:"userIdentity,omitempty"`
	EventSourceARN string        `json:"eventSourceARN,omitempty"`
}

// A Change is the inside of a StreamRecord.
type Change struct {
	ApproximateCreationDateTime int64
	Keys                        Item
	NewImage                    Item `json:",omitempty"`
	OldImage                    Item `json:",omitempty"`
	SequenceNumber              string
	SizeBytes                   int
	StreamViewType              string
}

// A UserIdentity tells that DynamoDB itself made the change: the item had expired.
type UserIdentity struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
}

// streamLife is how long AWS keeps records.
const streamLife = 24 * time.Hour

const maxRecords = 1000

// shardID is that of the one shard that a stream has here.
const shardID = "shardId-00000000000000000001-local000"

// sequenceBase makes numbers of 21 digits, as long as those of AWS begin.
var sequenceBase, _ = new(big.Int).SetString("100000000000000000000", 10)

func sequenceNumber(n uint64) string {
	return new(big.Int).Add(sequenceBase, new(big.Int).SetUint64(n)).String()
}

func sequenceOf(number string) (uint64, bool) {
	value, ok := new(big.Int).SetString(number, 10)
	if !ok {
		return 0, false
	}
	if value.Sub(value, sequenceBase); !value.IsUint64() {
		return 0, false
	}
	return value.Uint64(), true
}

// record adds a change to the stream of its table. A write that changes nothing leaves no record.
func (s *Store) record(tx *bolt.Tx, out *changes, t *table, old, item Item, by *UserIdentity) error {
	view := t.Spec.stream()
	if view == "" || old != nil && item != nil && old.equal(item) {
		return nil
	}
	bucket := tx.Bucket(t.streamBucket())
	n, err := bucket.NextSequence()
	if err != nil {
		return err
	}
	some, name := item, "MODIFY"
	switch {
	case old == nil:
		name = "INSERT"
	case item == nil:
		some, name = old, "REMOVE"
	}
	keys := Item{}
	for _, key := range t.Spec.KeySchema {
		keys[key.AttributeName] = some[key.AttributeName]
	}
	record := StreamRecord{
		EventID: fmt.Sprintf("%s%08x", strings.ToLower(newID())[:24], n), EventName: name, EventVersion: "1.1", EventSource: "aws:dynamodb", AWSRegion: s.options.Region,
		Change:       Change{ApproximateCreationDateTime: s.options.Now().Unix(), Keys: keys, SequenceNumber: sequenceNumber(n), StreamViewType: view},
		UserIdentity: by, EventSourceARN: s.streamARN(t),
	}
	if view == "NEW_IMAGE" || view == "NEW_AND_OLD_IMAGES" {
		record.Change.NewImage = item
	}
	if view == "OLD_IMAGE" || view == "NEW_AND_OLD_IMAGES" {
		record.Change.OldImage = old
	}
	record.Change.SizeBytes = keys.size() + record.Change.NewImage.size() + record.Change.OldImage.size()
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	out.records = append(out.records, told{t.Spec.TableName, record})
	return bucket.Put(binary.BigEndian.AppendUint64(nil, n), data)
}

// Records gives up to limit records of a table's stream that follow a sequence number; "" is the oldest that is kept.
func (s *Store) Records(name, after string, limit int) ([]StreamRecord, error) {
	t := s.lookup(name)
	if t == nil {
		return nil, fmt.Errorf("table %s: not found", name)
	}
	from := uint64(0)
	if after != "" {
		n, ok := sequenceOf(after)
		if !ok {
			return nil, fmt.Errorf("table %s: %q is no sequence number", name, after)
		}
		from = n + 1
	}
	return s.records(t, from, limit)
}

// Last is the sequence number of the newest record of a table's stream, also of one that is not kept any more.
func (s *Store) Last(name string) (string, error) {
	t := s.lookup(name)
	if t == nil {
		return "", fmt.Errorf("table %s: not found", name)
	}
	_, next, err := s.ends(t)
	return sequenceNumber(next - 1), err
}

func (s *Store) records(t *table, from uint64, limit int) ([]StreamRecord, error) {
	var out []StreamRecord
	size := 0
	err := s.db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(t.streamBucket())
		if bucket == nil {
			return notFound()
		}
		cursor := bucket.Cursor()
		for key, data := cursor.Seek(binary.BigEndian.AppendUint64(nil, from)); key != nil && len(out) < limit && size < maxPageBytes; key, data = cursor.Next() {
			var record StreamRecord
			if err := json.Unmarshal(data, &record); err != nil {
				return err
			}
			size += len(data)
			out = append(out, record)
		}
		return nil
	})
	return out, err
}

// ends gives the number of the oldest record that is kept and of the one to come.
func (s *Store) ends(t *table) (first, next uint64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(t.streamBucket())
		if bucket == nil {
			return notFound()
		}
		next = bucket.Sequence() + 1
		first = next
		if key, _ := bucket.Cursor().First(); key != nil {
			first = binary.BigEndian.Uint64(key)
		}
		return nil
	})
	return first, next, err
}

func (s *Store) streamTable(arn string) (*table, error) {
	if arn == "" {
		return nil, invalid("1 validation error detected: Value null at 'streamArn' failed to satisfy constraint: Member must not be null")
	}
	for _, t := range s.snapshot() {
		if t.StreamLabel != "" && s.streamARN(t) == arn {
			return t, nil
		}
	}
	return nil, failure("ResourceNotFoundException", "Requested resource not found: Stream: %s not found", arn)
}

func (s *Store) listStreams(in *struct {
	TableName               string
	Limit                   int
	ExclusiveStartStreamArn string
}) (any, error) {
	if in.Limit <= 0 || in.Limit > 100 {
		in.Limit = 100
	}
	streams := []any{}
	tables := s.snapshot()
	out := map[string]any{}
	last := ""
	for _, name := range sorted(tables) {
		t := tables[name]
		arn := s.streamARN(t)
		if arn == "" || in.TableName != "" && s.plainName(in.TableName) != name || arn <= in.ExclusiveStartStreamArn {
			continue
		}
		if len(streams) == in.Limit {
			out["LastEvaluatedStreamArn"] = last
			break
		}
		last = arn
		streams = append(streams, map[string]any{"StreamArn": arn, "StreamLabel": t.StreamLabel, "TableName": name})
	}
	out["Streams"] = streams
	return out, nil
}

func (s *Store) describeStream(in *struct{ StreamArn, ExclusiveStartShardId string }) (any, error) {
	t, err := s.streamTable(in.StreamArn)
	if err != nil {
		return nil, err
	}
	shards := []any{}
	if in.ExclusiveStartShardId == "" {
		first, _, err := s.ends(t)
		if err != nil {
			return nil, err
		}
		shards = append(shards, map[string]any{"ShardId": shardID, "SequenceNumberRange": map[string]any{"StartingSequenceNumber": sequenceNumber(first)}})
	}
	return map[string]any{"StreamDescription": map[string]any{
		"StreamArn": in.StreamArn, "StreamLabel": t.StreamLabel, "StreamStatus": "ENABLED", "StreamViewType": t.Spec.stream(), "TableName": t.Spec.TableName,
		"KeySchema": t.Spec.KeySchema, "CreationRequestDateTime": float64(t.Created.UnixMilli()) / 1000, "Shards": shards,
	}}, nil
}

// An iterator is spelled stream|next record|second it was made in.
const iteratorLife = 15 * time.Minute

func (s *Store) iterator(arn string, next uint64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s|%d|%d", arn, next, s.options.Now().Unix()))
}

func (s *Store) getShardIterator(in *struct{ StreamArn, ShardId, ShardIteratorType, SequenceNumber string }) (any, error) {
	t, err := s.streamTable(in.StreamArn)
	if err != nil {
		return nil, err
	}
	if in.ShardId != shardID {
		return nil, failure("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
	}
	first, next, err := s.ends(t)
	if err != nil {
		return nil, err
	}
	at := first
	switch in.ShardIteratorType {
	case "TRIM_HORIZON":
	case "LATEST":
		at = next
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		var ok bool
		if at, ok = sequenceOf(in.SequenceNumber); !ok {
			return nil, invalid("Invalid SequenceNumber: %s", in.SequenceNumber)
		}
		if at < first {
			return nil, failure("TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard")
		}
		if in.ShardIteratorType == "AFTER_SEQUENCE_NUMBER" {
			at++
		}
	default:
		return nil, invalid("1 validation error detected: Value '%s' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_SEQUENCE_NUMBER, TRIM_HORIZON]", in.ShardIteratorType)
	}
	return map[string]any{"ShardIterator": s.iterator(in.StreamArn, at)}, nil
}

func (s *Store) getRecords(in *struct {
	ShardIterator string
	Limit         *int
}) (any, error) {
	text, err := base64.StdEncoding.DecodeString(in.ShardIterator)
	parts := strings.Split(string(text), "|")
	if err != nil || len(parts) != 3 {
		return nil, invalid("Invalid ShardIterator")
	}
	next, errNext := strconv.ParseUint(parts[1], 10, 64)
	made, errMade := strconv.ParseInt(parts[2], 10, 64)
	if errNext != nil || errMade != nil {
		return nil, invalid("Invalid ShardIterator")
	}
	if s.options.Now().Sub(time.Unix(made, 0)) > iteratorLife {
		return nil, failure("ExpiredIteratorException", "Iterator expired. The iterator was created more than 15 minutes ago")
	}
	t, err := s.streamTable(parts[0])
	if err != nil {
		return nil, err
	}
	limit := maxRecords
	if in.Limit != nil {
		if limit = *in.Limit; limit < 1 || limit > maxRecords {
			return nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and 1000", limit)
		}
	}
	first, _, err := s.ends(t)
	if err != nil {
		return nil, err
	}
	records, err := s.records(t, max(next, first), limit)
	if err != nil {
		return nil, err
	}
	shown := []any{}
	for _, record := range records {
		n, _ := sequenceOf(record.Change.SequenceNumber)
		next = n + 1
		record.EventSourceARN = ""
		if by := record.UserIdentity; by != nil { // the API spells it otherwise than the event
			shown = append(shown, map[string]any{"eventID": record.EventID, "eventName": record.EventName, "eventVersion": record.EventVersion,
				"eventSource": record.EventSource, "awsRegion": record.AWSRegion, "dynamodb": record.Change,
				"userIdentity": map[string]any{"Type": by.Type, "PrincipalId": by.PrincipalID}})
			continue
		}
		shown = append(shown, record)
	}
	return map[string]any{"Records": shown, "NextShardIterator": s.iterator(parts[0], next)}, nil
}
