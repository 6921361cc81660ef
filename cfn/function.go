package cfn

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
)

// NotDeployed says that a function of the assembly is not in the account.
type NotDeployed struct{ Function *Function }

func (e *NotDeployed) Error() string { return fmt.Sprintf("%s is not deployed", e.Function.ID) }

// DeployedName is the name in AWS of a function of the assembly; a *NotDeployed when there is none.
func (d *Deployer) DeployedName(ctx context.Context, f *Function) (string, error) {
	top, inner, nested := strings.Cut(f.Stack, "/")
	s := d.Assembly.Stack(top)
	if s == nil {
		return "", fmt.Errorf("the assembly has no stack %s", top)
	}
	config := d.Config.Copy()
	if s.Region != "" {
		config.Region = s.Region
	}
	client := cloudformation.NewFromConfig(config)
	name := s.Name
	ids := []string{f.LogicalID}
	if nested {
		ids = append(strings.Split(inner, "/"), f.LogicalID)
	}
	for _, id := range ids { // from the top stack down to the function
		out, err := client.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: &name, LogicalResourceId: &id})
		switch {
		case code(err) == "ValidationError" && strings.Contains(message(err), "does not exist"):
			return "", &NotDeployed{f}
		case err != nil:
			return "", fmt.Errorf("name of function %s: %w", f.ID, err)
		}
		if name = aws.ToString(out.StackResourceDetail.PhysicalResourceId); name == "" {
			return "", &NotDeployed{f}
		}
	}
	return name, nil
}
