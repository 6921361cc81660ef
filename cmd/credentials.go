package cmd

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// credentialSource names where the AWS SDK would take credentials from, in the order of its chain, or gives "" when
// no source is configured at all: only then `start` may go local by itself. Whether the credentials work is another
// question; ones that do not are an error later, never a silent switch.
func (t *tool) credentialSource(ctx context.Context) (string, error) {
	for _, source := range []struct{ variable, text string }{
		{"AWS_ACCESS_KEY_ID", "the variable AWS_ACCESS_KEY_ID"},
		{"AWS_WEB_IDENTITY_TOKEN_FILE", "the web identity token of AWS_WEB_IDENTITY_TOKEN_FILE"},
		{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "the container's credentials"},
		{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "the container's credentials"},
	} {
		if t.Getenv(source.variable) != "" && t.profile == "" {
			return source.text, nil
		}
	}
	name, named := t.profileName()
	profile, err := t.sharedProfile(ctx)
	if err != nil {
		return "", err
	}
	configured := profile.Credentials.HasKeys() || profile.RoleARN != "" || profile.SSOSessionName != "" || profile.SSOStartURL != "" ||
		profile.CredentialProcess != "" || profile.CredentialSource != "" || profile.WebIdentityTokenFile != "" || profile.LoginSession != ""
	if named || configured {
		return "the profile " + name, nil
	}
	if t.instanceMetadata(ctx) {
		return "the instance's role", nil
	}
	return "", nil
}

// metadataTimeout is how long the instance metadata service may take: on an EC2 instance it answers within a few
// milliseconds, elsewhere nobody answers at all.
const metadataTimeout = 200 * time.Millisecond

// instanceMetadata asks whether an instance role gives credentials.
func (t *tool) instanceMetadata(ctx context.Context) bool {
	if strings.EqualFold(t.Getenv("AWS_EC2_METADATA_DISABLED"), "true") || !onEC2() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	client := imds.New(imds.Options{
		HTTPClient: &http.Client{Timeout: metadataTimeout},
		Endpoint:   t.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
	})
	answer, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "iam/security-credentials/"})
	if err != nil {
		return false
	}
	answer.Content.Close()
	return true
}

// onEC2 looks for signs that this is not an EC2 instance, so that nobody waits for an address that does not answer.
// Unknown counts as yes.
func onEC2() bool {
	for _, file := range []string{"/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/board_vendor"} {
		if vendor, err := os.ReadFile(file); err == nil {
			return strings.Contains(string(vendor), "Amazon EC2")
		}
	}
	return true
}
