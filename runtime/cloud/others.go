package cloud

// EventBridge, STS, Parameter Store and Secrets Manager.

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"sst/runtime/queues"
)

const maxEventBytes = 1 << 20 // of all entries of one call

var eventsOperations = map[string]operation{"PutEvents": putEvents}

func putEvents(c *call) (any, error) {
	entries := c.in.objects("Entries")
	if len(entries) == 0 || len(entries) > 10 {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	size := 0
	for _, entry := range entries {
		size += len(entry.text("Detail")) + len(entry.text("DetailType")) + len(entry.text("Source"))
	}
	if size > maxEventBytes {
		return nil, refuse("ValidationException", "Total size of the entries in the request is over the limit.")
	}
	type delivery struct {
		source  string
		message queues.Message
	}
	var all []delivery
	results, failed := []fields{}, 0
	fail := func(code, format string, args ...any) {
		failed++
		results = append(results, fields{"ErrorCode": code, "ErrorMessage": fmt.Sprintf(format, args...)})
	}
	for _, entry := range entries {
		bus := entry.text("EventBusName")
		if _, name, ok := strings.Cut(bus, ":event-bus/"); ok {
			bus = name
		}
		if bus == "" {
			bus = "default"
		}
		if err := c.may("events:PutEvents", c.arn("events", "event-bus/"+bus)); err != nil {
			return nil, err
		}
		source := ""
		if bus != "default" {
			about := c.app.named("AWS::Events::EventBus", bus)
			if about == nil {
				// EventBridge takes the event and nobody gets it.
				c.cloud.once("EventBridge PutEvents: the app has no event bus %q; its events go nowhere%s", bus, c.by())
				results = append(results, fields{"EventId": newID()})
				continue
			}
			source = about.Source
		}
		var detail map[string]any
		switch {
		case entry.text("Source") == "":
			fail("InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument.")
			continue
		case strings.HasPrefix(entry.text("Source"), "aws."):
			fail("NotAuthorizedForSourceException", "Not authorized for the source.")
			continue
		case entry.text("DetailType") == "":
			fail("InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument.")
			continue
		case json.Unmarshal([]byte(entry.text("Detail")), &detail) != nil:
			fail("MalformedDetail", "Detail is malformed.")
			continue
		}
		at := time.Now().UTC()
		if seconds, err := entry.number("Time", 0, 0, 1<<40); err == nil && seconds > 0 {
			at = time.Unix(int64(seconds), 0).UTC()
		}
		event := fields{"source": entry.text("Source"), "detail-type": entry.text("DetailType"), "detail": json.RawMessage(entry.text("Detail")), "time": at.Format("2006-01-02T15:04:05Z")}
		if list := entry.texts("Resources"); len(list) > 0 {
			event["resources"] = list
		}
		body, err := json.Marshal(event)
		if err != nil {
			return nil, err
		}
		id := newID()
		results = append(results, fields{"EventId": id})
		all = append(all, delivery{source, queues.Message{ID: id, Body: body}})
	}
	for _, d := range all {
		c.cloud.opts.Network.Deliver(d.source, d.message)
	}
	return fields{"FailedEntryCount": failed, "Entries": results}, nil
}

var stsOperations = map[string]operation{"GetCallerIdentity": callerIdentity}

func callerIdentity(c *call) (any, error) {
	if c.caller == nil {
		return fields{"Account": c.app.Account, "Arn": "arn:aws:iam::" + c.app.Account + ":user/local", "UserId": "local"}, nil
	}
	return fields{"Account": c.app.Account, "Arn": c.principal(), "UserId": c.caller.Role + ":" + c.caller.Name}, nil
}

// kept and keep are values that code has put, by kind and name.
func (c *Cloud) kept(kind, name string, value any) (ok bool, err error) {
	err = c.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(kind))
		if b == nil {
			return nil
		}
		data := b.Get([]byte(name))
		if data == nil {
			return nil
		}
		ok = true
		return json.Unmarshal(data, value)
	})
	return ok, err
}

func (c *Cloud) keep(kind, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(kind))
		if err != nil {
			return err
		}
		return b.Put([]byte(name), data)
	})
}

func (c *Cloud) forget(kind, name string) error {
	return c.db.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(kind)); b != nil {
			return b.Delete([]byte(name))
		}
		return nil
	})
}

func (c *Cloud) keptNames(kind string) (names []string, err error) {
	err = c.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(kind))
		if b == nil {
			return nil
		}
		return b.ForEach(func(name, _ []byte) error {
			names = append(names, string(name))
			return nil
		})
	})
	return names, err
}

const typeParameter = "AWS::SSM::Parameter"

var ssmOperations = map[string]operation{
	"GetParameter":        getParameter,
	"GetParameters":       getParameters,
	"GetParametersByPath": getParametersByPath,
	"PutParameter":        putParameter,
}

// parameter is one of Parameter Store that code has put.
type parameter struct {
	Type, Value string
	Version     int
	Modified    time.Time
}

func (c *call) parameterARN(name string) string {
	return c.arn("ssm", "parameter/"+strings.TrimPrefix(name, "/"))
}

// lookUp gives a parameter: one that code has put, a secret of `sst secrets`, or what a template says.
func (c *call) lookUp(name string) (fields, error) {
	if _, after, ok := strings.Cut(name, ":parameter/"); ok { // an ARN
		if name = after; c.app.named(typeParameter, name) == nil {
			name = "/" + name
		}
	}
	found := parameter{Version: 1}
	ok, err := c.cloud.kept("parameters", name, &found)
	if err != nil {
		return nil, err
	}
	if !ok && c.cloud.opts.Parameter != nil {
		if found.Value, ok, err = c.cloud.opts.Parameter(c.ctx, name); err != nil {
			return nil, err
		}
		found.Type = "SecureString"
	}
	if !ok {
		about := c.app.named(typeParameter, name)
		if about == nil {
			return nil, nil
		}
		p := properties(about)
		if !p.has("Value") {
			return nil, fmt.Errorf("the value of parameter %s is not known here", name)
		}
		found.Type, found.Value = p.text("Type"), p.text("Value")
	}
	out := fields{"Name": name, "Type": found.Type, "Value": found.Value, "Version": found.Version, "ARN": c.parameterARN(name), "DataType": "text", "LastModifiedDate": 0}
	if !found.Modified.IsZero() {
		out["LastModifiedDate"] = float64(found.Modified.UnixMilli()) / 1000
	}
	if found.Type == "SecureString" && !c.in.truth("WithDecryption") {
		out["Value"] = base64.StdEncoding.EncodeToString([]byte("local: ask with WithDecryption"))
	}
	return out, nil
}

func getParameter(c *call) (any, error) {
	name := c.in.text("Name")
	if err := c.may("ssm:GetParameter", c.parameterARN(strings.TrimPrefix(name, c.arn("ssm", "parameter/")))); err != nil {
		return nil, err
	}
	found, err := c.lookUp(name)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, refuse("ParameterNotFound", "Parameter %s not found.", name)
	}
	return fields{"Parameter": found}, nil
}

func getParameters(c *call) (any, error) {
	names := c.in.texts("Names")
	if len(names) == 0 || len(names) > 10 {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	found, invalid := []fields{}, []string{}
	for _, name := range names {
		if err := c.may("ssm:GetParameters", c.parameterARN(strings.TrimPrefix(name, c.arn("ssm", "parameter/")))); err != nil {
			return nil, err
		}
		p, err := c.lookUp(name)
		if err != nil {
			return nil, err
		}
		if p == nil {
			invalid = append(invalid, name)
		} else {
			found = append(found, p)
		}
	}
	return fields{"Parameters": found, "InvalidParameters": invalid}, nil
}

func getParametersByPath(c *call) (any, error) {
	path := strings.TrimSuffix(c.in.text("Path"), "/") + "/"
	if err := c.may("ssm:GetParametersByPath", c.parameterARN(strings.TrimSuffix(path, "/"))); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(path, "/") {
		return nil, refuse("ValidationException", "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\".")
	}
	size, err := c.in.number("MaxResults", 10, 1, 10)
	if err != nil {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member must have value between 1 and 10")
	}
	names, err := c.cloud.keptNames("parameters")
	if err != nil {
		return nil, err
	}
	for _, r := range c.app.Resources {
		if r.Type == typeParameter {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	list := []fields{}
	for _, name := range slices.Compact(names) {
		below, ok := strings.CutPrefix(name, path)
		if !ok || strings.Contains(below, "/") && !c.in.truth("Recursive") || name <= c.in.text("NextToken") {
			continue
		}
		if len(list) == size {
			return fields{"Parameters": list, "NextToken": list[size-1]["Name"]}, nil
		}
		p, err := c.lookUp(name)
		if err != nil {
			return nil, err
		}
		if p != nil {
			list = append(list, p)
		}
	}
	return fields{"Parameters": list}, nil
}

func putParameter(c *call) (any, error) {
	name := c.in.text("Name")
	if err := c.may("ssm:PutParameter", c.parameterARN(name)); err != nil {
		return nil, err
	}
	if name == "" || c.in.text("Value") == "" {
		return nil, refuse("ValidationException", "a parameter takes a Name and a Value")
	}
	c.in["WithDecryption"] = true
	before, err := c.lookUp(name)
	if err != nil {
		return nil, err
	}
	if before != nil && !c.in.truth("Overwrite") {
		return nil, refuse("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	}
	p := parameter{Type: c.in.text("Type"), Value: c.in.text("Value"), Version: 1, Modified: time.Now()}
	if before != nil {
		p.Version = before["Version"].(int) + 1
		if p.Type == "" {
			p.Type = fmt.Sprint(before["Type"])
		}
	}
	if p.Type == "" {
		return nil, refuse("ValidationException", "A parameter type is required when you create a parameter.")
	}
	return fields{"Version": p.Version, "Tier": "Standard"}, c.cloud.keep("parameters", name, p)
}

const typeSecret = "AWS::SecretsManager::Secret"

var secretOperations = map[string]operation{"GetSecretValue": getSecret, "PutSecretValue": putSecret}

type secret struct {
	Text    string
	Binary  string // base64
	Version string
	Created time.Time
}

func (c *call) secret(action string) (*Resource, error) {
	id := c.in.text("SecretId")
	var about *Resource
	for i := range c.app.Resources {
		if r := &c.app.Resources[i]; r.Type == typeSecret && (r.Name == id || r.ARN == id || strings.HasPrefix(r.ARN, id+"-")) {
			about = r
		}
	}
	arn := id
	if about != nil {
		arn = about.ARN
	} else if !strings.HasPrefix(id, "arn:") {
		arn = c.arn("secretsmanager", "secret:"+id)
	}
	if err := c.may("secretsmanager:"+action, arn); err != nil {
		return nil, err
	}
	if about == nil {
		return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	}
	return about, nil
}

func getSecret(c *call) (any, error) {
	about, err := c.secret("GetSecretValue")
	if err != nil {
		return nil, err
	}
	var s secret
	ok, err := c.cloud.kept("secrets", about.Source, &s)
	if err != nil {
		return nil, err
	}
	if !ok {
		p := properties(about)
		s = secret{Text: p.text("SecretString"), Version: newID(), Created: time.Now()}
		if generate := p.object("GenerateSecretString"); generate != nil || p.has("GenerateSecretString") {
			if s.Text, err = generated(generate); err != nil {
				return nil, err
			}
		} else if !p.has("SecretString") {
			return nil, refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
		}
		if err := c.cloud.keep("secrets", about.Source, s); err != nil {
			return nil, err
		}
	}
	out := fields{"ARN": about.ARN, "Name": about.Name, "VersionId": s.Version, "VersionStages": []string{"AWSCURRENT"}, "CreatedDate": float64(s.Created.UnixMilli()) / 1000}
	if s.Binary != "" {
		out["SecretBinary"] = s.Binary
	} else {
		out["SecretString"] = s.Text
	}
	return out, nil
}

// generated makes the value of a secret that a template has made up.
func generated(how params) (string, error) {
	length, err := how.number("PasswordLength", 32, 1, 4096)
	if err != nil {
		return "", err
	}
	letters := "abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "0123456789"
	if !how.truth("ExcludePunctuation") {
		letters += "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	}
	letters = strings.Map(func(r rune) rune {
		if strings.ContainsRune(how.text("ExcludeCharacters"), r) {
			return -1
		}
		return r
	}, letters)
	var b strings.Builder
	for range length {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
		if err != nil {
			return "", err
		}
		b.WriteByte(letters[n.Int64()])
	}
	if key := how.text("GenerateStringKey"); key != "" {
		object := fields{}
		if err := json.Unmarshal([]byte(how.text("SecretStringTemplate")), &object); err != nil {
			return "", fmt.Errorf("SecretStringTemplate: %w", err)
		}
		object[key] = b.String()
		data, err := json.Marshal(object)
		return string(data), err
	}
	return b.String(), nil
}

func putSecret(c *call) (any, error) {
	about, err := c.secret("PutSecretValue")
	if err != nil {
		return nil, err
	}
	s := secret{Text: c.in.text("SecretString"), Binary: c.in.text("SecretBinary"), Version: newID(), Created: time.Now()}
	return fields{"ARN": about.ARN, "Name": about.Name, "VersionId": s.Version, "VersionStages": []string{"AWSCURRENT"}}, c.cloud.keep("secrets", about.Source, s)
}
