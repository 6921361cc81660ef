package cfn

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// Container images: built and pushed by the container engine of this machine, to the repository of the bootstrap. An
// image's tag is the hash of what it is made of, so a tag that is there already is right.

// Image is how an image is made, as the asset manifest has it.
type Image struct {
	Directory  string // absolute
	Executable []string
	Repository string
	Tag        string

	file, target, network, platform, ssh string
	buildArgs, secrets, contexts         map[string]string
	outputs                              []string
	cacheFrom                            []imageCache
	cacheTo                              *imageCache
	noCache                              bool
}

type imageCache struct {
	Type   string            `json:"type"`
	Params map[string]string `json:"params"`
}

// NoContainerEngine says that an app has an image and the machine nothing that could build it.
type NoContainerEngine struct{ Stack, Image, Program string }

func (e *NoContainerEngine) Error() string {
	return fmt.Sprintf("stack %s has the container image %s, and there is no %q on this machine to build it: install and start Docker, "+
		"or another engine with Docker's command line (CDK_DOCKER names it), or deploy from a machine that has one", e.Stack, e.Image, e.Program)
}

// readImages reads the images of an asset manifest that lies in dir.
func readImages(dir string, manifest json.RawMessage) ([]Asset, error) {
	ids, err := objectKeys(manifest)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	var entries map[string]struct {
		DisplayName string `json:"displayName"`
		Source      struct {
			Directory           string            `json:"directory"`
			Executable          []string          `json:"executable"`
			DockerFile          string            `json:"dockerFile"`
			DockerBuildArgs     map[string]string `json:"dockerBuildArgs"`
			DockerBuildSecrets  map[string]string `json:"dockerBuildSecrets"`
			DockerBuildContexts map[string]string `json:"dockerBuildContexts"`
			DockerBuildSSH      string            `json:"dockerBuildSsh"`
			DockerBuildTarget   string            `json:"dockerBuildTarget"`
			DockerOutputs       []string          `json:"dockerOutputs"`
			NetworkMode         string            `json:"networkMode"`
			Platform            string            `json:"platform"`
			CacheFrom           []imageCache      `json:"cacheFrom"`
			CacheTo             *imageCache       `json:"cacheTo"`
			CacheDisabled       bool              `json:"cacheDisabled"`
		} `json:"source"`
		Destinations json.RawMessage `json:"destinations"`
	}
	if err := json.Unmarshal(manifest, &entries); err != nil {
		return nil, err
	}
	var all []Asset
	for _, id := range ids {
		entry, source := entries[id], entries[id].Source
		names, err := objectKeys(entry.Destinations)
		if err != nil {
			return nil, err
		}
		var destinations map[string]struct{ RepositoryName, ImageTag, Region, AssumeRoleArn string }
		if len(names) > 0 {
			if err := json.Unmarshal(entry.Destinations, &destinations); err != nil {
				return nil, err
			}
		}
		image := &Image{Executable: source.Executable, file: source.DockerFile, target: source.DockerBuildTarget, network: source.NetworkMode,
			platform: source.Platform, ssh: source.DockerBuildSSH, buildArgs: source.DockerBuildArgs, secrets: source.DockerBuildSecrets,
			contexts: source.DockerBuildContexts, outputs: source.DockerOutputs, cacheFrom: source.CacheFrom, cacheTo: source.CacheTo, noCache: source.CacheDisabled}
		if image.Directory = filepath.FromSlash(source.Directory); !filepath.IsAbs(image.Directory) {
			image.Directory = filepath.Join(dir, image.Directory)
		}
		asset := Asset{ID: id, Name: entry.DisplayName, Packaging: "image", Image: image}
		for _, name := range names { // an app in one environment has one destination
			d := destinations[name]
			image.Repository, image.Tag, asset.Region, asset.AssumeRoleArn = d.RepositoryName, d.ImageTag, d.Region, d.AssumeRoleArn
			break
		}
		all = append(all, asset)
	}
	return all, nil
}

// image brings an image to its repository, unless it is there.
func (p *publisher) image(ctx context.Context, s *Stack, asset Asset, region string) error {
	image := asset.Image
	shown := cmp.Or(asset.Name, asset.ID)
	repository, tag := p.env.fill(image.Repository, region), p.env.fill(image.Tag, region)
	wrap := func(err error) error { return fmt.Errorf("publish image %s to %s: %w", shown, repository, err) }
	config, err := p.env.as(ctx, asset.AssumeRoleArn, region)
	if err != nil {
		return wrap(err)
	}
	client := ecr.NewFromConfig(config)
	_, err = client.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: &repository, ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: &tag}}})
	if err == nil {
		return nil
	}
	if code(err) != "ImageNotFoundException" {
		return wrap(err)
	}
	program, err := exec.LookPath(p.docker)
	if err != nil {
		return &NoContainerEngine{Stack: s.Name, Image: shown, Program: p.docker}
	}
	p.report(Progress{Time: time.Now(), Stack: s, Kind: ProgressAsset, Status: "BUILDING", Path: shown}) // which may take minutes
	local, err := image.build(ctx, program, asset.ID)
	if err != nil {
		return wrap(err)
	}
	token, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return wrap(err)
	}
	if len(token.AuthorizationData) == 0 {
		return wrap(errors.New("ECR gave no token"))
	}
	secret, err := base64.StdEncoding.DecodeString(aws.ToString(token.AuthorizationData[0].AuthorizationToken))
	user, password, found := strings.Cut(string(secret), ":")
	if err != nil || !found {
		return wrap(errors.New("ECR gave a token that is none"))
	}
	registry := strings.TrimPrefix(aws.ToString(token.AuthorizationData[0].ProxyEndpoint), "https://")
	remote := registry + "/" + repository + ":" + tag
	for _, step := range []struct {
		input     string
		arguments []string
	}{
		{password, []string{"login", "--username", user, "--password-stdin", registry}}, // an argument could be seen by others
		{"", []string{"tag", local, remote}},
		{"", []string{"push", remote}},
	} {
		if _, err := command(ctx, "", step.input, program, step.arguments...); err != nil {
			return wrap(err)
		}
	}
	p.report(Progress{Time: time.Now(), Stack: s, Kind: ProgressAsset, Status: "PUBLISHED", Path: shown})
	return nil
}

// build makes the image and gives its name on this machine.
func (i *Image) build(ctx context.Context, program, id string) (string, error) {
	if len(i.Executable) > 0 { // a command that makes the image and prints its name
		out, err := command(ctx, i.Directory, "", i.Executable[0], i.Executable[1:]...)
		return strings.TrimSpace(out), err
	}
	name := "cdkasset-" + strings.ToLower(id)
	_, err := command(ctx, i.Directory, "", program, i.arguments(name)...)
	return name, err
}

// arguments are those that the CDK's own command line gives.
func (i *Image) arguments(name string) []string {
	all := []string{"build"}
	each := func(flag, format string, values map[string]string) {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			all = append(all, flag, fmt.Sprintf(format, key, values[key]))
		}
	}
	each("--build-arg", "%s=%s", i.buildArgs)
	each("--build-context", "%s=%s", i.contexts)
	each("--secret", "id=%s,%s", i.secrets)
	option := func(flag, value string) {
		if value != "" {
			all = append(all, flag, value)
		}
	}
	option("--ssh", i.ssh)
	option("--tag", name)
	option("--target", i.target)
	option("--file", i.file)
	option("--network", i.network)
	option("--platform", i.platform)
	for _, output := range i.outputs {
		option("--output", output)
	}
	for _, cache := range i.cacheFrom {
		option("--cache-from", cache.String())
	}
	if i.cacheTo != nil {
		option("--cache-to", i.cacheTo.String())
	}
	if i.noCache {
		all = append(all, "--no-cache")
	}
	return append(all, ".")
}

func (c imageCache) String() string {
	text := "type=" + c.Type
	for _, key := range slices.Sorted(maps.Keys(c.Params)) {
		text += "," + key + "=" + c.Params[key]
	}
	return text
}

// command runs a program; its error ends with the last lines that it wrote.
func command(ctx context.Context, dir, input, program string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, arguments...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, strings.NewReader(input), &out, &errs
	cmd.Env = append(cmd.Environ(), "BUILDX_NO_DEFAULT_ATTESTATIONS=1") // Lambda takes no image that brings attestations
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err == nil {
		return out.String(), nil
	}
	lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
	return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), arguments[0], err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}
