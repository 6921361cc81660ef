package dynamo

import (
	"bytes"
	"encoding/binary"
	"strings"

	bolt "go.etcd.io/bbolt"
)

const maxPageBytes = 1 << 20

type queryRequest struct {
	TableName              string
	IndexName              *string
	KeyConditionExpression *string
	FilterExpression       *string
	ProjectionExpression   *string
	ExclusiveStartKey      Item
	Limit                  *int
	ScanIndexForward       *bool
	ConsistentRead         bool
	Select                 string
	Segment, TotalSegments *int
	common
}

// A walk is a Query or Scan once it is understood.
type walk struct {
	t          *table
	index      *IndexSpec // nil: the table
	low, high  []byte     // of the keys; a nil high has no end
	backward   bool
	filter     *node
	projection []path
	limit      int
	count      bool // no items in the answer
	all        bool // whole items from a local index
}

func (s *Store) query(in *queryRequest) (any, error) {
	if in.KeyConditionExpression == nil {
		if err := in.legacy.refuse(); err != nil {
			return nil, err
		}
		if in.TableName == "" {
			return nil, checkName("tableName", "")
		}
		return nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	return s.walk(in)
}

func (s *Store) scan(in *queryRequest) (any, error) {
	in.KeyConditionExpression = nil
	switch segment, total := in.Segment, in.TotalSegments; {
	case segment != nil && total == nil:
		return nil, invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	case segment == nil && total != nil:
		return nil, invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case total != nil && (*total < 1 || *total > 1000000):
		return nil, invalid("1 validation error detected: Value '%d' at 'totalSegments' failed to satisfy constraint: Member must have value between 1 and 1000000", *total)
	case segment != nil && *segment < 0:
		return nil, invalid("1 validation error detected: Value '%d' at 'segment' failed to satisfy constraint: Member must have value greater than or equal to 0", *segment)
	case segment != nil && *segment >= *total:
		return nil, invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: %d is not less than TotalSegments: %d", *segment, *total)
	}
	return s.walk(in)
}

func (s *Store) walk(in *queryRequest) (any, error) {
	w := &walk{backward: in.ScanIndexForward != nil && !*in.ScanIndexForward && in.KeyConditionExpression != nil, count: in.Select == "COUNT"}
	if in.Limit != nil {
		if w.limit = *in.Limit; w.limit < 1 {
			return nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1", w.limit)
		}
	}
	expressions := []expression{{"FilterExpression", in.FilterExpression}, {"ProjectionExpression", in.ProjectionExpression}}
	if in.KeyConditionExpression != nil {
		expressions = append(expressions, expression{"KeyConditionExpression", in.KeyConditionExpression})
	}
	with, err := in.placeholders(expressions...)
	if err != nil {
		return nil, err
	}
	var condition *node
	if in.FilterExpression != nil {
		if w.filter, err = parseCondition("FilterExpression", *in.FilterExpression, with); err != nil {
			return nil, err
		}
	}
	if in.ProjectionExpression != nil {
		if w.projection, err = parseProjection(*in.ProjectionExpression, with); err != nil {
			return nil, err
		}
	}
	if in.KeyConditionExpression != nil {
		if condition, err = parseCondition("KeyConditionExpression", *in.KeyConditionExpression, with); err != nil {
			return nil, err
		}
	}
	if err := with.unused(); err != nil {
		return nil, err
	}
	if w.t, err = s.table(in.TableName, ""); err != nil {
		return nil, err
	}
	keys := w.t.Spec.KeySchema
	if in.IndexName != nil {
		index, ok := w.t.Spec.index(*in.IndexName)
		if !ok {
			return nil, invalid("The table does not have the specified index: %s", *in.IndexName)
		}
		if in.ConsistentRead && !index.local {
			return nil, invalid("Consistent reads are not supported on global secondary indexes")
		}
		w.index, keys = &index, index.KeySchema
	}
	if err := w.checkSelect(in); err != nil {
		return nil, err
	}
	if condition != nil {
		if err := w.bounds(keys, condition); err != nil {
			return nil, err
		}
		if err := filterOfKeys(keys, w.filter); err != nil {
			return nil, err
		}
	} else if in.TotalSegments != nil {
		w.low, w.high = segment(*in.Segment, *in.TotalSegments)
	}
	if in.ExclusiveStartKey != nil {
		if err := w.start(keys, in.ExclusiveStartKey, condition != nil); err != nil {
			return nil, err
		}
	}
	return w.page(s, in)
}

func segment(at, of int) (low, high []byte) {
	edge := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32((uint64(n)<<32)/uint64(of))) }
	if at+1 < of {
		high = edge(at + 1)
	}
	return edge(at), high
}

func (w *walk) checkSelect(in *queryRequest) error {
	switch in.Select {
	case "", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES":
	default:
		return invalid("1 validation error detected: Value '%s' at 'select' failed to satisfy constraint: Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]", in.Select)
	}
	switch {
	case in.Select == "ALL_PROJECTED_ATTRIBUTES" && w.index == nil:
		return invalid("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
	case in.Select == "SPECIFIC_ATTRIBUTES" && w.projection == nil:
		return invalid("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	case w.projection != nil && in.Select != "" && in.Select != "SPECIFIC_ATTRIBUTES":
		return invalid("Cannot specify the ProjectionExpression when choosing to get %s", strings.Replace(in.Select, "COUNT", "only the Count", 1))
	case w.index == nil:
		return nil
	case in.Select == "ALL_ATTRIBUTES" && !w.index.local && w.index.Projection.ProjectionType != "ALL":
		return invalid("One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index %s because its projection type is not ALL", w.index.IndexName)
	}
	w.all = in.Select == "ALL_ATTRIBUTES"
	for _, p := range w.projection {
		if w.t.projects(*w.index, p[0].name) {
			continue
		}
		if !w.index.local {
			return invalid("One or more parameter values were invalid: Global secondary index %s does not project [%s]", w.index.IndexName, p[0].name)
		}
		w.all = true // a local index fetches from the table
	}
	return nil
}

// operatorWord is how AWS names an operator: functions in small letters.
func operatorWord(op string) string {
	if _, function := conditionFunctions[op]; function {
		return op
	}
	return strings.ToUpper(op)
}

// terms are the conditions joined by AND.
func terms(n *node) []*node {
	if n.op == "and" {
		return append(terms(n.args[0]), terms(n.args[1])...)
	}
	return []*node{n}
}

// bounds turns a key condition into the range of keys that it holds for.
func (w *walk) bounds(keys []KeyElement, condition *node) error {
	by := map[string]*node{}
	for _, term := range terms(condition) {
		switch term.op {
		case "=", "<", "<=", ">", ">=", "between", "begins_with":
		default:
			return invalid("Invalid operator used in KeyConditionExpression: %s", operatorWord(term.op))
		}
		if term.args[0].op == "value" && term.args[1].op == "path" && len(term.args) == 2 && term.op != "begins_with" {
			turned := map[string]string{"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
			term = &node{op: turned[term.op], args: []*node{term.args[1], term.args[0]}}
		}
		if term.args[0].op == "size" {
			return invalid("KeyConditionExpressions cannot contain nested operations")
		}
		if term.args[0].op != "path" {
			return invalid("Invalid condition in KeyConditionExpression: No key attribute specified")
		}
		for _, arg := range term.args[1:] {
			if arg.op != "value" {
				return invalid("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
			}
		}
		if len(term.args[0].path) > 1 {
			return invalid("KeyConditionExpressions cannot have conditions on nested attributes")
		}
		name := term.args[0].path[0].name
		if by[name] != nil {
			return invalid("KeyConditionExpressions must only contain one condition per key")
		}
		by[name] = term
	}
	if len(by) > 2 {
		return invalid("Conditions can be of length 1 or 2 only")
	}
	hash := by[keys[0].AttributeName]
	if hash == nil {
		return invalid("Query condition missed key schema element: %s", keys[0].AttributeName)
	}
	if hash.op != "=" {
		return invalid("Query key condition not supported")
	}
	var second *node
	if len(by) == 2 {
		if len(keys) == 1 {
			for name := range by {
				if name != keys[0].AttributeName {
					return invalid("Query key condition not supported")
				}
			}
		}
		if second = by[keys[1].AttributeName]; second == nil {
			return invalid("Query condition missed key schema element: %s", keys[1].AttributeName)
		}
	}
	for name, term := range by {
		for _, arg := range term.args[1:] {
			if arg.value.Kind != w.t.Spec.kindOf(name) {
				return invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")
			}
			if arg.value.Text == "" && term.op != "begins_with" {
				return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", wordOf(arg.value.Kind), name)
			}
		}
	}
	value := hash.args[1].value
	prefix := appendKey(partition(value), value)
	w.low, w.high = prefix, successor(prefix)
	if second == nil {
		return nil
	}
	at := func(n int) []byte { return appendKey(bytes.Clone(prefix), second.args[n].value) }
	switch second.op {
	case "=":
		w.low, w.high = at(1), successor(at(1))
	case "<":
		w.high = at(1)
	case "<=":
		w.high = successor(at(1))
	case ">":
		w.low = successor(at(1))
	case ">=":
		w.low = at(1)
	case "between":
		w.low, w.high = at(1), successor(at(2))
	case "begins_with":
		start := at(1)
		if second.args[1].value.Kind == Number {
			return invalid("Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N")
		}
		start = start[:len(start)-2] // without the end mark
		w.low, w.high = start, successor(start)
	}
	return nil
}

// successor is the first key after all that start with prefix; nil is the end.
func successor(prefix []byte) []byte {
	out := bytes.Clone(prefix)
	for at := len(out) - 1; at >= 0; at-- {
		if out[at]++; out[at] != 0 {
			return out[:at+1]
		}
	}
	return nil
}

// filterOfKeys refuses a Query's filter on key attributes: they belong into the key condition.
func filterOfKeys(keys []KeyElement, n *node) error {
	if n == nil {
		return nil
	}
	if n.op == "path" && isKey(keys, n.path[0].name) {
		return invalid("Filter Expression can only contain non-primary key attributes: Primary key attribute: %s", n.path[0].name)
	}
	for _, arg := range n.args {
		if err := filterOfKeys(keys, arg); err != nil {
			return err
		}
	}
	return nil
}

// start moves the near bound behind the last key of the page before.
func (w *walk) start(keys []KeyElement, key Item, query bool) error {
	names := map[string]bool{}
	for _, element := range append(append([]KeyElement{}, w.t.Spec.KeySchema...), keys...) {
		names[element.AttributeName] = true
		if value, ok := key[element.AttributeName]; !ok || value.Kind != w.t.Spec.kindOf(element.AttributeName) {
			return invalid("The provided starting key is invalid")
		}
	}
	if len(key) != len(names) {
		return invalid("The provided starting key is invalid")
	}
	at := w.t.key(key)
	if w.index != nil {
		at = w.index.entry(key, at)
	}
	inside := bytes.Compare(at, w.low) >= 0 && (w.high == nil || bytes.Compare(at, w.high) < 0)
	if !inside && query {
		hash := key[keys[0].AttributeName]
		if !bytes.HasPrefix(w.low, appendKey(partition(hash), hash)) {
			return invalid("The provided starting key is outside query boundaries based on provided conditions")
		}
		return invalid("The provided starting key does not match the range key predicate")
	}
	if !inside {
		return invalid("The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment.")
	}
	if w.backward {
		w.high = at
	} else {
		w.low = append(bytes.Clone(at), 0)
	}
	return nil
}

// page walks until the page is full and writes the answer.
func (w *walk) page(s *Store, in *queryRequest) (any, error) {
	items := []byte{'['}
	matched, scanned, size, fetched := 0, 0, 0, 0.0
	var last Item
	full := false
	err := s.db.View(func(tx *bolt.Tx) error {
		primary := tx.Bucket(w.t.bucket())
		walked := primary
		if w.index != nil {
			walked = tx.Bucket(w.t.indexBucket(w.index.IndexName))
		}
		if primary == nil || walked == nil {
			return notFound()
		}
		cursor := walked.Cursor()
		key, data := cursor.Seek(w.low)
		next := cursor.Next
		if w.backward {
			next = cursor.Prev
			if w.high == nil {
				key, data = cursor.Last()
			} else if key, data = cursor.Seek(w.high); key == nil {
				key, data = cursor.Last()
			} else {
				key, data = cursor.Prev()
			}
		}
		for ; key != nil; key, data = next() {
			if !w.backward && w.high != nil && bytes.Compare(key, w.high) >= 0 || w.backward && bytes.Compare(key, w.low) < 0 {
				return nil
			}
			if full = w.limit > 0 && scanned == w.limit || size >= maxPageBytes; full {
				return nil
			}
			if w.index != nil {
				data = primary.Get(data)
			}
			item, bytes, err := decodeItem(data)
			if err != nil {
				return err
			}
			last = item
			if w.index != nil {
				shown := w.t.visible(*w.index, item)
				bytes = shown.size()
				if !w.all {
					item = shown
				} else if len(shown) != len(item) {
					fetched += readUnits(item.size(), in.ConsistentRead)
				}
			}
			scanned++
			size += bytes
			if !w.filter.holds(item) {
				continue
			}
			if matched++; !w.count {
				if matched > 1 {
					items = append(items, ',')
				}
				items = item.project(w.projection).appendJSON(items)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{"Count": matched, "ScannedCount": scanned}
	if full || w.limit > 0 && scanned == w.limit { // also where nothing follows: AWS does not look ahead
		end := Item{}
		for name, value := range last {
			if isKey(w.t.Spec.KeySchema, name) || w.index != nil && isKey(w.index.KeySchema, name) {
				end[name] = value
			}
		}
		out["LastEvaluatedKey"] = end
	}
	used := &usage{}
	units := used.of(w.t)
	read := readUnits(size, in.ConsistentRead)
	switch {
	case w.index == nil:
		units.table = read
	case w.index.local:
		units.local[w.index.IndexName], units.table = read, fetched
	default:
		units.global[w.index.IndexName] = read
	}
	used.answer(out, in.ReturnConsumedCapacity)
	if w.count {
		return out, nil
	}
	return withItems(out, append(items, ']'))
}
