package runtime

// JSON Web Tokens: who signed one, for whom, until when.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	keysFor    = 2 * time.Hour    // that the keys of an issuer are kept, as API Gateway does
	keysAgain  = 10 * time.Second // before an unknown key has them fetched again
	keysWithin = 5 * time.Second  // an issuer has to answer
	maxKeys    = 1 << 20          // bytes
)

// rsaOnly are the algorithms that API Gateway takes. The others are verified here all the same, with a notice.
var rsaOnly = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512}

// keyring finds the public keys of issuers: in a file or at a URL that the user named, else where the issuer says.
type keyring struct {
	named  map[string]string // issuer to file or URL; "" is for all others
	root   string
	client *http.Client
	notice func(text string)

	mu   sync.Mutex // guards what follows
	sets map[string]*keySet
	told map[string]bool
}

type keySet struct {
	mu      sync.Mutex // guards what follows; held while keys are fetched
	keys    jose.JSONWebKeySet
	fetched time.Time
	stamp   time.Time // of a file
	err     error
}

// openKeyring reads the user's choices: "FILE", "URL", "ISSUER=FILE" or "ISSUER=URL" each.
func openKeyring(root string, choices []string, notice func(string)) (*keyring, error) {
	k := &keyring{named: map[string]string{}, root: root, notice: notice, client: &http.Client{Timeout: keysWithin},
		sets: map[string]*keySet{}, told: map[string]bool{}}
	for _, choice := range choices {
		issuer, where, two := strings.Cut(choice, "=")
		if !two {
			issuer, where = "", choice
		}
		if where == "" {
			return nil, fmt.Errorf("the keys %q: want FILE, URL, ISSUER=FILE or ISSUER=URL", choice)
		}
		k.named[strings.TrimSuffix(issuer, "/")] = where
	}
	return k, nil
}

// tokenError says why a token is refused: kind as API Gateway puts it, the rest for the developer.
type tokenError struct {
	text    string
	expired bool
}

func (e *tokenError) Error() string { return e.text }

func refuseToken(format string, args ...any) error {
	return &tokenError{text: fmt.Sprintf(format, args...)}
}

// verify checks a token's signature, issuer and times, and gives its claims.
func (k *keyring) verify(ctx context.Context, token string, issuers []string, now time.Time) (map[string]any, error) {
	parsed, err := jwt.ParseSigned(token, append(slices.Clone(rsaOnly), jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512))
	if err != nil || len(parsed.Headers) != 1 {
		return nil, refuseToken("it is no token signed with RS256 or another public key")
	}
	var unverified struct {
		Issuer string `json:"iss"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return nil, refuseToken("its claims are no JSON object")
	}
	i := slices.IndexFunc(issuers, func(issuer string) bool {
		return strings.TrimSuffix(issuer, "/") == strings.TrimSuffix(unverified.Issuer, "/")
	})
	if i < 0 {
		return nil, refuseToken("its issuer is %q, wanted is %q", unverified.Issuer, strings.Join(issuers, `" or "`))
	}
	head := parsed.Headers[0]
	key, err := k.key(ctx, issuers[i], head.KeyID, head.Algorithm)
	if err != nil {
		return nil, err
	}
	var data json.RawMessage
	var times jwt.Claims
	if err := parsed.Claims(key.Key, &data, &times); err != nil {
		return nil, refuseToken("its signature is not one of the issuer's key %q", head.KeyID)
	}
	switch err := times.ValidateWithLeeway(jwt.Expected{Time: now}, 0); {
	case errors.Is(err, jwt.ErrExpired):
		return nil, &tokenError{text: "it expired at " + times.Expiry.Time().UTC().Format(time.RFC3339), expired: true}
	case err != nil:
		return nil, refuseToken("it is not valid yet")
	case times.Expiry == nil:
		return nil, refuseToken("it has no expiry (exp)")
	}
	if !slices.Contains(rsaOnly, jose.SignatureAlgorithm(head.Algorithm)) {
		k.tell("a token is signed with " + head.Algorithm + ", which API Gateway does not take: it takes RS256, RS384 and RS512")
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var claims map[string]any
	if err := d.Decode(&claims); err != nil {
		return nil, refuseToken("its claims are no JSON object")
	}
	return claims, nil
}

// tell says something once.
func (k *keyring) tell(text string) {
	k.mu.Lock()
	told := k.told[text]
	k.told[text] = true
	k.mu.Unlock()
	if !told {
		k.notice(text)
	}
}

// key finds the key that a token names.
func (k *keyring) key(ctx context.Context, issuer, id, algorithm string) (*jose.JSONWebKey, error) {
	where, ok := k.named[strings.TrimSuffix(issuer, "/")]
	if !ok {
		where = k.named[""]
	}
	k.mu.Lock()
	set := k.sets[issuer]
	if set == nil {
		set = &keySet{}
		k.sets[issuer] = set
	}
	k.mu.Unlock()
	set.mu.Lock()
	defer set.mu.Unlock()
	found := func() *jose.JSONWebKey {
		for i := range set.keys.Keys {
			if key := &set.keys.Keys[i]; (id == "" || key.KeyID == id) && (key.Algorithm == "" || key.Algorithm == algorithm) && key.IsPublic() {
				return key
			}
		}
		return nil
	}
	if key := found(); key != nil && time.Since(set.fetched) < keysFor && !set.changed(k.file(where)) {
		return key, nil
	}
	if time.Since(set.fetched) > keysAgain || set.changed(k.file(where)) {
		keys, err := k.fetch(ctx, issuer, where)
		set.fetched, set.err = time.Now(), err
		if err == nil {
			set.keys = keys
		}
		if info, err := os.Stat(k.file(where)); err == nil {
			set.stamp = info.ModTime()
		}
	}
	if set.err != nil {
		k.tell(fmt.Sprintf("the keys of the issuer %s cannot be had: %v; name a file or address of them with --jwks", issuer, set.err))
		return nil, refuseToken("the keys of its issuer cannot be had: %v", set.err)
	}
	if key := found(); key != nil {
		return key, nil
	}
	return nil, refuseToken("its issuer has no key %q for %s", id, algorithm)
}

// file is the path of keys in a file, "" of others.
func (k *keyring) file(where string) string {
	if where == "" || strings.Contains(where, "://") {
		return ""
	}
	if filepath.IsAbs(where) {
		return where
	}
	return filepath.Join(k.root, where)
}

// changed says whether a file is another than the one that was read.
func (s *keySet) changed(file string) bool {
	if file == "" {
		return false
	}
	info, err := os.Stat(file)
	return err != nil || !info.ModTime().Equal(s.stamp)
}

// fetch reads keys from where the user said, else from where the issuer says.
func (k *keyring) fetch(ctx context.Context, issuer, where string) (keys jose.JSONWebKeySet, err error) {
	// Many requests may wait for these keys: one that leaves takes them from nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysWithin)
	defer cancel()
	if file := k.file(where); file != "" {
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &keys)
		}
		return keys, err
	}
	if where == "" {
		var about struct {
			Keys string `json:"jwks_uri"`
		}
		if err := k.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
			return keys, err
		}
		if where = about.Keys; where == "" {
			return keys, errors.New("its configuration has no jwks_uri")
		}
	}
	err = k.get(ctx, where, &keys)
	return keys, err
}

// get reads JSON from a URL: over https, or from this machine.
func (k *keyring) get(ctx context.Context, address string, to any) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !localHost(u.Host)) {
		return fmt.Errorf("%s is not an https address", address)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", address, res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxKeys))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("GET %s: %w", address, err)
	}
	return nil
}
