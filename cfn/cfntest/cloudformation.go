package cfntest

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is the actions of CloudFormation.

type changeSet struct {
	name, arn, kind     string
	status, reason      string
	execution           string
	body                string
	params, tags        [][2]string
	capabilities        []string
	role                string
	created             time.Time
	changes             [][]element
	template            *template
	resolved            map[string]string
	includeNestedStacks bool
}

var (
	stackName     = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)
	changeSetName = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)
	token         = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9]{0,127}$`)
)

func (s *Server) cloudformation(w http.ResponseWriter, r *request) {
	name := r.form.Get("StackName")
	var fields []element
	var fail *Error
	switch r.Action {
	case "DescribeStacks":
		fields, fail = s.describeStacks(r, name)
	case "DescribeStackEvents":
		fields, fail = s.describeEvents(r, name)
	case "CreateChangeSet":
		fields, fail = s.createChangeSet(r, name)
	case "DescribeChangeSet", "ExecuteChangeSet", "DeleteChangeSet":
		fields, fail = s.changeSet(r, name)
	default:
		st := s.find(name, r.Region)
		if st == nil && r.Action == "DeleteStack" {
			break // deleting what is not there is done at once
		}
		if st == nil {
			fail = invalid("Stack with id %s does not exist", name)
			break
		}
		fields, fail = s.onStack(r, st)
	}
	if fail != nil {
		r.refuse(w, fail)
		return
	}
	r.answer(w, fields...)
}

func (s *Server) onStack(r *request, st *stack) ([]element, *Error) {
	switch r.Action {
	case "GetTemplate":
		if st.body == "" {
			return []element{{"StagesAvailable", []element{}}}, nil // under review
		}
		return []element{{"TemplateBody", st.body}, {"StagesAvailable", []element{{"member", "Original"}, {"member", "Processed"}}}}, nil
	case "DeleteStack":
		if st.protected {
			return nil, invalid("Stack [%s] cannot be deleted while TerminationProtection is enabled", st.name)
		}
		if role := r.form.Get("RoleARN"); role != "" && !s.roles[role[strings.LastIndex(role, "/")+1:]] {
			return nil, invalid("Role %s is invalid or cannot be assumed", role)
		}
		if st.deleted {
			return nil, nil
		}
		st.retained = map[string]bool{}
		for _, id := range r.list("RetainResources") {
			switch {
			case st.status != "DELETE_FAILED":
				return nil, invalid("Specify resources to retain only when deleting a stack that is in the DELETE_FAILED state.")
			case !st.resources[id]:
				return nil, invalid("The following resources to retain do not exist in the stack: [%s]", id)
			}
			st.retained[id] = true
		}
		if strings.HasSuffix(st.status, "_IN_PROGRESS") && st.status != "REVIEW_IN_PROGRESS" && st.status != "DELETE_IN_PROGRESS" &&
			!strings.HasPrefix(st.status, "CREATE_") && !strings.HasPrefix(st.status, "ROLLBACK_") {
			return nil, invalid("Stack [%s] cannot be deleted while in status %s", st.arn, st.status)
		}
		st.token = r.form.Get("ClientRequestToken")
		s.remove(st)
		return nil, nil
	case "UpdateTerminationProtection":
		st.protected = r.form.Get("EnableTerminationProtection") == "true"
		return []element{{"StackId", st.arn}}, nil
	case "ContinueUpdateRollback":
		if st.status != "UPDATE_ROLLBACK_FAILED" {
			return nil, invalid("Stack %s is in %s state and can not continue rollback.", st.name, st.status)
		}
		st.token = r.form.Get("ClientRequestToken")
		s.set(st, "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated")
		stuck, at := "", s.now.Add(s.real(s.options.Duration(st.name, "", "")))
		skipped := r.list("ResourcesToSkip")
		for _, id := range skipped {
			if last := st.last(id); last != "UPDATE_FAILED" {
				return nil, invalid("Resource %s cannot be skipped: it is in %s, only resources in UPDATE_FAILED can be.", id, last)
			}
		}
		for id := range st.resources {
			if reason := s.fails["rollback "+st.known()+"/"+id]; reason != "" && !slices.Contains(skipped, id) {
				stuck = id
			}
		}
		st.plan(at, func() {
			if stuck != "" {
				s.event(st, stuck, stuck, "", "UPDATE_FAILED", s.fails["rollback "+st.known()+"/"+stuck])
				s.set(st, "UPDATE_ROLLBACK_FAILED", "The following resource(s) failed to update: ["+stuck+"]. ")
				return
			}
			if was := st.previous; was != nil {
				st.body, st.params, st.tags, st.previous = was.body, was.params, was.tags, nil
			}
			s.set(st, "UPDATE_ROLLBACK_COMPLETE", "")
		})
		return nil, nil
	case "DescribeStackResource":
		id := r.form.Get("LogicalResourceId")
		t, fail := parseTemplate(st.body)
		if fail != nil || !st.resources[id] {
			return nil, invalid("Resource %s does not exist for stack %s", id, st.name)
		}
		physical := scope{s, st, t, nil}.physical(id)
		if arn := st.nested[id]; arn != "" {
			physical = arn
		}
		return []element{{"StackResourceDetail", []element{{"StackName", st.name}, {"StackId", st.arn}, {"LogicalResourceId", id}, {"PhysicalResourceId", physical},
			{"ResourceType", t.Resources[id].Type}, {"LastUpdatedTimestamp", stamp(st.created)}, {"ResourceStatus", st.last(id)}}}}, nil
	case "ListStackResources":
		t, fail := parseTemplate(st.body)
		if fail != nil {
			return nil, fail
		}
		var all [][]element
		ids, _ := t.order()
		for _, id := range ids {
			if st.resources[id] {
				all = append(all, []element{{"LogicalResourceId", id}, {"PhysicalResourceId", scope{s, st, t, nil}.physical(id)},
					{"ResourceType", t.Resources[id].Type}, {"LastUpdatedTimestamp", stamp(st.created)}, {"ResourceStatus", st.last(id)}})
			}
		}
		all, next, fail := page(s, r, all)
		if fail != nil {
			return nil, fail
		}
		return append([]element{members("StackResourceSummaries", all)}, next...), nil
	case "DescribeStackResources":
		var all [][]element
		if t, fail := parseTemplate(st.body); fail == nil {
			ids, _ := t.order()
			c := scope{s, st, t, nil}
			for _, id := range ids {
				if st.resources[id] {
					all = append(all, []element{{"StackName", st.name}, {"StackId", st.arn}, {"LogicalResourceId", id}, {"PhysicalResourceId", c.physical(id)},
						{"ResourceType", t.Resources[id].Type}, {"Timestamp", stamp(st.created)}, {"ResourceStatus", st.last(id)}})
				}
			}
		}
		return []element{members("StackResources", all)}, nil
	}
	return nil, &Error{400, "InvalidAction", "Could not find operation " + r.Action}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func keyValues(name, key, value string, pairs [][2]string) element {
	var all [][]element
	for _, p := range pairs {
		all = append(all, []element{{key, p[0]}, {value, p[1]}})
	}
	return members(name, all)
}

// page cuts a listing; tokens are positions.
func page[T any](s *Server, r *request, all []T) ([]T, []element, *Error) {
	from := 0
	if next := r.form.Get("NextToken"); next != "" {
		var err error
		if from, err = strconv.Atoi(next); err != nil || from > len(all) {
			return nil, nil, invalid("Invalid NextToken")
		}
	}
	to := min(len(all), from+s.options.PageSize)
	if to < len(all) {
		return all[from:to], []element{{"NextToken", to}}, nil
	}
	return all[from:to], nil, nil
}

func (s *Server) describeStacks(r *request, name string) ([]element, *Error) {
	var found []*stack
	if name != "" {
		st := s.find(name, r.Region)
		if st == nil {
			return nil, invalid("Stack with id %s does not exist", name)
		}
		found = []*stack{st}
	} else {
		for _, st := range s.stacks {
			if !st.deleted && st.region == r.Region {
				found = append(found, st)
			}
		}
	}
	found, next, fail := page(s, r, found)
	if fail != nil {
		return nil, fail
	}
	var all [][]element
	for _, st := range found {
		var outputs, capabilities []element
		for _, o := range st.outputs {
			fields := []element{{"OutputKey", o.key}, {"OutputValue", o.value}}
			if o.export != "" {
				fields = append(fields, element{"ExportName", o.export})
			}
			outputs = append(outputs, element{"member", fields})
		}
		for _, c := range st.capabilities {
			capabilities = append(capabilities, element{"member", c})
		}
		fields := []element{{"StackName", st.name}, {"StackId", st.arn}, {"CreationTime", stamp(st.created)}, {"StackStatus", st.status},
			{"DisableRollback", "false"}, {"EnableTerminationProtection", st.protected}, {"Outputs", outputs}, {"Capabilities", capabilities},
			keyValues("Parameters", "ParameterKey", "ParameterValue", st.params), keyValues("Tags", "Key", "Value", st.tags)}
		if t, fail := parseTemplate(st.body); fail == nil && t.Description != "" {
			fields = append(fields, element{"Description", t.Description})
		}
		if st.reason != "" {
			fields = append(fields, element{"StackStatusReason", st.reason})
		}
		if !st.updated.IsZero() {
			fields = append(fields, element{"LastUpdatedTime", stamp(st.updated)})
		}
		if st.parent != "" {
			fields = append(fields, element{"ParentId", st.parent}, element{"RootId", st.parent})
		}
		if st.role != "" {
			fields = append(fields, element{"RoleARN", st.role})
		}
		all = append(all, fields)
	}
	return append([]element{members("Stacks", all)}, next...), nil
}

func (s *Server) describeEvents(r *request, name string) ([]element, *Error) {
	st := s.find(name, r.Region)
	if st == nil {
		return nil, invalid("Stack [%s] does not exist", name)
	}
	newest := slices.Clone(st.events)
	slices.Reverse(newest)
	newest, next, fail := page(s, r, newest)
	if fail != nil {
		return nil, fail
	}
	var all [][]element
	for _, e := range newest {
		fields := []element{{"StackId", st.arn}, {"EventId", e.id}, {"StackName", st.name}, {"LogicalResourceId", e.logical},
			{"PhysicalResourceId", e.physical}, {"ResourceType", e.kind}, {"Timestamp", stamp(e.at)}, {"ResourceStatus", e.status}}
		if e.reason != "" {
			fields = append(fields, element{"ResourceStatusReason", e.reason})
		}
		if e.token != "" {
			fields = append(fields, element{"ClientRequestToken", e.token})
		}
		all = append(all, fields)
	}
	return append([]element{members("StackEvents", all)}, next...), nil
}

// fetch reads a template from S3, by the address that S3 has in AWS or by this server's.
func (s *Server) fetch(address string) (string, *Error) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, s.URL+"/") && (u.Scheme != "https" || !strings.HasPrefix(u.Host, "s3.") && !strings.Contains(u.Host, ".s3.")) {
		return "", invalid("TemplateURL must be a supported URL, not %s", address)
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if before, _, virtual := strings.Cut(u.Host, ".s3."); virtual {
		bucket, key = before, strings.TrimPrefix(u.Path, "/")
	}
	data, ok := s.buckets[bucket][key]
	if !ok {
		return "", invalid("S3 error: The specified key does not exist.")
	}
	if len(data) > maxTemplate {
		return "", invalid("Template may not exceed %d bytes in size.", maxTemplate)
	}
	return string(data), nil
}

func (s *Server) createChangeSet(r *request, name string) ([]element, *Error) {
	cs := &changeSet{name: r.form.Get("ChangeSetName"), kind: r.form.Get("ChangeSetType"), role: r.form.Get("RoleARN"), created: s.now,
		tags: r.pairs("Tags", "Key", "Value"), capabilities: r.list("Capabilities")}
	bare := name
	if parts := strings.Split(name, "/"); strings.HasPrefix(name, "arn:") && len(parts) == 3 {
		bare = parts[1]
	}
	switch {
	case !stackName.MatchString(bare):
		return nil, invalid("1 validation error detected: Value '%s' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", name)
	case !changeSetName.MatchString(cs.name):
		return nil, invalid("1 validation error detected: Value '%s' at 'changeSetName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", cs.name)
	case r.form.Has("ClientToken") && !token.MatchString(r.form.Get("ClientToken")):
		return nil, invalid("Value '%s' at 'clientToken' failed to satisfy constraint", r.form.Get("ClientToken"))
	case len(cs.tags) > 50:
		return nil, invalid("Tags exceed the limit of 50")
	case cs.role != "" && !s.roles[cs.role[strings.LastIndex(cs.role, "/")+1:]]:
		return nil, invalid("Role %s is invalid or cannot be assumed", cs.role)
	}
	if cs.kind == "" {
		cs.kind = "UPDATE"
	}
	st := s.find(name, r.Region)
	switch {
	case cs.kind == "UPDATE" && (st == nil || st.status == "REVIEW_IN_PROGRESS"):
		return nil, invalid("Stack [%s] does not exist", name)
	case cs.kind == "CREATE" && st != nil && st.status != "REVIEW_IN_PROGRESS":
		return nil, invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", name, cs.name)
	case cs.kind == "UPDATE" && !updatable(st.status):
		return nil, invalid("Stack:%s is in %s state and can not be updated.", st.arn, st.status)
	}
	cs.body = r.form.Get("TemplateBody")
	address := r.form.Get("TemplateURL")
	switch {
	case len(cs.body) > maxInline:
		return nil, invalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d", maxInline)
	case r.form.Get("UsePreviousTemplate") == "true" && st != nil:
		cs.body = st.body
	case cs.body == "" && address == "":
		return nil, invalid("Either Template URL or Template Body must be specified.")
	case address != "":
		var fail *Error
		if cs.body, fail = s.fetch(address); fail != nil {
			return nil, fail
		}
	}
	var fail *Error
	if cs.template, fail = parseTemplate(cs.body); fail != nil {
		return nil, fail
	}
	for _, needed := range cs.template.capabilities() {
		if !slices.Contains(cs.capabilities, needed) && !(needed == "CAPABILITY_IAM" && slices.Contains(cs.capabilities, "CAPABILITY_NAMED_IAM")) {
			return nil, &Error{400, "InsufficientCapabilitiesException", "Requires capabilities : [" + needed + "]"}
		}
	}
	if fail := s.parameters(r, st, cs); fail != nil {
		return nil, fail
	}
	if st == nil {
		st = s.newStack(name, r.Region)
		s.set(st, "REVIEW_IN_PROGRESS", "User Initiated")
	}
	for _, other := range st.changeSets {
		if other.name == cs.name {
			return nil, &Error{400, "AlreadyExistsException", "ChangeSet " + cs.name + " cannot be created due to a mismatch with existing attribute Name"}
		}
	}
	cs.arn = fmt.Sprintf("arn:aws:cloudformation:%s:%s:changeSet/%s/00000000-0000-4000-a000-%012d", r.Region, Account, cs.name, s.serial)
	cs.status, cs.execution = "CREATE_PENDING", "UNAVAILABLE"
	st.changeSets = append(st.changeSets, cs)
	st.plan(s.now.Add(s.real(500*time.Millisecond)), func() { cs.status = "CREATE_IN_PROGRESS" })
	st.plan(s.now.Add(s.real(time.Second)), func() { s.compare(st, cs) })
	return []element{{"Id", cs.arn}, {"StackId", st.arn}}, nil
}

func updatable(status string) bool {
	switch status {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE":
		return true
	}
	return false
}

// parameters gives each parameter of the template its value.
func (s *Server) parameters(r *request, st *stack, cs *changeSet) *Error {
	cs.resolved = map[string]string{}
	given := map[string]string{}
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("Parameters.member.%d.", i)
		key := r.form.Get(prefix + "ParameterKey")
		if key == "" {
			break
		}
		if _, known := cs.template.Parameters[key]; !known {
			return invalid("Parameters: [%s] do not exist in the template", key)
		}
		if r.form.Get(prefix+"UsePreviousValue") == "true" {
			if st != nil {
				for _, p := range st.params {
					if p[0] == key {
						given[key] = p[1]
					}
				}
			}
			continue
		}
		given[key] = r.form.Get(prefix + "ParameterValue")
	}
	var missing []string
	for key, p := range cs.template.Parameters {
		value, ok := given[key]
		if !ok && p.Default != nil {
			value, ok = fmt.Sprint(p.Default), true
		}
		if !ok {
			missing = append(missing, key)
			continue
		}
		cs.params = append(cs.params, [2]string{key, value})
		if strings.HasPrefix(p.Type, "AWS::SSM::Parameter::Value") {
			stored, there := s.params[r.Region+value]
			if !there {
				return invalid("Unable to fetch parameters [%s] from parameter store for this account.", value)
			}
			value = stored.value
		}
		cs.resolved[key] = value
	}
	slices.SortFunc(cs.params, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	if len(missing) > 0 {
		slices.Sort(missing)
		return invalid("Parameters: [%s] must have values", strings.Join(missing, ", "))
	}
	return nil
}

// replaced names properties whose change makes a new resource.
var replaced = map[string][]string{
	"AWS::S3::Bucket":       {"BucketName"},
	"AWS::DynamoDB::Table":  {"TableName", "KeySchema"},
	"AWS::SQS::Queue":       {"QueueName", "FifoQueue"},
	"AWS::SNS::Topic":       {"TopicName"},
	"AWS::Lambda::Function": {"FunctionName", "PackageType"},
	"AWS::IAM::Role":        {"RoleName", "Path"},
}

// compare finds what a change set changes.
func (s *Server) compare(st *stack, cs *changeSet) {
	old := &template{}
	if len(st.resources) > 0 {
		old, _ = parseTemplate(st.body)
	}
	change := func(action, id, kind, replacement string) {
		fields := []element{{"Action", action}, {"LogicalResourceId", id}, {"ResourceType", kind}}
		if replacement != "" {
			fields = append(fields, element{"Replacement", replacement})
		}
		cs.changes = append(cs.changes, []element{{"Type", "Resource"}, {"ResourceChange", fields}})
	}
	ids, _ := cs.template.order()
	for _, id := range ids {
		r, was := cs.template.Resources[id], old.Resources[id]
		switch {
		case was == nil:
			change("Add", id, r.Type, "")
		case canonical([]any{was.Type, was.Properties}) != canonical([]any{r.Type, r.Properties}):
			replacement := "False"
			for _, name := range replaced[r.Type] {
				if canonical(was.Properties[name]) != canonical(r.Properties[name]) {
					replacement = "True"
				}
			}
			change("Modify", id, r.Type, replacement)
		}
	}
	for id, was := range old.Resources {
		if cs.template.Resources[id] == nil {
			change("Remove", id, was.Type, "")
		}
	}
	same := st.status != "REVIEW_IN_PROGRESS" && len(cs.changes) == 0 && canonical(old.Outputs) == canonical(cs.template.Outputs) &&
		canonical(st.params) == canonical(cs.params) && sameTags(st.tags, cs.tags)
	if same {
		cs.status, cs.reason = "FAILED", "The submitted information didn't contain changes. Submit different information to create a change set."
		return
	}
	cs.status, cs.execution = "CREATE_COMPLETE", "AVAILABLE"
}

func sameTags(a, b [][2]string) bool {
	order := func(x, y [2]string) int { return strings.Compare(x[0], y[0]) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.Equal(a, b)
}

func (s *Server) changeSet(r *request, name string) ([]element, *Error) {
	wanted := r.form.Get("ChangeSetName")
	var st *stack
	var cs *changeSet
	for _, each := range s.stacks {
		if !strings.HasPrefix(wanted, "arn:") && each != s.find(name, r.Region) {
			continue
		}
		for _, c := range each.changeSets {
			if c.arn == wanted || c.name == wanted {
				st, cs = each, c
			}
		}
	}
	if cs == nil {
		if r.Action == "DeleteChangeSet" {
			return nil, nil
		}
		return nil, &Error{404, "ChangeSetNotFound", "ChangeSet [" + wanted + "] does not exist"}
	}
	switch r.Action {
	case "DescribeChangeSet":
		changes, next, fail := page(s, r, cs.changes)
		if fail != nil {
			return nil, fail
		}
		fields := []element{{"ChangeSetName", cs.name}, {"ChangeSetId", cs.arn}, {"StackId", st.arn}, {"StackName", st.name}, {"Status", cs.status},
			{"ExecutionStatus", cs.execution}, {"CreationTime", stamp(cs.created)}, members("Changes", changes),
			keyValues("Parameters", "ParameterKey", "ParameterValue", cs.params), keyValues("Tags", "Key", "Value", cs.tags)}
		if cs.reason != "" {
			fields = append(fields, element{"StatusReason", cs.reason})
		}
		return append(fields, next...), nil
	case "DeleteChangeSet":
		st.changeSets = slices.DeleteFunc(st.changeSets, func(c *changeSet) bool { return c == cs })
		return nil, nil
	}
	if cs.execution != "AVAILABLE" {
		return nil, &Error{400, "InvalidChangeSetStatus", "ChangeSet [" + cs.arn + "] cannot be executed in its current status of [" + cs.status + "]"}
	}
	if st.status != "REVIEW_IN_PROGRESS" && !updatable(st.status) {
		return nil, invalid("Stack:%s is in %s state and can not be updated.", st.arn, st.status)
	}
	previous := *st
	st.token = r.form.Get("ClientRequestToken")
	cs.execution = "EXECUTE_COMPLETE"
	st.changeSets = []*changeSet{cs} // the others are out of date
	begun := "UPDATE_IN_PROGRESS"
	if st.status == "REVIEW_IN_PROGRESS" {
		begun = "CREATE_IN_PROGRESS"
	} else {
		st.previous = &previous
		st.updated = s.now
	}
	s.set(st, begun, "User Initiated")
	st.body, st.params, st.tags, st.capabilities = cs.body, cs.params, cs.tags, cs.capabilities
	if cs.role != "" {
		st.role = cs.role
	}
	s.execute(st, cs.template, cs.resolved, s.now)
	return nil, nil
}
