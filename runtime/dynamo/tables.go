package dynamo

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A TableSpec is a table as it is declared. Its JSON is that of CreateTable and of the Properties of an AWS::DynamoDB::Table
// (or GlobalTable) whose references are resolved, so that either is unmarshalled straight into it.
type TableSpec struct {
	TableName                 string                `json:",omitempty"`
	AttributeDefinitions      []AttributeDefinition `json:",omitempty"`
	KeySchema                 []KeyElement          `json:",omitempty"`
	GlobalSecondaryIndexes    []IndexSpec           `json:",omitempty"`
	LocalSecondaryIndexes     []IndexSpec           `json:",omitempty"`
	BillingMode               string                `json:",omitempty"`
	ProvisionedThroughput     *Throughput           `json:",omitempty"`
	StreamSpecification       *StreamSpec           `json:",omitempty"`
	TimeToLiveSpecification   *TTLSpec              `json:",omitempty"`
	DeletionProtectionEnabled bool                  `json:",omitempty"`
}

// An AttributeDefinition gives a key attribute its type.
type AttributeDefinition struct {
	AttributeName string
	AttributeType Kind
}

// A KeyElement is an attribute of a key: HASH first, then RANGE.
type KeyElement struct{ AttributeName, KeyType string }

// An IndexSpec is a secondary index.
type IndexSpec struct {
	IndexName             string
	KeySchema             []KeyElement
	Projection            *Projection
	ProvisionedThroughput *Throughput `json:",omitempty"`
	local                 bool
}

// A Projection tells which attributes an index has beside the keys.
type Projection struct {
	ProjectionType   string
	NonKeyAttributes []string `json:",omitempty"`
}

// A Throughput is kept and shown; nothing is throttled.
type Throughput struct{ ReadCapacityUnits, WriteCapacityUnits int64 }

// A StreamSpec turns a stream on. In templates its view type alone does.
type StreamSpec struct {
	StreamEnabled  *bool  `json:",omitempty"`
	StreamViewType string `json:",omitempty"`
}

// A TTLSpec names the attribute that holds the second in which an item expires.
type TTLSpec struct {
	AttributeName string
	Enabled       bool
}

// table is a table that exists.
type table struct {
	Spec        TableSpec
	ID          string
	Created     time.Time
	StreamLabel string // of the stream that is on
}

func newID() string { return strings.ToLower(rand.Text()) }

func (t *table) bucket() []byte                  { return []byte("i/" + t.ID) }
func (t *table) indexBucket(index string) []byte { return []byte("x/" + t.ID + "/" + index) }
func (t *table) streamBucket() []byte            { return []byte("s/" + t.ID) }
func (s *Store) arn(t *table) string             { return s.arnOf(t.Spec.TableName) }
func (s *Store) arnOf(name string) string {
	return fmt.Sprintf("arn:aws:dynamodb:%s:%s:table/%s", s.options.Region, s.options.Account, name)
}
func (s *Store) streamARN(t *table) string {
	if t.StreamLabel == "" {
		return ""
	}
	return s.arn(t) + "/stream/" + t.StreamLabel
}
func (s *Store) label() string { return s.options.Now().UTC().Format("2006-01-02T15:04:05.000") }

// A Table is what a template's attributes are made from.
type Table struct{ ARN, StreamARN, ID string }

// Table tells of a table, false when there is none.
func (s *Store) Table(name string) (Table, bool) {
	t := s.lookup(name)
	if t == nil {
		return Table{}, false
	}
	return Table{ARN: s.arn(t), StreamARN: s.streamARN(t), ID: t.ID}, true
}

// Ensure makes the table, or brings the one that is there to the spec: indexes, stream and TTL change with the items kept. With
// other keys it is another table, as in CloudFormation: the items go, and the Logger is told.
func (s *Store) Ensure(spec TableSpec) error {
	if err := spec.check(); err != nil {
		return fmt.Errorf("table %s: %w", spec.TableName, err)
	}
	return s.write(func(tx *bolt.Tx, out *changes) error {
		t := s.lookup(spec.TableName)
		if t != nil && !t.sameKeys(spec) {
			s.options.Logger.Warn("the keys of a local table have changed, its items are gone", "table", spec.TableName)
			if err := dropBuckets(tx, t); err != nil {
				return err
			}
			t = nil
		}
		if t == nil {
			return s.make(tx, out, spec)
		}
		return s.change(tx, out, t, spec)
	})
}

func (t *table) sameKeys(spec TableSpec) bool {
	if !slices.Equal(t.Spec.KeySchema, spec.KeySchema) {
		return false
	}
	for _, key := range spec.KeySchema {
		if t.Spec.kindOf(key.AttributeName) != spec.kindOf(key.AttributeName) {
			return false
		}
	}
	return true
}

func (s *Store) make(tx *bolt.Tx, out *changes, spec TableSpec) error {
	t := &table{Spec: spec, ID: newID(), Created: s.options.Now()}
	if spec.stream() != "" {
		t.StreamLabel = s.label()
	}
	if err := makeBuckets(tx, t); err != nil {
		return err
	}
	return out.save(tx, t)
}

func makeBuckets(tx *bolt.Tx, t *table) error {
	names := [][]byte{t.bucket(), t.streamBucket()}
	for _, index := range t.Spec.indexes() {
		names = append(names, t.indexBucket(index.IndexName))
	}
	for _, name := range names {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

func dropBuckets(tx *bolt.Tx, t *table) error {
	names := [][]byte{t.bucket(), t.streamBucket()}
	for _, index := range t.Spec.indexes() {
		names = append(names, t.indexBucket(index.IndexName))
	}
	for _, name := range names {
		if err := tx.DeleteBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(countsBucket).Delete([]byte(t.ID))
}

// change brings a table to a spec with the same keys.
func (s *Store) change(tx *bolt.Tx, out *changes, t *table, spec TableSpec) error {
	next := *t
	next.Spec = spec
	switch {
	case spec.stream() == "":
		next.StreamLabel = ""
	case spec.stream() != t.Spec.stream() || t.StreamLabel == "":
		next.StreamLabel = s.label()
		if err := tx.DeleteBucket(t.streamBucket()); err != nil {
			return err
		}
	}
	for _, index := range t.Spec.indexes() {
		if err := tx.DeleteBucket(t.indexBucket(index.IndexName)); err != nil {
			return err
		}
	}
	if err := makeBuckets(tx, &next); err != nil {
		return err
	}
	for _, index := range spec.indexes() {
		entries := tx.Bucket(next.indexBucket(index.IndexName))
		err := tx.Bucket(t.bucket()).ForEach(func(key, data []byte) error {
			item, _, err := decodeItem(data)
			if err != nil {
				return err
			}
			if entry := index.entry(spec.fitting(index, item), key); entry != nil {
				return entries.Put(entry, key)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return out.save(tx, &next)
}

// fitting gives nil for an item whose attributes have other types than the keys of a new index want: it is not in it.
func (spec TableSpec) fitting(index IndexSpec, item Item) Item {
	for _, key := range index.KeySchema {
		if value, ok := item[key.AttributeName]; ok && (value.Kind != spec.kindOf(key.AttributeName) || value.Text == "") {
			return nil
		}
	}
	return item
}

// stream is the view type of the stream, or "".
func (spec TableSpec) stream() string {
	if on := spec.StreamSpecification; on != nil && (on.StreamEnabled == nil || *on.StreamEnabled) {
		return on.StreamViewType
	}
	return ""
}

func (spec TableSpec) indexes() []IndexSpec {
	all := slices.Clone(spec.GlobalSecondaryIndexes)
	for _, index := range spec.LocalSecondaryIndexes {
		index.local = true
		all = append(all, index)
	}
	return all
}

func (spec TableSpec) index(name string) (IndexSpec, bool) {
	for _, index := range spec.indexes() {
		if index.IndexName == name {
			return index, true
		}
	}
	return IndexSpec{}, false
}

func (spec TableSpec) kindOf(attribute string) Kind {
	for _, definition := range spec.AttributeDefinitions {
		if definition.AttributeName == attribute {
			return definition.AttributeType
		}
	}
	return ""
}

func isKey(keys []KeyElement, attribute string) bool {
	return slices.ContainsFunc(keys, func(key KeyElement) bool { return key.AttributeName == attribute })
}

// key is where an item lies in its table.
func (t *table) key(item Item) []byte { return keyOf(t.Spec.KeySchema, item) }

func keyOf(keys []KeyElement, item Item) []byte {
	hash := item[keys[0].AttributeName]
	out := appendKey(partition(hash), hash)
	for _, key := range keys[1:] {
		out = appendKey(out, item[key.AttributeName])
	}
	return out
}

// entry is where an item lies in an index, nil when it lacks a key of it.
func (index IndexSpec) entry(item Item, primary []byte) []byte {
	if item == nil {
		return nil
	}
	for _, key := range index.KeySchema {
		if _, ok := item[key.AttributeName]; !ok {
			return nil
		}
	}
	return append(keyOf(index.KeySchema, item), primary...)
}

var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

func checkName(field, name string) error {
	constraint := ""
	switch {
	case name == "":
		return invalid("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", field)
	case !tableName.MatchString(name):
		constraint = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
	case len(name) < 3:
		constraint = "Member must have length greater than or equal to 3"
	case len(name) > 255:
		constraint = "Member must have length less than or equal to 255"
	default:
		return nil
	}
	return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", name, field, constraint)
}

// check refuses what CreateTable refuses.
func (spec TableSpec) check() error {
	if err := checkName("tableName", spec.TableName); err != nil {
		return err
	}
	if len(spec.KeySchema) == 0 {
		return invalid("1 validation error detected: Value null at 'keySchema' failed to satisfy constraint: Member must not be null")
	}
	used := map[string]bool{}
	checkKeys := func(keys []KeyElement) error {
		if len(keys) == 0 || keys[0].KeyType != "HASH" {
			return invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
		}
		if len(keys) > 2 {
			return invalid("1 validation error detected: Value at 'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2")
		}
		if len(keys) == 2 && keys[1].KeyType != "RANGE" {
			return invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
		}
		if len(keys) == 2 && keys[0].AttributeName == keys[1].AttributeName {
			return invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
		}
		for _, key := range keys {
			used[key.AttributeName] = true
			switch spec.kindOf(key.AttributeName) {
			case String, Number, Binary:
			case "":
				return invalid("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [%s], AttributeDefinitions: [%s]",
					key.AttributeName, strings.Join(spec.defined(), ", "))
			default:
				return invalid("1 validation error detected: Value '%s' at 'attributeDefinitions.1.member.attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]",
					spec.kindOf(key.AttributeName))
			}
		}
		return nil
	}
	if err := checkKeys(spec.KeySchema); err != nil {
		return err
	}
	if len(spec.LocalSecondaryIndexes) > 5 {
		return invalid("One or more parameter values were invalid: Number of LocalSecondaryIndexes exceeds per-table limit of 5")
	}
	if len(spec.GlobalSecondaryIndexes) > 20 {
		return invalid("One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the per-table limit of 20")
	}
	names := map[string]bool{}
	for _, index := range spec.indexes() {
		if err := checkName("indexName", index.IndexName); err != nil {
			return err
		}
		if names[index.IndexName] {
			return invalid("One or more parameter values were invalid: Duplicate index name: %s", index.IndexName)
		}
		names[index.IndexName] = true
		if err := checkKeys(index.KeySchema); err != nil {
			return err
		}
		if index.local && (len(spec.KeySchema) < 2 || len(index.KeySchema) < 2) {
			return invalid("One or more parameter values were invalid: Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex")
		}
		if index.local && index.KeySchema[0] != spec.KeySchema[0] {
			return invalid("One or more parameter values were invalid: Index KeySchema does not have the same leading hash key as table KeySchema for index: %s. index hash key: %s, table hash key: %s",
				index.IndexName, index.KeySchema[0].AttributeName, spec.KeySchema[0].AttributeName)
		}
		if index.Projection == nil {
			return invalid("One or more parameter values were invalid: Unknown ProjectionType: null")
		}
		switch kind := index.Projection.ProjectionType; {
		case kind != "ALL" && kind != "KEYS_ONLY" && kind != "INCLUDE":
			return invalid("One or more parameter values were invalid: Unknown ProjectionType: %s", kind)
		case kind != "INCLUDE" && len(index.Projection.NonKeyAttributes) > 0:
			return invalid("One or more parameter values were invalid: ProjectionType is %s, but NonKeyAttributes is specified", kind)
		case kind == "INCLUDE" && len(index.Projection.NonKeyAttributes) == 0:
			return invalid("One or more parameter values were invalid: ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
		}
	}
	for _, name := range spec.defined() {
		if !used[name] {
			return invalid("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
		}
	}
	if on := spec.StreamSpecification; on != nil && (on.StreamEnabled == nil || *on.StreamEnabled) {
		if !slices.Contains([]string{"KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"}, on.StreamViewType) {
			return invalid("One or more parameter values were invalid: StreamViewType must be one of KEYS_ONLY, NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES")
		}
	}
	return nil
}

func (spec TableSpec) defined() []string {
	names := make([]string, len(spec.AttributeDefinitions))
	for at, definition := range spec.AttributeDefinitions {
		names[at] = definition.AttributeName
	}
	return names
}

func (s *Store) createTable(in *TableSpec) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	switch {
	case in.BillingMode == "PAY_PER_REQUEST" && in.ProvisionedThroughput != nil:
		return nil, invalid("One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
	case in.BillingMode != "PAY_PER_REQUEST" && in.ProvisionedThroughput == nil:
		return nil, invalid("One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	err := s.write(func(tx *bolt.Tx, out *changes) error {
		if s.lookup(in.TableName) != nil {
			return failure("ResourceInUseException", "Table already exists: %s", in.TableName)
		}
		return s.make(tx, out, *in)
	})
	if err != nil {
		return nil, err
	}
	return s.description("TableDescription", s.lookup(in.TableName), "ACTIVE")
}

type tableRequest struct{ TableName string }

// table finds the table of a call; message is what AWS says when there is none.
func (s *Store) table(name, message string) (*table, error) {
	name = s.plainName(name)
	if err := checkName("tableName", name); err != nil {
		return nil, err
	}
	t := s.lookup(name)
	if t == nil {
		if message == "" {
			return nil, notFound()
		}
		return nil, failure("ResourceNotFoundException", message, name)
	}
	return t, nil
}

// plainName takes the ARN of a table for its name, as AWS does.
func (s *Store) plainName(name string) string { return strings.TrimPrefix(name, s.arnOf("")) }

const tableMissing = "Requested resource not found: Table: %s not found"

func (s *Store) describeTable(in *tableRequest) (any, error) {
	t, err := s.table(in.TableName, tableMissing)
	if err != nil {
		return nil, err
	}
	return s.description("Table", t, "ACTIVE")
}

func (s *Store) description(field string, t *table, status string) (any, error) {
	var items, bytes int64
	if status != "DELETING" {
		if err := s.db.View(func(tx *bolt.Tx) error { items, bytes = counts(tx, t); return nil }); err != nil {
			return nil, err
		}
	}
	units := func(of *Throughput) map[string]any {
		if of == nil {
			of = &Throughput{}
		}
		return map[string]any{"NumberOfDecreasesToday": 0, "ReadCapacityUnits": of.ReadCapacityUnits, "WriteCapacityUnits": of.WriteCapacityUnits}
	}
	spec := t.Spec
	out := map[string]any{
		"TableName": spec.TableName, "TableArn": s.arn(t), "TableId": t.ID, "TableStatus": status,
		"CreationDateTime": float64(t.Created.UnixMilli()) / 1000, "AttributeDefinitions": spec.AttributeDefinitions, "KeySchema": spec.KeySchema,
		"ItemCount": items, "TableSizeBytes": bytes, "ProvisionedThroughput": units(spec.ProvisionedThroughput),
		"DeletionProtectionEnabled": spec.DeletionProtectionEnabled,
	}
	if spec.BillingMode == "PAY_PER_REQUEST" {
		out["BillingModeSummary"] = map[string]any{"BillingMode": spec.BillingMode}
	}
	if view := spec.stream(); view != "" {
		out["StreamSpecification"] = map[string]any{"StreamEnabled": true, "StreamViewType": view}
		out["LatestStreamArn"], out["LatestStreamLabel"] = s.streamARN(t), t.StreamLabel
	}
	for _, index := range spec.indexes() {
		shown := map[string]any{"IndexName": index.IndexName, "IndexArn": s.arn(t) + "/index/" + index.IndexName, "KeySchema": index.KeySchema,
			"Projection": index.Projection}
		group := "LocalSecondaryIndexes"
		if !index.local {
			group = "GlobalSecondaryIndexes"
			shown["IndexStatus"], shown["ProvisionedThroughput"] = status, units(index.ProvisionedThroughput)
		}
		entries, size, err := s.measure(t, index)
		if err != nil && status != "DELETING" {
			return nil, err
		}
		shown["ItemCount"], shown["IndexSizeBytes"] = entries, size
		list, _ := out[group].([]any)
		out[group] = append(list, shown)
	}
	return map[string]any{field: out}, nil
}

// measure walks an index; a table with many items is described as seldom as in AWS it is measured.
func (s *Store) measure(t *table, index IndexSpec) (entries, bytes int, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(t.indexBucket(index.IndexName))
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(_, key []byte) error {
			item, err := get(tx, t, key)
			entries, bytes = entries+1, bytes+t.visible(index, item).size()
			return err
		})
	})
	return entries, bytes, err
}

func (s *Store) listTables(in *struct {
	ExclusiveStartTableName string
	Limit                   *int
}) (any, error) {
	limit := 100
	if in.Limit != nil {
		if limit = *in.Limit; limit < 1 || limit > 100 {
			bound := "greater than or equal to 1"
			if limit > 100 {
				bound = "less than or equal to 100"
			}
			return nil, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value %s", limit, bound)
		}
	}
	names := []string{}
	out := map[string]any{}
	for _, name := range sorted(s.snapshot()) {
		if name <= in.ExclusiveStartTableName {
			continue
		}
		if len(names) == limit {
			out["LastEvaluatedTableName"] = names[limit-1]
			break
		}
		names = append(names, name)
	}
	out["TableNames"] = names
	return out, nil
}

func (s *Store) deleteTable(in *tableRequest) (any, error) {
	if _, err := s.table(in.TableName, tableMissing); err != nil {
		return nil, err
	}
	var gone *table
	err := s.write(func(tx *bolt.Tx, out *changes) (err error) {
		if gone, err = s.table(in.TableName, tableMissing); err != nil {
			return err
		}
		if gone.Spec.DeletionProtectionEnabled {
			return invalid("Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first.")
		}
		if err := dropBuckets(tx, gone); err != nil {
			return err
		}
		out.tables[gone.Spec.TableName] = nil
		return tx.Bucket(metaBucket).Delete([]byte(gone.Spec.TableName))
	})
	if err != nil {
		return nil, err
	}
	return s.description("TableDescription", gone, "DELETING")
}

func (s *Store) updateTable(in *struct {
	TableName                   string
	AttributeDefinitions        []AttributeDefinition
	BillingMode                 string
	ProvisionedThroughput       *Throughput
	StreamSpecification         *StreamSpec
	DeletionProtectionEnabled   *bool
	GlobalSecondaryIndexUpdates []struct {
		Create *IndexSpec
		Update *struct {
			IndexName             string
			ProvisionedThroughput *Throughput
		}
		Delete *struct{ IndexName string }
	}
}) (any, error) {
	err := s.write(func(tx *bolt.Tx, out *changes) error {
		t, err := s.table(in.TableName, tableMissing)
		if err != nil {
			return err
		}
		spec := t.Spec
		if in.BillingMode != "" {
			spec.BillingMode = in.BillingMode
		}
		if in.ProvisionedThroughput != nil {
			spec.ProvisionedThroughput = in.ProvisionedThroughput
		}
		if in.DeletionProtectionEnabled != nil {
			spec.DeletionProtectionEnabled = *in.DeletionProtectionEnabled
		}
		if in.StreamSpecification != nil {
			if t.Spec.stream() != "" && in.StreamSpecification.StreamViewType != "" {
				return invalid("Table already has an enabled stream: TableName: %s", spec.TableName)
			}
			spec.StreamSpecification = in.StreamSpecification
		}
		for _, definition := range in.AttributeDefinitions {
			if spec.kindOf(definition.AttributeName) == "" {
				spec.AttributeDefinitions = append(slices.Clone(spec.AttributeDefinitions), definition)
			}
		}
		spec.GlobalSecondaryIndexes = slices.Clone(spec.GlobalSecondaryIndexes)
		at := func(name string) int {
			return slices.IndexFunc(spec.GlobalSecondaryIndexes, func(index IndexSpec) bool { return index.IndexName == name })
		}
		for _, update := range in.GlobalSecondaryIndexUpdates {
			switch {
			case update.Create != nil:
				if at(update.Create.IndexName) >= 0 {
					return invalid("Attempting to create an index which already exists")
				}
				spec.GlobalSecondaryIndexes = append(spec.GlobalSecondaryIndexes, *update.Create)
			case update.Update != nil:
				if at(update.Update.IndexName) < 0 {
					return failure("ResourceNotFoundException", "Requested resource not found")
				}
				spec.GlobalSecondaryIndexes[at(update.Update.IndexName)].ProvisionedThroughput = update.Update.ProvisionedThroughput
			case update.Delete != nil:
				if at(update.Delete.IndexName) < 0 {
					return failure("ResourceNotFoundException", "Requested resource not found")
				}
				spec.GlobalSecondaryIndexes = slices.Delete(spec.GlobalSecondaryIndexes, at(update.Delete.IndexName), at(update.Delete.IndexName)+1)
			}
		}
		spec.AttributeDefinitions = spec.needed()
		if err := spec.check(); err != nil {
			return err
		}
		return s.change(tx, out, t, spec)
	})
	if err != nil {
		return nil, err
	}
	return s.description("TableDescription", s.lookup(s.plainName(in.TableName)), "ACTIVE")
}

// needed leaves out the definitions of attributes that no key uses any more.
func (spec TableSpec) needed() []AttributeDefinition {
	var out []AttributeDefinition
	for _, definition := range spec.AttributeDefinitions {
		used := isKey(spec.KeySchema, definition.AttributeName)
		for _, index := range spec.indexes() {
			used = used || isKey(index.KeySchema, definition.AttributeName)
		}
		if used {
			out = append(out, definition)
		}
	}
	return out
}

func (s *Store) updateTimeToLive(in *struct {
	TableName               string
	TimeToLiveSpecification *TTLSpec
}) (any, error) {
	if in.TimeToLiveSpecification == nil || in.TimeToLiveSpecification.AttributeName == "" {
		return nil, invalid("1 validation error detected: Value null at 'timeToLiveSpecification' failed to satisfy constraint: Member must not be null")
	}
	err := s.write(func(tx *bolt.Tx, out *changes) error {
		t, err := s.table(in.TableName, tableMissing)
		if err != nil {
			return err
		}
		was := t.Spec.TimeToLiveSpecification
		on := was != nil && was.Enabled
		switch {
		case on == in.TimeToLiveSpecification.Enabled && on:
			return invalid("TimeToLive is already enabled")
		case on == in.TimeToLiveSpecification.Enabled:
			return invalid("TimeToLive is already disabled")
		case on && was.AttributeName != in.TimeToLiveSpecification.AttributeName:
			return invalid("TimeToLive is active on a different AttributeName: current AttributeName is %s", was.AttributeName)
		}
		next := *t
		next.Spec.TimeToLiveSpecification = in.TimeToLiveSpecification
		return out.save(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"TimeToLiveSpecification": in.TimeToLiveSpecification}, nil
}

func (s *Store) describeTimeToLive(in *tableRequest) (any, error) {
	t, err := s.table(in.TableName, tableMissing)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"TimeToLiveStatus": "DISABLED"}
	if ttl := t.Spec.TimeToLiveSpecification; ttl != nil && ttl.Enabled {
		out = map[string]any{"TimeToLiveStatus": "ENABLED", "AttributeName": ttl.AttributeName}
	}
	return map[string]any{"TimeToLiveDescription": out}, nil
}

func (s *Store) describeContinuousBackups(in *tableRequest) (any, error) {
	if _, err := s.table(in.TableName, "Table not found: %s"); err != nil {
		err := err.(*apiError)
		err.kind = strings.Replace(err.kind, "ResourceNotFoundException", "TableNotFoundException", 1)
		return nil, err
	}
	return map[string]any{"ContinuousBackupsDescription": map[string]any{"ContinuousBackupsStatus": "ENABLED",
		"PointInTimeRecoveryDescription": map[string]any{"PointInTimeRecoveryStatus": "DISABLED"}}}, nil
}
