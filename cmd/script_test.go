package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/rogpeppe/go-internal/testscript"

	"sst/builtins"
	"sst/builtins/jsii"
	"sst/cfn"
)

var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

func TestMain(m *testing.M) {
	if jsii.TapMain() {
		return
	}
	// $SST in a script is the tool in a process of its own, for the scripts that need one.
	testscript.Main(m, map[string]func(){"sst-bin": func() { os.Exit(Main()) }})
}

// TestScripts runs testdata/*.txtar. A script is a promise to users; its first line says which.
//
// Beside testscript's own commands there are:
//
//	sst ARG...                   the tool, in this process, with the scripts' shared warm host
//	template STACK               the normalised template of a stack in .sst/out, on stdout; the CDK must not have warned in the build before
//	serve ARG...                 `sst start ARG...` in a process of its own, in the background; waits until it serves
//	saw PATTERN                  wait until what it printed matches
//	interrupt                    Ctrl-C: it and all its children must be gone within 2 s; what it printed is stderr
//	enter                        the ENTER key for it
//	crash                        kill -9 for it
//	http METHOD API PATH [BODY]  a request to a running start; status and body on stdout
//	http-size METHOD API PATH BYTES  the same with a body of that size
//	invoke NAME PAYLOAD          an invocation by the AWS SDK's Lambda client; the payload or error on stdout
//	poll COMMAND... -- PATTERN   repeat one of the above until its output matches
//	validate                     the CDK's own rules on every template of .sst/out
//	example NAME                 a copy of examples/NAME in the current folder
//	cp-tree FROM TO, cmp-tree A B  whole folders: copied, compared byte for byte
//	npm-pack FOLDER FILE         an archive of a package as npm pack makes it; the same bytes each time
//	listen VAR                   take a port until the script ends; its number goes to VAR
//	stubs                        what `sst start` would deploy on AWS, into .sst/out (live_test.go)
//	terminal [-when PATTERN] SIZE ARG...  the tool in a process of its own on a terminal of 80x24, say; its screen at the end is stdout, as is that
//	                             of when the pattern was first there, at which point it gets Ctrl-C (terminal_test.go)
//	cloud [WORD...]              an AWS of the script's own (cloud_test.go)
//
// and the conditions [node], [npm], [aws-sdk-js], [dynalite], [registry] (npm can fetch) and [all]: what takes long or needs the network, run by make test-all.
func TestScripts(t *testing.T) {
	shared := &sharedEngine{t: t}
	t.Cleanup(shared.close)
	testscript.Run(t, testscript.Params{
		Dir:                "../testdata",
		UpdateScripts:      *update,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			cache, err := os.UserCacheDir()
			if err != nil {
				return err
			}
			home := filepath.Join(env.WorkDir, ".home")
			env.Setenv("HOME", home)
			env.Setenv("USER", "dev")
			env.Setenv("XDG_CACHE_HOME", cache) // the CDK is unpacked once for all scripts
			env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			env.Setenv("NPM_TOOLS", npmTools())
			binary, err := exec.LookPath("sst-bin")
			if err != nil {
				return err
			}
			env.Setenv("SST", binary)
			env.Values[serverKey{}] = &server{}
			env.Values[cloudKey{}] = &cloud{}
			env.Values[testKey{}] = t
			env.Values[engineKey{}] = shared
			return os.MkdirAll(home, 0o755)
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sst":       scriptSST,
			"template":  scriptTemplate,
			"serve":     scriptServe,
			"saw":       scriptSaw,
			"interrupt": scriptInterrupt,
			"enter":     scriptEnter,
			"crash":     scriptCrash,
			"crashes":   scriptCrashes,
			"flood":     scriptFlood,
			"http":      scriptHTTP,
			"http-size": scriptHTTPSize,
			"invoke":    scriptInvoke,
			"poll":      scriptPoll,
			"validate":  scriptValidate,
			"example":   scriptExample,
			"cp-tree":   scriptCopyTree,
			"cmp-tree":  scriptCompareTree,
			"npm-pack":  scriptNpmPack,
			"listen":    scriptListen,
			"cloud":     scriptCloud,
			"terminal":  scriptTerminal,
			"stubs":     scriptStubs,
		},
	})
}

var skips sync.Map // condition → said

func condition(name string) (bool, error) {
	if name == "all" {
		if os.Getenv("SST_TEST_ALL") == "" {
			if _, said := skips.LoadOrStore(name, true); !said {
				fmt.Println("scripts with [all] are skipped: make test-all runs them")
			}
			return false, nil
		}
		return true, nil
	}
	if name == "registry" {
		return registry(), nil
	}
	if module := map[string]string{"aws-sdk-js": "@aws-sdk/client-s3", "vscode-jsonrpc": "vscode-languageserver-protocol"}[name]; module != "" {
		_, err := os.Stat(filepath.Join(npmTools(), "..", module, "package.json"))
		if err != nil {
			if _, said := skips.LoadOrStore(name, true); !said {
				fmt.Printf("scripts with [%s] are skipped: %v\n", name, err)
			}
		}
		return err == nil, nil
	}
	tool := map[string]string{"node": "node", "npm": filepath.Join(npmTools(), "cdk"), "dynalite": filepath.Join(npmTools(), "dynalite"),
		"nvim": "nvim", "eglot": "emacs"}[name]
	if name == "eglot" {
		err := exec.Command(tool, "--batch", "--eval", "(package-initialize)", "--eval", "(require 'eglot)").Run()
		if _, said := skips.LoadOrStore(name, true); err != nil && !said {
			fmt.Println("scripts with [eglot] are skipped: Emacs has none:", err)
		}
		return err == nil, nil
	}
	if tool == "" {
		return false, fmt.Errorf("unknown condition [%s]", name)
	}
	_, err := exec.LookPath(tool)
	if err != nil {
		if _, said := skips.LoadOrStore(name, true); !said {
			fmt.Printf("scripts with [%s] are skipped: %v\n", name, err)
		}
	}
	return err == nil, nil
}

func npmTools() string {
	path, _ := filepath.Abs("../testdata/npm/node_modules/.bin")
	return path
}

// sharedEngine is one warm engine for all scripts.
type sharedEngine struct {
	t      *testing.T
	once   sync.Once
	engine *builtins.Engine
	err    error
}

type engineKey struct{}

func (s *sharedEngine) get(ctx context.Context, w *World) (*builtins.Engine, error) {
	s.once.Do(func() {
		s.engine, s.err = (&tool{World: w, view: newHumanView(io.Discard, io.Discard, viewOptions{})}).openEngine(context.WithoutCancel(ctx))
	})
	return s.engine, s.err
}

func (s *sharedEngine) close() {
	if s.engine != nil {
		s.engine.Close()
	}
}

func scriptWorld(ts *testscript.TestScript, args []string) *World {
	world := &World{Args: args, Dir: ts.MkAbs("."), Stdin: strings.NewReader(""), Stdout: ts.Stdout(), Stderr: ts.Stderr()}
	world.LookupEnv = func(name string) (string, bool) {
		value := ts.Getenv(name)
		return value, value != ""
	}
	world.CacheDir = filepath.Join(ts.Getenv("XDG_CACHE_HOME"), "sst")
	shared := ts.Value(engineKey{}).(*sharedEngine)
	world.Engine = func(ctx context.Context) (*builtins.Engine, error) { return shared.get(ctx, world) }
	return world
}

// scriptSST runs a verb; `!` in front means the user's problem (1) and not another code, `?` any.
func scriptSST(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	code := Run(ctx, scriptWorld(ts, args))
	switch {
	case neg && code == ExitDone:
		ts.Fatalf("sst %s: succeeded, should have failed", strings.Join(args, " "))
	case neg && code == ExitFault, !neg && code != ExitDone:
		ts.Fatalf("sst %s: exit code %d", strings.Join(args, " "), code)
	}
}

func scriptTemplate(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: template STACK")
	}
	if said := ts.ReadFile("stderr"); strings.Contains(said, "warning: The CDK says") {
		ts.Fatalf("what the CDK warns of in our own use of it is nothing to a user:\n%s", said)
	}
	asm, err := cfn.Open(ts.MkAbs(".sst/out"))
	ts.Check(err)
	names := map[string]string{}
	for _, f := range asm.Manifest.Functions {
		names[f.Hash] = f.Handler
	}
	for _, packed := range slices.Concat(asm.Manifest.Sites, asm.Manifest.Jobs) {
		names[packed.Hash] = packed.Bundle.Handler
	}
	names[stubCode().Hash], names[relayCode().Hash] = "stub", "relay"
	for _, stack := range asm.Stacks {
		if stack.ID == args[0] {
			data, err := os.ReadFile(filepath.Join(asm.Dir, stack.TemplateFile))
			ts.Check(err)
			ts.Stdout().Write(cfn.Normalize(data, names))
			return
		}
	}
	ts.Fatalf("no stack %s", args[0])
}

type startFile struct {
	APIs   map[string]string `json:"apis"`
	Lambda string            `json:"lambda"`
}

func readStart(ts *testscript.TestScript) (s startFile, err error) {
	data, err := os.ReadFile(ts.MkAbs(".sst/start.json"))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// server is the `sst start` of a script.
type server struct {
	command *exec.Cmd
	input   io.WriteCloser
	ended   chan struct{} // closed when the process is gone
	mu      sync.Mutex
	output  bytes.Buffer // guarded by mu
}

type serverKey struct{}

func (s *server) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.Write(p)
}

func (s *server) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.String()
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || s.command != nil {
		ts.Fatalf("usage: serve ARG..., once at a time")
	}
	s.output.Reset()
	s.command = exec.Command(ts.Getenv("SST"), append([]string{"start"}, args...)...)
	s.command.Dir = ts.MkAbs(".")
	s.command.Stdout, s.command.Stderr = s, s
	for _, name := range []string{"PATH", "HOME", "USER", "XDG_CACHE_HOME", "AWS_EC2_METADATA_DISABLED", "TMPDIR", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION",
		"AWS_ENDPOINT_URL", "SST_WEBSOCKET_URL", "SST_CONNECTIONS_URL"} {
		if value := ts.Getenv(name); value != "" {
			s.command.Env = append(s.command.Env, name+"="+value)
		}
	}
	var err error
	s.input, err = s.command.StdinPipe()
	ts.Check(err)
	ts.Check(s.command.Start())
	s.ended = make(chan struct{})
	ended, command := s.ended, s.command
	go func() { command.Wait(); close(ended) }()
	ts.Defer(func() {
		command.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); !strings.Contains(s.text(), "Ready in"); time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.ended:
			ts.Fatalf("start ended:\n%s", s.text())
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("start did not get ready:\n%s", s.text())
		}
	}
}

func scriptSaw(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || len(args) != 1 {
		ts.Fatalf("usage: saw PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(20 * time.Second); !pattern.MatchString(s.text()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("start did not print %q:\n%s", args[0], s.text())
		}
	}
}

func scriptInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || s.command == nil {
		ts.Fatalf("usage: interrupt, after serve")
	}
	ts.Check(s.command.Process.Signal(os.Interrupt))
	select {
	case <-s.ended:
	case <-time.After(2 * time.Second):
		ts.Fatalf("start still runs 2 s after Ctrl-C:\n%s", s.text())
	}
	if left := processesIn(ts.Getenv("WORK")); len(left) > 0 {
		ts.Fatalf("start left processes behind: %s\n%s", left, s.text())
	}
	fmt.Fprint(ts.Stderr(), s.text())
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("start ended with exit code %d:\n%s", code, s.text())
	}
	s.command = nil
}

func scriptEnter(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || s.command == nil || len(args) > 0 {
		ts.Fatalf("usage: enter, after serve")
	}
	_, err := io.WriteString(s.input, "\n")
	ts.Check(err)
}

func scriptCrash(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || s.command == nil || len(args) > 0 {
		ts.Fatalf("usage: crash, after serve")
	}
	ts.Check(s.command.Process.Kill())
	<-s.ended
	s.command = nil
}

// processesIn lists the processes that have a folder in their command line; on systems without /proc it finds none.
func processesIn(dir string) (found []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(dir+"/")) {
			found = append(found, string(bytes.ReplaceAll(data, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func scriptHTTP(ts *testscript.TestScript, neg bool, args []string) {
	answer, err := request(ts, args)
	if err != nil {
		answer = err.Error()
	}
	fmt.Fprintln(ts.Stdout(), answer)
	if failed := err != nil; failed != neg {
		ts.Fatalf("http %s: %s", strings.Join(args, " "), answer)
	}
}

func scriptHTTPSize(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: http-size METHOD API PATH BYTES")
	}
	size, err := strconv.Atoi(args[3])
	ts.Check(err)
	scriptHTTP(ts, neg, append(args[:3:3], strings.Repeat("a", size)))
}

func request(ts *testscript.TestScript, args []string) (string, error) {
	if len(args) < 3 {
		return "", errors.New("usage: http METHOD API PATH [BODY]")
	}
	start, err := readStart(ts)
	if err != nil {
		return "", err
	}
	base, ok := start.APIs[args[1]]
	if !ok {
		return "", fmt.Errorf("no api %s in %v", args[1], start.APIs)
	}
	var body io.Reader
	if len(args) > 3 {
		body = strings.NewReader(args[3])
	}
	req, err := http.NewRequest(args[0], strings.TrimSuffix(base, "/")+args[2], body)
	if err != nil {
		return "", err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, data), err
}

func scriptInvoke(ts *testscript.TestScript, neg bool, args []string) {
	answer, err := invoke(ts, args)
	if err != nil {
		answer = err.Error()
	}
	fmt.Fprintln(ts.Stdout(), answer)
	if failed := err != nil; failed != neg {
		ts.Fatalf("invoke %s: %s", strings.Join(args, " "), answer)
	}
}

func invoke(ts *testscript.TestScript, args []string) (string, error) {
	if len(args) != 2 {
		return "", errors.New("usage: invoke NAME PAYLOAD")
	}
	start, err := readStart(ts)
	if err != nil {
		return "", err
	}
	client := lambda.New(lambda.Options{
		BaseEndpoint: &start.Lambda,
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	out, err := client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &args[0], Payload: []byte(args[1])})
	if err != nil {
		return "", err
	}
	if out.FunctionError != nil {
		return aws.ToString(out.FunctionError) + " " + string(out.Payload), errors.New(aws.ToString(out.FunctionError) + " " + string(out.Payload))
	}
	return string(out.Payload), nil
}

// scriptPoll is for what becomes true a moment after something else, a saved stacks.star say.
func scriptPoll(ts *testscript.TestScript, neg bool, args []string) {
	var answer string
	run := map[string]func(*testscript.TestScript, []string) (string, error){"http": request, "invoke": invoke}[args[0]]
	if neg || run == nil || len(args) < 4 || args[len(args)-2] != "--" {
		ts.Fatalf("usage: poll http|invoke ARG... -- TEXT")
	}
	want := args[len(args)-1]
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		if answer, err = run(ts, args[1:len(args)-2]); err != nil {
			answer = err.Error()
		}
		if strings.Contains(answer, want) {
			fmt.Fprintln(ts.Stdout(), answer)
			return
		}
	}
	ts.Fatalf("still no %q in the answer: %s", want, answer)
}

func scriptValidate(ts *testscript.TestScript, neg bool, args []string) {
	world := scriptWorld(ts, nil)
	node, err := jsii.FindNode(world.Getenv, "")
	ts.Check(err)
	dir, err := jsii.Unpack(context.Background(), world.CacheDir, func(string) {})
	ts.Check(err)
	templates, err := filepath.Glob(ts.MkAbs(".sst/out/*.template.json"))
	ts.Check(err)
	if len(templates) == 0 {
		ts.Fatalf("no template in .sst/out")
	}
	findings, err := jsii.Validate(context.Background(), node, dir, templates)
	ts.Check(err)
	var b bytes.Buffer
	failed := false
	for _, f := range findings {
		fmt.Fprintf(&b, "%+v\n", f)
		failed = failed || strings.EqualFold(fmt.Sprint(f.Severity), "error") || strings.EqualFold(fmt.Sprint(f.Severity), "fatal")
	}
	ts.Stdout().Write(b.Bytes())
	if failed != neg {
		ts.Fatalf("validation: %s", b.String())
	}
}

func scriptExample(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: example NAME")
	}
	source, err := filepath.Abs(filepath.Join("..", "examples", args[0]))
	ts.Check(err)
	ts.Check(filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(source, path)
		target := ts.MkAbs(rel)
		if d.IsDir() {
			if d.Name() == ".sst" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return os.MkdirAll(target, 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	}))
}

func scriptCopyTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cp-tree FROM TO")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

func scriptCompareTree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cmp-tree A B")
	}
	a, b := tree(ts, args[0]), tree(ts, args[1])
	for name, data := range a {
		if other, ok := b[name]; !ok {
			ts.Fatalf("%s is in %s only", name, args[0])
		} else if !bytes.Equal(data, other) {
			ts.Fatalf("%s differs between %s and %s", name, args[0], args[1])
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			ts.Fatalf("%s is in %s only", name, args[1])
		}
	}
	if len(a) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
}

func tree(ts *testscript.TestScript, dir string) map[string][]byte {
	files := map[string][]byte{}
	ts.Check(fs.WalkDir(os.DirFS(ts.MkAbs(dir)), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[path], err = os.ReadFile(filepath.Join(ts.MkAbs(dir), path))
		return err
	}))
	return files
}

func scriptListen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen VAR")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv(args[0], fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
}
