package runtime

import (
	"maps"
	"slices"
	"strings"
)

// kept are the variables of this process that a worker needs on this machine. Everything else it gets from its
// sandbox: above all no AWS_PROFILE and no credentials of the developer.
var kept = map[string]bool{
	"PATH": true, "HOME": true, "USER": true, "LOGNAME": true, "LANG": true, "LC_ALL": true,
	"TMPDIR": true, "TEMP": true, "TMP": true,
	"HTTP_PROXY": true, "HTTPS_PROXY": true, "NO_PROXY": true, "ALL_PROXY": true,
	"http_proxy": true, "https_proxy": true, "no_proxy": true, "all_proxy": true,
	"NODE_EXTRA_CA_CERTS": true, "AWS_CA_BUNDLE": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true,
	"VSCODE_INSPECTOR_OPTIONS": true,
	// Windows does not start a process without these.
	"SystemRoot": true, "SYSTEMROOT": true, "SystemDrive": true, "ComSpec": true, "PATHEXT": true,
	"USERPROFILE": true, "APPDATA": true, "LOCALAPPDATA": true, "ProgramData": true,
}

// sandboxOnly are variables of a sandbox that describe its machine, not the function.
var sandboxOnly = map[string]bool{
	"PWD": true, "SHLVL": true, "OLDPWD": true, "LD_LIBRARY_PATH": true, "NODE_PATH": true,
	"LAMBDA_TASK_ROOT": true, "LAMBDA_RUNTIME_DIR": true, "_HANDLER": true, "AWS_LAMBDA_RUNTIME_API": true,
	"AWS_XRAY_DAEMON_ADDRESS": true, "_AWS_XRAY_DAEMON_ADDRESS": true, "_AWS_XRAY_DAEMON_PORT": true,
	"AWS_PROFILE": true, "_X_AMZN_TRACE_ID": true, "SST_LIVE": true,
}

// baseEnv is what every worker has, before its sandbox is known.
func baseEnv(environ []string) map[string]string {
	env := map[string]string{"TZ": ":UTC"}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && kept[name] {
			env[name] = value
		}
	}
	return env
}

// workerEnv is the environment of one worker: the base, what its sandbox says, and where it is here.
func workerEnv(base, sandbox map[string]string, task, handler, api string) map[string]string {
	env := maps.Clone(base)
	for name, value := range sandbox {
		if sandboxOnly[name] || strings.HasPrefix(name, "_LAMBDA_") {
			continue
		}
		if name == "PATH" && strings.Contains(value, "/var/lang/bin") {
			continue // Lambda's own
		}
		if name == "NODE_EXTRA_CA_CERTS" && strings.HasPrefix(value, "/var/runtime/") {
			continue // likewise
		}
		env[name] = value
	}
	env["_HANDLER"] = handler
	env["LAMBDA_TASK_ROOT"] = task
	env["LAMBDA_RUNTIME_DIR"] = task
	env["PWD"] = task
	env["AWS_LAMBDA_RUNTIME_API"] = api
	env["PYTHONUNBUFFERED"] = "1"
	env["AWS_XRAY_CONTEXT_MISSING"] = "LOG_ERROR"
	return env
}

// environList is the form that os/exec takes, sorted.
func environList(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// bindsAtStart says whether a Node process reads something in the environment when it starts, so that a spare one
// that was started without it will not do.
func bindsAtStart(base, env map[string]string) bool {
	for name, value := range env {
		if (strings.HasPrefix(name, "NODE_") || strings.HasPrefix(name, "SSL_CERT_") || name == "VSCODE_INSPECTOR_OPTIONS" ||
			name == "UV_THREADPOOL_SIZE" || strings.HasPrefix(name, "LD_")) && base[name] != value {
			return true
		}
	}
	return false
}
