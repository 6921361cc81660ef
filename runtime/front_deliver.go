package runtime

// How `sst invoke Queue/Orders` brings a message to a source of the running app.

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sst/cfn"
	"sst/runtime/queues"
)

// deliverPath is on the control port. It wants the token of start.json.
const deliverPath = "/sst/deliver"

// Delivery is what is to be brought to a source.
type Delivery struct {
	Source     string            `json:"source"` // id
	Body       string            `json:"body"`
	Group      string            `json:"group,omitempty"`      // of a FIFO queue; partition key of a Kinesis stream
	Attributes map[string]string `json:"attributes,omitempty"` // "name" or "name:Type" to value
}

// DeliveryLine is one line of the answer: something that happened, or how it ended.
type DeliveryLine struct {
	Text   string `json:"text,omitempty"`
	Done   bool   `json:"done,omitempty"`
	Failed bool   `json:"failed,omitempty"`
}

// serveDeliver answers with a line of JSON for what happens, until the message is dealt with. It stays on its way when
// the caller leaves.
func (s *Server) serveDeliver(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	var d Delivery
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2*maxPayload)).Decode(&d); err != nil || r.Method != http.MethodPost {
		http.Error(w, "want a delivery as JSON", http.StatusBadRequest)
		return
	}
	source, ok := s.network.find(d.Source)
	if !ok {
		http.Error(w, fmt.Sprintf("there is no source %q", d.Source), http.StatusNotFound)
		return
	}
	attributes := map[string]queues.Attribute{}
	for name, value := range d.Attributes {
		name, kind, typed := strings.Cut(name, ":")
		if !typed {
			kind = "String"
		}
		attributes[name] = queues.Attribute{Kind: kind, Text: value}
	}
	rep := newReport()
	s.network.deliver(source, queues.Message{ID: newID(), Body: []byte(d.Body), Group: d.Group, Attributes: attributes, Value: &item{report: rep}})
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(flushWriter{w, http.NewResponseController(w)})
	for {
		select {
		case text := <-rep.lines:
			out.Encode(DeliveryLine{Text: text})
		case <-rep.done:
			for len(rep.lines) > 0 {
				out.Encode(DeliveryLine{Text: <-rep.lines})
			}
			rep.mu.Lock()
			failed := rep.failed
			rep.mu.Unlock()
			out.Encode(DeliveryLine{Done: true, Failed: failed})
			return
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		case <-time.After(15 * time.Second):
			out.Encode(DeliveryLine{}) // it is still on its way
		}
	}
}

// authorized says whether a request bears the token of start.json, and answers it when it does not.
func (s *Server) authorized(w http.ResponseWriter, r *http.Request) bool {
	given := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) == 1 {
		return true
	}
	http.Error(w, "this wants the token of .sst/start.json", http.StatusUnauthorized)
	return false
}

// find gives a source by its id; "default" is the default bus.
func (n *network) find(id string) (cfn.Source, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, source := range n.wiring.sources {
		if source.ID == id {
			return source, true
		}
	}
	return cfn.Source{Type: "bus", ID: "default"}, id == "default"
}

// list names the sources, sorted.
func (n *network) list() []startSource {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []startSource
	for _, source := range n.wiring.sources {
		all = append(all, startSource{source.ID, source.Type})
	}
	slices.SortFunc(all, func(a, b startSource) int { return strings.Compare(a.ID, b.ID) })
	return all
}
