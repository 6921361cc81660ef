package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// emptyPayload is the SHA-256 of nothing, in hexadecimal: what an upgrade request has for a body.
const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Signer signs the requests that open connections to a relay on AWS (SigV4, service execute-api). A signature and
// temporary credentials age, so each connection is signed when it is made.
type Signer struct {
	Credentials aws.CredentialsProvider
	Region      string

	skew atomic.Int64 // nanoseconds that AWS is ahead of this machine's clock
}

var signer = v4.NewSigner()

// sign adds the signature to the headers of r, whose URL says http or https.
func (s *Signer) sign(ctx context.Context, r *http.Request) error {
	credentials, err := s.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("AWS credentials: %w", err)
	}
	at := time.Now().Add(time.Duration(s.skew.Load())).UTC()
	return signer.SignHTTP(ctx, credentials, r, emptyPayload, "execute-api", s.Region, at)
}

// refused looks at the answer to a signed request that was refused: a clock that is wrong by minutes is the reason for
// some, and the answer tells the right time. It reports whether another try makes sense.
func (s *Signer) refused(resp *http.Response) bool {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || resp.StatusCode != http.StatusForbidden {
		return false
	}
	skew := time.Until(date)
	if was := time.Duration(s.skew.Load()); (skew - was).Abs() < time.Minute {
		return false
	}
	s.skew.Store(int64(skew))
	return true
}

// upgradeHeader is what the upgrade request of a connection carries: the given headers with a bearer token or a signature.
func upgradeHeader(ctx context.Context, url string, header http.Header, bearer string, sign *Signer) (http.Header, error) {
	if header = header.Clone(); header == nil {
		header = http.Header{}
	}
	if bearer != "" {
		header.Set("Authorization", "Bearer "+bearer)
	}
	if sign == nil {
		return header, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http"+strings.TrimPrefix(url, "ws"), nil)
	if err != nil {
		return nil, err
	}
	if err := sign.sign(ctx, r); err != nil {
		return nil, err
	}
	for name, values := range r.Header {
		header[name] = values
	}
	return header, nil
}
