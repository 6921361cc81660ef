package cfntest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// This file is the life of a stack: an operation is planned as a timeline when it begins, and what is due happens before
// the next request is answered.

type stack struct {
	name, arn, region, serial string
	alias                     string // of a nested stack: its name without the serial, as Fail takes it
	status, reason            string
	parent                    string // ARN
	created, updated          time.Time
	body                      string
	params                    [][2]string
	tags                      [][2]string
	capabilities              []string
	role                      string
	outputs                   []output
	protected                 bool
	deleted                   bool
	resources                 map[string]bool // logical ids that exist
	retained                  map[string]bool // by the deletion under way
	nested                    map[string]string
	events                    []event // oldest first
	changeSets                []*changeSet
	timeline                  []step
	token                     string
	previous                  *stack // body, params and tags before the update under way
}

type output struct{ key, value, export, description string }

type event struct {
	id, logical, physical, kind, status, reason, token string
	at                                                 time.Time
}

type step struct {
	at time.Time
	do func()
}

func (s *Server) newStack(name, region string) *stack {
	s.serial++
	st := &stack{name: name, region: region, serial: fmt.Sprintf("%08X", s.serial), created: time.Now(),
		resources: map[string]bool{}, nested: map[string]string{}}
	st.arn = fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/00000000-0000-4000-9000-%012d", region, Account, name, s.serial)
	s.stacks = append(s.stacks, st)
	return st
}

// find gives the stack of a name that is not deleted, or any by ARN.
func (s *Server) find(name, region string) *stack {
	if strings.HasPrefix(name, "arn:") {
		return s.byARN(name)
	}
	for _, st := range s.stacks {
		if st.name == name && st.region == region && !st.deleted {
			return st
		}
	}
	return nil
}

func (s *Server) byARN(arn string) *stack {
	for _, st := range s.stacks {
		if st.arn == arn {
			return st
		}
	}
	return nil
}

// advance does what is due.
func (s *Server) advance(now time.Time) {
	for {
		var next *stack
		for _, st := range s.stacks {
			if len(st.timeline) > 0 && !st.timeline[0].at.After(now) && (next == nil || st.timeline[0].at.Before(next.timeline[0].at)) {
				next = st
			}
		}
		if next == nil {
			return
		}
		due := next.timeline[0]
		next.timeline = next.timeline[1:]
		s.now = due.at
		due.do()
	}
}

func (st *stack) plan(at time.Time, do func()) {
	i := len(st.timeline)
	for i > 0 && st.timeline[i-1].at.After(at) {
		i--
	}
	st.timeline = slices.Insert(st.timeline, i, step{at, do})
}

// known is the name that tests call the stack by.
func (st *stack) known() string {
	if st.alias != "" {
		return st.alias
	}
	return st.name
}

// last is the status of a resource.
func (st *stack) last(logical string) string {
	for _, e := range slices.Backward(st.events) {
		if e.logical == logical && e.physical != st.arn {
			return e.status
		}
	}
	return ""
}

func (s *Server) event(st *stack, logical, physical, kind, status, reason string) {
	st.events = append(st.events, event{fmt.Sprintf("%s-%s-%d", logical, status, len(st.events)), logical, physical, kind, status, reason, st.token, s.now})
}

// set moves the stack to a status.
func (s *Server) set(st *stack, status, reason string) {
	st.status, st.reason = status, reason
	s.event(st, st.name, st.arn, "AWS::CloudFormation::Stack", status, reason)
}

func (s *Server) real(virtual time.Duration) time.Duration {
	return time.Duration(float64(virtual) / s.options.Speed)
}

// work is one resource of an operation with its place in time.
type work struct {
	id, verb   string // CREATE, UPDATE, DELETE
	begin, end time.Time
	fails      string
	undo       func() // of a nested stack that was updated
}

// execute plans the creation or update of a stack from the moment start and says when it is over and whether it went well.
func (s *Server) execute(st *stack, t *template, params map[string]string, start time.Time) (time.Time, bool) {
	verb := "CREATE"
	var old *template
	if len(st.resources) > 0 || st.status == "UPDATE_IN_PROGRESS" {
		verb = "UPDATE"
	}
	if st.previous != nil && verb == "UPDATE" {
		old, _ = parseTemplate(st.previous.body)
	}
	c := scope{s, st, t, params}
	ids, _ := t.order()
	ends := map[string]time.Time{}
	var works []*work
	failed := time.Time{}
	for _, id := range ids {
		r := t.Resources[id]
		if r.Condition != "" && !c.condition(r.Condition) {
			continue
		}
		begin := start
		for ref := range t.references(id) {
			if at, ok := ends[ref]; ok && at.After(begin) {
				begin = at
			}
		}
		w := &work{id: id, verb: "CREATE", begin: begin}
		if st.resources[id] {
			was := old.Resources[id]
			if was != nil && canonical([]any{was.Type, was.Properties}) == canonical([]any{r.Type, r.Properties}) && !s.otherwise(st, t, id, params) {
				ends[id] = begin
				continue
			}
			w.verb = "UPDATE"
		}
		w.end = begin.Add(s.real(s.options.Duration(st.name, id, r.Type)))
		w.fails = s.fails[strings.ToLower(w.verb)+" "+st.known()+"/"+id]
		if r.Type == "AWS::CloudFormation::Stack" {
			w.end, w.fails, w.undo = s.nest(st, c, id, begin)
		}
		ends[id] = w.end
		works = append(works, w)
		if w.fails != "" && (failed.IsZero() || w.end.Before(failed)) {
			failed = w.end
		}
	}
	end := start
	for _, w := range works {
		if failed.IsZero() && w.end.After(end) {
			end = w.end
		}
	}
	if !failed.IsZero() {
		end = failed
	}
	var done []*work
	var blamed []string
	for _, w := range works {
		if w.begin.After(end) || !failed.IsZero() && !w.begin.Before(failed) {
			continue
		}
		physical, kind := c.physical(w.id), t.Resources[w.id].Type
		if arn := st.nested[w.id]; arn != "" {
			physical = arn
		}
		known := ""
		if w.verb == "UPDATE" {
			known = physical
		}
		st.plan(w.begin, func() { s.event(st, w.id, known, kind, w.verb+"_IN_PROGRESS", "") })
		if w.verb == "CREATE" {
			st.plan(w.begin.Add(w.end.Sub(w.begin)/2), func() {
				if failed.IsZero() || s.now.Before(failed) {
					s.event(st, w.id, physical, kind, "CREATE_IN_PROGRESS", "Resource creation Initiated")
				}
			})
		}
		switch {
		case w.fails != "" && !w.end.After(end):
			blamed = append(blamed, w.id)
			if w.verb == "UPDATE" { // is rolled back as well
				done = append(done, w)
			}
			st.plan(end, func() { s.event(st, w.id, physical, kind, w.verb+"_FAILED", w.fails) })
		case w.end.After(end):
			blamed = append(blamed, w.id)
			done = append(done, w)
			word := map[string]string{"CREATE": "creation", "UPDATE": "update"}[w.verb]
			st.plan(end, func() { s.event(st, w.id, physical, kind, w.verb+"_FAILED", "Resource "+word+" cancelled") })
		default:
			done = append(done, w)
			st.plan(w.end, func() {
				st.resources[w.id] = true
				s.exists(st, c, w.id)
				if w.verb == "UPDATE" && kind == "AWS::Lambda::Function" {
					s.replaceUpdate(st.region, physical, old.Resources[w.id].Properties, t.Resources[w.id].Properties)
				}
				s.event(st, w.id, physical, kind, w.verb+"_COMPLETE", "")
			})
		}
	}
	reason := ""
	if !failed.IsZero() {
		slices.Sort(blamed)
		reason = fmt.Sprintf("The following resource(s) failed to %s: [%s]. ", strings.ToLower(verb), strings.Join(blamed, ", "))
	} else if verb == "UPDATE" {
		if lost := s.lostExports(st, c); lost != "" {
			reason = lost
		}
	}
	if reason != "" {
		return s.rollBack(st, c, verb, done, end, reason), false
	}
	if verb == "CREATE" {
		st.plan(end, func() {
			st.outputs = s.outputs(c)
			st.previous = nil
			s.set(st, "CREATE_COMPLETE", "")
		})
		return end, true
	}
	st.plan(end, func() {
		st.outputs = s.outputs(c)
		s.set(st, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")
	})
	for _, id := range slices.Sorted(maps.Keys(st.resources)) {
		if t.Resources[id] == nil && old != nil && old.Resources[id] != nil {
			end = s.planDelete(st, scope{s, st, old, params}, id, end)
		}
	}
	st.plan(end, func() { st.previous = nil; s.set(st, "UPDATE_COMPLETE", "") })
	return end, true
}

// otherwise says whether parameters that a resource uses have another value than before.
func (s *Server) otherwise(st *stack, t *template, id string, params map[string]string) bool {
	if st.previous == nil {
		return false
	}
	was := map[string]string{}
	for _, p := range st.previous.params {
		was[p[0]] = p[1]
	}
	for ref := range t.references(id) {
		if now, ok := params[ref]; ok && was[ref] != now {
			return true
		}
	}
	return false
}

// rollBack undoes what was done.
func (s *Server) rollBack(st *stack, c scope, verb string, done []*work, at time.Time, reason string) time.Time {
	prefix := ""
	if verb == "UPDATE" {
		prefix = "UPDATE_"
	}
	st.plan(at, func() { s.set(st, prefix+"ROLLBACK_IN_PROGRESS", reason+"Rollback requested by user.") })
	end := at
	for _, w := range slices.Backward(done) {
		if stuck := s.fails["rollback "+st.known()+"/"+w.id]; stuck != "" {
			st.plan(end, func() {
				s.event(st, w.id, c.physical(w.id), c.t.Resources[w.id].Type, w.verb+"_FAILED", stuck)
				if prefix != "" {
					st.outputs = slices.Clone(st.outputs)
				}
				s.set(st, prefix+"ROLLBACK_FAILED", fmt.Sprintf("The following resource(s) failed to %s: [%s]. ", strings.ToLower(w.verb), w.id))
			})
			return end
		}
		if w.verb == "UPDATE" {
			st.plan(end, func() {
				if w.undo != nil {
					w.undo()
				}
				s.event(st, w.id, c.physical(w.id), c.t.Resources[w.id].Type, "UPDATE_COMPLETE", "")
			})
			continue
		}
		if prefix == "" {
			end = s.planDelete(st, c, w.id, end)
		}
	}
	if prefix != "" {
		st.plan(end, func() { s.set(st, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "") })
		for _, w := range slices.Backward(done) {
			if w.verb == "CREATE" {
				end = s.planDelete(st, c, w.id, end)
			}
		}
	}
	st.plan(end, func() {
		if was := st.previous; was != nil {
			st.body, st.params, st.tags = was.body, was.params, was.tags
			st.previous = nil
		}
		if left := slices.Sorted(maps.Keys(st.resources)); prefix == "" && len(left) > 0 {
			s.set(st, "ROLLBACK_FAILED", fmt.Sprintf("The following resource(s) failed to delete: [%s]. ", strings.Join(left, ", ")))
			return
		}
		s.set(st, prefix+"ROLLBACK_COMPLETE", "")
	})
	return end
}

// planDelete plans the deletion of one resource and gives its end.
func (s *Server) planDelete(st *stack, c scope, id string, at time.Time) time.Time {
	r := c.t.Resources[id]
	physical := c.physical(id)
	if strings.HasPrefix(r.DeletionPolicy, "Retain") || st.retained[id] {
		st.plan(at, func() {
			delete(st.resources, id)
			s.event(st, id, physical, r.Type, "DELETE_SKIPPED", "")
		})
		return at
	}
	st.plan(at, func() { s.event(st, id, physical, r.Type, "DELETE_IN_PROGRESS", "") })
	end := at.Add(s.real(s.options.Duration(st.name, id, r.Type)))
	reason := s.fails["delete "+st.known()+"/"+id]
	st.plan(end, func() {
		if reason == "" && r.Type == "AWS::S3::Bucket" && len(s.buckets[physical])+len(s.versions[physical]) > 0 {
			reason = "The bucket you tried to delete is not empty (Service: S3, Status Code: 409)"
		}
		if reason != "" {
			s.event(st, id, physical, r.Type, "DELETE_FAILED", reason)
			return
		}
		if r.Type == "Custom::S3AutoDeleteObjects" { // whose function does that
			bucket := c.text(r.Properties["BucketName"])
			clear(s.buckets[bucket])
			delete(s.versions, bucket)
		}
		delete(st.resources, id)
		delete(s.buckets, physical)
		delete(s.updates, st.region+"/"+physical)
		if nested := s.byARN(st.nested[id]); nested != nil {
			s.set(nested, "DELETE_COMPLETE", "")
			nested.deleted = true
		}
		s.event(st, id, physical, r.Type, "DELETE_COMPLETE", "")
	})
	return end
}

// remove plans the deletion of a stack.
func (s *Server) remove(st *stack) {
	st.timeline = nil
	s.set(st, "DELETE_IN_PROGRESS", "User Initiated")
	t, fail := parseTemplate(st.body)
	if fail != nil { // a stack under review has no template yet
		s.set(st, "DELETE_COMPLETE", "")
		st.deleted = true
		return
	}
	c := scope{s, st, t, nil}
	if user := s.importer(st, ""); user != "" {
		st.plan(s.now, func() { s.set(st, "DELETE_FAILED", user) })
		return
	}
	end := s.now
	ids, _ := t.order()
	for _, id := range slices.Backward(ids) {
		if st.resources[id] {
			end = s.planDelete(st, c, id, end)
		}
	}
	st.plan(end, func() {
		if left := slices.Sorted(maps.Keys(st.resources)); len(left) > 0 {
			s.set(st, "DELETE_FAILED", fmt.Sprintf("The following resource(s) failed to delete: [%s]. ", strings.Join(left, ", ")))
			return
		}
		s.set(st, "DELETE_COMPLETE", "")
		st.deleted = true
	})
}

// exists makes the resources real that a deployer meets again.
func (s *Server) exists(st *stack, c scope, id string) {
	r := c.t.Resources[id]
	switch physical := c.physical(id); r.Type {
	case "AWS::S3::Bucket":
		if s.buckets[physical] == nil {
			s.buckets[physical] = map[string][]byte{}
		}
	case "AWS::IAM::Role":
		s.roles[physical] = true
	case "AWS::SSM::Parameter":
		s.params[st.region+c.text(r.Properties["Name"])] = &parameter{kind: "String", value: c.text(r.Properties["Value"]), version: 1, modified: time.Now()}
	}
}

func (s *Server) outputs(c scope) (all []output) {
	for _, key := range slices.Sorted(maps.Keys(c.t.Outputs)) {
		o := c.t.Outputs[key]
		if o.Condition != "" && !c.condition(o.Condition) {
			continue
		}
		all = append(all, output{key, c.text(o.Value), c.text(o.Export.Name), o.Description})
	}
	return all
}

// lostExports names an export that the new template no longer has and another stack imports.
func (s *Server) lostExports(st *stack, c scope) string {
	kept := map[string]bool{}
	for _, o := range s.outputs(c) {
		kept[o.export] = true
	}
	for _, o := range st.outputs {
		if o.export != "" && !kept[o.export] {
			if user := s.importer(st, o.export); user != "" {
				return user + ". "
			}
		}
	}
	return ""
}

// importer says who uses an export of the stack, or any of them.
func (s *Server) importer(st *stack, export string) string {
	for _, o := range st.outputs {
		if o.export == "" || export != "" && o.export != export {
			continue
		}
		for _, other := range s.stacks {
			if other != st && !other.deleted && strings.Contains(other.body, `"Fn::ImportValue"`) && strings.Contains(other.body, `"`+o.export+`"`) {
				return fmt.Sprintf("Export %s cannot be deleted as it is in use by %s", o.export, other.name)
			}
		}
	}
	return ""
}

// nest plans a nested stack and gives the end and failure of its resource.
func (s *Server) nest(st *stack, c scope, id string, begin time.Time) (end time.Time, fails string, undo func()) {
	r := c.t.Resources[id]
	body, fail := s.fetch(c.text(r.Properties["TemplateURL"]))
	if fail != nil {
		return begin, fail.Message, nil
	}
	t, fail := parseTemplate(body)
	if fail != nil {
		return begin, fail.Message, nil
	}
	word, done := "CREATE", "created"
	child := s.byARN(st.nested[id])
	if child == nil {
		child = s.newStack(st.name+"-"+id+"-"+st.serial, st.region)
		child.alias = st.known() + "-" + id
		child.parent = st.arn
		child.status = "CREATE_IN_PROGRESS"
		st.nested[id] = child.arn
	} else {
		word, done = "UPDATE", "updated"
		was := *child
		child.previous = &was
		child.status = "UPDATE_IN_PROGRESS"
		undo = func() { child.body, child.outputs = was.body, was.outputs }
	}
	child.body, child.token = body, st.token
	params := map[string]string{}
	given, _ := r.Properties["Parameters"].(map[string]any)
	for name, p := range t.Parameters {
		params[name] = c.text(p.Default)
		if v, ok := given[name]; ok {
			params[name] = c.text(v)
		}
	}
	child.plan(begin, func() { s.set(child, word+"_IN_PROGRESS", "") })
	end, ok := s.execute(child, t, params, begin)
	if !ok {
		return end, "Embedded stack " + child.arn + " was not successfully " + done + ": a resource of it failed. ", undo
	}
	return end, "", undo
}
