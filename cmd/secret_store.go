package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"sst/cfn"
	"sst/starlark/diag"
)

// This file is where the values of secrets are: SSM's Parameter Store, and for local mode a file of this machine. Both know
// a value by the name of its parameter.

// secretStore keeps values by parameter name.
type secretStore interface {
	// Get gives the values of those parameters that there are; without decrypt the values mean nothing.
	Get(ctx context.Context, names []string, decrypt bool) (map[string]string, error)
	// Names lists the parameters that lie below a path and end in "/value".
	Names(ctx context.Context, path string) ([]string, error)
	Set(ctx context.Context, name, value string) error
	// Remove says whether there was one.
	Remove(ctx context.Context, name string) (bool, error)
	// Place is where it is, for people: "in us-east-1".
	Place() string
}

// ssmStore is the Parameter Store of an account and region.
type ssmStore struct {
	client *ssm.Client
	region string
	key    string // that values are encrypted with; "" is AWS's own
}

var _ secretStore = (*ssmStore)(nil)

// ssmBatch is how many names SSM takes in one call.
const ssmBatch = 10

func (s *ssmStore) Place() string { return "in " + s.region }

func (s *ssmStore) Get(ctx context.Context, names []string, decrypt bool) (map[string]string, error) {
	values := map[string]string{}
	for batch := range slices.Chunk(names, ssmBatch) {
		out, err := s.client.GetParameters(ctx, &ssm.GetParametersInput{Names: batch, WithDecryption: &decrypt})
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parameters {
			values[aws.ToString(p.Name)] = aws.ToString(p.Value)
		}
	}
	return values, nil
}

func (s *ssmStore) Names(ctx context.Context, path string) ([]string, error) {
	var names []string
	pages := ssm.NewGetParametersByPathPaginator(s.client, &ssm.GetParametersByPathInput{Path: &path, Recursive: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Parameters {
			if strings.HasSuffix(aws.ToString(p.Name), "/value") {
				names = append(names, aws.ToString(p.Name))
			}
		}
	}
	return names, nil
}

func (s *ssmStore) Set(ctx context.Context, name, value string) error {
	in := &ssm.PutParameterInput{Name: &name, Value: &value, Type: types.ParameterTypeSecureString, Overwrite: aws.Bool(true),
		// Standard up to 4 KB, which is free, and advanced above.
		Tier: types.ParameterTierIntelligentTiering}
	if s.key != "" {
		in.KeyId = &s.key
	}
	_, err := s.client.PutParameter(ctx, in)
	return err
}

func (s *ssmStore) Remove(ctx context.Context, name string) (bool, error) {
	_, err := s.client.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: &name})
	var missing *types.ParameterNotFound
	if errors.As(err, &missing) {
		return false, nil
	}
	return err == nil, err
}

// fileStore is .sst/secrets.json: the values for local mode, readable by their owner only.
type fileStore struct {
	path string
	base string // that it is shown relative to

	mu     sync.Mutex // guards what follows
	read   time.Time  // modification time of what values has
	values map[string]string
}

var _ secretStore = (*fileStore)(nil)

func (t *tool) localSecrets(p *project) *fileStore {
	return &fileStore{path: filepath.Join(p.state, "secrets.json"), base: t.Dir}
}

func (s *fileStore) Place() string { return "on this machine (" + relative(s.base, s.path) + ")" }

// load reads the file again when it was written since.
func (s *fileStore) load() (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && s.values != nil && info.ModTime().Equal(s.read) && time.Since(s.read) > racyWindow:
		return s.values, nil
	}
	data, err := os.ReadFile(s.path)
	if err != nil {
		return nil, problemf("", "the secrets of local mode cannot be read: %v", err)
	}
	values := map[string]string{}
	if json.Unmarshal(data, &values) != nil {
		return nil, problemf("It maps names of parameters to values. Correct it, or delete it and set them again.", "%s is not as sst writes it", s.path)
	}
	s.values, s.read = values, info.ModTime()
	return values, nil
}

func (s *fileStore) save(change func(map[string]string)) error {
	values, err := s.load()
	if err != nil {
		return err
	}
	values = maps.Clone(values)
	if values == nil {
		values = map[string]string{}
	}
	change(values)
	data, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFileAtomic(s.path, append(data, '\n'), 0o600); err != nil {
		return problemf("", "the secrets of local mode cannot be written: %v", err)
	}
	return nil
}

func (s *fileStore) Get(_ context.Context, names []string, _ bool) (map[string]string, error) {
	all, err := s.load()
	found := map[string]string{}
	for _, name := range names {
		if value, ok := all[name]; ok {
			found[name] = value
		}
	}
	return found, err
}

func (s *fileStore) Names(_ context.Context, path string) ([]string, error) {
	all, err := s.load()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, strings.TrimSuffix(path, "/")+"/") && strings.HasSuffix(name, "/value") {
			names = append(names, name)
		}
	}
	return names, err
}

func (s *fileStore) Set(_ context.Context, name, value string) error {
	return s.save(func(values map[string]string) { values[name] = value })
}

func (s *fileStore) Remove(_ context.Context, name string) (bool, error) {
	all, err := s.load()
	if _, ok := all[name]; !ok || err != nil {
		return false, err
	}
	return true, s.save(func(values map[string]string) { delete(values, name) })
}

// resourceVariable is what the variables of linked resources begin with.
const resourceVariable = "SST_RESOURCE_"

// completeSecrets gives an environment with the values of the secrets that it names, as the prologue of a deployed bundle
// does; the same map when there are none. set is the command that sets one, without its name.
func completeSecrets(ctx context.Context, store secretStore, set string, env map[string]string) (map[string]string, error) {
	wanted := map[string]map[string]any{} // variable → its JSON
	var names []string
	for name, text := range env {
		if !strings.HasPrefix(name, resourceVariable) || !strings.Contains(text, `"sst.Secret"`) {
			continue
		}
		var resource map[string]any
		if json.Unmarshal([]byte(text), &resource) != nil || resource["type"] != "sst.Secret" || resource["value"] != nil {
			continue
		}
		parameter, _ := resource["name"].(string)
		wanted[name] = resource
		names = append(names, parameter, fallbackOf(parameter))
	}
	if len(wanted) == 0 {
		return env, nil
	}
	values, err := store.Get(ctx, slices.DeleteFunc(names, func(name string) bool { return name == "" }), true)
	if err != nil {
		return nil, err
	}
	env = maps.Clone(env)
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		resource := wanted[name]
		parameter := resource["name"].(string)
		value, ok := values[parameter]
		if !ok {
			value, ok = values[fallbackOf(parameter)]
		}
		if !ok {
			id := strings.TrimPrefix(name, resourceVariable)
			missing = append(missing, fmt.Sprintf("The secret %s has no value %s. Set it: %s %s", id, store.Place(), set, id))
			continue
		}
		resource["value"] = value
		text, err := json.Marshal(resource)
		if err != nil {
			return nil, err
		}
		env[name] = string(text)
	}
	if len(missing) > 0 {
		return nil, &Problem{Summary: strings.Join(missing, "\n")}
	}
	return env, nil
}

// fallbackOf is the parameter for all stages that have none of their own, "" for a name that is not ours.
func fallbackOf(parameter string) string {
	parts := strings.Split(parameter, "/") // "", sst, app, stage, Secret, id, value
	if len(parts) != 7 || parts[1] != "sst" || parts[4] != "Secret" || parts[6] != "value" {
		return ""
	}
	parts[3] = ".fallback"
	return strings.Join(parts, "/")
}

// missingSecrets gives the secrets of an app that have no value.
func missingSecrets(ctx context.Context, store secretStore, secrets []cfn.Secret) ([]cfn.Secret, error) {
	lacking := func(names []string, secrets []cfn.Secret, of func(cfn.Secret) string) ([]cfn.Secret, error) {
		values, err := store.Get(ctx, names, false)
		return slices.DeleteFunc(secrets, func(s cfn.Secret) bool { _, ok := values[of(s)]; return ok }), err
	}
	var names []string
	for _, s := range secrets {
		names = append(names, s.Parameter)
	}
	missing, err := lacking(names, slices.Clone(secrets), func(s cfn.Secret) string { return s.Parameter })
	if err != nil {
		return nil, err
	}
	names = nil
	for _, s := range missing {
		if s.Fallback != "" {
			names = append(names, s.Fallback)
		}
	}
	return lacking(names, missing, func(s cfn.Secret) string { return s.Fallback })
}

// checkSecrets stops a deployment whose functions would not start. Credentials that may deploy but not look at parameters
// are no reason to stop.
func (t *tool) checkSecrets(ctx context.Context, p *project, m *cfn.Manifest, config aws.Config) error {
	if len(m.Secrets) == 0 {
		return nil
	}
	missing, err := missingSecrets(ctx, &ssmStore{client: ssm.NewFromConfig(config), region: config.Region}, m.Secrets)
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && strings.HasPrefix(api.ErrorCode(), "AccessDenied"):
		t.view.Notice("Whether all secrets have a value is not checked: these credentials may not use ssm:GetParameters.")
		return nil
	case err != nil:
		return t.awsProblem(err)
	}
	var list diag.List
	for _, s := range missing {
		at := diag.Position{File: filepath.Join(p.root, filepath.FromSlash(s.Position.File)), Line: s.Position.Line, Col: s.Position.Column}
		list = append(list, &diag.Diagnostic{Code: "secret-not-set", Summary: "Secret not set", Span: diag.Point(at),
			Detail: fmt.Sprintf("%s has no value on stage %s: functions that link it could not start.", s.Name, m.Stage),
			Hint:   "Set it: " + p.secretsCommand("set", s.Name)})
	}
	if len(list) > 0 {
		return list
	}
	return nil
}

// secretsCommand is a command for the user to type.
func (p *project) secretsCommand(words ...string) string {
	command := "sst secrets " + strings.Join(words, " ")
	if !p.savedStage {
		command += " --stage " + p.stage
	}
	return command
}
