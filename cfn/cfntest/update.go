package cfntest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

// This file is what of a function is changed without CloudFormation: its code and its configuration. Such a change stays until
// CloudFormation itself changes the same part, as in AWS.

// update is what was changed of a function beside its stack.
type update struct {
	code     map[string]any // S3Bucket and S3Key; nil: that of the stack
	config   map[string]any // properties in place of those of the stack
	until    time.Time      // the last change is under way
	failed   string         // why the last change came to nothing; see Fail
	revision int
}

const environmentBytes = 4096

// overlay gives the properties of a function as they are.
func (s *Server) overlay(region, name string, properties map[string]any) map[string]any {
	u := s.updates[region+"/"+name]
	if u == nil {
		return properties
	}
	properties = maps.Clone(properties)
	if u.code != nil {
		properties["Code"] = u.code
	}
	maps.Copy(properties, u.config)
	return properties
}

// replaceUpdate forgets what was changed beside the stack of those parts that the stack changes now.
func (s *Server) replaceUpdate(region, name string, was, is any) {
	u := s.updates[region+"/"+name]
	if u == nil {
		return
	}
	old, _ := was.(map[string]any)
	now, _ := is.(map[string]any)
	if canonical(old["Code"]) != canonical(now["Code"]) {
		u.code = nil
	}
	old, now = maps.Clone(old), maps.Clone(now)
	delete(old, "Code")
	delete(now, "Code")
	if canonical(old) != canonical(now) {
		u.config = nil
	}
}

func (s *Server) configuration(region, name string, properties map[string]any) map[string]any {
	group := "/aws/lambda/" + name
	if logging, ok := properties["LoggingConfig"].(map[string]any); ok && logging["LogGroup"] != nil {
		group = fmt.Sprint(logging["LogGroup"])
	}
	status, reason, revision := "Successful", "", 0
	if u := s.updates[region+"/"+name]; u != nil {
		revision = u.revision
		switch {
		case s.now.Before(u.until):
			status = "InProgress"
		case u.failed != "":
			status, reason = "Failed", u.failed
		}
	}
	code, _ := properties["Code"].(map[string]any)
	object := s.buckets[fmt.Sprint(code["S3Bucket"])][fmt.Sprint(code["S3Key"])]
	sum := sha256.Sum256(object)
	description, _ := properties["Description"].(string)
	return map[string]any{"FunctionName": name, "FunctionArn": functionARN(region, name), "Runtime": properties["Runtime"], "Role": properties["Role"],
		"Description": description, "State": "Active", "LastUpdateStatus": status, "LastUpdateStatusReason": reason, "RevisionId": fmt.Sprintf("00000000-0000-4000-a000-%012d", revision),
		"CodeSha256": base64.StdEncoding.EncodeToString(sum[:]), "CodeSize": len(object), "Version": "$LATEST",
		"LoggingConfig": map[string]any{"LogGroup": group, "LogFormat": "Text"}, "Environment": properties["Environment"]}
}

func functionARN(region, name string) string {
	return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", region, Account, name)
}

func badValue(format string, args ...any) *Error {
	return &Error{400, "InvalidParameterValueException", fmt.Sprintf(format, args...)}
}

// updateFunction changes code or configuration. Lambda does one such thing at a time.
func (s *Server) updateFunction(r *request, properties map[string]any) *Error {
	key := r.Region + "/" + r.Stack
	u := s.updates[key]
	if u == nil {
		u = &update{}
	}
	if s.now.Before(u.until) {
		return &Error{409, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: " + functionARN(r.Region, r.Stack)}
	}
	var in struct {
		S3Bucket, S3Key, S3ObjectVersion, ZipFile, ImageUri, RevisionId string
		Publish                                                         bool
		Description                                                     *string
		Environment                                                     *struct{ Variables map[string]string }
	}
	decoder := json.NewDecoder(strings.NewReader(string(r.body)))
	decoder.DisallowUnknownFields() // nothing else is changed past the stack
	if err := decoder.Decode(&in); err != nil {
		return badValue("Could not parse request body into json: %v", err)
	}
	if now := s.configuration(r.Region, r.Stack, properties)["RevisionId"]; in.RevisionId != "" && in.RevisionId != now {
		return &Error{412, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"}
	}
	was := *u
	if r.Action == "UpdateFunctionCode" {
		switch object, there := s.buckets[in.S3Bucket][in.S3Key]; {
		case in.Publish || in.ZipFile != "" || in.ImageUri != "":
			return badValue("code that does not come from the bucket of the stack, or a version, is lost at its next update")
		case in.S3Bucket == "" || in.S3Key == "":
			return badValue("Please provide a source for function code.")
		case !there:
			return badValue("Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.")
		case len(object) > 250<<20:
			return badValue("Unzipped size must be smaller than 262144000 bytes")
		}
		u.code = map[string]any{"S3Bucket": in.S3Bucket, "S3Key": in.S3Key}
	} else {
		config := maps.Clone(u.config)
		if config == nil {
			config = map[string]any{}
		}
		if in.Description != nil {
			config["Description"] = *in.Description
		}
		if in.Environment != nil {
			variables, size := map[string]any{}, 0
			for name, value := range in.Environment.Variables {
				if strings.HasPrefix(name, "AWS_LAMBDA_") && name != "AWS_LAMBDA_EXEC_WRAPPER" {
					return badValue("Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", name)
				}
				variables[name] = value
				size += len(name) + len(value)
			}
			if size > environmentBytes {
				return badValue("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. String measured: %d bytes", size)
			}
			config["Environment"] = map[string]any{"Variables": variables}
		}
		u.config = config
	}
	if u.failed = s.fails["function "+key]; u.failed != "" {
		u.code, u.config = was.code, was.config
	}
	u.revision++
	u.until = s.now.Add(s.real(s.options.Duration("", r.Stack, "AWS::Lambda::Function")))
	s.updates[key] = u
	return nil
}
