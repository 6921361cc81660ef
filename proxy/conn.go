package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// State is what a Conn tells about its connection.
type State int

const (
	Connecting State = iota
	Connected
	Disconnected // between two tries
	Replaced     // another developer took over: no further tries
)

// DialOptions configures Dial.
type DialOptions struct {
	URL     string // ws:// or wss://
	Header  http.Header
	Token   string // bearer token of the relay
	Name    string // shown to other developers
	Handler Handler
	Logger  *slog.Logger
	OnState func(State, error) // called in order, must not block
}

// Conn is the developer's end of the wire.
type Conn struct{}

// Dial connects the developer's end and registers it. It returns when the relay has confirmed the registration;
// from then on the Conn reconnects by itself until Close.
func Dial(ctx context.Context, opts DialOptions) (*Conn, error) {
	return nil, errors.New("dial relay: not there yet")
}

// Close says bye, ends the connection and waits for the running handlers, whose contexts end.
func (c *Conn) Close() error { return nil }
