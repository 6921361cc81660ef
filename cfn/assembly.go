// Package cfn knows CloudFormation: the cloud assembly that the CDK writes and `sst` completes, what its templates mean
// for a local run, how it is compared, and how it is brought to AWS and removed from there.
//
// An assembly is a folder: manifest.json and the templates as the stock cdk CLI reads them, the assets, and sst.json with
// what the templates do not say (docs/assembly.md). It is what the engine hands to everyone else. Nothing here knows
// Starlark or a construct: everything is read off the templates, so what runs locally is what would be deployed.
//
// Start from Assembly (Open), Manifest (Derive), Finish, Resolver and Deployer.
package cfn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Assembly is a cloud assembly on disk.
type Assembly struct {
	Dir      string
	Stacks   []*Stack  // of all nested assemblies, each after those it depends on
	Manifest *Manifest // nil when the folder has no sst.json
	Missing  []Missing // lookups that the CDK could not answer from its context
}

// Missing is a lookup without an answer.
type Missing struct {
	Key      string          `json:"key"`
	Provider string          `json:"provider"`
	Props    json.RawMessage `json:"props"`
}

// Stack is one CloudFormation stack of an assembly, or one nested in it.
type Stack struct {
	ID           string // artifact id: "dev-notes-web"; of a nested stack "<id of its parent>/<logical id>"
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
	Deployment   Deployment

	Parent    *Stack // of a nested stack
	LogicalID string // of a nested stack, in its parent's template

	metadata string // file with construct path → logical id, relative to Dir
	inline   map[string][]metadataEntry

	once     sync.Once
	template *Template
	err      error

	pathsOnce sync.Once
	paths     map[string]string

	nestedOnce sync.Once
	nested     []*Stack
	nestedErr  error
}

// Deployment is what a deployer needs beyond the template.
type Deployment struct {
	AssumeRoleArn                     string `json:"assumeRoleArn"`
	CloudFormationExecutionRoleArn    string `json:"cloudFormationExecutionRoleArn"`
	StackTemplateAssetObjectURL       string `json:"stackTemplateAssetObjectUrl"`
	RequiresBootstrapStackVersion     int    `json:"requiresBootstrapStackVersion"`
	BootstrapStackVersionSsmParameter string `json:"bootstrapStackVersionSsmParameter"`
	TerminationProtection             bool   `json:"terminationProtection"`
}

// Asset is a file or folder that is uploaded before its stack is deployed. Bucket, ObjectKey and AssumeRoleArn may
// contain "${AWS::AccountId}" and the like.
type Asset struct {
	ID            string // hash
	Name          string // for people; may be ""
	Path          string // absolute
	Packaging     string // "file" or "zip"; "image" is a container image, which has no Path, Bucket and ObjectKey
	Bucket        string
	ObjectKey     string
	Region        string
	AssumeRoleArn string
	Image         *Image // of an image only
}

type metadataEntry struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// artifact is an entry of manifest.json.
type artifact struct {
	ID            string                     `json:"-"`
	Type          string                     `json:"type"`
	Environment   string                     `json:"environment"`
	Dependencies  []string                   `json:"dependencies"`
	DisplayName   string                     `json:"displayName"`
	Metadata      map[string][]metadataEntry `json:"metadata"`
	MetadataFile  string                     `json:"additionalMetadataFile"`
	RawProperties json.RawMessage            `json:"properties"`
}

const (
	typeStack    = "aws:cloudformation:stack"
	typeAssets   = "cdk:asset-manifest"
	typeAssembly = "cdk:cloud-assembly"
)

// Open reads the assembly in dir. Templates are read when asked for.
func Open(dir string) (*Assembly, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	asm := &Assembly{Dir: dir}
	if err := asm.read(dir); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return asm, nil
	}
	if err != nil {
		return nil, err
	}
	asm.Manifest = &Manifest{}
	if err := json.Unmarshal(data, asm.Manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, ManifestFile), err)
	}
	if v := asm.Manifest.Version; v > ManifestVersion {
		return nil, fmt.Errorf("%s has version %d, this tool reads up to %d", filepath.Join(dir, ManifestFile), v, ManifestVersion)
	}
	asm.setShort(asm.Manifest)
	return asm, nil
}

// SetManifest gives an assembly the manifest that will be its sst.json.
func (a *Assembly) SetManifest(m *Manifest) {
	a.Manifest = m
	a.setShort(m)
}

func (a *Assembly) setShort(m *Manifest) {
	for _, s := range a.Stacks {
		s.Short = strings.TrimPrefix(s.ID, m.prefix())
	}
}

// read adds the stacks of one manifest.json and, in their place, those of the assemblies in it.
func (a *Assembly) read(dir string) error {
	name := filepath.Join(dir, "manifest.json")
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not a cloud assembly: it has no manifest.json", dir)
	}
	if err != nil {
		return err
	}
	var manifest struct {
		Artifacts json.RawMessage `json:"artifacts"`
		Missing   []Missing       `json:"missing"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	a.Missing = append(a.Missing, manifest.Missing...)
	artifacts, err := readArtifacts(manifest.Artifacts)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	byID := map[string]*artifact{}
	for _, x := range artifacts {
		byID[x.ID] = x
	}
	for _, x := range inOrder(artifacts, byID) {
		switch x.Type {
		case typeAssembly:
			var p struct {
				DirectoryName string `json:"directoryName"`
			}
			if err := json.Unmarshal(x.RawProperties, &p); err != nil {
				return fmt.Errorf("%s: %s: %w", name, x.ID, err)
			}
			if err := a.read(filepath.Join(dir, p.DirectoryName)); err != nil {
				return err
			}
		case typeStack:
			s, err := newStack(dir, x, byID)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", name, x.ID, err)
			}
			a.Stacks = append(a.Stacks, s)
		}
	}
	return nil
}

func readArtifacts(data json.RawMessage) ([]*artifact, error) {
	keys, err := objectKeys(data)
	if err != nil {
		return nil, err
	}
	var byID map[string]*artifact
	if err := json.Unmarshal(data, &byID); err != nil {
		return nil, err
	}
	var all []*artifact
	for _, key := range keys {
		if x := byID[key]; x != nil {
			x.ID = key
			all = append(all, x)
		}
	}
	return all, nil
}

// inOrder gives each artifact after those it depends on, else in the order of the file. A cycle is cut where it is met;
// the CDK never writes one.
func inOrder(all []*artifact, byID map[string]*artifact) []*artifact {
	var ordered []*artifact
	seen := map[*artifact]bool{}
	var visit func(x *artifact)
	visit = func(x *artifact) {
		if x == nil || seen[x] {
			return
		}
		seen[x] = true
		for _, id := range x.Dependencies {
			visit(byID[id])
		}
		ordered = append(ordered, x)
	}
	for _, x := range all {
		visit(x)
	}
	return ordered
}

func newStack(dir string, x *artifact, byID map[string]*artifact) (*Stack, error) {
	var p struct {
		Deployment
		TemplateFile string            `json:"templateFile"`
		StackName    string            `json:"stackName"`
		Tags         map[string]string `json:"tags"`
	}
	if err := json.Unmarshal(x.RawProperties, &p); err != nil {
		return nil, err
	}
	s := &Stack{
		ID: x.ID, Name: p.StackName, Short: x.ID, DisplayName: x.DisplayName, Dir: dir, TemplateFile: p.TemplateFile,
		Tags: p.Tags, Deployment: p.Deployment, metadata: x.MetadataFile, inline: x.Metadata,
	}
	if s.Name == "" {
		s.Name = x.ID
	}
	if s.DisplayName == "" {
		s.DisplayName = x.ID
	}
	account, region, _ := strings.Cut(strings.TrimPrefix(x.Environment, "aws://"), "/")
	if account != "unknown-account" {
		s.Account = account
	}
	if region != "unknown-region" {
		s.Region = region
	}
	for _, id := range x.Dependencies {
		other := byID[id]
		switch {
		case other == nil:
		case other.Type == typeStack:
			s.Dependencies = append(s.Dependencies, id)
		case other.Type == typeAssets:
			var file struct {
				File string `json:"file"`
			}
			if err := json.Unmarshal(other.RawProperties, &file); err != nil {
				return nil, err
			}
			assets, err := readAssets(dir, file.File)
			if err != nil {
				return nil, err
			}
			s.Assets = append(s.Assets, assets...)
		}
	}
	return s, nil
}

func readAssets(dir, file string) ([]Asset, error) {
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	var manifest assetManifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	ids, err := objectKeys(manifest.Files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var files map[string]assetEntry
	if err := json.Unmarshal(manifest.Files, &files); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var all []Asset
	for _, id := range ids {
		entry := files[id]
		asset := Asset{ID: id, Name: entry.DisplayName, Path: filepath.Join(dir, filepath.FromSlash(entry.Source.Path)), Packaging: entry.Source.Packaging}
		names, _ := objectKeys(entry.Destinations)
		var destinations map[string]struct {
			BucketName    string `json:"bucketName"`
			ObjectKey     string `json:"objectKey"`
			Region        string `json:"region"`
			AssumeRoleArn string `json:"assumeRoleArn"`
		}
		if err := json.Unmarshal(entry.Destinations, &destinations); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, id, err)
		}
		for _, name := range names { // an app in one environment has one destination
			d := destinations[name]
			asset.Bucket, asset.ObjectKey, asset.Region, asset.AssumeRoleArn = d.BucketName, d.ObjectKey, d.Region, d.AssumeRoleArn
			break
		}
		all = append(all, asset)
	}
	images, err := readImages(dir, manifest.DockerImages)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return append(all, images...), nil
}

// assetManifest is an *.assets.json.
type assetManifest struct {
	Version      string          `json:"version"`
	Files        json.RawMessage `json:"files"`
	DockerImages json.RawMessage `json:"dockerImages,omitempty"`
}

type assetEntry struct {
	DisplayName string `json:"displayName,omitempty"`
	Source      struct {
		Path       string          `json:"path,omitempty"`
		Packaging  string          `json:"packaging,omitempty"`
		Executable json.RawMessage `json:"executable,omitempty"`
	} `json:"source"`
	Destinations json.RawMessage `json:"destinations"`
}

// Stack finds a stack by artifact id, stack name, display name or short name.
func (a *Assembly) Stack(name string) *Stack {
	for _, s := range a.Stacks {
		if s.ID == name || s.Name == name || s.DisplayName == name || s.Short == name {
			return s
		}
	}
	return nil
}

// objectKeys gives the keys of a JSON object in the order of the text. A null has none.
func objectKeys(data []byte) ([]string, error) {
	if len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, fmt.Errorf("an object is wanted, not %v", token)
	}
	var keys []string
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		keys = append(keys, token.(string))
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
