package cloud

// Kinesis: each stream has one shard, whose records are kept for as long as the stream says; functions and iterators read them.

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"sst/runtime/queues"
)

const (
	typeStream     = "AWS::Kinesis::Stream"
	onlyShard      = "shardId-000000000000"
	maxRecordBytes = 10 << 20
	iteratorLife   = 5 * time.Minute
)

var kinesisOperations = map[string]operation{
	"PutRecord":             putRecord,
	"PutRecords":            putRecords,
	"GetShardIterator":      shardIterator,
	"GetRecords":            getRecords,
	"ListShards":            listShards,
	"ListStreams":           listStreams,
	"DescribeStream":        describeStream,
	"DescribeStreamSummary": describeStream,
}

func (c *call) stream(action string) (*Resource, error) {
	name := c.in.text("StreamName")
	if _, after, ok := strings.Cut(c.in.text("StreamARN"), ":stream/"); ok {
		name = after
	}
	if err := c.may("kinesis:"+action, c.arn("kinesis", "stream/"+name)); err != nil {
		return nil, err
	}
	about := c.app.named(typeStream, name)
	if about == nil {
		return nil, refuse("ResourceNotFoundException", "Stream %s under account %s not found.", name, c.app.Account)
	}
	return about, nil
}

var lastNumber atomic.Int64

// ascending gives a number above all before, also those of earlier runs unless the clock was set back.
func ascending() int64 {
	for {
		last := lastNumber.Load()
		number := max(time.Now().UnixNano(), last+1)
		if lastNumber.CompareAndSwap(last, number) {
			return number
		}
	}
}

// sequence is how Kinesis writes a number.
func sequence(number uint64) string { return fmt.Sprintf("4960%052d", number) }

// numberOf reads a sequence; "" is before all.
func numberOf(sequence string) (uint64, bool) {
	if sequence == "" {
		return 0, true
	}
	digits, ok := strings.CutPrefix(sequence, "4960")
	n, err := strconv.ParseUint(strings.TrimLeft(digits, "0"), 10, 64)
	return n, ok && len(sequence) == 56 && err == nil
}

// record is one as the store has it.
type record struct {
	Data []byte
	Key  string
	Time time.Time
}

func streamBucket(source string) []byte { return []byte("stream/" + source) }

// append keeps records, all or none, and gives their sequences.
func (c *Cloud) append(source string, life time.Duration, records []record) (numbers []string, err error) {
	err = c.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(streamBucket(source))
		if err != nil {
			return err
		}
		// Those too old go a few at a time.
		cursor := b.Cursor()
		for k, _ := cursor.First(); k != nil && len(numbers) < 2*len(records)+10; k, _ = cursor.First() {
			if time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(k)))) < life {
				break
			}
			if err := cursor.Delete(); err != nil {
				return err
			}
			numbers = append(numbers, "")
		}
		numbers = numbers[:0]
		var last uint64
		if k, _ := b.Cursor().Last(); k != nil {
			last = binary.BigEndian.Uint64(k)
		}
		for _, r := range records {
			last = max(last+1, uint64(ascending()))
			data, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err := b.Put(binary.BigEndian.AppendUint64(nil, last), data); err != nil {
				return err
			}
			numbers = append(numbers, sequence(last))
		}
		return nil
	})
	return numbers, err
}

// Records gives up to limit records of a stream that follow a sequence; "" is the oldest that is kept.
func (c *Cloud) Records(source, after string, limit int) (all []queues.Message, err error) {
	from, ok := numberOf(after)
	if !ok {
		return nil, fmt.Errorf("stream %s: %q is no sequence number", source, after)
	}
	err = c.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(streamBucket(source))
		if b == nil {
			return nil
		}
		cursor := b.Cursor()
		for k, data := cursor.Seek(binary.BigEndian.AppendUint64(nil, from+1)); k != nil && len(all) < limit; k, data = cursor.Next() {
			var r record
			if err := json.Unmarshal(data, &r); err != nil {
				return err
			}
			number := sequence(binary.BigEndian.Uint64(k))
			all = append(all, queues.Message{ID: number, Position: number, Body: r.Data, Group: r.Key, Sent: r.Time})
		}
		return nil
	})
	return all, err
}

// Last is the sequence of the newest record of a stream, "" when it has none.
func (c *Cloud) Last(source string) (last string, err error) {
	err = c.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(streamBucket(source)); b != nil {
			if k, _ := b.Cursor().Last(); k != nil {
				last = sequence(binary.BigEndian.Uint64(k))
			}
		}
		return nil
	})
	return last, err
}

func (c *call) record(in params) (record, error) {
	data, err := base64.StdEncoding.DecodeString(in.text("Data"))
	switch {
	case err != nil:
		return record{}, refuse("SerializationException", "Data is not base64")
	case in.text("PartitionKey") == "" || len(in.text("PartitionKey")) > 256:
		return record{}, refuse("ValidationException", "1 validation error detected: Value at 'partitionKey' failed to satisfy constraint: Member must have length between 1 and 256")
	case len(data) > maxRecordBytes:
		return record{}, refuse("ValidationException", "1 validation error detected: Value at 'data' failed to satisfy constraint: Member must have length less than or equal to %d", maxRecordBytes)
	}
	return record{data, in.text("PartitionKey"), time.Now()}, nil
}

func (c *call) put(about *Resource, records []record) ([]fields, error) {
	hours, _ := properties(about).number("RetentionPeriodHours", 24, 24, 8760)
	numbers, err := c.cloud.append(about.Source, time.Duration(hours)*time.Hour, records)
	if err != nil {
		return nil, err
	}
	list := []fields{}
	for _, number := range numbers {
		list = append(list, fields{"ShardId": onlyShard, "SequenceNumber": number})
	}
	c.cloud.opts.Network.Wake(about.Source)
	return list, nil
}

func putRecord(c *call) (any, error) {
	about, err := c.stream("PutRecord")
	if err != nil {
		return nil, err
	}
	r, err := c.record(c.in)
	if err != nil {
		return nil, err
	}
	list, err := c.put(about, []record{r})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func putRecords(c *call) (any, error) {
	about, err := c.stream("PutRecords")
	if err != nil {
		return nil, err
	}
	entries := c.in.objects("Records")
	if len(entries) == 0 || len(entries) > 500 {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length between 1 and 500")
	}
	var records []record
	for _, entry := range entries {
		r, err := c.record(entry)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	list, err := c.put(about, records)
	return fields{"FailedRecordCount": 0, "Records": list}, err
}

// iterator is where a reader is; it is its own text.
type iterator struct {
	Source, After string
	Since         time.Time // of AT_TIMESTAMP
	Made          time.Time
}

func (i iterator) text() string {
	i.Made = time.Now()
	data, _ := json.Marshal(i)
	return base64.StdEncoding.EncodeToString(data)
}

func shardIterator(c *call) (any, error) {
	about, err := c.stream("GetShardIterator")
	if err != nil {
		return nil, err
	}
	if id := c.in.text("ShardId"); id != onlyShard {
		return nil, refuse("ResourceNotFoundException", "Shard %s in stream %s under account %s does not exist", id, about.Name, c.app.Account)
	}
	it := iterator{Source: about.Source}
	number, ok := numberOf(c.in.text("StartingSequenceNumber"))
	switch kind := c.in.text("ShardIteratorType"); kind {
	case "TRIM_HORIZON":
	case "LATEST":
		if it.After, err = c.cloud.Last(about.Source); err != nil {
			return nil, err
		}
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		if !ok || number == 0 {
			return nil, refuse("InvalidArgumentException", "StartingSequenceNumber %s used in GetShardIterator on shard %s in stream %s under account %s is invalid.", c.in.text("StartingSequenceNumber"), onlyShard, about.Name, c.app.Account)
		}
		if kind == "AT_SEQUENCE_NUMBER" {
			number--
		}
		it.After = sequence(number)
	case "AT_TIMESTAMP":
		seconds, err := strconv.ParseFloat(c.in.text("Timestamp"), 64)
		if err != nil {
			return nil, refuse("InvalidArgumentException", "Must specify timestamp parameter for iterator of type AT_TIMESTAMP.")
		}
		it.Since = time.UnixMilli(int64(seconds * 1000))
	default:
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]", kind)
	}
	return fields{"ShardIterator": it.text()}, nil
}

func getRecords(c *call) (any, error) {
	var it iterator
	data, err := base64.StdEncoding.DecodeString(c.in.text("ShardIterator"))
	if err != nil || json.Unmarshal(data, &it) != nil {
		return nil, refuse("InvalidArgumentException", "Invalid ShardIterator.")
	}
	i := slices.IndexFunc(c.app.Resources, func(r Resource) bool { return r.Type == typeStream && r.Source == it.Source })
	if i < 0 {
		return nil, refuse("ResourceNotFoundException", "The stream of the iterator is not found.")
	}
	if err := c.may("kinesis:GetRecords", c.app.Resources[i].ARN); err != nil {
		return nil, err
	}
	if time.Since(it.Made) > iteratorLife {
		return nil, refuse("ExpiredIteratorException", "Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
			it.Made.UTC().Format(time.RFC1123), time.Now().UTC().Format(time.RFC1123), iteratorLife.Milliseconds())
	}
	limit, err := c.in.number("Limit", 10000, 1, 10000)
	if err != nil {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'limit' failed to satisfy constraint: Member must have value between 1 and 10000", c.in.text("Limit"))
	}
	list, size := []fields{}, 0
	behind := time.Duration(0)
	for len(list) < limit && size < maxRecordBytes {
		got, err := c.cloud.Records(it.Source, it.After, min(limit-len(list), 100))
		if err != nil {
			return nil, err
		}
		for _, m := range got {
			it.After = m.ID
			if m.Sent.Before(it.Since) {
				continue
			}
			size += len(m.Body)
			list = append(list, fields{"SequenceNumber": m.ID, "Data": m.Body, "PartitionKey": m.Group, "ApproximateArrivalTimestamp": float64(m.Sent.UnixMilli()) / 1000})
		}
		if len(got) == 0 {
			break
		}
	}
	if next, err := c.cloud.Records(it.Source, it.After, 1); err == nil && len(next) > 0 {
		behind = time.Since(next[0].Sent)
	}
	return fields{"Records": list, "NextShardIterator": it.text(), "MillisBehindLatest": behind.Milliseconds()}, nil
}

func shardOf() fields {
	return fields{"ShardId": onlyShard, "HashKeyRange": fields{"StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455"},
		"SequenceNumberRange": fields{"StartingSequenceNumber": sequence(1)}}
}

func listShards(c *call) (any, error) {
	_, err := c.stream("ListShards")
	return fields{"Shards": []fields{shardOf()}}, err
}

func listStreams(c *call) (any, error) {
	if err := c.may("kinesis:ListStreams", c.arn("kinesis", "*")); err != nil {
		return nil, err
	}
	names := []string{}
	for _, r := range c.app.Resources {
		if r.Type == typeStream {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return fields{"StreamNames": names, "HasMoreStreams": false}, nil
}

func describeStream(c *call) (any, error) {
	about, err := c.stream(c.op)
	if err != nil {
		return nil, err
	}
	hours, _ := properties(about).number("RetentionPeriodHours", 24, 24, 8760)
	out := fields{"StreamName": about.Name, "StreamARN": about.ARN, "StreamStatus": "ACTIVE", "RetentionPeriodHours": hours, "StreamCreationTimestamp": 0, "EnhancedMonitoring": []fields{},
		"StreamModeDetails": fields{"StreamMode": "PROVISIONED"}}
	if c.op == "DescribeStreamSummary" {
		out["OpenShardCount"] = 1
		return fields{"StreamDescriptionSummary": out}, nil
	}
	out["Shards"], out["HasMoreShards"] = []fields{shardOf()}, false
	return fields{"StreamDescription": out}, nil
}
