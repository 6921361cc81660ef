// Package cfntest is an AWS control plane inside a test process: CloudFormation, STS, S3 and SSM on one loopback address (and of others what a Landscape says),
// spoken to by the real AWS clients (AWS_ENDPOINT_URL). It refuses what AWS refuses and takes its time as AWS does: change
// sets and stacks go through their states, resource by resource, in virtual time.
//
// It is written from the documentation of CloudFormation and knows nothing of sst. What it does not have: signatures are
// recomputed for SSM only (elsewhere scope, date and key are checked), policies are not evaluated (the bootstrap roles are confined to their
// services), resources do nothing but exist.
//
// Start from Server: New, Bootstrap, Fail, Fault, Calls.
package cfntest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Account is the account of the key that Env gives.
const Account = "123456789012"

// Key is the access key id of Account; any secret goes with it.
const Key = "AKIACFNTEST"

// Options of a Server. The zero value is one whose resources take a second of virtual time each, which is a millisecond.
type Options struct {
	Speed    float64                                           // virtual seconds in a real one; 0 is 1000
	Duration func(stack, logicalID, kind string) time.Duration // virtual; nil is a second
	Latency  time.Duration                                     // real, of each call
	PageSize int                                               // of listings; 0 is 100
}

// Call is one request as the server understood it.
type Call struct {
	Service, Action, Region, Role string // Role is the name of the assumed role, "" for the caller's own key
	Stack                         string // stack name or ARN, bucket/key, parameter name
	Invocation                    string // the SDK's name for it: further tries of one call have the same
}

// Error is an answer that is one.
type Error struct {
	Status        int
	Code, Message string
}

// Server is the control plane. Its methods may be called while it serves.
type Server struct {
	URL     string
	options Options
	http    *httptest.Server

	mu       sync.Mutex // guards all below
	now      time.Time  // of the request being served
	calls    []Call
	fault    func(Call) *Error
	keys     map[string]string // access key id → role name, "" for the account's own
	grants   map[string]grant  // of confined keys
	denied   map[string]bool   // roles that nobody may assume
	roles    map[string]bool   // names of the roles there are
	buckets  map[string]map[string][]byte
	versions map[string][]version // of buckets: what is not current, delete markers included
	uploads  map[string]*upload
	clock    time.Duration         // how far this clock is ahead of the machine's
	params   map[string]*parameter // region/name
	logs     map[string][]logLine  // by log group
	updates  map[string]*update    // of functions, by region and name
	answerer func(name string, event []byte) Answer
	stacks   []*stack
	fails    map[string]string // failure key → reason
	land     Landscape
	images   map[string]bool // region/repository:tag
	serial   int
}

// New starts a server; Close ends it.
func New(o Options) *Server {
	if o.Speed == 0 {
		o.Speed = 1000
	}
	if o.Duration == nil {
		o.Duration = func(string, string, string) time.Duration { return time.Second }
	}
	if o.PageSize == 0 {
		o.PageSize = 100
	}
	s := &Server{options: o, keys: map[string]string{Key: ""}, denied: map[string]bool{}, roles: map[string]bool{},
		buckets: map[string]map[string][]byte{}, versions: map[string][]version{}, uploads: map[string]*upload{}, params: map[string]*parameter{}, images: map[string]bool{}, grants: map[string]grant{}, fails: map[string]string{}, logs: map[string][]logLine{}, updates: map[string]*update{}}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.http.URL
	return s
}

// Close ends the server.
func (s *Server) Close() { s.http.Close() }

// Env is what a process needs to use the server.
func (s *Server) Env(region string) []string {
	return []string{"AWS_ENDPOINT_URL=" + s.URL, "AWS_ACCESS_KEY_ID=" + Key, "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true"}
}

// Config is the same for a client in this process.
func (s *Server) Config(region string) aws.Config {
	return aws.Config{Region: region, BaseEndpoint: aws.String(s.URL), Credentials: aws.CredentialsProviderFunc(
		func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: Key, SecretAccessKey: "secret"}, nil
		})}
}

// Bootstrap makes what `cdk bootstrap` makes: bucket, roles, version.
func (s *Server) Bootstrap(region string, version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets["cdk-hnb659fds-assets-"+Account+"-"+region] = map[string][]byte{}
	for _, role := range []string{"deploy", "cfn-exec", "file-publishing", "image-publishing", "lookup"} {
		s.roles["cdk-hnb659fds-"+role+"-role-"+Account+"-"+region] = true
	}
	s.params[region+"/cdk-bootstrap/hnb659fds/version"] = &parameter{kind: "String", value: fmt.Sprint(version), version: 1, modified: time.Now()}
	st := s.newStack("CDKToolkit", region)
	st.status = "CREATE_COMPLETE"
	st.body = `{"Resources":{"CdkBootstrapVersion":{"Type":"AWS::SSM::Parameter"}}}`
	st.outputs = []output{
		{key: "BucketName", value: "cdk-hnb659fds-assets-" + Account + "-" + region},
		{key: "BucketDomainName", value: "cdk-hnb659fds-assets-" + Account + "-" + region + ".s3." + region + ".amazonaws.com"},
		{key: "BootstrapVersion", value: fmt.Sprint(version)},
	}
}

// Deny makes roles whose name contains the text unassumable.
func (s *Server) Deny(role string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.roles {
		if strings.Contains(name, role) {
			s.denied[name] = true
		}
	}
}

// Fail scripts the failure of a resource: what is "create", "update", "delete" or "rollback" (the stack's rollback gets
// stuck at it), or "object" (stack is a bucket then, logicalID a key, the reason an error code of S3 for it; SlowDown is answered once), or
// "function" (stack is a region then, logicalID the name of a function whose changes past the stack are taken and come to nothing). An
// empty reason takes it back.
func (s *Server) Fail(what, stack, logicalID, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[what+" "+stack+"/"+logicalID] = reason
}

// Fault is asked before each call; what it gives is the answer. It must not call the server.
func (s *Server) Fault(f func(Call) *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Clock sets how far AWS's clock is ahead of this machine's.
func (s *Server) Clock(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = ahead
}

// Put puts an object into a bucket.
func (s *Server) Put(bucket, key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[bucket] == nil {
		s.buckets[bucket] = map[string][]byte{}
	}
	s.buckets[bucket][key] = data
}

// PutVersion puts a version into a bucket that is not the current one; a delete marker when data is nil.
func (s *Server) PutVersion(bucket, key, id string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[bucket] = append(s.versions[bucket], version{key, id, data})
}

// Object gives an object of a bucket, nil when there is none.
func (s *Server) Object(bucket, key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[bucket][key]
}

// Calls gives what was called since the last time.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// Status of a stack, "" when there is none.
func (s *Server) Status(name, region string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(time.Now())
	if st := s.find(name, region); st != nil {
		return st.status
	}
	return ""
}

// Objects counts what lies in a bucket, all versions and delete markers.
func (s *Server) Objects(bucket string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.buckets[bucket]) + len(s.versions[bucket])
}

// HasBucket says whether there is a bucket.
func (s *Server) HasBucket(bucket string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[bucket] != nil
}

var services = map[string]string{"lambda": "lambda", "logs": "logs", "cloudformation": "cloudformation", "sts": "sts", "s3": "s3", "ssm": "ssm", "ec2": "ec2", "route53": "route53", "kms": "kms",
	"elasticloadbalancing": "elasticloadbalancing", "cloudcontrolapi": "cloudcontrolapi", "ecr": "ecr"}

// confined is what the bootstrap roles may use.
var confined = map[string][]string{
	"-deploy-role-":           {"cloudformation", "ssm", "s3", "sts"},
	"-file-publishing-role-":  {"s3", "sts"},
	"-image-publishing-role-": {"ecr", "sts"},
	"-lookup-role-":           {"cloudformation", "ssm", "sts"},
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.options.Latency > 0 {
		time.Sleep(s.options.Latency)
	}
	req, fail := s.read(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	s.advance(time.Now())
	s.now = time.Now()
	if fail == nil {
		req.Role, fail = s.authenticate(r, req)
	}
	s.calls = append(s.calls, req.Call)
	if fail == nil && s.fault != nil {
		fail = s.fault(req.Call)
	}
	w.Header().Set("X-Amzn-Requestid", fmt.Sprintf("00000000-0000-4000-8000-%012d", s.serial))
	w.Header().Set("Date", s.now.Add(s.clock).UTC().Format(http.TimeFormat))
	if fail != nil {
		req.refuse(w, fail)
		return
	}
	switch req.Service {
	case "cloudformation":
		s.cloudformation(w, req)
	case "sts":
		s.sts(w, req)
	case "ssm":
		s.ssm(w, req)
	case "lambda":
		s.lambda(w, req)
	case "logs":
		s.cloudwatchLogs(w, req)
	case "ec2":
		s.ec2(w, req)
	case "route53":
		s.route53(w, req)
	case "kms":
		s.kms(w, req)
	case "elasticloadbalancing":
		s.elb(w, req)
	case "ecr":
		s.ecr(w, req)
	case "cloudcontrolapi":
		s.cloudcontrol(w, req)
	default:
		s.s3(w, req)
	}
}

// authenticate gives the role of the caller.
func (s *Server) authenticate(r *http.Request, req *request) (string, *Error) {
	if req.key == "" {
		return "", &Error{403, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	stamp := r.Header.Get("X-Amz-Date")
	if signed := r.URL.Query().Get("X-Amz-Date"); signed != "" {
		stamp = signed
	}
	date, err := time.Parse("20060102T150405Z", stamp)
	if now := s.now.Add(s.clock); err != nil || now.Sub(date).Abs() > 15*time.Minute {
		if req.Service == "s3" {
			return "", &Error{403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."}
		}
		return "", &Error{403, "SignatureDoesNotMatch", "Signature expired: " + r.Header.Get("X-Amz-Date") + " is now earlier than " + now.UTC().Add(-15*time.Minute).Format("20060102T150405Z")}
	}
	role, known := s.keys[req.key]
	if !known {
		code := "InvalidClientTokenId"
		switch req.Service {
		case "s3":
			code = "InvalidAccessKeyId"
		case "ssm":
			code = "UnrecognizedClientException"
		}
		return "", &Error{403, code, "The security token included in the request is invalid."}
	}
	for part, allowed := range confined {
		if strings.Contains(role, part) && !strings.Contains(" "+strings.Join(allowed, " ")+" ", " "+req.Service+" ") {
			return role, &Error{403, "AccessDenied", fmt.Sprintf("User: arn:aws:sts::%s:assumed-role/%s/session is not authorized to perform: %s:%s", Account, role, req.Service, req.Action)}
		}
	}
	return role, nil
}
