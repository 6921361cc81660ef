package proxy

import (
	"log/slog"
	"net/http"
	"time"
)

// Profile says which limits a Relay has.
type Profile int

const (
	ProfileFast       Profile = iota // inside one machine: large frames, raw bodies, no timers
	ProfileAPIGateway                // the quotas of an API Gateway WebSocket API
)

// RelayOptions configures a Relay; the zero value is an open relay of the fast profile.
type RelayOptions struct {
	Profile  Profile
	Token    string        // wanted as "Authorization: Bearer <token>"; empty: anyone on the machine
	Idle     time.Duration // API Gateway profile: 0 = 10 minutes
	Lifetime time.Duration // API Gateway profile: 0 = 2 hours
	Logger   *slog.Logger
}

// Stats counts what went through a Relay.
type Stats struct {
	Frames, Bytes int64 // received
	Conns         int   // open now
	Accepted      int64 // connections since the start
}

// Relay is the WebSocket endpoint that sandboxes and the developer connect to.
type Relay struct{ opts RelayOptions }

// NewRelay makes a Relay; Close it to end its connections.
func NewRelay(opts RelayOptions) *Relay { return &Relay{opts: opts} }

// ServeHTTP upgrades a request to a connection of the relay and serves it.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {}

// Stats returns the counters.
func (r *Relay) Stats() Stats { return Stats{} }

// Close ends all connections and waits for their goroutines.
func (r *Relay) Close() error { return nil }
