package runtime

// Events as AWS sources make them, around a body: what `sst invoke --source` sends.

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"sst/runtime/queues"
)

// samples makes an event of each source. Their forms are those of AWS's documentation.
var samples = map[string]func(s sample) any{
	"sqs":         sample.sqs,
	"sns":         sample.sns,
	"s3":          sample.s3,
	"eventbridge": sample.eventBridge,
	"dynamodb":    sample.dynamoDB,
	"kinesis":     sample.kinesis,
}

// SampleSources lists the sources that SampleEvent knows.
func SampleSources() []string { return slices.Sorted(maps.Keys(samples)) }

// sample is what an event is made of. The zero values of all but body, region and now stand for something made up.
type sample struct {
	body   []byte
	region string
	now    time.Time

	from       string // ARN of the source
	id         string // of the message
	received   int
	first      time.Time
	group      string
	sequence   int64
	attributes map[string]queues.Attribute
	subject    string
	dedup      string
	keys       []string // of a table
}

type fields = map[string]any

// SampleEvent makes an event of a source around a body: the text of a message, the detail of an event, the key of an
// object, the new image of an item.
func SampleEvent(source string, body []byte, region string, now time.Time) ([]byte, error) {
	make, ok := samples[strings.ToLower(source)]
	if !ok {
		return nil, fmt.Errorf("source %q is not known; there are %s", source, strings.Join(SampleSources(), ", "))
	}
	return json.Marshal(make(sample{body: body, region: region, now: now}))
}

// arn is that of the source, or one that is made up.
func (s sample) arn(service, resource string) string {
	if s.from != "" {
		return s.from
	}
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, s.region, accountID, resource)
}

func (s sample) stamp() string { return s.now.UTC().Format("2006-01-02T15:04:05.000Z") }

// value is the body as JSON when it is that, else as text.
func (s sample) value() any {
	if json.Valid(s.body) {
		return json.RawMessage(s.body)
	}
	return string(s.body)
}

// records is the event of several records.
func records(list ...fields) fields { return fields{"Records": list} }

func (s sample) sqs() any { return records(s.sqsRecord()) }

func (s sample) sqsRecord() fields {
	sum := md5.Sum(s.body)
	at := fmt.Sprint(s.now.UnixMilli())
	first := at
	if !s.first.IsZero() {
		first = fmt.Sprint(s.first.UnixMilli())
	}
	about := fields{"ApproximateReceiveCount": fmt.Sprint(max(1, s.received)), "SentTimestamp": at, "SenderId": accountID, "ApproximateFirstReceiveTimestamp": first}
	if s.group != "" {
		about["MessageGroupId"], about["SequenceNumber"] = s.group, fmt.Sprintf("%020d", s.sequence)
		about["MessageDeduplicationId"] = cmp.Or(s.dedup, s.id, newID())
	}
	named := fields{}
	for name, value := range s.attributes {
		named[name] = fields{"stringListValues": []string{}, "binaryListValues": []string{}, "dataType": value.Kind}
		if strings.HasPrefix(value.Kind, "Binary") {
			named[name].(fields)["binaryValue"] = value.Text
		} else {
			named[name].(fields)["stringValue"] = value.Text
		}
	}
	return fields{
		"messageId": cmp.Or(s.id, newID()), "receiptHandle": "local-" + newID(), "body": string(s.body), "messageAttributes": named,
		"attributes": about, "md5OfBody": hex.EncodeToString(sum[:]),
		"eventSource": "aws:sqs", "eventSourceARN": s.arn("sqs", "local"), "awsRegion": s.region,
	}
}

func (s sample) sns() any {
	topic := s.arn("sns", "local")
	return records(fields{
		"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": topic + ":" + newID(), "Sns": s.notification(topic),
	})
}

// notification is what SNS sends.
func (s sample) notification(topic string) fields {
	named := fields{}
	for name, value := range s.attributes {
		named[name] = fields{"Type": value.Kind, "Value": value.Text}
	}
	subject := any(nil)
	if s.subject != "" {
		subject = s.subject
	}
	return fields{
		"Type": "Notification", "MessageId": cmp.Or(s.id, newID()), "TopicArn": topic, "Subject": subject, "Message": string(s.body),
		"Timestamp": s.stamp(), "SignatureVersion": "1", "Signature": "local", "SigningCertUrl": "", "UnsubscribeUrl": "",
		"MessageAttributes": named,
	}
}

// said is the body as an object, when it is one that has all of the fields.
func (s sample) said(names ...string) map[string]any {
	var object map[string]any
	d := json.NewDecoder(bytes.NewReader(s.body))
	d.UseNumber()
	if d.Decode(&object) != nil {
		return nil
	}
	for _, name := range names {
		if object[name] == nil {
			return nil
		}
	}
	return object
}

// s3 takes the key of an object, or {"key": ..., "eventName": ..., "size": ...}.
func (s sample) s3() any {
	key, name, size := strings.TrimSpace(string(s.body)), "ObjectCreated:Put", any(0)
	if object := s.said("key"); object != nil {
		key = fmt.Sprint(object["key"])
		if given, ok := object["eventName"].(string); ok {
			name = strings.TrimPrefix(given, "s3:")
		}
		if object["size"] != nil {
			size = object["size"]
		}
	}
	etag := "d41d8cd98f00b204e9800998ecf8427e"
	if object := s.said("key", "eTag"); object != nil {
		etag = fmt.Sprint(object["eTag"])
	}
	bucket := cmp.Or(s.from, "arn:aws:s3:::local")
	return records(fields{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": s.region, "eventTime": s.stamp(), "eventName": name,
		"userIdentity": fields{"principalId": "local"}, "requestParameters": fields{"sourceIPAddress": "127.0.0.1"},
		"responseElements": fields{"x-amz-request-id": newID(), "x-amz-id-2": "local"},
		"s3": fields{
			"s3SchemaVersion": "1.0", "configurationId": "local",
			"bucket": fields{"name": strings.TrimPrefix(bucket, "arn:aws:s3:::"), "ownerIdentity": fields{"principalId": "local"}, "arn": bucket},
			"object": fields{"key": strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"), "size": size, "eTag": etag, "sequencer": fmt.Sprintf("%016X", s.now.UnixNano())},
		},
	})
}

// eventBridge takes a detail, or an entry of PutEvents: {"source": ..., "detail-type": ..., "detail": ...}.
func (s sample) eventBridge() any {
	event := fields{
		"version": "0", "id": cmp.Or(s.id, newID()), "detail-type": "sst invoke", "source": "sst.invoke", "account": accountID,
		"time": s.now.UTC().Format("2006-01-02T15:04:05Z"), "region": s.region, "resources": []string{}, "detail": s.value(),
	}
	if entry := s.said("source", "detail-type"); entry != nil {
		event["detail"] = fields{}
		for _, name := range []string{"source", "detail-type", "detail", "resources", "time"} {
			if entry[name] != nil {
				event[name] = entry[name]
			}
		}
	}
	return event
}

func (s sample) dynamoDB() any { return records(s.dynamoRecord()) }

// dynamoRecord takes a record as a stream has it, or a new item, or {"eventName": ..., "Keys": ..., "NewImage": ..., "OldImage": ...} of plain values.
func (s sample) dynamoRecord() fields {
	if record := s.said("eventID", "eventName", "dynamodb"); record != nil {
		record["eventSourceARN"] = cmp.Or(s.from, fmt.Sprint(record["eventSourceARN"]))
		return record
	}
	name := "INSERT"
	change := fields{"ApproximateCreationDateTime": s.now.Unix(), "SequenceNumber": fmt.Sprint(s.now.UnixNano() + s.sequence), "SizeBytes": len(s.body), "StreamViewType": "NEW_AND_OLD_IMAGES"}
	image := func(object any) fields {
		all := fields{}
		item, _ := object.(map[string]any)
		for name, value := range item {
			all[name] = attribute(value)
		}
		return all
	}
	if said := s.said("eventName"); said != nil && (said["NewImage"] != nil || said["OldImage"] != nil || said["Keys"] != nil) {
		name = fmt.Sprint(said["eventName"])
		change["Keys"] = image(said["Keys"])
		for _, which := range []string{"NewImage", "OldImage"} {
			if said[which] != nil {
				change[which] = image(said[which])
			}
		}
	} else {
		change["Keys"], change["NewImage"] = fields{}, image(any(s.said()))
	}
	keys := change["Keys"].(fields)
	for _, key := range s.keys { // those not said are in the item
		for _, which := range []string{"NewImage", "OldImage"} {
			item, _ := change[which].(fields)
			if value, ok := item[key]; ok && keys[key] == nil {
				keys[key] = value
			}
		}
	}
	return fields{
		"eventID": strings.ReplaceAll(cmp.Or(s.id, newID()), "-", ""), "eventName": name, "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": s.region,
		"eventSourceARN": s.arn("dynamodb", "table/local/stream/2020-01-01T00:00:00.000"), "dynamodb": change,
	}
}

// attribute is a JSON value in DynamoDB's form.
func attribute(value any) fields {
	switch v := value.(type) {
	case nil:
		return fields{"NULL": true}
	case bool:
		return fields{"BOOL": v}
	case string:
		return fields{"S": v}
	case []any:
		list := []fields{}
		for _, each := range v {
			list = append(list, attribute(each))
		}
		return fields{"L": list}
	case map[string]any:
		m := fields{}
		for name, each := range v {
			m[name] = attribute(each)
		}
		return fields{"M": m}
	}
	number, _ := json.Marshal(value)
	return fields{"N": string(number)}
}

func (s sample) kinesis() any { return records(s.kinesisRecord()) }

func (s sample) kinesisRecord() fields {
	number := s.id
	if len(number) != 56 { // it was not put by an SDK, which has been told the number
		number = fmt.Sprintf("4960%052d", s.now.UnixNano()+s.sequence)
	}
	return fields{
		"kinesis": fields{
			"kinesisSchemaVersion": "1.0", "partitionKey": cmp.Or(s.group, "1"), "sequenceNumber": number,
			"data": base64.StdEncoding.EncodeToString(s.body), "approximateArrivalTimestamp": float64(s.now.UnixMilli()) / 1000,
		},
		"eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": "shardId-000000000000:" + number, "eventName": "aws:kinesis:record",
		"invokeIdentityArn": "arn:aws:iam::" + accountID + ":role/local", "awsRegion": s.region, "eventSourceARN": s.arn("kinesis", "stream/local"),
	}
}
