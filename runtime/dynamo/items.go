package dynamo

// Calls about one item, and the parts that they share with batches and transactions.

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"
)

const (
	maxItemBytes  = 400 << 10
	maxHashBytes  = 2048
	maxRangeBytes = 1024
)

// common is what most requests may have.
type common struct {
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]Value
	ReturnConsumedCapacity    string
	legacy
}

// legacy are the parameters that expressions replaced in 2014.
type legacy struct {
	AttributesToGet, AttributeUpdates, Expected, KeyConditions, QueryFilter, ScanFilter, ConditionalOperator json.RawMessage
}

func (l *legacy) refuse() error {
	for _, one := range []struct {
		name, use string
		given     json.RawMessage
	}{
		{"AttributesToGet", "ProjectionExpression", l.AttributesToGet}, {"AttributeUpdates", "UpdateExpression", l.AttributeUpdates},
		{"Expected", "ConditionExpression", l.Expected}, {"KeyConditions", "KeyConditionExpression", l.KeyConditions},
		{"QueryFilter", "FilterExpression", l.QueryFilter}, {"ScanFilter", "FilterExpression", l.ScanFilter},
		{"ConditionalOperator", "AND and OR in an expression", l.ConditionalOperator},
	} {
		if one.given != nil && string(one.given) != "null" {
			return invalid("The legacy parameter %s is not taken by the local DynamoDB: use %s", one.name, one.use)
		}
	}
	return nil
}

var placeholder = map[string]*regexp.Regexp{"#": regexp.MustCompile(`^#[A-Za-z0-9_]+$`), ":": regexp.MustCompile(`^:[A-Za-z0-9_]+$`)}

// placeholders checks the names and values of a request; given lists its expressions by name, nil where there is none.
func (c *common) placeholders(given ...expression) (*placeholders, error) {
	if err := c.legacy.refuse(); err != nil {
		return nil, err
	}
	switch c.ReturnConsumedCapacity {
	case "", "NONE", "TOTAL", "INDEXES":
	default:
		return nil, invalid("1 validation error detected: Value '%s' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]", c.ReturnConsumedCapacity)
	}
	var missing []string
	any := false
	for _, e := range given {
		if any = any || e.text != nil; e.text == nil && e.name != "ProjectionExpression" {
			missing = append(missing, e.name)
		}
	}
	if c.ExpressionAttributeNames != nil {
		if !any {
			return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
		}
		if len(c.ExpressionAttributeNames) == 0 {
			return nil, invalid("ExpressionAttributeNames must not be empty")
		}
	}
	if c.ExpressionAttributeValues != nil {
		if all := len(missing) == len(slices.DeleteFunc(slices.Clone(given), func(e expression) bool { return e.name == "ProjectionExpression" })); all {
			verb := "is"
			if len(missing) > 1 {
				verb = "are"
			}
			if len(missing) == 0 {
				return nil, invalid("ExpressionAttributeValues can only be specified when using expressions")
			}
			return nil, invalid("ExpressionAttributeValues can only be specified when using expressions: %s %s null", strings.Join(missing, " and "), verb)
		}
		if len(c.ExpressionAttributeValues) == 0 {
			return nil, invalid("ExpressionAttributeValues must not be empty")
		}
	}
	for _, key := range sorted(c.ExpressionAttributeNames) {
		if !placeholder["#"].MatchString(key) {
			return nil, invalid("ExpressionAttributeNames contains invalid key: Syntax error; key: \"%s\"", key)
		}
	}
	for _, key := range sorted(c.ExpressionAttributeValues) {
		if !placeholder[":"].MatchString(key) {
			return nil, invalid("ExpressionAttributeValues contains invalid key: Syntax error; key: \"%s\"", key)
		}
	}
	return &placeholders{names: c.ExpressionAttributeNames, values: c.ExpressionAttributeValues, usedNames: map[string]bool{}, usedKeys: map[string]bool{}}, nil
}

type expression struct {
	name string
	text *string
}

// checkItem refuses items that the table cannot hold.
func (t *table) checkItem(item Item) error {
	for at, key := range t.Spec.KeySchema {
		value, ok := item[key.AttributeName]
		if !ok {
			return invalid("One or more parameter values were invalid: Missing the key %s in the item", key.AttributeName)
		}
		if want := t.Spec.kindOf(key.AttributeName); value.Kind != want {
			return invalid("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", key.AttributeName, want, value.Kind)
		}
		if err := checkKeyValue(key.AttributeName, value, at == 0); err != nil {
			return err
		}
	}
	if err := t.checkIndexKeys(item); err != nil {
		return err
	}
	if item.size() > maxItemBytes {
		return invalid("Item size has exceeded the maximum allowed size")
	}
	return checkDepth(item)
}

func checkDepth(item Item) error {
	if (Value{Kind: Map, Map: item}).depth()-1 > maxDepth {
		return invalid("Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit")
	}
	return nil
}

func (t *table) checkIndexKeys(item Item) error {
	for _, index := range t.Spec.indexes() {
		for at, key := range index.KeySchema {
			value, ok := item[key.AttributeName]
			if !ok || isKey(t.Spec.KeySchema, key.AttributeName) {
				continue
			}
			if want := t.Spec.kindOf(key.AttributeName); value.Kind != want {
				return invalid("One or more parameter values were invalid: Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s",
					key.AttributeName, want, value.Kind, index.IndexName)
			}
			if value.Text == "" {
				return invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty %s value. IndexName: %s, IndexKey: %s",
					wordOf(value.Kind), index.IndexName, key.AttributeName)
			}
			if err := checkKeySize(value, at == 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func wordOf(kind Kind) string {
	if kind == Binary {
		return "binary"
	}
	return "string"
}

func checkKeyValue(name string, value Value, hash bool) error {
	if value.Text == "" {
		return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", wordOf(value.Kind), name)
	}
	return checkKeySize(value, hash)
}

func checkKeySize(value Value, hash bool) error {
	if value.Kind == Number {
		return nil
	}
	if hash && len(value.Text) > maxHashBytes {
		return invalid("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
	}
	if !hash && len(value.Text) > maxRangeBytes {
		return invalid("One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
	}
	return nil
}

// checkKey refuses what is not exactly the key of an item.
func (t *table) checkKey(key Item) error {
	if len(key) != len(t.Spec.KeySchema) {
		return invalid("The provided key element does not match the schema")
	}
	for at, element := range t.Spec.KeySchema {
		value, ok := key[element.AttributeName]
		if !ok || value.Kind != t.Spec.kindOf(element.AttributeName) {
			return invalid("The provided key element does not match the schema")
		}
		if err := checkKeyValue(element.AttributeName, value, at == 0); err != nil {
			return err
		}
	}
	return nil
}

// A writing is one item's change, ready to be tried on the table.
type writing struct {
	table       string
	key         Item // of an update, a deletion, a check
	put         Item
	updates     []action
	remove      bool
	condition   *node
	returnOld   bool // with the error of a condition
	missingNote string
}

// plan gives the item as it is and as it would be; it changes nothing.
func (w *writing) plan(s *Store, tx *bolt.Tx) (t *table, old, item Item, err error) {
	if t, err = s.table(w.table, w.missingNote); err != nil {
		return nil, nil, nil, err
	}
	key := w.key
	if w.put != nil {
		err, key = t.checkItem(w.put), w.put
	} else {
		err = t.checkKey(w.key)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	for _, act := range w.updates {
		if name := act.path[0].name; isKey(t.Spec.KeySchema, name) {
			return nil, nil, nil, invalid("One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", name)
		}
	}
	if old, err = get(tx, t, t.key(key)); err != nil {
		return nil, nil, nil, err
	}
	if !w.condition.holds(old) {
		refusal := failure("ConditionalCheckFailedException", "The conditional request failed")
		if w.returnOld && old != nil {
			refusal.extra = map[string]any{"Item": old}
		}
		return nil, nil, nil, refusal
	}
	switch {
	case w.put != nil:
		return t, old, w.put, nil
	case w.remove:
		return t, old, nil, nil
	}
	start := old
	if start == nil {
		start = w.key
	}
	if item, err = start.update(w.updates); err != nil {
		return nil, nil, nil, err
	}
	if err = t.checkIndexKeys(item); err != nil {
		return nil, nil, nil, err
	}
	if item.size() > maxItemBytes {
		return nil, nil, nil, invalid("Item size to update has exceeded the maximum allowed size")
	}
	return t, old, item, checkDepth(item)
}

// run plans and writes.
func (w *writing) run(s *Store) (t *table, old, item Item, err error) {
	if err := checkName("tableName", s.plainName(w.table)); err != nil {
		return nil, nil, nil, err
	}
	err = s.write(func(tx *bolt.Tx, out *changes) (err error) {
		if t, old, item, err = w.plan(s, tx); err != nil {
			return err
		}
		return s.store(tx, out, t, old, item, nil)
	})
	return t, old, item, err
}

// writeRequest is what Put, Update, Delete and a transaction's parts have.
type writeRequest struct {
	TableName                           string
	Item, Key                           Item
	ConditionExpression                 *string
	UpdateExpression                    *string
	ReturnValues                        string
	ReturnItemCollectionMetrics         string
	ReturnValuesOnConditionCheckFailure string
	common
}

func (in *writeRequest) writing(verb string) (*writing, error) {
	w := &writing{table: in.TableName, key: in.Key, remove: verb == "Delete", returnOld: in.ReturnValuesOnConditionCheckFailure == "ALL_OLD"}
	if in.TableName == "" {
		return nil, checkName("tableName", "")
	}
	field, given := "key", in.Key
	if verb == "Put" {
		field, given = "item", in.Item
		w.put = in.Item
	}
	if given == nil {
		return nil, invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", field)
	}
	expressions := []expression{{"ConditionExpression", in.ConditionExpression}}
	allowed := []string{"", "NONE", "ALL_OLD"}
	if verb == "Update" {
		expressions = []expression{{"UpdateExpression", in.UpdateExpression}, expressions[0]}
		allowed = append(allowed, "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW")
	}
	if !slices.Contains([]string{"", "NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"}, in.ReturnValues) {
		return nil, invalid("1 validation error detected: Value '%s' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]", in.ReturnValues)
	}
	if !slices.Contains(allowed, in.ReturnValues) {
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	with, err := in.placeholders(expressions...)
	if err != nil {
		return nil, err
	}
	if in.UpdateExpression != nil && verb == "Update" {
		if w.updates, err = parseUpdate(*in.UpdateExpression, with); err != nil {
			return nil, err
		}
	}
	if in.ConditionExpression != nil {
		if w.condition, err = parseCondition("ConditionExpression", *in.ConditionExpression, with); err != nil {
			return nil, err
		}
	}
	return w, with.unused()
}

func (s *Store) one(verb string, in *writeRequest) (any, error) {
	w, err := in.writing(verb)
	if err != nil {
		return nil, err
	}
	t, old, item, err := w.run(s)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	var touched []path
	for _, act := range w.updates {
		touched = append(touched, act.path)
	}
	var shown Item
	switch in.ReturnValues {
	case "ALL_OLD":
		shown = old
	case "ALL_NEW":
		shown = item
	case "UPDATED_OLD", "UPDATED_NEW":
		from := old
		if in.ReturnValues == "UPDATED_NEW" {
			from = item
		}
		if touched != nil && from != nil {
			shown = from.project(touched)
		}
	}
	if len(shown) > 0 {
		out["Attributes"] = shown
	}
	used := &usage{}
	used.write(t, old, item, 1)
	used.answer(out, in.ReturnConsumedCapacity)
	if in.ReturnItemCollectionMetrics == "SIZE" && len(t.Spec.LocalSecondaryIndexes) > 0 {
		out["ItemCollectionMetrics"] = collection(t, old, item)
	}
	return out, nil
}

// collection tells the key of an item collection; its size is always estimated as that of a small one.
func collection(t *table, old, item Item) map[string]any {
	if item == nil {
		item = old
	}
	hash := t.Spec.KeySchema[0].AttributeName
	return map[string]any{"ItemCollectionKey": Item{hash: item[hash]}, "SizeEstimateRangeGB": []float64{0, 1}}
}

func (s *Store) putItem(in *writeRequest) (any, error)    { return s.one("Put", in) }
func (s *Store) updateItem(in *writeRequest) (any, error) { return s.one("Update", in) }
func (s *Store) deleteItem(in *writeRequest) (any, error) { return s.one("Delete", in) }

type getRequest struct {
	TableName            string
	Key                  Item
	ConsistentRead       bool
	ProjectionExpression *string
	common
}

func (in *getRequest) projection() ([]path, error) {
	with, err := in.placeholders(expression{"ProjectionExpression", in.ProjectionExpression})
	if err != nil {
		return nil, err
	}
	var paths []path
	if in.ProjectionExpression != nil {
		if paths, err = parseProjection(*in.ProjectionExpression, with); err != nil {
			return nil, err
		}
	}
	return paths, with.unused()
}

func (s *Store) getItem(in *getRequest) (any, error) {
	if in.TableName != "" && in.Key == nil {
		return nil, invalid("1 validation error detected: Value null at 'key' failed to satisfy constraint: Member must not be null")
	}
	paths, err := in.projection()
	if err != nil {
		return nil, err
	}
	t, err := s.table(in.TableName, "")
	if err != nil {
		return nil, err
	}
	if err := t.checkKey(in.Key); err != nil {
		return nil, err
	}
	var item Item
	err = s.db.View(func(tx *bolt.Tx) (err error) {
		item, err = get(tx, t, t.key(in.Key))
		return err
	})
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if item != nil {
		out["Item"] = item.project(paths)
	}
	used := &usage{}
	used.read(t, item.size(), in.ConsistentRead, 1)
	used.answer(out, in.ReturnConsumedCapacity)
	return out, nil
}

// usage counts capacity units by table and index.
type usage struct {
	tables map[string]*units
}

type units struct {
	table  float64
	global map[string]float64
	local  map[string]float64
}

func (u *usage) of(t *table) *units {
	if u.tables == nil {
		u.tables = map[string]*units{}
	}
	name := t.Spec.TableName
	if u.tables[name] == nil {
		u.tables[name] = &units{global: map[string]float64{}, local: map[string]float64{}}
	}
	return u.tables[name]
}

// read counts a read of so many bytes of the table; times is 2 in a transaction.
func (u *usage) read(t *table, bytes int, consistent bool, times float64) {
	u.of(t).table += readUnits(bytes, consistent) * times
}

func readUnits(bytes int, consistent bool) float64 {
	blocks := float64(max(1, (bytes+4095)/4096))
	if consistent {
		return blocks
	}
	return blocks / 2
}

func writeUnits(old, item Item) float64 {
	return float64(max(1, (max(old.size(), item.size())+1023)/1024))
}

func (u *usage) write(t *table, old, item Item, times float64) {
	in := u.of(t)
	in.table += writeUnits(old, item) * times
	for _, index := range t.Spec.indexes() {
		before, after := t.visible(index, old), t.visible(index, item)
		was, is := index.entry(old, nil), index.entry(item, nil)
		if was == nil && is == nil || was != nil && is != nil && before.equal(after) {
			continue
		}
		to := in.global
		if index.local {
			to = in.local
		}
		switch {
		case was == nil:
			to[index.IndexName] += writeUnits(nil, after) * times
		case is == nil:
			to[index.IndexName] += writeUnits(before, nil) * times
		case string(was) == string(is):
			to[index.IndexName] += writeUnits(before, after) * times
		default:
			to[index.IndexName] += (writeUnits(before, nil) + writeUnits(nil, after)) * times
		}
	}
}

// shown is what ConsumedCapacity holds, a table at a time.
func (u *usage) shown(mode string) []any {
	var out []any
	for _, name := range sorted(u.tables) {
		in := u.tables[name]
		total := in.table
		one := map[string]any{"TableName": name}
		for field, group := range map[string]map[string]float64{"GlobalSecondaryIndexes": in.global, "LocalSecondaryIndexes": in.local} {
			shown := map[string]any{}
			for index, n := range group {
				total += n
				shown[index] = map[string]any{"CapacityUnits": n}
			}
			if mode == "INDEXES" && len(shown) > 0 {
				one[field] = shown
			}
		}
		if one["CapacityUnits"] = total; mode == "INDEXES" {
			one["Table"] = map[string]any{"CapacityUnits": in.table}
		}
		out = append(out, one)
	}
	return out
}

func (u *usage) answer(out map[string]any, mode string) {
	if mode == "TOTAL" || mode == "INDEXES" {
		out["ConsumedCapacity"] = u.shown(mode)[0]
	}
}

// visible is what an index has of an item.
func (t *table) visible(index IndexSpec, item Item) Item {
	if item == nil || index.Projection.ProjectionType == "ALL" {
		return item
	}
	out := Item{}
	for name, value := range item {
		if t.projects(index, name) {
			out[name] = value
		}
	}
	return out
}

func (t *table) projects(index IndexSpec, attribute string) bool {
	return index.Projection.ProjectionType == "ALL" || isKey(t.Spec.KeySchema, attribute) || isKey(index.KeySchema, attribute) ||
		slices.Contains(index.Projection.NonKeyAttributes, attribute)
}
