package cfn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Template is a CloudFormation template as decoded JSON: numbers are json.Number.
type Template struct {
	Parameters map[string]*Parameter
	Mappings   map[string]map[string]map[string]any
	Conditions map[string]any
	Resources  map[string]*Resource
	Outputs    map[string]*Output
	Order      []string // logical ids of the resources as they are declared
}

// Parameter of a template.
type Parameter struct {
	Type    string
	Default any
}

// Output of a template.
type Output struct {
	Value     any
	Condition string
	Export    struct{ Name any }
}

// Resource is one resource of a template.
type Resource struct {
	Type                string
	Properties          map[string]any
	DependsOn           any // string or list
	Condition           string
	DeletionPolicy      any
	UpdateReplacePolicy any
	Metadata            map[string]any
}

// Template reads and keeps the stack's template.
func (s *Stack) Template() (*Template, error) {
	s.once.Do(func() {
		s.template, s.err = readTemplate(filepath.Join(s.Dir, s.TemplateFile))
	})
	return s.template, s.err
}

// Preload reads the templates of all stacks, on all processors. What is wrong with one is said when it is asked for.
func (a *Assembly) Preload() {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, s := range a.Stacks {
		group.Go(func() error {
			_, _ = s.Template()
			return nil
		})
	}
	group.Wait()
}

func readTemplate(file string) (*Template, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t, err := ParseTemplate(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// ParseTemplate reads a template's JSON, in one pass.
func ParseTemplate(data []byte) (*Template, error) {
	var sections struct {
		Parameters map[string]*Parameter
		Mappings   map[string]map[string]map[string]any
		Conditions map[string]any
		Resources  resources
		Outputs    map[string]*Output
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&sections); err != nil {
		return nil, err
	}
	return &Template{sections.Parameters, sections.Mappings, sections.Conditions, sections.Resources.byID, sections.Outputs, sections.Resources.order}, nil
}

// resources remember their order.
type resources struct {
	byID  map[string]*Resource
	order []string
}

func (r *resources) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return fmt.Errorf("an object of resources is wanted, not %v", token)
	}
	r.byID = map[string]*Resource{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		id := token.(string)
		resource := new(Resource)
		if err := decoder.Decode(&resource); err != nil {
			return err
		}
		if _, again := r.byID[id]; !again {
			r.order = append(r.order, id)
		}
		r.byID[id] = resource
	}
	return nil
}

// all gives the resources in the order they are declared.
func (t *Template) all(types ...string) []string {
	var ids []string
	for _, id := range t.Order {
		if r := t.Resources[id]; r != nil && (len(types) == 0 || slices.Contains(types, r.Type)) {
			ids = append(ids, id)
		}
	}
	return ids
}

const typeNested = "AWS::CloudFormation::Stack"

var templateURL = regexp.MustCompile(`([^/]+\.(?:json|template|yaml))$`)

// Nested gives the stacks nested in this one whose templates are in the assembly.
func (s *Stack) Nested() ([]*Stack, error) {
	s.nestedOnce.Do(func() {
		t, err := s.Template()
		if err != nil {
			s.nestedErr = err
			return
		}
		for _, id := range t.all(typeNested) {
			key := templateURL.FindString(lastString(t.Resources[id].Properties["TemplateURL"]))
			for _, asset := range s.Assets {
				if key != "" && asset.ObjectKey == key {
					s.nested = append(s.nested, &Stack{
						ID: s.ID + "/" + id, Name: s.Name + "-" + id, Short: s.Short + "/" + id, DisplayName: s.DisplayName + "/" + id,
						Dir: s.Dir, TemplateFile: relativeTo(s.Dir, asset.Path), Account: s.Account, Region: s.Region,
						Assets: s.Assets, Tags: s.Tags, Parent: s, LogicalID: id, metadata: s.metadata, inline: s.inline,
					})
					break
				}
			}
		}
	})
	return s.nested, s.nestedErr
}

func relativeTo(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil {
		return rel
	}
	return path
}

// lastString is the last literal in a value: of a TemplateURL, however it is put together, the part with the key.
func lastString(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []any:
		for _, each := range slices.Backward(v) {
			if text := lastString(each); text != "" {
				return text
			}
		}
	case map[string]any:
		for _, name := range []string{"Fn::Join", "Fn::Sub"} {
			if inner, ok := v[name]; ok {
				return lastString(inner)
			}
		}
	}
	return ""
}

// withNested gives the stack and all stacks below it.
func (s *Stack) withNested() ([]*Stack, error) {
	all := []*Stack{s}
	nested, err := s.Nested()
	if err != nil {
		return nil, err
	}
	for _, n := range nested {
		below, err := n.withNested()
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

// Path gives the construct path of a resource, "" when it is not known.
func (s *Stack) Path(logicalID string) string {
	if t, err := s.Template(); err == nil && t.Resources[logicalID] != nil {
		if path, ok := t.Resources[logicalID].Metadata["aws:cdk:path"].(string); ok {
			return path
		}
	}
	s.pathsOnce.Do(s.readPaths)
	return s.paths[logicalID]
}

func (s *Stack) readPaths() {
	s.paths = map[string]string{}
	entries := s.inline
	if s.metadata != "" {
		if data, err := os.ReadFile(filepath.Join(s.Dir, s.metadata)); err == nil {
			var more map[string][]metadataEntry
			if json.Unmarshal(data, &more) == nil { // without it there are no paths, and ids are logical ids
				maps.Copy(more, entries)
				entries = more
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(entries)) {
		for _, e := range entries[path] {
			var id string
			if e.Type == "aws:cdk:logicalId" && json.Unmarshal(e.Data, &id) == nil && s.paths[id] == "" {
				s.paths[id] = strings.TrimPrefix(path, "/")
			}
		}
	}
}
