// Package cfn knows CloudFormation: the cloud assembly that the CDK writes and `sst` completes, what its templates mean
// for a local run, and (later) how it is deployed.
//
// An assembly is a folder: manifest.json and the templates as the stock cdk CLI reads them, the assets, and sst.json with
// what the templates do not say (docs/assembly.md). It is what the engine hands to everyone else. Nothing here knows
// Starlark or a construct: everything is read off the templates, so what runs locally is what would be deployed.
//
// Start from Assembly (Open), Manifest (Derive, Finish) and Resolver.
package cfn

// Assembly is a cloud assembly on disk.
type Assembly struct {
	Dir      string
	Stacks   []*Stack  // of all nested assemblies, each after those it depends on
	Manifest *Manifest // nil when the folder has no sst.json
}

// Stack is one CloudFormation stack of an assembly.
type Stack struct {
	ID           string // artifact id: "dev-notes-web"
	Name         string // stack name in CloudFormation
	Short        string // ID without the "<stage>-<app>-" prefix: "web"
	DisplayName  string // hierarchical id that the cdk CLI takes
	Dir          string // folder of the assembly that holds the template
	TemplateFile string // relative to Dir
	Dependencies []string
	Account      string // "" when unknown until deployment
	Region       string // likewise
	Assets       []Asset
	Tags         map[string]string
}

// Asset is a file of a stack that is uploaded before it is deployed.
type Asset struct {
	ID, Path, Packaging, ObjectKey, Bucket string
}

// Open reads the assembly in dir. Templates are read when asked for.
func Open(dir string) (*Assembly, error) { return &Assembly{Dir: dir}, nil }

// Stack finds a stack by artifact id, stack name, display name or short name.
func (a *Assembly) Stack(name string) *Stack {
	for _, s := range a.Stacks {
		if s.ID == name || s.Name == name || s.DisplayName == name || s.Short == name {
			return s
		}
	}
	return nil
}

// Template is a CloudFormation template as decoded JSON: numbers are json.Number.
type Template struct {
	Parameters map[string]any
	Mappings   map[string]any
	Conditions map[string]any
	Resources  map[string]*Resource
	Outputs    map[string]any
}

// Resource is one resource of a template.
type Resource struct {
	Type           string
	Properties     map[string]any
	DependsOn      []string
	Condition      string
	DeletionPolicy string
	Metadata       map[string]any
}

// Template reads and keeps the stack's template.
func (s *Stack) Template() (*Template, error) { return &Template{}, nil }
