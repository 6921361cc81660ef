package cfntest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// This file is SSM's Parameter Store. Its signatures are recomputed, since a function's own code signs there too.

// parameter is a version of a parameter.
type parameter struct {
	kind, value, key, tier string
	version                int
	modified               time.Time
}

// SetParameter puts a parameter there as somebody else would have; kind is "String" or "SecureString".
func (s *Server) SetParameter(region, name, kind, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.params[region+name] = &parameter{kind: kind, value: value, version: 1, modified: time.Now()}
}

// Parameter gives the type and the value of a parameter, "" when there is none.
func (s *Server) Parameter(region, name string) (kind, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.params[region+name]; p != nil {
		return p.kind, p.value
	}
	return "", ""
}

// Confine makes a key of the account that may do some actions ("ssm:GetParameters") on some ARNs and nothing else.
func (s *Server) Confine(key string, actions, resources []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[key] = ""
	s.grants[key] = grant{actions, resources}
}

type grant struct{ actions, resources []string }

var (
	parameterName = regexp.MustCompile(`^/?[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*$`)
	reserved      = regexp.MustCompile(`(?i)^/?(aws|ssm)`)
)

const (
	standardBytes = 4096
	advancedBytes = 8192
	batch         = 10 // of names in a call, and of results in a page
)

func (s *Server) ssm(w http.ResponseWriter, r *request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	answer, fail := s.parameterStore(r)
	if fail != nil {
		r.refuse(w, fail)
		return
	}
	json.NewEncoder(w).Encode(answer)
}

func (s *Server) parameterStore(r *request) (map[string]any, *Error) {
	if fail := verify(r); fail != nil {
		return nil, fail
	}
	var in struct {
		Name, Value, Type, Tier, KeyId, Path, NextToken string
		Names                                           []string
		Overwrite, WithDecryption, Recursive            bool
		MaxResults                                      int
		Tags                                            []any
	}
	if err := json.Unmarshal(r.body, &in); err != nil {
		return nil, &Error{400, "SerializationException", err.Error()}
	}
	names := in.Names
	if in.Name != "" {
		names = append(names, in.Name)
	}
	if in.Path != "" {
		names = append(names, in.Path)
	}
	if g, ok := s.grants[r.key]; ok {
		for _, name := range names {
			arn := fmt.Sprintf("arn:aws:ssm:%s:%s:parameter%s", r.Region, Account, name)
			if !slices.Contains(g.actions, "ssm:"+r.Action) || !slices.Contains(g.resources, arn) {
				return nil, &Error{400, "AccessDeniedException", fmt.Sprintf("User: %s is not authorized to perform: ssm:%s on resource: %s because no identity-based policy allows the ssm:%s action", r.key, r.Action, arn, r.Action)}
			}
		}
	}
	for _, name := range names {
		if !parameterName.MatchString(name) || len(name) > 1011 {
			return nil, &Error{400, "ValidationException", fmt.Sprintf("Parameter name: %s is not valid", name)}
		}
	}
	show := func(name string) map[string]any {
		p := s.params[r.Region+name]
		value := p.value
		if p.kind == "SecureString" && !in.WithDecryption {
			sum := sha256.Sum256([]byte(p.value))
			value = "AQICAHh" + hex.EncodeToString(sum[:])
		}
		return map[string]any{"Name": name, "Type": p.kind, "Value": value, "Version": p.version, "DataType": "text",
			"LastModifiedDate": float64(p.modified.UnixMilli()) / 1000,
			"ARN":              fmt.Sprintf("arn:aws:ssm:%s:%s:parameter%s", r.Region, Account, name)}
	}
	switch r.Action {
	case "GetParameter":
		if s.params[r.Region+in.Name] == nil {
			return nil, &Error{400, "ParameterNotFound", ""}
		}
		return map[string]any{"Parameter": show(in.Name)}, nil
	case "GetParameters":
		if len(names) == 0 || len(names) > batch {
			return nil, tooMany(names)
		}
		found, lost := []any{}, []string{}
		for _, name := range names {
			if s.params[r.Region+name] == nil {
				lost = append(lost, name)
			} else {
				found = append(found, show(name))
			}
		}
		return map[string]any{"Parameters": found, "InvalidParameters": lost}, nil
	case "GetParametersByPath":
		if in.MaxResults > batch {
			return nil, &Error{400, "ValidationException", fmt.Sprintf("1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to %d", in.MaxResults, batch)}
		}
		if in.MaxResults == 0 {
			in.MaxResults = batch
		}
		var all []string
		for _, key := range slices.Sorted(maps.Keys(s.params)) {
			rest, ok := strings.CutPrefix(key, r.Region+strings.TrimSuffix(in.Path, "/")+"/")
			if ok && (in.Recursive || !strings.Contains(rest, "/")) {
				all = append(all, strings.TrimPrefix(key, r.Region))
			}
		}
		from, _ := strconv.Atoi(in.NextToken)
		page := []any{}
		for _, name := range all[min(from, len(all)):min(from+in.MaxResults, len(all))] {
			page = append(page, show(name))
		}
		out := map[string]any{"Parameters": page}
		if next := from + in.MaxResults; next < len(all) {
			out["NextToken"] = fmt.Sprint(next)
		}
		return out, nil
	case "PutParameter":
		return s.putParameter(r, in.Name, parameter{kind: in.Type, value: in.Value, key: in.KeyId, tier: in.Tier}, in.Overwrite, len(in.Tags) > 0)
	case "DeleteParameter":
		if s.params[r.Region+in.Name] == nil {
			return nil, &Error{400, "ParameterNotFound", ""}
		}
		delete(s.params, r.Region+in.Name)
		return map[string]any{}, nil
	case "DeleteParameters":
		if len(names) == 0 || len(names) > batch {
			return nil, tooMany(names)
		}
		deleted, lost := []string{}, []string{}
		for _, name := range names {
			if s.params[r.Region+name] == nil {
				lost = append(lost, name)
			} else {
				deleted = append(deleted, name)
				delete(s.params, r.Region+name)
			}
		}
		return map[string]any{"DeletedParameters": deleted, "InvalidParameters": lost}, nil
	}
	return nil, &Error{400, "UnknownOperationException", r.Action}
}

func (s *Server) putParameter(r *request, name string, p parameter, overwrite, tags bool) (map[string]any, *Error) {
	old := s.params[r.Region+name]
	switch {
	case reserved.MatchString(name):
		return nil, &Error{400, "ValidationException", "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive)."}
	case strings.Count(name, "/") > 15:
		return nil, &Error{400, "HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of 15 levels"}
	case p.value == "":
		return nil, &Error{400, "ValidationException", "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1"}
	case old != nil && !overwrite:
		return nil, &Error{400, "ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."}
	case overwrite && tags:
		return nil, &Error{400, "ValidationException", "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource."}
	case old == nil && p.kind == "":
		return nil, &Error{400, "ValidationException", "A parameter type is required when you create a parameter."}
	case !slices.Contains([]string{"", "String", "StringList", "SecureString"}, p.kind):
		return nil, &Error{400, "UnsupportedParameterType", "The parameter type is not supported."}
	case !slices.Contains([]string{"", "Standard", "Advanced", "Intelligent-Tiering"}, p.tier):
		return nil, &Error{400, "ValidationException", "1 validation error detected: Value '" + p.tier + "' at 'tier' failed to satisfy constraint: Member must satisfy enum value set: [Standard, Advanced, Intelligent-Tiering]"}
	case p.key != "" && p.kind != "SecureString":
		return nil, &Error{400, "ValidationException", "KeyId is required for SecureString type parameter only."}
	case len(p.value) > standardBytes && (p.tier == "" || p.tier == "Standard"):
		return nil, &Error{400, "ValidationException", "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"}
	case len(p.value) > advancedBytes:
		return nil, &Error{400, "ValidationException", "Advanced tier parameters support a maximum parameter value of 8192 characters."}
	}
	if p.tier != "Advanced" && len(p.value) <= standardBytes {
		p.tier = "Standard"
	} else {
		p.tier = "Advanced"
	}
	p.version, p.modified = 1, s.now
	if old != nil {
		p.version = old.version + 1
		if p.kind == "" {
			p.kind = old.kind
		}
	}
	s.params[r.Region+name] = &p
	return map[string]any{"Version": p.version, "Tier": p.tier}, nil
}

func tooMany(names []string) *Error {
	bound := "less than or equal to 10"
	if len(names) == 0 {
		bound = "greater than or equal to 1"
	}
	return &Error{400, "ValidationException", fmt.Sprintf("1 validation error detected: Value '[%s]' at 'names' failed to satisfy constraint: Member must have length %s", strings.Join(names, ", "), bound)}
}

// verify signs the request again and compares.
func verify(r *request) *Error {
	_, signed, _ := strings.Cut(r.http.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	again, err := http.NewRequest(r.http.Method, "http://"+r.http.Host+r.http.URL.RequestURI(), bytes.NewReader(r.body))
	if err != nil {
		return &Error{400, "SerializationException", err.Error()}
	}
	again.ContentLength = 0
	for name := range strings.SplitSeq(signed, ";") {
		switch name {
		case "host":
		case "content-length":
			again.ContentLength = r.http.ContentLength
		default:
			again.Header[http.CanonicalHeaderKey(name)] = r.http.Header.Values(name)
		}
	}
	date, _ := time.Parse("20060102T150405Z", r.http.Header.Get("X-Amz-Date"))
	sum := sha256.Sum256(r.body)
	token := r.http.Header.Get("X-Amz-Security-Token")
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: r.key, SecretAccessKey: "secret", SessionToken: token},
		again, hex.EncodeToString(sum[:]), "ssm", r.Region, date); err != nil {
		return &Error{400, "IncompleteSignature", err.Error()}
	}
	if again.Header.Get("Authorization") != r.http.Header.Get("Authorization") {
		return &Error{400, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	}
	return nil
}
