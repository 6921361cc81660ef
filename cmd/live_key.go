package cmd

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"sst/cfn"
)

// The key of a stage signs the key of each run of `sst start`, so that stubs talk to developers only. It is apart from the
// parameters of the app, which a function may be allowed to read as a whole.

func stageKeyName(m *cfn.Manifest) string { return fmt.Sprintf("/sst-live/%s/%s/key", m.App, m.Stage) }

// stageKey reads the stage's key, or makes it: the first start of a stage does.
func stageKey(ctx context.Context, config aws.Config, m *cfn.Manifest) (ed25519.PrivateKey, error) {
	client, name := ssm.NewFromConfig(config), aws.String(stageKeyName(m))
	for {
		got, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: name, WithDecryption: aws.Bool(true)})
		if err == nil {
			seed, err := base64.StdEncoding.DecodeString(aws.ToString(got.Parameter.Value))
			if err != nil || len(seed) != ed25519.SeedSize {
				return nil, problemf("Delete it; the next start makes another one.", "the parameter %s is not a key of sst", *name)
			}
			return ed25519.NewKeyFromSeed(seed), nil
		}
		var missing *types.ParameterNotFound
		if !errors.As(err, &missing) {
			return nil, fmt.Errorf("key of the stage: %w", err)
		}
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		_, err = client.PutParameter(ctx, &ssm.PutParameterInput{
			Name: name, Type: types.ParameterTypeSecureString, Value: aws.String(base64.StdEncoding.EncodeToString(private.Seed())),
			Description: aws.String("Signs the runs of sst start; developers only"),
			Tags:        []types.Tag{{Key: aws.String("sst:app"), Value: &m.App}, {Key: aws.String("sst:stage"), Value: &m.Stage}},
		})
		var there *types.ParameterAlreadyExists
		if err != nil && !errors.As(err, &there) { // somebody else's start was faster: theirs is read
			return nil, fmt.Errorf("key of the stage: %w", err)
		}
	}
}

// deleteStageKey is for the end of a stage.
func deleteStageKey(ctx context.Context, config aws.Config, m *cfn.Manifest) error {
	_, err := ssm.NewFromConfig(config).DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(stageKeyName(m))})
	var missing *types.ParameterNotFound
	if errors.As(err, &missing) {
		return nil
	}
	return err
}
