package cfn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// NotBootstrapped says that an account and region lack what deployments need.
type NotBootstrapped struct {
	Account, Region string
	Have, Want      int // versions; Have 0: there is nothing at all
}

func (e *NotBootstrapped) Error() string {
	if e.Have == 0 {
		return fmt.Sprintf("account %s is not bootstrapped in %s", e.Account, e.Region)
	}
	return fmt.Sprintf("account %s is bootstrapped in %s with version %d, this app needs %d", e.Account, e.Region, e.Have, e.Want)
}

// WrongAccount says that the credentials are of another account than the one the stage is tied to.
type WrongAccount struct{ Stack, Have, Want string }

func (e *WrongAccount) Error() string {
	return fmt.Sprintf("stack %s belongs to account %s, the credentials are of account %s", e.Stack, e.Want, e.Have)
}

// environments is the account as the stacks meet it: names filled in, roles assumed, clients made, each once.
type environments struct {
	config    aws.Config
	account   string
	partition string

	mu       sync.Mutex
	assumed  map[string]*assumption // by role and region
	versions map[string]*version    // by parameter and region
}

type assumption struct {
	once   sync.Once
	config aws.Config
	err    error
}

type version struct {
	once   sync.Once
	number int
	err    error
}

// openEnvironments asks whose the credentials are.
func openEnvironments(ctx context.Context, config aws.Config) (*environments, error) {
	caller, err := sts.NewFromConfig(config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, err
	}
	parsed, err := arn.Parse(aws.ToString(caller.Arn))
	if err != nil {
		return nil, fmt.Errorf("identity of the caller: %w", err)
	}
	return &environments{config: config, account: aws.ToString(caller.Account), partition: parsed.Partition,
		assumed: map[string]*assumption{}, versions: map[string]*version{}}, nil
}

func (e *environments) region(s *Stack) string {
	if s.Region != "" {
		return s.Region
	}
	return e.config.Region
}

func (e *environments) suffix() string {
	if e.partition == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// fill completes the placeholders of the CDK.
func (e *environments) fill(text, region string) string {
	return strings.NewReplacer("${AWS::AccountId}", e.account, "${AWS::Region}", region, "${AWS::Partition}", e.partition,
		"${AWS::URLSuffix}", e.suffix()).Replace(text)
}

// as gives a configuration with the credentials of a role; with the caller's own when the role may not be assumed.
func (e *environments) as(ctx context.Context, role, region string) (aws.Config, error) {
	role = e.fill(role, region)
	e.mu.Lock()
	a := e.assumed[role+" "+region]
	if a == nil {
		a = &assumption{}
		e.assumed[role+" "+region] = a
	}
	e.mu.Unlock()
	a.once.Do(func() {
		own := e.config.Copy()
		own.Region = region
		a.config = own
		if role == "" {
			return
		}
		provider := aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(own), role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "sst"
		}))
		switch _, err := provider.Retrieve(ctx); {
		case err == nil:
			a.config.Credentials = provider
		case code(err) == "AccessDenied":
		default:
			a.err = err
		}
	})
	return a.config, a.err
}

func (e *environments) cloudformation(ctx context.Context, s *Stack) (*cloudformation.Client, error) {
	config, err := e.as(ctx, s.Deployment.AssumeRoleArn, e.region(s))
	return cloudformation.NewFromConfig(config), err
}

func (e *environments) s3(ctx context.Context, role, region string) (*s3.Client, error) {
	config, err := e.as(ctx, role, region)
	return s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = config.BaseEndpoint != nil }), err
}

// checkBootstrap checks that the environment of a stack has what the stack needs.
func (e *environments) checkBootstrap(ctx context.Context, s *Stack) error {
	name, want, region := s.Deployment.BootstrapStackVersionSsmParameter, s.Deployment.RequiresBootstrapStackVersion, e.region(s)
	if name == "" || want == 0 {
		return nil
	}
	e.mu.Lock()
	v := e.versions[name+" "+region]
	if v == nil {
		v = &version{}
		e.versions[name+" "+region] = v
	}
	e.mu.Unlock()
	v.once.Do(func() {
		config, err := e.as(ctx, s.Deployment.AssumeRoleArn, region)
		if err != nil {
			v.err = err
			return
		}
		out, err := ssm.NewFromConfig(config).GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		if code(err) == "ParameterNotFound" {
			return
		}
		if err != nil {
			v.err = fmt.Errorf("version of the bootstrap: %w", err)
			return
		}
		if v.number, err = strconv.Atoi(aws.ToString(out.Parameter.Value)); err != nil {
			v.err = fmt.Errorf("version of the bootstrap: %s holds %q", name, aws.ToString(out.Parameter.Value))
		}
	})
	if v.err == nil && v.number < want {
		return &NotBootstrapped{Account: e.account, Region: region, Have: v.number, Want: want}
	}
	return v.err
}

// code is the error code of an AWS service, "" for any other error.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// ErrorCode is the error code of an AWS service, "" for any other error.
func ErrorCode(err error) string { return code(err) }

func message(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return ""
}
