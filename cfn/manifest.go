package cfn

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"sst/runtime/bundle"
)

// ManifestFile is the manifest's name in an assembly.
const ManifestFile = "sst.json"

// ManifestVersion is written to sst.json; it grows when a reader of the old form would be wrong.
const ManifestVersion = 1

// Manifest is sst.json: what the templates do not say. docs/assembly.md describes it.
type Manifest struct {
	Version   int        `json:"version"`
	App       string     `json:"app"`
	Stage     string     `json:"stage"`
	Region    string     `json:"region,omitempty"`    // that the assembly is for
	AppRegion string     `json:"appRegion,omitempty"` // that stacks.star names for the stage, "" when a flag or the AWS settings have to
	Personal  bool       `json:"personal,omitempty"`  // a developer's own stage: what deletes or repairs by itself may do so
	Destroy   bool       `json:"destroy,omitempty"`   // the stage's removal policy: data goes with what held it
	Functions []Function `json:"functions"`
	Sites     []Packed   `json:"sites,omitempty"`
	Jobs      []Packed   `json:"jobs,omitempty"`
	Apis      []Api      `json:"apis,omitempty"`
	Triggers  []Trigger  `json:"triggers,omitempty"`
	Sources   []Source   `json:"sources,omitempty"`
	Forwards  []Forward  `json:"forwards,omitempty"`
	Async     []Async    `json:"async,omitempty"`
	Secrets   []Secret   `json:"secrets,omitempty"`
	// Positions maps construct paths to the lines of stacks.star that made them.
	Positions map[string]Position `json:"positions,omitempty"`
}

// Position is a place in a file of the project; File is relative to the root, with slashes.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Packed is a construct that is no Lambda function and has a bundle of ours: a static site, a job.
type Packed struct {
	ID       string      `json:"id"`    // "web/Site"; see ShortPath
	Path     string      `json:"path"`  // construct path
	Stack    string      `json:"stack"` // artifact id
	Bundle   bundle.Spec `json:"bundle"`
	Hash     string      `json:"hash"` // 64 hex digits of its files; "" until Finish
	Position Position    `json:"position"`
}

// Bundles are all that the assembly is to be finished with, each with who needs it.
func (m *Manifest) Bundles() []Bundled {
	all := make([]Bundled, 0, len(m.Functions)+len(m.Sites)+len(m.Jobs))
	for _, f := range m.Functions {
		all = append(all, Bundled{f.ID, f.Handler, f.Bundle, f.Position})
	}
	for _, p := range slices.Concat(m.Sites, m.Jobs) {
		all = append(all, Bundled{p.ID, p.Bundle.Handler, p.Bundle, p.Position})
	}
	return all
}

// Bundled is one use of a bundle: Source is what the user named, a handler or the folder of a site.
type Bundled struct {
	ID, Source string
	Spec       bundle.Spec
	Position   Position
}

// Function is a Lambda function whose code is a bundle of ours.
type Function struct {
	ID           string      `json:"id"`        // "web/Export": construct path without "<stage>-<app>-"; see ShortPath
	Path         string      `json:"path"`      // construct path
	Stack        string      `json:"stack"`     // artifact id
	LogicalID    string      `json:"logicalId"` // in that stack's template
	Name         string      `json:"name"`      // what Invoke takes
	Handler      string      `json:"handler"`   // as the user wrote it
	Runtime      string      `json:"runtime"`
	Architecture string      `json:"architecture"`
	Timeout      int         `json:"timeout"` // seconds
	Memory       int         `json:"memory"`  // MB
	Bundle       bundle.Spec `json:"bundle"`
	Hash         string      `json:"hash,omitempty"` // of the code's content; Finish sets it
	Live         bool        `json:"live"`
	Position     Position    `json:"position,omitzero"`
}

// Secret is a parameter of SSM that has to have a value before the app is deployed.
type Secret struct {
	ID        string   `json:"id"`                 // "pay/StripeKey"
	Name      string   `json:"name"`               // as code and `sst secrets` know it
	Parameter string   `json:"parameter"`          // of the stage
	Fallback  string   `json:"fallback,omitempty"` // of all stages without one of their own
	Position  Position `json:"position,omitzero"`
}

// Api is what answers HTTP requests, with the routes that lead to functions of ours.
type Api struct {
	ID        string `json:"id"`
	Stack     string `json:"stack"`
	LogicalID string `json:"logicalId"`
	Type      string `json:"type"` // "http", "rest", "websocket", or "url" of a function
	// StageName is the stage of a REST or WebSocket API: its addresses begin with "/<stage>".
	StageName   string            `json:"stageName,omitempty"`
	Variables   map[string]string `json:"variables,omitempty"` // of the stage
	Stream      bool              `json:"stream,omitempty"`    // a function URL that streams answers
	Selection   string            `json:"selection,omitempty"` // of a WebSocket API: "$request.body.action"
	BinaryTypes []string          `json:"binaryTypes,omitempty"`
	Cors        *Cors             `json:"cors,omitempty"`
	Authorizers []Authorizer      `json:"authorizers,omitempty"`
	Responses   []GatewayResponse `json:"responses,omitempty"` // of a REST API
	Keys        []string          `json:"keys,omitempty"`      // API keys whose value the template gives
	Routes      []Route           `json:"routes"`
}

// Cors is the CORS configuration of an HTTP API.
type Cors struct {
	AllowCredentials bool     `json:"allowCredentials,omitempty"`
	AllowHeaders     []string `json:"allowHeaders,omitempty"`
	AllowMethods     []string `json:"allowMethods,omitempty"`
	AllowOrigins     []string `json:"allowOrigins,omitempty"`
	ExposeHeaders    []string `json:"exposeHeaders,omitempty"`
	MaxAge           int      `json:"maxAge,omitempty"` // seconds
}

// Authorizer decides who may call a route.
type Authorizer struct {
	ID   string `json:"id"`   // logical id
	Name string `json:"name"` // what people call it
	// Type is "jwt" of an HTTP API, "request" or "token" (a function is asked), "users" (user pools of a REST API).
	Type     string   `json:"type"`
	Function string   `json:"function,omitempty"`
	Issuers  []string `json:"issuers,omitempty"`
	Audience []string `json:"audience,omitempty"`
	Sources  []string `json:"sources,omitempty"` // of the identity: "$request.header.Authorization", "method.request.querystring.token"
	Pattern  string   `json:"pattern,omitempty"` // of a token
	TTL      int      `json:"ttl,omitempty"`     // seconds that an answer is kept
	Payload  string   `json:"payload,omitempty"` // "1.0" or "2.0" of an HTTP API
	Simple   bool     `json:"simple,omitempty"`  // the function answers {"isAuthorized": true}
}

// GatewayResponse is what a REST API answers by itself.
type GatewayResponse struct {
	Type     string            `json:"type"` // "DEFAULT_4XX", "ACCESS_DENIED"
	Status   int               `json:"status,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`  // name to 'text' or a parameter of the request
	Template string            `json:"template,omitempty"` // of the body, application/json
}

// Route is one route of an Api. Function is "" when it leads to something that is not a function of ours.
type Route struct {
	Key        string   `json:"key"` // "GET /notes/{id}", "$default"
	Function   string   `json:"function,omitempty"`
	Payload    string   `json:"payload,omitempty"`    // "2.0" or "1.0"
	Authorizer string   `json:"authorizer,omitempty"` // id of one of the API's, or "iam"
	Scopes     []string `json:"scopes,omitempty"`
	APIKey     bool     `json:"apiKey,omitempty"`   // an API key is asked for
	Required   []string `json:"required,omitempty"` // parameters of the request that a REST API insists on: "querystring.page"
	Respond    bool     `json:"respond,omitempty"`  // of a WebSocket API: the function's answer goes back
	Stream     bool     `json:"stream,omitempty"`   // of a REST API: the answer is passed on as it comes
	Timeout    int      `json:"timeout,omitempty"`  // milliseconds, when it is not what AWS takes
	Mock       *Mock    `json:"mock,omitempty"`     // it is answered without a function
	Proxy      *Passed  `json:"proxy,omitempty"`    // it is passed on to another server
	Leads      string   `json:"leads,omitempty"`    // in words, where it leads when that is none of these

	// Models are the JSON schemas (draft 4) that a REST API wants bodies to be of, by content type.
	Models map[string]json.RawMessage `json:"models,omitempty"`
}

// Passed is the server that requests are passed on to: an integration of type HTTP_PROXY.
type Passed struct {
	URL    string `json:"url"`              // with {names} of parameters in its path
	Method string `json:"method,omitempty"` // "": that of the request
	// Parameters say what is put into the request, in the words of REST APIs without their first part: "path.id" from "path.note",
	// "header.x" from "querystring.y", or a text in quotes.
	Parameters map[string]string `json:"parameters,omitempty"`
}

// Mock is an answer that a REST API gives by itself, as to the preflight requests of CORS.
type Mock struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Origins []string          `json:"origins,omitempty"` // those that Access-Control-Allow-Origin repeats
}

// Trigger is an event source of a function.
type Trigger struct {
	Type     string `json:"type"` // cron, event, queue, stream, topic, bucket
	ID       string `json:"id"`   // path of the source's construct where known
	Function string `json:"function"`
	Stack    string `json:"stack"`
	Source   string `json:"source,omitempty"`   // logical id of the queue, topic, table or bucket, with its stack: "stack/LogicalId"
	Schedule string `json:"schedule,omitempty"` // cron(...), rate(...), at(...)
	Timezone string `json:"timezone,omitempty"`
	// Input is the event that a schedule or rule sends, as JSON; "" is EventBridge's own.
	Input       string   `json:"input,omitempty"`
	Enabled     bool     `json:"enabled"`
	BatchSize   int      `json:"batchSize,omitempty"`
	Window      int      `json:"window,omitempty"` // seconds of the batching window
	Partial     bool     `json:"partial,omitempty"`
	Position    string   `json:"position,omitempty"`  // of a stream: LATEST, TRIM_HORIZON
	Retries     *int     `json:"retries,omitempty"`   // of a stream's batch; nil: until its records are too old
	Bisect      bool     `json:"bisect,omitempty"`    // a batch of a stream that failed is split
	OnFailure   string   `json:"onFailure,omitempty"` // where a batch of a stream goes that is given up, as Source
	Filter      string   `json:"filter,omitempty"`    // JSON: filter policy, filter criteria or event pattern
	FilterScope string   `json:"filterScope,omitempty"`
	RawDelivery bool     `json:"rawDelivery,omitempty"`
	Events      []string `json:"events,omitempty"` // of a bucket: "s3:ObjectCreated:*"
	Prefix      string   `json:"prefix,omitempty"`
	Suffix      string   `json:"suffix,omitempty"`
}

// Source is a resource of the app that events come from, whether or not something consumes them.
type Source struct {
	Type      string `json:"type"` // queue, topic, bus, bucket, table, stream (of Kinesis)
	ID        string `json:"id"`
	Stack     string `json:"stack"`
	LogicalID string `json:"logicalId"`
	Fifo      bool   `json:"fifo,omitempty"`
	// Of a queue: seconds that a message is hidden (0: SQS's 30) and delayed, and after how many times it goes to which queue.
	Visibility int    `json:"visibility,omitempty"`
	Delay      int    `json:"delay,omitempty"`
	MaxReceive int    `json:"maxReceive,omitempty"`
	DeadLetter string `json:"deadLetter,omitempty"` // "<stack>/<logical id>"
	// Of a table: the fields of its primary key.
	Keys []string `json:"keys,omitempty"`
}

// Name is how triggers and others name the source.
func (s Source) Name() string { return s.Stack + "/" + s.LogicalID }

// Forward is a way of events to something that is no function: from a topic, bus or bucket to a queue or topic.
type Forward struct {
	Type        string   `json:"type"` // of the source: topic, bus, bucket
	From        string   `json:"from"` // "<stack>/<logical id>"; "" is the default bus
	To          string   `json:"to"`
	Filter      string   `json:"filter,omitempty"` // as of Trigger
	FilterScope string   `json:"filterScope,omitempty"`
	RawDelivery bool     `json:"rawDelivery,omitempty"`
	Input       string   `json:"input,omitempty"`
	Events      []string `json:"events,omitempty"`
	Prefix      string   `json:"prefix,omitempty"`
	Suffix      string   `json:"suffix,omitempty"`
}

// Async is what a template says of a function's asynchronous invocations.
type Async struct {
	Function   string `json:"function"`
	Retries    *int   `json:"retries,omitempty"`    // nil: 2
	DeadLetter string `json:"deadLetter,omitempty"` // queue or topic that gets the event of one that failed
	OnFailure  string `json:"onFailure,omitempty"`  // one that gets a report of it
}

// prefix is what stack ids begin with.
func (m *Manifest) prefix() string { return m.Stage + "-" + m.App + "-" }

// ShortPath is how a construct is shown: its path without the "<stage>-<app>-" of the stack and without the child
// `Resource` that stands for the construct itself.
func (m *Manifest) ShortPath(path string) string {
	for strings.HasSuffix(path, "/Resource") {
		path = strings.TrimSuffix(path, "/Resource")
	}
	return strings.TrimPrefix(path, m.prefix())
}

// Position is the line that made a construct, or the nearest one around it that a line is known of; Line 0 when there is none.
func (m *Manifest) Position(path string) Position {
	for path != "" {
		if p, ok := m.Positions[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
	return Position{}
}

// Function finds a function by ID, or by what Invoke takes: its name or an ARN ending in it.
func (m *Manifest) Function(name string) *Function {
	if _, after, ok := strings.Cut(name, ":function:"); ok {
		name, _, _ = strings.Cut(after, ":")
	}
	for i := range m.Functions {
		if f := &m.Functions[i]; f.ID == name || f.Name == name {
			return f
		}
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9-_]+`)

// FunctionName is what Invoke takes for a function without a physical name: the stack's name and the path below the
// stack, as far as Lambda's 64 characters allow.
func FunctionName(stackName, pathBelow string) string {
	return limit(stackName+"-"+strings.Trim(notInNames.ReplaceAllString(pathBelow, "-"), "-"), 64)
}

// limit shortens a name that is too long; a hash of the whole keeps it apart from others.
func limit(name string, length int) string {
	if len(name) <= length {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:length-9] + "-" + hex.EncodeToString(sum[:4])
}

// functionOf gives the entry of a resource. A function in a nested stack may be listed under the stack at the top;
// when that is ambiguous, the construct path decides.
func (m *Manifest) functionOf(s *Stack, logicalID string) *Function {
	top := s
	for top.Parent != nil {
		top = top.Parent
	}
	var found []*Function
	for i := range m.Functions {
		f := &m.Functions[i]
		if f.LogicalID != logicalID || f.Stack != s.ID && f.Stack != top.ID {
			continue
		}
		if f.Stack == s.ID {
			return f
		}
		found = append(found, f)
	}
	for _, f := range found {
		if len(found) == 1 {
			return f
		}
		if t, err := s.Template(); err == nil && t.Resources[logicalID] != nil && usesCode(t.Resources[logicalID], f.Bundle.Key()) {
			return f
		}
	}
	return nil
}

// isIn says whether a function of the manifest is the one with its logical id in a stack, which may be nested: then the manifest
// only names the stack at the top, and the code tells those of two nested stacks apart.
func (m *Manifest) isIn(f Function, s *Stack, properties map[string]any) bool {
	if f.Stack == s.ID {
		return true
	}
	top := s
	for top.Parent != nil {
		top = top.Parent
	}
	return f.Stack == top.ID && usesCode(&Resource{Properties: properties}, f.Bundle.Key())
}
