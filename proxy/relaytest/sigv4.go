package relaytest

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"crypto/sha256"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Key is a credential that IAM knows.
type Key struct {
	Secret  string
	Session string // "" for a key of a user
	ARN     string // who it is, as identity.userArn tells it
}

// SigV4 checks the signatures of requests to execute-api as API Gateway does, with the answers it gives.
type SigV4 struct {
	Region string
	Keys   map[string]Key                                 // by access key id
	Allow  func(key Key, action string, path string) bool // the policy; nil: every known key may do everything
	Now    func() time.Time                               // nil: time.Now
}

// signature is what a request says about how it is signed, in its headers or its query.
type signature struct {
	key, date, region, service string
	headers                    []string
	value, session             string
	at                         time.Time
	presigned                  bool
	expires                    time.Duration
}

const amzTime = "20060102T150405Z"

// Check gives who has signed a request with this body, or the status and message of the refusal.
func (s *SigV4) Check(r *http.Request, body []byte, action string) (who Key, status int, message string) {
	sig, err := parseSignature(r)
	if err != nil {
		return Key{}, http.StatusForbidden, err.Error()
	}
	key, ok := s.Keys[sig.key]
	now := time.Now()
	if s.Now != nil {
		now = s.Now()
	}
	limit := 5 * time.Minute
	switch {
	case !ok || sig.session != key.Session:
		return Key{}, http.StatusForbidden, "The security token included in the request is invalid."
	case sig.service != "execute-api" || sig.region != s.Region || sig.date != sig.at.Format("20060102"):
		return Key{}, http.StatusForbidden, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'.", sig.region)
	case sig.presigned && now.After(sig.at.Add(sig.expires)), !sig.presigned && now.Sub(sig.at) > limit:
		return Key{}, http.StatusForbidden, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 5 min.)",
			sig.at.Format(amzTime), now.Add(-limit).UTC().Format(amzTime), now.UTC().Format(amzTime))
	case sig.at.Sub(now) > limit:
		return Key{}, http.StatusForbidden, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)",
			sig.at.Format(amzTime), now.Add(limit).UTC().Format(amzTime), now.UTC().Format(amzTime))
	}
	want, err := sig.recompute(r, body, sig.key, key)
	if err != nil || !hmac.Equal([]byte(want), []byte(sig.value)) {
		return Key{}, http.StatusForbidden, "The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	}
	if s.Allow != nil && !s.Allow(key, action, r.URL.Path) {
		return Key{}, http.StatusForbidden, fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s with an explicit deny", key.ARN, action, r.URL.Path)
	}
	return key, 0, ""
}

func parseSignature(r *http.Request) (*signature, error) {
	sig, credential, names, date := &signature{}, "", "", ""
	query := r.URL.Query()
	auth := r.Header.Get("Authorization")
	switch {
	case query.Get("X-Amz-Signature") != "":
		sig.presigned = true
		credential, names, sig.value = query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature")
		date, sig.session = query.Get("X-Amz-Date"), query.Get("X-Amz-Security-Token")
		seconds, err := time.ParseDuration(query.Get("X-Amz-Expires") + "s")
		if err != nil {
			return nil, fmt.Errorf("X-Amz-Expires must be a number.")
		}
		sig.expires = seconds
	case strings.HasPrefix(auth, "AWS4-HMAC-SHA256 "):
		for _, part := range strings.Split(strings.TrimPrefix(auth, "AWS4-HMAC-SHA256 "), ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				names = value
			case "Signature":
				sig.value = value
			}
		}
		date, sig.session = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	default:
		return nil, fmt.Errorf("Missing Authentication Token")
	}
	scope := strings.Split(credential, "/")
	sig.headers = strings.Split(names, ";")
	var err error
	if sig.at, err = time.Parse(amzTime, date); err != nil || len(scope) != 5 || scope[4] != "aws4_request" || names == "" || sig.value == "" {
		return nil, fmt.Errorf("Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters and a date.")
	}
	sig.key, sig.date, sig.region, sig.service = scope[0], scope[1], scope[2], scope[3]
	return sig, nil
}

// recompute signs the request again, as far as its signature covers it, with the AWS SDK's own signer.
func (sig *signature) recompute(r *http.Request, body []byte, id string, key Key) (string, error) {
	u := &url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	again := &http.Request{Method: r.Method, URL: u, Host: r.Host, Header: http.Header{}}
	host := false
	for _, name := range sig.headers {
		switch name {
		case "host":
			host = true
		case "content-length":
			again.ContentLength = int64(len(body))
		case "x-amz-date", "x-amz-security-token": // the signer adds them
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	if !host {
		return "", fmt.Errorf("host is not signed")
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	credentials := aws.Credentials{AccessKeyID: id, SecretAccessKey: key.Secret, SessionToken: key.Session}
	signer := v4.NewSigner()
	if sig.presigned {
		query := u.Query()
		query.Del("X-Amz-Signature")
		u.RawQuery = query.Encode()
		signed, _, err := signer.PresignHTTP(context.Background(), credentials, again, hash, sig.service, sig.region, sig.at)
		if err != nil {
			return "", err
		}
		made, err := url.Parse(signed)
		if err != nil {
			return "", err
		}
		return made.Query().Get("X-Amz-Signature"), nil
	}
	if err := signer.SignHTTP(context.Background(), credentials, again, hash, sig.service, sig.region, sig.at); err != nil {
		return "", err
	}
	made, err := parseSignature(again)
	if err != nil {
		return "", err
	}
	return made.value, nil
}

// Authorize is for proxy.RelayOptions: it lets in who has signed the upgrade request.
func (s *SigV4) Authorize(r *http.Request) (status int, reason string) {
	_, status, reason = s.Check(r, nil, "execute-api:Invoke")
	if status != 0 {
		reason = message(reason)
	}
	return status, reason
}

// message is the body of API Gateway's refusals.
func message(text string) string {
	b, _ := json.Marshal(map[string]string{"message": text})
	return string(b)
}
