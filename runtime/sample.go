package runtime

// Events as AWS sources make them, around a body: what `sst invoke --source` sends.

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
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

type sample struct {
	body   []byte
	region string
	now    time.Time
}

type fields = map[string]any

// SampleEvent makes an event of a source around a body: the text of a message, the detail of an event, the key of an
// object, the new image of an item.
func SampleEvent(source string, body []byte, region string, now time.Time) ([]byte, error) {
	make, ok := samples[strings.ToLower(source)]
	if !ok {
		return nil, fmt.Errorf("source %q is not known; there are %s", source, strings.Join(SampleSources(), ", "))
	}
	return json.Marshal(make(sample{body, region, now}))
}

func (s sample) arn(service, resource string) string {
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

func records(record fields) fields { return fields{"Records": []fields{record}} }

func (s sample) sqs() any {
	sum := md5.Sum(s.body)
	at := fmt.Sprint(s.now.UnixMilli())
	return records(fields{
		"messageId": newID(), "receiptHandle": "local-" + newID(), "body": string(s.body), "messageAttributes": fields{},
		"attributes":  fields{"ApproximateReceiveCount": "1", "SentTimestamp": at, "SenderId": accountID, "ApproximateFirstReceiveTimestamp": at},
		"md5OfBody":   hex.EncodeToString(sum[:]),
		"eventSource": "aws:sqs", "eventSourceARN": s.arn("sqs", "local"), "awsRegion": s.region,
	})
}

func (s sample) sns() any {
	topic := s.arn("sns", "local")
	return records(fields{
		"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": topic + ":" + newID(),
		"Sns": fields{
			"Type": "Notification", "MessageId": newID(), "TopicArn": topic, "Subject": nil, "Message": string(s.body),
			"Timestamp": s.stamp(), "SignatureVersion": "1", "Signature": "local", "SigningCertUrl": "", "UnsubscribeUrl": "",
			"MessageAttributes": fields{},
		},
	})
}

func (s sample) s3() any {
	key := strings.ReplaceAll(strings.TrimSpace(string(s.body)), " ", "+")
	return records(fields{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": s.region, "eventTime": s.stamp(), "eventName": "ObjectCreated:Put",
		"userIdentity": fields{"principalId": "local"}, "requestParameters": fields{"sourceIPAddress": "127.0.0.1"},
		"responseElements": fields{"x-amz-request-id": newID(), "x-amz-id-2": "local"},
		"s3": fields{
			"s3SchemaVersion": "1.0", "configurationId": "local",
			"bucket": fields{"name": "local", "ownerIdentity": fields{"principalId": "local"}, "arn": "arn:aws:s3:::local"},
			"object": fields{"key": key, "size": 0, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": fmt.Sprintf("%016X", s.now.UnixNano())},
		},
	})
}

func (s sample) eventBridge() any {
	return fields{
		"version": "0", "id": newID(), "detail-type": "sst invoke", "source": "sst.invoke", "account": accountID,
		"time": s.now.UTC().Format("2006-01-02T15:04:05Z"), "region": s.region, "resources": []string{}, "detail": s.value(),
	}
}

func (s sample) dynamoDB() any {
	var item map[string]any
	image := fields{}
	if json.Unmarshal(s.body, &item) == nil {
		for name, value := range item {
			image[name] = attribute(value)
		}
	}
	return records(fields{
		"eventID": strings.ReplaceAll(newID(), "-", ""), "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": s.region,
		"eventSourceARN": s.arn("dynamodb", "table/local/stream/2020-01-01T00:00:00.000"),
		"dynamodb": fields{
			"ApproximateCreationDateTime": s.now.Unix(), "Keys": fields{}, "NewImage": image,
			"SequenceNumber": fmt.Sprint(s.now.UnixNano()), "SizeBytes": len(s.body), "StreamViewType": "NEW_AND_OLD_IMAGES",
		},
	})
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

func (s sample) kinesis() any {
	number := fmt.Sprintf("4960%052d", s.now.UnixNano())
	return records(fields{
		"kinesis": fields{
			"kinesisSchemaVersion": "1.0", "partitionKey": "1", "sequenceNumber": number,
			"data": base64.StdEncoding.EncodeToString(s.body), "approximateArrivalTimestamp": float64(s.now.UnixMilli()) / 1000,
		},
		"eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": "shardId-000000000000:" + number, "eventName": "aws:kinesis:record",
		"invokeIdentityArn": "arn:aws:iam::" + accountID + ":role/local", "awsRegion": s.region, "eventSourceARN": s.arn("kinesis", "stream/local"),
	})
}
