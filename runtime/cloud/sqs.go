package cloud

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sst/runtime/queues"
)

const (
	typeQueue        = "AWS::SQS::Queue"
	maxMessageBytes  = 1 << 20
	maxBatchMessages = 10
)

var sqsOperations = map[string]operation{
	"SendMessage":                  sendMessage,
	"SendMessageBatch":             sendMessages,
	"ReceiveMessage":               receiveMessage,
	"DeleteMessage":                deleteMessage,
	"DeleteMessageBatch":           deleteMessages,
	"ChangeMessageVisibility":      changeVisibility,
	"ChangeMessageVisibilityBatch": changeVisibilities,
	"GetQueueUrl":                  queueURL,
	"GetQueueAttributes":           queueAttributes,
	"ListQueues":                   listQueues,
	"ListDeadLetterSourceQueues":   listSources,
	"PurgeQueue":                   purgeQueue,
}

// openQueue is a queue that a call names and may use.
type openQueue struct {
	*queues.Queue
	about *Resource
}

func (q openQueue) fifo() bool { return properties(q.about).truth("FifoQueue") }

func properties(r *Resource) params { return params(r.Properties) }

// QueueURL is how a queue is called at an endpoint.
func QueueURL(endpoint, account, name string) string { return endpoint + "/" + account + "/" + name }

func (c *call) queue(action string) (openQueue, error) {
	name := path.Base(c.in.text("QueueUrl"))
	if c.in.has("QueueName") {
		name = c.in.text("QueueName")
	}
	if name == "" || name == "." {
		return openQueue{}, refuse("MissingParameter", "The request must contain the parameter QueueUrl.")
	}
	if err := c.may("sqs:"+action, c.arn("sqs", name)); err != nil {
		return openQueue{}, err
	}
	about := c.app.named(typeQueue, name)
	if about != nil {
		if q := c.cloud.opts.Network.Queue(about.Source); q != nil {
			return openQueue{q, about}, nil
		}
	}
	return openQueue{}, &Error{Code: "QueueDoesNotExist", Query: "AWS.SimpleQueueService.NonExistentQueue", Message: fmt.Sprintf("The specified queue does not exist: the app has no queue %q.", name)}
}

func (c *call) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, c.app.Region, c.app.Account, resource)
}

func sum(data []byte) string {
	s := md5.Sum(data)
	return hex.EncodeToString(s[:])
}

// messageAttributes reads attributes as SQS and SNS have them.
func messageAttributes(in params) (map[string]queues.Attribute, error) {
	all := map[string]queues.Attribute{}
	for name := range in {
		a := in.object(name)
		kind := a.text("DataType")
		value := queues.Attribute{Kind: kind, Text: a.text("StringValue")}
		switch base, _, _ := strings.Cut(kind, "."); base {
		case "Binary":
			value.Text = a.text("BinaryValue")
			if _, err := base64.StdEncoding.DecodeString(value.Text); err != nil {
				return nil, refuse("InvalidParameterValue", "The message attribute '%s' has an invalid binary value.", name)
			}
		case "Number":
			if _, err := strconv.ParseFloat(value.Text, 64); err != nil {
				return nil, refuse("InvalidParameterValue", "Can't cast the value of message (user) attribute '%s' to a number.", name)
			}
		case "String":
		default:
			return nil, refuse("InvalidParameterValue", "The type of message (user) attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", name)
		}
		if value.Text == "" {
			return nil, refuse("InvalidParameterValue", "Message (user) attribute '%s' must contain a non-empty value of type '%s'.", name, kind)
		}
		all[name] = value
	}
	return all, nil
}

// sumOf is the MD5 of attributes as the SDKs check it.
func sumOf(all map[string]queues.Attribute) string {
	var b []byte
	put := func(text string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		put(name)
		put(a.Kind)
		if strings.HasPrefix(a.Kind, "Binary") {
			data, _ := base64.StdEncoding.DecodeString(a.Text)
			b = append(b, 2)
			put(string(data))
		} else {
			b = append(b, 1)
			put(a.Text)
		}
	}
	return sum(b)
}

// notXML says whether a character may not be in a message.
func notXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}

// entryID is what the entries of a batch are called by.
var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

func (c *call) send(q openQueue, in params) (fields, error) {
	body := in.text("MessageBody")
	attributes, err := messageAttributes(in.object("MessageAttributes"))
	if err != nil {
		return nil, err
	}
	size := len(body)
	for name, a := range attributes {
		size += len(name) + len(a.Kind) + len(a.Text)
	}
	switch {
	case body == "":
		return nil, refuse("MissingParameter", "The request must contain the parameter MessageBody.")
	case strings.ContainsFunc(body, notXML):
		return nil, refuse("InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF.")
	case len(attributes) > 10:
		return nil, refuse("InvalidParameterValue", "Number of message attributes [%d] exceeds the allowed maximum [10].", len(attributes))
	}
	own := properties(q.about)
	limit, err := own.number("MaximumMessageSize", maxMessageBytes, 1024, maxMessageBytes)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, refuse("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", limit)
	}
	delay, _ := own.number("DelaySeconds", 0, 0, 900)
	if delay, err = in.number("DelaySeconds", delay, 0, 900); err != nil {
		return nil, err
	}
	m := queues.Message{ID: newID(), Body: []byte(body), Attributes: attributes, Group: in.text("MessageGroupId"), Dedup: in.text("MessageDeduplicationId")}
	if q.fifo() {
		switch {
		case m.Group == "":
			return nil, refuse("MissingParameter", "The request must contain the parameter MessageGroupId.")
		case m.Dedup == "" && !own.truth("ContentBasedDeduplication"):
			return nil, refuse("InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
		case in.has("DelaySeconds") && delay > 0:
			return nil, refuse("InvalidParameterValue", "Value %d for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.", delay)
		case m.Dedup == "":
			s := sha256.Sum256(m.Body)
			m.Dedup = hex.EncodeToString(s[:])
		}
	} else if m.Dedup != "" {
		return nil, refuse("InvalidParameterValue", "Value %s for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter that is not valid for this queue type.", m.Dedup)
	}
	sent, _, err := q.Send(m, time.Duration(delay)*time.Second)
	if err != nil {
		return nil, err
	}
	out := fields{"MessageId": sent.ID, "MD5OfMessageBody": sum([]byte(body))}
	if len(attributes) > 0 {
		out["MD5OfMessageAttributes"] = sumOf(attributes)
	}
	if q.fifo() {
		out["SequenceNumber"] = fmt.Sprintf("%020d", sent.Sequence)
	}
	return out, nil
}

func sendMessage(c *call) (any, error) {
	q, err := c.queue("SendMessage")
	if err != nil {
		return nil, err
	}
	return c.send(q, c.in)
}

// batch runs one thing for each entry; what fails is said of its entry alone.
func (c *call) batch(action string, do func(q openQueue, entry params) (fields, error)) (any, error) {
	q, err := c.queue(action)
	if err != nil {
		return nil, err
	}
	entries := c.in.objects("Entries")
	switch {
	case len(entries) == 0:
		return nil, &Error{Code: "EmptyBatchRequest", Query: "AWS.SimpleQueueService.EmptyBatchRequest", Message: "There should be at least one entry in the request."}
	case len(entries) > maxBatchMessages:
		return nil, &Error{Code: "TooManyEntriesInBatchRequest", Query: "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", Message: fmt.Sprintf("Maximum number of entries per request are %d. You have sent %d.", maxBatchMessages, len(entries))}
	}
	seen, size := map[string]bool{}, 0
	for _, entry := range entries {
		if !entryID.MatchString(entry.text("Id")) {
			return nil, &Error{Code: "InvalidBatchEntryId", Query: "AWS.SimpleQueueService.InvalidBatchEntryId", Message: "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."}
		}
		if seen[entry.text("Id")] {
			return nil, &Error{Code: "BatchEntryIdsNotDistinct", Query: "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", Message: fmt.Sprintf("Id %s repeated.", entry.text("Id"))}
		}
		seen[entry.text("Id")] = true
		size += len(entry.text("MessageBody"))
	}
	if size > maxMessageBytes {
		return nil, &Error{Code: "BatchRequestTooLong", Query: "AWS.SimpleQueueService.BatchRequestTooLong", Message: fmt.Sprintf("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxMessageBytes, size)}
	}
	done, failed := []fields{}, []fields{}
	for _, entry := range entries {
		out, err := do(q, entry)
		var e *Error
		switch {
		case errors.As(err, &e):
			failed = append(failed, fields{"Id": entry.text("Id"), "Code": e.Code, "Message": e.Message, "SenderFault": true})
		case err != nil:
			failed = append(failed, fields{"Id": entry.text("Id"), "Code": "InternalError", "Message": err.Error(), "SenderFault": false})
		default:
			out["Id"] = entry.text("Id")
			done = append(done, out)
		}
	}
	out := fields{"Successful": done}
	if len(failed) > 0 {
		out["Failed"] = failed
	}
	return out, nil
}

func sendMessages(c *call) (any, error) { return c.batch("SendMessage", c.send) }

// wanted says whether a list of names has one: "All" and ".*" have all, "foo.*" what begins so.
func wanted(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		prefix, all := strings.CutSuffix(n, ".*")
		return n == "All" || n == name || all && (prefix == "" || strings.HasPrefix(name, prefix))
	})
}

func receiveMessage(c *call) (any, error) {
	q, err := c.queue("ReceiveMessage")
	if err != nil {
		return nil, err
	}
	count, err := c.in.number("MaxNumberOfMessages", 1, 1, 10)
	if err != nil {
		return nil, err
	}
	wait, _ := properties(q.about).number("ReceiveMessageWaitTimeSeconds", 0, 0, 20)
	if wait, err = c.in.number("WaitTimeSeconds", wait, 0, 20); err != nil {
		return nil, err
	}
	visible, err := c.in.number("VisibilityTimeout", -1, 0, 43200)
	if err != nil {
		return nil, err
	}
	hide := time.Duration(visible) * time.Second
	if visible == 0 {
		hide = time.Nanosecond
	}
	names := append(c.in.texts("AttributeNames"), c.in.texts("MessageSystemAttributeNames")...)
	custom := c.in.texts("MessageAttributeNames")
	list := []fields{}
	for _, m := range q.Receive(c.ctx, count, time.Duration(wait)*time.Second, hide) {
		out := fields{"MessageId": m.ID, "ReceiptHandle": m.Receipt, "Body": string(m.Body), "MD5OfBody": sum(m.Body)}
		system := fields{"SenderId": c.app.Account, "SentTimestamp": fmt.Sprint(m.Sent.UnixMilli()), "ApproximateReceiveCount": fmt.Sprint(m.Received),
			"ApproximateFirstReceiveTimestamp": fmt.Sprint(m.First.UnixMilli())}
		if m.Group != "" {
			system["MessageGroupId"] = m.Group
		}
		if q.fifo() {
			system["SequenceNumber"], system["MessageDeduplicationId"] = fmt.Sprintf("%020d", m.Sequence), m.Dedup
		}
		maps.DeleteFunc(system, func(name string, _ any) bool { return !wanted(names, name) })
		if len(system) > 0 {
			out["Attributes"] = system
		}
		given, attributes := fields{}, map[string]queues.Attribute{}
		for name, a := range m.Attributes {
			if !wanted(custom, name) {
				continue
			}
			attributes[name] = a
			if strings.HasPrefix(a.Kind, "Binary") {
				given[name] = fields{"DataType": a.Kind, "BinaryValue": a.Text}
			} else {
				given[name] = fields{"DataType": a.Kind, "StringValue": a.Text}
			}
		}
		if len(given) > 0 {
			out["MessageAttributes"], out["MD5OfMessageAttributes"] = given, sumOf(attributes)
		}
		list = append(list, out)
	}
	if len(list) == 0 {
		return fields{}, nil
	}
	return fields{"Messages": list}, nil
}

func invalidReceipt(receipt string) error {
	return refuse("ReceiptHandleIsInvalid", "The input receipt handle \"%s\" is not a valid receipt handle.", receipt)
}

// remove deletes; SQS says nothing of a receipt that is no longer valid, only of one that never was.
func (c *call) remove(q openQueue, in params) (fields, error) {
	receipt := in.text("ReceiptHandle")
	if !strings.Contains(receipt, ".") {
		return nil, invalidReceipt(receipt)
	}
	if err := q.Delete(receipt); err != nil && !errors.Is(err, queues.ErrReceipt) {
		return nil, err
	}
	return fields{}, nil
}

func deleteMessage(c *call) (any, error) {
	q, err := c.queue("DeleteMessage")
	if err != nil {
		return nil, err
	}
	_, err = c.remove(q, c.in)
	return nil, err
}

func deleteMessages(c *call) (any, error) { return c.batch("DeleteMessage", c.remove) }

func (c *call) hide(q openQueue, in params) (fields, error) {
	seconds, err := in.number("VisibilityTimeout", 0, 0, 43200)
	if err != nil {
		return nil, err
	}
	receipt := in.text("ReceiptHandle")
	switch err := q.Hide(receipt, time.Duration(seconds)*time.Second); {
	case !in.has("VisibilityTimeout"):
		return nil, refuse("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
	case !strings.Contains(receipt, "."):
		return nil, invalidReceipt(receipt)
	case errors.Is(err, queues.ErrReceipt):
		return nil, refuse("InvalidParameterValue", "Value %s for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.", receipt)
	case err != nil:
		return nil, &Error{Code: "MessageNotInflight", Query: "AWS.SimpleQueueService.MessageNotInflight", Message: "The message referred to isn't in flight."}
	}
	return fields{}, nil
}

func changeVisibility(c *call) (any, error) {
	q, err := c.queue("ChangeMessageVisibility")
	if err != nil {
		return nil, err
	}
	_, err = c.hide(q, c.in)
	return nil, err
}

func changeVisibilities(c *call) (any, error) { return c.batch("ChangeMessageVisibility", c.hide) }

func (c *call) urlOf(name string) string { return QueueURL(c.cloud.url, c.app.Account, name) }

func queueURL(c *call) (any, error) {
	q, err := c.queue("GetQueueUrl")
	if err != nil {
		return nil, err
	}
	return fields{"QueueUrl": c.urlOf(q.about.Name)}, nil
}

func listQueues(c *call) (any, error) {
	if err := c.may("sqs:ListQueues", c.arn("sqs", "*")); err != nil {
		return nil, err
	}
	return c.listed("QueueUrls", func(r *Resource) bool { return strings.HasPrefix(r.Name, c.in.text("QueueNamePrefix")) })
}

func listSources(c *call) (any, error) {
	q, err := c.queue("ListDeadLetterSourceQueues")
	if err != nil {
		return nil, err
	}
	return c.listed("queueUrls", func(r *Resource) bool {
		return properties(r).object("RedrivePolicy").text("deadLetterTargetArn") == q.about.ARN
	})
}

// listed gives the addresses of some queues; in pages when a size is given.
func (c *call) listed(field string, wanted func(*Resource) bool) (any, error) {
	size, err := c.in.number("MaxResults", 0, 1, 1000)
	if err != nil {
		return nil, err
	}
	urls := []string{}
	for i := range c.app.Resources {
		if r := &c.app.Resources[i]; r.Type == typeQueue && wanted(r) && c.urlOf(r.Name) > c.in.text("NextToken") {
			urls = append(urls, c.urlOf(r.Name))
		}
	}
	slices.Sort(urls)
	out := fields{field: urls}
	if size > 0 && len(urls) > size {
		out[field], out["NextToken"] = urls[:size], urls[size-1]
	}
	return out, nil
}

func queueAttributes(c *call) (any, error) {
	q, err := c.queue("GetQueueAttributes")
	if err != nil {
		return nil, err
	}
	visible, hidden, delayed := q.Counts()
	p := properties(q.about)
	all := fields{"QueueArn": q.about.ARN, "ApproximateNumberOfMessages": fmt.Sprint(visible), "ApproximateNumberOfMessagesNotVisible": fmt.Sprint(hidden),
		"ApproximateNumberOfMessagesDelayed": fmt.Sprint(delayed)}
	for name, otherwise := range map[string]string{"VisibilityTimeout": "30", "DelaySeconds": "0", "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0", "MaximumMessageSize": "1048576"} {
		if all[name] = otherwise; p.has(name) {
			all[name] = p.text(name)
		}
	}
	if redrive := p.object("RedrivePolicy"); redrive != nil {
		all["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%s}`, redrive.text("deadLetterTargetArn"), redrive.text("maxReceiveCount"))
	}
	if q.fifo() {
		all["FifoQueue"], all["ContentBasedDeduplication"] = "true", strconv.FormatBool(p.truth("ContentBasedDeduplication"))
	}
	names := c.in.texts("AttributeNames")
	maps.DeleteFunc(all, func(name string, _ any) bool { return !wanted(names, name) })
	return fields{"Attributes": all}, nil
}

func purgeQueue(c *call) (any, error) {
	q, err := c.queue("PurgeQueue")
	if err != nil {
		return nil, err
	}
	c.cloud.mu.Lock()
	before := c.cloud.purged[q.about.Source]
	if again := time.Since(before) < time.Minute; !again {
		c.cloud.purged[q.about.Source] = time.Now()
		c.cloud.mu.Unlock()
		q.Purge()
		return nil, nil
	}
	c.cloud.mu.Unlock()
	return nil, &Error{Code: "PurgeQueueInProgress", Query: "AWS.SimpleQueueService.PurgeQueueInProgress", Message: fmt.Sprintf("Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.about.Name)}
}
