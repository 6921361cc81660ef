package dynamo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// opened is a store that ends with the test, behind a real server.
func opened(t testing.TB, options Options) (*Store, string) {
	t.Helper()
	if options.Dir == "" {
		options.Dir = t.TempDir()
	}
	s, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, server.URL
}

func client(url string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		RetryMaxAttempts: 1})
}

// call sends a body as it is and gives the status and the answer.
func call(t testing.TB, url, operation, body string) (int, string) {
	t.Helper()
	target := "DynamoDB_20120810." + operation
	if strings.Contains(operation, ".") {
		target = operation
	}
	request, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", target)
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=b")
	request.Header.Set("X-Amz-Date", "20260101T000000Z")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(bytes.TrimSpace(answer))
}

// notesTable is shaped as a template's Properties are.
const notesTable = `{
	"TableName": "notes", "BillingMode": "PAY_PER_REQUEST",
	"AttributeDefinitions": [{"AttributeName": "user", "AttributeType": "S"}, {"AttributeName": "n", "AttributeType": "N"}, {"AttributeName": "tag", "AttributeType": "S"}],
	"KeySchema": [{"AttributeName": "user", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
	"GlobalSecondaryIndexes": [{"IndexName": "byTag", "KeySchema": [{"AttributeName": "tag", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}],
		"Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["title"]}}],
	"LocalSecondaryIndexes": [{"IndexName": "localTag", "KeySchema": [{"AttributeName": "user", "KeyType": "HASH"}, {"AttributeName": "tag", "KeyType": "RANGE"}],
		"Projection": {"ProjectionType": "KEYS_ONLY"}}],
	"StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
	"TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": true}
}`

func ensure(t testing.TB, s *Store, properties string) {
	t.Helper()
	var spec TableSpec
	if err := json.Unmarshal([]byte(properties), &spec); err != nil {
		t.Fatal(err)
	}
	if err := s.Ensure(spec); err != nil {
		t.Fatal(err)
	}
}

// TestSDK walks through the API with the client that apps use.
func TestSDK(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	s, url := opened(t, Options{OnChange: func(table string, record StreamRecord) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, record.EventName)
	}})
	ensure(t, s, notesTable)
	ctx, c := context.Background(), client(url)
	str := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	num := func(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
	name := aws.String("notes")
	for n := range 5 {
		_, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: name, Item: map[string]types.AttributeValue{
			"user": str("ann"), "n": num(fmt.Sprint(n - 2)), "tag": str("t"), "title": str("no " + fmt.Sprint(n)), "raw": &types.AttributeValueMemberB{Value: []byte{0, 255}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	key := map[string]types.AttributeValue{"user": str("ann"), "n": num("2.0")}
	got, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: name, Key: key})
	if err != nil || got.Item["title"].(*types.AttributeValueMemberS).Value != "no 4" {
		t.Fatalf("GetItem = %v, %v", got, err)
	}
	updated, err := c.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: name, Key: key, ReturnValues: types.ReturnValueUpdatedNew,
		UpdateExpression: aws.String("SET hits = if_not_exists(hits, :zero) + :one"), ExpressionAttributeValues: map[string]types.AttributeValue{":zero": num("0"), ":one": num("1")}})
	if err != nil || updated.Attributes["hits"].(*types.AttributeValueMemberN).Value != "1" || len(updated.Attributes) != 1 {
		t.Fatalf("UpdateItem = %v, %v", updated, err)
	}
	_, err = c.PutItem(ctx, &dynamodb.PutItemInput{TableName: name, Item: key, ConditionExpression: aws.String("attribute_not_exists(title)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld})
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) || failed.Item["title"] == nil {
		t.Fatalf("conditional PutItem: %v", err)
	}
	pages := dynamodb.NewQueryPaginator(c, &dynamodb.QueryInput{TableName: name, IndexName: aws.String("byTag"), Limit: aws.Int32(2), ScanIndexForward: aws.Bool(false),
		KeyConditionExpression: aws.String("tag = :t AND n > :low"), ExpressionAttributeValues: map[string]types.AttributeValue{":t": str("t"), ":low": num("-2")}})
	var order []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			order = append(order, item["n"].(*types.AttributeValueMemberN).Value)
			if item["raw"] != nil || item["title"] == nil {
				t.Errorf("the index projects %v", item)
			}
		}
	}
	if fmt.Sprint(order) != "[2 1 0 -1]" {
		t.Errorf("Query: order %v", order)
	}
	_, err = c.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Delete: &types.Delete{TableName: name, Key: key}},
		{ConditionCheck: &types.ConditionCheck{TableName: name, Key: map[string]types.AttributeValue{"user": str("bob"), "n": num("1")}, ConditionExpression: aws.String("attribute_exists(tag)")}},
	}})
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != 2 || *cancelled.CancellationReasons[0].Code != "None" || *cancelled.CancellationReasons[1].Code != "ConditionalCheckFailed" {
		t.Fatalf("TransactWriteItems: %v", err)
	}
	if got, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: name, Key: key}); err != nil || got.Item == nil {
		t.Errorf("a cancelled transaction deleted: %v %v", got, err)
	}
	var missing *types.ResourceNotFoundException
	if _, err := c.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String("none")}); !errors.As(err, &missing) {
		t.Errorf("DescribeTable: %v", err)
	}
	described, err := c.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: name})
	if err != nil || *described.Table.ItemCount != 5 || len(described.Table.GlobalSecondaryIndexes) != 1 {
		t.Errorf("DescribeTable = %+v, %v", described, err)
	}
	if _, err := c.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: name, Key: key}); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(seen, " "); got != "INSERT INSERT INSERT INSERT INSERT MODIFY REMOVE" {
		t.Errorf("OnChange was told %s", got)
	}
}

// TestUnknownOperation is answered by name and told.
func TestUnknownOperation(t *testing.T) {
	_, url := opened(t, Options{})
	status, answer := call(t, url, "ExecuteStatement", `{}`)
	want := `{"__type":"com.amazon.coral.service#UnknownOperationException","message":"the local DynamoDB has no operation ExecuteStatement: call it on AWS, in live mode"}`
	if status != 501 || answer != want {
		t.Errorf("got %d %s\nwant %s", status, answer, want)
	}
}

// TestExpiry: an expired item goes by itself, as a record of the service.
func TestExpiry(t *testing.T) {
	gone := make(chan StreamRecord, 10)
	now := time.Unix(1_700_000_000, 0)
	s, url := opened(t, Options{Sweep: time.Millisecond, Now: func() time.Time { return now }, OnChange: func(_ string, record StreamRecord) {
		if record.EventName == "REMOVE" {
			gone <- record
		}
	}})
	ensure(t, s, notesTable)
	for n, expires := range []string{`{"N":"1700000001"}`, `{"N":"1699999999"}`, `{"S":"1699999999"}`, `{"N":"1000000000"}`} {
		if status, answer := call(t, url, "PutItem", fmt.Sprintf(`{"TableName":"notes","Item":{"user":{"S":"a"},"n":{"N":"%d"},"expires":%s}}`, n, expires)); status != 200 {
			t.Fatal(answer)
		}
	}
	record := <-gone
	if record.Change.Keys["n"].Text != "1" || record.UserIdentity == nil || record.UserIdentity.PrincipalID != "dynamodb.amazonaws.com" {
		t.Errorf("got %+v", record)
	}
	if _, answer := call(t, url, "Scan", `{"TableName":"notes","Select":"COUNT"}`); answer != `{"Count":3,"ScannedCount":3}` {
		t.Errorf("left: %s", answer)
	}
}

// TestStreams reads changes as the streams API gives them.
func TestStreams(t *testing.T) {
	s, url := opened(t, Options{})
	ensure(t, s, notesTable)
	put := func(title string) {
		if status, answer := call(t, url, "PutItem", `{"TableName":"notes","Item":{"user":{"S":"a"},"n":{"N":"1"},"title":{"S":"`+title+`"}}}`); status != 200 {
			t.Fatal(answer)
		}
	}
	streams := func(operation, body string) map[string]any {
		t.Helper()
		status, answer := call(t, url, "DynamoDBStreams_20120810."+operation, body)
		var out map[string]any
		if err := json.Unmarshal([]byte(answer), &out); err != nil || status != 200 {
			t.Fatalf("%s: %d %s", operation, status, answer)
		}
		return out
	}
	put("one")
	put("one") // changes nothing
	arn := streams("ListStreams", `{"TableName":"notes"}`)["Streams"].([]any)[0].(map[string]any)["StreamArn"].(string)
	shard := streams("DescribeStream", `{"StreamArn":"`+arn+`"}`)["StreamDescription"].(map[string]any)["Shards"].([]any)[0].(map[string]any)["ShardId"].(string)
	iterator := func(kind string) string {
		return streams("GetShardIterator", `{"StreamArn":"`+arn+`","ShardId":"`+shard+`","ShardIteratorType":"`+kind+`"}`)["ShardIterator"].(string)
	}
	latest := iterator("LATEST")
	put("two")
	names := func(iterator string) string {
		var out []string
		for _, record := range streams("GetRecords", `{"ShardIterator":"`+iterator+`"}`)["Records"].([]any) {
			out = append(out, record.(map[string]any)["eventName"].(string))
		}
		return strings.Join(out, " ")
	}
	if got := names(iterator("TRIM_HORIZON")); got != "INSERT MODIFY" {
		t.Errorf("from the start: %s", got)
	}
	if got := names(latest); got != "MODIFY" {
		t.Errorf("from the latest: %s", got)
	}
	records, err := s.Records("notes", "", 10)
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	after, err := s.Records("notes", records[0].Change.SequenceNumber, 10)
	if err != nil || len(after) != 1 || after[0].Change.OldImage["title"].Text != "one" || after[0].Change.NewImage["title"].Text != "two" {
		t.Errorf("Records = %+v, %v", after, err)
	}
}

// TestEnsure: what a template changes, changes with the items kept; other keys make another table.
func TestEnsure(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, s, notesTable)
	server := httptest.NewServer(s)
	call(t, server.URL, "PutItem", `{"TableName":"notes","Item":{"user":{"S":"a"},"n":{"N":"1"},"tag":{"S":"x"}}}`)
	server.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s, url := opened(t, Options{Dir: dir})
	count := func(query, want string) {
		t.Helper()
		if _, answer := call(t, url, "Query", query); answer != want {
			t.Errorf("%s\n got %s\nwant %s", query, answer, want)
		}
	}
	ensure(t, s, notesTable)
	byTag := `{"TableName":"notes","IndexName":"byTag","Select":"COUNT","KeyConditionExpression":"tag = :t","ExpressionAttributeValues":{":t":{"S":"x"}}}`
	count(byTag, `{"Count":1,"ScannedCount":1}`)
	ensure(t, s, strings.Replace(notesTable, `"byTag"`, `"renamed"`, 1))
	count(strings.Replace(byTag, "byTag", "renamed", 1), `{"Count":1,"ScannedCount":1}`)
	count(byTag, `{"__type":"com.amazon.coral.validate#ValidationException","message":"The table does not have the specified index: byTag"}`)
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	count(strings.Replace(byTag, "byTag", "renamed", 1), `{"Count":0,"ScannedCount":0}`)
}
