package lsp

// What the editor tells of its texts.

import (
	"fmt"
	"time"

	"go.lsp.dev/protocol"
)

func (s *Server) didOpen(p *protocol.DidOpenTextDocumentParams) error {
	path, ok := pathOf(string(p.TextDocument.URI))
	if !ok {
		return nil // not a file: nothing is known of it
	}
	d := newDocument(path, string(p.TextDocument.URI), p.TextDocument.Version, []byte(p.TextDocument.Text))
	d.open = true
	s.replace(func(old *snapshot) *snapshot { return old.with(d) })
	s.diagnoseSoon(path, 0)
	return nil
}

func (s *Server) didChange(p *protocol.DidChangeTextDocumentParams) error {
	path, ok := pathOf(string(p.TextDocument.URI))
	if !ok {
		return nil
	}
	s.mu.Lock()
	before := s.current.open[path]
	s.mu.Unlock()
	if before == nil {
		return fmt.Errorf("%s is not open", path)
	}
	d := before
	for _, change := range p.ContentChanges {
		switch c := change.(type) {
		case *protocol.TextDocumentContentChangeWholeDocument:
			d = newDocument(path, before.uri, p.TextDocument.Version, []byte(c.Text))
		case *protocol.TextDocumentContentChangePartial:
			start, end := d.offset(c.Range.Start, s.client.utf8), d.offset(c.Range.End, s.client.utf8)
			if end < start {
				start, end = end, start
			}
			d = d.replaced(start, end, c.Text, p.TextDocument.Version)
		}
	}
	if d == before {
		return nil
	}
	d.open = true
	s.replace(func(old *snapshot) *snapshot { return old.with(d) })
	s.diagnoseSoon(path, s.opts.Debounce)
	return nil
}

func (s *Server) didClose(p *protocol.DidCloseTextDocumentParams) error {
	path, ok := pathOf(string(p.TextDocument.URI))
	if !ok {
		return nil
	}
	s.replace(func(old *snapshot) *snapshot { return old.without(path) })
	s.mu.Lock()
	if timer := s.timers[path]; timer != nil {
		timer.Stop()
		delete(s.timers, path)
	}
	s.mu.Unlock()
	s.enqueueResting(func() { // a closed file may be large, and is read again when another loads it
		delete(s.colours, path)
		s.mu.Lock()
		current := s.current
		s.mu.Unlock()
		if current.open[path] == nil {
			delete(current.latest, path)
		}
	})
	if s.client.pulls {
		return nil
	}
	s.out.notify("textDocument/publishDiagnostics", &protocol.PublishDiagnosticsParams{URI: p.TextDocument.URI, Diagnostics: []protocol.Diagnostic{}})
	return nil
}

// diskChanged is told when files that are not open may have changed.
func (s *Server) diskChanged() {
	s.replace((*snapshot).next)
	if s.client.pulls {
		s.out.ask(fmt.Sprintf("sst-%d", s.asked.Add(1)), "workspace/diagnostic/refresh", nil)
		return
	}
	s.mu.Lock()
	var open []string
	for path := range s.current.open {
		open = append(open, path)
	}
	s.mu.Unlock()
	for _, path := range open {
		s.diagnoseSoon(path, s.opts.Debounce)
	}
}

func (s *Server) replace(change func(*snapshot) *snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = change(s.current)
}

// diagnoseSoon publishes the diagnostics of a file once it rests, unless the editor asks for them.
func (s *Server) diagnoseSoon(path string, after time.Duration) {
	if s.client.pulls {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if timer := s.timers[path]; timer != nil {
		timer.Stop()
	}
	s.timers[path] = time.AfterFunc(after, func() { s.enqueueResting(func() { s.publish(path) }) })
}
