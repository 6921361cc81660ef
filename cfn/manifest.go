package cfn

import "sst/runtime/bundle"

// ManifestVersion is written to sst.json; it grows when a reader of the old form would be wrong.
const ManifestVersion = 1

// Manifest is sst.json: what the templates do not say. docs/assembly.md describes it.
type Manifest struct {
	Version   int        `json:"version"`
	App       string     `json:"app"`
	Stage     string     `json:"stage"`
	Region    string     `json:"region,omitempty"`
	Functions []Function `json:"functions"`
	Apis      []Api      `json:"apis,omitempty"`
	Triggers  []Trigger  `json:"triggers,omitempty"`
	// Positions maps construct paths to the lines of stacks.star that made them.
	Positions map[string]Position `json:"positions,omitempty"`
}

// Position is a place in a file of the project; File is relative to the root, with slashes.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// Function is a Lambda function whose code is a bundle of ours.
type Function struct {
	ID           string      `json:"id"`        // "web/Export": construct path without "<stage>-<app>-"
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
	Live         bool        `json:"live"`
	Position     Position    `json:"position,omitzero"`
}

// Api is an HTTP API with the routes that lead to functions of ours.
type Api struct {
	ID        string  `json:"id"`
	Stack     string  `json:"stack"`
	LogicalID string  `json:"logicalId"`
	Type      string  `json:"type"` // "http"
	Cors      *Cors   `json:"cors,omitempty"`
	Routes    []Route `json:"routes"`
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

// Route is one route of an Api. Function is "" when it leads to something that is not a function of ours.
type Route struct {
	Key      string `json:"key"` // "GET /notes/{id}", "$default"
	Function string `json:"function,omitempty"`
	Payload  string `json:"payload"` // "2.0" or "1.0"
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
	Position    string   `json:"position,omitempty"` // of a stream: LATEST, TRIM_HORIZON
	Filter      string   `json:"filter,omitempty"`   // JSON: filter policy, filter criteria or event pattern
	FilterScope string   `json:"filterScope,omitempty"`
	RawDelivery bool     `json:"rawDelivery,omitempty"`
	Events      []string `json:"events,omitempty"` // of a bucket: "s3:ObjectCreated:*"
	Prefix      string   `json:"prefix,omitempty"`
	Suffix      string   `json:"suffix,omitempty"`
}

// Derive fills the manifest's Apis and Triggers from the templates.
func Derive(asm *Assembly, m *Manifest) error { return nil }
