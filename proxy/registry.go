package proxy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Claim is a developer's end registered with a relay, and what it runs.
type Claim struct {
	Connection string
	Instance   string   // the same over the connections of one process
	Turn       int      // which of them this is
	Name       string   // shown to others
	Only       []string // functions; nil: all
	Former     string   // instance of the run in whose place this one is; that process is gone
	Key        string   // of this run, with
	Signed     string   // its signature by the stage's key
}

// Registry says who runs what: several developers share a stage by function, and nobody takes anything from another
// unless he says so. A later claim goes before earlier ones. A Registry is a value that does not change; its methods
// give the next one. Every relay decides by these rules, also one that keeps the claims in a table.
type Registry []Claim

// Notice is what a registered developer's end is told about others.
type Notice struct {
	Connection string   `json:"-"` // whom
	Kind       string   `json:"-"` // a Notice constant
	Name       string   `json:"name"`
	Functions  []string `json:"functions,omitempty"` // nil: all
}

// Kinds of a Notice.
const (
	NoticeReplaced = "replaced" // somebody runs everything you ran: leave
	NoticeTaken    = "taken"    // somebody runs these functions now, you the rest
	NoticeReturned = "returned" // he has left: they are yours again
	NoticeRefused  = "refused"  // somebody wanted to run these functions and did not take over
)

// Frame is the frame that tells it.
func (n Notice) Frame() *Frame {
	data, _ := json.Marshal(n)
	if n.Kind == NoticeReplaced {
		return &Frame{Version: Version, Type: typeBye, Code: n.Kind, Data: data}
	}
	return &Frame{Version: Version, Type: typeNotice, Code: n.Kind, Data: data}
}

func (n Notice) String() string {
	what := "everything"
	if n.Functions != nil {
		what = strings.Join(n.Functions, ", ")
	}
	name := n.Name
	if name == "" {
		name = "another developer"
	}
	switch n.Kind {
	case NoticeTaken:
		return fmt.Sprintf("%s runs %s now", name, what)
	case NoticeReturned:
		return fmt.Sprintf("%s has left, %s runs here again", name, what)
	case NoticeRefused:
		return fmt.Sprintf("%s wanted to run %s and was refused", name, what)
	}
	return fmt.Sprintf("%s took over", name)
}

// PresentError says that another developer's end runs what this one wants to run, or has taken it over.
type PresentError struct {
	Name      string   `json:"name"`
	Functions []string `json:"functions,omitempty"` // that both claim; nil: all
}

func (e *PresentError) Error() string {
	name := e.Name
	if name == "" {
		name = "another developer"
	}
	if e.Functions == nil {
		return name + " is connected"
	}
	return name + " runs " + strings.Join(e.Functions, ", ")
}

// shared gives what both claims are for: some functions, or all of them.
func (c Claim) shared(other Claim) (functions []string, all bool) {
	switch {
	case c.Only == nil && other.Only == nil:
		return nil, true
	case c.Only == nil:
		return other.Only, false
	case other.Only == nil:
		return c.Only, false
	}
	for _, f := range c.Only {
		if slices.Contains(other.Only, f) {
			functions = append(functions, f)
		}
	}
	return functions, false
}

// covers says whether c is for everything that other is for.
func (c Claim) covers(other Claim) bool {
	shared, all := c.shared(other)
	return all || other.Only != nil && len(shared) == len(other.Only)
}

// For gives the developer's end that runs a function.
func (r Registry) For(function string) (Claim, bool) {
	for _, c := range slices.Backward(r) {
		if c.Only == nil || slices.Contains(c.Only, function) {
			return c, true
		}
	}
	return Claim{}, false
}

// Has says whether a process is registered, over whatever connection.
func (r Registry) Has(instance string) bool {
	return slices.ContainsFunc(r, func(c Claim) bool { return c.Instance == instance })
}

// Register adds a claim. The same instance may always come back. Of what others run, a new one gets nothing unless it
// takes over; one that was registered before (again) gets what nobody else runs now. A former run that left without a word
// makes room for the one in its place, which has what that had without asking.
func (r Registry) Register(c Claim, takeOver, again bool) (next Registry, notices []Notice, refused *PresentError) {
	next = slices.Clone(r)
	if i := slices.IndexFunc(next, func(was Claim) bool { return was.Instance == c.Instance }); i >= 0 {
		if c.Turn < r[i].Turn { // it was on its way for long
			return r, nil, nil
		}
		next[i] = c
		return next, nil, nil
	}
	if i := slices.IndexFunc(r, func(was Claim) bool { return c.Former != "" && was.Instance == c.Former }); i >= 0 {
		notices = []Notice{{r[i].Connection, NoticeReplaced, c.Name, nil}} // should it live after all
		if r[i].covers(c) {
			next[i] = c
			return next, notices, nil
		}
		left, returned := r.Leave(r[i].Connection)
		next, more, refused := left.Register(c, takeOver, again)
		return next, slices.Concat(notices, returned, more), refused
	}
	var clash []Claim
	for _, was := range r {
		if shared, all := c.shared(was); all || len(shared) > 0 {
			clash = append(clash, was)
		}
	}
	rest := len(c.Only)
	for _, was := range clash {
		shared, all := c.shared(was)
		switch {
		case takeOver && c.covers(was):
			next = slices.DeleteFunc(next, func(x Claim) bool { return x.Instance == was.Instance })
			notices = append(notices, Notice{was.Connection, NoticeReplaced, c.Name, nil})
		case takeOver:
			notices = append(notices, Notice{was.Connection, NoticeTaken, c.Name, shared})
		case again && !all && (c.Only == nil || !was.covers(c)):
			rest -= len(shared)
		default:
			if all {
				shared = nil
			}
			refused = &PresentError{was.Name, shared}
			return r, []Notice{{was.Connection, NoticeRefused, c.Name, shared}}, refused
		}
	}
	if again && !takeOver {
		if c.Only != nil && rest <= 0 { // others have all of it
			return r, nil, &PresentError{clash[0].Name, c.Only}
		}
		return slices.Insert(next, 0, c), nil, nil
	}
	return append(next, c), notices, nil
}

// Leave removes the claim of a connection, if it is one, and tells those who get something back.
func (r Registry) Leave(connection string) (next Registry, notices []Notice) {
	i := slices.IndexFunc(r, func(c Claim) bool { return c.Connection == connection })
	if i < 0 {
		return r, nil
	}
	left := r[i]
	next = slices.Delete(slices.Clone(r), i, i+1)
	for _, c := range next[:i] {
		if shared, all := left.shared(c); !all && len(shared) > 0 {
			notices = append(notices, Notice{c.Connection, NoticeReturned, left.Name, shared})
		}
	}
	return next, notices
}
