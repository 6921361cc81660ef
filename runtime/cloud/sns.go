package cloud

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"sst/runtime/queues"
)

const (
	typeTopic        = "AWS::SNS::Topic"
	typeSubscription = "AWS::SNS::Subscription"
	maxNewsBytes     = 256 << 10
)

var snsOperations = map[string]operation{
	"Publish":            publish,
	"PublishBatch":       publishBatch,
	"ListTopics":         listTopics,
	"GetTopicAttributes": topicAttributes,

	"ListSubscriptionsByTopic": listSubscriptions,
	"ListSubscriptions":        listSubscriptions,
}

func (c *call) topic(action string) (*Resource, error) {
	arn := c.in.text("TopicArn")
	if arn == "" {
		arn = c.in.text("TargetArn")
	}
	if arn == "" {
		return nil, refuse("InvalidParameter", "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter (the local cloud sends to topics only)")
	}
	if err := c.may("sns:"+action, arn); err != nil {
		return nil, err
	}
	about := c.app.arns[arn]
	if about == nil || about.Type != typeTopic {
		return nil, &Error{Status: 404, Code: "NotFound", Message: fmt.Sprintf("Topic does not exist: the app has no topic %s", arn)}
	}
	return about, nil
}

func (c *call) publish(about *Resource, in params) (fields, error) {
	body := in.text("Message")
	if in.text("MessageStructure") == "json" {
		var forms map[string]string
		if json.Unmarshal([]byte(body), &forms) != nil || forms["default"] == "" {
			return nil, refuse("InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body")
		}
		body = forms["default"]
		for _, protocol := range []string{"lambda", "sqs"} {
			if forms[protocol] != "" && forms[protocol] != forms["default"] {
				c.cloud.once("%s: SNS sends the default form of a message here, also to %s subscriptions", about.ID, protocol)
			}
		}
	}
	attributes, err := messageAttributes(in.object("MessageAttributes"))
	if err != nil {
		return nil, err
	}
	switch {
	case body == "":
		return nil, refuse("InvalidParameter", "Invalid parameter: Empty message")
	case len(body) > maxNewsBytes:
		return nil, refuse("InvalidParameter", "Invalid parameter: Message too long")
	case len(in.text("Subject")) > 100 || strings.ContainsFunc(in.text("Subject"), func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, refuse("InvalidParameter", "Invalid parameter: Subject")
	}
	m := queues.Message{ID: newID(), Body: []byte(body), Attributes: attributes, Subject: in.text("Subject"), Group: in.text("MessageGroupId"), Dedup: in.text("MessageDeduplicationId")}
	out := fields{"MessageId": m.ID}
	if p := properties(about); p.truth("FifoTopic") {
		switch {
		case m.Group == "":
			return nil, refuse("InvalidParameter", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
		case m.Dedup == "" && !p.truth("ContentBasedDeduplication"):
			return nil, refuse("InvalidParameter", "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
		case m.Dedup == "":
			s := sha256.Sum256(m.Body)
			m.Dedup = hex.EncodeToString(s[:])
		}
		out["SequenceNumber"] = fmt.Sprintf("%020d", ascending())
	} else if m.Dedup != "" {
		return nil, refuse("InvalidParameter", "Invalid parameter: The MessageDeduplicationId parameter is not supported for standard topics")
	}
	c.cloud.opts.Network.Deliver(about.Source, m)
	return out, nil
}

func publish(c *call) (any, error) {
	if c.in.has("PhoneNumber") {
		return nil, &Error{Status: 501, Code: "NotImplemented", Message: "the local cloud sends no text messages"}
	}
	about, err := c.topic("Publish")
	if err != nil {
		return nil, err
	}
	return c.publish(about, c.in)
}

func publishBatch(c *call) (any, error) {
	about, err := c.topic("Publish")
	if err != nil {
		return nil, err
	}
	entries := c.in.objects("PublishBatchRequestEntries")
	switch {
	case len(entries) == 0:
		return nil, refuse("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case len(entries) > maxBatchMessages:
		return nil, refuse("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	seen, size := map[string]bool{}, 0
	for _, entry := range entries {
		switch id := entry.text("Id"); {
		case !entryID.MatchString(id):
			return nil, refuse("InvalidBatchEntryId", "The Id of a batch entry in a batch request doesn't abide by the specification.")
		case seen[id]:
			return nil, refuse("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		default:
			seen[id] = true
		}
		size += len(entry.text("Message"))
	}
	if size > maxNewsBytes {
		return nil, refuse("BatchRequestTooLong", "The length of all the batch messages put together is more than the limit.")
	}
	done, failed := []fields{}, []fields{}
	for _, entry := range entries {
		out, err := c.publish(about, entry)
		if err != nil {
			e, _ := err.(*Error)
			if e == nil {
				return nil, err
			}
			failed = append(failed, fields{"Id": entry.text("Id"), "Code": e.Code, "Message": e.Message, "SenderFault": true})
			continue
		}
		out["Id"] = entry.text("Id")
		done = append(done, out)
	}
	return fields{"Successful": done, "Failed": failed}, nil
}

func listTopics(c *call) (any, error) {
	if err := c.may("sns:ListTopics", c.arn("sns", "*")); err != nil {
		return nil, err
	}
	all := []fields{}
	for _, r := range c.app.Resources {
		if r.Type == typeTopic {
			all = append(all, fields{"TopicArn": r.ARN})
		}
	}
	return fields{"Topics": all}, nil
}

func topicAttributes(c *call) (any, error) {
	about, err := c.topic("GetTopicAttributes")
	if err != nil {
		return nil, err
	}
	all := fields{"TopicArn": about.ARN, "Owner": c.app.Account, "DisplayName": properties(about).text("DisplayName")}
	if strings.HasSuffix(about.Name, ".fifo") {
		all["FifoTopic"] = "true"
	}
	return fields{"Attributes": all}, nil
}

// listSubscriptions gives those of a topic, or all.
func listSubscriptions(c *call) (any, error) {
	topic := ""
	if c.op == "ListSubscriptionsByTopic" {
		about, err := c.topic("ListSubscriptionsByTopic")
		if err != nil {
			return nil, err
		}
		topic = about.ARN
	} else if err := c.may("sns:ListSubscriptions", c.arn("sns", "*")); err != nil {
		return nil, err
	}
	all := []fields{}
	for _, r := range c.app.Resources {
		p := properties(&r)
		if r.Type == typeSubscription && (topic == "" || p.text("TopicArn") == topic) {
			id := sum([]byte(r.Source)) // the same on every run
			arn := fmt.Sprintf("%s:%s-%s-%s-%s-%s", p.text("TopicArn"), id[:8], id[8:12], id[12:16], id[16:20], id[20:])
			all = append(all, fields{"SubscriptionArn": arn, "Owner": c.app.Account, "Protocol": p.text("Protocol"), "Endpoint": p.text("Endpoint"), "TopicArn": p.text("TopicArn")})
		}
	}
	return fields{"Subscriptions": all}, nil
}
