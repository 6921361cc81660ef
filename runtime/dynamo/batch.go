package dynamo

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	maxBatchGet   = 100
	maxBatchWrite = 25
	maxBatchBytes = 16 << 20
	maxTransact   = 100
	maxTransBytes = 4 << 20
)

// withItems adds items that are JSON already: encoding them again would cost more than finding them.
func withItems(out map[string]any, items []byte) (any, error) {
	head, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	answer := make([]byte, 0, len(head)+len(items)+16)
	answer = append(answer, head[:len(head)-1]...)
	answer = append(answer, `,"Items":`...)
	answer = append(answer, items...)
	return rawAnswer(append(answer, '}')), nil
}

// keysOnce refuses two operations on one item.
type keysOnce map[string]bool

func (k keysOnce) add(t *table, key Item) bool {
	id := t.ID + string(t.key(key))
	again := k[id]
	k[id] = true
	return !again
}

func (s *Store) batchGetItem(in *struct {
	RequestItems map[string]struct {
		Keys                     []Item
		ConsistentRead           bool
		ProjectionExpression     *string
		ExpressionAttributeNames map[string]string
		AttributesToGet          json.RawMessage
	}
	ReturnConsumedCapacity string
}) (any, error) {
	if len(in.RequestItems) == 0 {
		return nil, invalid("1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	total := 0
	for name, part := range in.RequestItems {
		if len(part.Keys) == 0 {
			return nil, invalid("1 validation error detected: Value at 'requestItems.%s.member.keys' failed to satisfy constraint: Member must have length greater than or equal to 1", name)
		}
		total += len(part.Keys)
	}
	if total > maxBatchGet {
		return nil, invalid("Too many items requested for the BatchGetItem call")
	}
	type reading struct {
		t     *table
		paths []path
	}
	readings := map[string]reading{}
	once := keysOnce{}
	for _, name := range sorted(in.RequestItems) {
		part := in.RequestItems[name]
		request := getRequest{ProjectionExpression: part.ProjectionExpression}
		request.ExpressionAttributeNames, request.AttributesToGet, request.ReturnConsumedCapacity = part.ExpressionAttributeNames, part.AttributesToGet, in.ReturnConsumedCapacity
		paths, err := request.projection()
		if err != nil {
			return nil, err
		}
		t, err := s.table(name, "")
		if err != nil {
			return nil, err
		}
		for _, key := range part.Keys {
			if err := t.checkKey(key); err != nil {
				return nil, err
			}
			if !once.add(t, key) {
				return nil, invalid("Provided list of item keys contains duplicates")
			}
		}
		readings[name] = reading{t, paths}
	}
	responses, unprocessed := map[string][]Item{}, map[string]any{}
	used := &usage{}
	size := 0
	err := s.db.View(func(tx *bolt.Tx) error {
		for _, name := range sorted(in.RequestItems) {
			part, r := in.RequestItems[name], readings[name]
			responses[name] = []Item{}
			for at, key := range part.Keys {
				item, err := get(tx, r.t, r.t.key(key))
				if err != nil {
					return err
				}
				if size += item.size(); size > maxBatchBytes {
					left := map[string]any{"Keys": part.Keys[at:], "ConsistentRead": part.ConsistentRead}
					if part.ProjectionExpression != nil {
						left["ProjectionExpression"] = part.ProjectionExpression
					}
					if part.ExpressionAttributeNames != nil {
						left["ExpressionAttributeNames"] = part.ExpressionAttributeNames
					}
					unprocessed[name] = left
					break
				}
				used.read(r.t, item.size(), part.ConsistentRead, 1)
				if item != nil {
					responses[name] = append(responses[name], item.project(r.paths))
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{"Responses": responses, "UnprocessedKeys": unprocessed}
	used.answerAll(out, in.ReturnConsumedCapacity)
	return out, nil
}

func (u *usage) answerAll(out map[string]any, mode string) {
	if mode == "TOTAL" || mode == "INDEXES" {
		out["ConsumedCapacity"] = u.shown(mode)
	}
}

func (s *Store) batchWriteItem(in *struct {
	RequestItems map[string][]struct {
		PutRequest    *struct{ Item Item }
		DeleteRequest *struct{ Key Item }
	}
	ReturnConsumedCapacity string
}) (any, error) {
	if len(in.RequestItems) == 0 {
		return nil, invalid("1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	total := 0
	for _, part := range in.RequestItems {
		total += len(part)
	}
	if total > maxBatchWrite {
		return nil, invalid("Too many items requested for the BatchWriteItem call")
	}
	var writings []*writing
	for _, name := range sorted(in.RequestItems) {
		if len(in.RequestItems[name]) == 0 {
			return nil, invalid("The batch write request list for a table cannot be null or empty")
		}
		for _, request := range in.RequestItems[name] {
			w := &writing{table: name}
			switch {
			case request.PutRequest != nil && request.DeleteRequest != nil:
				return nil, invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
			case request.PutRequest != nil && request.PutRequest.Item != nil:
				w.put = request.PutRequest.Item
			case request.DeleteRequest != nil && request.DeleteRequest.Key != nil:
				w.key, w.remove = request.DeleteRequest.Key, true
			default:
				return nil, invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
			}
			writings = append(writings, w)
		}
	}
	used := &usage{}
	err := s.write(func(tx *bolt.Tx, out *changes) error {
		once := keysOnce{}
		type planned struct {
			t         *table
			old, item Item
		}
		var plans []planned
		for _, w := range writings { // all of them, before anything is changed
			t, old, item, err := w.plan(s, tx)
			if err != nil {
				return err
			}
			key := w.key
			if w.put != nil {
				key = w.put
			}
			if !once.add(t, key) {
				return invalid("Provided list of item keys contains duplicates")
			}
			plans = append(plans, planned{t, old, item})
		}
		for _, p := range plans {
			used.write(p.t, p.old, p.item, 1)
			if err := s.store(tx, out, p.t, p.old, p.item, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{"UnprocessedItems": map[string]any{}}
	used.answerAll(out, in.ReturnConsumedCapacity)
	return out, nil
}

func (s *Store) transactGetItems(in *struct {
	TransactItems          []struct{ Get *getRequest }
	ReturnConsumedCapacity string
}) (any, error) {
	if err := checkCount(len(in.TransactItems)); err != nil {
		return nil, err
	}
	var all [][]path
	for _, part := range in.TransactItems {
		if part.Get == nil || part.Get.Key == nil {
			return nil, invalid("1 validation error detected: Value null at 'transactItems.1.member.get' failed to satisfy constraint: Member must not be null")
		}
		paths, err := part.Get.projection()
		if err != nil {
			return nil, err
		}
		all = append(all, paths)
	}
	used := &usage{}
	responses := []any{}
	once := keysOnce{}
	err := s.db.View(func(tx *bolt.Tx) error {
		reasons := make([]*apiError, len(in.TransactItems))
		for at, part := range in.TransactItems {
			t, err := s.table(part.Get.TableName, "")
			if err != nil {
				return err
			}
			if err := t.checkKey(part.Get.Key); err != nil {
				reasons[at] = err.(*apiError)
				continue
			}
			if !once.add(t, part.Get.Key) {
				return invalid("Transaction request cannot include multiple operations on one item")
			}
			item, err := get(tx, t, t.key(part.Get.Key))
			if err != nil {
				return err
			}
			used.read(t, item.size(), true, 2)
			response := map[string]any{}
			if item != nil {
				response["Item"] = item.project(all[at])
			}
			responses = append(responses, response)
		}
		return cancelled(reasons)
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{"Responses": responses}
	used.answerAll(out, in.ReturnConsumedCapacity)
	return out, nil
}

func checkCount(n int) error {
	bound := "greater than or equal to 1"
	if n > maxTransact {
		bound = fmt.Sprintf("less than or equal to %d", maxTransact)
	}
	if n == 0 || n > maxTransact {
		return invalid("1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length %s", bound)
	}
	return nil
}

// cancelled makes the answer of a transaction from the reason of each part; nil where none has one.
func cancelled(reasons []*apiError) error {
	codes := make([]string, len(reasons))
	shown := make([]any, len(reasons))
	any := false
	for at, reason := range reasons {
		codes[at] = "None"
		one := map[string]interface{}{}
		if reason != nil {
			any = true
			_, kind, _ := strings.Cut(reason.kind, "#")
			codes[at] = map[string]string{"ConditionalCheckFailedException": "ConditionalCheckFailed", "ValidationException": "ValidationError"}[kind]
			one["Message"] = reason.message
			for name, value := range reason.extra {
				one[name] = value
			}
		}
		one["Code"] = codes[at]
		shown[at] = one
	}
	if !any {
		return nil
	}
	err := failure("TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [%s]", strings.Join(codes, ", "))
	err.extra = map[string]interface{}{"CancellationReasons": shown, "Message": err.message}
	return err
}

// remembered is a transaction that was done under a client's token.
type remembered struct {
	sum   [sha256.Size]byte
	until time.Time
}

const tokenLife = 10 * time.Minute

func (s *Store) transactWriteItems(in *struct {
	TransactItems []struct {
		Put, Update, Delete, ConditionCheck *writeRequest
	}
	ClientRequestToken     string
	ReturnConsumedCapacity string
}) (any, error) {
	if err := checkCount(len(in.TransactItems)); err != nil {
		return nil, err
	}
	type part struct {
		*writing
		check bool
	}
	var parts []part
	for _, item := range in.TransactItems {
		var request *writeRequest
		verb, given := "", 0
		for _, one := range []struct {
			verb    string
			request *writeRequest
		}{{"Put", item.Put}, {"Update", item.Update}, {"Delete", item.Delete}, {"Check", item.ConditionCheck}} {
			if one.request != nil {
				verb, request = one.verb, one.request
				given++
			}
		}
		if given != 1 {
			return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
		}
		if verb == "Update" && request.UpdateExpression == nil {
			return nil, invalid("1 validation error detected: Value null at 'transactItems.1.member.update.updateExpression' failed to satisfy constraint: Member must not be null")
		}
		if verb == "Check" && request.ConditionExpression == nil {
			return nil, invalid("1 validation error detected: Value null at 'transactItems.1.member.conditionCheck.conditionExpression' failed to satisfy constraint: Member must not be null")
		}
		w, err := request.writing(verb)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part{w, verb == "Check"})
	}
	sum := sha256.Sum256(fingerprint(in.TransactItems))
	used := &usage{}
	err := s.write(func(tx *bolt.Tx, out *changes) error {
		now := s.options.Now()
		if in.ClientRequestToken != "" {
			for token, old := range s.tokens { // only the committer has them
				if now.After(old.until) {
					delete(s.tokens, token)
				}
			}
			old, ok := s.tokens[in.ClientRequestToken]
			if !ok {
				old, ok = out.tokens[in.ClientRequestToken]
			}
			if ok {
				if old.sum != sum {
					return failure("IdempotentParameterMismatchException", "The request uses the same client token as a previous, but non-identical request. Do not reuse a client token with different requests, unless the requests are identical")
				}
				return nil
			}
		}
		type planned struct {
			t         *table
			old, item Item
			check     bool
		}
		var plans []planned
		reasons := make([]*apiError, len(parts))
		once := keysOnce{}
		size := 0
		for at, w := range parts {
			t, err := s.table(w.table, "")
			if err != nil {
				return err
			}
			key := w.key
			if w.put != nil {
				key = w.put
			}
			if whole := t.hasKey(key); whole && !once.add(t, key) {
				return invalid("Transaction request cannot include multiple operations on one item")
			}
			_, old, item, err := w.plan(s, tx)
			if refused, ok := err.(*apiError); ok {
				reasons[at] = refused
				continue
			} else if err != nil {
				return err
			}
			size += max(old.size(), item.size())
			plans = append(plans, planned{t, old, item, w.check})
		}
		if err := cancelled(reasons); err != nil {
			return err
		}
		if size > maxTransBytes {
			return invalid("Transaction size cannot exceed 4194304 bytes")
		}
		for _, p := range plans {
			if p.check {
				used.of(p.t).table += 2 * writeUnits(p.old, nil)
				continue
			}
			used.write(p.t, p.old, p.item, 2)
			if err := s.store(tx, out, p.t, p.old, p.item, nil); err != nil {
				return err
			}
		}
		if in.ClientRequestToken != "" {
			out.tokens[in.ClientRequestToken] = remembered{sum, now.Add(tokenLife)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	used.answerAll(out, in.ReturnConsumedCapacity)
	return out, nil
}

func (t *table) hasKey(item Item) bool {
	for _, key := range t.Spec.KeySchema {
		if item[key.AttributeName].Kind != t.Spec.kindOf(key.AttributeName) {
			return false
		}
	}
	return true
}

// fingerprint is the same for equal requests: maps are encoded in order.
func fingerprint(request any) []byte {
	var out bytes.Buffer
	json.NewEncoder(&out).Encode(request) // made of JSON a moment ago
	return out.Bytes()
}
