package runtime

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
)

// The event types of aws-lambda-go read what is made.
func TestSampleEvent(t *testing.T) {
	read := func(source, body string, into any) {
		t.Helper()
		data, err := SampleEvent(source, []byte(body), "eu-west-1", time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(data))
		if err := d.Decode(into); err != nil {
			t.Errorf("%s: %v in %s", source, err, data)
		}
	}
	var sqs awsevents.SQSEvent
	if read("sqs", `{"n":1}`, &sqs); sqs.Records[0].Body != `{"n":1}` || len(sqs.Records[0].Md5OfBody) != 32 {
		t.Errorf("sqs = %+v", sqs)
	}
	var sns awsevents.SNSEvent
	if read("sns", "hello", &sns); sns.Records[0].SNS.Message != "hello" || sns.Records[0].SNS.Timestamp.Unix() != 1_700_000_000 {
		t.Errorf("sns = %+v", sns)
	}
	var s3 awsevents.S3Event
	if read("s3", "a b.txt\n", &s3); s3.Records[0].S3.Object.URLDecodedKey != "a b.txt" {
		t.Errorf("s3 = %+v", s3)
	}
	var bridge awsevents.EventBridgeEvent
	if read("eventbridge", `{"a":1}`, &bridge); string(bridge.Detail) != `{"a":1}` {
		t.Errorf("eventbridge = %+v", bridge)
	}
	var dynamo awsevents.DynamoDBEvent
	if read("dynamodb", `{"id":"x","n":[1,true,null]}`, &dynamo); dynamo.Records[0].Change.NewImage["id"].String() != "x" {
		t.Errorf("dynamodb = %+v", dynamo)
	}
	keyed := sample{body: []byte(`{"eventName":"REMOVE","OldImage":{"id":"x","n":1}}`), keys: []string{"id"}}.dynamoRecord()["dynamodb"].(fields)
	if got := keyed["Keys"]; !reflect.DeepEqual(got, fields{"id": fields{"S": "x"}}) {
		t.Errorf("keys of a table's record = %v", got)
	}
	var kinesis awsevents.KinesisEvent
	if read("kinesis", "data", &kinesis); string(kinesis.Records[0].Kinesis.Data) != "data" {
		t.Errorf("kinesis = %+v", kinesis)
	}
	if _, err := SampleEvent("fax", nil, "", time.Now()); err == nil {
		t.Error("an unknown source: no error")
	}
}
