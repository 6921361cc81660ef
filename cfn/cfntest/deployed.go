package cfntest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Deployed is a resource as it is in the account.
type Deployed struct {
	LogicalID, Type string
	Physical        string         // Ref
	Path            string         // construct path, "" when the template does not say it
	Properties      map[string]any // intrinsics computed
}

// Deployed gives the resources of a stack, by logical id.
func (s *Server) Deployed(name, region string) (all []Deployed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.find(name, region)
	if st == nil {
		return nil
	}
	t, err := parseTemplate(st.body)
	if err != nil {
		return nil
	}
	c := scope{s, st, t, nil}
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		if !st.resources[id] {
			continue
		}
		r := t.Resources[id]
		path := ""
		if metadata, ok := r.Metadata.(map[string]any); ok {
			path, _ = metadata["aws:cdk:path"].(string)
		}
		properties, _ := c.value(r.Properties).(map[string]any)
		if r.Type == "AWS::Lambda::Function" {
			properties = s.overlay(region, c.physical(id), properties)
		}
		all = append(all, Deployed{LogicalID: id, Type: r.Type, Physical: c.physical(id), Path: path, Properties: properties})
	}
	return all
}

// Code gives the archive of a function.
func (s *Server) Code(function Deployed) ([]byte, error) {
	code, _ := function.Properties["Code"].(map[string]any)
	bucket, _ := code["S3Bucket"].(string)
	key, _ := code["S3Key"].(string)
	data := s.Object(bucket, key)
	if data == nil {
		return nil, fmt.Errorf("%s: there is no %s/%s", function.LogicalID, bucket, key)
	}
	return data, nil
}

// Role is the name of a function's role.
func (d Deployed) Role() string {
	arn, _ := d.Properties["Role"].(string)
	return arn[strings.LastIndex(arn, "/")+1:]
}

// Know makes an access key id one of the account.
func (s *Server) Know(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[key] = ""
}

// Forget ends an access key id.
func (s *Server) Forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, key)
}
