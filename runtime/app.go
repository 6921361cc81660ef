package runtime

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"sst/cfn"
	"sst/proxy"
	"sst/runtime/bundle"
	"sst/runtime/cloud"
)

// accountID stands for the account where there is none.
const accountID = "000000000000"

// app is what an assembly says, made ready to be served. It never changes; Update puts another in its place.
type app struct {
	functions map[string]*function // by ID
	names     map[string]*function // by what Invoke takes
	ordered   []*function
	sites     []site
	region    string
	apis      []cfn.Api
	triggers  []cfn.Trigger
}

// function is one function of the app and the environment its sandboxes get.
type function struct {
	cfn.Function
	key string // of its bundle
	arn string
	env map[string]string
}

// same says whether sandboxes of fn serve other as well.
func (fn *function) same(other *function) bool {
	return fn == other || fn.key == other.key && fn.Memory == other.Memory && fn.Timeout == other.Timeout &&
		fn.Runtime == other.Runtime && maps.Equal(fn.env, other.env)
}

// newApp reads an assembly. Its functions reach AWS at endpoint, with credentials of their own. Notices are for what is left out.
func newApp(asm *cfn.Assembly, region string, address func(apis []cfn.Api, stack, logicalID string) (string, bool), endpoint string, credentials func(id string) (key, secret string)) (*app, *cfn.Resolver, []string) {
	if asm.Manifest.Region != "" {
		region = asm.Manifest.Region
	}
	var notices []string
	a := &app{functions: map[string]*function{}, names: map[string]*function{},
		region: region, apis: asm.Manifest.Apis, triggers: asm.Manifest.Triggers}
	resolver := cfn.NewResolver(asm, cfn.Local{Region: region, Account: accountID,
		QueueURL: func(name string) string { return cloud.QueueURL(endpoint, accountID, name) },
		URL: func(s *cfn.Stack, logicalID string) (string, bool) {
			return address(asm.Manifest.Apis, s.ID, logicalID)
		}})

	for _, f := range asm.Manifest.Functions {
		fn := &function{Function: f, key: f.Bundle.Key()}
		fn.arn = fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", region, accountID, f.Name)
		env, err := resolver.Environment(f)
		if err != nil {
			notices = append(notices, fmt.Sprintf("%s: %v", f.ID, err))
		}
		key, secret := credentials(f.ID)
		fn.env = localEnv(f, region, endpoint, key, secret, env)
		a.functions[f.ID] = fn
		if f.Name != "" {
			a.names[f.Name] = fn
		}
		a.ordered = append(a.ordered, fn)
	}
	a.sites = readSites(asm, resolver)
	return a, resolver, notices
}

// localEnv is the environment that Lambda would give the function, with credentials that open the local cloud alone.
func localEnv(f cfn.Function, region, endpoint, key, secret string, own map[string]string) map[string]string {
	env := map[string]string{
		"AWS_REGION":                      region,
		"AWS_DEFAULT_REGION":              region,
		"AWS_ENDPOINT_URL":                endpoint,
		"AWS_ACCESS_KEY_ID":               key,
		"AWS_SECRET_ACCESS_KEY":           secret,
		"AWS_SESSION_TOKEN":               "local",
		"AWS_EC2_METADATA_DISABLED":       "true",
		"AWS_EXECUTION_ENV":               "AWS_Lambda_" + f.Runtime,
		"AWS_LAMBDA_FUNCTION_NAME":        f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.Memory),
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + f.Name,
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"IS_LOCAL":                        "true",
	}
	if f.Bundle.Kind == bundle.Go || f.Bundle.Kind == bundle.Custom {
		delete(env, "AWS_EXECUTION_ENV") // OS-only runtimes have none
	}
	maps.Copy(env, own)
	return env
}

// init is what a new sandbox of the function says of itself.
func (fn *function) init() proxy.Init {
	env := maps.Clone(fn.env)
	var stream [16]byte
	rand.Read(stream[:])
	env["AWS_LAMBDA_LOG_STREAM_NAME"] = time.Now().UTC().Format("2006/01/02") + "/[$LATEST]" + hex.EncodeToString(stream[:])
	return proxy.Init{Function: fn.ID, Runtime: fn.Runtime, Memory: fn.Memory, Timeout: fn.Timeout,
		Arch: fn.Architecture, Env: env}
}

// timeout is the function's, Lambda's default when it names none.
func (fn *function) timeout() time.Duration {
	if fn.Timeout <= 0 {
		return 3 * time.Second
	}
	return time.Duration(fn.Timeout) * time.Second
}

// find finds a function as the Invoke API names it: name, ARN, partial ARN, each with a qualifier or not, or ID.
func (a *app) find(name string) (*function, bool) {
	if fn, ok := a.names[name]; ok {
		return fn, true
	}
	if fn, ok := a.functions[name]; ok {
		return fn, true
	}
	if _, rest, ok := strings.Cut(name, ":function:"); ok { // an ARN, or "<account>:function:name"
		name = rest
	}
	name, _, _ = strings.Cut(name, ":")
	fn, ok := a.names[name]
	if !ok {
		fn, ok = a.functions[name]
	}
	return fn, ok
}

// bundles lists what is to be built and for which functions.
func (a *app) bundles() (specs []bundle.Spec, functions map[string][]string) {
	functions = map[string][]string{}
	for _, fn := range a.ordered {
		if functions[fn.key] == nil {
			specs = append(specs, fn.Bundle)
		}
		functions[fn.key] = append(functions[fn.key], fn.ID)
	}
	return specs, functions
}
