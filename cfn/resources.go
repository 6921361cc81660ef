package cfn

// What a local run is told of the resources of an app, and of what its functions may do.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// LocalResource is a resource as a local run has it.
type LocalResource struct {
	Type       string
	Stack      string
	LogicalID  string
	Name       string // physical
	ARN        string // "" when there is none
	Properties map[string]any
}

// LocalRole is what a function runs as.
type LocalRole struct {
	Name     string
	Policies []LocalPolicy
	// Unread names what the role has beside: policies of AWS's own that are not known here, statements that have their
	// value in AWS only.
	Unread []string
}

// LocalPolicy is a policy of a role; its document has no intrinsics.
type LocalPolicy struct {
	Name     string
	Document map[string]any
}

// Resources gives the resources of some types, in the order of stacks and logical ids. A property that has its value in
// AWS only is left out.
func (r *Resolver) Resources(types ...string) ([]LocalResource, error) {
	var all []LocalResource
	err := r.each(types, func(s *Stack, id string, resource *Resource) error {
		e := evaluation{Resolver: r}
		one := LocalResource{Type: resource.Type, Stack: s.ID, LogicalID: id, Properties: map[string]any{}}
		var err error
		if _, named := kinds[resource.Type]; !named {
			one.Name = s.Name + "-" + id // one that nobody calls by name: a subscription, a policy
		} else if one.Name, err = e.name(s, id, resource); err != nil {
			return fmt.Errorf("the name of %s in stack %s: %w", id, s.ID, err)
		}
		attribute := "Arn"
		if resource.Type == "AWS::SNS::Topic" || resource.Type == "AWS::SecretsManager::Secret" {
			attribute = ""
		}
		if arn, err := e.resource(s, nil, id, resource, attribute); err == nil {
			one.ARN, _ = arn.(string)
		}
		for name, value := range resource.Properties {
			if got, err := r.Resolve(s, value); err == nil && got != nil {
				one.Properties[name] = got
			}
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// each calls visit for all resources of some types.
func (r *Resolver) each(types []string, visit func(s *Stack, id string, resource *Resource) error) error {
	if err := r.index(); err != nil {
		return err
	}
	for _, top := range r.asm.Stacks {
		stacks, err := top.withNested()
		if err != nil {
			return err
		}
		for _, s := range stacks {
			t, err := s.Template()
			if err != nil {
				return err
			}
			for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
				if slices.Contains(types, t.Resources[id].Type) {
					if err := visit(s, id, t.Resources[id]); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// managed are AWS's own policies that say nothing of what a local run has: logs, traces, networks.
var managed = []string{"service-role/AWSLambdaBasicExecutionRole", "service-role/AWSLambdaVPCAccessExecutionRole", "AWSXRayDaemonWriteAccess",
	"CloudWatchLambdaInsightsExecutionRolePolicy", "CloudWatchLambdaApplicationSignalsExecutionRolePolicy"}

// Roles gives the role of each function by the function's id. A function whose role is not in the app has one with Unread.
func (r *Resolver) Roles(functions []Function) (map[string]LocalRole, error) {
	roles := map[string]*LocalRole{}       // by name
	policies := map[string][]any{}         // of managed policies in the app, by ARN: name, stack, document
	attached := map[string][]LocalPolicy{} // by role's name
	unread := map[string][]string{}
	role := func(name string) *LocalRole {
		if roles[name] == nil {
			roles[name] = &LocalRole{Name: name}
		}
		return roles[name]
	}
	read := func(s *Stack, name string, document any) (LocalPolicy, []string) {
		out, lost := LocalPolicy{Name: name}, []string(nil)
		d, _ := document.(map[string]any)
		statements, _ := d["Statement"].([]any)
		if one, ok := d["Statement"].(map[string]any); ok {
			statements = []any{one}
		}
		var kept []any
		for i, statement := range statements {
			got, err := r.Resolve(s, statement)
			if err != nil {
				lost = append(lost, fmt.Sprintf("statement %d of the policy %s", i+1, name))
				continue
			}
			kept = append(kept, got)
		}
		out.Document = map[string]any{"Statement": kept}
		return out, lost
	}
	texts := func(s *Stack, value any) []string {
		got, err := r.Resolve(s, value)
		list, _ := got.([]any)
		var all []string
		for _, each := range list {
			if text, ok := each.(string); ok && err == nil {
				all = append(all, text)
			}
		}
		return all
	}
	err := r.each([]string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}, func(s *Stack, id string, resource *Resource) error {
		p, lost := read(s, id, resource.Properties["PolicyDocument"])
		for _, name := range texts(s, resource.Properties["Roles"]) {
			attached[name] = append(attached[name], p)
			unread[name] = append(unread[name], lost...)
		}
		if resource.Type == "AWS::IAM::ManagedPolicy" {
			if arn, err := r.Resolve(s, map[string]any{"Ref": id}); err == nil {
				policies[fmt.Sprint(arn)] = []any{p, lost}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = r.each([]string{"AWS::IAM::Role"}, func(s *Stack, id string, resource *Resource) error {
		e := evaluation{Resolver: r}
		name, err := e.name(s, id, resource)
		if err != nil {
			return err
		}
		one := role(name)
		one.Policies, one.Unread = append(one.Policies, attached[name]...), append(one.Unread, unread[name]...)
		inline, _ := resource.Properties["Policies"].([]any)
		for _, each := range inline {
			p, lost := read(s, fmt.Sprint(object(each)["PolicyName"]), object(each)["PolicyDocument"])
			one.Policies, one.Unread = append(one.Policies, p), append(one.Unread, lost...)
		}
		for _, arn := range texts(s, resource.Properties["ManagedPolicyArns"]) {
			own, known := policies[arn]
			_, aws, _ := strings.Cut(arn, ":iam::aws:policy/")
			switch {
			case known:
				one.Policies = append(one.Policies, own[0].(LocalPolicy))
				one.Unread = append(one.Unread, own[1].([]string)...)
			case aws == "AdministratorAccess":
				one.Policies = append(one.Policies, LocalPolicy{aws, map[string]any{"Statement": []any{map[string]any{"Effect": "Allow", "Action": "*", "Resource": "*"}}}})
			case !slices.Contains(managed, aws):
				one.Unread = append(one.Unread, "the policy "+arn)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := map[string]LocalRole{}
	for _, f := range functions {
		var arn any
		s, resource, err := r.asm.locate(f)
		if err == nil {
			arn, err = r.Resolve(s, resource.Properties["Role"])
		}
		_, name, _ := strings.Cut(fmt.Sprint(arn), ":role/")
		name = name[strings.LastIndexByte(name, '/')+1:]
		if found := roles[name]; err == nil && found != nil {
			out[f.ID] = *found
		} else {
			out[f.ID] = LocalRole{Name: name, Unread: []string{"the role, which is not in the app,"}}
		}
	}
	return out, nil
}
